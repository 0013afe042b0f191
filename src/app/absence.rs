//! A therapist's absences: entered, announced, begun, ended; what is owed moves out of them and back (SPEC section 5).
//!
//! Whoever enters or ends one says so in the database. The letters are the clock's affair ([`tick`]), so that they
//! leave once however it was entered; every process takes what it hears into its schedules ([`refresh`]).

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::context::{Context, Therapist};
use super::locum::{self, Paper};
pub use super::locum::{agree, locum_for, locum_now, stands_in};
use super::post::{Post, Recipe};
use super::reply::{move_reply, taken_days};
use super::therapist::{Mail, Refused, Step as Ordered};
use crate::domain::absence::{Change, Course, Days, Entry, Owed, Step, Wrong, announces, entered, moved_due};
use crate::domain::absence::{first_slot, moved_reply, step};
use crate::domain::commands::Command;
use crate::domain::rhythm::Slot;
use crate::letters::{Outcome, RefusalReason};
use crate::model::{AbsenceOrigin, AbsenceRow, ClientState, Kind, MessageState, TherapistId};
use crate::store::{ABSENCES_CHANGED, Absence, Client, Tx};

impl Absence {
    /// Its first and last day.
    pub fn days(&self) -> Days {
        Days { first: self.first_day, last: self.last_day }
    }

    /// It has neither ended nor been withdrawn.
    pub fn is_live(&self) -> bool {
        self.ended_at.is_none()
    }

    fn course(&self) -> Course {
        Course {
            days: self.days(),
            unplanned: self.unplanned,
            announced: self.announced_at.is_some(),
            started: self.started_at.is_some(),
        }
    }
}

/// What somebody wants to enter.
pub struct Wanted {
    pub days: Days,
    /// None: the one of the configuration, where there is one.
    pub locum: Option<TherapistId>,
    pub origin: AbsenceOrigin,
}

/// What is true after an absence was entered.
pub struct Entered {
    pub days: Days,
    pub locum: Option<Arc<Therapist>>,
    /// How many clients are or will be written to.
    pub clients: u32,
    /// When the letter before it leaves; None: it begins now, and so does its letter.
    pub announced: Option<DateTime<Utc>>,
}

/// Why an absence wasn't entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotEntered {
    #[error(transparent)]
    Dates(#[from] Wrong),
    #[error("who stands in must be another therapist of the configuration")]
    Locum,
}

/// Takes the absences of the database into the schedules, if they have changed since the last time.
///
/// # Errors
/// [`AppError::Store`].
pub async fn refresh(ctx: &Context, tx: &mut Tx) -> Result<(), AppError> {
    let version = tx.counter(ABSENCES_CHANGED).await?;
    if ctx.knows_absences(version) {
        return Ok(());
    }
    let absences = tx.absences().await?;
    ctx.set_absences(absences, version);
    Ok(())
}

/// The therapist as they are with these absences, which may not be committed yet.
fn with(ctx: &Context, id: &TherapistId, absences: &[Absence]) -> Result<Therapist, AppError> {
    let therapist = ctx.therapist(id).ok_or_else(|| AppError::NoTherapist { therapist: id.clone() })?;
    Ok(therapist.with_absences(ranges(absences, id)))
}

/// The days without slots. Those that have ended count too: no slot was missed in them.
pub fn ranges(absences: &[Absence], id: &TherapistId) -> Vec<(NaiveDate, NaiveDate)> {
    let of = absences.iter().filter(|absence| absence.therapist == *id);
    of.map(|absence| absence.days().range()).filter(|(first, last)| first <= last).collect()
}

/// Enters an absence, or the end of the one that runs without a known end.
///
/// # Errors
/// [`AppError`]; what can't be entered is a value.
pub async fn enter(
    ctx: &Context,
    tx: &mut Tx,
    id: &TherapistId,
    wanted: Wanted,
    now: DateTime<Utc>,
) -> Result<Result<Entered, NotEntered>, AppError> {
    let therapist = ctx.therapist(id).ok_or_else(|| AppError::NoTherapist { therapist: id.clone() })?;
    let today = therapist.schedule.local_day(now);
    let own_locum = therapist.settings.locum.clone();
    let locum = match wanted.locum.or(own_locum).map(|locum| ctx.therapist(&locum)) {
        Some(Some(locum)) if locum.id() != id => Some(locum),
        Some(_) => return Ok(Err(NotEntered::Locum)),
        None => None,
    };
    let absences = tx.absences().await?;
    let live: Vec<&Absence> = absences.iter().filter(|other| other.therapist == *id && other.is_live()).collect();
    let known: Vec<Days> = live.iter().map(|other| other.days()).collect();
    let entry = match entered(wanted.days, &known, today) {
        Ok(entry) => entry,
        Err(wrong) => return Ok(Err(wrong.into())),
    };
    let (absence, change) = match entry {
        Entry::New(days) => {
            let operators_now = wanted.origin == AbsenceOrigin::Operator && days.first == today;
            let new = Absence {
                id: AbsenceRow(ctx.store.new_id()),
                therapist: id.clone(),
                first_day: days.first,
                last_day: days.last,
                locum: locum.as_ref().map(|locum| locum.id().clone()),
                origin: wanted.origin,
                unplanned: operators_now || days.last.is_none(),
                created_at: now,
                announced_at: None,
                started_at: None,
                ended_at: None,
            };
            (new, Change::Added)
        }
        Entry::Ends { last } => {
            let Some(running) = live.into_iter().find(|other| other.last_day.is_none()).cloned() else {
                return Ok(Err(Wrong::Overlap.into()));
            };
            // The clients are told again, now with the day.
            let known = Absence { last_day: Some(last), started_at: None, ..running };
            (known, Change::EndKnown)
        }
    };
    tx.put_absence(&absence).await?;
    let days = absence.days();
    let detail = json!({ "therapist": id.0, "first": days.first, "last": days.last, "origin": absence.origin });
    tx.journal(now, "absence", None, detail).await?;
    let all = tx.absences().await?;
    move_owed(ctx, tx, &with(ctx, id, &all)?, change, now).await?;
    let announced = announces(&absence.course(), &with(ctx, id, &all)?.schedule);
    Ok(Ok(Entered {
        days,
        clients: count(told(tx, id).await?.len()),
        announced: announced.map(|at| at.max(now)).filter(|_| days.first > today),
        locum: match &absence.locum {
            Some(locum) => ctx.therapist(locum),
            None => None,
        },
    }))
}

/// After its own end an absence is still what `/back` means, and not the next one.
const JUST_BACK: TimeDelta = TimeDelta::days(3);

/// What is true after an absence was ended.
pub struct Ended {
    /// The days that will not be an absence; None: it had begun.
    pub withdrawn: Option<Days>,
    /// When letters leave again.
    pub next: Option<DateTime<Utc>>,
    /// How many clients are written to.
    pub clients: u32,
}

/// `/back`: ends the absence that runs, else withdraws the next one. None: there is none, or one has just ended by
/// itself, and who comes back from it doesn't mean the next.
///
/// # Errors
/// [`AppError`].
pub async fn back(ctx: &Context, tx: &mut Tx, id: &TherapistId, now: DateTime<Utc>) -> Result<Option<Ended>, AppError> {
    let all = tx.absences().await?;
    let today = with(ctx, id, &all)?.schedule.local_day(now);
    let own = all.iter().filter(|other| other.therapist == *id);
    let (live, ended): (Vec<&Absence>, Vec<&Absence>) = own.partition(|other| other.is_live());
    let runs = live.iter().find(|other| other.days().covers(today));
    // Over, and waiting for the morning of its return.
    let over = live.iter().find(|other| other.days().is_over(today));
    let left = ended.iter().filter(|other| other.first_day <= today).filter_map(|other| other.ended_at).max();
    let means_it = |other: &Absence| left.is_none_or(|at| now - at >= JUST_BACK || other.created_at > at);
    let coming = live.iter().min_by_key(|other| other.first_day).filter(|other| means_it(other));
    let (clients, withdrawn) = match (runs, over, coming) {
        (Some(runs), ..) => (cut(ctx, tx, (*runs).clone(), today, now).await?, None),
        (None, Some(over), _) => {
            let tell = over.announced_at.is_some() || over.started_at.is_some();
            (end(ctx, tx, (*over).clone(), tell, now).await?, None)
        }
        (None, None, Some(coming)) => (cut(ctx, tx, (*coming).clone(), today, now).await?, Some(coming.days())),
        (None, None, None) => return Ok(None),
    };
    let all = tx.absences().await?;
    let next = with(ctx, id, &all)?.schedule.next_slot(now).map(|slot| slot.at);
    Ok(Some(Ended { withdrawn, next, clients }))
}

/// Takes the rest of an absence back: today belongs to it no more.
async fn cut(
    ctx: &Context,
    tx: &mut Tx,
    absence: Absence,
    today: NaiveDate,
    now: DateTime<Utc>,
) -> Result<u32, AppError> {
    let until = today.max(absence.first_day);
    let tell = absence.announced_at.is_some() || absence.started_at.is_some();
    let (id, cut_id) = (absence.therapist.clone(), absence.id);
    let cut = Absence { last_day: until.pred_opt(), ..absence };
    let clients = end(ctx, tx, cut, tell, now).await?;
    let mut others = tx.absences().await?;
    others.retain(|other| other.id != cut_id);
    move_owed(ctx, tx, &with(ctx, &id, &others)?, Change::Withdrawn, now).await?;
    Ok(clients)
}

/// The end of an absence: the locum's copies are destroyed, and those who knew of it are told.
async fn end(ctx: &Context, tx: &mut Tx, absence: Absence, tell: bool, now: DateTime<Utc>) -> Result<u32, AppError> {
    let ended = Absence { ended_at: Some(now), ..absence };
    tx.put_absence(&ended).await?;
    let destroyed = tx.destroy_copies_of(&ended.therapist).await?;
    let detail = json!({ "therapist": ended.therapist.0, "last": ended.last_day, "copies_destroyed": destroyed });
    tx.journal(now, "absence-ended", None, detail).await?;
    let mut clients = 0;
    if tell {
        for client in told(tx, &ended.therapist).await? {
            letter(ctx, tx, &client, Kind::AbsenceReturn, Paper::Return { absence: ended.id }, now).await?;
            clients += 1;
        }
    }
    Ok(clients)
}

async fn letter(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    kind: Kind,
    paper: Paper,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    Post::to_client(kind, client.id, now).enqueue(ctx, tx, &Recipe::Absence(paper), now).await?;
    Ok(())
}

/// Whether somebody is told of absences: in treatment or paused, and mail may leave to them.
pub(super) fn is_told(client: &Client) -> bool {
    (client.state.in_treatment() || client.state == ClientState::Paused) && !client.care.muted
}

async fn told(tx: &mut Tx, id: &TherapistId) -> Result<Vec<Client>, AppError> {
    Ok(tx.clients_of(id).await?.sound.into_iter().filter(is_told).collect())
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Moves what is owed by a therapist after a change of absences: due slots of open turns, waiting replies.
async fn move_owed(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    change: Change,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let clients = tx.clients_of(therapist.id()).await?.sound;
    for client in clients.into_iter().filter(|client| client.state.in_treatment()) {
        move_turn(ctx, tx, therapist, &client, change, now).await?;
        let schedule = ctx.schedule(therapist, &client);
        for reply in tx.pending_replies(client.id).await? {
            let (MessageState::Waiting, Some(at)) = (reply.state, reply.slot) else { continue };
            let slot = Slot { at, day: reply.leave_day.unwrap_or_else(|| schedule.local_day(at)) };
            let taken = taken_days(tx, &client, Some(reply.id), now).await?;
            if let Some(to) = moved_reply(&schedule, slot, &taken, change, now) {
                move_reply(tx, &reply, to).await?;
                tx.journal(now, "moved", Some(&client.code), json!({ "slot": to.at })).await?;
            }
        }
    }
    Ok(())
}

async fn move_turn(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    client: &Client,
    change: Change,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let Some(turn) = tx.current_turn(client.id).await? else { return Ok(()) };
    let schedule = ctx.schedule(therapist, client);
    let first = tx.letters_in_turn(turn.id).await?.into_iter().next();
    let owed = Owed {
        due: turn.due_at.map(|at| Slot { at, day: schedule.local_day(at) }),
        arrived: turn.opened_at,
        first_seen: first.map_or(turn.opened_at, |letter| letter.seen_at),
    };
    let due = moved_due(&schedule, &owed, change, now).map(|slot| slot.at);
    if due != turn.due_at {
        tx.set_turn_due(turn.id, due).await?;
        tx.journal(now, "due-moved", Some(&client.code), json!({ "due": due })).await?;
    }
    Ok(())
}

/// At the start of a run: the file's absences are those of the database.
///
/// # Errors
/// [`AppError`].
pub async fn mirror(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut tx = ctx.store.begin().await?;
    let own = |absence: &Absence| absence.origin == AbsenceOrigin::Configuration;
    let known: Vec<Absence> = tx.absences().await?.into_iter().filter(own).collect();
    for old in known.iter().filter(|old| old.is_live()) {
        let stands = ctx.config.absences.iter().any(|new| {
            new.therapist == old.therapist
                && new.from <= old.first_day
                && Some(new.to) == old.last_day
                && new.locum.as_ref().is_none_or(|locum| Some(locum) == old.locum.as_ref())
        });
        let Some(therapist) = ctx.therapist(&old.therapist) else { continue };
        let today = therapist.schedule.local_day(now);
        if !stands && !old.days().is_over(today) {
            cut(ctx, &mut tx, old.clone(), today, now).await?;
        }
    }
    for new in &ctx.config.absences {
        let Some(therapist) = ctx.therapist(&new.therapist) else { continue };
        // One that `/back` has ended isn't entered again.
        let entered = known.iter().any(|old| {
            old.therapist == new.therapist
                && old.first_day >= new.from
                && old.first_day <= new.to
                && (!old.is_live() || old.last_day == Some(new.to))
        });
        if entered || new.to < therapist.schedule.local_day(now) {
            continue;
        }
        let days = Days { first: new.from, last: Some(new.to) };
        let wanted = Wanted { days, locum: new.locum.clone(), origin: AbsenceOrigin::Configuration };
        if let Err(why) = enter(ctx, &mut tx, &new.therapist, wanted, now).await? {
            tracing::warn!(therapist = %new.therapist, from = %new.from, %why, "an [[absence]] isn't entered");
        }
    }
    tx.commit().await?;
    let mut tx = ctx.store.read().await?;
    refresh(ctx, &mut tx).await
}

/// What the clock brings: letters before, at the start and at the return, the locum's cover, what is still due in an
/// absence moved out of it.
///
/// # Errors
/// [`AppError`]: it is tried again at the next tick.
pub async fn tick(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut read = ctx.store.read().await?;
    refresh(ctx, &mut read).await?;
    drop(read);
    for known in ctx.absences().iter().filter(|absence| absence.is_live()) {
        let mut tx = ctx.store.begin().await?;
        // Read again: another process may have ended one, or entered another, since.
        let all = tx.absences().await?;
        let Ok(therapist) = with(ctx, &known.therapist, &all) else { continue };
        let live = all.iter().filter(|other| other.is_live() && other.therapist == known.therapist);
        let (this, others): (Vec<&Absence>, Vec<&Absence>) = live.partition(|other| other.id == known.id);
        let others: Vec<Days> = others.into_iter().map(Absence::days).collect();
        if let Some(absence) = this.first()
            && let Some(step) = step(&absence.course(), &therapist.schedule, &others, now)
        {
            take_step(ctx, &mut tx, (*absence).clone(), step, now).await?;
        }
        heal(ctx, &mut tx, &therapist, now).await?;
        tx.commit().await?;
    }
    let mut tx = ctx.store.begin().await?;
    tx.destroy_answered_copies().await?;
    tx.commit().await?;
    let mut read = ctx.store.read().await?;
    refresh(ctx, &mut read).await
}

async fn take_step(
    ctx: &Context,
    tx: &mut Tx,
    absence: Absence,
    step: Step,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let id = absence.id;
    match step {
        Step::Announce => {
            for client in told(tx, &absence.therapist).await? {
                letter(ctx, tx, &client, Kind::AbsencePlanned, Paper::Planned { absence: id }, now).await?;
            }
            tx.journal(now, "absence-announced", None, json!({ "therapist": absence.therapist.0 })).await?;
            tx.put_absence(&Absence { announced_at: Some(now), ..absence }).await?;
        }
        Step::Start => {
            let locum = absence.locum.as_ref().and_then(|locum| ctx.therapist(locum));
            for client in told(tx, &absence.therapist).await? {
                let covered = locum.is_some() && client.care.locum_consent.is_some();
                let (kind, paper) = match (covered, absence.unplanned) {
                    (true, _) => (Kind::Locum, Paper::Locum { absence: id }),
                    (false, true) => (Kind::AbsenceUnplanned, Paper::Unplanned { absence: id }),
                    (false, false) => (Kind::AbsenceStart, Paper::Start { absence: id }),
                };
                letter(ctx, tx, &client, kind, paper, now).await?;
            }
            if let Some(locum) = locum {
                locum::begin(ctx, tx, &absence, &locum, now).await?;
            }
            tx.journal(now, "absence-started", None, json!({ "therapist": absence.therapist.0 })).await?;
            tx.put_absence(&Absence { started_at: Some(now), ..absence }).await?;
        }
        Step::Return { tell } => {
            end(ctx, tx, absence, tell, now).await?;
        }
    }
    Ok(())
}

/// A letter may have been read before an absence was known and filed after it: its slot moves too.
async fn heal(ctx: &Context, tx: &mut Tx, therapist: &Therapist, now: DateTime<Utc>) -> Result<(), AppError> {
    for turn in tx.open_turns_of(therapist.id()).await? {
        let lost = turn.due_at.is_some_and(|due| therapist.schedule.is_absent(therapist.schedule.local_day(due)));
        if !lost {
            continue;
        }
        let client = tx.client(turn.client).await.ok().flatten();
        if let Some(client) = client.filter(|c| c.state.in_treatment()) {
            move_turn(ctx, tx, therapist, &client, Change::Added, now).await?;
        }
    }
    Ok(())
}

/// The absence that a therapist is in now, or the next one.
pub fn nearest(ctx: &Context, therapist: &Therapist, now: DateTime<Utc>) -> Option<Absence> {
    let today = therapist.schedule.local_day(now);
    let absences = ctx.absences();
    let mut own = absences.iter().filter(|a| a.therapist == *therapist.id() && a.is_live());
    own.find(|absence| !absence.days().is_over(today)).cloned()
}

/// The absence that a therapist is in now.
pub fn running(ctx: &Context, therapist: &Therapist, now: DateTime<Utc>) -> Option<Absence> {
    let today = therapist.schedule.local_day(now);
    nearest(ctx, therapist, now).filter(|absence| absence.days().covers(today))
}

/// The first slot after an absence, in a client's own rhythm.
pub(super) fn slot_after(ctx: &Context, absence: &Absence, client: &Client) -> Option<DateTime<Utc>> {
    let therapist = ctx.therapist(&absence.therapist)?;
    first_slot(absence.days(), &ctx.schedule(&therapist, client)).map(|slot| slot.at)
}

/// `/absent` and `/back` in a therapist's mail.
///
/// # Errors
/// [`AppError`]; refusals are values.
pub(super) async fn ordered(mail: &Mail<'_>, tx: &mut Tx, command: &Command) -> Ordered<Option<Outcome>> {
    let id = mail.from.therapist.id();
    let refused = |reason| Ok(Err(Refused::new(reason)));
    if let Command::Absent { from, until, locum } = command {
        let days = Days { first: *from, last: Some(*until) };
        let wanted = Wanted { days, locum: locum.clone(), origin: AbsenceOrigin::Mail };
        return match enter(mail.ctx, tx, id, wanted, mail.now).await? {
            Ok(entered) => Ok(Ok(Some(Outcome::Absent {
                from: entered.days.first,
                until: entered.days.last.unwrap_or(*until),
                locum: entered.locum.map(|locum| locum.settings.name.clone()),
                clients: entered.clients,
                announced: entered.announced,
            }))),
            Err(NotEntered::Dates(_)) => refused(RefusalReason::AbsenceDates),
            Err(NotEntered::Locum) => refused(RefusalReason::UnknownTherapist),
        };
    }
    match back(mail.ctx, tx, id, mail.now).await? {
        Some(Ended { withdrawn, next, clients }) => {
            let (from, until) = (withdrawn.map(|days| days.first), withdrawn.and_then(|days| days.last));
            Ok(Ok(Some(Outcome::Back { from, until, next, clients })))
        }
        None => refused(RefusalReason::NotAbsent),
    }
}
