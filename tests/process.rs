//! The process: settings, the spool's lock, what is missing at start, kills and restarts, the same files from the
//! journal alone.

use crate::common::s3::S3Server;
use crate::common::{Home, begin, copy, measure, meeting, play_one, until};
use std::path::Path;
use std::time::Duration;

#[test]
fn wrong_settings_are_all_named_at_once() {
    let mut home = Home::new();
    for (name, value) in
        [("PORT", "http"), ("VIDEO_SIZE", "huge"), ("MEDIA", "audio,smell"), ("SPOOL_MIN_FREE", "lots")]
    {
        home.set(name, value);
    }
    home.unset("ZOOM_CLIENT_SECRET");
    home.unset("ZOOM_SECRET_TOKEN");
    // Without a command it serves, too.
    for args in [&["serve"][..], &[]] {
        let output = home.run(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{said}");
        for name in ["PORT", "VIDEO_SIZE", "MEDIA", "SPOOL_MIN_FREE", "ZOOM_CLIENT_SECRET", "ZOOM_SECRET_TOKEN"] {
            assert!(said.contains(name), "{name} is not named: {said}");
        }
        assert!(said.contains("6 settings are wrong"), "{said}");
    }
    assert!(!home.spool().exists(), "it did not start");
}

#[test]
fn a_bucket_that_cannot_be_is_a_wrong_setting() {
    for (url, expected) in [
        ("ftp://host/x", "s3://bucket/prefix"),
        ("s3://", "names no bucket"),
        ("/dev/null/recordings", "Not a directory"),
        ("s3://user:client-secret-that-no-text-may-show@bucket/x", "credentials"),
    ] {
        let mut home = Home::new();
        home.set("STORAGE_URL", url);
        let output = home.run(&["serve"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{url}: {said}");
        assert!(said.contains("STORAGE_URL") && said.contains(expected), "{url}: {said}");
        assert!(!said.contains(crate::common::CLIENT_SECRET), "{said}");
    }
    // S3 over plain HTTP has to be allowed in so many words.
    let mut home = Home::with_s3("127.0.0.1:9".parse().expect("an address"));
    home.unset("AWS_ALLOW_HTTP");
    let output = home.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(64) && said.contains("AWS_ALLOW_HTTP"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_spool_is_refused() {
    let home = Home::new();
    let recorder = home.start().await;
    let output = home.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains(&format!("process {}", recorder.pid())), "{said}");
    // The lock goes with its process, however it ends.
    recorder.kill();
    let again = home.start().await;
    assert_eq!(again.terminate().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ffmpeg_meetings_are_captured_and_published_once_it_is_there() {
    let mut home = Home::new();
    let empty = home.path("empty");
    std::fs::create_dir(&empty).expect("a directory");
    home.set("PATH", empty.to_str().expect("UTF-8"));
    let recorder = home.start().await;
    let line = recorder.wait_for("no files are made until ffmpeg works").await;
    assert_eq!(line["level"], "ERROR");
    let err = line["err"].as_str().expect("a reason");
    assert!(err.contains("install"), "it does not say what to do: {err}");
    assert_eq!(crate::common::http::get(recorder.address(), "/healthz").await.status, 200);

    let sent = play_one(meeting(&recorder.webhook, 8)).await;
    recorder.wait_for("stream ended").await;
    recorder.wait_for("rendering failed; nothing is lost").await;
    assert_eq!(recorder.terminate().await.0, Some(0));
    assert_eq!(home.bucket().keys().await, Vec::<String>::new());

    home.unset("PATH");
    let recorder = home.start().await;
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    recording.check_files();
    recording.check_marks(&sent);
    assert!(recording.manifest.complete, "{:#?}", recording.manifest);
}

/// The journal is kept by a bucket that cannot be reached; it gives the same bytes as the live recorder made, each
/// time, and the bucket gets them by itself once it is there.
#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_comes_late_and_the_journal_gives_the_same_files() {
    let address = crate::common::ports::free();
    let home = Home::with_s3(address);
    let recorder = home.start().await;
    recorder.wait_for("the bucket does not answer as it should").await;
    let sent = play_one(meeting(&recorder.webhook, 14)).await;
    recorder.wait_for("the bucket fails, trying again").await;
    let spooled = home.spooled();
    let id = spooled.file_name().expect("a name").to_owned();
    let kept = home.path("kept").join(&id).join("journal");
    copy(&spooled.join("journal"), &kept);

    // A restart in between changes nothing.
    assert_eq!(recorder.terminate().await.0, Some(0));
    let recorder = home.start().await;
    recorder.wait_for("the bucket fails, trying again").await;
    assert!(home.spooled().join("out/plan.json").exists());
    let _server = S3Server::start_at(address).await;
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    recording.check_files();
    recording.check_marks(&sent);
    assert_eq!(home.spool_files(), [format!("{}/done.json", sent.stream_id)]);

    let mut rendered = Vec::new();
    for name in ["first", "second"] {
        let out = home.path(name);
        let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let output = home.run(&["render", &path(&kept), "--out", &path(&out)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        rendered.push(out);
    }
    let mut names: Vec<_> =
        std::fs::read_dir(&rendered[0]).expect("files").map(|e| e.expect("a file").file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "audio.m4a",
            "chat.json",
            "chat.txt",
            "index.html",
            "manifest.json",
            "poster.jpg",
            "recording.mp4",
            "timeline.json",
            "transcript.json",
            "transcript.vtt"
        ]
    );
    for name in ["audio.m4a", "recording.mp4", "timeline.json", "poster.jpg", "index.html", "manifest.json"] {
        let [one, two] = [0, 1].map(|n: usize| std::fs::read(rendered[n].join(name)).expect("a file"));
        assert!(one == two, "{name} differs from one rendering to the next");
        let live = match name {
            "manifest.json" => recording.json.clone(),
            _ => std::fs::read(recording.file(name)).expect("a file"),
        };
        assert!(one == live, "{name} is not what the live recorder published");
    }
}

#[test]
fn what_is_no_journal_is_not_rendered() {
    let home = Home::new();
    let (nothing, out) = (home.path("nothing"), home.path("out"));
    for make in [false, true] {
        if make {
            std::fs::create_dir(&nothing).expect("a directory");
        }
        let output = home.run(&["render", nothing.to_str().expect("UTF-8"), "--out", out.to_str().expect("UTF-8")]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("nothing"), "{said}");
        assert!(!out.join("manifest.json").exists());
    }
}

/// Killed in the middle of a meeting and started again at the same address.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_mid_meeting_it_joins_again() {
    let mut home = Home::new();
    home.set("PORT", &crate::common::ports::free().port().to_string());
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 20);
    settings.speed = 1.0;
    let playing = begin(settings);
    recorder.wait_for("recording started").await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    recorder.kill();
    let recorder = home.start().await;
    recorder.wait_for("joining again a stream").await;
    let sent = playing.await.expect("it does not panic").expect("it can be played").meetings.remove(0);
    recorder.published(1).await;
    assert!(sent.losses.iter().all(|loss| loss.back_after_ms.is_some()), "{sent}");

    let recording = home.bucket().recording().await;
    recording.check_files();
    let lasted = recording.manifest.duration_ms as i64;
    assert!((lasted - (sent.end_ms - sent.start_ms)).abs() <= 1100, "{lasted} ms of {sent}");
    // What had been sent and not yet written is gone, and told. Everything else is in its place.
    let gaps = recording.gaps("audio");
    let lost: i64 = gaps.iter().map(|(start, end, _)| end - start).sum();
    assert!(lost < 3000, "{gaps:?}");
    assert_eq!(
        recording.manifest.complete,
        gaps.is_empty() && recording.gaps("video").iter().all(|g| g.2 != "connection")
    );
    let near_gap = |ms: f64| gaps.iter().any(|g| ms > g.0 as f64 - 150.0 && ms < g.1 as f64 + 150.0);
    let whole = |times: Vec<f64>| times.into_iter().filter(|ms| !near_gap(*ms)).collect::<Vec<_>>();
    let beeps = whole(recording.on_timeline(&sent.beeps_ms));
    let heard = whole(measure::beeps(&recording.file("recording.mp4")));
    measure::same("beeps", &heard, &beeps);
    let seen = measure::flashes(&recording.file("recording.mp4"));
    let flashes = recording.on_timeline(&sent.flashes_ms);
    for flash in &seen {
        assert!(
            flashes.iter().any(|sent| (sent - flash).abs() <= measure::TOLERANCE_MS),
            "a flash at {flash} ms: {flashes:?}"
        );
    }
    // At most the flash at the kill and the one while nobody was there are lost.
    assert!(seen.len() + 2 >= flashes.len(), "{seen:?} of {flashes:?}");
    assert!(beeps.iter().any(|ms| *ms < 6000.0) && beeps.iter().any(|ms| *ms > 12_000.0), "both halves: {beeps:?}");
}

/// Handed over: the next start finishes what SIGTERM left.
#[tokio::test(flavor = "multi_thread")]
async fn terminated_in_mid_meeting_the_next_start_finishes_it() {
    let mut home = Home::new();
    home.set("PORT", &crate::common::ports::free().port().to_string());
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 16);
    settings.speed = 1.0;
    let playing = begin(settings);
    recorder.wait_for("recording started").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (status, took) = recorder.terminate().await;
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(25), "it took {took:?}");
    assert!(home.spooled().join("journal").exists());
    let recorder = home.start().await;
    recorder.wait_for("joining again a stream").await;
    let sent = playing.await.expect("it does not panic").expect("it can be played").meetings.remove(0);
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    recording.check_files();
    assert!(recording.on_timeline(&sent.beeps_ms).len() >= 7);
    let heard = measure::beeps(&recording.file("audio.m4a"));
    assert!(heard.len() + 1 >= sent.beeps_ms.len(), "{heard:?} {sent}");
    assert!(sent.signaling_handshakes >= 2, "{sent}");
}

/// Killed between the end of the stream and the end of publishing, wherever that is.
#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_end_the_next_start_publishes() {
    let home = Home::new();
    let recorder = home.start().await;
    let sent = play_one(meeting(&recorder.webhook, 6)).await;
    recorder.wait_for("stream ended").await;
    recorder.kill();
    let recorder = home.start().await;
    until("the spool is empty", || home.spool_files() == [format!("{}/done.json", sent.stream_id)]).await;
    let recording = home.bucket().recording().await;
    recording.check_marks(&sent);
    assert_eq!(recorder.terminate().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_is_a_command_too() {
    let home = Home::new();
    let gone = home.run(&["simulate", "--to", "http://127.0.0.1:9/webhook", "--length", "2", "--webhook-retry", "0"]);
    let said = String::from_utf8_lossy(&gone.stderr);
    assert!(!gone.status.success() && said.contains("cannot be reached"), "{said}");

    let recorder = home.start().await;
    let meeting = ["--length", "6", "--speed", "2", "--size", "320x180", "--bitrate", "300", "--validate"];
    let args = [&["simulate", "--json", "--to", recorder.webhook.as_str()][..], &meeting].concat();
    let mut command = home.command(&args);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    let sent = &summary["meetings"][0];
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    assert_eq!(sent["stream_id"], recording.manifest.stream_id.as_str());
    let beeps: Vec<i64> = serde_json::from_value(sent["beeps_ms"].clone()).expect("times");
    assert_eq!(beeps.len(), 3);
    measure::same("beeps", &measure::beeps(&recording.file("audio.m4a")), &recording.on_timeline(&beeps));
}
