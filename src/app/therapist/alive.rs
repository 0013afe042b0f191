//! Whether a mail is a sign of its therapist's life: written to the practice, and not to somebody else whose copy
//! was put into the practice's mailbox.

use chrono::{DateTime, Utc};

use super::whom::tags;
use crate::app::AppError;
use crate::app::context::Context;
use crate::app::locum::may_answer;
use crate::app::prepare::FromTherapist;
use crate::domain::commands::{self, Command};
use crate::mime;
use crate::model::{ClientCode, ClientId, Mark};
use crate::store::Tx;

/// Only on a positive sign in signed bytes, whatever the mail asks and whether it can be read or not: the practice
/// among its intended recipients or in its protected To, or one of the therapist's clients named.
///
/// # Errors
/// [`AppError::Store`].
pub(super) async fn is_to_us(
    ctx: &Context,
    tx: &mut Tx,
    from: &FromTherapist,
    now: DateTime<Utc>,
) -> Result<bool, AppError> {
    let practice = &ctx.config.practice.address;
    let examined = &from.examined;
    if examined.decision.marks.contains(&Mark::NotForUs) {
        return Ok(false);
    }
    let mut to = examined.protected.iter().flat_map(mime::Mail::recipients).peekable();
    if to.peek().is_some() {
        return Ok(to.any(|to| to == practice));
    }
    // Without the mark above, who is intended is the practice.
    if examined.signature.as_ref().is_some_and(|signature| !signature.intended.is_empty()) {
        return Ok(true);
    }
    names_client(ctx, tx, from, now).await
}

async fn names_client(ctx: &Context, tx: &mut Tx, from: &FromTherapist, now: DateTime<Utc>) -> Result<bool, AppError> {
    let mut clients: Vec<ClientId> = Vec::new();
    let text = mime::reply_text(&from.content.text);
    let mut codes: Vec<ClientCode> = match commands::parse(&text.text) {
        Ok(parsed) => parsed.commands.into_iter().filter_map(to_whom).collect(),
        Err(_) => Vec::new(),
    };
    for row in text.tokens_in_quotes.iter().filter_map(|token| ctx.store.vault().read_token(token)) {
        clients.extend(tx.message(row).await?.and_then(|message| message.client));
    }
    if let Some(protected) = &from.examined.protected {
        codes.extend(tags(&protected.subject));
        for id in protected.references.iter().chain(&protected.in_reply_to) {
            clients.extend(tx.message_by_own_id(id).await?.and_then(|message| message.client));
            clients.extend(tx.outbox_by_mail_id(id).await?.and_then(|mail| mail.client));
        }
    }
    for code in codes {
        clients.extend(tx.client_by_code(&code).await?.map(|client| client.id));
    }
    let own = from.therapist.id();
    for id in clients {
        if let Some(client) = tx.client(id).await?
            && (client.therapist == *own || may_answer(ctx, tx, own, &client, now).await?)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn to_whom(command: Command) -> Option<ClientCode> {
    match command {
        Command::To(code) => Some(code),
        _ => None,
    }
}
