//! What a client's keywords bring about, once their letter is filed (SPEC section 5).
//!
//! The words themselves are read by `domain::keywords`; only mail whose writer is proven changes a state.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::AppError;
use super::context::Context;
use super::life::papers::Paper;
use super::life::{self, Changed};
use super::post::{self, Post, Recipe};
use super::prepare::Sealed;
use crate::domain::keywords::{Keyword, Keywords, Standing, Wish};
use crate::domain::lifecycle::{Actor, Event, may_leave};
use crate::letters::{self, EnrolmentStep, Letter};
use crate::model::{Channel, ClientState, Kind, Mark};
use crate::store::{Client, Tx};

/// The event that a wish is, for this client.
fn event(client: &Client, wish: Wish) -> Option<Event> {
    Some(match wish {
        Wish::Stop if matches!(client.state, ClientState::Invited | ClientState::ConsentPending) => Event::Refuse,
        Wish::Stop => Event::Stop,
        Wish::Pause => Event::Pause,
        Wish::Resume if client.state == ClientState::Discharged => Event::Unstop,
        Wish::Resume => Event::Resume,
        Wish::Unclear => return None,
    })
}

/// What a proven letter's keywords will do to the state, if anything.
pub fn wished(client: &Client, standing: Standing, keywords: &Keywords) -> Option<Event> {
    let event = event(client, keywords.wish()?)?;
    let possible = life::possible(client, event, Actor::Client).is_ok();
    let counts = match event {
        // An invitation and the frame are declined in their own way (`app/enrol`).
        Event::Refuse => false,
        Event::Stop => standing.stops(client.consented_at.max(client.care.unstopped)),
        _ => standing.steers(client.care.since),
    };
    (counts && possible).then_some(event)
}

/// Marks for a wish that a person has to decide about: the writer isn't proven, the letter comes too late, or the wish
/// isn't the client's to fulfil. What is so already needs no mark.
pub fn marks(client: &Client, standing: Standing, keywords: &Keywords) -> Vec<Mark> {
    use ClientState::{Archived, ConsentPending, Declined, Discharged, Invited, Paused, Suspended};
    let wished = wished(client, standing, keywords);
    // An end that can still be taken back isn't one for them yet.
    let ended = matches!(client.state, Discharged | Archived | Declined) && client.care.undo.is_none();
    let asked = matches!(client.state, Invited | ConsentPending);
    let mut marks: Vec<Mark> = Vec::new();
    let found = keywords.all().iter().filter(|_| wished.is_none()).chain(keywords.doubtful());
    let found = found.filter_map(|keyword| match keyword {
        Keyword::Stop if !ended => Some(Mark::AsksStop),
        // Whether it answers what was asked is known only when it is filed.
        Keyword::Refuse if asked => Some(Mark::AsksStop),
        Keyword::Pause if !ended && !matches!(client.state, Paused | Suspended) => Some(Mark::AsksPause),
        Keyword::Resume if !client.state.in_treatment() => Some(Mark::AsksResume),
        _ => None,
    });
    for mark in found {
        if !marks.contains(&mark) {
            marks.push(mark);
        }
    }
    marks
}

/// Whether the mail says nothing but what is carried out here, and so waits for no answer. Where a person has to
/// decide it stands as a letter among those to answer, so that it is seen.
pub fn is_order_only(client: &Client, standing: Standing, keywords: &Keywords) -> bool {
    let answered = |keyword: &Keyword| {
        matches!(keyword, Keyword::Guide | Keyword::Internet | Keyword::AcceptCover | Keyword::RefuseCover)
    };
    let pages = keywords.all().iter().all(answered) && standing.is_to_us();
    keywords.only() && (pages || !client.state.in_treatment() || wished(client, standing, keywords).is_some())
}

/// Carries out the keywords of a filed letter. `true` when the state changed: then the client has been told.
///
/// # Errors
/// [`AppError`].
pub async fn carry_out(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    let Some(keywords) = &sealed.keywords else { return Ok(false) };
    if sealed.automatic {
        return Ok(false);
    }
    for (keyword, kind) in [(Keyword::Guide, Kind::Guide), (Keyword::Internet, Kind::InternetPolicy)] {
        // Anybody can write under an address: nobody else fills a client's mailbox.
        if keywords.has(keyword) && sealed.standing.is_to_us() {
            paper(ctx, tx, client, kind, sealed.origin.message_id.clone(), now).await?;
        }
    }
    keep_ended(tx, client, sealed, now).await?;
    let Some(event) = wished(client, sealed.standing, keywords) else { return Ok(false) };
    match life::change_told(ctx, tx, client, event, Actor::Client, now).await? {
        Ok(changed) => {
            tell(ctx, tx, client, sealed, event, &changed, now).await?;
            Ok(true)
        }
        Err(_) => Ok(false),
    }
}

/// `STOP` while the therapist's own words about the end wait for their slot: they may be withdrawn, the end not any more.
async fn keep_ended(tx: &mut Tx, client: &Client, sealed: &Sealed, now: DateTime<Utc>) -> Result<(), AppError> {
    let stops = sealed.keywords.as_ref().is_some_and(|keywords| keywords.wish() == Some(Wish::Stop));
    let ended = client.state == ClientState::Discharged && client.care.undo.is_some();
    if !(stops && ended && sealed.standing.stops(client.consented_at)) {
        return Ok(());
    }
    tx.change_care(client.id, |care| {
        if let Some(before) = care.undo.take() {
            (care.stopped_in, care.previous) = (Some(before.state), before.previous);
        }
    })
    .await?;
    tx.journal(now, "stop-noted", Some(&client.code), json!({})).await?;
    Ok(())
}

/// A page that was asked for, one of a kind a day; it leaves sealed or not at all.
async fn paper(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    kind: Kind,
    origin: Option<String>,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let sealable = client.channel == Channel::Pdf || ctx.client_certificate(client).is_some();
    let told = tx.count_outbox(kind, Some(client.id), now - TimeDelta::days(1)).await? > 0;
    if client.care.muted || told || !sealable || !may_leave(client.state, kind) {
        return Ok(());
    }
    let paper = match kind {
        Kind::Guide => Paper::Guide { origin },
        _ => Paper::InternetPolicy { origin },
    };
    Post::to_client(kind, client.id, now).enqueue(ctx, tx, &Recipe::Life(paper), now).await?;
    tx.journal(now, "page-asked", Some(&client.code), json!({ "kind": kind })).await?;
    Ok(())
}

/// Tells the therapist what the client has decided.
async fn tell(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    sealed: &Sealed,
    event: Event,
    changed: &Changed,
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let held = u32::try_from(changed.held.len()).unwrap_or(u32::MAX);
    let letter = changed.words;
    let step = match event {
        Event::Stop => EnrolmentStep::StoppedByClient { withdrawn: changed.withdrawn, letter },
        Event::Pause => EnrolmentStep::PausedByClient { withdrawn: held, letter },
        _ => EnrolmentStep::ResumedByClient { state: changed.state, letter },
    };
    let facts =
        letters::Enrolment { code: client.code.clone(), label: client.label.clone(), state: changed.state, step };
    let letter = Letter::Enrolment(facts);
    post::to_therapist_sealed(ctx, tx, &sealed.therapist, Some(client), Kind::Enrolment, &letter, now, None).await
}
