//! Made-up facts, to try a template out and to show what a letter looks like. No one here exists.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::model::{ClientCode, ClientState, Kind, Mark, Verdict};

use super::facts::*;
use super::{Line, Name};

mod care;
mod keys;
mod staff;

/// A made-up fingerprint.
const FINGERPRINT: &str = "0123456789ABCDEF0123456789ABCDEF01234567";

/// What a made-up practice calls itself in clear.
const NEUTRAL_NAME: &str = "Correspondance";

/// March 2026, UTC.
fn at(day: i64, hour: i64, minute: i64) -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_513 + day - 1) + TimeDelta::minutes(hour * 60 + minute)
}

fn code() -> ClientCode {
    ClientCode::from_bits(0x28_2a2)
}

fn label() -> Option<String> {
    Some("Marie B.".to_owned())
}

fn lines() -> Vec<Line> {
    let line = |number: &str, note: Option<&str>| Line { number: number.to_owned(), note: note.map(str::to_owned) };
    vec![line("3114", None), line("15", None), line("112", None), line("114", Some("SMS"))]
}

fn json_of(facts: &impl Serialize) -> Json {
    serde_json::to_value(facts).unwrap_or_default()
}

/// Samples of a letter: one for each way it can go.
pub(super) fn of(name: Name) -> Vec<Json> {
    match name {
        Name::Forward => forwards(),
        Name::Receipt => receipts(),
        Name::Refusal => refusals(),
        Name::Digest => digests(),
        Name::HealthAlarm => vec![json_of(&HealthAlarm { items: health() })],
        Name::HeldNotice => {
            let client = NamedFrom { code: Some(ClientCode::from_bits(12)), label: Some("Paul".to_owned()) };
            let therapist = NamedFrom { code: None, label: None };
            [
                (Verdict::WrongSigner, vec![], true, Some(client)),
                (Verdict::WrongSigner, vec![], true, Some(therapist)),
                (Verdict::Bad, vec![Mark::IntegrityFailed], false, None),
            ]
            .into_iter()
            .map(|(verdict, marks, releasable, from)| HeldNotice {
                code: Some(code()),
                label: label(),
                number: "H3".to_owned(),
                verdict,
                marks,
                arrived: at(2, 22, 40),
                releasable,
                from,
            })
            .map(|f| json_of(&f))
            .collect()
        }
        Name::StaffKeyExpiry => staff_keys(),
        Name::StaffKeyRevoked | Name::StaffPracticeKey => keys::of(name),
        Name::DeliveryFailure => failures(),
        Name::Reminder => {
            let due = |letters, oldest| DueLine { code: code(), label: label(), letters, oldest };
            vec![json_of(&Reminder { slot: at(3, 17, 0), due: vec![due(2, at(2, 22, 10)), due(1, at(3, 1, 14))] })]
        }
        Name::Question => vec![json_of(&Question {
            code: Some(code()),
            label: label(),
            signed: at(1, 16, 0),
            seen: at(3, 8, 30),
            first_line: Some("Bonjour Marie,".to_owned()),
        })],
        Name::Help => vec![json_of(&Help {})],
        Name::Alert => staff::alerts(),
        Name::Enrolment => staff::enrolments(),
        Name::CardCopy => staff::card_copies(),
        Name::LocumCover => staff::covers(),
        Name::Specimens => staff::specimens(),
        _ => to_clients(name),
    }
}

/// The letters to clients and strangers.
fn to_clients(name: Name) -> Vec<Json> {
    let practice = || "Cabinet Exemple".to_owned();
    let neutral_name = || NEUTRAL_NAME.to_owned();
    let fingerprint = || FINGERPRINT.to_owned();
    let (arrived, expected) = (at(2, 22, 40), at(3, 17, 0));
    match name {
        Name::Acknowledgement => {
            vec![json_of(&Acknowledgement { practice: practice(), arrived, expected, lines: lines() })]
        }
        Name::AcknowledgementClear => {
            vec![json_of(&AcknowledgementClear { neutral_name: neutral_name(), arrived, expected: Some(expected) })]
        }
        Name::AboutKeys => vec![json_of(&AboutKeys { practice: practice(), fingerprint: fingerprint() })],
        Name::AboutKeysClear => {
            vec![json_of(&AboutKeysClear { neutral_name: neutral_name(), fingerprint: fingerprint() })]
        }
        Name::Undecryptable => {
            vec![json_of(&Undecryptable { neutral_name: neutral_name(), fingerprint: fingerprint() })]
        }
        Name::TooLarge => vec![json_of(&TooLarge { neutral_name: neutral_name(), limit: 25_000_000 })],
        Name::MissedDay => {
            vec![json_of(&MissedDay { practice: practice(), missed: expected, next: at(4, 17, 0), lines: lines() })]
        }
        Name::Closed => {
            [(None, expected), (None, at(3, 11, 0)), (Some("Je vous lis, nous en reparlons mardi."), expected)]
                .into_iter()
                .map(|(line, slot)| json_of(&Closed { practice: practice(), line: line.map(str::to_owned), slot }))
                .collect()
        }
        Name::KeyExpiry => [30, 14, 1, 0]
            .into_iter()
            .map(|days| KeyExpiry {
                neutral_name: neutral_name(),
                fingerprint: fingerprint(),
                expires: at(31, 12, 0),
                days,
            })
            .map(|f| json_of(&f))
            .collect(),
        Name::Stranger => vec![json_of(&Stranger { neutral_name: neutral_name() })],
        Name::ReplyFrame => [
            vec![at(2, 22, 10)],
            vec![at(3, 1, 14), at(2, 22, 10)],
            vec![at(1, 5, 0), at(2, 22, 10), at(3, 1, 14)],
            vec![],
        ]
        .into_iter()
        .map(|letters| json_of(&ReplyFrame { letters }))
        .collect(),
        _ => care::of(name),
    }
}

/// Every verdict, every mark, every state, a request.
fn forwards() -> Vec<Json> {
    let base = |verdict, marks, state| Forward {
        code: Some(code()),
        label: label(),
        subject: Some("Hier soir".to_owned()),
        verdict,
        marks,
        arrived: at(2, 22, 40),
        due: Some(at(3, 17, 0)),
        state,
        number: None,
        released: false,
        attachments_held: 0,
        scan: None,
        token: Some("7F3K-92QX".to_owned()),
    };
    let active = Some(ClientState::Active);
    let mut all: Vec<Forward> = Verdict::ALL.iter().map(|v| base(*v, Vec::new(), active)).collect();
    all.extend(Mark::ALL.iter().map(|m| base(Verdict::Verified, vec![*m], active)));
    all.extend(
        ClientState::ALL
            .iter()
            .map(|s| Forward { due: None, ..base(Verdict::Verified, vec![Mark::ClientState], Some(*s)) }),
    );
    all.push(Forward {
        number: Some("H3".to_owned()),
        released: true,
        attachments_held: 2,
        label: None,
        subject: None,
        ..base(Verdict::WrongSigner, vec![Mark::InClear], active)
    });
    all.extend(staff::scanned(&all[0]));
    all.push(Forward {
        code: None,
        label: None,
        due: None,
        number: Some("N-3F".to_owned()),
        attachments_held: 1,
        ..base(Verdict::Unsigned, vec![], None)
    });
    all.iter().map(json_of).collect()
}

fn receipts() -> Vec<Json> {
    let (leaves, later) = (at(3, 17, 0), at(4, 17, 0));
    let number = || "H3".to_owned();
    let line = || Some("Je vous lis, nous en reparlons mardi.".to_owned());
    let mut outcomes = vec![
        Outcome::Accepted { leaves, covers: vec![at(2, 22, 10)] },
        Outcome::Accepted { leaves, covers: vec![at(2, 22, 10), at(3, 1, 14)] },
        Outcome::Accepted { leaves, covers: vec![] },
        Outcome::LeavesNow,
        Outcome::Replaced { leaves },
        Outcome::Waits { leaves: later, why: WaitReason::AnswersLaterLetter },
        Outcome::Waits { leaves: later, why: WaitReason::AlreadyLeaving },
        Outcome::Waits { leaves: later, why: WaitReason::DayTaken },
        Outcome::HeldReply { number: number() },
        Outcome::Cancelled { due: Some(leaves) },
        Outcome::Cancelled { due: None },
        Outcome::NothingToCancel,
        Outcome::Urgent { line: None },
        Outcome::Urgent { line: Some("Bonjour Marie,".to_owned()) },
        Outcome::Now,
        Outcome::Closed { leaves: Some(leaves), line: None },
        Outcome::Closed { leaves: Some(leaves), line: line() },
        Outcome::Closed { leaves: None, line: None },
        Outcome::Released { number: number() },
        Outcome::Discarded { number: number() },
        Outcome::Label { label: "Marie B.".to_owned() },
        Outcome::Note,
        Outcome::Rhythm { days: vec![1, 4], next: Some(leaves) },
        Outcome::Rhythm { days: vec![], next: None },
        Outcome::Digest,
    ];
    outcomes.extend(staff::outcomes());
    let receipt = |outcomes, first: bool, travelled_in_clear| Receipt {
        code: Some(code()),
        label: label(),
        outcomes,
        first_line: first.then(|| "Bonjour Marie,".to_owned()),
        travelled_in_clear,
    };
    let mut all: Vec<Json> = outcomes.into_iter().map(|o| json_of(&receipt(vec![o], false, false))).collect();
    let both = vec![Outcome::Accepted { leaves, covers: vec![at(2, 22, 10)] }, Outcome::Note];
    all.push(json_of(&receipt(both, true, true)));
    all.push(json_of(&Receipt { code: None, label: None, ..receipt(vec![Outcome::Digest], false, false) }));
    all
}

fn refusals() -> Vec<Json> {
    use RefusalReason as R;
    let command = || "/close".to_owned();
    let number = || "H3".to_owned();
    let mut reasons = vec![
        R::Unsigned,
        R::UnknownSigner,
        R::WrongSigner,
        R::Bad,
        R::Undecryptable,
        R::Partial,
        R::NotForUs,
        R::NoClient,
        R::ClientConflict { codes: vec![code(), ClientCode::from_bits(7)] },
        R::UnknownCode { code: "C-2222".to_owned() },
        R::UnknownCommand { name: "envoyer".to_owned() },
        R::Contradiction { a: "/cancel".to_owned(), b: "/urgent".to_owned() },
        R::MissingArgument { command: "/label".to_owned() },
        R::BadArgument { command: "/rhythm".to_owned() },
        R::TextNotAllowed { command: command() },
        R::TextNotAllowed { command: "/cancel".to_owned() },
        R::TextRequired { command: "/now".to_owned() },
        R::OtherRecipients,
        R::OwnAddress,
        R::Attachment { why: AttachmentReason::Executable },
        R::Attachment { why: AttachmentReason::TooLarge },
        R::Attachment { why: AttachmentReason::Metadata },
        R::Attachment { why: AttachmentReason::Unreadable },
        R::Attachment { why: AttachmentReason::NotSealable },
        R::EmptyReply,
        R::NowTooLong { words: 131 },
        R::NowAlreadySent,
        R::SecondReply { leaves: at(3, 17, 0) },
        R::OlderThanWaiting,
        R::NothingWaiting,
        R::UnknownNumber { number: number() },
        R::NotReleasable { number: number() },
        R::SilentButPromised,
        R::NothingToClose,
        R::ClientState { state: ClientState::Paused },
        R::TooLarge { limit: 25_000_000 },
        R::RhythmNeverFires,
    ];
    reasons.extend(staff::reasons());
    let refusal =
        |reason| json_of(&Refusal { code: Some(code()), label: label(), reason, understood: vec!["/label", "/now"] });
    let mut all: Vec<Json> = reasons.into_iter().map(refusal).collect();
    all.push(json_of(&Refusal { code: None, label: None, reason: R::NoClient, understood: Vec::new() }));
    all
}

fn staff_keys() -> Vec<Json> {
    let client = || KeyOwner::Client { code: code(), label: label() };
    let owners = [KeyOwner::Therapist, KeyOwner::Practice, KeyOwner::Archive, client()];
    let facts =
        |owner, days| StaffKeyExpiry { owner, fingerprint: FINGERPRINT.to_owned(), expires: at(31, 12, 0), days };
    let mut all: Vec<Json> = owners.into_iter().map(|o| json_of(&facts(o, 14))).collect();
    all.push(json_of(&facts(KeyOwner::Therapist, 1)));
    all.push(json_of(&facts(client(), 0)));
    all
}

fn failures() -> Vec<Json> {
    let failure = |kind, cause, other_way: Option<&str>| DeliveryFailure {
        code: code(),
        label: label(),
        kind,
        sent: at(2, 17, 0),
        cause,
        why: None,
        other_way: other_way.map(str::to_owned),
        due: None,
        card: false,
    };
    let returned = |kind, why: &str, due, card| DeliveryFailure {
        why: Some(why.to_owned()),
        due,
        card,
        ..failure(kind, FailureCause::Returned, Some("+33 1 00 00 00 00, SMS"))
    };
    let way = Some("+33 1 00 00 00 00, SMS");
    vec![
        json_of(&failure(Kind::Reply, FailureCause::Refused, way)),
        json_of(&failure(Kind::Reply, FailureCause::CertificateUnusable, way)),
        json_of(&failure(Kind::Reply, FailureCause::NoPassphrase, way)),
        json_of(&failure(Kind::Reply, FailureCause::Unsealable, way)),
        json_of(&failure(Kind::Acknowledgement, FailureCause::GaveUp, None)),
        json_of(&failure(Kind::MissedDay, FailureCause::GaveUp, way)),
        json_of(&returned(Kind::Reply, "mailbox-full", Some(at(4, 17, 0)), true)),
        json_of(&returned(Kind::Reply, "address-unknown", Some(at(4, 17, 0)), false)),
        json_of(&returned(Kind::Safety, "unsaid", None, true)),
        json_of(&returned(Kind::Invitation, "address-unknown", None, false)),
        json_of(&returned(Kind::Frame, "refused", None, false)),
        json_of(&returned(Kind::Farewell, "unreachable", None, false)),
    ]
}

/// Every problem.
fn health() -> Vec<HealthItem> {
    use HealthProblem as P;
    let problems = vec![
        P::ImapLogin,
        P::ImapUnreachable,
        P::SmtpLogin,
        P::SmtpUnreachable,
        P::TlsCertificate,
        P::Clock,
        P::DiskFull,
        P::Database,
        P::Journal,
        P::RecordMac { code: code() },
        P::TherapistCertificate,
        P::PracticeKey,
        P::KeyExpires { owner: KeyOwner::Therapist, days: 30 },
        P::KeyExpires { owner: KeyOwner::Practice, days: 14 },
        P::KeyExpires { owner: KeyOwner::Archive, days: 0 },
        P::KeyExpires { owner: KeyOwner::Client { code: code(), label: None }, days: 1 },
        P::KeyRevoked { owner: KeyOwner::Therapist },
        P::KeyRevoked { owner: KeyOwner::Practice },
        P::KeyRevoked { owner: KeyOwner::Client { code: code(), label: None } },
        P::Attention { count: 3 },
        P::ForwardFailed { code: Some(code()) },
        P::StaffMail { therapist: "exemple".to_owned() },
        P::SafetyFailed { code: Some(code()) },
        P::SecondMiss { code: code() },
        P::OwnLetter { name: "fr/acknowledgement".to_owned() },
    ];
    problems.into_iter().map(|problem| HealthItem { problem, since: at(2, 22, 40) }).collect()
}

/// A full sheet and an empty one, in the shape of `domain::digest::Digest`.
fn digests() -> Vec<Json> {
    let journal = json!({ "count": 1204, "head": "9f2c41d07ab3e65f" });
    let client = |label: Option<&str>, more: Json| {
        let mut line = json!({
            "label": label, "code": code(), "state": "active", "turn": "open", "due": at(3, 17, 0), "letters": 2,
            "words": 540, "attachments": 0, "oldest": at(2, 22, 10), "verdict": "verified", "marks": [],
            "scan": null, "days_silent": 0, "overdue": false, "propose_checkin": false, "ask_assessment": false,
            "consent_pending": null, "key_waiting": false,
            "sealed_letters": false, "passphrase_waiting": false,
        });
        if let (Some(line), Json::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        line
    };
    let quiet = json!({ "turn": "none", "due": null, "letters": 0, "words": 0, "oldest": null, "verdict": null });
    let silent = json!({ "turn": "answered", "due": null, "oldest": null, "verdict": null, "days_silent": 9,
        "propose_checkin": true });
    let unsigned = json!({ "verdict": "unsigned", "marks": ["in-clear", "raw"], "attachments": 3 });
    let alert = |code: Option<ClientCode>, number: Option<&str>, class: &str| {
        json!({ "code": code, "number": number, "label": code.as_ref().and(label()), "class": class,
                "first": at(2, 22, 40) })
    };
    let assessment = json!({ "state": "assessment", "turn": "answered", "due": null, "oldest": null, "verdict": null,
        "ask_assessment": true });
    let renewal = json!({ "turn": "none", "due": null, "letters": 0, "words": 0, "oldest": null, "verdict": null,
        "consent_pending": 3, "sealed_letters": true, "passphrase_waiting": true });
    let invited = json!({ "state": "invited", "turn": "none", "due": null, "letters": 0, "words": 0, "oldest": null,
        "verdict": null, "days_silent": null, "key_waiting": true });
    let full = json!({
        "at": at(3, 6, 0), "slot": at(3, 17, 0), "to_answer": 3, "to_decide": 6, "nothing": 2,
        "alerts": [alert(Some(code()), None, "A"), alert(Some(code()), Some("H3"), "V"), alert(None, Some("N-3F"), "B")],
        "forward_failures": [{ "code": code(), "label": null, "kind": "forward", "at": at(2, 18, 0) }],
        "before": [
            { "section": "overdue", "lines": [client(Some("Paul"), json!({ "overdue": true, "due": at(2, 17, 0) }))] },
            { "section": "due", "lines": [client(Some("Marie B."), json!({ "scan": "clear" })), client(None, unsigned)] },
        ],
        "held": [
            { "number": "H3", "code": code(), "label": "Marie B.", "verdict": "wrong-signer", "marks": ["in-clear"],
              "arrived": at(2, 22, 40), "releasable": true },
            { "number": "H4", "code": null, "label": null, "verdict": "undecryptable", "marks": [],
              "arrived": at(3, 1, 0), "releasable": false },
        ],
        "held_beyond": 2,
        "requests": [{ "number": "N-3F", "arrived": at(2, 9, 0), "words": 120, "verdict": "unsigned" }],
        "requests_beyond": 5,
        "after": [
            { "section": "assessment", "lines": [client(Some("Léa"), assessment)] },
            { "section": "key", "lines": [client(Some("Noé"), invited)] },
            { "section": "silent", "lines": [client(Some("Jean"), silent)] },
            { "section": "consent-pending", "lines": [client(Some("Nour"), renewal)] },
            { "section": "quiet", "lines": [client(Some("Anne & Luc <3"), quiet)] },
        ],
        "waiting": [
            { "code": code(), "label": "Marie B.", "kind": "reply", "slot": at(3, 17, 0), "number": null },
            { "code": code(), "label": "Jean", "kind": "farewell", "slot": at(3, 17, 0), "number": null },
            { "code": code(), "label": "Paul", "kind": "reply", "slot": null, "number": "H5" },
        ],
        "keys": [
            { "code": code(), "label": "Marie B.", "owner": "client", "expires": at(17, 12, 0), "days": 14 },
            { "code": null, "label": null, "owner": "therapist", "expires": at(1, 12, 0), "days": -2 },
        ],
        "failures": [{ "code": code(), "label": "Jean", "kind": "reply", "at": at(2, 17, 0) }],
        "noticed": [
            { "code": code(), "label": "Marie B.", "kind": "reply", "at": at(2, 17, 0), "unclear": false },
            { "code": code(), "label": null, "kind": "reply", "at": at(2, 17, 0), "unclear": true },
        ],
        "records": [{ "code": code(), "label": "Marie B.", "since": at(2, 17, 0) }], "records_beyond": 2,
        "absence": { "from": "2026-04-06", "to": "2026-04-17", "locum": "Dr Martin" },
        "asks": true, "sealed_letters": true,
        "journal": journal,
    });
    let empty = json!({
        "at": at(3, 6, 0), "slot": null, "to_answer": 0, "to_decide": 0, "nothing": 0, "alerts": [],
        "forward_failures": [],
        "before": [], "held": [], "held_beyond": 0, "requests": [], "requests_beyond": 0, "after": [], "waiting": [],
        "keys": [], "failures": [], "noticed": [], "records": [], "records_beyond": 0,
        "absence": { "from": "2026-03-02", "to": null, "locum": null }, "asks": false, "sealed_letters": false, "journal": journal,
    });
    vec![json!({ "sheet": full }), json!({ "sheet": empty })]
}

/// Puts the practice's own facts in the place of the made-up ones. A person may stand as a name or with all that is
/// known of them; a letter in clear keeps to the neutral name.
pub(super) fn personalise(sample: &mut Json, own: &Map<String, Json>, name: Name) {
    let Some(fields) = sample.as_object_mut() else { return };
    for (key, slot) in fields {
        let key = match (key.as_str(), &*slot) {
            ("lines", _) if name == Name::SafetyViolence => "violence_lines",
            ("name", Json::String(made_up)) if made_up == NEUTRAL_NAME => "neutral_name",
            ("name", _) => "practice",
            (key, _) => key,
        };
        match (&*slot, own.get(key)) {
            (Json::String(_), Some(Json::Object(person))) => {
                if let Some(name) = person.get("name") {
                    *slot = name.clone();
                }
            }
            (old, Some(new)) if std::mem::discriminant(old) == std::mem::discriminant(new) => *slot = new.clone(),
            _ => {}
        }
    }
}

/// Changes one fact of a sample, so that a letter that shows it changes too.
pub(super) fn change(sample: &mut Json, fact: &str) {
    if let Some(value) = sample.get_mut(fact) {
        alter(value);
    }
}

/// Another value of the same kind.
fn alter(value: &mut Json) {
    match value {
        Json::Bool(b) => *b = !*b,
        Json::Number(n) => *value = json!(n.as_i64().unwrap_or(0) + 7_000_007),
        Json::String(text) => match (text.parse::<DateTime<Utc>>(), text.parse::<NaiveDate>()) {
            (Ok(at), _) => *value = json!(at + TimeDelta::minutes(4 * 1440 + 77)),
            (_, Ok(day)) => *value = json!(day + TimeDelta::days(4)),
            _ => *text = other_word(text),
        },
        Json::Array(items) => items.iter_mut().for_each(alter),
        Json::Object(fields) => alter_fields(fields),
        Json::Null => {}
    }
}

/// All fields but the tag that says which variant it is.
fn alter_fields(fields: &mut Map<String, Json>) {
    fields.iter_mut().filter(|(key, _)| *key != "kind").for_each(|(_, value)| alter(value));
}

/// Words of closed lists become other words of them; free text gets a tail.
fn other_word(text: &str) -> String {
    match text {
        "verified" => "bad".to_owned(),
        "in-clear" => "new-key".to_owned(),
        _ if text.len() >= 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) => text.chars().rev().collect(),
        _ => format!("{text}ZQX"),
    }
}
