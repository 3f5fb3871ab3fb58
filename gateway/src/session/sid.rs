//! Engine.IO session ids: each names its gateway and shard and carries a MAC,
//! so that any gateway can tell whose it is and that no client made it up.

use aws_lc_rs::{constant_time, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes before the MAC: gateway (8), shard (1), random (9).
const BODY: usize = 18;
/// Bytes of the MAC. 96 bits: a guess succeeds once in 2^96.
const MAC: usize = 12;

/// One gateway process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GatewayId(pub u64);

/// Makes and reads session ids.
pub struct SidKey {
    key: hmac::Key,
}

/// What a session id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SidParts {
    /// Which gateway holds the session.
    pub gateway: GatewayId,
    /// Which of its shards.
    pub shard: u8,
}

/// The system has no randomness to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

impl From<NoRandomness> for crate::error::Error {
    fn from(error: NoRandomness) -> Self {
        Self::new(crate::error::ErrorCode::Internal, error.to_string())
    }
}

// === impl GatewayId ===

impl GatewayId {
    /// A new one.
    pub fn random() -> Result<Self, NoRandomness> {
        Ok(Self(u64::from_be_bytes(random()?)))
    }
}

impl std::fmt::Display for GatewayId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

// === impl SidKey ===

impl SidKey {
    /// With a secret that all gateways of the cluster share.
    pub fn new(secret: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// With a secret of this process alone.
    pub fn random() -> Result<Self, NoRandomness> {
        Ok(Self::new(&random::<32>()?))
    }

    /// A new session id.
    pub fn issue(&self, parts: SidParts) -> Result<Box<str>, NoRandomness> {
        let mut bytes = [0; BODY + MAC];
        bytes[..8].copy_from_slice(&parts.gateway.0.to_be_bytes());
        bytes[8] = parts.shard;
        bytes[9..BODY].copy_from_slice(&random::<9>()?);
        let mac = hmac::sign(&self.key, &bytes[..BODY]);
        bytes[BODY..].copy_from_slice(&mac.as_ref()[..MAC]);
        Ok(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// Reads a session id; `None` when no gateway of this cluster made it.
    pub fn read(&self, sid: &str) -> Option<SidParts> {
        let mut bytes = [0; BODY + MAC];
        let length = URL_SAFE_NO_PAD.decode_slice(sid, &mut bytes).ok()?;
        if length != bytes.len() {
            return None;
        }
        let (body, given) = bytes.split_at(BODY);
        let mac = hmac::sign(&self.key, body);
        constant_time::verify_slices_are_equal(&mac.as_ref()[..MAC], given).ok()?;
        let (gateway, rest) = body.split_first_chunk::<8>()?;
        Some(SidParts { gateway: GatewayId(u64::from_be_bytes(*gateway)), shard: *rest.first()? })
    }
}

/// A Socket.IO id or private id: 144 random bits, 24 characters.
pub fn random_id() -> Result<std::sync::Arc<str>, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(random::<18>()?).into())
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}
