//! What a section and a key are.

/// What a key's value is, in TOML and in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Free text.
    Text,
    /// A text, or `{ fr = "…", en = "…" }`.
    Texts,
    /// One of these words.
    Words(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// 1 to 65535.
    Port,
    /// A whole number from 0.
    Count,
    /// Such as `60s`, `2h`.
    Duration,
    /// Such as `25MB`.
    Size,
    /// Such as `07:00`.
    Hour,
    /// Such as 2026-08-01.
    Date,
    /// Six fields, weekdays by name.
    Cron,
    /// An IANA zone.
    Zone,
    /// A bare mail address.
    Address,
    /// A path, relative to the configuration's folder.
    Path,
    /// Where a secret is: a path, `credential:NAME` or `env:NAME`.
    Secret,
}

impl Kind {
    /// What is expected, for messages.
    pub const fn expects(self) -> &'static str {
        match self {
            Self::Text | Self::Words(_) | Self::Zone | Self::Address => "a text in quotes",
            Self::Texts => "a text in quotes, or { fr = \"…\", en = \"…\" }",
            Self::Flag => "true or false, without quotes",
            Self::Port => "a whole number from 1 to 65535, without quotes",
            Self::Count => "a whole number, without quotes",
            Self::Duration => "a duration in quotes, such as \"60s\" or \"2h\"",
            Self::Size => "a size in quotes, such as \"25MB\"",
            Self::Hour => "a time of day in quotes, such as \"07:00\"",
            Self::Date => "a date, such as 2026-08-01",
            Self::Cron => "a cron expression in quotes, such as \"0 0 18 * * Mon-Fri\"",
            Self::Path => "a path in quotes",
            Self::Secret => "a path in quotes, or \"credential:NAME\", or \"env:NAME\"",
        }
    }
}

/// What happens when a key is absent. The texts are TOML literals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// An error.
    Required(&'static str),
    /// This value.
    Default(&'static str),
    /// A value that other keys give; the first text says which.
    Derived(&'static str, &'static str),
    /// Nothing.
    Optional(&'static str),
    /// An error unless each therapist has it: an element of the frame.
    Frame(&'static str),
}

impl Need {
    /// The value that the example file shows.
    pub const fn example(self) -> &'static str {
        match self {
            Self::Required(text) | Self::Default(text) | Self::Derived(_, text) => text,
            Self::Optional(text) | Self::Frame(text) => text,
        }
    }

    /// Whether the example file shows the key as a comment.
    pub const fn is_commented(self) -> bool {
        matches!(self, Self::Derived(..) | Self::Optional(_))
    }
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub need: Need,
    pub doc: &'static str,
}

/// One section.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Dotted path from the root, such as `practice.cadre`.
    pub path: &'static str,
    /// Written `[[…]]`, any number of times.
    pub list: bool,
    /// Whether the example file shows the header as a comment.
    pub commented: bool,
    pub doc: &'static str,
    pub keys: &'static [Key],
}

impl Section {
    /// The header as it is written: `[imap]`, `[[therapist]]`.
    pub fn header(&self) -> String {
        if self.list { format!("[[{}]]", self.path) } else { format!("[{}]", self.path) }
    }

    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
