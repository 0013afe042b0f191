//! Nobody but the therapist moves a letter to a client, and never to another one.

mod common;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use common::mail::{encoded, find};
use common::person::bare;
use common::play::{Play, says};
use common::scene::{OFFICE, march};
use common::{Form, Letter, Person};

/// The outer header block of `raw` with these fields instead of its own of the same names.
fn rewritten(raw: &[u8], fields: &[(&str, &str)]) -> Result<Vec<u8>> {
    let end = find(raw, b"\r\n\r\n").context("no header block")?;
    let head = std::str::from_utf8(&raw[..end])?;
    let mut kept = String::new();
    let mut skipping = false;
    for line in head.split("\r\n") {
        if !line.starts_with([' ', '\t']) {
            let name = line.split(':').next().unwrap_or_default();
            skipping = fields.iter().any(|(field, _)| field.eq_ignore_ascii_case(name));
        }
        if !skipping {
            kept.push_str(line);
            kept.push_str("\r\n");
        }
    }
    for (name, value) in fields {
        kept.push_str(&format!("{name}: {value}\r\n"));
    }
    Ok([kept.as_bytes(), &raw[end + 2..]].concat())
}

struct Stage {
    play: Play,
    /// Forwards of Marie's and Paul's letters.
    marie: Vec<u8>,
    paul: Vec<u8>,
}

impl Stage {
    fn new() -> Result<Self> {
        let play = Play::new()?;
        let s = &play.scene;
        let marie = play.forwarded(&s.marie, "De Marie.\n", march(2, 3, 0))?;
        let paul = play.forwarded(&s.paul, "De Paul.\n", march(2, 3, 10))?;
        play.pass(march(2, 6, 0))?;
        Ok(Self { play, marie, paul })
    }

    /// Puts `raw` into the practice's mailbox; nothing reaches a client or waits for one. The words that
    /// the therapist gets, if any.
    fn refused(&self, raw: &[u8], at: DateTime<Utc>) -> Result<Option<String>> {
        let s = &self.play.scene;
        let before = (s.thread(&s.c1)?, s.thread(&s.c2)?);
        s.lab.deliver("dr@exemple.example", OFFICE, raw)?;
        let round = self.play.pass(at)?;
        round.nothing_to(&s.marie)?;
        round.nothing_to(&s.paul)?;
        ensure!((s.thread(&s.c1)?, s.thread(&s.c2)?) == before, "something changed: {}", round.story());
        ensure!(round.counts["failed"] == 0, "{}", round.story());
        let mut told = round.to(&s.therapist).filter(|post| !post.is_routine());
        let text = told.next().map(|post| post.read.text());
        ensure!(told.next().is_none(), "{}", round.story());
        Ok(text)
    }

    fn refused_saying(&self, raw: &[u8], at: DateTime<Utc>, words: &[&str]) -> Result<()> {
        says(&self.refused(raw, at)?.context("nobody was told")?, words)
    }
}

#[test]
fn row_16_what_is_not_surely_the_therapists_reaches_no_client() -> Result<()> {
    let stage = Stage::new()?;
    let s = &stage.play.scene;
    let mallory = Person::persona(&s.lab, "mallory")?;
    mallory.meet(&s.office)?;
    let answer = |n: u32| -> Result<Letter> {
        Ok(s.therapist.reply_to(&stage.marie, &format!("Réponse {n}."))?.at(march(2, n, 0)))
    };
    // Not signed, in both forms.
    let encrypted = s.therapist.write(&answer(7)?.form(Form::Encrypted))?;
    stage.refused_saying(&encrypted, march(2, 7, 1), &["n'est pas signé", "Signez-le"])?;
    let plain = s.therapist.write(&answer(8)?.form(Form::Plain))?;
    stage.refused_saying(&plain, march(2, 8, 1), &["n'est pas signé"])?;
    // Somebody else's key under the therapist's name: unknown, and a client's.
    let forged_from = Some((s.therapist.name.clone(), s.therapist.address.clone()));
    let forged = mallory.write(&Letter { forged_from: forged_from.clone(), ..answer(9)? })?;
    stage.refused_saying(&forged, march(2, 9, 1), &["n'est pas celle que le cabinet connaît"])?;
    // It is the client's key that signed: held in her thread, and the therapist decides.
    s.marie.deliver(&s.lab, &Letter { forged_from, ..answer(10)? })?;
    let round = stage.play.pass(march(2, 10, 1))?;
    round.nothing_to(&s.marie)?;
    round.nothing_to(&s.paul)?;
    says(&round.one(&s.therapist)?.read.text(), &[&s.c1, "H1", "MAUVAIS SIGNATAIRE"])?;
    ensure!(stage.play.states(&s.c1, "reply")?.is_empty());
    // Changed on its way.
    let mut bent = String::from_utf8(s.therapist.write(&answer(11)?.form(Form::Signed))?)?;
    ensure!(bent.contains("ponse 11"));
    bent = bent.replace("ponse 11", "ponse 99");
    stage.refused_saying(bent.as_bytes(), march(2, 11, 1), &["Sa signature n'est pas valable"])?;
    // Meant for somebody else, sealed again to the practice.
    let third = Letter {
        keys: Some(vec![format!("<{OFFICE}>")]),
        ..Letter::new("Inconnue <inconnue@stranger.example>", "Sans code", "Un mot privé.\n").at(march(2, 12, 0))
    };
    stage.refused_saying(&s.therapist.write(&third)?, march(2, 12, 1), &["rien n'est parti"])?;
    let subject = format!("[{}] À propos", s.c1);
    let third = Letter { subject, ..third.at(march(2, 12, 30)) };
    stage.refused_saying(&s.therapist.write(&third)?, march(2, 12, 31), &["ne vise pas le cabinet", "directement"])?;
    // Further recipients.
    let copies = Letter { extra_headers: vec![("Cc".into(), "collegue@autre.example".into())], ..answer(13)? };
    let raw = s.therapist.write(&copies)?;
    stage.refused_saying(&raw, march(2, 13, 1), &["d'autres destinataires", "Retirez-les"])?;
    // No client; two of them; another therapist's, or nobody's.
    let none = Letter::new(OFFICE, "Bonjour", "À qui donc ?\n").at(march(2, 14, 0));
    stage.refused_saying(&s.therapist.write(&none)?, march(2, 14, 1), &["/to C-7K2M", "nomme une personne"])?;
    let both = Letter { subject: format!("Re: [{}] Une lettre", s.c2), ..answer(15)? };
    stage.refused_saying(&s.therapist.write(&both)?, march(2, 15, 1), &["plusieurs personnes", &s.c1, &s.c2])?;
    let nobody = Letter::new(OFFICE, "[C-ZZZZ] Bonjour", "À qui donc ?\n").at(march(2, 15, 30));
    stage.refused_saying(&s.therapist.write(&nobody)?, march(2, 15, 31), &["C-ZZZZ"])?;
    // Signed 25 hours before it was seen.
    let late = s.therapist.write(&answer(16)?)?;
    let at = march(2, 16, 0) + TimeDelta::hours(25);
    let round = stage.play.pass(at)?;
    ensure!(round.counts["released"] == 0, "{}", round.story());
    stage.refused_saying(&late, at, &["signé par vous le", "Réponse 16.", "signé maintenant"])?;
    // The clients' own mail can't command either.
    let order = Letter::new(OFFICE, "Ordre", &format!("/to {}\n\nPar ordre.\n", s.c2)).at(march(3, 18, 0));
    s.marie.deliver(&s.lab, &order)?;
    let round = stage.play.pass(march(3, 18, 0))?;
    round.nothing_to(&s.paul)?;
    says(&round.one(&s.therapist)?.read.text(), &["Par ordre."])?;
    Ok(())
}

#[test]
fn row_26_outer_headers_and_old_mail_turn_no_reply_to_another_client() -> Result<()> {
    let stage = Stage::new()?;
    let (play, s) = (&stage.play, &stage.play.scene);
    let paul = s.therapist.read(&stage.paul)?;
    let id = paul.outer("Message-ID").context("a forward has one")?.to_owned();
    let subject = encoded(&format!("Re: [{}] Une lettre", s.c2));
    let stolen = [("Subject", subject.as_str()), ("References", id.as_str()), ("In-Reply-To", id.as_str())];
    // The mail server rewrites what it can: the protected headers win.
    let for_marie = s.therapist.write(&s.therapist.reply_to(&stage.marie, "Pour Marie seule.")?.at(march(2, 8, 0)))?;
    s.lab.deliver("dr@exemple.example", OFFICE, &rewritten(&for_marie, &stolen)?)?;
    let round = play.pass(march(2, 8, 1))?;
    says(&round.one(&s.therapist)?.read.text(), &[&s.c1, "Pour Marie seule."])?;
    let round = play.pass(march(2, 17, 0))?;
    round.nothing_to(&s.paul)?;
    says(&round.one(&s.marie)?.read.text(), &["Pour Marie seule."])?;
    // The same again, as it is and under other headers: known, silent.
    for (n, raw) in [for_marie.clone(), rewritten(&for_marie, &stolen)?].iter().enumerate() {
        ensure!(stage.refused(raw, march(2, 17, 20 + n as u32))?.is_none(), "a replay was answered");
    }
    // With a new Message-ID.
    let fresh = rewritten(&for_marie, &[("Message-ID", "<neuf@exemple.example>"), stolen[0], stolen[1]])?;
    ensure!(stage.refused(&fresh, march(2, 17, 45))?.is_none(), "a replay was answered");
    play.pass(march(3, 7, 0))?;
    // Without protected headers nothing outside counts: the client isn't named by a signature.
    let bare_reply = Letter {
        protected: false,
        text: "Sans en-têtes protégés.\n".into(),
        ..s.therapist.reply_to(&stage.marie, "")?.at(march(3, 8, 0))
    };
    let raw = s.therapist.write(&bare_reply)?;
    stage.refused_saying(&rewritten(&raw, &stolen)?, march(3, 8, 1), &["nomme une personne", "/to"])?;
    // But a quoted token does.
    let quoted =
        Letter { protected: false, ..s.therapist.reply_to(&stage.marie, "Avec citation.")?.at(march(3, 9, 0)) };
    let raw = rewritten(&s.therapist.write(&quoted)?, &stolen)?;
    s.lab.deliver("dr@exemple.example", OFFICE, &raw)?;
    let round = play.pass(march(3, 9, 1))?;
    says(&round.one(&s.therapist)?.read.text(), &[&s.c1])?;
    // A token against a protected tag is a conflict.
    let mut crossed = s.therapist.reply_to(&stage.marie, "À qui ?")?.at(march(3, 10, 0));
    crossed.subject = format!("Re: [{}] Une lettre", s.c2);
    (crossed.references, crossed.in_reply_to) = (Vec::new(), None);
    stage.refused_saying(&s.therapist.write(&crossed)?, march(3, 10, 1), &["plusieurs personnes"])?;
    // A token that was made up names nobody.
    let text = "Jeton inventé.\n\n> Jeton : AAAA-BBBB-CCCC-DDDD\n";
    let made_up = Letter::new(OFFICE, "Bonjour", text).at(march(3, 11, 0));
    stage.refused_saying(&s.therapist.write(&made_up)?, march(3, 11, 1), &["nomme une personne"])?;
    // Signed but not encrypted: taken, and said.
    let mut clear = s.therapist.reply_to(&stage.paul, "En clair, Paul.")?.at(march(3, 12, 0)).form(Form::Signed);
    clear.protected = true;
    s.therapist.deliver(&s.lab, &clear)?;
    let round = play.pass(march(3, 12, 1))?;
    let told = round.one(&s.therapist)?.read.text();
    says(&told, &[&s.c2, "il a voyagé en clair", "En clair, Paul."])?;
    let round = play.pass(march(3, 17, 0))?;
    says(&round.one(&s.paul)?.read.text(), &["En clair, Paul."])?;
    ensure!(round.one(&s.paul)?.read.decrypted);
    says(&round.one(&s.marie)?.read.text(), &["Avec citation."])?;
    Ok(())
}

#[test]
fn another_therapists_client_is_out_of_reach() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let second = Person::persona(&s.lab, "second")?;
    second.meet(&s.office)?;
    std::fs::write(s.practice.dir.join("second.pgp"), second.certificate()?)?;
    let mut text = std::fs::read_to_string(&s.practice.config)?;
    text.push_str(
        "\n[[therapist]]\nid = \"second\"\nname = \"Dr Second\"\ntitle = \"Psychologue\"\nregister = \"RPPS 2\"\n\
         country = \"FR\"\naddress = \"second@exemple.example\"\ncertificate = \"second.pgp\"\nforward = \"each\"\n",
    );
    std::fs::write(&s.practice.config, text)?;
    let marie = play.forwarded(&s.marie, "De Marie.\n", march(2, 3, 0))?;
    let read = s.therapist.read(&marie)?;
    let id = read.outer("Message-ID").context("a forward has one")?.to_owned();
    let token = read.text();
    let before = s.thread(&s.c1)?;
    let by_tag = Letter::new(OFFICE, &format!("Re: [{}] Une lettre", s.c1), "Par le code.\n");
    let by_command = Letter::new(OFFICE, "Bonjour", &format!("/to {}\n\nPar la commande.\n", s.c1));
    let by_references = Letter { references: vec![id], ..Letter::new(OFFICE, "Bonjour", "Par les références.\n") };
    let quoted: String = token.lines().map(|line| format!("> {line}\n")).collect();
    let by_token = Letter::new(OFFICE, "Bonjour", &format!("Par le jeton.\n\n{quoted}"));
    for (n, letter) in [by_tag, by_command, by_references, by_token].into_iter().enumerate() {
        let at = march(2, 8 + n as u32, 0);
        second.deliver(&s.lab, &letter.at(at))?;
        let round = play.pass(at)?;
        round.nothing_to(&s.marie)?;
        round.nothing_to(&s.paul)?;
        ensure!(s.thread(&s.c1)? == before, "{}", round.story());
        let told = round.to(&second).map(|post| second.read(&post.raw)).collect::<Result<Vec<_>>>()?;
        let refusal = told.iter().find(|mail| mail.subject.contains("refusé")).context("no refusal")?;
        says(&refusal.text(), &["rien n'est parti"])?;
        ensure!(!refusal.text().contains("Marie") && !refusal.text().contains("De Paul"), "{}", refusal.text());
    }
    Ok(())
}

/// Letters and replies of two clients in a fixed, well mixed order: every mail goes to the registered
/// address of the one it is about, and a reply's words to nobody else.
#[test]
fn row_17_interleaved_conversations_never_cross() -> Result<()> {
    let play = Play::new()?;
    let s = &play.scene;
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut draw = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let people = [&s.marie, &s.paul];
    let mut forwards: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
    let mut at = march(2, 1, 0);
    let mut n = 0;
    let mut left = [0, 0];
    while at < march(11, 20, 0) {
        let who = usize::try_from(draw(2))?;
        n += 1;
        let word = format!("mot{who}x{n}");
        match draw(4) {
            0 | 1 => {
                // From the registered address, and sometimes from another one.
                let mut letter = Letter::new(OFFICE, &format!("Lettre {n}"), &format!("{word}.\n")).at(at);
                if draw(3) == 0 {
                    letter.forged_from = Some(("Ailleurs".into(), format!("ailleurs{who}@autre.example")));
                }
                people[who].deliver(&s.lab, &letter)?;
            }
            2 if !forwards[who].is_empty() => {
                let pick = usize::try_from(draw(forwards[who].len() as u64))?;
                s.answer(&forwards[who][pick], &format!("{word} en réponse."), at)?;
            }
            _ if !forwards[who].is_empty() => {
                let command = ["/urgent", "/now"][usize::try_from(draw(2))?];
                let last = forwards[who].last().context("not empty")?;
                s.answer(last, &format!("{command}\n\n{word} hors compte."), at)?;
            }
            _ => {}
        }
        let round = play.pass(at)?;
        for post in &round.posts {
            let owner = people.iter().position(|person| person.address == post.to[0]);
            let text = String::from_utf8_lossy(&post.read.entity).into_owned();
            match owner {
                Some(owner) => {
                    ensure!(bare(post.read.outer("To").unwrap_or_default()) == people[owner].address);
                    ensure!(!text.contains(&format!("mot{}x", 1 - owner)), "crossed: {}", round.story());
                    left[owner] += usize::from(text.contains("mot"));
                }
                None => {
                    ensure!(post.to[0] == s.therapist.address, "{:?} is registered for nobody", post.to);
                    for (owner, code) in [&s.c1, &s.c2].into_iter().enumerate() {
                        if post.read.subject.contains(code.as_str()) && text.contains(&format!("mot{owner}x")) {
                            ensure!(!text.contains(&format!("mot{}x", 1 - owner)), "crossed: {}", round.story());
                            if !post.read.subject.contains("reçu") && !post.read.subject.contains("refusé") {
                                forwards[owner].push(post.raw.clone());
                            }
                        }
                    }
                }
            }
        }
        at += TimeDelta::minutes(i64::try_from(97 + draw(200))?);
    }
    ensure!(left.iter().all(|count| *count >= 5), "too little happened: {left:?}");
    for code in [&s.c1, &s.c2] {
        let thread = s.thread(code)?;
        let mut days = std::collections::BTreeSet::new();
        for message in thread["messages"].as_array().context("messages")? {
            if message["kind"] == "reply" && message["state"] == "sent" {
                let slot: DateTime<Utc> = message["slot"].as_str().context("a slot")?.parse()?;
                ensure!(days.insert(slot.date_naive()), "two replies on {}: {thread:#}", slot.date_naive());
            }
        }
    }
    Ok(())
}
