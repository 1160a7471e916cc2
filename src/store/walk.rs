//! Finds the folders of recordings, a day at a time.
//!
//! Stores promise no order of a listing, so what belongs to one folder is known when its day has been listed. Only years,
//! months and days are gone into: whatever else is in the bucket costs nothing.

use super::{Error, Head, Store};
use crate::output::key::{FOLDER_DEPTH, depth};
use std::collections::VecDeque;

/// A folder with objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Relative to the storage URL, without a slash at the end.
    pub folder: String,
    /// Everything in it, sorted by key. Empty if it was asked for and there is nothing.
    pub objects: Vec<Head>,
}

/// Which folder comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By their paths, which is by their time.
    OldestFirst,
    /// The other way round.
    NewestFirst,
}

/// Goes through folders in order.
pub struct Walk<'a> {
    store: &'a Store,
    order: Order,
    asked: VecDeque<String>,
    /// What was asked for and has shown nothing yet.
    barren: Option<String>,
    /// To be listed; the next one last.
    to_list: Vec<String>,
    found: VecDeque<Found>,
}

impl<'a> Walk<'a> {
    /// Through `folders`, none of which is in another; an empty path means the whole store.
    pub fn new(store: &'a Store, folders: Vec<String>, order: Order) -> Self {
        let (asked, to_list, found) = (folders.into(), Vec::new(), VecDeque::new());
        Self { store, order, asked, barren: None, to_list, found }
    }

    /// The next folder.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn next(&mut self) -> Result<Option<Found>, Error> {
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
            let folders = level.folders.into_iter().filter(|folder| depth(folder).is_some());
            match self.order {
                Order::OldestFirst => self.to_list.extend(folders.rev()),
                Order::NewestFirst => self.to_list.extend(folders),
            }
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
        if self.order == Order::NewestFirst {
            self.found.make_contiguous().reverse();
        }
        Ok(())
    }
}

/// The folder of the recording that an object belongs to.
fn folder_of(key: &str) -> Option<&str> {
    let (end, _) = key.match_indices('/').nth(FOLDER_DEPTH - 1)?;
    Some(&key[..end])
}
