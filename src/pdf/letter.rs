//! A letter as an open PDF, which `seal` then encrypts.

use std::collections::HashMap;
use std::num::NonZeroU16;

use krilla::Document;
use krilla::SerializeSettings;
use krilla::color::rgb;
use krilla::configure::{ConfigurationBuilder, PdfVersion};
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::Metadata;
use krilla::page::PageSettings;
use krilla::paint::Fill;
use krilla::surface::Surface;
use krilla::tagging::{Artifact, ArtifactType, ContentTag, SpanTag, Tag, TagGroup, TagKind, TagTree};
use krilla::text::{Font, GlyphId, KrillaGlyph};
use zeroize::Zeroizing;

use super::typeset::{self, Block, HEIGHT, MARGIN, MEASURE, Set, WIDTH};
use super::{PdfError, Sheet, tag};
use crate::model::Language;

/// Of the body, in points.
const TEXT: f32 = 12.5;
/// Baseline to baseline, in sizes.
const LEADING: f32 = 1.46;
/// Below the middle of the page's number.
const FOLIO: f32 = 18.0;

/// Krilla's settings for everything that is sealed: PDF 2.0, tagged, without XMP; `seal` compresses.
pub(super) fn settings() -> Result<SerializeSettings, PdfError> {
    Ok(SerializeSettings {
        compress_content_streams: false,
        ascii_compatible: false,
        xmp_metadata: false,
        enable_tagging: true,
        configuration: ConfigurationBuilder::new()
            .with_version(PdfVersion::Pdf20)
            .finish()
            .map_err(|_| PdfError::Failed)?,
        ..SerializeSettings::default()
    })
}

/// The document's language, and nothing else about it.
pub(super) fn metadata(language: Language) -> Metadata {
    Metadata::new().language(tag(language))
}

/// The letter, not encrypted yet.
pub(super) fn open_letter(sheet: &Sheet<'_>) -> Result<Zeroizing<Vec<u8>>, PdfError> {
    let (blocks, tags) = blocks(sheet);
    let sets = typeset::set(blocks);
    let leaves = typeset::paginate(&sets);
    let mut groups: Vec<TagGroup> = tags.into_iter().map(TagGroup::new).collect();
    let mut fonts = Fonts::default();
    let mut document = Document::new_with(settings()?);
    for (number, leaf) in leaves.iter().enumerate() {
        let size = PageSettings::from_wh(WIDTH, HEIGHT).ok_or(PdfError::Failed)?;
        let mut page = document.start_page_with(size);
        let mut surface = page.surface();
        for rule in &leaf.rules {
            draw_rule(&mut surface, *rule);
        }
        for piece in &leaf.pieces {
            let set = &sets[piece.block];
            for line in piece.lines.clone() {
                let identifier = surface.start_tagged(ContentTag::Span(SpanTag::empty()));
                draw_line(&mut surface, &mut fonts, set, line, piece.down, MARGIN)?;
                surface.end_tagged();
                groups[piece.block].push(identifier);
            }
        }
        if leaves.len() > 1 {
            draw_folio(&mut surface, &mut fonts, &format!("{} / {}", number + 1, leaves.len()))?;
        }
        surface.finish();
        page.finish();
    }
    let mut tree = TagTree::new().with_lang(Some(tag(sheet.language)));
    for group in groups.into_iter().filter(|group| !group.children.is_empty()) {
        tree.push(group);
    }
    document.set_tag_tree(tree);
    document.set_metadata(metadata(sheet.language));
    document.finish().map(Zeroizing::new).map_err(|_| PdfError::Failed)
}

/// What is set, and as what a screen reader announces it.
fn blocks(sheet: &Sheet<'_>) -> (Vec<Block>, Vec<TagKind>) {
    let plain = |text: &str| Block {
        text: text.to_owned(),
        size: TEXT,
        leading: LEADING,
        before: TEXT * 0.75,
        ruled: false,
        with_next: false,
        unbroken: false,
    };
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut all: Vec<(Block, TagKind)> = Vec::new();
    let heading = one_line(sheet.heading);
    if !heading.is_empty() {
        let block = Block { size: 17.0, leading: 1.25, with_next: true, ..plain(&heading) };
        all.push((block, Tag::Hn(NonZeroU16::MIN, Some(heading)).into()));
    }
    let date = one_line(sheet.date);
    if !date.is_empty() {
        all.push((Block { size: 10.5, before: 3.0, with_next: true, ..plain(&date) }, Tag::P.into()));
    }
    let body = Zeroizing::new(String::from_utf8_lossy(sheet.body.as_bytes()).into_owned());
    for (index, text) in paragraphs(&body).into_iter().enumerate() {
        let before = if index == 0 { TEXT * 1.6 } else { TEXT * 0.75 };
        all.push((Block { before, ..plain(&text) }, Tag::P.into()));
    }
    for text in sheet.note.into_iter().flat_map(paragraphs) {
        let ruled = !all.last().is_some_and(|(block, _)| block.size < 10.0);
        let before = if ruled { 16.0 } else { 4.0 };
        all.push((Block { size: 9.8, leading: 1.4, before, ruled, ..plain(&text) }, Tag::P.into()));
    }
    if let Some(answer) = &sheet.answer {
        let mut ruled = true;
        for text in paragraphs(answer.explanation) {
            let before = if ruled { 16.0 } else { 4.0 };
            all.push((
                Block { size: 9.8, leading: 1.4, before, ruled, with_next: true, ..plain(&text) },
                Tag::P.into(),
            ));
            ruled = false;
        }
        let words = one_line(answer.words);
        if !words.is_empty() {
            let block = Block { size: 17.0, before: 6.0, ruled, unbroken: true, ..plain(&words) };
            all.push((block, Tag::P.with_actual_text(Some(words)).into()));
        }
    }
    all.into_iter().unzip()
}

/// Parted by lines without a visible character.
fn paragraphs(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n").replace(['\r', '\u{2029}'], "\n");
    let mut all = vec![String::new()];
    for line in text.split('\n').map(str::trim_end) {
        let Some(last) = all.last_mut() else { continue };
        match (line.is_empty(), last.is_empty()) {
            (true, true) => {}
            (true, false) => all.push(String::new()),
            (false, true) => last.push_str(line),
            (false, false) => {
                last.push('\n');
                last.push_str(line);
            }
        }
    }
    all.retain(|paragraph| !super::fonts::showable(paragraph).trim().is_empty());
    all
}

/// The fonts that the document uses, by parley's number of the file.
#[derive(Default)]
struct Fonts(HashMap<u64, Font>);

impl Fonts {
    fn get(&mut self, font: &parley::FontData) -> Result<Font, PdfError> {
        if let Some(known) = self.0.get(&font.data.id()) {
            return Ok(known.clone());
        }
        let (data, id) = font.data.clone().into_raw_parts();
        let new = Font::new(data.into(), font.index).ok_or(PdfError::Failed)?;
        self.0.insert(id, new.clone());
        Ok(new)
    }
}

fn ink(grey: u8) -> Fill {
    Fill { paint: rgb::Color::new(grey, grey, grey).into(), ..Fill::default() }
}

fn draw_line(
    surface: &mut Surface<'_>,
    fonts: &mut Fonts,
    set: &Set,
    line: usize,
    down: f32,
    left: f32,
) -> Result<(), PdfError> {
    let Some(line) = set.layout.get(line) else { return Ok(()) };
    let y = line.metrics().baseline + down;
    let mut x = left + line.metrics().offset;
    surface.set_fill(Some(ink(20)));
    for run in line.runs() {
        let size = run.font_size();
        let mut glyphs: Vec<KrillaGlyph> = Vec::new();
        let start = x;
        for cluster in run.visual_clusters() {
            if cluster.is_hard_line_break() {
                continue;
            }
            // A ligature's other letters have no glyph of their own.
            if cluster.is_ligature_continuation() {
                if let Some(glyph) = glyphs.last_mut() {
                    glyph.text_range.start = glyph.text_range.start.min(cluster.text_range().start);
                    glyph.text_range.end = glyph.text_range.end.max(cluster.text_range().end);
                }
                continue;
            }
            for glyph in cluster.glyphs() {
                glyphs.push(KrillaGlyph::new(
                    GlyphId::new(glyph.id),
                    glyph.advance / size,
                    glyph.x / size,
                    glyph.y / size,
                    0.0,
                    cluster.text_range(),
                    None,
                ));
                x += glyph.advance;
            }
        }
        if !glyphs.is_empty() {
            surface.draw_glyphs(Point::from_xy(start, y), &glyphs, fonts.get(run.font())?, &set.text, size, false);
        }
    }
    Ok(())
}

/// Decoration only: a screen reader passes it by.
fn draw_rule(surface: &mut Surface<'_>, y: f32) {
    let path = Rect::from_xywh(MARGIN, y, MEASURE * 0.3, 0.6).and_then(|rect| {
        let mut path = PathBuilder::new();
        path.push_rect(rect);
        path.finish()
    });
    if let Some(path) = path {
        surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::Layout)));
        surface.set_fill(Some(ink(130)));
        surface.draw_path(&path);
        surface.end_tagged();
    }
}

/// The page's number, in the middle of the lower margin.
fn draw_folio(surface: &mut Surface<'_>, fonts: &mut Fonts, text: &str) -> Result<(), PdfError> {
    let block = Block {
        text: text.to_owned(),
        size: 9.0,
        leading: 1.0,
        before: 0.0,
        ruled: false,
        with_next: false,
        unbroken: true,
    };
    for set in typeset::set(vec![block]) {
        surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(ArtifactType::PageNumber)));
        let left = (WIDTH - set.layout.width()) / 2.0;
        let drawn = draw_line(surface, fonts, &set, 0, HEIGHT - FOLIO - set.layout.height() / 2.0, left);
        surface.end_tagged();
        drawn?;
    }
    Ok(())
}
