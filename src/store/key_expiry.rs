//! When clients' keys expire: read once from each certificate, so that nobody reads all of them to know who is to be
//! told. It only chooses whose certificate is looked at; what a certificate says is read from itself.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::sql;
use super::{Client, MacParts, StoreError, Tx, Vault, micros, micros_opt, time, vault};
use crate::model::ClientId;

const TABLE: &str = "key_expiry";

fn mac(vault: &Vault, id: i64, certificate: Option<&[u8]>, expires: Option<i64>) -> [u8; 32] {
    MacParts::default().int(Some(id)).add(certificate).int(expires).mac(vault, TABLE)
}

impl Tx {
    /// A client has another certificate, or none: what was noted of the one before counts no more.
    pub(super) async fn forget_key_expiry(&mut self, id: i64, certificate: bool) -> Result<(), StoreError> {
        sql::query("DELETE FROM key_expiry WHERE client_id = $1").bind(id).execute(&mut self.conn).await?;
        if certificate {
            let sql = "INSERT INTO key_expiry (client_id, expires_at, mac) VALUES ($1, 0, $2)";
            sql::query(sql).bind(id).bind(Vec::<u8>::new()).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Notes when the key of a client's pinned certificate expires; `None`: never.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn note_key_expiry(&mut self, client: &Client, expires: Option<DateTime<Utc>>) -> Result<(), StoreError> {
        let expires = micros_opt(expires);
        let mac = mac(self.vault(), client.id.0, client.certificate.as_deref(), expires).to_vec();
        let sql = "INSERT INTO key_expiry (client_id, expires_at, mac) VALUES ($1, $2, $3) \
                   ON CONFLICT (client_id) DO UPDATE SET expires_at = excluded.expires_at, mac = excluded.mac";
        sql::query(sql).bind(client.id.0).bind(expires).bind(mac).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Clients whose key expires by then or has; the earliest first.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn keys_expiring(&mut self, by: DateTime<Utc>) -> Result<Vec<ClientId>, StoreError> {
        let sql = "SELECT client_id FROM key_expiry WHERE expires_at > 0 AND expires_at <= $1 \
                   ORDER BY expires_at, client_id";
        let ids: Vec<i64> = sql::scalar(sql).bind(micros(by)).fetch_all(&mut self.conn).await?;
        Ok(ids.into_iter().map(ClientId).collect())
    }

    /// Clients of whose key it isn't known yet when it expires, at most so many.
    ///
    /// # Errors
    /// [`StoreError::Db`].
    pub async fn keys_unread(&mut self, limit: u32) -> Result<Vec<ClientId>, StoreError> {
        let sql = "SELECT client_id FROM key_expiry WHERE expires_at = 0 ORDER BY client_id LIMIT $1";
        let ids: Vec<i64> = sql::scalar(sql).bind(i64::from(limit)).fetch_all(&mut self.conn).await?;
        Ok(ids.into_iter().map(ClientId).collect())
    }

    /// What is noted of some clients, who are given in the order of their rows, and can be relied on: when their keys
    /// expire; `None`: never.
    ///
    /// # Errors
    /// [`StoreError::Db`], [`StoreError::Corrupt`].
    pub async fn keys_noted(
        &mut self,
        clients: &[Client],
    ) -> Result<BTreeMap<ClientId, Option<DateTime<Utc>>>, StoreError> {
        let (Some(first), Some(last)) = (clients.first(), clients.last()) else { return Ok(BTreeMap::new()) };
        let sql = "SELECT client_id, expires_at, mac FROM key_expiry WHERE client_id BETWEEN $1 AND $2";
        let rows = sql::query(sql).bind(first.id.0).bind(last.id.0).fetch_all(&mut self.conn).await?;
        let mut noted = BTreeMap::new();
        for row in &rows {
            let id = ClientId(row.get("client_id")?);
            let Ok(at) = clients.binary_search_by_key(&id, |client| client.id) else { continue };
            let (expires, kept): (Option<i64>, &[u8]) = (row.get("expires_at")?, row.get("mac")?);
            if vault::same(&mac(self.vault(), id.0, clients[at].certificate.as_deref(), expires), kept) {
                noted.insert(id, expires.map(|at| time(TABLE, id.0, at)).transpose()?);
            }
        }
        Ok(noted)
    }

    /// Whether what is noted of a client's certificate can be relied on, or is said to be unknown. Without any note
    /// nobody would be told of its end.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it was changed or taken away; [`StoreError::Db`].
    pub(super) async fn check_key_expiry(&mut self, id: ClientId) -> Result<(), StoreError> {
        let client = match self.client(id).await {
            // Named by itself.
            Err(StoreError::Corrupt { .. } | StoreError::Tampered { .. }) => return Ok(()),
            client => client?,
        };
        let Some(certificate) = client.and_then(|client| client.certificate) else { return Ok(()) };
        let sql = "SELECT expires_at, mac FROM key_expiry WHERE client_id = $1";
        let row = sql::query(sql).bind(id.0).fetch_optional(&mut self.conn).await?;
        let corrupt = StoreError::Corrupt { table: TABLE, row: id.0 };
        let Some(row) = row else { return Err(corrupt) };
        let (expires, kept): (Option<i64>, &[u8]) = (row.get("expires_at")?, row.get("mac")?);
        let good = expires == Some(0) || vault::same(&mac(self.vault(), id.0, Some(&certificate), expires), kept);
        if good { Ok(()) } else { Err(corrupt) }
    }
}
