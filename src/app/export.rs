//! `client export`: what is kept of one client, still sealed, for the therapist, who opens it and hands it over.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::AppError;
use super::context::Context;
use super::write::stored_mail;
use crate::mime;
use crate::model::{Direction, Kind, Language, MessageRow, MessageState};
use crate::store::{Client, Message, StoreError, Tx, beside};

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{path} is there already and is not overwritten: name a new folder")]
    Exists { path: PathBuf },
    #[error("{path} can't be written: its folder must exist and be yours")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("what is kept of this client can't be read; `cadre verify` names what was changed")]
    App(#[from] AppError),
    #[error("therapist {therapist} is not in the configuration, nor the client's present one")]
    NoTherapist { therapist: String },
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::App(error.into())
    }
}

/// What the files are called, and what is said in them.
struct Words {
    letters: &'static str,
    notes: &'static str,
    record: &'static str,
    card: &'static str,
    readme: &'static str,
    text: &'static str,
    day: &'static str,
}

const fn words(language: Language) -> Words {
    match language {
        Language::Fr => Words {
            letters: "lettres.mbox",
            notes: "notes.mbox",
            record: "dossier.json",
            card: "fiche.asc",
            readme: "LISEZ-MOI.txt",
            text: include_str!("../../config/export/fr.txt"),
            day: "%d/%m/%Y",
        },
        Language::En => Words {
            letters: "letters.mbox",
            notes: "notes.mbox",
            record: "record.json",
            card: "card.asc",
            readme: "README.txt",
            text: include_str!("../../config/export/en.txt"),
            day: "%Y-%m-%d",
        },
    }
}

/// Whether a message belongs to what was written between the two: proven or not, but never held, and not the
/// therapist's own notes.
fn is_theirs(message: &Message) -> bool {
    match message.direction {
        Direction::In => {
            matches!(message.kind, Kind::Letter | Kind::Automatic)
                && matches!(message.state, MessageState::Filed | MessageState::Released)
        }
        Direction::Out => message.state == MessageState::Sent,
    }
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> ExportError + '_ {
    |source| ExportError::File { path: path.to_owned(), source }
}

/// Writes the folder `to` (0700, files 0600), whole or not at all, and a line into the journal. `record` is what is told
/// of the client besides; with `notes` the therapist's own are in a file apart; `progress` hears how many of how many letters are done. How many are in it.
///
/// # Errors
/// [`ExportError`]: there is no such folder afterwards.
pub async fn export(
    ctx: &Context,
    client: &Client,
    record: &serde_json::Value,
    to: &Path,
    notes: bool,
    progress: impl Fn(u64, u64),
) -> Result<usize, ExportError> {
    if to.symlink_metadata().is_ok() {
        return Err(ExportError::Exists { path: to.to_owned() });
    }
    let to = std::path::absolute(to).map_err(io(to))?;
    let new = beside(&to, ".unfinished");
    // Of an earlier attempt that was cut off.
    let _ = fs::remove_dir_all(&new);
    let written = async {
        DirBuilder::new().mode(0o700).create(&new).map_err(io(&new))?;
        let letters = fill(ctx, client, record, &new, notes, progress).await?;
        let now = ctx.clock.now();
        let mut tx = ctx.store.begin().await?;
        tx.journal(now, "exported", Some(&client.code), json!({ "letters": letters })).await?;
        tx.commit().await?;
        File::open(&new).and_then(|folder| folder.sync_all()).map_err(io(&new))?;
        fs::rename(&new, &to).map_err(io(&to))?;
        Ok(letters)
    };
    let written = written.await;
    if written.is_err() {
        let _ = fs::remove_dir_all(&new);
    }
    written
}

async fn fill(
    ctx: &Context,
    client: &Client,
    record: &serde_json::Value,
    folder: &Path,
    notes: bool,
    progress: impl Fn(u64, u64),
) -> Result<usize, ExportError> {
    let words = words(client.language);
    let mut tx = ctx.store.read().await?;
    let letters = mbox(ctx, &mut tx, client, &folder.join(words.letters), is_theirs, progress).await?;
    if notes {
        let is_note = |message: &Message| message.kind == Kind::Note;
        mbox(ctx, &mut tx, client, &folder.join(words.notes), is_note, |_, _| {}).await?;
    }
    if let Some((card, _)) = tx.card(client.id).await? {
        put(&folder.join(words.card), &card)?;
    }
    drop(tx);
    let text = format!("{record:#}\n");
    put(&folder.join(words.record), text.as_bytes())?;
    let zone = ctx.reader_for(client).zone;
    let readme = words
        .text
        .replace("{code}", client.code.as_str())
        .replace("{practice}", &ctx.config.practice.name)
        .replace("{date}", &ctx.clock.now().with_timezone(&zone).format(words.day).to_string())
        .replace("{letters}", &letters.to_string());
    put(&folder.join(words.readme), readme.as_bytes())?;
    Ok(letters)
}

/// The letters, the oldest first, each as it was forwarded or copied to the client's folder.
async fn mbox(
    ctx: &Context,
    tx: &mut Tx,
    client: &Client,
    path: &Path,
    wanted: impl Fn(&Message) -> bool,
    progress: impl Fn(u64, u64),
) -> Result<usize, ExportError> {
    let mut file = BufWriter::new(create(path)?);
    let mut letters = 0;
    let thread = tx.thread(client.id).await?;
    for (done, message) in thread.iter().enumerate().filter(|(_, message)| wanted(message)) {
        progress(done as u64, thread.len() as u64);
        let Some(sealed) = tx.blob(MessageRow(message.id.0)).await? else { continue };
        let wanted = message.therapist.as_ref().unwrap_or(&client.therapist);
        let therapist = ctx.therapist(wanted).or_else(|| ctx.therapist(&client.therapist));
        let Some(therapist) = therapist else {
            return Err(ExportError::NoTherapist { therapist: wanted.to_string() });
        };
        let mail = stored_mail(ctx, &therapist, Some(client), message);
        write_mail(&mut file, message, &mime::encrypted(&mail, &sealed)).map_err(io(path))?;
        letters += 1;
    }
    let file = file.into_inner().map_err(|error| io(path)(error.into_error()))?;
    file.sync_all().map_err(io(path))?;
    Ok(letters)
}

/// One mail in the mboxrd form: a `From ` line, lines ending in LF, and `>` before
/// what would be taken for another.
fn write_mail(file: &mut impl std::io::Write, message: &Message, mail: &[u8]) -> std::io::Result<()> {
    writeln!(file, "From MAILER-DAEMON {}", message.at.format("%a %b %e %H:%M:%S %Y"))?;
    for line in mail.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let quoted = line.iter().position(|octet| *octet != b'>').unwrap_or(line.len());
        if line[quoted..].starts_with(b"From ") {
            file.write_all(b">")?;
        }
        file.write_all(line)?;
        file.write_all(b"\n")?;
    }
    file.write_all(b"\n")
}

fn create(path: &Path) -> Result<File, ExportError> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io(path))
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let mut file = create(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io(path))
}
