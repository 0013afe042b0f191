//! `client pause|resume|suspend|discharge`: the same change that a therapist's command brings about.

use serde_json::json;

use crate::app::AppError;
use crate::app::context::Context;
use crate::app::life::{Changed, change_told};
use crate::cli::{Done, FAILED, fail, find_client, print_json};
use crate::domain::lifecycle::{Actor, Event, Forbidden};
use crate::store::Client;

/// Brings it about and says what was done.
pub async fn change(ctx: &Context, json: bool, code: &str, event: Event) -> Done {
    let client = find_client(ctx, code).await?;
    let changed = match commit(ctx, &client, event).await.map_err(|error| fail(&error))? {
        Ok(changed) => changed,
        Err(_) => {
            eprintln!(
                "cadre: {} is {}: `client {}` isn't possible from there; nothing was changed",
                client.code,
                client.state,
                event.as_str()
            );
            return Err(FAILED);
        }
    };
    let letter = changed.letter.filter(|_| !client.care.muted);
    if json {
        return print_json(&json!({
            "code": client.code,
            "from": client.state,
            "state": changed.state,
            "letter": letter,
            "withdrawn": changed.withdrawn,
            "held": changed.held,
            "withdrawn_letter": changed.words,
        }));
    }
    println!("{} is {} (before: {})", client.code, changed.state, client.state);
    match letter {
        Some(letter) => println!("the letter `{letter}` to the client waits in the queue"),
        None => println!("nothing is sent to the client"),
    }
    if let Some(words) = changed.words {
        println!("withdrawn, and not sent any more: the letter `{words}` of the therapist's");
    }
    if changed.withdrawn > 0 {
        println!("withdrawn, and not sent any more: {} waiting", changed.withdrawn);
    }
    if !changed.held.is_empty() {
        println!("put aside until the therapist's /release: {}", changed.held.join(", "));
    }
    Ok(())
}

async fn commit(ctx: &Context, client: &Client, event: Event) -> Result<Result<Changed, Forbidden>, AppError> {
    let mut tx = ctx.store.begin().await?;
    let changed = change_told(ctx, &mut tx, client, event, Actor::Operator, ctx.clock.now()).await?;
    if changed.is_ok() {
        tx.commit().await?;
    }
    Ok(changed)
}
