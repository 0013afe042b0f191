//! Collects what was found and prints it: grouped, a line an item, the remedy below.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::cli::{colour, with_lines};
use crate::config::{Config, Finding, Severity};

/// What an item is about, in the order of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Group {
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

impl Group {
    const fn title(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration",
            Self::Files => "Files",
            Self::Keys => "Keys",
            Self::Letters => "Letters and lines",
            Self::Rhythm => "Rhythm",
            Self::Database => "Database",
            Self::Mailbox => "Mailbox (IMAP)",
            Self::Sending => "Sending (SMTP)",
            Self::RoundTrip => "Round trip",
        }
    }
}

enum Item {
    Good(String),
    Found(Finding),
}

/// One finding of `--json`.
#[derive(Serialize)]
struct Shown<'a> {
    group: Group,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// Everything that `check` found.
pub(super) struct Report {
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
    pub fn new(file: &Path) -> Self {
        let (items, mended, lines, notes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { file: file.to_owned(), items, slots: BTreeMap::new(), mended, lines, notes }
    }

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

    pub fn error(&mut self, group: Group, config: &Config, key: &str, cause: &str, remedy: &str) {
        self.add(group, config.finding(Severity::Error, key, cause, remedy));
    }

    pub fn warn(&mut self, group: Group, config: &Config, key: &str, cause: &str, remedy: &str) {
        self.add(group, config.finding(Severity::Warning, key, cause, remedy));
    }

    pub fn note(&mut self, text: &'static str) {
        self.notes.push(text);
    }

    /// From now on findings are about a mended text: `keys` were replaced, `lines` are the file's own.
    pub fn mended(&mut self, keys: Vec<String>, lines: Vec<Option<usize>>) {
        (self.mended, self.lines) = (keys, lines);
    }

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
        self.findings().any(|(_, finding)| finding.is_error() && finding.key == key)
    }

    pub fn has_errors(&self) -> bool {
        self.findings().any(|(_, finding)| finding.is_error())
    }

    fn findings(&self) -> impl Iterator<Item = (Group, &Finding)> {
        self.items.iter().filter_map(|(group, item)| match item {
            Item::Found(finding) => Some((*group, finding)),
            Item::Good(_) => None,
        })
    }

    /// Prints the page, or JSON.
    pub fn print(&mut self, json: bool) {
        self.items.sort_by_key(|(group, _)| *group);
        if json {
            let findings: Vec<Shown<'_>> = self.findings().map(|(group, finding)| Shown { group, finding }).collect();
            let whole = serde_json::json!({
                "findings": findings,
                "slots": self.slots,
                "notes": self.notes,
                "ok": !self.has_errors(),
            });
            println!("{}", serde_json::to_string_pretty(&whole).unwrap_or_default());
            return;
        }
        let out = std::io::stdout();
        print!("{}", self.page(colour::on(&out), colour::width(&out)));
    }

    /// The page, in colours if wanted, and folded where it has a width.
    fn page(&self, colour: bool, width: Option<usize>) -> String {
        let paint = |code: &str, text: &str| {
            if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
        };
        let mut out = String::new();
        let mut last = None;
        for (group, item) in &self.items {
            if last != Some(*group) {
                out.push_str(&format!("{}{}\n", if last.is_some() { "\n" } else { "" }, paint("1", group.title())));
                last = Some(*group);
            }
            match item {
                Item::Good(text) => out.push_str(&folded(&format!("  {} ", paint("32", "✓")), text, width)),
                Item::Found(finding) if finding.span.is_some() => {
                    let shown = with_lines(&self.file, std::slice::from_ref(finding), colour);
                    out.extend(shown.lines().map(|line| format!("  {line}\n")));
                }
                Item::Found(finding) => {
                    let mark = if finding.is_error() { paint("31", "✗") } else { paint("33", "!") };
                    out.push_str(&folded(&format!("  {mark} "), &self.line(finding), width));
                    if !finding.remedy.is_empty() {
                        out.push_str(&folded(&format!("    {} ", paint("36", "→")), &finding.remedy, width));
                    }
                }
            }
        }
        out.push('\n');
        for note in &self.notes {
            out.push_str(&format!("{note}\n"));
        }
        let count = |severity| self.findings().filter(|(_, finding)| finding.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let summary = match errors {
            0 if warnings == 0 => paint("32", "All is well."),
            0 => format!("{} {}.", paint("32", "No errors;"), counted(warnings, "warning")),
            _ => paint("31", &format!("{}, {}.", counted(errors, "error"), counted(warnings, "warning"))),
        };
        out.push_str(&format!("{summary}\n"));
        out
    }

    fn line(&self, finding: &Finding) -> String {
        let name = self.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let place = finding.line.map_or(String::new(), |line| format!(" ({name}:{line})"));
        match (finding.key.is_empty(), place.is_empty()) {
            (true, true) => format!("{}: {}", finding.file.display(), finding.cause),
            (true, false) => format!("{}:{}: {}", finding.file.display(), finding.line.unwrap_or(0), finding.cause),
            _ => format!("{}{place}: {}", finding.key, finding.cause),
        }
    }
}

/// A text behind its mark; where it goes on it stands below itself.
fn folded(mark: &str, text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return format!("{mark}{text}\n") };
    let margin = " ".repeat(textwrap::core::display_width(mark));
    let options = textwrap::Options::new(width).initial_indent(mark).subsequent_indent(&margin).break_words(false);
    textwrap::fill(text, options) + "\n"
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(folder: &Path) -> Report {
        let file = folder.join("cadre.toml");
        let text = "[imap]\npassword = \"hunter2\"\nport = 0\n";
        std::fs::write(&file, text).unwrap();
        let mut report = Report::new(&file);
        let findings = Config::load(&file, &crate::config::Env::default()).unwrap_err();
        let ours = |finding: &Finding| ["[imap] port", "[imap] password"].contains(&finding.key.as_str());
        findings.into_iter().filter(ours).for_each(|finding| report.add(Group::Configuration, finding));
        report.good(Group::Sending, "takes mails up to 50 MB, and says so in words that are longer than the window");
        report
    }

    #[test]
    fn the_page_shows_lines_and_remedies_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let page = report(folder.path()).page(false, None);
        assert!(page.contains("2 | password = …") && page.contains("3 | port = 0"), "{page}");
        assert!(page.contains("= help: ") && page.contains("2 errors, 0 warnings."), "{page}");
        assert!(!page.contains("hunter2") && !page.contains('\x1b'), "{page}");
        assert!(report(folder.path()).page(true, None).contains("\x1b["));
    }

    #[test]
    fn what_goes_on_stands_below_itself() {
        let folder = tempfile::tempdir().unwrap();
        let page = report(folder.path()).page(true, Some(40));
        let line = page.lines().skip_while(|line| !line.contains("takes mails")).nth(1).unwrap();
        assert!(line.starts_with("    ") && textwrap::core::display_width(line) <= 40, "{page}");
    }
}
