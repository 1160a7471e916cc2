//! Webhooks and socket messages: what is accepted is usable, and what is tolerated stays tolerated.

use crate::input::{Input, Seed};
use rtms_recorder::ids::{MeetingId, Product, RecordingId, StreamId, UserId};
use rtms_recorder::media::Timestamp;
use rtms_recorder::output::Object;
use rtms_recorder::output::key::Folder;
use rtms_recorder::output::template::{FolderParts, Template};
use rtms_recorder::protocol::event::Event;
use rtms_recorder::protocol::message::{Medium, Message, peek_type};
use rtms_recorder::protocol::server_urls::{self, AllowedHosts};
use rtms_recorder::protocol::signature;
use serde_json::Value;

const ALLOWED: &str = ".zoom.us, 127.0.0.1:9092 ,localhost,[::1]";

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(5) {
        0 => message(input.rest()),
        1 => event(input.rest()),
        2 => addresses(input.rest()),
        3 => webhook(&mut input),
        _ => names(&mut input),
    }
}

fn message(bytes: &[u8]) {
    let kind = peek_type(bytes);
    let message = Message::parse(bytes);
    if kind.is_ok() || message.is_ok() {
        assert_eq!(bytes.trim_ascii_start().first(), Some(&b'{'), "something else than an object was accepted");
    }
    if let Ok(message) = &message {
        assert_eq!(kind.expect("what reads as a message has a type"), message.msg_type.unwrap_or_default());
        assert!(message.reason_text().chars().count() <= 200);
        let _ = message.reason_code();
    }
    // Whatever is unknown or of an odd shape is passed over; only the texts of `content` have to be texts.
    if let Ok(Value::Object(object)) = serde_json::from_slice(bytes) {
        let plain = |value: &Value| matches!(value, Value::Null | Value::String(_) | Value::Number(_));
        let content_reads = match object.get("content") {
            None | Some(Value::Null | Value::String(_)) => true,
            Some(Value::Object(content)) => {
                ["data", "user_id", "user_name", "channel_id"].iter().all(|key| content.get(*key).is_none_or(plain))
            }
            Some(_) => false,
        };
        // Repeated keys are gone in this text.
        let text = Value::Object(object).to_string();
        if let Err(err) = Message::parse(text.as_bytes()) {
            assert!(!content_reads, "not tolerated: {text}: {err}");
        }
        peek_type(text.as_bytes()).expect("an object has a type");
    }
}

fn event(bytes: &[u8]) {
    match Event::parse(bytes, 1) {
        Ok(Event::Started(started)) => {
            assert!(started.event_ts > 0);
            assert!(!started.id.as_str().is_empty() && !started.stream.stream_id.as_str().is_empty());
            assert!(is_socket(&started.signaling_url), "{}", started.signaling_url);
            assert_ne!(started.other_id.as_ref().map(|(key, _)| *key), Some(started.id_key));
            check(&started.signaling_url);
        }
        Ok(Event::Stopped { stream, event_ts, .. } | Event::Interrupted { stream, event_ts }) => {
            assert!(event_ts > 0 && !stream.stream_id.as_str().is_empty());
        }
        Ok(Event::Other { name }) => assert!(name.chars().count() <= 80),
        Ok(Event::Notice(_)) => {}
        Ok(Event::UrlValidation { plain_token }) => {
            assert!(!plain_token.is_empty());
            assert_eq!(signature::challenge("secret", &plain_token).len(), 64);
        }
        Err(err) => drop(err.to_string()),
    }
}

fn addresses(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(text);
        check(&format!("wss://{text}"));
        check(&format!("wss://{text}.zoom.us"));
        check(&format!("ws://localhost{text}"));
    }
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        let all = Medium::ALL.iter().map(|medium| server_urls::media(&value, medium.url_keys()));
        for address in all.chain([server_urls::signaling(&value)]).flatten() {
            assert!(is_socket(&address), "{address}");
            check(&address);
        }
    }
}

fn is_socket(address: &str) -> bool {
    address.starts_with("wss://") || address.starts_with("ws://")
}

/// An address that passes leads to where it may, however it is written. Looks at the text, as a resolver would.
fn check(address: &str) {
    let hosts = AllowedHosts::new(ALLOWED);
    let Ok(url) = hosts.check(address) else { return };
    assert_eq!(hosts.check(url.as_str()).as_ref(), Ok(&url), "what is accepted is accepted again");
    let (scheme, rest) = url.as_str().split_once("://").expect("a scheme");
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    assert!(!authority.contains('@'), "{url}");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        _ => (authority, None),
    };
    assert_eq!(host, url.host());
    // More than one dot at the end resolves to nothing.
    let name = host.trim_end_matches('.');
    let loopback = matches!(name, "localhost" | "[::1]") || (name == "127.0.0.1" && port == Some("9092"));
    let zooms = name.strip_suffix(".zoom.us").is_some_and(|below| !below.is_empty());
    assert!(loopback || zooms, "{url} is not on the list");
    assert!(scheme == "wss" || (scheme == "ws" && loopback), "{url}");
}

fn webhook(input: &mut Input) {
    const SECRET: &str = "secret";
    let (timestamp, claimed, flip) = (input.text(), input.text(), input.u8());
    let now_s = 1_754_042_400 + input.step_ms().clamp(-1000, 1000);
    let body = input.rest();
    let right = signature::webhook(SECRET, &timestamp, body);
    let verify = |signature: &str, body: &[u8]| {
        signature::verify_webhook(SECRET, Some(&timestamp), Some(signature), body, now_s)
    };
    let sent_s = timestamp.trim().parse::<i64>();
    let fresh = sent_s.is_ok_and(|sent| now_s.checked_sub(sent).is_some_and(|age| age.abs() <= signature::WINDOW_S));
    assert_eq!(verify(&right, body).is_ok(), fresh);
    assert!(verify(&claimed, body).is_err() || claimed.eq_ignore_ascii_case(&right));
    let mut other = body.to_vec();
    if let Some(byte) = other.get_mut(usize::from(flip)) {
        *byte ^= 1;
        assert!(verify(&right, &other).is_err());
    }
    for (timestamp, signature) in [(None, Some(right.as_str())), (Some(timestamp.as_str()), None)] {
        assert!(signature::verify_webhook(SECRET, timestamp, signature, body, now_s).is_err());
    }
}

/// Text from outside names one folder and one file in it, wherever it ends up.
fn names(input: &mut Input) {
    let started_at = Timestamp(input.i64());
    let (meeting, uuid, stream, user, name) = (input.text(), input.text(), input.text(), input.text(), input.text());
    let ordinal = input.u16().into();
    let stream = StreamId::new(stream);
    let recording = RecordingId::new(&stream, ordinal);
    assert_eq!(RecordingId::from_folder(recording.as_str()).as_ref(), Some(&recording));
    assert_eq!(recording.ordinal(), ordinal.max(1));
    let folder = Template::default().folder(&FolderParts {
        started_at,
        meeting_id: Some(&meeting),
        meeting_uuid: &MeetingId::new(uuid),
        stream: &stream,
        ordinal,
        product: Product::Meeting,
        account_id: None,
        operator_id: None,
    });
    assert_eq!(Folder::try_from(folder.as_str().to_owned()).as_ref(), Ok(&folder));
    let key = folder.key(&Object::Participant { user: UserId::new(user), name: Some(name) });
    assert_eq!(key.split('/').count(), 6, "{key}");
    assert!(!key.split('/').any(|part| matches!(part, "" | "." | "..")), "{key}");
    assert!(!key.chars().any(char::is_control) && key.len() < 400, "{key}");
}

pub fn seeds() -> Vec<Vec<u8>> {
    let messages = [
        r#"{"msg_type":14,"content":{"user_id":0,"data":"AAEC","length":3,"timestamp":1754042400123}}"#,
        r#"{"msg_type":"15","content":{"data":"a\/b","timestamp":"1754042400","user_name":"A","channel_id":7}}"#,
        r#"{"msg_type":17,"content":{"data":"hi","start_time":1,"end_time":2,"attribute":1,"language":9}}"#,
        r#"{"msg_type":14,"content":"AAEC"}"#,
        r#"{"msg_type":8,"state":4,"reason":"MEETING_ENDED","stop_reason":6,"x":[{}]}"#,
        r#"{"msg_type":2,"status_code":0,"media_server":{"server_urls":{"all":"wss://m.zoom.us/z"}}}"#,
        r#"{"msg_type":4,"status_code":0,"payload_encrypted":false,"media_params":{"audio":{"sample_rate":1}}}"#,
        r#"{"msg_type":4,"status_code":0,"payload_encrypted":false,"payload_encryption":false}"#,
        r#"{"msg_type":6,"event":{"event_type":7,"timestamp":1754042400123456}}"#,
        r#"{"msg_type":12,"timestamp":1.5e12}"#,
    ];
    let events = [
        r#"{"event":"meeting.rtms_started","event_ts":1754042400123,"payload":{"meeting_uuid":"m==","rtms_stream_id":"s","server_urls":"wss://a.zoom.us:443","meeting_id":"1","operator_id":2}}"#,
        r#"{"event":"webinar.rtms_started","payload":{"object":{"webinar_uuid":"m==","meeting_uuid":"n","rtms_stream_id":"s","server_urls":{"signaling":"wss://a.zoom.us"}}}}"#,
        r#"{"event":"meeting.rtms_stopped","payload":{"rtms_stream_id":"s","stop_reason":"6"}}"#,
        r#"{"event":"phone.call_rtms_interrupted","payload":{"rtms_stream_id":"s"}}"#,
        r#"{"event":"contact_center.voice_rtms_started","payload":{"engagement_id":"e","rtms_stream_id":"s","server_urls":["wss://a.zoom.us"]}}"#,
        r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#,
    ];
    let addresses = [
        r#"{"audio":"wss://a.zoom.us","deskshare":["ws://localhost:1/s"],"all":"x,wss://z.zoom.us"}"#,
        "rtms.zoom.us@evil.test:443/x?y#z",
        "ws://127.0.0.1:9092/x",
        "wss://[::1]:80/",
    ];
    let mode = |mode: u8, texts: &[&str]| {
        texts.iter().map(move |text| Seed::default().u8(mode).raw(text.as_bytes()).0).collect::<Vec<_>>()
    };
    let vector = include_bytes!("../../../../fixtures/webhook/signed-test-vector.json");
    let mut seeds = [mode(0, &messages), mode(1, &events), mode(2, &addresses)].concat();
    seeds.push(Seed::default().u8(1).raw(vector).0);
    let signed = signature::webhook("secret", "1754042400", vector);
    seeds.push(Seed::default().u8(3).chunk(b"1754042400").chunk(signed.as_bytes()).raw(&[3, 0]).raw(vector).0);
    let names = Seed::default().u8(4).raw(&1_795_167_000_123_i64.to_be_bytes()).chunk(b"85746065432");
    seeds.push(names.chunk(b"Ab+/cd==").chunk(b"0123456789abcdef").chunk(b"16778240").chunk(b"../a").raw(&[0, 2]).0);
    seeds
}
