//! What is in the bucket: heads of objects, by folder or by key.

use super::{Error, Store, parse};
use futures_util::TryStreamExt;
use object_store::path::Path;

/// What a store says about an object without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The key, relative to the storage URL.
    pub key: String,
    /// The size in bytes.
    pub size_bytes: u64,
    /// The store's tag of this content.
    pub e_tag: Option<String>,
    /// When it was written, in milliseconds since the Unix epoch, by the store's clock.
    pub modified_ms: i64,
}

/// What is directly in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// The objects in it.
    pub objects: Vec<Head>,
    /// The folders in it, by their paths relative to the storage URL, without a slash at the end.
    pub folders: Vec<String>,
}

impl Store {
    /// What is directly in `folder`, as [`Store::list`] takes it: objects and folders, each sorted.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_level(&self, folder: &str) -> Result<Level, Error> {
        let prefix = prefix(folder)?;
        let level = self.0.objects.list_with_delimiter(prefix.as_ref()).await;
        let level = level.map_err(|e| self.remote("listing", folder, &e))?;
        let mut objects: Vec<Head> = level.objects.into_iter().map(Head::from).collect();
        let mut folders: Vec<String> = level.common_prefixes.into_iter().map(String::from).collect();
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        folders.sort();
        Ok(Level { objects, folders })
    }

    /// All objects below `folder`, which ends at a slash; an empty one means all there are. Sorted by key.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Remote`].
    pub async fn list(&self, folder: &str) -> Result<Vec<Head>, Error> {
        self.list_where(folder, |_| true).await
    }

    /// As [`Store::list`], of those whose keys are `wanted`. The others are not kept in memory.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_where(&self, folder: &str, wanted: impl Fn(&str) -> bool + Send) -> Result<Vec<Head>, Error> {
        let prefix = prefix(folder)?;
        let mut objects = self.0.objects.list(prefix.as_ref());
        let mut found = Vec::new();
        while let Some(object) = objects.try_next().await.map_err(|e| self.remote("listing", folder, &e))? {
            if wanted(object.location.as_ref()) {
                found.push(Head::from(object));
            }
        }
        found.sort_by(|a: &Head, b| a.key.cmp(&b.key));
        Ok(found)
    }
}

impl From<object_store::ObjectMeta> for Head {
    fn from(meta: object_store::ObjectMeta) -> Self {
        Self {
            key: meta.location.into(),
            size_bytes: meta.size,
            e_tag: meta.e_tag,
            modified_ms: meta.last_modified.timestamp_millis(),
        }
    }
}

/// The prefix of what is in a folder; an empty folder means the whole store.
fn prefix(folder: &str) -> Result<Option<Path>, Error> {
    match folder.trim_end_matches('/') {
        "" => Ok(None),
        folder => parse(folder).map(Some),
    }
}
