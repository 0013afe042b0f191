//! Files that are replaced whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::{FAILED, Failed};

fn failed(path: &Path, error: &std::io::Error) -> Failed {
    eprintln!("cadre: {} can't be written ({}): its folder must exist and be yours", path.display(), error.kind());
    FAILED
}

/// A file of this mode: whoever reads it meanwhile has the old one or the new one. It belongs to whom the old one
/// belonged.
///
/// # Errors
/// [`FAILED`], after saying why; the old file is as it was.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failed> {
    try_write(path, bytes, mode).map_err(|error| failed(path, &error))
}

fn try_write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let new = beside(path);
    // Of an earlier attempt that was cut off.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    let written = file.write_all(bytes).and_then(|()| {
        if let Ok(old) = fs::metadata(path) {
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.sync_all()?;
        fs::rename(&new, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    path.with_file_name(format!(".{name}.new"))
}

/// A folder with its parents, open to readers: it is to be published.
///
/// # Errors
/// [`FAILED`], after saying why.
pub(super) fn folder(path: &Path) -> Result<(), Failed> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|error| failed(path, &error))
}
