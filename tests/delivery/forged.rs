//! Anybody can write a notice: without our id and that recipient it changes nothing but a line of the journal.

use anyhow::{Result, ensure};

use crate::common::play::Play;
use crate::common::scene::{OFFICE, march};
use crate::stage::{id_of, journal, notice, put, replied};

#[test]
fn a_forged_notice_changes_nothing_but_a_line_of_the_journal() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let (id, forward) = replied(&play)?;
    let forward_id = id_of(&forward)?;
    let marie = s.marie.address.as_str();
    let before = s.thread(&s.c1)?;
    let mut lines = 0;
    let last = id.chars().next_back().map_or('0', |sign| if sign == 'e' { 'f' } else { 'e' });
    let altered = format!("{}{last}", &id[..id.len() - 1]);
    let random = format!("{}@cabinet.example", "0123456789abcdef".repeat(2));
    let tail = id.split('@').next().unwrap_or_default()[1..].to_owned() + "@cabinet.example";
    for (what, name, id, to) in [
        ("an id that was never given", "postfix-failed", random.as_str(), marie),
        ("another domain", "postfix-failed", altered.as_str(), marie),
        ("most of an id", "qmail", tail.as_str(), marie),
        ("another client", "postfix-failed", id.as_str(), s.paul.address.as_str()),
        ("another address of hers", "gmail-report", id.as_str(), "marie.autre@client.example"),
        ("her address as a part of another", "qmail", id.as_str(), &format!("x{marie}")),
        ("another domain that begins like hers", "exim-text", id.as_str(), &format!("{marie}.evil.example")),
        ("the therapist's mail, with her address", "postfix-failed", forward_id.as_str(), marie),
        ("her letter's own id", "sendmail-failed", "lettre@client.example", marie),
        ("a delay of another's", "postfix-delayed", id.as_str(), s.paul.address.as_str()),
        ("an arrival at another's", "postfix-delivered", id.as_str(), s.paul.address.as_str()),
    ] {
        let round = put(&play, &notice(name, id, to)?, march(2, 18, lines))?;
        ensure!(round.posts.is_empty(), "{what}: {}", round.story());
        ensure!(s.thread(&s.c1)? == before, "{what}: {:#}", s.thread(&s.c1)?);
        lines += 1;
        let ignored = journal(&play, "notice-ignored")?;
        ensure!(ignored.len() == lines as usize, "{what}: {ignored:#?}");
    }
    ensure!(journal(&play, "returned")?.is_empty() && journal(&play, "notice")?.is_empty());
    // Persons who write of notices are strangers, and no notice comes of it.
    s.lab.deliver("ami@autre.example", OFFICE, &notice("person", &id, marie)?)?;
    let round = play.pass(march(2, 19, 0))?;
    ensure!(s.thread(&s.c1)? == before && journal(&play, "returned")?.is_empty(), "{}", round.story());
    // Her own letter that quotes one is a letter.
    let quoted = String::from_utf8(notice("qmail", &id, marie)?)?;
    play.letter(&s.marie, &format!("J'ai reçu ceci :\n\n{quoted}"), march(2, 20, 0))?;
    ensure!(play.states(&s.c1, "reply")? == ["sent"] && play.turn(&s.c1)?["state"] == "open");
    ensure!(journal(&play, "notice-ignored")?.len() == lines as usize);
    ids_are_random_and_name_nobody(&play, &id, &forward)
}

/// The id is not to be guessed, and shows nothing: 128 random bits.
fn ids_are_random_and_name_nobody(play: &Play, id: &str, forward: &[u8]) -> Result<()> {
    let s = &play.scene;
    let mut seen = std::collections::BTreeSet::new();
    for mail in play.sink().mails() {
        let id = id_of(&mail.data)?;
        let (local, domain) = id.split_once('@').expect("an id");
        ensure!(domain == "cabinet.example" && local.len() == 32, "{id}");
        ensure!(local.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        seen.insert(id);
    }
    ensure!(seen.contains(id) && seen.contains(&id_of(forward)?) && seen.len() == play.sink().mails().len());
    ensure!(!s.thread(&s.c1)?.to_string().contains(id));
    Ok(())
}
