//! The operator's own letters: what lies in `[letters] folder`, and what is wrong with it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::model::Language;

use super::Name;
use super::template::{self, Fault, Part, Problem};

/// One thing that is wrong with a file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    pub file: PathBuf,
    /// From 1, where one can be named.
    pub line: Option<usize>,
    pub cause: String,
    pub remedy: String,
}

/// The folder, looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The letters that are sound, as `fr/farewell`.
    pub sound: BTreeSet<String>,
    pub faults: Vec<FileFault>,
}

impl Folder {
    /// Reads everything in the folder. Hidden files and the copies that editors leave (`~`) are passed over.
    pub fn look(folder: &Path) -> Self {
        let mut found = Self { sound: BTreeSet::new(), faults: Vec::new() };
        for path in entries(folder, &mut found.faults) {
            let language = Language::ALL.iter().find(|language| file_name(&path) == language.as_str());
            match language {
                Some(language) if path.is_dir() => found.language(folder, &path, *language),
                // Anything else there is the operator's own business, but for what looks like a letter.
                _ if has_ending(&path) => {
                    let remedy = "put it into the folder fr or en".to_owned();
                    let cause = "a letter's file lies beside the languages' folders, where it isn't used".to_owned();
                    found.faults.push(FileFault { file: path, line: None, cause, remedy });
                }
                _ => {}
            }
        }
        found
    }

    fn language(&mut self, folder: &Path, path: &Path, language: Language) {
        for file in entries(path, &mut self.faults) {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let part = Part::ALL.into_iter().find(|part| file.extension().is_some_and(|e| e == part.ending()));
            let known = part.zip(Name::named(&stem)).filter(|(part, name)| part_exists(*part, *name, language));
            let Some((part, name)) = known.filter(|_| file.is_file()) else {
                self.faults.push(unknown(file, &stem));
                continue;
            };
            let problems = match read(folder, name, language, part) {
                None => continue,
                Some(Ok(source)) => judge(&source, name, language, part),
                Some(Err(problems)) => problems,
            };
            if problems.is_empty() {
                self.sound.insert(super::path(name, language));
            }
            self.faults.extend(problems.into_iter().map(|problem| of(&file, &problem)));
        }
    }
}

/// A problem of a letter, as a fault of its file. A lost fact's remedy quotes where the built-in letter has it.
fn of(file: &Path, problem: &Problem) -> FileFault {
    let fault = &problem.fault;
    let quoted = match fault {
        Fault::LostFact(fact) => template::line_with(problem.name, problem.language, fact),
        _ => None,
    };
    let remedy = match quoted {
        Some(line) => format!("{}: {line}", fault.remedy()),
        None => fault.remedy().to_owned(),
    };
    FileFault { file: file.to_owned(), line: fault.line(), cause: fault.to_string(), remedy }
}

fn unknown(file: PathBuf, stem: &str) -> FileFault {
    let near = Name::ALL.iter().map(|name| name.as_str()).min_by_key(|name| distance(name, stem));
    let remedy = match near.filter(|name| distance(name, stem) <= 3) {
        _ if stem == "words" => "shared words can't be replaced; replace the letters that use them".to_owned(),
        Some(name) if name == stem => format!("that letter has a text only: {name}.txt"),
        Some(name) => format!("call it {name}.txt if that is meant; `cadre letters list` has all names"),
        None => "`cadre letters list` has all names; take the file away".to_owned(),
    };
    FileFault { file, line: None, cause: "no letter has this name: the file isn't used".to_owned(), remedy }
}

fn part_exists(part: Part, name: Name, language: Language) -> bool {
    part == Part::Text || name.html(language).is_some()
}

fn has_ending(path: &Path) -> bool {
    Part::ALL.iter().any(|part| path.extension().is_some_and(|e| e == part.ending()))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What lies in a folder, by name; a folder that can't be read is a fault.
fn entries(folder: &Path, faults: &mut Vec<FileFault>) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            faults.push(FileFault {
                file: folder.to_owned(),
                line: None,
                cause: format!("the folder can't be read ({})", error.kind()),
                remedy: "let the user that runs cadre read it".to_owned(),
            });
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| !file_name(path).starts_with('.') && !file_name(path).ends_with('~'));
    paths.sort();
    paths
}

/// One file of the folder; None where there is none.
pub(super) fn read(folder: &Path, name: Name, language: Language, part: Part) -> Option<Result<String, Vec<Problem>>> {
    let path = folder.join(language.as_str()).join(format!("{}.{}", name.as_str(), part.ending()));
    match std::fs::read_to_string(path) {
        Ok(source) => Some(Ok(source)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(_) => Some(Err(vec![Problem { name, language, part, fault: Fault::Unreadable }])),
    }
}

/// Whether it can stand in for the built-in one.
pub(super) fn judge(source: &str, name: Name, language: Language, part: Part) -> Vec<Problem> {
    match part {
        Part::Text => template::check(source, name, language),
        Part::Html => template::check_html(source, name, language),
    }
}

/// How many signs have to be changed, put in or taken out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row.first().copied().unwrap_or(0);
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (corner + usize::from(x != *y)).min(above + 1).min(row[j] + 1);
            corner = above;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn faults(files: &[(&str, &str)]) -> Vec<(String, Option<usize>, String, String)> {
        let folder = folder(files);
        let short = |path: &Path| path.strip_prefix(folder.path()).unwrap().display().to_string();
        Folder::look(folder.path())
            .faults
            .iter()
            .map(|f| (short(&f.file), f.line, f.cause.clone(), f.remedy.clone()))
            .collect()
    }

    #[test]
    fn every_fault_names_file_line_and_remedy() {
        let found = faults(&[
            ("fr/stranger.txt", "subject = \"x\"\n---\nun\n\n{{ nom }} automatique pas surveillée 112\n"),
            ("fr/help.txt", "# un mot\nsubject = \"{% if %}\"\n---\n"),
            ("fr/closed.txt", "subject = \"x\"\nfacts = [\n---\nx\n"),
            ("en/closed.txt", "subject = \"x\"\n"),
        ]);
        let places: Vec<_> = found.iter().map(|(file, line, ..)| (file.as_str(), *line)).collect();
        let closed = found.iter().find(|f| f.0 == "fr/closed.txt").unwrap();
        assert!(closed.1.is_some_and(|line| (2..=3).contains(&line)), "{closed:?}");
        assert!(places.contains(&("fr/stranger.txt", Some(5))), "{found:?}");
        assert!(places.contains(&("fr/help.txt", Some(2))), "{found:?}");
        assert!(places.contains(&("en/closed.txt", None)), "{found:?}");
        assert!(found.iter().all(|f| !f.3.is_empty()));
    }

    #[test]
    fn a_lost_fact_is_quoted_from_the_built_in_letter() {
        let found = faults(&[(
            "fr/missed-day.txt",
            "subject = \"x\"\n---\nAutomatique, rien à refaire, pas surveillée {{ missed|day }} {{ next|from }}\n",
        )]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].2.contains("`lines`") && found[0].3.contains("{{ lines|numbers }}"), "{found:?}");
    }

    #[test]
    fn files_that_no_letter_knows_are_named() {
        let found = faults(&[
            ("fr/aknowledgement.txt", "x"),
            ("fr/words.txt", "x"),
            ("fr/receipt.html", "x"),
            ("fr/.hidden.txt", "x"),
            ("fr/receipt.txt~", "x"),
            ("farewell.txt", "x"),
            ("README.md", "x"),
            ("de/receipt.txt", "x"),
        ]);
        let files: Vec<&str> = found.iter().map(|f| f.0.as_str()).collect();
        assert_eq!(files, ["farewell.txt", "fr/aknowledgement.txt", "fr/receipt.html", "fr/words.txt"]);
        assert!(found[1].3.contains("acknowledgement.txt"), "{found:?}");
    }

    #[test]
    fn an_html_part_that_loads_something_is_refused() {
        let found = faults(&[("en/digest.html", "<img src=\"https://example.org/x.png\">")]);
        assert!(found[0].2.contains("src="), "{found:?}");
        assert!(faults(&[("en/digest.html", "<p>{{ sheet.to_answer }}</p>")]).is_empty());
    }

    #[test]
    fn sound_letters_are_listed() {
        let folder = folder(&[("en/stranger.txt", "subject = \"x\"\n---\nAutomatic. Not watched. 112.\n")]);
        let found = Folder::look(folder.path());
        assert_eq!(found.sound.into_iter().collect::<Vec<_>>(), ["en/stranger"], "{:?}", found.faults);
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        assert_eq!(distance("farewell", "farewel"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
