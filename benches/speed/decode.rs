//! Row 6: from the text of a message to its time and its bytes, as capture and rendering do it together.

use crate::machine::first_line;
use crate::meeting::Meeting;
use crate::process::own_cpu_s;
use crate::say;
use crate::table::Row;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rtms_recorder::protocol::message::{Message, peek_type};
use std::hint::black_box;
use std::process::Command;

/// How long each contender runs, in seconds of CPU.
const FOR_S: f64 = 1.5;
/// Messages of one kind that are read in turn, so that no cache holds them all.
const MESSAGES: usize = 2000;
const SOUND_BYTES: usize = 640;
/// 1.5 Mbit/s at 25 pictures a second.
const PICTURE_BYTES: usize = 7500;

/// Does to stdin's lines what the recorder does, and prints messages per second.
const NODE: &str = r"
const lines = require('fs').readFileSync(0, 'utf8').trimEnd().split('\n').map((line) => Buffer.from(line));
const cpu = () => { const used = process.cpuUsage(); return (used.user + used.system) / 1e6; };
let count = 0, sum = 0;
const pass = () => { for (const line of lines) {
    const content = JSON.parse(line).content;
    sum += Buffer.from(content.data, 'base64').length + content.timestamp % 2;
    count += 1;
} };
pass();
count = 0;
const begun = cpu();
while (cpu() - begun < 1.5) pass();
console.log(count / (cpu() - begun), sum > 0);
";

pub(crate) fn measure(meeting: &Meeting) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut of_an_hour_s = 0.0;
    for (kind, size, msg_type, per_s) in [("sound", SOUND_BYTES, 14, 50.0), ("picture", PICTURE_BYTES, 15, 25.0)] {
        say(&format!("decoding {kind} messages"));
        let messages = messages(msg_type, size);
        let once = rate(&messages, render);
        let both = rate(&messages, |text| peek_type(text).expect("JSON") as usize + render(text));
        let plain = rate(&messages, plain);
        of_an_hour_s += per_s * 3600.0 / both;
        let shown = |rate: f64| format!("{:.0} k/s, {:.0} MB/s", rate / 1e3, rate * size as f64 / 1e6);
        let name = |rival: &str| format!("6 {kind} messages decoded, beside {rival}");
        rows.push(
            Row::new(name("serde_json and base64"), shown(once))
                .rival(shown(plain), once / plain)
                .target("> 1 x", once > plain),
        );
        rows.push(match node(&messages) {
            Some(node) => {
                Row::new(name("Node"), shown(once)).rival(shown(node), once / node).target("> 1 x", once > node)
            }
            None => Row::new(name("Node"), shown(once)).rival("Node is not installed", f64::NAN),
        });
    }
    let share = of_an_hour_s / meeting.cpu_s_per_hour;
    rows.push(
        Row::new(
            "6 decoding in an hour's CPU, capture and rendering",
            format!("{of_an_hour_s:.2} s, {:.1} %", share * 100.0),
        )
        .rival(format!("{:.1} s all", meeting.cpu_s_per_hour), share)
        .target("5 %", share < 0.05),
    );
    rows
}

fn messages(msg_type: i64, size: usize) -> Vec<Vec<u8>> {
    let mut state = 1u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let message = |i: usize| {
        let data = STANDARD.encode((0..size).map(|_| byte()).collect::<Vec<_>>());
        let timestamp = 1_795_000_000_000 + 20 * i;
        let content = format!(r#"{{"user_id":0,"user_name":"","data":"{data}","timestamp":{timestamp}}}"#);
        format!(r#"{{"msg_type":{msg_type},"content":{content}}}"#).into_bytes()
    };
    (0..MESSAGES).map(message).collect()
}

/// The library's way.
fn render(text: &[u8]) -> usize {
    let content = Message::parse(text).expect("JSON").content.expect("media");
    let bytes = base64_simd::STANDARD.decode_to_vec(content.data.as_bytes()).expect("base64");
    bytes.len() + content.timestamp.map_or(0, |t| t as usize % 2)
}

/// What one would write first.
fn plain(text: &[u8]) -> usize {
    let message: serde_json::Value = serde_json::from_slice(text).expect("JSON");
    let content = &message["content"];
    let bytes = STANDARD.decode(content["data"].as_str().expect("a text")).expect("base64");
    bytes.len() + content["timestamp"].as_u64().map_or(0, |t| t as usize % 2)
}

/// Messages per second of CPU.
fn rate(messages: &[Vec<u8>], decode: impl Fn(&[u8]) -> usize) -> f64 {
    let (mut count, begun) = (0, own_cpu_s());
    while own_cpu_s() - begun < FOR_S {
        for _ in 0..5 {
            for message in messages {
                black_box(decode(black_box(message)));
            }
            count += messages.len();
        }
    }
    count as f64 / (own_cpu_s() - begun)
}

fn node(messages: &[Vec<u8>]) -> Option<f64> {
    first_line("node", "--version")?;
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut file, &messages.join(&b'\n')).expect("the disk takes it");
    let input = file.reopen().expect("a file");
    let output = Command::new("node").args(["-e", NODE]).stdin(input).output().ok()?;
    String::from_utf8_lossy(&output.stdout).split(' ').next()?.parse().ok()
}
