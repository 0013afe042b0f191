//! Days that pass, with their letters, answers, slots and digests, while gateways are killed and stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::common::Person;
use super::common::lab::{PATIENCE, wait};
use super::common::ledger::{by_message_id, distinct_to, lying, queue, replies_by_day, sql};
use super::common::mail::{field, headers};
use super::common::scene::{Scene, march};
use super::{Host, books, end_all, living, number, pause, scene, sent};

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
            replies_by_day(self.scene, person, &mails, ANSWER)?;
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
