//! Pictures and sound made by ffmpeg, and what ffprobe and a decoder make of a file.

use rtms_recorder::container::matroska::{Frame, TrackSettings, Writer};
use rtms_recorder::media::{PictureCodec, Pts};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A picture as it goes into a track.
#[derive(Clone)]
pub(crate) struct Picture {
    pub(crate) is_key: bool,
    pub(crate) data: Vec<u8>,
}

/// Standard output of a program that must succeed. Arguments are separated by spaces.
pub(crate) fn run(program: &str, args: &str) -> Vec<u8> {
    let output = Command::new(program).args(args.split_whitespace()).output().expect("the program is installed");
    assert!(output.status.success(), "{program} {args}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// H.264 as a camera sends it: no B-frames, SPS and PPS before every IDR, of which there is one in 25 pictures.
pub(crate) fn camera(size: &str, count: usize) -> Vec<Picture> {
    let stream = run(
        "ffmpeg",
        &format!(
            "-v error -f lavfi -i testsrc2=s={size}:r=25 -frames:v {count} -c:v libx264 -preset ultrafast -bf 0 -g 25 \
             -aud 1 -x264-params scenecut=0:sliced-threads=0 -f h264 pipe:1"
        ),
    );
    // Cut at the delimiters by hand, so as not to test the parser with itself.
    let delimiter = [0, 0, 0, 1, 9];
    let mut starts: Vec<_> = (0..stream.len()).filter(|&at| stream[at..].starts_with(&delimiter)).collect();
    starts.push(stream.len());
    let picture = |span: &[usize]| {
        let data = stream[span[0] + 6..span[1]].to_vec();
        Picture { is_key: data.starts_with(&[0, 0, 0, 1, 0x67]), data }
    };
    let pictures: Vec<_> = starts.windows(2).map(picture).collect();
    assert_eq!(pictures.len(), count);
    pictures
}

/// `count` images; `codec` is `mjpeg` or `png`.
pub(crate) fn images(codec: &str, size: &str, count: usize) -> Vec<Picture> {
    let dir = tempfile::tempdir().expect("a directory");
    let pattern = dir.path().join("%03d");
    run(
        "ffmpeg",
        &format!(
            "-v error -f lavfi -i testsrc2=s={size}:r=25 -frames:v {count} -c:v {codec} -f image2 {}",
            pattern.display()
        ),
    );
    let read = |n: usize| std::fs::read(dir.path().join(format!("{n:03}"))).expect("an image");
    (1..=count).map(|n| Picture { is_key: true, data: read(n) }).collect()
}

/// A whole track: each picture at its time, the last one for `last_ms`.
pub(crate) fn track(
    codec: PictureCodec,
    width: u32,
    height: u32,
    pictures: &[Picture],
    pts: &[i64],
    last_ms: u64,
) -> Vec<u8> {
    assert_eq!(pictures.len(), pts.len());
    let mut writer = Writer::new(TrackSettings { codec, width, height });
    let mut out = Vec::new();
    writer.header(&mut out);
    for (n, (picture, &pts)) in pictures.iter().zip(pts).enumerate() {
        let duration_ms = (n + 1 == pictures.len()).then_some(last_ms);
        let frame = Frame { pts: Pts(pts), is_key: picture.is_key, duration_ms, data: &picture.data };
        writer.write(&frame, &mut out).expect("times in order");
    }
    out
}

/// What ffprobe says about a file, asked for by its own options.
pub(crate) fn probe(file: &Path, ask: &str) -> Value {
    let json = run("ffprobe", &format!("-v error {ask} -of json {}", file.display()));
    serde_json::from_slice(&json).expect("JSON")
}

/// A number that ffprobe writes as text in seconds, in ms.
pub(crate) fn ms(value: &Value) -> f64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no time: {value}"));
    text.parse::<f64>().expect("a time") * 1000.0
}

/// The presentation times of all packets of the picture track, in ms.
pub(crate) fn picture_times(file: &Path) -> Vec<f64> {
    let packets = probe(file, "-select_streams v:0 -show_entries packet=pts_time");
    packets["packets"].as_array().expect("packets").iter().map(|packet| ms(&packet["pts_time"])).collect()
}

/// The largest distance between two lists of times, in ms.
pub(crate) fn largest_error(found: &[f64], expected: &[i64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "number of pictures");
    found.iter().zip(expected).map(|(found, &expected)| (found - expected as f64).abs()).fold(0.0, f64::max)
}

/// Where a track begins and ends, in ms; `selector` such as `v:0`.
pub(crate) fn span(file: &Path, selector: &str) -> (f64, f64) {
    let streams = probe(file, &format!("-select_streams {selector} -show_entries stream=start_time,duration"));
    let stream = &streams["streams"][0];
    let start = ms(&stream["start_time"]);
    (start, start + ms(&stream["duration"]))
}

/// The sound of a file as a player hears it: 16 kHz, mono.
pub(crate) fn samples(file: &Path) -> Vec<i16> {
    let bytes = run("ffmpeg", &format!("-v error -i {} -map 0:a:0 -f s16le -ar 16000 -ac 1 pipe:1", file.display()));
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Silence with a click of a millisecond at each of `clicks`, in samples; `i16` little-endian.
pub(crate) fn clicks(length: usize, clicks: &[usize]) -> Vec<u8> {
    let mut samples = vec![0_i16; length];
    for &click in clicks {
        for (n, sample) in samples[click..click + 16].iter_mut().enumerate() {
            *sample = if n % 8 < 4 { 24_000 } else { -24_000 };
        }
    }
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// How far the loudest place within 50 ms of `click` is from it, in ms: the middle of what was a click.
pub(crate) fn click_error_ms(samples: &[i16], click: usize) -> f64 {
    let from = click.saturating_sub(800);
    let near = &samples[from..(click + 800).min(samples.len())];
    let energy = |window: &[i16]| window.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>();
    let energies: Vec<_> = near.windows(16).map(energy).collect();
    let (loudest, most) =
        energies.iter().copied().enumerate().max_by(|one, other| one.1.total_cmp(&other.1)).expect("samples");
    assert!(most > 16.0 * 4_000.0_f64.powi(2), "no click near sample {click}");
    (from as f64 + loudest as f64 - click as f64) / 16.0
}

/// The kinds of the boxes of an MP4, in order.
pub(crate) fn boxes(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).expect("the file");
    let (mut kinds, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + 8) {
        kinds.push(String::from_utf8_lossy(&head[4..]).into_owned());
        let size = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
        at += if size == 1 {
            u64::from_be_bytes(bytes[at + 8..at + 16].try_into().expect("eight bytes")) as usize
        } else {
            size
        };
    }
    kinds
}
