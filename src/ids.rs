//! Identities, as opaque as Zoom sends them, and the one path-safe name that we derive.

#![deny(clippy::disallowed_methods)]

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the id byte for byte: it takes part in signatures.
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The id as Zoom sent it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id! {
    /// `rtms_stream_id`: one start of RTMS in one meeting. 32 hex digits or a UUID so far.
    StreamId
}

opaque_id! {
    /// What the stream belongs to and the handshake signature covers: a meeting or webinar UUID (base64, with
    /// `+`, `/` and `=`), a Video SDK session id, an engagement id or a call id.
    MeetingId
}

opaque_id! {
    /// A participant within a meeting: an unsigned number for meetings, anything for Contact Center.
    UserId
}

/// What a stream belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// A meeting.
    Meeting,
    /// A webinar.
    Webinar,
    /// A Video SDK session.
    Session,
    /// A Contact Center voice engagement.
    ContactCenter,
    /// A Zoom Phone call.
    Phone,
}

/// Somebody who writes or is written to, as far as Zoom says who.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Person {
    /// Their id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Their name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
}

impl Product {
    /// The product's name as we write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Meeting => "meeting",
            Self::Webinar => "webinar",
            Self::Session => "session",
            Self::ContactCenter => "contact_center",
            Self::Phone => "phone",
        }
    }
}

/// Reads a product's name from a command line.
///
/// # Errors
/// What was expected.
pub fn parse_product(text: &str) -> Result<Product, String> {
    [Product::Meeting, Product::Webinar, Product::Session, Product::ContactCenter, Product::Phone]
        .into_iter()
        .find(|product| product.as_str() == text)
        .ok_or_else(|| format!("{text:?} is none of meeting, webinar, session, contact_center, phone"))
}

/// The name of a recording's folder in the spool: the stream id made safe for a path.
///
/// Letters, digits, `-` and `_` stand for themselves. An id with anything else, or over 64 bytes, is cut and gets a
/// hash of the whole, so that two different ids never share a folder. A stream that starts again after it was
/// published is a recording of its own, with its ordinal behind the id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordingId(String);

impl RecordingId {
    /// The id of the `ordinal`-th recording of a stream, counted from 1.
    pub fn new(stream: &StreamId, ordinal: u32) -> Self {
        let safe = path_safe(stream.as_str());
        Self(if ordinal <= 1 { safe } else { format!("{safe}.{ordinal}") })
    }

    /// Reads the name of a spool folder back; `None` for names that [`RecordingId::new`] never makes.
    pub fn from_folder(name: &str) -> Option<Self> {
        let (stem, ordinal) = name.split_once('.').map_or((name, None), |(s, o)| (s, Some(o)));
        let stem_ok = !stem.is_empty() && stem.bytes().all(is_path_safe);
        let ordinal_ok = ordinal.is_none_or(|o| o.parse::<u32>().is_ok_and(|n| n > 1));
        (stem_ok && ordinal_ok).then(|| Self(name.to_owned()))
    }

    /// The folder's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The how-manieth recording of its stream it is, from 1.
    pub fn ordinal(&self) -> u32 {
        self.0.split_once('.').and_then(|(_, ordinal)| ordinal.parse().ok()).unwrap_or(1)
    }

    /// The first recording of the same stream.
    pub fn first(&self) -> Self {
        Self(self.0.split_once('.').map_or(self.0.as_str(), |(stem, _)| stem).to_owned())
    }

    /// The recording of the same stream before this one.
    pub fn previous(&self) -> Option<Self> {
        let (stem, _) = self.0.split_once('.')?;
        Some(Self(match self.ordinal() {
            2 => stem.to_owned(),
            ordinal => format!("{stem}.{}", ordinal - 1),
        }))
    }
}

impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes any text a single path component of `[A-Za-z0-9_-]`, distinct for distinct texts.
pub fn path_safe(text: &str) -> String {
    const MAX: usize = 64;
    if !text.is_empty() && text.len() <= MAX && text.bytes().all(is_path_safe) {
        return text.to_owned();
    }
    let mut safe: String = text.bytes().take(MAX - 17).map(|b| if is_path_safe(b) { b as char } else { '_' }).collect();
    safe.push('-');
    for byte in &Sha256::digest(text.as_bytes())[..8] {
        safe.push_str(&format!("{byte:02x}"));
    }
    safe
}

fn is_path_safe(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_stream_ids_stand_for_themselves() {
        let id = StreamId::new("0123456789abcdef0123456789abcdef");
        assert_eq!(RecordingId::new(&id, 1).as_str(), id.as_str());
        assert_eq!(RecordingId::new(&id, 2).as_str(), format!("{id}.2"));
        let (first, third) = (RecordingId::new(&id, 1), RecordingId::new(&id, 3));
        assert_eq!((first.ordinal(), third.ordinal()), (1, 3));
        assert_eq!(first.previous(), None);
        assert_eq!(third.previous().and_then(|second| second.previous()), Some(first));
    }

    #[test]
    fn hostile_ids_become_one_path_component_and_stay_distinct() {
        let ids = ["", "..", "../../etc", "a/b", "a_b", "a b", "\0", &"x".repeat(65), "é"];
        let mut seen = std::collections::HashSet::new();
        for id in ids {
            let folder = RecordingId::new(&StreamId::new(id), 1);
            assert!(folder.as_str().len() <= 64, "{folder}");
            assert!(folder.as_str().bytes().all(is_path_safe), "{folder}");
            assert_eq!(RecordingId::from_folder(folder.as_str()), Some(folder.clone()));
            assert!(seen.insert(folder), "{id:?} shares a folder with another id");
        }
    }

    #[test]
    fn foreign_folders_are_not_recordings() {
        for name in ["", ".", "..", ".lock", "a/b", "lost+found", "x.1", "x.y", "x.2.3"] {
            assert_eq!(RecordingId::from_folder(name), None, "{name}");
        }
    }
}
