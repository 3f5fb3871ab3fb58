#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;

/// Names as they are registered. Read from the source: the encoder leaves
/// out what has counted nothing yet.
fn registered() -> Vec<(&'static str, bool)> {
    let source = include_str!("../metrics.rs");
    let (_, body) = source.split_once("Registry::with_prefix").expect("the registry");
    let names = body.split("r.register(").skip(1).map(|call| {
        let (_, rest) = call.split_once('"').expect("a name");
        let (name, rest) = rest.split_once('"').expect("its end");
        let (_, field) = rest.split_once("self.").expect("the metric");
        let (field, _) = field.split_once(".clone()").expect("its end");
        (name, is_counter(source, field))
    });
    names.collect()
}

/// Counters are shown with `_total` (OpenMetrics 1.0, section 5.1).
fn is_counter(source: &str, field: &str) -> bool {
    let (_, rest) = source.split_once(&format!("pub {field}: ")).expect("the field");
    rest.split_once('\n').expect("its line").0.contains("Counter")
}

#[test]
fn every_metric_is_in_the_documentation() {
    let page = include_str!("../../../docs/operations.md");
    let names = registered();
    let mut text = String::new();
    let registry = Metrics::default().register();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE push_")) {
        let name = line.split(' ').next().unwrap();
        assert!(
            names.iter().any(|(known, _)| *known == name),
            "{name} was not found in the source"
        );
    }
    for (name, counter) in names {
        let shown = format!("`push_{name}{}`", if counter { "_total" } else { "" });
        assert!(page.contains(&shown), "docs/operations.md does not name {shown}");
    }
}

/// The values of `reason` in `push_connections_closed_total`.
#[test]
fn every_close_reason_is_in_the_documentation() {
    let page = include_str!("../../../docs/operations.md");
    let source = include_str!("../hub/close.rs");
    let (_, labels) = source.split_once("// === impl CloseReason ===").expect("the labels");
    let labels: Vec<&str> =
        labels.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(labels.contains(&crate::hub::CloseReason::Drain.label()), "{labels:?}");
    for label in labels {
        assert!(page.contains(&format!("| `{label}` |")), "docs/operations.md lacks {label}");
    }
}
