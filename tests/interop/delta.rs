//! A real Delta Chat core as a patient, over Dovecot and SMTP.
//!
//! It is linked statically and so lives in the machine's own time. Cadre's clock is turned instead: a letter may be
//! dated up to half an hour ahead (SPEC section 3), and a reply leaves at once within two hours after its slot.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cadre::domain::code_words::words;
use cadre::model::Language;
use cadre::pgp::Certificate;
use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use serde_json::{Value, json};

use super::stage::Stage;
use super::world::{Key, World};
use crate::common::lab::{PASSWORD, PATIENCE, wait};
use crate::common::mail::nonce;
use crate::common::scene::OFFICE;
use crate::common::{Caught, Lab, Letter, PracticeOptions};

const ADDRESS: &str = "delta@client.example";

/// `deltachat-rpc-server` with one account. Dropping it ends it.
pub struct Core {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    account: u64,
    number: u64,
}

impl Core {
    pub fn start(world: &World, lab: &Lab, address: &str) -> Result<Self> {
        let home = world.home("delta")?;
        let mut child = Command::new(world.peers.join("py/bin/deltachat-rpc-server"))
            .env("DC_ACCOUNTS_PATH", home.join("accounts"))
            .env("HOME", &home)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(home.join("log"))?)
            .spawn()
            .context("deltachat-rpc-server can't be started: tests/peers/install.sh installs it")?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut core = Self { child, stdin, stdout, account: 0, number: 0 };
        core.account = core.call("add_account", json!([]))?.as_u64().context("no account")?;
        let account = core.account;
        let login = json!({
            "addr": address, "password": PASSWORD, "imapUser": address, "smtpUser": address,
            "imapServer": "127.0.0.1", "imapPort": lab.imap_port, "imapSecurity": "plain",
            "smtpServer": "127.0.0.1", "smtpPort": lab.smtp_port, "smtpSecurity": "plain",
        });
        core.call("add_or_update_transport", json!([account, login]))?;
        Ok(core)
    }

    /// One request. Answers of others, were there any, would come first; there are none.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.number += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.number, "method": method, "params": params });
        writeln!(self.stdin, "{request}")?;
        self.stdin.flush()?;
        loop {
            let mut line = String::new();
            ensure!(self.stdout.read_line(&mut line)? > 0, "the Delta Chat core ended");
            let answer: Value = serde_json::from_str(&line)?;
            if answer["id"] != self.number {
                continue;
            }
            if !answer["error"].is_null() {
                bail!("{method}: {}", answer["error"]);
            }
            return Ok(answer["result"].clone());
        }
    }

    /// Its own certificate, as it hands it to others.
    pub fn certificate(&mut self) -> Result<Vec<u8>> {
        // Contact 1 is oneself.
        let card = self.call("make_vcard", json!([self.account, [1]]))?;
        let card = card.as_str().context("no vCard")?.replace("\r\n ", "").replace("\\,", ",");
        let key = card
            .lines()
            .find_map(|line| line.split_once("base64,"))
            .with_context(|| format!("no key in the vCard {card}"))?
            .1;
        Ok(Certificate::from_bytes(&STANDARD.decode(key.trim())?)?.to_armored().into_bytes())
    }

    /// Takes somebody's certificate by vCard; the chat with them.
    pub fn meet(&mut self, address: &str, certificate: &[u8]) -> Result<u64> {
        let key = STANDARD.encode(Certificate::from_bytes(certificate)?.to_bytes());
        let card = format!(
            "BEGIN:VCARD\r\nVERSION:4.0\r\nEMAIL:{address}\r\nFN:Cabinet Exemple\r\n\
             KEY:data:application/pgp-keys;base64,{key}\r\nEND:VCARD\r\n"
        );
        let account = self.account;
        let contacts = self.call("import_vcard_contents", json!([account, card]))?;
        let chat = self.call("create_chat_by_contact_id", json!([account, contacts[0]]))?;
        chat.as_u64().context("no chat")
    }

    /// Begins to watch the mailbox and to send, and waits until it watches: what comes before is old mail to it.
    pub fn start_io(&mut self) -> Result<()> {
        self.call("start_io", json!([self.account]))?;
        wait("Delta Chat to watch its mailbox", PATIENCE, || {
            let event = self.call("get_next_event", json!([]))?;
            Ok((event["event"]["kind"] == "ImapInboxIdle").then_some(()))
        })
    }

    pub fn send(&mut self, chat: u64, text: &str, file: Option<&Path>) -> Result<()> {
        let account = self.account;
        self.start_io()?;
        let mut data = json!({ "text": text });
        if let Some(file) = file {
            data["file"] = json!(file.display().to_string());
            data["viewtype"] = json!("File");
        }
        self.call("send_msg", json!([account, chat, data])).map(drop)
    }

    /// Waits for a message whose text has these words.
    pub fn wait_message(&mut self, words: &str) -> Result<Value> {
        let account = self.account;
        wait(&format!("{words:?} in Delta Chat"), PATIENCE, || {
            let next = self.call("get_next_msgs", json!([account]))?;
            for id in next.as_array().cloned().unwrap_or_default() {
                let message = self.call("get_message", json!([account, id]))?;
                if message["text"].as_str().is_some_and(|text| text.contains(words)) {
                    return Ok(Some(message));
                }
            }
            Ok(None)
        })
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A practice whose one slot of the day was ten minutes ago, in a zone where it is noon or so: no midnight is near.
pub fn slot_just_now(now: DateTime<Utc>) -> Result<Stage> {
    let ahead = 12 - i64::from(now.hour());
    let zone = match ahead {
        0 => "Etc/UTC".to_owned(),
        east if east > 0 => format!("Etc/GMT-{east}"),
        west => format!("Etc/GMT+{}", -west),
    };
    let slot = now + TimeDelta::hours(ahead) - TimeDelta::minutes(10);
    let release = format!("0 {} {} * * *", slot.minute(), slot.hour());
    let options = PracticeOptions { forward: "each".into(), timezone: zone, release, ..PracticeOptions::default() };
    let stage = Stage::new(Lab::light()?, now, &options)?;
    stage.practice.set("rhythm.cutoff", &format!("\"{:02}:{:02}\"", slot.hour(), slot.minute()))?;
    // A country whose holidays aren't known has none: this works on Christmas, too.
    stage.practice.set("practice.country", "\"LU\"")?;
    Ok(stage)
}

#[test]
fn a_delta_chat_core_writes_as_a_client_and_reads_the_reply() -> Result<()> {
    let now = Utc::now();
    let stage = slot_just_now(now)?;
    let mut core = Core::start(&stage.world, &stage.lab, ADDRESS)?;
    let key = Key::new(&stage.world, "delta", ADDRESS, Vec::new(), core.certificate()?)?;
    let code = stage.enrol(&key)?;
    let chat = core.meet(OFFICE, &stage.office.certificate)?;

    let token = nonce();
    let text = format!("Bonjour, la marée monte à l'heure ({token}).\n\nÀ bientôt");
    let shells = format!("des coquillages\r\n{token}\r\n").repeat(90);
    let file = stage.world.dir.join("coquillages.txt");
    fs::write(&file, &shells)?;
    core.send(chat, &text, Some(&file))?;
    stage.lab.wait_mails(OFFICE, "INBOX", 1)?;

    let arrived = now - TimeDelta::minutes(20);
    stage.practice.once(arrived)?;
    ensure!(stage.verdicts(&code)? == ["verified filed"], "{:?}", stage.verdicts(&code)?);
    let mails = stage.mails();
    let dr = stage.therapist.address.clone();
    // On a working day there is a digest as well; a forward comes from the client's code.
    let is_forward = |mail: &&Caught| mail.to == [dr.clone()] && String::from_utf8_lossy(&mail.data).contains(&code);
    let forward = mails.iter().find(is_forward).context("no forward")?;
    stage.world.set_time(Utc::now());
    let page = stage.therapist_reads(&forward.data)?;
    ensure!(page.text.contains(&token) && page.text.contains("la marée monte"), "{}", page.text);
    ensure!(page.files.iter().any(|(_, bytes)| bytes == shells.as_bytes()), "the file isn't intact: {:?}", page.files);

    stage.answer(&forward.data, "Les coquillages sont bien arrivés.", ("galet.txt", b"gris\r\n"), arrived)?;
    let counts = stage.practice.once(Utc::now())?;
    ensure!(counts["released"] == 1, "{counts}");
    let reply = core.wait_message("Les coquillages sont bien arrivés.")?;
    ensure!(reply["showPadlock"] == true, "no padlock: {reply:#}");
    ensure!(reply["error"].is_null() && reply["chatId"] == chat, "{reply:#}");
    let got = fs::read(reply["file"].as_str().context("no file came")?)?;
    ensure!(got == b"gris\r\n", "the reply's file isn't intact: {got:?}");
    Ok(())
}

#[test]
fn a_delta_chat_core_is_enrolled_by_mail() -> Result<()> {
    let now = Utc::now();
    let stage = slot_just_now(now)?;
    let mut core = Core::start(&stage.world, &stage.lab, ADDRESS)?;
    let account = core.account;
    // Since 2026 a new profile shows no mail in clear, invitations included, unless its owner allows it.
    core.call("set_config", json!([account, "force_encryption", "0"]))?;
    core.start_io()?;
    let minute = |n: i64| now - TimeDelta::minutes(25 - n);
    let pass = |at: DateTime<Utc>| -> Result<Vec<Caught>> {
        let before = stage.mails().len();
        stage.practice.once(at)?;
        Ok(stage.mails().split_off(before))
    };

    // Invited: in clear, with the practice's key.
    let invite = Letter::new(OFFICE, "Cadre", &format!("/invite {ADDRESS} fr")).at(minute(0));
    stage.therapist.deliver(&stage.lab, &invite)?;
    pass(minute(0))?;
    let invitation = core.wait_message("Une correspondance vous est proposée")?;
    let chat = invitation["chatId"].clone();
    core.call("accept_chat", json!([account, chat]))?;
    // It answers in clear and unsigned, with its key in Autocrypt: enough to be compared by voice.
    core.call("send_msg", json!([account, chat, { "text": "Oui, volontiers." }]))?;
    stage.lab.wait_mails(OFFICE, "INBOX", 1)?;
    stage.world.set_time(minute(2));
    let mails = pass(minute(2))?;
    let offered = told(&stage, &mails, "/key accept ")?;
    let text = stage.therapist_reads(&offered)?.text;
    let order = text.lines().find(|line| line.trim_start().starts_with("/key accept ")).context("no order")?.trim();
    let fingerprint = Certificate::from_bytes(&core.certificate()?)?.fingerprint();
    let own = words(&fingerprint, &stage.office.fingerprint, Language::Fr).join(" ");
    ensure!(order == format!("/key accept {own}"), "{order} {own}");

    // Compared and accepted: the frame is sealed to it, and it shows a padlock. Consent comes back verified.
    let accept = stage.therapist.reply_to(&offered, order)?.at(minute(4));
    stage.therapist.deliver(&stage.lab, &accept)?;
    pass(minute(4))?;
    let frame = core.wait_message("Les clés ont été comparées")?;
    // It shows the beginning of so long a letter, and the rest on request.
    let rest = core.call("get_message_html", json!([account, frame["id"]]))?;
    ensure!(format!("{} {rest}", frame["text"]).contains("ACCEPTE"), "{frame:#} {rest}");
    ensure!(frame["showPadlock"] == true && frame["error"].is_null(), "{frame:#}");
    let chat = frame["chatId"].clone();
    core.call("accept_chat", json!([account, chat]))?;
    core.call("send_msg", json!([account, chat, { "text": "J'accepte", "quotedMessageId": frame["id"] }]))?;
    stage.lab.wait_mails(OFFICE, "INBOX", 1)?;
    pass(minute(6))?;
    let clients = stage.practice.json(&["client", "list"])?;
    ensure!(clients[0]["state"] == "assessment", "{clients:#}");
    let code = clients[0]["code"].as_str().context("no code")?;
    ensure!(stage.verdicts(code)?.last().is_some_and(|v| v.starts_with("verified")), "{:?}", stage.verdicts(code)?);
    let recorded = core.wait_message("accord")?;
    ensure!(recorded["showPadlock"] == true && recorded["chatId"] == chat, "{recorded:#}");
    Ok(())
}

/// The therapist's mail of a pass whose text has these words.
fn told(stage: &Stage, mails: &[Caught], words: &str) -> Result<Vec<u8>> {
    for mail in mails.iter().filter(|mail| mail.to == [stage.therapist.address.clone()]) {
        if stage.therapist_reads(&mail.data)?.text.contains(words) {
            return Ok(mail.data.clone());
        }
    }
    bail!("the therapist isn't told {words:?}")
}
