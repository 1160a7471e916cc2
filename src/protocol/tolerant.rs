//! Deserializers for values that senders write in more than one way.

use crate::advice::stop_reason;
use serde::de::{Deserialize, Deserializer};
use serde_json::Value;

/// An integer that may come as a number or in a string; anything else, such as a name, becomes `None`.
pub(super) fn int<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(as_int(&Value::deserialize(deserializer)?))
}

/// A stop reason, which may come by its name, too.
pub(super) fn reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(as_reason(&Value::deserialize(deserializer)?))
}

/// Reads a stop reason out of a number, a string or its name.
pub(super) fn as_reason(value: &Value) -> Option<i64> {
    as_int(value).or_else(|| stop_reason::code_of(value.as_str()?))
}

/// A point in time in milliseconds since the epoch, brought to that unit.
///
/// One documented example has seconds; nothing is known to send microseconds, but they are unmistakable.
pub(super) fn epoch_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(as_int(&Value::deserialize(deserializer)?).map(normalize_epoch))
}

/// Reads an integer out of a number or a string.
pub(super) fn as_int(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|f| f as i64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Brings a time to milliseconds, by its size.
pub(super) fn normalize_epoch(time: i64) -> i64 {
    match time {
        ..=0 => time,
        1..100_000_000_000 => time * 1000,
        100_000_000_000..100_000_000_000_000 => time,
        _ => time / 1000,
    }
}
