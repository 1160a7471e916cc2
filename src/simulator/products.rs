//! What differs between products: names, ids, and what happens in them.

use super::webhooks::Kind;
use crate::ids::Product;
use base64_simd::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The key of the id that a handshake has to have. Sources disagree on what Zoom wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum IdKey {
    /// The product's own, or `meeting_uuid`.
    #[default]
    Either,
    /// The product's own.
    Own,
    /// `meeting_uuid`, whatever the product.
    MeetingUuid,
}

impl IdKey {
    /// The keys that count.
    pub(super) fn keys(self, product: Product) -> Vec<&'static str> {
        match self {
            Self::Either => vec![id_key(product), "meeting_uuid"],
            Self::Own => vec![id_key(product)],
            Self::MeetingUuid => vec!["meeting_uuid"],
        }
    }
}

/// The key of the id in payloads and handshakes.
pub(super) fn id_key(product: Product) -> &'static str {
    match product {
        Product::Meeting => "meeting_uuid",
        Product::Webinar => "webinar_uuid",
        Product::Session => "session_id",
        Product::ContactCenter => "engagement_id",
        Product::Phone => "call_id",
    }
}

/// A new id, as such look.
pub(super) fn id(product: Product) -> String {
    let mut id = *uuid::Uuid::new_v4().as_bytes();
    match product {
        Product::ContactCenter => URL_SAFE_NO_PAD.encode_to_string(id),
        Product::Phone => (u128::from_le_bytes(id) % 9_000_000_000_000_000_000 + 1_000_000_000_000_000_000).to_string(),
        _ => {
            // Base64 with the characters that break paths and URLs.
            id[..3].copy_from_slice(&[0x01, 0xbf, 0xbf]);
            STANDARD.encode_to_string(id)
        }
    }
}

/// An event's name; `other` takes the other name that is in circulation, where there is one.
pub(super) fn event_name(product: Product, kind: Kind, other: bool) -> String {
    let prefix = match (product, other) {
        (Product::ContactCenter, false) => "contact_center.voice_rtms_",
        (Product::ContactCenter, true) => "contactcenter.rtms_",
        (Product::Meeting, false) => "meeting.rtms_",
        (Product::Meeting, true) => "meeting.rtms.",
        (Product::Webinar, false) => "webinar.rtms_",
        (Product::Webinar, true) => "webinar.rtms.",
        (Product::Session, false) => "session.rtms_",
        (Product::Session, true) => "session.rtms.",
        (Product::Phone, false) => "phone.rtms_",
        (Product::Phone, true) => "phone.call_rtms_",
    };
    let suffix = match kind {
        Kind::Started => "started",
        Kind::Stopped => "stopped",
        Kind::Interrupted => "interrupted",
    };
    format!("{prefix}{suffix}")
}

/// The largest number of an event that can be subscribed to.
pub(super) fn last_event(product: Product) -> i64 {
    match product {
        Product::ContactCenter => 29,
        _ => 14,
    }
}

/// Contact Center tells parties apart by channel.
pub(super) fn channel(product: Product, person: usize) -> Option<String> {
    (product == Product::ContactCenter).then(|| format!("channel-{person}"))
}

const CONSUMER_ANSWERED: i64 = 8;
const CONSUMER_END: i64 = 9;
const USER_ANSWERED: i64 = 10;
const USER_END: i64 = 11;
const USER_HOLD: i64 = 12;
const USER_UNHOLD: i64 = 13;

fn party(event_type: i64) -> Value {
    // Spelled as Zoom does.
    match event_type {
        CONSUMER_ANSWERED | CONSUMER_END => json!({"paticipant_info": {
            "channel_id": "channel-0", "participant_mode": "caller", "queue_id": "q1", "queue_name": "Support",
            "phone_number": "+15550100", "user_id": "consumer_x1", "display_name": "Ada Example",
        }}),
        _ => json!({"paticipant_info": {
            "channel_id": "channel-1", "participant_mode": "callee", "queue_id": "q1", "queue_name": "Support",
            "phone_number": "+15550101", "user_id": "agent_x1", "display_name": "Grace \"Desk/2\" Example",
        }}),
    }
}

/// Who is there, for a client that has subscribed to this event.
pub(super) fn parties(event_type: i64, now_ms: i64) -> Option<Value> {
    matches!(event_type, CONSUMER_ANSWERED | USER_ANSWERED).then(|| {
        let mut event = party(event_type);
        event["event_type"] = event_type.into();
        event["event_ts"] = now_ms.into();
        event
    })
}

/// What happens to an engagement of this length, by media time.
pub(super) fn engagement(length_ms: i64) -> Vec<(i64, Value)> {
    let at = |at_ms: i64, event_type: i64| {
        let mut event = party(event_type);
        event["event_type"] = event_type.into();
        (at_ms, event)
    };
    vec![
        at(length_ms / 3, USER_HOLD),
        at(length_ms / 2, USER_UNHOLD),
        at(length_ms - 400, CONSUMER_END),
        at(length_ms - 300, USER_END),
    ]
}
