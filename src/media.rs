//! The words that stages exchange: times, packets, tracks and gaps. No behaviour beyond arithmetic.

#![deny(clippy::disallowed_methods)]

use crate::ids::UserId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The rate at which every sound track is kept, in Hz. Sound is counted in samples of this rate.
pub const SAMPLE_RATE: u32 = 16_000;

/// Samples of [`SAMPLE_RATE`] in a millisecond.
pub const SAMPLES_PER_MS: i64 = SAMPLE_RATE as i64 / 1000;

/// A packet's own time: milliseconds since the Unix epoch on Zoom's clock. Never the time of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// Presentation time: milliseconds since the zero of a recording's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pts(pub i64);

impl Timestamp {
    /// Milliseconds from `earlier` to `self`; negative if `earlier` is later.
    pub fn ms_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This time moved by `ms`.
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// One packet of 16-bit PCM, mono, at [`SAMPLE_RATE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioFrame {
    /// The time of the first sample.
    pub timestamp: Timestamp,
    /// The samples.
    pub samples: Vec<i16>,
}

/// How a picture is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PictureCodec {
    /// H.264 in Annex B framing.
    H264,
    /// A JPEG image.
    Jpg,
    /// A PNG image.
    Png,
}

/// One picture as received: an H.264 access unit (or a part of one), or an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// The time at which it is shown.
    pub timestamp: Timestamp,
    /// How `data` is coded.
    pub codec: PictureCodec,
    /// The coded bytes: Annex B with start codes, or a whole image file.
    pub data: Bytes,
}

/// One kind of media from one source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrackKey {
    /// The mixed sound.
    Mix,
    /// The sound of one participant.
    Participant(UserId),
    /// The camera pictures.
    Camera,
    /// The shared screen.
    Share,
}

impl fmt::Display for TrackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mix => f.write_str("audio"),
            Self::Participant(user) => write!(f, "audio/{user}"),
            Self::Camera => f.write_str("video"),
            Self::Share => f.write_str("share"),
        }
    }
}

impl Serialize for TrackKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A span of a track for which no media was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The track that lacks it.
    pub track: TrackKey,
    /// Where it starts.
    #[serde(rename = "start_ms")]
    pub start: Pts,
    /// Where it ends.
    #[serde(rename = "end_ms")]
    pub end: Pts,
    /// Why it is there.
    pub cause: GapCause,
}

/// Why media is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// Zoom sent nothing: muted, camera off, nobody sharing.
    NotSent,
    /// The session was paused by a user.
    Paused,
    /// A connection was down.
    Connection,
    /// Pictures arrived that nothing can be decoded from before the next key frame.
    NoKeyFrame,
    /// The spool could not take what arrived.
    Disk,
}

impl GapCause {
    /// Its name in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Paused => "paused",
            Self::Connection => "connection",
            Self::NoKeyFrame => "no_key_frame",
            Self::Disk => "disk",
        }
    }

    /// Whether a recording with such a gap is still `complete`: nothing that was sent is missing from it.
    pub fn is_complete(self) -> bool {
        matches!(self, Self::NotSent | Self::Paused)
    }
}
