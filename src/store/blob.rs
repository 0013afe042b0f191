//! Bodies of messages: OpenPGP ciphertext, resting under their client's own key (`data_key`).

use std::collections::HashMap;

use super::sql::{self, Insert};
use super::{StoreError, Tx, Vault, vault};
use crate::model::MessageRow;

static BLOB: Insert = Insert {
    table: "blob",
    rank: 1,
    into: "INSERT INTO blob (message_id, data, mac) VALUES",
    end: " ON CONFLICT (message_id) DO UPDATE SET data = excluded.data, mac = excluded.mac",
    replaces: true,
};

impl Tx {
    /// Stores or replaces a message's body: OpenPGP ciphertext, never words.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn put_blob(&mut self, id: MessageRow, ciphertext: &[u8]) -> Result<(), StoreError> {
        let resting = self.rest(id, ciphertext).await?;
        let mac = blob_mac(self.vault(), id, &resting).to_vec();
        Ok(self.conn.later(&BLOB, sql::row().bind(id.0).bind(resting).bind(mac)).await?)
    }

    /// A message's body.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it is another message's or was changed; [`StoreError::Db`].
    pub async fn blob(&mut self, id: MessageRow) -> Result<Option<Vec<u8>>, StoreError> {
        // With what it is opened by.
        let sql = "SELECT b.data, b.mac, m.client_id, k.wrapped FROM blob b JOIN message m ON m.id = b.message_id \
                   LEFT JOIN data_key k ON k.client_id = m.client_id WHERE b.message_id = $1";
        let Some(row) = sql::query(sql).bind(id.0).fetch_optional(&mut self.conn).await? else { return Ok(None) };
        let data: Vec<u8> = row.get("data")?;
        if !vault::same(&blob_mac(self.vault(), id, &data), row.get("mac")?) {
            return Err(StoreError::Corrupt { table: "blob", row: id.0 });
        }
        let keeper = self.keeper_in(&row)?;
        self.unrest(id, data, keeper).map(Some)
    }

    /// How many bytes the bodies of these messages rest in.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn body_sizes(&mut self, messages: &[MessageRow]) -> Result<HashMap<MessageRow, u64>, StoreError> {
        let mut sizes = HashMap::new();
        for slice in sql::in_slices(messages) {
            let sql = "SELECT message_id, CAST(length(data) AS BIGINT) AS size FROM blob WHERE message_id IN ($1)";
            let sql = sql::repeated(sql, "$1", 1, slice.len());
            let query = slice.iter().fold(sql::query(&sql), |query, row| query.bind(row.0));
            for row in query.fetch_all(&mut self.conn).await? {
                sizes.insert(MessageRow(row.get("message_id")?), row.get::<i64>("size")?.unsigned_abs());
            }
        }
        Ok(sizes)
    }

    /// Takes a message's body away; `false` when there was none.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn delete_blob(&mut self, id: MessageRow) -> Result<bool, StoreError> {
        let query = sql::query("DELETE FROM blob WHERE message_id = $1").bind(id.0);
        Ok(query.execute(&mut self.conn).await?.rows_affected() == 1)
    }
}

fn blob_mac(vault: &Vault, id: MessageRow, data: &[u8]) -> [u8; 32] {
    vault.row_mac("blob", &[&id.0.to_be_bytes(), data])
}
