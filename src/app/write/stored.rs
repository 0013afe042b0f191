//! What rests sealed to the therapist as a mail: a letter that was passed on, the copy of one that was sent.

use chrono::{DateTime, Utc};

use crate::app::compose::{self, Head, WaitingLetter};
use crate::app::context::{Context, Therapist};
use crate::mime::{self, Outgoing};
use crate::model::{Direction, MessageRow};
use crate::store::{Client, Message};

/// The mail around a stored body sealed to the therapist: what was forwarded, or a copy of what was sent.
/// Everything in it is the same each time, as the protected headers inside say.
pub fn stored_mail(ctx: &Context, therapist: &Therapist, client: Option<&Client>, message: &Message) -> Outgoing {
    let out = message.direction == Direction::Out;
    let head = Head {
        message_id: if out {
            copy_id(ctx, message.id)
        } else {
            message.message_id.clone().unwrap_or_else(|| copy_id(ctx, message.id))
        },
        at: if out { message.forwarded_at.unwrap_or(message.at) } else { message.seen_at },
        in_reply_to: None,
        references: Vec::new(),
        automatic: false,
    };
    compose::to_therapist(ctx, therapist, client, head, String::new(), Vec::new())
}

/// The Message-ID of a sent letter's copy: never the one that the client saw.
fn copy_id(ctx: &Context, row: MessageRow) -> String {
    let hash = ctx.store.vault().message_id(&format!("copy of {}", row.0));
    mime::new_message_id(hash, ctx.config.practice.address.domain())
}

/// The copy of a sent letter, for the therapist's folder.
pub fn copy_for_therapist(
    ctx: &Context,
    therapist: &Therapist,
    client: &Client,
    message: &Message,
    letter: WaitingLetter,
    now: DateTime<Utc>,
) -> Outgoing {
    let sent = Message { forwarded_at: Some(now), ..message.clone() };
    let subject = format!("[{}] → {}", client.code, letter.subject);
    let parts = compose::reply_parts(letter, "");
    Outgoing { subject, parts, ..stored_mail(ctx, therapist, Some(client), &sent) }
}
