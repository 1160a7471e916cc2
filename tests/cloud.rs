//! Zoom's own cloud recordings: imported as they are, once, whatever happens to events, downloads, tokens and processes.

use crate::common::tls::TlsProxy;
use crate::common::{ACCOUNT, Home, Recorder, Recording, meeting, play, ports, provide_crypto, until};
use rtms_recorder::output::manifest::{CloudSource, Source};
use rtms_recorder::simulator::{Cloud, Download, Events, Rest, Settings, Summary};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A simulated Zoom that has a REST side and files.
#[derive(Clone, Copy)]
struct Zoom {
    rest: SocketAddr,
    files: SocketAddr,
}

impl Zoom {
    fn new() -> Self {
        Self { rest: ports::free(), files: ports::free() }
    }

    fn home(self) -> Home {
        let mut home = Home::new();
        home.set_zoom(self.rest);
        home.set("PORT", &ports::free().port().to_string());
        home
    }

    /// A recording of a meeting that is not streamed.
    fn recording(self, recorder: &Recorder, change: impl FnOnce(&mut Cloud)) -> Settings {
        let mut settings = meeting(&recorder.webhook, 4);
        settings.rest = Some(Rest::new(self.rest));
        let mut cloud = Cloud { alone: true, ..Cloud::new(self.files) };
        change(&mut cloud);
        settings.cloud = Some(cloud);
        settings
    }
}

async fn imported(home: &Home, recorder: &Recorder, count: usize) {
    recorder.wait_for_many("published a cloud recording", count).await;
    until("nothing but marks is left of it", || {
        let files = home.spool_files();
        let marks = files.iter().filter(|file| file.starts_with(".cloud/") && file.ends_with("/done.json")).count();
        let left = files.iter().filter(|file| file.starts_with(".cloud/")).count();
        marks >= 1 && marks == left
    })
    .await;
}

fn source(recording: &Recording) -> &CloudSource {
    let Some(Source::Cloud(cloud)) = &recording.manifest.source else { panic!("{:#?}", recording.manifest) };
    cloud
}

fn served<'a>(summary: &'a Summary, file: &str) -> Vec<&'a Download> {
    let of_file = |download: &&Download| download.file == file && matches!(download.status, 200 | 206);
    summary.downloads.iter().filter(of_file).collect()
}

/// The bytes of a simulated file.
fn content(file: u64, len: u64) -> Vec<u8> {
    (0..len).map(|offset| (offset.wrapping_mul(2_654_435_761).wrapping_add(file * 97) >> 13) as u8).collect()
}

/// The whole of the video is there, byte for byte.
fn check_video(recording: &Recording, len: u64) {
    let name = recording.names().into_iter().find(|name| name.ends_with(".mp4")).expect("a video").to_owned();
    let bytes = std::fs::read(recording.file(&name)).expect("the video");
    assert!(bytes == content(0, len), "{} bytes, and not those that were sent", bytes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_recording_is_imported_beside_the_stream() {
    let zoom = Zoom::new();
    let mut home = zoom.home();
    home.set("CATALOGUE", "true");
    let recorder = home.start().await;
    let summary = play(zoom.recording(&recorder, |cloud| cloud.alone = false)).await;
    recorder.published(1).await;
    imported(&home, &recorder, 1).await;
    let (status, _) = recorder.terminate().await;
    assert_eq!(status, Some(0));
    // The list of all recordings is no object of either.
    let page = std::fs::read_to_string(home.path("bucket/index.html")).expect("the list of recordings");
    std::fs::remove_file(home.path("bucket/index.html")).expect("it is there");
    let recordings = home.bucket().recordings().await;
    let [cloud] = &recordings.iter().filter(|r| r.manifest.source.is_some()).collect::<Vec<_>>()[..] else {
        panic!("one of the stream, one of the cloud")
    };
    assert_eq!(recordings.len(), 2);
    let manifest = &cloud.manifest;
    assert!(manifest.complete && manifest.duration_ms == 60_000, "{manifest:#?}");
    assert_eq!(manifest.ids.meeting_uuid.as_ref(), Some(&summary.meetings[0].meeting_id));
    let mut names: Vec<&str> = cloud.names();
    names.sort_unstable();
    insta::assert_snapshot!(names.join("\n"), @r"
    cloud/audio_only-dfad3622.m4a
    cloud/chat_file-9b649fa2.txt
    cloud/shared_screen_with_speaker_view-f17da88d.mp4
    ");
    check_video(cloud, MIB);
    let listed: Vec<_> = source(cloud).files.iter().map(|file| (file.id.as_str(), file.file_type.as_str())).collect();
    assert_eq!(
        listed,
        [("video-of-90000000000", "MP4"), ("sound-of-90000000000", "M4A"), ("chat-of-90000000000", "CHAT")]
    );
    assert!(page.contains(".mp4") && page.contains("\"cloud\""), "the list knows of it");

    let verified = home.run(&["verify", "--deep"]);
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && said.starts_with("2 recordings"), "{said}");
    let video = home.path("bucket").join(&cloud.manifest.objects[0].key);
    std::fs::write(&video, content(1, MIB)).expect("it can be written");
    let verified = home.run(&["verify", "--deep"]);
    assert_eq!(verified.status.code(), Some(2), "another content is found out");
}

/// Two deliveries 0.7 s apart with other addresses and tokens, and one more after the end, after a restart, and by a recorder that
/// has lost its spool: one import.
#[tokio::test(flavor = "multi_thread")]
async fn however_often_it_is_told_of_it_is_imported_once() {
    let zoom = Zoom::new();
    let home = zoom.home();
    let recorder = home.start().await;
    let again = |recorder: &Recorder, deliveries: u32| {
        zoom.recording(recorder, |cloud| {
            cloud.instance = Some(("Ab+/cdEFghIJklMNopQRst==".to_owned(), 1_785_578_400));
            cloud.deliveries = deliveries;
            cloud.apart = Duration::from_millis(700);
            cloud.bytes_per_s = Some(MIB);
        })
    };
    let summary = play(again(&recorder, 2)).await;
    imported(&home, &recorder, 1).await;
    for file in ["video", "sound", "chat"] {
        assert_eq!(served(&summary, file).len(), 1, "{:?}", summary.downloads);
    }
    recorder.wait_for("a cloud recording was told of again; nothing of it is new").await;
    let keys = home.bucket().keys().await;
    check_video(&home.bucket().recording().await, MIB);

    // Nobody fetches anything, so the simulator waits in vain; that it was answered is what counts.
    let tell = async |recorder: &Recorder| {
        provide_crypto();
        let mut settings = again(recorder, 1);
        settings.cloud.as_mut().expect("cloud").wait = Duration::from_secs(1);
        let played = rtms_recorder::simulator::run(settings, rtms_recorder::simulator::Progress::silent()).await;
        assert!(played.unwrap_err().to_string().contains("not all files"));
    };
    tell(&recorder).await;
    recorder.wait_for_many("nothing of it is new", 2).await;
    recorder.kill();
    let recorder = home.start().await;
    tell(&recorder).await;
    recorder.wait_for("nothing of it is new").await;
    recorder.kill();
    std::fs::remove_dir_all(home.spool()).expect("it is there");
    let recorder = home.start().await;
    tell(&recorder).await;
    recorder.wait_for("the bucket has this cloud recording already").await;
    assert_eq!(home.bucket().keys().await, keys);
}

/// A newer version has been here, and the spool does not know of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_manifest_cannot_be_read_is_taken() {
    let zoom = Zoom::new();
    let home = zoom.home();
    let again = |recorder: &Recorder| {
        zoom.recording(recorder, |cloud| cloud.instance = Some(("Ab+/cdEFghIJklMNopQRst==".to_owned(), 1_785_578_400)))
    };
    let recorder = home.start().await;
    play(again(&recorder)).await;
    imported(&home, &recorder, 1).await;
    recorder.kill();
    let keys = home.bucket().keys().await;
    let theirs = keys.iter().find(|key| key.ends_with("/manifest.json")).expect("a manifest");
    std::fs::write(home.path("bucket").join(theirs), "{\"schema_version\": 2}").expect("it can be written");
    std::fs::remove_dir_all(home.spool()).expect("it is there");

    let recorder = home.start().await;
    play(again(&recorder)).await;
    imported(&home, &recorder, 1).await;
    let line = recorder.wait_for("a manifest in the bucket cannot be read").await;
    assert_eq!(line["key"].as_str(), Some(theirs.as_str()), "{line}");
    assert_eq!(home.bucket().read(theirs).await, b"{\"schema_version\": 2}");
    let ours = theirs.replace("/manifest.json", "-2/manifest.json");
    assert_eq!(home.bucket().keys().await.iter().filter(|key| **key == ours).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transcript_that_comes_later_is_a_recording_of_its_own() {
    let zoom = Zoom::new();
    let home = zoom.home();
    let recorder = home.start().await;
    let change = |cloud: &mut Cloud| cloud.transcript_after = Some(Duration::from_millis(100));
    play(zoom.recording(&recorder, change)).await;
    imported(&home, &recorder, 2).await;
    let mut recordings = home.bucket().recordings().await;
    recordings.sort_by_key(|recording| recording.manifest.recording_id.ordinal());
    let [first, second] = &recordings[..] else { panic!("two recordings") };
    assert_eq!((source(first).files.len(), source(second).files.len()), (3, 1));
    assert_eq!(source(second).files[0].file_type, "TRANSCRIPT");
    assert_eq!(second.manifest.previous.as_ref(), Some(&first.manifest.recording_id));
    assert!(second.manifest.objects[0].key.contains("-2/cloud/audio_transcript-"), "{:?}", second.names());
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_downloads_go_on_where_they_broke_off() {
    let zoom = Zoom::new();
    let home = zoom.home();
    let recorder = home.start().await;
    let summary = play(zoom.recording(&recorder, |cloud| {
        cloud.video_bytes = 3 * MIB + 17;
        cloud.cuts = vec![MIB, 0, MIB / 2];
    }))
    .await;
    imported(&home, &recorder, 1).await;
    check_video(&home.bucket().recording().await, 3 * MIB + 17);
    let tries: Vec<_> = served(&summary, "video").iter().map(|download| (download.status, download.from)).collect();
    // What was sent before it broke may have been lost on the way, but no more.
    assert_eq!(tries.len(), 4, "{tries:?}");
    assert!(tries[1].0 == 206 && tries[3].1 > tries[1].1 && tries[3].1 <= MIB + MIB / 2, "{tries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_costs_only_the_last_bytes() {
    let zoom = Zoom::new();
    let home = zoom.home();
    let recorder = home.start().await;
    let playing = tokio::spawn(play(zoom.recording(&recorder, |cloud| {
        cloud.video_bytes = 16 * MIB;
        cloud.bytes_per_s = Some(6 * MIB);
    })));
    let size = |file: &String| std::fs::metadata(home.spool().join(file)).map_or(0, |metadata| metadata.len());
    let big = || home.spool_files().iter().any(|file| file.ends_with(".part") && size(file) > 9 * MIB);
    until("half of it has come", big).await;
    recorder.kill();
    let recorder = home.start().await;
    recorder.wait_for("going on with the import of a cloud recording").await;
    let summary = playing.await.expect("it plays");
    imported(&home, &recorder, 1).await;
    check_video(&home.bucket().recording().await, 16 * MIB);
    let tries = served(&summary, "video");
    assert_eq!(tries.len(), 2, "{tries:?}");
    assert!(tries[1].status == 206 && tries[1].from >= 4 * MIB, "{tries:?}");
}

/// The bucket is away, and the process killed; the files are not fetched again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_waits_for_the_bucket() {
    let zoom = Zoom::new();
    let address = crate::common::ports::free();
    let mut home = Home::with_s3(address);
    home.set_zoom(zoom.rest);
    let recorder = home.start().await;
    let summary = play(zoom.recording(&recorder, |_| {})).await;
    recorder.wait_for("an import waits for the bucket").await;
    let whole = |file: &String| file.contains("/out/") && !file.ends_with(".part") && !file.ends_with(".version");
    until("all is in the spool", || home.spool_files().iter().filter(|file| whole(file)).count() == 3).await;
    recorder.kill();
    let server = crate::common::s3::S3Server::start_at(address).await;
    let recorder = home.start().await;
    imported(&home, &recorder, 1).await;
    check_video(&home.bucket().recording().await, MIB);
    assert_eq!(served(&summary, "video").len(), 1);
    assert!(server.written().last().is_some_and(|key| key.ends_with("/manifest.json")), "the manifest is last");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_renewed_by_oauth() {
    for account in [None, Some(ACCOUNT)] {
        let zoom = Zoom::new();
        let mut home = zoom.home();
        if let Some(account) = account {
            home.set("ZOOM_ACCOUNT_ID", account);
        }
        let recorder = home.start().await;
        let summary = play(zoom.recording(&recorder, |cloud| cloud.token_life = Duration::ZERO)).await;
        imported(&home, &recorder, 1).await;
        check_video(&home.bucket().recording().await, MIB);
        assert_eq!(summary.downloads.iter().filter(|download| download.status == 401).count(), 3);
        let tokens = summary.rest.iter().filter(|call| call.call.starts_with("token") && call.status == 200).count();
        assert_eq!(tokens, 1, "{summary}");
        assert!(!recorder.raw_log().contains("webhook_download"), "an address was logged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed_and_the_token_stays_with_zoom() {
    // Within Zoom's hosts the token goes along.
    let zoom = Zoom::new();
    let home = zoom.home();
    let recorder = home.start().await;
    let summary = play(zoom.recording(&recorder, |cloud| cloud.redirect = Some("/".to_owned()))).await;
    imported(&home, &recorder, 1).await;
    let at_last = served(&summary, "video");
    assert!(at_last.len() == 1 && at_last[0].redirected && at_last[0].token, "{at_last:?}");

    // Beyond them it does not, and they have to be encrypted.
    let zoom = Zoom::new();
    let mut home = zoom.home();
    let proxy = TlsProxy::start(zoom.files, home.spool().parent().expect("a directory")).await;
    home.set("ZOOM_ALLOWED_HOSTS", "127.0.0.1");
    home.set("SSL_CERT_FILE", proxy.certificate.to_str().expect("UTF-8"));
    let recorder = home.start().await;
    let elsewhere = proxy.url.replace("wss://", "https://");
    let summary = play(zoom.recording(&recorder, |cloud| {
        cloud.redirect = Some(elsewhere);
        cloud.video_bytes = 2 * MIB;
        cloud.cuts = vec![MIB];
    }))
    .await;
    imported(&home, &recorder, 1).await;
    check_video(&home.bucket().recording().await, 2 * MIB);
    let asked: Vec<_> = summary.downloads.iter().filter(|download| download.file == "video").collect();
    assert!(asked.iter().all(|download| download.token != download.redirected), "{asked:?}");
    assert!(asked.iter().filter(|download| download.redirected).count() == 2, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_from_hosts_that_are_not_zooms() {
    let zoom = Zoom::new();
    let mut home = zoom.home();
    home.set("ZOOM_ALLOWED_HOSTS", &format!(".zoom.us,{}", zoom.rest));
    let recorder = home.start().await;
    let listener = tokio::net::TcpListener::bind(zoom.files).await.expect("a port");
    let urls = [
        format!("http://{}/x", zoom.files),
        format!("https://{}/x", zoom.files),
        format!("https://zoom.us@{}/x", zoom.files),
        "http://zoom.us/x".to_owned(),
        "file:///etc/passwd".to_owned(),
        "nonsense".to_owned(),
    ];
    let files: Vec<Value> = urls
        .iter()
        .enumerate()
        .map(|(n, url)| json!({"id": n.to_string(), "file_type": "MP4", "file_extension": "MP4", "download_url": url}))
        .collect();
    let body = json!({"event": "recording.completed", "event_ts": 1, "download_token": "t", "payload": {"object": {
        "uuid": "u/==", "id": 1, "start_time": "2026-08-01T10:00:00Z", "recording_files": files}}});
    let answer = crate::common::http::signed(recorder.address(), body.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200);
    imported(&home, &recorder, 1).await;
    let connected = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(connected.is_err(), "it has connected");
    let recording = home.bucket().recording().await;
    let manifest = &recording.manifest;
    assert!(!manifest.complete && manifest.objects.is_empty(), "{manifest:#?}");
    assert_eq!(manifest.incomplete_because.len(), urls.len(), "{manifest:#?}");
    assert!(manifest.incomplete_because[0].contains("ZOOM_ALLOWED_HOSTS"), "{manifest:#?}");
}

/// A promise that cannot be kept is not made; one that was answered is in the spool.
#[tokio::test(flavor = "multi_thread")]
async fn the_event_is_answered_once_it_is_in_the_spool() {
    let zoom = Zoom::new();
    let mut home = zoom.home();
    let body = std::fs::read("fixtures/webhook/recording-completed.json").expect("the fixture");
    // Nothing answers at Zoom's real hosts from here, so the import stays unfinished.
    home.set("ZOOM_ALLOWED_HOSTS", "127.0.0.1,.zoom.us");
    home.set("HTTPS_PROXY", "http://127.0.0.1:9");
    let recorder = home.start().await;
    assert_eq!(crate::common::http::signed(recorder.address(), &body).await.status, 200);
    recorder.kill();
    let files = home.spool_files();
    assert!(files.iter().any(|file| file.starts_with(".cloud/") && file.ends_with("/intent.json")), "{files:?}");
    // Other addresses for the same files.
    let recorder = home.start().await;
    recorder.wait_for("going on with the import of a cloud recording").await;
    recorder.wait_for("cannot be fetched yet").await;
    let again = std::fs::read("fixtures/webhook/recording-completed-again-other-addresses.json").expect("the fixture");
    assert_eq!(crate::common::http::signed(recorder.address(), &again).await.status, 200);
    recorder.wait_for("nothing of it is new").await;
    let intents: Vec<_> = home.spool_files().into_iter().filter(|file| file.ends_with("intent.json")).collect();
    assert_eq!(intents.len(), 1, "{intents:?}");
    let intent = std::fs::read_to_string(home.spool().join(&intents[0])).expect("the intent");
    assert!(intent.contains("second.example.token") && !intent.contains("first.example.token"), "the newest token");
    let log = recorder.raw_log();
    assert!(!log.contains("example.token") && !log.contains("Participant One") && !log.contains("A meeting"), "{log}");
}

/// Without a public address: the event comes over the event WebSocket.
#[tokio::test(flavor = "multi_thread")]
async fn the_event_socket_tells_of_cloud_recordings_too() {
    let zoom = Zoom::new();
    let sockets = ports::free();
    let mut home = zoom.home();
    home.unset("ZOOM_SECRET_TOKEN");
    home.set("ZOOM_SUBSCRIPTION_ID", "subscription");
    home.set("ZOOM_EVENTS_URL", &format!("ws://{sockets}/ws"));
    let recorder = home.start().await;
    let mut settings = zoom.recording(&recorder, |_| {});
    settings.listen = sockets;
    settings.events = Some(Events::new("subscription"));
    let summary = play(settings).await;
    imported(&home, &recorder, 1).await;
    check_video(&home.bucket().recording().await, MIB);
    assert_eq!(served(&summary, "video").len(), 1);
}

/// What cannot be fetched is not waited for where all is to end, and is not forgotten either.
#[tokio::test(flavor = "multi_thread")]
async fn recover_leaves_what_cannot_be_fetched() {
    let zoom = Zoom::new();
    let mut home = zoom.home();
    home.set("HTTPS_PROXY", "http://127.0.0.1:9");
    home.set("ZOOM_ALLOWED_HOSTS", "127.0.0.1,.zoom.us");
    let recorder = home.start().await;
    let body = std::fs::read("fixtures/webhook/recording-completed.json").expect("the fixture");
    assert_eq!(crate::common::http::signed(recorder.address(), &body).await.status, 200);
    recorder.kill();
    let output = tokio::task::spawn_blocking(move || (home.run(&["recover"]), home)).await.expect("it runs");
    let said = String::from_utf8_lossy(&output.0.stderr);
    assert_eq!(output.0.status.code(), Some(1), "{said}");
    assert!(said.contains(".cloud/") && said.contains("that is left to a later start"), "{said}");
    assert!(output.1.spool_files().iter().any(|file| file.ends_with("/intent.json")));
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_can_be_switched_off() {
    let zoom = Zoom::new();
    let mut home = zoom.home();
    home.set("CLOUD_RECORDINGS", "ignore");
    let recorder = home.start().await;
    let body = std::fs::read("fixtures/webhook/recording-completed.json").expect("the fixture");
    assert_eq!(crate::common::http::signed(recorder.address(), &body).await.status, 200);
    recorder.wait_for("CLOUD_RECORDINGS is ignore").await;
    assert_eq!(home.spool_files(), Vec::<String>::new());
}
