//! What was already obeyed or filed: signatures by what they cover, unsigned mail by its bytes.

use chrono::{DateTime, Utc};

use super::sql;
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
        let done = sql::query(
            "INSERT INTO replay (signer_hash, digest_hash, message_id, at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (signer_hash, digest_hash) DO NOTHING",
        )
        .bind(self.vault().lookup(Lookup::Signer, signer.to_ascii_uppercase().as_bytes()).to_vec())
        .bind(self.vault().lookup(Lookup::Digest, digest).to_vec())
        .bind(message.map(|m| m.0))
        .bind(micros(at))
        // Its column refers to no row.
        .execute_apart(&mut self.conn)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps what a held letter was signed as, until it is passed on or discarded: as long as it is held, the same
    /// signature in another mail is no replay.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn hold_signature(&mut self, message: MessageRow, signer: &str, digest: &[u8]) -> Result<(), StoreError> {
        sql::query("INSERT INTO held_signature (message_id, signer_hash, digest_hash) VALUES ($1, $2, $3)")
            .bind(message.0)
            .bind(self.vault().lookup(Lookup::Signer, signer.to_ascii_uppercase().as_bytes()).to_vec())
            .bind(self.vault().lookup(Lookup::Digest, digest).to_vec())
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// A held letter was passed on: from now on its signature is known as that of a filed one.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn release_signature(&mut self, message: MessageRow, at: DateTime<Utc>) -> Result<(), StoreError> {
        sql::query(
            "INSERT INTO replay (signer_hash, digest_hash, message_id, at) \
             SELECT signer_hash, digest_hash, message_id, $2 FROM held_signature WHERE message_id = $1 \
             ON CONFLICT (signer_hash, digest_hash) DO NOTHING",
        )
        .bind(message.0)
        .bind(micros(at))
        .execute(&mut self.conn)
        .await?;
        sql::query("DELETE FROM held_signature WHERE message_id = $1").bind(message.0).execute(&mut self.conn).await?;
        Ok(())
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
        let row = sql::query("SELECT message_id FROM replay WHERE signer_hash = $1 AND digest_hash = $2")
            .bind(self.vault().lookup(Lookup::Signer, signer.to_ascii_uppercase().as_bytes()).to_vec())
            .bind(self.vault().lookup(Lookup::Digest, digest).to_vec())
            .fetch_optional(&mut self.conn)
            .await?;
        Ok(row.map(|row| row.at::<Option<i64>>(0)).transpose()?.map(|m| m.map(MessageRow)))
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
        let done = sql::query(
            "INSERT INTO seen (raw_hash, message_id, at) VALUES ($1, $2, $3) ON CONFLICT (raw_hash) DO NOTHING",
        )
        .bind(self.vault().lookup(Lookup::RawBytes, raw).to_vec())
        .bind(message.map(|m| m.0))
        .bind(micros(at))
        // Its column refers to no row.
        .execute_apart(&mut self.conn)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Whether a mail of these bytes is known; inside, the message it became.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn knows_bytes(&mut self, raw: &[u8]) -> Result<Option<Option<MessageRow>>, StoreError> {
        let row = sql::query("SELECT message_id FROM seen WHERE raw_hash = $1")
            .bind(self.vault().lookup(Lookup::RawBytes, raw).to_vec())
            .fetch_optional(&mut self.conn)
            .await?;
        Ok(row.map(|row| row.at::<Option<i64>>(0)).transpose()?.map(|m| m.map(MessageRow)))
    }
}
