//! Rows 1, 7, 8 and 9, RFC 9580: OpenPGP messages that are wrong inside.

use std::time::{Duration, SystemTime};

use cadre::domain::intake::Action;
use cadre::model::{Mark, Verdict};
use cadre::pgp::Certificate;
use sequoia_openpgp as openpgp;

use openpgp::cert::prelude::*;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::packet::signature::subpacket::NotationDataFlags;
use openpgp::parse::Parse as _;
use openpgp::serialize::SerializeInto as _;
use openpgp::types::{CompressionAlgorithm, DataFormat, HashAlgorithm, KeyFlags, SignatureType};
use openpgp::{Cert, Packet, PacketPile};

use crate::fuzz::forge::{
    compressed, detached, encrypted, head, literal, packet, pair, pgp_mime, pgp_signed, secret, signed, signed_as,
    template, text,
};
use crate::fuzz::world::{MARIE, PAUL, Trust, World, now};
use crate::tools::{EVIL, at_most_genuine, content, genuine, look, nobody, verdict};

fn mail(packets: &[u8]) -> String {
    head(MARIE, "x") + &pgp_mime(&encrypted(packets))
}

fn parsed(packets: &[u8]) -> Vec<Packet> {
    PacketPile::from_bytes(packets).expect("packets").into_children().collect()
}

fn bytes(packets: &[Packet]) -> Vec<u8> {
    packets.iter().flat_map(|packet| packet.to_vec().expect("memory")).collect()
}

#[test]
fn row_01_packets_in_any_other_order_prove_nothing() {
    let world = World::new();
    let marie = secret("marie");
    let hers = signed(&[&marie], genuine().as_bytes());
    let evil = literal(text(EVIL).as_bytes());
    let zip = CompressionAlgorithm::Zip;
    let [ops, words, signature] = &parsed(&hers)[..] else { panic!("three packets") };
    let one = |packet: &Packet| packet.to_vec().expect("memory");
    nobody(
        &world,
        [
            ("evil behind hers", mail(&[hers.clone(), evil.clone()].concat())),
            ("evil before hers", mail(&[evil.clone(), hers.clone()].concat())),
            ("evil behind hers, both compressed", mail(&compressed(zip, &[hers.clone(), evil.clone()].concat()))),
            ("evil in her place", mail(&[one(ops), evil.clone(), one(signature)].concat())),
            ("her words twice", mail(&[one(ops), one(words), one(words), one(signature)].concat())),
            ("evil between", mail(&[one(ops), one(words), evil.clone(), one(signature)].concat())),
            ("no announcement", mail(&[one(words), one(signature)].concat())),
            ("no signature", mail(&[one(ops), one(words)].concat())),
            ("signature of nothing", mail(&one(signature))),
            ("a group around a group", mail(&signed(&[&secret("mallory")], &hers))),
            ("encrypted twice", mail(&encrypted(&hers))),
            ("encrypted in a compressed packet", mail(&compressed(zip, &encrypted(&hers)))),
            ("compressed twice", mail(&compressed(zip, &compressed(zip, &hers)))),
            ("evil compressed beside hers", mail(&[compressed(zip, &evil), hers.clone()].concat())),
        ],
    );
    // Old style: the signature first. It is hers, and the words are hers.
    at_most_genuine(&world, [("signature first", mail(&[one(signature), one(words)].concat()))]);
    // Who signs a ciphertext signs those bytes and not what is inside: it stays unopened.
    let outside = signed(&[&marie], &encrypted(&evil));
    let examined = look(&world, (head(MARIE, "x") + &pgp_mime(&outside)).as_bytes());
    assert!(!content(&examined).contains(EVIL), "{:?}", examined.decision);
}

#[test]
fn row_01_a_second_envelope_inside_is_never_opened() {
    let world = World::new();
    let marie = secret("marie");
    let inner = pgp_mime(&encrypted(&signed(&[&marie], genuine().as_bytes())));
    let attacks = [
        ("unsigned around hers", head(MARIE, "x") + &pgp_mime(&encrypted(&literal(inner.as_bytes())))),
        ("mallory's around hers", mail(&signed(&[&secret("mallory")], inner.as_bytes()))),
        ("paul's around hers", mail(&signed(&[&secret("paul")], inner.as_bytes()))),
    ];
    for (what, raw) in &attacks {
        let examined = look(&world, raw.as_bytes());
        assert!(!content(&examined).contains("mer"), "{what}: opened");
    }
    nobody(&world, attacks);
}

#[test]
fn row_01_what_a_literal_packet_says_of_itself_changes_nothing() {
    use openpgp::serialize::stream::{LiteralWriter, Message};
    use std::io::Write as _;
    let world = World::new();
    let make = |format: DataFormat, name: &str| {
        let mut sink = Vec::new();
        let writer = LiteralWriter::new(Message::new(&mut sink)).format(format).filename(name).expect("a name");
        let mut writer = writer.date(SystemTime::from(now())).expect("a date").build().expect("a literal");
        writer.write_all(genuine().as_bytes()).expect("memory");
        writer.finalize().expect("memory");
        sink
    };
    let hers = parsed(&signed(&[&secret("marie")], genuine().as_bytes()));
    for (what, literal) in [
        ("for your eyes only", make(DataFormat::Binary, "_CONSOLE")),
        ("a path", make(DataFormat::Binary, "../../../etc/passwd")),
        ("text", make(DataFormat::Unicode, "x")),
    ] {
        let whole = [hers[0].to_vec().expect("memory"), literal, hers[2].to_vec().expect("memory")].concat();
        let examined = look(&world, mail(&whole).as_bytes());
        assert_eq!(World::trust(&examined), Trust::Client(1), "{what}: {:?}", examined.decision);
        at_most_genuine(&world, [(what, mail(&whole))]);
    }
}

#[test]
fn row_01_signatures_of_other_kinds_sign_no_letter() {
    let world = World::new();
    let marie = secret("marie");
    let entity = genuine();
    for kind in [
        SignatureType::Standalone,
        SignatureType::GenericCertification,
        SignatureType::PositiveCertification,
        SignatureType::DirectKey,
        SignatureType::SubkeyBinding,
        SignatureType::KeyRevocation,
        SignatureType::Timestamp,
        SignatureType::Confirmation,
        SignatureType::Unknown(0x77),
    ] {
        let mut hash = HashAlgorithm::SHA512.context().expect("SHA-512").for_signature(4);
        hash.update(entity.as_bytes());
        let made = template(kind).sign_hash(&mut pair(&marie), hash).expect("a signature");
        let packet = Packet::from(made).to_vec().expect("memory");
        nobody(&world, [(&*format!("{kind:?}"), head(MARIE, "x") + &pgp_signed(&entity, &packet))]);
    }
    // Text signatures are honest ones: they cover the text with canonical line ends.
    let signature = detached(&[(&marie, template(SignatureType::Text))], entity.as_bytes());
    let (said, _) = verdict(&world, &(head(MARIE, "x") + &pgp_signed(&entity, &signature)));
    assert_eq!(said, Verdict::Verified);
}

#[test]
fn row_01_what_a_signer_calls_critical_and_nobody_knows_makes_it_bad() {
    let world = World::new();
    let marie = secret("marie");
    let flags = NotationDataFlags::empty().set_human_readable();
    let noted = |critical| {
        template(SignatureType::Binary).add_notation("only@evil.example", "1", flags.clone(), critical).expect("room")
    };
    let mail = |how: SignatureBuilder| mail(&signed_as(&[(&marie, how)], genuine().as_bytes()));
    assert_eq!(verdict(&world, &mail(noted(true))).0, Verdict::Bad);
    assert_eq!(verdict(&world, &mail(noted(false))).0, Verdict::Verified);
    // A signature that has run out, and one from tomorrow.
    let ended = template(SignatureType::Binary)
        .set_signature_creation_time(SystemTime::from(now()) - Duration::from_secs(9_000))
        .and_then(|how| how.set_signature_validity_period(Duration::from_secs(60)))
        .expect("times");
    let packets = detached_at(&marie, ended, genuine().as_bytes());
    assert_eq!(verdict(&world, &(head(MARIE, "x") + &pgp_signed(&genuine(), &packets))).0, Verdict::Bad);
    let tomorrow = template(SignatureType::Binary)
        .set_signature_creation_time(SystemTime::from(now()) + Duration::from_secs(86_400))
        .expect("a time");
    let packets = detached_at(&marie, tomorrow, genuine().as_bytes());
    assert_eq!(verdict(&world, &(head(MARIE, "x") + &pgp_signed(&genuine(), &packets))).0, Verdict::Bad);
}

/// A detached signature with exactly what `how` says, its time included.
fn detached_at(by: &Cert, how: SignatureBuilder, data: &[u8]) -> Vec<u8> {
    let mut hash = HashAlgorithm::SHA512.context().expect("SHA-512").for_signature(4);
    hash.update(data);
    Packet::from(how.sign_hash(&mut pair(by), hash).expect("a signature")).to_vec().expect("memory")
}

fn born() -> SystemTime {
    SystemTime::from(now()) - Duration::from_secs(30 * 86_400)
}

fn pinned(cert: &Cert) -> Certificate {
    Certificate::from_bytes(&cert.clone().strip_secret_key_material().to_vec().expect("memory")).expect("a certificate")
}

fn builder() -> CertBuilder<'static> {
    CertBuilder::new().set_creation_time(born()).add_userid(MARIE)
}

#[test]
fn row_09_keys_that_may_not_sign_sign_nothing() {
    let encryption = || KeyFlags::empty().set_transport_encryption().set_storage_encryption();
    let entity = genuine();
    // A primary key that only certifies.
    let (cert, _) = builder()
        .set_primary_key_flags(KeyFlags::empty().set_certification())
        .add_subkey(encryption(), None, None)
        .generate()
        .expect("a key");
    let world = World::new().with_marie(pinned(&cert));
    let raw = head(MARIE, "x")
        + &pgp_signed(&entity, &detached_at(&cert, template(SignatureType::Binary), entity.as_bytes()));
    assert_eq!(verdict(&world, &raw).0, Verdict::Bad, "certification only");

    // A signing subkey that its owner has revoked since.
    let (cert, _) = builder().add_signing_subkey().add_subkey(encryption(), None, None).generate().expect("a key");
    let policy = openpgp::policy::StandardPolicy::new();
    let subkey =
        cert.keys().with_policy(&policy, SystemTime::from(now())).for_signing().subkeys().next().expect("a subkey");
    let mut with = subkey.key().clone().parts_into_secret().expect("secret").into_keypair().expect("open");
    let mut hash = HashAlgorithm::SHA512.context().expect("SHA-512").for_signature(4);
    hash.update(entity.as_bytes());
    let made = template(SignatureType::Binary).sign_hash(&mut with, hash).expect("a signature");
    let raw = head(MARIE, "x") + &pgp_signed(&entity, &Packet::from(made).to_vec().expect("memory"));
    let world = World::new().with_marie(pinned(&cert));
    assert_eq!(verdict(&world, &raw).0, Verdict::Verified, "before it is revoked");
    let revocation = SubkeyRevocationBuilder::new()
        .set_signature_creation_time(SystemTime::from(now()) - Duration::from_secs(60))
        .and_then(|how| how.build(&mut pair(&cert), &cert, subkey.key(), None))
        .expect("a revocation");
    let (revoked, _) = cert.clone().insert_packets([revocation]).expect("one certificate");
    let world = World::new().with_marie(pinned(&revoked));
    assert_eq!(verdict(&world, &raw).0, Verdict::Bad, "after it was revoked");
}

/// Who puts another person's signing key under their own certificate can't claim that person's letters: the subkey
/// has to sign back.
#[test]
fn row_02_a_subkey_without_a_back_signature_is_nobodys() {
    let marie = secret("marie");
    let (cert, _) = CertBuilder::new().set_creation_time(born()).add_userid(PAUL).generate().expect("a key");
    let stolen = marie.primary_key().key().clone().parts_into_public().role_into_subordinate();
    let binding = SignatureBuilder::new(SignatureType::SubkeyBinding)
        .set_key_flags(KeyFlags::empty().set_signing())
        .and_then(|how| how.set_signature_creation_time(born()))
        .expect("room");
    let bound = stolen.bind(&mut pair(&cert), &cert, binding).expect("a binding");
    let (thief, _) = cert.clone().insert_packets([Packet::from(stolen), Packet::from(bound)]).expect("one certificate");
    let thief = pinned(&thief);
    let world = World::new().with_marie(thief);
    // Marie's certificate isn't pinned in this world: the thief's is, for her address.
    let raw = mail(&signed(&[&marie], genuine().as_bytes()));
    let examined = look(&world, raw.as_bytes());
    assert_eq!(World::trust(&examined), Trust::Nobody, "{:?}", examined.decision);
}

#[test]
fn row_07_no_plaintext_comes_before_its_integrity() {
    let world = World::new();
    let message = encrypted(&signed(&[&secret("marie")], genuine().as_bytes()));
    let pile = parsed(&message);
    let keys: Vec<u8> = bytes(&pile[..pile.len() - 1]);
    let Some(Packet::SEIP(openpgp::packet::SEIP::V1(seip))) = pile.last() else { panic!("SEIPDv1") };
    let openpgp::packet::Body::Unprocessed(body) = seip.body() else { panic!("a body") };
    let with = |tail: Vec<u8>| [keys.clone(), tail].concat();
    let v1 = |body: &[u8]| packet(18, &[&[1], body].concat());
    let mut flipped = body.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x20;
    for (what, message) in [
        ("no MDC", with(v1(&body[..body.len() - 22]))),
        ("half an MDC", with(v1(&body[..body.len() - 7]))),
        ("a byte in the middle", with(v1(&flipped))),
        ("tag 9", with(packet(9, body))),
        ("cut after the first block", with(v1(&body[..20]))),
        ("nothing", with(v1(&[]))),
        ("bytes behind", with([v1(body), literal(text(EVIL).as_bytes())].concat())),
    ] {
        let raw = head(MARIE, "x") + &pgp_mime(&message);
        let examined = look(&world, raw.as_bytes());
        assert!(examined.entity.is_none(), "{what}: plaintext: {:?}", examined.decision);
        assert!(matches!(examined.decision.action, Action::Hold { .. }), "{what}: {:?}", examined.decision);
        assert_ne!(examined.decision.verdict, Verdict::Verified, "{what}");
    }
}

#[test]
fn row_07_a_truncated_aead_stream_gives_nothing() {
    let mut world = World::new();
    // A key that advertises the newer packet, in the practice's place.
    let (cert, _) = CertBuilder::new()
        .set_creation_time(born())
        .set_features(openpgp::types::Features::empty().set_seipdv1().set_seipdv2())
        .expect("features")
        .add_userid("ecrire@cabinet.example")
        .add_transport_encryption_subkey()
        .generate()
        .expect("a key");
    let key = cadre::pgp::PracticeKey::load(&cert.as_tsk().to_vec().expect("memory"), None).expect("a practice's key");
    world.key = key;
    let words = "x".repeat(50_000);
    let packets = signed(&[&secret("marie")], text(&words).as_bytes());
    let message = crate::fuzz::forge::encrypted_to(&[cert], &packets);
    let pile = parsed(&message);
    let Some(Packet::SEIP(openpgp::packet::SEIP::V2(_))) = pile.last() else { panic!("SEIPDv2") };
    let keys = bytes(&pile[..pile.len() - 1]);
    let raw = |message: &[u8]| head(MARIE, "x") + &pgp_mime(message);
    assert_eq!(World::trust(&look(&world, raw(&message).as_bytes())), Trust::Client(1));
    let whole = pile.last().expect("a packet").to_vec().expect("memory");
    // New format, five-octet length or less: the body begins with the version.
    let start = whole.iter().position(|byte| *byte == 2).expect("version 2");
    let body = &whole[start..];
    for cut in [1, 15, 16, 17, 4_112, body.len() / 2, body.len() - 60] {
        let message = [keys.clone(), packet(18, &body[..body.len() - cut])].concat();
        let examined = look(&world, raw(&message).as_bytes());
        assert!(examined.entity.is_none(), "{cut}: {:?}", examined.decision);
    }
}

#[test]
fn row_08_bombs_of_packets_are_over_a_limit_or_nothing() {
    let world = World::new();
    let marie = secret("marie");
    let hers = parsed(&signed(&[&marie], genuine().as_bytes()));
    let one = |packet: &Packet| packet.to_vec().expect("memory");
    let marker = packet(10, b"PGP");
    let layers = (0..200).fold(literal(b"x"), |inner, _| compressed(CompressionAlgorithm::Zlib, &inner));
    let zeros = compressed(CompressionAlgorithm::Zip, &literal(&vec![0; 200 << 20]));
    for (what, packets) in [
        ("100,000 markers", [marker.repeat(100_000), literal(b"x")].concat()),
        ("100,000 announcements", one(&hers[0]).repeat(100_000)),
        ("10,000 signatures", [one(&hers[0]), one(&hers[1]), one(&hers[2]).repeat(10_000)].concat()),
        ("200 layers of zlib", layers),
        ("200 MiB of nothing", zeros),
    ] {
        if let Ok(examined) = world.examine(mail(&packets).as_bytes()) {
            assert_eq!(World::trust(&examined), Trust::Nobody, "{what}");
            assert!(examined.entity.is_none(), "{what}: {:?}", examined.decision);
        }
    }
}

/// A mail server can put clear words, or a clear signed mail, into a container that says `encrypted`.
#[test]
fn row_06_a_container_without_encryption_is_not_called_encrypted() {
    let world = World::new();
    let hers = head(MARIE, "x") + &pgp_mime(&signed(&[&secret("marie")], genuine().as_bytes()));
    let examined = look(&world, hers.as_bytes());
    assert!(!examined.encrypted, "{:?}", examined.decision);
    if World::trust(&examined) != Trust::Nobody {
        assert!(examined.decision.marks.contains(&Mark::InClear), "{:?}", examined.decision);
    }
    let nobodys = head(MARIE, "x") + &pgp_mime(&literal(genuine().as_bytes()));
    assert!(!look(&world, nobodys.as_bytes()).encrypted);
}
