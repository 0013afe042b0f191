//! What a certificate consists of, in words for a person.

use chrono::{DateTime, Utc};
use sequoia_openpgp as openpgp;

use openpgp::cert::prelude::*;
use openpgp::crypto::mpi::PublicKey;

use super::certificate::Certificate;
use super::rules::{Rules, chrono as to_chrono, system};

/// One key of a certificate: the primary key first, then the subkeys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// Upper-case hexadecimal digits.
    pub fingerprint: String,
    /// Such as `EdDSA Ed25519` or `RSA 3072`.
    pub algorithm: String,
    /// Of `certify`, `sign`, `encrypt`.
    pub uses: Vec<&'static str>,
    pub created: DateTime<Utc>,
    pub expires: Option<DateTime<Utc>>,
}

impl Certificate {
    /// The keys that are valid at `at`, expired ones included.
    pub fn keys_at(&self, at: DateTime<Utc>) -> Vec<KeyFacts> {
        let rules = Rules::at(at);
        let keys = self.cert().keys().with_policy(&rules, system(at));
        keys.map(|ka| KeyFacts {
            fingerprint: ka.key().fingerprint().to_hex(),
            algorithm: algorithm(ka.key()),
            uses: uses(&ka),
            created: to_chrono(ka.key().creation_time()),
            expires: ka.key_expiration_time().map(to_chrono),
        })
        .collect()
    }
}

fn algorithm<R: openpgp::packet::key::KeyRole>(
    key: &openpgp::packet::Key<openpgp::packet::key::PublicParts, R>,
) -> String {
    let name = key.pk_algo().to_string();
    let name = name.split(" (").next().unwrap_or(&name);
    match (key.mpis(), key.mpis().bits()) {
        (PublicKey::EdDSA { curve, .. } | PublicKey::ECDSA { curve, .. } | PublicKey::ECDH { curve, .. }, _) => {
            format!("{name} {curve}")
        }
        (PublicKey::RSA { .. }, Some(bits)) => format!("{name} {bits}"),
        _ => name.to_owned(),
    }
}

fn uses(ka: &ValidErasedKeyAmalgamation<'_, openpgp::packet::key::PublicParts>) -> Vec<&'static str> {
    let encrypts = ka.for_transport_encryption() || ka.for_storage_encryption();
    [("certify", ka.for_certification()), ("sign", ka.for_signing()), ("encrypt", encrypts)]
        .into_iter()
        .filter_map(|(word, does)| does.then_some(word))
        .collect()
}
