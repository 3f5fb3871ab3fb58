//! Who may connect: tokens, and apps that are asked.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults;
use crate::{Pattern, Period};

/// Who may connect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Auth {
    /// Whether clients without a token may connect. Default: true without
    /// `jwt` and `callout.connect`, else false. With `callout.connect` the app
    /// is asked of them, too.
    pub anonymous: Option<bool>,
    /// How tokens are verified. Absent: tokens are not accepted.
    pub jwt: Option<Jwt>,
    /// Apps that are asked, over NATS, who a client is and what it may do.
    pub callout: Option<Callout>,
}

/// Apps that are asked, over NATS, who a client is and what it may do. An app
/// that doesn't answer lets nobody in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Callout {
    /// Asked of every client that connects or brings a new token. Absent:
    /// nobody is asked.
    pub connect: Option<ConnectCallout>,
    /// Asked of subscriptions; the first that matches a channel decides, and
    /// neither a grant nor a channel rule does.
    pub subscribe: Vec<SubscribeCallout>,
    /// Answers of each kind that are kept at once, for as long as they say.
    pub cached: usize,
}

/// Who is asked who a client is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ConnectCallout {
    /// The subject that the app serves. Default: `<relay.prefix>.in.$auth.connect`.
    pub subject: Option<String>,
    /// How long the app has to answer; 30s at most.
    pub timeout: Period,
}

/// Who is asked of subscriptions to the channels that match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SubscribeCallout {
    /// The channels that it is for.
    #[serde(rename = "match")]
    pub matches: Pattern,
    /// The subject that the app serves. Default: `<relay.prefix>.in.$auth.subscribe`.
    #[serde(default)]
    pub subject: Option<String>,
    /// How long the app has to answer; 30s at most.
    #[serde(default = "defaults::callout_timeout")]
    pub timeout: Period,
}

/// How tokens (JWT) are verified: exactly one of `secret`, `publicKey` and
/// `jwksUrl`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Jwt {
    /// Shared secret, for HS256, HS384 and HS512.
    #[schemars(extend("writeOnly" = true))]
    pub secret: Option<String>,
    /// Public key in PEM.
    // Who puts the private key here must not find it in an error.
    #[schemars(extend("writeOnly" = true))]
    pub public_key: Option<String>,
    /// Where the issuer publishes its keys (JSON Web Key Set).
    #[schemars(extend("writeOnly" = true))]
    pub jwks_url: Option<String>,
    /// Accepted algorithms. Default: those that fit the key.
    pub algorithms: Vec<String>,
    /// Required `iss` claim.
    pub issuer: Option<String>,
    /// Required `aud` claim.
    pub audience: Option<String>,
    /// How far the issuer's clock may be from the gateway's, for `exp` and
    /// `nbf`; in whole seconds, 5m at most. Default: 5s.
    pub leeway: Option<Period>,
}

// === impl Auth ===

impl Auth {
    /// Whether an app is asked who a client is.
    pub fn asks_who(&self) -> bool {
        self.callout.as_ref().is_some_and(|callout| callout.connect.is_some())
    }
}

// === impl Jwt ===

/// Shows which keys are set and never what they are: a configuration ends up
/// in logs.
impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |set: &Option<String>| set.as_ref().map(|_| "…");
        f.debug_struct("Jwt")
            .field("secret", &hidden(&self.secret))
            .field("public_key", &hidden(&self.public_key))
            .field("jwks_url", &hidden(&self.jwks_url))
            .field("algorithms", &self.algorithms)
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("leeway", &self.leeway)
            .finish()
    }
}
