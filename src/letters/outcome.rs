//! What a receipt tells: the outcome of each command, and of the letter.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use crate::model::{Channel, ClientCode, ClientState, Kind};

/// Why an accepted reply waits for a later slot than the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitReason {
    /// Another reply already leaves at the earlier slot, and this one answers a later letter.
    AnswersLaterLetter,
    /// The other reply is being handed over at this moment and can't be replaced any more.
    AlreadyLeaving,
    /// A reply has already left on that day.
    DayTaken,
}

/// One thing that is now true.
#[derive(Clone, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// A reply waits for its slot. `covers`: arrival of the letters it answers.
    Accepted {
        leaves: DateTime<Utc>,
        covers: Vec<DateTime<Utc>>,
    },
    /// Came within the grace: it leaves at once.
    LeavesNow,
    /// Took the place of the reply that waited.
    Replaced {
        leaves: DateTime<Utc>,
    },
    /// Waits for a later slot.
    Waits {
        leaves: DateTime<Utc>,
        why: WaitReason,
    },
    /// `rhythm.second = "hold"`: kept beside the first until `/release` or `/discard`.
    HeldReply {
        number: String,
    },
    /// The waiting reply is withdrawn; `due`: the reopened turn is due then.
    Cancelled {
        due: Option<DateTime<Utc>>,
    },
    /// There was nothing to withdraw.
    NothingToCancel,
    /// Sent outside the count. `line`: the first of the letter that had waited.
    Urgent {
        line: Option<String>,
    },
    /// The practical word was sent.
    Now,
    /// The turn is answered without a letter; `line`: what the client gets. `leaves` None: `/close silent`.
    Closed {
        leaves: Option<DateTime<Utc>>,
        line: Option<String>,
    },
    Released {
        number: String,
    },
    Discarded {
        number: String,
    },
    /// The label now is.
    Label {
        label: String,
    },
    Note,
    /// The client's days now are, in order, 0 = Monday; empty: those of the practice.
    Rhythm {
        days: Vec<u8>,
        next: Option<DateTime<Utc>>,
    },
    /// The digest was asked for and follows.
    Digest,
    /// So many replies that waited are withdrawn for good.
    Withdrawn {
        replies: u32,
    },
    /// Replies that waited are kept under these numbers, until `/release` or `/discard`.
    PutAside {
        numbers: Vec<String>,
    },
    /// The client's state now is; `letter`: what goes to the client. `leaves`: not at once but then, and until then
    /// `/cancel` takes letter and state back.
    State {
        state: ClientState,
        letter: Option<Kind>,
        leaves: Option<DateTime<Utc>>,
    },
    /// The letter of an order is withdrawn, and the state is again what it was; `due`: the reopened turn is due then.
    TakenBack {
        letter: Kind,
        state: ClientState,
        due: Option<DateTime<Utc>>,
    },
    /// The letter of an earlier order hadn't left yet; what is ordered now has ended it.
    LetterWithdrawn {
        letter: Kind,
    },
    /// The invitation was sent; the conversation's code.
    Invited {
        code: ClientCode,
        until: DateTime<Utc>,
    },
    /// The key is pinned. `asked`: the letter about the frame went out.
    KeyPinned {
        fingerprint: String,
        asked: bool,
    },
    /// A new key was asked for; replies wait meanwhile.
    Rekey,
    Mute {
        on: bool,
    },
    Discreet {
        on: bool,
    },
    SafetyQuiet {
        on: bool,
    },
    CheckIn,
    /// The card follows.
    CardFollows,
    /// The card was kept, sealed.
    CardKept,
    /// The client was asked for it.
    CardAsked,
    Video {
        at: DateTime<Utc>,
    },
    /// The channel now is.
    Channel {
        channel: Channel,
    },
    /// The passphrase of the sealed letters from now on: to be told by voice, then `/told`. `first`: there was none.
    Passphrase {
        passphrase: String,
        first: bool,
    },
    /// It was told: letters leave. `asked`: that about the frame went out.
    Told {
        asked: bool,
    },
    /// Signs that the sealed letter's font lacks stand in it as their codes.
    MissingSigns {
        signs: String,
    },
    /// `clients`: how many were or will be written to; `announced`: when the letter before it leaves.
    Absent {
        from: NaiveDate,
        until: NaiveDate,
        locum: Option<String>,
        clients: u32,
        announced: Option<DateTime<Utc>>,
    },
    /// `from`: it had not begun, and will not. `next`: the next slot.
    Back {
        from: Option<NaiveDate>,
        until: Option<NaiveDate>,
        next: Option<DateTime<Utc>>,
        clients: u32,
    },
    /// The mode of the correspondence now is.
    Mode {
        mode: crate::model::Mode,
    },
    /// The client was asked whether the other therapist may take over.
    TransferOffered {
        to: String,
    },
}

/// Answer to the therapist's mail: what is now true.
#[derive(Clone, Serialize)]
pub struct Receipt {
    pub code: Option<ClientCode>,
    pub label: Option<String>,
    pub outcomes: Vec<Outcome>,
    /// First line of the reply as it will leave.
    pub first_line: Option<String>,
    /// The therapist's mail was signed but not encrypted.
    pub travelled_in_clear: bool,
}
