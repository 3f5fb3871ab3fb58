//! `GET /v1/openapi.json`: the API's description, made of the Rust types.

use axum::Json;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::problem::ProblemBody;
use super::{channels, gateways, history, publish, tokens, users};

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "pushcluster HTTP API",
        description = "Publish to users' devices, and read what was published. Errors are \
            `application/problem+json` (RFC 9457) with the same `code` as in every other \
            protocol.\n\nA gateway on loopback without `api.keys` takes calls without a key. \
            Else every call carries one, as `Authorization: Bearer <key>` or `X-API-Key: <key>`.",
    ),
    servers((url = "/", description = "The gateway that serves this description")),
    paths(
        publish::publish,
        publish::batch,
        channels::list,
        channels::detail,
        channels::presence,
        history::history,
        users::detail,
        users::disconnect,
        users::debug,
        users::subscribe,
        users::unsubscribe,
        tokens::revoke,
        gateways::list,
        describe,
    ),
    components(schemas(ProblemBody, history::Order)),
    tags(
        (name = "publish", description = "Publish to channels, users, everyone"),
        (name = "channels", description = "Who is subscribed, what was published"),
        (name = "users", description = "Users' sessions and tokens"),
        (name = "gateways", description = "The gateways"),
        (name = "meta", description = "The API itself"),
    ),
    security(("bearer" = []), ("apiKey" = [])),
    modifiers(&Keys),
)]
pub struct ApiDoc;

/// How a caller shows its key.
struct Keys;

// === impl Keys ===

impl Modify for Keys {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let components = description.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API key of `api.keys`"))
            .build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let header = ApiKeyValue::with_description("X-API-Key", "An API key of `api.keys`");
        components.add_security_scheme("apiKey", SecurityScheme::ApiKey(ApiKey::Header(header)));
    }
}

/// Describe the API
///
/// This description. It needs no key.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "meta", operation_id = "getOpenapi",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value)),
    security(()),
)]
pub async fn describe() -> Json<utoipa::openapi::OpenApi> {
    Json(ApiDoc::openapi())
}
