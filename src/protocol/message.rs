//! Socket messages: what we read of theirs, and ours.
//!
//! A message is one JSON object in a text or a binary frame. [`Message`] reads every kind in one pass and tolerates
//! what sources disagree on; payloads stay borrowed.

use super::{happening, tolerant};
use crate::ids::{MeetingId, Product, StreamId};
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt;

/// Message types, as on the wire.
pub mod msg_type {
    #![allow(missing_docs, reason = "the names are Zoom's")]
    pub const SIGNALING_HAND_SHAKE_REQ: i64 = 1;
    pub const SIGNALING_HAND_SHAKE_RESP: i64 = 2;
    pub const DATA_HAND_SHAKE_REQ: i64 = 3;
    pub const DATA_HAND_SHAKE_RESP: i64 = 4;
    pub const EVENT_SUBSCRIPTION: i64 = 5;
    pub const EVENT_UPDATE: i64 = 6;
    pub const CLIENT_READY_ACK: i64 = 7;
    pub const STREAM_STATE_UPDATE: i64 = 8;
    pub const SESSION_STATE_UPDATE: i64 = 9;
    pub const KEEP_ALIVE_REQ: i64 = 12;
    pub const KEEP_ALIVE_RESP: i64 = 13;
    pub const MEDIA_DATA_AUDIO: i64 = 14;
    pub const MEDIA_DATA_VIDEO: i64 = 15;
    pub const MEDIA_DATA_SHARE: i64 = 16;
    pub const MEDIA_DATA_TRANSCRIPT: i64 = 17;
    pub const MEDIA_DATA_CHAT: i64 = 18;
}

/// A kind of media with a socket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Medium {
    /// Sound.
    Audio,
    /// Camera pictures.
    Video,
    /// The shared screen.
    Share,
    /// What was said, as text.
    Transcript,
    /// Chat messages.
    Chat,
}

impl Medium {
    /// All of them, in the order in which they are connected.
    pub const ALL: [Self; 5] = [Self::Audio, Self::Video, Self::Share, Self::Transcript, Self::Chat];

    /// Our name for it, in settings and in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Share => "share",
            Self::Transcript => "transcript",
            Self::Chat => "chat",
        }
    }

    /// Its bit in `media_type`.
    pub fn bit(self) -> i64 {
        match self {
            Self::Audio => 1,
            Self::Video => 2,
            Self::Share => 4,
            Self::Transcript => 8,
            Self::Chat => 16,
        }
    }

    /// The keys of its address in the signaling handshake's answer. The key of screen share is in no example.
    pub fn url_keys(self) -> &'static [&'static str] {
        match self {
            Self::Audio => &["audio"],
            Self::Video => &["video"],
            Self::Share => &["deskshare", "share", "sharescreen", "screenshare"],
            Self::Transcript => &["transcript"],
            Self::Chat => &["chat"],
        }
    }

    /// Its key in `media_params`.
    pub fn params_key(self) -> &'static str {
        match self {
            Self::Share => "deskshare",
            other => other.as_str(),
        }
    }

    /// The medium that a message of this type carries.
    pub fn of_msg_type(msg_type: i64) -> Option<Self> {
        match msg_type {
            msg_type::MEDIA_DATA_AUDIO => Some(Self::Audio),
            msg_type::MEDIA_DATA_VIDEO => Some(Self::Video),
            msg_type::MEDIA_DATA_SHARE => Some(Self::Share),
            msg_type::MEDIA_DATA_TRANSCRIPT => Some(Self::Transcript),
            msg_type::MEDIA_DATA_CHAT => Some(Self::Chat),
            _ => None,
        }
    }
}

/// Checks that `bytes` is JSON and reads nothing of it but the message type (0 if it has none).
///
/// This is all the decoding that capture does.
///
/// # Errors
/// When it is not a JSON object.
pub fn peek_type(bytes: &[u8]) -> Result<i64, serde_json::Error> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(default, deserialize_with = "tolerant::int")]
        msg_type: Option<i64>,
    }
    let head: Head = object(bytes)?;
    Ok(head.msg_type.unwrap_or_default())
}

/// The `content` of a message of text, whatever its shape.
pub(super) fn content_of(bytes: &[u8]) -> Option<Value> {
    #[derive(Deserialize)]
    struct Body {
        content: Value,
    }
    object::<Body>(bytes).ok().map(|body| body.content)
}

/// Reads a JSON object; serde alone would take an array of the fields for one too.
fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, serde_json::Error> {
    match bytes.trim_ascii_start() {
        [b'[', ..] => Err(de::Error::invalid_type(Unexpected::Seq, &"a JSON object")),
        _ => serde_json::from_slice(bytes),
    }
}

/// Any message of Zoom's, with the fields that we use.
#[derive(Debug, Default, Deserialize)]
pub struct Message<'a> {
    /// What it is, see [`msg_type`].
    #[serde(default, deserialize_with = "tolerant::int")]
    pub msg_type: Option<i64>,
    /// The media that it carries.
    #[serde(borrow, default)]
    pub content: Option<Content<'a>>,
    /// 0 is success. Absent is a failure: one server forgets it on errors.
    #[serde(default, deserialize_with = "tolerant::int")]
    pub status_code: Option<i64>,
    /// A text for humans, or a number.
    #[serde(default)]
    pub reason: Value,
    /// Why a session stopped.
    #[serde(default, deserialize_with = "tolerant::reason")]
    pub stop_reason: Option<i64>,
    /// The new state of a stream or session.
    #[serde(default, deserialize_with = "tolerant::int")]
    pub state: Option<i64>,
    /// When it was sent, in Unix ms.
    #[serde(default, deserialize_with = "tolerant::epoch_ms")]
    pub timestamp: Option<i64>,
    /// What happened.
    #[serde(default)]
    pub event: Option<Value>,
    /// Where media is to be had.
    #[serde(default)]
    pub media_server: Option<Value>,
    /// The effective parameters of a medium.
    #[serde(default)]
    pub media_params: Option<Value>,
    /// Whether payloads are encrypted, which we cannot read.
    #[serde(default)]
    pub payload_encrypted: Option<Value>,
    /// The same under the name that it has in the request. No alias: a message may have both.
    #[serde(default)]
    pub payload_encryption: Option<Value>,
}

impl<'a> Message<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// When it is not a JSON object, or `content` is of no known shape.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, serde_json::Error> {
        object(bytes)
    }

    /// Whether the payloads that follow are encrypted.
    pub fn is_encrypted(&self) -> bool {
        let flags = [&self.payload_encrypted, &self.payload_encryption];
        flags.into_iter().flatten().any(|flag| flag == &Value::Bool(true) || flag == 1)
    }

    /// The reason in words, for logs and classification.
    pub fn reason_text(&self) -> String {
        match &self.reason {
            Value::String(text) => text.chars().take(200).collect(),
            Value::Null => String::new(),
            other => other.to_string().chars().take(200).collect(),
        }
    }

    /// The reason as a number, for stream and session states. One server gives its name.
    pub fn reason_code(&self) -> Option<i64> {
        tolerant::as_reason(&self.reason).or(self.stop_reason)
    }
}

/// The body of a media message; that of a text is read by [`super::transcript`] and [`super::chat`].
#[derive(Debug, Default)]
pub struct Content<'a> {
    /// The payload in base64.
    pub data: Cow<'a, str>,
    /// The time of its first sample, or of the picture, in Unix ms.
    pub timestamp: Option<i64>,
    /// Whose it is; `0` for mixed sound.
    pub user_id: Option<Cow<'a, str>>,
    /// The participant's name.
    pub user_name: Option<Cow<'a, str>>,
    /// Contact Center's party.
    pub channel_id: Option<Cow<'a, str>>,
}

/// Text, or a number taken as text, borrowed where no escape forbids it.
#[derive(Default)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text or a number")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

struct EpochMs(Option<i64>);

impl<'de> Deserialize<'de> for EpochMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        tolerant::epoch_ms(deserializer).map(Self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    /// An object; or, as older documents have it, the bare payload.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;
        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = Content<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a media object or a bare payload")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Content<'de>, E> {
                Ok(Content { data: Cow::Borrowed(text), ..Content::default() })
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content<'de>, E> {
                Ok(Content { data: Cow::Owned(text.to_owned()), ..Content::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content<'de>, A::Error> {
                let mut content = Content::default();
                while let Some(Text(key)) = map.next_key()? {
                    match key.as_ref() {
                        "data" => content.data = map.next_value::<Text<'de>>()?.0,
                        "timestamp" => content.timestamp = map.next_value::<EpochMs>()?.0,
                        "user_id" => content.user_id = Some(map.next_value::<Text<'de>>()?.0),
                        "user_name" => content.user_name = Some(map.next_value::<Text<'de>>()?.0),
                        "channel_id" => content.channel_id = Some(map.next_value::<Text<'de>>()?.0),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(content)
            }
        }
        deserializer.deserialize_any(ContentVisitor)
    }
}

/// Whether sound is asked for mixed or from each participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioStreams {
    /// One stream, mixed by Zoom.
    Mixed,
    /// One stream a participant.
    Participants,
}

/// What is asked of media.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// How sound is to come.
    pub audio_streams: AudioStreams,
    /// The largest size of pictures, by Zoom's numbers.
    pub resolution: i64,
    /// The most pictures a second, at least 6 for H.264.
    pub fps: u32,
}

/// The `media_params` that a medium is asked for with.
///
/// Sound: raw L16, 16 kHz, mono, a packet each 100 ms (a fifth of the messages of the default 20 ms). Pictures: H.264 of
/// the active speaker. Screen share: JPG at 1 fps, the documented default.
pub fn media_params(medium: Medium, wanted: Wanted) -> Value {
    match medium {
        Medium::Audio => {
            let data_opt = match wanted.audio_streams {
                AudioStreams::Mixed => 1,
                AudioStreams::Participants => 2,
            };
            json!({"content_type": 2, "sample_rate": 1, "channel": 1, "codec": 1, "data_opt": data_opt, "send_rate": 100})
        }
        Medium::Video => {
            json!({"content_type": 3, "codec": 7, "resolution": wanted.resolution, "data_opt": 3, "fps": wanted.fps})
        }
        Medium::Share => json!({"content_type": 3, "codec": 5, "resolution": 3, "fps": 1}),
        Medium::Transcript => json!({"content_type": 5, "enable_lid": true}),
        Medium::Chat => json!({"content_type": 5}),
    }
}

/// What our handshakes have in common.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The key of the id: the product's own.
    pub id_key: &'static str,
    /// The id.
    pub id: MeetingId,
    /// The stream.
    pub stream_id: StreamId,
    /// See [`super::signature::handshake`].
    pub signature: String,
}

impl Identity {
    /// SIGNALING_HAND_SHAKE_REQ. `buffer_data` is left at its default: sound from before the connection is delivered.
    pub fn signaling_handshake(&self) -> String {
        json!({
            "msg_type": msg_type::SIGNALING_HAND_SHAKE_REQ, "protocol_version": 1, "sequence": 1,
            self.id_key: self.id, "rtms_stream_id": self.stream_id, "signature": self.signature, "buffer_data": true,
        })
        .to_string()
    }

    /// DATA_HAND_SHAKE_REQ for one medium with its `media_params`.
    pub fn media_handshake(&self, medium: Medium, params: &Value) -> String {
        json!({
            "msg_type": msg_type::DATA_HAND_SHAKE_REQ, "protocol_version": 1, "sequence": 1,
            self.id_key: self.id, "rtms_stream_id": self.stream_id, "signature": self.signature,
            "media_type": medium.bit(), "payload_encryption": false,
            "media_params": { medium.params_key(): params },
        })
        .to_string()
    }

    /// CLIENT_READY_ACK, for the signaling socket.
    pub fn ready_ack(&self) -> String {
        json!({"msg_type": msg_type::CLIENT_READY_ACK, "rtms_stream_id": self.stream_id}).to_string()
    }
}

/// EVENT_SUBSCRIPTION to active speaker, join, leave, and sharing if the screen is recorded; for Contact Center, a second one
/// to what happens to parties there, so that a refusal of either does not cost the other.
///
/// 1 and 7 come by themselves; subscribing to them may disturb the app.
pub fn event_subscriptions(product: Product, share: bool) -> Vec<String> {
    let mut all = vec![subscription(if share { &[2, 3, 4, 5, 6] } else { &[2, 3, 4] })];
    if product == Product::ContactCenter {
        all.push(subscription(&happening::CONTACT_CENTER.collect::<Vec<i64>>()));
    }
    all
}

/// EVENT_SUBSCRIPTION to cameras that are switched on and off. None for Contact Center, where the numbers mean something else.
pub fn camera_subscription(product: Product) -> Option<String> {
    (product != Product::ContactCenter).then(|| subscription(&[8, 9]))
}

fn subscription(types: &[i64]) -> String {
    let events: Vec<Value> = types.iter().map(|n| json!({"event_type": n, "subscribe": true})).collect();
    json!({"msg_type": msg_type::EVENT_SUBSCRIPTION, "events": events}).to_string()
}

/// KEEP_ALIVE_RESP with the request's own timestamp.
pub fn keep_alive_response(timestamp: i64) -> String {
    json!({"msg_type": msg_type::KEEP_ALIVE_RESP, "timestamp": timestamp}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_message_is_borrowed() {
        let bytes = br#"{"msg_type":14,"content":{"user_id":0,"data":"AAEC","length":3,"timestamp":1754042400123}}"#;
        let message = Message::parse(bytes).unwrap();
        let content = message.content.unwrap();
        assert!(matches!(content.data, Cow::Borrowed("AAEC")));
        assert_eq!(content.user_id.as_deref(), Some("0"));
        assert_eq!(content.timestamp, Some(1_754_042_400_123));
        assert_eq!(peek_type(bytes).unwrap(), 14);
    }

    #[test]
    fn variants_that_sources_show_are_read() {
        let escaped =
            Message::parse(br#"{"msg_type":"15","content":{"data":"a\/b","timestamp":"1754042400"}}"#).unwrap();
        assert_eq!(escaped.msg_type, Some(15));
        let content = escaped.content.unwrap();
        assert_eq!((content.data.as_ref(), content.timestamp), ("a/b", Some(1_754_042_400_000)));

        let bare = Message::parse(br#"{"msg_type":14,"content":"AAEC"}"#).unwrap();
        assert_eq!(bare.content.unwrap().data, "AAEC");

        let state = Message::parse(br#"{"msg_type":8,"state":4,"reason":"MEETING_ENDED","x":[{}]}"#).unwrap();
        assert_eq!((state.state, state.reason_code()), (Some(4), Some(6)));
        let state = Message::parse(br#"{"msg_type":9,"state":5,"stop_reason":6}"#).unwrap();
        assert_eq!(state.reason_code(), Some(6));
        assert_eq!(Message::parse(br#"{"msg_type":8,"reason":6}"#).unwrap().reason_code(), Some(6));
    }

    #[test]
    fn encryption_may_be_told_under_either_name_or_both() {
        let is_encrypted = |text: &str| Message::parse(text.as_bytes()).unwrap().is_encrypted();
        assert!(is_encrypted(r#"{"payload_encrypted":true}"#));
        assert!(is_encrypted(r#"{"payload_encryption":1}"#));
        assert!(is_encrypted(r#"{"payload_encrypted":false,"payload_encryption":true}"#));
        assert!(!is_encrypted(r#"{"payload_encrypted":false,"payload_encryption":false}"#));
        assert!(!is_encrypted("{}"));
    }

    #[test]
    fn times_are_brought_to_milliseconds() {
        for (sent, ms) in [("1754042400", 1_754_042_400_000), ("1754042400123456", 1_754_042_400_123), ("0", 0)] {
            let text = format!(r#"{{"msg_type":12,"timestamp":{sent}}}"#);
            assert_eq!(Message::parse(text.as_bytes()).unwrap().timestamp, Some(ms));
        }
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic() {
        for bytes in [&b""[..], b"{", b"7", b"\xff\xfe", b" [14]", b"{\"content\":7}", b"{\"content\":{\"data\":[]}}"] {
            assert!(Message::parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(peek_type(b"[14]").is_err());
        assert_eq!(peek_type(b"{}").unwrap(), 0);
        assert!(peek_type(b"null").is_err());
    }
}
