//! The files of a journal as the disk knows them.

use super::Error;
use super::read::{self, Chunk};
pub(super) use crate::disk::sync_dir;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// Cuts torn tails off and closes what an earlier run left open. Returns the number of the last chunk.
pub(super) fn close_leftovers(dir: &Path) -> Result<u32, Error> {
    let chunks = read::chunks(dir)?;
    for chunk in chunks.iter().filter(|chunk| chunk.open) {
        let bytes = chunk.read()?;
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let file = OpenOptions::new().write(true).open(&chunk.path).map_err(Error::new("opening", &chunk.path))?;
        file.set_len(whole as u64)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&chunk.path, Chunk::path(dir, chunk.number, false)))
            .map_err(Error::new("closing", &chunk.path))?;
    }
    Ok(chunks.last().map_or(0, |chunk| chunk.number))
}

pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).open(path)
}
