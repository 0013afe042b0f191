//! One gateway among several that share a practice's database: it lives by a lease, one of them has the mailbox.
//!
//! Nothing is shared between gateways but the database. Who finds that it was taken for dead (it was stopped, or cut
//! off from the database for longer than a lease) drops all its work where it stands and begins anew, as another one:
//! that is what a kill would have done, which loses and doubles nothing.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use rand::Rng as _;
use tokio::sync::watch as channel;

use super::context::Context;
use super::supervisor::{self, Counts, Live, Rounds, Signals, pause};
use super::{AppError, causes};
use crate::store::{StoreError, beside};

/// How often a lease is renewed, and a free one looked for: several times in its life (15 s).
const BEAT: Duration = Duration::from_secs(3);
/// More gateways than this on one host don't know of each other's end at once.
const SLOTS: usize = 16;
/// How long one pass waits for the mailbox of a gateway that ended on another host.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file beside the journal's head that this process has locked while it lives. In it stands the id of its gateway:
/// who can lock it knows that that one is gone, and needn't wait for the end of its lease.
struct Slot(Option<Flock<File>>);

impl Slot {
    /// The first one that is free, and the ids of gateways of this host that are gone.
    fn take(journal_head: &Path) -> (Self, Vec<String>) {
        let (mut slot, mut gone) = (Self(None), Vec::new());
        for number in 1..=SLOTS {
            let path = beside(journal_head, &format!(".gateway-{number}"));
            if slot.0.is_some() && !path.exists() {
                continue;
            }
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
            let Ok(file) = file else { continue };
            let Ok(mut file) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
            let mut id = String::new();
            if file.read_to_string(&mut id).is_ok() && !id.trim().is_empty() {
                gone.push(id.trim().to_owned());
            }
            if slot.0.is_none() {
                slot.0 = Some(file);
            }
        }
        (slot, gone)
    }

    fn name(&self, id: &str) {
        let Some(file) = &self.0 else { return };
        if let Err(error) = file.write_all_at(format!("{id}\n").as_bytes(), 0) {
            tracing::warn!(%error, "the gateway's id couldn't be noted beside the journal's head: after a crash its work waits 15 s");
        }
    }
}

/// 64 random bits: it says nothing of host or practice.
fn new_id() -> String {
    format!("{:016X}", rand::rng().next_u64())
}

/// Joins under a new id.
async fn join(ctx: &Context, slot: &Slot, gone: &mut Vec<String>) -> Result<(), StoreError> {
    let id = new_id();
    // Before the database has it: it is known after a crash in between too.
    slot.name(&id);
    let joined = ctx.store.join(&id, gone, ctx.clock.now()).await;
    if joined.is_ok() {
        tracing::info!(gateway = %id, "joined");
        gone.clear();
    }
    gone.push(id);
    joined
}

/// The same, while the database can't be asked again and again until `stop`.
async fn join_sometime(ctx: &Context, slot: &Slot, gone: &mut Vec<String>, stop: &mut channel::Receiver<bool>) -> bool {
    while !*stop.borrow() {
        ctx.pulse.beat();
        match join(ctx, slot, gone).await {
            Ok(()) => return true,
            Err(error) => {
                tracing::error!(error = causes(&error), "the database can't be joined");
                pause(stop, chrono::TimeDelta::seconds(2)).await;
            }
        }
    }
    false
}

/// Renews the leases, and takes the mailbox's where nobody has it; ends when this gateway was taken for dead.
async fn beat(ctx: &Context, duty: &channel::Sender<bool>) {
    let mut told = false;
    loop {
        let beaten = async {
            ctx.store.renew().await?;
            if ctx.store.take_mailbox().await? {
                if !duty.send_replace(true) {
                    tracing::info!("the mailbox is this gateway's");
                }
                let dead = ctx.store.bury_the_dead(ctx.clock.now()).await?;
                if dead > 0 {
                    tracing::warn!(dead, "gateways that renewed their leases no more: what they had in hand is free");
                }
            }
            Ok::<_, StoreError>(())
        };
        match beaten.await {
            Ok(()) => told = false,
            Err(StoreError::Fenced) => return,
            // Said once until it is well again.
            Err(_) if told => {}
            Err(error) => {
                told = true;
                tracing::warn!(%error, "the gateway's lease couldn't be renewed; it is tried again and again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            () = ctx.store.fenced() => return,
        }
    }
}

/// The daemon of one practice beside others like it, until it is told to stop.
pub async fn run(ctx: Arc<Context>, signals: Signals) {
    supervisor::attended(ctx, signals, live_and_work).await;
}

async fn live_and_work(live: Live, rounds: Rounds, mut stop: channel::Receiver<bool>) {
    let ctx = Arc::clone(&live.borrow());
    let (slot, mut gone) = Slot::take(&ctx.config.database.journal_head);
    while join_sometime(&ctx, &slot, &mut gone, &mut stop).await {
        let (duty, on_duty) = channel::channel(false);
        let done = tokio::select! {
            () = Box::pin(supervisor::share(live.clone(), on_duty, rounds.clone(), stop.clone())) => true,
            () = beat(&ctx, &duty) => false,
        };
        if done {
            leave(&ctx).await;
            return;
        }
        tracing::warn!("another gateway has taken over: this one begins anew");
    }
}

/// Gives back what it has; otherwise it would be free after its life only.
async fn leave(ctx: &Context) {
    if let Err(error) = ctx.store.leave(ctx.clock.now()).await {
        tracing::warn!(%error, "the gateway's lease couldn't be given back; it ends by itself after 15 s");
    }
}

/// One pass, as [`supervisor::once`], with the mailbox's lease.
///
/// # Errors
/// [`StoreError::Held`] where another gateway works; otherwise as [`supervisor::once`].
pub async fn once(ctx: Arc<Context>) -> (Counts, Result<(), AppError>) {
    let place = Slot::take(&ctx.config.database.journal_head);
    let done = leased(&ctx, place, Box::pin(supervisor::once(Arc::clone(&ctx)))).await;
    done.unwrap_or_else(|error| (Counts::default(), Err(error.into())))
}

/// Does what needs the practice for itself: with SQLite under the lock of `run`, with PostgreSQL as its only gateway,
/// with the mailbox's lease; one that starts meanwhile stands by.
///
/// # Errors
/// [`StoreError::Locked`], [`StoreError::Held`] where somebody else works, and nothing was done; [`StoreError::Fenced`]
/// where this process lost the lease in the midst of it; otherwise what `work` says.
pub async fn alone<T>(ctx: &Context, work: impl Future<Output = Result<T, AppError>>) -> Result<T, AppError> {
    if !ctx.store.is_shared() {
        let _lock = ctx.store.at_rest().await?;
        return work.await;
    }
    let (slot, gone) = Slot::take(&ctx.config.database.journal_head);
    if ctx.store.gateways().await?.iter().any(|gateway| !gone.contains(&gateway.id)) {
        return Err(StoreError::Held.into());
    }
    let sole = async {
        // Another one may have come in the same moment.
        if ctx.store.gateways().await?.len() > 1 { Err(StoreError::Held.into()) } else { work.await }
    };
    leased(ctx, (slot, gone), sole).await?
}

/// Does this as a gateway that has the mailbox.
async fn leased<T>(
    ctx: &Context,
    (slot, mut gone): (Slot, Vec<String>),
    work: impl Future<Output = T>,
) -> Result<T, StoreError> {
    join(ctx, &slot, &mut gone).await?;
    let (duty, mut on_duty) = channel::channel(false);
    let work = async {
        // Not kept: what it refers to is locked as long.
        let came = tokio::time::timeout(PATIENCE, on_duty.wait_for(|on| *on)).await.is_ok_and(|on| on.is_ok());
        if came { Ok(work.await) } else { Err(StoreError::Held) }
    };
    let done = tokio::select! {
        done = work => done,
        () = beat(ctx, &duty) => Err(StoreError::Fenced),
    };
    leave(ctx).await;
    done
}
