//! Revocations: who may have made one, and what it means.
//!
//! A revocation of a key can only be made by that key, or by the one that its owner has named for it. So it counts
//! wherever it comes from, and nothing else that comes with it does.

use chrono::{DateTime, Utc};
use sequoia_openpgp as openpgp;

use openpgp::packet::Signature;
use openpgp::parse::{PacketParser, PacketParserResult, Parse};
use openpgp::types::{ReasonForRevocation, RevocationType, SignatureType};
use openpgp::{Cert, Packet};

use super::certificate::{Certificate, MAX_CERTIFICATE};
use super::offer::certificates;
use super::rules::{Rules, chrono as to_chrono, guarded, hex};

/// How many revocations in one file are looked at. Each costs two checks of a signature at most.
const MOST: usize = 16;
/// Packets of one file; a key with many identities and signatures has some hundreds.
const PACKETS: usize = 4096;

/// That a key was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// What the revocation says; it proves nothing.
    pub at: DateTime<Utc>,
    /// Stolen, or without a reason: what it signed before may be somebody else's too. Otherwise it was replaced or
    /// given up by its owner, and what it signed before is as good as it was.
    pub hard: bool,
}

/// Keys and revocations out of one attachment or header.
#[derive(Default)]
pub struct SentKeys {
    certificates: Vec<Certificate>,
    revocations: Vec<Signature>,
}

impl SentKeys {
    /// Reads certificates, and revocations that stand alone, armored or binary. What can't be read is left out.
    pub fn read(bytes: &[u8]) -> Self {
        if bytes.len() > MAX_CERTIFICATE {
            return Self::default();
        }
        let revocations = guarded(|| Ok(signatures(bytes))).unwrap_or_default();
        Self { certificates: certificates(bytes), revocations }
    }

    /// The certificates.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Fingerprints and key ids of keys that the revocations may be about: their makers, and the keys they came with.
    pub fn revoked_handles(&self) -> Vec<String> {
        if self.revocations.is_empty() {
            return Vec::new();
        }
        let makers = self.revocations.iter().flat_map(|sig| sig.get_issuers()).map(|handle| hex(&handle));
        let mut handles: Vec<String> = makers.chain(self.certificates.iter().map(Certificate::fingerprint)).collect();
        handles.sort_unstable();
        handles.dedup();
        handles
    }

    /// The genuine revocations of `pinned`: made by itself, or by the key that it has named as its revoker, where that is
    /// among `revokers` or came along.
    pub(super) fn revocations_of(
        &self,
        pinned: &Certificate,
        revokers: &[Certificate],
        now: DateTime<Utc>,
    ) -> Vec<Signature> {
        let genuine = |sig: &&Signature| {
            let key = pinned.cert().primary_key().key();
            guarded(|| {
                Ok(sig.verify_primary_key_revocation(key, key).is_ok() || self.by_revoker(sig, pinned, revokers, now))
            })
            .unwrap_or(false)
        };
        self.revocations.iter().filter(genuine).cloned().collect()
    }

    fn by_revoker(&self, sig: &Signature, pinned: &Certificate, revokers: &[Certificate], now: DateTime<Utc>) -> bool {
        let rules = Rules::at(now);
        let key = pinned.cert().primary_key().key();
        let named: Vec<String> =
            pinned.cert().revocation_keys(&rules).map(|revoker| revoker.revoker().1.to_hex()).collect();
        self.certificates
            .iter()
            .chain(revokers)
            .filter(|candidate| named.contains(&candidate.fingerprint()))
            .any(|revoker| sig.verify_primary_key_revocation(revoker.cert().primary_key().key(), key).is_ok())
    }

    /// The certificate as it is with the genuine revocations of it that came; None where there is none, or none that is
    /// new.
    pub fn revoke(&self, pinned: &Certificate, revokers: &[Certificate], now: DateTime<Utc>) -> Option<Certificate> {
        let known: Vec<&Signature> = revocations(pinned.cert()).collect();
        let mut new = self.revocations_of(pinned, revokers, now);
        new.retain(|sig| !known.iter().any(|old| old.normalized_eq(sig)));
        if new.is_empty() {
            return None;
        }
        guarded(|| Ok(Cert::clone(pinned.cert()).insert_packets(new.into_iter().map(Packet::from))?.0))
            .ok()
            .map(Certificate::new)
    }
}

impl Certificate {
    /// This certificate with the revocations that `other` has, which were verified there; None where none is new.
    pub fn revoked_as(&self, other: &Self) -> Option<Self> {
        let known: Vec<&Signature> = revocations(self.cert()).collect();
        let new: Vec<Packet> = revocations(other.cert())
            .filter(|sig| self.fingerprint() == other.fingerprint() && !known.iter().any(|old| old.normalized_eq(sig)))
            .map(|sig| Packet::from(sig.clone()))
            .collect();
        if new.is_empty() {
            return None;
        }
        guarded(|| Ok(Cert::clone(self.cert()).insert_packets(new)?.0)).ok().map(Self::new)
    }

    /// Whether and how its owner has revoked it: of several revocations the hardest, then the oldest.
    pub fn revocation(&self) -> Option<Revocation> {
        let all = revocations(self.cert()).map(|sig| {
            let reason = sig.reason_for_revocation().map_or(ReasonForRevocation::Unspecified, |(reason, _)| reason);
            let at = sig.signature_creation_time().map_or(DateTime::UNIX_EPOCH, to_chrono);
            Revocation { at, hard: reason.revocation_type() == RevocationType::Hard }
        });
        all.min_by_key(|revocation| (!revocation.hard, revocation.at))
    }
}

/// Revocations of the primary key by itself, and by who was named for it: those were verified before they were merged,
/// see [`SentKeys::revoke`], and [`Certificate::merge`] merges none of them.
pub(super) fn revocations(cert: &Cert) -> impl Iterator<Item = &Signature> {
    let lenient = Rules::lenient();
    let named: Vec<_> = cert.revocation_keys(&lenient).map(|revoker| revoker.revoker().1.clone()).collect();
    let designated = cert.primary_key().other_revocations().filter(move |sig| {
        sig.get_issuers().iter().any(|maker| named.iter().any(|fp| maker.aliases(openpgp::KeyHandle::from(fp))))
    });
    cert.primary_key().self_revocations().chain(designated)
}

/// Every revocation of a primary key among the packets; nothing that is compressed or encrypted is opened.
fn signatures(bytes: &[u8]) -> Vec<Signature> {
    let mut found: Vec<Signature> = Vec::new();
    let mut next = PacketParser::from_bytes(bytes);
    for _ in 0..PACKETS {
        let Ok(PacketParserResult::Some(parser)) = next else { break };
        let Ok((packet, rest)) = parser.next() else { break };
        if let Packet::Signature(sig) = packet
            && sig.typ() == SignatureType::KeyRevocation
        {
            found.push(sig);
            if found.len() >= MOST {
                break;
            }
        }
        next = Ok(rest);
    }
    found
}
