//! A bucket in trouble, seen through the whole recorder: what it refuses stays in the spool and is sent again, by itself, until
//! the bucket has it.

use crate::common::s3::{Fault, S3Server, Seen};
use crate::common::{Home, meeting, play, play_one, until};
use hyper::Method;
use rtms_recorder::protocol::message::Medium;
use std::time::Duration;

/// Puts of an object, by the end of its key.
fn put(name: &'static str) -> impl Fn(&Seen) -> bool + Send + 'static {
    move |seen| seen.method == Method::PUT && seen.key.ends_with(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_trouble_is_sat_out() {
    let server = S3Server::start().await;
    let mut home = Home::with_s3(server.address);
    home.set("AWS_TIMEOUT", "2 seconds");
    let recorder = home.start().await;
    // Never answers, and then so slowly that it is the same.
    server.inject(Fault::Hang, 1, put("recording.mp4"));
    server.inject(Fault::Drip, 1, put("recording.mp4"));
    // Damaged on the way, which the server notices; then it has trouble of its own.
    server.inject(Fault::Flip, 1, put("audio.m4a"));
    server.inject(Fault::Status(500), 4, put("audio.m4a"));
    // Damaged in the store, which the recorder notices; then it is asked to slow down.
    server.inject(Fault::Truncate, 1, put("timeline.json"));
    server.inject(Fault::Refuse(503, "SlowDown"), 4, put("timeline.json"));
    server.inject(Fault::Cut, 4, put("manifest.json"));
    let sent = play_one(meeting(&recorder.webhook, 6)).await;
    recorder.wait_for("stream ended").await;
    until("the first object is in the bucket", || !server.written().is_empty()).await;
    for name in ["recording.mp4", "audio.m4a", "timeline.json"] {
        assert!(home.spooled().join("out").join(name).exists(), "{name} stays until all is in the bucket");
    }
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    recording.check_files();
    recording.check_marks(&sent);
    assert_eq!(home.spool_files(), [format!("{}/done.json", sent.stream_id)]);
    let written = server.written();
    assert!(written.last().is_some_and(|key| key.ends_with("/manifest.json")), "{written:?}");
    let times = |name: &str| written.iter().filter(|key| key.ends_with(name)).count();
    assert_eq!(
        (times("timeline.json"), times("audio.m4a")),
        (2, 1),
        "what was stored wrongly is sent again: {written:?}"
    );
    let first = server.seen().into_iter().find(|seen| put("audio.m4a")(seen)).expect("it was sent");
    assert!(first.status >= 400, "the server noticed what was damaged: {first:?}");
}

/// Credentials that are not accepted for a while: recording goes on, nothing is removed, and nobody has to do anything here once
/// they are.
#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_cost_nothing_but_time() {
    let server = S3Server::start().await;
    let home = Home::with_s3(server.address);
    server.inject(Fault::Refuse(403, "AccessDenied"), usize::MAX, |_| true);
    let recorder = home.start().await;
    let line = recorder.wait_for("the bucket does not answer as it should").await;
    assert_eq!(line["level"], "ERROR");
    let first = play_one(meeting(&recorder.webhook, 6)).await;
    let line = recorder.wait_for("the bucket fails, trying again").await;
    let err = line["err"].as_str().expect("a reason");
    assert!(err.contains("403 Forbidden (AccessDenied)") && err.contains("kept in the spool"), "{err}");
    let second = play_one(meeting(&recorder.webhook, 6)).await;
    recorder.wait_for_many("stream ended", 2).await;
    for sent in [&first, &second] {
        let folder = home.spool().join(&sent.stream_id);
        until("it is rendered", || folder.join("out/plan.json").exists()).await;
        assert!(folder.join("journal/00000001.ndjson").exists() && folder.join("out/recording.mp4").exists());
    }
    assert_eq!(server.written(), [""; 0]);

    server.heal();
    recorder.published(2).await;
    recorder.wait_for("the bucket works again").await;
    let recordings = home.bucket().recordings().await;
    assert_eq!(recordings.len(), 2);
    for recording in recordings {
        let sent = if recording.manifest.stream_id.as_str() == first.stream_id { &first } else { &second };
        recording.check_files();
        recording.check_marks(sent);
    }
    let mut done = [&first, &second].map(|sent| format!("{}/done.json", sent.stream_id));
    done.sort();
    assert_eq!(home.spool_files(), done);
}

#[tokio::test(flavor = "multi_thread")]
async fn away_while_twenty_recordings_end() {
    const MEETINGS: usize = 20;
    let address = crate::common::ports::free();
    let home = Home::with_s3(address);
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 6);
    settings.media = vec![Medium::Audio];
    settings.meetings = MEETINGS;
    settings.stagger = Duration::from_millis(50);
    let sent = play(settings).await;
    recorder.wait_for_many("stream ended", MEETINGS).await;
    let planned = |home: &Home| home.spool_files().iter().filter(|file| file.ends_with("/out/plan.json")).count();
    until("all are rendered", || planned(&home) == MEETINGS).await;

    let _server = S3Server::start_at(address).await;
    recorder.published(MEETINGS).await;
    let recordings = home.bucket().recordings().await;
    assert_eq!(recordings.len(), MEETINGS);
    for recording in &recordings {
        let of = sent.meetings.iter().find(|of| of.stream_id == recording.manifest.stream_id.as_str());
        recording.check_marks(of.expect("it was sent"));
        assert!(recording.manifest.complete, "{:#?}", recording.manifest);
    }
    assert_eq!(home.spool_files().len(), MEETINGS, "{:?}", home.spool_files());
}
