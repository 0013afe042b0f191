//! The crisis lexicon against its table of phrases, `tests/data/crisis/*.toml`.

#![expect(clippy::unwrap_used, reason = "tests may fail loudly")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cadre::domain::crisis::Lexicon;
use cadre::model::CrisisClass;
use serde::Deserialize;

#[derive(Deserialize)]
struct Table {
    #[serde(default)]
    group: Vec<Group>,
    #[serde(default)]
    case: Vec<Case>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    class: String,
    phrases: Vec<String>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    class: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files as they stand, so that a change of the lexicon needs no new build to be measured.
fn lexicon() -> Lexicon {
    let read = |name: &str| fs::read_to_string(root().join("config/lexicon").join(name)).unwrap();
    Lexicon::parse(&read("fr.toml"), &read("en.toml")).unwrap_or_else(|e| panic!("{e}"))
}

/// What a letter counts as: A before V before B.
fn class_of(lexicon: &Lexicon, text: &str) -> (String, Vec<String>) {
    match lexicon.scan(text) {
        None => ("none".to_owned(), Vec::new()),
        Some(finding) => (finding.classes[0].to_string(), finding.rules),
    }
}

/// Whether what was found is what was expected: a letter of class V may speak of the writer's own death too.
fn right(lexicon: &Lexicon, text: &str, expected: &str) -> bool {
    let found = lexicon.scan(text);
    match (expected.parse::<CrisisClass>(), found) {
        (Ok(CrisisClass::B), Some(f)) => f.classes == [CrisisClass::B],
        (Ok(class), Some(f)) => f.has(class),
        (Err(_), None) => true,
        _ => false,
    }
}

fn cases(file: &Path) -> Vec<(String, String, String)> {
    let table: Table = toml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let of_group =
        |g: Group| g.phrases.into_iter().map(move |p| (g.name.clone(), p, g.class.clone())).collect::<Vec<_>>();
    let mut all: Vec<_> = table.group.into_iter().flat_map(of_group).collect();
    all.extend(table.case.into_iter().map(|c| (String::new(), c.text, c.class)));
    all
}

/// Misses with what was found instead, and the figures by class.
fn measure(file: &Path) -> (Vec<String>, BTreeMap<String, (usize, usize)>) {
    let lexicon = lexicon();
    let (mut misses, mut figures) = (Vec::new(), BTreeMap::new());
    for (group, text, expected) in cases(file) {
        let figure: &mut (usize, usize) = figures.entry(expected.clone()).or_default();
        figure.1 += 1;
        if right(&lexicon, &text, &expected) {
            figure.0 += 1;
        } else {
            let (found, rules) = class_of(&lexicon, &text);
            misses.push(format!("{expected} → {found}  [{group}] {text:?} {rules:?}"));
        }
    }
    misses.sort();
    (misses, figures)
}

#[test]
fn every_phrase_of_the_table_has_its_class() {
    let mut failed = 0;
    for entry in fs::read_dir(root().join("tests/data/crisis")).unwrap().flatten() {
        let (misses, figures) = measure(&entry.path());
        println!("{}: right of all {figures:?}", entry.file_name().to_string_lossy());
        misses.iter().for_each(|m| println!("  {m}"));
        failed += misses.len();
    }
    assert_eq!(failed, 0, "phrases with another class than theirs");
}

/// `CADRE_BLIND=folder cargo test --test crisis_table blind -- --nocapture` measures lists nobody tuned for.
#[test]
fn blind_lists_are_measured_where_there_are_any() {
    let Ok(folder) = std::env::var("CADRE_BLIND") else { return };
    for name in ["fr.toml", "en.toml"] {
        let (misses, figures) = measure(&Path::new(&folder).join(name));
        println!("{name}: right of all {figures:?}");
        misses.iter().for_each(|m| println!("  {m}"));
    }
}

#[test]
fn the_built_in_lexicon_is_the_one_measured() {
    Lexicon::built_in().unwrap();
}

#[test]
fn own_letters_never_fire() {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for path in fs::read_dir(folder).unwrap().flatten().map(|e| e.path()) {
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|e| e == "txt") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    collect(&root().join("tests/data/letters"), &mut files);
    assert!(files.len() > 10, "the letters weren't found");
    let lexicon = lexicon();
    for file in files {
        let found = lexicon.scan(&fs::read_to_string(&file).unwrap());
        assert!(found.is_none(), "{}: {:?}", file.display(), found.unwrap().rules);
    }
}
