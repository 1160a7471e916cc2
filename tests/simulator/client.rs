//! A strict client of the simulator's: it takes in what is streamed and keeps what it heard.

use crate::common::begin;
use futures_util::{SinkExt, StreamExt};
use hmac::{Hmac, KeyInit, Mac};
use rtms_recorder::protocol::message::Medium;
use rtms_recorder::simulator::{self, Credentials, MeetingSummary, Settings, Size, Span};
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use warp::Filter;

pub(crate) type Ws = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) const ID: &str = "demoClientId";
pub(crate) const SECRET: &str = "demo-client-secret";
pub(crate) const TOKEN: &str = "demo-secret-token";

pub(crate) fn hex_hmac(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn settings(to: &str) -> Settings {
    let credentials = Credentials { client_id: ID.into(), client_secret: SECRET.into(), secret_token: TOKEN.into() };
    Settings {
        length: Some(Duration::from_secs(6)),
        speed: 4.0,
        size: Size { width: 160, height: 90 },
        kbit_per_s: 200,
        ..Settings::new(credentials, to)
    }
}

pub(crate) async fn one(run: JoinHandle<Result<simulator::Summary, simulator::Error>>) -> MeetingSummary {
    let summary = timeout(Duration::from_secs(30), run).await.unwrap().unwrap().unwrap();
    summary.meetings.into_iter().next().unwrap()
}

pub(crate) fn span(start_ms: i64, end_ms: i64) -> Span {
    Span { start_ms, end_ms }
}

// The webhook's end.

pub(crate) struct Posted {
    pub(crate) event: Value,
    pub(crate) signed: bool,
}

/// Takes webhooks; answers with `status`, and with `challenge` to the URL validation.
pub(crate) fn webhook(status: u16) -> (String, mpsc::UnboundedReceiver<Posted>) {
    let (tx, rx) = mpsc::unbounded_channel();
    let route = warp::post()
        .and(warp::path("webhook"))
        .and(warp::header::<String>("x-zm-signature"))
        .and(warp::header::<String>("x-zm-request-timestamp"))
        .and(warp::body::bytes())
        .map(move |signature: String, timestamp: String, body: warp::hyper::body::Bytes| {
            let text = std::str::from_utf8(&body).unwrap();
            let event: Value = serde_json::from_str(text).unwrap();
            let expected = format!("v0={}", hex_hmac(TOKEN, &format!("v0:{timestamp}:{text}")));
            let now = chrono::Utc::now().timestamp();
            let fresh = (now - timestamp.parse::<i64>().unwrap()).abs() < 5;
            let answer = match event["payload"]["plainToken"].as_str() {
                Some(plain) => json!({"plainToken": plain, "encryptedToken": hex_hmac(TOKEN, plain)}).to_string(),
                None => String::new(),
            };
            tx.send(Posted { event, signed: signature == expected && fresh }).ok();
            http::Response::builder().status(status).body(answer).unwrap()
        });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(warp::serve(route).incoming(listener).run());
    (format!("http://{addr}/webhook"), rx)
}

// One socket at a time.

#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) url: String,
    pub(crate) stream: String,
    pub(crate) meeting: String,
}

impl Stream {
    pub(crate) fn of(event: &Value) -> Self {
        let payload =
            if event["payload"]["object"].is_object() { &event["payload"]["object"] } else { &event["payload"] };
        let text = |key: &str| payload[key].as_str().unwrap().to_owned();
        Self { url: text("server_urls"), stream: text("rtms_stream_id"), meeting: text("meeting_uuid") }
    }

    pub(crate) fn hello(&self, msg_type: i64) -> Value {
        let signature = hex_hmac(SECRET, &format!("{ID},{},{}", self.meeting, self.stream));
        json!({
            "msg_type": msg_type, "protocol_version": 1, "sequence": 1, "meeting_uuid": self.meeting,
            "rtms_stream_id": self.stream, "signature": signature,
        })
    }

    pub(crate) async fn signaling(&self) -> (Ws, Value) {
        let mut ws = dial(&self.url).await;
        send(&mut ws, &self.hello(1)).await;
        let answer = receive(&mut ws).await.unwrap();
        assert_eq!((&answer["msg_type"], &answer["status_code"]), (&json!(2), &json!(0)), "{answer}");
        (ws, answer["media_server"]["server_urls"].clone())
    }

    pub(crate) fn media_hello(&self, bits: i64, params: Value) -> Value {
        let mut hello = self.hello(3);
        hello["media_type"] = bits.into();
        hello["media_params"] = params;
        hello
    }
}

pub(crate) async fn dial(url: &str) -> Ws {
    tokio_tungstenite::connect_async(url).await.unwrap().0
}

pub(crate) async fn send(ws: &mut Ws, message: &Value) {
    // A socket that is being closed is noticed when it is read.
    ws.send(Message::text(message.to_string())).await.ok();
}

/// The next JSON message, or the close code (1006 without a close frame).
pub(crate) async fn receive(ws: &mut Ws) -> Result<Value, u16> {
    loop {
        let message = timeout(Duration::from_secs(10), ws.next()).await.expect("nothing for 10 s");
        let bytes = match message {
            Some(Ok(Message::Text(text))) => text.as_bytes().to_vec(),
            Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
            Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1005, |f| f.code.into())),
            Some(Ok(_)) => continue,
            Some(Err(_)) | None => return Err(1006),
        };
        match serde_json::from_slice(&bytes) {
            Ok(value) => return Ok(value),
            Err(_) => return Ok(json!({"garbage": bytes.len()})),
        }
    }
}

/// The next message of this type; others are passed over.
pub(crate) async fn receive_type(ws: &mut Ws, msg_type: i64) -> Value {
    loop {
        let message = receive(ws).await.unwrap();
        if message["msg_type"] == msg_type {
            return message;
        }
    }
}

pub(crate) async fn started(posted: &mut mpsc::UnboundedReceiver<Posted>) -> Stream {
    let first = timeout(Duration::from_secs(20), posted.recv()).await.unwrap().unwrap();
    Stream::of(&first.event)
}

// A whole recorder that reconnects to everything at once.

#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) media: Mutex<BTreeMap<i64, Vec<Value>>>,
    pub(crate) signaling: Mutex<Vec<Value>>,
    pub(crate) ended: AtomicBool,
    pub(crate) urls: Mutex<Option<Value>>,
    pub(crate) to_signaling: Mutex<Option<mpsc::UnboundedSender<Value>>>,
}

impl Heard {
    pub(crate) fn of(&self, msg_type: i64) -> Vec<Value> {
        self.media.lock().unwrap().get(&msg_type).cloned().unwrap_or_default()
    }

    pub(crate) fn timestamps(&self, msg_type: i64) -> Vec<i64> {
        let all = self.of(msg_type);
        all.iter().map(|m| number(&m["content"]["timestamp"])).collect()
    }

    pub(crate) fn payload(&self, msg_type: i64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in self.of(msg_type) {
            let data = message["content"]["data"].as_str().unwrap();
            let data = base64_simd::STANDARD.decode_to_vec(data).unwrap();
            assert_eq!(data.len() as i64, number(&message["content"]["length"]));
            bytes.extend(data);
        }
        bytes
    }

    pub(crate) fn events(&self, event_type: i64) -> usize {
        let log = self.signaling.lock().unwrap();
        log.iter().filter(|m| m["msg_type"] == 6 && m["event"]["event_type"] == event_type).count()
    }

    pub(crate) fn states(&self, msg_type: i64) -> Vec<i64> {
        let log = self.signaling.lock().unwrap();
        log.iter().filter(|m| m["msg_type"] == msg_type).map(|m| number(&m["state"])).collect()
    }
}

/// The answer to a keep-alive: its timestamp, or any if it has none.
pub(crate) fn alive(asked: &Value) -> Value {
    json!({"msg_type": 13, "timestamp": if asked["timestamp"].is_null() { json!(1) } else { asked["timestamp"].clone() }})
}

pub(crate) fn number(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(-1)
}

pub(crate) fn params() -> Value {
    json!({
        "audio": {"content_type": 2, "sample_rate": 1, "channel": 1, "codec": 1, "data_opt": 1, "send_rate": 100},
        "video": {"content_type": 3, "codec": 7, "resolution": 2, "data_opt": 3, "fps": 25},
        "deskshare": {"content_type": 3, "codec": 5, "resolution": 3, "fps": 1},
        "transcript": {"content_type": 5}, "chat": {"content_type": 5},
    })
}

/// Records everything of one stream; started events tell it where to go.
pub(crate) fn record(mut posted: mpsc::UnboundedReceiver<Posted>, params: Value) -> Arc<Heard> {
    let heard = Arc::new(Heard::default());
    let shared = heard.clone();
    tokio::spawn(async move {
        let mut tasks = Vec::<JoinHandle<()>>::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(post) = posted.recv().await {
            assert!(post.signed);
            let name = post.event["event"].as_str().unwrap();
            let new = seen.insert(number(&post.event["event_ts"]));
            let again = name.ends_with("interrupted") || (name.ends_with("started") && new);
            if !again || shared.ended.load(Ordering::SeqCst) {
                continue;
            }
            for task in tasks.drain(..) {
                task.abort();
            }
            if name.ends_with("started") {
                shared.urls.lock().unwrap().replace(json!(Stream::of(&post.event).url));
            }
            let base = shared.urls.lock().unwrap().clone().unwrap();
            let mut stream = STREAM.with_event(&post.event);
            stream.url = base.as_str().unwrap().to_owned();
            tasks.push(tokio::spawn(signaling_loop(stream.clone(), shared.clone(), params.clone())));
        }
    });
    heard
}

/// Started events carry everything; interrupted ones lack the address.
pub(crate) struct FromEvent;
pub(crate) const STREAM: FromEvent = FromEvent;
impl FromEvent {
    pub(crate) fn with_event(&self, event: &Value) -> Stream {
        let text = |key: &str| event["payload"][key].as_str().unwrap_or_default().to_owned();
        Stream { url: String::new(), stream: text("rtms_stream_id"), meeting: text("meeting_uuid") }
    }
}

pub(crate) async fn signaling_loop(stream: Stream, heard: Arc<Heard>, params: Value) {
    while !heard.ended.load(Ordering::SeqCst) {
        let Ok((mut ws, _)) = tokio_tungstenite::connect_async(&stream.url).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        send(&mut ws, &stream.hello(1)).await;
        let Ok(answer) = receive(&mut ws).await else { continue };
        if number(&answer["status_code"]) != 0 {
            sleep(Duration::from_millis(50)).await;
            continue;
        }
        let events: Vec<Value> = [2, 3, 4, 5, 6].map(|n| json!({"event_type": n, "subscribe": true})).to_vec();
        send(&mut ws, &json!({"msg_type": 5, "events": events})).await;
        let (tx, mut rx) = mpsc::unbounded_channel();
        *heard.to_signaling.lock().unwrap() = Some(tx);
        let urls = answer["media_server"]["server_urls"].clone();
        let mut media = tokio::task::JoinSet::new();
        for medium in Medium::ALL {
            if params.get(medium.params_key()).is_some() {
                let url = urls[medium.params_key()].as_str().unwrap().to_owned();
                media.spawn(media_loop(stream.clone(), heard.clone(), url, medium, params.clone()));
            }
        }
        loop {
            let message = tokio::select! {
                Some(message) = rx.recv() => { send(&mut ws, &message).await; continue }
                message = ws.next() => message,
            };
            let bytes = match message {
                Some(Ok(Message::Text(text))) => text.as_bytes().to_vec(),
                Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                _ => break,
            };
            let Ok(value) = serde_json::from_slice::<Value>(&bytes) else {
                continue;
            };
            if value["msg_type"] == 12 {
                send(&mut ws, &alive(&value)).await;
            }
            if value["msg_type"] == 8 && number(&value["state"]) == 4 {
                heard.ended.store(true, Ordering::SeqCst);
            }
            heard.signaling.lock().unwrap().push(value);
        }
        // Let the media sockets read what is left.
        timeout(Duration::from_millis(200), async { while media.join_next().await.is_some() {} }).await.ok();
    }
}

pub(crate) async fn media_loop(stream: Stream, heard: Arc<Heard>, url: String, medium: Medium, params: Value) {
    while !heard.ended.load(Ordering::SeqCst) {
        let Ok((mut ws, _)) = tokio_tungstenite::connect_async(&url).await else {
            return;
        };
        send(&mut ws, &stream.media_hello(medium.bit(), params.clone())).await;
        let Ok(answer) = receive(&mut ws).await else { return };
        if number(&answer["status_code"]) != 0 {
            return;
        }
        let ready = json!({"msg_type": 7, "rtms_stream_id": stream.stream});
        heard.to_signaling.lock().unwrap().as_ref().unwrap().send(ready).ok();
        loop {
            let message = match ws.next().await {
                Some(Ok(Message::Text(text))) => text.as_bytes().to_vec(),
                Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                _ => break,
            };
            let Ok(value) = serde_json::from_slice::<Value>(&message) else {
                continue;
            };
            match value["msg_type"].as_i64() {
                Some(12) => send(&mut ws, &alive(&value)).await,
                Some(n) => heard.media.lock().unwrap().entry(n).or_default().push(value),
                None => {}
            }
        }
    }
}

/// Plays a meeting to a client, which hears what the summary says.
pub(crate) async fn played(
    settings: Settings,
    posted: mpsc::UnboundedReceiver<Posted>,
) -> (Arc<Heard>, MeetingSummary) {
    let run = begin(settings);
    let heard = record(posted, params());
    let summary = one(run).await;
    assert_equal(&heard, &summary);
    (heard, summary)
}

/// When each packet of sound was, in ms since the meeting began.
pub(crate) fn sound_ms(heard: &Heard, summary: &MeetingSummary) -> Vec<i64> {
    heard.timestamps(14).iter().map(|ms| ms - summary.start_ms).collect()
}

/// Everything that was received is what the summary says was sent.
pub(crate) fn assert_equal(heard: &Heard, summary: &MeetingSummary) {
    for (n, medium) in
        [(14, Medium::Audio), (15, Medium::Video), (16, Medium::Share), (17, Medium::Transcript), (18, Medium::Chat)]
    {
        let sent = summary.medium(medium);
        let received = heard.timestamps(n);
        assert_eq!(received.len() as u64, sent.messages, "{medium:?}");
        assert_eq!(received.first().copied(), sent.first_ms, "{medium:?}");
        assert_eq!(received.last().copied(), sent.last_ms, "{medium:?}");
        if n <= 16 {
            assert_eq!(heard.payload(n).len() as u64, sent.bytes, "{medium:?}");
        }
    }
    assert_eq!(summary.refusals, Vec::<String>::new());
}

/// Timestamps of the first white picture of each flash, by decoding.
pub(crate) async fn white_pictures(heard: &Heard) -> Vec<i64> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.h264");
    std::fs::write(&path, heard.payload(15)).unwrap();
    let output = tokio::process::Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-xerror", "-i"])
        .arg(&path)
        .args(["-vf", "scale=8:8", "-fps_mode", "passthrough", "-pix_fmt", "gray", "-f", "rawvideo", "-"])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let timestamps = heard.timestamps(15);
    let pictures: Vec<_> = output.stdout.chunks_exact(64).collect();
    assert_eq!(pictures.len(), timestamps.len(), "every picture decodes");
    let white: Vec<bool> = pictures.iter().map(|p| p.iter().all(|&y| y > 220)).collect();
    (0..white.len()).filter(|&i| white[i] && (i == 0 || !white[i - 1])).map(|i| timestamps[i]).collect()
}

/// Times at which loud sound sets in after quiet, by the packets' own timestamps.
pub(crate) fn loud_onsets(heard: &Heard, rate: i64) -> Vec<i64> {
    let mut onsets = Vec::new();
    let mut last_loud = i64::MIN;
    for message in heard.of(14) {
        let start = number(&message["content"]["timestamp"]);
        let data = base64_simd::STANDARD.decode_to_vec(message["content"]["data"].as_str().unwrap()).unwrap();
        for (i, pair) in data.chunks_exact(2).enumerate() {
            let at = start + i as i64 * 1000 / rate;
            if i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs() > 4000 {
                if at - last_loud.max(0) > 500 {
                    onsets.push(at);
                }
                last_loud = at;
            }
        }
    }
    onsets
}

pub(crate) fn assert_near(found: &[i64], told: &[i64], within_ms: i64) {
    assert_eq!(found.len(), told.len(), "{found:?} {told:?}");
    for (f, t) in found.iter().zip(told) {
        assert!((f - t).abs() <= within_ms, "{found:?} {told:?}");
    }
}
