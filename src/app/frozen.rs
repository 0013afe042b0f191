//! An older database in the place of the newer one: nothing leaves until a person has looked (THREATS 32).
//!
//! What left after the copy was made isn't known in it, and would leave again. The journal's head stands in a file of its
//! own, which then is ahead of the journal, or on another chain.

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
