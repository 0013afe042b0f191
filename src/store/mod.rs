//! The database: one file a table family; transactions.
//!
//! Everything goes through a [`Tx`]: [`Store::begin`] for writing (one writer at a time, in this
//! process and beside others), [`Store::read`] for a consistent view. A `Tx` that is dropped is
//! rolled back. What names a person is sealed by the [`Vault`]; bodies are ciphertext when they get here.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, NaiveDate, Utc};
use nix::fcntl::Flock;
use rand::Rng;

use engine::Engine;
use error::is_unique;
use sql::{Column, Conn, Row};

use crate::clock::Clock;

mod absence;
mod alert;
mod backup;
mod blob;
mod breach;
mod care;
mod ceilings;
mod census;
mod client;
mod consent;
mod data_key;
mod engine;
mod enrolment;
mod erasure;
mod error;
mod figures;
mod in_hand;
mod journal;
mod key_expiry;
mod keys;
mod large;
mod lease;
mod legal_hold;
mod life;
mod mailbox;
mod memory;
mod message;
mod meta;
mod moving;
mod outbox;
mod replay;
mod returned;
mod schema;
mod sealed_letters;
mod set_back;
mod sql;
mod traces;
mod turn;
mod vault;
mod verify;

pub use absence::{ABSENCES_CHANGED, Absence};
pub use alert::{Alert, NewAlert};
pub use backup::{beside, file_url, keep_aside, name_copy, put_in_place, stage, unfinished, unstage};
pub use breach::Rested;
pub use care::{Before, Care};
pub use census::Page;
pub use client::{Certificate, Client, NewClient};
pub use consent::{Consent, Wording};
pub use engine::Server;
pub use enrolment::{Enrolment, KeyOffer};
pub use erasure::{ErasedCounts, Erasure, erasures_in};
pub use error::StoreError;
pub use figures::Figures;
pub use journal::{JournalEntry, JournalFault, JournalHead, JournalReport, Savepoint};
pub use keys::THERAPIST_KEYS_CHANGED;
pub use lease::GatewayLife;
pub use mailbox::{Disposal, Original, Scan, Tries};
pub use message::Message;
pub use moving::{Shape, Sum, Underway};
pub use outbox::{Finish, NewOutbox, Outbox, OutboxFilter};
pub use sealed_letters::{LetterWords, PdfChannel};
pub use turn::Turn;
pub use vault::{Lookup, TOKEN_SIGNS, Unsealable, Vault};
pub use verify::Kept;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    engine: Engine,
    vault: Vault,
    head: PathBuf,
    last_id: AtomicI64,
    life: lease::Life,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

/// Held by the one `run` of a database; the lock ends with the value or the process.
#[derive(Debug)]
pub struct RunLock {
    _file: Option<Flock<File>>,
}

/// One transaction, for reading or writing. Dropped without [`Tx::commit`], it is rolled back.
pub struct Tx {
    conn: Conn,
    store: Arc<Inner>,
    chain: Option<journal::Chain>,
    memory: memory::Memory,
}

fn private_file(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| StoreError::File { path: path.to_owned(), source })
}

impl Store {
    /// Opens or creates the SQLite database (mode 0600) at a URL like `sqlite:cadre.db` (relative to the
    /// working directory), brings its tables up to date, and creates the journal's head file beside
    /// an empty journal.
    ///
    /// # Errors
    /// [`StoreError::Url`], [`StoreError::File`], [`StoreError::Migrate`], [`StoreError::Db`].
    pub async fn open(url: &str, vault: Vault, journal_head: &Path) -> Result<Self, StoreError> {
        Self::with(Engine::lite(url).await?, vault, journal_head).await
    }

    /// Opens a practice's schema of a PostgreSQL database, makes it where it is missing, brings its tables up to date,
    /// and creates the journal's head file where this host has none.
    ///
    /// # Errors
    /// [`StoreError::ServerUrl`], [`StoreError::Schema`], [`StoreError::Migrate`], [`StoreError::Db`].
    pub async fn connect(server: &Server, vault: Vault, journal_head: &Path) -> Result<Self, StoreError> {
        Self::with(Engine::pg(server).await?, vault, journal_head).await
    }

    async fn with(engine: Engine, vault: Vault, journal_head: &Path) -> Result<Self, StoreError> {
        let inner = Inner {
            engine,
            vault,
            head: journal_head.to_owned(),
            last_id: AtomicI64::new(0),
            life: lease::Life::default(),
        };
        let store = Self(Arc::new(inner));
        store.start_head().await?;
        Ok(store)
    }

    /// Begins a transaction for writing; waits for the writer before it, also for another process's.
    ///
    /// # Errors
    /// [`StoreError::Db`]; see [`StoreError::is_busy`]. [`StoreError::Fenced`]: this gateway was taken for dead.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let conn = self.0.engine.begin().await?;
        let mut tx = self.transaction(conn);
        self.0.life.check(&mut tx).await?;
        Ok(tx)
    }

    /// Begins a consistent view for reading; writing in it fails.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn read(&self) -> Result<Tx, StoreError> {
        let conn = self.0.engine.read().await?;
        Ok(self.transaction(conn))
    }

    fn transaction(&self, conn: Conn) -> Tx {
        Tx { conn, store: Arc::clone(&self.0), chain: None, memory: memory::Memory::default() }
    }

    /// Takes the lock of `run` (`<database>.lock`), without waiting.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it.
    pub fn lock(&self) -> Result<RunLock, StoreError> {
        match &self.0.engine {
            Engine::Lite { path, .. } => RunLock::take(path),
            Engine::Pg { .. } => Ok(RunLock { _file: None }),
        }
    }

    /// A new row's id: milliseconds since 2020 above 22 random bits, rising within the process.
    /// Made before the INSERT, so that sealed values can be bound to their row. Positive, 60 bits:
    /// too long for a JavaScript number, so show it as text. Order rows by their times, not by ids.
    pub fn new_id(&self) -> i64 {
        let ms = Clock::System.now().timestamp_millis();
        let random = rand::rng().next_u32();
        let step = |last| Some(next_id(last, ms, random));
        let last = self.0.last_id.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step).unwrap_or_else(|last| last);
        next_id(last, ms, random)
    }

    /// The vault that this store seals with.
    pub fn vault(&self) -> &Vault {
        &self.0.vault
    }

    /// Waits for what is under way and closes the connections; SQLite's last one folds the write-ahead log in.
    pub async fn close(&self) {
        self.0.engine.close().await;
    }
}

impl Tx {
    /// Makes it durable. Where it journalled, the head file is brought up to the journal afterwards;
    /// a head file that can't be written is logged, since the transaction stands by then.
    ///
    /// # Errors
    /// [`StoreError::Db`]: nothing of the transaction is stored.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.write_counts().await?;
        let Some(chain) = self.chain.take().filter(journal::Chain::grew) else {
            return Ok(self.conn.commit().await?);
        };
        let head = self.lock_head(&chain).await?;
        self.conn.commit().await?;
        if let Some(head) = head {
            head.advance(chain.now());
        }
        Ok(())
    }

    fn vault(&self) -> &Vault {
        &self.store.vault
    }

    fn new_id(&self) -> i64 {
        Store(Arc::clone(&self.store)).new_id()
    }
}

/// The id after `last`: by the clock where it has gone on, else one more.
fn next_id(last: i64, unix_ms: i64, random: u32) -> i64 {
    const EPOCH_2020: i64 = 1_577_836_800_000;
    let ms = (unix_ms - EPOCH_2020).max(1);
    ((ms << 22) | i64::from(random >> 10)).max(last + 1)
}

fn micros(at: DateTime<Utc>) -> i64 {
    at.timestamp_micros()
}

fn micros_opt(at: Option<DateTime<Utc>>) -> Option<i64> {
    at.map(micros)
}

/// A column's time; `Corrupt` where it is beyond chrono's years.
fn time(table: &'static str, row: i64, value: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_micros(value).ok_or(StoreError::Corrupt { table, row })
}

/// Reads the columns of one row of one table, turning what can't be into [`StoreError::Corrupt`].
struct Reader<'r> {
    row: &'r Row,
    vault: &'r Vault,
    table: &'static str,
    id: i64,
}

impl<'r> Reader<'r> {
    fn new(vault: &'r Vault, table: &'static str, row: &'r Row) -> Result<Self, StoreError> {
        let id = row.get("id")?;
        Ok(Self { row, vault, table, id })
    }

    fn corrupt(&self) -> StoreError {
        StoreError::Corrupt { table: self.table, row: self.id }
    }

    fn get<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: Column<'r>,
    {
        Ok(self.row.get(column)?)
    }

    fn word<T: FromStr>(&self, column: &str) -> Result<T, StoreError> {
        self.get::<&str>(column)?.parse().map_err(|_| self.corrupt())
    }

    fn word_opt<T: FromStr>(&self, column: &str) -> Result<Option<T>, StoreError> {
        self.get::<Option<&str>>(column)?.map(|w| w.parse().map_err(|_| self.corrupt())).transpose()
    }

    fn time(&self, column: &str) -> Result<DateTime<Utc>, StoreError> {
        time(self.table, self.id, self.get(column)?)
    }

    fn time_opt(&self, column: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.get::<Option<i64>>(column)?.map(|t| time(self.table, self.id, t)).transpose()
    }

    fn day_opt(&self, column: &str) -> Result<Option<NaiveDate>, StoreError> {
        self.word_opt(column)
    }

    fn count<T: TryFrom<i64>>(&self, column: &str) -> Result<T, StoreError> {
        T::try_from(self.get::<i64>(column)?).map_err(|_| self.corrupt())
    }

    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let sealed = self.get::<Option<&[u8]>>(column)?;
        sealed.map(|s| self.vault.unseal(self.table, self.id, column, s).map_err(|_| self.corrupt())).transpose()
    }

    fn text(&self, column: &str) -> Result<Option<String>, StoreError> {
        self.bytes(column)?.map(|b| String::from_utf8(b).map_err(|_| self.corrupt())).transpose()
    }
}

/// Parts of a row's MAC, which keep `NULL` apart from empty.
#[derive(Default)]
struct MacParts(Vec<u8>);

impl MacParts {
    fn add(&mut self, part: Option<&[u8]>) -> &mut Self {
        match part {
            None => self.0.push(0),
            Some(bytes) => {
                self.0.push(1);
                self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
                self.0.extend_from_slice(bytes);
            }
        }
        self
    }

    fn text(&mut self, part: &str) -> &mut Self {
        self.add(Some(part.as_bytes()))
    }

    fn int(&mut self, part: Option<i64>) -> &mut Self {
        self.add(part.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice))
    }

    fn mac(&self, vault: &Vault, table: &str) -> [u8; 32] {
        vault.row_mac(table, &[&self.0])
    }
}

#[cfg(test)]
mod tests;
