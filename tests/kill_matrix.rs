//! `kill -9` at every step between fetch and removal and between waiting and sent: nothing is lost,
//! nothing is filed twice, no different second reply leaves (THREATS 21, 22, 30). Kills at random instants: `torture`.

mod common;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use common::ledger::{by_message_id, distinct_to, lying, queue, replies_by_day, sound, states};
use common::scene::{OFFICE, Scene, march};
use common::{Lab, PracticeOptions};

/// Every step of a letter, in order: from the server's bytes to the original that is gone.
const FILING: [&str; 9] =
    ["fetched", "prepared", "applied", "committed", "appending", "appended", "copied", "removed", "finished"];
/// Every step of a mail that leaves.
const SENDING: [&str; 7] = [
    "claiming",
    "claimed",
    "handing-over",
    "handed-over",
    "recording",
    "recorded",
    // The second mail of a batch: the first is done, the others are claimed.
    "handed-over:2",
];
const ANSWER: &str = "Je vous réponds du phare";

fn scene(filing: &str) -> Result<Scene> {
    let options = PracticeOptions {
        forward: "each".into(),
        filing: filing.into(),
        release: "0 0 18 * * *".into(),
        digest: "0 0 7 * * *".into(),
        ..PracticeOptions::default()
    };
    Scene::with(Lab::light()?, options)
}

/// One pass that is to be killed; whether it came by the place.
fn killed_at(scene: &mut Scene, place: &str, at: DateTime<Utc>) -> Result<bool> {
    scene.practice.env("CADRE_FAILPOINT", place);
    let out = scene.practice.run_at(at, &["run", "--once"])?;
    scene.practice.env("CADRE_FAILPOINT", "");
    ensure!(out.status.is_none() || out.ok(), "{place}: {out:?}");
    Ok(out.status.is_none())
}

/// A day a failpoint: a letter, its answer, the slot, and each of the three passes killed there.
fn matrix(filing: &str, places: &[&str]) -> Result<()> {
    let mut scene = scene(filing)?;
    for (before, place) in places.iter().enumerate() {
        let n = before + 1;
        let day = 1 + u32::try_from(n)?;
        let mut killed = 0;
        scene.letter(&scene.marie, &format!("Sujet {n}"), &format!("La lettre {n}.\n"), march(day, 3, 0))?;
        killed += u32::from(killed_at(&mut scene, place, march(day, 3, 5))?);
        scene.practice.once(march(day, 3, 6))?;
        let (raw, _) = scene.forward(&scene.c1).with_context(|| format!("{place}: no forward"))?;
        scene.answer(&raw, &format!("{ANSWER} {n}."), march(day, 9, 0))?;
        killed += u32::from(killed_at(&mut scene, place, march(day, 9, 1))?);
        scene.practice.once(march(day, 9, 2))?;
        killed += u32::from(killed_at(&mut scene, place, march(day, 17, 0))?);
        scene.practice.once(march(day, 17, 1))?;
        scene.practice.once(march(day, 17, 2))?;
        ensure!(killed > 0, "{place} was never passed: it tests nothing");
        day_is_whole(&scene, filing, n).with_context(|| format!("filing = {filing:?}, killed at {place}"))?;
    }
    let mails = scene.lab.sink.as_ref().context("a sink")?.mails();
    let days = replies_by_day(&scene, &scene.marie, &mails, ANSWER)?;
    ensure!(days.len() == places.len(), "{days:?}");
    Ok(())
}

/// After `n` days with one letter and one reply each.
fn day_is_whole(scene: &Scene, filing: &str, n: usize) -> Result<()> {
    sound(scene)?;
    ensure!(lying(scene, &["INBOX"])? == 0, "something is left in INBOX");
    let census = scene.lab.census(OFFICE)?;
    let (copies, done) = match filing {
        "folders" => (2 * n, 0),
        "keep" => (0, 2 * n),
        _ => (0, 0),
    };
    ensure!(lying(scene, &["Cadre", &scene.c1])? == copies, "{census:?}");
    ensure!(lying(scene, &["Cadre", "Done"])? == done, "{census:?}");
    ensure!(census.iter().map(|(_, count)| count).sum::<usize>() == copies + done, "{census:?}");
    let thread = scene.thread(&scene.c1)?;
    ensure!(states(&thread, "letter") == vec!["filed"; n], "{thread:#}");
    ensure!(states(&thread, "reply") == vec!["sent"; n], "{thread:#}");
    ensure!(states(&thread, "acknowledgement") == vec!["sent"; n], "{thread:#}");
    let queue = queue(&scene.practice)?;
    let of = |kind: &str| queue.get(&(kind.to_owned(), "sent".to_owned())).copied().unwrap_or(0);
    ensure!(of("forward") == n && of("reply") == n && of("acknowledgement") == n, "{queue:?}");
    ensure!(queue.keys().all(|(_, state)| state == "sent"), "{queue:?}");
    let mails = scene.lab.sink.as_ref().context("a sink")?.mails();
    ensure!(by_message_id(&mails)?.len() == queue.values().sum::<usize>(), "mails that no row of the queue knows");
    ensure!(distinct_to(&mails, &scene.marie.address)?.len() == 2 * n, "not one acknowledgement and one reply a day");
    Ok(())
}

#[test]
fn a_kill_at_any_step_of_filing_loses_and_doubles_nothing() -> Result<()> {
    matrix("folders", &FILING)
}

#[test]
fn a_kill_at_any_step_of_sending_sends_no_second_reply() -> Result<()> {
    matrix("folders", &SENDING)
}

#[test]
fn the_other_ways_of_filing_survive_a_kill_around_the_removal() -> Result<()> {
    matrix("delete", &["applied", "committed", "removed", "finished"])?;
    matrix("keep", &["applied", "committed", "removed", "finished"])
}

/// Two clients, five letters each, killed again and again before it is done.
#[test]
fn a_group_of_letters_survives_a_kill_in_the_middle_of_its_copies() -> Result<()> {
    let mut scene = scene("folders")?;
    for n in 1..=5 {
        scene.letter(&scene.marie, &format!("M{n}"), &format!("Marie {n}.\n"), march(2, 3, n))?;
        scene.letter(&scene.paul, &format!("P{n}"), &format!("Paul {n}.\n"), march(2, 3, n))?;
    }
    for place in ["committed", "appended", "appended:2", "removed"] {
        killed_at(&mut scene, place, march(2, 4, 0))?;
    }
    scene.practice.once(march(2, 4, 5))?;
    scene.practice.once(march(2, 4, 6))?;
    sound(&scene)?;
    ensure!(lying(&scene, &["INBOX"])? == 0, "something is left in INBOX");
    for code in [&scene.c1, &scene.c2] {
        ensure!(lying(&scene, &["Cadre", code])? == 5, "{:?}", scene.lab.census(OFFICE)?);
        ensure!(states(&scene.thread(code)?, "letter") == vec!["filed"; 5], "{code}");
        ensure!(states(&scene.thread(code)?, "acknowledgement") == vec!["sent"], "{code}");
    }
    Ok(())
}
