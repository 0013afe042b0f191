//! Several `cadre run` on one PostgreSQL (issue 6): one has the mailbox, all send; whoever is killed or stopped, another
//! takes over within 30 s, and nothing is lost or done twice, neither what comes by mail nor what the clock brings about.
//!
//! Each gateway has a folder of its own, as a host has: configuration, keys, journal's head; all have one time.
//! `CADRE_GATEWAY_ROUNDS` says how many are killed or stopped in each of the two stories: under traffic at one hour (3
//! without it), and in days that pass (8 without it; begun days of four are played to their end). `CADRE_SEED` says which
//! ones, when and how.

mod common;
#[path = "gateways/days.rs"]
mod days;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::TimeDelta;
use common::lab::{PATIENCE, wait};
use common::ledger::{by_message_id, lying, queue, sound, sql, states};
use common::postgres::Place;
use common::scene::{OFFICE, Scene, add, march};
use common::{Answer, Daemon, Lab, Person, Practice, PracticeOptions, Sink};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Another gateway has the mailbox of a dead one within this time, on a machine at rest.
const TAKEN_OVER: Duration = Duration::from_secs(30);

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A practice on PostgreSQL, whose every day has a digest and a slot.
fn scene() -> Result<Scene> {
    let lab = Lab::light()?;
    let born = march(1, 0, 0) - TimeDelta::days(59);
    let office = Person::generate(&lab, "office", "", OFFICE, born)?;
    let [therapist, marie, paul] = ["exemple", "marie", "paul"].map(|id| Person::persona(&lab, id));
    let (therapist, marie, paul) = (therapist?, marie?, paul?);
    for client in [&marie, &paul] {
        client.meet(&office)?;
    }
    let options = PracticeOptions {
        forward: "each".into(),
        release: "0 0 18 * * *".into(),
        digest: "0 0 7 * * *".into(),
        ..PracticeOptions::default()
    };
    let mut practice = Practice::write(&lab, &Practice::built_binary()?, &office, &therapist, &options)?;
    practice.move_to(Place::new()?)?;
    practice.set_time(march(2, 9, 0))?;
    let (c1, c2) = (add(&practice, &marie)?, add(&practice, &paul)?);
    Ok(Scene { practice, office, therapist, marie, paul, c1, c2, lab })
}

/// One host with its gateway.
struct Host {
    practice: Practice,
    daemon: Option<Daemon>,
    /// The id of its gateway while that is stopped.
    stopped: Option<String>,
}

impl Host {
    /// A host that has what an operator copies: the configuration and the files that it names.
    fn new(scene: &Scene, number: usize) -> Result<Self> {
        let dir = scene.lab.dir.join(format!("h{number}"));
        fs::create_dir(&dir)?;
        for entry in fs::read_dir(&scene.practice.dir)?.flatten().filter(|entry| entry.path().is_file()) {
            let name = entry.file_name();
            if !name.to_string_lossy().contains("journal.head") {
                fs::copy(entry.path(), dir.join(name))?;
            }
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        let mut practice = Practice::adopt(&dir, &Practice::built_binary()?)?;
        practice.place.clone_from(&scene.practice.place);
        practice.env("FAKETIME_TIMESTAMP_FILE", &scene.practice.clock_file().display().to_string());
        Ok(Self { practice, daemon: None, stopped: None })
    }

    fn start(&mut self) -> Result<()> {
        let mut daemon = self.practice.spawn_run()?;
        daemon.wait_line("joined", PATIENCE)?;
        self.daemon = Some(daemon);
        Ok(())
    }

    fn daemon(&mut self) -> Result<&mut Daemon> {
        self.daemon.as_mut().context("it runs")
    }

    /// The id under which it joined last.
    fn id(&mut self) -> Result<String> {
        let text = self.daemon()?.text()?;
        let last = text.lines().rev().find(|line| line.contains("joined")).context("it has joined")?;
        Ok(last.rsplit("gateway=").next().context("an id")?.trim().trim_matches('"').to_owned())
    }

    /// How many mails have left by it, as its log says.
    fn told(&self) -> Result<usize> {
        let text = self.daemon.as_ref().context("it runs")?.text()?;
        let passes = text.lines().filter(|line| line.contains("outbox worked"));
        let counts = passes.filter_map(|line| line.split_once(" sent=")?.1.split(' ').next()?.parse::<usize>().ok());
        Ok(counts.sum())
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        let pid = self.daemon()?.pid();
        Ok(kill(Pid::from_raw(pid.try_into()?), signal)?)
    }

    fn stop(&mut self) -> Result<()> {
        self.stopped = Some(self.id()?);
        self.signal(Signal::SIGSTOP)
    }

    fn works(&self) -> bool {
        self.daemon.is_some() && self.stopped.is_none()
    }

    /// Goes on after a stop in which it was taken for dead: it joins again, as another one.
    fn wake(&mut self, scene: &Scene) -> Result<()> {
        let before = self.stopped.take().context("it was stopped")?;
        self.signal(Signal::SIGCONT)?;
        wait("the one that was stopped to join again", PATIENCE, || {
            let id = self.id()?;
            Ok((id != before && living(&scene.practice)?.0.contains(&id)).then_some(()))
        })
    }
}

/// The ids of those who live, and of who has the mailbox.
fn living(practice: &Practice) -> Result<(Vec<String>, Option<String>)> {
    let status = practice.json(&["status"])?;
    let all = status["gateways"].as_array().cloned().unwrap_or_default();
    let id = |one: &serde_json::Value| one["id"].as_str().unwrap_or_default().to_owned();
    Ok((all.iter().map(id).collect(), all.iter().find(|one| one["mailbox"] == true).map(id)))
}

/// Who has the mailbox, once somebody other than `before` has it.
fn holder(scene: &Scene, hosts: &mut [Host], before: Option<&str>) -> Result<usize> {
    let id = wait("a gateway that has the mailbox", PATIENCE, || {
        Ok(living(&scene.practice)?.1.filter(|id| Some(id.as_str()) != before))
    })?;
    for (number, host) in hosts.iter_mut().enumerate() {
        if host.daemon.is_some() && host.id()? == id {
            return Ok(number);
        }
    }
    anyhow::bail!("{id} has the mailbox and is nobody")
}

/// How many mails of a kind have left.
fn sent(scene: &Scene, kind: &str) -> Result<usize> {
    let rows = format!("SELECT COUNT(*) FROM outbox WHERE kind = '{kind}' AND state = 'sent'");
    Ok(sql(&scene.practice, &rows)?.parse()?)
}

#[test]
fn three_gateways_share_a_practice_and_kills_and_stops_lose_and_double_nothing() -> Result<()> {
    let seed = number("CADRE_SEED", 0x00ca_d4e6);
    println!("CADRE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let scene = scene()?;
    let mut hosts = (0..3).map(|number| Host::new(&scene, number)).collect::<Result<Vec<_>>>()?;
    for host in &mut hosts {
        host.start()?;
    }
    let mut letters: BTreeMap<&str, usize> = BTreeMap::new();
    let mut slowest = Duration::ZERO;
    for round in 0..number("CADRE_GATEWAY_ROUNDS", 3) {
        let first = holder(&scene, &mut hosts, None)?;
        let has = hosts[first].id()?;
        let mut send = |words: &str, random: &mut StdRng| -> Result<()> {
            for (person, code) in [(&scene.marie, scene.c1.as_str()), (&scene.paul, scene.c2.as_str())] {
                for n in 0..random.random_range(1..4) {
                    scene.letter(person, &format!("{words} {n}"), "Une lettre.\n", march(2, 9, 0))?;
                    *letters.entry(code).or_default() += 1;
                }
            }
            Ok(())
        };
        send(&format!("Avant {round}"), &mut random)?;
        std::thread::sleep(Duration::from_millis(random.random_range(0..1500)));
        // The one that has the mailbox is killed, or stopped for longer than it may be silent; or another one is killed.
        let (victim, stopped) = match round % 3 {
            0 => (first, false),
            1 => (first, true),
            _ => ((first + 1) % 3, false),
        };
        let began = Instant::now();
        let limit = scene.practice.within(TAKEN_OVER)?;
        match stopped {
            true => hosts[victim].stop()?,
            false => hosts[victim].daemon()?.kill9()?,
        }
        send(&format!("Après {round}"), &mut random)?;
        if victim == first {
            let second = holder(&scene, &mut hosts, Some(&has))?;
            let taken = began.elapsed();
            println!("round {round}: stopped {stopped}, taken over by {second} after {} ms", taken.as_millis());
            ensure!(second != victim && taken < limit, "taken over after {taken:?}");
            slowest = slowest.max(taken);
        }
        let expected: usize = letters.values().sum();
        wait("every letter's forward", PATIENCE, || Ok((sent(&scene, "forward")? == expected).then_some(())))?;
        if stopped {
            hosts[victim].wake(&scene)?;
            let anew = hosts[victim].id()?;
            ensure!(living(&scene.practice)?.1.as_deref() != Some(&anew), "it stands by");
        } else {
            hosts[victim].daemon = None;
            hosts[victim].start()?;
        }
    }
    hand_over(&scene, &mut hosts)?;
    println!("the slowest takeover: {} ms", slowest.as_millis());
    books(&scene, &hosts, &letters, 0)
}

/// An orderly end gives the mailbox back at once.
fn hand_over(scene: &Scene, hosts: &mut [Host]) -> Result<()> {
    let first = holder(scene, hosts, None)?;
    let has = hosts[first].id()?;
    let within = scene.practice.within(Duration::from_secs(8))?;
    hosts[first].daemon()?.end()?;
    let began = Instant::now();
    hosts[first].daemon = None;
    ensure!(!living(&scene.practice)?.0.contains(&has), "its leases are given back");
    holder(scene, hosts, Some(&has))?;
    ensure!(began.elapsed() < within, "handed over after {:?}", began.elapsed());
    end_all(scene, hosts)
}

fn end_all(scene: &Scene, hosts: &mut [Host]) -> Result<()> {
    for host in hosts.iter_mut().filter(|host| host.daemon.is_some()) {
        host.daemon()?.end()?;
        host.daemon = None;
    }
    let (all, _) = living(&scene.practice)?;
    ensure!(all.is_empty(), "{all:?}");
    Ok(())
}

/// What must be true whoever did it: each letter filed once and passed on once, as many replies sent to each client,
/// the journal whole on every host.
fn books(scene: &Scene, hosts: &[Host], letters: &BTreeMap<&str, usize>, replies: usize) -> Result<()> {
    sound(scene)?;
    ensure!(lying(scene, &["INBOX"])? == 0, "{:?}", scene.lab.census(OFFICE)?);
    for (code, count) in letters {
        let thread = scene.thread(code)?;
        ensure!(states(&thread, "letter") == vec!["filed"; *count], "{count} letters of {code}: {thread:#}");
        ensure!(states(&thread, "reply") == vec!["sent"; replies], "{replies} replies to {code}: {thread:#}");
        ensure!(lying(scene, &["Cadre", code])? == *count + replies, "{:?}", scene.lab.census(OFFICE)?);
    }
    let queue = queue(&scene.practice)?;
    ensure!(queue.keys().all(|(_, state)| state == "sent"), "{queue:?}");
    let mails = scene.lab.sink.as_ref().context("a sink")?.mails();
    ensure!(by_message_id(&mails)?.len() == queue.values().sum::<usize>(), "{queue:?}");
    for host in hosts {
        let verified = host.practice.run(&["journal", "verify"])?;
        ensure!(verified.ok(), "{verified:?}");
        let text = host.practice.run(&["status"])?.expect_ok()?;
        ensure!(text.contains("not running"), "{text}");
        for entry in fs::read_dir(&host.practice.dir)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("log-") {
                let log = fs::read_to_string(entry.path())?;
                ensure!(!log.contains("panicked"), "{log}");
            }
        }
    }
    Ok(())
}

/// The submission server stops at this word from now on: what is said when it has come, and what it then waits for.
fn pause(sink: &Sink, number: usize) -> (Receiver<()>, Sender<()>) {
    let ((reach, reached), (end, ended)) = (channel(), channel::<()>());
    let words = AtomicUsize::new(0);
    sink.rule(move |_, _| {
        if words.fetch_add(1, Ordering::SeqCst) == number {
            let _ = reach.send(());
            // Until the other end is dropped.
            let _ = ended.recv();
        }
        Answer::Accept
    });
    (reached, end)
}

/// Whether nothing is left to send, and each mail that has left stands in the log of one gateway.
fn all_told(scene: &Scene, hosts: &[Host], sink: &Sink) -> Result<bool> {
    let open = sql(&scene.practice, "SELECT COUNT(*) FROM outbox WHERE state IN ('waiting', 'leaving')")?;
    let told: usize = hosts.iter().map(Host::told).sum::<Result<usize>>()?;
    Ok(open == "0" && told == sink.count())
}

#[test]
fn the_gateway_that_stands_by_sends_beside_the_one_that_has_the_mailbox() -> Result<()> {
    let scene = scene()?;
    let sink = scene.lab.sink.as_ref().context("a sink")?;
    let mut hosts = (0..2).map(|number| Host::new(&scene, number)).collect::<Result<Vec<_>>>()?;
    for host in &mut hosts {
        host.start()?;
    }
    // It is after the hour of the day's digest.
    wait("the digest", PATIENCE, || {
        Ok((sent(&scene, "digest")? == 1 && all_told(&scene, &hosts, sink)?).then_some(()))
    })?;
    let early = sink.count();
    let before = hosts.iter().map(Host::told).collect::<Result<Vec<_>>>()?;
    let (reached, end) = pause(sink, 0);
    let mut letters = 0;
    // The server doesn't answer: who has a mail in hand claims once more beside it, and then no more. So of three that
    // come one after another, each when the one before is claimed, one at the least is the other gateway's.
    while sql(&scene.practice, "SELECT COUNT(DISTINCT claimed_by) FROM outbox WHERE state = 'leaving'")? != "2" {
        ensure!(letters < 3, "one gateway claims all: {:?}", queue(&scene.practice)?);
        letters += 1;
        scene.letter(&scene.marie, &format!("Lettre {letters}"), "Une lettre.\n", march(2, 9, 0))?;
        wait("its forward to be claimed", PATIENCE, || {
            let claimed = "SELECT COUNT(*) FROM outbox WHERE kind = 'forward' AND state = 'leaving'";
            Ok((sql(&scene.practice, claimed)? == letters.to_string()).then_some(()))
        })?;
    }
    reached.recv_timeout(PATIENCE)?;
    ensure!(sink.count() == early, "a mail has left while the server didn't answer");
    // It goes on.
    drop(end);
    wait("all to leave", PATIENCE, || {
        let left = sent(&scene, "forward")? == letters && all_told(&scene, &hosts, sink)?;
        Ok((left && lying(&scene, &["INBOX"])? == 0).then_some(()))
    })?;
    for (host, before) in hosts.iter().zip(before) {
        ensure!(host.told()? > before, "it has sent nothing:\n{}", host.daemon.as_ref().context("it runs")?.text()?);
    }
    end_all(&scene, &mut hosts)?;
    books(&scene, &hosts, &BTreeMap::from([(scene.c1.as_str(), letters)]), 0)
}

#[test]
fn one_process_serves_several_practices_of_one_database() -> Result<()> {
    let (one, other) = (scene()?, scene()?);
    let mut command = vec!["--config".to_owned(), one.practice.config.display().to_string()];
    command.extend(["--config".to_owned(), other.practice.config.display().to_string(), "run".to_owned()]);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut daemon = one.practice.spawn(&command)?;
    for scene in [&one, &other] {
        scene.letter(&scene.marie, "Une lettre", "Une lettre.\n", march(2, 9, 0))?;
    }
    for scene in [&one, &other] {
        wait("the letter's forward", PATIENCE, || Ok((sent(scene, "forward")? == 1).then_some(())))?;
        ensure!(living(&scene.practice)?.1.is_some());
    }
    daemon.end()?;
    for scene in [&one, &other] {
        ensure!(living(&scene.practice)?.0.is_empty());
        sound(scene)?;
    }
    let refused = one.practice.run(&[&command[..4], &["status"]].concat())?;
    ensure!(refused.status == Some(2), "{refused:?}");
    Ok(())
}
