//! Keeps a single wrong timestamp from moving a whole track.
//!
//! One packet that claims to be hours ahead would fill the track with silence and push everything after it into the
//! overlap; one from 1970 would become the zero of the recording. So the first packet of a source, and each that
//! jumps by more than [`JUMP_MS`], is held until the next one speaks for or against it:
//!
//! - held after a jump ahead: dropped if the next goes back by more than [`JUMP_MS`] (it returned to the line);
//! - held after a jump back: dropped if the next goes ahead by more than [`JUMP_MS`];
//! - held as the first: dropped if the next goes back by more than [`JUMP_MS`] or ahead by more than [`MAX_JUMP_MS`].
//!
//! Everything else passes at once, in order. The last packet of a source passes if nothing spoke against it.
//!
//! One of these stands before the clock for each source. It leaves repeats, gaps and overlaps to the tracks.

use super::MAX_JUMP_MS;
use crate::media::Timestamp;

/// A step between packets beyond this (2 s, in ms) is believed only if the next packet agrees.
pub const JUMP_MS: i64 = 2_000;

/// The packets of one source on their way to the clock. `T` is whatever goes with a timestamp.
#[derive(Debug)]
pub struct Admission<T> {
    line: Option<Timestamp>,
    held: Option<(Timestamp, T)>,
    dropped: u64,
}

impl<T> Default for Admission<T> {
    fn default() -> Self {
        Self { line: None, held: None, dropped: 0 }
    }
}

impl<T> Admission<T> {
    /// Takes a packet and appends to `out` those that may pass now, in order of arrival.
    pub fn push(&mut self, timestamp: Timestamp, packet: T, out: &mut Vec<(Timestamp, T)>) {
        if let Some((held, content)) = self.held.take() {
            if self.contradicts(held, timestamp) {
                self.dropped += 1;
            } else {
                self.line = Some(held);
                out.push((held, content));
            }
        }
        let near = self.line.is_some_and(|line| within(timestamp, line, JUMP_MS));
        if near {
            self.line = Some(timestamp);
            out.push((timestamp, packet));
        } else {
            self.held = Some((timestamp, packet));
        }
    }

    /// Lets the packet go that is still held; nothing follows that could speak against it.
    pub fn finish(&mut self) -> Option<(Timestamp, T)> {
        self.held.take()
    }

    /// Packets dropped for a bad timestamp so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn contradicts(&self, held: Timestamp, next: Timestamp) -> bool {
        let step = next.ms_since(held);
        match self.line {
            None => !(-JUMP_MS..=MAX_JUMP_MS).contains(&step),
            Some(line) if held > line => step < -JUMP_MS,
            Some(_) => step > JUMP_MS,
        }
    }
}

fn within(a: Timestamp, b: Timestamp, ms: i64) -> bool {
    a.ms_since(b).unsigned_abs() <= ms.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_795_000_000_000;

    fn passed(times: &[i64]) -> (Vec<i64>, u64) {
        let mut admission = Admission::default();
        let mut out = Vec::new();
        for &t in times {
            admission.push(Timestamp(t), (), &mut out);
        }
        out.extend(admission.finish());
        (out.into_iter().map(|(t, ())| t.0).collect(), admission.dropped())
    }

    #[test]
    fn one_bad_time_anywhere_is_dropped_and_nothing_else() {
        for bad in [0, 1, NOW - 3_600_000, NOW + 3_600_000, i64::MIN, i64::MAX, 32_503_680_000_000] {
            let good: Vec<i64> = (0..6).map(|i| NOW + 20 * i).collect();
            // At the start an hour back is believed: it may be followed by an hour of silence.
            let believable = if bad == NOW - 3_600_000 { 2 } else { 0 };
            for at in believable..5 {
                let mut times = good.clone();
                times.insert(at, bad);
                let (out, dropped) = passed(&times);
                // Of the first two packets neither is known to be the good one.
                let lost_too = usize::from(at == 1 && !(NOW..NOW + MAX_JUMP_MS).contains(&bad));
                assert_eq!(out, good[lost_too..], "{bad} at {at}");
                assert_eq!(dropped, 1 + lost_too as u64, "{bad} at {at}");
            }
        }
    }

    #[test]
    fn long_silences_repeats_and_rare_pictures_pass() {
        let muted = [NOW, NOW + 20, NOW + 7_200_000, NOW + 7_200_020];
        assert_eq!(passed(&muted), (muted.to_vec(), 0));
        let again = [NOW, NOW + 20_000, NOW + 20_020, NOW, NOW + 20];
        assert_eq!(passed(&again), (again.to_vec(), 0));
        let slides = [NOW, NOW + 60_000, NOW + 120_000, NOW + 121_000];
        assert_eq!(passed(&slides), (slides.to_vec(), 0));
    }

    proptest! {
        #[test]
        fn packets_pass_in_order_or_are_counted(times in prop::collection::vec(any::<i64>(), 0..50)) {
            let (out, dropped) = passed(&times);
            prop_assert_eq!(out.len() as u64 + dropped, times.len() as u64);
            let mut rest = times.iter();
            prop_assert!(out.iter().all(|t| rest.any(|r| r == t)));
        }
    }
}
