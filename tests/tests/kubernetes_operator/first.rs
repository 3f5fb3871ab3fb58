//! From the installation to the deletion.

use serde_json::json;
use tests::kubernetes::live::example;
use tests::kubernetes::{Client, Cluster, Live};
use tests::socketio::Transport;

#[tokio::test]
async fn the_minimal_example_is_a_push_service_and_its_deletion_leaves_nothing() {
    let Some(cluster) = Cluster::find_ours().await else { return };
    let live = Live::start(&cluster, &example("minimal.yaml")).await;
    let place = live.place().await;
    let browser = Client::new(&cluster).await;
    let there = place.clone();
    // Its Service has no address of its own; any server will do.
    let servers = live.pods("pushcluster-nats").await;
    let nats = format!("tls://{}:4222", servers[0].1);
    let bundle = live.secret("live-nats-app", "ca.crt").await;
    let name = format!("live-nats.{}.svc", live.namespace().name());
    let user = live.secret("live-nats-app", "username").await;
    let password = live.secret("live-nats-app", "password").await;
    let path = "jsonpath={.status.nats.prefix}";
    let prefix = live.namespace().kubectl(&["get", "push/live", "-o", path]).await;
    browser
        .run(async move || {
            let app = async_nats::ConnectOptions::with_user_and_password(user, password)
                .tls_client_config(tests::nats::trusting(&bundle, &name));
            let app = app.connect(&nats).await.expect("apps may connect to NATS");
            for transport in Transport::ALL {
                let mut socket = there.connect(transport).await;
                socket.subscribe(json!("news")).await;
                there.publish("news", "by HTTP").await;
                assert_eq!(socket.app_event().await.args[0], "by HTTP");
                app.publish(format!("{prefix}.pub.news"), "by NATS".into()).await.unwrap();
                app.flush().await.unwrap();
                assert_eq!(socket.app_event().await.args[0], "by NATS");
            }
        })
        .await;
    assert_eq!(live.gateways().await.len(), 3, "the default");

    let namespace = live.namespace();
    namespace.kubectl(&["delete", "push/live", "--timeout=60s"]).await;
    // Kubernetes itself puts these into every namespace.
    let own = ["serviceaccount/default", "configmap/kube-root-ca.crt"];
    let kinds = "deployments,statefulsets,pods,services,configmaps,secrets,serviceaccounts,\
                 poddisruptionbudgets,networkpolicies,ingresses,endpointslices,replicasets,\
                 controllerrevisions,roles,rolebindings";
    let arguments = ["-n", namespace.name(), "get", kinds, "-o", "name"];
    cluster
        .wait("the end of all that it owned", &arguments, |left| {
            left.lines().all(|object| own.contains(&object))
        })
        .await;
    // What was stored stays: the default is Retain.
    let claims = namespace.kubectl(&["get", "persistentvolumeclaims", "-o", "name"]).await;
    assert_eq!(claims.lines().count(), 3, "{claims}");
}
