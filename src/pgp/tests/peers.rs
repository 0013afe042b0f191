//! Real programs as correspondents. Where one isn't installed its test says so and passes.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::super::*;
use super::support::*;

fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

fn run(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// A GnuPG home of its own, whose agent is ended with it.
struct Gnupg(tempfile::TempDir);

impl Gnupg {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::Builder::new().prefix("cadre-gpg").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let this = Self(home);
        let made = run(Command::new("gpg").env("GNUPGHOME", this.0.path()).args(["--batch", "--check-trustdb"]), b"");
        assert!(made.status.success(), "{}", said(&made));
        this
    }

    fn gpg(&self, args: &[&str], input: &[u8]) -> Output {
        let fixed = ["--batch", "--no-tty", "--quiet", "--trust-model", "always", "--status-fd", "2"];
        run(Command::new("gpg").env("GNUPGHOME", self.0.path()).args(fixed).args(args), input)
    }

    fn import(&self, key: &[u8]) {
        let output = self.gpg(&["--import"], key);
        assert!(output.status.success(), "{}", said(&output));
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let kill = Command::new("gpgconf").env("GNUPGHOME", self.0.path()).args(["--kill", "all"]).status();
        assert!(kill.is_ok());
    }
}

/// Letters of sizes that exercise padding: one block, several, the largest that mail has.
fn letters() -> Vec<Vec<u8>> {
    [1, 4096, 70_000, 3_000_000].iter().map(|n| (0..*n).map(|i: usize| (i * 31 % 251) as u8).collect()).collect()
}

fn lately() -> chrono::DateTime<chrono::Utc> {
    crate::clock::Clock::System.now() - chrono::TimeDelta::minutes(1)
}

#[test]
fn gnupg_reads_what_is_sealed_and_is_read() {
    if !installed("gpg") {
        return;
    }
    let (home, practice) = (Gnupg::new(), practice());
    home.import(&secret_bytes("marie"));
    home.import(practice.certificate().to_armored().as_bytes());
    let marie = cert("marie");
    for letter in letters() {
        let sealed = seal(&letter, &[&marie, &cert("exemple")], &practice, lately()).unwrap();
        let output = home.gpg(&["--decrypt"], &sealed);
        assert!(output.stdout == letter, "{} of {}: {}", output.stdout.len(), letter.len(), said(&output));
        let status = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(status.contains("GOODSIG") && status.contains("DECRYPTION_OKAY"), "{status}");
        assert!(!status.contains("WARNING"), "{status}");
    }
    let signature = sign_detached(b"clear\r\n", &practice, lately()).unwrap();
    let file = home.0.path().join("s.asc");
    std::fs::write(&file, &signature).unwrap();
    let output = home.gpg(&["--verify", file.to_str().unwrap(), "-"], b"clear\r\n");
    assert!(output.status.success(), "{}", said(&output));

    let us = practice.certificate().fingerprint();
    for extra in [&["--compress-algo", "zlib"][..], &["--compress-algo", "none"], &["--throw-keyids"], &["--armor"]] {
        let args =
            [&["--sign", "--encrypt", "--recipient", &us, "--local-user", "marie@client.example"][..], extra].concat();
        for letter in letters() {
            let output = home.gpg(&args, &letter);
            let at = crate::clock::Clock::System.now();
            let opened = open(&output.stdout, &[&practice], &vec![marie.clone()], at, &Limits::default()).unwrap();
            assert!(opened.plaintext.as_bytes() == letter, "{extra:?}");
            assert_eq!(good(&opened.signature).fingerprint, marie.fingerprint());
        }
    }
    let output = home.gpg(&["--encrypt", "--recipient", &us], b"unsigned");
    let at = crate::clock::Clock::System.now();
    let opened = open(&output.stdout, &[&practice], &vec![marie.clone()], at, &Limits::default()).unwrap();
    assert_eq!(opened.signature, SignatureCheck::None);
    let output = home.gpg(&["--clearsign", "--local-user", "marie@client.example"], b"Bonjour\n- a dash\n");
    let at = crate::clock::Clock::System.now();
    let opened = verify_cleartext(&output.stdout, &vec![marie.clone()], at, &Limits::default()).unwrap();
    good(&opened.signature);
    assert!(opened.plaintext.as_bytes().starts_with(b"Bonjour"));
}

#[test]
fn gnupg_imports_a_generated_key_and_its_revocation() {
    if !installed("gpg") {
        return;
    }
    let home = Gnupg::new();
    let new = PracticeKey::generate("practice@cadre.example", None, now() - hours(48)).unwrap();
    home.import(&new.secret);
    let loaded = PracticeKey::load(&new.secret, None).unwrap();
    let sealed = seal(b"archived", &[loaded.certificate()], &loaded, lately()).unwrap();
    assert_eq!(home.gpg(&["--decrypt"], &sealed).stdout, b"archived");
    home.import(&new.revocation);
    let listing = home.gpg(&["--with-colons", "--list-keys"], b"");
    assert!(String::from_utf8_lossy(&listing.stdout).contains("pub:r:"), "{}", said(&listing));
}

#[test]
fn gnupg_rsa_keys_work_both_ways() {
    if !installed("gpg") {
        return;
    }
    let (home, practice) = (Gnupg::new(), practice());
    home.import(practice.certificate().to_armored().as_bytes());
    let made =
        home.gpg(&["--passphrase", "", "--quick-gen-key", "rsa@client.example", "rsa2048", "default", "never"], b"");
    assert!(made.status.success(), "{}", said(&made));
    let fingerprint =
        Certificate::from_bytes(&home.gpg(&["--export", "rsa@client.example"], b"").stdout).unwrap().fingerprint();
    let added = home.gpg(&["--passphrase", "", "--quick-add-key", &fingerprint, "rsa2048", "encr", "never"], b"");
    assert!(added.status.success(), "{}", said(&added));
    let rsa = Certificate::from_bytes(&home.gpg(&["--export", "rsa@client.example"], b"").stdout).unwrap();
    let at = crate::clock::Clock::System.now();
    let sealed = seal(b"to RSA", &[&rsa], &practice, at).unwrap();
    assert_eq!(home.gpg(&["--decrypt"], &sealed).stdout, b"to RSA");
    let us = practice.certificate().fingerprint();
    let output = home.gpg(&["--sign", "--encrypt", "--recipient", &us, "--local-user", &fingerprint], b"from RSA");
    let opened = open(&output.stdout, &[&practice], &vec![rsa], at, &Limits::default()).unwrap();
    assert_eq!(good(&opened.signature).fingerprint, fingerprint);
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn sqop_reads_what_is_sealed_and_is_read() {
    if !installed("sqop") {
        return;
    }
    let (folder, practice) = (tempfile::tempdir().unwrap(), practice());
    let marie_key = write(folder.path(), "marie.key", &secret_bytes("marie"));
    let ours = write(folder.path(), "practice.cert", practice.certificate().to_armored().as_bytes());
    let verified = folder.path().join("verified").to_str().unwrap().to_owned();
    for letter in letters() {
        let sealed = seal(&letter, &[&cert("marie")], &practice, lately()).unwrap();
        drop(std::fs::remove_file(&verified));
        let mut command = Command::new("sqop");
        let verify = [format!("--verify-with={ours}"), format!("--verify-out={verified}")];
        let output = run(command.arg("decrypt").args(verify).arg(&marie_key), &sealed);
        assert!(output.stdout == letter, "{}", said(&output));
        let lines = std::fs::read_to_string(&verified).unwrap();
        assert!(lines.contains(&practice.certificate().fingerprint()), "{lines}");
        let encrypt = ["encrypt", &format!("--sign-with={marie_key}"), &ours];
        let output = run(Command::new("sqop").args(encrypt), &letter);
        let at = crate::clock::Clock::System.now();
        let opened = open(&output.stdout, &[&practice], &vec![cert("marie")], at, &Limits::default()).unwrap();
        assert!(opened.plaintext.as_bytes() == letter);
        good(&opened.signature);
    }
}

#[test]
fn sq_reads_what_is_sealed() {
    if !installed("sq") {
        return;
    }
    let (folder, practice) = (tempfile::tempdir().unwrap(), practice());
    let marie_key = write(folder.path(), "marie.key", &secret_bytes("marie"));
    let ours = write(folder.path(), "practice.cert", practice.certificate().to_armored().as_bytes());
    let version = said(&run(Command::new("sq").arg("--version"), b""));
    let old = version.contains("sq 0.");
    let (recipient, signer) =
        if old { ("--recipient-key", "--signer-cert") } else { ("--recipient-file", "--signer-file") };
    for letter in letters() {
        let sealed = seal(&letter, &[&cert("marie")], &practice, lately()).unwrap();
        let args = ["decrypt", recipient, &marie_key, signer, &ours];
        let output = run(Command::new("sq").args(args), &sealed);
        assert!(output.stdout == letter, "{}", said(&output));
    }
}

#[test]
fn rnp_reads_what_is_sealed_and_is_read() {
    if !installed("rnp") || !installed("rnpkeys") {
        return;
    }
    let (folder, practice) = (tempfile::tempdir().unwrap(), practice());
    let home = folder.path().to_str().unwrap();
    let marie_key = write(folder.path(), "marie.key", &secret_bytes("marie"));
    let ours = write(folder.path(), "practice.cert", practice.certificate().to_armored().as_bytes());
    for file in [&marie_key, &ours] {
        let output = run(Command::new("rnpkeys").args(["--homedir", home, "--import-keys", file]), b"");
        assert!(output.status.success(), "{}", said(&output));
    }
    for letter in letters() {
        let sealed = write(folder.path(), "sealed", &seal(&letter, &[&cert("marie")], &practice, lately()).unwrap());
        let out = folder.path().join("out").to_str().unwrap().to_owned();
        let args = ["--homedir", home, "--password", "", "--overwrite", "--output", &out, "--decrypt", &sealed];
        let output = run(Command::new("rnp").args(args), b"");
        assert!(output.status.success(), "{}", said(&output));
        assert!(std::fs::read(&out).unwrap() == letter);
        assert!(said(&output).contains("Good signature"), "{}", said(&output));
        let plain = write(folder.path(), "plain", &letter);
        let args = ["--homedir", home, "--password", "", "--overwrite", "--output", &out, "--sign", "--encrypt"];
        let who = ["--recipient", "practice@cadre.example", "--userid", "marie@client.example", &plain];
        let output = run(Command::new("rnp").args(args).args(who), b"");
        assert!(output.status.success(), "{}", said(&output));
        let at = crate::clock::Clock::System.now();
        let message = std::fs::read(&out).unwrap();
        let opened = open(&message, &[&practice], &vec![cert("marie")], at, &Limits::default()).unwrap();
        assert!(opened.plaintext.as_bytes() == letter);
        good(&opened.signature);
    }
}
