//! A spool whose disk is full: below `SPOOL_MIN_FREE`, down to the last byte while a meeting runs, and while it is rendered.

use crate::common::http::{get, now_s, signed};
use crate::common::loss::lines;
use crate::common::small::{self, SmallDisk};
use crate::common::{Home, begin, meeting, until};
use rtms_recorder::simulator::Size;
use serde_json::json;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Bytes in the journal of the only recording.
fn journal_bytes(home: &Home) -> u64 {
    let entries = std::fs::read_dir(home.spooled().join("journal")).expect("a journal").flatten();
    entries.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum()
}

#[test]
fn below_the_least_free_space_new_streams_are_refused_and_running_ones_go_on() {
    small::run("disk::below_the_least_free_space_new_streams_are_refused_and_running_ones_go_on", async {
        let mut home = Home::new();
        home.set("SPOOL_MIN_FREE", "12MiB");
        let disk = SmallDisk::over(&home.spool(), "24m");
        let recorder = home.start().await;
        let ready = get(recorder.address(), "/readyz").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        let mut settings = meeting(&recorder.webhook, 8);
        settings.speed = 1.0;
        let playing = begin(settings);
        recorder.wait_for("media flow").await;

        disk.leave(10 * MIB);
        let body = json!({"event": "meeting.rtms_started", "event_ts": now_s() * 1000, "payload": {
            "meeting_uuid": "m", "rtms_stream_id": "s", "server_urls": "ws://127.0.0.1:9"}})
        .to_string();
        assert_eq!(signed(recorder.address(), body.as_bytes()).await.status, 503);
        let line = recorder.wait_for("an event was not taken").await;
        assert!(line["err"].as_str().is_some_and(|err| err.contains("SPOOL_MIN_FREE")), "{line}");
        let ready = get(recorder.address(), "/readyz").await;
        assert!(ready.status == 503 && ready.body.contains("SPOOL_MIN_FREE"), "{ready:?}");
        let before = journal_bytes(&home);
        until("the running one goes on", || journal_bytes(&home) > before).await;

        disk.free();
        assert_eq!(get(recorder.address(), "/readyz").await.status, 200);
        assert_eq!(signed(recorder.address(), body.as_bytes()).await.status, 200, "Zoom sends it again");
        let sent = playing.await.expect("no panic").expect("it can be played").meetings.remove(0);
        recorder.published(1).await;
        let recording = home.bucket().recording().await;
        recording.check_marks(&sent);
        assert!(recording.manifest.complete);
        recorder.kill();
    });
}

/// Full to the last byte for so long that not all of what arrives can wait in memory.
#[test]
fn full_while_recording_what_is_lost_is_counted_and_listed() {
    small::run("disk::full_while_recording_what_is_lost_is_counted_and_listed", async {
        let mut home = Home::new();
        home.set("VIDEO_SIZE", "fhd");
        let disk = SmallDisk::over(&home.spool(), "400m");
        let recorder = home.start().await;
        let mut settings = meeting(&recorder.webhook, 24);
        settings.speed = 1.0;
        // Some 4 MB of journal a second: 32 MiB of memory last for 8 s.
        settings.size = Size { width: 1920, height: 1080 };
        settings.kbit_per_s = 80_000;
        settings.keepalive = Duration::from_secs(1);
        settings.keepalive_always = true;
        let playing = begin(settings);
        recorder.wait_for("media flow").await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        disk.leave(0);
        recorder.wait_for("writing a journal failed").await;
        let full = journal_bytes(&home);
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(journal_bytes(&home), full, "it is full");
        assert_eq!(get(recorder.address(), "/healthz").await.status, 200);
        disk.free();
        recorder.wait_for("the journal is written again").await;
        let dropped = || -> u64 {
            let notes = lines(&home.spooled().join("journal")).into_iter().filter(|line| line.2["note"] == "dropped");
            notes.map(|line| line.2["messages"].as_u64().expect("a count")).sum()
        };
        until("what was lost is noted", || dropped() > 0).await;
        let dropped = dropped();

        let sent = playing.await.expect("no panic").expect("it can be played").meetings.remove(0);
        recorder.published(1).await;
        assert!(sent.losses.is_empty() && sent.refusals.is_empty(), "keep-alives are answered: {sent}");
        let recording = home.bucket().recording().await;
        recording.check_files();
        let manifest = &recording.manifest;
        assert!(!manifest.complete, "{manifest:#?}");
        assert!(
            dropped > 0 && manifest.incomplete_because[0].contains(&dropped.to_string()),
            "{dropped}: {manifest:#?}"
        );
        let gaps = [recording.gaps("audio"), recording.gaps("video")].concat();
        let lost: i64 = gaps.iter().filter(|gap| gap.2 == "disk").map(|gap| gap.1 - gap.0).sum();
        println!("MEASURED: {dropped} messages lost, {lost} ms of sound and picture; gaps {gaps:?}");
        assert!(lost > 1000, "{gaps:?}");
        crate::common::loss::told(&recording, &sent);
        recorder.kill();
    });
}

/// What is to be deleted does not wait for the room that it takes.
#[test]
fn full_and_consent_is_withdrawn() {
    small::run("disk::full_and_consent_is_withdrawn", async {
        let home = Home::new();
        let disk = SmallDisk::over(&home.spool(), "48m");
        let recorder = home.start().await;
        let mut settings = meeting(&recorder.webhook, 60);
        settings.speed = 1.0;
        let playing = begin(settings);
        recorder.wait_for("media flow").await;
        until("the journal has some size", || journal_bytes(&home) > MIB / 4).await;
        disk.leave(0);
        recorder.wait_for("writing a journal failed").await;
        let start = std::fs::read(home.spooled().join("start.json")).expect("a start event");
        let start: serde_json::Value = serde_json::from_slice(&start).expect("JSON");
        let stop = |reason: i64| {
            json!({"event": "meeting.rtms_stopped", "event_ts": (now_s() + 1) * 1000, "payload": {
                "meeting_uuid": start["payload"]["meeting_uuid"], "rtms_stream_id": start["payload"]["rtms_stream_id"],
                "stop_reason": reason}})
            .to_string()
        };
        // One that is to be kept, and cannot be.
        assert_eq!(signed(recorder.address(), stop(6).as_bytes()).await.status, 503);
        assert_eq!(signed(recorder.address(), stop(8).as_bytes()).await.status, 200);
        recorder.wait_for("deleted, as consent was withdrawn").await;
        assert!(home.spool_files().iter().all(|file| !file.contains('/') || file.ends_with("done.json")));
        playing.abort();
        recorder.kill();
    });
}

#[test]
fn full_while_rendering_it_is_done_when_there_is_room() {
    small::run("disk::full_while_rendering_it_is_done_when_there_is_room", async {
        let home = Home::new();
        let disk = SmallDisk::over(&home.spool(), "48m");
        let recorder = home.start().await;
        let mut settings = meeting(&recorder.webhook, 9);
        settings.speed = 1.0;
        // Some 1 MB of journal a second; the files of it are of 7 MB, twice for a moment.
        settings.size = Size { width: 1280, height: 720 };
        settings.kbit_per_s = 6000;
        let playing = begin(settings);
        recorder.wait_for("media flow").await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        // Room for the rest of the journal, and not for the files.
        disk.leave(8 * MIB);
        let failed = recorder.wait_for("rendering failed; nothing is lost").await;
        let err = failed["err"].as_str().expect("a reason");
        assert!(err.contains("No space left"), "{err}");
        until("what has failed gives back its room", || {
            !home.spool_files().iter().any(|file| file.contains("/render/"))
        })
        .await;
        disk.free();
        let sent = playing.await.expect("no panic").expect("it can be played").meetings.remove(0);
        recorder.published(1).await;
        let recording = home.bucket().recording().await;
        recording.check_files();
        recording.check_marks(&sent);
        assert!(recording.manifest.complete, "{:#?}", recording.manifest);
        recorder.kill();
    });
}
