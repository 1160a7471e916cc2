//! Every key in the bucket: the folder of a recording and the names of the objects in it.
//!
//! Invariants: a key is stable (the same recording gets the same key after a restart), and text from outside never
//! adds a path component, whatever it contains.

use crate::ids::{UserId, path_safe};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// The folder of a recording, relative to the storage URL, without a slash at either end: see
/// [`Template`](super::template::Template).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Folder(String);

impl Folder {
    /// A path that a [`Template`](super::template::Template) has made.
    pub(super) fn of_template(path: String) -> Self {
        Self(path)
    }

    /// Whether `text` can be a component of a folder's path.
    pub(super) fn is_component(text: &str) -> bool {
        !matches!(text, "" | "." | "..")
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'='))
    }

    /// The path of the folder that somebody means: as a log line says it, with `place` (the storage URL with a slash at its end)
    /// before it, or with a page or manifest behind it. Whether it can be one is not looked at.
    pub fn meant<'a>(asked: &'a str, place: &str) -> &'a str {
        let path = asked.strip_prefix(place).unwrap_or(asked).trim_matches('/');
        let names = [Object::Manifest.name(), Object::Index.name()];
        names.iter().find_map(|name| path.strip_suffix(name.as_str())).unwrap_or(path).trim_end_matches('/')
    }

    /// The folder's path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of an object in this folder.
    pub fn key(&self, object: &Object) -> String {
        format!("{}/{}", self.0, object.name())
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Folder> for String {
    fn from(folder: Folder) -> Self {
        folder.0
    }
}

/// Text that cannot be a folder: a component is empty, `.`, `..` or has characters that no template makes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the folder of a recording")]
pub struct NotAFolder(String);

impl TryFrom<String> for Folder {
    type Error = NotAFolder;

    fn try_from(path: String) -> Result<Self, NotAFolder> {
        if path.split('/').all(Self::is_component) { Ok(Self(path)) } else { Err(NotAFolder(path)) }
    }
}

/// The key of the page that lists all recordings.
pub const CATALOGUE: &str = "index.html";

/// What the names of Zoom's own files begin with, in the folder of a recording.
pub const CLOUD: &str = "cloud/";

/// An object in the folder of a recording.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// Picture and sound.
    Recording,
    /// The mixed sound.
    Audio,
    /// The sound of one participant.
    Participant {
        /// Whose.
        user: UserId,
        /// The name at the time the recording was made, if any; only the part of it that is safe gets into the key.
        name: Option<String>,
    },
    /// The shared screen.
    Screenshare,
    /// The transcript as WebVTT.
    TranscriptVtt,
    /// The transcript as data.
    TranscriptJson,
    /// The chat to be read.
    ChatTxt,
    /// The chat as data.
    ChatJson,
    /// Joins, leaves, speakers, sharing, pauses, connections, gaps.
    Timeline,
    /// A picture of the recording.
    Poster,
    /// The page that plays all of it.
    Index,
    /// What was received, packed.
    Journal,
    /// A file of Zoom's own cloud recording: its name below `cloud/`, as [`Object::cloud`] makes it.
    Cloud(String),
    /// What was recorded; the last object to be written.
    Manifest,
}

impl Object {
    /// A file of Zoom's cloud recording: `what` it is (or whose sound, if it is of one `participant`), Zoom's `id` of it, and how its name
    /// ends. Only the parts that are safe get into the key, and files with different ids do not meet.
    pub fn cloud(what: &str, participant: bool, id: &str, extension: &str) -> Self {
        let id = hex::encode(&Sha256::digest(id.as_bytes())[..4]);
        let plain = (1..=8).contains(&extension.len()) && extension.bytes().all(|b| b.is_ascii_alphanumeric());
        let extension = if plain { extension.to_ascii_lowercase() } else { "bin".to_owned() };
        let folder = if participant { "participants/" } else { "" };
        let what = if participant { name_safe(what) } else { path_safe(&what.to_ascii_lowercase()) };
        let dash = if what.is_empty() { "" } else { "-" };
        Self::Cloud(format!("{folder}{what}{dash}{id}.{extension}"))
    }

    /// The name within the folder; [`Object::Participant`] and [`Object::Cloud`] are further down.
    pub fn name(&self) -> String {
        match self {
            Self::Recording => "recording.mp4".into(),
            Self::Audio => "audio.m4a".into(),
            Self::Participant { user, name } => {
                let user = path_safe(user.as_str());
                match name.as_deref().map(name_safe) {
                    Some(name) if !name.is_empty() => format!("participants/{user}-{name}.m4a"),
                    _ => format!("participants/{user}.m4a"),
                }
            }
            Self::Screenshare => "screenshare.mp4".into(),
            Self::TranscriptVtt => "transcript.vtt".into(),
            Self::TranscriptJson => "transcript.json".into(),
            Self::ChatTxt => "chat.txt".into(),
            Self::ChatJson => "chat.json".into(),
            Self::Timeline => "timeline.json".into(),
            Self::Poster => "poster.jpg".into(),
            Self::Index => "index.html".into(),
            Self::Journal => "journal.tar.zst".into(),
            Self::Cloud(name) => format!("{CLOUD}{name}"),
            Self::Manifest => "manifest.json".into(),
        }
    }

    /// Whether it is large, and read seldom.
    pub fn is_media(&self) -> bool {
        match self {
            Self::Recording | Self::Audio | Self::Participant { .. } | Self::Screenshare | Self::Journal => true,
            Self::Cloud(name) => matches!(extension(name), "mp4" | "m4a" | "bin"),
            _ => false,
        }
    }

    /// What a browser is told that it is.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Recording | Self::Screenshare => "video/mp4",
            Self::Audio | Self::Participant { .. } => "audio/mp4",
            Self::TranscriptVtt => "text/vtt; charset=utf-8",
            Self::ChatTxt => "text/plain; charset=utf-8",
            Self::TranscriptJson | Self::ChatJson | Self::Timeline | Self::Manifest => "application/json",
            Self::Poster => "image/jpeg",
            Self::Index => "text/html; charset=utf-8",
            Self::Journal => "application/zstd",
            Self::Cloud(name) => match extension(name) {
                "mp4" => "video/mp4",
                "m4a" => "audio/mp4",
                "vtt" => "text/vtt; charset=utf-8",
                "txt" => "text/plain; charset=utf-8",
                "csv" => "text/csv; charset=utf-8",
                "json" => "application/json",
                "jpg" | "jpeg" => "image/jpeg",
                "png" => "image/png",
                // What it is, Zoom may know; no browser is to guess.
                _ => "application/octet-stream",
            },
        }
    }

    /// How long a browser may keep it, and never a shared cache. Media does not change, but consent can be withdrawn,
    /// so a day; what may be written again is asked for each time.
    pub fn cache_control(&self) -> &'static str {
        match self {
            Self::Manifest | Self::Index => "private, no-cache",
            _ => "private, max-age=86400",
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

fn extension(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// What of a person's name goes into a key: letters and digits of any script, everything else becomes a single `-`, at
/// most 40 characters and 120 bytes. May be empty.
fn name_safe(name: &str) -> String {
    let mut safe = String::new();
    for c in name.chars() {
        let c = if c.is_alphanumeric() { c } else { '-' };
        if c == '-' && (safe.is_empty() || safe.ends_with('-')) {
            continue;
        }
        if safe.chars().count() == 40 || safe.len() + c.len_utf8() > 120 {
            break;
        }
        safe.push(c);
    }
    safe.truncate(safe.trim_end_matches('-').len());
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn folders_read_back_and_foreign_paths_do_not() {
        let folder = "2026/11/20/093000Z-85746065432-01234567-3";
        assert_eq!(Folder::try_from(folder.to_owned()).unwrap().as_str(), folder);
        for path in ["", "/", "a//b", "../x", "a/./b", "a b", "a\\b", "/a", "a/"] {
            assert!(Folder::try_from(path.to_owned()).is_err(), "{path:?}");
        }
    }

    #[test]
    fn names_of_participants_are_safe() {
        let name = |name: Option<&str>| {
            let (user, name) = (UserId::new("16778240"), name.map(str::to_owned));
            Object::Participant { user, name }.name()
        };
        assert_eq!(name(None), "participants/16778240.m4a");
        assert_eq!(name(Some("Ada Lovelace")), "participants/16778240-Ada-Lovelace.m4a");
        assert_eq!(name(Some("../../etc/passwd")), "participants/16778240-etc-passwd.m4a");
        assert_eq!(name(Some(" \u{202e}/..")), "participants/16778240.m4a");
        assert_eq!(name(Some("שלום")), "participants/16778240-שלום.m4a");
        assert_eq!(name(Some(&"x".repeat(300))).len(), "participants/16778240-.m4a".len() + 40);
    }

    #[test]
    fn names_of_zooms_own_files_are_safe_and_apart() {
        let name = |what: &str, participant, id: &str, extension: &str| {
            let object = Object::cloud(what, participant, id, extension);
            format!("{object} {}", object.content_type())
        };
        let names = [
            name("shared_screen_with_speaker_view", false, "a", "MP4"),
            name("shared_screen_with_speaker_view", false, "b", "MP4"),
            name("../../x", false, "a", "html"),
            name("chat_file", false, "a", "../x"),
            name("Audio only - Ada/../Lovelace", true, "a", "m4a"),
            name("", true, "a", "m4a"),
        ];
        insta::assert_snapshot!(names.join("\n"), @r"
        cloud/shared_screen_with_speaker_view-ca978112.mp4 video/mp4
        cloud/shared_screen_with_speaker_view-3e23e816.mp4 video/mp4
        cloud/______x-9cdf6a50100a862e-ca978112.html application/octet-stream
        cloud/chat_file-ca978112.bin application/octet-stream
        cloud/participants/Audio-only-Ada-Lovelace-ca978112.m4a audio/mp4
        cloud/participants/ca978112.m4a audio/mp4
        ");
    }

    /// The id keeps people apart who have the same name, and one who changes it together.
    #[test]
    fn equal_names_do_not_meet() {
        let name =
            |user: &str, name: &str| Object::Participant { user: UserId::new(user), name: Some(name.into()) }.name();
        assert_ne!(name("1", "Ada"), name("2", "Ada"));
        assert!(name("1", "Ada").starts_with("participants/1-") && name("1", "Ada L.").starts_with("participants/1-"));
    }

    proptest! {
        #[test]
        fn hostile_text_adds_no_path_component(user in ".*", name in proptest::option::of(".*")) {
            let object = Object::Participant { user: UserId::new(user), name }.name();
            prop_assert_eq!(object.split('/').count(), 2);
            prop_assert!(object.starts_with("participants/") && object.ends_with(".m4a"));
            prop_assert!(!object.split('/').any(|part| matches!(part, "" | "." | "..")));
            prop_assert!(!object.chars().any(|c| c.is_control() || c == '\\') && object.len() < 300, "{}", object);
        }
    }
}
