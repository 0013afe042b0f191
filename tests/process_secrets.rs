//! What is in the process's memory stays there (SPEC sections 10 and 11): no core dump, nobody of the same user looks in,
//! secrets from files that others can read are refused, and the systemd unit closes what can be closed.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use common::lab::PATIENCE;
use common::scene::{Scene, march};
use common::{Lab, PracticeOptions};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Somebody without rights.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|facts| facts.uid() == 0)
}

fn scene() -> Result<Scene> {
    Scene::with(Lab::light()?, PracticeOptions::default())
}

/// As another user where this is root, so that what belongs to root can be told from what belongs to the program.
fn as_nobody(scene: &Scene, command: &mut Command) -> Result<()> {
    if !is_root() {
        return Ok(());
    }
    let mut folder: PathBuf = scene.practice.dir.clone();
    give_away(&folder)?;
    while folder.pop() && fs::metadata(&folder)?.uid() == 0 && folder.starts_with(std::env::temp_dir()) {
        if folder == std::env::temp_dir() {
            break;
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
    }
    command.uid(NOBODY).gid(NOBODY);
    Ok(())
}

fn give_away(path: &Path) -> Result<()> {
    chown(path, Some(NOBODY), Some(NOBODY))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)?.flatten() {
            give_away(&entry.path())?;
        }
    }
    Ok(())
}

/// The largest core dump that this test may leave, for its children: as much as the machine lets it.
fn invite_core_dumps() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    Ok(setrlimit(Resource::RLIMIT_CORE, hard, hard)?)
}

/// Waits for the daemon to be at work, in its log.
fn wait_for_work(log: &Path, words: &str) -> Result<()> {
    common::lab::wait(words, PATIENCE, || Ok(fs::read_to_string(log)?.contains(words).then_some(())))
}

fn files(folder: &Path) -> Result<Vec<String>> {
    Ok(fs::read_dir(folder)?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
}

/// Runs the daemon, looks at it from outside, ends it with this signal; how it ended.
fn ended_by(scene: &Scene, signal: Signal, look: impl FnOnce(u32) -> Result<()>) -> Result<ExitStatus> {
    let log = scene.practice.dir.join(format!("log-{signal}"));
    let file = fs::File::create(&log)?;
    let mut command = scene.practice.command(&["run"])?;
    as_nobody(scene, &mut command)?;
    let mut child = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?;
    let pid = child.id();
    let seen = wait_for_work(&log, "running").and_then(|()| look(pid));
    // The first SIGSEGV only takes away the handler by which Rust tells a stack that overflowed; the next ones kill.
    let target = Pid::from_raw(pid.try_into()?);
    let ended = common::lab::wait("the end", PATIENCE, || {
        let _ = kill(target, signal);
        Ok(child.try_wait()?)
    });
    if ended.is_err() {
        child.kill()?;
        child.wait()?;
    }
    let status = ended?;
    seen.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    Ok(status)
}

#[test]
fn the_process_leaves_no_core_dump_and_nobody_looks_in() -> Result<()> {
    let scene = scene()?;
    scene.practice.set_time(march(2, 8, 0))?;
    invite_core_dumps()?;
    let before = files(&scene.practice.dir)?;
    let status = ended_by(&scene, Signal::SIGSEGV, |pid| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).context("no limit")?;
        let values: Vec<&str> = core["Max core file size".len()..].split_whitespace().collect();
        ensure!(values[..2] == ["0", "0"], "{core}");
        // A process that can't be dumped belongs to root in /proc, whoever runs it: the same user can't read its memory.
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).context("no Uid")?;
        let uid: u32 = uid.split_whitespace().next().context("no uid")?.parse()?;
        ensure!(uid != 0, "the test can't tell: the program runs as root");
        for file in ["mem", "environ", "maps"] {
            let owner = fs::metadata(format!("/proc/{pid}/{file}"))?.uid();
            ensure!(owner == 0, "/proc/PID/{file} belongs to {owner}");
        }
        same_user_is_refused(pid)
    })?;
    ensure!(status.signal() == Some(Signal::SIGSEGV as i32) && !status.core_dumped(), "{status:?}");
    let status = ended_by(&scene, Signal::SIGABRT, |_| Ok(()))?;
    ensure!(status.signal() == Some(Signal::SIGABRT as i32) && !status.core_dumped(), "{status:?}");
    let new: Vec<String> = files(&scene.practice.dir)?.into_iter().filter(|name| !before.contains(name)).collect();
    ensure!(!new.iter().any(|name| name.starts_with("core")), "{new:?}");
    // The counter-check: another program that is ended so does leave one here, unless the machine never does.
    let other = Command::new("sh").args(["-c", "kill -SEGV $$"]).current_dir(&scene.practice.dir).status()?;
    if !other.core_dumped() {
        eprintln!("note: this machine makes no core dumps at all; that part shows nothing here");
    }
    Ok(())
}

/// Somebody with the program's own user id can't open its memory.
fn same_user_is_refused(pid: u32) -> Result<()> {
    let mut command = Command::new("cat");
    command.arg(format!("/proc/{pid}/environ")).stdout(Stdio::null()).stderr(Stdio::null());
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    ensure!(!command.status()?.success(), "the same user read the environment");
    Ok(())
}

#[test]
fn secrets_that_others_can_read_are_refused() -> Result<()> {
    let scene = scene()?;
    for name in ["practice.key.pgp", "record.key"] {
        let path = scene.practice.dir.join(name);
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            let out = scene.practice.run_at(march(2, 8, 0), &["run", "--once"])?;
            ensure!(out.status == Some(1) && out.stderr.contains("chmod 600"), "{name} {mode:o}: {out:?}");
            ensure!(out.stderr.contains(name) && !out.stderr.contains("BEGIN"), "{out:?}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    }
    scene.practice.run_at(march(2, 8, 0), &["run", "--once"])?.expect_ok()?;
    Ok(())
}

/// The key's passphrase from a file, a credential and the environment; never from the command line or the TOML.
#[test]
fn a_passphrase_comes_by_file_credential_or_environment() -> Result<()> {
    let mut scene = scene()?;
    let born = chrono::TimeZone::with_ymd_and_hms(&chrono::Utc, 2026, 1, 1, 0, 0, 0).single().context("a time")?;
    let password = cadre::secret::Password::new("six lower case words".to_owned());
    let made = cadre::pgp::PracticeKey::generate(common::scene::OFFICE, Some(&password), born)?;
    fs::write(scene.practice.dir.join("practice.key.pgp"), &made.secret)?;
    let show = |scene: &Scene| scene.practice.run_at(march(2, 8, 0), &["key", "show", "--json"]);
    let locked = show(&scene)?;
    ensure!(locked.status == Some(1) && locked.stderr.contains("locked"), "{locked:?}");
    let file = scene.practice.dir.join("practice.pass");
    fs::write(&file, "six lower case words\n")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    for (source, variable, value) in [
        ("practice.pass", "UNUSED", String::new()),
        ("credential:practice.pass", "CREDENTIALS_DIRECTORY", scene.practice.dir.display().to_string()),
        ("env:CADRE_KEY_PASSPHRASE", "CADRE_KEY_PASSPHRASE", "six lower case words".to_owned()),
    ] {
        scene.practice.set("keys.passphrase_file", &format!("{source:?}"))?;
        scene.practice.env(variable, &value);
        let first: serde_json::Value = serde_json::from_str(&show(&scene)?.expect_ok()?)?;
        // A new key is locked with the same passphrase.
        scene.practice.run(&["key", "rotate", "--yes"])?.expect_ok()?;
        let second: serde_json::Value = serde_json::from_str(&show(&scene)?.expect_ok()?)?;
        ensure!(first["fingerprint"] != second["fingerprint"], "{source}");
    }
    ensure!(cadre::pgp::PracticeKey::load_ring(&fs::read(scene.practice.dir.join("practice.key.pgp"))?, None).is_err());
    Ok(())
}

/// `systemd-analyze security` judges the unit: under 2.0 is as closed as a service that dials out can be.
#[test]
fn the_systemd_unit_scores_under_two() -> Result<()> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/cadre.service");
    let judge = |unit: &Path| {
        Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
            .arg(unit)
            .env("SYSTEMD_COLORS", "0")
            .output()
    };
    let out = match judge(&unit) {
        Ok(out) => out,
        Err(error) => {
            eprintln!("note: not judged: systemd-analyze isn't here ({error}); `make deps` installs Debian's systemd");
            return Ok(());
        }
    };
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    let Some(line) = said.lines().find(|line| line.contains("Overall exposure level")) else {
        if said.contains("unrecognized option") || said.contains("Unknown") {
            eprintln!("note: not judged: this systemd-analyze can't judge a file (it needs version 250)");
            return Ok(());
        }
        bail!("{said}");
    };
    println!("{}", line.trim());
    ensure!(out.status.success(), "{line}");
    // The judge judges: the same unit with its doors open fails.
    let folder = tempfile::tempdir()?;
    let open = folder.path().join("cadre.service");
    let text: String = fs::read_to_string(&unit)?
        .lines()
        .filter(|line| {
            !["Protect", "Private", "Restrict", "SystemCall", "Capability"].iter().any(|w| line.starts_with(w))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&open, text)?;
    ensure!(!judge(&open)?.status.success(), "an open unit passed too");
    Ok(())
}
