//! A token's time is over while its client is connected.

use futures_util::future::join_all;
use tests::api::say;
use tests::patiently;

use super::*;

#[tokio::test]
async fn a_client_is_warned_then_told_why_and_closed() {
    let gateway = Gateway::start(&exact());
    let all = WAYS.map(|way| {
        let gateway = &gateway;
        async move {
            let exp = now() + 6;
            let token = token(&["room"], &json!({"exp": exp}));
            let mut client = Client::connect(gateway, way, &token).await.unwrap();
            assert_eq!(client.notice("push:expiring").await, json!({"expires": exp}), "{way:?}");
            let event = format!("{way:?}");
            let body = json!({"channel": "room", "event": event, "data": event});
            tests::api::publish(gateway, &body).await;
            while client.publication().await != event {}
            client.ended("token_expired").await;
            assert!(now() >= exp, "{way:?}: not before its time");
            // The same token opens nothing any more, and the refusal says why.
            let again = Client::connect(gateway, way, &token).await.err();
            assert_eq!(again.as_deref(), Some("token_expired"), "{way:?}");
        }
    });
    join_all(all).await;
}

#[tokio::test]
async fn refresh_goes_on_with_what_the_new_token_allows() {
    let gateway = Gateway::start(&exact());
    let all = [WAYS[0], WAYS[1], Way::Websocket].map(|way| {
        let gateway = &gateway;
        async move {
            let exp = now() + 10;
            let old = token(&["room", "other", "gone"], &json!({"exp": exp, "jti": "old"}));
            let new = token(&["room", "more"], &json!({"jti": "new"}));
            let mut client = Client::connect(gateway, way, &old).await.unwrap();
            // Another user's token, and one that is no token, change nothing.
            let bob = mint(&json!({"sub": "bob", "exp": now() + 60}));
            for (bad, code) in [(bob.as_str(), "forbidden"), ("nonsense", "unauthorized")] {
                let refused = client.command("refresh", &json!({"token": bad})).await.unwrap_err();
                assert_eq!(refused["code"], code, "{way:?} {refused}");
            }
            client.command("subscribe", &json!({"channel": "gone"})).await.unwrap();
            let done = client.command("refresh", &json!({"token": new})).await.unwrap();
            assert!(done["expires"].as_u64().unwrap() > now() + 3000, "{way:?} {done}");
            let ended = client.notice("push:unsubscribed").await;
            assert_eq!(ended, json!({"channel": "gone", "code": "forbidden"}), "{way:?}");
            client.command("subscribe", &json!({"channel": "more"})).await.unwrap();
            let refused =
                client.command("subscribe", &json!({"channel": "other"})).await.unwrap_err();
            assert_eq!(refused["code"], "forbidden", "{way:?}");
            // Longer than the old one was good for.
            while now() < exp + 1 {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            say(gateway, "gone", 1).await;
            say(gateway, "more", 2).await;
            assert_eq!(client.publication().await, 2, "{way:?}");
        }
    });
    join_all(all).await;
}

#[tokio::test]
async fn with_a_fresh_token_an_expired_session_comes_back_as_it_was() {
    let gateway = Gateway::start(&format!(
        "{}channels: [{{match: '>', history: {{maxMessages: 10, maxAge: 1h}}}}]\n",
        exact()
    ));
    let all = Transport::ALL.map(|transport| {
        let gateway = &gateway;
        async move {
            let room = format!("room.{transport:?}");
            let old = token(&[&room], &json!({"exp": now() + 8}));
            let auth = json!({"token": old});
            let mut socket = Socket::join(gateway, transport, "/", Some(&auth)).await.unwrap();
            socket.subscribe(room.as_str()).await;
            say(gateway, &room, 1).await;
            assert_eq!(socket.app_event().await.args[0], 1);
            let (mut auth, sid) = (socket.credentials(), socket.sid().to_owned());
            assert_eq!(socket.notice("push:error").await["code"], "token_expired");
            // While its close is on the way nothing reaches it, and it can do
            // nothing.
            say(gateway, &room, 2).await;
            patiently("the close", socket.closed()).await;
            auth["token"] = json!(token(&[&room], &json!({})));
            let mut socket = Socket::join(gateway, transport, "/", Some(&auth)).await.unwrap();
            assert_eq!(socket.sid(), sid, "{transport:?}: the same session");
            assert_eq!(socket.app_event().await.args[0], 2, "{transport:?}");
        }
    });
    join_all(all).await;
}

impl Client {
    /// A command and its answer, or its error.
    pub(super) async fn command(&mut self, name: &str, arguments: &Value) -> Result<Value, Value> {
        match self {
            Self::SocketIo(socket) => {
                let argument = if name == "refresh" { &arguments["token"] } else { arguments };
                let answer =
                    socket.call(&format!("push:{name}"), std::slice::from_ref(argument)).await;
                answer.get("error").map_or(Ok(answer.clone()), |error| Err(error.clone()))
            }
            Self::Websocket(plain) => plain.call(name, arguments).await,
            Self::Sse(_) => panic!("a stream takes no commands"),
        }
    }
}
