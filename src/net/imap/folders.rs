//! Names, creation and look-up of folders.

use async_imap::imap_proto::{MailboxDatum, NameAttribute, Response};

use super::ImapSession;
use super::conn::quoted;
use super::names::{from_utf7, to_utf7};
use crate::net::error::NetError;

/// Last name parts of junk folders on servers that don't say which one it is.
const JUNK_NAMES: &[&str] = &[
    "junk",
    "spam",
    "junk e-mail",
    "junk email",
    "junk mail",
    "bulk mail",
    "courrier indésirable",
    "courriel indésirable",
    "indésirables",
    "pourriel",
];

/// One line of a LIST answer.
struct Listed {
    attributes: Vec<NameAttribute<'static>>,
    name: String,
}

impl Listed {
    fn has(&self, attribute: &NameAttribute<'_>) -> bool {
        self.attributes.contains(attribute)
    }

    fn holds_messages(&self) -> bool {
        let gone =
            |a: &NameAttribute<'_>| matches!(a, NameAttribute::Extension(e) if e.eq_ignore_ascii_case("\\NonExistent"));
        !self.has(&NameAttribute::NoSelect) && !self.attributes.iter().any(gone)
    }
}

impl ImapSession {
    /// The server's own name of a folder under the personal namespace, such as `INBOX.Cadre.C-7K2M`.
    /// A delimiter inside a part becomes `_`; on a server without hierarchy parts are joined by `-`.
    pub fn folder_name(&self, parts: &[&str]) -> String {
        let part = |part: &&str| match self.delimiter {
            Some(delimiter) => to_utf7(&part.replace(delimiter, "_")),
            None => to_utf7(part),
        };
        let joint = self.delimiter.map_or_else(|| "-".to_owned(), String::from);
        format!("{}{}", self.prefix, parts.iter().map(part).collect::<Vec<_>>().join(&joint))
    }

    /// The server's own name of a folder that a person wrote in full (`Junk`, `Courrier indésirable`).
    pub fn written_name(&self, name: &str) -> String {
        to_utf7(name)
    }

    /// Makes sure that a folder exists and is subscribed to; creates its parents where needed.
    ///
    /// # Errors
    /// `ServerSaidNo` when the server won't have it.
    pub async fn ensure_folder(&mut self, folder: &str) -> Result<(), NetError> {
        if self.known.contains(folder) {
            return Ok(());
        }
        if !self.create(folder).await? {
            if let Some(delimiter) = self.delimiter {
                let inner = folder.strip_prefix(&self.prefix).unwrap_or(folder);
                let offset = folder.len() - inner.len();
                let ends: Vec<usize> = inner.match_indices(delimiter).map(|(at, _)| offset + at).collect();
                for end in ends {
                    self.create(&folder[..end]).await?;
                }
            }
            if !self.create(folder).await? {
                // Say what the server says.
                self.conn.ok("CREATE", &format!("CREATE {}", quoted(folder)?), |_| {}).await?;
            }
        }
        match self.conn.ok("SUBSCRIBE", &format!("SUBSCRIBE {}", quoted(folder)?), |_| {}).await {
            Ok(_) | Err(NetError::ServerSaidNo { .. } | NetError::ServerSaidBad { .. }) => {}
            Err(e) => return Err(e),
        }
        self.known.insert(folder.to_owned());
        Ok(())
    }

    /// Deletes a folder with all that is in it, the messages first, and sees that it is gone; how many messages there
    /// were. One that isn't there is no error.
    ///
    /// # Errors
    /// `ServerSaidNo` when the server won't.
    pub async fn delete_folder(&mut self, folder: &str, inbox: &str) -> Result<usize, NetError> {
        self.known.remove(folder);
        if !self.folder_exists(folder).await? {
            return Ok(0);
        }
        self.select(folder).await?;
        let uids = self.uids("ALL").await?;
        if !uids.is_empty() {
            self.remove(&uids).await?;
        }
        // A selected folder can't be deleted on some servers, and a session on a deleted one is ended by others.
        self.select(inbox).await?;
        match self.conn.ok("UNSUBSCRIBE", &format!("UNSUBSCRIBE {}", quoted(folder)?), |_| {}).await {
            Ok(_) | Err(NetError::ServerSaidNo { .. } | NetError::ServerSaidBad { .. }) => {}
            Err(e) => return Err(e),
        }
        match self.conn.ok("DELETE", &format!("DELETE {}", quoted(folder)?), |_| {}).await {
            Ok(_) => Ok(uids.len()),
            // Gone meanwhile, or never more than a name.
            Err(NetError::ServerSaidNo { .. }) if !self.folder_exists(folder).await? => Ok(uids.len()),
            Err(e) => Err(e),
        }
    }

    /// Creates a folder; true if it is there afterwards.
    async fn create(&mut self, folder: &str) -> Result<bool, NetError> {
        match self.conn.ok("CREATE", &format!("CREATE {}", quoted(folder)?), |_| {}).await {
            Ok(_) => Ok(true),
            Err(e @ NetError::ServerSaidNo { .. }) if e.imap_code() == Some("ALREADYEXISTS") => Ok(true),
            Err(NetError::ServerSaidNo { .. }) => self.folder_exists(folder).await,
            Err(e) => Err(e),
        }
    }

    /// Whether there is such a folder, fit to hold messages.
    pub async fn folder_exists(&mut self, folder: &str) -> Result<bool, NetError> {
        if folder.contains(['*', '%']) {
            return Ok(false);
        }
        let listed = self.listed(&format!("LIST \"\" {}", quoted(folder)?)).await?;
        Ok(listed.iter().any(|l| l.name == folder && l.holds_messages()))
    }

    /// The server's junk folder: by SPECIAL-USE (RFC 6154), else by a usual name.
    pub async fn junk_folder(&mut self) -> Result<Option<String>, NetError> {
        if self.capabilities.special_use {
            match self.listed("LIST (SPECIAL-USE) \"\" \"*\"").await {
                Ok(listed) => {
                    if let Some(junk) = listed.into_iter().find(|l| l.has(&NameAttribute::Junk)) {
                        return Ok(Some(junk.name));
                    }
                }
                // Advertised and not understood: look at the names.
                Err(NetError::ServerSaidNo { .. } | NetError::ServerSaidBad { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        let mut patterns = vec!["%".to_owned()];
        if !self.prefix.is_empty() {
            patterns.push(format!("{}%", self.prefix));
        } else if let Some(delimiter) = self.delimiter {
            patterns.push(format!("INBOX{delimiter}%"));
        }
        let mut candidates = Vec::new();
        for pattern in patterns {
            candidates.extend(self.listed(&format!("LIST \"\" {}", quoted(&pattern)?)).await?);
        }
        candidates.retain(Listed::holds_messages);
        if let Some(junk) = candidates.iter().find(|l| l.has(&NameAttribute::Junk)) {
            return Ok(Some(junk.name.clone()));
        }
        let last_part = |l: &Listed| {
            let name = from_utf7(&l.name).to_lowercase();
            self.delimiter.and_then(|d| name.rsplit(d).next().map(str::to_owned)).unwrap_or(name)
        };
        let by_name = |wanted: &&str| candidates.iter().find(|l| last_part(l) == *wanted);
        Ok(JUNK_NAMES.iter().find_map(by_name).map(|l| l.name.clone()))
    }

    async fn listed(&mut self, line: &str) -> Result<Vec<Listed>, NetError> {
        let mut listed = Vec::new();
        self.conn
            .ok("LIST", line, |answer| {
                if let Response::MailboxData(MailboxDatum::List(data)) = answer {
                    let attributes = data.name_attributes.iter().cloned().map(NameAttribute::into_owned).collect();
                    listed.push(Listed { attributes, name: data.name.clone().into_owned() });
                }
            })
            .await?;
        Ok(listed)
    }
}
