//! `manifest.json`: what was recorded, where it is, and what is missing from it.
//!
//! The manifest is the commit of a recording. Invariants: every object that it lists is in the bucket with that size
//! and SHA-256 (the writer's duty: `store::uploader`); the same manifest has the same bytes, always; only a deletion
//! manifest ([`Manifest::into_deleted`]) may replace one. `manifest.schema.json` beside this file describes version 1
//! as a JSON Schema; readers ignore fields that they do not know.

use super::time::{rfc3339, rfc3339_option};
use super::{Folder, Object, StopReason};
use crate::ids::{Product, RecordingId, StreamId, UserId};
use crate::media::{Gap, GapCause, Pts, Timestamp, TrackKey};
use serde::{Deserialize, Deserializer, Serialize};

/// The version of the format that is written.
pub const SCHEMA_VERSION: u32 = 1;

/// The format as a JSON Schema (draft 2020-12).
pub const SCHEMA: &str = include_str!("manifest.schema.json");

/// The content of `manifest.json`. Times are by Zoom's clock, in UTC with milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What wrote it.
    pub recorder: Recorder,
    /// The recording.
    pub recording_id: RecordingId,
    /// The stream.
    pub stream_id: StreamId,
    /// What was streamed.
    pub product: Product,
    /// What it belongs to, as far as Zoom said so.
    #[serde(flatten)]
    pub ids: Ids,
    /// The regions of the servers that streamed it, in order, as far as their names tell: `iad`, `sjc` and so on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// The recording of the same stream that was published before this one began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<RecordingId>,
    /// The recording of the same meeting that this one goes on from: its stream ended in trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Neighbour>,
    /// The recording of the same meeting that goes on from this one, whose stream ended in trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continued_by: Option<Neighbour>,
    /// When the stream started, by its start event.
    #[serde(with = "rfc3339")]
    pub started_at: Timestamp,
    /// The wall-clock time of the timeline's zero; none if no media came.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339_option")]
    pub zero_at: Option<Timestamp>,
    /// When the stream ended; none if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "rfc3339_option")]
    pub ended_at: Option<Timestamp>,
    /// The length of the timeline in milliseconds.
    pub duration_ms: u64,
    /// Why the stream stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
    /// Whether everything that Zoom sent is in the objects.
    pub complete: bool,
    /// Why not, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incomplete_because: Vec<String>,
    /// The objects, without the manifest itself.
    pub objects: Vec<StoredObject>,
    /// The tracks and what they are made of.
    pub tracks: Vec<TrackSummary>,
    /// Where media is missing and why.
    #[serde(deserialize_with = "gaps")]
    pub gaps: Vec<Gap>,
    /// What was counted.
    pub counters: Counters,
    /// Remarks for whoever reads it, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Set if the recording was deleted; then there are no objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deleted>,
}

/// Another recording of the same meeting. It may not be published yet, or never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its stream.
    pub stream_id: StreamId,
    /// The recording.
    pub recording_id: RecordingId,
    /// Its folder, relative to the storage URL.
    pub folder: Folder,
}

/// The program that made a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorder {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Recorder {
    /// This program.
    pub fn this() -> Self {
        Self { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// The ids of what a stream belongs to, as Zoom sent them. Which of them exist depends on the product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// The UUID of the meeting or webinar instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meeting_uuid: Option<String>,
    /// The number of the meeting or webinar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meeting_id: Option<String>,
    /// The Video SDK session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The customer's own id of a Video SDK session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<String>,
    /// The Contact Center engagement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engagement_id: Option<String>,
    /// The Zoom Phone call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// The Zoom account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The user who had the stream started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_id: Option<String>,
}

/// An object in the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// Its name within the folder, as [`Object::name`] says.
    pub name: String,
    /// Its key, relative to the storage URL.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its SHA-256, 64 lower-case hex digits.
    pub sha256: String,
    /// Its content type.
    pub content_type: String,
    /// How long it plays, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// How its media is coded, as RFC 6381 writes it (`avc1.64001f,mp4a.40.2`) or by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
}

/// How much of a track came from Zoom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackSummary {
    /// The track.
    #[serde(deserialize_with = "track")]
    pub track: TrackKey,
    /// Media from Zoom, in milliseconds.
    pub received_ms: u64,
    /// Silence, slate or held pictures in its place, in milliseconds.
    pub filled_ms: u64,
    /// Media from Zoom that is not in the track: sent twice or not decodable, in milliseconds.
    pub dropped_ms: u64,
}

/// What was counted while recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Messages from Zoom.
    pub messages: u64,
    /// Those of them that could not be read. They are in the journal.
    pub unparsed_messages: u64,
    /// Connections that came about, of all kinds.
    pub connections: u64,
}

/// That a recording was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// When.
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    /// Why, in a sentence.
    pub because: String,
}

impl Manifest {
    /// The file's content: fields in the order above, two blanks of indent, a newline at the end.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a manifest has only string keys and no failing types");
        json.push(b'\n');
        json
    }

    /// Reads a manifest of this or a compatible version.
    ///
    /// # Errors
    /// If it is not JSON or lacks what version 1 requires.
    pub fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }

    /// The manifest that stays when a recording is deleted: which one it was and when, and nothing of what was in it.
    pub fn into_deleted(self, at: Timestamp, because: impl Into<String>) -> Self {
        Self {
            complete: false,
            incomplete_because: Vec::new(),
            objects: Vec::new(),
            tracks: Vec::new(),
            gaps: Vec::new(),
            notes: Vec::new(),
            deleted: Some(Deleted { at, because: because.into() }),
            ..self
        }
    }

    /// The entry of `object`, if the manifest lists it.
    pub fn object(&self, object: &Object) -> Option<&StoredObject> {
        let name = object.name();
        self.objects.iter().find(|o| o.name == name)
    }
}

fn track_key(text: &str) -> Option<TrackKey> {
    Some(match text {
        "audio" => TrackKey::Mix,
        "video" => TrackKey::Camera,
        "share" => TrackKey::Share,
        _ => TrackKey::Participant(UserId::new(text.strip_prefix("audio/")?)),
    })
}

fn track<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TrackKey, D::Error> {
    let text = String::deserialize(deserializer)?;
    track_key(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a track")))
}

fn gaps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Gap>, D::Error> {
    #[derive(Deserialize)]
    struct Read {
        #[serde(deserialize_with = "track")]
        track: TrackKey,
        start_ms: Pts,
        end_ms: Pts,
        cause: GapCause,
    }
    let gaps = Vec::<Read>::deserialize(deserializer)?;
    Ok(gaps
        .into_iter()
        .map(|gap| Gap { track: gap.track, start: gap.start_ms, end: gap.end_ms, cause: gap.cause })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{StopReason, StopSource};
    use serde_json::{Value, json};

    fn example() -> Manifest {
        let stream = StreamId::new("0123456789abcdef0123456789abcdef");
        let folder = "2026/11/20/093000Z-85746065432-01234567";
        let stored = |object: Object, size_bytes, codec: &str| StoredObject {
            name: object.name(),
            key: format!("{folder}/{object}"),
            size_bytes,
            sha256: "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9".to_owned(),
            content_type: object.content_type().to_owned(),
            duration_ms: Some(3_599_960),
            codec: Some(codec.to_owned()),
        };
        let gap = |track, start, end, cause| Gap { track, start: Pts(start), end: Pts(end), cause };
        Manifest {
            schema_version: SCHEMA_VERSION,
            recorder: Recorder { name: "rtms-recorder".to_owned(), version: "0.1.0".to_owned() },
            recording_id: RecordingId::new(&stream, 1),
            stream_id: stream,
            product: Product::Meeting,
            ids: Ids {
                meeting_uuid: Some("Ab+/cdEFghIJklMNopQRst==".to_owned()),
                meeting_id: Some("85746065432".to_owned()),
                operator_id: Some("opAbC123".to_owned()),
                ..Ids::default()
            },
            regions: vec!["iad".to_owned()],
            previous: None,
            continues: Some(Neighbour {
                stream_id: StreamId::new("fedcba9876543210fedcba9876543210"),
                recording_id: RecordingId::new(&StreamId::new("fedcba9876543210fedcba9876543210"), 1),
                folder: Folder::try_from("2026/11/20/092500Z-85746065432-fedcba98".to_owned()).expect("a folder"),
            }),
            continued_by: None,
            started_at: Timestamp(1_795_167_000_123),
            zero_at: Some(Timestamp(1_795_167_002_040)),
            ended_at: Some(Timestamp(1_795_170_602_000)),
            duration_ms: 3_599_960,
            stop_reason: Some(StopReason::new(Some(6), StopSource::Event)),
            complete: false,
            incomplete_because: vec!["The connection was down for 1.5 s.".to_owned()],
            objects: vec![
                stored(Object::Recording, 1_100_000_000, "avc1.64001f,mp4a.40.2"),
                stored(Object::Audio, 28_800_000, "mp4a.40.2"),
            ],
            tracks: vec![TrackSummary {
                track: TrackKey::Mix,
                received_ms: 3_598_460,
                filled_ms: 1_500,
                dropped_ms: 0,
            }],
            gaps: vec![
                gap(TrackKey::Mix, 60_000, 61_500, GapCause::Connection),
                gap(TrackKey::Participant(UserId::new("16778240")), 0, 4_000, GapCause::NotSent),
                gap(TrackKey::Camera, 60_000, 61_500, GapCause::NoKeyFrame),
                gap(TrackKey::Share, 0, 10, GapCause::Disk),
            ],
            counters: Counters { messages: 267_000, unparsed_messages: 1, connections: 3 },
            notes: vec!["1 message could not be read.".to_owned()],
            deleted: None,
        }
    }

    fn check(json: &[u8]) -> Result<(), String> {
        crate::output::schema::check(SCHEMA, json)
    }

    #[test]
    fn the_example_reads_as_it_always_did() {
        insta::assert_snapshot!(String::from_utf8(example().to_json()).expect("UTF-8"));
    }

    #[test]
    fn manifests_survive_a_round_trip_byte_for_byte() {
        for manifest in [example(), example().into_deleted(Timestamp(1_795_170_700_000), "Consent was withdrawn.")] {
            let json = manifest.to_json();
            let read = Manifest::from_json(&json).unwrap();
            assert_eq!(read, manifest);
            assert_eq!(read.to_json(), json);
        }
    }

    #[test]
    fn manifests_follow_the_schema() {
        check(&example().to_json()).unwrap();
        let deleted = example().into_deleted(Timestamp(1_795_170_700_000), "Consent was withdrawn.");
        check(&deleted.to_json()).unwrap();
        let mut bare = example();
        (bare.zero_at, bare.ended_at, bare.stop_reason) = (None, None, None);
        bare.objects.iter_mut().for_each(|o| (o.duration_ms, o.codec) = (None, None));
        check(&bare.to_json()).unwrap();
    }

    /// A field that is missing, misspelt or of the wrong kind: the schema has teeth.
    #[test]
    fn the_schema_refuses_what_is_not_a_manifest() {
        let example: Value = serde_json::from_slice(&example().to_json()).unwrap();
        let with = |path: &str, value: Value| {
            let mut changed = example.clone();
            *changed.pointer_mut(path).expect("the example has it") = value;
            check(&serde_json::to_vec(&changed).unwrap())
        };
        for (path, value) in [
            ("/schema_version", json!(2)),
            ("/product", json!("cinema")),
            ("/started_at", json!("yesterday")),
            ("/duration_ms", json!(-1)),
            ("/objects/0/sha256", json!("ABC")),
            ("/objects/0/size_bytes", json!("12")),
            ("/gaps/0/cause", json!("aliens")),
            ("/gaps/0/track", json!("smell")),
            ("/stop_reason", json!({ "code": 6 })),
            ("/deleted", json!({ "at": "2026-11-20T09:30:00.000Z", "because": "Consent was withdrawn." })),
        ] {
            if path == "/deleted" {
                let mut changed = example.clone();
                changed["deleted"] = value;
                assert!(check(&serde_json::to_vec(&changed).unwrap()).is_err(), "deleted, but has objects");
            } else {
                assert!(with(path, value).is_err(), "{path}");
            }
        }
        for field in example.as_object().unwrap().keys() {
            let mut changed = example.clone();
            changed.as_object_mut().unwrap().remove(field);
            let optional = ["meeting_uuid", "meeting_id", "operator_id", "zero_at", "ended_at", "stop_reason"]
                .contains(&field.as_str())
                || ["incomplete_because", "notes", "continues", "regions"].contains(&field.as_str());
            let (schema, parsed) = (
                check(&serde_json::to_vec(&changed).unwrap()).is_ok(),
                Manifest::from_json(&serde_json::to_vec(&changed).unwrap()).is_ok(),
            );
            assert_eq!((schema, parsed), (optional, optional), "{field}");
        }
    }

    #[test]
    fn a_deletion_manifest_keeps_nothing_of_the_content() {
        let deleted = example().into_deleted(Timestamp(1_795_170_700_000), "Consent was withdrawn.");
        assert!(deleted.objects.is_empty() && deleted.tracks.is_empty() && deleted.gaps.is_empty());
        assert!(deleted.notes.is_empty() && !deleted.complete);
        assert_eq!(deleted.recording_id, example().recording_id);
        assert_eq!(example().object(&Object::Audio).map(|o| o.size_bytes), Some(28_800_000));
    }
}
