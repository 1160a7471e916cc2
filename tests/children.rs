//! ffmpeg dies, hangs, or outlives the recorder: nothing is lost, and what has outlived a recorder writes nothing that the next
//! one uses. That it is missing altogether is in `process.rs`.

use crate::common::{Home, Recorder, begin, meeting, until};
use rtms_recorder::simulator::MeetingSummary;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Plays a meeting of which the first chunk is rendered while it runs: 13 s.
fn playing(recorder: &Recorder) -> JoinHandle<MeetingSummary> {
    let mut settings = meeting(&recorder.webhook, 26);
    settings.speed = 2.0;
    settings.reconnect_window = Some(Duration::from_secs(60));
    settings.webhooks.retry_after = Duration::from_millis(500);
    let playing = begin(settings);
    tokio::spawn(async move {
        let summary = playing.await.expect("no panic").expect("it can be played");
        summary.meetings.into_iter().next().expect("a meeting")
    })
}

/// The child that encodes the sound, once it runs.
async fn encoder(recorder: &Recorder) -> i32 {
    let find =
        || recorder.children().into_iter().find(|(_, command)| command.contains("s16le") && command.contains("pipe:0"));
    until("the sound is being encoded", || find().is_some()).await;
    find().expect("it lives until the end").0
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).expect("a pid"), signal).expect("it runs");
}

/// Whether a process runs; one that nobody has waited for does not.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

async fn all_is_there(home: &Home, sent: &MeetingSummary) {
    let recording = home.bucket().recording().await;
    recording.check_files();
    recording.check_marks(sent);
    assert!(recording.manifest.complete, "{:#?}", recording.manifest);
    assert_eq!(home.spool_files(), [format!("{}/done.json", sent.stream_id)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_is_killed_is_started_again_from_the_journal() {
    let home = Home::new();
    let recorder = home.start().await;
    let playing = playing(&recorder);
    signal(encoder(&recorder).await, Signal::KILL);
    let line = recorder.wait_for("rendering failed; nothing is lost").await;
    assert!(line["err"].as_str().is_some_and(|err| err.contains("encoding the sound")), "{line}");
    let sent = playing.await.expect("no panic");
    recorder.published(1).await;
    all_is_there(&home, &sent).await;
    let metrics = crate::common::http::get(recorder.admin_address(), "/metrics").await.body;
    assert!(metrics.contains("recorder_ffmpeg_restarts_total 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes a minute to give a child up; scripts/kill-loop runs it, and tests/ffmpeg.rs tries it with shorter times"]
async fn a_child_that_hangs_is_given_up() {
    let home = Home::new();
    let recorder = home.start().await;
    let playing = playing(&recorder);
    let child = encoder(&recorder).await;
    signal(child, Signal::STOP);
    let sent = playing.await.expect("no panic");
    recorder.wait_for("stream ended").await;
    let line = recorder.wait_for("rendering failed; nothing is lost").await;
    assert!(line["err"].as_str().is_some_and(|err| err.contains("was killed")), "{line}");
    recorder.published(1).await;
    all_is_there(&home, &sent).await;
    assert!(!runs(child));
}

/// Its input ends with the recorder, and so does it.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_does_not_outlive_a_recorder_that_is_killed() {
    let home = Home::new();
    let recorder = home.start().await;
    let _playing = playing(&recorder);
    let child = encoder(&recorder).await;
    recorder.kill();
    until("the child ends by itself", || !runs(child)).await;
}

/// Stopped in the middle, it wakes up amid the work of the next recorder; what it then writes is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_wakes_up_later_writes_nothing_that_is_used() {
    let mut home = Home::new();
    home.set("PORT", &crate::common::ports::free().port().to_string());
    let recorder = home.start().await;
    let playing = playing(&recorder);
    let child = encoder(&recorder).await;
    signal(child, Signal::STOP);
    recorder.kill();
    let recorder = home.start().await;
    encoder(&recorder).await;
    signal(child, Signal::CONT);
    let sent = playing.await.expect("no panic");
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    recording.check_files();
    assert_eq!(home.spool_files(), [format!("{}/done.json", sent.stream_id)]);
    until("it has ended", || !runs(child)).await;
}

/// A step that needs no input goes on after its recorder was killed, and even opens its output then.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_outlives_its_recorder_writes_nothing_that_is_used() {
    let mut home = Home::new();
    home.set("PORT", &crate::common::ports::free().port().to_string());
    // The first one that assembles sleeps before it does.
    let (began, ended) = (home.path("began"), home.path("ended"));
    home.wrap_ffmpeg(&format!(
        "case \"$*\" in *recording.mp4*)\n  if [ ! -e {began} ]; then\n    touch {began}; sleep 8\n    \
         $REAL \"$@\"; echo $? >{ended}.new; mv {ended}.new {ended}; exit 1\n  fi\nesac",
        began = began.display(),
        ended = ended.display(),
    ));

    let recorder = home.start().await;
    let sent = crate::common::play_one(meeting(&recorder.webhook, 6)).await;
    until("it is being assembled", || began.exists()).await;
    recorder.kill();
    let recorder = home.start().await;
    recorder.published(1).await;
    assert!(!ended.exists(), "it still sleeps");
    until("it wakes up", || ended.exists()).await;
    assert_ne!(std::fs::read_to_string(&ended).expect("a status").trim(), "0", "it had nowhere to write to");
    all_is_there(&home, &sent).await;
}
