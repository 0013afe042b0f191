//! Every program with every kind of key, there and back over real servers; and every program in every form.

use std::collections::BTreeMap;
use std::sync::Mutex;

use anyhow::{Context as _, Result, anyhow, ensure};

use super::compose::{Form, Pen};
use super::program::{Opened, Program, Sop, Sq};
use super::ring::Ring;
use super::server::Server;
use super::stage::{Page, Stage, census, ciphertext, keep, page};
use super::table::{Cell, Table};
use super::world::{Key, World};
use crate::common::mail::{children, mailbox, rfc5322, text_part};
use crate::common::scene::{OFFICE, march};
use crate::common::{Lab, PracticeOptions};

/// The kinds of keys, with what the matrix calls them.
const KINDS: [(&str, &str); 16] = [
    ("rsa2048", "RSA 2048"),
    ("rsa3072", "RSA 3072"),
    ("rsa4096", "RSA 4096"),
    ("curve25519", "Curve25519 v4 old"),
    ("new25519", "Curve25519 v4 new"),
    ("v6", "Curve25519 v6"),
    ("v6448", "Curve448 v6"),
    ("nistp256", "NIST P-256"),
    ("nistp384", "NIST P-384"),
    ("nistp521", "NIST P-521"),
    ("brainpool256", "Brainpool P256r1"),
    ("brainpool384", "Brainpool P384r1"),
    ("brainpool512", "Brainpool P512r1"),
    ("several", "several enc. subkeys"),
    ("certonly", "certify-only primary"),
    ("extended", "expired, extended"),
];
/// The key that a program makes by itself.
const OWN: &str = "the program's own";
/// In which kind of key each form is written.
const FORMS_KEY: &str = "curve25519";

const OLD: &str = "the program is older than RFC 9580 and knows neither version 6 nor the new algorithms";
const NO_BRAINPOOL: &str = "the program's library has no Brainpool curves";
const THUNDERBIRD: &str = "Thunderbird itself isn't driven: it has no way in without a screen and a hand. Its OpenPGP is RNP's; \
                           its forms are those of the table of shapes.";
const NO_HIDDEN: &str = "the program can't hide a recipient";

/// Why a cell can't be. Everything else has to work.
fn reason(program: &str, kind: &str) -> Option<&'static str> {
    match (program, kind) {
        ("gnupg" | "sq" | "sqop" | "rnp" | "pgpy", "new25519" | "v6" | "v6448") => Some(OLD),
        ("sq" | "sqop" | "rsop", "brainpool256" | "brainpool384" | "brainpool512") => Some(NO_BRAINPOOL),
        _ => None,
    }
}

fn programs(world: &World) -> Vec<Box<dyn Program>> {
    vec![
        Box::new(Ring::gnupg()),
        Box::new(Sq),
        Box::new(Sop::new("sqop", "sqop")),
        Box::new(Ring::rnp()),
        Box::new(Sop::new("rsop", world.peers.join("bin/rsop"))),
        Box::new(Server::openpgpjs()),
        Box::new(Server::pgpy()),
    ]
}

/// One letter on its way: where its finding belongs, and what has to arrive.
struct Sent {
    key: String,
    row: String,
    program: &'static str,
    table: Which,
    verdict: &'static str,
    text: String,
    file: Option<Vec<u8>>,
    raw: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Kinds,
    Forms,
}

struct Tables {
    kinds: Table,
    forms: Table,
}

impl Tables {
    fn note(&mut self, which: Which, row: &str, program: &str, cell: Cell) {
        match which {
            Which::Kinds => self.kinds.note(row, program, cell),
            Which::Forms => self.forms.note(row, program, cell),
        }
    }
}

fn tables(programs: &[Box<dyn Program>]) -> Tables {
    let columns: Vec<&str> = programs.iter().map(|program| program.name()).collect();
    let kinds =
        "Kinds of keys: each program writes (signed, encrypted, a file attached), and reads the reply at the slot";
    let forms = "Forms: each program writes, Cadre finds it verified (encrypted alone: unsigned)";
    Tables {
        kinds: Table::new(kinds, KINDS.iter().map(|(_, row)| *row), &columns),
        forms: Table::new(forms, Form::ALL.iter().map(|(_, row)| *row), &columns),
    }
}

/// A result as a cell. What the table says can't be may fail; should a later version learn it, all the better.
fn cell(result: Result<()>, cannot: Option<&'static str>) -> Cell {
    match (result, cannot) {
        (Ok(()), _) => Cell::Good,
        (Err(_), Some(reason)) => Cell::Cannot(reason),
        (Err(error), None) => Cell::Failed(format!("{error:#}")),
    }
}

/// A letter's words and file, both found again by their own number.
fn words(program: &str, row: &str) -> (String, Vec<u8>) {
    let token = crate::common::mail::nonce();
    let text = format!(
        "Bonjour,\n\nJ'écris avec {program} ({row}), et la nuit fut brève : {token}.\n\n- un tiret\n\
         From ici jusqu'à la mer.\n.\nÀ bientôt\n"
    );
    let file: Vec<u8> = (0..600).flat_map(|n| format!("{token} ligne {n} à l'été\r\n").into_bytes()).collect();
    (text, file)
}

/// Everything that one program writes.
fn write_all(stage: &Stage, program: &dyn Program, keys: &BTreeMap<String, Key>) -> Vec<(Which, String, Result<Sent>)> {
    let mut all = Vec::new();
    let own = format!("own-{}", program.name());
    let kinds = KINDS.iter().copied().chain([(own.as_str(), OWN)]);
    for (id, row) in kinds {
        all.push((Which::Kinds, row.to_owned(), write(stage, program, keys, (id, row), Form::SignedEncrypted)));
    }
    for (form, row) in Form::ALL {
        let mut sent = write(stage, program, keys, (FORMS_KEY, row), form);
        if let Ok(sent) = &mut sent {
            sent.table = Which::Forms;
        }
        all.push((Which::Forms, row.to_owned(), sent));
    }
    all
}

fn write(
    stage: &Stage,
    program: &dyn Program,
    keys: &BTreeMap<String, Key>,
    (id, row): (&str, &str),
    form: Form,
) -> Result<Sent> {
    let key = keys.get(id).with_context(|| format!("no key {id}"))?;
    let (text, file) = words(program.name(), row);
    let pen = Pen { world: &stage.world, program, key, office: &stage.office };
    let raw = pen.letter(form, &format!("Nuit {}", program.name()), &text, &file)?;
    let file = form.has_file().then_some(file);
    Ok(Sent {
        key: id.to_owned(),
        row: row.to_owned(),
        program: program.name(),
        table: Which::Kinds,
        verdict: form.verdict(),
        text,
        file,
        raw,
    })
}

/// Whether what the therapist got is what was written: the right client, the verdict, the words, the file.
fn arrived(sent: &Sent, code: &str, pages: &[Page]) -> Result<()> {
    let token = sent.text.split(" : ").nth(1).and_then(|rest| rest.split('.').next()).context("no token")?;
    let mut with = pages.iter().filter(|page| page.text.contains(token));
    let found = with.next().ok_or_else(|| anyhow!("it didn't reach the therapist"))?;
    ensure!(with.next().is_none(), "it reached the therapist twice");
    ensure!(found.subject.starts_with(&format!("[{code}] ")), "filed under another client: {}", found.subject);
    let plain = found.text.replace('\u{2019}', "'");
    let wording = if sent.verdict == "verified" { "VÉRIFIÉE" } else { "NON SIGNÉE" };
    ensure!(plain.contains(wording), "not {}: {}", sent.verdict, plain.lines().next().unwrap_or_default());
    for line in sent.text.lines().filter(|line| !line.is_empty()) {
        ensure!(found.text.contains(line.trim_end()), "the line {line:?} is missing");
    }
    match &sent.file {
        Some(file) => ensure!(found.files.iter().any(|(_, bytes)| bytes == file), "the file isn't intact"),
        None => ensure!(found.files.is_empty(), "a file came from nowhere"),
    }
    Ok(())
}

const REPLY: &str = "Merci de votre lettre. La nuit n'a pas duré ; écrivez-moi demain, si vous voulez.";
const SHEET: &[u8] = "Une marche, chaque matin, avant l'été.\r\n".as_bytes();

/// Whether a program opens a reply of Cadre's with this key and finds it signed by the practice.
fn reads(stage: &Stage, program: &dyn Program, key: &Key, raw: &[u8]) -> Result<()> {
    let Opened { data, good } = program.decrypt(&stage.world, key, &stage.office, &ciphertext(raw)?)?;
    ensure!(good, "the practice's signature isn't found good");
    let page = page(&data)?;
    ensure!(page.text.contains(REPLY), "the reply's words are missing: {}", page.text);
    ensure!(page.subject.contains("Nuit"), "the protected subject is {:?}", page.subject);
    ensure!(page.files.iter().any(|(_, bytes)| bytes == SHEET), "the reply's file isn't intact");
    Ok(())
}

/// A stranger's plain letter, which is answered in clear and signed.
fn stranger() -> Vec<u8> {
    let from = mailbox("Inconnue", "inconnue@stranger.example");
    let date = rfc5322(march(2, 5, 30));
    let text = text_part("text/plain", "Bonjour, prenez-vous de nouvelles personnes ?\n");
    format!(
        "From: {from}\r\nTo: {OFFICE}\r\nSubject: Question\r\nDate: {date}\r\nMessage-ID: <q1@stranger.example>\r\n\
         MIME-Version: 1.0\r\n{text}"
    )
    .into_bytes()
}

struct Cast {
    keys: BTreeMap<String, Key>,
    codes: BTreeMap<String, String>,
}

/// The committed keys and each program's own, enrolled.
fn cast(stage: &Stage, programs: &[Box<dyn Program>]) -> Result<Cast> {
    let mut keys = BTreeMap::new();
    for (id, _) in KINDS {
        keys.insert(id.to_owned(), Key::committed(&stage.world, id)?);
    }
    for program in programs {
        let id = format!("own-{}", program.name());
        let address = format!("{id}@client.example");
        let made = program.generate(&stage.world, &address).with_context(|| program.name())?;
        keys.insert(id.clone(), Key::new(&stage.world, &id, &address, made.0, made.1)?);
    }
    let mut codes = BTreeMap::new();
    for (id, key) in &keys {
        codes.insert(id.clone(), stage.enrol(key).with_context(|| format!("the key {id} isn't taken"))?);
    }
    Ok(Cast { keys, codes })
}

/// Each program writes in its own time, all at once; what was written is in the practice's mailbox then.
fn letters(stage: &Stage, programs: &[Box<dyn Program>], cast: &Cast, tables: &mut Tables) -> Result<Vec<Sent>> {
    let letters = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for program in programs {
            let letters = &letters;
            scope.spawn(move || {
                let all = write_all(stage, program.as_ref(), &cast.keys);
                letters.lock().expect("no panic").push((program.name(), all));
            });
        }
    });
    let mut sent = Vec::new();
    for (program, all) in letters.into_inner().map_err(|_| anyhow!("poisoned"))? {
        for (which, row, result) in all {
            match result {
                Ok(letter) => sent.push(letter),
                Err(error) => {
                    let kind = KINDS.iter().find(|(_, name)| *name == row).map_or("", |(id, _)| id);
                    let hidden = (row == "hidden recipient").then_some(NO_HIDDEN);
                    let cannot = if which == Which::Kinds { reason(program, kind) } else { hidden };
                    tables.note(which, &row, program, cell(Err(error.context("writing")), cannot));
                }
            }
        }
    }
    for letter in &sent {
        let address = &cast.keys[&letter.key].address;
        stage.lab.deliver(address, OFFICE, &letter.raw)?;
    }
    stage.lab.deliver("inconnue@stranger.example", OFFICE, &stranger())?;
    Ok(sent)
}

#[test]
fn every_program_writes_to_cadre_and_reads_it_with_every_kind_of_key() -> Result<()> {
    let written = march(2, 5, 30);
    let options = PracticeOptions { forward: "each".into(), ..PracticeOptions::default() };
    let stage = Stage::new(Lab::light()?, written, &options)?;
    let programs = programs(&stage.world);
    let mut tables = tables(&programs);
    let cast = cast(&stage, &programs)?;

    let sent = letters(&stage, &programs, &cast, &mut tables)?;

    // Cadre reads: one pass files them all, and the therapist opens what was forwarded.
    let counts = stage.practice.once(written)?;
    let mails = stage.mails();
    let dr = stage.therapist.address.clone();
    let forwards: Vec<_> = mails.into_iter().filter(|mail| mail.to == [dr.clone()]).map(|mail| mail.data).collect();
    let pages = forwards.iter().map(|raw| stage.therapist_reads(raw)).collect::<Result<Vec<_>>>()?;
    for letter in &sent {
        let mut result = arrived(letter, &cast.codes[&letter.key], &pages);
        if result.is_err() {
            let name = format!("{}-{}", letter.program, letter.row.replace(' ', "-"));
            let kept = keep(&name, &letter.raw)?;
            let said = stage.practice.run(&["explain", "--json", &kept])?.stdout;
            result =
                result.with_context(|| format!("{} ({kept})", said.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        tables.note(letter.table, &letter.row, letter.program, cell(result, None));
    }
    ensure!(counts["failed"] == 0 && counts["dropped"] == 0, "{counts}");

    let forwards: Vec<_> = pages.iter().map(|page| page.subject.clone()).zip(forwards).collect();
    answers(&stage, &cast, &programs, &forwards, &mut tables)?;
    clear_letter(&stage, &programs, &mut tables)?;

    for program in &programs {
        eprintln!("{}: {}", program.name(), program.version(&stage.world)?);
    }
    tables.kinds.remark(THUNDERBIRD);
    tables.kinds.publish("kinds")?;
    tables.forms.publish("forms")?;
    let failures = [tables.kinds.failures(), tables.forms.failures()].concat();
    ensure!(failures.is_empty(), "{} cells:\n{}", failures.len(), failures.join("\n"));
    for (id, code) in &cast.codes {
        let verdicts = stage.verdicts(code)?;
        let odd: Vec<_> =
            verdicts.iter().filter(|v| !["verified filed", "unsigned filed"].contains(&v.as_str())).collect();
        ensure!(odd.is_empty(), "{id}: {:?}", census(&verdicts));
    }
    Ok(())
}

/// The therapist answers every client; at the slot the replies leave, and every program reads them.
fn answers(
    stage: &Stage,
    cast: &Cast,
    programs: &[Box<dyn Program>],
    forwards: &[(String, Vec<u8>)],
    tables: &mut Tables,
) -> Result<()> {
    let at = march(2, 9, 0);
    stage.set_time(at)?;
    for code in cast.codes.values() {
        let tag = format!("[{code}]");
        if let Some((_, raw)) = forwards.iter().rfind(|(subject, _)| subject.starts_with(&tag)) {
            stage.answer(raw, REPLY, ("marche.txt", SHEET), at)?;
        }
    }
    stage.practice.once(at)?;
    let before = stage.mails().len();
    let slot = march(2, 17, 0);
    stage.set_time(slot)?;
    let counts = stage.practice.once(slot)?;
    let replies: BTreeMap<String, Vec<u8>> =
        stage.mails().into_iter().skip(before).map(|mail| (mail.to.join(" "), mail.data)).collect();
    ensure!(counts["released"] == cast.codes.len(), "{counts}");

    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for program in programs {
            let (results, replies) = (&results, &replies);
            scope.spawn(move || {
                let own = format!("own-{}", program.name());
                for (id, row) in KINDS.iter().copied().chain([(own.as_str(), OWN)]) {
                    let key = &cast.keys[id];
                    let result = match replies.get(&key.address) {
                        Some(raw) => reads(stage, program.as_ref(), key, raw).context("reading"),
                        None => Err(anyhow!("no reply left")),
                    };
                    let done = (row.to_owned(), program.name(), cell(result, reason(program.name(), id)));
                    results.lock().expect("no panic").push(done);
                }
            });
        }
    });
    for (row, program, cell) in results.into_inner().map_err(|_| anyhow!("poisoned"))? {
        tables.kinds.note(&row, program, cell);
    }
    Ok(())
}

/// The neutral answer to a stranger is in clear and signed: every program finds the signature good.
fn clear_letter(stage: &Stage, programs: &[Box<dyn Program>], tables: &mut Tables) -> Result<()> {
    let mails = stage.mails();
    let answer =
        mails.iter().find(|mail| mail.to == ["inconnue@stranger.example"]).context("no answer to a stranger")?;
    let parts = children(&answer.data)?;
    let [covered, signature, ..] = parts[..] else { anyhow::bail!("the answer isn't signed") };
    let at = signature.windows(5).position(|five| five == b"-----").context("no armor")?;
    for program in programs {
        let good = program.verify(&stage.world, &stage.office, covered, &signature[at..]);
        let result = good.and_then(|good| good.then_some(()).ok_or_else(|| anyhow!("not found good")));
        tables.forms.note("reads: signed in clear", program.name(), cell(result, None));
        let altered = [covered, b" "].concat();
        let forged = program.verify(&stage.world, &stage.office, &altered, &signature[at..]).unwrap_or(false);
        ensure!(!forged, "{} finds altered words signed", program.name());
    }
    Ok(())
}
