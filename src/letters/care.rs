//! Facts of the letters about the frame: enrolment, consent, the life of a client, crisis, absence.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{ClientCode, ClientState, CrisisClass, Kind, Mode, Verdict};

use super::lines::Line;

/// The fourth element of the frame, and who a letter is about.
#[derive(Clone, Serialize)]
pub struct TherapistFacts {
    pub name: String,
    pub title: String,
    pub register: String,
    pub country: String,
}

/// "A correspondence is offered to you": in clear, neutral, with the practice's key.
#[derive(Clone, Serialize)]
pub struct Invitation {
    pub neutral_name: String,
    pub fingerprint: String,
    /// Until when an answer to an invitation is waited for; a new key is waited for without end.
    pub until: DateTime<Utc>,
    /// `/rekey`: the person is already in correspondence and only a new key is asked for.
    pub rekey: bool,
}

/// The one reminder, on day 7; in clear, neutral, with the key.
pub type InvitationReminder = Invitation;

/// Why the key in an answer can't be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyProblem {
    /// The answer has no key.
    NoKey,
    /// More than one: which is meant can't be known.
    SeveralKeys,
    Expired,
    Revoked,
    /// An algorithm or a size that isn't safe any more.
    TooWeak,
    /// It can't be encrypted to.
    NoEncryption,
    /// It can't sign.
    NoSigning,
    Unreadable,
    /// It belongs to somebody else here.
    Taken,
    /// The answer came from another address than the one that was written to.
    OtherAddress,
}

/// Whose key is meant in a letter to staff.
#[derive(Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum KeyOwner {
    /// The reader's own.
    Therapist,
    Practice,
    Archive,
    Client {
        code: ClientCode,
        label: Option<String>,
    },
}

/// What is wrong with an answer to an invitation, and how to answer; in clear, neutral, with the key.
#[derive(Clone, Serialize)]
pub struct InvitationProblem {
    pub neutral_name: String,
    pub fingerprint: String,
    pub problem: KeyProblem,
}

/// A refusal was noted: nothing more will come; in clear, neutral.
#[derive(Clone, Serialize)]
pub struct InvitationDeclined {
    pub neutral_name: String,
}

/// How a message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    pub at: DateTime<Utc>,
    pub signed: bool,
    pub encrypted: bool,
}

/// What arrived, and that the keys are compared by voice next; sealed to the key that was offered, neutral all the same.
#[derive(Clone, Serialize)]
pub struct KeyArrived {
    pub neutral_name: String,
    pub received: Received,
    /// The reader's own fingerprint and the practice's, to be read off the reader's own program.
    pub own_fingerprint: String,
    pub fingerprint: String,
    /// Cover both certificates.
    pub words: Vec<String>,
}

/// The frame and the question of consent; sealed.
#[derive(Clone, Serialize)]
pub struct Frame {
    pub practice: String,
    pub therapist: TherapistFacts,
    /// What arrived; None where nothing did (the operator enrolled the client, or it is asked again).
    pub received: Option<Received>,
    pub channel: String,
    pub price: String,
    pub fallback: String,
    /// Name and telephone of the colleague for the therapist's incapacity.
    pub colleague: Option<String>,
    /// Who runs the server, in words.
    pub server: String,
    /// How long records are kept, in words.
    pub records: String,
    /// Name of the therapist who stands in, where there is one: asks for `J'ACCEPTE LE REMPLACEMENT`.
    pub locum: Option<String>,
    /// Already in treatment: no assessment.
    pub known: bool,
    /// None: nobody has said, and the letter says nothing of meetings.
    pub mode: Option<Mode>,
    /// Number of this wording.
    pub version: u32,
    pub lines: Vec<Line>,
    /// The letters are sealed with a passphrase.
    pub sealed_letters: bool,
}

/// The frame has changed and is asked about again; sealed.
pub type ConsentRenewal = Frame;

/// Consent was recorded; sealed.
#[derive(Clone, Serialize)]
pub struct ConsentRecorded {
    pub practice: String,
    /// Of the wording that was agreed to; None: it was only about the cover in absences.
    pub version: Option<u32>,
    pub at: DateTime<Utc>,
    /// The three letters of the assessment come first.
    pub assessment: bool,
    /// When a letter written now has its reply; only at the first consent.
    pub next: Option<DateTime<Utc>>,
    /// The client also agreed that a locum reads.
    pub locum: bool,
    pub lines: Vec<Line>,
}

/// `J'ACCEPTE` that answers no current letter about the frame: how to answer; sealed.
#[derive(Clone, Serialize)]
pub struct ConsentUnclear {
    pub practice: String,
}

/// What the therapist does and doesn't do on the internet; on request; sealed.
#[derive(Clone, Serialize)]
pub struct InternetPolicy {
    pub practice: String,
    pub therapist: String,
}

/// Asks for the card (name, telephone, place, trusted person); sealed.
#[derive(Clone, Serialize)]
pub struct CardRequest {
    pub practice: String,
}

/// Another therapist takes over, if the client agrees; sealed.
#[derive(Clone, Serialize)]
pub struct TransferOffer {
    pub practice: String,
    pub from: String,
    pub to: TherapistFacts,
}

/// The therapist's own words about the treatment, with what Cadre adds; sealed.
#[derive(Clone, Serialize)]
pub struct OwnWords {
    pub practice: String,
    pub text: String,
    /// The frame's third element.
    pub fallback: String,
    pub lines: Vec<Line>,
}

/// `/decline`, after the assessment.
pub type Declined = OwnWords;
/// `/suspend`.
pub type Suspended = OwnWords;
/// `/end`: an ending is agreed, letters go on until the discharge.
pub type Ending = OwnWords;
/// `/discharge`.
pub type Farewell = OwnWords;

/// A person asks how things are, after a silence; sealed.
#[derive(Clone, Serialize)]
pub struct CheckIn {
    pub practice: String,
    /// The client's last letter.
    pub last: Option<DateTime<Utc>>,
    pub lines: Vec<Line>,
}

/// The rhythm rests; sealed.
#[derive(Clone, Serialize)]
pub struct Paused {
    pub practice: String,
    /// The client's own `PAUSE`; else the therapist's.
    pub by_client: bool,
    pub lines: Vec<Line>,
}

/// The rhythm runs again; sealed.
#[derive(Clone, Serialize)]
pub struct Resumed {
    pub practice: String,
    pub next: Option<DateTime<Utc>>,
    pub lines: Vec<Line>,
}

/// Answer to the client's own `STOP`; sealed.
#[derive(Clone, Serialize)]
pub struct Stopped {
    pub practice: String,
    pub lines: Vec<Line>,
}

/// What happens with mail in the present state, told once; sealed. Not for discharged: see [`AfterDischarge`].
#[derive(Clone, Serialize)]
pub struct StateNotice {
    pub practice: String,
    pub state: ClientState,
    /// The pause is the client's own, and `RESUME` ends it; else it is the therapist's.
    pub by_client: bool,
    pub fallback: String,
    pub lines: Vec<Line>,
}

/// What happens with mail after the end (discharged, archived, declined), told once; sealed.
#[derive(Clone, Serialize)]
pub struct AfterDischarge {
    pub practice: String,
    pub fallback: String,
    pub lines: Vec<Line>,
}

/// A meeting by video is proposed; a neutral invitation is attached; sealed.
#[derive(Clone, Serialize)]
pub struct Video {
    pub practice: String,
    pub at: DateTime<Utc>,
    pub url: Option<String>,
    /// The therapist's own words, where there are some.
    pub text: Option<String>,
}

/// The client's page; sealed.
#[derive(Clone, Serialize)]
pub struct Guide {
    pub practice: String,
    /// [`super::guide`]; the same where it is empty.
    pub guide: String,
}

/// The letter has words of danger to oneself: lines first. In clear (`neutral_name` as `name`) where the letter was.
#[derive(Clone, Serialize)]
pub struct Safety {
    /// The practice's name, or the neutral one in clear.
    pub name: String,
    pub arrived: DateTime<Utc>,
    /// When a reply is expected; None where none is owed.
    pub expected: Option<DateTime<Utc>>,
    pub lines: Vec<Line>,
}

/// The same for violence, with its own lines and no others.
pub type SafetyViolence = Safety;

/// Answer to a stranger whose letter had words of danger; in clear.
#[derive(Clone, Serialize)]
pub struct StrangerSafety {
    pub neutral_name: String,
    pub lines: Vec<Line>,
}

/// First letter of a turn in an absence; sealed.
#[derive(Clone, Serialize)]
pub struct AcknowledgementAbsence {
    pub practice: String,
    pub arrived: DateTime<Utc>,
    /// Last day of the absence, where it is known.
    pub until: Option<NaiveDate>,
    /// The slot at which the reply is due.
    pub expected: Option<DateTime<Utc>>,
    /// Who reads meanwhile, where the client agreed.
    pub locum: Option<String>,
    pub lines: Vec<Line>,
}

/// An absence, before it and at its start; sealed.
#[derive(Clone, Serialize)]
pub struct AbsencePlanned {
    pub practice: String,
    pub therapist: String,
    pub from: NaiveDate,
    pub until: NaiveDate,
    /// The first slot after it.
    pub next: Option<DateTime<Utc>>,
    /// Who could read meanwhile, and whether the client agreed.
    pub locum: Option<String>,
    pub locum_agreed: bool,
    pub fallback: String,
    pub lines: Vec<Line>,
}

/// On the first day.
pub type AbsenceStart = AbsencePlanned;

/// The therapist can't answer, unforeseen; sealed.
#[derive(Clone, Serialize)]
pub struct AbsenceUnplanned {
    pub practice: String,
    pub therapist: String,
    /// None: not known yet.
    pub until: Option<NaiveDate>,
    pub colleague: Option<String>,
    pub fallback: String,
    pub lines: Vec<Line>,
}

/// The therapist is back; sealed.
#[derive(Clone, Serialize)]
pub struct AbsenceReturn {
    pub practice: String,
    pub therapist: String,
    /// It was announced and won't be.
    pub cancelled: bool,
    /// When replies leave again.
    pub next: Option<DateTime<Utc>>,
    /// The correspondence rests, absence or not.
    pub paused: bool,
    pub lines: Vec<Line>,
}

/// Who reads in the absence, to a client who agreed; sealed.
#[derive(Clone, Serialize)]
pub struct Locum {
    pub practice: String,
    pub therapist: String,
    pub locum: TherapistFacts,
    pub from: NaiveDate,
    pub until: Option<NaiveDate>,
    pub lines: Vec<Line>,
}

/// The record of a client as they asked for it; sealed.
#[derive(Clone, Serialize)]
pub struct Export {
    pub practice: String,
    pub made: DateTime<Utc>,
    pub letters: u32,
}

/// The last letter before a record is erased; sealed.
#[derive(Clone, Serialize)]
pub struct Erasure {
    pub practice: String,
    pub at: DateTime<Utc>,
}

/// What was exposed, when, and by which key; sealed.
#[derive(Clone, Serialize)]
pub struct Breach {
    pub practice: String,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// What was exposed, in the operator's words.
    pub what: String,
    pub fallback: String,
}

/// Crisis words in a letter.
#[derive(Clone, Serialize)]
pub struct Alert {
    /// None: a stranger's request.
    pub code: Option<ClientCode>,
    pub label: Option<String>,
    /// `H3` or `N-3F…`, where the letter is held or a request.
    pub number: Option<String>,
    pub class: CrisisClass,
    /// Ids of the rules, such as `fr.a.want-to-die`.
    pub rules: Vec<String>,
    pub state: Option<ClientState>,
    pub verdict: Verdict,
    pub arrived: DateTime<Utc>,
    /// How often it was said before: 0 the first time.
    pub repeated: u32,
    /// A safety letter went to the client.
    pub safety_sent: bool,
    /// The letter is passed on to the reader, or can be released by its number.
    pub passed_on: bool,
    /// The client's card is attached.
    pub card: bool,
    /// It goes to the locum, in an absence.
    pub locum: bool,
}

/// A step of somebody's enrolment, for the therapist.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EnrolmentStep {
    /// The one reminder was sent.
    Reminded,
    /// A key came: to be compared by voice.
    Offered {
        received: Received,
        own_fingerprint: String,
        fingerprint: String,
        words: Vec<String>,
        /// The mail was signed by the key that was pinned until now.
        signed_by_old: bool,
        /// Other keys from this address that wait as well: the words tell which is theirs.
        others: u32,
    },
    /// The answer's key can't be taken; the person was told how to answer.
    Problem {
        problem: KeyProblem,
    },
    /// Consent, by a letter of this verdict.
    Consented {
        version: u32,
        verdict: Verdict,
        locum: bool,
        card: bool,
    },
    /// `J'ACCEPTE` that answered no current letter.
    ConsentUnclear,
    /// The person declined.
    Refused,
    /// No key was accepted in 30 days: the address is forgotten.
    Forgotten,
    /// Agreed to be taken over by another therapist.
    Transferred {
        to: String,
        /// Replies that waited and will not leave.
        withdrawn: u32,
    },
    /// Taken over from another therapist.
    TakenOver {
        from: String,
    },
    /// The client's own word. `letter`: the therapist's own words, which waited and are withdrawn by it.
    StoppedByClient {
        withdrawn: u32,
        letter: Option<Kind>,
    },
    PausedByClient {
        withdrawn: u32,
        letter: Option<Kind>,
    },
    ResumedByClient {
        state: ClientState,
        letter: Option<Kind>,
    },
    /// Agreed to, or withdrew, a locum.
    LocumAgreed {
        agreed: bool,
    },
    /// An answer without a key: sealed letters were offered. Where the person wants them, this is the passphrase to tell.
    SealedLettersOffered {
        passphrase: String,
    },
    /// The operator has entered somebody whose letters are sealed: this is the passphrase to tell.
    SealedLettersWanted {
        passphrase: String,
    },
    /// The person has asked for the passphrase by mail.
    PassphraseAsked,
    /// So many wrong answer words came on one day that none count until the next letter.
    WordsGuessed,
}

/// What has happened in somebody's enrolment or life; to the therapist.
#[derive(Clone, Serialize)]
pub struct Enrolment {
    pub code: ClientCode,
    pub label: Option<String>,
    pub state: ClientState,
    pub step: EnrolmentStep,
}

/// The client's card, to the therapist, on `/card`.
#[derive(Clone, Serialize)]
pub struct CardCopy {
    pub code: ClientCode,
    pub label: Option<String>,
    /// None: there is no card yet.
    pub written: Option<DateTime<Utc>>,
}

/// To the locum when cover begins.
#[derive(Clone, Serialize)]
pub struct LocumCover {
    pub absent: String,
    pub from: NaiveDate,
    pub until: Option<NaiveDate>,
    pub clients: Vec<ClientCode>,
}

/// To a therapist whose key isn't known yet; in clear, neutral, with the practice's key.
#[derive(Clone, Serialize)]
pub struct TherapistWelcome {
    pub neutral_name: String,
    pub fingerprint: String,
}

/// One letter as it will leave.
#[derive(Clone, Serialize)]
pub struct Specimen {
    pub name: String,
    pub subject: String,
    pub text: String,
}

/// Every letter as it will leave in the therapist's name.
#[derive(Clone, Serialize)]
pub struct Specimens {
    pub letters: Vec<Specimen>,
}
