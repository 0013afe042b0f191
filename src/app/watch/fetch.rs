//! Fetching ahead of the cryptography, and in between the touching of originals whose letters are committed.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Notify, Semaphore, mpsc};

use super::super::AppError;
use super::super::context::Context;
use super::super::filing::finish;
use super::super::prepare::Arrived;
use crate::failpoint::failpoint;
use crate::net::{Entry, ImapSession, WhyMissing, batches};
use crate::secret::Plaintext;

/// So many are committed when their originals are touched.
const TOUCHED_TOGETHER: usize = 512;
/// But never more than so many are left untouched, whatever is fetched.
const TOUCHED_AT_MOST: usize = 2048;
/// Bytes fetched with one command, and so the most that waits in memory ahead of the cryptography.
const FETCH_BYTES: u64 = 8 << 20;
const FETCH_COUNT: usize = 64;
/// Raw messages in memory at one time, fetched and not yet committed, in KiB.
///
/// Each is in memory several times while it is opened and sealed, so this bounds that too: of the largest letters one is
/// under way, of the small ones as many as there are cores for.
pub(super) const IN_FLIGHT_KIB: u32 = 24 << 10;
/// Small messages that wait ahead of the cryptography.
pub(super) const AHEAD: usize = 1024;

/// A message that was fetched, or why it can't be.
pub(super) enum Item {
    Whole(Arrived),
    /// Over the size limit: only its header block was fetched.
    TooLarge {
        place: Arrived,
        size: u64,
    },
    /// The server can't give it to us.
    Unfetchable(Arrived),
}

impl Item {
    pub(super) fn place(&self) -> &Arrived {
        match self {
            Self::Whole(arrived) | Self::Unfetchable(arrived) | Self::TooLarge { place: arrived, .. } => arrived,
        }
    }
}

/// What a channel brings, as a stream.
pub(super) fn stream_of<T>(receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> {
    futures::stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|item| (item, receiver)))
}

/// How far the commits have come.
#[derive(Default)]
pub(super) struct Progress {
    committed: Cell<usize>,
    over: Cell<bool>,
    news: Notify,
}

impl Progress {
    /// So many more are committed; gives how many there are now.
    pub(super) fn add(&self, many: usize) -> usize {
        self.committed.set(self.committed.get() + many);
        self.news.notify_one();
        self.committed.get()
    }

    /// There is nothing more to commit, or it failed.
    pub(super) fn end(&self) {
        self.over.set(true);
        self.news.notify_one();
    }
}

/// Where messages are fetched from, and how many of them are committed by now.
pub(super) struct Source<'a> {
    pub ctx: &'a Context,
    pub folder: &'a str,
    pub progress: &'a Progress,
}

/// Fetches everything, the large ones' header blocks last, and hands it on in order; touches originals until all is
/// committed, but for the last of them.
pub(super) async fn fetch_all(
    imap: &mut ImapSession,
    source: &Source<'_>,
    fit: Vec<Entry>,
    large: Vec<Entry>,
    sender: mpsc::Sender<Item>,
    room: &Arc<Semaphore>,
    arrived: &impl Fn(&Entry) -> Arrived,
) -> Result<(), AppError> {
    let entries: BTreeMap<u32, Entry> = fit.iter().map(|entry| (entry.uid, entry.clone())).collect();
    let mut touched = 0;
    for batch in batches(&fit, FETCH_BYTES, FETCH_COUNT) {
        let kib = |uid: &u32| entries.get(uid).map_or(1, |entry| entry.size / 1024 + 1);
        let total: u64 = batch.iter().map(kib).sum();
        let wanted = u32::try_from(total).unwrap_or(u32::MAX).min(IN_FLIGHT_KIB);
        let Ok(permit) = Arc::clone(room).acquire_many_owned(wanted).await else { return Ok(()) };
        let permit = Arc::new(permit);
        // While what was fetched is still enough for the cryptography to go on with.
        let ahead = sender.max_capacity() - sender.capacity();
        let waiting = source.progress.committed.get() - touched;
        if waiting >= TOUCHED_TOGETHER && (ahead >= AHEAD / 2 || waiting >= TOUCHED_AT_MOST) {
            touched = source.progress.committed.get();
            finish(source.ctx, imap, source.folder).await?;
        }
        let fetched = imap.fetch(&batch).await;
        failpoint("fetched");
        for (uid, raw) in fetched.mails {
            let Some(entry) = entries.get(&uid) else { continue };
            let item =
                Item::Whole(Arrived { raw: Plaintext::new(raw), room: Some(Arc::clone(&permit)), ..arrived(entry) });
            if sender.send(item).await.is_err() {
                return Ok(());
            }
        }
        if let Some(error) = fetched.ended {
            return Err(error.into());
        }
        for (uid, why) in fetched.missing {
            // A message that is gone is nobody's fault; one that can't be read is set aside in the end.
            if let Some(entry) = entries.get(&uid)
                && !matches!(why, WhyMissing::Absent)
                && sender.send(Item::Unfetchable(arrived(entry))).await.is_err()
            {
                return Ok(());
            }
        }
    }
    for entry in large {
        let Some(header) = imap.fetch_header(entry.uid).await? else { continue };
        let place = Arrived { raw: Plaintext::new(header), ..arrived(&entry) };
        if sender.send(Item::TooLarge { place, size: entry.size }).await.is_err() {
            return Ok(());
        }
    }
    drop(sender);
    // While the rest is being opened and committed, the session has nothing else to do.
    while !source.progress.over.get() {
        source.progress.news.notified().await;
        if source.progress.committed.get() - touched >= TOUCHED_TOGETHER {
            touched = source.progress.committed.get();
            finish(source.ctx, imap, source.folder).await?;
        }
    }
    Ok(())
}
