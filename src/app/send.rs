//! The outbox on its way out: claim, compose, guard, hand over, record (SPEC section 13).
//!
//! The attempt and the next try are committed before anything is dialled. A mail that is claimed counts as one whose dot
//! was sent until this process knows better, so that a crash can only repeat the very same bytes.

mod line;
mod queue;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::StreamExt as _;
use serde_json::json;

use super::AppError;
use super::compose::{MailError, WaitingLetter};
use super::context::Context;
use super::frozen;
use super::health;
use super::keys;
use super::life;
use super::post::{Cause, Post, Problem, Recipe};
use super::reply;
use super::sealed_letters::{self, Closing};
use super::write::{Written, registered, write};
use crate::domain::delivery::{Attempts, Outcome, begin_attempt};
use crate::domain::lifecycle;
use crate::domain::rhythm::{Release, Slot, WaitingReply, release};
use crate::failpoint::failpoint;
use crate::model::{Address, Kind, MessageRow, MessageState, OutboxState};
use crate::net::SmtpSubmitter;
use crate::pgp::{CertProblem, Purpose};
use crate::store::{Client, Finish, Message, Outbox, StoreError, Tx};
use line::Line;
pub use line::NULL_PATH_REFUSED;
use queue::Queue;

/// A mail whose recipient's certificate can't be used is looked at again after this time; an alert sooner.
const KEY_WAIT: TimeDelta = TimeDelta::hours(1);
const ALERT_KEY_WAIT: TimeDelta = TimeDelta::minutes(1);
/// What one pass over the outbox did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    pub released: u32,
    pub digests: u32,
    pub sent: u32,
    pub deferred: u32,
    pub failed: u32,
    /// The server couldn't be asked at all.
    pub unreachable: bool,
}

impl Sent {
    fn add(&mut self, other: Self) {
        self.released += other.released;
        self.digests += other.digests;
        self.sent += other.sent;
        self.deferred += other.deferred;
        self.failed += other.failed;
        self.unreachable |= other.unreachable;
    }
}

/// The sending half of the program.
pub struct Sender {
    clerk: Clerk,
    line: Line,
}

/// What is done with the database: mails are claimed before they leave, and what became of them is recorded.
#[derive(Clone)]
pub(super) struct Clerk {
    pub(super) ctx: Arc<Context>,
}

/// A mail that is composed and claimed.
pub(super) struct Claimed {
    pub row: Outbox,
    /// The one address that the mail's recipient is registered with.
    to: Address,
    pub message: Option<Message>,
    pub client: Option<Client>,
    bytes: Vec<u8>,
    pub attempts: Attempts,
    /// The therapist's words in it, where they were kept for the copy.
    pub letter: Option<WaitingLetter>,
}

/// An attempt that has ended and is still to be recorded.
pub(super) struct Ended {
    pub claimed: Claimed,
    pub outcome: Outcome,
    pub word: String,
    pub at: DateTime<Utc>,
}

/// What is known of a mail before it is sealed; nothing is written where its bytes are frozen.
struct Look {
    written: Option<Written>,
    message: Option<Message>,
    client: Option<Client>,
}

/// A mail that is sealed, before its attempt is committed.
struct Draft {
    row: Outbox,
    /// None: they are frozen already.
    bytes: Option<Vec<u8>>,
    /// What closes it, where it is a sealed letter.
    words: Option<Closing>,
    letter: Option<WaitingLetter>,
    message: Option<Message>,
    client: Option<Client>,
}

/// A mail with its bytes, or why it can't be sealed; none where they are frozen already.
type Sealed = (Draft, Result<Option<Vec<u8>>, MailError>);

/// Whether an error is the database's own and not one mail's.
fn concerns_all(error: &AppError) -> bool {
    matches!(error, AppError::Store(StoreError::Db(_) | StoreError::Fenced) | AppError::Task)
}

impl Sender {
    pub fn new(ctx: Arc<Context>, smtp: SmtpSubmitter) -> Self {
        Self { line: Line::new(Arc::clone(&ctx), smtp), clerk: Clerk { ctx } }
    }

    /// Sends everything that is due; ends when nothing is, or when the server can't be asked. Each mail is
    /// looked at once in a pass, so that one which can't leave blocks no other.
    ///
    /// # Errors
    /// [`AppError`] of the database; what servers say is in [`Sent`].
    pub async fn pass(&mut self) -> Result<Sent, AppError> {
        let Self { clerk, line } = self;
        let mut total = Sent::default();
        if clerk.ctx.key.certificate().revocation().is_some() {
            // What it signs would be believed by nobody, or by those who don't know yet.
            tracing::error!(
                "the practice's key is revoked: nothing leaves until `cadre key rotate` has made a new one"
            );
            return Ok(total);
        }
        let frozen = frozen::since(&mut clerk.ctx.store.read().await?).await?.is_some();
        if frozen {
            tracing::error!(
                "an older database stands in the place of the newer one: nothing leaves until `cadre queue resume`"
            );
        }
        let mut queue = Queue::new(frozen);
        let mut batch = clerk.claim_next(&mut queue, &mut total).await?;
        while !batch.is_empty() {
            // The next ones are written and sealed while these leave.
            let mut ahead = Sent::default();
            let leaving = Box::pin(line.hand_over_all(clerk, batch, &mut total));
            let (left, next) = tokio::join!(leaving, clerk.claim_next(&mut queue, &mut ahead));
            left?;
            batch = next?;
            total.add(ahead);
            if total.unreachable {
                // They are claimed already: their attempts end too, without dialling.
                Box::pin(line.hand_over_all(clerk, batch, &mut total)).await?;
                break;
            }
            if batch.is_empty() {
                // What those that left have brought about.
                batch = clerk.claim_next(&mut queue, &mut total).await?;
            }
        }
        Ok(total)
    }

    /// Says good-bye to the server.
    pub async fn quit(&mut self) {
        self.line.quit().await;
    }
}

impl Clerk {
    /// Claims the next mails that are due; none: there are no more.
    async fn claim_next(&self, queue: &mut Queue, total: &mut Sent) -> Result<Vec<Claimed>, AppError> {
        loop {
            let now = self.ctx.clock.now();
            let limit = queue.limit();
            self.ctx.store.reserve(now, limit).await?;
            let mut read = self.ctx.store.read().await?;
            let (rows, changed) = read.claimable(now, limit).await?;
            let messages: Vec<MessageRow> = rows.iter().filter_map(|row| row.message).collect();
            // Where nothing leaves, nothing is held in memory.
            let sizes = if queue.frozen { HashMap::new() } else { read.body_sizes(&messages).await? };
            drop(read);
            health::put_aside(&self.ctx, &changed, now).await?;
            let Some((mut rows, later)) = queue.fresh(rows, &sizes, limit) else { continue };
            // Meanwhile another gateway may send them.
            self.ctx.store.give_back(&later).await?;
            if rows.is_empty() {
                return Ok(Vec::new());
            }
            if queue.frozen {
                rows.retain(|row| row.kind == Kind::HealthAlarm);
            }
            let claimed = self.claim(rows, now, total).await?;
            failpoint("claimed");
            if !claimed.is_empty() {
                return Ok(claimed);
            }
        }
    }

    /// Looks at a mail and seals it, beside others.
    async fn write_and_seal(self, row: Outbox, now: DateTime<Utc>) -> (Outbox, Result<Option<Sealed>, AppError>) {
        let sealed = match self.look(&row, now).await {
            Ok(None) => Ok(None),
            Err(error) => Err(error),
            Ok(Some(Look { mut written, message, client })) => {
                let words = written.as_ref().and_then(Written::closing);
                let letter = written.as_mut().and_then(Written::take_letter);
                let draft = Draft { row: row.clone(), bytes: None, words, letter, message, client };
                match written {
                    None => Ok(Some((draft, Ok(None)))),
                    Some(written) => {
                        let ctx = Arc::clone(&self.ctx);
                        let sealing = tokio::task::spawn_blocking(move || written.seal(&ctx, now).map(Some)).await;
                        sealing.map(|bytes| Some((draft, bytes))).map_err(AppError::from)
                    }
                }
            }
        };
        (row, sealed)
    }

    /// Composes what may leave and commits its attempt; what may not is moved or ended.
    async fn claim(&self, rows: Vec<Outbox>, now: DateTime<Utc>, total: &mut Sent) -> Result<Vec<Claimed>, AppError> {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let mut looks = futures::stream::iter(rows)
            .map(|row| tokio::spawn(self.clone().write_and_seal(row, now)))
            .buffered(cores * 2);
        let mut drafts = Vec::new();
        while let Some(look) = looks.next().await {
            match look? {
                (_, Ok(sealed)) => drafts.extend(sealed),
                (_, Err(error)) if concerns_all(&error) => return Err(error),
                (row, Err(error)) => self.set_aside(&row, &error, now, total).await?,
            }
        }
        let mut claimed = Vec::new();
        let mut tx = self.ctx.store.begin().await?;
        for (mut draft, sealed) in drafts {
            match sealed {
                Ok(bytes) => draft.bytes = bytes,
                Err(error) => {
                    self.unsealable(&mut tx, &draft.row, draft.client.as_ref(), &error, now, total).await?;
                    continue;
                }
            }
            let row = draft.row.clone();
            let before = tx.savepoint().await?;
            match self.claim_one(&mut tx, draft, now).await {
                Ok(one) => {
                    tx.keep(before);
                    claimed.extend(one);
                }
                Err(error) if concerns_all(&error) => return Err(error),
                Err(error) => {
                    tx.undo(before).await?;
                    tracing::error!(kind = %row.kind, %error, "a mail couldn't be claimed; it waits");
                    tx.reschedule(row.id, now + KEY_WAIT, Some("fault")).await?;
                    total.deferred += 1;
                }
            }
        }
        failpoint("claiming");
        tx.commit().await?;
        Ok(claimed)
    }

    /// A mail that can't be written waits, and the operator is told once; the others go on.
    async fn set_aside(
        &self,
        row: &Outbox,
        error: &AppError,
        now: DateTime<Utc>,
        total: &mut Sent,
    ) -> Result<(), AppError> {
        total.deferred += 1;
        tracing::error!(kind = %row.kind, %error, "a mail can't be written; it waits");
        let mut tx = self.ctx.store.begin().await?;
        tx.reschedule(row.id, now + KEY_WAIT, Some("fault")).await?;
        match error {
            AppError::Store(StoreError::Tampered { code }) => {
                tx.hold(row.id).await?;
                health::alarm_record(&self.ctx, &mut tx, code, now).await?;
            }
            _ => health::alarm(&self.ctx, &mut tx, &Problem::new("database"), now).await?,
        }
        Ok(tx.commit().await?)
    }

    /// What a row is written from, or `None` when it isn't to leave now.
    async fn look(&self, row: &Outbox, now: DateTime<Utc>) -> Result<Option<Look>, AppError> {
        let mut read = self.ctx.store.read().await?;
        let client = match row.client {
            Some(id) => read.client(id).await?,
            None => None,
        };
        let message = match row.message {
            Some(id) => read.message(id).await?,
            None => None,
        };
        let silenced =
            |client: &Client| client.care.muted || (row.reached_dot && !lifecycle::may_leave(client.state, row.kind));
        if row.therapist.is_none() && client.as_ref().is_some_and(silenced) {
            drop(read);
            // Not even what a server may have taken already is repeated.
            self.end_unsaid(row, message.as_ref(), "not in this state", now).await?;
            return Ok(None);
        }
        if let (Some(message), Some(client)) = (&message, &client)
            && self.needs_a_day(message, client, now)
            && !self.leaves_now(&mut read, message, client, now).await?
        {
            drop(read);
            let mut tx = self.ctx.store.begin().await?;
            let leaves = self.may_leave(&mut tx, row, message, client, now).await?;
            tx.commit().await?;
            if !leaves {
                return Ok(None);
            }
            read = self.ctx.store.read().await?;
        }
        if row.reached_dot {
            // The server may have it: these bytes and no others.
            return Ok(Some(Look { written: None, message, client }));
        }
        let written = write(&self.ctx, &mut read, row, message.as_ref(), client.as_ref(), now).await?;
        drop(read);
        if written.is_some() {
            return Ok(Some(Look { written, message, client }));
        }
        self.end_unsaid(row, message.as_ref(), "nothing to say", now).await?;
        Ok(None)
    }

    /// A mail that isn't to leave any more, with the words that it would have carried.
    async fn end_unsaid(
        &self,
        row: &Outbox,
        message: Option<&Message>,
        why: &str,
        now: DateTime<Utc>,
    ) -> Result<(), AppError> {
        let mut tx = self.ctx.store.begin().await?;
        if !tx.finish(row.id, Finish::Cancelled, None, Some(why), now).await? {
            // Another answer took its place while it was looked at.
            return Ok(());
        }
        if let Some(message) = message.filter(|message| is_theirs(message.kind))
            && matches!(message.state, MessageState::Waiting | MessageState::Leaving)
        {
            tx.set_message_state(message.id, MessageState::Cancelled).await?;
            tx.delete_blob(message.id).await?;
            if let (true, Some(client)) = (message.kind.is_own_words(), message.client) {
                life::words_ended(&mut tx, client).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    fn local_day(&self, client: &Client, now: DateTime<Utc>) -> Option<NaiveDate> {
        let therapist = self.ctx.therapist(&client.therapist)?;
        Some(self.ctx.schedule(&therapist, client).local_day(now))
    }

    /// Whether it is still to be decided that a reply leaves today: one that waits, and one whose attempts have gone on
    /// beyond the day that it held. It may arrive today, also where the server may have it since yesterday: then no
    /// other one leaves today.
    fn needs_a_day(&self, message: &Message, client: &Client, now: DateTime<Utc>) -> bool {
        message.kind == Kind::Reply
            && match message.state {
                MessageState::Waiting => true,
                MessageState::Leaving => message.leave_day != self.local_day(client, now),
                _ => false,
            }
    }

    /// Whether a reply leaves now, and nothing has to be moved for it. It is asked again when the attempt is committed.
    async fn leaves_now(
        &self,
        read: &mut Tx,
        message: &Message,
        client: &Client,
        now: DateTime<Utc>,
    ) -> Result<bool, AppError> {
        let release = self.release(read, message, client, now).await?;
        Ok(matches!(release, Some((Release::Leave { .. }, _))))
    }

    /// What the rhythm says of a waiting reply, and its slot; None: its client is not in treatment.
    async fn release(
        &self,
        tx: &mut Tx,
        message: &Message,
        client: &Client,
        now: DateTime<Utc>,
    ) -> Result<Option<(Release, DateTime<Utc>)>, AppError> {
        let Some(therapist) = self.ctx.therapist(&client.therapist) else {
            return Err(AppError::NoTherapist { therapist: client.therapist.clone() });
        };
        if !client.state.in_treatment() {
            return Ok(None);
        }
        let schedule = self.ctx.schedule(&therapist, client);
        let at = message.slot.unwrap_or(now);
        let waiting = WaitingReply {
            newest_answered: message.answers,
            signed_at: message.signed_at.unwrap_or(message.at),
            leaving: false,
            slot: Slot { at, day: message.leave_day.unwrap_or_else(|| schedule.local_day(at)) },
        };
        let taken = reply::taken_days(tx, client, Some(message.id), now).await?;
        Ok(Some((release(&schedule, now, &waiting, &taken), at)))
    }

    /// Whether a waiting reply leaves now; moves it (or the one that holds the day) where it doesn't.
    async fn may_leave(
        &self,
        tx: &mut Tx,
        row: &Outbox,
        message: &Message,
        client: &Client,
        now: DateTime<Utc>,
    ) -> Result<bool, AppError> {
        let Some((release, at)) = self.release(tx, message, client, now).await? else {
            put_off(tx, row, now + KEY_WAIT).await?;
            return Ok(false);
        };
        match release {
            Release::Leave { .. } => Ok(true),
            Release::LeaveAndMoveOther { day, other_to } => {
                if let Some(other) = tx.reply_on_day(client.id, day).await? {
                    reply::move_reply(tx, &other, other_to).await?;
                }
                Ok(true)
            }
            Release::NotYet => {
                put_off(tx, row, at).await?;
                Ok(false)
            }
            Release::Move(slot) => {
                reply::move_reply(tx, message, slot).await?;
                put_off(tx, row, slot.at).await?;
                tx.journal(now, "moved", Some(&client.code), json!({ "slot": slot.at })).await?;
                Ok(false)
            }
            Release::NoSlot => {
                put_off(tx, row, now + KEY_WAIT).await?;
                Ok(false)
            }
        }
    }

    /// Commits the attempt: bytes frozen, next try set, the reply's day used.
    async fn claim_one(&self, tx: &mut Tx, draft: Draft, now: DateTime<Utc>) -> Result<Option<Claimed>, AppError> {
        let Draft { row, bytes, words, letter, message, client } = draft;
        // It may have been cancelled or replaced while it was being sealed.
        let Some(current) = tx.outbox(row.id).await? else { return Ok(None) };
        let open = matches!(current.state, OutboxState::Waiting | OutboxState::Leaving);
        if !open || current.reached_dot != bytes.is_none() {
            return Ok(None);
        }
        if let (Some(closing), Some(client)) = (&words, &client)
            && !sealed_letters::keep_words(tx, client, row.id, closing, now).await?
        {
            return Ok(None);
        }
        // Another reply of the same batch may have taken the day meanwhile.
        let takes_day = match (&message, &client) {
            (Some(message), Some(client)) if self.needs_a_day(message, client, now) => {
                if !self.may_leave(tx, &row, message, client, now).await? {
                    return Ok(None);
                }
                true
            }
            _ => false,
        };
        let before = Attempts {
            counted: current.attempts,
            unreachable: 0,
            counted_since: current.first_attempt_at,
            begun: current.attempts > 0,
            passed_dot: current.reached_dot,
        };
        let (attempts, next) = begin_attempt(now, before);
        if !tx.claim(row.id, bytes.as_deref(), now, next).await? {
            return Ok(None);
        }
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => match tx.frozen(row.id).await? {
                Some(bytes) => bytes,
                None => return Err(StoreError::Corrupt { table: "outbox", row: row.id.0 }.into()),
            },
        };
        if let (Some(message), Some(client)) = (&message, &client)
            && (takes_day || message.state == MessageState::Waiting)
        {
            tx.set_leaving(message.id, self.local_day(client, now).filter(|_| takes_day)).await?;
        }
        let Some(to) = registered(&self.ctx, &current, client.as_ref()) else { return Ok(None) };
        Ok(Some(Claimed { row: current, to, message, client, bytes, attempts, letter }))
    }

    /// It can't be sealed: it stays, no day is used, and the people concerned are told once.
    async fn unsealable(
        &self,
        tx: &mut Tx,
        row: &Outbox,
        client: Option<&Client>,
        error: &MailError,
        now: DateTime<Utc>,
        total: &mut Sent,
    ) -> Result<(), AppError> {
        total.deferred += 1;
        tracing::warn!(kind = %row.kind, %error, "a mail can't be sealed; it waits");
        let wait = if row.kind == Kind::Alert { ALERT_KEY_WAIT } else { KEY_WAIT };
        tx.reschedule(row.id, now + wait, Some("not-sealable")).await?;
        if let Some(client) = client
            && sealed_letters::told_meanwhile(tx, client, error).await?
        {
            tx.reschedule(row.id, now, None).await?;
            return Ok(());
        }
        let theirs = is_theirs(row.kind);
        if let (true, Some(client)) = (theirs, client)
            && tx.notice_once(&format!("unsealable:{}", row.id.0), now).await?
        {
            // Unless the notice about the expiry itself has just been sent.
            let told = tx.count_outbox(Kind::KeyExpiry, Some(client.id), now - TimeDelta::days(1)).await? > 0;
            if let Some(certificate) = self.ctx.client_certificate(client) {
                match certificate.usable_for(Purpose::Encrypt, now) {
                    Err(CertProblem::Revoked) => {
                        keys::arrived::remind(&self.ctx, tx, client.id, certificate.fingerprint(), now).await?;
                    }
                    Err(CertProblem::Expired { at }) if !told => {
                        let recipe = Recipe::KeyExpiry { expires: at, days: (at - now).num_days().min(0) };
                        Post::to_client(Kind::KeyExpiry, client.id, now).enqueue(&self.ctx, tx, &recipe, now).await?;
                    }
                    _ => {}
                }
            }
            let recipe =
                Recipe::DeliveryFailure { kind: row.kind, sent: now, cause: Cause::of(error), due: None, card: false };
            Post::to_therapist(Kind::DeliveryFailure, &client.therapist, Some(client.id), now)
                .enqueue(&self.ctx, tx, &recipe, now)
                .await?;
            tx.journal(now, "not-sealable", Some(&client.code), json!({ "kind": row.kind })).await?;
        } else if row.kind == Kind::MissedDay {
            // Days later it would say what is no longer true.
            tx.finish(row.id, Finish::Cancelled, None, Some("not-sealable"), now).await?;
        } else if row.therapist.is_some() {
            health::alarm(&self.ctx, tx, &health::why_not_sealed(&self.ctx, now), now).await?;
        }
        Ok(())
    }
}

/// Not before then; the bytes of what a server may have stay as they are.
async fn put_off(tx: &mut Tx, row: &Outbox, at: DateTime<Utc>) -> Result<(), StoreError> {
    if !tx.postpone(row.id, at).await? {
        tx.reschedule(row.id, at, Some("waits for another day")).await?;
    }
    Ok(())
}

/// Alerts and safety letters: they pass every queue, and wait for nothing.
pub(super) const fn is_about_danger(kind: Kind) -> bool {
    matches!(kind, Kind::Alert | Kind::Safety | Kind::SafetyViolence | Kind::StrangerSafety)
}

/// The therapist's own words.
pub(super) const fn is_theirs(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Reply
            | Kind::Urgent
            | Kind::Now
            | Kind::Closed
            | Kind::Declined
            | Kind::Suspended
            | Kind::Ending
            | Kind::Farewell
            | Kind::Video
    )
}
