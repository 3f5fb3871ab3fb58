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
    /// API requests, by route, method and status.
    pub api_requests: Family<RequestLabel, Counter>,
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

/// An error code.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    /// See [`crate::error::ErrorCode`].
    pub code: &'static str,
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
        r.register("api_requests", "API requests", self.api_requests.clone());
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
