//! Manual pages: section 1 from the command line's definition, `cadre.toml(5)` from the configuration's.

use chrono::DateTime;
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::config::Env;
use crate::config::schema::{Key, Need, SECTIONS};

const MANUAL: &str = "Cadre";

/// Every page: the name of its file, and roff.
pub(super) fn all(command: &Command) -> Vec<(String, Vec<u8>)> {
    let mut command = command.clone().disable_help_subcommand(true);
    command.build();
    let date = date(&Env::process());
    let mut pages = Vec::new();
    let version = command.get_version().unwrap_or_default().to_owned();
    let common = Common { source: format!("cadre {version}"), date };
    common.command(&command, None, &mut pages);
    pages.push(("cadre.toml.5".to_owned(), common.configuration()));
    pages
}

/// The day of the sources, as reproducible builds have it (SOURCE_DATE_EPOCH, seconds): a page must not differ by the
/// day on which it was written. Empty when it isn't said.
fn date(env: &Env) -> String {
    let seconds = env.get("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
    seconds
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map(|at| at.format("%Y-%m-%d").to_string())
        .unwrap_or_default()
}

/// What all pages have in common.
struct Common {
    source: String,
    date: String,
}

impl Common {
    /// The page of a command, then those of its subcommands.
    fn command(&self, command: &Command, parent: Option<&str>, pages: &mut Vec<(String, Vec<u8>)>) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        let man = Man::new(command.clone());
        let mut page = self.title(&name, 1);
        let children: Vec<&Command> = command.get_subcommands().filter(|child| !child.is_hide_set()).collect();
        // Writing into memory doesn't fail.
        let _ = man.render_name_section(&mut page);
        let _ = man.render_synopsis_section(&mut page);
        let _ = man.render_description_section(&mut page);
        let _ = man.render_options_section(&mut page);
        if !children.is_empty() {
            page.extend(commands(&name, &children));
        }
        page.extend(notes(command));
        page.extend(if parent.is_none() { surroundings() } else { Vec::new() });
        page.extend(see_also(parent, children.iter().map(|child| format!("{name}-{}", child.get_name()))));
        pages.push((format!("{name}.1"), page));
        for child in children {
            self.command(child, Some(&name), pages);
        }
    }

    /// How a page begins. Written out, because an argument without a value would be left out and the next take its place.
    fn title(&self, name: &str, section: u8) -> Vec<u8> {
        let mut page = rendered(&Roff::new());
        page.extend(
            format!(".TH \"{name}\" \"{section}\" \"{}\" \"{}\" \"{MANUAL}\"\n", self.date, self.source).bytes(),
        );
        page
    }

    /// `cadre.toml(5)`.
    fn configuration(&self) -> Vec<u8> {
        let mut roff = Roff::new();
        roff.control("SH", ["NAME"]);
        roff.text([roman("cadre.toml - the configuration of cadre(1)")]);
        roff.control("SH", ["DESCRIPTION"]);
        roff.text([
            roman("One TOML file. Unknown keys are errors, and "),
            bold("cadre check"),
            roman(
                " names all faults at once, each with its line and remedy. Relative paths are relative to the file. \
                 Required is only what has no sensible default.",
            ),
        ]);
        for section in SECTIONS {
            roff.control("SH", [section.header().as_str()]);
            paragraphs(&mut roff, section.doc);
            for key in section.keys {
                described(&mut roff, key);
            }
        }
        roff.control("SH", ["FILES"]);
        file(&mut roff, "/usr/share/doc/cadre/examples/cadre.example.toml", "every key, explained");
        file(&mut roff, "/usr/share/doc/cadre/examples/cadre.schema.json", "the same for editors, as JSON schema");
        let mut page = self.title("cadre.toml", 5);
        page.extend(rendered(&roff));
        page.extend(see_also(Some("cadre"), ["cadre-check".to_owned(), "cadre-init".to_owned()].into_iter()));
        page
    }
}

/// A key: its name, what stands without it, what it does.
fn described(roff: &mut Roff, key: &Key) {
    roff.control("TP", []);
    let without = match key.need {
        Need::Required(_) => "required".to_owned(),
        Need::Default(literal) => format!("default: {literal}"),
        Need::Derived(rule, _) => format!("default: {rule}"),
        Need::Optional(_) => "optional".to_owned(),
        Need::Frame(_) => "required, here or for each therapist".to_owned(),
    };
    roff.text([bold(key.name), roman(format!(" ({without})"))]);
    paragraphs(roff, key.doc);
    roff.control("br", []);
    roff.text([roman("For example: "), italic(format!("{} = {}", key.name, key.need.example()))]);
}

fn paragraphs(roff: &mut Roff, text: &str) {
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        roff.text([roman(line.trim())]);
    }
}

/// Subcommands with their pages.
fn commands(name: &str, children: &[&Command]) -> Vec<u8> {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for child in children {
        roff.control("TP", []);
        roff.text([bold(format!("{name}-{}", child.get_name())), roman("(1)")]);
        paragraphs(&mut roff, &child.get_about().map(ToString::to_string).unwrap_or_default());
    }
    rendered(&roff)
}

/// What stands below a command's help; indented lines are kept as they are.
fn notes(command: &Command) -> Vec<u8> {
    let Some(text) = command.get_after_help() else { return Vec::new() };
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]);
    let mut kept = false;
    for line in text.to_string().lines() {
        let keep = line.starts_with("  ");
        if keep != kept {
            for control in if keep { ["RS", "nf"] } else { ["fi", "RE"] } {
                roff.control(control, []);
            }
            kept = keep;
        }
        match line.trim() {
            "" => roff.control("PP", []),
            line => roff.text([roman(line)]),
        };
    }
    if kept {
        roff.control("fi", []);
        roff.control("RE", []);
    }
    rendered(&roff)
}

/// Files and environment of the whole program.
fn surroundings() -> Vec<u8> {
    let mut roff = Roff::new();
    roff.control("SH", ["FILES"]);
    file(&mut roff, "./cadre.toml", "the configuration, where no other is named; see cadre.toml(5)");
    file(&mut roff, "/etc/cadre/cadre.toml", "the configuration otherwise");
    roff.control("SH", ["ENVIRONMENT"]);
    file(&mut roff, "CADRE_CONFIG", "the configuration's path, where --config isn't given");
    file(&mut roff, "CADRE_LOG", "error, warn, info or debug: what is written to standard error; info by default");
    file(&mut roff, "CREDENTIALS_DIRECTORY", "the folder of \"credential:NAME\" secrets, set by systemd");
    rendered(&roff)
}

fn file(roff: &mut Roff, name: &str, what: &str) {
    roff.control("TP", []);
    roff.text([italic(name)]);
    roff.text([roman(what)]);
}

/// The pages above and below this one.
fn see_also(parent: Option<&str>, children: impl Iterator<Item = String>) -> Vec<u8> {
    let mut pages: Vec<(String, &str)> = children.map(|name| (name, "(1)")).collect();
    pages.sort();
    match parent {
        Some(parent) => pages.insert(0, (parent.to_owned(), "(1)")),
        None => pages.push(("cadre.toml".to_owned(), "(5)")),
    }
    let mut line: Vec<Inline> = Vec::new();
    for (name, section) in pages {
        let before = if line.is_empty() { "" } else { ", " };
        line.extend([roman(before), bold(name), roman(section)]);
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text(line);
    rendered(&roff)
}

fn rendered(roff: &Roff) -> Vec<u8> {
    let mut out = Vec::new();
    let _ = roff.to_writer(&mut out);
    out
}
