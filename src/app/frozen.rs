//! An older database in the place of the newer one: nothing leaves until a person has looked (THREATS 32).
//!
//! What left after the copy was made isn't known in it, and would leave again. The journal's head stands in a file of its
//! own, which then is ahead of the journal, or on another chain. What `restore` puts back is frozen in any case.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::AppError;
use super::context::Context;
use super::health;
use super::post::Problem;
use crate::store::{StoreError, Tx};

/// Since when nothing leaves.
const FROZEN: &str = "frozen";

/// Freezes what goes out where the database is not the one that wrote the head file.
///
/// # Errors
/// [`AppError`].
pub async fn look(ctx: &Context, now: DateTime<Utc>) -> Result<(), AppError> {
    if ctx.store.ahead_of_journal().await?.is_none() {
        return Ok(());
    }
    let mut tx = ctx.store.begin().await?;
    if since(&mut tx).await?.is_none() {
        tx.set_meta_time(FROZEN, now).await?;
        tx.journal(now, "frozen", None, json!({})).await?;
        health::alarm(ctx, &mut tx, &Problem::new("journal"), now).await?;
    }
    Ok(tx.commit().await?)
}

/// Freezes what goes out of a copy that is about to be put in the database's place, whatever its journal says: `held`
/// mails were put aside.
///
/// # Errors
/// [`StoreError`].
pub async fn freeze(tx: &mut Tx, held: u64, now: DateTime<Utc>) -> Result<(), StoreError> {
    if since(tx).await?.is_none() {
        tx.set_meta_time(FROZEN, now).await?;
    }
    tx.journal(now, "restored", None, json!({ "held": held })).await
}

/// Since when nothing leaves; None: it does.
///
/// # Errors
/// [`StoreError`].
pub async fn since(tx: &mut Tx) -> Result<Option<DateTime<Utc>>, StoreError> {
    tx.meta_time(FROZEN).await
}

/// `queue resume`: this database is the one from now on. `false`: nothing was frozen.
///
/// # Errors
/// [`AppError`].
pub async fn resume(ctx: &Context, now: DateTime<Utc>) -> Result<bool, AppError> {
    let found = ctx.store.ahead_of_journal().await?;
    let mut tx = ctx.store.begin().await?;
    if since(&mut tx).await?.is_none() && found.is_none() {
        return Ok(false);
    }
    tx.clear_meta(FROZEN).await?;
    // What the head file said stays known.
    tx.journal(now, "thawed", None, json!({ "head_file": found.map(|head| head.to_string()) })).await?;
    tx.commit().await?;
    ctx.store.accept_journal().await?;
    Ok(true)
}
