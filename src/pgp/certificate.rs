//! A person's public certificate.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Datelike, Utc};
use sequoia_openpgp as openpgp;

use openpgp::cert::prelude::*;
use openpgp::packet::Signature;
use openpgp::packet::signature::subpacket::SubpacketTag;
use openpgp::parse::Parse;
use openpgp::serialize::SerializeInto;
use openpgp::types::{HashAlgorithm, RevocationStatus};
use openpgp::{Cert, Packet};

use super::rules::{Rules, chrono as to_chrono, guarded, hex, is_revoked, system};
use super::verdict::CLOCK_SKEW;

/// Certificates larger than this are refused before they are read.
pub(super) const MAX_CERTIFICATE: usize = 1 << 20;
/// Autocrypt Level 1 allows a header of 10 KiB; base64 takes a third, address and folding the rest.
const MAX_AUTOCRYPT: usize = 7_200;

/// Why bytes are not one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertError {
    #[error("the data is not an OpenPGP certificate; export the public key again, armored")]
    Malformed,
    #[error("the certificate is of a kind that is not supported (version 3, or version 5 of LibrePGP)")]
    Unsupported,
    #[error("the data holds more than one certificate; export exactly one")]
    NotOne,
    #[error("the certificate is larger than 1 MiB; export it again without other people's signatures")]
    TooLarge,
    #[error("the certificate is a different one: its fingerprint is not the same")]
    OtherFingerprint,
}

/// What a certificate is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Encrypt,
    Sign,
}

/// Why a certificate can't be used for a purpose at a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertProblem {
    #[error("the key expired on {}; its owner has to extend it and send it again", at.format("%Y-%m-%d"))]
    Expired { at: DateTime<Utc> },
    #[error("the key was revoked by its owner; a new one is needed")]
    Revoked,
    #[error("the key is dated in the future; check the clocks of both computers")]
    NotYetValid,
    #[error("the key can't encrypt; its owner has to add an encryption subkey")]
    NoEncryptionKey,
    #[error("the key can't sign; its owner has to add a signing subkey")]
    NoSigningKey,
    #[error("the key is too weak ({what}); its owner has to make a new one")]
    TooWeak { what: String },
    #[error("the key vouches for itself with SHA-1 or MD5; its owner has to renew it with a current program")]
    Sha1SelfSignature,
    #[error("the key uses an algorithm that is not supported")]
    Unsupported,
    #[error("the key is malformed: it has no valid signature of its own")]
    Malformed,
}

/// An OpenPGP certificate: public keys, identities and self-signatures. Cheap to clone; what has
/// been verified once is kept, so hold on to it rather than reading its bytes again.
#[derive(Clone)]
pub struct Certificate(Arc<Cert>);

impl Certificate {
    pub(super) fn new(cert: Cert) -> Self {
        Self(Arc::new(cert.strip_secret_key_material()))
    }

    pub(super) fn cert(&self) -> &Cert {
        &self.0
    }

    /// Reads exactly one certificate, armored or binary. Secret key material is dropped.
    ///
    /// # Errors
    /// [`CertError`]
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CertError> {
        if bytes.len() > MAX_CERTIFICATE {
            return Err(CertError::TooLarge);
        }
        guarded(|| Ok(Self::read_one(bytes))).unwrap_or(Err(CertError::Malformed))
    }

    fn read_one(bytes: &[u8]) -> Result<Self, CertError> {
        let mut parser = CertParser::from_bytes(bytes).map_err(|_| CertError::Malformed)?;
        let cert = parser.next().ok_or(CertError::Malformed)?.map_err(|error| unreadable(&error))?;
        match parser.next() {
            None => Ok(Self::new(cert)),
            Some(Ok(_)) => Err(CertError::NotOne),
            Some(Err(_)) => Err(CertError::Malformed),
        }
    }

    /// The fingerprint of the primary key, upper-case hexadecimal digits without spaces.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint().to_hex()
    }

    /// Fingerprints and key ids of the primary and all subkeys, upper-case hexadecimal digits.
    pub fn handles(&self) -> Vec<String> {
        self.0
            .keys()
            .flat_map(|ka| [hex(&ka.key().fingerprint().into()), hex(&openpgp::KeyHandle::from(ka.key().keyid()))])
            .collect()
    }

    /// The certificate in binary form (RFC 9580 section 10.1).
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing to memory fails only for packets that could not have been read.
        self.0.to_vec().unwrap_or_default()
    }

    /// The certificate in armor, lines ending in CRLF.
    pub fn to_armored(&self) -> String {
        crlf(&self.0.armored().to_vec().unwrap_or_default())
    }

    /// The certificate cut down to what an Autocrypt header may hold (Autocrypt Level 1): primary,
    /// one identity (that of `address` where there is one), usable subkeys, newest self-signatures.
    /// `None` if it can't be used for encryption at `at` or is still too large.
    pub fn minimal_for_autocrypt(&self, address: &str, at: DateTime<Utc>) -> Option<Vec<u8>> {
        let rules = Rules::at(at);
        let valid = self.0.with_policy(&rules, system(at)).ok()?;
        let matching = valid.userids().find(|uid| email(uid.userid()).is_some_and(|e| e.eq_ignore_ascii_case(address)));
        let uid = matching.or_else(|| valid.primary_userid().ok())?;
        let mut packets: Vec<Packet> = vec![self.0.primary_key().key().clone().into()];
        packets.extend(valid.direct_key_signature().ok().map(|sig| sig.clone().into()));
        packets.push(uid.userid().clone().into());
        packets.push(uid.binding_signature().clone().into());
        let mut encrypts = false;
        let mut subkeys: Vec<_> = valid.keys().subkeys().supported().alive().revoked(false).collect();
        subkeys.sort_by_key(|ka| std::cmp::Reverse(ka.key().creation_time()));
        for ka in subkeys {
            let for_encryption = ka.for_transport_encryption() || ka.for_storage_encryption();
            if !(ka.for_signing() || for_encryption && !encrypts) {
                continue;
            }
            encrypts |= for_encryption;
            packets.push(ka.key().clone().into());
            packets.push(ka.binding_signature().clone().into());
        }
        let bytes = Cert::from_packets(packets.into_iter()).ok()?.to_vec().ok()?;
        (encrypts && bytes.len() <= MAX_AUTOCRYPT).then_some(bytes)
    }

    /// Whether mail can be encrypted to this certificate, or its signatures taken, at `at`.
    ///
    /// # Errors
    /// [`CertProblem`], the first that has to be mended.
    pub fn usable_for(&self, purpose: Purpose, at: DateTime<Utc>) -> Result<(), CertProblem> {
        let rules = Rules::at(at);
        usable_keys(&self.0, &rules, purpose, at).map(|_| ())
    }

    /// When the certificate stops being usable: the earliest of the primary's expiry and those of the encryption key
    /// and of the signing key that last longest. `None`: never, or not usable now.
    pub fn expires_at(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.expires_for(&[Purpose::Encrypt, Purpose::Sign], at)
    }

    /// The same for these purposes only. A certificate that has no key for one of them is judged by the others.
    pub fn expires_for(&self, purposes: &[Purpose], at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let rules = Rules::at(at);
        let valid = self.0.with_policy(&rules, system(at)).ok()?;
        let mut ends: Vec<std::time::SystemTime> = valid.primary_key().key_expiration_time().into_iter().collect();
        for purpose in purposes {
            let keys = valid.keys().supported().revoked(false);
            let keys = match purpose {
                Purpose::Encrypt => keys.for_transport_encryption().for_storage_encryption(),
                Purpose::Sign => keys.for_signing(),
            };
            let expiries: Vec<_> = keys.map(|ka| ka.key_expiration_time()).collect();
            // One without an end serves for ever.
            if expiries.iter().all(Option::is_some) {
                ends.extend(expiries.into_iter().flatten().max());
            }
        }
        ends.into_iter().min().map(to_chrono)
    }

    /// The addresses in the identities that the certificate itself vouches for and has not revoked.
    pub fn user_ids_addresses(&self) -> Vec<String> {
        let mut found = Vec::new();
        for uid in self.0.userids() {
            if uid.self_signatures().next().is_some() && uid.self_revocations().next().is_none() {
                found.extend(email(uid.userid()).filter(|e| !found.contains(e)));
            }
        }
        found
    }

    /// This certificate with everything new that `newer`, of the same fingerprint, says and its primary key has
    /// certified: identities, subkeys, lifetimes, revocations of them. Other people's signatures, and what nobody has
    /// signed, are left out.
    ///
    /// # Errors
    /// [`CertError::OtherFingerprint`]; [`CertError::TooLarge`] where it would grow beyond all measure.
    pub fn merge(&self, newer: &Self) -> Result<Self, CertError> {
        if self.0.fingerprint() != newer.0.fingerprint() {
            return Err(CertError::OtherFingerprint);
        }
        let new = guarded(|| Ok(certified(&self.0, &newer.0))).map_err(|_| CertError::Malformed)?;
        if new.is_empty() {
            return Ok(self.clone());
        }
        let merged = guarded(|| Ok(Cert::clone(&self.0).insert_packets(new)?.0)).map_err(|_| CertError::Malformed)?;
        let merged = Self::new(merged);
        if merged.to_bytes().len() > MAX_CERTIFICATE { Err(CertError::TooLarge) } else { Ok(merged) }
    }

    /// The certificate without identities of other addresses, for whoever asks for this one.
    #[must_use]
    pub fn with_address_only(&self, address: &str) -> Self {
        let of_address =
            |uid: &UserIDAmalgamation<'_>| email(uid.userid()).is_some_and(|known| known.eq_ignore_ascii_case(address));
        let cert = Cert::clone(&self.0);
        Self::new(cert.retain_userids(|uid| of_address(&uid)).retain_user_attributes(|_| false))
    }
}

/// What `newer` has that `known` hasn't, each with a valid signature of the primary key. Unhashed subpackets, which
/// anybody can add, are dropped, but for those that say who signed and the signing key's own signature.
fn certified(known: &Cert, newer: &Cert) -> Vec<Packet> {
    let old: Vec<&Signature> = known
        .keys()
        .flat_map(|ka| ka.self_signatures().chain(ka.self_revocations()).collect::<Vec<_>>())
        .chain(known.userids().flat_map(|uid| uid.self_signatures().chain(uid.self_revocations()).collect::<Vec<_>>()))
        .collect();
    let fresh = |sig: &Signature| -> Option<Packet> {
        if old.iter().any(|known| known.normalized_eq(sig)) {
            return None;
        }
        let mut sig = sig.clone();
        let kept = [SubpacketTag::Issuer, SubpacketTag::IssuerFingerprint, SubpacketTag::EmbeddedSignature];
        let strange: Vec<SubpacketTag> =
            sig.unhashed_area().iter().map(openpgp::packet::signature::subpacket::Subpacket::tag).collect();
        for tag in strange.into_iter().filter(|tag| !kept.contains(tag)) {
            sig.unhashed_area_mut().remove_all(tag);
        }
        Some(Packet::from(sig))
    };
    let mut packets = Vec::new();
    for ka in newer.keys() {
        let signatures: Vec<Packet> = ka.self_signatures().chain(ka.self_revocations()).filter_map(fresh).collect();
        if !ka.primary() && !signatures.is_empty() {
            packets.push(Packet::from(ka.key().clone().role_into_subordinate()));
        }
        packets.extend(signatures);
    }
    for uid in newer.userids() {
        let signatures: Vec<Packet> = uid.self_signatures().chain(uid.self_revocations()).filter_map(fresh).collect();
        if !signatures.is_empty() {
            packets.push(Packet::from(uid.userid().clone()));
            packets.extend(signatures);
        }
    }
    packets
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint())
    }
}

impl PartialEq for Certificate {
    /// Same fingerprint and same content.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Certificate {}

fn unreadable(error: &anyhow::Error) -> CertError {
    match error.downcast_ref::<openpgp::Error>() {
        Some(openpgp::Error::UnsupportedCert(..)) => CertError::Unsupported,
        _ => CertError::Malformed,
    }
}

/// The address of an identity, also one that is a bare address.
fn email(uid: &openpgp::packet::UserID) -> Option<String> {
    uid.email().ok().flatten().map(str::to_owned)
}

/// Armor with lines ending in CRLF, as mail has them.
pub(super) fn crlf(armored: &[u8]) -> String {
    let text = String::from_utf8_lossy(armored);
    let mut out = String::with_capacity(text.len() + text.len() / 48);
    for line in text.lines() {
        out.push_str(line);
        out.push_str("\r\n");
    }
    out
}

type UsableKeys<'a> = Vec<ValidErasedKeyAmalgamation<'a, openpgp::packet::key::PublicParts>>;

/// The keys of `cert` that serve `purpose` at `at`: at least one. A key that was made by a clock which is fast, as
/// far as a signature's may be, is taken as if it were from now.
pub(super) fn usable_keys<'a>(
    cert: &'a Cert,
    rules: &'a Rules,
    purpose: Purpose,
    at: DateTime<Utc>,
) -> Result<UsableKeys<'a>, CertProblem> {
    match usable_keys_at(cert, rules, purpose, at) {
        Err(CertProblem::NotYetValid) => usable_keys_at(cert, rules, purpose, at + CLOCK_SKEW),
        result => result,
    }
}

/// As [`usable_keys`], by this clock alone: for the practice's own key.
pub(super) fn usable_keys_at<'a>(
    cert: &'a Cert,
    rules: &'a Rules,
    purpose: Purpose,
    at: DateTime<Utc>,
) -> Result<UsableKeys<'a>, CertProblem> {
    if is_revoked(cert, rules, at) {
        return Err(CertProblem::Revoked);
    }
    let valid = cert.with_policy(rules, system(at)).map_err(|_| why_invalid(cert, at))?;
    valid.alive().map_err(|error| lifetime(&error, valid.primary_key().key_expiration_time()))?;
    let all = valid.keys();
    let serving = match purpose {
        Purpose::Encrypt => all.for_transport_encryption().for_storage_encryption(),
        Purpose::Sign => all.for_signing(),
    };
    let (mut usable, mut expired, mut revoked, mut unsupported) = (Vec::new(), None, false, false);
    for ka in serving {
        if let Err(error) = ka.alive() {
            expired = Some(lifetime(&error, ka.key_expiration_time()));
        } else if matches!(ka.revocation_status(), RevocationStatus::Revoked(_))
            || ka.self_revocations().next().is_some()
        {
            revoked = true;
        } else if !ka.key().pk_algo().is_supported() {
            unsupported = true;
        } else {
            usable.push(ka);
        }
    }
    if !usable.is_empty() {
        return Ok(usable);
    }
    Err(match (expired, revoked, unsupported) {
        (Some(problem), _, _) => problem,
        (None, true, _) => CertProblem::Revoked,
        (None, false, true) => CertProblem::Unsupported,
        (None, false, false) => why_no_key(cert, purpose, at),
    })
}

fn lifetime(error: &anyhow::Error, expiry: Option<std::time::SystemTime>) -> CertProblem {
    match error.downcast_ref::<openpgp::Error>() {
        Some(openpgp::Error::Expired(at)) => CertProblem::Expired { at: to_chrono(*at) },
        Some(openpgp::Error::NotYetLive(_)) => CertProblem::NotYetValid,
        _ => expiry.map_or(CertProblem::Malformed, |at| CertProblem::Expired { at: to_chrono(at) }),
    }
}

/// Why the rules refuse the whole certificate, told by asking again without rules.
fn why_invalid(cert: &Cert, at: DateTime<Utc>) -> CertProblem {
    let lenient = Rules::lenient();
    let primary = cert.primary_key();
    if primary.key().creation_time() > system(at) {
        return CertProblem::NotYetValid;
    }
    if !primary.key().pk_algo().is_supported() {
        return CertProblem::Unsupported;
    }
    let Ok(valid) = cert.with_policy(&lenient, system(at)) else { return CertProblem::Malformed };
    if let Some(problem) = weak_key(primary.key(), at) {
        return problem;
    }
    if is_weak_hash(valid.primary_key().binding_signature().hash_algo()) {
        return CertProblem::Sha1SelfSignature;
    }
    CertProblem::Malformed
}

/// Why the rules leave no key for the purpose, told by asking again without rules.
fn why_no_key(cert: &Cert, purpose: Purpose, at: DateTime<Utc>) -> CertProblem {
    let lenient = Rules::lenient();
    if let Ok(valid) = cert.with_policy(&lenient, system(at)) {
        let all = valid.keys();
        let serving = match purpose {
            Purpose::Encrypt => all.for_transport_encryption().for_storage_encryption(),
            Purpose::Sign => all.for_signing(),
        };
        for ka in serving {
            if let Some(problem) = weak_key(ka.key(), at) {
                return problem;
            }
            if is_weak_hash(ka.binding_signature().hash_algo()) {
                return CertProblem::Sha1SelfSignature;
            }
            if !ka.key().pk_algo().is_supported() {
                return CertProblem::Unsupported;
            }
        }
    }
    match purpose {
        Purpose::Encrypt => CertProblem::NoEncryptionKey,
        Purpose::Sign => CertProblem::NoSigningKey,
    }
}

/// Whether the standard policy would refuse the key's algorithm or size at `at`.
fn weak_key<P, R>(key: &openpgp::packet::Key<P, R>, at: DateTime<Utc>) -> Option<CertProblem>
where
    P: openpgp::packet::key::KeyParts,
    R: openpgp::packet::key::KeyRole,
{
    use openpgp::types::PublicKeyAlgorithm as Algorithm;
    let bits = key.mpis().bits();
    #[expect(deprecated, reason = "old algorithms have to be named to be refused")]
    let weak = match key.pk_algo() {
        Algorithm::DSA | Algorithm::ElGamalEncrypt | Algorithm::ElGamalEncryptSign => true,
        Algorithm::RSAEncryptSign | Algorithm::RSAEncrypt | Algorithm::RSASign => {
            bits.is_none_or(|bits| bits < 2048) || at.year() >= 2031 && bits < Some(3072)
        }
        _ => false,
    };
    weak.then(|| CertProblem::TooWeak {
        what: bits.map_or_else(|| key.pk_algo().to_string(), |bits| format!("{} {bits} bits", key.pk_algo())),
    })
}

pub(super) fn is_weak_hash(hash: HashAlgorithm) -> bool {
    matches!(hash, HashAlgorithm::MD5 | HashAlgorithm::SHA1 | HashAlgorithm::RipeMD)
}
