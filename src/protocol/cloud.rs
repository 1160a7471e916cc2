//! Zoom's own cloud recordings, as `recording.completed` and `recording.transcript_completed` tell of them.
//!
//! Zoom gives such an event no id, and delivers it more than once with other addresses and another token, so it is known by
//! the meeting's UUID and the ids of its files alone. Addresses and token let anyone have the files: they are not shown.

use super::event::{Error, Payload};
use crate::ids::{MeetingId, Product};
use crate::secret::Secret;
use serde_json::Value;
use std::collections::HashSet;

/// A cloud recording, or the files of it that are ready.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudRecording {
    /// The meeting instance.
    pub uuid: MeetingId,
    /// Meeting or webinar.
    pub product: Product,
    /// Its number.
    pub number: Option<String>,
    /// The account.
    pub account_id: Option<String>,
    /// The host.
    pub host_id: Option<String>,
    /// What it was called.
    pub topic: Option<String>,
    /// When the meeting started, in Unix ms.
    pub started_ms: i64,
    /// The files; no two of them have the same id.
    pub files: Vec<CloudFile>,
    /// What the files may be fetched with, for a day.
    pub download_token: Option<Secret>,
}

/// A file of a cloud recording.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudFile {
    /// Zoom's id of it; made of its kind and time where Zoom gives none.
    pub id: String,
    /// `MP4`, `M4A`, `TRANSCRIPT`, `CHAT`, `TIMELINE`, ...: an open list.
    pub file_type: String,
    /// `shared_screen_with_speaker_view`, `audio_only`, ...: an open list.
    pub recording_type: Option<String>,
    /// How its name ends: `mp4`, `vtt`, ...
    pub extension: String,
    /// Its size, if Zoom says it.
    pub size_bytes: Option<u64>,
    /// When it starts, in Unix ms.
    pub start_ms: Option<i64>,
    /// When it ends, in Unix ms.
    pub end_ms: Option<i64>,
    /// Where it is.
    pub url: Option<Secret>,
    /// Whose sound it is, in Zoom's words, if it is of a single participant.
    pub participant: Option<String>,
}

/// Whether events of this name are about cloud recordings that are ready.
pub(super) fn is_event(name: &str) -> bool {
    matches!(name, "recording.completed" | "recording.transcript_completed")
}

/// Zoom's numbers for webinars of all kinds.
const WEBINARS: [i64; 3] = [5, 6, 9];

pub(super) fn parse(body: &Value, payload: &Payload<'_>, event_ts: i64) -> Result<CloudRecording, Error> {
    let uuid = MeetingId::new(payload.required("uuid")?);
    let list = |key: &str| payload.find(&[key]).and_then(Value::as_array).into_iter().flatten();
    let mut seen = HashSet::new();
    let files: Vec<CloudFile> = list("recording_files")
        .map(|file| (file, false))
        .chain(list("participant_audio_files").map(|file| (file, true)))
        .filter_map(|(file, of_participant)| CloudFile::read(file, of_participant))
        .filter(|file| seen.insert(file.id.clone()))
        .collect();
    let is_webinar =
        payload.find(&["type"]).and_then(super::tolerant::as_int).is_some_and(|kind| WEBINARS.contains(&kind));
    let first = files.iter().filter_map(|file| file.start_ms).min();
    let started = payload.text("start_time").and_then(|text| time_ms(&text));
    Ok(CloudRecording {
        uuid,
        product: if is_webinar { Product::Webinar } else { Product::Meeting },
        number: payload.text("id"),
        account_id: payload.text("account_id"),
        host_id: payload.text("host_id"),
        topic: payload.text("topic"),
        started_ms: started.or(first).unwrap_or(event_ts),
        files,
        download_token: text(body, "download_token").or_else(|| payload.text("download_token")).map(Secret::new),
    })
}

impl CloudFile {
    /// Reads one; nothing if it is not ready yet: another event tells of it then.
    fn read(file: &Value, of_participant: bool) -> Option<Self> {
        let status = text(file, "status");
        if status.is_some_and(|status| status != "completed") {
            return None;
        }
        let file_type = text(file, "file_type").unwrap_or_else(|| "FILE".to_owned());
        let recording_type = text(file, "recording_type");
        let start = text(file, "recording_start");
        let made_up = || {
            let parts = [Some(file_type.as_str()), recording_type.as_deref(), start.as_deref()];
            parts.map(Option::unwrap_or_default).join(" ")
        };
        let extension = text(file, "file_extension").unwrap_or_else(|| extension_of(&file_type).to_owned());
        Some(Self {
            id: text(file, "id").unwrap_or_else(made_up),
            extension: extension.to_ascii_lowercase(),
            size_bytes: file
                .get("file_size")
                .and_then(super::tolerant::as_int)
                .and_then(|size| u64::try_from(size).ok()),
            start_ms: start.as_deref().and_then(time_ms),
            end_ms: text(file, "recording_end").as_deref().and_then(time_ms),
            url: text(file, "download_url").map(Secret::new),
            participant: of_participant.then(|| text(file, "file_name").unwrap_or_default()),
            file_type,
            recording_type,
        })
    }
}

/// How the names of files end whose event does not say it.
fn extension_of(file_type: &str) -> &'static str {
    match file_type {
        "MP4" => "mp4",
        "M4A" => "m4a",
        "TRANSCRIPT" | "CC" => "vtt",
        "CHAT" => "txt",
        "TIMELINE" | "SUMMARY" => "json",
        "CSV" => "csv",
        _ => "bin",
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn time_ms(text: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use crate::protocol::event::Event;

    fn fixture(text: &str) -> super::CloudRecording {
        match Event::parse(text.as_bytes(), 1_754_053_700_000) {
            Ok(Event::Cloud(recording)) => *recording,
            other => panic!("{other:?}"),
        }
    }

    /// Two deliveries of one event, 0.7 s apart and from different addresses of Zoom's (seen in February 2025): what differs
    /// is in `download_url` and `download_token`.
    #[test]
    fn two_deliveries_with_other_addresses_are_of_the_same_files() {
        let first = fixture(include_str!("../../fixtures/webhook/recording-completed.json"));
        let second = fixture(include_str!("../../fixtures/webhook/recording-completed-again-other-addresses.json"));
        assert_ne!(first, second);
        let ids =
            |recording: &super::CloudRecording| recording.files.iter().map(|file| file.id.clone()).collect::<Vec<_>>();
        assert_eq!((&first.uuid, ids(&first)), (&second.uuid, ids(&second)));
        let shown = format!("{first:?}");
        assert!(!shown.contains("webhook_download") && !shown.contains("example.token"), "{shown}");
    }

    #[test]
    fn every_file_is_read() {
        let recording = fixture(include_str!("../../fixtures/webhook/recording-completed.json"));
        let files: Vec<String> = recording
            .files
            .iter()
            .map(|f| format!("{} {} {} {:?} {}", f.id, f.file_type, f.extension, f.size_bytes, f.participant.is_some()))
            .collect();
        insta::assert_snapshot!(files.join("\n"), @r"
        11111111-aaaa-4bbb-8ccc-000000000001 MP4 mp4 Some(52428800) false
        11111111-aaaa-4bbb-8ccc-000000000002 M4A m4a Some(1048576) false
        11111111-aaaa-4bbb-8ccc-000000000003 CHAT txt Some(311) false
        TIMELINE timeline 2026-08-01T10:00:05Z TIMELINE json None false
        11111111-aaaa-4bbb-8ccc-000000000004 M4A m4a Some(524288) true
        ");
        assert_eq!(recording.started_ms, 1_785_578_400_000);
        assert_eq!(recording.number.as_deref(), Some("85746065432"));
    }
}
