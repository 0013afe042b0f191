//! Authentication-Results (RFC 8601): what the mailbox's own server found out about a mail, and what a forger says
//! that it did.

use super::tree::Entity;

/// One field: whose it is, and what it says of DMARC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthResults {
    /// authserv-id, lower case.
    pub server: String,
    /// Result of the method `dmarc`, lower case.
    pub dmarc: Option<String>,
    /// How many Received fields stand above it.
    pub hops_above: usize,
}

/// All fields, topmost first.
pub(super) fn read(entity: &Entity<'_>) -> Vec<AuthResults> {
    let mut hops = 0;
    let mut all = Vec::new();
    for field in &entity.fields {
        if field.is("Received") {
            hops += 1;
        } else if field.is("Authentication-Results")
            && let Some((server, dmarc)) = parse(&field.line())
        {
            all.push(AuthResults { server, dmarc, hops_above: hops });
        }
    }
    all
}

/// Whether `authserv` itself says that DMARC failed. Only its topmost field counts, with those of its own that stand
/// together with it (one program writes one for each method): what lies below the next Received came with the mail.
pub fn dmarc_failed(all: &[AuthResults], authserv: &str) -> bool {
    let mut own = all.iter().filter(|one| one.server.eq_ignore_ascii_case(authserv.trim()));
    let Some(first) = own.next() else { return false };
    let together = std::iter::once(first).chain(own.filter(|one| one.hops_above == first.hops_above));
    together.filter_map(|one| one.dmarc.as_deref()).next() == Some("fail")
}

/// authserv-id and the first result of `dmarc`.
fn parse(line: &str) -> Option<(String, Option<String>)> {
    let mut pieces = split(line).into_iter();
    let head = pieces.next()?;
    let server = head.split_whitespace().next()?.to_ascii_lowercase();
    // Servers that write no id begin with a result.
    if server.contains('=') {
        return None;
    }
    let dmarc = pieces.find_map(|piece| {
        let (method, rest) = piece.split_once('=')?;
        // `dmarc/1` names the method's version.
        let method = method.split('/').next()?.trim();
        let result = rest.split_whitespace().next().unwrap_or_default();
        method.eq_ignore_ascii_case("dmarc").then(|| result.to_ascii_lowercase())
    });
    Some((server, dmarc))
}

/// The value cut at its semicolons, without comments; quoted strings keep what is in them.
fn split(line: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let (mut depth, mut quoted) = (0usize, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let mut keep = |c: char| {
            if let Some(last) = pieces.last_mut() {
                last.push(c);
            }
        };
        match c {
            '\\' if depth > 0 => drop(chars.next()),
            '\\' if quoted => chars.next().into_iter().for_each(&mut keep),
            '"' if depth == 0 => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth > 0 => {
                depth -= 1;
                keep(' ');
            }
            _ if depth > 0 => {}
            ';' if !quoted => pieces.push(String::new()),
            _ => keep(c),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::limits::Limits;

    fn failed(header: &str) -> bool {
        let raw = format!("{header}From: marie@x.example\r\n\r\nhello\r\n");
        let entity = Entity::read(raw.as_bytes(), &Limits::default()).unwrap();
        dmarc_failed(&read(&entity), "mx.cabinet.example")
    }

    const FAIL: &str = "Authentication-Results: mx.cabinet.example; spf=pass smtp.mailfrom=x.example; dmarc=fail\r\n";
    const PASS: &str = "Authentication-Results: mx.cabinet.example; dmarc=pass (p=none) header.from=x.example\r\n";
    const TRACE: &str = "Received: from a by mx.cabinet.example; Mon, 2 Mar 2026 10:00:00 +0000\r\n";

    #[test]
    fn a_failure_is_read_however_it_is_written() {
        for value in [
            "mx.cabinet.example; dmarc=fail",
            "MX.Cabinet.Example; DMARC=Fail (p=reject dis=none) header.from=x.example",
            "mx.cabinet.example 1; dkim=none; dmarc = fail",
            "\"mx.cabinet.example\"; dmarc/1=fail",
            "mx.cabinet.example (a comment; dmarc=pass);\r\n\tdkim=fail (bad \\) dmarc=pass);\r\n\tdmarc=fail",
            "mx.cabinet.example; dkim=pass reason=\"good; dmarc=pass\"; dmarc=fail",
        ] {
            assert!(failed(&format!("authentication-RESULTS: {value}\r\n")), "{value}");
        }
    }

    #[test]
    fn what_is_no_failure_is_none() {
        for value in [
            "mx.cabinet.example; dmarc=pass",
            "mx.cabinet.example; dmarc=none",
            "mx.cabinet.example; dmarc=temperror",
            "mx.cabinet.example; dkim=fail",
            "mx.cabinet.example; dkim=pass (dmarc=fail)",
            "mx.cabinet.example; none",
            "mx.other.example; dmarc=fail",
            "x.mx.cabinet.example; dmarc=fail",
            "dmarc=fail",
            "",
            "mx.cabinet.example; dkim=pass reason=\"; dmarc=fail;\"",
        ] {
            assert!(!failed(&format!("Authentication-Results: {value}\r\n")), "{value}");
        }
    }

    #[test]
    fn only_the_servers_own_topmost_field_counts() {
        let other = "Authentication-Results: forged.example; dmarc=pass\r\n";
        assert!(failed(&format!("{other}{FAIL}{TRACE}")));
        assert!(failed(&format!("{FAIL}{TRACE}{PASS}")), "a forged pass below");
        assert!(!failed(&format!("{PASS}{TRACE}{FAIL}")), "a forged failure below");
        assert!(failed(&format!("{FAIL}{PASS}{TRACE}")), "a forged pass right below");
        // One field a method, as milters write them.
        let dkim = "Authentication-Results: mx.cabinet.example; dkim=pass header.d=y.example\r\n";
        assert!(failed(&format!("{dkim}{FAIL}{TRACE}")));
        assert!(!failed(&format!("{dkim}{TRACE}{FAIL}")), "it came with the mail");
        assert!(failed(&format!("{TRACE}{FAIL}{TRACE}{PASS}")), "below its own Received");
    }
}
