//! What comes over the event WebSocket, in all the forms that are told of.

use super::Failure;
use crate::protocol::mend::mended;
use serde_json::Value;

/// A message, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// An event: the text of its envelope.
    Event(Vec<u8>),
    /// The connection was accepted, or a heartbeat answered.
    Good,
    /// The connection was refused, and why.
    Refused(Failure, String),
    /// Anything else.
    Unknown,
}

impl Message {
    /// Reads a frame. Zoom's documentation and library have the envelope as text in `content`; it is also taken as an
    /// object there, and without any module around it.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let read = serde_json::from_slice::<Value>(bytes).ok();
        let read = read.or_else(|| serde_json::from_slice(&mended(bytes)?).ok());
        let Some(message) = read else { return Self::Unknown };
        if message.get("event").is_some_and(Value::is_string) {
            return Self::Event(bytes.to_vec());
        }
        let content = message.get("content").unwrap_or(&Value::Null);
        match (message.get("module").and_then(Value::as_str), message.get("success")) {
            (Some("message"), _) => match content {
                Value::String(text) => Self::Event(text.as_bytes().to_vec()),
                Value::Object(_) => Self::Event(content.to_string().into_bytes()),
                _ => Self::Unknown,
            },
            (Some("build_connection" | "heartbeat"), Some(Value::Bool(false))) => {
                let said: String = content.as_str().unwrap_or("no reason").chars().take(120).collect();
                let failure = if said.to_ascii_lowercase().contains("token") { Failure::Token } else { Failure::Other };
                Self::Refused(failure, format!("Zoom answered {said:?}"))
            }
            (Some("build_connection" | "heartbeat"), _) => Self::Good,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_taken_in_each_of_its_forms() {
        let envelope = r#"{"event":"meeting.rtms_stopped","payload":{"rtms_stream_id":"s"}}"#;
        let text = serde_json::json!({"module": "message", "content": envelope}).to_string();
        let object = format!(r#"{{"module":"message","content":{envelope}}}"#);
        for form in [text.as_str(), &object, envelope] {
            assert_eq!(Message::parse(form.as_bytes()), Message::Event(envelope.into()), "{form}");
        }
    }

    /// Whoever cuts a topic at so many UTF-16 units may leave half an emoji.
    #[test]
    fn half_an_emoji_does_not_cost_the_event() {
        let envelope = r#"{"event":"recording.completed","payload":{"object":{"topic":"\ud83d"}}}"#;
        let text = serde_json::json!({"module": "message", "content": envelope}).to_string();
        let object = format!(r#"{{"module":"message","content":{envelope}}}"#);
        for form in [text.as_str(), &object, envelope] {
            assert!(matches!(Message::parse(form.as_bytes()), Message::Event(_)), "{form}");
        }
    }

    #[test]
    fn refusals_of_a_token_are_told_from_others() {
        let refused = |content: &str| {
            let text = format!(r#"{{"module":"build_connection","success":false,"content":{content}}}"#);
            match Message::parse(text.as_bytes()) {
                Message::Refused(failure, _) => failure,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(r#""Invalid Token""#), Failure::Token);
        assert_eq!(refused(r#""Token is invalid""#), Failure::Token);
        assert_eq!(refused(r#""Invalid subscription""#), Failure::Other);
        assert_eq!(refused("null"), Failure::Other);
    }

    #[test]
    fn strangers_are_passed_over() {
        for text in ["", "{", "[]", "7", "null", "{}", r#"{"module":"weather"}"#, r#"{"module":"message"}"#] {
            assert_eq!(Message::parse(text.as_bytes()), Message::Unknown, "{text}");
        }
        assert_eq!(Message::parse(br#"{"module":"heartbeat","success":true}"#), Message::Good);
        assert_eq!(Message::parse(br#"{"module":"build_connection","content":"x"}"#), Message::Good);
    }
}
