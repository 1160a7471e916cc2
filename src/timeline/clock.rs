//! From Zoom's clock to presentation time: a zero, and pauses that are cut out.
//!
//! It owns the zero and the pauses known so far, and maps both ways. It leaves it to the caller to choose the zero and
//! to render again when a packet turns up before it. A pause is `[pause, resume)` in Zoom's time; an open one lasts
//! until its resume is known. Packets inside are dropped by the caller ([`Place::Paused`]); later ones move earlier by
//! the paused time. Sound is cut to the sample, since a pause is whole milliseconds.

use super::spans::SpanSet;
use crate::media::{Pts, SAMPLES_PER_MS, Timestamp};

/// What becomes of the time during which a user paused the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PausePolicy {
    /// It is cut out of every track.
    Cut,
    /// It stays, as slate and silence.
    Keep,
}

/// Where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this time.
    At(Pts),
    /// Before the zero: what was rendered so far has to be rendered again with an earlier one.
    BeforeZero,
    /// Within a pause that is cut out.
    Paused,
}

/// Maps Zoom's clock to a recording's presentation time and back.
#[derive(Clone, Debug)]
pub struct Clock {
    zero: Timestamp,
    policy: PausePolicy,
    closed: SpanSet,
    open: Option<Timestamp>,
}

impl Clock {
    /// A clock that has not been paused yet.
    pub fn new(zero: Timestamp, policy: PausePolicy) -> Self {
        Self { zero, policy, closed: SpanSet::default(), open: None }
    }

    /// The time at which every track starts.
    pub fn zero(&self) -> Timestamp {
        self.zero
    }

    /// The session is paused from `at` on. Ignored if it is paused already.
    pub fn pause(&mut self, at: Timestamp) {
        self.open.get_or_insert(at);
    }

    /// The session goes on at `at`. Ignored if it was not paused.
    pub fn resume(&mut self, at: Timestamp) {
        if let Some(start) = self.open.take() {
            self.closed.insert(start.0, at.0);
        }
    }

    /// The pauses, ascending, in Zoom's time; `None` as the end of one that has not ended yet.
    pub fn pauses(&self) -> Vec<(Timestamp, Option<Timestamp>)> {
        let closed = self.closed.iter().map(|(s, e)| (Timestamp(s), Some(Timestamp(e))));
        closed.chain(self.open.map(|start| (start, None))).collect()
    }

    /// Where a packet of this time belongs.
    pub fn place(&self, timestamp: Timestamp) -> Place {
        if timestamp < self.zero {
            Place::BeforeZero
        } else if self.is_cut(timestamp) {
            Place::Paused
        } else {
            Place::At(self.pts(timestamp))
        }
    }

    /// The presentation time that the tracks have reached at `timestamp`: within a cut pause, where it was cut; before
    /// the zero, negative. For spans of outages rather than packets.
    pub fn pts(&self, timestamp: Timestamp) -> Pts {
        Pts(timestamp.ms_since(self.zero).saturating_sub(self.cut_before(timestamp)))
    }

    /// The time on Zoom's clock of a presentation time; at a cut, the time at which the session went on.
    pub fn timestamp(&self, pts: Pts) -> Timestamp {
        let mut at = self.zero.plus_ms(pts.0);
        if self.policy == PausePolicy::Keep {
            return at;
        }
        for (start, end) in self.closed.iter().filter(|&(_, end)| end > self.zero.0) {
            let start = start.max(self.zero.0);
            if start > at.0 {
                break;
            }
            at = at.plus_ms(end.saturating_sub(start));
        }
        at
    }

    /// Hands over the pieces of a packet of sound that no cut pause covers, each with its place. Returns the number of
    /// samples that were cut away. A piece may start before zero (a negative [`Pts`]).
    pub fn cut<'a>(&self, timestamp: Timestamp, samples: &'a [i16], mut piece: impl FnMut(Pts, &'a [i16])) -> usize {
        let mut rest = samples;
        let mut at = timestamp;
        let mut cut = 0;
        while !rest.is_empty() {
            let (state, until) = self.state(at);
            let len = match until {
                Some(until) => usize::try_from(until.ms_since(at).saturating_mul(SAMPLES_PER_MS))
                    .unwrap_or(usize::MAX)
                    .min(rest.len()),
                None => rest.len(),
            };
            let (now, later) = rest.split_at(len);
            match state {
                State::Running => piece(self.pts(at), now),
                State::Cut => cut += len,
            }
            rest = later;
            at = until.unwrap_or(at);
        }
        cut
    }

    fn is_cut(&self, at: Timestamp) -> bool {
        self.state(at).0 == State::Cut
    }

    /// Whether `at` is cut out, and the next time after `at` at which that may change.
    fn state(&self, at: Timestamp) -> (State, Option<Timestamp>) {
        if self.policy == PausePolicy::Keep {
            return (State::Running, None);
        }
        if self.open.is_some_and(|start| start <= at) {
            return (State::Cut, None);
        }
        let state = match self.closed.at(at.0) {
            Some(_) => State::Cut,
            None => State::Running,
        };
        let edge = self.closed.next_edge(at.0).map(Timestamp);
        (state, edge.into_iter().chain(self.open).min())
    }

    fn cut_before(&self, timestamp: Timestamp) -> i64 {
        if self.policy == PausePolicy::Keep {
            return 0;
        }
        match self.open.map(|start| start.max(self.zero)) {
            Some(start) if start < timestamp => {
                let closed = self.closed.covered(self.zero.0, start.0);
                closed.saturating_add(timestamp.ms_since(start))
            }
            _ => self.closed.covered(self.zero.0, timestamp.0),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Cut,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ZERO: Timestamp = Timestamp(1_795_000_000_000);

    fn at(ms: i64) -> Timestamp {
        ZERO.plus_ms(ms)
    }

    fn paused(policy: PausePolicy) -> Clock {
        let mut clock = Clock::new(ZERO, policy);
        clock.pause(at(1000));
        clock.pause(at(1500));
        clock.resume(at(3000));
        clock.resume(at(3100));
        clock.pause(at(5000));
        clock
    }

    #[test]
    fn pauses_are_cut_out() {
        let clock = paused(PausePolicy::Cut);
        assert_eq!(clock.place(at(-1)), Place::BeforeZero);
        assert_eq!(clock.place(at(999)), Place::At(Pts(999)));
        assert_eq!(clock.place(at(1000)), Place::Paused);
        assert_eq!(clock.place(at(2999)), Place::Paused);
        assert_eq!(clock.place(at(3000)), Place::At(Pts(1000)));
        assert_eq!(clock.place(at(4999)), Place::At(Pts(2999)));
        assert_eq!(clock.place(at(99_999)), Place::Paused);
        assert_eq!(clock.pts(at(99_999)), Pts(3000));
        assert_eq!(clock.timestamp(Pts(999)), at(999));
        assert_eq!(clock.timestamp(Pts(1000)), at(3000));
        assert_eq!(clock.pauses(), [(at(1000), Some(at(3000))), (at(5000), None)]);
    }

    #[test]
    fn pauses_may_be_kept() {
        let clock = paused(PausePolicy::Keep);
        assert_eq!(clock.place(at(2000)), Place::At(Pts(2000)));
        assert_eq!(clock.place(at(6000)), Place::At(Pts(6000)));
        assert_eq!(clock.timestamp(Pts(2000)), at(2000));
        assert_eq!(clock.pauses().len(), 2);
    }

    #[test]
    fn sound_is_cut_to_the_sample() {
        let clock = paused(PausePolicy::Cut);
        let samples: Vec<i16> = (0..100 * 16).collect();
        let mut pieces = Vec::new();
        let cut = clock.cut(at(950), &samples, |pts, piece| pieces.push((pts, piece.to_vec())));
        assert_eq!((cut, pieces), (50 * 16, vec![(Pts(950), samples[..800].to_vec())]));
        let mut pieces = Vec::new();
        let cut = clock.cut(at(2990), &samples, |pts, piece| pieces.push((pts, piece.to_vec())));
        assert_eq!((cut, pieces), (10 * 16, vec![(Pts(1000), samples[160..].to_vec())]));
    }

    proptest! {
        #[test]
        fn mapping_is_monotonic_and_reversible(
            edges in prop::collection::vec(0i64..10_000, 0..12),
            mut times in prop::collection::vec(0i64..12_000, 1..40),
        ) {
            let mut edges = edges;
            edges.sort_unstable();
            let mut clock = Clock::new(ZERO, PausePolicy::Cut);
            for pair in edges.chunks(2) {
                clock.pause(at(pair[0]));
                pair.get(1).into_iter().for_each(|&end| clock.resume(at(end)));
            }
            times.sort_unstable();
            let mut last = Pts(0);
            for t in times {
                let pts = clock.pts(at(t));
                prop_assert!(pts >= last);
                last = pts;
                if clock.place(at(t)) != Place::Paused {
                    prop_assert_eq!(clock.place(at(t)), Place::At(pts));
                    prop_assert_eq!(clock.timestamp(pts), at(t));
                }
            }
        }

        #[test]
        fn hostile_times_do_no_harm(zero: i64, times in prop::collection::vec(any::<i64>(), 0..20), len in 0usize..100) {
            let mut clock = Clock::new(Timestamp(zero), PausePolicy::Cut);
            let samples = vec![1; len];
            for pair in times.chunks(2) {
                let mut kept = 0;
                let cut = clock.cut(Timestamp(pair[0]), &samples, |_, piece| kept += piece.len());
                prop_assert_eq!(kept + cut, len);
                let _ = (clock.place(Timestamp(pair[0])), clock.timestamp(Pts(pair[0])));
                clock.pause(Timestamp(pair[0]));
                pair.get(1).into_iter().for_each(|&end| clock.resume(Timestamp(end)));
            }
        }
    }
}
