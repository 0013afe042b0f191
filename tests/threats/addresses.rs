//! Row 5: a sender whom two programs could read in two ways is nobody.

use cadre::domain::intake::Action;
use cadre::mime::FromField;
use cadre::model::{ClientId, Mark, Verdict};

use crate::fuzz::forge::{base64, head, protected, sealed, secret, text};
use crate::fuzz::world::{MARIE, PAUL, World};
use crate::tools::{WORDS, look, unsigned, verdict};

/// From fields of an attacker's, each of which shows Marie's address to somebody.
fn spoofs() -> Vec<String> {
    let encoded = |words: &str| format!("=?utf-8?b?{}?=", base64(words.as_bytes()).trim());
    let mut found: Vec<String> = [
        "marie@client.example, x@evil.example",
        "x@evil.example, marie@client.example",
        "\"marie@client.example\" <x@evil.example>",
        "marie@client.example <x@evil.example>",
        "Marie <marie@client.example> <x@evil.example>",
        "<marie@client.example><x@evil.example>",
        "x@evil.example (marie@client.example)",
        "(marie@client.example) x@evil.example",
        "x@evil.example (a (b) marie@client.example)",
        "marie@client.example(x@evil.example)",
        "gens: marie@client.example;",
        "gens: marie@client.example, x@evil.example;",
        "undisclosed:; marie@client.example",
        "<@evil.example:marie@client.example>",
        "<@client.example,@evil.example:x@evil.example>",
        "\"marie@client.example\\\" <x@evil.example>\" <marie@client.example>",
        "marie@client.example@evil.example",
        "\"marie@client.example@evil.example",
        "\"marie\"@client.example",
        "marie(a)@client.example",
        "marie@client.example(",
        "marie@client(a).example",
        "mar\\ie@client.example",
        "marie@client.example\0.evil.example",
        "marie@client.example\0@evil.example",
        "<marie@client.example\r x@evil.example>",
        "=?utf-8?q?marie=40client=2Eexample?= <x@evil.example>",
        "=?utf-8?q?Marie_=3Cmarie=40client=2Eexample=3E=00?= <x@evil.example>",
        "=?utf-8?q?marie=40client=2Eexample=0A?=",
        "=?utf-8?q?=22Marie=22_=3Cmarie=40client=2Eexample=3E=0D=0A?= <x@evil.example>",
        "=?utf-7?q?marie+AEA-client.example?= <x@evil.example>",
        "marie＠client.example <x@evil.example>",
        "marie@client.example\u{200b} <x@evil.example>",
        "\u{202e}elpmaxe.tneilc@eiram\u{202c} marie@client.example <x@evil.example>",
        "marie @ client.example <x@evil.example>",
        "marie@[127.0.0.1]",
        "marie@client.example;x@evil.example",
        "marie@client.example x@evil.example",
        "marie%client.example@evil.example, marie@client.example",
        ",marie@client.example,",
        "<>",
        " ",
        "",
    ]
    .map(str::to_owned)
    .to_vec();
    found.push(format!("{} <x@evil.example>", encoded("marie@client.example")));
    found.push(format!("{} <x@evil.example>", encoded("Marie <marie@client.example>\0")));
    found
}

#[test]
fn row_05_a_sender_that_two_programs_read_in_two_ways_is_filed_to_nobody() {
    let world = World::new();
    for from in spoofs() {
        let mail = head(&from, "La mer") + &text(WORDS);
        let Ok(examined) = world.examine(mail.as_bytes()) else { continue };
        let action = &examined.decision.action;
        assert!(!matches!(action, Action::File { .. } | Action::Obey { .. }), "{from:?}: {:?}", examined.decision);
        // Nobody is answered who isn't surely the sender.
        assert!(
            !matches!(examined.outer.from, FromField::One { ref address, .. } if address.canonical() == MARIE),
            "{from:?}"
        );
        // With a good signature it is held, whoever signed.
        for name in ["marie", "paul"] {
            let mail = head(&from, "x") + &sealed(&secret(name), &text(WORDS));
            let (said, action) = verdict(&world, &mail);
            let strangers = matches!(examined.outer.from, FromField::One { .. });
            let own = ClientId(if name == "marie" { 1 } else { 2 });
            assert!(
                (said, &action) == (Verdict::WrongSigner, &Action::Hold { client: own })
                    || strangers && action == (Action::File { client: own, letter: true }),
                "{from:?} signed by {name}: {said:?} {action:?}"
            );
        }
    }
}

#[test]
fn row_05_fields_that_come_twice_or_hide_behind_others_are_ambiguous() {
    let world = World::new();
    let body = text(WORDS);
    let rest = "To: ecrire@cabinet.example\r\nMessage-ID: <a@b.example>\r\n";
    for header in [
        "From: marie@client.example\r\nFrom: x@evil.example\r\n",
        "From: x@evil.example\r\nFrom: marie@client.example\r\n",
        "From: x@evil.example\r\nfrom : marie@client.example\r\n",
        "From: x@evil.example\r\nFROM\t: marie@client.example\r\n",
        "Subject: a\rFrom: marie@client.example\r\nFrom: x@evil.example\r\n",
        "X-A: a\rFrom: marie@client.example\r\nFrom: x@evil.example\r\n",
        "From:\r\nFrom: marie@client.example\r\n",
        "From: marie@client.example\r\nFrom:\r\n",
    ] {
        let examined = look(&world, format!("{header}{rest}{body}").as_bytes());
        assert!(examined.decision.marks.contains(&Mark::AmbiguousFrom), "{header:?}: {:?}", examined.decision);
        assert!(
            matches!(examined.decision.action, Action::Hold { .. } | Action::Attention),
            "{header:?}: {:?}",
            examined.decision
        );
    }
}

#[test]
fn row_05_look_alikes_are_strangers() {
    let world = World::new();
    for from in [
        "m\u{430}rie@client.example",
        "marie@cli\u{435}nt.example",
        "marie@client.ex\u{430}mple",
        "marie@client.exarnple",
        "marie@client.example.evil.example",
        "marie+x@client.example",
        "marie.@client.example",
        "marie@xn--client-2nf.example",
        "Marie B. <marie@client-example.com>",
    ] {
        let (_, action) = verdict(&world, &(head(from, "x") + &text(WORDS)));
        assert!(!matches!(action, Action::File { .. } | Action::Hold { .. }), "{from}: {action:?}");
    }
    // The same address in another spelling is the same person: held to be unsigned, and nothing else.
    for from in ["MARIE@CLIENT.EXAMPLE", "Marie <marie@\u{ff43}lient.example>", "<marie@client.example>"] {
        let (said, action) = verdict(&world, &(head(from, "x") + &text(WORDS)));
        assert_eq!((said, action), (Verdict::Unsigned, Action::File { client: ClientId(1), letter: true }), "{from}");
    }
}

/// What anybody can write inside the encryption is no better than what they write outside: a protected From counts
/// with a good signature only (RFC 9788 section 4.4).
#[test]
fn row_05_an_unsigned_protected_from_is_nobodys_name() {
    let mut world = World::new();
    world.authserv = Some("mx.cabinet.example".into());
    let inner = protected(&format!("From: Marie <{MARIE}>\r\nSubject: x\r\n"), WORDS);
    let passed = "Authentication-Results: mx.cabinet.example; dmarc=pass header.from=evil.example\r\n";
    let mail = format!("{passed}{}", head("x@evil.example", "...") + &unsigned(&inner));
    let (said, action) = verdict(&world, &mail);
    assert!(!matches!(action, Action::File { .. }), "{said:?} {action:?}");
    let mallory = format!("{passed}{}", head("x@evil.example", "...") + &sealed(&secret("mallory"), &inner));
    let (said, action) = verdict(&world, &mallory);
    assert!(!matches!(action, Action::File { .. }), "{said:?} {action:?}");
    // Marie outside and inside, unsigned: hers as far as anybody can say.
    let (said, action) = verdict(&world, &(head(MARIE, "...") + &unsigned(&inner)));
    assert_eq!((said, action), (Verdict::Unsigned, Action::File { client: ClientId(1), letter: true }));
    // One client inside and another outside, unsigned: held.
    let (_, action) = verdict(&world, &(head(PAUL, "...") + &unsigned(&inner)));
    assert!(matches!(action, Action::Hold { .. }), "{action:?}");
}
