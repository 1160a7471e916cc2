//! The part of `timeline.json` about people: who was there, who spoke, who shared a screen, whose camera was on.

use super::time::rfc3339_option;
use crate::ids::UserId;
use crate::media::{Pts, Timestamp};
use serde::Serialize;

/// Who was there and what they did, as Zoom's events tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct People {
    /// Everybody whom an event names, in that order.
    pub participants: Vec<Participant>,
    /// Who the active speaker was.
    pub speakers: Vec<Stretch>,
    /// Who shared a screen.
    pub sharing: Vec<Stretch>,
    /// Whose camera was on, if Zoom tells.
    pub cameras: Vec<Stretch>,
    /// What happened to an engagement of Contact Center.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub engagement: Vec<Moment>,
}

/// Something that happened at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Where.
    pub at_ms: Pts,
    /// When.
    #[serde(with = "super::time::rfc3339")]
    pub at: Timestamp,
    /// Zoom's name of it, such as `USER_HOLD`.
    pub event: String,
    /// To whom, if Zoom said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Their name at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
}

/// Somebody in the meeting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Participant {
    /// Their id.
    pub user_id: UserId,
    /// The last name that they had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// Names that they had before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier_names: Vec<String>,
    /// When they were there.
    pub present: Vec<Presence>,
}

/// From a join to a leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Presence {
    /// Where it starts; none if they left without a join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<Pts>,
    /// Where it ends.
    pub end_ms: Pts,
    /// When they joined, or were first seen.
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339_option")]
    pub from: Option<Timestamp>,
    /// When they left; none if they were there to the end.
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339_option")]
    pub until: Option<Timestamp>,
}

/// A stretch of time in which somebody did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// Who; none if Zoom did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Their name at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// Where it starts.
    pub start_ms: Pts,
    /// Where it ends.
    pub end_ms: Pts,
    /// When it starts.
    #[serde(with = "super::time::rfc3339")]
    pub from: Timestamp,
    /// When it ends; none if it lasted to the end.
    #[serde(skip_serializing_if = "Option::is_none", with = "rfc3339_option")]
    pub until: Option<Timestamp>,
}
