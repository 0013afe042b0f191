//! Writing and reading together: what is composed here reads back, here and in other programs.

use std::process::{Command, Stdio};

use chrono::{TimeZone, Utc};
use pretty_assertions::assert_eq;

use super::compose::{encrypted, payload, signed};
use super::*;
use crate::model::Address;

const ARMOR: &[u8] = b"-----BEGIN PGP MESSAGE-----\n\nwcDMA3wvqk35PDey\n=s0kk\n-----END PGP MESSAGE-----\n";

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn letter() -> Outgoing {
    Outgoing {
        from_display: "Cabinet Élan \"Nord\"".into(),
        from: address("cabinet@bücher.example"),
        to: vec![address("marie@x.example")],
        subject: "Où en êtes-vous ? Une question assez longue pour être pliée sur plusieurs lignes".into(),
        outer_subject: None,
        message_id: new_message_id([7; 16], "p.example"),
        in_reply_to: Some("a@x.example".into()),
        references: vec!["r@p.example".into(), "a@x.example".into()],
        date: Utc.with_ymd_and_hms(2026, 3, 4, 5, 6, 7).unwrap(),
        automatic: false,
        autocrypt: Some("QUJD".repeat(60)),
        parts: vec![
            OutPart::Text("From here on\n.dot\n-- \ntrailing \nété = 1\n\tx\n".to_owned() + &"long ".repeat(60)),
            OutPart::Alternative { text: "a".into(), html: "<p>a</p>".into() },
            OutPart::File {
                name: "été.pdf".into(),
                media_type: "application/pdf".into(),
                bytes: (0..=255).collect::<Vec<u8>>().into(),
            },
        ],
    }
}

fn header(raw: &[u8]) -> String {
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    String::from_utf8(raw[..end].to_vec()).unwrap()
}

fn is_canonical(raw: &[u8]) -> bool {
    let lines_end = raw.iter().enumerate().all(|(at, b)| *b != b'\n' || (at > 0 && raw[at - 1] == b'\r'));
    raw.is_ascii()
        && lines_end
        && raw.split(|b| *b == b'\n').all(|l| l.len() <= 80 && !l.ends_with(b" \r") && !l.starts_with(b"From "))
}

#[test]
fn a_payload_reads_back_word_for_word() {
    let mail = letter();
    let raw = payload(&mail);
    assert!(is_canonical(&raw), "{}", String::from_utf8_lossy(&raw));
    let inner = protected(&raw, &Limits::default()).unwrap().unwrap();
    let Some(from) = inner.from.one() else { panic!("{:?}", inner.from) };
    assert_eq!(from.canonical(), mail.from.canonical());
    assert_eq!(inner.from, FromField::One { address: mail.from.clone(), display: Some(mail.from_display.clone()) });
    assert_eq!((inner.subject.as_str(), inner.date), (mail.subject.as_str(), Some(mail.date)));
    assert_eq!((inner.to, inner.message_id.as_ref()), (mail.to.clone(), Some(&mail.message_id)));
    assert_eq!((inner.in_reply_to, inner.references), (mail.in_reply_to.clone(), mail.references.clone()));
    let content = content(&raw, &Limits::default()).unwrap();
    let OutPart::Text(text) = &mail.parts[0] else { panic!() };
    assert_eq!(content.text, format!("{text}\n\na"));
    assert_eq!(content.attachments.len(), 1);
    assert_eq!(*content.attachments[0].bytes, (0..=255).collect::<Vec<u8>>());
    // A second reader sees the same.
    let other = mail_parser::MessageParser::default().parse(&raw).unwrap();
    assert_eq!(other.subject(), Some(mail.subject.as_str()));
    assert_eq!(other.body_text(0).unwrap().replace("\r\n", "\n"), *text);
    assert_eq!(other.attachment(0).unwrap().contents().len(), 256);
}

#[test]
fn row_14_the_payload_is_marked_as_thunderbird_and_rfc_9788_want() {
    let head = header(&payload(&letter()));
    assert!(head.contains("Content-Type: multipart/mixed;"), "{head}");
    assert!(head.contains("protected-headers=\"v1\"; hp=\"cipher\""), "{head}");
    for line in [
        "HP-Outer: Subject: [...]",
        "HP-Outer: Date: Wed, 04 Mar 2026 05:06:07 +0000",
        "HP-Outer: To: marie@x.example",
        "HP-Outer: Message-ID: <07070707070707070707070707070707@p.example>",
        "HP-Outer: In-Reply-To: <a@x.example>",
        "HP-Outer: From: ",
        "HP-Outer: References: <r@p.example>",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
}

#[test]
fn row_12_an_encrypted_mail_shows_nothing_but_the_allowed_fields() {
    let mut mail = letter();
    mail.automatic = true;
    let raw = encrypted(&mail, ARMOR);
    assert!(is_canonical(&raw), "{}", String::from_utf8_lossy(&raw));
    assert_eq!(outer_headers_allowed(&raw), Ok(()));
    assert!(is_multipart_encrypted(&raw));
    let outer = Mail::parse(&raw, &Limits::default()).unwrap();
    assert_eq!(outer.subject, "[...]");
    assert!(outer.automatic && outer.autocrypt);
    assert_eq!(outer.date, Some(mail.date));
    let names: Vec<String> =
        header(&raw).lines().filter(|l| !l.starts_with(' ')).map(|l| l.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        [
            "From",
            "To",
            "Date",
            "Subject",
            "Message-ID",
            "In-Reply-To",
            "References",
            "Auto-Submitted",
            "Autocrypt",
            "MIME-Version",
            "Content-Type"
        ]
    );
    match envelope(&raw, &Limits::default()).unwrap() {
        Envelope::Encrypted { ciphertext, repaired: false } => {
            assert_eq!(
                String::from_utf8(ciphertext).unwrap().replace("\r\n", "\n").trim(),
                String::from_utf8_lossy(ARMOR).trim()
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_outer_and_the_hp_outer_fields_are_the_same() {
    let mail = letter();
    let unfold = |t: String| t.replace("\r\n ", " ");
    let outer = unfold(header(&encrypted(&mail, ARMOR)));
    let inner = unfold(header(&payload(&mail)));
    for line in inner.lines().filter_map(|l| l.strip_prefix("HP-Outer: ")) {
        assert!(outer.lines().any(|l| l == line), "{line}");
    }
    assert_eq!(inner.lines().filter(|l| l.starts_with("HP-Outer: ")).count(), 7);
}

#[test]
fn text_cannot_break_out_of_a_field() {
    let mut mail = letter();
    mail.subject = "a\r\nBcc: eve@y.example\r\n\r\nbody".into();
    mail.outer_subject = Some("x\r\nX-Evil: 1".into());
    mail.from_display = "a\" <eve@y.example>\r\nX-Evil: 1".into();
    mail.message_id = "a@b>\r\nX-Evil: 1\r\nY: <c".into();
    mail.autocrypt = Some("AA\r\nX-Evil: 1".into());
    mail.parts = vec![OutPart::File {
        name: "a\"\r\nX-Evil: 1".into(),
        media_type: "text/plain\r\nX-Evil: 1".into(),
        bytes: b"x".to_vec().into(),
    }];
    for raw in [payload(&mail), encrypted(&mail, ARMOR)] {
        assert!(!String::from_utf8_lossy(&raw).lines().any(|l| l.starts_with("X-Evil") || l.starts_with("Bcc")));
    }
    assert_eq!(outer_headers_allowed(&encrypted(&mail, ARMOR)), Ok(()));
}

#[test]
fn row_09_the_guard_refuses_what_must_not_leave() {
    let good = String::from_utf8(encrypted(&letter(), ARMOR)).unwrap();
    for (from, to) in [
        ("Subject:", "User-Agent: x\r\nSubject:"),
        ("Subject:", "X-Code: 1\r\nSubject:"),
        ("Subject:", "Received: x\r\nSubject:"),
        ("Subject:", "Date: x\r\nSubject:"),
        ("Date:", "Bcc:"),
        ("From:", "From marie\r\nFrom:"),
    ] {
        assert!(outer_headers_allowed(good.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
    }
    for (from, to) in [
        ("multipart/encrypted", "multipart/mixed"),
        ("application/octet-stream", "text/plain"),
        ("Version: 1\r\n", "Version: 1\r\nhello\r\n"),
        ("-----BEGIN PGP MESSAGE-----", "hello\r\n-----BEGIN PGP MESSAGE-----"),
        ("-----END PGP MESSAGE-----\r\n", "-----END PGP MESSAGE-----\r\nhello\r\n"),
        ("wcDMA3wvqk35PDey", "these are clear words"),
        ("-----BEGIN PGP MESSAGE-----", "-----BEGIN PGP SIGNED MESSAGE-----"),
        ("; protocol=\"application/pgp-encrypted\"", ""),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(bad != good && !is_multipart_encrypted(bad.as_bytes()), "{to}");
    }
    assert!(!is_multipart_encrypted(format!("{good}epilogue").as_bytes()));
}

/// A GnuPG home with one key, or nothing where there is no GnuPG.
fn gnupg() -> Option<tempfile::TempDir> {
    let home = tempfile::tempdir().unwrap();
    let made = Command::new("gpg")
        .args([
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--quick-gen-key",
            "marie@x.example",
            "ed25519",
            "sign",
            "never",
        ])
        .env("GNUPGHOME", home.path())
        .stderr(Stdio::null())
        .status();
    if made.is_ok_and(|s| s.success()) {
        return Some(home);
    }
    eprintln!("skipped: no gpg");
    None
}

fn gpg(home: &tempfile::TempDir, args: &[&str], input: &[u8]) -> (bool, Vec<u8>) {
    use std::io::Write;
    let mut child = Command::new("gpg")
        .args(["--batch", "--quiet"])
        .args(args)
        .env("GNUPGHOME", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let out = child.wait_with_output().unwrap();
    (out.status.success(), out.stdout)
}

fn verifies(home: &tempfile::TempDir, raw: &[u8]) -> bool {
    let Envelope::Signed { signed, signature } = envelope(raw, &Limits::default()).unwrap() else { return false };
    let file = home.path().join("signature.asc");
    std::fs::write(&file, signature).unwrap();
    gpg(home, &["--verify", file.to_str().unwrap(), "-"], &signed).0
}

#[test]
fn standard_rfc3156_gnupg_verifies_the_signed_bytes_whatever_the_line_ends() {
    let Some(home) = gnupg() else { return };
    let mut mail = letter();
    mail.parts.truncate(1);
    let raw = signed(&mail, |bytes| {
        assert!(is_canonical(bytes));
        match gpg(&home, &["--armor", "--detach-sign"], bytes) {
            (true, signature) => Ok(signature),
            _ => Err(()),
        }
    })
    .unwrap();
    assert_eq!(outer_headers_allowed(&raw), Ok(()));
    assert!(verifies(&home, &raw));
    let bare: Vec<u8> = raw.iter().copied().filter(|b| *b != b'\r').collect();
    assert!(verifies(&home, &bare), "bare LF");
    let Envelope::Signed { signed: bytes, .. } = envelope(&raw, &Limits::default()).unwrap() else { panic!() };
    assert_eq!(protected(&bytes, &Limits::default()).unwrap().unwrap().subject, mail.subject);
    let text = String::from_utf8(raw).unwrap();
    assert!(!verifies(&home, text.replacen("here on", "here in", 1).as_bytes()), "changed");
    let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", home.path()).status();
}

fn mixed(parts: &[&str]) -> String {
    let mut out = "From: m@x.example\nContent-Type: multipart/mixed; boundary=b\n\n".to_owned();
    for part in parts {
        out += &format!("--b\n{part}\n");
    }
    out + "--b--\n"
}

#[test]
fn envelopes_are_told_apart() {
    let block = "-----BEGIN PGP MESSAGE-----\n\nabcd\n=abcd\n-----END PGP MESSAGE-----";
    let control = "Content-Type: application/pgp-encrypted\n\nVersion: 1\n";
    let data = format!("Content-Type: application/octet-stream\n\n{block}\n");
    let clear = "Content-Type: text/plain\n\nhello\n";
    let empty = "Content-Type: text/plain\n\n \u{a0}\n";
    let inline = format!("\n{block}\n");
    let tell = |raw: &str| format!("{:?}", envelope(raw.as_bytes(), &Limits::default()).unwrap());
    for (raw, want) in [
        (mixed(&[empty, control, &data]), "repaired: true"),
        (mixed(&[control, &data]), "repaired: true"),
        (mixed(&[clear, control, &data]), "Mixed"),
        (mixed(&[control, &data, clear]), "Mixed"),
        (mixed(&[control, &data]).replace("/mixed", "/encrypted"), "repaired: false"),
        (mixed(&[control, &data, clear]).replace("/mixed", "/encrypted"), "Mixed"),
        (mixed(&[control]).replace("/mixed", "/encrypted"), "Mixed"),
        (inline.clone(), "InlineEncrypted"),
        (format!("Subject: x\n\n  {}\u{a0}\n\n", block.replace('\n', "\n  ")), "InlineEncrypted"),
        (format!("\nhello\n{block}\n"), "Mixed"),
        (format!("\n{block}\nhello\n"), "Mixed"),
        (format!("\n{block}\n{block}\n"), "Mixed"),
        (mixed(&[&inline, clear]), "Mixed"),
        (mixed(&[&inline]), "InlineEncrypted"),
        (mixed(&[clear, "Content-Type: application/octet-stream; name=a.txt.pgp\n\nx"]), "Mixed"),
        (mixed(&[clear, "Content-Type: application/pgp-signature\n\nx"]), "Mixed"),
        (mixed(&[clear, "Content-Type: application/pgp-keys; name=k.asc\n\n-----BEGIN PGP PUBLIC KEY BLOCK-----"]), "Clear(smime: false)"),
        (mixed(&[clear, &format!("Content-Type: message/rfc822\n\n{inline}")]), "Clear(smime: false)"),
        ("\nhello\n> -----BEGIN PGP MESSAGE-----\n".to_owned(), "Clear(smime: false)"),
        ("Content-Type: application/pkcs7-mime\n\nx".to_owned(), "Clear(smime: true)"),
        (format!("Content-Type: text/html\n\n<p>{}</p>", block.replace('\n', "<br>")), "Mixed"),
        ("Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\n\n--b\n\nx\n--b\nContent-Type: application/pgp-signature\n\ns\n--b--".to_owned(), "Signed(3 bytes)"),
        ("Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\n\n--b\n\nx\n--b\nContent-Type: application/pgp-signature\n\ns\n--b\n\nmore\n--b--".to_owned(), "Mixed"),
    ] {
        assert!(tell(&raw).contains(want), "{want} is {} for\n{raw}", tell(&raw));
    }
}

#[test]
fn standard_rfc9788_unmarked_payload_headers_are_not_believed() {
    let limits = Limits::default();
    let inner = "Subject: real\nFrom: m@x.example\nContent-Type: text/plain";
    assert_eq!(protected(format!("{inner}\n\nx").as_bytes(), &limits).unwrap(), None);
    for mark in ["hp=\"cipher\"", "hp=clear", "protected-headers=\"v1\"", "PROTECTED-HEADERS=V1"] {
        let found = protected(format!("{inner}; {mark}\n\nx").as_bytes(), &limits).unwrap();
        assert_eq!(found.unwrap().subject, "real", "{mark}");
    }
}

#[test]
fn row_19_headers_decide_what_is_automatic_never_words() {
    let parse =
        |raw: &str| Mail::parse(format!("From: m@x.example\n{raw}\n\nx").as_bytes(), &Limits::default()).unwrap();
    for automatic in [
        "Auto-Submitted: auto-replied",
        "AUTO-SUBMITTED: Auto-Generated; owner=x",
        "auto-submitted: (yes) auto-notified",
        "Return-Path: <>",
        "Return-Path:  < >",
        "Precedence: Bulk",
        "precedence: JUNK",
        "Precedence: auto_reply",
        "Precedence: list",
        "X-Autoreply: yes",
        "X-Autorespond: x",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b",
    ] {
        assert!(parse(automatic).automatic, "{automatic}");
    }
    for letter in [
        "Subject: Automatische Gedanken",
        "Subject: Out of Office, delayed, vacation",
        "Auto-Submitted: no",
        "auto-submitted: NO (really)",
        "Auto-Submitted:",
        "Precedence: first-class",
        "Return-Path: <m@x.example>",
        "X-Autoreply: no",
        "List-Unsubscribe: <x>",
    ] {
        assert!(!parse(letter).automatic, "{letter}");
    }
    assert!(parse("List-Id: <x.example>").list && parse("precedence: LIST").list && !parse("Subject: list").list);
}

#[test]
fn standard_rfc5322_fields_are_read_tolerantly_and_bounded() {
    let many: String = (0..500).map(|n| format!(" <{n}@x.example>\n")).collect();
    let raw = format!(
        "From: m@x.example\nTo: A <a@x.example>, \"B, C\" <b@x.example>; c@x.example\nCc: g: d@x.example, e@x.example;\n\
         Subject: =?utf-8?q?=5BC-7K2M=5D_=C3=A9t=C3=A9?=\n more\nMessage-ID: <1@x.example>\nIn-Reply-To: 2@x.example\nReferences:{many}\
         Date: Wed, 4 Mar 2026 06:06:07 +0100\nAuthentication-Results: top; dmarc=fail\nAuthentication-Results: below\n\nx"
    );
    let mail = Mail::parse(raw.as_bytes(), &Limits::default()).unwrap();
    assert!(mail.to.contains(&address("a@x.example")) && mail.to.contains(&address("b@x.example")));
    assert_eq!(mail.cc, [address("d@x.example"), address("e@x.example")]);
    assert_eq!(mail.subject, "[C-7K2M] été more");
    assert_eq!((mail.message_id.as_deref(), mail.in_reply_to.as_deref()), (Some("1@x.example"), Some("2@x.example")));
    assert_eq!((mail.references.len(), mail.references[0].as_str()), (100, "0@x.example"));
    assert_eq!(mail.references[99], "499@x.example");
    assert_eq!(mail.date, Some(Utc.with_ymd_and_hms(2026, 3, 4, 5, 6, 7).unwrap()));
    let found: Vec<_> = mail.authentication_results.iter().map(|r| (r.server.as_str(), r.dmarc.as_deref())).collect();
    assert_eq!(found, [("top", Some("fail")), ("below", None)]);
}

#[test]
fn debug_output_says_nothing_of_a_letter() {
    let raw = b"From: m@x.example\nContent-Type: text/plain\n\nsecret words\n";
    let content = content(raw, &Limits::default()).unwrap();
    assert!(!format!("{content:?}").contains("secret"));
}
