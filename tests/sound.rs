//! Sound on the timeline, measured in decoded files: gaps, shortfalls, jitter, clocks, repeats, formats, participants.

use crate::common::script::{self, Clip, Look, Script, Sound, ZERO, settings, steady};
use crate::common::truth::{self, assert_adds_up, assert_sounds_like, beeps, gaps, impurity_db, largest_offset, sound};
use rtms_recorder::ids::UserId;
use rtms_recorder::media::{GapCause, TrackKey};

/// An AAC frame.
const FRAME_MS: f64 = 64.0;
/// Of pure tones; no packet is like the next.
const HZ: f64 = 997.0;

#[test]
fn gaps_become_silence_of_exactly_the_missing_samples() {
    let mut script = Script::connected_to(&["audio"]);
    let (mut at, mut ideal, mut expected, mut sent) = (0, Vec::new(), Vec::new(), Vec::new());
    for gap in [0, 45, 90, 400, 490, 3000, 600_000, 67] {
        if gap > 0 {
            expected.push((at, at + gap));
            ideal.resize(ideal.len() + gap as usize * 16, 0);
        }
        let from = at + gap;
        at = from + 2000;
        // One at once, one later.
        let these = [from, from + 1000];
        let sound = Sound { beeps: &these, ..Sound::default() };
        script.sound(from, at, &sound);
        ideal.extend(sound.ideal(from, at));
        sent.extend(these);
    }
    script.ended(at);
    let rendered = script.render(&settings());
    assert_eq!(gaps(&rendered.manifest, &TrackKey::Mix), expected);
    assert!(rendered.manifest.gaps.iter().all(|gap| gap.cause == GapCause::NotSent) && rendered.manifest.complete);
    assert_eq!(rendered.manifest.duration_ms, at as u64);
    assert_adds_up(&rendered, FRAME_MS);
    let audio = rendered.file("audio.m4a");
    let offset = largest_offset("beeps", &beeps(&sound(&audio)), &sent);
    println!("MEASURED gaps: offset {offset:.2} ms");
    assert!(offset < 5.0, "{offset}");
    assert_sounds_like(&audio, &ideal);
}

#[test]
fn a_shortfall_is_worked_off_and_leaves_no_offset() {
    for missing in [20, 39] {
        let mut script = Script::connected_to(&["audio"]);
        let sent: Vec<i64> = (0..60).map(|n| n * 1000 + 500).collect();
        let sound = Sound { beeps: &sent, ..Sound::default() };
        script.sound(0, 10_000, &sound);
        // The sender goes on later than it should.
        script.sound(10_000 + missing, 60_000 + missing, &sound);
        let rendered = script.render(&settings());
        assert_eq!(rendered.manifest.gaps, []);
        assert_adds_up(&rendered, FRAME_MS);
        let found = beeps(&truth::sound(&rendered.file("audio.m4a")));
        let all = largest_offset("beeps", &found, &sent);
        let late = largest_offset("beeps after 30 s", &found[40..], &sent[40..]);
        let length = rendered.manifest.duration_ms as f64 - (60_000 + missing) as f64;
        println!("MEASURED shortfall of {missing} ms: offset {all:.2} ms, later {late:.2} ms, length {length} ms");
        assert!(all < missing as f64 + 3.0 && late < 3.0, "{missing}: {all} {late}");
        assert!(length.abs() < 5.0, "{length}");
    }
}

#[test]
fn jitter_adds_neither_clicks_nor_drift() {
    let sent: Vec<i64> = (0..120).map(|n| n * 1000 + 500).collect();
    let tone = Sound { jitter_ms: 15, tone: Some((HZ, 12_000.0)), ..Sound::default() };
    let beeping = Sound { jitter_ms: 15, beeps: &sent, ..Sound::default() };
    let mut script = Script::connected_to(&["audio"]);
    script.sound(0, 60_000, &tone);
    let rendered = script.render(&settings());
    assert_eq!(rendered.manifest.gaps, []);
    let pure = truth::encoded(&tone.ideal(0, 60_000), 64_000);
    let samples = sound(&rendered.file("audio.m4a"));
    let reference = impurity_db(&pure, HZ, 0.1);
    let (near, far) = (impurity_db(&samples, HZ, 0.02), impurity_db(&samples, HZ, 0.1));
    println!("MEASURED jitter: {near:.1} dB beyond 2 %, {far:.1} dB beyond 10 %; the encoder alone {reference:.1} dB");
    assert!(near < -55.0 && far < reference + 6.0, "{near} {far} {reference}");

    let mut script = Script::connected_to(&["audio"]);
    script.sound(0, 120_000, &beeping);
    let rendered = script.render(&settings());
    assert_eq!(rendered.manifest.gaps, []);
    assert_adds_up(&rendered, FRAME_MS);
    assert!(rendered.manifest.duration_ms.abs_diff(120_000) <= 20, "{}", rendered.manifest.duration_ms);
    let found = beeps(&sound(&rendered.file("audio.m4a")));
    // Zero is the first packet's time, jitter and all.
    let zero = rendered.manifest.zero_at.expect("media").0 - ZERO;
    let sent: Vec<i64> = sent.iter().map(|beep| beep - zero).collect();
    let all = largest_offset("beeps", &found, &sent);
    let late = largest_offset("beeps after 30 s", &found[30..], &sent[30..]);
    println!("MEASURED jitter: offset {all:.2} ms, later {late:.2} ms");
    assert!(all <= 20.0 && late < 5.0, "{all} {late}");
}

#[test]
fn a_wrong_sample_clock_is_followed_without_a_step() {
    let mut reference = f64::NAN;
    for ppm in [0.0, 500.0, -500.0, 100.0] {
        let tone = Sound { ppm, tone: Some((HZ, 12_000.0)), ..Sound::default() };
        let mut script = Script::connected_to(&["audio"]);
        script.sound(0, 120_000, &tone);
        let rendered = script.render(&settings());
        assert_eq!(rendered.manifest.gaps, [], "{ppm}");
        assert!(rendered.manifest.duration_ms.abs_diff(120_000) <= 27, "{ppm}: {}", rendered.manifest.duration_ms);
        let samples = sound(&rendered.file("audio.m4a"));
        // Speed changes by 0.5 % at most, which spreads the tone a little; a step would be heard all over the spectrum.
        let (near, far) = (impurity_db(&samples, HZ, 0.02), impurity_db(&samples, HZ, 0.1));
        println!("MEASURED tone at {ppm} ppm: {near:.1} dB beyond 2 %, {far:.1} dB beyond 10 %");
        if ppm == 0.0 {
            reference = far;
        }
        assert!(near < -55.0 && far < reference + 6.0, "{ppm}: {near} dB, {far} dB; {reference} dB without");
    }
}

#[test]
fn sound_delivered_again_after_a_reconnect_is_used_once() {
    let sent: Vec<i64> = (0..60).map(|n| n * 1000 + 500).collect();
    let tone = Sound { beeps: &sent, ..Sound::default() };
    let mut script = Script::connected_to(&["audio"]);
    script.sound(0, 30_000, &tone);
    script.lost(30_000, "audio");
    script.connected(33_000, "audio");
    script.sound(25_000, 33_000, &Sound { burst: Some(33_000), ..tone.clone() });
    script.sound(33_000, 60_000, &tone);
    script.ended(60_000);
    let rendered = script.render(&settings());
    assert_eq!(rendered.manifest.gaps, []);
    assert!(rendered.manifest.complete);
    assert_eq!(rendered.manifest.tracks[0].dropped_ms, 5000);
    let timeline: serde_json::Value =
        serde_json::from_slice(&std::fs::read(rendered.file("timeline.json")).unwrap()).unwrap();
    let again = serde_json::json!([{"track": "audio", "start_ms": 25_000, "end_ms": 30_000}]);
    assert_eq!(timeline["repeated"], again);
    assert_adds_up(&rendered, FRAME_MS);
    assert_sounds_like(&rendered.file("audio.m4a"), &tone.ideal(0, 60_000));
}

#[test]
fn what_a_lost_connection_took_is_silence_with_that_cause() {
    let sent = [1000, 11_000, 19_000];
    let tone = Sound { beeps: &sent, ..Sound::default() };
    let mut script = Script::connected_to(&["audio"]);
    script.sound(0, 10_000, &tone);
    script.lost(10_000, "audio");
    script.connected(10_600, "audio");
    script.sound(10_700, 20_000, &tone);
    script.ended(20_000);
    let rendered = script.render(&settings());
    assert_eq!(gaps(&rendered.manifest, &TrackKey::Mix), [(10_000, 10_700)]);
    assert!(rendered.manifest.gaps[0].cause == GapCause::Connection && !rendered.manifest.complete);
    assert_adds_up(&rendered, FRAME_MS);
    let mut ideal = tone.ideal(0, 20_000);
    ideal[10_000 * 16..10_700 * 16].fill(0);
    assert_sounds_like(&rendered.file("audio.m4a"), &ideal);
}

#[test]
fn sound_from_before_the_connection_lands_where_it_belongs() {
    // The sound's connection comes about with that of the pictures, or two chunks later.
    for late in [100, 25_000] {
        let clip = Clip::get(Look::default());
        let mut script = Script::new();
        script.connected(59_000, "video");
        let shown = script.pictures("video", &clip, &steady(60_000, 120_000, 25));
        let sent = script::flashes(&shown);
        let all: Vec<i64> = [1000, 30_000].into_iter().chain(sent.iter().copied()).collect();
        let sound = Sound { beeps: &all, ..Sound::default() };
        script.connected(60_000 + late - 50, "audio");
        script.sound(0, 60_000 + late, &Sound { burst: Some(60_000 + late), ..sound.clone() });
        script.sound(60_000 + late, 120_000, &sound);
        script.ended(120_000);
        let rendered = script.render(&settings());
        assert_eq!(rendered.manifest.zero_at.map(|zero| zero.0), Some(ZERO), "{late}");
        assert_eq!(rendered.manifest.duration_ms, 120_000, "{late}");
        assert_eq!(gaps(&rendered.manifest, &TrackKey::Mix), []);
        assert_eq!(gaps(&rendered.manifest, &TrackKey::Camera), [(0, 60_000)]);
        assert_adds_up(&rendered, 40.0);
        let file = rendered.file("recording.mp4");
        assert_sounds_like(&file, &sound.ideal(0, 120_000));
        let pictures = truth::pictures(&file);
        assert!(pictures.iter().filter(|picture| picture.at < 59_999.0).all(|picture| picture.is_black()));
        let offset = largest_offset("flashes", &truth::flashes(&pictures), &sent);
        println!("MEASURED burst, {late} ms late: flashes {offset:.2} ms off");
        assert!(offset < 1.0, "{offset}");
    }
}

#[test]
fn every_rate_and_both_channel_counts_end_up_right() {
    let sent: Vec<i64> = (0..8).map(|n| n * 1000 + 500).filter(|&at| at != 4500).collect();
    for (code, rate) in [(0, 8000), (1, 16_000), (2, 32_000), (3, 48_000)] {
        for channels in [1, 2] {
            let sound = Sound { rate, channels, beeps: &sent, ..Sound::default() };
            let mut script = Script::new();
            let params = format!(
                r#""audio":{{"content_type":2,"sample_rate":{code},"channel":{channels},"codec":1,"data_opt":1,"send_rate":20}}"#
            );
            script.connected_with(-500, "audio", &params);
            script.sound(0, 4000, &sound);
            script.sound(5000, 8000, &sound);
            let rendered = script.render(&settings());
            assert_eq!(rendered.manifest.duration_ms, 8000, "{rate} {channels}");
            assert_eq!(gaps(&rendered.manifest, &TrackKey::Mix), [(4000, 5000)], "{rate} {channels}");
            assert_adds_up(&rendered, FRAME_MS);
            let found = beeps(&truth::sound(&rendered.file("audio.m4a")));
            let offset = largest_offset("beeps", &found, &sent);
            println!("MEASURED {rate} Hz, {channels} channels: offset {offset:.2} ms");
            assert!(offset < 2.0, "{rate} {channels}: {offset}");
        }
    }
}

fn multi() -> Script {
    let mut script = Script::new();
    let params = r#""audio":{"content_type":2,"sample_rate":1,"channel":1,"codec":1,"data_opt":2,"send_rate":20}"#;
    script.connected_with(-500, "audio", params);
    script
}

#[test]
fn participants_are_mixed_by_a_saturating_sum_and_kept_apart() {
    // Two are loud enough to clip; a third falls silent, and speaks again after a gap.
    let people = [
        (101, "Ada", 300.0, 14_000.0, vec![(0, 20_000)]),
        (102, "Grace", 700.0, 14_000.0, vec![(5000, 15_000)]),
        (103, "Barbara", 1100.0, 12_000.0, vec![(8000, 12_000), (14_000, 18_000)]),
    ];
    let mut script = multi();
    let mut mix = vec![0_i32; 20_000 * 16];
    let mut alone = Vec::new();
    for (id, name, hz, amplitude, spans) in &people {
        let sound = Sound { user: Some((*id, name)), tone: Some((*hz, *amplitude)), ..Sound::default() };
        let mut own = vec![0_i16; 20_000 * 16];
        for &(from, to) in spans {
            script.sound(from, to, &sound);
            own[from as usize * 16..to as usize * 16].copy_from_slice(&sound.ideal(from, to));
        }
        for (sum, sample) in mix.iter_mut().zip(&own) {
            *sum += i32::from(*sample);
        }
        alone.push(own);
    }
    let rendered = script.render(&settings());
    let limit = |sum: &i32| (*sum).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
    assert!(mix.iter().any(|sum| i32::from(limit(sum)) != *sum), "something is clipped");
    assert_sounds_like(&rendered.file("audio.m4a"), &mix.iter().map(limit).collect::<Vec<i16>>());
    for ((id, name, ..), own) in people.iter().zip(&alone) {
        let key = TrackKey::Participant(UserId::new(id.to_string()));
        assert!(rendered.manifest.tracks.iter().any(|track| track.track == key));
        assert_sounds_like(&rendered.file(&format!("participants/{id}-{name}.m4a")), own);
    }
    let third = TrackKey::Participant(UserId::new("103"));
    assert_eq!(gaps(&rendered.manifest, &third), [(0, 8000), (12_000, 14_000), (18_000, 20_000)]);
    assert_eq!(gaps(&rendered.manifest, &TrackKey::Mix), []);
    assert_adds_up(&rendered, FRAME_MS);
}

#[test]
fn a_hundred_participants_do_not_mean_a_hundred_children() {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
    let mut script = multi();
    let names: Vec<String> = (0..100).map(|n| format!("P{n}")).collect();
    for n in 0..100_i64 {
        // Three at a time.
        let sound = Sound {
            user: Some((1000 + n as u32, &names[n as usize])),
            tone: Some((200.0 + 30.0 * n as f64, 6000.0)),
            packet_ms: 100,
            ..Sound::default()
        };
        script.sound(n * 300, n * 300 + 900, &sound);
    }
    let dir = tempfile::tempdir().expect("a directory");
    let journal = script.write(dir.path());
    let path = dir.path().to_str().expect("text").to_owned();
    let (done, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    let rendered = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(SeqCst) {
                most.fetch_max(children(&path), SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
        });
        let rendered = script::render_journal(&settings(), &journal, dir);
        done.store(true, SeqCst);
        rendered
    });
    let most = most.load(SeqCst);
    println!("MEASURED 100 participants: at most {most} children at once");
    assert!((1..=3).contains(&most), "{most}");
    assert_eq!(rendered.manifest.objects.len(), 103, "the mix, a hundred, the timeline, and the page");
    assert_eq!(rendered.manifest.duration_ms, 30_600);
    assert_adds_up(&rendered, FRAME_MS);
    // The last one, by ear.
    let last = sound(&rendered.file("participants/1099-P99.m4a"));
    let loud = |from: usize, to: usize| last[from * 16..to * 16].iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
    assert!(loud(0, 29_600) < 50 && loud(29_750, 30_500) > 5000);
}

/// How many processes of ffmpeg work on files in `dir`.
fn children(dir: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("Linux").flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.starts_with(b"ffmpeg") && String::from_utf8_lossy(line).contains(dir)).count()
}

/// What the disk did not take at the very end counts in the length: it is missing, not absent.
#[test]
fn what_a_full_disk_took_at_the_end_is_silence_with_that_cause() {
    let mut script = Script::connected_to(&["audio"]);
    script.sound(0, 10_000, &Sound::default());
    script.not_written(10_000, 15_000);
    script.ended(14_000);
    let rendered = script.render(&settings());
    let length = rendered.manifest.duration_ms;
    assert!((13_900..=14_000).contains(&length), "until the end of the stream: {length}");
    assert_eq!(
        rendered.manifest.gaps.iter().map(|gap| (gap.start.0, gap.cause)).collect::<Vec<_>>(),
        [(10_000, GapCause::Disk)]
    );
    assert!(!rendered.manifest.complete);
    assert_adds_up(&rendered, FRAME_MS);
}
