//! Events that are about the account or the app rather than a stream that runs.

use super::Advice;

/// A user or account removed the app.
pub const DEAUTHORIZED: Advice = Advice::new(
    "a user or account removed the app: no more streams come from there, and Zoom expects that their data is deleted",
    "delete their recordings from the bucket",
);
/// The limit of concurrent streams is near.
pub const NEAR_LIMIT: Advice = Advice::new(
    "the account has used 80 % or more of the streams that it may have at a time",
    "nothing is lost yet: ask Zoom for a higher limit, or let fewer meetings start streams by themselves",
);
/// The limit of concurrent streams is reached.
pub const LIMITED: Advice = Advice::new(
    "the account has as many streams as it may have at a time, so this one was not started and is not recorded",
    "ask Zoom for a higher limit, or start it by `rtms-recorder rtms start` once another stream has ended",
);
/// A stream could not be started.
pub const START_FAILED: Advice = Advice::new(
    "Zoom could not start a stream, so nothing of it is recorded",
    "see what Zoom says in the line, check the account's RTMS entitlement and the host's settings, and start it by `rtms-recorder rtms start`",
);

/// All of them, by the event's name.
pub const ALL: [(&str, Advice); 4] = [
    ("app_deauthorized", DEAUTHORIZED),
    ("rtms.concurrency_near_limit", NEAR_LIMIT),
    ("rtms.concurrency_limited", LIMITED),
    ("rtms.start_failed", START_FAILED),
];
