//! The file of the practice's keys, revocations, and what a merge lets in.

use super::support::{cert, now};
use crate::pgp::ring::{Revoke, revoke, rotate};
use crate::pgp::{Certificate, KeyError, PracticeKey, Purpose, SentKeys};
use crate::secret::Password;

#[test]
fn a_ring_grows_at_its_front_and_keeps_its_passphrase() {
    let password = Password::new("correct horse".to_owned());
    let first = PracticeKey::generate("ecrire@cabinet.example", Some(&password), now()).unwrap();
    let second = rotate(&first.secret, Some(&password), "ecrire@cabinet.example", now()).unwrap();
    let third = rotate(&second.file, Some(&password), "ecrire@cabinet.example", now()).unwrap();
    assert_eq!(PracticeKey::load_ring(&third.file, None).unwrap_err(), KeyError::Locked);
    let (current, retired) = PracticeKey::load_ring(&third.file, Some(&password)).unwrap();
    assert_eq!(current.certificate().fingerprint(), third.certificate.fingerprint());
    let before: Vec<String> = retired.iter().map(|key| key.certificate().fingerprint()).collect();
    let first = Certificate::from_bytes(&first.certificate).unwrap();
    assert_eq!(before, [second.certificate.fingerprint(), first.fingerprint()]);
    // A ring is no single key, and a certificate no ring.
    assert!(PracticeKey::load(&third.file, Some(&password)).is_err());
    assert!(rotate(&first.to_bytes(), None, "ecrire@cabinet.example", now()).is_err());
}

#[test]
fn a_revoked_key_seals_nothing_more_and_its_successor_has_no_word_of_it() {
    let first = PracticeKey::generate("ecrire@cabinet.example", None, now()).unwrap();
    let (ring, revoked) = revoke(&first.secret, None, &Revoke::With(&first.revocation), now()).unwrap();
    assert!(revoked.revocation().is_some() && revoked.usable_for(Purpose::Sign, now()).is_err());
    let (key, _) = PracticeKey::load_ring(&ring, None).unwrap();
    assert!(key.certificate_before_revocation().usable_for(Purpose::Sign, now()).is_ok());
    let other = PracticeKey::generate("ecrire@cabinet.example", None, now()).unwrap();
    let wrong = revoke(&first.secret, None, &Revoke::With(&other.revocation), now());
    assert_eq!(wrong.map(|_| ()).unwrap_err(), KeyError::NoRevocation);
    let next = rotate(&ring, None, "ecrire@cabinet.example", now()).unwrap();
    let certified = rotate(&first.secret, None, "ecrire@cabinet.example", now()).unwrap();
    assert!(next.certificate.to_bytes().len() < certified.certificate.to_bytes().len());
}

#[test]
fn only_the_key_itself_revokes() {
    let made = PracticeKey::generate("marie@client.example", None, now()).unwrap();
    let pinned = Certificate::from_bytes(&made.certificate).unwrap();
    for (stolen, hard) in [(true, true), (false, false)] {
        let (_, revoked) = revoke(&made.secret, None, &Revoke::Now { stolen }, now()).unwrap();
        assert_eq!(revoked.revocation().map(|r| r.hard), Some(hard));
    }
    // Alone, beside another's certificate, or in the certificate itself.
    let sent = SentKeys::read(&made.revocation);
    assert!(sent.certificates().is_empty() && !sent.revoked_handles().is_empty());
    let revoked = sent.revoke(&pinned, &[], now()).unwrap();
    assert!(sent.revoke(&revoked, &[], now()).is_none(), "nothing new");
    assert!(SentKeys::read(&revoked.to_bytes()).revoke(&pinned, &[], now()).is_some());
    let marie = cert("marie");
    assert!(
        sent.revoke(&marie, &[], now()).is_none()
            && sent.revoke(&pinned, std::slice::from_ref(&marie), now()).is_some()
    );
    assert!(marie.merge(&pinned).is_err());
    assert_eq!(pinned.merge(&pinned).unwrap(), pinned);
}
