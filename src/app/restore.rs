//! `restore`: a copy of the database in the database's place, with everything that goes out frozen.
//!
//! The copy is looked at and changed beside the database first, and takes its place by one rename: a crash leaves one
//! or the other, and none that isn't frozen.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::{erasure, frozen};
use crate::config::{Config, SecretError};
use crate::failpoint::failpoint;
use crate::model::ClientCode;
use crate::store::{self, Erasure, JournalFault, JournalHead, RunLock, Store, StoreError, Vault, beside};

/// Why a copy wasn't put in the database's place; whatever it is, the database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(
        "copies of `cadre backup` are SQLite's, and `[database] url` is PostgreSQL's: restore with `pg_restore`, or a copy into an `sqlite:` url; nothing was changed"
    )]
    Server,
    #[error("the secret of `[keys] record` can't be read")]
    Secret(#[from] SecretError),
    #[error("the database can't be replaced; nothing was changed")]
    Store(#[from] StoreError),
    #[error("{file} can't be used; nothing was changed")]
    Copy {
        file: PathBuf,
        #[source]
        source: StoreError,
    },
    #[error(
        "there is a database already ({path}): `--replace` keeps it under another name and puts the copy in its place"
    )]
    Exists { path: PathBuf },
    #[error("nothing was ever written into {file}: it is no practice's database")]
    Empty { file: PathBuf },
    #[error(
        "the journal of {file} doesn't verify: it was made with another record key (`[keys] record`), or was changed; nothing was changed"
    )]
    Journal {
        file: PathBuf,
        #[source]
        source: JournalFault,
    },
}

/// What was put in place.
#[derive(Debug)]
pub struct Restored {
    /// The copy's journal, as it was in the copy.
    pub head: JournalHead,
    /// Mails that were put aside, because they may have left since the copy was made.
    pub held: u64,
    /// Where the database that was replaced is kept.
    pub kept: Option<PathBuf>,
    /// Clients who were erased since the copy was made: `run` erases them again.
    pub erased_again: Vec<ClientCode>,
}

/// Puts `from` in the place of the configured database, frozen until `queue resume`.
///
/// # Errors
/// [`RestoreError`].
pub async fn restore(
    config: &Config,
    from: &Path,
    replace: bool,
    now: DateTime<Utc>,
) -> Result<Restored, RestoreError> {
    let record = config.keys.record.record_key()?;
    let vault = Vault::new(&record);
    let database = config.database.file().ok_or(RestoreError::Server)?;
    let _lock = RunLock::take(database)?;
    let there = database.symlink_metadata().is_ok();
    if there && !replace {
        return Err(RestoreError::Exists { path: database.to_owned() });
    }
    let staged = beside(database, ".restoring");
    let done = async {
        store::stage(from, &staged).map_err(|source| RestoreError::Copy { file: from.to_owned(), source })?;
        // The copy doesn't know who was erased since.
        let erased = store::erasures_in(database, &vault).await;
        let (head, held, erased_again) = prepare(&staged, vault, from, &erased, now).await?;
        failpoint("restore-staged");
        let kept = beside(database, &format!(".before-restore-{}", now.format("%Y%m%dT%H%M%SZ")));
        store::keep_aside(database, &kept).await?;
        failpoint("restore-kept");
        store::put_in_place(&staged, database).await?;
        Ok(Restored { head, held, kept: there.then_some(kept), erased_again })
    };
    let done = done.await;
    if done.is_err() {
        store::unstage(&staged);
    }
    done
}

/// Brings the staged copy up to date, sees that it is whole and this practice's, and freezes it.
async fn prepare(
    staged: &Path,
    vault: Vault,
    from: &Path,
    erased: &[Erasure],
    now: DateTime<Utc>,
) -> Result<(JournalHead, u64, Vec<ClientCode>), RestoreError> {
    let bad = |source| RestoreError::Copy { file: from.to_owned(), source };
    // With a head file of its own: the real one stays the proof of how far the journal had come.
    let url = format!("sqlite:{}", staged.display());
    let store = Store::open(&url, vault, &beside(staged, ".head")).await.map_err(bad)?;
    let frozen = async {
        store.quick_check().await.map_err(bad)?;
        store.accept_journal().await.map_err(bad)?;
        let mut report = store.verify_journal(None).await.map_err(bad)?;
        if let Some(source) = report.faults.pop() {
            return Err(RestoreError::Journal { file: from.to_owned(), source });
        }
        if report.head.count == 0 {
            return Err(RestoreError::Empty { file: from.to_owned() });
        }
        let mut tx = store.begin().await?;
        let held = tx.hold_due(now).await?;
        frozen::freeze(&mut tx, held, now).await?;
        let again = erasure::again(&mut tx, erased, now).await?;
        tx.commit().await?;
        Ok((report.head, held, again))
    };
    let frozen = frozen.await;
    store.close().await;
    frozen
}
