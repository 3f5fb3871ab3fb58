//! Publications that a client may miss when it doesn't keep up, and what is
//! said of those that it did miss.

use arcstr::ArcStr;
use std::rc::Rc;
use std::sync::Arc;

use gateway_config::SlowConsumer;

use super::Form;
use super::encode::notice;
use crate::channel::Channel;
use crate::metrics::{Metrics, PolicyLabel};
use crate::protocol::engineio::Message;

/// Channels whose losses are told by name in one round; those of all others
/// are told as one number. It bounds what a client that reads nothing costs.
pub(super) const NAMED: usize = 32;

/// What happens to publications that a client doesn't take in time, where its
/// connection isn't to end for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The oldest go when more waits than may.
    Oldest,
    /// A newer one takes the place of the one that waits.
    Latest,
}

/// A publication that may be dropped.
#[derive(Clone, Copy)]
pub struct Droppable<'a> {
    /// Its channel.
    pub channel: &'a Channel,
    /// When it is dropped.
    pub policy: Policy,
    /// How its receiver is spoken to.
    pub form: Form,
    /// Where it is counted.
    pub dropping: &'a Rc<Dropping>,
}

/// What is needed to drop: names for the notices, and where it is counted.
pub struct Dropping {
    namespaces: Arc<[ArcStr]>,
    metrics: Metrics,
}

/// What one session has missed since it was last told.
#[derive(Default)]
pub(super) struct Losses(Vec<Loss>);

/// Publications of one channel, or of all channels that are not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// Socket.IO: an index of the configuration's namespaces.
    namespace: u16,
    named: Option<(Channel, Policy)>,
    count: u64,
}

// === impl Policy ===

impl Policy {
    /// Of a channel rule; none where the client is disconnected.
    pub fn of(rule: SlowConsumer) -> Option<Self> {
        match rule {
            SlowConsumer::Disconnect => None,
            SlowConsumer::DropOldest => Some(Self::Oldest),
            SlowConsumer::Latest => Some(Self::Latest),
        }
    }

    /// As the configuration calls it; also the metric's label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Oldest => "dropOldest",
            Self::Latest => "latest",
        }
    }
}

// === impl Dropping ===

impl Dropping {
    /// Counts in these metrics; the namespaces are the configuration's.
    pub fn new(namespaces: Arc<[ArcStr]>, metrics: Metrics) -> Rc<Self> {
        Rc::new(Self { namespaces, metrics })
    }

    pub(super) fn count(&self, policy: Policy) {
        let label = PolicyLabel { policy: policy.label() };
        self.metrics.deliveries_dropped.get_or_create(&label).inc();
    }

    /// What the client is told of a loss.
    pub(super) fn notice(&self, loss: &Loss, form: Form) -> Message {
        let namespace =
            self.namespaces.get(usize::from(loss.namespace)).map_or("/", |name| &**name);
        let data = match &loss.named {
            Some((channel, policy)) => serde_json::json!({
                "channel": channel.name_in(namespace),
                "policy": policy.label(),
                "count": loss.count,
            }),
            None => serde_json::json!({ "count": loss.count }),
        };
        notice(form.protocol, namespace, "push:dropped", &data)
    }
}

// === impl Losses ===

impl Losses {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, namespace: u16, channel: &Channel, policy: Policy) {
        self.add_loss(Loss { namespace, named: Some((channel.clone(), policy)), count: 1 });
    }

    pub(super) fn add_loss(&mut self, loss: Loss) {
        let same =
            |other: &&mut Loss| (other.namespace, &other.named) == (loss.namespace, &loss.named);
        if let Some(known) = self.0.iter_mut().find(same) {
            known.count += loss.count;
        } else if loss.named.is_some() && self.0.len() >= NAMED {
            // At most one for each namespace more.
            self.add_loss(Loss { named: None, ..loss });
        } else {
            self.0.push(loss);
        }
    }

    pub(super) fn take(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.0)
    }
}
