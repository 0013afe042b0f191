//! OpenPGP (RFC 9580): certificates, the practice's key, opening (decrypt and verify) and sealing
//! (sign and encrypt).
//!
//! No other module names a type of the OpenPGP library. Time is always an argument; certificates
//! are looked up outside, through [`Certificates`]. Opening either returns the whole plaintext,
//! after the integrity of the whole message was verified, or none of it.

mod certificate;
mod describe;
mod offer;
mod open;
mod padding;
mod practice;
mod recipients;
mod revocation;
pub mod ring;
mod rules;
mod seal;
mod verdict;
pub mod wkd;

#[cfg(test)]
mod tests;

pub use certificate::{CertError, CertProblem, Certificate, Purpose};
pub use describe::KeyFacts;
pub use offer::{OfferProblem, certificates, offered};
pub use open::{OpenError, open, verify_cleartext, verify_detached};
pub use practice::{KeyError, NewKey, PracticeKey};
pub use recipients::recipients;
pub use revocation::{Revocation, SentKeys};
pub use seal::{MICALG, SealError, seal, seal_dated, sign_clear, sign_detached};
pub use verdict::{BadSignature, GoodSignature, SignatureCheck};

use chrono::{DateTime, Utc};

use crate::secret::Plaintext;

/// Where certificates are looked up. `handle` is a fingerprint or a key id of a primary key or of a
/// subkey, in upper-case hexadecimal digits (see [`Certificate::handles`]).
pub trait Certificates {
    /// Every certificate that has a key with this handle; key ids can collide.
    fn find(&self, handle: &str) -> Vec<Certificate>;
}

impl Certificates for [Certificate] {
    fn find(&self, handle: &str) -> Vec<Certificate> {
        self.iter().filter(|cert| cert.handles().iter().any(|h| h == handle)).cloned().collect()
    }
}

impl Certificates for Vec<Certificate> {
    fn find(&self, handle: &str) -> Vec<Certificate> {
        self.as_slice().find(handle)
    }
}

/// The two moments that a signature is judged at (SPEC section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// When the message was first seen. An expired key is excused if it signed at most 72 hours
    /// before; a signature dated more than 30 minutes after is from the future.
    pub first_seen: DateTime<Utc>,
    /// When it is judged.
    pub now: DateTime<Utc>,
}

impl When {
    /// First seen and judged at the same moment.
    pub fn at(moment: DateTime<Utc>) -> Self {
        Self { first_seen: moment, now: moment }
    }
}

impl From<DateTime<Utc>> for When {
    fn from(moment: DateTime<Utc>) -> Self {
        Self::at(moment)
    }
}

/// What a message may cost before it is refused.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of plaintext, after decompression.
    pub plaintext: usize,
    /// OpenPGP packets: recipients, signatures, containers and all others together.
    pub packets: usize,
}

impl Default for Limits {
    /// 64 MiB and 500 packets.
    fn default() -> Self {
        Self { plaintext: 64 << 20, packets: 500 }
    }
}

/// A message whose integrity was verified to its end.
#[derive(Debug)]
pub struct Opened {
    /// The content of the literal packet, or the signed text of a cleartext-signed block: exactly
    /// the bytes that `signature` is about.
    pub plaintext: Plaintext,
    pub signature: SignatureCheck,
    /// Whether it was encrypted. [`open()`] takes signed messages without encryption too.
    pub encrypted: bool,
    /// Fingerprint of the primary of the practice key that opened it, upper-case hexadecimal digits.
    pub opened_with: Option<String>,
}
