//! Pictures of every rate, size, shape and format, one after the other.

use super::*;
use rtms_recorder::timeline::picture::EncodePolicy;

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
