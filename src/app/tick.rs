//! What the clock brings about: digests, reminders, missed slots. What is done once a day is in `daily`.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::absence;
use super::context::{Context, Therapist};
use super::crisis;
use super::digest;
use super::enrol;
use super::health;
use super::post::{Post, Problem, Recipe};
use super::reply::taken_days;
use crate::domain::rhythm::{OpenTurn, Slot, digest_due, missed, reminder_due};
use crate::model::Kind;
use crate::store::{StoreError, Turn, Tx};

/// How many misses running a client is told of: a promise that is broken a third time is none. Then the operator has
/// been alarmed, and the digest shows it.
const TOLD_MISSES: u32 = 2;

/// Does everything that is due at `now`, alerts first. `seen_until` is when the last completed look into the
/// mailbox began: a reply that may still lie there unread is no miss.
///
/// # Errors
/// The first [`AppError`]: a part that fails keeps no other from its work, and is tried again at the next tick.
pub async fn tick(ctx: &Context, seen_until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut outcomes = vec![crisis::tick(ctx, now).await, absence::tick(ctx, now).await];
    for therapist in ctx.therapists().iter() {
        outcomes.push(staff_tick(ctx, therapist, now).await);
        if let Some(Err(AppError::Store(StoreError::Db(_) | StoreError::Fenced))) = outcomes.last() {
            // The database itself is busy or full: each other part would wait as long for nothing.
            return outcomes.into_iter().collect();
        }
    }
    if let Some(seen_until) = seen_until {
        outcomes.push(missed_tick(ctx, seen_until, now).await);
    }
    outcomes.push(enrol::tick::tick(ctx, now).await);
    outcomes.push(health::watch_letters(ctx, now).await);
    outcomes.into_iter().collect()
}

async fn staff_tick(ctx: &Context, therapist: &Therapist, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut tx = ctx.store.begin().await?;
    digest_tick(ctx, &mut tx, therapist, now).await?;
    reminder_tick(ctx, &mut tx, therapist, now).await?;
    Ok(tx.commit().await?)
}

async fn digest_tick(ctx: &Context, tx: &mut Tx, therapist: &Therapist, now: DateTime<Utc>) -> Result<(), AppError> {
    let key = format!("digest:{}", therapist.id());
    let last = tx.meta_time(&key).await?;
    if let Some(slot) = digest_due(&therapist.digest, now, last) {
        digest::enqueue(ctx, tx, therapist, slot.at, now).await?;
        tx.set_meta_time(&key, slot.at).await?;
        tx.journal(now, "digest", None, json!({ "therapist": therapist.id().0, "slot": slot.at })).await?;
    }
    Ok(())
}

async fn reminder_tick(ctx: &Context, tx: &mut Tx, therapist: &Therapist, now: DateTime<Utc>) -> Result<(), AppError> {
    let lead = ctx.config.rhythm.reminder;
    if lead <= TimeDelta::zero() {
        return Ok(());
    }
    let key = format!("reminder:{}", therapist.id());
    let last = tx.meta_time(&key).await?.map(|at| Slot { at, day: therapist.schedule.local_day(at) });
    let Some(slot) = reminder_due(&therapist.schedule, now, lead, last) else { return Ok(()) };
    if digest::due_lines(tx, therapist, slot.at).await?.is_empty() {
        return Ok(());
    }
    Post::to_therapist(Kind::Reminder, therapist.id(), None, now)
        .enqueue(ctx, tx, &Recipe::Reminder { slot: slot.at }, now)
        .await?;
    tx.set_meta_time(&key, slot.at).await?;
    Ok(())
}

async fn missed_tick(ctx: &Context, seen_until: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), AppError> {
    let overdue = ctx.store.read().await?.overdue_turns(now).await?;
    for turn in overdue {
        let mut tx = ctx.store.begin().await?;
        missed_turn(ctx, &mut tx, &turn, seen_until, now).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn missed_turn(
    ctx: &Context,
    tx: &mut Tx,
    turn: &Turn,
    seen_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let client = match tx.client(turn.client).await {
        Ok(Some(client)) => client,
        Ok(None) => return Ok(()),
        Err(StoreError::Tampered { code }) => return health::alarm_record(ctx, tx, &code, now).await,
        Err(error) => return Err(error.into()),
    };
    let Some(therapist) = ctx.therapist(&client.therapist) else { return Ok(()) };
    // Nothing leaves to a muted person, so nothing is missed either.
    if !client.state.in_treatment() || client.care.muted {
        return Ok(());
    }
    let schedule = ctx.schedule(&therapist, &client);
    let slot = |at: DateTime<Utc>| Slot { at, day: schedule.local_day(at) };
    let Some(due) = turn.due_at else { return Ok(()) };
    let facts = OpenTurn {
        due: slot(due),
        reply_waiting: !tx.pending_replies(client.id).await?.is_empty(),
        last_missed: turn.missed_slot.map(slot),
        misses_running: turn.misses,
    };
    let taken = taken_days(tx, &client, None, now).await?;
    let Some(miss) = missed(&schedule, now, seen_until, &facts, &taken) else { return Ok(()) };
    tx.miss_turn(turn.id, miss.slot.at).await?;
    if miss.running <= TOLD_MISSES {
        let recipe = Recipe::MissedDay { missed: miss.slot.at, next: miss.next.at };
        Post::to_client(Kind::MissedDay, client.id, now).enqueue(ctx, tx, &recipe, now).await?;
    }
    tx.journal(now, "missed", Some(&client.code), json!({ "slot": miss.slot.at, "running": miss.running })).await?;
    if miss.second_running {
        let problem = Problem { code: Some(client.code.to_string()), ..Problem::new("second-miss") };
        health::alarm(ctx, tx, &problem, now).await?;
    }
    Ok(())
}

/// Days until a key expires, begun ones counted: 1 on the last day, 0 or less once it has expired.
pub fn days_left(expires: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    let left = expires - now;
    if left > TimeDelta::zero() { (left - TimeDelta::nanoseconds(1)).num_days() + 1 } else { left.num_days() }
}

#[cfg(test)]
mod tests {
    use super::super::post::Owner;
    use super::*;

    #[test]
    fn before_its_end_a_key_is_not_said_to_be_of_no_use() {
        use crate::letters::{HealthProblem as H, KeyOwner};
        let letter = |owner, days| Problem::key(owner, None, days).letter();
        for owner in [Owner::Therapist, Owner::Practice, Owner::Archive] {
            assert!(matches!(letter(owner, 14), H::KeyExpires { days: 14, .. }));
        }
        assert!(matches!(letter(Owner::Therapist, 0), H::TherapistCertificate));
        assert!(matches!(letter(Owner::Practice, -2), H::PracticeKey));
        assert!(matches!(letter(Owner::Archive, -2), H::KeyExpires { owner: KeyOwner::Archive, days: 0 }));
        let code = crate::model::ClientCode::from_bits(7);
        let of_client = Problem::key(Owner::Client, Some(&code), 1).letter();
        assert!(
            matches!(of_client, H::KeyExpires { owner: KeyOwner::Client { code: named, .. }, days: 1 } if named == code)
        );
    }

    #[test]
    fn a_key_has_a_day_left_until_the_instant_it_expires() {
        let expires = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let left = |before: TimeDelta| days_left(expires, expires - before);
        assert_eq!(left(TimeDelta::seconds(1)), 1);
        assert_eq!(left(TimeDelta::days(1)), 1);
        assert_eq!(left(TimeDelta::days(1) + TimeDelta::seconds(1)), 2);
        assert_eq!(left(TimeDelta::zero()), 0);
        assert_eq!(left(TimeDelta::days(-3)), -3);
    }
}
