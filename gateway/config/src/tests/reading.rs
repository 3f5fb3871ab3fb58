//! Good configurations, and the schema.

use std::fmt::Write as _;

use super::{errors, read};
use crate::{Config, History, Period, Recovery, Sources, check, reference, schema};

#[test]
fn nothing_is_the_default_and_the_default_is_good() {
    for text in ["", "# nothing\n", "---\n", "client:\n  # listen: x\nauth:\n", "{}"] {
        assert_eq!(read(text, &[], &[]).unwrap(), Config::default(), "{text:?}");
    }
    assert_eq!(check(&Config::default()), []);
}

#[test]
fn a_whole_file_is_read() {
    let text = r##"
client: {listen: ":8080", allowedOrigins: ["https://app.example.com", "capacitor://localhost", "http://[::1]:3000"]}
api:
  listen: 0.0.0.0:8081
  keys:
  - name: shop
    sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    scopes: [publish, read]
    channels: ["orders.>"]
socketio: {pingInterval: 300ms, recovery: off, namespaces: ["/", "/admin"]}
auth: {jwt: {secret: 0123, issuer: 1.10}}
channels:
- match: orders.>
  history: &day {maxMessages: 1000, maxAge: 1d}
  clientPublish: false
- {match: orders.eu.*, history: *day}
- {match: "#general", anonymous: true, maxPayload: 100}
limits: {connections: 5}
drain: {delay: 0s, period: 1m30s}
log: {level: "info,gateway::hub=debug", format: json}
"##;
    let config = read(text, &[], &[]).unwrap();
    assert_eq!(config.client.listen, "0.0.0.0:8080", "can be bound as it stands");
    assert_eq!(config.api.keys[0].name, "shop");
    assert_eq!(config.socketio.recovery, Recovery::Off);
    let jwt = config.auth.jwt.unwrap();
    assert_eq!(jwt.secret.as_deref(), Some("0123"), "text that looks like a number stays text");
    assert_eq!(jwt.issuer.as_deref(), Some("1.10"));
    let day = History { max_messages: 1000, max_age: Period::from_secs(86_400) };
    assert_eq!(config.channels[0].history, Some(day));
    assert_eq!(config.channels[1].history, Some(day));
    assert_eq!(config.drain.period, Period::from_secs(90));
}

#[test]
fn keys_of_later_versions_are_taken_when_they_ask_for_nothing() {
    let text = r#"
client: {trustedProxies: [], trustedHops: 1, proxyProtocol: false, tls: null}
api: {tls: {}}
peer: {listen: "", advertise: "", tls: }
relay: {url: memory, prefix: push, replicas: 3, user: ""}
channels: [{match: a, presence: false, slowConsumer: disconnect}]
upstreams: []
limits: {messagesPerSecond: 0}
generation: 0
"#;
    assert_eq!(errors(text), "ok");
    assert_eq!(errors("peer: null"), "ok");
}

#[test]
fn recovery_has_several_forms() {
    for (written, expected) in [
        ("off", Recovery::Off),
        ("\"off\"", Recovery::Off),
        ("false", Recovery::Off),
        ("on", Recovery::default()),
        ("true", Recovery::default()),
        ("{maxDisconnection: 5s}", Recovery::On { max_disconnection: Period::from_secs(5) }),
    ] {
        let config = read(&format!("socketio: {{recovery: {written}}}"), &[], &[]).unwrap();
        assert_eq!(config.socketio.recovery, expected, "{written}");
    }
}

#[test]
fn a_merge_key_brings_what_is_not_there() {
    let text = "
channels:
- &base {match: a, clientPublish: true, anonymous: true}
- {<<: *base, match: b, anonymous: false}
";
    let config = read(text, &[], &[]).unwrap();
    assert_eq!(config.channels[1].matches.as_str(), "b");
    assert_eq!(config.channels[1].client_publish, Some(true));
    assert_eq!(config.channels[1].anonymous, Some(false));
}

#[test]
fn open_doors_are_refused_unless_they_are_meant() {
    for (text, safe) in [
        ("client: {listen: '0.0.0.0:8080'}", false),
        ("client: {listen: ':8080'}", false),
        ("client: {listen: '[::]:8080'}", false),
        ("client: {listen: '10.0.0.1:8080'}", false),
        ("client: {listen: 'push.example.com:8080'}", false),
        ("client: {listen: '127.0.0.2:8080'}", true),
        ("client: {listen: '[::1]:8080'}", true),
        ("client: {listen: 'localhost:8080'}", true),
        ("client: {listen: ':8080'}\nauth: {anonymous: true}", true),
        ("client: {listen: ':8080'}\nauth: {jwt: {secret: x}}", true),
        ("client: {listen: ':8080'}\ninsecure: true", true),
        ("api: {listen: ':8081'}", false),
        ("api: {listen: ':8081'}\nauth: {anonymous: true}", false),
        ("api: {listen: ':8081'}\ninsecure: true", true),
        ("admin: {listen: ':9090'}", true),
        ("client: {listen: '127.0.0.1:0'}\napi: {listen: '127.0.0.1:0'}", true),
    ] {
        assert_eq!(errors(text) == "ok", safe, "{text}: {}", errors(text));
    }
}

#[test]
fn an_advertised_address_is_completed() {
    for (written, reached) in [
        ("10.0.0.1:8082", "10.0.0.1:8082"),
        ("10.0.0.1", "10.0.0.1:8082"),
        ("gateway-1.live", "gateway-1.live:8082"),
        // As Kubernetes writes the address of a pod.
        ("fd00:10:244::5:8082", "[fd00:10:244::5]:8082"),
        ("fd00:1:2:3:4:5:6:7:9000", "[fd00:1:2:3:4:5:6:7]:9000"),
        ("fd00:1:2:3:4:5:6:7", "[fd00:1:2:3:4:5:6:7]:8082"),
        ("fd00:10:244::a5", "[fd00:10:244::a5]:8082"),
        ("[fd00::1]", "[fd00::1]:8082"),
        ("[fd00::1]:9", "[fd00::1]:9"),
        ("127.0.0.1:0", "127.0.0.1:0"),
    ] {
        let text = format!("peer: {{secret: s, listen: '[::]:8082', advertise: '{written}'}}");
        let config = read(&text, &[], &[]).unwrap_or_else(|error| panic!("{written}: {error}"));
        assert_eq!(config.peer.advertise(), Some(reached), "{written}");
    }
}

#[test]
fn the_keys_of_the_api_may_have_a_file_of_their_own() {
    let path = std::env::temp_dir().join(format!("push-keys-{}.yaml", std::process::id()));
    let list = format!("- {{name: shop, sha256: {}, scopes: [publish]}}\n", "a".repeat(64));
    std::fs::write(&path, list).unwrap();
    let environment = vec![
        ("PUSH_API_KEYS_FILE".to_owned(), path.display().to_string()),
        ("PUSH_API_LISTEN".to_owned(), ":8081".to_owned()),
    ];
    let sources = Sources { environment, ..Sources::default() };
    let config = sources.load();
    let _ = std::fs::remove_file(&path);
    assert_eq!(config.unwrap().api.keys[0].name, "shop");
    let gone = sources.load().unwrap_err().to_string();
    assert!(gone.starts_with(&format!("{}: cannot be read", path.display())), "{gone}");
    // Who reads for somebody else's machine has the list by another way.
    assert_eq!(sources.load_bytes(b"").unwrap().api.keys, []);
}

#[test]
fn history_rules_may_contain_each_other_and_not_cross() {
    let rules = |patterns: &[&str]| {
        patterns.iter().fold("channels:\n".to_owned(), |text, pattern| {
            text + &format!("- {{match: '{pattern}', history: {{maxMessages: 1, maxAge: 1s}}}}\n")
        })
    };
    for (patterns, good) in [
        (&["a.>", "a.b", "a.*"][..], true),
        (&["a", "b"], true),
        (&["a.b", "a.b"], true),
        (&["$user.>", "*.x"], true),
        (&["a.*.c", "a.b.*"], false),
        (&["a.*.c", "a.b.>"], false),
    ] {
        assert_eq!(errors(&rules(patterns)) == "ok", good, "{patterns:?}");
    }
    let without_history =
        "channels: [{match: 'a.*', history: {maxMessages: 1, maxAge: 1s}}, {match: '*.b'}]";
    assert_eq!(errors(without_history), "ok");
}

#[test]
fn what_was_made_and_not_read_is_checked_too() {
    let mut config = Config::default();
    config.limits.batch = 0;
    config.log.level = "loud".to_owned();
    let paths: Vec<_> = check(&config).into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["limits.batch", "log.level"]);
}

#[test]
fn alias_bombs_and_deep_nests_end_in_an_error() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..9 {
        let before = format!("*a{},", level - 1).repeat(10);
        writeln!(bomb, "a{level}: &a{level} [{}]", before.trim_end_matches(',')).unwrap();
    }
    assert!(errors(&bomb).contains("unfolds to more than 50000 values"), "{}", errors(&bomb));
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        writeln!(chain, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert!(errors(&chain).contains("nests deeper than 32"), "{}", errors(&chain));
    for open in ["[", "{a: ", "- "] {
        assert!(errors(&open.repeat(10_000)).starts_with("push.yaml:1:"), "{open}");
    }
    assert!(errors(&format!("# {}", "x".repeat(2 << 20))).contains("at most 1048576"));
}

#[test]
fn text_that_is_not_utf8_is_named_by_its_line() {
    let sources = crate::Sources { file: Some("push.yaml".into()), ..Default::default() };
    let error = sources.load_bytes(b"client:\n  listen: \xff").unwrap_err();
    assert_eq!(error.to_string(), "push.yaml: is not UTF-8 in line 2; save it as UTF-8");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let path = std::path::Path::new("/nowhere/push.yaml");
    let error = crate::load(Some(path), std::iter::empty(), &[]).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/push.yaml: cannot be read: "), "{error}");
}

#[test]
fn the_schema_is_draft_2020_12_with_defaults() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["$defs"]["Socketio"]["properties"]["pingInterval"]["default"], "25s");
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn the_reference_has_every_key() {
    let reference = reference();
    for key in crate::keys::keys() {
        assert!(reference.contains(&format!("| `{}` |", key.path)), "{}", key.path);
    }
    assert!(reference.contains("| `channels[].history.maxAge` |"));
}
