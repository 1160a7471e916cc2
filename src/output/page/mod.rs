//! `index.html` of a recording: one page that plays all of it, from a bucket or from a directory, without a server.
//!
//! The texts are in the page; media files and downloads are referred to. Nothing else is loaded, and nothing is sent: the
//! page carries a Content-Security-Policy that allows its own script and style by their hashes, and media from where it is.
//! What people said, wrote and are called is data in the page, never markup.

mod shell;

pub(super) use shell::Shell;

use super::manifest::{Neighbour, StoredObject};
use super::time;
use super::{Folder, Manifest, Object};
use crate::ids::Product;
use crate::media::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

const SCRIPT: &str = concat!(
    include_str!("base.js"),
    include_str!("player.js"),
    include_str!("lanes.js"),
    include_str!("texts.js"),
    include_str!("about.js"),
);
const STYLE: &str = concat!(include_str!("base.css"), include_str!("recording.css"));

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The manifest; its list of objects does not count.
    pub manifest: &'a Manifest,
    /// What can be played, read and downloaded.
    pub files: &'a [File],
    /// The content of `timeline.json`.
    pub timeline: Option<&'a [u8]>,
    /// The content of `transcript.json`.
    pub transcript: Option<&'a [u8]>,
    /// The content of `chat.json`.
    pub chat: Option<&'a [u8]>,
    /// What leads from the page to the storage URL, with a slash at its end; none if nothing that is relative to it can be
    /// opened from there.
    pub root: Option<&'a str>,
    /// If the links are signed: until when they work, and from which origins (`https://host`) media comes.
    pub signed: Option<(Timestamp, &'a [String])>,
}

/// A file that the page refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct File {
    /// Its name in the recording's folder.
    pub name: String,
    /// Where it is, relative to the page or as a whole.
    pub href: String,
    /// Its size, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// How long it plays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

impl File {
    /// A file beside the page.
    pub fn beside(name: String, size_bytes: Option<u64>, duration_ms: Option<u64>) -> Self {
        Self { href: relative(&name), name, size_bytes, duration_ms }
    }

    /// An object that is elsewhere.
    pub fn at(href: String, object: &StoredObject) -> Self {
        Self { name: object.name.clone(), href, size_bytes: Some(object.size_bytes), duration_ms: object.duration_ms }
    }
}

/// What the script finds in the page.
#[derive(Serialize)]
struct Data<'a> {
    recording: Map<String, Value>,
    files: &'a [File],
    /// The pages of `continues` and `continued_by`.
    neighbours: Map<String, Value>,
    people: Map<String, Value>,
    pauses: Value,
    transcript: Option<Value>,
    chat: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none", with = "time::rfc3339_option")]
    links_until: Option<Timestamp>,
}

/// Composes the page. The same sources give the same bytes.
///
/// # Errors
/// If one of the contents is no JSON.
pub fn compose(sources: &Sources<'_>) -> serde_json::Result<Vec<u8>> {
    let manifest = sources.manifest;
    let Value::Object(mut recording) = serde_json::to_value(manifest)? else { unreachable!("a manifest is an object") };
    recording.remove("objects");
    let read = |bytes: Option<&[u8]>| bytes.map(serde_json::from_slice::<Value>).transpose();
    let mut timeline = read(sources.timeline)?.unwrap_or_default();
    let mut take = |key: &str| timeline.get_mut(key).map(Value::take).unwrap_or_default();
    let people = ["participants", "speakers", "sharing", "cameras"].map(|key| (key.to_owned(), take(key)));
    let neighbours = [("continues", &manifest.continues), ("continued_by", &manifest.continued_by)];
    let page_of = |neighbour: &Neighbour| {
        let key = escaped(&neighbour.folder.key(&Object::Index));
        sources.root.map(|root| Value::String(format!("{root}{key}")))
    };
    let neighbours = neighbours.into_iter().filter_map(|(key, one)| Some((key.to_owned(), page_of(one.as_ref()?)?)));
    let data = Data {
        recording,
        files: sources.files,
        neighbours: neighbours.collect(),
        people: people.into_iter().collect(),
        pauses: take("pauses"),
        transcript: read(sources.transcript)?,
        chat: read(sources.chat)?,
        links_until: sources.signed.map(|(until, _)| until),
    };
    let shell = Shell { kind: "recording", body: include_str!("recording.html"), script: SCRIPT, style: STYLE };
    let origins = sources.signed.map_or(&[][..], |(_, origins)| origins);
    Ok(shell.fill(&title(manifest), &serde_json::to_string(&data)?, origins))
}

/// What a recording is called: `Meeting 857 4606 5432, 2026-11-20 09:30 UTC`.
fn title(manifest: &Manifest) -> String {
    format!("{}, {}", what(manifest), time::utc(manifest.started_at.0).format("%Y-%m-%d %H:%M UTC"))
}

/// Which kind of thing was recorded, with its number if it has one.
pub(super) fn what(manifest: &Manifest) -> String {
    let what = match manifest.product {
        Product::Meeting => "Meeting",
        Product::Webinar => "Webinar",
        Product::Session => "Session",
        Product::ContactCenter => "Contact Center call",
        Product::Phone => "Phone call",
    };
    match manifest.ids.meeting_id.as_deref().map(str::trim).filter(|id| !id.is_empty()) {
        Some(id) => format!("{what} {}", spaced(id)),
        None => what.to_owned(),
    }
}

/// A meeting's number as Zoom shows it: in groups of 3, 4 and the rest, or 3, 3 and 4. Other text stays as it is.
fn spaced(id: &str) -> String {
    if !id.bytes().all(|b| b.is_ascii_digit()) || !(9..=11).contains(&id.len()) {
        return id.to_owned();
    }
    let middle = if id.len() == 11 { 7 } else { 6 };
    format!("{} {} {}", &id[..3], &id[3..middle], &id[middle..])
}

/// A name in this folder as a reference that is one whatever characters are in it.
pub(super) fn relative(name: &str) -> String {
    format!("./{}", escaped(name))
}

/// What leads from the page of a recording in `folder` to the storage URL.
pub fn root(folder: &Folder) -> String {
    "../".repeat(folder.as_str().split('/').count())
}

fn escaped(name: &str) -> String {
    let mut href = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => href.push(byte as char),
            _ => href.push_str(&format!("%{byte:02X}")),
        }
    }
    href
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest(meeting_id: &str, why: &str) -> Manifest {
        let manifest = serde_json::json!({
            "schema_version": 1, "recorder": { "name": "rtms-recorder", "version": "0" }, "recording_id": "s", "stream_id": "s",
            "product": "meeting", "meeting_id": meeting_id, "started_at": "2026-11-20T09:30:00.000Z", "duration_ms": 1000,
            "complete": false, "incomplete_because": [why], "objects": [], "tracks": [], "gaps": [], "counters": {},
        });
        serde_json::from_value(manifest).unwrap()
    }

    fn page(manifest: &Manifest, chat: &str, signed: Option<(Timestamp, &[String])>) -> String {
        let files = [File::beside("participants/1-שלום \"#?.m4a".to_owned(), Some(5), None)];
        let sources = Sources {
            manifest,
            files: &files,
            timeline: None,
            transcript: None,
            chat: Some(chat.as_bytes()),
            root: None,
            signed,
        };
        String::from_utf8(compose(&sources).unwrap()).unwrap()
    }

    /// What a browser takes for the data.
    fn data(page: &str) -> Value {
        let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn the_title_says_which_meeting_and_when() {
        assert!(
            page(&manifest("85746065432", ""), "{}", None)
                .contains("<title>Meeting 857 4606 5432, 2026-11-20 09:30 UTC<")
        );
        assert_eq!([spaced("8574606543"), spaced("x5746065432"), spaced("12")], ["857 460 6543", "x5746065432", "12"]);
    }

    #[test]
    fn references_are_relative_and_escaped() {
        let found = data(&page(&manifest("1", ""), "{}", None));
        let href = "./participants/1-%D7%A9%D7%9C%D7%95%D7%9D%20%22%23%3F.m4a";
        assert_eq!(found["files"][0]["href"], href);
    }

    #[test]
    fn signed_pages_name_the_stores_origin_and_others_none() {
        let policy =
            |page: &str| page.split_once("-Policy\" content=\"").unwrap().1.split_once('"').unwrap().0.to_owned();
        let own = policy(&page(&manifest("1", ""), "{}", None));
        assert!(own.starts_with("default-src 'none'; ") && !own.contains("http") && !own.contains("unsafe"), "{own}");
        let origins = ["https://b.example:9000".to_owned()];
        let signed = policy(&page(&manifest("1", ""), "{}", Some((Timestamp(0), &origins))));
        assert!(signed.contains("media-src 'self' file: https://b.example:9000;"), "{signed}");
    }

    #[test]
    fn recordings_of_the_same_meeting_lead_to_each_other() {
        let mut first = manifest("1", "");
        let folder = |path: &str| Folder::try_from(path.to_owned()).unwrap();
        let (stream_id, recording_id) = (first.stream_id.clone(), first.recording_id.clone());
        first.continued_by = Some(Neighbour { stream_id, recording_id, folder: folder("2026/11/20/b=1") });
        let neighbours = |root: Option<&str>| {
            let sources = Sources {
                manifest: &first,
                files: &[],
                timeline: None,
                transcript: None,
                chat: None,
                root,
                signed: None,
            };
            data(&String::from_utf8(compose(&sources).unwrap()).unwrap())["neighbours"].clone()
        };
        assert_eq!(
            neighbours(Some(&root(&folder("2026/11/20/a")))),
            serde_json::json!({ "continued_by": "../../../../2026/11/20/b%3D1/index.html" })
        );
        assert_eq!(neighbours(None), serde_json::json!({}), "a signed page knows no signed link to another recording");
    }

    #[test]
    fn a_content_that_is_no_json_is_refused() {
        let sources = Sources {
            manifest: &manifest("1", ""),
            files: &[],
            timeline: Some(b"{"),
            transcript: None,
            chat: None,
            root: None,
            signed: None,
        };
        assert!(compose(&sources).is_err());
    }

    proptest! {
        #[test]
        fn no_text_is_markup(text in "(?s).*", evil in "[<>/!&\"'{}scriptSCRIPT\u{2028}-]*") {
            let chat = serde_json::json!({ "messages": [{ "text": text, "at_ms": 0 }, { "text": evil }] });
            let quiet = page(&manifest("1", ""), "{}", None);
            let page = page(&manifest(&evil, &text), &chat.to_string(), None);
            prop_assert_eq!(&data(&page)["chat"], &chat);
            let found = data(&page);
            prop_assert_eq!(found["recording"]["incomplete_because"][0].as_str(), Some(text.as_str()));
            let count = |page: &str, what: char| page.matches(what).count();
            prop_assert_eq!(count(&page, '<'), count(&quiet, '<'));
            prop_assert_eq!(count(&page, '>'), count(&quiet, '>'));
        }
    }
}
