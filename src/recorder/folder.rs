//! The folder of one recording in the spool: what is kept there, and how it goes.
//!
//! See [`super::spool`] for the names of its files.

use super::files::{Error, clear, failed, read_json, remove_dir, remove_file, write};
use super::restart::Links;
use super::spool::REMEMBER;
use crate::clock;
use crate::ids::{RecordingId, StreamId};
use crate::output::{self, Manifest, StopSource};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{fs, io};

const DONE: &str = "done.json";
const WITHDRAWN: &str = "withdrawn";
/// What it holds if that was asked for by whoever runs the recorder.
const OPERATOR: &[u8] = b"operator\n";
/// What it holds if the withdrawal came by the signaling connection.
const SIGNALING: &[u8] = b"signaling\n";
const LINKS: &str = "links.json";
const APP: &str = "app.json";

/// Where a recording that is over was published, and the least that a manifest says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Its folder in the bucket.
    pub folder: output::Folder,
    /// Who and when, without what was recorded: what stays if it is deleted.
    pub manifest: Box<Manifest>,
}

#[cfg(test)]
impl Published {
    /// One in `2026/11/20/<name>`.
    pub(super) fn example(stream: &str, name: &str) -> Self {
        let manifest = serde_json::json!({
            "schema_version": 1, "recorder": { "name": "rtms-recorder", "version": "0" }, "recording_id": name,
            "stream_id": stream, "product": "webinar", "meeting_id": format!("of {name}"),
            "started_at": "2026-11-20T09:30:00.000Z", "duration_ms": 1000, "complete": true, "objects": [], "tracks": [],
            "gaps": [], "counters": {},
        });
        let folder = output::Folder::try_from(format!("2026/11/20/{name}")).unwrap();
        Self { folder, manifest: serde_json::from_value(manifest).unwrap() }
    }
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

impl Done {
    /// A recording that is over now, and was published; no start event up to `until_ts` starts it again.
    pub(super) fn of(id: &RecordingId, published: Published, until_ts: i64) -> Self {
        let stream_id = published.manifest.stream_id.clone();
        let published = Some(published);
        Self { stream_id, ordinal: id.ordinal(), until_ts, published, at_ms: clock::unix_ms() }
    }
}

/// Why a recording is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Consent was withdrawn, as was learnt so.
    Consent(StopSource),
    /// Whoever runs the recorder said so.
    Operator,
}

#[derive(Serialize, Deserialize)]
struct App {
    client_id: String,
}

/// The folder of one recording in the spool.
#[derive(Clone, Debug)]
pub struct Folder {
    id: RecordingId,
    dir: PathBuf,
}

impl Folder {
    pub(super) fn new(spool: &Path, id: RecordingId) -> Self {
        Self { dir: spool.join(id.as_str()), id }
    }

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
        self.write("start.json", body)?;
        remove_file(&self.dir.join(DONE))
    }

    /// The client id or SDK key of the app that got the start event; none if that is not known.
    pub fn app(&self) -> Option<String> {
        self.read::<App>(APP).map(|app| app.client_id)
    }

    /// Keeps that, durably. To be done before the start event is kept: without one, it counts for nothing.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn keep_app(&self, client_id: &str) -> Result<(), Error> {
        let app = App { client_id: client_id.to_owned() };
        self.write(APP, &serde_json::to_vec(&app).expect("plain values are JSON"))
    }

    /// What ties it to other recordings of its meeting.
    pub(super) fn links(&self) -> Links {
        self.read(LINKS).unwrap_or_default()
    }

    /// Keeps that, durably.
    pub(super) fn keep_links(&self, links: &Links) -> Result<(), Error> {
        self.write(LINKS, &serde_json::to_vec(links).expect("plain values are JSON"))
    }

    /// Notes durably that all of it is to be deleted: consent was withdrawn, or whatever `why` says. Returns what is kept of
    /// it if nothing else is there any more.
    ///
    /// # Errors
    /// When it cannot be made durable, or the folder does not say where the recording is.
    pub fn withdraw(&self, why: Deletion) -> Result<Option<Done>, Error> {
        let missing = || failed("reading", &self.dir.join(DONE))(io::ErrorKind::NotFound.into());
        let done = if self.is_unfinished() { None } else { Some(self.done()?.ok_or_else(missing)?) };
        let mark: &[u8] = match why {
            Deletion::Operator => OPERATOR,
            Deletion::Consent(StopSource::Signaling) => SIGNALING,
            Deletion::Consent(_) => b"",
        };
        self.write(WITHDRAWN, mark)?;
        Ok(done)
    }

    /// Whether the recording is not over.
    pub fn is_unfinished(&self) -> bool {
        self.dir.join("start.json").exists()
    }

    /// Whether it is to be deleted, and not everything is yet.
    pub fn is_withdrawn(&self) -> bool {
        self.dir.join(WITHDRAWN).exists()
    }

    /// Why it is to be deleted, if it is.
    pub fn deletion(&self) -> Deletion {
        match fs::read(self.dir.join(WITHDRAWN)) {
            Ok(mark) if mark == OPERATOR => Deletion::Operator,
            Ok(mark) if mark == SIGNALING => Deletion::Consent(StopSource::Signaling),
            _ => Deletion::Consent(StopSource::Event),
        }
    }

    /// Deletes what was recorded, finished or not, and keeps in `was` where it is in the bucket. The start event and the marks
    /// stay.
    ///
    /// # Errors
    /// When something cannot be removed or kept; it can be called again.
    pub fn delete_media(&self, was: &Done) -> Result<(), Error> {
        remove_dir(&self.journal())?;
        remove_dir(&self.render())?;
        // There is room now. The plan that is in `out` knew, too.
        self.keep_done(was)?;
        remove_dir(&self.out())
    }

    fn keep_done(&self, done: &Done) -> Result<(), Error> {
        self.write(DONE, &serde_json::to_vec(done).expect("plain values are JSON"))
    }

    /// Marks the recording as over, then removes everything else of it but the mark that it is to be deleted: that may be
    /// made at any moment.
    ///
    /// # Errors
    /// When the mark cannot be made durable, or something cannot be removed; it can be called again.
    pub fn finish(&self, done: &Done) -> Result<(), Error> {
        self.keep_done(done)?;
        self.tidy()
    }

    /// Removes all but the marks.
    pub(super) fn tidy(&self) -> Result<(), Error> {
        clear(&self.dir, &[DONE, WITHDRAWN])
    }

    /// As [`Folder::finish`], once all of it is deleted.
    pub(super) fn finish_deletion(&self, done: &Done) -> Result<(), Error> {
        // The mark needs room.
        remove_dir(&self.out())?;
        self.finish(done)?;
        remove_file(&self.dir.join(WITHDRAWN))
    }

    /// The stream, if it is over for longer than [`REMEMBER`] and is not to be deleted.
    pub(super) fn long_over(&self) -> Option<StreamId> {
        let done = self.done().ok()??;
        let is_old = clock::unix_ms().saturating_sub(done.at_ms) > REMEMBER.as_millis() as i64;
        (is_old && !self.is_withdrawn()).then_some(done.stream_id)
    }

    pub(super) fn remove(&self) -> Result<(), Error> {
        remove_dir(&self.dir)
    }

    /// What is kept of it since it is over; none if it is not.
    ///
    /// # Errors
    /// When that cannot be read, or makes no sense.
    pub(super) fn done(&self) -> Result<Option<Done>, Error> {
        let path = self.dir.join(DONE);
        match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map(Some).map_err(|err| failed("reading", &path)(err.into())),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(failed("reading", &path)(err)),
        }
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        read_json(&self.dir.join(name))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        write(&self.dir.join(name), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::super::spool::Spool;
    use super::*;

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
        folder.withdraw(Deletion::Consent(StopSource::Event)).unwrap();
        spool.left().unwrap();
        assert!(folder.is_withdrawn());
        fs::remove_file(folder.dir().join(WITHDRAWN)).unwrap();
        spool.left().unwrap();
        let names: Vec<_> = fs::read_dir(folder.dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["done.json"]);
    }

    /// Somebody may have it deleted while it is being published.
    #[test]
    fn finishing_leaves_the_mark_that_it_is_to_be_deleted() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = Spool::open(tmp.path()).unwrap().folder(RecordingId::from_folder("r").unwrap());
        folder.keep_start_event(b"{}").unwrap();
        folder.withdraw(Deletion::Operator).unwrap();
        let done = Done { stream_id: StreamId::new("s"), ordinal: 1, until_ts: 5, published: None, at_ms: 1 };
        folder.finish(&done).unwrap();
        assert!(folder.is_withdrawn() && folder.deletion() == Deletion::Operator);
        folder.finish_deletion(&done).unwrap();
        assert!(!folder.is_withdrawn() && folder.done().unwrap().is_some());
    }

    #[test]
    fn why_it_is_deleted_is_kept() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = Spool::open(tmp.path()).unwrap().folder(RecordingId::from_folder("r").unwrap());
        folder.withdraw(Deletion::Operator).unwrap_err();
        folder.keep_start_event(b"{}").unwrap();
        let reasons =
            [Deletion::Consent(StopSource::Event), Deletion::Consent(StopSource::Signaling), Deletion::Operator];
        for why in reasons {
            folder.withdraw(why).unwrap();
            assert_eq!(folder.deletion(), why);
        }
    }
}
