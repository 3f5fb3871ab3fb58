//! An authority for each `PushCluster`, and the certificates of its gateways
//! and NATS servers. Pure but for the randomness of keys.
//!
//! Everything is renewed at two thirds of its life. A certificate of a new
//! authority would be refused by whoever has not read that authority's yet,
//! so a new one stands in every bundle for a day before it signs, and the old
//! one stays there until it runs out.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;

#[cfg(test)]
mod tests;

const DAY: Duration = Duration::from_hours(24);
/// An authority's life. Apps keep its certificate, and few look for a new one.
const AUTHORITY: Duration = Duration::from_hours(10 * 365 * 24);
/// A certificate's life.
const CERTIFICATE: Duration = Duration::from_hours(90 * 24);
/// How long an authority is only known before it signs.
const KNOWN_FOR: Duration = DAY;
/// Clocks of machines differ.
const BEFORE_NOW: Duration = Duration::from_hours(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The library refused.
    #[error("a certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The time is one that no certificate can carry.
    #[error("a certificate cannot be made: the clock says {0}")]
    Clock(i64),
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// What is looked at of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Seconds since 1970 from which on it holds.
    pub from: i64,
    /// Seconds since 1970 until which it holds.
    pub until: i64,
    /// Who signed it.
    pub issuer: String,
    /// Whose it is.
    pub subject: String,
    /// Names of hosts.
    pub names: Vec<String>,
}

/// Makes an authority, with a name of its own.
pub fn authority(cluster: &str, now: i64) -> Result<Pair, CertificateError> {
    let key = KeyPair::generate()?;
    // No two share a name: by it a certificate's authority is found again.
    let id = crate::hash::short(key.public_key_raw());
    let mut params = dated(now, AUTHORITY)?;
    params.distinguished_name.push(DnType::CommonName, format!("{cluster} {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// Signs a certificate for these hosts, good for both ends of a connection.
/// The first is its name.
pub fn sign(by: &Pair, hosts: &[String], now: i64) -> Result<Pair, CertificateError> {
    let issuer = Issuer::from_ca_cert_pem(&by.certificate, KeyPair::from_pem(&by.key)?)?;
    let key = KeyPair::generate()?;
    let mut params = dated(now, CERTIFICATE)?;
    let named = CertificateParams::new(hosts)?;
    params.subject_alt_names = named.subject_alt_names;
    // A common name has room for 64 bytes; names that count stand in the list.
    let name: String = hosts.first().map_or("", String::as_str).chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(Pair { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
}

fn dated(now: i64, life: Duration) -> Result<CertificateParams, CertificateError> {
    let at = |seconds: i64| {
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| CertificateError::Clock(now))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = at(now.saturating_sub(seconds(BEFORE_NOW)))?;
    params.not_after = at(now.saturating_add(seconds(life)))?;
    Ok(params)
}

/// Whether an authority that is there must make way for a new one: it can't
/// be read, its key is another's, or two thirds of its life are over.
pub fn authority_is_due(pair: &Pair, now: i64) -> bool {
    !pair.belong_together()
        || look(&pair.certificate).is_none_or(|seen| seen.is_past_two_thirds(now))
}

/// Whether a certificate must be made anew. `bundle` is whom its readers
/// trust by now.
pub fn certificate_is_due(
    pair: &Pair,
    hosts: &[String],
    authority: &Pair,
    bundle: &str,
    now: i64,
) -> bool {
    let Some(seen) = look(&pair.certificate) else { return true };
    if !pair.belong_together() {
        return true;
    }
    let mut wanted = hosts.to_vec();
    let mut there = seen.names.clone();
    wanted.sort();
    there.sort();
    let trusted = each(bundle).iter().any(|one| one.1.subject == seen.issuer);
    if wanted != there || !trusted {
        return true;
    }
    let young = look(&authority.certificate)
        .is_some_and(|authority| now < authority.made().saturating_add(seconds(KNOWN_FOR)));
    // One by an authority that nobody knows yet would help nobody.
    let other = look(&authority.certificate).is_some_and(|one| one.subject != seen.issuer);
    let pressing = seen.until.saturating_sub(now) < seconds(DAY);
    seen.is_past_two_thirds(now) && (pressing || !(young && other))
}

/// All certificates of both texts that still hold, each once, the first text's
/// first.
pub fn bundle(first: &str, second: &str, now: i64) -> String {
    let mut all: Vec<String> = Vec::new();
    for (pem, seen) in each(first).into_iter().chain(each(second)) {
        if seen.until > now && !all.contains(&pem) {
            all.push(pem);
        }
    }
    all.concat()
}

/// The first certificate of a text in PEM.
pub fn look(pem: &str) -> Option<Seen> {
    each(pem).into_iter().next().map(|(_, seen)| seen)
}

/// Each certificate of a text in PEM, with its text.
fn each(text: &str) -> Vec<(String, Seen)> {
    const END: &str = "-----END CERTIFICATE-----";
    let mut all = Vec::new();
    for piece in text.split_inclusive(END) {
        let Some(begin) = piece.find("-----BEGIN CERTIFICATE-----") else { continue };
        let Some(Ok(pem)) = Pem::iter_from_buffer(&piece.as_bytes()[begin..]).next() else {
            continue;
        };
        let Ok(read) = pem.parse_x509() else { continue };
        all.push((format!("{}\n", piece[begin..].replace("\r\n", "\n")), Seen::of(&read)));
    }
    all
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

// === impl Pair ===

impl Pair {
    /// Whether the key is the certificate's.
    fn belong_together(&self) -> bool {
        let Ok(key) = KeyPair::from_pem(&self.key) else { return false };
        let Some(Ok(pem)) = Pem::iter_from_buffer(self.certificate.as_bytes()).next() else {
            return false;
        };
        let read = pem.parse_x509();
        read.is_ok_and(|read| *read.public_key().subject_public_key.data == *key.public_key_raw())
    }
}

// === impl Seen ===

impl Seen {
    fn of(read: &X509Certificate<'_>) -> Self {
        let names = read.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names);
        Self {
            from: read.validity().not_before.timestamp(),
            until: read.validity().not_after.timestamp(),
            issuer: read.issuer().to_string(),
            subject: read.subject().to_string(),
            names: names
                .filter_map(|name| match name {
                    GeneralName::DNSName(name) => Some((*name).to_owned()),
                    _ => None,
                })
                .collect(),
        }
    }

    /// When it was made.
    fn made(&self) -> i64 {
        self.from.saturating_add(seconds(BEFORE_NOW))
    }

    /// Whether two thirds of its life are over.
    pub fn is_past_two_thirds(&self, now: i64) -> bool {
        now >= self.from.saturating_add((self.until - self.from) / 3 * 2)
    }
}
