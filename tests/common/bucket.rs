//! What a recorder leaves in its bucket, read back and held to its own words.

use super::measure;
use futures_util::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{Attribute, ObjectStore, ObjectStoreExt};
use rtms_recorder::output::{Manifest, chat, manifest, timeline, transcript};
use rtms_recorder::simulator::MeetingSummary;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// Where recordings end up.
pub(crate) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) prefix: String,
}

impl Bucket {
    /// All keys, relative to the storage URL, in order.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let all: Vec<_> = self.store.list(None).try_collect().await.expect("a listing");
        let mut keys: Vec<String> = all
            .iter()
            .map(|object| {
                let key = object.location.as_ref();
                key.strip_prefix(&self.prefix).unwrap_or_else(|| panic!("{key} is outside of the prefix")).to_owned()
            })
            .collect();
        keys.sort();
        keys
    }

    pub(crate) async fn read(&self, key: &str) -> Vec<u8> {
        let key = Key::parse(format!("{}{key}", self.prefix)).expect("a key");
        let found = self.store.get(&key).await.unwrap_or_else(|err| panic!("{key}: {err}"));
        found.bytes().await.expect("the object").to_vec()
    }

    pub(crate) async fn content_type(&self, key: &str) -> Option<String> {
        let key = Key::parse(format!("{}{key}", self.prefix)).expect("a key");
        let found = self.store.get(&key).await.expect("the object");
        found.attributes.get(&Attribute::ContentType).map(|value| value.as_ref().to_owned())
    }

    /// All recordings, each checked against its manifest: see [`Recording::check`].
    pub(crate) async fn recordings(&self) -> Vec<Recording> {
        let keys = self.keys().await;
        let mut recordings = Vec::new();
        let mut listed = Vec::new();
        for key in keys.iter().filter(|key| key.ends_with("/manifest.json")) {
            let json = self.read(key).await;
            let manifest = Manifest::from_json(&json).expect("a manifest");
            let files = tempfile::tempdir().expect("a directory");
            listed.push(key.clone());
            for object in &manifest.objects {
                let bytes = self.read(&object.key).await;
                assert_eq!(bytes.len() as u64, object.size_bytes, "{}", object.key);
                assert_eq!(sha256(&bytes), object.sha256, "{}", object.key);
                let file = files.path().join(&object.name);
                std::fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
                std::fs::write(file, bytes).expect("a file");
                listed.push(object.key.clone());
            }
            check_schema(manifest::SCHEMA, &json);
            for (name, schema) in [
                ("timeline.json", timeline::SCHEMA),
                ("transcript.json", transcript::SCHEMA),
                ("chat.json", chat::SCHEMA),
            ] {
                if let Ok(json) = std::fs::read(files.path().join(name)) {
                    check_schema(schema, &json);
                }
            }
            recordings.push(Recording { manifest, json, files });
        }
        listed.sort();
        assert_eq!(keys, listed, "what is in the bucket, and what the manifests say");
        recordings
    }

    /// The only recording.
    pub(crate) async fn recording(&self) -> Recording {
        let mut recordings = self.recordings().await;
        assert_eq!(recordings.len(), 1, "{:?}", self.keys().await);
        recordings.remove(0)
    }
}

/// A recording as it was found in a bucket: sizes and hashes are those of its manifest, which follows its schema.
pub(crate) struct Recording {
    pub(crate) manifest: Manifest,
    pub(crate) json: Vec<u8>,
    files: TempDir,
}

impl Recording {
    /// A copy of an object.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let path = self.files.path().join(name);
        assert!(path.exists(), "there is no {name}: {:#?}", self.manifest);
        path
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.manifest.objects.iter().map(|object| object.name.as_str()).collect()
    }

    /// Media time of the simulator on this recording's timeline.
    pub(crate) fn on_timeline(&self, unix_ms: &[i64]) -> Vec<f64> {
        let zero = self.manifest.zero_at.expect("there are media").0;
        unix_ms.iter().map(|ms| (ms - zero) as f64).collect()
    }

    /// The gaps of a track as `(start_ms, end_ms, cause)`.
    pub(crate) fn gaps(&self, track: &str) -> Vec<(i64, i64, String)> {
        let json: Value = serde_json::from_slice(&self.json).expect("JSON");
        let gaps = json["gaps"].as_array().expect("gaps").iter().filter(|gap| gap["track"] == track);
        gaps.map(|gap| {
            let ms = |key: &str| gap[key].as_i64().expect("a time");
            (ms("start_ms"), ms("end_ms"), gap["cause"].as_str().expect("a cause").to_owned())
        })
        .collect()
    }

    /// `received_ms`, `filled_ms` and `dropped_ms` of a track.
    pub(crate) fn track(&self, track: &str) -> (i64, i64, i64) {
        let json: Value = serde_json::from_slice(&self.json).expect("JSON");
        let mut tracks = json["tracks"].as_array().expect("tracks").iter();
        let found = tracks.find(|t| t["track"] == track).unwrap_or_else(|| panic!("no track {track}: {json:#}"));
        let ms = |key: &str| found[key].as_i64().expect("a count");
        (ms("received_ms"), ms("filled_ms"), ms("dropped_ms"))
    }

    /// Measures sound and picture of `recording.mp4`, and the sound of `audio.m4a`, against what was sent: every mark
    /// within 40 ms of its place, none missing, none extra, and both at once where they were sent at once.
    pub(crate) fn check_marks(&self, sent: &MeetingSummary) {
        let beeps = self.on_timeline(&sent.beeps_ms);
        let flashes = self.on_timeline(&sent.flashes_ms);
        assert!(!beeps.is_empty(), "nothing to be measured: {sent}");
        measure::same("beeps in audio.m4a", &measure::beeps(&self.file("audio.m4a")), &beeps);
        if flashes.is_empty() {
            return;
        }
        let video = self.file("recording.mp4");
        let (heard, seen) = (measure::beeps(&video), measure::flashes(&video));
        measure::same("beeps in recording.mp4", &heard, &beeps);
        measure::same("flashes in recording.mp4", &seen, &flashes);
        let mut pairs = 0;
        for (beep, heard) in beeps.iter().zip(&heard) {
            for (flash, seen) in flashes.iter().zip(&seen) {
                if (beep - flash).abs() <= 30.0 {
                    let off = (heard - beep) - (seen - flash);
                    assert!(off.abs() <= measure::TOLERANCE_MS, "sound is {off} ms behind the picture at {beep} ms");
                    pairs += 1;
                }
            }
        }
        assert!(pairs > 0, "no beep came with a flash");
    }

    /// Checks the shape of every file: its length is the timeline's within 80 ms, sound starts at 0, times grow, the
    /// index is in front of the media.
    pub(crate) fn check_files(&self) {
        let expected = self.manifest.duration_ms as f64;
        for name in self.names().into_iter().filter(|name| name.ends_with(".mp4") || name.ends_with(".m4a")) {
            let file = self.file(name);
            for stream in measure::streams(&file) {
                let what = format!("{name} {}", stream.kind);
                assert!(stream.start_ms.abs() < 2.0, "{what} starts at {} ms", stream.start_ms);
                let off = stream.duration_ms - expected;
                assert!(off.abs() <= 80.0, "{what} is {} ms long, not {expected}", stream.duration_ms);
                let times = measure::packet_times(&file, &stream.kind);
                assert!(times.is_sorted_by(|a, b| a < b), "{what}: times do not grow");
            }
        }
        if self.names().contains(&"recording.mp4") {
            let boxes = measure::boxes(&self.file("recording.mp4"));
            let at =
                |kind: &str| boxes.iter().position(|b| b == kind).unwrap_or_else(|| panic!("no {kind}: {boxes:?}"));
            assert!(at("moov") < at("mdat"), "the index is behind the media: {boxes:?}");
        }
        for track in &self.manifest.tracks {
            let sum = (track.received_ms + track.filled_ms) as f64;
            assert!((sum - expected).abs() <= 80.0, "received and filled do not make {expected} ms: {track:?}");
        }
        self.check_timeline();
    }

    /// Checks that `timeline.json` says what the manifest says, and that its fillers make up the gaps of pictures.
    fn check_timeline(&self) {
        let manifest: Value = serde_json::from_slice(&self.json).expect("JSON");
        let bytes = std::fs::read(self.file("timeline.json")).expect("timeline.json");
        let timeline: Value = serde_json::from_slice(&bytes).expect("JSON");
        for same in ["duration_ms", "zero_at", "gaps", "tracks"] {
            assert_eq!(timeline[same], manifest[same], "{same}");
        }
        let length =
            |item: &Value| item["end_ms"].as_i64().expect("end_ms") - item["start_ms"].as_i64().expect("start_ms");
        for track in ["video", "share"] {
            let sum = |list: &str| {
                let items = timeline[list].as_array().expect("a list");
                items.iter().filter(|item| item["track"] == track).map(length).sum::<i64>()
            };
            assert_eq!(sum("filled"), sum("gaps"), "{track}: {timeline:#}");
        }
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn check_schema(schema: &str, json: &[u8]) {
    let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
    let instance: Value = serde_json::from_slice(json).expect("JSON");
    let mut compiler = boon::Compiler::new();
    compiler.enable_format_assertions();
    let url = "https://example.com/schema.json";
    compiler.add_resource(url, schema).expect("a resource");
    let mut schemas = boon::Schemas::new();
    let index = compiler.compile(url, &mut schemas).expect("a schema");
    schemas.validate(&instance, index).unwrap_or_else(|err| panic!("{err}\n{instance:#}"));
}
