//! `recover`: the therapist's key is lost, and what is stored is sealed anew with the archive's secret.
//!
//! Each body is opened in memory, its signature seen to be the practice's, and sealed to the therapist's present
//! certificate and the archive, with the signature's own time. Batch by batch: what was done stays done, and is known by
//! whom it is sealed to. The archive's secret is never written.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::AppError;
use super::context::Context;
use crate::failpoint::failpoint;
use crate::model::{ClientCode, ClientId, MessageRow, TherapistId};
use crate::pgp::{self, Certificate, OpenError, PracticeKey, SealError, SignatureCheck};
use crate::store::{Kept, StoreError, Tx};

/// Bodies that are committed together.
const AT_ONCE: usize = 50;

/// Why one body stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Left {
    #[error("can't be opened with the archive's key")]
    Open(#[from] OpenError),
    #[error("bears no good signature of the practice's: it isn't sealed in its name")]
    NotOurs,
    #[error("can't be sealed")]
    Seal(#[from] SealError),
    #[error("was changed by something else than Cadre")]
    Changed,
    #[error("belongs to a therapist without a certificate in the configuration")]
    NoTherapist,
}

/// What stays as it is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBody {
    pub table: &'static str,
    pub row: i64,
    pub client: Option<ClientCode>,
    pub why: Left,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Recovered {
    pub resealed: u64,
    /// For the present key already.
    pub already: u64,
    /// Never sealed to this archive: from before there was one, or of another.
    pub not_for_archive: u64,
    pub left: Vec<LeftBody>,
}

/// Who opens, and for whom it is sealed.
pub struct Wanted<'a> {
    pub archive: &'a PracticeKey,
    /// Only this therapist's; None: everybody's.
    pub therapist: Option<&'a TherapistId>,
    /// Another certificate than the configuration's.
    pub to: Option<&'a Certificate>,
}

/// What was done with one body.
enum Done {
    Resealed,
    Already,
    NotForArchive,
    /// Another therapist's, or one that waits under the practice's key.
    Skipped,
}

/// Seals everything anew. `progress` hears how many of how many rows are done.
///
/// # Errors
/// [`AppError`] of the database: what was done stays done, and the same command goes on. What is wrong with one body is
/// in the report.
pub async fn recover(ctx: &Context, wanted: &Wanted<'_>, progress: impl Fn(u64, u64)) -> Result<Recovered, AppError> {
    let mut report = Recovered::default();
    journal(ctx, "recovery-began", json!({ "archive": wanted.archive.certificate().fingerprint() })).await?;
    let mut tables = Vec::new();
    for kept in [Kept::Body, Kept::Card] {
        tables.push((kept, ctx.store.read().await?.kept_rows(kept).await?));
    }
    let of = tables.iter().map(|(_, rows)| rows.len() as u64).sum();
    let mut done = 0;
    for (kept, rows) in tables {
        for some in rows.chunks(AT_ONCE) {
            let mut tx = ctx.store.begin().await?;
            for row in some {
                match one(ctx, &mut tx, wanted, kept, *row).await? {
                    Ok(Done::Resealed) => report.resealed += 1,
                    Ok(Done::Already) => report.already += 1,
                    Ok(Done::NotForArchive) => report.not_for_archive += 1,
                    Ok(Done::Skipped) => {}
                    Err(why) => {
                        let client = tx.kept_for(kept, *row).await?;
                        report.left.push(LeftBody { table: kept.table(), row: *row, client, why });
                    }
                }
            }
            tx.commit().await?;
            failpoint("recovered-some");
            done += some.len() as u64;
            progress(done, of);
        }
    }
    let counts = json!({
        "resealed": report.resealed, "already": report.already, "not_for_archive": report.not_for_archive,
        "left": report.left.len(),
    });
    journal(ctx, "recovered", counts).await?;
    Ok(report)
}

async fn journal(ctx: &Context, kind: &str, detail: serde_json::Value) -> Result<(), AppError> {
    let mut tx = ctx.store.begin().await?;
    tx.journal(ctx.clock.now(), kind, None, detail).await?;
    Ok(tx.commit().await?)
}

/// What is wrong with a stored row is a value; that the database fails is not.
fn changed<T>(answer: Result<T, StoreError>) -> Result<Result<T, Left>, StoreError> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(StoreError::Corrupt { .. } | StoreError::Tampered { .. }) => Ok(Err(Left::Changed)),
        Err(error) => Err(error),
    }
}

/// Seals one body or card anew in its place.
async fn one(
    ctx: &Context,
    tx: &mut Tx,
    wanted: &Wanted<'_>,
    kept: Kept,
    row: i64,
) -> Result<Result<Done, Left>, StoreError> {
    let found = match kept {
        Kept::Card => changed(card(tx, row).await)?,
        _ => changed(body(tx, MessageRow(row)).await)?,
    };
    let (therapist, bytes, at) = match found {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Ok(Done::Skipped)),
        Err(left) => return Ok(Err(left)),
    };
    if wanted.therapist.is_some_and(|only| Some(only) != therapist.as_ref()) {
        return Ok(Ok(Done::Skipped));
    }
    let sealed = match therapist.as_ref().and_then(|id| ctx.therapist(id)) {
        Some(therapist) => match wanted.to.or(therapist.certificate()) {
            Some(to) => anew(ctx, wanted.archive, to, &bytes),
            None => Err(Left::NoTherapist),
        },
        None => Err(Left::NoTherapist),
    };
    let sealed = match sealed {
        Ok(Sealed::Anew(sealed)) => sealed,
        Ok(Sealed::Already) => return Ok(Ok(Done::Already)),
        Ok(Sealed::NotForArchive) => return Ok(Ok(Done::NotForArchive)),
        Ok(Sealed::Waits) => return Ok(Ok(Done::Skipped)),
        Err(left) => return Ok(Err(left)),
    };
    match at {
        Some(at) => tx.set_card(ClientId(row), &sealed, at).await?,
        None => tx.put_blob(MessageRow(row), &sealed).await?,
    }
    Ok(Ok(Done::Resealed))
}

/// Whose it is, the ciphertext, and for a card since when.
type Found = (Option<TherapistId>, Vec<u8>, Option<DateTime<Utc>>);

async fn body(tx: &mut Tx, row: MessageRow) -> Result<Option<Found>, StoreError> {
    let (Some(message), Some(body)) = (tx.message(row).await?, tx.blob(row).await?) else { return Ok(None) };
    // Sealed when it was filed, to whom it was then; the reader now is the client's present therapist.
    let client = match message.client {
        Some(client) => tx.client(client).await?.map(|client| client.therapist),
        None => None,
    };
    Ok(Some((message.therapist.or(client), body, None)))
}

async fn card(tx: &mut Tx, row: i64) -> Result<Option<Found>, StoreError> {
    let Some((card, at)) = tx.card(ClientId(row)).await? else { return Ok(None) };
    let client = tx.client(ClientId(row)).await?;
    Ok(Some((client.map(|client| client.therapist), card, Some(at))))
}

enum Sealed {
    Anew(Vec<u8>),
    Already,
    NotForArchive,
    Waits,
}

/// One ciphertext for this certificate and the archive.
fn anew(ctx: &Context, archive: &PracticeKey, to: &Certificate, sealed: &[u8]) -> Result<Sealed, Left> {
    let readers = pgp::recipients(sealed)?;
    let reads = |certificate: &Certificate| {
        let handles = certificate.handles();
        readers.iter().any(|reader| handles.contains(reader))
    };
    if ctx.keys().into_iter().any(|key| reads(key.certificate())) {
        return Ok(Sealed::Waits);
    }
    if reads(to) {
        return Ok(Sealed::Already);
    }
    if !reads(archive.certificate()) {
        return Ok(Sealed::NotForArchive);
    }
    let now = ctx.clock.now();
    let own: Vec<Certificate> = ctx.keys().into_iter().map(PracticeKey::certificate_before_revocation).collect();
    let opened = pgp::open(sealed, &[archive], &own, now, &pgp::Limits::default())?;
    let SignatureCheck::Good(signature) = opened.signature else { return Err(Left::NotOurs) };
    let mut readers = vec![to];
    readers.extend(ctx.archive.as_ref());
    // With the time of the first sealing, which is the mail's Date, where the present key was there already.
    match pgp::seal_dated(opened.plaintext.as_bytes(), &readers, &ctx.key, signature.signed_at, now) {
        Err(SealError::Signer { .. }) => {
            Ok(Sealed::Anew(pgp::seal(opened.plaintext.as_bytes(), &readers, &ctx.key, now)?))
        }
        sealed => Ok(Sealed::Anew(sealed?)),
    }
}
