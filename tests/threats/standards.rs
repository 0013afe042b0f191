//! The standards that ask something of what comes in, where no other test says it.

use cadre::model::Verdict;
use sequoia_openpgp::types::{HashAlgorithm, SignatureType};

use crate::fuzz::forge::{detached, head, packet, pgp_mime, pgp_signed, secret, template, text};
use crate::fuzz::world::{MARIE, World};
use crate::tools::{genuine, verdict};

/// Lines that relays and mail programs like to change: trailing blanks, a dot, `From `, a dash, 8-bit, no end.
#[test]
fn standard_rfc3156_signed_lines_survive_as_they_are() {
    let world = World::new();
    let marie = secret("marie");
    for words in [
        "avec des blancs   \r\net une tabulation\t",
        ".\r\n..\r\n.point",
        "From moi à toi\r\n>From nous",
        "- tiret\r\n-- \r\nsignature",
        "\u{e9}\u{e8} \u{2014} \u{1f30a}",
        "",
        "\r\n\r\n",
        "ligne sans fin",
    ] {
        let entity = text(words);
        let entity = entity.strip_suffix("\r\n").unwrap_or(&entity);
        let signature = detached(&[(&marie, template(SignatureType::Binary))], entity.as_bytes());
        let mail = head(MARIE, "x") + &pgp_signed(entity, &signature);
        assert_eq!(verdict(&world, &mail).0, Verdict::Verified, "{words:?}");
        // A server that stores lone LF: canonical CRLF is what was signed.
        assert_eq!(verdict(&world, &mail.replace("\r\n", "\n")).0, Verdict::Verified, "{words:?} with LF");
    }
}

#[test]
fn standard_rfc3156_a_container_has_exactly_two_parts() {
    let world = World::new();
    let entity = genuine();
    let signature = detached(&[(&secret("marie"), template(SignatureType::Binary))], entity.as_bytes());
    let whole = pgp_signed(&entity, &signature);
    let one = whole.split_inclusive("--signed-part\r\n").take(2).collect::<String>();
    let three = whole.replace("--signed-part--", "--signed-part\r\n\r\ntrois\r\n--signed-part--");
    for (what, body) in [("one", one), ("three", three)] {
        let (said, _) = verdict(&world, &(head(MARIE, "x") + &body));
        assert_ne!(said, Verdict::Verified, "{what} parts");
    }
}

#[test]
fn standard_rfc9580_old_packets_and_weak_digests_are_refused() {
    let world = World::new();
    let marie = secret("marie");
    let entity = genuine();
    for algorithm in [HashAlgorithm::MD5, HashAlgorithm::SHA1, HashAlgorithm::RipeMD] {
        let Ok(context) = algorithm.context() else { continue };
        let mut hash = context.for_signature(4);
        hash.update(entity.as_bytes());
        let how = template(SignatureType::Binary).set_hash_algo(algorithm);
        let Ok(made) = how.sign_hash(&mut crate::fuzz::forge::pair(&marie), hash) else { continue };
        use sequoia_openpgp::serialize::SerializeInto as _;
        let bytes = sequoia_openpgp::Packet::from(made).to_vec().expect("memory");
        let (said, _) = verdict(&world, &(head(MARIE, "x") + &pgp_signed(&entity, &bytes)));
        assert_eq!(said, Verdict::Bad, "{algorithm}");
    }
    for tag in [9, 20] {
        let message = packet(tag, &[7; 200]);
        let (said, _) = verdict(&world, &(head(MARIE, "x") + &pgp_mime(&message)));
        assert!(matches!(said, Verdict::Undecryptable | Verdict::Bad), "tag {tag}: {said:?}");
    }
}
