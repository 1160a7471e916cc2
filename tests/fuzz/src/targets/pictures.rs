//! Tracks of pictures: frames without a hole or an overlap, each decodable where it stands, and every picture
//! accounted for.

use super::h264::{IMAGES, STREAMS};
use crate::input::{Input, Seed};
use bytes::Bytes;
use rtms_recorder::media::{GapCause, PictureCodec, Pts, TrackKey};
use rtms_recorder::timeline::gaps::{Outages, attribute};
use rtms_recorder::timeline::h264::{NalKind, inspect, nals};
use rtms_recorder::timeline::image::Size;
use rtms_recorder::timeline::picture::{EncodePolicy, Frame, Mode, SLATE_EVERY_MS, Settings, Summary, Track, What};
use rtms_recorder::timeline::{MAX_JUMP_MS, Span};
use std::num::NonZeroU32;
use std::sync::LazyLock;

/// What messages are made of: whole streams, their parts, and images.
static PARTS: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let mut parts = Vec::new();
    for stream in STREAMS {
        let at = |kind| nals(stream).find(|nal| nal.kind() == kind).map_or(stream.len(), |nal| nal.offset);
        let (idr, next) = (at(NalKind::Idr), at(NalKind::Slice));
        // A key frame, its successor, sets alone, an IDR alone, and a key frame in two halves.
        let middle = idr.midpoint(next);
        for (from, to) in [(0, next), (next, stream.len()), (0, idr), (idr, next), (0, middle), (middle, next)] {
            parts.push(Bytes::from_static(&stream[from..to]));
        }
        parts.push(Bytes::from_static(stream));
    }
    parts.extend(IMAGES.map(Bytes::from_static));
    parts
});

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = Settings {
        mode: input.pick(&[Mode::Camera, Mode::Share]),
        encode: input.pick(&[EncodePolicy::Auto, EncodePolicy::Copy, EncodePolicy::Always]),
        canvas: Size { width: 1280, height: 720 },
        fps: NonZeroU32::new(u32::from(input.u8()) + 1).expect("not 0"),
    };
    let mut track = Track::new(settings);
    let mut frames = Vec::new();
    let mut at = 0i64;
    for _ in 0..200 {
        if input.is_empty() || frames.len() > 200_000 {
            break;
        }
        let time = if input.u8() < 250 { at.saturating_add(input.step_ms()) } else { input.step_ms() };
        if (0..1 << 40).contains(&time) {
            at = time;
        }
        match input.u8() {
            0..10 => track.connection_lost(&mut frames),
            10..20 => track.sharing_started(Pts(time)),
            20..30 => track.sharing_stopped(Pts(time)),
            30..100 => {
                let codec = input.pick(&[PictureCodec::H264, PictureCodec::Jpg, PictureCodec::Png]);
                track.push(Pts(time), codec, Bytes::copy_from_slice(input.chunk()), &mut frames);
            }
            _ => {
                let part = input.pick(&PARTS);
                track.push(Pts(time), PictureCodec::H264, part, &mut frames);
            }
        }
        let counts = track.counts();
        assert_eq!(counts.received, counts.shown + counts.no_key_frame + counts.late, "{counts:?}");
    }
    let last_end = track.last_end();
    let asked = match input.u8() {
        0..250 => Pts(last_end.0.saturating_add(input.step_ms())),
        _ => Pts(input.i64()),
    };
    let summary = track.finish(asked, &mut frames);
    check_frames(&frames, summary.end);
    check_summary(&frames, &summary);
    if (last_end..=Pts(last_end.0.saturating_add(MAX_JUMP_MS))).contains(&asked) {
        assert_eq!(summary.end, asked.max(Pts(0)));
    }
    let outages =
        Outages { disk: spans(&mut input, at), connection: spans(&mut input, at), paused: spans(&mut input, at) };
    check_gaps(&summary, &outages);
}

/// That a track has no hole and can be decoded.
pub fn check_frames(frames: &[Frame], end: Pts) {
    let mut at = 0;
    let mut before: Option<&Frame> = None;
    for frame in frames {
        assert_eq!(frame.pts, Pts(at), "a hole or an overlap");
        assert!(frame.duration_ms > 0, "{frame:?}");
        at += frame.duration_ms;
        let is_image = |frame: &Frame| !matches!(frame.what, What::Copy(_) | What::Encode(_, PictureCodec::H264));
        let must_be_key = is_image(frame)
            || before.is_none_or(|before| {
                is_image(before) || matches!(before.what, What::Copy(_)) != matches!(frame.what, What::Copy(_))
            });
        assert!(frame.key || !must_be_key, "not decodable: {:?} after {:?}", frame.pts, before.map(|f| f.pts));
        match &frame.what {
            What::Copy(data) | What::Encode(data, PictureCodec::H264) if frame.key => {
                let contents = inspect(data);
                assert!(contents.sps && contents.pps && contents.idr, "a key frame lacks {contents:?}");
            }
            What::Slate => assert!(frame.duration_ms <= SLATE_EVERY_MS, "{frame:?}"),
            _ => {}
        }
        before = Some(frame);
    }
    assert_eq!(Pts(at), end, "the track's end");
}

fn check_summary(frames: &[Frame], summary: &Summary) {
    let counts = summary.counts;
    let slates = frames.iter().filter(|frame| frame.what == What::Slate).count() as u64;
    assert_eq!(counts.slates, slates);
    assert_eq!(counts.shown, frames.len() as u64 - slates);
    assert_eq!(counts.received, counts.shown + counts.no_key_frame + counts.late, "{counts:?}");
}

fn check_gaps(summary: &Summary, outages: &Outages) {
    let within = |span: &Span| span.start.0 >= 0 && span.start < span.end && span.end <= summary.end;
    let missing = &summary.missing;
    assert!(missing.media.iter().chain(&missing.key_frame).all(within), "{missing:?}");
    for spans in [&missing.media, &missing.key_frame] {
        assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "{spans:?}");
    }
    let gaps = attribute(&TrackKey::Camera, missing, outages);
    assert!(gaps.iter().all(|gap| gap.start < gap.end));
    assert!(gaps.windows(2).all(|pair| pair[0].end <= pair[1].start), "{gaps:?}");
    let covers = |spans: &[Span], at| spans.iter().any(|span| span.start <= at && at < span.end);
    for gap in &gaps {
        for at in [gap.start, Pts(gap.end.0 - 1)] {
            assert!(covers(&missing.media, at) || covers(&missing.key_frame, at), "{gap:?} is no gap");
            let disk = covers(&outages.disk, at);
            assert_eq!(gap.cause == GapCause::Disk, disk, "{gap:?}");
            assert_eq!(gap.cause == GapCause::Connection, !disk && covers(&outages.connection, at), "{gap:?}");
        }
    }
    for span in missing.media.iter().chain(&missing.key_frame) {
        for at in [span.start, Pts(span.end.0 - 1)] {
            assert!(gaps.iter().any(|gap| gap.start <= at && at < gap.end), "{span:?} is in no gap");
        }
    }
}

fn spans(input: &mut Input, around: i64) -> Vec<Span> {
    let count = input.below(4);
    let mut time = || Pts(if input.flag() { around } else { 0 }.saturating_add(input.step_ms()));
    (0..count).map(|_| Span::new(time(), time())).collect()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let parts = PARTS.len() as u8;
    let push = |step: u8, part: u8| [0, step, 200, part];
    // A key frame and what follows; holes; all parts in turn; sharing; lost connections.
    let run: Vec<u8> = [push(40, 0), push(40, 1), push(40, 1)].concat();
    let hole = [0, 215, 0x90, 0, 200, 0];
    let all: Vec<u8> = (0..parts).flat_map(|part| push(33, part)).collect();
    let head = |mode: u8, encode: u8| Seed::default().raw(&[mode, encode, 24]);
    vec![
        head(0, 0).raw(&run).raw(&hole).raw(&run).0,
        head(0, 1).raw(&all).raw(&[0, 1, 5]).raw(&run).0,
        head(0, 2).raw(&run).raw(&[0, 0, 0]).raw(&push(20, 1)).raw(&push(20, 0)).0,
        head(1, 0).raw(&push(0, parts - 2)).raw(&[0, 9, 25]).raw(&hole).raw(&[0, 9, 15]).raw(&push(9, parts - 1)).0,
        head(0, 0).raw(&push(10, 2)).raw(&push(0, 3)).raw(&push(40, 4)).raw(&push(0, 5)).0,
        head(0, 0).raw(&[0, 10, 50, 0]).chunk(&STREAMS[0]).raw(&run).0,
    ]
}
