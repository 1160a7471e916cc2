//! The power goes: what was not forced to the disk is gone, names and contents alike (`tests/common/platter.c`). What was
//! answered has had its effect all the same, and of what had arrived 2 s are lost at most.

use crate::common::chance::Chance;
use crate::common::http::signed;
use crate::common::loss::{journals, median, newest_media, now_ms, told};
use crate::common::platter::Platter;
use crate::common::s3::{Fault, S3Server};
use crate::common::{Home, Recorder, begin, meeting, play_one, until};
use hyper::Method;
use rtms_recorder::output::Manifest;
use serde_json::{Value, json};
use std::time::Duration;

/// What may be lost, in ms, as the README says.
const LOST_MS: i64 = 2000;
/// What may come on top of that on a machine that is busy. Without the directory's fsync it would be up to 10 s.
const BUSY_MS: i64 = 2000;

const STREAM: &str = "0123456789abcdef0123456789abcdef";

/// Kills the recorder, and takes from the spool what was not on the disk.
fn power_off(recorder: Recorder, home: &Home, platter: &Platter) {
    assert!(platter.kept().contains_key("dir"), "nothing was ever forced to the disk: is the library loaded?");
    recorder.kill();
    platter.after_power_loss(&home.spool());
}

async fn answered(recorder: &Recorder, event: &str, event_ts: i64, more: Value) {
    let mut payload = json!({"meeting_uuid": "m", "rtms_stream_id": STREAM});
    payload.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let body = json!({"event": event, "event_ts": event_ts, "payload": payload}).to_string();
    assert_eq!(signed(recorder.address(), body.as_bytes()).await.status, 200, "{event}");
}

/// The power goes right after each answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_has_had_its_effect() {
    let mut home = Home::new();
    let platter = Platter::under(&mut home);
    let at = now_ms();
    let server = json!({"server_urls": "ws://127.0.0.1:9"});

    // Started.
    let recorder = home.start().await;
    answered(&recorder, "meeting.rtms_started", at, server.clone()).await;
    power_off(recorder, &home, &platter);
    let recorder = home.start().await;
    recorder.wait_for("joining again a stream").await;
    // Moved to another server: a chunk further on, whose name is new.
    tokio::time::sleep(Duration::from_secs(11)).await;
    answered(&recorder, "meeting.rtms_started", at + 1000, json!({"server_urls": "ws://localhost:9"})).await;
    power_off(recorder, &home, &platter);
    assert!(std::fs::read_to_string(home.spooled().join("start.json")).expect("a file").contains("localhost"));
    let journal = crate::common::loss::lines(&home.spooled().join("journal"));
    let starts = journal.iter().filter(|line| line.2["event"] == "meeting.rtms_started").count();
    assert_eq!(starts, 2, "{journal:?}");
    // Stopped.
    let recorder = home.start().await;
    recorder.wait_for("joining again a stream").await;
    answered(&recorder, "meeting.rtms_stopped", at + 2000, json!({"stop_reason": 6})).await;
    power_off(recorder, &home, &platter);
    let recorder = home.start().await;
    until("it is published", || home.spool_files() == [format!("{STREAM}/done.json")]).await;
    assert!(recorder.logged("joining again").is_empty(), "it is over:\n{}", recorder.raw_log());
    let recording = home.bucket().recording().await;
    assert_eq!(recording.manifest.stop_reason.and_then(|reason| reason.code), Some(6));
    // Published: a start event that comes again does not start it again.
    power_off(recorder, &home, &platter);
    let recorder = home.start().await;
    answered(&recorder, "meeting.rtms_started", at + 1000, server.clone()).await;
    assert!(recorder.logged("recording started").is_empty(), "{}", recorder.raw_log());
    // Consent withdrawn.
    answered(&recorder, "meeting.rtms_stopped", at + 3000, json!({"stop_reason": 8})).await;
    power_off(recorder, &home, &platter);
    let _recorder = home.start().await;
    until("only the mark is left", || home.spool_files() == [format!("{STREAM}/done.json")]).await;
    let keys = home.bucket().keys().await;
    let [key] = &keys[..] else { panic!("{keys:?}") };
    assert!(Manifest::from_json(&home.bucket().read(key).await).expect("a manifest").deleted.is_some());
}

/// Stopped before it was announced; the late start event does not start it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_event_that_came_first_is_remembered() {
    let mut home = Home::new();
    let platter = Platter::under(&mut home);
    let at = now_ms();
    let recorder = home.start().await;
    answered(&recorder, "meeting.rtms_stopped", at, json!({"stop_reason": 6})).await;
    power_off(recorder, &home, &platter);
    let recorder = home.start().await;
    answered(&recorder, "meeting.rtms_started", at - 1000, json!({"server_urls": "ws://127.0.0.1:9"})).await;
    assert!(recorder.logged("recording started").is_empty(), "{}", recorder.raw_log());
}

/// Three meetings, each with two power losses at random moments.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn at_most_two_seconds_of_what_had_arrived_are_lost() {
    let mut chance = Chance::from_env(20_261_121);
    let mut meetings = tokio::task::JoinSet::new();
    for _ in 0..3 {
        meetings.spawn(losing_power_twice(chance.fork()));
    }
    let mut lost_ms = Vec::new();
    while let Some(lost) = meetings.join_next().await {
        lost_ms.extend(lost.expect("a meeting"));
    }
    assert!(!lost_ms.is_empty());
    let median = median(&mut lost_ms);
    let most = *lost_ms.last().expect("there are some");
    println!("MEASURED: {} power losses amid media: median {median} ms lost, at most {most} ms", lost_ms.len());
    assert!(median <= LOST_MS && most <= LOST_MS + BUSY_MS, "{lost_ms:?}");
}

async fn losing_power_twice(mut chance: Chance) -> Vec<i64> {
    let mut home = Home::new();
    home.set("PORT", &crate::common::ports::free().port().to_string());
    let platter = Platter::under(&mut home);
    let mut recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 18);
    settings.speed = 1.0;
    settings.webhooks.retry_after = Duration::from_millis(500);
    let playing = begin(settings);
    recorder.wait_for("media flow").await;
    let mut lost_ms = Vec::new();
    // The second one falls into the second chunk, or into what comes after the end.
    for (least, most) in [(500, 5000), (4000, 16_000)] {
        tokio::time::sleep(Duration::from_millis(least + chance.below(most - least))).await;
        let at = now_ms();
        let was = journals(&home).first().and_then(|journal| newest_media(journal));
        power_off(recorder, &home, &platter);
        if was.is_some_and(|newest| at - newest < 500) {
            let journals = journals(&home);
            let all = crate::common::loss::lines(journals.first().expect("the journal survives"));
            let newest = all.iter().filter(|line| line.1 == "audio" || line.1 == "video").map(|line| line.0).max();
            lost_ms.push(at - newest.expect("media survive"));
        }
        recorder = home.start().await;
    }
    let sent = playing.await.expect("it does not panic").expect("it can be played").meetings.remove(0);
    until("the spool is tidy", || home.spool_files() == [format!("{}/done.json", sent.stream_id)]).await;
    let recording = home.bucket().recording().await;
    recording.check_files();
    told(&recording, &sent);
    lost_ms
}

/// What is finished is on the disk before the plan says so; what is in the bucket is not sent again under another name.
#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_rendered_and_uploaded() {
    let server = S3Server::start().await;
    let mut home = Home::with_s3(server.address);
    home.set("AUDIO_STREAMS", "participants");
    let platter = Platter::under(&mut home);
    server.inject(Fault::Status(503), usize::MAX, |seen| seen.method == Method::PUT && seen.key.contains("audio.m4a"));
    let recorder = home.start().await;
    let sent = play_one(meeting(&recorder.webhook, 8)).await;
    recorder.wait_for("stream ended").await;
    // Rendering has begun.
    power_off(recorder, &home, &platter);
    let recorder = home.start().await;
    until("all but one object is in the bucket", || {
        let written = server.written();
        ["recording.mp4", "timeline.json", "participants/"]
            .iter()
            .all(|name| written.iter().any(|key| key.contains(name)))
    })
    .await;
    power_off(recorder, &home, &platter);
    let out = home.spooled().join("out");
    assert!(out.join("plan.json").exists());
    for name in ["recording.mp4", "audio.m4a", "timeline.json"] {
        let size = std::fs::metadata(out.join(name)).expect(name).len();
        assert!(size > 1000, "{name} has {size} bytes on the disk");
    }
    server.heal();
    let recorder = home.start().await;
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    recording.check_files();
    recording.check_marks(&sent);
    let manifests = server.written().iter().filter(|key| key.ends_with("manifest.json")).count();
    assert_eq!(manifests, 1);
    power_off(recorder, &home, &platter);
    let recorder = home.start().await;
    recorder.wait_for("found ffmpeg").await;
    assert_eq!(home.spool_files(), [format!("{}/done.json", sent.stream_id)]);
    assert_eq!(
        server.written().iter().filter(|key| key.ends_with("manifest.json")).count(),
        1,
        "it is not published again"
    );
}
