//! The recorder: one recording per started stream, from its first event to its last object. The only module that
//! knows the whole chain.
//!
//! # Invariants
//!
//! - An event is answered after its effect is durable in the spool: a start event in `start.json` and the journal, a
//!   stop event in the journal, or in `done.json` for a stream that is not known.
//! - Consent withdrawn (stop reason 8) deletes everything of that stream, spool and bucket, and leaves a manifest that says
//!   so: at once, and if need be after a restart.
//! - One stream id, one recording, one connection, however often and from wherever its events arrive.
//! - The app whose Secret Token a start event is signed with signs the handshakes of that stream, after a restart too.
//! - Starting up finishes what an earlier run left.

mod act;
mod blocking;
mod board;
mod cloud;
mod control;
mod files;
mod finished;
mod folder;
mod forget;
mod left;
mod recording;
mod restart;
pub mod spool;
mod stream;
mod withdraw;

pub use board::{Rendering, Stage, Status, Trouble, Upload};
pub use control::{Machine, Refused};

use crate::clock;
use crate::config::{Apps, CloudPolicy, Config, RestConfig, Shutdown};
use crate::dial::Dialer;
use crate::events::NotTaken;
use crate::ids::{RecordingId, StreamId};
use crate::journal::Disk;
use crate::protocol::event::Event;
use crate::protocol::link::Timing;
use crate::protocol::message::{Medium, Wanted, media_params};
use crate::protocol::server_urls::{AllowedHosts, ServerUrl};
use crate::render;
use crate::store::Uploader;
use blocking::blocking;
use board::Board;
use control::Health;
use folder::{Done, Folder};
use parking_lot::Mutex;
use recording::Recording;
use restart::Restarts;
use serde_json::Value;
use spool::{Left, Spool};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use stream::{Known, State, Stream};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many recordings are rendered at the same time; the others wait, their sockets do not.
const RENDERS: usize = 2;

/// Of the grace of a shutdown, what is kept for stopping children and forcing journals to the disk.
const LETTING_GO: Duration = Duration::from_secs(3);

/// How many notices for the operator are remembered.
const MOST_NOTICES: usize = 20;

/// What the recorder needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Their credentials sign the handshakes.
    pub apps: Apps,
    /// Where sockets may be opened.
    pub allowed_hosts: AllowedHosts,
    /// Where streams are expected to come from; empty if from anywhere.
    pub regions: Vec<String>,
    /// Below so many free bytes no new stream is taken.
    pub spool_min_free: u64,
    /// What to ask Zoom for.
    pub media: Vec<(Medium, Value)>,
    /// The timers of connections.
    pub timing: Timing,
    /// How files are made.
    pub render: render::Settings,
    /// By what streams are started again that ended in trouble; none if they are not.
    pub rest: Option<RestConfig>,
    /// With what cloud recordings are imported; none if they are not.
    pub cloud: Option<RestConfig>,
}

impl Settings {
    /// The recorder's part of the settings.
    pub fn new(config: &Config) -> Self {
        let wanted = Wanted {
            audio_streams: config.audio_streams,
            resolution: config.render.video_size.resolution(),
            fps: config.video_fps,
        };
        Self {
            apps: config.apps.clone(),
            allowed_hosts: config.allowed_hosts.clone(),
            regions: config.regions.clone(),
            spool_min_free: config.spool_min_free,
            media: config.media.iter().map(|&medium| (medium, media_params(medium, wanted))).collect(),
            timing: Timing::default(),
            render: render::Settings::from(&config.render),
            rest: config.restarts().then(|| config.rest.clone()),
            cloud: (config.cloud_recordings == CloudPolicy::Import).then(|| config.rest.clone()),
        }
    }
}

impl Settings {
    /// Says so if a stream comes from a region that is not among those expected.
    fn warn_of_region(&self, stream_id: &StreamId, server: &ServerUrl) {
        let Some(region) = server.region().filter(|_| !self.regions.is_empty()) else { return };
        if !self.regions.contains(&region) {
            tracing::warn!(
                %stream_id, region, server = server.host(), expected = self.regions.join(","),
                "a stream comes from a region that is not in REGIONS; it is recorded, over a longer way"
            );
        }
    }
}

/// Records every stream that events announce. Clones are the same recorder.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

/// What all recordings share.
struct Shared {
    settings: Settings,
    spool: Spool,
    disk: Disk,
    dialer: Dialer,
    ffmpeg: crate::ffmpeg::Ffmpeg,
    uploader: Uploader,
    renders: Semaphore,
    restarts: Restarts,
    cloud: Option<cloud::Cloud>,
    /// The state of a stream is held while an event about it is being made durable.
    streams: Mutex<HashMap<StreamId, Arc<tokio::sync::Mutex<Stream>>>>,
    tasks: TaskTracker,
    /// No new streams, and no more sockets: cancelled when shutting down begins.
    drain: CancellationToken,
    /// Whether streams that run are ended by that, rather than left to the next start.
    finish: AtomicBool,
    /// Everything is dropped: what is not done is left to the next start.
    cancel: CancellationToken,
    /// What is known of all recordings at the moment.
    board: Board,
    health: Mutex<Health>,
    /// An ffmpeg failed since it was looked at.
    ffmpeg_failed: Notify,
    /// What the operator should know, for the pages that show the state.
    notices: Mutex<Vec<String>>,
    /// How often tasks of a recording have panicked.
    panics: Mutex<HashMap<RecordingId, u32>>,
}

/// What becomes of streams that an earlier run left running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// They are joined again while Zoom holds them.
    Join,
    /// They end here.
    End,
}

impl Recorder {
    /// Starts recording, first of all what `spool` still holds from an earlier run: streams that ran then are treated as
    /// `unfinished` says.
    ///
    /// # Errors
    /// When the spool cannot be listed or the system gives no threads.
    pub async fn start(
        settings: Settings,
        spool: Spool,
        dialer: Dialer,
        ffmpeg: crate::ffmpeg::Ffmpeg,
        uploader: Uploader,
        unfinished: Unfinished,
    ) -> Result<Self, anyhow::Error> {
        let left = spool.left()?;
        let folders = left.iter().map(|(Left::Unfinished(folder) | Left::Done(folder, _))| folder);
        let restarts =
            Restarts::new(settings.rest.as_ref(), &settings.apps, settings.render.key_template.clone(), folders)?;
        let cloud = cloud::Cloud::new(settings.cloud.clone(), &spool, &settings.allowed_hosts)?;
        let recorder = Self {
            shared: Arc::new(Shared {
                settings,
                spool,
                cloud,
                disk: Disk::start()?,
                dialer,
                ffmpeg,
                uploader,
                renders: Semaphore::new(RENDERS),
                restarts,
                streams: Mutex::default(),
                tasks: TaskTracker::new(),
                drain: CancellationToken::new(),
                finish: AtomicBool::new(false),
                cancel: CancellationToken::new(),
                board: Board::default(),
                health: Mutex::default(),
                ffmpeg_failed: Notify::new(),
                notices: Mutex::default(),
                panics: Mutex::default(),
            }),
        };
        for left in left {
            recorder.pick_up(left, unfinished).await;
        }
        recorder.resume_imports(unfinished).await?;
        tokio::spawn(recorder.clone().forget_now_and_then());
        Ok(recorder)
    }

    /// Drops all sockets without a word and takes no new stream. Returns when nothing is left to be done, or `grace` is
    /// over; what is not done by then is left in the spool for the next start, safely.
    pub async fn shut_down(&self, how: Shutdown, grace: Duration) {
        let shared = &self.shared;
        shared.finish.store(how == Shutdown::Finish, Ordering::SeqCst);
        shared.drain.cancel();
        shared.tasks.close();
        let until = tokio::time::Instant::now() + grace;
        if how == Shutdown::Finish {
            let in_time = tokio::time::timeout_at(until - LETTING_GO.min(grace), shared.tasks.wait()).await;
            if in_time.is_err() {
                tracing::warn!(
                    unfinished = shared.tasks.len(),
                    "SHUTDOWN_GRACE is over: the next start finishes the rest"
                );
            }
        }
        shared.cancel.cancel();
        if tokio::time::timeout_at(until, shared.tasks.wait()).await.is_err() {
            tracing::warn!(
                unfinished = shared.tasks.len(),
                "leaving although the disk or a child is busy; the journals are safe"
            );
        }
    }

    /// Waits until nothing is left to be done: no stream runs and all is published. Returns what the spool still holds then,
    /// which is what could not be finished.
    ///
    /// # Errors
    /// When the spool cannot be listed.
    pub async fn finished(&self) -> Result<Vec<String>, spool::Error> {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        let unfinished = |left| match left {
            Left::Unfinished(folder) => Some(folder.id().to_string()),
            Left::Done(folder, _) => folder.is_withdrawn().then(|| folder.id().to_string()),
        };
        let imports = self.shared.cloud.as_ref().map(cloud::Cloud::unfinished).transpose()?.unwrap_or_default();
        Ok(self.shared.spool.left()?.into_iter().filter_map(unfinished).chain(imports).collect())
    }

    async fn pick_up(&self, left: Left, unfinished: Unfinished) {
        match left {
            Left::Done(folder, done) => {
                let stream = self.shared.stream(&done.stream_id);
                let mut stream = stream.lock().await;
                stream.ordinal = stream.ordinal.max(done.ordinal);
                stream.until_ts = stream.until_ts.max(done.until_ts);
                let Some(published) = done.published else { return };
                self.shared.board.published(folder.id(), &published, done.at_ms, None);
                let state = if folder.is_withdrawn() {
                    self.shared.board.deleting(folder.id());
                    withdraw::published(Arc::clone(&self.shared), folder, published, done.until_ts);
                    State::Withdrawn
                } else if published.manifest.deleted.is_some() {
                    State::Withdrawn
                } else {
                    State::Published
                };
                stream.recordings.push(Known { ordinal: done.ordinal, since_ts: done.until_ts, state });
            }
            Left::Unfinished(folder) => {
                let id = folder.id().clone();
                if let Err(err) = self.resume(folder, unfinished).await {
                    if let Some(entry) = self.shared.board.entry(&id) {
                        entry.failed(format!("{err:#}"), "It stays in the spool, and is picked up at the next start.");
                    }
                    tracing::error!(recording = %id, err = format!("{err:#}"), "an unfinished recording cannot be picked up; it stays in the spool");
                }
            }
        }
    }

    async fn resume(&self, folder: Folder, unfinished: Unfinished) -> anyhow::Result<()> {
        let body = folder.start_event()?;
        let Event::Started(started) = Event::parse(&body, clock::unix_ms())? else {
            anyhow::bail!("start.json is no start event");
        };
        let stream = self.shared.stream(&started.stream.stream_id);
        let mut stream = stream.lock().await;
        let withdrawn = CancellationToken::new();
        stream.add(folder.id().ordinal(), started.event_ts, withdrawn.clone());
        let recording = Recording::new(Arc::clone(&self.shared), *started, folder, withdrawn);
        // A later recording of the stream may be live already.
        if let Some(live) = recording.resume(unfinished).await? {
            stream.go_live(live);
        }
        Ok(())
    }
}

impl Shared {
    /// A task of a recording panicked: at first at once, for Zoom does not hold a stream for long, then less and less often.
    async fn after_panic(self: Arc<Self>, folder: Folder) {
        let panics = {
            let mut panics = self.panics.lock();
            let count = panics.entry(folder.id().clone()).or_insert(0);
            *count += 1;
            *count
        };
        let delay = Duration::from_secs(if panics == 1 { 1 } else { 60 });
        tracing::error!(
            panics,
            delay_ms = delay.as_millis() as u64,
            "the recorder panicked over this recording; nothing in its journal is lost, it is picked up again; please report this"
        );
        if self.drain.run_until_cancelled(tokio::time::sleep(delay)).await.is_some() {
            Recorder { shared: self }.pick_up(Left::Unfinished(folder), Unfinished::Join).await;
        }
    }

    /// A recording is over: has its folder say so by `finish`, and remembers what became of it. No event about it has an effect
    /// in between.
    async fn over(
        &self,
        folder: &Folder,
        done: Done,
        state: State,
        finish: fn(&Folder, &Done) -> Result<(), spool::Error>,
    ) -> Result<(), NotTaken> {
        let stream = self.stream(&done.stream_id);
        let mut stream = stream.lock().await;
        let (folder, ordinal) = (folder.clone(), done.ordinal);
        let finished = blocking(move || finish(&folder, &done)).await;
        stream.note_over(ordinal, state);
        finished
    }

    fn stream(&self, id: &StreamId) -> Arc<tokio::sync::Mutex<Stream>> {
        Arc::clone(self.streams.lock().entry(id.clone()).or_default())
    }
}
