//! Keys that are sent to be enrolled with.

use openpgp::cert::prelude::*;
use openpgp::types::KeyFlags;
use sequoia_openpgp as openpgp;

use super::super::*;
use super::support::*;

fn built(build: impl FnOnce(CertBuilder<'static>) -> CertBuilder<'static>) -> Vec<u8> {
    let builder = CertBuilder::new().set_creation_time(rules::system(now() - hours(50))).add_userid("a@b.example");
    Certificate::new(build(builder).generate().unwrap().0).to_bytes()
}

fn taken(sent: &[&[u8]]) -> Result<String, OfferProblem> {
    offered(sent, &[], now()).map(|certificate| certificate.fingerprint())
}

#[test]
fn the_one_usable_key_is_taken_however_often_it_comes() {
    let (marie, paul) = (cert("marie"), cert("paul"));
    let armored = marie.to_armored();
    assert_eq!(taken(&[armored.as_bytes(), &marie.to_bytes()]), Ok(marie.fingerprint()));
    // A ring of one key and rubbish beside it.
    assert_eq!(taken(&[&marie.to_bytes(), b"rubbish"]), Ok(marie.fingerprint()));
    let ring = [marie.to_bytes(), paul.to_bytes()].concat();
    assert_eq!(taken(&[&ring]), Err(OfferProblem::SeveralKeys));
    assert_eq!(taken(&[&marie.to_bytes(), &paul.to_bytes()]), Err(OfferProblem::SeveralKeys));
    // What came from here and comes back is no key of theirs.
    let ours = [paul.fingerprint()];
    assert_eq!(offered(&[&ring], &ours, now()).unwrap().fingerprint(), marie.fingerprint());
    assert_eq!(offered(&[&paul.to_bytes()], &ours, now()).unwrap_err(), OfferProblem::NoKey);
    // A secret key loses its secret.
    let sent = secret_bytes("marie");
    assert!(!offered(&[&sent], &[], now()).unwrap().cert().is_tsk());
}

#[test]
fn each_key_that_can_not_serve_says_why() {
    let marie = cert("marie").to_bytes();
    let expired = built(|b| {
        b.set_validity_period(std::time::Duration::from_secs(3600))
            .add_signing_subkey()
            .add_transport_encryption_subkey()
    });
    let cases: [(Vec<u8>, OfferProblem); 4] = [
        (expired, OfferProblem::Expired),
        (built(|b| b.add_signing_subkey()), OfferProblem::NoEncryption),
        (
            built(|b| b.set_primary_key_flags(KeyFlags::empty().set_certification()).add_transport_encryption_subkey()),
            OfferProblem::NoSigning,
        ),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxx\n".to_vec(), OfferProblem::Unreadable),
    ];
    for (bytes, problem) in cases {
        assert_eq!(taken(&[&bytes]), Err(problem));
        // Beside a good one it does no harm: somebody sends the old and the new.
        assert!(taken(&[&bytes, &marie]).is_ok(), "{problem:?}");
    }
    assert_eq!(taken(&[]), Err(OfferProblem::NoKey));
}
