//! Retention, and the report of a breach.

use anyhow::{Result, ensure};
use chrono::TimeDelta;

use crate::common::ledger::sql;
use crate::common::play::{Play, says};
use crate::common::scene::march;

#[test]
fn a_record_that_was_kept_long_enough_is_proposed_and_never_erased_by_itself() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    s.practice.set_time(march(2, 9, 0))?;
    s.practice.run(&["client", "discharge", &s.c1, "--silent"])?.expect_ok()?;
    play.pass(march(2, 9, 0) + TimeDelta::days(31))?;
    ensure!(s.practice.json(&["client", "show", &s.c1])?["state"] == "archived");
    let later = march(2, 9, 0) + TimeDelta::days(370);
    play.pass(later)?;
    ensure!(s.practice.json(&["status"])?["retention_over"] == 0, "no retention is configured");
    s.practice.set("records.retention", "\"1y\"")?;
    let state = s.practice.json(&["status"])?;
    ensure!(state["retention_over"] == 1 && state["well"].is_boolean(), "{state}");
    let sheet = s.practice.run(&["digest", "--preview"])?.expect_ok()?;
    says(&sheet, &["DURÉE DE GARDE ÉCOULÉE", &s.c1, "tout seul"])?;
    play.pass(later + TimeDelta::days(30))?;
    ensure!(s.practice.json(&["client", "show", &s.c1])?["state"] == "archived", "erased by itself");
    s.practice.run(&["client", "hold", &s.c1, "--note", "procès"])?.expect_ok()?;
    ensure!(s.practice.json(&["status"])?["retention_over"] == 0);
    let sheet = s.practice.run(&["digest", "--preview"])?.expect_ok()?;
    ensure!(!sheet.contains("DURÉE DE GARDE"), "{sheet}");
    Ok(())
}

/// An invitation without an answer is forgotten after a month, but not under legal hold.
#[test]
fn what_goes_by_itself_stays_under_legal_hold() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    play.order(&s.therapist, "/invite nora@client.example fr", march(2, 9, 0))?;
    let of_nora = |field: &str| sql(&s.practice, &format!("SELECT {field} FROM client ORDER BY created_at"));
    let nora = of_nora("code")?;
    s.practice.run(&["client", "hold", &nora, "--note", "plainte"])?.expect_ok()?;
    let later = march(2, 9, 0) + TimeDelta::days(31);
    play.pass(later)?;
    ensure!(of_nora("state")? == "invited", "forgotten under legal hold");
    s.practice.run(&["client", "hold", &nora, "--end"])?.expect_ok()?;
    play.pass(later + TimeDelta::days(1))?;
    ensure!(of_nora("state")? == "erased");

    // The report still counts who was there then; before and after, nobody is.
    let codes = |from: &str, to: &str| -> Result<Vec<String>> {
        let told = s.practice.json(&["report", "breach", "--from", from, "--to", to])?;
        let clients = told["clients"].as_array().cloned().unwrap_or_default();
        Ok(clients.iter().filter_map(|client| client["code"].as_str().map(str::to_owned)).collect())
    };
    ensure!(codes("2026-03-02", "2026-03-05")?.contains(&nora));
    ensure!(!codes("2026-02-01", "2026-02-02")?.contains(&nora) && !codes("2026-04-04", "2026-04-04")?.contains(&nora));
    Ok(())
}

#[test]
fn the_report_of_a_breach_says_what_was_there_and_names_nobody() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let forward = play.forwarded(&s.marie, "Une lettre de Marie.\n", march(2, 3, 0))?;
    play.answer(&forward, "/note Une note pour moi.", march(2, 3, 20))?;
    play.answer(&forward, "La réponse du lundi.", march(2, 9, 0))?;
    play.pass(march(2, 17, 0))?;
    let later = play.forwarded(&s.marie, "Une seconde lettre.\n", march(4, 3, 0))?;
    play.answer(&later, "Une réponse qui attend.", march(4, 9, 0))?;
    s.practice.set_time(march(4, 10, 0))?;
    s.practice.run(&["client", "export", &s.c1, &s.lab.dir.join("export").to_string_lossy()])?.expect_ok()?;

    let told = s.practice.json(&["report", "breach", "--from", "2026-03-03", "--to", "2026-03-04"])?;
    let codes: Vec<_> = told["clients"].as_array().into_iter().flatten().filter_map(|c| c["code"].as_str()).collect();
    ensure!(codes.len() == 2 && codes.contains(&s.c1.as_str()) && codes.contains(&s.c2.as_str()), "{told}");
    let of = |direction: &str| {
        let all = told["letters"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|letters| letters["direction"] == direction).unwrap_or_default()
    };
    ensure!(of("in")["there"] == 2 && of("in")["moved"] == 1, "{told}");
    ensure!(of("out")["there"] == 2 && of("out")["moved"] == 1 && of("out")["waiting"] == 1, "{told}");
    ensure!(told["besides"]["notes"] == 1 && told["keys"]["practice"] == s.office.fingerprint.as_str(), "{told}");
    ensure!(told["keys"]["therapists"]["exemple"] == s.therapist.fingerprint.as_str(), "{told}");
    let kinds: Vec<_> = told["journal"].as_array().into_iter().flatten().filter_map(|l| l["kind"].as_str()).collect();
    ensure!(kinds == ["exported"] && told["journal_whole"] == true, "{told}");
    ensure!(told["from"] == "2026-03-02T23:00:00Z", "a day of the practice's zone: {told}");
    // Before the second letter, and before anybody.
    let told = s.practice.json(&["report", "breach", "--from", "2026-03-02", "--to", "2026-03-03T00:00:00Z"])?;
    ensure!(told["letters"][0]["there"] == 1, "{told}");
    let told = s.practice.json(&["report", "breach", "--from", "2020-01-01", "--to", "2020-01-02"])?;
    ensure!(told["clients"] == serde_json::json!([]) && told["letters"] == serde_json::json!([]), "{told}");

    let blank = regex::Regex::new(r"\{[a-z_]+\}")?;
    for (language, words) in
        [("fr", ["PERSONNES CONCERNÉES : 2", "72 heures"]), ("en", ["PERSONS CONCERNED: 2", "72 hours"])]
    {
        let args = ["report", "breach", "--from", "2026-03-01", "--language", language];
        let text = s.practice.run(&args)?.expect_ok()?;
        says(&text, &words)?;
        says(&text, &[&s.c1, "Cabinet Exemple"])?;
        for name in [&s.marie.name, &s.marie.address, &s.paul.address, &s.therapist.address] {
            ensure!(!text.contains(name.as_str()), "{name} is in the report");
        }
        ensure!(!blank.is_match(&text), "something isn't filled in:\n{text}");
    }
    for args in [["--from", "yesterday"], ["--from", "2030-01-01"]] {
        let out = s.practice.run(&[&["report", "breach"][..], &args[..]].concat())?;
        ensure!(out.status == Some(2), "{out:?}");
    }
    Ok(())
}
