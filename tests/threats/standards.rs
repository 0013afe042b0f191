//! The standards that ask something of what comes in, where no other test says it.

use cadre::mime::{Limits, notice};
use cadre::model::{Fate, Verdict};
use sequoia_openpgp::types::{HashAlgorithm, SignatureType};

use crate::fuzz::forge::{detached, head, packet, pgp_mime, pgp_signed, secret, template, text};
use crate::fuzz::world::{MARIE, OFFICE, PAUL, World};
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

/// A delivery status for one recipient: these fields, and these words for people.
fn status(fields: &str, words: &str) -> String {
    format!(
        "From: Mail Delivery System <MAILER-DAEMON@mx.example>\r\nTo: {OFFICE}\r\nSubject: Report\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=r\r\n\r\n\
         --r\r\nContent-Type: text/plain\r\n\r\n{words}\r\n\
         --r\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\
         Original-Envelope-Id: E7\r\n\r\n{fields}\r\n\
         --r\r\nContent-Type: text/rfc822-headers\r\n\r\nFrom: <{OFFICE}>\r\nMessage-ID: <ours@cabinet.example>\r\n\r\n--r--\r\n"
    )
}

/// The fields for machines decide, Action before Status, each recipient by itself; words for people only where neither
/// is there.
#[test]
fn standard_rfc3464_the_fields_decide_each_recipient_by_itself() {
    let read = |fields: &str, words: &str| {
        notice(status(fields, words).as_bytes(), &Limits::default()).expect("a mail").expect("a notice")
    };
    let marie = cadre::model::Address::parse(MARIE).expect("an address");
    let to = format!("Final-Recipient: rfc822; {MARIE}\r\n");
    let (lost, late) = ("Your message could not be delivered.", "Your message is delayed; no action is required.");
    for (fields, words, fate) in [
        ("Action: failed\r\nStatus: 5.1.1\r\n", late, Fate::Failed),
        ("Action: delayed\r\nStatus: 4.4.1\r\n", lost, Fate::Delayed),
        ("Action: delayed\r\nStatus: 5.0.0\r\n", lost, Fate::Delayed),
        ("ACTION: Delivered (to mailbox)\r\nStatus: 2.0.0\r\n", lost, Fate::Relayed),
        ("Action: relayed\r\nStatus: 2.0.0\r\n", lost, Fate::Relayed),
        ("Action: expanded\r\nStatus: 2.0.0\r\n", lost, Fate::Relayed),
        ("Status: 5.2.2 (mailbox full)\r\n", late, Fate::Failed),
        ("Status: 4.2.2\r\n", lost, Fate::Delayed),
        ("Diagnostic-Code: smtp; 550\r\n", lost, Fate::Failed),
        ("Diagnostic-Code: smtp; 450\r\n", late, Fate::Delayed),
    ] {
        let found = read(&format!("{to}{fields}"), words);
        assert_eq!(found.fate_of(&marie), Some(fate), "{fields:?} beside {words:?}");
        assert_eq!(found.envid.as_deref(), Some("E7"));
        assert_eq!(found.ids, ["ours@cabinet.example"]);
    }
    // Two groups: what failed for somebody else has not failed for her.
    let two = format!(
        "{to}Action: delayed\r\nStatus: 4.4.1\r\n\r\nFinal-Recipient: rfc822; {PAUL}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    );
    let found = read(&two, lost);
    assert_eq!(found.fate_of(&marie), Some(Fate::Delayed));
    let nobody = cadre::model::Address::parse("autre@client.example").expect("an address");
    assert_eq!(found.fate_of(&nobody), None);
    // The id of the copy that came back, and the one that the fields name.
    let named =
        read(&format!("{to}Original-Message-ID: <named@cabinet.example>\r\nAction: failed\r\nStatus: 5.1.1\r\n"), lost);
    assert_eq!(named.ids, ["ours@cabinet.example", "named@cabinet.example"]);
    // The original recipient counts where the final one is another mailbox.
    let moved = format!(
        "Original-Recipient: rfc822;{MARIE}\r\nFinal-Recipient: rfc822; x@mx.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
    );
    assert_eq!(read(&moved, lost).fate_of(&marie), Some(Fate::Failed));
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
