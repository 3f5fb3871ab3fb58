//! Records of sessions, and whose they are.

use std::sync::Arc;

use gateway::channel::Channel;
use gateway::offset::Position;
use gateway::relay::{Claim, FeedItem, Owner, SessionRecord, Sessions, SubscriptionRecord};
use tests::relay::{Gateway, RelayUnderTest, Setup, World, patiently};
use tokio::task::JoinSet;

fn pid(text: &str) -> Arc<str> {
    text.into()
}

fn record(channels: &[&str]) -> SessionRecord {
    let start = Position { epoch: 7, sequence: 3, time: 9 };
    let subscription = |name: &&str| SubscriptionRecord {
        channel: Channel::new(name).unwrap(),
        start,
        joined: start,
        meta: true,
    };
    SessionRecord {
        began: 0,
        sid: "sid".into(),
        namespace: "/admin".into(),
        user: Some("ada".into()),
        subscriptions: channels.iter().map(subscription).collect(),
    }
}

/// A claim at the last gateway, while the session is the first one's.
async fn claim(world: &World, pid: &str) -> Claim {
    let sessions = world.gateways.last().unwrap().relay.sessions();
    patiently("a claim", sessions.claim(pid)).await.unwrap()
}

async fn granted(world: &World, pid: &str) -> (SessionRecord, Owner) {
    match claim(world, pid).await {
        Claim::Granted(record, owner) => (record, owner),
        Claim::Unknown => panic!("not granted"),
    }
}

fn sessions(world: &World) -> &dyn Sessions {
    world.relay().sessions()
}

/// Of the gateway that claims: it is the one that speaks for the new owner.
fn claimer(world: &World) -> &dyn Sessions {
    world.gateways.last().unwrap().relay.sessions()
}

/// The next fence that a gateway's first shard is told of.
async fn fence(gateway: &mut Gateway) -> (Arc<str>, Owner) {
    let feed = &mut gateway.feeds[0];
    let fence = async {
        loop {
            match feed.recv().await {
                Some(FeedItem::Fenced { pid, owner }) => break (pid, owner),
                Some(_) => {}
                None => panic!("the relay has left"),
            }
        }
    };
    patiently("a fence", fence).await
}

pub async fn a_closed_session_is_claimed_once(relay: &impl RelayUnderTest) {
    let mut world = relay.start(Setup::new(Vec::new())).await;
    let p = pid("p");
    let first = sessions(&world).create(&p, record(&[])).await.unwrap();
    assert!(sessions(&world).put(&p, first, record(&["a", "b"])).await.unwrap());
    sessions(&world).closed(&p, first);

    let (kept, owner) = granted(&world, "p").await;
    assert_eq!(kept, record(&["a", "b"]));
    assert_ne!(owner, first);
    assert!(claimer(&world).put(&p, owner, record(&["c"])).await.unwrap());
    assert_eq!(claim(&world, "unknown").await, Claim::Unknown);

    // The next claim takes it from a live owner, who is told; so the first
    // fence there is, is that one's.
    let (kept, second) = granted(&world, "p").await;
    assert_eq!(kept, record(&["c"]));
    assert_eq!(fence(world.gateways.last_mut().unwrap()).await, (p, second));
}

pub async fn a_live_owner_is_fenced(relay: &impl RelayUnderTest) {
    let mut world = relay.start(Setup::new(Vec::new())).await;
    let p = pid("p");
    let first = sessions(&world).create(&p, record(&["a"])).await.unwrap();
    let (kept, second) = granted(&world, "p").await;
    assert_eq!(kept, record(&["a"]));
    assert_eq!(fence(&mut world.gateways[0]).await, (Arc::clone(&p), second));
    assert!(!sessions(&world).put(&p, first, record(&["late"])).await.unwrap());
    assert!(claimer(&world).put(&p, second, record(&["b"])).await.unwrap());
    claimer(&world).closed(&p, second);
    assert_eq!(granted(&world, "p").await.0, record(&["b"]));
}

/// The former owner's connection closes late. That must not start the new
/// owner's time, nor end its session.
pub async fn what_a_former_owner_says_is_ignored(relay: &impl RelayUnderTest) {
    let world = relay.start(Setup::new(Vec::new())).await;
    let p = pid("p");
    let first = sessions(&world).create(&p, record(&["a"])).await.unwrap();
    let (_, second) = granted(&world, "p").await;
    sessions(&world).closed(&p, first);
    sessions(&world).delete(&p, first);
    world.pass(60).await;
    assert!(claimer(&world).put(&p, second, record(&["b"])).await.unwrap());
    assert_eq!(granted(&world, "p").await.0, record(&["b"]));
}

pub async fn a_record_expires_after_its_close(relay: &impl RelayUnderTest) {
    let world = relay.start(Setup::new(Vec::new())).await;
    let (gone, back) = (pid("gone"), pid("back"));
    for p in [&gone, &back] {
        let owner = sessions(&world).create(p, record(&["a"])).await.unwrap();
        world.pass(60).await;
        sessions(&world).closed(p, owner);
    }
    // `back` closed just now, `gone` a minute ago.
    assert_eq!(claim(&world, "gone").await, Claim::Unknown);
    let (_, owner) = granted(&world, "back").await;
    claimer(&world).closed(&back, owner);
    world.pass(60).await;
    assert_eq!(claim(&world, "back").await, Claim::Unknown);
    assert!(!claimer(&world).put(&back, owner, record(&["late"])).await.unwrap());
    assert_eq!(claim(&world, "back").await, Claim::Unknown);
}

pub async fn an_open_record_does_not_expire(relay: &impl RelayUnderTest) {
    let world = relay.start(Setup::new(Vec::new())).await;
    let p = pid("p");
    let owner = sessions(&world).create(&p, record(&["a"])).await.unwrap();
    sessions(&world).closed(&p, owner);
    let (_, owner) = granted(&world, "p").await;
    world.pass(600).await;
    assert!(claimer(&world).put(&p, owner, record(&["b"])).await.unwrap());
    assert_eq!(granted(&world, "p").await.0, record(&["b"]));
}

pub async fn a_deleted_record_is_gone(relay: &impl RelayUnderTest) {
    let world = relay.start(Setup::new(Vec::new())).await;
    let p = pid("p");
    let owner = sessions(&world).create(&p, record(&["a"])).await.unwrap();
    sessions(&world).delete(&p, owner);
    sessions(&world).closed(&p, owner);
    assert!(!sessions(&world).put(&p, owner, record(&["late"])).await.unwrap());
    // A gateway writes ends soon, not at once.
    world.pass(0).await;
    assert_eq!(claim(&world, "p").await, Claim::Unknown);
}

pub async fn a_revoked_record_is_gone_at_once(relay: &impl RelayUnderTest) {
    let world = relay.start(Setup::new(Vec::new())).await;
    let (open, closed) = (pid("open"), pid("closed"));
    for p in [&open, &closed] {
        let owner = sessions(&world).create(p, record(&["a"])).await.unwrap();
        if *p == closed {
            sessions(&world).closed(p, owner);
        }
        sessions(&world).revoke(p, owner).await.unwrap();
        assert_eq!(claim(&world, p).await, Claim::Unknown, "{p}");
        assert!(!sessions(&world).put(p, owner, record(&["late"])).await.unwrap());
    }
}

pub async fn concurrent_claims_leave_one_owner(relay: &impl RelayUnderTest) {
    let world = relay.start(Setup::new(Vec::new())).await;
    let p = pid("p");
    let first = sessions(&world).create(&p, record(&["a"])).await.unwrap();
    sessions(&world).closed(&p, first);
    let mut claims = JoinSet::new();
    for index in 0..16 {
        let relay = Arc::clone(&world.gateways[index % world.gateways.len()].relay);
        claims.spawn(async move {
            let claim = relay.sessions().claim("p").await.unwrap();
            (relay, claim)
        });
    }
    let mut owners = Vec::new();
    for (relay, claim) in claims.join_all().await {
        if let Claim::Granted(_, owner) = claim {
            owners.push((relay, owner));
        }
    }
    let mut holding = 0;
    for (relay, owner) in &owners {
        let put = relay.sessions().put(&p, *owner, record(&["b"]));
        holding += usize::from(put.await.unwrap());
    }
    assert_eq!(holding, 1, "of {}", owners.len());
}
