//! The only place where things meet.

pub mod absence;
pub mod backup;
pub mod breach;
pub mod check;
pub mod compose;
pub mod context;
pub mod copying;
pub mod crisis;
pub mod daily;
pub mod database;
pub mod digest;
pub mod enrol;
pub mod erasure;
pub mod examine;
pub mod export;
pub mod filing;
pub mod frozen;
pub mod gateway;
pub mod guard;
pub mod health;
mod heartbeat;
pub mod intake;
pub mod keys;
pub mod keywords;
pub mod life;
pub mod locum;
pub mod metrics;
pub mod migrate_store;
mod notice;
pub mod orders;
pub mod post;
pub mod prepare;
mod record;
pub mod recover;
pub mod refusal;
pub mod registry;
pub mod reload;
pub mod reply;
mod requests;
pub mod restore;
pub mod round_trip;
pub mod sealed_letters;
pub mod send;
mod set_back;
pub mod settings;
pub mod specimens;
pub mod status;
pub mod supervisor;
pub mod therapist;
pub mod tick;
mod unreached;
pub mod verify;
pub mod watch;
pub mod write;

use crate::model::TherapistId;
use crate::net::NetError;
use crate::store::StoreError;

/// Why a piece of work couldn't be done. No message carries content, names or addresses.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("the database couldn't do it")]
    Store(#[from] StoreError),
    #[error("a mail couldn't be made")]
    Mail(#[from] compose::MailError),
    #[error("the mail server couldn't do it")]
    Net(#[from] NetError),
    #[error("a message couldn't be prepared")]
    Prepare(#[from] prepare::PrepareError),
    #[error("a secret couldn't be read")]
    Secret(#[from] crate::config::SecretError),
    #[error("therapist {therapist} is not in the configuration: add the `[[therapist]]` again")]
    NoTherapist { therapist: TherapistId },
    #[error("a client's key changed while their letter was prepared; it is prepared again at the next look")]
    KeyChanged,
    #[error("the file of `ca_file` can't be read; check its path and permissions")]
    CaFile,
    #[error("the submission server can't be reached; `cadre check` says why")]
    SmtpUnreachable,
    #[error("a task of the program ended unexpectedly; this is a fault of the program")]
    Task,
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl From<tokio::task::JoinError> for AppError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::Task
    }
}
