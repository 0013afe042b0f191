//! `migrate-store`: a whole practice from SQLite into PostgreSQL, or back.
//!
//! The source isn't changed: a transaction that writes nothing keeps every other writer out while its rows are read. The
//! target gets each batch together with how far it has come, so that a move that was killed goes on where it stopped; no
//! other command opens it until every row was compared.

use super::context::StartError;
use super::copying::{Copied, CopyError, Progress, copy_all};
use super::database;
use crate::config::{Config, DatabasePlace};
use crate::store::{JournalFault, RunLock, Store, StoreError, beside};

/// Why a practice wasn't moved; whatever it is, the source is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("a practice is moved from SQLite to PostgreSQL or back: name one `sqlite:` URL and one `postgres://` URL")]
    Kinds,
    #[error("there is no database {path}: name the file of the practice's database")]
    NoSource { path: std::path::PathBuf },
    #[error("the {which} database can't be opened")]
    Open {
        which: &'static str,
        #[source]
        source: Box<StartError>,
    },
    #[error("the source is in use: stop `cadre run` and every other `cadre` command on it, then run this again")]
    InUse(#[source] StoreError),
    #[error("the source can't be moved as it is")]
    Source(#[source] StoreError),
    #[error("nothing was ever written into the source: it is no practice's database")]
    Empty,
    #[error(
        "the source's journal doesn't verify: it was made with another record key (`[keys] record`), or was changed; look at it with `cadre journal verify` first"
    )]
    Journal(#[source] JournalFault),
    #[error(
        "the target isn't empty (table {table}): name an empty schema (`--schema`) or a file that isn't there; nothing was changed"
    )]
    NotEmpty { table: String },
    #[error(
        "the target has a part of another database, or the source was used since the move began: empty the target (drop its schema, or remove its file) and run this again"
    )]
    OtherSource,
    #[error("the move stopped; the source is as it was: run the same command again, and it goes on where it stopped")]
    Stopped(#[from] StoreError),
    #[error(
        "table {table} isn't the same in both databases: the source was used since the move began, or something else wrote into the target; empty the target (drop its schema, or remove its file) and run this again"
    )]
    Differs { table: String },
    #[error(
        "the journal in the target doesn't verify: empty the target (drop its schema, or remove its file) and run this again"
    )]
    JournalDiffers,
}

impl From<CopyError> for MoveError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Store(error) => Self::Stopped(error),
            CopyError::NotEmpty { table } => Self::NotEmpty { table },
            CopyError::OtherSource => Self::OtherSource,
            CopyError::Differs { table } => Self::Differs { table },
            CopyError::JournalDiffers => Self::JournalDiffers,
        }
    }
}

/// Copies everything of `from` into `to` and compares it. Nothing else writes into the source meanwhile.
///
/// # Errors
/// [`MoveError`].
pub async fn migrate_store(
    config: &Config,
    from: &DatabasePlace,
    to: &DatabasePlace,
    progress: impl Fn(Progress<'_>),
) -> Result<Copied, MoveError> {
    let (from_file, to_file) = (from.file(), to.file());
    if from_file.is_some() == to_file.is_some() {
        return Err(MoveError::Kinds);
    }
    if let Some(path) = from_file.filter(|path| !path.exists()) {
        return Err(MoveError::NoSource { path: path.to_owned() });
    }
    let lock = |file: Option<&std::path::Path>| file.map(RunLock::take).transpose();
    let _source_lock = lock(from_file).map_err(MoveError::InUse)?;
    let _target_lock = lock(to_file)?;
    let head_file = &config.database.journal_head;
    let opened = |which| move |source| MoveError::Open { which, source: Box::new(source) };
    let source = database::at(config, from, head_file).await.map_err(opened("source"))?;
    // A head file of the target's own while it is filled: the real one is the source's proof.
    let own_head = beside(head_file, ".moving");
    let target = match database::at(config, to, &own_head).await {
        Ok(target) => target,
        Err(error) => {
            source.close().await;
            return Err(opened("target")(error));
        }
    };
    let moved = carry_out(&source, &target, &progress).await;
    target.close().await;
    source.close().await;
    let _ = std::fs::remove_file(own_head);
    moved
}

async fn carry_out<P: Fn(Progress<'_>)>(source: &Store, target: &Store, progress: &P) -> Result<Copied, MoveError> {
    // Held to the end: whoever else wants to write waits, and is told that the database is busy.
    let busy = |error: StoreError| if error.is_busy() { MoveError::InUse(error) } else { error.into() };
    let mut reading = source.begin().await.map_err(busy)?;
    source.is_complete().await.map_err(MoveError::Source)?;
    let mut report = source.verify_journal(None).await?;
    if let Some(fault) = report.faults.pop() {
        return Err(MoveError::Journal(fault));
    }
    if report.head.count == 0 {
        return Err(MoveError::Empty);
    }
    let head = format!("{}:{}", report.head.count, report.head.hex());
    let moved = copy_all(source, &mut reading, target, head, progress).await?;
    // The chain in the target is whole, and is the source's.
    if (moved.head.count, moved.head.hex()) == (report.head.count, report.head.hex()) {
        Ok(moved)
    } else {
        Err(MoveError::JournalDiffers)
    }
}
