//! Counts that ceilings are held against, and the end of an attempt.

use chrono::{DateTime, NaiveDate, Utc};

use super::sql;
use super::{Message, Outbox, StoreError, Tx, micros};
use crate::model::{ClientId, Kind, MessageRow, MessageState, OutboxRow, TherapistId};

impl Tx {
    /// How many mails of a kind were made for a therapist since then.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_for_therapist(
        &mut self,
        kind: Kind,
        therapist: &TherapistId,
        since: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM outbox WHERE kind = $1 AND created_at >= $2 AND therapist = $3";
        let query = sql::scalar::<i64>(sql).bind(kind.as_str()).bind(micros(since)).bind(&therapist.0);
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// How many answers to people who aren't clients were made since then.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_to_strangers(&mut self, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM outbox WHERE kind IN ($1, $2) AND created_at >= $3 AND client_id IS NULL";
        let query = sql::scalar::<i64>(sql)
            .bind(Kind::Stranger.as_str())
            .bind(Kind::InvitationProblem.as_str())
            .bind(micros(since));
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// The attempt ended before the dot after DATA: the bytes may be made again. Only the process that
    /// made the attempt can know that. It doesn't count where nobody was `asked` about the mail.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn end_attempt(&mut self, id: OutboxRow, asked: bool) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET reached_dot = 0, attempts = CASE WHEN attempts > $2 THEN attempts - $2 ELSE 0 END WHERE id = $1";
        sql::query(sql).bind(id.0).bind(i64::from(!asked)).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Lets every attempt that a dead process left behind be tried again at once. To be called by the
    /// holder of the run lock only; gives how many there were.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn resume_attempts(&mut self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let sql = "UPDATE outbox SET next_attempt = $1 WHERE state IN ('waiting', 'leaving') AND last_error = 'attempting' \
                   AND next_attempt > $1 AND claimed_by IS NULL";
        Ok(sql::query(sql).bind(micros(now)).execute(&mut self.conn).await?.rows_affected())
    }

    /// Whether a Message-ID is one that Cadre gave: to a forward, a reply or any other mail.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn is_own_mail(&mut self, message_id: &str) -> Result<bool, StoreError> {
        let hash = self.vault().message_id(message_id).to_vec();
        let sql = "SELECT EXISTS (SELECT 1 FROM message WHERE message_id_hash = $1) \
                   OR EXISTS (SELECT 1 FROM outbox WHERE mail_id_hash = $1)";
        Ok(sql::scalar::<bool>(sql).bind(hash).fetch_one(&mut self.conn).await?)
    }

    /// Requests of strangers that are older than `before`: erased, bodies first.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn erase_requests(&mut self, before: DateTime<Utc>) -> Result<u64, StoreError> {
        let sql = "SELECT id FROM message WHERE kind = 'request' AND at < $1 LIMIT 1000";
        let rows: Vec<i64> = sql::scalar(sql).bind(micros(before)).fetch_all(&mut self.conn).await?;
        for &row in &rows {
            self.delete_blob(MessageRow(row)).await?;
            for sql in [
                "DELETE FROM outbox WHERE message_id = $1",
                "DELETE FROM copy WHERE message_id = $1",
                "DELETE FROM original WHERE message_id = $1",
                "DELETE FROM message WHERE id = $1",
            ] {
                sql::query(sql).bind(row).execute(&mut self.conn).await?;
            }
        }
        Ok(rows.len() as u64)
    }

    /// The days that a client's replies hold, and in which state. A failed one holds its day where an earlier attempt
    /// passed the dot: it may have arrived.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn reply_days(
        &mut self,
        client: ClientId,
        since: NaiveDate,
    ) -> Result<Vec<(MessageRow, NaiveDate, MessageState)>, StoreError> {
        let sql = "SELECT id, leave_day, state FROM message WHERE client_id = $1 AND leave_day >= $2 AND kind = 'reply' \
                   AND (state IN ('waiting', 'leaving', 'sent') OR state = 'failed' AND EXISTS \
                   (SELECT 1 FROM outbox WHERE outbox.message_id = message.id AND outbox.reached_dot = 1))";
        let query = sql::query(sql).bind(client.0).bind(since.to_string());
        let mut days = Vec::new();
        for row in query.fetch_all(&mut self.conn).await? {
            let id: i64 = row.get("id")?;
            let corrupt = || StoreError::Corrupt { table: "message", row: id };
            let day: String = row.get("leave_day")?;
            let state: String = row.get("state")?;
            let day = day.parse().map_err(|_| corrupt())?;
            days.push((MessageRow(id), day, state.parse().map_err(|_| corrupt())?));
        }
        Ok(days)
    }

    /// A client's waiting replies, closings and letters of the therapist's own words about the treatment, the newest
    /// last.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn withdrawable(&mut self, client: ClientId) -> Result<Vec<Message>, StoreError> {
        let sql = "SELECT id FROM message WHERE client_id = $1 AND state = 'waiting' AND kind IN \
                   ('reply', 'closed', 'declined', 'suspended', 'ending', 'farewell') ORDER BY at, id";
        let ids: Vec<i64> = sql::scalar(sql).bind(client.0).fetch_all(&mut self.conn).await?;
        let mut found = Vec::new();
        for id in ids {
            found.extend(self.message(MessageRow(id)).await?);
        }
        Ok(found)
    }

    /// The newest letter of a client that was passed on before a moment.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn newest_forwarded(
        &mut self,
        client: ClientId,
        before: DateTime<Utc>,
    ) -> Result<Option<Message>, StoreError> {
        let sql = "SELECT id FROM message WHERE client_id = $1 AND kind = 'letter' AND forwarded_at < $2 \
                   ORDER BY forwarded_at DESC, id DESC LIMIT 1";
        let id: Option<i64> =
            sql::scalar(sql).bind(client.0).bind(micros(before)).fetch_optional(&mut self.conn).await?;
        match id {
            Some(id) => self.message(MessageRow(id)).await,
            None => Ok(None),
        }
    }

    /// When a client's last letter arrived.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn last_letter_at(&mut self, client: ClientId) -> Result<Option<DateTime<Utc>>, StoreError> {
        let sql = "SELECT MAX(at) FROM message WHERE client_id = $1 AND kind = 'letter' \
                   AND state IN ('filed', 'released')";
        let at: Option<i64> = sql::scalar(sql).bind(client.0).fetch_one(&mut self.conn).await?;
        at.map(|at| super::time("message", 0, at)).transpose()
    }

    /// The small facts whose key begins with `prefix`, which has no wildcards.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn metas(&mut self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sql::query("SELECT key, value FROM meta WHERE key >= $1 AND key < $2 ORDER BY key")
            .bind(prefix)
            .bind(format!("{prefix}\u{10ffff}"))
            .fetch_all(&mut self.conn)
            .await?;
        rows.iter().map(|row| Ok((row.get("key")?, row.get("value")?))).collect()
    }

    /// Cadre's own letters to a client, which have no message of their own.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn outbox_to_client(&mut self, client: ClientId) -> Result<Vec<Outbox>, StoreError> {
        let sql = "SELECT id FROM outbox WHERE client_id = $1 AND therapist IS NULL AND message_id IS NULL \
                   ORDER BY created_at, id";
        let ids: Vec<i64> = sql::scalar(sql).bind(client.0).fetch_all(&mut self.conn).await?;
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            rows.extend(self.outbox(OutboxRow(id)).await?);
        }
        Ok(rows)
    }
}
