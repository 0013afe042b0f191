//! The two databases: how each is opened, how a transaction begins, what each does for durability.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPool, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, Postgres, Sqlite};

use super::sql::{Conn, Link};
use super::{StoreError, private_file};
use crate::secret::Password;

/// A practice's place in a PostgreSQL database.
pub struct Server {
    /// `postgres://USER@HOST/DATABASE`, without a password.
    pub url: String,
    pub password: Option<Password>,
    /// The schema that has this practice's tables, and no other's.
    pub schema: String,
}

/// The connections: one that writes, some that read.
pub(super) enum Engine {
    Lite { writer: SqlitePool, readers: SqlitePool, path: PathBuf },
    Pg { writer: PgPool, readers: PgPool, beats: PgPool, turn: i64 },
}

/// What every PostgreSQL session is told, whatever the server's own settings are.
const SESSION: [(&str, &str); 7] = [
    // A commit is on the server's disk when it is acknowledged.
    ("synchronous_commit", "on"),
    ("statement_timeout", "60s"),
    ("client_min_messages", "warning"),
    // A host that vanished gives its locks back.
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10s"),
];

/// What a session that writes is told besides. Nobody waits longer for the writer than with SQLite, nor for one that
/// was stopped in the midst of its transaction.
const WRITER: [(&str, &str); 2] = [("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "10s")];

/// How long one waits for a connection, a server that doesn't answer included.
const ACQUIRE: Duration = Duration::from_secs(10);

/// Whether a session of PostgreSQL's may still see what the transaction deleted that last wrote this erasure: then
/// `VACUUM` would keep it.
const STILL_READ: &str = "SELECT EXISTS (SELECT 1 FROM erasure e, pg_stat_activity a WHERE e.code = $1 \
                          AND a.pid <> pg_backend_pid() AND (a.datname = current_database() OR a.datname IS NULL) \
                          AND greatest(age(a.backend_xmin), age(a.backend_xid)) >= age(e.xmin))";
/// How long such a session is waited for, and how often looked at.
const READ_WITHIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// What a session that writes is told.
pub(super) fn writing() -> impl Iterator<Item = (&'static str, &'static str)> {
    SESSION.into_iter().chain(WRITER)
}

impl Engine {
    pub(super) async fn lite(url: &str) -> Result<Self, StoreError> {
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
            .pragma("wal_autocheckpoint", "4000")
            .optimize_on_close(false, None)
            .disable_statement_logging();
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
        Ok(Self::Lite { writer, readers, path })
    }

    pub(super) async fn pg(server: &Server) -> Result<Self, StoreError> {
        let options = options(server)?;
        prepare(&options, &server.schema).await?;
        let one = || PoolOptions::<Postgres>::new().max_connections(1).acquire_timeout(ACQUIRE);
        let writer = one().connect_with(options.clone().options(writing())).await?;
        // A gateway's sign of life waits for no work of its own.
        let beats = one().connect_lazy_with(options.clone().options(writing()));
        let readers = PoolOptions::<Postgres>::new().max_connections(4).acquire_timeout(ACQUIRE);
        let readers = readers.connect_with(options.options(SESSION)).await?;
        let turn = sqlx::query_scalar("SELECT hashtextextended('cadre writes ' || $1, 0)")
            .bind(&server.schema)
            .fetch_one(&readers)
            .await?;
        Ok(Self::Pg { writer, readers, beats, turn })
    }

    /// A transaction for writing, alone with it in this database (SQLite) or schema (PostgreSQL): a lock that ends with
    /// the transaction. Every later statement sees what was committed before the lock was had.
    pub(super) async fn begin(&self) -> Result<Conn, sqlx::Error> {
        match self {
            Self::Lite { writer, .. } => writer.begin_with("BEGIN IMMEDIATE").await.map(|tx| Link::Lite(tx).into()),
            Self::Pg { writer, turn, .. } => {
                let mut tx = writer.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
                sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(turn).execute(&mut *tx).await?;
                Ok(Link::Pg(tx).into())
            }
        }
    }

    /// A transaction beside the writer's, for a gateway's sign of life.
    pub(super) async fn beat(&self) -> Result<Conn, sqlx::Error> {
        match self {
            Self::Lite { .. } => self.begin().await,
            Self::Pg { beats, .. } => {
                beats.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await.map(|tx| Link::Pg(tx).into())
            }
        }
    }

    /// One view of the whole database, for reading.
    pub(super) async fn read(&self) -> Result<Conn, sqlx::Error> {
        match self {
            Self::Lite { readers, .. } => readers.begin().await.map(|tx| Link::Lite(tx).into()),
            Self::Pg { readers, .. } => readers
                .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                .await
                .map(|tx| Link::Pg(tx).into()),
        }
    }

    /// Takes away what the rows of an erased client leave on disk. SQLite: the write-ahead log is folded into the
    /// database and cut to nothing (the pages themselves were overwritten). PostgreSQL: the table of clients' keys is
    /// written anew without the dead ones; its own log and what of other rows it hasn't reused yet are its server's
    /// affair. `false`: somebody still reads what was there before.
    pub(super) async fn forget_deleted(&self, code: &str) -> Result<bool, StoreError> {
        let writer = match self {
            Self::Lite { writer, .. } => {
                let busy: i64 = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(writer).await?;
                return Ok(busy == 0);
            }
            Self::Pg { writer, .. } => writer,
        };
        let began = Instant::now();
        while sqlx::query_scalar(STILL_READ).bind(code).fetch_one(writer).await? {
            if began.elapsed() > READ_WITHIN {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
        match sqlx::query("VACUUM (FULL) data_key").execute(writer).await.map_err(StoreError::from) {
            Ok(_) => Ok(true),
            Err(error) if error.is_busy() => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Lite { writer, readers, .. } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Pg { writer, readers, beats, .. } => {
                readers.close().await;
                beats.close().await;
                writer.close().await;
            }
        }
    }

    /// The SQLite file.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Lite { path, .. } => Some(path),
            Self::Pg { .. } => None,
        }
    }
}

/// How the server is reached, its identity proven unless it is this machine or the URL says otherwise.
pub(super) fn options(server: &Server) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(&server.url).map_err(|_| StoreError::ServerUrl)?;
    let host = options.get_host();
    let here = options.get_socket().is_some()
        || host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let options =
        if here || server.url.contains("sslmode=") { options } else { options.ssl_mode(PgSslMode::VerifyFull) };
    let options = match &server.password {
        Some(password) => options.password(password.reveal()),
        None => options,
    };
    let search_path = [("search_path", server.schema.as_str())];
    Ok(options.application_name("cadre").statement_cache_capacity(256).options(search_path).disable_statement_logging())
}

/// Makes the schema where it is missing, and its tables those of this version. Those who start together take turns.
async fn prepare(options: &PgConnectOptions, schema: &str) -> Result<(), StoreError> {
    let mut conn = options.connect().await?;
    let encoding: String = sqlx::query_scalar("SHOW server_encoding").fetch_one(&mut conn).await?;
    if encoding != "UTF8" {
        return Err(StoreError::Encoding { encoding });
    }
    let durable: String = sqlx::query_scalar("SHOW fsync").fetch_one(&mut conn).await?;
    if durable != "on" {
        tracing::warn!("this PostgreSQL server runs with fsync = off: a power cut can lose mail that was acknowledged");
    }
    make_schema(&mut conn, schema).await.map_err(|source| StoreError::Schema { schema: schema.to_owned(), source })?;
    sqlx::migrate!("./migrations/postgres").run_direct(&mut conn).await?;
    conn.close().await?;
    Ok(())
}

async fn make_schema(conn: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    let there = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";
    if sqlx::query_scalar::<_, bool>(there).bind(schema).fetch_one(&mut *conn).await? {
        return Ok(());
    }
    let mut tx = conn.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('cadre makes a schema', 0))").execute(&mut *tx).await?;
    // The name has letters, digits and `_` only: the configuration's reader sees to it.
    tx.execute(format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"").as_str()).await?;
    tx.commit().await
}
