//! What is read from and said of certificates, and what is never sealed to.

use openpgp::cert::prelude::*;
use openpgp::parse::Parse;
use openpgp::types::KeyFlags;
use sequoia_openpgp as openpgp;

use super::super::*;
use super::support::*;

#[test]
fn a_secret_key_read_as_a_certificate_loses_its_secret() {
    let cert = Certificate::from_bytes(&secret_bytes("marie")).unwrap();
    assert!(!cert.cert().is_tsk());
    assert_eq!(cert.fingerprint(), "EB57BEF464530E2FEC3D9DE944B2BE94DF5EF908");
    assert_eq!(format!("{cert:?}"), "Certificate(EB57BEF464530E2FEC3D9DE944B2BE94DF5EF908)");
    assert_eq!(cert.user_ids_addresses(), ["marie@client.example"]);
    assert_eq!(super::support::cert("paul").user_ids_addresses(), ["paul@client.example"]);
}

#[test]
fn handles_name_every_key_in_both_ways() {
    let handles = cert("marie").handles();
    for handle in [
        "EB57BEF464530E2FEC3D9DE944B2BE94DF5EF908",
        "44B2BE94DF5EF908",
        "1D40399293AE3BD8E899CB6DD8D4789D595380F6",
        "D8D4789D595380F6",
    ] {
        assert!(handles.iter().any(|h| h == handle), "{handles:?}");
    }
}

#[test]
fn two_certificates_are_not_one() {
    let both = [cert("marie").to_bytes(), cert("paul").to_bytes()].concat();
    assert_eq!(Certificate::from_bytes(&both).unwrap_err(), CertError::NotOne);
    assert_eq!(cert("marie").merge(&cert("paul")).unwrap_err(), CertError::OtherFingerprint);
    assert_eq!(Certificate::from_bytes(cert("marie").to_armored().as_bytes()).unwrap(), cert("marie"));
}

#[test]
fn row_10_a_key_without_expiry_is_not_1970() {
    assert_eq!(cert("marie").expires_at(now()), None);
    let made = now() - hours(1);
    let mortal = Certificate::new(mortal(made, hours(30)));
    assert_eq!(mortal.expires_at(now()), Some(made + hours(30)));
    assert_eq!(mortal.usable_for(Purpose::Encrypt, now()), Ok(()));
    let late = now() + hours(40);
    assert_eq!(mortal.usable_for(Purpose::Encrypt, late), Err(CertProblem::Expired { at: made + hours(30) }));
    assert_eq!(mortal.usable_for(Purpose::Encrypt, made - hours(1)), Err(CertProblem::NotYetValid));
}

#[test]
fn a_key_from_a_clock_that_is_fast_is_taken_as_its_signatures_are() {
    let made = |ahead: i64| {
        let at = now() + chrono::TimeDelta::minutes(ahead);
        PracticeKey::load(&PracticeKey::generate("marie@client.example", None, at).unwrap().secret, None).unwrap()
    };
    let (fast, wrong) = (made(29), made(31));
    for purpose in [Purpose::Encrypt, Purpose::Sign] {
        assert_eq!(fast.certificate().usable_for(purpose, now()), Ok(()));
        assert_eq!(wrong.certificate().usable_for(purpose, now()), Err(CertProblem::NotYetValid));
    }
    let office = practice();
    let sealed = seal(b"words", &[fast.certificate()], &office, now()).unwrap();
    let opened = open(&sealed, &[&fast], &vec![office.certificate().clone()], now(), &Limits::default()).unwrap();
    assert_eq!(opened.plaintext.as_bytes(), b"words");
    good(&opened.signature);
    // Its own clock is the practice's: it signs nothing before it exists.
    assert!(matches!(sign_detached(b"words", &fast, now()), Err(SealError::Signer { .. })));
    assert!(offered(&[&fast.certificate().to_bytes()], &[], now()).is_ok());
}

fn built(build: impl FnOnce(CertBuilder<'static>) -> CertBuilder<'static>) -> Certificate {
    let builder = CertBuilder::new().set_creation_time(rules::system(now() - hours(5))).add_userid("a@b.example");
    Certificate::new(build(builder).generate().unwrap().0)
}

#[test]
fn row_09_sealing_fails_closed_and_says_why() {
    let practice = practice();
    let sign_only = built(|b| b.set_primary_key_flags(KeyFlags::empty().set_certification().set_signing()));
    let weak = built(|b| {
        b.set_cipher_suite(CipherSuite::RSA2k)
            .set_primary_key_flags(KeyFlags::empty().set_certification())
            .add_transport_encryption_subkey()
    });
    assert_eq!(weak.usable_for(Purpose::Encrypt, now()), Ok(()));
    assert_eq!(weak.usable_for(Purpose::Sign, now()), Err(CertProblem::NoSigningKey));
    let cases = [
        (sign_only, CertProblem::NoEncryptionKey),
        (Certificate::new(mortal(now() - hours(9), hours(2))), CertProblem::Expired { at: now() - hours(7) }),
    ];
    let marie = cert("marie");
    for (unusable, problem) in cases {
        let refused = seal(b"x", &[&marie, &unusable], &practice, now()).unwrap_err();
        assert_eq!(refused, SealError::Recipient { fingerprint: unusable.fingerprint(), problem });
        assert!(!refused.to_string().contains('@'));
    }
    assert_eq!(seal(b"x", &[], &practice, now()).unwrap_err(), SealError::NoRecipients);
}

#[test]
fn sha1_self_signatures_are_told_apart() {
    use openpgp::packet::signature::SignatureBuilder;
    use openpgp::types::{HashAlgorithm, SignatureType};
    let marie = raw("marie");
    let uid = marie.userids().next().unwrap().userid().clone();
    let mut signer = pair(&marie);
    let sig = SignatureBuilder::new(SignatureType::PositiveCertification)
        .set_hash_algo(HashAlgorithm::SHA1)
        .set_signature_creation_time(rules::system(now() - hours(1)))
        .unwrap()
        .set_key_flags(KeyFlags::empty().set_certification().set_signing())
        .unwrap()
        .sign_userid_binding(&mut signer, None, &uid)
        .unwrap();
    let packets: Vec<openpgp::Packet> = vec![marie.primary_key().key().clone().into(), uid.into(), sig.into()];
    let cert = Certificate::new(openpgp::Cert::from_packets(packets.into_iter()).unwrap());
    assert_eq!(cert.usable_for(Purpose::Sign, now()), Err(CertProblem::Sha1SelfSignature));
}

#[test]
fn a_certificate_grows_by_an_update_of_itself() {
    let made = now() - hours(100);
    let old = mortal(made, hours(30));
    let rules = rules::Rules::at(now());
    let uid = old.userids().next().unwrap();
    let template = uid.binding_signature(&rules, rules::system(made)).unwrap().clone();
    let extended = openpgp::packet::signature::SignatureBuilder::from(template)
        .set_signature_creation_time(rules::system(made + hours(1)))
        .unwrap()
        .set_key_validity_period(hours(5000).to_std().unwrap())
        .unwrap()
        .sign_userid_binding(&mut pair(&old), None, uid.userid())
        .unwrap();
    let newer = Certificate::new(old.clone().insert_packets(extended).unwrap().0);
    let merged = Certificate::new(old.clone()).merge(&newer).unwrap();
    assert_eq!(merged.usable_for(Purpose::Sign, now()), Ok(()), "{:?}", merged.expires_at(now()));
}

#[test]
fn the_autocrypt_form_is_small_and_encrypts() {
    let practice = practice();
    let bytes = practice.certificate().minimal_for_autocrypt("practice@cadre.example", now()).unwrap();
    assert!(bytes.len() < 1000, "{}", bytes.len());
    let small = Certificate::from_bytes(&bytes).unwrap();
    assert_eq!(small.usable_for(Purpose::Encrypt, now()), Ok(()));
    assert_eq!(small.usable_for(Purpose::Sign, now()), Ok(()));
}

#[test]
fn the_practice_key_is_plain_and_advertises_nothing_new() {
    use openpgp::cert::Preferences;
    use openpgp::types::PublicKeyAlgorithm;
    let practice = practice();
    let rules = rules::Rules::at(now());
    let valid = practice.certificate().cert().with_policy(&rules, rules::system(now())).unwrap();
    let features = valid.features().unwrap();
    assert!(features.supports_seipdv1() && !features.supports_seipdv2());
    assert_eq!(features, openpgp::types::Features::empty().set_seipdv1());
    assert_eq!(valid.primary_key().key().pk_algo(), PublicKeyAlgorithm::EdDSA);
    for ka in valid.keys() {
        assert_eq!(ka.key().version(), 4);
        assert!(matches!(ka.key().pk_algo(), PublicKeyAlgorithm::EdDSA | PublicKeyAlgorithm::ECDH));
        assert_eq!(ka.key_expiration_time(), None);
    }
    assert_eq!(practice.certificate().user_ids_addresses(), ["practice@cadre.example"]);
}

#[test]
fn a_locked_key_wants_its_passphrase() {
    let password = crate::secret::Password::new("archive words".into());
    let new = PracticeKey::generate("archive practice@cadre.example", Some(&password), now() - hours(1)).unwrap();
    assert_eq!(PracticeKey::load(&new.secret, None).unwrap_err(), KeyError::Locked);
    let wrong = crate::secret::Password::new("wrong".into());
    assert_eq!(PracticeKey::load(&new.secret, Some(&wrong)).unwrap_err(), KeyError::WrongPassphrase);
    let archive = PracticeKey::load(&new.secret, Some(&password)).unwrap();
    assert_eq!(PracticeKey::load(&new.certificate, None).unwrap_err(), KeyError::NoSecret);
    let sealed = seal(b"x", &[archive.certificate()], &key("marie"), now()).unwrap();
    assert_eq!(read(&sealed, &archive, &[cert("marie")]).unwrap().plaintext.as_bytes(), b"x");
    // The revocation made with it works.
    let mut revoked = Certificate::from_bytes(&new.certificate).unwrap().cert().clone();
    let packets = openpgp::PacketPile::from_bytes(&new.revocation).unwrap();
    revoked = revoked.insert_packets(packets.into_children()).unwrap().0;
    let revoked = Certificate::new(revoked);
    assert_eq!(revoked.usable_for(Purpose::Encrypt, now()), Err(CertProblem::Revoked));
}

#[test]
fn standard_rfc9580_seipdv2_only_where_all_advertise_it() {
    use openpgp::types::Features;
    let modern = built(|b| {
        b.set_features(Features::empty().set_seipdv1().set_seipdv2())
            .unwrap()
            .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
            .add_transport_encryption_subkey()
    });
    let marie = cert("marie");
    let version = |to: &[&Certificate]| {
        let sealed = seal(b"x", to, &key("paul"), now()).unwrap();
        let pile = openpgp::PacketPile::from_bytes(&sealed).unwrap();
        pile.into_children().find(|p| matches!(p, openpgp::Packet::SEIP(_))).unwrap().version()
    };
    assert_eq!(version(&[&modern]), Some(2));
    assert_eq!(version(&[&modern, &marie]), Some(1));
    assert_eq!(version(&[&marie]), Some(1));
}

#[test]
fn sealed_mail_of_similar_length_looks_alike() {
    let (practice, marie) = (practice(), key("marie"));
    let length = |n: usize| seal(vec![b'x'; n], &[practice.certificate()], &marie, now()).unwrap().len();
    assert_eq!(length(3), length(3000));
    assert_eq!(length(100_500), length(102_000));
}
