//! What is heard and seen in a file, by ffmpeg's decoders, on the file's own timeline. Times are in ms.

use serde_json::Value;
use std::f64::consts::TAU;
use std::path::Path;
use std::process::{Command, Output};

/// How far a mark may be from its place.
pub(crate) const TOLERANCE_MS: f64 = 40.0;

const RATE: f64 = 16_000.0;

/// A stream of a file.
#[derive(Debug)]
pub(crate) struct Stream {
    /// `audio` or `video`.
    pub(crate) kind: String,
    pub(crate) codec: String,
    pub(crate) start_ms: f64,
    pub(crate) duration_ms: f64,
}

fn run(program: &str, args: &[&str], file: &Path, more: &[&str]) -> Output {
    let output = Command::new(program).args(args).arg(file).args(more).output().expect("it is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", file.display());
    output
}

fn probe(file: &Path, args: &[&str]) -> Value {
    let args: Vec<&str> = ["-v", "error", "-of", "json"].iter().chain(args).copied().collect();
    serde_json::from_slice(&run("ffprobe", &args, file, &[]).stdout).expect("JSON")
}

fn ms(value: &Value) -> f64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    text.parse::<f64>().expect("a time") * 1000.0
}

pub(crate) fn streams(file: &Path) -> Vec<Stream> {
    let found = probe(file, &["-show_streams"]);
    let streams = found["streams"].as_array().expect("streams").iter();
    streams
        .map(|stream| Stream {
            kind: stream["codec_type"].as_str().expect("a kind").to_owned(),
            codec: stream["codec_name"].as_str().expect("a codec").to_owned(),
            start_ms: ms(&stream["start_time"]),
            duration_ms: ms(&stream["duration"]),
        })
        .collect()
}

/// The presentation times of all packets of the first stream of a kind.
pub(crate) fn packet_times(file: &Path, kind: &str) -> Vec<f64> {
    let selector = format!("{}:0", &kind[..1]);
    let found = probe(file, &["-select_streams", &selector, "-show_entries", "packet=pts_time"]);
    found["packets"].as_array().expect("packets").iter().map(|packet| ms(&packet["pts_time"])).collect()
}

/// When the picture turns white.
pub(crate) fn flashes(file: &Path) -> Vec<f64> {
    const SIDE: usize = 16;
    const WHITE: u32 = 215;
    let shrink = format!("scale={SIDE}:{SIDE}:flags=area,format=gray,showinfo");
    let args = ["-nostdin", "-v", "info", "-nostats", "-copyts", "-i"];
    let output = ["-map", "0:v:0", "-vf", &shrink, "-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"];
    let output = run("ffmpeg", &args, file, &output);
    let said = String::from_utf8_lossy(&output.stderr);
    let times: Vec<f64> = said
        .lines()
        .filter(|line| line.contains("Parsed_showinfo"))
        .filter_map(|line| line.split_once("pts_time:")?.1.split_whitespace().next()?.parse().ok())
        .map(|seconds: f64| seconds * 1000.0)
        .collect();
    let pictures: Vec<&[u8]> = output.stdout.chunks_exact(SIDE * SIDE).collect();
    assert_eq!(times.len(), pictures.len(), "a time for every picture");
    assert!(!said.contains("error while decoding"), "{said}");
    let is_white = |picture: &[u8]| picture.iter().map(|&p| u32::from(p)).sum::<u32>() / picture.len() as u32 > WHITE;
    let mut found = Vec::new();
    let mut was_white = false;
    for (time, picture) in times.iter().zip(pictures) {
        let white = is_white(picture);
        if white && !was_white {
            found.push(*time);
        }
        was_white = white;
    }
    found
}

/// The sound of a file as a player hears it: 16 kHz, mono, from the file's zero on.
pub(crate) fn samples(file: &Path) -> Vec<i16> {
    let output = ["-map", "0:a:0", "-ac", "1", "-ar", "16000", "-f", "s16le", "pipe:1"];
    let output = run("ffmpeg", &["-nostdin", "-v", "error", "-i"], file, &output);
    output.stdout.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// When a tone of 1 kHz sets in.
pub(crate) fn beeps(file: &Path) -> Vec<f64> {
    // Two whole periods. A tone that sets in at a sample has half its level in the window around it.
    const WINDOW: usize = 32;
    const HALF: f64 = 10_000.0;
    const QUIET: f64 = 3000.0;
    let start_ms = streams(file).iter().find(|s| s.kind == "audio").expect("sound").start_ms;
    let samples = samples(file);
    let waves: Vec<(f64, f64)> = (0..WINDOW).map(|n| (n as f64 * 1000.0 / RATE * TAU).sin_cos()).collect();
    let level = |window: &[i16]| {
        let (mut re, mut im) = (0.0, 0.0);
        for (sample, (sin, cos)) in window.iter().zip(&waves) {
            re += f64::from(*sample) * cos;
            im += f64::from(*sample) * sin;
        }
        re.hypot(im) * 2.0 / WINDOW as f64
    };
    let mut found = Vec::new();
    let mut quiet = WINDOW;
    let mut sounds = false;
    for (at, window) in samples.windows(WINDOW).enumerate().step_by(4) {
        let level = level(window);
        quiet = if level < QUIET { quiet + 4 } else { 0 };
        // 10 ms of quiet end a beep; a dip does not.
        sounds &= quiet < 160;
        if !sounds && level > HALF {
            found.push(start_ms + (at + WINDOW / 2) as f64 * 1000.0 / RATE);
            sounds = true;
        }
    }
    found
}

/// The loudest sample in a stretch of the sound.
pub(crate) fn peak(samples: &[i16], from_ms: i64, to_ms: i64) -> u16 {
    let at = |ms: i64| (ms.max(0) as usize * 16).min(samples.len());
    samples[at(from_ms)..at(to_ms)].iter().map(|s| s.unsigned_abs()).max().unwrap_or(0)
}

/// Asserts that each of `expected` was found and nothing else.
pub(crate) fn same(what: &str, found: &[f64], expected: &[f64]) {
    let fits = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= TOLERANCE_MS);
    assert!(fits, "{what}: found {found:.1?}, sent {expected:.1?}");
}

/// The kinds of the boxes of an MP4, in order.
pub(crate) fn boxes(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).expect("the file");
    let (mut kinds, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + 8) {
        kinds.push(String::from_utf8_lossy(&head[4..]).into_owned());
        let size = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
        at += match size {
            0 => bytes.len() - at,
            1 => u64::from_be_bytes(bytes[at + 8..at + 16].try_into().expect("eight bytes")) as usize,
            _ => size,
        };
    }
    assert_eq!(at, bytes.len(), "the last box ends where the file does");
    kinds
}
