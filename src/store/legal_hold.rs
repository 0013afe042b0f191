//! Legal hold: since when stands in the client's record, under its MAC; why, sealed, beside it.

use chrono::{DateTime, Utc};

use super::sql;
use super::{StoreError, Tx};
use crate::model::ClientId;

const TABLE: &str = "legal_hold";

impl Tx {
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
