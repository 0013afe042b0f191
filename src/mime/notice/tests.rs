use std::path::Path;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef@cabinet.example";
const TO: &str = "marie+lettres@client.example";

/// The project's own samples, filled in: name, what they are, bytes.
fn samples() -> Vec<(String, String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/delivery");
    let table = std::fs::read_to_string(folder.join("CASES.tsv")).unwrap();
    let cases = table.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split('\t').collect();
        let raw = std::fs::read_to_string(folder.join(cells[0])).unwrap();
        (cells[0].to_owned(), cells[1].to_owned(), filled(&raw))
    });
    cases.collect()
}

fn filled(raw: &str) -> Vec<u8> {
    let raw = raw
        .replace("@ENVID@", ID.split('@').next().unwrap())
        .replace("@ID@", ID)
        .replace("@TOX@", &TO.replace('+', "+2B"))
        .replace("@TOQ@", TO)
        .replace("@TO@", TO)
        .replace("@PRACTICE@", "ecrire@cabinet.example");
    raw.replace('\n', "\r\n").into_bytes()
}

fn read_raw(raw: &[u8]) -> Option<Notice> {
    notice(raw, &Limits::default()).unwrap()
}

#[test]
fn notices_of_many_mail_systems_are_told_apart() {
    let samples = samples();
    assert!(samples.len() > 40, "{}", samples.len());
    let to = Address::parse(TO).unwrap();
    let mut wrong = Vec::new();
    for (name, fate, raw) in samples {
        let found = read_raw(&raw);
        let said = found.as_ref().map_or("none", |notice| notice.fate.as_str());
        if said != fate {
            wrong.push(format!("{name}: {said}, not {fate}: {found:?}"));
            continue;
        }
        let Some(found) = found else { continue };
        let named = found.ids.contains(&ID.to_owned()) || found.envid.as_deref() == ID.split('@').next();
        if !named || found.fate_of(&to).map(Fate::as_str) != Some(fate.as_str()) {
            wrong.push(format!("{name}: {:?} {:?} {:?}", found.ids, found.envid, found.recipients.len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_part_of_a_sample_makes_a_panic_and_none_is_long() {
    for (_, _, raw) in samples() {
        for cut in (0..raw.len()).step_by(7) {
            let _ = read_raw(&raw[..cut]);
            let _ = read_raw(&raw[cut..]);
        }
    }
}

#[test]
fn each_recipient_has_a_fate_of_their_own() {
    let raw = "Return-Path: <>\r\nFrom: MAILER-DAEMON@x.example\r\nContent-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\
        Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x.example\r\n\r\n\
        Final-Recipient: rfc822; paul@y.example\r\nAction: delayed\r\nStatus: 4.4.1\r\n\r\n\
        Final-Recipient: rfc822; marie@y.example\r\nAction: Failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n";
    let found = read_raw(raw.as_bytes()).unwrap();
    let fate = |address: &str| found.fate_of(&Address::parse(address).unwrap());
    assert_eq!((fate("marie@y.example"), fate("paul@Y.example")), (Some(Fate::Failed), Some(Fate::Delayed)));
    assert_eq!((fate("eve@y.example"), found.fate, found.status.as_deref()), (None, Fate::Failed, Some("5.1.1")));
}

/// The copy below shows who the mail was for: that is no word of who didn't get it.
#[test]
fn an_address_of_the_returned_copy_is_no_recipient_where_another_is_named() {
    let raw = filled(
        "Return-Path: <>\nFrom: MAILER-DAEMON@x.example\nSubject: failure notice\n\n<eve@evil.example>:\nuser unknown\n\n\
         --- Below this line is a copy of the message.\n\nReceived: from a\nFrom: <@PRACTICE@>\nTo: <@TO@>\nMessage-ID: <@ID@>\n",
    );
    let found = read_raw(&raw).unwrap();
    assert_eq!(found.fate_of(&Address::parse(TO).unwrap()), None);
    assert_eq!(found.fate_of(&Address::parse("eve@evil.example").unwrap()), Some(Fate::Failed));
    assert_eq!(found.ids, [ID]);
}

#[test]
fn words_without_a_machine_are_a_persons() {
    for header in ["", "Auto-Submitted: no\n", "auto-submitted: No\n", "Return-Path: <ami@autre.example>\n"] {
        let raw = filled(&format!(
            "{header}From: ami@autre.example\nSubject: Undelivered Mail Returned to Sender\n\nyour message could not be delivered to @TO@\n"
        ));
        assert_eq!(read_raw(&raw), None, "{header}");
    }
}

#[test]
fn phrases_are_told_apart_in_their_languages() {
    for (text, fate) in [
        ("Votre message n’a pas pu être remis", Fate::Failed),
        ("La remise de votre message a été retardée ; de nouvelles tentatives auront lieu", Fate::Delayed),
        ("Die Zustellung ist fehlgeschlagen.", Fate::Failed),
        ("Ihre Nachricht konnte noch nicht zugestellt werden", Fate::Delayed),
        ("L'adresse n'existe pas", Fate::Failed),
        ("The following message has been delayed. It is not a permanent error.", Fate::Delayed),
        ("This is a permanent error; we will not retry. It was delayed before.", Fate::Failed),
        ("Message could not be delivered for 5 days", Fate::Failed),
        ("Your message was successfully relayed", Fate::Relayed),
        ("Your message was not successfully delivered", Fate::Failed),
        ("host said: 550 5.1.1 nobody", Fate::Failed),
        ("host said: 451 4.7.1 greylisted", Fate::Delayed),
        ("メールは配信できませんでした。", Fate::Failed),
        ("Сообщение не может быть доставлено", Fate::Failed),
    ] {
        assert_eq!(fate_of_text(&fold(text)), Some(fate), "{text}");
    }
    for text in ["", "Je suis en congé.", "Bonjour, j'ai bien reçu.", "Room 550 is ready", "192.5.4.1"] {
        assert_eq!(fate_of_text(&fold(text)), None, "{text}");
    }
}

#[test]
fn a_notice_of_any_size_is_bounded() {
    let mut raw = b"Return-Path: <>\r\nFrom: MAILER-DAEMON@x.example\r\n\r\ncould not be delivered\r\n".to_vec();
    raw.extend_from_slice(&b"<a1234567890123456789012@b.example> Message-ID: <x@y>\r\n".repeat(100_000));
    let found = read_raw(&raw).unwrap();
    assert!(found.ids.len() <= MOST && found.recipients.len() <= MOST);
}
