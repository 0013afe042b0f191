//! Letters to clients who show by answer words who writes.

use super::*;

/// Who signs nothing isn't asked to sign, and the words that they have are named.
#[test]
fn letters_to_who_writes_answer_words_ask_for_no_signature() {
    let letters = letters();
    let about_keys = |name: Name| {
        use Name as N;
        // Before the channel is chosen, and about keys themselves.
        matches!(
            name,
            N::Invitation
                | N::InvitationReminder
                | N::InvitationProblem
                | N::KeyArrived
                | N::AboutKeys
                | N::AboutKeysClear
                | N::Undecryptable
                | N::KeyExpiry
                | N::KeyRevoked
                | N::PracticeKeyRotated
                | N::PracticeKeyRevoked
                | N::PracticeKeyClear
                // Of the frame there is a form of its own; the guide is another page.
                | N::Frame
                | N::ConsentRenewal
                | N::Guide
                | N::Erasure
        )
    };
    for &language in Language::ALL {
        let reader = Reader { language, by_words: true, zone: Paris };
        for &name in Name::ALL.iter().filter(|name| !name.is_staff() && !about_keys(**name)) {
            for facts in samples::of(name) {
                let text = letters.render_value(name, &facts, reader).unwrap().text.to_lowercase();
                for word in ["signé", "signant", "signature", "signed", "chiffré", "encrypted"] {
                    assert!(!text.contains(word), "{} {language}: {word}\n{text}", name.as_str());
                }
            }
        }
    }
}
