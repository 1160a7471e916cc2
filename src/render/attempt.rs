//! One rendering of a journal: its chunks through the tracks, the tracks into files, and what is published of them.

use super::pictures::PictureFile;
use super::sound::{self, Encoder};
use super::tracks::{EarlierZero, Ready, Tracks, Whole};
use super::{Error, Job, Seen, Settings, archive, assemble, keep, page, poster, remove, unusable};
use crate::ffmpeg::Ffmpeg;
use crate::journal::Progress;
use crate::journal::read::Chunk;
use crate::media::{GapCause, TrackKey};
use crate::output::Object;
use crate::output::timeline::{self, Encoded, Timeline, Unusable, Why};
use crate::store::uploader::{PlannedFile, PublishPlan};
use crate::timeline::image::Size;
use crate::timeline::{Span, gaps};
use std::path::PathBuf;
use tokio::sync::{Semaphore, watch};

/// In the directory of an attempt: the files that need nothing more.
const FINISHED: &str = "finished";

/// How much of a journal is decoded at a time. Little, so that memory does not depend on how much has piled up, and so that the
/// C library gives it back: it keeps, for each thread, up to twice the largest block that was ever freed.
const PIECE_BYTES: u64 = 256 << 10;

/// One rendering from the first chunk on.
pub(super) struct Attempt<'a> {
    settings: &'a Settings,
    ffmpeg: &'a Ffmpeg,
    job: &'a Job,
    permits: &'a Semaphore,
    /// Ours alone: a child that has outlived a recorder that was killed knows another one.
    work: PathBuf,
    /// None while they are worked on.
    tracks: Option<Tracks>,
    sound: Encoder,
    camera: Option<PictureFile>,
    share: Option<PictureFile>,
}

impl<'a> Attempt<'a> {
    pub(super) async fn new(
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
            tracks: Some(Tracks::new(settings, zero)),
            sound: Encoder::new(),
            camera: None,
            share: None,
        })
    }

    pub(super) async fn run(
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
                    let present = self.tracks.as_ref().map(Tracks::present).unwrap_or_default();
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
            let (fed, is_last);
            (pieces, fed, is_last) = self
                .on_tracks(move |mut tracks| {
                    let piece = pieces.next(PIECE_BYTES);
                    let is_last = matches!(piece, Ok(None));
                    let fed = piece.map(|piece| match piece {
                        Some(lines) => tracks.feed(&lines, chunk.open),
                        None => tracks.end_chunk(),
                    });
                    (Some(tracks), (pieces, fed, is_last))
                })
                .await?;
            match fed? {
                Ok(ready) => self.write(ready, false).await?,
                Err(earlier) => return Ok(Err(earlier)),
            }
            if is_last {
                return Ok(Ok(()));
            }
        }
    }

    /// Does `work` with the tracks where it may block; it gives back those that go on.
    async fn on_tracks<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(Tracks) -> (Option<Tracks>, T) + Send + 'static,
    ) -> Result<T, Error> {
        let tracks = self.tracks.take().expect("they are given back until they are finished, or the attempt ends");
        // A panic is to name its recording.
        let span = tracing::Span::current();
        let (tracks, done) = tokio::task::spawn_blocking(move || span.in_scope(|| work(tracks))).await?;
        self.tracks = tracks;
        Ok(done)
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
        let whole = match self.on_tracks(|tracks| (None, tracks.finish())).await? {
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
