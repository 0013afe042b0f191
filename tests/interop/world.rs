//! Where the correspondents live: a folder, a clock that is the practice's, and the programs of `tests/peers`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use cadre::pgp::Certificate;
use chrono::{DateTime, Utc};

use crate::common::Lab;
use crate::common::practice::faketime_library;

/// The correspondents' folder and clock.
pub struct World {
    pub dir: PathBuf,
    /// What `tests/peers/install.sh` installed.
    pub peers: PathBuf,
    /// Milliseconds that every program's clock is ahead of the real one.
    ahead: AtomicI64,
}

impl Drop for World {
    fn drop(&mut self) {
        let home = self.dir.join("gnupg");
        if home.is_dir()
            && let Err(error) = super::ring::end_agent(&home)
        {
            eprintln!("laboratory: {error:#}");
        }
    }
}

/// How a program ended.
pub struct Ran {
    pub ok: bool,
    pub out: Vec<u8>,
    pub said: String,
}

impl Ran {
    pub fn expect(self, what: &str) -> Result<Vec<u8>> {
        ensure!(self.ok, "{what}: {}", self.said.trim());
        Ok(self.out)
    }
}

impl World {
    pub fn new(lab: &Lab, at: DateTime<Utc>) -> Result<Self> {
        let dir = lab.dir.join("w");
        fs::create_dir_all(&dir)?;
        let world = Self { dir, peers: installed()?, ahead: AtomicI64::new(0) };
        world.set_time(at);
        Ok(world)
    }

    /// What time it is for every program started from now on.
    pub fn set_time(&self, at: DateTime<Utc>) {
        self.ahead.store((at - Utc::now()).num_milliseconds(), Ordering::SeqCst);
    }

    pub fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::SeqCst)
    }

    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + chrono::TimeDelta::milliseconds(self.ahead())
    }

    /// A folder of one program's own.
    pub fn home(&self, program: &str) -> Result<PathBuf> {
        let home = self.dir.join(program);
        fs::create_dir_all(&home)?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
        Ok(home)
    }

    /// A program at this world's time, with a home of its own.
    pub fn command(&self, program: impl AsRef<Path>) -> Result<Command> {
        let mut command = Command::new(program.as_ref());
        command
            .env("HOME", &self.dir)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("LD_PRELOAD", faketime_library()?)
            .env("FAKETIME", format!("{:+.3}", self.ahead() as f64 / 1000.0))
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
        Ok(command)
    }

    /// A file of one run, removed with the world.
    pub fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.dir.join(format!("{}-{name}", crate::common::mail::nonce()));
        fs::write(&path, bytes)?;
        Ok(path)
    }
}

/// Runs a program to its end with something on its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Result<Ran> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{name} can't be started: `make deps` installs it"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let output = std::thread::scope(|scope| {
        // A program may stop reading early; what it says then is in its status.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output()
    })?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Ran { ok: output.status.success(), out: output.stdout, said })
}

/// The folder of the peers, complete; in clear words what to do where it isn't.
fn installed() -> Result<PathBuf> {
    let peers = match std::env::var_os("CADRE_PEERS") {
        Some(named) => PathBuf::from(named),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers"),
    };
    for part in ["bin/rsop", "js/node_modules/openpgp", "py/bin/python", "py/bin/deltachat-rpc-server"] {
        if !peers.join(part).exists() {
            bail!(
                "{} isn't there: tests/peers/install.sh installs the OpenPGP programs that this test writes to \
                 (`make test` calls it; crates.io, npm and PyPI have to be reachable once)",
                peers.join(part).display()
            );
        }
    }
    // The servers are started from other folders.
    Ok(fs::canonicalize(peers)?)
}

/// One key in the hands of a correspondent.
#[derive(Clone)]
pub struct Key {
    pub address: String,
    pub secret: Vec<u8>,
    pub certificate: Vec<u8>,
    pub secret_file: PathBuf,
    pub certificate_file: PathBuf,
    /// Of the primary, upper case hex.
    pub fingerprint: String,
}

impl Key {
    pub fn new(world: &World, id: &str, address: &str, secret: Vec<u8>, certificate: Vec<u8>) -> Result<Self> {
        let home = world.home("keys")?;
        let (secret_file, certificate_file) = (home.join(format!("{id}.key")), home.join(format!("{id}.cert")));
        fs::write(&secret_file, &secret)?;
        fs::write(&certificate_file, &certificate)?;
        let fingerprint = Certificate::from_bytes(&certificate)?.fingerprint();
        let address = address.to_owned();
        Ok(Self { address, secret, certificate, secret_file, certificate_file, fingerprint })
    }

    /// One of the keys of `tests/data/interop`.
    pub fn committed(world: &World, id: &str) -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/interop");
        let read = |kind: &str| fs::read(folder.join(format!("{id}.{kind}.asc")));
        Self::new(world, id, &format!("{id}@client.example"), read("key")?, read("cert")?)
    }
}
