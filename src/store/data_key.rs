//! A key of each client's own, under which their bodies rest: with it, every copy of their pages that the disk may still
//! have becomes unreadable, also for who holds the keys to which the bodies are sealed.

use rand::Rng;
use zeroize::Zeroizing;

use super::sql::{self, Row};
use super::{StoreError, Tx, Vault};
use crate::model::{ClientId, MessageRow};

const TABLE: &str = "data_key";

fn vault_of(vault: &Vault, client: i64, wrapped: &[u8]) -> Result<Vault, StoreError> {
    let corrupt = || StoreError::Corrupt { table: TABLE, row: client };
    let key = Zeroizing::new(vault.unseal(TABLE, client, "wrapped", wrapped).map_err(|_| corrupt())?);
    let key = Zeroizing::new(<[u8; 32]>::try_from(key.as_slice()).map_err(|_| corrupt())?);
    Ok(Vault::new(&key))
}

/// Whose a body is, and the key that it rests under, where there is one.
type Keeper = (ClientId, Option<Vault>);

impl Tx {
    /// Whose a message is, and what seals with that client's own key, where there is one yet; None for a stranger's.
    async fn keeper(&mut self, message: MessageRow) -> Result<Option<Keeper>, StoreError> {
        match self.known_owner(message) {
            Some(None) => return Ok(None),
            Some(Some(client)) => return Ok(Some((client, self.client_vault(client).await?))),
            None => {}
        }
        let sql = "SELECT m.client_id, k.wrapped FROM message m LEFT JOIN data_key k ON k.client_id = m.client_id \
                   WHERE m.id = $1";
        let Some(row) = sql::query(sql).bind(message.0).fetch_optional(&mut self.conn).await? else {
            return Ok(None);
        };
        self.keeper_in(&row)
    }

    /// The same of a row with `client_id` and `wrapped`.
    pub(super) fn keeper_in(&mut self, row: &Row) -> Result<Option<Keeper>, StoreError> {
        let Some(client) = row.get::<Option<i64>>("client_id")? else { return Ok(None) };
        let wrapped = row.get::<Option<&[u8]>>("wrapped")?;
        let vault = wrapped.map(|wrapped| vault_of(self.vault(), client, wrapped)).transpose()?;
        if let Some(vault) = &vault {
            self.remember_key(ClientId(client), vault);
        }
        Ok(Some((ClientId(client), vault)))
    }

    /// What seals with a client's own key; None where there is none yet.
    async fn client_vault(&mut self, client: ClientId) -> Result<Option<Vault>, StoreError> {
        if let Some(vault) = self.known_key(client) {
            return Ok(Some(vault));
        }
        let query = sql::scalar::<Vec<u8>>("SELECT wrapped FROM data_key WHERE client_id = $1").bind(client.0);
        let wrapped = query.fetch_optional(&mut self.conn).await?;
        let vault = wrapped.map(|wrapped| vault_of(self.vault(), client.0, &wrapped)).transpose()?;
        if let Some(vault) = &vault {
            self.remember_key(client, vault);
        }
        Ok(vault)
    }

    /// Makes a client's own key.
    async fn make_data_key(&mut self, client: ClientId) -> Result<Vault, StoreError> {
        let mut key = Zeroizing::new([0_u8; 32]);
        rand::rng().fill_bytes(key.as_mut());
        let wrapped = self.vault().seal(TABLE, client.0, "wrapped", key.as_ref());
        let sql = "INSERT INTO data_key (client_id, wrapped) VALUES ($1, $2)";
        sql::query(sql).bind(client.0).bind(wrapped).execute(&mut self.conn).await?;
        Ok(Vault::new(&key))
    }

    /// A message's body as it rests: sealed once more, under its client's own key, which is made for the first.
    pub(super) async fn rest(&mut self, message: MessageRow, body: &[u8]) -> Result<Vec<u8>, StoreError> {
        let vault = match self.keeper(message).await? {
            Some((_, Some(vault))) => vault,
            Some((client, None)) => self.make_data_key(client).await?,
            None => return Ok(body.to_vec()),
        };
        Ok(vault.seal("blob", message.0, "data", body))
    }

    /// A body as it was given to [`Tx::rest`]. What rests as OpenPGP sealed it is a stranger's, or older than these keys.
    pub(super) fn unrest(
        &self,
        message: MessageRow,
        data: Vec<u8>,
        keeper: Option<Keeper>,
    ) -> Result<Vec<u8>, StoreError> {
        if !Vault::is_sealed(&data) {
            return Ok(data);
        }
        let corrupt = || StoreError::Corrupt { table: "blob", row: message.0 };
        let vault = keeper.and_then(|(_, vault)| vault).ok_or_else(corrupt)?;
        vault.unseal("blob", message.0, "data", &data).map_err(|_| corrupt())
    }

    /// The same for what a client has one of, such as the card.
    pub(super) async fn rest_of(
        &mut self,
        client: ClientId,
        table: &'static str,
        data: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let vault = match self.client_vault(client).await? {
            Some(vault) => vault,
            None => self.make_data_key(client).await?,
        };
        Ok(vault.seal(table, client.0, "data", data))
    }

    /// What was given to [`Tx::rest_of`].
    pub(super) async fn unrest_of(
        &mut self,
        client: ClientId,
        table: &'static str,
        data: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        if !Vault::is_sealed(&data) {
            return Ok(data);
        }
        let corrupt = || StoreError::Corrupt { table, row: client.0 };
        let vault = self.client_vault(client).await?.ok_or_else(corrupt)?;
        vault.unseal(table, client.0, "data", &data).map_err(|_| corrupt())
    }
}
