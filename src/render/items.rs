//! From a journal's chunk to the things that rendering is about: decoded packets, events and notes, in order.

use super::sound::Speaker;
use crate::ids::UserId;
use crate::journal::read::{self, Body};
use crate::journal::{EVENT, Note};
use crate::media::{AccessUnit, Timestamp};
use crate::protocol::chat::ChatMessage;
use crate::protocol::event::Event;
use crate::protocol::happening::Happening;
use crate::protocol::mend::mended;
use crate::protocol::message::{Content, Medium, Message, msg_type, peek_type};
use crate::protocol::transcript::Utterance;
use crate::timeline::image;
use bytes::Bytes;
use serde_json::Value;
use std::borrow::Cow;

/// One thing out of a journal.
#[derive(Debug)]
pub(super) enum Item {
    /// A webhook.
    Event(Event),
    /// A note of the recorder's own.
    Note(Note),
    /// The effective parameters of a medium.
    Parameters(Medium, Value),
    /// The session was paused (`true`) or goes on.
    Paused(bool, Timestamp),
    /// People came, left, spoke, shared a screen and so on.
    Happened(Happening),
    /// Something was said, as text.
    Said(Box<Utterance>),
    /// Something was written.
    Written(Box<ChatMessage>),
    /// A packet of L16.
    Sound { timestamp: Timestamp, speaker: Speaker, name: Option<String>, bytes: Vec<u8> },
    /// A picture of the camera or of the shared screen.
    Picture(Medium, AccessUnit),
    /// A message with nothing to render.
    Other,
    /// A line or message that could not be read.
    Unreadable,
}

/// An item with the time of its receipt, in Unix ms by the recorder's clock.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) t_ms: i64,
    pub(super) item: Item,
    /// Whether it was a message of Zoom's on a socket.
    pub(super) is_message: bool,
}

/// Reads a chunk. Nothing in it stops the reading.
pub(super) fn items(chunk: &[u8], open: bool) -> Vec<Received> {
    read::lines(chunk, open)
        .map(|line| match line {
            Ok(line) => {
                let is_message = line.conn != EVENT;
                let item = match line.body {
                    Body::Json(json) if is_message => message(json, &line.conn),
                    Body::Json(json) => own(json, line.t),
                    Body::Raw(base64) if is_message => raw(&base64, &line.conn),
                    Body::Raw(_) => Item::Unreadable,
                };
                Received { t_ms: line.t, item, is_message }
            }
            Err(err) => {
                tracing::warn!(err = %err, "a line of the journal is not readable; it is passed over");
                Received { t_ms: 0, item: Item::Unreadable, is_message: false }
            }
        })
        .collect()
}

fn own(json: &[u8], t_ms: i64) -> Item {
    if let Ok(note) = serde_json::from_slice(json) {
        return Item::Note(note);
    }
    Event::parse(json, t_ms).map_or(Item::Unreadable, Item::Event)
}

/// A message that was no JSON when it came, which half a character is enough for.
fn raw(base64: &str, conn: &str) -> Item {
    let bytes = base64_simd::STANDARD.decode_to_vec(base64).ok();
    bytes.and_then(|bytes| mended(&bytes)).map_or(Item::Unreadable, |json| message_as_it_is(&json, conn))
}

fn message(json: &[u8], conn: &str) -> Item {
    match message_as_it_is(json, conn) {
        Item::Unreadable => mended(json).map_or(Item::Unreadable, |json| message_as_it_is(&json, conn)),
        item => item,
    }
}

fn message_as_it_is(json: &[u8], conn: &str) -> Item {
    let Ok(message) = Message::parse(json) else {
        // Texts are read by other rules.
        return match peek_type(json) {
            Ok(kind @ (msg_type::MEDIA_DATA_TRANSCRIPT | msg_type::MEDIA_DATA_CHAT)) => text(kind, json),
            _ => Item::Unreadable,
        };
    };
    let kind = message.msg_type.unwrap_or_default();
    // A test server of Zoom's sends everything on a socket that asks for something it does not have.
    let of_another = |medium: Medium| medium.as_str() != conn && Medium::ALL.iter().any(|m| m.as_str() == conn);
    if Medium::of_msg_type(kind).is_some_and(of_another) {
        return Item::Other;
    }
    match kind {
        msg_type::MEDIA_DATA_AUDIO => message.content.map_or(Item::Unreadable, sound),
        msg_type::MEDIA_DATA_VIDEO => {
            message.content.map_or(Item::Unreadable, |content| picture(Medium::Video, content))
        }
        msg_type::MEDIA_DATA_SHARE => {
            message.content.map_or(Item::Unreadable, |content| picture(Medium::Share, content))
        }
        msg_type::MEDIA_DATA_TRANSCRIPT | msg_type::MEDIA_DATA_CHAT => text(kind, json),
        msg_type::DATA_HAND_SHAKE_RESP => parameters(message.media_params),
        msg_type::EVENT_UPDATE => message.event.as_ref().and_then(Happening::parse).map_or(Item::Other, Item::Happened),
        msg_type::SESSION_STATE_UPDATE => {
            const PAUSED: i64 = 3;
            const RESUMED: i64 = 4;
            match (message.state, message.timestamp) {
                (Some(PAUSED), Some(at)) => Item::Paused(true, Timestamp(at)),
                (Some(RESUMED), Some(at)) => Item::Paused(false, Timestamp(at)),
                _ => Item::Other,
            }
        }
        _ => Item::Other,
    }
}

fn text(kind: i64, json: &[u8]) -> Item {
    match kind {
        msg_type::MEDIA_DATA_CHAT => ChatMessage::parse(json).map(|chat| Item::Written(Box::new(chat))),
        _ => Utterance::parse(json).map(|said| Item::Said(Box::new(said))),
    }
    .unwrap_or(Item::Unreadable)
}

fn parameters(params: Option<Value>) -> Item {
    let Some(params) = params else { return Item::Other };
    let medium = Medium::ALL.into_iter().find(|medium| params.get(medium.params_key()).is_some_and(Value::is_object));
    medium.map_or(Item::Other, |medium| Item::Parameters(medium, params[medium.params_key()].clone()))
}

fn sound(content: Content<'_>) -> Item {
    match (content.timestamp, decode(&content.data)) {
        (Some(timestamp), Some(bytes)) => {
            // 0 stands for the mix; Contact Center tells parties apart by channel.
            let user = content.channel_id.or(content.user_id).filter(|user| !matches!(user.as_ref(), "" | "0"));
            let speaker = user.map(UserId::new);
            let name = content.user_name.map(Cow::into_owned).filter(|name| !name.is_empty());
            Item::Sound { timestamp: Timestamp(timestamp), speaker, name, bytes }
        }
        _ => Item::Unreadable,
    }
}

fn picture(medium: Medium, content: Content<'_>) -> Item {
    let (Some(timestamp), Some(data)) = (content.timestamp, decode(&content.data)) else { return Item::Unreadable };
    // The bytes tell more reliably than the handshake's echo what they are.
    let codec = image::sniff(&data).unwrap_or(crate::media::PictureCodec::H264);
    Item::Picture(medium, AccessUnit { timestamp: Timestamp(timestamp), codec, data: Bytes::from(data) })
}

/// Base64, with or without padding, and behind a `data:` prefix that one sample of Zoom's sends.
fn decode(data: &str) -> Option<Vec<u8>> {
    let text = match data.strip_prefix("data:") {
        Some(uri) => uri.split_once(',')?.1,
        None => data,
    };
    base64_simd::STANDARD
        .decode_to_vec(text.as_bytes())
        .or_else(|_| base64_simd::forgiving_decode_to_vec(text.as_bytes()))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whose name is as long as names can be has half an emoji at its end, in everything that is sent of them.
    #[test]
    fn half_a_character_in_a_name_costs_only_itself() {
        let bytes = base64_simd::STANDARD.encode_to_string(
            b"{\"msg_type\":17,\"content\":{\"user_id\":1,\"user_name\":\"Ada \xf0\x9f\x91\",\"data\":\"bytes\"}}",
        );
        let chunk = format!(
            r#"{{"t":1,"c":"audio","m":{{"msg_type":14,"content":{{"user_id":1,"user_name":"Ada \ud83d","data":"AAEC","timestamp":1754042400123}}}}}}
{{"t":2,"c":"transcript","m":{{"msg_type":17,"content":{{"user_id":1,"user_name":"Ada \ud83d","data":"hi"}}}}}}
{{"t":3,"c":"chat","m":{{"msg_type":18,"content":{{"user_id":1,"user_name":"Ada","data":"hi \udc4d"}}}}}}
{{"t":4,"c":"signaling","m":{{"msg_type":6,"event":{{"event_type":3,"timestamp":1754042400126,"participants":[{{"user_id":1,"user_name":"Ada \ud83d"}}]}}}}}}
{{"t":5,"c":"transcript","raw":"{bytes}"}}
"#
        );
        let items: Vec<Item> = items(chunk.as_bytes(), false).into_iter().map(|received| received.item).collect();
        let cut = Some("Ada \u{fffd}");
        let [
            Item::Sound { name, bytes, .. },
            Item::Said(said),
            Item::Written(written),
            Item::Happened(joined),
            Item::Said(raw),
        ] = &items[..]
        else {
            panic!("{items:?}")
        };
        assert_eq!((name.as_deref(), &bytes[..]), (cut, &[0, 1, 2][..]));
        assert_eq!((said.user_name.as_deref(), said.text.as_str()), (cut, "hi"));
        assert_eq!(written.text, "hi \u{fffd}");
        assert_eq!(joined.who[0].user_name.as_deref(), cut);
        assert_eq!((raw.user_name.as_deref(), raw.text.as_str()), (cut, "bytes"));
    }

    #[test]
    fn lines_become_what_they_are() {
        let chunk = br#"{"t":1,"c":"event","m":{"event":"meeting.rtms_stopped","payload":{"rtms_stream_id":"s"}}}
{"t":2,"c":"event","m":{"note":"resumed"}}
{"t":3,"c":"audio","m":{"msg_type":4,"status_code":0,"media_params":{"audio":{"sample_rate":1}}}}
{"t":4,"c":"audio","m":{"msg_type":14,"content":{"data":"AAEC","timestamp":1754042400123}}}
{"t":5,"c":"video","m":{"msg_type":15,"content":{"data":"data:image/jpeg;base64,\/9j\/4A","timestamp":1754042400124}}}
{"t":6,"c":"signaling","m":{"msg_type":9,"state":3,"timestamp":1754042400125}}
{"t":7,"c":"audio","m":{"msg_type":14,"content":{"data":"!","timestamp":1}}}
{"t":8,"c":"audio","raw":"AAEC"}
{"t":9,"c":"signaling","m":{"msg_type":12}}
{"t":9,"c":"signaling","m":{"msg_type":6,"event":{"event_type":5,"timestamp":1754042400126}}}
{"t":9,"c":"transcript","m":{"msg_type":17,"content":{"data":"hello"}}}
{"t":9,"c":"chat","m":{"msg_type":18,"content":{"data":{"message_id":"1","operation_type":1,"data":"hi"}}}}
{"t":9,"c":"chat","m":{"msg_type":18}}
{"t":9,"c":"chat","m":{"msg_type":14,"content":{"data":"AAEC","timestamp":1754042400123}}}
nonsense
"#;
        let shown: Vec<String> = items(chunk, false)
            .into_iter()
            .map(|received| match received.item {
                Item::Event(_) => "event".into(),
                Item::Note(note) => format!("{note:?}"),
                Item::Parameters(medium, _) => format!("{} parameters", medium.as_str()),
                Item::Paused(paused, at) => format!("paused {paused} {}", at.0),
                Item::Happened(happening) => format!("happened {}", happening.at.0),
                Item::Said(said) => format!("said {}", said.text),
                Item::Written(written) => format!("written {}", written.text),
                Item::Sound { timestamp, bytes, .. } => format!("sound {} {bytes:?}", timestamp.0),
                Item::Picture(medium, unit) => format!("{} {:?} {:?}", medium.as_str(), unit.codec, &unit.data[..]),
                Item::Other => "other".into(),
                Item::Unreadable => "unreadable".into(),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "event",
                "Resumed",
                "audio parameters",
                "sound 1754042400123 [0, 1, 2]",
                "video Jpg [255, 216, 255, 224]",
                "paused true 1754042400125",
                "unreadable",
                "unreadable",
                "other",
                "happened 1754042400126",
                "said hello",
                "written hi",
                "unreadable",
                "other",
                "unreadable"
            ]
        );
    }
}
