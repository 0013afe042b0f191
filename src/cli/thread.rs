//! `cadre thread` and `cadre digest --preview`.

use std::path::Path;

use serde_json::json;

use super::{Done, FAILED, USAGE, fail, find_client, open, print_json, public_id, utc};
use crate::app::context::Context;
use crate::app::{AppError, digest as digests};
use crate::letters::{self, Letter};
use crate::model::{ClientId, Direction, OutboxState, TherapistId, TurnState};
use crate::store::{Client, Message, Outbox, StoreError, Tx};

/// Prints one client's correspondence: codes, verdicts, times and sizes, never content.
pub async fn thread(config: &Path, json: bool, code: &str) -> Done {
    let ctx = open(config).await?;
    let client = find_client(&ctx, code).await?;
    let read = async { whole(&mut ctx.store.read().await?, &client).await };
    let whole = read.await.map_err(|error| fail(&error))?;
    ctx.store.close().await;
    if json {
        return print_json(&whole);
    }
    let messages = whole["messages"].as_array().cloned().unwrap_or_default();
    let turn = &whole["turn"];
    let word = |value: &serde_json::Value| value.as_str().unwrap_or("–").to_owned();
    println!("{}  {}  turn: {}  due: {}", client.code, client.state, word(&turn["state"]), word(&turn["due"]));
    for message in &messages {
        println!(
            "{}  {:<3}  {:<16} {:<14} {:<10} {:>8} bytes  {}",
            word(&message["at"]),
            word(&message["direction"]),
            word(&message["kind"]),
            word(&message["verdict"]),
            word(&message["state"]),
            message["bytes"],
            message["marks"].as_array().map_or_else(String::new, |marks| {
                marks.iter().filter_map(|mark| mark.as_str()).collect::<Vec<_>>().join(", ")
            }),
        );
    }
    Ok(())
}

/// One client's correspondence, as `thread --json` prints it.
///
/// # Errors
/// [`StoreError`].
pub async fn whole(tx: &mut Tx, client: &Client) -> Result<serde_json::Value, StoreError> {
    let turn = turn(tx, client.id).await?;
    let mut messages: Vec<serde_json::Value> = tx.thread(client.id).await?.iter().map(described).collect();
    // Cadre's own letters to the client are part of the correspondence too.
    messages.extend(tx.outbox_to_client(client.id).await?.iter().map(outgoing));
    messages.sort_by(|a, b| a["at"].as_str().cmp(&b["at"].as_str()));
    Ok(json!({
        "client": client.code,
        "state": client.state,
        "channel": client.channel,
        "turn": turn,
        "messages": messages,
    }))
}

async fn turn(tx: &mut Tx, client: ClientId) -> Result<serde_json::Value, StoreError> {
    let Some(turn) = tx.last_turn(client).await? else {
        return Ok(
            json!({ "state": TurnState::None, "opened": null, "due": null, "letters": 0, "acknowledged": false }),
        );
    };
    let letters = tx.letters_in_turn(turn.id).await?.len();
    Ok(json!({
        "state": turn.state,
        "opened": utc(turn.opened_at),
        "due": turn.due_at.map(utc),
        "letters": letters,
        "acknowledged": turn.acknowledged,
    }))
}

fn described(message: &Message) -> serde_json::Value {
    json!({
        "id": public_id(message.id.0),
        "direction": message.direction,
        "kind": message.kind,
        "at": utc(message.at),
        "verdict": message.verdict,
        "marks": message.marks,
        "state": message.state,
        "slot": message.slot.map(utc),
        "bytes": message.bytes,
        "number": message.held_no.map(|n| format!("H{n}")),
        "scan": message.scan,
    })
}

fn outgoing(row: &Outbox) -> serde_json::Value {
    json!({
        "id": public_id(row.id.0),
        "direction": Direction::Out,
        "kind": row.kind,
        "at": utc(row.created_at),
        "verdict": null,
        "marks": [],
        "state": match row.state { OutboxState::Held => "waiting", state => state.as_str() },
        "slot": null,
        "bytes": row.size.unwrap_or(0),
        "number": null,
        "scan": null,
    })
}

/// Prints the digest as it would leave now.
pub async fn digest(config: &Path, json: bool, therapist: Option<&str>, html: bool) -> Done {
    let ctx: Context = open(config).await?;
    let found = match therapist {
        Some(id) => ctx.therapist(&TherapistId(id.to_owned())),
        None => ctx.therapists().first().cloned(),
    };
    let Some(therapist) = found else {
        let known: Vec<String> = ctx.therapists().iter().map(|therapist| therapist.id().0.clone()).collect();
        eprintln!("cadre: --therapist: there is no such therapist; the configuration has {}", known.join(", "));
        return Err(USAGE);
    };
    let sheet = async {
        let mut tx = ctx.store.read().await?;
        digests::sheet(&ctx, &mut tx, &therapist, ctx.clock.now()).await
    };
    // No command prints a name: labels are the therapist's own words and stay out.
    let mut sheet = sheet.await.map_err(|error: AppError| fail(&error))?;
    sheet.without_labels();
    if json {
        return print_json(&sheet);
    }
    let rendered = ctx.letters().render(&Letter::Digest(letters::Digest::of(&sheet)), therapist.reader());
    match rendered {
        Ok(rendered) if html => println!("{}", rendered.html.unwrap_or_default()),
        Ok(rendered) => println!("{}\n\n{}", rendered.subject, rendered.text),
        Err(error) => {
            super::complain(&error);
            return Err(FAILED);
        }
    }
    ctx.store.close().await;
    Ok(())
}
