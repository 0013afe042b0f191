//! The practice's own secret key, and the archive's.

use std::fmt;

use chrono::{DateTime, Utc};
use sequoia_openpgp as openpgp;

use openpgp::cert::prelude::*;
use openpgp::crypto::KeyPair;
use openpgp::packet::{Packet, Signature, key};
use openpgp::parse::Parse;
use openpgp::serialize::Serialize;
use openpgp::types::{Features, KeyFlags, SignatureType};
use openpgp::{Cert, Fingerprint};

use super::certificate::{Certificate, crlf};
use super::rules::{guarded, system};
use crate::secret::Password;

/// Why a secret key could not be loaded or made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the data is not an OpenPGP secret key; export it again with its secret part")]
    Malformed,
    #[error("the data holds more than one key; export exactly one")]
    NotOne,
    #[error("the data holds a public key only; export the secret key")]
    NoSecret,
    #[error("the secret key is locked and no passphrase was given")]
    Locked,
    #[error("the passphrase does not open the secret key")]
    WrongPassphrase,
    #[error("the key could not be made")]
    NotMade,
    #[error("the file holds no revocation of this key; give the one that was made with it, or none")]
    NoRevocation,
}

/// A key fresh from [`PracticeKey::generate`]. All three are armored, lines ending in CRLF.
pub struct NewKey {
    /// The secret key; where it goes must be readable by its owner only.
    pub secret: zeroize::Zeroizing<Vec<u8>>,
    pub certificate: Vec<u8>,
    /// A revocation, ready to be published.
    pub revocation: Vec<u8>,
}

/// A secret key with its passphrase already taken off. `Debug` shows the fingerprint only.
pub struct PracticeKey {
    certificate: Certificate,
    signers: Vec<(Fingerprint, KeyPair)>,
    decryptors: Vec<(Fingerprint, KeyPair)>,
}

impl PracticeKey {
    /// Reads exactly one secret key, armored or binary, and unlocks every secret in it once.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn load(bytes: &[u8], passphrase: Option<&Password>) -> Result<Self, KeyError> {
        guarded(|| Ok(Self::read_one(bytes, passphrase))).unwrap_or(Err(KeyError::Malformed))
    }

    fn read_one(bytes: &[u8], passphrase: Option<&Password>) -> Result<Self, KeyError> {
        let mut parser = CertParser::from_bytes(bytes).map_err(|_| KeyError::Malformed)?;
        let cert = parser.next().ok_or(KeyError::Malformed)?.map_err(|_| KeyError::Malformed)?;
        if parser.next().is_some() {
            return Err(KeyError::NotOne);
        }
        Self::unlocked(cert, passphrase)
    }

    /// Unlocks every secret of a key once.
    pub(super) fn unlocked(cert: Cert, passphrase: Option<&Password>) -> Result<Self, KeyError> {
        let (mut signers, mut decryptors) = (Vec::new(), Vec::new());
        for ka in cert.keys().secret() {
            if !ka.key().pk_algo().is_supported() {
                continue;
            }
            let pair = unlock(ka.key().clone().role_into_unspecified(), passphrase)?;
            let fingerprint = ka.key().fingerprint();
            if ka.key().pk_algo().for_encryption() {
                decryptors.push((fingerprint.clone(), pair.clone()));
            }
            if ka.key().pk_algo().for_signing() {
                signers.push((fingerprint, pair));
            }
        }
        if signers.is_empty() && decryptors.is_empty() {
            return Err(KeyError::NoSecret);
        }
        Ok(Self { certificate: Certificate::new(cert), signers, decryptors })
    }

    /// The public part.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The public part as it was before it was revoked, for what it signed and sealed itself while it was sound.
    pub fn certificate_before_revocation(&self) -> Certificate {
        if self.certificate.revocation().is_none() {
            return self.certificate.clone();
        }
        let packets = Cert::clone(self.certificate.cert()).into_packets();
        let kept = packets
            .filter(|packet| !matches!(packet, Packet::Signature(sig) if sig.typ() == SignatureType::KeyRevocation));
        Cert::from_packets(kept).map_or_else(|_| self.certificate.clone(), Certificate::new)
    }

    /// The keypair with this fingerprint, for signing.
    pub(super) fn signer(&self, fingerprint: &Fingerprint) -> Option<KeyPair> {
        self.signers.iter().find(|(known, _)| known == fingerprint).map(|(_, pair)| pair.clone())
    }

    /// Every keypair that can decrypt. No key flags are asked: what was encrypted to a key is opened.
    pub(super) fn decryptors(&self) -> impl Iterator<Item = (&Fingerprint, &KeyPair)> {
        self.decryptors.iter().map(|(fingerprint, pair)| (fingerprint, pair))
    }

    /// Makes a version 4 Curve25519 key (EdDSA primary that signs and certifies, ECDH subkey that
    /// encrypts), without expiry, that GnuPG 2.2, RNP and everything since can read. `user_id` is
    /// the bare address for the practice; the archive's may be any text. It advertises SEIPDv1 only,
    /// so that nobody sends packets that some program of the therapist's can't read.
    ///
    /// # Errors
    /// [`KeyError::NotMade`]
    pub fn generate(user_id: &str, passphrase: Option<&Password>, at: DateTime<Utc>) -> Result<NewKey, KeyError> {
        guarded(|| {
            let (cert, revocation) = generate(user_id, passphrase, at)?;
            let room = Vec::with_capacity(16 << 10);
            let mut writer = openpgp::armor::Writer::new(room, openpgp::armor::Kind::SecretKey)?;
            cert.as_tsk().serialize(&mut writer)?;
            let secret = zeroize::Zeroizing::new(writer.finalize()?);
            Ok(NewKey {
                secret: zeroize::Zeroizing::new(crlf(&secret).into_bytes()),
                certificate: Certificate::new(cert).to_armored().into_bytes(),
                revocation: armored_revocation(revocation)?,
            })
        })
        .map_err(|_| KeyError::NotMade)
    }
}

/// A new key with its revocation; see [`PracticeKey::generate`].
pub(super) fn generate(
    user_id: &str,
    passphrase: Option<&Password>,
    at: DateTime<Utc>,
) -> openpgp::Result<(Cert, Signature)> {
    CertBuilder::new()
        .set_cipher_suite(CipherSuite::Cv25519)
        .set_creation_time(system(at))
        .set_password(passphrase.map(|p| p.reveal().into()))
        .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
        .add_userid(user_id)
        .add_subkey(KeyFlags::empty().set_transport_encryption().set_storage_encryption(), None, CipherSuite::Cv25519)
        .set_profile(openpgp::Profile::RFC4880)?
        .set_features(Features::empty().set_seipdv1())?
        .generate()
}

/// A revocation in armor, as GnuPG and others import it.
pub(super) fn armored_revocation(revocation: Signature) -> openpgp::Result<Vec<u8>> {
    let mut writer = openpgp::armor::Writer::with_headers(
        Vec::new(),
        openpgp::armor::Kind::PublicKey,
        [("Comment", "This revokes the key: import it, then publish the key")],
    )?;
    Packet::from(revocation).serialize(&mut writer)?;
    Ok(crlf(&writer.finalize()?).into_bytes())
}

pub(super) fn unlock(
    key: openpgp::packet::Key<key::SecretParts, key::UnspecifiedRole>,
    passphrase: Option<&Password>,
) -> Result<KeyPair, KeyError> {
    let key = if key.secret().is_encrypted() {
        let passphrase = passphrase.ok_or(KeyError::Locked)?;
        key.decrypt_secret(&passphrase.reveal().into()).map_err(|_| KeyError::WrongPassphrase)?
    } else {
        key
    };
    key.into_keypair().map_err(|_| KeyError::Malformed)
}

impl fmt::Debug for PracticeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PracticeKey({})", self.certificate.fingerprint())
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewKey(…)")
    }
}
