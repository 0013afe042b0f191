//! A terminal of its own for a program, and everything that was shown in it.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rexpect::process::WaitStatus;
use rexpect::session::{PtySession, spawn_command};

/// What a slow machine needs, in milliseconds; where all goes well it costs nothing.
const PATIENCE: u64 = 120_000;

/// A window, and what was shown in it so far. This terminal echoes nothing.
pub struct Terminal {
    session: PtySession,
    seen: String,
}

impl Terminal {
    /// Starts a program in a window that has colours.
    pub fn of(command: &Command, columns: usize) -> Result<Self> {
        let mut shell = Command::new("sh");
        // The shell sets the window's size, then becomes the program; its own status is the program's.
        shell.args(["-c", &format!("stty cols {columns} rows 40 && exec \"$@\"; exit 99"), "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        shell.env("TERM", "xterm").env_remove("NO_COLOR");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            shell.current_dir(folder);
        }
        Ok(Self { session: spawn_command(shell, Some(PATIENCE))?, seen: String::new() })
    }

    /// Waits for what an expression describes.
    pub fn matches(&mut self, expression: &str) -> Result<()> {
        let found = self.session.exp_regex(expression);
        let (before, words) = found.with_context(|| format!("waited for {expression:?} after:\n{}", self.seen))?;
        self.seen.push_str(&before);
        self.seen.push_str(&words);
        Ok(())
    }

    /// Waits for these words, wherever the window's edge has broken them.
    pub fn sees(&mut self, words: &str) -> Result<()> {
        self.matches(&regex::escape(words).replace(' ', "(?:\\s|\x1b\\[[0-9;]*m)+"))
    }

    /// Waits for the prompt, then types.
    pub fn types(&mut self, prompt: &str, line: &str) -> Result<()> {
        self.sees(prompt)?;
        self.sees(": ")?;
        self.session.send_line(line)?;
        Ok(())
    }

    /// A question and its answer, for many.
    pub fn all(&mut self, answers: &[(&str, &str)]) -> Result<()> {
        answers.iter().try_for_each(|(prompt, line)| self.types(prompt, line))
    }

    /// Presses keys.
    pub fn presses(&mut self, keys: &str) -> Result<()> {
        self.session.send(keys)?;
        Ok(self.session.flush()?)
    }

    /// Presses a key with Ctrl.
    pub fn control(&mut self, key: char) -> Result<()> {
        Ok(self.session.send_control(key)?)
    }

    /// Everything to the end, and the exit status.
    pub fn ends(mut self) -> Result<(i32, String)> {
        self.seen.push_str(&self.session.exp_eof()?);
        match self.session.process().wait()? {
            WaitStatus::Exited(_, status) => Ok((status, self.seen)),
            other => bail!("{other:?}\n{}", self.seen),
        }
    }
}

/// What was shown as text: the session gives each octet as a character.
pub fn text(seen: &str) -> String {
    let octets: Vec<u8> = seen.chars().filter_map(|c| u8::try_from(c).ok()).collect();
    String::from_utf8_lossy(&octets).into_owned()
}

/// The same without colours and what a spinner drew.
pub fn plain(seen: &str) -> String {
    let escape = regex::Regex::new("\x1b\\[[0-9;?]*[A-Za-z]").expect("a sound expression");
    escape.replace_all(&text(seen), "").replace('\r', "\n")
}
