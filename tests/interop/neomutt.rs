//! neomutt with GnuPG, driven over a terminal of its own: as therapist who answers, and as client who writes.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use cadre::pgp::Certificate;

use super::stage::{Stage, ciphertext, page};
use super::world::{Key, World, run};
use crate::common::lab::{PASSWORD, PATIENCE, wait};
use crate::common::mail::{find, nonce};
use crate::common::scene::{OFFICE, march};
use crate::common::{Lab, PracticeOptions};

/// Somebody who reads and writes with neomutt.
struct Mutt<'a> {
    world: &'a World,
    lab: &'a Lab,
    home: PathBuf,
    address: String,
}

impl<'a> Mutt<'a> {
    /// Keys go into a GnuPG home of their own.
    fn new(world: &'a World, lab: &'a Lab, name: &str, address: &str, keys: &[&[u8]]) -> Result<Self> {
        let home = world.home(&format!("neomutt-{name}"))?;
        let mutt = Self { world, lab, home, address: address.to_owned() };
        mutt.set_clock()?;
        let gpg = |args: &[&str], input: &[u8]| {
            let mut gpg = std::process::Command::new("gpg");
            run(gpg.env("GNUPGHOME", &mutt.home).args(["--batch", "--quiet"]).args(args), input)?.expect("gpg")
        };
        let mut trust = String::new();
        for key in keys {
            gpg(&["--import"], key)?;
            // Compared and found to be theirs; it asks about others each time.
            trust.push_str(&format!("{}:6:\n", Certificate::from_bytes(key)?.fingerprint()));
        }
        gpg(&["--import-ownertrust"], trust.as_bytes())?;
        Ok(mutt)
    }

    /// GnuPG's own option for the time, since its agent stays.
    fn set_clock(&self) -> Result<()> {
        let conf = format!("faked-system-time {}\n", self.world.now().format("%Y%m%dT%H%M%S"));
        Ok(fs::write(self.home.join("gpg.conf"), conf)?)
    }

    fn settings(&self) -> String {
        let (imap, smtp, address) = (self.lab.imap_port, self.lab.smtp_port, &self.address);
        let user = address.replace('@', "%40");
        let editor = self.home.join("editor").display().to_string();
        format!(
            "set folder=\"imap://{user}@127.0.0.1:{imap}/\"\nset spoolfile=\"imap://{user}@127.0.0.1:{imap}/INBOX\"\n\
             set imap_user=\"{address}\"\nset imap_pass=\"{PASSWORD}\"\nset smtp_url=\"smtp://{user}@127.0.0.1:{smtp}\"\n\
             set smtp_pass=\"{PASSWORD}\"\nset smtp_authenticators=\"plain\"\nset ssl_starttls=no\nset ssl_force_tls=no\n\
             set from=\"{address}\"\nset use_from=yes\nset realname=\"\"\nset hostname=\"ici.example\"\n\
             set record=\"\"\nset fast_reply=yes\nset include=yes\nset edit_headers=yes\nset autoedit=yes\n\
             set editor=\"{editor}\"\nset abort_nosubject=no\nset abort_unmodified=no\nset abort_noattach=no\n\
             set recall=no\nset quit=yes\nset move=no\nset delete=no\nset wait_key=no\nset sleep_time=0\nset beep=no\n\
             set crypt_use_gpgme=yes\nset crypt_auto_sign=yes\nset crypt_auto_encrypt=yes\nset crypt_auto_pgp=yes\n\
             set crypt_auto_smime=no\nset crypt_confirm_hook=no\nset crypt_protected_headers_write=yes\n\
             set crypt_protected_headers_read=yes\nset pgp_default_key=\"{address}\"\nset pgp_auto_decode=yes\n\
             set header_cache=\"\"\nset charset=\"utf-8\"\nset send_charset=\"utf-8\"\n"
        )
    }

    /// Starts it and presses keys, each when the screen has shown its words; `text` is what is typed in the editor,
    /// above the quotation.
    fn press(&self, args: &[&str], keys: &[(&str, &str)], text: &str, attach: &str) -> Result<()> {
        self.set_clock()?;
        let typed = self.home.join("typed");
        fs::write(&typed, text)?;
        let header = self.home.join("header");
        fs::write(&header, format!("Attach: {attach}\n"))?;
        // The file begins with the header fields; the words go below the first empty line.
        let editor = format!(
            "#!/bin/sh\nawk -v typed='{}' -v more='{}' '{{ if (!done && $0 == \"\") {{ while ((getline l < more) > 0) print l; \
             print; while ((getline l < typed) > 0) print l; done = 1 }} else print }}' \"$1\" >\"$1.new\" && mv \"$1.new\" \"$1\"\n",
            typed.display(),
            header.display()
        );
        let script = self.home.join("editor");
        fs::write(&script, editor)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o700))?;
        let rc = self.home.join("neomuttrc");
        fs::write(&rc, self.settings())?;
        let quoted: String = args.iter().map(|arg| format!(" '{}'", arg.replace('\'', "'\\''"))).collect();
        let line = format!("stty rows 40 cols 120; exec neomutt -n -F {}{quoted}", rc.display());
        let log = self.home.join("screen");
        fs::write(&log, "")?;
        let mut child = self
            .world
            .command("script")?
            .env("GNUPGHOME", &self.home)
            .env("HOME", &self.home)
            .env("TERM", "xterm")
            // It compares the times of the files that its editor writes with its own.
            .env_remove("NO_FAKE_STAT")
            .args(["-qfec", &line, &log.display().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("`script` can't be started: it belongs to bsdutils")?;
        let mut terminal = child.stdin.take().context("no standard input")?;
        let mut seen = 0;
        let mut played = || -> Result<()> {
            for (words, key) in keys {
                seen = wait(&format!("{words:?} on neomutt's screen"), PATIENCE, || {
                    let screen = fs::read(&log)?;
                    Ok(find(&screen[seen..], words.as_bytes()).map(|at| seen + at + words.len()))
                })?;
                terminal.write_all(key.as_bytes())?;
            }
            wait("neomutt to end", PATIENCE, || Ok(child.try_wait()?)).map(drop)
        };
        let result = played();
        if result.is_err() {
            child.kill()?;
            child.wait()?;
        }
        result.with_context(|| self.screen())
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home.join("screen")).unwrap_or_default()).into_owned()
    }
}

impl Drop for Mutt<'_> {
    fn drop(&mut self) {
        if let Err(error) = super::ring::end_agent(&self.home) {
            eprintln!("laboratory: {error:#}");
        }
    }
}

#[test]
fn neomutt_writes_as_a_client_and_answers_as_the_therapist() -> Result<()> {
    let written = march(2, 5, 30);
    let options = PracticeOptions { forward: "each".into(), ..PracticeOptions::default() };
    let stage = Stage::new(Lab::light()?, written, &options)?;
    let key = Key::committed(&stage.world, "rsa3072")?;
    let key = Key::new(&stage.world, "mutt", "rsa3072@interop.example", key.secret, key.certificate)?;
    let code = stage.enrol(&key)?;
    let client =
        Mutt::new(&stage.world, &stage.lab, "client", &key.address, &[&key.secret, &stage.office.certificate])?;
    let secret = stage.therapist.secret_key()?;
    let dr = stage.therapist.address.clone();
    let therapist = Mutt::new(&stage.world, &stage.lab, "dr", &dr, &[&secret, &stage.office.certificate])?;

    // A client writes, with a file.
    let token = nonce();
    let file = client.home.join("vagues.txt");
    let waves = format!("une vague, {token}\r\n").repeat(50);
    fs::write(&file, &waves)?;
    let text = format!("Bonjour,\n\nla mer fut calme à l'aube, {token}.\n");
    client.press(&["-s", "La mer à l'aube", OFFICE], &[("y:Send", "y")], &text, &file.display().to_string())?;
    let raw = stage.lab.wait_mails(OFFICE, "INBOX", 1).with_context(|| client.screen())?;
    ensure!(ciphertext(&raw[0]).is_ok(), "neomutt didn't encrypt: {}", String::from_utf8_lossy(&raw[0]));
    stage.practice.once(written)?;
    ensure!(stage.verdicts(&code)? == ["verified filed"], "{:?}", stage.verdicts(&code)?);
    let mails = stage.mails();
    let forward = mails.iter().find(|mail| mail.to == [dr.clone()]).context("no forward")?;
    let seen = stage.therapist_reads(&forward.data)?;
    ensure!(seen.subject == format!("[{code}] La mer à l'aube"), "{}", seen.subject);
    ensure!(seen.text.contains(&format!("la mer fut calme à l'aube, {token}.")), "{}", seen.text);
    ensure!(seen.files.iter().any(|(_, bytes)| bytes == waves.as_bytes()), "the file isn't intact");

    // The therapist answers with neomutt: opens the forward, replies, sends.
    let at = march(2, 9, 0);
    stage.set_time(at)?;
    stage.lab.wait_mails(&dr, "INBOX", 1)?;
    let sheet = therapist.home.join("souffle.txt");
    fs::write(&sheet, "respirez\r\n")?;
    let reply = "Je vous réponds sur l'aube.\n";
    let keys = [("Msgs:1", "r"), ("y:Send", "y"), ("Mail sent", "q")];
    therapist.press(&[], &keys, reply, &sheet.display().to_string())?;
    stage.lab.wait_mails(OFFICE, "INBOX", 1).with_context(|| therapist.screen())?;
    let before = stage.mails().len();
    stage.practice.once(at)?;
    let told: Vec<String> = stage.mails()[before..]
        .iter()
        .map(|mail| stage.therapist_reads(&mail.data).map(|page| page.subject + "\n" + &page.text))
        .collect::<Result<_>>()?;
    let slot = march(2, 17, 0);
    stage.set_time(slot)?;
    let before = stage.mails().len();
    let counts = stage.practice.once(slot)?;
    ensure!(counts["released"] == 1, "{counts} {told:?}");
    let mails = stage.mails();
    let sent = mails[before..].iter().find(|mail| mail.to == [key.address.clone()]).context("no reply")?;

    // The client's program shows it; nothing of the therapist's envelope or quotation is in it.
    let mut gpg = std::process::Command::new("gpg");
    gpg.env("GNUPGHOME", &client.home).args(["--batch", "--quiet", "--status-fd", "2", "--faked-system-time"]);
    gpg.arg(slot.format("%Y%m%dT%H%M%S").to_string()).arg("--decrypt");
    let ran = run(&mut gpg, &ciphertext(&sent.data)?)?;
    ensure!(ran.said.contains("GOODSIG ") && ran.said.contains(&stage.office.fingerprint), "{}", ran.said);
    let entity = String::from_utf8_lossy(&ran.out).into_owned();
    let page = page(&ran.out)?;
    ensure!(page.text.contains("Je vous réponds sur l'aube.") && page.subject.ends_with("La mer à l'aube"), "{entity}");
    ensure!(page.files.iter().any(|(_, bytes)| bytes == b"respirez\r\n"), "the sheet isn't intact");
    for word in [dr.as_str(), "mutt", "Mutt", &token, "C-", "Jeton"] {
        ensure!(!page.text.contains(word), "{word:?} went over to the client: {}", page.text);
    }
    Ok(())
}
