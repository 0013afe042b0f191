//! A real Postfix takes a reply, can't deliver it, and says so in its own words.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context as _, Result, ensure};

use crate::common::lab::{PATIENCE, is_root, wait};
use crate::common::play::says;
use crate::common::scene::{OFFICE, Scene, march};
use crate::common::{Lab, LabOptions, PracticeOptions};

/// A mailbox that takes no more (RFC 2033).
fn full_mailbox(mut stream: TcpStream) -> std::io::Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"220 mx.client.example LMTP\r\n")?;
    for line in lines {
        let word = line?.get(..4).unwrap_or_default().to_ascii_uppercase();
        let answer: &[u8] = match word.as_str() {
            "LHLO" => b"250-mx.client.example\r\n250 ENHANCEDSTATUSCODES\r\n",
            "RCPT" => b"552 5.2.2 mailbox full\r\n",
            "DATA" => b"503 5.5.1 no recipients\r\n",
            "QUIT" => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        stream.write_all(answer)?;
    }
    Ok(())
}

#[test]
fn a_real_mail_server_returns_a_reply_with_its_envelope_id() -> Result<()> {
    if !is_root() {
        eprintln!("skipped: Postfix needs root");
        return Ok(());
    }
    let full = TcpListener::bind("127.0.0.1:0")?;
    let returns =
        format!("transport_maps = inline:{{marie@client.example=lmtp:inet:127.0.0.1:{}}}", full.local_addr()?.port());
    std::thread::spawn(move || full.incoming().flatten().for_each(|stream| drop(full_mailbox(stream))));
    let lab = Lab::with(LabOptions { postfix_extra: returns, ..LabOptions::default() })?;
    let options = PracticeOptions { forward: "each".into(), ..PracticeOptions::default() };
    let s = Scene::with(lab, options)?;
    s.letter(&s.marie, "Une lettre", "Bonjour.\n", march(1, 22, 10))?;
    s.practice.once(march(1, 22, 10))?;
    wait("the forward", PATIENCE, || Ok((!s.therapist.mailbox(&s.lab)?.is_empty()).then_some(())))?;
    let (forward, _) = s.forward(&s.c1)?;
    s.answer(&forward, "Voici ma réponse.", march(2, 8, 0))?;
    s.practice.once(march(2, 8, 0))?;
    let counts = s.practice.once(march(2, 17, 0))?;
    ensure!(counts["released"] == 1, "{counts}");
    let notices = wait("Postfix's notice", PATIENCE, || {
        let all = s.lab.mails(OFFICE, "INBOX")?;
        Ok((!all.is_empty()).then_some(all))
    })?;
    let text = String::from_utf8_lossy(&notices[0]).into_owned();
    // It was asked for: the header alone comes back, with an id that names nobody.
    ensure!(text.contains("Original-Envelope-Id:") && !text.contains("BEGIN PGP MESSAGE"), "{text}");
    s.practice.once(march(2, 17, 5))?;
    let thread = s.thread(&s.c1)?;
    let reply = thread["messages"].as_array().and_then(|all| all.iter().find(|m| m["kind"] == "reply")).cloned();
    ensure!(reply.context("a reply")?["state"] == "failed" && thread["turn"]["state"] == "open", "{thread:#}");
    let told = wait("what the therapist is told", PATIENCE, || {
        let all = s.mails(&s.therapist)?;
        Ok(all.into_iter().find(|mail| mail.subject.contains("non reçu")))
    })?;
    says(&told.text(), &[&s.c1, "n'a pas reçu la réponse du lundi 2 mars", "la boîte est pleine"])?;
    Ok(())
}
