//! A recorded journal as the script of a meeting: its media messages and events, moved to another time.
//!
//! A message is sent at its own timestamp, in the order of its arrival within its medium, byte for byte but for its
//! timestamps. The whole journal is held in memory, once for all meetings.

use super::Error;
use super::frames;
use crate::journal::read::{self, Body};
use crate::protocol::message::Medium;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A journal, ready to be played.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) media: BTreeMap<Medium, Vec<Item>>,
    /// `event` objects of message 6, with their media time.
    pub(super) events: Vec<(i64, Value)>,
    pub(super) length_ms: i64,
}

/// One message.
#[derive(Debug)]
pub(super) struct Item {
    /// When it is sent.
    pub(super) at_ms: i64,
    /// What its timestamp says; may be earlier than `at_ms` where Zoom sent something late.
    pub(super) timestamp_ms: i64,
    /// Bytes before base64.
    pub(super) length: usize,
    pub(super) key: bool,
    /// What a message of text says.
    pub(super) text: Option<String>,
    /// Text, each piece but the last followed by a timestamp.
    pieces: Vec<(String, Option<i64>)>,
}

impl Item {
    /// Appends the message as it is sent in a stream that began at `epoch_ms`.
    pub(super) fn write(&self, epoch_ms: i64, out: &mut String) {
        for (text, timestamp) in &self.pieces {
            out.push_str(text);
            if let Some(ms) = timestamp {
                out.push_str(&(epoch_ms + ms).to_string());
            }
        }
    }
}

struct Entry {
    t: i64,
    message: Value,
}

/// Stands where a timestamp goes, until the message has been made into text.
const MARK: &str = "\u{1}ts:";

impl Replay {
    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let entries = entries(dir)?;
        let media_times = || entries.iter().filter_map(|e| medium_of(&e.message).and_then(|_| own_time(&e.message)));
        let (Some(zero_ms), Some(first_t)) = (media_times().min(), entries.first().map(|e| e.t)) else {
            return Err(Error::Journal { path: dir.to_owned(), what: "it holds no media messages".into() });
        };
        let mut replay = Self::default();
        for Entry { t, message } in entries {
            let timestamp_ms = own_time(&message).unwrap_or(zero_ms + t - first_t) - zero_ms;
            if let Some(medium) = medium_of(&message) {
                let items = replay.media.entry(medium).or_default();
                let at_ms = items.last().map_or(0, |last| last.at_ms).max(timestamp_ms);
                items.push(item(medium, message, at_ms, timestamp_ms, zero_ms));
                replay.length_ms = replay.length_ms.max(at_ms + 100);
            } else if message["msg_type"] == 6 && message["event"]["event_type"] != 1 {
                replay.events.push((timestamp_ms.max(0), message["event"].clone()));
            }
        }
        replay.events.sort_by_key(|(at, _)| *at);
        Ok(replay)
    }
}

fn medium_of(message: &Value) -> Option<Medium> {
    Medium::of_msg_type(message["msg_type"].as_i64()?)
}

/// The message's own timestamp, if it has one in milliseconds.
fn own_time(message: &Value) -> Option<i64> {
    ["content", "event"].iter().find_map(|part| as_ms(&message[part]["timestamp"]))
}

fn as_ms(value: &Value) -> Option<i64> {
    let ms = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
    (ms > 100_000_000_000).then_some(ms)
}

fn item(medium: Medium, mut message: Value, at_ms: i64, timestamp_ms: i64, zero_ms: i64) -> Item {
    let data = message["content"].as_str().or_else(|| message["content"]["data"].as_str());
    let (mut length, mut key, mut text) = (0, false, None);
    if let Some(data) = data {
        if matches!(medium, Medium::Transcript | Medium::Chat) {
            text = Some(data.to_owned());
            length = data.len();
        } else if let Ok(bytes) = base64_simd::STANDARD.decode_to_vec(data) {
            length = bytes.len();
            let is_image = bytes.starts_with(&[0xff, 0xd8]) || bytes.starts_with(b"\x89PNG");
            key = is_image || frames::access_units(&bytes).iter().any(|f| f.key);
        }
    }
    for field in ["timestamp", "start_time", "end_time"] {
        if let Some(ms) = as_ms(&message["content"][field]) {
            message["content"][field] = Value::from(format!("{MARK}{}\u{1}", ms - zero_ms));
        }
    }
    Item { at_ms, timestamp_ms, length, key, text, pieces: pieces(&message.to_string()) }
}

fn pieces(json: &str) -> Vec<(String, Option<i64>)> {
    let mut pieces = Vec::new();
    let mut rest = json;
    while let Some((before, behind)) = rest.split_once(r#""\u0001ts:"#) {
        let Some((number, after)) = behind.split_once(r#"\u0001""#) else {
            break;
        };
        pieces.push((before.to_owned(), number.parse().ok()));
        rest = after;
    }
    pieces.push((rest.to_owned(), None));
    pieces
}

fn entries(dir: &Path) -> Result<Vec<Entry>, Error> {
    let failed = |path: &Path, what: String| Error::Journal { path: path.to_owned(), what };
    let mut entries = Vec::new();
    for chunk in read::chunks(dir).map_err(|e| failed(dir, chained(&e)))? {
        let bytes = chunk.read().map_err(|e| failed(&chunk.path, chained(&e)))?;
        for line in read::lines(&bytes, chunk.open) {
            let line = line.map_err(|e| failed(&chunk.path, e.to_string()))?;
            let message = match &line.body {
                Body::Json(message) => {
                    serde_json::from_slice(message).map_err(|e| failed(&chunk.path, e.to_string()))?
                }
                Body::Raw(_) => continue,
            };
            entries.push(Entry { t: line.t, message });
        }
    }
    Ok(entries)
}

fn chained(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_moved_to_another_time() {
        let dir = tempfile::tempdir().unwrap();
        let audio = |t: i64, data: &str| {
            format!(
                r#"{{"t":{},"c":"audio","m":{{"msg_type":14,"content":{{"data":"{data}","timestamp":{t}}}}}}}"#,
                t + 30
            )
        };
        let first = 1_754_042_400_000;
        let lines = [
            format!(
                r#"{{"t":{first},"c":"signaling","m":{{"msg_type":6,"event":{{"event_type":3,"timestamp":{first}}}}}}}"#
            ),
            audio(first + 100, "AAAA"),
            r#"{"t":1754042400150,"c":"audio","raw":"AAAA"}"#.into(),
            audio(first + 200, "AAAAAAAA"),
            r#"{"t":17540424"#.into(),
        ];
        std::fs::write(dir.path().join("00000001.ndjson.open"), lines.join("\n")).unwrap();
        let replay = Replay::read(dir.path()).unwrap();
        let items = &replay.media[&Medium::Audio];
        assert_eq!(items.iter().map(|i| (i.at_ms, i.length)).collect::<Vec<_>>(), [(0, 3), (100, 6)]);
        assert_eq!(replay.events.len(), 1);
        let mut out = String::new();
        items[1].write(2_000_000_000_000, &mut out);
        let sent: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(sent["content"]["timestamp"], 2_000_000_000_100_i64);
        assert_eq!(sent["content"]["data"], "AAAAAAAA");
    }

    #[test]
    fn a_directory_without_media_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Replay::read(dir.path()).is_err());
        assert!(Replay::read(&dir.path().join("none")).is_err());
    }
}
