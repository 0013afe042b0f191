//! The project's own samples: one of each shape that a mail, a command, a notice, an address or a lexicon can have.

use sequoia_openpgp::types::CompressionAlgorithm;

use super::forge::{
    clear_signed, cleartext, compressed, encrypted, file, head, literal, multipart, pgp_mime, protected, sealed,
    secret, signed, text,
};
use super::world::{MARIE, PAUL, THERAPIST};

/// Every text that a seed signs: what may be `verified` is one of them and nothing else.
pub fn signed_words() -> Vec<String> {
    ["Je vous écris de la mer.", "Elle est grise.", "/urgent\r\n\r\nBien lu."].map(str::to_owned).to_vec()
}

/// Entities that the people here have really signed.
pub fn signed_entities() -> Vec<String> {
    let mut entities = Vec::new();
    for words in signed_words() {
        entities.push(text(&words));
        entities.push(protected(&format!("From: Marie <{MARIE}>\r\nSubject: La mer\r\n"), &words));
        let attached = file("vue.txt", "text/plain", b"la mer");
        entities.push(multipart("mixed", "", "outer-part", &[&text(&words), &attached]));
    }
    entities
}

/// Whole mails: first octet 0, then the mail (see [`super::targets::intake`]).
pub fn mails() -> Vec<Vec<u8>> {
    let (marie, therapist) = (secret("marie"), secret("exemple"));
    let mut mails = Vec::new();
    for (n, entity) in signed_entities().iter().enumerate() {
        let (by, from) = if n % 4 == 3 { (&therapist, THERAPIST) } else { (&marie, MARIE) };
        let head = head(from, "...");
        mails.push(head.clone() + &sealed(by, entity));
        mails.push(head.clone() + &clear_signed(by, entity));
        mails.push(head.clone() + &pgp_mime(&encrypted(&literal(clear_signed(by, entity).as_bytes()))));
        mails.push(head.clone() + &pgp_mime(&encrypted(&literal(entity.as_bytes()))));
        let zipped = compressed(CompressionAlgorithm::Zip, &signed(&[by], entity.as_bytes()));
        mails.push(head.clone() + &pgp_mime(&encrypted(&zipped)));
    }
    for words in signed_words() {
        mails.push(head(MARIE, "En ligne") + &text(&cleartext(&marie, &words)));
        mails.push(head("Marie <x@evil.example>", "En clair") + &text(&words));
        let html = format!(
            "Content-Type: text/html; charset=utf-8\r\n\r\n<p>{words}<br><a href=\"https://x.example\">x</a></p>"
        );
        let both = multipart("alternative", "", "either-part", &[&text(&words), &html]);
        mails.push(head(PAUL, "Deux formes") + &both);
    }
    mails.push(head("MAILER-DAEMON@mx.example", "Undelivered") + &notices()[0]);
    mails.into_iter().map(|mail| [vec![0], mail.into_bytes()].concat()).collect()
}

/// Failure notices as they lie in a report, from its Content-Type on.
pub fn notices() -> Vec<String> {
    let report = |parameters: &str, parts: &[&str]| multipart("report", parameters, "report-part", parts);
    let told = "Content-Type: text/plain\r\n\r\nThe mail could not be delivered.\r\n";
    let status = "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\
                  Original-Envelope-Id: 1234\r\n\r\nFinal-Recipient: rfc822; marie@client.example\r\n\
                  Original-Recipient: rfc822;marie@client.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\
                  Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n";
    let delayed = status.replace("failed", "delayed").replace("5.1.1", "4.4.1");
    let returned = "Content-Type: message/rfc822\r\n\r\nMessage-ID: <a@cabinet.example>\r\nSubject: ...\r\n\r\nx\r\n";
    let headers = "Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: <b@cabinet.example>\r\n";
    vec![
        report("; report-type=delivery-status", &[told, status, returned]),
        report("; report-type=delivery-status", &[told, &delayed, headers]),
        report("; report-type=disposition-notification", &[told, returned]),
        report("", &[told]),
    ]
}

/// Therapists' and clients' words.
pub fn orders() -> Vec<String> {
    [
        "/urgent\n\nBien lu.",
        "/invite marie@client.example fr known",
        "/absent 2026-08-01 15/08/2026 second",
        "/video 2026-03-04 15:00 https://x.example/salle",
        "/key accept abeille-bison-chalet",
        "/close silent",
        "/to C-7K2M\n/label Marie B.\n\nUne lettre.",
        "/rythme mar,ven",
        "> /urgent\n\nLe 2 mars, Marie a écrit :\n> bonjour\n\nBonjour\n-- \nDr Exemple",
        "STOP",
        "J'ACCEPTE\n\nEt bonjour.",
        "──── Cadre · C-7K2M ────\nJeton : AAAA-BBBB-CCCC-DDDD\n────\n",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// What stands behind `From:`.
pub fn froms() -> Vec<String> {
    [
        "Marie <marie@client.example>",
        "\"B, Marie\" <marie@client.example>",
        "=?utf-8?q?H=C3=A9l=C3=A8ne?= <h@x.example>",
        "gens: marie@client.example, x@evil.example;",
        "marie@client.example (Marie (B.))",
        "<@relay.example:marie@client.example>",
        "marie@bücher.example",
        "\"marie@client.example\\0\" <x@evil.example>",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Small lexicons, and letters to scan.
pub fn lexicons() -> Vec<Vec<u8>> {
    let file =
        "[[a]]\nid = \"die\"\nfind = [\"je veux mourir\", \"(veux|voudrais) .. mourir\"]\nunless = [\"de rire\"]\n";
    let letters = ["Je veux en finir ce soir.", "J'ai failli mourir de rire.", "I took all the pills just now"];
    let mut seeds: Vec<Vec<u8>> = vec![[&[0], file.as_bytes()].concat()];
    for language in ["fr", "en"] {
        let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let places = [root.join("config/lexicon"), root.join("../config/lexicon")];
        let built_in = places.iter().find_map(|folder| std::fs::read(folder.join(format!("{language}.toml"))).ok());
        let head: Vec<u8> = built_in.unwrap_or_default().into_iter().take(3_000).collect();
        seeds.push([vec![0], head].concat());
    }
    seeds.extend(letters.iter().map(|letter| [&[1], letter.as_bytes()].concat()));
    seeds
}

/// Attachments: first octet the kind.
pub fn attachments() -> Vec<Vec<u8>> {
    let pdf = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n\
                3 0 obj<</Author(Dr Exemple)>>endobj\nxref\n0 4\n0000000000 65535 f \n0000000009 00000 n \n\
                0000000052 00000 n \n0000000095 00000 n \ntrailer<</Size 4/Root 1 0 R/Info 3 0 R>>\nstartxref\n133\n%%EOF\n";
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\0\0\0\0IEND\xaeB`\x82";
    let jpeg = b"\xff\xd8\xff\xe1\0\x1eExif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\xff\xda\0\x02\x12\xff\xd9";
    let webp = b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x0c\0\0\0\0\0\0\0\0\0";
    let html = b"<table><tr><td hidden>a<div style='display:none'>b</div><a href='mailto:x@y.example'>c</a><!--d-->";
    vec![
        [&[0][..], pdf].concat(),
        [&[1][..], png].concat(),
        [&[2][..], jpeg].concat(),
        [&[3][..], webp].concat(),
        [&[4][..], &document(b"<w:p w:author=\"Dr\">x</w:p>")].concat(),
        [&[5][..], html].concat(),
    ]
}

/// A small word-processor document.
pub fn document(body: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [("docProps/core.xml", &b"<dc:creator>Dr</dc:creator>"[..]), ("word/document.xml", body)] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("memory");
        zip.write_all(content).expect("memory");
    }
    zip.finish().expect("memory").into_inner()
}
