use super::*;
use crate::timeline::filter::testing::{purity_db, tone};
use proptest::prelude::*;

/// A track and all that it handed over.
#[derive(Default)]
struct Track {
    sound: Sound,
    out: Vec<i16>,
}

impl Track {
    fn push(&mut self, at: i64, samples: &[i16]) {
        let out = &mut self.out;
        self.sound.push(Pts(at), samples, &mut |piece| piece.for_each_slice(|s| out.extend_from_slice(s)));
    }

    fn finish(mut self, end: i64) -> (Vec<i16>, Summary) {
        let end = Pts(end).max(self.sound.last_end());
        let out = &mut self.out;
        let summary = self.sound.finish(end, &mut |piece| piece.for_each_slice(|s| out.extend_from_slice(s)));
        check(&summary.counts, summary.length);
        assert_eq!(self.out.len() as u64, summary.length);
        (self.out, summary)
    }
}

fn check(counts: &Counts, length: u64) {
    assert_eq!(counts.used + counts.filled + counts.inserted, length + counts.removed, "{counts:?}");
    assert_eq!(counts.used + counts.overlap + counts.bad_time, counts.received, "{counts:?}");
}

/// Packets of `ms` without a hole, `timestamp(i)` giving the time of each.
fn play(source: &[i16], ms: i64, timestamp: impl Fn(i64) -> i64) -> Track {
    let mut track = Track::default();
    for (i, samples) in source.chunks((ms * 16) as usize).enumerate() {
        track.push(timestamp(i as i64), samples);
    }
    track
}

/// Some noise, the same each time; never 0.
fn noise(samples: usize) -> Vec<i16> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 18) as i16 - 8192) | 1
    };
    (0..samples).map(|_| next()).collect()
}

/// Noise in `-max..=max`, the same for the same `i`.
fn jitter(i: i64, max: i64) -> i64 {
    let mixed = (i as u64 ^ 0x9e37).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) as i64 % (2 * max + 1) - max
}

#[test]
fn a_good_clock_passes_bit_by_bit() {
    let source = noise(16_000 * 60);
    for ms in [20, 100, 1000] {
        for rounding in 0..3 {
            let (out, summary) = play(&source, ms, |i| i * ms + jitter(i, 1) * rounding / 2).finish(0);
            assert_eq!(summary.gaps, []);
            assert!(out == source, "{ms} ms packets");
        }
    }
}

#[test]
fn small_jitter_passes_bit_by_bit() {
    let source = noise(16_000 * 60);
    let (out, _) = play(&source, 20, |i| 1000 + i * 20 + if i == 0 { 0 } else { jitter(i, 5) }).finish(0);
    assert!(out[..16_000].iter().all(|&s| s == 0));
    assert!(out[16_000..] == source);
}

#[test]
fn gaps_are_exact_to_the_sample() {
    let source = noise(16_000);
    for gap in [45, 90, 400, 490, 3000, 600_000] {
        let (out, summary) = {
            let mut track = Track::default();
            for i in 0..50 {
                let late = if i < 25 { 0 } else { gap };
                track.push(i * 20 + late, &source[i as usize * 320..][..320]);
            }
            track.finish(0)
        };
        let gap_samples = gap as usize * 16;
        assert_eq!(out.len(), 16_000 + gap_samples);
        assert!(out[..8000] == source[..8000]);
        assert!(out[8000..][..gap_samples].iter().all(|&s| s == 0));
        assert!(out[8000 + gap_samples..] == source[8000..]);
        assert_eq!(summary.gaps, [Span::new(Pts(500), Pts(500 + gap))]);
        assert_eq!(summary.counts.filled, gap_samples as u64);
    }
}

#[test]
fn a_lost_packet_of_20_ms_is_worked_off() {
    let source = tone(1000.0, 16_000.0, 16_000 * 60);
    for lost in [20, -20] {
        let track = play(&source, 20, |i| if i < 100 { 20 * i } else { 20 * i + lost });
        let offset = track.sound.stand() - (60_000 + lost) * 16;
        let (out, summary) = track.finish(0);
        assert_eq!(summary.gaps, []);
        assert!(offset.abs() <= 20, "{offset} samples remain of {lost} ms");
        // Afterwards the tone is as pure as it came.
        assert!(purity_db(&out[out.len() - 17_000..][..16_000], 1000.0, 16_000.0) > 60.0);
        // Nowhere is there a step: a 1 kHz tone never changes by more than its steepest slope.
        let steepest = out.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max();
        assert!(steepest < Some(7950), "{steepest:?}");
    }
}

#[test]
fn sound_delivered_again_loses_its_overlap() {
    let source = noise(16_000);
    let mut track = Track::default();
    let packet = |i: i64| &source[i as usize * 320..][..320];
    (0..30).for_each(|i| track.push(i * 20, packet(i)));
    (20..50).for_each(|i| track.push(i * 20, packet(i)));
    let (out, summary) = track.finish(0);
    assert!(out == source);
    assert_eq!(summary.counts.overlap, 10 * 320);
}

#[test]
fn a_packet_that_overlaps_in_part_keeps_its_rest() {
    let source = noise(16_000);
    let mut track = Track::default();
    track.push(0, &source[..8000]);
    track.push(400, &source[6400..]);
    let (out, summary) = track.finish(0);
    assert!(out == source);
    assert_eq!(summary.counts.overlap, 1600);
}

#[test]
fn swapped_and_repeated_packets_are_dropped() {
    let source = noise(960);
    let packet = |i: usize| &source[i * 320..][..320];
    let mut track = Track::default();
    for (at, i) in [(0, 0), (0, 0), (20, 1), (40, 2), (20, 1), (40, 2)] {
        track.push(at, packet(i));
    }
    let (out, summary) = track.finish(0);
    assert!(out == source);
    assert_eq!(summary.counts.overlap, 3 * 320);
}

#[test]
fn jittering_silence_is_not_taken_for_repeats() {
    let mut track = Track::default();
    for n in 0..600 {
        // Every other pair of packets has the same time.
        track.push(n * 20 + [0, 10, -10, 0][n as usize % 4], &[0; 320]);
    }
    track.push(12_000, &[5; 320]);
    let (out, summary) = track.finish(0);
    assert_eq!((out.iter().position(|&s| s == 5), summary.counts.overlap), (Some(12_000 * 16), 0));

    // Delivered again after a reconnect, it still is.
    let mut track = Track::default();
    for at in (0..1000).chain(500..1500).step_by(20) {
        track.push(at, &[0; 320]);
    }
    let (_, summary) = track.finish(0);
    assert_eq!((summary.length, summary.counts.overlap), (1500 * 16, 500 * 16));
}

#[test]
fn the_first_packet_starts_exactly_at_its_time() {
    for first in [0, 1, 30, GAP_MS, 5000] {
        let mut track = Track::default();
        track.push(first, &[7; 320]);
        let (out, summary) = track.finish(first + 1000);
        assert_eq!(out.iter().position(|&s| s == 7), Some(first as usize * 16));
        assert_eq!(summary.length as i64, (first + 1000) * 16);
        assert_eq!(summary.gaps.len(), 1 + usize::from(first >= GAP_MS));
    }
}

#[test]
fn a_packet_too_far_ahead_is_dropped() {
    let mut track = Track::default();
    track.push(0, &[1; 320]);
    for at in [MAX_JUMP_MS + 21, i64::MAX, 253_402_300_799_000] {
        track.push(at, &[2; 320]);
    }
    for at in [i64::MIN, -1_795_000_000_000] {
        track.push(at, &[3; 320]);
    }
    track.push(20, &[4; 320]);
    let (out, summary) = track.finish(0);
    assert_eq!(out, [[1; 320], [4; 320]].concat());
    assert_eq!((summary.counts.bad_time, summary.counts.overlap), (3 * 320, 2 * 320));
}

/// How far the track is (in ms, at worst) from the times of a source that is `ppm` fast, and where it ends up.
fn drift(ppm: i64, hours: i64, packet_ms: i64) -> (f64, u64) {
    // Silence: the interpolation of which is cheap, while all positions are the same.
    let packet = vec![0; (packet_ms * 16) as usize];
    let mut sound = Sound::default();
    let packets = hours * 3_600_000 / packet_ms;
    let (mut length, mut worst) = (0, 0.0f64);
    let mut count = |piece: Piece<'_>| match piece {
        Piece::Samples(samples) => length += samples.len() as u64,
        Piece::Silence(samples) => length += samples,
    };
    for i in 0..packets {
        // A fast clock makes its samples in less of Zoom's time.
        let at = i * packet_ms * (1_000_000 - ppm) / 1_000_000;
        if i % 10 == 0 {
            let exact = (i * packet_ms) as f64 * (1.0 - ppm as f64 / 1e6);
            worst = worst.max((exact - sound.stand() as f64 / 16.0).abs());
        }
        sound.push(Pts(at), &packet, &mut count);
    }
    let summary = sound.finish(Pts(0), &mut count);
    check(&summary.counts, summary.length);
    assert_eq!(summary.counts.filled, 0);
    assert_eq!(length, summary.length);
    (worst, length)
}

fn four_hours(ppm: i64, limit_ms: f64) {
    let (worst, length) = drift(ppm, 4, 100);
    assert!(worst < limit_ms, "{worst} ms");
    let ideal = 4 * 3600 * 16_000 * (1_000_000 - ppm) / 1_000_000;
    assert!((length as i64 - ideal).abs() < limit_ms as i64 * 16);
}

#[test]
fn four_hours_100_ppm_fast_stay_in_place() {
    four_hours(100, 5.5);
}

#[test]
fn four_hours_100_ppm_slow_stay_in_place() {
    four_hours(-100, 5.5);
}

#[test]
fn four_hours_500_ppm_fast_stay_in_place() {
    four_hours(500, 6.5);
}

#[test]
fn four_hours_500_ppm_slow_stay_in_place() {
    four_hours(-500, 6.5);
}

#[test]
fn a_fast_clock_is_corrected_without_noise() {
    // A beep of 1 kHz at each second of Zoom's time, from a clock that is 500 ppm fast.
    let beep = |n: usize| {
        let zoom = n as f64 / 16_000.0 * (1.0 - 500e-6);
        if zoom.fract() < 0.1 { (8000.0 * (zoom * std::f64::consts::TAU * 1000.0).sin()) as i16 } else { 0 }
    };
    let source: Vec<i16> = (0..16_000 * 40).map(beep).collect();
    let (out, summary) = play(&source, 20, |i| (20.0 * i as f64 * (1.0 - 500e-6)) as i64).finish(0);
    assert!(summary.counts.removed > 200, "{:?}", summary.counts);
    for second in 1..39 {
        let from = second * 16_000 - 1600;
        let start = from + out[from..].iter().position(|s| s.abs() > 200).expect("a beep");
        let off = start as i64 - second as i64 * 16_000;
        assert!(off.abs() < 6 * 16, "beep {second} is off by {off} samples");
    }
}

#[test]
fn jitter_of_15_ms_neither_drifts_nor_clicks() {
    let source = tone(1000.0, 16_000.0, 16_000 * 120);
    for ms in [20, 100] {
        let track = play(&source, ms, |i| i * ms + jitter(i, 15).abs());
        let mean = 7.5;
        let off = track.sound.stand() as f64 / 16.0 - 120_000.0 - mean;
        assert!(off.abs() < 4.0, "{off} ms off");
        let (out, summary) = track.finish(0);
        assert_eq!(summary.gaps, []);
        let steepest = out.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max();
        assert!(steepest < Some(7950), "{steepest:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn length_is_elapsed_time(
        packets in prop::collection::vec((-60i64..200, 1usize..1700), 0..60), first in 0i64..500, end in 0i64..20_000,
    ) {
        let mut track = Track::default();
        let mut at = first;
        for (jump, len) in packets {
            track.push(at, &vec![1; len]);
            let stand = track.sound.stand();
            check(&track.sound.counts(), stand as u64);
            at += len as i64 / 16 + jump.max(-60) * i64::from(jump % 3 == 0);
        }
        let last_end = track.sound.last_end().0;
        let (out, summary) = track.finish(end);
        prop_assert_eq!(out.len() as i64, last_end.max(end) * 16);
        let filled: u64 = summary.gaps.iter().map(|gap| gap.ms() as u64 * 16).sum();
        prop_assert!(filled <= summary.counts.filled + 16 * summary.gaps.len() as u64);
        prop_assert!(summary.gaps.windows(2).all(|w| w[0].end <= w[1].start));
    }

    #[test]
    fn any_times_do_no_harm(packets in prop::collection::vec((any::<i64>(), 0usize..40), 0..40), end: i64) {
        let mut sound = Sound::default();
        let mut length = 0u64;
        let mut count = |piece: Piece<'_>| match piece {
            Piece::Samples(samples) => length += samples.len() as u64,
            Piece::Silence(samples) => length += samples,
        };
        for (at, len) in packets {
            sound.push(Pts(at), &vec![1; len], &mut count);
            sound.push(Pts(at % 100_000), &vec![1; len], &mut count);
        }
        let summary = sound.finish(Pts(end), &mut count);
        check(&summary.counts, summary.length);
        prop_assert_eq!(length, summary.length);
    }
}

/// How long an hour of sound takes: `cargo test --release --lib hour_of_sound -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods)]
fn an_hour_of_sound_is_cheap() {
    let source = noise(320);
    for ppm in [0, 100, 500] {
        let started = std::time::Instant::now();
        let mut sound = Sound::default();
        let mut length = 0;
        for i in 0..180_000 {
            let at = i * 20 * (1_000_000 - ppm) / 1_000_000;
            sound.push(Pts(at), &source, &mut |piece| piece.for_each_slice(|s| length += s.len()));
        }
        println!("{ppm} ppm: {length} samples in {:?}", started.elapsed());
    }
}
