//! The text of a NATS server's configuration.

use std::fmt::Write as _;

use crate::controller::names::port;
use crate::controller::plan::{ManagedPlan, Plan};

/// Share of a volume that streams may fill; the rest is for what the server
/// writes beside them.
const STORE_PERCENT: u64 = 90;

/// `nats.conf`. What begins with `$` comes from the environment.
///
/// One account holds gateways and apps, told apart by permissions (what each
/// needs stands in docs/nats.md); the system account is nobody's.
pub fn config(plan: &Plan, managed: &ManagedPlan) -> String {
    let prefix = &plan.prefix;
    let stream = plan.stream();
    let store = managed.size_bytes / 100 * STORE_PERCENT;
    let mut text = format!(
        r#"server_name: $POD_NAME
listen: "0.0.0.0:{client}"
http: "0.0.0.0:{monitor}"
pid_file: "/run/nats/nats.pid"
# Clients are sent to another server over 30 s, then the server stops.
lame_duck_grace_period: 10s
lame_duck_duration: 30s

jetstream {{
  store_dir: "/data"
  max_file_store: {store}
  max_memory_store: 67108864
}}

accounts {{
  PUSH {{
    jetstream: enabled
    users: [
      {{ user: gateway, password: $GATEWAY_PASSWORD, permissions: {{
        publish: ["{prefix}.pub.>", "{prefix}.in.>", "{prefix}.ctl.>", "$KV.{stream}_sessions.>", "_INBOX.>",
          "$JS.API.INFO",
          "$JS.API.STREAM.*.{stream}", "$JS.API.STREAM.*.KV_{stream}_sessions",
          "$JS.API.STREAM.MSG.GET.{stream}", "$JS.API.STREAM.MSG.GET.KV_{stream}_sessions",
          "$JS.API.DIRECT.GET.{stream}", "$JS.API.DIRECT.GET.KV_{stream}_sessions",
          "$JS.API.DIRECT.GET.{stream}.>", "$JS.API.DIRECT.GET.KV_{stream}_sessions.>"]
        subscribe: ["{prefix}.pub.>", "{prefix}.live.>", "{prefix}.ctl.>", "_INBOX.>"] }} }}
      {{ user: app, password: $APP_PASSWORD, permissions: {{
        publish: ["{prefix}.pub.>"]
        subscribe: ["{prefix}.in.>", "_INBOX.>"]
        allow_responses: true }} }}
    ]
  }}
  SYSTEM {{ users: [{{ user: system, password: $SYSTEM_PASSWORD }}] }}
}}
system_account: SYSTEM
"#,
        client = port::NATS,
        monitor = port::NATS_MONITOR,
    );
    if managed.replicas > 1 {
        // Writing into a String does not fail.
        let _ = write!(
            text,
            r#"
cluster {{
  name: "{name}"
  listen: "0.0.0.0:{route}"
  authorization {{ user: route, password: $ROUTE_PASSWORD, timeout: 5 }}
  # Routes stand on the command line, where they can carry the password.
}}
"#,
            name = plan.names.name,
            route = port::NATS_ROUTE,
        );
    }
    text
}
