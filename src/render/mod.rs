//! Rendering: a journal in, the files of a recording out. The same code does it while the meeting runs, after a crash,
//! and from a kept journal; the same journal gives the same bytes.
//!
//! ```text
//!  chunk ─► items ─► tracks (timeline) ─┬─► sound: ffmpeg child ─► audio.m4a ─┐
//!           decode   order, zero, gaps  └─► pictures: Matroska ──► video.mkv ─┴─► assemble ─► recording.mp4
//! ```
//!
//! Closed chunks are taken as they come, the rest when the stream has ended. If a packet turns up that is older than
//! the zero that was rendered from, all is done again: sound that was buffered before the connection may arrive after
//! the first picture. A failure of any kind leaves nothing behind that matters; the journal is still there.

mod archive;
mod assemble;
mod attempt;
mod encoding;
mod facts;
mod glance;
mod items;
mod keep;
pub mod page;
mod pictures;
mod poster;
mod sound;
mod texts;
mod tracks;
mod unusable;

use crate::config::RenderConfig;
use crate::container::{flv, matroska};
use crate::ffmpeg::{self, Ffmpeg};
use crate::ids::RecordingId;
use crate::journal::read;
use crate::journal::{self, Progress};
use crate::output::manifest::Manifest;
use crate::output::{Folder, Template};
use crate::protocol::event::Started;
use crate::store::uploader::PublishPlan;
use crate::timeline::clock::PausePolicy;
use crate::timeline::picture::EncodePolicy;
use attempt::Attempt;
pub use glance::{Picture, level, picture};
use sha2::{Digest, Sha256};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::sync::{Semaphore, watch};
use tracks::EarlierZero;

/// How files are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Width and height of slates and encoded pictures.
    pub canvas: (u32, u32),
    /// Of the AAC, in bit/s.
    pub audio_bitrate: u32,
    /// Which pictures are encoded anew.
    pub video_encode: EncodePolicy,
    /// What becomes of the time during which a session was paused.
    pub paused: PausePolicy,
    /// Where recordings are in the bucket.
    pub key_template: Template,
    /// Whether the journal is one of the files.
    pub keep_journal: bool,
}

impl From<&RenderConfig> for Settings {
    fn from(config: &RenderConfig) -> Self {
        Self {
            canvas: config.video_size.pixels(),
            audio_bitrate: config.audio_bitrate,
            video_encode: config.video_encode,
            paused: config.paused,
            key_template: config.key_template.clone(),
            keep_journal: config.keep_journal,
        }
    }
}

/// What is to be rendered, and where.
#[derive(Clone, Debug)]
pub struct Job {
    /// The recording.
    pub recording_id: RecordingId,
    /// Its folder in the spool.
    pub spool: PathBuf,
    /// Its journal.
    pub journal: PathBuf,
    /// For work in progress; emptied first and removed in the end, whatever that is.
    pub work: PathBuf,
    /// For the finished files.
    pub out: PathBuf,
    /// Told after each chunk.
    pub seen: watch::Sender<Seen>,
}

/// How far rendering has come, and what was seen on the way.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The number of the last chunk that was rendered.
    pub rendered: u32,
    /// Who was there by then, by name if that is known.
    pub present: Vec<String>,
}

/// Why a journal could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The journal has no start event, so nobody knows what it is a recording of.
    #[error("the journal has no start event (meeting.rtms_started or its like)")]
    NoStart,
    /// There is nothing to be rendered.
    #[error("there are no chunks (00000001.ndjson and so on) in {0}")]
    Empty(String),
    /// A child failed.
    #[error(transparent)]
    Ffmpeg(#[from] ffmpeg::Error),
    /// Pictures are not in order.
    #[error("writing the picture track failed")]
    Matroska(#[from] matroska::Error),
    /// An encoder's output cannot be read.
    #[error(transparent)]
    Flv(#[from] flv::Malformed),
    /// An encoder misbehaved.
    #[error("{0}")]
    Encoder(&'static str),
    /// A file operation failed.
    #[error("{action} {what} failed; check the spool's disk")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        what: String,
        #[source]
        #[allow(missing_docs, reason = "the source says it")]
        source: io::Error,
    },
    /// A bug.
    #[error("the renderer panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

impl Error {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = path.display().to_string();
        move |source| Self::Io { action, what, source }
    }

    fn write(what: &str, source: io::Error) -> Self {
        Self::Io { action: "writing", what: what.to_owned(), source }
    }
}

/// Renders a journal that may still be growing, as told by `progress`. `permits` bounds how many recordings are worked
/// on at a time: one is held for a chunk at a time while the journal grows, and for all that is left once it has ended.
///
/// Cancel safe: dropped, it kills its children.
///
/// # Errors
/// Whatever went wrong; it can be called again.
pub async fn run(
    settings: &Settings,
    ffmpeg: &Ffmpeg,
    job: &Job,
    mut progress: watch::Receiver<Progress>,
    permits: &Semaphore,
) -> Result<PublishPlan, Error> {
    let mut zero = None;
    loop {
        let attempt = async { Attempt::new(settings, ffmpeg, job, permits, zero).await?.run(&mut progress).await };
        // Boxed, for it is large.
        let attempted = Box::pin(attempt).await;
        // What has failed is not to hold the room that the next attempt, or the journal, may be short of.
        let removed = remove(&job.work).await;
        match attempted? {
            Ok(plan) => return removed.map(|()| plan),
            Err(EarlierZero(earlier)) => {
                tracing::info!("sound from before the first picture arrived late; rendering starts again");
                zero = Some(earlier);
            }
        }
    }
}

/// Renders a journal that is complete into `out`, with its manifest. Made for the command line.
///
/// # Errors
/// As [`run`].
pub async fn render_journal(
    settings: &Settings,
    ffmpeg: &Ffmpeg,
    journal: &Path,
    out: &Path,
) -> Result<Manifest, Error> {
    let closed = read::chunks(journal)?.last().map_or(0, |chunk| chunk.number);
    let (_writer, progress) = watch::channel(Progress { closed, ended: true });
    let job = Job {
        recording_id: recording_id(journal),
        spool: out.to_owned(),
        journal: journal.to_owned(),
        work: out.join("work"),
        out: out.to_owned(),
        seen: watch::Sender::default(),
    };
    let plan = run(settings, ffmpeg, &job, progress, &Semaphore::new(1)).await?;
    let mut manifest = plan.manifest.clone();
    for file in &plan.files {
        let path = file.path.clone();
        let (size_bytes, sha256) = tokio::task::spawn_blocking(move || digest(&path)).await??;
        manifest.objects.push(file.stored(plan.folder.key(&file.object), size_bytes, sha256));
    }
    let path = out.join("manifest.json");
    tokio::fs::write(&path, manifest.to_json()).await.map_err(Error::io("writing", &path))?;
    Ok(manifest)
}

/// The place of a recording in the bucket, and a manifest with what its start event says.
pub fn bare(template: &Template, recording_id: &RecordingId, started: &Started) -> (Folder, Manifest) {
    let manifest = facts::Facts::default().manifest(recording_id, started);
    (assemble::folder(template, &manifest, started), manifest)
}

/// The folder that a journal lies in is named for its recording, unless it was moved.
fn recording_id(journal: &Path) -> RecordingId {
    let folder = journal.canonicalize().ok();
    let name = folder.as_deref().and_then(Path::parent).and_then(Path::file_name).and_then(|name| name.to_str());
    name.and_then(RecordingId::from_folder)
        .unwrap_or_else(|| RecordingId::new(&crate::ids::StreamId::new("journal"), 1))
}

fn digest(path: &Path) -> Result<(u64, String), Error> {
    let mut file = std::fs::File::open(path).map_err(Error::io("opening", path))?;
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut buffer).map_err(Error::io("reading", path))?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
    Ok((size, hex::encode(hasher.finalize())))
}

async fn remove(dir: &Path) -> Result<(), Error> {
    match tokio::fs::remove_dir_all(dir).await {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", dir)(err)),
        _ => Ok(()),
    }
}
