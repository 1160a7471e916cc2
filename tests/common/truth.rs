//! What is in a finished file, by ffmpeg's decoders, on the file's own timeline. Times are in ms.
use super::script::{BEEP, BEEP_MS, Rendered};
use rtms_recorder::media::{Gap, TrackKey};
use rtms_recorder::output::Manifest;
use serde_json::Value;
use std::f64::consts::{PI, TAU};
use std::path::Path;
use std::process::{Command, Output};

fn run(program: &str, before: &str, file: &Path, after: &str) -> Output {
    let mut command = Command::new(program);
    command.args(before.split_whitespace()).arg(file).args(after.split_whitespace());
    let output = command.output().expect("ffmpeg is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    // Raw output counts pictures by a rate, which means nothing here.
    let is_noise = |line: &&str| line.contains("dts to muxer") || line.contains("Last message repeated");
    let serious = said.lines().find(|line| !is_noise(line) && !line.trim().is_empty());
    assert!(output.status.success() && serious.is_none(), "{program} on {}: {said}", file.display());
    output
}

/// Where a track begins and ends; `selector` is `v:0` or `a:0`.
pub(crate) fn span(file: &Path, selector: &str) -> (f64, f64) {
    let show = format!("-v error -select_streams {selector} -show_entries stream=start_time,duration -of csv=p=0");
    let output = run("ffprobe", &show, file, "");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.trim().split(',').map(|number| number.parse::<f64>().expect("a time") * 1000.0);
    let (start, length) = (numbers.next().expect("a start"), numbers.next().expect("a duration"));
    (start, start + length)
}

/// The sound as a player hears it, 16 kHz and mono, from the file's zero on.
pub(crate) fn sound(file: &Path) -> Vec<i16> {
    let (start, _) = span(file, "a:0");
    assert!(start.abs() < 0.1, "{}: the sound starts at {start} ms", file.display());
    let output = run("ffmpeg", "-nostdin -v error -i", file, "-map 0:a:0 -ac 1 -ar 16000 -f s16le pipe:1");
    output.stdout.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// What decoding gives when samples are encoded as the recorder does and nothing else is done to them.
pub(crate) fn encoded(samples: &[i16], bitrate: u32) -> Vec<i16> {
    let dir = tempfile::tempdir().expect("a directory");
    let (pcm, m4a) = (dir.path().join("ideal.pcm"), dir.path().join("ideal.m4a"));
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    std::fs::write(&pcm, bytes).expect("room on the disk");
    let args = rtms_recorder::ffmpeg::args::sound_file(&pcm, &m4a, bitrate);
    let output = Command::new("ffmpeg").args(args).output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    sound(&m4a)
}

/// Asserts that a file sounds sample by sample like `ideal` encoded.
pub(crate) fn assert_sounds_like(file: &Path, ideal: &[i16]) {
    let (found, expected) = (sound(file), encoded(ideal, 64_000));
    assert_eq!(found.len(), expected.len(), "{}: samples", file.display());
    let differs = found.iter().zip(&expected).position(|(found, expected)| found != expected);
    assert_eq!(differs.map(|at| at as f64 / 16.0), None, "{}: differs from there on (ms)", file.display());
}

/// When beeps of 1 kHz set in. Each must be whole, and nothing else may be heard.
pub(crate) fn beeps(samples: &[i16]) -> Vec<f64> {
    // Two periods. At the onset of a beep half of the window is full.
    const WINDOW: usize = 32;
    let wave: Vec<(f64, f64)> = (0..WINDOW).map(|n| (n as f64 / 16.0 * TAU).sin_cos()).collect();
    let level = |centre: usize| {
        let from = centre.saturating_sub(WINDOW / 2);
        let (mut re, mut im) = (0.0, 0.0);
        for (&sample, (sin, cos)) in samples[from..].iter().take(WINDOW).zip(&wave) {
            re += f64::from(sample) * cos;
            im += f64::from(sample) * sin;
        }
        re.hypot(im) * 2.0 / WINDOW as f64
    };
    let loud = |block: &[i16]| block.iter().any(|sample| sample.unsigned_abs() > 3000);
    let (mut found, mut at) = (Vec::new(), 0);
    while at + 16 <= samples.len() {
        if !loud(&samples[at..at + 16]) {
            at += 16;
            continue;
        }
        let near = at.saturating_sub(64)..(at + 160).min(samples.len());
        let onset = near.clone().find(|&n| level(n) > BEEP / 2.0);
        let onset = onset.unwrap_or_else(|| panic!("a noise that is no beep at {} ms", at as f64 / 16.0));
        let end = onset + BEEP_MS as usize * 16;
        for inside in (onset + 80..end - 80).step_by(16).filter(|n| n + 16 < samples.len()) {
            let level = level(inside);
            assert!((level - BEEP).abs() < BEEP / 4.0, "a beep is broken at {} ms: {level}", inside as f64 / 16.0);
        }
        found.push(onset as f64 / 16.0);
        // What rings on after the end is the encoder's.
        at = end + 320;
    }
    found
}

/// The largest distance between what was found and what was sent; all of it must be there, and nothing else.
pub(crate) fn largest_offset(what: &str, found: &[f64], sent: &[i64]) -> f64 {
    let counts = (found.len(), sent.len());
    assert_eq!(
        counts.0,
        counts.1,
        "{what}: found {:.0?}, sent {:?}",
        &found[..found.len().min(60)],
        &sent[..sent.len().min(60)]
    );
    found.iter().zip(sent).map(|(found, &sent)| (found - sent as f64).abs()).fold(0.0, f64::max)
}

/// How much of the sound is not the tone, at worst, in dB: all that is further from its frequency than `beyond` of it,
/// in windows of a second.
pub(crate) fn impurity_db(samples: &[i16], hz: f64, beyond: f64) -> f64 {
    const SIZE: usize = 1 << 14;
    let bin_hz = 16_000.0 / SIZE as f64;
    let mut worst = f64::NEG_INFINITY;
    for start in (0..samples.len().saturating_sub(SIZE)).step_by(SIZE / 2) {
        let mut re: Vec<f64> = (0..SIZE).map(|n| f64::from(samples[start + n]) * blackman_harris(n, SIZE)).collect();
        let mut im = vec![0.0; SIZE];
        fourier(&mut re, &mut im);
        let (mut tone, mut rest) = (0.0, 0.0);
        for bin in 4..SIZE / 2 {
            let power = re[bin] * re[bin] + im[bin] * im[bin];
            if (bin as f64 * bin_hz - hz).abs() < hz * beyond { tone += power } else { rest += power }
        }
        worst = worst.max(10.0 * (rest / tone).log10());
    }
    worst
}

fn blackman_harris(n: usize, size: usize) -> f64 {
    let x = TAU * n as f64 / size as f64;
    0.358_75 - 0.488_29 * x.cos() + 0.141_28 * (2.0 * x).cos() - 0.011_68 * (3.0 * x).cos()
}

fn fourier(re: &mut [f64], im: &mut [f64]) {
    let size = re.len();
    let mut j = 0;
    for i in 1..size {
        let mut bit = size >> 1;
        while j & bit != 0 {
            j ^= bit;
            bit >>= 1;
        }
        j |= bit;
        if i < j {
            re.swap(i, j);
            im.swap(i, j);
        }
    }
    let mut len = 2;
    while len <= size {
        for k in 0..len / 2 {
            let (sin, cos) = (-2.0 * PI * k as f64 / len as f64).sin_cos();
            for start in (k..size).step_by(len) {
                let other = start + len / 2;
                let (x, y) = (re[other] * cos - im[other] * sin, re[other] * sin + im[other] * cos);
                (re[other], im[other]) = (re[start] - x, im[start] - y);
                re[start] += x;
                im[start] += y;
            }
        }
        len *= 2;
    }
}

/// A decoded picture.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picture {
    pub(crate) at: f64,
    /// Whether decoding can start with it.
    pub(crate) is_key: bool,
    /// Mean colours: in the middle, of the left edge, of the top edge.
    pub(crate) middle: [u8; 3],
    pub(crate) left: [u8; 3],
    pub(crate) top: [u8; 3],
}

impl Picture {
    pub(crate) fn is_white(&self) -> bool {
        self.middle.iter().all(|&value| value > 225)
    }

    pub(crate) fn is_black(&self) -> bool {
        [self.middle, self.left, self.top].iter().flatten().all(|&value| value < 16)
    }

    /// Whether the middle has this colour, `0xRRGGBB`.
    pub(crate) fn is(&self, colour: u32) -> bool {
        is_colour(self.middle, colour)
    }
}

pub(crate) fn is_colour(found: [u8; 3], colour: u32) -> bool {
    let [_, wanted @ ..] = colour.to_be_bytes();
    found.iter().zip(wanted).all(|(&found, wanted)| found.abs_diff(wanted) < 24)
}

/// All pictures of a file, decoded from beginning to end without an error; times strictly increase.
pub(crate) fn pictures(file: &Path) -> Vec<Picture> {
    const WIDTH: usize = 16;
    const HEIGHT: usize = 9;
    let show = "-v error -select_streams v:0 -show_entries stream=time_base:packet=pts,flags -of csv=p=0";
    let packets = run("ffprobe", show, file, "");
    let packets = String::from_utf8_lossy(&packets.stdout).into_owned();
    let base =
        packets.lines().find_map(|line| line.split_once('/')?.1.trim().parse::<f64>().ok()).expect("a time base");
    let times = packets.lines().filter(|line| line.contains(',')).map(|line| {
        let (pts, flags) = line.split_once(',').expect("two fields");
        (pts.parse::<f64>().expect("a time") * 1000.0 / base, flags.starts_with('K'))
    });
    // Rounded by hand: mean colours of areas, whatever the size of a picture.
    let scale = format!(
        "-map 0:v:0 -vf scale={WIDTH}:{HEIGHT}:flags=area,format=rgb24 -fps_mode passthrough -f rawvideo pipe:1"
    );
    let output = run("ffmpeg", "-nostdin -v error -copyts -i", file, &scale);
    let decoded: Vec<&[u8]> = output.stdout.chunks_exact(WIDTH * HEIGHT * 3).collect();
    let times: Vec<(f64, bool)> = times.collect();
    assert_eq!(decoded.len(), times.len(), "{}: every picture can be decoded", file.display());
    assert!(times.windows(2).all(|pair| pair[0].0 < pair[1].0), "{}: times increase", file.display());
    let pixel = |data: &[u8], x: usize, y: usize| {
        let at = (y * WIDTH + x) * 3;
        [data[at], data[at + 1], data[at + 2]]
    };
    let picture = |(&(at, is_key), data): (&(f64, bool), &&[u8])| Picture {
        at,
        is_key,
        middle: pixel(data, WIDTH / 2, HEIGHT / 2),
        left: pixel(data, 0, HEIGHT / 2),
        top: pixel(data, WIDTH / 2, 0),
    };
    times.iter().zip(&decoded).map(picture).collect()
}

/// When the picture turns white.
pub(crate) fn flashes(pictures: &[Picture]) -> Vec<f64> {
    let turns = |pair: &[Picture]| (pair[1].is_white() && !pair[0].is_white()).then_some(pair[1].at);
    pictures.windows(2).filter_map(turns).collect()
}

/// What is shown at a time.
pub(crate) fn shown_at(pictures: &[Picture], at: i64) -> Picture {
    *pictures.iter().rfind(|picture| picture.at <= at as f64 + 0.5).expect("a picture from zero on")
}

/// The slices of all pictures of an MP4, in order, without their framing.
pub(crate) fn slices_in(file: &Path) -> Vec<Vec<u8>> {
    let output = run("ffmpeg", "-nostdin -v error -i", file, "-map 0:v:0 -c copy -f data pipe:1");
    let (mut found, mut rest) = (Vec::new(), output.stdout.as_slice());
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let (nal, more) = more.split_at(u32::from_be_bytes(*length) as usize);
        if is_slice(nal) {
            found.push(nal.to_vec());
        }
        rest = more;
    }
    found
}

/// The slices of an access unit in Annex B.
pub(crate) fn slices_of(unit: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> = (0..unit.len()).filter(|&at| unit[at..].starts_with(&[0, 0, 1])).collect();
    let ends = starts.iter().skip(1).copied().chain([unit.len()]);
    let nals = starts.iter().zip(ends).map(|(&start, end)| {
        let nal = &unit[start + 3..end];
        let zeros = nal.iter().rev().take_while(|&&byte| byte == 0).count();
        nal[..nal.len() - zeros].to_vec()
    });
    nals.filter(|nal| is_slice(nal)).collect()
}

fn is_slice(nal: &[u8]) -> bool {
    matches!(nal[0] & 0x1f, 1 | 5)
}

/// Asserts that what was sent is in the file bit for bit and in order, and returns how many other pictures are.
pub(crate) fn assert_copied(file: &Path, sent: &[Vec<u8>]) -> usize {
    let found = slices_in(file);
    let mut others = 0;
    let mut expected = sent.iter().enumerate();
    let mut next = expected.next();
    for slice in &found {
        match next {
            Some((_, wanted)) if wanted == slice => next = expected.next(),
            _ => others += 1,
        }
    }
    assert_eq!(next.map(|(n, _)| n), None, "{}: of {} slices this one is not there", file.display(), sent.len());
    others
}

/// The gaps of a track, as numbers.
pub(crate) fn gaps(manifest: &Manifest, track: &TrackKey) -> Vec<(i64, i64)> {
    let of_track = |gap: &&Gap| gap.track == *track;
    manifest.gaps.iter().filter(of_track).map(|gap| (gap.start.0, gap.end.0)).collect()
}

/// The sum holds for every track: received and filled make its length, and gaps are what was filled, in order, apart
/// and within. Files are as long as the manifest says, within one frame of `frame_ms`.
pub(crate) fn assert_adds_up(rendered: &Rendered, frame_ms: f64) {
    let manifest = &rendered.manifest;
    let length = manifest.duration_ms;
    for track in &manifest.tracks {
        let sum = track.received_ms + track.filled_ms;
        assert!(sum.abs_diff(length) <= 1, "{}: {track:?} of {length}", track.track);
        let gaps = gaps(manifest, &track.track);
        let listed: i64 = gaps.iter().map(|(start, end)| end - start).sum();
        assert!(listed.unsigned_abs().abs_diff(track.filled_ms) <= 1 + gaps.len() as u64, "{track:?}: {gaps:?}");
        assert!(gaps.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{}: {gaps:?}", track.track);
        let inside = |&(start, end): &(i64, i64)| 0 <= start && start < end && end.unsigned_abs() <= length;
        assert!(gaps.iter().all(inside), "{} of {length}: {gaps:?}", track.track);
    }
    let track_of_gap = |gap: &Gap| manifest.tracks.iter().any(|track| track.track == gap.track);
    assert!(manifest.gaps.iter().all(track_of_gap), "{:?}", manifest.gaps);
    let timeline: Value = serde_json::from_slice(&std::fs::read(rendered.file("timeline.json")).expect("it is there"))
        .expect("timeline.json is JSON");
    let json: Value = serde_json::from_slice(&manifest.to_json()).expect("the manifest is JSON");
    for same in ["duration_ms", "gaps", "tracks"] {
        assert_eq!(timeline[same], json[same], "{same}");
    }
    for track in ["video", "share"] {
        let sum = |list: &str| -> i64 {
            let items = timeline[list].as_array().expect("a list").iter().filter(|item| item["track"] == track);
            items.map(|item| item["end_ms"].as_i64().unwrap() - item["start_ms"].as_i64().unwrap()).sum()
        };
        assert_eq!(sum("filled"), sum("gaps"), "what is seen in the gaps of {track}: {timeline:#}");
    }
    for object in manifest.objects.iter().filter(|object| object.duration_ms.is_some()) {
        let file = rendered.file(&object.name);
        assert_eq!(object.duration_ms, Some(length), "{}", object.name);
        let has_picture = matches!(object.name.as_str(), "recording.mp4" | "screenshare.mp4");
        let has_sound = object.name != "screenshare.mp4" && manifest.tracks.iter().any(|t| t.track == TrackKey::Mix);
        if has_picture {
            let (start, end) = span(&file, "v:0");
            assert!(
                start.abs() < 0.5 && (end - length as f64).abs() <= frame_ms,
                "{}: {start}..{end} of {length}",
                object.name
            );
        }
        if has_sound {
            let (start, end) = span(&file, "a:0");
            assert!(
                start.abs() < 0.1 && (end - length as f64).abs() < 1.0,
                "{}: {start}..{end} of {length}",
                object.name
            );
        }
    }
}
