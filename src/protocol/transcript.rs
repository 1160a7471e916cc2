//! What was said, as text: message 17.

use super::fields::{epoch, id, int, name, text};
use super::message::content_of;
use crate::ids::UserId;
use crate::media::Timestamp;
use serde_json::Value;

/// What a message does to what was said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something new was said; also where Zoom says nothing about it.
    New,
    /// An utterance reads differently now.
    Update,
    /// It was not said after all.
    Delete,
}

/// One message of the transcript. Which times are there, and whether they make sense, is for the reader to judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Utterance {
    /// Who spoke: the user, or Contact Center's channel.
    pub user_id: Option<UserId>,
    /// Their name at that time.
    pub user_name: Option<String>,
    /// Names the utterance, together with the user; where it starts, too.
    pub timestamp: Option<Timestamp>,
    /// Where it starts.
    pub start: Option<Timestamp>,
    /// Where it ends.
    pub end: Option<Timestamp>,
    /// The language as a BCP 47 tag; `x-zoom-<number>` for one that we do not know.
    pub language: Option<String>,
    /// What the message does.
    pub change: Change,
    /// What was said, as Zoom sent it.
    pub text: String,
}

impl Utterance {
    /// Reads a message of type 17; `None` if it has no content.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let content = content_of(json)?;
        let content = match content {
            Value::String(text) => serde_json::json!({ "data": text }),
            Value::Object(_) => content,
            _ => return None,
        };
        let change = match int(&content["attribute"]) {
            Some(2) => Change::Update,
            Some(3) => Change::Delete,
            _ => Change::New,
        };
        Some(Self {
            user_id: id(&content["user_id"]).or_else(|| id(&content["channel_id"])).map(UserId::new),
            user_name: name(&content["user_name"]),
            timestamp: epoch(&content["timestamp"]),
            start: epoch(&content["start_time"]),
            end: epoch(&content["end_time"]),
            language: int(&content["language"]).and_then(language),
            change,
            text: text(&content["data"]).unwrap_or_default(),
        })
    }
}

/// Zoom's numbers, from 0 on.
const LANGUAGES: [&str; 37] = [
    "ar", "bn", "yue", "ca", "zh-Hans", "zh-Hant", "cs", "da", "nl", "en", "et", "fi", "fr-CA", "fr-FR", "de", "he",
    "hi", "hu", "id", "it", "ja", "ko", "ms", "fa", "pl", "pt", "ro", "ru", "es", "sv", "tl", "ta", "te", "th", "tr",
    "uk", "vi",
];

fn language(number: i64) -> Option<String> {
    let known = usize::try_from(number).ok()?;
    Some(LANGUAGES.get(known).map_or_else(|| format!("x-zoom-{}", number % 100_000_000), |tag| (*tag).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_form_is_read() {
        let said = Utterance::parse(include_bytes!("../../fixtures/text/transcript-update.json")).unwrap();
        assert_eq!(
            said,
            Utterance {
                user_id: Some(UserId::new("16778240")),
                user_name: Some("Ada Example".to_owned()),
                timestamp: Some(Timestamp(1_754_042_400_500)),
                start: Some(Timestamp(1_754_042_400_500)),
                end: Some(Timestamp(1_754_042_402_500)),
                language: Some("en".to_owned()),
                change: Change::Update,
                text: "Good morning, everybody.".to_owned(),
            }
        );
    }

    #[test]
    fn units_and_kinds_of_times_and_ids_vary() {
        let said = Utterance::parse(include_bytes!("../../fixtures/text/transcript-odd-units.json")).unwrap();
        assert_eq!(said.user_id, Some(UserId::new("channel-1")), "Contact Center has channels, not users");
        assert_eq!(said.timestamp, Some(Timestamp(1_754_042_400_000)), "seconds");
        assert_eq!(said.start, Some(Timestamp(1_754_042_400_123)), "microseconds");
        assert_eq!((said.end, said.change), (None, Change::New));
        assert_eq!(said.language.as_deref(), Some("x-zoom-41"));
        let bare = include_bytes!("../../fixtures/mock-server/transcript-without-times.json");
        let said = Utterance::parse(bare).unwrap();
        assert_eq!(
            (said.text.as_str(), said.timestamp),
            ("hello from the test server", Some(Timestamp(1_754_042_400_123)))
        );
        assert_eq!((said.start, said.end, said.language), (None, None, None));
    }

    #[test]
    fn what_is_not_an_utterance_is_none_and_odd_fields_cost_only_themselves() {
        for json in ["", "[]", "{}", r#"{"content":7}"#, r#"{"content":null}"#] {
            assert_eq!(Utterance::parse(json.as_bytes()), None, "{json}");
        }
        let json = r#"{"content":{"data":["x"],"user_id":{},"language":-1,"attribute":"2","end_time":"soon"}}"#;
        let said = Utterance::parse(json.as_bytes()).unwrap();
        assert_eq!((said.user_id, said.language, said.change, said.end), (None, None, Change::Update, None));
        assert_eq!(Utterance::parse(br#"{"content":"hello"}"#).unwrap().text, "hello");
        assert_eq!(language(i64::MAX).unwrap().len(), "x-zoom-".len() + 8);
    }
}
