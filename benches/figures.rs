//! The table of figures (`make bench`): measured side by side in one run, on a real Dovecot on loopback,
//! the database durable (`synchronous = FULL`), Curve25519 keys, 2 kB letters signed inside and encrypted.
//! Figures are printed, not asserted. `CADRE_BENCH_LETTERS` changes how many letters there are.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cadre::app::compose::WaitingLetter;
use cadre::app::context::Context as App;
use cadre::app::post::{Post, Recipe};
use cadre::clock::Clock;
use cadre::config::{Config, Env};
use cadre::mime::{self, OutPart, Outgoing};
use cadre::model::{Address, Channel, ClientState, Direction, Kind, Language, MessageRow, MessageState, TherapistId};
use cadre::pgp::{self, Certificate, PracticeKey, SignatureCheck};
use cadre::store::{self, Message, NewClient};
use chrono::{DateTime, TimeDelta, Utc};
use common::scene::OFFICE;
use common::{Lab, Person, Practice, PracticeOptions};

/// Letters in the backlog, and replies at the slot.
fn size() -> usize {
    std::env::var("CADRE_BENCH_LETTERS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000)
}

/// Clients who write them.
const CLIENTS: usize = 50;

struct Writer {
    key: PracticeKey,
    address: Address,
}

fn writers(at: DateTime<Utc>) -> Result<Vec<Writer>> {
    (0..CLIENTS)
        .map(|n| {
            let address = Address::parse(&format!("client{n}@bench.example"))?;
            let new = PracticeKey::generate(address.as_typed(), None, at - TimeDelta::days(30))?;
            Ok(Writer { key: PracticeKey::load(&new.secret, None)?, address })
        })
        .collect()
}

/// A letter of 2 kB, signed inside and encrypted, as a mail program would send it.
fn letter(writer: &Writer, office: &Certificate, n: usize, at: DateTime<Utc>) -> Result<Vec<u8>> {
    let line = format!("Lettre {n}. Ce matin la lumière entrait par la fenêtre et j'ai pensé à ce que vous disiez.\n");
    let mail = Outgoing {
        from_display: String::new(),
        from: writer.address.clone(),
        to: vec![Address::parse(OFFICE)?],
        subject: format!("Lettre {n}"),
        outer_subject: None,
        message_id: format!("bench-{n}@bench.example"),
        in_reply_to: None,
        references: Vec::new(),
        date: at,
        automatic: false,
        autocrypt: None,
        parts: vec![OutPart::Text(line.repeat(2000 / line.len() + 1))],
    };
    Ok(mime::encrypted(&mail, &pgp::seal(mime::payload(&mail), &[office], &writer.key, at)?))
}

fn open_app(practice: &Practice) -> Result<App> {
    let (config, _) = Config::load(&practice.config, &Env::process())
        .map_err(|findings| anyhow::anyhow!("{}", findings.iter().map(ToString::to_string).collect::<String>()))?;
    Ok(runtime()?.block_on(App::open(config, Clock::System))?)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn add_clients(app: &App, writers: &[Writer], at: DateTime<Utc>) -> Result<Vec<store::Client>> {
    let add = async {
        let mut tx = app.store.begin().await?;
        let mut clients = Vec::new();
        for writer in writers {
            let certificate = writer.key.certificate();
            let new = NewClient {
                therapist: TherapistId("exemple".into()),
                state: ClientState::Active,
                channel: Channel::OpenPgp,
                language: Language::Fr,
                address: writer.address.clone(),
                name: None,
                label: None,
                certificate: Some(store::Certificate {
                    bytes: certificate.to_bytes(),
                    fingerprint: certificate.fingerprint(),
                    handles: certificate.handles(),
                }),
                consent_note: None,
                consented_at: Some(at),
                created_at: at,
                care: cadre::store::Care::default(),
            };
            clients.push(tx.add_client(new).await?);
        }
        tx.commit().await?;
        Ok::<_, store::StoreError>(clients)
    };
    Ok(runtime()?.block_on(add)?)
}

/// A practice on a fresh laboratory.
fn practice(filing: &str, forward: &str) -> Result<(Lab, Practice, Person)> {
    let lab = Lab::light()?;
    let born = Utc::now() - TimeDelta::days(60);
    let office = Person::generate(&lab, "office", "", OFFICE, born)?;
    let therapist = Person::persona(&lab, "exemple")?;
    let options = PracticeOptions { filing: filing.into(), forward: forward.into(), ..PracticeOptions::default() };
    let practice = Practice::write(&lab, &Practice::built_binary()?, &office, &therapist, &options)?;
    Ok((lab, practice, office))
}

/// The bare cryptography of filing, one thread: open and verify a letter, seal its forward.
fn bare(app: &App, letters: &[Vec<u8>], writers: &[Writer], at: DateTime<Utc>) -> Result<f64> {
    let known: Vec<Certificate> = writers.iter().map(|writer| writer.key.certificate().clone()).collect();
    let therapists = app.therapists();
    let to = therapists[0].certificate().expect("the therapist has a certificate");
    let began = Instant::now();
    for raw in letters {
        let mime::Envelope::Encrypted { ciphertext, .. } = mime::envelope(raw, &app.limits)? else {
            anyhow::bail!("a letter of the bench is not encrypted");
        };
        let opened = pgp::open(&ciphertext, &[&app.key], &known, at, &pgp::Limits::default())?;
        anyhow::ensure!(matches!(opened.signature, SignatureCheck::Good(_)), "a letter's signature isn't good");
        pgp::seal(opened.plaintext.as_bytes(), &[to], &app.key, at)?;
    }
    Ok(letters.len() as f64 / began.elapsed().as_secs_f64())
}

/// Letters in the mailbox, then one pass.
fn backlog(filing: &str, letters: &[Vec<u8>], writers: &[Writer]) -> Result<(f64, u64)> {
    let (lab, practice, office) = practice(filing, "daily")?;
    let at = Utc::now();
    let office = Certificate::from_bytes(&office.certificate()?)?;
    let app = open_app(&practice)?;
    add_clients(&app, writers, at)?;
    drop(app);
    // Letters are sealed to this practice's own key.
    let own: Vec<Vec<u8>> = if letters.is_empty() {
        (0..size()).map(|n| letter(&writers[n % CLIENTS], &office, n, at)).collect::<Result<_>>()?
    } else {
        letters.to_vec()
    };
    let mut imap = lab.imap(OFFICE)?;
    for raw in &own {
        imap.append("INBOX", raw, None)?;
    }
    drop(imap);
    let began = Instant::now();
    let mut daemon = practice.spawn(&["run", "--once", "--json"])?;
    let mut peak = 0;
    while daemon.lives() {
        peak = peak.max(daemon.memory().unwrap_or(0));
        if daemon.wait_end(Duration::from_millis(20)).is_ok() {
            break;
        }
    }
    let took = began.elapsed();
    let text = daemon.text()?;
    let counts = text.find('{').map(|at| &text[at..]).context("run --once printed no counts")?;
    let counts: serde_json::Value = serde_json::from_str(counts)?;
    anyhow::ensure!(counts["filed"] == own.len(), "not everything was filed: {counts}");
    let left = lab.mails(OFFICE, "INBOX")?.len();
    anyhow::ensure!(left == 0, "{left} originals are left\n{text}");
    Ok((own.len() as f64 / took.as_secs_f64(), peak))
}

/// From delivery in the mailbox to the first mail at the submission server, with IDLE; and memory at rest.
fn latency(writers: &[Writer]) -> Result<(Duration, u64)> {
    let (lab, practice, office) = practice("folders", "each")?;
    let office = Certificate::from_bytes(&office.certificate()?)?;
    let app = open_app(&practice)?;
    add_clients(&app, writers, Utc::now())?;
    drop(app);
    let mut daemon = practice.spawn_run()?;
    daemon.wait_line("running", Duration::from_secs(20))?;
    let sink = lab.sink.as_ref().context("the light laboratory has a listener")?;
    let mut times = Vec::new();
    for (n, writer) in writers.iter().take(31).enumerate() {
        let raw = letter(writer, &office, 100_000 + n, Utc::now())?;
        let before = sink.count();
        let began = Instant::now();
        lab.deliver(writer.address.as_typed(), OFFICE, &raw)?;
        // Acknowledgement and forward: the second of them ends the clock.
        let mails = sink.wait(before + 2, Duration::from_secs(20))?;
        let first = mails[before..].iter().map(|mail| mail.at).min().unwrap_or(began);
        times.push(first.duration_since(began));
    }
    let rest = daemon.memory()?;
    daemon.terminate(Duration::from_secs(5))?;
    times.sort_unstable();
    Ok((times[times.len() / 2], rest))
}

/// Replies that wait for one slot, then the pass at that slot.
fn slot(writers: &[Writer]) -> Result<f64> {
    let many = size().min(2000);
    let (lab, practice, _office) = practice("delete", "daily")?;
    let app = open_app(&practice)?;
    let now = Utc::now();
    let clients = add_clients(&app, writers, now)?;
    let queued = async {
        let mut tx = app.store.begin().await?;
        for n in 0..many {
            let client = &clients[n % clients.len()];
            let letter = WaitingLetter {
                subject: "Re: lettre".into(),
                text: "Une réponse.\n".repeat(150),
                attachments: Vec::new(),
            };
            // `/now` words leave at once and have no day: as many as one likes for one client.
            let message = Message {
                client: Some(client.id),
                therapist: Some(client.therapist.clone()),
                message_id: Some(format!("bench-reply-{n}@cabinet.example")),
                ..Message::new(MessageRow(app.store.new_id()), Direction::Out, Kind::Now, MessageState::Waiting, now)
            };
            tx.insert_message(&message).await?;
            tx.put_blob(message.id, &letter.seal(&app, now)?).await?;
            let mut post = Post::to_client(Kind::Now, client.id, now);
            post.message = Some(message.id);
            post.mail_id = message.message_id.clone();
            post.enqueue(&app, &mut tx, &Recipe::Reply, now).await?;
        }
        tx.commit().await?;
        Ok::<_, cadre::app::AppError>(())
    };
    runtime()?.block_on(queued)?;
    drop(app);
    let began = Instant::now();
    let counts: serde_json::Value = practice.json(&["run", "--once"])?;
    let took = began.elapsed();
    let sink = lab.sink.as_ref().context("the light laboratory has a listener")?;
    anyhow::ensure!(sink.count() >= many, "not everything left: {counts}");
    Ok(many as f64 / took.as_secs_f64())
}

fn row(what: &str, figure: &str, goal: &str) {
    println!("| {what:<58} | {figure:>16} | {goal:>16} |");
}

fn main() -> Result<()> {
    let at = Utc::now();
    let writers = writers(at)?;
    println!("Cadre's figures; {} letters of 2 kB, {} clients, {} cores", size(), CLIENTS, cores());
    let (lab, practice, office) = practice("folders", "daily")?;
    let office = Certificate::from_bytes(&office.certificate()?)?;
    let app = open_app(&practice)?;
    let sample: Vec<Vec<u8>> =
        (0..size().min(500)).map(|n| letter(&writers[n % CLIENTS], &office, n, at)).collect::<Result<_>>()?;
    let crypto = bare(&app, &sample, &writers, at)?;
    drop((app, lab));
    println!();
    row("what", "measured", "to reach");
    row(&"-".repeat(58), &"-".repeat(16), &"-".repeat(16));
    row("bare cryptography of filing, one thread", &format!("{crypto:.0}/s"), "");
    let mut peak = 0;
    for filing in ["folders", "delete"] {
        let (rate, memory) = backlog(filing, &[], &writers)?;
        peak = peak.max(memory);
        row(&format!("filing a backlog, filing = \"{filing}\""), &format!("{rate:.0}/s"), "500/s");
        row("  of the bare cryptography", &format!("{:.2}", rate / crypto), "0.60");
    }
    let (median, rest) = latency(&writers)?;
    row("delivery to handed to SMTP, median of 31", &format!("{} ms", median.as_millis()), "50 ms");
    row("replies due at one moment, leaving", &format!("{:.0}/s", slot(&writers)?), "300/s");
    row("memory at rest", &format!("{} MB", rest >> 20), "64 MB");
    row("memory while a backlog is filed, peak", &format!("{} MB", peak >> 20), "256 MB");
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
