//! A file into a local directory on the file's own file system: linked there, not copied. An hour of a meeting is there at
//! once, and takes its room once.

use super::Store;
use super::put::blocking;
use crate::disk::sync_dir;
use object_store::path::Path;
use std::fs::{self, File};
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A link that is not an object yet. Dropped, it goes.
pub(super) struct Staged {
    link: PathBuf,
    object: PathBuf,
    directory: PathBuf,
}

impl Store {
    /// Links `file` beside the object that it is to become; `None` if it has to be copied.
    pub(super) async fn stage(&self, object: &Path, file: &FilePath) -> Option<Staged> {
        static STAGED: AtomicU64 = AtomicU64::new(0);
        let directory = self.0.directory.clone()?;
        let object = directory.join(object.as_ref());
        let mut link = object.clone().into_os_string();
        // Named as `object_store` names what is not whole: no listing shows it, and `Store::sweep` removes it.
        link.push(format!("#{}{}", std::process::id(), STAGED.fetch_add(1, Ordering::Relaxed)));
        let staged = Staged { link: link.into(), object, directory };
        let file = file.to_owned();
        let linked = blocking(move || {
            let parent = staged.object.parent().unwrap_or(&staged.directory);
            // Whatever is in the way: the copy will meet it too, and say so.
            let linked = fs::create_dir_all(parent).and_then(|()| fs::hard_link(&file, &staged.link));
            Ok(linked.is_ok().then_some(staged))
        });
        linked.await.unwrap_or(None)
    }
}

impl Staged {
    /// Makes it the object, durably.
    pub(super) async fn publish(self) -> io::Result<()> {
        let publish = move || {
            File::open(&self.link)?.sync_all()?;
            fs::rename(&self.link, &self.object)?;
            // The folders may be new.
            for folder in self.object.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.directory)) {
                sync_dir(folder)?;
            }
            Ok(())
        };
        tokio::task::spawn_blocking(publish).await?
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        match fs::remove_file(&self.link) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(err = %err, link = %self.link.display(), "a file that is not wanted any more cannot be removed");
            }
            // It has become the object, or is gone.
            _ => {}
        }
    }
}
