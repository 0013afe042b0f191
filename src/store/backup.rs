//! Whole copies of the database: made while it is in use, looked at, and put in its place.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use nix::fcntl::{Flock, FlockArg};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::engine::Engine;
use super::journal::stored_head;
use super::sql::{self, Row};
use super::{JournalHead, RunLock, Store, StoreError, Tx, micros, private_file};

/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The path with this after its name: `cadre.db` and `-wal` give `cadre.db-wal`.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(end);
    PathBuf::from(name)
}

/// The URL of a SQLite file, whatever signs are in its path.
pub fn file_url(path: &Path) -> String {
    format!("sqlite:{}", path.display().to_string().replace('%', "%25").replace('?', "%3F"))
}

fn unusable(path: &Path) -> impl Fn(std::io::Error) -> StoreError + '_ {
    |source| StoreError::File { path: path.to_owned(), source }
}

/// Makes what was done in a file's folder (a new name, a rename) outlast a power cut.
fn sync_folder(of: &Path) -> Result<(), StoreError> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unusable(folder))
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Gives a finished file its name, unless the name is taken. Not every file system of a USB stick has hard links.
fn name_it(file: &Path, name: &Path) -> Result<(), StoreError> {
    match fs::hard_link(file, name) {
        Ok(()) => fs::remove_file(file).map_err(unusable(file))?,
        Err(_) if is_there(name) => return Err(StoreError::Exists { path: name.to_owned() }),
        Err(_) => fs::rename(file, name).map_err(unusable(name))?,
    }
    sync_folder(name)
}

impl RunLock {
    /// Takes the lock of `run` (`<database>.lock`), without waiting; the database itself isn't touched.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it.
    pub fn take(database: &Path) -> Result<Self, StoreError> {
        let path = beside(database, ".lock");
        let file = private_file(&path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Self { _file: Some(file) }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(StoreError::Locked { path }),
            Err((_, errno)) => Err(StoreError::File { path, source: errno.into() }),
        }
    }
}

/// Where a copy is made, before it has its name. Absolute, so that SQLite takes no file's name for a URI.
///
/// # Errors
/// [`StoreError::Exists`]: nothing is overwritten. [`StoreError::File`].
pub fn unfinished(to: &Path) -> Result<PathBuf, StoreError> {
    if is_there(to) {
        return Err(StoreError::Exists { path: to.to_owned() });
    }
    let new = beside(&std::path::absolute(to).map_err(unusable(to))?, ".unfinished");
    // Of an earlier attempt that was cut off.
    unstage(&new);
    Ok(new)
}

/// Gives a copy that nobody uses any more its name, once it is one whole file on the disk.
///
/// # Errors
/// [`StoreError::Exists`], [`StoreError::File`], [`StoreError::Db`]; [`StoreError::Damaged`]: its log can't be folded in.
pub async fn name_copy(new: &Path, to: &Path) -> Result<(), StoreError> {
    let mut conn = SqliteConnectOptions::new().filename(new).create_if_missing(false).connect().await?;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode = DELETE").fetch_one(&mut conn).await?;
    sqlx::Connection::close(conn).await?;
    if mode != "delete" {
        return Err(StoreError::Damaged);
    }
    File::open(new).and_then(|file| file.sync_all()).map_err(unusable(new))?;
    name_it(new, to)?;
    unstage(new);
    Ok(())
}

impl Store {
    /// A consistent copy of the file as it is now, of mode 0600; who writes meanwhile doesn't wait. Returns the head of
    /// the copy's journal.
    ///
    /// # Errors
    /// [`StoreError::File`], [`StoreError::Db`], [`StoreError::Damaged`]; [`StoreError::Url`] where it is no file.
    pub async fn copy_file(&self, new: &Path) -> Result<JournalHead, StoreError> {
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new).map_err(unusable(new))?;
        let name = new.to_str().ok_or(StoreError::Url)?;
        let Engine::Lite { writer, .. } = &self.0.engine else { return Err(StoreError::Url) };
        let mut conn = writer.acquire().await?;
        sqlx::query("VACUUM INTO $1").bind(name).execute(&mut *conn).await?;
        drop(conn);
        created.sync_all().map_err(unusable(new))?;
        // Read again: what a bad disk made of it is found today and not on the day that it is needed.
        let mut copy = SqliteConnectOptions::new().filename(new).read_only(true).connect().await?;
        checked(sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut copy).await?)?;
        let last = sqlx::query("SELECT seq, mac FROM journal ORDER BY seq DESC LIMIT 1");
        let last = last.fetch_optional(&mut copy).await?;
        last.map_or_else(|| Ok(JournalHead::genesis(&self.0.vault)), |row| stored_head(&Row::Lite(row)))
    }

    /// SQLite's own check of the file; PostgreSQL has none that a client can ask for.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Db`].
    pub async fn quick_check(&self) -> Result<(), StoreError> {
        let mut tx = self.read().await?;
        if self.0.engine.file().is_none() {
            return Ok(());
        }
        checked(sql::scalar::<String>("PRAGMA quick_check(1)").fetch_one(&mut tx.conn).await?)
    }
}

fn checked(word: String) -> Result<(), StoreError> {
    if word == "ok" { Ok(()) } else { Err(StoreError::Damaged) }
}

impl Tx {
    /// Puts every mail aside that was due by `now`, or was tried: from a copy nobody can tell whether it has left since.
    /// How many.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn hold_due(&mut self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let sql = "UPDATE outbox SET state = 'held' WHERE state IN ('waiting', 'leaving') \
                   AND (not_before <= $1 OR attempts > 0) AND kind <> 'health-alarm'";
        Ok(sql::query(sql).bind(micros(now)).execute(&mut self.conn).await?.rows_affected())
    }
}

/// A copy of `from` (mode 0600) beside the database, to be looked at and changed before it takes the database's place.
///
/// # Errors
/// [`StoreError::NoDatabase`], also where SQLite left a log beside `from`, which then isn't all of it;
/// [`StoreError::File`].
pub fn stage(from: &Path, staged: &Path) -> Result<(), StoreError> {
    unstage(staged);
    let no_database = || StoreError::NoDatabase { path: from.to_owned() };
    let left = |end| fs::metadata(beside(from, end)).is_ok_and(|facts| facts.len() > 0);
    if left("-wal") || left("-journal") {
        return Err(no_database());
    }
    let mut source = File::open(from).map_err(unusable(from))?;
    let mut first = [0_u8; MAGIC.len()];
    source.read_exact(&mut first).map_err(|_| no_database())?;
    if first != *MAGIC {
        return Err(no_database());
    }
    let mut copy =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(staged).map_err(unusable(staged))?;
    let copied = std::io::copy(&mut first.as_slice().chain(source), &mut copy).and_then(|_| copy.sync_all());
    copied.map_err(unusable(staged))
}

/// Takes away what [`stage`] made, and what SQLite made beside it.
pub fn unstage(staged: &Path) {
    for end in ["", "-wal", "-shm", "-journal", ".head"] {
        let _ = fs::remove_file(beside(staged, end));
    }
}

/// Keeps the database that is to be replaced under another name, as one file where it can still be read.
///
/// # Errors
/// [`StoreError::Exists`], [`StoreError::File`].
pub async fn keep_aside(database: &Path, kept: &Path) -> Result<(), StoreError> {
    if is_there(kept) {
        return Err(StoreError::Exists { path: kept.to_owned() });
    }
    if is_there(database) {
        fold(database).await;
    }
    // A log that stayed would be taken for the new database's own.
    for end in ["-wal", "-journal"] {
        let log = beside(database, end);
        if is_there(&log) {
            fs::rename(&log, beside(kept, end)).map_err(unusable(&log))?;
        }
    }
    let _ = fs::remove_file(beside(database, "-shm"));
    // A second name and not another one: at no instant is there no database, in whose place an empty one could be made.
    if is_there(database) && fs::hard_link(database, kept).is_err() {
        fs::rename(database, kept).map_err(unusable(kept))?;
    }
    sync_folder(database)
}

/// Folds a database's log into it; one that is broken stays as it is.
async fn fold(database: &Path) {
    let Ok(options) = SqliteConnectOptions::from_str("sqlite:") else { return };
    let Ok(mut conn) = options.filename(database).create_if_missing(false).connect().await else { return };
    let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await;
    let _ = sqlx::Connection::close(conn).await;
}

/// Puts the staged copy in the database's place, by one rename.
///
/// # Errors
/// [`StoreError::File`], [`StoreError::Damaged`]: the database is as it was.
pub async fn put_in_place(staged: &Path, database: &Path) -> Result<(), StoreError> {
    // A pool that closes doesn't say which connection was the last: one that only reads leaves the log.
    fold(staged).await;
    let logged = fs::metadata(beside(staged, "-wal")).is_ok_and(|facts| facts.len() > 0);
    if logged {
        return Err(StoreError::Damaged);
    }
    File::open(staged).and_then(|file| file.sync_all()).map_err(unusable(staged))?;
    fs::rename(staged, database).map_err(unusable(database))?;
    unstage(staged);
    sync_folder(database)
}
