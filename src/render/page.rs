//! The page of a recording, from the files that were made.

use super::Error;
use crate::output::page::{self, File, Sources};
use crate::output::{Manifest, Object};
use crate::store::uploader::PlannedFile;
use std::path::Path;

/// Writes `index.html` into `out`, about `files`.
pub(super) async fn write(out: &Path, manifest: &Manifest, files: &[PlannedFile]) -> Result<PlannedFile, Error> {
    let mut listed = Vec::new();
    for file in files {
        let meta = tokio::fs::metadata(&file.path).await.map_err(Error::io("examining", &file.path))?;
        listed.push(File::beside(file.object.name(), Some(meta.len()), file.duration_ms));
    }
    // It is written after the page, and says nothing of its own size.
    listed.push(File::beside(Object::Manifest.name(), None, None));
    let [timeline, transcript, chat] = [Object::Timeline, Object::TranscriptJson, Object::ChatJson]
        .map(|object| files.iter().find(|file| file.object == object).map(|file| file.path.as_path()));
    let (timeline, transcript, chat) = (read(timeline).await?, read(transcript).await?, read(chat).await?);
    let sources = Sources {
        manifest,
        files: &listed,
        timeline: timeline.as_deref(),
        transcript: transcript.as_deref(),
        chat: chat.as_deref(),
        signed: None,
    };
    let page = page::compose(&sources).map_err(|source| Error::write("index.html", source.into()))?;
    let path = out.join(Object::Index.name());
    tokio::fs::write(&path, page).await.map_err(Error::io("writing", &path))?;
    Ok(PlannedFile { object: Object::Index, path, duration_ms: None, codec: None })
}

async fn read(path: Option<&Path>) -> Result<Option<Vec<u8>>, Error> {
    match path {
        Some(path) => tokio::fs::read(path).await.map(Some).map_err(Error::io("reading", path)),
        None => Ok(None),
    }
}
