//! The `/commands` at the top of a therapist's mail (SPEC section 8).
//!
//! Pure: text in, typed commands and the letter that is left out. The text is new text of a verified mail, decoded;
//! whether it was really the therapist's has been decided before.

use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, Weekday};
use unicode_normalization::UnicodeNormalization;

use crate::model::{Address, Channel, ClientCode, Language, Mode, TherapistId};

/// Most words that `/now` may have.
pub const NOW_WORDS: usize = 100;

/// Fewest words of a letter that declines, suspends, ends or discharges.
pub const OWN_WORDS: usize = 20;

/// Words of the therapist's. `Debug` shows their length only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Words(String);

impl Words {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({} bytes)", self.0.len())
    }
}

/// What `/release` and `/discard` speak of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// `H3`.
    Held(u32),
    /// `N-3F`, upper case.
    Request(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(number) => write!(f, "H{number}"),
            Self::Request(code) => f.write_str(code),
        }
    }
}

/// A command with its argument.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Command {
    /// Names the client.
    To(ClientCode),
    /// Withdraws the waiting reply.
    Cancel,
    /// Sends the text, or the waiting reply where there is none, at once and outside the count.
    Urgent,
    /// Sends a practical word of at most [`NOW_WORDS`] words at once.
    Now,
    /// Passes a held letter on; None: the one of this conversation.
    Release(Option<Target>),
    /// Ends a held letter or a request; None: the one of this conversation.
    Discard(Option<Target>),
    /// Answers the turn without a letter. `line` is what the client gets instead of the standing sentence.
    Close {
        silent: bool,
        line: Option<Words>,
    },
    Label(Words),
    Note(Words),
    /// Narrows the rhythm to these days, in the week's order; empty: back to the practice's.
    Rhythm(Vec<Weekday>),
    Digest,
    Help,
    Accept,
    /// Ends the assessment; the text is the letter, as with the three below.
    Decline,
    Pause,
    Resume,
    Suspend,
    End,
    Discharge {
        silent: bool,
    },
    /// Nothing leaves to this person.
    Mute {
        on: bool,
    },
    Discreet {
        on: bool,
    },
    /// `/safety quiet`, `/safety normal`.
    SafetyQuiet {
        on: bool,
    },
    CheckIn,
    /// Alone: sends the card to the therapist; with a text: that is the card now; `ask`: asks the client for it.
    Card {
        ask: bool,
    },
    /// A meeting by video, in the therapist's own time.
    Video {
        at: NaiveDateTime,
        url: Option<Words>,
    },
    /// The code words, folded, in order.
    KeyAccept(Vec<String>),
    Rekey,
    Channel(Channel),
    /// A new passphrase for sealed letters.
    Passphrase,
    /// The passphrase has been told by voice.
    Told,
    /// To the therapist of this id.
    Transfer(TherapistId),
    /// The mode of the correspondence.
    Mode(Mode),
    Invite {
        whom: Invitee,
        language: Option<Language>,
        known: bool,
    },
    Absent {
        from: NaiveDate,
        until: NaiveDate,
        locum: Option<TherapistId>,
    },
    Back,
}

/// Whom `/invite` speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Invitee {
    Address(Address),
    /// A request's number, `N-3F`.
    Request(String),
}

impl Command {
    /// The command's English name, as the receipt and refusals write it.
    pub const fn name(&self) -> &'static str {
        self.word().english()
    }

    const fn word(&self) -> Word {
        match self {
            Self::To(_) => Word::To,
            Self::Cancel => Word::Cancel,
            Self::Urgent => Word::Urgent,
            Self::Now => Word::Now,
            Self::Release(_) => Word::Release,
            Self::Discard(_) => Word::Discard,
            Self::Close { .. } => Word::Close,
            Self::Label(_) => Word::Label,
            Self::Note(_) => Word::Note,
            Self::Rhythm(_) => Word::Rhythm,
            Self::Digest => Word::Digest,
            Self::Help => Word::Help,
            Self::Accept => Word::Accept,
            Self::Decline => Word::Decline,
            Self::Pause => Word::Pause,
            Self::Resume => Word::Resume,
            Self::Suspend => Word::Suspend,
            Self::End => Word::End,
            Self::Discharge { .. } => Word::Discharge,
            Self::Mute { .. } => Word::Mute,
            Self::Discreet { .. } => Word::Discreet,
            Self::SafetyQuiet { .. } => Word::Safety,
            Self::CheckIn => Word::CheckIn,
            Self::Card { .. } => Word::Card,
            Self::Video { .. } => Word::Video,
            Self::KeyAccept(_) => Word::Key,
            Self::Rekey => Word::Rekey,
            Self::Channel(_) => Word::Channel,
            Self::Passphrase => Word::Passphrase,
            Self::Told => Word::Told,
            Self::Transfer(_) => Word::Transfer,
            Self::Mode(_) => Word::Mode,
            Self::Invite { .. } => Word::Invite,
            Self::Absent { .. } => Word::Absent,
            Self::Back => Word::Back,
        }
    }

    /// Whether the mail's text belongs to this command, and is no reply.
    pub const fn takes_text(&self) -> bool {
        matches!(
            self,
            Self::Urgent
                | Self::Now
                | Self::Decline
                | Self::Suspend
                | Self::End
                | Self::Discharge { silent: false }
                | Self::Card { ask: false }
                | Self::Video { .. }
        )
    }

    /// Whether it says what becomes of the treatment.
    pub const fn decides_the_state(&self) -> bool {
        self.word().decides_the_state()
    }

    /// Whether the text is a letter that ends or interrupts, and has to be one.
    const fn needs_own_words(&self) -> bool {
        matches!(self, Self::Decline | Self::Suspend | Self::End | Self::Discharge { silent: false })
    }

    /// A text below would be lost or sent by mistake.
    const fn refuses_text(&self) -> bool {
        matches!(self, Self::Discharge { silent: true } | Self::Card { ask: true }) || self.word().refuses_text()
    }
}

/// Why a mail is refused whole. What the therapist wrote is in [`Words`], for the refusal letter only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// `name` as written, without the slash; `line` counts from 1 in the text given.
    #[error("line {line} is no command that is known; /help lists them")]
    Unknown { name: Words, line: usize },
    #[error("{a} and {b} contradict each other; send one of them")]
    Contradiction { a: &'static str, b: &'static str },
    #[error("{command} needs something on its line; /help shows what")]
    MissingArgument { command: &'static str },
    #[error("what stands on the line of {command} is not what it takes; /help shows what")]
    BadArgument { command: &'static str },
    #[error("what stands behind /invite is no address; write it alone, without a name or quotation marks")]
    NotAnAddress,
    #[error("{command} takes no text below it; send the text in a mail of its own")]
    TextNotAllowed { command: &'static str },
    #[error("{command} needs a text below it")]
    TextRequired { command: &'static str },
    #[error("the practical word has {words} words; /now takes at most {NOW_WORDS}")]
    NowTooLong { words: usize },
    #[error("the letter of {command} has {words} words of yours; it needs at least {OWN_WORDS}")]
    TooFewWords { command: &'static str, words: usize },
}

/// A mail's commands and its letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// In the order written, repeated ones once.
    pub commands: Vec<Command>,
    /// What is left: commands and everything from `-- ` on are gone; quotations stand where they stood, because
    /// answers may be written between them.
    pub text: Words,
    /// Unquoted words in `text`; 0: there is no letter.
    pub words: usize,
}

/// Reads the commands at the top of a therapist's text and gives the letter that is left.
///
/// # Errors
/// [`CommandError`]: the whole mail is to be refused and nothing done.
pub fn parse(text: &str) -> Result<Parsed, CommandError> {
    let lines: Vec<&str> = above_signature(text.trim_start_matches('\u{feff}'));
    let mut commands: Vec<Command> = Vec::new();
    let mut letter: Vec<&str> = Vec::new();
    let mut at_top = true;
    for (index, line) in lines.iter().enumerate() {
        let bare = bare(line);
        if at_top && let Some(rest) = slash(bare) {
            let command = command(rest, index + 1)?;
            if !commands.contains(&command) {
                commands.push(command);
            }
            continue;
        }
        if !bare.is_empty() && !is_quoted(bare) && !is_attribution(&lines, index) {
            at_top = false;
        }
        letter.push(line);
    }
    let words = unquoted_words(&letter);
    agree(&commands, words)?;
    Ok(Parsed { commands, text: Words(trim_empty(&letter).join("\n")), words })
}

/// Lines up to the signature delimiter `-- ` (RFC 3676 section 4.3); a no-break space counts as its space.
fn above_signature(text: &str) -> Vec<&str> {
    text.split('\n')
        .map(|l| l.strip_suffix('\r').unwrap_or(l))
        .take_while(|l| !matches!(*l, "-- " | "--\u{a0}"))
        .collect()
}

/// A line without the blanks and invisible signs that programs put around it.
fn bare(line: &str) -> &str {
    line.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'))
}

/// What follows the slash; the full-width slash of East Asian keyboards is one too.
fn slash(bare: &str) -> Option<&str> {
    bare.strip_prefix(['/', '\u{ff0f}'])
}

fn is_quoted(bare: &str) -> bool {
    bare.starts_with('>')
}

/// "Le 3 mars, Cadre a écrit :": a line that ends with a colon right above a quotation.
fn is_attribution(lines: &[&str], index: usize) -> bool {
    let ends = lines.get(index).is_some_and(|l| bare(l).ends_with(':'));
    let next = lines.iter().skip(index + 1).map(|l| bare(l)).find(|l| !l.is_empty());
    ends && next.is_some_and(is_quoted)
}

/// Words of the letter that the therapist wrote now.
fn unquoted_words(lines: &[&str]) -> usize {
    lines
        .iter()
        .enumerate()
        .filter(|(i, l)| !is_quoted(bare(l)) && !is_attribution(lines, *i))
        .flat_map(|(_, l)| l.split_whitespace())
        .filter(|w| w.chars().any(char::is_alphanumeric))
        .count()
}

/// Without the empty lines at both ends.
fn trim_empty<'a, 'b>(lines: &'b [&'a str]) -> &'b [&'a str] {
    let full = |l: &&str| !bare(l).is_empty();
    let start = lines.iter().position(full).unwrap_or(lines.len());
    let end = lines.iter().rposition(full).map_or(start, |i| i + 1);
    &lines[start..end]
}

/// Lower case, accents gone, compatibility forms alike.
fn fold(text: &str) -> String {
    text.nfkd().filter(|c| !unicode_normalization::char::is_combining_mark(*c)).flat_map(char::to_lowercase).collect()
}

/// One line after its slash.
fn command(rest: &str, line: usize) -> Result<Command, CommandError> {
    let (name, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let folded = fold(name);
    let word = TABLE.iter().find(|(_, names)| names.contains(&folded.as_str())).map(|(word, _)| *word);
    let word = word.ok_or_else(|| CommandError::Unknown { name: Words(bare(name).to_owned()), line })?;
    typed(word, bare(argument))
}

/// A command with its argument read.
fn typed(word: Word, argument: &str) -> Result<Command, CommandError> {
    let command = word.english();
    let bad = CommandError::BadArgument { command };
    let given = || match argument {
        "" => Err(CommandError::MissingArgument { command }),
        text => Ok(Words(text.to_owned())),
    };
    let alone = |value: Command| if argument.is_empty() { Ok(value) } else { Err(bad.clone()) };
    match word {
        Word::To => given()?.as_str().parse().map(Command::To).map_err(|_| bad),
        Word::Cancel => alone(Command::Cancel),
        Word::Urgent => alone(Command::Urgent),
        Word::Now => alone(Command::Now),
        Word::Release => target(argument).map(Command::Release).ok_or(bad),
        Word::Discard => target(argument).map(Command::Discard).ok_or(bad),
        Word::Close => Ok(close(argument)),
        Word::Label => given().map(Command::Label),
        Word::Note => given().map(Command::Note),
        Word::Rhythm => days(given()?.as_str()).map(Command::Rhythm).ok_or(bad),
        Word::Digest => alone(Command::Digest),
        Word::Help => alone(Command::Help),
        Word::Accept => alone(Command::Accept),
        Word::Decline => alone(Command::Decline),
        Word::Pause => alone(Command::Pause),
        Word::Resume => alone(Command::Resume),
        Word::Suspend => alone(Command::Suspend),
        Word::End => alone(Command::End),
        Word::Discharge => Ok(Command::Discharge { silent: silent_or_nothing(argument).ok_or(bad)? }),
        Word::Mute => switch(argument).map(|on| Command::Mute { on }).ok_or(bad),
        Word::Discreet => switch(argument).map(|on| Command::Discreet { on }).ok_or(bad),
        Word::Safety => safety(given()?.as_str()).map(|on| Command::SafetyQuiet { on }).ok_or(bad),
        Word::CheckIn => alone(Command::CheckIn),
        Word::Card => card(argument).map(|ask| Command::Card { ask }).ok_or(bad),
        Word::Video => video(given()?.as_str()).ok_or(bad),
        Word::Key => key(given()?.as_str()).ok_or(bad),
        Word::Rekey => alone(Command::Rekey),
        Word::Channel => fold(given()?.as_str()).parse().map(Command::Channel).map_err(|_| bad),
        Word::Passphrase => alone(Command::Passphrase),
        Word::Told => alone(Command::Told),
        Word::Transfer => given().map(|id| Command::Transfer(TherapistId(id.into_string()))),
        Word::Mode => mode(given()?.as_str()).map(Command::Mode).ok_or(bad),
        Word::Invite => invite(given()?.as_str()),
        Word::Absent => absent(given()?.as_str()).ok_or(bad),
        Word::Back => alone(Command::Back),
    }
}

mod arguments;
mod words;

use arguments::{absent, card, invite, key, mode, safety, silent_or_nothing, switch, video};
use words::{TABLE, Word};

/// Nothing, `H3` or `N-3F`; None for anything else.
fn target(argument: &str) -> Option<Option<Target>> {
    if argument.is_empty() {
        return Some(None);
    }
    let upper = argument.to_uppercase();
    if let Some(number) = upper.strip_prefix('H') {
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        return number.parse().ok().filter(|n| digits && *n > 0).map(|n| Some(Target::Held(n)));
    }
    let signs = upper.strip_prefix("N-")?;
    let good = (1..=8).contains(&signs.len()) && signs.bytes().all(|b| b.is_ascii_alphanumeric());
    good.then_some(Some(Target::Request(upper)))
}

/// `silent`, one line for the client, or nothing.
fn close(argument: &str) -> Command {
    let silent = matches!(fold(argument).as_str(), "silent" | "silencieux" | "silencieuse" | "silence");
    let line = (!silent && !argument.is_empty()).then(|| Words(argument.to_owned()));
    Command::Close { silent, line }
}

/// Days by name, in the week's order without doubles; `all` and `tous` give none. Numbers are an error.
fn days(argument: &str) -> Option<Vec<Weekday>> {
    let folded = fold(argument);
    if matches!(folded.as_str(), "all" | "tous" | "normal") {
        return Some(Vec::new());
    }
    let mut found = Vec::new();
    for name in folded.split([',', ';', ' ', '\u{a0}']).filter(|n| !n.is_empty() && !matches!(*n, "et" | "and")) {
        found.push(day(name)?);
    }
    found.sort_by_key(|d: &Weekday| d.num_days_from_monday());
    found.dedup();
    (!found.is_empty()).then_some(found)
}

/// One day, by a name of at least three letters, in French or English.
fn day(name: &str) -> Option<Weekday> {
    const DAYS: [(Weekday, &str, &str); 7] = [
        (Weekday::Mon, "lundi", "monday"),
        (Weekday::Tue, "mardi", "tuesday"),
        (Weekday::Wed, "mercredi", "wednesday"),
        (Weekday::Thu, "jeudi", "thursday"),
        (Weekday::Fri, "vendredi", "friday"),
        (Weekday::Sat, "samedi", "saturday"),
        (Weekday::Sun, "dimanche", "sunday"),
    ];
    let name = name.trim_end_matches('.');
    let long_enough = name.chars().count() >= 3;
    DAYS.iter().find(|(_, fr, en)| long_enough && (fr.starts_with(name) || en.starts_with(name))).map(|d| d.0)
}

/// Whether the commands go together, and with a text of so many words.
fn agree(commands: &[Command], words: usize) -> Result<(), CommandError> {
    for (i, a) in commands.iter().enumerate() {
        if let Some(b) = commands[i + 1..].iter().find(|b| contradict(a, b)) {
            return Err(CommandError::Contradiction { a: a.name(), b: b.name() });
        }
    }
    for command in commands {
        let name = command.name();
        match command.word() {
            _ if command.refuses_text() && words > 0 => return Err(CommandError::TextNotAllowed { command: name }),
            _ if command.needs_own_words() && words < OWN_WORDS => {
                return Err(CommandError::TooFewWords { command: name, words });
            }
            Word::Now if words == 0 => return Err(CommandError::TextRequired { command: name }),
            Word::Now if words > NOW_WORDS => return Err(CommandError::NowTooLong { words }),
            _ => {}
        }
    }
    Ok(())
}

/// Two commands of one mail that can't both be meant. They are never equal.
fn contradict(a: &Command, b: &Command) -> bool {
    let (x, y) = (a.word(), b.word());
    let same_once = x == y && !matches!(x, Word::Note | Word::Release | Word::Discard);
    let reply = x.decides_the_reply() && y.decides_the_reply();
    let state = x.decides_the_state() && y.decides_the_state();
    // One text can't be two letters, nor a letter and nothing.
    let text = a.takes_text() && b.takes_text();
    let reply_and_state = (x.decides_the_reply() && b.takes_text()) || (y.decides_the_reply() && a.takes_text());
    let alone = x.stands_alone() || y.stands_alone();
    let needs_and_refuses_text =
        |p: &Command, q: &Command| (matches!(p, Command::Now) || p.needs_own_words()) && q.refuses_text();
    let fate = match (a, b) {
        (Command::Release(p), Command::Discard(q)) | (Command::Discard(p), Command::Release(q)) => p == q,
        _ => false,
    };
    same_once
        || reply
        || state
        || text
        || reply_and_state
        || alone
        || fate
        || needs_and_refuses_text(a, b)
        || needs_and_refuses_text(b, a)
}

#[cfg(test)]
mod tests;
