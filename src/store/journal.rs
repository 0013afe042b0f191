//! The content-free, append-only journal: each entry is MACed over the one before, and count and
//! last MAC stand in a file outside of the database.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use data_encoding::HEXUPPER;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;

use super::sql::{self, Insert, Row};
use super::{Store, StoreError, Tx, Vault, micros, time, vault};
use crate::model::ClientCode;

/// 20 digits, a colon, 64 hex digits, a line's end: one sector, written in place.
const RECORD: usize = 86;

/// A line.
static LINE: Insert = Insert {
    table: "journal",
    rank: 0,
    into: "INSERT INTO journal (seq, at, kind, client, detail, mac) VALUES",
    end: "",
    replaces: false,
};

/// How far the journal goes: its count of entries and the last one's MAC.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct JournalHead {
    pub count: u64,
    mac: [u8; 32],
}

impl JournalHead {
    pub(super) fn genesis(vault: &Vault) -> Self {
        Self { count: 0, mac: vault.journal_mac(&[b"cadre journal 1"]) }
    }

    /// The last MAC, 64 upper-case hex digits.
    pub fn hex(&self) -> String {
        HEXUPPER.encode(&self.mac)
    }

    fn record(&self) -> String {
        format!("{:020}:{}\n", self.count, self.hex())
    }

    fn parse(record: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(record).ok()?.strip_suffix('\n')?;
        let (count, mac) = text.split_once(':')?;
        Some(Self { count: count.parse().ok()?, mac: HEXUPPER.decode(mac.as_bytes()).ok()?.try_into().ok()? })
    }

    /// Reads `N:HEX`, as printed in a digest: at least 16 hex digits, in any case.
    pub fn parse_expectation(text: &str) -> Option<(u64, String)> {
        let (count, hex) = text.trim().split_once(':')?;
        let good = (16..=64).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit());
        Some((count.parse().ok()?, good.then(|| hex.to_ascii_uppercase())?))
    }
}

/// `N:HEX16`, as digests print it and `journal verify --expect` takes it.
impl fmt::Display for JournalHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.count, &self.hex()[..16])
    }
}

impl fmt::Debug for JournalHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalHead({self})")
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JournalEntry {
    pub seq: u64,
    pub at: DateTime<Utc>,
    pub kind: String,
    pub client: Option<ClientCode>,
    pub detail: serde_json::Value,
}

/// What is wrong with a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum JournalFault {
    #[error("entry {seq} was changed, or one before it was taken out")]
    Changed { seq: u64 },
    #[error("entry {seq} is missing")]
    Gap { seq: u64 },
    #[error(
        "the head file counts {head} entries and the database has {database}: the journal was cut or an old database put back"
    )]
    Behind { head: u64, database: u64 },
    #[error(
        "the head file's MAC at entry {count} is not the journal's: the journal was recomputed or belongs to another database"
    )]
    HeadDiffers { count: u64 },
    #[error("the head file is missing or unreadable")]
    HeadUnreadable,
    #[error(
        "{expected} entries were expected and the database has {database}: the journal was cut or an old database put back"
    )]
    ExpectedMore { expected: u64, database: u64 },
    #[error("the MAC at entry {count} is not the expected one: the journal was recomputed")]
    ExpectedOther { count: u64 },
}

/// What [`Store::verify_journal`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalReport {
    /// The head of what is in the database (of its good part, where it is broken).
    pub head: JournalHead,
    /// Entries after the head file's, whose chain holds: a crash between commit and head file.
    pub crash_remnant: u64,
    /// Empty: the journal is whole.
    pub faults: Vec<JournalFault>,
}

impl JournalReport {
    /// Whether the journal is whole.
    pub fn ok(&self) -> bool {
        self.faults.is_empty()
    }
}

/// The chain inside a transaction: where it stood at first use and where it stands now.
pub(super) struct Chain {
    base: JournalHead,
    now: JournalHead,
}

impl Chain {
    pub(super) fn grew(&self) -> bool {
        self.now.count > self.base.count
    }

    pub(super) fn now(&self) -> JournalHead {
        self.now
    }
}

/// Where a transaction can go back to: its rows and its journal's chain.
pub struct Savepoint(Option<JournalHead>);

impl Tx {
    /// Marks a place to go back to. One at a time.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn savepoint(&mut self) -> Result<Savepoint, StoreError> {
        self.write_counts().await?;
        self.conn.mark("SAVEPOINT mail;").await?;
        Ok(Savepoint(self.chain.as_ref().map(|chain| chain.now)))
    }

    /// Undoes everything since the savepoint.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn undo(&mut self, to: Savepoint) -> Result<(), StoreError> {
        self.conn.go_back("ROLLBACK TO mail; RELEASE mail").await?;
        match (&mut self.chain, to.0) {
            (Some(chain), Some(then)) => chain.now = then,
            _ => self.chain = None,
        }
        self.undone();
        Ok(())
    }

    /// Keeps everything since the savepoint.
    pub fn keep(&mut self, _savepoint: Savepoint) {
        self.conn.keep("RELEASE mail;");
    }
}

/// The head file, locked against other processes until the commit has been written into it.
pub(super) struct HeadFile(Flock<File>);

impl HeadFile {
    pub(super) fn advance(&self, to: JournalHead) {
        // Not synced: a head file that lags behind is recognised as a crash's remnant.
        if let Err(error) = self.0.write_all_at(to.record().as_bytes(), 0) {
            tracing::warn!(%error, "the journal's head file couldn't be written; `journal verify` will say that it lags");
        }
    }
}

fn read_head(file: &File) -> Option<JournalHead> {
    let mut record = [0_u8; RECORD];
    file.read_exact_at(&mut record, 0).ok()?;
    JournalHead::parse(&record)
}

fn read_head_at(path: &Path) -> Option<JournalHead> {
    read_head(&File::open(path).ok()?)
}

fn link(vault: &Vault, before: &JournalHead, at: i64, kind: &str, client: &str, detail: &str) -> JournalHead {
    let count = before.count + 1;
    let mac = vault.journal_mac(&[
        &before.mac,
        &count.to_be_bytes(),
        &at.to_be_bytes(),
        kind.as_bytes(),
        client.as_bytes(),
        detail.as_bytes(),
    ]);
    JournalHead { count, mac }
}

/// Puts `[removed]` in place of every text with an `@`: the journal has no addresses.
fn scrub(value: &mut serde_json::Value) -> bool {
    use serde_json::Value;
    match value {
        Value::String(text) if text.contains('@') => {
            *text = "[removed]".to_owned();
            true
        }
        Value::Array(items) => items.iter_mut().fold(false, |found, item| scrub(item) | found),
        Value::Object(map) => {
            let before = map.len();
            map.retain(|key, _| !key.contains('@'));
            let found = map.len() != before;
            map.values_mut().fold(found, |found, item| scrub(item) | found)
        }
        _ => false,
    }
}

impl Tx {
    /// Appends a line to the journal. `kind` is a word of the program's; `detail` has codes, counts
    /// and words of closed lists only. A text with an `@` in it is a programmer's fault: it panics
    /// in debug builds and is taken out in release builds.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn journal(
        &mut self,
        at: DateTime<Utc>,
        kind: &str,
        client: Option<&ClientCode>,
        mut detail: serde_json::Value,
    ) -> Result<(), StoreError> {
        let leaked = scrub(&mut detail);
        debug_assert!(!leaked && !kind.contains('@'), "an address was about to be journalled");
        let base = match &self.chain {
            Some(chain) => chain.now,
            None => self.journal_head().await?,
        };
        let detail = detail.to_string();
        let next = link(self.vault(), &base, micros(at), kind, client.map_or("", ClientCode::as_str), &detail);
        let client = client.map(ClientCode::as_str);
        let row = sql::row().bind(next.count.cast_signed()).bind(micros(at)).bind(kind).bind(client);
        self.conn.later(&LINE, row.bind(detail).bind(next.mac.as_slice())).await?;
        match &mut self.chain {
            Some(chain) => chain.now = next,
            None => self.chain = Some(Chain { base, now: next }),
        }
        Ok(())
    }

    /// The journal's head as this transaction sees it.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn journal_head(&mut self) -> Result<JournalHead, StoreError> {
        if let Some(chain) = &self.chain {
            return Ok(chain.now);
        }
        let row = sql::query("SELECT seq, mac FROM journal ORDER BY seq DESC LIMIT 1").fetch_optional(&mut self.conn);
        match row.await? {
            None => Ok(JournalHead::genesis(self.vault())),
            Some(row) => stored_head(&row),
        }
    }

    /// Up to `limit` entries from number `from` (1 is the first) on.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn journal_entries(&mut self, from: u64, limit: u32) -> Result<Vec<JournalEntry>, StoreError> {
        let rows =
            sql::query("SELECT seq, at, kind, client, detail, mac FROM journal WHERE seq >= $1 ORDER BY seq LIMIT $2")
                .bind(i64::try_from(from).unwrap_or(i64::MAX))
                .bind(i64::from(limit))
                .fetch_all(&mut self.conn)
                .await?;
        rows.iter().map(entry).collect()
    }

    /// Locks the head file and sees whether it stands on this journal's chain. `None`: it doesn't,
    /// and is left alone as the proof that something was cut.
    pub(super) async fn lock_head(&mut self, chain: &Chain) -> Result<Option<HeadFile>, StoreError> {
        let mut file = match OpenOptions::new().read(true).write(true).open(&self.store.head) {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(%error, "the journal's head file is missing; `journal verify` fails until it is back");
                return Ok(None);
            }
        };
        // Who has it is about to write the head of what they committed: waited for without stopping a thread, which may be
        // the one that they need for it.
        let file = loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => break locked,
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
                Err(_) => return Ok(None),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let Some(head) = read_head(&file) else { return Ok(None) };
        if head == chain.base || self.on_chain(&head).await? {
            return Ok(Some(HeadFile(file)));
        }
        tracing::warn!("the journal's head file is not of this journal; run `journal verify`");
        Ok(None)
    }

    async fn on_chain(&mut self, head: &JournalHead) -> Result<bool, StoreError> {
        if head.count == 0 {
            return Ok(*head == JournalHead::genesis(self.vault()));
        }
        let Ok(seq) = i64::try_from(head.count) else { return Ok(false) };
        let row =
            sql::query("SELECT seq, mac FROM journal WHERE seq = $1").bind(seq).fetch_optional(&mut self.conn).await?;
        row.map_or(Ok(false), |row| Ok(stored_head(&row)? == *head))
    }
}

pub(super) fn stored_head(row: &Row) -> Result<JournalHead, StoreError> {
    let seq: i64 = row.get("seq")?;
    let corrupt = StoreError::Corrupt { table: "journal", row: seq };
    match (u64::try_from(seq), row.get::<&[u8]>("mac")?.try_into()) {
        (Ok(count), Ok(mac)) => Ok(JournalHead { count, mac }),
        _ => Err(corrupt),
    }
}

fn entry(row: &Row) -> Result<JournalEntry, StoreError> {
    let seq: i64 = row.get("seq")?;
    let corrupt = || StoreError::Corrupt { table: "journal", row: seq };
    let client: Option<&str> = row.get("client")?;
    Ok(JournalEntry {
        seq: u64::try_from(seq).map_err(|_| corrupt())?,
        at: time("journal", seq, row.get("at")?)?,
        kind: row.get("kind")?,
        client: client.map(|c| c.parse().map_err(|_| corrupt())).transpose()?,
        detail: serde_json::from_str(row.get("detail")?).map_err(|_| corrupt())?,
    })
}

impl Store {
    /// Makes the head file where there is none: beside an empty journal, and on a host that joins others on a server.
    pub(super) async fn start_head(&self) -> Result<(), StoreError> {
        let path = &self.0.head;
        if path.exists() {
            return Ok(());
        }
        let head = self.read().await?.journal_head().await?;
        if head.count > 0 {
            if self.0.engine.file().is_some() {
                return Ok(());
            }
            tracing::warn!("this host has no head file of the journal; it begins with what the database has now");
        }
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match created {
            Ok(file) => file.write_all_at(head.record().as_bytes(), 0),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|source| StoreError::File { path: path.clone(), source })
    }

    /// The head file's record where it stands ahead of this journal, or on another chain: the database is an older one
    /// that was put back, or something was cut. None: it fits, lags behind, or is missing.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn ahead_of_journal(&self) -> Result<Option<JournalHead>, StoreError> {
        let Some(file) = read_head_at(&self.0.head) else { return Ok(None) };
        Ok((!self.read().await?.on_chain(&file).await?).then_some(file))
    }

    /// Writes the journal's present head into the head file, whatever stood there: a person has decided that this
    /// database is the one.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::File`].
    pub async fn accept_journal(&self) -> Result<(), StoreError> {
        let head = self.read().await?.journal_head().await?;
        let path = &self.0.head;
        let written = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        written
            .and_then(|file| file.write_all_at(head.record().as_bytes(), 0))
            .map_err(|source| StoreError::File { path: path.clone(), source })
    }

    /// Recomputes the whole chain and compares it with the head file and with what a digest said.
    ///
    /// # Errors
    /// [`StoreError::Db`]. What is wrong with the journal is in the report.
    pub async fn verify_journal(&self, expect: Option<(u64, String)>) -> Result<JournalReport, StoreError> {
        // The file first: it may only lag behind what is read afterwards.
        let file = read_head_at(&self.0.head);
        let mut tx = self.read().await?;
        let mut head = JournalHead::genesis(&self.0.vault);
        let mut faults = Vec::new();
        let mut at_file = (file.is_some_and(|f| f.count == 0)).then_some(head);
        let mut at_expected = (expect.as_ref().is_some_and(|e| e.0 == 0)).then_some(head);
        'pages: loop {
            let rows = sql::query(
                "SELECT seq, at, kind, client, detail, mac FROM journal WHERE seq > $1 ORDER BY seq LIMIT 1000",
            )
            .bind(head.count.cast_signed())
            .fetch_all(&mut tx.conn)
            .await?;
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                let seq = u64::try_from(row.get::<i64>("seq")?).unwrap_or(0);
                if seq != head.count + 1 {
                    faults.push(JournalFault::Gap { seq: head.count + 1 });
                    break 'pages;
                }
                let client: Option<&str> = row.get("client")?;
                let next = link(
                    &self.0.vault,
                    &head,
                    row.get("at")?,
                    row.get("kind")?,
                    client.unwrap_or(""),
                    row.get("detail")?,
                );
                if !vault::same(&next.mac, row.get("mac")?) {
                    faults.push(JournalFault::Changed { seq });
                    break 'pages;
                }
                head = next;
                if file.is_some_and(|f| f.count == seq) {
                    at_file = Some(head);
                }
                if expect.as_ref().is_some_and(|e| e.0 == seq) {
                    at_expected = Some(head);
                }
            }
        }
        let broken = !faults.is_empty();
        let mut crash_remnant = 0;
        match (file, at_file) {
            (None, _) => faults.push(JournalFault::HeadUnreadable),
            (Some(f), Some(here)) if f != here => faults.push(JournalFault::HeadDiffers { count: f.count }),
            (Some(f), Some(_)) => crash_remnant = head.count - f.count,
            (Some(f), None) if !broken => faults.push(JournalFault::Behind { head: f.count, database: head.count }),
            (Some(_), None) => {}
        }
        match (expect, at_expected) {
            (Some((count, hex)), Some(here))
                if hex.len() < 16 || !here.hex().starts_with(&hex.to_ascii_uppercase()) =>
            {
                faults.push(JournalFault::ExpectedOther { count });
            }
            (Some((expected, _)), None) if !broken => {
                faults.push(JournalFault::ExpectedMore { expected, database: head.count });
            }
            _ => {}
        }
        Ok(JournalReport { head, crash_remnant, faults })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_address_gets_into_a_detail() {
        let mut detail = json!({"n": 3, "a": ["marie@client.example", "word"], "x@y": 1, "o": {"deep": "a@b"}});
        assert!(scrub(&mut detail));
        assert_eq!(detail, json!({"n": 3, "a": ["[removed]", "word"], "o": {"deep": "[removed]"}}));
        assert!(!scrub(&mut detail));
    }
}
