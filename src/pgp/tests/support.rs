//! The personas, and messages in shapes that the module itself never makes.

use std::io::Write;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use sequoia_openpgp as openpgp;

use openpgp::cert::prelude::*;
use openpgp::parse::Parse;
use openpgp::serialize::stream::{Encryptor, LiteralWriter, Message, Recipient, Signer};
use openpgp::types::HashAlgorithm;

use super::super::*;

pub fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 2, 8, 30, 0).unwrap()
}

pub fn hours(n: i64) -> TimeDelta {
    TimeDelta::hours(n)
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/keys").join(name)
}

pub fn secret_bytes(name: &str) -> Vec<u8> {
    std::fs::read(file(&format!("{name}.key.asc"))).unwrap()
}

pub fn key(name: &str) -> PracticeKey {
    PracticeKey::load(&secret_bytes(name), None).unwrap()
}

pub fn cert(name: &str) -> Certificate {
    Certificate::from_bytes(&std::fs::read(file(&format!("{name}.cert.asc"))).unwrap()).unwrap()
}

/// A fresh practice.
pub fn practice() -> PracticeKey {
    let new = PracticeKey::generate("practice@cadre.example", None, now() - hours(48)).unwrap();
    PracticeKey::load(&new.secret, None).unwrap()
}

pub fn read(message: &[u8], key: &PracticeKey, certs: &[Certificate]) -> Result<Opened, OpenError> {
    open(message, &[key], &certs.to_vec(), now(), &Limits::default())
}

pub fn good(check: &SignatureCheck) -> &GoodSignature {
    match check {
        SignatureCheck::Good(good) => good,
        other => panic!("not good: {other:?}"),
    }
}

pub fn bad(check: &SignatureCheck) -> BadSignature {
    match check {
        SignatureCheck::Bad { reason } => *reason,
        other => panic!("not bad: {other:?}"),
    }
}

/// A secret key as the library has it, for making what the module refuses to make.
pub fn raw(name: &str) -> openpgp::Cert {
    openpgp::Cert::from_bytes(&secret_bytes(name)).unwrap()
}

pub fn pair(cert: &openpgp::Cert) -> openpgp::crypto::KeyPair {
    cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap()
}

/// Encrypts whatever packets `inner` writes, with SEIPDv1 (or v2).
pub fn encrypt(to: &Certificate, inner: &[u8]) -> Vec<u8> {
    let rules = rules::Rules::at(now());
    let mut sink = Vec::new();
    let recipients: Vec<Recipient> = certificate::usable_keys(to.cert(), &rules, Purpose::Encrypt, now())
        .unwrap()
        .into_iter()
        .map(Into::into)
        .collect();
    let mut message = Encryptor::for_recipients(Message::new(&mut sink), recipients).build().unwrap();
    message.write_all(inner).unwrap();
    message.finalize().unwrap();
    sink
}

/// A one-pass signed message, without encryption.
pub fn sign(signer: &openpgp::Cert, data: &[u8], at: DateTime<Utc>, hash: HashAlgorithm) -> Vec<u8> {
    let mut sink = Vec::new();
    let signer = Signer::new(Message::new(&mut sink), pair(signer)).unwrap();
    let signer = signer.hash_algo(hash).unwrap().creation_time(rules::system(at)).build().unwrap();
    let mut literal = LiteralWriter::new(signer).build().unwrap();
    literal.write_all(data).unwrap();
    literal.finalize().unwrap();
    sink
}

/// A literal packet.
pub fn literal(data: &[u8]) -> Vec<u8> {
    let mut sink = Vec::new();
    let mut literal = LiteralWriter::new(Message::new(&mut sink)).build().unwrap();
    literal.write_all(data).unwrap();
    literal.finalize().unwrap();
    sink
}

/// A key made at `made` that lives for `life`, with its certificate.
pub fn mortal(made: DateTime<Utc>, life: TimeDelta) -> openpgp::Cert {
    let (cert, _) = CertBuilder::general_purpose(["mortal@client.example"])
        .set_primary_key_flags(openpgp::types::KeyFlags::empty().set_certification().set_signing())
        .set_creation_time(rules::system(made))
        .set_validity_period(life.to_std().unwrap())
        .generate()
        .unwrap();
    cert
}
