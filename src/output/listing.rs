//! `index.html` at the prefix: all recordings, newest first.
//!
//! Nothing but what the manifests (and the names in `timeline.json`) say gets into it, and no time of its own, so that
//! the same bucket gives the same bytes whoever lists it. What is read here came from a bucket: it is text, never markup, and
//! no reference leads out of the recording's folder.

use super::page::{self, Shell};
use super::{Manifest, Object};
use serde::{Deserialize, Serialize};

/// How many people of a recording are named; the others are counted.
const PEOPLE_MAX: usize = 20;
/// How much of a name is kept.
const NAME_MAX: usize = 80;
/// What says that a page is one of ours.
const MARK: &[u8] = b"<meta name=\"generator\" content=\"rtms-recorder catalogue\">";
/// How much of a page has to be looked at to see whether it is one of ours.
pub const MARK_WITHIN: u64 = 512;

const SCRIPT: &str = concat!(include_str!("page/base.js"), include_str!("page/listing.js"));
const STYLE: &str = concat!(include_str!("page/base.css"), include_str!("page/listing.css"));

/// A line of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The recording's folder.
    pub folder: String,
    /// What is opened, relative to the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    href: Option<String>,
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meeting_id: Option<String>,
    started_at: String,
    duration_ms: u64,
    people: Vec<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    more_people: usize,
    has: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unreadable: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// What is read of `timeline.json`.
#[derive(Deserialize)]
struct Timeline {
    #[serde(default)]
    participants: Vec<Participant>,
}

#[derive(Deserialize)]
struct Participant {
    #[serde(default)]
    user_name: Option<String>,
}

impl Entry {
    /// The line of the recording in `folder`; `timeline` is the content of its `timeline.json`, if it has one.
    pub fn new(folder: &str, manifest: &Manifest, timeline: Option<&[u8]>) -> Self {
        let has = |object: &Object| manifest.object(object).is_some();
        let kinds = [
            (Object::Recording, "video"),
            (Object::Audio, "sound"),
            (Object::Screenshare, "screen"),
            (Object::TranscriptJson, "transcript"),
            (Object::ChatJson, "chat"),
        ];
        let kinds = kinds.iter().filter(|(object, _)| has(object)).map(|(_, kind)| *kind);
        // Who sees a picture expects sound.
        let kinds = kinds.filter(|kind| *kind != "sound" || !has(&Object::Recording)).map(str::to_owned);
        let opened = [Object::Index, Object::Recording, Object::Audio, Object::Screenshare].into_iter().find(has);
        let opened = if manifest.deleted.is_some() { None } else { Some(opened.unwrap_or(Object::Manifest)) };
        let mut names: Vec<String> = timeline
            .and_then(|json| serde_json::from_slice::<Timeline>(json).ok())
            .map(|timeline| timeline.participants.into_iter().filter_map(|person| person.user_name).collect())
            .unwrap_or_default();
        names.retain(|name| !name.trim().is_empty());
        let more_people = names.len().saturating_sub(PEOPLE_MAX);
        names.truncate(PEOPLE_MAX);
        Self {
            folder: folder.to_owned(),
            href: opened.map(|object| page::relative(&format!("{folder}/{}", object.name()))),
            title: page::what(manifest),
            meeting_id: manifest.ids.meeting_id.clone(),
            started_at: super::time::text(manifest.started_at),
            duration_ms: manifest.duration_ms,
            people: names.iter().map(|name| name.chars().take(NAME_MAX).collect()).collect(),
            more_people,
            has: kinds.collect(),
            incomplete: !manifest.complete && manifest.deleted.is_none(),
            deleted: manifest.deleted.is_some(),
            unreadable: false,
        }
    }

    /// The line of a recording whose manifest makes no sense.
    pub fn unreadable(folder: &str) -> Self {
        let href = Some(page::relative(&format!("{folder}/{}", Object::Manifest.name())));
        Self { folder: folder.to_owned(), href, title: folder.to_owned(), unreadable: true, ..Self::default() }
    }
}

#[derive(Serialize)]
struct Data<'a> {
    recordings: Vec<&'a Entry>,
    more: bool,
}

/// Composes the page, newest first. `more` says that there are older ones which are left out.
///
/// # Errors
/// None that could be caused from outside.
pub fn compose(mut entries: Vec<&Entry>, more: bool) -> serde_json::Result<Vec<u8>> {
    entries.sort_by(|a, b| (&b.started_at, &b.folder).cmp(&(&a.started_at, &a.folder)));
    let json = serde_json::to_string(&Data { recordings: entries, more })?;
    let shell = Shell { kind: "catalogue", body: include_str!("page/listing.html"), script: SCRIPT, style: STYLE };
    Ok(shell.fill("Recordings", &json, &[]))
}

/// Whether a page that begins like this is one of ours, and may be replaced.
pub fn is_ours(beginning: &[u8]) -> bool {
    beginning.windows(MARK.len()).any(|some| some == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(change: impl FnOnce(&mut serde_json::Value)) -> Manifest {
        let mut manifest = serde_json::json!({
            "schema_version": 1, "recorder": { "name": "rtms-recorder", "version": "0" }, "recording_id": "s", "stream_id": "s",
            "product": "webinar", "meeting_id": "85746065432", "started_at": "2026-11-20T09:30:00.000Z", "duration_ms": 1000,
            "complete": true, "objects": [], "tracks": [], "gaps": [], "counters": {},
        });
        change(&mut manifest);
        serde_json::from_value(manifest).unwrap()
    }

    fn object(name: &str) -> serde_json::Value {
        serde_json::json!({ "name": name, "key": "https://evil.example/", "size_bytes": 1, "sha256": "", "content_type": "" })
    }

    #[test]
    fn a_line_says_what_there_is_and_leads_nowhere_else() {
        let manifest = manifest(|m| {
            m["objects"] = serde_json::json!([object("audio.m4a"), object("chat.json"), object("javascript:x")])
        });
        let timeline = serde_json::json!({ "participants": (0..23).map(|n| serde_json::json!({ "user_name": format!("P{n}") })).collect::<Vec<_>>() });
        let entry = Entry::new("2026/11/20/a", &manifest, Some(timeline.to_string().as_bytes()));
        assert_eq!(
            (entry.href.as_deref(), entry.title.as_str()),
            (Some("./2026/11/20/a/audio.m4a"), "Webinar 857 4606 5432")
        );
        assert_eq!((entry.has.join(" ").as_str(), entry.people.len(), entry.more_people), ("sound chat", 20, 3));
    }

    #[test]
    fn what_was_deleted_leads_nowhere() {
        let deleted = manifest(|m| {
            m["deleted"] = serde_json::json!({ "at": "2026-11-20T10:00:00.000Z", "because": "x" });
            m["complete"] = false.into();
        });
        let entry = Entry::new("2026/11/20/a", &deleted, None);
        assert_eq!((entry.href, entry.deleted, entry.incomplete), (None, true, false));
    }

    #[test]
    fn pages_are_told_from_those_of_others() {
        let page = compose(vec![&Entry::unreadable("2026/11/20/<script>")], true).unwrap();
        assert!(is_ours(&page[..MARK_WITHIN as usize]));
        assert!(!is_ours(b"<!doctype html><title>Our company</title>"));
        assert!(!String::from_utf8(page).unwrap().contains("20/<script>"));
    }
}
