//! Who may connect and publish.

use gateway_config::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Partial, schema};

/// Who may connect and publish.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.anonymous) || self.anonymous || has(self.jwt) || (has(self.callout) && has(self.callout.connect))",
    "fieldPath": ".anonymous",
    "message": "auth.anonymous: false without auth.jwt and auth.callout.connect would let nobody connect; set one of them",
}]))]
pub struct Auth {
    /// Whether clients without a token may connect. Default: true without `jwt` and `callout.connect`, else false.
    pub anonymous: Option<bool>,
    /// How clients' tokens are verified.
    pub jwt: Option<Jwt>,
    /// Apps that are asked, over NATS, who a client is and what it may do.
    #[serde(default, skip_serializing_if = "Partial::is_empty")]
    #[schemars(schema_with = "schema::callout")]
    pub callout: Partial<gateway_config::Callout>,
    /// The Secret with the HTTP API's keys, hashed, in `keys.yaml`: the list that the gateway's `api.keys` takes. Default: the operator makes one key, in the Secret `<name>-api-key`.
    pub api_keys_secret: Option<SecretName>,
}

/// How tokens are verified: exactly one of `secret`, `publicKey` and `jwksUrl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.secret), has(self.publicKey), has(self.jwksUrl)].filter(set, set).size() == 1",
    "message": "auth.jwt takes exactly one of secret, publicKey and jwksUrl",
}]))]
pub struct Jwt {
    /// Accepted algorithms. Default: those that fit the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::algorithms")]
    pub algorithms: Vec<String>,
    /// Required `iss` claim.
    #[schemars(length(min = 1, max = 1_024))]
    pub issuer: Option<String>,
    /// Required `aud` claim.
    #[schemars(length(min = 1, max = 1_024))]
    pub audience: Option<String>,
    /// Where the issuer publishes its keys (JSON Web Key Set).
    #[schemars(length(max = 2_048), regex(pattern = r"^https?://[^/]+"))]
    pub jwks_url: Option<String>,
    /// A shared secret, for HS256, HS384 and HS512.
    pub secret: Option<SecretKey>,
    /// A public key in PEM.
    pub public_key: Option<SecretKey>,
    /// How far the issuer's clock may be from the gateways', for `exp` and `nbf`; in whole seconds, 5m at most. Default: 5s.
    #[serde(default)]
    #[schemars(schema_with = "schema::leeway")]
    pub leeway: Option<Period>,
}

// === impl Auth ===

impl Auth {
    /// Whether an app is asked who a client is.
    pub fn asks_who(&self) -> bool {
        self.callout.keys.contains_key("connect")
    }
}

/// A Secret in the same namespace.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A key of a Secret in the same namespace.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
