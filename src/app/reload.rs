//! SIGHUP: the configuration is read again while the daemon works. What can't be used changes nothing.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::absence;
use super::check::{Report, local};
use super::context::{Context, Therapist};
use super::keys;
use super::{AppError, causes};
use crate::config::{Config, DatabasePlace, Env, Finding, Severity};
use crate::letters::Letters;
use crate::store::{StoreError, Tx};

/// What became of a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    pub at: DateTime<Utc>,
    /// The new configuration is in force, but for what `restart` names.
    pub taken: bool,
    /// Why it isn't: everything that is wrong, with its remedy.
    pub findings: Vec<String>,
    /// Keys that changed and count only after a restart.
    pub restart: Vec<String>,
    /// The gateway that read it, where several share the work.
    #[serde(default)]
    pub gateway: Option<String>,
}

/// What the last reload came to, None since the daemon was started. Where several gateways share the work: the one that
/// leaves something to do, if any does.
///
/// # Errors
/// [`StoreError`].
pub async fn last(tx: &mut Tx) -> Result<Option<Reloaded>, StoreError> {
    let all = tx.reloads().await?.into_iter().filter_map(|(gateway, text)| {
        let reload: Reloaded = serde_json::from_str(&text).ok()?;
        Some(Reloaded { gateway, ..reload })
    });
    Ok(all.max_by_key(|one| (!one.taken, !one.restart.is_empty(), one.at)))
}

/// A daemon that was just started has read everything.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn forget(tx: &mut Tx) -> Result<(), StoreError> {
    tx.set_reload(None).await
}

/// Reads the configuration again, with every check of `cadre check` but those that ask a server. Gives the new context, or none where nothing
/// changes; either is said in the log and noted for `status`.
pub(super) async fn reload(ctx: &Arc<Context>) -> Option<Arc<Context>> {
    let now = ctx.clock.now();
    let mut restart = Vec::new();
    let (new, findings) = match read(ctx, now, &mut restart).await {
        Ok(config) => take(ctx, config, now).await,
        Err(findings) => (None, findings),
    };
    let findings: Vec<String> = findings.iter().map(|finding| finding.to_string().replace("\n    ", " ")).collect();
    for finding in &findings {
        tracing::error!(event = "reload", finding, "the changed configuration can't be used");
    }
    if new.is_none() {
        tracing::error!(
            event = "reload",
            findings = findings.len(),
            "nothing was changed: the configuration before goes on"
        );
        restart.clear();
    }
    for key in &restart {
        tracing::warn!(event = "reload", key, "it was changed, and counts only after a restart");
    }
    let outcome = Reloaded { at: now, taken: new.is_some(), findings, restart, gateway: None };
    if let Err(error) = note(ctx, &outcome, now).await {
        tracing::error!(event = "reload", %error, "the reload couldn't be noted");
    }
    if let Some(new) = &new {
        for problem in new.letters_read().into_iter().flat_map(Letters::problems) {
            tracing::warn!(%problem, "an operator's letter isn't used");
        }
        tracing::info!(event = "reload", therapists = new.therapists().len(), "the configuration was read again");
    }
    new
}

/// The configuration, judged as `check` does; `restart` gets the keys that keep their old value. A key that has expired
/// meanwhile, and what else is wrong with what is in force, doesn't keep anything else from being changed.
async fn read(ctx: &Context, now: DateTime<Utc>, restart: &mut Vec<String>) -> Result<Config, Vec<Finding>> {
    let errors = |findings: Vec<Finding>| findings.into_iter().filter(Finding::is_error).collect::<Vec<_>>();
    let learnt = async { ctx.store.read().await?.therapist_keys().await };
    let learnt = learnt.await.map_err(|error| vec![finding(&ctx.config, &error)])?;
    let mut known = Report::new(&ctx.config.file);
    local::look_at_work(ctx, &mut known, now);
    let file = ctx.config.file.clone();
    let loaded = tokio::task::spawn_blocking(move || {
        let (config, _) = Config::load(&file, &Env::process()).map_err(errors)?;
        let mut report = Report::new(&file);
        local::look(&config, &mut report, &learnt, now);
        let known = |new: &Finding| known.findings().any(|old| (&old.key, &old.cause) == (&new.key, &new.cause));
        let faults: Vec<Finding> = report.findings().filter(|new| new.is_error() && !known(new)).cloned().collect();
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    });
    let mut config = match loaded.await {
        Ok(loaded) => loaded?,
        Err(_) => return Err(vec![ctx.config.finding(Severity::Error, "", "it couldn't be read", "reload again")]),
    };
    let mut keep = |changed: bool, key: &str| {
        if changed {
            restart.push(format!("`{key}`"))
        }
    };
    let known = &ctx.config.database;
    keep(!same_place(&config.database.place, &known.place), "[database] url");
    keep(!same_password(&config.database.place, &known.place), "[database] password_file");
    keep(config.database.journal_head != known.journal_head, "[database] journal_head");
    let same = ctx.is_record_key_of(&config).map_err(|error| vec![finding(&config, &error)])?;
    keep(!same, "[keys] record");
    config.database = known.clone();
    if !same {
        config.keys.record = ctx.config.keys.record.clone();
    }
    Ok(config)
}

fn same_place(new: &DatabasePlace, known: &DatabasePlace) -> bool {
    match (new, known) {
        (DatabasePlace::File(new), DatabasePlace::File(known)) => new == known,
        (DatabasePlace::Server(new), DatabasePlace::Server(known)) => {
            (&new.url, &new.schema) == (&known.url, &known.schema)
        }
        _ => false,
    }
}

fn same_password(new: &DatabasePlace, known: &DatabasePlace) -> bool {
    let (DatabasePlace::Server(new), DatabasePlace::Server(known)) = (new, known) else { return true };
    match (&new.password, &known.password) {
        (Some(new), Some(known)) => new.is_same_place(known),
        (new, known) => new.is_none() && known.is_none(),
    }
}

async fn take(ctx: &Context, config: Config, now: DateTime<Utc>) -> (Option<Arc<Context>>, Vec<Finding>) {
    let new = match ctx.reopened(config.clone()).await {
        Ok(new) => new,
        Err(error) => return (None, vec![finding(&config, &error)]),
    };
    let gone = certificates_gone(ctx, &new);
    if !gone.is_empty() {
        return (None, gone);
    }
    match settle(&new, now).await {
        Ok(()) => (Some(Arc::new(new)), Vec::new()),
        Err(error) => (None, vec![finding(&config, &error)]),
    }
}

/// Therapists who could be written to and couldn't be any more. A start waits for a certificate; a daemon that works
/// doesn't give one up for a file that isn't there.
fn certificates_gone(ctx: &Context, new: &Context) -> Vec<Finding> {
    let had = |therapist: &Therapist| ctx.therapist(therapist.id()).is_some_and(|known| known.certificate().is_some());
    let gone = |therapist: &Therapist| {
        let key = format!("[[therapist]] {}.certificate", therapist.id());
        let cause = format!("the file {} is missing", therapist.settings.certificate.display());
        new.config.finding(Severity::Error, &key, &cause, "put it there, or write the path of the one before")
    };
    new.therapists().iter().filter(|one| one.certificate().is_none() && had(one)).map(|one| gone(one)).collect()
}

/// An error that has no line of the file, with its causes.
fn finding(config: &Config, error: &dyn std::error::Error) -> Finding {
    config.finding(Severity::Error, "", &causes(error), "mend it, then reload again")
}

/// Brings the database up to what the configuration says of keys and absences.
async fn settle(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    let mut tx = ctx.store.begin().await?;
    settle_key(ctx, &mut tx, now).await?;
    tx.commit().await?;
    absence::mirror(ctx, now).await
}

/// Tells people of a practice's key that was replaced, where it is known what it replaced.
///
/// # Errors
/// [`AppError`].
pub(super) async fn settle_key(ctx: &Context, tx: &mut Tx, now: DateTime<Utc>) -> Result<(), AppError> {
    if let keys::own::Settled::Strange { .. } = keys::own::settle(ctx, tx, false, now).await? {
        tracing::warn!("the practice's key is another than before, and nobody was told: `cadre key rotate` tells them");
    }
    Ok(())
}

async fn note(ctx: &Context, outcome: &Reloaded, now: DateTime<Utc>) -> Result<(), StoreError> {
    let mut tx = ctx.store.begin().await?;
    tx.set_reload(Some(&serde_json::to_string(outcome).unwrap_or_default())).await?;
    let detail = json!({ "taken": outcome.taken, "errors": outcome.findings.len(), "restart": outcome.restart });
    tx.journal(now, "reload", None, detail).await?;
    tx.commit().await
}
