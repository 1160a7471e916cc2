//! The end of the process: what SIGTERM does to streams that run, and `recover`.

use crate::common::http::{now_s, signed};
use crate::common::ports;
use crate::common::{Home, Recorder, begin, meeting, play_one, s3, until};
use rtms_recorder::simulator::{self, Summary};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// A recorder in the middle of a meeting.
async fn in_mid_meeting(home: &Home) -> (Recorder, JoinHandle<Result<Summary, simulator::Error>>) {
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 30);
    settings.speed = 1.0;
    let playing = begin(settings);
    recorder.wait_for("media flow").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    (recorder, playing)
}

async fn start_event(recorder: &Recorder, stream_id: &str, event_ts: i64) -> u16 {
    let body = json!({"event": "meeting.rtms_started", "event_ts": event_ts, "payload": {
        "meeting_uuid": "m", "rtms_stream_id": stream_id, "server_urls": "ws://127.0.0.1:9"}});
    signed(recorder.address(), body.to_string().as_bytes()).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_finish_it_publishes_what_is_there() {
    let mut home = Home::new();
    home.set("SHUTDOWN", "finish");
    let (recorder, playing) = in_mid_meeting(&home).await;
    let (status, took) = recorder.terminate().await;
    playing.abort();
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(25), "{took:?}");

    let recording = home.bucket().recording().await;
    recording.check_files();
    let manifest = &recording.manifest;
    assert!(manifest.duration_ms >= 3000, "{manifest:?}");
    assert_eq!(manifest.stop_reason.as_ref().map(|reason| reason.name.as_str()), Some("RECORDER_STOPPED"));
    assert!(!manifest.complete && manifest.incomplete_because[0].contains("before the stream ended"), "{manifest:?}");
    assert_eq!(home.spool_files(), [format!("{}/done.json", manifest.stream_id)]);
    // The stream is over for us: its start event, sent again, starts nothing.
    let recorder = home.start().await;
    let started_at = manifest.started_at.0;
    assert_eq!(start_event(&recorder, manifest.stream_id.as_str(), started_at).await, 200);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(recorder.logged("recording started").is_empty(), "{}", recorder.raw_log());
}

/// A bucket that is away does not hold the process; the next start finishes.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_finished_in_time_is_left_to_the_next_start() {
    let address = ports::free();
    let mut home = Home::with_s3(address);
    home.set("SHUTDOWN", "finish");
    home.set("SHUTDOWN_GRACE", "8s");
    let (recorder, playing) = in_mid_meeting(&home).await;
    let (status, took) = recorder.terminate().await;
    playing.abort();
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(9), "within SHUTDOWN_GRACE: {took:?}");
    assert!(home.spooled().join("journal").exists());

    let _server = s3::S3Server::start_at(address).await;
    let recorder = home.start().await;
    recorder.published(1).await;
    assert!(recorder.logged("joining again").is_empty(), "it had ended");
    home.bucket().recording().await.check_files();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_shutting_down_new_streams_are_refused_and_a_second_signal_ends_it_at_once() {
    let mut home = Home::with_s3(ports::free());
    home.set("SHUTDOWN", "finish");
    home.set("SHUTDOWN_GRACE", "10m");
    let recorder = home.start().await;
    let sent = play_one(meeting(&recorder.webhook, 4)).await;
    recorder.wait_for("the bucket fails, trying again").await;
    recorder.signal(rustix::process::Signal::TERM);
    recorder.wait_for("shutting down").await;
    assert_eq!(start_event(&recorder, "another", now_s() * 1000).await, 503, "Zoom is to send it again");
    let ready = crate::common::http::get(recorder.address(), "/readyz").await;
    assert!(ready.status == 503 && ready.body.contains("shutting down"), "{ready:?}");
    let began = Instant::now();
    let (status, _) = recorder.terminate().await;
    assert_eq!(status, Some(1));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(home.spool_files().contains(&format!("{}/out/plan.json", sent.stream_id)), "{:?}", home.spool_files());
}

#[tokio::test(flavor = "multi_thread")]
async fn recover_finishes_a_spool_and_exits() {
    let mut home = Home::new();
    let recorder = home.start().await;
    let busy = home.run(&["recover"]);
    assert_eq!(busy.status.code(), Some(75), "{}", String::from_utf8_lossy(&busy.stderr));
    // One that had ended and one that still runs.
    let ended = play_one(meeting(&recorder.webhook, 4)).await;
    recorder.wait_for("stream ended").await;
    let mut settings = meeting(&recorder.webhook, 30);
    settings.speed = 1.0;
    let playing = begin(settings);
    recorder.wait_for_many("media flow", 2).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    recorder.kill();
    playing.abort();

    for name in ["ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET", "ZOOM_SECRET_TOKEN"] {
        home.unset(name);
    }
    let output = home.run(&["recover"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let files = home.spool_files();
    assert!(files.len() == 2 && files.iter().all(|file| file.ends_with("/done.json")), "{files:?}");
    let recordings = home.bucket().recordings().await;
    assert_eq!(recordings.len(), 2);
    for recording in &recordings {
        recording.check_files();
        let whole = recording.manifest.stream_id.as_str() == ended.stream_id;
        assert_eq!(recording.manifest.complete, whole, "{:?}", recording.manifest);
    }
    // Nothing to do is not a failure.
    assert_eq!(home.run(&["recover"]).status.code(), Some(0));
}

/// What the operator has to know is logged, and shown where the state is.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_app_is_logged_and_shown() {
    let home = Home::new();
    let recorder = home.start().await;
    let ready = crate::common::http::get(recorder.address(), "/readyz").await;
    assert_eq!((ready.status, ready.body.trim()), (200, "ready"));
    let body = json!({"event": "app_deauthorized", "event_ts": now_s() * 1000, "payload": {
        "account_id": "Wq77x", "user_id": "u", "client_id": "c", "deauthorization_time": "2026-11-20T10:00:00Z"}});
    assert_eq!(signed(recorder.address(), body.to_string().as_bytes()).await.status, 200);
    assert_eq!(recorder.wait_for("app_deauthorized").await["level"], "WARN");
    until("it is shown", || !recorder.logged("app_deauthorized").is_empty()).await;
    let ready = crate::common::http::get(recorder.address(), "/readyz").await;
    assert!(ready.status == 200 && ready.body.contains("app_deauthorized"), "{ready:?}");
    assert!(!ready.body.contains("Wq77x"), "the page is public: {ready:?}");
}
