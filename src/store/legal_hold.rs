//! Retention and legal hold: since when it holds stands in the client's record, under its MAC; why, sealed, beside it.

use chrono::{DateTime, Utc};

use super::client::open;
use super::sql;
use super::{Client, StoreError, Tx, micros};
use crate::model::{ClientId, ClientState};

const TABLE: &str = "legal_hold";

impl Tx {
    /// The clients in one of these states whose record was made by `made`: the only ones that can have been kept for as
    /// long as since then. A record that something else than Cadre changed is left to its own alarm.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn clients_kept_since(
        &mut self,
        states: &[ClientState],
        made: DateTime<Utc>,
    ) -> Result<Vec<Client>, StoreError> {
        let mut clients = Vec::new();
        for state in states {
            let query = sql::query("SELECT * FROM client WHERE state = $1 AND created_at <= $2");
            let rows = query.bind(state.as_str()).bind(micros(made)).fetch_all(&mut self.conn).await?;
            for row in &rows {
                match open(self.vault(), row) {
                    Ok(client) => clients.push(client),
                    Err(StoreError::Tampered { .. } | StoreError::Corrupt { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(clients)
    }

    /// Puts a client's record under legal hold, or ends the hold (`None`).
    ///
    /// # Errors
    /// [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_legal_hold(
        &mut self,
        client: ClientId,
        hold: Option<(DateTime<Utc>, &str)>,
    ) -> Result<(), StoreError> {
        self.change_care(client, |care| care.legal_hold = hold.map(|(since, _)| since)).await?;
        sql::query("DELETE FROM legal_hold WHERE client_id = $1").bind(client.0).execute(&mut self.conn).await?;
        let Some((_, note)) = hold else { return Ok(()) };
        let note = self.vault().seal(TABLE, client.0, "note", note.as_bytes());
        let sql = "INSERT INTO legal_hold (client_id, note) VALUES ($1, $2)";
        sql::query(sql).bind(client.0).bind(note).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Why a client's record is under legal hold; None where it isn't, or the note was taken away.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn legal_hold(&mut self, client: ClientId) -> Result<Option<String>, StoreError> {
        let row = sql::query("SELECT note FROM legal_hold WHERE client_id = $1").bind(client.0);
        let Some(row) = row.fetch_optional(&mut self.conn).await? else { return Ok(None) };
        let corrupt = || StoreError::Corrupt { table: TABLE, row: client.0 };
        let note = self.vault().unseal(TABLE, client.0, "note", row.get("note")?).map_err(|_| corrupt())?;
        String::from_utf8(note).map(Some).map_err(|_| corrupt())
    }
}
