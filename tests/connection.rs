//! Sockets that break, servers that move, webhooks that come twice or too late: one recording, and it says what is
//! missing. Played in real time, since the recorder measures outages by its own clock.

use crate::common::{Home, Recording, measure, meeting, play, play_one};
use rtms_recorder::protocol::message::Medium;
use rtms_recorder::simulator::{Cut, MeetingSummary, Settings, Target};
use std::time::Duration;

async fn record(length_s: u64, settings: impl FnOnce(&mut Settings)) -> (MeetingSummary, Recording) {
    let home = Home::new();
    let recorder = home.start().await;
    let mut meeting = meeting(&recorder.webhook, length_s);
    meeting.speed = 1.0;
    settings(&mut meeting);
    let sent = play(meeting).await.meetings.remove(0);
    // Who comes back before the server has noticed that he left is told so, and comes again.
    assert!(sent.refusals.iter().all(|refusal| refusal.contains("DUPLICATE")), "{sent}");
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    recording.check_files();
    recording.check_marks(&sent);
    (sent, recording)
}

fn cut(target: Target, at_ms: i64) -> Cut {
    Cut { target, at_ms }
}

fn all_back(sent: &MeetingSummary) {
    assert!(!sent.losses.is_empty(), "nothing was lost: {sent}");
    for loss in &sent.losses {
        // What was lost again before it was ready counts by its last loss.
        let last = sent.losses.iter().rfind(|other| other.medium == loss.medium);
        assert!(last.is_some_and(|last| last.back_after_ms.is_some()), "{sent}");
    }
}

/// Zoom keeps sound for a socket that is down, so all of it is there.
fn sound_is_whole(sent: &MeetingSummary, recording: &Recording) {
    assert_eq!(recording.gaps("audio"), []);
    assert_eq!(sent.beeps_ms.len(), measure::beeps(&recording.file("audio.m4a")).len());
    let (received, filled, _) = recording.track("audio");
    assert!(received as u64 >= recording.manifest.duration_ms - 120, "{received} ms, {filled} ms filled");
}

/// A picture that never came because a connection was down is told, with its cause, and makes the recording
/// incomplete.
fn pictures_are_accounted_for(sent: &MeetingSummary, recording: &Recording) {
    let times = measure::packet_times(&recording.file("recording.mp4"), "video");
    let holes: Vec<_> = times.windows(2).filter(|pair| pair[1] - pair[0] > 1050.0).collect();
    let gaps = recording.gaps("video");
    for hole in &holes {
        let told = gaps.iter().any(|(start, end, _)| (*start as f64) < hole[1] && (*end as f64) > hole[0]);
        assert!(told, "a hole of pictures at {hole:?} is not told: {gaps:?}");
    }
    let at_fault: Vec<_> = gaps.iter().filter(|(.., cause)| cause == "connection").collect();
    assert_eq!(recording.manifest.complete, at_fault.is_empty(), "{gaps:?} {sent}");
    assert_eq!(recording.manifest.complete, recording.manifest.incomplete_because.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_sockets_are_connected_again() {
    let (sent, recording) = record(13, |meeting| {
        meeting.script.cuts = vec![
            cut(Target::Medium(Medium::Video), 4030),
            cut(Target::Medium(Medium::Audio), 6300),
            cut(Target::Signaling, 9050),
        ];
    })
    .await;
    all_back(&sent);
    sound_is_whole(&sent, &recording);
    pictures_are_accounted_for(&sent, &recording);
    assert!(sent.signaling_handshakes >= 2 && recording.manifest.counters.connections > 5, "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_vanish_without_a_word_are_connected_again() {
    let (sent, recording) = record(12, |meeting| {
        meeting.script.cut_silently = true;
        meeting.script.cuts = vec![cut(Target::AllMedia, 4030), cut(Target::Signaling, 7030)];
    })
    .await;
    all_back(&sent);
    sound_is_whole(&sent, &recording);
    pictures_are_accounted_for(&sent, &recording);
}

/// The event comes 2.6 s after the server has died: pictures are missing for so long.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_moves_is_followed_and_the_hole_is_told() {
    let (sent, recording) = record(13, |meeting| {
        meeting.script.failover_ms = vec![5030];
        meeting.webhooks.delay = Duration::from_millis(2600);
    })
    .await;
    all_back(&sent);
    sound_is_whole(&sent, &recording);
    pictures_are_accounted_for(&sent, &recording);
    let gaps = recording.gaps("video");
    let zero = recording.manifest.zero_at.expect("there are media").0 - sent.start_ms;
    let gap = gaps.iter().find(|(.., cause)| cause == "connection").unwrap_or_else(|| panic!("{gaps:?}"));
    let lost = sent.losses[0].at_ms - sent.start_ms;
    assert!((gap.0 + zero - lost).abs() <= 1000 && gap.1 + zero >= lost + 2500, "{gap:?} from {zero} on, {sent}");
    assert!(!recording.manifest.complete);
    assert!(recording.manifest.incomplete_because.iter().any(|why| why.contains("connection")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_stream_is_joined_again() {
    let (sent, recording) = record(10, |meeting| meeting.script.interrupted_ms = vec![5030]).await;
    all_back(&sent);
    sound_is_whole(&sent, &recording);
    pictures_are_accounted_for(&sent, &recording);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_come_twice_and_late_make_one_recording() {
    let home = Home::new();
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 6);
    settings.webhooks.duplicates = 4;
    settings.webhooks.late_start = true;
    let sent = play_one(settings).await;
    recorder.published(1).await;
    assert!(sent.webhooks.iter().all(|answer| answer.status == Some(200)), "{sent}");
    assert_eq!((sent.signaling_handshakes, sent.webhooks.len()), (1, 7), "{sent}");
    assert_eq!(recorder.logged("recording started").len(), 1);
    let recording = home.bucket().recording().await;
    recording.check_marks(&sent);
    // The same again at the next start, which has only done.json to go by.
    let (status, _) = recorder.terminate().await;
    assert_eq!(status, Some(0));
    let recorder = home.start().await;
    let event = serde_json::json!({"event": "meeting.rtms_started", "event_ts": sent.start_ms, "payload": {
        "meeting_uuid": sent.meeting_id, "rtms_stream_id": sent.stream_id, "server_urls": "ws://127.0.0.1:9/x"}});
    let answer = crate::common::http::signed(recorder.address(), event.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(recorder.logged("recording started").len(), 0);
    assert_eq!(home.spool_files(), [format!("{}/done.json", sent.stream_id)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_stopped_before_it_started_is_not_recorded() {
    let home = Home::new();
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 6);
    settings.webhooks.stop_before_start = true;
    settings.reconnect_window = Some(Duration::from_secs(2));
    let sent = play(settings).await.meetings.remove(0);
    assert!(sent.webhooks.iter().all(|answer| answer.status == Some(200)), "{sent}");
    assert_eq!((sent.signaling_handshakes, sent.media.len()), (0, 0), "{sent}");
    recorder.wait_for("stopped that was never announced").await;
    assert_eq!(recorder.logged("recording started").len(), 0);
    let (status, _) = recorder.terminate().await;
    assert_eq!(status, Some(0));
    assert_eq!(home.bucket().keys().await, Vec::<String>::new());
}

/// Zoom repeats events for an hour. One from before the connection says nothing about it.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_event_from_before_the_connection_disturbs_nothing() {
    let home = Home::new();
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 8);
    settings.speed = 1.0;
    crate::common::provide_crypto();
    let playing = tokio::spawn(rtms_recorder::simulator::run(settings, rtms_recorder::simulator::Progress::silent()));
    recorder.wait_for("recording started").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let start = std::fs::read(home.spooled().join("start.json")).expect("the event");
    let mut event: serde_json::Value = serde_json::from_slice(&start).expect("JSON");
    event["event"] = "meeting.rtms_interrupted".into();
    assert_eq!(crate::common::http::signed(recorder.address(), event.to_string().as_bytes()).await.status, 200);
    let sent = playing.await.expect("no panic").expect("it can be played").meetings.remove(0);
    assert_eq!((sent.signaling_handshakes, sent.losses.len()), (1, 0), "{sent}");
}
