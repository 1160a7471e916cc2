//! Finished files go to their place, and to the disk.

use super::Error;
use crate::store::uploader::PlannedFile;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

/// Moves finished files from `made`, where they have the names of their objects, to where the plan says that they are.
/// Once this returns they are there after a power loss, too: whoever writes the plan may count on them.
pub(super) async fn keep(made: &Path, files: &[PlannedFile]) -> Result<(), Error> {
    let moves: Vec<_> = files.iter().map(|file| (made.join(file.object.name()), file.path.clone())).collect();
    tokio::task::spawn_blocking(move || {
        let mut dirs = BTreeSet::new();
        for (from, to) in &moves {
            File::open(from).and_then(|file| file.sync_all()).map_err(Error::io("syncing", from))?;
            let dir = to.parent().unwrap_or_else(|| Path::new("."));
            if dirs.insert(dir) {
                fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
            }
            fs::rename(from, to).map_err(Error::io("moving", from))?;
        }
        // The deepest first, so that a directory whose name is there has its files.
        for dir in dirs.into_iter().rev() {
            File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("syncing", dir))?;
        }
        Ok(())
    })
    .await?
}
