//! What an attacker may try, case by case: each is refused as its protocol
//! says, none reaches another user's data, and the gateway stays what it was.
//!
//! A case is a row: its name, what is sent, what must come back. Each counts
//! as a test of its own; `cargo test -p tests --test attack NAME` runs those
//! whose name has these words.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]
// Rows and their harness read better so.
#![allow(
    clippy::single_match_else,
    clippy::format_push_string,
    clippy::decimal_bitwise_operands,
    clippy::struct_field_names
)]

use std::process::ExitCode;

#[path = "attack/addresses.rs"]
mod addresses;
#[path = "attack/api.rs"]
mod api;
#[path = "attack/engineio.rs"]
mod engineio;
#[path = "attack/frames.rs"]
mod frames;
#[path = "attack/grants.rs"]
mod grants;
#[path = "attack/http.rs"]
mod http;
#[path = "attack/ids.rs"]
mod ids;
#[path = "attack/origins.rs"]
mod origins;
#[path = "attack/peers.rs"]
mod peers;
#[path = "attack/places.rs"]
mod places;
#[path = "attack/proxies.rs"]
mod proxies;
#[path = "attack/row.rs"]
mod row;
#[path = "attack/socketio.rs"]
mod socketio;
#[path = "attack/tokens.rs"]
mod tokens;
#[path = "attack/world.rs"]
mod world;

use row::Group;

fn main() -> ExitCode {
    let groups: Vec<Group> = vec![
        http::group(),
        frames::group(),
        engineio::group(),
        socketio::group(),
        tokens::group(),
        grants::group(),
        api::group(),
        ids::group(),
        origins::group(),
        peers::group(),
        addresses::group(),
        addresses::two_proxies(),
        addresses::too_few(),
        proxies::group(),
        proxies::with_headers(),
    ];
    row::run(groups)
}
