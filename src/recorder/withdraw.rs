//! Consent withdrawn: everything of a recording goes, in the spool and in the bucket.

use super::spool::{Done, Folder};
use super::{Published, Shared};
use crate::clock;
use crate::media::Timestamp;
use crate::output::{StopReason, StopSource};
use std::sync::Arc;
use tracing::Instrument;

const BECAUSE: &str = "Consent was withdrawn (stop reason 8).";
const REVOKED: i64 = 8;

/// Deletes a recording, and marks it as over. What the bucket's own manifest says is not needed for that, nor whether there
/// is one.
pub(super) async fn run(shared: &Shared, spool: &Folder, published: &Published, done: Done) {
    let media = spool.clone();
    if let Ok(Err(err)) = tokio::task::spawn_blocking(move || media.delete_media()).await {
        tracing::error!(err = %err, "withdrawn media could not be deleted from the spool; it is tried again at the next start");
    }
    let mut manifest = published.manifest.clone().into_deleted(Timestamp(clock::unix_ms()), BECAUSE);
    manifest.stop_reason = Some(StopReason::new(Some(REVOKED), StopSource::Event));
    let folder = &published.folder;
    if let Err(err) = shared.uploader.withdraw(folder, &manifest, &|_| {}, &shared.cancel).await {
        tracing::error!(err = %err, "withdrawn media could not be deleted from the bucket; it is tried again at the next start");
        return;
    }
    let over = spool.clone();
    match tokio::task::spawn_blocking(move || over.finish(&done)).await {
        Ok(Ok(())) => tracing::info!(folder = folder.as_str(), "deleted, as consent was withdrawn"),
        Ok(Err(err)) => {
            tracing::error!(err = %err, "deleted; the spool could not be tidied, which is tried again at the next start")
        }
        Err(err) => tracing::error!(err = %err, "deleted; tidying the spool panicked"),
    }
}

/// Deletes a recording that was over before, in a task of its own.
pub(super) fn published(shared: Arc<Shared>, spool: Folder, published: Published, done: Done) {
    let tasks = shared.tasks.clone();
    let span = tracing::info_span!("recording", id = %spool.id());
    tasks.spawn(async move { run(&shared, &spool, &published, done).await }.instrument(span));
}
