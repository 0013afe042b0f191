//! Sealed letters: PDFs that common readers open with a passphrase (SPEC section 15, ISO 32000-2).
//!
//! A letter is set here, in the process, with the fonts of `config/fonts`: parley shapes and breaks lines, krilla
//! writes a tagged PDF, and `seal` encrypts it whole (AES-256, revision 6). Nothing is read from or written to a
//! file, and nothing says when, where or by which program it was made.

mod fonts;
mod letter;
mod picture;
mod seal;
#[cfg(test)]
mod tests;
mod typeset;

use crate::model::Language;
use crate::secret::{Password, Plaintext};

pub use fonts::missing_signs;

/// Most bytes of a letter's text: far more than a mail may have, far less than takes a noticeable time.
const MAX_TEXT: usize = 4 * 1024 * 1024;
/// Most bytes of a picture or document.
const MAX_FILE: usize = 64 * 1024 * 1024;

/// Why there is no sealed letter. Holds nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PdfError {
    #[error("the file is damaged, protected already, or of a kind that no sealed letter can be made of")]
    Unreadable,
    #[error("the content is larger than a sealed letter may be")]
    TooLarge,
    #[error("the sealed letter could not be made")]
    Failed,
}

/// What a sealed letter shows, from top to bottom. Control characters in any of it vanish.
#[derive(Debug)]
pub struct Sheet<'a> {
    /// The language that a screen reader speaks.
    pub language: Language,
    /// The practice's name, as it may stand there; the document's only heading.
    pub heading: &'a str,
    /// Already written as a person writes it.
    pub date: &'a str,
    /// UTF-8. Paragraphs are parted by empty lines, single line breaks are kept.
    pub body: &'a Plaintext,
    /// Small print under a rule.
    pub note: Option<&'a str>,
    /// The block with the answer words, at the very end.
    pub answer: Option<Answer<'a>>,
}

/// The words that prove of an answer that its writer could open the letter.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    pub explanation: &'a str,
    /// Set large and in one line.
    pub words: &'a str,
}

impl std::fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer(…)")
    }
}

/// The letter as a sealed PDF: tagged, its fonts embedded as subsets, its size padded.
///
/// A sign that no font here has is shown as its code (`[U+1F984]`); [`missing_signs`] tells which ones these are.
///
/// # Errors
/// [`PdfError::TooLarge`] for more than 4 MiB of text; [`PdfError::Failed`] if a library fails.
pub fn letter(sheet: &Sheet<'_>, passphrase: &Password) -> Result<Vec<u8>, PdfError> {
    if sheet.body.len() > MAX_TEXT {
        return Err(PdfError::TooLarge);
    }
    guarded(|| seal::seal(&letter::open_letter(sheet)?, passphrase, PdfError::Failed), PdfError::Failed)
}

/// A picture (JPEG, PNG, GIF or WebP; of a film the first image) as a sealed letter of one page, turned as its EXIF
/// data say. `alt` is what a screen reader says in its place.
///
/// # Errors
/// [`PdfError::Unreadable`] for another format or a damaged file, [`PdfError::TooLarge`] for more than 64 MiB or
/// 60 million pixels.
pub fn picture(bytes: &[u8], alt: &str, language: Language, passphrase: &Password) -> Result<Vec<u8>, PdfError> {
    if bytes.len() > MAX_FILE {
        return Err(PdfError::TooLarge);
    }
    guarded(
        || seal::seal(&picture::open_picture(bytes, alt, language)?, passphrase, PdfError::Unreadable),
        PdfError::Unreadable,
    )
}

/// A PDF, whose metadata `mime` has removed, sealed with its pages as they are.
///
/// # Errors
/// [`PdfError::Unreadable`] if it is protected by a password already, damaged or without a page;
/// [`PdfError::TooLarge`] for more than 64 MiB.
pub fn document(bytes: &[u8], passphrase: &Password) -> Result<Vec<u8>, PdfError> {
    if bytes.len() > MAX_FILE {
        return Err(PdfError::TooLarge);
    }
    guarded(|| seal::seal(bytes, passphrase, PdfError::Unreadable), PdfError::Unreadable)
}

/// Whether these bytes are a sealed letter (AES-256, revision 6) that this passphrase opens. Never panics; files of
/// more than 64 MiB are none.
pub fn opens(bytes: &[u8], passphrase: &Password) -> bool {
    bytes.len() <= MAX_FILE && guarded(|| Ok(seal::opens(bytes, passphrase)), PdfError::Unreadable).unwrap_or(false)
}

/// Whether these bytes are a sealed letter (AES-256, revision 6), whoever can open it.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_FILE && guarded(|| Ok(seal::is_sealed(bytes)), PdfError::Unreadable).unwrap_or(false)
}

/// Runs the libraries and takes a panic of theirs as a failure: pictures and documents come from anybody.
fn guarded<T>(work: impl FnOnce() -> Result<T, PdfError>, panicked: PdfError) -> Result<T, PdfError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(Err(panicked))
}

/// The language as BCP 47 writes it.
fn tag(language: Language) -> String {
    language.as_str().to_owned()
}
