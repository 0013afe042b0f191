//! One question on a terminal: its default in brackets, `?` explains, a wrong answer is asked again with the reason.

use std::io::{BufRead as _, ErrorKind, Write as _};

use textwrap::{Options, fill};
use zeroize::Zeroizing;

use super::InitError;
use crate::cli::colour;

/// Where a terminal doesn't say how wide it is.
const USUAL_WIDTH: usize = 80;

/// How things are shown here.
pub(super) struct Screen {
    width: usize,
    colour: bool,
}

/// A question.
pub(super) struct Question<'a> {
    pub name: &'a str,
    /// One line of what it is for, always shown.
    pub why: &'a str,
    /// A good answer, shown after a wrong one and on `?`.
    pub example: &'a str,
    /// What Enter takes.
    pub default: Option<String>,
    /// What isn't possible when nothing is answered; none: an answer is needed.
    pub without: Option<&'a str>,
}

impl Screen {
    pub fn new() -> Self {
        let out = std::io::stdout();
        Self { width: colour::width(&out).unwrap_or(USUAL_WIDTH), colour: colour::on(&out) }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Lines no wider than the window, all of them indented; a long word such as a path stays whole.
    pub fn folded(&self, indent: usize, text: &str) -> String {
        let margin = " ".repeat(indent);
        let options = Options::new(self.width).initial_indent(&margin).subsequent_indent(&margin).break_words(false);
        fill(text, options)
    }

    /// A text that is laid out already: longer lines go on below their own indentation. A step that is a command stays
    /// on one line, to be copied.
    pub fn refolded(&self, text: &str) -> String {
        let is_command = |line: &str| line.split_once(". ").is_some_and(|(_, step)| step.starts_with("cadre "));
        let one = |line: &str| match line.len() - line.trim_start().len() {
            _ if line.trim().is_empty() => String::new(),
            _ if is_command(line) => line.to_owned(),
            indent => self.folded(indent, line.trim_start()),
        };
        text.lines().map(|line| one(line) + "\n").collect()
    }

    pub fn heading(&self, text: &str) {
        println!("\n{}", self.paint("1", &self.folded(0, text)));
    }

    pub fn say(&self, text: &str) {
        println!("{}", self.folded(2, text));
    }

    pub fn good(&self, text: &str) {
        println!("{}", self.paint("32", &self.folded(2, &format!("✓ {text}"))));
    }

    /// What is wrong, and below it what to do.
    pub fn wrong(&self, cause: &str, remedy: &str) {
        println!("{}", self.paint("31", &self.folded(4, &format!("✗ {cause}"))));
        if !remedy.is_empty() {
            println!("{}", self.folded(6, &format!("→ {remedy}")));
        }
    }

    /// Asks until `judge` takes the answer, and gives it; empty where that is allowed.
    ///
    /// # Errors
    /// [`InitError::Ended`] when the terminal goes away.
    pub fn ask(
        &self,
        question: &Question<'_>,
        judge: impl Fn(&str) -> Result<(), (String, String)>,
    ) -> Result<String, InitError> {
        println!("{}", self.paint("2", &self.folded(2, question.why)));
        let default = question.default.as_deref().filter(|text| !text.is_empty());
        loop {
            let shown = default.map_or(String::new(), |text| format!(" [{text}]"));
            print!("{}", self.folded(2, &format!("{}{shown}:", question.name)));
            let typed = line()?;
            let answer = match (typed.as_str(), default) {
                ("?", _) => {
                    self.explain(question);
                    continue;
                }
                ("", Some(default)) => default.to_owned(),
                // A default that isn't wanted is taken away by a dash.
                ("" | "-", _) => match question.without {
                    Some(without) => {
                        self.say(&format!("Left empty: {without}."));
                        return Ok(String::new());
                    }
                    None => {
                        self.wrong("an answer is needed", &format!("for example: {}", question.example));
                        continue;
                    }
                },
                (typed, _) => typed.to_owned(),
            };
            match judge(&answer) {
                Ok(()) => return Ok(answer),
                Err((cause, remedy)) => self.wrong(&cause, &remedy),
            }
        }
    }

    fn explain(&self, question: &Question<'_>) {
        let example = if question.example.is_empty() { "" } else { "For example: " };
        let enter = match (question.default.as_deref(), question.without) {
            (Some(default), _) if !default.is_empty() => "Enter takes what stands in brackets.".to_owned(),
            (_, Some(without)) => format!("Enter leaves it empty; then {without}."),
            _ => "An answer is needed.".to_owned(),
        };
        self.say(&format!("{example}{}", question.example));
        self.say(&format!("{enter} Ctrl-C ends, and nothing is left behind."));
    }

    /// Yes or no.
    ///
    /// # Errors
    /// [`InitError::Ended`] when the terminal goes away.
    pub fn agree(&self, what: &str, why: &str) -> Result<bool, InitError> {
        let question =
            Question { name: what, why, example: "yes, or no", default: Some("yes".to_owned()), without: None };
        let word = |text: &str| match text.to_lowercase().as_str() {
            "y" | "yes" | "o" | "oui" => Some(true),
            "n" | "no" | "non" => Some(false),
            _ => None,
        };
        let judge = |text: &str| match word(text) {
            Some(_) => Ok(()),
            None => Err(("that is neither yes nor no".to_owned(), "type yes or no".to_owned())),
        };
        self.ask(&question, judge).map(|answer| word(&answer).unwrap_or(false))
    }

    /// What is typed without being shown; none when it is empty.
    ///
    /// # Errors
    /// [`InitError::Ended`] when the terminal goes away, [`InitError::Interrupted`] at Ctrl-C.
    pub fn secret(&self, name: &str, why: &str) -> Result<Option<Zeroizing<Vec<u8>>>, InitError> {
        println!("{}", self.paint("2", &self.folded(2, why)));
        let prompt = format!("{} ", self.folded(2, &format!("{name} (not shown):")));
        let typed = Zeroizing::new(rpassword::prompt_password(prompt).map_err(|error| match error.kind() {
            // Ctrl-C ends the reading of a password by itself, before or after its signal is served.
            ErrorKind::Interrupted => InitError::Interrupted,
            _ => InitError::Ended,
        })?);
        Ok((!typed.is_empty()).then(|| Zeroizing::new(typed.as_bytes().to_vec())))
    }
}

/// One line from the terminal, without its ends. What is no text counts as nothing.
fn line() -> Result<String, InitError> {
    print!(" ");
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(0) => Err(InitError::Ended),
        Ok(_) => Ok(line.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(String::new()),
        Err(_) => Err(InitError::Ended),
    }
}
