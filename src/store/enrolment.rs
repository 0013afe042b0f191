//! Invitations, the keys that answered them, and therapists' keys on the first day.

use chrono::{DateTime, Utc};

use super::sql::{self, Row};
use super::{MacParts, Reader, StoreError, Tx, Vault, micros, micros_opt, time, vault};
use crate::model::{ClientId, Kind, MessageRow, TherapistId};

const OFFER: &str = "key_offer";
const ENROLMENT: &str = "enrolment";
const THERAPIST: &str = "therapist_offer";

/// Somebody who is asked for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolment {
    pub client: ClientId,
    pub invited_at: DateTime<Utc>,
    /// An enrolled client who is asked for a new one.
    pub rekey: bool,
    pub reminded_at: Option<DateTime<Utc>>,
}

impl Enrolment {
    fn mac(&self, vault: &Vault) -> [u8; 32] {
        MacParts::default()
            .int(Some(self.client.0))
            .int(Some(micros(self.invited_at)))
            .int(Some(self.rekey.into()))
            .int(micros_opt(self.reminded_at))
            .mac(vault, ENROLMENT)
    }
}

/// A certificate that came and waits to be compared. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyOffer {
    pub id: i64,
    pub client: ClientId,
    pub at: DateTime<Utc>,
    /// Binary OpenPGP format, public parts only.
    pub certificate: Vec<u8>,
    pub fingerprint: String,
    /// The mail was signed by this very key.
    pub signed: bool,
    pub encrypted: bool,
    /// The mail was signed by the key that was pinned until then.
    pub by_old: bool,
    /// When its owner and the therapist were told of it.
    pub told_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for KeyOffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyOffer({} bytes)", self.certificate.len())
    }
}

/// Over the sealed bytes as they stand in the row.
fn offer_mac(vault: &Vault, offer: &KeyOffer, certificate: &[u8], fingerprint: &[u8]) -> [u8; 32] {
    MacParts::default()
        .int(Some(offer.id))
        .int(Some(offer.client.0))
        .int(Some(micros(offer.at)))
        .add(Some(certificate))
        .add(Some(fingerprint))
        .int(Some(offer.signed.into()))
        .int(Some(offer.encrypted.into()))
        .int(Some(offer.by_old.into()))
        .int(micros_opt(offer.told_at))
        .mac(vault, OFFER)
}

fn open_offer(vault: &Vault, row: &Row) -> Result<KeyOffer, StoreError> {
    let read = Reader::new(vault, OFFER, row)?;
    let offer = KeyOffer {
        id: read.id,
        client: ClientId(read.get("client_id")?),
        at: read.time("at")?,
        certificate: read.bytes("certificate")?.ok_or_else(|| read.corrupt())?,
        fingerprint: read.text("fingerprint")?.ok_or_else(|| read.corrupt())?,
        signed: read.get("signed")?,
        encrypted: read.get("encrypted")?,
        by_old: read.get("by_old")?,
        told_at: read.time_opt("told_at")?,
    };
    let expected = offer_mac(vault, &offer, read.get("certificate")?, read.get("fingerprint")?);
    if vault::same(&expected, read.get("mac")?) { Ok(offer) } else { Err(read.corrupt()) }
}

fn open_enrolment(vault: &Vault, row: &Row) -> Result<Enrolment, StoreError> {
    let id: i64 = row.get("client_id")?;
    let reminded: Option<i64> = row.get("reminded_at")?;
    let enrolment = Enrolment {
        client: ClientId(id),
        invited_at: time(ENROLMENT, id, row.get("invited_at")?)?,
        rekey: row.get("rekey")?,
        reminded_at: reminded.map(|at| time(ENROLMENT, id, at)).transpose()?,
    };
    if vault::same(&enrolment.mac(vault), row.get("mac")?) {
        Ok(enrolment)
    } else {
        Err(StoreError::Corrupt { table: ENROLMENT, row: id })
    }
}

impl Tx {
    /// Remembers that somebody is asked for a key; a former asking is forgotten.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn set_enrolment(&mut self, enrolment: &Enrolment) -> Result<(), StoreError> {
        let mac = enrolment.mac(self.vault());
        sql::query(
            "INSERT INTO enrolment (client_id, invited_at, rekey, reminded_at, mac) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (client_id) DO UPDATE SET invited_at = excluded.invited_at, rekey = excluded.rekey, \
             reminded_at = excluded.reminded_at, mac = excluded.mac",
        )
        .bind(enrolment.client.0)
        .bind(micros(enrolment.invited_at))
        .bind(enrolment.rekey)
        .bind(micros_opt(enrolment.reminded_at))
        .bind(mac.as_slice())
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// Whether and how somebody is asked for a key.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn enrolment(&mut self, client: ClientId) -> Result<Option<Enrolment>, StoreError> {
        let row = sql::query("SELECT * FROM enrolment WHERE client_id = $1").bind(client.0);
        let row = row.fetch_optional(&mut self.conn).await?;
        row.map(|row| open_enrolment(self.vault(), &row)).transpose()
    }

    /// Everybody who is asked for a key.
    ///
    /// # Errors
    /// As [`Tx::enrolment`].
    pub async fn enrolments(&mut self) -> Result<Vec<Enrolment>, StoreError> {
        let rows = sql::query("SELECT * FROM enrolment ORDER BY invited_at").fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| open_enrolment(self.vault(), row)).collect()
    }

    /// Nobody is asked any more, and no key waits.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn end_enrolment(&mut self, client: ClientId) -> Result<(), StoreError> {
        for sql in ["DELETE FROM enrolment WHERE client_id = $1", "DELETE FROM key_offer WHERE client_id = $1"] {
            sql::query(sql).bind(client.0).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Keeps a key until it is compared; of one fingerprint the newest counts. Who has to go for it is decided before.
    /// The id in `offer` is given here.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn add_offer(&mut self, offer: &KeyOffer) -> Result<KeyOffer, StoreError> {
        for old in self.offers(offer.client).await? {
            if old.fingerprint == offer.fingerprint {
                self.drop_offer(old.id).await?;
            }
        }
        let offer = KeyOffer { id: self.new_id(), ..offer.clone() };
        let certificate = self.vault().seal(OFFER, offer.id, "certificate", &offer.certificate);
        let fingerprint = self.vault().seal(OFFER, offer.id, "fingerprint", offer.fingerprint.as_bytes());
        let mac = offer_mac(self.vault(), &offer, &certificate, &fingerprint);
        sql::query(
            "INSERT INTO key_offer (id, client_id, at, certificate, fingerprint, signed, encrypted, by_old, told_at, mac) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(offer.id)
        .bind(offer.client.0)
        .bind(micros(offer.at))
        .bind(certificate)
        .bind(fingerprint)
        .bind(offer.signed)
        .bind(offer.encrypted)
        .bind(offer.by_old)
        .bind(micros_opt(offer.told_at))
        .bind(mac.as_slice())
        .execute(&mut self.conn)
        .await?;
        Ok(offer)
    }

    /// Notes that both were told of a key.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn offer_told(&mut self, id: i64, at: DateTime<Utc>) -> Result<(), StoreError> {
        let row = sql::query("SELECT * FROM key_offer WHERE id = $1").bind(id).fetch_optional(&mut self.conn).await?;
        let row = row.ok_or(StoreError::Missing { table: OFFER, row: id })?;
        let offer = KeyOffer { told_at: Some(at), ..open_offer(self.vault(), &row)? };
        let mac = offer_mac(self.vault(), &offer, row.get("certificate")?, row.get("fingerprint")?);
        let query = sql::query("UPDATE key_offer SET told_at = $2, mac = $3 WHERE id = $1").bind(id);
        query.bind(micros(at)).bind(mac.as_slice()).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Who has keys waiting that nobody was told of yet.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn untold_offers(&mut self) -> Result<Vec<ClientId>, StoreError> {
        let sql = "SELECT DISTINCT client_id FROM key_offer WHERE told_at IS NULL ORDER BY client_id";
        let ids: Vec<i64> = sql::scalar(sql).fetch_all(&mut self.conn).await?;
        Ok(ids.into_iter().map(ClientId).collect())
    }

    /// A key waits no more.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn drop_offer(&mut self, id: i64) -> Result<(), StoreError> {
        sql::query("DELETE FROM key_offer WHERE id = $1").bind(id).execute(&mut self.conn).await?;
        Ok(())
    }

    /// The keys of somebody that wait to be compared, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where one was changed; [`StoreError::Db`].
    pub async fn offers(&mut self, client: ClientId) -> Result<Vec<KeyOffer>, StoreError> {
        let rows = sql::query("SELECT * FROM key_offer WHERE client_id = $1 ORDER BY at, id").bind(client.0);
        let rows = rows.fetch_all(&mut self.conn).await?;
        rows.iter().map(|row| open_offer(self.vault(), row)).collect()
    }

    /// One key that waits.
    ///
    /// # Errors
    /// As [`Tx::offers`].
    pub async fn offer(&mut self, id: i64) -> Result<Option<KeyOffer>, StoreError> {
        let row = sql::query("SELECT * FROM key_offer WHERE id = $1").bind(id).fetch_optional(&mut self.conn).await?;
        row.map(|row| open_offer(self.vault(), &row)).transpose()
    }

    /// A stranger's request becomes the first letter of the client that it led to.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn give_request(&mut self, request: MessageRow, client: ClientId) -> Result<(), StoreError> {
        let mut message =
            self.message(request).await?.ok_or(StoreError::Missing { table: "message", row: request.0 })?;
        message.client = Some(client);
        message.kind = Kind::Letter;
        let mac = message.mac(self.vault());
        sql::query("UPDATE message SET client_id = $2, kind = $3, request_code = NULL, mac = $4 WHERE id = $1")
            .bind(request.0)
            .bind(client.0)
            .bind(Kind::Letter.as_str())
            .bind(mac.as_slice())
            .execute(&mut self.conn)
            .await?;
        self.remember_owner(request, Some(client));
        Ok(())
    }

    /// Remembers that a therapist was asked for a key; one that had come is dropped.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn welcome(&mut self, therapist: &TherapistId, at: DateTime<Utc>) -> Result<(), StoreError> {
        self.write_therapist_offer(therapist, at, None).await
    }

    /// Keeps a therapist's key until it is compared; `false` where nobody asked for one, or another one waits already:
    /// it is never replaced unnoticed, [`Tx::welcome`] asks anew.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn set_therapist_offer(
        &mut self,
        therapist: &TherapistId,
        certificate: &[u8],
        at: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let Some((welcomed, waiting)) = self.therapist_offer(therapist).await? else { return Ok(false) };
        if waiting.is_some_and(|waiting| waiting != certificate) {
            return Ok(false);
        }
        self.write_therapist_offer(therapist, welcomed, Some((certificate, at))).await?;
        Ok(true)
    }

    async fn write_therapist_offer(
        &mut self,
        therapist: &TherapistId,
        welcomed: DateTime<Utc>,
        offer: Option<(&[u8], DateTime<Utc>)>,
    ) -> Result<(), StoreError> {
        let answered = offer.map(|(_, at)| micros(at));
        let sealed = offer.map(|(bytes, _)| self.vault().seal(THERAPIST, 0, &offer_column(therapist), bytes));
        let mac = therapist_mac(self.vault(), therapist, micros(welcomed), answered, sealed.as_deref());
        sql::query(
            "INSERT INTO therapist_offer (therapist, welcomed_at, answered_at, offer, mac) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (therapist) DO UPDATE SET welcomed_at = excluded.welcomed_at, \
             answered_at = excluded.answered_at, offer = excluded.offer, mac = excluded.mac",
        )
        .bind(&therapist.0)
        .bind(micros(welcomed))
        .bind(answered)
        .bind(sealed)
        .bind(mac.as_slice())
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// When a therapist was asked for a key, and the one that came.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn therapist_offer(
        &mut self,
        therapist: &TherapistId,
    ) -> Result<Option<(DateTime<Utc>, Option<Vec<u8>>)>, StoreError> {
        let row = sql::query("SELECT * FROM therapist_offer WHERE therapist = $1").bind(&therapist.0);
        let Some(row) = row.fetch_optional(&mut self.conn).await? else { return Ok(None) };
        let welcomed: i64 = row.get("welcomed_at")?;
        let offer: Option<Vec<u8>> = row.get("offer")?;
        let corrupt = || StoreError::Corrupt { table: THERAPIST, row: 0 };
        let expected = therapist_mac(self.vault(), therapist, welcomed, row.get("answered_at")?, offer.as_deref());
        if !vault::same(&expected, row.get("mac")?) {
            return Err(corrupt());
        }
        let column = offer_column(therapist);
        let offer = offer.map(|sealed| self.vault().unseal(THERAPIST, 0, &column, &sealed).map_err(|_| corrupt()));
        Ok(Some((time(THERAPIST, 0, welcomed)?, offer.transpose()?)))
    }

    /// A therapist's key was confirmed: nothing waits any more.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn end_welcome(&mut self, therapist: &TherapistId) -> Result<(), StoreError> {
        let query = sql::query("DELETE FROM therapist_offer WHERE therapist = $1").bind(&therapist.0);
        query.execute(&mut self.conn).await?;
        Ok(())
    }
}

/// The place that a therapist's key is sealed for; the rows of this table have no number.
fn offer_column(therapist: &TherapistId) -> String {
    format!("offer of {therapist}")
}

fn therapist_mac(
    vault: &Vault,
    therapist: &TherapistId,
    welcomed: i64,
    answered: Option<i64>,
    offer: Option<&[u8]>,
) -> [u8; 32] {
    MacParts::default().text(&therapist.0).int(Some(welcomed)).int(answered).add(offer).mac(vault, THERAPIST)
}
