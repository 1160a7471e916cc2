//! What is asked of Zoom: which call, at which path, with which body.

use crate::ids::Product;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::fmt;

/// What RTMS is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Action {
    /// Begin a stream. Zoom announces it by a start event.
    Start,
    /// End the stream.
    Stop,
    /// Send no media until it is resumed.
    Pause,
    /// Go on after a pause.
    Resume,
}

impl Action {
    /// Zoom's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// What the stream belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The product.
    pub product: Product,
    /// A meeting's number or UUID, a session's, engagement's or call's id.
    pub id: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.product {
            Product::Meeting => "meeting",
            Product::Webinar => "webinar",
            Product::Session => "Video SDK session",
            Product::ContactCenter => "Contact Center engagement",
            Product::Phone => "Zoom Phone call",
        };
        write!(f, "{what} {}", self.id)
    }
}

impl Target {
    pub(super) fn method(&self) -> Method {
        match self.product {
            Product::ContactCenter => Method::PUT,
            _ => Method::PATCH,
        }
    }

    /// The path below the address of the API.
    pub(super) fn path(&self) -> String {
        let collection = match self.product {
            Product::Meeting | Product::Webinar => "live_meetings",
            Product::Session => "videosdk/sessions",
            Product::ContactCenter => "contact_center",
            Product::Phone => "phone/calls",
        };
        format!("{collection}/{}/rtms_app/status", encode_id(&self.id))
    }

    /// The body. Only meetings and webinars say for which app, and for whom.
    pub(super) fn body(&self, action: Action, client_id: &str, participant: Option<&str>) -> Value {
        let mut body = json!({"action": action.as_str()});
        if matches!(self.product, Product::Meeting | Product::Webinar) {
            body["settings"] = json!({"client_id": client_id});
            if let Some(participant) = participant {
                body["settings"]["participant_user_id"] = participant.into();
            }
        }
        body
    }
}

/// An id as part of a path. One with `/` in it is encoded twice: Zoom's servers decode a path before they split it.
fn encode_id(id: &str) -> String {
    let once = encode(id);
    if id.contains('/') { encode(&once) } else { once }
}

/// All but letters, digits, `-`, `.`, `_` and `~`.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as part of a path or a form.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_with_a_slash_are_encoded_twice() {
        for (id, encoded) in [
            ("85746065432", "85746065432"),
            ("Ab+cdEFghIJklMNopQRst==", "Ab%2BcdEFghIJklMNopQRst%3D%3D"),
            ("/b/cd+FghIJklMNopQRst==", "%252Fb%252Fcd%252BFghIJklMNopQRst%253D%253D"),
            ("a?b#c%d", "a%3Fb%23c%25d"),
            ("../..", "..%252F.."),
        ] {
            assert_eq!(encode_id(id), encoded, "{id}");
        }
    }

    #[test]
    fn every_product_has_its_call() {
        let calls = [Product::Meeting, Product::Webinar, Product::Session, Product::ContactCenter, Product::Phone].map(
            |product| {
                let target = Target { product, id: "1".into() };
                format!("{} {} {}", target.method(), target.path(), target.body(Action::Start, "app", Some("p")))
            },
        );
        insta::assert_snapshot!(calls.join("\n"), @r#"
        PATCH live_meetings/1/rtms_app/status {"action":"start","settings":{"client_id":"app","participant_user_id":"p"}}
        PATCH live_meetings/1/rtms_app/status {"action":"start","settings":{"client_id":"app","participant_user_id":"p"}}
        PATCH videosdk/sessions/1/rtms_app/status {"action":"start"}
        PUT contact_center/1/rtms_app/status {"action":"start"}
        PATCH phone/calls/1/rtms_app/status {"action":"start"}
        "#);
    }
}
