//! What the signatures of a message say (SPEC section 3). Pure: the library's results in, one
//! [`SignatureCheck`] out.

use chrono::{DateTime, TimeDelta, Utc};
use sequoia_openpgp as openpgp;

use openpgp::cert::amalgamation::ValidAmalgamation;
use openpgp::packet::Signature;
use openpgp::parse::stream::{GoodChecksum, MessageLayer, MessageStructure, VerificationError, VerificationResult};
use openpgp::types::RevocationStatus;

use super::When;
use super::certificate::is_weak_hash;
use super::rules::{Rules, chrono as to_chrono, hex, is_revoked, system};

/// An expired key is excused for letters signed at most this long before they were first seen.
pub(super) const EXPIRY_GRACE: TimeDelta = TimeDelta::hours(72);
/// A signature dated further ahead than this is from the future.
pub(super) const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(30);

/// What the signatures over a message say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignatureCheck {
    /// There is no signature at all.
    None,
    /// One group of signatures, at least one of them good, none bad.
    Good(GoodSignature),
    /// Signatures, all of them by certificates that the look-up doesn't know. `issuers`: the
    /// handles they name, upper-case hexadecimal digits; they prove nothing.
    Unknown { issuers: Vec<String> },
    /// At least one signature is bad, or the signatures are layered in a way that mail never is.
    Bad { reason: BadSignature },
}

/// A signature that verifies, by a certificate that the look-up returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoodSignature {
    /// Fingerprint of the signer's primary key, upper-case hexadecimal digits.
    pub fingerprint: String,
    pub signed_at: DateTime<Utc>,
    /// The digest that the signature covers: data, hashed subpackets and trailer. What is not
    /// covered (armor, unhashed subpackets, headers around it) doesn't change it, so that
    /// (`fingerprint`, `digest`) knows a replay.
    pub digest: Vec<u8>,
    /// Fingerprints of the certificates it was meant for, upper-case hexadecimal digits (RFC 9580
    /// section 5.2.3.36); empty when the signer named none.
    pub intended: Vec<String>,
    /// Set when the key has expired since, and the 72 hours excuse it.
    pub expired_at: Option<DateTime<Utc>>,
    /// Fingerprints of other known certificates whose signatures over the same data are good too.
    pub also_by: Vec<String>,
}

/// Why a signature is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error("the signature does not match the data: it was changed on its way, or forged")]
    DoesNotVerify,
    #[error("the key or the signature had expired; its owner has to extend the key and send it again")]
    Expired,
    #[error("the key was revoked by its owner")]
    Revoked,
    #[error("the signature, or the key's own, uses an algorithm that is too weak (MD5, SHA-1, a short key)")]
    TooWeak,
    #[error("the signature is dated more than 30 minutes in the future; check the clock of the sender's computer")]
    FromFuture,
    #[error("the key was not valid when the signature was made")]
    NotValidThen,
    #[error("the key may not be used for signing")]
    NotForSigning,
    #[error("signatures and encryption are layered in a way that mail never is")]
    Structure,
    #[error("a signature can't be read")]
    Malformed,
}

/// What a structure may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Envelope {
    /// Encryption (or none), at most one compression, at most one group of signatures, in this order.
    Message,
    /// A group of signatures and nothing else.
    SignaturesOnly,
}

/// The verdict over a whole message, and whether it was encrypted.
pub(super) fn judge(
    structure: MessageStructure,
    envelope: Envelope,
    rules: &Rules,
    when: When,
) -> (SignatureCheck, bool) {
    let (mut rank, mut encrypted, mut in_order) = (0, false, true);
    let mut groups = Vec::new();
    for layer in structure {
        let this = match layer {
            MessageLayer::Encryption { .. } => {
                encrypted = true;
                1
            }
            MessageLayer::Compression { .. } => 2,
            MessageLayer::SignatureGroup { results } => {
                groups.push(results);
                3
            }
        };
        in_order &= this > rank && (envelope == Envelope::Message || this == 3);
        rank = this;
    }
    if groups.iter().all(Vec::is_empty) {
        return (SignatureCheck::None, encrypted);
    }
    if !in_order || groups.len() != 1 {
        return (SignatureCheck::Bad { reason: BadSignature::Structure }, encrypted);
    }
    (judge_group(groups.remove(0), rules, when), encrypted)
}

fn judge_group(results: Vec<VerificationResult>, rules: &Rules, when: When) -> SignatureCheck {
    let mut good: Vec<GoodSignature> = Vec::new();
    let mut issuers: Vec<String> = Vec::new();
    for result in results {
        match result {
            Ok(checksum) => match judge_good(&checksum, rules, when) {
                Ok(signature) => good.push(signature),
                Err(reason) => return SignatureCheck::Bad { reason },
            },
            Err(VerificationError::MissingKey { sig }) => {
                issuers.extend(sig.get_issuers().iter().map(hex));
            }
            Err(error) => return SignatureCheck::Bad { reason: reason(&error, when) },
        }
    }
    if good.is_empty() {
        issuers.sort_unstable();
        issuers.dedup();
        return SignatureCheck::Unknown { issuers };
    }
    let mut first = good.remove(0);
    for other in good {
        if other.fingerprint != first.fingerprint && !first.also_by.contains(&other.fingerprint) {
            first.also_by.push(other.fingerprint);
        }
    }
    SignatureCheck::Good(first)
}

/// The library has checked the signature and the key at signature time; this checks them now.
fn judge_good(checksum: &GoodChecksum, rules: &Rules, when: When) -> Result<GoodSignature, BadSignature> {
    let sig = checksum.sig;
    let signed_at = sig.signature_creation_time().map(to_chrono).ok_or(BadSignature::Malformed)?;
    if signed_at > when.first_seen + CLOCK_SKEW {
        return Err(BadSignature::FromFuture);
    }
    if is_weak_hash(sig.hash_algo()) {
        return Err(BadSignature::TooWeak);
    }
    let cert = checksum.ka.cert();
    let key = checksum.ka.key().fingerprint();
    if is_revoked(cert, rules, when.now) || checksum.ka.self_revocations().next().is_some() {
        return Err(BadSignature::Revoked);
    }
    // A signature from the last half hour's skew is judged at its own time, not before its key's.
    let now = system(when.now.max(signed_at));
    let valid = cert.with_policy(rules, now).map_err(|_| BadSignature::TooWeak)?;
    let mut expired_at = None;
    if valid.alive().is_err() {
        expired_at = Some(valid.primary_key().key_expiration_time().map_or(signed_at, to_chrono));
    }
    match valid.keys().key_handle(&key).next() {
        Some(ka) if matches!(ka.revocation_status(), RevocationStatus::Revoked(_)) => {
            return Err(BadSignature::Revoked);
        }
        Some(ka) if ka.alive().is_err() => {
            let at = ka.key_expiration_time().map_or(signed_at, to_chrono);
            expired_at = Some(expired_at.map_or(at, |earlier: DateTime<Utc>| earlier.min(at)));
        }
        Some(_) => {}
        // Its binding is gone: a subkey that the owner has let lapse.
        None => expired_at = Some(expired_at.unwrap_or(signed_at)),
    }
    if expired_at.is_some() && signed_at < when.first_seen - EXPIRY_GRACE {
        return Err(BadSignature::Expired);
    }
    Ok(GoodSignature {
        fingerprint: cert.fingerprint().to_hex(),
        signed_at,
        digest: sig.computed_digest().ok_or(BadSignature::Malformed)?.to_vec(),
        intended: sig.intended_recipients().map(openpgp::Fingerprint::to_hex).collect(),
        expired_at,
        also_by: Vec::new(),
    })
}

/// Words the library's refusal. Every branch is bad; only the reason differs.
fn reason(error: &VerificationError, when: When) -> BadSignature {
    let (sig, cause): (&Signature, &anyhow::Error) = match error {
        VerificationError::BadKey { sig, error, ka } => {
            if is_future(sig, when) {
                return BadSignature::FromFuture;
            }
            let revoked = matches!(ka.revocation_status(), RevocationStatus::Revoked(_))
                || matches!(ka.valid_cert().revocation_status(), RevocationStatus::Revoked(_));
            return match error.downcast_ref::<openpgp::Error>() {
                Some(openpgp::Error::Expired(_)) => BadSignature::Expired,
                Some(openpgp::Error::NotYetLive(_)) => BadSignature::NotValidThen,
                _ if revoked => BadSignature::Revoked,
                _ => BadSignature::NotForSigning,
            };
        }
        VerificationError::UnboundKey { sig, error, .. } => {
            if is_future(sig, when) {
                return BadSignature::FromFuture;
            }
            return if is_policy(error) { BadSignature::TooWeak } else { BadSignature::NotValidThen };
        }
        VerificationError::BadSignature { sig, error, .. } => (sig, error),
        _ => return BadSignature::Malformed,
    };
    if is_future(sig, when) {
        BadSignature::FromFuture
    } else if is_weak_hash(sig.hash_algo()) || is_policy(cause) {
        BadSignature::TooWeak
    } else if matches!(cause.downcast_ref::<openpgp::Error>(), Some(openpgp::Error::Expired(_))) {
        BadSignature::Expired
    } else {
        BadSignature::DoesNotVerify
    }
}

fn is_future(sig: &Signature, when: When) -> bool {
    sig.signature_creation_time().is_some_and(|t| to_chrono(t) > when.first_seen + CLOCK_SKEW)
}

fn is_policy(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| matches!(cause.downcast_ref::<openpgp::Error>(), Some(openpgp::Error::PolicyViolation(..))))
}
