//! The sound of a generated meeting: quiet speech-like noise, and a beep with a sharp onset every 2 s.
//!
//! Made on the spot, sample by sample number, so any rate, any packet length and any clock error cost nothing to
//! prepare. The beep belongs to media time, not to a sample count: with a sampling clock that runs fast, it stays at
//! the instant of the flash.

use std::f64::consts::TAU;

/// Media time of the first beep and flash; a key frame at any whole frame rate.
pub(super) const MARK_PHASE_MS: i64 = 1000;
/// Media time between beeps and between flashes.
pub(super) const MARK_EVERY_MS: i64 = 2000;
/// How long a beep and a flash last.
pub(super) const MARK_MS: i64 = 100;

const BEEP_HZ: f64 = 1000.0;
const BEEP_LEVEL: f64 = 20_000.0;
const NOISE_LEVEL: f64 = 350.0;

/// Sound at one rate from one sampling clock.
#[derive(Debug)]
pub(super) struct Sound {
    rate: u32,
    /// Samples in a second of media time: the rate, off by the clock error.
    true_rate: f64,
    /// Two seconds of noise, repeated; one voice for each participant.
    voices: Vec<Vec<i16>>,
}

impl Sound {
    pub(super) fn new(rate: u32, ppm: f64) -> Self {
        Self {
            rate,
            true_rate: f64::from(rate) * (1.0 + ppm / 1e6),
            voices: (0..3).map(|voice| noise(rate, voice)).collect(),
        }
    }

    /// Media time of a sample.
    pub(super) fn ms_of(&self, sample: i64) -> f64 {
        sample as f64 * 1000.0 / self.true_rate
    }

    /// The first sample at or after `ms` of media time.
    fn sample_at(&self, ms: i64) -> i64 {
        (ms as f64 * self.true_rate / 1000.0 - 1e-6).ceil() as i64
    }

    /// Appends `count` samples of `voice` from number `first` on; gives the number of a sample in it at which a beep
    /// sets in.
    pub(super) fn write(&self, voice: usize, first: i64, count: usize, beeps: bool, out: &mut Vec<i16>) -> Option<i64> {
        let noise = &self.voices[voice % self.voices.len()];
        let start = out.len();
        let mut at = first.rem_euclid(noise.len() as i64) as usize;
        while out.len() - start < count {
            let part = (count - (out.len() - start)).min(noise.len() - at);
            out.extend_from_slice(&noise[at..at + part]);
            at = 0;
        }
        if !beeps {
            return None;
        }
        let end = first + count as i64;
        let beep_len = i64::from(self.rate) * MARK_MS / 1000;
        let mut onset_in = None;
        let first_ms = self.ms_of(first) as i64;
        let mut mark = (first_ms - MARK_PHASE_MS - MARK_MS).div_euclid(MARK_EVERY_MS);
        loop {
            let onset = self.sample_at(MARK_PHASE_MS + mark.max(0) * MARK_EVERY_MS);
            if onset >= end {
                return onset_in;
            }
            for sample in onset.max(first)..(onset + beep_len).min(end) {
                let phase = (sample - onset) as f64 / f64::from(self.rate) * BEEP_HZ * TAU;
                out[start + (sample - first) as usize] = (BEEP_LEVEL * phase.sin()) as i16;
            }
            if onset >= first {
                onset_in = Some(onset);
            }
            mark = mark.max(0) + 1;
        }
    }
}

fn noise(rate: u32, voice: u32) -> Vec<i16> {
    let mut state = 0x9e37_79b9_u32.wrapping_add(voice);
    let pitch = f64::from(180 + 90 * voice);
    (0..rate * 2)
        .map(|n| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = f64::from(state >> 16) / 32_768.0 - 1.0;
            let t = f64::from(n) / f64::from(rate);
            // Four syllables a second, whole periods in the loop.
            let syllable = 0.4 + 0.6 * (0.5 - 0.5 * (t * 4.0 * TAU).cos());
            let tone = (t * pitch * TAU).sin();
            (NOISE_LEVEL * syllable * (0.6 * hiss + 0.4 * tone)) as i16
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loud(samples: &[i16]) -> Vec<usize> {
        let mut onsets = Vec::new();
        let mut last = None::<usize>;
        for (i, s) in samples.iter().enumerate() {
            if s.unsigned_abs() > 3000 {
                if last.is_none_or(|l| i - l > 1000) {
                    onsets.push(i);
                }
                last = Some(i);
            }
        }
        onsets
    }

    #[test]
    fn packets_of_any_length_make_the_same_sound_with_a_beep_every_two_seconds() {
        let sound = Sound::new(16_000, 0.0);
        let (mut whole, mut pieces) = (Vec::new(), Vec::new());
        sound.write(0, 0, 96_000, true, &mut whole);
        let mut onsets = Vec::new();
        for n in 0..300 {
            onsets.extend(sound.write(0, n * 320, 320, true, &mut pieces));
        }
        assert_eq!(whole, pieces);
        assert_eq!(onsets, [16_000, 48_000, 80_000]);
        let heard = loud(&whole);
        assert_eq!(heard.len(), 3);
        for (heard, sent) in heard.iter().zip(onsets) {
            assert!((*heard as i64 - sent) < 4, "{heard} {sent}");
        }
    }

    #[test]
    fn with_a_fast_clock_the_beep_stays_in_media_time() {
        let sound = Sound::new(16_000, 1000.0);
        let mut out = Vec::new();
        let mut onsets = Vec::new();
        for n in 0..700 {
            onsets.extend(sound.write(0, n * 1600, 1600, true, &mut out));
        }
        assert!(onsets.len() > 30);
        for (k, onset) in onsets.iter().enumerate() {
            let ms = sound.ms_of(*onset);
            assert!((ms - (1000.0 + 2000.0 * k as f64)).abs() < 0.1, "{k}: {ms}");
        }
    }
}
