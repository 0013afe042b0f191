//! Writes alerts and safety letters when they leave.

use super::{Paper, is_proven, own_lines};
use crate::app::AppError;
use crate::app::enrol::papers::card_part;
use crate::app::write::{Desk, Written};
use crate::letters::{self, Letter, Reader};
use crate::model::Kind;
use crate::store::{Alert, StoreError, Tx};

/// How many strangers' numbers one mail names.
const NUMBERS: usize = 8;

/// Writes one; `None` when there is nothing to say any more.
///
/// # Errors
/// [`AppError`].
pub(in crate::app) async fn write(desk: &Desk<'_>, tx: &mut Tx, paper: Paper) -> Result<Option<Written>, AppError> {
    match paper {
        Paper::Alert { alert, others, repeated, locum } => {
            let ids: Vec<i64> = std::iter::once(alert).chain(others).collect();
            alert_letter(desk, tx, &ids, repeated, locum).await
        }
        Paper::Safety { .. } => safety_letter(desk, paper),
        Paper::StrangerSafety { origin, language } => {
            let Some(to) = &desk.row.recipient else { return Ok(None) };
            let practice = &desk.ctx.config.practice;
            let lines = desk.ctx.lines.crisis(&practice.country, language);
            let facts = letters::StrangerSafety { neutral_name: desk.ctx.neutral_name(language), lines };
            let reader = Reader { language, by_words: false, zone: practice.timezone };
            desk.clear_letter(to, reader, origin, &Letter::StrangerSafety(facts)).map(Some)
        }
    }
}

/// The alerts that a mail speaks of. One that something else than Cadre changed hides none of the others.
async fn read_all(tx: &mut Tx, ids: &[i64], repeated: u32) -> Result<Vec<Alert>, AppError> {
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        match tx.alert(*id).await {
            Err(StoreError::Corrupt { .. }) if ids.len() > 1 => {}
            alert => all.extend(alert?.filter(|alert| repeated == 0 || alert.answered_at.is_none())),
        }
    }
    // The worst first, then what is proven: many forged letters don't hide it.
    all.sort_by_key(|alert| (alert.what.class, !is_proven(alert.what.verdict), alert.first_at));
    Ok(all)
}

/// Where to find the letters: of strangers, each has a number of its own.
fn numbers(all: &[Alert]) -> Option<String> {
    let first = all.first()?;
    if first.what.client.is_some() {
        return first.what.number.clone();
    }
    let mut numbers: Vec<&str> = Vec::new();
    for number in all.iter().filter_map(|alert| alert.what.number.as_deref()) {
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    let more = numbers.len() > NUMBERS;
    numbers.truncate(NUMBERS);
    let text = numbers.join(", ");
    (!text.is_empty()).then(|| if more { format!("{text}, …") } else { text })
}

async fn alert_letter(
    desk: &Desk<'_>,
    tx: &mut Tx,
    ids: &[i64],
    repeated: u32,
    locum: bool,
) -> Result<Option<Written>, AppError> {
    let all = read_all(tx, ids, repeated).await?;
    let Some(alert) = all.first() else { return Ok(None) };
    let mut rules: Vec<String> = all.iter().flat_map(|alert| alert.what.rules.iter().cloned()).collect();
    rules.sort();
    rules.dedup();
    let client = desk.client;
    // The card is sealed to the therapist: to a locum it would be a file that nobody opens.
    let card = match client.filter(|_| !locum) {
        Some(client) => match tx.card(client.id).await {
            // An alert waits for nothing.
            Err(StoreError::Corrupt { .. }) => None,
            card => card?.map(|(bytes, _)| card_part(bytes)),
        },
        None => None,
    };
    // A locum gets what the client agreed to, and can release nothing.
    let passed_on = if locum {
        let copies = tx.outbox_of_message(alert.what.message).await?;
        copies.iter().any(|row| row.kind == Kind::LocumForward)
    } else {
        alert.what.passed_on
    };
    let letter = Letter::Alert(letters::Alert {
        code: client.map(|client| client.code.clone()),
        label: client.and_then(|client| client.label.clone()).filter(|_| !locum),
        number: numbers(&all),
        class: alert.what.class,
        rules,
        state: client.map(|client| client.state),
        verdict: alert.what.verdict,
        arrived: alert.what.arrived,
        repeated,
        safety_sent: alert.what.safety,
        passed_on,
        card: card.is_some(),
        locum,
    });
    desk.staff_letter_with(&letter, card.into_iter().collect())
}

/// Lines first; in clear under the neutral name, where the letter came in clear or nothing can be sealed.
fn safety_letter(desk: &Desk<'_>, paper: Paper) -> Result<Option<Written>, AppError> {
    let (Paper::Safety { arrived, expected, violence, clear, origin }, Some(client)) = (paper, desk.client) else {
        return Ok(None);
    };
    // What was wished since it was queued counts.
    if client.care.discreet || client.care.safety_quiet {
        return Ok(None);
    }
    // The same letter may have said STOP or PAUSE.
    let expected = expected.filter(|_| client.state.in_treatment());
    let (country, language) = (&desk.ctx.config.practice.country, client.language);
    let clear = clear || !desk.sealable(client);
    let name = if clear { desk.ctx.neutral_name(language) } else { desk.ctx.config.practice.name.clone() };
    let facts = |lines| letters::Safety { name, arrived, expected, lines };
    let letter = match desk.row.kind {
        Kind::SafetyViolence => Letter::SafetyViolence(facts(desk.ctx.lines.violence(country, language))),
        _ => Letter::Safety(facts(own_lines(&desk.ctx.lines, country, language, violence))),
    };
    if clear {
        return desk.clear_letter(&client.address, desk.ctx.reader_for(client), origin, &letter).map(Some);
    }
    desk.sealed_letter(client, origin, &letter).map(Some)
}
