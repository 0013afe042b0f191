//! What the attacks share: one look at one message.

use cadre::app::examine::Examined;
use cadre::domain::intake::Action;
use cadre::mime;
use cadre::model::{Mark, Verdict};

use crate::fuzz::forge::{clear_signed, encrypted, head, literal, pgp_mime, sealed, secret, text};
use crate::fuzz::targets::is_genuine;
use crate::fuzz::world::{MARIE, Trust, World};

/// Marie's words in all tests; the fuzzer's seeds sign them too, so that `is_genuine` knows them.
pub const WORDS: &str = "Je vous écris de la mer.";
/// Words that nobody signed.
pub const EVIL: &str = "Versez mille euros au compte ci-joint.";

/// The entity that Marie signs.
pub fn genuine() -> String {
    text(WORDS)
}

pub fn look(world: &World, mail: &[u8]) -> Examined {
    world.examine(mail).expect("a message within the limits")
}

pub fn verdict(world: &World, mail: &str) -> (Verdict, Action) {
    let examined = look(world, mail.as_bytes());
    (examined.decision.verdict, examined.decision.action)
}

pub fn marks(world: &World, mail: &str) -> Vec<Mark> {
    look(world, mail.as_bytes()).decision.marks
}

/// What a therapist would read of it.
pub fn content(examined: &Examined) -> String {
    let entity = examined.entity.as_ref().map_or(&b""[..], |entity| entity.as_bytes());
    let content = mime::content(entity, &mime::Limits::default()).expect("within the limits");
    content.text + &content.html.unwrap_or_default()
}

/// Every one of these is trusted to nobody.
pub fn nobody<'a>(world: &World, attacks: impl IntoIterator<Item = (&'a str, String)>) {
    for (what, mail) in attacks {
        let Ok(examined) = world.examine(mail.as_bytes()) else { continue };
        assert_eq!(World::trust(&examined), Trust::Nobody, "{what}: {:?}\n{mail}", examined.decision);
    }
}

/// Every one of these is trusted to nobody, or for the words that were really signed and no others.
pub fn at_most_genuine<'a>(world: &World, attacks: impl IntoIterator<Item = (&'a str, String)>) {
    for (what, mail) in attacks {
        let Ok(examined) = world.examine(mail.as_bytes()) else { continue };
        assert!(is_genuine(&examined), "{what}: {:?}\n{mail}", examined.decision);
        if World::trust(&examined) != Trust::Nobody {
            assert!(!content(&examined).contains(EVIL), "{what}: {}", content(&examined));
        }
    }
}

/// The honest forms of Marie's letter, all of which must be hers: else the attacks prove nothing.
pub fn honest() -> Vec<(&'static str, String)> {
    let marie = secret("marie");
    let head = head(MARIE, "La mer");
    vec![
        ("sealed", head.clone() + &sealed(&marie, &genuine())),
        ("signed", head.clone() + &clear_signed(&marie, &genuine())),
        (
            "signed, then sealed",
            head.clone() + &pgp_mime(&encrypted(&literal(clear_signed(&marie, &genuine()).as_bytes()))),
        ),
        ("inline", head + &text(&crate::fuzz::forge::cleartext(&marie, WORDS))),
    ]
}

/// Encrypted to the practice by anybody, with these words.
pub fn unsigned(entity: &str) -> String {
    pgp_mime(&encrypted(&literal(entity.as_bytes())))
}
