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
//! | `withdrawn` | consent was withdrawn, or an operator deleted it (it says which): all of it is to be deleted, here and in the bucket, whatever else is there |
//! | `done.json` | the recording is over and everything else is gone. Kept for [`REMEMBER`], so that an event that comes late does not start it again |
//!
//! Files appear by rename after fsync, so each is whole or absent.

use super::Published;
use super::restart::Links;
use crate::clock;
use crate::ids::{RecordingId, StreamId};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a recording that is over is remembered. Zoom repeats events for 85 min.
pub const REMEMBER: Duration = Duration::from_secs(24 * 3600);

const DONE: &str = "done.json";
const WITHDRAWN: &str = "withdrawn";
/// What it holds if that was asked for by whoever runs the recorder.
const OPERATOR: &[u8] = b"operator\n";
const LINKS: &str = "links.json";
const APP: &str = "app.json";

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

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Io { action, path, source }
}

/// The spool of this process.
#[derive(Debug)]
pub struct Spool {
    root: PathBuf,
    _lock: File,
}

/// What is kept of a recording that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The stream.
    pub stream_id: StreamId,
    /// The how-manieth recording of the stream it was; 0 if it was stopped before it was started.
    pub ordinal: u32,
    /// No start event up to this time (Zoom's, Unix ms) starts it again.
    pub until_ts: i64,
    /// Where it was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Published>,
    /// When this was written, in Unix ms.
    pub at_ms: i64,
}

/// Why a recording is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Consent was withdrawn.
    Consent,
    /// Whoever runs the recorder said so.
    Operator,
}

#[derive(Serialize, Deserialize)]
struct App {
    client_id: String,
}

/// What an earlier run left.
#[derive(Debug)]
pub enum Left {
    /// To be finished, joined again, or deleted if [`Folder::is_withdrawn`].
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
            File::open(above).and_then(|above| above.sync_all()).ok();
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
        Folder { dir: self.root.join(id.as_str()), id }
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
        let stat = rustix::fs::statvfs(&self.root).map_err(|err| failed("examining", &self.root)(err.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok((bytes(stat.f_bavail), bytes(stat.f_blocks)))
    }

    /// What earlier runs left. Folders that are no recordings are passed over, forgettable ones are removed.
    ///
    /// # Errors
    /// When the spool cannot be listed.
    pub fn left(&self) -> Result<Vec<Left>, Error> {
        self.forget()?;
        let mut left = Vec::new();
        for folder in self.folders()? {
            if let Some(done) = folder.read_json::<Done>(DONE) {
                // An earlier run may have been killed while it did this.
                if !folder.is_withdrawn()
                    && let Err(err) = folder.tidy()
                {
                    tracing::warn!(recording = %folder.id(), err = %err, "what is left of a published recording cannot be removed");
                }
                left.push(Left::Done(folder, done));
            } else if folder.is_unfinished() {
                left.push(Left::Unfinished(folder));
            } else if folder.dir.is_dir() && !folder.journal().exists() {
                // Nothing was promised to anybody yet.
                folder.remove()?;
            } else {
                tracing::error!(dir = %folder.dir.display(), "a spool folder has a journal but no start.json; it is left alone");
            }
        }
        Ok(left)
    }

    /// Removes what is over for longer than [`REMEMBER`].
    ///
    /// # Errors
    /// When the spool cannot be listed, or something cannot be removed.
    pub fn forget(&self) -> Result<(), Error> {
        let is_old = |done: Done| clock::unix_ms().saturating_sub(done.at_ms) > REMEMBER.as_millis() as i64;
        for folder in self.folders()? {
            if folder.read_json(DONE).is_some_and(is_old) && !folder.is_withdrawn() {
                folder.remove()?;
            }
        }
        Ok(())
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

/// The folder of one recording in the spool.
#[derive(Clone, Debug)]
pub struct Folder {
    id: RecordingId,
    dir: PathBuf,
}

impl Folder {
    /// The recording.
    pub fn id(&self) -> &RecordingId {
        &self.id
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the journal is.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// Where rendering works.
    pub fn render(&self) -> PathBuf {
        self.dir.join("render")
    }

    /// Where finished files wait to be published.
    pub fn out(&self) -> PathBuf {
        self.dir.join("out")
    }

    /// The newest start event's body.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn start_event(&self) -> Result<Vec<u8>, Error> {
        let path = self.dir.join("start.json");
        fs::read(&path).map_err(failed("reading", &path))
    }

    /// Keeps a start event's body, durably. A mark that the stream was stopped before it started goes.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn keep_start_event(&self, body: &[u8]) -> Result<(), Error> {
        fs::create_dir_all(&self.dir).map_err(failed("creating", &self.dir))?;
        self.write("start.json", body)?;
        remove_file(&self.dir.join(DONE))
    }

    /// The client id or SDK key of the app that got the start event; none if that is not known.
    pub fn app(&self) -> Option<String> {
        self.read_json::<App>(APP).map(|app| app.client_id)
    }

    /// Keeps that, durably. To be done before the start event is kept: without one, it counts for nothing.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn keep_app(&self, client_id: &str) -> Result<(), Error> {
        fs::create_dir_all(&self.dir).map_err(failed("creating", &self.dir))?;
        let app = App { client_id: client_id.to_owned() };
        self.write(APP, &serde_json::to_vec(&app).expect("plain values are JSON"))
    }

    /// What ties it to other recordings of its meeting.
    pub(super) fn links(&self) -> Links {
        self.read_json(LINKS).unwrap_or_default()
    }

    /// Keeps that, durably.
    pub(super) fn keep_links(&self, links: &Links) -> Result<(), Error> {
        self.write(LINKS, &serde_json::to_vec(links).expect("plain values are JSON"))
    }

    /// Notes durably that all of it is to be deleted: consent was withdrawn, or whatever `why` says.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn withdraw(&self, why: Deletion) -> Result<(), Error> {
        fs::create_dir_all(&self.dir).map_err(failed("creating", &self.dir))?;
        let mark: &[u8] = match why {
            Deletion::Consent => b"",
            Deletion::Operator => OPERATOR,
        };
        self.write(WITHDRAWN, mark)
    }

    /// Whether the recording is not over.
    pub fn is_unfinished(&self) -> bool {
        self.dir.join("start.json").exists()
    }

    /// Whether consent was withdrawn and not everything is deleted yet.
    pub fn is_withdrawn(&self) -> bool {
        self.dir.join(WITHDRAWN).exists()
    }

    /// Why it is to be deleted, if it is.
    pub fn deletion(&self) -> Deletion {
        match fs::read(self.dir.join(WITHDRAWN)) {
            Ok(mark) if mark == OPERATOR => Deletion::Operator,
            _ => Deletion::Consent,
        }
    }

    /// Deletes what was recorded, finished or not. The start event and the marks stay.
    ///
    /// # Errors
    /// When something cannot be removed; it can be called again.
    pub fn delete_media(&self) -> Result<(), Error> {
        [self.journal(), self.render(), self.out()].iter().try_for_each(|dir| remove_dir(dir))
    }

    /// Marks the recording as over, then removes everything else of it.
    ///
    /// # Errors
    /// When the mark cannot be made durable, or something cannot be removed; it can be called again.
    pub fn finish(&self, done: &Done) -> Result<(), Error> {
        fs::create_dir_all(&self.dir).map_err(failed("creating", &self.dir))?;
        let json = serde_json::to_vec(done).expect("plain values are JSON");
        self.write(DONE, &json)?;
        self.tidy()
    }

    /// Removes all but the mark.
    fn tidy(&self) -> Result<(), Error> {
        for entry in fs::read_dir(&self.dir).map_err(failed("listing", &self.dir))? {
            let path = entry.map_err(failed("listing", &self.dir))?.path();
            match path.file_name() {
                Some(name) if name == DONE => {}
                _ if path.is_dir() => remove_dir(&path)?,
                _ => remove_file(&path)?,
            }
        }
        Ok(())
    }

    fn remove(&self) -> Result<(), Error> {
        remove_dir(&self.dir)
    }

    fn read_json<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Option<T> {
        let bytes = fs::read(self.dir.join(name)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        write_durably(&self.dir.join(name), bytes).map_err(failed("writing", &self.dir.join(name)))
    }
}

/// Writes a file so that it is whole or absent, and there after a power loss.
pub fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
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
    File::open(dir)?.sync_all()?;
    match dir.parent() {
        Some(above) if !above.as_os_str().is_empty() => File::open(above)?.sync_all(),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(failed("removing", path)(err)),
        _ => Ok(()),
    }
}

fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(failed("removing", dir)(err)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        folder("revoked").withdraw(Deletion::Consent).unwrap();
        folder("running").keep_start_event(b"{}").unwrap();
        spool.forget().unwrap();
        let there = |name: &str| tmp.path().join(name).exists();
        assert_eq!(["recent", "old", "revoked", "running"].map(there), [true, false, true, true]);
    }

    #[test]
    fn finishing_removes_all_but_the_mark_though_it_is_interrupted() {
        let tmp = tempfile::tempdir().unwrap();
        let spool = Spool::open(tmp.path()).unwrap();
        let folder = spool.folder(RecordingId::from_folder("r").unwrap());
        folder.keep_start_event(b"{}").unwrap();
        fs::create_dir_all(folder.journal()).unwrap();
        fs::create_dir_all(folder.out()).unwrap();
        fs::write(folder.dir().join("uploaded.ndjson"), "").unwrap();
        let done = Done { stream_id: StreamId::new("s"), ordinal: 1, until_ts: 5, published: None, at_ms: 1 };
        folder.finish(&done).unwrap();
        let names: Vec<_> = fs::read_dir(folder.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["done.json"]);
        folder.finish(&done).unwrap();

        // Killed in between, the next start goes on with it; but where consent was withdrawn that is not all there is to do.
        let done = Done { at_ms: clock::unix_ms(), ..done };
        folder.finish(&done).unwrap();
        folder.keep_links(&Links::default()).unwrap();
        folder.withdraw(Deletion::Consent).unwrap();
        spool.left().unwrap();
        assert!(folder.is_withdrawn());
        fs::remove_file(folder.dir().join(WITHDRAWN)).unwrap();
        spool.left().unwrap();
        let names: Vec<_> = fs::read_dir(folder.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["done.json"]);
    }
}
