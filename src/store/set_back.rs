//! Times that a wrong clock wrote: what lies in the future now was never then.

use chrono::{DateTime, Utc};

use super::sql;
use super::{Message, StoreError, Tx, micros};

/// Reminders are marked with the slot that they are for, which may be a while ahead.
const MARK_AHEAD_MICROS: i64 = 86_400_000_000;

impl Tx {
    /// The clock was set back: notices, marks and retries that lie in the future count as of `now`, so that nothing
    /// stays silent until the wrong time comes round.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn clock_set_back(&mut self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let now = micros(now);
        for sql in [
            "UPDATE notice SET at = $1 WHERE at > $1",
            "UPDATE meta SET value = CAST($1 AS TEXT) \
             WHERE CASE WHEN key LIKE 'digest:%' THEN CAST(value AS BIGINT) > $1 END",
            "UPDATE outbox SET not_before = $1 WHERE state IN ('waiting', 'leaving') AND created_at > $1 \
             AND not_before <= created_at",
            "UPDATE outbox SET next_attempt = CASE WHEN not_before > $1 THEN not_before ELSE $1 END WHERE state IN ('waiting', 'leaving') \
             AND next_attempt > CASE WHEN not_before > $1 THEN not_before ELSE $1 END",
        ] {
            sql::query(sql).bind(now).execute(&mut self.conn).await?;
        }
        let sql = "UPDATE meta SET value = CAST($1 AS TEXT) \
                   WHERE CASE WHEN key LIKE 'reminder:%' THEN CAST(value AS BIGINT) > $2 END";
        sql::query(sql).bind(now).bind(now.saturating_add(MARK_AHEAD_MICROS)).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Replies that left, or are to leave, on a day after `now`'s (in UTC); those that left come first.
    ///
    /// # Errors
    /// As [`Tx::message`].
    pub async fn replies_ahead(&mut self, now: DateTime<Utc>) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT id FROM message WHERE kind = 'reply' AND state IN ('sent', 'waiting') AND leave_day >= $1 \
                   ORDER BY state, slot NULLS FIRST, id";
        let day = now.date_naive().to_string();
        let ids: Vec<i64> = sql::scalar(sql).bind(day).fetch_all(&mut self.conn).await?;
        let mut replies = Vec::with_capacity(ids.len());
        for id in ids {
            replies.extend(self.message(crate::model::MessageRow(id)).await?);
        }
        Ok(replies)
    }
}
