//! Who writes, to whom, and what: the same for every figure and every peer of one run.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use cadre::app::context::Context as App;
use cadre::clock::Clock;
use cadre::config::{Config, Env};
use cadre::mime::{self, OutPart, Outgoing};
use cadre::model::{Address, Channel, ClientState, Language, TherapistId};
use cadre::pgp::{self, Certificate, PracticeKey};
use cadre::store::{self, Care, NewClient};
use chrono::{DateTime, TimeDelta, Utc};

use crate::common::scene::OFFICE;
use crate::common::{Lab, Person, Practice, PracticeOptions};

/// Clients who write.
pub const WRITERS: usize = 50;
/// The therapist who reads them.
pub const THERAPIST: &str = "exemple";

pub struct Writer {
    pub key: PracticeKey,
    pub address: Address,
}

/// The practice's key, and those who write to it.
pub struct World {
    pub office_secret: Vec<u8>,
    pub office: PracticeKey,
    pub writers: Vec<Writer>,
    pub at: DateTime<Utc>,
}

impl World {
    /// New keys; or those in `folder`, where there are some, else they are kept there.
    pub fn make(folder: Option<&Path>) -> Result<Self> {
        let at = Utc::now();
        let key = |name: &str, user: &str| -> Result<Vec<u8>> {
            let kept = folder.map(|folder| folder.join(format!("{name}.key")));
            if let Some(secret) = kept.as_ref().and_then(|path| fs::read(path).ok()) {
                return Ok(secret);
            }
            let secret = PracticeKey::generate(user, None, at - TimeDelta::days(30))?.secret.to_vec();
            if let Some(path) = kept {
                fs::write(path, &secret)?;
            }
            Ok(secret)
        };
        let office_secret = key("office", OFFICE)?;
        let writers = (0..WRITERS)
            .map(|n| {
                let address = Address::parse(&format!("client{n}@bench.example"))?;
                let secret = key(&format!("client{n}"), address.as_typed())?;
                Ok(Writer { key: PracticeKey::load(&secret, None)?, address })
            })
            .collect::<Result<_>>()?;
        Ok(Self { office: PracticeKey::load(&office_secret, None)?, office_secret, writers, at })
    }

    /// Letter `n` of 2 kB, signed inside and encrypted, as a mail program would send it. Each number gives another one.
    pub fn letter(&self, n: usize, attached: Vec<OutPart>) -> Result<Vec<u8>> {
        let writer = &self.writers[n % WRITERS];
        let line =
            format!("Lettre {n}. Ce matin la lumière entrait par la fenêtre et j'ai pensé à ce que vous disiez.\n");
        let mut parts = vec![OutPart::Text(line.repeat(2000 / line.len() + 1))];
        parts.extend(attached);
        let mail = Outgoing {
            from_display: String::new(),
            from: writer.address.clone(),
            to: vec![Address::parse(OFFICE)?],
            subject: format!("Lettre {n}"),
            outer_subject: None,
            message_id: format!("bench-{n}@bench.example"),
            in_reply_to: None,
            references: Vec::new(),
            date: self.at,
            automatic: false,
            autocrypt: None,
            parts,
        };
        let to = [self.office.certificate()];
        Ok(mime::encrypted(&mail, &pgp::seal(mime::payload(&mail), &to, &writer.key, self.at)?))
    }

    pub fn letters(&self, numbers: std::ops::Range<usize>) -> Result<Vec<Vec<u8>>> {
        numbers.map(|n| self.letter(n, Vec::new())).collect()
    }

    /// The practice on a fresh laboratory, with this key; the record key is `folder`'s, where one is kept there.
    pub fn practice(&self, filing: &str, forward: &str, folder: Option<&Path>) -> Result<(Lab, Practice)> {
        let lab = Lab::light()?;
        let office = Person::generate(&lab, "office", "", OFFICE, self.at - TimeDelta::days(60))?;
        let therapist = Person::persona(&lab, THERAPIST)?;
        let options = PracticeOptions { filing: filing.into(), forward: forward.into(), ..PracticeOptions::default() };
        let mut practice = Practice::write(&lab, &Practice::built_binary()?, &office, &therapist, &options)?;
        // Errors that are met on the way would each take a picture of the stack.
        practice.env("RUST_BACKTRACE", "0");
        fs::write(practice.dir.join("practice.key.pgp"), &self.office_secret)?;
        if let Some(folder) = folder {
            let kept = folder.join("record.key");
            match kept.exists() {
                true => fs::copy(&kept, practice.dir.join("record.key"))?,
                false => fs::copy(practice.dir.join("record.key"), &kept)?,
            };
            let quoted = |name: &str| format!("{:?}", folder.join(name).display().to_string());
            practice.set("database.url", &format!("\"sqlite:{}\"", folder.join("cadre.db").display()))?;
            practice.set("database.journal_head", &quoted("journal.head"))?;
        }
        Ok((lab, practice))
    }

    /// The writers, as clients of the practice.
    pub async fn enrol(&self, app: &App) -> Result<Vec<store::Client>> {
        let mut tx = app.store.begin().await?;
        let mut clients = Vec::new();
        for writer in &self.writers {
            clients.push(match tx.client_by_address(&writer.address).await? {
                Some(known) => known,
                None => tx.add_client(client(THERAPIST, &writer.address, writer.key.certificate(), self.at)).await?,
            });
        }
        tx.commit().await?;
        Ok(clients)
    }
}

/// Somebody in treatment.
pub fn client(therapist: &str, address: &Address, certificate: &Certificate, at: DateTime<Utc>) -> NewClient {
    NewClient {
        therapist: TherapistId(therapist.to_owned()),
        state: ClientState::Active,
        channel: Channel::OpenPgp,
        language: Language::Fr,
        address: address.clone(),
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
        care: Care::default(),
    }
}

pub async fn open_app(practice: &Practice) -> Result<App> {
    let (config, _) = Config::load(&practice.config, &Env::process())
        .map_err(|findings| anyhow::anyhow!("{}", findings.iter().map(ToString::to_string).collect::<String>()))?;
    App::open(config, Clock::System).await.context("the practice can't be opened")
}

pub fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
