//! The spool: one folder a recording, and the lock that makes it ours.
//!
//! | in `SPOOL_DIR/<recording id>/` | what it is |
//! |---|---|
//! | `start.json` | the newest start event, as Zoom sent it. Written before the first one is answered |
//! | `app.json` | the client id (or SDK key) of the app that got it, whose secret signs the handshakes; no secret |
//! | `journal/` | what was received |
//! | `render/` | work in progress; made again from the journal at any time |
//! | `out/` | finished files with `plan.json`, once they are complete; what remains to be done is to publish them |
//! | `uploaded.ndjson` | what is in the bucket already |
//! | `links.json` | which recordings of the same meeting come before and after it, and what came of starting its stream again |
//! | `withdrawn` | consent was withdrawn (by an event, or by `signaling`), or an `operator` deleted it: all of it is to be deleted, here and in the bucket, whatever else is there |
//! | `done.json` | the recording is over and everything else is gone; beside `withdrawn`: where it is in the bucket, until it is deleted there. Kept until all of the stream is over for [`REMEMBER`], so that an event that comes late does not start it again, and consent that is withdrawn late finds it |
//!
//! Files appear by rename after fsync, so each is whole or absent.

pub use super::files::Error;
use super::files::failed;
use super::folder::{Done, Folder};
use crate::disk::{self, sync_dir};
use crate::errors::with_sources;
use crate::ids::{RecordingId, StreamId};
use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a stream that is over is remembered. Zoom repeats events for 85 min.
pub const REMEMBER: Duration = Duration::from_secs(24 * 3600);

/// The spool of this process.
#[derive(Debug)]
pub struct Spool {
    root: PathBuf,
    _lock: File,
}

/// What an earlier run left.
#[derive(Debug)]
pub enum Left {
    /// To be finished, joined again, or deleted if it was withdrawn.
    Unfinished(Folder),
    /// Over.
    Done(Folder, Done),
}

impl Spool {
    /// Makes `root` with mode 0700 if it is missing, and locks it for this process.
    ///
    /// # Errors
    /// When another process has it, or it cannot be written to.
    pub fn open(root: &Path) -> Result<Self, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed("creating", root))?;
        if let Some(above) = root.parent().filter(|above| !above.as_os_str().is_empty()) {
            // It may not be ours to read; then neither was it ours to make the spool in.
            sync_dir(above).ok();
        }
        let path = root.join(".lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("opening", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                lock.read_to_string(&mut owner).map_err(failed("reading", &path))?;
                return Err(Error::InUse { path: root.display().to_string(), owner: owner.trim().to_owned() });
            }
            Err(TryLockError::Error(err)) => return Err(failed("locking", &path)(err)),
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(failed("writing", &path))?;
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a recording, which need not exist.
    pub fn folder(&self, id: RecordingId) -> Folder {
        Folder::new(&self.root, id)
    }

    /// Free bytes for this user on the spool's file system.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn free_bytes(&self) -> Result<u64, Error> {
        self.room().map(|(free, _)| free)
    }

    /// Free bytes for this user on the spool's file system, and how large that is.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn room(&self) -> Result<(u64, u64), Error> {
        let room = disk::room(&self.root).map_err(failed("examining", &self.root))?;
        Ok((room.free_bytes, room.size_bytes))
    }

    /// Whether a folder could be made in it now. Writes nothing.
    ///
    /// # Errors
    /// When it could not: it is read-only, gone, or somebody else's.
    pub fn takes(&self) -> Result<(), Error> {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::access(&self.root, access).map_err(|err| failed("writing to", &self.root)(err.into()))
    }

    /// What earlier runs left. Folders that are no recordings are passed over, forgettable ones are removed.
    ///
    /// # Errors
    /// When the spool cannot be listed.
    pub fn left(&self) -> Result<Vec<Left>, Error> {
        for (_, folders) in self.forgettable()? {
            folders.iter().try_for_each(Folder::remove)?;
        }
        let mut left = Vec::new();
        for folder in self.folders()? {
            let done = match folder.done() {
                Ok(done) => done,
                // It is finished again.
                Err(_) if folder.is_unfinished() => None,
                Err(err) => {
                    tracing::error!(recording = %folder.id(), err = with_sources(&err), "what is kept of a recording that is over cannot be read; its folder is left alone");
                    continue;
                }
            };
            if let Some(done) = done {
                // An earlier run may have been killed while it did this.
                if !folder.is_withdrawn()
                    && let Err(err) = folder.tidy()
                {
                    tracing::warn!(recording = %folder.id(), err = %err, "what is left of a published recording cannot be removed");
                }
                left.push(Left::Done(folder, done));
            } else if folder.is_unfinished() {
                left.push(Left::Unfinished(folder));
            } else if folder.dir().is_dir() && !folder.journal().exists() {
                // Nothing was promised to anybody yet.
                folder.remove()?;
            } else {
                tracing::error!(dir = %folder.dir().display(), "a spool folder has a journal but no start.json; it is left alone");
            }
        }
        Ok(left)
    }

    /// The streams all of whose recordings are over for longer than [`REMEMBER`], with the folders of these. As long as one may
    /// go on, all that was recorded of it may have to be deleted.
    ///
    /// # Errors
    /// When the spool cannot be listed.
    pub fn forgettable(&self) -> Result<Vec<(StreamId, Vec<Folder>)>, Error> {
        let mut streams: HashMap<RecordingId, Vec<Folder>> = HashMap::new();
        for folder in self.folders()? {
            streams.entry(folder.id().first()).or_default().push(folder);
        }
        let of = |folders: Vec<Folder>| {
            Some((folders.iter().map(Folder::long_over).collect::<Option<Vec<_>>>()?.pop()?, folders))
        };
        Ok(streams.into_values().filter_map(of).collect())
    }

    fn folders(&self) -> Result<Vec<Folder>, Error> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(failed("listing", &self.root))? {
            let entry = entry.map_err(failed("listing", &self.root))?;
            folders.extend(entry.file_name().to_str().and_then(RecordingId::from_folder).map(|id| self.folder(id)));
        }
        Ok(folders)
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::Deletion;
    use super::*;
    use crate::clock;
    use crate::output::StopSource;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_spool_belongs_to_one_process_and_one_user() {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().join("spool");
        let spool = Spool::open(&root).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
        let refused = Spool::open(&root).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(spool);
        Spool::open(&root).unwrap();
    }

    #[test]
    fn what_is_left_is_found_by_its_files() {
        let tmp = tempfile::tempdir().unwrap();
        let spool = Spool::open(tmp.path()).unwrap();
        let folder = |name: &str| spool.folder(RecordingId::from_folder(name).unwrap());
        let done = |at_ms| Done { stream_id: StreamId::new("s"), ordinal: 1, until_ts: 5, published: None, at_ms };

        folder("running").keep_start_event(b"{}").unwrap();
        folder("over").finish(&done(clock::unix_ms())).unwrap();
        folder("forgotten").finish(&done(0)).unwrap();
        fs::create_dir(tmp.path().join("nothing")).unwrap();
        fs::create_dir_all(tmp.path().join("lost+found")).unwrap();

        let mut left: Vec<String> = spool
            .left()
            .unwrap()
            .iter()
            .map(|left| match left {
                Left::Unfinished(folder) => format!("unfinished {}", folder.id()),
                Left::Done(folder, done) => format!("done {} {}", folder.id(), done.until_ts),
            })
            .collect();
        left.sort();
        assert_eq!(left, ["done over 5", "unfinished running"]);
        assert!(!tmp.path().join("forgotten").exists() && !tmp.path().join("nothing").exists());
        assert!(tmp.path().join("lost+found").exists());
    }

    #[test]
    fn what_is_over_for_long_is_forgotten_unless_it_is_to_be_deleted() {
        let tmp = tempfile::tempdir().unwrap();
        let spool = Spool::open(tmp.path()).unwrap();
        let folder = |name: &str| spool.folder(RecordingId::from_folder(name).unwrap());
        let done = |at_ms| Done { stream_id: StreamId::new("s"), ordinal: 1, until_ts: 5, published: None, at_ms };
        folder("recent").finish(&done(clock::unix_ms())).unwrap();
        folder("old").finish(&done(0)).unwrap();
        folder("revoked").finish(&done(0)).unwrap();
        folder("revoked").withdraw(Deletion::Consent(StopSource::Event)).unwrap();
        folder("running").finish(&done(0)).unwrap();
        folder("running.2").keep_start_event(b"{}").unwrap();
        folder("over").finish(&done(0)).unwrap();
        folder("over.2").finish(&done(0)).unwrap();
        spool.left().unwrap();
        let there = |names: &[&str]| names.iter().all(|name| tmp.path().join(name).exists());
        assert!(there(&["recent", "revoked", "running", "running.2"]));
        assert!(!there(&["old"]) && !there(&["over"]) && !there(&["over.2"]));
    }
}
