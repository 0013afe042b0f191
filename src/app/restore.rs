//! `restore`: a copy of the database in the database's place, with everything that goes out frozen.
//!
//! The copy is looked at and changed beside the database first, and takes its place by one rename, of the file or of the
//! server's schema: a crash leaves one or the other, and none that isn't frozen.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::context::StartError;
use super::copying::{CopyError, Progress, copy_all};
use super::{database, erasure, frozen};
use crate::config::{Config, SecretError};
use crate::failpoint::failpoint;
use crate::model::ClientCode;
use crate::store::{self, Erasure, JournalFault, JournalHead, RunLock, Store, StoreError, Vault, beside};

/// Why a copy wasn't put in the database's place; whatever it is, the database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
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
    #[error(
        "there is a practice in the schema {schema} already: `--replace` keeps it under another name and puts the copy in its place"
    )]
    Occupied { schema: String },
    #[error("the database that is there can't be opened; nothing was changed")]
    Open(#[from] StartError),
    #[error("the copy couldn't be put on the server; nothing was changed: run the same command again")]
    Copying(#[from] CopyError),
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
    /// What the database that was replaced is called now: a file, or a schema.
    pub kept: Option<String>,
    /// Clients who were erased since the copy was made: `run` erases them again.
    pub erased_again: Vec<ClientCode>,
}

/// Puts `from` in the place of the configured database, frozen until `queue resume`. `progress` hears of the rows that go
/// to a server.
///
/// # Errors
/// [`RestoreError`].
pub async fn restore(
    config: &Config,
    from: &Path,
    replace: bool,
    now: DateTime<Utc>,
    progress: impl Fn(Progress<'_>),
) -> Result<Restored, RestoreError> {
    let record = config.keys.record.record_key()?;
    let vault = Vault::new(&record);
    let staged = beside(config.database.file().unwrap_or(&config.database.journal_head), ".restoring");
    let copy = Copy { from, staged: &staged, vault, now };
    let done = match config.database.file() {
        Some(database) => copy.into_file(database, replace).await,
        None => copy.into_server(config, replace, &progress).await,
    };
    if done.is_err() {
        store::unstage(&staged);
    }
    done
}

/// The copy that is to be put in place.
struct Copy<'c> {
    from: &'c Path,
    /// Where it is looked at and changed first.
    staged: &'c Path,
    vault: Vault,
    now: DateTime<Utc>,
}

impl Copy<'_> {
    async fn into_file(self, database: &Path, replace: bool) -> Result<Restored, RestoreError> {
        let _lock = RunLock::take(database)?;
        let there = database.symlink_metadata().is_ok();
        if there && !replace {
            return Err(RestoreError::Exists { path: database.to_owned() });
        }
        let (store, head) = self.open().await?;
        // The copy doesn't know who was erased since.
        let erased = store::erasures_in(database, &self.vault).await;
        let frozen = self.freeze(&store, &erased).await;
        store.close().await;
        let (held, erased_again) = frozen?;
        failpoint("restore-staged");
        let kept = beside(database, &format!(".before-restore-{}", self.now.format("%Y%m%dT%H%M%SZ")));
        store::keep_aside(database, &kept).await?;
        failpoint("restore-kept");
        store::put_in_place(self.staged, database).await?;
        let kept = there.then(|| kept.display().to_string());
        Ok(Restored { head, held, kept, erased_again })
    }

    /// Into a schema beside the practice's first, which then takes its name.
    async fn into_server(
        self,
        config: &Config,
        replace: bool,
        progress: &impl Fn(Progress<'_>),
    ) -> Result<Restored, RestoreError> {
        // Before the server is asked: with another record key its schema would have another name.
        let (store, head) = self.open().await?;
        let done = self.onto_server(&store, config, replace, progress).await;
        store.close().await;
        let (kept, held, erased_again) = done?;
        store::unstage(self.staged);
        Ok(Restored { head, held, kept, erased_again })
    }

    async fn onto_server(
        &self,
        store: &Store,
        config: &Config,
        replace: bool,
        progress: &impl Fn(Progress<'_>),
    ) -> Result<(Option<String>, u64, Vec<ClientCode>), RestoreError> {
        let (server, known) = (database::server(config)?, database::open(config).await?);
        let found = async {
            let _rest = known.at_rest().await?;
            let mut tx = known.read().await?;
            Ok::<_, StoreError>((tx.journal_head().await?.count > 0, tx.erasures().await?))
        };
        let found = found.await;
        known.close().await;
        let (there, erased) = found?;
        if there && !replace {
            return Err(RestoreError::Occupied { schema: server.schema });
        }
        let (held, erased_again) = self.freeze(store, &erased).await?;
        failpoint("restore-staged");
        let place = server.restoring();
        // Of an earlier attempt that was cut off.
        place.drop_schema().await?;
        let own_head = beside(self.staged, ".moving");
        let target = Store::connect(&place, self.vault.clone(), &own_head).await?;
        let copied = async {
            let mut reading = store.begin().await?;
            copy_all(store, &mut reading, &target, String::new(), progress).await
        };
        let copied = copied.await;
        target.close().await;
        let _ = std::fs::remove_file(own_head);
        copied?;
        failpoint("restore-kept");
        Ok((server.put_in_place(there, self.now).await?, held, erased_again))
    }

    /// The staged copy, brought up to date, once it is seen to be whole and this practice's. With a head file of its own:
    /// the real one stays the proof of how far the journal had come.
    async fn open(&self) -> Result<(Store, JournalHead), RestoreError> {
        let bad = |source| RestoreError::Copy { file: self.from.to_owned(), source };
        store::stage(self.from, self.staged).map_err(bad)?;
        let head = beside(self.staged, ".head");
        let store = Store::open(&store::file_url(self.staged), self.vault.clone(), &head).await.map_err(bad)?;
        let looked = async {
            store.quick_check().await.map_err(bad)?;
            store.accept_journal().await.map_err(bad)?;
            let mut report = store.verify_journal(None).await.map_err(bad)?;
            match report.faults.pop() {
                Some(source) => Err(RestoreError::Journal { file: self.from.to_owned(), source }),
                None if report.head.count == 0 => Err(RestoreError::Empty { file: self.from.to_owned() }),
                None => Ok(report.head),
            }
        };
        match looked.await {
            Ok(head) => Ok((store, head)),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    /// Freezes what would go out of it, and orders again what was erased since it was made.
    async fn freeze(&self, store: &Store, erased: &[Erasure]) -> Result<(u64, Vec<ClientCode>), RestoreError> {
        let mut tx = store.begin().await?;
        tx.forget_gateways().await?;
        let held = tx.hold_due(self.now).await?;
        frozen::freeze(&mut tx, held, self.now).await?;
        let again = erasure::again(&mut tx, erased, self.now).await?;
        tx.commit().await?;
        Ok((held, again))
    }
}
