//! `kill -9` and power cuts at random instants under live traffic, round after round (SPEC section 14, THREATS 21, 22,
//! 30): nothing is lost, nothing is filed twice, no second reply leaves on a day.
//!
//! `CADRE_KILL_ROUNDS` says how many rounds (27 without it; `make torture` plays 1,000), `CADRE_SEED` which ones. Rounds
//! are played by the 27, each lot in a practice of its own with a seed of its own, which is printed: a lot that fails
//! is repeated by that seed alone. Half of the rounds end at a drawn call (a write, a sync, a word to a server), which
//! is nearly the same instant each time; the other half at a drawn millisecond, as a real kill comes.

mod common;
#[path = "torture/power.rs"]
mod power;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use common::lab::PATIENCE;
use common::ledger::{by_message_id, lying, queue, replies_by_day, sound, sql, states};
use common::mail::{field, headers};
use common::practice::faketime_library;
use common::scene::{OFFICE, Scene, march};
use common::{Answer, Caught, Daemon, Lab, Letter, Person, PracticeOptions};
use power::Loss;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Rounds that are played in one practice: nine days of a morning, a noon and an evening.
const LOT: u32 = 27;
const ANSWER: &str = "Je vous réponds du phare";

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// When a round ends, and what that does to the disk.
#[derive(Debug)]
struct End {
    /// At this call of the program's, if it comes so far.
    call: Option<u32>,
    /// Otherwise so long after its last mail.
    after: Duration,
    loss: Loss,
}

fn end(random: &mut StdRng) -> End {
    // Most of what a round does lies within some hundred calls; its start too.
    let call = random.random_bool(0.5).then(|| (2.0_f64.powf(random.random_range(1.0..10.0))) as u32);
    let after = Duration::from_millis(random.random_range(20..900));
    let loss = match random.random_range(0..4) {
        0 => Loss::Everything,
        1 | 2 => Loss::Sectors,
        _ => Loss::Nothing,
    };
    End { call, after, loss }
}

/// What a lot has delivered, and what it saw.
#[derive(Default)]
struct Story {
    letters: BTreeMap<String, usize>,
    answers: BTreeMap<String, usize>,
    /// How many mails the SMTP listener had when the forwards were last looked for.
    looked: usize,
    /// The newest forward of each client, unanswered.
    forwards: BTreeMap<String, Vec<u8>>,
    /// How the rounds ended: at a call, in time, after how many unsynced writes.
    at_call: u32,
    unsynced: usize,
    plan: Vec<String>,
}

#[test]
fn random_kills_and_power_cuts_under_traffic_lose_and_double_nothing() -> Result<()> {
    let rounds = u32::try_from(number("CADRE_KILL_ROUNDS", u64::from(LOT)))?.max(1);
    let seed = number("CADRE_SEED", 0x00ca_d4e0);
    let began = Instant::now();
    for lot in 0..rounds.div_ceil(LOT) {
        let own = seed.wrapping_add(u64::from(lot));
        let count = LOT.min(rounds - lot * LOT);
        let repeat = format!("CADRE_SEED={own} CADRE_KILL_ROUNDS={count}");
        let told =
            play(own, count).with_context(|| format!("to be repeated with {repeat} (KEEP=1 keeps the files)"))?;
        println!("{repeat}: {told}; {} rounds in {} s", lot * LOT + count, began.elapsed().as_secs());
    }
    Ok(())
}

fn scene() -> Result<Scene> {
    let options = PracticeOptions {
        forward: "each".into(),
        release: "0 0 18 * * *".into(),
        digest: "0 0 7 * * *".into(),
        ..PracticeOptions::default()
    };
    Scene::with(Lab::light()?, options)
}

fn hour(round: u32) -> DateTime<Utc> {
    let at = [3, 9, 17][(round % 3) as usize];
    march(2, at, 0) + TimeDelta::days(i64::from(round / 3))
}

/// One lot of rounds; what it came to, in words.
fn play(seed: u64, rounds: u32) -> Result<String> {
    let mut scene = scene()?;
    let library = power::library(&scene.lab.dir)?;
    scene.practice.env("LD_PRELOAD", &format!("{}:{}", faketime_library()?.display(), library.display()));
    scene.practice.env("POWER_DIR", &scene.practice.dir.display().to_string());
    let server = std::cell::RefCell::new(StdRng::seed_from_u64(!seed));
    // The submission server isn't perfect either.
    sink(&scene)?.rule(move |_, to| match server.borrow_mut().random_range(0..20) {
        0 if !to.is_empty() => Answer::CutAfterDot,
        1 if !to.is_empty() => Answer::AfterDot("451 4.3.0 later".into()),
        _ => Answer::Accept,
    });
    let mut story = Story::default();
    for round in 0..rounds {
        // Each round draws from a seed of its own: what one does differently changes no other.
        let mut random = StdRng::seed_from_u64((seed << 16) + u64::from(round));
        let end = end(&mut random);
        story.plan.push(format!("{round}: {end:?}"));
        let played = play_round(&mut scene, &mut story, &mut random, round, &end);
        played.with_context(|| format!("round {round}, {end:?}"))?;
        // An answer that lies for a day is asked about and not obeyed: that is another story.
        if round % 3 == 2 && lying(&scene, &["INBOX"])? > 0 {
            scene.practice.env("POWER_AT", "");
            scene.practice.run_at(hour(round) + TimeDelta::minutes(30), &["run", "--once"])?;
        }
    }
    scene.practice.env("POWER_AT", "");
    let settled = settle(&scene, &mut story, rounds);
    settled.with_context(|| format!("the rounds were\n{}", story.plan.join("\n")))
}

fn sink(scene: &Scene) -> Result<&common::Sink> {
    scene.lab.sink.as_ref().context("a sink")
}

fn play_round(scene: &mut Scene, story: &mut Story, random: &mut StdRng, round: u32, end: &End) -> Result<()> {
    let at = hour(round);
    let mail = match round % 3 {
        0 => letters(scene, story, random, round, at)?,
        1 => answers(scene, story, round, at)?,
        _ => Vec::new(),
    };
    let log = scene.lab.dir.join("power.log");
    scene.practice.env("POWER_LOG", &log.display().to_string());
    scene.practice.env("POWER_AT", &end.call.map(|call| call.to_string()).unwrap_or_default());
    scene.practice.set_time(at + TimeDelta::minutes(1))?;
    let mut daemon = scene.practice.spawn_run()?;
    // From the moment on when it works, however slow the machine is; sometimes before.
    if end.call.is_some() || random.random_bool(0.7) {
        let running = daemon.wait_line("running", PATIENCE);
        ensure!(running.is_ok() || !daemon.lives(), "it doesn't start\n{}", daemon.text()?);
    }
    for (from, raw) in &mail {
        std::thread::sleep(Duration::from_millis(random.random_range(0..150)));
        scene.lab.deliver(from, OFFICE, raw)?;
    }
    let patience = end.after + Duration::from_millis(if end.call.is_some() { 1500 } else { 0 });
    let by_itself = ends_within(&mut daemon, patience);
    if by_itself {
        story.at_call += 1;
        let status = daemon.wait_end(PATIENCE)?;
        ensure!(end.call.is_some() && status.is_none(), "it ended by itself: {status:?}\n{}", daemon.text()?);
    } else {
        daemon.kill9()?;
    }
    let text = daemon.text()?;
    ensure!(!text.contains("panicked"), "{text}");
    story.unsynced += power::cut(&scene.practice.dir, &log, end.loss, random)?;
    Ok(())
}

fn ends_within(daemon: &mut Daemon, patience: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < patience {
        if !daemon.lives() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    !daemon.lives()
}

fn letters(
    scene: &Scene,
    story: &mut Story,
    random: &mut StdRng,
    round: u32,
    at: DateTime<Utc>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut mail = Vec::new();
    for (person, code) in [(&scene.marie, &scene.c1), (&scene.paul, &scene.c2)] {
        for n in 0..random.random_range(1..3) {
            let letter = Letter::new(OFFICE, &format!("{round}.{n}"), &format!("Lettre {round}.{n}\n")).at(at);
            mail.push((person.address.clone(), person.write(&letter)?));
            *story.letters.entry(code.clone()).or_default() += 1;
        }
    }
    Ok(mail)
}

/// The therapist answers the newest forward of each client, unless it was answered before.
fn answers(scene: &Scene, story: &mut Story, round: u32, at: DateTime<Utc>) -> Result<Vec<(String, Vec<u8>)>> {
    look_for_forwards(scene, story)?;
    let mut mail = Vec::new();
    for (code, raw) in std::mem::take(&mut story.forwards) {
        let letter = scene.therapist.reply_to(&raw, &format!("{ANSWER} {round}."))?.at(at);
        mail.push((scene.therapist.address.clone(), scene.therapist.write(&letter)?));
        *story.answers.entry(code).or_default() += 1;
    }
    Ok(mail)
}

fn look_for_forwards(scene: &Scene, story: &mut Story) -> Result<()> {
    let mails = sink(scene)?.mails();
    for mail in &mails[std::mem::replace(&mut story.looked, mails.len())..] {
        if mail.to != [scene.therapist.address.clone()] {
            continue;
        }
        let read = scene.therapist.read(&mail.data)?;
        if !read.text().contains("Lettre ") {
            continue;
        }
        for code in [&scene.c1, &scene.c2] {
            if read.subject.contains(code.as_str()) {
                story.forwards.insert(code.clone(), mail.data.clone());
            }
        }
    }
    Ok(())
}

/// Days without kills, until everything has left; then the books.
fn settle(scene: &Scene, story: &mut Story, rounds: u32) -> Result<String> {
    sink(scene)?.rule(|_, _| Answer::Accept);
    // From the last day on: an answer that lies longer than a day is asked about and not obeyed.
    for day in 0..5 {
        for minute in [1, 2] {
            scene.practice.once(hour(rounds / 3 * 3) + TimeDelta::days(day) + TimeDelta::hours(15 + minute))?;
        }
    }
    whole(scene, story)
}

/// What the listener took for somebody, in order.
fn sent_to(mails: &[Caught], person: &Person) -> String {
    let own = mails.iter().filter(|mail| mail.to == [person.address.clone()]);
    let line = |mail: &Caught| {
        let head = headers(&mail.data);
        let of = |name: &str| field(&head, name).unwrap_or_default().to_owned();
        format!("{} {} {} bytes, heard: {}\n", of("Date"), of("Message-ID"), mail.data.len(), mail.acknowledged)
    };
    own.map(line).collect()
}

fn whole(scene: &Scene, story: &Story) -> Result<String> {
    sound(scene)?;
    let file = scene.practice.place.is_none();
    ensure!(!file || sql(&scene.practice, "PRAGMA integrity_check")? == "ok", "the database is damaged");
    let census = scene.lab.census(OFFICE)?;
    ensure!(lying(scene, &["INBOX"])? == 0, "{census:?}");
    let mails = sink(scene)?.mails();
    let people: [(&Person, &String); 2] = [(&scene.marie, &scene.c1), (&scene.paul, &scene.c2)];
    let (mut filed, mut replied) = (0, 0);
    for (person, code) in people {
        let thread = scene.thread(code)?;
        let of = |books: &BTreeMap<String, usize>| books.get(code).copied().unwrap_or(0);
        let (letters, replies) = (of(&story.letters), of(&story.answers));
        ensure!(states(&thread, "letter") == vec!["filed"; letters], "{letters} letters of {code}: {thread:#}");
        let states = states(&thread, "reply");
        ensure!(states.len() == replies, "{replies} answers to {code}: {thread:#}");
        ensure!(states.iter().all(|s| s == "sent" || s == "replaced"), "{thread:#}");
        let sent = states.iter().filter(|s| *s == "sent").count();
        let days = replies_by_day(scene, person, &mails, ANSWER).with_context(|| sent_to(&mails, person))?;
        ensure!(days.len() == sent, "{thread:#}");
        ensure!(lying(scene, &["Cadre", code])? == letters + sent, "{census:?}\n{thread:#}");
        filed += letters + sent;
        replied += sent;
    }
    ensure!(replied > 0 || story.plan.len() < 6, "no reply ever left: the story tests nothing");
    ensure!(census.iter().map(|(_, count)| count).sum::<usize>() == filed, "{census:?}");
    let books = by_message_id(&mails)?;
    let queue = queue(&scene.practice)?;
    // What another answer took the place of is cancelled.
    let left = |(kind, state): &(String, String)| state == "sent" || (kind == "reply" && state == "cancelled");
    ensure!(queue.keys().all(left), "{queue:?}");
    let sent: usize = queue.iter().filter(|((_, state), _)| state == "sent").map(|(_, count)| count).sum();
    ensure!(books.len() == sent, "{} different mails, {sent} rows sent: {queue:?}", books.len());
    Ok(format!(
        "{} letters, {} answers, {replied} replies, {} mails ({} repeated); {} rounds ended at a call, {} writes were unsynced",
        story.letters.values().sum::<usize>(),
        story.answers.values().sum::<usize>(),
        books.len(),
        mails.len() - books.len(),
        story.at_call,
        story.unsynced,
    ))
}
