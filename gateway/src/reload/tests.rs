#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use super::*;

/// A directory of one test's own, gone afterwards.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("push-reload-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn reload(file: PathBuf) -> (Reload, watch::Receiver<Arc<Config>>, Metrics) {
    let sources = Sources { file: Some(file), ..Sources::default() };
    let running = sources.load().unwrap();
    let metrics = Metrics::default();
    let (reload, receiver) = Reload::new(sources, running, metrics.clone());
    (reload, receiver, metrics)
}

fn count(metrics: &Metrics, outcome: &'static str) -> u64 {
    metrics.config_reloads.get_or_create(&OutcomeLabel { outcome }).get()
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_taken_and_a_bad_one_is_not() {
    let place = Place::new("changed");
    let file = place.0.join("push.yaml");
    std::fs::write(&file, "limits: {connections: 5}\n").unwrap();
    let (mut reload, receiver, metrics) = reload(file.clone());
    reload.look().await;
    assert!(!receiver.has_changed().unwrap(), "nothing has changed yet");

    let text = "limits: {connections: 7}\nchannels: [{match: a}]\nrelay: {historyBytes: 3000000, replicas: 3}\n";
    std::fs::write(&file, text).unwrap();
    reload.look().await;
    assert_eq!(receiver.borrow().limits.connections, 7);
    assert_eq!(receiver.borrow().channels.len(), 1);
    assert_eq!(receiver.borrow().relay.history_bytes, Some(3_000_000));
    assert_eq!(receiver.borrow().relay.replicas, 3);
    assert_eq!(count(&metrics, "applied"), 1);

    for bad in ["limits: {conections: 9}\n", "limits: [", "limits: {batch: 0}"] {
        std::fs::write(&file, bad).unwrap();
        reload.look().await;
        reload.look().await;
    }
    std::fs::remove_file(&file).unwrap();
    reload.look().await;
    assert_eq!(count(&metrics, "refused"), 4, "each bad file once");
    assert_eq!(receiver.borrow().limits.connections, 7, "the old one stays");

    std::fs::write(&file, "limits: {connections: 8}\n").unwrap();
    reload.look().await;
    assert_eq!(receiver.borrow().limits.connections, 8);
}

#[tokio::test(start_paused = true)]
async fn a_swapped_directory_link_is_seen() {
    let place = Place::new("swapped");
    for (version, limit) in [("v1", 1), ("v2", 2)] {
        std::fs::create_dir(place.0.join(version)).unwrap();
        let text = format!("limits: {{connections: {limit}}}");
        std::fs::write(place.0.join(version).join("push.yaml"), text).unwrap();
    }
    let link = place.0.join("..data");
    std::os::unix::fs::symlink("v1", &link).unwrap();
    std::os::unix::fs::symlink("..data/push.yaml", place.0.join("push.yaml")).unwrap();
    let (mut reload, receiver, _) = reload(place.0.join("push.yaml"));
    assert_eq!(receiver.borrow().limits.connections, 1);

    std::os::unix::fs::symlink("v2", place.0.join("..tmp")).unwrap();
    std::fs::rename(place.0.join("..tmp"), &link).unwrap();
    reload.look().await;
    assert_eq!(receiver.borrow().limits.connections, 2);
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_restart_is_named_and_not_taken() {
    let place = Place::new("restart");
    let file = place.0.join("push.yaml");
    std::fs::write(&file, "").unwrap();
    let (mut reload, receiver, metrics) = reload(file.clone());
    std::fs::write(&file, "client: {listen: 127.0.0.1:1}\nsocketio: {recovery: off}").unwrap();
    reload.look().await;
    assert_eq!(reload.waiting, ["client.listen", "socketio.recovery"]);
    assert_eq!(receiver.borrow().client.listen, "127.0.0.1:8080");
    assert_eq!(count(&metrics, "applied"), 0);

    std::fs::write(&file, "").unwrap();
    reload.look().await;
    assert!(reload.waiting.is_empty(), "put back, nothing waits any more");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_being_written_is_not_taken_half() {
    let place = Place::new("half");
    let file = place.0.join("push.yaml");
    std::fs::write(&file, "channels: [{match: a}]").unwrap();
    let (mut reload, receiver, metrics) = reload(file.clone());
    reload.look().await;
    std::fs::write(&file, "").unwrap();
    let write = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        std::fs::write(&file, "channels: [{match: a}, {match: b}]").unwrap();
    };
    tokio::join!(reload.look(), write);
    assert_eq!(receiver.borrow().channels.len(), 2);
    assert_eq!(count(&metrics, "applied"), 1, "the empty file was never in force");
}

#[tokio::test(start_paused = true)]
async fn it_stops_when_told_and_runs_without_a_file() {
    let (reload, receiver) = Reload::new(Sources::default(), Config::default(), Metrics::default());
    reload.run(tokio::time::sleep(Duration::from_mins(1))).await;
    assert_eq!(**receiver.borrow(), Config::default());
}

#[test]
fn the_hash_is_of_the_effective_configuration() {
    let load = |text: &str| Sources::default().load_bytes(text.as_bytes()).unwrap();
    let hash = config_hash(&Config::default());
    assert_eq!(hash.len(), 12);
    assert_eq!(config_hash(&load("# a comment\nsocketio: {pingInterval: 25000ms}")), hash);
    assert_ne!(config_hash(&load("socketio: {pingInterval: 26s}")), hash);
}

fn keys(names: &[&str]) -> String {
    let one = |(index, name): (usize, &&str)| {
        format!("- {{name: {name}, sha256: {index:064}, scopes: [read]}}")
    };
    names.iter().enumerate().map(one).collect::<Vec<_>>().join("\n")
}

#[tokio::test(start_paused = true)]
async fn changed_keys_of_the_api_are_taken_and_bad_ones_are_not() {
    let place = Place::new("keys");
    let (file, list) = (place.0.join("push.yaml"), place.0.join("keys.yaml"));
    let text = format!("api: {{keysFile: '{}'}}\n", list.display());
    std::fs::write(&file, &text).unwrap();
    std::fs::write(&list, keys(&["a"])).unwrap();
    let (mut reload, receiver, metrics) = reload(file.clone());
    let names = || -> Vec<String> {
        receiver.borrow().api.keys.iter().map(|key| key.name.clone()).collect()
    };
    assert_eq!(names(), ["a"]);
    let before = config_hash(&receiver.borrow());
    reload.look().await;
    assert!(!receiver.has_changed().unwrap(), "nothing has changed yet");

    std::fs::write(&list, keys(&["a", "b"])).unwrap();
    reload.look().await;
    assert_eq!(names(), ["a", "b"]);
    assert_ne!(config_hash(&receiver.borrow()), before, "who waits for the keys sees them");

    // No keys would open the API to everybody.
    for bad in ["", "[]", "- {name: a}", "[", "- nothing"] {
        std::fs::write(&list, bad).unwrap();
        reload.look().await;
        reload.look().await;
    }
    std::fs::remove_file(&list).unwrap();
    reload.look().await;
    assert_eq!(count(&metrics, "refused"), 6, "each bad file once");
    assert_eq!(names(), ["a", "b"], "the old ones stay");

    // Another part of the configuration leaves them alone.
    std::fs::write(&file, format!("{text}limits: {{connections: 7}}\n")).unwrap();
    reload.look().await;
    assert_eq!(receiver.borrow().limits.connections, 7);
    assert_eq!(names(), ["a", "b"]);
    assert!(reload.waiting.is_empty(), "{:?}", reload.waiting);
}

#[tokio::test(start_paused = true)]
async fn keys_that_move_to_another_file_wait_for_a_restart() {
    let place = Place::new("moved");
    let file = place.0.join("push.yaml");
    std::fs::write(&file, format!("api:\n  keys:\n{}", keys(&["a"]).replace("- ", "  - ")))
        .unwrap();
    let (mut reload, receiver, _) = reload(file.clone());
    std::fs::write(&file, "api: {keysFile: /nowhere/keys.yaml}").unwrap();
    reload.look().await;
    assert_eq!(receiver.borrow().api.keys.len(), 1, "without any the API would be open");
    assert_eq!(reload.waiting, ["api.keys", "api.keysFile"]);
}
