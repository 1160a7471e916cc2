//! When there is a picture and when there is none: cameras that are off, screens that are shared, pauses, and the end.

use super::*;
use crate::common::script::{self, ZERO};
use crate::common::truth::{self, span};
use rtms_recorder::timeline::clock::PausePolicy;

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
