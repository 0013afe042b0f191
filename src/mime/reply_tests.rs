//! What becomes of a therapist's answer, and of a client's subject.

use pretty_assertions::assert_eq;

use super::reply::{BANNER_END, BANNER_HEAD_END, BANNER_HEAD_START, TOKEN_LABELS, is_placeholder, strip_prefixes};
use super::*;
use crate::model::Address;

fn quoted(text: &str, sign: &str) -> String {
    text.lines().map(|l| format!("{sign}{l}\n")).collect()
}

fn sent(label: &str) -> String {
    let facts = ["Signature vérifiée".to_owned(), "Reçu lundi 3 mars, réponse le 4".to_owned()];
    format!("{}\n\nBonjour,\nje dors mal.\n\nEt je rêve.\n", banner("C-7K2M", &facts, label, "k3J9-token_1"))
}

#[test]
fn a_banner_has_its_shape_and_facts_cannot_imitate_it() {
    let lines = [
        "Jeton : AAAAAAAA".to_owned(),
        format!("a\n{BANNER_END}"),
        format!("{BANNER_HEAD_START}C-ZZZZ{BANNER_HEAD_END}"),
    ];
    let text = banner("C-7K2M", &lines, TOKEN_LABELS[0], "ABCDEFGH");
    assert_eq!(text.lines().next(), Some("──── Cadre · C-7K2M ────"));
    assert_eq!(text.lines().last(), Some("────────────"));
    assert_eq!(text.lines().count(), 6);
    let taken = reply_text(&quoted(&text, "> "));
    assert_eq!(taken.tokens_in_quotes, ["ABCDEFGH"]);
}

#[test]
fn an_answer_above_the_quotation_is_all_that_is_left() {
    for label in TOKEN_LABELS {
        for (head, sign) in [
            ("Le 3 mars 2026 à 10:00, C-7K2M <p@p.example> a écrit :", "> "),
            ("On 3/3/26 10:00, C-7K2M wrote:", ">"),
            ("Am 03.03.26 um 10:00 schrieb C-7K2M:", "> > "),
            ("-----Original Message-----\nFrom: C-7K2M <p@p.example>\nSent: Monday\nTo: T\nSubject: [C-7K2M] x\n", ""),
            ("________________________________\nDe : C-7K2M\nEnvoyé : lundi\nÀ : T\nObjet : x\n", ""),
        ] {
            let reply = format!(
                "/urgent\nBonjour Marie,\n\nDormez bien.\n\n{head}\n{}\n-- \nDr T\n",
                quoted(&sent(label), sign)
            );
            let taken = reply_text(&reply);
            assert_eq!(taken.text, "/urgent\nBonjour Marie,\n\nDormez bien.", "{reply}");
            assert_eq!(taken.unquoted, taken.text, "{reply}");
            assert_eq!(taken.tokens_in_quotes, ["k3J9-token_1"], "{reply}");
        }
    }
}

#[test]
fn interleaved_answers_survive_without_banner_and_codes() {
    let reply = format!(
        "Le 3 mars 2026 à 10:00, C-7K2M a écrit :\n{}> Bonjour,\n> je dors mal.\n\nDepuis quand ?\n\n> Et je rêve.\n> [C-7K2M] x\n\nDe quoi ?\n\n> fin\n-- \nDr T\n+33\n",
        quoted(&banner("C-7K2M", &[], "Jeton", "ABCDEFGH"), "> ")
    );
    let taken = reply_text(&reply);
    assert_eq!(taken.text, "> Bonjour,\n> je dors mal.\n\nDepuis quand ?\n\n> Et je rêve.\n\nDe quoi ?");
    assert_eq!(taken.unquoted.split_whitespace().collect::<Vec<_>>().join(" "), "Depuis quand ? De quoi ?");
}

#[test]
fn commands_keep_their_codes_and_letters_lose_them() {
    let taken = reply_text("/to C-7K2M\n\nBonjour [C-7K2M], voici N-3F et H2O.\n");
    assert_eq!(taken.unquoted, "/to C-7K2M\n\nBonjour [C-7K2M], voici N-3F et H2O.");
    assert_eq!(taken.text, "/to C-7K2M\n\nBonjour , voici N-3F et H2O.");
}

#[test]
fn nothing_of_the_therapists_own_words_is_lost() {
    for own in [
        "Bonjour,\n\nLe 3 mars nous avons parlé ; vous m'avez écrit : « je dors ».\n\nÀ demain",
        "On Monday you wrote me a lot.\n\nThank you.",
        "De : votre côté, et À : mon côté.",
        "Am Montag schrieb ich Ihnen, dass wir reden:\n\nheute.",
        "Sent from the heart, as you said.\n\nYours",
        "- un\n- deux\n\n    indenté",
        "2026-03-04 : rendez-vous à 10:00",
    ] {
        assert_eq!(reply_text(own).text, own);
        assert_eq!(new_text(own), own);
    }
}

#[test]
fn a_letter_of_quotations_only_has_no_words() {
    assert_eq!(new_text("> a\n> b\n"), "");
    assert_eq!(reply_text(&quoted(&sent("Jeton"), "> ")).text, "");
    assert_eq!(new_text("neu\n\nVon meinem iPhone gesendet\n\n> alt"), "neu");
}

#[test]
fn subjects_lose_everything_that_looks_like_a_code() {
    for (subject, want) in [
        ("[C-7K2M] ma semaine", "ma semaine"),
        ("Re: [c-7k2m] [C-ABCD] x", "Re: x"),
        ("C–7K2M : x", "x"),
        ("Ｃ－７Ｋ２Ｍ x", "x"),
        ("С-7K2M x", "x"),
        ("C\u{200b}-7K2M x", "x"),
        ("C - 7K2M x", "x"),
        ("[C-[C-7K2M]7K2M] x", "x"),
        ("N-3F x", "x"),
        ("H3 x", "x"),
        ("[brut] été", "[brut] été"),
        ("C-section, vitamine C", "C-section, vitamine C"),
    ] {
        let found = strip_codes(subject);
        assert_eq!(found, want, "{subject}");
    }
    // THREATS 15: blanks that are squeezed afterwards.
    for subject in ["C  -7K2M", "C \t -  7K2M", "[C\r\n\r\n-7K2M]"] {
        let left = strip_codes(subject);
        assert_eq!(strip_codes(&left), left, "{subject:?}");
    }
}

#[test]
fn answering_prefixes_go() {
    for (subject, want) in [
        ("Re: x", "x"),
        ("RE : Re[2]: AW: TR : x", "x"),
        ("Fwd: x", "x"),
        ("Réf: x", "Réf: x"),
        ("Restez: x", "Restez: x"),
        ("x", "x"),
    ] {
        assert_eq!(strip_prefixes(subject), want);
    }
}

#[test]
fn a_subject_that_only_hides_another_is_known() {
    for placeholder in ["...", "Re: ...", "[...]", "RE: Re: [...]", "\u{2026}", "[\u{2026}]", ". . ."] {
        assert!(is_placeholder(placeholder), "{placeholder:?}");
    }
    for subject in ["", "Re:", "[]", "x", "Re: et puis...", "...et puis", "[C-7K2M]"] {
        assert!(!is_placeholder(subject), "{subject:?}");
    }
}

#[test]
fn an_address_is_found_however_it_is_written() {
    let address = Address::parse("Dr.T@Praxis.example").unwrap();
    for text in [
        "dr.t@praxis.example",
        "écrivez à DR.T@PRAXIS.EXAMPLE.",
        "<mailto:dr.t@praxis.example>",
        "dr.t @ praxis.example",
        "dr.t@\npraxis.example",
        "> dr.t@\n> praxis.example",
        "dr.t%40praxis.example",
        "dr.t (at) praxis (dot) example",
        "ｄｒ.t＠praxis.example",
        "dr.t@pra\u{200b}xis.example",
        "x:dr.t@praxis.example;",
        "*dr.t@praxis.example*",
    ] {
        assert!(contains_address(text, &address), "{text}");
    }
    for text in [
        "adr.t@praxis.example",
        "dr.t@praxis.example.com",
        "dr.t@praxis.examples",
        "dr.t at home",
        "praxis.example",
        "",
    ] {
        assert!(!contains_address(text, &address), "{text}");
    }
    let idn = Address::parse("t@bücher.example").unwrap();
    assert!(contains_address("t@bücher.example", &idn) && contains_address("t@xn--bcher-kva.example", &idn));
}

#[test]
fn a_sentence_that_begins_like_an_attribution_stays_the_writers_own() {
    for (own, attribution) in [
        ("Le cabinet déménage le 9.", "Le 03/03/2026 à 18:00, ecrire@cabinet.example a écrit :"),
        ("On the 9th I can't.", "On 3 March 2026 at 18:00, write@practice.example wrote:"),
    ] {
        for gap in ["\n", "\n\n"] {
            let text = format!("{own}{gap}{attribution}\n> Bonjour,\n> à demain.\n");
            assert_eq!(super::reply::new_text(&text).trim(), own, "{text}");
        }
    }
}

/// How French, German and English programs quote: what a person wrote is what stands above.
#[test]
fn quotations_of_many_programs_are_no_new_text() {
    for below in [
        "Le lun. 2 mars 2026 à 18:00, Cabinet <ecrire@cabinet.example> a écrit :\n\n> cité",
        "Le lundi 2 mars 2026 à 18:00:00 UTC+1, Cabinet <ecrire@cabinet.example> a écrit :\n\ncité sans marque",
        "Le 02/03/2026 à 18:00, Cabinet a écrit :\n> cité",
        "Le 2 mars 2026 à 18:00, Cabinet <ecrire@cabinet.example> a écrit :\n\n\u{feff}\n> cité",
        "Le 2 mars 2026 18:00:00 GMT+01:00, Cabinet <ecrire@cabinet.example> a écrit :\n>cité",
        "Le 2 mars 2026 à 18:00, Cabinet a écrit :\n\ncité sans marque",
        "________________________________\nDe : Cabinet <ecrire@cabinet.example>\nEnvoyé : lundi 2 mars 2026 18:00\nÀ : Marie\nObjet : Re: lettre\n\ncité",
        "-----Message d'origine-----\nDe : Cabinet\nEnvoyé : lundi 2 mars 2026 18:00\n\ncité",
        "-------- Message d'origine --------\nDe : Cabinet <ecrire@cabinet.example>\nDate : 02/03/2026 18:00 (GMT+01:00)\nÀ : Marie\nObjet : Re: lettre\n\ncité",
        "----- Mail original -----\nDe: \"Cabinet\" <ecrire@cabinet.example>\nÀ: \"Marie\"\nEnvoyé: Lundi 2 Mars 2026 18:00:00\nObjet: Re: lettre\n\ncité",
        "> Message du 02/03/26 18:00\n> De : \"Cabinet\" <ecrire@cabinet.example>\n> A : marie@client.example\n> Objet : Re: lettre\n>\n> cité",
        "Envoyé : lundi 2 mars 2026 à 18:00\nDe : Cabinet <ecrire@cabinet.example>\nÀ : Marie\nObjet : Re: lettre\n\ncité",
        "Am 02.03.26 um 18:00 schrieb Cabinet:\n> cité",
        "Am 02.03.2026 um 18:00 schrieb Cabinet <ecrire@cabinet.example>:\n\n> cité",
        "Am Mo., 2. März 2026 um 18:00 Uhr schrieb Cabinet <ecrire@cabinet.example>:\n\n> cité",
        "Gesendet: Montag, 2. März 2026 um 18:00 Uhr\nVon: Cabinet <ecrire@cabinet.example>\nAn: marie@client.example\nBetreff: Re: Brief\n\ncité",
        "Von: Cabinet <ecrire@cabinet.example>\nGesendet: Montag, 2. März 2026 18:00\nAn: Marie\nBetreff: AW: Brief\n\ncité",
        "-------- Ursprüngliche Nachricht --------\nVon: Cabinet\nDatum: 02.03.26 18:00 (GMT+01:00)\n\ncité",
        "On Mon, Mar 2, 2026 at 6:00 PM Cabinet <ecrire@cabinet.example> wrote:\n\n> cité",
        "On Monday, March 2nd, 2026 at 18:00, Cabinet <ecrire@cabinet.example> wrote:\n\n> cité",
        "On Mon, Mar 02, 2026 at 06:00:00PM +0100, Cabinet wrote:\n> cité",
        "On Mon, Mar 02, 2026 at 06:00 PM, Cabinet wrote:\n\ncité sans marque",
        "From: Cabinet <ecrire@cabinet.example>\nSent: Monday, March 2, 2026 6:00 PM\nTo: Marie\nSubject: RE: letter\n\ncité",
        "> cité",
    ] {
        let text = format!("Bonjour,\n\nce que j'écris moi-même.\n\nMarie\n\n{below}\n");
        assert_eq!(new_text(&text), "Bonjour,\n\nce que j'écris moi-même.\n\nMarie", "{below}");
    }
}

#[test]
fn sentences_that_begin_like_an_attribution_stay() {
    for text in [
        "Le 3 mars, vous m'avez écrit :\n\nc'est ce que je retiens.",
        "Le soir à 18 h, il a écrit :\nune lettre.",
        "Envoyé : rien.\nMais j'y pense.",
        "Sent: nothing.\nI only think of it.",
    ] {
        assert_eq!(new_text(text), text);
    }
}
