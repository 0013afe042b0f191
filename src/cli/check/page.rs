//! What `check` found as a page: grouped, a line an item, the remedy below. Or as JSON.

use serde::Serialize;

use crate::app::check::{Group, Item, Report};
use crate::cli::{colour, with_lines};
use crate::config::{Finding, Severity};

const fn title(group: Group) -> &'static str {
    match group {
        Group::Configuration => "Configuration",
        Group::Files => "Files",
        Group::Keys => "Keys",
        Group::Letters => "Letters and lines",
        Group::Rhythm => "Rhythm",
        Group::Database => "Database",
        Group::Mailbox => "Mailbox (IMAP)",
        Group::Sending => "Sending (SMTP)",
        Group::RoundTrip => "Round trip",
    }
}

/// One finding of `--json`.
#[derive(Serialize)]
struct Shown<'a> {
    group: Group,
    #[serde(flatten)]
    finding: &'a Finding,
}

/// Prints the page, or JSON.
pub(super) fn print(report: &Report, json: bool) {
    if json {
        let shown = |(group, item)| match item {
            &Item::Good(_) => None,
            Item::Found(finding) => Some(Shown { group, finding }),
        };
        let whole = serde_json::json!({
            "findings": report.sorted().filter_map(shown).collect::<Vec<_>>(),
            "slots": report.slots,
            "notes": report.notes(),
            "ok": !report.has_errors(),
        });
        println!("{}", serde_json::to_string_pretty(&whole).unwrap_or_default());
        return;
    }
    let out = std::io::stdout();
    print!("{}", page(report, colour::on(&out), colour::width(&out)));
}

/// The page, in colours if wanted, and folded where it has a width.
fn page(report: &Report, colour: bool, width: Option<usize>) -> String {
    let paint = |code: &str, text: &str| if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut out = String::new();
    let mut last = None;
    for (group, item) in report.sorted() {
        if last != Some(group) {
            out.push_str(&format!("{}{}\n", if last.is_some() { "\n" } else { "" }, paint("1", title(group))));
            last = Some(group);
        }
        match item {
            Item::Good(text) => out.push_str(&folded(&format!("  {} ", paint("32", "✓")), text, width)),
            Item::Found(finding) if finding.span.is_some() => {
                let shown = with_lines(report.file(), std::slice::from_ref(finding), colour);
                out.extend(shown.lines().map(|line| format!("  {line}\n")));
            }
            Item::Found(finding) => {
                let mark = if finding.is_error() { paint("31", "✗") } else { paint("33", "!") };
                out.push_str(&folded(&format!("  {mark} "), &line(report, finding), width));
                if !finding.remedy.is_empty() {
                    out.push_str(&folded(&format!("    {} ", paint("36", "→")), &finding.remedy, width));
                }
            }
        }
    }
    out.push('\n');
    for note in report.notes() {
        out.push_str(&format!("{note}\n"));
    }
    let count = |severity| report.findings().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let summary = match errors {
        0 if warnings == 0 => paint("32", "All is well."),
        0 => format!("{} {}.", paint("32", "No errors;"), counted(warnings, "warning")),
        _ => paint("31", &format!("{}, {}.", counted(errors, "error"), counted(warnings, "warning"))),
    };
    out.push_str(&format!("{summary}\n"));
    out
}

fn line(report: &Report, finding: &Finding) -> String {
    let name = report.file().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let place = finding.line.map_or(String::new(), |line| format!(" ({name}:{line})"));
    match (finding.key.is_empty(), place.is_empty()) {
        (true, true) => format!("{}: {}", finding.file.display(), finding.cause),
        (true, false) => format!("{}:{}: {}", finding.file.display(), finding.line.unwrap_or(0), finding.cause),
        _ => format!("{}{place}: {}", finding.key, finding.cause),
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
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Env};

    fn report(folder: &Path) -> Report {
        let file = folder.join("cadre.toml");
        let text = "[imap]\npassword = \"hunter2\"\nport = 0\n";
        std::fs::write(&file, text).unwrap();
        let mut report = Report::new(&file);
        let findings = Config::load(&file, &Env::default()).unwrap_err();
        let ours = |finding: &Finding| ["[imap] port", "[imap] password"].contains(&finding.key.as_str());
        findings.into_iter().filter(ours).for_each(|finding| report.add(Group::Configuration, finding));
        report.good(Group::Sending, "takes mails up to 50 MB, and says so in words that are longer than the window");
        report
    }

    #[test]
    fn the_page_shows_lines_and_remedies_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let page = |colour| page(&report(folder.path()), colour, None);
        let plain = page(false);
        assert!(plain.contains("2 | password = …") && plain.contains("3 | port = 0"), "{plain}");
        assert!(plain.contains("= help: ") && plain.contains("2 errors, 0 warnings."), "{plain}");
        assert!(!plain.contains("hunter2") && !plain.contains('\x1b'), "{plain}");
        assert!(page(true).contains("\x1b["));
    }

    #[test]
    fn what_goes_on_stands_below_itself() {
        let folder = tempfile::tempdir().unwrap();
        let page = page(&report(folder.path()), true, Some(40));
        let line = page.lines().skip_while(|line| !line.contains("takes mails")).nth(1).unwrap();
        assert!(line.starts_with("    ") && textwrap::core::display_width(line) <= 40, "{page}");
    }
}
