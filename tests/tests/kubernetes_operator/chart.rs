//! What else the chart brings: its test, its examples, a sample, roles for
//! people.

use tests::kubernetes::live::{SYSTEM, chart, helm_with_images, install};
use tests::kubernetes::{Cluster, Namespace};

#[tokio::test]
async fn helm_test_publishes_and_receives() {
    let Some(cluster) = Cluster::find().await else { return };
    install(&cluster).await;
    let said = cluster.helm(&["test", "push", "-n", SYSTEM, "--logs", "--timeout=4m"]).await;
    assert!(said.contains("received what was published"), "{said}");
    let left = cluster.kubectl(&["-n", SYSTEM, "get", "push", "-o", "name"]).await;
    assert_eq!(left, "", "the test's PushCluster goes with it");
}

#[tokio::test]
async fn what_it_prints_can_be_run_as_it_stands() {
    let Some(cluster) = Cluster::find().await else { return };
    install(&cluster).await;
    let notes = cluster.helm(&["get", "notes", "push", "-n", SYSTEM]).await;
    let lines: Vec<_> = notes.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect();
    let begin = format!("kubectl -n {SYSTEM} apply -f - <<END");
    let after = lines.iter().skip_while(|line| **line != begin).skip(1);
    let manifest: Vec<_> = after.take_while(|line| **line != "END").copied().collect();
    let namespace = Namespace::new(&cluster, "notes").await;
    namespace.apply(&manifest.join("\n")).await;
    namespace.kubectl(&["delete", "push/live"]).await;
}

#[tokio::test]
async fn every_example_is_accepted() {
    let Some(cluster) = Cluster::find().await else { return };
    install(&cluster).await;
    let namespace = Namespace::new(&cluster, "examples").await;
    let mut count = 0;
    for entry in std::fs::read_dir(chart().join("../examples")).unwrap() {
        let path = entry.unwrap().path();
        let path = path.to_str().unwrap();
        // Unknown fields are an error, which a plain apply only warns of.
        namespace.kubectl(&["create", "--dry-run=server", "--validate=strict", "-f", path]).await;
        count += 1;
    }
    assert!(count >= 5, "{count} examples");
}

#[tokio::test]
async fn a_sample_is_made_at_the_installation_and_outlives_it() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    install(&cluster).await;
    let namespace = Namespace::new(&cluster, "sample").await;
    let name = namespace.name();
    // An operator for this namespace alone, beside the one of all.
    let values = format!(
        "--set=crds.install=false,replicas=1,watchNamespace={name},sample.create=true,\
         sample.spec.replicas=1,sample.spec.nats.managed.replicas=1,\
         sample.spec.nats.managed.storage.size=1Gi,\
         sample.spec.nats.managed.storage.retention=Delete"
    );
    let install = ["install", "sample", "--namespace", name, &values];
    let said = helm_with_images(&cluster, &install, &chart(), "").await;
    let next = said.lines().find_map(|line| line.trim().strip_prefix("kubectl "));
    let next = next.unwrap_or_else(|| panic!("no next command: {said}"));
    assert!(next.contains("wait push/live"), "{said}");
    cluster.kubectl(&next.split_whitespace().collect::<Vec<_>>()).await;

    cluster.helm(&["uninstall", "sample", "--namespace", name, "--wait"]).await;
    let left = namespace.kubectl(&["get", "push,deployments", "-o", "name"]).await;
    assert_eq!(left, "pushcluster.pushcluster.io/live\ndeployment.apps/live\n");
}

#[tokio::test]
async fn who_may_edit_or_view_a_namespace_may_do_so_with_its_push_services() {
    let Some(cluster) = Cluster::find().await else { return };
    install(&cluster).await;
    let namespace = Namespace::new(&cluster, "people").await;
    for (role, who) in [("edit", "editor"), ("view", "viewer")] {
        let (role, user) = (format!("--clusterrole={role}"), format!("--user={who}@example.com"));
        let bind = ["create", "rolebinding", who, &role, &user];
        namespace.kubectl(&bind).await;
    }
    let can = async |user: &str, verb: &str, part: &str, wanted: bool| {
        let (who, part) = (format!("--as={user}@example.com"), format!("--subresource={part}"));
        let kind = "pushclusters.pushcluster.io";
        let ask = ["-n", namespace.name(), "auth", "can-i", verb, kind, &part, &who];
        // The built-in roles take the rules in when their controller gets to it.
        if wanted {
            let what = format!("{user} to be let {verb}, {part}");
            cluster.wait(&what, &ask, |said| said.starts_with("yes")).await;
        } else {
            let said = cluster.try_kubectl(&ask).await.expect_err("kubectl fails on a no");
            assert!(said.starts_with("no"), "{user} {verb}, {part}: {said}");
        }
    };
    for part in ["", "scale"] {
        can("editor", "update", part, true).await;
        can("editor", "get", part, true).await;
        can("viewer", "get", part, true).await;
        can("viewer", "update", part, false).await;
    }
    can("editor", "create", "", true).await;
    can("editor", "delete", "", true).await;
    // What the operator alone writes.
    can("editor", "patch", "status", false).await;
}
