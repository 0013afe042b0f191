//! Mail that goes out: attempts are committed before dialling, finished rows keep their result.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::sql::{self, Insert, Row};
use super::{MacParts, Reader, StoreError, Tx, Vault, micros, vault};
use crate::model::{Address, ClientId, Fate, Kind, MessageRow, OutboxRow, OutboxState, TherapistId};

pub(super) const TABLE: &str = "outbox";

/// A mail that is to go out.
#[derive(Clone)]
pub struct NewOutbox {
    pub kind: Kind,
    pub client: Option<ClientId>,
    pub therapist: Option<TherapistId>,
    pub message: Option<MessageRow>,
    pub created_at: DateTime<Utc>,
    pub not_before: DateTime<Utc>,
    /// What the letter is composed from when it leaves. Sealed.
    pub facts: serde_json::Value,
    /// A stranger's address. Registered people's are looked up when the mail is sent.
    pub recipient: Option<Address>,
    /// The Message-ID it will bear, the same at each attempt.
    pub mail_id: Option<String>,
}

/// A row of the outbox. `Debug` shows row, kind and state only.
#[derive(Clone)]
pub struct Outbox {
    pub id: OutboxRow,
    pub kind: Kind,
    pub client: Option<ClientId>,
    pub therapist: Option<TherapistId>,
    pub message: Option<MessageRow>,
    pub state: OutboxState,
    pub created_at: DateTime<Utc>,
    pub not_before: DateTime<Utc>,
    pub attempts: u32,
    pub next_attempt: DateTime<Utc>,
    pub first_attempt_at: Option<DateTime<Utc>>,
    /// A word and a code, without content.
    pub last_error: Option<String>,
    /// An attempt got as far as the dot after DATA: the bytes must never change again.
    pub reached_dot: bool,
    /// `Null` once finished.
    pub facts: serde_json::Value,
    pub recipient: Option<Address>,
    pub mail_id: Option<String>,
    /// Whether bytes are frozen: [`Tx::frozen`].
    pub has_frozen: bool,
    pub size: Option<u64>,
    pub sha256: Option<Vec<u8>>,
    pub result_code: Option<u16>,
    pub finished_at: Option<DateTime<Utc>>,
    /// When a mail system's notice said that it wasn't received.
    pub returned_at: Option<DateTime<Utc>>,
    /// What a notice last said, and that is neither the one nor the other: `delayed`, `unclear`.
    pub notice: Option<Fate>,
}

impl std::fmt::Debug for NewOutbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewOutbox").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Which rows are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxFilter {
    /// Waiting, held and leaving.
    Unfinished,
    All,
}

/// How a mail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    Sent,
    Failed,
    Cancelled,
    Replaced,
}

impl Finish {
    const fn state(self) -> OutboxState {
        match self {
            Self::Sent => OutboxState::Sent,
            Self::Failed => OutboxState::Failed,
            Self::Cancelled => OutboxState::Cancelled,
            Self::Replaced => OutboxState::Replaced,
        }
    }
}

/// All columns but `frozen`, which can be large.
macro_rules! columns {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, client_id, therapist, message_id, state, created_at, not_before, attempts, next_attempt, ",
            "first_attempt_at, last_error, reached_dot, facts, recipient, mail_id, frozen IS NOT NULL AS has_frozen, ",
            "size, sha256, result_code, finished_at, returned_at, notice, mac FROM outbox ",
            $rest
        )
    };
}
pub(super) use columns;

/// Over what never changes: what goes to whom.
fn mac(
    vault: &Vault,
    id: i64,
    kind: Kind,
    client: Option<ClientId>,
    therapist: Option<&TherapistId>,
    message: Option<MessageRow>,
) -> [u8; 32] {
    MacParts::default()
        .int(Some(id))
        .text(kind.as_str())
        .int(client.map(|c| c.0))
        .add(therapist.map(|t| t.0.as_bytes()))
        .int(message.map(|m| m.0))
        .mac(vault, TABLE)
}

fn open(vault: &Vault, row: &Row) -> Result<Outbox, StoreError> {
    let read = Reader::new(vault, TABLE, row)?;
    let facts = read.bytes("facts")?;
    let recipient = read.text("recipient")?.map(|a| Address::parse(&a).map_err(|_| read.corrupt())).transpose()?;
    let out = Outbox {
        id: OutboxRow(read.id),
        kind: read.word("kind")?,
        client: read.get::<Option<i64>>("client_id")?.map(ClientId),
        therapist: read.get::<Option<String>>("therapist")?.map(TherapistId),
        message: read.get::<Option<i64>>("message_id")?.map(MessageRow),
        state: read.word("state")?,
        created_at: read.time("created_at")?,
        not_before: read.time("not_before")?,
        attempts: read.count("attempts")?,
        next_attempt: read.time("next_attempt")?,
        first_attempt_at: read.time_opt("first_attempt_at")?,
        last_error: read.get("last_error")?,
        reached_dot: read.get("reached_dot")?,
        facts: facts.map_or(Ok(serde_json::Value::Null), |f| serde_json::from_slice(&f)).map_err(|_| read.corrupt())?,
        recipient,
        mail_id: read.text("mail_id")?,
        has_frozen: read.get("has_frozen")?,
        size: read.get::<Option<i64>>("size")?.map(i64::unsigned_abs),
        sha256: read.get("sha256")?,
        result_code: read.get::<Option<i64>>("result_code")?.and_then(|c| u16::try_from(c).ok()),
        finished_at: read.time_opt("finished_at")?,
        returned_at: read.time_opt("returned_at")?,
        notice: read.word_opt("notice")?,
    };
    let expected = mac(vault, out.id.0, out.kind, out.client, out.therapist.as_ref(), out.message);
    if vault::same(&expected, read.get("mac")?) { Ok(out) } else { Err(read.corrupt()) }
}

static ROW: Insert = Insert {
    table: "outbox",
    rank: 1,
    into: "INSERT INTO outbox (id, kind, client_id, therapist, message_id, state, created_at, not_before, \
           next_attempt, facts, recipient, mail_id, mail_id_hash, mac) VALUES",
    end: "",
    replaces: false,
};

impl Tx {
    /// Puts a mail into the outbox.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn enqueue(&mut self, new: &NewOutbox) -> Result<OutboxRow, StoreError> {
        let id = self.new_id();
        let vault = self.vault().clone();
        let seal = |column: &str, value: &[u8]| vault.seal(TABLE, id, column, value);
        let row = sql::row()
            .bind(id)
            .bind(new.kind.as_str())
            .bind(new.client.map(|c| c.0))
            .bind(new.therapist.as_ref().map(|t| t.0.as_str()))
            .bind(new.message.map(|m| m.0))
            .bind(OutboxState::Waiting.as_str())
            .bind(micros(new.created_at))
            .bind(micros(new.not_before))
            .bind(micros(new.not_before))
            .bind((!new.facts.is_null()).then(|| seal("facts", new.facts.to_string().as_bytes())))
            .bind(new.recipient.as_ref().map(|a| seal("recipient", a.as_typed().as_bytes())))
            .bind(new.mail_id.as_ref().map(|m| seal("mail_id", m.as_bytes())))
            .bind(new.mail_id.as_ref().map(|m| vault.message_id(m).to_vec()))
            .bind(mac(&vault, id, new.kind, new.client, new.therapist.as_ref(), new.message).to_vec());
        self.conn.later(&ROW, row).await?;
        Ok(OutboxRow(id))
    }

    /// A row of the outbox.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where its MAC doesn't hold; [`StoreError::Db`].
    pub async fn outbox(&mut self, id: OutboxRow) -> Result<Option<Outbox>, StoreError> {
        let row = sql::query(columns!("WHERE id = $1")).bind(id.0).fetch_optional(&mut self.conn).await?;
        row.map(|row| open(self.vault(), &row)).transpose()
    }

    /// Up to `limit` mails that this gateway may attempt now ([`Store::reserve`](super::Store::reserve)): alerts pass
    /// every queue, safety letters come next, then those of the earliest `not_before`. And the rows among them that
    /// something else than Cadre changed: to be put aside, so that they block no other.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn claimable(
        &mut self,
        now: DateTime<Utc>,
        limit: u32,
    ) -> Result<(Vec<Outbox>, Vec<OutboxRow>), StoreError> {
        let sql = columns!(
            "WHERE id IN (SELECT id FROM outbox WHERE state IN ('waiting', 'leaving') AND next_attempt <= $1 \
             AND COALESCE(claimed_by, '') = $3 \
             ORDER BY CASE kind WHEN 'alert' THEN 0 WHEN 'safety' THEN 1 WHEN 'safety-violence' THEN 1 \
             WHEN 'stranger-safety' THEN 1 ELSE 2 END, not_before, id LIMIT $2) \
             ORDER BY CASE kind WHEN 'alert' THEN 0 WHEN 'safety' THEN 1 WHEN 'safety-violence' THEN 1 \
             WHEN 'stranger-safety' THEN 1 ELSE 2 END, not_before, id"
        );
        let gateway = self.gateway().unwrap_or_default();
        let query = sql::query(sql).bind(micros(now)).bind(i64::from(limit)).bind(gateway);
        let rows = query.fetch_all(&mut self.conn).await?;
        let (mut sound, mut changed) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in &rows {
            match open(self.vault(), row) {
                Err(StoreError::Corrupt { row, .. }) => changed.push(OutboxRow(row)),
                other => sound.push(other?),
            }
        }
        Ok((sound, changed))
    }

    /// Counts an attempt, sets the next one and freezes the bytes, with size and hash: commit this before dialling. From
    /// now on the server may have them, and no others leave, until [`Tx::end_attempt`] says that it hasn't. No bytes:
    /// they are frozen already. `false` when the row is finished, held, not due, another gateway's, or in the other case.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn claim(
        &mut self,
        id: OutboxRow,
        bytes: Option<&[u8]>,
        now: DateTime<Utc>,
        next_attempt: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let query = sql::query(
            "UPDATE outbox SET state = 'leaving', attempts = attempts + 1, next_attempt = $3, last_error = 'attempting', \
             first_attempt_at = COALESCE(first_attempt_at, $2), claimed_by = $4, reached_dot = 1, \
             frozen = COALESCE($5, frozen), size = COALESCE($6, size), sha256 = COALESCE($7, sha256) \
             WHERE id = $1 AND state IN ('waiting', 'leaving') AND next_attempt <= $2 \
             AND (claimed_by IS NULL OR claimed_by = $4) AND reached_dot = $8",
        );
        let gateway = self.gateway();
        let query = query
            .bind(id.0)
            .bind(micros(now))
            .bind(micros(next_attempt))
            .bind(gateway)
            .bind(bytes.map(|bytes| self.vault().seal(TABLE, id.0, "frozen", bytes)))
            .bind(bytes.map(|bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX)))
            .bind(bytes.map(|bytes| Sha256::digest(bytes).to_vec()))
            .bind(bytes.is_none());
        Ok(query.execute(&mut self.conn).await?.rows_affected() == 1)
    }

    /// The frozen bytes of a mail.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where they don't open in this row; [`StoreError::Db`].
    pub async fn frozen(&mut self, id: OutboxRow) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sql::scalar("SELECT frozen FROM outbox WHERE id = $1").bind(id.0);
        let Some(Some(sealed)) = query.fetch_optional(&mut self.conn).await? else { return Ok(None) };
        let sealed: Vec<u8> = sealed;
        let opened = self.vault().unseal(TABLE, id.0, "frozen", &sealed);
        opened.map(Some).map_err(|_| StoreError::Corrupt { table: TABLE, row: id.0 })
    }

    /// Ends a mail: facts and bytes go, result, size and hash stay. `false` when it had ended before.
    /// `error` is a word and a code, without content.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn finish(
        &mut self,
        id: OutboxRow,
        how: Finish,
        code: Option<u16>,
        error: Option<&str>,
        at: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let query = sql::query(
            "UPDATE outbox SET state = $2, result_code = $3, last_error = $4, finished_at = $5, facts = NULL, \
             frozen = NULL, recipient = NULL, claimed_by = NULL WHERE id = $1 AND state IN ('waiting', 'leaving', 'held')",
        )
        .bind(id.0)
        .bind(how.state().as_str())
        .bind(code.map(i64::from))
        .bind(error)
        .bind(micros(at));
        Ok(query.execute(&mut self.conn).await?.rows_affected() == 1)
    }

    /// Puts an attempt that failed for now back, with its reason (a word and a code).
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn reschedule(
        &mut self,
        id: OutboxRow,
        next_attempt: DateTime<Utc>,
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        let query = sql::query(
            "UPDATE outbox SET next_attempt = $2, last_error = $3, claimed_by = NULL WHERE id = $1 AND state IN ('waiting', 'leaving')",
        );
        query.bind(id.0).bind(micros(next_attempt)).bind(error).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Moves a mail that waits and was never attempted to another time; `false` otherwise.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn postpone(&mut self, id: OutboxRow, not_before: DateTime<Utc>) -> Result<bool, StoreError> {
        let query = sql::query(
            "UPDATE outbox SET not_before = $2, next_attempt = $2, state = 'waiting', claimed_by = NULL \
             WHERE id = $1 AND state IN ('waiting', 'leaving') AND reached_dot = 0",
        );
        Ok(query.bind(id.0).bind(micros(not_before)).execute(&mut self.conn).await?.rows_affected() == 1)
    }

    /// Puts a mail aside until [`Tx::retry`]; `false` when it is finished.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn hold(&mut self, id: OutboxRow) -> Result<bool, StoreError> {
        let query = sql::query("UPDATE outbox SET state = 'held' WHERE id = $1 AND state IN ('waiting', 'leaving')");
        Ok(query.bind(id.0).execute(&mut self.conn).await?.rows_affected() == 1)
    }

    /// Lets a held, waiting or leaving mail be attempted from `at` on (never before its
    /// `not_before`); `false` when it is finished.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn retry(&mut self, id: OutboxRow, at: DateTime<Utc>) -> Result<bool, StoreError> {
        let query = sql::query(
            "UPDATE outbox SET state = CASE WHEN attempts > 0 THEN 'leaving' ELSE 'waiting' END, \
             next_attempt = CASE WHEN not_before > $2 THEN not_before ELSE $2 END \
             WHERE id = $1 AND state IN ('waiting', 'leaving', 'held')",
        );
        Ok(query.bind(id.0).bind(micros(at)).execute(&mut self.conn).await?.rows_affected() == 1)
    }

    /// Cancels a mail of which no attempt has reached the dot; `false` otherwise.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn cancel(&mut self, id: OutboxRow, at: DateTime<Utc>) -> Result<bool, StoreError> {
        match self.outbox(id).await? {
            Some(row) if !row.reached_dot => self.finish(id, Finish::Cancelled, None, None, at).await,
            _ => Ok(false),
        }
    }

    pub(super) async fn outbox_rows(&mut self, sql: &'static str, values: &[i64]) -> Result<Vec<Outbox>, StoreError> {
        let query = values.iter().fold(sql::query(sql), |query, value| query.bind(*value));
        let rows = query.fetch_all(&mut self.conn).await?;
        // One changed row hides none of the others.
        let sound = |row: &Row| match open(self.vault(), row) {
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "an outgoing mail is left out");
                None
            }
            other => Some(other),
        };
        rows.iter().filter_map(sound).collect()
    }

    /// The queue, by `not_before`.
    ///
    /// # Errors
    /// As [`Tx::outbox`].
    pub async fn queue(&mut self, filter: OutboxFilter) -> Result<Vec<Outbox>, StoreError> {
        let sql = match filter {
            OutboxFilter::All => columns!("ORDER BY not_before, id"),
            OutboxFilter::Unfinished => {
                columns!("WHERE state IN ('waiting', 'leaving', 'held') ORDER BY not_before, id")
            }
        };
        self.outbox_rows(sql, &[]).await
    }

    /// The mails that carry a message, the oldest first.
    ///
    /// # Errors
    /// As [`Tx::outbox`].
    pub async fn outbox_of_message(&mut self, message: MessageRow) -> Result<Vec<Outbox>, StoreError> {
        self.outbox_rows(columns!("WHERE message_id = $1 ORDER BY created_at, id"), &[message.0]).await
    }

    /// The mail that bears a Message-ID of Cadre's own: for delivery failures.
    ///
    /// # Errors
    /// As [`Tx::outbox`].
    pub async fn outbox_by_mail_id(&mut self, mail_id: &str) -> Result<Option<Outbox>, StoreError> {
        let hash = self.vault().message_id(mail_id).to_vec();
        let sql = columns!("WHERE mail_id_hash = $1 ORDER BY (state = 'sent') DESC, id DESC LIMIT 1");
        let row = sql::query(sql).bind(hash);
        row.fetch_optional(&mut self.conn).await?.map(|row| open(self.vault(), &row)).transpose()
    }

    /// How many mails of a kind were made since then, for one client or for all.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_outbox(
        &mut self,
        kind: Kind,
        client: Option<ClientId>,
        since: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let query = match client {
            Some(client) => sql::scalar::<i64>(
                "SELECT COUNT(*) FROM outbox WHERE kind = $1 AND created_at >= $2 AND client_id = $3",
            )
            .bind(kind.as_str())
            .bind(micros(since))
            .bind(client.0),
            None => sql::scalar("SELECT COUNT(*) FROM outbox WHERE kind = $1 AND created_at >= $2")
                .bind(kind.as_str())
                .bind(micros(since)),
        };
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// When the next attempt of any mail is due.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn next_due(&mut self) -> Result<Option<DateTime<Utc>>, StoreError> {
        let sql = "SELECT MIN(next_attempt) FROM outbox WHERE state IN ('waiting', 'leaving')";
        let at: Option<i64> = sql::scalar(sql).fetch_one(&mut self.conn).await?;
        at.map(|at| super::time(TABLE, 0, at)).transpose()
    }
}
