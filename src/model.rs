//! Newtypes, states and facts that every other module shares. No I/O, no clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Signs used in codes: no I, O, 0 or 1, which people confuse when they read aloud.
pub const CODE_ALPHABET: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/// A word that does not belong to the closed list it was read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a known {what}")]
pub struct UnknownWord {
    pub what: &'static str,
    pub value: String,
}

/// Declares an enum whose members have one stable word each, used in the database and in JSON.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $what:literal { $($(#[$vmeta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every member, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable word of this member.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::UnknownWord;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                match s {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::model::UnknownWord { what: $what, value: s.to_owned() }),
                }
            }
        }
    };
}
pub(crate) use words;

words!(
    /// A language of letters.
    Language, "language" { Fr = "fr", En = "en" }
);

words!(
    /// How a client's confidential letters travel.
    Channel, "channel" { OpenPgp = "openpgp", Pdf = "pdf" }
);

words!(
    /// What the signature check found (SPEC section 3).
    Verdict, "verdict" {
        Verified = "verified",
        Vouched = "vouched",
        Unsigned = "unsigned",
        UnknownSigner = "unknown-signer",
        WrongSigner = "wrong-signer",
        Bad = "bad",
        Partial = "partial",
        Replayed = "replayed",
        Undecryptable = "undecryptable",
    }
);

words!(
    /// A loud word beside a verdict.
    Mark, "mark" {
        /// Good pinned signature, but From is nobody's registered address.
        OtherAddress = "other-address",
        /// Registered From, signed by a certificate that is not pinned.
        NewKey = "new-key",
        /// No From, several, or one that parsers read in different ways.
        AmbiguousFrom = "ambiguous-from",
        /// The signature was not meant for this practice (surreptitious forwarding).
        NotForUs = "not-for-us",
        /// It travelled unencrypted.
        InClear = "in-clear",
        /// The mailbox's own server says that DMARC failed.
        DmarcFail = "dmarc-fail",
        /// Encrypted data that failed its integrity check.
        IntegrityFailed = "integrity-failed",
        /// A signature by a key that is revoked, expired or too weak.
        WeakOrExpiredKey = "weak-or-expired-key",
        /// Has parts that were put aside (executables, over-long, unreadable).
        AttachmentHeld = "attachment-held",
        /// An automatic answer (RFC 3834).
        Automatic = "automatic",
        /// The client is not in an active state.
        ClientState = "client-state",
        /// The client marked the letter `[brut]` in its subject.
        Raw = "raw",
        /// The client marked the letter `[structuré]` in its subject.
        Structured = "structured",
        /// `STOP` in mail whose writer isn't proven: the therapist decides.
        AsksStop = "asks-stop",
        /// `PAUSE`, likewise.
        AsksPause = "asks-pause",
        /// `REPRENDRE` or `RESUME`, likewise.
        AsksResume = "asks-resume",
        /// Asks for the passphrase by mail.
        AsksPassphrase = "asks-passphrase",
        /// Answer words that are not those of the last letters.
        WrongWords = "wrong-words",
        /// Too many wrong answer words came that day: none count until the next letter.
        WordsBlocked = "words-blocked",
    }
);

words!(
    /// Life of a client (SPEC section 5).
    ClientState, "client state" {
        Request = "request",
        Invited = "invited",
        ConsentPending = "consent_pending",
        Assessment = "assessment",
        Active = "active",
        Paused = "paused",
        Suspended = "suspended",
        Ending = "ending",
        Discharged = "discharged",
        Archived = "archived",
        Erased = "erased",
        Declined = "declined",
    }
);

impl Kind {
    /// Whether it is a letter of the therapist's own words about the treatment itself: `/decline`, `/suspend`, `/end`,
    /// `/discharge`.
    pub const fn is_own_words(self) -> bool {
        matches!(self, Self::Declined | Self::Suspended | Self::Ending | Self::Farewell)
    }
}

impl ClientState {
    /// Whether the daily rhythm runs: turns open, replies leave, misses count.
    pub const fn in_treatment(self) -> bool {
        matches!(self, Self::Assessment | Self::Active | Self::Ending)
    }
}

words!(
    /// How the correspondence stands to meetings: alone, before or after them, or beside them.
    Mode, "mode" { Pure = "pure", Before = "before", After = "after", Mixed = "mixed" }
);

words!(
    /// What the scan for crisis words found in a letter (SPEC section 7).
    CrisisClass, "crisis class" {
        /// Explicit and now: suicide, self-harm, poison just taken.
        A = "A",
        /// Violence that threatens the writer or that the writer threatens.
        V = "V",
        /// Indirect, past, negated.
        B = "B",
    }
);

words!(
    /// Who entered an absence: the therapist by mail, the file, or the operator.
    AbsenceOrigin, "origin of an absence" { Mail = "mail", Configuration = "configuration", Operator = "operator" }
);

words!(
    /// What the scan of one message came to; the worst class where it found several.
    Scanned, "result of a scan" {
        A = "A",
        V = "V",
        B = "B",
        /// It couldn't be read, or not all of it: voice, pictures, documents.
        NotAnalysed = "not-analysed",
        Clear = "clear",
    }
);

words!(
    /// Which way a message went, seen from the practice.
    Direction, "direction" { In = "in", Out = "out" }
);

words!(
    /// What a stored message or an outgoing mail is. Every kind that can leave is named here, so
    /// that the canary test can go through all of them.
    Kind, "kind" {
        // Incoming.
        Letter = "letter",
        Request = "request",
        Automatic = "automatic",
        Note = "note",
        // From the therapist to the client.
        Reply = "reply",
        Urgent = "urgent",
        Now = "now",
        Closed = "closed",
        // Cadre's own letters to the client.
        Acknowledgement = "acknowledgement",
        MissedDay = "missed-day",
        AboutKeys = "about-keys",
        Undecryptable = "undecryptable",
        TooLarge = "too-large",
        KeyExpiry = "key-expiry",
        AboutWords = "about-words",
        AboutPassphrase = "about-passphrase",
        KeyRevoked = "key-revoked",
        PracticeKey = "practice-key",
        // Enrolment, frame and consent.
        Invitation = "invitation",
        InvitationReminder = "invitation-reminder",
        InvitationProblem = "invitation-problem",
        InvitationDeclined = "invitation-declined",
        KeyArrived = "key-arrived",
        Frame = "frame",
        ConsentRenewal = "consent-renewal",
        ConsentRecorded = "consent-recorded",
        ConsentUnclear = "consent-unclear",
        InternetPolicy = "internet-policy",
        CardRequest = "card-request",
        TransferOffer = "transfer-offer",
        // The therapist's own words about the treatment, with what Cadre adds.
        Declined = "declined",
        Suspended = "suspended",
        Ending = "ending",
        Farewell = "farewell",
        // The life of a client.
        CheckIn = "check-in",
        Paused = "paused",
        Resumed = "resumed",
        Stopped = "stopped",
        Erasure = "erasure",
        StateNotice = "state-notice",
        AfterDischarge = "after-discharge",
        Video = "video",
        Guide = "guide",
        // Crisis.
        Safety = "safety",
        SafetyViolence = "safety-violence",
        // Absence.
        AbsencePlanned = "absence-planned",
        AbsenceStart = "absence-start",
        AbsenceUnplanned = "absence-unplanned",
        AbsenceReturn = "absence-return",
        Locum = "locum",
        // To a stranger.
        Stranger = "stranger",
        StrangerSafety = "stranger-safety",
        // To staff.
        Forward = "forward",
        Digest = "digest",
        Reminder = "reminder",
        Receipt = "receipt",
        Refusal = "refusal",
        Question = "question",
        HeldNotice = "held-notice",
        StaffKeyExpiry = "staff-key-expiry",
        StaffKeyRevoked = "staff-key-revoked",
        StaffPracticeKey = "staff-practice-key",
        DeliveryFailure = "delivery-failure",
        Help = "help",
        Alert = "alert",
        Enrolment = "enrolment",
        CardCopy = "card-copy",
        LocumCover = "locum-cover",
        LocumForward = "locum-forward",
        TherapistWelcome = "therapist-welcome",
        Specimens = "specimens",
        // To the operator.
        HealthAlarm = "health-alarm",
        RoundTrip = "round-trip",
    }
);

words!(
    /// Where a stored message stands (SPEC section 12).
    MessageState, "message state" {
        Filed = "filed",
        Held = "held",
        Released = "released",
        Discarded = "discarded",
        Waiting = "waiting",
        Leaving = "leaving",
        Sent = "sent",
        Cancelled = "cancelled",
        Replaced = "replaced",
        Failed = "failed",
    }
);

words!(
    /// Where an outgoing mail stands.
    OutboxState, "outbox state" {
        /// Waits for `not_before` (or for its slot).
        Waiting = "waiting",
        /// Put aside by the operator.
        Held = "held",
        /// An attempt has been committed.
        Leaving = "leaving",
        Sent = "sent",
        Cancelled = "cancelled",
        Replaced = "replaced",
        Failed = "failed",
    }
);

words!(
    /// What a mail system says became of a mail, the worst first.
    Fate, "fate" {
        Failed = "failed",
        Delayed = "delayed",
        /// Said in words that aren't known.
        Unclear = "unclear",
        /// Delivered, or handed on to a system that says no more.
        Relayed = "relayed",
    }
);

words!(
    /// A client's turn: the letters since the last reply was accepted.
    TurnState, "turn state" { None = "none", Open = "open", Answered = "answered" }
);

words!(
    /// What a second reply does before the first has left (SPEC section 4).
    SecondReply, "second reply policy" { Auto = "auto", Hold = "hold", Replace = "replace", Refuse = "refuse" }
);

words!(
    /// What becomes of an original (SPEC section 2).
    Filing, "filing mode" { Folders = "folders", Delete = "delete", Keep = "keep" }
);

words!(
    /// When letters are passed to the therapist.
    Forwarding, "forwarding mode" { Each = "each", Daily = "daily" }
);

words!(
    /// What is done with unsigned letters of clients.
    UnsignedPolicy, "unsigned policy" { Flag = "flag", Hold = "hold" }
);

words!(
    /// Whether strangers get an answer.
    StrangersPolicy, "strangers policy" { Answer = "answer", Silent = "silent" }
);

/// A client's code such as `C-7K2M`: what operators and therapists see instead of a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientCode(String);

impl ClientCode {
    /// Builds a code from 20 random bits.
    pub fn from_bits(bits: u32) -> Self {
        let mut code = String::from("C-");
        for shift in [15, 10, 5, 0] {
            code.push(char::from(CODE_ALPHABET[(bits >> shift & 31) as usize]));
        }
        Self(code)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for ClientCode {
    type Err = UnknownWord;

    /// Reads `C-7K2M` in any case, with or without the `C-`.
    fn from_str(s: &str) -> Result<Self, UnknownWord> {
        let upper = s.trim().to_ascii_uppercase();
        let signs = upper.strip_prefix("C-").unwrap_or(&upper);
        if signs.len() == 4 && signs.bytes().all(|b| CODE_ALPHABET.contains(&b)) {
            Ok(Self(format!("C-{signs}")))
        } else {
            Err(UnknownWord { what: "client code", value: s.to_owned() })
        }
    }
}

impl TryFrom<String> for ClientCode {
    type Error = UnknownWord;
    fn try_from(s: String) -> Result<Self, UnknownWord> {
        s.parse()
    }
}

impl From<ClientCode> for String {
    fn from(code: ClientCode) -> Self {
        code.0
    }
}

/// The row of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub i64);

/// The row of a stored message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageRow(pub i64);

/// The row of an outgoing mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxRow(pub i64);

/// The row of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TurnRow(pub i64);

/// The row of an absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AbsenceRow(pub i64);

/// A therapist's `id` in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TherapistId(pub String);

impl fmt::Display for TherapistId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Who a pinned certificate or a registered address belongs to. It is one role, never two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Person {
    Client(ClientId),
    Therapist(TherapistId),
}

/// An address as typed, with its canonical form for comparison.
///
/// Canonical: NFC, domain as lower-case A-label (RFC 5891), local part folded to lower case.
/// `Debug` shows nothing: addresses never reach a log.
#[derive(Clone, Eq)]
pub struct Address {
    typed: String,
    canonical: String,
}

/// Why a text is not one address (RFC 5321 section 4.1.2). Never carries the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("the address has no single `@` between a name and a domain")]
    NoAt,
    #[error("the address has a sign that mail servers don't agree about (space, quote, comma, control or bracket)")]
    BadSign,
    #[error("the address's domain is not a valid host name")]
    BadDomain,
    #[error("the address is longer than 254 bytes")]
    TooLong,
}

impl Address {
    /// Reads one bare addr-spec. Quoted local parts, comments and groups are refused on purpose:
    /// programs disagree about them.
    ///
    /// # Errors
    /// [`AddressError`], which never repeats the text.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        use unicode_normalization::UnicodeNormalization;
        let typed: String = text.trim().nfc().collect();
        if typed.len() > 254 {
            return Err(AddressError::TooLong);
        }
        let (local, domain) = typed.rsplit_once('@').ok_or(AddressError::NoAt)?;
        if local.is_empty() || domain.is_empty() {
            return Err(AddressError::NoAt);
        }
        if local.chars().any(|c| c.is_control() || c.is_whitespace() || "\"(),:;<>@[\\]".contains(c)) {
            return Err(AddressError::BadSign);
        }
        let ascii = idna::domain_to_ascii(domain).map_err(|_| AddressError::BadDomain)?;
        let good = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if ascii.is_empty() || !ascii.split('.').all(good) {
            return Err(AddressError::BadDomain);
        }
        let canonical = format!("{}@{}", local.to_lowercase(), ascii.to_ascii_lowercase());
        if canonical.len() > 254 {
            return Err(AddressError::TooLong);
        }
        Ok(Self { typed, canonical })
    }

    /// As the person typed it: what mail is sent to.
    pub fn as_typed(&self) -> &str {
        &self.typed
    }

    /// What addresses are compared and looked up by.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The domain as a lower-case A-label.
    pub fn domain(&self) -> &str {
        self.canonical.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl std::hash::Hash for Address {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back_in_any_case() {
        let code = ClientCode::from_bits(0xfffff);
        assert_eq!(code.as_str(), "C-ZZZZ");
        assert_eq!("zzzz".parse::<ClientCode>().unwrap(), code);
        assert!("C-7K0M".parse::<ClientCode>().is_err(), "0 is not in the alphabet");
        assert!("C-7K2".parse::<ClientCode>().is_err());
    }

    #[test]
    fn addresses_compare_by_canonical_form() {
        let a = Address::parse("Marie.B@BÜCHER.example").unwrap();
        let b = Address::parse("marie.b@xn--bcher-kva.example").unwrap();
        assert_eq!(a, b);
        assert_eq!(a.as_typed(), "Marie.B@BÜCHER.example");
        assert_eq!(format!("{a:?}"), "Address(…)");
    }

    #[test]
    fn addresses_that_parsers_read_differently_are_refused() {
        for bad in
            ["", "a", "@b", "a@", "a@b@c d", "\"a\"@b.example", "a(x)@b.example", "g:a@b;", "a@b..c", "a\n@b.example"]
        {
            assert!(Address::parse(bad).is_err(), "{bad:?}");
        }
    }
}
