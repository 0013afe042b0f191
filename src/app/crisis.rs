//! Words of danger in a letter: alerts until the therapist shows a sign of life, safety letters (SPEC section 7).
//!
//! What a letter brings about is committed with the letter itself. Nothing here has a word of it: classes, and ids
//! of rules.

pub mod papers;
pub mod scan;

use std::collections::BTreeSet;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::AppError;
use super::absence::locum_now;
use super::context::{Context, Therapist};
use super::health;
use super::intake::join_turn;
use super::post::{Post, Recipe};
use super::prepare::{Disposition, Sealed};
use crate::domain::crisis::next_alert;
use crate::letters::{Line, Lines};
use crate::model::{Address, ClientId, CrisisClass, Kind, Language, Mark, TherapistId, TurnRow, Verdict};
use crate::store::{Client, NewAlert, Outbox, StoreError, Tx};

/// A person gets one safety letter of a kind in this time.
const SAFETY_EVERY: TimeDelta = TimeDelta::hours(24);
/// Alerts of a class at once an hour about one client, for letters that anybody can have written; beyond it they are
/// said with the next repetition.
const CLIENT_AN_HOUR: u64 = 12;
/// The same for all strangers together.
const STRANGERS_AN_HOUR: u64 = 20;
/// Alerts as old as this are looked through for changes by something else than Cadre.
const WATCHED: TimeDelta = TimeDelta::days(7);

/// Letters about danger, as they are kept until they leave.
#[derive(Serialize, Deserialize)]
#[serde(tag = "paper", rename_all = "kebab-case")]
pub enum Paper {
    Alert {
        alert: i64,
        /// Further ones that a repetition speaks of.
        #[serde(default)]
        others: Vec<i64>,
        /// How often it was said before.
        repeated: u32,
        locum: bool,
    },
    Safety {
        arrived: DateTime<Utc>,
        expected: Option<DateTime<Utc>>,
        /// Lines for violence, alone or (in a letter about danger to oneself) below the others.
        violence: bool,
        /// The letter came in clear: whoever wrote it may have no key at hand to open an answer.
        clear: bool,
        origin: Option<String>,
    },
    StrangerSafety {
        origin: Option<String>,
        language: Language,
    },
}

/// Which safety letter goes to the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Safety {
    kind: Kind,
    violence: bool,
}

/// Which safety letter a scanned message brings about, in place of an acknowledgement.
///
/// # Errors
/// [`AppError::Store`].
pub async fn safety(tx: &mut Tx, sealed: &Sealed, now: DateTime<Utc>) -> Result<Option<Safety>, AppError> {
    let (Some(known), Some(finding)) = (&sealed.client, sealed.scan.finding()) else { return Ok(None) };
    // Read again: a mail of the same group may have changed what is wished.
    let Some(client) = tx.client(known.id).await? else { return Ok(None) };
    let care = &client.care;
    // Who forged the sender isn't who reads the answer.
    let forged = sealed.marks.iter().any(|mark| matches!(mark, Mark::DmarcFail | Mark::AmbiguousFrom));
    let unwished = care.discreet || care.safety_quiet || care.muted || sealed.automatic;
    if forged || unwished || is_known(tx, sealed).await? {
        return Ok(None);
    }
    let violence = finding.has(CrisisClass::V);
    if finding.has(CrisisClass::A) && tx.count_outbox(Kind::Safety, Some(client.id), now - SAFETY_EVERY).await? == 0 {
        return Ok(Some(Safety { kind: Kind::Safety, violence }));
    }
    let told = tx.count_outbox(Kind::SafetyViolence, Some(client.id), now - SAFETY_EVERY).await? > 0;
    Ok((violence && !finding.has(CrisisClass::A) && !told).then_some(Safety { kind: Kind::SafetyViolence, violence }))
}

/// What else is known of a message that raises an alert.
#[derive(Default)]
pub struct Place {
    /// `H3` or `N-3F…`.
    pub number: Option<String>,
    pub turn: Option<TurnRow>,
    pub safety: Option<Safety>,
    /// It is passed on, or can be released by its number.
    pub passed_on: bool,
}

/// Raises the alert of a scanned message, with its safety letter. Does nothing where nothing was found.
///
/// # Errors
/// [`AppError`].
pub async fn raise(
    ctx: &Context,
    tx: &mut Tx,
    sealed: &Sealed,
    place: Place,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let (Some(finding), Some(class)) = (sealed.scan.finding(), sealed.scan.class()) else { return Ok(()) };
    if is_known(tx, sealed).await? {
        return Ok(());
    }
    let mut told = false;
    if let (Some(client), Some(safety)) = (&sealed.client, place.safety) {
        send_safety(ctx, tx, sealed, client, safety, place.turn, now).await?;
        told = true;
    } else if sealed.client.is_none()
        && class == CrisisClass::A
        && let Some(to) = &sealed.sender
    {
        let language = finding.rules.first().map_or(ctx.config.practice.language, |rule| language_of(rule));
        told = answer_stranger(ctx, tx, to, sealed.origin.message_id.clone(), language, now).await?;
    }
    let new = NewAlert {
        client: sealed.client.as_ref().map(|client| client.id),
        therapist: sealed.therapist.id().clone(),
        message: sealed.row,
        class,
        rules: finding.rules.clone(),
        verdict: sealed.verdict,
        number: place.number,
        arrived: sealed.arrived,
        safety: told,
        passed_on: place.passed_on,
    };
    let client = sealed.client.as_ref().map(|client| client.code.as_str());
    tracing::warn!(event = "alert", client, %class, "a letter with crisis words");
    open(ctx, tx, &new, sealed.client.as_ref(), &sealed.therapist, now).await
}

/// The therapist's certificate can't be used: the letter waits in the mailbox. Its writer is told that it arrived,
/// or gets the lines; the alert and its command don't wait.
///
/// # Errors
/// [`AppError`].
pub async fn blocked(ctx: &Context, tx: &mut Tx, sealed: &Sealed, now: DateTime<Utc>) -> Result<(), AppError> {
    let safety = safety(tx, sealed, now).await?;
    let mut turn = None;
    if let (Disposition::File { opens_turn: true }, Some(client)) = (sealed.disposition, &sealed.client)
        && client.state.in_treatment()
        && tx.current_turn(client.id).await?.is_none()
    {
        turn = join_turn(ctx, tx, client, sealed.arrived, sealed.due, &sealed.origin, safety.is_none(), now).await?;
    }
    // It is passed on as soon as it can be sealed, a request under the number that it gets then.
    raise(ctx, tx, sealed, Place { number: None, turn, safety, passed_on: true }, now).await?;
    if sealed.scan.finding().is_some() {
        tx.notice_once(&known_key(sealed), now).await?;
    }
    Ok(())
}

async fn is_known(tx: &mut Tx, sealed: &Sealed) -> Result<bool, AppError> {
    Ok(tx.notice(&known_key(sealed)).await?.is_some())
}

fn known_key(sealed: &Sealed) -> String {
    format!("alerted:{}", data_encoding::HEXLOWER.encode(&sealed.bytes_hash))
}

/// Rules are named after their lexicon: `fr.a.…`.
fn language_of(rule: &str) -> Language {
    if rule.starts_with("en.") { Language::En } else { Language::Fr }
}

async fn open(
    ctx: &Context,
    tx: &mut Tx,
    new: &NewAlert,
    client: Option<&Client>,
    therapist: &Therapist,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let said = tx.count_alerts(new.client, new.class, now - TimeDelta::hours(1)).await?;
    let most = if client.is_some() { CLIENT_AN_HOUR } else { STRANGERS_AN_HOUR };
    let first = minute(now);
    let id = tx.open_alert(new, now, next_alert(first, first, therapist.settings.timezone)).await?;
    let code = client.map(|client| &client.code);
    let detail = json!({
        "class": new.class,
        "rules": new.rules,
        "verdict": new.verdict,
        "number": new.number,
        "safety": new.safety,
    });
    tx.journal(now, "alert", code, detail).await?;
    // Whoever forges letters must not silence the client's own.
    if said >= most && !is_proven(new.verdict) {
        return Ok(());
    }
    for (reader, locum) in readers(ctx, tx, &new.therapist, client, now).await? {
        mail(ctx, tx, &reader, locum, &[id], new.client, 0, now).await?;
    }
    tx.alert_mailed(id).await?;
    let whom = code.map(ToString::to_string).or_else(|| new.number.clone());
    health::call(ctx, tx, &format!("alert:{id}"), new.class.as_str(), whom).await
}

/// Nobody else can have written it.
const fn is_proven(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Verified | Verdict::Vouched)
}

/// Who is told of an alert: the therapist, and in an absence the locum too.
async fn readers(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &TherapistId,
    client: Option<&Client>,
    now: DateTime<Utc>,
) -> Result<Vec<(TherapistId, bool)>, AppError> {
    let mut readers = vec![(therapist.clone(), false)];
    if let Some(client) = client
        && let Some(locum) = locum_now(ctx, tx, client, now).await?
    {
        readers.push((locum.id().clone(), true));
    }
    Ok(readers)
}

/// Puts one mail about these alerts into the outbox.
#[expect(clippy::too_many_arguments, reason = "each is a fact of its own")]
async fn mail(
    ctx: &Context,
    tx: &mut Tx,
    reader: &TherapistId,
    locum: bool,
    alerts: &[i64],
    client: Option<ClientId>,
    repeated: u32,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let Some((alert, others)) = alerts.split_first() else { return Ok(()) };
    let paper = Recipe::Crisis(Paper::Alert { alert: *alert, others: others.to_vec(), repeated, locum });
    Post::to_therapist(Kind::Alert, reader, client, now).enqueue(ctx, tx, &paper, now).await?;
    Ok(())
}

/// A mail about alerts was handed over: its reader can know of all that it speaks of.
///
/// # Errors
/// [`AppError::Store`].
pub async fn told(tx: &mut Tx, row: &Outbox, now: DateTime<Utc>) -> Result<(), AppError> {
    let Some(reader) = &row.therapist else { return Ok(()) };
    for id in spoken_of(row) {
        tx.alert_told(id, reader, now).await?;
    }
    Ok(())
}

/// The alerts that a mail speaks of.
fn spoken_of(row: &Outbox) -> Vec<i64> {
    match serde_json::from_value::<Recipe>(row.facts.clone()) {
        Ok(Recipe::Crisis(Paper::Alert { alert, others, .. })) => std::iter::once(alert).chain(others).collect(),
        _ => Vec::new(),
    }
}

/// The alerts that mails on their way to this reader speak of.
async fn waiting(tx: &mut Tx, client: Option<ClientId>, reader: &TherapistId) -> Result<BTreeSet<i64>, AppError> {
    let mut spoken = BTreeSet::new();
    for row in tx.waiting_alerts(client, reader).await? {
        match tx.outbox(row).await {
            // It will be put aside.
            Err(StoreError::Corrupt { .. }) => {}
            row => spoken.extend(row?.iter().flat_map(spoken_of)),
        }
    }
    Ok(spoken)
}

async fn send_safety(
    ctx: &Context,
    tx: &mut Tx,
    sealed: &Sealed,
    client: &Client,
    safety: Safety,
    turn: Option<TurnRow>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let expected = match turn {
        Some(turn) => tx.turn(turn).await?.and_then(|turn| turn.due_at),
        None => None,
    };
    let paper = Paper::Safety {
        arrived: sealed.arrived,
        expected,
        violence: safety.violence,
        clear: !sealed.encrypted,
        origin: sealed.origin.message_id.clone(),
    };
    Post::to_client(safety.kind, client.id, now).enqueue(ctx, tx, &Recipe::Crisis(paper), now).await?;
    if let Some(turn) = turn {
        tx.acknowledge_turn(turn).await?;
    }
    Ok(())
}

/// The lines for a stranger, once in 24 hours and under the ceiling for all; `false` where nothing leaves.
async fn answer_stranger(
    ctx: &Context,
    tx: &mut Tx,
    to: &Address,
    origin: Option<String>,
    language: Language,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    let hour_ago = now - TimeDelta::hours(1);
    let most = u64::from(ctx.config.intake.limits.strangers_an_hour);
    if ctx.config.intake.strangers == crate::model::StrangersPolicy::Silent
        || tx.count_outbox(Kind::StrangerSafety, None, hour_ago).await? >= most
    {
        return Ok(false);
    }
    let hash = data_encoding::HEXLOWER.encode(&ctx.store.vault().address(to));
    if !tx.notice_since(&format!("stranger-safety:{hash}"), now, now - SAFETY_EVERY).await? {
        return Ok(false);
    }
    // In place of the day's neutral answer.
    tx.notice_since(&format!("stranger:{hash}"), now, now - TimeDelta::days(1)).await?;
    let mut post = Post::to_client(Kind::StrangerSafety, ClientId(0), now);
    post.client = None;
    post.recipient = Some(to.clone());
    post.enqueue(ctx, tx, &Recipe::Crisis(Paper::StrangerSafety { origin, language }), now).await?;
    Ok(true)
}

/// Says again what nobody has answered (SPEC section 7: every half hour for four hours, then every two by day).
///
/// # Errors
/// [`AppError`]: it is tried again at the next tick.
pub async fn tick(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut read = ctx.store.read().await?;
    let due = read.due_alerts(now).await?;
    let changed = read.changed_alerts(now - WATCHED).await? > 0;
    drop(read);
    if changed {
        tracing::error!(
            event = "alert",
            "an alert was changed by something else than Cadre: ask the therapist whether they know of all"
        );
        alarm(ctx, now).await?;
    }
    let mut about: Vec<(Option<ClientId>, TherapistId)> = Vec::new();
    for alert in due {
        let person = (alert.what.client, alert.what.therapist);
        if !about.contains(&person) {
            about.push(person);
        }
    }
    for (client, therapist) in about {
        let mut tx = ctx.store.begin().await?;
        match repeat(ctx, &mut tx, client, &therapist, now).await {
            Ok(()) => tx.commit().await?,
            Err(AppError::Store(error @ (StoreError::Corrupt { .. } | StoreError::Tampered { .. }))) => {
                tracing::error!(event = "alert", %error, "an alert can't be said again");
                drop(tx);
                alarm(ctx, now).await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn alarm(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut tx = ctx.store.begin().await?;
    health::alarm(ctx, &mut tx, &super::post::Problem::new("database"), now).await?;
    Ok(tx.commit().await?)
}

/// One mail for all that a client wrote and nobody answered; one for all strangers of a therapist's.
async fn repeat(
    ctx: &Context,
    tx: &mut Tx,
    client: Option<ClientId>,
    therapist: &TherapistId,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let all = tx.alerts_about(client, therapist).await?;
    let planned = all.iter().filter_map(|alert| alert.next_at).min().filter(|at| *at <= now);
    let (Some(planned), Some(newest)) = (planned, all.iter().map(|alert| alert.first_at).max()) else {
        return Ok(());
    };
    let zone = ctx.therapist(therapist).map_or(ctx.config.practice.timezone, |t| t.settings.timezone);
    // By the plan, so that the pace doesn't drift; after a pause from now on.
    let last = if now - planned < TimeDelta::minutes(5) { planned } else { minute(now) };
    let next = next_alert(minute(newest), last, zone);
    for alert in &all {
        tx.plan_alert(alert.id, last, next).await?;
    }
    let known = match client {
        Some(client) => tx.client(client).await?,
        None => None,
    };
    let ids: Vec<i64> = all.iter().map(|alert| alert.id).collect();
    let repeated = all.iter().map(|alert| alert.sent).max().unwrap_or_default().max(1);
    let mut mailed = false;
    for (reader, locum) in readers(ctx, tx, therapist, known.as_ref(), now).await? {
        // The ones before couldn't leave yet: they are tried again and again, and one mail about each is enough.
        let waiting = waiting(tx, client, &reader).await?;
        if ids.iter().all(|id| waiting.contains(id)) {
            continue;
        }
        mail(ctx, tx, &reader, locum, &ids, client, repeated, now).await?;
        mailed = true;
    }
    for id in ids.into_iter().filter(|_| mailed) {
        tx.alert_mailed(id).await?;
    }
    Ok(())
}

/// A verified mail of a therapist's, or a locum's: every alert that they themselves had been told of when they signed it
/// is answered.
///
/// # Errors
/// [`AppError::Store`].
pub async fn answered(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    signed_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    for alert in tx.open_alerts().await? {
        let told = alert.told_at(therapist.id()).is_some_and(|told| told.timestamp() <= signed_at.timestamp());
        if !told {
            continue;
        }
        let client = match alert.what.client {
            Some(client) => tx.client(client).await?,
            None => None,
        };
        let mine = alert.what.therapist == *therapist.id()
            || match &client {
                Some(client) => locum_now(ctx, tx, client, now).await?.is_some_and(|l| l.id() == therapist.id()),
                None => false,
            };
        if mine {
            tx.answer_alert(alert.id, now).await?;
            let detail = json!({ "class": alert.what.class, "number": alert.what.number, "sent": alert.sent });
            tx.journal(now, "alert-answered", client.as_ref().map(|client| &client.code), detail).await?;
        }
    }
    Ok(())
}

fn own_lines(lines: &Lines, country: &str, language: Language, violence: bool) -> Vec<Line> {
    let mut all = lines.crisis(country, language);
    if violence {
        let more = lines.violence(country, language);
        all.extend(more.into_iter().filter(|line| !lines.crisis(country, language).contains(line)));
    }
    all
}

/// The start of a minute: what is said again at a minute's end is said within it.
fn minute(at: DateTime<Utc>) -> DateTime<Utc> {
    at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_violence_come_below_the_others_and_none_twice() {
        let lines = Lines::built_in().unwrap();
        let numbers = |violence| -> Vec<String> {
            own_lines(&lines, "FR", Language::Fr, violence).into_iter().map(|line| line.number).collect()
        };
        assert_eq!(numbers(false), ["3114", "15", "112", "114"]);
        assert_eq!(numbers(true), ["3114", "15", "112", "114", "17", "3919"]);
    }

    /// A letter of Cadre's that is quoted back, in whatever way, must not fire.
    #[test]
    fn cadres_own_letters_speak_of_no_danger() {
        let lexicon = crate::domain::crisis::Lexicon::built_in().unwrap();
        let letters = crate::letters::Letters::load(None).unwrap();
        let mut found = Vec::new();
        for name in crate::letters::Name::ALL.iter().filter(|name| !name.is_staff()) {
            for language in [Language::Fr, Language::En] {
                let reader = crate::letters::Reader { language, by_words: false, zone: chrono_tz::Europe::Paris };
                for nth in 0..crate::letters::Letters::samples(*name) {
                    let letter = letters.preview(*name, nth, &serde_json::Map::new(), reader).unwrap().unwrap();
                    let hit = [&letter.subject, &letter.text].into_iter().find_map(|text| lexicon.scan(text));
                    found.extend(hit.map(|hit| format!("{} ({language}): {:?}", name.as_str(), hit.rules)));
                }
            }
        }
        assert!(found.is_empty(), "{found:#?}");
    }
}
