//! Packets that came and could not be used: gathered while rendering, told in `timeline.json`.

use crate::media::{Pts, TrackKey};
use crate::output::timeline::{Unusable, Why};

/// What came within this time of the one before (in ms) is listed with it.
const TOGETHER_MS: i64 = 1000;

/// Packets by when they were received, in Unix ms by the recorder's clock: the time that they bear is not to be believed, or
/// not known yet on the recording's timeline.
#[derive(Debug, Default)]
pub(super) struct Received(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    track: TrackKey,
    why: Why,
    from_ms: i64,
    to_ms: i64,
    packets: u64,
}

impl Received {
    pub(super) fn note(&mut self, track: TrackKey, why: Why, t_ms: i64, packets: u64) {
        let last = self.0.iter_mut().rev().find(|entry| entry.track == track && entry.why == why);
        match last.filter(|last| t_ms.saturating_sub(last.to_ms) <= TOGETHER_MS) {
            Some(last) => {
                last.to_ms = last.to_ms.max(t_ms);
                last.packets += packets;
            }
            None => self.0.push(Entry { track, why, from_ms: t_ms, to_ms: t_ms, packets }),
        }
    }

    /// The list, with times on the recording's timeline.
    pub(super) fn on_timeline(self, pts: impl Fn(i64) -> Pts) -> Vec<Unusable> {
        let on_timeline = |entry: Entry| Unusable {
            start_ms: pts(entry.from_ms),
            end_ms: pts(entry.to_ms),
            track: entry.track,
            why: entry.why,
            packets: entry.packets,
        };
        self.0.into_iter().map(on_timeline).collect()
    }
}

/// A sentence for each track and cause.
pub(super) fn remarks(list: &[Unusable]) -> Vec<String> {
    let mut sums: Vec<(&TrackKey, Why, u64)> = Vec::new();
    for entry in list {
        match sums.iter_mut().find(|sum| sum.0 == &entry.track && sum.1 == entry.why) {
            Some(sum) => sum.2 += entry.packets,
            None => sums.push((&entry.track, entry.why, entry.packets)),
        }
    }
    let sentence = |(track, why, packets): (&TrackKey, Why, u64)| {
        let what = match why {
            Why::BadTime => "had a time that cannot be right",
            Why::Undecodable => "could not be decoded",
        };
        let noun = if packets == 1 { "packet" } else { "packets" };
        format!("{packets} {noun} of {track} {what}.")
    };
    sums.into_iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_together_is_listed_together() {
        let mut received = Received::default();
        for t_ms in [1000, 1400, 2300, 9000] {
            received.note(TrackKey::Mix, Why::BadTime, t_ms, 1);
            received.note(TrackKey::Camera, Why::Undecodable, t_ms, 2);
        }
        let list = received.on_timeline(|t_ms| Pts(t_ms - 1000));
        let shape: Vec<_> = list.iter().map(|e| (e.track.clone(), e.start_ms.0, e.end_ms.0, e.packets)).collect();
        assert_eq!(
            shape,
            [
                (TrackKey::Mix, 0, 1300, 3),
                (TrackKey::Camera, 0, 1300, 6),
                (TrackKey::Mix, 8000, 8000, 1),
                (TrackKey::Camera, 8000, 8000, 2),
            ]
        );
        assert_eq!(
            remarks(&list),
            ["4 packets of audio had a time that cannot be right.", "8 packets of video could not be decoded."]
        );
    }
}
