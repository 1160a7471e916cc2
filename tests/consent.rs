//! Consent withdrawn (stop reason 8): everything of a stream goes, wherever it is, and a manifest says so.

mod common;

use common::http::signed;
use common::{Home, Recorder, meeting, play_one, until};
use rtms_recorder::output::Manifest;
use serde_json::json;

/// Zoom's word that consent was withdrawn.
async fn revoke(recorder: &Recorder, stream_id: &str, event_ts: i64) {
    let body = json!({"event": "meeting.rtms_stopped", "event_ts": event_ts,
                      "payload": {"meeting_uuid": "m", "rtms_stream_id": stream_id, "stop_reason": 8}});
    assert_eq!(signed(recorder.address(), body.to_string().as_bytes()).await.status, 200);
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

/// The word is durable when it is answered: a kill right after it changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_while_the_bucket_is_away_and_killed_before_it_is_back() {
    let address = common::s3::free_address().await;
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
    let _server = common::s3::S3Server::start_at(address).await;
    recorder.wait_for("deleted, as consent was withdrawn").await;
    nothing_is_left(&home, &sent.stream_id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_without_room_takes_no_new_stream_and_says_so() {
    let mut home = Home::new();
    home.set("SPOOL_MIN_FREE", "1000TiB");
    let recorder = home.start().await;
    let body = json!({"event": "meeting.rtms_started", "event_ts": common::http::now_s() * 1000, "payload": {
        "meeting_uuid": "m", "rtms_stream_id": "s", "server_urls": "ws://127.0.0.1:9"}});
    assert_eq!(signed(recorder.address(), body.to_string().as_bytes()).await.status, 503, "Zoom is to send it again");
    let line = recorder.wait_for("an event was not taken").await;
    assert!(line["err"].as_str().is_some_and(|err| err.contains("SPOOL_MIN_FREE")), "{line}");
    let ready = common::http::get(recorder.address(), "/readyz").await;
    assert!(ready.status == 503 && ready.body.contains("SPOOL_MIN_FREE"), "{ready:?}");
    assert_eq!(home.spool_files(), Vec::<String>::new());
}
