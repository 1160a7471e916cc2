//! What a store is tried with before it is relied upon: a conditional create, and an upload in parts of the least size.

use super::{Attributes, Error, Store, parse};
use bytes::Bytes;
use object_store::{PutMode, PutMultipartOptions, PutOptions};
use url::Url;

/// What came of a conditional create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The object is new.
    New,
    /// There was one already, and it is left as it was.
    Exists,
}

impl Store {
    /// Stores `bytes` unless there is such an object already. A store that ignores the condition overwrites it.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Remote`].
    pub async fn create(&self, key: &str, bytes: Bytes, attributes: Attributes<'_>) -> Result<Created, Error> {
        let path = parse(key)?;
        let options =
            PutOptions { mode: PutMode::Create, attributes: self.attributes(attributes), ..PutOptions::default() };
        match self.0.objects.put_opts(&path, bytes.into(), options).await {
            Ok(_) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Exists),
            Err(e) => Err(self.remote("conditional upload of", key, &e)),
        }
    }

    /// Stores `bytes`, and returns the version that the store gave them; most give one only if the bucket keeps versions.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Remote`].
    pub async fn put_version(
        &self,
        key: &str,
        bytes: Bytes,
        attributes: Attributes<'_>,
    ) -> Result<Option<String>, Error> {
        let options = PutOptions { attributes: self.attributes(attributes), ..PutOptions::default() };
        let put = self.0.objects.put_opts(&parse(key)?, bytes.into(), options).await;
        Ok(put.map_err(|e| self.remote("upload of", key, &e))?.version)
    }

    /// The checksum that is sent with each piece, by its name.
    pub fn checksum(&self) -> Option<&str> {
        self.0.checksum.as_deref()
    }

    /// Stores `parts` as one object by a multipart upload, which is aborted if it fails. All but the last have at least 5 MiB.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Remote`].
    pub async fn put_in_parts(&self, key: &str, parts: Vec<Bytes>, attributes: Attributes<'_>) -> Result<(), Error> {
        let path = parse(key)?;
        let failed = |e| self.remote("multipart upload of", key, &e);
        let options = PutMultipartOptions { attributes: self.attributes(attributes), ..PutMultipartOptions::default() };
        let mut upload = self.0.objects.put_multipart_opts(&path, options).await.map_err(failed)?;
        let sent = async {
            for part in parts {
                upload.put_part(part.into()).await?;
            }
            upload.complete().await
        };
        let sent = sent.await;
        if let Err(e) = sent {
            // What failed first says more; a lifecycle rule removes what is left.
            upload.abort().await.ok();
            return Err(failed(e));
        }
        Ok(())
    }

    /// Where requests go; none for a directory, or if these credentials cannot sign.
    pub async fn origin(&self) -> Option<Url> {
        let link = self.link("rtms-recorder-check", std::time::Duration::from_secs(60)).await.ok()?;
        link.host().is_some().then(|| link.join("/").ok())?
    }

    /// Whether versions that puts are given tell if older ones are kept: Google Cloud gives one always.
    pub fn tells_versions(&self) -> bool {
        !self.is_local() && !self.0.place.starts_with("gs://")
    }
}
