//! A gateway with a user who must notice nothing, and what an attacker sees.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::Gateway;
use tests::api::{call, metric};
use tests::http::{get, post};
use tests::nats::Nats;
use tests::plain::Plain;
use tests::token::{SECRET, mint, now};
use tests::websocket::WebSocket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::peers;
use crate::places::{Forwarder, connect_from, named};
use crate::row::{Answer, Attack};

/// What only Ann may see.
const MARK: &str = "for-anns-eyes-only";
/// How long the gateway must say nothing for what came to be all.
const SILENCE: Duration = Duration::from_millis(1200);
/// How long the right answer is waited for: a busy machine is no failure.
const PATIENCE: Duration = Duration::from_secs(20);
/// The key that the suite itself uses; its hash is in every configuration.
const ADMIN: &str = "the-suites-own-key";

/// What `begin` adds to a group's configuration.
pub fn config() -> String {
    format!(
        "auth: {{anonymous: true, jwt: {{secret: {SECRET}}}}}\n\
         api: {{keys: [{}]}}\n\
         channels:\n\
         - {{match: \"public.>\", anonymous: true, history: {{maxMessages: 100, maxAge: 1h}}}}\n\
         - {{match: \">\", history: {{maxMessages: 100, maxAge: 1h}}}}\n",
        keys()
    )
}

/// API keys: one may do everything, the others little.
pub fn keys() -> String {
    let key = |name: &str, scopes: &str, channels: &str| {
        let hash = tests::token::sha256(name);
        format!("{{name: {name}, scopes: [{scopes}], sha256: \"{hash}\"{channels}}}")
    };
    [
        key(ADMIN, "publish, read, admin", ""),
        key("publisher", "publish", ""),
        key("reader", "read", ""),
        key("orders", "publish, read", ", channels: [\"orders.>\"]"),
    ]
    .join(", ")
}

/// A token that lets Bob do everything on his own channels.
pub fn bob() -> String {
    let all = json!(["subscribe", "publish", "history", "presence"]);
    mint(&json!({
        "sub": "bob", "exp": now() + 3600,
        "channels": [{"match": "bob.>", "can": all}, {"match": "$user.>", "can": all}],
    }))
}

/// The gateway, and Ann.
pub struct World {
    pub gateway: Gateway,
    pub peers: Option<peers::Peers>,
    ann: Plain,
    /// Where Ann comes through, where the gateway wants the PROXY protocol.
    _door: Option<Forwarder>,
    /// Addresses that rows have had.
    addresses: AtomicU16,
    // Beside the gateway that uses it.
    _nats: Option<Nats>,
    rounds: u32,
}

/// What an attacker gets.
#[derive(Debug, Default)]
pub struct Seen {
    /// HTTP status; 0 without one.
    pub status: u16,
    /// Everything that came, as text.
    pub text: String,
    /// The code of a close frame.
    pub close: Option<u16>,
    /// A ping behind everything was answered.
    pub pong: bool,
    /// The connection has ended.
    pub ended: bool,
}

// === impl World ===

impl World {
    /// Starts the gateway; `peers`: one of a cluster.
    pub async fn begin(config: &str, clustered: bool) -> Self {
        let nats = clustered.then(Nats::single);
        let mut config = config.to_owned();
        if let Some(nats) = &nats {
            config += &peers::config(nats);
        }
        let gateway = Gateway::start(&config);
        let peers = match &nats {
            Some(_) => Some(peers::Peers::of(&gateway).await),
            None => None,
        };
        let token = mint(&json!({
            "sub": "ann", "exp": now() + 3600,
            "channels": [{"match": "ann.>", "can": ["subscribe"]}],
        }));
        let door = if config.contains("proxyProtocol: true") {
            Some(Forwarder::to(gateway.client_address()).await)
        } else {
            None
        };
        let at = door.as_ref().map_or(gateway.client_address(), |door| &door.address);
        let url = format!("ws://{at}/ws?token={token}");
        let mut ann = Plain::over(WebSocket::try_connect(&url, &[]).await.unwrap());
        ann.call("subscribe", &json!({"channel": "ann.box"})).await.unwrap();
        let mut world = Self {
            gateway,
            peers,
            ann,
            _door: door,
            addresses: AtomicU16::new(0),
            _nats: nats,
            rounds: 0,
        };
        // Something to be stolen, live and in history.
        world.is_well().await;
        world
    }

    /// Ann gets what is hers, and nothing else came in between.
    pub async fn is_well(&mut self) {
        self.rounds += 1;
        for target in [json!({"channel": "ann.box"}), json!({"user": "ann"})] {
            let mut body = target;
            let data = format!("{MARK} {}", self.rounds);
            body["data"] = json!(data);
            let reply = call(&self.gateway, Some(ADMIN), "/v1/publish", &body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(self.ann.publication().await["data"], data);
        }
        let panics = metric(&self.gateway, "push_session_panics_total").await;
        assert!(panics.unwrap_or(0.0) < 0.5, "a session panicked");
        assert_eq!(get(&format!("{}/livez", self.gateway.admin())).await.status, 200);
        // No key, and no token, was logged.
        for secret in [ADMIN, SECRET, "eyJ", MARK] {
            assert!(!self.gateway.log().contains(secret), "{secret} is in the log");
        }
    }

    /// Whether an attacker sees what is Ann's.
    pub fn is_leaked(seen: &Seen) -> bool {
        seen.text.contains(MARK)
    }

    /// Carries it out, until the answer is the one that is wanted.
    pub async fn attacked(&self, attack: &Attack, wanted: &Answer) -> Seen {
        let host = |url: &str| url.trim_start_matches("http://").to_owned();
        match attack {
            Attack::Client(bytes) => talk(self.gateway.client_address(), bytes, wanted).await,
            Attack::From(network, bytes) => {
                let [high, low] = self.addresses.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                let from = format!("{network}.{high}.{low}");
                let named = named(bytes, high, low);
                talk_from(Some(&from), self.gateway.client_address(), &named, wanted).await
            }
            Attack::Api(bytes) => talk(&host(self.gateway.api()), bytes, wanted).await,
            Attack::Admin(bytes) => talk(&host(self.gateway.admin()), bytes, wanted).await,
            Attack::Socket { path, texts, bytes } => self.socket(path, texts, bytes, wanted).await,
            Attack::Polling { query, posts } => self.polling(query, posts, wanted).await,
            Attack::Peer(stamped) => {
                let peers = self.peers.as_ref().expect("a cluster");
                talk(&host(&peers.listener), &peers.request(stamped), wanted).await
            }
        }
    }

    async fn socket(&self, path: &str, texts: &[String], bytes: &[u8], wanted: &Answer) -> Seen {
        let mut stream = TcpStream::connect(self.gateway.client_address()).await.unwrap();
        stream.write_all(upgrade(path, "").as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
        let mut seen = Seen::of(&head);
        if seen.status != 101 {
            seen.ended = true;
            return seen;
        }
        let mut sent: Vec<u8> =
            texts.iter().flat_map(|text| frame(0x81, text.as_bytes())).collect();
        sent.extend_from_slice(bytes);
        sent.extend(frame(0x89, b"probe"));
        let mut got = Vec::new();
        exchange(&mut stream, &sent, |news| match news {
            Some(bytes) => {
                got.extend_from_slice(bytes);
                seen.frames(&got);
                wanted.fits(&seen)
            }
            None => {
                seen.ended = true;
                true
            }
        })
        .await;
        seen
    }

    async fn polling(&self, query: &str, posts: &[Vec<u8>], wanted: &Answer) -> Seen {
        let base = format!("{}/socket.io/?EIO=4&transport=polling{query}", self.gateway.client());
        let open = get(&base).await;
        let mut seen = Seen { status: open.status, ..Seen::default() };
        seen.text += open.text();
        let Some(sid) = open.text().split("\"sid\":\"").nth(1).and_then(|t| t.split('"').next())
        else {
            return seen;
        };
        let url = format!("{base}&sid={sid}");
        for body in posts {
            let reply = post(&url, body.clone()).await;
            seen.status = reply.status;
            seen.text += &format!("\nPOST {} {}", reply.status, reply.text());
        }
        let until = Instant::now() + PATIENCE;
        while !seen.ended && !wanted.fits(&seen) && Instant::now() < until {
            let reply = get(&url).await;
            seen.text += &format!("\nGET {} {}", reply.status, reply.text());
            seen.ended = reply.status != 200;
        }
        seen
    }
}

/// Sends bytes to a new connection and reads the answer.
async fn talk(address: &str, bytes: &[u8], wanted: &Answer) -> Seen {
    talk_from(None, address, bytes, wanted).await
}

/// The same from an address of this machine.
async fn talk_from(from: Option<&str>, address: &str, bytes: &[u8], wanted: &Answer) -> Seen {
    let mut stream = connect_from(from, address).await.unwrap();
    let (mut got, mut ended) = (Vec::new(), false);
    exchange(&mut stream, bytes, |news| match news {
        Some(bytes) => {
            got.extend_from_slice(bytes);
            wanted.fits(&Seen::of(&got))
        }
        None => {
            ended = true;
            true
        }
    })
    .await;
    Seen { ended, ..Seen::of(&got) }
}

/// Sends, and reads until the end, or until nothing more comes and `enough`
/// says so. It is told what came; none: the end.
async fn exchange(
    stream: &mut TcpStream,
    bytes: &[u8],
    mut enough: impl FnMut(Option<&[u8]>) -> bool,
) {
    let (mut reader, mut writer) = stream.split();
    // It may be refused before all of it is sent.
    let send = async {
        let _ = writer.write_all(bytes).await;
    };
    let read = async {
        let until = Instant::now() + PATIENCE;
        let mut chunk = vec![0; 64 << 10];
        let mut done = enough(Some(&[]));
        let mut silence = SILENCE;
        loop {
            match tokio::time::timeout(silence, reader.read(&mut chunk)).await {
                Ok(Ok(count @ 1..)) => {
                    done = enough(Some(&chunk[..count]));
                    // It has spoken; what else it has to say comes soon.
                    silence = SILENCE / 4;
                }
                Ok(_) => {
                    enough(None);
                    return;
                }
                Err(_) if done || Instant::now() > until => return,
                Err(_) => {}
            }
        }
    };
    let mut read = std::pin::pin!(read);
    tokio::select! {
        () = &mut read => {}
        () = send => read.await,
    }
}

// === impl Seen ===

impl Seen {
    fn of(answer: &[u8]) -> Self {
        let text = String::from_utf8_lossy(answer).into_owned();
        let status =
            text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok()).unwrap_or(0);
        Self { status, text, ..Self::default() }
    }

    /// Reads a server's frames: they have no mask.
    fn frames(&mut self, mut bytes: &[u8]) {
        self.text.clear();
        while let [first, short, rest @ ..] = bytes {
            let (length, rest) = match (short, rest) {
                (126, [a, b, rest @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), rest),
                (127, head) if head.len() >= 8 => {
                    let length = u64::from_be_bytes(head[..8].try_into().unwrap());
                    (usize::try_from(length).unwrap(), &head[8..])
                }
                (short, rest) => (usize::from(*short), rest),
            };
            let Some((payload, after)) = rest.split_at_checked(length) else { return };
            match first & 0x0f {
                8 => self.close = payload.first_chunk().map(|code| u16::from_be_bytes(*code)),
                10 if payload == b"probe" => self.pong = true,
                _ => {
                    self.text += &String::from_utf8_lossy(payload);
                    self.text.push('\n');
                }
            }
            bytes = after;
        }
    }
}

/// A client's frame with its first byte as it is, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A WebSocket handshake, with more headers, each with its line's end.
pub fn upgrade(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: gateway\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}
