//! The requests by which objects are made and changed.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::words;
use crate::controller::build::Desired;
use crate::controller::context::Context;
use crate::controller::kinds::Kind;
use crate::controller::live::Live;
use crate::controller::names::{MANAGER, Names};

pub(super) fn api(context: &Context, namespace: &str, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), namespace, &kind.resource())
}

/// None: the name is taken.
pub(super) async fn create(
    context: &Context,
    namespace: &str,
    wanted: &Desired,
) -> Result<Option<Live>, kube::Error> {
    let object: DynamicObject =
        serde_json::from_value(wanted.body.clone()).map_err(kube::Error::SerdeError)?;
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    context.metrics.request("create", wanted.kind);
    match api(context, namespace, wanted.kind).create(&params, &object).await {
        Ok(created) => Ok(Some(Live::reduce(wanted.kind, &created))),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn read(
    context: &Context,
    namespace: &str,
    kind: Kind,
    name: &str,
) -> Result<Option<Live>, kube::Error> {
    context.metrics.request("get", kind);
    let found = api(context, namespace, kind).get_opt(name).await?;
    Ok(found.map(|object| Live::reduce(kind, &object)))
}

pub(super) async fn change(
    context: &Context,
    namespace: &str,
    wanted: &Desired,
    live: &Live,
) -> Result<Live, kube::Error> {
    let api = api(context, namespace, wanted.kind);
    if let Some(index) = live.posted {
        let path = format!("/metadata/managedFields/{index}");
        let turned: json_patch::Patch = serde_json::from_value(json!([
            {"op": "test", "path": format!("{path}/manager"), "value": MANAGER},
            {"op": "replace", "path": format!("{path}/operation"), "value": "Apply"},
            // Refused if it has changed since.
            {"op": "replace", "path": "/metadata/resourceVersion", "value": live.version},
        ]))
        .map_err(kube::Error::SerdeError)?;
        context.metrics.request("patch", wanted.kind);
        api.patch(&wanted.name, &PatchParams::default(), &Patch::Json::<()>(turned)).await?;
    }
    let mut body = wanted.body.clone();
    // Not another one of the same name.
    body["metadata"]["uid"] = json!(live.uid);
    let params = PatchParams::apply(MANAGER).force();
    context.metrics.request("apply", wanted.kind);
    let changed = api.patch(&wanted.name, &params, &Patch::Apply(&body)).await?;
    Ok(Live::reduce(wanted.kind, &changed))
}

/// Undoes what an apply can't: elements of a list that are no longer known by
/// their key, such as a Service's port whose number was changed. To an apply
/// it is another port, of a name that is taken, and the API server refuses.
/// So the lists are replaced as a whole. Then an apply is an apply again.
pub(super) async fn replace_lists(
    context: &Context,
    namespace: &str,
    wanted: &Desired,
    live: &Live,
) -> Result<Live, kube::Error> {
    let body = json!({
        // Refused if it is another one, or has changed since.
        "metadata": {"uid": live.uid, "resourceVersion": live.version},
        "spec": wanted.body["spec"],
    });
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    context.metrics.request("patch", wanted.kind);
    let api = api(context, namespace, wanted.kind);
    let replaced = api.patch(&wanted.name, &params, &Patch::Merge(&body)).await?;
    change(context, namespace, wanted, &Live::reduce(wanted.kind, &replaced)).await
}

/// Sets labels or annotations of a pod. One that is gone needs none.
pub(in crate::controller) async fn patch_pod(
    context: &Context,
    names: &Names,
    pod: &str,
    patch: &Value,
) {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &names.namespace);
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    context.metrics.request_of("patch", "Pod");
    if let Err(error) = api.patch_metadata(pod, &params, &Patch::Merge(patch)).await {
        tracing::warn!(cluster = %names, pod, "the pod cannot be marked: {}", words(&error));
    }
}
