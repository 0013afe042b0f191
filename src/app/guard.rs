//! The last thing before DATA: a look at the bytes themselves (SPEC section 13). It fails closed.

use crate::letters::Name;
use crate::mime;
use crate::model::{Address, Kind};
use crate::pdf;

/// Why a mail is not handed over. It is never sent in another way instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    #[error("the mail is for somebody else than the registered recipient")]
    Recipient,
    #[error("the mail is in clear, and its kind must never be")]
    InClear,
    #[error("the mail's outer headers show more than is allowed")]
    Headers,
}

/// Kinds that may leave in clear (SPEC section 6); what they may say is checked with the letters.
pub const fn may_be_clear(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Acknowledgement
            | Kind::AboutKeys
            | Kind::Undecryptable
            | Kind::TooLarge
            | Kind::KeyExpiry
            | Kind::AboutWords
            | Kind::AboutPassphrase
            | Kind::KeyRevoked
            | Kind::PracticeKey
            | Kind::Stranger
            | Kind::HealthAlarm
            | Kind::Invitation
            | Kind::InvitationReminder
            | Kind::InvitationProblem
            | Kind::InvitationDeclined
            | Kind::Safety
            | Kind::SafetyViolence
            | Kind::StrangerSafety
            | Kind::TherapistWelcome
    )
}

/// Judges the bytes of one mail against what is registered.
///
/// # Errors
/// [`GuardError`]: the mail must not leave.
pub fn check(kind: Kind, bytes: &[u8], registered: &Address) -> Result<(), GuardError> {
    let header = mime::Mail::parse_header(bytes, &mime::Limits::default()).map_err(|_| GuardError::Headers)?;
    let only_them = header.recipients().count() == 1 && header.to.first() == Some(registered);
    if !only_them {
        return Err(GuardError::Recipient);
    }
    mime::outer_headers_allowed(bytes).map_err(|_| GuardError::Headers)?;
    if !mime::is_multipart_encrypted(bytes) && !may_be_clear(kind) && !is_sealed_letter(bytes) {
        return Err(GuardError::InClear);
    }
    Ok(())
}

/// Most octets of the neutral words around a sealed letter.
const COVER: usize = 1000;

/// Whether a mail is a sealed letter: a few words, and documents that only a passphrase opens.
fn is_sealed_letter(bytes: &[u8]) -> bool {
    let Ok(content) = mime::content(bytes, &mime::Limits::default()) else { return false };
    let mut documents = content.attachments.iter().filter(|part| !part.class.is_envelope()).peekable();
    documents.peek().is_some()
        && documents.all(|part| part.class == mime::AttachmentClass::Pdf && pdf::is_sealed(&part.bytes))
        && content.text.len() <= COVER
        && content.html.is_none()
}

/// The clear letter of a kind, where it has one.
pub const fn clear_letter(kind: Kind) -> Option<Name> {
    match kind {
        Kind::Acknowledgement => Some(Name::AcknowledgementClear),
        Kind::AboutKeys => Some(Name::AboutKeysClear),
        Kind::Undecryptable => Some(Name::Undecryptable),
        Kind::TooLarge => Some(Name::TooLarge),
        Kind::KeyExpiry => Some(Name::KeyExpiry),
        Kind::AboutWords => Some(Name::AboutWords),
        Kind::AboutPassphrase => Some(Name::AboutPassphrase),
        Kind::KeyRevoked => Some(Name::KeyRevoked),
        Kind::PracticeKey => Some(Name::PracticeKeyClear),
        Kind::Stranger => Some(Name::Stranger),
        Kind::HealthAlarm => Some(Name::HealthAlarm),
        Kind::Invitation => Some(Name::Invitation),
        Kind::InvitationReminder => Some(Name::InvitationReminder),
        Kind::InvitationProblem => Some(Name::InvitationProblem),
        Kind::InvitationDeclined => Some(Name::InvitationDeclined),
        Kind::Safety => Some(Name::Safety),
        Kind::SafetyViolence => Some(Name::SafetyViolence),
        Kind::StrangerSafety => Some(Name::StrangerSafety),
        Kind::TherapistWelcome => Some(Name::TherapistWelcome),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// THREATS 11: every kind of outgoing mail is decided about by name.
    #[test]
    fn row_11_a_kind_may_be_clear_exactly_when_it_has_a_clear_letter() {
        for &kind in Kind::ALL {
            assert_eq!(may_be_clear(kind), clear_letter(kind).is_some(), "{kind}");
            if let Some(name) = clear_letter(kind) {
                assert!(name.is_clear() || name.is_clear_for_safety() || kind == Kind::HealthAlarm, "{kind}");
            }
        }
    }
}
