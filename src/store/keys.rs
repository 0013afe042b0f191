//! What is learnt of therapists' certificates by mail, and what is sealed to the practice's own key.

use chrono::{DateTime, Utc};

use super::sql;
use super::{MacParts, StoreError, Tx, Vault, micros, vault};
use crate::model::{ClientId, MessageRow, TherapistId};

const THERAPIST: &str = "therapist_key";

/// The counter of changes to therapists' certificates.
pub const THERAPIST_KEYS_CHANGED: &str = "therapist-keys";

/// The place that a certificate is sealed for; the rows of this table have no number.
fn column(therapist: &TherapistId) -> String {
    format!("certificate of {therapist}")
}

fn mac(vault: &Vault, therapist: &TherapistId, at: i64, sealed: &[u8]) -> [u8; 32] {
    MacParts::default().text(&therapist.0).int(Some(at)).add(Some(sealed)).mac(vault, THERAPIST)
}

impl Tx {
    /// Keeps a therapist's certificate as it has become, in binary form.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn set_therapist_key(
        &mut self,
        therapist: &TherapistId,
        certificate: &[u8],
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let sealed = self.vault().seal(THERAPIST, 0, &column(therapist), certificate);
        let mac = mac(self.vault(), therapist, micros(at), &sealed);
        sql::query(
            "INSERT INTO therapist_key (therapist, at, certificate, mac) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (therapist) DO UPDATE SET at = excluded.at, certificate = excluded.certificate, \
             mac = excluded.mac",
        )
        .bind(&therapist.0)
        .bind(micros(at))
        .bind(sealed)
        .bind(mac.as_slice())
        .execute(&mut self.conn)
        .await?;
        self.count_up(THERAPIST_KEYS_CHANGED).await?;
        Ok(())
    }

    /// All certificates of therapists that are known by mail; a row that was changed by something else is an error.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn therapist_keys(&mut self) -> Result<Vec<(TherapistId, Vec<u8>)>, StoreError> {
        let rows = sql::query("SELECT therapist, at, certificate, mac FROM therapist_key ORDER BY therapist")
            .fetch_all(&mut self.conn)
            .await?;
        let mut keys = Vec::with_capacity(rows.len());
        for row in rows {
            let therapist = TherapistId(row.get("therapist")?);
            let sealed: Vec<u8> = row.get("certificate")?;
            let expected = mac(self.vault(), &therapist, row.get("at")?, &sealed);
            let corrupt = || StoreError::Corrupt { table: THERAPIST, row: 0 };
            if !vault::same(&expected, row.get("mac")?) {
                return Err(corrupt());
            }
            let certificate = self.vault().unseal(THERAPIST, 0, &column(&therapist), &sealed).map_err(|_| corrupt())?;
            keys.push((therapist, certificate));
        }
        Ok(keys)
    }

    /// Everything of the therapists' own words that waits, sealed to the practice's key.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn sealed_to_practice(&mut self) -> Result<Vec<MessageRow>, StoreError> {
        let rows = sql::query(
            "SELECT id FROM message WHERE state IN ('waiting', 'leaving') AND direction = 'out' \
             UNION ALL SELECT id FROM message WHERE state = 'held' AND direction = 'out'",
        )
        .fetch_all(&mut self.conn)
        .await?;
        rows.iter().map(|row| Ok(MessageRow(row.get("id")?))).collect()
    }

    /// The keys that wait for a client are to be told of again: what was told has changed.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn untell_offers(&mut self, client: ClientId) -> Result<(), StoreError> {
        for offer in self.offers(client).await? {
            let again = super::KeyOffer { told_at: None, ..offer.clone() };
            self.drop_offer(offer.id).await?;
            self.add_offer(&again).await?;
        }
        Ok(())
    }

    /// A key that was offered under a stolen one has nobody's word any more.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Db`].
    pub async fn disown_offers(&mut self, client: ClientId) -> Result<(), StoreError> {
        for offer in self.offers(client).await?.into_iter().filter(|offer| offer.by_old) {
            self.drop_offer(offer.id).await?;
        }
        Ok(())
    }
}
