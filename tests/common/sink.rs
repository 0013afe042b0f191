//! A scripted SMTP listener: remembers every mail, and misbehaves when told to.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::lab::wait;
use super::wire::lmtp_deliver;

/// How the listener answers one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 250: taken.
    Accept,
    /// This reply to MAIL FROM, for example `"550 5.7.1 no null return path"`.
    AtMail(String),
    /// This reply to RCPT TO.
    AtRcpt(String),
    /// This reply after the closing dot (`"451 4.3.0 later"`, `"552 5.3.4 too big"`); the mail isn't kept.
    AfterDot(String),
    /// The mail is taken, and the connection cut before the client hears of it.
    CutAfterDot,
    /// The connection is cut at the word DATA; nothing is kept.
    CutAtData,
    /// The connection is cut before the greeting.
    CutAtOnce,
}

/// A mail as the listener took it.
#[derive(Clone, Debug)]
pub struct Caught {
    pub from: String,
    pub to: Vec<String>,
    pub data: Vec<u8>,
    /// When the closing dot arrived.
    pub at: Instant,
    /// False where the client was cut off before it heard 250.
    pub acknowledged: bool,
}

type Rule = Box<dyn Fn(&str, &[String]) -> Answer + Send>;

#[derive(Default)]
struct State {
    mails: Mutex<Vec<Caught>>,
    next: Mutex<VecDeque<Answer>>,
    rule: Mutex<Option<Rule>>,
    connections: AtomicUsize,
    ended: AtomicBool,
    lmtp: Option<u16>,
    domains: Vec<String>,
}

/// The listener; dropping it closes the port.
pub struct Sink {
    pub port: u16,
    state: Arc<State>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink {
    /// Takes everything, delivers nothing.
    pub fn start() -> Result<Self> {
        Self::with(State::default())
    }

    /// Takes everything and hands what is for one of `domains` to an LMTP server.
    pub fn relaying(lmtp_port: u16, domains: Vec<String>) -> Result<Self> {
        Self::with(State { lmtp: Some(lmtp_port), domains, ..State::default() })
    }

    fn with(state: State) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // A client that hangs up in the middle is part of the game.
                    let _ = serve(stream, &shared);
                });
            }
        });
        Ok(Self { port, state })
    }

    /// Answers for the next mails, in order; afterwards the rule, or acceptance.
    pub fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        locked(&self.state.next).extend(answers);
    }

    /// Decides by return path and recipients for every mail that no script covers.
    pub fn rule(&self, rule: impl Fn(&str, &[String]) -> Answer + Send + 'static) {
        *locked(&self.state.rule) = Some(Box::new(rule));
    }

    /// Everything taken so far, in order of arrival.
    pub fn mails(&self) -> Vec<Caught> {
        locked(&self.state.mails).clone()
    }

    pub fn count(&self) -> usize {
        locked(&self.state.mails).len()
    }

    /// Forgets what was taken, to keep a bench's memory small.
    pub fn clear(&self) {
        locked(&self.state.mails).clear();
    }

    /// Connections opened so far: tells whether one is used again.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Waits for at least `count` mails.
    pub fn wait(&self, count: usize, limit: Duration) -> Result<Vec<Caught>> {
        wait(&format!("{count} mail(s) at the SMTP listener"), limit, || Ok((self.count() >= count).then_some(())))?;
        Ok(self.mails())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees the mark and closes the port.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(stream: TcpStream, state: &State) -> Result<()> {
    state.connections.fetch_add(1, Ordering::SeqCst);
    stream.set_nodelay(true)?;
    if locked(&state.next).front() == Some(&Answer::CutAtOnce) {
        locked(&state.next).pop_front();
        return Ok(());
    }
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    let mut say = |line: &str| out.write_all(format!("{line}\r\n").as_bytes());
    let (mut from, mut to) = (String::new(), Vec::<String>::new());
    let mut planned = None;
    say("220 sink.example ESMTP")?;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => say("250-sink.example\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n\
                           250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN")?,
            "HELO" => say("250 sink.example")?,
            "AUTH" => {
                authenticate(line, &mut input, &mut say)?;
            }
            "MAIL" => {
                from = path(line);
                to.clear();
                planned = locked(&state.next).pop_front();
                let answer = planned.clone().or_else(|| locked(&state.rule).as_ref().map(|r| r(&from, &[])));
                match answer {
                    Some(Answer::AtMail(reply)) => say(&reply)?,
                    _ => say("250 2.1.0 Ok")?,
                }
            }
            "RCPT" => {
                to.push(path(line));
                match decide(state, planned.as_ref(), &from, &to) {
                    Answer::AtRcpt(reply) => {
                        to.pop();
                        say(&reply)?;
                    }
                    _ => say("250 2.1.5 Ok")?,
                }
            }
            "DATA" if to.is_empty() => say("503 5.5.1 no recipient")?,
            "DATA" => {
                let answer = decide(state, planned.take().as_ref(), &from, &to);
                if answer == Answer::CutAtData {
                    return Ok(());
                }
                say("354 go on")?;
                let data = read_data(&mut input)?;
                let acknowledged = answer != Answer::CutAfterDot;
                if let Answer::AfterDot(reply) = answer {
                    say(&reply)?;
                    continue;
                }
                take(state, Caught { from: from.clone(), to: to.clone(), data, at: Instant::now(), acknowledged });
                if !acknowledged {
                    return Ok(());
                }
                say("250 2.0.0 taken")?;
            }
            "RSET" => {
                planned = None;
                to.clear();
                say("250 2.0.0 Ok")?;
            }
            "NOOP" => say("250 2.0.0 Ok")?,
            "QUIT" => return Ok(say("221 2.0.0 Bye")?),
            _ => say("500 5.5.2 unknown")?,
        }
    }
}

fn decide(state: &State, planned: Option<&Answer>, from: &str, to: &[String]) -> Answer {
    match planned {
        Some(answer) => answer.clone(),
        None => locked(&state.rule).as_ref().map_or(Answer::Accept, |rule| rule(from, to)),
    }
}

/// Any name and password will do.
fn authenticate(
    line: &str,
    input: &mut BufReader<TcpStream>,
    say: &mut impl FnMut(&str) -> std::io::Result<()>,
) -> Result<()> {
    let mut skip = String::new();
    let words: Vec<_> = line.split(' ').collect();
    let prompts: &[&str] = match (words.get(1).map(|w| w.to_ascii_uppercase()).as_deref(), words.len()) {
        (Some("LOGIN"), 2) => &["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"],
        (Some("LOGIN"), _) => &["334 UGFzc3dvcmQ6"],
        (_, 2) => &["334 "],
        _ => &[],
    };
    for prompt in prompts {
        say(prompt)?;
        input.read_line(&mut skip)?;
    }
    Ok(say("235 2.7.0 Ok")?)
}

fn path(line: &str) -> String {
    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or_else(String::new, |(p, _)| p.to_owned())
}

fn read_data(input: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let start = data.len();
        if input.read_until(b'\n', &mut data)? == 0 {
            anyhow::bail!("cut in the data");
        }
        match &data[start..] {
            b".\r\n" | b".\n" => {
                data.truncate(start);
                return Ok(data);
            }
            [b'.', ..] => {
                data.remove(start);
            }
            _ => {}
        }
    }
}

fn take(state: &State, mail: Caught) {
    if let Some(port) = state.lmtp {
        for to in &mail.to {
            let local = to.rsplit_once('@').is_some_and(|(_, domain)| state.domains.iter().any(|d| d == domain));
            if local && let Err(e) = lmtp_deliver(port, &mail.from, to, &mail.data) {
                eprintln!("laboratory: a mail was taken but not delivered: {e:#}");
            }
        }
    }
    locked(&state.mails).push(mail);
}
