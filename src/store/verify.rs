//! Whether the stored rows are as Cadre wrote them: each one's MAC and sealed columns, one by one.

use super::consent::{letter_mac, version_mac};
use super::sealed_letters::words_mac;
use super::sql::{self, Row};
use super::{StoreError, Tx, Wording, vault};
use crate::model::{AbsenceRow, ClientCode, ClientId, MessageRow, OutboxRow, TherapistId};

/// A table whose rows have MACs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Client,
    Message,
    /// `blob`: by the id of its message, whether that is there or not.
    Body,
    Outbox,
    Alert,
    Absence,
    KeyOffer,
    Enrolment,
    PdfChannel,
    AnswerWords,
    Card,
    Consent,
    /// `frame_letter`, with the wording that it asked about.
    FrameLetter,
    /// All of `frame_version` at once: its rows have no number.
    Wordings,
    /// By the id of the letter.
    LocumCopy,
    /// All of `therapist_key` and `therapist_offer` at once.
    TherapistKeys,
    /// By the id that the client had.
    Erasure,
    /// By the client, of each who has a certificate.
    KeyExpiry,
}

impl Kept {
    /// All of them; clients first.
    pub const ALL: [Self; 18] = [
        Self::Client,
        Self::Message,
        Self::Body,
        Self::Outbox,
        Self::Alert,
        Self::Absence,
        Self::KeyOffer,
        Self::Enrolment,
        Self::PdfChannel,
        Self::AnswerWords,
        Self::Card,
        Self::Consent,
        Self::FrameLetter,
        Self::Wordings,
        Self::LocumCopy,
        Self::TherapistKeys,
        Self::Erasure,
        Self::KeyExpiry,
    ];

    /// The table's name.
    pub fn table(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Message => "message",
            Self::Body => "blob",
            Self::Outbox => "outbox",
            Self::Alert => "alert",
            Self::Absence => "absence",
            Self::KeyOffer => "key_offer",
            Self::Enrolment => "enrolment",
            Self::PdfChannel => "pdf_channel",
            Self::AnswerWords => "answer_words",
            Self::Card => "card",
            Self::Consent => "consent",
            Self::FrameLetter => "frame_letter",
            Self::Wordings => "frame_version",
            Self::LocumCopy => "locum_copy",
            Self::TherapistKeys => "therapist_key",
            Self::Erasure => "erasure",
            Self::KeyExpiry => "key_expiry",
        }
    }

    fn ids(self) -> &'static str {
        match self {
            Self::Client => "SELECT id FROM client ORDER BY id",
            Self::Message => "SELECT id FROM message ORDER BY id",
            Self::Body => "SELECT message_id FROM blob ORDER BY message_id",
            Self::Outbox => "SELECT id FROM outbox ORDER BY id",
            Self::Alert => "SELECT id FROM alert ORDER BY id",
            Self::Absence => "SELECT id FROM absence ORDER BY id",
            Self::KeyOffer => "SELECT id FROM key_offer ORDER BY id",
            Self::Enrolment => "SELECT client_id FROM enrolment ORDER BY client_id",
            Self::PdfChannel => "SELECT client_id FROM pdf_channel ORDER BY client_id",
            Self::AnswerWords => "SELECT outbox_id FROM answer_words ORDER BY outbox_id",
            Self::Card => "SELECT client_id FROM card ORDER BY client_id",
            Self::Consent => "SELECT id FROM consent ORDER BY id",
            Self::FrameLetter => "SELECT outbox_id FROM frame_letter ORDER BY outbox_id",
            Self::LocumCopy => "SELECT DISTINCT message_id FROM locum_copy ORDER BY message_id",
            Self::Wordings | Self::TherapistKeys => "SELECT 0",
            Self::Erasure => "SELECT client_id FROM erasure ORDER BY client_id",
            Self::KeyExpiry => "SELECT id FROM client WHERE certificate IS NOT NULL ORDER BY id",
        }
    }

    /// How a row names its client.
    fn owner(self) -> Option<&'static str> {
        Some(match self {
            Self::Client => "SELECT code FROM client WHERE id = $1",
            Self::Message | Self::Body | Self::LocumCopy => {
                "SELECT c.code FROM message r JOIN client c ON c.id = r.client_id WHERE r.id = $1"
            }
            Self::Outbox | Self::AnswerWords | Self::FrameLetter => {
                "SELECT c.code FROM outbox r JOIN client c ON c.id = r.client_id WHERE r.id = $1"
            }
            Self::Alert => "SELECT c.code FROM alert r JOIN client c ON c.id = r.client_id WHERE r.id = $1",
            Self::KeyOffer => "SELECT c.code FROM key_offer r JOIN client c ON c.id = r.client_id WHERE r.id = $1",
            Self::Consent => "SELECT c.code FROM consent r JOIN client c ON c.id = r.client_id WHERE r.id = $1",
            Self::Enrolment | Self::PdfChannel | Self::Card | Self::KeyExpiry => {
                "SELECT code FROM client WHERE id = $1"
            }
            Self::Erasure => "SELECT code FROM erasure WHERE client_id = $1",
            Self::Absence | Self::Wordings | Self::TherapistKeys => return None,
        })
    }
}

impl Tx {
    /// The ids of a table's rows.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn kept_rows(&mut self, kept: Kept) -> Result<Vec<i64>, StoreError> {
        Ok(sql::scalar(kept.ids()).fetch_all(&mut self.conn).await?)
    }

    /// The code of the client that a row belongs to, as far as a row that may have been changed tells it.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn kept_for(&mut self, kept: Kept, row: i64) -> Result<Option<ClientCode>, StoreError> {
        let Some(sql) = kept.owner() else { return Ok(None) };
        let code: Option<String> = sql::scalar(sql).bind(row).fetch_optional(&mut self.conn).await?;
        Ok(code.and_then(|code| code.parse().ok()))
    }

    /// Reads a row as its readers do; one that is gone meanwhile is good.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] or [`StoreError::Tampered`]: something else than Cadre changed it. [`StoreError::Db`].
    pub async fn check_kept(&mut self, kept: Kept, row: i64) -> Result<(), StoreError> {
        match kept {
            Kept::Client => self.client(ClientId(row)).await.map(drop),
            Kept::Message => self.message(MessageRow(row)).await.map(drop),
            Kept::Body => self.blob(MessageRow(row)).await.map(drop),
            Kept::Outbox => self.check_outbox(OutboxRow(row)).await,
            Kept::Alert => self.alert(row).await.map(drop),
            Kept::Absence => self.absence(AbsenceRow(row)).await.map(drop),
            Kept::KeyOffer => self.offer(row).await.map(drop),
            Kept::Enrolment => self.enrolment(ClientId(row)).await.map(drop),
            Kept::PdfChannel => self.pdf_channel(ClientId(row)).await.map(drop),
            Kept::AnswerWords => self.check_words(row).await,
            Kept::Card => self.card(ClientId(row)).await.map(drop),
            Kept::Consent => self.consent(row).await.map(drop),
            Kept::FrameLetter => self.check_frame_letter(row).await,
            Kept::Wordings => self.check_wordings().await,
            Kept::LocumCopy => self.check_locum_copies(MessageRow(row)).await,
            Kept::TherapistKeys => self.check_therapist_keys().await,
            Kept::Erasure => self.check_erasures(row).await,
            Kept::KeyExpiry => self.check_key_expiry(ClientId(row)).await,
        }
    }

    async fn check_outbox(&mut self, row: OutboxRow) -> Result<(), StoreError> {
        match self.outbox(row).await? {
            Some(mail) if mail.has_frozen => self.frozen(row).await.map(drop),
            _ => Ok(()),
        }
    }

    async fn check_words(&mut self, row: i64) -> Result<(), StoreError> {
        let sql = "SELECT client_id, words, at, mac FROM answer_words WHERE outbox_id = $1";
        let Some(found) = sql::query(sql).bind(row).fetch_optional(&mut self.conn).await? else { return Ok(()) };
        let words: &[u8] = found.get("words")?;
        let mac = words_mac(self.vault(), row, ClientId(found.get("client_id")?), words, found.get("at")?);
        let good =
            vault::same(&mac, found.get("mac")?) && self.vault().unseal("answer_words", row, "words", words).is_ok();
        held_to(good, "answer_words", row)
    }

    async fn check_frame_letter(&mut self, row: i64) -> Result<(), StoreError> {
        let sql = "SELECT l.client_id, l.therapist, l.language, l.channel, l.number, l.at, l.mac, v.hash \
                   FROM frame_letter l LEFT JOIN frame_version v ON v.therapist = l.therapist \
                   AND v.language = l.language AND v.channel = l.channel AND v.number = l.number WHERE l.outbox_id = $1";
        let Some(found) = sql::query(sql).bind(row).fetch_optional(&mut self.conn).await? else { return Ok(()) };
        let hash: Option<Vec<u8>> = found.get("hash")?;
        let Some(wording) = hash.and_then(|hash| wording(&found, hash)) else {
            return held_to(false, "frame_letter", row);
        };
        let mac = letter_mac(self.vault(), row, ClientId(found.get("client_id")?), &wording, found.get("at")?);
        held_to(vault::same(&mac, found.get("mac")?), "frame_letter", row)
    }

    async fn check_wordings(&mut self) -> Result<(), StoreError> {
        for found in sql::query("SELECT * FROM frame_version").fetch_all(&mut self.conn).await? {
            let good = match wording(&found, found.get("hash")?) {
                Some(wording) => {
                    let mac = version_mac(self.vault(), &wording, found.get("first_at")?);
                    vault::same(&mac, found.get("mac")?)
                }
                None => false,
            };
            held_to(good, "frame_version", 0)?;
        }
        Ok(())
    }

    async fn check_locum_copies(&mut self, letter: MessageRow) -> Result<(), StoreError> {
        self.copies_of(letter).await.map(drop)
    }

    /// A letter's copies for locums that are still kept.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where one is another letter's or was changed; [`StoreError::Db`].
    pub async fn copies_of(&mut self, letter: MessageRow) -> Result<Vec<(TherapistId, Vec<u8>)>, StoreError> {
        let sql = "SELECT locum FROM locum_copy WHERE message_id = $1";
        let locums: Vec<String> = sql::scalar(sql).bind(letter.0).fetch_all(&mut self.conn).await?;
        let mut copies = Vec::new();
        for locum in locums.into_iter().map(TherapistId) {
            let copy = self.locum_copy(letter, &locum).await?;
            copies.extend(copy.map(|copy| (locum, copy)));
        }
        Ok(copies)
    }

    async fn check_erasures(&mut self, client: i64) -> Result<(), StoreError> {
        let sql = "SELECT code FROM erasure WHERE client_id = $1";
        let codes: Vec<String> = sql::scalar(sql).bind(client).fetch_all(&mut self.conn).await?;
        for code in codes {
            // One that isn't written as Cadre writes codes is found by nobody.
            let known = match code.parse() {
                Ok(code) => self.erasure(&code).await?.is_some(),
                Err(_) => false,
            };
            held_to(known, "erasure", client)?;
        }
        Ok(())
    }

    async fn check_therapist_keys(&mut self) -> Result<(), StoreError> {
        self.therapist_keys().await?;
        let welcomed = sql::scalar("SELECT therapist FROM therapist_offer").fetch_all(&mut self.conn).await?;
        for therapist in welcomed {
            self.therapist_offer(&TherapistId(therapist)).await?;
        }
        Ok(())
    }
}

fn wording(row: &Row, hash: Vec<u8>) -> Option<Wording> {
    Some(Wording {
        therapist: TherapistId(row.get("therapist").ok()?),
        language: row.get::<&str>("language").ok()?.parse().ok()?,
        channel: row.get::<&str>("channel").ok()?.parse().ok()?,
        number: row.get("number").ok()?,
        hash,
    })
}

fn held_to(good: bool, table: &'static str, row: i64) -> Result<(), StoreError> {
    if good { Ok(()) } else { Err(StoreError::Corrupt { table, row }) }
}
