//! Cloud recordings in the spool: `SPOOL_DIR/.cloud/<import>/`, one folder for each event that told of files that were not known.
//!
//! | in it | what it is |
//! |---|---|
//! | `intent.json` | the event as it came last, and which of its files are imported here. Written before the event is answered |
//! | `out/` | the files; one that is not complete ends in `.part` |
//! | `uploaded.ndjson` | what is in the bucket already |
//! | `done.json` | which files were imported; all else is gone. Kept for [`REMEMBER`] |

use super::super::files::{Error, clear, failed, read_json, remove_dir, remove_file, write};
use crate::clock;
use crate::disk::sync_dir;
use crate::ids::StreamId;
use crate::protocol::cloud::CloudRecording;
use crate::protocol::event::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// How long it is remembered what was imported; the bucket remembers it for longer.
const REMEMBER: Duration = Duration::from_secs(30 * 24 * 3600);

const INTENT: &str = "intent.json";
const DONE: &str = "done.json";

/// What is to be imported.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Intent {
    /// When Zoom told of it first, in Unix ms.
    pub(super) received_ms: i64,
    /// When Zoom told of it last.
    pub(super) told_ms: i64,
    /// The ids of the files.
    pub(super) files: Vec<String>,
    /// The how-manieth folder of the meeting it goes to; none while that is not settled.
    #[serde(default)]
    pub(super) ordinal: Option<u32>,
    /// The event.
    pub(super) event: Box<RawValue>,
    /// The same, read: once, since every file asks for it and there may be thousands.
    #[serde(skip)]
    read: OnceLock<Option<Box<CloudRecording>>>,
}

impl Intent {
    pub(super) fn new(
        received_ms: i64,
        told_ms: i64,
        files: Vec<String>,
        ordinal: Option<u32>,
        event: Box<RawValue>,
    ) -> Self {
        Self { received_ms, told_ms, files, ordinal, event, read: OnceLock::new() }
    }

    /// What the event says.
    pub(super) fn recording(&self) -> Option<&CloudRecording> {
        let read = || match Event::parse(self.event.get().as_bytes(), self.told_ms) {
            Ok(Event::Cloud(recording)) => Some(recording),
            _ => None,
        };
        self.read.get_or_init(read).as_deref()
    }
}

/// What was imported.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) stream_id: StreamId,
    pub(super) ordinal: u32,
    pub(super) files: Vec<String>,
    pub(super) at_ms: i64,
}

/// The folder of one import.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Folder(PathBuf);

/// All of them.
#[derive(Debug)]
pub(super) struct Imports(PathBuf);

/// What an earlier run left of an import.
pub(super) enum Left {
    Unfinished(Folder, Intent),
    Done(Done),
}

/// What stands for the stream: the same for all events of a meeting instance.
pub(super) fn stream_id(recording: &CloudRecording) -> StreamId {
    StreamId::new(hex::encode(&Sha256::digest(recording.uuid.as_str().as_bytes())[..16]))
}

impl Imports {
    pub(super) fn new(spool: &Path) -> Self {
        Self(spool.join(".cloud"))
    }

    /// The folder for these files: the same ones have the same.
    pub(super) fn folder(&self, stream_id: &StreamId, files: &[String]) -> Folder {
        let mut files: Vec<&str> = files.iter().map(String::as_str).collect();
        files.sort_unstable();
        let hash = hex::encode(&Sha256::digest(files.join("\n").as_bytes())[..4]);
        Folder(self.0.join(format!("{stream_id}-{hash}")))
    }

    fn folders(&self) -> Result<Vec<Folder>, Error> {
        let entries = match fs::read_dir(&self.0) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed("listing", &self.0))?,
        };
        entries.map(|entry| Ok(Folder(entry.map_err(failed("listing", &self.0))?.path()))).collect()
    }

    /// Removes what was imported longer than [`REMEMBER`] ago.
    pub(super) fn forget(&self) -> Result<(), Error> {
        let is_old = |done: Done| clock::unix_ms().saturating_sub(done.at_ms) > REMEMBER.as_millis() as i64;
        let mut old = self.folders()?;
        old.retain(|folder| !folder.0.join(INTENT).exists() && folder.read(DONE).is_some_and(is_old));
        old.iter().try_for_each(Folder::remove)
    }

    /// What earlier runs left. What is remembered for long enough is removed, and what no event was answered for. Not while events
    /// are taken.
    pub(super) fn left(&self) -> Result<Vec<Left>, Error> {
        self.forget()?;
        let mut left = Vec::new();
        for folder in self.folders()? {
            match (folder.read::<Intent>(INTENT), folder.read::<Done>(DONE)) {
                (Some(intent), _) => left.push(Left::Unfinished(folder, intent)),
                (None, Some(done)) => {
                    folder.clear()?;
                    left.push(Left::Done(done));
                }
                (None, None) if folder.0.join(INTENT).exists() => {
                    tracing::error!(dir = %folder.0.display(), "the intent of an import cannot be read; it is left alone");
                }
                (None, None) => folder.remove()?,
            }
        }
        Ok(left)
    }
}

impl Folder {
    pub(super) fn dir(&self) -> &Path {
        &self.0
    }

    pub(super) fn name(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Where a file is, by Zoom's id of it: the rest of what an event says of it may be otherwise in the next.
    pub(super) fn file(&self, id: &str) -> PathBuf {
        self.0.join("out").join(hex::encode(&Sha256::digest(id.as_bytes())[..16]))
    }

    /// Keeps an intent, durably.
    pub(super) fn keep(&self, intent: &Intent) -> Result<(), Error> {
        self.write(INTENT, &serde_json::to_vec(intent).expect("plain values are JSON"))
    }

    /// Marks it as over. It takes no time, whatever [`Folder::clear`] has to remove.
    pub(super) fn finish(&self, done: &Done) -> Result<(), Error> {
        self.write(DONE, &serde_json::to_vec(done).expect("plain values are JSON"))?;
        remove_file(&self.0.join(INTENT))
    }

    /// Removes all but the mark, and an intent that has come since.
    pub(super) fn clear(&self) -> Result<(), Error> {
        clear(&self.0, &[DONE, INTENT])
    }

    fn remove(&self) -> Result<(), Error> {
        remove_dir(&self.0)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        read_json(&self.0.join(name))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        write(&self.0.join(name), bytes)?;
        // The spool knows of `.cloud` only once this is on the disk.
        let above = self.0.parent().and_then(Path::parent).unwrap_or(&self.0);
        sync_dir(above).map_err(failed("writing", above))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(files: &[&str]) -> Intent {
        let body = include_str!("../../../fixtures/webhook/recording-completed.json");
        let event = RawValue::from_string(body.trim().to_owned()).unwrap();
        Intent::new(1, 1, files.iter().map(|id| (*id).to_owned()).collect(), None, event)
    }

    #[test]
    fn what_was_promised_is_found_again_and_what_is_over_is_remembered() {
        let tmp = tempfile::tempdir().unwrap();
        let imports = Imports::new(tmp.path());
        assert!(imports.left().unwrap().is_empty());
        let first = intent(&["a", "b"]);
        let stream_id = stream_id(first.recording().unwrap());
        let folder = imports.folder(&stream_id, &first.files);
        assert_eq!(folder, imports.folder(&stream_id, &["b".into(), "a".into()]));
        folder.keep(&first).unwrap();
        fs::create_dir_all(folder.file("x").parent().unwrap()).unwrap();
        fs::write(folder.file("x").with_extension("part"), "half").unwrap();
        let over = imports.folder(&stream_id, &["c".into()]);
        over.keep(&intent(&["c"])).unwrap();
        let done = |at_ms| Done { stream_id: stream_id.clone(), ordinal: 2, files: vec!["c".into()], at_ms };
        over.finish(&done(clock::unix_ms())).unwrap();
        over.clear().unwrap();
        // Killed between the two steps of that, it is gone on with.
        let halfway = imports.folder(&stream_id, &["e".into()]);
        halfway.keep(&intent(&["e"])).unwrap();
        halfway.write(DONE, b"{}").unwrap();
        let old = imports.folder(&stream_id, &["d".into()]);
        old.keep(&intent(&["d"])).unwrap();
        old.finish(&done(0)).unwrap();
        fs::create_dir_all(tmp.path().join(".cloud/nothing")).unwrap();

        let mut found: Vec<String> = imports
            .left()
            .unwrap()
            .iter()
            .map(|left| match left {
                Left::Unfinished(_, intent) => format!("unfinished {:?}", intent.files),
                Left::Done(done) => format!("done {:?}", done.files),
            })
            .collect();
        found.sort();
        assert_eq!(found, [r#"done ["c"]"#, r#"unfinished ["a", "b"]"#, r#"unfinished ["e"]"#]);
        assert_eq!(fs::read_dir(tmp.path().join(".cloud")).unwrap().count(), 3);
        assert!(folder.file("x").with_extension("part").exists());
    }
}
