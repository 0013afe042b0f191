//! A correspondent: GnuPG with a home of their own, a mailbox in the laboratory, the habits of Thunderbird.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use mail_parser::{MessageParser, MimeHeaders as _, PartType};

use super::lab::Lab;
use super::mail::{children, field, file_part, find, headers, mailbox, multipart, nonce, rfc5322, text_part};

/// How a letter is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    Plain,
    /// PGP/MIME, signed only (RFC 3156 section 5).
    Signed,
    /// PGP/MIME, encrypted without a signature.
    Encrypted,
    /// PGP/MIME, signed within the encryption, as Thunderbird does.
    #[default]
    SignedEncrypted,
    /// RFC 3156 section 6.1: a multipart/signed inside the encryption.
    SignedThenEncrypted,
    /// A text/plain with an ASCII-armored, signed and encrypted text.
    Inline,
    /// A clear-signed text/plain.
    InlineSigned,
}

/// What somebody means to send. [`Person::write`] turns it into bytes.
#[derive(Clone, Debug, Default)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
    /// Name, media type, bytes.
    pub attachments: Vec<(String, String, Vec<u8>)>,
    pub form: Form,
    /// Subject, From, To and the thread's identifiers go inside (`protected-headers="v1"`), outside stands `...`.
    pub protected: bool,
    /// When it is written and signed; the person's clock if empty.
    pub date: Option<DateTime<Utc>>,
    pub in_reply_to: Option<String>,
    pub references: Vec<String>,
    /// Written under another's name: `(display name, address)` of a forged From.
    pub forged_from: Option<(String, String)>,
    /// Encrypt to these keys (addresses or fingerprints) instead of recipient and self.
    pub keys: Option<Vec<String>>,
    /// Added to the outer header as they stand.
    pub extra_headers: Vec<(String, String)>,
}

impl Letter {
    /// Signed and encrypted with a protected subject: what Thunderbird sends by default.
    pub fn new(to: &str, subject: &str, text: &str) -> Self {
        Self {
            to: to.to_owned(),
            subject: subject.to_owned(),
            text: text.to_owned(),
            protected: true,
            ..Self::default()
        }
    }

    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    pub fn at(mut self, date: DateTime<Utc>) -> Self {
        self.date = Some(date);
        self
    }

    pub fn attach(mut self, name: &str, kind: &str, bytes: &[u8]) -> Self {
        self.attachments.push((name.to_owned(), kind.to_owned(), bytes.to_vec()));
        self
    }
}

/// What GnuPG says of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// GOODSIG and VALIDSIG both.
    pub good: bool,
    /// Of the primary key, upper case hex.
    pub fingerprint: String,
    pub made: DateTime<Utc>,
}

/// A mail as its reader sees it.
#[derive(Clone, Debug)]
pub struct Read {
    /// The header that every server saw.
    pub outer: Vec<(String, String)>,
    /// The header within the protection; equals `outer` where there is none.
    pub inner: Vec<(String, String)>,
    pub decrypted: bool,
    pub signature: Option<Signature>,
    /// All status lines of GnuPG, without `[GNUPG:] `.
    pub status: Vec<String>,
    /// The subject a mail program shows: the protected one, decoded.
    pub subject: String,
    /// Every text/plain part that isn't an attached file, in order.
    pub texts: Vec<String>,
    pub html: Vec<String>,
    /// Name, media type, bytes.
    pub attachments: Vec<(String, String, Vec<u8>)>,
    /// The decrypted entity, or the mail itself.
    pub entity: Vec<u8>,
}

impl Read {
    /// All that a person reads, one text after another.
    pub fn text(&self) -> String {
        self.texts.join("\n")
    }

    pub fn outer(&self, name: &str) -> Option<&str> {
        field(&self.outer, name)
    }

    pub fn inner(&self, name: &str) -> Option<&str> {
        field(&self.inner, name)
    }

    /// Signed well by the key with this fingerprint.
    pub fn signed_by(&self, fingerprint: &str) -> bool {
        self.signature.as_ref().is_some_and(|s| s.good && s.fingerprint == fingerprint)
    }
}

/// Somebody with a key and a mailbox. Dropping one ends the agent of their GnuPG.
pub struct Person {
    pub name: String,
    pub address: String,
    /// Of the primary key, upper case hex.
    pub fingerprint: String,
    /// Their GNUPGHOME.
    pub home: PathBuf,
    /// Seconds since 1970 for GnuPG; 0 is the machine's own time.
    clock: AtomicI64,
}

impl Person {
    /// Imports a fixed secret key (`tests/data/keys/….asc`). `id` is a short word, the folder's name.
    pub fn with_key(lab: &Lab, id: &str, name: &str, address: &str, key: &Path) -> Result<Self> {
        let mut person = Self::bare(&lab.dir, id, name, address)?;
        let bytes = fs::read(key).with_context(|| format!("no key {}", key.display()))?;
        person.import(&bytes)?;
        person.fingerprint = person.own_fingerprint()?;
        Ok(person)
    }

    /// One of the people whose fixed keys lie in `tests/data/keys`: `marie` and `paul` (clients), `exemple` and
    /// `second` (therapists), `inconnue` (a stranger), `mallory` (an attacker).
    pub fn persona(lab: &Lab, id: &str) -> Result<Self> {
        let (name, address) = match id {
            "marie" => ("Marie", "marie@client.example"),
            "paul" => ("Paul", "paul@client.example"),
            "exemple" => ("Dr Exemple", "dr@exemple.example"),
            "second" => ("Dr Second", "second@exemple.example"),
            "inconnue" => ("Inconnue", "inconnue@stranger.example"),
            "mallory" => ("Mallory", "mallory@evil.example"),
            _ => bail!("no persona {id}"),
        };
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/keys");
        Self::with_key(lab, id, name, address, &keys.join(format!("{id}.key.asc")))
    }

    /// Makes a new Curve25519 key with GnuPG, dated `born`.
    pub fn generate(lab: &Lab, id: &str, name: &str, address: &str, born: DateTime<Utc>) -> Result<Self> {
        let mut person = Self::bare(&lab.dir, id, name, address)?;
        person.set_clock(born);
        let user = format!("{name} <{address}>");
        // The clock stands still: each call begins at `born`, and a subkey that is bound before its primary key was made
        // counts for nothing.
        let still = ["--faked-system-time", &born.format("%Y%m%dT%H%M%S!").to_string()];
        person.gpg(&[&still[..], &["--quick-generate-key", &user, "ed25519", "cert,sign", "never"]].concat(), b"")?;
        person.fingerprint = person.own_fingerprint()?;
        let fingerprint = person.fingerprint.clone();
        person.gpg(&[&still[..], &["--quick-add-key", &fingerprint, "cv25519", "encr", "never"]].concat(), b"")?;
        Ok(person)
    }

    fn bare(dir: &Path, id: &str, name: &str, address: &str) -> Result<Self> {
        let home = dir.join("g").join(id);
        fs::create_dir_all(&home)?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
        Ok(Self {
            name: name.to_owned(),
            address: address.to_owned(),
            fingerprint: String::new(),
            home,
            clock: AtomicI64::new(0),
        })
    }

    fn own_fingerprint(&self) -> Result<String> {
        let (listing, _) = self.gpg(&["--with-colons", "--list-secret-keys"], b"")?;
        let listing = String::from_utf8_lossy(&listing).into_owned();
        let line = listing.lines().find(|l| l.starts_with("fpr:")).context("no secret key was imported")?;
        Ok(line.split(':').nth(9).context("a fpr line without fingerprint")?.to_owned())
    }

    /// What time it is for this person: signatures and Date headers bear it.
    pub fn set_clock(&self, at: DateTime<Utc>) {
        self.clock.store(at.timestamp(), Ordering::SeqCst);
    }

    pub fn now(&self) -> DateTime<Utc> {
        match self.clock.load(Ordering::SeqCst) {
            0 => Utc::now(),
            seconds => DateTime::from_timestamp(seconds, 0).unwrap_or_default(),
        }
    }

    /// The person's certificate, armored.
    pub fn certificate(&self) -> Result<Vec<u8>> {
        Ok(self.gpg(&["--armor", "--export", &self.fingerprint], b"")?.0)
    }

    /// The person's secret key, armored, without passphrase.
    pub fn secret_key(&self) -> Result<Vec<u8>> {
        Ok(self.gpg(&["--armor", "--export-secret-keys", &self.fingerprint], b"")?.0)
    }

    /// Writes the certificate to a file, for `--certificate FILE`.
    pub fn certificate_file(&self, path: &Path) -> Result<PathBuf> {
        fs::write(path, self.certificate()?)?;
        Ok(path.to_owned())
    }

    /// Takes another's certificate (or a secret key) into the key ring.
    pub fn import(&self, key: &[u8]) -> Result<()> {
        self.gpg(&["--import"], key).map(drop)
    }

    /// Takes another person's certificate.
    pub fn meet(&self, other: &Self) -> Result<()> {
        self.import(&other.certificate()?)
    }

    /// Runs GnuPG with this person's keys: what it wrote, and its status lines.
    pub fn gpg(&self, args: &[&str], input: &[u8]) -> Result<(Vec<u8>, Vec<String>)> {
        let (code, out, err) = self.gpg_raw(args, input)?;
        if code != Some(0) {
            bail!("gpg {} failed: {err}", args.first().unwrap_or(&""));
        }
        Ok((out, status_lines(&err)))
    }

    fn gpg_raw(&self, args: &[&str], input: &[u8]) -> Result<(Option<i32>, Vec<u8>, String)> {
        let mut command = Command::new("gpg");
        command
            .env("GNUPGHOME", &self.home)
            .env("LC_ALL", "C.UTF-8")
            .args(["--batch", "--no-tty", "--yes", "--quiet", "--trust-model", "always", "--status-fd", "2"])
            .args(["--pinentry-mode", "loopback", "--passphrase", "", "--ignore-time-conflict"])
            .args(["--no-auto-key-retrieve", "--no-auto-key-locate"]);
        if self.clock.load(Ordering::SeqCst) != 0 {
            command.args(["--faked-system-time", &self.now().format("%Y%m%dT%H%M%S").to_string()]);
        }
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("gpg can't be started: is gnupg installed?")?;
        let mut stdin = child.stdin.take().context("gpg without stdin")?;
        let output = std::thread::scope(|scope| {
            // gpg may stop reading early; what it says then is in its status.
            scope.spawn(move || drop(stdin.write_all(input)));
            child.wait_with_output()
        })?;
        Ok((output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// The letter as bytes for SMTP.
    pub fn write(&self, letter: &Letter) -> Result<Vec<u8>> {
        let at = letter.date.unwrap_or_else(|| self.now());
        let (name, address) = letter.forged_from.clone().unwrap_or_else(|| (self.name.clone(), self.address.clone()));
        let domain = address.rsplit('@').next().unwrap_or("example").to_owned();
        let mut thread = format!("Message-ID: <{}@{domain}>\r\nDate: {}\r\n", nonce(), rfc5322(at));
        if let Some(id) = &letter.in_reply_to {
            thread.push_str(&format!("In-Reply-To: {id}\r\n"));
        }
        if !letter.references.is_empty() {
            thread.push_str(&format!("References: {}\r\n", letter.references.join("\r\n ")));
        }
        let who = format!("From: {}\r\nTo: {}\r\n", mailbox(&name, &address), letter.to);
        let subject = format!("Subject: {}\r\n", super::mail::encoded(&letter.subject));
        let encrypted = matches!(letter.form, Form::Encrypted | Form::SignedEncrypted | Form::SignedThenEncrypted);
        let shown = if letter.protected && encrypted { "Subject: ...\r\n" } else { subject.as_str() };
        let inside = format!("{subject}{who}{thread}");
        let extra: String = letter.extra_headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
        let outside = format!("{extra}{who}{shown}{thread}MIME-Version: 1.0\r\n");
        let before = self.clock.swap(
            if letter.date.is_some() { at.timestamp() } else { self.clock.load(Ordering::SeqCst) },
            Ordering::SeqCst,
        );
        let body = self.body(letter, &inside);
        self.clock.store(before, Ordering::SeqCst);
        Ok([outside.into_bytes(), body?].concat())
    }

    fn body(&self, letter: &Letter, inside: &str) -> Result<Vec<u8>> {
        let protected = letter.protected && !matches!(letter.form, Form::Plain | Form::Inline | Form::InlineSigned);
        let payload = payload(letter, protected.then_some(inside));
        Ok(match letter.form {
            Form::Plain => payload.into_bytes(),
            Form::Signed => self.signed(&payload)?.into_bytes(),
            Form::Encrypted => encrypted(&self.encrypt(letter, payload.as_bytes(), false)?),
            Form::SignedEncrypted => encrypted(&self.encrypt(letter, payload.as_bytes(), true)?),
            Form::SignedThenEncrypted => {
                let signed = self.signed(&payload)?;
                encrypted(&self.encrypt(letter, signed.as_bytes(), false)?)
            }
            Form::Inline => inline(&self.encrypt(letter, letter.text.as_bytes(), true)?),
            Form::InlineSigned => {
                inline(&self.gpg(&["-u", &self.fingerprint, "--clearsign"], letter.text.as_bytes())?.0)
            }
        })
    }

    fn signed(&self, payload: &str) -> Result<String> {
        // The signature covers the part without the line end before the boundary.
        let covered = payload.strip_suffix("\r\n").unwrap_or(payload);
        let args = ["-u", &self.fingerprint, "--armor", "--digest-algo", "SHA512", "--detach-sign"];
        let (signature, _) = self.gpg(&args, covered.as_bytes())?;
        let signature = String::from_utf8_lossy(&signature).replace('\n', "\r\n");
        let part = format!(
            "Content-Type: application/pgp-signature; name=\"OpenPGP_signature.asc\"\r\n\
             Content-Description: OpenPGP digital signature\r\n\r\n{signature}"
        );
        let parameters = "; micalg=\"pgp-sha512\";\r\n protocol=\"application/pgp-signature\"";
        Ok(multipart("signed", parameters, "", &[covered.to_owned(), part]))
    }

    fn encrypt(&self, letter: &Letter, payload: &[u8], sign: bool) -> Result<Vec<u8>> {
        let keys =
            letter.keys.clone().unwrap_or_else(|| vec![format!("<{}>", bare(&letter.to)), self.fingerprint.clone()]);
        let mut args = vec!["--armor"];
        for key in &keys {
            args.extend(["-r", key]);
        }
        if sign {
            args.extend(["-u", &self.fingerprint, "--sign"]);
        }
        args.push("--encrypt");
        Ok(self.gpg(&args, payload)?.0)
    }

    /// Writes a letter and sends it over SMTP to `letter.to`.
    pub fn send(&self, lab: &Lab, letter: &Letter) -> Result<Vec<u8>> {
        let raw = self.write(letter)?;
        lab.send(&self.address, bare(&letter.to), &raw)?;
        Ok(raw)
    }

    /// Writes a letter and puts it straight into the recipient's mailbox.
    pub fn deliver(&self, lab: &Lab, letter: &Letter) -> Result<Vec<u8>> {
        let raw = self.write(letter)?;
        lab.deliver(&self.address, bare(&letter.to), &raw)?;
        Ok(raw)
    }

    /// The raw mails in the person's INBOX, oldest first.
    pub fn mailbox(&self, lab: &Lab) -> Result<Vec<Vec<u8>>> {
        lab.mails(&self.address, "INBOX")
    }

    /// Waits for at least `count` mails in INBOX and reads all of them.
    pub fn wait_read(&self, lab: &Lab, count: usize) -> Result<Vec<Read>> {
        lab.wait_mails(&self.address, "INBOX", count)?.iter().map(|raw| self.read(raw)).collect()
    }

    /// Opens a mail as a mail program would: GnuPG decrypts and verifies, the protected subject wins.
    pub fn read(&self, raw: &[u8]) -> Result<Read> {
        let outer = headers(raw);
        let mut read = Read {
            inner: outer.clone(),
            outer,
            decrypted: false,
            signature: None,
            status: Vec::new(),
            subject: String::new(),
            texts: Vec::new(),
            html: Vec::new(),
            attachments: Vec::new(),
            entity: raw.to_vec(),
        };
        self.unwrap_entity(&mut read, 0)?;
        let entity = std::mem::take(&mut read.entity);
        let message = MessageParser::default().parse(&entity).context("not a mail")?;
        let decoded = |raw: &[u8]| MessageParser::default().parse(raw).and_then(|m| m.subject().map(str::to_owned));
        read.subject = message.subject().map(str::to_owned).or_else(|| decoded(raw)).unwrap_or_default();
        for part in &message.parts {
            let name = part.attachment_name().unwrap_or_default().to_owned();
            let kind = part.content_type().map_or_else(String::new, |t| {
                format!("{}/{}", t.ctype(), t.subtype().unwrap_or_default()).to_ascii_lowercase()
            });
            match &part.body {
                PartType::Text(text) if name.is_empty() => {
                    self.collect_text(&mut read, text)?;
                }
                PartType::Html(html) if name.is_empty() => read.html.push(html.to_string()),
                PartType::Multipart(_) => {}
                _ => read.attachments.push((name, kind, part.contents().to_vec())),
            }
        }
        read.entity = entity;
        Ok(read)
    }

    fn unwrap_entity(&self, read: &mut Read, depth: u8) -> Result<()> {
        let fields = headers(&read.entity);
        let kind = field(&fields, "Content-Type").unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with("multipart/encrypted") {
            let parts = children(&read.entity)?;
            let armor = parts.get(1).copied().context("multipart/encrypted without its second part")?;
            let (code, plain, err) = self.gpg_raw(&["--decrypt"], armor)?;
            read.status.extend(status_lines(&err));
            // Status 2 with output: decrypted, but a signature isn't good or its key isn't known.
            if code != Some(0) && !read.status.iter().any(|l| l.starts_with("DECRYPTION_OKAY")) {
                bail!("{} can't decrypt it: {err}", self.name);
            }
            read.decrypted = true;
            read.entity = plain;
        } else if kind.starts_with("multipart/signed") {
            let parts = children(&read.entity)?;
            let [covered, signature, ..] = parts[..] else { bail!("multipart/signed without two parts") };
            let file = self.home.join(format!("sig-{}", nonce()));
            fs::write(&file, signature)?;
            let (_, _, err) = self.gpg_raw(&["--verify", &file.display().to_string(), "-"], covered)?;
            fs::remove_file(&file)?;
            read.status.extend(status_lines(&err));
            read.entity = covered.to_vec();
        } else {
            read.signature = signature(&read.status);
            return Ok(());
        }
        read.inner = headers(&read.entity);
        if depth < 3 { self.unwrap_entity(read, depth + 1) } else { Ok(()) }
    }

    fn collect_text(&self, read: &mut Read, text: &str) -> Result<()> {
        let inline = ["-----BEGIN PGP MESSAGE-----", "-----BEGIN PGP SIGNED MESSAGE-----"];
        if !inline.iter().any(|mark| text.contains(mark)) {
            read.texts.push(text.to_owned());
            return Ok(());
        }
        let (_, plain, err) = self.gpg_raw(&["--decrypt"], text.as_bytes())?;
        read.status.extend(status_lines(&err));
        read.decrypted |= text.contains(inline[0]);
        read.signature = signature(&read.status);
        read.texts.push(String::from_utf8_lossy(&plain).into_owned());
        Ok(())
    }

    /// An answer as Thunderbird begins it: `Re:`, the thread's identifiers, the quoted letter below `text`.
    pub fn reply_to(&self, raw: &[u8], text: &str) -> Result<Letter> {
        let read = self.read(raw)?;
        let from = read.outer("Reply-To").or(read.outer("From")).context("a mail without From")?.to_owned();
        let id = read.outer("Message-ID").map(str::to_owned);
        let mut references: Vec<String> =
            read.outer("References").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        references.extend(id.clone());
        let subject = read.subject.trim().to_owned();
        let subject = if subject.to_ascii_lowercase().starts_with("re:") { subject } else { format!("Re: {subject}") };
        let quoted: String = read
            .text()
            .trim_end()
            .lines()
            .map(|line| if line.starts_with('>') { format!(">{line}\n") } else { format!("> {line}\n") })
            .collect();
        let day = self.now().format("%d/%m/%Y %H:%M");
        Ok(Letter {
            in_reply_to: id,
            references,
            ..Letter::new(&from, &subject, &format!("{text}\n\nLe {day}, {from} a écrit :\n{quoted}"))
        })
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if std::env::var("KEEP").is_ok_and(|v| v == "1") {
            return;
        }
        let _ = Command::new("gpgconf").arg("--homedir").arg(&self.home).args(["--kill", "all"]).output();
    }
}

/// The address within `Name <address>`.
pub fn bare(mailbox: &str) -> &str {
    match mailbox.rsplit_once('<') {
        Some((_, rest)) => rest.trim_end_matches('>'),
        None => mailbox,
    }
}

/// The MIME entity that is signed or encrypted.
fn payload(letter: &Letter, protected: Option<&str>) -> String {
    let text = text_part("text/plain", &letter.text);
    let body = match &letter.html {
        Some(html) => multipart("alternative", "", "", &[text, text_part("text/html", html)]),
        None => text,
    };
    let mut parts = vec![body];
    parts.extend(letter.attachments.iter().map(|(name, kind, bytes)| file_part(name, kind, bytes)));
    match (protected, parts.len()) {
        (Some(headers), _) => multipart("mixed", "; protected-headers=\"v1\"", headers, &parts),
        (None, 1) => parts.remove(0),
        (None, _) => multipart("mixed", "", "", &parts),
    }
}

fn encrypted(armor: &[u8]) -> Vec<u8> {
    let armor = String::from_utf8_lossy(armor).replace('\n', "\r\n");
    let version = "Content-Type: application/pgp-encrypted\r\nContent-Description: PGP/MIME version identification\r\n\r\n\
                   Version: 1\r\n";
    let data = format!(
        "Content-Type: application/octet-stream; name=\"encrypted.asc\"\r\n\
         Content-Description: OpenPGP encrypted message\r\n\
         Content-Disposition: inline; filename=\"encrypted.asc\"\r\n\r\n{armor}"
    );
    multipart("encrypted", ";\r\n protocol=\"application/pgp-encrypted\"", "", &[version.to_owned(), data]).into_bytes()
}

fn inline(armor: &[u8]) -> Vec<u8> {
    let armor = String::from_utf8_lossy(armor).replace("\r\n", "\n").replace('\n', "\r\n");
    format!("Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{armor}").into_bytes()
}

fn status_lines(stderr: &str) -> Vec<String> {
    stderr.lines().filter_map(|l| l.strip_prefix("[GNUPG:] ")).map(str::to_owned).collect()
}

fn signature(status: &[String]) -> Option<Signature> {
    let words = |start: &str| {
        status.iter().find(|l| l.starts_with(start)).map(|l| l.split(' ').map(str::to_owned).collect::<Vec<_>>())
    };
    if let Some(valid) = words("VALIDSIG ") {
        let made = valid.get(3)?.parse().ok().and_then(|s| DateTime::from_timestamp(s, 0))?;
        let good = words("GOODSIG ").is_some();
        return Some(Signature { good, fingerprint: valid.get(10)?.clone(), made });
    }
    let bad = words("BADSIG ").or_else(|| words("ERRSIG "))?;
    Some(Signature { good: false, fingerprint: bad.get(1)?.clone(), made: DateTime::UNIX_EPOCH })
}

/// Whether the text looks like OpenPGP to a thief: used by the demo to show what a disk holds.
pub fn looks_sealed(bytes: &[u8]) -> bool {
    find(bytes, b"-----BEGIN PGP MESSAGE-----").is_some()
}
