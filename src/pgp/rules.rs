//! Which algorithms and packets are taken: the library's standard policy at a given time, with
//! refusals that tell their causes apart.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use sequoia_openpgp as openpgp;

use openpgp::cert::prelude::*;
use openpgp::packet::{Signature, Tag, key};
use openpgp::policy::{HashAlgoSecurity, Policy, StandardPolicy};
use openpgp::types::{AEADAlgorithm, SymmetricAlgorithm};
use openpgp::{Cert, Packet};

/// Why a packet was refused while a message was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("encrypted data without integrity protection (packet tag 9)")]
    NoIntegrity,
    #[error("GnuPG's own OCB packet (tag 20)")]
    OcbPacket,
    #[error("too many packets, or packets nested too deeply")]
    TooMany,
    #[error("the library panicked")]
    Panicked,
    #[error("more plaintext than is allowed")]
    TooLarge,
    #[error("containers nested in a way that mail never is")]
    Nested,
}

/// The standard policy of the library, frozen at one moment.
#[derive(Debug, Clone)]
pub(super) struct Rules(StandardPolicy<'static>);

impl Rules {
    pub(super) fn at(moment: DateTime<Utc>) -> Self {
        Self(StandardPolicy::at(system(moment)))
    }

    /// Takes what was sound in 1970. Only for wording a refusal that stands already.
    pub(super) fn lenient() -> Self {
        Self(StandardPolicy::at(SystemTime::UNIX_EPOCH))
    }
}

impl Policy for Rules {
    fn signature(&self, sig: &Signature, sec: HashAlgoSecurity) -> openpgp::Result<()> {
        self.0.signature(sig, sec)
    }

    fn key(&self, ka: &ValidErasedKeyAmalgamation<key::PublicParts>) -> openpgp::Result<()> {
        self.0.key(ka)
    }

    fn symmetric_algorithm(&self, algo: SymmetricAlgorithm) -> openpgp::Result<()> {
        self.0.symmetric_algorithm(algo)
    }

    fn aead_algorithm(&self, algo: AEADAlgorithm) -> openpgp::Result<()> {
        self.0.aead_algorithm(algo)
    }

    fn packet(&self, packet: &Packet) -> openpgp::Result<()> {
        match packet.tag() {
            Tag::SED => Err(Refused::NoIntegrity.into()),
            Tag::AED => Err(Refused::OcbPacket.into()),
            _ => self.0.packet(packet),
        }
    }
}

/// As the library wants it. Times before 1970 become 1970.
pub(super) fn system(moment: DateTime<Utc>) -> SystemTime {
    SystemTime::from(moment.max(DateTime::UNIX_EPOCH))
}

/// The library's time, whole seconds UTC.
pub(super) fn chrono(moment: SystemTime) -> DateTime<Utc> {
    DateTime::<Utc>::from(moment)
}

/// Whether the certificate is revoked, at whatever time the revocation says: one that is dated in
/// the future, or that a later self-signature could be read as lifting, is taken at its word too.
pub(super) fn is_revoked(cert: &Cert, rules: &Rules, now: DateTime<Utc>) -> bool {
    matches!(cert.revocation_status(rules, system(now)), openpgp::types::RevocationStatus::Revoked(_))
        || super::revocation::revocations(cert).next().is_some()
}

/// A key handle as upper-case hexadecimal digits.
pub(super) fn hex(handle: &openpgp::KeyHandle) -> String {
    format!("{handle:X}")
}

/// Runs the library and takes a panic of it as a failure: version 2.4 panics on an SEIPDv1 packet
/// whose session key fits and that is shorter than its MDC, which anybody can send.
pub(super) fn guarded<T>(work: impl FnOnce() -> openpgp::Result<T>) -> openpgp::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| Err(Refused::Panicked.into()))
}
