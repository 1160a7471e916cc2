//! Why a stream stopped, in words.

use serde::{Deserialize, Serialize};

/// Why a stream stopped: Zoom's number, its name and what it means. The table is protocol.md 4.13 (Zoom's current
/// type definitions); the number is open, newer ones are kept and called `UNKNOWN`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopReason {
    /// Zoom's number. None if Zoom gave none, as when a stream ends because nothing was heard any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// Zoom's name for it without the prefix `STOP_BC_`, or `NONE`, or `UNKNOWN`.
    pub name: String,
    /// One sentence.
    pub meaning: String,
    /// Who said so.
    pub source: StopSource,
}

/// Where a stop reason comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopSource {
    /// The stop event, by webhook or event socket.
    Event,
    /// The signaling connection: a stream or session state.
    Signaling,
    /// The recorder itself: no connection for too long, or told to finish.
    Recorder,
}

impl StopReason {
    /// Looks `code` up.
    pub fn new(code: Option<i64>, source: StopSource) -> Self {
        let (name, meaning) = match code {
            Some(code) => explain(code).unwrap_or(("UNKNOWN", "Zoom gave a reason that this version does not know.")),
            None => ("NONE", "Nobody gave a reason."),
        };
        Self { code, name: name.to_owned(), meaning: meaning.to_owned(), source }
    }

    /// A reason of the recorder's own, such as `CONNECTION_LOST`, in a sentence.
    pub fn of_recorder(name: &str, meaning: &str) -> Self {
        Self { code: None, name: name.to_owned(), meaning: meaning.to_owned(), source: StopSource::Recorder }
    }

    /// Consent was withdrawn: everything of the recording has to go at once.
    pub fn is_withdrawn(&self) -> bool {
        self.code == Some(8)
    }

    /// Zoom says that RTMS may be started again for such a stop if the meeting still runs.
    pub fn may_restart(&self) -> bool {
        matches!(self.code, Some(10..=19 | 24))
    }
}

fn explain(code: i64) -> Option<(&'static str, &'static str)> {
    Some(match code {
        0 => ("UNDEFINED", "Zoom gave no reason."),
        1 => ("HOST_TRIGGERED", "The host stopped the stream."),
        2 => ("USER_TRIGGERED", "A user stopped the stream."),
        3 => ("USER_LEFT", "The user of the app left."),
        4 => ("USER_EJECTED", "The user of the app was removed by the host."),
        5 => ("HOST_DISABLED_APP", "The host disabled the app."),
        6 => ("MEETING_ENDED", "The meeting ended."),
        7 => ("STREAM_CANCELED", "The stream was cancelled on a participant's request."),
        8 => ("STREAM_REVOKED", "Consent was withdrawn: everything recorded has to be deleted."),
        9 => ("ALL_APPS_DISABLED", "All apps were disabled."),
        10 => ("INTERNAL_EXCEPTION", "Something failed at Zoom."),
        11 => ("CONNECTION_TIMEOUT", "The recorder did not connect in time."),
        12 => ("INSTANCE_CONNECTION_INTERRUPTED", "Zoom's streaming server lost the meeting."),
        13 => ("SIGNAL_CONNECTION_INTERRUPTED", "The signaling connection was interrupted."),
        14 => ("DATA_CONNECTION_INTERRUPTED", "A media connection was interrupted."),
        15 => ("SIGNAL_CONNECTION_CLOSED_ABNORMALLY", "The recorder's signaling connection closed abnormally."),
        16 => ("DATA_CONNECTION_CLOSED_ABNORMALLY", "The recorder's media connection closed abnormally."),
        17 => ("EXIT_SIGNAL", "Zoom's streaming server was told to exit."),
        18 => ("AUTHENTICATION_FAILURE", "Zoom did not accept the recorder's credentials."),
        19 => ("AWAIT_RECONNECTION_TIMEOUT", "The recorder did not come back within Zoom's window."),
        20 => ("RECEIVER_REQUEST_CLOSE", "The receiver asked Zoom to close the stream."),
        21 => ("CUSTOMER_DISCONNECTED", "The customer disconnected."),
        22 => ("AGENT_DISCONNECTED", "The agent disconnected."),
        23 => ("ADMIN_DISABLED_APP", "An administrator disabled the app."),
        24 => ("KEEP_ALIVE_TIMEOUT", "Three keep-alives went unanswered."),
        25 => ("MANUAL_API_TRIGGERED", "The stream was stopped through the API."),
        26 => ("STREAMING_NOT_SUPPORTED", "Streaming is not supported there, as in a queue."),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_reason_has_a_name_and_a_sentence() {
        for code in 0..=26 {
            let reason = StopReason::new(Some(code), StopSource::Event);
            assert_ne!(reason.name, "UNKNOWN", "{code}");
            assert!(reason.meaning.ends_with('.'), "{code}");
        }
        assert_eq!(StopReason::new(Some(99), StopSource::Event).name, "UNKNOWN");
        assert_eq!(StopReason::new(None, StopSource::Recorder).name, "NONE");
    }

    #[test]
    fn only_a_revoked_stream_is_withdrawn() {
        let withdrawn: Vec<_> =
            (-1..40).filter(|c| StopReason::new(Some(*c), StopSource::Event).is_withdrawn()).collect();
        assert_eq!(withdrawn, [8]);
    }
}
