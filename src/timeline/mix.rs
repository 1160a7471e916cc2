//! The sum of several participants, for when Zoom sends each by itself.
//!
//! Every participant has a [`Sound`] of its own, so each is in its place to the sample; the mix adds what they hand
//! over, in 32 bits, and clips once at the end. Addition does not care for order, so the same packets give the same
//! mix. It leaves the participants' own tracks, and their gaps, to tracks of their own.
//!
//! A sample of the mix is final when some participant has got [`DELAY_MS`] beyond it. All participants of a stream come
//! through one connection, in order, so the foremost tells how far that connection has come; whoever is muted sends
//! nothing and must not hold up the rest. What still comes later than that is left out of the mix and counted.
//!
//! Memory: two seconds of sums, one packet, and some kilobytes per participant.

use super::GAP_MS;
use super::sound::{Piece, Sound, to_ms};
use super::spans::{Span, SpanSet};
use crate::ids::UserId;
use crate::media::{Pts, SAMPLES_PER_MS};
use std::collections::{BTreeMap, VecDeque};

/// How far (in ms) the mix follows behind the foremost participant.
pub const DELAY_MS: i64 = 2000;

const DELAY: i64 = DELAY_MS * SAMPLES_PER_MS;
const GAP: i64 = GAP_MS * SAMPLES_PER_MS;

/// A mix that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its length in samples.
    pub length: u64,
    /// Where nobody's sound was there for [`GAP_MS`] or more, ascending.
    pub gaps: Vec<Span>,
    /// What became of the samples that came too late or could not be placed.
    pub counts: Counts,
}

/// Samples that are not in a mix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came when the mix had gone past them.
    pub late: u64,
    /// Overlapped with what the participant had sent before.
    pub overlap: u64,
    /// Had a timestamp more than [`super::MAX_JUMP_MS`] ahead of their participant's sound.
    pub bad_time: u64,
}

/// A mix in the making.
#[derive(Debug, Default)]
pub struct Mix {
    sounds: BTreeMap<UserId, Sound>,
    bus: Bus,
    /// When the participants were last asked for what they hold back.
    settled: i64,
}

impl Mix {
    /// Takes the next packet of a participant and hands over what is final.
    pub fn push(&mut self, user: &UserId, at: Pts, samples: &[i16], sink: &mut impl FnMut(Piece<'_>)) {
        if !self.sounds.contains_key(user) {
            self.sounds.insert(user.clone(), Sound::default());
        }
        if let Some(sound) = self.sounds.get_mut(user) {
            feed(sound, &mut self.bus, sink, |sound, mut out| sound.push(at, samples, &mut out));
        }
        self.settle(sink);
    }

    /// Where the last packet of any participant ends, rounded up to a millisecond.
    pub fn last_end(&self) -> Pts {
        let ends = self.sounds.values().map(Sound::last_end);
        ends.max().unwrap_or(Pts(0))
    }

    /// Ends the mix at `end`, filling it with silence up to there. An `end` before [`Mix::last_end`] cuts nothing.
    pub fn finish(mut self, end: Pts, sink: &mut impl FnMut(Piece<'_>)) -> Summary {
        let mut counts = Counts::default();
        for sound in self.sounds.values_mut() {
            feed(sound, &mut self.bus, sink, |sound, mut out| sound.end_run(&mut out));
            counts.overlap += sound.counts().overlap;
            counts.bad_time += sound.counts().bad_time;
        }
        let end = end.0.saturating_mul(SAMPLES_PER_MS).max(self.bus.foremost());
        self.bus.advance(end, sink);
        self.bus.note_gap(end);
        counts.late = self.bus.late;
        Summary {
            length: self.bus.emitted.unsigned_abs(),
            gaps: self.bus.gaps.into_iter().map(to_ms).collect(),
            counts,
        }
    }

    /// Once a second of the mix: participants who stopped in the middle of a correction hold back 2 ms, which has to
    /// come before the mix has gone past it.
    fn settle(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        if self.bus.foremost() - self.settled < DELAY / 2 {
            return;
        }
        self.settled = self.bus.foremost();
        let idle = self.settled - DELAY / 2;
        for sound in self.sounds.values_mut() {
            if sound.is_waiting() && sound.stand() <= idle {
                feed(sound, &mut self.bus, sink, |sound, mut out| sound.end_run(&mut out));
            }
        }
    }
}

/// Lets a participant work and puts what it hands over on the bus.
fn feed<S: FnMut(Piece<'_>)>(
    sound: &mut Sound,
    bus: &mut Bus,
    sink: &mut S,
    work: impl FnOnce(&mut Sound, &mut dyn FnMut(Piece<'_>)),
) {
    let mut at = sound.emitted();
    work(sound, &mut |piece| match piece {
        Piece::Silence(samples) => at = at.saturating_add_unsigned(samples),
        Piece::Samples(samples) => {
            bus.add(at, samples, sink);
            at += samples.len() as i64;
        }
    });
}

/// The sums that are not final yet, and where the mix stands.
#[derive(Debug, Default)]
struct Bus {
    emitted: i64,
    /// From `emitted` to the foremost participant.
    sums: VecDeque<i32>,
    /// Where any participant's sound was there.
    covered: SpanSet,
    /// Where what was covered and is handed over ends.
    covered_until: i64,
    /// In samples.
    gaps: Vec<(i64, i64)>,
    late: u64,
    scratch: Vec<i16>,
}

impl Bus {
    /// How far the foremost participant has come.
    fn foremost(&self) -> i64 {
        self.emitted + self.sums.len() as i64
    }

    fn add(&mut self, at: i64, samples: &[i16], sink: &mut impl FnMut(Piece<'_>)) {
        self.advance(at - DELAY, sink);
        let late = usize::try_from(self.emitted - at).unwrap_or(0).min(samples.len());
        self.late += late as u64;
        let (at, samples) = (at + late as i64, &samples[late..]);
        if samples.is_empty() {
            return;
        }
        let from = (at - self.emitted) as usize;
        let to = from + samples.len();
        if self.sums.len() < to {
            self.sums.resize(to, 0);
        }
        for (sum, &sample) in self.sums.range_mut(from..to).zip(samples) {
            *sum += i32::from(sample);
        }
        self.covered.insert(at, at + samples.len() as i64);
        self.advance(self.foremost() - DELAY, sink);
    }

    /// Hands over everything before `until`.
    fn advance(&mut self, until: i64, sink: &mut impl FnMut(Piece<'_>)) {
        if until <= self.emitted {
            return;
        }
        for (start, end) in self.covered.take_before(until) {
            self.note_gap(start);
            self.covered_until = end;
        }
        let ready = usize::try_from(until - self.emitted).unwrap_or(usize::MAX).min(self.sums.len());
        self.scratch.clear();
        self.scratch.extend(self.sums.drain(..ready).map(clip));
        if ready > 0 {
            sink(Piece::Samples(&self.scratch));
        }
        let silent = (until - self.emitted) - ready as i64;
        if silent > 0 {
            sink(Piece::Silence(silent.unsigned_abs()));
        }
        self.emitted = until;
    }

    /// Sound is there again from `start` on.
    fn note_gap(&mut self, start: i64) {
        if start - self.covered_until >= GAP {
            self.gaps.push((self.covered_until, start));
        }
    }
}

fn clip(sum: i32) -> i16 {
    sum.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(i: u8) -> UserId {
        UserId::new(i.to_string())
    }

    #[derive(Default)]
    struct Track {
        mix: Mix,
        out: Vec<i16>,
    }

    impl Track {
        fn push(&mut self, participant: u8, at: i64, samples: &[i16]) {
            let out = &mut self.out;
            self.mix.push(&user(participant), Pts(at), samples, &mut |piece| {
                piece.for_each_slice(|s| out.extend_from_slice(s));
            });
        }

        fn finish(mut self, end: i64) -> (Vec<i16>, Summary) {
            let end = Pts(end).max(self.mix.last_end());
            let out = &mut self.out;
            let summary = self.mix.finish(end, &mut |piece| piece.for_each_slice(|s| out.extend_from_slice(s)));
            assert_eq!(self.out.len() as u64, summary.length);
            (self.out, summary)
        }
    }

    #[test]
    fn voices_are_added_and_clipped_once() {
        let mut track = Track::default();
        track.push(1, 0, &[30_000; 320]);
        track.push(2, 10, &[30_000; 320]);
        track.push(3, 15, &[-30_000; 320]);
        let (out, summary) = track.finish(0);
        let part = |from_ms: usize, to_ms: usize| &out[from_ms * 16..to_ms * 16];
        assert!(part(0, 10).iter().all(|&s| s == 30_000));
        assert!(part(10, 15).iter().all(|&s| s == i16::MAX));
        assert!(part(15, 20).iter().all(|&s| s == 30_000));
        assert!(part(20, 30).iter().all(|&s| s == 0));
        assert!(part(30, 35).iter().all(|&s| s == -30_000));
        assert_eq!((out.len(), summary.gaps), (35 * 16, vec![]));
    }

    #[test]
    fn one_voice_is_its_own_mix() {
        let mut track = Track::default();
        let mut alone = (Sound::default(), Vec::new());
        for i in 0..500 {
            let samples: Vec<i16> = (0..320).map(|k| (i * 31 + k) as i16).collect();
            // 400 ppm off, with a gap.
            let at = i * 20 + i / 125 + if i > 250 { 700 } else { 0 };
            track.push(1, at, &samples);
            alone.0.push(Pts(at), &samples, &mut |piece| piece.for_each_slice(|s| alone.1.extend_from_slice(s)));
        }
        let alone_gaps =
            alone.0.finish(Pts(20_000), &mut |piece| piece.for_each_slice(|s| alone.1.extend_from_slice(s))).gaps;
        let (out, summary) = track.finish(20_000);
        assert!(out == alone.1);
        assert_eq!(summary.gaps, alone_gaps);
        assert_eq!(summary.counts, Counts::default());
    }

    #[test]
    fn a_muted_participant_holds_nothing_up() {
        let mut track = Track::default();
        track.push(1, 0, &[1; 320]);
        for i in 0..500 {
            track.push(2, i * 20, &[2; 320]);
            assert!(track.mix.bus.sums.len() as i64 <= DELAY + 320);
        }
        assert!(track.out.len() as i64 >= 10_000 * 16 - DELAY - 320);
        // Later than the mix waits for.
        track.push(1, 20, &[1; 320]);
        let (out, summary) = track.finish(0);
        assert_eq!(out.len(), 160_000);
        assert_eq!(summary.counts.late, 320);
    }

    #[test]
    fn hours_of_silence_are_a_count() {
        let mut track = Mix::default();
        let (mut samples, mut silence) = (0, 0);
        let mut count = |piece: Piece<'_>| match piece {
            Piece::Samples(s) => samples += s.len() as u64,
            Piece::Silence(s) => silence += s,
        };
        track.push(&user(1), Pts(0), &[1; 320], &mut count);
        track.push(&user(2), Pts(36_000_000), &[1; 320], &mut count);
        assert!(track.bus.sums.len() as i64 <= DELAY + 320);
        let summary = track.finish(Pts(72_000_000), &mut count);
        assert_eq!(samples + silence, 72_000_000 * 16);
        assert!(samples < 100_000);
        assert_eq!(summary.gaps, [Span::new(Pts(20), Pts(36_000_000)), Span::new(Pts(36_000_020), Pts(72_000_000))]);
    }

    #[test]
    fn a_voice_that_stops_while_it_is_corrected_is_heard_to_its_end() {
        let mut track = Track::default();
        // 20 ms late from the second packet on: soon a correction is under way.
        (0..100).for_each(|i| track.push(1, if i == 0 { 0 } else { i * 20 + 20 }, &[5; 320]));
        assert!(track.mix.sounds[&user(1)].is_waiting());
        (100..1000).for_each(|i| track.push(2, i * 20, &[0; 320]));
        let (_, summary) = track.finish(0);
        assert_eq!(summary.counts.late, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn order_within_the_delay_does_not_matter(mut packets in prop::collection::vec((0u8..4, 0i64..50), 1..60)) {
            packets.sort_unstable();
            packets.dedup();
            let mut by_time = packets.clone();
            by_time.sort_by_key(|&(user, slot)| (slot, user));
            let play = |packets: &[(u8, i64)]| {
                let mut track = Track::default();
                for &(user, slot) in packets {
                    track.push(user, slot * 40, &[1000 + slot as i16; 640]);
                }
                track.finish(3000)
            };
            prop_assert_eq!(play(&packets), play(&by_time));
        }

        #[test]
        fn length_is_elapsed_time(
            packets in prop::collection::vec((0u8..4, any::<i64>(), 0i64..20_000, 0usize..1000), 0..40), end in 0i64..30_000,
        ) {
            let mut track = Track::default();
            for (user, hostile, at, len) in packets {
                track.push(user, at, &vec![1; len]);
                track.push(user, hostile.saturating_mul(1000), &vec![1; len]);
            }
            let last_end = track.mix.last_end().0;
            let (out, summary) = track.finish(end);
            prop_assert_eq!(out.len() as i64, last_end.max(end) * 16);
            prop_assert!(summary.gaps.windows(2).all(|w| w[0].end <= w[1].start));
        }
    }
}
