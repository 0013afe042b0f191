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

fn golden(name: &str, text: &str, colour: bool) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config").join(name);
    let findings = Config::load_text(Path::new("cadre.toml"), text, &Env::default()).unwrap_err();
    let page = render(text, &findings, colour);
    assert!(!page.contains("SECRET"), "{page}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), page, "run UPDATE_GOLDEN=1 cargo test config::");
}

#[test]
fn every_fault_has_its_line_and_a_caret() {
    golden("faults.txt", FAULTY, false);
    golden("faults.ansi", FAULTY, true);
}

#[test]
fn text_that_is_no_toml_has_all_its_faults_shown_and_no_secret() {
    golden("no_toml.txt", BROKEN, false);
}

#[test]
fn an_empty_file_has_no_lines_to_show() {
    golden("empty.txt", "", false);
}

#[test]
fn a_place_follows_what_is_hidden_before_it() {
    let findings = load("[imap]\npassword = \"é hunter2\" # é\n").unwrap_err();
    let page = render("[imap]\npassword = \"é hunter2\" # é\n", &findings, false);
    assert!(page.contains("2 | password = …\n  | ^^^^^^^^\n"), "{page}");
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
