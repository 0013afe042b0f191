//! The lexicon's pattern language: read, compiled, matched on words. `config/lexicon/fr.toml` explains it.

use std::rc::Rc;

use super::words::Atom;

/// A pattern taken apart.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Word(Atom),
    /// `_`: any word.
    Any,
    /// `<3>`: up to three words of any kind.
    Gap(usize),
    Row(Vec<Node>),
    /// `(a | b)`; `[a]` is `(a | )`.
    Choice(Vec<Node>),
    /// `@name`, by its number.
    Group(usize, Rc<Node>),
    /// `^` and `$`: of a sentence or a clause.
    Start,
    End,
}

/// What a pattern's words and groups are is asked of the lexicon.
pub(super) trait Names {
    /// The atoms of a word as written; several where it is spelled out (`j'ai`).
    fn word(&mut self, written: &str) -> Result<Vec<Atom>, String>;
    fn group(&mut self, name: &str) -> Result<Node, String>;
}

/// Reads a pattern.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(pattern: &str, names: &mut impl Names) -> Result<Node, String> {
    let mut signs = String::with_capacity(pattern.len() + 16);
    for c in pattern.chars() {
        if "()[]|^$".contains(c) {
            signs.extend([' ', c, ' ']);
        } else {
            signs.push(c);
        }
    }
    let tokens: Vec<&str> = signs.split_whitespace().collect();
    let mut at = 0;
    let node = choice(&tokens, &mut at, names)?;
    match tokens.get(at) {
        None => Ok(node),
        Some(extra) => Err(format!("`{extra}` closes nothing")),
    }
}

fn choice(tokens: &[&str], at: &mut usize, names: &mut impl Names) -> Result<Node, String> {
    let mut rows = vec![Vec::new()];
    while let Some(token) = tokens.get(*at) {
        if matches!(*token, ")" | "]") {
            break;
        }
        *at += 1;
        let row = rows.last_mut().ok_or("empty")?;
        match *token {
            "|" => rows.push(Vec::new()),
            "(" => row.push(inner(tokens, at, names, ")")?),
            "[" => row.push(Node::Choice(vec![inner(tokens, at, names, "]")?, Node::Row(Vec::new())])),
            "^" => row.push(Node::Start),
            "$" => row.push(Node::End),
            "_" => row.push(Node::Any),
            gap if gap.starts_with('<') => {
                let number = gap.trim_start_matches('<').trim_end_matches('>').parse();
                let number = number.ok().filter(|n| *n <= 12);
                row.push(Node::Gap(number.ok_or_else(|| format!("`{gap}` is no gap; write <1> to <12>"))?));
            }
            name if name.starts_with('@') => row.push(names.group(&name[1..])?),
            word => row.extend(names.word(word)?.into_iter().map(Node::Word)),
        }
    }
    let mut rows: Vec<Node> = rows.into_iter().map(Node::Row).collect();
    Ok(if rows.len() == 1 { rows.remove(0) } else { Node::Choice(rows) })
}

fn inner(tokens: &[&str], at: &mut usize, names: &mut impl Names, close: &str) -> Result<Node, String> {
    let node = choice(tokens, at, names)?;
    if tokens.get(*at) != Some(&close) {
        return Err(format!("a `{close}` is missing"));
    }
    *at += 1;
    Ok(node)
}

impl Node {
    /// Single words among which one must stand, where the node is nothing else.
    pub fn words(&self) -> Option<Vec<Atom>> {
        match self {
            Self::Word(atom) => Some(vec![*atom]),
            Self::Row(row) if row.len() == 1 => row[0].words(),
            Self::Choice(rows) => {
                let all: Option<Vec<Vec<Atom>>> = rows.iter().map(Self::words).collect();
                all.map(|a| a.concat())
            }
            _ => None,
        }
    }

    /// Words of which every match has one, the rarest such set by `cost`.
    fn key(&self, cost: &dyn Fn(Atom) -> usize) -> Option<Key> {
        match self {
            Self::Word(atom) => Some(Key { words: vec![*atom], fewest: 0, most: 0 }),
            Self::Row(row) => {
                let (mut fewest, mut most, mut best) = (0, 0, None::<(usize, Key)>);
                for node in row {
                    if let Some(key) = node.key(cost) {
                        let price = key.words.iter().map(|a| cost(*a)).sum();
                        if best.as_ref().is_none_or(|(least, _)| price < *least) {
                            let key = Key { fewest: key.fewest + fewest, most: key.most + most, ..key };
                            best = Some((price, key));
                        }
                    }
                    let (short, long) = node.length();
                    (fewest, most) = (fewest + short, most + long);
                }
                best.map(|(_, key)| key)
            }
            Self::Choice(rows) => {
                let keys = rows.iter().map(|n| n.key(cost)).collect::<Option<Vec<Key>>>()?;
                let mut words: Vec<Atom> = keys.iter().flat_map(|k| k.words.iter().copied()).collect();
                words.sort_unstable();
                words.dedup();
                let fewest = keys.iter().map(|k| k.fewest).min().unwrap_or(0);
                Some(Key { words, fewest, most: keys.iter().map(|k| k.most).max().unwrap_or(0) })
            }
            Self::Group(_, node) => node.key(cost),
            Self::Any | Self::Gap(_) | Self::Start | Self::End => None,
        }
    }

    /// Fewest and most words.
    fn length(&self) -> (usize, usize) {
        match self {
            Self::Word(_) | Self::Any => (1, 1),
            Self::Gap(n) => (0, *n),
            Self::Row(row) => row.iter().map(Self::length).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
            Self::Choice(rows) => {
                let all = rows.iter().map(Self::length);
                all.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((0, 0))
            }
            Self::Group(_, node) => node.length(),
            Self::Start | Self::End => (0, 0),
        }
    }

    /// Adds the words that a match can begin with and says whether it may have none; None: any word.
    fn first(&self, words: &mut Vec<Atom>) -> Option<bool> {
        match self {
            Self::Word(atom) => {
                words.push(*atom);
                Some(false)
            }
            Self::Any | Self::Gap(_) => None,
            Self::Row(row) => {
                for node in row {
                    if !node.first(words)? {
                        return Some(false);
                    }
                }
                Some(true)
            }
            Self::Choice(rows) => {
                let mut empty = false;
                for node in rows {
                    empty |= node.first(words)?;
                }
                Some(empty)
            }
            Self::Group(_, node) => node.first(words),
            Self::Start | Self::End => Some(true),
        }
    }

    /// The words that a match must begin with; None: there are none such.
    fn beginnings(&self) -> Option<Vec<Atom>> {
        let mut words = Vec::new();
        let empty = self.first(&mut words)?;
        words.sort_unstable();
        words.dedup();
        (!empty).then_some(words)
    }
}

struct Key {
    words: Vec<Atom>,
    /// Words that can stand before the key in a match.
    fewest: usize,
    most: usize,
}

/// A pattern ready to be matched. What a part matches from a place on is a set of lengths: bit n for n words.
#[derive(Debug)]
pub(super) enum Part {
    Words(Box<[Atom]>),
    Any,
    Gap(usize),
    Row(Box<[Part]>),
    Choice(Choice),
    Group(usize),
    Start,
    End,
}

/// Alternatives, found by the word that they begin with.
#[derive(Debug)]
pub(super) struct Choice {
    rows: Vec<Part>,
    /// Sorted by atom.
    by_first: Vec<(Atom, usize)>,
    /// Those that may begin with any word.
    other: Vec<usize>,
    /// Those that are one word.
    words: Box<[Atom]>,
    empty: bool,
}

impl Part {
    pub fn new(node: &Node) -> Self {
        if let Some(words) = node.words() {
            return Self::Words(sorted(words));
        }
        match node {
            Node::Row(row) if row.len() == 1 => Self::new(&row[0]),
            Node::Row(row) => Self::Row(row.iter().map(Self::new).collect()),
            Node::Choice(rows) => Self::choice(rows),
            Node::Group(index, _) => Self::Group(*index),
            Node::Gap(n) => Self::Gap(*n),
            Node::Any | Node::Word(_) => Self::Any,
            Node::Start => Self::Start,
            Node::End => Self::End,
        }
    }

    fn choice(rows: &[Node]) -> Self {
        let mut choice = Choice { rows: vec![], by_first: vec![], other: vec![], words: Box::default(), empty: false };
        let mut words = Vec::new();
        for node in rows {
            if let Some(single) = node.words() {
                words.extend(single);
                continue;
            }
            if matches!(node, Node::Row(row) if row.is_empty()) {
                choice.empty = true;
                continue;
            }
            let index = choice.rows.len();
            choice.rows.push(Self::new(node));
            match node.beginnings() {
                Some(first) => choice.by_first.extend(first.into_iter().map(|a| (a, index))),
                None => choice.other.push(index),
            }
        }
        choice.words = sorted(words);
        choice.by_first.sort_unstable();
        Self::Choice(choice)
    }
}

fn sorted(mut words: Vec<Atom>) -> Box<[Atom]> {
    words.sort_unstable();
    words.dedup();
    words.into_boxed_slice()
}

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Program {
    part: Part,
    /// A match has at least one of these words.
    pub key: Vec<Atom>,
    /// How many words stand before the key in a match, at least and at most.
    pub before: (usize, usize),
    /// Words that a match can begin with; None: any.
    first: Option<Box<[Atom]>>,
}

impl Program {
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(node: &Node, cost: &dyn Fn(Atom) -> usize) -> Result<Self, String> {
        let key = node.key(cost).ok_or("it has no word that must stand in it")?;
        let first = node.beginnings().map(Vec::into_boxed_slice);
        let before = (key.fewest, key.most.min(LONGEST));
        Ok(Self { part: Part::new(node), key: key.words, before, first })
    }

    /// Whether a match can begin with this word: a quick look before [`Matcher::longest`].
    pub fn may_begin(&self, word: &[Atom]) -> bool {
        self.first.as_ref().is_none_or(|first| word.iter().any(|a| first.binary_search(a).is_ok()))
    }
}

/// A match of more words than this ends here.
pub(super) const LONGEST: usize = 63;

/// Matches patterns in one sentence after another. What a group matches at a place is kept, so that the time that
/// patterns take together grows with the words and not with what they share.
pub(super) struct Matcher<'g> {
    groups: &'g [Part],
    /// By place and group: the round it is of, and the lengths.
    memo: Vec<(u32, u64)>,
    round: u32,
    /// Which words of the sentence begin a clause.
    clauses: Vec<bool>,
}

impl<'g> Matcher<'g> {
    pub fn new(groups: &'g [Part]) -> Self {
        Self { groups, memo: Vec::new(), round: 0, clauses: Vec::new() }
    }

    /// To be called before another sentence is matched.
    pub fn begin(&mut self, clauses: impl Iterator<Item = bool>) {
        self.round += 1;
        self.clauses.clear();
        self.clauses.extend(clauses);
    }

    /// Words of the longest match that begins at `start`.
    pub fn longest(&mut self, program: &Program, sentence: &[&[Atom]], start: usize) -> Option<usize> {
        match self.lengths(&program.part, sentence, start) {
            0 => None,
            set => Some(start + set.ilog2() as usize),
        }
    }

    fn lengths(&mut self, part: &Part, sentence: &[&[Atom]], at: usize) -> u64 {
        match part {
            Part::Words(set) => u64::from(has(sentence, at, set)) << 1,
            Part::Any => u64::from(at < sentence.len()) << 1,
            Part::Gap(n) => (2 << (*n).min(sentence.len().saturating_sub(at))) - 1,
            Part::Start => u64::from(at == 0 || self.clause(at)),
            Part::End => u64::from(at >= sentence.len() || self.clause(at)),
            Part::Row(row) => {
                let mut set = 1;
                for part in row {
                    set = self.after(set, part, sentence, at);
                    if set == 0 {
                        break;
                    }
                }
                set
            }
            Part::Choice(choice) => self.choice(choice, sentence, at),
            Part::Group(index) => self.group(*index, sentence, at),
        }
    }

    fn clause(&self, at: usize) -> bool {
        self.clauses.get(at).copied().unwrap_or(false)
    }

    /// Where `part` ends when it begins at each of the ends so far.
    fn after(&mut self, set: u64, part: &Part, sentence: &[&[Atom]], at: usize) -> u64 {
        let (mut left, mut next) = (set, 0);
        while left != 0 {
            let taken = left.trailing_zeros();
            left &= left - 1;
            next |= self.lengths(part, sentence, at + taken as usize) << taken;
        }
        next
    }

    fn choice(&mut self, choice: &Choice, sentence: &[&[Atom]], at: usize) -> u64 {
        let mut set = u64::from(choice.empty) | u64::from(has(sentence, at, &choice.words)) << 1;
        for atom in sentence.get(at).copied().unwrap_or_default() {
            let from = choice.by_first.partition_point(|(a, _)| a < atom);
            for (_, index) in choice.by_first[from..].iter().take_while(|(a, _)| a == atom) {
                set |= self.lengths(&choice.rows[*index], sentence, at);
            }
        }
        for index in &choice.other {
            set |= self.lengths(&choice.rows[*index], sentence, at);
        }
        set
    }

    fn group(&mut self, index: usize, sentence: &[&[Atom]], at: usize) -> u64 {
        let place = at * self.groups.len() + index;
        if self.memo.len() <= place {
            self.memo.resize((sentence.len() + 1) * self.groups.len(), (0, 0));
        }
        if let Some((round, set)) = self.memo.get(place)
            && *round == self.round
        {
            return *set;
        }
        let groups = self.groups;
        let set = groups.get(index).map_or(0, |part| self.lengths(part, sentence, at));
        if let Some(kept) = self.memo.get_mut(place) {
            *kept = (self.round, set);
        }
        set
    }
}

fn has(sentence: &[&[Atom]], at: usize, set: &[Atom]) -> bool {
    !set.is_empty() && sentence.get(at).is_some_and(|atoms| atoms.iter().any(|a| set.binary_search(a).is_ok()))
}
