//! What was agreed or decided about a client, besides the state: one JSON value of their record.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{ClientState, Mode, TherapistId};

/// What was agreed or decided about one client, besides the state. Kept as one JSON value under the record's MAC,
/// so that a client without any of it has the same record as before these existed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Care {
    /// `/discreet`: no lines but 112, no automatic safety mail.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub discreet: bool,
    /// `/safety quiet`: no automatic safety mail.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub safety_quiet: bool,
    /// `/mute`: nothing leaves to this person.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub muted: bool,
    /// Already in treatment when invited: consent leads to `active`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub known: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The state in treatment that a pause or a suspension interrupted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<ClientState>,
    /// Since when the present state holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// The client ended it by `STOP`, and the one farewell that may follow within 14 days was not written yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// The state that the client's `STOP` ended, to which `REPRENDRE` leads back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped_in: Option<ClientState>,
    /// When the client's last `STOP` was undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unstopped: Option<DateTime<Utc>>,
    /// The pause is the client's own: only that can be undone by the client.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub own_pause: bool,
    /// When the client agreed that a locum reads unanswered letters in an absence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locum_consent: Option<DateTime<Utc>>,
    /// The therapist that a transfer was offered to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transfer_to: Option<TherapistId>,
    /// When the client was told what happens to mail in the present state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told: Option<DateTime<Utc>>,
    /// Since when the record is under legal hold: it isn't erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_hold: Option<DateTime<Utc>>,
    /// What an order had found whose letter, the therapist's own words, hasn't left yet: `/cancel` leads back to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<Before>,
}

/// A client's state, and what belonged to it, before an order that can still be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    pub state: ClientState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ClientState>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_pause: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<DateTime<Utc>>,
    /// Turns (rows of `turn`) whose replies the order withdrew: something is owed for them again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<i64>,
}

/// As it is stored; nothing where nothing was agreed.
pub(super) fn care_text(care: &Care) -> Option<String> {
    (*care != Care::default()).then(|| serde_json::to_string(care).unwrap_or_default())
}
