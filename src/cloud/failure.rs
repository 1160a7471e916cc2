//! Why a file could not be fetched, and whether that may pass.

use super::Expected;
use crate::clock;
use crate::retry_after::retry_after;
use reqwest::Response;
use std::time::Duration;

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The token is not taken.
    #[error("{0}")]
    Token(String),
    /// There is no such file (any more).
    #[error("{0}")]
    Gone(String),
    /// It cannot be had, ever.
    #[error("{0}")]
    ForGood(String),
    /// The spool has no room for it.
    #[error("{0}")]
    Room(String),
    /// It may pass.
    #[error("{because}")]
    Passing {
        /// What was seen.
        because: String,
        /// After which time the server wants to be asked again.
        after: Option<Duration>,
    },
}

impl Failure {
    pub(super) fn passing(because: impl Into<String>) -> Self {
        Self::Passing { because: because.into(), after: None }
    }

    /// What an answer says that has no file in it; nothing if it has one.
    pub(super) fn of(response: &Response, expected: Expected<'_>, host: String) -> Option<Self> {
        let status = response.status().as_u16();
        let answered = format!("{host} answered {status}");
        Some(match status {
            200 | 206 if super::is_page(response, expected) => {
                Self::Token(format!("{host} answered with a page, not with a file"))
            }
            200 | 206 | 416 => return None,
            401 | 403 => Self::Token(answered),
            404 | 410 => Self::Gone(answered),
            _ => Self::Passing { because: answered, after: retry_after(response.headers(), clock::unix_ms()) },
        })
    }

    /// How long after Zoom told of the file it is still worth trying.
    pub fn worth_trying(&self) -> Duration {
        const HOUR: Duration = Duration::from_secs(3600);
        match self {
            Self::ForGood(_) => Duration::ZERO,
            // It may be told of a little before it is there.
            Self::Gone(_) => HOUR,
            Self::Token(_) => 24 * HOUR,
            Self::Room(_) | Self::Passing { .. } => 7 * 24 * HOUR,
        }
    }
}
