//! One mail before Cadre's eyes, without servers: what `explain` decides, and what the therapist would read.

use anyhow::{Context as _, Result, ensure};
use cadre::app::examine::{Tools, examine};
use cadre::mime::{self, Limits};
use cadre::model::{Address, UnsignedPolicy, Verdict};
use cadre::pgp::{Certificate, PracticeKey};
use chrono::{DateTime, Utc};

use super::world::Key;
use crate::common::registry::Known;
use crate::common::scene::OFFICE;

/// One client, and nothing seen before.
pub struct Eyes {
    key: PracticeKey,
    known: Known,
}

/// What was found.
pub struct Look {
    pub verdict: Verdict,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub files: Vec<(String, Vec<u8>)>,
}

impl Eyes {
    /// The practice with its key, and its one client.
    pub fn new(office: &Key, client: &Key) -> Result<Self> {
        let certificate = Certificate::from_bytes(&client.certificate)?;
        let known = Known::nobody(OFFICE)?.client(Address::parse(&client.address)?, Some(certificate));
        Ok(Self { key: PracticeKey::load(&office.secret, None)?, known })
    }

    pub fn look(&self, raw: &[u8], at: DateTime<Utc>) -> Result<Look> {
        let limits = Limits::default();
        let policy = UnsignedPolicy::Flag;
        let tools = Tools { key: &self.key, registry: &self.known, limits: &limits, policy, authserv: None };
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
            look.files = content.attachments.into_iter().map(|file| (file.name, file.bytes.to_vec())).collect();
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
