//! `Retry-After`: when a server wants to be asked again.

use chrono::DateTime;
use http::HeaderMap;
use http::header::RETRY_AFTER;
use std::time::Duration;

/// How long to wait from `now_ms` (Unix ms) on, if an answer says it.
pub(crate) fn retry_after(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    wait_until(headers.get(RETRY_AFTER)?.to_str().ok()?.trim(), now_ms)
}

/// Seconds; or a date, as Zoom names one where a limit is for the day.
fn wait_until(text: &str, now_ms: i64) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text)).ok()?;
    let left_ms = date.timestamp_millis().saturating_sub(now_ms).max(0);
    Some(Duration::from_secs(left_ms.unsigned_abs().div_ceil(1000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_name_seconds_or_a_date() {
        let now_ms = 1_792_567_680_500;
        for (text, seconds) in [
            ("7", Some(7)),
            ("2026-10-21T07:28:20Z", Some(20)),
            ("Wed, 21 Oct 2026 07:28:20 GMT", Some(20)),
            ("2026-10-21T07:00:00Z", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now_ms), seconds.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now_ms), None);
    }
}
