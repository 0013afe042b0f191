//! The names of the commands, in both languages, and what goes with what.

/// Which command, without its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Word {
    To,
    Cancel,
    Urgent,
    Now,
    Release,
    Discard,
    Close,
    Label,
    Note,
    Rhythm,
    Digest,
    Help,
    Accept,
    Decline,
    Pause,
    Resume,
    Suspend,
    End,
    Discharge,
    Mute,
    Discreet,
    Safety,
    CheckIn,
    Card,
    Video,
    Key,
    Rekey,
    Channel,
    Passphrase,
    Told,
    Transfer,
    Mode,
    Invite,
    Absent,
    Back,
}

/// Every name, folded (lower case, no accents), the English one first. A later command is one more row here, one
/// member of [`Word`] and [`Command`](super::Command), and one arm of `argument`.
pub(super) const TABLE: &[(Word, &[&str])] = &[
    (Word::To, &["to", "a", "pour"]),
    (Word::Cancel, &["cancel", "annuler", "annule"]),
    (Word::Urgent, &["urgent"]),
    (Word::Now, &["now", "maintenant"]),
    (Word::Release, &["release", "liberer", "libere", "transmettre"]),
    (Word::Discard, &["discard", "ecarter", "ecarte"]),
    (Word::Close, &["close", "fermer", "ferme", "clore"]),
    (Word::Label, &["label", "etiquette"]),
    (Word::Note, &["note"]),
    (Word::Rhythm, &["rhythm", "rythme"]),
    (Word::Digest, &["digest", "journee"]),
    (Word::Help, &["help", "aide"]),
    (Word::Accept, &["accept", "accepter"]),
    (Word::Decline, &["decline", "decliner"]),
    (Word::Pause, &["pause"]),
    (Word::Resume, &["resume", "reprendre"]),
    (Word::Suspend, &["suspend", "suspendre"]),
    (Word::End, &["end", "fin", "terminer"]),
    (Word::Discharge, &["discharge", "sortie"]),
    (Word::Mute, &["mute", "muet", "silence"]),
    (Word::Discreet, &["discreet", "discret"]),
    (Word::Safety, &["safety", "securite"]),
    (Word::CheckIn, &["checkin", "check-in", "nouvelles"]),
    (Word::Card, &["card", "fiche"]),
    (Word::Video, &["video", "visio"]),
    (Word::Key, &["key", "cle", "clef"]),
    (Word::Rekey, &["rekey", "nouvelle-cle"]),
    (Word::Channel, &["channel", "canal"]),
    (Word::Passphrase, &["passphrase", "phrase", "phrase-de-passe"]),
    (Word::Told, &["told", "dite", "dit"]),
    (Word::Transfer, &["transfer", "transferer"]),
    (Word::Mode, &["mode"]),
    (Word::Invite, &["invite", "inviter"]),
    (Word::Absent, &["absent", "absente", "absence"]),
    (Word::Back, &["back", "retour"]),
];

impl Word {
    pub(super) const fn english(self) -> &'static str {
        match self {
            Self::To => "/to",
            Self::Cancel => "/cancel",
            Self::Urgent => "/urgent",
            Self::Now => "/now",
            Self::Release => "/release",
            Self::Discard => "/discard",
            Self::Close => "/close",
            Self::Label => "/label",
            Self::Note => "/note",
            Self::Rhythm => "/rhythm",
            Self::Digest => "/digest",
            Self::Help => "/help",
            Self::Accept => "/accept",
            Self::Decline => "/decline",
            Self::Pause => "/pause",
            Self::Resume => "/resume",
            Self::Suspend => "/suspend",
            Self::End => "/end",
            Self::Discharge => "/discharge",
            Self::Mute => "/mute",
            Self::Discreet => "/discreet",
            Self::Safety => "/safety",
            Self::CheckIn => "/checkin",
            Self::Card => "/card",
            Self::Video => "/video",
            Self::Key => "/key",
            Self::Rekey => "/rekey",
            Self::Channel => "/channel",
            Self::Passphrase => "/passphrase",
            Self::Told => "/told",
            Self::Transfer => "/transfer",
            Self::Mode => "/mode",
            Self::Invite => "/invite",
            Self::Absent => "/absent",
            Self::Back => "/back",
        }
    }

    /// What becomes of the reply: at most one of these in a mail.
    pub(super) const fn decides_the_reply(self) -> bool {
        matches!(self, Self::Cancel | Self::Urgent | Self::Now | Self::Close)
    }

    /// What becomes of the treatment: at most one of these in a mail.
    pub(super) const fn decides_the_state(self) -> bool {
        matches!(
            self,
            Self::Accept | Self::Decline | Self::Pause | Self::Resume | Self::Suspend | Self::End | Self::Discharge
        )
    }

    /// Sent in a mail of its own.
    pub(super) const fn stands_alone(self) -> bool {
        matches!(self, Self::Digest | Self::Help | Self::Invite | Self::Absent | Self::Back)
    }

    /// A text below would be lost or sent by mistake.
    pub(super) const fn refuses_text(self) -> bool {
        matches!(
            self,
            Self::Cancel
                | Self::Discard
                | Self::Close
                | Self::Digest
                | Self::Help
                | Self::Pause
                | Self::Mute
                | Self::CheckIn
                | Self::Key
                | Self::Rekey
                | Self::Channel
                | Self::Passphrase
                | Self::Told
                | Self::Transfer
                | Self::Invite
                | Self::Absent
                | Self::Back
        )
    }
}
