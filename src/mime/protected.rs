//! Header fields inside the cryptographic payload (RFC 9788, and the older `protected-headers="v1"`).

use super::limits::{Limits, MimeError};
use super::parse::Mail;
use super::tree::Entity;

/// The header block of a decrypted or verified payload, when it is marked as protected. A payload without mark
/// has ordinary MIME fields only, and nothing else in it is believed.
///
/// # Errors
/// [`MimeError`] when a limit is passed.
pub fn protected(entity: &[u8], limits: &Limits) -> Result<Option<Mail>, MimeError> {
    let entity = Entity::read(entity, limits)?;
    Ok(is_marked(&entity).then(|| Mail::of(&entity)))
}

fn is_marked(entity: &Entity<'_>) -> bool {
    let kind = &entity.kind;
    kind.param_is("hp", "cipher") || kind.param_is("hp", "clear") || kind.param_is("protected-headers", "v1")
}

/// Whether a part only repeats protected header fields for old readers (RFC 9788 section 5.2 and its draft form).
pub(super) fn is_legacy_display(part: &Entity<'_>) -> bool {
    part.is("text/rfc822-headers") && part.kind.param_is("protected-headers", "v1")
}

/// Text without the leading repetition of header fields that `hp-legacy-display="1"` announces.
pub(super) fn without_legacy_display(part: &Entity<'_>, text: String) -> String {
    if !part.kind.param_is("hp-legacy-display", "1") {
        return text;
    }
    match text.split_once("\n\n") {
        Some((head, rest)) if head.lines().all(|l| l.starts_with([' ', '\t']) || l.contains(": ")) => rest.to_owned(),
        _ => text,
    }
}
