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
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use nix::fcntl::Flock;
use rand::Rng;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteRow, SqliteSynchronous};
use sqlx::{Row, Sqlite};

use crate::clock::Clock;
use crate::model::ClientCode;

mod absence;
mod alert;
mod backup;
mod care;
mod ceilings;
mod client;
mod consent;
mod enrolment;
mod in_hand;
mod journal;
mod keys;
mod life;
mod mailbox;
mod message;
mod meta;
mod outbox;
mod replay;
mod returned;
mod sealed_letters;
mod set_back;
mod turn;
mod vault;
mod verify;

pub use absence::{ABSENCES_CHANGED, Absence};
pub use alert::{Alert, NewAlert};
pub use backup::{beside, keep_aside, put_in_place, stage, unstage};
pub use care::{Before, Care};
pub use client::{Certificate, Client, NewClient};
pub use consent::{Consent, Wording};
pub use enrolment::{Enrolment, KeyOffer};
pub use journal::{JournalEntry, JournalFault, JournalHead, JournalReport, Savepoint};
pub use keys::THERAPIST_KEYS_CHANGED;
pub use mailbox::{Disposal, Original, Scan, Tries};
pub use message::Message;
pub use outbox::{Finish, NewOutbox, Outbox, OutboxFilter};
pub use sealed_letters::{LetterWords, PdfChannel};
pub use turn::Turn;
pub use vault::{Lookup, TOKEN_SIGNS, Unsealable, Vault};
pub use verify::Kept;

/// Why the store couldn't do what it was asked. No message carries content, names or addresses.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("`[database] url` must be `sqlite:` and a file's path")]
    Url,
    #[error("the file {path} can't be used: make its folder exist and writable for this user")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} is locked: another `cadre run` works on this database; stop it first")]
    Locked { path: PathBuf },
    #[error(
        "the database's tables couldn't be brought up to date: use the version of Cadre that wrote it, or a newer one"
    )]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
    #[error(
        "the record of client {code} was changed by something else than Cadre: nothing goes out for this client; compare it with a backup"
    )]
    Tampered { code: ClientCode },
    #[error("row {row} of table {table} was changed by something else than Cadre, or the record key is another one")]
    Corrupt { table: &'static str, row: i64 },
    #[error("the address belongs to another client already")]
    AddressTaken,
    #[error("the certificate belongs to another client already")]
    CertificateTaken,
    #[error("that day already has a reply for this client")]
    DayTaken,
    #[error("the client has an open turn already")]
    TurnOpen,
    #[error("no free code was found: too many are used")]
    CodesUsedUp,
    #[error("{path} is there already and is not overwritten: choose another name")]
    Exists { path: PathBuf },
    #[error(
        "{path} is no copy that `cadre backup` made (or SQLite left a log beside it, without which it isn't whole): name another one"
    )]
    NoDatabase { path: PathBuf },
    #[error("the file is damaged: take another copy")]
    Damaged,
    #[error("there is no row {row} in table {table}")]
    Missing { table: &'static str, row: i64 },
}

impl StoreError {
    /// Whether another process held the database for longer than the store waits (5 s).
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Db(sqlx::Error::Database(e)) => e.code().is_some_and(|c| primary_code(&c) == 5),
            Self::Db(sqlx::Error::PoolTimedOut) => true,
            _ => false,
        }
    }

    /// Whether the disk is full (or the file can't grow; also the shared memory beside the database).
    pub fn is_full(&self) -> bool {
        const SHARED_MEMORY_SIZE: &str = "4874";
        let full = |code: &str| primary_code(code) == 13 || code == SHARED_MEMORY_SIZE;
        matches!(self, Self::Db(sqlx::Error::Database(e)) if e.code().is_some_and(|c| full(&c)))
    }
}

/// SQLite's primary result code, which is the low byte of the extended one.
fn primary_code(code: &str) -> i32 {
    code.parse::<i32>().map_or(0, |c| c & 0xff)
}

/// Whether `error` is a violation of the unique index over that column or of that name.
fn is_unique(error: &sqlx::Error, what: &str) -> bool {
    matches!(error, sqlx::Error::Database(e) if e.is_unique_violation() && e.message().contains(what))
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    writer: SqlitePool,
    readers: SqlitePool,
    vault: Vault,
    path: PathBuf,
    head: PathBuf,
    last_id: AtomicI64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.0.path).finish_non_exhaustive()
    }
}

/// Held by the one `run` of a database; the lock ends with the value or the process.
#[derive(Debug)]
pub struct RunLock {
    _file: Flock<File>,
}

/// One transaction, for reading or writing. Dropped without [`Tx::commit`], it is rolled back.
pub struct Tx {
    conn: sqlx::Transaction<'static, Sqlite>,
    store: Arc<Inner>,
    chain: Option<journal::Chain>,
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
    /// Opens or creates the database (mode 0600) at a URL like `sqlite:cadre.db` (relative to the
    /// working directory), brings its tables up to date, and creates the journal's head file beside
    /// an empty journal.
    ///
    /// # Errors
    /// [`StoreError::Url`], [`StoreError::File`], [`StoreError::Migrate`], [`StoreError::Db`].
    pub async fn open(url: &str, vault: Vault, journal_head: &Path) -> Result<Self, StoreError> {
        let bare = url.strip_prefix("sqlite:").ok_or(StoreError::Url)?;
        if bare.is_empty() || bare.contains(":memory:") || bare.contains("mode=memory") {
            return Err(StoreError::Url);
        }
        let options = SqliteConnectOptions::from_str(url).map_err(|_| StoreError::Url)?;
        let path = options.get_filename().to_path_buf();
        // SQLite gives its -wal and -shm files the mode of the database.
        drop(private_file(&path)?);
        let options = options
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .pragma("secure_delete", "ON")
            .pragma("temp_store", "MEMORY")
            .pragma("journal_size_limit", "67108864")
            .statement_cache_capacity(256)
            .optimize_on_close(false, None);
        let writer = PoolOptions::<Sqlite>::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options.clone())
            .await?;
        sqlx::migrate!("./migrations").run(&writer).await?;
        let readers = PoolOptions::<Sqlite>::new()
            .max_connections(4)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        let store = Self(Arc::new(Inner {
            writer,
            readers,
            vault,
            path,
            head: journal_head.to_owned(),
            last_id: AtomicI64::new(0),
        }));
        store.start_head().await?;
        Ok(store)
    }

    /// Begins a transaction for writing (`BEGIN IMMEDIATE`); waits for the writer before it.
    ///
    /// # Errors
    /// [`StoreError::Db`]; see [`StoreError::is_busy`].
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let conn = self.0.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Tx { conn, store: Arc::clone(&self.0), chain: None })
    }

    /// Begins a consistent view for reading; writing in it fails.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn read(&self) -> Result<Tx, StoreError> {
        let conn = self.0.readers.begin().await?;
        Ok(Tx { conn, store: Arc::clone(&self.0), chain: None })
    }

    /// Takes the lock of `run` (`<database>.lock`), without waiting.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it.
    pub fn lock(&self) -> Result<RunLock, StoreError> {
        RunLock::take(&self.0.path)
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

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Waits for what is under way and closes the connections; the last one folds the write-ahead log in.
    pub async fn close(&self) {
        self.0.readers.close().await;
        self.0.writer.close().await;
    }
}

impl Tx {
    /// Makes it durable. Where it journalled, the head file is brought up to the journal afterwards;
    /// a head file that can't be written is logged, since the transaction stands by then.
    ///
    /// # Errors
    /// [`StoreError::Db`]: nothing of the transaction is stored.
    pub async fn commit(mut self) -> Result<(), StoreError> {
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
    row: &'r SqliteRow,
    vault: &'r Vault,
    table: &'static str,
    id: i64,
}

impl<'r> Reader<'r> {
    fn new(vault: &'r Vault, table: &'static str, row: &'r SqliteRow) -> Result<Self, StoreError> {
        let id = row.try_get("id")?;
        Ok(Self { row, vault, table, id })
    }

    fn corrupt(&self) -> StoreError {
        StoreError::Corrupt { table: self.table, row: self.id }
    }

    fn get<T>(&self, column: &str) -> Result<T, StoreError>
    where
        T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
    {
        Ok(self.row.try_get(column)?)
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
