//! The real program with a configuration for the laboratory, at whatever time the test says.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};

use super::lab::{Lab, PASSWORD, PATIENCE, process_lives, wait};
use super::person::Person;
use super::postgres;

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// None: killed by a signal.
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn ok(&self) -> bool {
        self.status == Some(0)
    }

    /// Standard output, or an error that shows everything, unless the status was 0.
    pub fn expect_ok(self) -> Result<String> {
        if !self.ok() {
            bail!("cadre ended with {:?}\n{}\n{}", self.status, self.stdout, self.stderr);
        }
        Ok(self.stdout)
    }
}

/// What the configuration says; further keys with [`Practice::set`].
#[derive(Clone, Debug)]
pub struct PracticeOptions {
    pub address: String,
    pub language: String,
    pub timezone: String,
    pub release: String,
    pub digest: String,
    pub therapist_id: String,
    pub forward: String,
    pub filing: String,
    /// `none`, `starttls` or `implicit`; the laboratory's authority goes into `ca_file`.
    pub tls: String,
    /// Another SMTP port than the laboratory's: a [`super::Sink`] of the test's own.
    pub smtp_port: Option<u16>,
}

impl Default for PracticeOptions {
    fn default() -> Self {
        Self {
            address: "ecrire@cabinet.example".into(),
            language: "fr".into(),
            timezone: "Europe/Paris".into(),
            release: "0 0 18 * * Mon-Fri".into(),
            digest: "0 0 7 * * Mon-Fri".into(),
            therapist_id: "exemple".into(),
            forward: "daily".into(),
            filing: "folders".into(),
            tls: "none".into(),
            smtp_port: None,
        }
    }
}

/// A folder with `cadre.toml` and keys, and the program to run on it.
pub struct Practice {
    pub dir: PathBuf,
    pub config: PathBuf,
    /// Where its rows are, when that isn't the file `cadre.db`.
    pub place: Option<postgres::Place>,
    binary: PathBuf,
    environment: Vec<(String, String)>,
}

impl Practice {
    /// The program that cargo built beside the running test, example or bench.
    pub fn built_binary() -> Result<PathBuf> {
        if let Some(path) = option_env!("CARGO_BIN_EXE_cadre") {
            return Ok(path.into());
        }
        let own = std::env::current_exe()?;
        let beside = own.ancestors().skip(1).map(|dir| dir.join("cadre")).find(|path| path.is_file());
        beside.context("the program isn't built: `cargo build` makes target/debug/cadre")
    }

    /// Writes a configuration by hand: `office` holds the practice's key, `therapist` gets the forwards.
    /// Both certificates are exchanged.
    pub fn write(
        lab: &Lab,
        binary: &Path,
        office: &Person,
        therapist: &Person,
        options: &PracticeOptions,
    ) -> Result<Self> {
        let dir = lab.dir.join("c");
        fs::create_dir_all(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        let private = |name: &str, bytes: &[u8]| -> Result<()> {
            fs::write(dir.join(name), bytes)?;
            Ok(fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600))?)
        };
        private("practice.key.pgp", &office.secret_key()?)?;
        private("record.key", &rand::random::<[u8; 32]>())?;
        private("imap.password", PASSWORD.as_bytes())?;
        private("smtp.password", PASSWORD.as_bytes())?;
        private("therapist.pgp", &therapist.certificate()?)?;
        therapist.meet(office)?;
        private("cadre.toml", text(lab, therapist, options).as_bytes())?;
        let mut practice = Self::adopt(&dir, binary)?;
        if postgres::wanted() {
            practice.move_to(postgres::Place::new()?)?;
        }
        Ok(practice)
    }

    /// The configuration names this place from now on.
    pub fn move_to(&mut self, place: postgres::Place) -> Result<()> {
        self.set("database.url", &format!("{:?}", place.url))?;
        self.set("database.schema", &format!("{:?}", place.schema))?;
        self.place = Some(place);
        Ok(())
    }

    /// Takes a folder that `cadre init` made.
    pub fn adopt(dir: &Path, binary: &Path) -> Result<Self> {
        let practice = Self {
            dir: dir.to_owned(),
            config: dir.join("cadre.toml"),
            place: None,
            binary: binary.to_owned(),
            environment: Vec::new(),
        };
        fs::create_dir_all(dir)?;
        Ok(practice)
    }

    /// The configuration names this SQLite file of the practice's folder from now on.
    pub fn stay_in(&mut self, file: &str) -> Result<()> {
        self.place = None;
        let mut document: toml_edit::DocumentMut = fs::read_to_string(&self.config)?.parse()?;
        let database = document["database"].as_table_mut().context("[database] is no table")?;
        database.remove("schema");
        database.insert("url", toml_edit::value(format!("sqlite:{file}")));
        Ok(fs::write(&self.config, document.to_string())?)
    }

    /// Sets one key of the configuration: `set("rhythm.second", "\"hold\"")`, `set("therapist.0.forward", …)`.
    pub fn set(&self, path: &str, value: &str) -> Result<()> {
        let mut document: toml_edit::DocumentMut = fs::read_to_string(&self.config)?.parse()?;
        let value: toml_edit::Value = value.parse()?;
        let mut steps: Vec<_> = path.split('.').collect();
        let key = steps.pop().context("an empty path")?;
        let mut table = document.as_table_mut();
        let mut steps = steps.into_iter().peekable();
        while let Some(step) = steps.next() {
            let item = table.entry(step).or_insert(toml_edit::table());
            table = match steps.peek().and_then(|n| n.parse::<usize>().ok()) {
                Some(number) => {
                    steps.next();
                    item.as_array_of_tables_mut().and_then(|a| a.get_mut(number))
                }
                None => item.as_table_mut(),
            }
            .with_context(|| format!("{path}: {step} is no table"))?;
        }
        table.insert(key, toml_edit::value(value));
        Ok(fs::write(&self.config, document.to_string())?)
    }

    /// Adds a variable to the environment of every later command (a failpoint, for example).
    pub fn env(&mut self, name: &str, value: &str) {
        self.environment.retain(|(n, _)| n != name);
        if !value.is_empty() {
            self.environment.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Sets the clock that every program of this practice sees, running ones included; it goes on from there.
    pub fn set_time(&self, at: DateTime<Utc>) -> Result<()> {
        let offset = (at - Utc::now()).num_milliseconds() as f64 / 1000.0;
        let new = self.dir.join(".clock.new");
        fs::write(&new, format!("{offset:+}\n"))?;
        Ok(fs::rename(new, self.clock_file())?)
    }

    /// Where its programs read the time that [`Practice::set_time`] set.
    pub fn clock_file(&self) -> PathBuf {
        self.dir.join(".clock")
    }

    /// `cadre --config … args` at the practice's time, not started yet.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(&self.binary);
        command.current_dir(&self.dir).env("TZ", "UTC").env("CADRE_CONFIG", &self.config);
        if self.clock_file().exists() {
            // The library itself and not the `faketime` program: a signal must reach cadre, not a wrapper.
            command
                .env("LD_PRELOAD", faketime_library()?)
                .env("FAKETIME_TIMESTAMP_FILE", self.clock_file())
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
        command.envs(self.environment.iter().map(|(n, v)| (n, v))).args(args);
        Ok(command)
    }

    /// Runs a command to its end at the practice's time.
    pub fn run(&self, args: &[&str]) -> Result<Output> {
        self.run_with_input(args, b"")
    }

    /// Sets the time, then runs a command.
    pub fn run_at(&self, at: DateTime<Utc>, args: &[&str]) -> Result<Output> {
        self.set_time(at)?;
        self.run(args)
    }

    /// One pass (`run --once --json`) at `at`; its counts.
    pub fn once(&self, at: DateTime<Utc>) -> Result<serde_json::Value> {
        let out = self.run_at(at, &["run", "--once", "--json"])?;
        // Shown where the test fails.
        print!("{}", out.stderr);
        let out = out.expect_ok()?;
        serde_json::from_str(&out).with_context(|| format!("run --once --json printed: {out}"))
    }

    /// A command with `--json`, parsed.
    pub fn json(&self, args: &[&str]) -> Result<serde_json::Value> {
        let out = self.run(&[args, &["--json"]].concat())?.expect_ok()?;
        serde_json::from_str(&out).with_context(|| format!("{} --json printed: {out}", args.join(" ")))
    }

    /// Runs a command with something on its standard input.
    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Result<Output> {
        use std::io::Write as _;
        let mut child = self
            .command(args)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} can't be started", self.binary.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input);
        }
        let out = child.wait_with_output()?;
        Ok(Output {
            status: out.status.code(),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        })
    }

    /// What a limit that holds on a machine at rest becomes on this one, as busy as it is now: as many times longer as
    /// the program is slower than on the slowest machine at rest at saying its version.
    pub fn within(&self, limit: Duration) -> Result<Duration> {
        let began = Instant::now();
        self.run(&["--version"])?.expect_ok()?;
        Ok(limit.mul_f64((began.elapsed().as_secs_f64() / 0.1).max(1.0)))
    }

    /// Starts the daemon (`run`); standard output and error go to [`Daemon::log`].
    pub fn spawn_run(&self) -> Result<Daemon> {
        self.spawn(&["run"])
    }

    /// Starts any command in the background.
    pub fn spawn(&self, args: &[&str]) -> Result<Daemon> {
        self.start(self.command(args)?)
    }

    /// Starts what [`Practice::command`] made, changed at will.
    pub fn start(&self, mut command: Command) -> Result<Daemon> {
        let log = self.dir.join(format!("log-{}", super::mail::nonce()));
        let file = fs::File::create(&log)?;
        let child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Daemon { child, log })
    }
}

/// A running `cadre`; dropping it kills it.
pub struct Daemon {
    child: Child,
    /// Both of its output streams.
    pub log: PathBuf,
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn text(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Waits until a line of the log has `words`; fails at once when the program has ended.
    pub fn wait_line(&mut self, words: &str, limit: Duration) -> Result<String> {
        let log = self.log.clone();
        let child = &mut self.child;
        wait(&format!("{words:?} in the log"), limit, || {
            let ended = child.try_wait()?;
            let text = fs::read_to_string(&log)?;
            match (text.lines().find(|line| line.contains(words)), ended) {
                (Some(line), _) => Ok(Some(line.to_owned())),
                (None, Some(status)) => bail!("cadre ended with {status}\n{text}"),
                (None, None) => Ok(None),
            }
        })
    }

    /// `kill -9`, and waits until it is dead.
    pub fn kill9(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and an orderly end, however long that takes.
    pub fn end(&mut self) -> Result<()> {
        match self.terminate(PATIENCE)? {
            Some(0) => Ok(()),
            status => bail!("cadre ended with {status:?}\n{}", self.text()?),
        }
    }

    /// SIGTERM; the exit status, within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<Option<i32>> {
        self.signal(nix::sys::signal::Signal::SIGTERM)?;
        self.wait_end(limit)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) -> Result<()> {
        Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id().try_into()?), signal)?)
    }

    /// Waits until it ends by itself (a failpoint); None where a signal ended it.
    pub fn wait_end(&mut self, limit: Duration) -> Result<Option<i32>> {
        let child = &mut self.child;
        wait("cadre to end", limit, || Ok(child.try_wait()?.map(|status| status.code())))
    }

    /// Resident memory now, bytes.
    pub fn memory(&self) -> Result<u64> {
        let mut status = String::new();
        fs::File::open(format!("/proc/{}/status", self.pid()))?.read_to_string(&mut status)?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib * 1024)
    }

    pub fn lives(&self) -> bool {
        self.pid().try_into().is_ok_and(process_lives)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where Debian puts libfaketime, for programs with threads.
pub fn faketime_library() -> Result<PathBuf> {
    let places = fs::read_dir("/usr/lib")?.flatten().map(|e| e.path()).chain([PathBuf::from("/usr/lib")]);
    let found = places.map(|dir| dir.join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file());
    found.context("libfaketimeMT.so.1 isn't there: `make deps` installs the package faketime")
}

fn text(lab: &Lab, therapist: &Person, options: &PracticeOptions) -> String {
    let (imap, smtp) = match options.tls.as_str() {
        "implicit" => (lab.imaps_port, lab.smtps_port),
        _ => (lab.imap_port, lab.smtp_port),
    };
    let smtp = options.smtp_port.unwrap_or(smtp);
    let (host, roots) = match options.tls.as_str() {
        "none" => ("127.0.0.1", String::new()),
        _ => ("localhost", format!("ca_file = {:?}\n", lab.ca_file().display().to_string())),
    };
    let PracticeOptions { address, language, timezone, release, digest, therapist_id, forward, filing, tls, .. } =
        options;
    let (name, mail) = (&therapist.name, &therapist.address);
    format!(
        r#"[practice]
name = "Cabinet Exemple"
address = "{address}"
neutral_name = "Correspondance"
language = "{language}"
timezone = "{timezone}"
country = "FR"
[practice.cadre]
channel = "courrier chiffré"
price = "60 € par semaine, par virement en fin de semaine"
fallback = "+33 1 00 00 00 00, SMS"

[keys]
secret = "practice.key.pgp"
record = "record.key"

[imap]
host = "{host}"
port = {imap}
tls = "{tls}"
username = "{address}"
password_file = "imap.password"
filing = "{filing}"
{roots}
[smtp]
host = "{host}"
port = {smtp}
tls = "{tls}"
username = "{address}"
password_file = "smtp.password"
{roots}
[database]
url = "sqlite:cadre.db"

[rhythm]
release = "{release}"
[digest]
send = "{digest}"

[[therapist]]
id = "{therapist_id}"
name = "{name}"
title = "Psychologue clinicienne"
register = "RPPS 10000000000"
country = "FR"
address = "{mail}"
certificate = "therapist.pgp"
forward = "{forward}"
"#
    )
}
