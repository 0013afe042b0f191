//! The scan of one message for words that call for an alert. Runs where the words are, and gives none of them.

use std::collections::BTreeSet;

use crate::app::examine::Examined;
use crate::domain::crisis::{Finding, Lexicon};
use crate::mime::{self, AttachmentClass, Content, Said};
use crate::model::{CrisisClass, Scanned};

/// What the scan of a message came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scan {
    /// Automatic mail that can't be read whole, such as a receipt: nobody has to look at it.
    NotMade,
    Clear,
    Hit(Finding),
    /// It couldn't be opened, or holds what can't be read: voice, pictures, documents.
    NotAnalysed,
}

impl Scan {
    /// As it counts for mail that a machine sent, or a person.
    pub fn of_mail(self, automatic: bool) -> Self {
        if automatic && self == Self::NotAnalysed { Self::NotMade } else { self }
    }

    /// What is found, if anything.
    pub const fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Hit(finding) => Some(finding),
            _ => None,
        }
    }

    /// The worst class found.
    pub fn class(&self) -> Option<CrisisClass> {
        self.finding().and_then(|finding| finding.classes.first().copied())
    }

    /// As it is stored and told.
    pub fn word(&self) -> Option<Scanned> {
        match self {
            Self::NotMade => None,
            Self::Clear => Some(Scanned::Clear),
            Self::NotAnalysed => Some(Scanned::NotAnalysed),
            Self::Hit(_) => self.class().map(|class| match class {
                CrisisClass::A => Scanned::A,
                CrisisClass::V => Scanned::V,
                CrisisClass::B => Scanned::B,
            }),
        }
    }
}

/// Scans what a person wrote: text, what the HTML says besides it, attached texts, the subject.
pub fn scan(lexicon: &Lexicon, examined: &Examined, content: Option<(&Content, &Said)>) -> Scan {
    let mut texts: Vec<String> = own_subject(examined).into_iter().collect();
    let mut unread = content.is_none();
    if let Some((content, said)) = content {
        // What the signature separator cuts off is read too.
        let cut = content.text.lines().any(|line| line.trim() == "--");
        texts.push(if cut { new_text(&content.text) } else { said.new.clone() });
        if let Some(html) = &content.html {
            let other = new_text(&mime::html::html_to_text(html));
            texts.extend((!same_words(&other, &texts[texts.len() - 1])).then_some(other));
        }
        for attachment in content.attachments.iter().filter(|attachment| !attachment.class.is_envelope()) {
            let text = mime::attached_text(attachment);
            unread |= text.is_none();
            // A file of an unknown kind may be text all the same.
            let readable = || std::str::from_utf8(&attachment.bytes).ok().map(str::to_owned);
            let tried = matches!(attachment.class, AttachmentClass::Unknown | AttachmentClass::Calendar);
            texts.extend(text.or_else(|| readable().filter(|_| tried)));
        }
    }
    // Below a heading without quotation marks stands what was quoted, or an answer: nobody can tell which.
    let below = |(_, said): (&Content, &Said)| lexicon.scan(&said.below).is_some();
    match merged(texts.iter().filter_map(|text| lexicon.scan(text))) {
        Some(finding) => Scan::Hit(finding),
        None if unread || content.is_some_and(below) => Scan::NotAnalysed,
        None => Scan::Clear,
    }
}

/// The subject, unless it only repeats the one that is answered.
fn own_subject(examined: &Examined) -> Option<String> {
    let header = examined.headers();
    let answers = |mail: &mime::Mail| mail.in_reply_to.is_some() || !mail.references.is_empty();
    let repeated = mime::strip_prefixes(&header.subject).trim() != header.subject.trim()
        && (answers(header) || answers(&examined.outer));
    (!repeated && !header.subject.trim().is_empty()).then(|| header.subject.clone())
}

/// What isn't quoted. Below a signature separator people write too.
fn new_text(text: &str) -> String {
    let mut parts: Vec<String> = vec![String::new()];
    for line in text.lines() {
        match parts.last_mut() {
            Some(part) if line.trim() != "--" => {
                part.push_str(line);
                part.push('\n');
            }
            _ => parts.push(String::new()),
        }
    }
    parts.iter().map(|part| mime::new_text(part)).collect::<Vec<_>>().join("\n\n")
}

fn same_words(a: &str, b: &str) -> bool {
    a.split_whitespace().eq(b.split_whitespace())
}

fn merged(findings: impl Iterator<Item = Finding>) -> Option<Finding> {
    let (mut classes, mut rules) = (BTreeSet::new(), BTreeSet::new());
    for finding in findings {
        classes.extend(finding.classes);
        rules.extend(finding.rules);
    }
    (!classes.is_empty())
        .then(|| Finding { classes: classes.into_iter().collect(), rules: rules.into_iter().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_below_a_signature_separator_is_read_and_quotations_are_not() {
        let text =
            "Bonjour\n-- \nici\n\nLe lundi 2 mars 2026 à 10:00, Cabinet <a@b.example> a écrit :\n> cité\n> encore\n";
        let new = new_text(text);
        assert!(new.contains("Bonjour") && new.contains("ici"), "{new}");
        assert!(!new.contains("cité"), "{new}");
    }

    #[test]
    fn what_stands_below_a_heading_without_marks_may_be_an_answer() {
        let text = "Merci.\n\n-----Message d'origine-----\nDe : Cabinet\nEnvoyé : lundi 2 mars 2026 10:00\nÀ : Marie\n\nComment allez-vous ?\n\nJe veux mourir.\n";
        assert!(!new_text(text).contains("mourir"), "{}", new_text(text));
        let below = mime::said(text).below;
        assert!(below.contains("Je veux mourir.") && !below.contains("Merci"), "{below}");
        assert!(!mime::said("Merci.\n\n> Je veux mourir.\n").below.contains("mourir"));
    }

    #[test]
    fn several_findings_become_one_with_the_worst_class_first() {
        let finding = |class, rule: &str| Finding { classes: vec![class], rules: vec![rule.to_owned()] };
        let all = merged([finding(CrisisClass::B, "fr.b.x"), finding(CrisisClass::A, "fr.a.y")].into_iter()).unwrap();
        let scan = Scan::Hit(all);
        assert_eq!((scan.class(), scan.word()), (Some(CrisisClass::A), Some(Scanned::A)));
        assert_eq!(Scan::Clear.word(), Some(Scanned::Clear));
        assert_eq!(Scan::NotMade.word(), None);
        assert_eq!(Scan::NotAnalysed.of_mail(true), Scan::NotMade);
        assert_eq!(scan.clone().of_mail(true), scan, "a machine may pass on a person's words");
    }
}
