//! Sections of the gateway's own configuration.

use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::schema;

/// Sections of the gateway's configuration that have no field of their own in the manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySettings {
    /// The listener that clients connect to.
    #[serde(default, skip_serializing_if = "Partial::is_empty")]
    #[schemars(schema_with = "schema::client")]
    pub client: Partial<gateway_config::Client>,
    /// The Socket.IO protocol's settings.
    #[serde(default, skip_serializing_if = "Partial::is_empty")]
    #[schemars(schema_with = "schema::socketio")]
    pub socketio: Partial<gateway_config::Socketio>,
    /// The log's form.
    #[serde(default, skip_serializing_if = "Partial::is_empty")]
    #[schemars(schema_with = "schema::log")]
    pub log: Partial<gateway_config::Log>,
}

/// Some keys of a section of the gateway's configuration. Its schema is made
/// from the section's type, without defaults: what a manifest doesn't say,
/// the gateway's own version decides.
pub struct Partial<T> {
    /// What the manifest says.
    pub keys: Map<String, Value>,
    section: PhantomData<fn() -> T>,
}

// === impl Partial ===

impl<T> Partial<T> {
    /// Whether the manifest says nothing.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Some keys.
    pub fn new(keys: Map<String, Value>) -> Self {
        Self { keys, section: PhantomData }
    }
}

impl<T> Default for Partial<T> {
    fn default() -> Self {
        Self::new(Map::new())
    }
}

impl<T> Clone for Partial<T> {
    fn clone(&self) -> Self {
        Self::new(self.keys.clone())
    }
}

impl<T> PartialEq for Partial<T> {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

impl<T> fmt::Debug for Partial<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keys.fmt(f)
    }
}

impl<T> Serialize for Partial<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.keys.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Partial<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys: Option<Map<String, Value>> = Option::deserialize(deserializer)?;
        let mut keys = keys.unwrap_or_default();
        // `null` says: not set.
        keys.retain(|_, value| !value.is_null());
        Ok(Self::new(keys))
    }
}
