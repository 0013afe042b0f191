//! Opening: decrypting and verifying, with no byte of plaintext before the end was verified.

use std::io::Read;

use sequoia_openpgp as openpgp;

use openpgp::crypto::SessionKey;
use openpgp::packet::{PKESK, SKESK, Tag};
use openpgp::parse::stream::{
    DecryptionHelper, DecryptorBuilder, DetachedVerifierBuilder, MessageStructure, VerificationHelper, VerifierBuilder,
};
use openpgp::parse::{PacketParser, Parse};
use openpgp::types::SymmetricAlgorithm;
use openpgp::{Cert, KeyHandle, Packet};

use super::rules::{Refused, Rules, guarded, hex, system};
use super::verdict::{CLOCK_SKEW, Envelope, judge};
use super::{BadSignature, Certificates, Limits, Opened, PracticeKey, SignatureCheck, When};
use crate::secret::Plaintext;

/// Why a message could not be opened. No plaintext comes with any of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the message is not encrypted to this key; its sender needs the current key")]
    NotForUs,
    #[error("the message's integrity check failed: it was changed or cut on its way, or is not protected at all")]
    Integrity,
    #[error("the message is larger or has more parts than is allowed")]
    TooLarge,
    #[error("the data is not a readable OpenPGP message")]
    Malformed,
    #[error("the message uses something that is not supported: {0}")]
    UnsupportedAlgorithm(String),
}

/// Announcements and signatures together. Each may ask for a digest of its own over the whole
/// message (version 6 signatures are salted), so a few hundred would keep a processor busy.
const MAX_SIGNATURES: usize = 32;
/// A signature can claim thousands of issuers; no more than this are looked up.
const MAX_LOOKUPS: usize = 64;

/// How far the reading got; tells the causes of a failure apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Start,
    /// One of the keys is named as a recipient, but no session key came out.
    Addressed,
    /// The session key fits; from here on, what fails is the content's integrity.
    Decrypted,
}

struct Helper<'a> {
    keys: &'a [&'a PracticeKey],
    certs: &'a dyn Certificates,
    rules: &'a Rules,
    when: When,
    envelope: Envelope,
    packets_left: usize,
    signatures: usize,
    compressed: usize,
    encrypted: usize,
    stage: Stage,
    opened_with: Option<String>,
    verdict: Option<(SignatureCheck, bool)>,
}

impl<'a> Helper<'a> {
    fn new(
        keys: &'a [&'a PracticeKey],
        certs: &'a dyn Certificates,
        rules: &'a Rules,
        when: When,
        envelope: Envelope,
        limits: &Limits,
    ) -> Self {
        Self {
            keys,
            certs,
            rules,
            when,
            envelope,
            packets_left: limits.packets,
            signatures: 0,
            compressed: 0,
            encrypted: 0,
            stage: Stage::Start,
            opened_with: None,
            verdict: None,
        }
    }

    /// Tries every keypair on the packet; true when the session key fits the data.
    fn try_packet(
        &mut self,
        pkesk: &PKESK,
        named_only: bool,
        sym_algo: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> bool {
        let recipient = pkesk.recipient();
        if recipient.is_some() != named_only {
            return false;
        }
        for owner in self.keys {
            for (fingerprint, pair) in owner.decryptors() {
                if let Some(recipient) = &recipient {
                    if !recipient.aliases(KeyHandle::from(fingerprint)) {
                        continue;
                    }
                    self.stage = Stage::Addressed;
                } else if pair.public().pk_algo() != pkesk.pk_algo() {
                    continue;
                }
                let mut pair = pair.clone();
                if let Some((algo, session_key)) = pkesk.decrypt(&mut pair, sym_algo)
                    && decrypt(algo, &session_key)
                {
                    self.stage = Stage::Decrypted;
                    self.opened_with = Some(owner.certificate().fingerprint());
                    return true;
                }
            }
        }
        false
    }
}

impl VerificationHelper for Helper<'_> {
    fn inspect(&mut self, pp: &PacketParser<'_>) -> openpgp::Result<()> {
        self.packets_left = self.packets_left.checked_sub(1).ok_or(Refused::TooMany)?;
        match &pp.packet {
            Packet::CompressedData(_) => self.compressed += 1,
            Packet::SEIP(_) => self.encrypted += 1,
            Packet::OnePassSig(_) | Packet::Signature(_) => self.signatures += 1,
            Packet::Unknown(unknown) if unknown.tag() == Tag::AED => return Err(Refused::OcbPacket.into()),
            Packet::Unknown(unknown) if unknown.tag() == Tag::SED => return Err(Refused::NoIntegrity.into()),
            _ => {}
        }
        if self.signatures > MAX_SIGNATURES {
            return Err(Refused::TooMany.into());
        }
        if self.compressed > 1 || self.encrypted > 1 {
            return Err(Refused::Nested.into());
        }
        Ok(())
    }

    fn get_certs(&mut self, ids: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        let mut certs: Vec<Cert> = Vec::new();
        for id in ids.iter().take(MAX_LOOKUPS) {
            for found in self.certs.find(&hex(id)) {
                if !certs.iter().any(|known| known.fingerprint() == found.cert().fingerprint()) {
                    // Verifies the self-signatures where the result is kept, not in the copy.
                    found.cert().keys().with_policy(self.rules, system(self.when.now)).for_each(drop);
                    certs.push(found.cert().clone());
                }
            }
        }
        Ok(certs)
    }

    fn check(&mut self, structure: MessageStructure) -> openpgp::Result<()> {
        self.verdict = Some(judge(structure, self.envelope, self.rules, self.when));
        Ok(())
    }
}

impl DecryptionHelper for Helper<'_> {
    fn decrypt(
        &mut self,
        pkesks: &[PKESK],
        _skesks: &[SKESK],
        sym_algo: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> openpgp::Result<Option<Cert>> {
        // Those that name a key of ours first, then the hidden recipients. The certificate isn't
        // returned on purpose: the library would call a signature meant for somebody else bad, but
        // that is for the caller to judge (see `GoodSignature::intended`).
        for named_only in [true, false] {
            for pkesk in pkesks {
                if self.try_packet(pkesk, named_only, sym_algo, decrypt) {
                    return Ok(None);
                }
            }
        }
        Err(openpgp::Error::MissingSessionKey("no key fits".into()).into())
    }
}

/// Opens a message, armored or binary: decrypts it with whichever of `keys` fits (the current key
/// first, then older ones) and judges its signatures with the certificates of `certs`. Hidden
/// recipients are tried. A message that is signed and not encrypted is taken too; see
/// [`Opened::encrypted`].
///
/// Passwords are never tried. GnuPG's OCB packet (tag 20) and packets without integrity protection
/// (tag 9) are refused.
///
/// # Errors
/// [`OpenError`]; no plaintext is released with any of them.
pub fn open(
    message: &[u8],
    keys: &[&PracticeKey],
    certs: &dyn Certificates,
    when: impl Into<When>,
    limits: &Limits,
) -> Result<Opened, OpenError> {
    let when = when.into();
    // Most letters are hardly compressed; a small buffer is enough and much quicker to get. Only
    // when it proves too small is the whole of what is allowed taken.
    let packets = if message.trim_ascii_start().starts_with(b"-----") { message.len() / 4 * 3 } else { message.len() };
    let small = packets.saturating_add(64 << 10).min(limits.plaintext);
    match open_within(message, keys, certs, when, limits, small) {
        Err(OpenError::TooLarge) if small < limits.plaintext => {
            open_within(message, keys, certs, when, limits, limits.plaintext)
        }
        result => result,
    }
}

fn open_within(
    message: &[u8],
    keys: &[&PracticeKey],
    certs: &dyn Certificates,
    when: When,
    limits: &Limits,
    buffer: usize,
) -> Result<Opened, OpenError> {
    let rules = Rules::at(when.now);
    let mut helper = Helper::new(keys, certs, &rules, when, Envelope::Message, limits);
    let plaintext = guarded(|| {
        let mut decryptor = DecryptorBuilder::from_bytes(message)?.buffer_size(buffer).with_policy(
            &rules,
            system(when.first_seen + CLOCK_SKEW),
            Proxy(&mut helper),
        )?;
        // Not processed to its end: larger than the buffer, nothing of it may be read.
        if decryptor.message_processed() { drain(&mut decryptor, buffer) } else { Err(Refused::TooLarge.into()) }
    });
    let plaintext = plaintext.map_err(|error| why(&error, helper.stage))?;
    let (signature, encrypted) = helper.verdict.ok_or(OpenError::Malformed)?;
    Ok(Opened { plaintext, signature, encrypted, opened_with: helper.opened_with })
}

/// Reads what the library released after it verified everything.
fn drain(reader: &mut impl Read, limit: usize) -> openpgp::Result<Plaintext> {
    // Room for all at once: growing would leave copies of the words behind in freed memory.
    let mut bytes = Vec::with_capacity(limit.saturating_add(1024));
    match reader.take(limit.max(1024) as u64 + 1).read_to_end(&mut bytes) {
        Ok(_) => {
            bytes.shrink_to_fit();
            Ok(Plaintext::new(bytes))
        }
        Err(error) => {
            zeroize::Zeroize::zeroize(&mut bytes);
            Err(error.into())
        }
    }
}

/// The cause of a failure. After the session key fitted everything that the sender could not have
/// meant is an integrity failure, told without detail: no oracle.
fn why(error: &anyhow::Error, stage: Stage) -> OpenError {
    use openpgp::Error as E;
    if let Some(refused) = error.chain().find_map(|cause| cause.downcast_ref::<Refused>()) {
        return match refused {
            Refused::NoIntegrity | Refused::Panicked => OpenError::Integrity,
            Refused::OcbPacket => OpenError::UnsupportedAlgorithm(refused.to_string()),
            Refused::TooMany | Refused::TooLarge => OpenError::TooLarge,
            Refused::Nested => OpenError::Malformed,
        };
    }
    let known = error.chain().find_map(|cause| cause.downcast_ref::<E>());
    if stage == Stage::Decrypted {
        return match known {
            Some(E::UnsupportedCompressionAlgorithm(algorithm)) => {
                OpenError::UnsupportedAlgorithm(algorithm.to_string())
            }
            _ => OpenError::Integrity,
        };
    }
    match known {
        Some(E::UnsupportedSymmetricAlgorithm(algorithm)) => OpenError::UnsupportedAlgorithm(algorithm.to_string()),
        Some(E::UnsupportedAEADAlgorithm(algorithm)) => OpenError::UnsupportedAlgorithm(algorithm.to_string()),
        Some(E::MissingSessionKey(_)) if stage == Stage::Addressed => OpenError::Integrity,
        Some(E::MissingSessionKey(_)) => OpenError::NotForUs,
        Some(E::ManipulatedMessage) => OpenError::Integrity,
        _ => OpenError::Malformed,
    }
}

/// Lends the helper to the library and leaves it readable after a failure.
struct Proxy<'a, 'b>(&'a mut Helper<'b>);

impl VerificationHelper for Proxy<'_, '_> {
    fn inspect(&mut self, pp: &PacketParser<'_>) -> openpgp::Result<()> {
        self.0.inspect(pp)
    }
    fn get_certs(&mut self, ids: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        self.0.get_certs(ids)
    }
    fn check(&mut self, structure: MessageStructure) -> openpgp::Result<()> {
        self.0.check(structure)
    }
}

impl DecryptionHelper for Proxy<'_, '_> {
    fn decrypt(
        &mut self,
        pkesks: &[PKESK],
        skesks: &[SKESK],
        sym_algo: Option<SymmetricAlgorithm>,
        decrypt: &mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool,
    ) -> openpgp::Result<Option<Cert>> {
        self.0.decrypt(pkesks, skesks, sym_algo, decrypt)
    }
}

/// Judges a detached signature (RFC 3156 section 5) over `signed`, whose lines end in CRLF already.
pub fn verify_detached(
    signed: &[u8],
    signature: &[u8],
    certs: &dyn Certificates,
    when: impl Into<When>,
    limits: &Limits,
) -> SignatureCheck {
    let when = when.into();
    let rules = Rules::at(when.now);
    let mut helper = Helper::new(&[], certs, &rules, when, Envelope::SignaturesOnly, limits);
    let checked = guarded(|| {
        DetachedVerifierBuilder::from_bytes(signature)?
            .with_policy(&rules, system(when.first_seen + CLOCK_SKEW), Proxy(&mut helper))?
            .verify_bytes(signed)
    });
    let malformed = SignatureCheck::Bad { reason: BadSignature::Malformed };
    match (checked, helper.verdict) {
        // A signature block without any signature is damage, not a message without signature.
        (Ok(()), Some((SignatureCheck::None, _)) | None) | (Err(_), _) => malformed,
        (Ok(()), Some((check, _))) => check,
    }
}

/// Verifies a cleartext-signed block (RFC 9580 section 7) and returns only the text that it signs,
/// never what stands before or after it.
///
/// # Errors
/// [`OpenError`]
pub fn verify_cleartext(
    block: &[u8],
    certs: &dyn Certificates,
    when: impl Into<When>,
    limits: &Limits,
) -> Result<Opened, OpenError> {
    let when = when.into();
    let rules = Rules::at(when.now);
    let mut helper = Helper::new(&[], certs, &rules, when, Envelope::SignaturesOnly, limits);
    let buffer = limits.plaintext.min(block.len().saturating_add(1024));
    let plaintext = guarded(|| {
        let mut verifier = VerifierBuilder::from_bytes(block)?.buffer_size(buffer).with_policy(
            &rules,
            system(when.first_seen + CLOCK_SKEW),
            Proxy(&mut helper),
        )?;
        if verifier.message_processed() { drain(&mut verifier, buffer) } else { Err(Refused::TooLarge.into()) }
    });
    let plaintext = plaintext.map_err(|error| why(&error, helper.stage))?;
    let (signature, encrypted) = helper.verdict.ok_or(OpenError::Malformed)?;
    Ok(Opened { plaintext, signature, encrypted, opened_with: None })
}
