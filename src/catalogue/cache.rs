//! What is known of the recordings in a bucket, so that a manifest is read once. May be lost at any time.

use crate::output::listing::Entry;
use crate::store::Head;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The version of the file; another one is not read. To be raised when a line of the list says more than it did.
const VERSION: u32 = 1;

/// What a manifest is known by: a key and which content it has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Version {
    key: String,
    size_bytes: u64,
    e_tag: Option<String>,
    modified_ms: i64,
}

impl From<&Head> for Version {
    fn from(head: &Head) -> Self {
        let Head { key, size_bytes, e_tag, modified_ms } = head.clone();
        Self { key, size_bytes, e_tag, modified_ms }
    }
}

/// A page that was written, and how the bucket showed it then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    sha256: Vec<u8>,
    version: Option<Version>,
}

impl Page {
    pub(super) fn of(page: &[u8], there: Option<&Head>) -> Self {
        Self { sha256: Sha256::digest(page).to_vec(), version: there.map(Version::from) }
    }
}

#[derive(Debug, Default, Deserialize)]
struct File {
    version: u32,
    place: String,
    page: Option<Page>,
    entries: Vec<(Version, Entry)>,
}

/// The same, as it is written.
#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    place: &'a str,
    page: Option<&'a Page>,
    entries: Vec<(&'a Version, &'a Entry)>,
}

/// Lines by the manifests that they were read from.
#[derive(Debug)]
pub(super) struct Cache {
    path: Option<PathBuf>,
    place: String,
    entries: HashMap<Version, Entry>,
    /// The page that was written last.
    page: Option<Page>,
    /// Whether it is other than the file.
    changed: bool,
}

impl Cache {
    /// Reads the file if there is one and it is about the page at `place`.
    pub(super) async fn open(path: Option<PathBuf>, place: String) -> Self {
        let there = path.clone();
        let file = tokio::task::spawn_blocking(move || read(&there?)).await.ok().flatten();
        let file = file.filter(|file| file.version == VERSION && file.place == place).unwrap_or_default();
        Self { path, place, entries: file.entries.into_iter().collect(), page: file.page, changed: false }
    }

    pub(super) fn entry(&self, manifest: &Head) -> Option<&Entry> {
        self.entries.get(&Version::from(manifest))
    }

    pub(super) fn add(&mut self, manifest: &Head, entry: Entry) {
        self.entries.insert(Version::from(manifest), entry);
        self.changed = true;
    }

    /// Forgets all but these.
    pub(super) fn keep_only<'a>(&mut self, manifests: impl Iterator<Item = &'a Head>) {
        let kept: HashSet<Version> = manifests.map(Version::from).collect();
        let known = self.entries.len();
        self.entries.retain(|version, _| kept.contains(version));
        self.changed |= self.entries.len() < known;
    }

    /// Whether this page was written last.
    pub(super) fn has_written(&self, page: &Page) -> bool {
        self.page.as_ref() == Some(page)
    }

    pub(super) fn note_written(&mut self, page: Page) {
        self.page = Some(page);
        self.changed = true;
    }

    /// Whether the file has all of this; writes it if it has not.
    pub(super) async fn save(&mut self) -> bool {
        let Some(path) = self.path.clone().filter(|_| self.changed) else { return !self.changed };
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by(|a, b| a.0.key.cmp(&b.0.key));
        let file = Written { version: VERSION, place: &self.place, page: self.page.as_ref(), entries };
        let json = serde_json::to_vec(&file).expect("plain values are JSON");
        let written = tokio::task::spawn_blocking(move || write(&path, &json)).await;
        if let Ok(Err(err)) = &written {
            tracing::warn!(err = %err, "cannot keep in the spool what was read for the list of recordings");
        }
        self.changed = !matches!(written, Ok(Ok(())));
        !self.changed
    }
}

fn read(path: &Path) -> Option<File> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write(path: &Path, json: &[u8]) -> io::Result<()> {
    let staged = path.with_extension("tmp");
    // The names of people are in it.
    let mut target = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&staged)?;
    target.write_all(json)?;
    std::fs::rename(&staged, path)
}
