//! Pictures that are late, split, lost, or of no use to a decoder: what each costs, and what comes after it.

use super::*;
use serde_json::{Value, json};

#[test]
fn a_change_without_a_key_frame_waits_for_one() {
    // Pictures come before the first key frame; later an SPS changes without one.
    let clip = Clip::get(Look::default());
    let other = Clip::get(Look { colour: 0xa0_40_20, profile: "main", ..Look::default() });
    let mut script = Script::connected_to(&["audio", "video"]);
    let when = steady(0, 5000, 25);
    for (n, &at) in when.iter().enumerate() {
        script.picture("video", at, &clip.pictures[n + 10]);
    }
    // From the middle of the other's run, behind its parameter sets.
    let key = &other.pictures[0];
    let slice = key.windows(5).position(|window| window[..4] == [0, 0, 0, 1] && window[4] & 0x1f == 6);
    let slice = slice.or_else(|| key.windows(4).position(|window| window[..3] == [0, 0, 1] && window[3] & 0x1f == 5));
    let sets = key[..slice.expect("a slice")].to_vec();
    let later = steady(5000, 10_000, 25);
    for (n, &at) in later.iter().enumerate() {
        let unit = &other.pictures[n + 5];
        let unit = if n == 0 { [sets.as_slice(), unit.as_slice()].concat() } else { unit.clone() };
        script.picture("video", at, &unit);
    }
    sound(&mut script, 10_000, &[]);
    let rendered = script.render(&settings());
    // The next key frame is number 25 of each clip: its first flash.
    assert_eq!(gaps(&rendered.manifest, &TrackKey::Camera), [(0, 600), (5000, 5800)]);
    assert!(rendered.manifest.gaps.iter().all(|gap| gap.cause == GapCause::NoKeyFrame), "{:?}", rendered.manifest.gaps);
    assert!(!rendered.manifest.complete);
    assert_adds_up(&rendered, 40.0);
    let file = rendered.file("recording.mp4");
    let all = pictures(&file);
    assert!(shown_at(&all, 599).is_black() && shown_at(&all, 600).is_white());
    assert!(shown_at(&all, 5799).is(clip.look.colour) && shown_at(&all, 5840).is(other.look.colour));
    let sent: Vec<_> =
        clip.pictures[25..135].iter().chain(&other.pictures[25..130]).flat_map(|unit| slices_of(unit)).collect();
    assert_eq!(assert_copied(&file, &sent), 1, "one slate");
}

#[test]
fn split_units_and_parameter_sets_that_come_once() {
    let clip = Clip::get(Look::default());
    let mut script = Script::connected_to(&["audio", "video"]);
    // Off in between, so that a slate with sets of its own comes before the second half.
    let when: Vec<i64> = steady(0, 5000, 25).into_iter().chain(steady(9000, 14_000, 25)).collect();
    let mut shown = Vec::new();
    for (n, &at) in when.iter().enumerate() {
        let unit = &clip.pictures[n % 250];
        shown.push(Shown { at, index: n % 250, flash: clip.is_flash(n % 250) });
        let idr = unit.windows(4).position(|window| window[..3] == [0, 0, 1] && window[3] & 0x1f == 5);
        let unit = match idr {
            Some(idr) if n > 0 => [&[0], &unit[idr..]].concat(),
            _ => unit.clone(),
        };
        if n % 3 == 1 {
            // In two messages; the second begins in the middle.
            let (one, two) = unit.split_at(unit.len() * 2 / 3);
            script.picture("video", at, one);
            script.picture("video", at, two);
        } else {
            script.picture("video", at, &unit);
        }
    }
    sound(&mut script, 14_000, &flashes(&shown));
    let rendered = script.render(&settings());
    assert_eq!(gaps(&rendered.manifest, &TrackKey::Camera), [(5000, 9000)]);
    assert!(rendered.manifest.complete);
    assert_adds_up(&rendered, 40.0);
    assert_in_sync("split units, sets once", &rendered, &flashes(&shown));
    let slates = assert_copied(&rendered.file("recording.mp4"), &slices(&clip, &shown));
    assert!(slates >= 2, "{slates}");
    assert!(shown_at(&pictures(&rendered.file("recording.mp4")), 8000).is_black());
}

#[test]
fn a_stall_within_a_run_costs_no_picture() {
    let clip = Clip::get(Look { gop: 250, ..Look::default() });
    let mut script = Script::connected_to(&["audio", "video"]);
    let when: Vec<i64> = steady(0, 4000, 25).into_iter().chain(steady(9000, 14_000, 25)).collect();
    let shown = script.pictures("video", &clip, &when);
    sound(&mut script, 14_000, &flashes(&shown));
    let rendered = script.render(&settings());
    assert_eq!(gaps(&rendered.manifest, &TrackKey::Camera), [(4000, 9000)]);
    assert!(rendered.manifest.complete);
    assert_adds_up(&rendered, 40.0);
    let file = rendered.file("recording.mp4");
    assert_eq!(assert_copied(&file, &slices(&clip, &shown)), 0, "no slate, it would break what follows");
    assert!(times(&file) == when);
    assert!(shown_at(&pictures(&file), 8999).is(clip.look.colour), "held");
    assert_in_sync("stall", &rendered, &flashes(&shown));
}

#[test]
fn a_lost_connection_waits_for_a_key_frame() {
    let clip = Clip::get(Look::default());
    let mut script = Script::connected_to(&["audio", "video"]);
    let when: Vec<i64> = steady(0, 5000, 25).into_iter().chain(steady(8200, 14_000, 25)).collect();
    let shown = script.pictures("video", &clip, &when);
    script.lost(5000, "video");
    script.connected(8100, "video");
    sound(&mut script, 14_000, &[]);
    let rendered = script.render(&settings());
    // The first picture after it is number 125, a key frame; with 20 pictures lost it would not be.
    assert_eq!(gaps(&rendered.manifest, &TrackKey::Camera), [(5000, 8200)]);
    assert_eq!(rendered.manifest.gaps[0].cause, GapCause::Connection);
    assert!(!rendered.manifest.complete);
    assert_adds_up(&rendered, 40.0);
    assert_copied(&rendered.file("recording.mp4"), &slices(&clip, &shown));
}

#[test]
fn pictures_that_the_disk_did_not_take_are_missed_until_the_next_key_frame() {
    let clip = Clip::get(Look::default());
    let mut script = Script::connected_to(&["audio", "video"]);
    let when: Vec<i64> = steady(0, 5200, 25).into_iter().chain(steady(8200, 14_000, 25)).collect();
    script.pictures("video", &clip, &when);
    script.not_written(5200, 8100);
    sound(&mut script, 14_000, &[]);
    let rendered = script.render(&settings());
    // The first picture after it is number 130: it and the 19 that follow may refer to what was lost.
    let gaps: Vec<_> = rendered.manifest.gaps.iter().filter(|gap| gap.track == TrackKey::Camera).collect();
    let shown: Vec<_> = gaps.iter().map(|gap| (gap.start.0, gap.end.0, gap.cause)).collect();
    assert_eq!(shown, [(5200, 9000, GapCause::Disk)]);
    assert!(!rendered.manifest.complete);
}

/// An SPS (baseline, 8 bits) that claims pictures of `width` x `height`, with a start code.
fn sps(width: u32, height: u32) -> Vec<u8> {
    let ue = |value: u32| {
        let digits = format!("{:b}", value + 1);
        "0".repeat(digits.len() - 1) + &digits
    };
    // Set id, frame number, order by decoding, one reference; the size; progressive, no cropping, no more; stop bit.
    let mut bits = [ue(0), ue(0), ue(2), ue(1), "0".into(), ue(width / 16 - 1), ue(height / 16 - 1)].concat() + "11001";
    while !bits.len().is_multiple_of(8) {
        bits.push('0');
    }
    let bytes =
        bits.as_bytes().chunks(8).map(|byte| byte.iter().fold(0, |value, bit| value << 1 | u8::from(*bit == b'1')));
    [0, 0, 0, 1, 0x67, 66, 0, 51].into_iter().chain(bytes).collect()
}

/// Four seconds of pictures that claim this size, then eight of good ones.
fn with_refused_pictures(width: u32, height: u32) -> (Rendered, Vec<i64>) {
    let clip = Clip::get(Look { width: 120, height: 90, ..Look::default() });
    let mut script = Script::connected_to(&["audio", "video"]);
    for at in steady(0, 4000, 25) {
        let slice = [0, 0, 0, 1, 0x68, 0xce, 0x38, 0x80, 0, 0, 0, 1, 0x65, 0x88, 0x80, 0x10];
        script.picture("video", at, &[sps(width, height), slice.to_vec()].concat());
    }
    let flashes = flashes(&script.pictures("video", &clip, &steady(4000, 12_000, 25)));
    sound(&mut script, 12_000, &flashes);
    (script.render(&settings()), flashes)
}

/// What ffmpeg refuses costs itself and nothing else: neither the rendering nor the pictures after it.
#[test]
fn pictures_that_no_decoder_takes_leave_the_rest_whole() {
    // Square: to be encoded.
    let (rendered, flashes) = with_refused_pictures(16_384, 16_384);
    assert_adds_up(&rendered, 40.0);
    assert_in_sync("refused pictures", &rendered, &flashes);
    assert_eq!(gaps(&rendered.manifest, &TrackKey::Camera), [(0, 4000)]);
    assert!(rendered.manifest.gaps.iter().all(|gap| gap.cause == GapCause::NoKeyFrame));
    assert!(!rendered.manifest.complete);
    let timeline: Value = serde_json::from_slice(&std::fs::read(rendered.file("timeline.json")).unwrap()).unwrap();
    let expected = json!([{"track": "video", "start_ms": 0, "end_ms": 4000, "why": "undecodable", "packets": 100}]);
    assert_eq!(timeline["unusable"], expected);
    assert_eq!(timeline["dropped"][0]["undecodable"], 100);
    assert!(shown_at(&pictures(&rendered.file("recording.mp4")), 2000).is_black());
    // Wide: copied as they came, whatever a player will say.
    let (rendered, _) = with_refused_pictures(16_384, 9216);
    assert_eq!(rendered.manifest.duration_ms, 12_000);
}

/// A time that cannot be right is not used, and it is told when that was.
#[test]
fn packets_of_another_time_are_left_out_and_listed() {
    let clip = Clip::get(Look::default());
    let mut script = Script::connected_to(&["audio", "video"]);
    let shown = script.pictures("video", &clip, &steady(0, 5000, 25));
    script.misplaced("video", 4990, 7_200_000, &clip.pictures[1]);
    script.pictures("video", &clip, &steady(5000, 8000, 25));
    sound(&mut script, 8000, &flashes(&shown));
    let rendered = script.render(&settings());
    assert_eq!((rendered.manifest.duration_ms, rendered.manifest.complete), (8000, false));
    assert_eq!(rendered.manifest.incomplete_because, ["1 packet of video had a time that cannot be right."]);
    let timeline: Value = serde_json::from_slice(&std::fs::read(rendered.file("timeline.json")).unwrap()).unwrap();
    let listed = &timeline["unusable"][0];
    assert_eq!(
        (&listed["track"], &listed["why"], &listed["packets"]),
        (&json!("video"), &json!("bad_time"), &json!(1))
    );
    // It is noticed when the next one speaks against it.
    let at = listed["start_ms"].as_i64().expect("a time");
    assert!((4990..5100).contains(&at), "{listed}");
}
