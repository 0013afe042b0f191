//! Absences of therapists, and the copies of unanswered letters that wait for a locum (ciphertext to the locum).

use chrono::{DateTime, NaiveDate, Utc};

use super::sql::{self, Row};
use super::{MacParts, Reader, StoreError, Tx, Vault, micros, vault};
use crate::model::{AbsenceOrigin, AbsenceRow, ClientId, MessageRow, TherapistId};

const TABLE: &str = "absence";
const COPIES: &str = "locum_copy";

/// The counter that tells a running daemon that absences have changed.
pub const ABSENCES_CHANGED: &str = "absences";

/// One absence; both days belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    pub id: AbsenceRow,
    pub therapist: TherapistId,
    pub first_day: NaiveDate,
    /// None: not known yet.
    pub last_day: Option<NaiveDate>,
    pub locum: Option<TherapistId>,
    pub origin: AbsenceOrigin,
    /// Nobody could be told before.
    pub unplanned: bool,
    pub created_at: DateTime<Utc>,
    /// When the letter before it was made.
    pub announced_at: Option<DateTime<Utc>>,
    /// When the letter of its first day was made.
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

impl Absence {
    /// Over all of it: it decides who reads whose letters, and when that ends.
    fn mac(&self, vault: &Vault) -> [u8; 32] {
        MacParts::default()
            .int(Some(self.id.0))
            .text(&self.therapist.0)
            .text(&self.first_day.to_string())
            .add(self.last_day.map(|day| day.to_string()).as_ref().map(|day| day.as_bytes()))
            .add(self.locum.as_ref().map(|locum| locum.0.as_bytes()))
            .text(self.origin.as_str())
            .int(Some(i64::from(self.unplanned)))
            .int(Some(micros(self.created_at)))
            .int(self.announced_at.map(micros))
            .int(self.started_at.map(micros))
            .int(self.ended_at.map(micros))
            .mac(vault, TABLE)
    }
}

fn open(vault: &Vault, row: &Row) -> Result<Absence, StoreError> {
    let read = Reader::new(vault, TABLE, row)?;
    let absence = Absence {
        id: AbsenceRow(read.id),
        therapist: TherapistId(read.get("therapist")?),
        first_day: read.word("first_day")?,
        last_day: read.day_opt("last_day")?,
        locum: read.get::<Option<String>>("locum")?.map(TherapistId),
        origin: read.word("origin")?,
        unplanned: read.get("unplanned")?,
        created_at: read.time("created_at")?,
        announced_at: read.time_opt("announced_at")?,
        started_at: read.time_opt("started_at")?,
        ended_at: read.time_opt("ended_at")?,
    };
    if vault::same(&absence.mac(vault), read.get("mac")?) { Ok(absence) } else { Err(read.corrupt()) }
}

/// What is kept of a letter for a locum: its ciphertext, or when it was handed over.
struct Copy {
    data: Option<Vec<u8>>,
    handed_at: Option<i64>,
}

impl Copy {
    fn mac(&self, vault: &Vault, message: MessageRow, locum: &TherapistId) -> [u8; 32] {
        MacParts::default()
            .int(Some(message.0))
            .text(&locum.0)
            .add(self.data.as_deref())
            .int(self.handed_at)
            .mac(vault, COPIES)
    }
}

impl Tx {
    /// All absences, the earliest first, those that have ended included.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where a row was changed by somebody else; [`StoreError::Db`].
    pub async fn absences(&mut self) -> Result<Vec<Absence>, StoreError> {
        let rows = sql::query("SELECT * FROM absence ORDER BY first_day, id").fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| open(self.vault(), row)).collect()
    }

    /// One absence.
    ///
    /// # Errors
    /// As [`Tx::absences`].
    pub async fn absence(&mut self, id: AbsenceRow) -> Result<Option<Absence>, StoreError> {
        let row = sql::query("SELECT * FROM absence WHERE id = $1").bind(id.0).fetch_optional(&mut self.conn).await?;
        row.map(|row| open(self.vault(), &row)).transpose()
    }

    /// Stores an absence, or what has changed of one; whoever keeps them in memory sees it by
    /// [`ABSENCES_CHANGED`].
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn put_absence(&mut self, absence: &Absence) -> Result<(), StoreError> {
        sql::query(
            "INSERT INTO absence (id, therapist, first_day, last_day, locum, origin, unplanned, created_at, \
             announced_at, started_at, ended_at, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
             ON CONFLICT (id) DO UPDATE SET last_day = excluded.last_day, locum = excluded.locum, \
             announced_at = excluded.announced_at, started_at = excluded.started_at, ended_at = excluded.ended_at, \
             mac = excluded.mac",
        )
        .bind(absence.id.0)
        .bind(&absence.therapist.0)
        .bind(absence.first_day.to_string())
        .bind(absence.last_day.map(|day| day.to_string()))
        .bind(absence.locum.as_ref().map(|locum| locum.0.as_str()))
        .bind(absence.origin.as_str())
        .bind(absence.unplanned)
        .bind(micros(absence.created_at))
        .bind(absence.announced_at.map(micros))
        .bind(absence.started_at.map(micros))
        .bind(absence.ended_at.map(micros))
        .bind(absence.mac(self.vault()).to_vec())
        .execute(&mut self.conn)
        .await?;
        self.count_up(ABSENCES_CHANGED).await?;
        Ok(())
    }

    /// Keeps a letter's copy for a locum: OpenPGP ciphertext, never words.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn put_locum_copy(
        &mut self,
        message: MessageRow,
        locum: &TherapistId,
        ciphertext: &[u8],
    ) -> Result<(), StoreError> {
        let copy = Copy { data: Some(ciphertext.to_vec()), handed_at: None };
        let mac = copy.mac(self.vault(), message, locum).to_vec();
        let sql = "INSERT INTO locum_copy (message_id, locum, data, mac) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (message_id, locum) DO NOTHING";
        sql::query(sql).bind(message.0).bind(&locum.0).bind(copy.data).bind(mac).execute(&mut self.conn).await?;
        Ok(())
    }

    /// A letter's copy for a locum; None once it is destroyed.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it is another letter's or was changed; [`StoreError::Db`].
    pub async fn locum_copy(
        &mut self,
        message: MessageRow,
        locum: &TherapistId,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.copy_for(message, locum).await?.and_then(|copy| copy.data))
    }

    async fn copy_for(&mut self, message: MessageRow, locum: &TherapistId) -> Result<Option<Copy>, StoreError> {
        let sql = "SELECT data, handed_at, mac FROM locum_copy WHERE message_id = $1 AND locum = $2";
        let row = sql::query(sql).bind(message.0).bind(&locum.0).fetch_optional(&mut self.conn).await?;
        let Some(row) = row else { return Ok(None) };
        let copy = Copy { data: row.get("data")?, handed_at: row.get("handed_at")? };
        if vault::same(&copy.mac(self.vault(), message, locum), row.get("mac")?) {
            Ok(Some(copy))
        } else {
            Err(StoreError::Corrupt { table: COPIES, row: message.0 })
        }
    }

    /// The letters of a client's that wait to be handed to a locum.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn locum_copies(&mut self, client: ClientId, locum: &TherapistId) -> Result<Vec<MessageRow>, StoreError> {
        let sql = "SELECT message.id FROM locum_copy JOIN message ON message.id = locum_copy.message_id \
                   WHERE message.client_id = $1 AND locum_copy.locum = $2 AND locum_copy.data IS NOT NULL \
                   ORDER BY message.at, message.id";
        let ids = sql::scalar(sql).bind(client.0).bind(&locum.0).fetch_all(&mut self.conn).await?;
        Ok(ids.into_iter().map(MessageRow).collect())
    }

    /// A copy has reached the locum: it isn't kept here any longer, only when it was handed over.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn hand_locum_copy(
        &mut self,
        message: MessageRow,
        locum: &TherapistId,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let copy = Copy { data: None, handed_at: Some(micros(at)) };
        let mac = copy.mac(self.vault(), message, locum).to_vec();
        let sql = "UPDATE locum_copy SET data = NULL, handed_at = $3, mac = $4 WHERE message_id = $1 AND locum = $2";
        let query = sql::query(sql).bind(message.0).bind(&locum.0).bind(copy.handed_at).bind(mac);
        query.execute(&mut self.conn).await?;
        Ok(())
    }

    /// When a letter was handed to a locum.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn handed_to_locum(
        &mut self,
        message: MessageRow,
        locum: &TherapistId,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let at = self.copy_for(message, locum).await?.and_then(|copy| copy.handed_at);
        at.map(|at| super::time(COPIES, message.0, at)).transpose()
    }

    /// Destroys the copies of letters that are answered, which nobody has to read any more.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn destroy_answered_copies(&mut self) -> Result<u64, StoreError> {
        let sql = "DELETE FROM locum_copy WHERE EXISTS (SELECT 1 FROM message JOIN turn ON turn.id = message.turn_id \
                   WHERE message.id = locum_copy.message_id AND turn.state <> 'open')";
        Ok(sql::query(sql).execute(&mut self.conn).await?.rows_affected())
    }

    /// Destroys all copies of a client's letters: nobody stands in for them any more. The letters that had one.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn destroy_copies_from(&mut self, client: ClientId) -> Result<Vec<MessageRow>, StoreError> {
        let sql = "DELETE FROM locum_copy WHERE message_id IN (SELECT id FROM message WHERE client_id = $1) \
                   RETURNING message_id";
        let ids: Vec<i64> = sql::scalar(sql).bind(client.0).fetch_all(&mut self.conn).await?;
        Ok(ids.into_iter().map(MessageRow).collect())
    }

    /// Destroys all copies of letters to a therapist: the absence is over.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn destroy_copies_of(&mut self, therapist: &TherapistId) -> Result<u64, StoreError> {
        let sql = "DELETE FROM locum_copy WHERE EXISTS (SELECT 1 FROM message \
                   WHERE message.id = locum_copy.message_id AND message.therapist = $1)";
        Ok(sql::query(sql).bind(&therapist.0).execute(&mut self.conn).await?.rows_affected())
    }
}
