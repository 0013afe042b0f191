//! Erasing a client: the order, which is worked off step by step, and the rows themselves.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::sql::{self, Row};
use super::{Lookup, MacParts, Store, StoreError, Tx, Vault, micros, micros_opt, time, vault};
use crate::model::{ClientCode, ClientId, OutboxRow};

const TABLE: &str = "erasure";

/// What was erased, in counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErasedCounts {
    /// Letters of the client's, whatever their verdict.
    pub letters_in: u64,
    /// The therapist's letters that were sent or had waited.
    pub letters_out: u64,
    /// Notes of the therapist's, automatic mail and what else stood in the thread.
    pub others: u64,
    /// Of all these, how many still had a body.
    pub bodies: u64,
    /// Lines about mails of Cadre's.
    pub mails: u64,
    pub consents: u64,
    pub alerts: u64,
    pub card: bool,
    /// Messages in the client's folder of the mailbox.
    pub folder: u64,
    /// A pinned certificate, or the passphrase of sealed letters.
    pub key: bool,
}

/// An erasure that was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub code: ClientCode,
    pub client: ClientId,
    pub asked_at: DateTime<Utc>,
    /// The last letter; None: none is sent.
    pub letter_row: Option<OutboxRow>,
    /// What became of the last letter: `none`, `waiting`, or its outbox row's state.
    pub letter: String,
    /// Known once the rows are gone.
    pub counts: Option<ErasedCounts>,
    pub rows_at: Option<DateTime<Utc>>,
    pub folder_at: Option<DateTime<Utc>>,
    pub done_at: Option<DateTime<Utc>>,
    pub certificate: Option<String>,
}

impl Erasure {
    fn mac(&self, vault: &Vault) -> [u8; 32] {
        MacParts::default()
            .text(self.code.as_str())
            .int(Some(self.client.0))
            .int(Some(micros(self.asked_at)))
            .int(self.letter_row.map(|row| row.0))
            .mac(vault, TABLE)
    }
}

fn open(vault: &Vault, row: &Row) -> Result<Erasure, StoreError> {
    let client: i64 = row.get("client_id")?;
    let corrupt = || StoreError::Corrupt { table: TABLE, row: client };
    let at = |column: &str| -> Result<Option<DateTime<Utc>>, StoreError> {
        row.get::<Option<i64>>(column)?.map(|at| time(TABLE, client, at)).transpose()
    };
    let counts: Option<&str> = row.get("counts")?;
    let erasure = Erasure {
        code: row.get::<&str>("code")?.parse().map_err(|_| corrupt())?,
        client: ClientId(client),
        asked_at: at("asked_at")?.ok_or_else(corrupt)?,
        letter_row: row.get::<Option<i64>>("letter_id")?.map(OutboxRow),
        letter: row.get("letter")?,
        counts: counts.map(|text| serde_json::from_str(text).map_err(|_| corrupt())).transpose()?,
        rows_at: at("rows_at")?,
        folder_at: at("folder_at")?,
        done_at: at("done_at")?,
        certificate: row.get("certificate")?,
    };
    if vault::same(&erasure.mac(vault), row.get("mac")?) { Ok(erasure) } else { Err(corrupt()) }
}

impl Tx {
    /// Keeps the order to erase a client. Where the code was erased before (an older database was put back), the new
    /// order takes the place of the old one.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn order_erasure(&mut self, erasure: &Erasure) -> Result<(), StoreError> {
        let mac = erasure.mac(self.vault()).to_vec();
        sql::query(
            "INSERT INTO erasure (code, client_id, asked_at, letter_id, letter, mac) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (code) DO UPDATE SET client_id = excluded.client_id, asked_at = excluded.asked_at, \
             letter_id = excluded.letter_id, letter = excluded.letter, counts = NULL, rows_at = NULL, \
             folder_at = NULL, done_at = NULL, certificate = NULL, mac = excluded.mac",
        )
        .bind(erasure.code.as_str())
        .bind(erasure.client.0)
        .bind(micros(erasure.asked_at))
        .bind(erasure.letter_row.map(|row| row.0))
        .bind(&erasure.letter)
        .bind(mac)
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// Keeps how far an erasure has come.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn set_erasure(&mut self, erasure: &Erasure) -> Result<(), StoreError> {
        let counts = erasure.counts.as_ref().map(|counts| serde_json::to_string(counts).unwrap_or_default());
        sql::query(
            "UPDATE erasure SET letter = $2, counts = $3, rows_at = $4, folder_at = $5, done_at = $6, certificate = $7 \
             WHERE code = $1",
        )
        .bind(erasure.code.as_str())
        .bind(&erasure.letter)
        .bind(counts)
        .bind(micros_opt(erasure.rows_at))
        .bind(micros_opt(erasure.folder_at))
        .bind(micros_opt(erasure.done_at))
        .bind(erasure.certificate.as_deref())
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// The erasure of a code, done or not.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where something else than Cadre ordered it; [`StoreError::Db`].
    pub async fn erasure(&mut self, code: &ClientCode) -> Result<Option<Erasure>, StoreError> {
        let row = sql::query("SELECT * FROM erasure WHERE code = $1").bind(code.as_str());
        let row = row.fetch_optional(&mut self.conn).await?;
        row.map(|row| open(self.vault(), &row)).transpose()
    }

    /// Every erasure, done or not, that Cadre ordered.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn erasures(&mut self) -> Result<Vec<Erasure>, StoreError> {
        let rows = sql::query("SELECT * FROM erasure ORDER BY code").fetch_all(&mut self.conn).await?;
        Ok(rows.iter().filter_map(|row| open(self.vault(), row).ok()).collect())
    }

    /// The erasures that are under way. One that something else than Cadre ordered is left out, with a line in the log.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn open_erasures(&mut self) -> Result<Vec<Erasure>, StoreError> {
        let sql = "SELECT * FROM erasure WHERE done_at IS NULL ORDER BY asked_at";
        let mut found = Vec::new();
        for row in sql::query(sql).fetch_all(&mut self.conn).await? {
            match open(self.vault(), &row) {
                Ok(erasure) => found.push(erasure),
                Err(error @ StoreError::Corrupt { .. }) => tracing::error!(%error, "an erasure is left alone"),
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Whether something of a client is still on its way: a mail to them or about them, or an original that is to be
    /// taken out of the mailbox.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn is_under_way(&mut self, client: ClientId) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM outbox WHERE client_id = $1 AND state IN ('waiting', 'leaving')) \
                   OR EXISTS (SELECT 1 FROM message m JOIN original o ON o.message_id = m.id WHERE m.client_id = $1)";
        Ok(sql::scalar::<bool>(sql).bind(client.0).fetch_one(&mut self.conn).await?)
    }

    /// What there is of a client, in counts.
    ///
    /// # Errors
    /// [`StoreError::Tampered`], [`StoreError::Db`].
    pub async fn count_client(&mut self, client: ClientId) -> Result<ErasedCounts, StoreError> {
        let mut counts = ErasedCounts::default();
        let sql = "SELECT m.direction, m.kind, COUNT(*) AS n, COUNT(b.message_id) AS bodies FROM message m \
                   LEFT JOIN blob b ON b.message_id = m.id WHERE m.client_id = $1 GROUP BY m.direction, m.kind";
        for row in sql::query(sql).bind(client.0).fetch_all(&mut self.conn).await? {
            let n = row.get::<i64>("n")?.unsigned_abs();
            counts.bodies += row.get::<i64>("bodies")?.unsigned_abs();
            match (row.get::<&str>("direction")?, row.get::<&str>("kind")?) {
                ("in", "letter") => counts.letters_in += n,
                ("out", _) => counts.letters_out += n,
                _ => counts.others += n,
            }
        }
        for (count, sql) in [
            (&mut counts.mails, "SELECT COUNT(*) FROM outbox WHERE client_id = $1"),
            (&mut counts.consents, "SELECT COUNT(*) FROM consent WHERE client_id = $1"),
            (&mut counts.alerts, "SELECT COUNT(*) FROM alert WHERE client_id = $1"),
        ] {
            let n: i64 = sql::scalar(sql).bind(client.0).fetch_one(&mut self.conn).await?;
            *count = n.unsigned_abs();
        }
        counts.card = self.card(client).await?.is_some();
        let pinned = self.client(client).await?.is_some_and(|client| client.certificate.is_some());
        counts.key = pinned || self.pdf_channel(client).await?.is_some();
        Ok(counts)
    }

    /// Deletes every row of a client, the client's own key first, and what was kept of the same address before it was a
    /// client's. The code stays used. The pages are overwritten (`secure_delete`).
    ///
    /// # Errors
    /// [`StoreError::Tampered`], [`StoreError::Missing`], [`StoreError::Db`]: nothing is deleted.
    pub async fn erase_client(&mut self, id: ClientId) -> Result<(), StoreError> {
        let client = self.client(id).await?.ok_or(StoreError::Missing { table: "client", row: id.0 })?;
        let address = self.vault().address(&client.address).to_vec();
        let signer = client.fingerprint.as_deref().unwrap_or_default();
        let signer = self.vault().lookup(Lookup::Signer, signer.as_bytes()).to_vec();
        for sql in [
            "DELETE FROM data_key WHERE client_id = $1",
            "DELETE FROM outbox WHERE client_id = $1",
            "DELETE FROM alert WHERE client_id = $1",
        ] {
            sql::query(sql).bind(id.0).execute(&mut self.conn).await?;
        }
        sql::query("DELETE FROM replay WHERE signer_hash = $1").bind(signer).execute(&mut self.conn).await?;
        // As a stranger, and where another person's mail bore this address.
        let before = "SELECT id FROM message WHERE sender_hash = $1 AND client_id IS NULL";
        let mut rows: Vec<i64> = sql::scalar(before).bind(&address).fetch_all(&mut self.conn).await?;
        let others = "UPDATE message SET sender = NULL, sender_hash = NULL WHERE sender_hash = $1 AND client_id <> $2";
        sql::query(others).bind(&address).bind(id.0).execute(&mut self.conn).await?;
        let own = sql::scalar::<i64>("SELECT id FROM message WHERE client_id = $1").bind(id.0);
        rows.extend(own.fetch_all(&mut self.conn).await?);
        for row in &rows {
            for sql in [
                "DELETE FROM outbox WHERE message_id = $1",
                "DELETE FROM original WHERE message_id = $1",
                "UPDATE message SET answers = NULL WHERE answers = $1",
            ] {
                sql::query(sql).bind(*row).execute(&mut self.conn).await?;
            }
        }
        self.forget_traces(&rows, &client.code, id, &data_encoding::HEXLOWER.encode(&address)).await?;
        for row in &rows {
            sql::query("DELETE FROM message WHERE id = $1").bind(*row).execute(&mut self.conn).await?;
        }
        for sql in ["DELETE FROM turn WHERE client_id = $1", "DELETE FROM client WHERE id = $1"] {
            sql::query(sql).bind(id.0).execute(&mut self.conn).await?;
        }
        self.rows_deleted();
        Ok(())
    }
}

/// The erasures that a SQLite database knows of which is about to be replaced; none where it can't be read.
pub async fn erasures_in(database: &Path, vault: &Vault) -> Vec<Erasure> {
    let options = SqliteConnectOptions::new().filename(database).create_if_missing(false);
    let read = async {
        let mut conn = options.connect().await?;
        let rows = sqlx::query("SELECT * FROM erasure ORDER BY code").fetch_all(&mut conn).await?;
        sqlx::Connection::close(conn).await?;
        Ok::<_, sqlx::Error>(rows)
    };
    let rows = read.await.unwrap_or_default();
    rows.into_iter().filter_map(|row| open(vault, &Row::Lite(row)).ok()).collect()
}

impl Store {
    /// Takes away what the rows of an erased client leave on disk, as far as the database can; `false`: somebody still
    /// reads what was there before.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn forget_deleted(&self, code: &ClientCode) -> Result<bool, StoreError> {
        self.0.engine.forget_deleted(code.as_str()).await
    }
}
