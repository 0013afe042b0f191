use super::*;

fn words(language: Language, of: [&str; 3]) -> Words {
    Words { language, indices: of.map(|word| list(language).exact[&fold(word)]) }
}

fn french() -> Words {
    words(Language::Fr, ["rivière", "lampe", "neige"])
}

const TEXT: &str = "Bonjour,\n\nJ'ai dormi quatre heures. La journée a été longue, et le soir je suis allée marcher un peu.\n\
                    Je vous raconte la suite demain.\n";

#[test]
fn the_lists_have_2048_words_that_differ_in_their_first_four_letters() {
    for &language in Language::ALL {
        let list = list(language);
        assert_eq!((list.words.len(), list.exact.len(), list.beginnings.len()), (2048, 2048, 2048), "{language}");
    }
    // 3 × 11 bits.
    assert_eq!(2048_u64.pow(3).ilog2(), 33);
}

/// However people write them, and wherever.
#[test]
fn words_survive_how_people_type() {
    let valid = [french()];
    let shown = french().shown();
    assert_eq!(shown, "rivière lampe neige");
    let ways = [
        "rivière lampe neige",
        "riviere lampe neige",
        "RIVIÈRE LAMPE NEIGE",
        "Riviere, Lampe, Neige.",
        "rivière-lampe-neige",
        "rivie\u{300}re lampe neige",
        "rivière   lampe\u{a0}\u{a0}neige",
        "  « rivière lampe neige »  ",
        "Mots : rivière lampe neige",
        "Mes trois mots: rivière / lampe / neige",
        "rivière\nlampe\nneige",
        "1. rivière\n2. lampe\n3. neige",
        "rivière, lampe et neige",
        "rivièrelampeneige",
        "RivièreLampeNeige",
        "rivières lampe neige",
        "rivèire lampe neige",
        "rivière lampr neige",
        "rivière lamppe neige",
        "rivièr lampe neig",
        "*rivière* _lampe_ **neige**",
        "rivière\u{200b} lampe neige\u{fe0f}",
        "(rivière lampe neige)",
    ];
    for way in ways {
        let right = Reading { matched: Some(0), ..Reading::default() };
        assert_eq!(read("", &format!("{way}\n\n{TEXT}"), &valid), right, "at the top: {way:?}");
        assert_eq!(read("", &format!("{TEXT}\n{way}\n"), &valid), right, "at the end: {way:?}");
        assert_eq!(read("", &format!("{TEXT}\n{way}\n\n{TEXT}\nMarie\n"), &valid), right, "amid: {way:?}");
        if !way.contains('\n') {
            assert_eq!(read(way, TEXT, &valid), right, "subject: {way:?}");
            assert_eq!(read(&format!("Re: {way}"), "", &valid), right, "subject: {way:?}");
        }
        let cleared = without(&format!("{way}\n\n{TEXT}"), &french());
        assert!(!fold(&cleared).contains("neig") && !fold(&cleared).contains("lamp"), "{way:?}: {cleared:?}");
        assert!(cleared.contains("La journée a été longue"), "{cleared:?}");
    }
}

#[test]
fn running_text_may_begin_or_end_with_them() {
    let valid = [french()];
    for text in [
        "rivière lampe neige Bonjour, voici ma lettre de ce soir, elle est longue et un peu triste aussi.",
        "Voici ma lettre de ce soir, elle est longue et un peu triste aussi. rivière lampe neige",
        "La lettre commence. Mes mots sont rivière lampe neige, et maintenant je vous raconte tout ce qui est arrivé hier.",
    ] {
        assert_eq!(read("", text, &valid).matched, Some(0), "{text}");
    }
    let prose =
        "Hier soir j'ai vu par la rivière lampe neige et tout cela ensemble, et cela m'a fait penser à l'hiver.";
    assert_eq!(read("", &format!("{TEXT}{prose}\n{TEXT}"), &valid), Reading::default(), "amid a sentence");
}

#[test]
fn other_words_are_counted_and_match_nothing() {
    let valid = [french(), words(Language::Fr, ["abandon", "abeille", "abolir"])];
    assert_eq!(read("", "abandon abeille abolir\n", &valid).matched, Some(1), "those of the letter before");
    for wrong in ["lampe rivière neige", "neige lampe rivière", "rivière lampe aboutir"] {
        assert_eq!(
            read("", &format!("{wrong}\n\n{TEXT}"), &valid),
            Reading { matched: None, wrong: 1, meant: true },
            "{wrong}"
        );
    }
    for none in ["rivière lampe", "rivière", "", "window lamp snow"] {
        assert_eq!(read("", &format!("{none}\n\n{TEXT}"), &valid).matched, None, "{none}");
    }
    assert_eq!(read("", TEXT, &valid), Reading::default(), "a letter is no try");
}

#[test]
fn ordinary_letters_are_not_marked() {
    for text in [
        "Hello, can you tell me more? I feel like nothing will change.",
        "Thank you. This was good. They have what they want, and I can just hope.",
        "What will you do when they come there today?",
        "Bonjour, merci de votre lettre. Le soleil est revenu, et la rivière est calme.",
        "Rien de nouveau ce soir. Je marche, je dors, je mange.",
        "Bon voyage demain matin !",
    ] {
        let valid = [french(), words(Language::En, ["window", "lamp", "winter"])];
        assert!(!read("Une lettre", text, &valid).meant, "{text}");
    }
}

#[test]
fn one_mail_makes_few_tries() {
    let list = bip39::Language::French.word_list();
    let mut mail: String = (0..300).map(|n| format!("{} {} {}\n\n", list[n], list[n + 1], list[n + 7])).collect();
    mail.push_str("rivière lampe neige\n");
    let reading = read("", &mail, &[french()]);
    assert!(reading.matched.is_none() && reading.wrong as usize <= TRIES_A_MAIL, "{reading:?}");
}

#[test]
fn words_of_two_languages_do_not_mix() {
    let valid = [french(), words(Language::En, ["window", "lamp", "winter"])];
    assert_eq!(read("", "Window lamp winter", &valid).matched, Some(1));
    assert_eq!(read("", "rivière lamp winter", &valid).matched, None);
}

#[test]
fn unkind_words_stand_in_the_lists_and_are_never_drawn() {
    for word in UNKIND {
        assert!(Language::ALL.iter().any(|language| list(*language).exact.contains_key(*word)), "{word}");
    }
    let mut at = 0;
    let mut next = |n: usize| {
        at += 1;
        at % n
    };
    for &language in Language::ALL {
        for _ in 0..700 {
            let drawn = fold(&Words::draw(language, &mut next).shown());
            assert!(drawn.split(' ').all(|word| !UNKIND.contains(&word)), "{drawn}");
        }
        let kind = list(language).words.iter().filter(|word| !UNKIND.contains(&word.as_str())).count();
        assert!(3.0 * f64::from(u32::try_from(kind).unwrap()).log2() >= 32.9, "{kind}");
    }
}

#[test]
fn they_are_kept_as_numbers() {
    let words = french();
    assert_eq!(Words::parse(&words.stored()), Some(words));
    for bad in ["", "fr", "fr 1 2", "fr 1 2 3 4", "de 1 2 3", "fr 1 2 2048", "fr a b c"] {
        assert_eq!(Words::parse(bad), None, "{bad}");
    }
    let mut next = 0;
    let drawn = Words::draw(Language::En, |n| {
        next += 700;
        next % n
    });
    assert_eq!(drawn.shown().split(' ').count(), WORDS);
    assert!(!format!("{drawn:?}").contains(drawn.shown().split(' ').next().unwrap()));
}

#[test]
fn what_is_taken_out_leaves_the_rest_as_it_is() {
    let words = french();
    assert_eq!(without("rivière lampe neige\nBonjour.\n", &words), "Bonjour.\n");
    assert_eq!(without("Mots : rivière lampe neige\nBonjour.\n", &words), "Bonjour.\n");
    assert_eq!(without("STOP rivière lampe neige\n", &words), "STOP\n");
    assert_eq!(without("rivière lampe neige : J'ACCEPTE\n", &words), "J'ACCEPTE\n");
    assert_eq!(without("Voilà (rivière lampe neige). À demain.", &words), "Voilà À demain.");
    assert_eq!(without("Rien à ôter.\n", &words), "Rien à ôter.\n");
    let html = "<p>rivi&egrave;re</p><div>rivière <b>lampe</b>&nbsp;neige</div><p title=\"lampe\">À demain</p>";
    let cleared = without_in_html(html, &words).unwrap();
    assert_eq!(cleared, "<p>rivi&egrave;re</p><div> <b></b>&nbsp;</div><p title=\"lampe\">À demain</p>");
    assert_eq!(without_in_html("<p>rien</p>", &words), None);
}
