//! Four hours of media with a sample clock beside Zoom's, rendered from generated journals and measured everywhere.

use crate::common::script::{Clip, Look, Script, Sound, flashes, settings, steady};
use crate::common::truth::{self, assert_adds_up, beeps, gaps, largest_offset, pictures};
use rtms_recorder::media::TrackKey;
use rtms_recorder::render::Settings;
use std::time::Instant;

const FOUR_HOURS: i64 = 4 * 3600 * 1000;
/// How far sound and picture may be apart, anywhere.
const OFFSET_MS: f64 = 20.0;

#[test]
fn four_hours_of_a_clock_500_ppm_off() {
    for ppm in [500.0, -500.0] {
        let sent: Vec<i64> = (0..FOUR_HOURS / 20_000).map(|n| n * 20_000 + 10_000).collect();
        let sound = Sound { ppm, packet_ms: 1000, beeps: &sent, ..Sound::default() };
        let mut script = Script::connected_to(&["audio"]);
        script.sound(0, FOUR_HOURS, &sound);
        let since = Instant::now();
        let rendered = script.render(&settings());
        let took = since.elapsed().as_secs_f64();
        assert_eq!(rendered.manifest.gaps, [], "{ppm}");
        assert!(rendered.manifest.complete);
        // The last packet reaches up to a packet beyond.
        let length = rendered.manifest.duration_ms as i64;
        assert!((-20..=1020).contains(&(length - FOUR_HOURS)), "{ppm}: {length}");
        assert_adds_up(&rendered, 64.0);
        let found = beeps(&truth::sound(&rendered.file("audio.m4a")));
        let offset = largest_offset("beeps", &found, &sent);
        println!(
            "MEASURED {ppm} ppm over 4 h: {} beeps, {offset:.2} ms off at most; rendered in {took:.1} s",
            sent.len()
        );
        assert!(offset < OFFSET_MS, "{ppm}: {offset}");
    }
}

#[test]
fn four_hours_of_sound_and_pictures_stay_in_sync() {
    // A flash a minute at 6 pictures a second; off for ten minutes in the third hour.
    let look = Look { width: 64, height: 36, flash_every: 360, count: 360, gop: 60, ..Look::default() };
    let clip = Clip::get(look);
    let (off, on) = (9_000_000, 9_600_000);
    let mut script = Script::connected_to(&["audio", "video"]);
    let mut shown = script.pictures("video", &clip, &steady(0, off, 6));
    shown.extend(script.pictures("video", &clip, &steady(on, FOUR_HOURS, 6)));
    let sent = flashes(&shown);
    script.sound(0, FOUR_HOURS, &Sound { ppm: 100.0, packet_ms: 100, beeps: &sent, ..Sound::default() });
    script.ended(FOUR_HOURS);
    let since = Instant::now();
    let rendered = script.render(&Settings { canvas: (64, 36), ..settings() });
    let took = since.elapsed().as_secs_f64();
    let camera = gaps(&rendered.manifest, &TrackKey::Camera);
    assert!(matches!(camera[..], [(from, to)] if (from - off).abs() <= 1 && to == on), "{camera:?}");
    assert_eq!(gaps(&rendered.manifest, &TrackKey::Mix), []);
    let length = rendered.manifest.duration_ms as i64;
    assert!((-20..=120).contains(&(length - FOUR_HOURS)), "{length}");
    assert_adds_up(&rendered, 1000.0 / 6.0);
    let file = rendered.file("recording.mp4");
    let seen = truth::flashes(&pictures(&file));
    let heard = beeps(&truth::sound(&file));
    let (see, hear) = (largest_offset("flashes", &seen, &sent), largest_offset("beeps", &heard, &sent));
    let offset = seen.iter().zip(&heard).map(|(seen, heard)| (seen - heard).abs()).fold(0.0, f64::max);
    println!(
        "MEASURED 4 h at 100 ppm: {} beeps, A/V offset {offset:.2} ms (flash {see:.2}, beep {hear:.2}); rendered in {took:.1} s",
        sent.len()
    );
    assert!(offset <= OFFSET_MS && see <= 1.0, "{offset} {see} {hear}");
}
