//! Several `cadre run` on one PostgreSQL (issue 6): one has the mailbox, all send; whoever is killed or stopped, another
//! takes over within 30 s, and nothing is lost or done twice.
//!
//! Each gateway has a folder of its own, as a host has: configuration, keys, journal's head. `CADRE_GATEWAY_ROUNDS` says
//! how many of them are killed or stopped under traffic (3 without it), `CADRE_SEED` which ones.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use common::lab::{PATIENCE, wait};
use common::ledger::{by_message_id, lying, queue, sound, states};
use common::postgres::Place;
use common::scene::{OFFICE, Scene, add, march};
use common::{Daemon, Lab, Person, Practice, PracticeOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Another gateway has the mailbox of a dead one within this time, on a machine at rest.
const TAKEN_OVER: Duration = Duration::from_secs(30);

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A practice on PostgreSQL.
fn scene() -> Result<Scene> {
    let lab = Lab::light()?;
    let born = march(1, 0, 0) - chrono::TimeDelta::days(59);
    let office = Person::generate(&lab, "office", "", OFFICE, born)?;
    let [therapist, marie, paul] = ["exemple", "marie", "paul"].map(|id| Person::persona(&lab, id));
    let (therapist, marie, paul) = (therapist?, marie?, paul?);
    for client in [&marie, &paul] {
        client.meet(&office)?;
    }
    let options = PracticeOptions { forward: "each".into(), ..PracticeOptions::default() };
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
        Ok(Self { practice, daemon: None })
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

    fn signal(&mut self, signal: Signal) -> Result<()> {
        let pid = self.daemon()?.pid();
        Ok(kill(Pid::from_raw(pid.try_into()?), signal)?)
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

/// How many letters were passed on.
fn forwarded(scene: &Scene) -> Result<usize> {
    Ok(queue(&scene.practice)?.get(&("forward".to_owned(), "sent".to_owned())).copied().unwrap_or(0))
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
            true => hosts[victim].signal(Signal::SIGSTOP)?,
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
        wait("every letter's forward", PATIENCE, || Ok((forwarded(&scene)? == expected).then_some(())))?;
        if stopped {
            hosts[victim].signal(Signal::SIGCONT)?;
            hosts[victim].daemon()?.wait_line("this one begins anew", PATIENCE)?;
            let anew = wait("the one that was stopped to join again", PATIENCE, || {
                let id = hosts[victim].id()?;
                Ok((id != has && living(&scene.practice)?.0.contains(&id)).then_some(id))
            })?;
            ensure!(living(&scene.practice)?.1.as_deref() != Some(&anew), "it stands by");
        } else {
            hosts[victim].daemon = None;
            hosts[victim].start()?;
        }
    }
    hand_over(&scene, &mut hosts)?;
    println!("the slowest takeover: {} ms", slowest.as_millis());
    books(&scene, &hosts, &letters)
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
    for host in hosts.iter_mut().filter(|host| host.daemon.is_some()) {
        host.daemon()?.end()?;
    }
    let (all, _) = living(&scene.practice)?;
    ensure!(all.is_empty(), "{all:?}");
    Ok(())
}

/// What must be true whoever did it: each letter filed once and passed on once, the journal whole on every host.
fn books(scene: &Scene, hosts: &[Host], letters: &BTreeMap<&str, usize>) -> Result<()> {
    sound(scene)?;
    ensure!(lying(scene, &["INBOX"])? == 0, "{:?}", scene.lab.census(OFFICE)?);
    for (code, count) in letters {
        let thread = scene.thread(code)?;
        ensure!(states(&thread, "letter") == vec!["filed"; *count], "{count} letters of {code}: {thread:#}");
        ensure!(lying(scene, &["Cadre", code])? == *count, "{:?}", scene.lab.census(OFFICE)?);
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
    }
    Ok(())
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
        wait("the letter's forward", PATIENCE, || Ok((forwarded(scene)? == 1).then_some(())))?;
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
