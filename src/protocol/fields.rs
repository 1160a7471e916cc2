//! Single fields of messages that are read loosely: whatever else is in them, a field that cannot be read is absent.

use super::tolerant;
use crate::media::Timestamp;
use serde_json::Value;

/// A number, also in a string.
pub(super) fn int(value: &Value) -> Option<i64> {
    tolerant::as_int(value)
}

/// A point in time in whatever unit, by Zoom's clock; 0 stands for none.
pub(super) fn epoch(value: &Value) -> Option<Timestamp> {
    tolerant::as_int(value).filter(|time| *time > 0).map(|time| Timestamp(tolerant::normalize_epoch(time)))
}

/// Text, or a number taken as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// An id; the empty one stands for none.
pub(super) fn id(value: &Value) -> Option<String> {
    text(value).filter(|id| !id.is_empty())
}

/// A name; one of nothing but blanks stands for none.
pub(super) fn name(value: &Value) -> Option<String> {
    text(value).filter(|name| !name.trim().is_empty())
}
