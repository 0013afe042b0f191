//! Other programs on the same messages: what people file encrypted mail with today. None does all of what Cadre does;
//! `does` says what each does.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::common::Lab;
use crate::common::lab::{PASSWORD, PATIENCE, run, wait};
use crate::common::scene::OFFICE;
use crate::own::put;
use crate::world::World;

/// A peer's figure, or why there is none.
pub struct Peer {
    pub name: &'static str,
    pub does: &'static str,
    pub a_second: Result<f64, String>,
}

/// All peers, one after the other, each on a laboratory of its own.
pub fn all(world: &World, letters: &[Vec<u8>]) -> Vec<Peer> {
    let part = |most: usize| &letters[..letters.len().min(most)];
    let measured = |name, does, rate: Result<f64>| Peer { name, does, a_second: rate.map_err(|e| format!("{e:#}")) };
    vec![
        measured("mbsync + notmuch", "fetches, decrypts, indexes", notmuch(world, part(1000))),
        measured("Delta Chat core", "fetches, decrypts, verifies, stores", delta(world, part(300))),
        measured("Schleuder", "decrypts, verifies, seals, sends; no fetching", schleuder(world, part(5))),
    ]
}

fn installed(program: &str) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    ensure!(there, "{program} isn't installed (benches/peers/install.sh)");
    Ok(())
}

fn mailbox(letters: &[Vec<u8>]) -> Result<Lab> {
    let lab = Lab::light()?;
    put(&lab, letters)?;
    Ok(lab)
}

/// A home of GnuPG's with the practice's key and the writers' certificates.
fn gnupg(world: &World, home: &Path) -> Result<()> {
    fs::create_dir_all(home)?;
    fs::set_permissions(home, fs::Permissions::from_mode(0o700))?;
    let import = |bytes: &[u8]| -> Result<()> {
        let mut gpg = Command::new("gpg");
        gpg.arg("--homedir").arg(home).args(["--batch", "--quiet", "--import"]);
        let mut child = gpg.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        child.stdin.take().context("no standard input")?.write_all(bytes)?;
        ensure!(child.wait()?.success(), "gpg --import failed");
        Ok(())
    };
    import(&world.office_secret)?;
    let all: Vec<u8> = world.writers.iter().flat_map(|writer| writer.key.certificate().to_bytes()).collect();
    import(&all)
}

/// Ends the agent that GnuPG started for a home.
struct Agent(PathBuf);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(&self.0).args(["--kill", "all"]).status();
    }
}

/// `mbsync` fetches into a Maildir, `notmuch new` decrypts with GnuPG and indexes.
fn notmuch(world: &World, letters: &[Vec<u8>]) -> Result<f64> {
    installed("mbsync")?;
    installed("notmuch")?;
    let lab = mailbox(letters)?;
    let home = lab.dir.join("n");
    let keys = home.join("gnupg");
    gnupg(world, &keys)?;
    let _agent = Agent(keys.clone());
    fs::create_dir_all(home.join("mail"))?;
    let (at, port) = (home.display().to_string(), lab.imap_port);
    fs::write(
        home.join("mbsyncrc"),
        format!(
            "IMAPAccount lab\nHost 127.0.0.1\nPort {port}\nUser {OFFICE}\nPass {PASSWORD}\nSSLType None\n\
             AuthMechs LOGIN\n\nIMAPStore far\nAccount lab\n\nMaildirStore near\nPath {at}/mail/\nInbox {at}/mail/INBOX\n\n\
             Channel all\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSyncState *\n"
        ),
    )?;
    fs::write(
        home.join("notmuchrc"),
        format!("[database]\npath={at}/mail\n[user]\nprimary_email={OFFICE}\n[new]\ntags=new\n[index]\ndecrypt=true\n"),
    )?;
    let program = |name: &str| {
        let mut command = Command::new(name);
        command.env("HOME", &home).env("GNUPGHOME", &keys).env("NOTMUCH_CONFIG", home.join("notmuchrc"));
        command
    };
    let began = Instant::now();
    run(program("mbsync").arg("-c").arg(home.join("mbsyncrc")).arg("-q").arg("all"))?;
    run(program("notmuch").args(["new", "--quiet"]))?;
    let took = began.elapsed();
    let count = run(program("notmuch").args(["count", "property:index.decryption=success"]))?;
    let count: usize = count.trim().parse()?;
    ensure!(count == letters.len(), "notmuch decrypted {count} of {}", letters.len());
    Ok(letters.len() as f64 / took.as_secs_f64())
}

/// `deltachat-rpc-server` with one account. Dropping it ends it.
struct Core {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    number: u64,
}

impl Core {
    fn start(home: &Path) -> Result<Self> {
        let peers = std::env::var_os("CADRE_PEERS")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers"), PathBuf::from);
        let program = peers.join("py/bin/deltachat-rpc-server");
        ensure!(program.is_file(), "deltachat-rpc-server isn't installed (benches/peers/install.sh)");
        fs::create_dir_all(home)?;
        let mut child = Command::new(program)
            .env("DC_ACCOUNTS_PATH", home.join("accounts"))
            .env("HOME", home)
            .env("RUST_LOG", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(home.join("log"))?)
            .spawn()?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, stdin, stdout, number: 0 })
    }

    fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.number += 1;
        writeln!(self.stdin, "{}", json!({ "jsonrpc": "2.0", "id": self.number, "method": method, "params": params }))?;
        self.stdin.flush()?;
        loop {
            let mut line = String::new();
            ensure!(self.stdout.read_line(&mut line)? > 0, "the Delta Chat core ended");
            let answer: Value = serde_json::from_str(&line)?;
            if answer["id"] == self.number {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].clone());
            }
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whom Delta Chat names as the writer of its own notes.
const DEVICE: u32 = 5;

/// The letters come while it watches, since what was there before is old mail to it.
fn delta(world: &World, letters: &[Vec<u8>]) -> Result<f64> {
    let lab = mailbox(&[])?;
    let home = lab.dir.join("delta");
    let mut core = Core::start(&home)?;
    let account = core.call("add_account", json!([]))?;
    let keys = home.join("keys");
    fs::create_dir_all(&keys)?;
    fs::write(keys.join("private-key-default.asc"), &world.office_secret)?;
    core.call("import_self_keys", json!([account, keys.join("private-key-default.asc").display().to_string(), null]))?;
    let login = json!({
        "addr": OFFICE, "password": PASSWORD, "imapUser": OFFICE, "smtpUser": OFFICE,
        "imapServer": "127.0.0.1", "imapPort": lab.imap_port, "imapSecurity": "plain",
        "smtpServer": "127.0.0.1", "smtpPort": lab.smtp_port, "smtpSecurity": "plain",
    });
    core.call("add_or_update_transport", json!([account, login]))?;
    // No read receipts.
    core.call("set_config", json!([account, "mdns_enabled", "0"]))?;
    for writer in &world.writers {
        let card = format!(
            "BEGIN:VCARD\r\nVERSION:4.0\r\nEMAIL:{0}\r\nFN:{0}\r\nKEY:data:application/pgp-keys;base64,{1}\r\nEND:VCARD\r\n",
            writer.address.as_typed(),
            STANDARD.encode(writer.key.certificate().to_bytes())
        );
        let contacts = core.call("import_vcard_contents", json!([account, card]))?;
        core.call("create_chat_by_contact_id", json!([account, contacts[0]]))?;
    }
    core.call("start_io", json!([account]))?;
    wait("Delta Chat to watch its mailbox", PATIENCE, || {
        let event = core.call("get_next_event", json!([]))?;
        Ok((event["event"]["kind"] == "ImapInboxIdle").then_some(()))
    })?;
    core.call("stop_io", json!([account]))?;
    put(&lab, letters)?;
    let began = Instant::now();
    core.call("start_io", json!([account]))?;
    let mut shown = 0;
    let (took, letters_shown) = wait("the letters in Delta Chat", Duration::from_secs(120), || {
        let fresh = core.call("get_fresh_msgs", json!([account]))?.as_array().cloned().unwrap_or_default();
        let took = began.elapsed();
        shown = fresh.len();
        if shown < letters.len() {
            return Ok(None);
        }
        let mut messages = Vec::new();
        for id in fresh {
            let message = core.call("get_message", json!([account, id]))?;
            // It writes to its user itself, now and then.
            if message["fromId"] != DEVICE {
                messages.push(message);
            }
        }
        Ok((messages.len() >= letters.len()).then_some((took, messages)))
    })
    .with_context(|| format!("it has shown {shown} of {}", letters.len()))?;
    for message in letters_shown {
        let read = message["text"].as_str().is_some_and(|text| text.contains("Lettre"));
        ensure!(read && message["showPadlock"] == true, "Delta Chat shows a letter that it couldn't verify or read");
    }
    Ok(letters.len() as f64 / took.as_secs_f64())
}

/// A list of one subscriber; each letter is a run of `schleuder work`, as a mail server would start it.
fn schleuder(world: &World, letters: &[Vec<u8>]) -> Result<f64> {
    installed("schleuder")?;
    let lab = mailbox(&[])?;
    let home = lab.dir.join("s");
    fs::create_dir_all(home.join("lists"))?;
    let at = home.display().to_string();
    fs::write(
        home.join("schleuder.yml"),
        format!(
            "lists_dir: {at}/lists\nlistlogs_dir: {at}/lists\nkeyword_handlers_dir: {at}/keywords\nfilters_dir: {at}/filters\n\
             log_level: error\nsuperadmin: root@localhost\n\
             database:\n  production:\n    adapter: sqlite3\n    database: {at}/db.sqlite\n    timeout: 5000\n\
             smtp_settings:\n  address: 127.0.0.1\n  port: {}\n",
            lab.smtp_port
        ),
    )?;
    fs::write(home.join("office.asc"), &world.office_secret)?;
    for (n, writer) in world.writers.iter().enumerate() {
        fs::write(home.join(format!("client{n}.asc")), writer.key.certificate().to_armored())?;
    }
    fs::write(home.join("list.rb"), include_str!("../peers/list.rb"))?;
    let program = |name: &str| {
        let mut command = Command::new(name);
        command
            .env("HOME", &home)
            .env("SCHLEUDER_CONFIG", home.join("schleuder.yml"))
            .env("SCHLEUDER_ENV", "production");
        command.env("SCHLEUDER_LIST_DEFAULTS", "/etc/schleuder/list-defaults.yml");
        command
    };
    run(program("schleuder").arg("install")).context("schleuder install")?;
    run(program("ruby").arg(home.join("list.rb")).arg(OFFICE).arg(&home)).context("making the list")?;
    let keys = home.join("lists/cabinet.example/ecrire");
    let _agent = Agent(keys);
    let sink = lab.sink.as_ref().context("the light laboratory has a listener")?;
    let began = Instant::now();
    for raw in letters {
        let mut child = program("schleuder")
            .args(["work", OFFICE])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("no standard input")?.write_all(raw)?;
        let out = child.wait_with_output()?;
        if !out.status.success() {
            bail!("schleuder work: {}", String::from_utf8_lossy(&out.stderr).lines().next().unwrap_or_default());
        }
    }
    let took = began.elapsed();
    let sent =
        sink.mails().iter().filter(|mail| mail.data.windows(27).any(|w| w == b"-----BEGIN PGP MESSAGE-----")).count();
    ensure!(sent >= letters.len(), "schleuder passed {sent} of {} on", letters.len());
    Ok(letters.len() as f64 / took.as_secs_f64())
}
