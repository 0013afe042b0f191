//! The line to the submission server: mails are handed over in order, and each result is recorded.

use std::sync::Arc;

use super::{Claimed, Clerk, Ended, Sent};
use crate::app::AppError;
use crate::app::compose;
use crate::app::context::Context;
use crate::app::guard;
use crate::app::health;
use crate::domain::delivery::Outcome;
use crate::failpoint::failpoint;
use crate::model::Address;
use crate::net::{NetError, SendOutcome, SendResult, SmtpSubmitter, Stage};
use crate::store::StoreError;

/// Results that are committed together when many mails leave: a commit costs more than a mail.
const RECORDED_TOGETHER: usize = 8;
/// Remembered when a server refuses `MAIL FROM:<>`.
pub const NULL_PATH_REFUSED: &str = "smtp.null_path_refused";

/// The line to the submission server.
pub(super) struct Line {
    ctx: Arc<Context>,
    smtp: SmtpSubmitter,
    /// The server's health has been noted as good.
    told_well: bool,
    /// Whether it refuses `MAIL FROM:<>`, once that is known.
    null_path_refused: Option<bool>,
}

impl Line {
    pub(super) fn new(ctx: Arc<Context>, smtp: SmtpSubmitter) -> Self {
        Self { ctx, smtp, told_well: false, null_path_refused: None }
    }

    /// Says good-bye to the server.
    pub(super) async fn quit(&mut self) {
        self.smtp.quit().await;
    }

    /// Hands a batch over, in order, and records what became of each.
    pub(super) async fn hand_over_all(
        &mut self,
        clerk: &Clerk,
        batch: Vec<Claimed>,
        total: &mut Sent,
    ) -> Result<(), AppError> {
        // One by one where there are few, so that a crash repeats as little as can be.
        if batch.len() < RECORDED_TOGETHER {
            for one in batch {
                let ended = self.hand_over(one, total).await?;
                clerk.record(vec![ended], total).await?;
            }
            return Ok(());
        }
        let mut batch = batch.into_iter();
        let mut ended = Vec::new();
        loop {
            let group: Vec<Claimed> = batch.by_ref().take(RECORDED_TOGETHER).collect();
            let last = group.is_empty();
            // What has left is recorded while the next ones leave.
            let mut recorded = Sent::default();
            let recording = clerk.record(std::mem::take(&mut ended), &mut recorded);
            let handing = async {
                for one in group {
                    ended.push(self.hand_over(one, total).await?);
                }
                Ok::<_, AppError>(())
            };
            let (handed, outcome) = tokio::join!(handing, recording);
            outcome?;
            handed?;
            total.add(recorded);
            if last {
                return Ok(());
            }
        }
    }

    async fn hand_over(&mut self, claimed: Claimed, total: &mut Sent) -> Result<Ended, AppError> {
        self.ctx.pulse.beat();
        let (outcome, error, word) = if total.unreachable {
            // Nobody answered the one before: the rest of the batch waits too, without dialling.
            (Outcome::Unreachable, None, "smtp-unreachable".to_owned())
        } else {
            match guard::check(claimed.row.kind, &claimed.bytes, &claimed.to) {
                Err(error) => {
                    tracing::error!(kind = %claimed.row.kind, %error, "the guard refused a mail");
                    (Outcome::Guarded, None, "guarded".to_owned())
                }
                // Stopped for a while: another gateway may be sending it.
                Ok(()) if !self.ctx.store.lives() => return Err(StoreError::Fenced.into()),
                Ok(()) => {
                    failpoint("handing-over");
                    self.dial(&claimed).await?
                }
            }
        };
        failpoint("handed-over");
        let now = self.ctx.clock.now();
        match (&error, outcome) {
            (Some(error), Outcome::Unreachable) => {
                total.unreachable = true;
                health::unwell(&self.ctx, "smtp", error, now).await?;
                self.told_well = false;
            }
            (_, Outcome::Guarded | Outcome::Unreachable) => {}
            _ if self.told_well => {}
            _ => {
                health::well(&self.ctx, "smtp", now).await?;
                self.told_well = true;
            }
        }
        Ok(Ended { claimed, outcome, word, at: now })
    }

    /// One attempt; a server that refuses the null return path is asked again with the practice's own.
    async fn dial(&mut self, claimed: &Claimed) -> Result<(Outcome, Option<NetError>, String), AppError> {
        let practice = self.ctx.config.practice.address.clone();
        let refused = match self.null_path_refused {
            Some(refused) => refused,
            None => self.ctx.store.read().await?.meta(NULL_PATH_REFUSED).await?.is_some(),
        };
        self.null_path_refused = Some(refused);
        let null = compose::has_null_path(claimed.row.kind) && !refused;
        // Names nobody, and is known to who has the mail in hand only.
        let envid = claimed.row.mail_id.as_deref().and_then(|id| id.split('@').next());
        let from: Option<&Address> = if null { None } else { Some(&practice) };
        let to = std::slice::from_ref(&claimed.to);
        // Each step of the dialogue has its time, ten minutes after the dot; none of them is a reason to be restarted.
        let pulse = &self.ctx.pulse;
        let mut outcome = pulse.while_it_takes(self.smtp.send_tracked(from, to, &claimed.bytes, envid)).await;
        if outcome.refused_null_path() && !outcome.refused_size() {
            outcome = pulse.while_it_takes(self.smtp.send_tracked(Some(&practice), to, &claimed.bytes, envid)).await;
            if outcome.stage > Stage::MailFrom {
                let mut tx = self.ctx.store.begin().await?;
                tx.set_meta(NULL_PATH_REFUSED, "1").await?;
                tx.commit().await?;
                self.null_path_refused = Some(true);
            }
        }
        Ok(judge(outcome))
    }
}

/// What an attempt came to, as the rules see it, with a word for `queue list`.
fn judge(outcome: SendOutcome) -> (Outcome, Option<NetError>, String) {
    match outcome.result {
        SendResult::Accepted { .. } => (Outcome::Delivered, None, String::new()),
        SendResult::Temporary { code, .. } => (Outcome::Temporary { code }, None, format!("temporary {code}")),
        SendResult::Permanent { code, .. } => (Outcome::Permanent { code }, None, format!("refused {code}")),
        SendResult::NotSent(NetError::Unsupported { .. }) => {
            (Outcome::Permanent { code: 550 }, None, "not supported by the server".to_owned())
        }
        // The server was there and hung up on this mail.
        SendResult::NotSent(error) if outcome.stage >= Stage::RcptTo => {
            (Outcome::Temporary { code: 421 }, Some(error), "cut off".to_owned())
        }
        SendResult::NotSent(error) => {
            let word = health::word(&error).to_owned();
            (Outcome::Unreachable, Some(error), word)
        }
        SendResult::MaybeDelivered(error) => {
            (Outcome::MaybeDelivered, Some(error), "no answer after the dot".to_owned())
        }
    }
}
