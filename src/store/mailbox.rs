//! What is known of the mailbox: scans, tries, originals that are still to be touched, copies that
//! are still to be appended. Folder names are the operator's (INBOX, Junk), never a person's.

use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::sql::{self, Insert, Row};
use super::{StoreError, Tx, micros, micros_opt, time};
use crate::model::{MessageRow, UnknownWord};

/// How far a folder was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    pub folder: String,
    pub uidvalidity: u32,
    pub last_uid: u32,
    /// When a scan last came to its end: no letter can have arrived before it and be new.
    pub completed_at: Option<DateTime<Utc>>,
}

/// How often a message couldn't be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tries {
    pub uid: u32,
    pub n: u32,
    /// When it was first seen.
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
}

/// What becomes of an original once it is filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposal {
    /// Expunged.
    Remove,
    /// Moved to `Cadre/Done` (`filing = "keep"`).
    Done,
    /// Moved to `Cadre/Others`.
    Others,
    /// Moved to `Cadre/Attention`.
    Attention,
}

impl Disposal {
    /// The stable word of this member.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Done => "done",
            Self::Others => "others",
            Self::Attention => "attention",
        }
    }
}

impl FromStr for Disposal {
    type Err = UnknownWord;
    fn from_str(s: &str) -> Result<Self, UnknownWord> {
        [Self::Remove, Self::Done, Self::Others, Self::Attention]
            .into_iter()
            .find(|d| d.as_str() == s)
            .ok_or(UnknownWord { what: "disposal", value: s.to_owned() })
    }
}

static ORIGINAL: Insert = Insert {
    table: "original",
    rank: 1,
    into: "INSERT INTO original (folder, uidvalidity, uid, message_id, action, copy_needed, at) VALUES",
    end: " ON CONFLICT (folder, uidvalidity, uid) DO NOTHING",
    replaces: false,
};
static COPY: Insert = Insert {
    table: "copy",
    rank: 1,
    into: "INSERT INTO copy (message_id, created_at) VALUES",
    end: " ON CONFLICT (message_id) DO NOTHING",
    replaces: false,
};

/// An original that is committed for and still to be touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    pub folder: String,
    pub uidvalidity: u32,
    pub uid: u32,
    /// The message it became; `None` for mail that wasn't filed.
    pub message: Option<MessageRow>,
    pub action: Disposal,
    /// Touch it only after the message's sealed copy is confirmed ([`Tx::copies_confirmed`]).
    pub copy_needed: bool,
    pub at: DateTime<Utc>,
}

pub(super) fn small(row: &Row, column: &str) -> Result<u32, StoreError> {
    let value: i64 = row.get(column)?;
    u32::try_from(value).map_err(|_| StoreError::Corrupt { table: "mailbox", row: value })
}

fn original(row: &Row) -> Result<Original, StoreError> {
    let uid = small(row, "uid")?;
    let corrupt = |_| StoreError::Corrupt { table: "original", row: i64::from(uid) };
    Ok(Original {
        folder: row.get("folder")?,
        uidvalidity: small(row, "uidvalidity")?,
        uid,
        message: row.get::<Option<i64>>("message_id")?.map(MessageRow),
        action: row.get::<&str>("action")?.parse().map_err(corrupt)?,
        copy_needed: row.get("copy_needed")?,
        at: time("original", i64::from(uid), row.get("at")?)?,
    })
}

impl Tx {
    /// How far a folder was read.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn scan(&mut self, folder: &str) -> Result<Option<Scan>, StoreError> {
        let row = sql::query("SELECT * FROM scan WHERE folder = $1").bind(folder);
        let Some(row) = row.fetch_optional(&mut self.conn).await? else { return Ok(None) };
        let completed: Option<i64> = row.get("completed_at")?;
        Ok(Some(Scan {
            folder: row.get("folder")?,
            uidvalidity: small(&row, "uidvalidity")?,
            last_uid: small(&row, "last_uid")?,
            completed_at: completed.map(|at| time("scan", 0, at)).transpose()?,
        }))
    }

    /// Remembers how far a folder was read.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn set_scan(&mut self, scan: &Scan) -> Result<(), StoreError> {
        sql::query(
            "INSERT INTO scan (folder, uidvalidity, last_uid, completed_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (folder) DO UPDATE SET uidvalidity = excluded.uidvalidity, last_uid = excluded.last_uid, \
             completed_at = excluded.completed_at",
        )
        .bind(&scan.folder)
        .bind(i64::from(scan.uidvalidity))
        .bind(i64::from(scan.last_uid))
        .bind(micros_opt(scan.completed_at))
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// Counts a try that failed; the new count.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_try(
        &mut self,
        folder: &str,
        uidvalidity: u32,
        uid: u32,
        at: DateTime<Utc>,
    ) -> Result<u32, StoreError> {
        let n: i64 = sql::scalar(
            "INSERT INTO tries (folder, uidvalidity, uid, n, first, last) VALUES ($1, $2, $3, 1, $4, $4) \
             ON CONFLICT (folder, uidvalidity, uid) DO UPDATE SET n = tries.n + 1, last = excluded.last RETURNING n",
        )
        .bind(folder)
        .bind(i64::from(uidvalidity))
        .bind(i64::from(uid))
        .bind(micros(at))
        .fetch_one(&mut self.conn)
        .await?;
        Ok(u32::try_from(n).unwrap_or(u32::MAX))
    }

    /// Remembers when a message was first seen that can't be processed yet, without counting a try.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn note_seen(
        &mut self,
        folder: &str,
        uidvalidity: u32,
        uid: u32,
        at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sql::query(
            "INSERT INTO tries (folder, uidvalidity, uid, n, first, last) VALUES ($1, $2, $3, 0, $4, $4) \
             ON CONFLICT (folder, uidvalidity, uid) DO NOTHING",
        )
        .bind(folder)
        .bind(i64::from(uidvalidity))
        .bind(i64::from(uid))
        .bind(micros(at))
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// All counted tries of a folder.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn tries(&mut self, folder: &str, uidvalidity: u32) -> Result<Vec<Tries>, StoreError> {
        let query =
            sql::query("SELECT uid, n, first, last FROM tries WHERE folder = $1 AND uidvalidity = $2 ORDER BY uid");
        let rows = query.bind(folder).bind(i64::from(uidvalidity)).fetch_all(&mut self.conn).await?;
        let read = |row: &Row| {
            let uid = small(row, "uid")?;
            let at = |column: &str| time("tries", i64::from(uid), row.get(column)?);
            Ok(Tries { uid, n: small(row, "n")?, first: at("first")?, last: at("last")? })
        };
        rows.iter().map(read).collect()
    }

    /// Forgets the tries of a message that went through.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn clear_tries(&mut self, folder: &str, uidvalidity: u32, uid: u32) -> Result<(), StoreError> {
        sql::query("DELETE FROM tries WHERE folder = $1 AND uidvalidity = $2 AND uid = $3")
            .bind(folder)
            .bind(i64::from(uidvalidity))
            .bind(i64::from(uid))
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Notes an original that is to be touched after this transaction; a second note changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn add_original(&mut self, original: &Original) -> Result<(), StoreError> {
        let row = sql::row().bind(&original.folder).bind(original.uidvalidity).bind(original.uid);
        let row = row.bind(original.message.map(|m| m.0)).bind(original.action.as_str());
        let row = row.bind(original.copy_needed).bind(micros(original.at));
        Ok(self.conn.later(&ORIGINAL, row).await?)
    }

    /// Originals of a folder that are still to be touched, by UID; with `ready`, only those whose
    /// copy is confirmed or not needed. They include those of an earlier UIDVALIDITY.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn originals(&mut self, folder: &str, ready: bool) -> Result<Vec<Original>, StoreError> {
        let sql = if ready {
            "SELECT original.* FROM original LEFT JOIN copy ON copy.message_id = original.message_id \
             WHERE folder = $1 AND (copy_needed = 0 OR copy.confirmed_at IS NOT NULL) ORDER BY uidvalidity, uid"
        } else {
            "SELECT original.* FROM original WHERE folder = $1 ORDER BY uidvalidity, uid"
        };
        let rows = sql::query(sql).bind(folder).fetch_all(&mut self.conn).await?;
        rows.iter().map(original).collect()
    }

    /// Whether an original is committed for already: it must not be processed again.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn original(&mut self, folder: &str, uidvalidity: u32, uid: u32) -> Result<Option<Original>, StoreError> {
        let row = sql::query("SELECT * FROM original WHERE folder = $1 AND uidvalidity = $2 AND uid = $3")
            .bind(folder)
            .bind(i64::from(uidvalidity))
            .bind(i64::from(uid))
            .fetch_optional(&mut self.conn)
            .await?;
        row.as_ref().map(original).transpose()
    }

    /// Forgets originals that were touched (or are seen to be gone).
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn originals_done(&mut self, folder: &str, uidvalidity: u32, uids: &[u32]) -> Result<(), StoreError> {
        let sql = "DELETE FROM original WHERE folder = $1 AND uidvalidity = $2 AND uid IN ($3)";
        self.of_uids(sql, "$3", folder, uidvalidity, uids).await
    }

    /// Runs a statement about messages of one folder ($1) and UIDVALIDITY ($2); `one` is its piece about a UID ($3).
    pub(super) async fn of_uids(
        &mut self,
        sql: &'static str,
        one: &'static str,
        folder: &str,
        uidvalidity: u32,
        uids: &[u32],
    ) -> Result<(), StoreError> {
        for slice in sql::in_slices(uids) {
            let sql = sql::repeated(sql, one, 3, slice.len());
            let query = sql::query(&sql).bind(folder).bind(i64::from(uidvalidity));
            slice.iter().fold(query, |query, uid| query.bind(*uid)).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Notes that a message's sealed copy is to be put into the client's folder.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn add_copy(&mut self, message: MessageRow, at: DateTime<Utc>) -> Result<(), StoreError> {
        Ok(self.conn.later(&COPY, sql::row().bind(message.0).bind(micros(at))).await?)
    }

    /// Messages whose copy isn't confirmed yet, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn copies_pending(&mut self, limit: u32) -> Result<Vec<MessageRow>, StoreError> {
        let sql = "SELECT message_id FROM copy WHERE confirmed_at IS NULL ORDER BY created_at, message_id LIMIT $1";
        let rows = sql::scalar(sql).bind(i64::from(limit)).fetch_all(&mut self.conn).await?;
        Ok(rows.into_iter().map(MessageRow).collect())
    }

    /// Confirms that messages' copies are in their folders.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn copies_confirmed(&mut self, messages: &[MessageRow], at: DateTime<Utc>) -> Result<(), StoreError> {
        for slice in sql::in_slices(messages) {
            let sql = "UPDATE copy SET confirmed_at = $1 WHERE message_id IN ($2)";
            let sql = sql::repeated(sql, "$2", 2, slice.len());
            let query = sql::query(&sql).bind(micros(at));
            slice.iter().fold(query, |query, row| query.bind(row.0)).execute(&mut self.conn).await?;
        }
        Ok(())
    }
}
