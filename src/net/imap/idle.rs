//! Waiting for mail (RFC 2177). async-imap's own handle would swallow an EXISTS that comes before the
//! server's invitation, and would be lost with the session if the waiting were dropped.

use std::future::Future;
use std::time::Duration;

use async_imap::imap_proto::Response;

use super::ImapSession;
use super::conn::Heard;
use crate::net::error::NetError;

/// Why the waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleEnd {
    /// The folder has grown: list it.
    NewData,
    /// `max` is over.
    Timeout,
    /// `stop` was ready.
    Stopped,
}

impl ImapSession {
    /// Waits until the selected folder grows, `max` is over or `stop` is ready. To be called anew well
    /// before 29 minutes are over. A server without IDLE is left in peace: then only `max` and `stop`
    /// end the wait, and the caller polls.
    ///
    /// # Errors
    /// Those of any command; a connection that died is noticed when DONE is not answered in time.
    pub async fn idle(&mut self, max: Duration, stop: impl Future<Output = ()>) -> Result<IdleEnd, NetError> {
        self.need_folder()?;
        if self.news.grown {
            return Ok(IdleEnd::NewData);
        }
        tokio::pin!(stop);
        let over = tokio::time::sleep(max);
        tokio::pin!(over);
        if !self.capabilities.idle {
            return Ok(tokio::select! {
                () = &mut stop => IdleEnd::Stopped,
                () = &mut over => IdleEnd::Timeout,
            });
        }
        let news = &mut self.news;
        self.conn.doing = "IDLE";
        let tag = self.conn.start("IDLE").await?;
        if let Some(done) = self.conn.permission(&tag, &mut |answer| news.note(answer)).await? {
            done.expect_ok("IDLE")?;
            return Err(self.conn.protocol("IDLE ended before it began"));
        }
        self.conn.patient(true);
        let end = loop {
            if news.grown {
                break Ok(IdleEnd::NewData);
            }
            let mut look = |answer: &Response<'_>| news.note(answer);
            let heard = tokio::select! {
                biased;
                () = &mut stop => break Ok(IdleEnd::Stopped),
                heard = self.conn.next(&tag, &mut look) => heard,
                () = &mut over => break Ok(IdleEnd::Timeout),
            };
            match heard {
                Ok(Heard::Untagged | Heard::Go) => {}
                Ok(Heard::Done(_)) => break Err(self.conn.protocol("IDLE ended by the server")),
                Err(e) => break Err(e),
            }
        };
        self.conn.patient(false);
        let end = end?;
        self.conn.raw(b"DONE\r\n").await?;
        self.conn.finish(&tag, &mut |answer| news.note(answer)).await?;
        Ok(end)
    }
}
