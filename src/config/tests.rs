//! The configuration as operators get it wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::{NaiveTime, TimeDelta};
use pretty_assertions::assert_eq;

use super::example::{Answers, CadreAnswers, ServerAnswers, TherapistAnswers, example, render};
use super::schema::{Kind, Need, SECTIONS};
use super::*;

mod files;
mod snippets;

const GOOD: &str = r#"
[practice]
name = "Cabinet Exemple"
address = "ecrire@cabinet.example"
[practice.cadre]
channel = "Courriel"
price = { fr = "60 €", en = "60 euros" }
fallback = "SMS"
[keys]
secret = "practice.key.pgp"
record = "record.key"
[imap]
host = "imap.example.org"
username = "u"
password_file = "imap.password"
[smtp]
host = "smtp.example.org"
[[therapist]]
id = "exemple"
name = "Dr Exemple"
title = "Psychologue"
register = "RPPS 1"
country = "FR"
address = "dr@exemple.example"
certificate = "exemple.pgp"
"#;

fn load(text: &str) -> Result<(Config, Vec<Finding>), Vec<Finding>> {
    Config::load_text(Path::new("/etc/cadre/cadre.toml"), text, &Env::default())
}

fn good(text: &str) -> Config {
    match load(text) {
        Ok((config, _)) => config,
        Err(findings) => panic!("{}", shown(&findings)),
    }
}

fn shown(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Line and key of every error.
fn errors(text: &str) -> Vec<(Option<usize>, String)> {
    let findings = load(text).expect_err("it should not load");
    for finding in &findings {
        assert!(!finding.cause.is_empty() && !finding.remedy.is_empty(), "{finding}");
    }
    findings.into_iter().filter(Finding::is_error).map(|finding| (finding.line, finding.key)).collect()
}

/// The one error of the good file with one text replaced by another.
fn one_error(from: &str, to: &str) -> Finding {
    assert!(GOOD.contains(from), "{from}");
    let findings = load(&GOOD.replacen(from, to, 1)).expect_err(to);
    let errors: Vec<Finding> = findings.into_iter().filter(Finding::is_error).collect();
    assert_eq!(errors.len(), 1, "{to}\n{}", shown(&errors));
    errors.into_iter().next().unwrap()
}

#[test]
fn what_is_left_out_gets_a_sane_value() {
    let config = good(GOOD);
    assert_eq!((config.imap.port, config.imap.tls, config.smtp.port), (993, Tls::Implicit, 465));
    assert_eq!(config.imap.poll, Duration::from_secs(60));
    assert!(config.imap.idle && config.smtp.login.is_none());
    assert_eq!((config.imap.inbox.as_str(), &config.imap.junk), ("INBOX", &Junk::Auto));
    assert_eq!(config.imap.filing, Filing::Folders);
    assert_eq!(config.practice.timezone, chrono_tz::Europe::Paris);
    assert_eq!((config.practice.language, config.practice.country.as_str()), (Language::Fr, "FR"));
    assert_eq!(config.practice.neutral_name.get(Language::Fr), "Correspondance");
    assert_eq!(config.practice.neutral_name.get(Language::En), "Correspondence");
    assert_eq!(config.practice.cadre.price.get(Language::En), "60 euros");
    assert_eq!(config.practice.cadre.channel.get(Language::En), "Courriel");
    assert_eq!(config.rhythm.release.source(), "0 0 18 * * Mon-Fri");
    assert_eq!(config.rhythm.cutoff, NaiveTime::from_hms_opt(7, 0, 0).unwrap());
    assert_eq!((config.rhythm.grace, config.rhythm.reminder), (TimeDelta::hours(2), TimeDelta::hours(3)));
    assert_eq!(config.rhythm.second, SecondReply::Auto);
    assert_eq!(config.digest.send.source(), "0 0 7 * * Mon-Fri");
    assert_eq!(config.intake.max_message, 25_000_000);
    assert_eq!(config.intake.requests, TherapistId("exemple".into()));
    assert_eq!(config.intake.unsigned, UnsignedPolicy::Flag);
    assert_eq!(config.intake.strangers, StrangersPolicy::Answer);
    assert_eq!(config.therapists[0].forward, Forwarding::Daily);
    assert_eq!(config.therapists[0].timezone, chrono_tz::Europe::Paris);
    assert_eq!(config.therapists[0].cadre, config.practice.cadre);
    assert!(config.frame_gaps(&config.therapists[0]).is_empty());
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = good(GOOD);
    assert_eq!(config.keys.secret.path(), Some(Path::new("/etc/cadre/practice.key.pgp")));
    assert_eq!(config.database.file(), Some(Path::new("/etc/cadre/cadre.db")));
    assert_eq!(config.database.journal_head, PathBuf::from("/etc/cadre/journal.head"));
    assert_eq!(config.therapists[0].certificate, PathBuf::from("/etc/cadre/exemple.pgp"));
    let absolute = GOOD.replace("\"exemple.pgp\"", "\"/keys/exemple.pgp\"");
    assert_eq!(good(&absolute).therapists[0].certificate, PathBuf::from("/keys/exemple.pgp"));
}

#[test]
fn a_server_is_named_without_a_password() {
    let with =
        |url: &str, rest: &str| GOOD.replacen("[imap]", &format!("[database]\nurl = \"{url}\"\n{rest}\n[imap]"), 1);
    let socket = "postgres://cadre@%2Frun%2Fpostgresql/cadre?sslmode=disable";
    for url in [socket, "postgresql://db.example:5433/cadre", "postgres:///?host=/run/postgresql&dbname=cadre"] {
        let config = good(&with(url, "password_file = \"pg.password\"\nschema = \"practice_one\""));
        let DatabasePlace::Server(server) = &config.database.place else { panic!("{url}") };
        assert_eq!((server.url.as_str(), server.schema.as_deref()), (url, Some("practice_one")));
        assert_eq!(server.password.as_ref().unwrap().path(), Some(Path::new("/etc/cadre/pg.password")));
        assert!(!format!("{:?}", config.database).contains("postgres"), "nobody is named in a log");
    }
    for (url, rest) in [
        ("postgres://cadre:secret@localhost/cadre", ""),
        ("postgres://localhost/cadre?password=secret", ""),
        ("postgres://localhost/cadre?options=-csearch_path", ""),
        ("postgres://localhost", ""),
        ("postgres://localhost/a b", ""),
        ("postgres://localhost/cadre", "schema = \"Practice\""),
        ("postgres://localhost/cadre", "schema = \"pg_temp\""),
        ("sqlite:cadre.db", "schema = \"practice\""),
        ("sqlite:cadre.db", "password_file = \"p\""),
    ] {
        let findings = load(&with(url, rest)).expect_err(url);
        let told = shown(&findings);
        assert!(told.contains("[database]") && !told.contains("secret@") && !told.contains("=secret"), "{told}");
    }
}

#[test]
fn every_fault_is_named_at_once_with_its_line() {
    let text = r#"lost = 1
[practice]
name = ""
adress = "ecris@lac.example"
timezone = "Europe/Pari"
country = "France"
region = "57"
language = "de"
[practice.cadre]
channel = "Courriel"
price = { de = "60" }
[keys]
secret = 3
passphrase = "hunter2"
[imapp]
[imap]
host = "imaps://imap.example.org"
port = 70000
tls = "starttsl"
poll = "soon"
idle = "yes"
auth = "xoauth2"
password_file = "p"
[smtp]
host = "192.0.2.1"
tls = "none"
password_file = "p"
[database]
url = "mysql://localhost/cadre"
[rhythm]
release = "0 0 18 * * 1-5"
cutoff = "7h"
grace = "3d"
second = "twice"
[digest]
send = "0 0 7 30 2 *"
[intake]
max_message = "huge"
requests = "nobody"
max_held = -1
[[therapist]]
id = "Dr Exemple"
name = "Dr Exemple"
address = "not an address"
certificate = "exemple.pgp"
forward = "weekly"
[therapist.cadre]
chanel = "x"
[[absence]]
therapist = "nobody"
from = 2026-08-21
to = 2026-08-01
"#;
    let expected: Vec<(usize, &str)> = vec![
        (1, "lost"),
        (2, "[practice] address"),
        (3, "[practice] name"),
        (4, "[practice] adress"),
        (5, "[practice] timezone"),
        (6, "[practice] country"),
        (7, "[practice] region"),
        (8, "[practice] language"),
        (9, "[practice.cadre] fallback"),
        (11, "[practice.cadre] price"),
        (12, "[keys] record"),
        (13, "[keys] secret"),
        (14, "[keys] passphrase"),
        (15, "[imapp]"),
        (16, "[imap] token_command"),
        (16, "[imap] username"),
        (17, "[imap] host"),
        (18, "[imap] port"),
        (19, "[imap] tls"),
        (20, "[imap] poll"),
        (21, "[imap] idle"),
        (23, "[imap] password_file"),
        (26, "[smtp] tls"),
        (27, "[smtp] password_file"),
        (29, "[database] url"),
        (31, "[rhythm] release"),
        (32, "[rhythm] cutoff"),
        (33, "[rhythm] grace"),
        (34, "[rhythm] second"),
        (36, "[digest] send"),
        (38, "[intake] max_message"),
        (39, "[intake] requests"),
        (40, "[intake] max_held"),
        (41, "[[therapist]] #1.country"),
        (41, "[[therapist]] #1.register"),
        (41, "[[therapist]] #1.title"),
        (42, "[[therapist]] #1.id"),
        (44, "[[therapist]] #1.address"),
        (46, "[[therapist]] #1.forward"),
        (48, "[therapist.cadre] #1.chanel"),
        (50, "[[absence]] #1.therapist"),
        (52, "[[absence]] #1.to"),
    ];
    let mut found = errors(text);
    found.sort();
    let expected: Vec<_> = expected.into_iter().map(|(line, key)| (Some(line), key.to_owned())).collect();
    assert_eq!(found, expected);
    let whole = shown(&load(text).unwrap_err());
    for secret in ["hunter2", "not an address", "ecris@"] {
        assert!(!whole.contains(secret), "findings repeat {secret}:\n{whole}");
    }
}

#[test]
fn an_empty_file_names_everything_that_is_required() {
    let keys: Vec<String> = errors("").into_iter().map(|(_, key)| key).collect();
    for key in [
        "[practice] name",
        "[practice] address",
        "[practice.cadre] channel",
        "[practice.cadre] price",
        "[practice.cadre] fallback",
        "[keys] secret",
        "[keys] record",
        "[imap] host",
        "[imap] username",
        "[imap] password_file",
        "[smtp] host",
        "[[therapist]]",
    ] {
        assert!(keys.iter().any(|found| found == key), "{key} not in {keys:?}");
    }
    assert_eq!(keys.len(), 12, "{keys:?}");
}

#[test]
fn cron_expressions_are_judged() {
    for (cron, word) in [
        ("0 0 18 * * 1-5", "numbers"),
        ("0 0 18 * * Mon,3", "numbers"),
        ("0 18 * * Mon-Fri", "six fields"),
        ("0 0 18 * * Mon-Fri 2020", "six fields"),
        ("0 0 25 * * Mon", "not a cron"),
        ("0 0 18 * * Fri-Sun", "not a cron"),
        ("0 0 18 30 Feb *", "never fires"),
        ("0 0 18 31 4,6 Mon", "never fires"),
        ("@daily", "six fields"),
    ] {
        let fault = parse::cron(cron).expect_err(cron);
        assert!(fault.cause.contains(word), "{cron}: {}", fault.cause);
    }
    for cron in ["0 0 18 * * Mon-Fri", "0 0 18 * * Tue,Fri", "0 30 8,18 * * *", "0 0 18 29 2 *", "*/5 * * * * *"] {
        assert!(parse::cron(cron).is_ok(), "{cron}");
    }
}

#[test]
fn names_near_to_a_known_one_are_guessed() {
    assert!(one_error("[keys]", "[rhythm]\nrelaese = \"0 0 18 * * Mon\"\n[keys]").remedy.contains("release"));
    assert!(one_error("[keys]", "[rythm]\n[keys]").remedy.contains("[rhythm]"));
    assert!(one_error("[keys]", "[intake]\nunsigned = \"flagg\"\n[keys]").remedy.contains("\"flag\""));
    assert!(one_error("[practice]", "[practice]\ntimezone = \"Europe/Brusels\"").remedy.contains("Europe/Brussels"));
    let elsewhere = one_error("[practice]", "[practice]\ncutoff = \"07:00\"");
    assert!(elsewhere.remedy.contains("[rhythm]"), "{elsewhere}");
    let secret = one_error("password_file = \"imap.password\"", "password_file = \"p\"\npassword = \"hunter2\"");
    assert!(secret.remedy.contains("password_file") && !secret.to_string().contains("hunter2"), "{secret}");
}

#[test]
fn tls_may_be_off_only_on_this_machine() {
    for host in ["127.0.0.1", "127.8.9.10", "::1", "localhost", "[::1]"] {
        let text = GOOD.replace("host = \"smtp.example.org\"", &format!("host = \"{host}\"\ntls = \"none\""));
        assert_eq!(good(&text).smtp.port, 25, "{host}");
    }
    for host in ["192.168.1.1", "mail.localhost.example", "10.0.0.1", "::2"] {
        let found = one_error("host = \"smtp.example.org\"", &format!("host = \"{host}\"\ntls = \"none\""));
        assert_eq!(found.key, "[smtp] tls", "{host}");
    }
    let starttls = good(&GOOD.replace("\nhost = ", "\ntls = \"starttls\"\nhost = "));
    assert_eq!((starttls.imap.port, starttls.smtp.port), (143, 587));
}

#[test]
fn metrics_are_served_on_this_machine_only_and_the_heartbeat_is_asked_over_tls() {
    let section = |line: &str| format!("{GOOD}\n[metrics]\n{line}\n");
    let listen = |value: &str| good(&section(&format!("listen = \"{value}\""))).metrics.listen.unwrap().to_string();
    assert_eq!(good(GOOD).metrics.listen, None);
    assert_eq!(listen("127.0.0.1:9464"), "127.0.0.1:9464");
    assert_eq!(listen("localhost:9464"), "127.0.0.1:9464");
    assert_eq!(listen("[::1]:9464"), "[::1]:9464");
    assert_eq!(listen("unix:/run/cadre/metrics.sock"), "unix:/run/cadre/metrics.sock");
    assert_eq!(listen("unix:m.sock"), "unix:/etc/cadre/m.sock");
    let too_long = format!("unix:{}", "x".repeat(120));
    for bad in ["0.0.0.0:9464", "192.168.1.2:9464", "[::]:9464", "127.0.0.1", "127.0.0.1:0", "9464", "unix:", &too_long]
    {
        let found = errors(&section(&format!("listen = \"{bad}\"")));
        assert_eq!(found.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>(), ["[metrics] listen"], "{bad}");
    }
    let url = |value: &str| format!("{GOOD}\n[operator]\naddress = \"o@o.example\"\nheartbeat_url = \"{value}\"\n");
    for fine in ["https://hc.example/ping/1?a=b", "http://127.0.0.1:8000/", "http://[::1]/x", "http://localhost/"] {
        assert!(good(&url(fine)).operator.heartbeat_url.is_some(), "{fine}");
    }
    for bad in
        ["http://hc.example/", "ftp://127.0.0.1/", "hc.example", "/ping", "https://", "https://u:p@hc.example/", "x y"]
    {
        assert_eq!(errors(&url(bad)).len(), 1, "{bad}");
    }
}

#[test]
fn an_address_has_one_role() {
    let found = one_error("dr@exemple.example", "ECRIRE@Cabinet.example");
    assert_eq!(found.key, "[[therapist]] exemple.address");
    assert!(found.cause.contains("[practice] address, line 4"), "{found}");
    assert!(!found.to_string().to_lowercase().contains("ecrire@"), "{found}");
    let found = one_error("[keys]", "[operator]\naddress = \"dr@exemple.example\"\n[keys]");
    assert_eq!(found.key, "[[therapist]] exemple.address");
}

#[test]
fn two_therapists_have_two_ids() {
    let second = GOOD[GOOD.find("[[therapist]]").unwrap()..].replace("dr@", "autre@");
    let found = errors(&format!("{GOOD}{second}"));
    assert_eq!(found, vec![(Some(27), "[[therapist]] exemple.id".to_owned())]);
    let config = good(&format!("{GOOD}{}", second.replace("\"exemple\"", "\"autre\"")));
    assert_eq!(config.therapists.len(), 2);
    assert_eq!(config.intake.requests.0, "exemple");
}

#[test]
fn a_frame_with_a_gap_is_an_error_unless_each_therapist_fills_it() {
    let found = one_error("channel = \"Courriel\"\n", "");
    assert_eq!(found.key, "[practice.cadre] channel");
    assert!(found.cause.contains("exemple"), "{found}");
    assert_eq!(one_error("\"Courriel\"", "\"  \"").key, "[practice.cadre] channel");
    assert_eq!(one_error("title = \"Psychologue\"\n", "").key, "[[therapist]] exemple.title");
    let filled = GOOD.replace("channel = \"Courriel\"\n", "") + "[therapist.cadre]\nchannel = \"Lettres\"\n";
    let config = good(&filled);
    assert_eq!(config.therapists[0].cadre.channel.get(Language::Fr), "Lettres");
    assert_eq!(config.therapists[0].cadre.fallback.get(Language::Fr), "SMS");
    let mut broken = config.therapists[0].clone();
    broken.cadre.price = Texts::default();
    broken.register = " ".into();
    assert_eq!(config.frame_gaps(&broken), vec![FrameGap::Price, FrameGap::References]);
}

#[test]
fn a_therapist_may_have_hours_of_their_own() {
    let own = "timezone = \"America/Montreal\"\nrelease = \"0 0 12 * * Tue\"\ncutoff = 06:30:00\nlanguage = \"en\"\n";
    let config = good(&format!("{GOOD}{own}"));
    let therapist = &config.therapists[0];
    assert_eq!(therapist.timezone, chrono_tz::America::Montreal);
    assert_eq!((therapist.release.source(), therapist.language), ("0 0 12 * * Tue", Language::En));
    assert_eq!(therapist.cutoff, NaiveTime::from_hms_opt(6, 30, 0).unwrap());
}

#[test]
fn absences_are_read() {
    let config = good(&format!("{GOOD}[[absence]]\ntherapist = \"exemple\"\nfrom = 2026-08-01\nto = \"2026-08-21\"\n"));
    let day = |day| NaiveDate::from_ymd_opt(2026, 8, day).unwrap();
    let id = TherapistId("exemple".into());
    let expected = Absence { therapist: id.clone(), from: day(1), to: day(21), locum: None };
    assert_eq!(config.absences_of(&id).collect::<Vec<_>>(), vec![&expected]);
}

#[test]
fn what_is_wished_for_is_a_warning() {
    let (_, warnings) = load(GOOD).unwrap();
    let keys: Vec<&str> = warnings.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(keys, ["[practice.cadre] colleague", "[keys] archive", "[operator] address"]);
    assert!(warnings.iter().all(|finding| !finding.is_error()));
    let (_, more) = load(&GOOD.replace("[smtp]", "filing = \"keep\"\n[smtp]")).unwrap();
    assert!(more.iter().any(|finding| finding.key == "[imap] filing"), "{}", shown(&more));
    let (_, more) = load(&GOOD.replace("[practice.cadre]", "country = \"LU\"\n[practice.cadre]")).unwrap();
    assert!(more.iter().any(|finding| finding.key == "[practice] country"), "{}", shown(&more));
}

#[test]
fn sections_of_the_wrong_shape_are_named() {
    assert_eq!(errors(&GOOD.replace("[[therapist]]", "[therapist]")), vec![(Some(18), "[[therapist]]".to_owned())]);
    let list = GOOD.replace("[smtp]", "[[smtp]]");
    assert!(errors(&list).iter().any(|(line, key)| *line == Some(16) && key == "[smtp]"), "{:?}", errors(&list));
    let inline = GOOD.replace("[smtp]\nhost = \"smtp.example.org\"\n", "").replacen(
        "[practice]",
        "smtp = { host = \"smtp.example.org\", prot = 25 }\n[practice]",
        1,
    );
    assert_eq!(errors(&inline), vec![(Some(2), "[smtp] prot".to_owned())]);
    let dotted =
        format!("smtp.host = \"smtp.example.org\"\n{}", GOOD.replace("[smtp]\nhost = \"smtp.example.org\"\n", ""));
    assert_eq!(good(&dotted).smtp.host, "smtp.example.org");
}

#[test]
fn a_file_that_is_not_toml_gives_one_finding_with_its_line() {
    let findings = load("[practice]\nname = \"a\"\naddress = \n").unwrap_err();
    assert_eq!((findings.len(), findings[0].line), (1, Some(3)), "{}", shown(&findings));
    let twice = load("[practice]\nname = \"a\"\nname = \"b\"\n").unwrap_err();
    assert_eq!((twice.len(), twice[0].line), (1, Some(3)), "{}", shown(&twice));
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cadre.toml");
    let missing = Config::load(&path, &Env::default()).unwrap_err();
    assert!(missing[0].cause.contains("missing"), "{}", missing[0]);
    fs::write(&path, b"[practice]\nname = \"caf\xe9\"\n").unwrap();
    let latin = Config::load(&path, &Env::default()).unwrap_err();
    assert_eq!((latin.len(), latin[0].line), (1, Some(2)), "{}", shown(&latin));
    assert!(Config::load(folder.path(), &Env::default()).is_err());
}

#[test]
fn a_finding_reads_as_thing_cause_remedy() {
    let found = one_error("[keys]", "[rhythm]\nrelease = \"0 0 18 * * 1-5\"\n[keys]");
    let text = found.to_string();
    assert!(text.starts_with("/etc/cadre/cadre.toml:10: [rhythm] release: "), "{text}");
    assert!(text.contains("\n    → write weekdays by name"), "{text}");
    assert_eq!(serde_json::to_value(&found).unwrap()["severity"], "error");
}

#[test]
fn the_file_is_found_by_option_then_environment() {
    let env = Env::of([("CADRE_CONFIG", "/from/env.toml")]);
    assert_eq!(Config::find(Some(Path::new("cli.toml")), &env), PathBuf::from("cli.toml"));
    assert_eq!(Config::find(None, &env), PathBuf::from("/from/env.toml"));
    assert_eq!(Config::find(None, &Env::default()), PathBuf::from("/etc/cadre/cadre.toml"));
}

fn committed(name: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, generated, "run UPDATE_GOLDEN=1 cargo test config::");
}

#[test]
fn the_committed_example_is_the_generated_one() {
    committed("cadre.example.toml", &example());
}

#[test]
fn the_committed_schema_is_the_generated_one() {
    committed("cadre.schema.json", &json_schema::json_schema());
}

#[test]
fn the_example_reads_back_and_shows_every_key() {
    let text = example();
    let config = good(&text);
    assert_eq!(config.practice.name, "Cabinet Exemple");
    assert!(text.lines().all(|line| line.chars().count() <= 120), "a line is too long");
    for section in SECTIONS {
        assert!(text.contains(&section.header()), "{}", section.header());
        for key in section.keys {
            assert!(text.contains(&format!("{} = ", key.name)), "{} {}", section.header(), key.name);
            assert!(key.need.example().parse::<toml_edit::Value>().is_ok(), "{} is no TOML", key.need.example());
        }
    }
}

/// A key that the schema has and nobody reads would be taken in silence: each is set to a value of a wrong type, and
/// must be named.
#[test]
fn every_key_of_the_schema_is_read() {
    for section in SECTIONS {
        for key in section.keys {
            let mut document: toml_edit::DocumentMut = GOOD.parse().unwrap();
            let mut table = document.as_table_mut();
            for step in section.path.split('.') {
                let item = table.entry(step).or_insert_with(|| match section.list {
                    true => toml_edit::Item::ArrayOfTables([toml_edit::Table::new()].into_iter().collect()),
                    false => toml_edit::table(),
                });
                table = match item {
                    toml_edit::Item::ArrayOfTables(tables) => tables.get_mut(0).unwrap(),
                    item => item.as_table_mut().unwrap(),
                };
            }
            table.insert(key.name, toml_edit::value(1.5));
            let found = errors(&document.to_string());
            assert!(found.iter().any(|(_, name)| name.ends_with(key.name)), "{} {}", section.path, key.name);
        }
    }
}

#[test]
fn words_of_the_schema_are_those_of_the_types() {
    for section in SECTIONS {
        for key in section.keys {
            if let (Kind::Words(words), Need::Default(default)) = (key.kind, key.need) {
                assert!(words.contains(&default.trim_matches('"')), "{} {}", section.path, key.name);
            }
        }
    }
    let of = |all: &[&str], words: &[&str]| assert_eq!(all, words);
    of(&Language::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>(), schema::LANGUAGES);
    of(&Filing::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>(), schema::FILING);
    of(&SecondReply::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>(), schema::SECOND);
    of(&UnsignedPolicy::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>(), schema::UNSIGNED);
    of(&StrangersPolicy::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>(), schema::STRANGERS);
    of(&Forwarding::ALL.iter().map(|w| w.as_str()).collect::<Vec<_>>(), schema::FORWARD);
}

#[test]
fn what_init_writes_reads_back_as_it_was_answered() {
    let some = |text: &str| Some(text.to_owned());
    let mut answers = Answers {
        practice_name: some("Cabinet « L'Écoute » \"du\" Lac\\"),
        practice_address: some("ecrire@lac.example"),
        neutral_name: some("Courrier"),
        language: some("en"),
        timezone: some("Europe/Zurich"),
        country: some("CH"),
        region: some("CH-GE"),
        key_archive: some("archive.pgp"),
        filing: some("delete"),
        release: some("0 0 12 * * Tue,Fri"),
        database_url: some("sqlite:/var/lib/cadre/cadre.db"),
        operator_address: some("ops@lac.example"),
        ..Answers::default()
    };
    answers.cadre = CadreAnswers { price: some("90 CHF"), colleague: some("Mme A, +41 00"), ..Default::default() };
    answers.imap = ServerAnswers { host: some("127.0.0.1"), port: Some(1143), tls: some("none"), ..Default::default() };
    answers.smtp = ServerAnswers {
        host: some("mx.example"),
        username: some("u"),
        token_command: some("echo t"),
        ..Default::default()
    };
    answers.other.insert(("imap".into(), "poll".into()), "\"5s\"".into());
    answers.therapists = ["a", "b"]
        .map(|id| TherapistAnswers {
            id: some(id),
            address: some(&format!("{id}@lac.example")),
            forward: some("each"),
            cadre: CadreAnswers { price: (id == "b").then(|| "120 CHF".to_owned()), ..Default::default() },
            ..Default::default()
        })
        .into();
    let text = render(&answers);
    let (config, warnings) = load(&text).unwrap_or_else(|findings| panic!("{}\n{text}", shown(&findings)));
    assert_eq!(shown(&warnings), "");
    assert_eq!(config.practice.name, "Cabinet « L'Écoute » \"du\" Lac\\");
    assert_eq!((config.practice.country.as_str(), config.practice.region.as_deref()), ("CH", Some("CH-GE")));
    assert_eq!((config.imap.host.as_str(), config.imap.port, config.imap.tls), ("127.0.0.1", 1143, Tls::None));
    assert_eq!((config.imap.poll, config.imap.filing), (Duration::from_secs(5), Filing::Delete));
    assert_eq!(config.imap.login.username, "ecrire@lac.example");
    assert!(
        matches!(&config.smtp.login, Some(Login { method: LoginMethod::XOAuth2 { token_command }, .. }) if token_command == "echo t")
    );
    assert_eq!(config.database.file(), Some(Path::new("/var/lib/cadre/cadre.db")));
    assert_eq!(config.therapists.len(), 2);
    assert_eq!(config.therapists[1].cadre.price.get(Language::Fr), "120 CHF");
    assert_eq!(config.therapists[0].cadre.price.get(Language::Fr), "90 CHF");
    assert_eq!(config.therapists[1].release.source(), "0 0 12 * * Tue,Fri");
}

#[test]
fn durations_sizes_and_hours_are_read() {
    for (text, seconds) in [("60s", 60), ("2h", 7200), ("1h30m", 5400), ("5 min", 300), ("0s", 0), ("1d", 86_400)] {
        assert_eq!(parse::duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    for text in ["", "60", "h", "-1s", "1y", "99999999999999999999s", "18446744073709551615d", "é", "1h x"] {
        assert!(parse::duration(text).is_err(), "{text}");
    }
    for (text, bytes) in [("25MB", 25_000_000), ("800 kB", 800_000), ("1MiB", 1 << 20), ("12345", 12_345)] {
        assert_eq!(parse::size(text), Ok(bytes), "{text}");
    }
    for text in ["", "MB", "1.5MB", "-3MB", "99999999999999999999GB", "18446744073709551615GB", "3é"] {
        assert!(parse::size(text).is_err(), "{text}");
    }
    assert!(parse::hour("24:00").is_err() && parse::hour("7h").is_err() && parse::hour("07:00").is_ok());
}
