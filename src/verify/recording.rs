//! Compares the folder of a recording with its manifest.

use super::content::{self, Unchecked};
use super::report::{Finding, Kind, Report};
use crate::ffmpeg::Ffmpeg;
use crate::output::manifest::{Manifest, SCHEMA_VERSION, StoredObject};
use crate::store::walk::Found;
use crate::store::{Head, Store};
use std::collections::BTreeMap;
use std::time::Duration;

/// The name of the manifest in its folder.
const MANIFEST: &str = "manifest.json";
/// A manifest above this size is none: an hour takes some kilobytes.
const MANIFEST_MAX: u64 = 16 << 20;
/// A folder to which nothing was added for so long is not being uploaded any more.
const STILL_UPLOADING: Duration = Duration::from_secs(6 * 3600);

/// Checks one folder after another, several at a time.
pub(super) struct Checker<'a> {
    store: &'a Store,
    /// With which content is decoded, if it is looked at.
    ffmpeg: Option<Ffmpeg>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(store: &'a Store, ffmpeg: Option<Ffmpeg>) -> Self {
        Self { store, ffmpeg }
    }

    /// What is wrong with a folder. Looks again if the folder has changed meanwhile, once.
    pub(super) async fn check(&self, found: Found) -> Report {
        let report = self.examine(&found).await;
        if report.problems.is_empty() && report.notes.is_empty() && report.unchecked.is_none() {
            return report;
        }
        match self.store.list(&found.folder).await {
            Ok(objects) if objects != found.objects => self.examine(&Found { objects, ..found }).await,
            _ => report,
        }
    }

    async fn examine(&self, found: &Found) -> Report {
        let mut report = Report { folder: found.folder.clone(), ..Report::default() };
        if let Err(unchecked) = self.compare(found, &mut report).await {
            report.unchecked = Some(unchecked.to_string());
        }
        report
    }

    async fn compare(&self, found: &Found, report: &mut Report) -> Result<(), Unchecked> {
        let prefix = format!("{}/", found.folder);
        let named = found.objects.iter().map(|head| (head.key.strip_prefix(&prefix).unwrap_or(&head.key), head));
        let mut there: BTreeMap<&str, &Head> = named.collect();
        let Some(head) = there.remove(MANIFEST) else {
            without_manifest(&there, report);
            return Ok(());
        };
        let manifest = match self.manifest(head).await? {
            Ok(manifest) => manifest,
            Err(text) => {
                report.problems.push(Finding::of(MANIFEST, Kind::Manifest, text));
                return Ok(());
            }
        };
        report.objects += 1;
        report.size_bytes += head.size_bytes;
        if manifest.deleted.is_some() {
            leftovers(&manifest, &there, report);
            return Ok(());
        }
        let mut listed = Vec::new();
        for object in &manifest.objects {
            let name = match own_name(object, &prefix) {
                Some(name) if listed.contains(&name) => {
                    report.problems.push(Finding::of(name, Kind::Key, "is listed twice"));
                    continue;
                }
                Some(name) => name,
                None => {
                    let text = "is listed by the manifest, but is no object of this folder; it was not looked at";
                    report.problems.push(Finding::of(&format!("{:?}", object.key), Kind::Key, text));
                    continue;
                }
            };
            listed.push(name);
            let problems = match there.get(name) {
                None => vec![Finding::of(name, Kind::Missing, "is missing")],
                Some(head) if head.size_bytes != object.size_bytes => {
                    let text = format!("has {} bytes, where the manifest says {}", head.size_bytes, object.size_bytes);
                    vec![Finding::of(name, Kind::Size, text)]
                }
                Some(_) => match &self.ffmpeg {
                    Some(ffmpeg) => content::check(self.store, ffmpeg, name, object).await?,
                    None => Vec::new(),
                },
            };
            if problems.is_empty() {
                report.objects += 1;
                report.size_bytes += object.size_bytes;
            }
            report.problems.extend(problems);
        }
        let unlisted = there.keys().filter(|name| !listed.contains(name));
        report.notes.extend(unlisted.map(|name| Finding::of(name, Kind::Unlisted, "is not in the manifest")));
        Ok(())
    }

    /// The manifest, or why it cannot be read.
    async fn manifest(&self, head: &Head) -> Result<Result<Manifest, String>, Unchecked> {
        if head.size_bytes > MANIFEST_MAX {
            return Ok(Err(format!("has {} bytes, which no manifest has", head.size_bytes)));
        }
        let json = match self.store.get(&head.key).await {
            Err(err) if err.is_not_found() => return Ok(Err("is gone".to_owned())),
            json => json?,
        };
        Ok(parse(&json))
    }
}

fn parse(json: &[u8]) -> Result<Manifest, String> {
    #[derive(serde::Deserialize)]
    struct Version {
        schema_version: u32,
    }
    let unreadable = |err: serde_json::Error| format!("cannot be read: {err}");
    let Version { schema_version } = serde_json::from_slice(json).map_err(unreadable)?;
    if schema_version != SCHEMA_VERSION {
        return Err(format!("has schema version {schema_version}; this program knows {SCHEMA_VERSION}"));
    }
    Manifest::from_json(json).map_err(unreadable)
}

/// The name of a listed object, if its key is this name in the manifest's own folder. `.` and `..` cannot be in a key that
/// the store has listed, and no other is asked for.
fn own_name<'a>(object: &'a StoredObject, prefix: &str) -> Option<&'a str> {
    let name = object.key.strip_prefix(prefix)?;
    (name == object.name && name != MANIFEST && !name.split('/').any(|part| matches!(part, "" | "." | "..")))
        .then_some(name)
}

fn without_manifest(there: &BTreeMap<&str, &Head>, report: &mut Report) {
    let Some(newest_ms) = there.values().map(|head| head.modified_ms).max() else {
        report.problems.push(Finding::new(Kind::Nothing, "There is nothing"));
        return;
    };
    let age_s = crate::clock::unix_ms().saturating_sub(newest_ms).max(0) / 1000;
    let mut text = format!("There is no manifest; the newest of {} objects is {} old", there.len(), span(age_s));
    if age_s < STILL_UPLOADING.as_secs() as i64 {
        text.push_str(". A recorder may still be uploading");
        report.notes.push(Finding::new(Kind::Unfinished, text));
    } else {
        report.problems.push(Finding::new(Kind::Unfinished, text));
    }
}

fn leftovers(manifest: &Manifest, there: &BTreeMap<&str, &Head>, report: &mut Report) {
    if !manifest.objects.is_empty() {
        let text = "says that the recording was deleted, and lists objects";
        report.problems.push(Finding::of(MANIFEST, Kind::Manifest, text));
    }
    let left = there.keys();
    report.problems.extend(
        left.map(|name| Finding::of(name, Kind::Leftover, "is there, where the manifest says that all was deleted")),
    );
}

/// A span of time in one unit.
fn span(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_the_own_folder_are_taken() {
        let own = |key: &str, name: &str| {
            let object = StoredObject {
                name: name.to_owned(),
                key: key.to_owned(),
                size_bytes: 0,
                sha256: String::new(),
                content_type: String::new(),
                duration_ms: None,
                codec: None,
            };
            own_name(&object, "2026/11/20/a/").map(str::to_owned)
        };
        assert_eq!(own("2026/11/20/a/audio.m4a", "audio.m4a").as_deref(), Some("audio.m4a"));
        assert_eq!(
            own("2026/11/20/a/participants/1-b.m4a", "participants/1-b.m4a").as_deref(),
            Some("participants/1-b.m4a")
        );
        for (key, name) in [
            ("../x", "x"),
            ("2026/11/20/a/../b/x", "../b/x"),
            ("2026/11/20/b/audio.m4a", "audio.m4a"),
            ("2026/11/20/ab", "b"),
            ("2026/11/20/a/", ""),
            ("2026/11/20/a//x", "/x"),
            ("2026/11/20/a/manifest.json", "manifest.json"),
            ("2026/11/20/a/audio.m4a", "recording.mp4"),
        ] {
            assert_eq!(own(key, name), None, "{key}");
        }
    }

    #[test]
    fn manifests_of_another_version_are_not_guessed_at() {
        let text = |json: &str| parse(json.as_bytes()).unwrap_err();
        assert_eq!(text(r#"{"schema_version": 2}"#), "has schema version 2; this program knows 1");
        assert!(text("{").starts_with("cannot be read: EOF"));
        assert!(text(r#"{"schema_version": 1}"#).starts_with("cannot be read: missing field"));
    }

    #[test]
    fn ages_have_one_unit() {
        let spans = [5, 119, 120, 7199, 7200, 172_799, 172_800].map(span);
        assert_eq!(spans, ["5 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 days"]);
    }
}
