//! What a therapist is told about commands that can't be read.

use crate::domain::commands::{self, CommandError};
use crate::letters::RefusalReason;

/// Why a mail whose commands can't be read is refused.
pub fn of_command(error: CommandError) -> RefusalReason {
    let command = |command: &str| command.to_owned();
    match error {
        CommandError::Unknown { name, .. } => RefusalReason::UnknownCommand { name: name.into_string() },
        CommandError::Contradiction { a, b } => RefusalReason::Contradiction { a: a.to_owned(), b: b.to_owned() },
        CommandError::MissingArgument { command: c } => RefusalReason::MissingArgument { command: command(c) },
        CommandError::BadArgument { command: c } => RefusalReason::BadArgument { command: command(c) },
        CommandError::NotAnAddress => RefusalReason::NotAnAddress,
        CommandError::TextNotAllowed { command: c } => RefusalReason::TextNotAllowed { command: command(c) },
        CommandError::TextRequired { command: c } => RefusalReason::TextRequired { command: command(c) },
        CommandError::NowTooLong { words } => {
            RefusalReason::NowTooLong { words: u32::try_from(words).unwrap_or(u32::MAX) }
        }
        CommandError::TooFewWords { command: c, words } => RefusalReason::TooFewWords {
            command: command(c),
            words: u32::try_from(words).unwrap_or(u32::MAX),
            needed: u32::try_from(commands::OWN_WORDS).unwrap_or(u32::MAX),
        },
    }
}
