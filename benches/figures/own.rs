//! What Cadre itself does: each figure on a fresh laboratory.

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cadre::app::AppError;
use cadre::app::compose::WaitingLetter;
use cadre::app::context::Context as App;
use cadre::app::post::{Post, Recipe};
use cadre::mime::{self, OutPart};
use cadre::model::{Address, Direction, Kind, MessageRow, MessageState};
use cadre::pgp::{self, Certificate, PracticeKey, SignatureCheck};
use cadre::store::{Client, Message};
use chrono::{TimeDelta, Utc};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::common::lab::PATIENCE;
use crate::common::scene::OFFICE;
use crate::common::{Daemon, Lab, Practice};
use crate::world::{THERAPIST, WRITERS, World, client, open_app, runtime};

/// How quickly, and what it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    pub a_second: f64,
    /// Time of all cores that the program took for one, milliseconds.
    pub cpu_ms: f64,
    /// Most memory that was resident, bytes.
    pub peak: u64,
}

/// User and system time of all programs that were started here and have ended.
fn children() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// The most memory that was ever resident, bytes; None once the program has ended.
fn peak(daemon: &Daemon) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// `run --once`: its counts, how long it took, and what it took.
pub fn once(practice: &Practice) -> Result<(serde_json::Value, Duration, Rate)> {
    let (cpu, began) = (children()?, Instant::now());
    let mut daemon = practice.spawn(&["run", "--once", "--json"])?;
    let mut rate = Rate::default();
    let ended = loop {
        rate.peak = rate.peak.max(peak(&daemon).unwrap_or(0));
        if let Ok(status) = daemon.wait_end(Duration::from_millis(20)) {
            break status;
        }
    };
    let took = began.elapsed();
    rate.cpu_ms = (children()? - cpu).as_secs_f64() * 1000.0;
    let text = daemon.text()?;
    ensure!(ended == Some(0), "run --once ended with {ended:?}\n{text}");
    let counts = text.find('{').map(|at| &text[at..]).context("run --once printed no counts")?;
    Ok((serde_json::from_str(counts)?, took, rate))
}

/// The bare cryptography of filing, one thread: open and verify a letter, seal its forward.
pub fn bare(world: &World, letters: &[Vec<u8>], therapist: &Certificate) -> Result<f64> {
    let known: Vec<Certificate> = world.writers.iter().map(|writer| writer.key.certificate().clone()).collect();
    let began = Instant::now();
    for raw in letters {
        let mime::Envelope::Encrypted { ciphertext, .. } = mime::envelope(raw, &mime::Limits::default())? else {
            anyhow::bail!("a letter of the bench is not encrypted");
        };
        let opened = pgp::open(&ciphertext, &[&world.office], &known, world.at, &pgp::Limits::default())?;
        ensure!(matches!(opened.signature, SignatureCheck::Good(_)), "a letter's signature isn't good");
        pgp::seal(opened.plaintext.as_bytes(), &[therapist], &world.office, world.at)?;
    }
    Ok(letters.len() as f64 / began.elapsed().as_secs_f64())
}

/// The same on all cores at once: how far the machine lets one go beyond one thread.
pub fn bare_on_all(world: &World, letters: &[Vec<u8>], therapist: &Certificate) -> Result<f64> {
    let cores = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| bare(world, letters, therapist))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread of the bench"))?).sum()
    })
}

/// A practice with its clients, which has worked once: what is done once a day is done.
pub fn settled(world: &World, filing: &str, forward: &str) -> Result<(Lab, Practice)> {
    let (lab, practice) = world.practice(filing, forward, None)?;
    runtime()?.block_on(async {
        let app = open_app(&practice).await?;
        world.enrol(&app).await?;
        app.store.close().await;
        Ok::<_, anyhow::Error>(())
    })?;
    once(&practice)?;
    Ok((lab, practice))
}

/// Lays letters into INBOX: the first by IMAP, so that the Maildir is there, the others as files, since a server makes
/// each durable before it takes the next.
pub fn put(lab: &Lab, letters: &[Vec<u8>]) -> Result<()> {
    let Some((first, others)) = letters.split_first() else { return Ok(()) };
    lab.append(OFFICE, "INBOX", first, None)?;
    let folder = lab.mail_root().join(OFFICE).join("Maildir/new");
    let owner = std::fs::metadata(&folder)?;
    for (n, raw) in others.iter().enumerate() {
        let file = folder.join(format!("{}.{n}.bench", Utc::now().timestamp()));
        std::fs::write(&file, raw)?;
        std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Letters in the mailbox, then one pass.
pub fn backlog(lab: &Lab, practice: &Practice, letters: &[Vec<u8>]) -> Result<Rate> {
    put(lab, letters)?;
    let (counts, took, rate) = once(practice)?;
    ensure!(counts["filed"] == letters.len(), "not everything was filed: {counts}");
    let left = lab.mails(OFFICE, "INBOX")?.len();
    ensure!(left == 0, "{left} originals are left");
    let many = letters.len() as f64;
    Ok(Rate { a_second: many / took.as_secs_f64(), cpu_ms: rate.cpu_ms / many, peak: rate.peak })
}

/// From the beginning of a delivery to the mailbox until the submission server has the first mail about it, with IDLE;
/// and memory at rest.
pub fn latency(world: &World, many: usize) -> Result<(Vec<Duration>, u64)> {
    let (lab, practice) = settled(world, "folders", "each")?;
    let mut daemon = practice.spawn_run()?;
    daemon.wait_line("running", PATIENCE)?;
    let sink = lab.sink.as_ref().context("the light laboratory has a listener")?;
    let mut times = Vec::new();
    for n in 0..many {
        let raw = world.letter(100_000 + n, Vec::new())?;
        let before = sink.count();
        let began = Instant::now();
        lab.deliver(world.writers[n % WRITERS].address.as_typed(), OFFICE, &raw)?;
        // A turn's first letter is acknowledged besides being passed on.
        let mails = sink.wait(before + if n < WRITERS { 2 } else { 1 }, PATIENCE)?;
        let first = mails[before..].iter().map(|mail| mail.at).min().unwrap_or(began);
        times.push(first.duration_since(began));
    }
    let rest = daemon.memory()?;
    daemon.end()?;
    times.sort_unstable();
    Ok((times, rest))
}

/// Letters of the largest size that is opened (25 MB), two of them beside small ones: the most memory that was resident.
pub fn large(world: &World) -> Result<u64> {
    let (lab, practice) = settled(world, "delete", "daily")?;
    // Twice in base64 it is a little below 25 MB.
    let noise: Vec<u8> = (0..12_500_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let file = || OutPart::File {
        name: "son.bin".into(),
        media_type: "application/octet-stream".into(),
        bytes: noise.clone().into(),
    };
    let mut letters = Vec::new();
    for n in 0..6 {
        let attached = if n % 2 == 0 { vec![file()] } else { Vec::new() };
        letters.push(world.letter(200_000 + n, attached)?);
    }
    Ok(backlog(&lab, &practice, &letters)?.peak)
}

/// Puts a reply for each of these clients into the store, due now.
pub async fn queue_replies(app: &App, clients: &[Client]) -> Result<(), AppError> {
    let now = Utc::now();
    let slot = now - TimeDelta::seconds(1);
    let therapist = app.therapists().iter().find(|therapist| therapist.id().0 == THERAPIST).cloned();
    let day = therapist.map(|therapist| therapist.schedule.local_day(slot));
    for group in clients.chunks(500) {
        let mut tx = app.store.begin().await?;
        for client in group {
            let letter = WaitingLetter {
                subject: "Re: lettre".into(),
                text: "Je vous réponds à ce que vous disiez de ce matin.\n".repeat(40),
                attachments: Vec::new(),
            };
            let id = MessageRow(app.store.new_id());
            let turn = match tx.current_turn(client.id).await? {
                Some(turn) => turn.id,
                None => tx.open_turn(client.id, slot - TimeDelta::days(1), Some(slot)).await?,
            };
            let message = Message {
                client: Some(client.id),
                therapist: Some(client.therapist.clone()),
                slot: Some(slot),
                leave_day: day,
                turn: Some(turn),
                message_id: Some(format!("bench-reply-{}@cabinet.example", id.0)),
                signed_at: Some(slot - TimeDelta::hours(1)),
                ..Message::new(id, Direction::Out, Kind::Reply, MessageState::Waiting, slot - TimeDelta::hours(1))
            };
            tx.insert_message(&message).await?;
            tx.put_blob(id, &letter.seal(app, now)?).await?;
            tx.answer_turn(turn, slot - TimeDelta::hours(1), false).await?;
            let mut post = Post::to_client(Kind::Reply, client.id, slot);
            post.message = Some(id);
            post.mail_id = message.message_id.clone();
            post.enqueue(app, &mut tx, &Recipe::Reply, now).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// One pass while replies wait.
pub fn slot(lab: &Lab, practice: &Practice, many: usize) -> Result<Rate> {
    let sink = lab.sink.as_ref().context("the light laboratory has a listener")?;
    let before = sink.count();
    let (counts, took, rate) = once(practice)?;
    ensure!(sink.count() - before >= many && counts["released"] == many, "not everything left: {counts}");
    sink.clear();
    Ok(Rate { a_second: many as f64 / took.as_secs_f64(), cpu_ms: rate.cpu_ms / many as f64, peak: rate.peak })
}

/// New certificates, made on all cores.
pub fn certificates(many: usize, name: &str, world: &World) -> Result<Vec<(Address, Certificate)>> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let born = world.at - TimeDelta::days(300);
    let made: Vec<Result<Vec<_>>> = std::thread::scope(|scope| {
        let part = |core: usize| {
            let numbers = (core..many).step_by(cores);
            numbers
                .map(|n| {
                    let address = Address::parse(&format!("{name}{n}@bench.example"))?;
                    let new = PracticeKey::generate(address.as_typed(), None, born)?;
                    Ok((address, Certificate::from_bytes(&new.certificate)?))
                })
                .collect()
        };
        let threads: Vec<_> = (0..cores).map(|core| scope.spawn(move || part(core))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no key takes a thread with it")).collect()
    });
    Ok(made.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// As many clients as there are replies due at one slot.
pub fn replies(world: &World, many: usize) -> Result<Rate> {
    let (lab, practice) = settled(world, "delete", "daily")?;
    let people = certificates(many, "slot", world)?;
    let add = async {
        let app = open_app(&practice).await?;
        let mut clients = Vec::with_capacity(many);
        for group in people.chunks(500) {
            let mut tx = app.store.begin().await?;
            for (address, certificate) in group {
                clients.push(tx.add_client(client(THERAPIST, address, certificate, world.at)).await?);
            }
            tx.commit().await?;
        }
        queue_replies(&app, &clients).await?;
        app.store.close().await;
        Ok::<_, anyhow::Error>(())
    };
    runtime()?.block_on(add)?;
    slot(&lab, &practice, many)
}
