//! One template: its header, its words, and whether it still says what it must.

use minijinja::{Environment, Error, context};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::model::Language;

use super::{Name, Reader, RenderFault, Rendered, filters, samples, typography};

/// The header of a letter's file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// A template too; one line.
    subject: String,
    /// Facts that must show in the letter: changing one must change the letter.
    #[serde(default)]
    facts: Vec<String>,
    /// Stems that must stand in the letter in any case; `a|b` means either.
    #[serde(default)]
    says: Vec<String>,
}

/// What is wrong with a letter's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("there is no such template")]
    Missing,
    #[error("the file can't be read")]
    Unreadable,
    #[error("there is no line `---` between header and text")]
    NoHeader,
    #[error("the header is not TOML with `subject`, `facts`, `says`")]
    Header { line: usize },
    /// Also what shows only when the letter is written; `line` counts in the file, 0 where it isn't known.
    #[error("{kind}")]
    Syntax { kind: String, line: usize },
    #[error("the mandatory fact `{0}` no longer shows")]
    LostFact(String),
    #[error("the letter no longer says “{0}”")]
    LostWord(String),
    #[error("the HTML part would load something from elsewhere (`{0}`)")]
    Loads(&'static str),
}

impl Fault {
    /// The line of the file, where one can be named.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Header { line } | Self::Syntax { line, .. } => Some(*line).filter(|line| *line > 0),
            _ => None,
        }
    }

    /// What the operator can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Missing => "this is a fault of the program; please report it",
            Self::Unreadable => "let the user that runs cadre read it, and save it as UTF-8",
            Self::NoHeader => "put the header first (subject = \"…\"), then a line `---`, then the text",
            Self::Header { .. } => "compare the header with the built-in letter's: subject = \"…\"",
            Self::Syntax { .. } => {
                "compare the line with the built-in letter's; facts are in {{ }}, conditions in {% %}"
            }
            Self::LostFact(_) => "show the fact again, as the built-in letter does",
            Self::LostWord(_) => "say it again; a stem is enough, and `a|b` means either",
            Self::Loads(_) => "take it out: a mail that loads something tells others when and where it is read",
        }
    }
}

/// Which part of a letter a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Text,
    Html,
}

impl Part {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Text, Self::Html];

    /// The ending of its file.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Html => "html",
        }
    }
}

/// A fault and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub name: Name,
    pub language: Language,
    pub part: Part,
    pub fault: Fault,
}

impl Problem {
    /// The file below the operator's folder, such as `fr/digest.txt`.
    pub fn file(&self) -> String {
        format!("{}/{}.{}", self.language, self.name.as_str(), self.part.ending())
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "letter {}", self.file())?;
        if let Some(line) = self.fault.line() {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}; {}", self.fault, self.fault.remedy())
    }
}

/// A letter's file in its two halves; typography is that of its language.
struct Split {
    header: Header,
    body: String,
    /// Lines before the body.
    above: usize,
    /// The line of `subject = `.
    subject_line: usize,
}

impl Split {
    /// Where an error of the engine's stands in the file.
    fn fault(&self, error: &Error) -> Fault {
        let RenderFault { kind, line } = RenderFault::from(error);
        let line = match error.name() {
            Some(name) if name.ends_with(".subject") => self.subject_line,
            Some(name) if name.ends_with(".txt") && line > 0 => self.above + line,
            _ => 0,
        };
        Fault::Syntax { kind, line }
    }
}

fn split(source: &str, language: Language) -> Result<Split, Fault> {
    let source = source.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let (header, body) = source.split_once("\n---\n").ok_or(Fault::NoHeader)?;
    let mut parsed: Header = toml::from_str(header).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        Fault::Header { line: header.get(..start).map_or(1, |before| before.matches('\n').count() + 1) }
    })?;
    parsed.subject = set(&parsed.subject, language);
    let subject_line = header.lines().position(|line| line.trim_start().starts_with("subject")).map_or(1, |n| n + 1);
    Ok(Split { header: parsed, body: set(body, language), above: header.matches('\n').count() + 2, subject_line })
}

/// Typography of a language.
fn set(text: &str, language: Language) -> String {
    match language {
        Language::Fr => typography::french(text),
        Language::En => typography::english(text),
    }
}

/// An error of the engine's in a file without header.
fn bare(error: &Error) -> Fault {
    let RenderFault { kind, line } = RenderFault::from(error);
    Fault::Syntax { kind, line }
}

/// Puts a letter's templates into an environment.
pub(super) fn add(
    environment: &mut Environment<'static>,
    name: Name,
    language: Language,
    source: &str,
) -> Result<(), Fault> {
    let split = split(source, language)?;
    let (subject, text) = (format!("{}.subject", name.as_str()), format!("{}.txt", name.as_str()));
    environment.add_template_owned(subject, split.header.subject.clone()).map_err(|e| split.fault(&e))?;
    environment.add_template_owned(text, split.body.clone()).map_err(|e| split.fault(&e))
}

/// Puts what letters share into an environment: the template `words` (verdicts, marks, states), `frame-elements`, which
/// the letter about the frame and its renewal include, and `client-guide`.
pub(super) fn add_words(environment: &mut Environment<'static>, language: Language) -> Result<(), Fault> {
    let (words, elements) = match language {
        Language::Fr => (
            include_str!("../../config/letters/fr/words.txt"),
            include_str!("../../config/letters/fr/frame-elements.txt"),
        ),
        Language::En => (
            include_str!("../../config/letters/en/words.txt"),
            include_str!("../../config/letters/en/frame-elements.txt"),
        ),
    };
    environment.add_template_owned("words", set(words, language)).map_err(|e| bare(&e))?;
    environment.add_template_owned("frame-elements", set(elements, language)).map_err(|e| bare(&e))?;
    environment
        .add_template("client-guide", super::guide(language, crate::model::Channel::OpenPgp))
        .map_err(|e| bare(&e))
}

/// Puts the HTML part of a letter into an environment; it has no header.
pub(super) fn add_html(
    environment: &mut Environment<'static>,
    name: Name,
    language: Language,
    source: &str,
) -> Result<(), Fault> {
    environment.add_template_owned(format!("{}.html", name.as_str()), set(source, language)).map_err(|e| bare(&e))
}

/// Writes all parts of a letter.
pub(super) fn write(
    environment: &Environment<'_>,
    name: Name,
    facts: &Json,
    reader: Reader,
) -> Result<Rendered, Error> {
    let context = context! { by_words => reader.by_words, reader_zone => filters::zone_value(reader.zone), ..filters::value(facts) };
    let part = |ending: &str| environment.get_template(&format!("{}.{ending}", name.as_str()))?.render(&context);
    let html = match environment.get_template(&format!("{}.html", name.as_str())) {
        Ok(template) => Some(template.render(&context)?),
        Err(_) => None,
    };
    Ok(Rendered { subject: one_line(&part("subject")?), text: tidy(&part("txt")?), html })
}

/// A subject has no controls and no doubled spaces.
fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

/// No trailing spaces, at most one empty line at a time, one `\n` at the end.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.trim().lines().map(|l| l.trim_end_matches(' ')) {
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            out.push_str(line);
            out.push('\n');
        }
    }
    if text.trim().is_empty() { String::new() } else { out }
}

/// What an operator's version of a letter has lost. The built-in header decides what is mandatory; facts are tried
/// out: each is changed in a sample, and the letter has to change with it. Empty: the source may be used.
pub fn check(source: &str, name: Name, language: Language) -> Vec<Problem> {
    let problem = |fault| Problem { name, language, part: Part::Text, fault };
    let faults = match split(name.source(language), language) {
        Ok(required) => faults(source, name, language, &required.header),
        Err(fault) => vec![fault],
    };
    faults.into_iter().map(problem).collect()
}

fn faults(source: &str, name: Name, language: Language, required: &Header) -> Vec<Fault> {
    let mut environment = filters::environment(language);
    let added = add_words(&mut environment, language).and_then(|()| {
        add(&mut environment, name, language, source)?;
        split(source, language)
    });
    let own = match added {
        Ok(own) => own,
        Err(fault) => return vec![fault],
    };
    let try_out = |facts: &Json| write(&environment, name, facts, sample_reader(language));
    let samples = samples::of(name);
    let mut texts = Vec::new();
    for sample in &samples {
        match try_out(sample) {
            Ok(rendered) => texts.push(rendered),
            Err(e) => return vec![own.fault(&e)],
        }
    }
    let mut faults = Vec::new();
    for fact in &required.facts {
        let shows = samples.iter().zip(&texts).any(|(sample, text)| {
            let mut changed = sample.clone();
            samples::change(&mut changed, fact);
            changed != *sample && try_out(&changed).is_ok_and(|new| new.text != text.text)
        });
        if !shows {
            faults.push(Fault::LostFact(fact.clone()));
        }
    }
    for stem in &required.says {
        let says = |text: &str| stem.split('|').any(|s| text.to_lowercase().contains(&s.to_lowercase()));
        if !texts.iter().all(|t| says(&t.text)) {
            faults.push(Fault::LostWord(stem.clone()));
        }
    }
    faults
}

/// What would make a mail's HTML part fetch something.
const LOADS: [&str; 6] = ["src=", "href=", "url(", "@import", "<script", "<link"];

/// The same for the HTML part: it can be written, and loads nothing.
pub fn check_html(source: &str, name: Name, language: Language) -> Vec<Problem> {
    let problem = |fault| vec![Problem { name, language, part: Part::Html, fault }];
    let lower = source.to_lowercase();
    if let Some(loads) = LOADS.into_iter().find(|loads| lower.contains(loads)) {
        return problem(Fault::Loads(loads));
    }
    let mut environment = filters::environment(language);
    let added = add_words(&mut environment, language)
        .and_then(|()| add(&mut environment, name, language, name.source(language)))
        .and_then(|()| add_html(&mut environment, name, language, source));
    if let Err(fault) = added {
        return problem(fault);
    }
    let try_out = |facts: &Json| write(&environment, name, facts, sample_reader(language));
    match samples::of(name).iter().find_map(|sample| try_out(sample).err()) {
        Some(error) => problem(bare(&error)),
        None => Vec::new(),
    }
}

/// Who reads a sample.
pub(super) const fn sample_reader(language: Language) -> Reader {
    Reader { language, by_words: false, zone: chrono_tz::Europe::Paris }
}

/// The first line of the built-in text that has a fact, as a hint; short.
pub(super) fn line_with(name: Name, language: Language, fact: &str) -> Option<String> {
    let (_, body) = name.source(language).split_once("\n---\n")?;
    let has = |line: &&str| line.contains("{{") && line.contains(fact);
    body.lines().find(has).map(|line| line.trim().chars().take(120).collect())
}
