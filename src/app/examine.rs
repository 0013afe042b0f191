//! From raw bytes to a decision: parse, open, verify, look up, decide. Nothing is written here, so
//! that intake and `explain` can't disagree.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::context::Context;
use super::keys::{self, arrived::Revoked};
use super::sealed_letters::Vouching;
use crate::domain::answer_words::{self, Words};
use crate::domain::intake::{self, Action, Decision, Decryption, Facts, From, Intended, Signature, Structure};
use crate::domain::notice::{Reported, judge};
use crate::mime::{self, Envelope, FromField, Limits, Mail, MimeError, Notice};
use crate::model::{Address, ClientId, OutboxRow, Person, UnsignedPolicy};
use crate::pgp::{
    self, BadSignature, Certificate, Certificates, GoodSignature, OpenError, PracticeKey, SentKeys, SignatureCheck,
};
use crate::secret::Plaintext;

/// How many attached keys are looked at.
const OFFERED_KEYS: usize = 4;

/// How many octets one octet of an encrypted message may unpack to, and what even the smallest may.
const MOST_EXPANSION: usize = 64;
const LEAST_ROOM: usize = 1 << 20;

/// Who is registered here, and what has been seen. Answered from the database.
pub trait Registry {
    /// The one person an address is registered for.
    fn person_by_address(&self, address: &Address) -> Option<Person>;
    /// The people whose pinned certificate has a key with this handle (fingerprint or key ID, upper hex).
    fn people_by_handle(&self, handle: &str) -> Vec<(Person, Certificate)>;
    /// Whether this certificate has signed this data before, and it was filed or obeyed.
    fn has_seen_signature(&self, fingerprint: &str, digest: &[u8]) -> bool;
    /// Whether these bytes were filed, held, refused or asked for before.
    fn has_seen_bytes(&self, hash: &[u8]) -> bool;
    /// Whether a mail of Cadre's own bore this Message-ID.
    fn is_own_message_id(&self, message_id: &str) -> bool;
    /// The mail of Cadre's own that a notice speaks of, by its ids.
    fn reported(&self, _notice: &Notice) -> Option<ReportedMail> {
        None
    }
    /// The practice's own address.
    fn practice_address(&self) -> &Address;
    /// What would prove a client's mail without a signature; None where their letters aren't sealed with a passphrase.
    fn vouching(&self, _client: ClientId) -> Option<Vouching> {
        None
    }
    /// Keys that the practice had before: they read what is still encrypted to them.
    fn retired_keys(&self) -> &[PracticeKey] {
        &[]
    }
}

/// A mail of Cadre's own that a mail system speaks of.
pub struct ReportedMail {
    pub row: OutboxRow,
    pub client: Option<ClientId>,
    pub facts: Reported,
}

/// What examination needs besides the bytes.
pub struct Tools<'a> {
    pub key: &'a PracticeKey,
    pub registry: &'a dyn Registry,
    pub limits: &'a Limits,
    pub policy: UnsignedPolicy,
    /// The `authserv-id` whose Authentication-Results are believed.
    pub authserv: Option<&'a str>,
}

/// Everything found out about one message.
pub struct Examined {
    /// The header block as it travelled.
    pub outer: Mail,
    /// The protected header block, where there is one.
    pub protected: Option<Mail>,
    /// The entity to read content from: decrypted, or the signed part, or the whole clear message.
    /// `None` when nothing could be opened.
    pub entity: Option<Plaintext>,
    pub decision: Decision,
    /// A mail system's notice about a mail that was sent.
    pub notice: Option<Notice>,
    /// The good signature, also for [`intake::Action::Drop`] and held messages.
    pub signature: Option<GoodSignature>,
    pub encrypted: bool,
    /// Keys and revocations that came with it.
    pub sent: Vec<SentKeys>,
    /// Whose pinned certificate is revoked by them.
    pub revoked: Vec<Revoked>,
    /// The key that the practice had before, where it was encrypted to that.
    pub to_retired: Option<String>,
    /// Known by these bytes when it comes again without a good signature.
    pub bytes_hash: [u8; 32],
    /// And, where answer words prove it, by what it says.
    pub said: Option<[u8; 32]>,
    /// Of a client without OpenPGP: what it says of answer words.
    pub answer: Option<Answer>,
}

/// What was found of answer words.
pub struct Answer {
    pub vouching: Vouching,
    /// The letter whose words these are, and they themselves.
    pub matched: Option<(OutboxRow, Words)>,
    /// How many others were tried.
    pub wrong: u32,
    /// And meant as such.
    pub meant: bool,
    /// What a vouched mail in clear is known by besides.
    pub digest: [u8; 32],
}

impl Examined {
    /// The header block that is believed: protected where there is one.
    pub fn headers(&self) -> &Mail {
        self.protected.as_ref().unwrap_or(&self.outer)
    }
}

/// Finds the certificates that verification asks for.
struct Pinned<'a> {
    tools: &'a Tools<'a>,
    /// Pinned certificates with what the message itself brought of the same fingerprint.
    renewed: &'a [Certificate],
}

impl Certificates for Pinned<'_> {
    fn find(&self, handle: &str) -> Vec<Certificate> {
        let own = self.tools.key.certificate();
        let renewed = self.renewed.iter().filter(|certificate| certificate.handles().iter().any(|h| h == handle));
        let mut found: Vec<Certificate> = renewed.cloned().collect();
        for (_, pinned) in self.tools.registry.people_by_handle(handle) {
            if !found.iter().any(|newer| newer.fingerprint() == pinned.fingerprint()) {
                found.push(pinned);
            }
        }
        let retired = self.tools.registry.retired_keys().iter().map(PracticeKey::certificate);
        found.extend(
            std::iter::once(own).chain(retired).filter(|own| own.handles().iter().any(|h| h == handle)).cloned(),
        );
        found
    }
}

/// One opened layer: what could be read, and what its signature says.
struct Layer {
    structure: Structure,
    decryption: Decryption,
    entity: Option<Plaintext>,
    check: SignatureCheck,
    ciphertext: Option<Vec<u8>>,
    /// What calls itself encrypted need not be: anybody can put clear packets into such a container.
    encrypted: bool,
    /// Fingerprint of the practice's key that opened it.
    opened_with: Option<String>,
}

/// Examines one message as it was fetched.
///
/// # Errors
/// [`MimeError`] when the message passes a limit: then nothing about it is believed.
pub fn examine(raw: &[u8], first_seen: DateTime<Utc>, tools: &Tools<'_>) -> Result<Examined, MimeError> {
    let raw = &*mime::undoubled(raw);
    let outer = Mail::parse(raw, tools.limits)?;
    let mut layer = open_layers(raw, first_seen, tools, &[])?;
    let (sent, revoked) = sent_keys(&layer, raw, &outer, first_seen, tools);
    let mut renewed = renewed_certificates(&layer, &sent, tools);
    // What a stolen key signed is nobody's word, this mail's own signature included. A key that was only given up may
    // say so itself.
    for stolen in revoked.iter().filter(|one| one.revocation.hard) {
        renewed.retain(|other| other.fingerprint() != stolen.certificate.fingerprint());
        renewed.push(stolen.certificate.clone());
    }
    if !renewed.is_empty() {
        layer = open_layers(raw, first_seen, tools, &renewed)?;
    }
    let bytes_hash = bytes_hash(raw, &outer, layer.ciphertext.as_deref());
    // Nothing reads it any more, and it may be large.
    layer.ciphertext = None;
    let protected = match (&layer.entity, layer.structure) {
        (Some(entity), Structure::Whole) if layer.encrypted || is_good(&layer.check) => {
            mime::protected(entity.as_bytes(), tools.limits)?
        }
        _ => None,
    };
    let from = from_fact(&outer, protected.as_ref(), is_good(&layer.check), tools.registry);
    let (signature, own_signature) = signature_fact(&layer.check, tools);
    let own_id = matches!(from, From::Practice)
        && outer.message_id.as_deref().is_some_and(|id| tools.registry.is_own_message_id(id));
    let dmarc_fail = tools.authserv.is_some_and(|own| mime::dmarc_failed(&outer.authentication_results, own));
    let answer = match &from {
        From::Known(Person::Client(client)) if !dmarc_fail && may_vouch(&layer, &outer) => {
            let subject = &protected.as_ref().unwrap_or(&outer).subject;
            answer(*client, subject, layer.entity.as_ref(), tools)?
        }
        _ => None,
    };
    let vouched = answer.as_ref().is_some_and(|answer| answer.matched.is_some());
    // What is encrypted is known by its ciphertext.
    let said =
        answer.as_ref().filter(|answer| answer.matched.is_some() && !layer.encrypted).map(|answer| answer.digest);
    let seen = |hash: &[u8; 32]| tools.registry.has_seen_bytes(hash);
    let facts = Facts {
        vouched,
        structure: layer.structure,
        decryption: layer.decryption,
        same_bytes: !is_good(&layer.check) && (seen(&bytes_hash) || said.as_ref().is_some_and(seen)),
        signature,
        from,
        automatic: outer.automatic,
        list: outer.list,
        own: own_signature || own_id,
        dmarc_fail,
    };
    let mut decision = intake::decide(&facts, tools.policy);
    // What somebody wrote from their own address, or signed, is theirs, whatever it says.
    let may_be = !matches!(facts.from, From::Known(_)) && !is_good(&layer.check);
    let notice = if may_be { mime::notice(raw, tools.limits)? } else { None };
    if let Some(notice) = notice.as_ref().filter(|_| !matches!(decision.action, Action::Drop(_))) {
        let about = tools.registry.reported(notice);
        let meaning = judge(about.as_ref().map(|mail| mail.facts));
        let fate = about.as_ref().and_then(|mail| mail.facts.fate);
        let (row, client) = about.map_or((None, None), |mail| (Some(mail.row), mail.client));
        decision.action = Action::Notice { row, client, fate, meaning };
        decision.reasons = vec![meaning.reason()];
    }
    let signature = match layer.check {
        SignatureCheck::Good(good) => Some(good),
        _ => None,
    };
    let current = tools.key.certificate().fingerprint();
    let Layer { entity, encrypted, opened_with, .. } = layer;
    let to_retired = opened_with.filter(|opened| *opened != current);
    Ok(Examined {
        outer,
        protected,
        entity,
        decision,
        notice,
        signature,
        encrypted,
        sent,
        revoked,
        to_retired,
        bytes_hash,
        said,
        answer,
    })
}

/// Nobody is registered: for a look at one certificate alone.
struct Nobody<'a>(&'a Context);

impl Registry for Nobody<'_> {
    fn person_by_address(&self, _: &Address) -> Option<Person> {
        None
    }
    fn people_by_handle(&self, _: &str) -> Vec<(Person, Certificate)> {
        Vec::new()
    }
    fn has_seen_signature(&self, _: &str, _: &[u8]) -> bool {
        false
    }
    fn has_seen_bytes(&self, _: &[u8]) -> bool {
        false
    }
    fn is_own_message_id(&self, _: &str) -> bool {
        false
    }
    fn practice_address(&self) -> &Address {
        &self.0.config.practice.address
    }
    fn retired_keys(&self) -> &[PracticeKey] {
        &self.0.retired
    }
}

/// Whether one signature over the whole message is good by this certificate, which isn't pinned: whoever sent it has
/// its key. It says nothing about who that is.
pub fn is_signed_by(raw: &[u8], first_seen: DateTime<Utc>, ctx: &Context, certificate: &Certificate) -> bool {
    let registry = Nobody(ctx);
    let policy = ctx.config.intake.unsigned;
    let tools = Tools { key: &ctx.key, registry: &registry, limits: &ctx.limits, policy, authserv: None };
    let raw = &*mime::undoubled(raw);
    let Ok(layer) = open_layers(raw, first_seen, &tools, std::slice::from_ref(certificate)) else { return false };
    layer.structure == Structure::Whole
        && matches!(layer.check, SignatureCheck::Good(good) if good.fingerprint == certificate.fingerprint())
}

/// The keys and revocations that came with a mail, and whom they revoke.
fn sent_keys(
    layer: &Layer,
    raw: &[u8],
    outer: &Mail,
    first_seen: DateTime<Utc>,
    tools: &Tools<'_>,
) -> (Vec<SentKeys>, Vec<Revoked>) {
    let entity = layer.entity.as_ref().map(Plaintext::as_bytes);
    let inside = entity.and_then(|entity| mime::protected(entity, tools.limits).ok().flatten());
    let from = inside.as_ref().map(|mail| &mail.from).filter(|from| !matches!(from, FromField::Missing));
    let sent = keys::arrived::sent(entity, raw, from.unwrap_or(&outer.from), tools.limits);
    let revoked = keys::arrived::revoked(&sent, tools.registry, first_seen);
    (sent, revoked)
}

/// Pinned certificates with what is attached of the same fingerprint, where the signature fails for want
/// of it: somebody who prolonged an expired key, or got a new signing subkey, could never say so otherwise.
/// Nothing is believed but what the pinned primary key itself certified.
fn renewed_certificates(layer: &Layer, sent: &[SentKeys], tools: &Tools<'_>) -> Vec<Certificate> {
    let wanting = match &layer.check {
        SignatureCheck::Bad { reason } => is_about_the_key(*reason),
        SignatureCheck::Unknown { .. } => true,
        SignatureCheck::None | SignatureCheck::Good(_) => false,
    };
    if !wanting || layer.structure != Structure::Whole {
        return Vec::new();
    }
    let mut renewed = Vec::new();
    for offered in sent.iter().flat_map(SentKeys::certificates).take(OFFERED_KEYS) {
        for (_, pinned) in tools.registry.people_by_handle(&offered.fingerprint()) {
            renewed.extend(keys::arrived::renewed(&pinned, sent));
        }
    }
    renewed
}

fn open_layers(
    raw: &[u8],
    first_seen: DateTime<Utc>,
    tools: &Tools<'_>,
    renewed: &[Certificate],
) -> Result<Layer, MimeError> {
    let pinned = Pinned { tools, renewed };
    let clear = |structure, check, entity: Vec<u8>| Layer {
        structure,
        decryption: Decryption::NotEncrypted,
        entity: Some(Plaintext::new(entity)),
        check,
        ciphertext: None,
        encrypted: false,
        opened_with: None,
    };
    Ok(match mime::envelope(raw, tools.limits)? {
        Envelope::Clear { .. } => clear(Structure::Whole, SignatureCheck::None, raw.to_vec()),
        Envelope::Mixed => clear(Structure::Mixed, SignatureCheck::None, raw.to_vec()),
        Envelope::Signed { signed, signature } => {
            let check = pgp::verify_detached(&signed, &signature, &pinned, first_seen, &limits(tools));
            clear(Structure::Whole, check, signed)
        }
        Envelope::InlineSigned { block, charset } => {
            match pgp::verify_cleartext(&block, &pinned, first_seen, &limits(tools)) {
                Ok(opened) => {
                    let entity = mime::inline_entity(opened.plaintext.as_bytes(), charset.as_deref());
                    clear(Structure::Whole, opened.signature, entity)
                }
                Err(_) => {
                    clear(Structure::Whole, SignatureCheck::Bad { reason: BadSignature::DoesNotVerify }, raw.to_vec())
                }
            }
        }
        Envelope::Encrypted { ciphertext, .. } => open_encrypted(ciphertext, None, first_seen, tools, &pinned)?,
        Envelope::InlineEncrypted { block, charset } => {
            open_encrypted(block, Some(charset), first_seen, tools, &pinned)?
        }
    })
}

/// What an encrypted message of this size may unpack to: no letter is a hundredth of its words.
fn limits_of(tools: &Tools<'_>, size: usize) -> pgp::Limits {
    let plaintext = size.saturating_mul(MOST_EXPANSION).saturating_add(LEAST_ROOM).min(tools.limits.decompressed);
    pgp::Limits { plaintext, ..limits(tools) }
}

fn limits(tools: &Tools<'_>) -> pgp::Limits {
    pgp::Limits { plaintext: tools.limits.decompressed, ..pgp::Limits::default() }
}

/// Decrypts, and where the encrypted entity is itself signed (RFC 3156 section 6.1), verifies that.
fn open_encrypted(
    ciphertext: Vec<u8>,
    inline: Option<Option<String>>,
    first_seen: DateTime<Utc>,
    tools: &Tools<'_>,
    pinned: &Pinned<'_>,
) -> Result<Layer, MimeError> {
    let failed = |decryption, ciphertext| Layer {
        structure: Structure::Whole,
        decryption,
        entity: None,
        check: SignatureCheck::None,
        ciphertext: Some(ciphertext),
        encrypted: true,
        opened_with: None,
    };
    let keys: Vec<&PracticeKey> = std::iter::once(tools.key).chain(tools.registry.retired_keys()).collect();
    let opened = match pgp::open(&ciphertext, &keys, pinned, first_seen, &limits_of(tools, ciphertext.len())) {
        Ok(opened) => opened,
        Err(OpenError::NotForUs) => return Ok(failed(Decryption::NotForUs, ciphertext)),
        Err(OpenError::Integrity) => return Ok(failed(Decryption::IntegrityFailed, ciphertext)),
        Err(OpenError::TooLarge) => return Err(MimeError::UnpacksTooLarge { limit: tools.limits.decompressed }),
        Err(_) => return Ok(failed(Decryption::Unreadable, ciphertext)),
    };
    let (is_encrypted, opened_with) = (opened.encrypted, opened.opened_with.clone());
    // A large letter's ciphertext is moved and not copied.
    let whole = move |entity, check, structure| Layer {
        structure,
        decryption: if is_encrypted { Decryption::Done } else { Decryption::NotEncrypted },
        entity: Some(entity),
        check,
        ciphertext: Some(ciphertext),
        encrypted: is_encrypted,
        opened_with,
    };
    if let Some(charset) = inline {
        let entity = Plaintext::new(mime::inline_entity(opened.plaintext.as_bytes(), charset.as_deref()));
        return Ok(whole(entity, opened.signature, Structure::Whole));
    }
    Ok(match mime::envelope(opened.plaintext.as_bytes(), tools.limits)? {
        Envelope::Clear { .. } => whole(opened.plaintext, opened.signature, Structure::Whole),
        Envelope::Signed { signed, signature } if matches!(opened.signature, SignatureCheck::None) => {
            let check = pgp::verify_detached(&signed, &signature, pinned, first_seen, &limits(tools));
            whole(Plaintext::new(signed), check, Structure::Whole)
        }
        // All of it stands under one good signature: whatever is inside is content, and stays unopened.
        _ if is_good(&opened.signature) => whole(opened.plaintext, opened.signature, Structure::Whole),
        // A second encryption, a block beside text, a signature beside clear parts: not one envelope.
        _ => whole(opened.plaintext, opened.signature, Structure::Mixed),
    })
}

fn is_good(check: &SignatureCheck) -> bool {
    matches!(check, SignatureCheck::Good(_))
}

/// Whether a bad signature is the key's fault and not the data's.
fn is_about_the_key(reason: BadSignature) -> bool {
    matches!(
        reason,
        BadSignature::Expired
            | BadSignature::Revoked
            | BadSignature::TooWeak
            | BadSignature::NotValidThen
            | BadSignature::NotForSigning
    )
}

/// Whom From names. Inside the encryption anybody can write what they like: a protected From counts where it is
/// signed; where it isn't, one that differs from the outer one is nobody's name (RFC 9788 section 4.4).
fn from_fact(outer: &Mail, protected: Option<&Mail>, signed: bool, registry: &dyn Registry) -> From {
    let registered = |addresses: &[Address]| {
        addresses.iter().filter_map(|address| registry.person_by_address(address)).collect::<Vec<_>>()
    };
    // Two outer From fields are a spoof even where a protected one would settle it.
    if let FromField::Ambiguous { candidates } = &outer.from {
        return From::Ambiguous(registered(candidates));
    }
    let inner = protected.map(|mail| &mail.from);
    if let (false, Some(inner)) = (signed, inner)
        && let Some(named) = in_conflict(&outer.from, inner)
    {
        return From::Ambiguous(registered(&named));
    }
    let believed = match inner {
        Some(from @ (FromField::One { .. } | FromField::Ambiguous { .. })) => from,
        _ => &outer.from,
    };
    match believed {
        FromField::Missing => From::Ambiguous(Vec::new()),
        FromField::Ambiguous { candidates } => From::Ambiguous(registered(candidates)),
        FromField::One { address, .. } if address == registry.practice_address() => From::Practice,
        FromField::One { address, .. } => registry.person_by_address(address).map_or(From::Stranger, From::Known),
    }
}

/// Every address that two From fields name, unless they name the same one.
fn in_conflict(outer: &FromField, inner: &FromField) -> Option<Vec<Address>> {
    let named = |from: &FromField| match from {
        FromField::Missing => Vec::new(),
        FromField::One { address, .. } => vec![address.clone()],
        FromField::Ambiguous { candidates } => candidates.clone(),
    };
    let (outer, inner) = (named(outer), named(inner));
    (!inner.is_empty() && inner != outer).then(|| [inner, outer].concat())
}

/// The signature as a fact, and whether it is the practice's own.
fn signature_fact(check: &SignatureCheck, tools: &Tools<'_>) -> (Signature, bool) {
    let retired = tools.registry.retired_keys().iter().map(PracticeKey::certificate);
    let own: Vec<String> =
        std::iter::once(tools.key.certificate()).chain(retired).map(Certificate::fingerprint).collect();
    match check {
        SignatureCheck::None => (Signature::None, false),
        SignatureCheck::Unknown { .. } => (Signature::Unknown, false),
        SignatureCheck::Bad { reason } if is_about_the_key(*reason) => (Signature::BadKey, false),
        SignatureCheck::Bad { .. } => (Signature::Bad, false),
        SignatureCheck::Good(good) if own.contains(&good.fingerprint) => (Signature::Unknown, true),
        SignatureCheck::Good(good) => {
            let owner = tools
                .registry
                .people_by_handle(&good.fingerprint)
                .into_iter()
                .find(|(_, certificate)| certificate.fingerprint() == good.fingerprint)
                .map(|(person, _)| person);
            let intended = if good.intended.is_empty() {
                Intended::Unsaid
            } else if good.intended.iter().any(|intended| own.contains(intended)) {
                Intended::Us
            } else {
                Intended::Others
            };
            let seen_before = tools.registry.has_seen_signature(&good.fingerprint, &good.digest);
            match owner {
                Some(owner) => (Signature::Good { owner, intended, seen_before }, false),
                None => (Signature::Unknown, false),
            }
        }
    }
}

/// Whether answer words could prove it: one whole message of a person's, readable and not signed by somebody known.
fn may_vouch(layer: &Layer, outer: &Mail) -> bool {
    layer.structure == Structure::Whole
        && matches!(layer.check, SignatureCheck::None | SignatureCheck::Unknown { .. })
        && !outer.automatic
        && !outer.list
}

/// Looks for the answer words of a client's last letters.
fn answer(
    client: ClientId,
    subject: &str,
    entity: Option<&Plaintext>,
    tools: &Tools<'_>,
) -> Result<Option<Answer>, MimeError> {
    let (Some(vouching), Some(entity)) = (tools.registry.vouching(client), entity) else { return Ok(None) };
    let content = mime::content(entity.as_bytes(), tools.limits)?;
    let valid: Vec<Words> = vouching.valid.iter().map(|(_, words)| *words).collect();
    let new_text = mime::new_text(&content.text);
    let reading = answer_words::read(subject, &new_text, &valid);
    let matched = reading.matched.and_then(|at| vouching.valid.get(at).copied());
    let digest = answer_digest(client, &new_text, &content);
    Ok(Some(Answer { vouching, matched, wrong: reading.wrong, meant: reading.meant, digest }))
}

/// What a vouched message in clear is known by besides its bytes: whoever plays it again can choose its headers, and how
/// it is encoded, but not what it says.
fn answer_digest(client: ClientId, new_text: &str, content: &mime::Content) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    field(b"vouched");
    field(&client.0.to_be_bytes());
    for word in new_text.split_whitespace() {
        field(word.as_bytes());
    }
    for file in &content.attachments {
        field(&file.bytes);
    }
    hash.finalize().into()
}

/// What a message without a good signature is known by when it is delivered twice: the sender with
/// the ciphertext, or the writer's own headers with the body. Never the Message-ID alone, which
/// anybody can copy to suppress a letter; never the trace headers, which differ by delivery.
fn bytes_hash(raw: &[u8], outer: &Mail, ciphertext: Option<&[u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    match &outer.from {
        FromField::One { address, .. } => field(address.canonical().as_bytes()),
        FromField::Missing => field(b""),
        FromField::Ambiguous { candidates } => {
            for candidate in candidates {
                field(candidate.canonical().as_bytes());
            }
        }
    }
    match ciphertext {
        Some(ciphertext) => field(ciphertext),
        None => {
            field(outer.message_id.as_deref().unwrap_or_default().as_bytes());
            field(outer.subject.as_bytes());
            field(&outer.date.map_or(0, |date| date.timestamp()).to_be_bytes());
            let body = raw.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
            field(&raw[body..]);
        }
    }
    hash.finalize().into()
}
