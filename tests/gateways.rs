//! Several `cadre run` on one PostgreSQL (issue 6): one has the mailbox, all send; whoever is killed or stopped, another
//! takes over within 30 s, and nothing is lost or done twice, neither what comes by mail nor what the clock brings about.
//!
//! Each gateway has a folder of its own, as a host has: configuration, keys, journal's head; all have one time.
//! `CADRE_GATEWAY_ROUNDS` says how many are killed or stopped in each of the two stories: under traffic at one hour (3
//! without it), and in days that pass (8 without it; begun days of four are played to their end). `CADRE_SEED` says which
//! ones, when and how.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use common::lab::{PATIENCE, wait};
use common::ledger::{by_message_id, distinct_to, lying, queue, sound, sql, states};
use common::mail::{field, headers};
use common::postgres::Place;
use common::scene::{OFFICE, Scene, add, march};
use common::{Answer, Daemon, Lab, Person, Practice, PracticeOptions, Sink};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
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

/// Blows that a day has: with its letters, with their answers, at the slot, at the next morning's digest.
const A_DAY: u64 = 4;
const ANSWER: &str = "Je vous réponds du phare";

/// When a gateway is hit.
#[derive(Debug)]
enum When {
    /// Before there is anything to do.
    Before,
    /// So long after there is; each looks at the clock every five seconds.
    After(Duration),
    /// So long after the first mail of it has left: others are claimed, and this one's result may not be recorded.
    FirstMail(Duration),
    /// At this word of the first mail to the submission server (MAIL, RCPT, DATA), which answers afterwards.
    Word(usize),
}

/// How it is hit.
#[derive(Debug, PartialEq, Eq)]
enum How {
    /// Its host is gone until the day goes on.
    Killed,
    /// It is started again at once: its host knows that the earlier one is dead.
    KilledAndBack,
    /// Stopped, until the others have taken it for dead; that may be some hours of the day later.
    Stopped,
}

fn blow(random: &mut StdRng) -> (When, How) {
    let when = match random.random_range(0..6) {
        0 => When::Before,
        1 => When::After(Duration::from_millis(random.random_range(0..5000))),
        2 | 3 => When::FirstMail(Duration::from_millis(random.random_range(0..40))),
        _ => When::Word(random.random_range(0..3)),
    };
    let how = match random.random_range(0..3) {
        0 => How::Killed,
        1 => How::KilledAndBack,
        _ => How::Stopped,
    };
    (when, how)
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

/// Three gateways in days that pass.
struct Days<'a> {
    scene: &'a Scene,
    hosts: Vec<Host>,
    seed: u64,
    blows: u64,
    /// How many mails of each kind are to have left by now.
    expected: BTreeMap<&'static str, usize>,
    /// Letters by the code of who wrote them.
    letters: BTreeMap<&'a str, usize>,
    /// What is read once in all the mails to the therapist, by words that nothing else has.
    forwards: Vec<String>,
}

impl<'a> Days<'a> {
    fn people(&self) -> [(&'a Person, &'a str); 2] {
        [(&self.scene.marie, &self.scene.c1), (&self.scene.paul, &self.scene.c2)]
    }

    fn expect(&mut self, kind: &'static str, more: usize) {
        *self.expected.entry(kind).or_default() += more;
    }

    /// Whether all that is expected has left; an error when more has.
    fn left(&self) -> Result<bool> {
        let mut all = true;
        for (kind, count) in &self.expected {
            let sent = sent(self.scene, kind)?;
            ensure!(sent <= *count, "{sent} mails of the kind {kind} instead of {count}");
            all &= sent == *count;
        }
        Ok(all)
    }

    /// Something happens, what follows from it leaves, and one of the gateways is hit somewhere in between.
    fn step(&mut self, what: &str, act: impl FnOnce(&mut Self, &mut StdRng) -> Result<()>) -> Result<()> {
        // Each draws from a seed of its own: what one does differently changes no other.
        let mut random = StdRng::seed_from_u64((self.seed << 16) + self.blows);
        self.blows += 1;
        let (when, how) = blow(&mut random);
        let scene = self.scene;
        let sink = scene.lab.sink.as_ref().context("a sink")?;
        let before = sink.count();
        let began = Instant::now();
        let victim = self.aim(&mut random)?;
        let paused = if let When::Word(number) = when { Some(pause(sink, number)) } else { None };
        if let When::Before = when {
            self.strike(victim, &how)?;
        }
        act(self, &mut random)?;
        match (&when, &paused) {
            (When::After(later), _) => std::thread::sleep(*later),
            (When::FirstMail(later), _) => {
                sink.wait(before + 1, PATIENCE)?;
                std::thread::sleep(*later);
            }
            (_, Some((reached, _))) => reached.recv_timeout(PATIENCE)?,
            _ => {}
        }
        if !matches!(when, When::Before) {
            self.strike(victim, &how)?;
        }
        // The submission server goes on.
        drop(paused);
        let story = format!("{what}: {when:?}, {how:?} {victim}");
        wait("what is to leave", PATIENCE, || Ok(self.left()?.then_some(()))).with_context(|| {
            let queue = queue(&self.scene.practice);
            format!("{story}\n{:?} instead of {:?}", queue, self.expected)
        })?;
        println!("{story}; done after {} ms", began.elapsed().as_millis());
        // One of two can be hit.
        self.raise(2)
    }

    /// The one that has the mailbox, or any that works.
    fn aim(&mut self, random: &mut StdRng) -> Result<usize> {
        let keeper = living(&self.scene.practice)?.1;
        let (mut working, mut first) = (Vec::new(), None);
        for (number, host) in self.hosts.iter_mut().enumerate().filter(|(_, host)| host.works()) {
            working.push(number);
            first = first.or((Some(host.id()?) == keeper).then_some(number));
        }
        let any = *working.choose(random).context("one that works")?;
        let wanted = random.random_bool(0.5);
        Ok(first.filter(|_| wanted).unwrap_or(any))
    }

    fn strike(&mut self, victim: usize, how: &How) -> Result<()> {
        let host = &mut self.hosts[victim];
        match how {
            How::Stopped => host.stop()?,
            How::Killed | How::KilledAndBack => {
                host.daemon()?.kill9()?;
                host.daemon = None;
                if *how == How::KilledAndBack {
                    host.start()?;
                }
            }
        }
        Ok(())
    }

    /// Whoever was killed is started, and whoever was stopped goes on where the others have taken it for dead; until so
    /// many work.
    fn raise(&mut self, enough: usize) -> Result<()> {
        for host in self.hosts.iter_mut().filter(|host| host.daemon.is_none()) {
            host.start()?;
        }
        wait("enough gateways that work", PATIENCE, || {
            for host in &mut self.hosts {
                let Some(id) = &host.stopped else { continue };
                let leases = format!("SELECT COUNT(*) FROM lease WHERE holder = '{id}'");
                if sql(&self.scene.practice, &leases)? == "0" {
                    host.wake(self.scene)?;
                }
            }
            Ok((self.hosts.iter().filter(|host| host.works()).count() >= enough).then_some(()))
        })
    }

    /// The therapist answers the last of these letters, in a thread in which all of them are named.
    fn answer(&self, letters: &[String], text: &str, at: DateTime<Utc>) -> Result<()> {
        let therapist = &self.scene.therapist;
        let mails = self.scene.lab.sink.as_ref().context("a sink")?.mails();
        let mut named = Vec::new();
        for words in letters {
            let forward = mails.iter().rev().find(|mail| {
                mail.to == [therapist.address.clone()]
                    && therapist.read(&mail.data).is_ok_and(|read| read.text().contains(words))
            });
            named.push(&forward.with_context(|| format!("no forward of {words:?}"))?.data);
        }
        let mut answer = therapist.reply_to(named.last().context("a letter")?, text)?.at(at);
        answer.references.clear();
        for forward in named {
            answer.references.extend(field(&headers(forward), "Message-ID").map(str::to_owned));
        }
        therapist.deliver(&self.scene.lab, &answer).map(drop)
    }

    /// From nine in the morning to the digest of the next day: letters, answers, the slot, the digest.
    fn day(&mut self, day: u64) -> Result<()> {
        let at = |hour: u32| march(2, hour, 0) + TimeDelta::days(day.cast_signed());
        let scene = self.scene;
        let mut letters: Vec<Vec<String>> = Vec::new();
        self.step(&format!("letters of day {day}"), |days, random| {
            scene.practice.set_time(at(9))?;
            for (person, code) in days.people() {
                let count = random.random_range(1..4);
                let words: Vec<_> = (0..count).map(|n| format!("Lettre {day}.{n} de {}.", person.name)).collect();
                for (n, words) in words.iter().enumerate() {
                    scene.letter(person, &format!("Jour {day}.{n}"), &format!("{words}\n"), at(9))?;
                }
                days.forwards.extend(words.iter().cloned());
                letters.push(words);
                *days.letters.entry(code).or_default() += count;
                days.expect("forward", count);
                days.expect("acknowledgement", 1);
            }
            Ok(())
        })?;
        self.step(&format!("answers of day {day}"), |days, _| {
            scene.practice.set_time(at(10))?;
            for ((person, _), letters) in days.people().iter().zip(&letters) {
                days.answer(letters, &format!("{ANSWER} {day} à {}.", person.name), at(10))?;
                days.expect("receipt", 1);
            }
            Ok(())
        })?;
        self.step(&format!("slot of day {day}"), |days, _| {
            days.expect("reply", 2);
            scene.practice.set_time(at(17))
        })?;
        self.step(&format!("digest after day {day}"), |days, _| {
            days.expect("digest", 1);
            scene.practice.set_time(at(6) + TimeDelta::days(1))
        })
    }

    /// What has come to whom, once each message that was repeated is counted once.
    fn mails(&self, days: u64) -> Result<()> {
        let mails = self.scene.lab.sink.as_ref().context("a sink")?.mails();
        for (person, _) in self.people() {
            let mut texts = Vec::new();
            for mail in distinct_to(&mails, &person.address)? {
                texts.push(person.read(&mail.data)?.text());
            }
            let replies: Vec<&String> = texts.iter().filter(|text| text.contains(ANSWER)).collect();
            ensure!(replies.len() as u64 == days, "{} got {} replies in {days} days", person.name, replies.len());
            for day in 0..days {
                let words = format!("{ANSWER} {day} à {}.", person.name);
                let count = replies.iter().filter(|text| text.contains(&words)).count();
                ensure!(count == 1, "{words:?} came {count} times");
            }
            common::ledger::replies_by_day(self.scene, person, &mails, ANSWER)?;
        }
        let mut read = Vec::new();
        for mail in distinct_to(&mails, &self.scene.therapist.address)? {
            read.push(self.scene.therapist.read(&mail.data)?);
        }
        for words in &self.forwards {
            let count = read.iter().filter(|mail| mail.text().contains(words)).count();
            ensure!(count == 1, "{words:?} was passed on {count} times");
        }
        let digests = read.iter().filter(|mail| mail.subject.starts_with("Relevé"));
        let digests: Vec<&str> = digests.filter_map(|mail| mail.outer("Date")).collect();
        let dates = digests.iter().map(|date| Ok(DateTime::parse_from_rfc2822(date)?.to_utc().date_naive()));
        let dates = dates.collect::<Result<BTreeSet<_>>>()?;
        let each: BTreeSet<_> = (0..=days).map(|n| march(2, 0, 0).date_naive() + chrono::Days::new(n)).collect();
        ensure!(dates == each && digests.len() == each.len(), "{digests:?}");
        let different = by_message_id(&mails)?.len();
        println!("{different} mails, {} repeated as they were", mails.len() - different);
        Ok(())
    }
}

#[test]
fn in_days_that_pass_kills_and_stops_leave_one_digest_a_day_and_each_reply_once() -> Result<()> {
    let seed = number("CADRE_SEED", 0x00ca_d4e7);
    println!("CADRE_SEED={seed}");
    let scene = scene()?;
    // What another gateway has sent, the one that has the mailbox files when it next looks into it.
    scene.practice.set("imap.poll", "\"5s\"")?;
    let mut hosts = (0..3).map(|number| Host::new(&scene, number)).collect::<Result<Vec<_>>>()?;
    for host in &mut hosts {
        host.start()?;
    }
    let (expected, letters) = (BTreeMap::new(), BTreeMap::new());
    let mut days = Days { scene: &scene, hosts, seed, blows: 0, expected, letters, forwards: Vec::new() };
    // The first day's digest: they begin after its hour.
    days.expect("digest", 1);
    let count = number("CADRE_GATEWAY_ROUNDS", 2 * A_DAY).div_ceil(A_DAY);
    for day in 0..count {
        days.day(day)?;
    }
    let replies = usize::try_from(count)?;
    wait("the copies of what was sent", PATIENCE, || {
        let mut all = true;
        for (code, count) in &days.letters {
            all &= lying(&scene, &["Cadre", code])? >= count + replies;
        }
        Ok(all.then_some(()))
    })?;
    days.raise(3)?;
    end_all(&scene, &mut days.hosts)?;
    books(&scene, &days.hosts, &days.letters, replies)?;
    days.mails(count)
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
