//! Finished files go to their place, and to the disk.

use super::Error;
use crate::disk::sync_dir;
use crate::store::uploader::PlannedFile;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

/// Moves finished files into `out`, under the names of their objects; returns them with their new paths. They are there after a
/// power loss, too: whoever writes a plan of them may count on it.
pub(super) async fn keep(mut files: Vec<PlannedFile>, out: &Path) -> Result<Vec<PlannedFile>, Error> {
    let out = out.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut dirs = BTreeSet::from([out.clone()]);
        for file in &mut files {
            let to = out.join(file.object.name());
            File::open(&file.path).and_then(|file| file.sync_all()).map_err(Error::io("syncing", &file.path))?;
            if let Some(dir) = to.parent()
                && dirs.insert(dir.to_owned())
            {
                fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
            }
            fs::rename(&file.path, &to).map_err(Error::io("moving", &file.path))?;
            file.path = to;
        }
        // The deepest first, so that a directory whose name is there has its files.
        for dir in dirs.into_iter().rev() {
            sync_dir(&dir).map_err(Error::io("syncing", &dir))?;
        }
        Ok(files)
    })
    .await?
}
