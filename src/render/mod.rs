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
use crate::journal::read::{self, Chunk};
use crate::journal::{self, Progress};
use crate::media::{GapCause, TrackKey};
use crate::output::manifest::{Manifest, StoredObject};
use crate::output::timeline::{self, Encoded, Timeline, Unusable, Why};
use crate::output::{Folder, Object, Template};
use crate::protocol::event::Started;
use crate::store::uploader::{PlannedFile, PublishPlan};
use crate::timeline::clock::PausePolicy;
use crate::timeline::image::Size;
use crate::timeline::picture::EncodePolicy;
use crate::timeline::{Span, gaps};
pub use glance::{Picture, level, picture};
use pictures::PictureFile;
use sha2::{Digest, Sha256};
use sound::Encoder;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tokio::sync::{Semaphore, watch};
use tracks::{EarlierZero, Ready, Tracks, Whole};

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
/// on at a time; one is held for a chunk at a time.
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
        manifest.objects.push(StoredObject {
            name: file.object.name(),
            key: plan.folder.key(&file.object),
            size_bytes,
            sha256,
            content_type: file.object.content_type().to_owned(),
            duration_ms: file.duration_ms,
            codec: file.codec.clone(),
        });
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

/// In the directory of an attempt: the files that need nothing more.
const FINISHED: &str = "finished";

/// How much of a journal is decoded at a time. Little, so that memory does not depend on how much has piled up, and so that the
/// C library gives it back: it keeps, for each thread, up to twice the largest block that was ever freed.
const PIECE_BYTES: u64 = 256 << 10;

/// One rendering from the first chunk on.
struct Attempt<'a> {
    settings: &'a Settings,
    ffmpeg: &'a Ffmpeg,
    job: &'a Job,
    permits: &'a Semaphore,
    /// Ours alone: a child that has outlived a recorder that was killed knows another one.
    work: PathBuf,
    tracks: Tracks,
    sound: Encoder,
    camera: Option<PictureFile>,
    share: Option<PictureFile>,
}

impl<'a> Attempt<'a> {
    async fn new(
        settings: &'a Settings,
        ffmpeg: &'a Ffmpeg,
        job: &'a Job,
        permits: &'a Semaphore,
        zero: Option<crate::media::Timestamp>,
    ) -> Result<Self, Error> {
        // Only files of our own are removed: `render --out` may name a directory that holds others.
        remove(&job.work).await?;
        let work = job.work.join(uuid::Uuid::new_v4().simple().to_string());
        for dir in [&work.join(FINISHED), &job.out] {
            tokio::fs::create_dir_all(dir).await.map_err(Error::io("creating", dir))?;
        }
        Ok(Self {
            settings,
            ffmpeg,
            job,
            permits,
            work,
            tracks: Tracks::new(settings, zero),
            sound: Encoder::new(),
            camera: None,
            share: None,
        })
    }

    async fn run(
        mut self,
        progress: &mut watch::Receiver<Progress>,
    ) -> Result<Result<PublishPlan, EarlierZero>, Error> {
        let mut next = 1;
        loop {
            let known = *progress.borrow_and_update();
            while next <= known.closed {
                // A number that is missing is a chunk that was lost with the disk; what is there is rendered.
                if let Some(chunk) = self.chunk(next) {
                    let _permit = self.permits.acquire().await;
                    if let Err(earlier) = self.feed(chunk).await? {
                        return Ok(Err(earlier));
                    }
                    let present = self.tracks.present();
                    self.job.seen.send_replace(Seen { rendered: next, present });
                } else {
                    tracing::error!(chunk = next, "a chunk of the journal is missing");
                }
                next += 1;
            }
            if known.ended {
                let _permit = self.permits.acquire().await;
                return self.finish().await;
            }
            if progress.changed().await.is_err() {
                // The writer is gone without an end; what it closed is all there is.
                let _permit = self.permits.acquire().await;
                return self.finish().await;
            }
        }
    }

    fn chunk(&self, number: u32) -> Option<Chunk> {
        [false, true]
            .into_iter()
            .map(|open| Chunk { number, path: Chunk::path(&self.job.journal, number, open), open })
            .find(|chunk| chunk.path.exists())
    }

    async fn feed(&mut self, chunk: Chunk) -> Result<Result<(), EarlierZero>, Error> {
        let mut pieces = chunk.pieces()?;
        loop {
            let mut tracks = std::mem::replace(&mut self.tracks, Tracks::new(self.settings, None));
            // A panic is to name its recording.
            let span = tracing::Span::current();
            let (fed, is_last);
            (tracks, pieces, fed, is_last) = tokio::task::spawn_blocking(move || {
                let _recording = span.entered();
                let piece = pieces.next(PIECE_BYTES);
                let is_last = matches!(piece, Ok(None));
                let fed = piece.map(|piece| match piece {
                    Some(lines) => tracks.feed(&lines, chunk.open),
                    None => tracks.end_chunk(),
                });
                (tracks, pieces, fed, is_last)
            })
            .await?;
            self.tracks = tracks;
            match fed? {
                Ok(ready) => self.write(ready, false).await?,
                Err(earlier) => return Ok(Err(earlier)),
            }
            if is_last {
                return Ok(Ok(()));
            }
        }
    }

    async fn write(&mut self, ready: Ready, is_last: bool) -> Result<(), Error> {
        let sound = self.work.join("audio.m4a");
        self.sound.write(self.ffmpeg, &sound, self.settings.audio_bitrate, &ready.sound).await?;
        for (user, pieces) in &ready.participants {
            sound::append_to_file(&sound::participant_file(&self.work, user), pieces).await?;
        }
        let (width, height) = self.settings.canvas;
        for (file, name, frames) in
            [(&mut self.camera, "video.mkv", ready.camera), (&mut self.share, "share.mkv", ready.share)]
        {
            if frames.is_empty() {
                continue;
            }
            if file.is_none() {
                *file = Some(PictureFile::create(&self.work.join(name), Size { width, height }).await?);
            }
            let Some(file) = file else { continue };
            file.write(self.ffmpeg, frames, is_last).await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Result<PublishPlan, EarlierZero>, Error> {
        let tracks = std::mem::replace(&mut self.tracks, Tracks::new(self.settings, None));
        let span = tracing::Span::current();
        let whole = match tokio::task::spawn_blocking(move || span.in_scope(|| tracks.finish())).await? {
            Ok(whole) => whole,
            Err(earlier) => return Ok(Err(earlier)),
        };
        let Whole {
            ready,
            facts,
            zero,
            end,
            mut gaps,
            mut tracks,
            repeated,
            mut unusable,
            mut dropped,
            pauses,
            connections,
            participants,
            texts,
            mut remarks,
        } = whole;
        self.write(ready, true).await?;
        let has_sound = self.sound.finish().await?;
        let duration_ms = end.0.max(0).unsigned_abs();
        let (mut pictures, mut shown) = ([None, None], [Vec::new(), Vec::new()]);
        let (mut filled, mut encoded) = (Vec::new(), Vec::new());
        let tracks_of_pictures = [(self.camera.take(), TrackKey::Camera), (self.share.take(), TrackKey::Share)];
        for (((file, track), pictures), shown) in tracks_of_pictures.into_iter().zip(&mut pictures).zip(&mut shown) {
            let Some(file) = file else { continue };
            let written = file.finish(self.ffmpeg).await?;
            if !written.undecodable.is_empty() {
                let spans: Vec<Span> = written.undecodable.iter().map(|(span, _)| *span).collect();
                let ms = gaps::add(&mut gaps, &track, &spans, GapCause::NoKeyFrame).unsigned_abs();
                for of in tracks.iter_mut().filter(|of| of.track == track) {
                    of.received_ms = of.received_ms.saturating_sub(ms);
                    of.filled_ms += ms;
                    of.dropped_ms += ms;
                }
                for (span, packets) in written.undecodable {
                    dropped.iter_mut().filter(|d| d.track == track).for_each(|d| d.undecodable += packets);
                    let (start_ms, end_ms) = (span.start, span.end);
                    unusable.push(Unusable { track: track.clone(), start_ms, end_ms, why: Why::Undecodable, packets });
                }
            }
            filled.extend(assemble::filled(&track, &gaps, &written.slates));
            *shown = poster::shown(&written.slates, end);
            let span = |span: Span| Encoded { track: track.clone(), start_ms: span.start, end_ms: span.end };
            encoded.extend(written.encoded.into_iter().map(span));
            let codec = written.codec.unwrap_or_else(|| "avc1".to_owned());
            *pictures = Some(assemble::Pictures { codec, listed: written.listed });
        }
        let [camera, share] = pictures;
        let made = assemble::Made { has_sound, participants, camera, share, duration_ms, shown };
        let bitrate = self.settings.audio_bitrate;
        let finished = self.work.join(FINISHED);
        let mut files = assemble::run(self.ffmpeg, &self.work, &finished, &made, bitrate).await?;
        files.extend(texts.write(&finished).await?);
        remarks.extend(texts.remarks.iter().cloned());
        remarks.extend(unusable::remarks(&unusable));
        let timeline = Timeline {
            schema_version: timeline::SCHEMA_VERSION,
            zero_at: zero,
            duration_ms,
            people: texts.people.clone(),
            tracks: tracks.clone(),
            gaps: gaps.clone(),
            filled,
            encoded,
            repeated,
            unusable,
            dropped,
            pauses,
            connections,
        };
        let path = finished.join(Object::Timeline.name());
        tokio::fs::write(&path, timeline.to_json()).await.map_err(Error::io("writing", &path))?;
        files.push(PlannedFile { object: Object::Timeline, path, duration_ms: None, codec: None });
        if self.settings.keep_journal {
            let (journal, path) = (self.job.journal.clone(), finished.join(Object::Journal.name()));
            let to = path.clone();
            tokio::task::spawn_blocking(move || archive::pack(&journal, &to)).await??;
            files.push(PlannedFile { object: Object::Journal, path, duration_ms: None, codec: None });
        }

        let started = facts.started().ok_or(Error::NoStart)?;
        let mut manifest = facts.manifest(&self.job.recording_id, started);
        manifest.zero_at = zero;
        manifest.duration_ms = duration_ms;
        manifest.gaps = gaps;
        manifest.tracks = tracks;
        manifest.incomplete_because.extend(assemble::reasons(&manifest.gaps));
        manifest.incomplete_because.extend(remarks);
        manifest.complete = manifest.incomplete_because.is_empty();
        let folder = assemble::folder(&self.settings.key_template, &manifest, started);
        files.push(page::write(&finished, &folder, &manifest, &files).await?);
        let files = keep::keep(files, &self.job.out).await?;
        Ok(Ok(PublishPlan { folder, spool: self.job.spool.clone(), files, manifest }))
    }
}

async fn remove(dir: &Path) -> Result<(), Error> {
    match tokio::fs::remove_dir_all(dir).await {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(Error::io("removing", dir)(err)),
        _ => Ok(()),
    }
}
