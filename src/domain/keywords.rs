//! The words by which a client steers: `STOP`, `PAUSE`, `REPRENDRE`, `J'ACCEPTE` … (SPEC section 5).
//!
//! Pure. A keyword counts alone on a line of new text and nowhere else: in a sentence it is text. Who wrote it, and
//! what follows from it, is decided elsewhere; `AIDE` and `HELP` belong to the crisis words.

use chrono::{DateTime, TimeDelta, Utc};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::model::Verdict;

/// How late a signed word may come and still be obeyed: what was kept back longer is for a person to decide about.
pub const LATEST: TimeDelta = TimeDelta::hours(24);
/// How far the clocks of two computers may differ.
pub const CLOCKS: TimeDelta = TimeDelta::minutes(5);

/// What is known of a letter by which its words may steer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub verdict: Verdict,
    /// The signature names other recipients than the practice.
    pub not_for_us: bool,
    pub signed_at: Option<DateTime<Utc>>,
    pub first_seen: DateTime<Utc>,
}

impl Standing {
    /// Its writer is proven, and wrote it to the practice.
    pub const fn is_to_us(&self) -> bool {
        matches!(self.verdict, Verdict::Verified | Verdict::Vouched) && !self.not_for_us
    }

    /// Whether its words are obeyed in a state that holds since then: who runs a mail server can keep a signed word
    /// back until it suits, so that one from before the state, or of another day, only tells what was wanted then.
    pub fn steers(&self, since: Option<DateTime<Utc>>) -> bool {
        self.is_to_us()
            && self
                .signed_at
                .is_none_or(|at| self.first_seen - at <= LATEST && since.is_none_or(|since| at >= since - CLOCKS))
    }

    /// Whether its `STOP` is obeyed: however late it comes and whatever was ordered meanwhile, unless it was signed
    /// before the correspondence `began`, or was taken up again after an earlier `STOP`. It can be undone.
    pub fn stops(&self, began: Option<DateTime<Utc>>) -> bool {
        self.is_to_us() && self.signed_at.is_none_or(|at| began.is_none_or(|began| at >= began - CLOCKS))
    }
}

/// One word that steers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keyword {
    Stop,
    Pause,
    /// `REPRENDRE`, `RESUME`.
    Resume,
    Guide,
    /// `J'ACCEPTE`, `I ACCEPT`.
    Accept,
    /// `J'ACCEPTE LE REMPLACEMENT`, `I ACCEPT COVER`.
    AcceptCover,
    /// `REMPLACEMENT NON`, `NO COVER`: takes that back.
    RefuseCover,
    /// `JE REFUSE`, `I DECLINE`, `NON`, `NO`: only as an answer to an invitation, the frame or a transfer.
    Refuse,
    /// Asks what the therapist does on the internet.
    Internet,
}

/// Every form, folded.
const FORMS: &[(&str, Keyword)] = &[
    ("stop", Keyword::Stop),
    ("pause", Keyword::Pause),
    ("reprendre", Keyword::Resume),
    ("resume", Keyword::Resume),
    ("guide", Keyword::Guide),
    ("j'accepte", Keyword::Accept),
    ("i accept", Keyword::Accept),
    ("j'accepte le remplacement", Keyword::AcceptCover),
    ("i accept cover", Keyword::AcceptCover),
    ("remplacement non", Keyword::RefuseCover),
    ("je refuse le remplacement", Keyword::RefuseCover),
    ("no cover", Keyword::RefuseCover),
    ("i decline cover", Keyword::RefuseCover),
    ("je refuse", Keyword::Refuse),
    ("i decline", Keyword::Refuse),
    ("non", Keyword::Refuse),
    ("no", Keyword::Refuse),
    ("internet", Keyword::Internet),
];

/// What a letter's keywords come to for the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Stop,
    Pause,
    Resume,
    /// More than one of them: a person decides.
    Unclear,
}

/// The keywords of one letter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keywords {
    /// In the order written, each once.
    found: Vec<Keyword>,
    /// Written small among other words, where a line like "Stop." may be prose: never obeyed, only pointed out.
    doubtful: Vec<Keyword>,
    /// `OBJET DES LETTRES : …`, `LETTER SUBJECT: …`: what the client wants to read above sealed letters.
    pub subject: Option<String>,
    /// Words of new text besides them.
    pub other_words: usize,
}

impl Keywords {
    /// Whether this one stands alone on a line.
    pub fn has(&self, keyword: Keyword) -> bool {
        self.found.contains(&keyword)
    }

    /// In the order written, each once.
    pub fn all(&self) -> &[Keyword] {
        &self.found
    }

    /// Those that may be prose.
    pub fn doubtful(&self) -> &[Keyword] {
        &self.doubtful
    }

    /// Nothing but keywords was written: no letter that waits for an answer.
    pub fn only(&self) -> bool {
        (!self.found.is_empty() || self.subject.is_some()) && self.other_words == 0
    }

    /// What is asked of the state, if anything.
    pub fn wish(&self) -> Option<Wish> {
        let wishes: Vec<Wish> = self
            .found
            .iter()
            .filter_map(|keyword| match keyword {
                Keyword::Stop => Some(Wish::Stop),
                Keyword::Pause => Some(Wish::Pause),
                Keyword::Resume => Some(Wish::Resume),
                _ => None,
            })
            .collect();
        match wishes.as_slice() {
            [] => None,
            [one] => Some(*one),
            _ => Some(Wish::Unclear),
        }
    }
}

/// Reads the keywords of a letter's new text. Quoted lines, and what stands below the signature delimiter, are skipped.
pub fn read(new_text: &str) -> Keywords {
    let (mut keywords, mut small) = (Keywords::default(), Vec::new());
    for line in new_text.lines() {
        if matches!(line, "-- " | "--\u{a0}") {
            break;
        }
        if line.trim_start().starts_with('>') {
            continue;
        }
        if let Some(subject) = subject(line) {
            keywords.subject = Some(subject);
            continue;
        }
        let folded = if is_short(line) { fold(line) } else { String::new() };
        match FORMS.iter().find(|(form, _)| *form == folded) {
            Some((_, keyword)) if is_loud(line) => keywords.found.push(*keyword),
            Some((_, keyword)) if may_be_prose(*keyword) => small.push(*keyword),
            Some((_, keyword)) => keywords.found.push(*keyword),
            None => keywords.other_words += words(line),
        }
    }
    if keywords.other_words == 0 {
        keywords.found.append(&mut small)
    } else {
        keywords.doubtful = small
    }
    each_once(&mut keywords.found);
    keywords.doubtful.retain(|keyword| !keywords.found.contains(keyword));
    each_once(&mut keywords.doubtful);
    keywords
}

/// Most signs of a subject that a client chooses.
const SUBJECT: usize = 60;

/// The subject that a line asks for.
fn subject(line: &str) -> Option<String> {
    let (name, text) = line.split_once(':')?;
    if !is_short(name) || !matches!(fold(name).as_str(), "objet des lettres" | "letter subject") {
        return None;
    }
    let plain: String = text.chars().filter(|c| !c.is_control() && !is_invisible(*c)).take(SUBJECT).collect();
    Some(plain.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty())
}

fn each_once(keywords: &mut Vec<Keyword>) {
    let mut known: Vec<Keyword> = Vec::new();
    keywords.retain(|keyword| !known.contains(keyword) && (known.push(*keyword), true).1);
}

/// Single words that also stand on lines of their own in a letter ("Ma tête crie. / Stop."). Nobody writes the others so
/// without meaning them.
const fn may_be_prose(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::Stop | Keyword::Pause | Keyword::Resume | Keyword::Refuse | Keyword::Guide | Keyword::Internet
    )
}

/// Written in capitals, as the guide shows it.
fn is_loud(line: &str) -> bool {
    !line.chars().any(char::is_lowercase)
}

/// Whether it can be one of the forms: folding takes no letter away but the invisible ones.
fn is_short(line: &str) -> bool {
    const LONGEST: usize = 32;
    let letters = |c: &char| c.is_alphanumeric() && !is_invisible(*c) && (c.is_ascii() || !is_combining_mark(*c));
    line.chars().filter(letters).nth(LONGEST).is_none()
}

fn words(line: &str) -> usize {
    line.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count()
}

/// A line as it is compared: no case, no accents, one kind of apostrophe, single spaces, nothing around the words that
/// programs and people put there (emphasis, quotation marks, final punctuation, invisible signs).
fn fold(line: &str) -> String {
    // Apostrophes first: compatibility forms take some of them apart.
    let plain: String = line
        .chars()
        .filter(|c| !is_invisible(*c))
        .map(|c| if is_apostrophe(c) { '\'' } else { c })
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .collect();
    let around = |c: char| {
        c.is_whitespace()
            || matches!(c, '*' | '_' | '~' | '`' | '"' | '\'' | '«' | '»' | '“' | '”' | '„' | '‹' | '›')
            || matches!(c, '.' | '!' | ',' | ';' | '…' | '。')
    };
    let mut single = String::new();
    for word in plain.trim_matches(around).split_whitespace() {
        if !single.is_empty() {
            single.push(' ');
        }
        single.push_str(word);
    }
    // Some write a space behind the apostrophe.
    single.replace("' ", "'").replace(" '", "'")
}

const fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '\u{2019}' | '\u{2018}' | '\u{201b}' | '\u{2bc}' | '\u{2b9}' | '\u{2032}' | '\u{b4}' | '`' | '\u{ff07}'
    )
}

/// Signs without width that pasted text brings along, soft hyphens and variation selectors.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_proven_word_to_us_steers() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let signed =
            |at| Standing { verdict: Verdict::Verified, not_for_us: false, signed_at: Some(at), first_seen: now };
        let fresh = signed(now - TimeDelta::hours(23));
        assert!(fresh.steers(None) && fresh.steers(Some(now - TimeDelta::days(2))));
        assert!(!fresh.steers(Some(now - TimeDelta::hours(1))), "from before the state");
        assert!(fresh.steers(Some(now - TimeDelta::hours(23) + CLOCKS)), "two clocks");
        assert!(!signed(now - LATEST - TimeDelta::seconds(1)).steers(None), "kept back");
        assert!(!Standing { not_for_us: true, ..fresh }.steers(None), "written to somebody else");
        for &verdict in Verdict::ALL {
            let proven = matches!(verdict, Verdict::Verified | Verdict::Vouched);
            assert_eq!(Standing { verdict, ..fresh }.steers(None), proven, "{verdict}");
        }
    }

    fn only(text: &str) -> Vec<Keyword> {
        let read = read(text);
        assert_eq!(read.other_words, 0, "{text:?}");
        read.found
    }

    #[test]
    fn a_keyword_alone_on_a_line_is_read_however_it_is_typed() {
        let same: &[(&[&str], Keyword)] = &[
            (
                &[
                    "STOP",
                    "stop",
                    "Stop.",
                    " STOP ",
                    "\u{a0}STOP\u{202f}!",
                    "*STOP*",
                    "**STOP**",
                    "_STOP_",
                    "« STOP »",
                    "“STOP”",
                    "\"STOP\"",
                    "STOP…",
                    "STOP...",
                    "\u{feff}STOP\u{200b}",
                    "ＳＴＯＰ",
                    "'stop'",
                    "\tSTOP\r",
                ],
                Keyword::Stop,
            ),
            (&["PAUSE", "Pause."], Keyword::Pause),
            (&["REPRENDRE", "Reprendre", "RESUME", "résumé", "Resume."], Keyword::Resume),
            (&["GUIDE", "guide"], Keyword::Guide),
            (&["INTERNET"], Keyword::Internet),
            (
                &[
                    "J'ACCEPTE",
                    "J’ACCEPTE",
                    "j’accepte.",
                    "J‘ACCEPTE",
                    "J´ACCEPTE",
                    "J`ACCEPTE",
                    "J' ACCEPTE",
                    "J’\u{a0}ACCEPTE",
                    "« J’accepte »",
                    "*J'ACCEPTE*",
                    "J\u{2019}ACCEPTE\u{a0}!",
                    "I ACCEPT",
                    "I\u{a0}ACCEPT",
                    "i  accept.",
                    "J\u{2bc}accepte",
                ],
                Keyword::Accept,
            ),
            (
                &["J'ACCEPTE LE REMPLACEMENT", "j’accepte  le\u{a0}remplacement.", "I ACCEPT COVER"],
                Keyword::AcceptCover,
            ),
            (
                &["REMPLACEMENT NON", "Remplacement non.", "*NO COVER*", "no\u{a0}cover", "JE REFUSE LE REMPLACEMENT"],
                Keyword::RefuseCover,
            ),
            (&["JE REFUSE", "I DECLINE", "Non", "NON.", "no"], Keyword::Refuse),
        ];
        for (forms, keyword) in same {
            for form in *forms {
                assert_eq!(only(form), [*keyword], "{form:?}");
            }
        }
    }

    #[test]
    fn a_keyword_inside_a_text_is_text() {
        for text in [
            "Je voudrais dire stop à tout cela.",
            "STOP ou encore ?",
            "STOP ?",
            "Faut-il faire une PAUSE",
            "J'accepte votre proposition",
            "J'ACCEPTE mais",
            "Je n'accepte pas",
            "NON STOP",
            "Un remplacement ? Non.",
            "no cover letter",
            "non-stop",
            "STOPPER",
            "un guide",
            "> STOP",
            "  > J'ACCEPTE",
            "- STOP",
            "",
            "...",
            "''",
        ] {
            assert_eq!(read(text).found, [], "{text:?}");
        }
        assert_eq!(read("J'accepte votre proposition").other_words, 3);
        assert_eq!(read("> J'accepte votre proposition").other_words, 0);
    }

    #[test]
    fn a_small_word_among_others_may_be_prose_and_is_only_pointed_out() {
        let prose = read("Ma tête crie.\nStop.\nJe n'en peux plus.\n\nPause\n\nnon\n");
        assert_eq!((prose.all(), prose.wish()), (&[][..], None));
        assert_eq!(prose.doubtful(), [Keyword::Stop, Keyword::Pause, Keyword::Refuse]);
        let meant = read("Bonjour,\nstop\nSTOP\nj'accepte\n");
        assert_eq!((meant.all(), meant.doubtful()), (&[Keyword::Stop, Keyword::Accept][..], &[][..]));
        assert_eq!(read("stop\n> Ma tête crie.\n").all(), [Keyword::Stop], "nothing else was written");
    }

    #[test]
    fn a_stop_counts_however_late_but_not_from_before_the_beginning() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let signed_at = Some(now - TimeDelta::days(3));
        let standing = Standing { verdict: Verdict::Verified, not_for_us: false, signed_at, first_seen: now };
        assert!(!standing.steers(None) && standing.stops(None) && standing.stops(Some(now - TimeDelta::days(9))));
        assert!(!standing.stops(Some(now - TimeDelta::days(2))));
        assert!(!Standing { verdict: Verdict::Unsigned, ..standing }.stops(None));
        assert!(!Standing { not_for_us: true, ..standing }.stops(None));
    }

    #[test]
    fn words_beside_a_keyword_are_counted_and_signatures_skipped() {
        let read = read("Bonjour,\n\nJ’ACCEPTE\n\nMerci à vous.\n-- \nMarie\nSTOP\n");
        assert_eq!(read.found, [Keyword::Accept]);
        assert_eq!(read.other_words, 4);
        assert!(!read.only());
        assert!(super::read("PAUSE\n\n").only());
    }

    #[test]
    fn two_wishes_are_for_a_person_to_read() {
        assert_eq!(read("STOP").wish(), Some(Wish::Stop));
        assert_eq!(read("STOP\nstop").wish(), Some(Wish::Stop));
        assert_eq!(read("GUIDE\nPAUSE").wish(), Some(Wish::Pause));
        assert_eq!(read("STOP\nREPRENDRE").wish(), Some(Wish::Unclear));
        assert_eq!(read("STOP\nPAUSE").wish(), Some(Wish::Unclear));
        assert_eq!(read("GUIDE\nbonjour").wish(), None);
    }
}
