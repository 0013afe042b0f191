//! The forger's tool box: OpenPGP messages and mails in every shape, right and wrong ones.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sequoia_openpgp as openpgp;

use openpgp::Cert;
use openpgp::armor;
use openpgp::crypto::KeyPair;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::parse::Parse as _;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::stream::{Compressor, Encryptor, LiteralWriter, Message, Recipient, Signer};
use openpgp::types::{CompressionAlgorithm, HashAlgorithm, SignatureType};

use super::world::{OFFICE, key_file, now};

/// A person's secret key, to forge with.
pub fn secret(name: &str) -> Cert {
    Cert::from_bytes(&key_file(&format!("{name}.key.asc"))).expect("a key of ours")
}

/// The practice's own certificate, to which everybody encrypts.
pub fn office() -> Cert {
    Cert::from_bytes(&key_file("second.cert.asc")).expect("a certificate of ours")
}

/// The primary key's pair.
pub fn pair(cert: &Cert) -> KeyPair {
    let key = cert.primary_key().key().clone().parts_into_secret().expect("a secret key");
    key.into_keypair().expect("a key without passphrase")
}

/// What a signature says of itself.
pub fn template(kind: SignatureType) -> SignatureBuilder {
    SignatureBuilder::new(kind).set_hash_algo(HashAlgorithm::SHA512).set_signature_creation_time(now()).expect("a time")
}

fn signer<'a>(sink: Message<'a>, with: &[(&Cert, SignatureBuilder)]) -> Signer<'a> {
    let mut with = with.iter();
    let (first, how) = with.next().expect("a signer");
    let mut signer = Signer::with_template(sink, pair(first), how.clone()).expect("a signer");
    signer =
        signer.hash_algo(HashAlgorithm::SHA512).expect("SHA-512").creation_time(std::time::SystemTime::from(now()));
    for (more, _) in with {
        signer = signer.add_signer(pair(more)).expect("another signer");
    }
    signer
}

/// One-pass signature, literal data, signature.
pub fn signed(by: &[&Cert], data: &[u8]) -> Vec<u8> {
    let with: Vec<_> = by.iter().map(|cert| (*cert, template(SignatureType::Binary))).collect();
    signed_as(&with, data)
}

/// As [`signed`] with what the signatures say.
pub fn signed_as(with: &[(&Cert, SignatureBuilder)], data: &[u8]) -> Vec<u8> {
    let mut sink = Vec::new();
    let signer = signer(Message::new(&mut sink), with).build().expect("a signature");
    let mut literal = LiteralWriter::new(signer).build().expect("a literal");
    literal.write_all(data).expect("memory");
    literal.finalize().expect("memory");
    sink
}

/// A detached signature over `data`, as packets.
pub fn detached(with: &[(&Cert, SignatureBuilder)], data: &[u8]) -> Vec<u8> {
    let mut sink = Vec::new();
    let mut signer = signer(Message::new(&mut sink), with).detached().build().expect("a signature");
    signer.write_all(data).expect("memory");
    signer.finalize().expect("memory");
    sink
}

/// A cleartext-signed block.
pub fn cleartext(by: &Cert, text: &str) -> String {
    let mut sink = Vec::new();
    let with = [(by, template(SignatureType::Text))];
    let mut signer = signer(Message::new(&mut sink), &with).cleartext().build().expect("a signature");
    signer.write_all(text.as_bytes()).expect("memory");
    signer.finalize().expect("memory");
    String::from_utf8(sink).expect("text").replace("\r\n", "\n").replace('\n', "\r\n")
}

/// Literal data.
pub fn literal(data: &[u8]) -> Vec<u8> {
    let mut sink = Vec::new();
    let mut literal = LiteralWriter::new(Message::new(&mut sink)).build().expect("a literal");
    literal.write_all(data).expect("memory");
    literal.finalize().expect("memory");
    sink
}

/// Packets in a compressed packet.
pub fn compressed(algorithm: CompressionAlgorithm, packets: &[u8]) -> Vec<u8> {
    let mut sink = Vec::new();
    let mut layer = Compressor::new(Message::new(&mut sink)).algo(algorithm).build().expect("a compressor");
    layer.write_all(packets).expect("memory");
    layer.finalize().expect("memory");
    sink
}

/// Packets encrypted to the practice.
pub fn encrypted(packets: &[u8]) -> Vec<u8> {
    encrypted_to(&[office()], packets)
}

/// Packets encrypted to these certificates.
pub fn encrypted_to(certs: &[Cert], packets: &[u8]) -> Vec<u8> {
    let policy = StandardPolicy::new();
    let keys = certs.iter().flat_map(|cert| {
        let usable = cert.keys().with_policy(&policy, std::time::SystemTime::from(now())).supported().alive();
        usable.for_transport_encryption().for_storage_encryption()
    });
    let recipients: Vec<Recipient<'_>> = keys.map(Into::into).collect();
    assert!(!recipients.is_empty(), "somebody to encrypt to");
    let mut sink = Vec::new();
    let mut layer = Encryptor::for_recipients(Message::new(&mut sink), recipients).build().expect("an encryptor");
    layer.write_all(packets).expect("memory");
    layer.finalize().expect("memory");
    sink
}

/// A packet in new format with a five-octet length.
pub fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xc0 | tag, 0xff];
    packet.extend(u32::try_from(body.len()).expect("under 4 GiB").to_be_bytes());
    packet.extend_from_slice(body);
    packet
}

/// Packets as armor, with CRLF.
pub fn armored(kind: armor::Kind, packets: &[u8]) -> String {
    let mut writer = armor::Writer::new(Vec::new(), kind).expect("a writer");
    writer.write_all(packets).expect("memory");
    let text = String::from_utf8(writer.finalize().expect("memory")).expect("armor");
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

/// Who a mail says it is from, and the rest of an ordinary outer header.
pub fn head(from: &str, subject: &str) -> String {
    format!(
        "From: {from}\r\nTo: {OFFICE}\r\nSubject: {subject}\r\nMessage-ID: <{:08x}@client.example>\r\n\
         Date: Mon, 02 Mar 2026 08:29:00 +0000\r\nMIME-Version: 1.0\r\n",
        from.bytes().chain(subject.bytes()).fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
    )
}

/// `text/plain`, its header included.
pub fn text(words: &str) -> String {
    format!("Content-Type: text/plain; charset=utf-8\r\n\r\n{words}\r\n")
}

/// A multipart of parts with their headers; `parameters` begins with `;`.
pub fn multipart(subtype: &str, parameters: &str, boundary: &str, parts: &[&str]) -> String {
    let mut out = format!("Content-Type: multipart/{subtype}{parameters}; boundary=\"{boundary}\"\r\n\r\n");
    for part in parts {
        out.push_str(&format!("--{boundary}\r\n{part}\r\n"));
    }
    out.push_str(&format!("--{boundary}--\r\n"));
    out
}

/// A payload with protected headers: `fields` end with CRLF.
pub fn protected(fields: &str, words: &str) -> String {
    let inner = text(words);
    let whole = multipart("mixed", "; protected-headers=\"v1\"; hp=\"cipher\"", "protected-part", &[&inner]);
    let (first, rest) = whole.split_once("\r\n").expect("a header");
    format!("{first}\r\n{fields}{rest}")
}

/// The part with the ciphertext, and the one before it, as a container.
pub fn pgp_mime(ciphertext: &[u8]) -> String {
    pgp_mime_of(&armored(armor::Kind::Message, ciphertext))
}

/// As [`pgp_mime`] around anything.
pub fn pgp_mime_of(body: &str) -> String {
    let control = "Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n";
    let data = format!("Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\r\n{body}");
    multipart("encrypted", "; protocol=\"application/pgp-encrypted\"", "encrypted-part", &[control, &data])
}

/// `multipart/signed` of an entity (without the line break before the boundary) and signature packets.
pub fn pgp_signed(entity: &str, signature: &[u8]) -> String {
    let armor = armored(armor::Kind::Signature, signature);
    let part = format!("Content-Type: application/pgp-signature; name=\"signature.asc\"\r\n\r\n{armor}");
    let parameters = "; micalg=\"pgp-sha512\"; protocol=\"application/pgp-signature\"";
    multipart("signed", parameters, "signed-part", &[entity, &part])
}

/// A mail signed in clear: the signature covers the entity's exact bytes.
pub fn clear_signed(by: &Cert, entity: &str) -> String {
    pgp_signed(entity, &detached(&[(by, template(SignatureType::Binary))], entity.as_bytes()))
}

/// A mail signed and encrypted as mail programs do it.
pub fn sealed(by: &Cert, entity: &str) -> String {
    pgp_mime(&encrypted(&signed(&[by], entity.as_bytes())))
}

/// Base64 in lines.
pub fn base64(bytes: &[u8]) -> String {
    let whole = STANDARD.encode(bytes);
    let lines = whole.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line).into_owned());
    lines.map(|line| line + "\r\n").collect()
}

/// An attachment with its header.
pub fn file(name: &str, kind: &str, bytes: &[u8]) -> String {
    format!(
        "Content-Type: {kind}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}",
        base64(bytes)
    )
}

/// So many zeros as literal data in a compressed packet, never all of them in memory.
pub fn zeros(algorithm: CompressionAlgorithm, count: usize) -> Vec<u8> {
    let mut sink = Vec::new();
    let layer = Compressor::new(Message::new(&mut sink)).algo(algorithm).build().expect("a compressor");
    let mut literal = LiteralWriter::new(layer).build().expect("a literal");
    let chunk = vec![0; 1 << 20];
    for start in (0..count).step_by(chunk.len()) {
        literal.write_all(&chunk[..chunk.len().min(count - start)]).expect("memory");
    }
    literal.finalize().expect("memory");
    sink
}

/// A message that unpacks to itself, without end: a marker and a compressed packet (DEFLATE) whose content is this very
/// message. After Russ Cox, "Zip files all the way down": every instruction is five octets long, either a stored block of
/// so many octets or a block that repeats the last ones.
pub fn quine() -> Vec<u8> {
    const UNIT: usize = 5;
    // Everything before the first instruction: seventeen octets with it, which two matches can repeat in five octets.
    let prefix = |length: u32| {
        let mut bytes = vec![0xca, 3, b'P', b'G', b'P', 0xc8, 0xff];
        bytes.extend(length.to_be_bytes());
        bytes.push(1);
        bytes
    };
    let first = prefix(0).len() + UNIT;
    let store = |count: usize, last: bool| {
        let count = u16::try_from(count).expect("a short block");
        [&[u8::from(last)][..], &count.to_le_bytes(), &(!count).to_le_bytes()].concat()
    };
    let (four, none, end) = (repeat(4 * UNIT), store(0, false), store(0, true));
    let (one, all) = (store(UNIT, false), store(4 * UNIT, false));
    let start = repeat(first);
    let quote = |units: [&[u8]; 4]| [&all[..], &units.concat()].concat();
    let tail = [
        start.clone(),
        [&one[..], &start].concat(),
        [&one[..], &one].concat(),
        quote([&start, &one, &one, &all]),
        four.clone(),
        quote([&four, &all, &four, &all]),
        four.clone(),
        quote([&four, &none, &none, &end]),
        [&four[..], &none, &none, &end].concat(),
    ]
    .concat();
    let length = 1 + UNIT + first + tail.len();
    let head = prefix(u32::try_from(length).expect("a short packet"));
    let opening = store(first, false);
    [&head[..], &opening, &head, &opening, &tail].concat()
}

/// A DEFLATE block of forty bits with the fixed codes (RFC 1951 section 3.2.6) that repeats the last 17 to 20 octets.
fn repeat(count: usize) -> Vec<u8> {
    assert!((17..=20).contains(&count), "two matches of at most ten, at a distance with three more bits");
    let mut bits = vec![0, 1, 0];
    for length in [10, count - 10] {
        // Lengths of three to ten are the codes 257 to 264, distances from 17 on the code 8.
        let code = length - 2;
        bits.extend((0..7).rev().map(|bit| code >> bit & 1));
        bits.extend([0, 1, 0, 0, 0]);
        bits.extend((0..3).map(|bit| (count - 17) >> bit & 1));
    }
    bits.extend([0; 7]);
    let octet = |eight: &[usize]| eight.iter().enumerate().fold(0, |all, (at, bit)| all | (*bit as u8) << at);
    bits.chunks(8).map(octet).collect()
}
