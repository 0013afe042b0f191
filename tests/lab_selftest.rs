//! Proves the laboratory itself, before anything is concluded from it.

mod common;

use anyhow::{Result, ensure};
use chrono::{DateTime, TimeZone as _, Utc};
use common::lab::{PASSWORD, process_lives, run};
use common::person::Signature;
use common::wire::Imap;
use common::{Answer, Form, Lab, LabOptions, Letter, Namespace, Person, Sink, canary};

const MARIE: &str = "marie@client.example";
const PAUL: &str = "paul@autre.example";

fn monday(hour: u32, minute: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 2, hour, minute, 0).single().expect("a real time")
}

fn two_people(lab: &Lab) -> Result<(Person, Person)> {
    let born = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).single().expect("a real time");
    let marie = Person::generate(lab, "marie", "Marie Exemple", MARIE, born)?;
    let paul = Person::generate(lab, "paul", "Paul Émile", PAUL, born)?;
    marie.meet(&paul)?;
    paul.meet(&marie)?;
    Ok((marie, paul))
}

#[test]
fn a_letter_crosses_postfix_and_dovecot_and_the_servers_end_afterwards() -> Result<()> {
    let lab = Lab::with(LabOptions { tls: true, ..LabOptions::default() })?;
    let (marie, paul) = two_people(&lab)?;
    let letter = Letter::new(PAUL, "Un été à la mer", "Bonjour Paul.\nC'était le canari bleu.\n")
        .attach("photo.bin", "application/octet-stream", &[0, 1, 2, 255])
        .at(monday(6, 30));
    marie.send(&lab, &letter)?;

    let read = paul.wait_read(&lab, 1)?.remove(0);
    ensure!(read.decrypted && read.signed_by(&marie.fingerprint), "{:?}", read.status);
    let signature = Signature { good: true, fingerprint: marie.fingerprint.clone(), made: monday(6, 30) };
    ensure!(read.signature == Some(signature), "{:?}", read.signature);
    ensure!(read.outer("Subject") == Some("..."), "{:?}", read.outer);
    ensure!(read.subject == "Un été à la mer", "{}", read.subject);
    ensure!(read.text().contains("C'était le canari bleu."), "{}", read.text());
    ensure!(read.attachments == [("photo.bin".into(), "application/octet-stream".into(), vec![0, 1, 2, 255])]);
    ensure!(canary(&[&lab.mail_root(), &lab.postfix_log()], &["canari bleu", "été à la mer"])?.is_empty());

    let answer = paul.reply_to(&lab.mails(PAUL, "INBOX")?[0], "Merci.")?;
    ensure!(answer.subject == "Re: Un été à la mer" && answer.text.contains("> C'était le canari bleu."));
    paul.send(&lab, &answer)?;
    let back = marie.wait_read(&lab, 1)?.remove(0);
    ensure!(back.outer("In-Reply-To") == read.outer("Message-ID"), "{:?}", back.outer);

    for (port, starttls) in
        [(lab.imaps_port, None), (lab.imap_port, Some("imap")), (lab.smtps_port, None), (lab.smtp_port, Some("smtp"))]
    {
        tls_handshake(&lab, port, starttls)?;
    }

    let (dir, (dovecot, postfix)) = (lab.dir.clone(), lab.pids());
    let (dovecot, postfix) = (dovecot.expect("Dovecot runs"), postfix.expect("Postfix runs"));
    drop((marie, paul));
    drop(lab);
    ensure!(!process_lives(dovecot) && !process_lives(postfix), "a server outlived the laboratory");
    ensure!(!dir.exists(), "the folder is still there");
    Ok(())
}

fn tls_handshake(lab: &Lab, port: u16, starttls: Option<&str>) -> Result<()> {
    let mut command = std::process::Command::new("openssl");
    command
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-verify_return_error", "-verify_ip", "127.0.0.1"])
        .arg("-CAfile")
        .arg(lab.ca_file());
    if let Some(protocol) = starttls {
        command.args(["-starttls", protocol]);
    }
    let said = run(&mut command)?;
    ensure!(said.contains("Verify return code: 0"), "port {port}: {said}");
    Ok(())
}

#[test]
fn every_form_of_letter_is_read_by_its_recipient() -> Result<()> {
    let lab = Lab::light()?;
    let (marie, paul) = two_people(&lab)?;
    let forms = [
        (Form::Plain, false, false),
        (Form::Signed, false, true),
        (Form::Encrypted, true, false),
        (Form::SignedEncrypted, true, true),
        (Form::SignedThenEncrypted, true, true),
        (Form::Inline, true, true),
        (Form::InlineSigned, false, true),
    ];
    for (number, (form, decrypted, signed)) in forms.into_iter().enumerate() {
        let letter = Letter::new(PAUL, "Sujet", "Première ligne\n.\n-- fin\nFrom moi").form(form).at(monday(6, 30));
        marie.send(&lab, &letter)?;
        let read = paul.wait_read(&lab, number + 1)?.remove(number);
        ensure!(read.decrypted == decrypted, "{form:?} {:?}", read.status);
        ensure!(read.signed_by(&marie.fingerprint) == signed, "{form:?} {:?}", read.status);
        ensure!(read.text().replace("\r\n", "\n").contains("Première ligne\n.\n"), "{form:?} {:?}", read.texts);
        ensure!(read.subject == "Sujet", "{form:?} {}", read.subject);
    }
    let mut raw = marie.write(&Letter::new(PAUL, "Sujet", "Bonjour").form(Form::Signed))?;
    let at = common::mail::find(&raw, b"onjour").expect("the text");
    raw[at] = b'O';
    ensure!(!paul.read(&raw)?.signed_by(&marie.fingerprint), "a changed text can't verify");
    Ok(())
}

#[test]
fn dovecot_speaks_both_namespaces_and_comes_back_with_its_mail() -> Result<()> {
    for namespace in [Namespace::Slash, Namespace::InboxDot] {
        let lab = Lab::with(LabOptions { namespace, smtp: common::Smtp::None, ..LabOptions::default() })?;
        lab.deliver("", "ecrire+C-7K2M@cabinet.example", b"Subject: un\r\n\r\nun\r\n")?;
        let folder = lab.folder(&["Cadre", "Attention"]);
        let mut imap = lab.imap("ecrire@cabinet.example")?;
        imap.command(&format!("CREATE \"{folder}\""))?;
        imap.append(&folder, b"Subject: deux\r\n\r\ndeux\r\n", Some("02-Mar-2026 06:30:00 +0000"))?;
        lab.stop_imap()?;
        ensure!(Imap::connect(lab.imap_port).is_err(), "a stopped server answers");
        lab.start_imap()?;
        let census = lab.census("ecrire@cabinet.example")?;
        for wanted in [("INBOX".to_owned(), 1), (folder, 1), (lab.folder(&["Junk"]), 0)] {
            ensure!(census.contains(&wanted), "{wanted:?} in {census:?}");
        }
        ensure!(Imap::connect(lab.imap_port)?.login("ecrire@cabinet.example", "faux").is_err());
        ensure!(!PASSWORD.is_empty());
    }
    Ok(())
}

#[test]
fn the_listener_answers_as_scripted_and_remembers_what_it_took() -> Result<()> {
    let sink = Sink::start()?;
    sink.script([
        Answer::AfterDot("451 4.3.0 later".into()),
        Answer::AtMail("550 5.7.1 no".into()),
        Answer::AtRcpt("550 5.1.1 unknown".into()),
        Answer::CutAfterDot,
        Answer::CutAtData,
        Answer::CutAtOnce,
    ]);
    let send = || common::wire::smtp_send(sink.port, "", &[PAUL], b"Subject: x\r\n\r\n.dot\r\n");
    for _ in 0..6 {
        ensure!(send().is_err());
    }
    send()?;
    let mails = sink.mails();
    ensure!(mails.iter().map(|m| m.acknowledged).collect::<Vec<_>>() == [false, true], "{mails:?}");
    ensure!(mails[1].data == b"Subject: x\r\n\r\n.dot\r\n");
    ensure!(sink.connections() == 7);
    Ok(())
}

#[test]
fn the_canary_sings_in_every_disguise() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let word = "Secret d'Élise";
    let utf16: Vec<u8> = word.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let disguises: [(&str, Vec<u8>); 7] = [
        ("plain", word.to_uppercase().into_bytes()),
        ("wide", utf16),
        ("b0", common::mail::base64_lines(word.as_bytes()).into_bytes()),
        ("b1", common::mail::base64_lines(format!("x{word}y").as_bytes()).into_bytes()),
        ("b2", common::mail::base64_lines(format!("{}{word}yz", "x".repeat(50)).as_bytes()).into_bytes()),
        ("qp", common::mail::quoted_printable(word).into_bytes()),
        ("clean", b"nothing to see".to_vec()),
    ];
    for (name, bytes) in &disguises {
        std::fs::write(dir.path().join(name), bytes)?;
    }
    std::fs::create_dir(dir.path().join(word))?;
    let found = canary(&[dir.path()], &[word])?;
    let mut files: Vec<_> = found.iter().filter_map(|f| Some(f.file.file_name()?.to_str()?.to_owned())).collect();
    files.sort();
    files.dedup();
    ensure!(files == [word, "b0", "b1", "b2", "plain", "qp", "wide"], "{files:?}");
    Ok(())
}

#[test]
fn a_program_of_the_practice_lives_at_the_time_it_is_told() -> Result<()> {
    let lab = Lab::with(LabOptions { smtp: common::Smtp::None, ..LabOptions::default() })?;
    let (office, therapist) = two_people(&lab)?;
    let date = std::path::Path::new("/bin/date");
    let practice = common::Practice::write(&lab, date, &office, &therapist, &common::PracticeOptions::default())?;
    let said = practice.run_at(monday(8, 0), &["+%F %H"])?.expect_ok()?;
    ensure!(said.trim() == "2026-03-02 08", "{said}");
    practice.set("rhythm.second", "\"hold\"")?;
    practice.set("therapist.0.forward", "\"each\"")?;
    practice.set("operator.address", "\"ops@cabinet.example\"")?;
    let written: toml_edit::DocumentMut = std::fs::read_to_string(&practice.config)?.parse()?;
    ensure!(written["rhythm"]["second"].as_str() == Some("hold"));
    ensure!(written["therapist"][0]["forward"].as_str() == Some("each"));
    ensure!(written["operator"]["address"].as_str() == Some("ops@cabinet.example"));
    Ok(())
}
