#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn pod(loaded: Option<&str>, nudged: Option<&str>) -> PodLive {
    let text = |text: Option<&str>| text.map(str::to_owned);
    PodLive { loaded: text(loaded), nudged: text(nudged), ..PodLive::default() }
}

fn behind(asked: Duration, nudged: Option<Duration>, trouble: bool) -> Behind {
    let ago = |time: Duration| Instant::now().checked_sub(time).unwrap();
    Behind {
        since: ago(asked),
        asked: ago(asked),
        nudged: nudged.map(ago),
        trouble: trouble.then(|| "no way".to_owned()),
    }
}

/// From a new pod to one that has read what is new.
#[test]
fn a_server_is_told_once_what_is_new_is_mounted() {
    let second = Duration::from_secs(1);
    assert_eq!(step(&pod(None, None), "b", None), Step::Look, "it may have it from its start");
    assert_eq!(step(&pod(Some("a"), Some("a")), "b", None), Step::Nudge);
    let nudged = behind(second, Some(second), false);
    assert_eq!(step(&pod(Some("a"), Some("b")), "b", Some(&nudged)), Step::Wait);
    let mounted = behind(second, Some(2 * MOUNTED), false);
    assert_eq!(step(&pod(Some("a"), Some("b")), "b", Some(&mounted)), Step::Reload);
    // Another operator has nudged it.
    assert_eq!(step(&pod(Some("a"), Some("b")), "b", None), Step::Reload);
    let trouble = behind(second, Some(2 * MOUNTED), true);
    assert_eq!(step(&pod(Some("a"), Some("b")), "b", Some(&trouble)), Step::Wait);
    let again = behind(2 * AGAIN, Some(2 * AGAIN), true);
    assert_eq!(step(&pod(Some("a"), Some("b")), "b", Some(&again)), Step::Reload);
}

/// Servers that encrypt their routes refuse one that has not been told to, and
/// alone it is never ready.
#[test]
fn a_server_that_is_not_ready_for_long_is_told_too() {
    let ip = Some("10.0.0.1".to_owned());
    let pod = PodLive { ip, started: Some(1_000), ..PodLive::default() };
    assert!(!runs(&pod, 1_000 + STARTS_WITHIN - 1), "it reads everything when it starts");
    assert!(runs(&pod, 1_000 + STARTS_WITHIN));
    assert!(runs(&PodLive { ready: true, ..pod.clone() }, 1_001));
    assert!(!runs(&PodLive { ready: true, deleting: true, ..pod.clone() }, 1_001));
    assert!(!runs(&PodLive { ip: None, ..pod }, 2_000), "it is nowhere");
}

/// As nats-server 2.15.2 answers.
#[test]
fn what_a_server_says_is_compared() {
    let text = r#"{"server": {"name": "live-nats-0"}, "data": {
        "server_name": "live-nats-0", "tls_required": true,
        "tls_cert_not_after": "2027-05-21T18:42:32Z",
        "cluster": {"name": "live", "tls_required": true}}}"#;
    let answer: Answer<Varz> = serde_json::from_str(text).unwrap();
    let varz = answer.data.unwrap();
    let until = "2027-05-21T18:42:32Z".parse::<Timestamp>().unwrap().as_second();
    let wanted = Loaded { hash: "a".to_owned(), until, routes: true, clients: true };
    assert!(varz.is(&wanted));
    assert!(!varz.is(&Loaded { until: until + 1, ..wanted.clone() }));
    assert!(!varz.is(&Loaded { clients: false, ..wanted.clone() }));
    assert!(!varz.is(&Loaded { routes: false, ..wanted }));
    // One server alone, with clients from before there was TLS.
    let varz: Varz =
        serde_json::from_str(r#"{"tls_cert_not_after": "2027-05-21T18:42:32Z", "cluster": {}}"#)
            .unwrap();
    assert!(varz.is(&Loaded { hash: String::new(), until, routes: false, clients: false }));
}
