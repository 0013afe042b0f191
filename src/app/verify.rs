//! `verify`: everything that is stored is as Cadre wrote it, and sealed to whom it should be.

use serde::Serialize;

use super::context::Context;
use crate::model::{ClientCode, ClientState, Direction, MessageRow, MessageState};
use crate::pgp::{Certificate, recipients};
use crate::store::{JournalReport, Kept, Message, StoreError, Tx};

/// Rows that are looked at in one view of the database: a long one would keep its log from being folded in.
const AT_ONCE: usize = 200;

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    #[error("was changed, moved or cut by something else than Cadre")]
    Changed,
    #[error("is no sealed OpenPGP message")]
    NotSealed,
    #[error("is sealed to the practice's key, though it should be the therapist's alone")]
    ReadableHere,
    #[error("waits to leave and is not sealed to the practice's key, or to another one too")]
    NotForPractice,
    #[error("is gone: there is no body")]
    Missing,
}

/// One row that isn't as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub table: &'static str,
    /// 0: one of a table whose rows have no number.
    pub row: i64,
    /// As far as a row that may have been changed tells it.
    pub client: Option<ClientCode>,
    pub what: What,
}

/// What was looked at, and what was found.
#[derive(Debug)]
pub struct Report {
    pub rows: u64,
    pub bodies: u64,
    pub faults: Vec<Fault>,
    /// Bodies for a key that isn't, or isn't alone, in the configuration now: an older key of the therapist's or archive's
    /// opens them.
    pub old_keys: u64,
    pub journal: JournalReport,
}

impl Report {
    /// Whether everything is as it should be.
    pub fn ok(&self) -> bool {
        self.faults.is_empty() && self.journal.ok()
    }
}

/// Looks at every row that has a MAC, every body and the journal. `progress` hears how many of how many are done.
///
/// # Errors
/// [`StoreError::Db`]. What is wrong with a row is in the report.
pub async fn verify(ctx: &Context, mut progress: impl FnMut(u64, u64)) -> Result<Report, StoreError> {
    let journal = ctx.store.verify_journal(None).await?;
    let mut report = Report { rows: 0, bodies: 0, faults: Vec::new(), old_keys: 0, journal };
    let mut tables = Vec::new();
    for kept in Kept::ALL {
        tables.push((kept, ctx.store.read().await?.kept_rows(kept).await?));
    }
    let total = tables.iter().map(|(_, rows)| rows.len() as u64).sum();
    for (kept, rows) in tables {
        for some in rows.chunks(AT_ONCE) {
            let mut tx = ctx.store.read().await?;
            for row in some {
                if let Some(what) = row_fault(ctx, &mut tx, kept, *row, &mut report).await? {
                    let client = tx.kept_for(kept, *row).await?;
                    report.faults.push(Fault { table: kept.table(), row: *row, client, what });
                }
                report.rows += 1;
            }
            progress(report.rows, total);
        }
    }
    Ok(report)
}

async fn row_fault(
    ctx: &Context,
    tx: &mut Tx,
    kept: Kept,
    row: i64,
    report: &mut Report,
) -> Result<Option<What>, StoreError> {
    match tx.check_kept(kept, row).await {
        Ok(()) => {}
        Err(StoreError::Corrupt { .. } | StoreError::Tampered { .. }) => return Ok(Some(What::Changed)),
        Err(error) => return Err(error),
    }
    match kept {
        Kept::Message => missing_body(tx, MessageRow(row)).await,
        Kept::Body => {
            report.bodies += 1;
            let Some(body) = tx.blob(MessageRow(row)).await? else { return Ok(None) };
            // A message that was changed is named by itself.
            let Ok(Some(message)) = tx.message(MessageRow(row)).await else { return Ok(None) };
            Ok(body_fault(ctx, &message, &body, &mut report.old_keys))
        }
        Kept::Card => {
            let Some((card, _)) = tx.card(crate::model::ClientId(row)).await? else { return Ok(None) };
            Ok(match recipients(&card) {
                Err(_) => Some(What::NotSealed),
                Ok(to) if to.iter().any(|handle| is_ours(ctx, handle)) => Some(What::ReadableHere),
                Ok(_) => None,
            })
        }
        Kept::LocumCopy => {
            let mut worst = None;
            for (locum, copy) in tx.copies_of(MessageRow(row)).await? {
                let locum = ctx.therapist(&locum);
                let certificate = locum.as_deref().and_then(|locum| locum.certificate());
                worst = worst.or(sealed_fault(ctx, &copy, certificate, None, &mut report.old_keys));
            }
            Ok(worst)
        }
        _ => Ok(None),
    }
}

/// Whether there is a body, for as long as the client is known. Not always of what was sent: a copy that couldn't be made
/// is no reason to keep what the practice's key opens.
const fn has_body(message: &Message) -> bool {
    match message.direction {
        Direction::In => matches!(message.state, MessageState::Filed | MessageState::Held | MessageState::Released),
        Direction::Out => matches!(message.state, MessageState::Waiting | MessageState::Held | MessageState::Leaving),
    }
}

async fn missing_body(tx: &mut Tx, row: MessageRow) -> Result<Option<What>, StoreError> {
    let Some(message) = tx.message(row).await?.filter(has_body) else { return Ok(None) };
    let known = match message.client {
        // Somebody's who is no client yet.
        None => true,
        Some(client) => match tx.client(client).await {
            Ok(client) => client.is_some_and(|client| client.state != ClientState::Erased),
            // Named by itself.
            Err(StoreError::Corrupt { .. } | StoreError::Tampered { .. }) => false,
            Err(error) => return Err(error),
        },
    };
    match tx.blob(row).await {
        Ok(None) if known => Ok(Some(What::Missing)),
        Ok(_) | Err(StoreError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_ours(ctx: &Context, handle: &str) -> bool {
    ctx.keys().into_iter().any(|key| has(key.certificate(), handle))
}

fn has(certificate: &Certificate, handle: &str) -> bool {
    certificate.handles().iter().any(|known| known == handle)
}

/// Who can open a body: the practice while it waits, the therapist and the archive from then on.
fn body_fault(ctx: &Context, message: &Message, body: &[u8], old_keys: &mut u64) -> Option<What> {
    if message.direction == Direction::Out {
        match message.state {
            MessageState::Waiting | MessageState::Leaving | MessageState::Held => {
                let Ok(to) = recipients(body) else { return Some(What::NotSealed) };
                return (!to.iter().all(|handle| is_ours(ctx, handle))).then_some(What::NotForPractice);
            }
            MessageState::Sent => {}
            // Never left: as it waited.
            _ => return recipients(body).is_err().then_some(What::NotSealed),
        }
    }
    let therapist = message.therapist.as_ref().and_then(|id| ctx.therapist(id));
    let certificate = therapist.as_deref().and_then(|therapist| therapist.certificate());
    sealed_fault(ctx, body, certificate, ctx.archive.as_ref(), old_keys)
}

/// What only `reader` and `archive` may open. Of an older key of theirs nothing is known any more: it is counted.
fn sealed_fault(
    ctx: &Context,
    sealed: &[u8],
    reader: Option<&Certificate>,
    archive: Option<&Certificate>,
    old_keys: &mut u64,
) -> Option<What> {
    let Ok(to) = recipients(sealed) else { return Some(What::NotSealed) };
    if to.iter().any(|handle| is_ours(ctx, handle)) {
        return Some(What::ReadableHere);
    }
    let theirs = to.iter().any(|handle| reader.is_some_and(|certificate| has(certificate, handle)));
    let known = |handle: &String| reader.into_iter().chain(archive).any(|certificate| has(certificate, handle));
    if !theirs || !to.iter().all(known) {
        *old_keys += 1;
    }
    None
}
