//! Messages of the selected folder: list, fetch, search, remove, move.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use async_imap::imap_proto::{AttributeValue, MailboxDatum, MessageSection, Response, ResponseCode, SectionPath};
use chrono::{DateTime, Utc};

use super::conn::{quoted, uids_of};
use super::names::{parse_uid_set, uid_sets};
use super::{Entry, Fetched, ImapSession, Moved, Removed, WhyMissing};
use crate::net::error::NetError;

/// How often one listing or fetch may connect anew because of answers that can't be read.
const FRESH_STARTS: usize = 20;

/// Longest set of uids in one command, in bytes: servers read lines of 8 kB (RFC 7162 section 4).
const MAX_SET: usize = 7000;
/// Most octets of a header that are asked for: a server would send a hundred megabytes as readily.
const MAX_HEADER: usize = 256 << 10;

/// Cuts entries into batches of at most `max_bytes` (a single longer message is a batch of its own)
/// and `max_count` messages.
pub fn batches(entries: &[Entry], max_bytes: u64, max_count: usize) -> Vec<Vec<u32>> {
    let mut batches: Vec<Vec<u32>> = Vec::new();
    let mut room = 0;
    for entry in entries {
        match batches.last_mut() {
            Some(last) if entry.size <= room && last.len() < max_count => {
                last.push(entry.uid);
                room -= entry.size;
            }
            _ => {
                batches.push(vec![entry.uid]);
                room = max_bytes.saturating_sub(entry.size);
            }
        }
    }
    batches
}

fn uid_of(attributes: &[AttributeValue<'_>]) -> Option<u32> {
    attributes.iter().find_map(|a| match a {
        AttributeValue::Uid(uid) => Some(*uid),
        _ => None,
    })
}

/// An entry of which only the uid is known.
fn unknown(uid: u32) -> Entry {
    Entry { uid, size: 0, internaldate: None, flags: Vec::new() }
}

fn entry(attributes: &[AttributeValue<'_>]) -> Option<Entry> {
    let mut entry = unknown(uid_of(attributes)?);
    for attribute in attributes {
        match attribute {
            AttributeValue::Rfc822Size(size) => entry.size = u64::from(*size),
            AttributeValue::InternalDate(text) => entry.internaldate = internal_date(text),
            AttributeValue::Flags(flags) => entry.flags = flags.iter().map(|f| f.clone().into_owned()).collect(),
            _ => {}
        }
    }
    Some(entry)
}

/// `17-Jul-1996 02:44:25 -0700` (date-time of RFC 3501).
fn internal_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_str(text.trim(), "%d-%b-%Y %H:%M:%S %z").ok().map(|t| t.with_timezone(&Utc))
}

/// The uid and the wanted section of a FETCH answer: the header, or the whole message.
fn section(answer: &Response<'_>, header: bool) -> Option<(u32, Vec<u8>)> {
    let Response::Fetch(_, attributes) = answer else { return None };
    let wanted = header.then_some(SectionPath::Full(MessageSection::Header));
    let bytes = attributes.iter().find_map(|a| match a {
        AttributeValue::BodySection { section, index: None | Some(0), data: Some(data) } if *section == wanted => {
            Some(data)
        }
        _ => None,
    })?;
    Some((uid_of(attributes)?, Cow::into_owned(bytes.clone())))
}

/// Whether the server answered something that can't be read, rather than nothing.
fn unreadable(error: &NetError) -> bool {
    matches!(error, NetError::Protocol { .. })
}

impl ImapSession {
    /// Uids that match search criteria such as `ALL`, `UID 5:*` or `DELETED`; never text from outside.
    pub async fn uids(&mut self, criteria: &str) -> Result<Vec<u32>, NetError> {
        let mut uids = Vec::new();
        self.in_folder("UID SEARCH", &format!("UID SEARCH {criteria}"), |answer| {
            if let Response::MailboxData(MailboxDatum::Search(found)) = answer {
                uids.extend(found);
            }
        })
        .await?;
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    /// Metadata of all messages with a uid above `after_uid`, in the order of their uids. An entry
    /// whose answer can't be read is there with its uid alone, so that it is not lost.
    pub async fn list_new(&mut self, after_uid: u32) -> Result<Vec<Entry>, NetError> {
        self.need_folder()?;
        let Some(first) = after_uid.checked_add(1) else { return Ok(Vec::new()) };
        self.news.grown = false;
        let mut found = BTreeMap::new();
        match self.list_set(&format!("{first}:*"), &mut found).await {
            Err(e) if unreadable(&e) => {}
            other => {
                other?;
                // `n:*` always matches the last message, even when its uid is below n (RFC 3501 section 6.4.8).
                return Ok(found.into_values().filter(|e| e.uid > after_uid).collect());
            }
        }
        self.again().await?;
        let mut starts = 1;
        for uid in self.uids(&format!("UID {first}:*")).await? {
            if uid <= after_uid || found.contains_key(&uid) {
                continue;
            }
            match self.list_set(&uid.to_string(), &mut found).await {
                Err(e) if unreadable(&e) && starts < FRESH_STARTS => {
                    found.insert(uid, unknown(uid));
                    starts += 1;
                    self.again().await?;
                }
                other => other?,
            }
        }
        Ok(found.into_values().filter(|e| e.uid > after_uid).collect())
    }

    async fn list_set(&mut self, set: &str, found: &mut BTreeMap<u32, Entry>) -> Result<(), NetError> {
        let line = format!("UID FETCH {set} (UID RFC822.SIZE INTERNALDATE FLAGS)");
        self.in_folder("UID FETCH", &line, |answer| {
            // A server may tell of changed flags in the same breath: keep what says more.
            if let Response::Fetch(_, attributes) = answer
                && let Some(new) = entry(attributes)
                && (new.size > 0 || !found.contains_key(&new.uid))
            {
                found.insert(new.uid, new);
            }
        })
        .await
    }

    /// Fetches whole messages with one command (or few, if the uids are scattered), without setting
    /// `\Seen`. A message longer than `max_literal`, by the size that the server states beforehand, is
    /// not asked for. One answer that can't be read costs that message only, at the price of
    /// connecting anew. See [`batches`] for how many.
    pub async fn fetch(&mut self, uids: &[u32]) -> Fetched {
        let mut mails = Vec::with_capacity(uids.len());
        let (missing, ended) = self.fetch_with(uids, |uid, bytes| mails.push((uid, bytes))).await;
        Fetched { mails, missing, ended }
    }

    /// As [`ImapSession::fetch`], handing over each message as soon as it is there.
    pub async fn fetch_with(
        &mut self,
        uids: &[u32],
        mut take: impl FnMut(u32, Vec<u8>) + Send,
    ) -> (Vec<(u32, WhyMissing)>, Option<NetError>) {
        // None: has come.
        let mut wanted: BTreeMap<u32, Option<WhyMissing>> =
            uids.iter().map(|&uid| (uid, Some(WhyMissing::NotReached))).collect();
        let mut sets = uid_sets(uids, MAX_SET);
        sets.reverse();
        let mut starts = 0;
        let mut ended = None;
        while let Some(set) = sets.pop() {
            let asked = parse_uid_set(set.as_bytes(), usize::MAX).unwrap_or_default();
            let outcome = self.fetch_set(&set, &mut wanted, &mut take).await;
            let open: Vec<u32> =
                asked.into_iter().filter(|uid| wanted.get(uid) == Some(&Some(WhyMissing::NotReached))).collect();
            let why = match outcome {
                Ok(()) => WhyMissing::Absent,
                Err(NetError::ServerSaidNo { .. } | NetError::ServerSaidBad { .. }) => WhyMissing::Unreadable,
                Err(e) if unreadable(&e) && starts < FRESH_STARTS => {
                    starts += 1;
                    if let Err(e) = self.again().await {
                        ended = Some(e);
                        break;
                    }
                    if open.len() > 1 {
                        sets.extend(open.iter().rev().map(u32::to_string));
                        continue;
                    }
                    WhyMissing::Unreadable
                }
                Err(e) => {
                    ended = Some(e);
                    break;
                }
            };
            for uid in open {
                wanted.insert(uid, Some(why));
            }
        }
        (wanted.into_iter().filter_map(|(uid, state)| Some((uid, state?))).collect(), ended)
    }

    /// Fetches one set of uids, but for those that are too long.
    async fn fetch_set(
        &mut self,
        set: &str,
        wanted: &mut BTreeMap<u32, Option<WhyMissing>>,
        take: &mut (impl FnMut(u32, Vec<u8>) + Send),
    ) -> Result<(), NetError> {
        let most = self.settings.max_literal as u64;
        let mut fit = Vec::new();
        self.in_folder("UID FETCH", &format!("UID FETCH {set} (UID RFC822.SIZE)"), |answer| {
            if let Response::Fetch(_, attributes) = answer
                && let Some(Entry { uid, size, .. }) = entry(attributes)
                && let Some(state @ Some(_)) = wanted.get_mut(&uid)
            {
                if size > most {
                    *state = Some(WhyMissing::TooLarge);
                } else {
                    fit.push(uid);
                }
            }
        })
        .await?;
        for set in uid_sets(&fit, MAX_SET) {
            self.in_folder("UID FETCH", &format!("UID FETCH {set} (UID BODY.PEEK[])"), |answer| {
                if let Some((uid, bytes)) = section(answer, false)
                    && let Some(state @ Some(_)) = wanted.get_mut(&uid)
                {
                    *state = None;
                    take(uid, bytes);
                }
            })
            .await?;
        }
        Ok(())
    }

    /// Fetches the beginning of the header alone, for messages that are too long; none if the uid is gone.
    pub async fn fetch_header(&mut self, uid: u32) -> Result<Option<Vec<u8>>, NetError> {
        let mut header = None;
        self.in_folder("UID FETCH", &format!("UID FETCH {uid} (UID BODY.PEEK[HEADER]<0.{MAX_HEADER}>)"), |answer| {
            if let Some((got, bytes)) = section(answer, true)
                && got == uid
            {
                header = Some(bytes);
            }
        })
        .await?;
        Ok(header)
    }

    /// Removes messages for good: `\Deleted` and UID EXPUNGE. Without UIDPLUS, EXPUNGE only when
    /// nothing but ours is marked; otherwise ours stay marked and are reported.
    pub async fn remove(&mut self, uids: &[u32]) -> Result<Removed, NetError> {
        let sets = uid_sets(uids, MAX_SET);
        if sets.is_empty() {
            return Ok(Removed::default());
        }
        self.need_folder()?;
        if self.capabilities.uidplus {
            for set in &sets {
                self.mark_and_expunge(set).await?;
            }
            return Ok(Removed::default());
        }
        for set in &sets {
            self.in_folder("UID STORE", &format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"), |_| {}).await?;
        }
        let marked = self.uids("DELETED").await?;
        let mut ours = self.marked_before();
        ours.extend(uids);
        if marked.iter().all(|uid| ours.contains(uid)) {
            self.in_folder("EXPUNGE", "EXPUNGE", |_| {}).await?;
            self.marked = None;
            return Ok(Removed::default());
        }
        let left_marked: Vec<u32> = marked.into_iter().filter(|uid| ours.contains(uid)).collect();
        if let Some((folder, selected)) = &self.selected {
            self.marked = Some((folder.clone(), selected.uidvalidity, left_marked.iter().copied().collect()));
        }
        Ok(Removed { left_marked })
    }

    /// What this session has left marked in the selected folder.
    fn marked_before(&self) -> BTreeSet<u32> {
        match (&self.marked, &self.selected) {
            (Some((folder, validity, uids)), Some((name, selected)))
                if folder == name && *validity == selected.uidvalidity =>
            {
                uids.clone()
            }
            _ => BTreeSet::new(),
        }
    }

    /// One after the other: of two commands on their way Dovecot may begin the second before it has synced
    /// the first, and then expunges nothing.
    async fn mark_and_expunge(&mut self, set: &str) -> Result<(), NetError> {
        self.in_folder("UID STORE", &format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"), |_| {}).await?;
        self.in_folder("UID EXPUNGE", &format!("UID EXPUNGE {set}"), |_| {}).await
    }

    /// Moves messages with MOVE (RFC 6851), or by a copy that the server has confirmed, and [`ImapSession::remove`].
    /// The folder is created when the server asks for it.
    pub async fn move_to(&mut self, uids: &[u32], folder: &str) -> Result<Moved, NetError> {
        let mut moved = Moved::default();
        for set in uid_sets(uids, MAX_SET) {
            match self.move_set(&set, folder, &mut moved).await {
                Err(e) if e.imap_code() == Some("TRYCREATE") => {
                    self.known.remove(folder);
                    self.ensure_folder(folder).await?;
                    self.move_set(&set, folder, &mut moved).await?;
                }
                other => other?,
            }
        }
        Ok(moved)
    }

    async fn move_set(&mut self, set: &str, folder: &str, moved: &mut Moved) -> Result<(), NetError> {
        let asked = parse_uid_set(set.as_bytes(), usize::MAX).unwrap_or_default();
        let verb = if self.capabilities.r#move { "UID MOVE" } else { "UID COPY" };
        let line = format!("{verb} {set} {}", quoted(folder)?);
        let mut copied: Option<Vec<u32>> = None;
        self.in_folder(verb, &line, |answer| {
            if let Response::Data { outcome, .. } | Response::Done { outcome, .. } = answer
                && let Some(ResponseCode::CopyUid(_, from, _)) = &outcome.code
                && let Some(uids) = uids_of(from, asked.len() + 1)
            {
                copied.get_or_insert_default().extend(uids);
            }
        })
        .await?;
        let copied = match copied {
            Some(copied) => asked.iter().copied().filter(|uid| copied.contains(uid)).collect(),
            // No COPYUID: OK says that all that exist were copied (RFC 3501 section 6.4.7); with
            // UIDPLUS its absence says that nothing was (RFC 4315 section 3).
            None if self.capabilities.uidplus => Vec::new(),
            None => asked.clone(),
        };
        moved.not_moved.extend(asked.iter().filter(|uid| !copied.contains(uid)));
        if !self.capabilities.r#move {
            moved.left_marked = self.remove(&copied).await?.left_marked;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_to_their_bounds_and_lose_nothing() {
        let entry = |uid, size| Entry { uid, size, internaldate: None, flags: Vec::new() };
        let entries = [entry(1, 40), entry(2, 40), entry(3, 40), entry(4, 500), entry(5, 1), entry(6, 1), entry(7, 1)];
        assert_eq!(batches(&entries, 100, 2), [vec![1, 2], vec![3], vec![4], vec![5, 6], vec![7]]);
        assert!(batches(&[], 100, 2).is_empty());
    }

    #[test]
    fn dates_of_one_and_two_digits_are_read() {
        for text in [" 1-Mar-2026 23:10:00 +0100", "01-Mar-2026 23:10:00 +0100", "1-Mar-2026 22:10:00 +0000"] {
            assert_eq!(internal_date(text).unwrap().to_rfc3339(), "2026-03-01T22:10:00+00:00", "{text}");
        }
        assert_eq!(internal_date("yesterday"), None);
    }
}
