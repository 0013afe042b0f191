//! The real application layer in this process: configuration, database, OpenPGP, outbox, and a mailbox that is a
//! `Vec`. What `app/watch` and `app/supervisor` do around `prepare`, `apply`, `tick` and the outbox is done here
//! with the same calls; the clock stands still unless the simulator moves it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cadre::app::context::Context;
use cadre::app::daily::daily;
use cadre::app::intake::{Outcome, apply};
use cadre::app::prepare::{Arrived, Prepared, prepare};
use cadre::app::registry::View;
use cadre::app::send::Sender;
use cadre::app::supervisor;
use cadre::clock::Clock;
use cadre::config::{Config, Env};
use cadre::model::Kind;
use cadre::secret::Plaintext;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::people::Person;
use crate::common::{Answer, Sink};

pub const OFFICE: &str = "ecrire@cabinet.example";
pub const OPERATOR: &str = "ops@cabinet.example";

/// A therapist as the configuration has them.
pub struct Desk {
    pub id: String,
    pub person: Person,
    pub zone: &'static str,
    pub release: &'static str,
    pub forward: &'static str,
}

/// A mail that lies in the mailbox, with the simulator's own number for it.
pub struct Posted {
    pub tag: usize,
    pub raw: Vec<u8>,
    /// The mail server's clock, which is right.
    pub at: DateTime<Utc>,
}

/// What the application made of a mail.
pub struct Handled {
    pub tag: usize,
    pub outcome: Outcome,
    /// `H3`.
    pub held: Option<i64>,
}

/// A mail as the submission server took it.
pub struct Delivered {
    pub raw: Vec<u8>,
    pub to: Vec<String>,
    pub kind: Kind,
    /// The client's row that the outbox says it is about.
    pub client: Option<i64>,
    /// False where the program never heard that it was taken, and so has to say it again.
    pub heard: bool,
}

pub struct Office {
    pub ctx: Arc<Context>,
    pub clock: Clock,
    pub sink: Sink,
    pub practice: Person,
    pub desks: Vec<Desk>,
    sender: Option<Sender>,
    inbox: Vec<Posted>,
    uid: u32,
    last_scan: Option<DateTime<Utc>>,
    outbox: SqlitePool,
    config: PathBuf,
    // The last to go.
    _dir: tempfile::TempDir,
}

/// Memory, where the machine has it: what is tested here is not the disk.
fn folder() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    tempfile::Builder::new().prefix("cadre-whole").tempdir_in(shm).or_else(|_| tempfile::tempdir()).unwrap()
}

impl Office {
    pub async fn open(start: DateTime<Utc>, desks: Vec<Desk>) -> Self {
        let dir = folder();
        let born = start - TimeDelta::days(1);
        let practice = Person::new(OFFICE, born);
        let sink = Sink::start().unwrap();
        let private = |name: &str, bytes: &[u8]| {
            std::fs::write(dir.path().join(name), bytes).unwrap();
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        };
        private("practice.key.pgp", &practice.secret);
        private("record.key", &[7; 32]);
        private("password", b"nobody asks for it");
        for desk in &desks {
            private(&format!("{}.pgp", desk.id), &desk.person.certificate().to_bytes());
        }
        private("cadre.toml", configuration(sink.port, &desks).as_bytes());
        let config = dir.path().join("cadre.toml");
        let clock = Clock::fixed(start);
        let ctx = context(&config, &clock).await;
        let options = SqliteConnectOptions::new().filename(dir.path().join("cadre.db"));
        let outbox = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        // The look-up below would read the whole table each time.
        sqlx::query("CREATE INDEX whole_outbox ON outbox (sha256)").execute(&outbox).await.unwrap();
        Self {
            ctx,
            clock,
            sink,
            practice,
            desks,
            sender: None,
            inbox: Vec::new(),
            uid: 0,
            last_scan: None,
            outbox,
            config,
            _dir: dir,
        }
    }

    /// The program ends and is started again.
    pub async fn restart(&mut self) {
        if let Some(mut sender) = self.sender.take() {
            sender.quit().await;
        }
        self.ctx.store.close().await;
        self.ctx = context(&self.config, &self.clock).await;
        let mut tx = self.ctx.store.begin().await.unwrap();
        tx.resume_attempts(self.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A mail comes into the mailbox.
    pub fn post(&mut self, posted: Posted) {
        self.inbox.push(posted);
    }

    /// One look into the mailbox: everything in it is prepared on all cores and applied in order.
    pub async fn fetch(&mut self) -> Vec<Handled> {
        let began = self.clock.now();
        let mut tasks = Vec::new();
        for posted in std::mem::take(&mut self.inbox) {
            self.uid += 1;
            let mut arrived = Arrived {
                folder: "INBOX".to_owned(),
                uidvalidity: 1,
                uid: self.uid,
                internaldate: Some(posted.at),
                raw: Plaintext::new(posted.raw),
                first_seen: began,
                last_scan: self.last_scan,
                tried: false,
                room: None,
                junk: false,
            };
            let (ctx, handle) = (Arc::clone(&self.ctx), tokio::runtime::Handle::current());
            let task = tokio::task::spawn_blocking(move || {
                let view = View::new(&ctx, &handle).unwrap();
                let prepared = prepare(&ctx, &view, &mut arrived, began).unwrap();
                (arrived, prepared)
            });
            tasks.push((posted.tag, task));
        }
        let mut handled = Vec::new();
        for (tag, task) in tasks {
            let (arrived, prepared) = task.await.unwrap();
            let mut tx = self.ctx.store.begin().await.unwrap();
            let outcome = apply(&self.ctx, &mut tx, &arrived, &prepared, began).await.unwrap();
            let mut held = None;
            if outcome == Outcome::Held
                && let Prepared::Sealed(sealed) = &prepared
            {
                held = tx.message(sealed.row).await.unwrap().and_then(|message| message.held_no);
            }
            tx.originals_done(&arrived.folder, arrived.uidvalidity, &[arrived.uid]).await.unwrap();
            tx.commit().await.unwrap();
            handled.push(Handled { tag, outcome, held: held.map(u64::cast_signed) });
        }
        self.last_scan = Some(began);
        let mut tx = self.ctx.store.begin().await.unwrap();
        tx.set_meta_time(supervisor::SEEN_UNTIL, began).await.unwrap();
        tx.commit().await.unwrap();
        handled
    }

    /// What the clock brings about, and everything that may leave now.
    pub async fn send(&mut self) -> Vec<Delivered> {
        daily(&self.ctx, self.ctx.clock.now()).await.unwrap();
        let sent = supervisor::outbox_pass(&self.ctx, &mut self.sender).await.unwrap();
        if sent.unreachable {
            self.sender = None;
        }
        let caught = self.sink.mails();
        self.sink.clear();
        let mut delivered = Vec::with_capacity(caught.len());
        for mail in caught {
            let (kind, client) = self.look_up(&mail.data).await;
            delivered.push(Delivered { raw: mail.data, to: mail.to, kind, client, heard: mail.acknowledged });
        }
        delivered
    }

    /// Which row of the outbox these bytes were.
    async fn look_up(&self, raw: &[u8]) -> (Kind, Option<i64>) {
        let hash = Sha256::digest(raw).to_vec();
        let rows = sqlx::query("SELECT kind, client_id FROM outbox WHERE sha256 = $1").bind(hash);
        let rows = rows.fetch_all(&self.outbox).await.unwrap();
        assert_eq!(rows.len(), 1, "the outbox knows these bytes {} times", rows.len());
        (rows[0].get::<String, _>(0).parse().unwrap(), rows[0].get(1))
    }

    /// Answers of the submission server from now on.
    pub fn server(&self, answers: impl IntoIterator<Item = Answer>) {
        self.sink.script(answers);
    }

    /// When the outbox has something to do next.
    pub async fn next_due(&self) -> Option<DateTime<Utc>> {
        self.ctx.store.read().await.unwrap().next_due().await.unwrap()
    }

    /// A question to the database that the program's own interface doesn't answer.
    pub async fn ask(&self, sql: &str) -> Vec<sqlx::sqlite::SqliteRow> {
        sqlx::query(sql).fetch_all(&self.outbox).await.unwrap()
    }
}

async fn context(config: &Path, clock: &Clock) -> Arc<Context> {
    let (config, _) = Config::load(config, &Env::of([])).unwrap_or_else(|faults| panic!("{faults:?}"));
    Arc::new(Context::open(config, clock.clone()).await.unwrap())
}

fn configuration(port: u16, desks: &[Desk]) -> String {
    let mut text = format!(
        r#"[practice]
name = "Cabinet Exemple"
address = "{OFFICE}"
neutral_name = "Correspondance"
language = "fr"
timezone = "Europe/Paris"
country = "FR"
[practice.cadre]
channel = "courrier chiffré"
price = "60 € par semaine, par virement en fin de semaine"
fallback = "+33 1 00 00 00 00, SMS"
[operator]
address = "{OPERATOR}"
[keys]
secret = "practice.key.pgp"
record = "record.key"
[imap]
host = "127.0.0.1"
port = 9
tls = "none"
username = "{OFFICE}"
password_file = "password"
filing = "delete"
[smtp]
host = "127.0.0.1"
port = {port}
tls = "none"
username = "{OFFICE}"
password_file = "password"
[database]
url = "sqlite:cadre.db"
[digest]
send = "0 0 7 * * Mon"
"#
    );
    for Desk { id, person, zone, release, forward } in desks {
        let address = person.address.as_typed();
        text.push_str(&format!(
            r#"[[therapist]]
id = "{id}"
name = "Dr {id}"
title = "Psychologue clinicienne"
register = "RPPS 10000000000"
country = "FR"
address = "{address}"
certificate = "{id}.pgp"
timezone = "{zone}"
release = "{release}"
forward = "{forward}"
"#
        ));
    }
    text
}
