//! `client erase` and `client hold`.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::app::AppError;
use crate::app::context::Context;
use crate::app::{erasure, gateway};
use crate::cli::{Done, FAILED, Failed, USAGE, complain, fail, find_client, print_json, utc};
use crate::domain::lifecycle::{Actor, Event};
use crate::model::{ClientCode, ClientState};
use crate::store::{Client, Erasure, StoreError};

/// How long a daemon is waited for, which does the work then; it goes on afterwards all the same.
const DAEMON: Duration = Duration::from_secs(120);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What was typed.
pub struct Wanted<'a> {
    pub code: &'a str,
    pub yes: bool,
    pub force: bool,
    pub certificate: Option<&'a Path>,
}

/// Erases a client, or goes on with an erasure, or writes the certificate of one that is done.
pub async fn erase(ctx: &Arc<Context>, json: bool, wanted: &Wanted<'_>) -> Done {
    if let Some(path) = wanted.certificate.filter(|path| path.symlink_metadata().is_ok()) {
        eprintln!("cadre: {} is there already and is not overwritten: name another file", path.display());
        return Err(USAGE);
    }
    let ordered = match wanted.code.parse::<ClientCode>() {
        Ok(code) => known(ctx, &code).await?,
        Err(_) => None,
    };
    let ordered = match ordered {
        Some(ordered) => ordered,
        None => order(ctx, wanted).await?,
    };
    let ordered = if ordered.done_at.is_none() { work_off(ctx, ordered).await? } else { ordered };
    report(json, &ordered, wanted.certificate)
}

/// The erasure of this code, unless there is a client of it again: an older database was put back.
async fn known(ctx: &Context, code: &ClientCode) -> Result<Option<Erasure>, Failed> {
    let read = async {
        let mut tx = ctx.store.read().await?;
        let again = tx.client_by_code(code).await?.is_some_and(|client| client.state != ClientState::Erased);
        Ok::<_, StoreError>(tx.erasure(code).await?.filter(|_| !again))
    };
    read.await.map_err(|error| fail(&error))
}

async fn order(ctx: &Arc<Context>, wanted: &Wanted<'_>) -> Result<Erasure, Failed> {
    let client = find_client(ctx, wanted.code).await?;
    let read = async {
        let mut tx = ctx.store.read().await?;
        let found = erasure::obstacles(&mut tx, &client).await?;
        Ok::<_, AppError>((found, tx.count_client(client.id).await?))
    };
    let (found, counts) = read.await.map_err(|error| fail(&error))?;
    refuse(&client, &found, wanted.force)?;
    let terminal = std::io::stdin().is_terminal();
    if !wanted.yes && !terminal {
        eprintln!("cadre: an erasure is confirmed on a terminal, by typing the code; in scripts by `--yes`");
        return Err(USAGE);
    }
    if !wanted.yes {
        eprintln!(
            "{} is {}: {} letter(s) received, {} sent or waiting, {} other piece(s) of the thread, and all that names \
             this person are erased for good, here and in the mailbox's folder.",
            client.code, client.state, counts.letters_in, counts.letters_out, counts.others
        );
        eprintln!("`cadre client export` first, where the person or the therapist is to keep a copy.");
        let typed = super::ask("Type the code to erase it", None, true, "the code")?.unwrap_or_default();
        if typed.parse::<ClientCode>().ok().as_ref() != Some(&client.code) {
            eprintln!("cadre: that is not {}; nothing was erased", client.code);
            return Err(FAILED);
        }
    }
    let ordered = erasure::order(ctx, &client, wanted.force, ctx.clock.now()).await.map_err(|error| fail(&error))?;
    ordered.map_err(|found| refuse(&client, &found, wanted.force).err().unwrap_or(FAILED))
}

/// Says what stands in the way, and ends the command where it does.
fn refuse(client: &Client, found: &[erasure::Obstacle], force: bool) -> Done {
    let hard = found.iter().any(|obstacle| !obstacle.yields());
    if found.is_empty() || (force && !hard) {
        return Ok(());
    }
    eprintln!("cadre: {} is not erased:", client.code);
    for obstacle in found {
        eprintln!("  {obstacle}");
    }
    if !hard {
        eprintln!("  `--force` erases all the same, these with it");
    }
    Err(FAILED)
}

/// Does the work, or waits for the daemon that does it.
async fn work_off(ctx: &Arc<Context>, ordered: Erasure) -> Result<Erasure, Failed> {
    match gateway::alone(ctx, Box::pin(erasure::now(Arc::clone(ctx)))).await {
        Ok(()) => {}
        Err(AppError::Store(StoreError::Locked { .. } | StoreError::Held)) => {
            let waited = tokio::time::timeout(DAEMON, async {
                while known(ctx, &ordered.code).await?.is_some_and(|erasure| erasure.done_at.is_none()) {
                    tokio::time::sleep(LOOK).await;
                }
                Ok::<(), Failed>(())
            });
            waited.await.unwrap_or(Ok(()))?;
        }
        // What a server refuses today is done by `run` later; the order stands.
        Err(error) => complain(&error),
    }
    Ok(known(ctx, &ordered.code).await?.unwrap_or(ordered))
}

fn report(json: bool, erasure: &Erasure, file: Option<&Path>) -> Done {
    if let (Some(text), Some(file)) = (&erasure.certificate, file) {
        let new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        new.and_then(|mut new| new.write_all(text.as_bytes()).and_then(|()| new.sync_all())).map_err(|error| {
            eprintln!(
                "cadre: {} can't be written ({}): the same command writes it again",
                file.display(),
                error.kind()
            );
            FAILED
        })?;
    }
    if json {
        return print_json(&json!({
            "code": erasure.code, "done": erasure.done_at.is_some(), "asked": utc(erasure.asked_at),
            "rows": erasure.rows_at.map(utc), "folder": erasure.folder_at.map(utc), "letter": erasure.letter,
            "erased": erasure.counts, "certificate": erasure.certificate.as_ref().and(file),
        }));
    }
    if erasure.done_at.is_some() {
        println!(
            "{} is erased. Backups made before hold it still: destroy them, or know until when they live.",
            erasure.code
        );
        match file {
            Some(file) => {
                println!("{} says what was erased and what remains, signed and without a name.", file.display())
            }
            None => println!(
                "`cadre client erase {} --certificate FILE` writes what was erased and what remains.",
                erasure.code
            ),
        }
        return Ok(());
    }
    let missing = match (erasure.rows_at, erasure.folder_at) {
        (None, _) => "a mail of theirs is still on its way (`cadre queue list`)",
        (_, None) => "the database is erased, the mailbox's folder is still to go",
        _ => "the certificate is still to be signed",
    };
    println!(
        "{} is being erased: {missing}. `cadre run` goes on with it; the same command says how far it is.",
        erasure.code
    );
    Ok(())
}

fn erased(client: &Client) -> Failed {
    eprintln!("cadre: {} is erased, or being erased", client.code);
    FAILED
}

/// Puts a record under legal hold, or ends that.
pub async fn hold(ctx: &Context, json: bool, code: &str, note: Option<&str>, end: bool) -> Done {
    let client = find_client(ctx, code).await?;
    if client.state == ClientState::Erased {
        return Err(erased(&client));
    }
    if end != client.care.legal_hold.is_some() {
        eprintln!(
            "cadre: {} is {} under legal hold; nothing was changed",
            client.code,
            if end { "not" } else { "already" }
        );
        return Err(FAILED);
    }
    let note = match end {
        true => None,
        false => super::ask("Why (who ordered it, the file's number)", note, true, "--note")?,
    };
    let now = ctx.clock.now();
    let changed = async {
        let mut tx = ctx.store.begin().await?;
        // Ordered in the same moment.
        if tx.client(client.id).await?.is_none_or(|client| client.state == ClientState::Erased) {
            return Ok(false);
        }
        tx.set_legal_hold(client.id, note.as_deref().map(|note| (now, note))).await?;
        let word = if end { "legal-hold-ended" } else { "legal-hold" };
        tx.journal(now, word, Some(&client.code), json!({ "by": Actor::Operator.as_str() })).await?;
        tx.commit().await?;
        Ok(true)
    };
    if !changed.await.map_err(|error: StoreError| fail(&error))? {
        return Err(erased(&client));
    }
    if json {
        return print_json(&json!({ "code": client.code, "legal_hold": !end }));
    }
    match end {
        true => println!("{} is no longer under legal hold.", client.code),
        false => println!(
            "{} is under legal hold: neither `client {}` nor the retention period erases it.",
            client.code,
            Event::Erase.as_str()
        ),
    }
    Ok(())
}
