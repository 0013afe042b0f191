//! `kill -9` at every step between fetch and removal and between waiting and sent: nothing is lost,
//! nothing is filed twice, no different second reply leaves (THREATS 21, 22, 30).

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use common::ledger::{by_message_id, distinct_to, lying, queue, replies_by_day, sound, sql, states};
use common::scene::{OFFICE, Scene, march};
use common::{Lab, Letter, Person, PracticeOptions};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

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

/// What the random story delivered.
#[derive(Default)]
struct Delivered {
    letters: BTreeMap<String, usize>,
    answers: BTreeMap<String, usize>,
    /// Message-IDs of forwards that were answered.
    answered: BTreeSet<Vec<u8>>,
}

/// Random `kill -9` of the daemon while letters and answers come in.
#[test]
fn random_kills_of_the_daemon_under_traffic() -> Result<()> {
    const ROUNDS: u32 = 27;
    let seed: u64 = std::env::var("CADRE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x00ca_d4e0);
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let scene = scene("folders")?;
    let mut delivered = Delivered::default();
    for round in 0..ROUNDS {
        let (day, phase) = (2 + round / 3, round % 3);
        let hour = [3, 9, 17][phase as usize];
        let mail = match phase {
            0 => letters(&scene, &mut delivered, &mut random, round, march(day, hour, 0))?,
            1 => answers(&scene, &mut delivered, round, march(day, hour, 0))?,
            _ => Vec::new(),
        };
        scene.practice.set_time(march(day, hour, 1))?;
        let mut daemon = scene.practice.spawn_run()?;
        // Mostly from the moment on when it works, however slow the machine is; sometimes before.
        if phase != 2 || random.random_bool(0.5) {
            daemon.wait_line("running", Duration::from_secs(20))?;
        }
        for (from, raw) in &mail {
            std::thread::sleep(Duration::from_millis(random.random_range(0..250)));
            scene.lab.deliver(from, OFFICE, raw)?;
        }
        std::thread::sleep(Duration::from_millis(random.random_range(20..900)));
        ensure!(daemon.lives(), "round {round}: the daemon ended by itself\n{}", daemon.text()?);
        daemon.kill9()?;
    }
    // From the last day on: an answer that lies longer than a day is asked about and not obeyed.
    for day in 0..5 {
        for minute in [1, 2] {
            scene.practice.once(march(1 + ROUNDS / 3 + day, 18, minute))?;
        }
    }
    the_story_is_whole(&scene, &delivered)
}

fn letters(
    scene: &Scene,
    delivered: &mut Delivered,
    random: &mut StdRng,
    round: u32,
    at: DateTime<Utc>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut mail = Vec::new();
    for (person, code) in [(&scene.marie, &scene.c1), (&scene.paul, &scene.c2)] {
        for n in 0..random.random_range(1..3) {
            let letter = Letter::new(OFFICE, &format!("{round}.{n}"), &format!("Lettre {round}.{n}\n")).at(at);
            mail.push((person.address.clone(), person.write(&letter)?));
            *delivered.letters.entry(code.clone()).or_default() += 1;
        }
    }
    Ok(mail)
}

/// The therapist answers the newest forward of each client, unless it was answered before.
fn answers(scene: &Scene, delivered: &mut Delivered, round: u32, at: DateTime<Utc>) -> Result<Vec<(String, Vec<u8>)>> {
    let mut mail = Vec::new();
    for code in [&scene.c1, &scene.c2] {
        let Some(raw) = newest_forward(scene, code)? else { continue };
        if !delivered.answered.insert(raw.clone()) {
            continue;
        }
        let letter = scene.therapist.reply_to(&raw, &format!("{ANSWER} {round}."))?.at(at);
        mail.push((scene.therapist.address.clone(), scene.therapist.write(&letter)?));
        *delivered.answers.entry(code.clone()).or_default() += 1;
    }
    Ok(mail)
}

fn newest_forward(scene: &Scene, code: &str) -> Result<Option<Vec<u8>>> {
    for raw in scene.therapist.mailbox(&scene.lab)?.into_iter().rev() {
        let read = scene.therapist.read(&raw)?;
        if read.subject.contains(code) && read.text().contains("Lettre ") {
            return Ok(Some(raw));
        }
    }
    Ok(None)
}

fn the_story_is_whole(scene: &Scene, delivered: &Delivered) -> Result<()> {
    sound(scene)?;
    let census = scene.lab.census(OFFICE)?;
    ensure!(lying(scene, &["INBOX"])? == 0, "{census:?}");
    let mails = scene.lab.sink.as_ref().context("a sink")?.mails();
    let people: [(&Person, &String); 2] = [(&scene.marie, &scene.c1), (&scene.paul, &scene.c2)];
    let mut filed = 0;
    for (person, code) in people {
        let thread = scene.thread(code)?;
        let (letters, replies) = (delivered.letters[code], delivered.answers.get(code).copied().unwrap_or(0));
        ensure!(states(&thread, "letter") == vec!["filed"; letters], "{letters} letters of {code}: {thread:#}");
        let states = states(&thread, "reply");
        ensure!(states.len() == replies, "{replies} answers to {code}: {thread:#}");
        ensure!(states.iter().all(|s| s == "sent" || s == "replaced"), "{thread:#}");
        let sent = states.iter().filter(|s| *s == "sent").count();
        ensure!(sent > 0, "no reply of {code} ever left: the story tests nothing");
        ensure!(replies_by_day(scene, person, &mails, ANSWER)?.len() == sent, "{thread:#}");
        ensure!(lying(scene, &["Cadre", code])? == letters + sent, "{census:?}\n{thread:#}");
        filed += letters + sent;
    }
    ensure!(census.iter().map(|(_, count)| count).sum::<usize>() == filed, "{census:?}");
    let books = by_message_id(&mails)?;
    let queue = queue(&scene.practice)?;
    ensure!(queue.keys().all(|(_, state)| state == "sent" || state == "replaced"), "{queue:?}");
    let sent: usize = queue.iter().filter(|((_, state), _)| state == "sent").map(|(_, count)| count).sum();
    ensure!(books.len() == sent, "{} different mails, {sent} rows sent: {queue:?}", books.len());
    let turns = sql(&scene.practice, "SELECT COUNT(*) FROM turn")?;
    println!(
        "{} letters, {} answers, {turns} turns; {} mails, {} of them repeated by Message-ID",
        delivered.letters.values().sum::<usize>(),
        delivered.answers.values().sum::<usize>(),
        books.len(),
        mails.len() - books.len(),
    );
    Ok(())
}
