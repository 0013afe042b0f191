//! Why the store couldn't do something, in words for people; what both databases call busy, full and taken.

use std::path::PathBuf;

use sqlx::postgres::PgDatabaseError;

use crate::model::ClientCode;

/// Why the store couldn't do what it was asked. No message carries content, names or addresses.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("`[database] url` must be `sqlite:` and a file's path")]
    Url,
    #[error(
        "`[database] url` is no URL of a PostgreSQL database: write `postgres://USER@HOST/DATABASE`, and the password into `password_file`"
    )]
    ServerUrl,
    #[error(
        "the schema {schema} can't be made in this PostgreSQL database: let its user create schemas, or make it (`CREATE SCHEMA {schema} AUTHORIZATION …`)"
    )]
    Schema {
        schema: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("the PostgreSQL database is encoded as {encoding}: make one with `ENCODING 'UTF8'`")]
    Encoding { encoding: String },
    #[error("another gateway took this one for dead and works in its place; nothing was changed")]
    Fenced,
    #[error(
        "a gateway works on this practice: stop it first, or wait 15 s where it was killed (`cadre status` shows it)"
    )]
    Held,
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
    #[error("`cadre migrate-store` hasn't finished filling this database: run that command again")]
    Unfinished,
    #[error("there is no row {row} in table {table}")]
    Missing { table: &'static str, row: i64 },
}

impl StoreError {
    /// Whether another process held the database for longer than the store waits (5 s), or a server isn't there now:
    /// the same may succeed later.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Db(sqlx::Error::Database(error)) => match (error.try_downcast_ref::<PgDatabaseError>(), error.code())
            {
                (Some(error), _) => passes(error.code()),
                (None, code) => code.is_some_and(|code| primary_code(&code) == SQLITE_BUSY),
            },
            Self::Db(sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed) => true,
            _ => false,
        }
    }

    /// Whether the disk is full (or the file can't grow; also the shared memory beside the database).
    pub fn is_full(&self) -> bool {
        const SHARED_MEMORY_SIZE: &str = "4874";
        match self {
            Self::Db(sqlx::Error::Database(error)) => match (error.try_downcast_ref::<PgDatabaseError>(), error.code())
            {
                // disk_full; the log has a disk of its own at some places, and then the server stops.
                (Some(error), _) => error.code() == "53100",
                (None, code) => {
                    code.is_some_and(|code| primary_code(&code) == SQLITE_FULL || code == SHARED_MEMORY_SIZE)
                }
            },
            _ => false,
        }
    }
}

const SQLITE_BUSY: i32 = 5;
const SQLITE_FULL: i32 = 13;

/// PostgreSQL's codes of what passes by itself: a lock that somebody had, a deadlock, a serialization failure, time
/// that ran out, too many connections, a server that stops, crashed or starts, a connection that broke.
fn passes(code: &str) -> bool {
    matches!(code, "55P03" | "40001" | "40P01" | "57014" | "53300" | "57P01" | "57P02" | "57P03" | "25P03")
        || code.starts_with("08")
}

/// SQLite's primary result code, which is the low byte of the extended one.
fn primary_code(code: &str) -> i32 {
    code.parse::<i32>().map_or(0, |c| c & 0xff)
}

/// Whether `error` is a violation of a unique index: SQLite names the column, PostgreSQL the index.
pub(super) fn is_unique(error: &sqlx::Error, column: &str, index: &str) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    error.is_unique_violation()
        && error.constraint().map_or_else(|| error.message().contains(column), |name| name == index)
}
