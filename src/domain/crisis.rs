//! Words that call for an alert (SPEC section 7): a lexicon matched on a letter's new text.
//!
//! Both languages are always matched. Nothing found here is a diagnosis, and nothing not found is a promise.

mod alert;
mod lexicon;
mod pattern;
#[cfg(test)]
mod tests;
mod text;
mod words;

use std::collections::BTreeSet;

pub use self::alert::next_alert;
pub use self::lexicon::LexiconError;
use self::lexicon::{Compiled, Context, Demoted, Index, Owner, Reach, compile};
use self::pattern::{LONGEST, Matcher};
use self::text::Break;
use self::words::{Atom, Stream, StreamWord};
use crate::model::CrisisClass;

/// Longer sentences are cut in pieces that overlap, so that the time grows with a letter's length only.
const PIECE: usize = 240;
const OVERLAP: usize = 40;
/// How far [`Reach::Before`] and [`Reach::After`] reach.
const NEAR: usize = 4;
/// Lines longer than this hold no cry for help that stands alone.
const LONGEST_LINE: usize = 8;

/// The patterns of both languages, compiled.
#[derive(Debug)]
pub struct Lexicon {
    languages: Vec<Compiled>,
}

/// What a letter speaks of. Holds ids of rules, never words of the letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Each class found once, A before V before B.
    pub classes: Vec<CrisisClass>,
    /// Ids of the rules such as `fr.a.want-to-die`; `fr.a.want-to-die+negated` where a context made it less.
    pub rules: Vec<String>,
}

impl Finding {
    pub fn has(&self, class: CrisisClass) -> bool {
        self.classes.contains(&class)
    }
}

impl Lexicon {
    /// The lexicon that comes with Cadre.
    ///
    /// # Errors
    /// [`LexiconError`]: never, as long as the tests pass.
    pub fn built_in() -> Result<Self, LexiconError> {
        Self::parse(include_str!("../../config/lexicon/fr.toml"), include_str!("../../config/lexicon/en.toml"))
    }

    /// A lexicon from the text of its two files.
    ///
    /// # Errors
    /// [`LexiconError`]: a file can't be read or holds a pattern that means nothing.
    pub fn parse(fr: &str, en: &str) -> Result<Self, LexiconError> {
        Ok(Self { languages: vec![compile("fr", fr)?, compile("en", en)?] })
    }

    /// Matches the lexicon on a letter's new text, decoded. Lines behind `>` are left out once more.
    pub fn scan(&self, new_text: &str) -> Option<Finding> {
        let text = text::read(new_text);
        let mut found = BTreeSet::new();
        for language in &self.languages {
            Reading::new(language).find(&language.words.stream(&text), &mut found);
        }
        let classes: BTreeSet<CrisisClass> = found.iter().map(|(class, _)| *class).collect();
        let rules = found.into_iter().map(|(_, id)| id).collect();
        (!classes.is_empty()).then(|| Finding { classes: classes.into_iter().collect(), rules })
    }
}

type Found = BTreeSet<(CrisisClass, String)>;

/// Words of a sentence that a pattern matched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Hit {
    owner: Owner,
    start: usize,
    end: usize,
}

impl Hit {
    fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// A language's reading of one letter.
struct Reading<'c> {
    compiled: &'c Compiled,
    matcher: Matcher<'c>,
    /// Up to which word each pattern was tried.
    tried: Vec<usize>,
    tried_around: Vec<usize>,
    /// By rule: whether it was found and nothing made it less.
    plain: Vec<bool>,
    /// Rules that a context made less.
    lessened: BTreeSet<(usize, usize)>,
}

impl<'c> Reading<'c> {
    fn new(compiled: &'c Compiled) -> Self {
        Self {
            compiled,
            matcher: Matcher::new(&compiled.groups),
            tried: vec![0; compiled.found.programs.len()],
            tried_around: vec![0; compiled.around.programs.len()],
            plain: vec![false; compiled.rules.len()],
            lessened: BTreeSet::new(),
        }
    }

    fn find(mut self, stream: &Stream, found: &mut Found) {
        let words: Vec<&[Atom]> = stream.words.iter().map(|w| stream.atoms(*w)).collect();
        let mut start = 0;
        while start < words.len() {
            let rest = &stream.words[start + 1..];
            let len = 1 + rest.iter().take_while(|w| w.before < Break::Sentence).count();
            let mut at = start;
            loop {
                let end = (at + PIECE).min(start + len);
                self.sentence(&words[at..end], &stream.words[at..end], at);
                if end == start + len {
                    break;
                }
                at = end - OVERLAP;
                // What begins in the overlap may end beyond it.
                self.tried.fill(at);
                self.tried_around.fill(at);
            }
            start += len;
        }
        self.lines(stream, &words);
        let rules = &self.compiled.rules;
        let plain = rules.iter().zip(self.plain).filter(|(_, plain)| *plain);
        found.extend(plain.map(|(rule, _)| (rule.class, rule.id.clone())));
        let lessened = self.lessened.into_iter();
        found.extend(lessened.map(|(rule, context)| {
            (CrisisClass::B, format!("{}+{}", rules[rule].id, self.compiled.contexts[context].name))
        }));
    }

    /// `offset` is where the sentence begins in the letter.
    fn sentence(&mut self, sentence: &[&[Atom]], written: &[StreamWord], offset: usize) {
        let joins = |word: Option<&&[Atom]>| {
            word.is_some_and(|w| w.iter().any(|a| self.compiled.joins.binary_search(a).is_ok()))
        };
        let begins = |at: usize| joins(sentence.get(at)) || (at > 0 && joins(sentence.get(at - 1)));
        self.matcher.begin(written.iter().enumerate().map(|(at, w)| w.before > Break::None || begins(at)));
        let plain = &self.plain;
        let wanted = |owner: Owner| !matches!(owner, Owner::Rule(rule) if plain[rule]);
        let mut found = hits(&self.compiled.found, sentence, offset, (&mut self.tried, &mut self.matcher), &wanted);
        if found.is_empty() {
            return;
        }
        found.sort_unstable();
        found.dedup();
        let around = &self.compiled.around;
        let mut beside = hits(around, sentence, offset, (&mut self.tried_around, &mut self.matcher), &|_| true);
        beside.sort_unstable_by_key(|h| (h.start, h.end));
        beside.dedup();
        self.judge(&found, &beside);
    }

    /// What the rules' hits are worth beside idioms and contexts, which are sorted by where they start.
    fn judge(&mut self, hits: &[Hit], beside: &[Hit]) {
        let contexts = &self.compiled.contexts;
        let mut off = vec![false; contexts.len()];
        let mut anywhere = Vec::new();
        for hit in beside {
            match hit.owner {
                Owner::Unless(context) => off[context] = true,
                Owner::Context(context) if matches!(contexts[context].reach, Reach::Sentence) => anywhere.push(*hit),
                _ => {}
            }
        }
        for hit in hits {
            let Owner::Rule(index) = hit.owner else { continue };
            if self.plain[index] {
                continue;
            }
            let rule = &self.compiled.rules[index];
            let from = beside.partition_point(|h| h.start + LONGEST + NEAR < hit.start);
            let near = || beside[from..].iter().take_while(|h| h.start <= hit.end + NEAR);
            if !rule.even_in_idioms && near().any(|h| h.owner == Owner::Idiom && h.overlaps(*hit)) {
                continue;
            }
            let counts = |h: &&Hit| match h.owner {
                Owner::Context(c) => {
                    let context = &contexts[c];
                    !off[c]
                        && !rule.even_if.contains(&c)
                        && context.classes.contains(&rule.class)
                        && context.reaches(**h, *hit)
                }
                _ => false,
            };
            let mut less = None;
            let mut nothing = false;
            for own in near().chain(&anywhere).filter(counts) {
                if let Owner::Context(c) = own.owner {
                    nothing |= contexts[c].makes == Demoted::Nothing;
                    less = less.or(Some(c));
                }
            }
            match less {
                _ if nothing => {}
                Some(context) => {
                    self.lessened.insert((index, context));
                }
                None => self.plain[index] = true,
            }
        }
    }

    /// Rules that a line must be for itself.
    fn lines(&mut self, stream: &Stream, words: &[&[Atom]]) {
        let mut start = 0;
        while start < words.len() {
            let line = stream.words[start].line;
            let len = stream.words[start..].iter().take_while(|w| w.line == line).count();
            let row = &words[start..start + len];
            start += len;
            if len > LONGEST_LINE {
                continue;
            }
            self.matcher.begin(std::iter::empty());
            for (owner, program) in self.compiled.lines.iter().filter(|(_, p)| p.may_begin(row[0])) {
                if let Owner::Line(rule) = owner
                    && self.matcher.longest(program, row, 0) == Some(len)
                {
                    self.plain[*rule] = true;
                }
            }
        }
    }
}

/// Everything of `index` that matches in a sentence, where its owner is `wanted`.
fn hits(
    index: &Index,
    sentence: &[&[Atom]],
    offset: usize,
    (tried, matcher): (&mut [usize], &mut Matcher),
    wanted: &dyn Fn(Owner) -> bool,
) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (at, atoms) in sentence.iter().enumerate() {
        for number in atoms.iter().flat_map(|a| index.of(*a)) {
            let (owner, program) = &index.programs[*number];
            let (fewest, most) = program.before;
            if at < fewest || !wanted(*owner) {
                continue;
            }
            let first = at.saturating_sub(most).max(tried[*number].saturating_sub(offset));
            for start in (first..=at - fewest).filter(|s| program.may_begin(sentence[*s])) {
                if let Some(end) = matcher.longest(program, sentence, start) {
                    hits.push(Hit { owner: *owner, start, end });
                }
            }
            tried[*number] = tried[*number].max(offset + at - fewest + 1);
        }
    }
    hits
}

impl Context {
    fn reaches(&self, own: Hit, hit: Hit) -> bool {
        match self.reach {
            Reach::Touch => own.start <= hit.end && hit.start <= own.end,
            Reach::Lead => own.start < hit.start && own.end >= hit.start,
            Reach::Before => own.start < hit.end && own.end <= hit.end && own.end + NEAR >= hit.start,
            Reach::After => own.end > hit.start && own.start >= hit.start && own.start <= hit.end + NEAR,
            Reach::Sentence => true,
        }
    }
}
