//! A year of a clinic: the same work on an empty store and on one with a history, and how they compare.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cadre::app::context::Context as App;
use cadre::app::post::{Post, Recipe};
use cadre::model::{Direction, Kind, MessageRow, MessageState, Verdict};
use cadre::store::{Client, Finish, Message, Tx};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use crate::common::lab::PATIENCE;
use crate::common::{Lab, Practice};
use crate::own::{backlog, certificates, once, queue_replies, slot};
use crate::world::{THERAPIST, World, client, open_app, runtime};

/// Rows committed together while the history is made.
const GROUP: usize = 100;
/// How often what is quick is timed; the shortest time counts.
const TIMES: usize = 15;

/// How large the history is, and how much is done upon it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub clients: usize,
    pub messages: usize,
    pub therapists: usize,
    /// Letters that come in on top, and replies that leave.
    pub work: usize,
}

/// One kind of work: how long on the empty store and on the full one.
#[derive(Clone, Debug)]
pub struct Compared {
    pub what: &'static str,
    pub empty: Duration,
    pub full: Duration,
}

impl Compared {
    /// 1: as quick as on an empty store; 0.5: twice as slow.
    pub fn ratio(&self) -> f64 {
        self.empty.as_secs_f64() / self.full.as_secs_f64()
    }
}

/// A practice of many therapists; its history is in `folder`, where one is given.
fn clinic(world: &World, size: Size, folder: Option<&Path>) -> Result<(Lab, Practice)> {
    let (lab, practice) = world.practice("delete", "daily", folder)?;
    let mut text = std::fs::read_to_string(&practice.config)?;
    for n in 1..size.therapists {
        text.push_str(&format!(
            "\n[[therapist]]\nid = \"t{n}\"\nname = \"Dr {n}\"\ntitle = \"Psychologue\"\nregister = \"RPPS {n}\"\n\
             country = \"FR\"\naddress = \"t{n}@exemple.example\"\ncertificate = \"therapist.pgp\"\nforward = \"daily\"\n"
        ));
    }
    std::fs::write(&practice.config, text)?;
    Ok((lab, practice))
}

/// One year: letters and replies of one client, answered, forwarded, sent and journalled, as the program would have.
async fn year(app: &App, tx: &mut Tx, client: &Client, pairs: usize, body: &[u8], began: DateTime<Utc>) -> Result<()> {
    let therapist = client.therapist.clone();
    let step = TimeDelta::days(360) / i32::try_from(pairs)?;
    for n in 0..pairs {
        let at = began + step * i32::try_from(n)?;
        let (arrived, left) = (at, at + TimeDelta::hours(30));
        let (letter, reply) = (MessageRow(app.store.new_id()), MessageRow(app.store.new_id()));
        let turn = tx.open_turn(client.id, arrived, Some(left)).await?;
        let incoming = Message {
            client: Some(client.id),
            therapist: Some(therapist.clone()),
            verdict: Some(Verdict::Verified),
            slot: Some(left),
            turn: Some(turn),
            message_id: Some(format!("{}@cabinet.example", letter.0)),
            origin_id: Some(format!("{}@bench.example", letter.0)),
            subject: Some("Ce matin".to_owned()),
            signed_at: Some(arrived),
            bytes: 3000,
            words: 350,
            forwarded_at: Some(arrived + TimeDelta::hours(8)),
            ..Message::new(letter, Direction::In, Kind::Letter, MessageState::Filed, arrived)
        };
        let outgoing = Message {
            client: Some(client.id),
            therapist: Some(therapist.clone()),
            slot: Some(left),
            leave_day: Some(left.date_naive()),
            turn: Some(turn),
            message_id: Some(format!("{}@cabinet.example", reply.0)),
            signed_at: Some(left - TimeDelta::hours(4)),
            answers: Some(letter),
            bytes: 3000,
            words: 300,
            forwarded_at: Some(left),
            ..Message::new(reply, Direction::Out, Kind::Reply, MessageState::Sent, left - TimeDelta::hours(4))
        };
        let fingerprint = client.fingerprint.as_deref().context("everybody here has a key")?;
        tx.remember_signature(fingerprint, &letter.0.to_be_bytes(), Some(letter), arrived).await?;
        tx.insert_message(&incoming).await?;
        tx.put_blob(letter, body).await?;
        tx.journal(arrived, "filed", Some(&client.code), json!({ "verdict": "verified", "marks": [], "bytes": 3000 }))
            .await?;
        let mut forward = Post::to_therapist(Kind::Forward, &therapist, Some(client.id), arrived + TimeDelta::hours(8));
        forward.message = Some(letter);
        forward.mail_id = incoming.message_id.clone();
        let forward = forward.enqueue(app, tx, &Recipe::Forward, arrived).await?;
        tx.finish(forward, Finish::Sent, Some(250), None, arrived + TimeDelta::hours(8)).await?;
        tx.insert_message(&outgoing).await?;
        tx.put_blob(reply, body).await?;
        let mut post = Post::to_client(Kind::Reply, client.id, left);
        post.message = Some(reply);
        post.mail_id = outgoing.message_id.clone();
        let post = post.enqueue(app, tx, &Recipe::Reply, left - TimeDelta::hours(4)).await?;
        tx.finish(post, Finish::Sent, Some(250), None, left).await?;
        tx.journal(left, "sent", Some(&client.code), json!({ "kind": "reply", "attempts": 1 })).await?;
        tx.answer_turn(turn, left, false).await?;
    }
    Ok(())
}

/// A body of 2 kB: sealed as Cadre seals, but for the padding to 4 kB, so that a million of them fit on an ordinary disk.
fn body(world: &World) -> Result<Vec<u8>> {
    use sequoia_openpgp::parse::Parse as _;
    use sequoia_openpgp::serialize::stream::{Armorer, Encryptor, LiteralWriter, Message};
    let cert = sequoia_openpgp::Cert::from_bytes(&world.office.certificate().to_bytes())?;
    let policy = sequoia_openpgp::policy::StandardPolicy::new();
    let readers = cert.keys().with_policy(&policy, None).for_storage_encryption();
    let mut sealed = Vec::new();
    let message = Armorer::new(Message::new(&mut sealed)).build()?;
    let message = Encryptor::for_recipients(message, readers).build()?;
    let mut message = LiteralWriter::new(message).build()?;
    message.write_all("Je vous réponds à ce que vous disiez de ce matin et de la lumière.\n".repeat(17).as_bytes())?;
    message.finalize()?;
    Ok(sealed)
}

/// Makes the history, where it isn't there yet. Every row is made by the store itself, with its MAC, its hashes and the
/// journal's chain; only the bodies are all the same one.
async fn history(world: &World, practice: &Practice, size: Size) -> Result<()> {
    let app = open_app(practice).await?;
    world.enrol(&app).await?;
    let there = usize::try_from(app.store.read().await?.count_clients().await?)?;
    if there < size.clients {
        let began = Instant::now();
        let people = certificates(size.clients - there, &format!("past{there}-"), world)?;
        let body = body(world)?;
        let pairs = (size.messages / size.clients / 2).max(1);
        eprintln!(
            "  the history: {} clients, {} messages, bodies of {} bytes",
            size.clients,
            size.clients * pairs * 2,
            body.len()
        );
        for (n, group) in people.chunks(GROUP).enumerate() {
            let mut tx = app.store.begin().await?;
            for (m, (address, certificate)) in group.iter().enumerate() {
                // The therapist whose digest is timed has the same clients in both stores.
                let therapist = format!("t{}", 1 + (n * GROUP + m) % (size.therapists - 1).max(1));
                let known = tx.add_client(client(&therapist, address, certificate, world.at)).await?;
                year(&app, &mut tx, &known, pairs, &body, world.at - TimeDelta::days(365)).await?;
            }
            tx.commit().await?;
            if ((n + 1) * GROUP).is_multiple_of((size.clients / 10).max(GROUP)) {
                eprintln!("  {} of {} clients after {} s", (n + 1) * GROUP, size.clients, began.elapsed().as_secs());
            }
        }
    }
    app.store.close().await;
    Ok(())
}

/// One store with its practice and its servers.
struct Site {
    lab: Lab,
    practice: Practice,
    code: String,
}

impl Site {
    fn new(world: &World, size: Size, folder: Option<&Path>, full: bool) -> Result<Self> {
        let (lab, practice) = clinic(world, size, folder)?;
        runtime()?.block_on(async {
            if full {
                return history(world, &practice, size).await;
            }
            let app = open_app(&practice).await?;
            world.enrol(&app).await?;
            app.store.close().await;
            Ok(())
        })?;
        let code = runtime()?.block_on(async {
            let app = open_app(&practice).await?;
            let client = app.store.read().await?.client_by_address(&world.writers[0].address).await?;
            app.store.close().await;
            Ok::<_, anyhow::Error>(client.context("the first writer is a client")?.code.to_string())
        })?;
        // What is done once a day is done now, and timed by nobody.
        let (_, took, _) = once(&practice)?;
        eprintln!(
            "  the first look of a day on the {} store: {:.1} s",
            if full { "full" } else { "empty" },
            took.as_secs_f64()
        );
        Ok(Self { lab, practice, code })
    }

    fn command(&self, args: &[&str]) -> Result<Duration> {
        let began = Instant::now();
        self.practice.run(args)?.expect_ok()?;
        Ok(began.elapsed())
    }

    /// From the start of the program until it says that it runs.
    fn start(&self) -> Result<Duration> {
        let began = Instant::now();
        let mut daemon = self.practice.spawn_run()?;
        let log = daemon.log.clone();
        while !std::fs::read_to_string(&log)?.contains("running") {
            ensure!(began.elapsed() < PATIENCE && daemon.lives(), "it doesn't start:\n{}", daemon.text()?);
            std::thread::sleep(Duration::from_millis(1));
        }
        let started = began.elapsed();
        daemon.end()?;
        Ok(started)
    }

    fn intake(&self, world: &World, size: Size, round: usize) -> Result<Duration> {
        let letters = world.letters((1 + round) * 1_000_000..(1 + round) * 1_000_000 + size.work)?;
        let rate = backlog(&self.lab, &self.practice, &letters)?;
        Ok(Duration::from_secs_f64(size.work as f64 / rate.a_second))
    }

    /// As many clients of the therapist's as there are replies, since each has one reply a day.
    fn release(&self, world: &World, size: Size, round: usize) -> Result<Duration> {
        let people = certificates(size.work, &format!("slot{}-{round}-", Utc::now().timestamp()), world)?;
        runtime()?.block_on(async {
            let app = open_app(&self.practice).await?;
            let mut tx = app.store.begin().await?;
            let mut clients = Vec::new();
            for (address, certificate) in &people {
                // Not of the therapist whose digest is timed.
                clients.push(tx.add_client(client("t1", address, certificate, world.at)).await?);
            }
            tx.commit().await?;
            queue_replies(&app, &clients).await?;
            app.store.close().await;
            Ok::<_, anyhow::Error>(())
        })?;
        let rate = slot(&self.lab, &self.practice, size.work)?;
        Ok(Duration::from_secs_f64(size.work as f64 / rate.a_second))
    }
}

/// Does the same on an empty store and on a full one, in turns, so that what else the machine does touches both.
pub fn compare(world: &World, size: Size, folder: Option<&Path>) -> Result<Vec<Compared>> {
    let empty = Site::new(world, size, None, false)?;
    let full = Site::new(world, size, folder, true)?;
    let sites = [&empty, &full];
    let mut compared = Vec::new();
    let rounds = |times: usize, work: &dyn Fn(&Site, usize) -> Result<Duration>| -> Result<[Duration; 2]> {
        let mut best = [Duration::MAX; 2];
        for round in 0..times {
            for (site, best) in sites.iter().zip(&mut best) {
                *best = (*best).min(work(site, round)?);
            }
        }
        Ok(best)
    };
    let mut both = |what, work: &dyn Fn(&Site) -> Result<Duration>| -> Result<()> {
        let [empty, full] = rounds(TIMES, &|site, _| work(site))?;
        compared.push(Compared { what, empty, full });
        Ok(())
    };
    both("start-up", &Site::start)?;
    both("status", &|site| site.command(&["status", "--json"]))?;
    both("digest", &|site| site.command(&["digest", "--preview", "--therapist", THERAPIST]))?;
    both("thread", &|site| site.command(&["thread", &site.code, "--json"]))?;
    let base = Utc::now().timestamp() as usize % 1_000_000 * 10;
    let [empty, full] = rounds(3, &|site, round| site.intake(world, size, base + round))?;
    compared.push(Compared { what: "intake", empty, full });
    let [empty, full] = rounds(3, &|site, round| site.release(world, size, round))?;
    compared.push(Compared { what: "slot release", empty, full });
    Ok(compared)
}
