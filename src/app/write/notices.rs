//! Notices to a therapist: a letter is held, a letter wasn't received.

use chrono::{DateTime, Utc};

use super::{Desk, Written};
use crate::app::AppError;
use crate::app::intake::releasable;
use crate::app::post::Cause;
use crate::letters::{self, FailureCause, Letter, NamedFrom};
use crate::model::{Kind, Verdict};
use crate::store::{Message, StoreError, Tx};

impl Desk<'_> {
    pub(super) async fn held_notice(&self, tx: &mut Tx) -> Result<Option<Written>, AppError> {
        let Some(message) = self.message else { return Ok(None) };
        let verdict = message.verdict.unwrap_or(Verdict::Bad);
        let facts = letters::HeldNotice {
            code: self.client.map(|client| client.code.clone()),
            label: self.client.and_then(|client| client.label.clone()),
            number: message.held_no.map_or_else(String::new, |n| format!("H{n}")),
            verdict,
            marks: message.marks.clone(),
            arrived: message.at,
            releasable: releasable(message),
            from: match verdict {
                Verdict::WrongSigner => self.named_from(tx, message).await?,
                _ => None,
            },
        };
        self.staff_letter(&Letter::HeldNotice(facts))
    }

    /// Whose address From shows: by code, and by label where the label is this therapist's own.
    async fn named_from(&self, tx: &mut Tx, message: &Message) -> Result<Option<NamedFrom>, AppError> {
        let Some(address) = &message.sender else { return Ok(None) };
        if self.ctx.therapist_by_address(address).is_some() {
            return Ok(Some(NamedFrom { code: None, label: None }));
        }
        let client = match tx.client_by_address(address).await {
            Err(StoreError::Tampered { .. }) => None,
            found => found?,
        };
        let Some(client) = client.filter(|client| Some(client.id) != message.client) else { return Ok(None) };
        let own = self.row.therapist.as_ref() == Some(&client.therapist);
        Ok(Some(NamedFrom { code: Some(client.code), label: client.label.filter(|_| own) }))
    }

    pub(super) fn delivery_failure(
        &self,
        kind: Kind,
        sent: DateTime<Utc>,
        cause: Cause,
        due: Option<DateTime<Utc>>,
        card: bool,
    ) -> Result<Option<Written>, AppError> {
        let Some(client) = self.client else { return Ok(None) };
        let therapist = self.therapist()?;
        let other_way = therapist.settings.cadre.fallback.get(therapist.settings.language);
        let (cause, why) = match cause {
            Cause::Refused => (FailureCause::Refused, None),
            Cause::GaveUp => (FailureCause::GaveUp, None),
            Cause::CertificateUnusable => (FailureCause::CertificateUnusable, None),
            Cause::NoPassphrase => (FailureCause::NoPassphrase, None),
            Cause::Unsealable => (FailureCause::Unsealable, None),
            Cause::Returned { why } => {
                let word = serde_json::to_value(why).ok().and_then(|word| word.as_str().map(str::to_owned));
                (FailureCause::Returned, word)
            }
        };
        let facts = letters::DeliveryFailure {
            code: client.code.clone(),
            label: client.label.clone(),
            kind,
            sent,
            cause,
            why,
            other_way: (!other_way.is_empty()).then(|| other_way.to_owned()),
            due,
            card,
        };
        self.staff_letter(&Letter::DeliveryFailure(facts))
    }
}
