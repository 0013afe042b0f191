//! What goes wrong: named in `status`, the log and, once, to the operator.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::AppError;
use super::context::{Context, Therapist};
use super::post::{Owner, Post, Problem, Recipe};
use crate::failpoint::failpoint;
use crate::letters::Letters;
use crate::model::{ClientCode, Kind, OutboxRow};
use crate::net::{NetError, Service};
use crate::pgp::{CertProblem, Purpose};
use crate::store::{Client, StoreError, Tx};

/// How one part of the program is doing, as `status` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or a word for what is wrong.
    pub state: String,
    pub since: DateTime<Utc>,
    /// A sentence without content, names or addresses.
    pub detail: Option<String>,
}

/// The same trouble is told again only after this time.
const AGAIN_AFTER: TimeDelta = TimeDelta::days(1);
/// A server that can't be reached is told of only after this time; it comes and goes.
const UNREACHABLE_FOR: TimeDelta = TimeDelta::minutes(15);

/// The word for an error of a server.
pub fn word(error: &NetError) -> &'static str {
    match (error, error.service()) {
        (NetError::Refused { .. }, Service::Imap) => "imap-login",
        (NetError::Refused { .. }, Service::Smtp) => "smtp-login",
        (NetError::Tls { .. }, _) => "tls",
        (_, Service::Smtp) => "smtp-unreachable",
        (_, Service::Imap) => "imap-unreachable",
        (_, Service::Heartbeat) => "heartbeat",
    }
}

/// All clients whose record is sound, and the codes of those whose record was changed by somebody else.
/// One such record stops its own client and nobody else.
///
/// # Errors
/// [`AppError::Store`].
pub async fn sound_clients(tx: &mut Tx) -> Result<(Vec<Client>, Vec<ClientCode>), AppError> {
    let mut sound = Vec::new();
    let mut changed = Vec::new();
    for id in tx.client_ids().await? {
        match tx.client(id).await {
            Ok(client) => sound.extend(client),
            Err(StoreError::Tampered { code }) => changed.push(code),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((sound, changed))
}

/// Tells the operator of a client's record that was changed by somebody else.
///
/// # Errors
/// [`AppError::Store`].
pub async fn alarm_record(ctx: &Context, tx: &mut Tx, code: &ClientCode, now: DateTime<Utc>) -> Result<(), AppError> {
    let problem = Problem { code: Some(code.to_string()), ..Problem::new("record-mac") };
    alarm(ctx, tx, &problem, now).await
}

/// Puts outgoing mails aside whose rows something else than Cadre changed, and tells the operator.
pub async fn put_aside(ctx: &Context, rows: &[OutboxRow], now: DateTime<Utc>) -> Result<(), AppError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut tx = ctx.store.begin().await?;
    for row in rows {
        tracing::error!(row = row.0, "an outgoing mail was changed by something else than Cadre; it is put aside");
        tx.hold(*row).await?;
    }
    tx.journal(now, "put-aside", None, json!({ "mails": rows.len() })).await?;
    alarm(ctx, &mut tx, &Problem::new("database"), now).await?;
    Ok(tx.commit().await?)
}

/// Notes that a part is well; a trouble that was told may be told again when it comes back.
pub async fn well(ctx: &Context, part: &str, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut tx = ctx.store.begin().await?;
    let key = format!("health:{part}");
    let before = read(&mut tx, &key).await?;
    if before.as_ref().is_some_and(|health| health.state == "ok") {
        return Ok(());
    }
    if let Some(before) = before {
        tx.clear_notice(&format!("alarm:{}", before.state)).await?;
        tx.journal(now, "health", None, json!({ "part": part, "state": "ok" })).await?;
    }
    let health = Health { state: "ok".to_owned(), since: now, detail: None };
    tx.set_meta(&key, &serde_json::to_string(&health).unwrap_or_default()).await?;
    Ok(tx.commit().await?)
}

/// Notes that a part is not well, and tells the operator: at once for what only a person can mend,
/// after a while for a server that can't be reached.
pub async fn unwell(ctx: &Context, part: &str, error: &NetError, now: DateTime<Utc>) -> Result<(), AppError> {
    let state = word(error);
    let mut tx = ctx.store.begin().await?;
    let key = format!("health:{part}");
    let before = read(&mut tx, &key).await?.filter(|health| health.state == state);
    let detail = Some(error.to_string());
    let health = match before {
        Some(known) if known.detail == detail => known,
        // Another cause of the same trouble: what is shown is what somebody has to mend now.
        Some(known) => Health { detail, ..known },
        None => {
            tx.journal(now, "health", None, json!({ "part": part, "state": state })).await?;
            Health { state: state.to_owned(), since: now, detail }
        }
    };
    let text = serde_json::to_string(&health).unwrap_or_default();
    if tx.meta(&key).await?.as_ref() != Some(&text) {
        tracing::warn!(event = "health", part, state, %error, "not well");
        tx.set_meta(&key, &text).await?;
    }
    let patient = matches!(state, "imap-unreachable" | "smtp-unreachable");
    if !patient || now - health.since >= UNREACHABLE_FOR {
        alarm_since(ctx, &mut tx, &Problem::new(state), health.since, now).await?;
    }
    Ok(tx.commit().await?)
}

pub(super) async fn read(tx: &mut Tx, key: &str) -> Result<Option<Health>, AppError> {
    Ok(tx.meta(key).await?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// How the parts are doing.
pub async fn all(tx: &mut Tx) -> Result<Vec<(&'static str, Health)>, AppError> {
    let mut parts = Vec::new();
    for part in ["imap", "smtp", "clock"] {
        if let Some(health) = read(tx, &format!("health:{part}")).await? {
            parts.push((part, health));
        }
    }
    Ok(parts)
}

/// Tells the operator, once a day for the same trouble: by mail, where there is an address, and by the
/// alarm command.
pub async fn alarm(ctx: &Context, tx: &mut Tx, problem: &Problem, now: DateTime<Utc>) -> Result<(), AppError> {
    alarm_since(ctx, tx, problem, now, now).await
}

/// What an alarm is remembered by.
fn alarm_key(problem: &Problem) -> String {
    // The keys of two therapists may expire within a day of each other.
    if let (true, Some(days)) = (problem.word == "therapist-key-expires", problem.count) {
        return format!("alarm:{}:{days}", problem.word);
    }
    match problem.code.as_ref().or(problem.letter.as_ref()).or(problem.therapist.as_ref()) {
        Some(about) => format!("alarm:{}:{about}", problem.word),
        None => format!("alarm:{}", problem.word),
    }
}

/// Recomputes the journal and tells the operator where it was changed or cut.
///
/// # Errors
/// [`AppError::Store`].
pub async fn watch_journal(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let report = ctx.store.verify_journal(None).await?;
    if report.ok() {
        return Ok(());
    }
    tracing::error!(event = "journal", "the journal was changed or cut; `journal verify` says where");
    let mut tx = ctx.store.begin().await?;
    alarm(ctx, &mut tx, &Problem::new("journal"), now).await?;
    Ok(tx.commit().await?)
}

/// Tells the operator once of each letter of their own for which the built-in one is used, and once again when it
/// was mended and broke another time.
///
/// # Errors
/// [`AppError::Store`].
pub async fn watch_letters(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let broken = ctx.letters_read().map(Letters::unusable).unwrap_or_default();
    let told: BTreeSet<String> = match ctx.store.read().await?.meta(OWN_LETTERS).await? {
        Some(text) => serde_json::from_str(&text).unwrap_or_default(),
        None => BTreeSet::new(),
    };
    if broken == told {
        return Ok(());
    }
    let problem = |letter: &String| Problem { letter: Some(letter.clone()), ..Problem::new("own-letter") };
    let mut tx = ctx.store.begin().await?;
    for letter in told.symmetric_difference(&broken) {
        tx.clear_notice(&alarm_key(&problem(letter))).await?;
    }
    for letter in broken.difference(&told) {
        tracing::warn!(letter, "an operator's letter can't be used, the built-in one is: `cadre letters check`");
        alarm(ctx, &mut tx, &problem(letter), now).await?;
    }
    tx.set_meta(OWN_LETTERS, &serde_json::to_string(&broken).unwrap_or_default()).await?;
    Ok(tx.commit().await?)
}

/// The operator's letters that were told of as unusable.
const OWN_LETTERS: &str = "own-letters";

async fn alarm_since(
    ctx: &Context,
    tx: &mut Tx,
    problem: &Problem,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let key = alarm_key(problem);
    if !tx.notice_since(&key, now, now - AGAIN_AFTER).await? {
        return Ok(());
    }
    let code = problem.code.as_deref().and_then(|code| code.parse().ok());
    tx.journal(now, "alarm", code.as_ref(), json!({ "class": problem.word })).await?;
    if let Some(address) = &ctx.config.operator.address {
        let post = Post {
            kind: Kind::HealthAlarm,
            client: None,
            therapist: None,
            message: None,
            recipient: Some(address.clone()),
            mail_id: None,
            not_before: now,
        };
        post.enqueue(ctx, tx, &Recipe::HealthAlarm { problem: problem.clone(), since }, now).await?;
    }
    if ctx.config.operator.alarm_command.is_some() {
        // Run after the commit: what is rolled back alarms nobody.
        tx.set_meta(&format!("{PENDING}{key}"), &serde_json::to_string(problem).unwrap_or_default()).await?;
    }
    Ok(())
}

/// Alarms whose command is still to be run.
const PENDING: &str = "pending:";

/// Has `operator.alarm_command` run after the commit, once for each `key`.
///
/// # Errors
/// [`AppError::Store`].
pub async fn call(ctx: &Context, tx: &mut Tx, key: &str, class: &str, code: Option<String>) -> Result<(), AppError> {
    if ctx.config.operator.alarm_command.is_some() {
        let problem = Problem { code, ..Problem::new(class) };
        tx.set_meta(&format!("{PENDING}{key}"), &serde_json::to_string(&problem).unwrap_or_default()).await?;
    }
    Ok(())
}

/// Runs the alarm commands of what was committed.
///
/// # Errors
/// [`AppError::Store`].
pub async fn run_pending(ctx: &Context) -> Result<(), AppError> {
    if ctx.config.operator.alarm_command.is_none() || ctx.store.read().await?.metas(PENDING).await?.is_empty() {
        return Ok(());
    }
    // Each is forgotten only after it was run: a crash between runs one twice, and loses none.
    for (key, value) in ctx.store.read().await?.metas(PENDING).await? {
        if let Ok(problem) = serde_json::from_str(&value) {
            run_command(ctx, &problem).await;
        }
        failpoint("called");
        let mut tx = ctx.store.begin().await?;
        tx.clear_meta(&key).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// The database itself fails: nothing can be noted there, so the command is run at once, once an hour.
pub async fn database_trouble(ctx: &Context, error: &StoreError) {
    static LAST: std::sync::Mutex<Option<std::time::Instant>> = std::sync::Mutex::new(None);
    let hour = std::time::Duration::from_secs(3600);
    let told = {
        let mut last = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let told = last.is_some_and(|at| at.elapsed() < hour);
        if !told {
            *last = Some(std::time::Instant::now());
        }
        told
    };
    if !told {
        run_command(ctx, &Problem::new(if error.is_full() { "disk-full" } else { "database" })).await;
    }
}

/// Runs `operator.alarm_command` with the code and the class and nothing else.
async fn run_command(ctx: &Context, problem: &Problem) {
    let Some(command) = &ctx.config.operator.alarm_command else { return };
    let child = tokio::process::Command::new("sh")
        .arg("-c")
        .arg(command)
        .env("CADRE_CODE", problem.code.as_deref().unwrap_or_default())
        .env("CADRE_CLASS", &problem.word)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let Ok(mut child) = child else {
        tracing::error!("`[operator] alarm_command` can't be run: check that sh finds it");
        return;
    };
    match tokio::time::timeout(COMMAND_LIMIT, child.wait()).await {
        Ok(Ok(status)) if status.success() => {}
        _ => tracing::error!("`[operator] alarm_command` failed or took too long"),
    }
}

/// How long the alarm command may take.
const COMMAND_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

/// Why a mail to a therapist can't be sealed: the practice's own key is to blame, or the therapist's.
pub fn why_not_sealed(ctx: &Context, now: DateTime<Utc>) -> Problem {
    match ctx.key.certificate().usable_for(Purpose::Sign, now) {
        Err(CertProblem::Revoked) => Problem::revoked(Owner::Practice, None),
        Err(_) => Problem::new("practice-key"),
        Ok(()) => Problem::new("therapist-certificate"),
    }
}

/// Tells a therapist, in a mail that can still be sealed or not at all, that their certificate can't
/// be used: once a day.
pub async fn tell_therapist_of_key(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let key = format!("key-unusable:{}", therapist.id());
    if !tx.notice_since(&key, now, now - AGAIN_AFTER).await? {
        return Ok(());
    }
    // Without a certificate nothing can be told: the operator is alarmed.
    let Some(certificate) = therapist.certificate() else { return Ok(()) };
    // A key that was revoked has not expired, and its owner has been told; nor has one whose letters wait for another
    // reason.
    let Some(expires) = certificate.expires_at(now).filter(|at| *at <= now && certificate.revocation().is_none())
    else {
        return Ok(());
    };
    let recipe = Recipe::StaffKeyExpiry {
        owner: Owner::Therapist,
        fingerprint: certificate.fingerprint(),
        expires,
        days: (expires - now).num_days().min(0),
    };
    Post::to_therapist(Kind::StaffKeyExpiry, therapist.id(), None, now).enqueue(ctx, tx, &recipe, now).await?;
    Ok(())
}
