//! What of a client is known by something else than an index: read whole, since nobody is erased often.

use super::sql;
use super::{StoreError, Tx};
use crate::model::{ClientCode, ClientId};

impl Tx {
    /// Signatures and bytes that are known as those of these messages, and what was noted once about the client.
    pub(super) async fn forget_traces(
        &mut self,
        rows: &[i64],
        code: &ClientCode,
        id: ClientId,
        address: &str,
    ) -> Result<(), StoreError> {
        for table in ["replay", "seen"] {
            for some in rows.chunks(500) {
                let list = some.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
                let sql = format!("DELETE FROM {table} WHERE message_id IN ({list})");
                sql::query(&sql).execute(&mut self.conn).await?;
            }
        }
        for (table, column) in [("notice", "key"), ("meta", "key"), ("counter", "name")] {
            let sql = format!("DELETE FROM {table} WHERE {column} LIKE $1 OR {column} LIKE $2 OR {column} LIKE $3");
            let held = |word: &str| format!("%{word}%");
            let query = sql::query(&sql).bind(held(code.as_str())).bind(held(&id.0.to_string())).bind(held(address));
            query.execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Lines of the journal that bear a code.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn journal_lines_of(&mut self, code: &ClientCode) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) FROM journal WHERE client = $1";
        let count: i64 = sql::scalar(sql).bind(code.as_str()).fetch_one(&mut self.conn).await?;
        Ok(count.unsigned_abs())
    }
}
