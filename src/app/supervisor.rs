//! `run` and `run --once`: who works when, what happens when a server goes away, how it ends.

mod once;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch as channel};

use super::absence;
use super::context::Context;
use super::daily::daily;
use super::filing;
use super::frozen;
use super::health;
use super::heartbeat;
use super::keys;
use super::metrics;
use super::reload;
use super::send::{Sender, Sent};
use super::set_back;
use super::settings;
use super::tick::tick;
use super::watch::{self, Passed};
use super::{AppError, causes};
use crate::net::{Backoff, IdleEnd, ImapSession, LoginLimiter, NetError, SmtpSubmitter};
use crate::store::{RunLock, Store};
pub use once::{Counts, once};

/// IDLE is given up and begun again after this time: well before the 29 minutes of RFC 2177.
const IDLE_MAX: Duration = Duration::from_secs(20 * 60);
/// How often the clock is looked at.
const TICK: Duration = Duration::from_secs(5);

async fn recover(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut tx = ctx.store.begin().await?;
    let resumed = tx.resume_attempts(now).await?;
    let held = tx.suspect_what_was_held(now).await?;
    reload::settle_key(ctx, &mut tx, now).await?;
    reload::forget(&mut tx).await?;
    tx.commit().await?;
    frozen::look(ctx, now).await?;
    ctx.forget_untried();
    // Before the mailbox is looked into, which notes the time by this clock.
    set_back::watch(ctx, now).await?;
    absence::mirror(ctx, now).await?;
    if held > 0 {
        tracing::warn!(held, "an earlier run ended while it read messages: they are read one at a time");
    }
    if resumed > 0 {
        tracing::info!(resumed, "attempts that an earlier run left unfinished are made again");
    }
    Ok(())
}

/// When the last completed look into the mailbox began.
pub const SEEN_UNTIL: &str = "seen_until";
/// When a mail last left.
pub const SENT_LAST: &str = "sent_last";

async fn note_sent(store: &Store, sent: Sent, now: DateTime<Utc>) -> Result<(), AppError> {
    if sent.sent == 0 {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    tx.set_meta_time(SENT_LAST, now).await?;
    Ok(tx.commit().await?)
}

/// One look at the clock and the outbox, finished.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// Neither the database nor the submission server failed in it.
    pub good: bool,
}

/// The context that counts now: a reload puts another one in its place, and each loop takes it between two passes.
pub(super) type Live = channel::Receiver<Arc<Context>>;

/// Whoever looks on is told of each round by it.
pub(super) type Rounds = channel::Sender<Option<Round>>;

/// How mailbox and outbox tell each other that there is something to do.
struct Wake {
    /// A letter was filed.
    filed: Arc<Notify>,
    /// A mail has left, whose copy may be to be filed.
    sent: Arc<Notify>,
}

/// What tells the daemon to do something.
#[derive(Clone)]
pub struct Signals {
    /// Set: end.
    pub stop: channel::Receiver<bool>,
    /// SIGHUP: read the configuration again.
    pub reload: Arc<Notify>,
}

/// The daemon that is alone with its database, until `stop` is set; `_lock` proves that it is.
///
/// # Errors
/// Never for what servers do; only for what makes going on senseless.
pub async fn run(ctx: Arc<Context>, _lock: &RunLock, signals: Signals) -> Result<(), AppError> {
    recover(&ctx, ctx.clock.now()).await?;
    let (_duty, on_duty) = channel::channel(true);
    attended(ctx, signals, async |live, rounds, stop| Box::pin(work(live, on_duty, rounds, stop)).await).await;
    Ok(())
}

/// A daemon's work with what goes on beside it: the configuration is read again when that is asked for, and whoever
/// looks on is told of each round.
pub(super) async fn attended(
    ctx: Arc<Context>,
    signals: Signals,
    work: impl AsyncFnOnce(Live, Rounds, channel::Receiver<bool>),
) {
    let Signals { stop, reload } = signals;
    let (context, live) = channel::channel(ctx);
    let (rounds, finished) = channel::channel(None);
    // Tasks of their own, so that whoever looks on never waits for the work, nor the work for them.
    let mut onlookers = tokio::task::JoinSet::new();
    onlookers.spawn(metrics::serve(live.clone(), finished.clone()));
    onlookers.spawn(heartbeat::beat(live.clone(), finished));
    tokio::join!(work(live, rounds, stop.clone()), reload_loop(context, stop, reload));
    onlookers.shutdown().await;
}

/// A gateway's work, until `stop` is set: it sends, and once it is `on_duty` it reads the mailbox and keeps the clock.
/// It may be dropped at any instant, as it may be killed.
pub async fn share(live: Live, mut on_duty: channel::Receiver<bool>, rounds: Rounds, stop: channel::Receiver<bool>) {
    let (recovered, ready) = channel::channel(false);
    let ctx = Arc::clone(&live.borrow());
    let recovery = async {
        // This host may have seen what the database has lost, whoever has the mailbox.
        if let Err(error) = frozen::look(&ctx, ctx.clock.now()).await {
            note_trouble(&ctx, &error, "it couldn't be seen whether the database is an older one").await;
        }
        let mut stop = stop.clone();
        tokio::select! {
            _ = on_duty.wait_for(|on| *on) => {}
            () = stopped(&mut stop) => return,
        }
        while !*stop.borrow() {
            match recover(&ctx, ctx.clock.now()).await {
                Ok(()) => {
                    recovered.send_replace(true);
                    return;
                }
                Err(error) => note_trouble(&ctx, &error, "the work of an earlier gateway couldn't be taken over").await,
            }
            pause(&mut stop, TimeDelta::seconds(2)).await;
        }
    };
    tokio::join!(recovery, work(live.clone(), ready, rounds, stop.clone()));
}

/// All that a daemon does, from then on that it is on duty; before, it sends.
async fn work(live: Live, on_duty: channel::Receiver<bool>, rounds: Rounds, stop: channel::Receiver<bool>) {
    let store = live.borrow().store.clone();
    let filed = Arc::new(Notify::new());
    let sent = Arc::new(Notify::new());
    let duty = async {
        let (mut on_duty, mut ended) = (on_duty.clone(), stop.clone());
        tokio::select! {
            on = on_duty.wait_for(|on| *on) => if on.is_err() { return },
            () = stopped(&mut ended) => return,
        }
        let mailbox = mailbox_loop(live.clone(), stop.clone(), Arc::clone(&filed), Arc::clone(&sent));
        tokio::join!(mailbox, daily_loop(live.clone(), stop.clone()), alarm_loop(live.clone(), stop.clone()));
    };
    let wake = Wake { filed: Arc::clone(&filed), sent: Arc::clone(&sent) };
    let outbox = outbox_loop(live.clone(), on_duty.clone(), stop.clone(), wake, rounds);
    tokio::join!(duty, outbox);
    if *on_duty.borrow() {
        put_all_down(&store).await;
    }
}

/// Reads the configuration again whenever it is asked to. Before it is, systemd is told, and afterwards that all is
/// ready, whether or not anything was changed.
async fn reload_loop(context: channel::Sender<Arc<Context>>, mut stop: channel::Receiver<bool>, asked: Arc<Notify>) {
    loop {
        tokio::select! {
            () = asked.notified() => {}
            () = stopped(&mut stop) => return,
        }
        crate::notify::reloading();
        let ctx = Arc::clone(&context.borrow());
        if let Some(new) = reload::reload(&ctx).await {
            new.lexicon();
            new.letters();
            context.send_replace(new);
        }
        crate::notify::ready();
    }
}

/// Waits until another context is in force than this one.
async fn replaced(live: &mut Live, ctx: &Arc<Context>) {
    if live.wait_for(|new| !Arc::ptr_eq(new, ctx)).await.is_err() {
        // The daemon ends: that is said elsewhere.
        std::future::pending::<()>().await;
    }
}

/// The program ends as it should: what it had in hand is not to blame.
async fn put_all_down(store: &Store) {
    let down = async {
        let mut tx = store.begin().await?;
        tx.put_all_down().await?;
        tx.commit().await
    };
    if let Err(error) = down.await {
        tracing::warn!(%error, "it couldn't be noted that no message is in hand");
    }
}

async fn stopped(stop: &mut channel::Receiver<bool>) {
    // A sender that is gone means the same as one that says stop.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn mailbox_loop(mut live: Live, mut stop: channel::Receiver<bool>, filed: Arc<Notify>, sent: Arc<Notify>) {
    let mut backoff = Backoff::new(TimeDelta::seconds(2), TimeDelta::minutes(5));
    let mut limiter = LoginLimiter::new(10, TimeDelta::minutes(1));
    let watched = stop.clone();
    while !*stop.borrow() {
        let ctx = Arc::clone(&live.borrow());
        let now = ctx.clock.now();
        if let Err(wait) = limiter.take(now) {
            let wait = wait.to_std().unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stopped(&mut stop) => {}
            }
            continue;
        }
        let error = tokio::select! {
            error = session(&ctx, &live, &watched, &filed, &sent, &mut backoff) => error,
            () = stopped(&mut stop) => return,
        };
        if let Err(error) = error {
            let now = ctx.clock.now();
            let noted = match &error {
                AppError::Net(net) => health::unwell(&ctx, "imap", net, now).await,
                error => {
                    tracing::error!(error = causes(error), "the mailbox couldn't be worked on");
                    Ok(())
                }
            };
            if let Err(error) = noted {
                tracing::error!(%error, "the trouble couldn't be noted");
            }
            let until = backoff.failed(now, rand::random());
            tokio::select! {
                () = tokio::time::sleep((until - now).to_std().unwrap_or_default()) => {}
                // What was wrong may be mended.
                () = replaced(&mut live, &ctx) => {}
                () = stopped(&mut stop) => {}
            }
        }
    }
}

pub(super) async fn pause(stop: &mut channel::Receiver<bool>, wait: TimeDelta) {
    let wait = wait.to_std().unwrap_or_default();
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = stopped(stop) => {}
    }
}

/// One session with the mailbox, from log-in until it fails, the configuration is another or the program ends.
async fn session(
    ctx: &Arc<Context>,
    live: &Live,
    stop: &channel::Receiver<bool>,
    filed: &Notify,
    sent: &Notify,
    backoff: &mut Backoff,
) -> Result<(), AppError> {
    let mut imap = ImapSession::connect(&settings::imap(&ctx.config).await?).await?;
    let mut cleaned: Option<DateTime<Utc>> = None;
    loop {
        let began = ctx.clock.now();
        // Before this pass notes the time by this clock.
        set_back::watch(ctx, began).await?;
        let mut passed = Passed::default();
        watch::pass(ctx, &mut imap, &mut passed).await?;
        backoff.succeeded();
        let now = ctx.clock.now();
        health::well(ctx, "imap", now).await?;
        let mut tx = ctx.store.begin().await?;
        // Where the clock was set back during the pass, that is told once: this time is none of the new clock's.
        if ctx.clock.now() >= began {
            tx.set_meta_time(SEEN_UNTIL, began).await?;
            tx.commit().await?;
        }
        if passed.fetched > 0 {
            filed.notify_one();
            tracing::info!(
                event = "mailbox",
                fetched = passed.fetched,
                filed = passed.filed,
                held = passed.held,
                failed = passed.failed,
                "mailbox read"
            );
        }
        if cleaned.is_none_or(|at| now - at > TimeDelta::hours(12)) {
            filing::clean_others(ctx, &mut imap, now).await?;
            cleaned = Some(now);
        }
        wait_for_mail(ctx, &mut imap, passed.inbox_next, live, stop, sent).await?;
        if *stop.borrow() || !Arc::ptr_eq(&live.borrow(), ctx) {
            imap.logout().await;
            return Ok(());
        }
    }
}

/// Until there is mail (`listed` is how far INBOX was listed), a copy to file, the poll's time, another configuration, or
/// the end.
async fn wait_for_mail(
    ctx: &Arc<Context>,
    imap: &mut ImapSession,
    listed: Option<u32>,
    live: &Live,
    stop: &channel::Receiver<bool>,
    sent: &Notify,
) -> Result<(), AppError> {
    let poll = ctx.config.imap.poll;
    let inbox = imap.written_name(&ctx.config.imap.inbox);
    let selected = imap.select(&inbox).await?;
    // IDLE tells only of what comes from now on; what came during the pass is already there.
    if listed.zip(selected.uidnext).is_some_and(|(listed, next)| next > listed) {
        return Ok(());
    }
    let (mut live, mut stop) = (live.clone(), stop.clone());
    let woken = async {
        tokio::select! {
            () = stopped(&mut stop) => {}
            () = replaced(&mut live, ctx) => {}
            () = sent.notified() => {}
        }
    };
    if ctx.config.imap.idle && imap.capabilities().idle {
        match imap.idle(poll.min(IDLE_MAX), woken).await? {
            IdleEnd::NewData | IdleEnd::Timeout | IdleEnd::Stopped => {}
        }
    } else {
        tokio::select! {
            () = tokio::time::sleep(poll) => {}
            () = woken => {}
        }
    }
    Ok(())
}

async fn outbox_loop(
    mut live: Live,
    on_duty: channel::Receiver<bool>,
    mut stop: channel::Receiver<bool>,
    wake: Wake,
    rounds: Rounds,
) {
    let mut ctx = Arc::clone(&live.borrow());
    let mut sender: Option<Sender> = None;
    let mut backoff = Backoff::new(TimeDelta::seconds(2), TimeDelta::minutes(1));
    while !*stop.borrow() {
        if !Arc::ptr_eq(&live.borrow(), &ctx) {
            ctx = Arc::clone(&live.borrow());
            if let Some(mut sender) = sender.take() {
                sender.quit().await;
            }
        }
        let on_duty = *on_duty.borrow();
        let outcome = match on_duty {
            true => outbox_pass(&ctx, &mut sender).await,
            false => standby_pass(&ctx, &mut sender).await,
        };
        let good = outcome.as_ref().is_ok_and(|counts| !counts.unreachable);
        let mut wait = TICK;
        match outcome {
            Ok(counts) if counts.unreachable => {
                let now = ctx.clock.now();
                wait = (backoff.failed(now, rand::random()) - now).to_std().unwrap_or(TICK);
                sender = None;
            }
            Ok(counts) => {
                backoff.succeeded();
                if counts.sent > 0 {
                    wake.sent.notify_one();
                    tracing::info!(
                        event = "outbox",
                        sent = counts.sent,
                        deferred = counts.deferred,
                        failed = counts.failed,
                        "outbox worked"
                    );
                }
            }
            Err(error) => note_trouble(&ctx, &error, "the outbox couldn't be worked on").await,
        }
        ctx.pulse.beat();
        rounds.send_replace(Some(Round { good }));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = wake.filed.notified() => {}
            () = ctx.to_send.notified() => {}
            () = replaced(&mut live, &ctx) => {}
            () = stopped(&mut stop) => {}
        }
    }
    if let Some(mut sender) = sender {
        sender.quit().await;
    }
}

/// Runs alarm commands. They wait for no mail server, and no mail waits for them.
async fn alarm_loop(live: Live, mut stop: channel::Receiver<bool>) {
    while !*stop.borrow() {
        let ctx = Arc::clone(&live.borrow());
        if let Err(error) = health::run_pending(&ctx).await {
            tracing::error!(%error, "the alarm command couldn't be run");
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = ctx.called.notified() => {}
            () = stopped(&mut stop) => {}
        }
    }
}

/// Does what is to be done once a day. No mail waits for it, however many clients there are.
async fn daily_loop(live: Live, mut stop: channel::Receiver<bool>) {
    while !*stop.borrow() {
        let ctx = Arc::clone(&live.borrow());
        let done = tokio::select! {
            done = daily(&ctx, ctx.clock.now()) => done,
            () = stopped(&mut stop) => return,
        };
        if let Err(error) = done {
            note_trouble(&ctx, &error, "what is to be done once a day couldn't all be done").await;
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = stopped(&mut stop) => {}
        }
    }
}

async fn note_trouble(ctx: &Context, error: &AppError, what: &'static str) {
    if let AppError::Store(store) = error {
        health::database_trouble(ctx, store).await;
    }
    tracing::error!(error = causes(error), "{what}");
}

/// One look at the clock and the outbox: what is due is made and sent.
///
/// # Errors
/// [`AppError`] of the database; what servers say is in [`Sent`].
pub async fn outbox_pass(ctx: &Arc<Context>, sender: &mut Option<Sender>) -> Result<Sent, AppError> {
    let now = ctx.clock.now();
    set_back::watch(ctx, now).await?;
    let seen = ctx.store.read().await?.meta_time(SEEN_UNTIL).await?;
    if let Err(error) = tick(ctx, seen, now).await {
        // What is already to leave leaves all the same.
        note_trouble(ctx, &error, "what the clock brings about couldn't all be done").await;
    }
    send_pass(ctx, sender).await
}

/// One look at the outbox by a gateway that keeps no clock: what another one has made is sent.
async fn standby_pass(ctx: &Arc<Context>, sender: &mut Option<Sender>) -> Result<Sent, AppError> {
    let mut read = ctx.store.read().await?;
    absence::refresh(ctx, &mut read).await?;
    keys::arrived::refresh(ctx, &mut read).await?;
    drop(read);
    send_pass(ctx, sender).await
}

async fn send_pass(ctx: &Arc<Context>, sender: &mut Option<Sender>) -> Result<Sent, AppError> {
    let sender = match sender {
        Some(sender) => sender,
        None => {
            let smtp = SmtpSubmitter::new(settings::smtp(&ctx.config).await?);
            sender.insert(Sender::new(Arc::clone(ctx), smtp))
        }
    };
    let sent = sender.pass().await?;
    note_sent(&ctx.store, sent, ctx.clock.now()).await?;
    Ok(sent)
}

/// Whether an error is a server's that may be well again.
pub fn is_retryable(error: &NetError) -> bool {
    error.is_retryable()
}
