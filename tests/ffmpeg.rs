//! Tracks and children against the real ffmpeg: what comes out is measured by ffprobe or by decoding it.

use crate::common::media::*;
use rtms_recorder::container::flv;
use rtms_recorder::container::mp4::Listed;
use rtms_recorder::ffmpeg::args::{self, Canvas, Index};
use rtms_recorder::ffmpeg::{Error, Ffmpeg, Output, Settings};
use rtms_recorder::media::PictureCodec::{H264, Jpg, Png};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const GRACE: Duration = Duration::from_secs(30);
const HD: Canvas = Canvas { width: 1280, height: 720 };

fn ffmpeg() -> Ffmpeg {
    Ffmpeg::new(Settings::default())
}

/// A child that is a shell script.
fn shell(stall: Duration) -> Ffmpeg {
    Ffmpeg::new(Settings { program: "sh".into(), stall, ..Settings::default() })
}

fn script(text: &str) -> [OsString; 2] {
    ["-c".into(), text.into()]
}

/// A directory, and a way to name files in it.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, data: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), data).expect("a file");
        self.path(name)
    }
}

/// Runs a step with its whole input.
async fn feed(args: &[OsString], input: &[u8], piece: usize, output: Output) -> Vec<u8> {
    let mut child = ffmpeg().spawn("a step of a test", args, output).unwrap();
    let mut out = Vec::new();
    for piece in input.chunks(piece) {
        child.write(piece).await.unwrap();
        out.extend_from_slice(&child.take_output());
    }
    out.extend_from_slice(&child.finish(GRACE).await.unwrap());
    out
}

async fn sound(files: &Files, name: &str, samples: &[u8]) -> PathBuf {
    let out = files.path(name);
    feed(&args::sound(&out, 64_000), samples, 320_000, Output::Null).await;
    out
}

async fn assemble(video: &Path, audio: &Path, out: PathBuf) -> PathBuf {
    ffmpeg().run("assembling", &args::assemble(video, audio, Index::MadeRoom, &out), GRACE).await.unwrap();
    out
}

async fn remux(input: &Path, out: PathBuf) -> PathBuf {
    ffmpeg().run("copying", &args::remux(input, Index::MadeRoom, &out), GRACE).await.unwrap();
    out
}

/// Uneven steps between pictures, the same in every run.
fn times(start: i64, count: usize) -> Vec<i64> {
    let steps = [40, 33, 47, 1, 90, 40, 39, 66, 12].into_iter().cycle();
    steps.scan(start, |pts, step| Some(std::mem::replace(pts, *pts + step))).take(count).collect()
}

#[tokio::test]
async fn the_installed_ffmpeg_can_do_what_is_needed() {
    let version = ffmpeg().check().await.unwrap();
    assert!(version.starts_with(|first: char| first.is_ascii_digit() || first == 'n' || first == 'N'), "{version}");
}

#[tokio::test]
async fn pictures_keep_their_times_through_holes_and_late_starts() {
    let files = Files::new();
    let pictures = camera("320x180", 300);
    // Late, uneven, with a hole of 10 s and one of 10 min.
    let mut pts = times(7_300, 300);
    pts[120..].iter_mut().for_each(|pts| *pts += 10_000);
    pts[200..].iter_mut().for_each(|pts| *pts += 600_000);
    let end = (pts[299] + 1_234) as f64;
    let track = track(H264, 320, 180, &pictures, &pts, 1_234);
    let mkv = files.write("video.mkv", &track);
    let mp4 = files.path("video.mp4");
    feed(&args::pictures(&mp4), &track, 100_000, Output::Null).await;
    assert!(largest_error(&picture_times(&mp4), &pts) < 0.001);
    let audio = sound(&files, "audio.m4a", &clicks(16_000 * 640, &[16_000 * 8])).await;

    let direct = assemble(&mkv, &audio, files.path("direct.mp4")).await;
    let twice = assemble(&mp4, &audio, files.path("twice.mp4")).await;
    for file in [&direct, &twice] {
        assert!(largest_error(&picture_times(file), &pts) < 0.001);
        assert_eq!(span(file, "v:0").0, 7_300.0);
        assert_eq!(span(file, "a:0").0, 0.0);
        assert!(span(file, "a:0").1 == 640_000.0);
        assert!(click_error_ms(&samples(file), 16_000 * 8).abs() < 1.0);
        assert_eq!(boxes(file)[..2], ["ftyp", "moov"]);
        assert!(!boxes(file).contains(&"moof".into()));
    }
    // The last picture lasts as long as it should: only straight from Matroska.
    assert!((span(&direct, "v:0").1 - end).abs() < 1.0, "{:?}", span(&direct, "v:0"));
    assert!(span(&twice, "v:0").1 < end - 1_000.0, "a fragmented file keeps the last duration now: say so");
}

#[tokio::test]
async fn parameter_sets_are_in_the_sample_entry_and_in_the_samples() {
    let files = Files::new();
    let track = track(H264, 320, 180, &camera("320x180", 50), &times(0, 50), 40);
    let out = files.path("video.mp4");
    let mkv = files.write("video.mkv", &track);
    ffmpeg().run("copying", &args::remux(&mkv, Index::MadeRoom, &out), GRACE).await.unwrap();
    let bytes = std::fs::read(&out).unwrap();
    let avcc = bytes.windows(4).position(|bytes| bytes == b"avcC").expect("a sample entry");
    // avcC: version, profile, two more, length size, count of SPS, length of the first, the SPS itself.
    assert_eq!((bytes[avcc + 9] & 0x1F, bytes[avcc + 12] & 0x1F), (1, 7));
    let media = bytes.windows(4).rposition(|bytes| bytes == b"mdat").expect("media") + 4;
    assert_eq!(bytes[media + 4] & 0x1F, 7, "the first sample begins with its SPS");
}

#[tokio::test]
async fn a_track_may_change_its_size() {
    let files = Files::new();
    let pictures = [camera("320x180", 50), camera("640x360", 50)].concat();
    let video = files.write("video.mkv", &track(H264, 320, 180, &pictures, &times(0, 100), 40));
    let audio = sound(&files, "audio.m4a", &clicks(16_000 * 5, &[])).await;
    let out = assemble(&video, &audio, files.path("recording.mp4")).await;
    let frames = probe(&out, "-select_streams v:0 -show_entries frame=width,height");
    let widths: Vec<_> = frames["frames"].as_array().unwrap().iter().map(|frame| &frame["width"]).collect();
    assert_eq!(widths.len(), 100);
    assert!(widths[..50].iter().all(|&width| width == 320) && widths[50..].iter().all(|&width| width == 640));
}

#[tokio::test]
async fn sound_is_where_it_was_and_as_long_as_it_was() {
    let files = Files::new();
    let places = [16, 4_000, 80_000, 155_555];
    let audio = sound(&files, "audio.m4a", &clicks(160_000, &places)).await;
    let video = files.write("video.mkv", &track(H264, 320, 180, &camera("320x180", 50), &times(2_000, 50), 40));
    let recording = assemble(&video, &audio, files.path("recording.mp4")).await;
    for file in [&audio, &recording] {
        assert_eq!(boxes(file)[..2], ["ftyp", "moov"]);
        assert_eq!(span(file, "a:0"), (0.0, 10_000.0));
        let samples = samples(file);
        for place in places {
            let error = click_error_ms(&samples, place);
            assert!(error.abs() < 1.0, "{error} ms at sample {place} of {}", file.display());
        }
        // A frame of AAC is 64 ms; what ffmpeg decodes of the last one after the end is not played elsewhere.
        let surplus_ms = samples.len() as f64 / 16.0 - 10_000.0;
        assert!((0.0..=64.0).contains(&surplus_ms), "{surplus_ms} ms");
    }
}

#[tokio::test]
async fn the_room_kept_for_the_index_is_enough_and_little_is_wasted() {
    let files = Files::new();
    let audio = sound(&files, "audio.m4a", &clicks(16_000 * 120, &[])).await;
    let even: Vec<_> = (0..3_000).map(|n| n * 40).collect();
    let key = camera("320x180", 1);
    for (name, pts) in [("even", even), ("uneven", times(0, 3_000))] {
        // Each can be dropped and each is a key picture, which takes most to list.
        let pictures: Vec<_> = pts.iter().map(|_| Picture { is_key: true, data: key[0].data.clone() }).collect();
        let video = files.write("video.mkv", &track(H264, 320, 180, &pictures, &pts, 40));
        let paces = pts.windows(3).filter(|last| last[1] - last[0] != last[2] - last[1]).count() as u64 + 2;
        let listed = Listed { pictures: 3_000, keys: 3_000, paces, sounds: 120_000 / 64 + 2, media_bytes: 0 };
        let out = files.path("recording.mp4");
        let args = args::assemble(&video, &audio, Index::Within(listed.index_bytes()), &out);
        ffmpeg().run("assembling", &args, GRACE).await.unwrap();
        assert_eq!(boxes(&out), ["ftyp", "moov", "free", "free", "mdat"], "{name}");
        assert!(largest_error(&picture_times(&out), &pts) < 0.001);
        let bytes = std::fs::read(&out).unwrap();
        let free = bytes.windows(4).position(|kind| kind == b"free").expect("a box");
        let wasted = u32::from_be_bytes(bytes[free - 4..free].try_into().unwrap());
        assert!(u64::from(wasted) < listed.index_bytes() * 3 / 4, "{name}: {wasted} of {}", listed.index_bytes());
    }
    let too_little = args::assemble(&files.path("video.mkv"), &audio, Index::Within(1_000), &files.path("no.mp4"));
    let error = ffmpeg().run("assembling", &too_little, GRACE).await.unwrap_err();
    // By these words the renderer knows that it has to copy in another way.
    assert!(error.to_string().contains("moov_size is too small"), "{error}");
}

#[tokio::test]
async fn the_same_input_in_any_pieces_gives_the_same_bytes() {
    let files = Files::new();
    let samples = clicks(16_000 * 20, &[16_000, 100_000]);
    let track = track(H264, 320, 180, &camera("320x180", 100), &times(0, 100), 40);
    let mut results = Vec::new();
    for (n, piece) in [usize::MAX, 4_099, 65_536].into_iter().enumerate() {
        let audio = files.path(&format!("audio{n}.m4a"));
        feed(&args::sound(&audio, 64_000), &samples, piece, Output::Null).await;
        let video = files.path(&format!("video{n}.mp4"));
        feed(&args::pictures(&video), &track, piece, Output::Null).await;
        let recording = assemble(&video, &audio, files.path(&format!("recording{n}.mp4"))).await;
        let encoded = feed(&args::encode(H264, HD), &track, piece, Output::Collect).await;
        let read = |file| std::fs::read(file).unwrap();
        results.push((read(audio), read(video), read(recording), encoded));
    }
    assert!(results[0] == results[1] && results[0] == results[2]);
}

#[tokio::test]
async fn long_recordings_and_late_pictures_are_fine() {
    let files = Files::new();
    let pictures = camera("320x180", 50);
    let hour = 3_600_000;
    // A picture now and then for 13 h; pictures that start after 40 h.
    let all_day: Vec<_> = (0..50).map(|n| n * (13 * hour / 50)).collect();
    for pts in [all_day, times(40 * hour, 50)] {
        let video = files.write("video.mkv", &track(H264, 320, 180, &pictures, &pts, 5_000));
        let out = remux(&video, files.path("video.mp4")).await;
        assert!(largest_error(&picture_times(&out), &pts) < 0.001);
        assert!((span(&out, "v:0").1 - (pts[49] + 5_000) as f64).abs() < 1.0);
    }
}

/// Encodes a track.
async fn encode(codec: rtms_recorder::media::PictureCodec, input: &[u8]) -> Vec<flv::Picture> {
    let out = feed(&args::encode(codec, HD), input, 100_000, Output::Collect).await;
    let mut reader = flv::Reader::default();
    reader.push(&out);
    std::iter::from_fn(|| reader.next_picture().unwrap()).collect()
}

async fn encoded_track_is_true(files: &Files, units: Vec<flv::Picture>, pts: &[i64]) -> PathBuf {
    assert_eq!(units.iter().map(|unit| unit.pts.0).collect::<Vec<_>>(), pts);
    assert!(units[0].is_key && units[0].data.starts_with(&[0, 0, 0, 1, 0x67]));
    let pictures: Vec<_> =
        units.into_iter().map(|unit| Picture { is_key: unit.is_key, data: unit.data.to_vec() }).collect();
    let video = files.write("encoded.mkv", &track(H264, HD.width, HD.height, &pictures, pts, 1_000));
    let out = remux(&video, files.path("encoded.mp4")).await;
    assert!(largest_error(&picture_times(&out), pts) < 0.001);
    let seen = probe(&out, "-select_streams v:0 -count_frames -show_entries stream=width,height,nb_read_frames,level");
    let stream = &seen["streams"][0];
    assert_eq!((&stream["width"], &stream["height"]), (&1280.into(), &720.into()));
    assert_eq!(stream["nb_read_frames"], pts.len().to_string());
    assert_eq!(stream["level"], 40);
    out
}

#[tokio::test]
async fn images_are_encoded_one_for_one() {
    let files = Files::new();
    // An hour in, one a second, give or take; the size changes on the way.
    let pts: Vec<_> =
        times(0, 24).iter().enumerate().map(|(n, jitter)| 3_600_000 + n as i64 * 1_000 + jitter % 300).collect();
    for (codec, name) in [(Jpg, "mjpeg"), (Png, "png")] {
        let pictures = [images(name, "1280x720", 12), images(name, "640x480", 12)].concat();
        let units = encode(codec, &track(codec, 1280, 720, &pictures, &pts, 1_000)).await;
        let keys: Vec<_> = units.iter().zip(&pts).filter(|(unit, _)| unit.is_key).map(|(_, pts)| *pts).collect();
        assert!(keys.windows(2).all(|pair| pair[1] - pair[0] <= 6_000), "{keys:?}");
        encoded_track_is_true(&files, units, &pts).await;
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_decoded_does_not_move_the_others() {
    let pts = [1_000, 2_000, 3_000, 4_000];
    let mut pictures = images("mjpeg", "640x480", 4);
    pictures[1].data = b"no image at all".to_vec();
    let units = encode(Jpg, &track(Jpg, 640, 480, &pictures, &pts, 1_000)).await;
    assert_eq!(units.iter().map(|unit| unit.pts.0).collect::<Vec<_>>(), [1_000, 3_000, 4_000]);
}

#[tokio::test]
async fn a_portrait_is_letterboxed() {
    let files = Files::new();
    let pts = times(60_000, 50);
    let units = encode(H264, &track(H264, 720, 1280, &camera("720x1280", 50), &pts, 40)).await;
    let out = encoded_track_is_true(&files, units, &pts).await;
    // 720 of 1280 pixels of height: the picture is 404 or 406 wide, with black on both sides.
    let gray = run("ffmpeg", &format!("-v error -i {} -frames:v 1 -pix_fmt gray -f rawvideo pipe:1", out.display()));
    let row = &gray[1280 * 360..1280 * 361];
    assert!(row[..430].iter().chain(&row[850..]).all(|&pixel| pixel < 24), "black at the sides");
    assert!(row[440..840].iter().any(|&pixel| pixel > 60), "a picture in the middle");
}

#[tokio::test]
async fn a_slate_is_one_black_key_frame() {
    let files = Files::new();
    let slate = ffmpeg().run("making the slate", &args::slate(HD), GRACE).await.unwrap();
    assert!(slate.starts_with(&[0, 0, 0, 1, 0x67]) && slate.len() < 600, "{} bytes", slate.len());
    let picture = Picture { is_key: true, data: slate.to_vec() };
    let pictures = [vec![picture; 5], camera("1280x720", 25)].concat();
    let pts: Vec<_> = (0..5).map(|n| n * 2_000).chain(times(10_000, 25)).collect();
    let video = files.write("video.mkv", &track(H264, 1280, 720, &pictures, &pts, 40));
    let out = remux(&video, files.path("video.mp4")).await;
    assert!(largest_error(&picture_times(&out), &pts) < 0.001);
    let gray =
        run("ffmpeg", &format!("-v error -i {} -fps_mode passthrough -pix_fmt gray -f rawvideo pipe:1", out.display()));
    let brightest: Vec<_> = gray.chunks(1280 * 720).map(|picture| picture.iter().max().unwrap()).collect();
    assert_eq!(brightest.len(), 30);
    assert!(brightest[..5].iter().all(|&&value| value < 24) && brightest[5..].iter().all(|&&value| value > 128));
}

#[tokio::test]
async fn a_slate_of_a_size_is_made_once() {
    let files = Files::new();
    let program = files.path("ffmpeg");
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|dir| dir.join("ffmpeg")).find(|file| file.exists());
    std::os::unix::fs::symlink(found.expect("it is installed"), &program).unwrap();
    let ffmpeg = Ffmpeg::new(Settings { program: program.clone(), ..Settings::default() });
    let first = ffmpeg.slate(HD).await.unwrap();
    std::fs::remove_file(&program).unwrap();
    assert_eq!(ffmpeg.clone().slate(HD).await.unwrap(), first);
    let other = ffmpeg.slate(Canvas { width: 640, height: 360 }).await;
    assert!(matches!(other, Err(Error::NotFound { .. })), "{other:?}");
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_in_its_own_words() {
    let files = Files::new();
    let garbage = files.write("garbage.mkv", &[7; 5_000]);
    let copy = args::remux(&garbage, Index::MadeRoom, &files.path("out.mp4"));
    let error = ffmpeg().run("copying the pictures", &copy, GRACE).await.unwrap_err();
    assert!(matches!(error, Error::Exited { .. }) && !error.is_retryable());
    let text = error.to_string();
    assert!(text.starts_with("copying the pictures failed: ffmpeg ended with exit status: 1; it said: "), "{text}");
    assert!(text.contains("Invalid data found"), "{text}");
    // The same while it is being fed: the pipe breaks first.
    let mut child = ffmpeg().spawn("copying", &args::pictures(&files.path("out.mp4")), Output::Null).unwrap();
    let error = child.write(&vec![7; 50_000_000]).await.unwrap_err();
    assert!(matches!(&error, Error::Exited { tail, .. } if tail.contains("Invalid data found")), "{error}");
}

#[tokio::test]
async fn a_killed_child_is_an_error_that_can_be_repeated() {
    let files = Files::new();
    let mut child = ffmpeg().spawn("encoding", &args::sound(&files.path("a.mp4"), 64_000), Output::Null).unwrap();
    child.write(&clicks(16_000 * 60, &[])).await.unwrap();
    run("kill", &format!("-9 {}", child.pid().unwrap()));
    let error = child.write(&clicks(16_000 * 60, &[])).await.unwrap_err();
    assert!(matches!(error, Error::Exited { .. }) && error.is_retryable(), "{error}");
    assert!(error.to_string().contains("signal: 9"), "{error}");
    assert!(matches!(child.finish(GRACE).await, Err(Error::Exited { .. })));
}

#[tokio::test]
async fn only_the_end_of_what_is_said_is_kept() {
    let talk = script("cat >/dev/null; i=0; while [ $i -lt 20000 ]; do echo line $i >&2; i=$((i+1)); done; exit 3");
    let mut child = shell(GRACE).spawn("talking", &talk, Output::Null).unwrap();
    child.write(b"hello").await.unwrap();
    match child.finish(GRACE).await.unwrap_err() {
        Error::Exited { status, tail, .. } => {
            assert_eq!(status.code(), Some(3));
            assert!(tail.len() <= 4_096 && tail.ends_with("line 19999\n"), "{tail}");
        }
        other => panic!("{other}"),
    }
}

/// Whether a process exists and is more than a zombie.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

async fn grandchild(file: &Path) -> String {
    for _ in 0..500 {
        match std::fs::read_to_string(file) {
            Ok(pid) if pid.ends_with('\n') => return pid,
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("the script did not start");
}

async fn is_gone(pid: &str) -> bool {
    for _ in 0..200 {
        if !is_alive(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// A child that takes nothing, ends never, and has a child of its own.
fn stubborn(pid_file: &Path) -> [OsString; 2] {
    script(&format!("trap '' TERM; echo here I am >&2; sleep 600 & echo $! >{}; wait", pid_file.display()))
}

#[tokio::test]
async fn a_child_that_hangs_is_killed_with_its_group() {
    let files = Files::new();
    let pid_file = files.path("pid");
    let grace = Duration::from_millis(700);
    let child = shell(GRACE).spawn("hanging", &stubborn(&pid_file), Output::Collect).unwrap();
    let pid = grandchild(&pid_file).await;
    assert!(is_alive(&pid));
    let start = Instant::now();
    let error = child.finish(grace).await.unwrap_err();
    assert!(start.elapsed() >= grace && start.elapsed() < grace + Duration::from_secs(2));
    assert!(matches!(error, Error::TimedOut { .. }) && error.is_retryable());
    assert_eq!(error.to_string(), "hanging failed: ffmpeg was not done after 0.7 s and was killed; it said: here I am");
    assert!(is_gone(&pid).await);
}

#[tokio::test]
async fn a_child_that_takes_nothing_is_killed_with_its_group() {
    let files = Files::new();
    let pid_file = files.path("pid");
    let stall = Duration::from_millis(500);
    let mut child = shell(stall).spawn("stalling", &stubborn(&pid_file), Output::Null).unwrap();
    let pid = grandchild(&pid_file).await;
    let start = Instant::now();
    let error = child.write(&vec![0; 1 << 20]).await.unwrap_err();
    assert!(matches!(error, Error::Stalled { .. }) && error.is_retryable(), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
    assert!(is_gone(&pid).await);
}

#[tokio::test]
async fn a_dropped_child_is_killed_with_its_group() {
    let files = Files::new();
    let pid_file = files.path("pid");
    let child = shell(GRACE).spawn("going", &stubborn(&pid_file), Output::Null).unwrap();
    let pid = grandchild(&pid_file).await;
    drop(child);
    assert!(is_gone(&pid).await);
}

#[tokio::test]
async fn input_and_output_cannot_block_each_other_and_output_has_a_limit() {
    let data: Vec<u8> = (0..4_000_000_u32).map(|n| n as u8).collect();
    let mut child = shell(GRACE).spawn("echoing", &script("cat"), Output::Collect).unwrap();
    child.write(&data).await.unwrap();
    let mut back = child.take_output().to_vec();
    back.extend_from_slice(&child.finish(GRACE).await.unwrap());
    assert!(back == data);

    let settings = Settings { program: "sh".into(), output_max: 1 << 20, ..Settings::default() };
    let small = Ffmpeg::new(settings);
    let error = small.run("flooding", &script("cat /dev/zero"), GRACE).await.unwrap_err();
    assert!(matches!(error, Error::TooMuchOutput { max_bytes: 1_048_576, .. }));
    let mut child = small.spawn("flooding", &script("cat"), Output::Collect).unwrap();
    assert!(matches!(child.write(&data).await, Err(Error::TooMuchOutput { .. })));
}

#[tokio::test]
async fn a_child_is_nicer_than_the_recorder() {
    let nice = shell(GRACE).run("asking", &script("sleep 0.2; nice"), GRACE).await.unwrap();
    let own = run("nice", "");
    let number = |text: &[u8]| String::from_utf8_lossy(text).trim().parse::<i32>().unwrap();
    assert_eq!(number(&nice), (number(&own) + 10).min(19));
}

#[tokio::test]
async fn what_is_missing_is_named_with_what_to_do() {
    let settings = Settings { program: "/nowhere/ffmpeg".into(), ..Settings::default() };
    let error = Ffmpeg::new(settings).check().await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }) && !error.is_retryable());
    assert!(error.to_string().starts_with("/nowhere/ffmpeg was not found"), "{error}");
    assert!(error.to_string().contains("apt-get install ffmpeg"), "{error}");
    // Something that runs and is no ffmpeg.
    let settings = Settings { program: "true".into(), ..Settings::default() };
    let error = Ffmpeg::new(settings).check().await.unwrap_err();
    assert!(matches!(error, Error::Incapable { .. }), "{error}");
}
