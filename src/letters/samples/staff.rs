//! Made-up facts for the letters to staff about the frame.

use chrono::NaiveDate;
use serde_json::Value as Json;

use super::{FINGERPRINT, at, code, json_of, label};
use crate::letters::facts::*;
use crate::model::{Channel, ClientCode, ClientState, CrisisClass, Kind, Mark, Verdict};

/// Made-up code words.
fn words() -> Vec<String> {
    ["abricot", "rivage", "tambour", "lilas", "octobre", "voisin"].map(str::to_owned).to_vec()
}

/// April 2026.
fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 4, day).unwrap_or_default()
}

/// Each class; repeated, held, a request, to a locum; letters that stay where they are.
pub(super) fn alerts() -> Vec<Json> {
    let base = |class, rule: &str| Alert {
        code: Some(code()),
        label: label(),
        number: None,
        class,
        rules: vec![rule.to_owned()],
        state: Some(ClientState::Active),
        verdict: Verdict::Verified,
        arrived: at(2, 22, 40),
        repeated: 0,
        safety_sent: true,
        passed_on: true,
        card: true,
        locum: false,
    };
    let first = base(CrisisClass::A, "fr.a.want-to-die");
    let held = Alert {
        number: Some("H3".to_owned()),
        verdict: Verdict::WrongSigner,
        safety_sent: false,
        card: false,
        ..first.clone()
    };
    let held_for_locum = Alert { label: None, locum: true, ..held.clone() };
    let request = Alert {
        code: None,
        label: None,
        state: None,
        number: Some("N-3F".to_owned()),
        verdict: Verdict::Unsigned,
        card: false,
        ..first.clone()
    };
    let all = [
        first.clone(),
        Alert { repeated: 1, ..first.clone() },
        Alert {
            repeated: 4,
            label: None,
            card: false,
            locum: true,
            rules: vec!["fr.a.want-to-die".to_owned(), "fr.a.pills".to_owned()],
            ..first.clone()
        },
        Alert { state: Some(ClientState::Paused), ..base(CrisisClass::V, "fr.v.he-will-kill-me") },
        Alert { safety_sent: false, ..base(CrisisClass::B, "fr.b.better-without-me") },
        Alert { passed_on: false, ..held.clone() },
        held,
        Alert { number: None, passed_on: false, ..request.clone() },
        Alert { passed_on: false, locum: true, label: None, card: false, ..first },
        held_for_locum,
        request,
    ];
    all.iter().map(json_of).collect()
}

/// Every step, each in the state in which it happens.
pub(super) fn enrolments() -> Vec<Json> {
    use ClientState as S;
    use EnrolmentStep as E;
    let offered = |signed, encrypted, signed_by_old| E::Offered {
        received: Received { at: at(2, 22, 40), signed, encrypted },
        own_fingerprint: FINGERPRINT.to_owned(),
        fingerprint: FINGERPRINT.chars().rev().collect(),
        words: words(),
        signed_by_old,
        others: u32::from(signed_by_old),
    };
    let consented = |verdict, locum, card| E::Consented { version: 3, verdict, locum, card };
    let name = || "Dr Martin".to_owned();
    let mut steps = vec![
        (S::Invited, offered(true, true, false)),
        (S::Invited, offered(false, false, false)),
        (S::Active, offered(true, true, true)),
        (S::Active, offered(true, false, false)),
        (S::Invited, E::Reminded),
    ];
    let problems = [
        KeyProblem::NoKey,
        KeyProblem::SeveralKeys,
        KeyProblem::Expired,
        KeyProblem::Revoked,
        KeyProblem::TooWeak,
        KeyProblem::NoEncryption,
        KeyProblem::NoSigning,
        KeyProblem::Unreadable,
        KeyProblem::Taken,
        KeyProblem::OtherAddress,
    ];
    steps.extend(problems.map(|problem| (S::Invited, E::Problem { problem })));
    steps.extend([
        (S::Assessment, consented(Verdict::Verified, true, true)),
        (S::Active, consented(Verdict::Vouched, false, false)),
        (S::ConsentPending, E::ConsentUnclear),
        (S::Declined, E::Refused),
        (S::Erased, E::Forgotten),
        (S::Active, E::Transferred { to: name(), withdrawn: 0 }),
        (S::Active, E::Transferred { to: name(), withdrawn: 1 }),
        (S::Active, E::Transferred { to: name(), withdrawn: 2 }),
        (S::ConsentPending, E::TakenOver { from: name() }),
        (S::Discharged, E::StoppedByClient { withdrawn: 0, letter: None }),
        (S::Discharged, E::StoppedByClient { withdrawn: 1, letter: Some(Kind::Ending) }),
        (S::Paused, E::PausedByClient { withdrawn: 0, letter: Some(Kind::Ending) }),
        (S::Paused, E::PausedByClient { withdrawn: 2, letter: None }),
        (S::Active, E::ResumedByClient { state: S::Active, letter: None }),
        (S::Suspended, E::ResumedByClient { state: S::Suspended, letter: None }),
        (S::Active, E::ResumedByClient { state: S::Active, letter: Some(Kind::Farewell) }),
        (S::Active, E::LocumAgreed { agreed: true }),
        (S::Active, E::LocumAgreed { agreed: false }),
        (S::Invited, E::SealedLettersOffered { passphrase: PHRASE.to_owned() }),
        (S::Active, E::SealedLettersWanted { passphrase: PHRASE.to_owned() }),
        (S::Active, E::PassphraseAsked),
        (S::Active, E::WordsGuessed),
    ]);
    let letter = |(state, step)| json_of(&Enrolment { code: code(), label: label(), state, step });
    steps.into_iter().map(letter).collect()
}

pub(super) fn card_copies() -> Vec<Json> {
    let copy = |written| json_of(&CardCopy { code: code(), label: label(), written });
    vec![copy(Some(at(2, 12, 0))), copy(None)]
}

pub(super) fn covers() -> Vec<Json> {
    let cover = |until, clients: Vec<ClientCode>| {
        json_of(&LocumCover { absent: "Dr Exemple".to_owned(), from: day(6), until, clients })
    };
    vec![
        cover(Some(day(17)), vec![code(), ClientCode::from_bits(7)]),
        cover(None, vec![code()]),
        cover(Some(day(17)), Vec::new()),
    ]
}

pub(super) fn specimens() -> Vec<Json> {
    let specimen = |name: &str, subject: &str, text: &str| Specimen {
        name: name.to_owned(),
        subject: subject.to_owned(),
        text: text.to_owned(),
    };
    vec![json_of(&Specimens {
        letters: vec![
            specimen("stranger", "Correspondance", "112.\n\nCorrespondance\n"),
            specimen("reply-frame", "", "2 / 3.\n"),
        ],
    })]
}

/// What can be found in a letter, on top of a plain forward.
pub(super) fn scanned(base: &Forward) -> Vec<Forward> {
    let found =
        |scan: &str, marks: &[Mark]| Forward { scan: Some(scan.to_owned()), marks: marks.to_vec(), ..base.clone() };
    vec![found("A", &[]), found("V", &[]), found("B", &[]), found("not-analysed", &[Mark::AttachmentHeld])]
}

/// Six words of the list.
const PHRASE: &str = "abricot-balade-citron-cuisine-lanterne-voilier";

/// Outcomes of the commands about the frame.
pub(super) fn outcomes() -> Vec<Outcome> {
    use ClientState as S;
    let state = |state, letter| Outcome::State { state, letter, leaves: None };
    let waits = |state, letter| Outcome::State { state, letter: Some(letter), leaves: Some(at(3, 17, 0)) };
    let back = |letter, state, due| Outcome::TakenBack { letter, state, due };
    let mut all = vec![
        state(S::Assessment, Some(Kind::Resumed)),
        state(S::Active, None),
        state(S::Active, Some(Kind::Resumed)),
        state(S::Paused, Some(Kind::Paused)),
        state(S::Suspended, Some(Kind::Suspended)),
        state(S::Ending, Some(Kind::Ending)),
        state(S::Discharged, Some(Kind::Farewell)),
        state(S::Discharged, None),
        state(S::Declined, Some(Kind::Declined)),
        state(S::Declined, None),
        state(S::ConsentPending, Some(Kind::Frame)),
        state(S::Archived, None),
        waits(S::Declined, Kind::Declined),
        waits(S::Suspended, Kind::Suspended),
        waits(S::Ending, Kind::Ending),
        waits(S::Discharged, Kind::Farewell),
        back(Kind::Declined, S::ConsentPending, None),
        back(Kind::Suspended, S::Active, Some(at(3, 17, 0))),
        back(Kind::Ending, S::Assessment, None),
        back(Kind::Farewell, S::Active, Some(at(3, 17, 0))),
        back(Kind::Farewell, S::Discharged, None),
        Outcome::LetterWithdrawn { letter: Kind::Suspended },
        Outcome::Withdrawn { replies: 1 },
        Outcome::Withdrawn { replies: 2 },
        Outcome::PutAside { numbers: vec!["H3".to_owned(), "H4".to_owned()] },
        Outcome::Invited { code: code(), until: at(32, 12, 0) },
        Outcome::KeyPinned { fingerprint: FINGERPRINT.to_owned(), asked: true },
        Outcome::KeyPinned { fingerprint: FINGERPRINT.to_owned(), asked: false },
        Outcome::Rekey,
        Outcome::Mode { mode: crate::model::Mode::Pure },
        Outcome::Mode { mode: crate::model::Mode::Before },
        Outcome::Mode { mode: crate::model::Mode::After },
        Outcome::Mode { mode: crate::model::Mode::Mixed },
    ];
    for on in [true, false] {
        all.extend([Outcome::Mute { on }, Outcome::Discreet { on }, Outcome::SafetyQuiet { on }]);
    }
    all.extend([
        Outcome::CheckIn,
        Outcome::CardFollows,
        Outcome::CardKept,
        Outcome::CardAsked,
        Outcome::Video { at: at(4, 14, 0) },
        Outcome::Channel { channel: Channel::OpenPgp },
        Outcome::Channel { channel: Channel::Pdf },
        Outcome::Passphrase { passphrase: PHRASE.to_owned(), first: true },
        Outcome::Passphrase { passphrase: PHRASE.to_owned(), first: false },
        Outcome::Told { asked: true },
        Outcome::Told { asked: false },
        Outcome::MissingSigns { signs: "\u{1f984} \u{13000}".to_owned() },
    ]);
    let absent = |locum: Option<&str>, clients, announced| Outcome::Absent {
        from: day(6),
        until: day(17),
        locum: locum.map(str::to_owned),
        clients,
        announced,
    };
    all.extend([
        absent(Some("Dr Martin"), 12, Some(at(23, 6, 0))),
        absent(None, 1, None),
        absent(None, 0, None),
        Outcome::Back { from: None, until: None, next: Some(at(4, 17, 0)), clients: 12 },
        Outcome::Back { from: Some(day(1)), until: Some(day(16)), next: None, clients: 0 },
        Outcome::TransferOffered { to: "Dr Martin".to_owned() },
    ]);
    all
}

/// Reasons for refusing the commands about the frame.
pub(super) fn reasons() -> Vec<RefusalReason> {
    use ClientState as S;
    use RefusalReason as R;
    let few = |command: &str| R::TooFewWords { command: command.to_owned(), words: 7, needed: 20 };
    let state = |command: &str, state| R::NotInState { command: command.to_owned(), state };
    let missing = |all: &[&str]| R::FrameIncomplete { missing: all.iter().map(|m| (*m).to_owned()).collect() };
    vec![
        few("/end"),
        few("/discharge"),
        state("/accept", S::Active),
        state("/decline", S::Active),
        state("/resume", S::Active),
        state("/discharge", S::Archived),
        state("/resume", S::Declined),
        state("/resume", S::Discharged),
        state("/rekey", S::Archived),
        state("/rekey", S::Invited),
        state("/invite", S::Discharged),
        state("/pause", S::Discharged),
        state("/end", S::Paused),
        state("/card", S::Erased),
        R::WrongWords,
        R::NoOffer,
        R::AlreadyRegistered { code: Some(code()) },
        R::AlreadyRegistered { code: None },
        missing(&["price"]),
        missing(&["channel", "price", "fallback", "title", "register", "country"]),
        R::ReplyOwed,
        R::Muted,
        R::ChannelNeedsKey,
        R::NotSealedLetters { command: "/passphrase".to_owned() },
        R::NothingToTell,
        R::UnknownTherapist,
        R::AbsenceDates,
        R::NotAbsent,
        R::AbsentWithoutEnd,
        R::NotForLocum { command: "/discharge".to_owned() },
        R::NotAnAddress,
        R::ClientState { state: S::Invited },
        R::ClientState { state: S::Discharged },
        R::ClientState { state: S::Declined },
        R::ClientState { state: S::Erased },
    ]
}
