//! The therapist's mail about one message, composed and sealed.

use super::super::compose::{self, Head, MailError};
use super::super::context::{Context, Therapist};
use super::super::locum;
use super::{Disposition, Sealed};
use crate::letters::{Forward, Letter};
use crate::mime::{self, Attachment, Content, OutPart};
use crate::model::{Language, Scanned, TherapistId};
use crate::secret::Plaintext;

/// Composes and seals it, and the locum's copy where there is to be one.
pub(super) fn seal_forward(
    ctx: &Context,
    sealed: &mut Sealed,
    content: Option<Content>,
    raw: Plaintext,
) -> Result<Vec<u8>, MailError> {
    let parts = forward_parts(content, raw);
    let locum = match sealed.disposition {
        Disposition::File { .. } if !sealed.automatic => locum::copy_reader(ctx, sealed.client.as_ref(), sealed.at),
        _ => None,
    };
    if let Some(locum) = locum {
        sealed.locum_copy = seal_to_locum(ctx, sealed, &locum, parts.clone());
    }
    let mail = forward(ctx, sealed, &sealed.therapist, parts)?;
    compose::seal_whole(ctx, mail, &compose::readers(ctx, &sealed.therapist)?)
}

/// The copy for who would stand in. That it can't be sealed is no reason to file nothing.
fn seal_to_locum(
    ctx: &Context,
    sealed: &Sealed,
    locum: &Therapist,
    parts: Vec<OutPart>,
) -> Option<(TherapistId, Vec<u8>)> {
    let copy = forward(ctx, sealed, locum, parts).and_then(|mail| {
        let mail = mime::Outgoing { message_id: locum::copy_id(ctx, sealed.row), ..mail };
        let certificate = locum.certificate().ok_or(MailError::NoCertificate)?;
        compose::seal_whole(ctx, mail, &[certificate])
    });
    match copy {
        Ok(ciphertext) => Some((locum.id().clone(), ciphertext)),
        Err(error) => {
            tracing::warn!(locum = %locum.id(), %error, "a letter can't be sealed to the locum: look at their certificate");
            None
        }
    }
}

/// The therapist's (or the locum's) mail about one message: Cadre's own part first, then the client's.
fn forward(
    ctx: &Context,
    sealed: &Sealed,
    to: &Therapist,
    mut parts: Vec<OutPart>,
) -> Result<mime::Outgoing, MailError> {
    let reader = to.reader();
    let client = sealed.client.as_ref();
    let owed = match sealed.disposition {
        Disposition::File { opens_turn } => opens_turn,
        Disposition::Hold => true,
        Disposition::Request => false,
    } && client.is_some_and(|client| client.state.in_treatment());
    let facts = Forward {
        code: client.map(|client| client.code.clone()),
        // The label is the therapist's own words, for their own eyes.
        label: client.filter(|client| client.therapist == *to.id()).and_then(|client| client.label.clone()),
        subject: (!sealed.origin.subject.is_empty()).then(|| sealed.origin.subject.clone()),
        verdict: sealed.verdict,
        marks: sealed.marks.clone(),
        arrived: sealed.arrived,
        due: sealed.due.filter(|_| owed).map(|slot| slot.at),
        state: client.map(|client| client.state),
        number: sealed.request_code.clone(),
        released: sealed.disposition == Disposition::Hold,
        attachments_held: 0,
        scan: sealed.scan.word().filter(|word| *word != Scanned::Clear).map(|word| word.to_string()),
        token: None,
    };
    let rendered = compose::render(ctx, &Letter::Forward(facts), reader)?;
    let code = client.map(|client| client.code.to_string()).or_else(|| sealed.request_code.clone()).unwrap_or_default();
    let label = match reader.language {
        Language::Fr => mime::TOKEN_LABELS[0],
        Language::En => mime::TOKEN_LABELS[1],
    };
    let lines: Vec<String> = rendered.text.trim_end().lines().map(str::to_owned).collect();
    let token = ctx.store.vault().token(sealed.row);
    parts.insert(0, OutPart::Text(mime::banner(&code, &lines, label, &token)));
    let head = Head {
        message_id: sealed.message_id.clone(),
        at: sealed.at,
        in_reply_to: None,
        references: Vec::new(),
        automatic: false,
    };
    Ok(compose::to_therapist(ctx, to, client, head, rendered.subject, parts))
}

/// Attachments that are kept and not passed as they are.
pub(super) fn is_held(attachment: &Attachment) -> bool {
    !attachment.class.is_envelope() && !attachment.class.passes_to_other_side()
}

/// The client's own parts. What couldn't be opened is passed on as it came, which is ciphertext.
fn forward_parts(content: Option<Content>, raw: Plaintext) -> Vec<OutPart> {
    let Some(content) = content else {
        return vec![OutPart::File {
            name: "original.eml.asc".to_owned(),
            media_type: "application/octet-stream".to_owned(),
            bytes: raw.as_bytes().to_vec().into(),
        }];
    };
    drop(raw);
    let mut parts = Vec::new();
    match content.html {
        Some(html) => parts.push(OutPart::Alternative { text: content.text, html }),
        None if !content.text.is_empty() => parts.push(OutPart::Text(content.text)),
        None => {}
    }
    for attachment in content.attachments {
        match attachment.class {
            // Keys and cards tell about people and programs; they pass to nobody.
            class if class.is_envelope() => {}
            // Held: kept, but so that no double click opens it.
            class if !class.passes_to_other_side() => parts.push(OutPart::File {
                name: format!("{}.held", attachment.name),
                media_type: "application/octet-stream".to_owned(),
                bytes: attachment.bytes,
            }),
            _ => parts.push(OutPart::File {
                name: attachment.name,
                media_type: attachment.media_type,
                bytes: attachment.bytes,
            }),
        }
    }
    parts
}
