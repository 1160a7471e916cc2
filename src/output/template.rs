//! Where the folder of a recording is, as the user chooses it (`KEY_TEMPLATE`): text and fields in braces, parted by slashes.
//!
//! Invariants: the same recording gets the same folder, always; two recordings never get the same one, since a template
//! has to name the stream; text from outside never adds a path component.

use super::key::Folder;
use super::time::utc;
use crate::ids::{MeetingId, Product, StreamId, path_safe};
use crate::media::Timestamp;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// `2026/11/20/093000Z-85746065432-01234567`.
const DEFAULT: &str = "{year}/{month}/{day}/{time}-{meeting}-{stream}";

/// The longest folder; keys in it stay below the 1024 bytes that stores take.
const MAX_BYTES: usize = 600;
/// The longest component, with room for an ordinal; file systems take 255 bytes.
const MAX_COMPONENT_BYTES: usize = 240;

/// The template of folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    components: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// What a template can name. Times are those of the start event, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Time,
    Date,
    Meeting,
    MeetingUuid,
    Stream,
    StreamId,
    Product,
    Account,
    Operator,
}

const FIELDS: [(&str, Field); 15] = [
    ("year", Field::Year),
    ("month", Field::Month),
    ("day", Field::Day),
    ("hour", Field::Hour),
    ("minute", Field::Minute),
    ("second", Field::Second),
    ("time", Field::Time),
    ("date", Field::Date),
    ("meeting", Field::Meeting),
    ("meeting_uuid", Field::MeetingUuid),
    ("stream", Field::Stream),
    ("stream_id", Field::StreamId),
    ("product", Field::Product),
    ("account", Field::Account),
    ("operator", Field::Operator),
];

/// What names a folder.
#[derive(Clone, Copy, Debug)]
pub struct FolderParts<'a> {
    /// When the stream started, by its start event (`event_ts`); the folder says it in UTC.
    pub started_at: Timestamp,
    /// The number that people know a meeting by. Anything but up to 20 digits is taken as not known.
    pub meeting_id: Option<&'a str>,
    /// The meeting's UUID or what the product has instead; used where the number is not known.
    pub meeting_uuid: &'a MeetingId,
    /// The stream.
    pub stream: &'a StreamId,
    /// Counts the recordings of this stream from 1; all but the first have it at the end of their folder.
    pub ordinal: u32,
    /// What was streamed.
    pub product: Product,
    /// The Zoom account.
    pub account_id: Option<&'a str>,
    /// The user who had the stream started.
    pub operator_id: Option<&'a str>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such field.
    #[error("has {{{0}}}; the fields are {fields}", fields = names())]
    NoSuchField(String),
    /// A brace without its other half.
    #[error("has a brace without its other half")]
    Brace,
    /// Text that would not be the same in every store, or no component at all.
    #[error(
        "has {0:?}; text may have letters, digits and any of - _ . =, and parts between slashes may not be empty, . or .."
    )]
    Text(String),
    /// Two streams of a meeting would get the same folder.
    #[error("has to have {{stream}} or {{stream_id}}, so that no two recordings get the same folder")]
    NoStream,
    /// 8 characters of a stream's id are enough within a meeting or a second, not among thousands of recordings.
    #[error(
        "has {{stream}}, which are 8 characters, with neither {{meeting}}, {{meeting_uuid}} nor {{time}}: two recordings might \
         get the same folder; write {{stream_id}}"
    )]
    ShortStream,
    /// File systems and stores would refuse it.
    #[error(
        "may become too long: {MAX_COMPONENT_BYTES} bytes between two slashes and {MAX_BYTES} in all are the most; ids may have 64"
    )]
    Long,
}

fn names() -> String {
    FIELDS.map(|(name, _)| format!("{{{name}}}")).join(" ")
}

impl Default for Template {
    fn default() -> Self {
        DEFAULT.parse().expect("it is tested")
    }
}

impl FromStr for Template {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim_matches('/');
        let components = text.split('/').map(component).collect::<Result<Vec<_>, _>>()?;
        let of_stream = |piece: &Piece| matches!(piece, Piece::Field(Field::Stream | Field::StreamId));
        if !components.iter().flatten().any(of_stream) {
            return Err(Error::NoStream);
        }
        let has = |field: Field| components.iter().flatten().any(|piece| *piece == Piece::Field(field));
        let is_of_a_second = has(Field::Time) || [Field::Hour, Field::Minute, Field::Second].into_iter().all(has);
        if !(has(Field::StreamId) || has(Field::Meeting) || has(Field::MeetingUuid) || is_of_a_second) {
            return Err(Error::ShortStream);
        }
        let longest = |pieces: &Vec<Piece>| pieces.iter().map(Piece::longest).sum::<usize>();
        let all: usize = components.iter().map(|pieces| longest(pieces) + 1).sum();
        if all > MAX_BYTES || components.iter().any(|pieces| longest(pieces) > MAX_COMPONENT_BYTES) {
            return Err(Error::Long);
        }
        Ok(Self { components })
    }
}

fn component(text: &str) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (plain, tail) = rest.split_at(rest.find(['{', '}']).unwrap_or(rest.len()));
        if !plain.is_empty() {
            let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'=');
            if !plain.bytes().all(ok) {
                return Err(Error::Text(plain.to_owned()));
            }
            pieces.push(Piece::Text(plain.to_owned()));
        }
        if tail.is_empty() {
            break;
        }
        let (name, after) = tail.strip_prefix('{').and_then(|tail| tail.split_once('}')).ok_or(Error::Brace)?;
        let field = FIELDS.iter().find(|(known, _)| *known == name);
        pieces.push(Piece::Field(field.ok_or_else(|| Error::NoSuchField(name.to_owned()))?.1));
        rest = after;
    }
    match &pieces[..] {
        [] => Err(Error::Text(text.to_owned())),
        [Piece::Text(only)] if only.bytes().all(|b| b == b'.') => Err(Error::Text(only.clone())),
        _ => Ok(pieces),
    }
}

impl Template {
    /// Names the folder of a recording. The same parts give the same folder, always.
    pub fn folder(&self, parts: &FolderParts<'_>) -> Folder {
        let component = |pieces: &Vec<Piece>| -> String { pieces.iter().map(|piece| piece.text(parts)).collect() };
        let mut path = self.components.iter().map(component).collect::<Vec<_>>().join("/");
        if parts.ordinal > 1 {
            path.push_str(&format!("-{}", parts.ordinal));
        }
        Folder::of_template(path)
    }

    /// How many components a folder has.
    pub fn depth(&self) -> usize {
        self.components.len()
    }

    /// How deep `path` is, if it is on the way to a folder of this template, or in one: `2026/11` is two deep by the default
    /// one, `backup/11` is not on the way.
    pub fn depth_of(&self, path: &str) -> Option<usize> {
        if path.is_empty() {
            return Some(0);
        }
        let mut depth = 0;
        for part in path.split('/') {
            let is_last = depth + 1 == self.components.len();
            let fits = match self.components.get(depth) {
                Some(pieces) if is_last => fits(pieces, part) || fits(pieces, without_ordinal(part)),
                Some(pieces) => fits(pieces, part),
                None => !matches!(part, "" | "." | ".."),
            };
            if !fits {
                return None;
            }
            depth += 1;
        }
        Some(depth)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pieces) in self.components.iter().enumerate() {
            if index > 0 {
                f.write_str("/")?;
            }
            for piece in pieces {
                match piece {
                    Piece::Text(text) => f.write_str(text)?,
                    Piece::Field(field) => {
                        let name = FIELDS.iter().find(|(_, known)| known == field).map_or("", |(name, _)| name);
                        write!(f, "{{{name}}}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Piece {
    /// How long its text may be, in bytes.
    fn longest(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Field(Field::Month | Field::Day | Field::Hour | Field::Minute | Field::Second) => 2,
            Self::Field(Field::Year | Field::Time | Field::Date | Field::Stream | Field::Product) => 16,
            Self::Field(Field::Meeting) => 20,
            Self::Field(Field::MeetingUuid | Field::StreamId | Field::Account | Field::Operator) => 64,
        }
    }

    fn text(&self, parts: &FolderParts<'_>) -> String {
        let field = match self {
            Self::Text(text) => return text.clone(),
            Self::Field(field) => field,
        };
        let time = |format: &str| utc(parts.started_at.0).format(format).to_string();
        let or_unknown = |id: Option<&str>| id.map_or_else(|| "unknown".to_owned(), path_safe);
        match field {
            Field::Year => time("%Y"),
            Field::Month => time("%m"),
            Field::Day => time("%d"),
            Field::Hour => time("%H"),
            Field::Minute => time("%M"),
            Field::Second => time("%S"),
            Field::Time => time("%H%M%SZ"),
            Field::Date => time("%Y-%m-%d"),
            Field::Meeting => match parts.meeting_id.map(str::trim) {
                Some(id) if (1..=20).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit()) => id.to_owned(),
                _ => short(parts.meeting_uuid.as_str(), |b| b.is_ascii_alphanumeric()),
            },
            Field::MeetingUuid => path_safe(parts.meeting_uuid.as_str()),
            Field::Stream => short(parts.stream.as_str(), |b| b.is_ascii_hexdigit()),
            Field::StreamId => path_safe(parts.stream.as_str()),
            Field::Product => parts.product.as_str().to_owned(),
            Field::Account => or_unknown(parts.account_id),
            Field::Operator => or_unknown(parts.operator_id),
        }
    }
}

/// Whether a component of a path can be of this template: by its digits where it is all dates, by its characters otherwise.
fn fits(pieces: &[Piece], part: &str) -> bool {
    let digits = pieces.iter().map(|piece| match piece {
        Piece::Field(Field::Year) => Some(4),
        Piece::Field(Field::Month | Field::Day | Field::Hour | Field::Minute | Field::Second) => Some(2),
        _ => None,
    });
    match digits.sum::<Option<usize>>() {
        Some(count) => part.len() == count && part.bytes().all(|b| b.is_ascii_digit()),
        None => Folder::is_component(part),
    }
}

/// `2026` of `2026-2`: all but the first recording of a stream have their number there.
fn without_ordinal(part: &str) -> &str {
    match part.rsplit_once('-') {
        Some((rest, ordinal)) if !ordinal.is_empty() && ordinal.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => part,
    }
}

/// The first 8 characters of an id if all of them are `plain`, else 8 hex digits of its hash, so that ids which differ
/// only in odd characters or far behind do not meet.
fn short(id: &str, plain: impl Fn(u8) -> bool) -> String {
    match id.as_bytes().get(..8) {
        Some(head) if head.iter().all(|b| plain(*b)) => head.iter().map(|b| *b as char).collect(),
        _ => hex::encode(&Sha256::digest(id.as_bytes())[..4]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folder(template: &str, meeting_id: Option<&str>, uuid: &str, stream: &str, ordinal: u32) -> String {
        let folder = template.parse::<Template>().expect("a template").folder(&FolderParts {
            started_at: Timestamp(1_795_167_000_123),
            meeting_id,
            meeting_uuid: &MeetingId::new(uuid),
            stream: &StreamId::new(stream),
            ordinal,
            product: Product::Meeting,
            account_id: Some("acc/../1"),
            operator_id: None,
        });
        folder.as_str().to_owned()
    }

    const STREAM: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn the_default_says_when_which_meeting_and_which_stream() {
        assert_eq!(
            folder(DEFAULT, Some("85746065432"), "Ab+/cdEFghIJklMNopQRst==", STREAM, 1),
            "2026/11/20/093000Z-85746065432-01234567"
        );
        assert_eq!(
            folder(DEFAULT, None, "AbXYcdEFghIJklMNopQRst==", STREAM, 2),
            "2026/11/20/093000Z-AbXYcdEF-01234567-2"
        );
        assert_eq!(Template::default().to_string(), DEFAULT);
    }

    #[test]
    fn odd_uuids_are_hashed_and_stay_apart() {
        let a = folder(DEFAULT, None, "Ab+/cdEFghIJklMNopQRst==", STREAM, 1);
        let b = folder(DEFAULT, None, "Ab/+cdEFghIJklMNopQRst==", STREAM, 1);
        assert_eq!(a, folder(DEFAULT, Some("not a number"), "Ab+/cdEFghIJklMNopQRst==", STREAM, 1));
        assert_ne!(a, b);
        assert_eq!(a.split('/').count(), 4);
        assert_ne!(folder(DEFAULT, None, "u", "session-one", 1), folder(DEFAULT, None, "u", "session-two", 1));
    }

    #[test]
    fn every_field_has_its_text() {
        let all = "{product}/{account}/{operator}/date={date}/{hour}.{minute}.{second}/{meeting_uuid}_{stream_id}/";
        assert_eq!(
            folder(all, None, "uu/id", STREAM, 1),
            "meeting/acc____1-b6b7f9b3a3e4ae71/unknown/date=2026-11-20/09.30.00/uu_id-af7b4b2c5a3a0f0c_0123456789abcdef0123456789abcdef"
                .replace("b6b7f9b3a3e4ae71", &hex::encode(&Sha256::digest("acc/../1")[..8]))
                .replace("af7b4b2c5a3a0f0c", &hex::encode(&Sha256::digest("uu/id")[..8]))
        );
    }

    #[test]
    fn what_is_no_template_is_said() {
        let refused = |text: &str| text.parse::<Template>().unwrap_err().to_string();
        assert!(refused("{year}/{nonsense}-{stream}").contains("{meeting_uuid}"));
        assert!(refused("{year}/{meeting}").contains("no two recordings"));
        for text in ["{stream}", "{date}/{hour}{minute}/{account}-{stream}"] {
            assert!(refused(text).contains("write {stream_id}"), "{text}");
        }
        for text in
            ["x".repeat(180) + "{stream_id}", "{account}/".repeat(9) + "{stream_id}", "a/".repeat(300) + "{stream_id}"]
        {
            assert!(refused(&text).contains("too long"), "{text}");
        }
        for text in ["{stream_id}", "{stream}/{meeting}", "{hour}{minute}{second}{stream}", "{date}/{time}-{stream}"] {
            assert!(text.parse::<Template>().is_ok(), "{text}");
        }
        for text in ["a//{stream}", "../{stream}", "./{stream}", "a b/{stream}", "a\\{stream}", "ü/{stream}", ""] {
            assert!(refused(text).contains("may"), "{text}");
        }
        for text in ["{stream", "stream}", "{stream}}", "{{stream}}"] {
            assert!(text.parse::<Template>().is_err(), "{text}");
        }
    }

    #[test]
    fn paths_to_folders_are_told_from_others() {
        let template = Template::default();
        let path = folder(DEFAULT, Some("85746065432"), "u", "s", 1);
        assert_eq!(template.depth_of(&path), Some(template.depth()));
        assert_eq!(template.depth_of(&format!("{path}/participants/1.m4a")), Some(6));
        assert_eq!(["", "2026", "2026/11/20"].map(|path| template.depth_of(path)), [Some(0), Some(1), Some(3)]);
        for path in ["/", "2026/", "2026/1", "backup", "backup/2026/11", "2026/11/20/..", "2026//20", "+026"] {
            assert_eq!(template.depth_of(path), None, "{path:?}");
        }
    }

    #[test]
    fn second_recordings_are_found_whatever_ends_the_template() {
        let text = "{stream_id}/{year}";
        let path = folder(text, None, "u", "s1", 2);
        assert_eq!((path.as_str(), text.parse::<Template>().unwrap().depth_of(&path)), ("s1/2026-2", Some(2)));
    }

    proptest! {
        #[test]
        fn hostile_text_adds_no_path_component(
            ms: i64, id in proptest::option::of(".*"), uuid in ".*", stream in ".*", ordinal: u32,
            account in proptest::option::of(".*"),
        ) {
            for template in [DEFAULT, "{account}/{operator}/{meeting_uuid}/{stream_id}"] {
                let template: Template = template.parse().unwrap();
                let folder = template.folder(&FolderParts {
                    started_at: Timestamp(ms),
                    meeting_id: id.as_deref(),
                    meeting_uuid: &MeetingId::new(uuid.as_str()),
                    stream: &StreamId::new(stream.as_str()),
                    ordinal,
                    product: Product::Phone,
                    account_id: account.as_deref(),
                    operator_id: account.as_deref(),
                });
                prop_assert_eq!(folder.as_str().split('/').count(), template.depth());
                prop_assert!(Folder::try_from(folder.as_str().to_owned()).is_ok(), "{}", folder);
                let longest = |pieces: &Vec<Piece>| pieces.iter().map(Piece::longest).sum::<usize>();
                let ordinal = if ordinal > 1 { format!("-{ordinal}").len() } else { 0 };
                for (part, pieces) in folder.as_str().split('/').zip(&template.components) {
                    prop_assert!(part.len() <= longest(pieces) + ordinal, "{}", part);
                }
            }
        }
    }
}
