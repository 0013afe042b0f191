//! Putting messages into folders, and finding them there again.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use async_imap::imap_proto::{RequestId, Response, ResponseCode};

use super::ImapSession;
use super::conn::{Done, quoted, uids_of};
use crate::net::error::{NetError, Service};

/// How many bytes and commands may be under way unanswered: answers to so few fit in any socket
/// buffer, so that neither side waits for the other.
const WINDOW_BYTES: usize = 1 << 20;
const WINDOW_COMMANDS: usize = 64;
/// How many messages and bytes go into one MULTIAPPEND, which is all or nothing.
const MULTI_COUNT: usize = 100;
const MULTI_BYTES: usize = 1 << 20;

/// A message to be appended.
#[derive(Clone, Copy)]
pub struct Append<'a> {
    /// The server's own name of the folder.
    pub folder: &'a str,
    /// The whole message, CRLF line ends, no NUL.
    pub message: &'a [u8],
    /// Such as `\Seen` or `$Forwarded`; never text from outside.
    pub flags: &'a [&'a str],
    pub internaldate: Option<DateTime<Utc>>,
}

/// A message that the server has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// UIDVALIDITY and uid, on servers with UIDPLUS (RFC 4315).
    pub place: Option<(u32, u32)>,
}

/// One command on its way: its tag and the items it carries.
struct UnderWay {
    tag: RequestId,
    items: Vec<usize>,
    bytes: usize,
}

impl ImapSession {
    /// Appends one message; creates the folder if the server asks for it.
    ///
    /// # Errors
    /// `ServerSaidNo` with `OVERQUOTA` and the like; `Unsupported` for a message with NUL bytes.
    pub async fn append(
        &mut self,
        folder: &str,
        message: &[u8],
        flags: &[&str],
        internaldate: Option<DateTime<Utc>>,
    ) -> Result<Appended, NetError> {
        let item = Append { folder, message, flags, internaldate };
        match self.append_all(&[item]).await.pop() {
            Some(outcome) => outcome,
            None => Err(self.conn.protocol("an APPEND without an outcome")),
        }
    }

    /// Appends many messages; the outcomes are in the order of the items. Messages for one folder
    /// share a MULTIAPPEND (RFC 3502) where there is one; with LITERAL+ the commands
    /// don't wait for each other. Folders are created when the server asks for it. An outcome that
    /// [ends the session](NetError::ends_session) says nothing about whether the message is there:
    /// look with [`ImapSession::contains_message_ids`] before trying again.
    pub async fn append_all(&mut self, items: &[Append<'_>]) -> Vec<Result<Appended, NetError>> {
        let nul = |item: &Append<'_>| item.message.contains(&0);
        let refused =
            NetError::Unsupported { service: Service::Imap, what: "a message with NUL bytes can't be appended" };
        let mut outcomes: Vec<Option<Result<Appended, NetError>>> =
            items.iter().map(|item| nul(item).then(|| Err(refused.clone()))).collect();
        let all: Vec<usize> = (0..items.len()).filter(|&i| outcomes[i].is_none()).collect();
        let mut again = Vec::new();
        let groups = if self.capabilities.multiappend { group(items, &all) } else { singly(&all) };
        self.append_groups(items, groups, &mut outcomes).await;
        // Failed groups are tried one by one, so that each message gets its own answer.
        for i in all {
            if let Some(Err(e)) = &outcomes[i]
                && matches!(e, NetError::ServerSaidNo { .. } | NetError::ServerSaidBad { .. })
                && !self.is_broken()
            {
                if e.imap_code() == Some("TRYCREATE") {
                    self.known.remove(items[i].folder);
                    if let Err(e) = self.ensure_folder(items[i].folder).await {
                        outcomes[i] = Some(Err(e));
                        continue;
                    }
                    again.push(i);
                } else if self.capabilities.multiappend {
                    again.push(i);
                }
            }
        }
        self.append_groups(items, singly(&again), &mut outcomes).await;
        let lost = NetError::Closed { service: Service::Imap, doing: "APPEND" };
        outcomes.into_iter().map(|o| o.unwrap_or_else(|| Err(lost.clone()))).collect()
    }

    async fn append_groups(
        &mut self,
        items: &[Append<'_>],
        groups: Vec<Vec<usize>>,
        outcomes: &mut [Option<Result<Appended, NetError>>],
    ) {
        self.conn.doing = "APPEND";
        let mut under_way: VecDeque<UnderWay> = VecDeque::new();
        let mut failed = None;
        for group in groups {
            let bytes = group.iter().map(|&i| items[i].message.len()).sum();
            let busy = |q: &VecDeque<UnderWay>| q.iter().map(|u| u.bytes).sum::<usize>();
            while !under_way.is_empty()
                && failed.is_none()
                && (under_way.len() >= WINDOW_COMMANDS || busy(&under_way) + bytes > WINDOW_BYTES)
            {
                failed = self.settle(&mut under_way, outcomes).await;
            }
            let pipelined = group.iter().all(|&i| self.conn.non_sync.allows(items[i].message.len()));
            while !pipelined && !under_way.is_empty() && failed.is_none() {
                failed = self.settle(&mut under_way, outcomes).await;
            }
            if failed.is_none() {
                match self.start_append(items, &group, pipelined).await {
                    Ok((tag, None)) => {
                        under_way.push_back(UnderWay { tag, items: group, bytes });
                        continue;
                    }
                    Ok((_, Some(done))) => {
                        note(&group, done.expect_ok("APPEND").map(|()| None), outcomes);
                        continue;
                    }
                    Err(e) if e.ends_session() => failed = Some(e),
                    Err(e) => {
                        note(&group, Err(e), outcomes);
                        continue;
                    }
                }
            }
            if let Some(e) = &failed {
                for &i in &group {
                    outcomes[i] = Some(Err(e.clone()));
                }
            }
        }
        while failed.is_none() && !under_way.is_empty() {
            failed = self.settle(&mut under_way, outcomes).await;
        }
        if let Some(e) = failed {
            for i in under_way.into_iter().flat_map(|u| u.items) {
                outcomes[i] = Some(Err(e.clone()));
            }
        }
    }

    /// Writes one APPEND: the crate its line, we its literals. A refusal before they were taken is returned.
    async fn start_append(
        &mut self,
        items: &[Append<'_>],
        group: &[usize],
        pipelined: bool,
    ) -> Result<(RequestId, Option<Done>), NetError> {
        let plus = if pipelined { "+" } else { "" };
        let head = |item: &Append<'_>| {
            let mut head = String::new();
            if !item.flags.is_empty() {
                let _ = write!(head, " ({})", item.flags.join(" "));
            }
            if let Some(at) = item.internaldate {
                let _ = write!(head, " \"{}\"", at.format("%d-%b-%Y %H:%M:%S +0000"));
            }
            let _ = write!(head, " {{{}{plus}}}", item.message.len());
            head
        };
        let first = &items[group[0]];
        let tag = self.conn.start(&format!("APPEND {}{}", quoted(first.folder)?, head(first))).await?;
        for (n, &i) in group.iter().enumerate() {
            if !pipelined {
                let news = &mut self.news;
                if let Some(done) = self.conn.permission(&tag, &mut |answer| news.note(answer)).await? {
                    return Ok((tag, Some(done)));
                }
            }
            let mut out = items[i].message.to_vec();
            if let Some(&next) = group.get(n + 1) {
                out.extend_from_slice(head(&items[next]).as_bytes());
            }
            out.extend_from_slice(b"\r\n");
            self.conn.raw(&out).await?;
        }
        Ok((tag, None))
    }

    /// Waits for the oldest command under way. Returns the error that ends the session, if any.
    async fn settle(
        &mut self,
        under_way: &mut VecDeque<UnderWay>,
        outcomes: &mut [Option<Result<Appended, NetError>>],
    ) -> Option<NetError> {
        let oldest = under_way.pop_front()?;
        let count = oldest.items.len();
        let news = &mut self.news;
        let mut places = None;
        let mut look = |answer: &Response<'_>| {
            news.note(answer);
            if let Response::Done { outcome, .. } = answer
                && let Some(ResponseCode::AppendUid(validity, set)) = &outcome.code
            {
                places = uids_of(set, count + 1).filter(|uids| uids.len() == count).map(|uids| (*validity, uids));
            }
        };
        let outcome = self.conn.finish(&oldest.tag, &mut look).await;
        let ends = outcome.as_ref().err().filter(|e| e.ends_session()).cloned();
        note(&oldest.items, outcome.map(|()| places), outcomes);
        ends
    }

    /// Whether a folder holds a message with this Message-ID (with its angle brackets).
    pub async fn contains_message_id(&mut self, folder: &str, message_id: &str) -> Result<bool, NetError> {
        Ok(self.contains_message_ids(folder, &[message_id]).await?.pop().unwrap_or(false))
    }

    /// For each Message-ID (with its angle brackets) whether a folder holds it; a folder that does not
    /// exist holds nothing. The folder that was selected before is selected again afterwards.
    ///
    /// # Errors
    /// Besides the usual: `Protocol` when the earlier folder changed its UIDVALIDITY meanwhile.
    pub async fn contains_message_ids(&mut self, folder: &str, ids: &[&str]) -> Result<Vec<bool>, NetError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let before = self.selected.clone();
        let elsewhere = before.as_ref().is_none_or(|(name, _)| name != folder);
        let grown = self.news.grown;
        let found = if elsewhere {
            match self.open("EXAMINE", folder).await {
                Ok(_) => self.search_ids(ids).await,
                Err(NetError::ServerSaidNo { .. }) => Ok(vec![false; ids.len()]),
                Err(e) => Err(e),
            }
        } else {
            self.search_ids(ids).await
        };
        if elsewhere && !self.is_broken() {
            self.selected = None;
            if let Some((name, old)) = before {
                let now = self.open("SELECT", &name).await?;
                if now.uidvalidity != old.uidvalidity {
                    return Err(self.conn.protocol("UIDVALIDITY changed under us"));
                }
                self.news.grown = grown || now.exists > old.exists;
            }
        }
        found
    }

    /// One search after the other: Dovecot runs searches that were sent together side by side, and
    /// its untagged answers don't say whose they are.
    async fn search_ids(&mut self, ids: &[&str]) -> Result<Vec<bool>, NetError> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let clean = !id.is_empty() && id.len() < 1000 && id.bytes().all(|b| (b' '..=b'~').contains(&b));
            found.push(if clean {
                !self.uids(&format!("HEADER Message-ID {}", quoted(id)?)).await?.is_empty()
            } else {
                false
            });
        }
        Ok(found)
    }
}

/// Each item for itself.
fn singly(items: &[usize]) -> Vec<Vec<usize>> {
    items.iter().map(|&i| vec![i]).collect()
}

/// Items for the same folder together, within the bounds of one MULTIAPPEND: a server then syncs its
/// index once for all of them.
fn group(items: &[Append<'_>], indices: &[usize]) -> Vec<Vec<usize>> {
    let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for &i in indices {
        let length = items[i].message.len();
        let last = open.get(items[i].folder).and_then(|&g| groups.get_mut(g));
        match last.filter(|(bytes, group)| group.len() < MULTI_COUNT && bytes + length <= MULTI_BYTES) {
            Some((bytes, group)) => {
                *bytes += length;
                group.push(i);
            }
            None => {
                open.insert(items[i].folder, groups.len());
                groups.push((length, vec![i]));
            }
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// Writes down the outcome of one command for each message that it carried.
fn note(
    group: &[usize],
    outcome: Result<Option<(u32, Vec<u32>)>, NetError>,
    outcomes: &mut [Option<Result<Appended, NetError>>],
) {
    for (n, &i) in group.iter().enumerate() {
        outcomes[i] = Some(match &outcome {
            Err(e) => Err(e.clone()),
            Ok(places) => {
                Ok(Appended { place: places.as_ref().and_then(|(validity, uids)| Some((*validity, *uids.get(n)?))) })
            }
        });
    }
}
