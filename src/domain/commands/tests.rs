//! Tables of commands, quotations, contradictions.

use super::*;
use pretty_assertions::assert_eq;
use proptest::prelude::*;

fn words(text: &str) -> Words {
    Words(text.to_owned())
}

fn one(text: &str) -> Command {
    let mut commands = parse(text).unwrap().commands;
    assert_eq!(commands.len(), 1, "{text}");
    commands.remove(0)
}

fn error(text: &str) -> CommandError {
    parse(text).unwrap_err()
}

#[test]
fn every_name_in_both_languages_and_any_case() {
    let code: ClientCode = "C-7K2M".parse().unwrap();
    for text in ["/to C-7K2M", "/TO c-7k2m", "/à C-7K2M", "/À 7k2m", "/a C-7K2M", "/pour C-7K2M", "/a\u{300} C-7K2M"]
    {
        assert_eq!(one(text), Command::To(code.clone()), "{text}");
    }
    for (texts, command) in [
        (&["/cancel", "/Annuler", "/ANNULER "][..], Command::Cancel),
        (&["/release", "/libérer", "/liberer", "/Transmettre"], Command::Release(None)),
        (&["/release H3", "/LIBÉRER h3", "/release\u{a0}H3"], Command::Release(Some(Target::Held(3)))),
        (&["/discard", "/écarter", "/Ecarter"], Command::Discard(None)),
        (&["/discard n-3f", "/écarter N-3F"], Command::Discard(Some(Target::Request("N-3F".to_owned())))),
        (&["/close", "/fermer", "/clore"], Command::Close { silent: false, line: None }),
        (&["/close silent", "/fermer silencieux", "/Clore SILENT"], Command::Close { silent: true, line: None }),
        (&["/label Marie B.", "/étiquette  Marie B. ", "/Etiquette Marie B."], Command::Label(words("Marie B."))),
        (&["/note rappeler le médecin"], Command::Note(words("rappeler le médecin"))),
        (
            &["/rhythm Tue,Fri", "/rythme mar,ven", "/RYTHME ven. et mardi"],
            Command::Rhythm(vec![Weekday::Tue, Weekday::Fri]),
        ),
        (&["/rhythm all", "/rythme tous"], Command::Rhythm(vec![])),
        (&["/digest", "/journée"], Command::Digest),
        (&["/help", "/aide"], Command::Help),
        (&["/urgent"], Command::Urgent),
    ] {
        for text in texts {
            assert_eq!(one(text), command, "{text}");
        }
    }
    assert_eq!(one("/maintenant\nJe suis en retard."), Command::Now);
}

#[test]
fn names_stand_once_in_the_table_and_are_folded() {
    let mut seen = std::collections::BTreeSet::new();
    for (word, names) in TABLE {
        assert_eq!(names[0], &word.english()[1..]);
        for name in *names {
            assert_eq!(fold(name), *name);
            assert!(seen.insert(name), "{name}");
        }
    }
}

#[test]
fn close_takes_its_one_line_and_refuses_a_text_below() {
    let line = Some(words("Je vous lis, nous en reparlons mardi."));
    assert_eq!(one("/close Je vous lis, nous en reparlons mardi."), Command::Close { silent: false, line });
    for text in ["/close\nBonjour", "/close silent\nBonjour", "/close Une ligne.\n\nBonjour"] {
        assert_eq!(error(text), CommandError::TextNotAllowed { command: "/close" }, "{text}");
    }
    assert_eq!(error("/discard H3\nx"), CommandError::TextNotAllowed { command: "/discard" });
    assert_eq!(error("/cancel\nx"), CommandError::TextNotAllowed { command: "/cancel" });
    assert_eq!(error("/help\nx"), CommandError::TextNotAllowed { command: "/help" });
}

#[test]
fn quotations_and_signatures_are_no_text_for_close() {
    let parsed = parse("/close\n\nLe 3 mars, C-7K2M a écrit :\n> /cancel\n> Bonjour\n\n-- \nDr Exemple\n").unwrap();
    assert_eq!(parsed.commands, [Command::Close { silent: false, line: None }]);
    assert_eq!(parsed.words, 0);
    assert!(!parsed.text.as_str().contains("Exemple"));
}

#[test]
fn commands_may_stand_below_a_quotation_but_not_below_text() {
    let below = parse("C-7K2M a écrit :\n> Bonjour\n\n/urgent\nJe vous réponds.").unwrap();
    assert_eq!(below.commands, [Command::Urgent]);
    let text = parse("Bonjour,\n/cancel\net/ou autrement").unwrap();
    assert_eq!(text.commands, []);
    assert_eq!(text.text.as_str(), "Bonjour,\n/cancel\net/ou autrement");
    let quoted = parse("> /cancel\nBonjour").unwrap();
    assert_eq!(quoted.commands, []);
}

#[test]
fn commands_are_stripped_and_the_letter_is_left_as_it_is() {
    let parsed =
        parse("\u{feff}\r\n/to C-7K2M\r\n\u{a0}/note x\r\n\r\nBonjour,\r\n\r\n> cité\r\nOui.\r\n\r\n-- \r\nDr")
            .unwrap();
    assert_eq!(parsed.commands.len(), 2);
    assert_eq!(parsed.text.as_str(), "Bonjour,\n\n> cité\nOui.");
    assert_eq!(parsed.words, 2);
    assert_eq!(parse("／annuler").unwrap().commands, [Command::Cancel]);
}

#[test]
fn a_dash_line_without_its_space_is_text() {
    assert_eq!(parse("Un\n--\nDeux").unwrap().text.as_str(), "Un\n--\nDeux");
}

#[test]
fn unknown_names_refuse_the_whole_mail() {
    assert_eq!(
        error("/note x\n/envoyer maintenant\nBonjour"),
        CommandError::Unknown { name: words("envoyer"), line: 2 }
    );
    for later in ["/invitez a@b.example", "/absents 2026-08-01 2026-08-15", "/", "/ to C-7K2M", "/home/x"] {
        assert!(matches!(error(later), CommandError::Unknown { .. }), "{later}");
    }
}

#[test]
fn arguments_are_checked() {
    for (text, expected) in [
        ("/to", CommandError::MissingArgument { command: "/to" }),
        ("/to Marie", CommandError::BadArgument { command: "/to" }),
        ("/invite Marie", CommandError::NotAnAddress),
        ("/invite marie@client.example de", CommandError::BadArgument { command: "/invite" }),
        ("/label", CommandError::MissingArgument { command: "/label" }),
        ("/note \u{a0}", CommandError::MissingArgument { command: "/note" }),
        ("/rythme", CommandError::MissingArgument { command: "/rhythm" }),
        ("/rythme 2,5", CommandError::BadArgument { command: "/rhythm" }),
        ("/rythme ma", CommandError::BadArgument { command: "/rhythm" }),
        ("/rythme ,", CommandError::BadArgument { command: "/rhythm" }),
        ("/release H0", CommandError::BadArgument { command: "/release" }),
        ("/release H+3", CommandError::BadArgument { command: "/release" }),
        ("/release 3", CommandError::BadArgument { command: "/release" }),
        ("/cancel tout", CommandError::BadArgument { command: "/cancel" }),
        ("/now Je suis en retard", CommandError::BadArgument { command: "/now" }),
        ("/now", CommandError::TextRequired { command: "/now" }),
        ("/now\n> cité", CommandError::TextRequired { command: "/now" }),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn now_takes_a_hundred_words_and_not_one_more() {
    let mail = |n: usize| format!("/now\n{}", "mot ".repeat(n));
    assert_eq!(parse(&mail(100)).unwrap().words, 100);
    assert_eq!(error(&mail(101)), CommandError::NowTooLong { words: 101 });
}

#[test]
fn contradictions_are_refused_and_repetitions_are_not() {
    for (text, a, b) in [
        ("/cancel\n/urgent", "/cancel", "/urgent"),
        ("/urgent\n/now\nx", "/urgent", "/now"),
        ("/close\n/close silent", "/close", "/close"),
        ("/cancel\n/close", "/cancel", "/close"),
        ("/to C-7K2M\n/to C-22ZZ\nx", "/to", "/to"),
        ("/label A\n/label B", "/label", "/label"),
        ("/release H3\n/discard H3", "/release", "/discard"),
        ("/digest\n/to C-7K2M", "/digest", "/to"),
        ("/help\n/digest", "/help", "/digest"),
        ("/now\n/discard H3\nx", "/now", "/discard"),
    ] {
        assert_eq!(error(text), CommandError::Contradiction { a, b }, "{text}");
    }
    for (text, n) in [
        ("/cancel\n/cancel", 1),
        ("/note a\n/note b", 2),
        ("/release H3\n/release H4", 2),
        ("/release H3\n/discard H4", 2),
        ("/to C-7K2M\n/label A\n/rhythm Mon\n/note b\nBonjour", 4),
    ] {
        assert_eq!(parse(text).unwrap().commands.len(), n, "{text}");
    }
}

#[test]
fn nothing_that_was_written_shows_in_debug_or_errors() {
    let secret = "Fontainebleau";
    let parsed = parse(&format!("/label {secret}\n/note {secret}\n{secret}")).unwrap();
    assert!(!format!("{parsed:?}").contains(secret));
    let error = error(&format!("/{secret}"));
    assert!(!format!("{error:?} {error}").contains(secret));
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "(\\PC|[/>\\n\\r \u{a0}-]){0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn a_letter_without_a_slash_at_its_head_is_left_whole(text in "[a-zé][a-zé /\\n]{0,80}[a-z]") {
        let parsed = parse(&text).unwrap();
        prop_assert!(parsed.commands.is_empty());
        prop_assert_eq!(parsed.text.as_str(), text);
    }
}

/// The text that every letter of the therapist's own needs.
fn own_words() -> String {
    vec!["mot"; OWN_WORDS].join(" ")
}

#[test]
fn the_commands_of_the_frame_are_read_in_both_languages() {
    let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
    let at = |h, m| day(2026, 3, 4).and_hms_opt(h, m, 0).unwrap();
    let invite = |language, known| Command::Invite {
        whom: Invitee::Address(Address::parse("marie@client.example").unwrap()),
        language,
        known,
    };
    let absent = |locum: Option<&str>| Command::Absent {
        from: day(2026, 8, 1),
        until: day(2026, 8, 16),
        locum: locum.map(|id| TherapistId(id.to_owned())),
    };
    let key = || Command::KeyAccept(["abeille", "abolir", "academie"].map(str::to_owned).to_vec());
    for (texts, command) in [
        (&["/accept", "/accepter"][..], Command::Accept),
        (&["/pause"], Command::Pause),
        (&["/resume", "/reprendre"], Command::Resume),
        (&["/discharge silent", "/sortie silencieuse"], Command::Discharge { silent: true }),
        (&["/mute", "/muet", "/mute on"], Command::Mute { on: true }),
        (&["/mute off", "/muet non"], Command::Mute { on: false }),
        (&["/discreet", "/discret"], Command::Discreet { on: true }),
        (&["/safety quiet", "/sécurité silence"], Command::SafetyQuiet { on: true }),
        (&["/safety normal"], Command::SafetyQuiet { on: false }),
        (&["/checkin", "/check-in", "/nouvelles"], Command::CheckIn),
        (&["/card", "/fiche"], Command::Card { ask: false }),
        (&["/card ask", "/fiche demander"], Command::Card { ask: true }),
        (&["/video 2026-03-04 15:00", "/visio 04/03/2026 15h"], Command::Video { at: at(15, 0), url: None }),
        (
            &["/video 2026-03-04 15h30 https://video.example/x"],
            Command::Video { at: at(15, 30), url: Some(words("https://video.example/x")) },
        ),
        (&["/key accept abeille abolir académie", "/clé accepter Abeille-Abolir, ACADEMIE"], key()),
        (&["/rekey", "/nouvelle-clé"], Command::Rekey),
        (&["/channel openpgp", "/canal OpenPGP"], Command::Channel(Channel::OpenPgp)),
        (&["/channel pdf"], Command::Channel(Channel::Pdf)),
        (&["/transfer second", "/transférer second"], Command::Transfer(TherapistId("second".to_owned()))),
        (&["/mode pure", "/mode pur"], Command::Mode(Mode::Pure)),
        (&["/mode après"], Command::Mode(Mode::After)),
        (&["/invite marie@client.example", "/inviter <marie@client.example>"], invite(None, false)),
        (
            &["/invite marie@client.example fr known", "/inviter marie@client.example connue fr"],
            invite(Some(Language::Fr), true),
        ),
        (
            &["/invite n-3f en", "/inviter N-3F anglais"],
            Command::Invite { whom: Invitee::Request("N-3F".to_owned()), language: Some(Language::En), known: false },
        ),
        (&["/absent 2026-08-01 2026-08-16", "/absente du 01/08/2026 au 16/08/2026"], absent(None)),
        (&["/absent 2026-08-01 2026-08-16 second"], absent(Some("second"))),
        (&["/back", "/retour"], Command::Back),
    ] {
        for text in texts {
            assert_eq!(one(text), command, "{text}");
        }
    }
    for name in ["/decline", "/suspendre", "/fin", "/discharge"] {
        assert!(one(&format!("{name}\n{}", own_words())).needs_own_words(), "{name}");
    }
}

#[test]
fn what_the_commands_of_the_frame_do_not_take_is_refused() {
    for text in [
        "/invite",
        "/invite pas-une-adresse",
        "/invite Marie <marie@client.example>",
        "/invite marie@client.example de",
        "/invite marie@client.example fr en",
        "/absent 2026-08-16 2026-08-01",
        "/absent 2026-13-01 2026-13-02",
        "/absent 08/01/2026",
        "/video demain 15:00",
        "/video 2026-03-04 25:00",
        "/video 2026-03-04 15:00 ftp://video.example",
        "/key abeille",
        "/key accept",
        "/mode autre",
        "/channel fax",
        "/safety loud",
        "/mute peut-être",
        "/discharge vite",
        "/accept merci",
    ] {
        let found = error(text);
        let refused = matches!(
            found,
            CommandError::BadArgument { .. } | CommandError::MissingArgument { .. } | CommandError::NotAnAddress
        );
        assert!(refused, "{text}: {found}");
    }
}

#[test]
fn letters_that_end_or_interrupt_need_the_therapists_own_words() {
    let nineteen = vec!["mot"; OWN_WORDS - 1].join(" ");
    for name in ["/decline", "/suspend", "/end", "/discharge"] {
        let found = error(&format!("{name}\n{nineteen}"));
        assert_eq!(found, CommandError::TooFewWords { command: name, words: OWN_WORDS - 1 });
        assert!(parse(&format!("{name}\n{nineteen} encore")).is_ok());
        // What others wrote isn't theirs.
        let quoted = format!("{name}\n{nineteen}\n\n> {}", own_words());
        assert_eq!(error(&quoted), CommandError::TooFewWords { command: name, words: OWN_WORDS - 1 });
    }
}

#[test]
fn one_mail_decides_once() {
    let text = own_words();
    for (a, b) in [
        ("/accept", "/decline"),
        ("/pause", "/resume"),
        ("/end", "/discharge"),
        ("/discharge", "/now"),
        ("/discharge", "/urgent"),
        ("/video 2026-03-04 15:00", "/end"),
        ("/mute", "/mute off"),
        ("/invite a@client.example", "/invite b@client.example"),
        ("/absent 2026-08-01 2026-08-16", "/back"),
        ("/invite a@client.example", "/accept"),
    ] {
        let found = error(&format!("{a}\n{b}\n{text}"));
        assert!(matches!(found, CommandError::Contradiction { .. }), "{a} {b}: {found}");
    }
    for name in ["/pause", "/mute", "/checkin", "/rekey", "/transfer second", "/invite a@client.example", "/back"] {
        let found = error(&format!("{name}\nBonjour Marie, je vous réponds."));
        assert!(matches!(found, CommandError::TextNotAllowed { .. }), "{name}: {found}");
    }
    assert_eq!(parse("/accept\nBonjour Marie.").unwrap().words, 2, "the text is the day's reply");
}
