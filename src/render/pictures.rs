//! A picture track: access units to frames without a hole, and those into one Matroska file.
//!
//! Copied pictures, encoded ones and slates go through one writer, in order. The file is what ffmpeg is given when the
//! recording is assembled; until then no child has to live for it.

use super::Error;
use super::encoding::{Encoded, Encoding};
use super::sound::again;
use crate::container::matroska::{self, TrackSettings, Writer};
use crate::container::mp4::Listed;
use crate::ffmpeg::{Ffmpeg, args};
use crate::media::{AccessUnit, PictureCodec, Pts, Timestamp, TrackKey};
use crate::output::timeline::{Dropped, Repeated, Why};
use crate::timeline::Span;
use crate::timeline::admit::Admission;
use crate::timeline::clock::{Clock, Place};
use crate::timeline::gaps::Missing;
use crate::timeline::h264::{NalKind, nals};
use crate::timeline::image::{self, Size};
use crate::timeline::picture::{Frame, Settings, Summary, Track, What};
use bytes::Bytes;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Where pictures cannot be decoded for longer than this (in ms), a slate is shown rather than the last one that could.
const HELD_MS: i64 = 1000;
/// How much is gathered before it is written.
const WRITE_BYTES: usize = 256 << 10;

/// The track up to where it has been rendered.
#[derive(Debug)]
pub(super) struct PictureTrack {
    key: TrackKey,
    admission: Admission<AccessUnit>,
    track: Track,
    any: bool,
    paused: u64,
    /// Where the track stood when something came that has no place in it.
    unusable: Vec<(Why, Pts)>,
    out: Vec<Frame>,
}

impl PictureTrack {
    pub(super) fn new(key: TrackKey, settings: Settings) -> Self {
        Self {
            key,
            admission: Admission::default(),
            track: Track::new(settings),
            any: false,
            paused: 0,
            unusable: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Judges a picture's time; returns what may go on now.
    pub(super) fn admit(&mut self, unit: AccessUnit) -> Vec<(Timestamp, AccessUnit)> {
        let mut admitted = Vec::with_capacity(1);
        self.admission.push(unit.timestamp, unit, &mut admitted);
        admitted
    }

    /// Pictures dropped so far because their time cannot be right.
    pub(super) fn misplaced(&self) -> u64 {
        self.admission.dropped()
    }

    /// What is still held back when nothing more comes, or before a mark.
    pub(super) fn drain(&mut self) -> Vec<(Timestamp, AccessUnit)> {
        self.admission.finish().into_iter().collect()
    }

    /// Puts a picture in its place.
    pub(super) fn push(&mut self, clock: &Clock, unit: AccessUnit) {
        match clock.place(unit.timestamp) {
            Place::At(pts) => {
                self.any = true;
                let before = self.track.counts();
                for data in image::split(unit.data) {
                    self.track.push(pts, unit.codec, data, &mut self.out);
                }
                let after = self.track.counts();
                if after.bad_time > before.bad_time {
                    self.unusable.push((Why::BadTime, self.track.last_end()));
                }
                if after.broken_images > before.broken_images {
                    self.unusable.push((Why::Undecodable, pts));
                }
            }
            Place::Paused | Place::BeforeZero => self.paused += 1,
        }
    }

    pub(super) fn connection_lost(&mut self) {
        self.track.connection_lost(&mut self.out);
    }

    pub(super) fn sharing(&mut self, on: bool, at: Pts) {
        if on {
            self.track.sharing_started(at);
        } else {
            self.track.sharing_stopped(at);
        }
    }

    pub(super) fn is_there(&self) -> bool {
        self.any
    }

    pub(super) fn last_end(&self) -> Pts {
        self.track.last_end()
    }

    /// What is ready to be written.
    pub(super) fn take(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.out)
    }

    /// Fills the track up to `end`.
    pub(super) fn finish(mut self, end: Pts) -> Finished {
        let Summary { missing, counts, late, .. } = self.track.finish(end, &mut self.out);
        let repeated = late.into_iter().map(|span| again(&self.key, span)).collect();
        let dropped = Dropped {
            track: self.key,
            no_key_frame: counts.no_key_frame,
            late: counts.late,
            bad_time: counts.bad_time + self.admission.dropped(),
            paused: self.paused,
            undecodable: counts.broken_images,
        };
        Finished { rest: self.out, missing, repeated, dropped, unusable: self.unusable }
    }
}

/// A track that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    /// What is still to be written.
    pub(super) rest: Vec<Frame>,
    pub(super) missing: Missing,
    pub(super) repeated: Vec<Repeated>,
    pub(super) dropped: Dropped,
    pub(super) unusable: Vec<(Why, Pts)>,
}

/// The file of a track.
pub(super) struct PictureFile {
    file: Arc<File>,
    writer: Writer,
    buffer: Vec<u8>,
    canvas: Size,
    slate: Option<Bytes>,
    encoding: Option<Encoding>,
    /// Where nothing that could be decoded has followed yet.
    hole: Option<Span>,
    /// The time, in ms, from the picture before the last one to the last one.
    pace: Option<i64>,
    written: Written,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Of the first picture or slate, as RFC 6381 writes it.
    pub(super) codec: Option<String>,
    /// What the index of a copy will list.
    pub(super) listed: Listed,
    /// Where pictures were encoded anew.
    pub(super) encoded: Vec<Span>,
    /// Where the slate is shown.
    pub(super) slates: Vec<Span>,
    /// Where pictures could not be decoded to be encoded, and how many: the ones before are shown for longer, or a slate.
    pub(super) undecodable: Vec<(Span, u64)>,
}

impl PictureFile {
    pub(super) async fn create(path: &Path, canvas: Size) -> Result<Self, Error> {
        let file = tokio::fs::File::create(path).await.map_err(Error::io("creating", path))?;
        let writer =
            Writer::new(TrackSettings { codec: PictureCodec::H264, width: canvas.width, height: canvas.height });
        let mut buffer = Vec::new();
        writer.header(&mut buffer);
        let written = Written::default();
        let file = Arc::new(file.into_std().await);
        Ok(Self { file, writer, buffer, canvas, slate: None, encoding: None, hole: None, pace: None, written })
    }

    /// Writes frames in order. The very last one of the track says how long it is shown.
    pub(super) async fn write(&mut self, ffmpeg: &Ffmpeg, frames: Vec<Frame>, is_last: bool) -> Result<(), Error> {
        let count = frames.len();
        for (index, frame) in frames.into_iter().enumerate() {
            let duration = (is_last && index + 1 == count).then_some(frame.duration_ms);
            match frame.what {
                What::Copy(data) => {
                    self.end_encoding(ffmpeg).await?;
                    self.put(ffmpeg, frame.pts, frame.key, duration, &data).await?;
                }
                What::Slate => {
                    self.end_encoding(ffmpeg).await?;
                    let data = self.slate(ffmpeg).await?;
                    extend(&mut self.written.slates, frame.pts, frame.duration_ms);
                    self.put(ffmpeg, frame.pts, true, duration, &data).await?;
                }
                What::Encode(data, codec) => {
                    self.encode(ffmpeg, codec, frame.pts, frame.key, frame.duration_ms, &data).await?;
                }
            }
            if self.buffer.len() >= WRITE_BYTES {
                self.flush().await?;
            }
        }
        self.flush().await
    }

    /// Ends the file.
    pub(super) async fn finish(mut self, ffmpeg: &Ffmpeg) -> Result<Written, Error> {
        self.end_encoding(ffmpeg).await?;
        if let Some(hole) = self.hole.take() {
            self.fill(ffmpeg, hole).await?;
        }
        self.flush().await?;
        Ok(self.written)
    }

    async fn put(
        &mut self,
        ffmpeg: &Ffmpeg,
        pts: Pts,
        is_key: bool,
        duration_ms: Option<i64>,
        data: &[u8],
    ) -> Result<(), Error> {
        // A short one is bridged by the picture before, if there is one.
        if let Some(hole) = self.hole.take().filter(|hole| hole.ms() > HELD_MS || self.written.codec.is_none()) {
            self.fill(ffmpeg, hole).await?;
        }
        self.append(pts, is_key, duration_ms, data)
    }

    fn append(&mut self, pts: Pts, is_key: bool, duration_ms: Option<i64>, data: &[u8]) -> Result<(), Error> {
        if self.written.codec.is_none() {
            self.written.codec = codec_of(data);
        }
        let pace = self.writer.last().map(|last| pts.0 - last.0);
        let listed = &mut self.written.listed;
        listed.pictures += 1;
        listed.keys += u64::from(is_key);
        listed.paces += u64::from(pace != self.pace || duration_ms.is_some());
        listed.media_bytes += data.len() as u64;
        self.pace = pace;
        let duration_ms = duration_ms.and_then(|ms| u64::try_from(ms).ok());
        let frame = matroska::Frame { pts, is_key, duration_ms, data };
        Ok(self.writer.write(&frame, &mut self.buffer)?)
    }

    /// Shows a slate where pictures could not be decoded.
    async fn fill(&mut self, ffmpeg: &Ffmpeg, hole: Span) -> Result<(), Error> {
        let slate = self.slate(ffmpeg).await?;
        extend(&mut self.written.slates, hole.start, hole.ms());
        self.append(hole.start, true, Some(hole.ms()), &slate)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let (file, mut buffer) = (Arc::clone(&self.file), std::mem::take(&mut self.buffer));
        let write = move || {
            (&*file).write_all(&buffer)?;
            buffer.clear();
            Ok::<_, std::io::Error>(buffer)
        };
        let written = tokio::task::spawn_blocking(write).await?;
        self.buffer = written.map_err(|source| Error::write("the picture track", source))?;
        Ok(())
    }

    async fn slate(&mut self, ffmpeg: &Ffmpeg) -> Result<Bytes, Error> {
        match &self.slate {
            Some(slate) => Ok(slate.clone()),
            None => Ok(self.slate.insert(ffmpeg.slate(self.canvas()).await?).clone()),
        }
    }

    fn canvas(&self) -> args::Canvas {
        args::Canvas { width: self.canvas.width, height: self.canvas.height }
    }

    async fn encode(
        &mut self,
        ffmpeg: &Ffmpeg,
        codec: PictureCodec,
        pts: Pts,
        is_key: bool,
        duration_ms: i64,
        data: &[u8],
    ) -> Result<(), Error> {
        // A decoder takes a JPG of less than 3/4 of the height that its track announces for half of an interlaced one.
        let size = image::size(data).unwrap_or(self.canvas);
        let track = TrackSettings { codec, width: size.width, height: size.height };
        if self.encoding.as_ref().is_some_and(|encoding| !encoding.takes(track, is_key)) {
            self.end_encoding(ffmpeg).await?;
        }
        let encoding = match &mut self.encoding {
            Some(encoding) => encoding,
            None => self.encoding.insert(Encoding::start(ffmpeg, track, self.canvas())?),
        };
        let encoded = encoding.push(pts, is_key, duration_ms, data).await?;
        self.take_encoded(ffmpeg, encoded).await
    }

    async fn end_encoding(&mut self, ffmpeg: &Ffmpeg) -> Result<(), Error> {
        let Some(encoding) = self.encoding.take() else { return Ok(()) };
        let rest = encoding.finish().await?;
        self.take_encoded(ffmpeg, rest).await
    }

    async fn take_encoded(&mut self, ffmpeg: &Ffmpeg, encoded: Encoded) -> Result<(), Error> {
        let mut undecodable = encoded.undecodable.into_iter().peekable();
        for (picture, duration_ms) in encoded.pictures {
            while let Some(span) = undecodable.next_if(|span| span.start < picture.pts) {
                self.note_undecodable(span);
            }
            extend(&mut self.written.encoded, picture.pts, duration_ms);
            // Each says its duration: which one is the track's last is not known here, and it does no harm.
            self.put(ffmpeg, picture.pts, picture.is_key, Some(duration_ms), &picture.data).await?;
        }
        undecodable.for_each(|span| self.note_undecodable(span));
        Ok(())
    }

    fn note_undecodable(&mut self, span: Span) {
        match self.written.undecodable.last_mut() {
            Some((last, pictures)) if last.end == span.start => {
                last.end = span.end;
                *pictures += 1;
            }
            _ => self.written.undecodable.push((span, 1)),
        }
        let start = self.hole.map_or(span.start, |hole| hole.start);
        self.hole = Some(Span::new(start, span.end));
    }
}

/// Adds the time of a frame to spans in ascending order.
fn extend(spans: &mut Vec<Span>, pts: Pts, duration_ms: i64) {
    let end = Pts(pts.0.saturating_add(duration_ms));
    match spans.last_mut() {
        Some(last) if last.end == pts => last.end = end,
        _ => spans.push(Span::new(pts, end)),
    }
}

/// `avc1.` with profile, constraints and level out of the first SPS.
fn codec_of(data: &[u8]) -> Option<String> {
    let sps = nals(data).find(|nal| nal.kind() == NalKind::Sps)?;
    let [_, profile, constraints, level, ..] = sps.bytes else { return None };
    Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
}
