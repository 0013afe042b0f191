//! Web Key Directory (draft-koch-openpgp-webkey-service): where a certificate lies for an address, and what lies there.

use sequoia_openpgp as openpgp;

use data_encoding::{Encoding, Specification};
use openpgp::types::HashAlgorithm;

use super::certificate::Certificate;

/// The name of the file for the part before the `@`: z-base-32 of the SHA-1 of it in lower case (ASCII only). None
/// where the library can't hash.
pub fn hashed_name(local_part: &str) -> Option<String> {
    let mut hash = HashAlgorithm::SHA1.context().ok()?.for_digest();
    hash.update(local_part.to_ascii_lowercase().as_bytes());
    let digest = hash.into_digest().ok()?;
    Some(z_base_32()?.encode(&digest))
}

fn z_base_32() -> Option<Encoding> {
    let mut specification = Specification::new();
    specification.symbols.push_str("ybndrfg8ejkmcpqxot1uwisza345h769");
    specification.encoding().ok()
}

/// What lies there: the certificate, then older ones that are revoked, so that whoever still has one learns of it. Each
/// with the identities of this address only.
pub fn entry(address: &str, certificate: &Certificate, revoked: &[&Certificate]) -> Vec<u8> {
    let all = std::iter::once(certificate).chain(revoked.iter().copied());
    all.flat_map(|certificate| certificate.with_address_only(address).to_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_the_draft() {
        // Section 3.1: Joe.Doe@Example.ORG.
        assert_eq!(hashed_name("Joe.Doe").as_deref(), Some("iy9q119eutrkn8s1mk4r39qejnbu3n5q"));
        assert_eq!(hashed_name("joe.doe"), hashed_name("JOE.DOE"));
    }
}
