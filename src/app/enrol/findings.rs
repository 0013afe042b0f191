//! What a mail brings to an enrolment: keys, an answer, a card. Found while it is prepared; nothing is decided here.

use chrono::{DateTime, Utc};

use super::super::context::{Context, Therapist};
use super::super::examine::{self, Examined};
use super::super::prepare::Arrived;
use super::proven;
use crate::domain::enrolment::card;
use crate::domain::keywords::{self, Keyword};
use crate::mime::{self, AttachmentClass, Content, FromField, Said};
use crate::model::{Mark, Verdict};
use crate::pgp::{self, OfferProblem};
use crate::store::{self, Client};

/// How many attached keys are looked at.
const KEYS: usize = 8;

/// A certificate that a mail brought.
#[derive(Clone)]
pub struct Offered {
    pub certificate: store::Certificate,
    /// The mail is signed by this very key.
    pub signed: bool,
}

/// What a mail brings.
pub struct Findings {
    pub key: Result<Offered, OfferProblem>,
    /// The first thing said is a refusal.
    pub refuses: bool,
    /// Message-IDs that it answers.
    pub answers: Vec<String>,
    /// The one of them that is answered directly, not further up the thread.
    pub replies_to: Option<String>,
    /// They stand inside the signature.
    pub answers_signed: bool,
    /// The writer's card, sealed to the therapist.
    pub card: Option<Vec<u8>>,
    pub encrypted: bool,
}

/// Looks through a client's mail; None where it can be no answer.
pub fn find(
    ctx: &Context,
    arrived: &Arrived,
    examined: &Examined,
    content: Option<(&Content, &Said)>,
    client: Option<&Client>,
    therapist: &Therapist,
    now: DateTime<Utc>,
) -> Option<Findings> {
    let ((content, said), client) = (content?, client?);
    let verdict = examined.decision.verdict;
    let marks = &examined.decision.marks;
    // What nobody can be asked about: machines, forgeries, senders that two programs read differently, and what the
    // mailbox's own server calls forged.
    let readable = proven(verdict) || matches!(verdict, Verdict::Unsigned | Verdict::UnknownSigner | Verdict::Partial);
    if !readable || marks.iter().any(|mark| matches!(mark, Mark::Automatic | Mark::AmbiguousFrom | Mark::DmarcFail)) {
        return None;
    }
    let first = said.new.lines().find(|line| !line.trim().is_empty()).map(keywords::read).unwrap_or_default();
    let (answering, answers_signed) = answered(examined);
    Some(Findings {
        key: key(ctx, arrived, examined, content, client, now),
        refuses: first.has(Keyword::Refuse) || first.has(Keyword::Stop),
        answers: answering.references.iter().chain(&answering.in_reply_to).cloned().collect(),
        replies_to: answering.in_reply_to.clone(),
        answers_signed,
        card: card(&said.new).filter(|_| proven(verdict)).and_then(|card| seal_card(ctx, therapist, &card, now)),
        encrypted: examined.encrypted,
    })
}

/// A card's text, sealed to the therapist (and the archive).
pub fn seal_card(ctx: &Context, therapist: &Therapist, card: &str, now: DateTime<Utc>) -> Option<Vec<u8>> {
    let certificate = therapist.certificate()?;
    let mut to = vec![certificate];
    to.extend(ctx.archive.as_ref());
    pgp::seal(card.as_bytes(), &to, &ctx.key, now).ok()
}

/// The header block whose In-Reply-To and References count: the signed one where it has some. Many mail programs protect
/// the subject alone.
fn answered(examined: &Examined) -> (&mime::Mail, bool) {
    let answers = |mail: &&mime::Mail| !mail.references.is_empty() || mail.in_reply_to.is_some();
    // Of a clear or a merely encrypted mail the inner block is as unsigned as the outer one.
    match examined.protected.as_ref().filter(answers) {
        Some(signed) => (signed, examined.signature.is_some()),
        None => (&examined.outer, false),
    }
}

fn key(
    ctx: &Context,
    arrived: &Arrived,
    examined: &Examined,
    content: &Content,
    client: &Client,
    now: DateTime<Utc>,
) -> Result<Offered, OfferProblem> {
    let verdict = examined.decision.verdict;
    let mut sent: Vec<Vec<u8>> = content
        .attachments
        .iter()
        .filter(|attachment| attachment.class == AttachmentClass::Key && is_key(&attachment.bytes))
        .take(KEYS)
        .map(|attachment| attachment.bytes.to_vec())
        .collect();
    let entity = examined.entity.as_ref().map_or(&[][..], crate::secret::Plaintext::as_bytes);
    let mut ours = ctx.own_fingerprints();
    ours.extend(ctx.archive.as_ref().map(crate::pgp::Certificate::fingerprint));
    if let FromField::One { address, .. } = &examined.headers().from {
        sent.extend(mime::autocrypt(entity, address, &ctx.limits).ok().flatten());
        if verdict != Verdict::Verified {
            // Outside of the signature anybody may have written it: only where everything is compared anyway.
            sent.extend(mime::autocrypt(arrived.raw.as_bytes(), address, &ctx.limits).ok().flatten());
            sent.extend(super::super::keys::arrived::pasted(&content.text));
        }
    }
    if verdict == Verdict::Verified {
        // Of a signed letter only another key than the pinned one is news.
        ours.extend(client.fingerprint.clone());
    }
    let sent: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
    let certificate = pgp::offered(&sent, &ours, now)?;
    let signed = verdict != Verdict::Verified
        && examine::is_signed_by(arrived.raw.as_bytes(), arrived.first_seen, ctx, &certificate);
    Ok(Offered { certificate: super::stored(&certificate), signed })
}

/// Whether bytes claim to be a key: signatures and encrypted files are attached under the same names.
fn is_key(bytes: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    head.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----")
        || head.contains("-----BEGIN PGP PRIVATE KEY BLOCK-----")
        // A public or secret key packet, in the old and the new framing (RFC 9580 section 4.2).
        || matches!(bytes.first(), Some(0x94..=0x9b | 0xc5 | 0xc6))
}
