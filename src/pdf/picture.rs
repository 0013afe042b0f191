//! A picture as an open PDF of one page, which `seal` then encrypts.

use krilla::Document;
use krilla::geom::{Size, Transform};
use krilla::image::Image;
use krilla::page::PageSettings;
use krilla::tagging::{ContentTag, SpanTag, Tag, TagGroup, TagTree};
use zeroize::Zeroizing;

use super::letter::{metadata, settings};
use super::{PdfError, fonts};
use crate::model::Language;

/// Most pixels: what a telephone takes, and 240 MiB when unpacked.
const MAX_PIXELS: u64 = 60_000_000;
/// The longer side of the page, in points: A4's.
const LONG_SIDE: f32 = 842.0;

/// The picture on a page of its shape, not encrypted yet.
pub(super) fn open_picture(bytes: &[u8], alt: &str, language: Language) -> Result<Zeroizing<Vec<u8>>, PdfError> {
    let data = || krilla::Data::from(bytes.to_vec());
    let image = match bytes {
        [0xff, 0xd8, 0xff, ..] => Image::from_jpeg(data(), true),
        [0x89, b'P', b'N', b'G', ..] => Image::from_png(data(), true),
        [b'G', b'I', b'F', b'8', ..] => Image::from_gif(data(), true),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Image::from_webp(data(), true),
        _ => return Err(PdfError::Unreadable),
    }
    .map_err(|_| PdfError::Unreadable)?;
    let (width, height) = image.size();
    if width == 0 || height == 0 {
        return Err(PdfError::Unreadable);
    }
    // Known from the header, before anything is unpacked.
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(PdfError::TooLarge);
    }
    let turned = if bytes.starts_with(&[0xff, 0xd8]) { orientation(bytes).unwrap_or(1) } else { 1 };
    #[expect(clippy::cast_precision_loss, reason = "a side of a picture, to the hundredth of a point")]
    let (width, height) = (width as f32, height as f32);
    let scale = LONG_SIDE / width.max(height);
    // PDF pages have a side of at least 3 points.
    let (width, height) = ((width * scale).max(3.0), (height * scale).max(3.0));
    let (page_width, page_height) = if turned > 4 { (height, width) } else { (width, height) };

    let mut document = Document::new_with(settings()?);
    let size = PageSettings::from_wh(page_width, page_height).ok_or(PdfError::Unreadable)?;
    let mut page = document.start_page_with(size);
    let mut surface = page.surface();
    let identifier = surface.start_tagged(ContentTag::Span(SpanTag::empty()));
    surface.push_transform(&upright(turned, width, height));
    surface.draw_image(image, Size::from_wh(width, height).ok_or(PdfError::Unreadable)?);
    surface.pop();
    surface.end_tagged();
    surface.finish();
    page.finish();
    let alt = fonts::plain(alt);
    let mut tree = TagTree::new().with_lang(Some(super::tag(language)));
    tree.push(TagGroup::with_children(Tag::Figure(Some(alt)), vec![identifier.into()]));
    document.set_tag_tree(tree);
    document.set_metadata(metadata(language));
    document.finish().map(Zeroizing::new).map_err(|_| PdfError::Unreadable)
}

/// Turns a picture of this width and height as its EXIF orientation asks for (EXIF 2.32, tag 0x0112).
fn upright(turned: u8, w: f32, h: f32) -> Transform {
    // x' = sx·x + kx·y + tx and y' = ky·x + sy·y + ty, from the upper left corner.
    match turned {
        2 => Transform::from_row(-1.0, 0.0, 0.0, 1.0, w, 0.0),
        3 => Transform::from_row(-1.0, 0.0, 0.0, -1.0, w, h),
        4 => Transform::from_row(1.0, 0.0, 0.0, -1.0, 0.0, h),
        5 => Transform::from_row(0.0, 1.0, 1.0, 0.0, 0.0, 0.0),
        6 => Transform::from_row(0.0, 1.0, -1.0, 0.0, h, 0.0),
        7 => Transform::from_row(0.0, -1.0, -1.0, 0.0, h, w),
        8 => Transform::from_row(0.0, -1.0, 1.0, 0.0, 0.0, w),
        _ => Transform::identity(),
    }
}

/// The EXIF orientation of a JPEG, 1 to 8. PDF readers don't look for it.
fn orientation(jpeg: &[u8]) -> Option<u8> {
    let mut at = 2;
    loop {
        let [0xff, marker, high, low] = *jpeg.get(at..at + 4)?.first_chunk()? else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        match marker {
            0xe1 if jpeg.get(at + 4..)?.starts_with(b"Exif\0\0") => return tiff(jpeg.get(at + 10..at + 2 + length)?),
            // Start of scan: no metadata behind it.
            0xda | 0xd9 => return None,
            _ => at += 2 + length.max(2),
        }
    }
}

fn tiff(data: &[u8]) -> Option<u8> {
    let big = data.starts_with(b"MM");
    let short = |at: usize| {
        let pair = *data.get(at..)?.first_chunk::<2>()?;
        Some(if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
    };
    let four = *data.get(4..)?.first_chunk::<4>()?;
    let start = usize::try_from(if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }).ok()?;
    let count = usize::from(short(start)?).min(200);
    (0..count).map(|n| start + 2 + 12 * n).find_map(|entry| {
        let value = (short(entry)? == 0x0112).then(|| short(entry + 8)).flatten()?;
        u8::try_from(value).ok().filter(|v| (1..=8).contains(v))
    })
}
