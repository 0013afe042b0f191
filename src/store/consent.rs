//! Wordings of the frame, the letters that asked about them, what was agreed to, and cards.

use chrono::{DateTime, Utc};

use super::sql::{self, Row};
use super::{MacParts, StoreError, Tx, Vault, micros, time, vault};
use crate::model::{Channel, ClientId, Language, OutboxRow, TherapistId, Verdict};

const CONSENT: &str = "consent";
const CARD: &str = "card";
const VERSION: &str = "frame_version";
const LETTER: &str = "frame_letter";

/// Which wording of whose frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    pub therapist: TherapistId,
    pub language: Language,
    /// What is said of the letters' way differs, and with it what is agreed to.
    pub channel: Channel,
    /// From 1.
    pub number: u32,
    /// SHA-256 of the wording.
    pub hash: Vec<u8>,
}

/// That somebody agreed to a wording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    pub wording: Wording,
    pub at: DateTime<Utc>,
    /// None: given on paper.
    pub verdict: Option<Verdict>,
}

/// The channel in a row's MAC: rows from before there were two have none in theirs.
fn channel_of(wording: &Wording) -> Option<&'static str> {
    (wording.channel != Channel::OpenPgp).then(|| wording.channel.as_str())
}

fn consent_mac(vault: &Vault, id: i64, client: ClientId, consent: &Consent) -> [u8; 32] {
    let mut parts = MacParts::default();
    parts
        .int(Some(id))
        .int(Some(client.0))
        .text(&consent.wording.therapist.0)
        .text(consent.wording.language.as_str())
        .int(Some(consent.wording.number.into()))
        .add(Some(&consent.wording.hash))
        .int(Some(micros(consent.at)))
        .add(consent.verdict.map(|verdict| verdict.as_str().as_bytes()));
    if let Some(channel) = channel_of(&consent.wording) {
        parts.text(channel);
    }
    parts.mac(vault, CONSENT)
}

pub(super) fn version_mac(vault: &Vault, wording: &Wording, first: i64) -> [u8; 32] {
    let mut parts = MacParts::default();
    parts
        .text(&wording.therapist.0)
        .text(wording.language.as_str())
        .int(Some(wording.number.into()))
        .add(Some(&wording.hash))
        .int(Some(first));
    if let Some(channel) = channel_of(wording) {
        parts.text(channel);
    }
    parts.mac(vault, VERSION)
}

/// Over the hash too, so that a letter about one wording never counts for another under its number.
pub(super) fn letter_mac(vault: &Vault, letter: i64, client: ClientId, wording: &Wording, at: i64) -> [u8; 32] {
    let mut parts = MacParts::default();
    parts
        .int(Some(letter))
        .int(Some(client.0))
        .text(&wording.therapist.0)
        .text(wording.language.as_str())
        .int(Some(wording.number.into()))
        .add(Some(&wording.hash))
        .int(Some(at));
    if let Some(channel) = channel_of(wording) {
        parts.text(channel);
    }
    parts.mac(vault, LETTER)
}

fn card_mac(vault: &Vault, client: ClientId, at: i64, data: &[u8]) -> [u8; 32] {
    MacParts::default().int(Some(client.0)).int(Some(at)).add(Some(data)).mac(vault, CARD)
}

fn open_consent(vault: &Vault, row: &Row) -> Result<Consent, StoreError> {
    let id: i64 = row.get("id")?;
    let corrupt = || StoreError::Corrupt { table: CONSENT, row: id };
    let verdict: Option<&str> = row.get("verdict")?;
    let consent = Consent {
        wording: Wording {
            therapist: TherapistId(row.get("therapist")?),
            language: row.get::<&str>("language")?.parse().map_err(|_| corrupt())?,
            channel: row.get::<&str>("channel")?.parse().map_err(|_| corrupt())?,
            number: row.get("number")?,
            hash: row.get("hash")?,
        },
        at: time(CONSENT, id, row.get("at")?)?,
        verdict: verdict.map(|word| word.parse().map_err(|_| corrupt())).transpose()?,
    };
    let expected = consent_mac(vault, id, ClientId(row.get("client_id")?), &consent);
    if vault::same(&expected, row.get("mac")?) { Ok(consent) } else { Err(corrupt()) }
}

impl Tx {
    /// The number of a wording: that of the newest one where the hash is the same, else the next. `true`: it is new.
    /// Where the newest was changed by somebody else it is a new one.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn wording(
        &mut self,
        therapist: &TherapistId,
        language: Language,
        channel: Channel,
        hash: &[u8],
        at: DateTime<Utc>,
    ) -> Result<(Wording, bool), StoreError> {
        let sql = "SELECT number, hash, first_at, mac FROM frame_version WHERE therapist = $1 AND language = $2 \
                   AND channel = $3 ORDER BY number DESC LIMIT 1";
        let newest = sql::query(sql).bind(&therapist.0).bind(language.as_str()).bind(channel.as_str());
        let newest = newest.fetch_optional(&mut self.conn).await?;
        let wording = |number| Wording { therapist: therapist.clone(), language, channel, number, hash: hash.to_vec() };
        let mut next = 1;
        if let Some(row) = newest {
            let number: u32 = row.get("number")?;
            if row.get::<&[u8]>("hash")? == hash {
                let known = wording(number);
                let expected = version_mac(self.vault(), &known, row.get("first_at")?);
                if vault::same(&expected, row.get("mac")?) {
                    return Ok((known, false));
                }
                tracing::warn!(
                    number,
                    "the number of a frame's wording was changed in the database: it gets a new one"
                );
            }
            next = number.saturating_add(1);
        }
        let new = wording(next);
        let mac = version_mac(self.vault(), &new, micros(at));
        sql::query(
            "INSERT INTO frame_version (therapist, language, channel, number, hash, first_at, mac) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&therapist.0)
        .bind(language.as_str())
        .bind(channel.as_str())
        .bind(next)
        .bind(hash)
        .bind(micros(at))
        .bind(mac.as_slice())
        .execute(&mut self.conn)
        .await?;
        Ok((new, true))
    }

    /// The wording that was counted last.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn newest_wording(
        &mut self,
        therapist: &TherapistId,
        language: Language,
        channel: Channel,
    ) -> Result<Option<Wording>, StoreError> {
        let sql = "SELECT number, hash FROM frame_version WHERE therapist = $1 AND language = $2 AND channel = $3 \
                   ORDER BY number DESC LIMIT 1";
        let newest = sql::query(sql).bind(&therapist.0).bind(language.as_str()).bind(channel.as_str());
        let Some(row) = newest.fetch_optional(&mut self.conn).await? else { return Ok(None) };
        let (number, hash) = (row.get("number")?, row.get("hash")?);
        Ok(Some(Wording { therapist: therapist.clone(), language, channel, number, hash }))
    }

    /// Remembers which letter asked somebody about which wording.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn add_frame_letter(
        &mut self,
        letter: OutboxRow,
        client: ClientId,
        wording: &Wording,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mac = letter_mac(self.vault(), letter.0, client, wording, micros(at));
        sql::query(
            "INSERT INTO frame_letter (outbox_id, client_id, therapist, language, channel, number, at, mac) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(letter.0)
        .bind(client.0)
        .bind(&wording.therapist.0)
        .bind(wording.language.as_str())
        .bind(wording.channel.as_str())
        .bind(wording.number)
        .bind(micros(at))
        .bind(mac.as_slice())
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// The letters that asked somebody about this wording, and when, the newest first. A row that was changed by somebody
    /// else is none of them: then it is asked again.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn frame_letters(
        &mut self,
        client: ClientId,
        wording: &Wording,
    ) -> Result<Vec<(OutboxRow, DateTime<Utc>)>, StoreError> {
        let sql = "SELECT outbox_id, at, mac FROM frame_letter WHERE client_id = $1 AND therapist = $2 AND language = $3 \
                   AND channel = $4 AND number = $5 ORDER BY at DESC, outbox_id DESC";
        let rows = sql::query(sql)
            .bind(client.0)
            .bind(&wording.therapist.0)
            .bind(wording.language.as_str())
            .bind(wording.channel.as_str())
            .bind(wording.number)
            .fetch_all(&mut self.conn)
            .await?;
        let mut letters = Vec::with_capacity(rows.len());
        for row in &rows {
            let (id, at): (i64, i64) = (row.get("outbox_id")?, row.get("at")?);
            let expected = letter_mac(self.vault(), id, client, wording, at);
            if vault::same(&expected, row.get("mac")?) {
                letters.push((OutboxRow(id), time(LETTER, id, at)?));
            }
        }
        Ok(letters)
    }

    /// Records a consent.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn add_consent(&mut self, client: ClientId, consent: &Consent) -> Result<(), StoreError> {
        let id = self.new_id();
        let mac = consent_mac(self.vault(), id, client, consent);
        sql::query(
            "INSERT INTO consent (id, client_id, therapist, language, channel, number, hash, at, verdict, mac) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(id)
        .bind(client.0)
        .bind(&consent.wording.therapist.0)
        .bind(consent.wording.language.as_str())
        .bind(consent.wording.channel.as_str())
        .bind(consent.wording.number)
        .bind(&consent.wording.hash)
        .bind(micros(consent.at))
        .bind(consent.verdict.map(Verdict::as_str))
        .bind(mac.as_slice())
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// What somebody agreed to last.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it was changed; [`StoreError::Db`].
    pub async fn last_consent(&mut self, client: ClientId) -> Result<Option<Consent>, StoreError> {
        let sql = "SELECT * FROM consent WHERE client_id = $1 ORDER BY at DESC, id DESC LIMIT 1";
        let row = sql::query(sql).bind(client.0).fetch_optional(&mut self.conn).await?;
        row.map(|row| open_consent(self.vault(), &row)).transpose()
    }

    /// All that somebody agreed to, the first one first.
    ///
    /// # Errors
    /// As [`Tx::last_consent`].
    pub async fn consents(&mut self, client: ClientId) -> Result<Vec<Consent>, StoreError> {
        let sql = "SELECT * FROM consent WHERE client_id = $1 ORDER BY at, id";
        let rows = sql::query(sql).bind(client.0).fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| open_consent(self.vault(), row)).collect()
    }

    /// One consent.
    ///
    /// # Errors
    /// As [`Tx::last_consent`].
    pub async fn consent(&mut self, id: i64) -> Result<Option<Consent>, StoreError> {
        let row = sql::query("SELECT * FROM consent WHERE id = $1").bind(id).fetch_optional(&mut self.conn).await?;
        row.map(|row| open_consent(self.vault(), &row)).transpose()
    }

    /// Keeps a client's card: OpenPGP ciphertext to the therapist.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn set_card(&mut self, client: ClientId, data: &[u8], at: DateTime<Utc>) -> Result<(), StoreError> {
        let resting = self.rest_of(client, CARD, data).await?;
        let mac = card_mac(self.vault(), client, micros(at), &resting);
        sql::query(
            "INSERT INTO card (client_id, at, data, mac) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (client_id) DO UPDATE SET at = excluded.at, data = excluded.data, mac = excluded.mac",
        )
        .bind(client.0)
        .bind(micros(at))
        .bind(resting)
        .bind(mac.as_slice())
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// A client's card as it was sealed, and since when.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it was changed; [`StoreError::Db`].
    pub async fn card(&mut self, client: ClientId) -> Result<Option<(Vec<u8>, DateTime<Utc>)>, StoreError> {
        let row = sql::query("SELECT at, data, mac FROM card WHERE client_id = $1").bind(client.0);
        let Some(row) = row.fetch_optional(&mut self.conn).await? else { return Ok(None) };
        let (at, data): (i64, Vec<u8>) = (row.get("at")?, row.get("data")?);
        if !vault::same(&card_mac(self.vault(), client, at, &data), row.get("mac")?) {
            return Err(StoreError::Corrupt { table: CARD, row: client.0 });
        }
        let card = self.unrest_of(client, CARD, data).await?;
        Ok(Some((card, time(CARD, client.0, at)?)))
    }

    /// Destroys a client's card; `false` where there was none.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn drop_card(&mut self, client: ClientId) -> Result<bool, StoreError> {
        let query = sql::query("DELETE FROM card WHERE client_id = $1").bind(client.0);
        Ok(query.execute(&mut self.conn).await?.rows_affected() > 0)
    }

    /// Takes everything that names somebody out of the record of a client who never came to be one: address, name,
    /// label, key, and what they wrote. The code stays used.
    ///
    /// # Errors
    /// [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`].
    pub async fn forget_client(&mut self, client: ClientId, at: DateTime<Utc>) -> Result<(), StoreError> {
        for message in self.thread(client).await? {
            self.delete_blob(message.id).await?;
        }
        for row in self.outbox_of_client(client).await? {
            self.cancel(row, at).await?;
        }
        for sql in [
            "UPDATE message SET sender = NULL, sender_hash = NULL, subject = NULL, origin_id = NULL, \
             origin_id_hash = NULL, note = NULL WHERE client_id = $1",
            "DELETE FROM data_key WHERE client_id = $1",
            "DELETE FROM enrolment WHERE client_id = $1",
            "DELETE FROM key_offer WHERE client_id = $1",
            "DELETE FROM card WHERE client_id = $1",
            "DELETE FROM pdf_channel WHERE client_id = $1",
            "DELETE FROM answer_words WHERE client_id = $1",
            "UPDATE outbox SET facts = NULL, recipient = NULL, mail_id = NULL, mail_id_hash = NULL, frozen = NULL \
             WHERE client_id = $1 AND state IN ('cancelled', 'failed', 'sent', 'replaced')",
        ] {
            sql::query(sql).bind(client.0).execute(&mut self.conn).await?;
        }
        self.rows_deleted();
        self.blank_client(client).await
    }

    async fn outbox_of_client(&mut self, client: ClientId) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = "SELECT id FROM outbox WHERE client_id = $1 AND state IN ('waiting', 'held') ";
        let ids: Vec<i64> = sql::scalar(sql).bind(client.0).fetch_all(&mut self.conn).await?;
        Ok(ids.into_iter().map(OutboxRow).collect())
    }
}
