//! Consent withdrawn, or told to delete: everything of a recording goes, in the spool and in the bucket.

use super::Shared;
use super::blocking::blocking;
use super::files::Error;
use super::folder::{Deletion, Done, Folder, Published};
use super::stream::State;
use crate::advice::stop_reason;
use crate::clock;
use crate::errors::with_sources;
use crate::media::Timestamp;
use crate::output::StopReason;
use crate::store::uploader;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

const BECAUSE: &str = "Consent was withdrawn (stop reason 8).";
const AS_TOLD: &str = "It was deleted on the recorder's status page or by its API.";

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Deletes a recording, however often it takes, and marks it as over: no start event up to `until_ts` starts it again. What the
/// bucket's own manifest says is not needed for that, nor whether there is one.
pub(super) async fn run(shared: &Shared, spool: &Folder, was: Published, until_ts: i64) {
    while let Err(err) = attempt(shared, spool, was.clone(), until_ts).await {
        if shared.cancel.is_cancelled() {
            tracing::info!(err = format!("{err:#}"), "deleting goes on at the next start");
            return;
        }
        let delay_ms = AGAIN.as_millis() as u64;
        tracing::error!(err = format!("{err:#}"), delay_ms, "a recording could not be deleted; it is tried again");
        let waited = async {
            match shared.board.entry(spool.id()) {
                Some(entry) => {
                    let next = format!("It is tried again after {} s.", AGAIN.as_secs());
                    entry.fails_for_now(format!("Deleting failed: {err:#}"), next, AGAIN).await;
                }
                None => tokio::time::sleep(AGAIN).await,
            }
        };
        shared.cancel.run_until_cancelled(waited).await;
    }
}

async fn attempt(shared: &Shared, spool: &Folder, was: Published, until_ts: i64) -> anyhow::Result<()> {
    let (folder, place) = (spool.clone(), was.clone());
    let (why, until_ts, deleted) = blocking(move || {
        let until_ts = folder.done().ok().flatten().map_or(until_ts, |done| done.until_ts.max(until_ts));
        let deleted = folder.delete_media(&Done::of(folder.id(), place, until_ts));
        Ok::<_, Error>((folder.deletion(), until_ts, deleted))
    })
    .await?;
    if let Err(err) = deleted {
        tracing::error!(
            err = with_sources(&err),
            "not all media could be deleted from the spool; the bucket comes first"
        );
    }
    let because = if why == Deletion::Operator { AS_TOLD } else { BECAUSE };
    let mut manifest = was.manifest.into_deleted(Timestamp(clock::unix_ms()), because);
    if let Deletion::Consent(source) = why {
        manifest.stop_reason = Some(StopReason::new(Some(stop_reason::REVOKED), source));
    }
    let entry = shared.board.entry(spool.id());
    let on_progress = |progress: uploader::Progress<'_>| entry.iter().for_each(|entry| entry.uploading(&progress));
    shared.uploader.withdraw(&was.folder, &manifest, &on_progress, &shared.cancel).await?;
    let over = Published { folder: was.folder, manifest: Box::new(manifest) };
    let done = Done::of(spool.id(), over.clone(), until_ts);
    shared.over(spool, done, State::Withdrawn, Folder::finish_deletion).await?;
    match why {
        Deletion::Consent(_) => tracing::info!(folder = over.folder.as_str(), "deleted, as consent was withdrawn"),
        Deletion::Operator => tracing::info!(folder = over.folder.as_str(), "deleted, as told"),
    }
    shared.board.deleted(spool.id(), &over);
    Ok(())
}

/// Deletes a recording that was over before, in a task of its own.
pub(super) fn published(shared: Arc<Shared>, spool: Folder, was: Published, until_ts: i64) {
    let tasks = shared.tasks.clone();
    let span = tracing::info_span!("recording", id = %spool.id());
    tasks.spawn(async move { run(&shared, &spool, was, until_ts).await }.instrument(span));
}
