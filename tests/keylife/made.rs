//! Revocations and renewed certificates as their owners' programs make them. Each test binary uses a part of it.
#![allow(dead_code, reason = "each test binary uses a part")]

use anyhow::{Context as _, Result};
use base64::Engine as _;
use chrono::{DateTime, Utc};
use sequoia_openpgp as openpgp;

use cadre::pgp::{Certificate, ring};
use openpgp::parse::Parse as _;
use openpgp::serialize::Serialize as _;
use openpgp::types::SignatureType;

use crate::common::Person;

/// The certificate of somebody who revokes it: because it was stolen, or because it was only replaced.
pub fn revoked(person: &Person, stolen: bool, at: DateTime<Utc>) -> Result<Certificate> {
    let (_, certificate) = ring::revoke(&person.secret_key()?, None, &ring::Revoke::Now { stolen }, at)?;
    Ok(certificate)
}

/// The revocation alone, armored, as GnuPG's `--gen-revoke` gives it.
pub fn alone(certificate: &Certificate) -> Result<Vec<u8>> {
    armored(&bare(certificate)?)
}

/// The revocation alone, binary.
pub fn bare(certificate: &Certificate) -> Result<Vec<u8>> {
    let cert = openpgp::Cert::from_bytes(&certificate.to_bytes())?;
    let is_revocation = |packet: &openpgp::Packet| matches!(packet, openpgp::Packet::Signature(sig) if sig.typ() == SignatureType::KeyRevocation);
    let packet = cert.into_packets().find(is_revocation).context("no revocation")?;
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes)?;
    Ok(bytes)
}

pub fn armored(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut writer = openpgp::armor::Writer::new(Vec::new(), openpgp::armor::Kind::PublicKey)?;
    std::io::Write::write_all(&mut writer, bytes)?;
    Ok(writer.finalize()?)
}

/// An Autocrypt header about `address`.
pub fn autocrypt(address: &str, key: &[u8]) -> (String, String) {
    let data = base64::engine::general_purpose::STANDARD.encode(key);
    let folded: Vec<String> = data.as_bytes().chunks(72).map(|c| String::from_utf8_lossy(c).into_owned()).collect();
    let value = format!("addr={address}; prefer-encrypt=mutual; keydata=\r\n {}", folded.join("\r\n "));
    ("Autocrypt".to_owned(), value)
}

/// The certificate in an Autocrypt header of this mail.
pub fn announced(raw: &[u8]) -> Result<Certificate> {
    let text = String::from_utf8_lossy(raw).replace("\r\n ", "").replace("\r\n\t", "");
    let line = text.lines().find(|line| line.starts_with("Autocrypt:")).context("no Autocrypt header")?;
    let data = line.split("keydata=").nth(1).context("no keydata")?.replace(' ', "");
    let bytes = base64::engine::general_purpose::STANDARD.decode(data.trim())?;
    Ok(Certificate::from_bytes(&bytes)?)
}
