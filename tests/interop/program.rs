//! What every OpenPGP program can be asked, and the programs that are called once for each thing.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Result, ensure};

use super::world::{Key, Ran, World, run};

/// What a program says of a message that it opened.
pub struct Opened {
    pub data: Vec<u8>,
    /// Signed, and well, by the certificate that was asked for.
    pub good: bool,
}

/// How a message is to be made.
#[derive(Clone, Copy, Default)]
pub struct How {
    pub sign: bool,
    /// No key id of the recipient in it.
    pub hidden: bool,
}

/// An OpenPGP program as somebody uses it. What it makes is armored; `Err` says why it can't.
pub trait Program: Sync {
    fn name(&self) -> &'static str;
    fn version(&self, world: &World) -> Result<String>;
    /// A key as the program makes it by itself: secret key and certificate, armored.
    fn generate(&self, world: &World, address: &str) -> Result<(Vec<u8>, Vec<u8>)>;
    fn encrypt(&self, world: &World, key: &Key, to: &Key, data: &[u8], how: How) -> Result<Vec<u8>>;
    /// A detached signature over bytes (RFC 3156 section 5), with SHA-512.
    fn sign(&self, world: &World, key: &Key, data: &[u8]) -> Result<Vec<u8>>;
    fn clearsign(&self, world: &World, key: &Key, text: &str) -> Result<Vec<u8>>;
    fn decrypt(&self, world: &World, key: &Key, from: &Key, message: &[u8]) -> Result<Opened>;
    fn verify(&self, world: &World, from: &Key, data: &[u8], signature: &[u8]) -> Result<bool>;
}

/// A program with the Stateless OpenPGP interface: `sqop` of Debian, `rsop` of `tests/peers`.
pub struct Sop {
    pub name: &'static str,
    pub program: PathBuf,
    /// What `decrypt` calls the file of its findings: another word before version 7 of the interface.
    findings: OnceLock<&'static str>,
}

impl Sop {
    pub fn new(name: &'static str, program: impl Into<PathBuf>) -> Self {
        Self { name, program: program.into(), findings: OnceLock::new() }
    }

    fn findings(&self, world: &World) -> Result<&'static str> {
        if let Some(known) = self.findings.get() {
            return Ok(known);
        }
        let help = self.run(world, &["decrypt", "--help"], b"")?;
        let new = String::from_utf8_lossy(&help.out).contains("--verifications-out");
        Ok(self.findings.get_or_init(|| if new { "--verifications-out" } else { "--verify-out" }))
    }

    fn run(&self, world: &World, args: &[&str], input: &[u8]) -> Result<Ran> {
        run(world.command(&self.program)?.args(args), input)
    }
}

/// A path as an argument.
pub fn path(path: &std::path::Path) -> String {
    path.display().to_string()
}

impl Program for Sop {
    fn name(&self) -> &'static str {
        self.name
    }

    fn version(&self, world: &World) -> Result<String> {
        let said = self.run(world, &["version"], b"")?.expect("version")?;
        Ok(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
    }

    fn generate(&self, world: &World, address: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        let secret = self.run(world, &["generate-key", &format!("<{address}>")], b"")?.expect("generate-key")?;
        let certificate = self.run(world, &["extract-cert"], &secret)?.expect("extract-cert")?;
        Ok((secret, certificate))
    }

    fn encrypt(&self, world: &World, key: &Key, to: &Key, data: &[u8], how: How) -> Result<Vec<u8>> {
        ensure!(!how.hidden, "the interface has no hidden recipients");
        let signer = format!("--sign-with={}", path(&key.secret_file));
        let mut args = vec!["encrypt"];
        args.extend(how.sign.then_some(signer.as_str()));
        let recipient = path(&to.certificate_file);
        args.push(&recipient);
        self.run(world, &args, data)?.expect("encrypt")
    }

    fn sign(&self, world: &World, key: &Key, data: &[u8]) -> Result<Vec<u8>> {
        self.run(world, &["sign", "--as=binary", &path(&key.secret_file)], data)?.expect("sign")
    }

    fn clearsign(&self, world: &World, key: &Key, text: &str) -> Result<Vec<u8>> {
        self.run(world, &["inline-sign", "--as=clearsigned", &path(&key.secret_file)], text.as_bytes())?
            .expect("inline-sign")
    }

    fn decrypt(&self, world: &World, key: &Key, from: &Key, message: &[u8]) -> Result<Opened> {
        let out = world.dir.join(format!("v-{}", crate::common::mail::nonce()));
        let with = format!("--verify-with={}", path(&from.certificate_file));
        let findings = format!("{}={}", self.findings(world)?, path(&out));
        let args = ["decrypt", &with, &findings, &path(&key.secret_file)];
        let data = self.run(world, &args, message)?.expect("decrypt")?;
        let said = std::fs::read_to_string(&out).unwrap_or_default();
        // One of them writes small letters.
        let good = said.to_ascii_uppercase().contains(&from.fingerprint);
        Ok(Opened { data, good })
    }

    fn verify(&self, world: &World, from: &Key, data: &[u8], signature: &[u8]) -> Result<bool> {
        let file = world.file("sig", signature)?;
        let ran = self.run(world, &["verify", &path(&file), &path(&from.certificate_file)], data)?;
        Ok(ran.ok && String::from_utf8_lossy(&ran.out).to_ascii_uppercase().contains(&from.fingerprint))
    }
}

/// Sequoia's `sq`, as Debian 12 has it (0.27) and as later ones do.
pub struct Sq;

impl Sq {
    fn run(world: &World, args: &[&str], input: &[u8]) -> Result<Ran> {
        run(world.command("sq")?.args(args), input)
    }

    /// The words of version 0.27, or those of 1.0.
    fn words(world: &World) -> Result<[&'static str; 3]> {
        let ran = Self::run(world, &["--version"], b"")?;
        let old = format!("{}{}", String::from_utf8_lossy(&ran.out), ran.said).contains("sq 0.");
        Ok(if old {
            ["--recipient-cert", "--signer-key", "--signer-cert"]
        } else {
            ["--for-file", "--signer-file", "--signer-file"]
        })
    }
}

impl Program for Sq {
    fn name(&self) -> &'static str {
        "sq"
    }

    fn version(&self, world: &World) -> Result<String> {
        let ran = Self::run(world, &["--version"], b"")?;
        let said = format!("{}{}", String::from_utf8_lossy(&ran.out), ran.said);
        Ok(said.lines().next().unwrap_or_default().split(" (").next().unwrap_or_default().to_owned())
    }

    fn generate(&self, world: &World, address: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        let file = world.file("own", b"")?;
        let user = format!("<{address}>");
        Self::run(world, &["--force", "key", "generate", "--userid", &user, "--export", &path(&file)], b"")?
            .expect("key generate")?;
        let secret = std::fs::read(&file)?;
        let certificate = Self::run(world, &["key", "extract-cert"], &secret)?.expect("extract-cert")?;
        Ok((secret, certificate))
    }

    fn encrypt(&self, world: &World, key: &Key, to: &Key, data: &[u8], how: How) -> Result<Vec<u8>> {
        ensure!(!how.hidden, "the program has no hidden recipients");
        let [recipient, signer, _] = Self::words(world)?;
        let (to, own, file) = (path(&to.certificate_file), path(&key.secret_file), path(&world.file("plain", data)?));
        let mut args = vec!["encrypt", recipient, to.as_str()];
        args.extend(how.sign.then_some([signer, own.as_str()]).into_iter().flatten());
        // The list of recipients would else take the file for one.
        args.extend(["--", file.as_str()]);
        Self::run(world, &args, b"")?.expect("encrypt")
    }

    fn sign(&self, world: &World, key: &Key, data: &[u8]) -> Result<Vec<u8>> {
        let [_, signer, _] = Self::words(world)?;
        Self::run(world, &["sign", signer, &path(&key.secret_file), "--detached"], data)?.expect("sign")
    }

    fn clearsign(&self, world: &World, key: &Key, text: &str) -> Result<Vec<u8>> {
        let [_, signer, _] = Self::words(world)?;
        let args = ["sign", signer, &path(&key.secret_file), "--cleartext-signature"];
        Self::run(world, &args, text.as_bytes())?.expect("sign")
    }

    fn decrypt(&self, world: &World, key: &Key, from: &Key, message: &[u8]) -> Result<Opened> {
        let [_, _, signer] = Self::words(world)?;
        let (own, theirs) = (path(&key.secret_file), path(&from.certificate_file));
        // With a signer's certificate named it fails unless a signature of that signer is good.
        let args = ["decrypt", "--recipient-key", &own, signer, &theirs, "--signatures", "1"];
        let ran = Self::run(world, &args, message)?;
        let good = ran.said.contains("Good signature");
        Ok(Opened { data: ran.expect("decrypt")?, good })
    }

    fn verify(&self, world: &World, from: &Key, data: &[u8], signature: &[u8]) -> Result<bool> {
        let [_, _, signer] = Self::words(world)?;
        let (sig, file) = (path(&world.file("sig", signature)?), path(&world.file("data", data)?));
        let args = ["verify", signer, &path(&from.certificate_file), "--detached", &sig, "--", &file];
        let ran = Self::run(world, &args, b"")?;
        Ok(ran.ok && ran.said.contains("Good signature"))
    }
}
