//! The store that the configuration names, opened.

use std::path::Path;

use super::context::StartError;
use crate::config::{Config, DatabasePlace};
use crate::store::{Server, Store, Vault};

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
    let secret = |what| move |source| StartError::Secret { what, source };
    let record = config.keys.record.record_key().map_err(secret("`[keys] record`"))?;
    let vault = Vault::new(&record);
    let server = match place {
        DatabasePlace::File(path) => return Ok(Store::open(&format!("sqlite:{}", path.display()), vault, head).await?),
        DatabasePlace::Server(server) => server,
    };
    let password = server.password.as_ref().map(|source| source.password());
    let password = password.transpose().map_err(secret("`[database] password_file`"))?;
    let schema = server.schema.clone().unwrap_or_else(|| vault.schema_name(&config.practice.address));
    Ok(Store::connect(&Server { url: server.url.clone(), password, schema }, vault, head).await?)
}

/// Whether there can be something in it: a file that isn't there is made at the first run, a server is asked.
pub fn may_exist(config: &Config) -> bool {
    config.database.file().is_none_or(Path::exists)
}
