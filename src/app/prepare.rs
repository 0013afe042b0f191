//! The costly half of intake: open, decide, read, compose and seal. Runs on all cores, writes nothing.

mod forward;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;

use super::compose::{self, MailError};
use super::context::{Context, Therapist};
use super::crisis::scan::{Scan, scan};
use super::enrol;
use super::examine::{Answer, Examined, Tools, examine};
use super::keys::{self, arrived::Revoked};
use super::keywords as orders;
use super::notice::Noticed;
use super::registry::{DbRegistry, View};
use crate::domain::answer_words;
use crate::domain::intake::{Action, Decision, Refusal};
use crate::domain::keywords::{self, Keywords, Standing};
use crate::domain::passphrase;
use crate::domain::rhythm::{Schedule, Slot, clamp_arrival};
use crate::mime::{self, AttachmentClass, Content, FromField, Mail, MimeError, Said};
use crate::model::{Address, ClientId, Mark, MessageRow, OutboxRow, TherapistId, Verdict};
use crate::pdf;
use crate::pgp::Certificate;
use crate::secret::Plaintext;
use crate::store::{self, Client, StoreError};
use forward::{is_held, seal_forward};

/// One message as it lies in the mailbox.
pub struct Arrived {
    pub folder: String,
    pub uidvalidity: u32,
    pub uid: u32,
    pub internaldate: Option<DateTime<Utc>>,
    pub raw: Plaintext,
    /// When Cadre first saw it, also in an earlier try.
    pub first_seen: DateTime<Utc>,
    /// When the last completed scan of its folder began.
    pub last_scan: Option<DateTime<Utc>>,
    /// An earlier try was noted.
    pub tried: bool,
    /// Its share of the memory that fetched messages may take, given back when it is committed.
    pub room: Option<Arc<OwnedSemaphorePermit>>,
    /// From the junk folder: only registered people's mail is taken.
    pub junk: bool,
}

/// Why a message couldn't be prepared. It stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("the database couldn't be asked")]
    Store(#[from] StoreError),
    #[error("the therapist's mail couldn't be made")]
    Mail(#[from] MailError),
    #[error("therapist {therapist} of a client is not in the configuration: add the `[[therapist]]` again")]
    NoTherapist { therapist: TherapistId },
    #[error("the mail server can't give the message, or gives it unreadably")]
    Unfetchable,
    #[error("reading the message panicked; this is a fault of the program")]
    Panicked,
}

/// What is to be committed for one message.
pub enum Prepared {
    /// A letter, held mail or a request: sealed.
    Sealed(Box<Sealed>),
    /// A therapist's mail that may be obeyed.
    Obey(Box<FromTherapist>),
    Refuse {
        therapist: Arc<Therapist>,
        why: Refusal,
        examined: Box<Examined>,
    },
    /// An answer to `cadre therapist welcome`: a key that waits to be compared.
    TherapistKey {
        therapist: Arc<Therapist>,
        certificate: Certificate,
        bytes_hash: [u8; 32],
    },
    /// Over a limit: the original goes to Attention; the sender is told if registered.
    OverLimit {
        error: MimeError,
        client: Option<Box<Client>>,
        therapist: Option<Arc<Therapist>>,
    },
    /// The therapist's certificate can't be used: the original stays, no try is counted.
    Blocked(Box<Sealed>),
    /// A client's record was changed by somebody else: that client stops.
    Tampered {
        error: StoreError,
    },
    Aside {
        decision: Decision,
        bytes_hash: [u8; 32],
        stranger: Option<Address>,
    },
    /// A mail system's notice.
    Notice(Noticed),
    /// In the junk folder and nobody's we know: left there.
    Left,
    /// It brought genuine revocations: what is to be done with the mail comes first, then they count.
    Revoking {
        mail: Box<Prepared>,
        revoked: Vec<Revoked>,
    },
}

impl Prepared {
    /// What is to be done with the mail itself, and whose keys it revokes.
    pub fn split(&self) -> (&Self, &[Revoked]) {
        match self {
            Self::Revoking { mail, revoked } => (mail, revoked),
            other => (other, &[]),
        }
    }
}

/// What becomes of a sealed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// `opens_turn` is false for automatic mail and for mail without a word.
    File {
        opens_turn: bool,
    },
    Hold,
    Request,
}

impl Disposition {
    /// An order that is carried out waits for no answer, unless something is attached.
    fn of_order(self, attached: bool) -> Self {
        match self {
            Self::File { opens_turn } => Self::File { opens_turn: opens_turn && attached },
            other => other,
        }
    }
}

/// How the sender's mail is referred to in answers.
#[derive(Clone)]
pub struct Origin {
    pub message_id: Option<String>,
    pub subject: String,
}

/// A message that is sealed to the therapist and waits to be committed.
pub struct Sealed {
    pub row: MessageRow,
    pub client: Option<Client>,
    pub therapist: Arc<Therapist>,
    pub verdict: Verdict,
    pub marks: Vec<Mark>,
    pub disposition: Disposition,
    pub arrived: DateTime<Utc>,
    pub at: DateTime<Utc>,
    pub due: Option<Slot>,
    /// Message-ID of the therapist's mail.
    pub message_id: String,
    pub origin: Origin,
    pub sender: Option<Address>,
    /// `N-3F…` of a request.
    pub request_code: Option<String>,
    pub ciphertext: Vec<u8>,
    /// The same letter sealed to who would stand in, where the client agreed.
    pub locum_copy: Option<(TherapistId, Vec<u8>)>,
    pub bytes: usize,
    pub words: usize,
    pub attachments: usize,
    /// (fingerprint, digest, signed at)
    pub signature: Option<(String, Vec<u8>, DateTime<Utc>)>,
    pub bytes_hash: [u8; 32],
    /// By what it says, where answer words prove it.
    pub said: Option<[u8; 32]>,
    pub automatic: bool,
    /// It came encrypted.
    pub encrypted: bool,
    pub scan: Scan,
    /// Whether its words may steer.
    pub standing: Standing,
    /// What the client's new text steers; None: it couldn't be read, or nobody's we know.
    pub keywords: Option<Keywords>,
    /// The client's own certificate, newer than the pinned one, out of verified mail.
    pub renewed: Option<store::Certificate>,
    /// The practice's earlier key that it was still encrypted to.
    pub to_retired: Option<String>,
    /// The letter whose answer words it has.
    pub vouched_by: Option<OutboxRow>,
    /// Answer words that are none.
    pub wrong_words: u32,
    /// What it brings to an enrolment.
    pub found: Option<enrol::Findings>,
    /// Message-IDs that a stranger's mail answers.
    pub answers: Vec<String>,
}

/// A therapist's mail with what is needed to obey it.
pub struct FromTherapist {
    pub therapist: Arc<Therapist>,
    pub examined: Examined,
    pub content: Content,
    pub at: DateTime<Utc>,
    pub bytes: usize,
}

/// Prepares one message. CPU-bound: call it on a blocking thread. The raw bytes are given back to the system as soon as
/// nothing needs them.
///
/// # Errors
/// [`PrepareError`]: the message stays where it is and is tried again.
pub fn prepare(
    ctx: &Context,
    view: &View,
    arrived: &mut Arrived,
    now: DateTime<Utc>,
) -> Result<Prepared, PrepareError> {
    crate::failpoint::poison(arrived.raw.as_bytes());
    let registry = DbRegistry::new(ctx, view);
    let tools = Tools {
        key: &ctx.key,
        registry: &registry,
        limits: &ctx.limits,
        policy: ctx.config.intake.unsigned,
        authserv: ctx.config.intake.authserv.as_deref(),
    };
    let examined = examine(arrived.raw.as_bytes(), arrived.first_seen, &tools);
    let met = match registry.finish() {
        Err(error @ StoreError::Tampered { .. }) => return Ok(Prepared::Tampered { error }),
        met => met?,
    };
    let examined = match examined {
        Ok(examined) => examined,
        Err(error) => {
            let header = Mail::parse_header(arrived.raw.as_bytes(), &ctx.limits).ok();
            return Ok(over_limit(ctx, view, arrived, header.as_ref(), error)?);
        }
    };
    let mut examined = examined;
    let revoked = std::mem::take(&mut examined.revoked);
    let prepared = dispatch(ctx, arrived, examined, &met, now)?;
    Ok(if revoked.is_empty() { prepared } else { Prepared::Revoking { mail: Box::new(prepared), revoked } })
}

/// What to do about a message over a limit, of which at most the header block was read.
///
/// # Errors
/// [`StoreError`] of the look-up.
pub fn over_limit(
    ctx: &Context,
    view: &View,
    arrived: &Arrived,
    header: Option<&Mail>,
    error: MimeError,
) -> Result<Prepared, StoreError> {
    let address = header.filter(|mail| !mail.automatic && !mail.list).and_then(|mail| mail.from.one());
    let therapist = address.and_then(|address| ctx.therapist_by_address(address));
    let client = match address {
        Some(address) => match view.client_by_address(address) {
            Err(error @ StoreError::Tampered { .. }) => return Ok(Prepared::Tampered { error }),
            found => found?,
        },
        None => None,
    };
    if arrived.junk && client.is_none() && therapist.is_none() {
        return Ok(Prepared::Left);
    }
    Ok(Prepared::OverLimit { error, client: client.map(Box::new), therapist })
}

fn dispatch(
    ctx: &Context,
    arrived: &mut Arrived,
    examined: Examined,
    met: &HashMap<ClientId, Client>,
    now: DateTime<Utc>,
) -> Result<Prepared, PrepareError> {
    let therapist_of =
        |id: &TherapistId| ctx.therapist(id).ok_or_else(|| PrepareError::NoTherapist { therapist: id.clone() });
    let client_of = |id: ClientId| -> Result<Client, PrepareError> {
        Ok(met.get(&id).cloned().ok_or(StoreError::Missing { table: "client", row: id.0 })?)
    };
    match examined.decision.action.clone() {
        Action::File { client, letter } => {
            let client = client_of(client)?;
            let therapist = therapist_of(&client.therapist)?;
            let disposition = Disposition::File { opens_turn: letter };
            seal(ctx, arrived, examined, Some(client), therapist, disposition, now)
        }
        Action::Hold { client } => {
            let client = client_of(client)?;
            let therapist = therapist_of(&client.therapist)?;
            seal(ctx, arrived, examined, Some(client), therapist, Disposition::Hold, now)
        }
        Action::Obey { therapist } => {
            let mut therapist = therapist_of(&therapist)?;
            // What is answered may already need what the mail brings: the key had expired, say.
            let pinned = therapist.certificate();
            if let Some(renewed) = pinned.and_then(|pinned| keys::arrived::renewed(pinned, &examined.sent)) {
                therapist = Arc::new(therapist.renewed(&renewed));
            }
            let entity = examined.entity.as_ref().map_or(&[][..], Plaintext::as_bytes);
            match mime::content(entity, &ctx.limits) {
                Ok(content) => Ok(Prepared::Obey(Box::new(FromTherapist {
                    therapist,
                    examined,
                    content,
                    at: now,
                    bytes: arrived.raw.len(),
                }))),
                Err(error) => Ok(Prepared::OverLimit { error, client: None, therapist: Some(therapist) }),
            }
        }
        Action::Refuse { therapist, why } => {
            let therapist = therapist_of(&therapist)?;
            if therapist.certificate().is_none()
                && let Some(certificate) = enrol::therapist::answered(ctx, arrived, &examined, now)
            {
                return Ok(Prepared::TherapistKey { therapist, certificate, bytes_hash: examined.bytes_hash });
            }
            Ok(Prepared::Refuse { therapist, why, examined: Box::new(examined) })
        }
        Action::Request | Action::UnreadableStranger | Action::Others | Action::Attention if arrived.junk => {
            Ok(Prepared::Left)
        }
        Action::Notice { row: None, .. } if arrived.junk => Ok(Prepared::Left),
        Action::Notice { row, fate, .. } => {
            let status = examined.notice.and_then(|notice| notice.status);
            Ok(Prepared::Notice(Noticed { row, fate, status }))
        }
        Action::Request => {
            let therapist = therapist_of(&ctx.config.intake.requests)?;
            seal(ctx, arrived, examined, None, therapist, Disposition::Request, now)
        }
        Action::UnreadableStranger => {
            // What the mailbox's own server calls forged is not answered: the address is somebody else's.
            let forged = examined.decision.marks.contains(&Mark::DmarcFail);
            let stranger = examined.outer.from.one().filter(|_| !forged).cloned();
            Ok(Prepared::Aside { bytes_hash: examined.bytes_hash, decision: examined.decision, stranger })
        }
        Action::Others | Action::Attention | Action::Drop(_) => {
            Ok(Prepared::Aside { bytes_hash: examined.bytes_hash, decision: examined.decision, stranger: None })
        }
    }
}

/// Reads the content, composes the therapist's mail and seals it.
fn seal(
    ctx: &Context,
    arrived: &mut Arrived,
    examined: Examined,
    client: Option<Client>,
    therapist: Arc<Therapist>,
    disposition: Disposition,
    now: DateTime<Utc>,
) -> Result<Prepared, PrepareError> {
    let content = match content_of(ctx, &examined) {
        Ok(content) => content,
        Err(error) => return Ok(Prepared::OverLimit { error, client: client.map(Box::new), therapist: None }),
    };
    let arrival = clamp_arrival(arrived.internaldate, arrived.last_scan, arrived.first_seen);
    let schedule = client.as_ref().map(|client| ctx.schedule(&therapist, client));
    let due = schedule.as_ref().and_then(|schedule: &Schedule| schedule.due(arrival, now));
    let empty = content.as_ref().is_some_and(|content| content.words == 0 && content.attachments.is_empty());
    // A verified letter that a list passed on is a letter; what the rules call automatic is not.
    let (automatic, disposition) = match disposition {
        Disposition::File { opens_turn } => (!opens_turn, Disposition::File { opens_turn: opens_turn && !empty }),
        other => (examined.outer.automatic || examined.outer.list, other),
    };
    let said = content.as_ref().map(|content| mime::said(&content.text));
    let read = content.as_ref().zip(said.as_ref());
    let mut marks = marks(&examined, client.as_ref(), content.as_ref());
    let mut words = content.as_ref().map_or(0, |content| content.words);
    let mut disposition = disposition;
    let standing = standing(&examined, arrived);
    if let (Some(answer), Some(said)) = (&examined.answer, &said) {
        marks.extend(answer_marks(answer, said));
    }
    let keywords = match (&client, read) {
        (Some(client), Some((content, said))) if !automatic => {
            let keywords = keywords::read(&said.new);
            marks.extend(orders::marks(client, standing, &keywords));
            if orders::is_order_only(client, standing, &keywords) {
                words = 0;
                disposition = disposition.of_order(!content.attachments.is_empty());
            }
            Some(keywords)
        }
        _ => None,
    };
    let origin =
        Origin { message_id: examined.outer.message_id.clone(), subject: mime::strip_codes(&own_subject(&examined)) };
    let renewed = keys::arrived::renewed_client(ctx, client.as_ref(), &examined);
    let found = enrol::find(ctx, arrived, &examined, read, client.as_ref(), &therapist, now);
    let answers = examined.outer.references.iter().chain(&examined.outer.in_reply_to).cloned().collect();
    let row = MessageRow(ctx.store.new_id());
    let request_code = (disposition == Disposition::Request).then(new_request_code);
    let mut sealed = Sealed {
        row,
        verdict: examined.decision.verdict,
        marks,
        disposition,
        arrived: arrival,
        at: now,
        due,
        message_id: compose::new_message_id(ctx),
        sender: match &examined.headers().from {
            FromField::One { address, .. } => Some(address.clone()),
            _ => None,
        },
        request_code,
        ciphertext: Vec::new(),
        locum_copy: None,
        bytes: arrived.raw.len(),
        words,
        attachments: content.as_ref().map_or(0, |content| content.attachments.len()),
        signature: examined.signature.as_ref().map(|s| (s.fingerprint.clone(), s.digest.clone(), s.signed_at)),
        bytes_hash: examined.bytes_hash,
        said: examined.said,
        automatic,
        encrypted: examined.encrypted,
        scan: scan(ctx.lexicon(), &examined, read).of_mail(automatic),
        standing,
        keywords,
        vouched_by: examined.answer.as_ref().and_then(|answer| answer.matched).map(|(letter, _)| letter),
        wrong_words: examined.answer.as_ref().map_or(0, |answer| answer.wrong),
        renewed,
        to_retired: examined.to_retired.clone(),
        found,
        answers,
        client,
        therapist,
        origin,
    };
    // Every copy of a large letter is a large one: what was taken out of these is all that is needed now.
    drop(examined);
    match seal_forward(ctx, &mut sealed, content, std::mem::take(&mut arrived.raw)) {
        Ok(ciphertext) => {
            sealed.ciphertext = ciphertext;
            Ok(Prepared::Sealed(Box::new(sealed)))
        }
        Err(MailError::Seal(_) | MailError::NoCertificate) => Ok(Prepared::Blocked(Box::new(sealed))),
        Err(error) => Err(error.into()),
    }
}

/// What can be read. What failed its integrity check or couldn't be opened is kept as it came: ciphertext only.
fn content_of(ctx: &Context, examined: &Examined) -> Result<Option<Content>, MimeError> {
    let Some(entity) = &examined.entity else { return Ok(None) };
    let content = mime::content(entity.as_bytes(), &ctx.limits)?;
    Ok(Some(without_words(content, examined)))
}

/// What the client wrote, without the answer words, and without our own letter sent back.
fn without_words(mut content: Content, examined: &Examined) -> Content {
    let Some(answer) = &examined.answer else { return content };
    if let Some(phrase) = &answer.vouching.phrase {
        content.attachments.retain(|file| file.class != AttachmentClass::Pdf || !pdf::opens(&file.bytes, phrase));
    }
    let Some((_, words)) = &answer.matched else { return content };
    content.text = answer_words::without(&content.text, words);
    // Where they can't be found in the page, its text is passed on alone.
    content.html = content.html.and_then(|html| answer_words::without_in_html(&html, words));
    content.words = content.text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count();
    content
}

/// The believed subject, without answer words.
fn own_subject(examined: &Examined) -> String {
    let subject = &examined.headers().subject;
    match examined.answer.as_ref().and_then(|answer| answer.matched) {
        Some((_, words)) => answer_words::without(subject, &words).trim().to_owned(),
        None => subject.clone(),
    }
}

fn answer_marks(answer: &Answer, said: &Said) -> Vec<Mark> {
    let mut marks = Vec::new();
    if answer.matched.is_none() && answer.vouching.blocked {
        marks.push(Mark::WordsBlocked);
    } else if answer.meant {
        marks.push(Mark::WrongWords);
    }
    if passphrase::is_asked(&said.new) {
        marks.push(Mark::AsksPassphrase);
    }
    marks
}

/// By what a message's words may steer.
fn standing(examined: &Examined, arrived: &Arrived) -> Standing {
    Standing {
        verdict: examined.decision.verdict,
        not_for_us: examined.decision.marks.contains(&Mark::NotForUs),
        signed_at: examined.signature.as_ref().map(|signature| signature.signed_at),
        first_seen: arrived.first_seen,
    }
}

/// The rules' marks, and those of what was found inside.
fn marks(examined: &Examined, client: Option<&Client>, content: Option<&Content>) -> Vec<Mark> {
    let mut marks = examined.decision.marks.clone();
    if client.is_some_and(|client| !client.state.in_treatment()) {
        marks.push(Mark::ClientState);
    }
    if content.is_some_and(|content| content.attachments.iter().any(is_held)) {
        marks.push(Mark::AttachmentHeld);
    }
    subject_marks(&examined.headers().subject, &mut marks);
    marks
}

/// `[brut]` and `[structuré]` are the client's own marks; they are never inferred.
fn subject_marks(subject: &str, marks: &mut Vec<Mark>) {
    let subject = subject.to_lowercase();
    if ["[brut]", "[raw]"].iter().any(|mark| subject.contains(mark)) {
        marks.push(Mark::Raw);
    }
    if ["[structuré]", "[structure]", "[structured]"].iter().any(|mark| subject.contains(mark)) {
        marks.push(Mark::Structured);
    }
}

/// `N-` and four signs.
fn new_request_code() -> String {
    use rand::Rng;
    let bits = rand::rng().next_u32();
    crate::model::ClientCode::from_bits(bits).as_str().replacen("C-", "N-", 1)
}
