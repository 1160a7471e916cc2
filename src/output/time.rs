//! Wall-clock times as text: RFC 3339 in UTC with milliseconds, `2026-11-20T09:30:00.123Z`.

use crate::media::Timestamp;
use chrono::{DateTime, SecondsFormat, Utc};

/// The last millisecond of the year 9999: later years have no four digits.
const LAST_MS: i64 = 253_402_300_799_999;

/// The date and time of `ms` since the Unix epoch. What lies outside 1970 to 9999 is moved to the nearer end: such a
/// time is a fault of its sender and must not cost the recording.
pub(super) fn utc(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms.clamp(0, LAST_MS)).unwrap_or_default()
}

pub(super) fn text(time: Timestamp) -> String {
    utc(time.0).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn parse(text: &str) -> Result<Timestamp, chrono::ParseError> {
    Ok(Timestamp(DateTime::parse_from_rfc3339(text)?.timestamp_millis()))
}

/// For `#[serde(with = "time::rfc3339")]`.
pub(super) mod rfc3339 {
    use super::*;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::output) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&text(*time))
    }

    pub(in crate::output) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// For `#[serde(with = "time::rfc3339_option")]`, together with `default` and `skip_serializing_if`.
pub(super) mod rfc3339_option {
    use super::*;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::output) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_some(&text(*time)),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::output) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|t| parse(&t)).transpose().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_milliseconds_and_four_digits_of_year() {
        assert_eq!(text(Timestamp(1_795_167_000_007)), "2026-11-20T09:30:00.007Z");
        assert_eq!(text(Timestamp(i64::MAX)), "9999-12-31T23:59:59.999Z");
        assert_eq!(text(Timestamp(-1)), "1970-01-01T00:00:00.000Z");
        assert_eq!(parse("2026-11-20T10:30:00.007+01:00").unwrap(), Timestamp(1_795_167_000_007));
    }
}
