//! Whose message it is, which verdict it gets, what is to be done (SPEC section 3).
//!
//! Identity is a pinned certificate. Facts go in, one [`Decision`] comes out that says everything;
//! there is no I/O and nothing is looked up here.

use super::notice::Meaning;
use crate::model::{ClientId, Fate, Mark, OutboxRow, Person, TherapistId, UnsignedPolicy, Verdict};

/// Whether the protected and the unprotected parts were kept apart (RFC 3156, RFC 9787).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structure {
    /// One cryptographic envelope over the whole message, or none at all.
    Whole,
    /// Signed or encrypted parts stand beside parts that are not.
    Mixed,
}

/// What became of the decryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decryption {
    /// The message was not encrypted.
    NotEncrypted,
    /// Decrypted whole, its integrity checked to the last byte.
    Done,
    /// Encrypted to other keys than the practice's.
    NotForUs,
    /// The integrity check failed: no plaintext of it goes anywhere.
    IntegrityFailed,
    /// Not readable as OpenPGP, or by an algorithm that isn't supported.
    Unreadable,
}

/// Whom the signature names as its recipients (RFC 9580 section 5.2.3.36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intended {
    Unsaid,
    Us,
    Others,
}

/// The outcome of the signature check over the whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    None,
    /// Good, by a pinned certificate.
    Good {
        owner: Person,
        intended: Intended,
        /// The same certificate has already signed this same data, and it was filed or obeyed.
        seen_before: bool,
    },
    /// By a certificate that isn't pinned.
    Unknown,
    /// Doesn't verify.
    Bad,
    /// By a key that is revoked, expired or too weak.
    BadKey,
}

/// Whom the From field names; the protected one where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// No address that every parser would agree on; the registered people among the candidates.
    Ambiguous(Vec<Person>),
    /// Nobody's registered address.
    Stranger,
    /// A registered person's address.
    Known(Person),
    /// The practice's own address.
    Practice,
}

/// Everything the decision needs.
#[derive(Debug, Clone)]
pub struct Facts {
    pub structure: Structure,
    pub decryption: Decryption,
    pub signature: Signature,
    pub from: From,
    /// Automatic by its headers (RFC 3834), never by words.
    pub automatic: bool,
    /// From a mailing list, by its headers.
    pub list: bool,
    /// One of Cadre's own mails, by practice signature or a Message-ID of ours.
    pub own: bool,
    /// The mailbox's own server says in Authentication-Results that DMARC failed.
    pub dmarc_fail: bool,
    /// It has the answer words of the sender's last letters (SPEC section 15).
    pub vouched: bool,
    /// Bytes that have been filed, held or obeyed already.
    pub same_bytes: bool,
}

/// Why a therapist's mail is refused before it is even read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Unsigned,
    UnknownSigner,
    WrongSigner,
    Bad,
    Partial,
    Undecryptable,
}

/// Why a message is dropped without a trace but the journal's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    Replayed,
    SameBytes,
    Own,
}

/// What is to be done with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// File in the client's thread. `letter` is false for automatic mail, which opens no turn.
    File { client: ClientId, letter: bool },
    /// Keep, don't pass on, tell the therapist, wait for a person.
    Hold { client: ClientId },
    /// A therapist's mail that may be obeyed.
    Obey { therapist: TherapistId },
    /// Tell the therapist why nothing was done.
    Refuse { therapist: TherapistId, why: Refusal },
    /// A stranger's first letter.
    Request,
    /// A stranger's mail that we can't read: answered, kept among the others.
    UnreadableStranger,
    /// Automatic, list and other mail that isn't for a person here.
    Others,
    /// A mail system's notice. `row`: the mail of ours that it speaks of, to `client` where it was for one;
    /// `fate`: what it says of that mail's recipient.
    Notice { row: Option<OutboxRow>, client: Option<ClientId>, fate: Option<Fate>, meaning: Meaning },
    /// Nobody can be named: a person has to look.
    Attention,
    /// Nothing to be done.
    Drop(Dropped),
}

impl Action {
    /// The word that `explain` and the journal use.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::File { letter: true, .. } => "file",
            Self::File { letter: false, .. } => "file-automatic",
            Self::Hold { .. } => "hold",
            Self::Obey { .. } => "obey",
            Self::Refuse { .. } => "refuse",
            Self::Request => "request",
            Self::UnreadableStranger | Self::Others => "others",
            Self::Attention => "attention",
            Self::Notice { meaning, .. } => meaning.word(),
            Self::Drop(_) => "drop",
        }
    }
}

/// The verdict, its marks, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    pub marks: Vec<Mark>,
    pub action: Action,
    /// Sentences without content, names or addresses, for `explain`.
    pub reasons: Vec<&'static str>,
}

/// Decides what one message is and what becomes of it (the table of SPEC section 3).
pub fn decide(facts: &Facts, policy: UnsignedPolicy) -> Decision {
    let mut marks = Vec::new();
    let mut reasons = Vec::new();
    let verdict = verdict(facts, &mut marks, &mut reasons);
    let action = if facts.own {
        reasons.push("the practice's own mail came back");
        Action::Drop(Dropped::Own)
    } else if verdict == Verdict::Replayed {
        Action::Drop(Dropped::Replayed)
    } else if facts.same_bytes {
        reasons.push("the same bytes were delivered before");
        Action::Drop(Dropped::SameBytes)
    } else {
        action(facts, verdict, policy, &mut reasons)
    };
    Decision { verdict, marks, action, reasons }
}

fn verdict(facts: &Facts, marks: &mut Vec<Mark>, reasons: &mut Vec<&'static str>) -> Verdict {
    if facts.automatic || facts.list {
        marks.push(Mark::Automatic);
    }
    if facts.dmarc_fail {
        marks.push(Mark::DmarcFail);
    }
    if matches!(facts.from, From::Ambiguous(_)) {
        marks.push(Mark::AmbiguousFrom);
        reasons.push("From does not name exactly one address");
    }
    match facts.decryption {
        Decryption::NotForUs => {
            reasons.push("encrypted, but not to the practice's key");
            return Verdict::Undecryptable;
        }
        Decryption::Unreadable => {
            reasons.push("not readable as an OpenPGP message");
            return Verdict::Undecryptable;
        }
        Decryption::IntegrityFailed => {
            marks.push(Mark::IntegrityFailed);
            reasons.push("the encryption's integrity check failed");
            return Verdict::Bad;
        }
        Decryption::NotEncrypted | Decryption::Done => {}
    }
    if facts.structure == Structure::Mixed {
        reasons.push("signed or encrypted parts stand beside parts that are not");
        return Verdict::Partial;
    }
    if facts.decryption == Decryption::NotEncrypted && facts.signature != Signature::None {
        marks.push(Mark::InClear);
    }
    signature_verdict(facts, marks, reasons)
}

fn signature_verdict(facts: &Facts, marks: &mut Vec<Mark>, reasons: &mut Vec<&'static str>) -> Verdict {
    match &facts.signature {
        Signature::None if is_vouched(facts) => {
            reasons.push("the answer words of the sender's last letters");
            Verdict::Vouched
        }
        Signature::None => {
            reasons.push("no signature over the whole message");
            Verdict::Unsigned
        }
        Signature::Unknown => {
            if matches!(facts.from, From::Known(_)) {
                marks.push(Mark::NewKey);
            }
            if is_vouched(facts) {
                reasons.push("the answer words of the sender's last letters");
                return Verdict::Vouched;
            }
            reasons.push("signed by a certificate that isn't pinned");
            Verdict::UnknownSigner
        }
        Signature::Bad => {
            reasons.push("the signature doesn't verify");
            Verdict::Bad
        }
        Signature::BadKey => {
            marks.push(Mark::WeakOrExpiredKey);
            reasons.push("signed by a key that is revoked, expired or too weak");
            Verdict::Bad
        }
        Signature::Good { owner, intended, seen_before } => {
            if *intended == Intended::Others {
                marks.push(Mark::NotForUs);
                reasons.push("the signature names other recipients than the practice");
            }
            match &facts.from {
                From::Known(person) if person != owner => {
                    reasons.push("a good signature by one registered person, From another's");
                    Verdict::WrongSigner
                }
                From::Ambiguous(_) => {
                    reasons.push("a good signature, but From can't be held against it");
                    Verdict::WrongSigner
                }
                _ if *seen_before => {
                    reasons.push("the same certificate has already signed this same data");
                    Verdict::Replayed
                }
                From::Known(_) => {
                    reasons.push("a good signature by the pinned certificate");
                    Verdict::Verified
                }
                From::Stranger | From::Practice => {
                    marks.push(Mark::OtherAddress);
                    reasons.push("a good signature by a pinned certificate, From nobody's registered address");
                    Verdict::Verified
                }
            }
        }
    }
}

/// Answer words speak for clients alone.
fn is_vouched(facts: &Facts) -> bool {
    facts.vouched && matches!(facts.from, From::Known(Person::Client(_)))
}

fn action(facts: &Facts, verdict: Verdict, policy: UnsignedPolicy, reasons: &mut Vec<&'static str>) -> Action {
    if let (Verdict::Verified | Verdict::WrongSigner, Signature::Good { owner, .. }) = (verdict, &facts.signature) {
        return match owner {
            Person::Client(client) if verdict == Verdict::Verified => {
                Action::File { client: *client, letter: !facts.automatic }
            }
            Person::Client(client) => Action::Hold { client: *client },
            Person::Therapist(therapist) if verdict == Verdict::Verified => {
                Action::Obey { therapist: therapist.clone() }
            }
            Person::Therapist(therapist) => Action::Refuse { therapist: therapist.clone(), why: Refusal::WrongSigner },
        };
    }
    match &facts.from {
        From::Known(person) => from_registered(facts, person, verdict, policy, reasons),
        From::Ambiguous(people) => from_ambiguous(facts, people, reasons),
        From::Stranger if facts.automatic || facts.list => Action::Others,
        From::Stranger if verdict == Verdict::Undecryptable => Action::UnreadableStranger,
        From::Stranger if facts.decryption == Decryption::IntegrityFailed => Action::Others,
        From::Stranger => Action::Request,
        // Nobody but Cadre writes from this address, and Cadre signs.
        From::Practice => Action::Others,
    }
}

fn from_registered(
    facts: &Facts,
    person: &Person,
    verdict: Verdict,
    policy: UnsignedPolicy,
    reasons: &mut Vec<&'static str>,
) -> Action {
    let automatic = facts.automatic || facts.list;
    match person {
        Person::Client(client) => match verdict {
            Verdict::Vouched => Action::File { client: *client, letter: !automatic },
            Verdict::Unsigned | Verdict::UnknownSigner => {
                if facts.dmarc_fail {
                    reasons.push("the mailbox's server says that DMARC failed");
                    Action::Hold { client: *client }
                } else if policy == UnsignedPolicy::Hold && !automatic {
                    reasons.push("[intake] unsigned = \"hold\"");
                    Action::Hold { client: *client }
                } else {
                    Action::File { client: *client, letter: !automatic }
                }
            }
            _ => Action::Hold { client: *client },
        },
        // An automatic mail is never answered, so it can't be refused either.
        Person::Therapist(_) if automatic => Action::Others,
        Person::Therapist(therapist) => {
            let why = match verdict {
                Verdict::UnknownSigner => Refusal::UnknownSigner,
                Verdict::Bad => Refusal::Bad,
                Verdict::Partial => Refusal::Partial,
                Verdict::Undecryptable => Refusal::Undecryptable,
                _ => Refusal::Unsigned,
            };
            Action::Refuse { therapist: therapist.clone(), why }
        }
    }
}

fn from_ambiguous(facts: &Facts, people: &[Person], reasons: &mut Vec<&'static str>) -> Action {
    if facts.automatic || facts.list {
        return Action::Others;
    }
    let client = people.iter().find_map(|person| match person {
        Person::Client(client) => Some(*client),
        Person::Therapist(_) => None,
    });
    match client {
        Some(client) => Action::Hold { client },
        None => {
            reasons.push("nobody can be told from the others: a person has to look");
            Action::Attention
        }
    }
}

#[cfg(test)]
mod tests;
