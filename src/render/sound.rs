//! Sound: packets to samples without holes, the mix into an ffmpeg child, participants into files until the end.

use super::Error;
use crate::ffmpeg::{self, Child, Ffmpeg, Output, args};
use crate::ids::{UserId, path_safe};
use crate::media::{AudioFrame, Pts, SAMPLES_PER_MS, Timestamp, TrackKey};
use crate::output::manifest::TrackSummary;
use crate::output::timeline::Repeated;
use crate::timeline::Span;
use crate::timeline::admit::Admission;
use crate::timeline::clock::Clock;
use crate::timeline::mix::Mix;
use crate::timeline::pcm::{Channels, Decoder, Format, Rate};
use crate::timeline::sound::{self, Piece, Sound};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::fs::OpenOptions;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

/// How long the encoder may take to end after its input has.
const GRACE: Duration = Duration::from_secs(60);
/// How much silence is handed to the encoder at a time.
static SILENCE: [u8; 32_000] = [0; 32_000];

/// A stretch of the track, on its way to the encoder.
#[derive(Debug)]
pub(super) enum Pcm {
    /// `s16le` at 16 kHz.
    Samples(Vec<u8>),
    /// So many samples of silence; a count, since it may stand for hours.
    Silence(u64),
}

/// Whose sound it is; `None` for the mix that Zoom makes.
pub(super) type Speaker = Option<UserId>;

/// A packet that was found to have a believable time.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) timestamp: Timestamp,
    pub(super) speaker: Speaker,
    pub(super) samples: Vec<i16>,
}

/// All sound of a recording up to where it has been rendered: the mix, and the participants if they come one by one.
#[derive(Debug)]
pub(super) struct SoundTracks {
    format: Result<Format, String>,
    undecoded_packets: u64,
    sources: BTreeMap<Speaker, Source>,
    mix: MixTrack,
    participants: BTreeMap<UserId, Participant>,
    paused_samples: u64,
    out: Vec<Pcm>,
}

/// What stands between the packets of one speaker and their tracks.
#[derive(Debug)]
struct Source {
    decoder: Decoder,
    admission: Admission<Vec<i16>>,
}

#[derive(Debug)]
enum MixTrack {
    /// Nothing has come.
    Empty,
    /// Zoom's.
    Zoom(Sound),
    /// Ours.
    Own(Mix),
}

/// The sound of one participant.
#[derive(Debug, Default)]
struct Participant {
    name: Option<String>,
    sound: Sound,
    out: Vec<Pcm>,
}

impl Default for SoundTracks {
    fn default() -> Self {
        Self {
            format: Ok(Format { rate: Rate::Hz16000, channels: Channels::Mono }),
            undecoded_packets: 0,
            sources: BTreeMap::new(),
            mix: MixTrack::Empty,
            participants: BTreeMap::new(),
            paused_samples: 0,
            out: Vec::new(),
        }
    }
}

impl SoundTracks {
    /// Follows the effective parameters; returns what was held back under the old ones.
    pub(super) fn parameters(&mut self, params: &Value) -> Vec<Admitted> {
        let format = format(params);
        if format == self.format {
            return Vec::new();
        }
        if let Err(what) = &format {
            tracing::error!(what, "Zoom sends sound that cannot be decoded; it is kept in the journal only");
        }
        let held = self.drain();
        self.sources.clear();
        self.format = format;
        held
    }

    /// Decodes a packet; returns what may go on now.
    pub(super) fn admit(
        &mut self,
        timestamp: Timestamp,
        speaker: Speaker,
        name: Option<String>,
        bytes: &[u8],
    ) -> Vec<Admitted> {
        if !self.sources.contains_key(&speaker)
            && let Some(container) = container(bytes)
        {
            // The packets that follow are pieces of it, and would be noise.
            self.format = Err(format!("{container} in place of L16"));
        }
        let Ok(format) = self.format else {
            self.undecoded_packets += 1;
            return Vec::new();
        };
        if let (Some(user), Some(name)) = (&speaker, name) {
            self.participants.entry(user.clone()).or_default().name = Some(name);
        }
        let source = self
            .sources
            .entry(speaker.clone())
            .or_insert_with(|| Source { decoder: Decoder::new(format), admission: Admission::default() });
        let mut frames = Vec::with_capacity(2);
        source.decoder.push(timestamp, bytes, &mut frames);
        source.judge(&speaker, frames)
    }

    /// Packets of a speaker dropped so far because their time cannot be right.
    pub(super) fn misplaced(&self, speaker: &Speaker) -> u64 {
        self.sources.get(speaker).map_or(0, |source| source.admission.dropped())
    }

    /// Packets so far whose format cannot be decoded.
    pub(super) fn undecoded(&self) -> u64 {
        self.undecoded_packets
    }

    /// What is still held back when nothing more comes.
    pub(super) fn drain(&mut self) -> Vec<Admitted> {
        let mut all = Vec::new();
        for (speaker, source) in &mut self.sources {
            let mut frames = Vec::new();
            source.decoder.finish(&mut frames);
            all.extend(source.judge(speaker, frames));
            let held = source.admission.finish();
            all.extend(held.map(|(timestamp, samples)| Admitted { timestamp, speaker: speaker.clone(), samples }));
        }
        all
    }

    /// Puts a packet in its place.
    pub(super) fn push(&mut self, clock: &Clock, packet: Admitted) {
        let Self { mix, participants, out, .. } = self;
        let mut participant = packet.speaker.as_ref().map(|user| participants.entry(user.clone()).or_default());
        let cut = clock.cut(packet.timestamp, &packet.samples, |pts, samples| {
            if let Some(Participant { sound, out, .. }) = &mut participant {
                sound.push(pts, samples, &mut |piece| append(out, piece));
            }
            let mut sink = |piece: Piece<'_>| append(out, piece);
            mix.push(packet.speaker.as_ref(), pts, samples, &mut sink);
        });
        self.paused_samples += cut as u64;
    }

    /// Whether there is any sound at all.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self.mix, MixTrack::Empty)
    }

    /// Where the last packet of any track ends: that of a participant may not be in the mix.
    pub(super) fn last_end(&self) -> Pts {
        let mix = match &self.mix {
            MixTrack::Empty => Pts(0),
            MixTrack::Zoom(sound) => sound.last_end(),
            MixTrack::Own(mix) => mix.last_end(),
        };
        self.participants.values().map(|participant| participant.sound.last_end()).fold(mix, Pts::max)
    }

    /// What is ready: of the mix, and of each participant.
    pub(super) fn take(&mut self) -> (Vec<Pcm>, Vec<(UserId, Vec<Pcm>)>) {
        let participants = self.participants.iter_mut().filter(|(_, participant)| !participant.out.is_empty());
        let participants = participants.map(|(user, participant)| (user.clone(), std::mem::take(&mut participant.out)));
        (std::mem::take(&mut self.out), participants.collect())
    }

    /// Fills all tracks up to `end`.
    pub(super) fn finish(mut self, end: Pts) -> Finished {
        let paused_ms = ms(self.paused_samples);
        let remarks = match &self.format {
            Err(what) if self.undecoded_packets > 0 => {
                vec![format!("Sound could not be decoded: {what}.")]
            }
            _ => Vec::new(),
        };
        let out = &mut self.out;
        let sink = &mut |piece: Piece<'_>| append(out, piece);
        let (mut tracks, mut repeated) = (Vec::new(), Vec::new());
        match self.mix {
            MixTrack::Empty => {}
            MixTrack::Zoom(sound) => {
                let summary = sound.finish(end, sink);
                repeated.extend(summary.repeated.iter().map(|span| again(&TrackKey::Mix, *span)));
                tracks.push(track(TrackKey::Mix, summary, paused_ms));
            }
            MixTrack::Own(mix) => {
                let summary = mix.finish(end, sink);
                let filled_ms: i64 = summary.gaps.iter().map(|gap| gap.ms()).sum();
                let counts = summary.counts;
                let track = TrackSummary {
                    track: TrackKey::Mix,
                    received_ms: ms(summary.length).saturating_sub(filled_ms.unsigned_abs()),
                    filled_ms: filled_ms.unsigned_abs(),
                    dropped_ms: ms(counts.late + counts.overlap + counts.bad_time),
                };
                tracks.push((track, summary.gaps));
            }
        }
        let mut participants = Vec::new();
        for (user, mut participant) in self.participants {
            let out = &mut participant.out;
            let summary = participant.sound.finish(end, &mut |piece| append(out, piece));
            let key = TrackKey::Participant(user.clone());
            repeated.extend(summary.repeated.iter().map(|span| again(&key, *span)));
            tracks.push(track(key, summary, 0));
            participants.push((user, participant.name, participant.out));
        }
        Finished { mix: self.out, participants, tracks, repeated, remarks }
    }
}

/// Tracks that have ended.
#[derive(Debug)]
pub(super) struct Finished {
    /// The rest of the mix.
    pub(super) mix: Vec<Pcm>,
    /// The rest of each participant's, with the name.
    pub(super) participants: Vec<(UserId, Option<String>, Vec<Pcm>)>,
    /// What each is made of, and where it has raw gaps.
    pub(super) tracks: Vec<(TrackSummary, Vec<Span>)>,
    pub(super) repeated: Vec<Repeated>,
    /// For the manifest, a sentence each.
    pub(super) remarks: Vec<String>,
}

impl Source {
    fn judge(&mut self, speaker: &Speaker, frames: Vec<AudioFrame>) -> Vec<Admitted> {
        let mut admitted = Vec::with_capacity(frames.len());
        for frame in frames {
            self.admission.push(frame.timestamp, frame.samples, &mut admitted);
        }
        let with_speaker = |(timestamp, samples)| Admitted { timestamp, speaker: speaker.clone(), samples };
        admitted.into_iter().map(with_speaker).collect()
    }
}

impl MixTrack {
    /// The first packet decides whether the mix is Zoom's or ours.
    fn push(&mut self, speaker: Option<&UserId>, pts: Pts, samples: &[i16], sink: &mut impl FnMut(Piece<'_>)) {
        if matches!(self, Self::Empty) {
            *self = match speaker {
                Some(_) => Self::Own(Mix::default()),
                None => Self::Zoom(Sound::default()),
            };
        }
        match (self, speaker) {
            (Self::Own(mix), Some(user)) => mix.push(user, pts, samples, sink),
            (Self::Zoom(sound), None) => sound.push(pts, samples, sink),
            // Zoom does not change from one to the other within a stream.
            _ => {}
        }
    }
}

/// The file format that the first packet of a speaker begins with, if it is a piece of a file: a test server of Zoom's passes on what
/// a browser has recorded.
fn container(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some("WebM"),
        [b'O', b'g', b'g', b'S', ..] => Some("Ogg"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some("MP4"),
        _ => None,
    }
}

fn track(key: TrackKey, summary: sound::Summary, paused_ms: u64) -> (TrackSummary, Vec<Span>) {
    let counts = summary.counts;
    let track = TrackSummary {
        track: key,
        received_ms: ms(counts.used + counts.inserted - counts.removed),
        filled_ms: ms(counts.filled),
        dropped_ms: ms(counts.overlap + counts.bad_time) + paused_ms,
    };
    (track, summary.gaps)
}

/// An entry of `timeline.json`.
pub(super) fn again(track: &TrackKey, span: Span) -> Repeated {
    Repeated { track: track.clone(), start_ms: span.start, end_ms: span.end }
}

fn ms(samples: u64) -> u64 {
    samples / SAMPLES_PER_MS.unsigned_abs()
}

fn append(out: &mut Vec<Pcm>, piece: Piece<'_>) {
    match (piece, out.last_mut()) {
        (Piece::Samples(samples), Some(Pcm::Samples(bytes))) => push_le(bytes, samples),
        (Piece::Samples(samples), _) => {
            let mut bytes = Vec::new();
            push_le(&mut bytes, samples);
            out.push(Pcm::Samples(bytes));
        }
        (Piece::Silence(count), Some(Pcm::Silence(more))) => *more += count,
        (Piece::Silence(count), _) => out.push(Pcm::Silence(count)),
    }
}

/// Appends samples as `s16le`; by whole slices, as every sample of every meeting goes through here.
fn push_le(bytes: &mut Vec<u8>, samples: &[i16]) {
    let start = bytes.len();
    bytes.resize(start + 2 * samples.len(), 0);
    for (to, sample) in bytes[start..].as_chunks_mut::<2>().0.iter_mut().zip(samples) {
        *to = sample.to_le_bytes();
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

/// The file that keeps a participant's samples until the end, when they are encoded: `s16le`, with holes in the file
/// for silence, so that it takes no more disk than was spoken.
pub(super) fn participant_file(work: &Path, user: &UserId) -> PathBuf {
    work.join(format!("participant-{}.pcm", path_safe(user.as_str())))
}

/// Appends to a participant's file. It is open for no longer than that: there may be hundreds.
pub(super) async fn append_to_file(path: &Path, pieces: &[Pcm]) -> Result<(), Error> {
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path)
        .await
        .map_err(Error::io("opening", path))?;
    let failed = |source| Error::io("writing", path)(source);
    let mut end = file.seek(SeekFrom::End(0)).await.map_err(failed)?;
    for piece in pieces {
        match piece {
            Pcm::Samples(bytes) => {
                file.write_all(bytes).await.map_err(failed)?;
                end += bytes.len() as u64;
            }
            Pcm::Silence(samples) => {
                end += samples * 2;
                file.flush().await.map_err(failed)?;
                file.set_len(end).await.map_err(failed)?;
                file.seek(SeekFrom::Start(end)).await.map_err(failed)?;
            }
        }
    }
    file.flush().await.map_err(failed)
}
