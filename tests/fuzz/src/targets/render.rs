//! From a journal to tracks, whatever the journal says: all tracks end at the same time, and it does not matter how the
//! lines are spread over chunks.
//!
//! The renderer's inner modules are not public, so they are taken in here as source. What drives encoders is in the
//! same files and stays unused.

use super::h264::{IMAGES, STREAMS};
use super::pictures::check_frames;
use crate::input::{Input, Seed};
use crate::media::{Pts, SAMPLES_PER_MS};
use crate::timeline::MAX_JUMP_MS;
use crate::timeline::clock::PausePolicy;
use crate::timeline::picture::EncodePolicy;
use rtms_recorder::render::Settings;
use sound::Pcm;
use std::collections::BTreeMap;
use std::path::Path;
use tracks::{EarlierZero, Ready, Tracks, Whole};

#[allow(dead_code)]
#[path = "../../../../src/render/facts.rs"]
mod facts;
#[allow(dead_code)]
#[path = "../../../../src/render/encoding.rs"]
mod encoding;
#[allow(dead_code)]
#[path = "../../../../src/render/items.rs"]
mod items;
#[allow(dead_code)]
#[path = "../../../../src/render/pictures.rs"]
mod pictures;
#[allow(dead_code)]
#[path = "../../../../src/render/sound.rs"]
mod sound;
#[allow(dead_code)]
#[path = "../../../../src/render/texts/mod.rs"]
mod texts;
#[allow(dead_code)]
#[path = "../../../../src/render/tracks.rs"]
mod tracks;
#[allow(dead_code)]
#[path = "../../../../src/render/unusable.rs"]
mod unusable;

/// In place of the renderer's own, for the parts that are not run here.
#[derive(Debug)]
enum Error {
    Encoder(#[allow(dead_code)] &'static str),
    Other,
}

impl Error {
    fn io<E>(_action: &'static str, _path: &Path) -> impl FnOnce(E) -> Self {
        |_| Self::Other
    }

    fn write<E>(_what: &str, _source: E) -> Self {
        Self::Other
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(_: E) -> Self {
        Self::Other
    }
}

/// The media of a whole recording.
#[derive(Debug, Default, PartialEq, Eq)]
struct Media {
    /// In samples.
    sound: u64,
    participants: BTreeMap<String, u64>,
    camera: Vec<crate::timeline::picture::Frame>,
    share: Vec<crate::timeline::picture::Frame>,
}

impl Media {
    fn take(&mut self, ready: Ready) {
        self.sound += length(&ready.sound);
        for (user, pcm) in &ready.participants {
            *self.participants.entry(user.as_str().to_owned()).or_default() += length(pcm);
        }
        self.camera.extend(ready.camera);
        self.share.extend(ready.share);
    }
}

fn length(pcm: &[Pcm]) -> u64 {
    let one = |piece: &Pcm| match piece {
        Pcm::Samples(bytes) => bytes.len() as u64 / 2,
        Pcm::Silence(samples) => *samples,
    };
    pcm.iter().map(one).sum()
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = Settings {
        canvas: (1280, 720),
        audio_bitrate: 96_000,
        video_encode: input.pick(&[EncodePolicy::Auto, EncodePolicy::Copy, EncodePolicy::Always]),
        paused: input.pick(&[PausePolicy::Cut, PausePolicy::Keep]),
        key_template: Default::default(),
        keep_journal: false,
    };
    let parts = usize::from(input.u8() % 4) + 1;
    let journal = if input.u8() < 230 { journal(&mut input) } else { input.rest().to_vec() };
    let lines: Vec<&[u8]> = journal.split_inclusive(|&b| b == b'\n').collect();
    let chunks: Vec<Vec<u8>> = lines.chunks(lines.len().div_ceil(parts).max(1)).map(<[&[u8]]>::concat).collect();

    let (whole, media) = render(&settings, &[journal.clone()]);
    crate::trace!("{settings:?} {parts}\n{}\n{whole:#?}", String::from_utf8_lossy(&journal));
    check(&whole, &media);
    let (again, same) = render(&settings, &chunks);
    assert_eq!(media, same, "chunks matter");
    let view = |whole: &Whole| format!("{:?}", (whole.zero, whole.end, &whole.gaps, &whole.tracks, &whole.remarks));
    assert_eq!(view(&whole), view(&again), "chunks matter");
}

/// As the renderer does it: from the first time that is known, and again if an earlier one turns up.
fn render(settings: &Settings, chunks: &[Vec<u8>]) -> (Whole, Media) {
    let attempt = |zero| -> Result<(Whole, Media), EarlierZero> {
        let mut tracks = Tracks::new(settings, zero);
        let mut media = Media::default();
        for chunk in chunks {
            media.take(tracks.feed(chunk, false)?);
        }
        let mut whole = tracks.finish()?;
        media.take(std::mem::take(&mut whole.ready));
        Ok((whole, media))
    };
    let mut zero = None;
    for _ in 0..=chunks.len() + 1 {
        match attempt(zero) {
            Ok(done) => return done,
            Err(EarlierZero(earlier)) => {
                assert!(zero.is_none_or(|zero| earlier < zero), "{earlier:?} is not earlier than {zero:?}");
                zero = Some(earlier);
            }
        }
    }
    panic!("it starts again for ever");
}

fn check(whole: &Whole, media: &Media) {
    let end = whole.end;
    assert!(end.0 >= 0);
    let samples = (end.0 * SAMPLES_PER_MS).unsigned_abs();
    if media.sound > 0 {
        assert_eq!(media.sound, samples, "the mix ends elsewhere");
    }
    for (user, length) in &media.participants {
        assert_eq!(*length, samples, "the track of {user:?} ends elsewhere");
    }
    for frames in [&media.camera, &media.share] {
        let Some(last) = frames.last() else { continue };
        let last = Pts(last.pts.0 + last.duration_ms);
        check_frames(frames, last);
        if end.0 <= MAX_JUMP_MS {
            assert_eq!(last, end, "the pictures end elsewhere");
        }
    }
    for track in &whole.tracks {
        let gaps: Vec<_> = whole.gaps.iter().filter(|gap| gap.track == track.track).collect();
        assert!(gaps.iter().all(|gap| gap.start.0 >= 0 && gap.start < gap.end), "{gaps:?}");
        assert!(gaps.windows(2).all(|pair| pair[0].end <= pair[1].start), "{gaps:?}");
        if end.0 <= MAX_JUMP_MS {
            assert!(gaps.iter().all(|gap| gap.end <= end), "{gaps:?} beyond {end:?}");
        }
    }
}

/// A journal with lines as Zoom and the recorder cause them, in any order, at any times.
fn journal(input: &mut Input) -> Vec<u8> {
    let mut journal = Vec::new();
    let mut at = 1_795_000_000_000i64;
    for _ in 0..120 {
        if input.is_empty() || journal.len() > 400_000 {
            break;
        }
        let time = if input.u8() < 250 { at.saturating_add(input.step_ms()) } else { input.i64() };
        if (1_700_000_000_000..1_800_000_000_000).contains(&time) {
            at = time;
        }
        let (conn, message) = line(input, time);
        let received = at + i64::from(input.u8());
        journal.extend_from_slice(format!("{{\"t\":{received},\"c\":\"{conn}\",\"m\":{message}}}\n").as_bytes());
    }
    journal
}

fn line(input: &mut Input, time: i64) -> (&'static str, String) {
    let media = |conn, kind: u8, speaker: &str, bytes: &[u8]| {
        let data = base64_simd::STANDARD.encode_to_string(bytes);
        let content = format!(r#"{{"timestamp":{time},{speaker}"data":"{data}"}}"#);
        (conn, format!(r#"{{"msg_type":{kind},"content":{content}}}"#))
    };
    let conn = |input: &mut Input| input.pick(&["audio", "video", "share", "signaling"]);
    match input.u8() % 16 {
        0..=5 => {
            let speakers = ["", r#""user_id":0,"#, r#""user_id":7,"user_name":"A","#, r#""user_id":8,"#];
            let speaker = input.pick(&speakers);
            let bytes = vec![input.u8(); input.pick(&[640, 3200, 3, 1280, 0, 4001])];
            media("audio", 14, speaker, &bytes)
        }
        6..=8 => {
            let stream = STREAMS[0];
            let bytes = input.pick(&[stream, &stream[..stream.len() / 2], &stream[stream.len() / 2..], IMAGES[0]]);
            media("video", 15, "", bytes)
        }
        9 => media("share", 16, "", input.pick(&[IMAGES[0], IMAGES[1], STREAMS[0]])),
        10 => {
            let (rate, channels) = (input.below(5), input.below(3));
            (
                "audio",
                format!(r#"{{"msg_type":4,"media_params":{{"audio":{{"sample_rate":{rate},"channel":{channels}}}}}}}"#),
            )
        }
        11 => ("signaling", format!(r#"{{"msg_type":9,"state":{},"timestamp":{time}}}"#, input.pick(&[3, 4]))),
        12 => {
            let event = format!(r#"{{"event_type":{},"timestamp":{time}}}"#, input.pick(&[5, 6]));
            ("signaling", format!(r#"{{"msg_type":6,"event":{event}}}"#))
        }
        13 => {
            let (note, conn) = (input.pick(&["lost", "connected", "refused"]), conn(input));
            ("event", format!(r#"{{"note":"{note}","conn":"{conn}","run":{},"because":"x"}}"#, input.u8()))
        }
        14 => {
            let to = time.saturating_add(input.step_ms());
            let dropped = format!(r#"{{"note":"dropped","messages":1,"bytes":1,"from_ms":{time},"to_ms":{to}}}"#);
            let others = [
                r#"{"note":"resumed"}"#.to_owned(),
                r#"{"note":"ended","source":"event","reason":6}"#.to_owned(),
                r#"{"event":"meeting.rtms_stopped","payload":{"rtms_stream_id":"s","stop_reason":6}}"#.to_owned(),
                dropped,
            ];
            ("event", input.pick(&others))
        }
        _ => (conn(input), format!("{{{}}}", input.text().replace('\n', " "))),
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    // Step, what, its details, delay of receipt.
    let sound = [0, 20, 0, 1, 5, 0, 9];
    let speaker = [0, 20, 0, 2, 5, 0, 9];
    let picture = [0, 40, 6, 0, 9];
    let all = [
        &sound[..],
        &[0, 0, 10, 1, 1, 0],
        &picture,
        &sound,
        &[0, 10, 11, 0, 0],
        &sound,
        &[0, 90, 11, 1, 0],
        &sound,
        &[0, 0, 12, 0, 0],
        &[0, 5, 9, 0, 0],
        &[0, 90, 12, 1, 0],
        &[0, 0, 13, 0, 0, 4, 0],
        &sound,
        &[0, 0, 14, 30, 3, 0],
        &[0, 0, 14, 0, 1, 0],
    ]
    .concat();
    let head = |parts: u8, kind: u8| Seed::default().raw(&[0, 0, parts, kind]);
    let text = br#"{"t":4,"c":"audio","m":{"msg_type":14,"content":{"data":"AAEC","timestamp":1754042400123}}}
{"t":5,"c":"video","m":{"msg_type":15,"content":{"data":"data:image/jpeg;base64,\/9j\/4A","timestamp":1754042400124}}}
"#;
    vec![
        head(0, 0).raw(&sound.repeat(8)).0,
        head(3, 0).raw(&all).0,
        head(1, 0).raw(&[&speaker[..], &picture, &speaker].concat().repeat(4)).0,
        head(2, 255).raw(text).0,
    ]
}
