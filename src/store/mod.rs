//! The bucket: objects in and out, verified, with errors that say what to change. [`uploader`] publishes recordings.
//!
//! Wraps `object_store`, whose types stay inside. What the objects are called is left to `output`, what they contain
//! to `render`, when they are published to `recorder`.
//!
//! # Where
//!
//! A storage URL is `./recordings` or any path, `file:///dir`, `s3://bucket/prefix`, `gs://bucket/prefix` or
//! `az://container/prefix`. Credentials and endpoints come from the variables of each store's own SDK:
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT`; or
//! `GOOGLE_APPLICATION_CREDENTIALS`; or `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`; and so on (the lists
//! are in `open.rs`). On AWS, Google Cloud and Azure the machine's own identity works too. S3 buckets are addressed by
//! path unless `AWS_VIRTUAL_HOSTED_STYLE_REQUEST=true`. A request may take 120 s (`AWS_TIMEOUT`, as in `300 seconds`).
//!
//! # Invariants
//!
//! - A key that is accepted is the key that is stored, character for character, or the call fails.
//! - A put has succeeded when the store shows the object with the size that was sent. To S3 every put and part carries
//!   its SHA-256, which the store compares with what arrived; `AWS_CHECKSUM_ALGORITHM` may say `crc64nvme` instead, or
//!   `none` for a store that knows neither. A local directory is fsynced, directories included.
//! - A multipart upload that fails or is dropped is aborted. A killed process cannot do that: buckets want a lifecycle
//!   rule that removes incomplete uploads after a day or two. In a local directory [`Store::sweep`] does it.
//! - At most [`PARTS_IN_FLIGHT`] parts of [`PART_SIZE`] bytes are in memory, over all uploads of a store.
//!
//! The process has to install a rustls provider before a store is opened on the network.

mod error;
mod ledger;
mod link;
mod list;
mod open;
mod put;
mod sign;
pub mod trial;
pub mod uploader;
pub mod walk;

pub use error::{Cause, Error};
pub use ledger::LEDGER;
pub use list::{Head, Level};
pub use uploader::Uploader;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Attribute, ObjectStore, ObjectStoreExt, PutOptions, PutPayload};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Files up to this size, in bytes, are sent in one put, larger ones in parts of it (S3 allows no less than 5 MiB).
pub const PART_SIZE: u64 = 8 * 1024 * 1024;

/// How many parts a store sends at once, over all uploads.
pub const PARTS_IN_FLIGHT: usize = 4;

/// A bucket, a prefix in a bucket, or a directory. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    objects: Arc<dyn ObjectStore>,
    place: String,
    endpoint: Option<String>,
    directory: Option<PathBuf>,
    /// What media are stored as; the bucket's default if none.
    storage_class: Option<String>,
    signing: Option<open::Signing>,
    /// What is sent with each piece, for the store to compare.
    checksum: Option<String>,
    parts: Arc<Semaphore>,
    /// Aborts of multipart uploads whose futures were dropped.
    aborts: TaskTracker,
}

/// What an object is stored with where the store can; a local directory keeps neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// The content type.
    pub content_type: &'static str,
    /// The header `Cache-Control`.
    pub cache_control: &'static str,
    /// Whether it is stored in the class that `STORAGE_CLASS` names; what is small and read often is not.
    pub is_media: bool,
    /// The recording that it belongs to, kept as metadata (`recording`) beside the program's version (`recorder`).
    pub recording: Option<&'a str>,
}

/// An object that was put and verified, or read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The key, relative to the storage URL.
    pub key: String,
    /// The size in bytes.
    pub size_bytes: u64,
    /// The SHA-256 of the bytes that were sent or read, in lower-case hex.
    pub sha256: String,
    /// The store's tag of this content.
    pub e_tag: Option<String>,
}

impl Store {
    /// Opens the store that `url_or_path` names; a local directory is made if missing. `env` gives the value of a
    /// variable. Nothing is sent: whether the bucket exists and lets us in shows at the first request.
    ///
    /// # Errors
    /// Everything that can be known to be wrong with the URL and the variables, with what was expected.
    pub fn open(url_or_path: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        open::open(url_or_path, env, open::Missing::Make).map(|opened| Self::new(opened, env))
    }

    /// As [`Store::open`], but makes no directory: for those who only read.
    ///
    /// # Errors
    /// As [`Store::open`]; [`Error::Directory`] if there is no such directory.
    pub fn open_existing(url_or_path: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        open::open(url_or_path, env, open::Missing::Refuse).map(|opened| Self::new(opened, env))
    }

    fn new(opened: open::Opened, env: open::Env<'_>) -> Self {
        let storage_class = env("STORAGE_CLASS").map(|class| class.trim().to_owned()).filter(|class| !class.is_empty());
        Self(Arc::new(Inner {
            objects: opened.objects,
            place: opened.place,
            endpoint: opened.endpoint,
            directory: opened.directory,
            storage_class,
            signing: opened.signing,
            checksum: opened.checksum,
            parts: Arc::new(Semaphore::new(PARTS_IN_FLIGHT)),
            aborts: TaskTracker::new(),
        }))
    }

    /// Where it is, for people: `s3://bucket/prefix at https://endpoint`. Has no secrets.
    pub fn describe(&self) -> String {
        match &self.0.endpoint {
            Some(endpoint) => format!("{} at {endpoint}", self.0.place),
            None => self.0.place.clone(),
        }
    }

    /// The URL of an object (or the path, in a local directory): `s3://bucket/prefix/key`.
    pub fn locate(&self, key: &str) -> String {
        format!("{}/{key}", self.0.place.trim_end_matches('/'))
    }

    /// Stores `bytes` and verifies them. For small content: it is sent in one piece.
    ///
    /// Overwrites. Cancel safe: if dropped, the object is the old one or the new one.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Remote`], [`Error::Mismatch`].
    pub async fn put_bytes(&self, key: &str, bytes: Bytes, attributes: Attributes<'_>) -> Result<Stored, Error> {
        let path = parse(key)?;
        let size_bytes = bytes.len() as u64;
        let sha256 = hex::encode(Sha256::digest(&bytes));
        self.put_once(key, &path, bytes.into(), attributes).await?;
        self.verify(key, size_bytes, sha256).await
    }

    async fn put_once(
        &self,
        key: &str,
        path: &Path,
        bytes: PutPayload,
        attributes: Attributes<'_>,
    ) -> Result<(), Error> {
        let options = PutOptions { attributes: self.attributes(attributes), ..PutOptions::default() };
        let put = self.0.objects.put_opts(path, bytes, options).await;
        put.map_err(|e| self.remote("upload of", key, &e))?;
        Ok(())
    }

    async fn verify(&self, key: &str, size_bytes: u64, sha256: String) -> Result<Stored, Error> {
        let head = self.head(key).await?;
        if head.size_bytes != size_bytes {
            return Err(Error::Mismatch {
                place: self.locate(key),
                sent_bytes: size_bytes,
                found_bytes: head.size_bytes,
            });
        }
        Ok(Stored { key: key.to_owned(), size_bytes, sha256, e_tag: head.e_tag })
    }

    /// What the store says about an object.
    ///
    /// # Errors
    /// As [`Error::is_not_found`] if it is not there; some stores say "denied" instead to those who may not list.
    pub async fn head(&self, key: &str) -> Result<Head, Error> {
        let head = self.0.objects.head(&parse(key)?).await;
        Ok(head.map_err(|e| self.remote("looking for", key, &e))?.into())
    }

    /// The content of a small object.
    ///
    /// # Errors
    /// As [`Store::head`].
    pub async fn get(&self, key: &str) -> Result<Bytes, Error> {
        let failed = |e| self.remote("reading", key, &e);
        let object = self.0.objects.get(&parse(key)?).await.map_err(failed)?;
        object.bytes().await.map_err(failed)
    }

    /// A piece of an object. The range is of bytes, and may end behind the object's end.
    ///
    /// # Errors
    /// As [`Store::head`], and if the range starts behind the end.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let bytes = self.0.objects.get_range(&parse(key)?, range).await;
        bytes.map_err(|e| self.remote("reading", key, &e))
    }

    /// Reads a whole object, piece by piece, for its size and SHA-256.
    ///
    /// # Errors
    /// As [`Store::head`]; [`Error::Mismatch`] if it changed meanwhile.
    pub async fn read_back(&self, key: &str) -> Result<Stored, Error> {
        let head = self.head(key).await?;
        let mut sha256 = Sha256::new();
        let mut pieces = pin!(self.pieces(key, head.size_bytes));
        while let Some(piece) = pieces.try_next().await? {
            sha256.update(&piece);
        }
        Ok(Stored {
            key: head.key,
            size_bytes: head.size_bytes,
            sha256: hex::encode(sha256.finalize()),
            e_tag: head.e_tag,
        })
    }

    /// The content of an object that has `size_bytes`, in order, in pieces of at most [`PART_SIZE`]. Each is asked for when
    /// it is waited for, so that no request grows old while the one before it is worked on.
    ///
    /// # Errors
    /// As [`Store::head`]; [`Error::Mismatch`] if it turns out to be shorter.
    pub fn pieces<'a>(
        &'a self,
        key: &'a str,
        size_bytes: u64,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<'a> {
        let starts = (0..size_bytes).step_by(PART_SIZE as usize);
        stream::iter(starts).then(move |start| async move {
            let end = size_bytes.min(start + PART_SIZE);
            let piece = self.get_range(key, start..end).await?;
            let found_bytes = start + piece.len() as u64;
            if found_bytes != end {
                return Err(Error::Mismatch { place: self.locate(key), sent_bytes: size_bytes, found_bytes });
            }
            Ok(piece)
        })
    }

    /// Asks the store for a listing of a folder that is not there, to see whether it is reached and lets us in.
    ///
    /// # Errors
    /// [`Error::Remote`], with what to change.
    pub async fn probe(&self) -> Result<(), Error> {
        self.list("rtms-recorder-probe").await.map(drop)
    }

    /// Deletes an object; one that is not there is deleted already. A bucket that keeps versions keeps them.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Remote`].
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        match self.0.objects.delete(&parse(key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(self.remote("deleting", key, &e)),
        }
    }

    /// Waits until the multipart uploads that were dropped have been aborted, 10 s at most. Call it before the process
    /// ends.
    pub async fn settle(&self) {
        self.0.aborts.close();
        if tokio::time::timeout(Duration::from_secs(10), self.0.aborts.wait()).await.is_err() {
            tracing::warn!(store = %self.describe(), "incomplete uploads could not be removed from the bucket in time");
        }
        self.0.aborts.reopen();
    }

    /// Removes what a killed process left half written in a folder of a local directory; elsewhere does nothing. Nobody
    /// may be writing to that folder.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Directory`].
    pub async fn sweep(&self, folder: &str) -> Result<(), Error> {
        let Some(directory) = &self.0.directory else {
            return Ok(());
        };
        let path = directory.join(parse(folder)?.as_ref());
        let swept =
            tokio::task::spawn_blocking(move || sweep(&path).map_err(|source| Error::Directory { path, source }));
        swept.await.unwrap_or(Ok(()))
    }

    fn attributes(&self, attributes: Attributes<'_>) -> object_store::Attributes {
        if self.0.directory.is_some() {
            return object_store::Attributes::new();
        }
        let mut all = object_store::Attributes::from_iter([
            (Attribute::ContentType, attributes.content_type),
            (Attribute::CacheControl, attributes.cache_control),
            (Attribute::Metadata("recorder".into()), concat!("rtms-recorder ", env!("CARGO_PKG_VERSION"))),
        ]);
        if let Some(recording) = attributes.recording {
            all.insert(Attribute::Metadata("recording".into()), recording.to_owned().into());
        }
        if let Some(class) = self.0.storage_class.as_ref().filter(|_| attributes.is_media) {
            all.insert(Attribute::StorageClass, class.clone().into());
        }
        all
    }

    fn remote(&self, action: &'static str, key: &str, error: &object_store::Error) -> Error {
        Error::remote(action, self.locate(key), error)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.describe())
    }
}

impl From<&crate::output::Object> for Attributes<'_> {
    fn from(object: &crate::output::Object) -> Self {
        Self {
            content_type: object.content_type(),
            cache_control: object.cache_control(),
            is_media: object.is_media(),
            recording: None,
        }
    }
}

/// Takes a key as it is: `object_store` would otherwise drop slashes at the ends or escape characters.
fn parse(key: &str) -> Result<Path, Error> {
    let refused = |reason: &str| Error::Key { key: key.to_owned(), reason: reason.to_owned() };
    let path = Path::parse(key).map_err(|e| refused(&e.to_string()))?;
    if path.as_ref().is_empty() || path.as_ref() != key {
        return Err(refused("it must not be empty, nor have a slash at either end"));
    }
    Ok(path)
}

/// `object_store` writes to `<name>#<number>` first, and lists no such file.
fn sweep(directory: &FilePath) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
        if entry.file_type()?.is_dir() {
            sweep(&entry.path())?;
        } else if number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(url: &str, env: &[(&str, &str)]) -> Result<Store, Error> {
        // Others may have done it already in this process.
        rustls::crypto::ring::default_provider().install_default().ok();
        Store::open(url, &|name| {
            let found = env.iter().find(|(n, _)| *n == name)?;
            Some(found.1.to_owned())
        })
    }

    fn refusal(url: &str, env: &[(&str, &str)]) -> String {
        open(url, env).expect_err(url).to_string()
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "sEcReT")];

    #[test]
    fn wrong_urls_say_what_was_expected() {
        for url in ["ftp://host/x", "", "s3:bucket", "http://bucket/x", "file://host/x", "s3://b/p?q", "s3://b/a#b"] {
            assert!(refusal(url, &[]).contains("is not understood: expected a directory"), "{url}");
        }
        for url in ["s3://", "s3:///prefix", "gs://", "az://"] {
            assert!(refusal(url, &[]).contains("names no bucket"), "{url}: {}", refusal(url, &[]));
        }
        let secret = refusal("s3://AKIDEXAMPLE:sEcReT@bucket", &[]);
        assert!(secret.contains("must not contain credentials") && !secret.contains("sEcReT"));
    }

    #[test]
    fn plain_http_is_refused_with_the_fix() {
        let http = ("AWS_ENDPOINT", "http://minio:9000");
        let text = refusal("s3://bucket", &[KEYS[0], KEYS[1], http]);
        assert!(text.contains("http://minio:9000 is plain HTTP"), "{text}");
        assert!(text.contains("set AWS_ALLOW_HTTP=true"), "{text}");
        let store = open("s3://bucket/a/b/", &[KEYS[0], KEYS[1], http, ("AWS_ALLOW_HTTP", "true")]).unwrap();
        assert_eq!(store.describe(), "s3://bucket/a/b at http://minio:9000");
        assert_eq!(store.locate("c/d"), "s3://bucket/a/b/c/d");
        assert!(!format!("{store:?}").contains("sEcReT"));
    }

    #[test]
    fn half_of_the_credentials_is_not_enough() {
        let text = refusal("s3://bucket", &[KEYS[0], ("AWS_SECRET_ACCESS_KEY", "")]);
        assert!(text.contains("cannot open s3://bucket") && text.to_lowercase().contains("secret"), "{text}");
        assert!(refusal("az://container", &[]).to_lowercase().contains("account"));
    }

    #[test]
    fn other_clouds_open_too() {
        let account = [("AZURE_STORAGE_ACCOUNT_NAME", "account"), ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")];
        assert_eq!(open("az://container/a", &account).unwrap().describe(), "az://container/a");
        let token = [("GOOGLE_BEARER_TOKEN", "sEcReT")];
        assert_eq!(open("gs://bucket/a", &token).unwrap().locate("b"), "gs://bucket/a/b");
    }

    #[test]
    fn checksums_can_be_chosen() {
        for algorithm in ["sha256", "crc64nvme", "none"] {
            open("s3://bucket", &[KEYS[0], KEYS[1], ("AWS_CHECKSUM_ALGORITHM", algorithm)]).unwrap();
        }
        let text = refusal("s3://bucket", &[KEYS[0], KEYS[1], ("AWS_CHECKSUM_ALGORITHM", "md4")]);
        assert!(text.contains("md4"), "{text}");
    }

    #[test]
    fn keys_are_taken_as_they_are_or_not_at_all() {
        for key in ["", "/", "/a", "a/", "a//b", "../a", "a/./b", "a\nb", "a\0"] {
            assert!(matches!(parse(key), Err(Error::Key { .. })), "{key:?}");
        }
        for key in ["a", "a/b.mp4", "a b/ü+%?#[~]'=&.txt"] {
            assert_eq!(parse(key).unwrap().as_ref(), key);
        }
    }
}
