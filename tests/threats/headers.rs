//! Rows 4, 15 and 19, RFC 5322 and 9788: fields that an attacker writes.

use cadre::domain::intake::Action;
use cadre::mime::{self, Limits, Mail};
use cadre::model::{ClientId, Verdict};

use crate::fuzz::forge::{clear_signed, head, multipart, protected, sealed, secret, text};
use crate::fuzz::world::{MARIE, PAUL, World};
use crate::tools::{WORDS, genuine, look, verdict};

/// Every field that Cadre writes itself, or might be thought to obey.
const CONTROLS: [&str; 16] = [
    "X-Cadre-Verdict: verified",
    "X-Cadre-Client: C-2222",
    "X-Cadre-Command: /discharge silent",
    "X-Schleuder-Sig-State: good",
    "Autocrypt: addr=marie@client.example; prefer-encrypt=mutual; keydata=AAAA",
    "Autocrypt-Gossip: addr=marie@client.example; keydata=AAAA",
    "Authentication-Results: mx.cabinet.example; dmarc=pass",
    "HP-Outer: Subject: [...]",
    "Chat-Version: 1.0",
    "In-Reply-To: <a@cabinet.example>",
    "References: <a@cabinet.example> <b@cabinet.example>",
    "Subject: [C-2222] Autre",
    "X-Priority: 1",
    "Received: from cabinet.example",
    "Content-Type: multipart/mixed; hp=\"cipher\"; protected-headers=\"v1\"",
    "Disposition-Notification-To: x@evil.example",
];

#[test]
fn row_04_control_fields_from_outside_have_no_effect() {
    let world = World::new();
    let marie = secret("marie");
    for (what, body, said) in [
        ("unsigned", text(WORDS), Verdict::Unsigned),
        ("signed", clear_signed(&marie, &genuine()), Verdict::Verified),
        ("sealed", sealed(&marie, &genuine()), Verdict::Verified),
        ("by a stranger", sealed(&secret("mallory"), &genuine()), Verdict::UnknownSigner),
    ] {
        let plain = verdict(&world, &(head(MARIE, "x") + &body));
        assert_eq!(plain.0, said, "{what}");
        for control in CONTROLS {
            let outside = verdict(&world, &format!("{}{control}\r\n{body}", head(MARIE, "x")));
            if !control.starts_with("Content-Type") {
                assert_eq!(outside, plain, "{what}, outside: {control}");
            }
            assert_ne!((outside.0, said == Verdict::Verified), (Verdict::Verified, false), "{what}: {control}");
            assert!(!matches!(outside.1, Action::Obey { .. }), "{what}: {control}");
        }
    }
    // Inside the encryption, signed by Marie, among protected fields.
    for control in CONTROLS {
        let inner = protected(&format!("From: Marie <{MARIE}>\r\nSubject: x\r\n{control}\r\n"), WORDS);
        let inside = verdict(&world, &(head(MARIE, "...") + &sealed(&marie, &inner)));
        assert_eq!(
            inside,
            (Verdict::Verified, Action::File { client: ClientId(1), letter: true }),
            "inside: {control}"
        );
    }
}

#[test]
fn row_15_tag_and_references_of_another_thread_file_nothing_there() {
    let world = World::new();
    let paul = secret("paul");
    let stolen = "In-Reply-To: <marie-1@cabinet.example>\r\nReferences: <marie-1@cabinet.example>\r\n";
    let inner = protected(&format!("From: Paul <{PAUL}>\r\nSubject: Re: [C-2222] La mer\r\n{stolen}"), WORDS);
    for body in [sealed(&paul, &inner), clear_signed(&paul, &genuine())] {
        let mail = format!("{stolen}{}", head(PAUL, "Re: [C-2222] La mer") + &body);
        let (said, action) = verdict(&world, &mail);
        assert_eq!((said, action), (Verdict::Verified, Action::File { client: ClientId(2), letter: true }));
    }
    assert_eq!(mime::strip_codes("Re: [C-2222] La mer"), "Re: La mer");
}

#[test]
fn row_19_fields_make_mail_automatic_and_words_never_do() {
    let world = World::new();
    let marie = secret("marie");
    let automatic = |fields: &str, subject: &str| {
        let mail = format!("{fields}{}", head(MARIE, subject) + &text(WORDS));
        look(&world, mail.as_bytes()).outer.automatic
    };
    for subject in [
        "Automatische Gedanken",
        "Delayed",
        "Vacation",
        "Out of office",
        "Absence du bureau",
        "Undelivered Mail Returned to Sender",
        "Réponse automatique : mes pensées",
    ] {
        assert!(!automatic("", subject), "{subject}");
        let sealed = head(MARIE, subject) + &sealed(&marie, &genuine());
        let filed = Action::File { client: ClientId(1), letter: true };
        assert_eq!(verdict(&world, &sealed), (Verdict::Verified, filed), "{subject}");
    }
    for fields in
        ["Auto-Submitted: no\r\n", "auto-submitted: NO\r\n", "AUTO-SUBMITTED: No (really)\r\n", "Auto-Submitted:\r\n"]
    {
        assert!(!automatic(fields, "x"), "{fields}");
    }
    for fields in [
        "Auto-Submitted: auto-replied\r\n",
        "AUTO-submitted: Auto-Generated\r\n",
        "auto-submitted:auto-notified; owner-email=\"x@y.example\"\r\n",
        "Precedence: BULK\r\n",
        "precedence: auto_reply\r\n",
        "Return-Path: <>\r\n",
        "X-AutoReply: yes\r\n",
    ] {
        assert!(automatic(fields, "Bonjour"), "{fields}");
    }
}

#[test]
fn row_12_fields_break_out_of_nothing_and_reorder_nothing() {
    let limits = Limits::default();
    for subject in [
        "=?utf-8?q?La_mer=0D=0ABcc:_x=40evil.example?=",
        "=?utf-8?b?TGEgbWVyDQpCY2M6IHhAZXZpbC5leGFtcGxl?=",
        "=?utf-8?q?La_mer=0ABcc:_x=40evil.example?=",
        "=?utf-8?q?La_mer=0D?=Bcc: x@evil.example",
        "=?utf-8?q?La_mer=E2=80=A8Bcc?=",
        "La mer\u{202e}\u{2066}\u{200b}\u{feff}",
        "La mer\0\u{8}\u{1b}[31m",
    ] {
        let mail = Mail::parse(format!("{}x", head(MARIE, subject)).as_bytes(), &limits).expect("within the limits");
        let harmless = |c: char| {
            !c.is_control()
                && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        };
        assert!(
            mail.subject.starts_with("La mer") && mail.subject.chars().all(harmless),
            "{subject:?}: {:?}",
            mail.subject
        );
    }
    // Names of files, in every way that they can be given.
    for name in [
        "filename=\"../../Marie Dupont.pdf\"",
        "filename=\"a.pdf\\r\\nBcc: x@evil.example\"",
        "filename=\"=?utf-8?q?a=0D=0ABcc:_x?=.exe\"",
        "filename*0=\"facture.p\"; filename*1=\"df.exe\"",
        "filename*=utf-8''a%0D%0ABcc%3A%20x.exe",
        "filename*0*=utf-8''%2E%2E%2F; filename*1*=etc%2Fpasswd",
        "filename=\"a\u{202e}fdp.exe\"",
        "filename=\"con\"; filename=\"b.exe\"",
        "filename=\"\0\"",
    ] {
        let part =
            format!("Content-Type: application/octet-stream\r\nContent-Disposition: attachment; {name}\r\n\r\nMZ\x01");
        let mail = multipart("mixed", "", "o", &[&text(WORDS), &part]);
        let content = mime::content(mail.as_bytes(), &limits).expect("within the limits");
        let [one] = content.attachments.as_slice() else { panic!("{name}: {:?}", content.attachments) };
        assert!(one.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)), "{name}: {}", one.name);
        assert!(!one.class.passes_to_other_side(), "{name}: a program passes");
    }
}

#[test]
fn standard_rfc9788_protected_fields_are_believed_where_they_are_signed() {
    let world = World::new();
    let marie = secret("marie");
    let inner = protected(
        &format!("From: Marie <{MARIE}>\r\nSubject: Le vrai\r\nHP-Outer: Subject: menti\r\nHP-Outer: From: {PAUL}\r\n"),
        WORDS,
    );
    let examined = look(&world, (head(PAUL, "Autre") + &sealed(&marie, &inner)).as_bytes());
    assert_eq!(examined.decision.verdict, Verdict::Verified, "{:?}", examined.decision);
    assert_eq!(examined.headers().subject, "Le vrai");
    // Fields of a payload that isn't marked are no protected ones, and those of a part within it neither.
    let unmarked = format!("Subject: Faux\r\nFrom: {PAUL}\r\n{}", genuine());
    let examined = look(&world, (head(MARIE, "Dehors") + &sealed(&marie, &unmarked)).as_bytes());
    assert_eq!((examined.headers().subject.as_str(), examined.decision.verdict), ("Dehors", Verdict::Verified));
    let deep = multipart("mixed", "", "o", &[&inner]);
    let examined = look(&world, (head(MARIE, "Dehors") + &sealed(&marie, &deep)).as_bytes());
    assert_eq!(examined.headers().subject, "Dehors");
}

#[test]
fn standard_rfc5322_ids_that_are_missing_repeated_or_endless_do_no_harm() {
    let world = World::new();
    let body = sealed(&secret("marie"), &genuine());
    let long = format!("<{}@client.example>", "a".repeat(2_000));
    let many: String = (0..20_000).map(|n| format!(" <{n}@client.example>\r\n")).collect();
    for (what, fields) in [
        ("none", String::new()),
        ("two", "Message-ID: <a@x.example>\r\nMessage-ID: <b@x.example>\r\n".into()),
        ("no id", "Message-ID: rien\r\nReferences: rien du tout\r\n".into()),
        ("endless", format!("Message-ID: {long}\r\nReferences: {long}\r\n")),
        ("empty", "Message-ID:\r\nReferences:\r\nIn-Reply-To: <>\r\n".into()),
        ("line breaks", "Message-ID: <a\r\n b@x.example>\r\n".into()),
    ] {
        let mail = format!("From: {MARIE}\r\n{fields}{body}");
        let examined = look(&world, mail.as_bytes());
        assert_eq!(examined.decision.verdict, Verdict::Verified, "{what}: {:?}", examined.decision);
        let ids = examined.outer.references.iter().chain(&examined.outer.message_id);
        assert!(ids.into_iter().all(|id| id.len() <= 512 && !id.contains(['\r', '\n', '<', '>'])), "{what}");
    }
    let mail = format!("From: {MARIE}\r\nReferences:{many}{body}");
    // More than a header may have: a person looks, nothing breaks.
    assert!(world.examine(mail.as_bytes()).is_err() || look(&world, mail.as_bytes()).outer.references.len() <= 100);
}
