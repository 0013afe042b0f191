//! Made-up facts for the letters about keys that are replaced or revoked.

use serde_json::Value as Json;

use super::{FINGERPRINT, NEUTRAL_NAME, at, code, json_of, label};
use crate::letters::facts::KeyOwner;
use crate::letters::{
    KeyRevoked, Name, PracticeKeyClear, PracticeKeyRevoked, PracticeKeyRotated, StaffKeyRevoked, StaffPracticeKey,
};

const OLD: &str = "89ABCDEF0123456789ABCDEF0123456789ABCDEF";

/// None for other letters.
pub(super) fn of(letter: Name) -> Vec<Json> {
    let (practice, neutral_name) = ("Cabinet Exemple".to_owned(), NEUTRAL_NAME.to_owned());
    let (fingerprint, old_fingerprint) = (FINGERPRINT.to_owned(), OLD.to_owned());
    match letter {
        Name::PracticeKeyRotated => [true, false]
            .map(|signed_by_old| {
                let (practice, fingerprint) = (practice.clone(), fingerprint.clone());
                json_of(&PracticeKeyRotated { practice, fingerprint, old_fingerprint: OLD.to_owned(), signed_by_old })
            })
            .into(),
        Name::PracticeKeyRevoked => vec![json_of(&PracticeKeyRevoked { practice, fingerprint, old_fingerprint })],
        Name::PracticeKeyClear => [false, true]
            .map(|revoked| {
                let (neutral_name, fingerprint) = (neutral_name.clone(), fingerprint.clone());
                json_of(&PracticeKeyClear { neutral_name, fingerprint, old_fingerprint: OLD.to_owned(), revoked })
            })
            .into(),
        Name::StaffPracticeKey => [(false, true), (false, false), (true, false)]
            .map(|(revoked, signed_by_old)| {
                let (fingerprint, old_fingerprint) = (fingerprint.clone(), old_fingerprint.clone());
                json_of(&StaffPracticeKey { fingerprint, old_fingerprint, revoked, signed_by_old })
            })
            .into(),
        Name::KeyRevoked => [false, true]
            .map(|staff| {
                let (neutral_name, fingerprint) = (neutral_name.clone(), fingerprint.clone());
                json_of(&KeyRevoked { neutral_name, fingerprint, staff })
            })
            .into(),
        Name::StaffKeyRevoked => [true, false]
            .map(|hard| {
                let owner = KeyOwner::Client { code: code(), label: label() };
                json_of(&StaffKeyRevoked { owner, fingerprint: fingerprint.clone(), revoked: at(3, 8, 12), hard })
            })
            .into(),
        _ => Vec::new(),
    }
}
