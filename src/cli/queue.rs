//! `cadre queue …`.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::args::Queue;
use super::{Done, FAILED, USAGE, fail, open, print_json, public_id, read_id, utc};
use crate::app::context::Context;
use crate::app::frozen;
use crate::model::{ClientCode, Kind, MessageState, OutboxRow, OutboxState};
use crate::store::{Outbox, OutboxFilter, StoreError};

/// Runs one of the queue commands.
pub async fn queue(config: &Path, json: bool, command: &Queue) -> Done {
    let ctx = open(config).await?;
    let done = match command {
        Queue::List { all } => list(&ctx, json, *all).await,
        Queue::Hold { id } => change(&ctx, json, id, Change::Hold).await,
        Queue::Cancel { id } => change(&ctx, json, id, Change::Cancel).await,
        Queue::Retry { id } => change(&ctx, json, id, Change::Retry).await,
        Queue::Resume => resume(&ctx, json).await,
    };
    ctx.store.close().await;
    done
}

/// Mail may leave again.
async fn resume(ctx: &Context, json: bool) -> Done {
    let resumed = frozen::resume(ctx, ctx.clock.now()).await.map_err(|error| fail(&error))?;
    if json {
        return print_json(&json!({ "resumed": resumed }));
    }
    match resumed {
        true => println!("Mail leaves again, with the next `cadre run`."),
        false => println!("Nothing was frozen."),
    }
    Ok(())
}

async fn list(ctx: &Context, json: bool, all: bool) -> Done {
    let filter = if all { OutboxFilter::All } else { OutboxFilter::Unfinished };
    let read = async {
        let mut tx = ctx.store.read().await?;
        let mut rows = Vec::new();
        for row in tx.queue(filter).await? {
            let code = match row.client {
                Some(client) => tx.client(client).await.ok().flatten().map(|client| client.code),
                None => None,
            };
            rows.push((row, code));
        }
        Ok::<_, StoreError>(rows)
    };
    let rows = read.await.map_err(|error| fail(&error))?;
    if json {
        return print_json(&rows.iter().map(|(row, code)| described(row, code.as_ref())).collect::<Vec<_>>());
    }
    if rows.is_empty() {
        println!("Nothing waits.");
        return Ok(());
    }
    println!(
        "{:<13} {:<16} {:<8} {:<10} {:<20} tries  last error",
        "id", "kind", "client", "state", "not before (UTC)"
    );
    for (row, code) in &rows {
        println!(
            "{:<13} {:<16} {:<8} {:<10} {:<20} {:>5}  {}",
            public_id(row.id.0),
            row.kind,
            code.as_ref().map_or("–", ClientCode::as_str),
            row.state,
            utc(next(row)),
            row.attempts,
            row.last_error.as_deref().unwrap_or(""),
        );
    }
    Ok(())
}

/// When a mail is tried next; when it was meant to leave, once it is finished.
fn next(row: &Outbox) -> DateTime<Utc> {
    if row.finished_at.is_some() { row.not_before } else { row.not_before.max(row.next_attempt) }
}

fn described(row: &Outbox, code: Option<&ClientCode>) -> serde_json::Value {
    json!({
        "id": public_id(row.id.0),
        "kind": row.kind,
        "client": code,
        "state": row.state,
        "not_before": utc(next(row)),
        "attempts": row.attempts,
        "last_error": row.last_error,
        "size": row.size,
        "finished": row.finished_at.map(utc),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Hold,
    Cancel,
    Retry,
}

async fn change(ctx: &Context, json: bool, typed: &str, change: Change) -> Done {
    let Some(id) = read_id(typed) else {
        eprintln!("cadre: that is not an id of the queue: `cadre queue list` shows them");
        return Err(USAGE);
    };
    let id = OutboxRow(id);
    let now = ctx.clock.now();
    let work = async {
        let mut tx = ctx.store.begin().await?;
        let Some(row) = tx.outbox(id).await? else { return Ok(None) };
        let changed = match change {
            Change::Hold => tx.hold(id).await?,
            Change::Cancel => tx.cancel(id, now).await?,
            Change::Retry => tx.retry(id, now).await?,
        };
        let theirs = row.kind.is_own_words()
            || matches!(row.kind, Kind::Reply | Kind::Urgent | Kind::Now | Kind::Closed | Kind::Video);
        if let (true, Change::Cancel, true, Some(message)) = (changed, change, theirs, row.message) {
            tx.set_message_state(message, MessageState::Cancelled).await?;
            if let Some(message) = tx.message(message).await?
                && let Some(client) = message.client
            {
                let treated = tx.client(client).await?.is_some_and(|client| client.state.in_treatment());
                if let (true, Some(turn), None) = (treated, message.turn, tx.current_turn(client).await?) {
                    let due = tx.turn(turn).await?.and_then(|turn| turn.due_at);
                    tx.reopen_turn(turn, due).await?;
                }
                if message.kind.is_own_words() {
                    // The state stays: the operator takes nothing back that a therapist has ordered.
                    tx.change_care(client, |care| care.undo = None).await?;
                }
            }
        }
        if changed {
            let word = match change {
                Change::Hold => "queue-held",
                Change::Cancel => "queue-cancelled",
                Change::Retry => "queue-retried",
            };
            tx.journal(now, word, None, json!({ "kind": row.kind })).await?;
        }
        let after = tx.outbox(id).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(after.map(|after| (changed, after)))
    };
    match work.await.map_err(|error| fail(&error))? {
        None => {
            eprintln!("cadre: there is no such mail in the queue: `cadre queue list` shows them");
            Err(FAILED)
        }
        Some((false, row)) => {
            let why = match row.state {
                OutboxState::Waiting | OutboxState::Held | OutboxState::Leaving => "the server may have it already",
                _ => "it is finished",
            };
            eprintln!("cadre: it is {} and stays so: {why}", row.state);
            Err(FAILED)
        }
        Some((true, row)) if json => print_json(&described(&row, None)),
        Some((true, row)) => {
            println!("{} is {}", public_id(row.id.0), row.state);
            Ok(())
        }
    }
}
