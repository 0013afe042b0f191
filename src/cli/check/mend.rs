//! A configuration with faulty values replaced, so that all else can be looked at in the same run.
//! It is never used for anything but `check`.

use std::path::Path;

use crate::config::schema::{self, Key, Kind, Need};
use crate::config::{Config, Env, Finding};

/// Each round may uncover faults that hid behind others.
const ROUNDS: usize = 10;

/// A line of the file; `None` for one that isn't in it.
struct Line {
    text: String,
    original: Option<usize>,
}

/// A configuration with stand-ins for what is at fault.
pub(super) struct Mended {
    pub config: Config,
    /// The keys that were replaced.
    pub keys: Vec<String>,
    /// For each line of the mended text the line of the file.
    pub lines: Vec<Option<usize>>,
}

/// The configuration, mended; `None` when that doesn't make it readable.
pub(super) fn mended(path: &Path, findings: &[Finding], env: &Env) -> Option<Mended> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines: Vec<Line> =
        text.lines().enumerate().map(|(nth, line)| Line { text: line.to_owned(), original: Some(nth + 1) }).collect();
    let mut keys = Vec::new();
    let mut faults: Vec<Finding> = findings.to_vec();
    for round in 0..ROUNDS {
        let errors: Vec<&Finding> = faults.iter().filter(|finding| finding.is_error()).collect();
        if errors.iter().any(|finding| finding.key.is_empty()) {
            return None;
        }
        keys.extend(errors.iter().map(|finding| finding.key.clone()));
        // From below, so that a new line moves no place that is still needed.
        let mut places: Vec<(Option<usize>, String)> =
            errors.iter().map(|finding| (finding.line, finding.key.clone())).collect();
        places.sort_by_key(|(line, _)| std::cmp::Reverse(line.unwrap_or(usize::MAX)));
        for (nth, (line, key)) in places.iter().enumerate() {
            mend(&mut lines, *line, key, round * 100 + nth);
        }
        let text: String = lines.iter().map(|line| format!("{}\n", line.text)).collect();
        match Config::load_text(path, &text, env) {
            Ok((config, _)) => {
                return Some(Mended { config, keys, lines: lines.iter().map(|line| line.original).collect() });
            }
            Err(next) => faults = next,
        }
    }
    None
}

/// Replaces or adds one value, or takes one line or section out.
fn mend(lines: &mut Vec<Line>, at: Option<usize>, label: &str, unique: usize) {
    let (header, name) = match label.split_once("] ") {
        Some((header, rest)) => (format!("{header}]"), rest.rsplit('.').next().unwrap_or(rest).to_owned()),
        None => (label.to_owned(), String::new()),
    };
    let path = header.trim_matches(['[', ']']);
    let key = schema::section(path).and_then(|section| section.key(&name));
    let stand_in = |key: &Key| format!("{name} = {}", example(key, unique));
    let Some(index) = at.and_then(|line| line.checked_sub(1)).filter(|index| *index < lines.len()) else {
        if schema::section(path).is_some() && !lines.iter().any(|line| line.text.trim() == header) {
            lines.push(Line { text: header.clone(), original: None });
        }
        if let Some(key) = key {
            let place = lines.iter().position(|line| line.text.trim() == section_header(path));
            let place = place.map_or(lines.len(), |place| place + 1);
            lines.insert(place, Line { text: stand_in(key), original: None });
        }
        return;
    };
    let is_header = lines[index].text.trim_start().starts_with('[');
    match (key, is_header) {
        (Some(key), true) => lines.insert(index + 1, Line { text: stand_in(key), original: None }),
        (Some(key), false) if matches!(key.need, Need::Required(_) | Need::Frame(_)) => {
            lines[index].text = stand_in(key);
        }
        (_, false) => lines[index].text.insert(0, '#'),
        (None, true) => {
            // A section that nobody knows: all of it.
            let end = lines[index + 1..].iter().position(|line| line.text.trim_start().starts_with('['));
            let end = end.map_or(lines.len(), |end| index + 1 + end);
            lines[index..end].iter_mut().for_each(|line| line.text.insert(0, '#'));
        }
    }
}

fn section_header(path: &str) -> String {
    schema::section(path).map_or_else(String::new, schema::Section::header)
}

/// A value that can't collide with another one.
fn example(key: &Key, unique: usize) -> String {
    match (key.name, key.kind) {
        ("id", _) => format!("\"mended{unique}\""),
        (_, Kind::Address) => format!("\"mended{unique}@cabinet.example\""),
        _ => key.need.example().to_owned(),
    }
}
