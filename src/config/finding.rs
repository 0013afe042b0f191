//! What is wrong with a configuration, where, and what to do.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::Serialize;

/// Whether the program can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// One fault: thing, cause, remedy. Never carries a name, an address or a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// The configuration file, as it was named.
    pub file: PathBuf,
    /// From 1; none when the thing has no place in the file.
    pub line: Option<usize>,
    /// The very place, bytes of the file's text: a value, a key, or a section's header. Never printed as such.
    #[serde(skip)]
    pub span: Option<Range<usize>>,
    /// Section and key, such as `[rhythm] release`; empty when the whole file is meant.
    pub key: String,
    pub cause: String,
    /// What a person can do about it.
    pub remedy: String,
}

impl Finding {
    /// Whether it keeps the program from starting.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if self.severity == Severity::Warning {
            f.write_str(" warning:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.cause)?;
        if !self.remedy.is_empty() {
            write!(f, "\n    → {}", self.remedy)?;
        }
        Ok(())
    }
}
