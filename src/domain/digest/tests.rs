//! The order of the sheet and the numbers of its headline.

use super::*;
use chrono::TimeZone;
use pretty_assertions::assert_eq;
use proptest::prelude::*;

fn at(day: u32, hour: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, day, hour, 0, 0).unwrap()
}

fn client(bits: u32) -> ClientLine {
    ClientLine {
        label: None,
        code: ClientCode::from_bits(bits),
        state: ClientState::Active,
        turn: TurnState::None,
        due: None,
        letters: 0,
        words: 0,
        attachments: 0,
        oldest: None,
        verdict: None,
        marks: Vec::new(),
        scan: None,
        days_silent: Some(1),
        overdue: false,
        propose_checkin: false,
        ask_assessment: false,
        consent_pending: None,
        sealed_letters: false,
        passphrase_waiting: false,
        key_waiting: false,
    }
}

fn open(bits: u32, due: DateTime<Utc>) -> ClientLine {
    ClientLine { turn: TurnState::Open, due: Some(due), letters: 1, oldest: Some(at(2, bits % 24)), ..client(bits) }
}

fn facts(clients: Vec<ClientLine>) -> Facts {
    Facts {
        at: at(3, 6),
        zone: chrono_tz::Europe::Paris,
        next_slot: Some(at(3, 17)),
        alerts: Vec::new(),
        clients,
        held: Vec::new(),
        held_beyond: 0,
        requests: Vec::new(),
        waiting: Vec::new(),
        keys: Vec::new(),
        failures: Vec::new(),
        noticed: Vec::new(),
        records: Vec::new(),
        absence: None,
        journal: JournalHead { count: 1, head: "ab".to_owned() },
    }
}

fn order_of(digest: &Digest) -> Vec<(Section, String)> {
    let lines = |s: &ClientSection| s.lines.iter().map(|l| (s.section, l.code.to_string())).collect::<Vec<_>>();
    digest.before.iter().chain(&digest.after).flat_map(lines).collect()
}

/// One client for each place, in the order in which they must stand.
fn one_of_each() -> Vec<ClientLine> {
    let mut all = vec![
        ClientLine { scan: Some(Scan::Alert), ..client(1) },
        ClientLine { overdue: true, ..open(2, at(2, 17)) },
        ClientLine { scan: Some(Scan::NotAnalysed), ..open(3, at(3, 17)) },
        open(4, at(3, 17)),
        open(5, at(3, 17)),
        open(6, at(6, 17)),
        ClientLine { days_silent: Some(9), ..client(7) },
        ClientLine { days_silent: Some(7), ..client(8) },
        ClientLine { state: ClientState::ConsentPending, ..client(9) },
        client(10),
    ];
    all.push(ClientLine { state: ClientState::Paused, days_silent: Some(40), ..client(11) });
    all
}

#[test]
fn the_order_is_crisis_overdue_unanalysed_due_later_then_silent_consent_quiet() {
    let digest = arrange(facts(one_of_each()));
    use Section::*;
    let sections: Vec<Section> = order_of(&digest).into_iter().map(|(s, _)| s).collect();
    assert_eq!(sections, [Crisis, Overdue, NotAnalysed, Due, Due, Later, Silent, Silent, ConsentPending, Quiet, Quiet]);
    let codes: Vec<String> = order_of(&digest).into_iter().map(|(_, c)| c).collect();
    let expected: Vec<String> = (1..=11).map(|b| ClientCode::from_bits(b).to_string()).collect();
    assert_eq!(codes, expected);
    assert!(digest.before.iter().all(|s| s.section <= Later) && digest.after.iter().all(|s| s.section >= Silent));
    assert_eq!((digest.to_answer, digest.to_decide, digest.nothing), (5, 1, 5));
}

proptest! {
    #[test]
    fn the_sheet_does_not_depend_on_the_order_of_the_facts(order in Just((0..11_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let all = one_of_each();
        let clients = order.iter().map(|i| all[*i].clone()).collect();
        prop_assert_eq!(order_of(&arrange(facts(clients))), order_of(&arrange(facts(one_of_each()))));
    }
}

#[test]
fn every_client_stands_once_and_is_counted_once() {
    let digest = arrange(facts(one_of_each()));
    assert_eq!(order_of(&digest).len(), 11);
    assert_eq!(digest.to_answer + digest.to_decide + digest.nothing, 11);
}

#[test]
fn held_requests_and_held_replies_are_to_be_decided() {
    let held = |number: &str, day| HeldLine {
        number: number.to_owned(),
        code: None,
        label: None,
        verdict: Verdict::WrongSigner,
        marks: Vec::new(),
        arrived: at(day, 9),
        releasable: true,
    };
    let request =
        |n: u32| RequestLine { number: format!("N-{n}"), arrived: at(1, n), words: 10, verdict: Verdict::Unsigned };
    let waiting = |slot, number: Option<&str>| WaitingLine {
        kind: Kind::Reply,
        code: ClientCode::from_bits(1),
        label: None,
        slot,
        number: number.map(str::to_owned),
    };
    let digest = arrange(Facts {
        held: vec![held("H4", 2), held("H3", 1)],
        held_beyond: 3,
        requests: (0..12).map(request).collect(),
        waiting: vec![waiting(None, Some("H5")), waiting(Some(at(3, 17)), None)],
        ..facts(Vec::new())
    });
    assert_eq!(digest.to_decide, 2 + 3 + 12 + 1);
    assert_eq!(digest.held.iter().map(|h| h.number.as_str()).collect::<Vec<_>>(), ["H3", "H4"]);
    assert_eq!((digest.requests.len(), digest.requests_beyond), (10, 2));
    assert!(digest.waiting[0].slot.is_some());
}

#[test]
fn an_empty_day_still_gives_a_sheet() {
    let digest = arrange(facts(Vec::new()));
    assert_eq!((digest.to_answer, digest.to_decide, digest.nothing), (0, 0, 0));
    assert!(digest.before.is_empty() && digest.after.is_empty());
    assert_eq!(digest.journal.count, 1);
}

#[test]
fn a_forward_that_failed_heads_the_sheet_and_other_failures_do_not() {
    let failure = |kind| FailureLine { code: None, label: None, kind, at: at(2, 17) };
    let digest = arrange(Facts { failures: vec![failure(Kind::Reply), failure(Kind::Forward)], ..facts(Vec::new()) });
    assert_eq!(digest.forward_failures.len(), 1);
    assert_eq!(digest.failures[0].kind, Kind::Reply);
}

#[test]
fn nothing_is_said_of_a_scan_that_was_not_made() {
    let json = serde_json::to_value(arrange(facts(vec![open(1, at(3, 17))]))).unwrap();
    assert!(json["before"][0]["lines"][0]["scan"].is_null());
}

#[test]
fn a_client_who_asks_something_of_the_therapist_is_to_be_decided_and_counted_once() {
    let assessment = |c: ClientLine| ClientLine { state: ClientState::Assessment, ask_assessment: true, ..c };
    let digest = arrange(facts(vec![
        assessment(open(1, at(3, 17))),
        assessment(client(2)),
        ClientLine { days_silent: Some(9), propose_checkin: true, ..client(3) },
        ClientLine { consent_pending: Some(3), ..client(4) },
        client(5),
        ClientLine { state: ClientState::Invited, days_silent: None, key_waiting: true, ..client(6) },
    ]));
    assert_eq!((digest.to_answer, digest.to_decide, digest.nothing), (1, 3, 2));
    assert!(digest.asks);
    use Section::*;
    let sections: Vec<Section> = order_of(&digest).into_iter().map(|(s, _)| s).collect();
    assert_eq!(sections, [Due, Assessment, Key, Silent, ConsentPending, Quiet]);
}

#[test]
fn alerts_stand_in_the_order_in_which_they_were_told() {
    let alert = |bits, hour| AlertLine {
        code: Some(ClientCode::from_bits(bits)),
        number: None,
        label: Some("Marie B.".to_owned()),
        class: CrisisClass::A,
        first: at(2, hour),
    };
    let mut digest = arrange(Facts { alerts: vec![alert(1, 9), alert(2, 8)], ..facts(Vec::new()) });
    assert_eq!(digest.alerts.iter().map(|a| a.first).collect::<Vec<_>>(), [at(2, 8), at(2, 9)]);
    digest.without_labels();
    assert!(digest.alerts.iter().all(|a| a.label.is_none()));
}
