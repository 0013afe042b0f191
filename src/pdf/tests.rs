use std::time::Instant;

use lopdf::{Document, LoadOptions};

use super::*;

const PASSPHRASE: &str = "lampe-forest-neige-colline-rivage-tambour";

fn passphrase() -> Password {
    Password::new(PASSPHRASE.to_owned())
}

fn sheet<'a>(body: &'a Plaintext) -> Sheet<'a> {
    Sheet {
        language: Language::Fr,
        heading: "Cabinet de la rue des Lilas",
        date: "le 3 mars 2026",
        body,
        note: Some("Cette lettre répond à vos lettres du 1er et du 2 mars."),
        answer: Some(Answer {
            explanation: "Mettez ces trois mots dans votre réponse :", words: "forêt lampe neige"
        }),
    }
}

fn sealed(text: &str) -> Vec<u8> {
    letter(&sheet(&Plaintext::new(text.as_bytes().to_vec())), &passphrase()).unwrap()
}

fn opened(bytes: &[u8]) -> Document {
    Document::load_mem_with_options(bytes, LoadOptions::with_password(PASSPHRASE)).unwrap()
}

/// The text as lopdf finds it, without its white space.
fn text(bytes: &[u8]) -> String {
    let document = opened(bytes);
    let pages: Vec<u32> = document.get_pages().into_keys().collect();
    document.extract_text(&pages).unwrap().split_whitespace().collect()
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn a_short_letter_is_small_and_opens_with_its_passphrase_only() {
    let pdf = sealed("Chère Madame,\n\nJe vous ai bien lue. À jeudi,\nvotre thérapeute");
    assert!(pdf.len() < 60_000, "{}", pdf.len());
    assert!(pdf.starts_with(b"%PDF-2.0\n"));
    assert!(opens(&pdf, &passphrase()));
    assert!(!opens(&pdf, &Password::new("lampe-forest-neige-colline-rivage-tombour".into())));
    assert!(!opens(&pdf, &Password::new(String::new())));
    let read = text(&pdf);
    for words in
        ["Cabinet de la rue des Lilas", "Je vous ai bien lue. À jeudi,", "vos lettres du 1er", "forêt lampe neige"]
    {
        assert!(read.contains(&squeezed(words)), "{words}: {read}");
    }
    assert_eq!(opened(&pdf).get_pages().len(), 1);
}

#[test]
fn nothing_readable_and_no_structure_stands_outside_of_the_encryption() {
    let pdf = sealed("Un secret.");
    let raw = String::from_utf8_lossy(&pdf);
    for word in [
        "Cabinet",
        "Lilas",
        "secret",
        "for\u{ea}t",
        "mars 2026",
        "krilla",
        "lopdf",
        "cadre",
        "Producer",
        "Creator",
        "CreationDate",
        "/Info",
        "/Metadata",
        "StructElem",
        "/Font",
        "/Page ",
    ] {
        assert!(!raw.to_lowercase().contains(&word.to_lowercase()), "{word}");
    }
    let document = opened(&pdf);
    assert!(!document.trailer.has(b"Info"));
    assert!(!document.objects.values().any(|o| o.as_stream().is_ok_and(|s| s.dict.has_type(b"Metadata"))));
    assert_ne!(sealed("Un secret."), pdf, "the key and the ID are new each time");
}

#[test]
fn the_size_tells_little_of_the_length() {
    let sizes: std::collections::BTreeSet<usize> = (0..40).map(|n| sealed(&"mot ".repeat(n * 5)).len()).collect();
    assert!(sizes.len() <= 5, "{sizes:?}");
    for size in sizes {
        assert_eq!(size % 4096, 0, "{size}");
    }
}

#[test]
fn forty_pages_come_out_whole_and_in_order() {
    let body: String =
        (0..520).map(|n| format!("Alinéa {n} : on y dit que l’été fut long, et l’hiver aussi.\n\n")).collect();
    let pdf = sealed(&body);
    let pages = opened(&pdf).get_pages().len();
    assert!(pages >= 40, "{pages}");
    let read = text(&pdf);
    let mut from = 0;
    for n in 0..520 {
        let needle = format!("Alinéa{n}:");
        let at = read[from..].find(&needle).unwrap_or_else(|| panic!("{needle} is missing or out of order"));
        from += at + needle.len();
    }
    assert!(read.ends_with(&format!("forêtlampeneige{pages}/{pages}")) || read.contains("forêtlampeneige"));
}

#[test]
fn every_french_sign_is_shown() {
    let signs =
        "àâäæçéèêëîïôöœùûüÿ ÀÂÄÆÇÉÈÊËÎÏÔÖŒÙÛÜŸ «\u{a0}» ‹› ’ ‘ “ ” „ … – — € ° ½ ¼ ¾ n\u{ba} § 1\u{202f}000 • × ÷ ±";
    assert_eq!(missing_signs(signs), Vec::<char>::new());
    assert_eq!(missing_signs("Ωραία ψυχή Ђура Їжак Žluťoučký kůň ł ğ ı ș ẞ ắ →"), Vec::<char>::new());
    assert!(text(&sealed(signs)).contains("«»‹›’‘“”„…–—€°½¼¾"));
}

#[test]
fn accents_that_come_apart_are_put_together() {
    assert_eq!(missing_signs("e\u{301}te\u{301}"), Vec::<char>::new());
    assert!(text(&sealed("e\u{301}te\u{301}")).contains("été"));
}

#[test]
fn smileys_are_shown_and_what_no_font_has_is_shown_as_its_code() {
    assert_eq!(
        missing_signs("🙂😊❤\u{fe0f}👍🏽🙏🌷🎉☀★✓ 👩\u{200d}👧 soft\u{ad}hyphen\u{200b}\u{feff}\u{7}"),
        Vec::<char>::new()
    );
    assert_eq!(missing_signs("a🥰한b🥰字"), ['🥰', '한', '字']);
    let read = text(&sealed("a🥰한b 🙂"));
    assert!(read.contains("a[U+1F970][U+D55C]b🙂"), "{read}");
}

#[test]
fn hebrew_and_arabic_are_shown() {
    let words = "שלום עולם — مرحبا بالعالم — سلام می\u{200c}خواهم";
    assert_eq!(missing_signs(words), Vec::<char>::new());
    let pdf = sealed(words);
    assert!(pdf.len() < 100_000);
    assert!(!text(&pdf).contains("[U+"));
}

#[test]
fn a_mark_that_no_font_has_together_with_its_letter_is_no_empty_box() {
    // Each in a font, but not in one.
    let set = typeset::set(vec![block("ש\u{1f5a}\u{301} ب\u{363} a\u{5b0} ж\u{64b} 😊\u{301}")]);
    for run in set[0].layout.lines().flat_map(|line| line.runs()) {
        for cluster in run.clusters() {
            assert!(cluster.glyphs().all(|glyph| glyph.id != 0), "{:?}", &set[0].text[cluster.text_range()]);
        }
    }
}

#[test]
fn a_line_without_spaces_is_broken_and_lost_nowhere() {
    let line: String = ('a'..='z').cycle().take(100_000).collect();
    let begun = Instant::now();
    let pdf = sealed(&line);
    println!("100,000 letters without a space: {:?}, {} bytes", begun.elapsed(), pdf.len());
    let read = text(&pdf);
    let letters = read.chars().filter(char::is_ascii_lowercase).count();
    assert!(letters >= 100_000, "{letters}");
}

#[test]
fn nothing_but_emptiness_is_a_letter_too() {
    for body in ["", "\n\n\n\r\n \u{a0}\t\n", "\u{0}\u{1}\u{7}\u{1b}\u{7f}\u{9b}\u{200b}", "\u{ad}"] {
        let pdf = sealed(body);
        assert!(text(&pdf).contains("forêtlampeneige"), "{body:?}");
        let bare = Plaintext::new(body.as_bytes().to_vec());
        let bare = Sheet { language: Language::En, heading: "", date: "", body: &bare, note: None, answer: None };
        assert!(opens(&letter(&bare, &passphrase()).unwrap(), &passphrase()), "{body:?}");
    }
}

#[test]
fn control_characters_vanish_and_tabs_are_spaces() {
    assert_eq!(fonts::showable("a\u{1b}[31mb\tc\u{0}d\u{85}e\r\nf\rg"), "a[31mb cd\ne\nf\ng");
    let wild = Plaintext::new(vec![0xff, 0xfe, b'o', b'k', 0xc3]);
    assert!(letter(&sheet(&wild), &passphrase()).is_ok());
}

#[test]
fn more_text_than_a_mail_may_have_is_refused() {
    let body = Plaintext::new(vec![b'a'; MAX_TEXT + 1]);
    assert_eq!(letter(&sheet(&body), &passphrase()), Err(PdfError::TooLarge));
}

#[test]
fn two_kilobytes_take_a_moment() {
    let body = "Vous écriviez hier que la nuit avait été longue. ".repeat(41);
    sealed("the fonts are read once");
    let begun = Instant::now();
    let pdf = sealed(&body);
    let took = begun.elapsed();
    println!("a letter of {} bytes: {took:?}, {} bytes sealed", body.len(), pdf.len());
    assert!(took.as_millis() < 1_000, "{took:?}");
}

fn block(text: &str) -> typeset::Block {
    let text = text.into();
    typeset::Block { text, size: 17.0, leading: 1.4, before: 0.0, ruled: false, with_next: false, unbroken: true }
}

#[test]
fn words_of_answer_stay_on_one_line() {
    for words in ["forêt lampe neige", "constellation bibliothèque hippopotame"] {
        let set = typeset::set(vec![block(words)]);
        assert_eq!(set[0].layout.len(), 1, "{words}");
        assert!(set[0].layout.width() <= typeset::MEASURE, "{words}");
    }
    let body = Plaintext::default();
    assert_eq!(format!("{:?}", sheet(&body).answer.unwrap()), "Answer(…)");
}

/// A PDF of one page, made by hand.
fn small_pdf(extra: &str) -> Vec<u8> {
    let mut out = b"%PDF-1.4\n".to_vec();
    let objects = [
        "<</Type/Catalog/Pages 2 0 R/Version/1.7>>".to_owned(),
        "<</Type/Pages/Kids[3 0 R]/Count 1>>".to_owned(),
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R/Resources<</Font<</F <</Type/Font/Subtype/Type1/BaseFont/Helvetica>> >> >> >>".to_owned(),
        "<</Length 6 0 R>>stream\nBT /F 12 Tf 20 40 Td (Une feuille) Tj ET\nendstream".to_owned(),
        "<</Author(Dr Lune)/Producer(Machine)>>".to_owned(),
        "41".to_owned(),
    ];
    let mut offsets = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        offsets.push(out.len());
        out.extend_from_slice(format!("{} 0 obj\n{object}\nendobj\n", n + 1).as_bytes());
    }
    let start = out.len();
    out.extend_from_slice(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).as_bytes());
    for offset in offsets {
        out.extend_from_slice(format!("{offset:010} 00000 n \n").as_bytes());
    }
    out.extend_from_slice(
        format!("trailer\n<</Size {}/Root 1 0 R/Info 5 0 R{extra}>>\nstartxref\n{start}\n%%EOF\n", objects.len() + 1)
            .as_bytes(),
    );
    out
}

#[test]
fn a_document_is_sealed_and_a_damaged_or_locked_one_is_not() {
    let sealed = document(&small_pdf(""), &passphrase()).unwrap();
    assert!(opens(&sealed, &passphrase()));
    assert!(text(&sealed).contains("Unefeuille"));
    let inside = opened(&sealed);
    assert!(!inside.catalog().unwrap().has(b"Version"));
    assert!(!inside.objects.values().any(|o| o.as_dict().is_ok_and(|d| d.has(b"Author"))));
    assert_eq!(document(&sealed, &passphrase()), Err(PdfError::Unreadable));
    assert_eq!(document(b"%PDF-1.7\nnonsense", &passphrase()), Err(PdfError::Unreadable));
    assert_eq!(document(b"", &passphrase()), Err(PdfError::Unreadable));
    assert_eq!(document(&small_pdf("/Encrypt<</Filter/Standard/V 9>>"), &passphrase()), Err(PdfError::Unreadable));
    let pdf = small_pdf("");
    for cut in (0..pdf.len()).step_by(7) {
        // A library may mend a file; it must not panic.
        let _ = document(&pdf[..cut], &passphrase());
    }
}

#[test]
fn no_damage_to_a_sealed_letter_panics() {
    let pdf = sealed("Un mot.");
    assert!(!opens(b"", &passphrase()));
    assert!(!opens(&small_pdf(""), &passphrase()));
    for at in (0..pdf.len()).step_by(997) {
        let mut bad = pdf.clone();
        bad[at] ^= 0x55;
        let _ = opens(&bad, &passphrase());
        let _ = opens(&pdf[..at], &passphrase());
    }
}

/// A PNG of one colour (RFC 2083), stored without compression.
fn png(width: u32, height: u32) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(data);
        [&u32::try_from(data.len()).unwrap().to_be_bytes()[..], kind, data, &crc.sum().to_be_bytes()].concat()
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    let rows = vec![0_u8; usize::try_from((width.min(500) * 3 + 1) * height.min(500)).unwrap()];
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &rows).unwrap();
    let data = encoder.finish().unwrap();
    [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", &header), &chunk(b"IDAT", &data), &chunk(b"IEND", &[])].concat()
}

#[test]
fn a_picture_is_sealed_with_its_alternative_text() {
    let sealed = picture(&png(40, 20), "Un dessin\u{7} de\nla mer", Language::Fr, &passphrase()).unwrap();
    assert!(opens(&sealed, &passphrase()));
    let document = opened(&sealed);
    assert_eq!(document.get_pages().len(), 1);
    let alt = document.objects.values().find_map(|o| o.as_dict().ok()?.get(b"Alt").ok()).unwrap();
    assert_eq!(lopdf::decode_text_string(alt).unwrap(), "Un dessin de la mer");
}

#[test]
fn pictures_that_are_none_or_too_large_are_refused() {
    let seal = |bytes: &[u8]| picture(bytes, "", Language::En, &passphrase());
    assert_eq!(seal(b""), Err(PdfError::Unreadable));
    assert_eq!(seal(b"BM etc"), Err(PdfError::Unreadable));
    assert_eq!(seal(&png(60_000, 60_000)), Err(PdfError::TooLarge));
    let good = png(40, 20);
    assert_eq!(seal(&good[..60]), Err(PdfError::Unreadable));
    for head in [&b"\xff\xd8\xff"[..], b"\x89PNG", b"GIF89a", b"RIFF\x10\0\0\0WEBP"] {
        assert!(seal(&[head, &[0x5a; 300]].concat()).is_err(), "{head:?}");
    }
}
