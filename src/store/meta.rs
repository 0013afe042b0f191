//! Small facts: settings that were learnt, counters, and what is said once only.

use chrono::{DateTime, Utc};

use super::sql;
use super::{StoreError, Tx, micros, time};

impl Tx {
    /// A small fact such as `smtp.null_path_refused`.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn meta(&mut self, key: &str) -> Result<Option<String>, StoreError> {
        let query = sql::scalar("SELECT value FROM meta WHERE key = $1").bind(key);
        Ok(query.fetch_optional(&mut self.conn).await?)
    }

    /// Sets a small fact; no content, names or addresses.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn set_meta(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        sql::query(sql).bind(key).bind(value).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Takes a small fact away.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn clear_meta(&mut self, key: &str) -> Result<(), StoreError> {
        sql::query("DELETE FROM meta WHERE key = $1").bind(key).execute(&mut self.conn).await?;
        Ok(())
    }

    /// A small fact that is a time.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn meta_time(&mut self, key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let corrupt = StoreError::Corrupt { table: "meta", row: 0 };
        match self.meta(key).await?.map(|v| v.parse::<i64>()) {
            None => Ok(None),
            Some(Ok(at)) => Ok(Some(time("meta", 0, at)?)),
            Some(Err(_)) => Err(corrupt),
        }
    }

    /// Sets a small fact that is a time.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn set_meta_time(&mut self, key: &str, at: DateTime<Utc>) -> Result<(), StoreError> {
        self.set_meta(key, &micros(at).to_string()).await
    }

    /// Counts one on; the new value, 1 at first.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_up(&mut self, counter: &str) -> Result<u64, StoreError> {
        self.count_more(counter, 1).await
    }

    /// Adds to a counter, and gives its new value.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn count_more(&mut self, counter: &str, many: u64) -> Result<u64, StoreError> {
        let sql = "INSERT INTO counter (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = counter.value + excluded.value RETURNING value";
        let query = sql::scalar::<i64>(sql).bind(counter).bind(many.cast_signed());
        Ok(query.fetch_one(&mut self.conn).await?.unsigned_abs())
    }

    /// A counter's value, 0 when it was never counted.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn counter(&mut self, counter: &str) -> Result<u64, StoreError> {
        let query = sql::scalar::<i64>("SELECT value FROM counter WHERE name = $1").bind(counter);
        Ok(query.fetch_optional(&mut self.conn).await?.map_or(0, i64::unsigned_abs))
    }

    /// Takes the right to say something once: `true` the first time a key is given.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn notice_once(&mut self, key: &str, at: DateTime<Utc>) -> Result<bool, StoreError> {
        let query = sql::query("INSERT INTO notice (key, at) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING");
        Ok(query.bind(key).bind(micros(at)).execute(&mut self.conn).await?.rows_affected() == 1)
    }

    /// Takes the right to say something again: `true` where it was never said or before `since`.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn notice_since(
        &mut self,
        key: &str,
        at: DateTime<Utc>,
        since: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let sql = "INSERT INTO notice (key, at) VALUES ($1, $2) \
                   ON CONFLICT (key) DO UPDATE SET at = excluded.at WHERE notice.at < $3";
        let query = sql::query(sql).bind(key).bind(micros(at)).bind(micros(since));
        Ok(query.execute(&mut self.conn).await?.rows_affected() == 1)
    }

    /// When something was last said.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn notice(&mut self, key: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        let query = sql::scalar::<i64>("SELECT at FROM notice WHERE key = $1").bind(key);
        query.fetch_optional(&mut self.conn).await?.map(|at| time("notice", 0, at)).transpose()
    }

    /// Lets something be said again.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn clear_notice(&mut self, key: &str) -> Result<(), StoreError> {
        sql::query("DELETE FROM notice WHERE key = $1").bind(key).execute(&mut self.conn).await?;
        Ok(())
    }
}
