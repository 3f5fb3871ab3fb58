//! What is there, kept up to date by watches.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Client, ResourceExt as _};
use tokio::sync::mpsc;

use super::kinds::Kind;
use super::live::{Live, PodLive, Role};
use super::names::{GATEWAY, NATS, Names, OWNED_SELECTOR, PART_SELECTOR, SCOPE};
use crate::crd::PushCluster;

/// What is there.
#[derive(Debug, Default)]
pub struct World {
    objects: Mutex<HashMap<Kind, Objects>>,
    pods: Mutex<Pods>,
}

/// By namespace and name.
type Objects = HashMap<(String, String), Live>;

/// By their `PushCluster` and what they run, then by name.
type Pods = HashMap<(Names, Role), BTreeMap<String, PodLive>>;

/// Whom to look at again. Bounded: a watch that gets ahead waits.
pub type Trigger = mpsc::Sender<Names>;

// === impl World ===

impl World {
    /// The kind `PushCluster`, for requests.
    pub fn clusters() -> ApiResource {
        ApiResource::erase::<PushCluster>(&())
    }

    /// An object, if it is there.
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Live> {
        let key = (namespace.to_owned(), name.to_owned());
        self.objects().get(&kind)?.get(&key).cloned()
    }

    /// What the operator has just written; the watch will say the same.
    pub fn put(&self, kind: Kind, namespace: &str, name: &str, live: Live) {
        let key = (namespace.to_owned(), name.to_owned());
        self.objects().entry(kind).or_default().insert(key, live);
    }

    /// What the operator has just deleted.
    pub fn remove(&self, kind: Kind, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(objects) = self.objects().get_mut(&kind) {
            objects.remove(&key);
        }
    }

    /// Everything that one `PushCluster` owns.
    pub fn owned_by(&self, uid: &str, namespace: &str) -> Vec<(Kind, String, Live)> {
        let objects = self.objects();
        let mut all = Vec::new();
        for (kind, objects) in objects.iter() {
            for ((at, name), live) in objects {
                if at == namespace && live.owner.as_deref() == Some(uid) {
                    all.push((*kind, name.clone(), live.clone()));
                }
            }
        }
        all
    }

    /// The gateways of one `PushCluster`.
    pub fn pods(&self, names: &Names) -> Vec<PodLive> {
        self.pods_of(names, Role::Gateway)
    }

    /// The servers of its managed NATS.
    pub fn servers(&self, names: &Names) -> Vec<PodLive> {
        self.pods_of(names, Role::Nats)
    }

    fn pods_of(&self, names: &Names, role: Role) -> Vec<PodLive> {
        let key = (names.clone(), role);
        self.all_pods().get(&key).map(|pods| pods.values().cloned().collect()).unwrap_or_default()
    }

    /// Whether an operator of its own looks after this namespace.
    pub fn is_somebody_elses(&self, namespace: &str) -> bool {
        self.get(Kind::ConfigMap, namespace, SCOPE).is_some_and(|live| !live.deleting)
    }

    fn objects(&self) -> MutexGuard<'_, HashMap<Kind, Objects>> {
        // Nothing panics while it is held.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_pods(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows one kind until the trigger's other end is gone. `ready` is
    /// told when the first list is complete.
    pub async fn follow(
        &self,
        client: Client,
        namespace: Option<&str>,
        kind: Kind,
        trigger: Trigger,
        ready: mpsc::Sender<()>,
    ) {
        // An operator of its own is told by an object that helm labels.
        let selector = if kind == Kind::ConfigMap { PART_SELECTOR } else { OWNED_SELECTOR };
        let config = watcher::Config::default().labels(selector);
        if kind == Kind::Secret {
            // Their content is not for a watch to carry.
            let api: Api<PartialObjectMeta<Secret>> = match namespace {
                Some(namespace) => Api::namespaced(client, namespace),
                None => Api::all(client),
            };
            let read = |meta: &PartialObjectMeta<Secret>| {
                let mut object = DynamicObject::new(&meta.name_any(), &kind.resource());
                object.metadata = meta.metadata.clone();
                object
            };
            let stream = watch(api, config).default_backoff().boxed();
            self.take(kind, stream, &trigger, &ready, read).await;
            return;
        }
        let resource = kind.resource();
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        };
        let stream = watch(api, config).default_backoff().boxed();
        self.take(kind, stream, &trigger, &ready, DynamicObject::clone).await;
    }

    async fn take<K>(
        &self,
        kind: Kind,
        mut stream: impl futures_util::Stream<Item = Result<Event<K>, watcher::Error>> + Unpin,
        trigger: &Trigger,
        ready: &mpsc::Sender<()>,
        read: impl Fn(&K) -> DynamicObject,
    ) {
        let mut fresh: Option<Objects> = None;
        while let Some(event) = stream.next().await {
            let mut wake = Vec::new();
            match event {
                Err(error) => {
                    tracing::warn!(
                        kind = kind.name(),
                        "a watch has failed and is made anew: {error}"
                    );
                }
                Ok(Event::Init) => fresh = Some(HashMap::new()),
                Ok(Event::InitApply(object)) => {
                    let object = read(&object);
                    let key = (object.namespace().unwrap_or_default(), object.name_any());
                    if let Some(fresh) = &mut fresh {
                        fresh.insert(key, Live::reduce(kind, &object));
                    }
                }
                Ok(Event::InitDone) => {
                    let fresh = fresh.take().unwrap_or_default();
                    let before = self.objects().insert(kind, fresh.clone()).unwrap_or_default();
                    // What has changed while nobody looked, either way.
                    for (key, live) in &before {
                        if fresh.get(key) != Some(live) {
                            wake.extend(owner(&key.0, live));
                        }
                    }
                    for (key, live) in &fresh {
                        if !before.contains_key(key) {
                            wake.extend(owner(&key.0, live));
                        }
                    }
                    // Whoever waits for it may be gone.
                    let _ = ready.try_send(());
                }
                Ok(Event::Apply(object)) => {
                    let object = read(&object);
                    let key = (object.namespace().unwrap_or_default(), object.name_any());
                    let live = Live::reduce(kind, &object);
                    let namespace = key.0.clone();
                    let before = self.objects().entry(kind).or_default().insert(key, live.clone());
                    if differs(before.as_ref(), &live) {
                        wake.extend(owner(&namespace, &live));
                        // One that was taken away from its owner.
                        wake.extend(before.iter().filter_map(|live| owner(&namespace, live)));
                    }
                }
                Ok(Event::Delete(object)) => {
                    let object = read(&object);
                    let namespace = object.namespace().unwrap_or_default();
                    self.remove(kind, &namespace, &object.name_any());
                    wake.extend(owner(&namespace, &Live::reduce(kind, &object)));
                }
            }
            wake.dedup();
            for names in wake {
                if trigger.send(names).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Follows pods of gateways and NATS servers.
    pub async fn follow_pods(
        &self,
        client: Client,
        namespace: Option<&str>,
        trigger: Trigger,
        ready: mpsc::Sender<()>,
    ) {
        let api: Api<Pod> = match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let selector = format!("{OWNED_SELECTOR},app.kubernetes.io/name in ({GATEWAY},{NATS})");
        let config = watcher::Config::default().labels(&selector);
        let mut stream = watch(api, config).default_backoff().boxed();
        let mut fresh: Option<Pods> = None;
        while let Some(event) = stream.next().await {
            let mut wake = Vec::new();
            match event {
                Err(error) => {
                    tracing::warn!(kind = "Pod", "a watch has failed and is made anew: {error}");
                }
                Ok(Event::Init) => fresh = Some(HashMap::new()),
                Ok(Event::InitApply(pod)) => {
                    if let (Some(fresh), Some((key, live))) = (&mut fresh, reduce(&pod)) {
                        fresh.entry(key).or_default().insert(live.name.clone(), live);
                    }
                }
                Ok(Event::InitDone) => {
                    let fresh = fresh.take().unwrap_or_default();
                    wake.extend(fresh.keys().map(|(names, _)| names.clone()));
                    let before = std::mem::replace(&mut *self.all_pods(), fresh);
                    wake.extend(before.into_keys().map(|(names, _)| names));
                    let _ = ready.try_send(());
                }
                Ok(Event::Apply(pod)) => {
                    if let Some((key, live)) = reduce(&pod) {
                        let mut all = self.all_pods();
                        let pods = all.entry(key.clone()).or_default();
                        if pods.get(&live.name) != Some(&live) {
                            pods.insert(live.name.clone(), live);
                            wake.push(key.0);
                        }
                    }
                }
                Ok(Event::Delete(pod)) => {
                    if let Some((key, live)) = reduce(&pod) {
                        let mut all = self.all_pods();
                        if let Some(pods) = all.get_mut(&key) {
                            pods.remove(&live.name);
                            if pods.is_empty() {
                                all.remove(&key);
                            }
                        }
                        wake.push(key.0);
                    }
                }
            }
            for names in wake {
                if trigger.send(names).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn reduce(pod: &Pod) -> Option<((Names, Role), PodLive)> {
    let (name, role, live) = PodLive::reduce(pod)?;
    Some(((Names { namespace: pod.namespace().unwrap_or_default(), name }, role), live))
}

/// Whether somebody must look at it: not for its version alone.
fn differs(before: Option<&Live>, now: &Live) -> bool {
    before.is_none_or(|before| {
        before.fingerprint != now.fingerprint
            || before.workload != now.workload
            || before.owner != now.owner
            || before.deleting != now.deleting
            || before.foreign != now.foreign
    })
}

fn owner(namespace: &str, live: &Live) -> Option<Names> {
    let name = live.owner_name.clone()?;
    Some(Names { namespace: namespace.to_owned(), name })
}
