//! What mail systems said about mail that had left.

use chrono::{DateTime, Utc};

use super::outbox::columns;
use super::sql;
use super::{Outbox, StoreError, Tx, micros};
use crate::model::{Fate, MessageRow, OutboxRow, TurnRow};

impl Tx {
    /// A mail that left wasn't received; `false` when it isn't one that left, or this was known. `error` is a word and
    /// a code, without content.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn return_mail(&mut self, id: OutboxRow, error: &str, at: DateTime<Utc>) -> Result<bool, StoreError> {
        let query = sql::query(
            "UPDATE outbox SET state = 'failed', last_error = $2, returned_at = $3, notice = NULL, noticed_at = NULL \
             WHERE id = $1 AND state = 'sent'",
        );
        let query = query.bind(id.0).bind(error).bind(micros(at));
        Ok(query.execute(&mut self.conn).await?.rows_affected() == 1)
    }

    /// Remembers what a notice said of a mail that left, or that it arrived (`None`).
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn note_notice(
        &mut self,
        id: OutboxRow,
        said: Option<Fate>,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET notice = $2, noticed_at = $3 WHERE id = $1 AND state = 'sent'";
        let query = sql::query(sql).bind(id.0).bind(said.map(Fate::as_str)).bind(said.map(|_| micros(at)));
        query.execute(&mut self.conn).await?;
        Ok(())
    }

    /// Mails that failed for good since then, the oldest first: for the digest.
    ///
    /// # Errors
    /// As [`Tx::outbox`].
    pub async fn failed_since(&mut self, since: DateTime<Utc>) -> Result<Vec<Outbox>, StoreError> {
        let sql = columns!(
            "WHERE id IN (SELECT id FROM outbox WHERE state = 'failed' AND finished_at >= $1 \
             UNION SELECT id FROM outbox WHERE returned_at >= $1) ORDER BY finished_at"
        );
        self.outbox_rows(sql, &[micros(since)]).await
    }

    /// Mails of which a notice said since then that they are delayed, or what nobody understands; the oldest first.
    ///
    /// # Errors
    /// As [`Tx::outbox`].
    pub async fn noticed_since(&mut self, since: DateTime<Utc>) -> Result<Vec<Outbox>, StoreError> {
        let sql = columns!("WHERE state = 'sent' AND noticed_at >= $1 ORDER BY finished_at");
        self.outbox_rows(sql, &[micros(since)]).await
    }

    /// Whether a turn has another answer than this one: waiting, leaving or sent.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn has_other_answer(&mut self, turn: TurnRow, than: MessageRow) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM message WHERE turn_id = $1 AND id <> $2 AND direction = 'out' \
                   AND kind IN ('reply', 'urgent', 'closed') AND state IN ('waiting', 'leaving', 'sent'))";
        Ok(sql::scalar::<bool>(sql).bind(turn.0).bind(than.0).fetch_one(&mut self.conn).await?)
    }
}
