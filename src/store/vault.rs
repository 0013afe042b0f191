//! The record key and all that is derived from it: sealed columns, look-up hashes, row MACs, the
//! journal's chain and the tokens of quoted banners.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand::Rng;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::model::{Address, CODE_ALPHABET, MessageRow};

type HmacSha256 = Hmac<Sha256>;

/// First byte of a sealed value; another one would be another construction.
const VERSION: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;
/// Bits of MAC in a token: what 22 signs leave beside 63 bits of row.
const TOKEN_MAC_BITS: u32 = 47;
/// Length of a token in signs of [`CODE_ALPHABET`].
pub const TOKEN_SIGNS: usize = 22;

/// A value that doesn't open: another key, another place, or changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value doesn't open: it was changed or moved, or the record key is another one")]
pub struct Unsealable;

/// What is looked up by keyed hash. One kind's hash never equals another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    Address,
    MessageId,
    KeyHandle,
    Fingerprint,
    Signer,
    Digest,
    RawBytes,
    Practice,
}

impl Lookup {
    const fn domain(self) -> &'static [u8] {
        match self {
            Self::Address => b"address",
            Self::MessageId => b"message-id",
            Self::KeyHandle => b"key-handle",
            Self::Fingerprint => b"fingerprint",
            Self::Signer => b"signer",
            Self::Digest => b"digest",
            Self::RawBytes => b"raw-bytes",
            Self::Practice => b"practice",
        }
    }
}

/// Everything that is done with the record key. Cheap to clone.
#[derive(Clone)]
pub struct Vault(Arc<Keys>);

struct Keys {
    cipher: XChaCha20Poly1305,
    lookup: HmacSha256,
    row: HmacSha256,
    journal: HmacSha256,
    token: HmacSha256,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

/// Feeds length-prefixed parts, so that no two lists of parts give the same input.
fn feed(mac: &mut HmacSha256, parts: &[&[u8]]) {
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
}

fn mac_of(key: &HmacSha256, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = key.clone();
    feed(&mut mac, parts);
    mac.finalize().into_bytes().into()
}

impl Vault {
    /// Derives the subkeys (HKDF-SHA256, RFC 5869) from the 32 random bytes of the record key.
    pub fn new(record_key: &[u8; 32]) -> Self {
        let hkdf = Hkdf::<Sha256>::new(Some(b"cadre record key 1"), record_key);
        let subkey = |info: &[u8]| {
            let mut key = Zeroizing::new([0_u8; 32]);
            hkdf.expand(info, key.as_mut()).expect("32 bytes are fewer than 255 blocks");
            key
        };
        let hmac = |info: &[u8]| {
            <HmacSha256 as KeyInit>::new_from_slice(subkey(info).as_ref()).expect("HMAC takes keys of any length")
        };
        Self(Arc::new(Keys {
            cipher: XChaCha20Poly1305::new_from_slice(subkey(b"seal").as_ref()).expect("the subkey has 32 bytes"),
            lookup: hmac(b"lookup"),
            row: hmac(b"row"),
            journal: hmac(b"journal"),
            token: hmac(b"token"),
        }))
    }

    fn place(table: &str, row: i64, column: &str) -> Vec<u8> {
        let mut aad = Vec::with_capacity(table.len() + column.len() + 10);
        aad.extend_from_slice(table.as_bytes());
        aad.push(0);
        aad.extend_from_slice(column.as_bytes());
        aad.push(0);
        aad.extend_from_slice(&row.to_be_bytes());
        aad
    }

    /// Encrypts a value for one column of one row (XChaCha20-Poly1305, random nonce):
    /// version byte, 24 bytes of nonce, ciphertext, 16 bytes of tag.
    pub fn seal(&self, table: &str, row: i64, column: &str, value: &[u8]) -> Vec<u8> {
        let mut nonce = [0_u8; NONCE];
        rand::rng().fill_bytes(&mut nonce);
        let aad = Self::place(table, row, column);
        let sealed = self
            .0
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: value, aad: &aad })
            .expect("XChaCha20 takes 256 GiB, more than memory holds");
        let mut out = Vec::with_capacity(1 + NONCE + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// Opens what [`Vault::seal`] made for the same place.
    ///
    /// # Errors
    /// [`Unsealable`] for anything else: moved, changed, cut, or of another key.
    pub fn unseal(&self, table: &str, row: i64, column: &str, sealed: &[u8]) -> Result<Vec<u8>, Unsealable> {
        if sealed.len() < 1 + NONCE + TAG || sealed[0] != VERSION {
            return Err(Unsealable);
        }
        let nonce: [u8; NONCE] = sealed[1..=NONCE].try_into().map_err(|_| Unsealable)?;
        let aad = Self::place(table, row, column);
        self.0
            .cipher
            .decrypt(&XNonce::from(nonce), Payload { msg: &sealed[1 + NONCE..], aad: &aad })
            .map_err(|_| Unsealable)
    }

    /// Whether this may be what [`Vault::seal`] made; no OpenPGP message begins so, armored or not.
    pub(super) fn is_sealed(data: &[u8]) -> bool {
        data.first() == Some(&VERSION)
    }

    /// A keyed hash by which a value is found without being stored (HMAC-SHA256, 16 bytes).
    pub fn lookup(&self, kind: Lookup, value: &[u8]) -> [u8; 16] {
        let mac = mac_of(&self.0.lookup, &[kind.domain(), value]);
        let mut short = [0_u8; 16];
        short.copy_from_slice(&mac[..16]);
        short
    }

    /// [`Vault::lookup`] of an address's canonical form.
    pub fn address(&self, address: &Address) -> [u8; 16] {
        self.lookup(Lookup::Address, address.canonical().as_bytes())
    }

    /// The PostgreSQL schema of the practice of this address, which names nobody.
    pub fn schema_name(&self, practice: &Address) -> String {
        let hash = self.lookup(Lookup::Practice, practice.canonical().as_bytes());
        format!("cadre_{}", data_encoding::HEXLOWER.encode(&hash[..8]))
    }

    /// [`Vault::lookup`] of a Message-ID, with or without its angle brackets.
    pub fn message_id(&self, id: &str) -> [u8; 16] {
        let bare = id.trim();
        let bare = bare.strip_prefix('<').unwrap_or(bare);
        let bare = bare.strip_suffix('>').unwrap_or(bare);
        self.lookup(Lookup::MessageId, bare.as_bytes())
    }

    /// The MAC of a row: over the table's name and the parts, in order.
    pub(super) fn row_mac(&self, table: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.row.clone();
        feed(&mut mac, &[table.as_bytes()]);
        feed(&mut mac, parts);
        mac.finalize().into_bytes().into()
    }

    /// The next link of the journal's chain.
    pub(super) fn journal_mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        mac_of(&self.0.journal, parts)
    }

    fn token_mac(&self, row: i64) -> u64 {
        let mac = mac_of(&self.0.token, &[&row.to_be_bytes()]);
        let mut first = [0_u8; 8];
        first.copy_from_slice(&mac[..8]);
        u64::from_be_bytes(first) >> (64 - TOKEN_MAC_BITS)
    }

    /// The token of a forward's banner: 22 signs of [`CODE_ALPHABET`] that name the message row and
    /// can't be made without the record key.
    pub fn token(&self, row: MessageRow) -> String {
        let bits = (u128::from(row.0.cast_unsigned()) << TOKEN_MAC_BITS) | u128::from(self.token_mac(row.0));
        (0..TOKEN_SIGNS).rev().map(|i| char::from(CODE_ALPHABET[(bits >> (5 * i) & 31) as usize])).collect()
    }

    /// The message row that a token names, in any case; `None` unless this vault made it.
    pub fn read_token(&self, text: &str) -> Option<MessageRow> {
        let text = text.trim();
        if text.len() != TOKEN_SIGNS {
            return None;
        }
        let mut bits = 0_u128;
        for sign in text.bytes() {
            let value = CODE_ALPHABET.iter().position(|s| *s == sign.to_ascii_uppercase())?;
            bits = bits << 5 | value as u128;
        }
        let row = i64::try_from(bits >> TOKEN_MAC_BITS).ok()?;
        let mac = (bits & ((1 << TOKEN_MAC_BITS) - 1)) as u64;
        let same: bool = mac.to_be_bytes().ct_eq(&self.token_mac(row).to_be_bytes()).into();
        same.then_some(MessageRow(row))
    }
}

/// Compares two MACs without telling where they differ.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault::new(&[7; 32])
    }

    #[test]
    fn a_sealed_value_opens_in_its_own_place_only() {
        let v = vault();
        let sealed = v.seal("client", 5, "name", b"Marie");
        assert_eq!(v.unseal("client", 5, "name", &sealed), Ok(b"Marie".to_vec()));
        assert_eq!(v.unseal("client", 6, "name", &sealed), Err(Unsealable));
        assert_eq!(v.unseal("client", 5, "label", &sealed), Err(Unsealable));
        assert_eq!(v.unseal("message", 5, "name", &sealed), Err(Unsealable));
        assert_eq!(Vault::new(&[8; 32]).unseal("client", 5, "name", &sealed), Err(Unsealable));
        assert_ne!(v.seal("client", 5, "name", b"Marie"), sealed, "each nonce is fresh");
    }

    #[test]
    fn every_changed_or_cut_byte_is_noticed() {
        let v = vault();
        let sealed = v.seal("t", 1, "c", b"word");
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert_eq!(v.unseal("t", 1, "c", &bad), Err(Unsealable), "byte {i}");
            assert_eq!(v.unseal("t", 1, "c", &sealed[..i]), Err(Unsealable), "cut at {i}");
        }
    }

    #[test]
    fn hashes_of_two_kinds_differ() {
        let v = vault();
        assert_ne!(v.lookup(Lookup::Digest, b"x"), v.lookup(Lookup::Signer, b"x"));
        assert_eq!(v.message_id("<a@b>"), v.message_id("a@b"));
        assert_ne!(v.lookup(Lookup::Digest, b"x"), Vault::new(&[8; 32]).lookup(Lookup::Digest, b"x"));
    }

    #[test]
    fn tokens_read_back_and_no_sign_can_be_changed() {
        let v = vault();
        for row in [MessageRow(1), MessageRow(i64::MAX), MessageRow(913_456_789_012_345_678)] {
            let token = v.token(row);
            assert_eq!(token.len(), TOKEN_SIGNS);
            assert_eq!(v.read_token(&token.to_lowercase()), Some(row));
            assert_eq!(Vault::new(&[8; 32]).read_token(&token), None);
            for i in 0..token.len() {
                let mut other = token.clone().into_bytes();
                other[i] = if other[i] == b'2' { b'3' } else { b'2' };
                assert_eq!(v.read_token(std::str::from_utf8(&other).unwrap()), None, "sign {i}");
            }
        }
        for bad in ["", "C-7K2M", "0000000000000000000000", "ÉÉÉÉÉÉÉÉÉÉÉ"] {
            assert_eq!(v.read_token(bad), None);
        }
    }
}
