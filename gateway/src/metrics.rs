//! What the gateway counts. Handed to the parts that count, encoded at
//! `/metrics` (`OpenMetrics`).

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[cfg(test)]
mod tests;

/// All counters and gauges. Cheap to clone: every clone counts the same.
#[derive(Clone, Default)]
pub struct Metrics {
    /// Open client connections, by protocol and transport.
    pub connections: Family<TransportLabel, Gauge>,
    /// Client connections accepted, by protocol and transport.
    pub connections_opened: Family<TransportLabel, Counter>,
    /// Client connections ended, by reason.
    pub connections_closed: Family<ReasonLabel, Counter>,
    /// Engine.IO upgrades from polling to WebSocket.
    pub upgrades: Counter,
    /// Requests and connections refused, by error code.
    pub refused: Family<CodeLabel, Counter>,
    /// Connections closed because the PROXY protocol's header wasn't there, or
    /// wasn't a proxy's, by reason.
    pub proxy_refused: Family<ReasonLabel, Counter>,
    /// Requests of a trusted proxy that don't say where the client is.
    pub addresses_malformed: Counter,
    /// New connections and messages refused, by the limit that they met.
    pub limited: Family<LimitLabel, Counter>,
    /// New connections that had to wait for their turn.
    pub connections_delayed: Counter,
    /// Resident bytes of the process.
    pub memory: Gauge,
    /// TLS handshakes that failed, by listener.
    pub tls_failed: Family<ListenerLabel, Counter>,
    /// Subscriptions in force.
    pub subscriptions: Gauge,
    /// Publications that the relay handed to this gateway.
    pub publications_received: Counter,
    /// Publications accepted, by who published: `api` or `client`.
    pub publications: Family<SourceLabel, Counter>,
    /// Publications refused, by who published and error code.
    pub publications_refused: Family<RefusedLabel, Counter>,
    /// Messages handed to clients' outboxes.
    pub deliveries: Counter,
    /// Of these, those that were dropped because a client read too slowly, by
    /// the rule's policy.
    pub deliveries_dropped: Family<PolicyLabel, Counter>,
    /// Clients disconnected because they read too slowly.
    pub slow_consumers: Counter,
    /// Sessions closed because of a fault of the gateway's own.
    pub panics: Counter,
    /// Session recoveries, by outcome.
    pub recoveries: Family<OutcomeLabel, Counter>,
    /// Requests of one shard's connection for a session of another.
    pub shard_hops: Counter,
    /// Other gateways that are there.
    pub peers: Gauge,
    /// Polls of clients that were passed to another gateway.
    pub peer_forwarded_polls: Counter,
    /// Polling clients' data that was passed to another gateway.
    pub peer_forwarded_posts: Counter,
    /// Upgrading sockets that were passed to another gateway.
    pub peer_spliced: Counter,
    /// Upgraded sockets that pass through to another gateway now.
    pub peer_splices: Gauge,
    /// Requests and messages that no gateway of the cluster sent, or not now,
    /// by reason.
    pub peer_refused: Family<ReasonLabel, Counter>,
    /// Clients' events that no upstream is there for.
    pub events_unhandled: Counter,
    /// API requests with a key of the configuration, by the key's name.
    pub api_key_uses: Family<KeyLabel, Counter>,
    /// Questions to apps who a client is and what it may do, by outcome.
    pub callouts: Family<CalloutLabel, Counter>,
    /// Revoked tokens and users that are remembered.
    pub revocations: Gauge,
    /// API requests, by route, method and status.
    pub api_requests: Family<RequestLabel, Counter>,
    /// Bytes of history that are kept.
    pub history_bytes: Gauge,
    /// Publications that went from history before their rule says, because
    /// there was no more room.
    pub history_removed_early: Counter,
    /// Sessions whose clients can't come back to them, because there was no
    /// room for their records.
    pub sessions_not_kept: Counter,
    /// Messages from NATS that no client could take, by reason.
    pub relay_skipped: Family<ReasonLabel, Counter>,
    /// Holes in the feed that were filled from the stream.
    pub relay_fills: Counter,
    /// Messages that came from the stream because the feed hadn't brought them.
    pub relay_filled: Counter,
    /// Times that the feed was found blind: stored publications didn't come.
    pub relay_blind: Counter,
    /// Times that publications were gone before the feed could bring them.
    pub relay_lost: Counter,
    /// Times that the NATS client's buffer for a subscription ran over.
    pub relay_overruns: Counter,
    /// Configuration reloads, by outcome.
    pub config_reloads: Family<OutcomeLabel, Counter>,
}

/// `protocol` (`socketio`, `websocket`, `sse`) and `transport` (`polling`,
/// `websocket`, `sse`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TransportLabel {
    /// Client protocol.
    pub protocol: &'static str,
    /// What carries it.
    pub transport: &'static str,
}

/// Why something ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// Why.
    pub reason: &'static str,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabel {
    /// Its name in the configuration, without `limits.`.
    pub limit: &'static str,
}

/// What a channel rule says of clients that read too slowly.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PolicyLabel {
    /// `dropOldest` or `latest`.
    pub policy: &'static str,
}

/// Which listener: `client`, `api`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ListenerLabel {
    /// Which.
    pub listener: &'static str,
}

/// An error code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    /// See [`crate::error::ErrorCode`].
    pub code: &'static str,
}

/// A question to an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CalloutLabel {
    /// `connect` or `subscribe`.
    pub callout: &'static str,
    /// How it went.
    pub outcome: &'static str,
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KeyLabel {
    /// Its name.
    pub key: String,
}

/// Who published.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SourceLabel {
    /// Who.
    pub source: Source,
}

/// Who published what was refused, and why it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedLabel {
    /// Who.
    pub source: Source,
    /// See [`crate::error::ErrorCode`].
    pub code: &'static str,
}

/// Who published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)]
pub enum Source {
    /// An app, over HTTP.
    api,
    /// A client.
    client,
}

/// How something went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// How.
    pub outcome: &'static str,
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabel {
    /// The route's template.
    pub route: String,
    /// The method.
    pub method: String,
    /// The answer's status.
    pub status: u16,
}

// === impl Metrics ===

impl Metrics {
    /// Puts everything under the prefix `push_` into a registry.
    pub fn register(&self) -> Registry {
        let mut registry = Registry::with_prefix("push");
        let r = &mut registry;
        r.register("connections", "Open client connections", self.connections.clone());
        r.register(
            "connections_opened",
            "Client connections accepted",
            self.connections_opened.clone(),
        );
        r.register(
            "connections_closed",
            "Client connections ended",
            self.connections_closed.clone(),
        );
        r.register("upgrades", "Upgrades from polling to WebSocket", self.upgrades.clone());
        r.register("refused", "Requests and connections refused", self.refused.clone());
        r.register("limited", "Refused by a limit", self.limited.clone());
        r.register(
            "connections_delayed",
            "New connections that waited for their turn",
            self.connections_delayed.clone(),
        );
        r.register("memory_bytes", "Resident memory", self.memory.clone());
        r.register("tls_handshakes_failed", "TLS handshakes that failed", self.tls_failed.clone());
        r.register(
            "proxy_refused",
            "Connections without the PROXY protocol's header",
            self.proxy_refused.clone(),
        );
        r.register(
            "addresses_malformed",
            "Requests of a trusted proxy without a usable address",
            self.addresses_malformed.clone(),
        );
        r.register("subscriptions", "Subscriptions in force", self.subscriptions.clone());
        r.register(
            "publications_received",
            "Publications that the relay handed over",
            self.publications_received.clone(),
        );
        r.register("publications", "Publications accepted", self.publications.clone());
        r.register(
            "publications_refused",
            "Publications refused",
            self.publications_refused.clone(),
        );
        r.register("deliveries", "Messages handed to clients", self.deliveries.clone());
        r.register(
            "deliveries_dropped",
            "Messages dropped because a client read too slowly",
            self.deliveries_dropped.clone(),
        );
        r.register(
            "slow_consumers",
            "Clients disconnected for reading too slowly",
            self.slow_consumers.clone(),
        );
        r.register(
            "session_panics",
            "Sessions closed by a fault of the gateway",
            self.panics.clone(),
        );
        r.register("recoveries", "Session recoveries", self.recoveries.clone());
        r.register("shard_hops", "Requests that moved to another shard", self.shard_hops.clone());
        self.register_peers(r);
        r.register(
            "events_unhandled",
            "Client events without a handler",
            self.events_unhandled.clone(),
        );
        r.register("api_key_uses", "API requests by key", self.api_key_uses.clone());
        r.register("callouts", "Questions to apps who a client is", self.callouts.clone());
        r.register("revocations", "Revocations in force", self.revocations.clone());
        r.register("api_requests", "API requests", self.api_requests.clone());
        r.register("history_bytes", "Bytes of history that are kept", self.history_bytes.clone());
        r.register(
            "history_removed_early",
            "Publications removed from history for want of room",
            self.history_removed_early.clone(),
        );
        r.register(
            "sessions_not_kept",
            "Sessions that can't be recovered for want of room",
            self.sessions_not_kept.clone(),
        );
        r.register(
            "relay_skipped",
            "Messages that no client could take",
            self.relay_skipped.clone(),
        );
        r.register("relay_fills", "Holes in the feed that were filled", self.relay_fills.clone());
        r.register("relay_filled", "Messages that filled holes", self.relay_filled.clone());
        r.register("relay_blind", "Times that the feed was blind", self.relay_blind.clone());
        r.register("relay_lost", "Times that publications were gone", self.relay_lost.clone());
        r.register("relay_overruns", "Overruns of NATS subscriptions", self.relay_overruns.clone());
        r.register("config_reloads", "Configuration reloads", self.config_reloads.clone());
        registry
    }

    fn register_peers(&self, r: &mut Registry) {
        r.register("peers", "Other gateways that are there", self.peers.clone());
        r.register(
            "peer_forwarded_polls",
            "Polls passed to another gateway",
            self.peer_forwarded_polls.clone(),
        );
        r.register(
            "peer_forwarded_posts",
            "Data requests passed to another gateway",
            self.peer_forwarded_posts.clone(),
        );
        r.register(
            "peer_spliced",
            "WebSockets passed to another gateway",
            self.peer_spliced.clone(),
        );
        r.register("peer_splices", "WebSockets that pass through now", self.peer_splices.clone());
        r.register("peer_refused", "Peer requests and messages refused", self.peer_refused.clone());
    }
}
