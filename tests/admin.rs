//! The status page's API and the metrics of a running recorder: what they tell, what they do, and whom they let in.

use crate::common::http::{Answer, get, metric, request};
use crate::common::platter::Platter;
use crate::common::s3::S3Server;
use crate::common::{Home, LIMIT, Recorder, begin, meeting, play_one, provide_crypto};
use rtms_recorder::admin::OPENAPI;
use rtms_recorder::simulator::{self, MeetingSummary, Progress};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

fn admin(recorder: &Recorder) -> SocketAddr {
    recorder.admin_address()
}

/// Checks an answer against the schema that the documentation gives for it.
fn check(name: &str, answer: &Value) {
    let document: Value = serde_json::from_str(OPENAPI).expect("JSON");
    let mut compiler = boon::Compiler::new();
    let url = "https://example.com/openapi.json";
    compiler.add_resource(url, document).expect("a resource");
    let mut schemas = boon::Schemas::new();
    let index = compiler.compile(&format!("{url}#/components/schemas/{name}"), &mut schemas).expect("a schema");
    schemas.validate(answer, index).unwrap_or_else(|err| panic!("{name}: {err}\n{answer:#}"));
}

fn parse(name: &str, answer: &Answer) -> Value {
    let value = serde_json::from_str(body(answer)).unwrap_or_else(|err| panic!("{err}: {answer:?}"));
    check(name, &value);
    value
}

fn body(answer: &Answer) -> &str {
    &answer.body
}

async fn state(to: SocketAddr) -> Value {
    let answer = get(to, "/api/state").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    parse("State", &answer)
}

/// Waits until the state says so; returns the first recording.
async fn recording(to: SocketAddr, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let state = state(to).await;
        if let Some(found) = state["recordings"].as_array().expect("a list").iter().find(|r| so(r)) {
            return found.clone();
        }
        assert!(began.elapsed() < LIMIT, "{what}: {state:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn told(to: SocketAddr, line: &str) -> Answer {
    request(to, line, &[("x-requested-with", "test")], b"").await
}

fn play(recorder: &Recorder, length_s: u64) -> JoinHandle<Vec<MeetingSummary>> {
    let mut settings = meeting(&recorder.webhook, length_s);
    settings.speed = 1.0;
    provide_crypto();
    tokio::spawn(async move { simulator::run(settings, Progress::silent()).await.expect("it can be played").meetings })
}

/// Plays one of 30 s, and waits until its media flow. Returns its recording's id, too.
async fn flowing(recorder: &Recorder) -> (JoinHandle<Vec<MeetingSummary>>, String) {
    let playing = play(recorder, 30);
    let flows = |r: &Value| r["received"].as_array().is_some_and(|of| of.len() > 2);
    let live = recording(admin(recorder), "recording", flows).await;
    (playing, live["id"].as_str().expect("an id").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_is_told_as_it_runs_is_finished_and_is_played() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = admin(&recorder);
    let empty = state(to).await;
    assert_eq!(empty["recordings"], json!([]));

    let playing = play(&recorder, 14);
    let live = recording(to, "heard and seen", |r| r["level_db"].is_number() && r["people"].is_array()).await;
    assert_eq!((&live["state"], &live["server"]), (&json!("recording"), &json!("127.0.0.1")));
    for conn in live["connections"].as_array().expect("connections") {
        assert_eq!((conn["up"].as_bool(), conn["lost"].as_u64()), (Some(true), Some(0)), "{live:#}");
    }
    assert!(live["people"].as_array().is_some_and(|people| !people.is_empty()), "{live:#}");
    let id = live["id"].as_str().expect("an id").to_owned();
    let picture = get(to, &format!("/api/recordings/{id}/picture")).await;
    assert!(picture.status == 200 && picture.body.contains("JFIF") || picture.body.contains("Lavc"), "{picture:?}");
    let metrics = get(to, "/metrics").await.body;
    assert_eq!(metric(&metrics, "recorder_streams{state=\"recording\"}"), 1.0);
    assert!(metric(&metrics, "recorder_packets_total{medium=\"audio\"}") > 100.0);
    assert!(metric(&metrics, "recorder_packets_bytes_total{medium=\"video\"}") > 10_000.0);
    assert!(metric(&metrics, "recorder_spool_free_bytes") > 0.0);
    assert!(metric(&metrics, "recorder_journal_backlog_seconds") < 5.0);

    // What cannot be done now is refused with a reason.
    let refused = told(to, &format!("POST /api/recordings/{id}/retry")).await;
    assert_eq!(refused.status, 409);
    assert!(parse("Error", &refused)["error"].as_str().expect("text").contains("only what failed"));

    let sent = playing.await.expect("no panic").remove(0);
    recorder.published(1).await;
    let over = recording(to, "published", |r| r["state"] == "published").await;
    assert_eq!((over["complete"].as_bool(), over["id"].as_str()), (Some(true), Some(id.as_str())), "{over:#}");
    let found = parse("RecordingWithFiles", &get(to, &format!("/api/recordings/{id}")).await);
    let files = found["files"].as_array().expect("files");
    let video = files.iter().find(|file| file["name"] == "recording.mp4").expect("a video");
    let url = video["url"].as_str().expect("an address");
    let size = video["size_bytes"].as_u64().expect("a size");
    let part = request(to, &format!("GET {url}"), &[("range", "bytes=4-7")], b"").await;
    assert_eq!((part.status, part.body.as_str()), (206, "ftyp"));
    let beyond = request(to, &format!("GET {url}"), &[("range", &format!("bytes={size}-"))], b"").await;
    assert_eq!(beyond.status, 416);
    for path in ["../../../etc/passwd", "..%2f..%2fmanifest.json", "manifest.json"] {
        assert_eq!(get(to, &format!("/api/recordings/{id}/files/{path}")).await.status, 404, "{path}");
    }

    let metrics = get(to, "/metrics").await.body;
    assert_eq!(metric(&metrics, "recorder_streams{state=\"published\"}"), 1.0);
    assert!(metric(&metrics, "recorder_uploads_total{result=\"stored\"}") >= files.len() as f64);
    assert!(metric(&metrics, "recorder_uploaded_bytes_total") > size as f64);
    assert_eq!(metric(&metrics, "recorder_stream_ends_total{reason=\"meeting_ended\"}"), 1.0);
    assert!(metric(&metrics, "recorder_webhooks_total{status=\"200\"}") >= 2.0);
    assert!(metric(&metrics, "recorder_webhook_seconds_count") >= 2.0);
    assert!(sent.error.is_none(), "{sent}");

    // It is told again after a restart, and can be deleted then.
    recorder.terminate().await;
    let recorder = home.start().await;
    let to = admin(&recorder);
    recording(to, "told again", |r| r["state"] == "published").await;
    let deleted = told(to, &format!("DELETE /api/recordings/{id}")).await;
    assert_eq!(deleted.status, 202, "{deleted:?}");
    parse("Accepted", &deleted);
    recording(to, "deleted", |r| r["state"] == "deleted").await;
    let keys = home.bucket().keys().await;
    assert!(keys.len() == 1 && keys[0].ends_with("/manifest.json"), "{keys:?}");
    let manifest: Value = serde_json::from_slice(&home.bucket().read(&keys[0]).await).expect("JSON");
    assert!(manifest["deleted"]["because"].as_str().expect("text").contains("status page"), "{manifest:#}");
    assert_ne!(manifest["stop_reason"]["code"], 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_is_stopped_is_published_and_one_that_is_deleted_is_gone() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = admin(&recorder);
    let (playing, id) = flowing(&recorder).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(told(to, &format!("POST /api/recordings/{id}/stop")).await.status, 202);
    recorder.published(1).await;
    let key = home.bucket().keys().await.into_iter().find(|key| key.ends_with("/manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_slice(&home.bucket().read(&key).await).expect("JSON");
    assert_eq!((&manifest["stop_reason"]["name"], &manifest["complete"]), (&json!("OPERATOR"), &json!(false)));
    assert!(manifest["duration_ms"].as_u64() > Some(1000), "{manifest:#}");
    let again = told(to, &format!("POST /api/recordings/{id}/stop")).await;
    assert_eq!(again.status, 409, "{again:?}");
    playing.abort();

    let home = Home::new();
    let recorder = home.start().await;
    let to = admin(&recorder);
    let (playing, id) = flowing(&recorder).await;
    assert_eq!(told(to, &format!("DELETE /api/recordings/{id}")).await.status, 202);
    recording(to, "deleted", |r| r["state"] == "deleted").await;
    let keys = home.bucket().keys().await;
    assert!(keys.len() == 1 && keys[0].ends_with("/manifest.json"), "{keys:?}");
    assert!(home.spool_files().iter().all(|file| file.ends_with("done.json")), "{:?}", home.spool_files());
    playing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_fails_is_told_and_tried_again_when_asked() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = admin(&recorder);
    let (playing, id) = flowing(&recorder).await;
    let in_the_way = home.spooled().join("done.json");
    std::fs::create_dir(&in_the_way).expect("a directory");
    assert_eq!(told(to, &format!("DELETE /api/recordings/{id}")).await.status, 202);
    let failed = recording(to, "in trouble", |r| r["trouble"].is_object()).await;
    assert!(failed["trouble"]["why"].as_str().is_some_and(|why| why.contains("done.json")), "{failed:#}");
    std::fs::remove_dir(&in_the_way).expect("it is there");
    let began = Instant::now();
    assert_eq!(told(to, &format!("POST /api/recordings/{id}/retry")).await.status, 202);
    recording(to, "deleted", |r| r["state"] == "deleted").await;
    assert!(began.elapsed() < Duration::from_secs(50), "it would be tried again after 60 s anyway");
    playing.abort();
}

/// Who asked may not wait for the answer, which is slow if the disk is.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_to_be_deleted_is_whoever_goes_away() {
    let mut home = Home::new();
    Platter::under(&mut home);
    home.set("PLATTER_DELAY_MS", "100");
    let recorder = home.start().await;
    let to = admin(&recorder);
    let (playing, id) = flowing(&recorder).await;
    let line = format!("DELETE /api/recordings/{id}");
    tokio::time::timeout(Duration::from_millis(150), told(to, &line)).await.expect_err("it is not answered yet");
    recording(to, "deleted", |r| r["state"] == "deleted").await;
    assert!(recorder.logged("forcing a journal to the disk failed").is_empty(), "{}", recorder.raw_log());
    playing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_not_let_in() {
    let mut home = Home::new();
    let recorder = home.start().await;
    let to = admin(&recorder);
    assert_eq!(get(to, "/").await.status, 200);
    for path in ["/", "/api/state", "/metrics", "/api/events"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
        assert_eq!(crate::common::http::raw(to, request.as_bytes()).await.status, 403, "{path}");
    }
    // Nothing is changed by a GET, nor by a form of another site.
    for line in ["GET /api/recordings/a/stop", "GET /api/recordings/a/retry", "GET /api/recordings/a/delete"] {
        assert_eq!(told(to, line).await.status, 404, "{line}");
    }
    assert_eq!(request(to, "POST /api/recordings/a/stop", &[], b"").await.status, 403);
    let cross = [("x-requested-with", "x"), ("origin", "https://evil.example")];
    assert_eq!(request(to, "DELETE /api/recordings/a", &cross, b"").await.status, 403);
    assert_eq!(told(to, "DELETE /api/recordings/a").await.status, 404);
    drop(recorder);

    let token = "a-token-that-no-text-may-show";
    home.set("ADMIN_TOKEN", token);
    home.set("ADMIN_ADDR", "0.0.0.0:0");
    let recorder = home.start().await;
    let port = admin(&recorder).port();
    let to = SocketAddr::from(([127, 0, 0, 1], port));
    let form = get(to, "/").await;
    assert!(form.status == 401 && form.body.contains("type=\"password\""), "{form:?}");
    for path in ["/api/state", "/metrics", "/openapi.json"] {
        assert_eq!(get(to, path).await.status, 401, "{path}");
    }
    let bearer = format!("Bearer {token}");
    let answer = request(to, "GET /metrics", &[("authorization", &bearer)], b"").await;
    assert!(answer.status == 200 && answer.body.ends_with("# EOF\n"), "{answer:?}");
    let wrong = Instant::now();
    assert_eq!(request(to, "GET /metrics", &[("authorization", "Bearer no")], b"").await.status, 401);
    assert!(wrong.elapsed() >= Duration::from_secs(1), "a wrong one takes its time");
    let body = format!("token={token}");
    let answer = request(to, "POST /login", &[], body.as_bytes()).await;
    assert_eq!(answer.status, 303);

    // What a page is told ends with its session.
    let cookie =
        answer.head.split("set-cookie: ").nth(1).and_then(|cookie| cookie.split(';').next()).expect("a cookie");
    let events =
        format!("GET /api/events HTTP/1.1\r\nhost: localhost\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n");
    let events = tokio::spawn(async move { crate::common::http::raw(to, events.as_bytes()).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!events.is_finished());
    let out = [("cookie", cookie), ("x-requested-with", "x")];
    assert_eq!(request(to, "POST /logout", &out, b"").await.status, 303);
    let events = tokio::time::timeout(Duration::from_secs(10), events).await.expect("it ends").expect("no panic");
    assert!(events.status == 200 && events.body.contains("event:state"), "{events:?}");
    assert!(!recorder.raw_log().contains(token));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_or_open_to_all_is_a_clear_mistake() {
    let mut home = Home::new();
    let first = home.start().await;
    let taken = admin(&first).to_string();
    let mut second = Home::new();
    second.set("ADMIN_ADDR", &taken);
    let output = second.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("ADMIN_ADDR") && said.contains(&taken), "{said}");

    home.set("ADMIN_ADDR", "0.0.0.0:3001");
    home.set("PORT", "http");
    let output = home.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("2 settings") && said.contains("set ADMIN_TOKEN") && said.contains("PORT"), "{said}");
    drop(first);

    let mut home = Home::new();
    home.set("ADMIN_ADDR", "off");
    let recorder = home.start().await;
    assert_eq!(recorder.admin, "");
    assert_eq!(get(recorder.address(), "/metrics").await.status, 404);
}

/// Plays a meeting whose upload fails: what is in the way of it, and what is told of the recording.
async fn stuck(home: &Home, recorder: &Recorder) -> (PathBuf, Value) {
    let in_the_way = home.block_bucket();
    play_one(meeting(&recorder.webhook, 4)).await;
    (in_the_way, recording(admin(recorder), "in trouble", |r| r["trouble"].is_object()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_is_told_and_tried_again_when_asked() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = admin(&recorder);
    let (in_the_way, stuck) = stuck(&home, &recorder).await;
    let ready = get(recorder.address(), "/readyz").await;
    assert!(stuck["state"] == "failed" || ready.body.contains("bucket: "), "{ready:?} {stuck:#}");
    assert_eq!(ready.status, 200, "a bucket that is down stops no recording: {ready:?}");
    std::fs::remove_file(in_the_way).expect("it is there");
    let id = stuck["id"].as_str().expect("an id");
    assert_eq!(told(to, &format!("POST /api/recordings/{id}/retry")).await.status, 202);
    recorder.published(1).await;
    recording(to, "published", |r| r["state"] == "published").await;
    let metrics = get(to, "/metrics").await.body;
    assert!(metric(&metrics, "recorder_uploads_total{result=\"failed\"}") >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rendering_that_fails_is_told_and_tried_again_when_asked() {
    let mut home = Home::new();
    let (bin, works) = (home.path("bin"), home.path("works"));
    std::fs::create_dir(&bin).expect("a directory");
    let path = std::env::var("PATH").expect("a path");
    let script = format!("#!/bin/sh\n[ -e {} ] && PATH={path} exec ffmpeg \"$@\"\nexit 1\n", works.display());
    std::fs::write(bin.join("ffmpeg"), script).expect("a file");
    std::fs::set_permissions(bin.join("ffmpeg"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("it is ours");
    home.set("PATH", &format!("{}:{path}", bin.display()));
    let recorder = home.start().await;
    let to = admin(&recorder);
    let playing = play(&recorder, 18);
    recording(to, "in trouble while it runs", |r| r["state"] == "recording" && r["trouble"].is_object()).await;
    // It is rendered from when it is 10 s old. The next attempt is far away now, and the end of the stream changes nothing about that.
    let waits = |r: &Value| r["trouble"]["next"].as_str().is_some_and(|next| next.contains("after 30 s"));
    recording(to, "waiting", waits).await;
    playing.await.expect("it is played");
    let stuck = recording(to, "over", |r| r["state"] == "rendering").await;
    assert!(waits(&stuck), "{stuck:#}");
    std::fs::write(&works, b"").expect("a file");
    let id = stuck["id"].as_str().expect("an id");
    let began = Instant::now();
    assert_eq!(told(to, &format!("POST /api/recordings/{id}/retry")).await.status, 202);
    recorder.published(1).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// Nobody works any more on a recording that was given up.
#[tokio::test(flavor = "multi_thread")]
async fn what_had_been_given_up_is_deleted_when_told() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = admin(&recorder);
    let (in_the_way, stuck) = stuck(&home, &recorder).await;
    let id = stuck["id"].as_str().expect("an id");
    // Trying again does not bring a file back that somebody took out of the spool.
    std::fs::remove_file(home.spool().join(id).join("out/timeline.json")).expect("it is there");
    std::fs::remove_file(in_the_way).expect("it is there");
    assert_eq!(told(to, &format!("POST /api/recordings/{id}/retry")).await.status, 202);
    recording(to, "given up", |r| r["state"] == "failed").await;
    let ready = get(recorder.address(), "/readyz").await;
    assert!(!ready.body.contains("timeline.json"), "that is no fault of the bucket: {ready:?}");
    assert_eq!(told(to, &format!("DELETE /api/recordings/{id}")).await.status, 202);
    recording(to, "deleted", |r| r["state"] == "deleted").await;
    assert_eq!(home.spool_files(), [format!("{id}/done.json")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ffmpeg_it_is_not_ready_and_without_the_bucket_it_is() {
    let mut home = Home::new();
    home.set("PATH", "/nonexistent");
    let recorder = home.start().await;
    let unready = until_ready_says(&recorder, "ffmpeg: ").await;
    assert_eq!(unready.status, 503, "{unready:?}");
    let state = state(admin(&recorder)).await;
    assert!(state["machine"]["unready"].as_str().is_some_and(|why| why.contains("ffmpeg")), "{state:#}");
    assert_eq!(get(recorder.address(), "/healthz").await.status, 200);
    drop(recorder);

    let home = Home::new();
    let recorder = home.start().await;
    until_ready_says(&recorder, "ready").await;
    let spool = home.path("spool");
    std::fs::rename(&spool, home.path("elsewhere")).expect("it can be moved");
    let unready = get(recorder.address(), "/readyz").await;
    assert!(unready.status == 503 && unready.body.contains("SPOOL_DIR must be"), "{unready:?}");
    assert!(unready.body.contains("No such file"), "{unready:?}");
    std::fs::rename(home.path("elsewhere"), &spool).expect("it can be moved back");
    assert_eq!(get(recorder.address(), "/readyz").await.status, 200);
    drop(recorder);

    let home = Home::with_s3(crate::common::ports::free());
    let recorder = home.start().await;
    let ready = until_ready_says(&recorder, "bucket: ").await;
    assert!(ready.status == 200 && ready.body.starts_with("ready\n"), "{ready:?}");
    let metrics = get(admin(&recorder), "/metrics").await.body;
    assert_eq!(metric(&metrics, "recorder_bucket_up"), 0.0);
}

/// The recorder does not believe for minutes what it saw at its start.
#[tokio::test(flavor = "multi_thread")]
async fn an_ffmpeg_that_goes_away_is_noticed_by_the_rendering_that_misses_it() {
    let mut home = Home::new();
    let bin = home.path("bin");
    std::fs::create_dir(&bin).expect("a directory");
    let path = std::env::var_os("PATH").expect("a path");
    let real = std::env::split_paths(&path).map(|dir| dir.join("ffmpeg")).find(|path| path.exists()).expect("ffmpeg");
    std::os::unix::fs::symlink(real, bin.join("ffmpeg")).expect("a link");
    home.set("PATH", bin.to_str().expect("UTF-8"));
    let recorder = home.start().await;
    recorder.wait_for("found ffmpeg").await;
    std::fs::remove_file(bin.join("ffmpeg")).expect("it is there");
    let mut settings = meeting(&recorder.webhook, 4);
    settings.speed = 4.0;
    play_one(settings).await;
    let unready = until_ready_says(&recorder, "ffmpeg: ").await;
    assert!(unready.status == 503 && unready.body.contains("was not found in PATH"), "{unready:?}");
}

async fn until_ready_says(recorder: &Recorder, text: &str) -> Answer {
    let began = Instant::now();
    loop {
        let answer = get(recorder.address(), "/readyz").await;
        if answer.body.contains(text) {
            return answer;
        }
        assert!(began.elapsed() < LIMIT, "{text}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_and_gaps_are_counted() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = admin(&recorder);
    let mut settings = meeting(&recorder.webhook, 14);
    settings.speed = 1.0;
    settings.script.failover_ms = vec![5030];
    settings.webhooks.delay = Duration::from_millis(2600);
    let playing = begin(settings);
    let was_lost = |r: &Value| {
        let connections = r["connections"].as_array().map(Vec::as_slice).unwrap_or_default();
        connections.iter().any(|c| c["name"] == "video" && c["lost"].as_u64() >= Some(1) && c["up"] == true)
    };
    let live = recording(to, "back again", was_lost).await;
    assert!(live["connections"][0]["because"].is_string(), "{live:#}");
    playing.await.expect("no panic").expect("it can be played");
    recorder.published(1).await;
    let metrics = get(to, "/metrics").await.body;
    let reconnects = metrics.lines().filter(|line| line.starts_with("recorder_reconnects_total"));
    assert!(reconnects.map(|line| metric(line, "")).sum::<f64>() >= 1.0, "{metrics}");
    assert!(metric(&metrics, "recorder_gaps_seconds_total{cause=\"connection\"}") > 1.0, "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_a_bucket_are_linked_to_by_signed_links() {
    let server = S3Server::start().await;
    let home = Home::with_s3(server.address);
    let recorder = home.start().await;
    play_one(meeting(&recorder.webhook, 4)).await;
    recorder.published(1).await;
    let to = admin(&recorder);
    let id = recording(to, "published", |r| r["state"] == "published").await["id"].clone();
    let id = id.as_str().expect("an id");
    let found = parse("RecordingWithFiles", &get(to, &format!("/api/recordings/{id}")).await);
    let files = found["files"].as_array().expect("files");
    let video = files.iter().find(|file| file["name"] == "recording.mp4").expect("a video");
    let url = url::Url::parse(video["url"].as_str().expect("an address")).expect("an address");
    let expires = url.query_pairs().find(|(name, _)| name == "X-Amz-Expires").map(|(_, value)| value.into_owned());
    assert_eq!(expires.as_deref(), Some("3600"), "{url}");
    let path = format!("GET {}?{}", url.path(), url.query().expect("a signature"));
    let part = request(server.address, &path, &[("range", "bytes=4-7")], b"").await;
    assert_eq!((part.status, part.body.as_str()), (206, "ftyp"));
    // Through the recorder it can be read, too, as where nothing can be signed.
    let path = format!("GET /api/recordings/{id}/files/recording.mp4");
    server.forget();
    for _ in 0..3 {
        let part = request(to, &path, &[("range", "bytes=4-7")], b"").await;
        assert_eq!((part.status, part.body.as_str()), (206, "ftyp"));
    }
    // The manifest is fetched for the first range alone, and what is deleted is gone though that is remembered.
    let manifests = server.seen().iter().filter(|seen| seen.key.ends_with("/manifest.json")).count();
    assert_eq!(manifests, 1, "{:?}", server.seen());
    told(to, &format!("DELETE /api/recordings/{id}")).await;
    assert_eq!(request(to, &path, &[("range", "bytes=4-7")], b"").await.status, 404);
}
