//! Strangers at the doors of a running recorder: a meeting is recorded to the last beep whatever they try meanwhile, what is
//! replayed has no effect, and servers lead nowhere but to allowed hosts.

use crate::common::http::{Seal, now_s, raw, signed};
use crate::common::{Home, LIMIT, Recorder, SECRET_TOKEN, meeting, play};
use futures_util::{SinkExt, StreamExt};
use rtms_recorder::simulator::{Attack, Siege};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

/// What the recorder's memory may grow to under any attack, in MiB: itself, a meeting, and all bodies that it takes at once.
const MOST_MIB: u64 = 100;

/// Plays a meeting at a recorder that is attacked, and measures the recording.
async fn attacked(attack: Attack, length_s: u64) -> (Home, Siege) {
    let home = Home::new();
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, length_s);
    settings.attacks = vec![attack];
    settings.crowd = crowd();
    let mut summary = play(settings).await;
    let (sent, siege) = (summary.meetings.remove(0), summary.siege.expect("it was attacked"));
    println!("{siege}memory at most {} MiB", peak_mib(&recorder));
    assert_eq!(siege.wrong, Vec::<String>::new(), "{siege}");
    assert!(siege.attacks[&attack].tries > 0 && siege.probes > 4, "{siege}");
    recorder.published(1).await;
    assert_eq!(recorder.logged("recording started").len(), 1, "{}", recorder.raw_log());
    assert!(recorder.complaints().len() <= 4, "strangers fill the log:\n{}", recorder.raw_log());
    assert!(peak_mib(&recorder) <= MOST_MIB, "{} MiB", peak_mib(&recorder));
    let recording = home.bucket().recording().await;
    recording.check_marks(&sent);
    recording.check_files();
    let lost: Vec<_> = recording.manifest.gaps.iter().filter(|gap| gap.cause.as_str() != "not_sent").collect();
    assert!(recording.manifest.complete && lost.is_empty(), "{lost:?}");
    (home, siege)
}

/// A crowd of a thousand, or what this process may open. More than the system queues for the recorder (1024) would measure
/// the system.
fn crowd() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(300).min(1000)
}

/// The most memory that was ever resident.
fn peak_mib(recorder: &Recorder) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", recorder.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_events_start_nothing() {
    attacked(Attack::Forged, 24).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_events_start_nothing() {
    attacked(Attack::Stale, 24).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_events_do_nothing_twice() {
    let (_home, siege) = attacked(Attack::Replayed, 24).await;
    assert!(siege.attacks[&Attack::Replayed].answers["200"] > 10, "{siege}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_without_an_end_are_cut_off() {
    attacked(Attack::Huge, 24).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_a_second_is_too_slow() {
    let (_home, siege) = attacked(Attack::Slow, 72).await;
    let answers = &siege.attacks[&Attack::Slow].answers;
    assert!(answers.contains_key("408") && answers.contains_key("closed"), "{siege}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_keeps_nothing_waiting() {
    let (_home, siege) = attacked(Attack::Flood, 48).await;
    assert!(siege.attacks[&Attack::Flood].tries > 2 * crowd() as u64, "{siege}");
}

/// A webhook as Zoom sent it at a time, to be sent again and again.
fn sealed(to: SocketAddr, at_s: i64, body: &serde_json::Value) -> Vec<u8> {
    let body = body.to_string();
    let seal = Seal::new(SECRET_TOKEN, at_s, body.as_bytes()).lines();
    format!(
        "POST /webhook HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-length: {}\r\n{seal}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn event(what: &str, event_ts: Option<i64>, server: &str) -> serde_json::Value {
    let mut event = json!({"event": format!("meeting.rtms_{what}"), "payload": {
        "meeting_uuid": "Ab+/cdEFghIJklMNopQRst==", "rtms_stream_id": "stream", "server_urls": server, "stop_reason": 6}});
    if let Some(ts) = event_ts {
        event["event_ts"] = ts.into();
    }
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_replayed_after_the_end_starts_nothing_not_even_after_a_restart() {
    let mut home = Home::new();
    home.set("PORT", &crate::common::ports::free().port().to_string());
    let recorder = home.start().await;
    let (to, now) = (recorder.address(), now_s());
    let at = |s: i64| Some((now + s) * 1000);
    let started = sealed(to, now, &event("started", at(-30), "ws://127.0.0.1:9/a"));
    let moved = sealed(to, now, &event("started", at(-20), "ws://127.0.0.1:9/b"));
    let stopped = sealed(to, now, &event("stopped", at(-10), ""));
    for (request, done) in [(&started, "recording started"), (&moved, "Zoom moved"), (&stopped, "published")] {
        assert_eq!(raw(to, request).await.status, 200);
        recorder.wait_for(done).await;
    }
    for request in [&started, &moved, &stopped, &moved] {
        assert_eq!(raw(to, request).await.status, 200);
    }
    assert_eq!(recorder.logged("recording started").len(), 1);
    assert_eq!(recorder.terminate().await.0, Some(0));

    let recorder = home.start().await;
    for request in [&started, &moved, &stopped, &moved] {
        assert_eq!(raw(to, request).await.status, 200);
    }
    assert_eq!(recorder.logged("recording started").len(), 0, "{}", recorder.raw_log());
    // What is new does start.
    assert_eq!(raw(to, &sealed(to, now, &event("started", at(0), "ws://127.0.0.1:9/c"))).await.status, 200);
    recorder.wait_for("recording started").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_a_time_gets_no_younger_by_a_replay() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    let started = sealed(to, now_s() - 60, &event("started", None, "ws://127.0.0.1:9/a"));
    let stopped = sealed(to, now_s() - 10, &event("stopped", None, ""));
    assert_eq!(raw(to, &started).await.status, 200);
    assert_eq!(raw(to, &started).await.status, 200);
    assert_eq!(recorder.logged("Zoom moved").len(), 0, "{}", recorder.raw_log());
    assert_eq!(raw(to, &stopped).await.status, 200);
    recorder.published(1).await;
    assert_eq!(raw(to, &started).await.status, 200);
    assert_eq!(recorder.logged("recording started").len(), 1, "{}", recorder.raw_log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_points_elsewhere_is_not_followed() {
    let home = Home::new();
    let recorder = home.start().await;
    // An allowed host, so that nothing but not following keeps the recorder away.
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let there = elsewhere.local_addr().expect("it is bound");
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let here = server.local_addr().expect("it is bound");
    let started = event("started", Some(now_s() * 1000), &format!("ws://{here}/x"));
    assert_eq!(signed(recorder.address(), started.to_string().as_bytes()).await.status, 200);
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let (mut socket, _) = tokio::time::timeout(LIMIT, server.accept()).await.expect("it dials").expect("a socket");
        let mut head = vec![0; 4096];
        assert!(socket.read(&mut head).await.expect("a handshake") > 0);
        let answer = format!("HTTP/1.1 {status}\r\nlocation: ws://{there}/x\r\ncontent-length: 0\r\n\r\n");
        socket.write_all(answer.as_bytes()).await.expect("it listens");
    }
    recorder.wait_for("307").await;
    let followed = tokio::time::timeout(Duration::from_secs(1), elsewhere.accept()).await;
    assert!(followed.is_err(), "it has followed: {followed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn media_servers_outside_of_the_allowed_hosts_are_not_connected_to() {
    let mut home = Home::new();
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let here = server.local_addr().expect("it is bound");
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = elsewhere.local_addr().expect("it is bound").port();
    // The signaling server's port alone, so that the same machine is another host.
    home.set("ZOOM_ALLOWED_HOSTS", &here.to_string());
    let recorder = home.start().await;
    let started = event("started", Some(now_s() * 1000), &format!("ws://{here}/x"));
    assert_eq!(signed(recorder.address(), started.to_string().as_bytes()).await.status, 200);
    let (socket, _) = tokio::time::timeout(LIMIT, server.accept()).await.expect("it dials").expect("a socket");
    let mut socket = tokio_tungstenite::accept_async(socket).await.expect("a WebSocket");
    socket.next().await.expect("a handshake").expect("a message");
    let urls = json!({"all": format!("ws://127.0.0.1:{port}/x"), "audio": format!("wss://localhost:{port}/x"),
                      "video": format!("wss://{here}@127.0.0.1:{port}/")});
    let answer = json!({"msg_type": 2, "protocol_version": 1, "status_code": 0, "media_server": {"server_urls": urls}});
    socket.send(Message::text(answer.to_string())).await.expect("it listens");
    let lines = recorder.wait_for_many("is not covered by ZOOM_ALLOWED_HOSTS", 3).await;
    assert!(lines.iter().all(|line| line["level"] == "WARN"), "{lines:?}");
    let connected = tokio::time::timeout(Duration::from_secs(1), elsewhere.accept()).await;
    assert!(connected.is_err(), "it has connected: {connected:?}");
}
