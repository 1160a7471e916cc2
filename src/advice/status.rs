//! Refused handshakes. Two numberings are in use: Zoom's current one and that of 2025, which its test server and older
//! documents have. The same number means different things in them, so that a reason's name decides, and without a name both
//! readings are told.

use super::Advice;

/// What kind of refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The signature is not accepted.
    Signature,
    /// There is no such stream or meeting.
    UnknownStream,
    /// There is a connection already.
    Duplicate,
    /// The app does not get this medium.
    NotAvailable,
    /// Ready-ack without a medium.
    NotReady,
    /// Zoom has no keys for the chat yet.
    NoChatKeys,
    /// Trouble at Zoom.
    Trouble,
    /// Zoom does not understand what the recorder sent.
    Misunderstood,
}

/// One status by its name, and its numbers in Zoom's current list and in that of 2025.
struct Status {
    name: &'static str,
    now: Option<i64>,
    then: Option<i64>,
    kind: Kind,
}

const fn status(name: &'static str, now: i64, then: i64, kind: Kind) -> Status {
    const fn known(number: i64) -> Option<i64> {
        if number > 0 { Some(number) } else { None }
    }
    Status { name, now: known(now), then: known(then), kind }
}

/// Those that are told apart; whatever else there is, is [`Kind::Misunderstood`].
#[rustfmt::skip]
const STATUSES: [Status; 30] = [
    status("INVALID_SIGNATURE", 3, 15, Kind::Signature),
    status("SIGNATURE_NOT_EXIST", 0, 14, Kind::Signature),
    status("INVALID_RTMS_STREAM_ID", 2, 0, Kind::UnknownStream),
    status("INVALID_MEETING_OR_STREAM_ID", 0, 16, Kind::UnknownStream),
    status("MEETING_UUID_NOT_EXIST", 0, 7, Kind::UnknownStream),
    status("MEETING_UUID_NOT_STRING", 0, 8, Kind::UnknownStream),
    status("MEETING_UUID_IS_EMPTY", 0, 9, Kind::UnknownStream),
    status("RTMS_STREAM_ID_NOT_EXIST", 0, 10, Kind::UnknownStream),
    status("RTMS_STREAM_ID_NOT_STRING", 0, 11, Kind::UnknownStream),
    status("RTMS_STREAM_ID_IS_EMPTY", 0, 12, Kind::UnknownStream),
    status("SESSION_NOT_FOUND", 0, 13, Kind::UnknownStream),
    status("INVALID_RTMS_SESSION_ID", 40, 0, Kind::UnknownStream),
    status("RTMS_SESSION_NOT_FOUND", 0, 75, Kind::UnknownStream),
    status("DUPLICATE_SIGNAL_REQUEST", 8, 17, Kind::Duplicate),
    status("MEDIA_DATA_ALL_CONNECTION_EXIST", 15, 30, Kind::Duplicate),
    status("DUPLICATE_MEDIA_DATA_CONNECTION", 16, 31, Kind::Duplicate),
    status("MEDIA_TYPE_AUDIO_NOT_SUPPORT", 9, 24, Kind::NotAvailable),
    status("MEDIA_TYPE_VIDEO_NOT_SUPPORT", 10, 25, Kind::NotAvailable),
    status("MEDIA_TYPE_DESKSHARE_NOT_SUPPORT", 11, 26, Kind::NotAvailable),
    status("MEDIA_TYPE_TRANSCRIPT_NOT_SUPPORT", 12, 27, Kind::NotAvailable),
    status("MEDIA_TYPE_CHAT_NOT_SUPPORT", 13, 28, Kind::NotAvailable),
    status("INVALID_CLIENT_READY_ACK", 41, 0, Kind::NotReady),
    status("CHAT_SESSION_KEY_NOT_AVAILABLE", 47, 0, Kind::NoChatKeys),
    status("INTERNAL_EXCEPTION", 45, 0, Kind::Trouble),
    status("CONNECTION_TIMEOUT", 0, 1, Kind::Trouble),
    status("POST_FIRST_PACKET_FAILURE", 0, 74, Kind::Trouble),
    status("INVALID_MESSAGE_TYPE", 1, 4, Kind::Misunderstood),
    status("INVALID_PAYLOAD", 4, 0, Kind::Misunderstood),
    status("INVALID_JSON_MSG", 0, 3, Kind::Misunderstood),
    status("INVALID_MEDIA_PARAMS", 17, 33, Kind::Misunderstood),
];

/// The largest numbers of the two lists.
const LAST: (i64, i64) = (47, 75);

/// Why a handshake may be closed without a word.
pub const SILENT: &str = "check that client id and secret are those of the app that got the event, and that the app is of \
                          the right type for the product";

/// What an answer that is not yes means, by its number and its words, in one sentence.
pub fn explain(code: Option<i64>, reason: &str) -> String {
    if let Some(kind) = Kind::of_words(reason) {
        return kind.advice().to_string();
    }
    let Some(code) = code else { return Kind::Misunderstood.advice().to_string() };
    let known =
        |kind_of: fn(&Status) -> Option<i64>, last: i64| match STATUSES.iter().find(|s| kind_of(s) == Some(code)) {
            Some(status) => Some(status.kind),
            None => (1..=last).contains(&code).then_some(Kind::Misunderstood),
        };
    match (known(|status| status.now, LAST.0), known(|status| status.then, LAST.1)) {
        (Some(now), Some(then)) if now != then => {
            format!("by Zoom's current list: {}; by that of 2025: {}", now.advice(), then.advice())
        }
        (Some(kind), _) | (None, Some(kind)) => kind.advice().to_string(),
        (None, None) => Kind::Misunderstood.advice().to_string(),
    }
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Signature,
        Self::UnknownStream,
        Self::Duplicate,
        Self::NotAvailable,
        Self::NotReady,
        Self::NoChatKeys,
        Self::Trouble,
        Self::Misunderstood,
    ];

    /// By the words of a reason, whatever the number.
    pub fn of_words(reason: &str) -> Option<Self> {
        let words = reason.to_ascii_uppercase().replace([' ', '-'], "_");
        if words.is_empty() {
            return None;
        }
        if let Some(status) = STATUSES.iter().find(|status| words.contains(status.name)) {
            return Some(status.kind);
        }
        let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        Some(match () {
            () if says(&["DUPLICATE", "CONNECTION_EXIST"]) => Self::Duplicate,
            () if says(&["NOT_SUPPORT"]) => Self::NotAvailable,
            () if says(&["SIGNATURE", "AUTHENTICATION", "UNAUTHORIZED"]) => Self::Signature,
            () if says(&["MEETING_OR_STREAM", "NOT_FOUND"]) => Self::UnknownStream,
            () if says(&["EXCEPTION", "INTERNAL", "TIMEOUT", "FAILED_TO_INITIALIZE"]) => Self::Trouble,
            () => Self::Misunderstood,
        })
    }

    /// What it means, and what to do.
    pub fn advice(self) -> Advice {
        match self {
            Self::Signature => Advice::new(
                "Zoom does not accept the signature",
                "check that client id and secret are those of the app that got the event; development and production have different ones",
            ),
            Self::UnknownStream => Advice::new(
                "Zoom does not know this stream, or not by this id: it may just have ended",
                "nothing if it has ended; else check that client id and secret are those of the app that got the event",
            ),
            Self::Duplicate => Advice::new(
                "Zoom has a connection for this stream already",
                "nothing after a restart, as the old one passes away within 30 s and it is tried again; else stop the other program that uses this app's events",
            ),
            Self::NotAvailable => Advice::new(
                "Zoom does not give this medium to the app",
                "add the scope and install the app again, or leave the medium out of MEDIA",
            ),
            Self::NotReady => Advice::new("Zoom had lost the media connection when it was to begin", ""),
            Self::NoChatKeys => Advice::new("Zoom has no keys for this meeting's chat, so there is no chat", ""),
            Self::Trouble => Advice::new(
                "Zoom has trouble of its own",
                "nothing, as it is tried again; if it lasts, see status.zoom.us",
            ),
            Self::Misunderstood => Advice::new(
                "Zoom did not understand what the recorder sent",
                "please report this line, it should not happen",
            ),
        }
    }

    /// The statuses of this kind with their numbers, for a table.
    pub fn names(self) -> String {
        let of_kind = STATUSES.iter().filter(|status| status.kind == self);
        let named = of_kind.map(|status| match (status.now, status.then) {
            (Some(now), Some(then)) => format!("{now}/{then} `{}`", status.name),
            (Some(now), None) => format!("{now}/- `{}`", status.name),
            (None, Some(then)) => format!("-/{then} `{}`", status.name),
            (None, None) => format!("`{}`", status.name),
        });
        let names: Vec<String> = named.collect();
        let rest = if self == Self::Misunderstood { ", and any other" } else { "" };
        names.join(", ") + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_decide_and_a_number_alone_is_read_both_ways() {
        assert!(explain(Some(15), "INVALID_SIGNATURE").starts_with("Zoom does not accept the signature"));
        assert!(explain(Some(15), "MEDIA_DATA_ALL_CONNECTION_EXIST").starts_with("Zoom has a connection"));
        assert!(
            explain(None, "Invalid signature").starts_with("Zoom does not accept"),
            "as the test server of 2025 says"
        );
        let both = explain(Some(15), "");
        assert!(
            both.contains("current list: Zoom has a connection") && both.contains("2025: Zoom does not accept"),
            "{both}"
        );
        assert!(explain(Some(8), "").contains("by that of 2025: Zoom does not know"));
        assert!(explain(Some(30), "").contains("2025: Zoom has a connection"));
        assert!(explain(Some(22), "").starts_with("Zoom did not understand"), "the same in both");
        assert!(explain(Some(999), "").starts_with("Zoom did not understand"));
    }

    #[test]
    fn every_number_of_both_lists_has_a_sentence() {
        for code in 1..=LAST.1 {
            assert!(!explain(Some(code), "").is_empty(), "{code}");
        }
        for status in &STATUSES {
            assert_eq!(Kind::of_words(status.name), Some(status.kind), "{}", status.name);
            assert_eq!(Kind::of_words(&format!("STATUS_{}", status.name)), Some(status.kind), "{}", status.name);
        }
        // A name that is part of another would hide it.
        for (place, status) in STATUSES.iter().enumerate() {
            let hidden = STATUSES[..place].iter().find(|earlier| status.name.contains(earlier.name));
            assert!(hidden.is_none_or(|earlier| earlier.kind == status.kind), "{}", status.name);
        }
    }
}
