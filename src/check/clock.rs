//! This machine's clock against that of a server.

use super::Finding;
use crate::clock::unix_ms;
use crate::protocol::signature::WINDOW_S;
use reqwest::Url;

/// Dates of answers are whole seconds, and an answer takes a while.
const GOOD_S: i64 = 5;

/// Compares the clock with the date of whatever `url` answers.
pub async fn against(http: &reqwest::Client, url: &Url) -> Finding {
    const CHECK: &str = "clock";
    let host = url.host_str().unwrap_or_default();
    let asked_ms = unix_ms();
    let answer = http.get(url.clone()).send().await;
    let now_ms = unix_ms();
    let date = answer.ok().and_then(|answer| {
        let date = answer.headers().get("date")?.to_str().ok()?;
        chrono::DateTime::parse_from_rfc2822(date).ok()
    });
    let Some(date) = date else {
        let text = format!("{host} gave no date to compare the clock with");
        return Finding::warning(CHECK, text, "see that this machine's clock is set (NTP)");
    };
    // The date is cut to seconds: on average it is half of one later.
    judge(host, asked_ms / 2 + now_ms / 2 - (date.timestamp_millis() + 500))
}

fn judge(host: &str, ahead_ms: i64) -> Finding {
    const CHECK: &str = "clock";
    let seconds = (ahead_ms.abs() + 500) / 1000;
    if seconds <= GOOD_S {
        return Finding::ok(CHECK, format!("agrees with that of {host}"));
    }
    let side = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let text = format!("is {seconds} s {side} that of {host}");
    if seconds < WINDOW_S {
        return Finding::warning(CHECK, text, "set this machine's clock (NTP)");
    }
    Finding::failure(
        CHECK,
        format!("{text}: webhooks would be refused, and so would uploads"),
        "set this machine's clock (NTP)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn clocks_are_judged_by_what_still_works() {
        let at = |ahead_s: i64| judge("a.example", ahead_s * 1000);
        assert_eq!([0, 5, -5].map(|s| at(s).outcome), [Outcome::Ok; 3]);
        assert_eq!([6, -299].map(|s| at(s).outcome), [Outcome::Warning; 2]);
        assert_eq!([300, -86400].map(|s| at(s).outcome), [Outcome::Failure; 2]);
        assert_eq!(at(-60).text, "is 60 s behind that of a.example");
        assert!(at(600).text.starts_with("is 600 s ahead of that of a.example"));
    }
}
