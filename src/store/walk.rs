//! Finds the folders of recordings, those beside each other at a time: with the default template, a day.
//!
//! Stores promise no order of a listing, so what belongs to one folder is known when all beside it have been listed. Only
//! paths that the template can make are gone into: whatever else is in the bucket costs nothing.

use super::{Error, Head, Store};
use crate::output::{Object, Template};
use std::collections::VecDeque;

/// A folder with objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Relative to the storage URL, without a slash at the end.
    pub folder: String,
    /// Everything in it, or what is looked for, sorted by key. Empty if it was asked for and there is nothing.
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
    template: &'a Template,
    order: Order,
    /// How the keys end that are looked for.
    ending: String,
    asked: VecDeque<String>,
    /// What was asked for and has shown nothing yet.
    barren: Option<String>,
    /// To be listed; the next one last.
    to_list: Vec<String>,
    found: VecDeque<Found>,
}

impl<'a> Walk<'a> {
    /// Through `folders`, none of which is in another, and what the template makes below them; an empty path means the whole
    /// store.
    pub fn new(store: &'a Store, template: &'a Template, folders: Vec<String>, order: Order) -> Self {
        let (asked, to_list, found) = (folders.into(), Vec::new(), VecDeque::new());
        Self { store, template, order, ending: String::new(), asked, barren: None, to_list, found }
    }

    /// Looks for this object alone: others take no memory.
    #[must_use]
    pub fn only(self, object: &Object) -> Self {
        Self { ending: format!("/{}", object.name()), ..self }
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
        let template = self.template;
        if template.depth_of(folder).is_some_and(|depth| depth + 1 < template.depth()) {
            let level = self.store.list_level(folder).await?;
            let folders = level.folders.into_iter().filter(|folder| template.depth_of(folder).is_some());
            match self.order {
                Order::OldestFirst => self.to_list.extend(folders.rev()),
                Order::NewestFirst => self.to_list.extend(folders),
            }
            return Ok(());
        }
        for head in self.store.list_where(folder, |key| key.ends_with(&self.ending)).await? {
            // What lies beside the folders belongs to no recording.
            let Some(folder) = folder_of(&head.key, template.depth()) else { continue };
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
fn folder_of(key: &str, depth: usize) -> Option<&str> {
    let (end, _) = key.match_indices('/').nth(depth - 1)?;
    Some(&key[..end])
}
