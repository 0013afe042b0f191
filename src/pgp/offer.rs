//! The keys that somebody sends to be enrolled with: bytes in, one certificate or what is wrong with them out.

use chrono::{DateTime, Utc};
use sequoia_openpgp as openpgp;

use openpgp::cert::prelude::*;
use openpgp::parse::Parse;

use super::certificate::{CertProblem, Certificate, MAX_CERTIFICATE, Purpose};
use super::rules::guarded;

/// How many certificates of one mail are looked at; more are no answer to anything.
const MOST: usize = 16;

/// Why no certificate can be taken from what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferProblem {
    /// There is none.
    NoKey,
    /// More than one that could be used: which is meant can't be known.
    SeveralKeys,
    Expired,
    Revoked,
    /// An algorithm, a size or a self-signature that isn't safe any more.
    TooWeak,
    NoEncryption,
    NoSigning,
    /// It looks like a key and can't be read.
    Unreadable,
}

/// Every certificate in these bytes (armored, binary, or a ring of several), secrets dropped; what can't be read is
/// left out.
pub fn certificates(bytes: &[u8]) -> Vec<Certificate> {
    if bytes.len() > MAX_CERTIFICATE {
        return Vec::new();
    }
    let read = || Ok(CertParser::from_bytes(bytes)?.filter_map(Result::ok).take(MOST).map(Certificate::new).collect());
    guarded(read).unwrap_or_default()
}

/// The one certificate that can be written to and can sign at `at`, out of everything that was sent. `ours` are
/// fingerprints that come back with an answer and mean nothing; the same certificate several times is one.
///
/// # Errors
/// [`OfferProblem`]
pub fn offered(sent: &[&[u8]], ours: &[String], at: DateTime<Utc>) -> Result<Certificate, OfferProblem> {
    let mut found: Vec<Certificate> = Vec::new();
    let mut unreadable = false;
    for bytes in sent {
        let read = certificates(bytes);
        unreadable |= read.is_empty();
        for certificate in read.into_iter().filter(|c| !ours.contains(&c.fingerprint())) {
            match found.iter_mut().find(|known| known.fingerprint() == certificate.fingerprint()) {
                Some(known) => *known = known.merge(&certificate).unwrap_or_else(|_| known.clone()),
                None => found.push(certificate),
            }
        }
    }
    let mut usable = found.iter().filter(|certificate| problem(certificate, at).is_none());
    match (usable.next(), usable.next()) {
        (Some(only), None) => return Ok(only.clone()),
        (Some(_), Some(_)) => return Err(OfferProblem::SeveralKeys),
        (None, _) => {}
    }
    match found.as_slice() {
        [] if unreadable => Err(OfferProblem::Unreadable),
        [] => Err(OfferProblem::NoKey),
        [first, ..] => Err(problem(first, at).unwrap_or(OfferProblem::Unreadable)),
    }
}

/// What keeps a certificate from being enrolled.
fn problem(certificate: &Certificate, at: DateTime<Utc>) -> Option<OfferProblem> {
    // What it can encrypt with comes first: a key without that is the more common mistake.
    let problem =
        [Purpose::Encrypt, Purpose::Sign].into_iter().find_map(|purpose| certificate.usable_for(purpose, at).err())?;
    Some(match problem {
        CertProblem::Expired { .. } => OfferProblem::Expired,
        CertProblem::Revoked => OfferProblem::Revoked,
        CertProblem::TooWeak { .. } | CertProblem::Sha1SelfSignature => OfferProblem::TooWeak,
        CertProblem::NoEncryptionKey => OfferProblem::NoEncryption,
        CertProblem::NoSigningKey => OfferProblem::NoSigning,
        CertProblem::NotYetValid | CertProblem::Unsupported | CertProblem::Malformed => OfferProblem::Unreadable,
    })
}
