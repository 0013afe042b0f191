//! To whom a message is sealed, without opening it.

use sequoia_openpgp as openpgp;

use openpgp::Packet;
use openpgp::parse::{PacketParser, PacketParserResult, Parse as _};

use super::OpenError;
use super::rules::guarded;

/// The handles of the keys that a message is encrypted to (RFC 9580 section 5.1): upper-case hexadecimal digits, key ids or
/// fingerprints. It is read to its end.
///
/// # Errors
/// [`OpenError::Malformed`] where it is anything but one encrypted message with integrity protection and named
/// recipients, or is cut.
pub fn recipients(message: &[u8]) -> Result<Vec<String>, OpenError> {
    guarded(|| read(message)).map_err(|_| OpenError::Malformed)
}

fn read(message: &[u8]) -> openpgp::Result<Vec<String>> {
    let malformed = || openpgp::Error::MalformedMessage("not a sealed message".to_owned());
    let mut handles = Vec::new();
    let mut sealed = false;
    let mut next = PacketParser::from_bytes(message)?;
    while let PacketParserResult::Some(packet) = next {
        match &packet.packet {
            Packet::PKESK(pkesk) if !sealed => handles.push(pkesk.recipient().ok_or_else(malformed)?.to_hex()),
            Packet::SEIP(_) if !sealed => sealed = true,
            _ => return Err(malformed().into()),
        }
        next = packet.next()?.1;
    }
    if sealed && !handles.is_empty() { Ok(handles) } else { Err(malformed().into()) }
}
