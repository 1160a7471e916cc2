//! What can go wrong with Zoom's REST API, in words: what was asked, of what, what came back, what to change.

use std::fmt;
use std::time::Duration;

/// A call that was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What was asked, such as `start RTMS of meeting 85746065432`.
    pub asked: String,
    /// How often.
    pub tries: u32,
    /// What came back in the end.
    pub failure: Failure,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer.
    Unreachable {
        /// The host that was asked.
        host: String,
        /// What was seen of it.
        because: String,
    },
    /// An answer that refuses.
    Refused(Refusal),
    /// The token answer has no token in it.
    NoToken {
        /// The host that was asked.
        host: String,
    },
    /// There is nothing to ask with.
    NoCredentials(&'static str),
}

/// An answer that refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for: the token, or the call itself.
    pub step: Step,
    /// The HTTP status.
    pub status: u16,
    /// Zoom's number, or `error` of a token answer.
    pub code: Option<String>,
    /// Zoom's text, made short.
    pub message: String,
    /// After which time Zoom wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// Which of the two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `/oauth/token`.
    Token,
    /// The call itself, with an OAuth token.
    Call,
    /// The call itself, with a token of the Video SDK app's own making.
    VideoSdkCall,
}

impl Failure {
    /// Whether the same request may succeed later, with nothing changed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => {
                refusal.status == 429 || refusal.status >= 500 || refusal.code.as_deref() == Some("3000")
            }
            Self::NoToken { .. } | Self::NoCredentials(_) => false,
        }
    }

    /// Whether the token was not taken.
    pub(super) fn is_about_token(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.step == Step::Call
            && (refusal.status == 401 || refusal.code.as_deref() == Some("124")))
    }
}

impl Error {
    /// Whether the same may succeed later, with nothing changed.
    pub fn is_retryable(&self) -> bool {
        self.failure.is_retryable()
    }

    /// After which time Zoom wants to be asked again, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.failure {
            Failure::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }
}

impl Refusal {
    /// What it means, and what to change.
    fn advice(&self) -> &'static str {
        if self.step == Step::Token && self.status < 500 && self.status != 429 {
            return match self.code.as_deref() {
                Some("unsupported_grant_type") => {
                    "Zoom gives this app no token this way; set ZOOM_ACCOUNT_ID for a Server-to-Server app, and leave it unset for a General app"
                }
                Some("bad_request" | "invalid_request") => {
                    "Zoom does not know this account id for this app; check ZOOM_ACCOUNT_ID, and that the app is activated"
                }
                _ if self.status < 400 => "a redirect is not followed; check ZOOM_OAUTH_URL",
                _ => {
                    "Zoom does not know this app; check ZOOM_REST_CLIENT_ID and ZOOM_REST_CLIENT_SECRET (without them ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET)"
                }
            };
        }
        match (self.code.as_deref(), self.status) {
            (_, 429) => "too many requests for this account; ask again later",
            (Some("124"), _) | (None, 401) => match self.step {
                Step::VideoSdkCall => {
                    "Zoom does not take the token; check ZOOM_VIDEO_SDK_API_KEY and ZOOM_VIDEO_SDK_API_SECRET (without them ZOOM_VIDEO_SDK_KEY and ZOOM_VIDEO_SDK_SECRET), and this machine's clock"
                }
                _ => "Zoom does not take the token that it gave; check that the app is activated and for this account",
            },
            (Some("300"), _) => "Zoom cannot use the request; check the id, and that it is of this product",
            (Some("1001"), _) => "Zoom does not know the participant in this account; check the user id",
            (Some("2308"), _) => {
                "not permitted: the one in whose name it is asked is neither host nor alternative host nor an invited participant who is signed in; name another by --participant, or have the host start it"
            }
            (Some("2310"), _) => {
                "Zoom does not offer RTMS to this account: it has no Developer Pack, its trial is over, or it is a basic account"
            }
            (Some("3000"), _) => "Zoom cannot do it now; it may be possible in a moment",
            (Some("3001"), _) => "the meeting does not exist or is over; check the id",
            (Some("4700" | "4711"), _) => {
                "the app lacks a scope; add meeting:update:participant_rtms_app_status (Contact Center: contact_center:update:engagement_rtms_app_status), also as :admin for a Server-to-Server app, and activate or install it again"
            }
            (_, 404) => "Zoom knows nothing of this id that is going on; check the id and the product",
            (_, 401 | 403) => "the app may not do this; check its scopes, and whose account it is",
            (_, 300..=399) => "a redirect is not followed; check ZOOM_API_URL and ZOOM_OAUTH_URL",
            (_, 500..) => "Zoom has trouble; ask again later",
            _ => "check the request, and Zoom's text",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.asked)?;
        if self.tries > 1 {
            write!(f, " in {} tries", self.tries)?;
        }
        write!(f, ": {}", self.failure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { host, because } => {
                write!(f, "{host} gave no answer: {because}; check the network and its proxies")
            }
            Self::Refused(refusal) => {
                let what = if refusal.step == Step::Token { "asked for a token, " } else { "" };
                write!(f, "{what}Zoom answered {}", refusal.status)?;
                if let Some(code) = &refusal.code {
                    write!(f, " (code {code})")?;
                }
                if !refusal.message.is_empty() {
                    write!(f, " {:?}", refusal.message)?;
                }
                if let Some(after) = refusal.retry_after {
                    write!(f, ", try again in {} s", after.as_secs())?;
                }
                write!(f, ": {}", refusal.advice())
            }
            Self::NoToken { host } => {
                write!(f, "{host} answered without an access_token; check ZOOM_OAUTH_URL")
            }
            Self::NoCredentials(what) => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(step: Step, status: u16, code: &str) -> Error {
        let code = (!code.is_empty()).then(|| code.to_owned());
        let refusal = Refusal { step, status, code, message: "Zoom's words.".into(), retry_after: None };
        Error { asked: "start RTMS of meeting 1".into(), tries: 1, failure: Failure::Refused(refusal) }
    }

    #[test]
    fn texts_say_what_was_asked_what_came_back_and_what_to_change() {
        assert_eq!(
            refused(Step::Call, 400, "2310").to_string(),
            "could not start RTMS of meeting 1: Zoom answered 400 (code 2310) \"Zoom's words.\": Zoom does not offer \
             RTMS to this account: it has no Developer Pack, its trial is over, or it is a basic account"
        );
        for (step, status, code, text) in [
            (Step::Call, 400, "2308", "neither host nor alternative host"),
            (Step::Call, 400, "3000", "in a moment"),
            (Step::Call, 404, "3001", "does not exist"),
            (Step::Call, 401, "124", "activated"),
            (Step::VideoSdkCall, 401, "124", "ZOOM_VIDEO_SDK_API_KEY"),
            (Step::Call, 400, "4711", "meeting:update:participant_rtms_app_status"),
            (Step::Call, 400, "300", "check the id"),
            (Step::Call, 302, "", "redirect"),
            (Step::Token, 400, "invalid_client", "ZOOM_REST_CLIENT_SECRET"),
            (Step::Token, 400, "unsupported_grant_type", "ZOOM_ACCOUNT_ID"),
            (Step::Token, 429, "", "too many requests"),
            (Step::Token, 302, "", "check ZOOM_OAUTH_URL"),
        ] {
            let error = refused(step, status, code).to_string();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn what_may_pass_is_asked_again_and_nothing_else() {
        for (status, code, retryable) in [
            (429, "", true),
            (500, "", true),
            (503, "", true),
            (400, "3000", true),
            (400, "2310", false),
            (404, "3001", false),
        ] {
            assert_eq!(refused(Step::Call, status, code).is_retryable(), retryable, "{status} {code}");
        }
        let unreachable = Failure::Unreachable { host: "api.zoom.us".into(), because: "timed out".into() };
        assert!(unreachable.is_retryable());
    }
}
