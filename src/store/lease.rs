//! Who works for a practice, where several gateways share its PostgreSQL schema.
//!
//! A gateway's life is a lease that it renews; one of them has the mailbox's lease besides. Leases are given and taken
//! away under the practice's writing lock only, so that none changes hands inside of anybody's writing transaction.
//! Every such transaction of a gateway begins by asking for its tokens: one that was taken for dead commits nothing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::engine::Engine;
use super::sql::{self, Conn};
use super::{Store, StoreError, Tx, micros};
use crate::model::OutboxRow;

/// A gateway that renews its leases no more is dead after this time; by the database's clock, in microseconds.
const LIFE: i64 = 15_000_000;
/// A gateway that didn't renew for so long doesn't begin to send any more: it is nearly dead by the database's clock.
const SURE: Duration = Duration::from_secs(11);
/// The lease of who reads the mailbox and keeps the clock.
const MAILBOX: &str = "mailbox";
/// The counter that tokens come from.
const TOKENS: &str = "lease";
const NOW: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)";

/// What a gateway's writing transactions are held against.
#[derive(Debug, Clone)]
struct Fence {
    gateway: String,
    token: i64,
    /// The token of the mailbox's lease, for who has it.
    mailbox: Option<i64>,
    /// When it was last renewed, at the latest.
    renewed: Instant,
}

/// This process's life as a gateway; nothing with SQLite, and for an operator's command.
pub(super) struct Life {
    fence: Mutex<Option<Fence>>,
    lost: watch::Sender<bool>,
}

impl Default for Life {
    fn default() -> Self {
        Self { fence: Mutex::new(None), lost: watch::Sender::new(false) }
    }
}

impl Life {
    fn fence(&self) -> Option<Fence> {
        self.fence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, fence: Option<Fence>) {
        *self.fence.lock().unwrap_or_else(PoisonError::into_inner) = fence;
    }

    /// Says that this gateway was taken for dead.
    fn end(&self) -> StoreError {
        self.lost.send_replace(true);
        StoreError::Fenced
    }

    /// Whether the gateway that a writing transaction is for still has what it had; asked under the writing lock.
    pub(super) async fn check(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let Some(fence) = self.fence() else { return Ok(()) };
        let sql = "SELECT COUNT(*) FROM lease WHERE name = $1 AND token = $2 OR name = $3 AND token = $4";
        let query = sql::scalar::<i64>(sql).bind(life(&fence.gateway)).bind(fence.token);
        let found = query.bind(MAILBOX).bind(fence.mailbox).fetch_one(&mut tx.conn).await?;
        if found == 1 + i64::from(fence.mailbox.is_some()) { Ok(()) } else { Err(self.end()) }
    }
}

/// A gateway that lives.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct GatewayLife {
    /// Random, of this run of the program.
    pub id: String,
    /// It reads the mailbox and keeps the clock; the others stand by, and send.
    pub mailbox: bool,
}

fn life(gateway: &str) -> String {
    format!("gateway:{gateway}")
}

/// Where the outcome of a reload stands.
fn reload(gateway: Option<&str>) -> String {
    gateway.map_or_else(|| "reload".to_owned(), |id| format!("reload:{id}"))
}

impl Store {
    /// Whether several gateways can share the work on it: PostgreSQL.
    pub fn is_shared(&self) -> bool {
        matches!(self.0.engine, Engine::Pg { .. })
    }

    /// Whether this process may begin to send: its lease was renewed lately, or it needs none.
    pub fn lives(&self) -> bool {
        self.0.life.fence().is_none_or(|fence| fence.renewed.elapsed() < SURE)
    }

    /// Waits until a transaction of this gateway found that it was taken for dead.
    pub async fn fenced(&self) {
        let mut lost = self.0.life.lost.subscribe();
        // The sender lives as long as the store.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Begins a gateway's life under an id that was never used. `dead` are ids of processes that are known to have
    /// ended: what they held is free at once.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn join(&self, gateway: &str, dead: &[String], now: DateTime<Utc>) -> Result<(), StoreError> {
        self.0.life.set(None);
        let renewed = Instant::now();
        let mut tx = self.begin().await?;
        for id in dead {
            tx.bury(id, now).await?;
        }
        let token = tx.next_token().await?;
        let until = tx.database_now().await?.saturating_add(LIFE);
        let sql = "INSERT INTO lease (name, holder, token, until) VALUES ($1, $2, $3, $4)";
        sql::query(sql).bind(life(gateway)).bind(gateway).bind(token).bind(until).execute(&mut tx.conn).await?;
        tx.commit().await?;
        self.0.life.lost.send_replace(false);
        self.0.life.set(Some(Fence { gateway: gateway.to_owned(), token, mailbox: None, renewed }));
        Ok(())
    }

    /// Renews what this gateway has; the others' transactions don't wait for it, nor it for them.
    ///
    /// # Errors
    /// [`StoreError::Fenced`]: it was taken for dead. [`StoreError::Db`].
    pub async fn renew(&self) -> Result<(), StoreError> {
        let Some(mut fence) = self.0.life.fence() else { return Err(StoreError::Fenced) };
        fence.renewed = Instant::now();
        let mut conn = self.0.engine.beat().await?;
        let now: i64 = sql::scalar(NOW).fetch_one(&mut conn).await?;
        let renewed = renew(&mut conn, &life(&fence.gateway), fence.token, now).await?
            && match fence.mailbox {
                Some(token) => renew(&mut conn, MAILBOX, token, now).await?,
                None => true,
            };
        conn.commit().await?;
        if !renewed {
            return Err(self.0.life.end());
        }
        self.0.life.set(Some(fence));
        Ok(())
    }

    /// Takes the mailbox's lease where nobody has it any more: `true` when this gateway has it.
    ///
    /// # Errors
    /// [`StoreError::Fenced`], [`StoreError::Db`].
    pub async fn take_mailbox(&self) -> Result<bool, StoreError> {
        let Some(fence) = self.0.life.fence() else { return Err(StoreError::Fenced) };
        if fence.mailbox.is_some() {
            return Ok(true);
        }
        // Asked without the lock first: it is somebody else's nearly always.
        if !self.read().await?.mailbox_is_free().await? {
            return Ok(false);
        }
        let mut tx = self.begin().await?;
        if !tx.mailbox_is_free().await? {
            return Ok(false);
        }
        let token = tx.next_token().await?;
        let until = tx.database_now().await?.saturating_add(LIFE);
        let sql = "INSERT INTO lease (name, holder, token, until) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = excluded.token, \
                   until = excluded.until";
        sql::query(sql).bind(MAILBOX).bind(&fence.gateway).bind(token).bind(until).execute(&mut tx.conn).await?;
        tx.commit().await?;
        self.0.life.set(Some(Fence { mailbox: Some(token), ..fence }));
        Ok(true)
    }

    /// Lets go what gateways held that live no more; how many there were.
    ///
    /// # Errors
    /// [`StoreError::Fenced`], [`StoreError::Db`].
    pub async fn bury_the_dead(&self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        if self.read().await?.dead_gateways().await?.is_empty() {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        let dead = tx.dead_gateways().await?;
        for id in &dead {
            tx.bury(id, now).await?;
        }
        tx.commit().await?;
        Ok(dead.len())
    }

    /// Ends this gateway's life: what it held is free at once.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn leave(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        let Some(fence) = self.0.life.fence() else { return Ok(()) };
        let mut tx = self.begin().await?;
        tx.bury(&fence.gateway, now).await?;
        tx.commit().await?;
        self.0.life.set(None);
        Ok(())
    }

    /// Sees that no gateway lives, for what is done with the practice at rest; with SQLite, takes the lock of `run`.
    ///
    /// # Errors
    /// [`StoreError::Held`], [`StoreError::Locked`], [`StoreError::Db`].
    pub async fn at_rest(&self) -> Result<super::RunLock, StoreError> {
        if !self.gateways().await?.is_empty() {
            return Err(StoreError::Held);
        }
        match self.lock() {
            Err(StoreError::Locked { .. }) => {
                // `status` holds it for an instant, to see whether anybody has it.
                tokio::time::sleep(Duration::from_millis(100)).await;
                self.lock()
            }
            lock => lock,
        }
    }

    /// Reserves up to `limit` mails that may be attempted now for this gateway, so that no two write the same one. With
    /// SQLite there is nobody else.
    ///
    /// # Errors
    /// [`StoreError::Fenced`], [`StoreError::Db`].
    pub async fn reserve(&self, now: DateTime<Utc>, limit: u32) -> Result<(), StoreError> {
        let Some(fence) = self.0.life.fence() else { return Ok(()) };
        let free = "SELECT EXISTS (SELECT 1 FROM outbox WHERE state IN ('waiting', 'leaving') AND next_attempt <= $1 \
                    AND claimed_by IS NULL)";
        if !sql::scalar::<bool>(free).bind(micros(now)).fetch_one(&mut self.read().await?.conn).await? {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let sql = "UPDATE outbox SET claimed_by = $1 WHERE id IN (SELECT id FROM outbox \
                   WHERE state IN ('waiting', 'leaving') AND next_attempt <= $2 AND claimed_by IS NULL \
                   ORDER BY CASE kind WHEN 'alert' THEN 0 WHEN 'safety' THEN 1 WHEN 'safety-violence' THEN 1 \
                   WHEN 'stranger-safety' THEN 1 ELSE 2 END, not_before, id LIMIT $3 FOR UPDATE SKIP LOCKED)";
        let query = sql::query(sql).bind(fence.gateway).bind(micros(now)).bind(i64::from(limit));
        query.execute(&mut tx.conn).await?;
        tx.commit().await
    }

    /// Gives back what was reserved and isn't attempted now: no attempt of these mails may be under way.
    ///
    /// # Errors
    /// [`StoreError::Fenced`], [`StoreError::Db`].
    pub async fn give_back(&self, mails: &[OutboxRow]) -> Result<(), StoreError> {
        let Some(fence) = self.0.life.fence().filter(|_| !mails.is_empty()) else { return Ok(()) };
        let mut tx = self.begin().await?;
        for slice in sql::in_slices(mails) {
            let sql = "UPDATE outbox SET claimed_by = NULL WHERE claimed_by = $1 AND id IN ($2)";
            let sql = sql::repeated(sql, "$2", 2, slice.len());
            let query =
                slice.iter().fold(sql::query(&sql).bind(fence.gateway.as_str()), |query, mail| query.bind(mail.0));
            query.execute(&mut tx.conn).await?;
        }
        tx.commit().await
    }

    /// The gateways that live, who has the mailbox first.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn gateways(&self) -> Result<Vec<GatewayLife>, StoreError> {
        if !self.is_shared() {
            return Ok(Vec::new());
        }
        let mut tx = self.read().await?;
        let now = tx.database_now().await?;
        let sql = "SELECT g.holder, m.holder IS NOT NULL AS mailbox FROM lease g \
                   LEFT JOIN lease m ON m.name = $1 AND m.holder = g.holder AND m.until > $2 \
                   WHERE g.name LIKE 'gateway:%' AND g.until > $2 ORDER BY m.holder IS NULL, g.token";
        let rows = sql::query(sql).bind(MAILBOX).bind(now).fetch_all(&mut tx.conn).await?;
        rows.iter().map(|row| Ok(GatewayLife { id: row.get("holder")?, mailbox: row.get("mailbox")? })).collect()
    }
}

async fn renew(conn: &mut Conn, name: &str, token: i64, now: i64) -> Result<bool, StoreError> {
    let sql = "UPDATE lease SET until = $3 WHERE name = $1 AND token = $2";
    let query = sql::query(sql).bind(name).bind(token).bind(now.saturating_add(LIFE));
    Ok(query.execute(conn).await?.rows_affected() == 1)
}

impl Tx {
    async fn next_token(&mut self) -> Result<i64, StoreError> {
        Ok(self.count_up(TOKENS).await?.cast_signed())
    }

    async fn database_now(&mut self) -> Result<i64, StoreError> {
        Ok(sql::scalar(NOW).fetch_one(&mut self.conn).await?)
    }

    async fn mailbox_is_free(&mut self) -> Result<bool, StoreError> {
        let now = self.database_now().await?;
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM lease WHERE name = $1 AND until > $2)";
        Ok(sql::scalar(sql).bind(MAILBOX).bind(now).fetch_one(&mut self.conn).await?)
    }

    async fn dead_gateways(&mut self) -> Result<Vec<String>, StoreError> {
        let now = self.database_now().await?;
        let sql = "SELECT holder FROM lease WHERE name LIKE 'gateway:%' AND until <= $1";
        Ok(sql::scalar(sql).bind(now).fetch_all(&mut self.conn).await?)
    }

    /// Takes a gateway's leases and claims away: its attempts are made again at `now`, with the bytes that they had.
    async fn bury(&mut self, gateway: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let attempts = "UPDATE outbox SET next_attempt = $2 WHERE claimed_by = $1 AND last_error = 'attempting' \
                        AND state IN ('waiting', 'leaving') AND next_attempt > $2";
        sql::query(attempts).bind(gateway).bind(micros(now)).execute(&mut self.conn).await?;
        for sql in ["UPDATE outbox SET claimed_by = NULL WHERE claimed_by = $1", "DELETE FROM lease WHERE holder = $1"]
        {
            sql::query(sql).bind(gateway).execute(&mut self.conn).await?;
        }
        self.clear_meta(&reload(Some(gateway))).await
    }

    /// Forgets every gateway, and what each had in hand: of a copy of the database none lives.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn forget_gateways(&mut self) -> Result<(), StoreError> {
        for sql in [
            "UPDATE outbox SET claimed_by = NULL WHERE claimed_by IS NOT NULL",
            "DELETE FROM lease",
            "DELETE FROM meta WHERE key LIKE 'reload:%'",
        ] {
            sql::query(sql).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Notes what this process's last reload of its configuration came to, or forgets it. It goes with its life.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn set_reload(&mut self, outcome: Option<&str>) -> Result<(), StoreError> {
        let key = reload(self.gateway().as_deref());
        match outcome {
            Some(outcome) => self.set_meta(&key, outcome).await,
            None => self.clear_meta(&key).await,
        }
    }

    /// What was noted so, with the gateway that noted it; that of the only daemon where none is shared.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn reloads(&mut self) -> Result<Vec<(Option<String>, String)>, StoreError> {
        if !matches!(self.store.engine, Engine::Pg { .. }) {
            return Ok(self.meta(&reload(None)).await?.into_iter().map(|value| (None, value)).collect());
        }
        let sql = "SELECT lease.holder, meta.value FROM lease JOIN meta ON meta.key = 'reload:' || lease.holder \
                   WHERE lease.name LIKE 'gateway:%' ORDER BY lease.token";
        let rows = sql::query(sql).fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| Ok((Some(row.get("holder")?), row.get("value")?))).collect()
    }

    /// The gateway that this transaction is for; `None` with SQLite, and for an operator's command.
    pub(super) fn gateway(&self) -> Option<String> {
        self.store.life.fence().map(|fence| fence.gateway)
    }
}
