//! Tests of the letters: golden files, mandatory facts, typography, tone.

mod by_words;

use super::*;
use chrono_tz::Europe::Paris;
use pretty_assertions::assert_eq;

fn letters() -> Letters {
    Letters::load(None).unwrap()
}

/// All samples of a letter in one text, as the golden file has them.
fn written(letters: &Letters, name: Name, language: Language) -> Vec<Rendered> {
    let reader = Reader { language, by_words: false, zone: Paris };
    samples::of(name).iter().map(|facts| letters.render_value(name, facts, reader).unwrap()).collect()
}

fn every_letter(mut see: impl FnMut(Name, Language, &Rendered)) {
    let letters = letters();
    for &language in Language::ALL {
        for &name in Name::ALL {
            written(&letters, name, language).iter().for_each(|r| see(name, language, r));
        }
    }
}

/// Compares with `tests/data/letters/…`; `UPDATE_GOLDEN=1` writes them anew.
#[test]
fn letters_are_as_the_golden_files_have_them() {
    let letters = letters();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/letters");
    for &language in Language::ALL {
        for &name in Name::ALL {
            let mut text = String::new();
            for (i, r) in written(&letters, name, language).iter().enumerate() {
                text.push_str(&format!("=== {} ===\n{}\n\n{}", i + 1, r.subject, r.text));
                if let (0, Some(html)) = (i, &r.html) {
                    golden(&root.join(language.as_str()).join(format!("{}.html", name.as_str())), html);
                }
            }
            golden(&root.join(language.as_str()).join(format!("{}.txt", name.as_str())), &text);
        }
    }
}

fn golden(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(expected, text, "{} differs; UPDATE_GOLDEN=1 writes it anew", path.display());
}

#[test]
fn built_in_letters_keep_their_own_mandatory_facts() {
    for &language in Language::ALL {
        for &name in Name::ALL {
            assert_eq!(check(name.source(language), name, language), vec![], "{} {language}", name.as_str());
        }
    }
}

#[test]
fn a_letter_that_lost_a_fact_is_reported_and_the_built_in_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let fr = folder.path().join("fr");
    std::fs::create_dir(&fr).unwrap();
    let lost = "subject = \"Reçu\"\n---\nAutomatique. {% if false %}{{ arrived|moment }}{% endif %} Pas surveillée, joindra. {{ expected|from }} {{ lines|numbers }}";
    std::fs::write(fr.join("acknowledgement.txt"), lost).unwrap();
    std::fs::write(
        fr.join("stranger.txt"),
        "subject = \"Reçu\"\n---\nMessage automatique. Adresse pas surveillée : 112.",
    )
    .unwrap();
    std::fs::write(fr.join("help.txt"), "subject = \"x\"\n---\n{% if %}").unwrap();
    let letters = Letters::load(Some(folder.path())).unwrap();
    let faults: Vec<_> = letters.problems().iter().map(|p| (p.name, p.fault.clone())).collect();
    assert!(faults.contains(&(Name::Acknowledgement, Fault::LostFact("arrived".to_owned()))), "{faults:?}");
    assert!(faults.iter().any(|(n, f)| *n == Name::Help && matches!(f, Fault::Syntax { .. })), "{faults:?}");
    assert!(!faults.iter().any(|(n, _)| *n == Name::Stranger), "{faults:?}");
    let reader = Reader { language: Language::Fr, by_words: false, zone: Paris };
    let stranger = Letter::Stranger(Stranger { neutral_name: "Correspondance".to_owned() });
    assert!(letters.render(&stranger, reader).unwrap().text.starts_with("Message automatique. Adresse"));
}

#[test]
fn no_letter_shouts_or_pretends_to_have_read() {
    let warm = [
        "désol",
        "sorry",
        "comprenons",
        "understand",
        "courage",
        "merci",
        "thank",
        "malheureusement",
        "unfortunately",
        "apolog",
        "excus",
        "take care",
        "prenez soin",
        "hope",
        "espér",
    ];
    every_letter(|name, language, r| {
        let prose = r.html.as_deref().map_or(String::new(), |h| h.replace("<!DOCTYPE", "").replace("&lt;", ""));
        for text in [&r.subject, &r.text, &prose] {
            assert!(!text.contains('!'), "{} {language}: {text}", name.as_str());
            let lower = text.to_lowercase().replace("misunderstanding", "");
            for word in warm {
                assert!(!lower.contains(word), "{} {language} has `{word}`: {text}", name.as_str());
            }
        }
    });
}

#[test]
fn french_signs_have_their_no_break_spaces() {
    every_letter(|name, language, r| {
        if language != Language::Fr {
            return;
        }
        for line in r.text.lines().chain([r.subject.as_str()]) {
            let signs: Vec<char> = line.chars().collect();
            for (i, pair) in signs.windows(2).enumerate() {
                let fault = match (pair[0], pair[1]) {
                    (' ', ':' | ';' | '?' | '»') | ('«', ' ') => true,
                    (a, ';' | '?' | '»') => !matches!(a, '\u{a0}' | '\u{202f}'),
                    (a, ':') => a != '\u{a0}' && signs.get(i + 2) != Some(&'/') && !line.starts_with("Journal"),
                    ('«', a) => a != '\u{a0}',
                    (a, '\'') => a.is_alphabetic(),
                    (a, ' ') => a.is_ascii_digit() && signs.get(i + 2) == Some(&'h') && signs.get(i + 3) == Some(&' '),
                    _ => false,
                };
                assert!(!fault, "{}: {line:?} at {i}", name.as_str());
            }
        }
    });
}

/// Words that show what a correspondence is about.
const TELLING: [&str; 13] = [
    "thérap",
    "therap",
    "lettre",
    "letter",
    "cabinet",
    "practice",
    "psy",
    "client",
    "patient",
    "séance",
    "session",
    "suivi",
    "treatment",
];

#[test]
fn row_11_letters_in_clear_show_no_therapy() {
    let lines = ["3114", "988"];
    every_letter(|name, language, r| {
        if name.is_clear() {
            let all = format!("{} {}", r.subject, r.text).to_lowercase();
            for word in TELLING.into_iter().chain(lines) {
                assert!(!all.contains(word), "{} {language} shows `{word}`: {all}", name.as_str());
            }
        }
    });
}

#[test]
fn what_is_said_before_the_keys_are_compared_shows_no_therapy() {
    every_letter(|name, language, r| {
        let all = format!("{} {}", r.subject, r.text).to_lowercase();
        if name == Name::KeyArrived {
            assert!(!TELLING.iter().any(|word| all.contains(word)), "{language}: {all}");
        }
    });
}

/// SPEC section 6: the safety letter may name the lines in clear. It shows nothing else.
#[test]
fn safety_letters_in_clear_show_nothing_but_the_lines() {
    every_letter(|name, language, r| {
        if name.is_clear_for_safety() && r.text.contains("Correspondance") {
            let all = format!("{} {}", r.subject, r.text).to_lowercase();
            assert!(!TELLING.iter().any(|word| all.contains(word)), "{} {language}: {all}", name.as_str());
            let first = r.text.lines().next().unwrap();
            assert!(first.contains("114"), "{} {language}: the lines come first", name.as_str());
        }
    });
    let letters = letters();
    for &language in Language::ALL {
        for r in written(&letters, Name::SafetyViolence, language) {
            assert!(r.text.contains("3919") && !r.text.contains("3114"), "{language}");
        }
    }
}

/// What the practice writes to clients and strangers, and the two pages.
fn to_clients() -> Vec<(String, Language, String)> {
    let staff = [
        Name::Alert,
        Name::Enrolment,
        Name::CardCopy,
        Name::LocumCover,
        Name::Specimens,
        Name::Forward,
        Name::Reminder,
        Name::Receipt,
        Name::Refusal,
        Name::Question,
        Name::HeldNotice,
        Name::StaffKeyExpiry,
        Name::DeliveryFailure,
        Name::Help,
        Name::Digest,
        Name::HealthAlarm,
    ];
    let mut all = Vec::new();
    every_letter(|name, language, r| {
        if !staff.contains(&name) {
            all.push((name.as_str().to_owned(), language, format!("{}\n{}", r.subject, r.text)));
        }
    });
    all.extend(Language::ALL.iter().map(|&l| ("the other guide".to_owned(), l, guide(l, Channel::Pdf).to_owned())));
    all.extend(Language::ALL.iter().map(|&l| ("the guide".to_owned(), l, guide(l, Channel::OpenPgp).to_owned())));
    all
}

/// Quoted back, the practice's own words must not set off an alert.
#[test]
fn letters_to_clients_have_no_word_of_a_crisis() {
    let words = [
        "suicide",
        "suicider",
        "mourir",
        "meurs",
        "mort",
        "morte",
        "tuer",
        "tue",
        "médicaments",
        "violence",
        "violences",
        "frapper",
        "menace",
        "adieu",
        "testament",
        "kill",
        "die",
        "dying",
        "dead",
        "death",
        "hurt",
        "harm",
        "cut",
        "pills",
        "threat",
        "goodbye",
        "overdose",
        "worthless",
    ];
    let phrases = [
        "mes jours",
        "ma vie",
        "en finir",
        "tout arrêter",
        "plus là",
        "my life",
        "end it",
        "end my",
        "without me",
        "can t go on",
        "no reason to",
    ];
    for (name, language, text) in to_clients() {
        let lower = text.to_lowercase();
        let plain = lower.split(|c: char| !c.is_alphanumeric()).collect::<Vec<_>>();
        for word in words {
            assert!(!plain.contains(&word), "{name} {language} has `{word}`");
        }
        let spaced = format!(" {} ", plain.join(" "));
        for phrase in phrases {
            assert!(!spaced.contains(&format!(" {phrase} ")), "{name} {language} has `{phrase}`");
        }
    }
}

/// The same by the lexicon itself, whole and line by line, since quoting breaks a letter up.
#[test]
fn letters_to_clients_set_off_no_alert() {
    let lexicon = crate::domain::crisis::Lexicon::built_in().unwrap();
    for (name, language, text) in to_clients() {
        for part in std::iter::once(text.as_str()).chain(text.lines()) {
            let rules = lexicon.scan(part).map(|found| found.rules);
            assert_eq!(rules, None, "{name} {language}: {part}");
        }
    }
}

/// A mail program that quotes without `>` must not turn the practice's own lines into the client's words.
#[test]
fn no_word_that_acts_stands_alone_on_a_line() {
    let acting = [
        "stop",
        "pause",
        "reprendre",
        "resume",
        "guide",
        "jaccepte",
        "iaccept",
        "jaccepteleremplacement",
        "iacceptcover",
        "jerefuse",
        "idecline",
        "non",
        "no",
        "internet",
        "aide",
        "help",
    ];
    for (name, language, text) in to_clients() {
        for line in text.lines() {
            let folded: String = line.to_lowercase().chars().filter(|c| c.is_alphabetic()).collect();
            let alone = acting.contains(&folded.as_str());
            assert!(!alone, "{name} {language}: {line:?}");
        }
    }
}

#[test]
fn the_frame_can_be_read_at_one_sitting() {
    let letters = letters();
    for &language in Language::ALL {
        for name in [Name::Frame, Name::ConsentRenewal] {
            for r in written(&letters, name, language) {
                let words = r.text.split_whitespace().filter(|w| w.chars().any(char::is_alphanumeric)).count();
                // Sealed letters have to be explained besides.
                let most = if r.text.contains("PDF") { 720 } else { 680 };
                assert!(words <= most, "{} {language}: {words} words", name.as_str());
            }
        }
    }
}

/// The pages of `config/guides`: calm, typeset, short, and complete in their words.
#[test]
fn the_guides_say_every_word_that_acts() {
    let client =
        [["STOP", "PAUSE", "REPRENDRE", "GUIDE", "INTERNET"], ["STOP", "PAUSE", "RESUME", "GUIDE", "INTERNET"]];
    for (&language, words) in Language::ALL.iter().zip(client) {
        let text = guide(language, Channel::OpenPgp);
        assert!(words.iter().all(|w| text.contains(w)), "{language}");
        assert!(!text.contains('!') && text.lines().count() <= 120, "{language}");
    }
    assert!(
        guide(Language::Fr, Channel::OpenPgp).contains("\u{a0}:")
            && !guide(Language::Fr, Channel::OpenPgp).contains(" :")
    );
    let commands = [
        "/to",
        "/cancel",
        "/urgent",
        "/now",
        "/release",
        "/discard",
        "/close",
        "/label",
        "/note",
        "/rhythm",
        "/digest",
        "/help",
        "/accept",
        "/decline",
        "/pause",
        "/resume",
        "/suspend",
        "/end",
        "/discharge",
        "/mute",
        "/discreet",
        "/safety",
        "/checkin",
        "/card",
        "/video",
        "/key",
        "/rekey",
        "/channel",
        "/transfer",
        "/mode",
        "/invite",
        "/absent",
        "/back",
    ];
    for text in
        [include_str!("../../config/guides/therapist-fr.md"), include_str!("../../config/guides/therapist-en.md")]
    {
        for command in commands {
            assert!(text.contains(command), "the therapist's page lacks {command}");
        }
        assert!(!text.contains('!') && text.lines().count() <= 120);
    }
}

#[test]
fn row_03_every_verdict_and_mark_has_its_own_words() {
    let letters = letters();
    for &language in Language::ALL {
        let texts: Vec<String> = written(&letters, Name::Forward, language).into_iter().map(|r| r.text).collect();
        let distinct: std::collections::BTreeSet<&String> = texts.iter().collect();
        let bare = crate::model::Verdict::ALL.len() + crate::model::Mark::ALL.len();
        assert_eq!(texts.iter().take(bare).collect::<std::collections::BTreeSet<_>>().len(), bare);
        assert_eq!(distinct.len(), texts.len());
        assert!(texts.iter().all(|t| !t.contains("INCONNUE : {{")
            && !t.contains("VERDICT INCONNU")
            && !t.contains("UNKNOWN VERDICT")
            && !t.contains("MARQUE")
            && !t.contains("UNKNOWN MARK")));
    }
}

#[test]
fn every_outcome_and_refusal_says_something_of_its_own() {
    let letters = letters();
    for &language in Language::ALL {
        for name in [Name::Receipt, Name::Refusal] {
            let texts = written(&letters, name, language);
            let distinct: std::collections::BTreeSet<&str> = texts.iter().map(|r| r.text.as_str()).collect();
            assert_eq!(distinct.len(), texts.len(), "{} {language}", name.as_str());
            let shortest = texts.iter().map(|r| r.text.lines().count()).min().unwrap();
            assert!(shortest >= 1);
        }
        assert!(written(&letters, Name::Refusal, language).iter().all(|r| r.text.trim_end().lines().count() >= 3));
    }
}

#[test]
fn the_digest_fits_sixty_columns_and_loads_nothing() {
    every_letter(|name, _, r| {
        if name == Name::Digest {
            for line in r.text.lines() {
                assert!(line.chars().count() <= 60, "{line}");
            }
            let html = r.html.as_ref().unwrap();
            for loads in ["src=", "href=", "url(", "@import", "<script", "http"] {
                assert!(!html.contains(loads), "{loads}");
            }
            assert!(!html.contains("<3"), "labels are escaped");
        }
    });
}

#[test]
fn subjects_are_one_line_and_texts_end_well() {
    every_letter(|name, language, r| {
        assert!(!r.subject.contains(['\n', '\r']), "{}", name.as_str());
        assert!(!r.text.contains("\n\n\n") && !r.text.contains("{{") && !r.text.contains("{%"));
        assert!(r.text.is_empty() || r.text.ends_with('\n'));
        assert!(r.text.lines().all(|l| l == l.trim_end()), "{} {language}", name.as_str());
    });
}

#[test]
fn the_reply_frame_names_the_letters_as_the_contract_says() {
    let texts: Vec<String> = written(&letters(), Name::ReplyFrame, Language::Fr)
        .into_iter()
        .map(|r| r.text.replace('\u{a0}', " "))
        .collect();
    assert_eq!(texts[0], "Cette lettre répond à votre lettre du 2 mars, 23 h 10.\n");
    assert_eq!(texts[1], "Cette lettre répond à vos lettres du 2 mars, 23 h 10, et du 3 mars, 2 h 14.\n");
    assert_eq!(texts[3], "");
}

#[test]
fn shipped_lines_are_those_of_the_contract() {
    let lines = Lines::built_in().unwrap();
    let numbers = |country| lines.crisis(country, Language::Fr).into_iter().map(|l| l.number).collect::<Vec<_>>();
    assert_eq!(numbers("FR-57"), ["3114", "15", "112", "114"]);
    assert_eq!(numbers("UK"), ["116 123", "999"]);
    assert_eq!(numbers("XX"), ["112"]);
    assert_eq!(lines.violence("FR", Language::En)[1].note.as_deref(), Some("by SMS"));
    assert!(lines.verified_on("CA").is_some() && lines.verified_on("XX").is_none());
}

#[test]
fn every_kind_that_can_fail_to_arrive_has_its_own_words() {
    use crate::model::Kind;
    let letters = letters();
    for (language, bare) in [(Language::Fr, "un message du"), (Language::En, "’s message (")] {
        for &kind in Kind::ALL {
            let letter = Letter::DeliveryFailure(DeliveryFailure {
                code: crate::model::ClientCode::from_bits(7),
                label: None,
                kind,
                sent: chrono::DateTime::UNIX_EPOCH,
                cause: FailureCause::Refused,
                why: None,
                other_way: None,
                due: None,
                card: false,
            });
            let text = letters.render(&letter, Reader { language, by_words: false, zone: Paris }).unwrap().text;
            // These never fail towards a client.
            let none = matches!(kind, Kind::HealthAlarm | Kind::RoundTrip | Kind::Automatic);
            assert_eq!(text.contains(bare), none, "{kind} {language}: {text}");
        }
    }
}

#[test]
fn every_key_problem_and_frame_element_has_its_own_words() {
    let letters = letters();
    for &language in Language::ALL {
        for name in [Name::Enrolment, Name::Alert, Name::LocumCover, Name::CardCopy] {
            let texts = written(&letters, name, language);
            let distinct: BTreeSet<&str> = texts.iter().map(|r| r.text.as_str()).collect();
            assert_eq!(distinct.len(), texts.len(), "{} {language}", name.as_str());
            for word in ["no-key", "several-keys", "too-weak", "no-encryption", "no-signing", "taken\"", "kebab"] {
                assert!(!texts.iter().any(|r| r.text.contains(word)), "{word} shows");
            }
        }
    }
}

#[test]
fn nothing_to_staff_promises_that_anyone_watches() {
    let promises = [
        "nous veillons",
        "surveille",
        "veille sur",
        "we watch",
        "watches over",
        "is being watched",
        "prévient les secours",
    ];
    every_letter(|name, language, r| {
        if name.is_staff() {
            let lower = r.text.to_lowercase();
            for promise in promises {
                assert!(!lower.contains(promise), "{} {language}: {promise}", name.as_str());
            }
        }
    });
}

#[test]
fn an_own_letter_that_fails_over_real_facts_gives_way_to_the_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let fr = folder.path().join("fr");
    std::fs::create_dir(&fr).unwrap();
    // The samples' practice has a name; one without breaks this template.
    let own = "subject = \"x\"\n---\nAutomatique. Pas surveillée 112. {{ 1 // (neutral_name|length) }}\n";
    std::fs::write(fr.join("stranger.txt"), own).unwrap();
    let letters = Letters::load(Some(folder.path())).unwrap();
    assert_eq!(letters.problems(), []);
    assert_eq!(letters.own(Name::Stranger), [Language::Fr]);
    assert!(letters.unusable().is_empty());
    let reader = Reader { language: Language::Fr, by_words: false, zone: Paris };
    let stranger = Letter::Stranger(Stranger { neutral_name: String::new() });
    assert!(letters.render(&stranger, reader).unwrap().text.starts_with("Message automatique."));
    assert_eq!(letters.unusable().into_iter().collect::<Vec<_>>(), ["fr/stranger"]);
}

#[test]
fn a_preview_has_the_practices_own_frame() {
    let own = serde_json::json!({ "practice": "Cabinet du Lac", "lines": [{ "number": "144", "note": null }] });
    let reader = Reader { language: Language::Fr, by_words: false, zone: Paris };
    let shown = letters().preview(Name::Acknowledgement, 0, own.as_object().unwrap(), reader).unwrap().unwrap();
    assert!(shown.text.contains("Cabinet du Lac") && shown.text.contains("144") && !shown.text.contains("3114"));
    assert!(letters().preview(Name::Acknowledgement, 9, own.as_object().unwrap(), reader).unwrap().is_none());
}
