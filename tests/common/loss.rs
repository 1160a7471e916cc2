//! What is lost when a recorder dies, and whether its manifest says so.

use super::{Home, Recording, measure};
use rtms_recorder::journal::read::{self, Body};
use rtms_recorder::simulator::MeetingSummary;
use serde_json::Value;
use std::path::{Path, PathBuf};

pub(crate) fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is after 1970").as_millis() as i64
}

/// The journals in a home's spool, finished or not.
pub(crate) fn journals(home: &Home) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(home.spool()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().join("journal")).filter(|path| path.is_dir()).collect()
}

/// The lines of a journal as they are at the moment: when received, connection, message.
pub(crate) fn lines(journal: &Path) -> Vec<(i64, String, Value)> {
    let mut all = Vec::new();
    for chunk in read::chunks(journal).unwrap_or_default() {
        // It may be closed meanwhile.
        let Ok(bytes) = chunk.read() else { continue };
        for line in read::lines(&bytes, true) {
            let line = line.expect("a line");
            if let Body::Json(json) = line.body {
                all.push((line.t, line.conn.into_owned(), serde_json::from_slice(json).expect("JSON")));
            }
        }
    }
    all
}

/// When the newest media message was received, if media were flowing since the recorder came up and the stream had not
/// ended.
pub(crate) fn newest_media(journal: &Path) -> Option<i64> {
    let mut newest = None;
    for (t, conn, message) in lines(journal) {
        match (conn.as_str(), message["note"].as_str()) {
            ("audio" | "video", _) if message["msg_type"].as_i64().is_some_and(|kind| (14..=15).contains(&kind)) => {
                newest = newest.max(Some(t));
            }
            (_, Some("resumed" | "ended")) => newest = None,
            _ if message["event"].as_str().is_some_and(|event| event.ends_with("_stopped")) => newest = None,
            _ => {}
        }
    }
    newest
}

/// Asserts that all that was sent is in its place, or in a gap that the manifest lists as the recorder's own, or came after
/// the end of a recording that says that it is not complete. Returns how many marks were lost.
pub(crate) fn told(recording: &Recording, sent: &MeetingSummary) -> usize {
    // What a mark may be off, and what of a beep may be cut.
    const NEAR_MS: f64 = 150.0;
    let end = recording.manifest.duration_ms as f64;
    let mut lost = 0;
    let has_video = recording.names().contains(&"recording.mp4");
    let file = if has_video { "recording.mp4" } else { "audio.m4a" };
    let mut kinds = vec![("audio", &sent.beeps_ms, measure::beeps(&recording.file(file)))];
    if has_video {
        kinds.push(("video", &sent.flashes_ms, measure::flashes(&recording.file(file))));
    }
    for (track, marks, found) in kinds {
        let gaps: Vec<_> = recording.gaps(track).into_iter().filter(|gap| gap.2 != "not_sent").collect();
        let expected = recording.on_timeline(marks);
        for &at in &expected {
            if found.iter().any(|found| (found - at).abs() <= measure::TOLERANCE_MS) {
                continue;
            }
            lost += 1;
            let in_gap = gaps.iter().any(|gap| at > gap.0 as f64 - NEAR_MS && at < gap.1 as f64 + NEAR_MS);
            let after_end = at > end - NEAR_MS || at < 0.0;
            assert!(
                in_gap || after_end,
                "{track} lacks the mark at {at} ms of {end} and does not say so: found {found:.0?}, sent {expected:.0?}, {:#?}\n{sent}",
                recording.manifest
            );
            assert!(!recording.manifest.complete, "{:#?}", recording.manifest);
        }
        let near_gap =
            |at: f64| gaps.iter().any(|gap| (at - gap.0 as f64).abs() < NEAR_MS || (at - gap.1 as f64).abs() < NEAR_MS);
        for at in found {
            // A beep or a flash that a gap cuts in two sets in again behind it.
            let is_sent = expected.iter().any(|sent| (sent - at).abs() <= measure::TOLERANCE_MS);
            assert!(
                is_sent || near_gap(at),
                "{track} has a mark at {at} ms that was not sent: {expected:.0?}\n{:#?}",
                recording.manifest
            );
        }
    }
    lost
}

/// The one in the middle.
pub(crate) fn median(values: &mut [i64]) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}
