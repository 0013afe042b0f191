//! Sealing: signing and encrypting, which either succeeds for every recipient or fails whole.

use std::io::Write;

use chrono::{DateTime, Utc};
use sequoia_openpgp as openpgp;

use openpgp::armor::Kind;
use openpgp::cert::Preferences;
use openpgp::cert::amalgamation::ValidAmalgamation;
use openpgp::crypto::KeyPair;
use openpgp::serialize::stream::padding::Padder;
use openpgp::serialize::stream::{Armorer, Encryptor, LiteralWriter, Message, Recipient, Signer};
use openpgp::types::{DataFormat, HashAlgorithm, SymmetricAlgorithm};

use super::certificate::{CertProblem, Certificate, Purpose, crlf, usable_keys, usable_keys_at};
use super::padding::{pad, padded_length, to_usize};
use super::practice::PracticeKey;
use super::rules::{Rules, system};

/// The hash of every signature made here, as `micalg` names it (RFC 3156 section 5).
pub const MICALG: &str = "pgp-sha512";

/// Why a message could not be sealed. Nothing was written; nothing may be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("nobody to seal the message to")]
    NoRecipients,
    #[error("the certificate {fingerprint} can't be used")]
    Recipient {
        fingerprint: String,
        #[source]
        problem: CertProblem,
    },
    #[error("the practice's own key {fingerprint} can't be used")]
    Signer {
        fingerprint: String,
        #[source]
        problem: CertProblem,
    },
    /// What the OpenPGP library said, which is never about the content.
    #[error("the OpenPGP library failed while sealing: {0}")]
    Failed(String),
}

/// Signs `plaintext` and encrypts it to every certificate of `to`, armored, lines ending in CRLF.
///
/// The signature is dated `at` and names every certificate of `to` as intended recipient (RFC 9580
/// section 5.2.3.36). SEIPDv2 is used only if all of them advertise it. The length is padded.
///
/// # Errors
/// [`SealError`]: one certificate that can't be used and nobody gets anything.
///
/// An owned `plaintext` is dropped as soon as it is signed, so that of a large letter fewer copies are there at once.
pub fn seal(
    plaintext: impl AsRef<[u8]>,
    to: &[&Certificate],
    signer: &PracticeKey,
    at: DateTime<Utc>,
) -> Result<Vec<u8>, SealError> {
    seal_dated(plaintext, to, signer, at, at)
}

/// [`seal`] with a signature of an earlier moment, `signed`, to certificates that can be used `now`: for what was sealed
/// before and is sealed anew.
///
/// # Errors
/// [`SealError`]; [`SealError::Signer`] where the practice's key couldn't sign at that moment.
pub fn seal_dated(
    plaintext: impl AsRef<[u8]>,
    to: &[&Certificate],
    signer: &PracticeKey,
    signed: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<u8>, SealError> {
    if to.is_empty() {
        return Err(SealError::NoRecipients);
    }
    if crate::failpoint::refuses("seal") {
        return Err(SealError::Failed("a failure on purpose".into()));
    }
    let rules = Rules::at(now);
    let mut keys = Vec::new();
    for cert in to {
        let usable = usable_keys(cert.cert(), &rules, Purpose::Encrypt, now)
            .map_err(|problem| SealError::Recipient { fingerprint: cert.fingerprint(), problem })?;
        keys.extend(usable);
    }
    let pair = signing_pair(signer, &Rules::at(signed), signed)?;
    let modern = keys.iter().all(|ka| ka.valid_cert().features().is_some_and(|f| f.supports_seipdv2()));
    let recipients: Vec<Recipient> = keys.into_iter().map(Recipient::from).collect();
    write_sealed(plaintext, to, recipients, modern, pair, signed)
        .map_err(|error| SealError::Failed(format!("{error:#}")))
}

fn write_sealed(
    plaintext: impl AsRef<[u8]>,
    to: &[&Certificate],
    recipients: Vec<Recipient>,
    modern: bool,
    pair: KeyPair,
    at: DateTime<Utc>,
) -> openpgp::Result<Vec<u8>> {
    let mut signed = zeroize::Zeroizing::new(Vec::with_capacity(plaintext.as_ref().len() + 4096));
    let mut signer =
        Signer::new(Message::new(&mut *signed), pair)?.hash_algo(HashAlgorithm::SHA512)?.creation_time(system(at));
    for cert in to {
        signer = signer.add_intended_recipient(cert.cert());
    }
    let mut literal = LiteralWriter::new(signer.build()?).format(DataFormat::Binary).build()?;
    literal.write_all(plaintext.as_ref())?;
    literal.finalize()?;
    drop(plaintext);

    // Of a large letter no copy is kept longer than it is needed.
    let inner = if modern { signed } else { zeroize::Zeroizing::new(pad(&signed)) };
    let mut sink = CrlfWriter::for_armor_of(to_usize(padded_length(inner.len() as u64)));
    let armorer = Armorer::new(Message::new(&mut sink)).kind(Kind::Message).build()?;
    let encryptor =
        Encryptor::for_recipients(armorer, recipients).symmetric_algo(SymmetricAlgorithm::AES256).build()?;
    if modern {
        let mut padder = Padder::new(encryptor).with_policy(padded_length).build()?;
        padder.write_all(&inner)?;
        padder.finalize()?;
    } else {
        let mut encryptor = encryptor;
        encryptor.write_all(&inner)?;
        encryptor.finalize()?;
    }
    Ok(sink.0)
}

/// Takes lines that end in LF or CRLF and keeps them with CRLF.
struct CrlfWriter(Vec<u8>);

impl CrlfWriter {
    /// With room for the armor of so many bytes, so that it grows once and no copy is made.
    fn for_armor_of(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes / 48 * 66 + (64 << 10)))
    }
}

impl Write for CrlfWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(line) if line.last().or(self.0.last()).is_none_or(|byte| *byte != b'\r') => {
                    self.0.extend_from_slice(line);
                    self.0.extend_from_slice(b"\r\n");
                }
                _ => self.0.extend_from_slice(piece),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Signs `data`, whose lines end in CRLF already, with a detached binary signature dated `at`,
/// armored, lines ending in CRLF (RFC 3156 section 5, with [`MICALG`]).
///
/// # Errors
/// [`SealError`]
pub fn sign_detached(data: &[u8], signer: &PracticeKey, at: DateTime<Utc>) -> Result<Vec<u8>, SealError> {
    let rules = Rules::at(at);
    let pair = signing_pair(signer, &rules, at)?;
    let sign = || -> openpgp::Result<Vec<u8>> {
        let mut sink = Vec::new();
        let armorer = Armorer::new(Message::new(&mut sink)).kind(Kind::Signature).build()?;
        let mut message = Signer::new(armorer, pair)?
            .hash_algo(HashAlgorithm::SHA512)?
            .creation_time(system(at))
            .detached()
            .build()?;
        message.write_all(data)?;
        message.finalize()?;
        Ok(crlf(&sink).into_bytes())
    };
    sign().map_err(|error| SealError::Failed(format!("{error:#}")))
}

/// Signs text in the clear (RFC 9580 section 7): it reads as it is, and `gpg --verify` says whether it was changed.
/// `text` has lines that end in LF, without blanks before it.
///
/// # Errors
/// [`SealError`]
pub fn sign_clear(text: &str, signer: &PracticeKey, at: DateTime<Utc>) -> Result<String, SealError> {
    let pair = signing_pair(signer, &Rules::at(at), at)?;
    let sign = || -> openpgp::Result<Vec<u8>> {
        let mut sink = Vec::new();
        let signer = Signer::new(Message::new(&mut sink), pair)?
            .hash_algo(HashAlgorithm::SHA512)?
            .creation_time(system(at))
            .cleartext();
        let mut message = signer.build()?;
        message.write_all(text.as_bytes())?;
        message.finalize()?;
        Ok(sink)
    };
    let signed = sign().map_err(|error| SealError::Failed(format!("{error:#}")))?;
    String::from_utf8(signed).map_err(|_| SealError::Failed("the signed text isn't UTF-8".to_owned()))
}

/// The practice's keypair that may sign at `at`.
fn signing_pair(signer: &PracticeKey, rules: &Rules, at: DateTime<Utc>) -> Result<KeyPair, SealError> {
    let refuse = |problem| SealError::Signer { fingerprint: signer.certificate().fingerprint(), problem };
    let usable = usable_keys_at(signer.certificate().cert(), rules, Purpose::Sign, at).map_err(refuse)?;
    let pair = usable.iter().find_map(|ka| signer.signer(&ka.key().fingerprint()));
    pair.ok_or_else(|| refuse(CertProblem::NoSigningKey))
}
