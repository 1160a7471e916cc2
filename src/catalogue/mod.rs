//! The page that lists all recordings: `index.html` at the prefix of the bucket.
//!
//! It is made from what the bucket shows, and from nothing else: the newest manifests are listed, those that are not known
//! yet are read (`cache`), and the page is written if it changed. So it may be made by anyone at any time, and needs no lock:
//! whoever has written it looks again, and writes again if the bucket has changed meanwhile. The last one to write has seen
//! what there is.
//!
//! Owns when that is done (`keep`) and the command `index`. How a page looks is left to `output::listing`. Nothing waits for
//! it; where it fails, recordings are published all the same and it is tried again.

mod cache;
mod keep;

pub use keep::keep;

use crate::output::key::CATALOGUE;
use crate::output::listing::{self, Entry};
use crate::output::{Folder, Manifest, Object, Template};
use crate::store::walk::{Order, Walk};
use crate::store::{self, Attributes, Head, Store};
use bytes::Bytes;
use cache::{Cache, Page};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::path::PathBuf;

/// How many recordings are listed. The newest of a larger bucket; the page says so.
const LISTED: usize = 5000;
/// How many manifests are read at a time.
const READ_AT_ONCE: usize = 8;
/// What is larger is not read: hours take a few megabytes.
const READ_MAX: u64 = 32 << 20;
/// How often the page is written before a bucket that keeps changing is left for later.
const ROUNDS: usize = 4;

/// Why the page could not be brought up to date. What is in the bucket of it stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket cannot be listed, read or written to.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is a page that somebody else has made.
    #[error(
        "{place} was not made by rtms-recorder and is left alone; move it away, or replace it with `rtms-recorder index --force`"
    )]
    Foreign {
        /// The page.
        place: String,
    },
    /// A bug.
    #[error("the page cannot be composed")]
    Compose(#[from] serde_json::Error),
}

/// What became of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many recordings it lists.
    pub recordings: usize,
    /// How many manifests had to be read.
    pub read: usize,
    /// Whether it was written, as it had changed.
    pub written: bool,
}

/// The page of one bucket.
#[derive(Debug)]
pub struct Catalogue {
    bucket: Bucket,
    /// The file in which is kept what was read, so that it is not read again, after a restart either.
    file: Option<PathBuf>,
    /// The same while it is needed, or while it is not in the file: it grows with the bucket.
    cache: Option<Cache>,
}

/// The bucket, and how it is listed.
#[derive(Debug)]
struct Bucket {
    store: Store,
    /// With the default one, folders are below year, month and day, so that the newest can be listed without the others.
    template: Template,
    listed: usize,
    replace_foreign: bool,
}

/// A manifest as it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    folder: String,
    manifest: Head,
}

impl Catalogue {
    /// Of `store`, where recordings are as `template` says. `file` is where is kept what was read, so that it is not read
    /// again, after a restart either.
    pub fn new(store: Store, template: &Template, file: Option<PathBuf>) -> Self {
        let bucket = Bucket { store, template: template.clone(), listed: LISTED, replace_foreign: false };
        Self { bucket, file, cache: None }
    }

    /// Replaces a page that somebody else has made, too.
    #[must_use]
    pub fn replacing_foreign(mut self) -> Self {
        self.bucket.replace_foreign = true;
        self
    }

    /// Brings the page up to date. Cancel safe: what was read is not read again.
    ///
    /// # Errors
    /// [`Error`]; it can be called again.
    pub async fn rebuild(&mut self) -> Result<Outcome, Error> {
        let cache = match &mut self.cache {
            Some(cache) => cache,
            none => none.insert(Cache::open(self.file.clone(), self.bucket.store.locate(CATALOGUE)).await),
        };
        let outcome = self.bucket.list(cache).await;
        if cache.save().await {
            self.cache = None;
        }
        outcome
    }
}

impl Bucket {
    async fn list(&self, cache: &mut Cache) -> Result<Outcome, Error> {
        let mut outcome = Outcome { recordings: 0, read: 0, written: false };
        let mut listed = self.newest().await?;
        for _ in 0..ROUNDS {
            outcome.read += self.read(cache, &listed).await?;
            let (shown, more) = (&listed[..listed.len().min(self.listed)], listed.len() > self.listed);
            let entries: Vec<&Entry> = shown.iter().filter_map(|one| cache.entry(&one.manifest)).collect();
            outcome.recordings = entries.len();
            let page = Bytes::from(listing::compose(entries, more)?);
            if !self.write(cache, page, listed.is_empty()).await? {
                break;
            }
            outcome.written = true;
            let now = self.newest().await?;
            if now == listed {
                break;
            }
            listed = now;
        }
        Ok(outcome)
    }

    /// The manifests, newest first: one more than are shown, if there are so many.
    async fn newest(&self) -> Result<Vec<Listed>, store::Error> {
        if self.template != Template::default() {
            return self.newest_of_all().await;
        }
        let walk = Walk::new(&self.store, &self.template, vec![String::new()], Order::NewestFirst);
        let mut walk = walk.only(&Object::Manifest);
        let mut listed = Vec::new();
        while let Some(found) = walk.next().await? {
            let name = format!("{}/{}", found.folder, Object::Manifest.name());
            if self.template.depth_of(&found.folder) != Some(self.template.depth()) {
                continue;
            }
            if let Some(manifest) = found.objects.into_iter().find(|head| head.key == name) {
                listed.push(Listed { folder: found.folder, manifest });
                if listed.len() > self.listed {
                    break;
                }
            }
        }
        Ok(listed)
    }

    /// The same where a folder's path says nothing of its time: by when the manifest was written.
    async fn newest_of_all(&self) -> Result<Vec<Listed>, store::Error> {
        let name = format!("/{}", Object::Manifest.name());
        let mut manifests = self.store.list_where("", |key| key.ends_with(&name)).await?;
        manifests.sort_by(|a, b| (b.modified_ms, &b.key).cmp(&(a.modified_ms, &a.key)));
        let listed = manifests.into_iter().filter_map(|manifest| {
            let folder = Folder::try_from(manifest.key.strip_suffix(&name)?.to_owned()).ok()?;
            Some(Listed { folder: folder.into(), manifest })
        });
        Ok(listed.take(self.listed + 1).collect())
    }

    /// Reads what is not known of these, and forgets all others. Returns how many were read.
    async fn read(&self, cache: &mut Cache, listed: &[Listed]) -> Result<usize, store::Error> {
        cache.keep_only(listed.iter().map(|one| &one.manifest));
        let unknown = listed.iter().take(self.listed).filter(|one| cache.entry(&one.manifest).is_none());
        let unknown: Vec<Listed> = unknown.cloned().collect();
        let entries = stream::iter(unknown).map(|one| entry(self.store.clone(), one));
        let mut entries = std::pin::pin!(entries.buffer_unordered(READ_AT_ONCE));
        let mut read = 0;
        while let Some((one, entry)) = entries.try_next().await? {
            read += 1;
            if let Some(entry) = entry {
                cache.add(&one.manifest, entry);
            }
        }
        Ok(read)
    }

    /// Writes the page if the bucket has another one. A bucket without recordings is not given one.
    async fn write(&self, cache: &mut Cache, page: Bytes, is_empty: bool) -> Result<bool, Error> {
        let there = match self.store.head(CATALOGUE).await {
            Ok(head) => Some(head),
            Err(err) if err.is_not_found() => None,
            Err(err) => return Err(err.into()),
        };
        let known = Page::of(&page, there.as_ref());
        match &there {
            None if is_empty => return Ok(false),
            Some(_) if cache.has_written(&known) => return Ok(false),
            Some(head) if !self.replace_foreign => {
                let end = head.size_bytes.min(listing::MARK_WITHIN);
                let beginning = if end == 0 { Bytes::new() } else { self.store.get_range(CATALOGUE, 0..end).await? };
                if !listing::is_ours(&beginning) {
                    return Err(Error::Foreign { place: self.store.locate(CATALOGUE) });
                }
            }
            _ => {}
        }
        if there.as_ref().is_some_and(|head| head.size_bytes == page.len() as u64)
            && self.store.get(CATALOGUE).await? == page
        {
            cache.note_written(known);
            return Ok(false);
        }
        self.store.put_bytes(CATALOGUE, page.clone(), Attributes::from(&Object::Index)).await?;
        let head = self.store.head(CATALOGUE).await?;
        cache.note_written(Page::of(&page, Some(&head)));
        Ok(true)
    }
}

/// Reads what the line of a recording says; nothing if the recording is gone meanwhile.
async fn entry(store: Store, one: Listed) -> Result<(Listed, Option<Entry>), store::Error> {
    let entry = read_entry(&store, &one).await?;
    Ok((one, entry))
}

async fn read_entry(store: &Store, one: &Listed) -> Result<Option<Entry>, store::Error> {
    if one.manifest.size_bytes > READ_MAX {
        return Ok(Some(Entry::unreadable(&one.folder)));
    }
    let Some(json) = get(store, &one.manifest.key).await? else { return Ok(None) };
    let Ok(manifest) = Manifest::from_json(&json) else { return Ok(Some(Entry::unreadable(&one.folder))) };
    let timeline = match manifest.object(&Object::Timeline) {
        Some(object) if object.size_bytes <= READ_MAX => {
            get(store, &format!("{}/{}", one.folder, Object::Timeline.name())).await?
        }
        _ => None,
    };
    Ok(Some(Entry::new(&one.folder, &manifest, timeline.as_deref())))
}

async fn get(store: &Store, key: &str) -> Result<Option<Bytes>, store::Error> {
    match store.get(key).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(err) if err.is_not_found() => Ok(None),
        Err(err) => Err(err),
    }
}

#[cfg(test)]
mod tests;
