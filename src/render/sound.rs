//! The sound track: packets to samples without holes, and those into an ffmpeg child.

use crate::ffmpeg::{self, Child, Ffmpeg, Output, args};
use crate::media::TrackKey;
use crate::media::{AudioFrame, Pts, SAMPLES_PER_MS, Timestamp};
use crate::output::manifest::TrackSummary;
use crate::timeline::clock::Clock;
use crate::timeline::pcm::{Channels, Decoder, Format, Rate};
use crate::timeline::sound::{Piece, Sound};
use crate::timeline::{Span, admit::Admission};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// How long the encoder may take to end after its input has.
const GRACE: Duration = Duration::from_secs(60);
/// How much silence is handed to the encoder at a time.
const SILENCE: [u8; 32_000] = [0; 32_000];

/// A stretch of the track, on its way to the encoder.
#[derive(Debug)]
pub(super) enum Pcm {
    /// `s16le` at 16 kHz.
    Samples(Vec<u8>),
    /// So many samples of silence; a count, since it may stand for hours.
    Silence(u64),
}

/// The track up to where it has been rendered.
#[derive(Debug)]
pub(super) struct SoundTrack {
    decoder: Option<Decoder>,
    /// What the handshake's echo says that cannot be decoded.
    unsupported: Option<String>,
    unsupported_packets: u64,
    admission: Admission<Vec<i16>>,
    sound: Sound,
    any: bool,
    paused_samples: u64,
    out: Vec<Pcm>,
}

impl Default for SoundTrack {
    fn default() -> Self {
        Self {
            decoder: Some(Decoder::new(Format { rate: Rate::Hz16000, channels: Channels::Mono })),
            unsupported: None,
            unsupported_packets: 0,
            admission: Admission::default(),
            sound: Sound::default(),
            any: false,
            paused_samples: 0,
            out: Vec::new(),
        }
    }
}

/// A packet that was found to have a believable time.
pub(super) type Admitted = (Timestamp, Vec<i16>);

impl SoundTrack {
    /// Follows the effective parameters; returns what the old ones still held back.
    pub(super) fn parameters(&mut self, params: &Value) -> Vec<Admitted> {
        match format(params) {
            Ok(format) if self.decoder.as_ref().is_none_or(|decoder| decoder.format() != format) => {
                let held = self.flush_decoder();
                self.decoder = Some(Decoder::new(format));
                self.unsupported = None;
                held
            }
            Ok(_) => Vec::new(),
            Err(what) => {
                let held = self.flush_decoder();
                self.decoder = None;
                tracing::error!(what, "Zoom sends sound that cannot be decoded; it is kept in the journal only");
                self.unsupported = Some(what);
                held
            }
        }
    }

    /// Decodes a packet; returns what may go on now.
    pub(super) fn admit(&mut self, timestamp: Timestamp, bytes: &[u8]) -> Vec<Admitted> {
        let Some(decoder) = &mut self.decoder else {
            self.unsupported_packets += 1;
            return Vec::new();
        };
        let mut frames = Vec::with_capacity(2);
        decoder.push(timestamp, bytes, &mut frames);
        self.judge(frames)
    }

    /// What is still held back when nothing more comes.
    pub(super) fn drain(&mut self) -> Vec<Admitted> {
        let mut admitted = self.flush_decoder();
        admitted.extend(self.admission.finish());
        admitted
    }

    /// Puts a packet in its place.
    pub(super) fn push(&mut self, clock: &Clock, (timestamp, samples): Admitted) {
        let Self { sound, out, any, .. } = self;
        let cut = clock.cut(timestamp, &samples, |pts, samples| {
            *any = true;
            sound.push(pts, samples, &mut |piece| append(out, piece));
        });
        self.paused_samples += cut as u64;
    }

    /// Whether there is any sound at all.
    pub(super) fn is_there(&self) -> bool {
        self.any
    }

    /// Where the last packet ends.
    pub(super) fn last_end(&self) -> Pts {
        self.sound.last_end()
    }

    /// What is ready for the encoder.
    pub(super) fn take(&mut self) -> Vec<Pcm> {
        std::mem::take(&mut self.out)
    }

    /// Fills the track up to `end`. Returns the rest for the encoder, the raw gaps, a summary, and remarks.
    pub(super) fn finish(mut self, end: Pts) -> (Vec<Pcm>, Vec<Span>, TrackSummary, Vec<String>) {
        let out = &mut self.out;
        let summary = self.sound.finish(end, &mut |piece| append(out, piece));
        let ms = |samples: u64| samples / SAMPLES_PER_MS.unsigned_abs();
        let counts = summary.counts;
        let track = TrackSummary {
            track: TrackKey::Mix,
            received_ms: ms(counts.used + counts.inserted - counts.removed.min(counts.used)),
            filled_ms: ms(counts.filled),
            dropped_ms: ms(counts.overlap + counts.bad_time + self.paused_samples),
        };
        let mut remarks = Vec::new();
        if let Some(what) = self.unsupported.filter(|_| self.unsupported_packets > 0) {
            remarks.push(format!("{} packets of sound could not be decoded: {what}.", self.unsupported_packets));
        }
        (self.out, summary.gaps, track, remarks)
    }

    fn flush_decoder(&mut self) -> Vec<Admitted> {
        let mut frames = Vec::new();
        if let Some(decoder) = &mut self.decoder {
            decoder.finish(&mut frames);
        }
        self.judge(frames)
    }

    fn judge(&mut self, frames: Vec<AudioFrame>) -> Vec<Admitted> {
        let mut admitted = Vec::with_capacity(frames.len());
        for frame in frames {
            self.admission.push(frame.timestamp, frame.samples, &mut admitted);
        }
        admitted
    }
}

fn append(out: &mut Vec<Pcm>, piece: Piece<'_>) {
    match (piece, out.last_mut()) {
        (Piece::Samples(samples), Some(Pcm::Samples(bytes))) => {
            bytes.extend(samples.iter().flat_map(|s| s.to_le_bytes()))
        }
        (Piece::Samples(samples), _) => out.push(Pcm::Samples(samples.iter().flat_map(|s| s.to_le_bytes()).collect())),
        (Piece::Silence(count), Some(Pcm::Silence(more))) => *more += count,
        (Piece::Silence(count), _) => out.push(Pcm::Silence(count)),
    }
}

/// Reads `media_params.audio` as echoed. L16 is what was asked for; anything else is said.
fn format(params: &Value) -> Result<Format, String> {
    let number = |key: &str| params.get(key).and_then(|v| v.as_i64().or_else(|| v.as_str()?.parse().ok()));
    const L16: i64 = 1;
    match number("codec") {
        None | Some(L16) => {}
        Some(codec) => return Err(format!("codec {codec} in place of L16")),
    }
    let rate = match number("sample_rate") {
        Some(0) => Rate::Hz8000,
        None | Some(1) => Rate::Hz16000,
        Some(2) => Rate::Hz32000,
        Some(3) => Rate::Hz48000,
        Some(other) => return Err(format!("sample rate number {other}")),
    };
    let channels = match number("channel") {
        None | Some(1) => Channels::Mono,
        Some(2) => Channels::Stereo,
        Some(other) => return Err(format!("{other} channels")),
    };
    Ok(Format { rate, channels })
}

/// The encoder's end of the track: a child that lives as long as the rendering.
pub(super) struct Encoder {
    child: Option<Child>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { child: None }
    }

    /// Hands samples to the child, which is started with the first of them.
    pub(super) async fn write(
        &mut self,
        ffmpeg: &Ffmpeg,
        file: &Path,
        bitrate: u32,
        pieces: &[Pcm],
    ) -> Result<(), ffmpeg::Error> {
        for piece in pieces {
            let child = match &mut self.child {
                Some(child) => child,
                None => {
                    self.child.insert(ffmpeg.spawn("encoding the sound", &args::sound(file, bitrate), Output::Null)?)
                }
            };
            match piece {
                Pcm::Samples(bytes) => child.write(bytes).await?,
                Pcm::Silence(samples) => {
                    let mut left = samples * 2;
                    while left > 0 {
                        let now = left.min(SILENCE.len() as u64);
                        child.write(&SILENCE[..now as usize]).await?;
                        left -= now;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the input and waits for the file. Returns whether there is one.
    pub(super) async fn finish(self) -> Result<bool, ffmpeg::Error> {
        match self.child {
            Some(child) => child.finish(GRACE).await.map(|_| true),
            None => Ok(false),
        }
    }
}
