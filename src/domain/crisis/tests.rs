use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::model::CrisisClass::{A, B, V};

const FR: &str = r#"
[spelling]
"j" = "je"
[groups]
mort = "mourir | crever"
[[idiom]]
name = "rire"
any = ["mourir de rire"]
[[context]]
name = "negated"
any = ["veux pas"]
[[rule]]
id = "die"
class = "A"
any = ["je veux [pas] @mort"]
"#;
const EN: &str = "[[rule]]\nid = \"kill\"\nclass = \"A\"\nany = [\"kill myself\"]\nlines = [\"help\"]\n";

fn built_in() -> Lexicon {
    Lexicon::built_in().unwrap_or_else(|e| panic!("{e}"))
}

fn classes(lexicon: &Lexicon, text: &str) -> Vec<CrisisClass> {
    lexicon.scan(text).map(|f| f.classes).unwrap_or_default()
}

#[test]
fn idioms_silence_and_contexts_lessen() {
    let lexicon = Lexicon::parse(FR, EN).unwrap();
    assert_eq!(lexicon.scan("Je veux mourir.").unwrap().rules, ["fr.a.die"]);
    assert_eq!(lexicon.scan("Je veux mourir de rire."), None);
    assert_eq!(lexicon.scan("je veux pas crever").unwrap().rules, ["fr.a.die+negated"]);
    assert_eq!(classes(&lexicon, "je veux pas crever"), [B]);
    assert_eq!(lexicon.scan("Je veux. Mourir."), None, "a sentence ends a phrase");
    assert_eq!(lexicon.scan("Je veux\n\nmourir"), None, "a blank line ends a phrase");
    assert_eq!(lexicon.scan("On m'aide. Help me."), None, "help stands alone on its line");
    assert_eq!(lexicon.scan("Bonjour,\r\n  HELP !!\r\n").unwrap().rules, ["en.a.kill"]);
}

#[test]
fn a_clause_ends_what_a_sentence_ends() {
    let fr = FR
        .replace("[groups]", "[groups]\nnot = \"m'empech*\"")
        .replace("any = [\"je veux [pas] @mort\"]", "any = [\"je veux @mort $\", \"@not de @mort\"]");
    let fr = fr.replacen("[spelling]", "joins = [\"et\"]\n[spelling]\n\"m\" = \"me\"", 1);
    let lexicon = Lexicon::parse(&fr, EN).unwrap();
    for text in ["je veux mourir", "je veux mourir, voilà", "je veux mourir... voilà", "je veux mourir et voilà"] {
        assert_eq!(classes(&lexicon, text), [A], "{text:?}");
    }
    assert_eq!(lexicon.scan("je veux mourir vieux"), None);
    assert_eq!(classes(&lexicon, "rien ne m’empêchera de mourir"), [A], "an elision before a beginning of words");
}

#[test]
fn a_phrase_is_found_however_it_is_written() {
    let lexicon = built_in();
    for text in [
        "Je veux\nmourir",
        "Je veux\r\nmourir",
        "je veux mou-\nrir",
        "je veux mou=\nrir",
        "Je\u{a0}veux\u{202f}mourir",
        "j\u{200b}e v\u{ad}eux mou\u{2060}rir",
        "j\u{435} v\u{435}ux m\u{43e}urir",
        "ＪＥ ＶＥＵＸ ＭＯＵＲＩＲ",
        "je veux 😭😭 mourir",
        "je veux **mourir**",
        "je veux... mourir",
        "j’ai envie de mourir",
        "j'ai envie de mourir",
        "jai envie de mouriiiiir",
        "I want to k1ll myself",
        "I want to k*ll myself",
        "je pense au s u i c i d e, j'ai envie de me s u i c i d e r",
        "jeveuxmourir",
        "i want to commit suiicde",
        "i wan to diee",
        "je vais me suiciderrrr",
        "im suicidalllll",
        "𝐈 𝐰𝐚𝐧𝐭 𝐭𝐨 𝐝𝐢𝐞",
    ] {
        assert!(classes(&lexicon, text).contains(&A), "{text:?}");
    }
}

#[test]
fn whole_words_only_and_quotations_never() {
    let lexicon = built_in();
    for text in [
        "He is a skilled painter with painkillers.",
        "> je veux mourir\n\nNon, ça va.",
        "Le 3 mars 2026 à 10:00, A. B. <a@example.org> a écrit :\n> I want to die\n> je veux mourir",
        "",
        "\u{feff}\n\n\n",
        "/help",
        "A program recognised words (rule: fr.a.want-to-die, en.b.past).",
    ] {
        assert_eq!(lexicon.scan(text), None, "{text:?}");
    }
}

#[test]
fn a_letter_may_speak_of_both() {
    let found = built_in().scan("Il me frappe tous les soirs.\n\nJe veux mourir.").unwrap();
    assert_eq!(found.classes, [A, V]);
    assert!(found.rules.iter().any(|r| r.starts_with("fr.v.")) && found.rules.iter().any(|r| r.starts_with("fr.a.")));
}

#[test]
fn a_faulty_lexicon_says_where_and_what() {
    let error = |fr: &str| Lexicon::parse(fr, EN).unwrap_err().to_string();
    let with = |pattern: &str| error(&format!("[[rule]]\nid = \"x\"\nclass = \"A\"\nany = [\"{pattern}\"]\n"));
    for (shown, part) in [
        (with("(a | b"), "rule x, line 4: a `)` is missing"),
        (with("a | b)"), "`)` closes nothing"),
        (with("@nobody"), "there is no group `nobody`"),
        (with("<99> mourir"), "is no gap"),
        (with("[mourir]"), "no word that must stand in it"),
        (with("?!"), "has no letters"),
        (
            error("[groups]\na = \"@b\"\nb = \"@a\"\n[[rule]]\nid = \"x\"\nclass = \"A\"\nany = [\"@a\"]"),
            "contains itself",
        ),
        (error("[[rule]]\nid = \"x\"\nclass = \"C\"\nany = [\"a\"]"), "line 3"),
        (error("rule = []\n[["), "lexicon fr, line 2"),
        (error("[[rule]]\nid = \"x\"\nclass = \"A\"\n"), "it has no patterns"),
        (error("[[rule]]\nid = \"x\"\nclass = \"A\"\nany = [\"a\"]\neven-if = [\"y\"]"), "there is no context `y`"),
    ] {
        assert!(shown.contains(part) && shown.contains("correct it"), "{shown:?} has no {part:?}");
    }
}

/// A tenth of it where nothing is optimised.
#[test]
fn a_letter_of_a_megabyte_is_scanned_in_no_time() {
    let lexicon = built_in();
    let most = if cfg!(debug_assertions) { Duration::from_secs(10) } else { Duration::from_secs(1) };
    for (name, unit) in [
        ("prose", "Cette semaine j'ai revu ma sœur et nous avons parlé de la maison. I slept a little better. "),
        ("one sentence", "et je lui ai dit que je ne savais pas si la vie de ma mère était finie "),
        ("hostile", "je ne veux pas me "),
        ("letters", "s u i c i "),
        ("stops", "a. "),
        ("negated", "je ne veux pas mourir "),
        ("run together", "jeveuxmourirjeveuxmourirjeveuxmouri "),
    ] {
        let size = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
        let text = unit.repeat(size / unit.len());
        let begun = Instant::now();
        let found = lexicon.scan(&text);
        println!("{name}: {:?} {:?}", begun.elapsed(), found.map(|f| f.rules));
        assert!(begun.elapsed() < most, "{name}: {:?}", begun.elapsed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", junk in proptest::collection::vec(any::<char>(), 0..200)) {
        let lexicon = Lexicon::parse(FR, EN).unwrap();
        lexicon.scan(&text);
        lexicon.scan(&junk.into_iter().collect::<String>());
    }

    #[test]
    fn words_in_any_order_dont_make_it_panic(
        words in proptest::collection::vec(
            "(je|veux|me|m'|tuer|\\*|s\\*icide|-|=\n|\n\n|>|I|want|to|die|not|jeveux|s u i|aide|é|😀|1|40|pills|all|took)", 0..60
        )
    ) {
        let lexicon = built_in_once();
        lexicon.scan(&words.join(" "));
        lexicon.scan(&words.concat());
    }
}

fn built_in_once() -> &'static Lexicon {
    static LEXICON: std::sync::LazyLock<Lexicon> = std::sync::LazyLock::new(built_in);
    &LEXICON
}
