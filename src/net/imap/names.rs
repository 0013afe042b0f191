//! Folder names (modified UTF-7, RFC 3501 section 5.1.3), quoted strings, sets of uids.

use base64::Engine;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

const MUTF7: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// Encodes a name in modified UTF-7.
pub(super) fn to_utf7(name: &str) -> String {
    fn flush(out: &mut String, foreign: &mut Vec<u8>) {
        if !foreign.is_empty() {
            out.push('&');
            MUTF7.encode_string(&foreign, out);
            out.push('-');
            foreign.clear();
        }
    }
    let mut out = String::with_capacity(name.len());
    let mut foreign = Vec::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut out, &mut foreign);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0_u16; 2];
            for unit in c.encode_utf16(&mut units) {
                foreign.extend_from_slice(&unit.to_be_bytes());
            }
        }
    }
    flush(&mut out, &mut foreign);
    out
}

/// Decodes modified UTF-7; a name that isn't is returned as it is.
pub(super) fn from_utf7(wire: &str) -> String {
    fn try_decode(wire: &str) -> Option<String> {
        let mut out = String::with_capacity(wire.len());
        let mut rest = wire;
        while let Some((plain, tail)) = rest.split_once('&') {
            out.push_str(plain);
            let (code, tail) = tail.split_once('-')?;
            if code.is_empty() {
                out.push('&');
            } else {
                let bytes = MUTF7.decode(code).ok()?;
                let units: Vec<u16> = bytes.chunks_exact(2).map(|p| u16::from_be_bytes([p[0], p[1]])).collect();
                out.push_str(&String::from_utf16(&units).ok()?);
            }
            rest = tail;
        }
        out.push_str(rest);
        Some(out)
    }
    try_decode(wire).unwrap_or_else(|| wire.to_owned())
}

/// Sorts and compresses uids: `1:5,7`. Split so that no text is longer than about `max` bytes.
pub(super) fn uid_sets(uids: &[u32], max: usize) -> Vec<String> {
    let mut sorted: Vec<u32> = uids.iter().copied().filter(|&u| u > 0).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut sets = Vec::new();
    let mut set = String::new();
    for run in sorted.chunk_by(|a, b| b - a == 1) {
        let (first, last) = (run[0], run[run.len() - 1]);
        let part = if first == last { first.to_string() } else { format!("{first}:{last}") };
        if !set.is_empty() && set.len() + 1 + part.len() > max {
            sets.push(std::mem::take(&mut set));
        }
        if !set.is_empty() {
            set.push(',');
        }
        set.push_str(&part);
    }
    if !set.is_empty() {
        sets.push(set);
    }
    sets
}

/// Reads a set such as `1:5,7` back, in its order; more than `limit` uids, or `*`, is none.
pub(super) fn parse_uid_set(text: &[u8], limit: usize) -> Option<Vec<u32>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut uids = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        let (low, high) = (first.min(last), first.max(last));
        if (high - low) as usize >= limit.saturating_sub(uids.len()) {
            return None;
        }
        uids.extend(low..=high);
    }
    Some(uids)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn utf7_follows_the_examples_of_the_rfc() {
        assert_eq!(to_utf7("~peter/mail/台北/日本語"), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(to_utf7("Thérapie & Cie"), "Th&AOk-rapie &- Cie");
        assert_eq!(from_utf7("Courrier ind&AOk-sirable"), "Courrier indésirable");
        assert_eq!(from_utf7("broken &x"), "broken &x");
    }

    #[test]
    fn uids_are_compressed_and_split() {
        assert_eq!(uid_sets(&[7, 1, 2, 3, 5, 4, 7], 100), ["1:5,7"]);
        assert_eq!(uid_sets(&[10, 20, 30], 6), ["10,20", "30"]);
        assert!(uid_sets(&[], 10).is_empty());
        assert_eq!(parse_uid_set(b"5:3,9", 100), Some(vec![3, 4, 5, 9]));
        assert_eq!(parse_uid_set(b"1:4294967295", 100), None);
        assert_eq!(parse_uid_set(b"1:*", 100), None);
    }

    proptest! {
        #[test]
        fn names_survive_utf7(name in "\\PC{0,20}") {
            let wire = to_utf7(&name);
            prop_assert!(wire.bytes().all(|b| (b' '..=b'~').contains(&b)));
            prop_assert_eq!(from_utf7(&wire), name);
        }

        #[test]
        fn sets_read_back(uids in proptest::collection::btree_set(1..500_u32, 1..60)) {
            let uids: Vec<u32> = uids.into_iter().collect();
            let back: Vec<u32> = uid_sets(&uids, 40).iter().flat_map(|s| parse_uid_set(s.as_bytes(), 999).unwrap()).collect();
            prop_assert_eq!(back, uids);
        }
    }
}
