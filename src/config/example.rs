//! The annotated example, and the configuration that `cadre init` writes: one rendering of the schema.

use std::collections::BTreeMap;

use super::schema::{Key, Need, SECTIONS, Section};

/// What is known when a configuration is written; all else keeps the example's value or its default.
///
/// Values are the plain ones (no quotes); paths and secrets as the TOML has them.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    pub practice_name: Option<String>,
    pub practice_address: Option<String>,
    pub neutral_name: Option<String>,
    /// `fr` or `en`.
    pub language: Option<String>,
    pub timezone: Option<String>,
    pub country: Option<String>,
    pub region: Option<String>,
    pub cadre: CadreAnswers,
    pub operator_address: Option<String>,
    pub alarm_command: Option<String>,
    pub key_secret: Option<String>,
    pub key_passphrase: Option<String>,
    pub key_record: Option<String>,
    pub key_archive: Option<String>,
    pub imap: ServerAnswers,
    pub smtp: ServerAnswers,
    /// `folders`, `delete` or `keep`.
    pub filing: Option<String>,
    pub database_url: Option<String>,
    pub release: Option<String>,
    pub cutoff: Option<String>,
    pub digest_send: Option<String>,
    /// None: the example's one therapist.
    pub therapists: Vec<TherapistAnswers>,
    /// Any other key: `("imap", "poll")` to a TOML literal such as `"5s"` with its quotes.
    pub other: BTreeMap<(String, String), String>,
}

/// Texts of the frame.
#[derive(Debug, Clone, Default)]
pub struct CadreAnswers {
    pub channel: Option<String>,
    pub price: Option<String>,
    pub fallback: Option<String>,
    pub colleague: Option<String>,
}

/// A server and the log-in there.
#[derive(Debug, Clone, Default)]
pub struct ServerAnswers {
    pub host: Option<String>,
    pub port: Option<u16>,
    /// `implicit`, `starttls` or `none`.
    pub tls: Option<String>,
    pub username: Option<String>,
    pub password_file: Option<String>,
    /// Makes `auth = "xoauth2"`, and leaves password_file out.
    pub token_command: Option<String>,
    pub ca_file: Option<String>,
}

/// A therapist.
#[derive(Debug, Clone, Default)]
pub struct TherapistAnswers {
    pub id: Option<String>,
    pub name: Option<String>,
    pub title: Option<String>,
    pub register: Option<String>,
    pub country: Option<String>,
    pub address: Option<String>,
    pub certificate: Option<String>,
    /// `each` or `daily`.
    pub forward: Option<String>,
    pub timezone: Option<String>,
    pub language: Option<String>,
    pub release: Option<String>,
    pub cutoff: Option<String>,
    pub cadre: CadreAnswers,
}

/// Literals by key, for one section.
type Values = BTreeMap<&'static str, String>;

/// The file `config/cadre.example.toml`.
pub fn example() -> String {
    let head = "\
#:schema ./cadre.schema.json
# Cadre: every key of the configuration, with its default.
# Generated from the code (src/config/schema.rs): change it there, then UPDATE_GOLDEN=1 cargo test config::
#
# Required is only what has no sensible default. Unknown keys are errors; `cadre check` names all faults at once.
# Relative paths are relative to this file. A key behind a # is not set.
";
    format!("{head}\n{}", body(&Answers::default()))
}

/// A configuration with these answers, commented like the example. It reads back with
/// [`Config::load`](super::Config::load) when the answers are sound.
pub fn render(answers: &Answers) -> String {
    let head = "\
# Cadre's configuration. Unknown keys are errors; `cadre check` names all faults at once.
# Relative paths are relative to this file. A key behind a # is not set.
";
    format!("{head}\n{}", body(answers))
}

fn body(answers: &Answers) -> String {
    let mut out = String::new();
    let one = [TherapistAnswers::default()];
    let therapists = if answers.therapists.is_empty() { &one[..] } else { &answers.therapists[..] };
    for section in SECTIONS {
        match section.path {
            "therapist" => {
                for (nth, therapist) in therapists.iter().enumerate() {
                    section_text(&mut out, section, &therapist_values(therapist), nth == 0);
                    if let Some(cadre) = super::schema::section("therapist.cadre") {
                        section_text(&mut out, cadre, &cadre_values(&therapist.cadre), nth == 0);
                    }
                }
            }
            "therapist.cadre" => {}
            path => {
                let mut values = values_of(answers, path);
                for key in section.keys {
                    if let Some(literal) = answers.other.get(&(path.to_owned(), key.name.to_owned())) {
                        values.insert(key.name, literal.clone());
                    }
                }
                section_text(&mut out, section, &values, true);
            }
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// One section; `full` with its documentation and the keys that are not set.
fn section_text(out: &mut String, section: &Section, values: &Values, full: bool) {
    let commented = section.commented && values.is_empty();
    if commented && !full {
        return;
    }
    if full {
        comment(out, section.doc);
    }
    let mark = if commented { "#" } else { "" };
    out.push_str(&format!("{mark}{}\n", section.header()));
    for key in section.keys {
        key_text(out, key, values.get(key.name).map(String::as_str), commented, full);
    }
    out.push('\n');
}

fn key_text(out: &mut String, key: &Key, value: Option<&str>, commented: bool, full: bool) {
    let hidden = value == Some(LEFT_OUT) || (value.is_none() && key.need.is_commented());
    if hidden && !full {
        return;
    }
    if full {
        comment(out, key.doc);
        match key.need {
            Need::Default(default) => comment(out, &format!("Default: {default}")),
            Need::Derived(rule, _) => comment(out, &format!("Default: {rule}")),
            Need::Optional(_) => comment(out, "Default: none"),
            Need::Required(_) | Need::Frame(_) => {}
        }
    }
    let mark = if commented || hidden { "#" } else { "" };
    let literal = value.filter(|value| *value != LEFT_OUT).unwrap_or(key.need.example());
    out.push_str(&format!("{mark}{} = {literal}\n", key.name));
}

/// Documentation, wrapped at about 110 columns.
fn comment(out: &mut String, text: &str) {
    for line in text.lines() {
        let mut width = 0;
        for word in line.split(' ') {
            let length = word.chars().count() + 1;
            if width > 0 && width + length > 110 {
                out.push('\n');
                width = 0;
            }
            out.push_str(if width == 0 { "# " } else { " " });
            out.push_str(word);
            width += length;
        }
        out.push('\n');
    }
}

/// Stands for a key that must be shown as not set. No TOML value looks like it.
const LEFT_OUT: &str = "";

/// A TOML literal of a text.
fn literal(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

fn put(values: &mut Values, key: &'static str, answer: &Option<String>) {
    if let Some(text) = answer {
        values.insert(key, literal(text));
    }
}

fn values_of(answers: &Answers, path: &str) -> Values {
    let mut values = Values::new();
    let pairs: &[(&'static str, &Option<String>)] = match path {
        "practice" => &[
            ("name", &answers.practice_name),
            ("address", &answers.practice_address),
            ("neutral_name", &answers.neutral_name),
            ("language", &answers.language),
            ("timezone", &answers.timezone),
            ("country", &answers.country),
            ("region", &answers.region),
        ],
        "practice.cadre" => return cadre_values(&answers.cadre),
        "operator" => &[("address", &answers.operator_address), ("alarm_command", &answers.alarm_command)],
        "keys" => &[
            ("secret", &answers.key_secret),
            ("passphrase_file", &answers.key_passphrase),
            ("record", &answers.key_record),
            ("archive", &answers.key_archive),
        ],
        "imap" => {
            let mut values = server_values(&answers.imap, &answers.practice_address);
            put(&mut values, "filing", &answers.filing);
            return values;
        }
        "smtp" => {
            let mut values = server_values(&answers.smtp, &None);
            // A user name without a password would not read back.
            if values.contains_key("username") && answers.smtp.token_command.is_none() {
                values.entry("password_file").or_insert_with(|| literal("smtp.password"));
            }
            return values;
        }
        "database" => &[("url", &answers.database_url)],
        "rhythm" => &[("release", &answers.release), ("cutoff", &answers.cutoff)],
        "digest" => &[("send", &answers.digest_send)],
        _ => &[],
    };
    for (key, answer) in pairs {
        put(&mut values, key, answer);
    }
    values
}

fn cadre_values(cadre: &CadreAnswers) -> Values {
    let mut values = Values::new();
    put(&mut values, "channel", &cadre.channel);
    put(&mut values, "price", &cadre.price);
    put(&mut values, "fallback", &cadre.fallback);
    put(&mut values, "colleague", &cadre.colleague);
    values
}

fn server_values(server: &ServerAnswers, usual_name: &Option<String>) -> Values {
    let mut values = Values::new();
    put(&mut values, "host", &server.host);
    put(&mut values, "tls", &server.tls);
    put(&mut values, "username", if server.username.is_some() { &server.username } else { usual_name });
    put(&mut values, "password_file", &server.password_file);
    put(&mut values, "ca_file", &server.ca_file);
    if let Some(port) = server.port {
        values.insert("port", port.to_string());
    }
    if let Some(command) = &server.token_command {
        values.insert("auth", literal("xoauth2"));
        values.insert("token_command", literal(command));
        values.insert("password_file", LEFT_OUT.to_owned());
    }
    values
}

fn therapist_values(therapist: &TherapistAnswers) -> Values {
    let mut values = Values::new();
    for (key, answer) in [
        ("id", &therapist.id),
        ("name", &therapist.name),
        ("title", &therapist.title),
        ("register", &therapist.register),
        ("country", &therapist.country),
        ("address", &therapist.address),
        ("certificate", &therapist.certificate),
        ("forward", &therapist.forward),
        ("timezone", &therapist.timezone),
        ("language", &therapist.language),
        ("release", &therapist.release),
        ("cutoff", &therapist.cutoff),
    ] {
        put(&mut values, key, answer);
    }
    values
}
