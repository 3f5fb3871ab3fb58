//! What pods go through while something happens.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::Namespace;

/// Follows the pods that a selector matches.
pub struct Watch {
    child: Child,
    reader: JoinHandle<Vec<Change>>,
}

/// A pod as it was told of once.
#[derive(Clone, Debug)]
struct Change {
    at: Instant,
    pod: String,
    /// Asked to go, and not gone.
    leaving: bool,
}

/// A pod's way out.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// Its name.
    pub pod: String,
    /// When it was asked to go.
    pub from: Instant,
    /// When its containers had ended.
    pub to: Instant,
}

// === impl Watch ===

impl Watch {
    /// Begins it.
    ///
    /// # Panics
    ///
    /// When kubectl can't be started.
    pub fn start(namespace: &Namespace, selector: &str) -> Self {
        let mut child = Command::new(namespace.cluster().script())
            .args(["kubectl", "-n", namespace.name(), "get", "pods", "-l", selector])
            .args(["--watch", "--output-watch-events", "-o", "json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // The script's children end with it.
            .process_group(0)
            .spawn()
            .expect("kubectl starts");
        let output = child.stdout.take().expect("it is piped");
        let reader = std::thread::spawn(move || {
            let events = serde_json::Deserializer::from_reader(output).into_iter::<Value>();
            // It ends within an object when kubectl is ended.
            events.map_while(Result::ok).map(|event| Change::read(&event)).collect()
        });
        Self { child, reader }
    }

    /// Ends it: who left meanwhile, in the order in which they were asked to.
    ///
    /// # Panics
    ///
    /// When kubectl can't be ended.
    pub fn finish(mut self) -> Vec<Leaving> {
        let now = Instant::now();
        let group = format!("-{}", self.child.id());
        let ended = Command::new("kill").args(["-KILL", "--", &group]).status();
        assert!(ended.is_ok_and(|status| status.success()), "kubectl is ended");
        self.child.wait().expect("it has ended");
        let changes = self.reader.join().expect("what it printed was read");
        let mut all: Vec<Leaving> = Vec::new();
        for change in changes {
            let known = all.iter_mut().find(|leaving| leaving.pod == change.pod);
            match (known, change.leaving) {
                (Some(leaving), false) => leaving.to = leaving.to.min(change.at),
                (None, true) => {
                    all.push(Leaving { pod: change.pod, from: change.at, to: now });
                }
                (Some(_), true) | (None, false) => {}
            }
        }
        all
    }
}

// === impl Change ===

impl Change {
    fn read(event: &Value) -> Self {
        let pod = &event["object"];
        let containers = pod["status"]["containerStatuses"].as_array();
        let ended = event["type"] == "DELETED"
            || containers.is_some_and(|all| {
                !all.is_empty() && all.iter().all(|one| one["state"]["terminated"].is_object())
            });
        Self {
            at: Instant::now(),
            pod: pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            leaving: pod["metadata"]["deletionTimestamp"].is_string() && !ended,
        }
    }
}

/// How many were leaving at one time, at most: however long each took.
pub fn most_at_once(all: &[Leaving]) -> usize {
    let at_once = |at: Instant| all.iter().filter(|each| each.from <= at && at < each.to).count();
    all.iter().map(|each| at_once(each.from)).max().unwrap_or_default()
}

/// Asserts that each of those who left sent its clients away over the whole of
/// a period, by the times at which clients lost their connections. Those who
/// left beside another are not looked at: whose clients they were is not known.
///
/// # Panics
///
/// When more than half of a pod's clients went in one quarter of the period, or
/// when no pod had clients enough to tell.
pub fn assert_spread(all: &[Leaving], ended: &[Instant], period: Duration) {
    let mut looked_at = 0;
    for leaving in all {
        let alone = |other: &Leaving| {
            other.pod == leaving.pod || other.to <= leaving.from || leaving.to <= other.from
        };
        let mut times: Vec<Instant> =
            ended.iter().copied().filter(|at| leaving.from <= *at && *at <= leaving.to).collect();
        times.sort_unstable();
        let Some(first) = times.first().copied().filter(|_| times.len() >= 20) else { continue };
        if !all.iter().all(alone) {
            continue;
        }
        let mut quarters = [0; 4];
        for at in &times {
            let quarter = (*at - first).as_millis() * 4 / period.as_millis().max(1);
            quarters[usize::try_from(quarter.min(3)).unwrap_or(3)] += 1;
        }
        println!("{} sent its {} clients away in quarters {quarters:?}", leaving.pod, times.len());
        assert!(
            quarters.iter().all(|count| count * 2 <= times.len()),
            "{} sent its clients away in a bunch: {quarters:?}",
            leaving.pod
        );
        looked_at += 1;
    }
    assert!(looked_at > 0, "no gateway that left had 20 clients: {all:?}");
}
