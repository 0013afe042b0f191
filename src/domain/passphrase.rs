//! The passphrase of a client's sealed letters: six words of a published list, told by voice (SPEC section 15).

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::model::Language;

/// Words of a passphrase.
pub const WORDS: usize = 6;

static FRENCH: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("../../config/words/fr.txt").lines().collect());
static ENGLISH: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| include_str!("../../config/words/en.txt").lines().collect());

/// The list that passphrases of a language are drawn from: lower-case ASCII words, each once
/// (`config/words/SOURCES.md`).
pub fn list(language: Language) -> &'static [&'static str] {
    match language {
        Language::Fr => &FRENCH,
        Language::En => &ENGLISH,
    }
}

/// A new passphrase: six words joined by hyphens. `pick(n)` gives an even random number below `n`.
pub fn draw(language: Language, mut pick: impl FnMut(usize) -> usize) -> String {
    let list = list(language);
    let words: Vec<&str> = std::iter::repeat_with(|| list[pick(list.len()) % list.len()]).take(WORDS).collect();
    words.join("-")
}

/// Words of a short mail that asks for the passphrase.
const ASKED_IN: usize = 60;

/// Whether a short mail speaks of the passphrase: it is answered with how to get it, never with it.
pub fn is_asked(new_text: &str) -> bool {
    let folded: String = new_text
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect();
    let words: Vec<&str> = folded.split_whitespace().take(ASKED_IN + 1).collect();
    let text = words.join(" ");
    let lacks = [
        "oublie",
        "perdu",
        "trouve plus",
        "souviens",
        "rappel",
        "redonner",
        "renvoyer",
        "donner",
        "ouvre pas",
        "ouvrir",
        "quel",
        "forgot",
        "lost",
        "remember",
        "remind",
        "again",
        "give me",
        "send me",
        "open",
        "what",
    ];
    words.len() <= ASKED_IN
        && (new_text.contains('?') || lacks.iter().any(|word| text.contains(word)))
        && ["phrase de passe", "mot de passe", "mots de passe", "code du pdf", "passphrase", "pass phrase", "password"]
            .iter()
            .any(|name| text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_can_be_typed_on_any_telephone_and_stands_once() {
        for &language in Language::ALL {
            let list = list(language);
            assert!(list.iter().all(|word| (4..=9).contains(&word.len())), "{language}");
            assert!(list.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())), "{language}");
            assert!(list.is_sorted_by(|a, b| a < b), "{language}: sorted, each once");
        }
    }

    #[test]
    fn six_words_have_75_bits() {
        for &language in Language::ALL {
            #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
            let bits = (list(language).len() as f64).log2() * WORDS as f64;
            assert!(bits >= 75.0, "{language}: {bits}");
        }
    }

    #[test]
    fn a_short_mail_that_asks_for_it_is_known() {
        for asks in ["J'ai oublié la phrase de passe.", "Mot de passe ???", "I can't open it, what was the password?"]
        {
            assert!(is_asked(asks), "{asks}");
        }
        let long = "Hier ".repeat(80) + "la phrase de passe";
        for none in [
            "J'ai bien noté la phrase de passe, merci.",
            "Bonjour, voici ma lettre.",
            "",
            &long,
            "Je passe une phrase.",
        ] {
            assert!(!is_asked(none), "{none}");
        }
    }

    #[test]
    fn a_passphrase_is_six_words_with_hyphens() {
        let mut next = 0;
        let phrase = draw(Language::Fr, |n| {
            next += 1000;
            next % n
        });
        let words: Vec<&str> = phrase.split('-').collect();
        assert_eq!(words.len(), WORDS);
        assert!(words.iter().all(|word| list(Language::Fr).contains(word)), "{words:?}");
        assert_ne!(words[0], words[1]);
    }
}
