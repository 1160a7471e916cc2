//! Consent withdrawn, or told to delete: everything of a recording goes, in the spool and in the bucket.

use super::blocking::blocking;
use super::folder::{Deletion, Done, Folder};
use super::stream::State;
use super::{Published, Shared};
use crate::advice::stop_reason;
use crate::clock;
use crate::media::Timestamp;
use crate::output::{StopReason, StopSource};
use crate::store::uploader;
use std::sync::Arc;
use tracing::Instrument;

const BECAUSE: &str = "Consent was withdrawn (stop reason 8).";
const AS_TOLD: &str = "It was deleted on the recorder's status page or by its API.";

/// Deletes a recording, and marks it as over: no start event up to `until_ts` starts it again. What the bucket's own manifest
/// says is not needed for that, nor whether there is one.
pub(super) async fn run(shared: &Shared, spool: &Folder, was: Published, until_ts: i64) {
    let media = spool.clone();
    if let Err(err) = blocking(move || media.delete_media()).await {
        tracing::error!(err = %err, "withdrawn media could not be deleted from the spool; it is tried again at the next start");
    }
    let marked = spool.clone();
    let why = tokio::task::spawn_blocking(move || marked.deletion()).await;
    let why = why.unwrap_or(Deletion::Consent(StopSource::Event));
    let because = if why == Deletion::Operator { AS_TOLD } else { BECAUSE };
    let mut manifest = was.manifest.into_deleted(Timestamp(clock::unix_ms()), because);
    if let Deletion::Consent(source) = why {
        manifest.stop_reason = Some(StopReason::new(Some(stop_reason::REVOKED), source));
    }
    let entry = shared.board.entry(spool.id());
    let on_progress = |progress: uploader::Progress<'_>| entry.iter().for_each(|entry| entry.uploading(&progress));
    if let Err(err) = shared.uploader.withdraw(&was.folder, &manifest, &on_progress, &shared.cancel).await {
        tracing::error!(err = %err, "withdrawn media could not be deleted from the bucket; it is tried again at the next start");
        return;
    }
    let over = Published { folder: was.folder, manifest: Box::new(manifest) };
    let done = Done::of(spool.id(), over.clone(), until_ts);
    let tidied = spool.clone();
    if let Err(err) = blocking(move || tidied.finish_deletion(&done)).await {
        tracing::error!(err = %err, "deleted; the spool could not be tidied, which is tried again at the next start");
        return;
    }
    match why {
        Deletion::Consent(_) => tracing::info!(folder = over.folder.as_str(), "deleted, as consent was withdrawn"),
        Deletion::Operator => tracing::info!(folder = over.folder.as_str(), "deleted, as told"),
    }
    shared.note_over(spool.id(), &over.manifest.stream_id, State::Withdrawn).await;
    shared.board.deleted(spool.id(), over);
}

/// Deletes a recording that was over before, in a task of its own.
pub(super) fn published(shared: Arc<Shared>, spool: Folder, was: Published, until_ts: i64) {
    let tasks = shared.tasks.clone();
    let span = tracing::info_span!("recording", id = %spool.id());
    tasks.spawn(async move { run(&shared, &spool, was, until_ts).await }.instrument(span));
}
