//! What `domain::digest` arranges is what the digest's letter can write: neither module knows the other.

use cadre::domain::digest::{
    Absence, ClientLine, Facts, FailureLine, HeldLine, JournalHead, KeyLine, KeyOwner, RequestLine, Scan, WaitingLine,
    arrange,
};
use cadre::letters::{Digest, Letter, Letters, Reader};
use cadre::model::{ClientCode, ClientState, Kind, Language, Mark, TurnState, Verdict};
use chrono::{DateTime, NaiveDate, TimeZone, Utc};

fn at(day: u32, hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, day, hour, 0, 0).unwrap()
}

fn full() -> Facts {
    let code = ClientCode::from_bits(77);
    let label = Some("Marie B.".to_owned());
    let client = |scan, state, turn| ClientLine {
        label: label.clone(),
        code: code.clone(),
        state,
        turn,
        due: (turn == TurnState::Open).then(|| at(3, 17)),
        letters: 2,
        words: 540,
        attachments: 1,
        oldest: Some(at(2, 22)),
        verdict: Some(Verdict::Unsigned),
        marks: vec![Mark::InClear],
        scan,
        days_silent: Some(8),
        overdue: false,
    };
    let mut clients: Vec<ClientLine> =
        ClientState::ALL.iter().flat_map(|s| TurnState::ALL.iter().map(|t| client(None, *s, *t))).collect();
    clients.push(client(Some(Scan::Alert), ClientState::Active, TurnState::Open));
    clients.push(client(Some(Scan::NotAnalysed), ClientState::Active, TurnState::Open));
    let owners = [KeyOwner::Client, KeyOwner::Therapist, KeyOwner::Practice, KeyOwner::Archive];
    let key = |owner| KeyLine { code: Some(code.clone()), label: None, owner, expires: at(17, 9), days: 14 };
    Facts {
        at: at(3, 6),
        zone: chrono_tz::Europe::Paris,
        next_slot: Some(at(3, 17)),
        clients,
        held: vec![HeldLine {
            number: "H3".to_owned(),
            code: Some(code.clone()),
            label: label.clone(),
            verdict: Verdict::Bad,
            marks: vec![Mark::WeakOrExpiredKey],
            arrived: at(2, 9),
            releasable: true,
        }],
        held_beyond: 1,
        requests: vec![RequestLine {
            number: "N-3F".to_owned(),
            arrived: at(2, 9),
            words: 9,
            verdict: Verdict::Unsigned,
        }],
        requests_beyond: 1,
        waiting: vec![WaitingLine { code: code.clone(), label: label.clone(), slot: Some(at(3, 17)), number: None }],
        keys: owners.into_iter().map(key).collect(),
        failures: Kind::ALL
            .iter()
            .map(|k| FailureLine { code: Some(code.clone()), label: None, kind: *k, at: at(2, 17) })
            .collect(),
        absence: NaiveDate::from_ymd_opt(2026, 4, 6).map(|from| Absence { from, to: from }),
        journal: JournalHead { count: 1204, head: "9f2c41d07ab3e65f".repeat(4) },
    }
}

#[test]
fn a_full_and_an_empty_sheet_are_written_in_both_languages() {
    let letters = Letters::load(None).unwrap();
    for &language in Language::ALL {
        let reader = Reader { language, zone: chrono_tz::Europe::Paris };
        let empty = Facts {
            clients: vec![],
            held: vec![],
            held_beyond: 0,
            requests: vec![],
            requests_beyond: 0,
            waiting: vec![],
            keys: vec![],
            failures: vec![],
            absence: None,
            next_slot: None,
            ..full()
        };
        for facts in [full(), empty] {
            let rendered = letters.render(&Letter::Digest(Digest::of(&arrange(facts))), reader).unwrap();
            assert!(rendered.text.contains("1204:9f2c41d07ab3e65f"), "{}", rendered.text);
            assert!(rendered.html.unwrap().contains("1204:9f2c41d07ab3e65f"));
        }
    }
}
