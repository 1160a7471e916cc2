//! Why a stream stopped, by Zoom's numbers.

use serde::Serialize;

/// What a stop reason asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aftermath {
    /// Finish the recording.
    Final,
    /// Finish the recording; RTMS may be started again while the meeting runs.
    Restart,
    /// Consent was withdrawn: delete the recording at once.
    Delete,
}

/// A stop reason with its meaning. The list is open: a number that is not known is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopReason {
    /// Zoom's number.
    pub code: i64,
    /// Zoom's name, without its prefix; `UNKNOWN` if the number is not in the list.
    pub name: &'static str,
    /// One sentence for the operator.
    pub meaning: &'static str,
    /// What follows from it.
    pub aftermath: Aftermath,
}

/// The number that revokes consent.
pub const STREAM_REVOKED: i64 = 8;

impl StopReason {
    /// Looks a number up.
    pub fn new(code: i64) -> Self {
        use Aftermath::{Delete, Final, Restart};
        let (name, meaning, aftermath) = match code {
            0 => ("UNDEFINED", "Zoom gave no reason", Final),
            1 => ("HOST_TRIGGERED", "the host stopped it", Final),
            2 => ("USER_TRIGGERED", "a user stopped it", Final),
            3 => ("USER_LEFT", "the user of the app left", Final),
            4 => ("USER_EJECTED", "the user of the app was removed by the host", Final),
            5 => ("HOST_DISABLED_APP", "the host disabled the app", Final),
            6 => ("MEETING_ENDED", "the meeting ended", Final),
            7 => ("STREAM_CANCELED", "a participant asked for it to be cancelled", Final),
            STREAM_REVOKED => ("STREAM_REVOKED", "consent was withdrawn", Delete),
            9 => ("ALL_APPS_DISABLED", "all apps were disabled", Final),
            10 => ("INTERNAL_EXCEPTION", "an error on Zoom's side", Restart),
            11 => ("CONNECTION_TIMEOUT", "the recorder did not connect in time", Restart),
            12 => ("INSTANCE_CONNECTION_INTERRUPTED", "RTMS lost the meeting", Restart),
            13 => ("SIGNAL_CONNECTION_INTERRUPTED", "the signaling connection was interrupted", Restart),
            14 => ("DATA_CONNECTION_INTERRUPTED", "a media connection was interrupted", Restart),
            15 => ("SIGNAL_CONNECTION_CLOSED_ABNORMALLY", "the signaling connection broke", Restart),
            16 => ("DATA_CONNECTION_CLOSED_ABNORMALLY", "a media connection broke", Restart),
            17 => ("EXIT_SIGNAL", "Zoom's server was told to exit", Restart),
            18 => (
                "AUTHENTICATION_FAILURE",
                "the handshake was refused: check that client id and secret are those of the app that got the event",
                Restart,
            ),
            19 => ("AWAIT_RECONNECTION_TIMEOUT", "no reconnection within Zoom's window", Restart),
            20 => ("RECEIVER_REQUEST_CLOSE", "the app asked to close it", Final),
            21 => ("CUSTOMER_DISCONNECTED", "the customer hung up", Final),
            22 => ("AGENT_DISCONNECTED", "the agent hung up", Final),
            23 => ("ADMIN_DISABLED_APP", "an administrator disabled the app", Final),
            24 => ("KEEP_ALIVE_TIMEOUT", "keep-alives were not answered", Restart),
            25 => ("MANUAL_API_TRIGGERED", "stopped through the API", Final),
            26 => ("STREAMING_NOT_SUPPORTED", "the queue does not support streaming", Final),
            _ => ("UNKNOWN", "Zoom gave a reason that is not in its documentation", Final),
        };
        Self { code, name, meaning, aftermath }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_revocation_deletes_and_only_documented_ones_restart() {
        let by = |wanted| (-1..40).filter(|&code| StopReason::new(code).aftermath == wanted).collect::<Vec<_>>();
        assert_eq!(by(Aftermath::Delete), [8]);
        assert_eq!(by(Aftermath::Restart), [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 24]);
        assert_eq!(StopReason::new(27).name, "UNKNOWN");
    }
}
