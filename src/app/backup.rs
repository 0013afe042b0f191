//! `backup`: the database as it is now, as one SQLite file, whatever the database is.

use std::path::Path;

use super::context::Context;
use super::copying::{CopyError, Progress, copy_all};
use crate::store::{self, JournalHead, Store, StoreError, beside};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no copy was made; run `cadre backup` again")]
    Copy(#[from] CopyError),
}

/// A consistent copy in `to` (0600), on the disk when this returns; who writes meanwhile doesn't wait. `progress` hears of
/// the rows that come from a server. Returns the head of the copy's journal.
///
/// # Errors
/// [`BackupError`]: nothing is overwritten, and there is no copy.
pub async fn back_up(ctx: &Context, to: &Path, progress: impl Fn(Progress<'_>)) -> Result<JournalHead, BackupError> {
    let new = store::unfinished(to)?;
    let made = async {
        let head = match ctx.store.is_file() {
            true => ctx.store.copy_file(&new).await?,
            false => from_server(ctx, &new, &progress).await?,
        };
        store::name_copy(&new, to).await?;
        Ok(head)
    };
    let made = made.await;
    if made.is_err() {
        store::unstage(&new);
    }
    made
}

/// Every row of one view of the server's database, in a new file; each is compared there.
async fn from_server<P: Fn(Progress<'_>)>(ctx: &Context, new: &Path, progress: &P) -> Result<JournalHead, BackupError> {
    let copy = Store::open(&store::file_url(new), ctx.store.vault().clone(), &beside(new, ".head")).await?;
    let copied = async {
        let mut reading = ctx.store.read().await?;
        copy_all(&ctx.store, &mut reading, &copy, String::new(), progress).await
    };
    let copied = copied.await;
    copy.close().await;
    Ok(copied?.head)
}
