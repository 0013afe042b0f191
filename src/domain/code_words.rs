//! Six words that stand for two certificates, to be compared by two people on the telephone.

use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::model::Language;

/// Words that are compared: 66 bits.
pub const WORDS: usize = 6;

/// Fewest digits of a fingerprint's end that may be typed in place of the words.
const DIGITS: usize = 16;

/// The words of a person's certificate beside the practice's, lower case, without accents. Fingerprints are
/// hexadecimal; spaces and case don't matter.
pub fn words(own: &str, practice: &str, language: Language) -> Vec<String> {
    let list = match language {
        Language::Fr => bip39::Language::French,
        Language::En => bip39::Language::English,
    }
    .word_list();
    indices(own, practice).into_iter().map(|index| fold(list[index])).collect()
}

/// Whether what was typed are the words of these two certificates, in either language, in order; or, in place of
/// them, at least sixteen digits of the end of the person's own fingerprint.
pub fn agree(typed: &[String], own: &str, practice: &str) -> bool {
    let typed: Vec<String> = typed.iter().map(|word| fold(word)).collect();
    let digits: String = typed.concat();
    let own_digits = hex(own).to_lowercase();
    let is_fingerprint = digits.len() >= DIGITS && digits.chars().all(|c| c.is_ascii_hexdigit());
    if is_fingerprint && own_digits.ends_with(&digits) {
        return true;
    }
    Language::ALL.iter().any(|language| typed == words(own, practice, *language))
}

fn indices(own: &str, practice: &str) -> [usize; WORDS] {
    let mut hash = Sha256::new();
    for part in ["cadre code words", &hex(own), &hex(practice)] {
        // Each with its length, so that no two pairs of fingerprints give the same input.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut indices = [0; WORDS];
    let (mut bits, mut held, mut bytes) = (0_usize, 0, digest.iter());
    for index in &mut indices {
        while held < 11 {
            bits = bits << 8 | bytes.next().copied().map_or(0, usize::from);
            held += 8;
        }
        held -= 11;
        *index = bits >> held & 0x7ff;
        bits &= (1 << held) - 1;
    }
    indices
}

fn hex(fingerprint: &str) -> String {
    fingerprint.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_uppercase()).collect()
}

fn fold(word: &str) -> String {
    word.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "0123456789ABCDEF0123456789ABCDEF01234567";
    const OFFICE: &str = "89ABCDEF0123456789ABCDEF0123456789ABCDEF";

    fn said(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_words_are_plain_and_stand_for_both_certificates_in_their_roles() {
        for &language in Language::ALL {
            let ours = words(OWN, OFFICE, language);
            assert_eq!(ours.len(), WORDS);
            assert!(ours.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())), "{ours:?}");
            assert_ne!(ours, words(OFFICE, OWN, language), "who is who counts");
            // A mail server that replaces either key gives other words.
            assert_ne!(ours, words(OWN, OWN, language));
            assert_ne!(ours, words(OFFICE, OFFICE, language));
            assert_eq!(ours, words("0123 4567 89ab cdef 0123 4567 89AB CDEF 0123 4567", OFFICE, language));
        }
    }

    #[test]
    fn every_word_of_the_lists_is_ascii_once_its_accents_are_gone() {
        for list in [bip39::Language::French.word_list(), bip39::Language::English.word_list()] {
            assert!(list.iter().all(|word| fold(word).bytes().all(|b| b.is_ascii_lowercase())));
        }
    }

    #[test]
    fn words_are_taken_in_either_language_and_only_whole_and_in_order() {
        let french = words(OWN, OFFICE, Language::Fr);
        assert!(agree(&french, OWN, OFFICE));
        assert!(agree(&words(OWN, OFFICE, Language::En), OWN, OFFICE));
        assert!(agree(&said(&french.join(" ").to_uppercase()), OWN, OFFICE));
        assert!(!agree(&french[..5], OWN, OFFICE));
        assert!(!agree(&[], OWN, OFFICE));
        let mut turned = french.clone();
        turned.reverse();
        assert!(!agree(&turned, OWN, OFFICE));
        let mut more = french.clone();
        more.push(french[0].clone());
        assert!(!agree(&more, OWN, OFFICE));
        assert!(!agree(&french, OFFICE, OFFICE));
    }

    #[test]
    fn the_end_of_the_persons_own_fingerprint_serves_as_well() {
        assert!(agree(&said("0123 4567 89AB CDEF 0123 4567"), OWN, OFFICE));
        assert!(agree(&said("89abcdef01234567"), OWN, OFFICE));
        assert!(!agree(&said("9abcdef01234567"), OWN, OFFICE), "fifteen digits are too few");
        assert!(!agree(&said("0123456789ABCDEF"), OWN, OFFICE), "not the end");
        assert!(!agree(&said("456789ABCDEF 0123456789ABCDEF"), OWN, OFFICE), "the practice's own");
    }
}
