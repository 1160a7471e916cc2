//! Consent withdrawn: everything of a recording goes, in the spool and in the bucket.

use super::Shared;
use super::spool::{Done, Folder};
use crate::clock;
use crate::media::Timestamp;
use crate::output::{self, Manifest, Object};
use std::sync::Arc;
use tracing::Instrument;

const BECAUSE: &str = "Consent was withdrawn (stop reason 8).";

/// Deletes a recording whose `manifest` is known, and marks it as over.
pub(super) async fn run(shared: &Shared, spool: &Folder, place: &output::Folder, manifest: Manifest, done: Done) {
    let media = spool.clone();
    if let Ok(Err(err)) = tokio::task::spawn_blocking(move || media.delete_media()).await {
        tracing::error!(err = %err, "withdrawn media could not be deleted from the spool; it is tried again at the next start");
    }
    let manifest = manifest.into_deleted(Timestamp(clock::unix_ms()), BECAUSE);
    if let Err(err) = shared.uploader.withdraw(place, &manifest, &|_| {}, &shared.cancel).await {
        tracing::error!(err = %err, "withdrawn media could not be deleted from the bucket; it is tried again at the next start");
        return;
    }
    let over = spool.clone();
    match tokio::task::spawn_blocking(move || over.finish(&done)).await {
        Ok(Ok(())) => tracing::info!(folder = place.as_str(), "deleted, as consent was withdrawn"),
        Ok(Err(err)) => {
            tracing::error!(err = %err, "deleted; the spool could not be tidied, which is tried again at the next start")
        }
        Err(err) => tracing::error!(err = %err, "deleted; tidying the spool panicked"),
    }
}

/// Deletes a recording that was over before, in a task of its own.
pub(super) fn published(shared: Arc<Shared>, spool: Folder, done: Done) {
    let tasks = shared.tasks.clone();
    let span = tracing::info_span!("recording", id = %spool.id());
    let work = async move {
        let Some(Ok(place)) = done.folder.clone().map(output::Folder::try_from) else {
            tracing::error!("done.json names no folder; delete the recording from the bucket by hand");
            return;
        };
        let find = async {
            let mut delay = std::time::Duration::from_secs(1);
            loop {
                match shared.uploader.store().get(&place.key(&Object::Manifest)).await {
                    Ok(json) => break Manifest::from_json(&json).ok(),
                    Err(err) if err.is_not_found() => break None,
                    Err(err) => {
                        tracing::warn!(err = %err, "reading the manifest of a withdrawn recording failed; trying again")
                    }
                }
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(std::time::Duration::from_secs(60));
            }
        };
        match shared.cancel.run_until_cancelled(find).await {
            Some(Some(manifest)) => run(&shared, &spool, &place, manifest, done).await,
            Some(None) => tracing::error!(folder = place.as_str(), "there is no manifest; delete the folder by hand"),
            None => {}
        }
    };
    tasks.spawn(work.instrument(span));
}
