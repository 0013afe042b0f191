//! What each letter must be told before it can be written: one struct a letter.
//!
//! Instants are UTC; they are put into words in the reader's zone (see [`super::Reader`]). Nothing here has a
//! `Debug` that shows a name, a label or a word of anybody's letter.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{ClientCode, ClientState, Kind, Mark, Verdict};

pub use super::care::*;
use super::lines::Line;
pub use super::outcome::*;

/// First letter of a turn has arrived; sent sealed. For a discreet client `lines` is [`super::Lines::neutral`].
#[derive(Clone, Serialize)]
pub struct Acknowledgement {
    pub practice: String,
    pub arrived: DateTime<Utc>,
    /// The slot at which the reply is due.
    pub expected: DateTime<Utc>,
    pub lines: Vec<Line>,
}

/// The same in clear: shows no therapy, has 112 as its only line.
#[derive(Clone, Serialize)]
pub struct AcknowledgementClear {
    pub neutral_name: String,
    pub arrived: DateTime<Utc>,
    /// None: nobody knows yet.
    pub expected: Option<DateTime<Utc>>,
}

/// How to sign, sealed to a client with a pinned certificate; once in 30 days.
#[derive(Clone, Serialize)]
pub struct AboutKeys {
    pub practice: String,
    /// The practice's fingerprint, hexadecimal, with or without spaces.
    pub fingerprint: String,
}

/// The same in clear, neutral.
#[derive(Clone, Serialize)]
pub struct AboutKeysClear {
    pub neutral_name: String,
    pub fingerprint: String,
}

/// Sealed to another key than ours; in clear, neutral, with the practice's key attached.
#[derive(Clone, Serialize)]
pub struct Undecryptable {
    pub neutral_name: String,
    pub fingerprint: String,
}

/// Beyond the limits of size, depth or number of parts; in clear, neutral.
#[derive(Clone, Serialize)]
pub struct TooLarge {
    pub neutral_name: String,
    /// `intake.max_message`, in bytes.
    pub limit: u64,
}

/// The slot and its grace have passed without a reply; sealed.
#[derive(Clone, Serialize)]
pub struct MissedDay {
    pub practice: String,
    /// The slot that was missed.
    pub missed: DateTime<Utc>,
    /// When the reply is now expected.
    pub next: DateTime<Utc>,
    pub lines: Vec<Line>,
}

/// The turn is answered without a letter; sealed.
#[derive(Clone, Serialize)]
pub struct Closed {
    pub practice: String,
    /// The therapist's one line; without it the standing sentence.
    pub line: Option<String>,
    /// The slot at which it leaves: decides between "ce soir" and "aujourd’hui".
    pub slot: DateTime<Utc>,
}

/// The client's certificate is about to expire, or has; in clear, neutral.
#[derive(Clone, Serialize)]
pub struct KeyExpiry {
    pub neutral_name: String,
    /// The client's fingerprint.
    pub fingerprint: String,
    pub expires: DateTime<Utc>,
    /// Whole days left; 0 or less: it can't be used any more.
    pub days: i64,
}

/// The one neutral answer to somebody unknown; in clear, quotes nothing.
#[derive(Clone, Serialize)]
pub struct Stranger {
    pub neutral_name: String,
}

/// The last line of a reply: which letters it answers. Its `text` has no blank line around it; no subject.
#[derive(Clone, Serialize)]
pub struct ReplyFrame {
    /// Arrival of each letter answered, any order; empty gives an empty text.
    pub letters: Vec<DateTime<Utc>>,
}

/// Cadre's own first part of a mail passed to the therapist.
#[derive(Clone, Serialize)]
pub struct Forward {
    /// None: a stranger's request.
    pub code: Option<ClientCode>,
    pub label: Option<String>,
    /// The client's own subject, already freed of codes.
    pub subject: Option<String>,
    pub verdict: Verdict,
    pub marks: Vec<Mark>,
    pub arrived: DateTime<Utc>,
    /// None: nothing is owed.
    pub due: Option<DateTime<Utc>>,
    pub state: Option<ClientState>,
    /// The letter's number where it is or was held (`H3`) or is a request (`N-3F`).
    pub number: Option<String>,
    /// It was held, and is passed on by `/release`.
    pub released: bool,
    /// How many attachments were put aside.
    pub attachments_held: u32,
    /// What the scan for crisis words found: `A`, `V`, `B`, `not-analysed`; None: nothing.
    pub scan: Option<String>,
    /// Names this forward in a quoted banner.
    pub token: Option<String>,
}

/// One line of what is due.
#[derive(Clone, Serialize)]
pub struct DueLine {
    pub code: ClientCode,
    pub label: Option<String>,
    pub letters: u32,
    pub oldest: DateTime<Utc>,
}

/// 3 h before a slot.
#[derive(Clone, Serialize)]
pub struct Reminder {
    pub slot: DateTime<Utc>,
    pub due: Vec<DueLine>,
}

/// Why a therapist's mail was not obeyed.
#[derive(Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum RefusalReason {
    Unsigned,
    UnknownSigner,
    WrongSigner,
    Bad,
    /// Encrypted to another key than the practice's, or unreadable.
    Undecryptable,
    Partial,
    /// Signed for somebody else than the practice.
    NotForUs,
    /// No signed tag, reference, `/to` or token names a client.
    NoClient,
    /// The signed signs name more than one client.
    ClientConflict {
        codes: Vec<ClientCode>,
    },
    /// There is no such client, or it is another therapist's.
    UnknownCode {
        code: String,
    },
    UnknownCommand {
        name: String,
    },
    Contradiction {
        a: String,
        b: String,
    },
    MissingArgument {
        command: String,
    },
    BadArgument {
        command: String,
    },
    /// `/close`, `/discard`, `/cancel` … with a text below.
    TextNotAllowed {
        command: String,
    },
    TextRequired {
        command: String,
    },
    /// To or Cc has an address that is neither the practice's nor the therapist's.
    OtherRecipients,
    /// The text has the therapist's own address.
    OwnAddress,
    /// An attachment that may not pass.
    Attachment {
        why: AttachmentReason,
    },
    /// A reply without a word.
    EmptyReply,
    NowTooLong {
        words: u32,
    },
    /// Only one `/now` a day.
    NowAlreadySent,
    /// `rhythm.second = "refuse"`.
    SecondReply {
        leaves: DateTime<Utc>,
    },
    /// Signed before the reply that waits; the older never replaces the newer.
    OlderThanWaiting,
    /// `/urgent` without text, and nothing waits.
    NothingWaiting,
    /// No such held number, or it is no longer held.
    UnknownNumber {
        number: String,
    },
    /// `/release` of what could not be read.
    NotReleasable {
        number: String,
    },
    /// `/close silent` where an acknowledgement has promised a reply.
    SilentButPromised,
    /// `/close` without an open turn.
    NothingToClose,
    /// The client is not in treatment.
    ClientState {
        state: ClientState,
    },
    TooLarge {
        limit: u64,
    },
    /// No slot is left on the days asked for.
    RhythmNeverFires,
    /// The letter of this command needs the therapist's own words.
    TooFewWords {
        command: String,
        words: u32,
        needed: u32,
    },
    /// The command can't be given in this state.
    NotInState {
        command: String,
        state: ClientState,
    },
    /// The code words are not those of the key that was offered.
    WrongWords,
    /// No key waits to be confirmed.
    NoOffer,
    /// The address is registered already; the code where it is the therapist's own client.
    AlreadyRegistered {
        code: Option<ClientCode>,
    },
    /// One of the four elements of the frame is empty: `channel`, `price`, `fallback`, `title`, `register`, `country`.
    FrameIncomplete {
        missing: Vec<String>,
    },
    /// `/checkin` while a reply is owed.
    ReplyOwed,
    /// Nothing leaves to this person; `/mute off` changes that.
    Muted,
    /// The channel isn't available.
    /// `/channel openpgp`: it needs a key that was compared.
    ChannelNeedsKey,
    /// The command is for clients whose letters are sealed.
    NotSealedLetters {
        command: String,
    },
    /// `/told`: there is no passphrase yet that could have been told, or it was told already.
    NothingToTell,
    /// No such therapist in the practice, or it is oneself.
    UnknownTherapist,
    /// An absence that lies in the past, or overlaps another one.
    AbsenceDates,
    /// `/back` without an absence.
    NotAbsent,
    /// A reply in an absence without a known end: `/back` ends it, `/urgent` sends at once.
    AbsentWithoutEnd,
    /// Who stands in answers, and decides nothing else.
    NotForLocum {
        command: String,
    },
    /// The address has words that no mail program would take.
    NotAnAddress,
}

/// Why an attachment of the therapist's may not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentReason {
    Executable,
    TooLarge,
    /// Can't be freed of its author's name.
    Metadata,
    Unreadable,
    /// It can't become a sealed letter: only pictures and PDF can.
    NotSealable,
}

/// The mail was refused whole: nothing was done and nothing sent.
#[derive(Clone, Serialize)]
pub struct Refusal {
    pub code: Option<ClientCode>,
    pub label: Option<String>,
    pub reason: RefusalReason,
    /// The commands that were understood in it, none of them carried out.
    pub understood: Vec<&'static str>,
}

/// Signed more than 24 h before it was first seen: asked about, not obeyed.
#[derive(Clone, Serialize)]
pub struct Question {
    pub code: Option<ClientCode>,
    pub label: Option<String>,
    pub signed: DateTime<Utc>,
    pub seen: DateTime<Utc>,
    pub first_line: Option<String>,
}

/// A client's letter is held.
#[derive(Clone, Serialize)]
pub struct HeldNotice {
    pub code: Option<ClientCode>,
    pub label: Option<String>,
    /// `H3`.
    pub number: String,
    pub verdict: Verdict,
    pub marks: Vec<Mark>,
    pub arrived: DateTime<Utc>,
    /// False for what could not be read.
    pub releasable: bool,
    /// Who else From shows, where somebody else signed.
    pub from: Option<NamedFrom>,
}

/// Whom From shows: a client by their code, with the label where it is the reader's own; or a therapist.
#[derive(Clone, Serialize)]
pub struct NamedFrom {
    pub code: Option<ClientCode>,
    pub label: Option<String>,
}

/// 30, 14 and 1 days before, and once after.
#[derive(Clone, Serialize)]
pub struct StaffKeyExpiry {
    pub owner: KeyOwner,
    pub fingerprint: String,
    pub expires: DateTime<Utc>,
    pub days: i64,
}

/// Why a letter has not reached the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCause {
    /// The client's server refused it for good.
    Refused,
    /// No server took it in all the tries.
    GaveUp,
    /// The client's certificate can't be used: the letter waits, the day is not used.
    CertificateUnusable,
    /// The passphrase of sealed letters wasn't told yet: the letter waits, the day is not used.
    NoPassphrase,
    /// It can't be set as a sealed letter: it waits.
    Unsealable,
    /// A server had taken it and gave it back.
    Returned,
}

/// "C-7K2M did not receive Monday's letter."
#[derive(Clone, Serialize)]
pub struct DeliveryFailure {
    pub code: ClientCode,
    pub label: Option<String>,
    pub kind: Kind,
    /// When it left or should have left.
    pub sent: DateTime<Utc>,
    pub cause: FailureCause,
    /// Why it was given back: `address-unknown`, `mailbox-full`, `refused`, `unreachable`, `unsaid`.
    pub why: Option<String>,
    /// The frame's third element.
    pub other_way: Option<String>,
    /// The letters count as unanswered; the slot at which they are due.
    pub due: Option<DateTime<Utc>>,
    /// The person's card follows in a mail of its own.
    pub card: bool,
}

/// All commands.
#[derive(Clone, Serialize)]
pub struct Help {}

/// The morning's sheet, as `domain::digest` arranges it.
#[derive(Clone, Serialize)]
pub struct Digest {
    sheet: serde_json::Value,
}

impl Digest {
    /// Takes anything that serializes like `domain::digest::Digest`; the golden test ties the two.
    pub fn of(sheet: &impl Serialize) -> Self {
        Self { sheet: serde_json::to_value(sheet).unwrap_or_default() }
    }
}

/// What is wrong, for the operator: no content, no name.
#[derive(Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum HealthProblem {
    ImapLogin,
    ImapUnreachable,
    SmtpLogin,
    SmtpUnreachable,
    TlsCertificate,
    Clock,
    DiskFull,
    Database,
    Journal,
    /// A client's record was changed without the keys; that client is stopped.
    RecordMac {
        code: ClientCode,
    },
    TherapistCertificate,
    PracticeKey,
    /// Or has expired, at 0 days. A client is named by the code alone.
    KeyExpires {
        owner: KeyOwner,
        days: i64,
    },
    /// A revocation of somebody's key has come, or the practice's own was revoked.
    KeyRevoked {
        owner: KeyOwner,
    },
    /// Mail put in `Cadre/Attention`.
    Attention {
        count: u32,
    },
    /// A forward failed for good.
    ForwardFailed {
        code: Option<ClientCode>,
    },
    /// A mail to a therapist, other than a forward, wasn't received.
    StaffMail {
        therapist: String,
    },
    /// A safety letter wasn't received.
    SafetyFailed {
        code: Option<ClientCode>,
    },
    /// A second slot running was missed.
    SecondMiss {
        code: ClientCode,
    },
    /// An own letter in `[letters] folder` can't be used; the built-in one is.
    OwnLetter {
        name: String,
    },
}

/// One thing for the operator to look at.
#[derive(Clone, Serialize)]
pub struct HealthItem {
    pub problem: HealthProblem,
    pub since: DateTime<Utc>,
}

/// To the operator.
#[derive(Clone, Serialize)]
pub struct HealthAlarm {
    pub items: Vec<HealthItem>,
}
