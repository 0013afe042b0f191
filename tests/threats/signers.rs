//! Rows 1, 2, 24 and 27: what a signature says, and who is believed for it.

use cadre::domain::intake::{Action, Refusal};
use cadre::model::{ClientId, Mark, TherapistId, Verdict};
use sequoia_openpgp::types::SignatureType::Binary;

use crate::fuzz::forge::{
    armored, clear_signed, cleartext, detached, encrypted, encrypted_to, head, literal, office, pgp_mime, pgp_signed,
    protected, sealed, secret, signed, signed_as, template, text,
};
use crate::fuzz::targets::is_genuine;
use crate::fuzz::world::{MARIE, PAUL, THERAPIST, Trust, World};
use crate::tools::{EVIL, WORDS, content, genuine, honest, look, marks, nobody, verdict};

#[test]
fn row_01_honest_letters_are_verified_so_that_the_attacks_mean_something() {
    let world = World::new();
    for (what, mail) in honest() {
        let examined = look(&world, mail.as_bytes());
        assert_eq!(World::trust(&examined), Trust::Client(1), "{what}: {:?}", examined.decision);
        assert!(is_genuine(&examined) && content(&examined).contains(WORDS), "{what}");
    }
}

#[test]
fn row_01_no_changed_byte_of_signed_content_is_ever_good() {
    let world = World::new();
    let marie = secret("marie");
    // In clear: every byte between the first boundary and the signature.
    let mail = head(MARIE, "La mer") + &clear_signed(&marie, &genuine());
    let start = mail.find(&genuine()).expect("the signed part");
    for position in start..start + genuine().len() {
        let mut changed = mail.clone().into_bytes();
        changed[position] ^= 0x01;
        let examined = look(&world, &changed);
        // A line break that became another sign takes the part's end with it.
        let lost = matches!(examined.decision.verdict, Verdict::Bad | Verdict::Partial | Verdict::Unsigned);
        assert!(lost, "at {}: {:?}", position - start, examined.decision);
        assert!(matches!(examined.decision.action, Action::Hold { .. }), "{:?}", examined.decision);
    }
    // A cleartext block: every byte of its text.
    let block = cleartext(&marie, WORDS);
    let mail = head(MARIE, "La mer") + &text(&block);
    let start = mail.find(WORDS).expect("the signed text");
    for position in start..start + WORDS.len() {
        let mut changed = mail.clone().into_bytes();
        changed[position] ^= 0x02;
        let examined = look(&world, &changed);
        assert_eq!(World::trust(&examined), Trust::Nobody, "at {}: {:?}", position - start, examined.decision);
    }
    // Inside the encryption, where nobody but a correspondent's own computer could do it: every byte and two bits.
    let packets = signed(&[&marie], genuine().as_bytes());
    for position in 0..packets.len() {
        for bit in [0x01, 0x80] {
            let mut changed = packets.clone();
            changed[position] ^= bit;
            let mail = head(MARIE, "La mer") + &pgp_mime(&encrypted(&changed));
            let examined = look(&world, mail.as_bytes());
            assert!(is_genuine(&examined), "at {position}: {:?}", examined.decision);
        }
    }
}

#[test]
fn row_01_one_bad_signature_beside_a_good_one_spoils_both() {
    let world = World::new();
    let (marie, paul) = (secret("marie"), secret("paul"));
    let entity = genuine();
    let good = detached(&[(&marie, template(Binary))], entity.as_bytes());
    let other = detached(&[(&marie, template(Binary))], text(EVIL).as_bytes());
    let pauls = detached(&[(&paul, template(Binary))], text(EVIL).as_bytes());
    for (what, signatures) in [
        ("good, then bad", [good.clone(), other.clone()].concat()),
        ("bad, then good", [other, good.clone()].concat()),
        ("good, then another's bad one", [good.clone(), pauls.clone()].concat()),
        ("another's bad one, then good", [pauls, good].concat()),
    ] {
        let (verdict, action) = verdict(&world, &(head(MARIE, "La mer") + &pgp_signed(&entity, &signatures)));
        assert_eq!((verdict, action), (Verdict::Bad, Action::Hold { client: ClientId(1) }), "{what}");
    }
    // An unknown one beside a good one says nothing; alone it is no proof.
    let mallory = secret("mallory");
    let both = detached(&[(&marie, template(Binary)), (&mallory, template(Binary))], entity.as_bytes());
    assert_eq!(verdict(&world, &(head(MARIE, "x") + &pgp_signed(&entity, &both))).0, Verdict::Verified);
    let alone = detached(&[(&mallory, template(Binary))], entity.as_bytes());
    assert_eq!(verdict(&world, &(head(MARIE, "x") + &pgp_signed(&entity, &alone))).0, Verdict::UnknownSigner);
}

#[test]
fn row_02_a_good_signature_under_another_name_is_a_wrong_signer() {
    let world = World::new();
    let held = |client| (Verdict::WrongSigner, Action::Hold { client: ClientId(client) });
    let (marie, paul, therapist) = (secret("marie"), secret("paul"), secret("exemple"));
    for make in [sealed, clear_signed] {
        let mail = |by, from| head(from, "La mer") + &make(by, &genuine());
        assert_eq!(verdict(&world, &mail(&paul, MARIE)), held(2), "Paul's signature under Marie's name");
        assert_eq!(verdict(&world, &mail(&marie, THERAPIST)), held(1), "Marie's under the therapist's");
        let refused = Action::Refuse { therapist: TherapistId("exemple".into()), why: Refusal::WrongSigner };
        assert_eq!(verdict(&world, &mail(&therapist, MARIE)), (Verdict::WrongSigner, refused));
        let two = format!("From: x@evil.example\r\n{}", mail(&marie, MARIE));
        assert_eq!(verdict(&world, &two), held(1), "two From fields");
    }
    // The name under protection counts, not the one outside.
    let inner = protected(&format!("From: Paul <{PAUL}>\r\nSubject: x\r\n"), WORDS);
    assert_eq!(verdict(&world, &(head(MARIE, "...") + &sealed(&marie, &inner))), held(1));
    let inner = protected(&format!("From: Marie <{MARIE}>\r\nSubject: x\r\n"), WORDS);
    let (said, action) = verdict(&world, &(head(PAUL, "...") + &sealed(&marie, &inner)));
    assert_eq!((said, action), (Verdict::Verified, Action::File { client: ClientId(1), letter: true }));
}

#[test]
fn row_02_two_good_signatures_never_make_a_letter_the_other_persons() {
    let world = World::new();
    let (marie, paul) = (secret("marie"), secret("paul"));
    for by in [[&marie, &paul], [&paul, &marie]] {
        let with = [(by[0], template(Binary)), (by[1], template(Binary))];
        for from in [MARIE, PAUL] {
            let entity = genuine();
            let mail = head(from, "x") + &pgp_signed(&entity, &detached(&with, entity.as_bytes()));
            let examined = look(&world, mail.as_bytes());
            let owner = if from == MARIE { 1 } else { 2 };
            let trust = World::trust(&examined);
            assert!(trust == Trust::Client(owner) || trust == Trust::Nobody, "{from}: {:?}", examined.decision);
        }
    }
}

#[test]
fn row_16_nobody_but_the_pinned_key_is_obeyed_as_the_therapist() {
    let world = World::new();
    let orders = text("/urgent\r\n\r\nBien lu.");
    let inner = protected(&format!("From: Dr Exemple <{THERAPIST}>\r\nSubject: Re: [C-7K2M]\r\n"), "/urgent");
    for name in ["marie", "paul", "mallory", "inconnue"] {
        let by = secret(name);
        let forms = [sealed(&by, &orders), clear_signed(&by, &orders), sealed(&by, &inner)];
        nobody(&world, forms.into_iter().map(|form| (name, head(THERAPIST, "Re: [C-7K2M]") + &form)));
    }
    let by = secret("exemple");
    let mail = head(THERAPIST, "...") + &sealed(&by, &inner);
    assert_eq!(World::trust(&look(&world, mail.as_bytes())), Trust::Therapist);
}

#[test]
fn row_24_hidden_recipients_are_opened_and_to_and_cc_mean_nothing() {
    use sequoia_openpgp::Packet;
    use sequoia_openpgp::PacketPile;
    use sequoia_openpgp::parse::Parse as _;
    use sequoia_openpgp::serialize::SerializeInto as _;

    let world = World::new();
    let packets = signed(&[&secret("marie")], genuine().as_bytes());
    let mut pile: Vec<Packet> = PacketPile::from_bytes(&encrypted_to(&[secret("paul"), office()], &packets))
        .expect("packets")
        .into_children()
        .collect();
    for packet in &mut pile {
        if let Packet::PKESK(sequoia_openpgp::packet::PKESK::V3(pkesk)) = packet {
            pkesk.set_recipient(None);
        }
    }
    let hidden: Vec<u8> = pile.iter().flat_map(|packet| packet.to_vec().expect("memory")).collect();
    let mail = head(MARIE, "x").replace("To: ecrire@cabinet.example", "To: undisclosed-recipients:;");
    let mail = mail + &pgp_mime(&hidden);
    assert_eq!(World::trust(&look(&world, mail.as_bytes())), Trust::Client(1));
}

#[test]
fn row_27_what_was_meant_for_somebody_else_is_marked() {
    let world = World::new();
    let (marie, paul) = (secret("marie"), secret("paul"));
    let meant =
        |whom: &sequoia_openpgp::Cert| template(Binary).set_intended_recipients([whom.fingerprint()]).expect("room");
    let mail = |whom: &sequoia_openpgp::Cert| {
        let packets = signed_as(&[(&marie, meant(whom))], genuine().as_bytes());
        head(MARIE, "x") + &pgp_mime(&encrypted(&packets))
    };
    assert!(marks(&world, &mail(&paul)).contains(&Mark::NotForUs));
    assert!(!marks(&world, &mail(&office())).contains(&Mark::NotForUs));
    // Paul took Marie's signature off her letter to him: still her words, still to him.
    let detached = detached(&[(&marie, meant(&paul))], genuine().as_bytes());
    let mail = head(MARIE, "x") + &pgp_mime(&encrypted(&literal(pgp_signed(&genuine(), &detached).as_bytes())));
    assert!(marks(&world, &mail).contains(&Mark::NotForUs));
}

#[test]
fn row_06_armor_around_other_armor_is_read_once() {
    let world = World::new();
    let marie = secret("marie");
    let kind = sequoia_openpgp::armor::Kind::Message;
    let hers = armored(kind, &encrypted(&signed(&[&marie], genuine().as_bytes())));
    let evil = armored(kind, &encrypted(&literal(text(EVIL).as_bytes())));
    let both = |first: &str, second: &str| {
        head(MARIE, "x") + &crate::fuzz::forge::pgp_mime_of(&format!("{first}\r\n{second}"))
    };
    crate::tools::at_most_genuine(
        &world,
        [
            ("evil behind hers", both(&hers, &evil)),
            ("hers behind evil", both(&evil, &hers)),
            ("inline, two blocks", head(MARIE, "x") + &text(&format!("{hers}{evil}"))),
            ("text before the block", head(MARIE, "x") + &text(&format!("{EVIL}\r\n\r\n{hers}"))),
            ("text in the container", both(EVIL, &hers)),
        ],
    );
}
