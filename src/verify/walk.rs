//! Finds the folders of recordings, a day at a time.
//!
//! Stores promise no order of a listing, so what belongs to one folder is known when its day has been listed. Only years,
//! months and days are gone into: whatever else is in the bucket costs nothing.

use crate::output::key::{FOLDER_DEPTH, depth};
use crate::store::{Error, Head, Store};
use std::collections::VecDeque;

/// A folder with objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Relative to the storage URL, without a slash at the end.
    pub(super) folder: String,
    /// Everything in it, sorted by key. Empty if it was asked for and there is nothing.
    pub(super) objects: Vec<Head>,
}

/// Goes through folders in order.
pub(super) struct Walk<'a> {
    store: &'a Store,
    asked: VecDeque<String>,
    /// What was asked for and has shown nothing yet.
    barren: Option<String>,
    /// To be listed; the next one last.
    to_list: Vec<String>,
    found: VecDeque<Found>,
}

impl<'a> Walk<'a> {
    /// Through `folders`, none of which is in another; an empty path means the whole store.
    pub(super) fn new(store: &'a Store, folders: Vec<String>) -> Self {
        let (asked, to_list, found) = (folders.into(), Vec::new(), VecDeque::new());
        Self { store, asked, barren: None, to_list, found }
    }

    /// The next folder.
    pub(super) async fn next(&mut self) -> Result<Option<Found>, Error> {
        loop {
            if let Some(found) = self.found.pop_front() {
                self.barren = None;
                return Ok(Some(found));
            }
            if let Some(folder) = self.to_list.pop() {
                self.list(&folder).await?;
                continue;
            }
            if let Some(folder) = self.barren.take() {
                return Ok(Some(Found { folder, objects: Vec::new() }));
            }
            let Some(folder) = self.asked.pop_front() else { return Ok(None) };
            // An empty bucket is as its manifests say.
            self.barren = (!folder.is_empty()).then(|| folder.clone());
            self.to_list.push(folder);
        }
    }

    async fn list(&mut self, folder: &str) -> Result<(), Error> {
        if depth(folder).is_some_and(|depth| depth + 1 < FOLDER_DEPTH) {
            let level = self.store.list_level(folder).await?;
            self.to_list.extend(level.folders.into_iter().filter(|folder| depth(folder).is_some()).rev());
            return Ok(());
        }
        for head in self.store.list(folder).await? {
            // What lies in the day itself belongs to no recording.
            let Some(folder) = folder_of(&head.key) else { continue };
            match self.found.back_mut() {
                Some(last) if last.folder == folder => last.objects.push(head),
                _ => self.found.push_back(Found { folder: folder.to_owned(), objects: vec![head] }),
            }
        }
        Ok(())
    }
}

/// The folder of the recording that an object belongs to.
fn folder_of(key: &str) -> Option<&str> {
    let (end, _) = key.match_indices('/').nth(FOLDER_DEPTH - 1)?;
    Some(&key[..end])
}
