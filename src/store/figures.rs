//! Counts for the operator's eyes: how much of what there is, and since when, read from indexes.

use super::engine::Engine;
use super::sql::{query, scalar};
use super::{Store, StoreError, Tx, micros, time};
use crate::model::{ClientState, CrisisClass, TherapistId, Verdict};
use chrono::{DateTime, Utc};

/// The counter of letters that got this verdict, kept in the transaction that files or holds them.
pub(super) fn letters_counter(verdict: Verdict) -> String {
    format!("letters:{verdict}")
}

/// How much there is. No names, no codes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Clients by state; a state that nobody is in counts 0.
    pub clients: Vec<(ClientState, u64)>,
    pub open_turns: u64,
    /// Open turns that were due.
    pub overdue_turns: u64,
    /// Letters that wait for their slot or are leaving.
    pub waiting_replies: u64,
    /// Put aside until the therapist decides.
    pub held: u64,
    /// Requests of strangers since the time that was asked for.
    pub requests: u64,
    /// Alerts without an answer, by class.
    pub alerts: Vec<(CrisisClass, u64)>,
    /// Outgoing mails that wait or are leaving.
    pub outbox: u64,
    /// Outgoing mails that were put aside.
    pub outbox_held: u64,
    /// Since when the oldest outgoing mail may leave.
    pub outbox_oldest: Option<DateTime<Utc>>,
    /// Outgoing mails that failed or came back since the time that was asked for.
    pub failed: u64,
    /// Records that nobody may erase.
    pub legal_holds: u64,
    /// Erasures under way.
    pub erasures: u64,
    /// When the oldest of them was ordered.
    pub erasure_oldest: Option<DateTime<Utc>>,
}

impl Figures {
    /// All clients, whatever their state.
    pub fn all_clients(&self) -> u64 {
        self.clients.iter().map(|(_, count)| count).sum()
    }

    /// All alerts without an answer.
    pub fn open_alerts(&self) -> u64 {
        self.alerts.iter().map(|(_, count)| count).sum()
    }
}

impl Store {
    /// Bytes of the SQLite database on its disk, its write-ahead log included; None for PostgreSQL, whose server knows, and
    /// where they can't be seen.
    pub fn size(&self) -> Option<u64> {
        let Engine::Lite { path, .. } = &self.0.engine else { return None };
        let bytes = |path: &std::path::Path| std::fs::metadata(path).map(|file| file.len());
        let database = bytes(path).ok()?;
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Some(database + bytes(log.as_ref()).unwrap_or(0))
    }
}

impl Tx {
    async fn count(&mut self, sql: &'static str, value: Option<i64>) -> Result<u64, StoreError> {
        let query = scalar::<i64>(sql);
        let query = if let Some(value) = value { query.bind(value) } else { query };
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// How much there is at `now`; failures since `failed_since`, requests since `requests_since`.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn figures(
        &mut self,
        now: DateTime<Utc>,
        failed_since: DateTime<Utc>,
        requests_since: DateTime<Utc>,
    ) -> Result<Figures, StoreError> {
        let mut figures = Figures::default();
        for state in ClientState::ALL {
            let query = scalar::<i64>("SELECT COUNT(*) FROM client WHERE state = $1").bind(state.as_str());
            let count = query.fetch_one(&mut self.conn).await?;
            figures.clients.push((*state, count.unsigned_abs()));
        }
        for class in CrisisClass::ALL {
            let sql = "SELECT COUNT(*) FROM alert WHERE answered_at IS NULL AND class = $1";
            let count = scalar::<i64>(sql).bind(class.as_str()).fetch_one(&mut self.conn).await?;
            figures.alerts.push((*class, count.unsigned_abs()));
        }
        figures.open_turns = self.count("SELECT COUNT(*) FROM turn WHERE state = 'open'", None).await?;
        let sql = "SELECT COUNT(*) FROM turn WHERE state = 'open' AND due_at <= $1";
        figures.overdue_turns = self.count(sql, Some(micros(now))).await?;
        let sql = "SELECT COUNT(*) FROM message WHERE state IN ('waiting', 'leaving')";
        figures.waiting_replies = self.count(sql, None).await?;
        figures.held = self.count("SELECT COUNT(*) FROM message WHERE state = 'held'", None).await?;
        let sql = "SELECT COUNT(*) FROM message WHERE kind = 'request' AND at >= $1 AND state <> 'discarded'";
        figures.requests = self.count(sql, Some(micros(requests_since))).await?;
        let sql = "SELECT COUNT(*) FROM outbox WHERE id IN (SELECT id FROM outbox WHERE state = 'failed' \
                   AND finished_at >= $1 UNION SELECT id FROM outbox WHERE returned_at >= $1)";
        figures.failed = self.count(sql, Some(micros(failed_since))).await?;
        self.outbox_figures(&mut figures).await?;
        figures.legal_holds = self.count("SELECT COUNT(*) FROM legal_hold", None).await?;
        let sql = "SELECT COUNT(*) AS many, MIN(asked_at) AS oldest FROM erasure WHERE done_at IS NULL";
        let open = query(sql).fetch_one(&mut self.conn).await?;
        figures.erasures = open.get::<i64>("many")?.unsigned_abs();
        figures.erasure_oldest =
            open.get::<Option<i64>>("oldest")?.map(|oldest| time("erasure", 0, oldest)).transpose()?;
        Ok(figures)
    }

    async fn outbox_figures(&mut self, figures: &mut Figures) -> Result<(), StoreError> {
        let sql = "SELECT state, COUNT(*) AS many, MIN(not_before) AS oldest FROM outbox \
                   WHERE state IN ('waiting', 'leaving', 'held') GROUP BY state";
        for row in query(sql).fetch_all(&mut self.conn).await? {
            let many = row.get::<i64>("many")?.unsigned_abs();
            if row.get::<&str>("state")? == "held" {
                figures.outbox_held = many;
                continue;
            }
            let oldest = time("outbox", 0, row.get("oldest")?)?;
            figures.outbox += many;
            figures.outbox_oldest = Some(figures.outbox_oldest.map_or(oldest, |known| known.min(oldest)));
        }
        Ok(())
    }

    /// Open turns of a therapist's clients that are due at a slot, or before it and not yet.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn turns_due(
        &mut self,
        therapist: &TherapistId,
        now: DateTime<Utc>,
        slot: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM turn JOIN client ON client.id = turn.client_id WHERE turn.state = 'open' \
                   AND turn.due_at > $1 AND turn.due_at <= $2 AND client.therapist = $3";
        let query = scalar::<i64>(sql).bind(micros(now)).bind(micros(slot)).bind(&therapist.0);
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// How many originals of a folder are still to be removed from it.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_originals(&mut self, folder: &str) -> Result<u64, StoreError> {
        let query = scalar::<i64>("SELECT COUNT(*) FROM original WHERE folder = $1").bind(folder);
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// Letters by verdict since the database was made (or was first opened by a version that counts them).
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn letters_by_verdict(&mut self) -> Result<Vec<(Verdict, u64)>, StoreError> {
        self.write_counts().await?;
        let mut letters = Vec::new();
        for verdict in Verdict::ALL {
            letters.push((*verdict, self.counter(&letters_counter(*verdict)).await?));
        }
        Ok(letters)
    }
}
