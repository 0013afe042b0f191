//! One night and the days after it; what all these tests look at.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::common::ledger::{queue, sql};
use crate::common::scene::march;
use crate::common::{Practice, PracticeOptions};
use crate::desk::{Desk, Seen, light};

/// Words of each class, and none.
pub const A: &str = "Cette nuit c'est décidé : je veux mourir.";
pub const V: &str = "Il a dit qu'il va me tuer ce soir.";
pub const B: &str = "Vous seriez mieux sans moi, je crois.";
pub const NONE: &str = "Il neige sur le toit du garage.";

/// What no disk, journal or command may have.
pub const SECRETS: [&str; 4] = ["je veux mourir", "va me tuer", "mieux sans moi", "c'est décidé"];

pub fn daily() -> PracticeOptions {
    PracticeOptions { forward: "daily".into(), digest: "0 0 7 * * *".into(), ..PracticeOptions::default() }
}

pub fn open() -> Result<Desk> {
    let mut desk = Desk::open(light(), daily())?;
    desk.secret(&SECRETS);
    Ok(desk)
}

/// How many mails of a kind have left.
pub fn sent(practice: &Practice, kind: &str) -> Result<usize> {
    let of = |queue: BTreeMap<(String, String), usize>| queue.get(&(kind.to_owned(), "sent".to_owned())).copied();
    Ok(of(queue(practice)?).unwrap_or(0))
}

/// Alerts, safety letters (of both kinds), acknowledgements that left.
pub fn books(desk: &Desk) -> Result<[usize; 3]> {
    let practice = &desk.scene.practice;
    let safety = sent(practice, "safety")? + sent(practice, "safety-violence")?;
    Ok([sent(practice, "alert")?, safety, sent(practice, "acknowledgement")?])
}

/// The scan of the one letter that is new.
pub fn scanned(messages: &[Value]) -> Result<&str> {
    Seen::only(messages)?["scan"].as_str().context("not scanned")
}

pub fn open_alerts(desk: &Desk) -> Result<u64> {
    desk.scene.practice.json(&["status"])?["open_alerts"].as_u64().context("no count")
}

/// The journal's entries of a kind.
pub fn journal(desk: &Desk, kind: &str) -> Result<Vec<Value>> {
    let all = desk.scene.practice.json(&["journal", "show", "--lines", "1000"])?;
    Ok(all.as_array().context("a list")?.iter().filter(|entry| entry["kind"] == kind).cloned().collect())
}

/// Passes every `step` minutes up to `until`; when alerts left, in local time.
fn watch(desk: &mut Desk, step: i64, until: DateTime<Utc>) -> Result<Vec<String>> {
    let mut times = Vec::new();
    while desk.now < until {
        let before = sent(&desk.scene.practice, "alert")?;
        desk.wait(TimeDelta::minutes(step))?;
        for _ in before..sent(&desk.scene.practice, "alert")? {
            times.push(desk.now.with_timezone(&chrono_tz::Europe::Paris).format("%H:%M").to_string());
        }
    }
    Ok(times)
}

#[test]
fn a_letter_at_three_in_the_night() -> Result<()> {
    let mut desk = open()?;
    let script = crate::alarms::command(&desk)?;
    desk.now = march(3, 2, 0);
    let raw = desk.scene.marie.write(&desk.letter("Nuit", A))?;
    desk.now -= TimeDelta::minutes(1);
    let seen = desk.play(&raw)?;
    // Alert and letter at once, though letters come with the digest; lines in place of the acknowledgement.
    ensure!(seen.counts["filed"] == 1 && seen.to_therapist.len() == 2, "{}", seen.counts);
    ensure!(scanned(&seen.marie)? == "A", "{:#?}", seen.marie);
    ensure!(books(&desk)? == [1, 1, 0], "{:?}", books(&desk)?);
    ensure!(seen.to_marie.len() == 1 && seen.to_marie[0].decrypted, "{:?}", seen.to_marie.len());
    ensure!(seen.to_marie[0].outer("Auto-Submitted").is_some() && !seen.to_marie[0].text().contains("mourir"));
    let alert = seen.to_therapist.iter().find(|mail| !mail.text().contains(A)).context("no alert")?;
    ensure!(alert.decrypted && !alert.text().contains("mourir"), "{}", alert.text());
    ensure!(seen.to_therapist.iter().any(|mail| mail.text().contains(A)), "the letter waits for the digest");
    let turn = desk.scene.thread(&desk.scene.c1)?["turn"].clone();
    ensure!(turn["state"] == "open" && turn["acknowledged"] == true, "{turn:#}");
    ensure!(
        crate::alarms::called(&script)? == [format!("{} A ", desk.scene.c1)],
        "{:?}",
        crate::alarms::called(&script)?
    );
    ensure!(open_alerts(&desk)? == 1);

    // Every half hour for four hours, then every two hours, first in the digest.
    let times = watch(&mut desk, 10, march(3, 6, 10))?;
    ensure!(times == ["03:30", "04:00", "04:30", "05:00", "05:30", "06:00", "06:30", "07:00"], "{times:?}");
    let sheet = desk.scene.practice.json(&["digest", "--preview"])?;
    ensure!(sheet["before"][0]["section"] == "crisis", "{sheet:#}");
    ensure!(watch(&mut desk, 30, march(3, 10, 10))? == ["09:10", "11:10"]);
    ensure!(open_alerts(&desk)? == 1);

    // Somebody else's mail under the therapist's name is no sign of life; a refused mail of theirs is one.
    let (forward, _) = desk.scene.forward(&format!("[{}]", desk.scene.c1))?;
    let mut letter = desk.scene.therapist.reply_to(&forward, "/frobnicate")?.at(desk.now);
    letter.form = crate::common::Form::Encrypted;
    let raw = desk.scene.therapist.write(&letter)?;
    desk.play(&raw)?;
    ensure!(open_alerts(&desk)? == 1);
    let letter = desk.scene.therapist.reply_to(&forward, "/frobnicate")?.at(desk.now);
    let raw = desk.scene.therapist.write(&letter)?;
    let seen = desk.play(&raw)?;
    ensure!(open_alerts(&desk)? == 0, "{}", seen.counts);
    ensure!(journal(&desk, "alert-answered")?.len() == 1);
    ensure!(watch(&mut desk, 60, march(3, 21, 0))?.is_empty(), "an answered alert is said again");
    ensure!(crate::alarms::called(&script)?.len() == 1, "{:?}", crate::alarms::called(&script)?);

    // Within 24 hours no second safety letter; after them again.
    let raw = desk.scene.marie.write(&desk.letter("Soir", A))?;
    desk.play(&raw)?;
    ensure!(books(&desk)?[1..] == [1, 0], "{:?}", books(&desk)?);
    desk.now = march(4, 3, 0);
    let raw = desk.scene.marie.write(&desk.letter("Encore", A))?;
    desk.play(&raw)?;
    ensure!(books(&desk)?[1..] == [2, 0], "{:?}", books(&desk)?);
    // Two letters, one pace.
    ensure!(open_alerts(&desk)? == 2 && watch(&mut desk, 30, march(4, 4, 0))?.len() == 2);

    let entries = journal(&desk, "alert")?;
    ensure!(entries.len() == 3 && entries.iter().all(|e| e["detail"]["class"] == "A"), "{entries:#?}");
    let rule = entries[0]["detail"]["rules"][0].as_str().context("no rule")?;
    ensure!(rule.starts_with("fr.a."), "{rule}");
    let turns = sql(&desk.scene.practice, "SELECT COUNT(*) FROM turn")?;
    ensure!(turns == "1", "{turns}");
    Ok(())
}

#[test]
fn violence_has_its_own_lines_and_indirect_words_only_an_alert() -> Result<()> {
    let mut desk = open()?;
    let raw = desk.scene.marie.write(&desk.letter("Ce soir", V))?;
    let seen = desk.play(&raw)?;
    ensure!(scanned(&seen.marie)? == "V" && seen.to_therapist.len() == 2, "{:#?}", seen.marie);
    ensure!(sent(&desk.scene.practice, "safety-violence")? == 1 && books(&desk)? == [1, 1, 0], "{:?}", books(&desk)?);
    ensure!(!seen.to_marie[0].text().contains("3114"), "{}", seen.to_marie[0].text());

    let raw = desk.scene.paul.write(&desk.letter("Vous", B))?;
    let seen = desk.play(&raw)?;
    // The letter itself waits for the digest.
    ensure!(scanned(&seen.paul)? == "B" && seen.to_therapist.len() == 1, "{:#?}", seen.paul);
    ensure!(books(&desk)? == [2, 1, 1], "{:?}", books(&desk)?);

    // Nothing in it: as ever.
    desk.now = march(5, 9, 0);
    let raw = desk.scene.paul.write(&desk.letter("Neige", NONE))?;
    let seen = desk.play(&raw)?;
    ensure!(scanned(&seen.paul)? == "clear", "{:#?}", seen.paul);
    ensure!(books(&desk)?[1] == 1);
    Ok(())
}
