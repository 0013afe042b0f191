//! Sealed letters in the hands of readers that no one here wrote: qpdf, poppler, MuPDF, pdf.js, PDFium, Chromium.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use cadre::model::Language;
use cadre::pdf::{self, Answer, Sheet};
use cadre::secret::{Password, Plaintext};
use serde_json::Value;
use tempfile::TempDir;

/// poppler's programs cut what follows `-upw` after 32 characters; `LONG` is for all others.
const PASSPHRASE: &str = "lampe-lune-neige-col-rive-tour";
const LONG: &str = "anticiper-bibliotheque-forest-neige-colline-tambour";
const WRONG: &str = "lampe-lune-neige-col-rive-cour";
const HEADING: &str = "Cabinet de la rue des Lilas";
const DATE: &str = "le 3 mars 2026";
const NOTE: &str = "Cette lettre répond à vos lettres du 1er et du 2 mars.";
const EXPLANATION: &str = "Pour que nous sachions que c’est vous, mettez ces trois mots dans votre réponse :";
const WORDS: &str = "forêt lampe neige";
const BODY: &str = "Chère Madame,\n\nJ’ai lu votre lettre avec attention ; l’œuvre, le cœur, Noël, « être là » – à 20 °C, \
    pour 3,50 € … Ça va mieux ?\n\nÀ jeudi 🙂\nvotre thérapeute";

struct Letter {
    folder: TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Letter {
    fn file(&self) -> &str {
        self.path.to_str().expect("a temporary path is UTF-8")
    }
}

fn kept(bytes: Vec<u8>) -> Letter {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("letter.pdf");
    fs::write(&path, &bytes).expect("a file can be written");
    Letter { folder, path, bytes }
}

fn letter(body: &str) -> Letter {
    sealed(body, PASSPHRASE)
}

fn sealed(body: &str, passphrase: &str) -> Letter {
    let body = Plaintext::new(body.as_bytes().to_vec());
    let answer = Some(Answer { explanation: EXPLANATION, words: WORDS });
    let sheet = Sheet { language: Language::Fr, heading: HEADING, date: DATE, body: &body, note: Some(NOTE), answer };
    kept(pdf::letter(&sheet, &Password::new(passphrase.into())).expect("a letter can be sealed"))
}

/// So many paragraphs that they take forty pages.
fn long_body() -> String {
    (0..520).map(|n| format!("Alinéa {n} : on y dit que l’été fut long, et l’hiver aussi.\n\n")).collect()
}

struct Ran {
    ok: bool,
    out: String,
    said: String,
}

fn run(program: &str, args: &[&str]) -> Ran {
    let output = Command::new(program)
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|e| panic!("{program} can't be started ({e}): deploy/install-deps.sh test installs it"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { ok: output.status.success(), out: text(&output.stdout), said: text(&output.stderr) }
}

/// A program's output; its failure ends the test.
fn good(program: &str, args: &[&str]) -> String {
    let ran = run(program, args);
    assert!(ran.ok, "{program} {args:?}: {} {}", ran.out, ran.said);
    // MuPDF says this of Debian's package, whatever it reads.
    let said = ran.said.replace("warning: ICC support is not available", "");
    assert_eq!(said.trim(), "", "{program} {args:?} complains");
    ran.out
}

/// Where tests/peers/install.sh has put what comes from npm and PyPI.
fn peers() -> PathBuf {
    let folder = std::env::var_os("CADRE_PEERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers"), PathBuf::from);
    for part in ["js/node_modules/pdfjs-dist/build/pdf.mjs", "py/bin/python"] {
        let path = folder.join(part);
        assert!(path.exists(), "{} isn't there: tests/peers/install.sh fetches pdf.js and PDFium", path.display());
    }
    fs::canonicalize(folder).expect("the folder of the peers")
}

fn script(name: &str) -> String {
    format!("{}/tests/peers/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn pdfjs(letter: &Letter, passphrase: &str) -> Value {
    let peers = peers();
    let out = good("node", &[&script("pdfjs.mjs"), &peers.to_string_lossy(), letter.file(), passphrase]);
    serde_json::from_str(out.lines().last().unwrap_or_default()).expect("pdf.js answers with JSON")
}

fn pdfium(letter: &Letter, passphrase: &str, picture: Option<&str>) -> Value {
    let python = peers().join("py/bin/python");
    let script = script("pdfium_peer.py");
    let mut args = vec![script.as_str(), letter.file(), passphrase];
    args.extend(picture);
    serde_json::from_str(&good(&python.to_string_lossy(), &args)).expect("PDFium answers with JSON")
}

/// White space differs between readers where lines end.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect()
}

/// All that the short letter says, in its order.
fn assert_whole(program: &str, text: &str) {
    let text = squeezed(text);
    let mut from = 0;
    for part in [HEADING, DATE, BODY, NOTE, EXPLANATION, WORDS] {
        let part = squeezed(part);
        let at = text[from..].find(&part).unwrap_or_else(|| panic!("{program} doesn't read {part:?} in: {text}"));
        from += at + part.len();
    }
}

/// All paragraphs of the long letter, each once, in their order.
fn assert_long(program: &str, text: &str) {
    let text = squeezed(text);
    let mut from = 0;
    for n in 0..520 {
        let part = format!("Alinéa{n}:ony");
        assert_eq!(text.matches(&part).count(), 1, "{program}: {part}");
        let at = text[from..].find(&part).unwrap_or_else(|| panic!("{program}: {part} is out of order"));
        from += at;
    }
    assert!(text[from..].contains(&squeezed(WORDS)), "{program}");
}

#[test]
fn qpdf_finds_a_sound_file_with_the_strongest_encryption() {
    for letter in [letter(BODY), letter(&long_body()), letter("")] {
        let password = format!("--password={PASSPHRASE}");
        let said = good("qpdf", &["--check", &password, letter.file()]);
        assert!(said.contains("PDF Version: 2.0") && said.contains("No syntax or stream encoding errors"), "{said}");
        let said = good("qpdf", &["--show-encryption", &password, letter.file()]);
        assert!(said.contains("R = 6") && said.contains("P = -4"), "{said}");
        for kind in ["stream", "string", "file"] {
            assert!(said.contains(&format!("{kind} encryption method: AESv3")), "{said}");
        }
        let plain = letter.folder.path().join("plain.pdf");
        let plain = plain.to_str().expect("a temporary path is UTF-8");
        good("qpdf", &["--decrypt", "--qdf", &password, letter.file(), plain]);
        let opened = String::from_utf8_lossy(&fs::read(plain).expect("qpdf wrote it")).into_owned();
        for name in ["/Info", "/Metadata", "/Producer", "/Creator", "/CreationDate", "/ModDate", "krilla", "lopdf"] {
            assert!(!opened.contains(name), "{name} is in the opened letter");
        }
    }
}

#[test]
fn poppler_reads_the_text_whole_and_finds_it_tagged_and_without_metadata() {
    let short = letter(BODY);
    let upw = ["-upw", PASSPHRASE];
    assert_whole("pdftotext", &good("pdftotext", &[upw[0], upw[1], short.file(), "-"]));
    let long = letter(&long_body());
    assert_long("pdftotext", &good("pdftotext", &[upw[0], upw[1], long.file(), "-"]));

    let info = good("pdfinfo", &[upw[0], upw[1], short.file()]);
    let has = |name: &str, value: &str| info.lines().any(|l| l.starts_with(name) && l.ends_with(value));
    assert!(has("Tagged:", "yes") && has("PDF version:", "2.0") && has("Pages:", "1"), "{info}");
    assert!(info.contains("algorithm:AES-256") && has("Metadata Stream:", "no"), "{info}");
    for name in ["Title", "Author", "Creator", "Producer", "CreationDate", "ModDate"] {
        assert!(!info.contains(name), "{name}: {info}");
    }
    let fonts = good("pdffonts", &[upw[0], upw[1], short.file()]);
    assert!(fonts.lines().count() >= 4, "{fonts}");
    for line in fonts.lines().skip(2) {
        // A subset's name begins with six letters; the columns are emb, sub, uni.
        assert!(line.contains("GentiumBookPlus") || line.contains("Symbola"), "{line}");
        assert_eq!(line.split_whitespace().filter(|word| *word == "yes").count(), 3, "{line}");
    }
}

#[test]
fn the_structure_names_a_heading_and_whole_paragraphs() {
    let long = letter(&format!("{}\n\n{}", "Un alinéa qui ne finit pas. ".repeat(200), BODY));
    let tree = good("pdfinfo", &["-upw", PASSPHRASE, "-struct-text", long.file()]);
    assert_eq!(tree.lines().filter(|line| line.trim_start().starts_with("H1")).count(), 1, "{tree}");
    assert!(squeezed(&tree).contains(&squeezed(HEADING)), "{tree}");
    // Heading aside: date, the paragraph over many pages, three of the body, note, explanation, words.
    let paragraphs = tree.lines().filter(|line| line.trim_start().starts_with("P ")).count();
    assert_eq!(paragraphs, 8, "{tree}");
    assert!(!squeezed(&tree).contains("\"1/"), "a page's number is no text: {tree}");

    let read = pdfjs(&letter(BODY), PASSPHRASE);
    assert_eq!(read["marked"]["Marked"], true, "{read}");
    let tree = read["tree"].to_string();
    assert!(tree.contains("\"role\":\"H1\"") && tree.contains("\"role\":\"P\""), "{tree}");
    assert_eq!(read["info"]["Language"], "fr", "{read}");
}

#[test]
fn mupdf_reads_and_draws_it() {
    let short = letter(BODY);
    assert_whole("mutool", &good("mutool", &["draw", "-q", "-p", PASSPHRASE, "-F", "txt", short.file()]));
    let long = letter(&long_body());
    assert_long("mutool", &good("mutool", &["draw", "-q", "-p", PASSPHRASE, "-F", "txt", long.file()]));
    let picture = short.folder.path().join("page.pgm");
    let picture = picture.to_str().expect("a temporary path is UTF-8");
    good("mutool", &["draw", "-q", "-p", PASSPHRASE, "-r", "144", "-c", "gray", "-o", picture, short.file(), "1"]);
    let drawn = fs::read(picture).expect("mutool drew it");
    assert_inked("mutool", &drawn);
}

/// Of a picture of a page, some is dark and most isn't.
fn assert_inked(program: &str, pixels: &[u8]) {
    let dark = pixels.iter().skip(20).filter(|p| **p < 128).count() * 1000 / pixels.len();
    assert!((5..200).contains(&dark), "{program} draws {dark} of a thousand dots");
}

#[test]
fn pdfjs_reads_it() {
    let read = pdfjs(&letter(BODY), PASSPHRASE);
    assert_whole("pdf.js", read["text"].as_str().unwrap_or_default());
    assert_eq!(read["metadata"], false, "{read}");
    assert_eq!(read["info"]["PDFFormatVersion"], "2.0", "{read}");
    for name in ["Title", "Author", "Creator", "Producer", "CreationDate", "ModDate"] {
        assert!(read["info"].get(name).is_none(), "{name}: {read}");
    }
    assert_long("pdf.js", pdfjs(&letter(&long_body()), PASSPHRASE)["text"].as_str().unwrap_or_default());
}

#[test]
fn pdfium_reads_and_draws_it() {
    let short = letter(BODY);
    let picture = short.folder.path().join("page.ppm");
    let read = pdfium(&short, PASSPHRASE, picture.to_str());
    assert_whole("PDFium", read["text"].as_str().unwrap_or_default());
    assert_eq!(read["metadata"].as_object().map(serde_json::Map::len), Some(0), "{read}");
    assert_inked("PDFium", &fs::read(picture).expect("PDFium drew it"));
    assert_long("PDFium", pdfium(&letter(&long_body()), PASSPHRASE, None)["text"].as_str().unwrap_or_default());
}

#[test]
fn a_passphrase_of_six_long_words_opens_it() {
    let letter = sealed(BODY, LONG);
    good("qpdf", &["--check", &format!("--password={LONG}"), letter.file()]);
    assert_whole("mutool", &good("mutool", &["draw", "-q", "-p", LONG, "-F", "txt", letter.file()]));
    assert_whole("pdf.js", pdfjs(&letter, LONG)["text"].as_str().unwrap_or_default());
    assert_whole("PDFium", pdfium(&letter, LONG, None)["text"].as_str().unwrap_or_default());
    // Words that are almost right open nothing.
    assert_eq!(pdfjs(&letter, &LONG[..32])["error"], "PasswordException");
}

/// What the page of `pdfjs.html` says at its end, in Chromium.
fn in_chromium(letter: &Letter, passphrase: &str) -> String {
    let pdfjs = peers().join("js/node_modules/pdfjs-dist");
    let page = fs::read_to_string(script("pdfjs.html"))
        .expect("the page is there")
        .replace("PDFJS", &format!("file://{}", pdfjs.display()))
        .replace("BASE64", &base64::engine::general_purpose::STANDARD.encode(&letter.bytes))
        .replace("PASSPHRASE", passphrase);
    let path = letter.folder.path().join("page.html");
    fs::write(&path, page).expect("a file can be written");
    let profile = format!("--user-data-dir={}", letter.folder.path().join("profile").display());
    let address = format!("file://{}", path.display());
    // What Chromium complains of (no bus, no display) says nothing about the letter.
    let ran = run(
        "chromium",
        &[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            "--timeout=60000",
            &profile,
            "--dump-dom",
            &address,
        ],
    );
    let answer = ran.out.split_once("<pre id=\"answer\">").and_then(|(_, rest)| rest.split_once(" end</pre>"));
    answer.unwrap_or_else(|| panic!("Chromium shows no answer: {} {}", ran.out, ran.said)).0.to_owned()
}

#[test]
fn a_browser_shows_it_to_who_has_the_passphrase() {
    let short = letter(BODY);
    let said = in_chromium(&short, PASSPHRASE);
    let dark = said.strip_prefix("pages 1 dark ").and_then(|n| n.parse::<u32>().ok());
    assert!(dark.is_some_and(|d| (50..2_000).contains(&d)), "{said}");
    assert_eq!(in_chromium(&short, WRONG), "error PasswordException");
    assert_eq!(in_chromium(&short, ""), "error PasswordException");
}

#[test]
fn without_the_passphrase_every_program_refuses_and_shows_nothing() {
    let short = letter(BODY);
    let told = |out: &str| squeezed(out).contains("Lilas") || squeezed(out).contains("lettre");
    for wrong in [WRONG, ""] {
        let file = short.file();
        let password = format!("--password={wrong}");
        let runs: [(&str, Vec<&str>); 7] = [
            ("qpdf", vec!["--check", &password, file]),
            ("qpdf", vec!["--decrypt", &password, file, "-"]),
            ("pdftotext", vec!["-upw", wrong, file, "-"]),
            ("pdfinfo", vec!["-upw", wrong, file]),
            ("pdffonts", vec!["-upw", wrong, file]),
            ("mutool", vec!["draw", "-p", wrong, "-F", "txt", file]),
            ("mutool", vec!["show", "-p", wrong, file, "1"]),
        ];
        for (program, args) in runs {
            let ran = run(program, &args);
            assert!(!ran.ok || ran.said.contains("password"), "{program} {args:?} opens it: {}", ran.out);
            assert!(!told(&ran.out) && !told(&ran.said), "{program} {args:?}: {} {}", ran.out, ran.said);
        }
        assert_eq!(pdfjs(&short, wrong)["error"], "PasswordException");
        assert!(pdfium(&short, wrong, None)["error"].as_str().is_some_and(|e| e.contains("assword")));
    }
}

#[test]
fn the_bytes_name_nobody_and_no_program() {
    for letter in [letter(BODY), letter(&long_body())] {
        let raw = String::from_utf8_lossy(&letter.bytes).to_lowercase();
        for word in [
            // Shorter ones stand in any ciphertext by chance.
            "cabinet",
            "lilas",
            "mars 2026",
            "madame",
            "forêt",
            "lampe",
            "neige",
            "krilla",
            "lopdf",
            "cadre",
            "producer",
            "creator",
            "creationdate",
            "/title",
            "gentium",
            "/info",
            "<rdf:",
        ] {
            assert!(!raw.contains(word), "{word}");
        }
        // UTF-16 is how PDF writes other strings.
        let wide: Vec<u8> = "Lilas".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert!(!letter.bytes.windows(wide.len()).any(|w| w == wide));
    }
}

#[test]
fn pictures_and_documents_are_sealed_for_all_of_them() {
    // A picture and a document made by programs of others, out of a letter.
    let short = letter(BODY);
    let picture = short.folder.path().join("page.png");
    let picture = picture.to_str().expect("a temporary path is UTF-8");
    good("mutool", &["draw", "-q", "-p", PASSPHRASE, "-r", "100", "-o", picture, short.file(), "1"]);
    let plain = short.folder.path().join("plain.pdf");
    let plain = plain.to_str().expect("a temporary path is UTF-8");
    good("qpdf", &["--decrypt", &format!("--password={PASSPHRASE}"), short.file(), plain]);
    let passphrase = Password::new(PASSPHRASE.into());
    let png = fs::read(picture).expect("mutool drew it");
    let sealed = kept(pdf::picture(&png, "Une page", Language::Fr, &passphrase).expect("a PNG can be sealed"));
    let document = fs::read(plain).expect("qpdf wrote it");
    let again = kept(pdf::document(&document, &passphrase).expect("a PDF can be sealed"));
    for letter in [&sealed, &again] {
        good("qpdf", &["--check", &format!("--password={PASSPHRASE}"), letter.file()]);
        let page = letter.folder.path().join("page.ppm");
        assert_eq!(pdfium(letter, PASSPHRASE, page.to_str())["pages"], 1);
        assert_inked("PDFium", &fs::read(page).expect("PDFium drew it"));
        let info = good("pdfinfo", &["-upw", PASSPHRASE, letter.file()]);
        assert!(info.contains("AES-256") && info.contains("2.0") && !info.contains("Producer"), "{info}");
    }
    let tree = pdfjs(&sealed, PASSPHRASE)["tree"].to_string();
    assert!(tree.contains("Figure") && tree.contains("Une page"), "{tree}");
    assert_whole("pdftotext", &good("pdftotext", &["-upw", PASSPHRASE, again.file(), "-"]));
}
