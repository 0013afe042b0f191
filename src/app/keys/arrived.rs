//! Keys that come with people's mail: attached, pasted, or in an Autocrypt header. Nothing is believed but what the pinned
//! key itself has certified; another key never takes its place here.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use regex::bytes::Regex;
use serde_json::json;

use super::super::AppError;
use super::super::context::{Context, Therapist};
use super::super::enrol::stored;
use super::super::examine::{Examined, Registry};
use super::super::health;
use super::super::post::{Owner, Post, Problem, Recipe};
use super::Paper;
use crate::mime::{self, AttachmentClass, FromField, Limits};
use crate::model::{Channel, ClientId, Kind, Person, TherapistId, Verdict};
use crate::pgp::{Certificate, Revocation, SentKeys};
use crate::store::{self, Client, THERAPIST_KEYS_CHANGED, Tx};

/// How many attached keys are looked at.
const KEYS: usize = 8;

/// What a mail with a key in it has somewhere; the others aren't taken apart for it.
static HINT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i-u)pgp-keys|LS0tLS1CRUdJTiBQR1A|BEGIN PGP PUBLIC KEY|\.(?:asc|gpg|pgp|key)\b").ok()
});

/// Somebody's pinned certificate with a genuine revocation of it that is new.
pub struct Revoked {
    pub person: Person,
    pub certificate: Certificate,
    pub revocation: Revocation,
}

/// The keys and revocations in a mail: attached to `entity` or pasted into it, and those of the Autocrypt headers, inside
/// and outside, that are about `from`.
pub fn sent(entity: Option<&[u8]>, raw: &[u8], from: &FromField, limits: &Limits) -> Vec<SentKeys> {
    let mut found = Vec::new();
    if let Some(entity) = entity.filter(|entity| HINT.as_ref().is_some_and(|hint| hint.is_match(entity)))
        && let Ok(content) = mime::content(entity, limits)
    {
        let keys = content.attachments.iter().filter(|attachment| attachment.class == AttachmentClass::Key);
        found.extend(keys.take(KEYS).map(|key| SentKeys::read(&key.bytes)));
        found.extend(pasted(&content.text).map(|block| SentKeys::read(&block)));
    }
    found.extend(headers(entity, raw, from, limits).iter().map(|key| SentKeys::read(key)));
    found
}

/// The keys of the Autocrypt headers, in the protected header block and outside of it.
fn headers(entity: Option<&[u8]>, raw: &[u8], from: &FromField, limits: &Limits) -> Vec<Vec<u8>> {
    let FromField::One { address, .. } = from else { return Vec::new() };
    let read = |place: &[u8]| mime::autocrypt(place, address, limits).ok().flatten();
    let mut keys: Vec<Vec<u8>> = entity.and_then(read).into_iter().collect();
    if let Some(outside) = read(raw).filter(|outside| !keys.contains(outside)) {
        keys.push(outside);
    }
    keys
}

/// A key that was pasted into the text.
pub fn pasted(text: &str) -> Option<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    let start = text.find(BEGIN)?;
    let end = start + text[start..].find(END)? + END.len();
    Some(format!("{}\n", &text[start..end]).into_bytes())
}

/// A pinned certificate with what came of the same fingerprint and says something new. A revocation is no renewal.
pub fn renewed(pinned: &Certificate, sent: &[SentKeys]) -> Option<Certificate> {
    let own = sent.iter().flat_map(SentKeys::certificates).filter(|key| key.fingerprint() == pinned.fingerprint());
    let merged = own.fold(pinned.clone(), |known, newer| known.merge(newer).unwrap_or(known));
    (merged != *pinned && merged.revocation() == pinned.revocation()).then_some(merged)
}

/// The same for a client, out of a verified letter of theirs.
pub fn renewed_client(ctx: &Context, client: Option<&Client>, examined: &Examined) -> Option<store::Certificate> {
    let client = client.filter(|_| examined.decision.verdict == Verdict::Verified)?;
    renewed(&ctx.client_certificate(client)?, &examined.sent).map(|renewed| stored(&renewed))
}

/// Everybody whose pinned certificate is revoked by what came, whoever brought it: only the key itself, or who was named
/// for it, can have made a revocation.
pub fn revoked(sent: &[SentKeys], registry: &dyn Registry, now: DateTime<Utc>) -> Vec<Revoked> {
    let mut all: Vec<Revoked> = Vec::new();
    for keys in sent {
        let mut people: Vec<(Person, Certificate)> = Vec::new();
        for handle in keys.revoked_handles() {
            for (person, pinned) in registry.people_by_handle(&handle) {
                if !people.iter().any(|(known, _)| *known == person) {
                    people.push((person, pinned));
                }
            }
        }
        let revokers: Vec<Certificate> = people.iter().map(|(_, pinned)| pinned.clone()).collect();
        for (person, pinned) in people {
            if let Some(certificate) = keys.revoke(&pinned, &revokers, now)
                && let Some(revocation) = certificate.revocation()
                && !all.iter().any(|known| known.person == person)
            {
                all.push(Revoked { person, certificate, revocation });
            }
        }
    }
    all
}

/// From now on mail by these keys is bad, nothing is encrypted to them, and the people concerned are told.
///
/// # Errors
/// [`AppError`].
pub async fn revoke(ctx: &Context, tx: &mut Tx, revoked: &[Revoked], now: DateTime<Utc>) -> Result<(), AppError> {
    for one in revoked {
        match &one.person {
            Person::Client(id) => revoke_client(ctx, tx, *id, one, now).await?,
            Person::Therapist(id) => revoke_therapist(ctx, tx, id, one, now).await?,
        }
    }
    Ok(())
}

async fn revoke_client(
    ctx: &Context,
    tx: &mut Tx,
    id: ClientId,
    one: &Revoked,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    // Read again: another mail of the same group may have changed the record.
    let Some(client) = tx.client(id).await? else { return Ok(()) };
    let pinned = client.certificate.as_ref().and_then(|bytes| Certificate::from_bytes(bytes).ok());
    let Some(certificate) = pinned.and_then(|pinned| pinned.revoked_as(&one.certificate)) else { return Ok(()) };
    tx.set_client_certificate(id, Some(&stored(&certificate))).await?;
    if one.revocation.hard {
        tx.disown_offers(id).await?;
    }
    let fingerprint = certificate.fingerprint();
    let detail = json!({ "hard": one.revocation.hard });
    tx.journal(now, "key-revoked", Some(&client.code), detail).await?;
    // Letters that are sealed with a passphrase wait for no key.
    if client.channel == Channel::OpenPgp {
        let paper = Paper::Revoked { fingerprint: fingerprint.clone() };
        Post::to_client(Kind::KeyRevoked, id, now).enqueue(ctx, tx, &Recipe::Keys(paper), now).await?;
    }
    let paper = Paper::ClientRevoked { fingerprint, at: one.revocation.at, hard: one.revocation.hard };
    Post::to_therapist(Kind::StaffKeyRevoked, &client.therapist, Some(id), now)
        .enqueue(ctx, tx, &Recipe::Keys(paper), now)
        .await?;
    health::alarm(ctx, tx, &Problem::revoked(Owner::Client, Some(&client.code)), now).await
}

async fn revoke_therapist(
    ctx: &Context,
    tx: &mut Tx,
    id: &TherapistId,
    one: &Revoked,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let Some(therapist) = ctx.therapist(id) else { return Ok(()) };
    let known = known_certificate(tx, &therapist).await?;
    let Some(certificate) = known.and_then(|known| known.revoked_as(&one.certificate)) else { return Ok(()) };
    tx.set_therapist_key(id, &certificate.to_bytes(), now).await?;
    let fingerprint = certificate.fingerprint();
    let detail = json!({ "therapist": id.0, "fingerprint": fingerprint, "hard": one.revocation.hard });
    tx.journal(now, "therapist-key-revoked", None, detail).await?;
    let paper = Paper::Revoked { fingerprint };
    Post::to_therapist(Kind::KeyRevoked, id, None, now).enqueue(ctx, tx, &Recipe::Keys(paper), now).await?;
    health::alarm(ctx, tx, &Problem::revoked(Owner::Therapist, None), now).await
}

/// A therapist's certificate as it stands in the database, within this transaction: the file's where nothing is known.
async fn known_certificate(tx: &mut Tx, therapist: &Therapist) -> Result<Option<Certificate>, AppError> {
    let Some(certificate) = therapist.certificate().cloned() else { return Ok(None) };
    let stored = tx.therapist_keys().await?.into_iter().find(|(id, _)| id == therapist.id());
    Ok(Some(with_stored(&certificate, stored.map(|(_, bytes)| bytes).as_deref())))
}

/// A certificate with what the database knows of it besides; of another fingerprint, the file counts.
pub fn with_stored(file: &Certificate, stored: Option<&[u8]>) -> Certificate {
    let stored = stored.and_then(|bytes| Certificate::from_bytes(bytes).ok());
    let Some(stored) = stored.filter(|stored| stored.fingerprint() == file.fingerprint()) else { return file.clone() };
    let merged = file.merge(&stored).unwrap_or_else(|_| file.clone());
    merged.revoked_as(&stored).unwrap_or(merged)
}

/// Takes what a therapist's verified mail says of their own key.
///
/// # Errors
/// [`AppError::Store`].
pub async fn renew_therapist(
    ctx: &Context,
    tx: &mut Tx,
    id: &TherapistId,
    sent: &[SentKeys],
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let Some(therapist) = ctx.therapist(id).filter(|_| !sent.is_empty()) else { return Ok(()) };
    let Some(known) = known_certificate(tx, &therapist).await? else { return Ok(()) };
    let Some(certificate) = renewed(&known, sent) else { return Ok(()) };
    tx.set_therapist_key(therapist.id(), &certificate.to_bytes(), now).await?;
    let detail = json!({ "therapist": therapist.id().0, "fingerprint": certificate.fingerprint() });
    tx.journal(now, "therapist-key-renewed", None, detail).await?;
    Ok(())
}

/// Takes over what is committed of therapists' certificates, if it has changed since the last time.
///
/// # Errors
/// [`AppError::Store`].
pub async fn refresh(ctx: &Context, tx: &mut Tx) -> Result<(), AppError> {
    let version = tx.counter(THERAPIST_KEYS_CHANGED).await?;
    if !ctx.knows_therapist_keys(version) {
        ctx.set_therapist_keys(&tx.therapist_keys().await?, version);
    }
    Ok(())
}

/// Tells the owner of a revoked key whose letters wait, once.
///
/// # Errors
/// [`AppError::Store`].
pub async fn remind(
    ctx: &Context,
    tx: &mut Tx,
    id: ClientId,
    fingerprint: String,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    if tx.notice_once(&format!("revoked:{}:{fingerprint}", id.0), now).await? {
        let paper = Paper::Revoked { fingerprint };
        Post::to_client(Kind::KeyRevoked, id, now).enqueue(ctx, tx, &Recipe::Keys(paper), now).await?;
    }
    Ok(())
}
