//! Writes the seeds of every target below the folder given: the project's own samples and, where `$CADRE_CORPUS`
//! names them, the mails of the corpora.

use std::fs;
use std::path::{Path, PathBuf};

use cadre_fuzz::seeds;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "corpus".into()));
    let bytes = |texts: Vec<String>| texts.into_iter().map(String::into_bytes).collect::<Vec<_>>();
    let mut intake = seeds::mails();
    for entity in seeds::signed_entities() {
        intake.push([&[1], entity.as_bytes()].concat());
        intake.push([&[3], entity.as_bytes()].concat());
        let marie = cadre_fuzz::forge::secret("marie");
        intake.push([vec![2], cadre_fuzz::forge::signed(&[&marie], entity.as_bytes())].concat());
    }
    let mut dsn = bytes(seeds::notices());
    if let Some(corpus) = std::env::var_os("CADRE_CORPUS").map(PathBuf::from).filter(|path| path.is_dir()) {
        for mail in mails_below(&corpus)? {
            intake.push([&[0], mail.as_slice()].concat());
            intake.push([&[1], mail.as_slice()].concat());
            dsn.push(mail);
        }
    }
    for (target, seeds) in [
        ("intake", intake),
        ("commands", bytes(seeds::orders())),
        ("dsn", dsn),
        ("address", bytes(seeds::froms())),
        ("lexicon", seeds::lexicons()),
        ("attachments", seeds::attachments()),
    ] {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        for (n, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{n:04}")), seed)?;
        }
        println!("{}: {} seeds", folder.display(), seeds.len());
    }
    Ok(())
}

/// Mails of at most 100 KiB, in the order of their names.
fn mails_below(folder: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let mut mails = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            mails.extend(mails_below(&path)?);
        } else if path.extension().is_some_and(|ext| ext == "eml" || ext == "msg" || ext == "txt")
            && fs::metadata(&path)?.len() <= 100 << 10
        {
            mails.push(fs::read(path)?);
        }
    }
    Ok(mails)
}
