//! Publishes recordings: their files, each verified, then the manifest; and takes withdrawn ones out of the bucket.
//!
//! Invariants:
//!
//! - The manifest is the last object to be written, and lists what was verified. A deletion manifest stays.
//! - What the bucket refuses is tried again, for as long as nobody cancels: after 1 s, 2 s, ... 60 s, with jitter.
//! - What was verified is noted in the spool ([`super::LEDGER`]) and not sent again after a restart if the bucket still
//!   shows it.
//!
//! Removing the spool after [`Uploader::publish`] has returned is left to `recorder`, as is never publishing and
//! withdrawing the same recording at the same time.

mod persist;

pub use persist::{Failure, Work};

use super::ledger::{Ledger, Version};
use super::{Attributes, Error as StoreError, Store, Stored};
use crate::output::manifest::StoredObject;
use crate::output::{Folder, Manifest, Object};
use crate::telemetry::metrics;
use bytes::Bytes;
use futures_util::future::try_join_all;
use parking_lot::Mutex;
use persist::Outage;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// How uploads are done.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How many objects are uploaded at once, over all recordings, and how many recordings deleted beside; at least 1.
    pub uploads_at_once: usize,
    /// The wait after a first failure; it doubles with each further one.
    pub first_delay: Duration,
    /// The longest wait.
    pub max_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { uploads_at_once: 4, first_delay: Duration::from_secs(1), max_delay: Duration::from_secs(60) }
    }
}

/// A recording that is to be published.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublishPlan {
    /// Where it goes.
    pub folder: Folder,
    /// Its folder in the spool, where the ledger is kept.
    pub spool: PathBuf,
    /// What goes there, without the manifest. The manifest lists it in this order.
    pub files: Vec<PlannedFile>,
    /// The manifest as far as it is known; `objects` is filled in.
    pub manifest: Manifest,
}

/// A file that becomes an object.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlannedFile {
    /// Which object.
    pub object: Object,
    /// The file. It must not change any more.
    pub path: PathBuf,
    /// How long it plays, in milliseconds.
    pub duration_ms: Option<u64>,
    /// How its media is coded.
    pub codec: Option<String>,
}

impl PlannedFile {
    /// How the manifest lists it, once it has this key, size and SHA-256 (in hexadecimal).
    pub fn stored(&self, key: String, size_bytes: u64, sha256: String) -> StoredObject {
        StoredObject {
            name: self.object.name(),
            key,
            size_bytes,
            sha256,
            content_type: self.object.content_type().to_owned(),
            duration_ms: self.duration_ms,
            codec: self.codec.clone(),
        }
    }
}

/// A recording that is in the bucket.
#[derive(Clone, Debug)]
pub struct Published {
    /// The manifest as it was written.
    pub manifest: Manifest,
    /// What was sent this time, without repetitions and the manifest, in bytes.
    pub sent_bytes: u64,
}

/// How a publication goes on.
#[derive(Clone, Debug)]
pub enum Progress<'a> {
    /// A part of an object has been taken.
    Sending {
        /// The object.
        object: &'a Object,
        /// How much of it, in bytes. Starts again with each attempt.
        sent_bytes: u64,
        /// Of how much.
        size_bytes: u64,
    },
    /// An object is in the bucket and verified.
    Stored {
        /// The object.
        object: &'a Object,
        /// Its size.
        size_bytes: u64,
    },
    /// An attempt has failed.
    Failed {
        /// What happened.
        failure: &'a Failure,
        /// When the next attempt starts.
        retry_in: Duration,
    },
}

/// Why a recording was not published. Everything stays in the spool.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was cancelled.
    #[error("publishing was cancelled; what is not in the bucket is kept in the spool")]
    Cancelled {
        /// The last failure, if there was any.
        #[source]
        last: Option<Box<Failure>>,
    },
    /// It failed in a way that trying again does not mend.
    #[error(transparent)]
    Failed(Box<Failure>),
    /// The ledger in the spool cannot be read.
    #[error("cannot read {}", path.display())]
    Ledger {
        /// The ledger's folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The bucket has a deletion manifest for this recording.
    #[error("{place} says that this recording was deleted; it is not published again")]
    Withdrawn {
        /// The manifest.
        place: String,
    },
}

/// Uploads to one store, a few objects at a time.
#[derive(Debug)]
pub struct Uploader {
    store: Store,
    settings: Settings,
    uploads: Semaphore,
    deletions: Semaphore,
    outage: Mutex<Outage>,
    commits: watch::Sender<u64>,
    /// Rings for whoever waits for the next attempt.
    again: Notify,
}

type OnProgress<'a> = &'a (dyn Fn(Progress<'_>) + Send + Sync);

impl Uploader {
    /// An uploader for `store`.
    pub fn new(store: Store, settings: Settings) -> Self {
        let at_once = settings.uploads_at_once.max(1);
        Self {
            store,
            settings,
            uploads: Semaphore::new(at_once),
            deletions: Semaphore::new(at_once),
            outage: Mutex::new(Outage::default()),
            commits: watch::Sender::new(0),
            again: Notify::new(),
        }
    }

    /// Changes whenever a manifest was written, be it of a recording or of a deletion.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// Tries all again at once that waits for its next attempt.
    pub fn try_again(&self) {
        self.again.notify_waiters();
    }

    /// What failed last, since the bucket has taken nothing; none if it works, as far as is known.
    pub fn outage(&self) -> Option<String> {
        self.outage.lock().failure()
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Uploads the files of a recording and commits it by its manifest. Returns when all of it is in the bucket and
    /// verified, however long that takes; publishing what is published already only looks.
    ///
    /// Cancel safe, by `cancel` or by being dropped: the next call goes on with the files that are missing.
    ///
    /// # Errors
    /// Never because the bucket refuses or cannot be reached: those are repeated, and reported to `on_progress`.
    pub async fn publish(
        &self,
        plan: &PublishPlan,
        on_progress: OnProgress<'_>,
        cancel: &CancellationToken,
    ) -> Result<Published, Error> {
        let ledger =
            Ledger::open(&plan.spool).await.map_err(|source| Error::Ledger { path: plan.spool.clone(), source })?;
        self.sweep(&plan.folder).await;
        let sent_bytes = AtomicU64::new(0);
        let files = plan.files.iter().map(|file| {
            let (ledger, sent_bytes) = (&ledger, &sent_bytes);
            self.publish_file(plan, file, ledger, sent_bytes, on_progress, cancel)
        });
        let objects = try_join_all(files).await?;
        let manifest = Manifest { objects, ..plan.manifest.clone() };
        self.commit(&plan.folder, &manifest, on_progress, cancel).await?;
        self.commits.send_modify(|count| *count += 1);
        Ok(Published { manifest, sent_bytes: sent_bytes.into_inner() })
    }

    async fn publish_file(
        &self,
        plan: &PublishPlan,
        file: &PlannedFile,
        ledger: &Ledger,
        sent_bytes: &AtomicU64,
        on_progress: OnProgress<'_>,
        cancel: &CancellationToken,
    ) -> Result<StoredObject, Error> {
        let key = plan.folder.key(&file.object);
        let recording = plan.manifest.recording_id.as_str();
        let (name, attempt) = (file.object.name(), || self.put_once(&key, file, recording, ledger, on_progress));
        let (stored, was_there) = self.persist(Work::Upload, &name, &key, on_progress, cancel, attempt).await?;
        let size_bytes = stored.size_bytes;
        if !was_there {
            metrics().uploaded_bytes.inc_by(size_bytes);
            sent_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        }
        on_progress(Progress::Stored { object: &file.object, size_bytes });
        Ok(file.stored(stored.key, size_bytes, stored.sha256))
    }

    /// One attempt. Also says whether the object was there already.
    async fn put_once(
        &self,
        key: &str,
        file: &PlannedFile,
        recording: &str,
        ledger: &Ledger,
        on_progress: OnProgress<'_>,
    ) -> Result<(Stored, bool), StoreError> {
        let version = version(&file.path).await?;
        let place = self.store.locate(key);
        if let Some(noted) = ledger.find(&place, key, version)
            && self.is_there(&noted).await?
        {
            return Ok((noted, true));
        }
        let object = &file.object;
        let on_sent = |sent_bytes, size_bytes| {
            on_progress(Progress::Sending { object, sent_bytes, size_bytes });
        };
        let attributes = Attributes { recording: Some(recording), ..Attributes::from(object) };
        let stored = self.store.put_file_watched(key, &file.path, attributes, &on_sent).await?;
        if version != self::version(&file.path).await? {
            let path = file.path.clone();
            return Err(StoreError::FileChanged { path });
        }
        if let Err(err) = ledger.add(&place, &stored, version).await {
            tracing::warn!(key, %err, "cannot note in the spool that this was uploaded; a restart would send it again");
        }
        Ok((stored, false))
    }

    /// Whether the bucket still shows what the ledger says. A store that does not say is sent the object again.
    async fn is_there(&self, noted: &Stored) -> Result<bool, StoreError> {
        match self.store.head(&noted.key).await {
            Ok(head) => Ok(head.size_bytes == noted.size_bytes && head.e_tag == noted.e_tag),
            Err(e) if e.may_mean_missing() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Writes the manifest, unless the bucket has it already.
    async fn commit(
        &self,
        folder: &Folder,
        manifest: &Manifest,
        on_progress: OnProgress<'_>,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        let key = folder.key(&Object::Manifest);
        let json = Bytes::from(manifest.to_json());
        let (name, attempt) = (Object::Manifest.name(), || self.put_manifest(folder, &key, json.clone()));
        let written = self.persist(Work::Upload, &name, &key, on_progress, cancel, attempt).await?;
        match written {
            Commit::Withdrawn => Err(Error::Withdrawn { place: self.store.locate(&key) }),
            Commit::Stands => {
                on_progress(Progress::Stored { object: &Object::Manifest, size_bytes: json.len() as u64 });
                Ok(())
            }
        }
    }

    async fn put_manifest(&self, folder: &Folder, key: &str, json: Bytes) -> Result<Commit, StoreError> {
        match self.store.get(key).await {
            Ok(there) if there == json => return Ok(Commit::Stands),
            Ok(there) => {
                if Manifest::from_json(&there).is_ok_and(|m| m.deleted.is_some()) {
                    self.delete_all_but(folder, key).await?;
                    return Ok(Commit::Withdrawn);
                }
                tracing::warn!(key, "the bucket has another manifest for this recording; it is replaced");
            }
            Err(e) if e.may_mean_missing() => {}
            Err(e) => return Err(e),
        }
        self.store.put_bytes(key, json, Attributes::from(&Object::Manifest)).await?;
        Ok(Commit::Stands)
    }

    /// Deletes everything in a recording's folder and leaves only `manifest`, which has to be a deletion manifest
    /// ([`Manifest::into_deleted`]). Returns when the bucket shows that, however long it takes; may be repeated.
    ///
    /// Not deleted: older versions in a bucket that keeps versions, and what a killed process left of incomplete
    /// uploads. Both are for the bucket's lifecycle rules.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::Failed`] if the folder cannot be a key.
    pub async fn withdraw(
        &self,
        folder: &Folder,
        manifest: &Manifest,
        on_progress: OnProgress<'_>,
        cancel: &CancellationToken,
    ) -> Result<(), Error> {
        debug_assert!(manifest.deleted.is_some() && manifest.objects.is_empty());
        self.store.settle().await;
        self.sweep(folder).await;
        let key = folder.key(&Object::Manifest);
        let json = Bytes::from(manifest.to_json());
        let (name, attempt) = (folder.as_str(), || self.withdraw_once(folder, &key, json.clone()));
        self.persist(Work::Deletion, name, name, on_progress, cancel, attempt).await?;
        self.commits.send_modify(|count| *count += 1);
        Ok(())
    }

    /// What an earlier run left half written takes room and is media too.
    async fn sweep(&self, folder: &Folder) {
        if let Err(error) = self.store.sweep(folder.as_str()).await {
            tracing::warn!(folder = folder.as_str(), err = %error, "cannot remove what was left half written");
        }
    }

    async fn withdraw_once(&self, folder: &Folder, key: &str, json: Bytes) -> Result<(), StoreError> {
        // The old manifest goes first: nobody is to find a list of objects that are gone.
        match self.store.get(key).await {
            Ok(there) if there == json => {}
            Ok(_) => self.store.delete(key).await?,
            Err(e) if e.may_mean_missing() => {}
            Err(e) => return Err(e),
        }
        self.delete_all_but(folder, key).await?;
        self.put_manifest(folder, key, json).await?;
        // An upload that was on its way when it was cancelled may have arrived meanwhile.
        self.delete_all_but(folder, key).await
    }

    async fn delete_all_but(&self, folder: &Folder, key: &str) -> Result<(), StoreError> {
        for head in self.store.list(folder.as_str()).await? {
            if head.key != key {
                self.store.delete(&head.key).await?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Commit {
    /// The bucket has the manifest.
    Stands,
    /// It says that the recording was deleted.
    Withdrawn,
}

async fn version(path: &Path) -> Result<Version, StoreError> {
    Version::of(path).await.map_err(|source| StoreError::File { path: path.to_owned(), source })
}
