//! What is known of all recordings at the moment, for whoever shows it: the status page, its API, the metrics.
//!
//! A recording has an [`Entry`] from its first event until it is published or deleted, and a line among the finished ones
//! for as long as the spool remembers it.

use super::finished::Finished;
use super::folder::Published;
use crate::capture::{Connection, ReceivedMedia, Vitals};
use crate::clock;
use crate::ids::{RecordingId, StreamId};
use crate::journal::read::Chunk;
use crate::journal::{Journal, Progress};
use crate::output::{Folder, Manifest};
use crate::protocol::event::Started;
use crate::render::Seen;
use crate::store::uploader::{self, PublishPlan};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// What is being done with a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Its stream is captured, and rendered meanwhile.
    Recording,
    /// The stream is over, the files are being made.
    Rendering,
    /// The files go to the bucket.
    Uploading,
    /// It went wrong and nothing is done about it before the next start, or before somebody says so.
    Failed,
    /// It is being deleted.
    Deleting,
    /// It is in the bucket.
    Published,
    /// Only a manifest is left that says so.
    Deleted,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Recording,
        Self::Rendering,
        Self::Uploading,
        Self::Failed,
        Self::Deleting,
        Self::Published,
        Self::Deleted,
    ];

    /// Its name in the API and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Rendering => "rendering",
            Self::Uploading => "uploading",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
            Self::Published => "published",
            Self::Deleted => "deleted",
        }
    }
}

/// A recording as it is shown. Times are Unix ms.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The recording.
    pub id: RecordingId,
    /// Its stream.
    pub stream_id: StreamId,
    /// `meeting`, `webinar`, `session` and so on.
    pub product: &'static str,
    /// The meeting's number, if Zoom told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meeting_id: Option<String>,
    /// A Video SDK customer's own name for the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// When its stream started, by Zoom.
    pub started_ms: i64,
    /// What is being done with it.
    pub state: Stage,
    /// The host of Zoom's that it is connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The region in its name, such as `iad`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How long a ping to it took there and back, in ms, at its last keep-alive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// Who is there, as of the last chunk that was rendered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<String>,
    /// Its connections.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<Connection>,
    /// What came.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub received: Vec<ReceivedMedia>,
    /// How far rendering has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendering: Option<Rendering>,
    /// How far the upload has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload: Option<Upload>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// Where it is in the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// When it was published or deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_ms: Option<i64>,
    /// How long it plays; not known after a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// Whether nothing that Zoom sent is missing; not known after a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
}

/// Chunks of the journal.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rendering {
    /// How many were closed.
    pub closed: u32,
    /// How many of them are rendered.
    pub rendered: u32,
    /// The age of the oldest that is not, in ms.
    pub behind_ms: u64,
}

/// Bytes of a recording's files.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Upload {
    /// Of those that are in the bucket, and of parts of others.
    pub sent_bytes: u64,
    /// Of all.
    pub size_bytes: u64,
}

/// What went wrong and what happens next, in sentences.
#[derive(Clone, Debug, Serialize)]
pub struct Trouble {
    /// What went wrong.
    pub why: String,
    /// What happens next.
    pub next: String,
}

/// All that is shown.
#[derive(Debug, Default)]
pub(super) struct Board {
    entries: Mutex<HashMap<RecordingId, Arc<Entry>>>,
    finished: Mutex<Finished>,
    /// Rings when nothing is left to be worked on.
    pub(super) at_rest: Notify,
}

/// A recording that is worked on.
#[derive(Debug)]
pub(super) struct Entry {
    id: RecordingId,
    started: Started,
    pub(super) journal_dir: PathBuf,
    pub(super) vitals: Vitals,
    pub(super) seen: watch::Sender<Seen>,
    /// Cancelled to end the capture alone.
    pub(super) stop: CancellationToken,
    /// That was for it alone: the recording ends here.
    pub(super) told: AtomicBool,
    /// What waits for its next attempt, a rendering or a deletion, is tried again now.
    pub(super) again: Notify,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    state: Option<Stage>,
    journal: Option<Journal>,
    progress: Option<watch::Receiver<Progress>>,
    files: HashMap<String, Upload>,
    trouble: Option<Trouble>,
}

impl std::fmt::Debug for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Now").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Board {
    /// A recording is begun or picked up; `drain` ends all captures.
    pub(super) fn enter(
        &self,
        id: &RecordingId,
        started: &Started,
        journal_dir: PathBuf,
        drain: &CancellationToken,
    ) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            id: id.clone(),
            started: started.clone(),
            journal_dir,
            vitals: Vitals::default(),
            seen: watch::Sender::default(),
            stop: drain.child_token(),
            told: AtomicBool::new(false),
            again: Notify::new(),
            now: Mutex::default(),
        });
        self.entries.lock().insert(id.clone(), Arc::clone(&entry));
        entry
    }

    /// It is over.
    pub(super) fn published(&self, id: &RecordingId, published: &Published, at_ms: i64, whole: Option<&Manifest>) {
        self.finished.lock().put(id, published, at_ms, whole);
        let mut entries = self.entries.lock();
        if entries.remove(id).is_some() && entries.is_empty() {
            self.at_rest.notify_one();
        }
    }

    /// It is deleted.
    pub(super) fn deleted(&self, id: &RecordingId, published: &Published) {
        self.published(id, published, clock::unix_ms(), None);
    }

    /// It was published and is being deleted.
    pub(super) fn deleting(&self, id: &RecordingId) {
        self.finished.lock().deleting(id);
    }

    /// Where it was published.
    pub(super) fn folder(&self, id: &RecordingId) -> Option<Folder> {
        self.finished.lock().folder(id)
    }

    /// It could not be recorded after all.
    pub(super) fn leave(&self, id: &RecordingId) {
        self.entries.lock().remove(id);
    }

    /// Forgets what is over for long.
    pub(super) fn forget(&self, ids: &[RecordingId]) {
        self.finished.lock().forget(ids);
    }

    pub(super) fn entry(&self, id: &RecordingId) -> Option<Arc<Entry>> {
        self.entries.lock().get(id).cloned()
    }

    pub(super) fn stream_of(&self, id: &RecordingId) -> Option<StreamId> {
        let entered = self.entry(id).map(|entry| entry.started.stream.stream_id.clone());
        entered.or_else(|| self.finished.lock().stream_of(id))
    }

    /// One of them. As long as it is worked on, that counts.
    pub(super) fn status(&self, id: &RecordingId) -> Option<Status> {
        let entry = self.entry(id);
        entry.map(|entry| entry.status()).or_else(|| self.finished.lock().status(id))
    }

    /// All of it: what is worked on, then what is over, each with the newest first.
    pub(super) fn all(&self) -> Vec<Status> {
        let entries: Vec<Arc<Entry>> = self.entries.lock().values().cloned().collect();
        let mut all: Vec<Status> = entries.iter().map(|entry| entry.status()).collect();
        all.sort_by(|a, b| (b.started_ms, &b.id).cmp(&(a.started_ms, &a.id)));
        let at_work: HashSet<RecordingId> = all.iter().map(|status| status.id.clone()).collect();
        let mut over: Vec<Status> = self.finished.lock().statuses().collect();
        over.retain(|status| !at_work.contains(&status.id));
        over.sort_by(|a, b| (b.over_ms, &b.id).cmp(&(a.over_ms, &a.id)));
        all.append(&mut over);
        all
    }

    /// The oldest message that waits for the disk.
    pub(super) fn journal_backlog(&self) -> Duration {
        let now_ms = clock::unix_ms();
        let entries = self.entries.lock();
        let backlogs = entries.values().filter_map(|entry| Some(entry.now.lock().journal.as_ref()?.backlog(now_ms)));
        backlogs.max().unwrap_or_default()
    }
}

impl Entry {
    /// What is done with it now. What was wrong before is over.
    pub(super) fn set(&self, state: Stage) {
        let mut now = self.now.lock();
        (now.state, now.trouble) = (Some(state), None);
        if state != Stage::Recording {
            now.journal = None;
        }
    }

    /// Nothing more is captured. If rendering is in trouble, it still is.
    pub(super) fn is_captured(&self) {
        let mut now = self.now.lock();
        if now.state == Some(Stage::Recording) {
            (now.state, now.journal) = (Some(Stage::Rendering), None);
        }
    }

    /// Whether it had been given up; if so, somebody goes on with it now, and nobody else does.
    pub(super) fn go_on(&self) -> bool {
        let mut now = self.now.lock();
        let failed = now.state == Some(Stage::Failed);
        if failed {
            (now.state, now.trouble) = (Some(Stage::Rendering), None);
        }
        failed
    }

    pub(super) fn stage(&self) -> Stage {
        self.now.lock().state.unwrap_or(Stage::Rendering)
    }

    pub(super) fn is_in_trouble(&self) -> bool {
        self.now.lock().trouble.is_some()
    }

    /// It is captured into this journal.
    pub(super) fn captures(&self, journal: &Journal) {
        self.set(Stage::Recording);
        self.now.lock().journal = Some(journal.clone());
    }

    /// It is rendered as its journal grows.
    pub(super) fn follows(&self, progress: &watch::Receiver<Progress>) {
        self.now.lock().progress = Some(progress.clone());
    }

    /// What is done with it failed. Returns when it is to be tried again: after `delay`, or when somebody says so.
    pub(super) async fn fails_for_now(&self, why: impl ToString, next: impl ToString, delay: Duration) {
        self.trouble(why, next);
        tokio::time::timeout(delay, self.again.notified()).await.ok();
        // What was in the way may be gone.
        self.now.lock().trouble = None;
    }

    fn trouble(&self, why: impl ToString, next: impl ToString) {
        self.now.lock().trouble = Some(Trouble { why: why.to_string(), next: next.to_string() });
    }

    /// Nothing more is done about it by itself.
    pub(super) fn failed(&self, why: impl ToString, next: impl ToString) {
        self.set(Stage::Failed);
        self.trouble(why, next);
    }

    /// These files go to the bucket. Looks at the disk.
    pub(super) fn uploads(&self, plan: &PublishPlan) {
        self.set(Stage::Uploading);
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
        let files =
            plan.files.iter().map(|file| (file.object.name(), Upload { sent_bytes: 0, size_bytes: size(&file.path) }));
        self.now.lock().files = files.collect();
    }

    /// The upload goes on.
    pub(super) fn uploading(&self, progress: &uploader::Progress<'_>) {
        let mut now = self.now.lock();
        match progress {
            uploader::Progress::Sending { object, sent_bytes, size_bytes } => {
                now.files.insert(object.name(), Upload { sent_bytes: *sent_bytes, size_bytes: *size_bytes });
                now.trouble = None;
            }
            uploader::Progress::Stored { object, size_bytes } => {
                now.files.insert(object.name(), Upload { sent_bytes: *size_bytes, size_bytes: *size_bytes });
                now.trouble = None;
            }
            uploader::Progress::Failed { failure, retry_in } => {
                let next = format!("It is tried again within {} s.", retry_in.as_secs().max(1));
                now.trouble = Some(Trouble { why: failure.to_string(), next });
            }
        }
    }

    fn status(&self) -> Status {
        let Started { stream, event_ts, meeting_id, session_key, .. } = &self.started;
        let health = self.vitals.health();
        let seen = self.seen.borrow().clone();
        let now = self.now.lock();
        let state = now.state.unwrap_or(Stage::Rendering);
        let closed = now.progress.as_ref().map(|progress| progress.borrow().closed);
        let rendering = closed.filter(|_| matches!(state, Stage::Recording | Stage::Rendering));
        let mut upload = Upload::default();
        for file in now.files.values() {
            upload.sent_bytes += file.sent_bytes;
            upload.size_bytes += file.size_bytes;
        }
        let is_live = state == Stage::Recording;
        Status {
            id: self.id.clone(),
            stream_id: stream.stream_id.clone(),
            product: stream.product.as_str(),
            meeting_id: meeting_id.clone(),
            session_key: session_key.clone(),
            started_ms: *event_ts,
            state,
            server: health.server(),
            region: health.region(),
            round_trip_ms: health.round_trip().map(|took| took.as_secs_f64() * 1000.0),
            people: seen.present,
            connections: if is_live { self.vitals.connections() } else { Vec::new() },
            received: self.vitals.received(),
            rendering: rendering.map(|closed| Rendering {
                closed,
                rendered: seen.rendered.min(closed),
                behind_ms: self.behind_ms(seen.rendered, closed),
            }),
            upload: (state == Stage::Uploading).then_some(upload),
            trouble: now.trouble.clone(),
            folder: None,
            over_ms: None,
            duration_ms: None,
            complete: None,
        }
    }

    /// How long ago the oldest chunk was closed that is not rendered.
    fn behind_ms(&self, rendered: u32, closed: u32) -> u64 {
        if rendered >= closed {
            return 0;
        }
        let next = Chunk::path(&self.journal_dir, rendered + 1, false);
        let age = next.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        age.map_or(0, |age| age.as_millis() as u64)
    }
}
