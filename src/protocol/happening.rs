//! What happens in a meeting besides its media: message 6.

use super::fields::{epoch, id, int, name};
use crate::ids::{Product, UserId};
use crate::media::Timestamp;
use serde_json::Value;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody else is the active speaker now.
    Speaker,
    /// People came, or were there already.
    Joined,
    /// People left.
    Left,
    /// Somebody began to share a screen.
    SharingStarted,
    /// Sharing is over.
    SharingStopped,
    /// Cameras were switched on.
    CameraOn,
    /// Cameras were switched off.
    CameraOff,
}

/// The events of Contact Center, which have numbers that mean something else elsewhere.
pub const CONTACT_CENTER: std::ops::RangeInclusive<i64> = 8..=29;

/// Zoom's names for them, in order.
const CONTACT_CENTER_NAMES: [&str; 22] = [
    "CONSUMER_ANSWERED",
    "CONSUMER_END",
    "USER_ANSWERED",
    "USER_END",
    "USER_HOLD",
    "USER_UNHOLD",
    "MONITOR_STARTED",
    "MONITOR_TRANSITIONED",
    "MONITOR_ENDED",
    "TAKEOVER_STARTED",
    "TRANSFER_INITIATED",
    "TRANSFER_CANCELED",
    "TRANSFER_ACCEPTED",
    "TRANSFER_COMPLETED",
    "TRANSFER_REJECTED",
    "TRANSFER_TIMEOUT",
    "CONFERENCE_CANCELED",
    "CONFERENCE_PARTICIPANT_CANCELED",
    "CONFERENCE_PARTICIPANT_INVITED",
    "CONFERENCE_PARTICIPANT_REJECTED",
    "CONFERENCE_PARTICIPANT_TIMEOUT",
    "CONFERENCE_PARTICIPANT_LEFT",
];

/// Somebody to whom it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Their id.
    pub user_id: UserId,
    /// Their name, if it is told.
    pub user_name: Option<String>,
}

/// One event of a meeting. What its number means depends on the product, see [`Happening::kind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    number: i64,
    /// Who, as far as they have ids.
    pub who: Vec<Who>,
}

impl Happening {
    /// Reads the `event` of a message; `None` if it has no number or no time.
    pub fn parse(event: &Value) -> Option<Self> {
        let number = int(&event["event_type"])?;
        // Contact Center says `event_ts`.
        let at = epoch(&event["timestamp"]).or_else(|| epoch(&event["event_ts"]))?;
        // The first of the last two is how Zoom spells it.
        let lists = ["participants", "paticipant_info", "participant_info"].map(|key| &event[key]);
        let people = lists.into_iter().flat_map(|list| match list {
            Value::Array(people) => people.as_slice(),
            person => std::slice::from_ref(person),
        });
        let mut who: Vec<Who> = people.filter_map(person).collect();
        if who.is_empty() {
            who.extend(person(event));
        }
        Some(Self { at, number, who })
    }

    /// What happened; `None` if it is nothing that we follow. Contact Center has its own meanings from 8 on: there,
    /// parties answer and hang up.
    pub fn kind(&self, product: Option<Product>) -> Option<Kind> {
        Some(match (self.number, product == Some(Product::ContactCenter)) {
            (2, _) => Kind::Speaker,
            (3, _) | (8 | 10, true) => Kind::Joined,
            (4, _) | (9 | 11 | 29, true) => Kind::Left,
            (5, _) => Kind::SharingStarted,
            (6, _) => Kind::SharingStopped,
            (8, false) => Kind::CameraOn,
            (9, false) => Kind::CameraOff,
            _ => return None,
        })
    }

    /// Zoom's name of it, if it is an event of Contact Center's own.
    pub fn of_contact_center(&self, product: Option<Product>) -> Option<&'static str> {
        let place = usize::try_from(self.number.checked_sub(*CONTACT_CENTER.start())?).ok()?;
        CONTACT_CENTER_NAMES.get(place).copied().filter(|_| product == Some(Product::ContactCenter))
    }
}

fn person(value: &Value) -> Option<Who> {
    let user_id = UserId::new(id(&value["user_id"]).or_else(|| id(&value["channel_id"]))?);
    Some(Who { user_id, user_name: name(&value["user_name"]).or_else(|| name(&value["display_name"])) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(event: &Value) -> Happening {
        Happening::parse(event).unwrap()
    }

    #[test]
    fn people_stand_in_a_list_or_in_the_event_itself() {
        let who = [Who { user_id: UserId::new("16778240"), user_name: Some("Ada".to_owned()) }];
        let at = 1_754_042_400_123_i64;
        let list =
            json!({"event_type": 3, "timestamp": at, "participants": [{"user_id": "16778240", "user_name": "Ada"}]});
        let bare = json!({"event_type": "3", "timestamp": at, "user_id": 16_778_240, "user_name": "Ada"});
        for event in [list, bare] {
            let joined = parse(&event);
            assert_eq!((joined.at, joined.who.as_slice()), (Timestamp(at), &who[..]));
            assert_eq!(joined.kind(None), Some(Kind::Joined));
        }
    }

    #[test]
    fn numbers_from_8_on_mean_something_else_to_contact_center() {
        let message: Value =
            serde_json::from_slice(include_bytes!("../../fixtures/text/event-contact-center-answered.json")).unwrap();
        let event = parse(&message["event"]);
        assert_eq!(event.kind(Some(Product::ContactCenter)), Some(Kind::Joined));
        assert_eq!(event.kind(Some(Product::Meeting)), Some(Kind::CameraOn));
        assert_eq!(event.who[0].user_id, UserId::new("agent_x1"));
        assert_eq!(event.who[0].user_name.as_deref(), Some("Grace Example"));
        let hold = parse(&json!({"event_type": 12, "event_ts": 1_754_042_400_123_i64}));
        assert_eq!((hold.kind(Some(Product::ContactCenter)), hold.kind(None)), (None, None));
        assert_eq!(hold.of_contact_center(Some(Product::ContactCenter)), Some("USER_HOLD"));
        assert_eq!(hold.of_contact_center(Some(Product::Meeting)), None);
        let name = |number: i64| {
            parse(&json!({"event_type": number, "timestamp": 1})).of_contact_center(Some(Product::ContactCenter))
        };
        assert_eq!((name(7), name(8), name(30)), (None, Some("CONSUMER_ANSWERED"), None));
        assert_eq!(name(29), Some("CONFERENCE_PARTICIPANT_LEFT"));
    }

    #[test]
    fn hostile_events_do_no_harm() {
        for event in
            [json!(null), json!(7), json!([1]), json!({"event_type": 3}), json!({"event_type": {}, "timestamp": 1})]
        {
            assert_eq!(Happening::parse(&event), None, "{event}");
        }
        let event =
            json!({"event_type": 3, "timestamp": 1, "participants": [1, [], {}, {"user_id": []}, {"user_id": -1}]});
        assert_eq!(parse(&event).who.len(), 1);
    }
}
