//! What was said, written and done by people: from the messages of a journal to the transcript, the chat and the people
//! of the timeline.
//!
//! It owns what becomes of corrections, deletions and times that cannot be right. It leaves the clock to the tracks
//! (all is put on the timeline at the end, when every pause is known) and the formats to `output`.

mod said;
mod seen;
mod written;

use super::Error;
use super::items::Item;
use crate::ids::Product;
use crate::media::{Pts, Timestamp};
use crate::output::Object;
use crate::output::chat::Chat;
use crate::output::people::People;
use crate::output::transcript::{Missing, Transcript};
use crate::protocol::message::Medium;
use crate::store::uploader::PlannedFile;
use crate::timeline::clock::{Clock, Place};
use crate::timeline::{MAX_JUMP_MS, Span};
use said::Said;
use seen::Seen;
use std::path::Path;
use written::Written;

/// Collected while a journal is read.
#[derive(Debug, Default)]
pub(super) struct Collected {
    said: Said,
    written: Written,
    seen: Seen,
}

/// The texts of a recording.
#[derive(Debug)]
pub(super) struct Texts {
    /// None if nothing was said.
    transcript: Option<Transcript>,
    /// None if nothing was written.
    chat: Option<Chat>,
    pub(super) people: People,
    /// Why the texts are not complete, a sentence each.
    pub(super) remarks: Vec<String>,
}

/// When the connections of texts were down.
#[derive(Debug, Default)]
pub(super) struct Down {
    pub(super) transcript: Vec<Span>,
    pub(super) chat: Vec<Span>,
}

impl Collected {
    /// Takes in one item, if it is of its kind.
    pub(super) fn push(&mut self, item: &Item) {
        match item {
            Item::Said(utterance) => self.said.push(utterance),
            Item::Written(message) => self.written.push(message),
            Item::Happened(happening) => self.seen.push(happening),
            _ => {}
        }
    }

    /// Who is there after what was seen so far, by name if that is known.
    pub(super) fn present(&self, product: Option<Product>) -> Vec<String> {
        self.seen.present(product)
    }

    /// The earliest time of a text: the zero of a recording without any media.
    pub(super) fn earliest(&self) -> Option<Timestamp> {
        self.said.earliest().into_iter().chain(self.written.earliest()).min()
    }

    /// Puts all of it on the timeline, which ends at `end`. `zero` is what the files call their zero.
    pub(super) fn finish(
        self,
        clock: &Clock,
        zero: Option<Timestamp>,
        end: Pts,
        product: Option<Product>,
        down: &Down,
    ) -> Texts {
        let mut remarks = Vec::new();
        for (medium, spans) in [(Medium::Transcript, &down.transcript), (Medium::Chat, &down.chat)] {
            remarks.extend(sentence(medium, spans));
        }
        Texts {
            transcript: self.said.finish(clock, zero, missing(&down.transcript)),
            chat: self.written.finish(clock, zero, missing(&down.chat)),
            people: self.seen.finish(clock, end, product),
            remarks,
        }
    }
}

impl Texts {
    /// Writes the files into `out`: those for which there is anything.
    pub(super) async fn write(&self, out: &Path) -> Result<Vec<PlannedFile>, Error> {
        let mut contents = Vec::new();
        if let Some(transcript) = &self.transcript {
            contents.push((Object::TranscriptVtt, transcript.to_vtt().into_bytes()));
            contents.push((Object::TranscriptJson, transcript.to_json()));
        }
        if let Some(chat) = &self.chat {
            contents.push((Object::ChatTxt, chat.to_txt().into_bytes()));
            contents.push((Object::ChatJson, chat.to_json()));
        }
        let mut files = Vec::new();
        for (object, content) in contents {
            let path = out.join(object.name());
            tokio::fs::write(&path, content).await.map_err(Error::io("writing", &path))?;
            files.push(PlannedFile { object, path, duration_ms: None, codec: None });
        }
        Ok(files)
    }
}

/// Whether a time can belong to this recording.
fn is_plausible(clock: &Clock, at: Timestamp) -> bool {
    at.ms_since(clock.zero()).unsigned_abs() <= MAX_JUMP_MS.unsigned_abs()
}

fn is_cut(clock: &Clock, at: Timestamp) -> bool {
    clock.place(at) == Place::Paused
}

fn missing(down: &[Span]) -> Vec<Missing> {
    down.iter().map(|span| Missing { start_ms: span.start, end_ms: span.end }).collect()
}

/// Zoom does not send again what was said or written while a connection was down, and nobody knows whether anything was.
fn sentence(medium: Medium, down: &[Span]) -> Option<String> {
    let ms: i64 = down.iter().map(|span| span.ms()).sum();
    let times = if down.len() == 1 { "once" } else { &format!("{} times", down.len()) };
    let (what, happened) = match medium {
        Medium::Chat => ("chat", "written"),
        _ => ("transcript", "said"),
    };
    let text =
        format!("The {what}'s connection was down {times}, {ms} ms in all; what was {happened} then is not in it.");
    (!down.is_empty()).then_some(text)
}
