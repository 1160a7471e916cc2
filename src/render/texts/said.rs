//! From the transcript's messages to cues.
//!
//! An utterance is known by who spoke and its timestamp. A later message about the same one takes its place, whether Zoom
//! calls it an update or sends it twice; a deletion takes it away. What was overtaken by its own update or deletion changes
//! nothing any more.

use super::{is_cut, is_plausible};
use crate::ids::UserId;
use crate::media::{Pts, Timestamp};
use crate::output::transcript::{Cue, Missing, SCHEMA_VERSION, Transcript};
use crate::protocol::transcript::{Change, Utterance};
use crate::timeline::clock::Clock;
use std::collections::HashMap;

/// An utterance that lasts longer has an end that cannot be right.
const MAX_MS: i64 = 5 * 60 * 1000;
/// From a start time to the timestamp of the same utterance, at most.
const MAX_APART_MS: i64 = 60 * 60 * 1000;

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// In the order in which they came.
    utterances: Vec<Known>,
    by_key: HashMap<(UserId, Timestamp), usize>,
}

/// What is known of an utterance.
#[derive(Debug)]
struct Known {
    /// None if it was taken back.
    said: Option<Utterance>,
    /// Whether the message came that it begins with, and not only later ones.
    begun: bool,
}

impl Said {
    pub(super) fn push(&mut self, utterance: &Utterance) {
        let key = utterance.user_id.clone().zip(utterance.timestamp.or(utterance.start));
        let is_new = utterance.change == Change::New;
        let Some(at) = key.as_ref().and_then(|key| self.by_key.get(key)) else {
            if let Some(key) = key {
                self.by_key.insert(key, self.utterances.len());
            }
            let said = (utterance.change != Change::Delete).then(|| utterance.clone());
            self.utterances.push(Known { said, begun: is_new });
            return;
        };
        let known = &mut self.utterances[*at];
        let overtaken = is_new && !known.begun;
        known.begun |= is_new;
        known.said = match (utterance.change, known.said.take()) {
            // What was taken back stays so, unless it is said anew.
            (Change::Delete, _) | (Change::Update, None) => None,
            (_, later) if overtaken => later.map(|later| filled_in(later, Some(utterance.clone()))),
            (_, earlier) => Some(filled_in(utterance.clone(), earlier)),
        };
    }

    pub(super) fn earliest(&self) -> Option<Timestamp> {
        let times = self
            .utterances
            .iter()
            .filter_map(|known| known.said.as_ref())
            .filter_map(|said| said.timestamp.or(said.start));
        times.min()
    }

    /// The transcript; none if there never was anything to be in it.
    pub(super) fn finish(self, clock: &Clock, zero: Option<Timestamp>, missing: Vec<Missing>) -> Option<Transcript> {
        let (mut cues, mut left_out, mut last) = (Vec::new(), 0, clock.zero());
        for said in
            self.utterances.into_iter().filter_map(|known| known.said).filter(|said| !said.text.trim().is_empty())
        {
            let (start, end, end_is_estimated) = times(&said, clock, last);
            last = start;
            let (start_ms, end_ms) = (clock.pts(start), clock.pts(end));
            if is_cut(clock, start) && start_ms == end_ms {
                left_out += 1;
                continue;
            }
            cues.push(Cue {
                start_ms,
                end_ms: end_ms.max(Pts(start_ms.0.saturating_add(1))),
                at: start,
                end_is_estimated,
                user_id: said.user_id,
                user_name: said.user_name,
                language: said.language,
                text: said.text,
            });
        }
        cues.sort_by_key(|cue| cue.start_ms);
        let there_is = !cues.is_empty() || left_out > 0;
        let transcript = || Transcript {
            schema_version: SCHEMA_VERSION,
            zero_at: zero,
            cues,
            missing,
            left_out_in_pauses: left_out,
        };
        there_is.then(transcript)
    }
}

/// A correction may leave out what has not changed.
fn filled_in(new: Utterance, earlier: Option<Utterance>) -> Utterance {
    let Some(earlier) = earlier else { return new };
    Utterance {
        user_name: new.user_name.or(earlier.user_name),
        start: new.start.or(earlier.start),
        end: new.end.or(earlier.end),
        language: new.language.or(earlier.language),
        ..new
    }
}

/// Where an utterance starts and ends on Zoom's clock, and whether the end is a guess. One without any time that can be
/// right stands where the one before it stood.
fn times(said: &Utterance, clock: &Clock, last: Timestamp) -> (Timestamp, Timestamp, bool) {
    let plausible = |at: &Timestamp| is_plausible(clock, *at);
    let timestamp = said.timestamp.filter(plausible);
    let near = |at: &Timestamp| timestamp.is_none_or(|own| at.ms_since(own).abs() <= MAX_APART_MS);
    let start = said.start.filter(plausible).filter(near).or(timestamp).unwrap_or(last);
    let told = said.end.filter(|end| (1..=MAX_MS).contains(&end.ms_since(start)));
    (start, told.unwrap_or_else(|| start.plus_ms(reading_ms(&said.text))), told.is_none())
}

/// How long it takes to say a text, roughly.
fn reading_ms(text: &str) -> i64 {
    const MS_A_CHARACTER: i64 = 65;
    let characters = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    characters.saturating_mul(MS_A_CHARACTER).clamp(1000, 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::clock::PausePolicy;
    use proptest::prelude::*;

    const ZERO: i64 = 1_795_000_000_000;

    fn utterance(change: Change, user: &str, at: i64, text: &str) -> Utterance {
        Utterance {
            user_id: Some(UserId::new(user)).filter(|_| !user.is_empty()),
            user_name: None,
            timestamp: Some(Timestamp(ZERO + at)),
            start: Some(Timestamp(ZERO + at)),
            end: Some(Timestamp(ZERO + at + 2000)),
            language: None,
            change,
            text: text.to_owned(),
        }
    }

    fn cues_on(clock: &Clock, said: &[Utterance]) -> Vec<(i64, i64, String)> {
        let mut all = Said::default();
        said.iter().for_each(|utterance| all.push(utterance));
        let cues = all.finish(clock, None, Vec::new()).map_or_else(Vec::new, |transcript| transcript.cues);
        cues.into_iter().map(|cue| (cue.start_ms.0, cue.end_ms.0, cue.text)).collect()
    }

    fn cues(said: &[Utterance]) -> Vec<(i64, i64, String)> {
        cues_on(&Clock::new(Timestamp(ZERO), PausePolicy::Cut), said)
    }

    #[test]
    fn corrections_and_deletions_are_applied_to_the_right_utterance() {
        use Change::{Delete, New, Update};
        let said = [
            utterance(New, "a", 1000, "wrong"),
            utterance(New, "b", 1000, "at the same time"),
            utterance(New, "b", 9000, "taken back"),
            utterance(Update, "a", 1000, "right"),
            utterance(Delete, "b", 9000, ""),
            utterance(Update, "b", 9000, "too late"),
            utterance(Update, "c", 500, "its first message was missed"),
            utterance(New, "a", 1000, "right"),
            utterance(Delete, "nobody", 0, ""),
            utterance(New, "a", 20_000, " "),
        ];
        let text = |(start, end, text): (i64, i64, &str)| (start, end, text.to_owned());
        let expected =
            [(500, 2500, "its first message was missed"), (1000, 3000, "right"), (1000, 3000, "at the same time")];
        assert_eq!(cues(&said), expected.map(text));
    }

    #[test]
    fn what_was_overtaken_by_its_correction_does_not_undo_it() {
        use Change::{Delete, New, Update};
        let mut corrected = utterance(Update, "a", 1000, "right");
        corrected.end = None;
        let said = [
            corrected,
            utterance(New, "a", 1000, "wrong"),
            utterance(Delete, "a", 5000, ""),
            utterance(New, "a", 5000, "taken back"),
            utterance(Update, "a", 5000, "taken back, too"),
            utterance(New, "a", 9000, "taken back"),
            utterance(Delete, "a", 9000, ""),
            utterance(New, "a", 9000, "said anew"),
        ];
        assert_eq!(cues(&said), [(1000, 3000, "right".to_owned()), (9000, 11_000, "said anew".to_owned())]);
    }

    #[test]
    fn nobody_in_particular_may_say_two_things_at_once() {
        let said = ["one", "two"].map(|text| utterance(Change::New, "", 10, text));
        assert_eq!(cues(&said).len(), 2);
    }

    #[test]
    fn times_that_cannot_be_right_are_repaired() {
        let with = |start: Option<i64>, end: Option<i64>, timestamp: Option<i64>| {
            let at = |ms: i64| Timestamp(ZERO + ms);
            Utterance {
                start: start.map(at),
                end: end.map(at),
                timestamp: timestamp.map(at),
                ..utterance(Change::New, "a", 0, "twenty characters...")
            }
        };
        let guess = 20 * 65;
        for (start, end, timestamp, expected) in [
            (Some(100), Some(900), Some(50), (100, 900)),
            (None, Some(900), Some(50), (50, 900)),
            (Some(100), None, None, (100, 100 + guess)),
            (Some(100), Some(100), Some(100), (100, 100 + guess)),
            (Some(100), Some(-5000), Some(100), (100, 100 + guess)),
            (Some(100), Some(100 + MAX_MS + 1), Some(100), (100, 100 + guess)),
            (Some(-ZERO + 5), Some(900), Some(50), (50, 900)),
            (Some(5 * 3_600_000), Some(900), Some(50), (50, 900)),
            (None, None, None, (0, guess)),
        ] {
            let (start, end, _) = cues(&[with(start, end, timestamp)]).remove(0);
            assert_eq!((start, end), expected);
        }
        let placed = cues(&[with(Some(7000), Some(7500), None), with(None, None, Some(i64::MAX - ZERO))]);
        assert_eq!(placed[1].0, 7000, "where the one before it stood");
    }

    #[test]
    fn pauses_are_cut_out_and_nothing_said_in_them_is_kept() {
        let mut clock = Clock::new(Timestamp(ZERO), PausePolicy::Cut);
        clock.pause(Timestamp(ZERO + 10_000));
        clock.resume(Timestamp(ZERO + 20_000));
        let said: Vec<_> =
            [-3000, 9000, 12_000, 19_000, 25_000].map(|at| utterance(Change::New, "a", at, "text")).into();
        let times: Vec<_> = cues_on(&clock, &said).into_iter().map(|(start, end, _)| (start, end)).collect();
        assert_eq!(times, [(-3000, -1000), (9000, 10_000), (10_000, 11_000), (15_000, 17_000)]);
        let mut only = Said::default();
        only.push(&said[2]);
        let transcript = only.finish(&clock, None, Vec::new()).unwrap();
        assert_eq!((transcript.cues.len(), transcript.left_out_in_pauses), (0, 1));
        assert_eq!(cues_on(&Clock::new(Timestamp(ZERO), PausePolicy::Keep), &said).len(), 5);
    }

    proptest! {
        #[test]
        fn any_times_make_cues_in_order_that_end_after_they_start(
            times in prop::collection::vec((any::<Option<i64>>(), any::<Option<i64>>(), any::<Option<i64>>(), 1u8..4), 0..20),
            pause: i64,
        ) {
            let mut clock = Clock::new(Timestamp(ZERO), PausePolicy::Cut);
            clock.pause(Timestamp(pause));
            clock.resume(Timestamp(pause.saturating_add(5000)));
            let said: Vec<_> = times
                .iter()
                .map(|&(start, end, timestamp, change)| Utterance {
                    start: start.map(Timestamp),
                    end: end.map(Timestamp),
                    timestamp: timestamp.map(Timestamp),
                    change: [Change::New, Change::Update, Change::Delete][usize::from(change - 1)],
                    ..utterance(Change::New, "a", 0, "text")
                })
                .collect();
            let cues = cues_on(&clock, &said);
            prop_assert!(cues.iter().all(|(start, end, _)| start < end && *start >= -MAX_ABS && *end <= MAX_ABS));
            prop_assert!(cues.is_sorted_by_key(|(start, ..)| *start));
        }
    }

    const MAX_ABS: i64 = crate::timeline::MAX_JUMP_MS + MAX_MS;
}
