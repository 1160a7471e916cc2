//! Zoom's REST API: streams are controlled from the command line, and started again by the recorder after trouble.

use crate::common::{ACCOUNT, CLIENT_ID, CLIENT_SECRET, Home, Recorder, meeting, play, ports, provide_crypto};
use rtms_recorder::config::RestConfig;
use rtms_recorder::ids::Product;
use rtms_recorder::output::Manifest;
use rtms_recorder::rest::{Action, Client, Target};
use rtms_recorder::simulator::{Rest, RestCall, Settings, Summary};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A home whose REST API is at `rest`.
fn home(rest: SocketAddr) -> Home {
    let mut home = Home::new();
    home.set_zoom(rest);
    home
}

/// A meeting that can be started again for 2 s.
fn with_rest(recorder: &Recorder, length_s: u64, rest: SocketAddr) -> Settings {
    let mut settings = meeting(&recorder.webhook, length_s);
    settings.rest = Some(Rest { wait: Duration::from_secs(2), ..Rest::new(rest) });
    settings
}

fn start(settings: Settings) -> JoinHandle<Summary> {
    tokio::spawn(play(settings))
}

/// The id that the only unfinished recording was announced with.
fn announced(home: &Home, key: &str) -> String {
    let start = std::fs::read(home.spooled().join("start.json")).expect("start.json");
    let start: Value = serde_json::from_slice(&start).expect("JSON");
    start["payload"][key].as_str().expect("an id").to_owned()
}

fn says(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(text).expect("UTF-8")
}

fn calls(summary: &Summary) -> Vec<(&str, u16)> {
    summary.rest.iter().map(|RestCall { call, status }| (call.as_str(), *status)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_controlled_from_the_command_line() {
    let rest = ports::free();
    let home = home(rest);
    let recorder = home.start().await;
    let played = start(with_rest(&recorder, 120, rest));
    recorder.wait_for("media flow").await;
    let (uuid, number) = (announced(&home, "meeting_uuid"), announced(&home, "meeting_id"));
    assert!(uuid.contains('/'), "it takes two encodings: {uuid}");

    for args in [["rtms", "pause", &uuid], ["rtms", "resume", &number], ["rtms", "stop", &uuid]] {
        let output = home.run(&args);
        assert!(output.status.success(), "{}", says(&output));
        assert!(says(&output).starts_with(&format!("Zoom will {} RTMS of meeting {}", args[1], args[2])));
    }
    recorder.wait_for("stream ended").await;
    assert!(home.run(&["rtms", "start", &uuid, "--participant", "someone"]).status.success());
    recorder.wait_for_many("media flow", 2).await;
    assert!(home.run(&["rtms", "stop", &uuid]).status.success());

    let unknown = home.run(&["rtms", "stop", "123/456"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(says(&unknown).contains("the meeting does not exist or is over; check the id"), "{}", says(&unknown));

    let summary = played.await.expect("it plays");
    recorder.published(2).await;
    let reasons: Vec<_> = summary.meetings.iter().map(|meeting| meeting.stop_reason).collect();
    assert_eq!(reasons, [2, 2]);
    assert_eq!(summary.meetings[0].meeting_id, summary.meetings[1].meeting_id);
    let asked: Vec<_> = calls(&summary).into_iter().filter(|(call, _)| !call.starts_with("token")).collect();
    let by = |action: &str| format!("{action} meeting {uuid}");
    let (pause, resume, stop, start) = (by("pause"), by("resume"), by("stop"), by("start"));
    assert_eq!(asked[..5], [pause, resume, stop.clone(), start, stop].each_ref().map(|call| (call.as_str(), 202)));

    // The simulator has gone.
    let nobody = home.run(&["rtms", "start", &number]);
    assert_eq!(nobody.status.code(), Some(75));
    assert!(says(&nobody).contains("in 4 tries: 127.0.0.1 gave no answer"), "{}", says(&nobody));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_product_has_its_call() {
    for (product, key) in
        [(Product::Session, "session_id"), (Product::ContactCenter, "engagement_id"), (Product::Phone, "call_id")]
    {
        let rest = ports::free();
        let mut home = home(rest);
        home.set("ZOOM_VIDEO_SDK_KEY", CLIENT_ID);
        home.set("ZOOM_VIDEO_SDK_SECRET", CLIENT_SECRET);
        let recorder = home.start().await;
        let played = start(Settings { product, ..with_rest(&recorder, 120, rest) });
        recorder.wait_for("media flow").await;
        let output = home.run(&["rtms", "stop", &announced(&home, key), "--product", product.as_str()]);
        assert!(output.status.success(), "{}", says(&output));
        assert_eq!(played.await.expect("it plays").meetings[0].stop_reason, 2);
    }
}

#[test]
fn wrong_settings_are_named() {
    let mut home = home(ports::free());
    home.unset("ZOOM_CLIENT_SECRET");
    home.set("ZOOM_API_URL", "http://api.zoom.us/v2");
    let output = home.run(&["rtms", "start", "1"]);
    assert_eq!(output.status.code(), Some(64));
    for name in ["ZOOM_CLIENT_SECRET is required", "ZOOM_API_URL is not usable"] {
        assert!(says(&output).contains(name), "{}", says(&output));
    }
    let output = home.run(&["rtms", "start", "1", "--product", "phone", "--participant", "x"]);
    assert_eq!(output.status.code(), Some(64));
}

/// A client like the recorder's.
fn client(rest: SocketAddr) -> Client {
    provide_crypto();
    let env = restarting(rest).env();
    let settings = RestConfig::from_env(&|name: &str| env.get(name).cloned(), Product::Meeting);
    Client::new(settings.expect("settings")).expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_kept_and_what_may_pass_is_asked_again() {
    let rest = ports::free();
    let home = home(rest);
    let recorder = home.start().await;
    let mut settings = with_rest(&recorder, 60, rest);
    settings.rest.as_mut().expect("REST").failures = vec![401, 429, 500, 200, 2308, 401, 401];
    let played = start(settings);
    recorder.wait_for("media flow").await;
    let target = Target { product: Product::Meeting, id: announced(&home, "meeting_uuid") };

    let client = client(rest);
    let began = std::time::Instant::now();
    // The token is not taken once, then there are too many requests, then Zoom has trouble.
    client.control(&target, Action::Pause, None).await.expect("in the end it is done");
    assert!(began.elapsed() >= Duration::from_secs(1), "Retry-After was 1 s");
    let refused = client.control(&target, Action::Resume, None).await.unwrap_err();
    assert!(refused.to_string().contains("(code 2308)") && !refused.is_retryable(), "{refused}");
    // A second time at once it is for good.
    let refused = client.control(&target, Action::Resume, None).await.unwrap_err();
    assert!(refused.to_string().contains("Zoom does not take the token that it gave"), "{refused}");
    client.control(&target, Action::Resume, None).await.expect("done");
    client.control(&target, Action::Stop, None).await.expect("done");
    assert!(!format!("{client:?}").contains(CLIENT_SECRET));

    let summary = played.await.expect("it plays");
    let (token, id) = (("token by account_credentials", 200), &target.id);
    let encoded = id.replace('/', "%252F").replace('+', "%252B").replace('=', "%253D");
    let failed = |action: &str| format!("PATCH /v2/live_meetings/{encoded}/rtms_app/status {action}");
    let (pause, resume) = (failed("pause"), failed("resume"));
    let done = ["pause", "resume", "stop"].map(|action| format!("{action} meeting {id}"));
    assert_eq!(
        calls(&summary),
        [
            token,
            (&pause, 401),
            token,
            (&pause, 429),
            (&pause, 500),
            (&done[0], 202),
            (&resume, 400),
            (&resume, 401),
            token,
            (&resume, 401),
            token,
            (&done[1], 202),
            (&done[2], 202),
        ]
    );
}

/// A home whose recorder starts streams again.
fn restarting(rest: SocketAddr) -> Home {
    let mut home = home(rest);
    home.set("ZOOM_ACCOUNT_ID", ACCOUNT);
    home
}

fn starts(summary: &Summary) -> Vec<(&str, u16)> {
    calls(summary).into_iter().filter(|(call, _)| !call.starts_with("token")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_in_trouble_is_started_again_and_both_recordings_say_so() {
    let rest = ports::free();
    let home = restarting(rest);
    let recorder = home.start().await;
    let mut settings = with_rest(&recorder, 8, rest);
    settings.stop_reason = 13;
    let summary = play(settings).await;
    recorder.published(2).await;
    let [before, after] = &summary.meetings[..] else { panic!("two streams: {summary}") };
    assert_eq!((before.stop_reason, after.stop_reason), (13, 6));
    assert_eq!(starts(&summary), [(format!("start meeting {}", before.meeting_id).as_str(), 202)]);

    let recordings = home.bucket().recordings().await;
    let of = |stream: &str| {
        let found = recordings.iter().find(|recording| recording.manifest.stream_id.as_str() == stream);
        &found.unwrap_or_else(|| panic!("no recording of {stream}")).manifest
    };
    let (first, second) = (of(&before.stream_id), of(&after.stream_id));
    for (this, other) in [(&first.continued_by, second), (&second.continues, first)] {
        let other_is = this.as_ref().expect("a link");
        assert_eq!((&other_is.stream_id, &other_is.recording_id), (&other.stream_id, &other.recording_id));
        assert_eq!(other.objects[0].key, format!("{}/{}", other_is.folder, other.objects[0].name));
    }
    assert_eq!((&first.continues, &second.continued_by), (&None, &None));
    // Each page leads to the other one, from wherever they are.
    for (this, which, other) in [(first, "continued_by", second), (second, "continues", first)] {
        let folder = |of: &Manifest| home.path("bucket").join(of.objects[0].key.rsplit_once('/').expect("a folder").0);
        let page = std::fs::read_to_string(folder(this).join("index.html")).expect("a page");
        let data = page.split_once("id=\"data\">").and_then(|(_, rest)| rest.split_once("</script>")).expect("data").0;
        let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
        let href = data["neighbours"][which].as_str().expect("a link");
        let (there, expected) = (folder(this).join(href), folder(other).join("index.html"));
        assert_eq!(there.canonicalize().expect("a file"), expected.canonicalize().expect("a file"), "{href}");
    }
    let note = "The stream was started again after stop reason 13 (SIGNAL_CONNECTION_INTERRUPTED).";
    assert_eq!(first.notes, [note]);
    assert_eq!(second.notes, Vec::<String>::new());
    recorder.wait_for("the meeting's recording goes on with another stream").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_stopped_is_left_alone() {
    let rest = ports::free();
    let home = restarting(rest);
    let recorder = home.start().await;
    for reason in [1, 6] {
        let mut settings = with_rest(&recorder, 4, rest);
        settings.stop_reason = reason;
        let summary = play(settings).await;
        assert_eq!((summary.meetings.len(), &summary.rest[..]), (1, &[][..]));
    }
    recorder.published(2).await;
    assert!(recorder.logged("by REST").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_started_again_without_an_account_to_ask_for() {
    let rest = ports::free();
    let home = home(rest);
    let recorder = home.start().await;
    let mut settings = with_rest(&recorder, 4, rest);
    settings.stop_reason = 13;
    let summary = play(settings).await;
    recorder.published(1).await;
    assert_eq!((summary.meetings.len(), &summary.rest[..]), (1, &[][..]));
    assert!(recorder.logged("by REST").is_empty());
    assert_eq!(home.bucket().recordings().await[0].manifest.notes, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_logged_and_in_the_manifest() {
    let rest = ports::free();
    let home = restarting(rest);
    let recorder = home.start().await;
    let mut settings = with_rest(&recorder, 4, rest);
    settings.stop_reason = 18;
    settings.rest.as_mut().expect("REST").failures = vec![2310];
    let summary = play(settings).await;
    recorder.published(1).await;
    assert_eq!((summary.meetings.len(), starts(&summary).len()), (1, 1));
    let line = recorder.wait_for("the stream was not started again").await;
    let why = line["why"].as_str().expect("a reason");
    assert!(why.contains("(code 2310)") && why.contains("no Developer Pack"), "{why}");
    let recordings = home.bucket().recordings().await;
    let manifest = &recordings[0].manifest;
    let note = format!("The stream was not started again after stop reason 18 (AUTHENTICATION_FAILURE): {why}.");
    assert_eq!((&manifest.notes[..], &manifest.continued_by), (&[note][..], &None));
}

/// What may pass is asked again in the recorder's time, not four times as often.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_may_pass_is_asked_for_again_later() {
    let rest = ports::free();
    let home = restarting(rest);
    let recorder = home.start().await;
    let mut settings = with_rest(&recorder, 4, rest);
    settings.stop_reason = 13;
    let at_rest = settings.rest.as_mut().expect("REST");
    (at_rest.failures, at_rest.wait) = (vec![500, 401], Duration::from_secs(20));
    let summary = play(settings).await;
    recorder.published(2).await;
    let statuses: Vec<u16> = starts(&summary).into_iter().map(|(_, status)| status).collect();
    // A token that is not taken is no reason to wait.
    assert_eq!((statuses, summary.meetings.len()), (vec![500, 401, 202], 2));
    let warned = recorder.logged("the stream could not be started again yet");
    assert!(matches!(&warned[..], [line] if line["err"].as_str().is_some_and(|err| err.contains("500"))), "{warned:?}");
}

/// Killed after Zoom was asked to wait a moment: the next run goes on, and both recordings are tied together.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_outlives_a_kill() {
    let rest = ports::free();
    let mut home = restarting(rest);
    home.set("PORT", &ports::free().port().to_string());
    let recorder = home.start().await;
    let mut settings = with_rest(&recorder, 4, rest);
    settings.stop_reason = 13;
    let at_rest = settings.rest.as_mut().expect("REST");
    (at_rest.failures, at_rest.wait) = (vec![3000], Duration::from_secs(20));
    let played = start(settings);
    recorder.wait_for("the stream could not be started again yet").await;
    recorder.kill();
    let recorder = home.start().await;
    let summary = played.await.expect("it plays");
    recorder.published(2).await;
    assert_eq!(summary.meetings.len(), 2);
    let recordings = home.bucket().recordings().await;
    let manifests: Vec<_> = recordings.iter().map(|recording| &recording.manifest).collect();
    let [first, second] = &manifests[..] else { panic!("two recordings") };
    assert_eq!(first.continued_by.as_ref().map(|next| &next.recording_id), Some(&second.recording_id));
    assert_eq!(second.continues.as_ref().map(|before| &before.recording_id), Some(&first.recording_id));
}

/// Zoom agrees and does nothing: the recording is published all the same, and a stream that comes late goes on from it.
#[tokio::test(flavor = "multi_thread")]
async fn a_promise_that_is_not_kept_is_not_waited_for_for_ever() {
    let rest = ports::free();
    let home = restarting(rest);
    let recorder = home.start().await;
    let mut settings = with_rest(&recorder, 4, rest);
    settings.stop_reason = 12;
    let at_rest = settings.rest.as_mut().expect("REST");
    (at_rest.failures, at_rest.wait) = (vec![202], Duration::from_secs(60));
    let played = start(settings);
    recorder.wait_for("media flow").await;
    let uuid = announced(&home, "meeting_uuid");
    recorder.published(1).await;
    assert!(home.run(&["rtms", "start", &uuid]).status.success());
    recorder.published(2).await;
    played.await.expect("it plays");
    let recordings = home.bucket().recordings().await;
    let manifests: Vec<_> = recordings.iter().map(|recording| &recording.manifest).collect();
    let [first, second] = &manifests[..] else { panic!("two recordings") };
    assert!(first.notes[0].ends_with("Zoom said that it would, but announced no new stream within 30 s."), "{first:?}");
    assert_eq!(first.continued_by, None);
    assert_eq!(second.continues.as_ref().map(|before| &before.recording_id), Some(&first.recording_id));
}
