//! The people of a generated meeting, and what they say and write.
//!
//! Their names are what names can be: accents, quotes, slashes, markup.

use serde_json::{Value, json};

/// Somebody in a generated meeting.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) id: u32,
    pub(super) name: &'static str,
    /// When they join, in media time.
    pub(super) joins_ms: i64,
}

/// Everybody. The third comes late.
pub(super) const PEOPLE: [Person; 3] = [
    Person { id: 16_778_240, name: "Ada Example", joins_ms: 0 },
    Person { id: 16_779_264, name: "Bo/b \"Ops\" Ünal", joins_ms: 0 },
    Person { id: 16_780_288, name: "李 <Carol> & Co", joins_ms: 5000 },
];

/// How long each speaks before the next takes over.
pub(super) const TURN_MS: i64 = 10_000;
/// How long the previous speaker talks into the next one's turn.
const OVERLAP_MS: i64 = 2000;

/// The number of the active speaker.
pub(super) fn speaker(ms: i64) -> usize {
    (ms.max(0) / TURN_MS) as usize % PEOPLE.len()
}

/// Whether this person's microphone is open.
pub(super) fn talks(person: usize, ms: i64) -> bool {
    let before = ms - TURN_MS;
    speaker(ms) == person || (before >= 0 && ms % TURN_MS < OVERLAP_MS && speaker(before) == person)
}

/// A message of text that is due at some time.
#[derive(Debug)]
pub(super) struct Text {
    /// Its `timestamp`, in media time.
    pub(super) at_ms: i64,
    pub(super) text: String,
    /// `content`, given the Unix time of position 0.
    pub(super) content: Value,
}

const TRANSCRIPT_EVERY_MS: i64 = 3000;
const UTTERANCE_MS: i64 = 2000;
const CHAT_EVERY_MS: i64 = 7000;

/// When line `i` begins.
pub(super) fn transcript_at(i: i64) -> i64 {
    500 + i * TRANSCRIPT_EVERY_MS
}

/// When line `i` is sent: once it has been said.
pub(super) fn transcript_due(i: i64) -> i64 {
    transcript_at(i) + UTTERANCE_MS
}

/// The `i`-th line that is said.
pub(super) fn transcript(i: i64, epoch_ms: i64) -> Text {
    let at_ms = transcript_at(i);
    let person = &PEOPLE[speaker(at_ms)];
    let text = format!("Line {i}: naïve <b>résumé</b> & \"quotes\" — says {}.", person.name);
    let content = json!({
        "user_id": person.id, "user_name": person.name, "start_time": epoch_ms + at_ms,
        "end_time": epoch_ms + at_ms + UTTERANCE_MS, "timestamp": epoch_ms + at_ms, "language": 9,
        "attribute": 1, "data": text,
    });
    Text { at_ms, text, content }
}

/// When message `i` is written.
pub(super) fn chat_at(i: i64) -> i64 {
    2000 + i * CHAT_EVERY_MS
}

/// The `i`-th chat message: plain, with its particulars beside it, or with all of it as JSON inside `data`.
pub(super) fn chat(i: i64, epoch_ms: i64) -> Text {
    let at_ms = chat_at(i);
    let timestamp = epoch_ms + at_ms;
    let person = &PEOPLE[(i % 2) as usize];
    let text = format!("Chat {i}: see https://example.test/?a=1&b=2 <3 🎬");
    let mut extended = json!({
        "user_id": person.id, "user_name": person.name, "chat_session": {"type": 1, "id": "everyone"},
        "operation_type": 1, "message_id": format!("{{MSG-{i:04}}}"), "parent_message_id": "",
        "sender": {"user_id": person.id, "user_name": person.name}, "data": text, "timestamp": timestamp,
    });
    let content = match i % 3 {
        0 => json!({"user_id": person.id, "user_name": person.name, "timestamp": timestamp, "data": text}),
        1 => extended,
        _ => {
            extended["files"] = json!([{"file_id": "f1", "file_name": "../plan.pdf", "file_size": 1234}]);
            json!({"timestamp": timestamp, "data": extended.to_string()})
        }
    };
    Text { at_ms, text, content }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_overlap_but_nobody_talks_before_the_first() {
        assert!(talks(0, 0) && !talks(2, 0) && !talks(1, 0));
        assert!(talks(1, 10_000) && talks(0, 11_999) && !talks(0, 12_000));
        assert_eq!(speaker(30_000), 0);
    }

    #[test]
    fn the_third_form_of_chat_is_json_inside_data() {
        let content = chat(2, 0).content;
        let inner: Value = serde_json::from_str(content["data"].as_str().unwrap()).unwrap();
        assert_eq!(inner["data"], chat(2, 0).text);
    }
}
