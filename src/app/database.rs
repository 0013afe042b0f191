//! The store that the configuration names, opened.

use std::path::Path;

use super::context::StartError;
use crate::config::{Config, DatabasePlace, DatabaseServer, SecretError};
use crate::store::{Server, Store, StoreError, Vault};

/// Opens it, and makes it where it isn't there yet.
///
/// # Errors
/// [`StartError::Secret`], [`StartError::Store`].
pub async fn open(config: &Config) -> Result<Store, StartError> {
    let store = at(config, &config.database.place, &config.database.journal_head).await?;
    store.is_complete().await?;
    Ok(store)
}

/// Opens this practice's store at another place, or makes it there; also one that `migrate-store` hasn't finished.
///
/// # Errors
/// [`StartError::Secret`], [`StartError::Store`].
pub async fn at(config: &Config, place: &DatabasePlace, head: &Path) -> Result<Store, StartError> {
    let record = config.keys.record.record_key().map_err(secret("`[keys] record`"))?;
    let vault = Vault::new(&record);
    match place {
        DatabasePlace::File(path) => Ok(Store::open(&format!("sqlite:{}", path.display()), vault, head).await?),
        DatabasePlace::Server(server) => Ok(Store::connect(&reached(config, server, &vault)?, vault, head).await?),
    }
}

/// How the server of the configuration is reached, and the practice's schema there.
///
/// # Errors
/// [`StartError::Secret`]; [`StoreError::ServerUrl`] where the configuration names a file.
pub fn server(config: &Config) -> Result<Server, StartError> {
    let DatabasePlace::Server(server) = &config.database.place else { return Err(StoreError::ServerUrl.into()) };
    let record = config.keys.record.record_key().map_err(secret("`[keys] record`"))?;
    reached(config, server, &Vault::new(&record))
}

fn reached(config: &Config, server: &DatabaseServer, vault: &Vault) -> Result<Server, StartError> {
    let password = server.password.as_ref().map(|source| source.password());
    let password = password.transpose().map_err(secret("`[database] password_file`"))?;
    let schema = server.schema.clone().unwrap_or_else(|| vault.schema_name(&config.practice.address));
    Ok(Server { url: server.url.clone(), password, schema })
}

fn secret(what: &'static str) -> impl Fn(SecretError) -> StartError {
    move |source| StartError::Secret { what, source }
}

/// Whether there can be something in it: a file that isn't there is made at the first run, a server is asked.
pub fn may_exist(config: &Config) -> bool {
    config.database.file().is_none_or(Path::exists)
}
