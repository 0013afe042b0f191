//! What was found, good and bad, grouped by what it is about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::config::{Config, Finding, Severity};

/// What an item is about, in the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    Configuration,
    Files,
    Keys,
    Letters,
    Rhythm,
    Database,
    Mailbox,
    Sending,
    RoundTrip,
}

/// One thing that was looked at.
#[derive(Debug)]
pub enum Item {
    Good(String),
    Found(Finding),
}

/// Everything that `check` found.
#[derive(Debug)]
pub struct Report {
    file: PathBuf,
    items: Vec<(Group, Item)>,
    /// Next slots by therapist.
    pub slots: BTreeMap<String, Vec<DateTime<Utc>>>,
    /// Keys whose value in the file can't be used; another one stood in for it.
    mended: Vec<String>,
    /// The file's line for each line of the mended text.
    lines: Vec<Option<usize>>,
    notes: Vec<&'static str>,
}

impl Report {
    /// Nothing found yet in this file.
    pub fn new(file: &Path) -> Self {
        let (items, mended, lines, notes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { file: file.to_owned(), items, slots: BTreeMap::new(), mended, lines, notes }
    }

    /// Adds something that is as it should be.
    pub fn good(&mut self, group: Group, text: impl Into<String>) {
        self.items.push((group, Item::Good(text.into())));
    }

    /// Adds a finding; what follows from a key that was mended is left out, and nothing is said twice.
    pub fn add(&mut self, group: Group, mut finding: Finding) {
        if self.is_mended() && finding.file == self.file {
            finding.line = finding.line.and_then(|line| self.lines.get(line.checked_sub(1)?).copied().flatten());
            // The place was in the mended text.
            finding.span = None;
        }
        let known = |item: &(Group, Item)| matches!(&item.1, Item::Found(other) if (&other.file, &other.key, &other.cause) == (&finding.file, &finding.key, &finding.cause));
        if self.mended.contains(&finding.key) || self.items.iter().any(known) {
            return;
        }
        self.items.push((group, Item::Found(finding)));
    }

    /// Adds an error about a key of this configuration.
    pub fn error(&mut self, group: Group, config: &Config, key: &str, cause: &str, remedy: &str) {
        self.add(group, config.finding(Severity::Error, key, cause, remedy));
    }

    /// Adds a warning about a key of this configuration.
    pub fn warn(&mut self, group: Group, config: &Config, key: &str, cause: &str, remedy: &str) {
        self.add(group, config.finding(Severity::Warning, key, cause, remedy));
    }

    /// Adds what is to be said besides.
    pub fn note(&mut self, text: &'static str) {
        self.notes.push(text);
    }

    /// From now on findings are about a mended text: `keys` were replaced, `lines` are the file's own.
    pub fn mended(&mut self, keys: Vec<String>, lines: Vec<Option<usize>>) {
        (self.mended, self.lines) = (keys, lines);
    }

    /// Whether anything stood in for a faulty value.
    pub fn is_mended(&self) -> bool {
        !self.mended.is_empty()
    }

    /// Whether one of these keys of a section stands in for a faulty one.
    pub fn any_mended(&self, section: &str, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.mended.contains(&format!("{section} {key}")))
            || self.mended.iter().any(|mended| mended == section)
    }

    /// Whether this key of a therapist was mended.
    pub fn therapist_mended(&self, id: &str, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.mended.contains(&format!("[[therapist]] {id}.{key}")))
    }

    /// Whether there is an error about this key.
    pub fn has_error_at(&self, key: &str) -> bool {
        self.findings().any(|finding| finding.is_error() && finding.key == key)
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.findings().any(Finding::is_error)
    }

    /// What isn't as it should be, in the order in which it was found.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.items.iter().filter_map(|(_, item)| match item {
            Item::Found(finding) => Some(finding),
            Item::Good(_) => None,
        })
    }

    /// Every item, in the order of the page.
    pub fn sorted(&self) -> impl Iterator<Item = (Group, &Item)> {
        let mut items: Vec<_> = self.items.iter().map(|(group, item)| (*group, item)).collect();
        items.sort_by_key(|(group, _)| *group);
        items.into_iter()
    }

    /// The file that it is about.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What is to be said besides.
    pub fn notes(&self) -> &[&'static str] {
        &self.notes
    }
}
