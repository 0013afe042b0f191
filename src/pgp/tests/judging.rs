//! Which signatures are good, and when.

use openpgp::types::HashAlgorithm;
use openpgp::types::HashAlgorithm::SHA256;
use sequoia_openpgp as openpgp;

use super::super::*;
use super::support::*;

#[test]
fn sealed_mail_opens_and_names_signer_time_and_recipient() {
    let (practice, marie) = (practice(), key("marie"));
    let sealed = seal(b"Bonjour", &[practice.certificate()], &marie, now()).unwrap();
    let opened = read(&sealed, &practice, &[cert("marie"), cert("paul")]).unwrap();
    assert_eq!(opened.plaintext.as_bytes(), b"Bonjour");
    assert!(opened.encrypted);
    let good = good(&opened.signature);
    assert_eq!(good.fingerprint, cert("marie").fingerprint());
    assert_eq!(good.signed_at, now());
    assert_eq!(good.intended, [practice.certificate().fingerprint()]);
    assert_eq!(good.expired_at, None);
    assert_eq!(good.digest.len(), 64);
}

#[test]
fn an_encrypted_unsigned_message_has_no_signature() {
    let practice = practice();
    let message = encrypt(practice.certificate(), &literal(b"x"));
    assert_eq!(read(&message, &practice, &[cert("marie")]).unwrap().signature, SignatureCheck::None);
}

#[test]
fn an_unknown_signer_is_neither_good_nor_bad() {
    let (practice, stranger) = (practice(), key("inconnue"));
    let sealed = seal(b"x", &[practice.certificate()], &stranger, now()).unwrap();
    match read(&sealed, &practice, &[cert("marie")]).unwrap().signature {
        SignatureCheck::Unknown { issuers } => assert!(issuers.contains(&stranger.certificate().fingerprint())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_expired_key_is_excused_for_72_hours_and_no_longer() {
    let practice = practice();
    let made = now() - hours(200);
    let mortal = mortal(made, hours(10));
    let certs = [Certificate::new(mortal.clone())];
    let signed_at = made + hours(9);
    let message = encrypt(practice.certificate(), &sign(&mortal, b"x", signed_at, SHA256));
    let seen =
        |after| open(&message, &[&practice], &certs.to_vec(), signed_at + hours(after), &Limits::default()).unwrap();
    assert_eq!(good(&seen(71).signature).expired_at, Some(made + hours(10)));
    assert_eq!(bad(&seen(73).signature), BadSignature::Expired);
    // Judged again later, what counts is when it was first seen.
    let when = When { first_seen: signed_at + hours(1), now: signed_at + hours(100) };
    let again = open(&message, &[&practice], &certs.to_vec(), when, &Limits::default()).unwrap();
    good(&again.signature);
}

#[test]
fn a_signature_after_the_key_expired_is_bad() {
    let practice = practice();
    let made = now() - hours(200);
    let mortal = mortal(made, hours(10));
    let message = encrypt(practice.certificate(), &sign(&mortal, b"x", made + hours(11), SHA256));
    let certs = vec![Certificate::new(mortal)];
    let opened = open(&message, &[&practice], &certs, made + hours(12), &Limits::default()).unwrap();
    assert_eq!(bad(&opened.signature), BadSignature::Expired);
}

#[test]
fn a_signature_from_the_future_is_bad_after_half_an_hour() {
    let practice = practice();
    let marie = raw("marie");
    let dated = |minutes| {
        let at = now() + chrono::TimeDelta::minutes(minutes);
        let message = encrypt(practice.certificate(), &sign(&marie, b"x", at, SHA256));
        read(&message, &practice, &[cert("marie")]).unwrap().signature
    };
    good(&dated(29));
    assert_eq!(bad(&dated(31)), BadSignature::FromFuture);
}

#[test]
fn a_key_revoked_after_it_signed_is_bad() {
    use openpgp::types::ReasonForRevocation::{KeyCompromised, KeyRetired};
    let practice = practice();
    let marie = raw("marie");
    let message = encrypt(practice.certificate(), &sign(&marie, b"x", now() - hours(2), SHA256));
    for reason in [KeyCompromised, KeyRetired] {
        let revocation = openpgp::cert::CertRevocationBuilder::new()
            .set_reason_for_revocation(reason, b"")
            .unwrap()
            .set_signature_creation_time(rules::system(now() - hours(1)))
            .unwrap()
            .build(&mut pair(&marie), &marie, None)
            .unwrap();
        let revoked = Certificate::new(marie.clone().insert_packets(revocation).unwrap().0);
        assert_eq!(
            bad(&read(&message, &practice, std::slice::from_ref(&revoked)).unwrap().signature),
            BadSignature::Revoked
        );
        let refused = seal(b"x", &[&revoked], &practice, now()).unwrap_err();
        assert_eq!(refused, SealError::Recipient { fingerprint: revoked.fingerprint(), problem: CertProblem::Revoked });
    }
}

#[test]
fn a_signing_subkey_of_a_certificate_retired_since_is_bad() {
    use std::io::Write;

    use openpgp::cert::prelude::*;
    use openpgp::serialize::stream::{LiteralWriter, Message, Signer};
    let practice = practice();
    let (cert, _) = CertBuilder::general_purpose(["a@client.example"])
        .set_creation_time(rules::system(now() - hours(9)))
        .generate()
        .unwrap();
    let policy = rules::Rules::at(now());
    let subkey = cert.keys().with_policy(&policy, rules::system(now())).for_signing().next().unwrap();
    assert_ne!(subkey.key().fingerprint(), cert.fingerprint());
    let pair_of_subkey = subkey.key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let mut sink = Vec::new();
    let signer = Signer::new(Message::new(&mut sink), pair_of_subkey).unwrap();
    let signer = signer.creation_time(rules::system(now() - hours(2))).build().unwrap();
    let mut literal = LiteralWriter::new(signer).build().unwrap();
    literal.write_all(b"x").unwrap();
    literal.finalize().unwrap();
    let message = encrypt(practice.certificate(), &sink);
    let known = Certificate::new(cert.clone());
    assert_eq!(good(&read(&message, &practice, &[known]).unwrap().signature).fingerprint, cert.fingerprint().to_hex());
    let revocation = CertRevocationBuilder::new()
        .set_reason_for_revocation(openpgp::types::ReasonForRevocation::KeyRetired, b"")
        .unwrap()
        .set_signature_creation_time(rules::system(now() - hours(1)))
        .unwrap()
        .build(&mut pair(&cert), &cert, None)
        .unwrap();
    let retired = Certificate::new(cert.insert_packets(revocation).unwrap().0);
    assert_eq!(bad(&read(&message, &practice, &[retired]).unwrap().signature), BadSignature::Revoked);
}

#[test]
fn standard_rfc9580_sha1_message_signatures_are_too_weak() {
    let practice = practice();
    let message = encrypt(practice.certificate(), &sign(&raw("marie"), b"x", now(), HashAlgorithm::SHA1));
    assert_eq!(bad(&read(&message, &practice, &[cert("marie")]).unwrap().signature), BadSignature::TooWeak);
}

#[test]
fn row_01_one_bad_signature_spoils_the_group() {
    use openpgp::parse::Parse;
    use openpgp::serialize::SerializeInto;
    let practice = practice();
    let pile =
        |data: &[u8], name: &str| openpgp::PacketPile::from_bytes(&sign(&raw(name), data, now(), SHA256)).unwrap();
    let packets = |pile: openpgp::PacketPile| pile.into_children().collect::<Vec<_>>();
    for (second, expected_bad) in [(&b"x"[..], false), (b"y", true)] {
        let (marie, paul) = (packets(pile(b"x", "marie")), packets(pile(second, "paul")));
        let openpgp::Packet::OnePassSig(outer) = paul[0].clone() else { panic!() };
        let openpgp::packet::OnePassSig::V3(mut outer) = outer else { panic!() };
        outer.set_last(false);
        let group = [outer.into(), marie[0].clone(), marie[1].clone(), marie[2].clone(), paul[2].clone()];
        let bytes: Vec<u8> = group.iter().flat_map(|packet| packet.to_vec().unwrap()).collect();
        let message = encrypt(practice.certificate(), &bytes);
        let check = read(&message, &practice, &[cert("marie"), cert("paul")]).unwrap().signature;
        if expected_bad {
            assert_eq!(bad(&check), BadSignature::DoesNotVerify);
        } else {
            assert_eq!(good(&check).also_by.len(), 1);
        }
        // With only Marie known, Paul's is neither good nor bad.
        let alone = read(&message, &practice, &[cert("marie")]).unwrap().signature;
        assert_eq!(good(&alone).fingerprint, cert("marie").fingerprint());
    }
}

#[test]
fn signatures_over_signatures_are_a_wrong_structure() {
    use std::io::Write;

    use openpgp::serialize::stream::{LiteralWriter, Message, Signer};
    let practice = practice();
    let mut sink = Vec::new();
    let outer = Signer::new(Message::new(&mut sink), pair(&raw("paul"))).unwrap();
    let outer = outer.creation_time(rules::system(now())).build().unwrap();
    let inner = Signer::new(outer, pair(&raw("marie"))).unwrap().creation_time(rules::system(now())).build().unwrap();
    let mut literal = LiteralWriter::new(inner).build().unwrap();
    literal.write_all(b"x").unwrap();
    literal.finalize().unwrap();
    let message = encrypt(practice.certificate(), &sink);
    let opened = read(&message, &practice, &[cert("marie"), cert("paul")]).unwrap();
    assert_eq!(bad(&opened.signature), BadSignature::Structure);
}

#[test]
fn a_signature_around_the_encryption_is_a_wrong_structure() {
    use openpgp::parse::Parse;
    use openpgp::serialize::SerializeInto;
    let practice = practice();
    let inner = encrypt(practice.certificate(), &literal(b"x"));
    let signed = openpgp::PacketPile::from_bytes(&sign(&raw("marie"), &inner, now(), SHA256)).unwrap();
    let packets: Vec<_> = signed.into_children().collect();
    let bytes = [packets[0].to_vec().unwrap(), inner, packets[2].to_vec().unwrap()].concat();
    match read(&bytes, &practice, &[cert("marie")]) {
        Ok(opened) => assert_eq!(bad(&opened.signature), BadSignature::Structure),
        Err(error) => assert!(matches!(error, OpenError::Malformed | OpenError::Integrity), "{error:?}"),
    }
}

#[test]
fn detached_signatures_are_judged_by_the_same_rules() {
    let marie = key("marie");
    let signature = sign_detached(b"a\r\nb\r\n", &marie, now()).unwrap();
    let judged = |data: &[u8], certs: &[Certificate]| {
        verify_detached(data, &signature, &certs.to_vec(), now(), &Limits::default())
    };
    assert_eq!(good(&judged(b"a\r\nb\r\n", &[cert("marie")])).fingerprint, cert("marie").fingerprint());
    assert_eq!(bad(&judged(b"a\r\nc\r\n", &[cert("marie")])), BadSignature::DoesNotVerify);
    assert!(matches!(judged(b"a\r\nb\r\n", &[cert("paul")]), SignatureCheck::Unknown { .. }));
    let junk = verify_detached(b"a", b"junk", &vec![cert("marie")], now(), &Limits::default());
    assert_eq!(bad(&junk), BadSignature::Malformed);
}

#[test]
fn only_the_signed_text_of_a_cleartext_block_is_returned() {
    use std::io::Write;

    use openpgp::serialize::stream::{Message, Signer};
    let mut sink = Vec::new();
    let signer = Signer::new(Message::new(&mut sink), pair(&raw("marie"))).unwrap();
    let mut signer = signer.creation_time(rules::system(now())).cleartext().build().unwrap();
    signer.write_all(b"- signed\n").unwrap();
    signer.finalize().unwrap();
    let certs = vec![cert("marie")];
    let opened = verify_cleartext(&sink, &certs, now(), &Limits::default()).unwrap();
    assert_eq!(opened.plaintext.as_bytes().trim_ascii_end(), b"- signed");
    good(&opened.signature);
    let around = [b"before\n\n".as_slice(), &sink, b"\nafter\n"].concat();
    let opened = verify_cleartext(&around, &certs, now(), &Limits::default()).unwrap();
    assert_eq!(opened.plaintext.as_bytes().trim_ascii_end(), b"- signed");
    good(&opened.signature);
    let changed = String::from_utf8(sink).unwrap().replace("- signed", "- forged");
    let opened = verify_cleartext(changed.as_bytes(), &certs, now(), &Limits::default()).unwrap();
    assert_eq!(bad(&opened.signature), BadSignature::DoesNotVerify);
}
