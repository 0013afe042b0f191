//! `client export`: the folder that the therapist opens and hands over.

use std::path::Path;

use serde_json::json;

use crate::app::context::Context;
use crate::app::export;
use crate::cli::progress::Bar;
use crate::cli::{Done, fail, find_client, print_json, thread, utc};
use crate::store::{Client, StoreError};

/// Writes it and says what is to be done with it.
pub async fn write(ctx: &Context, json: bool, code: &str, to: &Path, notes: bool) -> Done {
    let client = find_client(ctx, code).await?;
    let record = record(ctx, &client).await.map_err(|error| fail(&error))?;
    let bar = Bar::new(json, "letters");
    let letters = export::export(ctx, &client, &record, to, notes, |done, of| bar.at(done, of)).await;
    drop(bar);
    let letters = letters.map_err(|error| fail(&error))?;
    if json {
        return print_json(&json!({ "code": client.code, "folder": to, "letters": letters }));
    }
    println!(
        "{} has the {letters} letter(s) of {}, still sealed, and a page that says what is in it.",
        to.display(),
        client.code
    );
    println!("Give it to the therapist: only the therapist's key, or the archive key, opens the letters.");
    Ok(())
}

/// What is told of a client besides the letters: no name, no address, no secret.
async fn record(ctx: &Context, client: &Client) -> Result<serde_json::Value, StoreError> {
    let mut tx = ctx.store.read().await?;
    let mut record = thread::whole(&mut tx, client).await?;
    let consents = tx.consents(client.id).await?;
    record["exported"] = json!(utc(ctx.clock.now()));
    record["since"] = json!(utc(client.created_at));
    record["language"] = json!(client.language);
    record["therapist"] = json!(client.therapist);
    record["key"] = json!(client.fingerprint);
    let agreed = consents.iter().map(|consent| {
        json!({
            "at": utc(consent.at), "therapist": consent.wording.therapist, "wording": consent.wording.number,
            "language": consent.wording.language, "sha256": data_encoding::HEXLOWER.encode(&consent.wording.hash),
            "verdict": consent.verdict,
        })
    });
    record["consents"] = agreed.collect();
    Ok(record)
}
