//! Programs with a key ring in a folder: GnuPG and RNP.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context as _, Result, ensure};

use super::program::{How, Opened, Program, path};
use super::world::{Key, Ran, World, run};

/// A key ring in a folder: GnuPG and RNP. Keys are imported when they are first used.
pub struct Ring {
    pub gnupg: bool,
    known: Mutex<Vec<String>>,
}

impl Ring {
    pub fn gnupg() -> Self {
        Self { gnupg: true, known: Mutex::default() }
    }

    pub fn rnp() -> Self {
        Self { gnupg: false, known: Mutex::default() }
    }

    fn command(&self, world: &World, program: &str) -> Result<Command> {
        let home = world.home(self.name())?;
        if !self.gnupg {
            let mut command = world.command(program)?;
            command.arg("--homedir").arg(home).args(["--password", "", "--notty"]);
            return Ok(command);
        }
        // Its own option turns its clock: an agent under libfaketime would keep the time that it was started at.
        let mut command = Command::new(program);
        command
            .env("GNUPGHOME", home)
            .env("LC_ALL", "C.UTF-8")
            .args(["--batch", "--no-tty", "--yes", "--quiet", "--trust-model", "always", "--status-fd", "2"])
            .args(["--pinentry-mode", "loopback", "--passphrase", "", "--no-auto-key-retrieve"])
            .args(["--faked-system-time", &world.now().format("%Y%m%dT%H%M%S").to_string()]);
        Ok(command)
    }

    fn run(&self, world: &World, args: &[&str], input: &[u8]) -> Result<Ran> {
        run(self.command(world, if self.gnupg { "gpg" } else { "rnp" })?.args(args), input)
    }

    /// Imports a key, the secret part too where it is the writer's own.
    pub fn knows(&self, world: &World, key: &Key, secret: bool) -> Result<()> {
        let mark = format!("{} {secret}", key.fingerprint);
        let mut known = self.known.lock().map_err(|_| anyhow::anyhow!("poisoned"))?;
        if known.contains(&mark) {
            return Ok(());
        }
        let file = path(if secret { &key.secret_file } else { &key.certificate_file });
        let ran = if self.gnupg {
            self.run(world, &["--import", &file], b"")?
        } else {
            run(self.command(world, "rnpkeys")?.args(["--import-keys", &file]), b"")?
        };
        let imported = ran.ok && (!self.gnupg || ran.said.contains("IMPORT_OK"));
        ensure!(imported, "import: {}", ran.said.lines().next_back().unwrap_or_default());
        known.push(mark);
        Ok(())
    }

    /// GnuPG writes to standard output, RNP to a file.
    fn make(&self, world: &World, args: &[&str], data: &[u8]) -> Result<Vec<u8>> {
        if self.gnupg {
            return self.run(world, args, data)?.expect(args[0]);
        }
        let (input, output) = (world.file("in", data)?, world.file("out", b"")?);
        let out = path(&output);
        let file = path(&input);
        let all = [args, &["--overwrite", "--output", &out, &file]].concat();
        self.run(world, &all, b"")?.expect(args[0])?;
        Ok(std::fs::read(output)?)
    }

    /// Writes to somebody with options of the program's own.
    pub fn write(&self, world: &World, key: &Key, to: &Key, options: &[&str], data: &[u8]) -> Result<Vec<u8>> {
        self.knows(world, key, true)?;
        self.knows(world, to, false)?;
        let recipient = if self.gnupg { "-r" } else { "--recipient" };
        self.make(world, &[options, &[recipient, &to.fingerprint, "-u", &key.fingerprint]].concat(), data)
    }
}

impl Program for Ring {
    fn name(&self) -> &'static str {
        if self.gnupg { "gnupg" } else { "rnp" }
    }

    fn version(&self, world: &World) -> Result<String> {
        let ran =
            run(Command::new(if self.gnupg { "gpg" } else { "rnp" }).arg("--version").env("HOME", &world.dir), b"")?;
        Ok(String::from_utf8_lossy(&ran.out).lines().next().unwrap_or_default().to_owned())
    }

    fn generate(&self, world: &World, address: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        if !self.gnupg {
            let mut command = self.command(world, "rnpkeys")?;
            run(command.args(["--generate-key", "--userid", address]), b"")?.expect("generate-key")?;
            let export = |secret: &[&str]| {
                let out = path(&world.file("own", b"")?);
                let args = [secret, &["--export-key", address, "--overwrite", "--output", &out]].concat();
                run(self.command(world, "rnpkeys")?.args(args), b"")?.expect("export-key")?;
                Ok::<_, anyhow::Error>(std::fs::read(out)?)
            };
            return Ok((export(&["--secret"])?, export(&[])?));
        }
        // GnuPG 2.2's own answer to "give me a key": RSA 3072, ends after two years.
        self.run(world, &["--quick-generate-key", address], b"")?.expect("quick-generate-key")?;
        let user = format!("={address}");
        let secret = self.run(world, &["--armor", "--export-secret-keys", &user], b"")?.expect("export")?;
        let certificate = self.run(world, &["--armor", "--export", &user], b"")?.expect("export")?;
        Ok((secret, certificate))
    }

    fn encrypt(&self, world: &World, key: &Key, to: &Key, data: &[u8], how: How) -> Result<Vec<u8>> {
        ensure!(self.gnupg || !how.hidden, "the program has no hidden recipients");
        self.knows(world, key, true)?;
        self.knows(world, to, false)?;
        let (own, theirs) = (&key.fingerprint, &to.fingerprint);
        let mut args = vec!["--encrypt", "--armor", if self.gnupg { "-r" } else { "--recipient" }, theirs.as_str()];
        args.extend(how.sign.then_some(["--sign", "-u", own.as_str()]).into_iter().flatten());
        args.extend(how.hidden.then_some("--throw-keyids"));
        self.make(world, &args, data)
    }

    fn sign(&self, world: &World, key: &Key, data: &[u8]) -> Result<Vec<u8>> {
        self.knows(world, key, true)?;
        let own = &key.fingerprint;
        if self.gnupg {
            return self.make(world, &["--detach-sign", "--armor", "--digest-algo", "SHA512", "-u", own], data);
        }
        self.make(world, &["--sign", "--detach", "--armor", "--hash", "SHA512", "-u", own], data)
    }

    fn clearsign(&self, world: &World, key: &Key, text: &str) -> Result<Vec<u8>> {
        self.knows(world, key, true)?;
        self.make(world, &["--clearsign", "-u", &key.fingerprint], text.as_bytes())
    }

    fn decrypt(&self, world: &World, key: &Key, from: &Key, message: &[u8]) -> Result<Opened> {
        self.knows(world, key, true)?;
        self.knows(world, from, false)?;
        let (input, output) = (world.file("m", message)?, world.file("p", b"")?);
        let (input, out) = (path(&input), path(&output));
        let flag = if self.gnupg { "--decrypt" } else { "-d" };
        let args = if self.gnupg {
            vec!["--output", &out, flag, &input]
        } else {
            vec![flag, "--overwrite", "--output", &out, &input]
        };
        let ran = self.run(world, &args, b"")?;
        let said = format!("{}{}", ran.said, String::from_utf8_lossy(&ran.out));
        let good = if self.gnupg {
            said.contains("GOODSIG ") && said.lines().any(|l| l.contains("VALIDSIG ") && l.contains(&from.fingerprint))
        } else {
            said.contains("Good signature") && said.contains("Signature(s) verified successfully")
        };
        ran.expect("decrypt")?;
        Ok(Opened { data: std::fs::read(output)?, good })
    }

    fn verify(&self, world: &World, from: &Key, data: &[u8], signature: &[u8]) -> Result<bool> {
        self.knows(world, from, false)?;
        let (sig, file) = (path(&world.file("sig", signature)?), path(&world.file("data", data)?));
        let ran = if self.gnupg {
            self.run(world, &["--verify", &sig, &file], b"")?
        } else {
            self.run(world, &["--verify", "--source", &file, &sig], b"")?
        };
        let said = format!("{}{}", ran.said, String::from_utf8_lossy(&ran.out));
        Ok(ran.ok && (said.contains("GOODSIG ") || said.contains("Good signature")))
    }
}

/// Ends GnuPG's agent of this folder.
pub fn end_agent(home: &Path) -> Result<()> {
    let done = Command::new("gpgconf").arg("--homedir").arg(home).args(["--kill", "all"]).status();
    ensure!(done.context("gpgconf")?.success(), "GnuPG's agent can't be ended");
    Ok(())
}
