//! A session with the mailbox (RFC 3501 with UIDPLUS, MOVE, IDLE, NAMESPACE, LITERAL+, MULTIAPPEND).
//!
//! Folder names that go in and out are the server's own (modified UTF-7, with delimiter and prefix);
//! [`ImapSession::folder_name`] makes them. Uids always mean the folder of the last
//! [`ImapSession::select`]. Nothing here sets `\Seen`.
//!
//! async-imap carries the protocol. What its parser can't read ends a connection; listing and fetching
//! then connect anew and ask for one message at a time, so that one bad answer never blocks the others.

mod append;
mod conn;
mod folders;
mod idle;
mod login;
mod mail;
mod names;

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};

pub use append::{Append, Appended};
pub use idle::IdleEnd;
pub use mail::batches;

use super::ImapSettings;
use super::error::NetError;
use async_imap::imap_proto::{Capability, MailboxDatum, Response, ResponseCode};
use conn::{Connection, quoted};

/// What the server can do, read again after log-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    pub idle: bool,
    pub r#move: bool,
    pub uidplus: bool,
    pub namespace: bool,
    pub special_use: bool,
    pub multiappend: bool,
    /// LITERAL+ or LITERAL- (RFC 7888).
    pub literal_plus: bool,
    literal_minus: bool,
    auth_plain: bool,
    auth_xoauth2: bool,
    login_disabled: bool,
    starttls: bool,
}

impl Capabilities {
    fn read(words: &[Capability<'_>]) -> Self {
        let has = |word: &str| {
            words.iter().any(|w| match w {
                Capability::Imap4rev1 => false,
                Capability::Auth(mechanism) => {
                    word.strip_prefix("AUTH=").is_some_and(|m| m.eq_ignore_ascii_case(mechanism))
                }
                Capability::Atom(atom) => word.eq_ignore_ascii_case(atom),
            })
        };
        let rev2 = has("IMAP4REV2");
        Self {
            idle: has("IDLE") || rev2,
            r#move: has("MOVE") || rev2,
            uidplus: has("UIDPLUS") || rev2,
            namespace: has("NAMESPACE") || rev2,
            special_use: has("SPECIAL-USE"),
            multiappend: has("MULTIAPPEND"),
            literal_plus: has("LITERAL+"),
            literal_minus: has("LITERAL-") || rev2,
            auth_plain: has("AUTH=PLAIN"),
            auth_xoauth2: has("AUTH=XOAUTH2"),
            login_disabled: has("LOGINDISABLED"),
            starttls: has("STARTTLS"),
        }
    }
}

/// A folder as it was when it was selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected {
    /// Changes when uids lose their meaning.
    pub uidvalidity: u32,
    /// The next uid; absent on servers that don't say.
    pub uidnext: Option<u32>,
    /// How many messages there are.
    pub exists: u32,
    pub read_only: bool,
}

/// Metadata of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub uid: u32,
    /// RFC822.SIZE in bytes; 0 when the server didn't say.
    pub size: u64,
    /// When the server received it.
    pub internaldate: Option<DateTime<Utc>>,
    /// As the server writes them: `\Seen`, `$Junk` …
    pub flags: Vec<String>,
}

/// Why a message that was asked for did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyMissing {
    /// The server has no such uid any more, or answered nothing for it.
    Absent,
    /// Its answer could not be read, or the server refused it.
    Unreadable,
    /// Longer than `max_literal`.
    TooLarge,
    /// The connection ended before it came.
    NotReached,
}

/// What a FETCH brought.
#[derive(Debug, Default)]
pub struct Fetched {
    /// In the server's order: uid and the whole message.
    pub mails: Vec<(u32, Vec<u8>)>,
    pub missing: Vec<(u32, WhyMissing)>,
    /// Why the fetch stopped early, if it did; what came before is in `mails`.
    pub ended: Option<NetError>,
}

/// What became of messages to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Marked `\Deleted` but not expunged: the server has no UIDPLUS and somebody else's messages
    /// are marked too. Try again later (a new session needs to be given them again).
    pub left_marked: Vec<u32>,
}

/// What became of messages to be moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Copied for sure, but the original is only marked, as in [`Removed`]. Not to be moved again.
    pub left_marked: Vec<u32>,
    /// Neither copied nor removed (gone, or the server left them out).
    pub not_moved: Vec<u32>,
}

/// A logged-in connection to the mailbox.
pub struct ImapSession {
    /// To connect anew where an answer can't be read.
    settings: ImapSettings,
    conn: Connection,
    capabilities: Capabilities,
    delimiter: Option<char>,
    prefix: String,
    selected: Option<(String, Selected)>,
    /// What unasked answers told since the last look.
    news: News,
    /// What we marked `\Deleted` and could not expunge: folder, UIDVALIDITY, uids.
    marked: Option<(String, u32, BTreeSet<u32>)>,
    /// Folders that are known to exist.
    known: HashSet<String>,
}

impl std::fmt::Debug for ImapSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImapSession").field("capabilities", &self.capabilities).finish_non_exhaustive()
    }
}

/// Changes of the selected folder that the server tells unasked.
#[derive(Debug, Clone, Copy, Default)]
struct News {
    exists: u32,
    grown: bool,
}

impl News {
    /// Takes note of an answer that no command asked for.
    fn note(&mut self, answer: &Response<'_>) {
        match answer {
            Response::MailboxData(MailboxDatum::Exists(number)) => {
                self.grown |= *number > self.exists;
                self.exists = *number;
            }
            Response::Expunge(_) => self.exists = self.exists.saturating_sub(1),
            _ => {}
        }
    }
}

impl ImapSession {
    /// What the server can do.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Whether the connection is of no more use: connect anew.
    pub fn is_broken(&self) -> bool {
        self.conn.broken
    }

    /// The folder of the last [`ImapSession::select`].
    pub fn selected(&self) -> Option<(&str, Selected)> {
        self.selected.as_ref().map(|(name, s)| (name.as_str(), *s))
    }

    /// Opens a folder for reading and writing. Uids mean this folder from now on.
    ///
    /// # Errors
    /// `ServerSaidNo` when there is none such; `Protocol` when it has no UIDVALIDITY.
    pub async fn select(&mut self, folder: &str) -> Result<Selected, NetError> {
        self.open("SELECT", folder).await
    }

    async fn open(&mut self, verb: &str, folder: &str) -> Result<Selected, NetError> {
        self.selected = None;
        let line = format!("{verb} {}", quoted(folder)?);
        let mut found = Selected { uidvalidity: 0, uidnext: None, exists: 0, read_only: false };
        self.conn
            .ok("SELECT", &line, |answer| match answer {
                Response::MailboxData(MailboxDatum::Exists(number)) => found.exists = *number,
                Response::Data { outcome, .. } => match outcome.code {
                    Some(ResponseCode::UidValidity(value)) => found.uidvalidity = value,
                    Some(ResponseCode::UidNext(value)) => found.uidnext = Some(value),
                    _ => {}
                },
                Response::Done { outcome, .. } => found.read_only = outcome.code == Some(ResponseCode::ReadOnly),
                _ => {}
            })
            .await?;
        if found.uidvalidity == 0 {
            return Err(self.conn.protocol("a folder without UIDVALIDITY"));
        }
        self.news = News { exists: found.exists, grown: false };
        self.selected = Some((folder.to_owned(), found));
        Ok(found)
    }

    /// Runs a command in the selected folder; `look` sees the answers, news are noted.
    async fn in_folder(
        &mut self,
        doing: &'static str,
        line: &str,
        mut look: impl FnMut(&Response<'_>) + Send,
    ) -> Result<(), NetError> {
        self.need_folder()?;
        let news = &mut self.news;
        let both = |answer: &Response<'_>| {
            news.note(answer);
            look(answer);
        };
        self.conn.ok(doing, line, both).await
    }

    /// A new connection with the same folder open: for when an answer could not be read.
    async fn again(&mut self) -> Result<(), NetError> {
        let before = self.selected.clone();
        let grown = self.news.grown;
        self.conn.shutdown().await;
        let mut fresh = Self::connect(&self.settings).await?;
        fresh.marked = self.marked.take();
        fresh.known = std::mem::take(&mut self.known);
        *self = fresh;
        if let Some((folder, old)) = before {
            let now = self.select(&folder).await?;
            self.news.grown = grown || now.exists > old.exists;
            if now.uidvalidity != old.uidvalidity {
                return Err(self.conn.protocol("UIDVALIDITY changed under us"));
            }
        }
        Ok(())
    }

    fn need_folder(&self) -> Result<(), NetError> {
        match self.selected {
            Some(_) => Ok(()),
            None => Err(NetError::Unsupported { service: super::Service::Imap, what: "no folder is selected" }),
        }
    }

    /// Does nothing, but notices a dead connection.
    pub async fn noop(&mut self) -> Result<(), NetError> {
        let news = &mut self.news;
        self.conn.ok("NOOP", "NOOP", |answer| news.note(answer)).await
    }

    /// Whether the server has told of new messages since the last [`ImapSession::list_new`].
    pub fn has_news(&self) -> bool {
        self.news.grown
    }

    /// Says good-bye; waits two seconds at most.
    pub async fn logout(mut self) {
        if !self.is_broken() {
            self.conn.hurry(std::time::Duration::from_secs(2));
            let _ = self.conn.ok("LOGOUT", "LOGOUT", |_| {}).await;
        }
        self.conn.shutdown().await;
    }
}
