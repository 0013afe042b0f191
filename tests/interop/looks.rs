//! One mail before Cadre's eyes, without servers: what `explain` decides, and what the therapist would read.

use anyhow::{Context as _, Result, ensure};
use cadre::app::examine::{Registry, Tools, examine};
use cadre::mime::{self, Limits};
use cadre::model::{Address, ClientId, Person as Who, UnsignedPolicy, Verdict};
use cadre::pgp::{Certificate, PracticeKey};
use chrono::{DateTime, Utc};

use super::world::Key;
use crate::common::scene::OFFICE;

/// One client, and nothing seen before.
pub struct Eyes {
    key: PracticeKey,
    office: Address,
    address: Address,
    certificate: Certificate,
}

/// What was found.
pub struct Look {
    pub verdict: Verdict,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub files: Vec<(String, Vec<u8>)>,
}

const CLIENT: Who = Who::Client(ClientId(1));

impl Registry for Eyes {
    fn person_by_address(&self, address: &Address) -> Option<Who> {
        (*address == self.address).then_some(CLIENT)
    }

    fn people_by_handle(&self, handle: &str) -> Vec<(Who, Certificate)> {
        let known = self.certificate.handles().iter().any(|own| own == handle);
        known.then(|| (CLIENT, self.certificate.clone())).into_iter().collect()
    }

    fn has_seen_signature(&self, _: &str, _: &[u8]) -> bool {
        false
    }

    fn has_seen_bytes(&self, _: &[u8]) -> bool {
        false
    }

    fn is_own_message_id(&self, _: &str) -> bool {
        false
    }

    fn practice_address(&self) -> &Address {
        &self.office
    }
}

impl Eyes {
    /// The practice with its key, and its one client.
    pub fn new(office: &Key, client: &Key) -> Result<Self> {
        Ok(Self {
            key: PracticeKey::load(&office.secret, None)?,
            office: Address::parse(OFFICE)?,
            address: Address::parse(&client.address)?,
            certificate: Certificate::from_bytes(&client.certificate)?,
        })
    }

    pub fn look(&self, raw: &[u8], at: DateTime<Utc>) -> Result<Look> {
        let limits = Limits::default();
        let policy = UnsignedPolicy::Flag;
        let tools = Tools { key: &self.key, registry: self, limits: &limits, policy, authserv: None };
        let found = examine(raw, at, &tools)?;
        let content = found.entity.as_ref().map(|entity| mime::content(entity.as_bytes(), &limits)).transpose()?;
        let subject = found.headers().subject.clone();
        let mut look = Look {
            verdict: found.decision.verdict,
            subject,
            text: String::new(),
            html: String::new(),
            files: Vec::new(),
        };
        if let Some(content) = content {
            look.text = content.text;
            look.html = content.html.unwrap_or_default();
            look.files = content.attachments.into_iter().map(|file| (file.name, file.bytes)).collect();
        }
        Ok(look)
    }

    /// Fails unless the mail is verified and has these words and files.
    pub fn verified(&self, raw: &[u8], at: DateTime<Utc>, words: &[&str], files: &[&[u8]]) -> Result<Look> {
        let look = self.look(raw, at)?;
        ensure!(look.verdict == Verdict::Verified, "{}", look.verdict);
        for word in words {
            ensure!(look.text.contains(word), "{word:?} is missing: {:?}", look.text);
        }
        for (number, file) in files.iter().enumerate() {
            let found = look.files.iter().find(|(_, bytes)| bytes == file);
            found.with_context(|| format!("file {number} isn't intact among {}", look.files.len()))?;
        }
        Ok(look)
    }
}
