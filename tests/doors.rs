//! The public door of a running recorder, and the addresses behind it: what is let in, what is refused, and what is
//! said about it.

use crate::common::http::{Answer, Seal, get, now_s, raw, request, signed, signed_with};
use crate::common::tls::TlsProxy;
use crate::common::{Home, LIMIT, Recorder, SECRET_TOKEN, begin, meeting, play_one};
use rtms_recorder::events::server::MOST_CONNECTIONS;
use rtms_recorder::listen::HEAD_WITHIN;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MIB: usize = 1 << 20;

fn started(stream: &str, server: &str) -> Value {
    json!({"event": "meeting.rtms_started", "event_ts": now_s() * 1000, "payload": {
        "meeting_uuid": "Ab+/cdEFghIJklMNopQRst==", "rtms_stream_id": stream, "server_urls": server}})
}

async fn post(recorder: &Recorder, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    request(recorder.address(), "POST /webhook", headers, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_is_refused_in_few_words_and_leaves_no_trace() {
    let home = Home::new();
    let recorder = home.start().await;
    let body = started("s1", "ws://127.0.0.1:9/x").to_string();
    let body = body.as_bytes();
    let now = now_s();
    let seal = |at_s: i64| Seal::new(SECRET_TOKEN, at_s, body);
    let (good, stale, early) = (seal(now), seal(now - 301), seal(now + 360));
    let other = Seal::new("another-token", now, body);
    let [timestamp, signature] = good.headers();
    let bare = &good.signature[3..];
    let cases: [(&str, Vec<(&str, &str)>); 8] = [
        ("of another app", other.headers().to_vec()),
        ("301 s old", stale.headers().to_vec()),
        ("from the future", early.headers().to_vec()),
        ("no headers", vec![]),
        ("no signature", vec![timestamp]),
        ("no timestamp", vec![signature]),
        ("a timestamp that is none", vec![(Seal::TIMESTAMP, "yesterday"), signature]),
        ("no version", vec![timestamp, (Seal::SIGNATURE, bare)]),
    ];
    for (what, headers) in &cases {
        assert_eq!(post(&recorder, headers, body).await.status, 401, "{what}");
    }
    // Unsigned, without a time, stale, of another token.
    recorder.wait_for_many("a webhook was refused", 4).await;
    assert_eq!(recorder.complaints().len(), 4, "one line for each way to be refused\n{}", recorder.raw_log());
    // The right signature over another body.
    assert_eq!(post(&recorder, &good.headers(), b"{}").await.status, 401);
    assert_eq!(home.spool_files(), Vec::<String>::new());
    assert_eq!(recorder.logged("recording started").len(), 0);
    assert!(!recorder.raw_log().contains(bare), "a signature was logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_and_makes_no_sense_is_answered() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    for body in ["", "{", "nonsense", "[1]", "{\"payload\":{}}", "\u{feff}{}"] {
        let answer = signed(to, body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body:?}");
    }
    assert_eq!(signed(to, &[0xff, 0xfe, 0x00]).await.status, 400);
    let deep = "[".repeat(100_000);
    assert_eq!(signed(to, deep.as_bytes()).await.status, 400);
    for event in ["meeting.started", "rtms.concurrency_limited", "meeting.rtms_what", ""] {
        let answer = signed(to, json!({"event": event, "payload": {}}).to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "{event:?}");
    }
    for (field, payload) in [
        ("rtms_stream_id", json!({"meeting_uuid": "m", "server_urls": "wss://x.zoom.us"})),
        ("meeting_uuid", json!({"rtms_stream_id": "s", "server_urls": "wss://x.zoom.us"})),
        ("server_urls", json!({"rtms_stream_id": "s", "meeting_uuid": "m"})),
        ("server_urls", json!({"rtms_stream_id": "s", "meeting_uuid": "m", "server_urls": []})),
        ("rtms_stream_id", json!(null)),
        ("rtms_stream_id", json!({"rtms_stream_id": {"a": 1}, "meeting_uuid": "m", "server_urls": "wss://x"})),
    ] {
        let body = json!({"event": "meeting.rtms_started", "payload": payload}).to_string();
        let answer = signed(to, body.as_bytes()).await;
        assert!(answer.status == 400 && answer.body.contains(field), "{field}: {answer:?}");
    }
    assert_eq!(home.spool_files(), Vec::<String>::new());
    assert_eq!(get(to, "/healthz").await.status, 200, "it still serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_above_a_mebibyte_are_too_large() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    let filled = |size: usize| {
        let frame = json!({"event": "meeting.started", "payload": ""}).to_string();
        frame.replace("\"\"", &format!("\"{}\"", "x".repeat(size - frame.len())))
    };
    assert_eq!(signed(to, filled(MIB).as_bytes()).await.status, 200, "a mebibyte is taken");
    assert_eq!(signed(to, filled(MIB + 1).as_bytes()).await.status, 413);
    // The same without Content-Length, in chunks, and without an end.
    let mut chunked =
        format!("POST /webhook HTTP/1.1\r\nhost: {to}\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..20 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.resize(chunked.len() + 0x10000, b'x');
        chunked.extend_from_slice(b"\r\n");
    }
    assert_eq!(raw(to, &chunked).await.status, 413);
    assert_eq!(get(to, "/healthz").await.status, 200, "it still serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_webhook_and_two_pages_are_there() {
    let mut home = Home::new();
    home.set("ZOOM_SECRET_TOKEN", "demo-secret-token");
    let recorder = home.start().await;
    let to = recorder.address();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(to, path).await.status, 200, "{path}");
    }
    assert!([404, 405].contains(&get(to, "/webhook").await.status));
    for path in ["/", "/metrics", "/webhook/", "/webhook/x", "/healthz/x", "/../etc/passwd"] {
        assert_eq!(get(to, path).await.status, 404, "{path}");
    }
    assert_eq!(request(to, "POST /", &[], b"{}").await.status, 404);
    // The vector of Zoom's documentation.
    let body = br#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#;
    let answer = signed_with("demo-secret-token", to, body).await;
    let said: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(answer.status, 200);
    assert_eq!(
        said,
        json!({"plainToken": "qgg8vlvZRS6UYooatFL8Aw",
               "encryptedToken": "122b39d8a169fc5889c5be9e05c5afa600c1f0d29d286864214d145cb61d9082"})
    );
    // Nor does it answer a stranger's challenge.
    assert_eq!(post(&recorder, &[], body).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_webhooks_at_once_are_answered() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    let mut posts = tokio::task::JoinSet::new();
    for number in 0..200 {
        let body = match number % 2 {
            0 => json!({"event": "meeting.started", "payload": {"number": number}}),
            // Not known, so it is remembered: each goes to the disk.
            _ => json!({"event": "meeting.rtms_stopped", "event_ts": now_s() * 1000, "payload": {
                "meeting_uuid": "m", "rtms_stream_id": format!("stream{number}"), "stop_reason": 6}}),
        };
        posts.spawn(async move { signed(to, body.to_string().as_bytes()).await.status });
    }
    let answers = posts.join_all().await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 200, "{answers:?}");
    assert_eq!(home.spool_files().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_and_slow_connections_do_not_keep_a_webhook_out() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    let mut held = Vec::new();
    for number in 0..MOST_CONNECTIONS + 50 {
        let mut socket = TcpStream::connect(to).await.expect("it is let in");
        if number % 2 == 0 {
            socket.write_all(b"POST /webhook HTTP/1.1\r\nhost:").await.ok();
        }
        held.push(socket);
    }
    let body = json!({"event": "meeting.started", "payload": {}}).to_string();
    for _ in 0..20 {
        let answer = tokio::time::timeout(Duration::from_secs(3), signed(to, body.as_bytes())).await;
        assert_eq!(answer.expect("Zoom waits 3 s").status, 200);
    }
    // And who has sent half a head for long is cut off, room or no room.
    let mut slow = held.pop().expect("the newest");
    let rest = tokio::time::timeout(HEAD_WITHIN * 2, slow.read_to_end(&mut Vec::new())).await;
    assert!(rest.is_ok(), "it was not cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_not_allowed_are_not_connected_to() {
    let mut home = Home::new();
    home.set("ZOOM_ALLOWED_HOSTS", ".zoom.us,allowed.test,localhost:1");
    let recorder = home.start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let urls = [
        format!("ws://127.0.0.1:{port}/x"),
        format!("wss://127.0.0.1:{port}/x"),
        format!("wss://localhost:{port}/x"),
        format!("wss://x.zoom.us@127.0.0.1:{port}/x"),
        format!("wss://127.0.0.1:{port}/x.zoom.us"),
        format!("ws://allowed.test:{port}/x"),
    ];
    for (number, url) in urls.iter().enumerate() {
        let body = started(&format!("stream{number}"), url).to_string();
        assert_eq!(signed(recorder.address(), body.as_bytes()).await.status, 200, "{url}");
        let lines = recorder.wait_for_many("its server may not be connected to", number + 1).await;
        let line = lines.last().expect("one").to_string();
        assert!(line.contains("ZOOM_ALLOWED_HOSTS") || url.starts_with("ws://allowed"), "{url}: {line}");
    }
    // What is allowed is connected to: a recorder that never connects would pass the rest.
    let connected = tokio::time::timeout(Duration::from_millis(500), listener.accept()).await;
    assert!(connected.is_err(), "it has connected: {connected:?}");
    assert_eq!(home.spool_files(), Vec::<String>::new());

    let home = Home::new();
    let recorder = home.start().await;
    let body = started("stream", &urls[0]).to_string();
    assert_eq!(signed(recorder.address(), body.as_bytes()).await.status, 200);
    tokio::time::timeout(LIMIT, listener.accept()).await.expect("it connects").expect("a connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_secret_of_another_app_is_said() {
    let home = Home::new();
    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 4);
    settings.credentials.client_secret = "of-another-app".to_owned();
    settings.reconnect_window = Some(Duration::from_secs(6));
    let playing = begin(settings);
    let line = recorder.wait_for("check that client id and secret").await;
    assert_eq!(line["level"], "WARN", "{line}");
    let sent = playing.await.expect("it does not panic").expect("it can be played").meetings.remove(0);
    assert!(sent.media.is_empty() && sent.signaling_handshakes == 0, "{sent}");
    // Zoom's stop event ends it; nothing is made up.
    recorder.wait_for("stream ended").await;
    let (status, _) = recorder.terminate().await;
    assert_eq!(status, Some(0));
    let keys = home.bucket().keys().await;
    let plays = |key: &String| [".mp4", ".m4a", ".vtt"].iter().any(|end| key.ends_with(end));
    assert!(!keys.iter().any(plays), "nothing that could be played: {keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked() {
    let mut home = Home::new();
    home.set("ZOOM_ALLOWED_HOSTS", "localhost");
    // The simulator's address has to be known to the proxy before either is there.
    let inside = crate::common::ports::free();
    let proxy = TlsProxy::start(inside, home.spool().parent().expect("a directory")).await;

    let recorder = home.start().await;
    let mut settings = meeting(&recorder.webhook, 6);
    settings.listen = inside;
    settings.advertise = Some(proxy.url.clone());
    settings.reconnect_window = Some(Duration::from_secs(4));
    let playing = begin(settings.clone());
    let line = recorder.wait_for("certificate").await;
    assert!(line["message"].as_str().is_some_and(|m| m.contains("connection refused")), "{line}");
    let sent = playing.await.expect("it does not panic").expect("it can be played").meetings.remove(0);
    assert_eq!((sent.signaling_handshakes, sent.media.len()), (0, 0), "{sent}");
    drop(recorder);

    let mut home = Home::new();
    home.set("ZOOM_ALLOWED_HOSTS", "localhost");
    home.set("SSL_CERT_FILE", proxy.certificate.to_str().expect("UTF-8"));
    let recorder = home.start().await;
    settings.webhooks.to = recorder.webhook.clone();
    settings.reconnect_window = None;
    let sent = play_one(settings).await;
    recorder.published(1).await;
    home.bucket().recording().await.check_marks(&sent);
}
