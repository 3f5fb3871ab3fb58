//! What a subscriber is promised, asked of every relay.
//!
//! # Layout
//!
//! - `order`: each publication once, in the stream's order, everywhere
//! - `publish`: idempotent ids, ttl, what is not stored
//! - `resume`: what a client that comes back gets, and when it is told of a gap
//! - `history`: pages of one channel
//! - `room`: history that is full
//! - `sessions`: records of sessions, and whose they are
//! - `model`: random histories against a simple model
//!
//! A relay is held to all of it by one line: `relay_suite!(name, factory)`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "relay_suite/history.rs"]
mod history;
#[path = "relay_suite/model.rs"]
mod model;
#[path = "relay_suite/order.rs"]
mod order;
#[path = "relay_suite/publish.rs"]
mod publish;
#[path = "relay_suite/resume.rs"]
mod resume;
#[path = "relay_suite/room.rs"]
mod room;
#[path = "relay_suite/sessions.rs"]
mod sessions;

macro_rules! relay_suite {
    ($name:ident, $relay:expr) => {
        mod $name {
            relay_suite!(@in order, $relay,
                concurrent_publishers_one_order,
                slow_shards_miss_nothing,
                replay_and_feed_meet,
            );
            relay_suite!(@in publish,
                $relay,
                an_id_makes_a_retry_harmless,
                concurrent_retries_are_one,
                ids_are_of_their_channel,
                an_id_without_history_is_not_remembered,
                not_stored_is_delivered_and_not_kept,
                fields_arrive_as_published,
            );
            relay_suite!(@in resume,
                $relay,
                nothing_missed_nothing_lost,
                channels_are_merged_each_after_its_place,
                until_bounds_the_replay,
                trimmed_is_told,
                expired_is_told,
                own_ttl_is_no_loss,
                other_epoch_is_told,
                a_position_that_never_was_is_told,
                no_history_is_told,
                latest_of_each_channel,
                rules_that_change,
                a_longer_age_brings_nothing_back,
                a_place_before_the_first_message,
            );
            relay_suite!(@in history,
                $relay,
                pages_forward,
                pages_backward,
                between_two_offsets,
                composite_offsets,
                gaps_are_told,
                no_history_is_an_error,
            );
            relay_suite!(@in room,
                $relay,
                the_oldest_go_and_that_is_told,
                what_ends_by_itself_is_no_loss_of_others,
            );
            relay_suite!(@in sessions,
                $relay,
                a_closed_session_is_claimed_once,
                a_live_owner_is_fenced,
                what_a_former_owner_says_is_ignored,
                a_record_expires_after_its_close,
                an_open_record_does_not_expire,
                a_deleted_record_is_gone,
                a_revoked_record_is_gone_at_once,
                concurrent_claims_leave_one_owner,
            );

            #[test]
            fn model() {
                super::model::random_histories(&$relay);
            }
        }
    };
    (@in $part:ident, $relay:expr, $($test:ident),* $(,)?) => {
        mod $part {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $test() {
                    crate::$part::$test(&$relay).await;
                }
            )*
        }
    };
}

relay_suite!(embedded, tests::relay::Embedded);
relay_suite!(jetstream, tests::relay::JetStream);
