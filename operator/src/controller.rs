//! Keeps every `PushCluster` true.
//!
//! # Layout
//!
//! - [`names`], [`kinds`]: what things are called
//! - [`plan`]: a manifest with its defaults resolved
//! - [`world`], [`live`]: what is there, by watches
//! - [`context`], [`memory`]: what a look at one works with
//! - [`reconcile`]: one look, stage by stage:
//!   - [`fetch`]: what the manifest refers to; [`secrets`]: what is made once and kept
//!   - [`validate`]: manifest to plan; [`config`]: the gateways' configuration
//!   - [`build`]: plan to objects
//!   - [`pace`]: how fast a rollout goes
//!   - [`apply`]: objects to the API server
//!   - [`gateways`]: what gateways say, and who gets new clients
//!   - [`status`]: conditions in words

use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, stream};
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{
    Controller, Predicate as _, PredicateConfig, WatchStreamExt as _, predicates, watcher,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub mod apply;
pub mod build;
pub mod certificates;
pub mod config;
pub mod context;
pub mod fetch;
pub mod gateways;
pub mod kinds;
pub mod live;
pub mod memory;
pub mod names;
pub mod pace;
pub mod plan;
pub mod reconcile;
pub mod secrets;
pub mod servers;
pub mod status;
pub mod validate;
pub mod world;

use context::Context;
use kinds::Kind;
use names::Names;

/// Looks at once.
const AT_ONCE: u16 = 16;
/// Names that wait to be looked at; more make the watches wait.
const QUEUE: usize = 1_024;

/// Keeps everything true until `stop`. What is under way is finished.
pub async fn run(context: Arc<Context>, namespace: Option<String>, stop: CancellationToken) {
    let client = context.client.clone();
    let (trigger, triggered) = mpsc::channel(QUEUE);
    let (ready, mut listed) = mpsc::channel(Kind::CORE.len() + 1);
    let mut watches = JoinSet::new();
    for kind in Kind::CORE {
        let (context, client, trigger, ready) =
            (context.clone(), client.clone(), trigger.clone(), ready.clone());
        let namespace = namespace.clone();
        watches.spawn(async move {
            context.world.follow(client, namespace.as_deref(), kind, trigger, ready).await;
        });
    }
    {
        let (context, client, trigger, ready) =
            (context.clone(), client.clone(), trigger.clone(), ready.clone());
        let namespace = namespace.clone();
        watches.spawn(async move {
            context.world.follow_pods(client, namespace.as_deref(), trigger, ready).await;
        });
    }
    drop((trigger, ready));
    // Who doesn't know what is there makes everything anew, and fails at it.
    let mut triggered = triggered;
    let mut waiting = Vec::new();
    for _ in 0..=Kind::CORE.len() {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = listed.recv() => break,
                Some(names) = triggered.recv() => waiting.push(names),
            }
        }
    }
    // Everything is looked at first anyway.
    drop(waiting);
    tracing::info!("what is there is known");

    let resource = world::World::clusters();
    let api: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let writer = reflector::store::Writer::new(resource.clone());
    let store = writer.as_reader();
    let clusters = watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .touched_objects()
        .predicate_filter(
            predicates::generation.combine(predicates::annotations),
            PredicateConfig::default(),
        );
    let triggers = names(triggered, resource.clone());
    let looks = Controller::for_stream_with(clusters, store.clone(), resource)
        .with_config(kube::runtime::controller::Config::default().concurrency(AT_ONCE))
        .reconcile_on(triggers)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(
            reconcile::reconcile,
            |_, _, _| kube::runtime::controller::Action::await_change(),
            context.clone(),
        );
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(10));
    let mut looks = std::pin::pin!(looks);
    loop {
        tokio::select! {
            look = looks.next() => match look {
                None => break,
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::debug!("{error}"),
            },
            _ = tick.tick() => count(&context, &store),
        }
    }
    watches.shutdown().await;
}

fn count(context: &Context, store: &Store<DynamicObject>) {
    let there: std::collections::HashSet<Names> = store
        .state()
        .iter()
        .map(|object| Names {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        })
        .collect();
    context.metrics.clusters.set(i64::try_from(there.len()).unwrap_or(i64::MAX));
    context.forget(|names| there.contains(names));
}

fn names(
    triggered: mpsc::Receiver<Names>,
    resource: kube::core::ApiResource,
) -> impl Stream<Item = ObjectRef<DynamicObject>> + Send + 'static {
    stream::unfold((triggered, resource), |(mut triggered, resource)| async move {
        let names = triggered.recv().await?;
        let reference = ObjectRef::new_with(&names.name, resource.clone()).within(&names.namespace);
        Some((reference, (triggered, resource)))
    })
}
