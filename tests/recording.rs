//! Whole meetings, from the webhook to the bucket, with the files measured: is what was sent where it belongs?

use crate::common::s3::S3Server;
use crate::common::{Home, Recording, measure, meeting, play, play_one};
use rtms_recorder::simulator::{Binary, MeetingSummary, Quirks, Settings, Size, Span};
use serde_json::{Value, json};

/// A picture more or less, at 25 a second.
const FRAME_MS: i64 = 41;

fn span(start_ms: i64, end_ms: i64) -> Span {
    Span { start_ms, end_ms }
}

/// Plays one meeting at a recorder with a local bucket; the recording has been checked as far as any can be.
async fn record(settings: impl FnOnce(&mut Settings)) -> (MeetingSummary, Recording) {
    let home = Home::new();
    let recorder = home.start().await;
    let mut meeting = meeting(&recorder.webhook, 12);
    settings(&mut meeting);
    let sent = play_one(meeting).await;
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    assert_eq!(recording.manifest.stream_id.as_str(), sent.stream_id);
    recording.check_files();
    recording.check_marks(&sent);
    (sent, recording)
}

/// Nothing was lost on the way: all pictures, all samples, no gap but at the start of the pictures.
fn nothing_lost(sent: &MeetingSummary, recording: &Recording) {
    assert!(recording.manifest.complete, "{:#?}", recording.manifest);
    assert_eq!(recording.gaps("audio"), []);
    let (received, filled, dropped) = recording.track("audio");
    let sound_ms = sent.media[&rtms_recorder::protocol::message::Medium::Audio].samples / 16;
    assert_eq!((received, dropped), (sound_ms, 0), "{filled} ms filled");
    let pictures = measure::packet_times(&recording.file("recording.mp4"), "video").len() as u64;
    let sent = sent.media[&rtms_recorder::protocol::message::Medium::Video].messages;
    assert!(pictures >= sent, "{pictures} of {sent} pictures");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_meeting_into_s3() {
    let server = S3Server::start().await;
    let home = Home::with_s3(server.address);
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 26);
    settings.speed = 2.0;
    settings.webhooks.validate = true;
    let sent = play_one(settings).await;
    recorder.published(1).await;

    let bucket = home.bucket();
    let recording = bucket.recording().await;
    recording.check_files();
    recording.check_marks(&sent);
    nothing_lost(&sent, &recording);
    assert!(sent.beeps_ms.len() >= 12 && sent.flashes_ms.len() >= 8, "{sent}");
    let manifest = &recording.manifest;
    let zero = manifest.zero_at.expect("there are media").0;
    let lasted = manifest.duration_ms as i64;
    assert!((zero + lasted - sent.end_ms).abs() <= 80, "{lasted} ms from {zero}, but it ended at {}", sent.end_ms);

    let codecs = |name: &str| -> Vec<String> {
        measure::streams(&recording.file(name)).into_iter().map(|stream| stream.codec).collect()
    };
    assert_eq!(codecs("recording.mp4"), ["h264", "aac"]);
    assert_eq!(codecs("audio.m4a"), ["aac"]);
    for object in &manifest.objects {
        assert_eq!(bucket.content_type(&object.key).await.as_deref(), Some(object.content_type.as_str()));
    }
    let manifest_key = bucket.keys().await.into_iter().find(|key| key.ends_with("manifest.json")).expect("a manifest");
    assert_eq!(bucket.content_type(&manifest_key).await.as_deref(), Some("application/json"));
    let written = server.written();
    assert!(written.last().is_some_and(|key| key.ends_with("/manifest.json")), "the manifest is last: {written:?}");

    let id = &sent.stream_id;
    let keys: Vec<String> = bucket.keys().await.iter().map(|key| redact_key(key, id)).collect();
    insta::assert_snapshot!(keys.join("\n"), @"
    YYYY/MM/DD/TIME-90000000000-STREAM/audio.m4a
    YYYY/MM/DD/TIME-90000000000-STREAM/chat.json
    YYYY/MM/DD/TIME-90000000000-STREAM/chat.txt
    YYYY/MM/DD/TIME-90000000000-STREAM/index.html
    YYYY/MM/DD/TIME-90000000000-STREAM/manifest.json
    YYYY/MM/DD/TIME-90000000000-STREAM/poster.jpg
    YYYY/MM/DD/TIME-90000000000-STREAM/recording.mp4
    YYYY/MM/DD/TIME-90000000000-STREAM/timeline.json
    YYYY/MM/DD/TIME-90000000000-STREAM/transcript.json
    YYYY/MM/DD/TIME-90000000000-STREAM/transcript.vtt
    ");
    insta::assert_json_snapshot!("manifest", redact(&recording, id));
    assert_eq!(home.spool_files(), [format!("{id}/done.json")]);
    // The sockets may close before the word that it is over has been read.
    let mut complaints = recorder.complaints();
    complaints.retain(|line| !line["message"].as_str().is_some_and(|message| message.starts_with("connection ")));
    assert_eq!(complaints, Vec::<Value>::new());
}

/// `2026/11/20/093000Z-...-01234567/x` without day, time and stream.
fn redact_key(key: &str, stream_id: &str) -> String {
    let (folder, name) = key.rsplit_once('/').expect("a folder");
    let shape: String = folder.replace(&stream_id[..8], "STREAM");
    let (day, rest) = shape.split_at("2026/11/20/".len());
    let (time, rest) = rest.split_at("093000Z".len());
    assert!(day.bytes().all(|b| b.is_ascii_digit() || b == b'/'), "{key}");
    assert!(time.ends_with('Z') && time[..6].bytes().all(|b| b.is_ascii_digit()), "{key}");
    format!("YYYY/MM/DD/TIME{rest}/{name}")
}

fn redact(recording: &Recording, stream_id: &str) -> Value {
    let mut json: Value = serde_json::from_slice(&recording.json).expect("JSON");
    for (path, shown) in [
        ("/recorder/version", "VERSION"),
        ("/recording_id", "STREAM"),
        ("/stream_id", "STREAM"),
        ("/meeting_uuid", "UUID"),
        ("/started_at", "TIME"),
        ("/zero_at", "TIME"),
        ("/ended_at", "TIME"),
        ("/duration_ms", "NUMBER"),
        // The last message on the signaling socket, or the webhook: whichever comes first.
        ("/stop_reason/source", "EVENT OR SIGNALING"),
        ("/counters/messages", "NUMBER"),
    ] {
        *json.pointer_mut(path).unwrap_or_else(|| panic!("{path} is absent")) = json!(shown);
    }
    // On a slow machine the first pictures are missed.
    assert!(recording.gaps("video").iter().all(|gap| gap.0 == 0), "{:?}", recording.gaps("video"));
    json["gaps"] = json!([]);
    for list in ["/objects", "/tracks"] {
        for item in json.pointer_mut(list).and_then(Value::as_array_mut).expect("a list") {
            for (name, value) in item.as_object_mut().expect("an object") {
                match name.as_str() {
                    "size_bytes" | "duration_ms" | "received_ms" | "filled_ms" | "end_ms" => *value = json!("NUMBER"),
                    // Level and constraints are those of the first picture, or of the slate.
                    "codec" => *value = json!(value.as_str().expect("text").replacen("640028", "64....", 1)),
                    "sha256" => *value = json!("SHA-256"),
                    "key" => *value = json!(redact_key(value.as_str().expect("a key"), stream_id)),
                    _ => {}
                }
            }
        }
    }
    json
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_that_are_off_and_microphones_that_are_mute() {
    let (sent, recording) = record(|meeting| {
        meeting.length = Some(std::time::Duration::from_secs(24));
        // The camera comes late, and goes for long and for short; sound is missing twice, once without a picture.
        meeting.script.camera_off = vec![span(0, 2400), span(6400, 12_200), span(16_400, 16_900)];
        meeting.script.silence = vec![span(8400, 10_400), span(18_200, 18_700)];
        meeting.script.share = vec![span(4500, 9500)];
    })
    .await;
    let zero = recording.manifest.zero_at.expect("there are media").0 - sent.start_ms;
    let near = |gaps: &[(i64, i64, String)], expected: &[(i64, i64)], slack: i64| {
        let fits = gaps.len() == expected.len()
            && gaps.iter().zip(expected).all(|((start, end, cause), (from, to))| {
                (start + zero - from).abs() <= slack && (end + zero - to).abs() <= slack && cause == "not_sent"
            });
        assert!(fits, "gaps {gaps:?} from {zero} on, scripted {expected:?}");
    };
    // Packets of 100 ms: what the script withholds is rounded to them, the manifest is exact.
    near(&recording.gaps("audio"), &[(8400, 10_400), (18_200, 18_700)], 1);
    // Pictures begin again with the next key frame, at a whole second; a second without pictures is no gap.
    near(&recording.gaps("video"), &[(zero, 3000), (6400, 13_000)], FRAME_MS);
    let share = recording.file("screenshare.mp4");
    // An image a second, each at its time.
    let shown = measure::packet_times(&share, "video");
    let images: Vec<i64> = (5..=9).map(|second| second * 1000 - zero).collect();
    let missing: Vec<_> =
        images.iter().filter(|at| !shown.iter().any(|ms| (ms - **at as f64).abs() <= FRAME_MS as f64)).collect();
    assert!(missing.is_empty(), "shared images at {missing:?} are missing from {shown:?}");
    assert!(recording.manifest.complete, "what nobody sent is not missing: {:#?}", recording.manifest);
    for gap in recording.gaps("audio") {
        let sound = measure::samples(&recording.file("recording.mp4"));
        // The encoder smears an edge by a frame of 64 ms.
        let peak = measure::peak(&sound, gap.0 + 70, gap.1 - 70);
        assert!(peak < 30, "it is not silent in {gap:?}: {peak}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_without_a_camera_is_sound() {
    let home = Home::new();
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 8);
    settings.script.camera_off = vec![span(0, 100_000)];
    let sent = play_one(settings).await;
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    assert_eq!(
        recording.names(),
        ["audio.m4a", "transcript.vtt", "transcript.json", "chat.txt", "chat.json", "timeline.json", "index.html"]
    );
    recording.check_files();
    recording.check_marks(&sent);
    assert!(recording.manifest.complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_meetings_at_once_are_five_recordings() {
    let home = Home::new();
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 12);
    settings.meetings = 5;
    settings.stagger = std::time::Duration::from_millis(370);
    let sent = play(settings).await;
    recorder.published(5).await;
    let recordings = home.bucket().recordings().await;
    assert_eq!(recordings.len(), 5);
    for meeting in &sent.meetings {
        assert_eq!(meeting.refusals, Vec::<String>::new());
        let own: Vec<_> = recordings.iter().filter(|r| r.manifest.stream_id.as_str() == meeting.stream_id).collect();
        assert_eq!(own.len(), 1, "{}", meeting.stream_id);
        assert_eq!(own[0].manifest.ids.meeting_uuid.as_deref(), Some(meeting.meeting_id.as_str()));
        assert_eq!(own[0].manifest.started_at.0, meeting.start_ms);
        own[0].check_files();
        own[0].check_marks(meeting);
        nothing_lost(meeting, own[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_recording_goes_up_in_parts() {
    const PART: u64 = 8 << 20;
    let server = S3Server::start().await;
    let home = Home::with_s3(server.address);
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 16);
    settings.size = Size { width: 1280, height: 720 };
    settings.kbit_per_s = 9000;
    let sent = play_one(settings).await;
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    let size = recording.manifest.objects.iter().find(|object| object.name == "recording.mp4").map(|o| o.size_bytes);
    assert!(size.is_some_and(|size| size > PART), "{size:?}");
    let parts = server.seen().into_iter().filter(|seen| {
        seen.method == hyper::Method::PUT && seen.key.ends_with("recording.mp4") && seen.query.contains("partNumber=")
    });
    assert!(parts.count() >= 2, "it did not go up in parts");
    recording.check_files();
    recording.check_marks(&sent);
    nothing_lost(&sent, &recording);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_frames_only_and_payloads_nested() {
    let (sent, recording) = record(|meeting| {
        meeting.binary = Binary::Never;
        meeting.webhooks.nested = true;
        meeting.quirks.pretty = true;
        meeting.quirks.numbers_as_strings = true;
    })
    .await;
    nothing_lost(&sent, &recording);
    assert_eq!(recording.manifest.ids.account_id.as_deref(), Some(crate::common::ACCOUNT));
    assert_eq!(recording.manifest.counters.unparsed_messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_frames_only_with_escaped_slashes() {
    let (sent, recording) = record(|meeting| {
        meeting.binary = Binary::Always;
        meeting.quirks.escaped_slashes = true;
        meeting.quirks.keepalive_without_timestamp = true;
        meeting.keepalive = std::time::Duration::from_millis(500);
        meeting.keepalive_always = true;
    })
    .await;
    nothing_lost(&sent, &recording);
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_in_between_is_counted_and_hurts_nothing() {
    let (sent, recording) = record(|meeting| {
        meeting.quirks = Quirks { unknown_messages: true, garbage: true, ..Quirks::default() };
    })
    .await;
    nothing_lost(&sent, &recording);
    assert!(recording.manifest.counters.unparsed_messages > 0, "{:?}", recording.manifest.counters);
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_start_in_the_middle_with_headers_once() {
    let home = Home::new();
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 12);
    settings.quirks = Quirks { mid_gop: true, headers_once: true, ..Quirks::default() };
    let sent = play_one(settings).await;
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    recording.check_files();
    recording.check_marks(&sent);
    for (_, _, cause) in recording.gaps("video") {
        assert!(["no_key_frame", "not_sent"].contains(&cause.as_str()), "{cause}");
    }
    assert_eq!(recording.gaps("audio"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_run_off_and_times_that_jitter() {
    let (_, recording) = record(|meeting| {
        meeting.length = Some(std::time::Duration::from_secs(20));
        meeting.quirks = Quirks { clock_ppm: 300.0, jitter_ms: 12, ..Quirks::default() };
    })
    .await;
    assert_eq!(recording.gaps("audio"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_video_sdk() {
    let mut home = Home::new();
    home.set("ZOOM_VIDEO_SDK_KEY", "sdkKey");
    home.set("ZOOM_VIDEO_SDK_SECRET", crate::common::CLIENT_SECRET);
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 6);
    settings.product = rtms_recorder::ids::Product::Session;
    settings.credentials.client_id = "sdkKey".to_owned();
    let sent = play_one(settings).await;
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    recording.check_marks(&sent);
    assert_eq!(recording.manifest.ids.session_id.as_deref(), Some(sent.meeting_id.as_str()));
}

/// What everything here relies on: an offset is found where there is one, in a file that somebody else made.
#[test]
fn the_measure_finds_marks_and_offsets() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("marks.mp4");
    // Flashes at 1 and 3 s; beeps at 1.08 and 3.08 s.
    let picture = "testsrc2=s=320x180:r=25:d=5,drawbox=c=white:t=fill:enable='lt(mod(n+25,50),3)'";
    let sound = "aevalsrc='if(lt(mod(t+0.92,2),0.1),0.6*sin(2000*PI*(t+0.92)),0.01*random(0))':s=16000:d=5";
    let made = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound])
        .args(["-pix_fmt", "yuv420p", "-c:v", "libx264", "-bf", "2", "-c:a", "aac", "-b:a", "64k"])
        .arg(&file)
        .output()
        .expect("ffmpeg is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let near = |found: Vec<f64>, expected: [f64; 2]| {
        let fits =
            found.len() == 2 && found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 3.0);
        assert!(fits, "{found:?}, not {expected:?}");
    };
    near(measure::flashes(&file), [1000.0, 3000.0]);
    near(measure::beeps(&file), [1080.0, 3080.0]);
    let boxes = measure::boxes(&file);
    assert!(boxes.iter().position(|b| b == "moov") > boxes.iter().position(|b| b == "mdat"), "{boxes:?}");
}

/// The folder that the user chose, with the journal in it: it is found again, and renders to the same files.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_ones_own_with_the_journal_in_it() {
    let mut home = Home::new();
    home.set("KEY_TEMPLATE", "product={product}/{stream_id}/{date}");
    home.set("KEEP_JOURNAL", "true");
    let recorder = home.start().await;
    let sent = play_one(meeting(&recorder.webhook, 4)).await;
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    let manifest = &recording.manifest;
    let folder = format!("product=meeting/{}/", sent.stream_id);
    assert!(manifest.objects.iter().all(|object| object.key.starts_with(&folder)), "{:?}", manifest.objects);

    let verified = home.run(&["verify", "--deep"]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.code() == Some(0) && said.contains("1 recording"), "{said}");

    let packed = std::fs::File::open(recording.file("journal.tar.zst")).expect("it is there");
    let unpacked = home.path("unpacked");
    let mut archive = tar::Archive::new(zstd::Decoder::new(packed).expect("it is zstd"));
    archive.unpack(&unpacked).expect("it is a tar");
    let journal = unpacked.join("journal");
    let out = home.path("again");
    let rendered = home.run(&["render", journal.to_str().expect("UTF-8"), "--out", out.to_str().expect("UTF-8")]);
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    for name in ["recording.mp4", "audio.m4a", "transcript.vtt"] {
        let (before, after) = (std::fs::read(recording.file(name)), std::fs::read(out.join(name)));
        assert!(before.expect("it was published") == after.expect("it is made again"), "{name}");
    }
}
