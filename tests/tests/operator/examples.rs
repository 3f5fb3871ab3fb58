//! `charts/examples`: each is applied, and becomes what it says that it does.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::apiserver::{ApiServer, Operator};

use super::life::routes;

/// One of them, with its file's name, and what it is looked at for.
type Example = (&'static str, fn(&ApiServer, &str));

const EXAMPLES: [Example; 5] = [
    ("minimal", minimal),
    ("production", production),
    ("external-nats", external_nats),
    ("haproxy-ingress", haproxy_ingress),
    ("gateway-api", gateway_api),
];

pub(super) fn carried_out(kubernetes: &ApiServer) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/examples");
    let files: BTreeSet<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let known = EXAMPLES.iter().map(|(name, _)| format!("{name}.yaml")).collect();
    assert_eq!(files, known, "each example is looked at");
    routes(kubernetes);
    let _operator = Operator::start(kubernetes, "examples", &[]);
    for (name, look) in EXAMPLES {
        let (namespace, file) = (format!("example-{name}"), format!("{folder}/{name}.yaml"));
        kubernetes.namespace(&namespace);
        // Unknown fields are an error, which a plain apply only warns of.
        kubernetes.must(&["apply", "-n", &namespace, "--validate=strict", "-f", &file]);
        look(kubernetes, &namespace);
    }
}

fn there(kubernetes: &ApiServer, namespace: &str, object: &str) -> Value {
    kubernetes.eventually(&format!("{object} in {namespace}"), || {
        kubernetes.get(namespace, object).map(|object| object["spec"].clone())
    })
}

fn minimal(kubernetes: &ApiServer, namespace: &str) {
    assert_eq!(there(kubernetes, namespace, "deployment/live")["replicas"], 3);
    let servers = there(kubernetes, namespace, "statefulset/live-nats");
    let claim = &servers["volumeClaimTemplates"][0]["spec"]["resources"]["requests"];
    assert_eq!((&servers["replicas"], &claim["storage"]), (&json!(3), &json!("10Gi")));
    assert_eq!(there(kubernetes, namespace, "service/live")["ports"][0]["port"], 80);
}

fn production(kubernetes: &ApiServer, namespace: &str) {
    let gateways = there(kubernetes, namespace, "deployment/live");
    let pod = &gateways["template"]["spec"];
    assert_eq!(gateways["replicas"], 4);
    assert_eq!(gateways["minReadySeconds"], 70);
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "2Gi");
    assert_eq!(pod["topologySpreadConstraints"].as_array().map(Vec::len), Some(2));
    let service = there(kubernetes, namespace, "service/live");
    assert_eq!(service["type"], "LoadBalancer");
    assert_eq!(service["externalTrafficPolicy"], "Local");
    assert_eq!(service["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 90);
    let servers = there(kubernetes, namespace, "statefulset/live-nats");
    let claim = &servers["volumeClaimTemplates"][0]["spec"]["resources"]["requests"];
    assert_eq!(claim["storage"], "50Gi");
    assert_eq!(
        servers["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"],
        "2Gi"
    );
}

fn external_nats(kubernetes: &ApiServer, namespace: &str) {
    // It says which Secrets must be there; the comment in it says how to make them.
    for (secret, key) in [("nats", "user.creds"), ("nats-tls", "ca.crt")] {
        kubernetes.eventually(&format!("the missing Secret {secret} to be named"), || {
            let (status, _, message) = kubernetes.condition(namespace, "live", "Ready")?;
            let named = message.contains(&format!("\"{secret}\""));
            (status == "False" && named).then_some(())
        });
        let value = format!("--from-literal={key}=anything");
        kubernetes.must(&["create", "-n", namespace, "secret", "generic", secret, &value]);
    }
    let gateways = there(kubernetes, namespace, "deployment/live");
    let volumes = gateways["template"]["spec"]["volumes"].to_string();
    assert!(volumes.contains("\"user.creds\"") && volumes.contains("\"nats-tls\""), "{volumes}");
    assert!(kubernetes.get(namespace, "statefulset/live-nats").is_none(), "NATS is elsewhere");
}

fn haproxy_ingress(kubernetes: &ApiServer, namespace: &str) {
    let ingress =
        kubernetes.eventually("the Ingress", || kubernetes.get(namespace, "ingress/live"));
    let annotations = &ingress["metadata"]["annotations"];
    assert_eq!(annotations["haproxy.org/cookie-persistence"], "gateway");
    let spec = &ingress["spec"];
    assert_eq!(spec["ingressClassName"], "haproxy");
    assert_eq!(spec["rules"][0]["host"], "live.example.com");
    assert_eq!(spec["tls"][0], json!({"hosts": ["live.example.com"], "secretName": "live-tls"}));
    let service = there(kubernetes, namespace, "service/live");
    assert_eq!(service["sessionAffinity"], "None");
}

fn gateway_api(kubernetes: &ApiServer, namespace: &str) {
    let route = there(kubernetes, namespace, "httproute/live");
    assert_eq!(route["hostnames"], json!(["live.example.com"]));
    let parent = &route["parentRefs"][0];
    assert_eq!((&parent["name"], &parent["namespace"]), (&json!("public"), &json!("gateways")));
    let service = there(kubernetes, namespace, "service/live");
    assert_eq!(service["sessionAffinity"], "None");
}
