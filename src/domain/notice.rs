//! What a mail system's notice about a mail means here (SPEC section 9), and who is told of it.
//!
//! A notice proves nothing by itself: anybody can write one. It counts with an id of ours, which is random and known
//! only to who had the mail in hand, and with the recipient that this mail had.

use crate::model::{Fate, Kind, OutboxState};

/// The mail that a notice speaks of, as far as it is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    pub state: OutboxState,
    /// An attempt has reached the dot after DATA.
    pub handed_over: bool,
    /// What the notice says of the one recipient that this mail had; `None`: it speaks of somebody else.
    pub fate: Option<Fate>,
}

/// Why a notice changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    UnknownMail,
    OtherRecipient,
    NeverSent,
    ToldBefore,
}

impl Ignored {
    /// For the journal.
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnknownMail => "unknown mail",
            Self::OtherRecipient => "other recipient",
            Self::NeverSent => "never sent",
            Self::ToldBefore => "told before",
        }
    }
}

/// What a notice means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    NotReceived,
    /// Another server still tries.
    Delayed,
    /// It speaks of our mail in words that aren't known.
    Unclear,
    Received,
    /// The mail is just being handed over: the notice is looked at again.
    NotYet,
    Ignored(Ignored),
}

impl Meaning {
    /// The word that `explain` uses.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotReceived => "delivery-failure",
            Self::Delayed => "delivery-delay",
            Self::Unclear => "delivery-unclear",
            Self::Received => "delivery-success",
            Self::NotYet => "wait",
            Self::Ignored(_) => "others",
        }
    }

    /// A sentence for `explain`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotReceived => "a mail system says that a mail of ours was not received",
            Self::Delayed => "a mail system says that a mail of ours is delayed",
            Self::Unclear => "a mail system speaks of a mail of ours, in words that aren't known",
            Self::Received => "a mail system says that a mail of ours was received",
            Self::NotYet => "a mail system speaks of a mail of ours that is just being handed over",
            Self::Ignored(Ignored::UnknownMail) => "a mail system's notice about no mail of ours",
            Self::Ignored(Ignored::OtherRecipient) => "a notice about a mail of ours that speaks of another recipient",
            Self::Ignored(Ignored::NeverSent) => "a notice about a mail of ours that never left",
            Self::Ignored(Ignored::ToldBefore) => "a notice about a mail of ours that is known not to be received",
        }
    }
}

/// What a notice means. `reported`: the mail that it names, where that is ours.
pub fn judge(reported: Option<Reported>) -> Meaning {
    let Some(mail) = reported else { return Meaning::Ignored(Ignored::UnknownMail) };
    let Some(fate) = mail.fate else { return Meaning::Ignored(Ignored::OtherRecipient) };
    match mail.state {
        OutboxState::Sent => match fate {
            Fate::Failed => Meaning::NotReceived,
            Fate::Delayed => Meaning::Delayed,
            Fate::Unclear => Meaning::Unclear,
            Fate::Relayed => Meaning::Received,
        },
        OutboxState::Failed => Meaning::Ignored(Ignored::ToldBefore),
        // The server has taken it, and that isn't recorded yet.
        OutboxState::Leaving if mail.handed_over => Meaning::NotYet,
        OutboxState::Waiting
        | OutboxState::Held
        | OutboxState::Leaving
        | OutboxState::Cancelled
        | OutboxState::Replaced => Meaning::Ignored(Ignored::NeverSent),
    }
}

/// Who is told, beside the digest, that a mail wasn't received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// The therapist, at once.
    Therapist,
    /// The therapist at once, and the operator: somebody may be in danger.
    TherapistAndOperator,
    /// The digest only.
    Digest,
    /// The operator: a therapist's own mailbox doesn't take mail.
    Operator,
    /// By the alarm command alone: it was the operator's own mailbox.
    Command,
    /// Nobody: the journal has it.
    Nobody,
}

/// Who is told that a mail of this kind wasn't received. `to_staff`: it was for a therapist.
pub const fn tell(kind: Kind, to_staff: bool) -> Tell {
    match kind {
        Kind::HealthAlarm => Tell::Command,
        Kind::RoundTrip => Tell::Nobody,
        _ if to_staff => Tell::Operator,
        Kind::Stranger | Kind::StrangerSafety => Tell::Nobody,
        Kind::Safety | Kind::SafetyViolence => Tell::TherapistAndOperator,
        // Answers of a machine to a machine's rules: that they don't arrive is seen from the others.
        Kind::Acknowledgement
        | Kind::AboutKeys
        | Kind::Undecryptable
        | Kind::TooLarge
        | Kind::KeyExpiry
        | Kind::AboutWords
        | Kind::AboutPassphrase
        | Kind::InvitationProblem
        | Kind::InvitationDeclined
        | Kind::KeyArrived
        | Kind::ConsentRecorded
        | Kind::ConsentUnclear
        | Kind::CardRequest
        | Kind::InternetPolicy
        | Kind::Paused
        | Kind::Resumed
        | Kind::Stopped
        | Kind::Erasure
        | Kind::StateNotice
        | Kind::AfterDischarge
        | Kind::Guide => Tell::Digest,
        _ => Tell::Therapist,
    }
}

/// Whether a letter of this kind was the answer that the client waits for: without it they have none.
pub const fn answers(kind: Kind) -> bool {
    matches!(kind, Kind::Reply | Kind::Urgent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(state: OutboxState, fate: Option<Fate>) -> Option<Reported> {
        Some(Reported { state, handed_over: true, fate })
    }

    #[test]
    fn only_a_mail_that_left_to_that_recipient_can_be_returned() {
        use OutboxState::{Cancelled, Failed, Held, Leaving, Replaced, Sent, Waiting};
        assert_eq!(judge(reported(Sent, Some(Fate::Failed))), Meaning::NotReceived);
        assert_eq!(judge(reported(Sent, None)), Meaning::Ignored(Ignored::OtherRecipient));
        assert_eq!(judge(None), Meaning::Ignored(Ignored::UnknownMail));
        assert_eq!(judge(reported(Failed, Some(Fate::Failed))), Meaning::Ignored(Ignored::ToldBefore));
        for state in [Waiting, Held, Cancelled, Replaced] {
            assert_eq!(judge(reported(state, Some(Fate::Failed))), Meaning::Ignored(Ignored::NeverSent), "{state}");
        }
        assert_eq!(judge(reported(Leaving, Some(Fate::Failed))), Meaning::NotYet);
        let not_handed_over = Reported { state: Leaving, handed_over: false, fate: Some(Fate::Failed) };
        assert_eq!(judge(Some(not_handed_over)), Meaning::Ignored(Ignored::NeverSent));
    }

    #[test]
    fn a_delay_is_no_failure() {
        for (fate, meaning) in
            [(Fate::Delayed, Meaning::Delayed), (Fate::Relayed, Meaning::Received), (Fate::Unclear, Meaning::Unclear)]
        {
            assert_eq!(judge(reported(OutboxState::Sent, Some(fate))), meaning);
        }
    }

    #[test]
    fn the_therapists_own_words_and_danger_are_told_at_once() {
        for &kind in Kind::ALL {
            if answers(kind) || kind.is_own_words() || matches!(kind, Kind::Now | Kind::Invitation | Kind::Frame) {
                assert_eq!(tell(kind, false), Tell::Therapist, "{kind}");
            }
        }
        assert_eq!(tell(Kind::Safety, false), Tell::TherapistAndOperator);
        for kind in [Kind::Forward, Kind::Alert, Kind::Digest, Kind::LocumForward, Kind::TherapistWelcome] {
            assert_eq!(tell(kind, true), Tell::Operator, "{kind}");
        }
        assert_eq!(tell(Kind::HealthAlarm, false), Tell::Command);
    }
}
