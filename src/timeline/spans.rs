//! Half-open spans and sets of them, in whatever unit the caller counts.

use crate::media::Pts;

/// A span of a track, `start` included, `end` not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Where it starts.
    pub start: Pts,
    /// Where it ends.
    pub end: Pts,
}

impl Span {
    /// The span between two times.
    pub fn new(start: Pts, end: Pts) -> Self {
        Self { start, end }
    }

    /// Its length in milliseconds; 0 if it ends before it starts.
    pub fn ms(self) -> i64 {
        self.end.0.saturating_sub(self.start.0).max(0)
    }
}

/// Disjoint, non-empty, non-touching spans in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SpanSet(Vec<(i64, i64)>);

impl SpanSet {
    /// Adds a span; what it touches or overlaps becomes one with it. An empty one adds nothing.
    pub(super) fn insert(&mut self, mut start: i64, mut end: i64) {
        if start >= end {
            return;
        }
        let from = self.0.partition_point(|s| s.1 < start);
        let to = self.0.partition_point(|s| s.0 <= end);
        for old in &self.0[from..to] {
            start = start.min(old.0);
            end = end.max(old.1);
        }
        self.0.splice(from..to, [(start, end)]);
    }

    /// The spans, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.0.iter().copied()
    }

    /// The span that holds `x`.
    pub(super) fn at(&self, x: i64) -> Option<(i64, i64)> {
        let span = *self.0.get(self.0.partition_point(|s| s.1 <= x))?;
        (span.0 <= x).then_some(span)
    }

    /// The first span edge after `x`.
    pub(super) fn next_edge(&self, x: i64) -> Option<i64> {
        let span = self.0.get(self.0.partition_point(|s| s.1 <= x))?;
        Some(if span.0 > x { span.0 } else { span.1 })
    }

    /// How much of `(start, end)` the set covers.
    pub(super) fn covered(&self, start: i64, end: i64) -> i64 {
        self.0[self.0.partition_point(|s| s.1 <= start)..]
            .iter()
            .take_while(|s| s.0 < end)
            .map(|s| s.1.min(end).saturating_sub(s.0.max(start)))
            .fold(0, i64::saturating_add)
    }

    /// Takes out what lies before `x`, ascending; a span that holds `x` is cut there.
    pub(super) fn take_before(&mut self, x: i64) -> Vec<(i64, i64)> {
        let whole = self.0.partition_point(|s| s.1 <= x);
        let mut taken: Vec<_> = self.0.drain(..whole).collect();
        if let Some(first) = self.0.first_mut().filter(|s| s.0 < x) {
            taken.push((first.0, x));
            first.0 = x;
        }
        taken
    }
}

impl FromIterator<Span> for SpanSet {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut set = Self::default();
        for span in spans {
            set.insert(span.start.0, span.end.0);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_is_what_a_row_of_marks_would_be(spans in prop::collection::vec((0i64..60, 0i64..60), 0..12), x in 0i64..60) {
            let mut set = SpanSet::default();
            let mut marks = [false; 60];
            for &(start, end) in &spans {
                set.insert(start, end);
                for mark in marks.iter_mut().take(end as usize).skip(start as usize) {
                    *mark = true;
                }
            }
            for (i, &mark) in marks.iter().enumerate() {
                prop_assert_eq!(set.at(i as i64).is_some(), mark);
            }
            prop_assert!(set.0.windows(2).all(|w| w[0].1 < w[1].0));
            prop_assert_eq!(set.covered(0, x), marks.iter().take(x as usize).filter(|m| **m).count() as i64);
            if let Some(edge) = set.next_edge(x) {
                prop_assert!(edge > x);
                prop_assert!((x..edge).all(|i| marks[i as usize] == marks[x as usize]));
            }
            let before = set.covered(0, x);
            let after = set.covered(x, 60);
            let taken: i64 = set.take_before(x).iter().map(|s| s.1 - s.0).sum();
            prop_assert_eq!(taken, before);
            prop_assert_eq!(set.covered(0, 60), after);
        }
    }
}
