//! The people of a generated meeting, and what they say and write.
//!
//! Their names are what names can be: accents, quotes, slashes, markup. What they say is corrected, taken back and said
//! at the same time; what they write is answered, edited, deleted and reacted to. Each message has a place in the feed,
//! which never goes back, besides the timestamp in it.

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

/// Somebody who says nothing, and leaves before the end.
pub(super) const GUEST: Person = Person { id: 16_781_312, name: "דנה (guest)", joins_ms: 7000 };
/// When the guest leaves.
pub(super) const GUEST_LEAVES_MS: i64 = 14_000;

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

/// A message of text.
#[derive(Debug)]
pub(super) struct Text {
    /// Its `timestamp`, in media time.
    pub(super) at_ms: i64,
    /// Its `data`.
    pub(super) text: String,
    /// `content`, given the Unix time of position 0.
    pub(super) content: Value,
}

/// One message of the transcript: all times from the beginning of its round.
struct Line {
    /// Its place in the feed.
    at_ms: i64,
    /// When it is sent.
    due_ms: i64,
    /// From where to where it is said; the start is its timestamp.
    said_ms: (i64, i64),
    /// 1 new, 2 update, 3 delete.
    attribute: i64,
    /// 0 for the active speaker, 1 for the one after.
    person: usize,
    text: &'static str,
}

const TRANSCRIPT_ROUND_MS: i64 = 12_000;

#[rustfmt::skip]
const TRANSCRIPT: [Line; 7] = [
    Line { at_ms: 500, due_ms: 1500, said_ms: (500, 1500), attribute: 1, person: 0, text: "naive" },
    Line { at_ms: 1500, due_ms: 2500, said_ms: (500, 2500), attribute: 2, person: 0, text: "naïve <b>résumé</b> & \"quotes\" —" },
    Line { at_ms: 3500, due_ms: 5500, said_ms: (3500, 5500), attribute: 1, person: 0, text: "shall we --> begin?\n\nNOTE with a blank line" },
    Line { at_ms: 4500, due_ms: 6800, said_ms: (4500, 6800), attribute: 1, person: 1, text: "<script>alert(1)</script> at the same time" },
    Line { at_ms: 8000, due_ms: 9500, said_ms: (8000, 9500), attribute: 1, person: 0, text: "heard wrongly and taken back" },
    Line { at_ms: 9500, due_ms: 9800, said_ms: (8000, 9500), attribute: 3, person: 0, text: "" },
    Line { at_ms: 10_000, due_ms: 12_000, said_ms: (10_000, 11_900), attribute: 1, person: 0, text: "that is all 🎬 שלום" },
];

fn line(i: i64) -> (i64, &'static Line) {
    let each = TRANSCRIPT.len() as i64;
    (i.div_euclid(each) * TRANSCRIPT_ROUND_MS, &TRANSCRIPT[i.rem_euclid(each) as usize])
}

/// The place of message `i` in the feed.
pub(super) fn transcript_at(i: i64) -> i64 {
    let (round_ms, line) = line(i);
    round_ms + line.at_ms
}

/// When message `i` is sent: once it has been said.
pub(super) fn transcript_due(i: i64) -> i64 {
    let (round_ms, line) = line(i);
    round_ms + line.due_ms
}

/// The `i`-th message of the transcript.
pub(super) fn transcript(i: i64, epoch_ms: i64) -> Text {
    let (round_ms, line) = line(i);
    let (start, end) = (round_ms + line.said_ms.0, round_ms + line.said_ms.1);
    let person = &PEOPLE[(speaker(start) + line.person) % PEOPLE.len()];
    let text = match line.attribute {
        3 => String::new(),
        _ => format!("Line {}: {}", start / 1000, line.text),
    };
    let content = json!({
        "user_id": person.id, "user_name": person.name, "start_time": epoch_ms + start, "end_time": epoch_ms + end,
        "timestamp": epoch_ms + start, "language": 9, "attribute": line.attribute, "data": text,
    });
    Text { at_ms: start, text, content }
}

const CHAT_EVERY_MS: i64 = 2000;
/// Messages in a round of chat.
const CHAT_ROUND: i64 = 10;

/// When message `i` is written.
pub(super) fn chat_at(i: i64) -> i64 {
    2000 + i * CHAT_EVERY_MS
}

/// The `i`-th chat message: plain, with its particulars beside it, or with all of it as JSON inside `data`.
pub(super) fn chat(i: i64, epoch_ms: i64) -> Text {
    let at_ms = chat_at(i);
    let timestamp = epoch_ms + at_ms;
    let n = i.rem_euclid(CHAT_ROUND);
    let [ada, bo, carol] = &PEOPLE;
    let id = |of: i64| format!("{{MSG-{:04}}}", i - n + of);
    let extended = |operation: i64, id: String, person: &Person, text: &str| {
        json!({
            "user_id": person.id, "user_name": person.name, "chat_session": {"type": 1, "id": "everyone"},
            "operation_type": operation, "message_id": id, "parent_message_id": "",
            "sender": {"user_id": person.id, "user_name": person.name}, "data": text, "timestamp": timestamp,
        })
    };
    let inside = |extended: Value| json!({"timestamp": timestamp, "data": extended.to_string()});
    let written = format!("Chat {i}: see https://example.test/?a=1&b=2 <3 🎬");
    let (text, content) = match n {
        0 => {
            let plain = json!({"user_id": ada.id, "user_name": ada.name, "timestamp": timestamp, "data": written});
            (written, plain)
        }
        1 => {
            let content = extended(1, id(1), bo, &written);
            (written, content)
        }
        2 => {
            let text = format!("Chat {i}: the plan\n[00:00:00] {}: which is mine", ada.name);
            let mut message = extended(1, id(2), carol, &text);
            message["files"] = json!([{"file_id": "f1", "file_name": "../plan.pdf", "file_size": 1234}]);
            (text, inside(message))
        }
        3 => {
            let text = format!("Chat {i}: a reply");
            let mut message = extended(1, id(3), ada, &text);
            message["parent_message_id"] = id(1).into();
            (text, message)
        }
        4 => ("👍".to_owned(), extended(4, id(1), carol, "👍")),
        5 => {
            let text = format!("Chat {i}: a reply, edited");
            let message = inside(extended(3, id(3), ada, &text));
            (text, message)
        }
        6 => {
            let text = format!("Chat {i}: a secret that is deleted");
            let mut message = extended(1, id(6), bo, &text);
            message["chat_session"] = json!({"type": 2, "id": ada.id.to_string()});
            message["receiver"] = json!({"user_id": ada.id, "user_name": ada.name});
            (text, message)
        }
        7 => (String::new(), extended(2, id(6), bo, "")),
        8 => ("❤".to_owned(), inside(extended(4, id(2), bo, "❤"))),
        _ => ("❤".to_owned(), extended(5, id(2), bo, "❤")),
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
    fn the_feed_never_goes_back() {
        for i in 0..50 {
            assert!(transcript_at(i) < transcript_at(i + 1) && transcript_due(i) < transcript_due(i + 1), "{i}");
            assert!(transcript_at(i) < transcript_due(i) && transcript(i, 0).at_ms <= transcript_at(i), "{i}");
            assert!(chat_at(i) < chat_at(i + 1) && chat(i, 0).at_ms == chat_at(i), "{i}");
        }
    }

    #[test]
    fn nobody_speaks_before_they_have_joined() {
        for i in 0..50 {
            let said = transcript(i, 0).content;
            let person = PEOPLE.iter().find(|person| person.id == said["user_id"]).unwrap();
            assert!(said["timestamp"].as_i64() >= Some(person.joins_ms), "{said}");
        }
    }

    #[test]
    fn the_third_form_of_chat_is_json_inside_data() {
        let content = chat(2, 0).content;
        let inner: Value = serde_json::from_str(content["data"].as_str().unwrap()).unwrap();
        assert_eq!(inner["data"], chat(2, 0).text);
    }
}
