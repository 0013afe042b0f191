//! Answers the questions of examination from the database.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use tokio::runtime::Handle;

use super::context::Context;
use super::examine::{Registry, ReportedMail};
use super::sealed_letters::{self, Vouching};
use super::write::registered;
use crate::domain::notice::Reported;
use crate::mime::Notice;
use crate::model::{Address, ClientId, Person};
use crate::pgp::{Certificate, PracticeKey};
use crate::store::{Client, StoreError, Tx};

/// One consistent view of the database, on a blocking thread, for one examination after another.
pub struct View {
    handle: Handle,
    tx: RefCell<Tx>,
    /// Whom a key's handle named: the same is asked for more than once.
    named: RefCell<HashMap<String, Vec<Client>>>,
}

impl View {
    /// Opens it; `handle` is the runtime that drives the database.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub fn new(ctx: &Context, handle: &Handle) -> Result<Self, StoreError> {
        let tx = handle.block_on(ctx.store.read())?;
        Ok(Self { handle: handle.clone(), tx: RefCell::new(tx), named: RefCell::default() })
    }

    /// [`Tx::client_by_address`].
    ///
    /// # Errors
    /// As there.
    pub fn client_by_address(&self, address: &Address) -> Result<Option<Client>, StoreError> {
        self.handle.block_on(self.tx.borrow_mut().client_by_address(address))
    }
}

/// The answers for one examination.
///
/// A look-up that fails is never "nobody": the error is kept, and the caller must ask for it before it
/// believes the decision.
pub struct DbRegistry<'a> {
    ctx: &'a Context,
    view: &'a View,
    failed: Cell<Option<StoreError>>,
    /// Clients that were met: the decision is about one of them.
    met: RefCell<HashMap<ClientId, Client>>,
}

impl<'a> DbRegistry<'a> {
    /// Answers from a view.
    pub fn new(ctx: &'a Context, view: &'a View) -> Self {
        Self { ctx, view, failed: Cell::new(None), met: RefCell::default() }
    }

    /// The clients that were met.
    ///
    /// # Errors
    /// The first look-up that failed.
    pub fn finish(self) -> Result<HashMap<ClientId, Client>, StoreError> {
        self.failed.into_inner().map_or(Ok(self.met.into_inner()), Err)
    }

    fn meet(&self, client: &Client) -> ClientId {
        self.met.borrow_mut().insert(client.id, client.clone());
        client.id
    }

    /// Clients whose pinned certificate has a key with this handle.
    fn named(&self, handle: &str) -> Vec<Client> {
        if let Some(known) = self.view.named.borrow().get(handle) {
            return known.clone();
        }
        let found = self.ask(async |tx| tx.clients_by_handle(handle).await);
        if !found.is_empty() {
            self.view.named.borrow_mut().insert(handle.to_owned(), found.clone());
        }
        found
    }

    fn ask<T: Default>(&self, question: impl AsyncFnOnce(&mut Tx) -> Result<T, StoreError>) -> T {
        let mut tx = self.view.tx.borrow_mut();
        match self.view.handle.block_on(question(&mut tx)) {
            Ok(answer) => answer,
            Err(error) => {
                let first = self.failed.take().unwrap_or(error);
                self.failed.set(Some(first));
                T::default()
            }
        }
    }
}

impl Registry for DbRegistry<'_> {
    fn person_by_address(&self, address: &Address) -> Option<Person> {
        if let Some(therapist) = self.ctx.therapist_by_address(address) {
            return Some(Person::Therapist(therapist.id().clone()));
        }
        let client = self.ask(async |tx| tx.client_by_address(address).await);
        client.map(|client| Person::Client(self.meet(&client)))
    }

    fn people_by_handle(&self, handle: &str) -> Vec<(Person, Certificate)> {
        let mut people: Vec<(Person, Certificate)> = self
            .ctx
            .therapists()
            .iter()
            .filter_map(|therapist| Some((therapist, therapist.certificate()?)))
            .filter(|(_, certificate)| certificate.handles().iter().any(|own| own == handle))
            .map(|(therapist, certificate)| (Person::Therapist(therapist.id().clone()), certificate.clone()))
            .collect();
        for client in self.named(handle) {
            if let Some(certificate) = self.ctx.client_certificate(&client) {
                people.push((Person::Client(self.meet(&client)), certificate));
            }
        }
        people
    }

    fn has_seen_signature(&self, fingerprint: &str, digest: &[u8]) -> bool {
        self.ask(async |tx| tx.knows_signature(fingerprint, digest).await).is_some()
    }

    fn has_seen_bytes(&self, hash: &[u8]) -> bool {
        self.ask(async |tx| tx.knows_bytes(hash).await).is_some()
    }

    fn is_own_message_id(&self, message_id: &str) -> bool {
        self.ask(async |tx| tx.is_own_mail(message_id).await)
    }

    fn reported(&self, notice: &Notice) -> Option<ReportedMail> {
        let domain = self.practice_address().domain();
        // What was given at submission is the part of the Message-ID that is random.
        let by_envelope = notice.envid.iter().map(|id| format!("{id}@{domain}"));
        let mut found: Option<ReportedMail> = None;
        for id in notice.ids.iter().cloned().chain(by_envelope) {
            let row = self.ask(async |tx| tx.outbox_by_mail_id(&id).await);
            let Some(row) = row else { continue };
            let client = row.client.and_then(|id| self.ask(async |tx| tx.client(id).await));
            let to = registered(self.ctx, &row, client.as_ref());
            let fate = to.and_then(|to| notice.fate_of(&to));
            let facts = Reported { state: row.state, handed_over: row.reached_dot, fate };
            let mail = ReportedMail { row: row.id, client: row.client, facts };
            // A notice may also name what its mail answers: the one that it says something of counts.
            if fate.is_some() {
                return Some(mail);
            }
            found = found.or(Some(mail));
        }
        found
    }

    fn vouching(&self, client: ClientId) -> Option<Vouching> {
        let known = self.met.borrow().get(&client).cloned()?;
        self.ask(async |tx| sealed_letters::vouching(tx, &known).await)
    }

    fn retired_keys(&self) -> &[PracticeKey] {
        &self.ctx.retired
    }

    fn practice_address(&self) -> &Address {
        &self.ctx.config.practice.address
    }
}
