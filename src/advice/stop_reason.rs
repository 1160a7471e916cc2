//! Why streams stop. The numbers and names are those of Zoom's current type definitions; newer ones are possible.

use super::Advice;

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Zoom's number.
    pub code: i64,
    /// Zoom's name without the prefix `STOP_BC_`.
    pub name: &'static str,
    /// What it means.
    pub advice: Advice,
}

/// Consent was withdrawn: all that was recorded has to go.
pub const REVOKED: i64 = 8;

const fn reason(code: i64, name: &'static str, what: &'static str, todo: &'static str) -> Reason {
    Reason { code, name, advice: Advice::new(what, todo) }
}

/// What helps after all of Zoom's own troubles.
const AGAIN: &str = "have it started again by ZOOM_ACCOUNT_ID or ZOOM_RESTART=on, or start it by hand";
const NETWORK: &str = "look at the network between the recorder and Zoom, and whether the machine is overloaded";

/// All that are known.
#[rustfmt::skip]
pub const ALL: [Reason; 27] = [
    reason(0, "UNDEFINED", "Zoom gave no reason", ""),
    reason(1, "HOST_TRIGGERED", "The host stopped the stream", ""),
    reason(2, "USER_TRIGGERED", "A user stopped the stream", ""),
    reason(3, "USER_LEFT", "The user of the app left", "to record on without them, have the host start the stream"),
    reason(4, "USER_EJECTED", "The user of the app was removed by the host", ""),
    reason(5, "HOST_DISABLED_APP", "The host disabled the app", "ask the host if that was not intended"),
    reason(6, "MEETING_ENDED", "The meeting ended", ""),
    reason(7, "STREAM_CANCELED", "The stream was cancelled on a participant's request", ""),
    reason(REVOKED, "STREAM_REVOKED", "Consent was withdrawn", "everything recorded is deleted by the recorder; delete copies of your own, too"),
    reason(9, "ALL_APPS_DISABLED", "All apps were disabled in the meeting", "ask the host if that was not intended"),
    reason(10, "INTERNAL_EXCEPTION", "Something failed at Zoom", AGAIN),
    reason(11, "CONNECTION_TIMEOUT", "The recorder did not connect in time", "look in the log for `connection refused`, and whether port 443 is open outwards"),
    reason(12, "INSTANCE_CONNECTION_INTERRUPTED", "Zoom's streaming server lost the meeting", AGAIN),
    reason(13, "SIGNAL_CONNECTION_INTERRUPTED", "The signaling connection was interrupted", AGAIN),
    reason(14, "DATA_CONNECTION_INTERRUPTED", "A media connection was interrupted", AGAIN),
    reason(15, "SIGNAL_CONNECTION_CLOSED_ABNORMALLY", "The recorder's signaling connection closed abnormally", NETWORK),
    reason(16, "DATA_CONNECTION_CLOSED_ABNORMALLY", "The recorder's media connection closed abnormally", NETWORK),
    reason(17, "EXIT_SIGNAL", "Zoom's streaming server was told to exit", AGAIN),
    reason(18, "AUTHENTICATION_FAILURE", "Zoom did not accept the recorder's credentials", "check that client id and secret are those of the app that got the event; development and production have different ones"),
    reason(19, "AWAIT_RECONNECTION_TIMEOUT", "The recorder did not come back within Zoom's window of about 60 s", NETWORK),
    reason(20, "RECEIVER_REQUEST_CLOSE", "The receiver asked Zoom to close the stream", "the recorder never does; look for another program with this app's credentials"),
    reason(21, "CUSTOMER_DISCONNECTED", "The customer hung up", ""),
    reason(22, "AGENT_DISCONNECTED", "The agent hung up", ""),
    reason(23, "ADMIN_DISABLED_APP", "An administrator disabled the app", "ask the administrator if that was not intended"),
    reason(24, "KEEP_ALIVE_TIMEOUT", "Three keep-alives went unanswered", NETWORK),
    reason(25, "MANUAL_API_TRIGGERED", "The stream was stopped through the API", ""),
    reason(26, "STREAMING_NOT_SUPPORTED", "Zoom does not stream there, as in a queue", ""),
];

/// The reason with this number.
pub fn of(code: i64) -> Option<&'static Reason> {
    ALL.iter().find(|reason| reason.code == code)
}

/// The number of a reason that is given by its name, as Zoom's test server of 2025 does; older names are known too.
pub fn code_of(name: &str) -> Option<i64> {
    let name = name.strip_prefix("STOP_BC_").unwrap_or(name);
    match name {
        "APP_DISABLED_BY_HOST" => Some(5),
        "MEETING_CONNECTION_INTERRUPTED" => Some(12),
        _ => ALL.iter().find(|reason| reason.name == name).map(|reason| reason.code),
    }
}

impl Reason {
    /// Zoom says that RTMS may be started again after such an end if the meeting still runs.
    pub fn may_restart(&self) -> bool {
        matches!(self.code, 10..=19 | 24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_and_names_lead_back() {
        for (place, reason) in ALL.iter().enumerate() {
            assert_eq!(reason.code, place as i64);
            assert_eq!(code_of(reason.name), Some(reason.code));
            assert_eq!(code_of(&format!("STOP_BC_{}", reason.name)), Some(reason.code));
        }
        assert_eq!(code_of("STOP_BC_APP_DISABLED_BY_HOST"), Some(5));
        assert_eq!((code_of(""), code_of("STOP_BC_"), code_of("6"), of(27)), (None, None, None, None));
    }
}
