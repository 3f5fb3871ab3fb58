//! Keys that verify tokens: from a secret, from PEM, from a JWK.

use std::time::Duration;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Header, Validation};

use super::claims::Claims;
use super::unauthorized;
use crate::error::{Error, ErrorCode};

/// What a shared secret can verify.
pub(in crate::auth) const HMAC: &[Algorithm] =
    &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

/// What public keys can verify.
pub(in crate::auth) const ASYMMETRIC: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// Smallest RSA modulus, in bytes: 2048 bits (RFC 7518, section 3.3).
const MIN_RSA_BYTES: usize = 256;

/// How many keys are tried on a token whose header names none. Each costs a
/// verification, so a stranger's token must not buy many.
const MAX_UNNAMED_KEYS: usize = 4;

/// What every token must fulfil, whatever its key.
#[derive(Clone, Debug)]
pub(in crate::auth) struct Policy {
    /// Accepted, of those that fit the key.
    pub algorithms: Vec<Algorithm>,
    /// Required `iss`.
    pub issuer: Option<String>,
    /// Required `aud`.
    pub audience: Option<String>,
    /// How far clocks may be apart, in whole seconds.
    pub leeway: Duration,
}

/// A key and all that a token signed with it must fulfil.
#[derive(Clone, Debug)]
pub(in crate::auth) struct VerificationKey {
    /// The key's name in its set.
    pub kid: Option<String>,
    key: DecodingKey,
    /// Holds the accepted algorithms, all of the key's own family.
    validation: Validation,
}

/// The keys that are accepted.
#[derive(Clone, Debug, Default)]
pub(in crate::auth) struct KeySet {
    keys: Vec<VerificationKey>,
}

/// What a token turned out to be.
pub(in crate::auth) enum Verified {
    /// Signed and in time.
    Claims(Box<Claims>),
    /// Not valid, whatever keys the issuer may add.
    Refused(Error),
    /// No key at hand has signed it.
    UnknownKey,
}

/// A public key that was looked at and can be used.
#[derive(Clone, Debug)]
pub(in crate::auth) struct PublicKey {
    key: DecodingKey,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// Why a public key can't be used. The words go on after a setting's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Somebody's signing key.
    #[error(
        "holds a private key; only the public one belongs here: openssl pkey -in private.pem -pubout"
    )]
    Private,
    /// An X.509 certificate.
    #[error(
        "holds a certificate; take the key out of it: openssl x509 -in certificate.pem -pubkey -noout"
    )]
    Certificate,
    /// Not PEM, or cut off.
    #[error("is not a public key in PEM; it begins with `-----BEGIN PUBLIC KEY-----`")]
    NotPem,
    /// Another algorithm or curve, or a broken key.
    #[error("is not a key of a kind that is supported; RSA, EC P-256, EC P-384 and Ed25519 are")]
    Unsupported,
    /// Under 2048 bits.
    #[error("is an RSA key of under 2048 bits; make a longer one")]
    ShortRsa,
}

// === impl Policy ===

impl Policy {
    /// None: no algorithm that fits the key is accepted.
    fn validation(&self, fitting: &[Algorithm]) -> Option<Validation> {
        let accepted: Vec<Algorithm> =
            fitting.iter().copied().filter(|a| self.algorithms.contains(a)).collect();
        let mut validation = Validation::new(*accepted.first()?);
        validation.algorithms = accepted;
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            // Who configures no audience doesn't ask for one.
            None => validation.validate_aud = false,
        }
        validation.set_required_spec_claims(&required);
        Some(validation)
    }
}

// === impl VerificationKey ===

impl VerificationKey {
    /// A shared secret: the text's bytes as they are. None: the policy
    /// accepts no algorithm that fits.
    pub(in crate::auth) fn from_secret(secret: &str, policy: &Policy) -> Option<Self> {
        let validation = policy.validation(HMAC)?;
        Some(Self { kid: None, key: DecodingKey::from_secret(secret.as_bytes()), validation })
    }

    /// A public key. None: the policy accepts no algorithm that fits.
    pub(in crate::auth) fn from_public(key: PublicKey, policy: &Policy) -> Option<Self> {
        let validation = policy.validation(key.kind.fitting())?;
        Some(Self { kid: None, key: key.key, validation })
    }

    /// A key of an issuer's set. None: it is not a public key for
    /// signatures, or of a kind that isn't supported, or the policy accepts
    /// no algorithm that fits. A symmetric key (`oct`) in a published set is
    /// everybody's secret and never used.
    pub(in crate::auth) fn from_jwk(jwk: &Jwk, policy: &Policy) -> Option<Self> {
        let common = &jwk.common;
        let for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature))
            && common
                .key_operations
                .as_ref()
                .is_none_or(|ops| ops.contains(&KeyOperations::Verify));
        if !for_signatures {
            return None;
        }
        let key = PublicKey::from_jwk(jwk).ok()?;
        let mut fitting = key.kind.fitting().to_vec();
        if let Some(named) = common.key_algorithm {
            let named = Algorithm::try_from(named).ok()?;
            fitting.retain(|algorithm| *algorithm == named);
        }
        let validation = policy.validation(&fitting)?;
        Some(Self { kid: common.key_id.clone(), key: key.key, validation })
    }

    /// What it accepts.
    pub(in crate::auth) fn algorithms(&self) -> &[Algorithm] {
        &self.validation.algorithms
    }

    /// Verifies signature, times, issuer and audience.
    fn verify(&self, token: &str) -> Verified {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        match decoded {
            Ok(data) => Verified::Claims(Box::new(data.claims)),
            Err(error) => refusal(error.kind()),
        }
    }
}

/// In words that name the claim. A bad signature is [`Verified::UnknownKey`]:
/// another key may have made it.
fn refusal(kind: &ErrorKind) -> Verified {
    let message = match kind {
        ErrorKind::ExpiredSignature => return Verified::Refused(expired()),
        ErrorKind::ImmatureSignature => {
            "the token isn't valid yet (claim `nbf`); are the issuer's and this gateway's clocks right?".into()
        }
        ErrorKind::InvalidIssuer => {
            "the token's claim `iss` isn't the issuer that this gateway accepts".into()
        }
        ErrorKind::InvalidAudience => {
            "the token's claim `aud` doesn't name this gateway's audience".into()
        }
        ErrorKind::MissingRequiredClaim(claim) => {
            format!("the token's claim `{claim}` is missing or of the wrong type")
        }
        ErrorKind::InvalidClaimFormat(claim) => {
            format!("the token's claim `{claim}` is of the wrong type")
        }
        ErrorKind::Base64(_) | ErrorKind::Json(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidToken => {
            "the token isn't a JWT: its claims aren't a JSON object, or its text was cut or changed"
                .into()
        }
        _ => return Verified::UnknownKey,
    };
    Verified::Refused(unauthorized(message))
}

/// The error for a token whose time is over.
pub(in crate::auth) fn expired() -> Error {
    Error::new(
        ErrorCode::TokenExpired,
        "the token's time is over (claim `exp`); get a new one and refresh or reconnect",
    )
}

// === impl KeySet ===

impl KeySet {
    /// Keys as the issuer lists them.
    pub(in crate::auth) fn new(keys: Vec<VerificationKey>) -> Self {
        Self { keys }
    }

    /// How many there are.
    pub(in crate::auth) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Verifies a token with the key that its header names; one that names
    /// none, with each key that fits its algorithm, if they are few.
    pub(in crate::auth) fn verify(&self, token: &str, header: &Header) -> Verified {
        let named = |key: &&VerificationKey| header.kid.is_none() || key.kid == header.kid;
        if !self.keys.iter().any(|key| named(&key)) {
            return Verified::UnknownKey;
        }
        let fitting = |key: &&VerificationKey| key.algorithms().contains(&header.alg);
        let candidates: Vec<&VerificationKey> =
            self.keys.iter().filter(named).filter(fitting).collect();
        if candidates.len() > MAX_UNNAMED_KEYS {
            return Verified::Refused(unauthorized(
                "the token's header names no key (`kid`) and the issuer has many; have the issuer set `kid`",
            ));
        }
        for key in &candidates {
            match key.verify(token) {
                Verified::UnknownKey => {}
                verified => return verified,
            }
        }
        match (&header.kid, candidates.is_empty()) {
            (Some(_), true) => Verified::Refused(unauthorized(
                "the token's algorithm doesn't fit the key that its header names",
            )),
            (Some(_), false) => Verified::Refused(bad_signature()),
            (None, _) => Verified::UnknownKey,
        }
    }
}

/// The error for a token that its key has not signed.
pub(in crate::auth) fn bad_signature() -> Error {
    unauthorized("the token's signature is wrong: it was changed, or signed with another key")
}

// === impl PublicKey ===

impl PublicKey {
    /// Reads a public key in PEM.
    pub(in crate::auth) fn from_pem(pem: &str) -> Result<Self, KeyError> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        if pem.contains("-----BEGIN CERTIFICATE-----") {
            return Err(KeyError::Certificate);
        }
        if !pem.contains("PUBLIC KEY-----") {
            return Err(KeyError::NotPem);
        }
        let pem = pem.trim().as_bytes();
        // Each of these refuses PEM of another kind.
        let key = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .map_err(|_| KeyError::Unsupported)?;
        Self::new(key)
    }

    fn from_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let key = Self::new(DecodingKey::from_jwk(jwk).map_err(|_| KeyError::Unsupported)?)?;
        // A curve's name must fit its point.
        let said = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Some(Kind::Rsa),
            AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
                EllipticCurve::P256 => Some(Kind::P256),
                EllipticCurve::P384 => Some(Kind::P384),
                _ => None,
            },
            AlgorithmParameters::OctetKeyPair(pair) => {
                (pair.curve == EllipticCurve::Ed25519).then_some(Kind::Ed25519)
            }
            _ => None,
        };
        if said == Some(key.kind) { Ok(key) } else { Err(KeyError::Unsupported) }
    }

    /// Looks at a key, so that a broken one is refused at start and not at
    /// the first token.
    fn new(key: DecodingKey) -> Result<Self, KeyError> {
        let kind = match key.family() {
            AlgorithmFamily::Rsa => {
                let bytes = rsa_bytes(&key).ok_or(KeyError::Unsupported)?;
                if bytes < MIN_RSA_BYTES {
                    return Err(KeyError::ShortRsa);
                }
                Kind::Rsa
            }
            AlgorithmFamily::Ec if parses(&key, &ECDSA_P256_SHA256_FIXED) => Kind::P256,
            AlgorithmFamily::Ec if parses(&key, &ECDSA_P384_SHA384_FIXED) => Kind::P384,
            AlgorithmFamily::Ed if parses(&key, &ED25519) => Kind::Ed25519,
            _ => return Err(KeyError::Unsupported),
        };
        Ok(Self { key, kind })
    }

    /// The algorithms that it can verify.
    pub(in crate::auth) fn fitting(&self) -> &'static [Algorithm] {
        self.kind.fitting()
    }
}

fn parses(key: &DecodingKey, algorithm: &'static dyn VerificationAlgorithm) -> bool {
    key.try_get_as_bytes().is_ok_and(|bytes| ParsedPublicKey::new(algorithm, bytes).is_ok())
}

/// Length of an RSA key's modulus.
fn rsa_bytes(key: &DecodingKey) -> Option<usize> {
    let AlgorithmParameters::RSA(rsa) = Jwk::from_decoding_key(key, None).ok()?.algorithm else {
        return None;
    };
    let modulus = URL_SAFE_NO_PAD.decode(rsa.n).ok()?;
    Some(modulus.len() - modulus.iter().take_while(|byte| **byte == 0).count())
}

// === impl Kind ===

impl Kind {
    /// The algorithms that a key of this kind can verify.
    fn fitting(self) -> &'static [Algorithm] {
        match self {
            Self::Rsa => RSA,
            Self::P256 => &[Algorithm::ES256],
            Self::P384 => &[Algorithm::ES384],
            Self::Ed25519 => &[Algorithm::EdDSA],
        }
    }
}
