//! What clients without OpenPGP need: the passphrase of their sealed letters, the words at the end of each, and how often
//! words were guessed.

use chrono::{DateTime, NaiveDate, Utc};

use super::sql;
use super::{MacParts, StoreError, Tx, Vault, micros, micros_opt, time, vault};
use crate::model::{ClientId, OutboxRow};
use crate::secret::Password;

const CHANNEL: &str = "pdf_channel";
const WORDS: &str = "answer_words";
/// How many letters back words are kept.
const KEPT: i64 = 16;

/// How a client's letters are sealed. `Debug` shows nothing of the passphrase.
#[derive(Debug, Clone)]
pub struct PdfChannel {
    pub phrase: Password,
    pub made_at: DateTime<Utc>,
    /// When the therapist had told it by voice; nothing sealed leaves before.
    pub told_at: Option<DateTime<Utc>>,
    /// What the client wants to read above sealed letters.
    pub subject: Option<String>,
    /// The day (UTC) of the last wrong answer words, and how many there were on it.
    pub wrong: Option<(NaiveDate, u32)>,
    /// Words of letters that left before count no more.
    pub blocked_at: Option<DateTime<Utc>>,
}

/// The words of one letter. What they are is for the rules to read.
#[derive(Debug, Clone)]
pub struct LetterWords {
    pub letter: OutboxRow,
    pub at: DateTime<Utc>,
    pub words: Password,
}

/// The columns as they stand in the row.
struct Raw {
    phrase: Vec<u8>,
    made_at: i64,
    told_at: Option<i64>,
    subject: Option<Vec<u8>>,
    wrong_day: Option<String>,
    wrong: i64,
    blocked_at: Option<i64>,
}

impl Raw {
    fn mac(&self, vault: &Vault, client: ClientId) -> [u8; 32] {
        MacParts::default()
            .int(Some(client.0))
            .add(Some(&self.phrase))
            .int(Some(self.made_at))
            .int(self.told_at)
            .add(self.subject.as_deref())
            .add(self.wrong_day.as_deref().map(str::as_bytes))
            .int(Some(self.wrong))
            .int(self.blocked_at)
            .mac(vault, CHANNEL)
    }
}

pub(super) fn words_mac(vault: &Vault, letter: i64, client: ClientId, words: &[u8], at: i64) -> [u8; 32] {
    MacParts::default().int(Some(letter)).int(Some(client.0)).add(Some(words)).int(Some(at)).mac(vault, WORDS)
}

impl Tx {
    /// How a client's letters are sealed; None where no passphrase was ever made.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it was changed; [`StoreError::Db`].
    pub async fn pdf_channel(&mut self, client: ClientId) -> Result<Option<PdfChannel>, StoreError> {
        let row = sql::query("SELECT * FROM pdf_channel WHERE client_id = $1").bind(client.0);
        let Some(row) = row.fetch_optional(&mut self.conn).await? else { return Ok(None) };
        let raw = Raw {
            phrase: row.get("phrase")?,
            made_at: row.get("made_at")?,
            told_at: row.get("told_at")?,
            subject: row.get("subject")?,
            wrong_day: row.get("wrong_day")?,
            wrong: row.get("wrong")?,
            blocked_at: row.get("blocked_at")?,
        };
        let corrupt = || StoreError::Corrupt { table: CHANNEL, row: client.0 };
        let vault = self.vault();
        if !vault::same(&raw.mac(vault, client), row.get("mac")?) {
            return Err(corrupt());
        }
        let text = |column: &str, sealed: &[u8]| {
            let open = vault.unseal(CHANNEL, client.0, column, sealed).map_err(|_| corrupt())?;
            String::from_utf8(open).map_err(|_| corrupt())
        };
        let at = |at: Option<i64>| at.map(|at| time(CHANNEL, client.0, at)).transpose();
        let day = raw.wrong_day.as_deref().map(|day| day.parse().map_err(|_| corrupt())).transpose()?;
        Ok(Some(PdfChannel {
            phrase: Password::new(text("phrase", &raw.phrase)?),
            made_at: time(CHANNEL, client.0, raw.made_at)?,
            told_at: at(raw.told_at)?,
            subject: raw.subject.as_deref().map(|sealed| text("subject", sealed)).transpose()?,
            wrong: day.map(|day| (day, u32::try_from(raw.wrong).unwrap_or(u32::MAX))),
            blocked_at: at(raw.blocked_at)?,
        }))
    }

    /// Keeps how a client's letters are sealed from now on.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn set_pdf_channel(&mut self, client: ClientId, channel: &PdfChannel) -> Result<(), StoreError> {
        let vault = self.vault();
        let seal = |column: &str, text: &str| vault.seal(CHANNEL, client.0, column, text.as_bytes());
        let raw = Raw {
            phrase: seal("phrase", channel.phrase.reveal()),
            made_at: micros(channel.made_at),
            told_at: micros_opt(channel.told_at),
            subject: channel.subject.as_deref().map(|subject| seal("subject", subject)),
            wrong_day: channel.wrong.map(|(day, _)| day.to_string()),
            wrong: channel.wrong.map_or(0, |(_, wrong)| wrong.into()),
            blocked_at: micros_opt(channel.blocked_at),
        };
        let mac = raw.mac(vault, client);
        sql::query(
            "INSERT INTO pdf_channel (client_id, phrase, made_at, told_at, subject, wrong_day, wrong, blocked_at, mac) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (client_id) DO UPDATE SET \
             phrase = excluded.phrase, made_at = excluded.made_at, told_at = excluded.told_at, \
             subject = excluded.subject, wrong_day = excluded.wrong_day, wrong = excluded.wrong, \
             blocked_at = excluded.blocked_at, mac = excluded.mac",
        )
        .bind(client.0)
        .bind(raw.phrase)
        .bind(raw.made_at)
        .bind(raw.told_at)
        .bind(raw.subject)
        .bind(raw.wrong_day)
        .bind(raw.wrong)
        .bind(raw.blocked_at)
        .bind(mac.as_slice())
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// No passphrase is made or waits to be told any more.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn drop_pdf_channel(&mut self, client: ClientId) -> Result<(), StoreError> {
        sql::query("DELETE FROM pdf_channel WHERE client_id = $1").bind(client.0).execute(&mut self.conn).await?;
        self.drop_answer_words(client).await
    }

    /// The words of earlier letters count no more.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn drop_answer_words(&mut self, client: ClientId) -> Result<(), StoreError> {
        sql::query("DELETE FROM answer_words WHERE client_id = $1").bind(client.0).execute(&mut self.conn).await?;
        Ok(())
    }

    /// What waited because it couldn't be sealed to a client is tried at once.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn wake_outbox(&mut self, client: ClientId, now: DateTime<Utc>) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET next_attempt = $2 WHERE client_id = $1 AND state IN ('waiting', 'leaving') \
                   AND reached_dot = 0 AND last_error = 'not-sealable'";
        sql::query(sql).bind(client.0).bind(micros(now)).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Keeps the words of a letter that is about to leave, in place of those of an earlier try.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn add_answer_words(&mut self, client: ClientId, new: &LetterWords) -> Result<(), StoreError> {
        let words = self.vault().seal(WORDS, new.letter.0, "words", new.words.reveal().as_bytes());
        let mac = words_mac(self.vault(), new.letter.0, client, &words, micros(new.at));
        sql::query(
            "INSERT INTO answer_words (outbox_id, client_id, words, at, mac) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (outbox_id) DO UPDATE SET words = excluded.words, at = excluded.at, mac = excluded.mac",
        )
        .bind(new.letter.0)
        .bind(client.0)
        .bind(words)
        .bind(micros(new.at))
        .bind(mac.as_slice())
        .execute(&mut self.conn)
        .await?;
        let sql = "DELETE FROM answer_words WHERE client_id = $1 AND at < \
                   (SELECT at FROM answer_words WHERE client_id = $1 ORDER BY at DESC LIMIT 1 OFFSET $2)";
        sql::query(sql).bind(client.0).bind(KEPT).execute(&mut self.conn).await?;
        Ok(())
    }

    /// The words that count: those of the last two letters that a server has taken, and of any after them that one may
    /// have taken; the newest first.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where one was changed; [`StoreError::Db`].
    pub async fn answer_words(&mut self, client: ClientId) -> Result<Vec<LetterWords>, StoreError> {
        let sql = "SELECT a.outbox_id, a.words, a.at, a.mac, o.state FROM answer_words a JOIN outbox o ON o.id = a.outbox_id \
                   WHERE a.client_id = $1 AND (o.state = 'sent' OR (o.state IN ('waiting', 'leaving', 'held') AND o.reached_dot = 1)) \
                   ORDER BY a.at DESC, a.outbox_id DESC LIMIT 8";
        let rows = sql::query(sql).bind(client.0).fetch_all(&mut self.conn).await?;
        let (mut found, mut sent) = (Vec::new(), 0);
        for row in rows {
            let (letter, at): (i64, i64) = (row.get("outbox_id")?, row.get("at")?);
            let sealed: Vec<u8> = row.get("words")?;
            let corrupt = || StoreError::Corrupt { table: WORDS, row: letter };
            if !vault::same(&words_mac(self.vault(), letter, client, &sealed, at), row.get("mac")?) {
                return Err(corrupt());
            }
            let open = self.vault().unseal(WORDS, letter, "words", &sealed).map_err(|_| corrupt())?;
            let words = Password::new(String::from_utf8(open).map_err(|_| corrupt())?);
            found.push(LetterWords { letter: OutboxRow(letter), at: time(WORDS, letter, at)?, words });
            sent += usize::from(row.get::<&str>("state")? == "sent");
            if sent == 2 {
                break;
            }
        }
        Ok(found)
    }
}
