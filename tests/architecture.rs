//! The house rules that the compiler doesn't know: which module may know which, who may ask for the
//! time, who may see a plain text, and how long things may grow. Reads the sources; each test's name
//! is the invariant that `ARCHITECTURE.md` states.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Arrows go from a smaller to a greater number only: between two modules of one floor there is none.
const FLOORS: [(&str, u8); 17] = [
    ("main", 0),
    ("cli", 1),
    ("app", 2),
    ("domain", 3),
    ("mime", 3),
    ("pgp", 3),
    ("pdf", 3),
    ("letters", 3),
    ("store", 3),
    ("net", 3),
    ("config", 3),
    ("model", 4),
    ("secret", 4),
    ("clock", 4),
    ("failpoint", 4),
    ("notify", 3),
    ("lib", 5),
];
const LONGEST_FILE: usize = 600;
const LONG_FUNCTION: usize = 80;
const LONGEST_FUNCTION: usize = 100;

/// A source file without its tests, comments and literals; line numbers are kept.
struct Source {
    /// Relative to `src/`.
    path: PathBuf,
    code: String,
}

impl Source {
    /// The top-level module: `store` for `store/turns.rs`.
    fn module(&self) -> String {
        let first = self.path.iter().next().unwrap_or_default().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// How many `super::` lead from this file's own module to the root of the crate.
    fn depth(&self) -> usize {
        let count = self.path.components().count();
        if self.path.ends_with("mod.rs") { count - 1 } else { count }
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 10, "the sources weren't found");
    files.sort();
    let plain = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("a source file is UTF-8");
        let path = file.strip_prefix(&root).expect("collected below src").to_owned();
        Source { path, code: without_tests(&blanked(&text)) }
    };
    files.iter().map(plain).collect()
}

/// Every `.rs` file but those that hold nothing but tests (`tests.rs`, `tests/…`).
fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("src can be read").flatten() {
        let path = entry.path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// Comments and the insides of string and character literals become spaces.
fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let hide = |out: &mut String, from: usize, to: usize| {
        out.extend(chars[from..to].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
        to
    };
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    while i < chars.len() {
        let end = match (at(i), at(i + 1)) {
            ('/', '/') => Some((i..chars.len()).find(|j| at(*j) == '\n').unwrap_or(chars.len())),
            ('/', '*') => Some(block_comment_end(&chars, i)),
            ('"', _) => Some(string_end(&chars, i)),
            ('r', '"' | '#') if !is_word(at(i.wrapping_sub(1))) || at(i.wrapping_sub(1)) == 'b' => {
                raw_string_end(&chars, i)
            }
            ('\'', '\\') => (i + 3..chars.len()).find(|j| at(*j) == '\'').map(|j| j + 1),
            ('\'', _) if at(i + 2) == '\'' => Some(i + 3),
            _ => None,
        };
        match end {
            Some(end) => i = hide(&mut out, i, end.min(chars.len())),
            None => {
                out.push(at(i));
                i += 1;
            }
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// None where `r#` begins a raw identifier.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let mut i = start + 1 + hashes;
    if chars.get(i) != Some(&'"') {
        return None;
    }
    loop {
        i += 1;
        if i >= chars.len() {
            return Some(i);
        }
        if chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(i + 1 + hashes);
        }
    }
}

/// Blanks every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut code = code.to_owned();
    while let Some(start) = code.find("#[cfg(test)]") {
        let rest = &code[start..];
        let brace = rest.find('{').unwrap_or(rest.len());
        let semicolon = rest.find(';').unwrap_or(rest.len());
        let end = start + if semicolon < brace { semicolon + 1 } else { block_end(rest, brace) };
        let kept: String = code[start..end].chars().filter(|c| *c == '\n').collect();
        code.replace_range(start..end, &kept);
    }
    code
}

/// The offset after the brace that closes the one at `open`.
fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + offset + 1;
        }
    }
    code.len()
}

/// The first names of the paths that follow each `prefix` (`crate::`), groups in braces included.
fn heads(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (position, _) in code.match_indices(prefix) {
        if code[..position].ends_with(|c: char| is_word(c) || c == ':') {
            continue;
        }
        let rest = &code[position + prefix.len()..];
        if !rest.starts_with('{') {
            found.push(rest.chars().take_while(|c| is_word(*c)).collect());
            continue;
        }
        let group = &rest[1..block_end(rest, 0) - 1];
        let mut depth = 0;
        for piece in group.split_inclusive(['{', '}', ',']) {
            let name: String = piece.trim().chars().take_while(|c| is_word(*c)).collect();
            if depth == 0 && !name.is_empty() {
                found.push(name);
            }
            depth += i32::from(piece.ends_with('{')) - i32::from(piece.ends_with('}'));
        }
    }
    found
}

/// Every arrow between top-level modules, with a file that draws it.
fn arrows(sources: &[Source]) -> BTreeMap<(String, String), PathBuf> {
    let known: BTreeSet<&str> = FLOORS.iter().map(|(name, _)| *name).collect();
    let mut arrows = BTreeMap::new();
    for source in sources.iter().filter(|s| s.module() != "lib") {
        let from = source.module();
        let mut targets = heads(&source.code, "crate::");
        targets.extend(heads(&source.code, "cadre::"));
        targets.extend(heads(&source.code, &"super::".repeat(source.depth())));
        for to in targets {
            if to != from && known.contains(to.as_str()) {
                arrows.entry((from.clone(), to)).or_insert_with(|| source.path.clone());
            }
        }
    }
    arrows
}

#[test]
fn modules_know_only_what_lies_below_them() {
    let sources = sources();
    let floor = |name: &str| FLOORS.iter().find(|(n, _)| *n == name).map(|(_, floor)| *floor);
    let unknown: BTreeSet<_> = sources.iter().map(Source::module).filter(|m| floor(m).is_none()).collect();
    assert!(unknown.is_empty(), "modules without a floor in this test: {unknown:?}");
    let wrong: Vec<_> = arrows(&sources)
        .into_iter()
        .filter(|((from, to), _)| floor(from) >= floor(to) || (from == "domain" && to != "model"))
        .map(|((from, to), file)| format!("{from} → {to} in {}", file.display()))
        .collect();
    assert!(wrong.is_empty(), "arrows that mustn't be:\n{}", wrong.join("\n"));
}

#[test]
fn the_database_never_sees_a_plain_text() {
    for source in sources().iter().filter(|s| s.module() == "store") {
        assert!(!source.code.contains("Plaintext"), "store mentions Plaintext in {}", source.path.display());
    }
}

#[test]
fn only_the_clock_asks_for_the_time() {
    for source in sources().iter().filter(|s| s.module() != "clock") {
        for question in ["Utc::now", "SystemTime::now", "Local::now", "OffsetDateTime::now"] {
            assert!(!source.code.contains(question), "{question} in {}", source.path.display());
        }
    }
}

#[test]
fn warnings_are_expected_and_never_allowed() {
    for source in sources() {
        for allow in ["#[allow(", "#![allow("] {
            assert!(!source.code.contains(allow), "{allow} in {}: use #[expect(", source.path.display());
        }
    }
}

#[test]
fn files_and_functions_stay_short() {
    let mut too_long = Vec::new();
    for source in sources() {
        let lines = source.code.trim_end().lines().count();
        if lines > LONGEST_FILE {
            too_long.push(format!("{}: {lines} lines (at most {LONGEST_FILE})", source.path.display()));
        }
        for (name, lines) in functions(&source.code) {
            let line = format!("{} in {}: {lines} lines", name, source.path.display());
            if lines > LONGEST_FUNCTION {
                too_long.push(line);
            } else if lines > LONG_FUNCTION {
                println!("long: {line} (better {LONG_FUNCTION})");
            }
        }
    }
    assert!(too_long.is_empty(), "better two than one:\n{}", too_long.join("\n"));
}

/// Each function's name and its number of lines, from `fn` to the closing brace.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (position, _) in code.match_indices("fn ") {
        if code[..position].ends_with(is_word) {
            continue;
        }
        let rest = &code[position..];
        let name: String = rest[3..].chars().take_while(|c| is_word(*c)).collect();
        // `[u8; 4]` in a signature has a semicolon; one outside brackets ends a declaration without body.
        let mut brackets = 0;
        let body = rest.char_indices().find(|(_, c)| {
            brackets += i32::from(*c == '[') - i32::from(*c == ']');
            *c == '{' || (*c == ';' && brackets == 0)
        });
        if let Some((open, '{')) = body
            && !name.is_empty()
        {
            found.push((name, rest[..block_end(rest, open)].lines().count()));
        }
    }
    found
}

#[test]
fn this_reader_of_sources_sees_through_comments_strings_and_tests() {
    let code = blanked("a // crate::x\n\"crate::y \\\" {\" 'c' '{' &'a b /* { /* } */ */ r#\"crate::z\"# end");
    assert!(
        !code.contains("crate") && !code.contains('{') && code.contains("&'a b") && code.ends_with("end"),
        "{code}"
    );
    let code = without_tests("fn a() {}\n#[cfg(test)]\nmod tests {\n use crate::b;\n}\nfn c() {}");
    assert_eq!(code, "fn a() {}\n\n\n\n\nfn c() {}");
    let found = heads("use crate::{a::{b, c}, d, e::f}; crate::g::h(); notcrate::i", "crate::");
    assert_eq!(found, ["a", "d", "e", "g"]);
    assert_eq!(functions("fn a(x: [u8; 4]) {\n1\n}\nfn b();"), [("a".to_owned(), 3)]);
}
