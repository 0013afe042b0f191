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
    #[error("the file can't be read; check its permissions and that it is UTF-8")]
    Unreadable,
    #[error("there is no line `---` between header and text")]
    NoHeader,
    #[error("the header is not TOML with `subject`, `facts`, `says`")]
    Header,
    #[error("{kind} at line {line} of the text")]
    Syntax { kind: String, line: usize },
    #[error("the mandatory fact `{0}` no longer shows; put it back")]
    LostFact(String),
    #[error("the letter no longer says “{0}”; put it back")]
    LostWord(String),
}

/// A fault and where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("letter {language}/{}: {fault}", name.as_str())]
pub struct Problem {
    pub name: Name,
    pub language: Language,
    pub fault: Fault,
}

/// Header and body of a source; the body's typography is that of its language.
fn split(source: &str, language: Language) -> Result<(Header, String), Fault> {
    let source = source.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let (header, body) = source.split_once("\n---\n").ok_or(Fault::NoHeader)?;
    let mut header: Header = toml::from_str(header).map_err(|_| Fault::Header)?;
    header.subject = set(&header.subject, language);
    Ok((header, set(body, language)))
}

/// Typography of a language.
fn set(text: &str, language: Language) -> String {
    match language {
        Language::Fr => typography::french(text),
        Language::En => typography::english(text),
    }
}

fn syntax(error: &Error) -> Fault {
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
    let (header, body) = split(source, language)?;
    let subject = format!("{}.subject", name.as_str());
    environment.add_template_owned(subject, header.subject).map_err(|e| syntax(&e))?;
    environment.add_template_owned(format!("{}.txt", name.as_str()), body).map_err(|e| syntax(&e))
}

/// Puts the words that letters share (verdicts, marks, states) into an environment, as the template `words`.
pub(super) fn add_words(environment: &mut Environment<'static>, language: Language) -> Result<(), Fault> {
    let source = match language {
        Language::Fr => include_str!("../../config/letters/fr/words.txt"),
        Language::En => include_str!("../../config/letters/en/words.txt"),
    };
    environment.add_template_owned("words", set(source, language)).map_err(|e| syntax(&e))
}

/// Puts the HTML part of a letter into an environment; it has no header.
pub(super) fn add_html(
    environment: &mut Environment<'static>,
    name: Name,
    language: Language,
    source: &str,
) -> Result<(), Fault> {
    environment.add_template_owned(format!("{}.html", name.as_str()), set(source, language)).map_err(|e| syntax(&e))
}

/// Writes all parts of a letter.
pub(super) fn write(
    environment: &Environment<'_>,
    name: Name,
    facts: &Json,
    reader: Reader,
) -> Result<Rendered, Error> {
    let context = context! { reader_zone => filters::zone_value(reader.zone), ..filters::value(facts) };
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
    let problem = |fault| Problem { name, language, fault };
    let required = match split(name.source(language), language) {
        Ok((header, _)) => header,
        Err(fault) => return vec![problem(fault)],
    };
    let mut environment = filters::environment(language);
    let added = add_words(&mut environment, language).and_then(|()| add(&mut environment, name, language, source));
    if let Err(fault) = added {
        return vec![problem(fault)];
    }
    let reader = Reader { language, zone: chrono_tz::Europe::Paris };
    let try_out = |facts: &Json| write(&environment, name, facts, reader);
    let samples = samples::of(name);
    let mut texts = Vec::new();
    for sample in &samples {
        match try_out(sample) {
            Ok(rendered) => texts.push(rendered),
            Err(e) => return vec![problem(syntax(&e))],
        }
    }
    let mut problems = Vec::new();
    for fact in &required.facts {
        let shows = samples.iter().zip(&texts).any(|(sample, text)| {
            let mut changed = sample.clone();
            samples::change(&mut changed, fact);
            changed != *sample && try_out(&changed).is_ok_and(|new| new.text != text.text)
        });
        if !shows {
            problems.push(problem(Fault::LostFact(fact.clone())));
        }
    }
    for stem in &required.says {
        let says = |text: &str| stem.split('|').any(|s| text.to_lowercase().contains(&s.to_lowercase()));
        if !texts.iter().all(|t| says(&t.text)) {
            problems.push(problem(Fault::LostWord(stem.clone())));
        }
    }
    problems
}
