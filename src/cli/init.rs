//! `cadre init`: keys and a commented configuration in a new folder, from flags or a conversation.

mod ask;
mod certificate;
mod fields;
mod interrupt;
mod mailbox;
mod talk;
mod write;

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;
use zeroize::Zeroizing;

use super::args;
use crate::clock::Clock;
use crate::config::example::{Answers, CadreAnswers, ServerAnswers, TherapistAnswers, render};
use crate::config::{Config, Env, Finding, Severity};
use crate::pgp::{Certificate, Purpose};

const CONFIG: &str = "cadre.toml";
const PRACTICE_KEY: &str = "practice.key.pgp";
pub(super) const PRACTICE_CERTIFICATE: &str = "practice.asc";
const RECORD_KEY: &str = "record.key";
const ARCHIVE: &str = "archive.pgp";
const ARCHIVE_SECRET: &str = "archive-secret.asc";
const IMAP_PASSWORD: &str = "imap.password";
const SMTP_PASSWORD: &str = "smtp.password";

/// What the example file has where nobody answered.
const EXAMPLE_ADDRESS: &str = "ecrire@cabinet.example";
const EXAMPLE_THERAPIST: &str = "exemple";

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub(super) enum InitError {
    #[error("{path} is there already, and `init` overwrites nothing: choose another folder, or move it away")]
    Exists { path: PathBuf },
    #[error("the folder {path} is missing: make it (or plug the stick in), or name another path")]
    NoFolder { path: PathBuf },
    #[error("{path} can't be read ({kind}): correct the path, or let this user read it")]
    Unreadable { path: PathBuf, kind: std::io::ErrorKind },
    #[error("{path} can't be written ({kind}): choose a place where this user may write; nothing was left behind")]
    NotWritten { path: PathBuf, kind: std::io::ErrorKind },
    #[error("{path} holds no certificate that can be used: {source}")]
    Certificate { path: PathBuf, source: crate::pgp::CertError },
    #[error("a key couldn't be made: {0}; nothing was left behind")]
    Key(#[from] crate::pgp::KeyError),
    #[error("the conversation ended before its end; nothing was made")]
    Ended,
    #[error("interrupted; nothing was made")]
    Interrupted,
    #[error("this mailbox can't be used, and nothing was made: {why}")]
    NoImap { why: String },
    #[error(
        "no provider is called so: config/providers.toml has the names; name the servers with --imap-host and --smtp-host"
    )]
    NoProvider,
    #[error("the command gives no token: {0}")]
    Token(String),
    #[error("some answers can't be used; nothing was made")]
    Answers(Vec<Finding>),
}

impl InitError {
    fn status(&self) -> ExitCode {
        match self {
            Self::Answers(_) => ExitCode::from(2),
            Self::Interrupted => ExitCode::from(interrupt::INTERRUPTED),
            _ => ExitCode::FAILURE,
        }
    }
}

/// What was typed without echo.
#[derive(Default)]
struct Passwords {
    imap: Option<Zeroizing<Vec<u8>>>,
    smtp: Option<Zeroizing<Vec<u8>>>,
}

/// Everything that is known before anything is written.
#[derive(Default)]
struct Plan {
    folder: PathBuf,
    answers: Answers,
    therapist_id: String,
    certificate: Option<Certificate>,
    /// None: asked for later, the file is left empty.
    imap_password: Option<Zeroizing<Vec<u8>>>,
    smtp_password: Option<Zeroizing<Vec<u8>>>,
    smtp_logs_in: bool,
    /// A command gives tokens: there are no passwords.
    tokens: bool,
    archive: bool,
    /// A file, or a folder that exists; none: the new folder itself.
    archive_secret: Option<PathBuf>,
}

/// One thing that a person still has to write.
#[derive(Debug, Serialize)]
struct ToFill {
    file: PathBuf,
    line: Option<usize>,
    key: String,
    what: String,
}

/// What was made, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Made {
    folder: PathBuf,
    config: PathBuf,
    files: Vec<PathBuf>,
    practice_fingerprint: String,
    archive_fingerprint: Option<String>,
    archive_secret: Option<PathBuf>,
    to_fill_in: Vec<ToFill>,
    warnings: Vec<String>,
    next: Vec<String>,
}

/// Runs `cadre init`.
pub async fn init(args: &args::Init, json: bool) -> ExitCode {
    let talks = !args.yes && !json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match make(args, talks).await {
        Ok(made) if json => {
            println!("{}", serde_json::to_string_pretty(&made).unwrap_or_default());
            ExitCode::SUCCESS
        }
        Ok(made) => {
            let story = story(&made);
            print!("{}", if talks { ask::Screen::new().refolded(&story) } else { story });
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cadre init: {error}");
            if let InitError::Answers(findings) = &error {
                for finding in findings.iter().filter(|finding| finding.is_error()) {
                    eprintln!("  {}: {}\n      → {}", finding.key, finding.cause, finding.remedy);
                }
            }
            error.status()
        }
    }
}

async fn make(args: &args::Init, talks: bool) -> Result<Made, InitError> {
    let mut args = args.clone();
    // Before a long conversation that would come to nothing.
    write::must_be_new(&[args.dir.join(CONFIG), args.dir.join(PRACTICE_KEY), args.dir.join(RECORD_KEY)])?;
    let interrupt = interrupt::Interrupt::watch();
    let asked = if talks {
        talk::complete(&mut args).await?
    } else {
        mailbox::by_flag(&mut args)?;
        Passwords::default()
    };
    let typed = args.clone();
    // Judged with the example's value where an answer was left empty, and written with none: then nothing starts on it.
    without_blanks(&mut args);
    let plan = plan(&args, asked)?;
    let config_file = plan.folder.join(CONFIG);
    let (config, _) =
        Config::load_text(&config_file, &render(&plan.answers), &Env::process()).map_err(InitError::Answers)?;
    let text = render(&with_blanks(plan.answers.clone(), &typed));
    interrupt.begin_writing();
    let written = write::write(&plan, &text, Clock::System.now(), || interrupt.wanted())?;
    let to_fill_in = to_fill_in(&plan, &args, &config);
    let warnings = warnings(&plan, &written);
    let next = next_steps(&plan, &written, !to_fill_in.is_empty());
    Ok(Made {
        folder: plan.folder.clone(),
        config: config_file,
        files: written.files,
        practice_fingerprint: written.practice_fingerprint,
        archive_fingerprint: written.archive_fingerprint,
        archive_secret: written.archive_secret,
        to_fill_in,
        warnings,
        next,
    })
}

/// The answers that were left empty, by the flags' names.
fn blanks(args: &mut args::Init) -> [&mut Option<String>; 6] {
    [
        &mut args.channel,
        &mut args.price,
        &mut args.fallback,
        &mut args.therapist_title,
        &mut args.therapist_register,
        &mut args.operator,
    ]
}

fn without_blanks(args: &mut args::Init) {
    for answer in blanks(args) {
        if answer.as_deref().is_some_and(|text| text.trim().is_empty()) {
            *answer = None;
        }
    }
}

/// Elements of the frame that were left empty are empty in the file too. Each stays on its line.
fn with_blanks(mut answers: Answers, typed: &args::Init) -> Answers {
    let blank = |slot: &mut Option<String>, answer: &Option<String>| {
        if answer.as_deref().is_some_and(|text| text.trim().is_empty()) {
            *slot = Some(String::new());
        }
    };
    blank(&mut answers.cadre.channel, &typed.channel);
    blank(&mut answers.cadre.price, &typed.price);
    blank(&mut answers.cadre.fallback, &typed.fallback);
    for therapist in &mut answers.therapists {
        blank(&mut therapist.title, &typed.therapist_title);
        blank(&mut therapist.register, &typed.therapist_register);
    }
    answers
}

fn plan(args: &args::Init, asked: Passwords) -> Result<Plan, InitError> {
    let id = args.therapist.clone().unwrap_or_else(|| EXAMPLE_THERAPIST.to_owned());
    let certificate = args.therapist_certificate.as_deref().map(read_certificate).transpose()?;
    let from_file = |path: &Option<PathBuf>| path.as_deref().map(read_secret).transpose();
    let imap_password = from_file(&args.imap_password_file)?.or(asked.imap);
    let mut smtp_password = from_file(&args.smtp_password_file)?.or(asked.smtp);
    let imap_user = args.imap_username.clone().or_else(|| args.address.clone());
    let named = args.smtp_username.is_some() || smtp_password.is_some();
    let smtp_logs_in = named || args.smtp_tls.as_deref() != Some("none");
    let smtp_user = smtp_logs_in.then(|| {
        args.smtp_username.clone().or_else(|| imap_user.clone()).unwrap_or_else(|| EXAMPLE_ADDRESS.to_owned())
    });
    // One account, one password, as nearly everywhere.
    if smtp_logs_in && smtp_password.is_none() && (smtp_user == imap_user || args.smtp_username.is_none()) {
        smtp_password.clone_from(&imap_password);
    }
    Ok(Plan {
        folder: args.dir.clone(),
        answers: answers(args, &id, smtp_user),
        therapist_id: id,
        certificate,
        imap_password,
        smtp_password,
        smtp_logs_in,
        tokens: args.token_command.is_some(),
        archive: !args.no_archive,
        archive_secret: args.archive_secret.clone(),
    })
}

fn answers(args: &args::Init, id: &str, smtp_user: Option<String>) -> Answers {
    let own = |text: &str| Some(text.to_owned());
    let country = args.country.clone().map(|country| country.to_uppercase());
    // The file's own folder is another one.
    let ca_file = args.ca_file.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    let ca_file = ca_file.map(|path| path.display().to_string());
    Answers {
        practice_name: args.name.clone(),
        practice_address: args.address.clone(),
        neutral_name: args.neutral_name.clone(),
        language: args.language.clone(),
        timezone: args.timezone.clone(),
        country: country.clone(),
        region: args.region.clone(),
        cadre: CadreAnswers {
            channel: args.channel.clone(),
            price: args.price.clone(),
            fallback: args.fallback.clone(),
            colleague: None,
        },
        operator_address: args.operator.clone(),
        key_secret: own(PRACTICE_KEY),
        key_record: own(RECORD_KEY),
        key_archive: (!args.no_archive).then(|| ARCHIVE.to_owned()),
        imap: ServerAnswers {
            host: args.imap_host.clone(),
            port: args.imap_port.or_else(|| usual_port(args.imap_tls.as_deref(), 993, 143, 143)),
            tls: args.imap_tls.clone(),
            username: args.imap_username.clone().or_else(|| args.address.clone()),
            password_file: own(IMAP_PASSWORD),
            token_command: args.token_command.clone(),
            ca_file: ca_file.clone(),
        },
        smtp: ServerAnswers {
            host: args.smtp_host.clone(),
            port: args.smtp_port.or_else(|| usual_port(args.smtp_tls.as_deref(), 465, 587, 25)),
            tls: args.smtp_tls.clone(),
            password_file: smtp_user.is_some().then(|| SMTP_PASSWORD.to_owned()),
            token_command: args.token_command.clone().filter(|_| smtp_user.is_some()),
            username: smtp_user,
            ca_file,
        },
        filing: args.filing.clone(),
        database_url: state_folder(&args.dir).map(|state| format!("sqlite:{}", state.join("cadre.db").display())),
        other: state_folder(&args.dir).map(journal_in).into_iter().collect(),
        therapists: vec![TherapistAnswers {
            id: own(id),
            name: args.therapist_name.clone(),
            title: args.therapist_title.clone(),
            register: args.therapist_register.clone(),
            country,
            address: args.therapist_address.clone(),
            certificate: Some(certificate_file(id)),
            forward: args.forward.clone(),
            ..TherapistAnswers::default()
        }],
        ..Answers::default()
    }
}

/// Where a service keeps its database, when its configuration is in /etc, where it can't write: what Debian's package has
/// made. None: beside the configuration.
fn state_folder(dir: &Path) -> Option<&'static Path> {
    let state = Path::new("/var/lib/cadre");
    (dir == Path::new("/etc/cadre") && state.is_dir()).then_some(state)
}

/// The journal's head, likewise.
fn journal_in(state: &Path) -> ((String, String), String) {
    let literal = toml_edit::Value::from(state.join("journal.head").display().to_string()).to_string();
    (("database".to_owned(), "journal_head".to_owned()), literal)
}

/// Written out, so that the file says what is used.
fn usual_port(tls: Option<&str>, implicit: u16, starttls: u16, none: u16) -> Option<u16> {
    match tls {
        Some("starttls") => Some(starttls),
        Some("none") => Some(none),
        Some("implicit") => Some(implicit),
        _ => None,
    }
}

/// `<id>.pgp`, unless a file of ours has that name.
fn certificate_file(id: &str) -> String {
    let name = format!("{id}.pgp");
    if [ARCHIVE, PRACTICE_KEY].contains(&name.as_str()) { format!("therapist-{name}") } else { name }
}

fn read(path: &Path) -> Result<Vec<u8>, InitError> {
    std::fs::read(path).map_err(|error| InitError::Unreadable { path: path.to_owned(), kind: error.kind() })
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, InitError> {
    read(path).map(Zeroizing::new)
}

fn read_certificate(path: &Path) -> Result<Certificate, InitError> {
    let bytes = Zeroizing::new(read(path)?);
    Certificate::from_bytes(&bytes).map_err(|source| InitError::Certificate { path: path.to_owned(), source })
}

/// What has the example's value, or is empty, and where it stands.
fn to_fill_in(plan: &Plan, args: &args::Init, config: &Config) -> Vec<ToFill> {
    let file = plan.folder.join(CONFIG);
    let therapist = format!("[[therapist]] {}", plan.therapist_id);
    let mut found = Vec::new();
    let keys: [(bool, String, &str); 13] = [
        (args.name.is_some(), "[practice] name".into(), "the practice's name"),
        (
            args.address.is_some(),
            "[practice] address".into(),
            "the practice's address; the key bears it, so run `init` again, in another folder, with --address",
        ),
        (args.channel.is_some(), "[practice.cadre] channel".into(), "the channel and its rhythm, in your words"),
        (args.price.is_some(), "[practice.cadre] price".into(), "the price and means of payment"),
        (args.fallback.is_some(), "[practice.cadre] fallback".into(), "the other way when the line breaks"),
        (args.imap_host.is_some(), "[imap] host".into(), "the mailbox's server"),
        (
            args.imap_username.is_some() || args.address.is_some(),
            "[imap] username".into(),
            "the name to log in with at the mailbox",
        ),
        (args.smtp_host.is_some(), "[smtp] host".into(), "the submission server"),
        (args.therapist.is_some(), format!("{therapist}.id"), "a short name for the therapist, used in commands"),
        (args.therapist_name.is_some(), format!("{therapist}.name"), "the therapist's name"),
        (args.therapist_title.is_some(), format!("{therapist}.title"), "the therapist's title"),
        (args.therapist_register.is_some(), format!("{therapist}.register"), "the therapist's register number"),
        (args.therapist_address.is_some(), format!("{therapist}.address"), "the therapist's own address"),
    ];
    for (known, key, what) in keys {
        if !known {
            let line = config.finding(Severity::Warning, &key, "", "").line;
            found.push(ToFill { file: file.clone(), line, key, what: what.to_owned() });
        }
    }
    let mut empty = |name: &str, key: &str, what: &str| {
        let file = plan.folder.join(name);
        found.push(ToFill { file, line: None, key: key.to_owned(), what: what.to_owned() });
    };
    if plan.imap_password.is_none() && !plan.tokens {
        empty(IMAP_PASSWORD, "[imap] password_file", "the mailbox's password, and nothing else, on one line");
    }
    if plan.smtp_logs_in && plan.smtp_password.is_none() && !plan.tokens {
        empty(SMTP_PASSWORD, "[smtp] password_file", "the submission server's password, on one line");
    }
    if plan.certificate.is_none() {
        let what = "the therapist's OpenPGP certificate (public key): copy the exported file there";
        empty(&certificate_file(&plan.therapist_id), &format!("{therapist}.certificate"), what);
    }
    found
}

fn warnings(plan: &Plan, written: &write::Written) -> Vec<String> {
    let mut found = written.warnings.clone();
    if let Some(certificate) = &plan.certificate
        && let Err(problem) = certificate.usable_for(Purpose::Encrypt, Clock::System.now())
    {
        found.push(format!("the therapist's certificate can't be used: {problem}"));
    }
    if let Some(path) = written.archive_secret.as_ref().filter(|_| written.archive_secret_is_near) {
        found.push(format!(
            "the archive's SECRET key lies beside the configuration: whoever steals this folder can read every letter.\n    \
             Move {} to a USB stick (or print it) NOW, give it to the therapist, and delete it here",
            path.display()
        ));
    }
    if !plan.archive {
        found.push(
            "there is no archive key: when the therapist's key is lost, what is filed can never be read again"
                .to_owned(),
        );
    }
    found
}

fn next_steps(plan: &Plan, written: &write::Written, gaps: bool) -> Vec<String> {
    let config = plan.folder.join(CONFIG);
    let mut steps = Vec::new();
    if gaps {
        steps.push("write what is still to be filled in, above".to_owned());
    }
    if let Some(path) = &written.archive_secret {
        steps.push(format!("bring {} to a safe place away from this machine; it is kept nowhere else", path.display()));
    }
    steps.push(format!(
        "give {} to the therapist, whose mail program needs it, and compare the fingerprint by voice",
        plan.folder.join(PRACTICE_CERTIFICATE).display()
    ));
    steps.push(format!("keep a copy of {} elsewhere", plan.folder.join(RECORD_KEY).display()));
    if state_folder(&plan.folder).is_some() && Path::new("/run/systemd/system").is_dir() {
        steps.push("systemd-tmpfiles --create cadre.conf   (the files become the user cadre's)".to_owned());
        steps.push("runuser -u cadre -- cadre check --round-trip".to_owned());
        steps.push("runuser -u cadre -- cadre client add".to_owned());
        steps.push("systemctl enable --now cadre".to_owned());
        return steps;
    }
    steps.push(format!("cadre --config {} check --round-trip", config.display()));
    steps.push(format!("cadre --config {} client add", config.display()));
    steps.push(format!("cadre --config {} run", config.display()));
    steps
}

fn story(made: &Made) -> String {
    let mut out = format!("Made in {}:\n", made.folder.display());
    for file in &made.files {
        let shown = file.strip_prefix(&made.folder).unwrap_or(file);
        let is_secret = made.archive_secret.as_ref() == Some(file);
        let about = about(shown.to_str().unwrap_or_default(), is_secret);
        let _ = writeln!(out, "  {:<24} {about}", shown.display().to_string());
    }
    let _ = writeln!(out, "\nThe practice's key has the fingerprint\n  {}", spaced(&made.practice_fingerprint));
    if !made.warnings.is_empty() {
        out.push_str("\nWARNING\n");
    }
    for warning in &made.warnings {
        let _ = writeln!(out, "  ! {warning}");
    }
    if !made.to_fill_in.is_empty() {
        out.push_str("\nTo be filled in:\n");
    }
    for gap in &made.to_fill_in {
        let line = gap.line.map_or(String::new(), |line| format!(":{line}"));
        let _ = writeln!(out, "  {}{line}  {}\n      → {}", gap.file.display(), gap.key, gap.what);
    }
    out.push_str("\nWhat to do next:\n");
    for (nth, step) in made.next.iter().enumerate() {
        let _ = writeln!(out, "  {}. {step}", nth + 1);
    }
    out
}

/// What a file is; the archive's secret may have any name and lie anywhere.
fn about(name: &str, archive_secret: bool) -> &'static str {
    match name {
        ARCHIVE_SECRET if archive_secret => "the archive's SECRET key: move it away",
        _ if archive_secret => "the archive's SECRET key and the practice key's revocation: for the therapist",
        CONFIG => "the configuration, every key explained",
        PRACTICE_KEY => "the practice's secret key",
        PRACTICE_CERTIFICATE => "the practice's certificate, to hand out",
        RECORD_KEY => "encrypts names and addresses in the database",
        ARCHIVE => "the archive's certificate; everything is sealed to it too",
        IMAP_PASSWORD => "the mailbox's password",
        SMTP_PASSWORD => "the submission server's password",
        _ => "the therapist's certificate",
    }
}

/// In groups of four, as people read it aloud.
fn spaced(fingerprint: &str) -> String {
    let groups: Vec<String> =
        fingerprint.as_bytes().chunks(4).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    groups.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archives_secret_is_called_so_under_whatever_name() {
        for path in ["/media/stick/archive.key", "/media/stick/agnes.pgp", "agnes.pgp", ARCHIVE_SECRET, "secret"] {
            assert!(about(path, true).contains("SECRET"), "{path}: {}", about(path, true));
        }
        assert_eq!(about("agnes.pgp", false), "the therapist's certificate");
        assert!(!about(ARCHIVE, false).contains("SECRET"));
    }
}
