//! What was already obeyed or filed: signatures by what they cover, unsigned mail by its bytes.

use chrono::{DateTime, Utc};
use sqlx::Row;

use super::{Lookup, StoreError, Tx, micros};
use crate::model::MessageRow;

impl Tx {
    /// Remembers that the certificate (fingerprint, hexadecimal) signed data of this digest; `false`
    /// when that was known already, and nothing changes. `message` is what it became.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn remember_signature(
        &mut self,
        signer: &str,
        digest: &[u8],
        message: Option<MessageRow>,
        at: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO replay (signer_hash, digest_hash, message_id, at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (signer_hash, digest_hash) DO NOTHING",
        )
        .bind(self.vault().lookup(Lookup::Signer, signer.to_ascii_uppercase().as_bytes()).to_vec())
        .bind(self.vault().lookup(Lookup::Digest, digest).to_vec())
        .bind(message.map(|m| m.0))
        .bind(micros(at))
        .execute(&mut *self.conn)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Whether that certificate's signature over data of this digest is known; inside, the message it became.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn knows_signature(
        &mut self,
        signer: &str,
        digest: &[u8],
    ) -> Result<Option<Option<MessageRow>>, StoreError> {
        let row = sqlx::query("SELECT message_id FROM replay WHERE signer_hash = $1 AND digest_hash = $2")
            .bind(self.vault().lookup(Lookup::Signer, signer.to_ascii_uppercase().as_bytes()).to_vec())
            .bind(self.vault().lookup(Lookup::Digest, digest).to_vec())
            .fetch_optional(&mut *self.conn)
            .await?;
        Ok(row.map(|row| row.try_get::<Option<i64>, _>(0)).transpose()?.map(|m| m.map(MessageRow)))
    }

    /// Remembers a mail by its bytes (or a digest of them); `false` when it was known already.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn remember_bytes(
        &mut self,
        raw: &[u8],
        message: Option<MessageRow>,
        at: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO seen (raw_hash, message_id, at) VALUES ($1, $2, $3) ON CONFLICT (raw_hash) DO NOTHING",
        )
        .bind(self.vault().lookup(Lookup::RawBytes, raw).to_vec())
        .bind(message.map(|m| m.0))
        .bind(micros(at))
        .execute(&mut *self.conn)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Whether a mail of these bytes is known; inside, the message it became.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn knows_bytes(&mut self, raw: &[u8]) -> Result<Option<Option<MessageRow>>, StoreError> {
        let row = sqlx::query("SELECT message_id FROM seen WHERE raw_hash = $1")
            .bind(self.vault().lookup(Lookup::RawBytes, raw).to_vec())
            .fetch_optional(&mut *self.conn)
            .await?;
        Ok(row.map(|row| row.try_get::<Option<i64>, _>(0)).transpose()?.map(|m| m.map(MessageRow)))
    }
}
