//! What remains: the thread, the state of things, the journal, and what a thief of the disk would read.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cast::{OFFICE, Play, paris};
use crate::common::lab::{PATIENCE, wait};
use crate::common::{Form, canary};
use crate::day::{self, Who};
use crate::newcomer;

/// The letter of the evening, taken in by the daemon.
const LAST_SUBJECT: &str = "De l'intérieur";
const LAST_WORDS: &str = "j'étais dedans, assise sur le coffre à jouets";

/// The daemon's poll is a minute; IDLE, where it isn't deaf, a blink.
const AT_ONCE: Duration = Duration::from_secs(20);

/// What no command of the operator's may print.
const BARE: [&str; 6] = ["Hélène", "Béranger", "helene@", "Trois heures", "grenier", "francois@"];

/// What the operator can ask.
pub fn operator(play: &mut Play) -> Result<()> {
    play.stage.scene("Tuesday 3 March, 18:30", "What the operator can see");
    play.at(paris(3, 18, 30)?)?;
    let c1 = play.c1.clone();
    let thread = play.cadre(&["thread", &c1])?;
    let leak = BARE.iter().find(|word| thread.contains(**word));
    play.stage.seen(leak.is_none(), "codes, verdicts, times and sizes: no name, no address, no subject", &|| {
        format!("{leak:?}")
    })?;
    let (_, digest) = play.newest(&play.therapist, "Relevé")?;
    let body = digest.text();
    let line = body.lines().rev().find(|line| line.starts_with("Journal ")).context("no journal head in the digest")?;
    let head = line.trim_start_matches("Journal ").trim().to_owned();
    play.stage.say("The head of the journal stood in the signed digest at seven. Nobody can have changed or cut what was written before:");
    let args = ["journal", "verify", "--expect", head.as_str()];
    let out = play.practice.run(&args)?;
    play.stage.typed(&format!("cadre {}", args.join(" ")), &format!("{}{}", out.stdout, out.stderr));
    play.stage.seen(out.ok(), "the journal's chain is whole and contains this morning's head", &|| out.stderr.clone())
}

/// The daemon takes one more letter; while it runs, its disk is searched.
pub fn daemon_and_disk(play: &mut Play) -> Result<()> {
    play.stage.scene("Thursday 5 March, 21:15", "The daemon, and one more letter");
    play.at(paris(5, 21, 14)?)?;
    let mut daemon = play.practice.spawn_run()?;
    play.stage.typed("cadre run &", "");
    daemon.wait_line("running", PATIENCE)?;
    // It looks once at the mailbox before it begins to watch.
    std::thread::sleep(Duration::from_secs(2));
    play.at(paris(5, 21, 15)?)?;
    let text = format!("De l'intérieur : {LAST_WORDS}.\n");
    day::write(play, Who::Helene, LAST_SUBJECT, &text, Form::SignedEncrypted, false)?;
    play.stage.gloss("From the inside: I was in there, sitting on the toy chest.");
    let code = play.c1.clone();
    let sent = Instant::now();
    let turn = wait("the daemon to file the letter", PATIENCE, || {
        let thread = play.practice.json(&["thread", &code])?;
        Ok((thread["turn"]["state"] == "open").then(|| thread["turn"].clone()))
    })
    .with_context(|| format!("its log: {}", daemon.text().unwrap_or_default()))?;
    let woken = if sent.elapsed() < AT_ONCE { "IDLE woke it: filed at once" } else { "filed at the next poll" };
    play.stage.seen(turn["letters"] == 1, &format!("{woken}; a new turn is open"), &|| turn.to_string())?;
    let due = turn["due"].as_str().unwrap_or_default().to_owned();
    play.stage.seen(
        due.starts_with("2026-03-06T17:00"),
        "it will be answered tomorrow at six, not tonight",
        &|| due.clone(),
    )?;
    let status = play.cadre(&["status"])?;
    let leak = BARE.iter().find(|word| status.contains(**word));
    play.stage.seen(leak.is_none(), "the state of everything on one screen, again by codes and counts", &|| {
        format!("{leak:?}")
    })?;
    let facts = play.practice.json(&["status"])?;
    let kept = facts["overdue_turns"] == 0 && facts["well"] == true;
    play.stage.seen(kept, "all is well, and nobody waits past the hour that was promised", &|| facts.to_string())?;
    newcomer::night(play)?;
    play.stage.scene("Thursday 5 March, 23:45", "The thief: what the server's disk shows");
    disk(play, &daemon.log.clone())?;
    let ended = daemon.terminate(PATIENCE)?;
    play.stage.seen(ended == Some(0), "told to end (SIGTERM), the daemon ends in order", &|| format!("{ended:?}"))
}

fn disk(play: &mut Play, log: &Path) -> Result<()> {
    play.stage.say(
        "While the daemon runs, everything that lies on the disk is searched for what was written today: in UTF-8, \
         UTF-16, base64 and quoted-printable, in any case, file names included.",
    );
    let words = [
        day::HELENE_SUBJECT,
        day::HELENE_WORDS,
        day::FRANCOIS_SUBJECT,
        day::FRANCOIS_WORDS,
        day::FORGED_SUBJECT,
        day::FORGED_WORDS,
        day::FIRST_ANSWER,
        day::BETTER_ANSWER,
        day::OTHER_ANSWER,
        LAST_SUBJECT,
        LAST_WORDS,
        newcomer::FIRST_SUBJECT,
        newcomer::FIRST_WORDS,
        newcomer::FIRST_REPLY,
        newcomer::NIGHT_SUBJECT,
        newcomer::NIGHT_WORDS,
        newcomer::CARD_WORDS,
        "cannelle",
        "gare de Lyon",
        "coffre à jouets",
    ];
    let people = [
        "helene@client",
        "francois@autre",
        "Hélène",
        "Béranger",
        "François",
        "Hélène B.",
        "François N.",
        "claire@autre",
        "Claire Morel",
        "Claire M.",
    ];
    let own = play.practice.dir.clone();
    let files = listing(&own)?;
    let shown: Vec<String> = files.iter().map(|(path, size)| format!("{:>9}  {}", size, below(path, &own))).collect();
    play.stage.typed("ls practice/", &shown.join("\n"));
    let wal = files.iter().any(|(path, size)| path.to_string_lossy().ends_with("-wal") && *size > 0);
    play.stage.seen(wal, "the database's write-ahead log is there too", &|| shown.join("\n"))?;
    let found = canary(&[&own, log], &[&words[..], &people].concat())?;
    let what = format!(
        "{} sentences, subjects, names and addresses: none in database, WAL, logs, keys, configuration",
        words.len() + people.len()
    );
    play.stage.seen(found.is_empty(), &what, &|| format!("{found:#?}"))?;
    let mailbox = play.lab.mail_root().join(OFFICE);
    // The letter that came in clear was the provider's to read all along: Dovecot's index remembers its subject.
    let sealed: Vec<&str> = words.iter().copied().filter(|word| *word != day::FRANCOIS_SUBJECT).collect();
    let found = canary(&[&mailbox], &sealed)?;
    play.stage.seen(
        found.is_empty(),
        "in the practice's mailbox on the provider's disk, no sentence and no encrypted subject",
        &|| format!("{found:#?}"),
    )?;
    // The search must be able to find: Hélène's own disk has the address that she wrote to.
    let proof = canary(&[&play.lab.mail_root().join(&play.helene.address)], &["ecrire@cabinet"])?;
    play.stage.seen(!proof.is_empty(), "(the same search does find a word that is there)", &String::new)?;
    honest(play, &mailbox)
}

/// What is visible, and must be said.
fn honest(play: &mut Play, mailbox: &Path) -> Result<()> {
    play.stage.say("What can be seen all the same:");
    let config = ["agnes@exemple", "Agnès Fontanel"];
    let practice = files_with(&play.practice.dir.clone(), &config)?;
    let folders = fs::read_dir(mailbox.join("Maildir"))?.flatten();
    let codes = folders.filter(|entry| entry.file_name().to_string_lossy().contains("C-")).count();
    let in_mailbox = files_with(mailbox, &["helene@client", "francois@autre"])?;
    let at_provider = files_with(&play.lab.dir.join("p"), &["helene@client", "francois@autre"])?;
    let therapist = files_with(mailbox, &config[..1])?;
    let names = |files: &[PathBuf], root: &Path| {
        let mut names: Vec<String> = files.iter().map(|path| below(path, root)).collect();
        names.truncate(3);
        names.join(", ")
    };
    let lines = vec![
        format!("- on Cadre's disk: the therapist's name and address, in {}", names(&practice, &play.practice.dir)),
        "- in the database: codes, states, times, sizes, verdicts".to_owned(),
        format!(
            "- in the mailbox: {codes} folders named after codes; the therapist's address in {} files; clients' addresses {}",
            therapist.len(),
            if in_mailbox.is_empty() { "nowhere".to_owned() } else { format!("in {}", names(&in_mailbox, mailbox)) }
        ),
        format!(
            "- at the provider: who writes to whom, when, how much: in {} ({})",
            if at_provider.is_empty() { "no log" } else { "its logs" },
            names(&at_provider, &play.lab.dir.join("p"))
        ),
        "- François's letter travelled in clear: his provider and ours could read that one".to_owned(),
    ];
    play.stage.boxed("not hidden", &lines);
    play.stage.seen(
        !at_provider.is_empty(),
        "the provider's log does name who wrote: that is beyond Cadre",
        &String::new,
    )
}

fn files_with(root: &Path, words: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = canary(&[root], words)?.into_iter().map(|found| found.file).collect();
    files.sort();
    files.dedup();
    Ok(files)
}

fn listing(root: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        match entry.metadata()? {
            meta if meta.is_dir() => found.extend(listing(&entry.path())?),
            meta => found.push((entry.path(), meta.len())),
        }
    }
    found.sort();
    Ok(found)
}

fn below(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
