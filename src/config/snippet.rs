//! Findings with the line of the file and a caret below the very place, as compilers show them.
//!
//! A line of the file may hold what nobody is to see: a name, an address, a password that was written there by mistake.
//! So of every line only the name of a key is shown, and a value only where the schema says that its kind tells nothing
//! of anybody. All else becomes `…`; what follows on the line, a comment too.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::schema::{Kind, SECTIONS};
use super::{Finding, Severity};

/// What stands for everything that isn't shown.
const HIDDEN: &str = "…";
/// Texts that say nothing of a person.
const OPEN_TEXTS: &[&str] = &["host", "country", "region", "inbox", "junk", "authserv"];

/// All findings, each with its line of `text`, the file's whole text. In colour with ANSI sequences.
pub fn render(text: &str, findings: &[Finding], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for (nth, finding) in findings.iter().enumerate() {
        if nth > 0 {
            out.push('\n');
        }
        out.push_str(&one(&renderer, text, finding));
        out.push('\n');
    }
    out
}

fn one(renderer: &Renderer, text: &str, finding: &Finding) -> String {
    let level = if finding.severity == Severity::Error { Level::ERROR } else { Level::WARNING };
    let key = if finding.key.is_empty() { String::new() } else { format!("{}: ", finding.key) };
    let name = finding.file.display().to_string();
    let line = finding.line.and_then(|line| Some((line, text.split('\n').nth(line.checked_sub(1)?)?)));
    // Without a place the file's name is all that can be said.
    let title =
        if line.is_none() { format!("{name}: {key}{}", finding.cause) } else { format!("{key}{}", finding.cause) };
    let mut group = Group::with_title(level.primary_title(title));
    if let Some((number, line)) = line {
        let line = line.trim_end_matches('\r');
        let (shown, span) = shown(line, place(text, number, line, finding));
        let snippet = Snippet::source(shown).path(name).line_start(number);
        group = group.element(snippet.annotation(AnnotationKind::Primary.span(span)));
    }
    if !finding.remedy.is_empty() {
        group = group.element(Level::HELP.message(finding.remedy.as_str()));
    }
    renderer.render(&[group])
}

/// The finding's place inside of its line; all that is written there when it isn't known.
fn place(text: &str, number: usize, line: &str, finding: &Finding) -> Range<usize> {
    let begin: usize = text.split_inclusive('\n').take(number - 1).map(str::len).sum();
    let inside = |offset: usize| offset.saturating_sub(begin).min(line.len());
    match &finding.span {
        Some(span) => inside(span.start)..inside(span.end.max(span.start)),
        None => line.len() - line.trim_start().len()..line.trim_end().len(),
    }
}

/// The line with everything hidden that isn't open, and where `span` lies in it then.
fn shown(line: &str, span: Range<usize>) -> (String, Range<usize>) {
    let whole = |offset: usize| line.floor_char_boundary(offset);
    let (start, end) = (whole(span.start), whole(span.end));
    match hidden_from(line) {
        None => (line.to_owned(), start..end),
        Some(from) => {
            let text = format!("{}{HIDDEN}", &line[..from]);
            let end = if end > from { text.len() } else { end };
            (text, start.min(from)..end.max(start.min(from)))
        }
    }
}

/// From where on the line isn't shown.
fn hidden_from(line: &str) -> Option<usize> {
    let begin = line.len() - line.trim_start().len();
    let rest = |from: usize| (from < line.trim_end().len()).then_some(from);
    if line[begin..].starts_with('[') {
        return header(line, begin).map_or_else(|| rest(begin), |end| rest(skip_blanks(line, end)));
    }
    // Before the equals sign there is nothing but a key; a line of a long text may have one too.
    let Some(equals) = line.find('=') else { return rest(begin) };
    let key = line[begin..equals].trim_end();
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.\"'".contains(c)) {
        return rest(begin);
    }
    let value = skip_blanks(line, equals + 1);
    let end = value_end(line, value);
    let text = &line[value..end];
    let open = is_open(key.rsplit('.').next().unwrap_or(key).trim_matches(['"', '\'']), text);
    if open && !text.contains('@') && !text.contains("://") { rest(skip_blanks(line, end)) } else { rest(value) }
}

/// Where the header that begins here ends, if it is one.
fn header(line: &str, begin: usize) -> Option<usize> {
    let end = begin + line[begin..].rfind(']')? + 1;
    let name = line[begin..end].trim_matches(['[', ']']);
    name.chars().all(|c| c.is_ascii_alphanumeric() || "-_. ".contains(c)).then_some(end)
}

fn skip_blanks(line: &str, from: usize) -> usize {
    from + line[from..].len() - line[from..].trim_start().len()
}

/// The end of a quoted text, or of a word.
fn value_end(line: &str, from: usize) -> usize {
    let rest = &line[from..];
    match rest.chars().next().filter(|first| ['"', '\''].contains(first)) {
        Some(quote) if rest[1..].contains(quote) => from + rest[1..].find(quote).map_or(0, |end| end + 2),
        _ => from + rest.find(char::is_whitespace).unwrap_or(rest.len()),
    }
}

/// Whether a value of this key may be shown: in whatever section it stands, it tells nothing of anybody. What isn't of
/// the kind that is asked for may be anything: a text where there should be a number, a list where there should be a text.
fn is_open(name: &str, value: &str) -> bool {
    let is_number = value.chars().all(|c| c.is_ascii_digit() || c == '_');
    let is_text = value.starts_with(['"', '\'']);
    let mut keys = SECTIONS.iter().filter_map(|section| section.key(name)).peekable();
    keys.peek().is_some()
        && keys.all(|key| match key.kind {
            Kind::Text => is_text && OPEN_TEXTS.contains(&name),
            Kind::Texts | Kind::Address | Kind::Path | Kind::Secret => false,
            Kind::Flag => ["true", "false"].contains(&value),
            Kind::Port | Kind::Count => is_number,
            Kind::Words(_) | Kind::Duration | Kind::Size | Kind::Hour | Kind::Date | Kind::Cron | Kind::Zone => is_text,
        })
}
