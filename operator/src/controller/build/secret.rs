//! The part of the configuration that reloads: the file, and the API's keys,
//! as hashes; so it is a Secret. The keys are copied here from the Secret that
//! has them: one mounted itself could not be changed for another without new
//! pods.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::meta;
use crate::controller::config::KEYS_FILE;
use crate::controller::names::{GATEWAY, STREAM};
use crate::controller::plan::Plan;

/// The file's name.
pub const CONFIG_FILE: &str = "push.yaml";

/// What gateways read again when it changes.
pub fn config(plan: &Plan) -> Secret {
    let data = |text: &String| ByteString(text.clone().into_bytes());
    let mut metadata = meta(plan, plan.names.config(), GATEWAY);
    let (settings, generation) = &plan.config.stream;
    metadata.annotations =
        Some(BTreeMap::from([(STREAM.to_owned(), format!("{settings}:{generation}"))]));
    Secret {
        metadata,
        type_: Some("Opaque".to_owned()),
        immutable: Some(false),
        data: Some(BTreeMap::from([
            (CONFIG_FILE.to_owned(), data(&plan.config.file)),
            (KEYS_FILE.to_owned(), data(&plan.config.keys)),
        ])),
        ..Secret::default()
    }
}
