//! The text of a NATS server's configuration.

use std::fmt::Write as _;

use crate::controller::names::port;
use crate::controller::plan::{ManagedPlan, Plan, Wire};
use crate::controller::secrets::{BUNDLE, CERTIFICATE, CERTIFICATE_KEY};

/// Share of a volume that streams may fill; the rest is for what the server
/// writes beside them.
const STORE_PERCENT: u64 = 90;

/// Where the server's certificate is.
pub const TLS_DIR: &str = "/etc/nats-tls";

/// `nats.conf`. What begins with `$` comes from the environment.
///
/// Gateways and apps have an account each (docs/decisions/nats-accounts.md). The
/// gateways' is called as the one that both had before: the stream is in it.
pub fn config(plan: &Plan, managed: &ManagedPlan) -> String {
    let mut text = server(managed);
    text.push_str(&accounts(plan));
    if managed.replicas > 1 {
        text.push_str(&cluster(plan, managed));
    }
    text
}

/// The part of it that takes a restart: what servers read again when they are
/// told to is as in a new one.
pub fn at_start(plan: &Plan, managed: &ManagedPlan) -> String {
    let as_new = ManagedPlan { wire: Wire::Encrypted, ..managed.clone() };
    config(plan, &as_new)
}

fn server(managed: &ManagedPlan) -> String {
    let mut text = format!(
        r#"server_name: $POD_NAME
listen: "0.0.0.0:{client}"
http: "0.0.0.0:{monitor}"
pid_file: "/run/nats/nats.pid"
# Clients are sent to another server over 30 s, then the server stops.
lame_duck_grace_period: 10s
lame_duck_duration: 30s

tls {{
  cert_file: "{TLS_DIR}/{CERTIFICATE}"
  key_file: "{TLS_DIR}/{CERTIFICATE_KEY}"
  timeout: 5
}}
"#,
        client = port::NATS,
        monitor = port::NATS_MONITOR,
    );
    if managed.plaintext {
        text.push_str("# Clients from before there was TLS.\nallow_non_tls: true\n");
    }
    // Writing into a String does not fail.
    let _ = write!(
        text,
        r#"
jetstream {{
  store_dir: "/data"
  max_file_store: {store}
  max_memory_store: 67108864
}}
"#,
        store = managed.size_bytes / 100 * STORE_PERCENT,
    );
    text
}

/// What each may do stands in docs/nats.md.
fn accounts(plan: &Plan) -> String {
    let prefix = &plan.prefix;
    let stream = plan.stream();
    format!(
        r#"
accounts {{
  PUSH {{
    jetstream: enabled
    users: [
      {{ user: gateway, password: $GATEWAY_PASSWORD, permissions: {{
        publish: ["{prefix}.pub.>", "{prefix}.in.>", "{prefix}.ctl.>", "$KV.{stream}_sessions.>",
          "$JS.API.STREAM.INFO.{stream}", "$JS.API.STREAM.CREATE.{stream}", "$JS.API.STREAM.UPDATE.{stream}",
          "$JS.API.STREAM.MSG.GET.{stream}", "$JS.API.DIRECT.GET.{stream}",
          "$JS.API.STREAM.INFO.KV_{stream}_sessions", "$JS.API.STREAM.CREATE.KV_{stream}_sessions",
          "$JS.API.STREAM.MSG.GET.KV_{stream}_sessions", "$JS.API.DIRECT.GET.KV_{stream}_sessions"]
        subscribe: ["{prefix}.pub.>", "{prefix}.live.>", "{prefix}.ctl.>"] }} }}
    ]
    exports: [ {{ service: "{prefix}.pub.>", accounts: [APPS] }} ]
    imports: [ {{ service: {{ account: APPS, subject: "{prefix}.in.>" }} }} ]
  }}
  APPS {{
    users: [
      {{ user: app, password: $APP_PASSWORD, permissions: {{
        publish: ["{prefix}.pub.>"]
        subscribe: ["{prefix}.in.>", "_INBOX.>"]
        allow_responses: true }} }}
    ]
    exports: [ {{ service: "{prefix}.in.>", accounts: [PUSH] }} ]
    imports: [ {{ service: {{ account: PUSH, subject: "{prefix}.pub.>" }} }} ]
  }}
  SYSTEM {{ users: [ {{ user: system, password: $SYSTEM_PASSWORD }} ] }}
}}
system_account: SYSTEM
"#
    )
}

fn cluster(plan: &Plan, managed: &ManagedPlan) -> String {
    // Servers show each other the same certificate.
    let tls = if managed.wire.routes() {
        format!(
            r#"
  tls {{
    cert_file: "{TLS_DIR}/{CERTIFICATE}"
    key_file: "{TLS_DIR}/{CERTIFICATE_KEY}"
    ca_file: "{TLS_DIR}/{BUNDLE}"
    timeout: 5
  }}"#
        )
    } else {
        String::new()
    };
    format!(
        r#"
cluster {{
  name: "{name}"
  listen: "0.0.0.0:{route}"
  authorization {{ user: route, password: $ROUTE_PASSWORD, timeout: 5 }}
  # Routes stand on the command line, where they can carry the password.{tls}
}}
"#,
        name = plan.names.name,
        route = port::NATS_ROUTE,
    )
}
