//! A picture track: access units to frames without a hole, and those into one Matroska file.
//!
//! Copied pictures, encoded ones and slates go through one writer, in order. The file is what ffmpeg is given when the
//! recording is assembled; until then no child has to live for it.

use super::Error;
use super::sound::again;
use crate::container::flv;
use crate::container::matroska::{self, TrackSettings, Writer};
use crate::ffmpeg::{Child, Ffmpeg, Output, args};
use crate::media::{AccessUnit, PictureCodec, Pts, Timestamp, TrackKey};
use crate::output::timeline::{Dropped, Repeated};
use crate::timeline::Span;
use crate::timeline::admit::Admission;
use crate::timeline::clock::{Clock, Place};
use crate::timeline::gaps::Missing;
use crate::timeline::h264::{NalKind, nals};
use crate::timeline::image::{self, Size};
use crate::timeline::picture::{Frame, Settings, Summary, Track, What};
use bytes::Bytes;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// How long an encoder may take to end after its input has.
const GRACE: Duration = Duration::from_secs(60);
/// How long making a slate may take.
const SLATE_GRACE: Duration = Duration::from_secs(30);
/// How much is gathered before it is written.
const WRITE_BYTES: usize = 1 << 20;

/// The track up to where it has been rendered.
#[derive(Debug)]
pub(super) struct PictureTrack {
    key: TrackKey,
    admission: Admission<AccessUnit>,
    track: Track,
    any: bool,
    paused: u64,
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
            out: Vec::new(),
        }
    }

    /// Judges a picture's time; returns what may go on now.
    pub(super) fn admit(&mut self, unit: AccessUnit) -> Vec<(Timestamp, AccessUnit)> {
        let mut admitted = Vec::with_capacity(1);
        self.admission.push(unit.timestamp, unit, &mut admitted);
        admitted
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
                self.track.push(pts, unit.codec, unit.data, &mut self.out);
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
            undecodable: 0,
        };
        Finished { rest: self.out, missing, repeated, dropped }
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
}

/// The file of a track.
pub(super) struct PictureFile {
    file: File,
    writer: Writer,
    buffer: Vec<u8>,
    canvas: Size,
    slate: Option<Bytes>,
    encoding: Option<Encoding>,
    /// Of the first picture or slate, as RFC 6381 writes it.
    codec: Option<String>,
    encoded: Vec<Span>,
    slates: Vec<Span>,
    /// Pictures that the encoder could not decode.
    undecodable: u64,
}

/// What a file holds.
pub(super) struct Written {
    /// Of the first picture or slate, as RFC 6381 writes it.
    pub(super) codec: Option<String>,
    /// Where pictures were encoded anew.
    pub(super) encoded: Vec<Span>,
    /// Where the slate is shown.
    pub(super) slates: Vec<Span>,
    /// Pictures that could not be decoded for it; the ones before are shown for longer.
    pub(super) undecodable: u64,
}

/// A run of pictures on its way through an encoder.
struct Encoding {
    /// `None` once its input has ended.
    child: Option<Child>,
    track: TrackSettings,
    input: Writer,
    output: flv::Reader,
    /// The frames that the encoder has been given and has not returned.
    waiting: VecDeque<(Pts, i64)>,
}

impl PictureFile {
    pub(super) async fn create(path: &Path, canvas: Size) -> Result<Self, Error> {
        let file = File::create(path).await.map_err(Error::io("creating", path))?;
        let writer =
            Writer::new(TrackSettings { codec: PictureCodec::H264, width: canvas.width, height: canvas.height });
        let mut buffer = Vec::new();
        writer.header(&mut buffer);
        Ok(Self {
            file,
            writer,
            buffer,
            canvas,
            slate: None,
            encoding: None,
            codec: None,
            encoded: Vec::new(),
            slates: Vec::new(),
            undecodable: 0,
        })
    }

    /// Writes frames in order. The very last one of the track says how long it is shown.
    pub(super) async fn write(&mut self, ffmpeg: &Ffmpeg, frames: Vec<Frame>, is_last: bool) -> Result<(), Error> {
        let count = frames.len();
        for (index, frame) in frames.into_iter().enumerate() {
            match frame.what {
                What::Copy(_) => {}
                What::Slate => extend(&mut self.slates, &frame),
                What::Encode(..) => extend(&mut self.encoded, &frame),
            }
            let duration = (is_last && index + 1 == count).then_some(frame.duration_ms);
            match frame.what {
                What::Copy(data) => {
                    self.end_encoding().await?;
                    self.put(frame.pts, frame.key, duration, &data)?;
                }
                What::Slate => {
                    self.end_encoding().await?;
                    let data = self.slate(ffmpeg).await?;
                    self.put(frame.pts, true, duration, &data)?;
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
    pub(super) async fn finish(mut self) -> Result<Written, Error> {
        self.end_encoding().await?;
        self.flush().await?;
        self.file.flush().await.map_err(|source| Error::write("the picture track", source))?;
        let Self { codec, encoded, slates, undecodable, .. } = self;
        Ok(Written { codec, encoded, slates, undecodable })
    }

    fn put(&mut self, pts: Pts, is_key: bool, duration_ms: Option<i64>, data: &[u8]) -> Result<(), Error> {
        if self.codec.is_none() {
            self.codec = codec_of(data);
        }
        let duration_ms = duration_ms.and_then(|ms| u64::try_from(ms).ok());
        let frame = matroska::Frame { pts, is_key, duration_ms, data };
        Ok(self.writer.write(&frame, &mut self.buffer)?)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all(&self.buffer).await.map_err(|source| Error::write("the picture track", source))?;
        self.buffer.clear();
        Ok(())
    }

    async fn slate(&mut self, ffmpeg: &Ffmpeg) -> Result<Bytes, Error> {
        if self.slate.is_none() {
            let data = ffmpeg.run("making a slate", &args::slate(self.canvas()), SLATE_GRACE).await?;
            self.slate = Some(data);
        }
        Ok(self.slate.clone().unwrap_or_default())
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
        if self.encoding.as_ref().is_some_and(|encoding| encoding.track != track) {
            self.end_encoding().await?;
        }
        let encoding = match &mut self.encoding {
            Some(encoding) => encoding,
            None => {
                let child = ffmpeg.spawn("encoding pictures", &args::encode(codec, self.canvas()), Output::Collect)?;
                let mut encoding = Encoding {
                    child: Some(child),
                    track,
                    input: Writer::new(track),
                    output: flv::Reader::default(),
                    waiting: VecDeque::new(),
                };
                let mut header = Vec::new();
                encoding.input.header(&mut header);
                encoding.write(&header).await?;
                self.encoding.insert(encoding)
            }
        };
        let mut bytes = Vec::with_capacity(data.len() + 32);
        encoding.input.write(&matroska::Frame { pts, is_key, duration_ms: None, data }, &mut bytes)?;
        encoding.waiting.push_back((pts, duration_ms));
        let output = encoding.write(&bytes).await?;
        self.take_encoded(&output)
    }

    async fn end_encoding(&mut self) -> Result<(), Error> {
        let Some(encoding) = &mut self.encoding else { return Ok(()) };
        let rest = encoding.end().await?;
        self.take_encoded(&rest)?;
        self.undecodable += self.encoding.take().map_or(0, |encoding| encoding.waiting.len() as u64);
        Ok(())
    }

    /// Writes what the encoder has returned. A picture that it could not decode is missing from that: the one before is
    /// shown for longer.
    fn take_encoded(&mut self, output: &[u8]) -> Result<(), Error> {
        let Some(encoding) = &mut self.encoding else { return Ok(()) };
        encoding.output.push(output);
        let mut ready = Vec::new();
        while let Some(picture) = encoding.output.next_picture()? {
            let duration_ms = loop {
                match encoding.waiting.pop_front() {
                    Some((pts, duration_ms)) if pts == picture.pts => break duration_ms,
                    Some((pts, _)) if pts < picture.pts => self.undecodable += 1,
                    _ => return Err(Error::Encoder("the encoder returned a picture that it was not given")),
                }
            };
            ready.push((picture, duration_ms));
        }
        for (picture, duration_ms) in ready {
            // Each says its duration: which one is the track's last is not known here, and it does no harm.
            self.put(picture.pts, picture.is_key, Some(duration_ms), &picture.data)?;
        }
        Ok(())
    }
}

impl Encoding {
    /// Feeds the encoder; returns what it has put out meanwhile.
    async fn write(&mut self, bytes: &[u8]) -> Result<Bytes, Error> {
        let Some(child) = &mut self.child else { return Ok(Bytes::new()) };
        child.write(bytes).await?;
        Ok(child.take_output())
    }

    async fn end(&mut self) -> Result<Bytes, Error> {
        match self.child.take() {
            Some(child) => Ok(child.finish(GRACE).await?),
            None => Ok(Bytes::new()),
        }
    }
}

/// Adds the time of a frame to spans in ascending order.
fn extend(spans: &mut Vec<Span>, frame: &Frame) {
    let end = Pts(frame.pts.0.saturating_add(frame.duration_ms));
    match spans.last_mut() {
        Some(last) if last.end == frame.pts => last.end = end,
        _ => spans.push(Span::new(frame.pts, end)),
    }
}

/// `avc1.` with profile, constraints and level out of the first SPS.
fn codec_of(data: &[u8]) -> Option<String> {
    let sps = nals(data).find(|nal| nal.kind() == NalKind::Sps)?;
    let [_, profile, constraints, level, ..] = sps.bytes else { return None };
    Some(format!("avc1.{profile:02x}{constraints:02x}{level:02x}"))
}
