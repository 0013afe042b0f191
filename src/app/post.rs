//! Puts mail into the outbox: what is sealed now, and what is written when it leaves.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::AppError;
use super::compose::{self, Head};
use super::context::{Context, Therapist};
use super::crisis;
use super::keys;
use super::life;
use crate::letters::{HealthProblem, KeyOwner, Letter};
use crate::model::{Address, ClientCode, ClientId, Kind, MessageRow, OutboxRow, TherapistId};
use crate::store::{Client, NewOutbox, Tx};

/// What a mail is made from when it leaves. Encrypted under the record key; no words of a letter.
#[derive(Serialize, Deserialize)]
#[serde(tag = "mail", rename_all = "kebab-case")]
pub enum Recipe {
    /// A filed message, as it was sealed.
    Forward,
    /// The therapist's words, sealed to the practice until now.
    Reply,
    /// A letter to staff, sealed when it was made, with the Date of that moment.
    Sealed {
        armored: String,
        at: DateTime<Utc>,
        in_reply_to: Option<String>,
        references: Vec<String>,
    },
    Acknowledgement {
        arrived: DateTime<Utc>,
        expected: Option<DateTime<Utc>>,
        origin: Option<String>,
    },
    MissedDay {
        missed: DateTime<Utc>,
        next: DateTime<Utc>,
    },
    AboutKeys {
        origin: Option<String>,
    },
    Undecryptable {
        origin: Option<String>,
    },
    TooLarge {
        origin: Option<String>,
    },
    /// To a client whose letters are sealed with a passphrase: what was asked needs the answer words.
    AboutWords {
        origin: Option<String>,
    },
    /// The same: a passphrase is never mailed.
    AboutPassphrase {
        origin: Option<String>,
    },
    KeyExpiry {
        expires: DateTime<Utc>,
        days: i64,
    },
    Stranger {
        origin: Option<String>,
    },
    Digest {
        slot: DateTime<Utc>,
    },
    Reminder {
        slot: DateTime<Utc>,
    },
    HeldNotice,
    DeliveryFailure {
        kind: Kind,
        sent: DateTime<Utc>,
        cause: Cause,
        /// The letters are to be answered again, by this slot.
        #[serde(default)]
        due: Option<DateTime<Utc>>,
        /// The person's card follows.
        #[serde(default)]
        card: bool,
    },
    StaffKeyExpiry {
        owner: Owner,
        fingerprint: String,
        expires: DateTime<Utc>,
        days: i64,
    },
    HealthAlarm {
        problem: Problem,
        since: DateTime<Utc>,
    },
    /// Alerts and safety letters.
    Crisis(crisis::Paper),
    RoundTrip,
    /// That a key was replaced or revoked.
    Keys(keys::Paper),
    /// A letter of somebody's enrolment.
    Enrol(super::enrol::Paper),
    /// A letter of a therapist's absence.
    Absence(super::locum::Paper),
    /// A letter of a client's life.
    Life(life::papers::Paper),
}

/// [`crate::letters::FailureCause`], as it is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    Refused,
    GaveUp,
    CertificateUnusable,
    /// The passphrase of sealed letters wasn't told yet.
    NoPassphrase,
    /// It can't be set as a sealed letter.
    Unsealable,
    /// The client's server had taken it, or another on the way, and gave it back.
    Returned {
        why: Why,
    },
}

impl Cause {
    /// Why a mail couldn't be sealed.
    pub const fn of(error: &compose::MailError) -> Self {
        match error {
            compose::MailError::NoPassphrase => Self::NoPassphrase,
            compose::MailError::Pdf(_) => Self::Unsealable,
            _ => Self::CertificateUnusable,
        }
    }
}

/// Why a mail was given back, as far as its status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    Unsaid,
    AddressUnknown,
    MailboxFull,
    /// A filter or a rule of that server.
    Refused,
    /// Tried for days, in vain.
    Unreachable,
}

impl Why {
    /// By the enhanced status code (RFC 3463).
    pub fn of(status: Option<&str>) -> Self {
        let mut parts = status.unwrap_or_default().split('.').skip(1);
        match (parts.next(), parts.next()) {
            (Some("1"), Some("1" | "2" | "3" | "6" | "10")) | (Some("2"), Some("1")) => Self::AddressUnknown,
            (Some("2"), Some("2")) => Self::MailboxFull,
            (Some("4"), Some("1" | "7" | "4")) => Self::Unreachable,
            (Some("7"), _) => Self::Refused,
            _ => Self::Unsaid,
        }
    }
}

/// Whose key is about to expire.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    Therapist,
    Practice,
    Archive,
    Client,
}

/// What the operator is told of, as it is kept: a word, and a client's code where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub word: String,
    pub code: Option<String>,
    pub count: Option<u32>,
    /// A letter of the operator's own.
    #[serde(default)]
    pub letter: Option<String>,
    /// A therapist's id in the configuration.
    #[serde(default)]
    pub therapist: Option<String>,
}

impl Problem {
    pub fn new(word: &str) -> Self {
        Self { word: word.to_owned(), code: None, count: None, letter: None, therapist: None }
    }

    /// As the letter to the operator says it.
    pub fn letter(&self) -> HealthProblem {
        let code = || self.code.as_deref().and_then(|code| code.parse().ok());
        match self.word.as_str() {
            "imap-login" => HealthProblem::ImapLogin,
            "smtp-login" => HealthProblem::SmtpLogin,
            "smtp-unreachable" => HealthProblem::SmtpUnreachable,
            "tls" => HealthProblem::TlsCertificate,
            "clock" => HealthProblem::Clock,
            "disk-full" => HealthProblem::DiskFull,
            "database" => HealthProblem::Database,
            "journal" => HealthProblem::Journal,
            "therapist-certificate" => HealthProblem::TherapistCertificate,
            "practice-key" => HealthProblem::PracticeKey,
            "therapist-key-expires" => self.key_expires(KeyOwner::Therapist),
            "practice-key-expires" => self.key_expires(KeyOwner::Practice),
            "archive-key-expires" => self.key_expires(KeyOwner::Archive),
            "therapist-key-revoked" => HealthProblem::KeyRevoked { owner: KeyOwner::Therapist },
            "practice-key-revoked" => HealthProblem::KeyRevoked { owner: KeyOwner::Practice },
            "client-key-revoked" => code().map_or(HealthProblem::Database, |code| HealthProblem::KeyRevoked {
                owner: KeyOwner::Client { code, label: None },
            }),
            "client-key-expires" => {
                code().map_or(HealthProblem::Database, |code| self.key_expires(KeyOwner::Client { code, label: None }))
            }
            "attention" => HealthProblem::Attention { count: self.count.unwrap_or(1) },
            "forward-failed" => HealthProblem::ForwardFailed { code: code() },
            "staff-mail" => HealthProblem::StaffMail { therapist: self.therapist.clone().unwrap_or_default() },
            "safety-failed" => HealthProblem::SafetyFailed { code: code() },
            "own-letter" => HealthProblem::OwnLetter { name: self.letter.clone().unwrap_or_default() },
            "record-mac" => code().map_or(HealthProblem::Database, |code| HealthProblem::RecordMac { code }),
            "second-miss" => code().map_or(HealthProblem::Database, |code| HealthProblem::SecondMiss { code }),
            _ => HealthProblem::ImapUnreachable,
        }
    }

    fn key_expires(&self, owner: KeyOwner) -> HealthProblem {
        HealthProblem::KeyExpires { owner, days: i64::from(self.count.unwrap_or(0)) }
    }

    /// That a key was revoked; `code`: whose, where it is a client's.
    pub fn revoked(owner: Owner, code: Option<&ClientCode>) -> Self {
        let word = match owner {
            Owner::Therapist => "therapist-key-revoked",
            Owner::Practice | Owner::Archive => "practice-key-revoked",
            Owner::Client => "client-key-revoked",
        };
        Self { code: code.map(ToString::to_string), ..Self::new(word) }
    }

    /// That a key expires in so many days, or has expired; `code`: whose, where it is a client's.
    pub fn key(owner: Owner, code: Option<&ClientCode>, days: i64) -> Self {
        let word = match owner {
            Owner::Therapist if days <= 0 => "therapist-certificate",
            Owner::Practice if days <= 0 => "practice-key",
            Owner::Therapist => "therapist-key-expires",
            Owner::Practice => "practice-key-expires",
            Owner::Archive => "archive-key-expires",
            Owner::Client => "client-key-expires",
        };
        let count = Some(u32::try_from(days).unwrap_or(0));
        Self { code: code.map(ToString::to_string), count, ..Self::new(word) }
    }
}

/// Who a mail is for and when it may leave.
pub struct Post<'a> {
    pub kind: Kind,
    pub client: Option<ClientId>,
    pub therapist: Option<&'a TherapistId>,
    pub message: Option<MessageRow>,
    pub recipient: Option<Address>,
    /// Its Message-ID, where it has one already.
    pub mail_id: Option<String>,
    pub not_before: DateTime<Utc>,
}

impl<'a> Post<'a> {
    /// A mail of Cadre's to a client.
    pub fn to_client(kind: Kind, client: ClientId, at: DateTime<Utc>) -> Self {
        Self {
            kind,
            client: Some(client),
            therapist: None,
            message: None,
            recipient: None,
            mail_id: None,
            not_before: at,
        }
    }

    /// A mail to a therapist.
    pub fn to_therapist(kind: Kind, therapist: &'a TherapistId, client: Option<ClientId>, at: DateTime<Utc>) -> Self {
        Self { kind, client, therapist: Some(therapist), message: None, recipient: None, mail_id: None, not_before: at }
    }

    /// Puts it into the outbox.
    ///
    /// # Errors
    /// [`AppError::Store`].
    pub async fn enqueue(
        self,
        ctx: &Context,
        tx: &mut Tx,
        recipe: &Recipe,
        now: DateTime<Utc>,
    ) -> Result<OutboxRow, AppError> {
        let new = NewOutbox {
            kind: self.kind,
            client: self.client,
            therapist: self.therapist.cloned(),
            message: self.message,
            created_at: now,
            not_before: self.not_before,
            facts: serde_json::to_value(recipe).unwrap_or_default(),
            recipient: self.recipient,
            mail_id: Some(self.mail_id.unwrap_or_else(|| compose::new_message_id(ctx))),
        };
        Ok(tx.enqueue(&new).await?)
    }
}

/// Seals a letter to a therapist now (it may quote their own words) and puts it into the outbox.
///
/// # Errors
/// [`AppError::Mail`] when it can't be sealed; [`AppError::Store`].
#[expect(clippy::too_many_arguments, reason = "each is a fact of its own")]
pub async fn to_therapist_sealed(
    ctx: &Context,
    tx: &mut Tx,
    therapist: &Therapist,
    client: Option<&Client>,
    kind: Kind,
    letter: &Letter,
    now: DateTime<Utc>,
    in_reply_to: Option<&str>,
) -> Result<(), AppError> {
    let rendered = compose::render(ctx, letter, therapist.reader())?;
    let mail_id = compose::new_message_id(ctx);
    let mut references: Vec<String> = client.map(|client| compose::thread_root(ctx, client)).into_iter().collect();
    references.extend(in_reply_to.map(str::to_owned));
    let head = Head {
        message_id: mail_id.clone(),
        at: now,
        in_reply_to: in_reply_to.map(str::to_owned),
        references: references.clone(),
        automatic: true,
    };
    let parts = compose::letter_parts(&rendered);
    let mail = compose::to_therapist(ctx, therapist, client, head, rendered.subject, parts);
    let armored = compose::seal_to_therapist(ctx, therapist, &mail)?;
    let recipe = Recipe::Sealed {
        armored: String::from_utf8_lossy(&armored).into_owned(),
        at: now,
        in_reply_to: mail.in_reply_to,
        references: mail.references,
    };
    let mut post = Post::to_therapist(kind, therapist.id(), client.map(|client| client.id), now);
    post.mail_id = Some(mail_id);
    post.enqueue(ctx, tx, &recipe, now).await?;
    Ok(())
}
