//! Blocks of text broken into lines and laid on pages.

use std::ops::Range;

use parley::style::{FontFamily, FontFeatures, LineHeight, OverflowWrap, StyleProperty};
use parley::{Alignment, AlignmentOptions, FontContext, Layout, LayoutContext};

use super::fonts;

/// A6, in points (1/72 inch): fills a telephone's screen at a readable size, and a sheet of A4 takes four.
pub(super) const WIDTH: f32 = 297.64;
pub(super) const HEIGHT: f32 = 419.53;
/// Of the text from the left and right edge.
pub(super) const MARGIN: f32 = 25.0;
/// Of the first line from the upper edge.
const TOP: f32 = 28.0;
/// Of the last line from the lower edge; the page's number stands below.
const BOTTOM: f32 = 36.0;
/// As long as a line may be.
pub(super) const MEASURE: f32 = WIDTH - 2.0 * MARGIN;
/// Between a rule and the line below it.
const UNDER_RULE: f32 = 9.0;

/// A run of text in one size, which may go on over pages.
pub(super) struct Block {
    pub text: String,
    /// In points.
    pub size: f32,
    /// Baseline to baseline, in sizes.
    pub leading: f32,
    /// In points; not at the head of a page.
    pub before: f32,
    /// A rule stands above it.
    pub ruled: bool,
    /// Stands on the page of the next block's first lines.
    pub with_next: bool,
    /// Set smaller rather than broken into two lines.
    pub unbroken: bool,
}

/// A block in lines.
pub(super) struct Set {
    /// With the codes of signs that can't be shown.
    pub text: String,
    pub layout: Layout<()>,
    before: f32,
    ruled: bool,
    with_next: bool,
}

/// Lines of one block on one page.
pub(super) struct Piece {
    /// Index of the block.
    pub block: usize,
    pub lines: Range<usize>,
    /// What is added to a line's own position to have its position from the page's upper edge.
    pub down: f32,
}

#[derive(Default)]
pub(super) struct Leaf {
    pub pieces: Vec<Piece>,
    /// Positions of rules from the upper edge.
    pub rules: Vec<f32>,
}

/// Breaks the blocks into lines.
pub(super) fn set(blocks: Vec<Block>) -> Vec<Set> {
    let mut fonts = fonts::context();
    let mut layouts = LayoutContext::new();
    blocks.into_iter().map(|block| set_one(block, &mut fonts, &mut layouts)).collect()
}

fn set_one(block: Block, fonts: &mut FontContext, layouts: &mut LayoutContext<()>) -> Set {
    let mut text = fonts::showable(&block.text);
    let mut lay = |text: &str, size: f32, measure: Option<f32>| {
        let mut builder = layouts.ranged_builder(fonts, text, 1.0, false);
        builder.push_default(StyleProperty::FontFamily(FontFamily::Source(fonts::FAMILIES.into())));
        builder.push_default(StyleProperty::FontSize(size));
        builder.push_default(StyleProperty::LineHeight(LineHeight::FontSizeRelative(block.leading)));
        builder.push_default(StyleProperty::OverflowWrap(OverflowWrap::Anywhere));
        builder.push_default(StyleProperty::FontFeatures(FontFeatures::from("\"onum\" 0")));
        let mut layout = builder.build(text);
        layout.break_all_lines(measure);
        layout
    };
    let mut layout = lay(&text, block.size, (!block.unbroken).then_some(MEASURE));
    // A font may have a sign and none may have it together with its neighbours.
    if let Some(with_codes) = without_empty_boxes(&text, &layout) {
        text = with_codes;
        layout = lay(&text, block.size, (!block.unbroken).then_some(MEASURE));
    }
    if block.unbroken && layout.width() > MEASURE {
        let size = block.size * MEASURE / layout.width() * 0.99;
        layout = lay(&text, size.max(8.0), Some(MEASURE));
    }
    layout.align(Alignment::Start, AlignmentOptions::default());
    Set { text, layout, before: block.before, ruled: block.ruled, with_next: block.with_next }
}

/// The text with the codes of all clusters that no font shows; `None` if there are none.
fn without_empty_boxes(text: &str, layout: &Layout<()>) -> Option<String> {
    let mut empty: Vec<Range<usize>> = Vec::new();
    for run in layout.lines().flat_map(|line| line.runs()) {
        for cluster in run.clusters() {
            let shown = text.get(cluster.text_range()).unwrap_or_default();
            if shown.chars().any(|c| !c.is_whitespace()) && cluster.glyphs().any(|glyph| glyph.id == 0) {
                empty.push(cluster.text_range());
            }
        }
    }
    empty.sort_by_key(|range| range.start);
    let mut out = String::new();
    let mut done = 0;
    for range in &empty {
        out.push_str(text.get(done..range.start)?);
        out.extend(text.get(range.clone())?.chars().map(fonts::code));
        done = range.end;
    }
    out.push_str(text.get(done..)?);
    (!empty.is_empty()).then_some(out)
}

/// Lays the blocks on pages. No page ends after the first line of a paragraph or begins with its last.
pub(super) fn paginate(sets: &[Set]) -> Vec<Leaf> {
    let mut leaves = vec![Leaf::default()];
    let mut y = TOP;
    for (index, set) in sets.iter().enumerate() {
        let count = set.layout.len();
        let top = |line: usize| set.layout.get(line).map_or(0.0, |l| l.metrics().block_min_coord);
        let bottom = |line: usize| set.layout.get(line).map_or(0.0, |l| l.metrics().block_max_coord);
        if count == 0 {
            continue;
        }
        let mut start = 0;
        let head = lead(set, leaves.last().is_some_and(|leaf| leaf.pieces.is_empty()));
        if y + head + needed(&sets[index..]) > HEIGHT - BOTTOM && y > TOP {
            leaves.push(Leaf::default());
            y = TOP;
        }
        while start < count {
            let Some(leaf) = leaves.last_mut() else { break };
            if start == 0 {
                y += lead(set, leaf.pieces.is_empty());
                if set.ruled {
                    leaf.rules.push(y - UNDER_RULE);
                }
            }
            let room = HEIGHT - BOTTOM - y;
            let fit = (start..count).take_while(|line| bottom(*line) - top(start) <= room).count();
            // At least one line, or a line that is higher than a page would never end.
            let mut end = start + fit.max(1);
            if end + 1 == count && end > start + 2 {
                end -= 1;
            }
            leaf.pieces.push(Piece { block: index, lines: start..end, down: y - top(start) });
            y += bottom(end - 1) - top(start);
            start = end;
            if start < count {
                leaves.push(Leaf::default());
                y = TOP;
            }
        }
    }
    leaves
}

/// The space above a block.
fn lead(set: &Set, first: bool) -> f32 {
    let rule = if set.ruled { UNDER_RULE } else { 0.0 };
    rule + if first { 0.0 } else { set.before }
}

/// The height that has to be left on a page for the first of these blocks to begin there.
fn needed(sets: &[Set]) -> f32 {
    let mut height = 0.0;
    for (index, set) in sets.iter().enumerate() {
        let count = set.layout.len();
        let whole = set.with_next || count <= 3;
        let lines = if whole { count } else { 2 };
        height += set.layout.get(lines.saturating_sub(1)).map_or(0.0, |line| line.metrics().block_max_coord);
        if index > 0 {
            height += lead(set, false);
        }
        if !set.with_next {
            break;
        }
    }
    height
}
