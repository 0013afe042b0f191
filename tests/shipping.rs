//! What a package carries beside the program: pages, completions and the schema of the configuration, each judged by the
//! programs that will read it.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use cadre::config::schema::{Kind, SECTIONS};
use cadre::config::{Config, Env, example, json_schema};
use common::scene::Scene;
use common::{Lab, Practice, PracticeOptions};
use serde_json::{Value, json};

/// `cadre shipping` into a folder of its own.
fn shipped() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let out = Command::new(Practice::built_binary()?)
        .arg("shipping")
        .arg(folder.path())
        .env("SOURCE_DATE_EPOCH", "1788220800")
        .output()?;
    ensure!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(folder)
}

/// What a program says of a file.
struct Said {
    good: bool,
    out: String,
    against: String,
}

/// Asks a program about a file. An absent one is named with what installs it.
fn said(program: &str, args: &[&str], file: &Path) -> Result<Said> {
    let out = Command::new(program)
        .args(args)
        .arg(file)
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "80")
        .output()
        .with_context(|| format!("{program} can't be started: deploy/install-deps.sh test installs it"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Said { good: out.status.success(), out: text(&out.stdout), against: text(&out.stderr) })
}

/// Every command that is shown, by its words: `["cadre", "client", "add"]`.
fn commands() -> Vec<(Vec<String>, clap::Command)> {
    fn below(words: &[String], command: &clap::Command, all: &mut Vec<(Vec<String>, clap::Command)>) {
        all.push((words.to_vec(), command.clone()));
        for child in command.get_subcommands().filter(|child| !child.is_hide_set()) {
            below(&[words, &[child.get_name().to_owned()]].concat(), child, all);
        }
    }
    let mut all = Vec::new();
    below(&["cadre".to_owned()], &cadre::cli::command(), &mut all);
    all
}

#[test]
fn every_command_has_a_page_and_man_has_nothing_to_say_against_it() -> Result<()> {
    let folder = shipped()?;
    let man = folder.path().join("man");
    let mut pages: Vec<PathBuf> = fs::read_dir(&man)?.flatten().map(|entry| entry.path()).collect();
    ensure!(pages.len() == commands().len() + 1, "a page a command, and cadre.toml(5): {pages:?}");
    for (words, command) in commands() {
        let page = man.join(format!("{}.1", words.join("-")));
        let Said { good, out: text, against } = said("man", &["--warnings", "-E", "UTF-8", "-l"], &page)?;
        ensure!(good && against.is_empty(), "{}: {against}", page.display());
        let words_of = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        // A long line may be broken within a word: the first words are enough to know it.
        let first = about.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        ensure!(words_of(&text).contains(&first), "{}: no `{first}` in {text}", page.display());
        for argument in command.get_arguments().filter_map(clap::Arg::get_long) {
            ensure!(text.contains(&format!("--{argument}")), "{}: no --{argument}", page.display());
        }
    }
    let text = said("man", &["--warnings", "-E", "UTF-8", "-l"], &man.join("cadre.toml.5"))?.out;
    for section in SECTIONS {
        ensure!(text.contains(&section.header()), "{} is missing:\n{text}", section.header());
        for key in section.keys {
            ensure!(text.contains(&format!("{} (", key.name)), "{} {} is missing", section.header(), key.name);
        }
    }
    pages.sort();
    for page in &pages {
        let shown = page.display();
        for (judge, args) in [
            // Warnings are of taste: `.br` beside a space, as clap_mangen writes it.
            ("mandoc", &["-T", "lint", "-W", "error"][..]),
            ("groff", &["-ww", "-man", "-K", "utf8", "-T", "utf8", "-z"][..]),
        ] {
            let Said { good, out, against } = said(judge, args, page)?;
            ensure!(good && out.is_empty() && against.is_empty(), "{judge} on {shown}: {out}{against}");
        }
        ensure!(fs::read_to_string(page)?.contains("2026-09-01"), "{shown} doesn't bear the day of the sources");
    }
    // The judge judges.
    let broken = folder.path().join("broken.1");
    fs::write(&broken, ".TH x 1\n.SH NAME\nx\n.RE\n.fI\n")?;
    ensure!(!said("mandoc", &["-T", "lint", "-W", "error"], &broken)?.good, "mandoc took a broken page");
    Ok(())
}

#[test]
fn shells_take_the_completions_and_bash_offers_every_command() -> Result<()> {
    let folder = shipped()?;
    let completions = folder.path().join("completions");
    for (shell, option, file) in
        [("bash", "-n", "cadre.bash"), ("zsh", "-n", "_cadre"), ("fish", "--no-execute", "cadre.fish")]
    {
        let Said { good, out, against } = said(shell, &[option], &completions.join(file))?;
        ensure!(good && out.is_empty() && against.is_empty(), "{shell}: {out}{against}");
        // The judge judges.
        fs::write(completions.join("broken"), "if true; begin; (\n")?;
        ensure!(!said(shell, &[option], &completions.join("broken"))?.good, "{shell} takes everything");
    }
    // As a person types it: the words so far, half of the next one, and the key of completion.
    let mut script = format!(
        "source {}\noffer() {{ COMP_WORDS=(\"$@\"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=(); \
         _cadre cadre \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"$*:\" \"${{COMPREPLY[@]}}\"; }}\n",
        completions.join("cadre.bash").display()
    );
    let mut expected = Vec::new();
    for (words, command) in commands() {
        let half = |whole: &str| whole.chars().take(2).collect::<String>();
        let children: Vec<&str> =
            command.get_subcommands().filter(|child| !child.is_hide_set()).map(clap::Command::get_name).collect();
        let options: Vec<String> =
            command.get_arguments().filter_map(|a| a.get_long()).map(|l| format!("--{l}")).collect();
        for (typed, whole) in children
            .iter()
            .map(|child| (half(child), (*child).to_owned()))
            .chain(options.iter().map(|option| ("--".to_owned(), option.clone())))
        {
            let line = format!("{} {typed}", words.join(" "));
            script.push_str(&format!("offer {line}\n"));
            expected.push((line, whole));
        }
    }
    fs::write(folder.path().join("type.sh"), script)?;
    let Said { good, out: text, against } = said("bash", &["--norc"], &folder.path().join("type.sh"))?;
    ensure!(good && against.is_empty(), "{against}");
    let offered: BTreeMap<&str, Vec<&str>> = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(typed, o)| (typed, o.split(' ').collect()))
        .collect();
    for (line, whole) in expected {
        let offer = offered.get(line.as_str()).with_context(|| format!("nothing was offered for `{line}`"))?;
        ensure!(offer.contains(&whole.as_str()), "`{line}` doesn't offer {whole}: {offer:?}");
    }
    ensure!(offered["cadre client ad"] == ["add"], "{:?}", offered["cadre client ad"]);
    ensure!(!text.contains("shipping"), "the hidden command is offered");
    Ok(())
}

/// Debian's `python3-jsonschema` on many documents: for each the places of its faults.
struct Validator {
    folder: tempfile::TempDir,
}

const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft7Validator
schema, documents = (json.load(open(path)) for path in sys.argv[1:3])
Draft7Validator.check_schema(schema)
validator = Draft7Validator(schema)
print(json.dumps({name: ["/".join(map(str, error.absolute_path)) + ": " + error.message[:200]
                         for error in validator.iter_errors(document)] for name, document in documents.items()}))
"#;

impl Validator {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("schema.json"), json_schema::json_schema())?;
        fs::write(folder.path().join("validate.py"), VALIDATE)?;
        Ok(Self { folder })
    }

    fn faults(&self, documents: &BTreeMap<String, String>) -> Result<BTreeMap<String, Vec<String>>> {
        let mut values = serde_json::Map::new();
        for (name, text) in documents {
            let table: toml::Table = text.parse().with_context(|| name.clone())?;
            values.insert(name.clone(), as_json(toml::Value::Table(table)));
        }
        let path = |name: &str| self.folder.path().join(name);
        fs::write(path("documents.json"), serde_json::to_vec(&Value::Object(values))?)?;
        // Debian's own Python, whichever stands first in PATH.
        let out = Command::new("/usr/bin/python3")
            .args(["validate.py", "schema.json", "documents.json"])
            .current_dir(self.folder.path())
            .output()
            .context("/usr/bin/python3 can't be started: deploy/install-deps.sh test installs python3-jsonschema")?;
        if !out.status.success() {
            bail!("is python3-jsonschema there? {}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(serde_json::from_slice(&out.stdout)?)
    }
}

/// As editors' TOML tools give it to a validator: a date is a text.
fn as_json(value: toml::Value) -> Value {
    match value {
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(name, value)| (name, as_json(value))).collect())
        }
        toml::Value::Array(values) => Value::Array(values.into_iter().map(as_json).collect()),
        toml::Value::Datetime(at) => json!(at.to_string()),
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => json!(flag),
    }
}

/// A configuration, and the same with one key changed.
struct Sheet {
    folder: tempfile::TempDir,
}

impl Sheet {
    fn new() -> Result<Self> {
        Ok(Self { folder: tempfile::tempdir()? })
    }

    fn with(&self, path: &str, literal: &str) -> Result<String> {
        let practice = Practice::adopt(self.folder.path(), Path::new("unused"))?;
        fs::write(&practice.config, example::example())?;
        practice.set(path, literal)?;
        Ok(fs::read_to_string(&practice.config)?)
    }
}

fn loads(text: &str) -> bool {
    Config::load_text(Path::new("/etc/cadre/cadre.toml"), text, &Env::default()).is_ok()
}

#[test]
fn the_schema_takes_what_cadre_takes() -> Result<()> {
    let sheet = Sheet::new()?;
    let mut documents = BTreeMap::from([("the example".to_owned(), example::example())]);
    let scene = Scene::with(Lab::light()?, PracticeOptions::default())?;
    documents.insert("the tests' own".to_owned(), fs::read_to_string(&scene.practice.config)?);
    for (key, value) in [
        ("practice.neutral_name", "{ fr = \"Courrier\", en = \"Mail\" }"),
        ("practice.cadre.price", "{ en = \"60 euros\" }"),
        ("practice.timezone", "\"America/Argentina/ComodRivadavia\""),
        ("practice.country", "\"LU\""),
        ("practice.region", "\"FR-57\""),
        ("practice.address", "\"écrire@cabinet.example\""),
        ("keys.secret", "\"credential:practice.key\""),
        ("keys.record", "\"env:CADRE_RECORD\""),
        ("imap.poll", "\"1m30s\""),
        ("imap.poll", "\"5 min\""),
        ("imap.port", "1143"),
        ("imap.tls", "\"starttls\""),
        ("imap.idle", "false"),
        ("rhythm.grace", "\"0s\""),
        ("rhythm.cutoff", "06:30:00"),
        ("rhythm.cutoff", "\"7:05\""),
        ("rhythm.release", "\"0 30 8,18 * * *\""),
        ("rhythm.release", "\"0 0 18 29 Feb ?\""),
        ("rhythm.release", "\"*/5 * * * * Tue,Fri\""),
        ("intake.max_message", "\"1MiB\""),
        ("intake.max_message", "\"800 kB\""),
        ("intake.max_message", "\"12345\""),
        ("intake.max_held", "0"),
        ("therapist.0.cutoff", "23:59:59"),
        ("absence", "[{ therapist = \"exemple\", from = 2026-08-01, to = \"2026-08-21\" }]"),
    ] {
        let text = sheet.with(key, value)?;
        documents.insert(format!("{key} = {value}"), text);
    }
    let logged_in = sheet.with("smtp.username", "\"u\"")?.replacen(
        "username = \"u\"",
        "username = \"u\"\npassword_file = \"p\"",
        1,
    );
    documents.insert("submission with a password".to_owned(), logged_in.clone());
    let token = logged_in.replacen("password_file = \"p\"", "token_command = \"t\"", 1);
    let token = token.replacen("username = \"u\"", "username = \"u\"\nauth = \"xoauth2\"", 1);
    let second = token.rfind("auth = \"password\"").context("the default below")?;
    documents.insert("submission with a token".to_owned(), format!("{}{}", &token[..second], &token[second + 17..]));
    for (name, text) in &documents {
        ensure!(loads(text), "Cadre doesn't take {name}");
    }
    for (name, faults) in Validator::new()?.faults(&documents)? {
        ensure!(faults.is_empty(), "{name}: {faults:?}");
    }
    Ok(())
}

#[test]
fn the_schema_names_what_is_wrong() -> Result<()> {
    let sheet = Sheet::new()?;
    let mut documents = BTreeMap::new();
    let mut places = BTreeMap::new();
    let mut add = |name: String, place: &str, text: String| {
        assert!(!loads(&text), "Cadre takes {name}");
        places.insert(name.clone(), place.to_owned());
        documents.insert(name, text);
    };
    for (key, value) in [
        ("practice.name", "\"\""),
        ("practice.language", "\"de\""),
        ("practice.timezone", "\"Europe/Pari\""),
        ("practice.address", "\"nobody\""),
        ("practice.cadre.price", "{ de = \"60\" }"),
        ("imap.port", "70000"),
        ("imap.port", "\"993\""),
        ("imap.idle", "\"yes\""),
        ("imap.poll", "\"soon\""),
        ("rhythm.grace", "\"3 weeks\""),
        ("rhythm.cutoff", "\"7h\""),
        ("rhythm.release", "\"0 0 18 * * 1-5\""),
        ("rhythm.release", "\"0 18 * * Mon\""),
        ("rhythm.second", "\"twice\""),
        ("intake.max_message", "\"huge\""),
        ("intake.max_held", "-1"),
    ] {
        add(format!("{key} = {value}"), &key.replace('.', "/"), sheet.with(key, value)?);
    }
    // The type of every key there is: 1.5 is nobody's.
    for section in SECTIONS.iter().filter(|section| !section.list && !section.path.starts_with("therapist")) {
        for key in section.keys {
            let dotted = format!("{}.{}", section.path, key.name);
            add(format!("{dotted} = 1.5"), &dotted.replace('.', "/"), sheet.with(&dotted, "1.5")?);
        }
    }
    for section in SECTIONS.iter().filter(|section| section.path == "therapist") {
        for key in section.keys {
            add(
                format!("therapist {} = 1.5", key.name),
                &format!("therapist/0/{}", key.name),
                sheet.with(&format!("therapist.0.{}", key.name), "1.5")?,
            );
        }
    }
    let whole = example::example();
    let without = |line: &str| whole.replacen(&format!("\n{line}"), "\n#", 1);
    add("a key that nobody knows".into(), "imap", sheet.with("imap.hots", "\"x\"")?);
    add("a section that nobody knows".into(), "", sheet.with("imapp.host", "\"x\"")?);
    add("no name".into(), "practice", without("name = "));
    add("no record key".into(), "keys", without("record = "));
    add("no IMAP password".into(), "imap", without("password_file = "));
    add("a token without its command".into(), "imap", sheet.with("imap.auth", "\"xoauth2\"")?);
    add("a password for nobody".into(), "smtp", sheet.with("smtp.password_file", "\"p\"")?);
    add("a name without a password".into(), "smtp", sheet.with("smtp.username", "\"u\"")?);
    let nobody = &whole[..whole.find("\n[[therapist]]").context("a therapist")?];
    add("no therapist".into(), "", nobody.to_owned());
    add("one therapist, not a list".into(), "therapist", whole.replacen("[[therapist]]", "[therapist]", 1));

    let found = Validator::new()?.faults(&documents)?;
    for (name, place) in &places {
        let faults = &found[name];
        ensure!(faults.iter().any(|fault| fault.starts_with(&format!("{place}: "))), "{name}, at {place}: {faults:?}");
    }
    Ok(())
}

/// `#:schema` is what taplo reads: the committed example must find the committed schema beside it.
#[test]
fn the_example_names_its_schema() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let text = fs::read_to_string(folder.join("cadre.example.toml"))?;
    let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).context("a first line")?;
    let schema: Value = serde_json::from_slice(&fs::read(folder.join(named))?)?;
    for section in SECTIONS.iter().filter(|section| !section.path.contains('.')) {
        let part = &schema["properties"][section.path];
        let keys = if section.list { &part["items"]["properties"] } else { &part["properties"] };
        for key in section.keys {
            ensure!(keys[key.name]["description"].as_str().is_some_and(|doc| doc.starts_with(key.doc)), "{}", key.name);
            ensure!(key.kind != Kind::Flag || keys[key.name]["type"] == "boolean", "{}", key.name);
        }
    }
    Ok(())
}
