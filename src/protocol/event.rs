//! Webhook events (the event WebSocket carries the same): the envelope, the products, and what we act upon.
//!
//! Fields are looked for in `payload` first, then in `payload.object`: all raw logs show the flat form, some of
//! Zoom's texts the nested one.

use super::mend::mended;
use super::server_urls;
use super::tolerant::{as_int, as_reason};
use crate::advice::{Advice, notice};
use crate::ids::{MeetingId, Product, StreamId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which stream of what an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRef {
    /// The product that the event's name begins with.
    pub product: Product,
    /// The stream.
    pub stream_id: StreamId,
}

/// Everything that a start event says.
#[derive(Clone, Debug, PartialEq)]
pub struct Started {
    /// The stream.
    pub stream: StreamRef,
    /// The key that the identity came under; it is the handshake's key too.
    pub id_key: &'static str,
    /// The identity that signs the handshakes.
    pub id: MeetingId,
    /// The other identity of a webinar, if both came.
    pub other_id: Option<(&'static str, MeetingId)>,
    /// When Zoom says it happened, in Unix ms.
    pub event_ts: i64,
    /// The signaling address, not yet checked against the allowed hosts.
    pub signaling_url: String,
    /// The meeting's number (since May 2026).
    pub meeting_id: Option<String>,
    /// The account (since May 2026).
    pub account_id: Option<String>,
    /// The user who triggered it.
    pub operator_id: Option<String>,
    /// A Video SDK customer's own name for the session.
    pub session_key: Option<String>,
}

/// An event that we act upon.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Zoom checks that the endpoint is ours.
    UrlValidation {
        /// To be signed and sent back.
        plain_token: String,
    },
    /// A stream is there to be connected to; sent again, it names a stream's new server.
    Started(Box<Started>),
    /// A stream is over.
    Stopped {
        /// The stream.
        stream: StreamRef,
        /// When Zoom says it happened, in Unix ms.
        event_ts: i64,
        /// Why, by Zoom's open list.
        stop_reason: Option<i64>,
    },
    /// Zoom considers the signaling connection broken.
    Interrupted {
        /// The stream.
        stream: StreamRef,
        /// When Zoom says it happened, in Unix ms.
        event_ts: i64,
    },
    /// Something about the account or the app that an operator should know.
    Notice(Notice),
    /// Anything else: acknowledged and logged.
    Other {
        /// Its name, cut to a sane length.
        name: String,
    },
}

/// An event about the account or the app rather than a stream that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The event's name.
    pub name: &'static str,
    /// What it means.
    pub advice: Advice,
    /// What Zoom says besides, such as `account_id=acc1, concurrency_number=2001`: ids, numbers, and a reason.
    pub facts: String,
}

/// Why a body is not an event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// There is no event name.
    #[error("the body has no \"event\"")]
    NoName,
    /// An event that we must act upon lacks what is needed for it.
    #[error("{event} without {field}")]
    Missing {
        /// The event's name.
        event: String,
        /// What is missing from its payload.
        field: &'static str,
    },
}

/// How far Zoom's clock may be ahead of this machine's.
const CLOCKS_APART_MS: i64 = 5 * 60 * 1000;

impl Event {
    /// Reads an event out of a request's body.
    ///
    /// `received_ms` (Unix) stands in for an `event_ts` that is absent, or further ahead than clocks are apart: if it counted,
    /// all later events of the stream would look repeated.
    ///
    /// # Errors
    /// When the body is no event, or one of ours without the fields that make it usable.
    pub fn parse(body: &[u8], received_ms: i64) -> Result<Self, Error> {
        let body: Value = serde_json::from_slice(body).or_else(|err| match mended(body) {
            // It is kept as it came, which has to be text.
            Some(json) if std::str::from_utf8(body).is_ok() => serde_json::from_slice(&json),
            _ => Err(err),
        })?;
        let name = body.get("event").and_then(Value::as_str).ok_or(Error::NoName)?;
        let payload = Payload { name, value: body.get("payload").unwrap_or(&Value::Null) };
        let believable = 1..=received_ms.saturating_add(CLOCKS_APART_MS);
        let event_ts =
            body.get("event_ts").and_then(as_int).filter(|ts| believable.contains(ts)).unwrap_or(received_ms);

        if name == "endpoint.url_validation" {
            let plain_token = payload.required("plainToken")?;
            return Ok(Self::UrlValidation { plain_token });
        }
        if let Some((name, advice)) = notice::ALL.iter().find(|(known, _)| *known == name) {
            return Ok(Self::Notice(Notice { name, advice: *advice, facts: payload.facts() }));
        }
        let Some((product, what)) = product_and_verb(name) else {
            return Ok(Self::Other { name: name.chars().take(80).collect() });
        };
        let stream = StreamRef { product, stream_id: StreamId::new(payload.required("rtms_stream_id")?) };
        Ok(match what {
            Verb::Started => Self::Started(Box::new(payload.started(stream, event_ts)?)),
            Verb::Stopped => {
                let stop_reason = payload.find(&["stop_reason", "reason"]).and_then(as_reason);
                Self::Stopped { stream, event_ts, stop_reason }
            }
            Verb::Interrupted => Self::Interrupted { stream, event_ts },
        })
    }
}

/// The keys under which a product's identity is looked for, in order. The first one present signs the handshakes.
fn id_keys(product: Product) -> &'static [&'static str] {
    match product {
        Product::Meeting => &["meeting_uuid"],
        Product::Webinar => &["meeting_uuid", "webinar_uuid"],
        Product::Session => &["session_id"],
        Product::ContactCenter => &["engagement_id", "session_id"],
        Product::Phone => &["call_id"],
    }
}

enum Verb {
    Started,
    Stopped,
    Interrupted,
}

/// Takes `meeting.rtms_started` apart, and the other names in circulation for the same things.
fn product_and_verb(name: &str) -> Option<(Product, Verb)> {
    let (product, rest) = name.split_once('.')?;
    let (product, verb) = match (product, rest) {
        ("meeting", _) => (Product::Meeting, rest),
        ("webinar", _) => (Product::Webinar, rest),
        ("session", _) => (Product::Session, rest),
        ("contact_center", _) => (Product::ContactCenter, rest.strip_prefix("voice_")?),
        ("contactcenter", _) => (Product::ContactCenter, rest),
        ("phone", _) => (Product::Phone, rest.strip_prefix("call_").unwrap_or(rest)),
        _ => return None,
    };
    let verb = match verb {
        "rtms_started" | "rtms.started" => Verb::Started,
        "rtms_stopped" | "rtms.stopped" => Verb::Stopped,
        "rtms_interrupted" | "rtms.interrupted" => Verb::Interrupted,
        _ => return None,
    };
    Some((product, verb))
}

struct Payload<'a> {
    name: &'a str,
    value: &'a Value,
}

impl<'a> Payload<'a> {
    fn find(&self, keys: &[&str]) -> Option<&'a Value> {
        let object = self.value.get("object");
        [Some(self.value), object]
            .into_iter()
            .flatten()
            .find_map(|place| keys.iter().find_map(|key| place.get(*key)).filter(|value| !value.is_null()))
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.find(&[key])? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn required(&self, field: &'static str) -> Result<String, Error> {
        self.text(field).ok_or_else(|| self.missing(field))
    }

    fn missing(&self, field: &'static str) -> Error {
        Error::Missing { event: self.name.to_owned(), field }
    }

    /// What is worth telling of a notice. What a failed start looks like is not documented, so several names are tried.
    fn facts(&self) -> String {
        const FACTS: [&str; 12] = [
            "account_id",
            "meeting_uuid",
            "webinar_uuid",
            "session_id",
            "engagement_id",
            "call_id",
            "rtms_stream_id",
            "concurrency_limit",
            "concurrency_number",
            "percentage",
            "reason",
            "error_message",
        ];
        let of = self.value.get("id_field").unwrap_or(&Value::Null);
        let id = Payload { name: self.name, value: of };
        let fact = |key: &&str| {
            let text = self.text(key).or_else(|| id.text(key))?;
            let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
            Some(format!("{key}={text}"))
        };
        FACTS.iter().filter_map(fact).collect::<Vec<String>>().join(", ")
    }

    fn started(&self, stream: StreamRef, event_ts: i64) -> Result<Started, Error> {
        let keys = id_keys(stream.product);
        let mut ids = keys.iter().filter_map(|&key| Some((key, MeetingId::new(self.text(key)?))));
        let (id_key, id) = ids.next().ok_or_else(|| self.missing(keys[0]))?;
        let signaling_url = self
            .find(&["server_urls", "serverUrls", "server_url"])
            .and_then(server_urls::signaling)
            .ok_or_else(|| self.missing("server_urls"))?;
        Ok(Started {
            other_id: ids.next(),
            stream,
            id_key,
            id,
            event_ts,
            signaling_url,
            meeting_id: self.text("meeting_id").or_else(|| self.text("webinar_id")),
            account_id: self.text("account_id"),
            operator_id: self.text("operator_id"),
            session_key: self.text("session_key"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: &Value) -> Result<Event, Error> {
        Event::parse(value.to_string().as_bytes(), 1)
    }

    #[test]
    fn half_a_character_in_a_topic_does_not_cost_the_meeting() {
        let body =
            br#"{"event":"meeting.rtms_stopped","payload":{"rtms_stream_id":"s","object":{"topic":"Tea \ud83c"}}}"#;
        assert!(matches!(Event::parse(body, 1), Ok(Event::Stopped { .. })));
        assert!(
            Event::parse(b"{\"event\":\"meeting.rtms_stopped\",\"payload\":{\"rtms_stream_id\":\"s\xf0\"}}", 1)
                .is_err()
        );
    }

    fn started(value: &Value) -> Started {
        match parse(value) {
            Ok(Event::Started(started)) => *started,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flat_and_nested_payloads_say_the_same() {
        let fields = json!({"meeting_uuid": "a/b==", "rtms_stream_id": "s1", "server_urls": "wss://x.zoom.us",
                            "operator_id": "op", "meeting_id": 123456789});
        let flat = started(&json!({"event": "meeting.rtms_started", "event_ts": 5, "payload": fields}));
        let nested = started(&json!({"event": "meeting.rtms_started", "event_ts": 5,
                                     "payload": {"account_id": null, "object": fields}}));
        assert_eq!(flat, nested);
        assert_eq!(flat.id.as_str(), "a/b==");
        assert_eq!(flat.meeting_id.as_deref(), Some("123456789"));
        assert_eq!((flat.id_key, flat.event_ts), ("meeting_uuid", 5));
    }

    #[test]
    fn names_and_aliases_of_every_product() {
        for (name, id_key, product) in [
            ("meeting.rtms_started", "meeting_uuid", Product::Meeting),
            ("meeting.rtms.started", "meeting_uuid", Product::Meeting),
            ("webinar.rtms_started", "webinar_uuid", Product::Webinar),
            ("webinar.rtms_started", "meeting_uuid", Product::Webinar),
            ("session.rtms_started", "session_id", Product::Session),
            ("contact_center.voice_rtms_started", "engagement_id", Product::ContactCenter),
            ("contactcenter.rtms_started", "session_id", Product::ContactCenter),
            ("phone.rtms_started", "call_id", Product::Phone),
            ("phone.call_rtms_started", "call_id", Product::Phone),
        ] {
            let started = started(&json!({"event": name, "payload": {
                id_key: "id", "rtms_stream_id": "s", "serverUrls": ["wss://x.zoom.us"]}}));
            assert_eq!((started.stream.product, started.id_key), (product, id_key), "{name}");
            assert_eq!(started.event_ts, 1, "the time of receipt stands in");
        }
    }

    #[test]
    fn a_webinar_with_both_ids_signs_with_the_meetings() {
        let started = started(&json!({"event": "webinar.rtms_started", "payload": {
            "webinar_uuid": "w", "meeting_uuid": "m", "rtms_stream_id": "s", "server_url": "wss://x.zoom.us"}}));
        assert_eq!(started.id.as_str(), "m");
        assert_eq!(started.other_id, Some(("webinar_uuid", MeetingId::new("w"))));
    }

    #[test]
    fn stop_reasons_come_as_number_or_text() {
        for reason in [json!(6), json!("6"), json!("STOP_BC_MEETING_ENDED")] {
            let event = parse(&json!({"event": "meeting.rtms_stopped", "event_ts": 9,
                                      "payload": {"rtms_stream_id": "s", "stop_reason": reason}}));
            assert!(matches!(event, Ok(Event::Stopped { stop_reason: Some(6), event_ts: 9, .. })), "{event:?}");
        }
    }

    #[test]
    fn what_is_missing_is_named_and_strangers_are_passed_over() {
        let error = |value: Value| parse(&value).unwrap_err().to_string();
        assert_eq!(
            error(json!({"event": "meeting.rtms_started", "payload": {"rtms_stream_id": "s"}})),
            "meeting.rtms_started without meeting_uuid"
        );
        assert_eq!(
            error(json!({"event": "meeting.rtms_stopped", "payload": {}})),
            "meeting.rtms_stopped without rtms_stream_id"
        );
        assert_eq!(
            error(json!({"event": "meeting.rtms_started",
                         "payload": {"rtms_stream_id": "s", "meeting_uuid": "m", "server_urls": 3}})),
            "meeting.rtms_started without server_urls"
        );
        assert!(matches!(Event::parse(b"{", 1), Err(Error::NotJson(_))));
        assert!(matches!(parse(&json!([1])), Err(Error::NoName)));
        for name in ["meeting.started", "rtms.request_status", "", "x"] {
            assert!(matches!(parse(&json!({"event": name})), Ok(Event::Other { .. })), "{name}");
        }
    }

    /// Everything that is known to be posted, one file each, named for its event or quirk.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "fixtures are files")]
    fn fixtures_of_every_product_are_read() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/webhook");
        let mut shown = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let event = Event::parse(&std::fs::read(&path).unwrap(), i64::MAX / 2).unwrap();
            shown.push(format!("{name}: {}", describe(&event)));
        }
        shown.sort();
        insta::assert_snapshot!(shown.join("\n"));
    }

    fn describe(event: &Event) -> String {
        let of = |stream: &StreamRef| format!("{} {}", stream.product.as_str(), stream.stream_id);
        match event {
            Event::UrlValidation { .. } => "url validation".to_owned(),
            Event::Started(s) => {
                let other = s.other_id.as_ref().map_or_else(String::new, |(key, id)| format!(", or {key} {id}"));
                format!("{} started, {} {}{other}, at {}", of(&s.stream), s.id_key, s.id, s.signaling_url)
            }
            Event::Stopped { stream, stop_reason, .. } => format!("{} stopped, {stop_reason:?}", of(stream)),
            Event::Interrupted { stream, .. } => format!("{} interrupted", of(stream)),
            Event::Notice(notice) => format!("notice {} ({})", notice.name, notice.facts),
            Event::Other { name } => format!("other {name}"),
        }
    }
}
