//! What the audience sees: scenes, commands as they would be typed, boxes with what a mail program shows.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::time::Instant;

use anyhow::{Result, bail};

/// Columns of the page.
const WIDTH: usize = 80;

/// The printed page, and everything that was seen to happen.
pub struct Stage {
    colour: bool,
    scene: usize,
    began: Instant,
    seen: usize,
    cast: Vec<(String, usize)>,
    /// The last line was a mark: what comes next wants air.
    marked: Cell<bool>,
}

impl Stage {
    pub fn new() -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, scene: 0, began: Instant::now(), seen: 0, cast: Vec::new(), marked: Cell::new(false) }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn air(&self) {
        if self.marked.replace(false) {
            println!();
        }
    }

    /// A line across the page with a number, a time and a title.
    pub fn scene(&mut self, time: &str, title: &str) {
        self.marked.set(false);
        self.scene += 1;
        let head = format!("── {} ── {time} ── {title} ", self.scene);
        let rule = "─".repeat(WIDTH.saturating_sub(head.chars().count()));
        println!("\n{}\n", self.paint("1;36", &format!("{head}{rule}")));
        self.cast.push((format!("{time}: {title}"), 0));
    }

    /// A paragraph of the story.
    pub fn say(&self, text: &str) {
        self.air();
        for line in wrap(text, WIDTH - 2) {
            println!("{line}");
        }
        println!();
    }

    /// A command as somebody would type it, and what it printed.
    pub fn typed(&self, command: &str, output: &str) {
        self.air();
        for (i, line) in command.lines().enumerate() {
            println!("{}", self.paint("1", &format!("{}{line}", if i == 0 { "  $ " } else { "      " })));
        }
        for line in output.trim_end().lines() {
            for piece in wrap_hanging(line, WIDTH - 4) {
                println!("  {}", self.paint("2", &piece));
            }
        }
        println!();
    }

    /// What a mail program shows.
    pub fn boxed(&self, title: &str, lines: &[String]) {
        self.air();
        let inside = WIDTH - 6;
        let head = cut(&format!("─ {title} "), inside + 2);
        let rule = "─".repeat((inside + 2).saturating_sub(head.chars().count()));
        println!("  {}", self.paint("33", &format!("┌{head}{rule}┐")));
        let edge = self.paint("33", "│");
        for line in lines {
            let pieces = if line.is_empty() { vec![String::new()] } else { wrap_hanging(line, inside) };
            for piece in pieces {
                let pad = " ".repeat(inside.saturating_sub(piece.chars().count()));
                println!("  {edge} {piece}{pad} {edge}");
            }
        }
        println!("  {}\n", self.paint("33", &format!("└{}┘", "─".repeat(inside + 2))));
    }

    /// In English, what the French above says.
    pub fn gloss(&self, text: &str) {
        for line in wrap(&format!("In English: {text}"), WIDTH - 6) {
            println!("    {}", self.paint("3", &line));
        }
        println!();
    }

    /// Notes that something was seen to happen, or ends the play.
    ///
    /// # Errors
    /// When it wasn't: with what was expected and `found`.
    pub fn seen(&mut self, happened: bool, what: &str, found: &dyn Fn() -> String) -> Result<()> {
        if !happened {
            println!("  {} {what}", self.paint("1;31", "✗"));
            bail!("scene {}: not seen: {what}\n{}", self.scene, found());
        }
        for (i, line) in wrap(what, WIDTH - 4).iter().enumerate() {
            let mark = if i == 0 { "✓" } else { " " };
            println!("  {} {line}", self.paint("32", mark));
        }
        self.marked.set(true);
        self.seen += 1;
        if let Some((_, count)) = self.cast.last_mut() {
            *count += 1;
        }
        Ok(())
    }

    /// The summary: what was seen in each scene, and how long it took.
    pub fn end(&self) {
        println!("\n{}\n", self.paint("1;36", &"─".repeat(WIDTH)));
        println!("Seen to happen, scene by scene:\n");
        for (i, (title, count)) in self.cast.iter().enumerate() {
            println!("  {} {:>2}. {}", self.paint("32", "✓"), i + 1, cut(&format!("{title} ({count})"), WIDTH - 8));
        }
        let took = self.began.elapsed().as_secs_f64();
        println!("\n{} facts checked in {took:.0} s, on a real Dovecot and a real Postfix. All held.", self.seen);
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

/// Breaks at spaces; a word that is too long is broken where the line ends.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let line = lines.last_mut().map_or(0, |line| line.chars().count());
            let gap = usize::from(line > 0);
            if line + gap + word.len() <= width {
                if let Some(last) = lines.last_mut() {
                    last.push_str(&" ".repeat(gap));
                    last.extend(word);
                }
                break;
            }
            if line > 0 {
                lines.push(String::new());
                continue;
            }
            let rest = word.split_off(width);
            if let Some(last) = lines.last_mut() {
                last.extend(word);
            }
            lines.push(String::new());
            word = rest;
        }
    }
    lines
}

/// Keeps a line as it stands if it fits; else breaks it at a space and indents what follows a little more.
fn wrap_hanging(line: &str, width: usize) -> Vec<String> {
    let mut rest: Vec<char> = line.trim_end().chars().collect();
    let indent = rest.iter().take_while(|c| **c == ' ').count().min(width / 2);
    let pad = vec![' '; if indent > 0 { indent + 2 } else { 0 }];
    let mut lines = Vec::new();
    while rest.len() > width {
        let space = (pad.len() + 1..=width).rev().find(|at| rest[*at] == ' ').unwrap_or(width);
        let tail: Vec<char> = rest.split_off(space).into_iter().skip_while(|c| *c == ' ').collect();
        lines.push(rest.iter().collect::<String>().trim_end().to_owned());
        rest = pad.iter().copied().chain(tail).collect();
    }
    lines.push(rest.into_iter().collect());
    lines
}
