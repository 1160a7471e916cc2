//! All tracks of a recording, from chunks of its journal to what is ready to be encoded and written.
//!
//! Nothing here waits for anything, so it runs where it may take its time. The result depends on the order of the
//! journal's lines alone, not on how they are spread over chunks.

use super::Settings;
use super::facts::Facts;
use super::items::{Item, Received, items};
use super::pictures::PictureTrack;
use super::sound::{Admitted, Pcm, SoundTracks};
use super::texts::{Collected, Texts};
use super::unusable;
use crate::ids::UserId;
use crate::journal::Note;
use crate::media::{AccessUnit, Gap, Pts, Timestamp, TrackKey};
use crate::output::manifest::TrackSummary;
use crate::output::timeline::{Connection, Dropped, Pause, Repeated, Unusable, Why};
use crate::protocol::happening::Kind;
use crate::protocol::message::Medium;
use crate::timeline::clock::{Clock, PausePolicy};
use crate::timeline::gaps::{Missing, Outages, attribute};
use crate::timeline::image::Size;
use crate::timeline::picture::{self, Frame, Mode};
use crate::timeline::{MAX_JUMP_MS, Span};
use std::num::NonZeroU32;

/// The tracks up to where they have been rendered.
#[derive(Debug)]
pub(super) struct Tracks {
    clock: Option<Clock>,
    paused: PausePolicy,
    sound: SoundTracks,
    camera: PictureTrack,
    share: PictureTrack,
    facts: Facts,
    texts: Collected,
    unusable: unusable::Received,
    /// What came before anything with a time of its own did.
    early: Vec<Step>,
}

/// What is ready to be encoded and written.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// The mix.
    pub(super) sound: Vec<Pcm>,
    pub(super) participants: Vec<(UserId, Vec<Pcm>)>,
    pub(super) camera: Vec<Frame>,
    pub(super) share: Vec<Frame>,
}

/// All of a recording.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) ready: Ready,
    pub(super) facts: Facts,
    pub(super) zero: Option<Timestamp>,
    pub(super) end: Pts,
    pub(super) gaps: Vec<Gap>,
    pub(super) tracks: Vec<TrackSummary>,
    pub(super) repeated: Vec<Repeated>,
    pub(super) unusable: Vec<Unusable>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) pauses: Vec<Pause>,
    pub(super) connections: Vec<Connection>,
    /// Whose sound came by itself, with their names.
    pub(super) participants: Vec<(UserId, Option<String>)>,
    pub(super) texts: Texts,
    pub(super) remarks: Vec<String>,
}

/// A packet is older than the zero that was rendered from: it has to be done again from this one.
#[derive(Clone, Copy, Debug)]
pub(super) struct EarlierZero(pub(super) Timestamp);

/// What happens to tracks, in order.
#[derive(Debug)]
enum Step {
    Sound(Admitted),
    Picture(Medium, AccessUnit),
    Lost(Medium),
    Paused(bool, Timestamp),
    Sharing(bool, Timestamp),
}

impl Step {
    /// The time of a packet.
    fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::Sound(packet) => Some(packet.timestamp),
            Self::Picture(_, unit) => Some(unit.timestamp),
            _ => None,
        }
    }
}

impl Tracks {
    /// Who is there by now, by name if that is known.
    pub(super) fn present(&self) -> Vec<String> {
        self.texts.present(self.facts.started().map(|started| started.stream.product))
    }

    /// Tracks that start at `zero`, or at the earliest packet of the first chunk that has any.
    pub(super) fn new(settings: &Settings, zero: Option<Timestamp>) -> Self {
        let (width, height) = settings.canvas;
        let pictures = |key, mode| {
            let settings = picture::Settings {
                mode,
                encode: settings.video_encode,
                canvas: Size { width, height },
                fps: NonZeroU32::MIN.saturating_add(24),
            };
            PictureTrack::new(key, settings)
        };
        Self {
            clock: zero.map(|zero| Clock::new(zero, settings.paused)),
            paused: settings.paused,
            sound: SoundTracks::default(),
            camera: pictures(TrackKey::Camera, Mode::Camera),
            share: pictures(TrackKey::Share, Mode::Share),
            facts: Facts::default(),
            texts: Collected::default(),
            unusable: unusable::Received::default(),
            early: Vec::new(),
        }
    }

    /// Takes the next lines of the journal.
    pub(super) fn feed(&mut self, lines: &[u8], open: bool) -> Result<Ready, EarlierZero> {
        let mut steps = std::mem::take(&mut self.early);
        for received in items(lines, open) {
            self.facts.push(&received);
            self.texts.push(&received.item);
            self.judge(received, &mut steps);
        }
        if self.clock.is_none() {
            self.early = steps;
            return Ok(Ready::default());
        }
        self.take_steps(steps)
    }

    /// A chunk has been fed. Zero is the earliest time in the first one that has any.
    pub(super) fn end_chunk(&mut self) -> Result<Ready, EarlierZero> {
        let steps = std::mem::take(&mut self.early);
        self.take_steps(steps)
    }

    /// Ends all tracks at the same time.
    pub(super) fn finish(mut self) -> Result<Whole, EarlierZero> {
        let mut steps = std::mem::take(&mut self.early);
        self.drain(Medium::Audio, &mut steps);
        self.drain(Medium::Video, &mut steps);
        self.drain(Medium::Share, &mut steps);
        if self.clock.is_none() && steps.iter().all(|step| step.timestamp().is_none()) {
            // Nothing but texts: the timeline is theirs.
            self.clock = self.texts.earliest().map(|zero| Clock::new(zero, self.paused));
        }
        let mut ready = self.take_steps(steps)?;

        let there = [self.sound.is_there(), self.camera.is_there(), self.share.is_there()];
        let ends = [self.sound.last_end(), self.camera.last_end(), self.share.last_end()];
        let end = there.iter().zip(ends).filter(|(there, _)| **there).map(|(_, end)| end).max().unwrap_or(Pts(0));
        let zero = self.clock.as_ref().map(Clock::zero);
        let clock = self.clock.unwrap_or_else(|| Clock::new(Timestamp(0), self.paused));
        // A note of an impossible time, in a journal that is damaged, is not to make hours of silence.
        let lost_until = Some(self.facts.disk_end(&clock)).filter(|until| until.0 <= end.0.saturating_add(MAX_JUMP_MS));
        let end = if there.contains(&true) { lost_until.map_or(end, |until| end.max(until)) } else { end };
        let mut unusable = self.unusable.on_timeline(|t_ms| self.facts.at(&clock, t_ms));
        let outages = |medium, holes: &[Span]| Outages {
            disk: self.facts.disk(&clock),
            connection: self.facts.down(medium, &clock, holes),
            paused: match self.paused {
                PausePolicy::Cut => Vec::new(),
                PausePolicy::Keep => pauses(&clock, end),
            },
        };
        let (mut gaps, mut tracks, mut dropped, mut remarks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let sound = self.sound.finish(end);
        ready.sound.extend(sound.mix);
        remarks.extend(sound.remarks);
        let mut repeated = sound.repeated;
        for (summary, missing) in sound.tracks {
            let missing = Missing { media: missing, key_frame: Vec::new() };
            gaps.extend(attribute(&summary.track, &missing, &outages(Medium::Audio, &missing.media)));
            tracks.push(summary);
        }
        let mut participants = Vec::new();
        for (user, name, rest) in sound.participants {
            participants.push((user.clone(), name));
            ready.participants.push((user, rest));
        }
        for (track, medium, frames) in
            [(self.camera, Medium::Video, &mut ready.camera), (self.share, Medium::Share, &mut ready.share)]
        {
            if track.is_there() {
                let finished = track.finish(end);
                let (key, missing) = (finished.dropped.track.clone(), finished.missing);
                frames.extend(finished.rest);
                repeated.extend(finished.repeated);
                let of_track = |(why, at)| Unusable { track: key.clone(), start_ms: at, end_ms: at, why, packets: 1 };
                unusable.extend(finished.unusable.into_iter().map(of_track));
                dropped.push(finished.dropped);
                let holes = attribute(&key, &missing, &outages(medium, &missing.media));
                let filled_ms = holes.iter().map(|gap| gap.end.0 - gap.start.0).sum::<i64>().max(0).unsigned_abs();
                let received_ms = end.0.max(0).unsigned_abs().saturating_sub(filled_ms);
                let dropped_ms = missing.key_frame.iter().map(|span| span.ms()).sum::<i64>().unsigned_abs();
                tracks.push(TrackSummary { track: key, received_ms, filled_ms, dropped_ms });
                gaps.extend(holes);
            }
        }
        let product = self.facts.started().map(|started| started.stream.product);
        let texts = self.texts.finish(&clock, zero, end, product, &self.facts.texts_down(&clock));
        let pauses = clock.pauses().into_iter().map(|(from, until)| {
            let end_ms = until.map_or(end, |until| clock.pts(until));
            Pause { start_ms: clock.pts(from), end_ms, from, until }
        });
        let (pauses, connections) = (pauses.collect(), self.facts.connections(&clock));
        Ok(Whole {
            ready,
            facts: self.facts,
            zero,
            end,
            gaps,
            tracks,
            repeated,
            unusable,
            dropped,
            pauses,
            connections,
            participants,
            texts,
            remarks,
        })
    }

    /// Turns a received item into steps, with packets of unbelievable time held back.
    fn judge(&mut self, received: Received, steps: &mut Vec<Step>) {
        let before = steps.len();
        match received.item {
            Item::Sound { timestamp, speaker, name, bytes } => {
                let key = speaker.clone().map_or(TrackKey::Mix, TrackKey::Participant);
                let [misplaced, undecoded] = [self.sound.misplaced(&speaker), self.sound.undecoded()];
                let admitted = self.sound.admit(timestamp, speaker.clone(), name, &bytes);
                steps.extend(admitted.into_iter().map(Step::Sound));
                let [misplaced, undecoded] =
                    [self.sound.misplaced(&speaker) - misplaced, self.sound.undecoded() - undecoded];
                self.note_unusable(&key, received.t_ms, misplaced, undecoded);
            }
            Item::Parameters(Medium::Audio, params) => {
                steps.extend(self.sound.parameters(&params).into_iter().map(Step::Sound));
            }
            Item::Picture(medium, unit) => {
                let (track, key) = match medium {
                    Medium::Share => (&mut self.share, TrackKey::Share),
                    _ => (&mut self.camera, TrackKey::Camera),
                };
                let before = track.misplaced();
                steps.extend(track.admit(unit).into_iter().map(|(_, unit)| Step::Picture(medium, unit)));
                let misplaced = track.misplaced() - before;
                self.note_unusable(&key, received.t_ms, misplaced, 0);
            }
            Item::Paused(paused, at) => steps.push(Step::Paused(paused, at)),
            Item::Happened(happening) => match happening.kind(None) {
                Some(Kind::SharingStarted) => steps.push(Step::Sharing(true, happening.at)),
                Some(Kind::SharingStopped) => steps.push(Step::Sharing(false, happening.at)),
                _ => {}
            },
            Item::Note(Note::Lost { conn, .. }) => {
                if let Some(medium) = Medium::ALL.into_iter().find(|medium| medium.as_str() == conn) {
                    self.lost(medium, steps);
                }
            }
            // What follows may refer to pictures that were lost.
            Item::Note(Note::Resumed | Note::Dropped { .. }) => {
                for medium in [Medium::Audio, Medium::Video, Medium::Share] {
                    self.lost(medium, steps);
                }
            }
            _ => {}
        }
        // Only what came without delay tells the clocks' distance, so the newest of them does.
        if let Some(timestamp) = steps[before..].iter().filter_map(Step::timestamp).max() {
            self.facts.heard(received.t_ms, timestamp);
        }
    }

    fn note_unusable(&mut self, track: &TrackKey, t_ms: i64, misplaced: u64, undecoded: u64) {
        for (why, packets) in [(Why::BadTime, misplaced), (Why::Undecodable, undecoded)] {
            if packets > 0 {
                self.unusable.note(track.clone(), why, t_ms, packets);
            }
        }
    }

    fn lost(&mut self, medium: Medium, steps: &mut Vec<Step>) {
        self.drain(medium, steps);
        steps.push(Step::Lost(medium));
    }

    /// Nothing will speak against what is held back.
    fn drain(&mut self, medium: Medium, steps: &mut Vec<Step>) {
        match medium {
            Medium::Audio => {
                steps.extend(self.sound.drain().into_iter().map(Step::Sound));
            }
            Medium::Video | Medium::Share => {
                let track = if medium == Medium::Share { &mut self.share } else { &mut self.camera };
                steps.extend(track.drain().into_iter().map(|(_, unit)| Step::Picture(medium, unit)));
            }
            Medium::Transcript | Medium::Chat => {}
        }
    }

    fn take_steps(&mut self, steps: Vec<Step>) -> Result<Ready, EarlierZero> {
        let earliest = steps.iter().filter_map(Step::timestamp).min();
        let clock = match (&mut self.clock, earliest) {
            (Some(clock), Some(earliest)) if earliest < clock.zero() => return Err(EarlierZero(earliest)),
            (Some(clock), _) => clock,
            (None, Some(earliest)) => self.clock.insert(Clock::new(earliest, self.paused)),
            (None, None) => {
                self.early = steps;
                return Ok(Ready::default());
            }
        };
        for step in steps {
            match step {
                Step::Sound(packet) => self.sound.push(clock, packet),
                Step::Picture(Medium::Share, unit) => self.share.push(clock, unit),
                Step::Picture(_, unit) => self.camera.push(clock, unit),
                Step::Lost(Medium::Video) => self.camera.connection_lost(),
                Step::Lost(Medium::Share) => self.share.connection_lost(),
                Step::Lost(_) => {}
                Step::Paused(true, at) => clock.pause(at),
                Step::Paused(false, at) => clock.resume(at),
                Step::Sharing(on, at) => self.share.sharing(on, clock.pts(at)),
            }
        }
        let (sound, participants) = self.sound.take();
        Ok(Ready { sound, participants, camera: self.camera.take(), share: self.share.take() })
    }
}

/// When the session was paused, on the recording's timeline.
fn pauses(clock: &Clock, end: Pts) -> Vec<Span> {
    let span =
        |(from, to): (Timestamp, Option<Timestamp>)| Span::new(clock.pts(from), to.map_or(end, |to| clock.pts(to)));
    clock.pauses().into_iter().map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::picture::EncodePolicy;

    fn tracks() -> Tracks {
        let settings = Settings {
            canvas: (1280, 720),
            audio_bitrate: 96_000,
            video_encode: EncodePolicy::Auto,
            paused: PausePolicy::Cut,
            key_template: Default::default(),
            keep_journal: false,
        };
        Tracks::new(&settings, None)
    }

    /// 100 ms of a speaker's sound, as a line of the journal; 0 is Zoom's mix.
    fn line(user: u32, at: i64) -> String {
        let data = base64_simd::STANDARD.encode_to_string([1; 3200]);
        let content = format!(r#"{{"user_id":{user},"timestamp":{at},"data":"{data}"}}"#);
        format!(r#"{{"t":{at},"c":"audio","m":{{"msg_type":14,"content":{content}}}}}"#)
    }

    #[test]
    fn sound_that_is_not_in_the_mix_ends_with_all_the_rest() {
        let mut tracks = tracks();
        // Zoom's mix, and then a participant: 100 ms each.
        let at = 1_795_000_000_000;
        let chunk = [line(0, at), line(0, at + 100), line(7, at + 180), String::new()].join("\n");
        let mut sound = tracks.feed(chunk.as_bytes(), false).unwrap().sound;
        let whole = tracks.finish().unwrap();
        sound.extend(whole.ready.sound);
        let ms = |pcm: &[Pcm]| {
            let bytes = |piece: &Pcm| match piece {
                Pcm::Samples(bytes) => bytes.len() as u64,
                Pcm::Silence(samples) => samples * 2,
            };
            pcm.iter().map(bytes).sum::<u64>() / 32
        };
        assert_eq!(whole.end, Pts(280));
        assert_eq!((ms(&sound), ms(&whole.ready.participants[0].1)), (280, 280));
    }

    #[test]
    fn a_loss_of_an_impossible_time_does_not_lengthen_the_recording() {
        let mut tracks = tracks();
        let at: i64 = 1_795_000_000_000;
        let note = format!(
            r#"{{"t":{at},"c":"event","m":{{"note":"dropped","messages":1,"bytes":1,"from_ms":{at},"to_ms":{}}}}}"#,
            i64::MAX
        );
        let chunk = [line(0, at), line(0, at + 100), note, String::new()].join("\n");
        tracks.feed(chunk.as_bytes(), false).unwrap();
        assert_eq!(tracks.finish().unwrap().end, Pts(200));
    }
}
