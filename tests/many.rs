//! Many meetings at once. The recorder goes in the middle of them: all end up in the bucket, each without what came while it
//! was not there. There are more than can be rendered: their files come later, and are the same.

use crate::common::http::{get, metric};
use crate::common::loss::told;
use crate::common::{Home, Recorder, begin, meeting, provide_crypto};
use rtms_recorder::protocol::message::Medium;
use rtms_recorder::simulator::{self, Progress};
use std::time::{Duration, Instant};

const MEETINGS: usize = 50;
/// Time in the middle may be lost, in ms: a generous bound for 50 handshakes on a busy machine. Zoom keeps the sound meanwhile.
const LOST_MS: i64 = 3000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_meetings_survive_a_kill() {
    fifty(async |recorder| recorder.kill()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_meetings_survive_a_restart() {
    fifty(async |recorder| {
        let (status, took) = recorder.terminate().await;
        println!("MEASURED: it ends {:.1} s after SIGTERM", took.as_secs_f64());
        assert_eq!(status, Some(0));
    })
    .await;
}

async fn fifty(end: impl AsyncFnOnce(Recorder)) {
    let mut home = Home::new();
    home.set("PORT", &crate::common::ports::free().port().to_string());
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 14);
    settings.speed = 1.0;
    settings.media = vec![Medium::Audio];
    settings.meetings = MEETINGS;
    settings.stagger = Duration::from_millis(20);
    settings.webhooks.retry_after = Duration::from_millis(500);
    let playing = begin(settings);
    recorder.wait_for_many("media flow", MEETINGS).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let away = Instant::now();
    end(recorder).await;
    let recorder = home.start().await;
    recorder.wait_for_many("media flow", MEETINGS).await;
    println!("MEASURED: all {MEETINGS} are back after {:.1} s", away.elapsed().as_secs_f64());
    let sent = playing.await.expect("no panic").expect("they can be played").meetings;
    recorder.published(MEETINGS).await;
    let recordings = home.bucket().recordings().await;
    assert_eq!(recordings.len(), MEETINGS);
    let (mut most, mut slowest) = (0, 0.0_f64);
    for recording in &recordings {
        let of = sent.iter().find(|of| of.stream_id == recording.manifest.stream_id.as_str()).expect("it was sent");
        assert_eq!(of.error, None, "{of}");
        slowest =
            of.webhooks.iter().filter(|answer| answer.status == Some(200)).map(|a| a.after_ms).fold(slowest, f64::max);
        told(recording, of);
        let gaps = recording.gaps("audio");
        most = most.max(gaps.iter().filter(|gap| gap.2 == "connection").map(|gap| gap.1 - gap.0).sum());
        let lasted = recording.manifest.duration_ms as i64;
        assert!((lasted - (of.end_ms - of.start_ms)).abs() <= 1100, "{lasted} ms of {of}");
    }
    println!("MEASURED: at most {most} ms lost of a meeting; slowest answer to a webhook {slowest:.0} ms");
    assert!(most <= LOST_MS, "{most}");
    assert_eq!(home.spool_files().len(), MEETINGS, "{:?}", home.spool_files());
}

/// What comes is kept whatever becomes of rendering; what is made late is what would have been made at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overload_makes_files_late_and_changes_nothing_in_them() {
    const MEETINGS: usize = 4;
    let mut home = Home::new();
    home.set("KEEP_JOURNAL", "true");
    // Two recordings are rendered at a time, so all of them take longer than they last.
    home.wrap_ffmpeg("case \"$*\" in *pipe:0*) sleep 4 ;; esac");
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 12);
    settings.speed = 1.0;
    settings.meetings = MEETINGS;
    provide_crypto();
    let sent = simulator::run(settings, Progress::silent()).await.expect("they can be played").meetings;
    let in_time = recorder.logged("published").len();
    assert!(in_time < MEETINGS, "rendering is not slow enough for this test");
    let backlog =
        async || metric(&get(recorder.admin_address(), "/metrics").await.body, "recorder_render_backlog_seconds");
    assert!(backlog().await > 0.0);
    recorder.published(MEETINGS).await;
    assert_eq!(backlog().await, 0.0);
    home.unset("PATH");
    for recording in &home.bucket().recordings().await {
        let of = sent.iter().find(|of| of.stream_id == recording.manifest.stream_id.as_str()).expect("it was sent");
        assert!(recording.manifest.complete, "{:#?}", recording.manifest);
        assert_eq!(told(recording, of), 0);
        recording.check_marks(of);
        let (unpacked, out) = (home.path(&format!("{}.unpacked", of.stream_id)), home.path(&of.stream_id));
        let packed = std::fs::File::open(recording.file("journal.tar.zst")).expect("it is there");
        let mut archive = tar::Archive::new(zstd::Decoder::new(packed).expect("it is zstd"));
        archive.unpack(&unpacked).expect("it is a tar");
        let [journal, again] = [unpacked.join("journal"), out].map(|path| path.to_str().expect("UTF-8").to_owned());
        let rendered = home.run(&["render", &journal, "--out", &again]);
        assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
        for name in ["recording.mp4", "audio.m4a", "timeline.json"] {
            let (late, at_once) = (std::fs::read(recording.file(name)), std::fs::read(home.path(&again).join(name)));
            assert!(late.expect("it was published") == at_once.expect("it is made again"), "{name}");
        }
    }
}
