//! The mailbox: list, fetch ahead, prepare on all cores, commit in groups, then touch the originals.

mod fetch;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use super::absence;
use super::compose::MailError;
use super::context::Context;
use super::erasure;
use super::filing::finish;
use super::health;
use super::intake::{Outcome, apply};
use super::keys;
use super::post::Problem;
use super::prepare::{Arrived, PrepareError, Prepared, over_limit, prepare};
use super::registry::View;
use super::{AppError, causes};
use crate::config::Junk;
use crate::failpoint::failpoint;
use crate::mime::{Mail, MimeError};
use crate::model::MessageRow;
use crate::net::{Entry, ImapSession};
use crate::secret::Plaintext;
use crate::store::{Disposal, Original, Scan, StoreError, Tries, Tx};
use fetch::{AHEAD, IN_FLIGHT_KIB, Item, Progress, Source, fetch_all, stream_of};

/// What one pass over the mailbox did; the words of `run --once`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    pub fetched: u32,
    pub filed: u32,
    pub held: u32,
    pub dropped: u32,
    pub failed: u32,
    /// The next UID of INBOX when it was listed, where the server says it: what is above came later.
    pub inbox_next: Option<u32>,
}

/// Tries before a message is set aside.
const TRIES: u32 = 3;
/// Not oftener is a folder read anew because its UIDVALIDITY changed.
const RESCAN_INBOX: TimeDelta = TimeDelta::minutes(1);
const RESCAN_JUNK: TimeDelta = TimeDelta::hours(1);
/// Messages committed together.
const GROUP: usize = 64;
/// So many are prepared one after the other by one thread, with one look at the database.
const TOGETHER: usize = 4;

/// One look at every watched folder.
///
/// # Errors
/// [`AppError::Net`] when the server fails; what was committed stays committed.
pub async fn pass(ctx: &Arc<Context>, imap: &mut ImapSession, passed: &mut Passed) -> Result<(), AppError> {
    let inbox = imap.written_name(&ctx.config.imap.inbox);
    // What a session that broke off had in hand.
    let mut tx = ctx.store.begin().await?;
    tx.put_all_down().await?;
    tx.commit().await?;
    // First what an earlier pass committed and did not get to touch.
    finish(ctx, imap, &inbox).await?;
    scan(ctx, imap, &inbox, false, passed).await?;
    let junk = match &ctx.config.imap.junk {
        Junk::Off => None,
        Junk::Auto => imap.junk_folder().await?,
        Junk::Folder(name) => Some(imap.written_name(name)),
    };
    if let Some(junk) = junk.filter(|junk| *junk != inbox) {
        scan(ctx, imap, &junk, true, passed).await?;
        finish(ctx, imap, &junk).await?;
    }
    erasure::advance(ctx, imap, &inbox).await
}

async fn scan(
    ctx: &Arc<Context>,
    imap: &mut ImapSession,
    folder: &str,
    junk: bool,
    passed: &mut Passed,
) -> Result<(), AppError> {
    let began = ctx.clock.now();
    let selected = imap.select(folder).await?;
    if !junk {
        passed.inbox_next = selected.uidnext;
    }
    let mut tx = ctx.store.read().await?;
    let known = tx.scan(folder).await?;
    let same = known.as_ref().is_some_and(|scan| scan.uidvalidity == selected.uidvalidity);
    if known.is_some() && !same && !may_rescan(ctx, folder, junk, began).await? {
        return Ok(());
    }
    let last_scan = known.as_ref().and_then(|scan| scan.completed_at);
    // INBOX is emptied, so all of it is looked at each time. Of the junk folder only what is new.
    let after = if junk && same { known.as_ref().map_or(0, |scan| scan.last_uid) } else { 0 };
    let committed: HashSet<u32> = tx
        .originals(folder, false)
        .await?
        .into_iter()
        .filter(|original| original.uidvalidity == selected.uidvalidity)
        .map(|original| original.uid)
        .collect();
    let tries: BTreeMap<u32, Tries> =
        tx.tries(folder, selected.uidvalidity).await?.into_iter().map(|tries| (tries.uid, tries)).collect();
    let suspects = tx.suspects(folder, selected.uidvalidity).await?;
    drop(tx);
    let mut entries: Vec<Entry> =
        imap.list_new(after).await?.into_iter().filter(|entry| !committed.contains(&entry.uid)).collect();
    let last_uid = entries.iter().map(|entry| entry.uid).max().unwrap_or(after).max(after);
    let given_up = |uid: u32| tries.get(&uid).is_some_and(|tries| tries.n >= TRIES);
    // What ended the process thrice can't be set aside by the process that it ended.
    let lost: Vec<Entry> = entries.extract_if(.., |entry| given_up(entry.uid)).collect();
    for entry in &lost {
        set_aside(ctx, folder, selected.uidvalidity, entry.uid, junk).await?;
    }
    let arrived = |entry: &Entry| Arrived {
        folder: folder.to_owned(),
        uidvalidity: selected.uidvalidity,
        uid: entry.uid,
        internaldate: entry.internaldate,
        raw: Plaintext::default(),
        room: None,
        tried: tries.contains_key(&entry.uid),
        first_seen: tries.get(&entry.uid).map_or(began, |tries| tries.first),
        last_scan,
        junk,
    };
    let tried = |uid: u32| tries.contains_key(&uid);
    let (suspected, others): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| suspects.contains(&entry.uid));
    // What was alone when a process died may end this one too: it comes last.
    let (last, first) = suspected.into_iter().partition(|entry| tried(entry.uid));
    let mut intake = Intake { ctx, tries: &tries, passed };
    let mut done = true;
    for (entries, alone) in [(first, true), (others, false), (last, true)] {
        done &= intake.run(imap, entries, alone, &arrived).await?;
    }
    if !lost.is_empty() {
        finish(ctx, imap, folder).await?;
    }
    let mut tx = ctx.store.begin().await?;
    tx.forget_suspects_but_of(folder, selected.uidvalidity).await?;
    let scan = Scan {
        folder: folder.to_owned(),
        uidvalidity: selected.uidvalidity,
        last_uid: if done { last_uid } else { after },
        // While a message waits to be looked at again, its arrival mustn't be taken for a later one.
        completed_at: if done { Some(began) } else { last_scan },
    };
    tx.set_scan(&scan).await?;
    Ok(tx.commit().await?)
}

/// Whether a folder that changed its UIDVALIDITY is read again now. A server that does so all the time mustn't have all
/// of it read all the time; INBOX, which is emptied, is soon read.
async fn may_rescan(ctx: &Context, folder: &str, junk: bool, now: DateTime<Utc>) -> Result<bool, AppError> {
    let pause = if junk { RESCAN_JUNK } else { RESCAN_INBOX };
    let mut tx = ctx.store.begin().await?;
    let may = tx.notice_since(&format!("rescan:{folder}"), now, now - pause).await?;
    tx.commit().await?;
    tracing::warn!(may, "a folder's UIDVALIDITY has changed: it is read anew, and what is known already is recognised");
    Ok(may)
}

/// A message with what came of preparing it.
type Attempted = (Arrived, Result<Prepared, PrepareError>);

/// One folder's new messages on their way into the store.
struct Intake<'a> {
    ctx: &'a Arc<Context>,
    tries: &'a BTreeMap<u32, Tries>,
    passed: &'a mut Passed,
}

impl Intake<'_> {
    /// Brings all of them in and touches the originals. `false` when some message has to be looked at again. With
    /// `alone`, one is committed before the next is taken in hand.
    async fn run(
        &mut self,
        imap: &mut ImapSession,
        entries: Vec<Entry>,
        alone: bool,
        arrived: &impl Fn(&Entry) -> Arrived,
    ) -> Result<bool, AppError> {
        let Some(first) = entries.first() else { return Ok(true) };
        let folder = arrived(first).folder;
        let mut clean = true;
        if alone {
            for entry in entries {
                clean &= self.bring_in(imap, vec![entry], &folder, arrived).await?;
            }
        } else {
            clean = self.bring_in(imap, entries, &folder, arrived).await?;
        }
        Ok(clean)
    }

    /// Fetches ahead of the cryptography, prepares in order on all cores, and commits in groups, each while the next is
    /// being prepared. Between two fetches the originals of what is committed are touched, so that the server works at
    /// the same time as we do.
    async fn bring_in(
        &mut self,
        imap: &mut ImapSession,
        entries: Vec<Entry>,
        folder: &str,
        arrived: &impl Fn(&Entry) -> Arrived,
    ) -> Result<bool, AppError> {
        let limit = self.ctx.config.intake.max_message;
        let count = entries.len() as u64;
        self.read_ahead();
        let (sender, receiver) = mpsc::channel::<Item>(AHEAD);
        let (done, ready) = mpsc::channel(GROUP);
        let room = Arc::new(Semaphore::new(IN_FLIGHT_KIB as usize));
        let (large, fit): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| entry.size > limit);
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let ctx = Arc::clone(self.ctx);
        let prepared = stream_of(receiver)
            .ready_chunks(GROUP)
            // One group ahead: the writer may be busy with the commit of an earlier one.
            .map(|items| take_in_hand(Arc::clone(&ctx), items))
            .buffered(2)
            .flat_map(|taken| {
                let (items, error) = taken.map_or_else(|error| (Vec::new(), Some(error)), |items| (items, None));
                futures::stream::iter(items.into_iter().map(Ok).chain(error.map(Err)))
            })
            .ready_chunks(TOGETHER)
            .map(|items| {
                let ctx = Arc::clone(&ctx);
                let handle = tokio::runtime::Handle::current();
                async move {
                    let joined = tokio::task::spawn_blocking(move || prepare_items(&ctx, &handle, items)).await;
                    joined.unwrap_or_else(|error| vec![Err(AppError::from(error))])
                }
            })
            .buffered(cores + 1)
            .flat_map(futures::stream::iter);
        let prepare = async {
            let mut prepared = std::pin::pin!(prepared);
            while let Some(one) = prepared.next().await {
                if done.send(one).await.is_err() {
                    break;
                }
            }
            drop(done);
        };
        let progress = Progress::default();
        let source = Source { ctx: self.ctx, folder, progress: &progress };
        let fetch = fetch_all(imap, &source, fit, large, sender, &room, arrived);
        let commit = async {
            let mut groups = std::pin::pin!(stream_of(ready).ready_chunks(GROUP));
            let mut clean = true;
            while let Some(group) = groups.next().await {
                let many = group.len();
                clean &= self.commit(group).await?;
                let committed = progress.add(many);
                if let Some(onlooker) = self.ctx.onlooker.get() {
                    onlooker(committed as u64, count);
                }
            }
            Ok::<bool, AppError>(clean)
        };
        let commit = async {
            let committed = commit.await;
            progress.end();
            committed
        };
        let (fetched, (), clean) = tokio::join!(fetch, prepare, commit);
        let clean = clean?;
        finish(self.ctx, imap, folder).await?;
        fetched?;
        Ok(clean)
    }

    /// Has the letters and the lexicon read, which the first mail asks for, on two threads while that is being fetched.
    fn read_ahead(&self) {
        if self.ctx.letters_read().is_none() {
            let (letters, lexicon) = (Arc::clone(self.ctx), Arc::clone(self.ctx));
            tokio::task::spawn_blocking(move || _ = letters.letters());
            tokio::task::spawn_blocking(move || _ = lexicon.lexicon());
        }
    }

    async fn commit(&mut self, group: Vec<Result<Attempted, AppError>>) -> Result<bool, AppError> {
        let mut ready = Vec::with_capacity(group.len());
        let mut clean = true;
        for one in group {
            let (arrived, prepared) = one?;
            self.passed.fetched += 1;
            match prepared {
                Ok(prepared) => ready.push((arrived, prepared)),
                // The database is busy or full: nobody's letter is to blame.
                Err(PrepareError::Store(error @ (StoreError::Db(_) | StoreError::Fenced))) => return Err(error.into()),
                Err(error) => clean &= self.failed_try(&arrived, &error).await?,
            }
        }
        failpoint("prepared");
        let now = self.ctx.clock.now();
        let mut tx = self.ctx.store.begin().await?;
        let (mut outcomes, mut failed) = (Vec::with_capacity(ready.len()), Vec::new());
        if !self.apply_all(&mut tx, &ready, now, &mut outcomes).await? {
            // One of them can't be committed: the same again, each in a savepoint of its own.
            drop(tx);
            outcomes.clear();
            tx = self.ctx.store.begin().await?;
            failed = self.apply_each(&mut tx, &ready, now, &mut outcomes).await?;
        }
        for (arrived, outcome) in &outcomes {
            if *outcome == Outcome::Blocked {
                tx.note_seen(&arrived.folder, arrived.uidvalidity, arrived.uid, arrived.first_seen).await?;
            }
        }
        if let Some((first, _)) = outcomes.first() {
            // One group is of one folder.
            let uids: Vec<u32> = outcomes.iter().map(|(arrived, _)| arrived.uid).collect();
            tx.put_down(&first.folder, first.uidvalidity, &uids).await?;
        }
        failpoint("applied");
        tx.commit().await?;
        failpoint("committed");
        let mut read = self.ctx.store.read().await?;
        absence::refresh(self.ctx, &mut read).await?;
        keys::arrived::refresh(self.ctx, &mut read).await?;
        drop(read);
        // What is filed is passed on while its original is still being taken away.
        self.ctx.to_send.notify_one();
        if ready.iter().any(|(_, prepared)| is_danger(prepared)) {
            self.ctx.called.notify_one();
        }
        for (arrived, outcome) in outcomes {
            clean &= outcome != Outcome::Blocked;
            self.count(outcome);
            if let (Outcome::Filed, Some(row)) = (outcome, filed_row(&ready, arrived)) {
                self.ctx.owes_copy(row);
            }
        }
        for (arrived, error) in failed {
            clean &= self.failed_apply(arrived, error).await?;
        }
        Ok(clean)
    }

    /// Applies a group; `false` when one of its messages failed.
    async fn apply_all<'r>(
        &self,
        tx: &mut Tx,
        ready: &'r [(Arrived, Prepared)],
        now: DateTime<Utc>,
        outcomes: &mut Vec<(&'r Arrived, Outcome)>,
    ) -> Result<bool, AppError> {
        for (arrived, prepared) in ready {
            match apply(self.ctx, tx, arrived, prepared, now).await {
                Ok(outcome) => outcomes.push((arrived, outcome)),
                Err(AppError::Store(error @ (StoreError::Db(_) | StoreError::Fenced))) => return Err(error.into()),
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Applies each message of a group by itself; gives those that failed.
    async fn apply_each<'r>(
        &self,
        tx: &mut Tx,
        ready: &'r [(Arrived, Prepared)],
        now: DateTime<Utc>,
        outcomes: &mut Vec<(&'r Arrived, Outcome)>,
    ) -> Result<Vec<(&'r Arrived, AppError)>, AppError> {
        let mut failed = Vec::new();
        for (arrived, prepared) in ready {
            let before = tx.savepoint().await?;
            match apply(self.ctx, tx, arrived, prepared, now).await {
                Ok(outcome) => {
                    tx.keep(before);
                    outcomes.push((arrived, outcome));
                }
                Err(AppError::Store(error @ (StoreError::Db(_) | StoreError::Fenced))) => return Err(error.into()),
                Err(error) => {
                    tx.undo(before).await?;
                    failed.push((arrived, error));
                }
            }
        }
        Ok(failed)
    }

    /// A message that was prepared and couldn't be committed. Where only the therapist's certificate is in
    /// the way, no try is counted: it waits.
    async fn failed_apply(&mut self, arrived: &Arrived, error: AppError) -> Result<bool, AppError> {
        if !matches!(error, AppError::Mail(MailError::Seal(_))) {
            return self.failed_try(arrived, &error).await;
        }
        tracing::warn!(uid = arrived.uid, causes = causes(&error), "a message waits: what answers it can't be sealed");
        let now = self.ctx.clock.now();
        let mut tx = self.ctx.store.begin().await?;
        tx.note_seen(&arrived.folder, arrived.uidvalidity, arrived.uid, arrived.first_seen).await?;
        tx.put_down(&arrived.folder, arrived.uidvalidity, &[arrived.uid]).await?;
        health::alarm(self.ctx, &mut tx, &health::why_not_sealed(self.ctx, now), now).await?;
        tx.commit().await?;
        Ok(false)
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Filed | Outcome::Obeyed | Outcome::Requested => self.passed.filed += 1,
            Outcome::Held => self.passed.held += 1,
            Outcome::Dropped => self.passed.dropped += 1,
            Outcome::Refused | Outcome::SetAside | Outcome::Left | Outcome::Blocked => {}
        }
    }

    /// Counts a try; after the third the message is set aside, and the operator is told once. Whether the
    /// folder's cursor may pass it.
    async fn failed_try(
        &mut self,
        arrived: &Arrived,
        error: &(dyn std::error::Error + Sync),
    ) -> Result<bool, AppError> {
        self.passed.failed += 1;
        tracing::warn!(uid = arrived.uid, %error, source = ?error.source().map(ToString::to_string), "a message couldn't be processed");
        let now = self.ctx.clock.now();
        let mut tx = self.ctx.store.begin().await?;
        let n = tx.count_try(&arrived.folder, arrived.uidvalidity, arrived.uid, now).await?;
        let earlier = self.tries.get(&arrived.uid).map_or(0, |tries| tries.n);
        tx.put_down(&arrived.folder, arrived.uidvalidity, &[arrived.uid]).await?;
        tx.commit().await?;
        let given_up = n.max(earlier + 1) >= TRIES;
        if given_up {
            set_aside(self.ctx, &arrived.folder, arrived.uidvalidity, arrived.uid, arrived.junk).await?;
        }
        Ok(given_up)
    }
}

/// A message that can't be processed goes to Attention, and the operator is told. What lies in the junk folder may stay
/// there.
async fn set_aside(ctx: &Context, folder: &str, uidvalidity: u32, uid: u32, junk: bool) -> Result<(), AppError> {
    let now = ctx.clock.now();
    let mut tx = ctx.store.begin().await?;
    tx.put_down(folder, uidvalidity, &[uid]).await?;
    if !junk {
        let original = Original {
            folder: folder.to_owned(),
            uidvalidity,
            uid,
            message: None,
            action: Disposal::Attention,
            copy_needed: false,
            at: now,
        };
        tx.add_original(&original).await?;
        tx.journal(now, "attention", None, json!({ "why": "could not be processed", "tries": TRIES })).await?;
        health::alarm(ctx, &mut tx, &Problem { count: Some(1), ..Problem::new("attention") }, now).await?;
    }
    Ok(tx.commit().await?)
}

/// Notes what is about to be prepared: should one of it end the process, the next one knows. A task of its own, since
/// the commit of an earlier group waits for the same writer and lets nothing else of this folder go on.
async fn take_in_hand(ctx: Arc<Context>, items: Vec<Item>) -> Result<Vec<Item>, AppError> {
    let task = tokio::spawn(async move {
        let mut tx = ctx.store.begin().await?;
        if let Some(first) = items.first().map(Item::place) {
            let uids: Vec<u32> = items.iter().map(|item| item.place().uid).collect();
            tx.take_in_hand(&first.folder, first.uidvalidity, &uids).await?;
        }
        tx.commit().await?;
        Ok(items)
    });
    task.await?
}

/// Whether a message raised an alert.
fn is_danger(prepared: &Prepared) -> bool {
    matches!(prepared.split().0, Prepared::Sealed(sealed) | Prepared::Blocked(sealed) if sealed.scan.finding().is_some())
}

/// The row that a filed message has become.
fn filed_row(ready: &[(Arrived, Prepared)], arrived: &Arrived) -> Option<MessageRow> {
    ready.iter().find(|(known, _)| std::ptr::eq(known, arrived)).and_then(|(_, prepared)| match prepared.split().0 {
        Prepared::Sealed(sealed) => Some(sealed.row),
        _ => None,
    })
}

/// Prepares what is there, with one look at the database.
fn prepare_items(
    ctx: &Context,
    handle: &tokio::runtime::Handle,
    items: Vec<Result<Item, AppError>>,
) -> Vec<Result<Attempted, AppError>> {
    let view = match View::new(ctx, handle) {
        Ok(view) => view,
        Err(error) => return vec![Err(error.into())],
    };
    items.into_iter().map(|item| item.map(|item| prepare_item(ctx, &view, item))).collect()
}

/// Prepares one item; a panic of a parser is an error like any other.
fn prepare_item(ctx: &Context, view: &View, item: Item) -> Attempted {
    let now = ctx.clock.now();
    match item {
        Item::Whole(mut arrived) => {
            let attempt = std::panic::AssertUnwindSafe(|| prepare(ctx, view, &mut arrived, now));
            let prepared = std::panic::catch_unwind(attempt).unwrap_or(Err(PrepareError::Panicked));
            arrived.raw = Plaintext::default();
            (arrived, prepared)
        }
        Item::TooLarge { place, size } => {
            let header = Mail::parse_header(place.raw.as_bytes(), &ctx.limits).ok();
            let limit = ctx.limits.message;
            let error = MimeError::TooLarge { bytes: usize::try_from(size).unwrap_or(usize::MAX), limit };
            let prepared = over_limit(ctx, view, &place, header.as_ref(), error).map_err(PrepareError::from);
            (place, prepared)
        }
        Item::Unfetchable(arrived) => (arrived, Err(PrepareError::Unfetchable)),
    }
}
