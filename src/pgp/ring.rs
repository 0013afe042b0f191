//! The file that holds the practice's secret keys: the current one first, then those it has had before, which only
//! read. One file, so that one rename changes everything.

use chrono::{DateTime, Utc};
use sequoia_openpgp as openpgp;
use zeroize::Zeroizing;

use openpgp::armor;
use openpgp::cert::prelude::*;
use openpgp::crypto::KeyPair;
use openpgp::parse::Parse;
use openpgp::serialize::Serialize;
use openpgp::types::{HashAlgorithm, ReasonForRevocation, SignatureType};
use openpgp::{Cert, Packet};

use super::certificate::{Certificate, crlf};
use super::practice::{KeyError, PracticeKey, armored_revocation, generate, unlock};
use super::revocation::SentKeys;
use super::rules::{guarded, system};
use crate::secret::Password;

/// More keys than this no practice has had.
const MOST: usize = 64;

/// A ring with a new key in front.
pub struct Rotated {
    /// The whole file, armored: it must be readable by its owner only.
    pub file: Zeroizing<Vec<u8>>,
    /// The new key's certificate; the old key has certified its identity, unless it was revoked.
    pub certificate: Certificate,
    /// The new key's revocation, armored, ready to be published.
    pub revocation: Vec<u8>,
}

/// How a key is revoked.
pub enum Revoke<'a> {
    /// With a revocation that was made before: the file of `init`, or any file that holds one.
    With(&'a [u8]),
    /// With one that is made now: stolen, or only given up.
    Now { stolen: bool },
}

impl PracticeKey {
    /// Reads the practice's keys: the current one, then the retired ones.
    ///
    /// # Errors
    /// [`KeyError`]; one that can't be read fails all.
    pub fn load_ring(bytes: &[u8], passphrase: Option<&Password>) -> Result<(Self, Vec<Self>), KeyError> {
        let mut keys = Vec::new();
        for cert in read(bytes)? {
            keys.push(guarded(|| Ok(Self::unlocked(cert, passphrase))).unwrap_or(Err(KeyError::Malformed))?);
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or(KeyError::Malformed)?;
        Ok((current, keys.collect()))
    }
}

/// Makes a new key and puts it before the others.
///
/// # Errors
/// [`KeyError`]
pub fn rotate(
    ring: &[u8],
    passphrase: Option<&Password>,
    user_id: &str,
    at: DateTime<Utc>,
) -> Result<Rotated, KeyError> {
    let old = read(ring)?;
    guarded(|| {
        let (mut new, revocation) = generate(user_id, passphrase, at)?;
        if let Some(before) = old.first()
            && let Some(certification) = certify(before, &new, passphrase, at)
        {
            new = new.insert_packets([certification])?.0;
        }
        let revocation = armored_revocation(revocation)?;
        let certificate = Certificate::new(new.clone());
        let file = write(std::iter::once(&new).chain(&old))?;
        Ok(Rotated { file, certificate, revocation })
    })
    .map_err(|_| KeyError::NotMade)
}

/// Revokes the current key.
///
/// # Errors
/// [`KeyError`]; [`KeyError::NoRevocation`] where the file has none of this key.
pub fn revoke(
    ring: &[u8],
    passphrase: Option<&Password>,
    how: &Revoke<'_>,
    at: DateTime<Utc>,
) -> Result<(Zeroizing<Vec<u8>>, Certificate), KeyError> {
    let mut keys = read(ring)?;
    let current = keys.remove(0);
    let found: Vec<Packet> = match how {
        Revoke::With(file) => {
            let certificate = Certificate::new(current.clone());
            let sent = SentKeys::read(&uncommented(file));
            sent.revocations_of(&certificate, &[], at).into_iter().map(Packet::from).collect()
        }
        Revoke::Now { stolen } => vec![make_revocation(&current, passphrase, *stolen, at)?],
    };
    if found.is_empty() {
        return Err(KeyError::NoRevocation);
    }
    guarded(|| {
        let revoked = current.insert_packets(found)?.0;
        let file = write(std::iter::once(&revoked).chain(&keys))?;
        Ok((file, Certificate::new(revoked)))
    })
    .map_err(|_| KeyError::NotMade)
}

/// Every key of a ring, its secrets as they are (locked or not). At least one.
fn read(bytes: &[u8]) -> Result<Vec<Cert>, KeyError> {
    let parsed = guarded(|| {
        let parser = CertParser::from_bytes(bytes)?;
        parser.take(MOST).collect::<openpgp::Result<Vec<Cert>>>()
    });
    let keys = parsed.map_err(|_| KeyError::Malformed)?;
    match keys.first() {
        None => Err(KeyError::Malformed),
        Some(_) if keys.iter().any(|key| !key.is_tsk()) => Err(KeyError::NoSecret),
        Some(_) => Ok(keys),
    }
}

fn write<'a>(keys: impl Iterator<Item = &'a Cert>) -> openpgp::Result<Zeroizing<Vec<u8>>> {
    // Room for all at once: growing would leave copies of the secrets behind in freed memory.
    let mut binary = Zeroizing::new(Vec::with_capacity(256 << 10));
    for key in keys {
        key.as_tsk().serialize(&mut *binary)?;
    }
    let room = Vec::with_capacity(binary.len() * 2 + 1024);
    let mut writer = armor::Writer::new(room, armor::Kind::SecretKey)?;
    std::io::Write::write_all(&mut writer, &binary)?;
    let armored = Zeroizing::new(writer.finalize()?);
    Ok(Zeroizing::new(crlf(&armored).into_bytes()))
}

/// The old key's word for the new key's identity; None where it can't give one any more.
fn certify(old: &Cert, new: &Cert, passphrase: Option<&Password>, at: DateTime<Utc>) -> Option<Packet> {
    if old.primary_key().self_revocations().next().is_some() {
        return None;
    }
    let mut signer = primary(old, passphrase).ok()?;
    let identity = new.userids().next()?.userid().clone();
    let certification =
        identity.certify(&mut signer, new, SignatureType::GenericCertification, HashAlgorithm::SHA512, system(at));
    certification.ok().map(Packet::from)
}

fn primary(cert: &Cert, passphrase: Option<&Password>) -> Result<KeyPair, KeyError> {
    let secret = cert.primary_key().key().clone().parts_into_secret().map_err(|_| KeyError::NoSecret)?;
    unlock(secret.role_into_unspecified(), passphrase)
}

fn make_revocation(
    cert: &Cert,
    passphrase: Option<&Password>,
    stolen: bool,
    at: DateTime<Utc>,
) -> Result<Packet, KeyError> {
    let mut signer = primary(cert, passphrase)?;
    let reason = if stolen { ReasonForRevocation::KeyCompromised } else { ReasonForRevocation::KeySuperseded };
    guarded(|| {
        CertRevocationBuilder::new()
            .set_signature_creation_time(system(at))?
            .set_reason_for_revocation(reason, b"")?
            .build(&mut signer, cert, HashAlgorithm::SHA512)
    })
    .map(Packet::from)
    .map_err(|_| KeyError::NotMade)
}

/// The first public block of a file in which `init` (or GnuPG) has put a colon before it, so that nobody imports it by
/// mistake; the bytes as they are where there is none.
fn uncommented(file: &[u8]) -> Vec<u8> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    let text = String::from_utf8_lossy(file);
    let block = text.find(BEGIN).and_then(|start| {
        let end = start + text[start..].find(END)? + END.len();
        Some(format!("{}\n", &text[start..end]).into_bytes())
    });
    block.unwrap_or_else(|| file.to_vec())
}
