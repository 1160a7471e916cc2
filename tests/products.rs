//! Every product that Zoom streams, several apps at one endpoint, and the test server that Zoom published: each recorded from
//! its first webhook to its last object.

use crate::common::http::{get, now_s, signed, signed_with};
use crate::common::{Home, SECRET_TOKEN, meeting, play, play_one, provide_crypto, until};
use rtms_recorder::ids::Product;
use rtms_recorder::output::manifest::Ids;
use rtms_recorder::protocol::message::Medium;
use rtms_recorder::protocol::signature;
use rtms_recorder::simulator::{self, Duplicates, IdKey, MeetingSummary, Progress, Settings};
use serde_json::{Value, json};
use std::time::Duration;

const PRODUCTS: [Product; 5] =
    [Product::Meeting, Product::Webinar, Product::Session, Product::ContactCenter, Product::Phone];

const SDK_KEY: &str = "sdkKeyOfTheTests";
const SDK_SECRET: &str = "sdk-secret-that-no-text-may-show";
const SDK_TOKEN: &str = "sdk-token-that-no-text-may-show";

/// A home with a General app, and a Video SDK app that has a Secret Token of its own.
fn home() -> Home {
    let mut home = Home::new();
    home.set("ZOOM_VIDEO_SDK_KEY", SDK_KEY);
    home.set("ZOOM_VIDEO_SDK_SECRET", SDK_SECRET);
    home.set("ZOOM_VIDEO_SDK_SECRET_TOKEN", SDK_TOKEN);
    home
}

/// What is played of a product: its app, and the media that it has.
fn settings(to: &str, product: Product) -> Settings {
    let mut settings = meeting(to, 12);
    settings.product = product;
    match product {
        Product::Session => {
            settings.credentials.client_id = SDK_KEY.to_owned();
            settings.credentials.client_secret = SDK_SECRET.to_owned();
            settings.credentials.secret_token = SDK_TOKEN.to_owned();
        }
        Product::ContactCenter | Product::Phone => settings.media = vec![Medium::Audio, Medium::Transcript],
        _ => {}
    }
    settings
}

/// Plays one stream of each product at the same time.
async fn all(to: &str, change: impl Fn(&mut Settings)) -> Vec<(Product, MeetingSummary)> {
    provide_crypto();
    let mut playing = tokio::task::JoinSet::new();
    for product in PRODUCTS {
        let mut settings = settings(to, product);
        change(&mut settings);
        playing.spawn(async move { (product, play(settings).await.meetings.remove(0)) });
    }
    playing.join_all().await
}

/// What was refused besides media that the product does not have.
fn refusals(sent: &MeetingSummary) -> Vec<&String> {
    sent.refusals.iter().filter(|said| !said.contains("_NOT_SUPPORT")).collect()
}

fn id(ids: &Ids, product: Product) -> Option<&str> {
    match product {
        Product::Meeting | Product::Webinar => ids.meeting_uuid.as_deref(),
        Product::Session => ids.session_id.as_deref(),
        Product::ContactCenter => ids.engagement_id.as_deref(),
        Product::Phone => ids.call_id.as_deref(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_product_is_recorded_by_its_own_id() {
    let home = home();
    let recorder = home.start().await;
    let sent = all(&recorder.webhook, |settings| settings.id_key = IdKey::Own).await;
    recorder.published(PRODUCTS.len()).await;
    let recordings = home.bucket().recordings().await;
    for (product, sent) in &sent {
        assert_eq!(refusals(sent), Vec::<&String>::new(), "{product:?}");
        let is_of = |stream: &str| stream == sent.stream_id;
        let recording = recordings.iter().find(|r| is_of(r.manifest.stream_id.as_str())).expect("it is recorded");
        let manifest = &recording.manifest;
        assert_eq!(manifest.product, *product);
        assert_eq!(id(&manifest.ids, *product), Some(sent.meeting_id.as_str()), "{product:?}");
        assert!(manifest.complete, "{product:?}: {:?}", manifest.incomplete_because);
        recording.check_files();
        recording.check_marks(sent);
        let timeline: Value = serde_json::from_slice(&std::fs::read(recording.file("timeline.json")).unwrap()).unwrap();
        if *product == Product::ContactCenter {
            let names: Vec<&str> =
                timeline["participants"].as_array().unwrap().iter().filter_map(|p| p["user_name"].as_str()).collect();
            assert_eq!(names, ["Ada Example", "Grace \"Desk/2\" Example"], "{timeline:#}");
            let events: Vec<&str> =
                timeline["engagement"].as_array().unwrap().iter().filter_map(|e| e["event"].as_str()).collect();
            let happened =
                ["CONSUMER_ANSWERED", "USER_ANSWERED", "USER_HOLD", "USER_UNHOLD", "CONSUMER_END", "USER_END"];
            assert_eq!(events, happened, "{timeline:#}");
            assert_eq!(timeline["participants"][0]["user_id"], "consumer_x1");
        } else {
            assert!(timeline["engagement"].is_null() && !timeline["participants"].as_array().unwrap().is_empty());
        }
    }
    assert!(!recorder.raw_log().contains(SDK_SECRET) && !recorder.raw_log().contains(SDK_TOKEN));
}

/// The parties of an engagement are told apart by channel.
#[tokio::test(flavor = "multi_thread")]
async fn the_parties_of_an_engagement_have_files_of_their_own() {
    let mut home = home();
    home.set("AUDIO_STREAMS", "participants");
    let recorder = home.start().await;
    let sent = play(settings(&recorder.webhook, Product::ContactCenter)).await.meetings.remove(0);
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    recording.check_marks(&sent);
    let files: Vec<&str> = recording.names().into_iter().filter(|name| name.starts_with("participants/")).collect();
    assert!(files.iter().any(|name| name.starts_with("participants/channel-0")), "{files:?}");
    assert!(files.iter().any(|name| name.starts_with("participants/channel-1")), "{files:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_meeting_uuid_is_tried_with_it_once() {
    let home = home();
    let recorder = home.start().await;
    let sent = all(&recorder.webhook, |settings| {
        settings.id_key = IdKey::MeetingUuid;
        settings.webhooks.other_names = true;
        settings.media = vec![Medium::Audio];
    })
    .await;
    recorder.published(PRODUCTS.len()).await;
    let recordings = home.bucket().recordings().await;
    assert_eq!(recordings.len(), PRODUCTS.len());
    for (product, sent) in &sent {
        let own = usize::from(*product != Product::Meeting);
        assert_eq!(refusals(sent).len(), own, "{product:?}: {:?}", sent.refusals);
        let recording =
            recordings.iter().find(|r| r.manifest.stream_id.as_str() == sent.stream_id).expect("it is there");
        assert_eq!(recording.manifest.product, *product);
        recording.check_marks(sent);
    }
    let again = recorder.logged("connection refused; trying again");
    assert_eq!(again.iter().filter(|line| line["conn"] == "signaling").count(), PRODUCTS.len() - 1, "{again:?}");
}

const OTHER: [&str; 3] = ["otherClient", "other-secret-that-no-text-may-show", "other-token-that-no-text-may-show"];

#[tokio::test(flavor = "multi_thread")]
async fn each_app_signs_its_own_streams_after_a_restart_too() {
    let mut home = home();
    home.set("PORT", &crate::common::ports::free().port().to_string());
    for (name, value) in ["ZOOM_CLIENT_ID_2", "ZOOM_CLIENT_SECRET_2", "ZOOM_SECRET_TOKEN_2"].into_iter().zip(OTHER) {
        home.set(name, value);
    }
    let recorder = home.start().await;
    let mut other = meeting(&recorder.webhook, 32);
    [other.credentials.client_id, other.credentials.client_secret, other.credentials.secret_token] =
        OTHER.map(str::to_owned);
    let first = meeting(&recorder.webhook, 32);
    let playing = [first, other, settings(&recorder.webhook, Product::Session)].map(|mut settings| {
        settings.webhooks.validate = true;
        settings.length = Some(Duration::from_secs(32));
        settings.media = vec![Medium::Audio];
        tokio::spawn(play(settings))
    });
    recorder.wait_for_many("media flow", 3).await;

    let files = home.spool_files();
    let apps: Vec<&String> = files.iter().filter(|file| file.ends_with("/app.json")).collect();
    let kept: Vec<String> =
        apps.iter().map(|file| std::fs::read_to_string(home.spool().join(file)).expect("a file")).collect();
    assert_eq!(kept.len(), 3, "{files:?}");
    assert!(kept.iter().any(|app| app.contains("otherClient")) && kept.iter().any(|app| app.contains(SDK_KEY)));
    assert!(!kept.iter().any(|app| app.contains("no-text-may-show")), "{kept:?}");

    recorder.kill();
    let recorder = home.start().await;
    recorder.wait_for_many("joining again a stream", 3).await;
    for playing in playing {
        let sent = playing.await.expect("it is played").meetings.remove(0);
        assert_eq!(refusals(&sent), Vec::<&String>::new(), "{sent}");
        assert_eq!(sent.signaling_handshakes, 2, "{sent}");
    }
    recorder.published(3).await;
    assert_eq!(home.bucket().recordings().await.len(), 3);
    for secret in [OTHER[1], OTHER[2], SDK_SECRET, SDK_TOKEN] {
        assert!(!recorder.raw_log().contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_is_answered_with_the_token_of_the_app_that_asks() {
    let home = home();
    let recorder = home.start().await;
    let body = br#"{"event":"endpoint.url_validation","payload":{"plainToken":"abc"}}"#;
    for token in [SECRET_TOKEN, SDK_TOKEN] {
        let answer = signed_with(token, recorder.address(), body).await;
        let said: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(said["encryptedToken"], signature::challenge(token, "abc"));
    }
    assert_eq!(signed_with("of-a-third-app", recorder.address(), body).await.status, 401);
    // An app may start streams of its own products only.
    let body = json!({"event": "session.rtms_started", "event_ts": now_s() * 1000, "payload": {
        "session_id": "s==", "rtms_stream_id": "s1", "server_urls": "ws://127.0.0.1:9/x"}});
    assert_eq!(signed(recorder.address(), body.to_string().as_bytes()).await.status, 200);
    recorder.wait_for("a Video SDK session is not recorded").await;
    let body = json!({"event": "meeting.rtms_started", "event_ts": now_s() * 1000, "payload": {
        "meeting_uuid": "m==", "rtms_stream_id": "s2", "server_urls": "ws://127.0.0.1:9/x"}});
    assert_eq!(signed_with(SDK_TOKEN, recorder.address(), body.to_string().as_bytes()).await.status, 200);
    recorder.wait_for("the app that sent its start event has no ZOOM_CLIENT_ID").await;
    assert_eq!(home.spool_files(), Vec::<String>::new());
}

/// The test server that Zoom published in June 2025.
fn mock(to: &str) -> Settings {
    let mut settings = meeting(to, 40);
    settings.mock = true;
    settings.duplicates = Duplicates::Kick;
    settings.webhooks.validate = true;
    // It drops signaling after four of these.
    settings.keepalive = Duration::from_secs(4);
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn zooms_test_server_is_recorded_from() {
    let mut home = Home::new();
    home.set("ZOOM_ALLOW_UNSIGNED", "true");
    home.set("ZOOM_ALLOWED_HOSTS", "0.0.0.0");
    let recorder = home.start().await;
    let warning = recorder.wait_for("ZOOM_ALLOW_UNSIGNED").await;
    assert_eq!(warning["level"], "WARN");
    let sent = play_one(mock(&recorder.webhook)).await;
    recorder.published(1).await;
    let recording = home.bucket().recording().await;
    let manifest = &recording.manifest;
    for name in ["recording.mp4", "audio.m4a", "transcript.vtt", "timeline.json"] {
        assert!(recording.names().contains(&name), "{:?}", recording.names());
    }
    assert_eq!(manifest.counters.unparsed_messages, 0);
    assert_eq!(manifest.stop_reason.as_ref().and_then(|reason| reason.code), Some(6));
    assert!((manifest.duration_ms as i64 - 40_000).abs() < 1500, "{}", manifest.duration_ms);
    assert!(sent.signaling_handshakes >= 2, "signaling was dropped for pongs that were never asked for: {sent}");
    // Its pictures come in blocks and have the time of those: they are all there, within a slice of their place.
    let (received, ..) = recording.track("audio");
    assert!(received > 38_000, "{received} ms of sound");
    let seen = crate::common::measure::flashes(&recording.file("recording.mp4"));
    assert!(seen.len() >= 15, "{seen:?}");
    recording.check_files();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_server_is_refused_where_it_is_not_allowed() {
    let home = Home::new();
    let recorder = home.start().await;
    provide_crypto();
    let mut settings = mock(&recorder.webhook);
    settings.webhooks.validate = false;
    let refused = simulator::run(settings, Progress::silent()).await.expect_err("it is not signed");
    assert!(refused.to_string().contains("401"), "{refused}");
    assert!(recorder.logged("ZOOM_ALLOW_UNSIGNED is set").is_empty());

    let mut home = Home::new();
    home.set("ZOOM_ALLOW_UNSIGNED", "true");
    home.set("ZOOM_ALLOWED_HOSTS", "127.0.0.1");
    let recorder = home.start().await;
    let mut settings = mock(&recorder.webhook);
    settings.reconnect_window = Some(Duration::from_secs(1));
    provide_crypto();
    let sent = simulator::run(settings, Progress::silent()).await.expect("it is played").meetings.remove(0);
    assert_eq!(sent.signaling_handshakes, 0);
    let line = recorder.wait_for("its server may not be connected to").await;
    assert!(line["err"].as_str().is_some_and(|err| err.contains("\"0.0.0.0\" is not covered")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_account_is_said_with_what_to_do() {
    let home = Home::new();
    let recorder = home.start().await;
    for (fixture, said, fact) in [
        ("concurrency-near-limit", "ask Zoom for a higher limit", "concurrency_number=1600"),
        ("concurrency-limited", "this one was not started", "meeting_uuid=Ab+/cdEFghIJklMNopQRst=="),
        ("start-failed", "Zoom could not start a stream", "reason=no entitlement"),
        ("app-deauthorized", "delete their recordings", "account_id=acAbC123"),
    ] {
        let path = format!("{}/fixtures/webhook/{fixture}.json", env!("CARGO_MANIFEST_DIR"));
        let body = std::fs::read(path).expect("a fixture");
        assert_eq!(signed(recorder.address(), &body).await.status, 200, "{fixture}");
        let line = recorder.wait_for(said).await;
        assert_eq!(line["level"], "WARN", "{line}");
        assert!(line["facts"].as_str().is_some_and(|facts| facts.contains(fact)), "{line}");
    }
    until("it is shown", || recorder.complaints().len() >= 4).await;
    let ready = get(recorder.address(), "/readyz").await;
    assert!(ready.status == 200 && ready.body.matches("rtms.").count() >= 3, "{ready:?}");
    assert!(!ready.body.contains("acAbC123") && !ready.body.contains("Ab+/"), "the page is public: {ready:?}");
}

/// The region is in the name of Zoom's server; these servers do not exist, and are not connected to.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_from_elsewhere_is_warned_of_and_its_region_is_told() {
    let mut home = Home::new();
    home.set("REGIONS", "iad, sjc");
    home.set("KEEP_JOURNAL", "true");
    home.set("ZOOM_ALLOWED_HOSTS", ".zoom.us.invalid,127.0.0.1");
    let recorder = home.start().await;
    for (stream, server) in [("near", "zoomiad2xx"), ("far", "rtms-fra1"), ("unknown", "rtms")] {
        let body = json!({"event": "meeting.rtms_started", "event_ts": now_s() * 1000, "payload": {
            "meeting_uuid": "m==", "rtms_stream_id": stream, "server_urls": format!("wss://{server}.zoom.us.invalid")}});
        assert_eq!(signed(recorder.address(), body.to_string().as_bytes()).await.status, 200);
    }
    let started = recorder.wait_for_many("recording started", 3).await;
    assert_eq!(started.iter().filter_map(|line| line["region"].as_str()).collect::<Vec<_>>(), ["iad", "fra"]);
    let warnings = recorder.logged("not in REGIONS");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_eq!((&warnings[0]["region"], &warnings[0]["stream_id"]), (&json!("fra"), &json!("far")));

    // How far away it is, is measured with the keep-alives.
    let mut settings = meeting(&recorder.webhook, 12);
    settings.keepalive = Duration::from_millis(500);
    settings.keepalive_always = true;
    play_one(settings).await;
    let ended = recorder.wait_for("stream ended").await;
    assert_eq!((&ended["reason"], &ended["meaning"]), (&json!(6), &json!("The meeting ended.")));
    let round_trip_ms = ended["round_trip_ms"].as_f64().expect("it was measured");
    assert!(round_trip_ms > 0.0 && round_trip_ms < 1000.0, "{ended}");

    // The servers' names are in the journal, and their regions in the manifest that is made of it.
    recorder.published(1).await;
    let recordings = home.bucket().recordings().await;
    let packed = std::fs::File::open(recordings[0].file("journal.tar.zst")).expect("it is there");
    let unpacked = home.path("unpacked");
    tar::Archive::new(zstd::Decoder::new(packed).expect("it is zstd")).unpack(&unpacked).expect("it is a tar");
    let journal = unpacked.join("journal");
    for entry in std::fs::read_dir(&journal).expect("chunks") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        std::fs::write(path, text.replace("\"host\":\"127.0.0.1\"", "\"host\":\"zoomiad2xx.zoom.us\""))
            .expect("a file");
    }
    let out = home.path("again");
    let rendered = home.run(&["render", journal.to_str().expect("UTF-8"), "--out", out.to_str().expect("UTF-8")]);
    assert!(rendered.status.success(), "{}", String::from_utf8_lossy(&rendered.stderr));
    let manifest: Value = serde_json::from_slice(&std::fs::read(out.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["regions"], json!(["iad"]));
}
