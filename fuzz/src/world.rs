//! A practice in memory: its key, the people whose certificates are pinned, what was seen before.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cadre::app::examine::{Examined, Registry, Tools, examine};
use cadre::domain::intake::Action;
use cadre::mime::{Limits, MimeError};
use cadre::model::{Address, ClientId, Person, TherapistId, UnsignedPolicy, Verdict};
use cadre::pgp::{Certificate, PracticeKey};
use chrono::{DateTime, TimeZone as _, Utc};

/// The practice's address.
pub const OFFICE: &str = "ecrire@cabinet.example";
pub const MARIE: &str = "marie@client.example";
pub const PAUL: &str = "paul@client.example";
pub const THERAPIST: &str = "dr@exemple.example";

/// Monday, 2 March 2026, half past eight in UTC: when every message is first seen.
pub fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 2, 8, 30, 0).single().expect("a real time")
}

/// A fixed key of `tests/data/keys`: `marie`, `paul`, `exemple`, `second`, `inconnue`, `mallory`.
pub fn key_file(name: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let places = [root.join("tests/data/keys"), root.join("../tests/data/keys")];
    let found = places.iter().map(|folder| folder.join(name)).find(|file| file.is_file());
    std::fs::read(found.expect("the keys of tests/data/keys")).expect("a readable key")
}

/// Whose words a decision lets through, as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// `verified`, in this client's thread.
    Client(i64),
    /// Obeyed as the therapist.
    Therapist,
    /// Anything else.
    Nobody,
}

pub struct World {
    pub key: PracticeKey,
    pub limits: Limits,
    pub policy: UnsignedPolicy,
    pub authserv: Option<String>,
    people: Vec<(Person, Address, Certificate)>,
    address: Address,
    seen: Mutex<HashSet<(String, Vec<u8>)>>,
}

impl World {
    /// `second`'s key is the practice's; Marie (1) and Paul (2) are clients, `exemple` the therapist.
    pub fn new() -> Self {
        let address = |text: &str| Address::parse(text).expect("an address");
        let certificate =
            |name: &str| Certificate::from_bytes(&key_file(&format!("{name}.cert.asc"))).expect("a certificate");
        let therapist = Person::Therapist(TherapistId("exemple".into()));
        Self {
            key: PracticeKey::load(&key_file("second.key.asc"), None).expect("the practice's key"),
            limits: Limits::default(),
            policy: UnsignedPolicy::Flag,
            authserv: None,
            people: vec![
                (Person::Client(ClientId(1)), address(MARIE), certificate("marie")),
                (Person::Client(ClientId(2)), address(PAUL), certificate("paul")),
                (therapist, address(THERAPIST), certificate("exemple")),
            ],
            address: address(OFFICE),
            seen: Mutex::default(),
        }
    }

    /// The same with another certificate pinned for Marie.
    pub fn with_marie(mut self, certificate: Certificate) -> Self {
        self.people[0].2 = certificate;
        self
    }

    /// What Cadre decides about a message.
    ///
    /// # Errors
    /// [`MimeError`]: it is over a limit and goes to a person.
    pub fn examine(&self, raw: &[u8]) -> Result<Examined, MimeError> {
        self.examine_at(raw, now())
    }

    /// As [`World::examine`], first seen at another time.
    ///
    /// # Errors
    /// [`MimeError`]
    pub fn examine_at(&self, raw: &[u8], at: DateTime<Utc>) -> Result<Examined, MimeError> {
        let tools = Tools {
            key: &self.key,
            registry: self,
            limits: &self.limits,
            policy: self.policy,
            authserv: self.authserv.as_deref(),
        };
        examine(raw, at, &tools)
    }

    /// Notes the signature of a message that was filed or obeyed, as the database does.
    pub fn remember(&self, examined: &Examined) {
        if let Some(good) = &examined.signature {
            let known = (good.fingerprint.clone(), good.digest.clone());
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(known);
        }
    }

    /// Whether, and as whom, a message is trusted.
    pub fn trust(examined: &Examined) -> Trust {
        match (&examined.decision.action, examined.decision.verdict) {
            (Action::File { client, .. }, Verdict::Verified | Verdict::Vouched) => Trust::Client(client.0),
            (Action::Obey { .. }, _) => Trust::Therapist,
            _ => Trust::Nobody,
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry for World {
    fn person_by_address(&self, address: &Address) -> Option<Person> {
        self.people.iter().find(|(_, known, _)| known == address).map(|(person, ..)| person.clone())
    }

    fn people_by_handle(&self, handle: &str) -> Vec<(Person, Certificate)> {
        let has = |certificate: &Certificate| certificate.handles().iter().any(|known| known == handle);
        let known = self.people.iter().filter(|(_, _, certificate)| has(certificate));
        known.map(|(person, _, certificate)| (person.clone(), certificate.clone())).collect()
    }

    fn has_seen_signature(&self, fingerprint: &str, digest: &[u8]) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.contains(&(fingerprint.to_owned(), digest.to_vec()))
    }

    fn has_seen_bytes(&self, _: &[u8]) -> bool {
        false
    }

    fn is_own_message_id(&self, _: &str) -> bool {
        false
    }

    fn practice_address(&self) -> &Address {
        &self.address
    }
}
