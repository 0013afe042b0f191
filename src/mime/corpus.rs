//! The corpora of public test suites, read from `$CADRE_CORPUS`, by default beside the project; skipped where absent.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn corpus(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("CADRE_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"), PathBuf::from);
    let found = root.join(folder);
    if found.is_dir() {
        return Some(found);
    }
    eprintln!("skipped: no corpus {folder} (set CADRE_CORPUS)");
    None
}

/// Rows of CASES.tsv without the heading.
fn cases(folder: &Path) -> Vec<Vec<String>> {
    let table = std::fs::read_to_string(folder.join("CASES.tsv")).unwrap();
    table.lines().skip(1).map(|l| l.split('\t').map(str::to_owned).collect()).collect()
}

fn everything(raw: &[u8]) {
    let limits = Limits::default();
    let _ = Mail::parse(raw, &limits);
    let _ = envelope(raw, &limits);
    let _ = protected(raw, &limits);
    let _ = outer_headers_allowed(raw);
    assert!(!is_multipart_encrypted(raw) || matches!(envelope(raw, &limits), Ok(Envelope::Encrypted { .. })));
    if let Ok(content) = content(raw, &limits) {
        let _ = new_text(&content.text);
        let _ = reply_text(&content.text);
        for attachment in &content.attachments {
            let _ = strip_metadata(attachment);
            assert!(!attachment.name.contains(['/', '\\']) && attachment.name.len() < 40);
        }
        let html = content.html.unwrap_or_default().to_lowercase();
        // Inside a tag; as words that a reader sees they do no harm.
        let harm = regex::Regex::new(r"<(script|img|form|iframe|style)|<[a-z][^<>]*\s(src|style)=|<[^<>]*javascript:");
        assert!(!harm.unwrap().is_match(&html), "{html}");
    }
}

#[test]
fn no_file_of_any_corpus_is_too_much() {
    for folder in ["malformed-mime", "openpgp-mails", "bounces-and-autoreplies", "quoted-replies"] {
        let Some(folder) = corpus(folder) else { return };
        let mut read = 0;
        for case in cases(&folder) {
            if let Ok(raw) = std::fs::read(folder.join(&case[0])) {
                everything(&raw);
                read += 1;
            }
        }
        assert!(read > 30, "{read} files in {}", folder.display());
    }
}

#[test]
fn openpgp_mails_have_the_envelope_that_their_verdict_needs() {
    let Some(folder) = corpus("openpgp-mails") else { return };
    let mut wrong = Vec::new();
    for case in cases(&folder) {
        let raw = std::fs::read(folder.join(&case[0])).unwrap();
        let found = envelope(&raw, &Limits::default()).unwrap();
        let from = Mail::parse(&raw, &Limits::default()).unwrap().from;
        let good = match case[5].as_str() {
            // An inline block in HTML alone is held, not opened.
            "encrypted-unsigned" => {
                matches!(found, Envelope::Encrypted { .. } | Envelope::InlineEncrypted { .. })
                    || (case[0].contains("html") && found == Envelope::Mixed)
            }
            "valid-encrypted-signed" => matches!(found, Envelope::Encrypted { .. }),
            "valid-signed" | "sig-unknown-key" => {
                matches!(found, Envelope::Signed { .. } | Envelope::InlineSigned { .. })
            }
            "sig-invalid" => matches!(found, Envelope::Signed { .. }),
            "no-oracle" => found == Envelope::Mixed,
            "outer-unsigned" | "unsigned" => found == Envelope::Clear { smime: false },
            "unsupported-crypto" => matches!(found, Envelope::Clear { smime: true } | Envelope::Signed { .. }),
            "reject-spoof" => matches!(from, FromField::Ambiguous { .. }),
            _ => false,
        };
        let one = matches!(from, FromField::One { .. }) || case[5] == "reject-spoof";
        if !good || !one {
            wrong.push(format!("{} wants {}: {found:?} {from:?}", case[0], case[5]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the class of the table says became of the mail.
fn fate_of_class(class: &str, raw: &str) -> Option<crate::model::Fate> {
    use crate::model::Fate;
    match class.split([':', ' ', '(']).next().unwrap_or_default() {
        "delay" => Some(Fate::Delayed),
        "dsn-success" => Some(Fate::Relayed),
        // Soft is said of the reason: where the system has given up, the mail has failed all the same.
        "bounce-soft" if !raw.to_lowercase().contains("action: failed") => Some(Fate::Delayed),
        class if class.starts_with("bounce") => Some(Fate::Failed),
        _ => None,
    }
}

/// Where the class of the table isn't the whole truth, and why ours is the better answer.
const OTHERWISE: &[(&str, &str)] = &[
    // The table has it because one program couldn't read it. It is a notice that a mailbox is full, and says so.
    ("sisimai_not_rb-issue-368-bug.eml", "failed"),
];

#[test]
fn bounces_are_told_apart() {
    let Some(folder) = corpus("bounces-and-autoreplies") else { return };
    let (mut status, mut recipient, mut id, mut automatic) = ((0, 0), (0, 0), (0, 0), (0, 0));
    let (mut wrong, mut classes) = (Vec::new(), std::collections::BTreeMap::new());
    for case in cases(&folder) {
        let raw = std::fs::read(folder.join(&case[0])).unwrap();
        let mail = Mail::parse(&raw, &Limits::default()).unwrap();
        let found = notice(&raw, &Limits::default()).unwrap();
        let want = fate_of_class(&case[1], &String::from_utf8_lossy(&raw)).map_or("none", |fate| fate.as_str());
        let want = OTHERWISE.iter().find(|(file, _)| *file == case[0]).map_or(want, |(_, fate)| fate);
        let is = found.as_ref().map_or("none", |notice| notice.fate.as_str());
        *classes.entry(format!("{want} as {is}")).or_insert(0) += 1;
        if is != want {
            wrong.push(format!("{} {}: {is}, not {want}", case[0], case[1]));
        }
        let said = |n: usize| case.get(n).filter(|v| v.as_str() != "-" && !v.is_empty());
        let Some(found) = found else {
            if said(5).is_some_and(|v| v != "no") || said(6).is_some_and(|v| v == "<>") {
                automatic.1 += 1;
                automatic.0 += usize::from(mail.automatic);
            }
            continue;
        };
        if let Some(want) = said(3) {
            status.1 += 1;
            status.0 += usize::from(found.status.as_ref().is_some_and(|s| want.contains(s.as_str())));
        }
        if let Some(want) = said(4) {
            recipient.1 += 1;
            let named = found.recipients.iter().any(|(a, _)| want.to_lowercase().contains(a.canonical()));
            recipient.0 += usize::from(named);
        }
        if let Some(want) = said(7) {
            id.1 += 1;
            let known = found.ids.iter().any(|id| want.contains(id.as_str()));
            id.0 += usize::from(known);
            if !known {
                eprintln!("{}: {want} isn't found", case[0]);
            }
        }
    }
    eprintln!("bounces: {classes:?}; status {status:?}, recipient {recipient:?}, id {id:?}, automatic {automatic:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(automatic.0, automatic.1);
    assert_eq!(recipient.0, recipient.1);
    assert_eq!(id.0, id.1);
    assert!(status.0 * 10 >= status.1 * 9, "status {status:?}");
}

fn same(a: &str, b: &str) -> bool {
    let words = |t: &str| t.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    words(a) == words(b)
}

#[test]
fn quoted_replies_are_taken_apart() {
    let Some(folder) = corpus("quoted-replies") else { return };
    let (mut right, mut wrong) = (0, Vec::new());
    for case in cases(&folder) {
        let path = folder.join(&case[0]);
        let raw = std::fs::read(&path).unwrap();
        let plain = String::from_utf8_lossy(&raw).into_owned();
        let (found, want) = match case[0].split('/').next().unwrap() {
            "email_reply_trimmer" => {
                let want = std::fs::read_to_string(folder.join(case[0].replace("/emails/", "/trimmed/"))).unwrap();
                (new_text(&plain), want)
            }
            "talon" if case[1] == "eml" => {
                (new_text(&content(&raw, &Limits::default()).unwrap().text), "Hello".to_owned())
            }
            "talon" => (new_text(&html::html_to_text(&plain)), String::new()),
            "crisp" | "willdurand" => (new_text(&plain), String::new()),
            _ => continue,
        };
        let good = if want.is_empty() && !case[0].contains("trimmer") {
            // The corpus has no file to compare with: nothing of the quotation may be left, and something must be.
            let marks =
                ["wrote:", "a écrit", "schrieb", "Original Message", "ha scritto", "kirjoitti", "escreveu", "\n>"];
            let quoted = plain.lines().any(|l| l.starts_with('>')) || marks.iter().any(|m| plain.contains(m));
            let no_quotation = [
                "_tricky_1_",
                "_tricky_2_",
                "_tricky_4_",
                "_tricky_6_",
                "_tricky_8_",
                "_tricky_13_",
                "_not_signature",
                "_not_a_signature",
            ];
            if no_quotation.iter().any(|n| case[0].contains(n)) {
                same(&found, &plain)
            } else {
                !found.is_empty() && (!quoted || found.len() < plain.len()) && !marks.iter().any(|m| found.contains(m))
            }
        } else {
            same(&found, &want)
        };
        if good {
            right += 1;
        } else {
            wrong.push(format!("== {} ==\n{}", case[0], found.chars().take(400).collect::<String>()));
        }
    }
    eprintln!("quoted replies: {right} right, {} wrong\n{}", wrong.len(), wrong.join("\n"));
    assert!(right * 100 >= (right + wrong.len()) * 90, "{right} right, {} wrong", wrong.len());
}

#[test]
fn threads_are_found_by_their_ids() {
    let Some(folder) = corpus("quoted-replies") else { return };
    for case in cases(&folder).iter().filter(|c| c[0].starts_with("threading/")) {
        let raw = std::fs::read(folder.join(&case[0])).unwrap();
        let mail = Mail::parse(&raw, &Limits::default()).unwrap();
        let plain = |t: &str| t.trim_matches(['<', '>', ' ']).to_owned();
        if let Some(parent) = case.get(5).filter(|v| v.contains('@') && v.trim().starts_with('<')) {
            let first = parent.split_inclusive('>').next().unwrap();
            assert_eq!(mail.in_reply_to.as_deref(), Some(plain(first).as_str()), "{}", case[0]);
        }
        if let Some(chain) = case.get(6).filter(|v| v.contains('@')) {
            let last = chain.split_inclusive('>').rfind(|w| w.contains('@')).unwrap();
            assert_eq!(mail.references.last().map(String::as_str), Some(plain(last).as_str()), "{}", case[0]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        everything(&bytes);
    }

    #[test]
    fn no_damage_to_a_mail_makes_it_panic(
        cut in 0usize..900,
        spots in proptest::collection::vec((0usize..900, any::<u8>()), 0..12),
    ) {
        let mut mail = b"From: \"Marie B.\" <marie@x.example>\r\nTo: p@y.example (P)\r\nSubject: =?utf-8?q?=C3=A9t=C3=A9?=\r\n\
            References: <a@b> <c@d>\r\nContent-Type: multipart/mixed; boundary=\"b\"; protected-headers=v1\r\n\r\n--b\r\n\
            Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\n\r\nhello\r\n> quoted\r\n-- \r\nx\r\n--c\r\n\
            Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p style=3D\"display:none\">x</p>\r\n\
            --c--\r\n--b\r\nContent-Type: application/pdf; name*=utf-8''a%20b.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n\
            JVBERi0xLjQK\r\n--b\r\nContent-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=d\r\n\r\n\
            --d\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n--d--\r\n--b--\r\n".to_vec();
        for (at, byte) in spots {
            let len = mail.len();
            mail[at % len] = byte;
        }
        mail.truncate(mail.len().saturating_sub(cut));
        everything(&mail);
    }

    #[test]
    fn no_text_makes_a_reply_panic(text in "(?s).{0,400}") {
        let taken = reply_text(&text);
        prop_assert!(taken.text.len() <= text.len() + 8);
        let _ = strip_codes(&text);
        let _ = html::html_to_text(&text);
        let address = crate::model::Address::parse("marie@x.example").unwrap();
        let _ = contains_address(&text, &address);
    }
}
