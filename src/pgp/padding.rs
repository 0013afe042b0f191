//! Padding that every OpenPGP program reads (RFC 9580 section 5.6, RFC 1951 section 3.2.4).
//!
//! The Padding packet of RFC 9580 is unknown to GnuPG 2.2 and RNP. A Compressed Data packet (ZIP)
//! is known to all, and a deflate stream may hold any number of empty blocks. So the signed message
//! is put into "stored" blocks, uncompressed, followed by empty blocks up to the padded size. That
//! nothing is really compressed is wanted: the length of a compressed letter would tell its content.

use sequoia_openpgp::serialize::stream::padding::padme;

/// Nothing sealed looks shorter than this: a "yes" and a paragraph are the same size.
const FLOOR: u64 = 4096;
/// A stored block holds at most this much (RFC 1951 section 3.2.4).
const BLOCK: usize = 0xffff;
/// An empty stored block.
const EMPTY: [u8; 5] = [0x00, 0x00, 0x00, 0xff, 0xff];
/// An empty block with fixed codes and an empty stored block. With `EMPTY`, any length from 20 on.
const EMPTY_AND_ONE: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0xff, 0xff];
/// The final block, stored and empty.
const FINAL: [u8; 5] = [0x01, 0x00, 0x00, 0xff, 0xff];

/// A whole Compressed Data packet that inflates to `message` and whose body has a Padmé length.
pub(super) fn pad(message: &[u8]) -> Vec<u8> {
    let bare = message.len() + message.len().div_ceil(BLOCK) * 5 + FINAL.len();
    let mut target = to_usize(padded_length(bare as u64));
    while fillers(target - bare).is_none() {
        target = to_usize(padme(target as u64 + 1));
    }
    let (fives, sixes) = fillers(target - bare).unwrap_or_default();
    let mut packet = Vec::with_capacity(target + 7);
    // New-format header of tag 8, a five-octet length, and algorithm 1: ZIP.
    packet.push(0xc8);
    packet.push(0xff);
    packet.extend_from_slice(&u32::try_from(target + 1).unwrap_or(u32::MAX).to_be_bytes());
    packet.push(1);
    for chunk in message.chunks(BLOCK) {
        let len = u16::try_from(chunk.len()).unwrap_or(u16::MAX);
        packet.push(0);
        packet.extend_from_slice(&len.to_le_bytes());
        packet.extend_from_slice(&(!len).to_le_bytes());
        packet.extend_from_slice(chunk);
    }
    packet.extend(EMPTY.iter().cycle().take(fives * EMPTY.len()));
    packet.extend(EMPTY_AND_ONE.iter().cycle().take(sixes * EMPTY_AND_ONE.len()));
    packet.extend_from_slice(&FINAL);
    packet
}

/// The length that a message of `length` bytes is padded to with a Padding packet.
pub(super) fn padded_length(length: u64) -> u64 {
    padme(FLOOR.max(length))
}

/// How many blocks of five and of six bytes make exactly `gap`.
fn fillers(gap: usize) -> Option<(usize, usize)> {
    let sixes = gap % 5;
    let rest = gap.checked_sub(sixes * 6)?;
    Some((rest / 5, sixes))
}

pub(super) fn to_usize(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gap_from_twenty_on_can_be_filled() {
        for gap in (0..5000).filter(|gap| *gap >= 20 || *gap == 0) {
            let (fives, sixes) = fillers(gap).unwrap();
            assert_eq!(fives * 5 + sixes * 6, gap);
        }
        assert_eq!(fillers(19), None);
    }

    #[test]
    fn lengths_show_only_a_few_sizes() {
        let sizes: std::collections::BTreeSet<usize> = (0..20_000).map(|n| pad(&vec![7; n]).len()).collect();
        assert!(sizes.len() < 60, "{}", sizes.len());
    }
}
