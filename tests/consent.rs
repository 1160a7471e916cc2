//! Consent withdrawn (stop reason 8): everything of a stream goes, wherever it is, and a manifest says so.

use crate::common::http::{now_s, signed};
use crate::common::{Home, Recorder, begin, meeting, play_one, until};
use rtms_recorder::journal::{Disk, Note};
use rtms_recorder::output::Manifest;
use serde_json::json;
use std::net::TcpListener;
use std::time::Duration;

/// Zoom's word that consent was withdrawn.
async fn revoke(recorder: &Recorder, stream_id: &str, event_ts: i64) {
    stop(recorder, stream_id, event_ts, 8).await;
}

async fn stop(recorder: &Recorder, stream_id: &str, event_ts: i64, stop_reason: i64) {
    stop_of(recorder, stream_id, "m", event_ts, stop_reason).await;
}

async fn stop_of(recorder: &Recorder, stream_id: &str, meeting: &str, event_ts: i64, stop_reason: i64) {
    let body = stopped(stream_id, meeting, event_ts, stop_reason);
    assert_eq!(signed(recorder.address(), body.as_bytes()).await.status, 200);
}

fn stopped(stream_id: &str, meeting: &str, event_ts: i64, stop_reason: i64) -> String {
    json!({"event": "meeting.rtms_stopped", "event_ts": event_ts,
           "payload": {"meeting_uuid": meeting, "rtms_stream_id": stream_id, "stop_reason": stop_reason}})
    .to_string()
}

/// A start event for a server that does not answer.
async fn start(recorder: &Recorder, stream_id: &str, meeting: &str, event_ts: i64) {
    start_at(recorder, stream_id, meeting, event_ts, "127.0.0.1:9").await;
}

async fn start_at(recorder: &Recorder, stream_id: &str, meeting: &str, event_ts: i64, server: &str) {
    let body = started(stream_id, meeting, event_ts, server);
    assert_eq!(signed(recorder.address(), body.as_bytes()).await.status, 200);
}

fn started(stream_id: &str, meeting: &str, event_ts: i64, server: &str) -> String {
    json!({"event": "meeting.rtms_started", "event_ts": event_ts, "payload": {
        "meeting_uuid": meeting, "rtms_stream_id": stream_id, "server_urls": format!("ws://{server}")}})
    .to_string()
}

/// Nothing is left but the manifest in the bucket and the mark that the stream is over.
async fn nothing_is_left(home: &Home, stream_id: &str) {
    until("only the mark is in the spool", || home.spool_files() == [format!("{stream_id}/done.json")]).await;
    let keys = home.bucket().keys().await;
    assert!(matches!(&keys[..], [key] if key.ends_with("/manifest.json")), "{keys:?}");
    let manifest = Manifest::from_json(&home.bucket().read(&keys[0]).await).expect("a manifest");
    assert_eq!(manifest.stream_id.as_str(), stream_id);
    assert!(manifest.deleted.is_some() && manifest.objects.is_empty() && !manifest.complete, "{manifest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_with_the_end_of_the_stream() {
    let home = Home::new();
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 8);
    settings.stop_reason = 8;
    let sent = play_one(settings).await;
    recorder.wait_for("deleted, as consent was withdrawn").await;
    nothing_is_left(&home, &sent.stream_id).await;
    assert!(recorder.logged("published").is_empty());

    // Told again, as Zoom may: there is nothing left to be done, not even by a next start.
    let key = home.bucket().keys().await.remove(0);
    let manifest = home.bucket().read(&key).await;
    revoke(&recorder, &sent.stream_id, sent.end_ms + 1000).await;
    nothing_is_left(&home, &sent.stream_id).await;
    recorder.kill();
    let recorder = home.start().await;
    revoke(&recorder, &sent.stream_id, sent.end_ms + 1000).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    nothing_is_left(&home, &sent.stream_id).await;
    assert!(recorder.logged("deleted, as consent was withdrawn").is_empty(), "{}", recorder.raw_log());
    assert_eq!(home.bucket().read(&key).await, manifest);
}

/// The signaling connection said so, that is in the journal, and the recorder was killed before it did anything about it.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_with_the_end_of_the_stream_and_killed_at_once() {
    let home = Home::new();
    let folder = home.spool().join("s");
    std::fs::create_dir_all(&folder).expect("a directory");
    let started = started("s", "m", now_s() * 1000, "127.0.0.1:9");
    std::fs::write(folder.join("start.json"), &started).expect("a file");
    let journal = Disk::start().expect("threads").open(&folder.join("journal"), now_s() * 1000, &started);
    let journal = journal.expect("a journal");
    journal.note(now_s() * 1000, &Note::Ended { source: "state".into(), reason: Some(8) });
    journal.close().await.expect("a closed journal");

    let recorder = home.start().await;
    recorder.wait_for("deleted, as consent was withdrawn").await;
    nothing_is_left(&home, "s").await;
    assert!(recorder.logged("published").is_empty());
}

/// The word is about all of it until its time; what Zoom calls one stream is one recording, though it moved since.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_before_the_stream_moved_and_told_after() {
    let home = Home::new();
    let recorder = home.start().await;
    let at = now_s() * 1000;
    start(&recorder, "s", "m", at).await;
    start_at(&recorder, "s", "m", at + 2000, "localhost:9").await;
    recorder.wait_for("Zoom moved the stream").await;
    revoke(&recorder, "s", at + 1000).await;
    recorder.wait_for("deleted, as consent was withdrawn").await;
    nothing_is_left(&home, "s").await;
}

/// Zoom does not wait until our sockets are closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_starts_again_while_it_ends_is_recorded_again() {
    let home = Home::new();
    let recorder = home.start().await;
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = silent.local_addr().expect("an address").to_string();
    let at = now_s() * 1000;
    start_at(&recorder, "s", "m", at, &server).await;
    recorder.wait_for("recording started").await;
    stop(&recorder, "s", at + 1000, 6).await;
    start_at(&recorder, "s", "m", at + 2000, &server).await;
    recorder.wait_for_many("recording started", 2).await;
    stop(&recorder, "s", at + 3000, 6).await;
    recorder.published(2).await;
    let recordings = home.bucket().recordings().await;
    assert!(recordings.iter().any(|recording| recording.manifest.recording_id.as_str() == "s.2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_after_it_was_published_and_again_after_a_restart() {
    let home = Home::new();
    let recorder = home.start().await;
    let sent = [play_one(meeting(&recorder.webhook, 6)).await, play_one(meeting(&recorder.webhook, 6)).await];
    recorder.published(2).await;
    assert_eq!(home.bucket().recordings().await.len(), 2);
    revoke(&recorder, &sent[0].stream_id, sent[0].end_ms + 1000).await;
    recorder.wait_for("deleted, as consent was withdrawn").await;
    // Told again, as Zoom may.
    revoke(&recorder, &sent[0].stream_id, sent[0].end_ms + 1000).await;
    recorder.kill();

    let recorder = home.start().await;
    revoke(&recorder, &sent[1].stream_id, sent[1].end_ms + 1000).await;
    recorder.wait_for("deleted, as consent was withdrawn").await;
    let keys = home.bucket().keys().await;
    assert!(keys.len() == 2 && keys.iter().all(|key| key.ends_with("/manifest.json")), "{keys:?}");
    let expected = sent.map(|meeting| format!("{}/done.json", meeting.stream_id));
    until("only the marks are in the spool", || {
        let files = home.spool_files();
        files.len() == 2 && expected.iter().all(|file| files.contains(file))
    })
    .await;
}

/// Where it is in the bucket is told by its plan then.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_after_it_was_published_but_could_not_be_noted_as_over() {
    let home = Home::new();
    let recorder = home.start().await;
    let playing = begin(meeting(&recorder.webhook, 6));
    recorder.wait_for("recording started").await;
    let in_the_way = home.spooled().join("done.json");
    std::fs::create_dir(&in_the_way).expect("a directory");
    let sent = playing.await.expect("no panic").expect("a meeting").meetings.remove(0);
    recorder.wait_for("published, but the spool could not be tidied").await;
    std::fs::remove_dir(&in_the_way).expect("it is there");
    revoke(&recorder, &sent.stream_id, sent.end_ms + 1000).await;
    recorder.wait_for("deleted, as consent was withdrawn").await;
    nothing_is_left(&home, &sent.stream_id).await;
}

/// Zoom repeats what is not taken, so there is time to mend it.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_while_the_spool_cannot_say_where_it_is() {
    let home = Home::new();
    let recorder = home.start().await;
    let sent = play_one(meeting(&recorder.webhook, 6)).await;
    recorder.published(1).await;
    let done = home.spool().join(&sent.stream_id).join("done.json");
    let kept = std::fs::read(&done).expect("a mark");
    std::fs::write(&done, "{").expect("a file");
    let body = stopped(&sent.stream_id, "m", sent.end_ms + 1000, 8);
    assert_eq!(signed(recorder.address(), body.as_bytes()).await.status, 503);
    recorder.wait_for("a recording cannot be deleted").await;
    std::fs::write(&done, kept).expect("a file");
    assert_eq!(signed(recorder.address(), body.as_bytes()).await.status, 200);
    recorder.wait_for("deleted, as consent was withdrawn").await;
    nothing_is_left(&home, &sent.stream_id).await;
}

/// The word is durable when it is answered: a kill right after it changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_while_the_bucket_is_away_and_killed_before_it_is_back() {
    let address = crate::common::ports::free();
    let home = Home::with_s3(address);
    let recorder = home.start().await;
    let sent = play_one(meeting(&recorder.webhook, 6)).await;
    recorder.wait_for("the bucket fails, trying again").await;
    revoke(&recorder, &sent.stream_id, sent.end_ms + 1000).await;
    recorder.kill();

    let recorder = home.start().await;
    until("the media are gone from the spool, bucket or not", || {
        let files = home.spool_files();
        !files.iter().any(|file| file.contains("/journal/") || file.contains("/out/") || file.contains("/render/"))
    })
    .await;
    let _server = crate::common::s3::S3Server::start_at(address).await;
    recorder.wait_for("deleted, as consent was withdrawn").await;
    nothing_is_left(&home, &sent.stream_id).await;
}

/// An event is about what was recorded until then: not about a recording of the same stream that began later.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_late_are_about_the_recording_of_their_time() {
    let home = Home::new();
    let recorder = home.start().await;
    let at = now_s() * 1000;
    start(&recorder, "s", "m", at).await;
    stop(&recorder, "s", at + 1000, 6).await;
    recorder.published(1).await;
    start(&recorder, "s", "m", at + 2000).await;
    recorder.wait_for_many("recording started", 2).await;
    // Another meeting cannot take the stream over.
    start(&recorder, "s", "another", at + 2500).await;
    recorder.wait_for("but another meeting").await;

    stop(&recorder, "s", at + 1000, 6).await;
    recorder.wait_for("the stream was started again since").await;
    revoke(&recorder, "s", at + 1000).await;
    recorder.wait_for("deleted, as consent was withdrawn").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(recorder.logged("stream ended").len(), 1, "the second goes on:\n{}", recorder.raw_log());

    stop(&recorder, "s", at + 3000, 6).await;
    recorder.published(2).await;
    let mut kept = home.bucket().recordings().await;
    kept.sort_by_key(|recording| recording.manifest.started_at);
    assert_eq!(kept.len(), 2);
    assert!(kept[0].manifest.deleted.is_some() && kept[1].manifest.deleted.is_none());
    assert_eq!(kept[1].manifest.recording_id.as_str(), "s.2");
}

/// An earlier recording of a stream may be picked up after a later one.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_event_finds_the_newest_recording_after_a_restart() {
    let address = crate::common::ports::free();
    let home = Home::with_s3(address);
    let recorder = home.start().await;
    let at = now_s() * 1000;
    // In which order a directory is read is not known: of several one comes the wrong way round.
    let streams = ["a", "b", "c", "d", "e", "f"];
    for stream in streams {
        start(&recorder, stream, stream, at).await;
        stop_of(&recorder, stream, stream, at + 1000, 6).await;
    }
    recorder.wait_for_many("stream ended", 6).await;
    for stream in streams {
        start(&recorder, stream, stream, at + 2000).await;
    }
    recorder.kill();

    let recorder = home.start().await;
    for stream in streams {
        stop_of(&recorder, stream, stream, at + 3000, 6).await;
    }
    recorder.wait_for_many("stream ended", 6).await;
    let _server = crate::common::s3::S3Server::start_at(address).await;
    recorder.published(12).await;
}

/// Where it was in the bucket is known to the end, though it would go elsewhere today.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_and_killed_and_the_template_is_another() {
    let address = crate::common::ports::free();
    let mut home = Home::with_s3(address);
    let recorder = home.start().await;
    let sent = play_one(meeting(&recorder.webhook, 4)).await;
    recorder.wait_for("the bucket fails, trying again").await;
    revoke(&recorder, &sent.stream_id, sent.end_ms + 1000).await;
    until("the media are gone from the spool", || !home.spool_files().iter().any(|file| file.contains("/out/"))).await;
    recorder.kill();

    home.set("KEY_TEMPLATE", "elsewhere/{stream}/{time}");
    let recorder = home.start().await;
    let _server = crate::common::s3::S3Server::start_at(address).await;
    recorder.wait_for("deleted, as consent was withdrawn").await;
    nothing_is_left(&home, &sent.stream_id).await;
    assert!(!home.bucket().keys().await[0].starts_with("elsewhere/"));
}

/// Zoom's clock is nearly ours: a time from another century does not make all later starts look repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_event_from_the_future_does_not_block_the_stream() {
    let home = Home::new();
    let recorder = home.start().await;
    let (at, year_3000) = (now_s() * 1000, 32_503_680_000_000);
    start(&recorder, "s", "m", year_3000).await;
    stop(&recorder, "s", at + 1000, 6).await;
    recorder.published(1).await;
    start(&recorder, "s", "m", at + 2000).await;
    recorder.wait_for_many("recording started", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_though_the_bucket_has_no_manifest_of_it() {
    let home = Home::new();
    let recorder = home.start().await;
    for damage in ["missing", "garbled"] {
        let sent = play_one(meeting(&recorder.webhook, 4)).await;
        recorder.wait_for(&sent.stream_id).await;
        recorder.published(1 + usize::from(damage == "garbled")).await;
        let folder = home
            .path("bucket")
            .join(recorder.logged("published").last().expect("it was")["folder"].as_str().expect("a path"));
        let manifest = folder.join("manifest.json");
        match damage {
            "missing" => std::fs::remove_file(&manifest).expect("it was there"),
            _ => std::fs::write(&manifest, "{").expect("it can be written"),
        }
        revoke(&recorder, &sent.stream_id, sent.end_ms + 1000).await;
        until("only a manifest is left", || {
            let files: Vec<_> =
                std::fs::read_dir(&folder).expect("the folder").flatten().map(|entry| entry.file_name()).collect();
            files == ["manifest.json"]
        })
        .await;
        let manifest = Manifest::from_json(&std::fs::read(&manifest).expect("it is there")).expect("a manifest");
        assert_eq!(manifest.stream_id.as_str(), sent.stream_id);
        assert_eq!(manifest.stop_reason.and_then(|reason| reason.code), Some(8));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_without_room_takes_no_new_stream_and_says_so() {
    let mut home = Home::new();
    home.set("SPOOL_MIN_FREE", "1000TiB");
    let recorder = home.start().await;
    let body = json!({"event": "meeting.rtms_started", "event_ts": crate::common::http::now_s() * 1000, "payload": {
        "meeting_uuid": "m", "rtms_stream_id": "s", "server_urls": "ws://127.0.0.1:9"}});
    assert_eq!(signed(recorder.address(), body.to_string().as_bytes()).await.status, 503, "Zoom is to send it again");
    let line = recorder.wait_for("an event was not taken").await;
    assert!(line["err"].as_str().is_some_and(|err| err.contains("SPOOL_MIN_FREE")), "{line}");
    let ready = crate::common::http::get(recorder.address(), "/readyz").await;
    assert!(ready.status == 503 && ready.body.contains("SPOOL_MIN_FREE"), "{ready:?}");
    assert_eq!(home.spool_files(), Vec::<String>::new());
}
