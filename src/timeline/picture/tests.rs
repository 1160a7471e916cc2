use super::*;
use crate::timeline::h264::nals;
use crate::timeline::h264::testing::{BASELINE_64X48, HIGH_1280X720, HIGH_1920X1080};
use crate::timeline::image::testing::{jpeg, png};
use proptest::prelude::*;
use std::sync::LazyLock;

const HD: Size = Size { width: 1280, height: 720 };

/// The pieces of a fixture.
struct Sample {
    sets: Bytes,
    idr: Bytes,
    key: Bytes,
    delta: Bytes,
}

impl Sample {
    fn of(data: &'static [u8]) -> Self {
        let at: Vec<usize> = nals(data).map(|nal| nal.offset).collect();
        let data = Bytes::from_static(data);
        Self {
            sets: data.slice(..at[2]),
            idr: data.slice(at[2]..at[3]),
            key: data.slice(..at[3]),
            delta: data.slice(at[3]..),
        }
    }
}

static S720: LazyLock<Sample> = LazyLock::new(|| Sample::of(HIGH_1280X720));
static S1080: LazyLock<Sample> = LazyLock::new(|| Sample::of(HIGH_1920X1080));
static S48: LazyLock<Sample> = LazyLock::new(|| Sample::of(BASELINE_64X48));

struct Play {
    track: Track,
    out: Vec<Frame>,
}

impl Play {
    fn new(mode: Mode, encode: EncodePolicy) -> Self {
        let settings = Settings { mode, encode, canvas: HD, fps: NonZeroU32::new(25).expect("not zero") };
        Self { track: Track::new(settings), out: Vec::new() }
    }

    fn camera() -> Self {
        Self::new(Mode::Camera, EncodePolicy::Auto)
    }

    fn push(&mut self, pts: i64, data: &Bytes) -> &mut Self {
        self.track.push(Pts(pts), PictureCodec::H264, data.clone(), &mut self.out);
        self
    }

    /// A key frame at `from` and others behind it every 40 ms, `to` not included.
    fn run(&mut self, from: i64, to: i64) -> &mut Self {
        self.push(from, &S720.key).deltas(from + 40, to)
    }

    fn deltas(&mut self, from: i64, to: i64) -> &mut Self {
        for pts in (from..to).step_by(40) {
            self.push(pts, &S720.delta);
        }
        self
    }

    fn lost(&mut self) -> &mut Self {
        self.track.connection_lost(&mut self.out);
        self
    }

    fn finish(mut self, end: i64) -> (Vec<Frame>, Summary) {
        let summary = self.track.finish(Pts(end), &mut self.out);
        check(&self.out, &summary);
        (self.out, summary)
    }
}

/// What holds for every track.
fn check(frames: &[Frame], summary: &Summary) {
    if frames.is_empty() {
        assert_eq!(summary.end, Pts(0));
        return;
    }
    assert_eq!(frames[0].pts, Pts(0));
    let ends = frames.iter().map(|frame| frame.pts.0 + frame.duration_ms);
    let starts = frames.iter().skip(1).map(|frame| frame.pts.0).chain([summary.end.0]);
    assert!(ends.eq(starts), "{frames:?}");
    assert!(frames.iter().all(|frame| frame.duration_ms > 0));
    let route = |frame: &Frame| match &frame.what {
        What::Copy(_) => 0,
        What::Encode(_, PictureCodec::H264) => 1,
        What::Encode(..) => 2,
        What::Slate => 3,
    };
    assert!(frames.windows(2).all(|w| w[1].key || route(&w[0]) == route(&w[1])), "{frames:?}");
    let slates = frames.iter().filter(|frame| frame.what == What::Slate).count() as u64;
    let counts = summary.counts;
    assert_eq!((counts.slates, counts.shown), (slates, frames.len() as u64 - slates));
    assert_eq!(counts.received, counts.shown + counts.no_key_frame + counts.late);
}

fn slates(frames: &[Frame]) -> Vec<i64> {
    let slates = frames.iter().filter(|frame| frame.what == What::Slate);
    slates.map(|frame| frame.pts.0).collect()
}

fn shown(frames: &[Frame]) -> Vec<i64> {
    let shown = frames.iter().filter(|frame| frame.what != What::Slate);
    shown.map(|frame| frame.pts.0).collect()
}

fn span(start: i64, end: i64) -> Span {
    Span::new(Pts(start), Pts(end))
}

#[test]
fn a_plain_run_is_copied_as_it_came() {
    let mut play = Play::camera();
    play.run(0, 400);
    assert_eq!(play.track.last_end(), Pts(400));
    let (frames, summary) = play.finish(400);
    assert_eq!(frames.len(), 10);
    assert_eq!(frames[0], Frame { pts: Pts(0), duration_ms: 40, key: true, what: What::Copy(S720.key.clone()) });
    assert_eq!(frames[9], Frame { pts: Pts(360), duration_ms: 40, key: false, what: What::Copy(S720.delta.clone()) });
    assert_eq!(summary.missing, Missing::default());
}

#[test]
fn a_slate_stands_until_the_first_picture() {
    let mut play = Play::camera();
    play.run(4500, 4600);
    let (frames, summary) = play.finish(4620);
    assert_eq!(slates(&frames), [0, 2000, 4000]);
    assert_eq!(summary.missing.media, [span(0, 4500)]);
}

#[test]
fn a_track_without_pictures_is_slate() {
    let (frames, summary) = Play::camera().finish(5000);
    assert_eq!(slates(&frames), [0, 2000, 4000]);
    assert_eq!((summary.end, summary.missing.media), (Pts(5000), vec![span(0, 5000)]));
    assert_eq!(Play::camera().finish(0).0, []);
}

#[test]
fn a_camera_that_comes_back_with_a_key_frame_leaves_a_slate() {
    let mut play = Play::camera();
    play.run(0, 200).run(6000, 6100);
    let (frames, summary) = play.finish(6120);
    assert_eq!(slates(&frames), [1160, 3160, 5160]);
    assert_eq!(summary.missing.media, [span(200, 6000)]);
}

#[test]
fn a_stall_within_a_run_costs_no_picture() {
    let mut play = Play::camera();
    play.run(0, 200).deltas(6000, 6100);
    let (frames, summary) = play.finish(6120);
    assert!(slates(&frames).is_empty());
    assert_eq!(summary.counts.shown, 8);
    assert_eq!(frames[4].duration_ms, 6000 - 160);
    assert_eq!(summary.missing, Missing { media: vec![span(200, 6000)], key_frame: vec![] });
}

#[test]
fn short_stalls_are_no_gaps() {
    let mut play = Play::camera();
    play.run(0, 200).run(1160, 1300);
    let (frames, summary) = play.finish(1320);
    assert_eq!((slates(&frames), summary.missing), (vec![], Missing::default()));
}

#[test]
fn a_camera_switched_off_ends_as_a_slate() {
    let mut play = Play::camera();
    play.run(0, 200);
    let (frames, summary) = play.finish(4000);
    assert_eq!(slates(&frames), [1160, 3160]);
    assert_eq!(frames.last().map(|f| f.duration_ms), Some(840));
    assert_eq!(summary.missing.media, [span(200, 4000)]);
}

#[test]
fn pictures_before_a_key_frame_are_a_gap() {
    let mut play = Play::camera();
    play.deltas(0, 400).run(400, 600);
    let (frames, summary) = play.finish(600);
    assert_eq!(slates(&frames), [0]);
    assert_eq!(summary.counts.no_key_frame, 10);
    assert_eq!(summary.missing, Missing { media: vec![span(0, 400)], key_frame: vec![span(0, 400)] });
}

#[test]
fn a_lost_connection_waits_for_a_key_frame() {
    let mut play = Play::camera();
    play.run(0, 200).lost().deltas(200, 400).run(400, 600);
    let (frames, summary) = play.finish(600);
    assert!(slates(&frames).is_empty());
    assert_eq!(frames[4].duration_ms, 400 - 160);
    assert_eq!(summary.missing, Missing { media: vec![span(200, 400)], key_frame: vec![span(200, 400)] });
}

#[test]
fn without_a_key_frame_the_gap_lasts_to_the_end() {
    let mut play = Play::camera();
    play.run(0, 200).lost().deltas(200, 3000);
    let (frames, summary) = play.finish(3000);
    assert_eq!(slates(&frames), [1160]);
    assert_eq!(summary.missing.key_frame, [span(200, 3000)]);
}

#[test]
fn a_new_sps_waits_for_its_key_frame() {
    // On its own, or with a picture that is none.
    let with_picture = Bytes::from([&S1080.sets[..], &S1080.delta].concat());
    for sps in [&S1080.sets, &with_picture] {
        let mut play = Play::camera();
        play.run(0, 80).push(80, sps).push(120, &S1080.delta).push(160, &S1080.key).push(200, &S1080.delta);
        let (frames, summary) = play.finish(240);
        assert_eq!(shown(&frames), [0, 40, 160, 200]);
        assert_eq!(summary.missing.key_frame.last().map(|gap| gap.end), Some(Pts(160)));
    }
    // The same one again says nothing new.
    let mut play = Play::camera();
    play.run(0, 80).push(80, &S720.sets).deltas(120, 200);
    let (frames, summary) = play.finish(200);
    assert_eq!(shown(&frames), [0, 40, 120, 160]);
    assert_eq!((summary.counts.no_key_frame, summary.counts.no_picture), (0, 1));
}

#[test]
fn parameter_sets_sent_once_make_every_idr_a_key_frame() {
    let mut play = Play::camera();
    play.push(0, &S720.sets).push(1, &S720.idr).deltas(40, 200).lost().push(200, &S720.idr).deltas(240, 400);
    let (frames, summary) = play.finish(400);
    assert_eq!(shown(&frames)[..2], [1, 40]);
    let keys: Vec<_> = frames.iter().filter(|f| f.key && f.what != What::Slate).collect();
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|f| f.what == What::Copy(S720.key.clone())));
    assert_eq!(summary.counts.no_key_frame, 0);
}

#[test]
fn an_idr_without_parameter_sets_is_no_key_frame() {
    let mut play = Play::camera();
    play.push(0, &S720.idr).deltas(40, 80).run(80, 160);
    let (frames, summary) = play.finish(160);
    assert_eq!(shown(&frames), [80, 120]);
    assert_eq!(summary.counts.no_key_frame, 2);
}

#[test]
fn repeated_times_move_by_a_millisecond() {
    let mut play = Play::camera();
    play.run(0, 80).push(40, &S720.delta).push(40, &S720.delta).push(80, &S720.delta);
    let (frames, summary) = play.finish(120);
    assert_eq!(shown(&frames), [0, 40, 41, 42, 80]);
    assert_eq!(summary.counts.late, 0);
}

#[test]
fn a_message_of_many_pictures_shows_them_all() {
    let all = Bytes::from(HIGH_1280X720.repeat(2));
    let mut play = Play::camera();
    play.push(100, &all).push(140, &S720.delta);
    let (frames, summary) = play.finish(180);
    assert_eq!(shown(&frames), [100, 101, 102, 103, 140]);
    assert_eq!(summary.counts.split, 3);
}

#[test]
fn old_pictures_are_dropped() {
    let mut play = Play::camera();
    play.run(0, 400).push(200, &S720.delta).push(0, &S720.key).push(-500, &S720.key).deltas(400, 480);
    let (frames, summary) = play.finish(480);
    assert_eq!(shown(&frames), (0..480).step_by(40).collect::<Vec<_>>());
    assert_eq!(summary.counts.late, 3);
}

#[test]
fn a_key_frame_delivered_again_after_a_reconnect_keeps_what_follows() {
    let mut play = Play::camera();
    play.run(0, 400).lost().run(200, 600);
    let (frames, summary) = play.finish(600);
    // Ten pictures to 360, five that catch up, then each at its own time again.
    let expected = (0..400).step_by(40).chain(361..366).chain((400..600).step_by(40));
    assert_eq!(shown(&frames), expected.collect::<Vec<_>>());
    assert_eq!((summary.counts.late, summary.missing), (0, Missing::default()));
    // Too far back to be of use.
    let mut play = Play::camera();
    play.run(0, 8000).lost().run(200, 400);
    assert_eq!(play.finish(8000).1.counts.late, 1 + 4);
}

#[test]
fn the_canvas_decides_what_is_encoded_at_key_frames() {
    let play = |encode| {
        let mut play = Play::new(Mode::Camera, encode);
        for (i, sample) in [&S720, &S48, &S1080].into_iter().enumerate() {
            play.push(i as i64 * 80, &sample.key).push(i as i64 * 80 + 40, &sample.delta);
        }
        let (frames, _) = play.finish(240);
        frames.iter().map(|f| matches!(f.what, What::Copy(_))).collect::<Vec<_>>()
    };
    assert_eq!(play(EncodePolicy::Auto), [true, true, false, false, true, true]);
    assert_eq!(play(EncodePolicy::Copy), [true; 6]);
    assert_eq!(play(EncodePolicy::Always), [false; 6]);
}

#[test]
fn images_are_key_frames_and_encoded_whatever_was_announced() {
    let (jpeg, png) = (Bytes::from(jpeg(1280, 720)), Bytes::from(png(1280, 720)));
    let mut play = Play::new(Mode::Camera, EncodePolicy::Copy);
    play.push(0, &jpeg).push(200, &png).push(400, &jpeg.slice(..8));
    // After an image H.264 needs a key frame again.
    play.run(600, 680).push(680, &jpeg).deltas(720, 760).run(760, 800);
    let (frames, summary) = play.finish(800);
    assert_eq!(frames[0].what, What::Encode(jpeg.clone(), PictureCodec::Jpg));
    assert_eq!(frames[1].what, What::Encode(png, PictureCodec::Png));
    assert_eq!(shown(&frames), [0, 200, 600, 640, 680, 760]);
    assert_eq!((summary.counts.no_picture, summary.counts.no_key_frame), (1, 1));
}

#[test]
fn a_shared_screen_is_held_while_somebody_shares() {
    let mut play = Play::new(Mode::Share, EncodePolicy::Auto);
    play.run(0, 80).push(60_000, &S720.key);
    let (frames, summary) = play.finish(120_000);
    assert!(slates(&frames).is_empty());
    assert_eq!(summary.missing.media, [span(80, 60_000), span(60_040, 120_000)]);
}

#[test]
fn a_slate_follows_when_sharing_stops() {
    let mut play = Play::new(Mode::Share, EncodePolicy::Auto);
    play.run(0, 80);
    play.track.sharing_stopped(Pts(3000));
    // One that was still on its way.
    play.push(3100, &S720.delta);
    play.track.sharing_started(Pts(9000));
    play.push(9500, &S720.key);
    let (frames, _) = play.finish(20_000);
    assert_eq!(slates(&frames), [3140, 5140, 7140, 9140]);
    assert_eq!(shown(&frames), [0, 40, 3100, 9500]);
}

#[test]
fn sharing_again_without_the_mark_is_seen_by_its_pictures() {
    let mut play = Play::new(Mode::Share, EncodePolicy::Auto);
    play.run(0, 80);
    play.track.sharing_stopped(Pts(1000));
    play.push(9500, &S720.key);
    let (frames, _) = play.finish(20_000);
    assert_eq!(slates(&frames), [1000, 3000, 5000, 7000, 9000]);
    assert_eq!(frames.last().map(|f| f.duration_ms), Some(10_500));
}

#[test]
fn shared_images_once_a_second_are_no_holes() {
    let mut play = Play::new(Mode::Share, EncodePolicy::Auto);
    let jpeg = Bytes::from(jpeg(1280, 720));
    for i in 0..10 {
        play.push(i * 1010, &jpeg);
    }
    assert_eq!(play.track.last_end(), Pts(10_090));
    let (frames, summary) = play.finish(10_090);
    assert_eq!((slates(&frames), summary.missing), (vec![], Missing::default()));
}

#[test]
fn times_far_ahead_are_dropped() {
    let mut play = Play::camera();
    play.run(0, 80).push(i64::MAX, &S720.key).push(MAX_JUMP_MS + 41, &S720.key).push(80, &S720.delta);
    let (frames, summary) = play.finish(120);
    assert_eq!(shown(&frames), [0, 40, 80]);
    assert_eq!(summary.counts.bad_time, 2);
}

#[derive(Clone, Debug)]
enum Step {
    Push(i64, usize),
    Garbage(Vec<u8>),
    Lost,
    Started,
    Stopped,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (prop_oneof![8 => Just(40i64), 1 => -300i64..300, 1 => 0i64..9000], 0usize..9).prop_map(|(by, what)| Step::Push(by, what)),
        1 => prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x65), any::<u8>()], 0..40).prop_map(Step::Garbage),
        1 => Just(Step::Lost),
        1 => Just(Step::Started),
        1 => Just(Step::Stopped),
    ];
    prop::collection::vec(step, 0..60)
}

fn play_steps(mode: Mode, encode: EncodePolicy, steps: &[Step], end: i64) -> (Vec<Frame>, Summary, Pts) {
    let mut play = Play::new(mode, encode);
    let (image, other) = (Bytes::from(jpeg(1280, 720)), Bytes::from(png(640, 480)));
    let mut now = 0;
    for step in steps {
        match step {
            Step::Push(by, what) => {
                now += by;
                let all =
                    [&S720.key, &S720.delta, &S720.delta, &S720.idr, &S1080.sets, &S48.key, &S48.delta, &image, &other];
                play.push(now, all[*what]);
            }
            Step::Garbage(data) => {
                play.push(now, &Bytes::copy_from_slice(data));
            }
            Step::Lost => {
                play.lost();
            }
            Step::Started => play.track.sharing_started(Pts(now)),
            Step::Stopped => play.track.sharing_stopped(Pts(now)),
        }
    }
    let last_end = play.track.last_end();
    let (frames, summary) = play.finish(end.max(last_end.0));
    (frames, summary, last_end)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn tracks_have_no_holes_and_last_as_long_as_they_should(steps in steps(), share: bool, encode in 0usize..3, end in 0i64..30_000) {
        let mode = if share { Mode::Share } else { Mode::Camera };
        let encode = [EncodePolicy::Auto, EncodePolicy::Copy, EncodePolicy::Always][encode];
        let (_, summary, last_end) = play_steps(mode, encode, &steps, end);
        prop_assert_eq!(summary.end, Pts(end).max(last_end));
        for gaps in [&summary.missing.media, &summary.missing.key_frame] {
            prop_assert!(gaps.iter().all(|gap| gap.start < gap.end && gap.end <= summary.end));
            prop_assert!(gaps.windows(2).all(|w| w[0].end <= w[1].start));
        }
    }

    #[test]
    fn any_times_do_no_harm(times in prop::collection::vec((any::<i64>(), 0usize..3), 0..20), end: i64) {
        let mut play = Play::camera();
        for (pts, what) in times {
            play.push(pts, [&S720.key, &S720.delta, &S720.sets][what]);
            play.push(pts % 10_000, [&S720.key, &S720.delta, &S720.sets][what]);
        }
        play.finish(end);
    }
}
