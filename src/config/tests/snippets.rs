//! Findings with their lines, as an operator sees them.

use pretty_assertions::assert_eq;

use super::super::snippet::render;
use super::*;

/// Faults of every kind; nothing in capitals may be shown.
const FAULTY: &str = r#"lost = "SECRET"
[practice]
name = ""
adress = "SECRET@lac.example"
timezone = "Europe/Pari"   # SECRET
language = "de"
[practice.cadre]
channel = """
SECRET
port = "SECRET"
"""
price = { de = "SECRET" }
[keys]
secret = 3
passphrase = "SECRET"
[imapp]
password = "SECRET"
[imap]
	host = "imaps://SECRET:SECRET@imap.example.org"
port = 70000
tls = "starttsl"
idle = "yes"
password = "SECRET"
password_file = "p"
[rhythm]
release = "0 0 18 * * 1-5"
[[therapist]]
id = "Dr SECRET"
address = "SECRET"
"#;

/// Text that is no TOML, as it is typed in a hurry.
const BROKEN: &str = "[practice]\nname = Cabinet SECRET\n[imap\nhost = imap.example.org\nport = 993 password = \"SECRET\"\n\
                      password = SECRET # SECRET\npassphrase SECRET\n[keys] secret = SECRET\nuser@SECRET = 1\n\
                      fallback = \"SECRET\n";

fn page(text: &str) -> String {
    let findings = Config::load_text(Path::new("cadre.toml"), text, &Env::default()).unwrap_err();
    let page = render(text, &findings, false);
    assert!(!page.contains("SECRET") && !page.contains('\x1b'), "{page}");
    assert_eq!(page.matches("error: ").count() + page.matches("warning: ").count(), findings.len(), "{page}");
    page
}

/// The part of the line that the carets stand below.
fn marked(page: &str, line: usize) -> Option<String> {
    let mut lines = page.lines().skip_while(|text| !text.starts_with(&format!("{line} | ")));
    let (shown, carets) = (lines.next()?, lines.next()?);
    let inside = shown.chars().zip(carets.chars()).filter(|(_, below)| *below == '^');
    Some(inside.map(|(sign, _)| sign).collect())
}

#[test]
fn every_fault_has_its_line_and_a_caret_below_the_very_place() {
    let page = page(FAULTY);
    for (line, place) in [
        (1, "lost"),
        (3, "…"),
        (4, "adress"),
        (5, "\"Europe/Pari\""),
        (6, "\"de\""),
        (14, "…"),
        (15, "passphrase"),
        (17, "…"),
        (19, "…"),
        (20, "70000"),
        (21, "\"starttsl\""),
        (23, "password"),
        (26, "\"0 0 18 * * 1-5\""),
    ] {
        // The password in a section that nobody knows is told with the section.
        let found = marked(&page, line);
        assert!(line == 17 && found.is_none() || found.as_deref() == Some(place), "{line}: {found:?}\n{page}");
    }
    for words in ["did you mean address?", "did you mean \"Europe/Paris\"?", "did you mean [imap]?", "cadre.toml:20:8"]
    {
        assert!(page.contains(words), "{words}\n{page}");
    }
}

#[test]
fn in_colour_it_is_the_same_page() {
    let findings = load(FAULTY).unwrap_err();
    let escape = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap();
    let colour = render(FAULTY, &findings, true);
    assert!(colour.contains("\x1b["), "{colour}");
    assert_eq!(escape.replace_all(&colour, ""), render(FAULTY, &findings, false));
}

#[test]
fn text_that_is_no_toml_has_all_its_faults_shown_and_no_secret() {
    let page = page(BROKEN);
    for line in [2, 3, 5] {
        assert!(page.contains(&format!("\n{line} | ")), "line {line} isn't shown:\n{page}");
    }
}

#[test]
fn what_is_missing_is_shown_at_its_section_or_at_the_file() {
    let page = page("[imap]\nhost = \"imap.example.org\"\n");
    assert!(page.contains("1 | [imap]"), "{page}");
    assert!(page.contains("error: cadre.toml: [practice] name: it is missing"), "{page}");
}

#[test]
fn a_place_follows_what_is_hidden_before_it() {
    let text = "[imap]\npassword = \"é hunter2\" # é\n";
    let page = render(text, &load(text).unwrap_err(), false);
    assert!(page.contains("2 | password = …\n  | ^^^^^^^^\n"), "{page}");
}

#[test]
fn what_is_not_of_the_kind_that_is_asked_for_is_not_shown() {
    for value in ["[\"SECRET\"]", "SECRET", "\r[\"SECRET\"", "{ a = \"SECRET\" }", "1SECRET", "\"SECRET\"", "'SECRET'"]
    {
        for key in ["port", "idle"] {
            let text = format!("[imap]\n{key} = {value}\n");
            let page = render(&text, &load(&text).unwrap_err(), false);
            assert!(!page.contains("SECRET"), "{text}\n{page}");
        }
        let text = format!("[imap]\nsecurity = {value}\n");
        let page = render(&text, &load(&text).unwrap_err(), false);
        assert!(value.starts_with(['"', '\'']) || !page.contains("SECRET"), "{text}\n{page}");
    }
}

mod whatever_is_written {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A line that was cut anywhere never panics, and never shows what stands for a secret.
        #[test]
        fn no_secret_is_shown(cut in 0..FAULTY.len(), insert in "[\"'=\\[\\]{}#\n é\t\r@.]{0,4}") {
            prop_assume!(FAULTY.is_char_boundary(cut));
            prop_assume!(!FAULTY[..cut].ends_with(|c: char| "SECRT".contains(c)));
            let text = format!("{}{insert}{}", &FAULTY[..cut], &FAULTY[cut..]);
            if let Err(findings) = load(&text) {
                let page = render(&text, &findings, false);
                prop_assert!(!page.contains("SECRET"), "{text}\n{page}");
            }
        }
    }
}
