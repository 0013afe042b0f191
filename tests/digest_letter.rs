//! What `domain` says is what the letters can write: neither module knows the other.

use cadre::domain::commands::{CommandError, parse};
use cadre::domain::digest::{
    Absence, AlertLine, ClientLine, Facts, FailureLine, HeldLine, JournalHead, KeyLine, KeyOwner, NoticeLine,
    RecordLine, RequestLine, Scan, WaitingLine, arrange,
};
use cadre::letters::{Digest, Help, Letter, Letters, Reader};
use cadre::model::{ClientCode, ClientState, CrisisClass, Kind, Language, Mark, TurnState, Verdict};
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
        propose_checkin: turn == TurnState::Answered,
        ask_assessment: state == ClientState::Assessment,
        consent_pending: (state == ClientState::Active).then_some(3),
        key_waiting: state == ClientState::Invited,
        sealed_letters: false,
        passphrase_waiting: false,
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
        alerts: CrisisClass::ALL
            .iter()
            .flat_map(|class| {
                let alert = |code: Option<ClientCode>, number: Option<&str>| AlertLine {
                    label: code.as_ref().and(label.clone()),
                    code,
                    number: number.map(str::to_owned),
                    class: *class,
                    first: at(2, 22),
                };
                [alert(Some(code.clone()), None), alert(Some(code.clone()), Some("H3")), alert(None, Some("N-3F"))]
            })
            .collect(),
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
        waiting: vec![WaitingLine {
            code: code.clone(),
            label: label.clone(),
            kind: Kind::Reply,
            slot: Some(at(3, 17)),
            number: None,
        }],
        keys: owners.into_iter().map(key).collect(),
        failures: Kind::ALL
            .iter()
            .map(|k| FailureLine { code: Some(code.clone()), label: None, kind: *k, at: at(2, 17) })
            .collect(),
        noticed: [false, true]
            .map(|unclear| NoticeLine {
                code: code.clone(),
                label: label.clone(),
                kind: Kind::Reply,
                at: at(2, 17),
                unclear,
            })
            .to_vec(),
        records: vec![RecordLine { code: code.clone(), label: label.clone(), since: at(1, 12) }],
        absence: NaiveDate::from_ymd_opt(2026, 4, 6).map(|from| Absence {
            from,
            to: Some(from),
            locum: Some("Dr Martin".to_owned()),
        }),
        journal: JournalHead { count: 1204, head: "9f2c41d07ab3e65f".repeat(4) },
    }
}

#[test]
fn a_full_and_an_empty_sheet_are_written_in_both_languages() {
    let letters = Letters::load(None).unwrap();
    for &language in Language::ALL {
        let reader = Reader { language, by_words: false, zone: chrono_tz::Europe::Paris };
        let empty = Facts {
            alerts: vec![],
            clients: vec![],
            held: vec![],
            held_beyond: 0,
            requests: vec![],
            waiting: vec![],
            keys: vec![],
            failures: vec![],
            noticed: vec![],
            records: vec![],
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

#[test]
fn every_command_on_the_page_of_commands_is_one() {
    let letters = Letters::load(None).unwrap();
    for &language in Language::ALL {
        let reader = Reader { language, by_words: false, zone: chrono_tz::Europe::Paris };
        let page = letters.render(&Letter::Help(Help {}), reader).unwrap().text;
        let names: Vec<&str> = page
            .split(|c: char| c.is_whitespace() || "(),:;".contains(c))
            .filter(|word| word.starts_with('/'))
            .collect();
        assert!(names.len() > 60, "{names:?}");
        for name in names {
            let known = !matches!(parse(name), Err(CommandError::Unknown { .. }));
            assert!(known, "{name} ({language})");
        }
        assert!(page.len() < 6000, "the page has grown to {} bytes", page.len());
    }
}

/// The examples of the page, as somebody would copy them.
#[test]
fn the_examples_on_the_page_of_commands_are_understood() {
    for example in [
        "/to C-7K2M",
        "/close silent",
        "/clore silencieux",
        "/release H3",
        "/discard N-3F",
        "/discharge silent",
        "/sortie silencieuse",
        "/transfer martin",
        "/mode pur",
        "/mode avant",
        "/mode après",
        "/mode mixte",
        "/mode mixed",
        "/label Marie B.",
        "/card ask",
        "/fiche demander",
        "/rhythm mar,ven",
        "/rhythm tous",
        "/rhythm Tue,Fri",
        "/rhythm all",
        "/video 2026-03-04 15h https://visio.example",
        "/video 2026-03-04 15:00",
        "/discreet off",
        "/safety quiet",
        "/sécurité silence",
        "/safety normal",
        "/mute off",
        "/key accept un deux trois quatre cinq six",
        "/clé accepter un deux trois quatre cinq six",
        "/channel openpgp",
        "/invite marie@client.example fr",
        "/inviter marie@client.example en connu",
        "/invite N-3F",
        "/absent 2026-08-01 2026-08-16 martin",
        "/absent 01/08/2026 16/08/2026",
        "/note Alerte lue",
    ] {
        assert!(parse(example).is_ok(), "{example}: {:?}", parse(example).err());
    }
}
