//! Somebody is written to for the first time, again after it came to nothing, or for a new key.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::super::AppError;
use super::super::context::{Context, Therapist};
use super::super::life;
use super::super::post::{Post, Recipe};
use super::super::therapist::{Mail, Refused, Step};
use super::Paper;
use crate::config::FrameGap;
use crate::domain::commands::Invitee;
use crate::domain::enrolment::FORGET_AFTER;
use crate::domain::lifecycle::{Actor, Event};
use crate::letters::{Outcome, RefusalReason};
use crate::model::{Address, Channel, ClientState, Kind, Language, MessageRow, MessageState, Mode};
use crate::store::{self, Care, Client, Enrolment, NewClient, Tx};

/// Who is invited and how.
pub struct Invite {
    pub address: Address,
    pub language: Language,
    pub known: bool,
    pub mode: Option<Mode>,
    pub name: Option<String>,
    /// Compared by voice already: the frame is asked at once.
    pub certificate: Option<store::Certificate>,
}

/// Why nobody is invited.
pub enum NotInvited {
    /// The address is the practice's, a therapist's, the operator's, or a client's (the code where the therapist may
    /// know it).
    Taken(Option<crate::model::ClientCode>),
    Gaps(Vec<String>),
}

/// The names of what is missing in a therapist's frame.
pub fn gaps(ctx: &Context, therapist: &Therapist) -> Vec<String> {
    let settings = &therapist.settings;
    let mut missing = Vec::new();
    for gap in ctx.config.frame_gaps(settings) {
        match gap {
            FrameGap::Channel => missing.push("channel"),
            FrameGap::Price => missing.push("price"),
            FrameGap::Fallback => missing.push("fallback"),
            FrameGap::References => {
                let parts =
                    [("title", &settings.title), ("register", &settings.register), ("country", &settings.country)];
                missing.extend(parts.into_iter().filter(|(_, text)| text.trim().is_empty()).map(|(name, _)| name));
            }
        }
    }
    missing.into_iter().map(str::to_owned).collect()
}

/// Whether an address is one of the practice's own people's: it belongs to one role.
pub fn is_staff(ctx: &Context, address: &Address) -> bool {
    *address == ctx.config.practice.address
        || ctx.therapist_by_address(address).is_some()
        || ctx.config.operator.address.as_ref() == Some(address)
}

/// Invites somebody, in `tx`.
///
/// # Errors
/// [`AppError`]; why nobody is invited is a value.
pub async fn invite(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    invite: Invite,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<Result<Client, NotInvited>, AppError> {
    let missing = gaps(ctx, therapist);
    if !missing.is_empty() {
        return Ok(Err(NotInvited::Gaps(missing)));
    }
    if is_staff(ctx, &invite.address) {
        return Ok(Err(NotInvited::Taken(None)));
    }
    let pinned = invite.certificate.is_some();
    let client = match tx.client_by_address(&invite.address).await? {
        None => create(tx, therapist, invite, now).await?,
        Some(known) if known.therapist != *therapist.id() => return Ok(Err(NotInvited::Taken(None))),
        Some(known) => match again(ctx, tx, &known, invite, actor, now).await? {
            Some(client) => client,
            None => return Ok(Err(NotInvited::Taken(Some(known.code)))),
        },
    };
    let by = actor.as_str();
    tx.journal(now, "invited", Some(&client.code), json!({ "by": by, "known": client.care.known })).await?;
    tx.set_enrolment(&Enrolment { client: client.id, invited_at: now, rekey: false, reminded_at: None }).await?;
    if pinned {
        return Ok(Ok(admit(ctx, tx, &client, actor, now).await?));
    }
    let paper = Paper::Invitation { until: now + FORGET_AFTER, rekey: false };
    Post::to_client(Kind::Invitation, client.id, now).enqueue(ctx, tx, &Recipe::Enrol(paper), now).await?;
    Ok(Ok(client))
}

async fn create(tx: &mut Tx, therapist: &Therapist, invite: Invite, now: DateTime<Utc>) -> Result<Client, AppError> {
    let new = NewClient {
        therapist: therapist.id().clone(),
        state: ClientState::Invited,
        channel: Channel::OpenPgp,
        language: invite.language,
        address: invite.address,
        label: invite.name.clone(),
        name: invite.name,
        certificate: invite.certificate,
        consent_note: None,
        consented_at: None,
        created_at: now,
        care: Care { known: invite.known, mode: invite.mode, since: Some(now), ..Care::default() },
    };
    Ok(tx.add_client(new).await?)
}

/// Somebody with whom it came to nothing, or long ago to an end, under the code they had. None: they are a client.
async fn again(
    ctx: &Context,
    tx: &mut Tx,
    known: &Client,
    invite: Invite,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<Option<Client>, AppError> {
    if life::change(ctx, tx, known, Event::Invite, actor, now).await?.is_err() {
        return Ok(None);
    }
    // A key from then is compared anew, as everybody's is.
    // The answer chooses the channel anew.
    tx.set_channel(known.id, Channel::OpenPgp).await?;
    tx.drop_pdf_channel(known.id).await?;
    tx.set_client_certificate(known.id, invite.certificate.as_ref()).await?;
    tx.end_enrolment(known.id).await?;
    tx.set_language(known.id, invite.language).await?;
    tx.change_care(known.id, |care| {
        care.known = invite.known;
        care.mode = invite.mode.or(care.mode);
        care.muted = false;
        care.locum_consent = None;
        care.transfer_to = None;
    })
    .await?;
    Ok(tx.client(known.id).await?)
}

/// The key is known: the frame is asked.
async fn admit(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    actor: Actor,
    now: DateTime<Utc>,
) -> Result<Client, AppError> {
    tx.end_enrolment(client.id).await?;
    if life::change(ctx, tx, client, Event::Ask, actor, now).await?.is_ok() {
        super::ask_frame(ctx, tx, client, Kind::Frame, None, None, now).await?;
    }
    Ok(tx.client(client.id).await?.unwrap_or_else(|| client.clone()))
}

/// `/invite ADDRESS|REQUEST [fr|en] [known]`.
pub async fn by_mail(
    mail: &Mail<'_>,
    tx: &mut Tx,
    whom: &Invitee,
    language: Option<Language>,
    known: bool,
) -> Step<Outcome> {
    let therapist = &mail.from.therapist;
    let mut request: Option<MessageRow> = None;
    let address = match whom {
        Invitee::Address(address) => address.clone(),
        Invitee::Request(number) => {
            let unknown = || Refused::new(RefusalReason::UnknownNumber { number: number.clone() });
            let found = tx.message_by_request_code(number).await?.filter(|message| {
                message.therapist.as_ref() == Some(therapist.id())
                    && message.kind == Kind::Request
                    && message.state == MessageState::Filed
            });
            let Some(message) = found else { return Ok(Err(unknown())) };
            let Some(sender) = message.sender else { return Ok(Err(unknown())) };
            request = Some(message.id);
            sender
        }
    };
    let language = language.unwrap_or(mail.ctx.config.practice.language);
    let wanted = Invite { address, language, known, mode: None, name: None, certificate: None };
    match invite(mail.ctx, tx, therapist, wanted, Actor::Therapist, mail.now).await? {
        Ok(client) => {
            if let Some(request) = request {
                tx.give_request(request, client.id).await?;
            }
            Ok(Ok(Outcome::Invited { code: client.code, until: mail.now + FORGET_AFTER }))
        }
        Err(NotInvited::Taken(code)) => Ok(Err(Refused::new(RefusalReason::AlreadyRegistered { code }))),
        Err(NotInvited::Gaps(missing)) => Ok(Err(Refused::new(RefusalReason::FrameIncomplete { missing }))),
    }
}

/// `/rekey`: the old key counts no more, replies wait, a new one is asked for in clear.
pub async fn rekey(mail: &Mail<'_>, tx: &mut Tx, client: &Client) -> Result<Outcome, AppError> {
    let now = mail.now;
    tx.set_client_certificate(client.id, None).await?;
    tx.end_enrolment(client.id).await?;
    tx.set_enrolment(&Enrolment { client: client.id, invited_at: now, rekey: true, reminded_at: None }).await?;
    let paper = Paper::Invitation { until: now + FORGET_AFTER, rekey: true };
    Post::to_client(Kind::Invitation, client.id, now).enqueue(mail.ctx, tx, &Recipe::Enrol(paper), now).await?;
    tx.journal(now, "rekey", Some(&client.code), json!({})).await?;
    Ok(Outcome::Rekey)
}
