//! The page of a recording, from the files that were made.

use super::Error;
use crate::output::page::{self, File, Sources};
use crate::output::{Folder, Manifest, Object};
use crate::store::uploader::{PlannedFile, PublishPlan};
use std::path::Path;

/// Writes the page of a finished recording anew, since its manifest says more by now than when it was rendered. The same plan
/// gives the same bytes.
///
/// # Errors
/// If a file of the plan cannot be read, or the page not be written.
pub async fn update(plan: &PublishPlan) -> Result<(), Error> {
    let index = plan.files.iter().find(|file| file.object == Object::Index);
    let Some(out) = index.and_then(|index| index.path.parent()) else { return Ok(()) };
    write(out, &plan.folder, &plan.manifest, &plan.files).await.map(drop)
}

/// Writes `index.html` into `out`, about `files`.
pub(super) async fn write(
    out: &Path,
    folder: &Folder,
    manifest: &Manifest,
    files: &[PlannedFile],
) -> Result<PlannedFile, Error> {
    let mut listed = Vec::new();
    for file in files.iter().filter(|file| file.object != Object::Index) {
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
        root: Some(&page::root(folder)),
        signed: None,
    };
    let page = page::compose(&sources).map_err(|source| Error::write("index.html", source.into()))?;
    let path = out.join(Object::Index.name());
    let staged = out.join("index.html.new");
    tokio::fs::write(&staged, page).await.map_err(Error::io("writing", &staged))?;
    tokio::fs::rename(&staged, &path).await.map_err(Error::io("renaming", &staged))?;
    Ok(PlannedFile { object: Object::Index, path, duration_ms: None, codec: None })
}

async fn read(path: Option<&Path>) -> Result<Option<Vec<u8>>, Error> {
    match path {
        Some(path) => tokio::fs::read(path).await.map(Some).map_err(Error::io("reading", path)),
        None => Ok(None),
    }
}
