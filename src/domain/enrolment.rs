//! The way from an invitation to a treatment: what the clock does, what an answer is, which lines are a card.

use chrono::{DateTime, TimeDelta, Utc};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::model::ClientState;

/// When the one reminder goes.
pub const REMIND_AFTER: TimeDelta = TimeDelta::days(7);
/// When nobody is waited for any more.
pub const FORGET_AFTER: TimeDelta = TimeDelta::days(30);
/// How often an answer is told what is wrong with it.
pub const PROBLEMS: u64 = 3;
/// Wrong code words a day.
pub const WRONG_TRIES: u64 = 5;
/// Keys of one person that wait to be compared.
pub const OFFERS: usize = 16;
/// How many are told of in a day: forged answers can't fill a therapist's mailbox.
pub const OFFERS_TOLD: u64 = 4;

/// What the clock brings about for somebody invited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Nothing,
    Remind,
    Forget,
}

/// One reminder on day 7, the end on day 30. While a key waits to be compared nobody is reminded, and the end comes 30
/// days after the newest one: junk mustn't keep a record for ever.
pub fn due(invited: DateTime<Utc>, reminded: bool, newest_key: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Due {
    if let Some(key) = newest_key {
        return if now - key.max(invited) >= FORGET_AFTER { Due::Forget } else { Due::Nothing };
    }
    let passed = now - invited;
    if passed < REMIND_AFTER {
        Due::Nothing
    } else if passed >= FORGET_AFTER {
        Due::Forget
    } else if reminded {
        Due::Nothing
    } else {
        Due::Remind
    }
}

/// What is known of a key that waits, for making room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub signed: bool,
    /// Its mail was signed by the pinned key.
    pub by_old: bool,
    /// Its words were shown.
    pub told: bool,
}

impl Waiting {
    const fn weight(self) -> u8 {
        match self {
            Self { by_old: true, .. } => 3,
            Self { told: true, .. } => 2,
            Self { signed: true, .. } => 1,
            _ => 0,
        }
    }
}

/// What becomes of a new key beside those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Free,
    /// In the place of this one.
    Instead(usize),
    /// Anybody can offer keys under an address: what is better known stays.
    None,
}

/// Whether there is room for a new key beside `waiting`, the oldest first.
pub fn room(new: Waiting, waiting: &[Waiting], most: usize) -> Room {
    if waiting.len() < most {
        return Room::Free;
    }
    let least = waiting.iter().enumerate().min_by_key(|(at, known)| (known.weight(), *at));
    match least {
        Some((at, known)) if known.weight() < new.weight() || known.weight() == 0 => Room::Instead(at),
        _ => Room::None,
    }
}

/// What `J'ACCEPTE` in a proven letter comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// The frame is agreed to.
    Given,
    /// Another therapist may take over.
    Transfer,
    /// The frame is asked, and the letter doesn't answer the wording that is asked about: asked again.
    Unclear,
    /// Nothing is asked: it is a sentence in a letter.
    Text,
}

/// The facts that decide about `J'ACCEPTE`.
#[derive(Debug, Clone, Copy)]
pub struct ConsentFacts {
    /// The letter answers one that asked about the present wording.
    pub answers_current: bool,
    /// The letter answers the offer of a transfer that stands.
    pub answers_transfer: bool,
    /// What it answers stands inside the signature, where nobody else can have written it.
    pub signed_answer: bool,
    pub state: ClientState,
    /// The present wording has not been agreed to.
    pub pending: bool,
}

/// Decides about `J'ACCEPTE`; the verdict has been looked at before.
pub const fn consent(facts: ConsentFacts) -> Consent {
    let open = matches!(facts.state, ClientState::Paused | ClientState::Suspended) || facts.state.in_treatment();
    let asked = facts.pending && (open || matches!(facts.state, ClientState::ConsentPending));
    // Two things are asked, and anybody on the way can have said which is answered.
    let ambiguous = facts.answers_transfer && asked && !facts.signed_answer;
    if ambiguous {
        Consent::Unclear
    } else if facts.answers_transfer && open {
        Consent::Transfer
    } else if facts.answers_current && asked {
        Consent::Given
    } else if asked {
        Consent::Unclear
    } else {
        Consent::Text
    }
}

/// Labels of a card, folded, in French and English.
const LABELS: [&[&str]; 4] = [
    &["nom", "name"],
    &["telephone", "tel", "phone"],
    &["lieu", "place", "where", "adresse"],
    &["personne de confiance", "trusted person", "emergency contact"],
];

/// The lines of a letter's new text that are its writer's card (name, telephone, place, trusted person); None for
/// fewer than two, which a letter may have by chance.
pub fn card(new_text: &str) -> Option<String> {
    let mut found: Vec<(usize, &str)> = Vec::new();
    for line in new_text.lines() {
        let Some((label, value)) = line.split_once(':') else { continue };
        let folded: String = label.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect();
        let label = folded.trim_matches(|c: char| !c.is_alphanumeric());
        let field = LABELS.iter().position(|labels| labels.contains(&label));
        if let Some(field) = field.filter(|field| !value.trim().is_empty() && found.iter().all(|(f, _)| f != field)) {
            found.push((field, line.trim()));
        }
    }
    (found.len() >= 2).then(|| found.iter().map(|(_, line)| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + days)
    }

    #[test]
    fn one_reminder_on_day_7_and_the_end_on_day_30() {
        let cases = [
            (0, false, None, Due::Nothing),
            (6, false, None, Due::Nothing),
            (7, false, None, Due::Remind),
            (8, true, None, Due::Nothing),
            (29, true, None, Due::Nothing),
            (30, true, None, Due::Forget),
            (31, false, None, Due::Forget),
            (8, false, Some(2), Due::Nothing),
            (31, true, Some(2), Due::Nothing),
            (32, true, Some(2), Due::Forget),
            // A key from before a new invitation.
            (29, true, Some(-10), Due::Nothing),
        ];
        for (day, reminded, key, expected) in cases {
            assert_eq!(due(at(0), reminded, key.map(at), at(day)), expected, "day {day}");
        }
    }

    #[test]
    fn junk_keys_push_out_junk_only() {
        let key = |signed, by_old, told| Waiting { signed, by_old, told };
        let (junk, signed, told, by_old) =
            (key(false, false, false), key(true, false, false), key(false, false, true), key(true, true, false));
        assert_eq!(room(junk, &[signed, told], 3), Room::Free);
        assert_eq!(room(junk, &[signed, told, by_old], 3), Room::None);
        assert_eq!(room(junk, &[signed, junk, junk], 3), Room::Instead(1), "the oldest of the junk");
        assert_eq!(room(signed, &[signed, told, by_old], 3), Room::None, "anybody can sign with a new key");
        assert_eq!(room(signed, &[told, junk, by_old], 3), Room::Instead(1));
        assert_eq!(room(by_old, &[told, told, by_old], 3), Room::Instead(0));
        assert_eq!(room(by_old, &[by_old], 1), Room::None);
    }

    #[test]
    fn consent_counts_only_as_an_answer_to_what_is_asked_now() {
        let facts = |answers_current, answers_transfer, state, pending| ConsentFacts {
            answers_current,
            answers_transfer,
            signed_answer: true,
            state,
            pending,
        };
        use ClientState::*;
        assert_eq!(consent(facts(true, false, ConsentPending, true)), Consent::Given);
        assert_eq!(consent(facts(false, false, ConsentPending, true)), Consent::Unclear);
        assert_eq!(consent(facts(true, false, Active, true)), Consent::Given, "a renewal");
        assert_eq!(consent(facts(false, false, Active, true)), Consent::Unclear);
        assert_eq!(consent(facts(false, false, Active, false)), Consent::Text);
        assert_eq!(consent(facts(true, false, Active, false)), Consent::Text, "given already");
        assert_eq!(consent(facts(false, true, Active, false)), Consent::Transfer);
        // A J'ACCEPTE to a renewal, put beside the offer of a transfer by who carries the mail.
        let moved = ConsentFacts { signed_answer: false, ..facts(false, true, Active, true) };
        assert_eq!(consent(moved), Consent::Unclear);
        assert_eq!(consent(ConsentFacts { pending: false, ..moved }), Consent::Transfer, "nothing else is asked");
        for state in [Invited, Declined, Discharged, Archived] {
            assert_eq!(consent(facts(true, true, state, true)), Consent::Text, "{state}");
        }
    }

    #[test]
    fn a_card_is_read_in_both_languages_and_a_colon_in_a_letter_is_none() {
        let french = "Bonjour,\n- Nom : Marie B.\nTéléphone : 06 00 00 00 00\nPersonne de confiance : mon frère\nMerci";
        let card_of = |text: &str| card(text).unwrap_or_default();
        assert_eq!(card_of(french).lines().count(), 3);
        assert!(card_of("Name: Ann\nPhone: 1\nPlace: Leeds\nTrusted person: Bob").ends_with("Trusted person: Bob\n"));
        assert_eq!(card("J'ai écrit un nom : le sien.\nVoilà."), None);
        assert_eq!(card("Nom : Marie\nsuite"), None, "one line may be chance");
        assert_eq!(card("Nom :\nLieu :\n"), None, "an empty form");
        assert_eq!(card("Nom : Marie\nNom : Paul\n"), None, "the same label twice is one");
    }
}
