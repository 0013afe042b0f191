//! What a change in a client's life moves: letters on their way out, letters that have no turn.

use chrono::{DateTime, Utc};

use super::sql;
use super::{Message, StoreError, Tx, micros};
use crate::model::{ClientId, MessageRow};

impl Tx {
    async fn messages_of(&mut self, ids: Vec<i64>) -> Result<Vec<Message>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(self.message(MessageRow(id)).await?);
        }
        Ok(found)
    }

    /// The therapist's messages to a client that wait or leave, whatever their kind, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn unsent(&mut self, client: ClientId) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT id FROM message WHERE client_id = $1 AND direction = 'out' \
                   AND state IN ('waiting', 'leaving') ORDER BY at, id";
        let ids: Vec<i64> = sql::scalar(sql).bind(client.0).fetch_all(&mut self.conn).await?;
        self.messages_of(ids).await
    }

    /// A client's replies that are put aside under a number.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn held_replies(&mut self, client: ClientId) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT id FROM message WHERE client_id = $1 AND kind = 'reply' AND state = 'held' ORDER BY at, id";
        let ids: Vec<i64> = sql::scalar(sql).bind(client.0).fetch_all(&mut self.conn).await?;
        self.messages_of(ids).await
    }

    /// Gives a message that is put aside its number.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_held_no(&mut self, id: MessageRow, number: u64) -> Result<(), StoreError> {
        let query = sql::query("UPDATE message SET held_no = $2 WHERE id = $1").bind(id.0).bind(number.cast_signed());
        let done = query.execute(&mut self.conn).await?;
        if done.rows_affected() == 0 {
            return Err(StoreError::Missing { table: "message", row: id.0 });
        }
        Ok(())
    }

    /// Letters with something to read that were first seen since then and stand in no turn, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn letters_without_turn(
        &mut self,
        client: ClientId,
        since: DateTime<Utc>,
    ) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT id FROM message WHERE client_id = $1 AND seen_at >= $2 AND kind = 'letter' \
                   AND turn_id IS NULL AND state IN ('filed', 'released') AND (words > 0 OR attachments > 0) \
                   ORDER BY at, id";
        let ids: Vec<i64> = sql::scalar(sql).bind(client.0).bind(micros(since)).fetch_all(&mut self.conn).await?;
        self.messages_of(ids).await
    }

    /// How many of a client's turns were answered since then.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn answered_turns(&mut self, client: ClientId, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM turn WHERE client_id = $1 AND state = 'answered' AND answered_at >= $2";
        let query = sql::scalar::<i64>(sql).bind(client.0).bind(micros(since));
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }
}
