//! Walks a TOML document against the schema: types, defaults, unknown names, lines.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml_edit::{Item, TableLike, Value};

use super::parse::{self, Fault};
use super::schema::{Key, Kind, Need, SECTIONS, Section};
use super::secrets::SecretSource;
use super::{Env, Finding, Severity, Texts, nearest};
use crate::model::Address;

/// One section of the document, or the place where it would stand.
#[derive(Clone)]
pub(super) struct Part<'a> {
    schema: &'static Section,
    table: Option<&'a dyn TableLike>,
    /// Its header's, or its first key's.
    span: Option<Range<usize>>,
    /// Which of a list it is: its id, or `#2`.
    who: Option<String>,
}

impl Part<'_> {
    pub fn who(&self) -> &str {
        self.who.as_deref().unwrap_or_default()
    }

    fn label(&self, key: &str) -> String {
        match &self.who {
            Some(who) => format!("{} {who}.{key}", self.schema.header()),
            None => format!("{} {key}", self.schema.header()),
        }
    }
}

/// A key, where its value stands, and the address.
type Addressed = (String, Option<Range<usize>>, Address);

pub(super) struct Reader<'a> {
    file: &'a Path,
    folder: PathBuf,
    text: &'a str,
    root: &'a dyn TableLike,
    env: &'a Env,
    findings: Vec<Finding>,
    lines: BTreeMap<String, usize>,
    addresses: Vec<Addressed>,
}

impl<'a> Reader<'a> {
    pub fn new(file: &'a Path, text: &'a str, root: &'a dyn TableLike, env: &'a Env) -> Self {
        let folder = super::folder_of(file).to_owned();
        let (findings, lines, addresses) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { file, folder, text, root, env, findings, lines, addresses }
    }

    /// The findings in the file's order, and where each key stands.
    pub fn finish(mut self) -> (Vec<Finding>, BTreeMap<String, usize>) {
        self.findings.sort_by_key(|finding| finding.line.unwrap_or(usize::MAX));
        (self.findings, self.lines)
    }

    pub fn file(&self) -> &Path {
        self.file
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The line, from 1, of a byte offset.
    pub fn line_in(text: &str, offset: usize) -> usize {
        text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
    }

    /// The line where a place begins.
    pub fn line(&self, span: Option<&Range<usize>>) -> Option<usize> {
        span.map(|span| Self::line_in(self.text, span.start))
    }

    fn span_of_key(table: &dyn TableLike, name: &str) -> Option<Range<usize>> {
        let (key, item) = table.get_key_value(name)?;
        key.span().or_else(|| item.span())
    }

    /// The place of a section: its header's, or its first key's.
    fn span_of_table(table: &dyn TableLike, item: Option<&Item>) -> Option<Range<usize>> {
        item.and_then(Item::span).or_else(|| table.iter().find_map(|(name, _)| Self::span_of_key(table, name)))
    }

    // Findings.

    pub fn error_at(
        &mut self,
        key: &str,
        span: Option<Range<usize>>,
        cause: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Severity::Error, key, span, cause.into(), remedy.into());
    }

    /// An error about a key: at its own value, else at its section's header.
    pub fn error(&mut self, part: &Part<'_>, key: &str, cause: impl Into<String>, remedy: impl Into<String>) {
        let span = Self::place(part, key);
        self.add(Severity::Error, &part.label(key), span, cause.into(), remedy.into());
    }

    /// As [`Reader::error`], for what may stay as it is.
    pub fn warn(&mut self, part: &Part<'_>, key: &str, cause: impl Into<String>, remedy: impl Into<String>) {
        let span = Self::place(part, key);
        self.add(Severity::Warning, &part.label(key), span, cause.into(), remedy.into());
    }

    fn place(part: &Part<'_>, key: &str) -> Option<Range<usize>> {
        let value = part.table.and_then(|table| table.get_key_value(key));
        value.and_then(|(key, item)| item.span().or_else(|| key.span())).or_else(|| part.span.clone())
    }

    fn add(&mut self, severity: Severity, key: &str, span: Option<Range<usize>>, cause: String, remedy: String) {
        let (file, line) = (self.file.to_owned(), self.line(span.as_ref()));
        self.findings.push(Finding { severity, file, line, span, key: key.to_owned(), cause, remedy });
    }

    // Sections.

    /// Names every section that nobody knows, and every value outside of a section.
    pub fn check_sections(&mut self) {
        let root = self.root;
        let known = || SECTIONS.iter().map(|section| section.path).filter(|path| !path.contains('.'));
        for (name, item) in root.iter() {
            if known().any(|path| path == name) {
                continue;
            }
            let span = Self::span_of_key(root, name);
            let table = item.as_table_like().is_some() || item.is_array_of_tables();
            let guess = nearest(name, known()).map(|path| format!("did you mean [{path}]? "));
            if table {
                let remedy = guess.unwrap_or_default() + "every section is in config/cadre.example.toml";
                self.error_at(&format!("[{name}]"), span, "there is no such section", remedy);
            } else {
                let home = home_of(name).unwrap_or_else(|| "put it below its section's header".to_owned());
                self.error_at(name, span, "it stands outside of any section", home);
            }
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.root.contains_key(name)
    }

    /// The section of this path, there or not; its unknown keys are named the first time.
    pub fn part(&mut self, path: &'static str) -> Part<'a> {
        let schema = section_or_none(path);
        let (parent, name) = match path.split_once('.') {
            Some((parent, name)) => (self.root.get(parent).and_then(Item::as_table_like), name),
            None => (Some(self.root), path),
        };
        self.part_in(parent, name, schema, None)
    }

    /// The section of this path inside of one of a list.
    pub fn sub_part(&mut self, part: &Part<'a>, path: &'static str) -> Part<'a> {
        let schema = section_or_none(path);
        let name = path.rsplit('.').next().unwrap_or(path);
        let mut sub = self.part_in(part.table, name, schema, part.who.clone());
        sub.span = sub.span.or_else(|| part.span.clone());
        sub
    }

    fn part_in(
        &mut self,
        parent: Option<&'a dyn TableLike>,
        name: &str,
        schema: &'static Section,
        who: Option<String>,
    ) -> Part<'a> {
        let item = parent.and_then(|parent| parent.get(name));
        let table = item.and_then(Item::as_table_like);
        let span = table.and_then(|table| Self::span_of_table(table, item));
        let line = self.line(span.as_ref());
        let header = who.as_ref().map_or_else(|| schema.header(), |who| format!("{} {who}", schema.header()));
        let part = Part { schema, table, span, who };
        let first = !self.lines.contains_key(&header);
        if item.is_some() && table.is_none() && first {
            let span = parent.and_then(|parent| Self::span_of_key(parent, name));
            let remedy = format!("write {} on a line of its own, and its keys below", schema.header());
            self.lines.insert(header.clone(), self.line(span.as_ref()).unwrap_or(0));
            self.error_at(&header, span, "it is a section, not a value or a list", remedy);
        }
        if let (true, Some(line)) = (first, line) {
            self.lines.insert(header, line);
            self.check_keys(&part);
        }
        part
    }

    /// Every section of a list.
    pub fn list(&mut self, path: &'static str) -> Vec<Part<'a>> {
        let schema = section_or_none(path);
        let tables: Vec<(&'a dyn TableLike, Option<Range<usize>>)> = match self.root.get(path) {
            None => Vec::new(),
            Some(Item::ArrayOfTables(tables)) => {
                tables.iter().map(|table| (table as &dyn TableLike, table.span())).collect()
            }
            Some(Item::Value(Value::Array(values))) if values.iter().all(Value::is_inline_table) => values
                .iter()
                .filter_map(|value| Some((value.as_inline_table()? as &dyn TableLike, value.span())))
                .collect(),
            Some(_) => {
                let span = Self::span_of_key(self.root, path);
                let remedy = format!("write {} with two brackets", schema.header());
                self.error_at(&schema.header(), span, "there may be several of it, so it is a list", remedy);
                Vec::new()
            }
        };
        let mut parts = Vec::new();
        for (nth, (table, span)) in tables.into_iter().enumerate() {
            let id = table.get("id").and_then(Item::as_str).and_then(|id| parse::id(id).ok());
            let who = Some(id.map_or_else(|| format!("#{}", nth + 1), |id| id.0));
            let part = Part { schema, table: Some(table), span, who };
            self.check_keys(&part);
            parts.push(part);
        }
        parts
    }

    fn check_keys(&mut self, part: &Part<'_>) {
        let Some(table) = part.table else { return };
        let inner = format!("{}.", part.schema.path);
        let parts: Vec<&str> = SECTIONS.iter().filter_map(|section| section.path.strip_prefix(&inner)).collect();
        for (name, _) in table.iter() {
            if part.schema.key(name).is_some() || parts.contains(&name) {
                if let Some(line) = self.line(Self::span_of_key(table, name).as_ref()) {
                    self.lines.insert(part.label(name), line);
                }
                continue;
            }
            let (cause, remedy) = unknown_key(part.schema, &parts, name);
            let shown = parse::shown(name);
            let span = Self::span_of_key(table, name).or_else(|| part.span.clone());
            self.error_at(&part.label(shown.trim_matches('`')), span, cause, remedy);
        }
    }

    // Values.

    /// Whether the file has this key, sound or not.
    pub fn is_set(&self, part: &Part<'_>, name: &str) -> bool {
        part.table.is_some_and(|table| table.contains_key(name))
    }

    /// The value in the file, else the default; a finding for a wrong type and for a required key that is absent.
    fn item(&mut self, part: &Part<'_>, name: &str) -> Option<Item> {
        let key = part.schema.key(name)?;
        match part.table.and_then(|table| table.get(name)) {
            Some(item) if is_of(key.kind, item) => Some(item.clone()),
            Some(item) => {
                let cause = format!("it is {}, and should be {}", in_words(item), key.kind.expects());
                self.error(part, name, cause, format!("write for example {name} = {}", key.need.example()));
                None
            }
            None => match key.need {
                Need::Default(literal) => literal.parse::<Value>().ok().map(Item::Value),
                Need::Required(example) => {
                    self.error(part, name, "it is missing", format!("write {name} = {example}, with your own value"));
                    None
                }
                Need::Derived(..) | Need::Optional(_) | Need::Frame(_) => None,
            },
        }
    }

    /// The text of a key through `read`, whose fault becomes a finding.
    pub fn parsed<T>(&mut self, part: &Part<'_>, name: &str, read: impl FnOnce(&str) -> Result<T, Fault>) -> Option<T> {
        let item = self.item(part, name)?;
        let text = match &item {
            Item::Value(Value::String(text)) => text.value().clone(),
            Item::Value(Value::Datetime(date)) => date.value().to_string(),
            _ => return None,
        };
        if text.trim().is_empty() {
            let optional = part.schema.key(name).is_some_and(|key| !matches!(key.need, Need::Required(_)));
            let remedy = if optional { "write a value, or remove the line" } else { "write a value" };
            self.error(part, name, "it is empty", remedy);
            return None;
        }
        match read(&text) {
            Ok(value) => Some(value),
            Err(Fault { cause, remedy }) => {
                self.error(part, name, cause, remedy);
                None
            }
        }
    }

    pub fn text(&mut self, part: &Part<'_>, name: &str) -> Option<String> {
        self.parsed(part, name, |text| {
            if text.chars().any(|c| c.is_control()) {
                return parse::fault("it has a control sign or a line break in it", "write it on one line");
            }
            Ok(text.trim().to_owned())
        })
    }

    pub fn word<T: FromStr>(&mut self, part: &Part<'_>, name: &str, words: &[&str]) -> Option<T> {
        self.parsed(part, name, |text| parse::word(text, words))
    }

    /// An address, kept for the check that each has one role.
    pub fn address(&mut self, part: &Part<'_>, name: &str) -> Option<Address> {
        let address = self.parsed(part, name, parse::address)?;
        let span = Self::place(part, name);
        self.addresses.push((part.label(name), span, address.clone()));
        Some(address)
    }

    pub fn take_addresses(&mut self) -> Vec<Addressed> {
        std::mem::take(&mut self.addresses)
    }

    pub fn path(&mut self, part: &Part<'_>, name: &str) -> Option<PathBuf> {
        let folder = self.folder.clone();
        self.parsed(part, name, |text| parse::path(text, &folder))
    }

    pub fn secret(&mut self, part: &Part<'_>, name: &str) -> Option<SecretSource> {
        let (folder, env) = (self.folder.clone(), self.env);
        self.parsed(part, name, |text| SecretSource::parse(text, &folder, env))
    }

    pub fn flag(&mut self, part: &Part<'_>, name: &str) -> Option<bool> {
        self.item(part, name)?.as_bool()
    }

    pub fn port(&mut self, part: &Part<'_>, name: &str) -> Option<u16> {
        let number = self.item(part, name)?.as_integer()?;
        let port = u16::try_from(number).ok().filter(|port| *port > 0);
        if port.is_none() {
            self.error(part, name, format!("{number} is not a port"), "write a number from 1 to 65535");
        }
        port
    }

    pub fn count(&mut self, part: &Part<'_>, name: &str) -> Option<u32> {
        let number = self.item(part, name)?.as_integer()?;
        let count = u32::try_from(number).ok();
        if count.is_none() {
            self.error(part, name, format!("{number} is out of range"), "write a whole number from 0");
        }
        count
    }

    /// A text, or one a language. An empty one is an error, like every empty text.
    pub fn texts(&mut self, part: &Part<'_>, name: &str) -> Option<Texts> {
        let item = self.item(part, name)?;
        let before = self.findings.len();
        let texts = match item.as_table_like() {
            None => Texts::same(item.as_str().unwrap_or_default()),
            Some(table) => {
                for (language, text) in table.iter() {
                    if !super::schema::LANGUAGES.contains(&language) {
                        let cause = format!("{} is not a language of letters", parse::shown(language));
                        self.error(part, name, cause, "write { fr = \"…\", en = \"…\" }");
                    } else if !text.is_str() {
                        self.error(part, name, format!("{language} is not a text"), "write it in quotes");
                    }
                }
                let of = |language| table.get(language).and_then(Item::as_str);
                Texts::by_language(of("fr"), of("en"))
            }
        };
        let texts = if texts.get(crate::model::Language::Fr).trim().is_empty() { Texts::default() } else { texts };
        if texts.is_empty() && self.findings.len() == before {
            self.error(part, name, "it is empty", "write the text");
        }
        Some(texts)
    }
}

/// Stands for a section that the schema lacks: nothing is known in it, so nothing is read. A test asks for every one.
static NO_SECTION: Section = Section { path: "", list: false, commented: true, doc: "", keys: &[] };

fn section_or_none(path: &str) -> &'static Section {
    super::schema::section(path).unwrap_or(&NO_SECTION)
}

/// Whether an item has the TOML type of this kind.
fn is_of(kind: Kind, item: &Item) -> bool {
    match kind {
        Kind::Flag => item.is_bool(),
        Kind::Port | Kind::Count => item.is_integer(),
        Kind::Texts => item.is_str() || item.as_table_like().is_some(),
        Kind::Hour => item.is_str() || item.as_datetime().is_some_and(|at| at.date.is_none()),
        Kind::Date => item.is_str() || item.as_datetime().is_some_and(|at| at.time.is_none()),
        _ => item.is_str(),
    }
}

fn in_words(item: &Item) -> &'static str {
    match item {
        Item::Value(Value::String(_)) => "a text",
        Item::Value(Value::Integer(_)) => "a whole number",
        Item::Value(Value::Float(_)) => "a number",
        Item::Value(Value::Boolean(_)) => "true or false",
        Item::Value(Value::Datetime(_)) => "a date or time",
        Item::Value(Value::Array(_)) => "a list",
        _ => "a section",
    }
}

/// Where a key that stands in the wrong place belongs.
fn home_of(name: &str) -> Option<String> {
    let homes: Vec<String> =
        SECTIONS.iter().filter(|section| section.key(name).is_some()).map(Section::header).collect();
    (!homes.is_empty()).then(|| format!("put it below {}", homes.join(" or ")))
}

fn unknown_key(schema: &Section, parts: &[&str], name: &str) -> (String, String) {
    let lower = name.to_lowercase();
    if ["password", "passphrase", "passwd", "token"].contains(&lower.as_str()) {
        let known = if lower == "token" { "token_command" } else { "password_file" };
        let known = if schema.path == "keys" { "passphrase_file" } else { known };
        let cause = "secrets don't stand in the configuration".to_owned();
        return (
            cause,
            format!("put it into a file (chmod 600), and name it: {known} = \"…\"; then change the secret"),
        );
    }
    let names = schema.keys.iter().map(|key: &Key| key.name).chain(parts.iter().copied());
    let remedy = match (nearest(name, names), home_of(name)) {
        (Some(near), _) => format!("did you mean {near}?"),
        (None, Some(home)) => home,
        (None, None) => "remove it; every key is in config/cadre.example.toml".to_owned(),
    };
    ("there is no such key here".to_owned(), remedy)
}
