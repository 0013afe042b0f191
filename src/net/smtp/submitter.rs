//! A connection that is made when it is needed and kept while it is good.

use std::time::Duration;

use tokio::time::Instant;

use super::{SendOutcome, SendResult, SmtpConnection, Stage};
use crate::model::Address;
use crate::net::SmtpSettings;
use crate::net::error::NetError;

/// A connection that rested longer is asked (NOOP) before a mail is entrusted to it.
const FRESH: Duration = Duration::from_secs(10);

/// Sends mail over one connection, re-made when it is gone.
pub struct SmtpSubmitter {
    settings: SmtpSettings,
    connection: Option<(SmtpConnection, Instant)>,
}

impl SmtpSubmitter {
    pub fn new(settings: SmtpSettings) -> Self {
        Self { settings, connection: None }
    }

    /// A good connection: the one we have, or a new one.
    ///
    /// # Errors
    /// Those of [`SmtpConnection::connect`].
    pub async fn ready(&mut self) -> Result<&mut SmtpConnection, NetError> {
        let kept = match self.connection.take() {
            Some((connection, _)) if connection.is_broken() => None,
            Some((connection, used)) if used.elapsed() < FRESH => Some(connection),
            Some((mut connection, _)) => connection.test().await.is_ok().then_some(connection),
            None => None,
        };
        let connection = match kept {
            Some(connection) => connection,
            None => SmtpConnection::connect(&self.settings).await?,
        };
        Ok(&mut self.connection.insert((connection, Instant::now())).0)
    }

    /// As [`SmtpConnection::send`]. A kept connection that turns out to be dead before the server
    /// has seen MAIL is replaced once.
    pub async fn send(&mut self, from: Option<&Address>, to: &[Address], data: &[u8]) -> SendOutcome {
        self.send_tracked(from, to, data, None).await
    }

    /// As [`SmtpConnection::send_tracked`], likewise.
    pub async fn send_tracked(
        &mut self,
        from: Option<&Address>,
        to: &[Address],
        data: &[u8],
        envid: Option<&str>,
    ) -> SendOutcome {
        let fresh = self.connection.is_none();
        let outcome = self.attempt(from, to, data, envid).await;
        let stale = !fresh
            && outcome.stage == Stage::MailFrom
            && matches!(outcome.result, SendResult::NotSent(NetError::Closed { .. }));
        if stale { self.attempt(from, to, data, envid).await } else { outcome }
    }

    async fn attempt(
        &mut self,
        from: Option<&Address>,
        to: &[Address],
        data: &[u8],
        envid: Option<&str>,
    ) -> SendOutcome {
        match self.ready().await {
            Ok(connection) => connection.send_tracked(from, to, data, envid).await,
            Err(e) => SendOutcome {
                result: SendResult::NotSent(e),
                stage: Stage::Connect,
                reached_dot: false,
                null_path: from.is_none(),
            },
        }
    }

    /// Says good-bye, if there is a connection.
    pub async fn quit(&mut self) {
        if let Some((connection, _)) = self.connection.take() {
            connection.quit().await;
        }
    }
}
