//! Bad networks and bad servers between the program and a real one. The proxy knows where a command begins and an
//! answer ends, so that a test says *where* something breaks: `CutAfter` at `UID EXPUNGE` is a server that has expunged
//! and was never heard again.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// What goes wrong at a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is cut when the command comes: the server never sees it.
    CutBefore,
    /// The server obeys and answers; nothing of the answer comes, the connection is cut.
    CutAfter,
    /// So many bytes of the answer come, then the connection is cut.
    CutWithin(usize),
    /// The answer lacks so many bytes before its end, and the connection goes on.
    Truncate(usize),
    /// Nothing of the answer comes, and no connection ends.
    Stall,
    /// The answer comes byte by byte, each in a packet of its own.
    Trickle,
    /// This is said in the server's place: `NO [OVERQUOTA] full`, `BAD what`, `BYE off`, `451 4.3.0 later`. After BYE
    /// and 421 the connection ends.
    Say(&'static str),
}

/// A fault, the command it is for, and how often it happens.
struct Rule {
    /// Begins with the first part; has the others, which stand after a `*`: `UID FETCH*BODY.PEEK[]`. `greeting` is
    /// what a server says first, `dot` the end of a mail's content.
    command: String,
    skip: u32,
    times: u32,
    fault: Fault,
}

impl Rule {
    fn is_for(&self, command: &str) -> bool {
        let command = command.to_ascii_uppercase();
        let mut parts = self.command.split('*').map(str::to_ascii_uppercase);
        parts.next().is_some_and(|first| command.starts_with(&first)) && parts.all(|part| command.contains(&part))
    }
}

#[derive(Default)]
struct State {
    rules: Mutex<Vec<Rule>>,
    hits: AtomicU32,
    connections: AtomicU32,
    silent: AtomicBool,
    ended: AtomicBool,
    /// Every command so far, in order of arrival.
    heard: Mutex<Vec<String>>,
    /// Both ends of every connection that is open.
    open: Mutex<Vec<TcpStream>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// What happens at this command, if anything does.
    fn fault(&self, command: &str) -> Option<Fault> {
        locked(&self.heard).push(command.to_ascii_uppercase());
        let mut rules = locked(&self.rules);
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && rule.is_for(command))?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        self.hits.fetch_add(1, Ordering::SeqCst);
        Some(rule.fault.clone())
    }

    /// What the server says goes no further while it is silent.
    fn hold_while_silent(&self) {
        while self.silent.load(Ordering::SeqCst) && !self.ended.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Stands between the program and a server on 127.0.0.1; dropping it ends all its connections.
pub struct FaultProxy {
    pub port: u16,
    state: Arc<State>,
}

impl FaultProxy {
    /// In front of an IMAP server.
    pub fn imap(target: u16) -> Result<Self> {
        Self::before(target, imap)
    }

    /// In front of an SMTP server.
    pub fn smtp(target: u16) -> Result<Self> {
        Self::before(target, smtp)
    }

    fn before(target: u16, serve: fn(TcpStream, TcpStream, &Arc<State>) -> Result<()>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    for stream in [&client, &server] {
                        let _ = stream.set_nodelay(true);
                        locked(&shared.open).extend(stream.try_clone());
                    }
                    let ends = [client.try_clone(), server.try_clone()];
                    // Whatever ends it, both sides are to see it.
                    let _ = serve(client, server, &shared);
                    ends.into_iter().flatten().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
                });
            }
        });
        Ok(Self { port, state })
    }

    /// From now on this happens, once, at the first such command.
    pub fn once(&self, command: &str, fault: Fault) {
        self.at(command, 0, 1, fault);
    }

    /// From now on this happens at each such command.
    pub fn always(&self, command: &str, fault: Fault) {
        self.at(command, 0, u32::MAX, fault);
    }

    /// From now on this happens `times` times, after `skip` such commands that go well.
    pub fn at(&self, command: &str, skip: u32, times: u32, fault: Fault) {
        locked(&self.state.rules).push(Rule { command: command.to_owned(), skip, times, fault });
    }

    /// All is well again; connections that are stalled are cut.
    pub fn heal(&self) {
        locked(&self.state.rules).clear();
        self.cut();
    }

    /// Cuts every open connection.
    pub fn cut(&self) {
        locked(&self.state.open).drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    }

    /// The server's answers don't come through any more, its greeting neither, but no connection ends.
    pub fn silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }

    /// How many commands that begin so have come.
    pub fn heard(&self, command: &str) -> usize {
        locked(&self.state.heard).iter().filter(|heard| heard.starts_with(command)).count()
    }

    /// How many faults have happened.
    pub fn hits(&self) -> u32 {
        self.state.hits.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub fn connections(&self) -> u32 {
        self.state.connections.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn read_line(from: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.is_empty() {
        bail!("the other side has gone");
    }
    Ok(line)
}

/// The length of the literal that a line announces, and whether its sender waits for an invitation.
fn literal(line: &[u8]) -> Option<(usize, bool)> {
    let text = String::from_utf8_lossy(line).trim_end().strip_suffix('}')?.to_owned();
    let (_, count) = text.rsplit_once('{')?;
    let bare = count.trim_end_matches(['+', '-']);
    Some((bare.parse().ok()?, bare == count))
}

fn trickle(to: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    bytes.iter().try_for_each(|byte| to.write_all(std::slice::from_ref(byte)))?;
    Ok(())
}

/// Until the client goes or the proxy ends.
fn hold(client: &mut impl std::io::Read) -> Result<()> {
    let mut buffer = [0; 4096];
    while client.read(&mut buffer)? > 0 {}
    bail!("the client lost patience")
}

/// Commands under way: tag, fault, and how much of the answer has come.
struct UnderWay {
    tag: String,
    fault: Option<Fault>,
    passed: usize,
}

/// The side towards an IMAP client, which two threads write to.
struct ImapClient {
    out: Mutex<TcpStream>,
    under_way: Mutex<VecDeque<UnderWay>>,
}

impl ImapClient {
    fn say(&self, bytes: &[u8]) -> Result<()> {
        Ok(locked(&self.out).write_all(bytes)?)
    }
}

fn imap(client: TcpStream, server: TcpStream, state: &Arc<State>) -> Result<()> {
    let near = Arc::new(ImapClient { out: Mutex::new(client.try_clone()?), under_way: Mutex::default() });
    let (answers, ends) = (server.try_clone()?, [client.try_clone()?, server.try_clone()?]);
    let (shared, greeting, all) = (Arc::clone(&near), state.fault("greeting"), Arc::clone(state));
    let down = std::thread::spawn(move || {
        let _ = imap_answers(BufReader::new(answers), &shared, greeting, &all);
        ends.into_iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
    });
    let ended = imap_commands(BufReader::new(client), server, &near, state);
    let _ = locked(&near.out).shutdown(Shutdown::Both);
    let _ = down.join();
    ended
}

fn imap_commands(
    mut client: BufReader<TcpStream>,
    mut server: TcpStream,
    near: &ImapClient,
    state: &State,
) -> Result<()> {
    loop {
        let mut line = read_line(&mut client)?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let Some((tag, command)) = text.split_once(' ') else {
            // DONE, or what AUTHENTICATE asked for.
            server.write_all(&line)?;
            continue;
        };
        let fault = state.fault(command);
        let answered = match &fault {
            Some(Fault::CutBefore) => bail!("cut before {command}"),
            Some(Fault::Say(words)) if words.starts_with("BYE") => {
                near.say(format!("* {words}\r\n").as_bytes())?;
                bail!("said good-bye");
            }
            Some(Fault::Say(words)) => {
                near.say(format!("{tag} {words}\r\n").as_bytes())?;
                true
            }
            _ => false,
        };
        if !answered {
            locked(&near.under_way).push_back(UnderWay { tag: tag.to_owned(), fault, passed: 0 });
        }
        // The rest of the command: literals, and what stands behind them.
        loop {
            if !answered {
                server.write_all(&line)?;
            }
            let Some((length, waits)) = literal(&line) else { break };
            if answered && waits {
                break;
            }
            let mut content = vec![0; length];
            client.read_exact(&mut content)?;
            if !answered {
                server.write_all(&content)?;
            }
            line = read_line(&mut client)?;
        }
    }
}

/// One answer: its lines and literals.
fn imap_answer(server: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = read_line(server)?;
        whole.extend_from_slice(&line);
        let Some((length, _)) = literal(&line) else { return Ok(whole) };
        let start = whole.len();
        whole.resize(start + length, 0);
        server.read_exact(&mut whole[start..])?;
    }
}

fn imap_answers(
    mut server: BufReader<TcpStream>,
    near: &ImapClient,
    greeting: Option<Fault>,
    state: &State,
) -> Result<()> {
    let hello = imap_answer(&mut server)?;
    state.hold_while_silent();
    match greeting {
        None => near.say(&hello)?,
        Some(Fault::Stall) => loop {
            imap_answer(&mut server)?;
        },
        Some(fault) => imap_greeting(near, &hello, fault)?,
    }
    loop {
        let mut answer = imap_answer(&mut server)?;
        state.hold_while_silent();
        let tag = String::from_utf8_lossy(&answer).split(' ').next().unwrap_or_default().to_owned();
        let (fault, passed, last) = {
            let mut under_way = locked(&near.under_way);
            let at = under_way.iter().position(|one| one.tag == tag);
            let last = at.is_some();
            match under_way.get_mut(at.unwrap_or(0)) {
                None => (None, 0, false),
                Some(one) => {
                    let (fault, passed) = (one.fault.clone(), one.passed);
                    one.passed += answer.len();
                    if fault.as_ref().is_some_and(|fault| matches!(fault, Fault::Truncate(_))) {
                        one.fault = None;
                    }
                    if let Some(at) = at {
                        under_way.remove(at);
                    }
                    (fault, passed, last)
                }
            }
        };
        let invitation = tag.starts_with('+');
        match fault {
            None | Some(Fault::CutBefore | Fault::Say(_)) => near.say(&answer)?,
            Some(Fault::CutAfter) if last => bail!("cut after the answer"),
            Some(Fault::CutAfter) if invitation => near.say(&answer)?,
            Some(Fault::CutAfter | Fault::Stall) => {}
            Some(Fault::CutWithin(bytes)) if passed + answer.len() >= bytes || last => {
                near.say(&answer[..bytes.saturating_sub(passed).min(answer.len())])?;
                bail!("cut within the answer");
            }
            Some(Fault::CutWithin(_)) => near.say(&answer)?,
            Some(Fault::Truncate(bytes)) => {
                let end = answer.len().saturating_sub(3);
                answer.drain(end.saturating_sub(bytes)..end);
                near.say(&answer)?;
            }
            Some(Fault::Trickle) => trickle(&mut locked(&near.out), &answer)?,
        }
    }
}

fn imap_greeting(near: &ImapClient, hello: &[u8], fault: Fault) -> Result<()> {
    match fault {
        Fault::CutBefore | Fault::CutAfter | Fault::Stall => bail!("cut at the greeting"),
        Fault::CutWithin(bytes) => {
            near.say(&hello[..bytes.min(hello.len())])?;
            bail!("cut within the greeting")
        }
        Fault::Say(words) => {
            near.say(format!("* {words}\r\n").as_bytes())?;
            bail!("turned away")
        }
        Fault::Trickle => trickle(&mut locked(&near.out), hello),
        // Cut short: the line's end is there all the same.
        Fault::Truncate(bytes) => {
            let kept = hello.len().saturating_sub(2 + bytes);
            near.say(&[&hello[..kept], b"\r\n"].concat())
        }
    }
}

fn smtp_reply(server: &mut BufReader<TcpStream>) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = read_line(server)?;
        whole.extend_from_slice(&line);
        if line.get(3) != Some(&b'-') {
            return Ok(whole);
        }
    }
}

/// One SMTP dialogue, command by command: also what the client sends together is answered one by one.
struct SmtpTalk {
    client: BufReader<TcpStream>,
    server: BufReader<TcpStream>,
    state: Arc<State>,
}

fn smtp(client: TcpStream, server: TcpStream, state: &Arc<State>) -> Result<()> {
    let mut talk =
        SmtpTalk { client: BufReader::new(client), server: BufReader::new(server), state: Arc::clone(state) };
    talk.exchange("greeting", b"")?;
    // Whether MAIL was refused in the server's place: it knows of no transaction.
    let mut nothing_begun = false;
    loop {
        let line = read_line(&mut talk.client)?;
        let command = String::from_utf8_lossy(&line).trim_end().to_owned();
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        if nothing_begun && (verb == "RCPT" || verb == "DATA") {
            talk.tell(b"503 5.5.1 no transaction\r\n")?;
            continue;
        }
        let said = talk.exchange(&command, &line)?;
        nothing_begun = verb == "MAIL" && !said.starts_with(b"2");
        match said.get(..3) {
            Some(b"334") => {
                let more = read_line(&mut talk.client)?;
                talk.exchange("AUTH", &more)?;
            }
            Some(b"354") if verb == "DATA" => {
                let content = talk.content()?;
                talk.exchange("dot", &content)?;
            }
            _ => {}
        }
    }
}

impl SmtpTalk {
    fn tell(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.client.get_mut().write_all(bytes)?)
    }

    /// Passes `bytes` on and the reply back, unless something goes wrong there. What the client was told.
    fn exchange(&mut self, command: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        let fault = self.state.fault(command);
        match &fault {
            Some(Fault::CutBefore) => bail!("cut before {command}"),
            Some(Fault::Say(words)) => {
                let said = format!("{words}\r\n").into_bytes();
                self.tell(&said)?;
                if words.starts_with("421") || command == "greeting" {
                    bail!("good-bye");
                }
                return Ok(said);
            }
            Some(Fault::Stall) => hold(&mut self.client)?,
            _ => {}
        }
        self.server.get_mut().write_all(bytes)?;
        let mut reply = smtp_reply(&mut self.server)?;
        self.state.hold_while_silent();
        match fault {
            Some(Fault::CutAfter) => bail!("cut after {command}"),
            Some(Fault::CutWithin(count)) => {
                self.tell(&reply[..count.min(reply.len())])?;
                bail!("cut within the reply to {command}");
            }
            Some(Fault::Truncate(count)) => {
                let end = reply.len().saturating_sub(2);
                reply.drain(end.saturating_sub(count).max(3)..end);
                self.tell(&reply)?;
            }
            Some(Fault::Trickle) => trickle(self.client.get_mut(), &reply)?,
            _ => self.tell(&reply)?,
        }
        Ok(reply)
    }

    /// A mail's content with its final dot.
    fn content(&mut self) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        loop {
            let line = read_line(&mut self.client).context("cut in the content")?;
            content.extend_from_slice(&line);
            if line == b".\r\n" {
                return Ok(content);
            }
        }
    }
}
