//! Facts of the letters about keys that are replaced or revoked.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Name;
use super::facts::KeyOwner;

/// The practice has a new key; sealed, with the key attached.
#[derive(Clone, Serialize)]
pub struct PracticeKeyRotated {
    pub practice: String,
    /// The new one's.
    pub fingerprint: String,
    pub old_fingerprint: String,
    /// The letter is signed by the key that the reader knows.
    pub signed_by_old: bool,
}

/// The practice's key was stolen or lost, and there is a new one; sealed, signed by the new one.
#[derive(Clone, Serialize)]
pub struct PracticeKeyRevoked {
    pub practice: String,
    pub fingerprint: String,
    pub old_fingerprint: String,
}

/// Either of them in clear, neutral.
#[derive(Clone, Serialize)]
pub struct PracticeKeyClear {
    pub neutral_name: String,
    pub fingerprint: String,
    pub old_fingerprint: String,
    pub revoked: bool,
}

/// Either of them to a therapist.
#[derive(Clone, Serialize)]
pub struct StaffPracticeKey {
    pub fingerprint: String,
    pub old_fingerprint: String,
    pub revoked: bool,
    pub signed_by_old: bool,
}

/// A revocation of the reader's own key has come; in clear, neutral: there is no key to seal it to.
#[derive(Clone, Serialize)]
pub struct KeyRevoked {
    pub neutral_name: String,
    pub fingerprint: String,
    /// The reader is a therapist: whoever runs the server takes the new key.
    pub staff: bool,
}

/// A revocation of a client's key has come; to the therapist.
#[derive(Clone, Serialize)]
pub struct StaffKeyRevoked {
    pub owner: KeyOwner,
    pub fingerprint: String,
    /// What the revocation says.
    pub revoked: DateTime<Utc>,
    /// Stolen, or no reason given.
    pub hard: bool,
}

impl Name {
    /// Letters that carry the practice's key.
    pub const fn carries_key(self) -> bool {
        matches!(
            self,
            Self::Undecryptable
                | Self::Stranger
                | Self::AboutKeys
                | Self::AboutKeysClear
                | Self::Invitation
                | Self::InvitationReminder
                | Self::InvitationProblem
                | Self::TherapistWelcome
                | Self::PracticeKeyRotated
                | Self::PracticeKeyRevoked
                | Self::PracticeKeyClear
        )
    }
}
