//! `socketio.recovery`, which is written in several forms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Period;

/// Connection state recovery: what a client missed while it was away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// No recovery: CONNECT is answered with `{sid}` alone.
    Off,
    /// A session may be restored until so long after its transport closed.
    On {
        /// `maxDisconnection`
        max_disconnection: Period,
    },
}

/// Connection state recovery as it is written: `off`, `on`, or a time.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum RecoveryForm {
    Word(RecoveryWord),
    /// Tools that write YAML 1.1 turn `off` into `false`.
    Bool(bool),
    On(RecoveryOn),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum RecoveryWord {
    Off,
    On,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RecoveryOn {
    /// How long after its transport closed a session may be restored.
    max_disconnection: Period,
}

// === impl Recovery ===

impl Default for Recovery {
    fn default() -> Self {
        Self::On { max_disconnection: Period::from_secs(120) }
    }
}

impl Serialize for Recovery {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_str("off"),
            Self::On { max_disconnection } => {
                RecoveryOn { max_disconnection: *max_disconnection }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Recovery {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match RecoveryForm::deserialize(deserializer)? {
            RecoveryForm::Word(RecoveryWord::Off) | RecoveryForm::Bool(false) => Self::Off,
            RecoveryForm::Word(RecoveryWord::On) | RecoveryForm::Bool(true) => Self::default(),
            RecoveryForm::On(on) => Self::On { max_disconnection: on.max_disconnection },
        })
    }
}

impl JsonSchema for Recovery {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Recovery".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        RecoveryForm::json_schema(generator)
    }
}
