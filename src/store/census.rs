//! How a practice of a hundred thousand clients is looked over: by counts, by pages, and by one therapist's part. What
//! is asked often reads no more than it needs.

use super::sql::{self, Row};
use super::{Client, Message, StoreError, Turn, Tx, client, message, turn};
use crate::model::{ClientCode, ClientId, ClientState, TherapistId};

/// Clients whose records are sound, and the codes of those that something else than Cadre has changed.
#[derive(Debug, Default)]
pub struct Page {
    pub sound: Vec<Client>,
    pub changed: Vec<ClientCode>,
    /// The last row looked at; None: there are no more.
    pub last: Option<ClientId>,
}

impl Tx {
    fn page(&self, rows: &[Row]) -> Result<Page, StoreError> {
        let mut page = Page::default();
        for row in rows {
            page.last = Some(ClientId(row.get("id")?));
            match client::open(self.vault(), row) {
                Ok(client) => page.sound.push(client),
                Err(StoreError::Tampered { code }) => page.changed.push(code),
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    /// Up to `limit` clients after a row (none: from the first on), in the order of their rows.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn clients_after(&mut self, after: Option<ClientId>, limit: u32) -> Result<Page, StoreError> {
        let sql = "SELECT * FROM client WHERE id > $1 ORDER BY id LIMIT $2";
        let query = sql::query(sql).bind(after.map_or(i64::MIN, |id| id.0)).bind(i64::from(limit));
        let rows = query.fetch_all(&mut self.conn).await?;
        self.page(&rows)
    }

    /// A therapist's clients, by code.
    ///
    /// # Errors
    /// As [`Tx::clients_after`].
    pub async fn clients_of(&mut self, therapist: &TherapistId) -> Result<Page, StoreError> {
        let sql = "SELECT * FROM client WHERE therapist = $1 ORDER BY code";
        let rows = sql::query(sql).bind(&therapist.0).fetch_all(&mut self.conn).await?;
        self.page(&rows)
    }

    /// The clients in a state, by row.
    ///
    /// # Errors
    /// As [`Tx::clients_after`].
    pub async fn clients_in(&mut self, state: ClientState) -> Result<Page, StoreError> {
        let sql = "SELECT * FROM client WHERE state = $1 ORDER BY id";
        let rows = sql::query(sql).bind(state.as_str()).fetch_all(&mut self.conn).await?;
        self.page(&rows)
    }

    /// How many clients there are, in whatever state.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_clients(&mut self) -> Result<u64, StoreError> {
        let query = sql::scalar::<i64>("SELECT COUNT(*) FROM client WHERE state >= ''");
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// The open turns of a therapist's clients, by when they are due.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn open_turns_of(&mut self, therapist: &TherapistId) -> Result<Vec<Turn>, StoreError> {
        let sql = "SELECT turn.* FROM client JOIN turn ON turn.client_id = client.id AND turn.state = 'open' \
                   WHERE client.therapist = $1 ORDER BY turn.due_at, turn.opened_at";
        let rows = sql::query(sql).bind(&therapist.0).fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| turn::open(self.vault(), row)).collect()
    }

    /// What of a therapist's waits or leaves, by slot.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn waiting_of(&mut self, therapist: &TherapistId) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT * FROM message WHERE state IN ('waiting', 'leaving') AND therapist = $1 ORDER BY slot, at";
        let rows = sql::query(sql).bind(&therapist.0).fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| message::open(self.vault(), row)).collect()
    }
}
