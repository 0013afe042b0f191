//! `cadre letters`, and what becomes of an operator's letter that can't be used.

mod common;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use common::ledger::distinct_to;
use common::scene::{Scene, march};
use common::{Lab, Practice, PracticeOptions};
use serde_json::Value;

const OPERATOR: &str = "ops@autre.example";

fn scene() -> Result<Scene> {
    let scene = Scene::with(Lab::light()?, PracticeOptions { forward: "each".into(), ..PracticeOptions::default() })?;
    scene.practice.set("operator.address", &format!("\"{OPERATOR}\""))?;
    scene.practice.set("letters.folder", "\"letters\"")?;
    for language in ["fr", "en"] {
        std::fs::create_dir_all(scene.practice.dir.join("letters").join(language))?;
    }
    Ok(scene)
}

fn own(scene: &Scene, file: &str, text: &str) -> Result<()> {
    Ok(std::fs::write(scene.practice.dir.join("letters").join(file), text)?)
}

/// Mails to the operator so far.
fn told(scene: &Scene) -> Result<Vec<String>> {
    let sink = scene.lab.sink.as_ref().context("a sink")?;
    let mails = distinct_to(&sink.mails(), OPERATOR)?;
    Ok(mails.iter().map(|mail| String::from_utf8_lossy(&mail.data).replace("=\r\n", "")).collect())
}

const SOUND: &str = "subject = \"Reçu\"\n---\nAutomatique. Votre lettre est là depuis le {{ arrived|moment }} ; la suite \
                     s'y joindra. Réponse {{ expected|from }}. Adresse pas surveillée : {{ lines|numbers }}.\n";
const LOST: &str = "subject = \"Reçu\"\n---\nAutomatique. Votre lettre est là ; la suite s'y joindra. Réponse \
                    {{ expected|from }}. Adresse pas surveillée : {{ lines|numbers }}.\n";

#[test]
fn a_broken_letter_is_found_the_built_in_one_used_and_the_operator_told_once() -> Result<()> {
    let scene = scene()?;
    own(&scene, "fr/acknowledgement.txt", LOST)?;
    own(&scene, "fr/receipt.txt", "subject = \"x\"\n---\nun\n{% if %}\n")?;
    own(&scene, "en/aknowledgement.txt", SOUND)?;

    let out = scene.practice.run(&["letters", "check", "--json"])?;
    ensure!(out.status == Some(1), "{out:?}");
    let page: Value = serde_json::from_str(&out.stdout)?;
    let faults = page["faults"].as_array().context("faults")?;
    let of = |end: &str| faults.iter().find(|f| f["file"].as_str().is_some_and(|f| f.ends_with(end)));
    let lost = of("fr/acknowledgement.txt").context("the lost fact")?;
    ensure!(lost["cause"].as_str().is_some_and(|c| c.contains("`arrived`")), "{lost}");
    ensure!(lost["remedy"].as_str().is_some_and(|r| r.contains("{{ arrived|moment }}")), "{lost}");
    ensure!(of("fr/receipt.txt").is_some_and(|f| f["line"] == 4), "{page:#}");
    let unknown = of("en/aknowledgement.txt").context("the unknown name")?;
    ensure!(unknown["remedy"].as_str().is_some_and(|r| r.contains("acknowledgement.txt")), "{unknown}");
    let plain = scene.practice.run(&["letters", "check"])?;
    ensure!(plain.status == Some(1) && plain.stdout.contains("receipt.txt:4:"), "{plain:?}");
    // The great check names them too, as warnings: nothing stands still.
    let all = scene.practice.run(&["check", "--json"])?;
    for file in ["fr/acknowledgement.txt", "fr/receipt.txt", "en/aknowledgement.txt"] {
        ensure!(all.stdout.contains(file), "{file} is missing: {all:?}");
    }

    scene.letter(&scene.marie, "Sujet", "Bonjour.\n", march(2, 3, 0))?;
    for (day, hour) in [(2, 3), (2, 4), (4, 3)] {
        scene.practice.once(march(day, hour, 5))?;
    }
    let mails = told(&scene)?;
    ensure!(mails.len() == 2, "{} alarms for two letters", mails.len());
    ensure!(mails.iter().any(|mail| mail.contains("fr/acknowledgement")), "{mails:?}");
    let acknowledged = |words: &str| -> Result<bool> {
        Ok(scene.mails(&scene.marie)?.iter().any(|mail| mail.texts.iter().any(|text| text.contains(words))))
    };
    ensure!(acknowledged("Votre lettre est arrivée")?, "the built-in letter went");

    own(&scene, "fr/acknowledgement.txt", SOUND)?;
    std::fs::remove_file(scene.practice.dir.join("letters/fr/receipt.txt"))?;
    std::fs::remove_file(scene.practice.dir.join("letters/en/aknowledgement.txt"))?;
    ensure!(scene.practice.run(&["letters", "check"])?.ok(), "all are sound now");
    scene.letter(&scene.paul, "Sujet", "Bonjour.\n", march(4, 4, 0))?;
    scene.practice.once(march(4, 4, 5))?;
    ensure!(told(&scene)?.len() == 2, "nothing more is told");
    let paul = scene.mails(&scene.paul)?;
    ensure!(
        paul.iter().any(|mail| mail.texts.iter().any(|text| text.contains("Votre lettre est là depuis"))),
        "the operator's own letter went"
    );

    own(&scene, "fr/acknowledgement.txt", LOST)?;
    scene.practice.once(march(4, 5, 0))?;
    ensure!(told(&scene)?.len() == 3, "it broke again, and that is told again");
    Ok(())
}

#[test]
fn letters_are_listed_and_shown_with_the_practices_own_frame() -> Result<()> {
    let scene = scene()?;
    own(&scene, "fr/acknowledgement.txt", SOUND)?;
    let list = scene.practice.json(&["letters", "list"])?;
    let list = list.as_array().context("a list")?;
    let of = |name: &str| list.iter().find(|l| l["name"] == name).cloned().unwrap_or_default();
    ensure!(of("acknowledgement")["own"] == serde_json::json!(["fr"]), "{}", of("acknowledgement"));
    ensure!(of("invitation")["clear"] == true && of("alert")["to"] == "therapist");

    let shown = scene.practice.run(&["letters", "preview", "acknowledgement", "--language", "fr"])?.expect_ok()?;
    ensure!(shown.contains("Votre lettre est là depuis") && shown.contains("3114"), "{shown}");
    let shown = scene.practice.json(&["letters", "preview", "delivery-failure"])?;
    let text = shown["text"].as_str().context("a text")?;
    let fallback = toml_fallback(&scene.practice.config)?;
    ensure!(text.contains(&fallback), "the frame's own way is missing: {text}");
    let html = scene.practice.run(&["letters", "preview", "digest", "--html", "--language", "en"])?.expect_ok()?;
    ensure!(html.contains("<!DOCTYPE html>") && html.contains("Alerts without an answer"), "{html}");
    let samples = of("receipt")["samples"].as_u64().context("samples")?;
    let beyond = (samples + 1).to_string();
    for wrong in [
        vec!["letters", "preview", "nothing"],
        vec!["letters", "preview", "receipt", "--sample", beyond.as_str()],
        vec!["letters", "preview", "receipt", "--sample", "0"],
        vec!["letters", "preview", "receipt", "--html"],
        vec!["letters", "preview", "receipt", "--language", "de"],
    ] {
        let out = scene.practice.run(&wrong)?;
        ensure!(out.status == Some(2) && out.stderr.starts_with("cadre: "), "{wrong:?}: {out:?}");
    }
    Ok(())
}

/// The numbers to call are those of the country that the practice is in, in whatever language they are read.
#[test]
fn a_preview_shows_the_lines_of_the_practices_country() -> Result<()> {
    let scene = scene()?;
    for (country, own, others) in [("FR", "3114", "143"), ("CH", "143", "3114"), ("BE", "0800 32 123", "3114")] {
        scene.practice.set("practice.country", &format!("{country:?}"))?;
        for language in ["fr", "en"] {
            for letter in ["safety", "acknowledgement", "frame"] {
                let shown = scene.practice.run(&["letters", "preview", letter, "--language", language])?.expect_ok()?;
                let shown = shown.replace(['\u{a0}', '\u{202f}'], " ");
                ensure!(shown.contains(own) && !shown.contains(others), "{country} {language} {letter}: {shown}");
            }
        }
    }
    Ok(())
}

/// `check` warns of emergency lines that nobody has looked at for 180 days.
#[test]
fn check_warns_of_lines_that_were_verified_more_than_180_days_ago() -> Result<()> {
    use chrono::{Days, NaiveDate};
    let scene = scene()?;
    let lines: toml_edit::DocumentMut = include_str!("../config/lines.toml").parse()?;
    let verified: NaiveDate = lines["FR"]["verified_on"].as_str().context("a day")?.parse()?;
    for (days, warned) in [(1, false), (180, false), (181, true), (400, true)] {
        let at =
            verified.checked_add_days(Days::new(days)).and_then(|day| day.and_hms_opt(12, 0, 0)).context("a day")?;
        let out = scene.practice.run_at(at.and_utc(), &["check", "--json"])?;
        let report: Value = serde_json::from_str(&out.stdout).with_context(|| out.stderr.clone())?;
        let findings = report["findings"].as_array().context("findings")?;
        let said = findings.iter().find(|f| f["cause"].as_str().is_some_and(|c| c.contains("emergency lines of FR")));
        let warning = said.is_some_and(|finding| finding["severity"] == "warning");
        ensure!(warning == warned, "after {days} days: {report:#}");
        ensure!(
            !warned || said.is_some_and(|f| f["cause"].as_str().is_some_and(|c| c.contains(&format!("{days} days"))))
        );
    }
    Ok(())
}

fn toml_fallback(config: &Path) -> Result<String> {
    let document: toml_edit::DocumentMut = std::fs::read_to_string(config)?.parse()?;
    let text = document["practice"]["cadre"]["fallback"].as_str().context("a fallback")?;
    Ok(text.to_owned())
}

/// Without a configuration the built-in letters are spoken of; one that is named and missing is an error.
#[test]
fn letters_can_be_read_before_there_is_a_practice() -> Result<()> {
    let empty = tempfile::tempdir()?;
    let cadre = |args: &[&str]| -> Result<std::process::Output> {
        let mut command = Command::new(Practice::built_binary()?);
        Ok(command.args(args).current_dir(empty.path()).env_remove("CADRE_CONFIG").output()?)
    };
    if Path::new("/etc/cadre/cadre.toml").exists() {
        return Ok(());
    }
    let out = cadre(&["letters", "check"])?;
    ensure!(out.status.success(), "{out:?}");
    let out = cadre(&["letters", "preview", "help", "--language", "en"])?;
    ensure!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("/key accept"), "{out:?}");
    let out = cadre(&["--config", "missing.toml", "letters", "list"])?;
    ensure!(out.status.code() == Some(2), "{out:?}");
    Ok(())
}
