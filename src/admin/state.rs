//! What the page shows, as JSON, made at most so often however many look.

use crate::clock;
use crate::ids::RecordingId;
use crate::recorder::{Recorder, Refused, Stage};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, Notify};

/// How old it may be.
const FRESH: Duration = Duration::from_millis(1500);
/// How long listening to streams may take, each time.
const LISTENING: Duration = Duration::from_millis(300);
/// How long links into the bucket work.
const LINK: Duration = Duration::from_secs(3600);

pub(super) struct States {
    recorder: Recorder,
    last: Mutex<Option<(Instant, String)>>,
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

    /// `State` of the API.
    pub(super) async fn json(&self) -> String {
        let mut last = self.last.lock().await;
        let stale = self.is_stale.swap(false, Ordering::SeqCst);
        if let Some((at, json)) = &*last
            && !stale
            && at.elapsed() < FRESH
        {
            return json.clone();
        }
        let (recorder, began_ms) = (self.recorder.clone(), self.began_ms);
        let made = tokio::task::spawn_blocking(move || state(&recorder, began_ms).to_string()).await;
        let json = made.unwrap_or_default();
        *last = Some((Instant::now(), json.clone()));
        json
    }

    /// `RecordingWithFiles` of the API; none if there is no such recording.
    pub(super) async fn recording(&self, id: &RecordingId) -> Result<Option<Value>, Refused> {
        let recorder = self.recorder.clone();
        let of = id.clone();
        let found = tokio::task::spawn_blocking(move || recorder.statuses().into_iter().find(|s| s.id == of)).await;
        let Ok(Some(status)) = found else { return Ok(None) };
        let mut value = json!(status);
        if status.state == Stage::Published {
            let (folder, manifest) = self.recorder.manifest(id).await?;
            let mut files = Vec::new();
            for object in &manifest.objects {
                let key = format!("{}/{}", folder.as_str(), object.name);
                files.push(json!({
                    "name": object.name, "size_bytes": object.size_bytes, "content_type": object.content_type,
                    "url": self.link(id, &key, &object.name).await,
                }));
            }
            value["files"] = files.into();
            value["duration_ms"] = manifest.duration_ms.into();
            value["complete"] = manifest.complete.into();
            value["incomplete_because"] = manifest.incomplete_because.into();
        }
        Ok(Some(value))
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

fn state(recorder: &Recorder, began_ms: i64) -> Value {
    let statuses = recorder.statuses();
    let mut machine = json!(recorder.machine(&statuses));
    machine["load"] = load().into();
    machine["processors"] = std::thread::available_parallelism().map_or(1, usize::from).into();
    machine["bucket_trouble"] = recorder.bucket_trouble().into();
    let began = Instant::now();
    let recordings: Vec<Value> = statuses
        .iter()
        .map(|status| {
            let mut value = json!(status);
            if status.state == Stage::Recording && began.elapsed() < LISTENING {
                value["level_db"] = recorder.level(&status.id).map(|db| (db * 10.0).round() / 10.0).into();
            }
            value
        })
        .collect();
    json!({
        "now_ms": clock::unix_ms(), "since_ms": began_ms, "version": env!("CARGO_PKG_VERSION"),
        "machine": machine, "recordings": recordings,
    })
}

/// The load averages of 1, 5 and 15 minutes; empty if the system does not tell.
fn load() -> Vec<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).filter_map(|number| number.parse().ok()).collect()
}
