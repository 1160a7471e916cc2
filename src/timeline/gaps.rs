//! Gives each piece of a track's gaps its cause.
//!
//! Tracks only know that nothing came, or that what came could not be decoded. The caller knows when connections were
//! down, the disk was full and the session paused. Where several explain the same time, the one counts that weighs
//! most: disk, connection, paused, no key frame, and not sent if nothing explains it. A gap is split where its cause
//! changes; pieces of one cause that touch become one.

use super::spans::{Span, SpanSet};
use crate::media::{Gap, GapCause, Pts, TrackKey};

/// What explains gaps: spans of the recording's time, in any order, overlapping or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outages {
    /// The spool could not take what arrived.
    pub disk: Vec<Span>,
    /// The connection that carries the track was down.
    pub connection: Vec<Span>,
    /// The session was paused (only if pauses are kept, they have no length otherwise).
    pub paused: Vec<Span>,
}

/// What a track lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Nothing was there to show or to hear.
    pub media: Vec<Span>,
    /// Pictures came that nothing can be decoded from.
    pub key_frame: Vec<Span>,
}

/// The gaps of a track, ascending and disjoint, each with one cause.
pub fn attribute(track: &TrackKey, missing: &Missing, outages: &Outages) -> Vec<Gap> {
    let set = |spans: &[Span]| spans.iter().copied().collect::<SpanSet>();
    let key_frame = set(&missing.key_frame);
    // The heaviest cause first; each takes what is left of the gaps.
    let layers = [
        (GapCause::Disk, set(&outages.disk)),
        (GapCause::Connection, set(&outages.connection)),
        (GapCause::Paused, set(&outages.paused)),
        (GapCause::NoKeyFrame, key_frame.clone()),
    ];
    let whole: SpanSet = missing.media.iter().chain(&missing.key_frame).copied().collect();

    let mut gaps: Vec<Gap> = Vec::new();
    for (start, end) in whole.iter() {
        let mut at = start;
        while at < end {
            let cause = layers.iter().find(|(_, spans)| spans.at(at).is_some());
            let cause = cause.map_or(GapCause::NotSent, |&(cause, _)| cause);
            let edges = layers.iter().filter_map(|(_, spans)| spans.next_edge(at));
            let until = edges.fold(end, i64::min);
            match gaps.last_mut() {
                Some(last) if last.end == Pts(at) && last.cause == cause => last.end = Pts(until),
                _ => gaps.push(Gap { track: track.clone(), start: Pts(at), end: Pts(until), cause }),
            }
            at = until;
        }
    }
    gaps
}

/// Adds to the gaps of a track what turned out later to be missing in `spans`; what is a gap already stays what it is.
/// Returns how much was added, in milliseconds.
pub fn add(gaps: &mut Vec<Gap>, track: &TrackKey, spans: &[Span], cause: GapCause) -> i64 {
    let own = gaps.iter().filter(|gap| gap.track == *track);
    let known: SpanSet = own.map(|gap| Span::new(gap.start, gap.end)).collect();
    let mut added = 0;
    for (start, end) in spans.iter().copied().collect::<SpanSet>().iter() {
        let mut at = start;
        while at < end {
            let until = known.next_edge(at).map_or(end, |edge| edge.min(end));
            if known.at(at).is_none() {
                added += until - at;
                let gap = Gap { track: track.clone(), start: Pts(at), end: Pts(until), cause };
                let place = gaps.iter().rposition(|old| old.track == *track && old.start < gap.start);
                let first = gaps.iter().position(|old| old.track == *track).unwrap_or(gaps.len());
                gaps.insert(place.map_or(first, |before| before + 1), gap);
            }
            at = until;
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn span(start: i64, end: i64) -> Span {
        Span::new(Pts(start), Pts(end))
    }

    fn shape(gaps: &[Gap]) -> Vec<(i64, i64, GapCause)> {
        gaps.iter().map(|gap| (gap.start.0, gap.end.0, gap.cause)).collect()
    }

    #[test]
    fn what_turns_out_to_be_missing_is_added_where_nothing_was_known_to_be() {
        let gap = |track, start, end| Gap { track, start: Pts(start), end: Pts(end), cause: GapCause::NotSent };
        let mut gaps = vec![
            gap(TrackKey::Mix, 0, 10),
            gap(TrackKey::Camera, 0, 10),
            gap(TrackKey::Camera, 50, 60),
            gap(TrackKey::Share, 5, 6),
        ];
        let added = add(&mut gaps, &TrackKey::Camera, &[span(55, 70), span(20, 30), span(8, 12)], GapCause::NoKeyFrame);
        assert_eq!(added, 2 + 10 + 10);
        use GapCause::*;
        assert_eq!(
            shape(&gaps),
            [
                (0, 10, NotSent),
                (0, 10, NotSent),
                (10, 12, NoKeyFrame),
                (20, 30, NoKeyFrame),
                (50, 60, NotSent),
                (60, 70, NoKeyFrame),
                (5, 6, NotSent),
            ]
        );
    }

    #[test]
    fn a_gap_is_split_where_its_cause_changes() {
        let missing = Missing { media: vec![span(0, 100), span(200, 210)], key_frame: vec![span(60, 100)] };
        let outages = Outages {
            disk: vec![span(10, 20)],
            connection: vec![span(15, 40), span(35, 50), span(150, 160)],
            paused: vec![span(45, 55)],
        };
        use GapCause::*;
        assert_eq!(
            shape(&attribute(&TrackKey::Camera, &missing, &outages)),
            [
                (0, 10, NotSent),
                (10, 20, Disk),
                (20, 50, Connection),
                (50, 55, Paused),
                (55, 60, NotSent),
                (60, 100, NoKeyFrame),
                (200, 210, NotSent),
            ]
        );
    }

    #[test]
    fn without_outages_gaps_stay_as_they_are() {
        let missing = Missing { media: vec![span(5, 9)], key_frame: vec![] };
        let gaps = attribute(&TrackKey::Mix, &missing, &Outages::default());
        assert_eq!(shape(&gaps), [(5, 9, GapCause::NotSent)]);
    }

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        prop::collection::vec((0i64..50, 0i64..50).prop_map(|(start, end)| span(start, end)), 0..6)
    }

    proptest! {
        #[test]
        fn each_millisecond_has_the_heaviest_cause(
            media in spans(), key_frame in spans(), disk in spans(), connection in spans(), paused in spans(),
        ) {
            let missing = Missing { media, key_frame };
            let outages = Outages { disk, connection, paused };
            let gaps = attribute(&TrackKey::Share, &missing, &outages);
            let within = |spans: &[Span], at| spans.iter().any(|s| s.start <= at && at < s.end);
            for at in (0..50).map(Pts) {
                let expected = if !within(&missing.media, at) && !within(&missing.key_frame, at) {
                    None
                } else if within(&outages.disk, at) {
                    Some(GapCause::Disk)
                } else if within(&outages.connection, at) {
                    Some(GapCause::Connection)
                } else if within(&outages.paused, at) {
                    Some(GapCause::Paused)
                } else if within(&missing.key_frame, at) {
                    Some(GapCause::NoKeyFrame)
                } else {
                    Some(GapCause::NotSent)
                };
                let found: Vec<_> = gaps.iter().filter(|gap| gap.start <= at && at < gap.end).collect();
                prop_assert!(found.len() <= 1);
                prop_assert_eq!(found.first().map(|gap| gap.cause), expected);
            }
            prop_assert!(gaps.windows(2).all(|w| w[0].end < w[1].start || w[0].cause != w[1].cause));
        }
    }
}
