//! What can be typed, with the help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A gateway for psychotherapy by e-mail: verified letters in, one considered, encrypted reply a day out.
#[derive(Debug, Parser)]
#[command(
    name = "cadre",
    version,
    max_term_width = 100,
    after_help = "\
The first day:
  cadre init /etc/cadre                         make keys and a commented configuration
  cadre --config /etc/cadre/cadre.toml check    see everything that is wrong, with its remedy
  cadre --config /etc/cadre/cadre.toml client add
  cadre --config /etc/cadre/cadre.toml run

Exit status: 0 done (warnings included), 1 it failed or found errors, 2 wrong usage or unreadable configuration."
)]
pub struct Cli {
    /// The configuration; else $CADRE_CONFIG, ./cadre.toml, /etc/cadre/cadre.toml. `run` takes several, one a practice
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Colours: auto is on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: clap::ColorChoice,
    /// How much is logged
    #[arg(long, global = true, value_name = "LEVEL", env = "CADRE_LOG", default_value = "info")]
    pub log: Level,
    /// How it is logged; auto: with fields to the systemd journal under systemd, else as text on standard error
    #[arg(long, global = true, value_name = "FORMAT", env = "CADRE_LOG_FORMAT", default_value = "auto")]
    pub log_format: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Auto,
    Text,
    /// A line of JSON for each
    Json,
    /// The systemd journal's own protocol
    Journal,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a practice: keys and a commented configuration in a new folder
    Init(Box<Init>),
    /// Check everything: configuration, files, log-ins, TLS, folders, keys, slots
    Check {
        /// Also send the mailbox an encrypted mail and see it come back
        #[arg(long)]
        round_trip: bool,
    },
    /// Run the daemon: one practice, or several with several --config; beside others like it on PostgreSQL
    Run {
        /// One pass (fetch, release, digest, send), then end: for cron
        #[arg(long)]
        once: bool,
    },
    /// Clients: add, list, show, pause, resume, suspend, discharge, export, erase, hold, key
    #[command(subcommand)]
    Client(Client),
    /// A therapist who can't answer: the clock stops, and the clients are told
    Absent(Absent),
    /// A therapist's key: welcome, confirm, key
    #[command(subcommand)]
    Therapist(Therapist),
    /// The practice's own key: show, export, rotate, revoke, wkd
    #[command(subcommand)]
    Key(Key),
    /// One client's correspondence: codes, verdicts, times and sizes, never content
    Thread {
        /// The client's code, such as C-7K2M
        code: String,
    },
    /// What waits to leave: list, hold, cancel, retry, resume
    #[command(subcommand)]
    Queue(Queue),
    /// The therapist's digest
    Digest {
        /// Print it instead of sending it
        #[arg(long, required = true)]
        preview: bool,
        /// The therapist's id; the only or the first one by default
        #[arg(long, value_name = "ID")]
        therapist: Option<String>,
        /// Print the HTML part
        #[arg(long)]
        html: bool,
    },
    /// What Cadre writes of itself, and your own versions: list, check, preview
    #[command(subcommand)]
    Letters(Letters),
    /// The content-free audit trail: show, verify
    #[command(subcommand)]
    Journal(Journal),
    /// Say what Cadre thinks of a message, and why; nothing is filed and no content is shown
    Explain {
        /// The message as it was received (RFC 5322), or - for standard input
        file: PathBuf,
    },
    /// Copy the database into a new file, also while `run` works on it
    Backup {
        /// The file to make; it is never overwritten
        file: PathBuf,
    },
    /// Put a copy in the database's place; nothing leaves until `queue resume`
    Restore {
        /// What `cadre backup` made
        file: PathBuf,
        /// There is a database: keep it under another name, and put the copy in its place
        #[arg(long)]
        replace: bool,
    },
    /// Move the practice from SQLite into PostgreSQL, or back; the old database stays as it is
    MigrateStore(MigrateStore),
    /// A therapist's key is lost: seal everything that is stored to the present one, with the archive's secret key
    Recover {
        /// The file that `cadre init` wrote once, for the therapist to keep; it is only read
        #[arg(long, value_name = "FILE")]
        archive_secret: PathBuf,
        /// A file with its passphrase; asked for on a terminal
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Only what is this therapist's
        #[arg(long, value_name = "ID")]
        therapist: Option<String>,
        /// Another certificate than the configuration's
        #[arg(long, value_name = "CERT")]
        to: Option<PathBuf>,
    },
    /// What a data protection officer asks for: breach
    #[command(subcommand)]
    Report(Report),
    /// Look at everything that is stored: every row, every sealed body, the journal; ends with 1 when something is wrong
    Verify,
    /// How things are: mailbox, sending, slots, queue, keys
    Status {
        /// Refresh the screen every 2 seconds until q or Ctrl-C; with --json a line each time
        #[arg(long)]
        watch: bool,
        /// Only say why the gateway doesn't do its work: 0 while it does, else 1 (for containers)
        #[arg(long, conflicts_with = "watch")]
        healthy: bool,
    },
    /// What a package carries beside the program: manual pages, completions, example configuration and its schema
    #[command(hide = true)]
    Shipping {
        /// The folder to write them into
        dir: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub enum Report {
    /// What was there to be stolen in a period, whose, and what each theft gives: codes and counts, no names
    Breach {
        /// The first day or moment: 2026-03-02, or 2026-03-02T14:00:00Z
        #[arg(long, value_name = "DATE")]
        from: String,
        /// The last one; now by default
        #[arg(long, value_name = "DATE")]
        to: Option<String>,
        /// fr or en; the practice's by default
        #[arg(long, value_name = "fr|en")]
        language: Option<String>,
    },
}

#[derive(Debug, Args, Clone, Default)]
pub struct Init {
    /// The folder to make; nothing in it is overwritten
    pub dir: PathBuf,
    /// The practice's name
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// The practice's address, that clients write to
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// What clear mail calls the practice
    #[arg(long, value_name = "TEXT")]
    pub neutral_name: Option<String>,
    /// Language of letters: fr or en
    #[arg(long, value_name = "fr|en")]
    pub language: Option<String>,
    /// Time zone, such as Europe/Paris
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Country, for holidays and emergency lines: FR, BE, CH, CA, GB, US, …
    #[arg(long, value_name = "CC")]
    pub country: Option<String>,
    /// Region, for regional holidays: FR-57, CA-QC, …
    #[arg(long, value_name = "CC-RR")]
    pub region: Option<String>,
    /// Frame: the channel and its rhythm, in words
    #[arg(long, value_name = "TEXT")]
    pub channel: Option<String>,
    /// Frame: price and means of payment
    #[arg(long, value_name = "TEXT")]
    pub price: Option<String>,
    /// Frame: the other way when the line breaks
    #[arg(long, value_name = "TEXT")]
    pub fallback: Option<String>,
    /// Operator's address for health alarms
    #[arg(long, value_name = "ADDRESS")]
    pub operator: Option<String>,
    /// The mail provider, where the address doesn't tell: ovh, infomaniak, gandi, … (config/providers.toml), or other
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// Ask no server for the mailbox's settings
    #[arg(long)]
    pub no_lookup: bool,
    /// Write what is asked without trying the log-ins
    #[arg(long)]
    pub no_try: bool,
    /// A command that prints an access token: XOAUTH2 in place of passwords
    #[arg(long, value_name = "COMMAND")]
    pub token_command: Option<String>,
    /// An extra root certificate (PEM) for both servers
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The mailbox's server; with it the provider isn't asked for
    #[arg(long, value_name = "HOST")]
    pub imap_host: Option<String>,
    #[arg(long, value_name = "PORT")]
    pub imap_port: Option<u16>,
    /// implicit, starttls or none (none: loopback only)
    #[arg(long, value_name = "MODE")]
    pub imap_tls: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub imap_username: Option<String>,
    /// A file that holds the IMAP password; it is copied into the folder
    #[arg(long, value_name = "FILE")]
    pub imap_password_file: Option<PathBuf>,
    #[arg(long, value_name = "HOST")]
    pub smtp_host: Option<String>,
    #[arg(long, value_name = "PORT")]
    pub smtp_port: Option<u16>,
    /// implicit, starttls or none (none: loopback only)
    #[arg(long, value_name = "MODE")]
    pub smtp_tls: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub smtp_username: Option<String>,
    /// A file that holds the SMTP password; it is copied into the folder
    #[arg(long, value_name = "FILE")]
    pub smtp_password_file: Option<PathBuf>,
    /// folders, delete or keep
    #[arg(long, value_name = "MODE")]
    pub filing: Option<String>,
    /// The therapist's id in the configuration, such as a short name
    #[arg(long, value_name = "ID")]
    pub therapist: Option<String>,
    #[arg(long, value_name = "TEXT")]
    pub therapist_name: Option<String>,
    #[arg(long, value_name = "TEXT")]
    pub therapist_title: Option<String>,
    /// Register number, such as "RPPS 10000000000"
    #[arg(long, value_name = "TEXT")]
    pub therapist_register: Option<String>,
    #[arg(long, value_name = "ADDRESS")]
    pub therapist_address: Option<String>,
    /// The therapist's OpenPGP certificate; it is copied into the folder
    #[arg(long, value_name = "FILE")]
    pub therapist_certificate: Option<PathBuf>,
    /// each: letters are passed on at once; daily: with the digest
    #[arg(long, value_name = "each|daily")]
    pub forward: Option<String>,
    /// Where the archive key's secret is written, once: a USB stick, or a file you print
    #[arg(long, value_name = "PATH", conflicts_with = "no_archive")]
    pub archive_secret: Option<PathBuf>,
    /// Make no archive key
    #[arg(long)]
    pub no_archive: bool,
    /// Ask nothing, even on a terminal
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum Client {
    /// Add a client; asks for what is missing on a terminal
    Add(ClientAdd),
    /// Codes, states, therapists
    List,
    /// One client
    Show {
        code: String,
        /// Also name and address: on a terminal only, and journalled
        #[arg(long)]
        reveal: bool,
    },
    /// Stop the rhythm for a client: no slots, no misses; letters are still filed and passed on. The client is told
    Pause { code: String },
    /// Start it again after a pause or a suspension. The client is told
    Resume { code: String },
    /// Interrupt the correspondence without a letter: its words are the therapist's, who sends `/suspend` with them
    Suspend {
        code: String,
        /// Nothing is sent to the client
        #[arg(long, required = true)]
        silent: bool,
    },
    /// End the correspondence without a letter: its words are the therapist's, who sends `/discharge` with them
    Discharge {
        code: String,
        /// Nothing is sent to the client
        #[arg(long, required = true)]
        silent: bool,
    },
    /// Write what is kept of a client into a new folder, still sealed: the therapist opens it and hands it over
    Export {
        code: String,
        /// The folder to make
        folder: PathBuf,
        /// Also the therapist's own notes, in a file apart: they are the therapist's, to be handed over or not
        #[arg(long)]
        notes: bool,
    },
    /// Erase a client for good: the last letter leaves first, then every row, the folder in the mailbox and the client's
    /// own key go. The code stays used, and lines of the journal keep it
    Erase {
        code: String,
        /// Don't ask: for scripts
        #[arg(long, short = 'y')]
        yes: bool,
        /// Also with letters that wait for an answer, or to leave
        #[arg(long)]
        force: bool,
        /// Where the signed certificate is written: what was erased and what remains, without a name
        #[arg(long, value_name = "FILE")]
        certificate: Option<PathBuf>,
    },
    /// Put a record under legal hold: it isn't erased until the hold is ended
    Hold {
        code: String,
        /// Why; asked for on a terminal, `-` reads it from standard input. It is kept encrypted
        #[arg(long, value_name = "TEXT", conflicts_with = "end")]
        note: Option<String>,
        /// The hold is over
        #[arg(long)]
        end: bool,
    },
    /// Show a client's pinned certificate, or pin another one
    Key {
        code: String,
        /// Pin this certificate, after its fingerprint was compared by voice
        #[arg(long, value_name = "FILE")]
        pin: Option<PathBuf>,
        /// The fingerprint that was compared; asked for on a terminal
        #[arg(long, value_name = "FINGERPRINT", requires = "pin")]
        fingerprint: Option<String>,
    },
}

#[derive(Debug, Args)]
pub struct ClientAdd {
    /// The client's address; asked for on a terminal, `-` reads it from standard input, so that it
    /// need not stand in a shell's history
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// The therapist's id
    #[arg(long, value_name = "ID")]
    pub therapist: Option<String>,
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// fr or en; the practice's by default
    #[arg(long, value_name = "fr|en")]
    pub language: Option<String>,
    /// The client's OpenPGP certificate, compared by voice
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// openpgp, or pdf: letters sealed with a passphrase, for those who will install nothing
    #[arg(long, value_name = "CHANNEL")]
    pub channel: Option<String>,
    /// Consent was given on paper: the client is active from now on. Without it the person is invited by mail; with
    /// --certificate the frame is asked at once
    #[arg(long, requires = "consent_note")]
    pub active: bool,
    /// Already in treatment: no assessment
    #[arg(long)]
    pub known: bool,
    /// How the correspondence stands to meetings: pure, before, after or mixed
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// When and how consent was given
    #[arg(long, value_name = "TEXT")]
    pub consent_note: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Therapist {
    /// Ask a therapist for their key, in a neutral mail that carries the practice's; they answer it signed
    Welcome {
        /// The therapist's id in the configuration
        id: String,
    },
    /// Take over the key that came, after its words were compared by voice
    Confirm {
        /// The therapist's id in the configuration
        id: String,
        /// The words that were compared; asked for on a terminal
        #[arg(long, value_name = "WORDS")]
        words: Option<String>,
    },
    /// Show a therapist's fingerprint
    Key {
        /// The therapist's id in the configuration
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Fingerprint, words, algorithms, expiry; also of the keys the practice had before
    Show,
    /// Print the practice's certificate, armored
    Export {
        /// Not armored
        #[arg(long)]
        binary: bool,
        /// Write it to this file
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make a new key; the one before only reads from then on, and everybody is told in a letter that it signs
    Rotate {
        #[command(flatten)]
        change: KeyChange,
        /// Where the new key's revocation is written; else beside the configuration
        #[arg(long, value_name = "FILE")]
        revocation: Option<PathBuf>,
    },
    /// The key is stolen or lost: revoke it. Nothing leaves until `key rotate` has made a new one
    Revoke {
        #[command(flatten)]
        change: KeyChange,
        /// A revocation that was made before, such as the file with the archive's secret key; else one is made now
        #[arg(long, value_name = "FILE")]
        with: Option<PathBuf>,
        /// It was only replaced, and nobody else has it
        #[arg(long, conflicts_with = "with")]
        replaced: bool,
    },
    /// Write a Web Key Directory with the practice's certificate, to be served by its web site
    Wkd {
        /// The folder that is served as the site's root
        dir: PathBuf,
    },
}

/// What `key rotate` and `key revoke` have in common.
#[derive(Debug, Args)]
pub struct KeyChange {
    /// The file of keys, where the configuration names a credential or a variable
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Ask nothing
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum Queue {
    /// What is unfinished
    List {
        /// Also what is finished
        #[arg(long)]
        all: bool,
    },
    /// Put one mail aside
    Hold { id: String },
    /// Never send it
    Cancel { id: String },
    /// Try it (again) now; a held one waits again
    Retry { id: String },
    /// Let mail leave again after an older database was put back: look first at what would be sent (`queue list`)
    Resume,
}

#[derive(Debug, Subcommand)]
pub enum Letters {
    /// All letters: name, who gets it, whether it may travel in clear, whether it is your own
    List,
    /// Check your own letters in `[letters] folder`; ends with 1 when one can't be used
    Check,
    /// Print a letter over made-up facts, with the practice's own frame
    Preview {
        /// Its name, such as acknowledgement
        name: String,
        /// The practice's language by default
        #[arg(long, value_name = "fr|en")]
        language: Option<String>,
        /// Print the HTML part (the digest has one)
        #[arg(long)]
        html: bool,
        /// Which of the ways it can go
        #[arg(long, value_name = "N", default_value_t = 1)]
        sample: usize,
    },
}

#[derive(Debug, Subcommand)]
pub enum Journal {
    /// The last entries
    Show {
        /// How many
        #[arg(long, short = 'n', default_value_t = 50)]
        lines: u32,
    },
    /// Check the whole chain; ends with 1 on any change, cut or lag
    Verify {
        /// A count and head from a digest
        #[arg(long, value_name = "N:HEAD")]
        expect: Option<String>,
    },
}

/// `migrate-store`: every row is copied, and then compared.
#[derive(Debug, Args)]
#[command(after_help = "\
Stop `cadre run` first: nothing else may write into the old database meanwhile. A move that was interrupted goes on where it
stopped when the same command is given again; until it is complete no other command opens the new database.

Examples:
  cadre migrate-store sqlite:/var/lib/cadre/cadre.db postgres://cadre@localhost/cadre
  cadre migrate-store postgres://cadre@localhost/cadre sqlite:/var/lib/cadre/cadre.db")]
pub struct MigrateStore {
    /// The database that has the practice now: sqlite:FILE or postgres://USER@HOST/DATABASE
    pub from: String,
    /// The database that is to have it: an empty schema, or a file that isn't there
    pub to: String,
    /// PostgreSQL's password, as in the configuration: a file, env:NAME or credential:NAME
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<String>,
    /// The practice's PostgreSQL schema; without it, its name is made as without `[database] schema`
    #[arg(long, value_name = "NAME")]
    pub schema: Option<String>,
}

/// `absent`: entered for a therapist who can't do it.
#[derive(Debug, Args)]
pub struct Absent {
    /// The therapist's id
    pub therapist: String,
    /// The first day, such as 2026-08-01; today by default
    #[arg(long, value_name = "DAY")]
    pub from: Option<chrono::NaiveDate>,
    /// The last day; left out where nobody knows it yet. In an absence without an end: its end
    #[arg(long, value_name = "DAY")]
    pub until: Option<chrono::NaiveDate>,
    /// The id of the therapist who stands in; else the one of the configuration
    #[arg(long, value_name = "ID")]
    pub locum: Option<String>,
    /// Ends the absence that runs, or withdraws the next one
    #[arg(long, conflicts_with_all = ["from", "until", "locum"])]
    pub back: bool,
}
