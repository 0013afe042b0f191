//! Makes keys and files; all of them, or none.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

use super::{
    ARCHIVE, ARCHIVE_SECRET, CONFIG, IMAP_PASSWORD, InitError, PRACTICE_CERTIFICATE, PRACTICE_KEY, Plan, RECORD_KEY,
    SMTP_PASSWORD, certificate_file,
};
use crate::pgp::{Certificate, NewKey, PracticeKey};

/// What stands on the disk now.
pub(super) struct Written {
    pub files: Vec<PathBuf>,
    pub practice_fingerprint: String,
    pub archive_fingerprint: Option<String>,
    pub archive_secret: Option<PathBuf>,
    /// It lies in the configuration's own folder.
    pub archive_secret_is_near: bool,
    pub warnings: Vec<String>,
}

/// What is removed again unless everything went well.
#[derive(Default)]
struct Undo {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    mode: Option<(PathBuf, u32)>,
    done: bool,
}

impl Drop for Undo {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        for file in self.files.iter().rev() {
            let _ = fs::remove_file(file);
        }
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
        if let Some((folder, mode)) = &self.mode {
            let _ = fs::set_permissions(folder, Permissions::from_mode(*mode));
        }
    }
}

/// Fails when one of the paths is there (a dangling link counts).
pub(super) fn must_be_new(paths: &[PathBuf]) -> Result<(), InitError> {
    match paths.iter().find(|path| fs::symlink_metadata(path).is_ok()) {
        Some(path) => Err(InitError::Exists { path: path.clone() }),
        None => Ok(()),
    }
}

fn failed(path: &Path, kind: ErrorKind) -> InitError {
    match kind {
        ErrorKind::AlreadyExists => InitError::Exists { path: path.to_owned() },
        kind => InitError::NotWritten { path: path.to_owned(), kind },
    }
}

impl Undo {
    /// The folder and its parents; 0700 for what is made, and for a folder that was empty.
    fn folder(&mut self, folder: &Path) -> Result<Option<String>, InitError> {
        let missing: Vec<&Path> =
            folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        for path in missing.iter().rev() {
            DirBuilder::new().mode(0o700).create(path).map_err(|error| failed(path, error.kind()))?;
            self.folders.push((*path).to_owned());
        }
        if !missing.is_empty() {
            return Ok(None);
        }
        let facts = fs::metadata(folder).map_err(|error| failed(folder, error.kind()))?;
        if !facts.is_dir() {
            return Err(InitError::Exists { path: folder.to_owned() });
        }
        let mode = facts.permissions().mode() & 0o7777;
        if mode & 0o077 == 0 {
            return Ok(None);
        }
        let empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        if empty {
            fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(|error| failed(folder, error.kind()))?;
            self.mode = Some((folder.to_owned(), mode));
            return Ok(None);
        }
        let shown = folder.display();
        Ok(Some(format!("the folder {shown} can be entered by others (mode {:03o}): chmod 700 {shown}", mode & 0o777)))
    }

    /// A file that was not there, readable by its owner alone.
    fn file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), InitError> {
        let fail = |error: std::io::Error| failed(path, error.kind());
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
        self.files.push(path.to_owned());
        file.write_all(bytes).map_err(fail)?;
        file.sync_all().map_err(fail)
    }
}

/// Makes the keys and writes everything, and takes it away again where `interrupted` says so at the end.
///
/// # Errors
/// [`InitError`]: nothing is left of what was begun.
pub(super) fn write(
    plan: &Plan,
    config: &str,
    now: DateTime<Utc>,
    interrupted: impl Fn() -> bool,
) -> Result<Written, InitError> {
    let folder = &plan.folder;
    let address = plan.answers.practice_address.as_deref().unwrap_or(super::EXAMPLE_ADDRESS);
    let key = PracticeKey::generate(address.trim(), None, now)?;
    let fingerprint = fingerprint_of(&key)?;
    let archive = match plan.archive {
        true => Some(PracticeKey::generate(
            &format!("archive of {}", &fingerprint[..16.min(fingerprint.len())]),
            None,
            now,
        )?),
        false => None,
    };
    let archive_fingerprint = archive.as_ref().map(fingerprint_of).transpose()?;
    let secret_path = match &archive_fingerprint {
        Some(fingerprint) => Some(secret_path(plan, fingerprint)?),
        None => None,
    };
    let record = Zeroizing::new(rand::random::<[u8; 32]>());
    let mut files: Vec<(PathBuf, Zeroizing<Vec<u8>>)> = Vec::new();
    let mut add = |name: &str, bytes: &[u8]| files.push((folder.join(name), Zeroizing::new(bytes.to_vec())));
    add(PRACTICE_KEY, &key.secret);
    add(PRACTICE_CERTIFICATE, &key.certificate);
    add(RECORD_KEY, record.as_slice());
    if let Some(archive) = &archive {
        add(ARCHIVE, &archive.certificate);
    }
    if !plan.tokens {
        add(IMAP_PASSWORD, plan.imap_password.as_ref().map_or(&[], |bytes| bytes.as_slice()));
    }
    if plan.smtp_logs_in && !plan.tokens {
        add(SMTP_PASSWORD, plan.smtp_password.as_ref().map_or(&[], |bytes| bytes.as_slice()));
    }
    if let Some(certificate) = &plan.certificate {
        add(&certificate_file(&plan.therapist_id), certificate.to_armored().as_bytes());
    }
    add(CONFIG, config.as_bytes());
    if let (Some(path), Some(archive)) = (&secret_path, &archive) {
        files.insert(0, (path.clone(), archive_secret(archive, &key)));
    }
    let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
    must_be_new(&paths)?;
    let mut undo = Undo::default();
    let warnings: Vec<String> = undo.folder(folder)?.into_iter().collect();
    for (path, bytes) in &files {
        undo.file(path, bytes)?;
    }
    if interrupted() {
        return Err(InitError::Interrupted);
    }
    undo.done = true;
    let near = secret_path.as_deref().is_some_and(|path| lies_in(path, folder));
    Ok(Written {
        files: paths,
        practice_fingerprint: fingerprint,
        archive_fingerprint,
        archive_secret: secret_path,
        archive_secret_is_near: near,
        warnings,
    })
}

fn fingerprint_of(key: &NewKey) -> Result<String, InitError> {
    let certificate = Certificate::from_bytes(&key.certificate).map_err(|_| crate::pgp::KeyError::NotMade)?;
    Ok(certificate.fingerprint())
}

/// Where the archive's secret goes.
fn secret_path(plan: &Plan, fingerprint: &str) -> Result<PathBuf, InitError> {
    let Some(path) = &plan.archive_secret else { return Ok(plan.folder.join(ARCHIVE_SECRET)) };
    if path.is_dir() {
        return Ok(path.join(format!("cadre-archive-{}.asc", &fingerprint[..16.min(fingerprint.len())])));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() && !same_place(parent, &plan.folder) {
        return Err(InitError::NoFolder { path: parent.to_owned() });
    }
    Ok(path.clone())
}

fn same_place(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or(path.to_owned());
    whole(one) == whole(other)
}

fn lies_in(path: &Path, folder: &Path) -> bool {
    path.parent().is_some_and(|parent| {
        let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or(path.to_owned());
        whole(parent).starts_with(whole(folder))
    })
}

/// One file for the therapist: the archive's secret key, and the practice key's revocation. The latter
/// is made unreadable by a colon, as GnuPG does, since importing the file must not revoke the key.
fn archive_secret(archive: &NewKey, practice: &NewKey) -> Zeroizing<Vec<u8>> {
    let revocation = String::from_utf8_lossy(&practice.revocation).replace("-----BEGIN", ":-----BEGIN");
    let mut out = Zeroizing::new(Vec::with_capacity(archive.secret.len() + revocation.len() + 1024));
    out.extend_from_slice(
        b"The archive's secret key: with it, everything that Cadre has filed can be read, also when a\r\n\
          therapist's own key is lost. Keep it away from the machine that runs Cadre, on a USB stick or\r\n\
          on paper. It is kept nowhere else.\r\n\r\n",
    );
    out.extend_from_slice(&archive.secret);
    out.extend_from_slice(
        b"\r\nBelow is the revocation of the practice's key, for the day on which that key is stolen or lost.\r\n\
          To use it, remove the colon before the five dashes, import it, and publish the key.\r\n\r\n",
    );
    out.extend_from_slice(revocation.as_bytes());
    out
}
