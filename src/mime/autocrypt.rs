//! The key in an Autocrypt header (Autocrypt Level 1, section 2.1). It is read to enrol somebody who is asked for a
//! key, after which people compare it; it never replaces one.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::limits::{Limits, MimeError};
use super::tree::Entity;
use crate::model::Address;

/// Longest header that is read.
const MAX_HEADER: usize = 10 << 10;

/// The key bytes of the one valid Autocrypt header of a mail or a decrypted entity that is about this sender; more
/// than one valid header counts as none.
///
/// # Errors
/// [`MimeError`] when the header block passes a limit.
pub fn autocrypt(entity: &[u8], sender: &Address, limits: &Limits) -> Result<Option<Vec<u8>>, MimeError> {
    let entity = Entity::read_header(entity, limits)?;
    let mut valid = entity.all("Autocrypt").filter_map(|field| key_of(&field.line(), sender));
    Ok(match (valid.next(), valid.next()) {
        (Some(key), None) => Some(key),
        _ => None,
    })
}

fn key_of(line: &str, sender: &Address) -> Option<Vec<u8>> {
    if line.len() > MAX_HEADER {
        return None;
    }
    let (mut about_sender, mut key) = (false, None);
    for attribute in line.split(';').map(str::trim).filter(|attribute| !attribute.is_empty()) {
        let (name, value) = attribute.split_once('=')?;
        match name.trim().to_ascii_lowercase().as_str() {
            "addr" => about_sender = Address::parse(value).is_ok_and(|address| address == *sender),
            "keydata" => key = decode(value),
            "prefer-encrypt" => {}
            // An attribute that isn't known and has no underscore is critical: the header is not for us.
            other if other.starts_with('_') => {}
            _ => return None,
        }
    }
    key.filter(|_| about_sender)
}

fn decode(value: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let data: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    GeneralPurpose::new(&STANDARD, config).decode(data).ok().filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &str) -> Option<Vec<u8>> {
        let sender = Address::parse("marie@client.example").unwrap();
        let mail = format!("From: marie@client.example\r\n{headers}\r\nx\r\n");
        autocrypt(mail.as_bytes(), &sender, &Limits::default()).unwrap()
    }

    #[test]
    fn standard_autocrypt_the_one_valid_header_of_the_sender_counts() {
        let good = "Autocrypt: addr=Marie@Client.example; prefer-encrypt=mutual; keydata=\r\n aGVs\r\n bG8=\r\n";
        assert_eq!(read(good), Some(b"hello".to_vec()));
        assert_eq!(
            read("Autocrypt: addr=marie@client.example; _extra=1; keydata=aGVsbG8\r\n"),
            Some(b"hello".to_vec())
        );
        assert_eq!(read(&format!("{good}{good}")), None, "two valid ones are none");
        let other = "Autocrypt: addr=paul@client.example; keydata=aGVsbG8=\r\n";
        assert_eq!(read(other), None, "another person's");
        assert_eq!(read(&format!("{other}{good}")), Some(b"hello".to_vec()), "only valid ones count");
        assert_eq!(read("Autocrypt: addr=marie@client.example; keydata=%%%\r\n"), None);
        assert_eq!(read("Autocrypt: addr=marie@client.example; critical=1; keydata=aGVsbG8=\r\n"), None);
        let long = "aGVs".repeat(3000);
        assert_eq!(read(&format!("Autocrypt: addr=marie@client.example; keydata={long}\r\n")), None, "over 10 KiB");
        assert_eq!(read(""), None);
    }
}
