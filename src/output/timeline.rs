//! `timeline.json`: what happened when, on the recording's timeline and by the clock: who was there, what was
//! filled, held, cut, dropped and encoded anew, and what became of the connections.
//!
//! Times ending in `_ms` count from the recording's zero; `at`, `from` and `until` are by Zoom's clock.

use super::manifest::TrackSummary;
use super::people::People;
use super::time::{rfc3339, rfc3339_option};
use crate::media::{Gap, Pts, Timestamp, TrackKey};
use serde::Serialize;

/// The version of the format that is written.
pub const SCHEMA_VERSION: u32 = 1;

/// The format as a JSON Schema (draft 2020-12).
pub const SCHEMA: &str = include_str!("timeline.schema.json");

/// The content of `timeline.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The wall-clock time of zero; none if nothing came that has a time.
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339_option")]
    pub zero_at: Option<Timestamp>,
    /// The length of every track, in milliseconds.
    pub duration_ms: u64,
    /// Who was there and what they did.
    #[serde(flatten)]
    pub people: People,
    /// What each track is made of. `received_ms` and `filled_ms` add up to the length.
    pub tracks: Vec<TrackSummary>,
    /// Where media is missing and why; the same as in the manifest.
    pub gaps: Vec<Gap>,
    /// What stands in for missing pictures. Sound is filled with silence, throughout.
    pub filled: Vec<Filled>,
    /// Which pictures were encoded anew; all others are bit for bit what Zoom sent.
    pub encoded: Vec<Encoded>,
    /// What came again, or when the track had gone past it, and was dropped.
    pub repeated: Vec<Repeated>,
    /// What came and could not be used, and when.
    pub unusable: Vec<Unusable>,
    /// How many pictures are not in a track.
    pub dropped: Vec<Dropped>,
    /// When a user paused the stream.
    pub pauses: Vec<Pause>,
    /// Connections as they came and went.
    pub connections: Vec<Connection>,
}

/// A stretch of a picture track without pictures of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// The track.
    pub track: TrackKey,
    /// Where it starts.
    pub start_ms: Pts,
    /// Where it ends.
    pub end_ms: Pts,
    /// What is seen there.
    pub with: Filler,
}

/// What is seen where there are no pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Filler {
    /// Black.
    Slate,
    /// The last picture.
    Held,
}

/// A stretch of a picture track that was encoded anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Encoded {
    /// The track.
    pub track: TrackKey,
    /// Where it starts.
    pub start_ms: Pts,
    /// Where it ends.
    pub end_ms: Pts,
}

/// A stretch of media that a track had already gone past when it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repeated {
    /// The track.
    pub track: TrackKey,
    /// Where it starts.
    pub start_ms: Pts,
    /// Where it ends.
    pub end_ms: Pts,
}

/// Packets that came and could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unusable {
    /// The track that they were for.
    pub track: TrackKey,
    /// From here: by their own time, or by when they came if that is what is wrong.
    pub start_ms: Pts,
    /// Until here.
    pub end_ms: Pts,
    /// Why.
    pub why: Why,
    /// How many.
    pub packets: u64,
}

/// Why a packet could not be used. It is in the journal all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its time cannot be right.
    BadTime,
    /// It cannot be decoded.
    Undecodable,
}

/// How many pictures of a track were dropped, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The track.
    pub track: TrackKey,
    /// Came before the key frame that they refer to.
    pub no_key_frame: u64,
    /// Came when the track had gone past them.
    pub late: u64,
    /// Had a time that cannot be right.
    pub bad_time: u64,
    /// Came during a pause that is cut out.
    pub paused: u64,
    /// Could not be decoded to be encoded anew.
    pub undecodable: u64,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// Where it starts.
    pub start_ms: Pts,
    /// Where it ends: where it starts, if it was cut out.
    pub end_ms: Pts,
    /// When it began.
    #[serde(with = "rfc3339")]
    pub from: Timestamp,
    /// When it was over; none if it lasted to the end.
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339_option")]
    pub until: Option<Timestamp>,
}

/// Something that happened to a connection. Its time is the recorder's, moved by the distance of the clocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// Where it happened; before the first packet it is negative.
    pub at_ms: Pts,
    /// When it happened.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// `signaling`, `audio`, `video` and so on.
    pub connection: String,
    /// What happened.
    pub event: ConnectionEvent,
    /// What was seen of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionEvent {
    /// Its handshake was accepted.
    Connected,
    /// It is gone.
    Lost,
    /// An attempt failed.
    Refused,
}

impl Timeline {
    /// The file's content.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a timeline has only string keys and no failing types");
        json.push(b'\n');
        json
    }
}
