//! What an attacker who holds the mail can try.

use std::io::Write;

use openpgp::parse::Parse;
use openpgp::serialize::SerializeInto;
use openpgp::serialize::stream::{Compressor, Encryptor, Message, Recipient};
use openpgp::types::{CompressionAlgorithm, HashAlgorithm::SHA256};
use openpgp::{Packet, PacketPile};
use sequoia_openpgp as openpgp;

use super::super::*;
use super::support::*;

fn binary(armored: &[u8]) -> Vec<u8> {
    let mut reader = openpgp::armor::Reader::from_bytes(armored, openpgp::armor::ReaderMode::VeryTolerant);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    bytes
}

fn compressed(inner: &[u8]) -> Vec<u8> {
    let mut sink = Vec::new();
    let mut message = Compressor::new(Message::new(&mut sink)).algo(CompressionAlgorithm::Zip).build().unwrap();
    message.write_all(inner).unwrap();
    message.finalize().unwrap();
    sink
}

#[test]
fn a_flipped_byte_is_never_good_and_never_other_words() {
    let (practice, marie) = (practice(), key("marie"));
    let sealed = binary(&seal(b"Bonjour", &[practice.certificate()], &marie, now()).unwrap());
    let certs = [cert("marie")];
    let mut broken = 0;
    for position in (0..sealed.len()).filter(|p| *p < 250 || p % 37 == 0 || *p > sealed.len() - 60) {
        let mut changed = sealed.clone();
        changed[position] ^= 0x41;
        match read(&changed, &practice, &certs) {
            Err(_) => broken += 1,
            // Key ids and packet headers are not protected; what comes out still is.
            Ok(opened) => {
                assert_eq!(opened.plaintext.as_bytes(), b"Bonjour", "at {position}");
                assert!(position < 100, "at {position}");
            }
        }
    }
    assert!(broken > 300, "{broken}");
}

#[test]
fn a_flipped_byte_in_signed_data_is_bad() {
    let practice = practice();
    let signed = sign(&raw("marie"), b"Bonjour, voici ma lettre", now(), SHA256);
    for position in 0..signed.len() {
        for bit in [0x01, 0x80] {
            let mut changed = signed.clone();
            changed[position] ^= bit;
            if let Ok(opened) = read(&encrypt(practice.certificate(), &changed), &practice, &[cert("marie")])
                && let SignatureCheck::Good(_) = opened.signature
            {
                // The literal's name and date and the signature's unhashed area are not signed.
                assert_eq!(opened.plaintext.as_bytes(), b"Bonjour, voici ma lettre", "at {position}");
            }
        }
    }
}

#[test]
fn row_07_a_truncated_message_gives_nothing() {
    let (practice, marie) = (practice(), key("marie"));
    let sealed = binary(&seal([b'x'; 30_000], &[practice.certificate()], &marie, now()).unwrap());
    for cut in [1, 2, 20, 21, 22, 23, 40, 1000, 20_000] {
        let result = read(&sealed[..sealed.len() - cut], &practice, &[cert("marie")]);
        assert!(matches!(result, Err(OpenError::Integrity)), "{cut}: {result:?}");
    }
}

/// Re-encrypts what a message holds without its MDC, under the session key that an attacker can't
/// know but whose stream he can cut (EFAIL).
#[test]
fn row_07_a_message_without_its_mdc_gives_nothing() {
    let practice = practice();
    let message = encrypt(practice.certificate(), &literal(b"secret words"));
    let pile = PacketPile::from_bytes(&message).unwrap();
    let packets: Vec<Packet> = pile.into_children().collect();
    let Packet::SEIP(openpgp::packet::SEIP::V1(seip)) = &packets[1] else { panic!() };
    let body = match seip.body() {
        openpgp::packet::Body::Unprocessed(bytes) => bytes.clone(),
        _ => panic!(),
    };
    // Cut by the 22 bytes of the MDC packet, integrity claimed.
    let mut cut = packets[0].to_vec().unwrap();
    cut.extend(frame(18, &[&[1][..], &body[..body.len() - 22]].concat()));
    assert_eq!(read(&cut, &practice, &[]).unwrap_err(), OpenError::Integrity);
    // Downgraded to tag 9, which has none.
    let mut downgraded = packets[0].to_vec().unwrap();
    downgraded.extend(frame(9, &body));
    assert_eq!(read(&downgraded, &practice, &[]).unwrap_err(), OpenError::Integrity);
    // GnuPG's OCB packet.
    let mut ocb = packets[0].to_vec().unwrap();
    ocb.extend(frame(20, &[&[1, 9, 2, 16][..], &body].concat()));
    assert!(matches!(read(&ocb, &practice, &[]).unwrap_err(), OpenError::UnsupportedAlgorithm(_)));
}

/// A packet in new format with a five-octet length.
fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xc0 | tag, 0xff];
    packet.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    packet.extend(body);
    packet
}

#[test]
fn row_28_an_added_unhashed_subpacket_leaves_the_digest() {
    use openpgp::packet::signature::subpacket::{Subpacket, SubpacketValue};
    let practice = practice();
    let signed = sign(&raw("marie"), b"once", now(), SHA256);
    let mut packets: Vec<Packet> = PacketPile::from_bytes(&signed).unwrap().into_children().collect();
    let Packet::Signature(sig) = &mut packets[2] else { panic!() };
    let value = SubpacketValue::SignersUserID(b"somebody else".to_vec());
    sig.unhashed_area_mut().add(Subpacket::new(value, false).unwrap()).unwrap();
    let altered: Vec<u8> = packets.iter().flat_map(|packet| packet.to_vec().unwrap()).collect();
    assert_ne!(altered, signed);
    let digest = |inner: &[u8]| {
        let opened = read(&encrypt(practice.certificate(), inner), &practice, &[cert("marie")]).unwrap();
        good(&opened.signature).digest.clone()
    };
    assert_eq!(digest(&signed), digest(&altered));
    assert_ne!(digest(&signed), digest(&sign(&raw("marie"), b"twice", now(), SHA256)));
}

#[test]
fn row_27_a_forwarded_letter_still_names_whom_it_was_meant_for() {
    let (practice, paul, marie) = (practice(), key("paul"), key("marie"));
    let to_paul = seal(b"to Paul", &[paul.certificate()], &marie, now()).unwrap();
    // Paul opens it and passes the signed inside on to the practice.
    let inner = reopen_inside(&to_paul, "paul");
    let opened = read(&encrypt(practice.certificate(), &inner), &practice, &[cert("marie")]).unwrap();
    let good = good(&opened.signature);
    assert_eq!(good.fingerprint, cert("marie").fingerprint());
    assert_eq!(good.intended, [paul.certificate().fingerprint()]);
}

/// The packets inside an encrypted message, decrypted with the persona's key.
fn reopen_inside(message: &[u8], name: &str) -> Vec<u8> {
    use openpgp::parse::{PacketParserBuilder, PacketParserResult};
    let secret = raw(name);
    let subkey = secret.keys().subkeys().next().unwrap().key().clone().parts_into_secret().unwrap();
    let mut pair = subkey.role_into_unspecified().into_keypair().unwrap();
    let mut ppr = PacketParserBuilder::from_bytes(message).unwrap().build().unwrap();
    let mut session = None;
    let mut inner = Vec::new();
    while let PacketParserResult::Some(mut pp) = ppr {
        if let Packet::PKESK(pkesk) = &pp.packet {
            session = session.or(pkesk.decrypt(&mut pair, None));
        }
        if let Packet::SEIP(_) = &pp.packet {
            let (algo, key) = session.as_ref().unwrap();
            pp.decrypt(*algo, key).unwrap();
        }
        if let Packet::Literal(_) = &pp.packet {
            pp.buffer_unread_content().unwrap();
        }
        let (packet, next) = pp.recurse().unwrap();
        if matches!(packet, Packet::OnePassSig(_) | Packet::Literal(_) | Packet::Signature(_)) {
            inner.extend(packet.to_vec().unwrap());
        }
        ppr = next;
    }
    inner
}

#[test]
fn row_24_hidden_recipients_are_tried() {
    let practice = practice();
    let rules = rules::Rules::at(now());
    let paul = cert("paul");
    let recipients: Vec<Recipient> = [&paul, practice.certificate()]
        .iter()
        .flat_map(|cert| certificate::usable_keys(cert.cert(), &rules, Purpose::Encrypt, now()).unwrap().into_iter())
        .map(|ka| Recipient::from(ka).set_key_handle(None::<openpgp::KeyHandle>).unwrap())
        .collect::<Vec<_>>();
    let mut sink = Vec::new();
    let mut message = Encryptor::for_recipients(Message::new(&mut sink), recipients).build().unwrap();
    message.write_all(&literal(b"hidden")).unwrap();
    message.finalize().unwrap();
    assert_eq!(read(&sink, &practice, &[]).unwrap().plaintext.as_bytes(), b"hidden");
    assert_eq!(read(&sink, &key("mallory"), &[]).unwrap_err(), OpenError::NotForUs);
}

#[test]
fn a_message_to_somebody_else_is_not_for_us() {
    let practice = practice();
    let sealed = seal(b"x", &[&cert("paul")], &key("marie"), now()).unwrap();
    assert_eq!(read(&sealed, &practice, &[cert("marie")]).unwrap_err(), OpenError::NotForUs);
}

#[test]
fn an_old_practice_key_still_opens() {
    let (old, new) = (practice(), practice());
    let sealed = seal(b"x", &[old.certificate()], &key("marie"), now()).unwrap();
    let opened = open(&sealed, &[&new, &old], &vec![cert("marie")], now(), &Limits::default()).unwrap();
    assert_eq!(opened.opened_with, Some(old.certificate().fingerprint()));
}

#[test]
fn row_08_bombs_are_refused_within_the_limit() {
    let practice = practice();
    let limits = Limits { plaintext: 1 << 20, packets: 100 };
    let try_open = |inner: &[u8]| {
        open(&encrypt(practice.certificate(), inner), &[&practice], &Vec::<Certificate>::new(), now(), &limits)
    };
    let bomb = compressed(&literal(&vec![0; 30 << 20]));
    assert!(bomb.len() < 100_000);
    assert_eq!(try_open(&bomb).unwrap_err(), OpenError::TooLarge);
    assert_eq!(try_open(&compressed(&compressed(&literal(b"x")))).unwrap_err(), OpenError::Malformed);
    let marker = frame(10, b"PGP");
    let many = [marker.repeat(100_000), literal(b"x")].concat();
    assert_eq!(try_open(&compressed(&many)).unwrap_err(), OpenError::TooLarge);
    // Signatures after the words count too.
    let signed: Vec<Packet> =
        PacketPile::from_bytes(&sign(&raw("marie"), b"x", now(), SHA256)).unwrap().into_children().collect();
    let tail = signed[2].to_vec().unwrap().repeat(10_000);
    let many = [signed[0].to_vec().unwrap().repeat(10_000), literal(b"x"), tail].concat();
    assert!(try_open(&compressed(&many)).is_err());
    // One byte under the limit is taken, though it has to be tried twice.
    let full = compressed(&literal(&vec![7; limits.plaintext - 1]));
    assert_eq!(try_open(&full).unwrap().plaintext.len(), limits.plaintext - 1);
}

#[test]
fn recipients_beyond_the_limit_are_refused_before_they_are_tried() {
    let practice = practice();
    let message = encrypt(practice.certificate(), &literal(b"x"));
    let packets: Vec<Packet> = PacketPile::from_bytes(&message).unwrap().into_children().collect();
    let flood = [packets[0].to_vec().unwrap().repeat(100_000), packets[1].to_vec().unwrap()].concat();
    assert_eq!(read(&flood, &practice, &[]).unwrap_err(), OpenError::TooLarge);
}

#[test]
fn junk_never_panics() {
    let practice = practice();
    for junk in [&b""[..], b"x", b"-----BEGIN PGP MESSAGE-----\n\n", &[0xff; 100], &[0xc1; 3], &frame(18, &[1; 40])] {
        assert!(read(junk, &practice, &[]).is_err(), "{junk:?}");
        assert!(verify_cleartext(junk, &Vec::<Certificate>::new(), now(), &Limits::default()).is_err());
        assert!(Certificate::from_bytes(junk).is_err());
        assert!(PracticeKey::load(junk, None).is_err());
    }
}
