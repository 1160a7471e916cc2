//! One track of sound: packets in, every sample from zero to the end out.
//!
//! It owns the place of each sample, the silence where none came, and the working off of a sample clock that runs
//! beside Zoom's. It leaves the conversion to 16 kHz mono to [`super::pcm`], sums to [`super::mix`] and causes of gaps
//! to [`super::gaps`].
//!
//! The *stand* is the number of samples from zero to where the next sample will go. A packet is judged by how far its
//! time is from the stand:
//!
//! - less than [`GAP_MS`] either way: it is appended, bit by bit;
//! - [`GAP_MS`] or more ahead: silence of exactly the missing samples comes first, so it starts at its own time;
//! - [`GAP_MS`] or more back: the overlap is dropped, and what is left of it starts at the stand, its own time;
//! - the first packet of all starts exactly at its time, however near;
//! - a packet that ends before the one before it began, or repeats it sample by sample, comes too late: dropped (silence
//!   is like silence, and jitter gives two packets the same time: it is a repeat only if it is late by more than that);
//! - more than [`MAX_JUMP_MS`] ahead: dropped as a bad timestamp.
//!
//! Timestamps are rounded to milliseconds and jitter, so what remains of the offset is averaged over 4 s of sound. Only
//! if the average is beyond 4 ms does the track begin to insert or remove samples (module `interpolate`); it goes on
//! for as long as the average is found beyond 1 ms, until 15 s have passed without. So a good clock passes untouched,
//! and one that is 500 ppm off stays within 7 ms for ever.
//!
//! Invariant: `used + filled + inserted - removed` is the length of the track, at any time
//! (counting what waits for its neighbours).

use super::interpolate::Stretch;
use super::spans::SpanSet;
use super::{GAP_MS, MAX_JUMP_MS, Span};
use crate::media::{Pts, SAMPLES_PER_MS};

const GAP: i64 = GAP_MS * SAMPLES_PER_MS;
const MAX_JUMP: i64 = MAX_JUMP_MS * SAMPLES_PER_MS;

/// Packets are early or late by up to this, in samples (15 ms, and rounding).
const JITTER: f64 = 16.0 * 16.0;
/// The time constant of the average of offsets, in samples.
const AVERAGE: f64 = 4.0 * 16_000.0;
/// An average offset beyond this starts the steering, in samples (4 ms).
const START_STEERING: f64 = 64.0;
/// An average offset beyond this keeps it going, in samples (1 ms).
const KEEP_STEERING: f64 = 16.0;
/// Steering is over when the average stayed small for so many samples (15 s).
const SETTLED: i64 = 15 * 16_000;

/// A stretch of a track's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// These samples.
    Samples(&'a [i16]),
    /// So many samples of silence. A count, since it may stand for hours.
    Silence(u64),
}

impl Piece<'_> {
    /// Hands the piece over as samples, silence in slices of at most 4096.
    pub fn for_each_slice(self, mut sink: impl FnMut(&[i16])) {
        const ZEROS: [i16; 4096] = [0; 4096];
        match self {
            Piece::Samples(samples) => sink(samples),
            Piece::Silence(mut left) => {
                while left > 0 {
                    let now = left.min(ZEROS.len() as u64);
                    sink(&ZEROS[..now as usize]);
                    left -= now;
                }
            }
        }
    }
}

/// What became of the samples of a track. Counts of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Came in: `used + overlap + bad_time`.
    pub received: u64,
    /// Went into the track.
    pub used: u64,
    /// Dropped because the track had gone past them: delivered again, out of order, or twice.
    pub overlap: u64,
    /// Dropped because their timestamp was more than [`MAX_JUMP_MS`] ahead.
    pub bad_time: u64,
    /// Silence put where none came.
    pub filled: u64,
    /// Added by interpolation: the surplus of runs that became longer.
    pub inserted: u64,
    /// Taken out by interpolation: what runs lack that became shorter.
    pub removed: u64,
}

impl Counts {
    fn add_surplus(&mut self, samples: i64) {
        if samples < 0 {
            self.removed += samples.unsigned_abs();
        } else {
            self.inserted += samples.unsigned_abs();
        }
    }
}

/// A track that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its length in samples.
    pub length: u64,
    /// Where sound was missing for [`GAP_MS`] or more, ascending; to the nearest millisecond.
    pub gaps: Vec<Span>,
    /// Where sound came again, or when the track had gone past it, and was dropped; ascending, to the nearest millisecond.
    pub repeated: Vec<Span>,
    /// What became of the samples.
    pub counts: Counts,
}

/// A track of sound in the making.
#[derive(Debug, Default)]
pub struct Sound {
    /// Samples handed over.
    emitted: i64,
    run: Option<Run>,
    /// In samples.
    gaps: Vec<(i64, i64)>,
    /// In samples.
    repeated: SpanSet,
    counts: Counts,
}

/// Sound without a gap.
#[derive(Debug)]
struct Run {
    stretch: Stretch,
    /// Samples used by this run.
    used: i64,
    /// The stand when the run began.
    start: i64,
    /// Where the next sample will go once the correction under way is complete.
    goal: i64,
    /// Average distance of packets' times from `goal`, in samples.
    average: f64,
    /// Samples since the last correction was planned.
    since_steering: i64,
    /// Time (in samples) and content of the last packet.
    last_at: i64,
    last: Vec<i16>,
}

#[derive(Clone, Copy)]
enum Verdict {
    Append,
    /// After so many samples of silence.
    Gap(i64),
    /// Without so many of its samples.
    Overlap(i64),
    Late,
    BadTime,
}

impl Sound {
    /// Takes the next packet of 16 kHz mono and hands over what can be made of all so far.
    pub fn push(&mut self, at: Pts, samples: &[i16], sink: &mut impl FnMut(Piece<'_>)) {
        if samples.is_empty() {
            return;
        }
        let at = at.0.saturating_mul(SAMPLES_PER_MS);
        let len = samples.len() as u64;
        self.counts.received += len;
        let rest = match self.judge(at, samples) {
            Verdict::Append => samples,
            Verdict::Gap(missing) => {
                self.end_run(sink);
                self.silence(missing, sink);
                samples
            }
            Verdict::Overlap(overlap) => {
                let overlap = usize::try_from(overlap).unwrap_or(usize::MAX).min(samples.len());
                self.counts.overlap += overlap as u64;
                self.repeated.insert(at, at.saturating_add(overlap as i64));
                if overlap < samples.len() {
                    self.end_run(sink);
                }
                &samples[overlap..]
            }
            Verdict::Late => {
                self.counts.overlap += len;
                self.repeated.insert(at, at.saturating_add(samples.len() as i64));
                return;
            }
            Verdict::BadTime => {
                self.counts.bad_time += len;
                return;
            }
        };
        if !rest.is_empty() {
            self.append(at.saturating_add((samples.len() - rest.len()) as i64), rest, sink);
        }
    }

    /// Where the last packet ends, rounded up to a millisecond.
    pub fn last_end(&self) -> Pts {
        let stand = self.stand();
        Pts(stand / SAMPLES_PER_MS + i64::from(stand % SAMPLES_PER_MS != 0))
    }

    /// The length of the track so far, in samples: handed over, or waiting for its right-hand neighbours.
    pub fn stand(&self) -> i64 {
        let pending = self.run.as_ref().map_or(0, |run| run.stretch.pending());
        self.emitted.saturating_add(pending)
    }

    /// What became of the samples so far.
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        if let Some(run) = &self.run {
            counts.add_surplus(self.stand() - run.start - run.used);
        }
        counts
    }

    /// Ends the track at `end`, filling it with silence up to there. An `end` before [`Sound::last_end`] cuts nothing.
    pub fn finish(mut self, end: Pts, sink: &mut impl FnMut(Piece<'_>)) -> Summary {
        self.end_run(sink);
        let missing = end.0.saturating_mul(SAMPLES_PER_MS).saturating_sub(self.emitted);
        self.silence(missing.max(0), sink);
        Summary {
            length: self.emitted.unsigned_abs(),
            gaps: self.gaps.iter().map(|&gap| to_ms(gap)).collect(),
            repeated: self.repeated.iter().map(to_ms).collect(),
            counts: self.counts,
        }
    }

    /// Samples handed over so far.
    pub(super) fn emitted(&self) -> i64 {
        self.emitted
    }

    /// Hands over what waits for its right-hand neighbours. The next packet starts exactly at its time again.
    pub(super) fn end_run(&mut self, sink: &mut impl FnMut(Piece<'_>)) {
        let Some(run) = self.run.take() else { return };
        let emitted = &mut self.emitted;
        run.stretch.finish(&mut |samples| {
            *emitted += samples.len() as i64;
            sink(Piece::Samples(samples));
        });
        self.counts.add_surplus(self.emitted - run.start - run.used);
    }

    /// Whether samples wait for their right-hand neighbours.
    pub(super) fn is_waiting(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.stretch.is_steering())
    }

    fn judge(&self, at: i64, samples: &[i16]) -> Verdict {
        let offset = at.saturating_sub(self.stand());
        if offset > MAX_JUMP {
            return Verdict::BadTime;
        }
        match &self.run {
            Some(run) if run.is_late(at, samples) => Verdict::Late,
            Some(_) if offset.saturating_abs() < GAP => Verdict::Append,
            _ if offset < 0 => Verdict::Overlap(offset.saturating_neg()),
            _ => Verdict::Gap(offset),
        }
    }

    fn silence(&mut self, samples: i64, sink: &mut impl FnMut(Piece<'_>)) {
        if samples <= 0 {
            return;
        }
        if samples >= GAP {
            self.gaps.push((self.emitted, self.emitted.saturating_add(samples)));
        }
        self.emitted = self.emitted.saturating_add(samples);
        self.counts.filled += samples.unsigned_abs();
        sink(Piece::Silence(samples.unsigned_abs()));
    }

    fn append(&mut self, at: i64, samples: &[i16], sink: &mut impl FnMut(Piece<'_>)) {
        let start = self.emitted;
        let run = self.run.get_or_insert_with(|| Run::new(start));
        run.steer(at, samples.len() as i64);
        let emitted = &mut self.emitted;
        run.stretch.push(samples, &mut |out| {
            if !out.is_empty() {
                *emitted += out.len() as i64;
                sink(Piece::Samples(out));
            }
        });
        run.used += samples.len() as i64;
        run.goal += samples.len() as i64;
        run.last_at = at;
        run.last.clear();
        run.last.extend_from_slice(samples);
        self.counts.used += samples.len() as u64;
    }
}

impl Run {
    fn new(start: i64) -> Self {
        Self {
            stretch: Stretch::new(),
            used: 0,
            start,
            goal: start,
            average: 0.0,
            since_steering: SETTLED,
            last_at: start,
            last: Vec::new(),
        }
    }

    fn is_late(&self, at: i64, samples: &[i16]) -> bool {
        let ends_before = at.saturating_add(samples.len() as i64) <= self.last_at;
        let is_silent = || samples.iter().all(|&sample| sample == 0);
        let is_jitter = || (self.goal - at) as f64 + self.average <= JITTER && is_silent();
        ends_before || (at == self.last_at && samples == self.last && !is_jitter())
    }

    /// Follows the clock: `samples` more are about to come, the first of them at `at`.
    fn steer(&mut self, at: i64, samples: i64) {
        let weight = samples as f64 / (AVERAGE + samples as f64);
        self.average += weight * ((at - self.goal) as f64 - self.average);
        self.since_steering = self.since_steering.saturating_add(samples);
        let tolerated = if self.since_steering < SETTLED { KEEP_STEERING } else { START_STEERING };
        if self.average.abs() <= tolerated || self.stretch.is_steering() {
            return;
        }
        let insert = self.average.round() as i64;
        self.stretch.steer(insert);
        self.goal += insert;
        self.average -= insert as f64;
        self.since_steering = 0;
    }
}

/// A span of samples, to the nearest millisecond.
pub(super) fn to_ms((start, end): (i64, i64)) -> Span {
    let ms = |samples: i64| Pts(samples.saturating_add(SAMPLES_PER_MS / 2) / SAMPLES_PER_MS);
    Span::new(ms(start), ms(end))
}

#[cfg(test)]
mod tests;
