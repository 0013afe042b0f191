//! A database that is named on the command line, as `[database]` names one.

use std::path::Path;

use super::parse::{self, DatabaseUrl, Fault};
use super::{DatabasePlace, DatabaseServer, Env, SecretSource};

impl DatabasePlace {
    /// Reads `sqlite:PATH` or `postgres://…`; `password` and `schema` are for PostgreSQL. Paths are relative to `folder`.
    ///
    /// # Errors
    /// What is wrong with one of them, with its remedy, in words.
    pub fn parse(
        url: &str,
        password: Option<&str>,
        schema: Option<&str>,
        folder: &Path,
        env: &Env,
    ) -> Result<Self, String> {
        let told = |what: &'static str| move |fault: Fault| format!("{what}: {}; {}", fault.cause, fault.remedy);
        Ok(match parse::database(url, folder).map_err(told("the database's URL"))? {
            DatabaseUrl::File(path) => Self::File(path),
            DatabaseUrl::Server(url) => {
                let password = password.map(|text| SecretSource::parse(text, folder, env)).transpose();
                Self::Server(DatabaseServer {
                    url,
                    password: password.map_err(told("the password's file"))?,
                    schema: schema.map(parse::schema_name).transpose().map_err(told("the schema"))?,
                })
            }
        })
    }

    /// The SQLite file; `None`: PostgreSQL.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }
}
