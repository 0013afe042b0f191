//! Turns: a client's letters since the last reply was accepted. At most one is open a client.

use chrono::{DateTime, Utc};

use super::sql::{self, Row};
use super::{Reader, StoreError, Tx, Vault, is_unique, micros, micros_opt};
use crate::model::{ClientId, TurnRow, TurnState};

const TABLE: &str = "turn";

/// One turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub id: TurnRow,
    pub client: ClientId,
    /// `Open` or `Answered`.
    pub state: TurnState,
    pub opened_at: DateTime<Utc>,
    /// The slot at which the reply is due.
    pub due_at: Option<DateTime<Utc>>,
    pub acknowledged: bool,
    pub answered_at: Option<DateTime<Utc>>,
    /// Answered by `/close`, without a reply.
    pub closed: bool,
    /// The last slot that passed unanswered and was told to the client.
    pub missed_slot: Option<DateTime<Utc>>,
    /// How many slots running were missed.
    pub misses: u32,
}

pub(super) fn open(vault: &Vault, row: &Row) -> Result<Turn, StoreError> {
    let read = Reader::new(vault, TABLE, row)?;
    Ok(Turn {
        id: TurnRow(read.id),
        client: ClientId(read.get("client_id")?),
        state: read.word("state")?,
        opened_at: read.time("opened_at")?,
        due_at: read.time_opt("due_at")?,
        acknowledged: read.get("acknowledged")?,
        answered_at: read.time_opt("answered_at")?,
        closed: read.get("closed")?,
        missed_slot: read.time_opt("missed_slot")?,
        misses: read.count("misses")?,
    })
}

fn open_already(error: sqlx::Error) -> StoreError {
    if is_unique(&error, "turn.client_id", "one_open_turn") { StoreError::TurnOpen } else { error.into() }
}

impl Tx {
    async fn turn_where(&mut self, sql: &'static str, value: i64) -> Result<Option<Turn>, StoreError> {
        let row = sql::query(sql).bind(value).fetch_optional(&mut self.conn).await?;
        row.map(|row| open(self.vault(), &row)).transpose()
    }

    async fn turns_where(&mut self, sql: &'static str, values: &[i64]) -> Result<Vec<Turn>, StoreError> {
        let query = values.iter().fold(sql::query(sql), |query, value| query.bind(*value));
        let rows = query.fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| open(self.vault(), row)).collect()
    }

    /// Opens a turn.
    ///
    /// # Errors
    /// [`StoreError::TurnOpen`] where the client has one; [`StoreError::Db`].
    pub async fn open_turn(
        &mut self,
        client: ClientId,
        at: DateTime<Utc>,
        due_at: Option<DateTime<Utc>>,
    ) -> Result<TurnRow, StoreError> {
        let id = self.new_id();
        sql::query("INSERT INTO turn (id, client_id, state, opened_at, due_at) VALUES ($1, $2, 'open', $3, $4)")
            .bind(id)
            .bind(client.0)
            .bind(micros(at))
            .bind(micros_opt(due_at))
            .try_execute(&mut self.conn)
            .await
            .map_err(open_already)?;
        Ok(TurnRow(id))
    }

    /// A turn.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn turn(&mut self, id: TurnRow) -> Result<Option<Turn>, StoreError> {
        self.turn_where("SELECT * FROM turn WHERE id = $1", id.0).await
    }

    /// The client's open turn.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn current_turn(&mut self, client: ClientId) -> Result<Option<Turn>, StoreError> {
        self.turn_where("SELECT * FROM turn WHERE client_id = $1 AND state = 'open'", client.0).await
    }

    /// The client's newest turn, open or answered.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn last_turn(&mut self, client: ClientId) -> Result<Option<Turn>, StoreError> {
        // An open turn is always the one that counts: a reopened one may be older than another.
        let sql =
            "SELECT * FROM turn WHERE client_id = $1 ORDER BY (state = 'open') DESC, opened_at DESC, id DESC LIMIT 1";
        self.turn_where(sql, client.0).await
    }

    /// All open turns, the soonest due first.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn open_turns(&mut self) -> Result<Vec<Turn>, StoreError> {
        let sql = "SELECT * FROM turn WHERE state = 'open' ORDER BY due_at NULLS FIRST, opened_at";
        self.turns_where(sql, &[]).await
    }

    /// Open turns that were due at `now` or before.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn overdue_turns(&mut self, now: DateTime<Utc>) -> Result<Vec<Turn>, StoreError> {
        let sql = "SELECT * FROM turn WHERE state = 'open' AND due_at <= $1 ORDER BY due_at";
        self.turns_where(sql, &[micros(now)]).await
    }

    async fn touch_turn(&mut self, id: TurnRow, sql: &'static str, value: Option<i64>) -> Result<(), StoreError> {
        let done = sql::query(sql).bind(id.0).bind(value).try_execute(&mut self.conn).await.map_err(open_already)?;
        if done.rows_affected() == 0 { Err(StoreError::Missing { table: TABLE, row: id.0 }) } else { Ok(()) }
    }

    /// Ends a turn: a reply was accepted, or (`closed`) `/close`.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn answer_turn(&mut self, id: TurnRow, at: DateTime<Utc>, closed: bool) -> Result<(), StoreError> {
        let sql = if closed {
            "UPDATE turn SET state = 'answered', answered_at = $2, closed = 1 WHERE id = $1"
        } else {
            "UPDATE turn SET state = 'answered', answered_at = $2, closed = 0 WHERE id = $1"
        };
        self.touch_turn(id, sql, Some(micros(at))).await
    }

    /// Reopens a turn, its reply being cancelled; it stays acknowledged.
    ///
    /// # Errors
    /// [`StoreError::TurnOpen`] where a later turn is open, [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn reopen_turn(&mut self, id: TurnRow, due_at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        let sql = "UPDATE turn SET state = 'open', answered_at = NULL, closed = 0, due_at = $2 WHERE id = $1";
        self.touch_turn(id, sql, micros_opt(due_at)).await
    }

    /// Moves the slot at which a turn is due.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn set_turn_due(&mut self, id: TurnRow, due_at: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        self.touch_turn(id, "UPDATE turn SET due_at = $2 WHERE id = $1", micros_opt(due_at)).await
    }

    /// Remembers that the turn was acknowledged.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn acknowledge_turn(&mut self, id: TurnRow) -> Result<(), StoreError> {
        self.touch_turn(id, "UPDATE turn SET acknowledged = $2 WHERE id = $1", Some(1)).await
    }

    /// Counts a missed slot, once a slot; the new count of misses running.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn miss_turn(&mut self, id: TurnRow, slot: DateTime<Utc>) -> Result<u32, StoreError> {
        let sql = "UPDATE turn SET misses = misses + CASE WHEN missed_slot IS NULL OR missed_slot <> $2 THEN 1 ELSE 0 END, missed_slot = $2 \
                   WHERE id = $1";
        self.touch_turn(id, sql, Some(micros(slot))).await?;
        Ok(self.turn(id).await?.map_or(0, |turn| turn.misses))
    }
}
