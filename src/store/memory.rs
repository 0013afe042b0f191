//! What one transaction has read and opened already, and what it counts. It sees its own view of the database only, so that
//! nothing in here can be older than what a statement would find; what it changes itself it forgets.

use std::collections::HashMap;

use super::figures::letters_counter;
use super::{Client, StoreError, Tx, Vault};
use crate::model::{ClientId, MessageRow, Verdict};

/// More than this is nobody's group of letters: a transaction that reads a whole practice keeps no whole practice.
const MOST: usize = 256;

/// Of one transaction.
#[derive(Default)]
pub(super) struct Memory {
    clients: HashMap<ClientId, Client>,
    /// What seals with a client's own key.
    keys: HashMap<ClientId, Vault>,
    /// Whose a message is; None: a stranger's.
    owners: HashMap<MessageRow, Option<ClientId>>,
    /// Letters by verdict that are still to be added to the counters.
    letters: HashMap<Verdict, u64>,
}

fn keep<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= MOST {
        map.clear();
    }
    map.insert(key, value);
}

impl Tx {
    pub(super) fn known_client(&self, id: ClientId) -> Option<&Client> {
        self.memory.clients.get(&id)
    }

    pub(super) fn remember_client(&mut self, client: &Client) {
        keep(&mut self.memory.clients, client.id, client.clone());
    }

    /// Its row was changed.
    pub(super) fn client_changed(&mut self, id: ClientId) {
        self.memory.clients.remove(&id);
    }

    pub(super) fn known_key(&self, id: ClientId) -> Option<Vault> {
        self.memory.keys.get(&id).cloned()
    }

    pub(super) fn remember_key(&mut self, id: ClientId, key: &Vault) {
        keep(&mut self.memory.keys, id, key.clone());
    }

    pub(super) fn known_owner(&self, message: MessageRow) -> Option<Option<ClientId>> {
        self.memory.owners.get(&message).copied()
    }

    pub(super) fn remember_owner(&mut self, message: MessageRow, client: Option<ClientId>) {
        keep(&mut self.memory.owners, message, client);
    }

    /// Rows were deleted.
    pub(super) fn rows_deleted(&mut self) {
        let letters = std::mem::take(&mut self.memory.letters);
        self.memory = Memory { letters, ..Memory::default() };
    }

    /// Everything since a savepoint was undone, before which [`Tx::write_counts`] was called.
    pub(super) fn undone(&mut self) {
        self.memory = Memory::default();
    }

    /// Counts a letter; the counter itself is written once, at the end.
    pub fn count_letter(&mut self, verdict: Verdict) {
        *self.memory.letters.entry(verdict).or_default() += 1;
    }

    /// Writes what was counted.
    pub(super) async fn write_counts(&mut self) -> Result<(), StoreError> {
        for (verdict, many) in std::mem::take(&mut self.memory.letters) {
            self.count_more(&letters_counter(verdict), many).await?;
        }
        Ok(())
    }
}
