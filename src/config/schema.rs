//! The one definition of the configuration: every section and key with its documentation, default and example.
//!
//! The reader takes known names, expected types and defaults from here, and `example` writes the annotated file from
//! it. A key that is added here and not read (or read and not added) fails a test.

mod kinds;

pub use kinds::{Key, Kind, Need, Section};

/// The section of this path.
pub fn section(path: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.path == path)
}

const fn key(name: &'static str, kind: Kind, need: Need, doc: &'static str) -> Key {
    Key { name, kind, need, doc }
}

use Kind::{Address, Count, Cron, Date, Duration, Flag, Hour, Path, Port, Secret, Size, Text, Texts, Words, Zone};
use Need::{Default, Derived, Frame, Optional, Required};

pub(super) const LANGUAGES: &[&str] = &["fr", "en"];
pub(super) const TLS: &[&str] = &["implicit", "starttls", "none"];
pub(super) const AUTH: &[&str] = &["password", "xoauth2"];
pub(super) const FILING: &[&str] = &["folders", "delete", "keep"];
pub(super) const SECOND: &[&str] = &["auto", "hold", "replace", "refuse"];
pub(super) const UNSIGNED: &[&str] = &["flag", "hold"];
pub(super) const STRANGERS: &[&str] = &["answer", "silent"];
pub(super) const FORWARD: &[&str] = &["each", "daily"];

const CADRE_DOC: &str = "\
The agreed frame, as clients read it before they consent: each a text, or { fr = \"…\", en = \"…\" }.
Without channel, price and fallback no client can be activated.";

/// Every section, in the order of the example file.
pub const SECTIONS: &[Section] = &[
    Section {
        path: "practice",
        list: false,
        commented: false,
        doc: "The practice, and the one mailbox that clients write to.",
        keys: &[
            key("name", Text, Required("\"Cabinet Exemple\""), "The name that clients see."),
            key(
                "address",
                Address,
                Required("\"ecrire@cabinet.example\""),
                "The one address that clients write to. An address belongs to one role.",
            ),
            key(
                "neutral_name",
                Texts,
                Derived("\"Correspondance\" in French, \"Correspondence\" in English", "\"Correspondance\""),
                "The name in mail that may be seen by others and must not show a therapy: a text, or { fr = \
                 \"…\", en = \"…\" }.",
            ),
            key(
                "language",
                Words(LANGUAGES),
                Default("\"fr\""),
                "The language of letters, where a client or therapist has none of their own.",
            ),
            key("timezone", Zone, Default("\"Europe/Paris\""), "The practice's time zone, by its IANA name."),
            key(
                "country",
                Text,
                Default("\"FR\""),
                "ISO 3166-1. Gives the public holidays (no slots on them) and the emergency lines: FR, BE, CH, \
                 CA, GB, US.",
            ),
            key("region", Text, Optional("\"FR-57\""), "ISO 3166-2, for regional holidays."),
        ],
    },
    Section {
        path: "practice.cadre",
        list: false,
        commented: false,
        doc: CADRE_DOC,
        keys: &[
            key(
                "channel",
                Texts,
                Frame(
                    "\"Par courriel, une lettre par jour ouvré, à 18 h ; ce qui arrive avant 7 h a sa réponse \
                     le soir même.\"",
                ),
                "The channel and its rhythm.",
            ),
            key(
                "price",
                Texts,
                Frame("\"60 € par semaine, par virement en fin de semaine\""),
                "The price and the means of payment.",
            ),
            key("fallback", Texts, Frame("\"+33 1 00 00 00 00, SMS\""), "The other way when the line breaks."),
            key(
                "colleague",
                Texts,
                Optional("\"Mme Exemple, +33 1 00 00 00 01\""),
                "Name and telephone of the colleague who is told when the therapist can't act. Wished for by \
                 `cadre check`.",
            ),
            key(
                "server",
                Texts,
                Optional("\"le cabinet lui-même, à Metz\""),
                "Who runs the server, in words, for the letter about the frame. Without it: the practice itself.",
            ),
            key(
                "records",
                Texts,
                Optional("\"cinq ans après la dernière lettre\""),
                "How long records stay, in words, for the letter about the frame. Without it: five years after the \
                 last letter.",
            ),
        ],
    },
    Section {
        path: "operator",
        list: false,
        commented: false,
        doc: "Who looks after the machine. Optional, wished for by `cadre check`.",
        keys: &[
            key(
                "address",
                Address,
                Optional("\"ops@cabinet.example\""),
                "Where alarms about the machine go: never with content.",
            ),
            key(
                "alarm_command",
                Text,
                Optional("\"/usr/local/bin/alarm\""),
                "Run by `sh -c` on an alarm, with nothing but a code and a class.",
            ),
            key(
                "heartbeat_url",
                Text,
                Optional("\"https://heartbeat.example/cadre\""),
                "Asked for (GET, at most once a minute) while all is well, so that somebody else notices silence. https://, or \
                 http:// of this machine. Nothing is said in it.",
            ),
        ],
    },
    Section {
        path: "keys",
        list: false,
        commented: false,
        doc: "The practice's keys. A secret is named by a path (readable by its owner alone: chmod 600),\nby \
        \"credential:NAME\" (systemd, LoadCredential=) or by \"env:NAME\" (the environment). Never by itself.",
        keys: &[
            key("secret", Secret, Required("\"practice.key.pgp\""), "The practice's OpenPGP secret key."),
            key(
                "passphrase_file",
                Secret,
                Optional("\"practice.passphrase\""),
                "The passphrase of that key, where it has one.",
            ),
            key(
                "record",
                Secret,
                Required("\"record.key\""),
                "32 random bytes: names, addresses and subjects in the database are encrypted under them. Keep \
                 a copy elsewhere.",
            ),
            key(
                "archive",
                Path,
                Optional("\"archive.pgp\""),
                "A certificate to which everything is sealed too; its secret key is kept off this machine.",
            ),
        ],
    },
    Section {
        path: "imap",
        list: false,
        commented: false,
        doc: "The mailbox.",
        keys: &[
            key("host", Text, Required("\"imap.example.org\""), "The server's name."),
            key("port", Port, Derived("993, or 143 where tls isn't \"implicit\"", "993"), "The server's port."),
            key(
                "tls",
                Words(TLS),
                Default("\"implicit\""),
                "implicit | starttls | none (none: only for a loopback host).",
            ),
            key("username", Text, Required("\"ecrire@cabinet.example\""), "The name to log in with."),
            key("auth", Words(AUTH), Default("\"password\""), "password | xoauth2."),
            key(
                "password_file",
                Secret,
                Required("\"imap.password\""),
                "Where the password is: a path, \"credential:NAME\" or \"env:NAME\". Not with auth = \"xoauth2\".",
            ),
            key(
                "token_command",
                Text,
                Optional("\"/usr/local/bin/token imap\""),
                "With auth = \"xoauth2\": run by `sh -c`, prints the token.",
            ),
            key("inbox", Text, Default("\"INBOX\""), "The folder where letters arrive."),
            key(
                "junk",
                Text,
                Default("\"auto\""),
                "auto (the folder that the server marks \\Junk) | off | a folder's name. Mail of registered \
                 people is taken from there.",
            ),
            key("poll", Duration, Default("\"60s\""), "How often to look, besides IDLE. From 1s to 29m."),
            key("idle", Flag, Default("true"), "Whether to use IDLE where the server has it."),
            key(
                "filing",
                Words(FILING),
                Default("\"folders\""),
                "What becomes of an original once its sealed copy is stored:\nfolders (removed; the sealed copy \
                 is in Cadre/C-XXXX) | delete (removed) | keep (moved to Cadre/Done, readable there).",
            ),
            key("ca_file", Path, Optional("\"ca.pem\""), "An extra root certificate (PEM) for this server."),
        ],
    },
    Section {
        path: "smtp",
        list: false,
        commented: false,
        doc: "The submission server.",
        keys: &[
            key("host", Text, Required("\"smtp.example.org\""), "The server's name."),
            key(
                "port",
                Port,
                Derived("465, 587 where tls = \"starttls\", 25 where it is \"none\"", "465"),
                "The server's port.",
            ),
            key(
                "tls",
                Words(TLS),
                Default("\"implicit\""),
                "implicit | starttls | none (none: only for a loopback host).",
            ),
            key(
                "username",
                Text,
                Optional("\"ecrire@cabinet.example\""),
                "The name to log in with; no log-in without it.",
            ),
            key("auth", Words(AUTH), Default("\"password\""), "password | xoauth2."),
            key("password_file", Secret, Optional("\"smtp.password\""), "Where the password is, as in [imap]."),
            key(
                "token_command",
                Text,
                Optional("\"/usr/local/bin/token smtp\""),
                "With auth = \"xoauth2\": run by `sh -c`, prints the token.",
            ),
            key("ca_file", Path, Optional("\"ca.pem\""), "An extra root certificate (PEM) for this server."),
        ],
    },
    Section {
        path: "database",
        list: false,
        commented: false,
        doc: "What is stored: sealed letters, and facts under the record key.",
        keys: &[
            key(
                "url",
                Text,
                Default("\"sqlite:cadre.db\""),
                "\"sqlite:\" and a path, or a PostgreSQL database: \"postgres://USER@HOST/DATABASE\"; by a socket\n\
                 \"postgres://USER@%2Frun%2Fpostgresql/DATABASE\". Where the server isn't this machine, its certificate\n\
                 is verified (sslmode=verify-full) unless the URL says otherwise: \"…?sslmode=verify-ca&sslrootcert=ca.pem\".",
            ),
            key(
                "password_file",
                Secret,
                Optional("\"database.password\""),
                "PostgreSQL's password, as in [imap]. None: the server knows the user otherwise (peer, a certificate).",
            ),
            key(
                "schema",
                Text,
                Optional("\"practice_one\""),
                "The PostgreSQL schema of this practice, one a practice. Without it, its name is made of a keyed hash of\n\
                 [practice] address.",
            ),
            key(
                "journal_head",
                Path,
                Default("\"journal.head\""),
                "Where the journal's count and head stand outside the database, so that a cut is noticed.",
            ),
        ],
    },
    Section {
        path: "rhythm",
        list: false,
        commented: false,
        doc: "When replies leave: at most one a client a local day, whatever stands here.",
        keys: &[
            key(
                "release",
                Cron,
                Default("\"0 0 18 * * Mon-Fri\""),
                "The slots: second, minute, hour, day of month, month, weekday by name, in the therapist's \
                 zone.\nNone on public holidays and in absences.",
            ),
            key(
                "cutoff",
                Hour,
                Default("\"07:00\""),
                "A letter that arrives before this hour on a slot day is due at that day's slot, later ones at \
                 the next.",
            ),
            key(
                "grace",
                Duration,
                Default("\"2h\""),
                "A due reply that comes so long after its slot still leaves at once. At most 24h.",
            ),
            key(
                "second",
                Words(SECOND),
                Default("\"auto\""),
                "A second reply before the first has left: auto (a new answer to the same letter replaces, one \
                 to a later letter waits)\n| hold | replace | refuse.",
            ),
            key(
                "reminder",
                Duration,
                Default("\"3h\""),
                "How long before a slot the therapist is reminded of what is due; \"0s\": never. At most 24h.",
            ),
        ],
    },
    Section {
        path: "digest",
        list: false,
        commented: false,
        doc: "The therapist's daily digest.",
        keys: &[key(
            "send",
            Cron,
            Default("\"0 0 7 * * Mon-Fri\""),
            "When it is sent, in the therapist's zone; also when it is empty.",
        )],
    },
    Section {
        path: "intake",
        list: false,
        commented: false,
        doc: "What is done with mail that comes in.",
        keys: &[
            key(
                "unsigned",
                Words(UNSIGNED),
                Default("\"flag\""),
                "Unsigned letters from a client's address: flag (passed on with a loud mark) | hold (kept until \
                 released).",
            ),
            key(
                "strangers",
                Words(STRANGERS),
                Default("\"answer\""),
                "Strangers get one neutral answer a day at most: answer | silent.",
            ),
            key(
                "requests",
                Text,
                Derived("the first therapist", "\"exemple\""),
                "The id of the therapist who gets strangers' first letters.",
            ),
            key(
                "authserv",
                Text,
                Optional("\"mx.example.org\""),
                "The name under which your own mail server writes Authentication-Results. With it, unsigned \
                 mail that fails DMARC is held.",
            ),
            key(
                "max_message",
                Size,
                Default("\"25MB\""),
                "The largest message that is opened; at least 10kB. Larger ones get an answer and stay in \
                 Cadre/Attention.",
            ),
            key("max_held", Count, Default("20"), "Held messages a client a day; beyond it they are only counted."),
            key(
                "max_refusals",
                Count,
                Default("5"),
                "Refusals an hour to a therapist; beyond it they are only counted.",
            ),
            key("max_strangers", Count, Default("20"), "Answers an hour to strangers, all together."),
        ],
    },
    Section {
        path: "metrics",
        list: false,
        commented: false,
        doc: "Counts and states for Prometheus (/metrics) and for whoever watches (/healthz). No names, no addresses, no codes.",
        keys: &[key(
            "listen",
            Text,
            Optional("\"127.0.0.1:9464\""),
            "Where they are served: a loopback address, or \"unix:\" and the path of a socket.",
        )],
    },
    Section {
        path: "letters",
        list: false,
        commented: false,
        doc: "Texts of letters.",
        keys: &[key(
            "folder",
            Path,
            Optional("\"letters\""),
            "A folder with texts of your own, in place of \
        Cadre's.",
        )],
    },
    Section {
        path: "records",
        list: false,
        commented: false,
        doc: "How long records are kept.",
        keys: &[key(
            "retention",
            Text,
            Optional("\"5y\""),
            "Years after the end of a treatment (as many as the law and your profession ask). Once they are over the \
             record is proposed for erasure, to the therapist in the digest and to you in `status`; a person decides, \
             and nothing is erased by itself. Without it nothing is proposed. The frame tells clients the same in \
             words: `[practice.cadre] records`.",
        )],
    },
    Section {
        path: "crisis",
        list: false,
        commented: false,
        doc: "The scan of letters for words that call for an alert.",
        keys: &[key(
            "lexicon",
            Path,
            Optional("\"lexicon\""),
            "A folder with a lexicon of your own: fr.toml, en.toml, or both. What it doesn't have is Cadre's. `run` \
             doesn't start with a lexicon that has a fault.",
        )],
    },
    Section {
        path: "therapist",
        list: true,
        commented: false,
        doc: "A therapist; one section for each.",
        keys: &[
            key(
                "id",
                Text,
                Required("\"exemple\""),
                "A short word: lower-case letters, digits, - and _. Never changed afterwards.",
            ),
            key("name", Text, Required("\"Dr Exemple\""), "The name that clients see."),
            key(
                "title",
                Text,
                Required("\"Psychologue clinicienne\""),
                "The title, as the law of the country defines it.",
            ),
            key("register", Text, Required("\"RPPS 10000000000\""), "The register's name and the number in it."),
            key("country", Text, Required("\"FR\""), "The country of the title, ISO 3166-1."),
            key(
                "address",
                Address,
                Required("\"dr@exemple.example\""),
                "The therapist's own address. Clients never see it.",
            ),
            key(
                "certificate",
                Path,
                Required("\"exemple.pgp\""),
                "The therapist's OpenPGP certificate: their public key. Where the file isn't there yet, \
                 `cadre therapist welcome ID` asks for it by mail.",
            ),
            key(
                "forward",
                Words(FORWARD),
                Default("\"daily\""),
                "Letters are passed on: each (at once) | daily (with the digest).",
            ),
            key("timezone", Zone, Derived("that of [practice]", "\"Europe/Paris\""), "Their time zone."),
            key(
                "language",
                Words(LANGUAGES),
                Derived("that of [practice]", "\"fr\""),
                "The language of digests, receipts and alerts.",
            ),
            key("release", Cron, Derived("that of [rhythm]", "\"0 0 18 * * Tue,Fri\""), "Their slots."),
            key("cutoff", Hour, Derived("that of [rhythm]", "\"07:00\""), "Their cut-off."),
            key(
                "locum",
                Text,
                Optional("\"autre\""),
                "The id of the therapist who stands in where an absence names nobody. Unanswered letters of clients who \
                 agreed\nare also sealed to them, and handed over in an absence only.",
            ),
        ],
    },
    Section {
        path: "therapist.cadre",
        list: false,
        commented: true,
        doc: "This therapist's own texts, where they differ from [practice.cadre]. Stands below its [[therapist]].",
        keys: &[
            key("channel", Texts, Optional("\"…\""), "The channel and its rhythm."),
            key("price", Texts, Optional("\"…\""), "The price and the means of payment."),
            key("fallback", Texts, Optional("\"…\""), "The other way when the line breaks."),
            key(
                "colleague",
                Texts,
                Optional("\"…\""),
                "Name and telephone of the colleague who is told when the therapist can't act.",
            ),
            key("server", Texts, Optional("\"…\""), "Who runs the server."),
            key("records", Texts, Optional("\"…\""), "How long records stay."),
        ],
    },
    Section {
        path: "absence",
        list: true,
        commented: true,
        doc: "A planned absence: no slots, and the clock stops. One section for each.",
        keys: &[
            key("therapist", Text, Required("\"exemple\""), "The therapist's id."),
            key("from", Date, Required("2026-08-01"), "The first day."),
            key("to", Date, Required("2026-08-21"), "The last day."),
            key(
                "locum",
                Text,
                Optional("\"autre\""),
                "The id of the therapist who stands in: they get what clients who agreed have written and nobody has \
                 answered,\nand what arrives in the absence. Without it that of [[therapist]].",
            ),
        ],
    },
];
