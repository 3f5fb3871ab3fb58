//! What holds where nothing is written.

use super::{
    Admin, Api, Callout, Client, ConnectCallout, Drain, Limits, Log, LogFormat, Recovery, Relay,
    Socketio,
};
use crate::Period;

impl Default for Client {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            allowed_origins: vec!["*".to_owned()],
            trusted_proxies: Vec::new(),
            trusted_hops: 1,
            proxy_protocol: false,
            tls: None,
            shards: 0,
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self { listen: "127.0.0.1:8081".to_owned(), keys: Vec::new(), keys_file: None, tls: None }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9090".to_owned(), token_file: None }
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            url: "memory".to_owned(),
            prefix: "push".to_owned(),
            replicas: 1,
            history_bytes: None,
            user: None,
            password: None,
            token: None,
            credentials: None,
            nkey: None,
            tls: None,
            start_timeout: Period::default(),
        }
    }
}

impl Default for Socketio {
    fn default() -> Self {
        Self {
            path: "/socket.io/".to_owned(),
            ping_interval: Period::from_secs(25),
            ping_timeout: Period::from_secs(20),
            upgrade_timeout: Period::from_secs(10),
            connect_timeout: Period::from_secs(45),
            max_payload: 1_000_000,
            namespaces: vec!["/".to_owned()],
            recovery: Recovery::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 20_000,
            connections_per_address: 0,
            connections_per_user: 0,
            connect_rate: 10_000,
            connect_rate_per_address: 0,
            memory: 0,
            subscriptions: 1_000,
            messages_per_second: 0,
            bytes_per_second: 0,
            outbox_bytes: 4 << 20,
            outbox_messages: 10_000,
            publication_bytes: 1_000_000,
            batch: 1_000,
            header_bytes: 16 << 10,
            handshake_timeout: Period::from_secs(10),
            header_timeout: Period::from_secs(10),
            body_timeout: Period::from_secs(30),
            revocations: 100_000,
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: None, period: Period::from_secs(30) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::default() }
    }
}

impl Default for Callout {
    fn default() -> Self {
        Self { connect: None, subscribe: Vec::new(), cached: 10_000 }
    }
}

impl Default for ConnectCallout {
    fn default() -> Self {
        Self { subject: None, timeout: callout_timeout() }
    }
}

/// How long an app has to answer.
pub(super) const fn callout_timeout() -> Period {
    Period::from_secs(2)
}
