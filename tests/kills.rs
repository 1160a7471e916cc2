//! The recorder is killed (SIGKILL) at random moments between the first webhook and the end of publishing, and started again
//! at once: whatever the moment, there is one recording in the end, and it says what it lacks.
//!
//! `KILLS` says how often (`scripts/kill-loop` asks for 100), `SEED` which moments.

use crate::common::chance::Chance;
use crate::common::loss::{journals, median, newest_media, now_ms, told};
use crate::common::{Home, Recorder, begin, meeting, s3, until};
use std::time::{Duration, Instant};

/// How much of what has arrived may be in memory only, as the README says, in ms.
const LOST_MS: i64 = 200;
/// What the median of that may be on a machine that is busy. A flush once a second would be far above it.
const MEDIAN_MS: i64 = 300;

const LENGTH_S: u64 = 8;
// The manifest tells by the clock when connections were down.
const SPEED: f64 = 1.0;
const AT_ONCE: usize = 4;

#[derive(Debug, Default)]
struct Outcome {
    kills: usize,
    /// How old the newest message in the journal was at each kill at which media were flowing.
    unwritten_ms: Vec<i64>,
    lost_marks: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killed_at_any_moment_there_is_one_recording_and_it_says_what_it_lacks() {
    let kills: usize = std::env::var("KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(12);
    let mut chance = Chance::from_env(20_261_121);
    let mut sum = Outcome::default();
    let (mut rounds, began) = (0, Instant::now());
    while sum.kills < kills {
        let mut wave = tokio::task::JoinSet::new();
        for n in 0..AT_ONCE {
            wave.spawn(round(rounds + n, chance.fork()));
        }
        rounds += AT_ONCE;
        while let Some(outcome) = wave.join_next().await {
            let outcome = outcome.expect("a round");
            sum.kills += outcome.kills;
            sum.lost_marks += outcome.lost_marks;
            sum.unwritten_ms.extend(outcome.unwritten_ms);
        }
    }
    assert!(!sum.unwritten_ms.is_empty(), "no kill came while media were flowing: {sum:?}");
    let median = median(&mut sum.unwritten_ms);
    let within = sum.unwritten_ms.iter().filter(|ms| **ms <= LOST_MS).count();
    println!(
        "MEASURED: {} kills in {rounds} meetings, {:.0} s; newest message in the journal at the {} kills amid media: median \
         {median} ms old, {within} within {LOST_MS} ms, oldest {} ms; {} marks lost and listed",
        sum.kills,
        began.elapsed().as_secs_f64(),
        sum.unwritten_ms.len(),
        sum.unwritten_ms.last().expect("there are some"),
        sum.lost_marks
    );
    assert!(median <= MEDIAN_MS, "{:?}", sum.unwritten_ms);
}

/// One meeting.
async fn round(n: usize, mut chance: Chance) -> Outcome {
    let mut home = Home::new();
    home.set("PORT", &crate::common::ports::free().port().to_string());
    if n % 3 == 2 {
        home.set("AUDIO_STREAMS", "participants");
    }
    let mut recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, LENGTH_S);
    settings.speed = SPEED;
    settings.webhooks.retry_after = Duration::from_millis(500);
    // As at Zoom, whatever the speed.
    settings.reconnect_window = Some(Duration::from_secs(60));
    let playing = begin(settings);
    until("the first webhook is there", || !home.spool_files().is_empty() || playing.is_finished()).await;

    let mut outcome = Outcome::default();
    for _ in 0..1 + chance.below(3) {
        let amid = chance.below(3) > 0;
        if amid {
            let longest = LENGTH_S as f64 / SPEED * 1000.0 + 500.0;
            tokio::time::sleep(Duration::from_millis(chance.below(longest as u64))).await;
        } else {
            ended(&recorder).await;
            tokio::time::sleep(Duration::from_millis(chance.below(1500))).await;
        }
        recorder.kill();
        let at = now_ms();
        outcome.kills += 1;
        if let Some(newest) = journals(&home).first().and_then(|journal| newest_media(journal))
            && !playing.is_finished()
        {
            outcome.unwritten_ms.push(at - newest);
        }
        recorder = home.start().await;
    }
    let sent = playing.await.expect("it does not panic").expect("it can be played").meetings.remove(0);
    assert_eq!(sent.error, None, "{sent}");
    until("the spool is tidy", || home.spool_files() == [format!("{}/done.json", sent.stream_id)]).await;
    let recording = home.bucket().recording().await;
    assert_eq!(recording.manifest.stream_id.as_str(), sent.stream_id);
    recording.check_files();
    outcome.lost_marks = told(&recording, &sent);
    let reason = recording.manifest.stop_reason.clone().and_then(|reason| reason.code);
    assert_eq!(reason, Some(6), "{:#?}", recording.manifest);
    println!("round {n}: {outcome:?}");
    outcome
}

/// Waits until this recorder has seen the end of the stream, or has nothing to wait for any more.
async fn ended(recorder: &Recorder) {
    const LONGEST: Duration = Duration::from_secs(8);
    let began = Instant::now();
    while recorder.logged("stream ended").is_empty() && began.elapsed() < LONGEST {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Killed after the start event was kept and before anything else was.
#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_journal_had_its_first_line() {
    let home = Home::new();
    let folder = home.spool().join("0123456789abcdef0123456789abcdef");
    let start = serde_json::json!({"event": "meeting.rtms_started", "event_ts": now_ms(), "payload": {
        "meeting_uuid": "m", "rtms_stream_id": "0123456789abcdef0123456789abcdef", "server_urls": "ws://127.0.0.1:9"}});
    for journal in ["absent", "empty", "torn"] {
        std::fs::create_dir_all(&folder).expect("a directory");
        std::fs::write(folder.join("start.json"), start.to_string()).expect("a file");
        if journal != "absent" {
            std::fs::create_dir_all(folder.join("journal")).expect("a directory");
            let line = if journal == "torn" { "{\"t\":1,\"c\":\"ev" } else { "" };
            std::fs::write(folder.join("journal/00000001.ndjson.open"), line).expect("a file");
        }
        let recorder = home.start().await;
        recorder.wait_for("joining again").await;
        stop(&recorder, "0123456789abcdef0123456789abcdef").await;
        recorder.published(1).await;
        let recording = home.bucket().recording().await;
        assert!(!recording.manifest.complete, "{:#?}", recording.manifest);
        recorder.kill();
        std::fs::remove_dir_all(&folder).expect("it is there");
        std::fs::remove_dir_all(home.path("bucket")).expect("it is there");
        std::fs::create_dir(home.path("bucket")).expect("a directory");
    }
}

/// Killed after the stop event was answered and before the recorder had noted the end: it does not go and look for a stream
/// that is over.
#[tokio::test(flavor = "multi_thread")]
async fn killed_before_it_had_noted_the_end_it_knows_from_the_stop_event() {
    let address = crate::common::ports::free();
    let home = Home::with_s3(address);
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 20);
    settings.speed = SPEED;
    let playing = begin(settings);
    recorder.wait_for("media flow").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let id = home.spooled().file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    stop(&recorder, &id).await;
    recorder.wait_for("stream ended").await;
    playing.abort();
    recorder.wait_for("the bucket fails, trying again").await;
    recorder.kill();
    // What the spool holds at that moment.
    let spooled = home.spooled();
    for name in ["out", "render"] {
        std::fs::remove_dir_all(spooled.join(name)).ok();
    }
    let journal = spooled.join("journal");
    let last = rtms_recorder::journal::read::chunks(&journal).expect("chunks").pop().expect("a chunk");
    let text = std::fs::read_to_string(&last.path).expect("a chunk");
    let stop = text.find("rtms_stopped").expect("the stop event");
    let end = stop + text[stop..].find('\n').expect("a line") + 1;
    assert!(text.contains(r#""note":"ended""#), "the end was noted");
    let before: String =
        text[..end].lines().filter(|line| !line.contains("ended")).flat_map(|line| [line, "\n"]).collect();
    std::fs::remove_file(&last.path).expect("it is there");
    std::fs::write(journal.join(format!("{:08}.ndjson.open", last.number)), before).expect("a file");

    let _server = s3::S3Server::start_at(address).await;
    let recorder = home.start().await;
    recorder.published(1).await;
    assert!(recorder.logged("joining again").is_empty(), "{}", recorder.raw_log());
    let recording = home.bucket().recording().await;
    recording.check_files();
    assert!(recording.manifest.complete && recording.manifest.duration_ms > 2000, "{:#?}", recording.manifest);
    assert_eq!(recording.manifest.stop_reason.as_ref().and_then(|reason| reason.code), Some(6));
}

async fn stop(recorder: &Recorder, stream_id: &str) {
    let stop = serde_json::json!({"event": "meeting.rtms_stopped", "event_ts": now_ms(), "payload": {
        "meeting_uuid": "m", "rtms_stream_id": stream_id, "stop_reason": 6}});
    let answer = crate::common::http::signed(recorder.address(), stop.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200);
}
