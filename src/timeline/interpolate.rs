//! Stretches or shortens running sound by whole samples, slowly enough that nobody hears it.
//!
//! It owns the interpolation between samples; when and by how much to steer is decided by [`super::sound`].
//!
//! A correction by `n` samples is spread over `400 * |n|` output samples. The place in the input from which output
//! sample `j` is taken is `j - n * S(j / (400 * |n|))` with the smoothstep `S(t) = 3t^2 - 2t^3`: speed starts and ends
//! at exactly 1 and departs from it by 0.375 % at most (6.5 cents in pitch), without a step. As `n` is whole, the
//! input place is whole again at the end, so before and after a correction samples pass bit by bit.
//!
//! Between samples it uses a sinc of the full band under a Kaiser window, 64 taps long, tabulated at 256 places
//! between two samples with linear interpolation in between. At a whole place the table is the unit pulse, so entering
//! and leaving a correction is continuous. Errors stay below -80 dB up to 7 kHz.

use super::filter::{dot, kaiser, quantize, sinc};
use std::sync::LazyLock;

/// The most by which the speed may change (0.375 %): the slope of the smoothstep is 1.5 at its steepest.
const OUTPUT_PER_SAMPLE: i64 = 400;

/// Input samples used on either side of a place.
const HALF: usize = 32;
const TAPS: usize = 2 * HALF;
const PHASES: usize = 256;
const BETA: f64 = 8.5;

/// One run of sound on its way through.
#[derive(Debug)]
pub(super) struct Stretch {
    /// What the interpolation can still need: at least `HALF` samples before its place. Whole numbers.
    window: Vec<f32>,
    plan: Option<Plan>,
    scratch: Vec<i16>,
}

/// A correction under way. Places are counted in samples of `window`.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The place of output sample 0; negative once the window has moved on.
    origin: i64,
    /// Samples to insert; negative to remove.
    insert: i64,
    /// Output samples over which it is spread.
    length: i64,
    /// Output samples made.
    done: i64,
}

impl Stretch {
    /// A run that begins after silence.
    pub(super) fn new() -> Self {
        Self { window: vec![0.0; HALF], plan: None, scratch: Vec::new() }
    }

    /// Whether a correction is under way.
    pub(super) fn is_steering(&self) -> bool {
        self.plan.is_some()
    }

    /// Begins to insert (or, if negative, remove) so many samples. Only when none is under way.
    pub(super) fn steer(&mut self, insert: i64) {
        debug_assert!(self.plan.is_none());
        if insert != 0 {
            self.plan = Some(Plan {
                origin: self.window.len() as i64,
                insert,
                length: insert.saturating_abs().saturating_mul(OUTPUT_PER_SAMPLE),
                done: 0,
            });
        }
    }

    /// Takes the next samples and hands over what can be made of all so far.
    pub(super) fn push(&mut self, input: &[i16], sink: &mut impl FnMut(&[i16])) {
        let Some(plan) = self.plan else {
            sink(input);
            self.remember(&input[input.len().saturating_sub(HALF)..]);
            self.trim();
            return;
        };
        self.remember(input);
        self.scratch.clear();
        self.interpolate(plan, i64::MAX);
        sink(&self.scratch);
        self.trim();
    }

    /// How many samples [`Stretch::finish`] would hand over: those that still wait for their right-hand neighbours.
    pub(super) fn pending(&self) -> i64 {
        let Some(plan) = self.plan else { return 0 };
        let end = self.window.len() as i64;
        let mut j = plan.done;
        while j < plan.length && plan.place(j) < end as f64 {
            j += 1;
        }
        let behind_plan = if j == plan.length { (end - plan.end()).max(0) } else { 0 };
        j - plan.done + behind_plan
    }

    /// Hands over the rest of the run, as if silence followed.
    pub(super) fn finish(mut self, sink: &mut impl FnMut(&[i16])) {
        let Some(plan) = self.plan else { return };
        let pending = self.pending();
        self.window.extend([0.0; TAPS]);
        self.scratch.clear();
        self.interpolate(plan, pending);
        sink(&self.scratch);
    }

    /// Makes output as far as the window reaches, at most `limit` samples.
    fn interpolate(&mut self, mut plan: Plan, limit: i64) {
        let kernel = &*KERNEL;
        let quiet = self.window.iter().all(|&s| s == 0.0);
        let until = plan.length.min(plan.done.saturating_add(limit));
        let reach = self.window.len() as i64 - HALF as i64;
        while plan.done < until {
            let place = plan.place(plan.done);
            let whole = place as i64;
            if whole >= reach {
                break;
            }
            self.scratch.push(if quiet {
                0
            } else {
                let first = (whole + 1) as usize - HALF;
                kernel.at(&self.window[first..first + TAPS], place - whole as f64)
            });
            plan.done += 1;
        }
        self.plan = Some(plan);
        if plan.done == plan.length {
            let left = limit.saturating_sub(self.scratch.len() as i64);
            let rest = self.window.iter().skip(plan.end() as usize);
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            self.scratch.extend(rest.take(left).map(|&s| s as i16));
            self.plan = None;
        }
    }

    fn remember(&mut self, input: &[i16]) {
        self.window.extend(input.iter().map(|&s| f32::from(s)));
    }

    /// Forgets what no later output can need.
    fn trim(&mut self) {
        let needed_from = match self.plan {
            Some(plan) => plan.place(plan.done) as usize,
            None => self.window.len(),
        };
        let unneeded = needed_from.saturating_sub(HALF);
        self.window.drain(..unneeded);
        if let Some(plan) = &mut self.plan {
            plan.origin -= unneeded as i64;
        }
    }
}

impl Plan {
    /// The place in the window of output sample `j`.
    fn place(&self, j: i64) -> f64 {
        let t = j as f64 / self.length as f64;
        let smooth = t * t * (3.0 - 2.0 * t);
        (self.origin + j) as f64 - self.insert as f64 * smooth
    }

    /// The place of the first sample behind the correction.
    fn end(&self) -> i64 {
        self.origin + self.length - self.insert
    }
}

/// For each of `PHASES + 1` places between two samples, the weight of each sample around.
struct Kernel(Vec<[f32; TAPS]>);

static KERNEL: LazyLock<Kernel> = LazyLock::new(Kernel::new);

impl Kernel {
    fn new() -> Self {
        let row = |phase: usize| {
            let fraction = phase as f64 / PHASES as f64;
            let mut row = [0.0; TAPS];
            for (tap, weight) in row.iter_mut().enumerate() {
                let x = tap as f64 - (HALF as f64 - 1.0) - fraction;
                *weight = sinc(x) * kaiser(x / HALF as f64, BETA);
            }
            let sum: f64 = row.iter().sum();
            row.map(|weight| (weight / sum) as f32)
        };
        Self((0..=PHASES).map(row).collect())
    }

    /// The value at `fraction` (0 up to 1) behind the middle of `around`.
    fn at(&self, around: &[f32], fraction: f64) -> i16 {
        let phase = fraction * PHASES as f64;
        let row = (phase as usize).min(PHASES - 1);
        let between = (phase - row as f64) as f32;
        let low = dot(around, &self.0[row]);
        let high = dot(around, &self.0[row + 1]);
        quantize(low + (high - low) * between)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::filter::testing::tone;
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    fn stretched(input: &[i16], packet: usize, steer_at: usize, insert: i64) -> Vec<i16> {
        let mut stretch = Stretch::new();
        let mut out = Vec::new();
        for (i, samples) in input.chunks(packet).enumerate() {
            if i * packet == steer_at {
                stretch.steer(insert);
            }
            stretch.push(samples, &mut |s| out.extend_from_slice(s));
        }
        stretch.finish(&mut |s| out.extend_from_slice(s));
        out
    }

    #[test]
    fn a_tone_stays_pure_through_a_whole_correction() {
        for (hz, insert) in [(1000.0, 64), (1000.0, -64), (440.0, 16), (5000.0, -16), (7000.0, 32)] {
            let input = tone(hz, 16_000.0, 60_000);
            let out = stretched(&input, 320, 3200, insert);
            assert_eq!(out.len() as i64, 60_000 + insert);
            let plan = Plan { origin: 3200, insert, length: insert.abs() * OUTPUT_PER_SAMPLE, done: 0 };
            let (mut signal, mut noise, mut worst) = (0.0, 0.0, 0f64);
            for (n, &sample) in out.iter().enumerate().take(plan.length as usize + 3200).skip(3200) {
                let ideal = 20_000.0 * (TAU * hz * plan.place(n as i64 - 3200) / 16_000.0).sin();
                let error = f64::from(sample) - ideal;
                signal += ideal * ideal;
                noise += error * error;
                worst = worst.max(error.abs());
            }
            let db = 10.0 * (signal / noise).log10();
            assert!(db > 70.0 && worst < 20.0, "{hz} Hz, {insert}: {db:.1} dB, {worst:.1}");
            let behind = plan.length as usize + 3200;
            assert_eq!(out[..3200], input[..3200]);
            assert_eq!(out[behind..], input[plan.end() as usize..]);
        }
    }

    #[test]
    fn speed_stays_within_half_a_percent() {
        for insert in [1, -1, 16, -64, 320, -719] {
            let plan = Plan { origin: 0, insert, length: OUTPUT_PER_SAMPLE * i64::abs(insert), done: 0 };
            for j in 0..plan.length {
                let speed = plan.place(j + 1) - plan.place(j);
                assert!((speed - 1.0).abs() <= 0.005, "{insert}: {speed}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn packets_do_not_matter_and_pending_is_what_comes(
            len in 0usize..5000, packet in 1usize..700, insert in -8i64..9, seed: u64,
        ) {
            let mut state = seed;
            let input: Vec<i16> = (0..len).map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 48) as i16
            }).collect();
            let whole = stretched(&input, len.max(1), 0, insert);
            prop_assert_eq!(&stretched(&input, packet, 0, insert), &whole);
            let mut stretch = Stretch::new();
            stretch.steer(insert);
            let mut made = 0;
            for samples in input.chunks(packet) {
                stretch.push(samples, &mut |s| made += s.len() as i64);
            }
            prop_assert!(stretch.window.len() <= 2 * TAPS + packet);
            prop_assert_eq!(made + stretch.pending(), whole.len() as i64);
        }
    }
}
