//! Whom the code that decides about a message knows, without a database: at most one client, and at most one mail that
//! has left.

use anyhow::Result;
use cadre::app::examine::{Registry, ReportedMail};
use cadre::domain::notice::Reported;
use cadre::mime::Notice;
use cadre::model::{Address, ClientId, OutboxRow, OutboxState, Person};
use cadre::pgp::Certificate;

/// The client, where there is one.
pub const CLIENT: Person = Person::Client(ClientId(1));

/// A practice that has seen nothing before.
pub struct Known {
    practice: Address,
    address: Option<Address>,
    certificate: Option<Certificate>,
    sent: Option<(String, Address)>,
}

impl Known {
    /// A practice at this address that knows nobody.
    pub fn nobody(practice: &str) -> Result<Self> {
        let practice = Address::parse(practice)?;
        Ok(Self { practice, address: None, certificate: None, sent: None })
    }

    /// The same with a client who has this address, and this certificate pinned.
    pub fn client(self, address: Address, certificate: Option<Certificate>) -> Self {
        Self { address: Some(address), certificate, ..self }
    }

    /// The same after a mail with this Message-ID (without angles) has left for this address.
    pub fn sent(self, id: &str, to: &Address) -> Self {
        Self { sent: Some((id.to_owned(), to.clone())), ..self }
    }
}

impl Registry for Known {
    fn person_by_address(&self, address: &Address) -> Option<Person> {
        (self.address.as_ref() == Some(address)).then_some(CLIENT)
    }

    fn people_by_handle(&self, handle: &str) -> Vec<(Person, Certificate)> {
        let theirs = self.certificate.iter().filter(|c| c.handles().iter().any(|own| own == handle));
        theirs.map(|certificate| (CLIENT, certificate.clone())).collect()
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

    fn reported(&self, notice: &Notice) -> Option<ReportedMail> {
        let (id, to) = self.sent.as_ref()?;
        let facts = Reported { state: OutboxState::Sent, handed_over: true, fate: notice.fate_of(to) };
        notice.ids.contains(id).then_some(ReportedMail { row: OutboxRow(1), client: Some(ClientId(1)), facts })
    }

    fn practice_address(&self) -> &Address {
        &self.practice
    }
}
