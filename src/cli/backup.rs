//! `cadre backup` and `cadre restore`.

use std::path::Path;

use serde_json::json;

use super::migrate_store::Shown;
use super::{Done, fail, load, open, print_json};
use crate::app::backup::{self, BackupError};
use crate::app::restore;
use crate::clock::Clock;
use crate::model::ClientCode;

/// Copies the database, also while `run` works on it.
pub async fn backup(config: &Path, json: bool, file: &Path) -> Done {
    let ctx = open(config).await?;
    let shown = Shown::new(json);
    let work = async {
        // Before it is made, so that the copy's journal has this line and fits the head file.
        let mut tx = ctx.store.begin().await?;
        tx.journal(ctx.clock.now(), "backup", None, json!({})).await?;
        tx.commit().await?;
        backup::back_up(&ctx, file, |progress| shown.at(progress)).await
    };
    let done: Result<_, BackupError> = work.await;
    ctx.store.close().await;
    drop(shown);
    let head = done.map_err(|error| fail(&error))?;
    if json {
        return print_json(&json!({ "file": file, "journal": head.to_string() }));
    }
    println!("{} is a copy of the database as it is now; its journal ends at {head}.", file.display());
    println!(
        "No key is in it. Keep besides, and not in the same place: the record key (`[keys] record`), without which nobody \
         reads the copy; the practice's key with its old ones (`[keys] secret`); the configuration and its certificates."
    );
    println!(
        "The journal's head file ({}) is no part of it and is never put back: it shows that a database is an older one.",
        ctx.config.database.journal_head.display()
    );
    Ok(())
}

/// Puts a copy in the database's place; nothing leaves afterwards until `queue resume`.
pub async fn restore(config: &Path, json: bool, file: &Path, replace: bool) -> Done {
    // Not `open`: the database that is there may be the one that is broken.
    let (config, _) = load(config)?;
    let shown = Shown::new(json);
    let done = restore::restore(&config, file, replace, Clock::System.now(), |progress| shown.at(progress)).await;
    drop(shown);
    let done = done.map_err(|error| fail(&error))?;
    if json {
        return print_json(&json!({
            "journal": done.head.to_string(), "held": done.held, "kept": done.kept, "frozen": true,
            "erased_again": done.erased_again,
        }));
    }
    println!("{} is the database now; its journal ended at {}.", file.display(), done.head);
    if let Some(kept) = &done.kept {
        let schema = if config.database.file().is_none() { "the schema " } else { "" };
        println!("The one before is kept as {schema}{kept}.");
    }
    if !done.erased_again.is_empty() {
        let codes: Vec<&str> = done.erased_again.iter().map(ClientCode::as_str).collect();
        println!("Erased since the copy was made, and erased again by the next `cadre run`: {}.", codes.join(", "));
    }
    println!("Nothing leaves until `cadre queue resume`; mail is read and filed by `cadre run` meanwhile.");
    if done.held > 0 {
        println!(
            "{} mail(s) were due when the copy was made or since, and may have left: they are put aside, and `queue resume` \
             doesn't send them. `cadre queue list` shows them; `queue cancel ID` where it left, `queue retry ID` where it didn't.",
            done.held
        );
    }
    println!(
        "What came or was decided after the copy was made isn't in it: compare with the therapist's own mailbox and the last \
         digests."
    );
    Ok(())
}
