//! Pictures on the timeline, measured in decoded files: when each is shown, what is shown when none comes, and that what
//! is copied is copied bit for bit.

#[path = "common/script.rs"]
mod script;
#[path = "common/truth.rs"]
mod truth;

use rtms_recorder::media::{GapCause, TrackKey};
use rtms_recorder::render::Settings;
use rtms_recorder::timeline::clock::PausePolicy;
use rtms_recorder::timeline::picture::EncodePolicy;
use script::{Clip, Look, Rendered, Script, Shown, Sound, ZERO, flashes, settings, steady};
use serde_json::{Value, json};
use truth::{assert_adds_up, assert_copied, beeps, gaps, largest_offset, pictures, shown_at, slices_of, span};

/// The largest distance of sound from picture that is allowed.
const OFFSET_MS: f64 = 40.0;
/// Copied pictures have the times that they were sent with.
const EXACT_MS: f64 = 1.0;

fn slices(clip: &Clip, shown: &[Shown]) -> Vec<Vec<u8>> {
    shown.iter().flat_map(|picture| slices_of(&clip.pictures[picture.index])).collect()
}

/// Sound for as long as the recording is, beeping with each flash.
fn sound(script: &mut Script, to: i64, flashes: &[i64]) {
    script.sound(0, to, &Sound { packet_ms: 20, beeps: flashes, ..Sound::default() });
    script.ended(to);
}

/// Every flash and every beep is where it was sent; returns the largest offset of one from the other.
fn assert_in_sync(name: &str, rendered: &Rendered, sent: &[i64]) -> f64 {
    let file = rendered.file("recording.mp4");
    let seen = truth::flashes(&pictures(&file));
    let heard = beeps(&truth::sound(&file));
    let (see, hear) = (largest_offset("flashes", &seen, sent), largest_offset("beeps", &heard, sent));
    let offset = seen.iter().zip(&heard).map(|(seen, heard)| (seen - heard).abs()).fold(0.0, f64::max);
    println!("MEASURED {name}: A/V offset {offset:.2} ms over {} beeps (flash {see:.2}, beep {hear:.2})", sent.len());
    assert!(offset <= OFFSET_MS && see <= EXACT_MS && hear <= 5.0, "{name}: {offset} {see} {hear}");
    offset
}

fn times(file: &std::path::Path) -> Vec<i64> {
    pictures(file).iter().map(|picture| picture.at.round() as i64).collect()
}

#[test]
fn a_camera_that_goes_off_and_on_twenty_times() {
    let clip = Clip::get(Look::default());
    let mut script = Script::connected_to(&["audio", "video"]);
    let (mut at, mut shown, mut off) = (0, Vec::new(), Vec::new());
    for pause in [1000, 2000, 3000, 4000, 5000, 7020, 9060, 12_340, 15_000, 20_000, 25_000, 30_000, 35_000, 40_000]
        .into_iter()
        .chain([50_000, 60_000, 75_000, 90_000, 105_000, 120_000])
    {
        shown.extend(script.pictures("video", &clip, &steady(at, at + 4000, 25)));
        at += 4000;
        off.push((at, at + pause));
        at += pause;
    }
    shown.extend(script.pictures("video", &clip, &steady(at, at + 4000, 25)));
    at += 4000;
    sound(&mut script, at, &flashes(&shown));
    let rendered = script.render(&settings());
    assert_eq!(gaps(&rendered.manifest, &TrackKey::Camera), off);
    assert!(rendered.manifest.gaps.iter().all(|gap| gap.cause == GapCause::NotSent));
    assert!(rendered.manifest.complete);
    assert_eq!(rendered.manifest.duration_ms, at as u64);
    assert_adds_up(&rendered, 40.0);
    assert_in_sync("camera off and on", &rendered, &flashes(&shown));
    let file = rendered.file("recording.mp4");
    let all = pictures(&file);
    for (from, to) in off {
        // Held for a second, black then, and back at once.
        assert!(shown_at(&all, from + 900).is(clip.look.colour), "{from}");
        if to - from > 1000 {
            assert!(shown_at(&all, from + 1001).is_black() && shown_at(&all, to - 1).is_black(), "{from}");
        }
        let back = shown_at(&all, to);
        assert!(back.is(clip.look.colour) && back.is_key && (back.at - to as f64).abs() < EXACT_MS, "{to}");
    }
    let slates = assert_copied(&file, &slices(&clip, &shown));
    assert_eq!(slates, all.iter().filter(|picture| picture.is_black()).count());
    let copied: Vec<i64> = all.iter().filter(|p| !p.is_black()).map(|p| p.at.round() as i64).collect();
    assert!(copied == shown.iter().map(|picture| picture.at).collect::<Vec<_>>(), "each at its own time");
}

#[test]
fn a_camera_that_comes_late_or_goes_early() {
    let clip = Clip::get(Look::default());
    let mut script = Script::connected_to(&["audio", "video"]);
    let shown = script.pictures("video", &clip, &steady(20_007, 30_007, 25));
    sound(&mut script, 45_000, &flashes(&shown));
    let rendered = script.render(&settings());
    assert_eq!(gaps(&rendered.manifest, &TrackKey::Camera), [(0, 20_007), (30_007, 45_000)]);
    assert_eq!(rendered.manifest.duration_ms, 45_000);
    assert_adds_up(&rendered, 40.0);
    assert_in_sync("late camera", &rendered, &flashes(&shown));
    let all = pictures(&rendered.file("recording.mp4"));
    assert!(all[0].at == 0.0 && all[0].is_key);
    assert!(shown_at(&all, 0).is_black() && shown_at(&all, 20_006).is_black());
    assert!(shown_at(&all, 20_007).is(clip.look.colour) && shown_at(&all, 30_500).is(clip.look.colour));
    assert!(shown_at(&all, 31_200).is_black() && shown_at(&all, 45_000).is_black());
    assert_copied(&rendered.file("recording.mp4"), &slices(&clip, &shown));
}

#[test]
fn a_camera_behind_its_lid_gives_the_poster_to_the_shared_screen() {
    let dark = Clip::get(Look { width: 640, height: 360, colour: 0, flash_every: 1000, ..Look::default() });
    let slide = script::run_ffmpeg(
        "-f lavfi -i testsrc=s=640x360 -frames:v 1 -pix_fmt yuvj420p -q:v 4 -c:v mjpeg -f mjpeg pipe:1",
    );
    let slides = Clip { look: Look { codec: "mjpeg", ..Look::default() }, pictures: vec![slide; 25] };
    let poster = |with_slides: bool| {
        let mut script = Script::connected_to(&["audio", "video", "share"]);
        script.pictures("video", &dark, &steady(0, 5000, 25));
        if with_slides {
            script.pictures("share", &slides, &steady(0, 5000, 5));
        }
        sound(&mut script, 5000, &[]);
        std::fs::read(script.render(&settings()).file("poster.jpg")).unwrap().len()
    };
    let (alone, beside) = (poster(false), poster(true));
    assert!(alone < 2000 && beside > 2 * alone, "{alone} {beside}");
}

#[test]
fn sound_only_picture_only_and_nothing() {
    let mut script = Script::connected_to(&["audio", "video"]);
    sound(&mut script, 5000, &[1000]);
    let rendered = script.render(&settings());
    let names = |rendered: &Rendered| rendered.manifest.objects.iter().map(|o| o.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&rendered), ["audio.m4a", "timeline.json", "index.html"]);
    assert_eq!(rendered.manifest.tracks.len(), 1);
    assert_eq!((rendered.manifest.duration_ms, rendered.manifest.complete), (5000, true));
    assert_adds_up(&rendered, 64.0);

    let clip = Clip::get(Look::default());
    let mut script = Script::connected_to(&["audio", "video"]);
    let shown = script.pictures("video", &clip, &steady(0, 5000, 25));
    script.ended(5000);
    let rendered = script.render(&settings());
    assert_eq!(names(&rendered), ["recording.mp4", "poster.jpg", "timeline.json", "index.html"]);
    assert_eq!((rendered.manifest.duration_ms, rendered.manifest.complete), (5000, true));
    assert_eq!(rendered.manifest.gaps, []);
    assert_adds_up(&rendered, 40.0);
    let file = rendered.file("recording.mp4");
    assert_eq!(assert_copied(&file, &slices(&clip, &shown)), 0);
    largest_offset("flashes", &truth::flashes(&pictures(&file)), &flashes(&shown));

    let mut script = Script::connected_to(&["audio", "video"]);
    script.ended(5000);
    let rendered = script.render(&settings());
    let manifest = &rendered.manifest;
    assert_eq!(
        (names(&rendered), manifest.tracks.len(), manifest.gaps.len()),
        (vec!["timeline.json".into(), "index.html".into()], 0, 0)
    );
    assert_eq!((manifest.duration_ms, manifest.zero_at, manifest.complete), (0, None, true));
    assert_eq!(manifest.stop_reason.as_ref().and_then(|reason| reason.code), Some(6));
    assert!(rendered.file("manifest.json").exists());
}

#[test]
fn frame_rates_that_change() {
    let clip = Clip::get(Look { count: 600, flash_every: 40, ..Look::default() });
    let mut script = Script::connected_to(&["audio", "video"]);
    let mut at = 0;
    let mut when = Vec::new();
    for fps in [25, 5, 30, 7, 15, 29, 5, 6, 24, 10] {
        when.extend(steady(at, at + 3000, fps));
        at += 3000;
    }
    let shown = script.pictures("video", &clip, &when);
    sound(&mut script, at, &flashes(&shown));
    let rendered = script.render(&settings());
    assert_eq!(rendered.manifest.gaps, []);
    assert_adds_up(&rendered, 100.0);
    assert_in_sync("changing rates", &rendered, &flashes(&shown));
    let file = rendered.file("recording.mp4");
    assert!(times(&file) == when, "each at its own time");
    assert_eq!(assert_copied(&file, &slices(&clip, &shown)), 0);
}

/// A clip, and which of its pictures are shown when.
type ClipShown = (std::sync::Arc<Clip>, Vec<Shown>);

/// A speaker after the other, of different sizes.
fn speakers(policy: EncodePolicy) -> (Rendered, Vec<ClipShown>) {
    let looks = [
        Look { colour: 0xa0_20_20, width: 320, height: 180, ..Look::default() },
        // The same size with another SPS, then others, smaller, larger, portrait, nearly the canvas's shape.
        Look { colour: 0x20_a0_20, width: 320, height: 180, profile: "baseline", ..Look::default() },
        Look { colour: 0x20_20_a0, width: 160, height: 90, ..Look::default() },
        Look { colour: 0x90_90_20, width: 90, height: 160, ..Look::default() },
        Look { colour: 0x20_90_90, width: 640, height: 360, ..Look::default() },
        Look { colour: 0x90_20_90, width: 320, height: 240, ..Look::default() },
        Look { colour: 0xb0_60_20, width: 214, height: 120, profile: "main", ..Look::default() },
        Look { colour: 0x60_20_b0, width: 180, height: 320, profile: "main", ..Look::default() },
    ];
    let mut script = Script::connected_to(&["audio", "video"]);
    let (mut at, mut sent, mut beeps) = (0, Vec::new(), Vec::new());
    for look in looks {
        let clip = Clip::get(look);
        let shown = script.pictures("video", &clip, &steady(at, at + 3000, 25));
        beeps.extend(flashes(&shown));
        sent.push((clip, shown));
        at += 3000;
    }
    sound(&mut script, at, &beeps);
    let rendered = script.render(&Settings { video_encode: policy, ..settings() });
    assert_eq!(rendered.manifest.gaps, [], "{policy:?}");
    assert_eq!(rendered.manifest.duration_ms, at as u64);
    assert_adds_up(&rendered, 40.0);
    assert_in_sync(&format!("speakers, {policy:?}"), &rendered, &beeps);
    (rendered, sent)
}

fn is_copied(clip: &Clip, policy: EncodePolicy) -> bool {
    let shape = f64::from(clip.look.width) / f64::from(clip.look.height);
    match policy {
        EncodePolicy::Copy => true,
        EncodePolicy::Always => false,
        EncodePolicy::Auto => (shape / (16.0 / 9.0) - 1.0).abs() < 0.01,
    }
}

#[test]
fn speakers_of_every_shape() {
    for policy in [EncodePolicy::Auto, EncodePolicy::Copy, EncodePolicy::Always] {
        let (rendered, sent) = speakers(policy);
        let file = rendered.file("recording.mp4");
        let copied: Vec<_> = sent
            .iter()
            .filter(|(clip, _)| is_copied(clip, policy))
            .flat_map(|(clip, shown)| slices(clip, shown))
            .collect();
        let total: usize = sent.iter().map(|(_, shown)| shown.len()).sum();
        assert_eq!(assert_copied(&file, &copied), total - copied.len(), "{policy:?}");
        let when: Vec<i64> = sent.iter().flat_map(|(_, shown)| shown.iter().map(|picture| picture.at)).collect();
        assert!(times(&file) == when, "{policy:?}: each at its own time");
        let all = pictures(&file);
        for (clip, shown) in &sent {
            let Look { width, height, colour, .. } = clip.look;
            for picture in shown {
                let found = shown_at(&all, picture.at);
                let right = if picture.flash { found.is_white() } else { found.is(colour) };
                assert!(right, "{policy:?}: {width}x{height} at {}: {found:?}", picture.at);
                // Letterboxed, unless it is copied or fits.
                let narrow = f64::from(width) / f64::from(height) < 1.7;
                let black = found.left.iter().all(|&value| value < 24);
                assert_eq!(black, narrow && !is_copied(clip, policy), "{policy:?}: {width}x{height}: {found:?}");
            }
            // An encoder goes on from one to the next.
            let is_key = shown_at(&all, shown[0].at).is_key;
            assert!(is_key || !is_copied(clip, policy), "{policy:?}: {width}x{height}");
        }
    }
}

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

#[test]
fn images_in_place_of_h264() {
    for codec in ["mjpeg", "png"] {
        let clip = Clip::get(Look { codec, flash_every: 10, count: 50, width: 320, height: 180, ..Look::default() });
        let mut script = Script::connected_to(&["audio", "video"]);
        let when: Vec<i64> = steady(0, 8000, 5).into_iter().chain(steady(12_000, 15_000, 5)).collect();
        let shown = script.pictures("video", &clip, &when);
        sound(&mut script, 15_000, &flashes(&shown));
        let rendered = script.render(&settings());
        assert_eq!(gaps(&rendered.manifest, &TrackKey::Camera), [(8000, 12_000)], "{codec}");
        assert_adds_up(&rendered, 200.0);
        assert_in_sync(codec, &rendered, &flashes(&shown));
        let all = pictures(&rendered.file("recording.mp4"));
        for picture in &shown {
            let found = shown_at(&all, picture.at);
            assert!((found.at - picture.at as f64).abs() < EXACT_MS, "{codec} at {}", picture.at);
            assert!(if picture.flash { found.is_white() } else { found.is(clip.look.colour) }, "{codec}: {found:?}");
        }
        assert!(shown_at(&all, 8700).is(clip.look.colour) && shown_at(&all, 11_999).is_black(), "{codec}");
    }
}

#[test]
fn a_shared_screen_has_its_true_times() {
    for codec in ["mjpeg", "libx264"] {
        let (fps, flash_every) = if codec == "mjpeg" { (1, 5) } else { (10, 50) };
        let clip =
            Clip::get(Look { codec, flash_every, count: 250, gop: 20, width: 320, height: 180, ..Look::default() });
        let camera = Clip::get(Look::default());
        let mut script = Script::connected_to(&["audio", "video", "share"]);
        let seen = script.pictures("video", &camera, &steady(0, 60_000, 25));
        script.sharing(10_000, true);
        // A slide that stays for 12 s is held; between two shares there is nothing to see.
        let when: Vec<i64> = steady(10_300, 22_300, fps).into_iter().chain(steady(34_300, 40_300, fps)).collect();
        let first = script.pictures("share", &clip, &when);
        script.sharing(41_000, false);
        script.sharing(50_000, true);
        let second = script.pictures("share", &clip, &steady(50_200, 55_200, fps));
        script.sharing(56_000, false);
        sound(&mut script, 60_000, &flashes(&seen));
        let rendered = script.render(&settings());
        let interval = 1000 / fps;
        assert_adds_up(&rendered, interval as f64);
        assert_in_sync("camera beside a share", &rendered, &flashes(&seen));
        let file = rendered.file("screenshare.mp4");
        let all = pictures(&file);
        for picture in first.iter().chain(&second) {
            let found = shown_at(&all, picture.at);
            assert!((found.at - picture.at as f64).abs() < EXACT_MS, "{codec} at {}: {found:?}", picture.at);
            assert!(if picture.flash { found.is_white() } else { found.is(clip.look.colour) }, "{codec}: {found:?}");
        }
        let sent: Vec<i64> = flashes(&first).into_iter().chain(flashes(&second)).collect();
        let offset = largest_offset("flashes", &truth::flashes(&all), &sent);
        println!("MEASURED share, {codec}: {offset:.2} ms");
        assert!(shown_at(&all, 5000).is_black(), "nobody shares yet");
        assert!(shown_at(&all, 34_200).is(clip.look.colour), "held");
        assert!(shown_at(&all, 49_000).is_black() && shown_at(&all, 59_000).is_black(), "nobody shares");
        let share = gaps(&rendered.manifest, &TrackKey::Share);
        let [one, two, three] = [10_300, 34_300, 50_200];
        assert_eq!(share, [(0, one), (22_300, two), (40_300, three), (55_200, 60_000)], "{codec}");
        if codec == "libx264" {
            let both: Vec<Shown> = first.iter().chain(&second).copied().collect();
            assert_copied(&file, &slices(&clip, &both));
        }
    }
}

/// ffmpeg guesses the order of decoding of a track that has too few pictures to tell.
#[test]
fn tracks_of_a_few_pictures_are_as_long_as_they_should() {
    let clip = Clip::get(Look::default());
    for count in 1..=9 {
        let mut script = Script::connected_to(&["audio", "video", "share"]);
        script.pictures("video", &clip, &steady(0, count * 200, 5));
        script.pictures("share", &Clip::get(Look { codec: "mjpeg", ..Look::default() }), &steady(0, count * 200, 5));
        script.sound(0, count * 200, &Sound { packet_ms: 20, ..Sound::default() });
        script.ended(count * 200);
        let rendered = script.render(&settings());
        assert_adds_up(&rendered, 1.0);
        assert_eq!(times(&rendered.file("screenshare.mp4")).len() as i64, count);
    }
}

#[test]
fn pauses_are_cut_or_kept() {
    let clip = Clip::get(Look::default());
    for (policy, length) in [(PausePolicy::Cut, 20_000), (PausePolicy::Keep, 35_000)] {
        let mut script = Script::connected_to(&["audio", "video"]);
        let one = script.pictures("video", &clip, &steady(0, 10_000, 25));
        let two = script.pictures("video", &clip, &steady(25_000, 35_000, 25));
        let sent: Vec<i64> = flashes(&one).into_iter().chain(flashes(&two)).collect();
        let heard = Sound { beeps: &sent, ..Sound::default() };
        script.sound(0, 10_000, &heard);
        script.paused(10_000);
        script.goes_on(25_000);
        script.sound(25_000, 35_000, &heard);
        script.ended(35_000);
        let rendered = script.render(&Settings { paused: policy, ..settings() });
        assert_eq!(rendered.manifest.duration_ms, length, "{policy:?}");
        assert_adds_up(&rendered, 40.0);
        let listed: serde_json::Value =
            serde_json::from_slice(&std::fs::read(rendered.file("timeline.json")).unwrap()).unwrap();
        let end = if policy == PausePolicy::Cut { 10_000 } else { 25_000 };
        let pause = &listed["pauses"][0];
        assert_eq!((&pause["start_ms"], &pause["end_ms"]), (&10_000.into(), &end.into()), "{listed:#}");
        assert!(pause["from"].as_str() < pause["until"].as_str(), "{listed:#}");
        let cut = if policy == PausePolicy::Cut { 15_000 } else { 0 };
        let placed: Vec<i64> = sent.iter().map(|&at| if at > 10_000 { at - cut } else { at }).collect();
        assert_in_sync(&format!("pause, {policy:?}"), &rendered, &placed);
        let file = rendered.file("recording.mp4");
        let shown: Vec<Shown> = one.iter().chain(&two).copied().collect();
        assert_copied(&file, &slices(&clip, &shown));
        let all = pictures(&file);
        if policy == PausePolicy::Keep {
            for track in [TrackKey::Camera, TrackKey::Mix] {
                assert_eq!(gaps(&rendered.manifest, &track), [(10_000, 25_000)]);
            }
            assert!(rendered.manifest.gaps.iter().all(|gap| gap.cause == GapCause::Paused));
            assert!(shown_at(&all, 20_000).is_black());
            let mut ideal = heard.ideal(0, 35_000);
            ideal[10_000 * 16..25_000 * 16].fill(0);
            truth::assert_sounds_like(&file, &ideal);
        } else {
            assert_eq!(rendered.manifest.gaps, []);
            assert!(all.iter().all(|picture| !picture.is_black()));
            truth::assert_sounds_like(&file, &[heard.ideal(0, 10_000), heard.ideal(25_000, 35_000)].concat());
        }
        assert!(rendered.manifest.complete);
    }
}

#[test]
fn the_end_is_where_the_last_packet_ends() {
    let clip = Clip::get(Look::default());
    for (sound_to, pictures_to) in [(10_000, 9000), (9000, 10_000), (10_000, 9990), (5000, 12_000)] {
        let mut script = Script::connected_to(&["audio", "video"]);
        let shown = script.pictures("video", &clip, &steady(0, pictures_to, 25));
        script.sound(0, sound_to, &Sound::default());
        script.ended(15_000);
        let rendered = script.render(&settings());
        let end = sound_to.max(shown.last().expect("pictures").at + 40);
        assert_eq!(rendered.manifest.duration_ms, end as u64, "{sound_to} {pictures_to}");
        assert_eq!(rendered.manifest.zero_at.map(|zero| zero.0), Some(ZERO));
        assert_adds_up(&rendered, 40.0);
        let (_, end_of_pictures) = span(&rendered.file("recording.mp4"), "v:0");
        println!("MEASURED end: pictures {end_of_pictures:.1} of {end} ms");
    }
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
