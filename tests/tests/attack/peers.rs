//! The peer listener: who has no secret is nobody, and who has one may say
//! each thing once, to one gateway.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use gateway::cluster::forward::{DIGEST, STAMP};
use gateway::cluster::{ClusterKeys, Signer};
use gateway::session::sid::{GatewayId, SidParts};
use tests::Gateway;
use tests::api::status;
use tests::nats::Nats;

use crate::row::{Answer, Attack, Group, Row, row};

const SECRET: &str = "a-secret-between-the-gateways-of-a-suite";

/// How a request to the peer listener is made.
#[derive(Clone, Copy)]
pub struct Stamped {
    /// With which secret; empty: without a stamp.
    secret: &'static str,
    /// Under which prefix the keys are derived.
    prefix: &'static str,
    /// For which use the key was.
    purpose: Purpose,
    /// The method and the path that are stamped, where they differ.
    stamped: Option<(&'static str, &'static str)>,
    /// The gateway that it is for, if not this one.
    to: Option<&'static str>,
    /// The digest that is stamped, where it differs.
    digest: &'static str,
    method: &'static str,
    path: &'static str,
    /// What is done to the stamp.
    bend: fn(&str) -> String,
    more: &'static str,
    /// Sent twice on one connection.
    twice: bool,
}

#[derive(Clone, Copy)]
enum Purpose {
    Requests,
    Messages,
}

/// A gateway's peer listener.
pub struct Peers {
    pub listener: String,
    id: String,
    next: AtomicU64,
}

const GOOD: Stamped = Stamped {
    secret: SECRET,
    prefix: "push",
    purpose: Purpose::Requests,
    stamped: None,
    to: None,
    digest: "x",
    method: "GET",
    path: "/peer/poll?sid=nothing",
    bend: str::to_owned,
    more: "",
    twice: false,
};

/// The sections that make a gateway one of a cluster.
pub fn config(nats: &Nats) -> String {
    format!("peer: {{listen: '127.0.0.1:0', secret: {SECRET}}}\nrelay: {{url: '{}'}}\n", nats.url())
}

// === impl Peers ===

impl Peers {
    /// Waits until it serves.
    pub async fn of(gateway: &Gateway) -> Self {
        gateway.ready().await;
        let log = gateway.log();
        let listener = log.lines().find_map(|line| line.strip_prefix("peer    "));
        let id = status(gateway).await["id"].as_str().unwrap().to_owned();
        Self { listener: listener.unwrap().to_owned(), id, next: AtomicU64::new(100) }
    }

    /// The bytes of a request.
    pub fn request(&self, how: &Stamped) -> Vec<u8> {
        let keys = ClusterKeys::derive(how.secret.as_bytes(), how.prefix);
        let key = match how.purpose {
            Purpose::Requests => keys.requests,
            Purpose::Messages => keys.messages,
        };
        // Each row is another gateway, so that none is a replay of another's.
        let from = GatewayId(self.next.fetch_add(1, Ordering::Relaxed));
        let to = how.to.unwrap_or(&self.id);
        let (method, path) = how.stamped.unwrap_or((how.method, how.path));
        let parts = [to, method, path, how.digest].map(str::as_bytes);
        let stamp = (how.bend)(&Signer::new(from, key).stamp(&parts));
        let mut request =
            format!("{} {} HTTP/1.1\r\nhost: a\r\n{DIGEST}: x\r\n", how.method, how.path);
        if !how.secret.is_empty() {
            let _ = write!(request, "{STAMP}: {stamp}\r\n");
        }
        request += how.more;
        let last = format!("{request}connection: close\r\n\r\n");
        if how.twice { format!("{request}\r\n{last}").into_bytes() } else { last.into_bytes() }
    }
}

pub fn group() -> Group {
    const NO: Answer = Answer::Status(&[401]);
    let peer = |name: &str, how: Stamped, answer: Answer| row(name, Attack::Peer(how), answer);
    let mut rows: Vec<Row> = vec![
        peer("no stamp", Stamped { secret: "", ..GOOD }, NO),
        peer("another secret", Stamped { secret: "another-secret", ..GOOD }, NO),
        peer("another cluster of the same secret", Stamped { prefix: "other", ..GOOD }, NO),
        peer("a key for messages", Stamped { purpose: Purpose::Messages, ..GOOD }, NO),
        peer("for another gateway", Stamped { to: Some("0000000000000007"), ..GOOD }, NO),
        peer("for another method", Stamped { stamped: Some(("POST", GOOD.path)), ..GOOD }, NO),
        peer(
            "for another path",
            Stamped { stamped: Some(("GET", "/peer/post?sid=nothing")), ..GOOD },
            NO,
        ),
        peer(
            "for another session",
            Stamped { stamped: Some(("GET", "/peer/poll?sid=other")), ..GOOD },
            NO,
        ),
        peer("for another body", Stamped { digest: "y", ..GOOD }, NO),
        peer(
            "without its MAC",
            Stamped { bend: |stamp| stamp.rsplit_once('.').unwrap().0.to_owned(), ..GOOD },
            NO,
        ),
        peer(
            "with a bent MAC",
            Stamped { bend: |stamp| stamp.replace('A', "B") + "A", ..GOOD },
            NO,
        ),
        peer(
            "with another number",
            Stamped { bend: |stamp| stamp.replacen(".1.", ".2.", 1), ..GOOD },
            NO,
        ),
        peer(
            "as another gateway",
            Stamped { bend: |stamp| format!("f{}", &stamp[1..]), ..GOOD },
            NO,
        ),
        peer(
            "an hour later",
            Stamped { bend: |stamp| stamp.replacen(".1.1", ".1.2", 1), ..GOOD },
            NO,
        ),
        peer("a stamp that is none", Stamped { bend: |_| "a.b.c.d".into(), ..GOOD }, NO),
        peer("a stamp of dots", Stamped { bend: |_| ".".repeat(1000), ..GOOD }, NO),
        peer("a second time", Stamped { twice: true, ..GOOD }, Answer::Words("used before")),
        // Who has the secret still can't reach what is not a session here.
        peer("a good one for no session", GOOD, Answer::Says(400, "\"code\":1")),
        peer(
            "a good one for no path",
            Stamped { path: "/v1/gateways", ..GOOD },
            Answer::Status(&[404]),
        ),
        peer(
            "a good one for /ws",
            Stamped { path: "/ws?sid=x", ..GOOD },
            Answer::Status(&[400, 404]),
        ),
    ];
    // Session ids that name a gateway never lead anywhere but to a member.
    let keys = ClusterKeys::derive(SECRET.as_bytes(), "push");
    for (name, gateway) in [("that never was", 7), ("of zeros", 0), ("of ones", u64::MAX)] {
        let sid = keys.sid.issue(SidParts { gateway: GatewayId(gateway), shard: 0 }).unwrap();
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        rows.push(row(
            format!("a well made session id of a gateway {name}"),
            Attack::Client(
                format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").into(),
            ),
            Answer::Says(400, "\"code\":1"),
        ));
    }
    // What a client says of the way that its request took is no address to call.
    for header in ["x-forwarded-host", "forwarded", "x-original-url", "push-peer", "x-push-gateway"]
    {
        rows.push(row(
            format!("a header {header} with an address"),
            Attack::Client(
                format!(
                    "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: a\r\n\
                     connection: close\r\n{header}: 127.0.0.1:9\r\n\r\n"
                )
                .into(),
            ),
            Answer::Says(200, "0{\"sid\""),
        ));
    }
    Group { name: "peers", config: crate::world::config(), rows }
}
