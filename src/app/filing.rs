//! After the commit: sealed copies appended and confirmed, originals removed or moved (SPEC section 2).
//!
//! What is to be done stands in the database, so a crash between any two steps is resumed, not repeated.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::AppError;
use super::context::Context;
use super::write::stored_mail;
use crate::failpoint::failpoint;
use crate::mime;
use crate::model::{ClientId, MessageRow};
use crate::net::{Append, ImapSession, NetError};
use crate::store::{Client, Disposal, Message, Original, StoreError, Tx};

/// Copies appended with one go: a server opens and locks a folder for those of it, however many they are.
const COPIES: u32 = 1024;
/// The same where another gateway takes over from one that is silent for too long.
const COPIES_SHARED: u32 = 256;
/// Bytes of copies in memory at one time, but for the last of them.
const COPY_BYTES: usize = 32 << 20;
/// Mail among the others is deleted after this time.
const OTHERS_DAYS: i64 = 30;

/// Appends the sealed copies, then removes or moves the originals whose copy is confirmed.
///
/// # Errors
/// [`AppError`]; what isn't done is done by a later pass.
pub async fn finish(ctx: &Context, imap: &mut ImapSession, folder: &str) -> Result<(), AppError> {
    copies(ctx, imap).await?;
    failpoint("copied");
    let originals = ctx.store.read().await?.originals(folder, true).await?;
    if originals.is_empty() {
        return Ok(());
    }
    let selected = imap.select(folder).await?;
    let (ours, stale): (Vec<Original>, Vec<Original>) =
        originals.into_iter().partition(|original| original.uidvalidity == selected.uidvalidity);
    let of = |action: Disposal| -> Vec<u32> {
        ours.iter().filter(|original| original.action == action).map(|original| original.uid).collect()
    };
    // On a server without UIDPLUS what others have marked hinders the expunge, and a server may say no to
    // one folder: these are tried again later, and hinder nothing else.
    let mut left: HashSet<u32> = HashSet::new();
    let mut copied: HashSet<u32> = HashSet::new();
    let removed = of(Disposal::Remove);
    awake(ctx)?;
    if !removed.is_empty() {
        match refused(imap.remove(&removed).await)? {
            Some(done) => left.extend(done.left_marked),
            None => left.extend(removed),
        }
    }
    for (action, name) in [(Disposal::Done, "Done"), (Disposal::Others, "Others"), (Disposal::Attention, "Attention")] {
        let uids = of(action);
        if uids.is_empty() {
            continue;
        }
        let target = imap.folder_name(&["Cadre", name]);
        let moved = match refused(imap.ensure_folder(&target).await)? {
            Some(()) => refused(imap.move_to(&uids, &target).await)?,
            None => None,
        };
        match moved {
            Some(moved) => copied.extend(moved.left_marked),
            None => left.extend(uids),
        }
    }
    failpoint("removed");
    let mut tx = ctx.store.begin().await?;
    let done: Vec<u32> = ours.iter().map(|original| original.uid).filter(|uid| !left.contains(uid)).collect();
    tx.originals_done(folder, selected.uidvalidity, &done).await?;
    for original in ours.iter().filter(|original| copied.contains(&original.uid) && !left.contains(&original.uid)) {
        // It is in its folder already; only the original is still to go.
        tx.add_original(&Original { action: Disposal::Remove, copy_needed: false, ..original.clone() }).await?;
    }
    // Those of an earlier UIDVALIDITY are met again by the rescan and known by what they are.
    for original in &stale {
        tx.originals_done(folder, original.uidvalidity, &[original.uid]).await?;
    }
    tx.commit().await?;
    failpoint("finished");
    Ok(())
}

/// What a server said no to is logged and left for later; what ends the session ends the pass.
fn refused<T>(answer: Result<T, NetError>) -> Result<Option<T>, NetError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.ends_session() => Err(error),
        Err(error) => {
            tracing::warn!(%error, "the mail server refused it; it is tried again");
            Ok(None)
        }
    }
}

/// A row that was changed by somebody else has no copy; it stops nothing else.
fn sound<T>(answer: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error @ (StoreError::Tampered { .. } | StoreError::Corrupt { .. })) => {
            tracing::error!(%error, "a sealed copy can't be made");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Puts sealed copies into their clients' folders; one that is there already is recognised by its
/// Message-ID and not appended again.
async fn copies(ctx: &Context, imap: &mut ImapSession) -> Result<(), AppError> {
    let most = if ctx.store.is_shared() { COPIES_SHARED } else { COPIES };
    loop {
        let mut tx = ctx.store.read().await?;
        let pending = tx.copies_pending(most).await?;
        if pending.is_empty() {
            return Ok(());
        }
        let mut by_client: BTreeMap<ClientId, Vec<Message>> = BTreeMap::new();
        let mut nowhere = Vec::new();
        for row in &pending {
            match sound(tx.message(*row).await)?.flatten().and_then(|message| Some((message.client?, message))) {
                Some((client, message)) => by_client.entry(client).or_default().push(message),
                None => nowhere.push(*row),
            }
        }
        let mut items = Vec::new();
        let mut size = 0;
        for (client, messages) in by_client {
            let Some(client) = sound(tx.client(client).await)?.flatten() else {
                nowhere.extend(messages.iter().map(|message| message.id));
                continue;
            };
            let folder = imap.folder_name(&["Cadre", client.code.as_str()]);
            for message in messages {
                if size > COPY_BYTES {
                    break;
                }
                match sound(copy_bytes(ctx, &mut tx, &client, &message).await)?.flatten() {
                    Some((id, bytes, at)) => {
                        size += bytes.len();
                        items.push(Copy { row: message.id, folder: folder.clone(), id, bytes, at });
                    }
                    None => nowhere.push(message.id),
                }
            }
        }
        drop(tx);
        let confirmed = append(ctx, imap, &items).await?;
        let progress = !(confirmed.is_empty() && nowhere.is_empty());
        let now = ctx.clock.now();
        let mut tx = ctx.store.begin().await?;
        let done: Vec<MessageRow> = confirmed.into_iter().chain(nowhere).collect();
        tx.copies_confirmed(&done, now).await?;
        tx.commit().await?;
        if !progress || (pending.len() < most as usize && size <= COPY_BYTES) {
            return Ok(());
        }
    }
}

/// A sealed copy for a client's folder.
struct Copy {
    row: MessageRow,
    folder: String,
    id: String,
    bytes: Vec<u8>,
    at: DateTime<Utc>,
}

async fn copy_bytes(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    message: &Message,
) -> Result<Option<(String, Vec<u8>, DateTime<Utc>)>, StoreError> {
    let Some(sealed) = tx.blob(message.id).await? else { return Ok(None) };
    let Some(therapist) = ctx.therapist(&client.therapist) else { return Ok(None) };
    let mail = stored_mail(ctx, &therapist, Some(client), message);
    let bytes = mime::encrypted(&mail, &sealed);
    Ok(Some((mail.message_id, bytes, mail.date)))
}

/// Appends what isn't there yet; gives the rows that are confirmed. Only what an earlier attempt may have
/// brought there is looked for.
async fn append(ctx: &Context, imap: &mut ImapSession, items: &[Copy]) -> Result<Vec<MessageRow>, AppError> {
    let mut confirmed = Vec::new();
    let mut folders: BTreeMap<&str, Vec<&Copy>> = BTreeMap::new();
    for item in items {
        folders.entry(&item.folder).or_default().push(item);
    }
    let mut missing: Vec<&Copy> = Vec::new();
    for (folder, copies) in folders {
        if !ensure(ctx, imap, folder).await? {
            continue;
        }
        let (fresh, tried): (Vec<&Copy>, Vec<&Copy>) = copies.into_iter().partition(|copy| ctx.try_copy(copy.row));
        missing.extend(fresh);
        if tried.is_empty() {
            continue;
        }
        let ids: Vec<String> = tried.iter().map(|copy| format!("<{}>", copy.id)).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let there = imap.contains_message_ids(folder, &ids).await?;
        for (copy, there) in tried.into_iter().zip(there) {
            if there { confirmed.push(copy.row) } else { missing.push(copy) }
        }
    }
    let appends: Vec<Append<'_>> = missing
        .iter()
        .map(|copy| Append { folder: &copy.folder, message: &copy.bytes, flags: &[], internaldate: Some(copy.at) })
        .collect();
    failpoint("appending");
    awake(ctx)?;
    let outcomes = imap.append_all(&appends).await;
    failpoint("appended");
    for (copy, outcome) in missing.iter().zip(outcomes) {
        match outcome {
            Ok(_) => confirmed.push(copy.row),
            Err(error) if error.ends_session() => return Err(error.into()),
            Err(error) => tracing::warn!(%error, "a sealed copy can't be put into its folder; it is tried again"),
        }
    }
    Ok(confirmed)
}

/// A gateway that was stopped for a while touches nothing any more: another one may be at the same work.
fn awake(ctx: &Context) -> Result<(), StoreError> {
    if ctx.store.lives() { Ok(()) } else { Err(StoreError::Fenced) }
}

/// Makes sure of a folder, once in this process; APPEND itself notices when it is gone again.
async fn ensure(ctx: &Context, imap: &mut ImapSession, folder: &str) -> Result<bool, AppError> {
    let known = || ctx.known_folders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if known().contains(folder) {
        return Ok(true);
    }
    if refused(imap.ensure_folder(folder).await)?.is_none() {
        return Ok(false);
    }
    known().insert(folder.to_owned());
    Ok(true)
}

/// Deletes what has lain among the others for 30 days, counted from when it was first seen there: the
/// arrival says nothing about that.
///
/// # Errors
/// [`AppError`].
pub async fn clean_others(ctx: &Context, imap: &mut ImapSession, now: DateTime<Utc>) -> Result<(), AppError> {
    let folder = imap.folder_name(&["Cadre", "Others"]);
    if !imap.folder_exists(&folder).await? {
        return Ok(());
    }
    let selected = imap.select(&folder).await?;
    let there: HashSet<u32> = imap.list_new(0).await?.into_iter().map(|entry| entry.uid).collect();
    let known = ctx.store.read().await?.tries(&folder, selected.uidvalidity).await?;
    let old: Vec<u32> = known
        .iter()
        .filter(|seen| there.contains(&seen.uid) && now - seen.first > TimeDelta::days(OTHERS_DAYS))
        .map(|seen| seen.uid)
        .collect();
    if !old.is_empty() {
        imap.remove(&old).await?;
    }
    let fresh: Vec<u32> = there.iter().copied().filter(|uid| known.iter().all(|seen| seen.uid != *uid)).collect();
    if fresh.is_empty() && old.is_empty() {
        return Ok(());
    }
    let mut tx = ctx.store.begin().await?;
    for uid in fresh {
        tx.note_seen(&folder, selected.uidvalidity, uid, now).await?;
    }
    for uid in old {
        tx.clear_tries(&folder, selected.uidvalidity, uid).await?;
    }
    Ok(tx.commit().await?)
}
