//! What is being prepared, so that a message which ends the whole process (a stack that overflows, memory that is
//! refused) is found. An innocent message is in hand at a death too, among others; only one that was alone counts.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::mailbox::small;
use super::sql;
use super::{StoreError, Tx};

impl Tx {
    /// Notes messages that are about to be prepared. Commit it before that begins.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn take_in_hand(&mut self, folder: &str, uidvalidity: u32, uids: &[u32]) -> Result<(), StoreError> {
        let sql = "INSERT INTO in_hand (folder, uidvalidity, uid, held) VALUES ($1, $2, $3, 1) \
                   ON CONFLICT (folder, uidvalidity, uid) DO UPDATE SET held = 1";
        self.of_uids(sql, "($1, $2, $3, 1)", folder, uidvalidity, uids).await
    }

    /// Messages came through, or failed without ending the process: they are neither in hand nor suspect.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn put_down(&mut self, folder: &str, uidvalidity: u32, uids: &[u32]) -> Result<(), StoreError> {
        let sql = "DELETE FROM in_hand WHERE folder = $1 AND uidvalidity = $2 AND uid IN ($3)";
        self.of_uids(sql, "$3", folder, uidvalidity, uids).await
    }

    /// Nothing is in hand any more, and nobody died. What was suspect before remains so until it was prepared.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn put_all_down(&mut self) -> Result<(), StoreError> {
        sql::query("DELETE FROM in_hand WHERE suspect = 0").execute(&mut self.conn).await?;
        sql::query("UPDATE in_hand SET held = 0 WHERE held = 1").execute(&mut self.conn).await?;
        Ok(())
    }

    /// To be called by a new process, before it takes anything in hand. What an earlier one held when it died becomes
    /// suspect; what it held alone counts as a try ([`Tx::count_try`]). How many were held: 0 after a clean end.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn suspect_what_was_held(&mut self, now: DateTime<Utc>) -> Result<usize, StoreError> {
        let sql = "SELECT folder, uidvalidity, uid FROM in_hand WHERE held = 1";
        let rows = sql::query(sql).fetch_all(&mut self.conn).await?;
        if let [row] = &rows[..] {
            let folder: String = row.get("folder")?;
            self.count_try(&folder, small(row, "uidvalidity")?, small(row, "uid")?, now).await?;
        }
        if !rows.is_empty() {
            sql::query("UPDATE in_hand SET suspect = 1, held = 0 WHERE held = 1").execute(&mut self.conn).await?;
        }
        Ok(rows.len())
    }

    /// UIDs of a folder's suspects.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn suspects(&mut self, folder: &str, uidvalidity: u32) -> Result<BTreeSet<u32>, StoreError> {
        let sql = "SELECT uid FROM in_hand WHERE folder = $1 AND uidvalidity = $2 AND suspect = 1";
        let query = sql::scalar(sql).bind(folder).bind(i64::from(uidvalidity));
        let uids: Vec<i64> = query.fetch_all(&mut self.conn).await?;
        Ok(uids.into_iter().filter_map(|uid| u32::try_from(uid).ok()).collect())
    }

    /// Forgets a folder's suspects of an earlier UIDVALIDITY: their numbers mean nothing any more.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn forget_suspects_but_of(&mut self, folder: &str, uidvalidity: u32) -> Result<(), StoreError> {
        let sql = "DELETE FROM in_hand WHERE folder = $1 AND uidvalidity <> $2";
        sql::query(sql).bind(folder).bind(i64::from(uidvalidity)).execute(&mut self.conn).await?;
        Ok(())
    }
}
