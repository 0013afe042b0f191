//! A power cut, as honestly as a process can play it: `power.c` ends the program at a given call and has logged every
//! write with what it overwrote; here all that no sync had confirmed is taken back, wholly or sector by sector.
//!
//! What it proves: nothing that the program told anybody (a mail handed over, an original removed) rests on bytes
//! that were only in the page cache. What it doesn't play: disks that lie about a sync, a file system's own damage,
//! a lost directory entry.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rand::RngExt as _;
use rand::rngs::StdRng;

/// What a disk writes or doesn't, as one.
const SECTOR: u64 = 512;

/// Compiles the library once, into a folder of the test's own.
pub fn library(dir: &Path) -> Result<PathBuf> {
    let (source, made) = (dir.join("power.c"), dir.join("power.so"));
    std::fs::write(&source, include_str!("power.c"))?;
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&made).arg(&source).args(["-ldl", "-lpthread"]);
    let out = cc.output().context("cc can't be started: Rust itself needs it")?;
    ensure!(out.status.success(), "cc: {}", String::from_utf8_lossy(&out.stderr));
    Ok(made)
}

/// What becomes of writes that no sync had confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// They are all there: the program was killed, the machine went on.
    Nothing,
    /// None of them is there.
    Everything,
    /// Each sector is as it was at some moment since its last sync.
    Sectors,
}

enum Kind {
    Write,
    Truncate,
    Sync,
}

struct Record {
    kind: Kind,
    name: String,
    at: u64,
    /// What stood there before.
    old: Vec<u8>,
    length: u64,
    /// The file's size before.
    size: u64,
}

fn records(log: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut rest = log;
    while let Some((head, body)) = rest.split_at_checked(40) {
        let word = |at: usize| head[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let half = |at: usize| head[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let (name, old) = (half(4) as usize, usize::try_from(word(16)).unwrap_or(usize::MAX));
        // The program was ended in the midst of the last one: its write never began.
        let Some((own, after)) = name.checked_add(old).and_then(|length| body.split_at_checked(length)) else { break };
        let kind = match half(0) {
            1 => Kind::Write,
            2 => Kind::Truncate,
            _ => Kind::Sync,
        };
        let name_text = String::from_utf8_lossy(&own[..name]).into_owned();
        records.push(Record {
            kind,
            name: name_text,
            at: word(8),
            old: own[name..].to_vec(),
            length: word(24),
            size: word(32),
        });
        rest = after;
    }
    records
}

/// Brings the files of `dir` to what a disk might hold after the power went off, and forgets the log. How many writes
/// were not confirmed.
pub fn cut(dir: &Path, log: &Path, loss: Loss, random: &mut StdRng) -> Result<usize> {
    let bytes = std::fs::read(log).unwrap_or_default();
    let _ = std::fs::remove_file(log);
    let all = records(&bytes);
    let mut synced: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&Record> = Vec::new();
    for record in all.iter().rev() {
        match record.kind {
            Kind::Sync => drop(synced.insert(&record.name)),
            _ if synced.contains(record.name.as_str()) => {}
            _ => open.push(record),
        }
    }
    if loss != Loss::Nothing {
        let mut files: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in &open {
            files.entry(&record.name).or_default().push(record);
        }
        for (name, undone) in files {
            take_back(&dir.join(name), &undone, loss, random)?;
        }
        // Shared memory doesn't outlive the machine.
        for file in std::fs::read_dir(dir)?.flatten() {
            if file.file_name().to_string_lossy().ends_with("-shm") {
                std::fs::remove_file(file.path())?;
            }
        }
    }
    Ok(open.len())
}

/// Undoes writes, the newest first.
fn take_back(path: &Path, undone: &[&Record], loss: Loss, random: &mut StdRng) -> Result<()> {
    let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else { return Ok(()) };
    // Sectors that stay as they are from here on back.
    let mut kept: BTreeSet<u64> = BTreeSet::new();
    // A size that shrank is one thing, done or not.
    let keeps_size = loss == Loss::Sectors && random.random_bool(0.5);
    let now = file.metadata()?.len();
    let mut size = now;
    for record in undone {
        if loss == Loss::Sectors && matches!(record.kind, Kind::Write) {
            let last = (record.at + record.length.max(1) - 1) / SECTOR;
            kept.extend((record.at / SECTOR..=last).filter(|_| random.random_bool(0.5)));
        }
        if matches!(record.kind, Kind::Truncate) && keeps_size {
            break;
        }
        put_back(&file, record, &kept)?;
        size = record.size;
    }
    let end = kept.iter().map(|sector| (sector + 1) * SECTOR).max().unwrap_or(0).min(now);
    file.set_len(size.max(end))?;
    Ok(file.sync_all()?)
}

fn put_back(file: &File, record: &Record, kept: &BTreeSet<u64>) -> Result<()> {
    let (start, end) = (record.at, record.at + record.old.len() as u64);
    let mut at = start;
    while at < end {
        let next = ((at / SECTOR + 1) * SECTOR).min(end);
        if !kept.contains(&(at / SECTOR)) {
            let piece = usize::try_from(at - start)?..usize::try_from(next - start)?;
            file.write_all_at(&record.old[piece], at)?;
        }
        at = next;
    }
    Ok(())
}
