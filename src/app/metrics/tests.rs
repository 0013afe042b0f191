use std::collections::BTreeSet;
use std::path::Path;

use yaml_rust2::{Yaml, YamlLoader};

use super::*;
use crate::app::health::Health;
use crate::app::status::KeyEnd;
use crate::model::{ClientState, CrisisClass, Verdict};
use crate::store::Figures;

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

/// A state in which there is some of everything, so that every metric has a line.
fn full() -> State {
    let ok = || Health { state: "ok".to_owned(), since: at(), detail: None };
    let each = || [("exemple".to_owned(), Some(at()))].into_iter().collect();
    let key = |whose| KeyEnd { whose, expires: Some(at()), days: Some(9) };
    State {
        at: at(),
        running: true,
        mailbox_read: Some(at()),
        sent_last: Some(at()),
        health: [("imap", ok()), ("smtp", ok())].into_iter().collect(),
        slots: each(),
        last_digest: each(),
        due_turns: [("exemple".to_owned(), 2)].into_iter().collect(),
        keys: vec![
            key(Role::Practice),
            key(Role::Archive),
            key(Role::Therapist("exemple".to_owned())),
            key(Role::Client("C-7K2M".to_owned())),
        ],
        database_size: Some(4096),
        queue_oldest: Some(at() - chrono::TimeDelta::seconds(90)),
        figures: Figures {
            clients: ClientState::ALL.iter().map(|state| (*state, 2)).collect(),
            alerts: CrisisClass::ALL.iter().map(|class| (*class, 1)).collect(),
            open_turns: 3,
            overdue_turns: 1,
            waiting_replies: 4,
            outbox: 6,
            outbox_held: 7,
            ..Figures::default()
        },
        letters: Verdict::ALL.iter().map(|verdict| (*verdict, 5)).collect(),
        ..State::default()
    }
}

/// The names of all series in an exposition.
fn exported() -> BTreeSet<String> {
    let text = exposition(&full()).unwrap();
    let series = text.lines().filter(|line| !line.starts_with('#'));
    series.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// The metrics that a query of Prometheus' names.
fn named(query: &str) -> BTreeSet<String> {
    let names = regex::Regex::new(r"\bcadre_[a-z0-9_]+").unwrap();
    names.find_iter(query).map(|found| found.as_str().to_owned()).collect()
}

fn deployed(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)).unwrap()
}

#[test]
fn the_health_page_says_every_cause_on_a_line() {
    let well = State::default();
    assert_eq!(health_page(Some(false), Some(&well)), Page::text(200, "ok\n"));
    assert_eq!(health_page(None, Some(&well)).status, 503);
    let mut ill = State::default();
    ill.judge();
    let page = health_page(Some(true), Some(&ill));
    assert_eq!((page.status, page.body.lines().count()), (503, 2), "{}", page.body);
    assert_eq!(health_page(Some(false), None).body, "the database can't be read\n");
}

#[test]
fn a_client_is_a_number_in_the_metrics_and_no_code() {
    let text = exposition(&full()).unwrap();
    for line in [
        "cadre_client_keys_ending 1.0",
        "cadre_key_expiry_days{role=\"therapist\",therapist=\"exemple\"} 9.0",
        "cadre_letters_total{verdict=\"unknown-signer\"} 5",
        "cadre_outbox_age_seconds 90.0",
        "cadre_alerts_open{class=\"A\"} 1.0",
        "cadre_turns_due{therapist=\"exemple\"} 2.0",
        "cadre_turns_open 3.0",
        "cadre_turns_overdue 1.0",
        "cadre_replies_waiting 4.0",
        "cadre_outbox{state=\"waiting\"} 6.0",
        "cadre_outbox{state=\"held\"} 7.0",
        "cadre_digest_last_timestamp_seconds{therapist=\"exemple\"} 1790000000.0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    assert!(!text.contains("7K2M") && text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn every_alert_rule_names_what_is_exported_and_what_to_do() {
    let rules = YamlLoader::load_from_str(&deployed("prometheus/cadre.rules.yml")).unwrap();
    let exported = exported();
    let mut alerts = BTreeSet::new();
    for rule in rules[0]["groups"].as_vec().unwrap().iter().flat_map(|group| group["rules"].as_vec().unwrap()) {
        let text = |value: &Yaml| value.as_str().map(str::to_owned).unwrap_or_else(|| panic!("{rule:?}"));
        let (name, expr) = (text(&rule["alert"]), text(&rule["expr"]));
        let unknown: Vec<_> = named(&expr).difference(&exported).cloned().collect();
        assert!(unknown.is_empty(), "{name} names what isn't exported: {unknown:?}");
        // Several gateways of one practice show the same facts of one database: once is enough.
        let own = ["up{", "cadre_clock_timestamp_seconds"].iter().any(|name| expr.contains(name));
        assert!(own || expr.contains("without (instance)"), "{name} comes once for each gateway: {expr}");
        assert!(!named(&expr).is_empty() || expr.contains("up{job=\"cadre\"}"), "{name} looks at nothing: {expr}");
        assert!(["page", "ticket"].contains(&text(&rule["labels"]["severity"]).as_str()), "{name}");
        let annotations = &rule["annotations"];
        assert!(text(&annotations["summary"]).len() > 10 && text(&annotations["description"]).len() > 10, "{name}");
        assert!(alerts.insert(name.clone()), "{name} is there twice");
    }
    assert!(alerts.len() >= 10, "{alerts:?}");
}

#[test]
fn the_dashboard_shows_what_is_exported() {
    let dashboard: serde_json::Value = serde_json::from_str(&deployed("grafana/cadre.json")).unwrap();
    let exported = exported();
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            let unknown: Vec<_> = named(expr).difference(&exported).cloned().collect();
            assert!(unknown.is_empty(), "{} names what isn't exported: {unknown:?}", panel["title"]);
            assert!(!named(expr).is_empty(), "{} looks at nothing", panel["title"]);
            let own = expr.contains("cadre_build_info");
            assert!(own || expr.contains("without (instance"), "{} is N-fold with N gateways: {expr}", panel["title"]);
            shown.extend(named(expr));
        }
    }
    assert!(shown.len() >= 15, "{shown:?}");
}
