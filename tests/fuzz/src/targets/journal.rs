//! Journals read back: every line counts once, and no garbage costs the lines around it.

use crate::input::{Input, Seed};
use crate::journal::read::{Body, lines};
use rtms_recorder::protocol::message::peek_type;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        written(&mut input);
    } else {
        let bytes = input.rest();
        any(bytes, true);
        any(bytes, false);
    }
}

/// Any bytes: one result for each line that is not blank, in order, the same as if the line stood alone.
fn any(bytes: &[u8], open: bool) {
    let mut expected = Vec::new();
    let mut offset = 0;
    for line in bytes.split_inclusive(|&b| b == b'\n') {
        let is_torn = line.last() != Some(&b'\n');
        if !(line.trim_ascii().is_empty() || is_torn && open) {
            expected.push((offset, line));
        }
        offset += line.len();
    }
    let mut end = 0;
    let mut found = 0;
    for result in lines(bytes, open) {
        let &(offset, line) = expected.get(found).expect("a line that is not there");
        found += 1;
        match result {
            Ok(read) => {
                if let Body::Json(body) = read.body {
                    let at = place(bytes, body);
                    assert!(at >= end && at >= offset && at + body.len() <= offset + line.len(), "read twice");
                    end = at + body.len();
                }
                let alone = lines(line, false).next().expect("a line").expect("reads alone too");
                assert_eq!(alone, read);
            }
            Err(err) => {
                assert_eq!(err.offset, offset);
                assert!(lines(line, false).next().expect("a line").is_err());
            }
        }
    }
    assert_eq!(found, expected.len(), "a line was passed over");
}

/// Where a part is in the whole.
fn place(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize).expect("a part of the whole")
}

/// Lines as they are written, with garbage between them.
fn written(input: &mut Input) {
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    while !input.is_empty() && expected.len() < 50 {
        let conn = input.pick(&["signaling", "audio", "video", "share", "transcript", "chat", "event"]);
        match input.u8() % 4 {
            0 => {
                bytes.extend_from_slice(input.chunk());
                bytes.push(b'\n');
            }
            1 => {
                let t = 1_795_000_000_000 + i64::from(input.u16());
                let raw = base64_simd::STANDARD.encode_to_string(input.chunk());
                bytes.extend_from_slice(format!("{{\"t\":{t},\"c\":\"{conn}\",\"raw\":\"{raw}\"}}\n").as_bytes());
                expected.push((t, conn, Form::Raw, raw.into_bytes()));
            }
            _ => {
                let t = input.pick(&[1_795_000_000_000, 0, -5]);
                let message = input.chunk();
                // Text frames are UTF-8, and only what has a type is written as JSON.
                if std::str::from_utf8(message).is_err() || peek_type(message).is_err() {
                    continue;
                }
                let line = |b: &u8| if matches!(b, b'\n' | b'\r') { b' ' } else { *b };
                let message: Vec<u8> = message.trim_ascii().iter().map(line).collect();
                bytes.extend_from_slice(format!("{{\"t\":{t},\"c\":\"{conn}\",\"m\":").as_bytes());
                bytes.extend_from_slice(&message);
                bytes.extend_from_slice(b"}\n");
                expected.push((t, conn, Form::Json, message));
            }
        }
    }
    let mut read = lines(&bytes, true).flatten();
    for (t, conn, form, message) in &expected {
        let survives = read.any(|line| {
            let same = match &line.body {
                Body::Json(json) => *form == Form::Json && *json == message.as_slice(),
                Body::Raw(raw) => *form == Form::Raw && raw.as_bytes() == message,
            };
            same && line.t == *t && line.conn == *conn
        });
        assert!(survives, "{conn} at {t} is lost: {}", String::from_utf8_lossy(message));
    }
}

#[derive(PartialEq, Eq)]
enum Form {
    Json,
    Raw,
}

pub fn seeds() -> Vec<Vec<u8>> {
    let journal: &[u8] = br#"{"t":5,"c":"audio","m":{"a":1}}
 { "c" : "audio", "m": {"a":1}, "t": 5 }

{"t":6,"c":"audio","raw":"AAEC"}
nonsense
{"t":7,"c":"event","m":{"note":"resumed"}}
{"t":3,"c""#;
    let lines = Seed::default().raw(&[1, 1, 2, 0]).chunk(br#"{"msg_type":14,"content":{"data":"AAEC"}}"#);
    let lines = lines.raw(&[2, 0]).chunk(b"{\"t\":1,\"c\":\"x\"").raw(&[3, 1, 0, 1]).chunk(b"\xff\0");
    vec![Seed::default().u8(0).raw(journal).0, lines.raw(&[0, 3, 1]).chunk(b" { \"a\" :\n {} } ").0]
}
