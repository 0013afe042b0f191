//! `cadre letters`: what Cadre writes of itself, and the operator's own versions.

use std::path::Path;
use std::str::FromStr as _;

use serde_json::json;

use super::args::Letters as Command;
use super::{Done, FAILED, Failed, USAGE, fail, load, print_json};
use crate::app::specimens::own_facts;
use crate::config::Config;
use crate::letters::{FileFault, Folder, Letters, Lines, Name, Reader};
use crate::model::Language;

/// Lists, checks or shows letters. Where no configuration is named and none is in its places, the built-in letters
/// are spoken of.
pub fn letters(config: &Path, named: bool, json: bool, command: &Command) -> Done {
    let config = if named || config.exists() { Some(load(config)?.0) } else { None };
    match command {
        Command::List => list(config.as_ref(), json),
        Command::Check => check(config.as_ref(), json),
        Command::Preview { name, language, html, sample } => {
            let wanted = Wanted { name, language: language.as_deref(), html: *html, sample: *sample };
            preview(config.as_ref(), json, &wanted)
        }
    }
}

fn folder(config: Option<&Config>) -> Option<&Path> {
    config.and_then(|config| config.letters_folder.as_deref())
}

fn read(config: Option<&Config>) -> Result<Letters, Failed> {
    Letters::load(folder(config)).map_err(|error| fail(&error))
}

/// Who gets a letter.
fn reader_of(name: Name) -> &'static str {
    match name {
        Name::HealthAlarm => "operator",
        _ if name.is_staff() => "therapist",
        Name::Stranger | Name::StrangerSafety => "stranger",
        _ => "client",
    }
}

fn list(config: Option<&Config>, json: bool) -> Done {
    let letters = read(config)?;
    let unusable = letters.unusable();
    let broken = |name: Name| {
        let path = |language: &&Language| format!("{language}/{}", name.as_str());
        Language::ALL.iter().copied().filter(|language| unusable.contains(&path(&language))).collect::<Vec<_>>()
    };
    if json {
        let lines: Vec<_> = Name::ALL
            .iter()
            .map(|name| {
                json!({
                    "name": name.as_str(),
                    "to": reader_of(*name),
                    "clear": name.is_clear() || name.is_clear_for_safety(),
                    "samples": Letters::samples(*name),
                    "own": letters.own(*name),
                    "unusable": broken(*name),
                })
            })
            .collect();
        return print_json(&lines);
    }
    for &name in Name::ALL {
        let mut notes = Vec::new();
        if name.is_clear() {
            notes.push("in clear".to_owned());
        } else if name.is_clear_for_safety() {
            notes.push("in clear where the letter was".to_owned());
        }
        notes.extend(letters.own(name).iter().map(|language| format!("own: {language}")));
        notes.extend(broken(name).iter().map(|language| format!("own, NOT USED: {language}")));
        let line = format!("{:<26}{:<11}{}", name.as_str(), reader_of(name), notes.join(", "));
        println!("{}", line.trim_end());
    }
    Ok(())
}

fn check(config: Option<&Config>, json: bool) -> Done {
    // The built-in ones, too: a fault there is a fault of the program.
    read(None)?;
    let found = folder(config).map(Folder::look);
    let faults = found.as_ref().map_or(&[][..], |found| &found.faults);
    let sound = found.as_ref().map_or(0, |found| found.sound.len());
    if json {
        let shown = |fault: &FileFault| {
            json!({
                "file": fault.file.display().to_string(),
                "line": fault.line,
                "cause": fault.cause,
                "remedy": fault.remedy,
            })
        };
        print_json(&json!({
            "ok": faults.is_empty(),
            "folder": folder(config).map(|folder| folder.display().to_string()),
            "built_in": Name::ALL.len(),
            "own": sound,
            "faults": faults.iter().map(shown).collect::<Vec<_>>(),
        }))?;
    } else {
        for fault in faults {
            let line = fault.line.map_or(String::new(), |line| format!("{line}:"));
            println!("{}:{line} {}\n    → {}", fault.file.display(), fault.cause, fault.remedy);
        }
        let own = match (folder(config), sound) {
            (None, _) => "no `[letters] folder` is configured".to_owned(),
            (Some(_), 1) => "1 letter of your own is sound".to_owned(),
            (Some(_), sound) => format!("{sound} letters of your own are sound"),
        };
        println!("{} built-in letters in {} languages; {own}", Name::ALL.len(), Language::ALL.len());
    }
    if faults.is_empty() {
        return Ok(());
    }
    let plural = if faults.len() == 1 { "" } else { "s" };
    eprintln!("cadre: {} fault{plural} in the folder; the built-in letters are used in their place", faults.len());
    Err(FAILED)
}

/// What is to be shown.
struct Wanted<'a> {
    name: &'a str,
    language: Option<&'a str>,
    html: bool,
    sample: usize,
}

fn preview(config: Option<&Config>, json: bool, wanted: &Wanted<'_>) -> Done {
    let Some(name) = Name::named(wanted.name) else {
        eprintln!("cadre: no letter has this name: `cadre letters list` has them all");
        return Err(USAGE);
    };
    let language = match (wanted.language, config) {
        (Some(text), _) => Language::from_str(text).map_err(|_| {
            eprintln!("cadre: --language takes fr or en");
            USAGE
        })?,
        (None, Some(config)) => config.practice.language,
        (None, None) => Language::Fr,
    };
    let letters = read(config)?;
    let lines = Lines::built_in().map_err(|error| fail(&error))?;
    let therapist = config.and_then(|config| config.therapists.first());
    let own = match (config, therapist) {
        (Some(config), Some(therapist)) => own_facts(config, &lines, therapist, language),
        _ => serde_json::Map::new(),
    };
    let zone = therapist.map_or(chrono_tz::Europe::Paris, |therapist| therapist.timezone);
    let nth = wanted.sample.checked_sub(1);
    let written = match nth {
        Some(nth) => letters
            .preview(name, nth, &own, Reader { language, by_words: false, zone })
            .map_err(|error| fail(&error))?,
        None => None,
    };
    let samples = Letters::samples(name);
    let Some(written) = written else {
        eprintln!("cadre: --sample takes 1 to {samples} for {}", name.as_str());
        return Err(USAGE);
    };
    if letters.unusable().contains(&format!("{language}/{}", name.as_str())) {
        eprintln!("cadre: your own version can't be used, this is the built-in one: `cadre letters check` says why");
    }
    if json {
        return print_json(&json!({
            "name": name.as_str(),
            "language": language,
            "sample": wanted.sample,
            "samples": samples,
            "subject": written.subject,
            "text": written.text,
            "html": written.html,
        }));
    }
    match (wanted.html, &written.html) {
        (true, Some(html)) => print!("{html}"),
        (true, None) => {
            eprintln!("cadre: {} has no HTML part", name.as_str());
            return Err(USAGE);
        }
        (false, _) => {
            if !written.subject.is_empty() {
                println!("Subject: {}\n", written.subject);
            }
            print!("{}", written.text);
            if samples > 1 {
                eprintln!("\n(sample {} of {samples}: --sample N shows another way it can go)", wanted.sample);
            }
        }
    }
    Ok(())
}
