//! A file into the store: read, hashed and sent in one pass, in parts if it is large.

use super::{Attributes, Error, Inner, PART_SIZE, Store, Stored, parse};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, PutMultipartOptions, PutPayload};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// How many parts of one upload are in flight. More helps little: a part is large.
const PARTS_OF_ONE: usize = 2;

/// How much is read at once: blocks of memory as large as a part would stay with the process.
const PIECE_BYTES: u64 = 256 << 10;

/// S3 takes at most 10 000 parts, so a file above 78 GiB gets larger ones.
const MAX_PARTS: u64 = 10_000;

impl Store {
    /// Uploads a file and verifies it: up to [`PART_SIZE`] in one put, else in parts. The file is read once.
    ///
    /// In a local directory on the file's own file system, a large file is linked rather than copied: it must not change later.
    ///
    /// Overwrites; the new content appears at once and as a whole. If dropped, nothing of it appears, or all of it;
    /// parts that were sent are removed in the background ([`Store::settle`]).
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::File`], [`Error::FileChanged`], [`Error::Remote`], [`Error::Mismatch`].
    pub async fn put_file(&self, key: &str, file: &FilePath, attributes: Attributes<'_>) -> Result<Stored, Error> {
        self.put_file_watched(key, file, attributes, &|_, _| ()).await
    }

    /// As [`Store::put_file`]; `on_sent` hears how many bytes have been taken by the store, of how many.
    ///
    /// # Errors
    /// As [`Store::put_file`].
    pub async fn put_file_watched(
        &self,
        key: &str,
        file: &FilePath,
        attributes: Attributes<'_>,
        on_sent: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Stored, Error> {
        let path = parse(key)?;
        let reader = Reader::open(file).await?;
        let size_bytes = reader.size_bytes;
        let sha256 = if size_bytes <= PART_SIZE {
            let permit = self.permit().await;
            let (mut reader, part) = reader.next().await?;
            let sha256 = reader.finish()?;
            self.put_once(key, &path, part, attributes).await?;
            drop(permit);
            sha256
        } else if let Some(staged) = self.stage(&path, file).await {
            let sha256 = reader.hash().await?;
            // A directory that fails is a bucket that fails: it is tried again.
            staged.publish().await.map_err(|source| {
                let (store, source) = ("LocalFileSystem", Box::new(source));
                self.remote("upload of", key, &object_store::Error::Generic { store, source })
            })?;
            sha256
        } else {
            self.put_parts(key, &path, reader, attributes, on_sent).await?
        };
        on_sent(size_bytes, size_bytes);
        self.verify(key, size_bytes, sha256).await
    }

    async fn put_parts(
        &self,
        key: &str,
        path: &Path,
        reader: Reader,
        attributes: Attributes<'_>,
        on_sent: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<String, Error> {
        let options = PutMultipartOptions { attributes: self.attributes(attributes), ..PutMultipartOptions::default() };
        let upload = self.0.objects.put_multipart_opts(path, options).await;
        let mut parts = Parts {
            store: Arc::clone(&self.0),
            upload: Some(upload.map_err(|e| self.remote("upload of", key, &e))?),
            tasks: JoinSet::new(),
        };
        let sent = self.send_parts(key, reader, &mut parts, on_sent).await;
        if sent.is_err() {
            parts.abort().await;
        }
        sent
    }

    async fn send_parts(
        &self,
        key: &str,
        mut reader: Reader,
        parts: &mut Parts,
        on_sent: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<String, Error> {
        let failed = |e: &object_store::Error| self.remote("upload of", key, e);
        let (size_bytes, mut sent_bytes) = (reader.size_bytes, 0);
        loop {
            while parts.tasks.len() >= PARTS_OF_ONE || (reader.left_bytes == 0 && !parts.tasks.is_empty()) {
                let done = parts.tasks.join_next().await.expect("there are tasks");
                let part_bytes: Result<u64, object_store::Error> = done.unwrap_or_else(|e| Err(e.into()));
                sent_bytes += part_bytes.map_err(|e| failed(&e))?;
                on_sent(sent_bytes, size_bytes);
            }
            let upload = parts.upload.as_mut().expect("it is taken when it has ended");
            if reader.left_bytes == 0 {
                let sha256 = reader.finish()?;
                upload.complete().await.map_err(|e| failed(&e))?;
                parts.upload = None;
                return Ok(sha256);
            }
            let permit = self.permit().await;
            let (next, part) = reader.next().await?;
            reader = next;
            let part_bytes = part.content_length() as u64;
            let part = upload.put_part(part);
            parts.tasks.spawn(async move {
                let _permit = permit;
                part.await.map(|()| part_bytes)
            });
        }
    }

    async fn permit(&self) -> tokio::sync::OwnedSemaphorePermit {
        let parts = Arc::clone(&self.0.parts);
        parts.acquire_owned().await.expect("the semaphore is never closed")
    }
}

/// A multipart upload that is aborted unless it was completed.
struct Parts {
    store: Arc<Inner>,
    upload: Option<Box<dyn MultipartUpload>>,
    tasks: JoinSet<Result<u64, object_store::Error>>,
}

impl Parts {
    async fn abort(&mut self) {
        if let Some(upload) = self.upload.take() {
            abort(upload, std::mem::take(&mut self.tasks)).await;
        }
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.upload.take(), Handle::try_current()) {
            let abort = abort(upload, std::mem::take(&mut self.tasks));
            self.store.aborts.spawn_on(abort, &runtime);
        }
    }
}

/// Ends the requests first: a part that arrives after the abort would stay.
async fn abort(mut upload: Box<dyn MultipartUpload>, mut tasks: JoinSet<Result<u64, object_store::Error>>) {
    tasks.shutdown().await;
    if let Err(error) = upload.abort().await {
        let (_, err) = super::error::explain(&error);
        tracing::debug!(err, "an incomplete upload was left in the bucket");
    }
}

/// Reads a file part by part, off the runtime's threads, and hashes on the way.
struct Reader {
    path: PathBuf,
    file: File,
    sha256: Sha256,
    size_bytes: u64,
    left_bytes: u64,
    part_bytes: u64,
}

impl Reader {
    async fn open(path: &FilePath) -> Result<Self, Error> {
        let path = path.to_owned();
        blocking(move || {
            let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
            let (size_bytes, file) = opened.map_err(|source| Error::File { path: path.clone(), source })?;
            const MIB: u64 = 1024 * 1024;
            let part_bytes = size_bytes.div_ceil(MAX_PARTS).div_ceil(MIB) * MIB;
            Ok(Self {
                path,
                file,
                sha256: Sha256::new(),
                size_bytes,
                left_bytes: size_bytes,
                part_bytes: part_bytes.max(PART_SIZE),
            })
        })
        .await
    }

    /// The next part; empty at the end.
    async fn next(mut self) -> Result<(Self, PutPayload), Error> {
        blocking(move || {
            let part_left = self.left_bytes - self.part_bytes.min(self.left_bytes);
            let mut pieces = Vec::new();
            while self.left_bytes > part_left {
                let mut piece = Vec::new();
                self.read(part_left, &mut piece)?;
                pieces.push(Bytes::from(piece));
            }
            Ok((self, PutPayload::from_iter(pieces)))
        })
        .await
    }

    /// The hash of what has not been read yet, and of what has.
    pub(super) async fn hash(mut self) -> Result<String, Error> {
        blocking(move || {
            let mut piece = Vec::new();
            while self.left_bytes > 0 {
                piece.clear();
                self.read(0, &mut piece)?;
            }
            self.finish()
        })
        .await
    }

    /// Reads a piece, until `left_bytes` are left at most, and hashes it.
    fn read(&mut self, left_bytes: u64, piece: &mut Vec<u8>) -> Result<(), Error> {
        let wanted = PIECE_BYTES.min(self.left_bytes - left_bytes);
        piece.reserve_exact(wanted as usize);
        let read = self.file.by_ref().take(wanted).read_to_end(piece);
        read.map_err(|source| Error::File { path: self.path.clone(), source })?;
        if piece.len() as u64 != wanted {
            return Err(Error::FileChanged { path: self.path.clone() });
        }
        self.sha256.update(&piece);
        self.left_bytes -= wanted;
        Ok(())
    }

    /// The hash of the whole file, which still has to have the size that it had.
    fn finish(&mut self) -> Result<String, Error> {
        match self.file.metadata() {
            Ok(metadata) if metadata.len() == self.size_bytes => Ok(hex::encode(self.sha256.finalize_reset())),
            Ok(_) => Err(Error::FileChanged { path: self.path.clone() }),
            Err(source) => Err(Error::File { path: self.path.clone(), source }),
        }
    }
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::File { path: PathBuf::new(), source: io::Error::other(e) }),
    }
}
