//! Rows 18 and 28: the same signature again is known, however it is dressed.

use cadre::domain::intake::{Action, Dropped};
use cadre::model::{Mark, Verdict};
use sequoia_openpgp as openpgp;

use openpgp::packet::signature::subpacket::{Subpacket, SubpacketValue};
use openpgp::parse::Parse as _;
use openpgp::serialize::SerializeInto as _;
use openpgp::types::{CompressionAlgorithm, SignatureType};
use openpgp::{Packet, PacketPile};

use crate::fuzz::forge::{
    compressed, detached, encrypted, head, literal, pgp_mime, pgp_signed, secret, signed, template, text,
};
use crate::fuzz::world::{MARIE, PAUL, World};
use crate::tools::{genuine, look};

/// The signature packets with something unsigned added.
fn dressed(packets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for mut packet in PacketPile::from_bytes(packets).expect("packets").into_children() {
        if let Packet::Signature(signature) = &mut packet {
            let value = SubpacketValue::SignersUserID(b"Paul <paul@client.example>".to_vec());
            signature.unhashed_area_mut().add(Subpacket::new(value, false).expect("small")).expect("room");
        }
        out.extend(packet.to_vec().expect("memory"));
    }
    out
}

#[test]
fn row_28_one_signature_in_any_dress_is_a_replay() {
    let marie = secret("marie");
    let entity = genuine();
    let inline = signed(&[&marie], entity.as_bytes());
    let loose = detached(&[(&marie, template(SignatureType::Binary))], entity.as_bytes());
    let dresses = |first: &str, more: Vec<String>| (first.to_owned(), more);
    for (first, more) in [
        dresses(
            &pgp_mime(&encrypted(&inline)),
            vec![
                pgp_mime(&encrypted(&inline)),
                pgp_mime(&encrypted(&dressed(&inline))),
                pgp_mime(&encrypted(&compressed(CompressionAlgorithm::Zlib, &inline))),
                pgp_mime(&inline),
            ],
        ),
        dresses(
            &pgp_signed(&entity, &loose),
            vec![
                pgp_signed(&entity, &dressed(&loose)),
                pgp_mime(&encrypted(&literal(pgp_signed(&entity, &loose).as_bytes()))),
                pgp_signed(&entity, &loose).replace("signed-part", "other-part"),
                pgp_signed(&entity, &loose).replace("\r\n", "\n"),
            ],
        ),
    ] {
        let world = World::new();
        let examined = look(&world, (head(MARIE, "x") + &first).as_bytes());
        assert_eq!(examined.decision.verdict, Verdict::Verified, "{:?}", examined.decision);
        world.remember(&examined);
        for (n, body) in more.iter().chain([&first]).enumerate() {
            for (from, subject) in [(MARIE, "x"), (MARIE, "autre"), ("x@evil.example", "x")] {
                let examined = look(&world, (head(from, subject) + body).as_bytes());
                assert_eq!(
                    examined.decision.action,
                    Action::Drop(Dropped::Replayed),
                    "{n} {from}: {:?}",
                    examined.decision
                );
            }
        }
    }
}

#[test]
fn row_28_a_letter_played_first_under_another_name_is_still_filed() {
    let world = World::new();
    let body = pgp_mime(&encrypted(&signed(&[&secret("marie")], genuine().as_bytes())));
    for from in [PAUL, "marie@client.example, x@evil.example", ""] {
        let early = look(&world, (head(from, "x") + &body).as_bytes());
        assert_eq!(early.decision.verdict, Verdict::WrongSigner, "{from}: {:?}", early.decision);
    }
    // Held mail isn't remembered; under a stranger's name it is hers all the same, and says so.
    let strangers = look(&world, (head("x@evil.example", "x") + &body).as_bytes());
    assert_eq!(strangers.decision.verdict, Verdict::Verified);
    assert!(strangers.decision.marks.contains(&Mark::OtherAddress));
    assert_eq!(look(&world, (head(MARIE, "x") + &body).as_bytes()).decision.verdict, Verdict::Verified);
}

#[test]
fn row_18_other_words_are_no_replay_and_a_copied_id_hides_nothing() {
    let world = World::new();
    let marie = secret("marie");
    let mail = |words: &str| head(MARIE, "x") + &pgp_mime(&encrypted(&signed(&[&marie], text(words).as_bytes())));
    let first = look(&world, mail("un").as_bytes());
    world.remember(&first);
    // The same Message-ID, Subject and Date.
    assert_eq!(look(&world, mail("deux").as_bytes()).decision.verdict, Verdict::Verified);
    assert_eq!(look(&world, mail("un").as_bytes()).outer.message_id, first.outer.message_id);
}
