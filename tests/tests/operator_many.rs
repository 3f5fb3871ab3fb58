//! The operator with five hundred `PushCluster`s: its memory, its requests as
//! the API server counts them, and how soon changes settle.

// A test fails by panicking, and may wait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::apiserver::{ApiServer, Operator, Suite, rights};

const CLUSTERS: usize = 500;
const CHANGED: usize = 100;

fn main() -> ExitCode {
    Suite {
        // Nobody makes pods: they would be five thousand.
        controllers: "garbage-collector-controller,namespace-controller",
        before: rights::grant,
        tests: &[("five hundred PushClusters", five_hundred)],
        last: None,
    }
    .main()
}

fn manifests(count: usize, spec: &str) -> String {
    let mut all = String::new();
    for index in 0..count {
        let _ = writeln!(
            all,
            "---\napiVersion: pushcluster.io/v1alpha1\nkind: PushCluster\nmetadata: {{name: c{index}}}\nspec: {spec}"
        );
    }
    all
}

/// How many manifests have a status of their newest generation.
fn settled(server: &ApiServer) -> usize {
    let list = server.must(&["get", "-n", "many", "pushclusters", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let all = list["items"].as_array().unwrap();
    all.iter()
        .filter(|one| one["status"]["observedGeneration"] == one["metadata"]["generation"])
        .count()
}

/// The operator's requests so far, by verb and kind; watches apart, as each
/// is one request however long it lasts.
fn requests(server: &ApiServer) -> BTreeMap<String, usize> {
    let log = std::fs::read_to_string(server.audit_log()).unwrap_or_default();
    let mut all = BTreeMap::new();
    for line in log.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = format!("{} {}", text(&event["verb"]), text(&event["objectRef"]["resource"]));
        *all.entry(key).or_default() += 1;
    }
    all
}

/// What came on top, without watches, leases and what only counts Events.
fn since(
    before: &BTreeMap<String, usize>,
    now: &BTreeMap<String, usize>,
) -> BTreeMap<String, usize> {
    now.iter()
        .filter(|(key, _)| !key.starts_with("watch") && !key.ends_with("leases"))
        .map(|(key, count)| (key.clone(), count - before.get(key).copied().unwrap_or_default()))
        .filter(|(_, count)| *count > 0)
        .collect()
}

fn five_hundred(server: &ApiServer) {
    let operator = Operator::start(server, "many", &[]);
    server.namespace("many");
    let begun = Instant::now();
    server.apply("many", &manifests(CLUSTERS, "{}"));
    let deadline = Instant::now() + Duration::from_mins(5);
    while settled(server) < CLUSTERS {
        assert!(
            Instant::now() < deadline,
            "{} of {CLUSTERS} settled\n{}",
            settled(server),
            operator.log()
        );
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("{CLUSTERS} made within {} s", begun.elapsed().as_secs());
    std::thread::sleep(Duration::from_secs(5));

    let before = requests(server);
    let begun = Instant::now();
    server.apply(
        "many",
        &manifests(CHANGED, "{channels: [{match: news}], limits: {connections: 1000}}"),
    );
    let applied = begun.elapsed();
    while settled(server) < CLUSTERS {
        assert!(
            begun.elapsed() < applied + Duration::from_secs(30),
            "changes must settle within 30 s"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    println!(
        "{CHANGED} changes applied within {applied:?}, settled {:?} later",
        begun.elapsed().saturating_sub(applied)
    );
    std::thread::sleep(Duration::from_secs(5));
    let made = since(&before, &requests(server));
    let total: usize = made.values().sum();
    println!("{:.1} requests for each change: {made:?}", per_change(total));
    assert!(total <= 15 * CHANGED, "{made:?}");

    let before = requests(server);
    std::thread::sleep(Duration::from_mins(1));
    let idle = since(&before, &requests(server));
    assert!(idle.is_empty(), "nothing has changed, but: {idle:?}");
    let memory = operator.memory();
    println!("{memory} MiB of memory; no request in a quiet minute but watches and the Lease");
    assert!(memory <= 150, "{memory} MiB");
}

fn per_change(total: usize) -> f64 {
    f64::from(u32::try_from(total).unwrap_or(u32::MAX))
        / f64::from(u32::try_from(CHANGED).unwrap_or(1))
}
