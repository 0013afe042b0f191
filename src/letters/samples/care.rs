//! Samples of the letters about the frame: one for each way a letter can go.

use chrono::NaiveDate;
use serde::Serialize;
use serde_json::Value as Json;

use super::super::facts::*;
use super::super::sealed::{AboutPassphrase, AboutWords, SealedLetter, SealedSheet};
use super::super::{Line, Name};
use super::{FINGERPRINT, at, json_of, lines};
use crate::model::{ClientState, Mode};

/// The client's own.
const OWN_FINGERPRINT: &str = "89ABCDEF0123456789ABCDEF0123456789ABCDEF";

fn practice() -> String {
    "Cabinet Exemple".to_owned()
}

fn neutral_name() -> String {
    "Correspondance".to_owned()
}

fn name() -> String {
    "Dr Exemple".to_owned()
}

fn fallback() -> String {
    "+33 1 00 00 00 00, SMS".to_owned()
}

fn colleague() -> Option<String> {
    Some("Mme Modèle, +33 1 00 00 00 01".to_owned())
}

fn therapist() -> TherapistFacts {
    TherapistFacts {
        name: name(),
        title: "Psychologue clinicienne".to_owned(),
        register: "RPPS 10000000000".to_owned(),
        country: "FR".to_owned(),
    }
}

fn other() -> TherapistFacts {
    TherapistFacts {
        name: "Dr Second".to_owned(),
        title: "Psychologue".to_owned(),
        register: "RPPS 10000000001".to_owned(),
        country: "BE".to_owned(),
    }
}

fn locum() -> Option<String> {
    Some("Dr Second".to_owned())
}

fn violence() -> Vec<Line> {
    let line = |number: &str, note: Option<&str>| Line { number: number.to_owned(), note: note.map(str::to_owned) };
    vec![line("17", None), line("114", Some("SMS")), line("3919", None)]
}

/// April 2026.
fn april(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 4, day).unwrap_or_default()
}

fn all(facts: impl IntoIterator<Item = impl Serialize>) -> Vec<Json> {
    facts.into_iter().map(|f| json_of(&f)).collect()
}

/// None for the letters to staff.
pub(super) fn of(letter: Name) -> Vec<Json> {
    match letter {
        Name::Invitation | Name::InvitationReminder => all([false, true].map(|rekey| Invitation {
            neutral_name: neutral_name(),
            fingerprint: FINGERPRINT.to_owned(),
            until: at(32, 9, 0),
            rekey,
        })),
        Name::InvitationProblem => problems(),
        Name::SealedLetter => all([
            SealedLetter { neutral_name: neutral_name(), subject: None, documents: 1 },
            SealedLetter {
                neutral_name: neutral_name(),
                subject: Some("Nouvelles du jardin".to_owned()),
                documents: 3,
            },
        ]),
        Name::SealedSheet => all([SealedSheet { at: at(3, 17, 0) }]),
        Name::AboutWords => all([false, true].map(|blocked| AboutWords { neutral_name: neutral_name(), blocked })),
        Name::AboutPassphrase => all([AboutPassphrase { neutral_name: neutral_name() }]),
        Name::InvitationDeclined => all([InvitationDeclined { neutral_name: neutral_name() }]),
        Name::KeyArrived => all(receptions().map(|received| KeyArrived {
            neutral_name: neutral_name(),
            received,
            own_fingerprint: OWN_FINGERPRINT.to_owned(),
            fingerprint: FINGERPRINT.to_owned(),
            words: ["abandon", "bronze", "citron", "dauphin", "facile", "gazelle"].map(str::to_owned).into(),
        })),
        Name::Frame => all(frames()),
        Name::ConsentRenewal => all(frames().map(|frame| Frame { received: None, ..frame })),
        Name::TherapistWelcome => {
            all([TherapistWelcome { neutral_name: neutral_name(), fingerprint: FINGERPRINT.to_owned() }])
        }
        Name::Safety => safety(&lines()),
        Name::SafetyViolence => safety(&violence()),
        Name::StrangerSafety => all([StrangerSafety { neutral_name: neutral_name(), lines: lines() }]),
        Name::AcknowledgementAbsence
        | Name::AbsencePlanned
        | Name::AbsenceStart
        | Name::AbsenceUnplanned
        | Name::AbsenceReturn
        | Name::Locum => absences(letter),
        Name::PracticeKeyRotated | Name::PracticeKeyRevoked | Name::PracticeKeyClear | Name::KeyRevoked => {
            super::keys::of(letter)
        }
        _ => life(letter),
    }
}

/// Signed or not, encrypted or not.
fn receptions() -> [Received; 4] {
    [(true, true), (true, false), (false, true), (false, false)].map(|(signed, encrypted)| Received {
        at: at(3, 8, 12),
        signed,
        encrypted,
    })
}

fn problems() -> Vec<Json> {
    use KeyProblem as P;
    let problems = [
        P::NoKey,
        P::SeveralKeys,
        P::Expired,
        P::Revoked,
        P::TooWeak,
        P::NoEncryption,
        P::NoSigning,
        P::Unreadable,
        P::Taken,
        P::OtherAddress,
    ];
    all(problems.map(|problem| InvitationProblem {
        neutral_name: neutral_name(),
        fingerprint: FINGERPRINT.to_owned(),
        problem,
    }))
}

/// Every mode and none, with and without what arrived, a locum, a colleague, an assessment.
fn frames() -> [Frame; 6] {
    let frame = |received, mode| {
        Frame {
        practice: practice(),
        therapist: therapist(),
        received,
        channel: "Par courrier électronique chiffré. Une lettre arrivée avant 7\u{a0}h a sa réponse le soir à 18\u{a0}h, du lundi au vendredi.".to_owned(),
        price: "60 € par semaine, par virement en fin de semaine".to_owned(),
        fallback: fallback(),
        colleague: colleague(),
        server: "le cabinet lui-même".to_owned(),
        records: "cinq ans après la dernière lettre".to_owned(),
        locum: None,
        known: false,
        mode,
        version: 1,
        lines: lines(),
        sealed_letters: false,
    }
    };
    let [both, signed, encrypted, neither] = receptions().map(Some);
    [
        Frame { locum: locum(), ..frame(both, Some(Mode::Pure)) },
        Frame { colleague: None, known: true, version: 2, ..frame(None, Some(Mode::Mixed)) },
        Frame { received: neither, ..frame(signed, Some(Mode::Before)) },
        frame(encrypted, Some(Mode::After)),
        frame(both, None),
        Frame { sealed_letters: true, ..frame(neither, Some(Mode::Pure)) },
    ]
}

/// In clear and sealed, with and without a reply that is owed.
fn safety(lines: &[Line]) -> Vec<Json> {
    let facts = |name, expected| Safety { name, arrived: at(2, 22, 40), expected, lines: lines.to_vec() };
    all([facts(neutral_name(), Some(at(3, 17, 0))), facts(practice(), None)])
}

fn absences(letter: Name) -> Vec<Json> {
    let (from, until, next) = (april(6), april(17), Some(at(51, 16, 0)));
    let planned = |until, locum, locum_agreed| AbsencePlanned {
        practice: practice(),
        therapist: name(),
        from,
        until,
        next,
        locum,
        locum_agreed,
        fallback: fallback(),
        lines: lines(),
    };
    match letter {
        Name::AbsencePlanned | Name::AbsenceStart => all([
            planned(until, None, false),
            planned(until, locum(), false),
            planned(until, locum(), true),
            AbsencePlanned { next: None, ..planned(from, None, false) },
        ]),
        Name::AbsenceUnplanned => all([(Some(until), colleague()), (None, None)].map(|(until, colleague)| {
            let (practice, therapist, fallback) = (practice(), name(), fallback());
            AbsenceUnplanned { practice, therapist, until, colleague, fallback, lines: lines() }
        })),
        Name::AbsenceReturn => {
            let forms = [
                (false, next, false),
                (false, None, false),
                (true, next, false),
                (false, None, true),
                (true, None, true),
            ];
            all(forms.map(|(cancelled, next, paused)| AbsenceReturn {
                practice: practice(),
                therapist: name(),
                cancelled,
                next,
                paused,
                lines: lines(),
            }))
        }
        Name::Locum => all([Some(until), Some(from), None].map(|until| Locum {
            practice: practice(),
            therapist: name(),
            locum: other(),
            from,
            until,
            lines: lines(),
        })),
        Name::AcknowledgementAbsence => {
            let known = (Some(until), next);
            all([(known, None), (known, locum()), ((None, None), None), ((None, None), locum())].map(
                |((until, expected), locum)| AcknowledgementAbsence {
                    practice: practice(),
                    arrived: at(37, 20, 40),
                    until,
                    expected,
                    locum,
                    lines: lines(),
                },
            ))
        }
        _ => Vec::new(),
    }
}

/// From consent to erasure.
fn life(letter: Name) -> Vec<Json> {
    let next = Some(at(3, 17, 0));
    match letter {
        Name::ConsentRecorded => {
            let forms = [
                (Some(1), true, next, false),
                (Some(1), false, None, true),
                (None, false, None, true),
                (None, false, None, false),
            ];
            all(forms.map(|(version, assessment, next, locum)| ConsentRecorded {
                practice: practice(),
                version,
                at: at(3, 8, 12),
                assessment,
                next,
                locum,
                lines: lines(),
            }))
        }
        Name::ConsentUnclear => all([ConsentUnclear { practice: practice() }]),
        Name::InternetPolicy => all([InternetPolicy { practice: practice(), therapist: name() }]),
        Name::CardRequest => all([CardRequest { practice: practice() }]),
        Name::TransferOffer => all([TransferOffer { practice: practice(), from: name(), to: other() }]),
        Name::Declined | Name::Suspended | Name::Ending | Name::Farewell => all([OwnWords {
            practice: practice(),
            text: "Bonjour Marie,\n\nLa lettre que votre thérapeute a écrite.".to_owned(),
            fallback: fallback(),
            lines: lines(),
        }]),
        Name::CheckIn => {
            all([Some(at(2, 22, 40)), None].map(|last| CheckIn { practice: practice(), last, lines: lines() }))
        }
        Name::Paused => all([true, false].map(|by_client| Paused { practice: practice(), by_client, lines: lines() })),
        Name::Resumed => all([next, None].map(|next| Resumed { practice: practice(), next, lines: lines() })),
        Name::Stopped => all([Stopped { practice: practice(), lines: lines() }]),
        Name::StateNotice => {
            use ClientState as S;
            let states = [
                (S::ConsentPending, false),
                (S::Paused, true),
                (S::Paused, false),
                (S::Suspended, false),
                (S::Invited, false),
            ];
            all(states.map(|(state, by_client)| {
                let (practice, fallback) = (practice(), fallback());
                StateNotice { practice, state, by_client, fallback, lines: lines() }
            }))
        }
        Name::AfterDischarge => all([AfterDischarge { practice: practice(), fallback: fallback(), lines: lines() }]),
        Name::Video => {
            let (url, text) = ("https://video.example/salle", "Bonjour Marie, parlons-nous de vive voix.");
            all([(Some(url), Some(text)), (None, None)].map(|(url, text)| Video {
                practice: practice(),
                at: at(4, 14, 0),
                url: url.map(str::to_owned),
                text: text.map(str::to_owned),
            }))
        }
        // A sample has no language, and the page of the reader's stands in for an empty one.
        Name::Guide => all([Guide { practice: practice(), guide: String::new() }]),
        Name::Export => all([1, 214].map(|letters| Export { practice: practice(), made: at(3, 8, 12), letters })),
        Name::Erasure => all([Erasure { practice: practice(), at: at(3, 8, 12) }]),
        Name::Breach => all([Breach {
            practice: practice(),
            from: at(1, 5, 0),
            to: at(2, 22, 10),
            what: "les adresses et les heures de vos lettres, pas leur contenu.".to_owned(),
            fallback: fallback(),
        }]),
        _ => Vec::new(),
    }
}
