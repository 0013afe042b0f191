//! Writes the mails about an enrolment when they leave.

use super::super::AppError;
use super::super::compose;
use super::super::specimens::own_facts;
use super::super::write::{Desk, Written};
use super::{Paper, frame, therapist_facts};
use crate::domain::code_words;
use crate::letters::{self, Letter, Reader};
use crate::mime::OutPart;
use crate::model::Language;
use crate::pgp::Certificate;
use crate::store::{Client, Tx};

/// Writes one; None when there is nothing to say any more.
///
/// # Errors
/// [`AppError`] of the database, or a letter that can't be rendered.
pub(in super::super) async fn write(desk: &Desk<'_>, tx: &mut Tx, paper: Paper) -> Result<Option<Written>, AppError> {
    match paper {
        Paper::Step { state, step } => {
            let Some(client) = desk.client else { return Ok(None) };
            let facts = letters::Enrolment { code: client.code.clone(), label: client.label.clone(), state, step };
            desk.staff_letter_with(&Letter::Enrolment(facts), Vec::new())
        }
        Paper::CardCopy => card_copy(desk, tx).await,
        Paper::TherapistWelcome => welcome(desk),
        Paper::Specimens => {
            let letters = specimens(desk)?;
            desk.staff_letter_with(&Letter::Specimens(letters::Specimens { letters }), Vec::new())
        }
        Paper::KeyArrived { offer, origin } => key_arrived(desk, tx, offer, origin).await,
        paper => match desk.client {
            Some(client) => to_client(desk, client, paper),
            None => to_stranger(desk, paper),
        },
    }
}

/// Every letter to clients as it will leave in the therapist's name, in each of its forms, over made-up facts: those in
/// the practice's language first.
fn specimens(desk: &Desk<'_>) -> Result<Vec<letters::Specimen>, AppError> {
    let own = desk.ctx.config.practice.language;
    let mut written = Vec::new();
    for language in std::iter::once(own).chain(Language::ALL.iter().copied().filter(|other| *other != own)) {
        written.extend(specimens_in(desk, language)?);
    }
    Ok(written)
}

fn specimens_in(desk: &Desk<'_>, language: Language) -> Result<Vec<letters::Specimen>, AppError> {
    let ctx = desk.ctx;
    let therapist = desk.therapist()?;
    let own = own_facts(&ctx.config, &ctx.lines, &therapist.settings, language);
    let reader = Reader { language, by_words: false, zone: therapist.settings.timezone };
    let mut written = Vec::new();
    for name in letters::Name::ALL.iter().filter(|name| !name.is_staff()) {
        let mut forms = Vec::new();
        for nth in 0..letters::Letters::samples(*name) {
            let form = ctx.letters().preview(*name, nth, &own, reader).map_err(compose::MailError::from)?;
            // The practice's own facts may make two forms the same.
            forms.extend(form.filter(|form| !forms.contains(form)));
        }
        written.extend(forms.into_iter().map(|form| letters::Specimen {
            name: format!("{name} ({language})", name = name.as_str()),
            subject: form.subject,
            text: form.text,
        }));
    }
    Ok(written)
}

async fn card_copy(desk: &Desk<'_>, tx: &mut Tx) -> Result<Option<Written>, AppError> {
    let Some(client) = desk.client else { return Ok(None) };
    let card = tx.card(client.id).await?;
    let facts = letters::CardCopy {
        code: client.code.clone(),
        label: client.label.clone(),
        written: card.as_ref().map(|(_, at)| *at),
    };
    let parts = card.map(|(bytes, _)| card_part(bytes)).into_iter().collect();
    desk.staff_letter_with(&Letter::CardCopy(facts), parts)
}

/// A sealed card as a file: its reader's program opens it.
pub fn card_part(bytes: Vec<u8>) -> OutPart {
    OutPart::File {
        name: "card.asc".to_owned(),
        media_type: "application/octet-stream".to_owned(),
        bytes: bytes.into(),
    }
}

/// To a therapist whose key isn't known yet.
fn welcome(desk: &Desk<'_>) -> Result<Option<Written>, AppError> {
    let therapist = desk.therapist()?;
    let reader = therapist.reader();
    let facts = letters::TherapistWelcome {
        neutral_name: desk.ctx.neutral_name(reader.language),
        fingerprint: desk.ctx.key.certificate().fingerprint(),
    };
    let letter = Letter::TherapistWelcome(facts);
    let rendered = compose::render(desk.ctx, &letter, reader)?;
    let head = desk.head(None);
    Ok(Some(desk.in_clear(&therapist.settings.address, reader, head, rendered, letter.name())))
}

/// What arrived, to the key that came with it: only its owner can read on.
async fn key_arrived(
    desk: &Desk<'_>,
    tx: &mut Tx,
    offer: i64,
    origin: Option<String>,
) -> Result<Option<Written>, AppError> {
    // Compared, replaced or withdrawn meanwhile.
    let (Some(client), Some(offer)) = (desk.client, tx.offer(offer).await?) else { return Ok(None) };
    let Ok(certificate) = Certificate::from_bytes(&offer.certificate) else { return Ok(None) };
    let practice = desk.ctx.key.certificate().fingerprint();
    let facts = letters::KeyArrived {
        neutral_name: desk.ctx.neutral_name(client.language),
        received: super::answer::received(&offer),
        words: code_words::words(&offer.fingerprint, &practice, client.language),
        own_fingerprint: offer.fingerprint,
        fingerprint: practice,
    };
    let reader = desk.ctx.reader_for(client);
    let rendered = compose::render(desk.ctx, &Letter::KeyArrived(facts), reader)?;
    Ok(Some(desk.sealed_to(client, certificate, origin, rendered)))
}

fn to_client(desk: &Desk<'_>, client: &Client, paper: Paper) -> Result<Option<Written>, AppError> {
    let ctx = desk.ctx;
    let practice = ctx.config.practice.name.clone();
    let neutral_name = ctx.neutral_name(client.language);
    let fingerprint = ctx.key.certificate().fingerprint();
    let lines = || ctx.lines_for(client);
    let (letter, origin) = match paper {
        Paper::Invitation { until, rekey } => {
            (Letter::Invitation(letters::Invitation { neutral_name, fingerprint, until, rekey }), None)
        }
        Paper::InvitationReminder { until } => {
            let facts = letters::Invitation { neutral_name, fingerprint, until, rekey: false };
            (Letter::InvitationReminder(facts), None)
        }
        Paper::InvitationProblem { problem, origin } => {
            (Letter::InvitationProblem(letters::InvitationProblem { neutral_name, fingerprint, problem }), origin)
        }
        Paper::InvitationDeclined { origin } => {
            (Letter::InvitationDeclined(letters::InvitationDeclined { neutral_name }), origin)
        }
        Paper::Frame { therapist, number, received, origin } => {
            let Some(therapist) = ctx.therapist(&therapist) else { return Ok(None) };
            let personal = frame::Personal {
                received,
                known: client.care.known,
                mode: client.care.mode,
                version: number,
                locum: frame::locum(ctx, &therapist, desk.now),
                lines: lines(),
                channel: client.channel,
            };
            let facts = frame::facts(ctx, &therapist, client.language, personal);
            let renewal = desk.row.kind == crate::model::Kind::ConsentRenewal;
            (if renewal { Letter::ConsentRenewal(facts) } else { Letter::Frame(facts) }, origin)
        }
        Paper::ConsentRecorded { version, at, assessment, first, locum, origin } => {
            // At a renewal the rhythm is known, and the next reply may be promised to an earlier letter.
            let next = ctx
                .therapist(&client.therapist)
                .filter(|_| first)
                .and_then(|therapist| ctx.schedule(&therapist, client).due(desk.now, desk.now))
                .map(|slot| slot.at);
            let version = Some(version);
            let facts = letters::ConsentRecorded { practice, version, at, assessment, next, locum, lines: lines() };
            (Letter::ConsentRecorded(facts), origin)
        }
        Paper::CoverRecorded { at, origin } => {
            let (version, assessment, next) = (None, false, None);
            let locum = client.care.locum_consent.is_some();
            let facts = letters::ConsentRecorded { practice, version, at, assessment, next, locum, lines: lines() };
            (Letter::ConsentRecorded(facts), origin)
        }
        Paper::ConsentUnclear { origin } => (Letter::ConsentUnclear(letters::ConsentUnclear { practice }), origin),
        Paper::CardRequest => (Letter::CardRequest(letters::CardRequest { practice }), None),
        Paper::TransferOffer { to } => {
            let from = ctx.therapist(&client.therapist).map_or_else(String::new, |t| t.settings.name.clone());
            // Withdrawn or answered meanwhile.
            let Some(to) = ctx.therapist(&to).filter(|to| client.care.transfer_to.as_ref() == Some(to.id())) else {
                return Ok(None);
            };
            (Letter::TransferOffer(letters::TransferOffer { practice, from, to: therapist_facts(&to) }), None)
        }
        Paper::Step { .. }
        | Paper::CardCopy
        | Paper::TherapistWelcome
        | Paper::Specimens
        | Paper::KeyArrived { .. } => return Ok(None),
    };
    desk.cadres_letter(client, &letter, origin, desk.sealable(client))
}

/// To an address that answered somebody else's invitation.
fn to_stranger(desk: &Desk<'_>, paper: Paper) -> Result<Option<Written>, AppError> {
    let (Paper::InvitationProblem { problem, origin }, Some(to)) = (paper, &desk.row.recipient) else {
        return Ok(None);
    };
    let practice = &desk.ctx.config.practice;
    let reader = Reader { language: practice.language, by_words: false, zone: practice.timezone };
    let facts = letters::InvitationProblem {
        neutral_name: desk.ctx.neutral_name(reader.language),
        fingerprint: desk.ctx.key.certificate().fingerprint(),
        problem,
    };
    let letter = Letter::InvitationProblem(facts);
    let rendered = compose::render(desk.ctx, &letter, reader)?;
    Ok(Some(desk.in_clear(to, reader, desk.head(origin), rendered, letter.name())))
}
