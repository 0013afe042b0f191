//! Small blocking clients for SMTP, LMTP and IMAP: enough for a test, and none of Cadre's own code.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, bail};

/// A line-wise conversation.
struct Talk {
    stream: BufReader<TcpStream>,
}

impl Talk {
    fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).with_context(|| format!("port {port} refuses"))?;
        stream.set_read_timeout(Some(super::lab::PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 {
            bail!("the server closed the connection");
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }

    /// Sends a line, reads a whole SMTP reply and fails unless its code begins with `want`.
    fn say(&mut self, line: &str, want: &str) -> Result<String> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.reply(want)
    }

    fn reply(&mut self, want: &str) -> Result<String> {
        let mut whole = String::new();
        loop {
            let line = self.line()?;
            let last = line.as_bytes().get(3) != Some(&b'-');
            whole.push_str(&line);
            if last {
                break;
            }
            whole.push('\n');
        }
        if !whole.starts_with(want) {
            bail!("the server says: {whole}");
        }
        Ok(whole)
    }

    fn data(&mut self, raw: &[u8], replies: usize) -> Result<()> {
        self.say("DATA", "354")?;
        self.write(&dot_stuffed(raw))?;
        for _ in 0..replies {
            self.reply("250")?;
        }
        self.say("QUIT", "221").map(drop)
    }
}

/// CRLF line ends, leading dots doubled, the closing dot.
fn dot_stuffed(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 64);
    let body = raw.strip_suffix(b"\n").unwrap_or(raw);
    for line in body.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// Sends one mail over SMTP on loopback, without TLS. An empty `from` is the null return path.
pub fn smtp_send(port: u16, from: &str, to: &[&str], raw: &[u8]) -> Result<()> {
    let mut talk = Talk::connect(port)?;
    talk.reply("220")?;
    talk.say("EHLO personne.example", "250")?;
    talk.say(&format!("MAIL FROM:<{from}>"), "250")?;
    for address in to {
        talk.say(&format!("RCPT TO:<{address}>"), "250")?;
    }
    talk.data(raw, 1)
}

/// Delivers one mail over LMTP.
pub fn lmtp_deliver(port: u16, from: &str, to: &str, raw: &[u8]) -> Result<()> {
    let mut talk = Talk::connect(port)?;
    talk.reply("220")?;
    talk.say("LHLO labo.example", "250")?;
    talk.say(&format!("MAIL FROM:<{from}>"), "250")?;
    talk.say(&format!("RCPT TO:<{to}>"), "250")?;
    talk.data(raw, 1)
}

/// One untagged answer of an IMAP server: its text, and its literals in order.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub text: String,
    pub literals: Vec<Vec<u8>>,
}

/// An IMAP session on loopback.
pub struct Imap {
    talk: Talk,
    tag: usize,
}

impl Imap {
    pub fn connect(port: u16) -> Result<Self> {
        let mut talk = Talk::connect(port)?;
        let greeting = talk.line()?;
        if !greeting.starts_with("* OK") {
            bail!("the IMAP server says: {greeting}");
        }
        Ok(Self { talk, tag: 0 })
    }

    pub fn login(&mut self, user: &str, password: &str) -> Result<()> {
        self.command(&format!("LOGIN {} {}", quoted(user), quoted(password))).map(drop)
    }

    /// Sends a command, returns the untagged answers; anything but OK is an error.
    pub fn command(&mut self, command: &str) -> Result<Vec<Answer>> {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        self.talk.write(format!("{tag} {command}\r\n").as_bytes())?;
        self.finish(&tag)
    }

    fn finish(&mut self, tag: &str) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        loop {
            let answer = self.answer()?;
            if let Some(rest) = answer.text.strip_prefix(tag) {
                if !rest.trim_start().starts_with("OK") {
                    bail!("the IMAP server says:{rest}");
                }
                return Ok(answers);
            }
            answers.push(answer);
        }
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut answer = Answer::default();
        loop {
            let line = self.talk.line()?;
            let size = line.strip_suffix('}').and_then(|l| l.rsplit_once('{')).and_then(|(_, n)| n.parse().ok());
            answer.text.push_str(&line);
            let Some(size) = size else { return Ok(answer) };
            let mut literal = vec![0; size];
            self.talk.stream.read_exact(&mut literal)?;
            answer.literals.push(literal);
        }
    }

    /// Names of all folders that can be opened.
    pub fn folders(&mut self) -> Result<Vec<String>> {
        let answers = self.command("LIST \"\" \"*\"")?;
        Ok(answers
            .iter()
            .filter(|a| a.text.starts_with("* LIST") && !a.text.contains("\\Noselect"))
            .filter_map(|a| match a.literals.first() {
                Some(name) => Some(String::from_utf8_lossy(name).into_owned()),
                None => a.text.split_once(") ")?.1.split_once(' ').map(|(_, name)| unquoted(name)),
            })
            .collect())
    }

    /// Opens a folder and says how many mails it has.
    pub fn select(&mut self, folder: &str) -> Result<usize> {
        let answers = self.command(&format!("SELECT {}", quoted(folder)))?;
        let count = answers.iter().find_map(|a| a.text.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok());
        count.context("SELECT didn't say EXISTS")
    }

    /// The raw bytes of every mail in the folder, oldest first; flags are left as they are.
    pub fn fetch_all(&mut self, folder: &str) -> Result<Vec<Vec<u8>>> {
        if self.select(folder)? == 0 {
            return Ok(Vec::new());
        }
        let answers = self.command("FETCH 1:* (UID BODY.PEEK[])")?;
        Ok(answers.into_iter().filter_map(|a| a.literals.into_iter().next()).collect())
    }

    /// Adds a mail; `internal_date` as in RFC 3501: `02-Mar-2026 06:30:00 +0000`.
    pub fn append(&mut self, folder: &str, raw: &[u8], internal_date: Option<&str>) -> Result<()> {
        self.tag += 1;
        let tag = format!("t{}", self.tag);
        let date = internal_date.map(|d| format!("\"{d}\" ")).unwrap_or_default();
        self.talk.write(format!("{tag} APPEND {} {date}{{{}}}\r\n", quoted(folder), raw.len()).as_bytes())?;
        let go = self.talk.line()?;
        if !go.starts_with('+') {
            bail!("the IMAP server says: {go}");
        }
        self.talk.write(raw)?;
        self.talk.write(b"\r\n")?;
        self.finish(&tag).map(drop)
    }

    /// Moves mail number `number` (1 is the oldest) of `from` to `to`.
    pub fn move_mail(&mut self, from: &str, number: usize, to: &str) -> Result<()> {
        self.select(from)?;
        self.command(&format!("MOVE {number} {}", quoted(to))).map(drop)
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.to_owned(),
    }
}
