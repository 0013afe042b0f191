//! A practice's schema on a PostgreSQL server, put in the place of another one: what a rename is for a file.

use chrono::{DateTime, Utc};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};

use super::StoreError;
use super::engine::{Server, options, writing};

/// PostgreSQL cuts longer names off.
const LONGEST: usize = 63;

/// A name made of a schema's, not longer than a name may be.
fn named(schema: &str, end: &str) -> String {
    // ASCII: the configuration's reader sees to it.
    format!("{}{end}", &schema[..schema.len().min(LONGEST - end.len())])
}

impl Server {
    /// The same place, under the name of a schema that is being filled to take the place of this one.
    #[must_use]
    pub fn restoring(&self) -> Self {
        Self { url: self.url.clone(), password: self.password.clone(), schema: named(&self.schema, "_restoring") }
    }

    /// Drops the schema, if it is there. Only for one that [`Server::restoring`] named.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn drop_schema(&self) -> Result<(), StoreError> {
        let mut conn = options(self)?.options(writing()).connect().await?;
        drop_cascade(&mut conn, &self.schema).await?;
        Ok(conn.close().await?)
    }

    /// Puts the schema of [`Server::restoring`] in this one's place, in one transaction in which nobody else writes.
    /// `keep`: what was there stays under another name, which is returned; otherwise it is empty, and dropped.
    ///
    /// # Errors
    /// [`StoreError::Held`]: a gateway works, or has worked in what was empty. [`StoreError::Db`]. Nothing is changed.
    pub async fn put_in_place(&self, keep: bool, now: DateTime<Utc>) -> Result<Option<String>, StoreError> {
        let kept = keep.then(|| named(&self.schema, &format!("_until_{}", now.format("%Y%m%dt%H%M%Sz"))));
        let mut conn = options(self)?.options(writing()).connect().await?;
        let mut tx = conn.begin().await?;
        let turn = "SELECT pg_advisory_xact_lock(hashtextextended('cadre writes ' || $1, 0))";
        sqlx::query(turn).bind(&self.schema).execute(&mut *tx).await?;
        let working = "SELECT EXISTS (SELECT 1 FROM lease WHERE name LIKE 'gateway:%' \
                       AND until > CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)) \
                       OR (NOT $1 AND EXISTS (SELECT 1 FROM journal))";
        if sqlx::query_scalar(working).bind(keep).fetch_one(&mut *tx).await? {
            return Err(StoreError::Held);
        }
        match &kept {
            Some(kept) => rename(&mut tx, &self.schema, kept).await?,
            None => drop_cascade(&mut tx, &self.schema).await?,
        }
        rename(&mut tx, &self.restoring().schema, &self.schema).await?;
        tx.commit().await?;
        conn.close().await?;
        Ok(kept)
    }
}

async fn drop_cascade(conn: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    conn.execute(format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE").as_str()).await.map(drop)
}

async fn rename(conn: &mut PgConnection, from: &str, to: &str) -> Result<(), sqlx::Error> {
    conn.execute(format!("ALTER SCHEMA \"{from}\" RENAME TO \"{to}\"").as_str()).await.map(drop)
}
