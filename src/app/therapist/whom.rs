//! Whom a therapist's mail is about, and whether it is meant for the practice: by signed bytes only.

use std::collections::BTreeSet;

use super::{Mail, Refused, Step, by_target};
use crate::domain::commands::Command;
use crate::letters::RefusalReason;
use crate::mime;
use crate::model::{ClientCode, ClientId, Direction, Kind, Mark, MessageRow};
use crate::store::{Client, Message, Tx};

impl Mail<'_> {
    /// The one client that signed bytes name: the protected subject's tag, protected References, `/to`,
    /// tokens of quoted banners, the number of a held letter.
    pub(super) async fn find_client(&mut self, tx: &mut Tx) -> Step<Option<Client>> {
        let mut named: BTreeSet<ClientId> = BTreeSet::new();
        let mut rows: Vec<MessageRow> = Vec::new();
        for code in self.codes() {
            match tx.client_by_code(&code).await? {
                Some(client) if self.may_write_to(tx, &client).await? => {
                    named.insert(client.id);
                }
                _ => return Ok(Err(Refused::new(RefusalReason::UnknownCode { code: code.to_string() }))),
            }
        }
        for token in &self.taken_apart.tokens_in_quotes {
            rows.extend(self.ctx.store.vault().read_token(token));
        }
        if let Some(protected) = &self.from.examined.protected {
            for id in protected.references.iter().chain(&protected.in_reply_to) {
                if let Some(message) = tx.message_by_own_id(id).await? {
                    rows.push(message.id);
                } else if let Some(mail) = tx.outbox_by_mail_id(id).await?
                    && let Some(client) = mail.client
                {
                    named.insert(client);
                    // A locum's copy bears an id of its own.
                    rows.extend(mail.message.filter(|_| mail.kind == Kind::LocumForward));
                }
            }
        }
        let mut letters: Vec<Message> = Vec::new();
        for row in rows {
            let Some(message) = tx.message(row).await? else { continue };
            named.extend(message.client);
            if message.direction == Direction::In && message.client.is_some() {
                letters.push(message);
            }
        }
        for command in &self.parsed.commands {
            if let Command::Release(Some(target)) | Command::Discard(Some(target)) = command
                && let Some(message) = by_target(tx, target).await?
            {
                named.extend(message.client);
            }
        }
        let client = match self.only_one(tx, named).await? {
            Ok(client) => client,
            Err(refused) => return Ok(Err(refused)),
        };
        // Of the one who is answered, and nobody else: what it quotes and where it hangs follow from it.
        letters.retain(|letter| letter.client == client.as_ref().map(|client| client.id));
        let newest = letters.into_iter().max_by_key(|letter| (letter.at, letter.id));
        self.newest_named_at = newest.as_ref().map(|message| message.at);
        self.newest_named = newest.map(|message| message.id);
        Ok(Ok(client))
    }

    async fn only_one(&self, tx: &mut Tx, named: BTreeSet<ClientId>) -> Step<Option<Client>> {
        let (mut clients, mut foreign) = (Vec::new(), false);
        for id in named {
            let Some(client) = tx.client(id).await? else { continue };
            if self.may_write_to(tx, &client).await? {
                clients.push(self.as_seen(client));
            } else {
                foreign = true;
            }
        }
        if foreign && !clients.is_empty() {
            // It names somebody else's client too: which of them is meant can't be known, nor be said.
            return Ok(Err(Refused::new(RefusalReason::NoClient)));
        }
        if clients.len() > 1 {
            let codes = clients.into_iter().map(|client| client.code).collect();
            return Ok(Err(Refused::new(RefusalReason::ClientConflict { codes })));
        }
        let client = clients.pop();
        if client.is_none() && !self.needs_no_client() {
            return Ok(Err(Refused::new(RefusalReason::NoClient)));
        }
        Ok(Ok(client))
    }

    /// Codes in the protected subject's tags and in `/to` lines.
    fn codes(&self) -> Vec<ClientCode> {
        let mut codes: Vec<ClientCode> = Vec::new();
        if let Some(protected) = &self.from.examined.protected {
            codes.extend(tags(&protected.subject));
        }
        codes.extend(self.parsed.commands.iter().filter_map(|command| match command {
            Command::To(code) => Some(code.clone()),
            _ => None,
        }));
        codes
    }

    /// Only commands that are about nobody, and no letter.
    pub(super) fn needs_no_client(&self) -> bool {
        !self.parsed.commands.is_empty()
            && self.parsed.words == 0
            && self.parsed.commands.iter().all(|command| {
                matches!(
                    command,
                    Command::Digest
                        | Command::Help
                        | Command::Invite { .. }
                        | Command::Discard(Some(_))
                        | Command::Release(Some(_))
                        | Command::Absent { .. }
                        | Command::Back
                )
            })
    }

    /// The signature must be meant for the practice: by its Intended Recipient, the protected To, or a
    /// sign that only mail to Cadre has.
    pub(super) fn is_for_us(&self, names_client: bool) -> bool {
        let practice = &self.ctx.config.practice.address;
        let examined = &self.from.examined;
        if examined.decision.marks.contains(&Mark::NotForUs) {
            return false;
        }
        let intended = examined.signature.as_ref().is_some_and(|signature| !signature.intended.is_empty());
        let protected_to = examined.protected.as_ref().is_some_and(|mail| mail.recipients().any(|to| to == practice));
        let wrong_to = examined
            .protected
            .as_ref()
            .is_some_and(|mail| mail.recipients().next().is_some() && !mail.recipients().any(|to| to == practice));
        !wrong_to && (intended || protected_to || names_client || !self.parsed.commands.is_empty())
    }

    /// Copies to the therapist's own address are allowed; any other recipient means refusal.
    pub(super) fn has_other_recipients(&self) -> bool {
        let practice = &self.ctx.config.practice.address;
        let own = &self.from.therapist.settings.address;
        let examined = &self.from.examined;
        let protected = examined.protected.iter().flat_map(mime::Mail::recipients);
        examined.outer.recipients().chain(protected).any(|to| to != practice && to != own)
    }
}

/// The codes in the tags `[C-7K2M]` of a subject.
pub(super) fn tags(subject: &str) -> Vec<ClientCode> {
    subject
        .split('[')
        .skip(1)
        .filter_map(|rest| rest.split_once(']'))
        .filter(|(tag, _)| tag.trim().to_ascii_uppercase().starts_with("C-"))
        .filter_map(|(tag, _)| tag.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_from_subjects_in_any_place_and_case() {
        let codes = tags("Re: AW: [c-7k2m] Marie B. : [note] [C-ZZZZ]");
        let names: Vec<&str> = codes.iter().map(ClientCode::as_str).collect();
        assert_eq!(names, ["C-7K2M", "C-ZZZZ"]);
        assert!(tags("[7K2M] C-7K2M").is_empty());
    }
}
