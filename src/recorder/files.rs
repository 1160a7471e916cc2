//! Files of the spool: written whole and durably, read, removed; errors say which one it was.

use crate::disk::sync_dir;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it.
    #[error("the spool {path} is in use by process {owner}; stop that one, or give this one a SPOOL_DIR of its own")]
    InUse {
        /// The spool.
        path: String,
        /// What the lock file says about its owner.
        owner: String,
    },
    /// A file operation failed.
    #[error("{action} {path} failed; SPOOL_DIR must be a directory that this user can write to")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: String,
        #[source]
        #[allow(missing_docs, reason = "the source says it")]
        source: io::Error,
    },
}

pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Io { action, path, source }
}

/// What a file holds; none if it is absent, or holds something else.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a file so that it is whole or absent, and there after a power loss; its folder is made if it is missing.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(failed("creating", dir))?;
    }
    write_durably(path, bytes).map_err(failed("writing", path))
}

/// Writes a file so that it is whole or absent, and there after a power loss.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    // Two tasks may write the same file.
    let staged = path.with_extension(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
    let written = File::create(&staged)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&staged, path));
    if written.is_err() {
        // A disk that is full is not to fill with what was tried.
        fs::remove_file(&staged).ok();
    }
    written?;
    sync_dir(dir)?;
    match dir.parent() {
        Some(above) if !above.as_os_str().is_empty() => sync_dir(above),
        _ => Ok(()),
    }
}

pub(super) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(failed("removing", path)(err)),
        _ => Ok(()),
    }
}

pub(super) fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(failed("removing", dir)(err)),
        _ => Ok(()),
    }
}

/// Removes all of a folder but the files of these names.
pub(super) fn clear(dir: &Path, keep: &[&str]) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(failed("listing", dir))? {
        let path = entry.map_err(failed("listing", dir))?.path();
        match path.file_name().and_then(OsStr::to_str) {
            Some(name) if keep.contains(&name) => {}
            _ if path.is_dir() => remove_dir(&path)?,
            _ => remove_file(&path)?,
        }
    }
    Ok(())
}
