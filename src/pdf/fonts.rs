//! The fonts of a letter, and what they can show.

use std::sync::{Arc, LazyLock};

use parley::FontContext;
use parley::fontique::{Blob, Collection, CollectionOptions, SourceCache};
use skrifa::{FontRef, MetadataProvider};
use unicode_normalization::UnicodeNormalization;

/// In the order in which a sign is looked up: text, pictographs, everything else. See `config/fonts/SOURCES.md`.
const FILES: [&[u8]; 3] = [
    include_bytes!("../../config/fonts/GentiumBookPlus-Regular.ttf"),
    include_bytes!("../../config/fonts/Symbola-subset.ttf"),
    include_bytes!("../../config/fonts/DejaVuSans.ttf"),
];
/// The families of `FILES`, as a CSS list.
pub(super) const FAMILIES: &str = "\"Gentium Book Plus\", \"Symbola\", \"DejaVu Sans\"";

/// The fonts for parley: none of the system's.
pub(super) fn context() -> FontContext {
    CONTEXT.clone()
}

static CONTEXT: LazyLock<FontContext> = LazyLock::new(|| {
    let mut collection = Collection::new(CollectionOptions { shared: false, system_fonts: false });
    for file in FILES {
        collection.register_fonts(Blob::new(Arc::new(file)), None);
    }
    FontContext { collection, source_cache: SourceCache::default() }
});

static FACES: LazyLock<Vec<FontRef<'static>>> =
    LazyLock::new(|| FILES.iter().filter_map(|file| FontRef::new(file).ok()).collect());

/// What becomes of a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Shown,
    Space,
    Break,
    /// It has no shape of its own.
    Vanishes,
    Missing,
}

fn fate(c: char) -> Fate {
    match c {
        '\n' | '\u{0b}' | '\u{0c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => Fate::Break,
        '\t' | ' ' => Fate::Space,
        _ if c.is_control() => Fate::Vanishes,
        // Soft hyphen, joiners, marks of direction, selectors of a variant or a colour, tags.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{1f3fb}'..='\u{1f3ff}'
        | '\u{e0000}'..='\u{e0fff}' => Fate::Vanishes,
        _ if has_shape(c) => Fate::Shown,
        _ if c.is_whitespace() => Fate::Space,
        _ => Fate::Missing,
    }
}

fn has_shape(c: char) -> bool {
    FACES.iter().any(|face| face.charmap().map(c).is_some_and(|glyph| glyph.to_u32() != 0))
}

/// Signs of the text that no embedded font can show, each once, in order. What has no shape (variation selectors,
/// joiners, soft hyphens, control characters) is not missing: it vanishes.
pub fn missing_signs(text: &str) -> Vec<char> {
    let mut seen = std::collections::HashSet::new();
    text.nfc().filter(|c| fate(*c) == Fate::Missing && seen.insert(*c)).collect()
}

/// The text as it is set: composed (NFC), with `\n` as its only control character, and with the code of each sign
/// that can't be shown in the sign's place.
pub(super) fn showable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut last = ' ';
    for c in text.replace("\r\n", "\n").replace('\r', "\n").nfc() {
        match fate(c) {
            Fate::Shown => out.push(c),
            Fate::Space => out.push(' '),
            Fate::Break => out.push('\n'),
            // Persian and others write with these; between other letters they do nothing.
            Fate::Vanishes if matches!(c, '\u{200c}' | '\u{200d}') && joins(last) => out.push(c),
            Fate::Vanishes => {}
            Fate::Missing => out.push_str(&code(c)),
        }
        last = c;
    }
    out
}

/// Letters whose shape depends on their neighbour's: Arabic and its relatives.
fn joins(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{8ff}' | '\u{fb50}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}')
}

/// What stands in the place of a sign that can't be shown.
pub(super) fn code(c: char) -> String {
    format!("[U+{:04X}]", u32::from(c))
}

/// A text for a screen reader, which shows nothing: without control characters, in one line.
pub(super) fn plain(text: &str) -> String {
    text.split_whitespace()
        .map(|word| word.chars().filter(|c| !c.is_control()).collect())
        .collect::<Vec<String>>()
        .join(" ")
}
