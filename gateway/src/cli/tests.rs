#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    let words = std::iter::once("push-gateway").chain(line.split(' ').filter(|w| !w.is_empty()));
    try_parse(words)
}

/// The flags of `serve`, however it was called.
fn flags(line: &str) -> Vec<(String, String)> {
    let arguments = parse(line).unwrap();
    let serve = match arguments.command {
        None => arguments.serve,
        Some(AnyCommand::Serve(serve)) => serve,
        Some(AnyCommand::Other(other)) => panic!("{other:?}"),
    };
    serve.flags.into_pairs()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn the_definition_holds_together() {
    Arguments::command().debug_assert();
}

#[test]
fn serve_is_the_default_and_takes_every_key_as_a_flag() {
    for line in ["--client-listen :1 --insecure", "serve --insecure --client-listen=:1"] {
        assert_eq!(flags(line), [pair("client-listen", ":1"), pair("insecure", "true")]);
    }
    assert_eq!(flags(""), []);
    assert_eq!(flags("--insecure=false"), [pair("insecure", "false")]);
    assert_eq!(flags("--channels -"), [pair("channels", "-")], "YAML may begin with a dash");
    for key in gateway_config::keys::keys() {
        let line = format!("serve --{}={}", key.flag, if key.switch { "true" } else { "x" });
        assert_eq!(flags(&line).len(), 1, "{}", key.flag);
    }
}

#[test]
fn flags_reach_the_configuration() {
    let Ok(Invocation::Serve(serve)) = resolve(
        parse("--socketio-ping-interval 300ms --client-allowed-origins https://a.example").unwrap(),
    ) else {
        panic!("not served");
    };
    assert_eq!(serve.config.socketio.ping_interval.as_millis(), 300);
    assert_eq!(serve.config.client.allowed_origins, ["https://a.example"]);
    let error = resolve(parse("--socketio-ping-interval fast").unwrap()).unwrap_err().to_string();
    assert!(
        error.starts_with("--socketio-ping-interval: socketio.pingInterval: `fast`"),
        "{error}"
    );
}

#[test]
fn publish_takes_a_channel_or_a_user() {
    for (line, good) in [
        ("publish news hello", true),
        ("publish news -", true),
        ("publish news -1", true),
        ("publish --user ada hello", true),
        ("publish news hello --event e --id 1 --ttl 10s --api-url http://h:1 --api-key k", true),
        ("publish news", false),
        ("publish", false),
        ("publish --user ada news hello", false),
        ("publish news hello --ttl soon", false),
        ("subscribe a b --last 3 --json", true),
        ("subscribe a --since 1-2-3 --last 3", false),
        ("subscribe", false),
        ("config check push.yaml", true),
        ("config check", false),
        ("--client-lisen :1", false),
        ("--insecure publish news hello", false),
    ] {
        assert_eq!(parse(line).is_ok(), good, "{line}: {:?}", parse(line).err());
    }
}

#[test]
fn help_shows_the_commands_first_and_every_key_under_serve() {
    let top = parse("--help").unwrap_err().to_string();
    for word in ["serve", "publish", "subscribe", "config", "--config"] {
        assert!(top.contains(word), "{word}\n{top}");
    }
    assert!(!top.contains("--client-listen"), "{top}");
    let serve = parse("serve --help").unwrap_err().to_string();
    for key in gateway_config::keys::keys() {
        assert!(serve.contains(&format!("--{}", key.flag)), "{}", key.flag);
        assert!(serve.contains(&key.variable), "{}", key.variable);
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let line = "serve --auth-jwt-secret hunter2";
    let arguments = format!("{:?}", parse(line).unwrap());
    let invocation = format!("{:?}", resolve(parse(line).unwrap()).unwrap());
    let publish = format!("{:?}", parse("publish a b --api-key hunter2").unwrap());
    let subscribe = format!("{:?}", parse("subscribe a --token hunter2").unwrap());
    for shown in [arguments, invocation, publish, subscribe] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

/// The documentation is made by `push-gateway config reference`.
#[test]
fn the_reference_in_the_documentation_is_current() {
    let page = include_str!("../../../docs/configuration.md");
    let (_, rest) = page.split_once("<!-- reference begins -->\n").expect("its begin");
    let (reference, _) = rest.split_once("<!-- reference ends -->").expect("its end");
    assert_eq!(
        reference.trim(),
        gateway_config::reference().trim(),
        "write the output of `push-gateway config reference` between the marks of docs/configuration.md"
    );
}

#[test]
fn the_example_in_the_documentation_is_a_configuration() {
    let page = include_str!("../../../docs/configuration.md");
    let (_, rest) = page.split_once("```yaml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let config = Sources::default().load_bytes(example.as_bytes()).unwrap();
    assert_eq!(config.channels.len(), 2);
    assert_eq!(config.api.keys[0].name, "shop");
}
