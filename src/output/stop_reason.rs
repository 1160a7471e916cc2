//! Why a stream stopped, in words.

use crate::advice::stop_reason;
use serde::{Deserialize, Serialize};

/// Why a stream stopped: Zoom's number, its name and what it means ([`stop_reason`]). The number is open, newer ones are kept and
/// called `UNKNOWN`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopReason {
    /// Zoom's number. None if Zoom gave none, as when a stream ends because nothing was heard any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// Zoom's name for it without the prefix `STOP_BC_`, or `NONE`, or `UNKNOWN`.
    pub name: String,
    /// One sentence: what happened, and what to do if something is to be done.
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
        let known = code.map(stop_reason::of);
        let (name, meaning) = match known {
            Some(Some(reason)) => (reason.name, format!("{}.", reason.advice)),
            Some(None) => ("UNKNOWN", "Zoom gave a reason that this version does not know.".to_owned()),
            None => ("NONE", "Nobody gave a reason.".to_owned()),
        };
        Self { code, name: name.to_owned(), meaning, source }
    }

    /// A reason of the recorder's own, such as `CONNECTION_LOST`, in a sentence.
    pub fn of_recorder(name: &str, meaning: &str) -> Self {
        Self { code: None, name: name.to_owned(), meaning: meaning.to_owned(), source: StopSource::Recorder }
    }

    /// Consent was withdrawn: everything of the recording has to go at once.
    pub fn is_withdrawn(&self) -> bool {
        self.code == Some(stop_reason::REVOKED)
    }

    /// Zoom says that RTMS may be started again for such a stop if the meeting still runs.
    pub fn may_restart(&self) -> bool {
        self.code.and_then(stop_reason::of).is_some_and(stop_reason::Reason::may_restart)
    }
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
