//! Servers, people and the practice: everything that is there before the first letter.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use chrono::{DateTime, NaiveDate, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Europe::Paris;

use crate::common::lab::PASSWORD;
use crate::common::{Lab, Output, Person, Practice, Read};
use crate::keep;
use crate::stage::Stage;

/// The practice's one address.
pub const OFFICE: &str = "ecrire@cabinet.example";

/// Everybody and everything on stage.
pub struct Play {
    pub stage: Stage,
    pub practice: Practice,
    /// The practice's fingerprint, and its certificate as the clients got it.
    pub office: String,
    pub therapist: Person,
    pub helene: Person,
    pub francois: Person,
    /// Comes on Wednesday.
    pub claire: Person,
    /// Their codes.
    pub c1: String,
    pub c2: String,
    pub c3: String,
    // Ended last: the servers that everybody above talks to.
    pub lab: Lab,
}

/// A moment in March 2026 by the clock in Paris. The 3rd is a Tuesday.
pub fn paris(day: u32, hour: u32, minute: u32) -> Result<DateTime<Utc>> {
    let naive = NaiveDate::from_ymd_opt(2026, 3, day).and_then(|date| date.and_hms_opt(hour, minute, 0));
    let local = naive.and_then(|naive| Paris.from_local_datetime(&naive).single()).context("no such hour")?;
    Ok(local.with_timezone(&Utc))
}

impl Play {
    /// Starts the servers, makes keys with GnuPG and the practice with `cadre init`, adds the two clients.
    pub fn prepare() -> Result<Self> {
        let mut stage = Stage::new();
        stage.say(
            "This is one day in a practice of psychotherapy by e-mail. Two people write when they need to; their \
             therapist answers each of them once, in the evening. Cadre stands between. Everything below happens \
             for real, on this machine: mail goes through Postfix and Dovecot, everybody's mail is opened by \
             GnuPG, and only the clock is played (libfaketime).",
        );
        let lab = servers(&mut stage)?;
        let eve = paris(2, 14, 0)?;
        let (therapist, helene, francois, claire) = people(&mut stage, &lab, paris(1, 10, 0)?)?;
        let (practice, office) = practice(&mut stage, &lab, [&therapist, &helene, &francois], eve)?;
        let mut play = Self {
            stage,
            practice,
            office,
            therapist,
            helene,
            francois,
            claire,
            c1: String::new(),
            c2: String::new(),
            c3: String::new(),
            lab,
        };
        play.clients()?;
        Ok(play)
    }

    /// Turns everybody's clock.
    pub fn at(&self, time: DateTime<Utc>) -> Result<()> {
        for person in [&self.therapist, &self.helene, &self.francois, &self.claire] {
            person.set_clock(time);
        }
        self.practice.set_time(time)
    }

    /// Runs a command of Cadre's and shows it; it must end with 0.
    pub fn cadre(&self, args: &[&str]) -> Result<String> {
        let out = self.practice.run(args)?;
        let shown = args.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" ");
        self.stage.typed(&format!("cadre {shown}"), &format!("{}{}", out.stdout, self.shorten(&out.stderr)));
        out.expect_ok()
    }

    /// One pass, shown; its counts.
    pub fn pass(&self) -> Result<serde_json::Value> {
        let out = self.practice.run(&["run", "--once", "--json"])?.expect_ok()?;
        let counts: serde_json::Value = serde_json::from_str(&out)?;
        let told: Vec<String> = counts
            .as_object()
            .map(|counts| counts.iter().filter(|(_, n)| **n != 0).map(|(name, n)| format!("{name} {n}")).collect())
            .unwrap_or_default();
        let told = if told.is_empty() { "nothing to do".to_owned() } else { told.join("   ") };
        self.stage.typed("cadre run --once", &told);
        self.lab.wait_queue_empty()?;
        Ok(counts)
    }

    fn shorten(&self, text: &str) -> String {
        text.replace(&self.lab.dir.display().to_string(), "$D")
    }

    /// What lies in somebody's INBOX, opened by their GnuPG, with the raw bytes.
    pub fn inbox(&self, person: &Person) -> Result<Vec<(Vec<u8>, Read)>> {
        let mails = person.mailbox(&self.lab)?;
        mails.into_iter().map(|raw| person.read(&raw).map(|read| (raw, read))).collect()
    }

    /// The newest mail of somebody's whose subject, as they see it, has these words.
    pub fn newest(&self, person: &Person, words: &str) -> Result<(Vec<u8>, Read)> {
        let found = self.inbox(person)?.into_iter().rev().find(|(_, read)| read.subject.contains(words));
        found.with_context(|| format!("{} has no mail with {words:?} in its subject", person.address))
    }

    fn clients(&mut self) -> Result<()> {
        self.stage.say(
            "The operator adds the two clients, whose keys were compared by telephone and who consented on paper. \
             The address is read from standard input, so that it stands in no shell's history. From here on the \
             operator knows them by their codes only.",
        );
        let who = [(&self.helene, "Hélène B."), (&self.francois, "François N.")];
        let mut codes = Vec::new();
        for (person, label) in who {
            let file = self.lab.dir.join("received.asc");
            person.certificate_file(&file)?;
            let args = ["client", "add", "--address", "-", "--name", label, "--therapist", "agnes", "--certificate"];
            let more = ["--active", "--consent-note", "on paper, 2 March 2026"];
            let path = file.display().to_string();
            let all: Vec<&str> = args.into_iter().chain([path.as_str()]).chain(more).collect();
            let out = self.practice.run_with_input(&all, format!("{}\n", person.address).as_bytes())?;
            fs::remove_file(&file)?;
            let shown = format!(
                "cadre client add --address - --name '{label}' --therapist agnes \\\n\
                 --certificate received.asc --active \\\n--consent-note 'on paper, 2 March 2026'"
            );
            self.stage.typed(&shown, &format!("{}{}", out.stdout, out.stderr));
            codes.push(out.expect_ok()?.trim().to_owned());
        }
        self.c2 = codes.pop().unwrap_or_default();
        self.c1 = codes.pop().unwrap_or_default();
        let list = self.cadre(&["client", "list"])?;
        let (c1, c2) = (self.c1.clone(), self.c2.clone());
        let told = list.contains(&c1) && list.contains(&c2) && c1.starts_with("C-") && c1 != c2;
        self.stage.seen(told, &format!("two clients: {c1} and {c2}"), &|| list.clone())?;
        let named = ["Hélène", "François", "client.example", "autre.example"].iter().any(|word| list.contains(word));
        self.stage.seen(!named, "the list shows no name and no address", &|| list.clone())
    }
}

fn servers(stage: &mut Stage) -> Result<Lab> {
    stage.scene("Monday 2 March 2026", "Two mail servers and three people");
    stage.say(
        "A provider is needed: here a Dovecot and a Postfix of our own, in a temporary folder, on free ports of \
         127.0.0.1. No mail can leave this machine, and no server that runs on it is touched.",
    );
    let lab = Lab::start()?;
    if keep::wanted() {
        keep::write_stop(&lab.dir)?;
    }
    let (dovecot, postfix) = lab.pids();
    let d = lab.dir.display();
    stage.typed(
        &format!("D={d}"),
        &format!("Dovecot: IMAP on port {}; Postfix: SMTP on port {}", lab.imap_port, lab.smtp_port),
    );
    stage.seen(dovecot.is_some() && postfix.is_some(), "Dovecot and Postfix answer", &String::new)?;
    Ok(lab)
}

fn people(stage: &mut Stage, lab: &Lab, born: DateTime<Utc>) -> Result<(Person, Person, Person, Person)> {
    let therapist = Person::generate(lab, "agnes", "Agnès Fontanel", "agnes@exemple.example", born)?;
    let helene = Person::generate(lab, "helene", "Hélène Béranger", "helene@client.example", born)?;
    let francois = Person::generate(lab, "francois", "François Noël", "francois@autre.example", born)?;
    let claire = Person::generate(lab, "claire", "Claire Morel", "claire@autre.example", born)?;
    for (person, part) in [(&therapist, "the therapist"), (&helene, "a client"), (&francois, "a client")] {
        let tail = &person.fingerprint[person.fingerprint.len().saturating_sub(16)..];
        let who = format!("{part}: {} <{}>, key …{tail}", person.name, person.address);
        stage.seen(person.fingerprint.len() == 40, &who, &String::new)?;
    }
    stage.say("Each has a mail program, a mailbox at the provider, and a fresh GnuPG key.");
    Ok((therapist, helene, francois, claire))
}

fn practice(stage: &mut Stage, lab: &Lab, people: [&Person; 3], eve: DateTime<Utc>) -> Result<(Practice, String)> {
    stage.scene("Monday 2 March 2026, 14:00", "The operator makes the practice");
    stage.say(
        "One command makes the practice's key, the archive key (its secret goes to a USB stick, here a folder), the \
         record key and a commented configuration. On a terminal it asks; here every answer is a flag.",
    );
    let (binary, dir) = (Practice::built_binary()?, lab.dir.join("practice"));
    let door = Practice::adopt(&lab.dir.join("door"), &binary)?;
    door.set_time(eve)?;
    fs::create_dir(lab.dir.join("usb"))?;
    let password = lab.dir.join("door/password");
    fs::write(&password, PASSWORD)?;
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600))?;
    let certificate = people[0].certificate_file(&lab.dir.join("door/agnes.asc"))?;
    let out = init(stage, lab, &door, &certificate, &password)?;
    fs::remove_dir_all(lab.dir.join("door"))?;
    out.expect_ok()?;
    let made = ["cadre.toml", "practice.key.pgp", "practice.asc", "record.key", "archive.pgp"];
    let missing = || made.iter().filter(|name| !dir.join(name).is_file()).map(|n| (*n).to_owned()).collect::<String>();
    stage.seen(missing().is_empty(), "keys and configuration are there", &missing)?;
    let stick = fs::read_dir(lab.dir.join("usb"))?.count();
    stage.seen(stick == 1, "the archive key's secret is on the stick", &|| format!("{stick} files"))?;
    let open = fs::read_dir(&dir)?.flatten().find(|e| e.metadata().is_ok_and(|m| m.permissions().mode() & 0o077 != 0));
    stage.seen(open.is_none(), "nobody but the owner can read any of it", &|| format!("{open:?}"))?;
    let practice = Practice::adopt(&dir, &binary)?;
    // Some minutes later: no program may find that a key was made in its future.
    let later = eve + TimeDelta::minutes(10);
    practice.set_time(later)?;
    people.iter().for_each(|person| person.set_clock(later));
    stage
        .say("`check` names everything that is wrong, all at once, each with its remedy. A ! is a wish, and no error.");
    stage.typed("export CADRE_CONFIG=$D/practice/cadre.toml", "");
    let out = practice.run(&["check", "--round-trip"])?;
    let said = format!("{}{}", out.stdout, out.stderr).replace(&lab.dir.display().to_string(), "$D");
    stage.typed("cadre check --round-trip", &said);
    stage.seen(out.ok(), "no errors; an encrypted mail went out and came back", &|| said.clone())?;
    lab.wait_queue_empty()?;
    let office = meet(&dir, people)?;
    Ok((practice, office))
}

fn init(stage: &Stage, lab: &Lab, door: &Practice, certificate: &Path, password: &Path) -> Result<Output> {
    let d = lab.dir.display().to_string();
    let port = |number: u16| number.to_string();
    let answers: [&[(&str, &str)]; 5] = [
        &[("--name", "Cabinet des Tilleuls"), ("--address", OFFICE)],
        &[
            ("--language", "fr"),
            ("--timezone", "Europe/Paris"),
            ("--country", "FR"),
            ("--operator", "ops@cabinet.example"),
        ],
        &[
            ("--channel", "courrier chiffré, une réponse par jour"),
            ("--price", "60 € par semaine, par virement"),
            ("--fallback", "+33 1 00 00 00 00, SMS"),
        ],
        &[
            ("--imap-host", "127.0.0.1"),
            ("--imap-port", &port(lab.imap_port)),
            ("--imap-tls", "none"),
            ("--imap-password-file", &password.display().to_string()),
            ("--smtp-host", "127.0.0.1"),
            ("--smtp-port", &port(lab.smtp_port)),
            ("--smtp-tls", "none"),
            ("--smtp-username", OFFICE),
            ("--smtp-password-file", &password.display().to_string()),
        ],
        &[
            ("--therapist", "agnes"),
            ("--therapist-name", "Agnès Fontanel"),
            ("--therapist-title", "Psychologue clinicienne"),
            ("--therapist-register", "RPPS 10000000000"),
            ("--therapist-address", "agnes@exemple.example"),
            ("--therapist-certificate", &certificate.display().to_string()),
            ("--archive-secret", &format!("{d}/usb")),
        ],
    ];
    let folder = format!("{d}/practice");
    let mut args = vec!["init", folder.as_str(), "--yes"];
    let mut shown = "cadre init $D/practice --yes".to_owned();
    let mut column = shown.chars().count() + 4;
    for (flag, value) in answers.iter().flat_map(|group| group.iter()) {
        args.extend([*flag, *value]);
        let piece = format!("{flag} {}", quoted(&value.replace(&d, "$D")));
        column += piece.chars().count() + 1;
        if column > 74 {
            shown.push_str(" \\\n");
            column = piece.chars().count() + 6;
        } else {
            shown.push(' ');
        }
        shown.push_str(&piece);
    }
    let out = door.run(&args)?;
    stage.typed(&shown, &format!("{}{}", out.stdout, out.stderr).replace(&d, "$D"));
    Ok(out)
}

/// Everybody takes the practice's certificate, as the operator gives it to them; its fingerprint.
fn meet(dir: &Path, people: [&Person; 3]) -> Result<String> {
    let certificate = fs::read(dir.join("practice.asc"))?;
    for person in people {
        person.import(&certificate)?;
    }
    let (listing, _) = people[0].gpg(&["--with-colons", "--list-keys", OFFICE], b"")?;
    let listing = String::from_utf8_lossy(&listing).into_owned();
    let fingerprint = listing.lines().find(|line| line.starts_with("fpr:")).and_then(|line| line.split(':').nth(9));
    let fingerprint = fingerprint.context("GnuPG doesn't show the practice's key")?.to_owned();
    // Compared by telephone and accepted, so that mail programs call its signatures good without a warning.
    for person in people {
        person.gpg(&["--quick-lsign-key", &fingerprint], b"")?;
    }
    Ok(fingerprint)
}

/// As it would be typed in a shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=$,+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{word}'") }
}
