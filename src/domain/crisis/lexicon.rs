//! The lexicon of one language: its file read, checked and compiled.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use serde::Deserialize;
use toml::Spanned;

use super::pattern::{Names, Node, Part, Program, parse};
use super::words::{Atom, Words};
use crate::model::CrisisClass;

/// What is wrong with a lexicon. Speaks of the lexicon only, never of a letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lexicon {language}{}{}: {cause}; {remedy}", Place(", rule ", .rule.as_ref()), Place(", line ", .line.as_ref()))]
pub struct LexiconError {
    /// `fr` or `en`.
    pub language: String,
    /// The rule, group, context or idiom.
    pub rule: Option<String>,
    /// Counts from 1.
    pub line: Option<usize>,
    pub cause: String,
    pub remedy: &'static str,
}

struct Place<'a, T>(&'static str, Option<&'a T>);

impl<T: fmt::Display> fmt::Display for Place<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.map_or(Ok(()), |value| write!(f, "{}{value}", self.0))
    }
}

const CORRECT: &str = "correct it, or remove the file to use the built-in lexicon";

type Patterns = Vec<Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    spelling: BTreeMap<String, String>,
    #[serde(default)]
    glued: Vec<String>,
    #[serde(default)]
    watched: Vec<String>,
    #[serde(default)]
    unwatched: Vec<String>,
    #[serde(default)]
    joins: Vec<String>,
    /// The most frequent first.
    #[serde(default)]
    frequent: Vec<String>,
    #[serde(default)]
    groups: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    idiom: Vec<IdiomFile>,
    #[serde(default)]
    context: Vec<ContextFile>,
    rule: Vec<RuleFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdiomFile {
    name: String,
    any: Patterns,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ContextFile {
    name: String,
    any: Patterns,
    #[serde(default)]
    reach: Reach,
    #[serde(default)]
    makes: Demoted,
    #[serde(default)]
    classes: Vec<CrisisClass>,
    #[serde(default)]
    unless: Patterns,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RuleFile {
    id: Spanned<String>,
    class: CrisisClass,
    #[serde(default)]
    any: Patterns,
    #[serde(default)]
    lines: Patterns,
    #[serde(default)]
    even_if: Vec<String>,
    #[serde(default)]
    even_in_idioms: bool,
}

/// Where a context must stand to change what is found.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Reach {
    /// In the words found or right beside them.
    #[default]
    Touch,
    /// Before the words found: it ends in them, at their beginning or right before them.
    Lead,
    /// At most four words before.
    Before,
    /// At most four words behind.
    After,
    /// Anywhere in the sentence.
    Sentence,
}

/// What a context makes of what is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Demoted {
    #[default]
    B,
    #[serde(rename = "none")]
    Nothing,
}

pub(super) struct Context {
    pub name: String,
    pub reach: Reach,
    pub makes: Demoted,
    pub classes: Vec<CrisisClass>,
}

pub(super) struct Rule {
    /// `fr.a.want-to-die`.
    pub id: String,
    pub class: CrisisClass,
    /// Contexts, by index, that don't change it.
    pub even_if: Vec<usize>,
    pub even_in_idioms: bool,
}

/// What a pattern belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    Rule(usize),
    /// Must fill a line.
    Line(usize),
    Idiom,
    Context(usize),
    Unless(usize),
}

/// One language's lexicon, compiled.
pub(super) struct Compiled {
    pub words: Words,
    pub rules: Vec<Rule>,
    pub contexts: Vec<Context>,
    pub groups: Vec<Part>,
    /// Sorted: words that a clause begins with, or that stand alone between clauses.
    pub joins: Vec<Atom>,
    /// The rules' patterns.
    pub found: Index,
    /// Those of idioms and contexts, looked at where a rule has found something.
    pub around: Index,
    /// Those that must fill a line.
    pub lines: Vec<(Owner, Program)>,
}

/// Patterns, found by a word that must stand in them.
#[derive(Default)]
pub(super) struct Index {
    pub programs: Vec<(Owner, Program)>,
    /// By atom: programs that have it for a key.
    by_key: Vec<Vec<usize>>,
}

impl Index {
    fn add(&mut self, owner: Owner, program: Program) {
        for atom in program.key.iter().map(|a| *a as usize) {
            if self.by_key.len() <= atom {
                self.by_key.resize(atom + 1, Vec::new());
            }
            self.by_key[atom].push(self.programs.len());
        }
        self.programs.push((owner, program));
    }

    pub fn of(&self, atom: Atom) -> &[usize] {
        self.by_key.get(atom as usize).map_or(&[], Vec::as_slice)
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compiled({} rules, {} patterns)", self.rules.len(), self.found.programs.len())
    }
}

/// Resolves groups while patterns are read.
struct Reader<'f> {
    words: Words,
    groups: &'f BTreeMap<String, Spanned<String>>,
    done: BTreeMap<String, Node>,
    open: Vec<String>,
    parts: Vec<Part>,
}

impl Names for Reader<'_> {
    fn word(&mut self, written: &str) -> Result<Vec<Atom>, String> {
        if matches!(written, "#" | "##") {
            return Ok(vec![self.words.atom(written)]);
        }
        let plain = self.words.plain(written);
        if plain.is_empty() {
            return Err(format!("`{written}` has no letters"));
        }
        Ok(plain.iter().map(|w| self.words.atom(w)).collect())
    }

    fn group(&mut self, name: &str) -> Result<Node, String> {
        if let Some(node) = self.done.get(name) {
            return Ok(node.clone());
        }
        let pattern = self.groups.get(name).ok_or_else(|| format!("there is no group `{name}`"))?;
        if self.open.iter().any(|o| o == name) {
            return Err(format!("group `{name}` contains itself"));
        }
        self.open.push(name.to_owned());
        let node = parse(pattern.get_ref(), self).map_err(|e| format!("group `{name}`: {e}"))?;
        self.open.pop();
        // A mere set of words is worth no number.
        let node = if node.words().is_some() {
            node
        } else {
            self.parts.push(Part::new(&node));
            Node::Group(self.parts.len() - 1, Rc::new(node))
        };
        self.done.insert(name.to_owned(), node.clone());
        Ok(node)
    }
}

/// Reads and compiles one language's file.
pub(super) fn compile(language: &str, file: &str) -> Result<Compiled, LexiconError> {
    let line_of = |span: Range<usize>| file.get(..span.start).map_or(1, |f| f.matches('\n').count() + 1);
    let error = |rule: Option<&str>, span: Option<Range<usize>>, cause: String| LexiconError {
        language: language.to_owned(),
        rule: rule.map(str::to_owned),
        line: span.map(line_of),
        cause,
        remedy: CORRECT,
    };
    let source: File = toml::from_str(file).map_err(|e| error(None, e.span(), e.message().to_owned()))?;
    let mut reader = Reader {
        words: spelling(&source),
        groups: &source.groups,
        done: BTreeMap::new(),
        open: Vec::new(),
        parts: Vec::new(),
    };
    for (name, pattern) in &source.groups {
        reader.group(name).map_err(|e| error(Some(name), Some(pattern.span()), e))?;
    }
    let rules = rules(language, &source).map_err(|(rule, span, cause)| error(Some(&rule), Some(span), cause))?;
    let costs = costs(&source.frequent, &mut reader);
    let cost = |atom: Atom| costs.get(&atom).copied().unwrap_or(1);
    let (mut found, mut around, mut lines) = (Index::default(), Index::default(), Vec::new());
    for (owner, name, patterns) in patterns(&source) {
        for pattern in patterns {
            let wrong = |cause: String| error(Some(name), Some(pattern.span()), cause);
            let node = parse(pattern.get_ref(), &mut reader).map_err(wrong)?;
            let program = Program::new(&node, &cost).map_err(wrong)?;
            match owner {
                Owner::Rule(_) => found.add(owner, program),
                Owner::Line(_) => lines.push((owner, program)),
                Owner::Idiom | Owner::Context(_) | Owner::Unless(_) => around.add(owner, program),
            }
        }
    }
    let contexts = source.context.iter().map(context).collect();
    let mut joins: Vec<Atom> = source.joins.iter().map(|w| reader.words.atom(&super::text::folded(w))).collect();
    joins.sort_unstable();
    reader.words.prepare();
    Ok(Compiled { words: reader.words, rules, contexts, groups: reader.parts, joins, found, around, lines })
}

/// What it costs to look at patterns at a word: its frequency in ordinary letters, as far as it is known.
fn costs(frequent: &[String], reader: &mut Reader) -> BTreeMap<Atom, usize> {
    let mut costs = BTreeMap::new();
    for (rank, word) in frequent.iter().enumerate() {
        for word in reader.words.plain(word) {
            costs.entry(reader.words.atom(&word)).or_insert(1 + 10_000 / (rank + 5));
        }
    }
    costs
}

/// Every pattern with whose it is.
fn patterns(source: &File) -> Vec<(Owner, &str, &Patterns)> {
    let mut all = Vec::new();
    all.extend(source.idiom.iter().map(|i| (Owner::Idiom, i.name.as_str(), &i.any)));
    for (index, context) in source.context.iter().enumerate() {
        all.push((Owner::Context(index), context.name.as_str(), &context.any));
        all.push((Owner::Unless(index), context.name.as_str(), &context.unless));
    }
    for (index, rule) in source.rule.iter().enumerate() {
        all.push((Owner::Rule(index), rule.id.get_ref().as_str(), &rule.any));
        all.push((Owner::Line(index), rule.id.get_ref().as_str(), &rule.lines));
    }
    all
}

/// The words of the spelling tables, folded as letters are.
fn spelling(source: &File) -> Words {
    let mut words = Words::default();
    let bare = |w: &String| words_of(&Words::default(), w).concat();
    words.watched = source.watched.iter().map(bare).collect();
    words.unwatched = source.unwatched.iter().map(bare).collect();
    words.glued = source.glued.iter().map(bare).collect();
    // Twice, so that what an entry is spelled as may use other entries, whatever their order.
    for _ in 0..2 {
        for (from, to) in &source.spelling {
            let to: Vec<String> = to.split_whitespace().flat_map(|w| words_of(&words, w)).collect();
            words.spelling.insert(super::text::folded(from), to);
        }
    }
    words
}

fn words_of(words: &Words, written: &str) -> Vec<String> {
    words.plain(written)
}

fn context(file: &ContextFile) -> Context {
    let classes = if file.classes.is_empty() { vec![CrisisClass::A] } else { file.classes.clone() };
    Context { name: file.name.clone(), reach: file.reach, makes: file.makes, classes }
}

type RuleError = (String, Range<usize>, String);

fn rules(language: &str, source: &File) -> Result<Vec<Rule>, RuleError> {
    let mut rules: Vec<Rule> = Vec::new();
    for rule in &source.rule {
        let id = rule.id.get_ref();
        let wrong = |cause: String| (id.clone(), rule.id.span(), cause);
        let full = format!("{language}.{}.{id}", rule.class.as_str().to_lowercase());
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
            return Err(wrong("an id has small letters, digits and hyphens only".to_owned()));
        }
        if rules.iter().any(|r| r.id == full) {
            return Err(wrong("there are two rules of this id".to_owned()));
        }
        if rule.any.is_empty() && rule.lines.is_empty() {
            return Err(wrong("it has no patterns".to_owned()));
        }
        let mut even_if = Vec::new();
        for name in &rule.even_if {
            let index = source.context.iter().position(|c| c.name == *name);
            even_if.push(index.ok_or_else(|| wrong(format!("there is no context `{name}`")))?);
        }
        rules.push(Rule { id: full, class: rule.class, even_if, even_in_idioms: rule.even_in_idioms });
    }
    Ok(rules)
}
