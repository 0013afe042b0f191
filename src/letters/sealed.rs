//! Facts of the letters around sealed letters (SPEC section 15).

use chrono::{DateTime, Utc};
use serde::Serialize;

/// The neutral mail around a sealed letter; in clear.
#[derive(Clone, Serialize)]
pub struct SealedLetter {
    pub neutral_name: String,
    /// What the client chose to read above it; None: the standing subject.
    pub subject: Option<String>,
    /// How many documents are attached.
    pub documents: usize,
}

/// What stands on a sealed letter beside the words: the date as its subject, and what the answer words are for.
#[derive(Clone, Serialize)]
pub struct SealedSheet {
    pub at: DateTime<Utc>,
}

/// What was asked for needs the answer words; in clear, neutral.
#[derive(Clone, Serialize)]
pub struct AboutWords {
    pub neutral_name: String,
    /// Too many wrong ones came: those of the next letter count again.
    pub blocked: bool,
}

/// A passphrase is never mailed; in clear, neutral.
#[derive(Clone, Serialize)]
pub struct AboutPassphrase {
    pub neutral_name: String,
}
