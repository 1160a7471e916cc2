//! The messages of one medium, by number: when each is due and how it reads.
//!
//! A feed has no memory of connections; it is asked for message after message from some media time on.

use super::Error;
use super::Settings;
use super::material::{Loop, Material};
use super::params::{Params, PictureParams, SoundParams};
use super::products;
use super::sound::Sound;
use super::text::{self, PEOPLE};
use crate::media::PictureCodec;
use crate::protocol::message::Medium;
use std::fmt::Write as _;
use std::sync::Arc;

/// Participants' streams do not start at the same millisecond.
const PARTICIPANT_OFFSET_MS: i64 = 7;

enum Source {
    /// Nobody shares.
    Nothing,
    Sound {
        sound: Sound,
        params: SoundParams,
        /// Samples in a packet.
        packet: i64,
    },
    Pictures {
        /// From which media time on each loop is shown.
        loops: Vec<(i64, Arc<Loop>)>,
        individual: bool,
    },
    Transcript,
    Chat,
    Replay(Arc<Material>),
}

/// The messages of one medium over one connection.
pub(super) struct Feed {
    pub(super) medium: Medium,
    source: Source,
    settings: Arc<Settings>,
    /// The message that comes next.
    index: i64,
    /// Pictures are passed over up to the next key frame.
    wants_key: bool,
    /// The loop whose SPS and PPS have been sent.
    headers_of: Option<usize>,
}

/// What was written, for the summary.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// Its timestamp, in media time.
    pub(super) at_ms: i64,
    pub(super) bytes: usize,
    pub(super) samples: i64,
    pub(super) key: bool,
    /// Media time at which a beep sets in.
    pub(super) beep_ms: Option<i64>,
    pub(super) flash: bool,
    /// Whose sound it is, if it is not the mix.
    pub(super) user_id: Option<u32>,
    pub(super) text: Option<String>,
    /// The `content` of a text, where it was generated.
    pub(super) content: Option<serde_json::Value>,
}

/// What came of asking for a message.
pub(super) enum Next {
    /// It was written.
    Made(Made),
    /// The script has nothing to send here.
    Withheld,
    /// A picture that cannot be decoded without one that was not sent.
    BeforeKey,
}

impl Feed {
    pub(super) async fn new(
        medium: Medium,
        params: Params,
        settings: &Arc<Settings>,
        material: &Arc<Material>,
    ) -> Result<Self, Error> {
        let source = match params {
            _ if material.replay.is_some() => Source::Replay(material.clone()),
            Params::Sound(params) => Source::Sound {
                sound: Sound::new(params.rate, settings.quirks.clock_ppm),
                params,
                packet: i64::from(params.rate) * params.send_rate_ms / 1000,
            },
            Params::Pictures(_) if medium == Medium::Share && settings.script.share.is_empty() => Source::Nothing,
            Params::Pictures(params) => Source::Pictures {
                loops: loops(medium, params, settings, material).await?,
                individual: params.individual,
            },
            Params::Text if medium == Medium::Chat => Source::Chat,
            Params::Text => Source::Transcript,
        };
        Ok(Self { medium, source, settings: settings.clone(), index: 0, wants_key: false, headers_of: None })
    }

    /// Goes to the first message made at or after `ms`, as a new connection does.
    pub(super) fn seek(&mut self, ms: i64) {
        self.index = self.first_from(ms);
        self.wants_key = self.medium == Medium::Video && !self.settings.quirks.mid_gop;
        self.headers_of = None;
    }

    /// When the next message was made; `None` if there is none.
    pub(super) fn at(&self) -> Option<i64> {
        self.at_index(self.index)
    }

    /// When the next message is sent: once it is complete.
    pub(super) fn due(&self) -> Option<i64> {
        let at = self.at()?;
        Some(match &self.source {
            Source::Sound { params, .. } => at + params.send_rate_ms,
            Source::Transcript => text::transcript_due(self.index),
            Source::Nothing | Source::Pictures { .. } | Source::Chat | Source::Replay(_) => at,
        })
    }

    /// How many messages there are from `from_ms` up to `to_ms`, those that the script withholds left out.
    pub(super) fn count(&self, from_ms: i64, to_ms: i64) -> u64 {
        let mut count = 0;
        for index in self.first_from(from_ms).. {
            match self.at_index(index) {
                Some(at) if at < to_ms => count += u64::from(!self.withheld(index, at, None)),
                _ => break,
            }
        }
        count
    }

    /// Writes the next message to `out` and goes on to the one after it.
    pub(super) fn write(&mut self, epoch_ms: i64, subscribed: Option<u32>, out: &mut String) -> Next {
        let index = self.index;
        let Some(at) = self.at_index(index) else {
            return Next::Withheld;
        };
        self.index += 1;
        if self.withheld(index, at, Some(subscribed)) {
            // The camera comes back with a key frame.
            self.wants_key |= self.medium == Medium::Video && !self.settings.quirks.mid_gop;
            return Next::Withheld;
        }
        let jitter = jitter(index, self.settings.quirks.jitter_ms);
        let at_ms = at + jitter;
        let timestamp = epoch_ms + at_ms;
        match &self.source {
            Source::Nothing => Next::Withheld,
            Source::Sound { sound, params, packet } => {
                let (n, person) = split(index, params.multi);
                let lag = if params.multi { person as i64 * PARTICIPANT_OFFSET_MS } else { 0 };
                let first = n * packet + lag * i64::from(params.rate) / 1000;
                let beeps = !params.multi || text::speaker(at) == person;
                let mut samples = Vec::with_capacity(*packet as usize);
                let onset = sound.write(person, first, *packet as usize, beeps, &mut samples);
                let bytes = samples
                    .iter()
                    .flat_map(|s| std::iter::repeat_n(s.to_le_bytes(), params.channels as usize))
                    .flatten()
                    .collect::<Vec<u8>>();
                let user_id = params.multi.then(|| PEOPLE[person].id);
                open(14, user_id.unwrap_or(0), params.multi.then(|| PEOPLE[person].name), out);
                if let Some(channel) = params.multi.then(|| products::channel(self.settings.product, person)).flatten()
                {
                    write_before_data(&channel, out);
                }
                base64_simd::STANDARD.encode_append(&bytes, out);
                close(bytes.len(), timestamp, out);
                Next::Made(Made {
                    at_ms,
                    bytes: bytes.len(),
                    samples: *packet,
                    beep_ms: onset.map(|s| at_ms + (sound.ms_of(s) - sound.ms_of(first)).round() as i64),
                    user_id,
                    ..Made::default()
                })
            }
            Source::Pictures { loops, .. } => {
                let (which, shown) = loop_of(loops, index);
                let picture = &shown.pictures[index as usize % shown.pictures.len()];
                if self.wants_key && !picture.key {
                    return Next::BeforeKey;
                }
                self.wants_key = false;
                let (mut base64, mut length) = (&picture.base64, picture.length);
                if self.settings.quirks.headers_once
                    && let Some(bare) = &picture.bare
                    && self.headers_of == Some(which)
                {
                    (base64, length) = (&bare.0, bare.1);
                }
                if picture.key {
                    self.headers_of = Some(which);
                }
                let speaker = text::speaker(at);
                let person = match (self.medium, subscribed) {
                    (Medium::Share, _) => &PEOPLE[1],
                    (_, Some(user)) => PEOPLE.iter().find(|p| p.id == user).unwrap_or(&PEOPLE[0]),
                    _ => &PEOPLE[speaker],
                };
                let msg_type = if self.medium == Medium::Share { 16 } else { 15 };
                open(msg_type, person.id, Some(person.name), out);
                out.push_str(base64);
                close(length, timestamp, out);
                Next::Made(Made { at_ms, bytes: length, key: picture.key, flash: picture.flash, ..Made::default() })
            }
            Source::Transcript => made_text(17, text::transcript(index, epoch_ms), out),
            Source::Chat => made_text(18, text::chat(index, epoch_ms), out),
            Source::Replay(material) => {
                let Some(item) = items(material, self.medium).get(index as usize) else {
                    return Next::Withheld;
                };
                if self.wants_key && !item.key {
                    return Next::BeforeKey;
                }
                self.wants_key = false;
                item.write(epoch_ms, out);
                Next::Made(Made {
                    at_ms: item.timestamp_ms,
                    bytes: item.length,
                    samples: if self.medium == Medium::Audio { item.length as i64 / 2 } else { 0 },
                    key: item.key,
                    text: item.text.clone(),
                    ..Made::default()
                })
            }
        }
    }

    fn at_index(&self, index: i64) -> Option<i64> {
        Some(match &self.source {
            Source::Nothing => return None,
            Source::Sound { sound, params, packet } => {
                let (n, person) = split(index, params.multi);
                let lag = if params.multi { person as i64 * PARTICIPANT_OFFSET_MS } else { 0 };
                sound.ms_of(n * packet).round() as i64 + lag
            }
            Source::Pictures { loops, .. } => {
                let fps = i64::from(loops[0].1.fps);
                (index * 1000 + fps / 2) / fps
            }
            Source::Transcript => text::transcript_at(index),
            Source::Chat => text::chat_at(index),
            Source::Replay(material) => items(material, self.medium).get(index as usize)?.at_ms,
        })
    }

    fn first_from(&self, ms: i64) -> i64 {
        let per_second = match &self.source {
            Source::Replay(material) => {
                return items(material, self.medium).partition_point(|item| item.at_ms < ms) as i64;
            }
            Source::Sound { params, .. } => {
                1000 / params.send_rate_ms * if params.multi { PEOPLE.len() as i64 } else { 1 }
            }
            Source::Pictures { loops, .. } => i64::from(loops[0].1.fps),
            Source::Nothing | Source::Transcript | Source::Chat => 0,
        };
        let mut index = ms.max(0) * per_second / 1000;
        while index > 0 && self.at_index(index - 1).is_some_and(|at| at >= ms) {
            index -= 1;
        }
        while self.at_index(index).is_some_and(|at| at < ms) {
            index += 1;
        }
        index
    }

    /// `subscribed` is left out when it is not known.
    fn withheld(&self, index: i64, at: i64, subscribed: Option<Option<u32>>) -> bool {
        if self.settings.script.withholds(self.medium, at) && !matches!(self.source, Source::Replay(_)) {
            return true;
        }
        match &self.source {
            Source::Sound { params, .. } if params.multi => !text::talks(split(index, true).1, at),
            Source::Pictures { individual: true, .. } => subscribed.is_none_or(|user| user.is_none()),
            _ => false,
        }
    }
}

async fn loops(
    medium: Medium,
    params: PictureParams,
    settings: &Settings,
    material: &Material,
) -> Result<Vec<(i64, Arc<Loop>)>, Error> {
    let share = medium == Medium::Share;
    let fps = match params.codec {
        PictureCodec::H264 if !share => params.fps.min(settings.fps),
        _ => params.fps,
    };
    let mut sizes = vec![(i64::MIN, settings.size)];
    if !share {
        sizes.extend(settings.script.size_changes.iter().copied());
        sizes.sort_by_key(|(from, _)| *from);
    }
    let mut loops = Vec::new();
    for (from, size) in sizes {
        let size = size.within(params.ceiling);
        loops.push((from, material.pictures(share, size, fps, params.codec).await?));
    }
    Ok(loops)
}

/// The loop that a picture belongs to: a change waits for the next key frame.
fn loop_of(loops: &[(i64, Arc<Loop>)], index: i64) -> (usize, &Loop) {
    let first = &loops[0].1;
    let gop = match first.codec {
        PictureCodec::H264 => i64::from(first.fps),
        PictureCodec::Jpg | PictureCodec::Png => 1,
    };
    let since_ms = index / gop * gop * 1000 / i64::from(first.fps);
    let which = loops.iter().rposition(|(from, _)| since_ms >= *from).unwrap_or(0);
    (which, &loops[which].1)
}

/// Packet number and participant of a message of sound.
fn split(index: i64, multi: bool) -> (i64, usize) {
    let people = if multi { PEOPLE.len() as i64 } else { 1 };
    (index / people, (index % people) as usize)
}

fn items(material: &Material, medium: Medium) -> &[super::replay::Item] {
    material.replay.as_ref().and_then(|replay| replay.media.get(&medium)).map_or(&[], Vec::as_slice)
}

fn open(msg_type: i64, user_id: u32, user_name: Option<&str>, out: &mut String) {
    write!(out, r#"{{"msg_type":{msg_type},"content":{{"user_id":{user_id},"#).expect("a String takes everything");
    if let Some(name) = user_name {
        write!(out, r#""user_name":{},"#, serde_json::Value::from(name)).expect("a String takes everything");
    }
    out.push_str(r#""data":""#);
}

/// Puts the channel in front of the payload.
fn write_before_data(channel: &str, out: &mut String) {
    const DATA: &str = r#""data":""#;
    out.truncate(out.len() - DATA.len());
    write!(out, r#""channel_id":"{channel}",{DATA}"#).expect("a String takes everything");
}

fn close(length: usize, timestamp: i64, out: &mut String) {
    write!(out, r#"","length":{length},"timestamp":{timestamp}}}}}"#).expect("a String takes everything");
}

fn made_text(msg_type: i64, text: text::Text, out: &mut String) -> Next {
    let message = serde_json::json!({"msg_type": msg_type, "content": text.content});
    out.push_str(&message.to_string());
    let (bytes, content) = (text.text.len(), Some(text.content));
    Next::Made(Made { at_ms: text.at_ms, bytes, text: Some(text.text), content, ..Made::default() })
}

/// The same every time for the same message: a summary can be compared with another run's.
fn jitter(index: i64, limit_ms: i64) -> i64 {
    if limit_ms <= 0 {
        return 0;
    }
    let mut x = (index as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x ^= x >> 31;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 29;
    (x % (2 * limit_ms as u64 + 1)) as i64 - limit_ms
}
