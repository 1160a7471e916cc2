//! What the page shows, as JSON, made at most so often however many look.

use crate::clock;
use crate::ids::RecordingId;
use crate::recorder::{Machine, Recorder, Refused, Stage, Status};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify};

/// How old it may be.
const FRESH: Duration = Duration::from_millis(1500);
/// How long listening to streams may take, each time.
const LISTENING: Duration = Duration::from_millis(300);
/// How long links into the bucket work.
const LINK: Duration = Duration::from_secs(3600);

/// A server-sent event begins so, and ends so.
const EVENT: &str = "event:state\ndata:";
const END: &str = "\n\n";

/// `State` of the API, made once for all who look.
#[derive(Clone)]
pub(super) struct Told(Bytes);

/// `State` of the API.
#[derive(Serialize)]
struct State {
    now_ms: i64,
    since_ms: i64,
    version: &'static str,
    machine: MachineNow,
    recordings: Vec<Shown>,
}

#[derive(Serialize)]
struct MachineNow {
    #[serde(flatten)]
    machine: Machine,
    load: Vec<f64>,
    processors: usize,
    bucket_trouble: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: Status,
    /// How loud a stream is; null if no sound comes, and absent if nobody listened.
    #[serde(skip_serializing_if = "Option::is_none")]
    level_db: Option<Option<f64>>,
}

/// `RecordingWithFiles` of the API.
#[derive(Serialize)]
pub(super) struct WithFiles {
    #[serde(flatten)]
    status: Status,
    #[serde(flatten)]
    stored: Option<StoredFiles>,
}

#[derive(Serialize)]
struct StoredFiles {
    files: Vec<File>,
    incomplete_because: Vec<String>,
}

#[derive(Serialize)]
struct File {
    name: String,
    size_bytes: u64,
    content_type: String,
    url: String,
}

impl Told {
    /// JSON has no line breaks of its own, so one line of data holds it.
    fn new(state: &impl Serialize) -> Self {
        let mut text = EVENT.as_bytes().to_vec();
        serde_json::to_writer(&mut text, state).expect("plain values are JSON");
        text.extend_from_slice(END.as_bytes());
        Self(text.into())
    }

    pub(super) fn json(&self) -> Bytes {
        self.0.slice(EVENT.len()..self.0.len() - END.len())
    }

    /// As a server-sent event.
    pub(super) fn event(&self) -> Bytes {
        self.0.clone()
    }
}

pub(super) struct States {
    recorder: Recorder,
    last: Mutex<Option<(Instant, Told)>>,
    is_stale: AtomicBool,
    changed: Notify,
    began_ms: i64,
}

impl States {
    pub(super) fn new(recorder: Recorder) -> Self {
        let (last, is_stale, changed) = (Mutex::default(), AtomicBool::new(false), Notify::new());
        Self { recorder, last, is_stale, changed, began_ms: clock::unix_ms() }
    }

    /// Somebody changed something: whoever looks is told at once.
    pub(super) fn invalidate(&self) {
        self.is_stale.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Waits for that, or for so long.
    pub(super) async fn changed(&self, at_most: Duration) {
        // Whether it was that does not matter.
        tokio::time::timeout(at_most, self.changed.notified()).await.ok();
    }

    /// What is so. Fails only if that panics.
    pub(super) async fn now(&self) -> Result<Told, tokio::task::JoinError> {
        let mut last = self.last.lock().await;
        let stale = self.is_stale.swap(false, Ordering::SeqCst);
        if let Some((at, told)) = &*last
            && !stale
            && at.elapsed() < FRESH
        {
            return Ok(told.clone());
        }
        let (recorder, began_ms) = (self.recorder.clone(), self.began_ms);
        let told = tokio::task::spawn_blocking(move || Told::new(&state(&recorder, began_ms))).await?;
        *last = Some((Instant::now(), told.clone()));
        Ok(told)
    }

    /// None if there is no such recording.
    pub(super) async fn recording(&self, id: &RecordingId) -> Result<Option<WithFiles>, Refused> {
        let (recorder, of) = (self.recorder.clone(), id.clone());
        let found = tokio::task::spawn_blocking(move || recorder.status(&of)).await;
        let Ok(Some(mut status)) = found else { return Ok(None) };
        if status.state != Stage::Published {
            return Ok(Some(WithFiles { status, stored: None }));
        }
        let (folder, manifest) = self.recorder.manifest(id).await?;
        let mut files = Vec::new();
        for object in manifest.objects {
            let key = format!("{}/{}", folder.as_str(), object.name);
            let url = self.link(id, &key, &object.name).await;
            let (size_bytes, content_type) = (object.size_bytes, object.content_type);
            files.push(File { name: object.name, size_bytes, content_type, url });
        }
        (status.duration_ms, status.complete) = (Some(manifest.duration_ms), Some(manifest.complete));
        let stored = Some(StoredFiles { files, incomplete_because: manifest.incomplete_because });
        Ok(Some(WithFiles { status, stored }))
    }

    /// A link into the bucket that works for an hour. Through ourselves where there is none: into a directory, or with
    /// credentials that cannot sign.
    async fn link(&self, id: &RecordingId, key: &str, name: &str) -> String {
        let store = self.recorder.store();
        if !store.is_local()
            && let Ok(link) = store.link(key, LINK).await
        {
            return link.into();
        }
        let name: Vec<String> =
            name.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()).collect();
        format!("/api/recordings/{id}/files/{}", name.join("/"))
    }
}

fn state(recorder: &Recorder, began_ms: i64) -> State {
    let statuses = recorder.statuses();
    let machine = MachineNow {
        machine: recorder.machine(&statuses),
        load: load(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        bucket_trouble: recorder.bucket_trouble(),
    };
    let began = Instant::now();
    let level = |status: &Status| recorder.level(&status.id).map(|db| (db * 10.0).round() / 10.0);
    let shown = |status: Status| {
        let listens = status.state == Stage::Recording && began.elapsed() < LISTENING;
        Shown { level_db: listens.then(|| level(&status)), status }
    };
    State {
        now_ms: clock::unix_ms(),
        since_ms: began_ms,
        version: env!("CARGO_PKG_VERSION"),
        machine,
        recordings: statuses.into_iter().map(shown).collect(),
    }
}

/// The load averages of 1, 5 and 15 minutes; empty if the system does not tell.
fn load() -> Vec<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_text_is_an_answer_and_an_event() {
        let told = Told::new(&serde_json::json!({ "why": "two\nlines" }));
        assert_eq!(told.json(), r#"{"why":"two\nlines"}"#);
        assert_eq!(told.event(), "event:state\ndata:{\"why\":\"two\\nlines\"}\n\n");
    }
}
