//! Keeps the page up to date while a recorder runs: at its start, after each publication and deletion, and at its end.

use super::{Catalogue, Error};
use crate::memory;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The page is made at most this often.
const AT_MOST_EVERY: Duration = Duration::from_secs(30);
/// How long after a failure it is tried again, at first and at most.
const AGAIN: Duration = Duration::from_secs(30);
const AGAIN_MAX: Duration = Duration::from_secs(3600);
/// How long the last time may take, when the recorder is about to end.
const LAST: Duration = Duration::from_secs(5);

/// Runs until `stop`. `commits` changes when the bucket has.
pub async fn keep(mut catalogue: Catalogue, mut commits: watch::Receiver<u64>, stop: CancellationToken) {
    let (mut failures, mut listed) = (0, None);
    loop {
        let (began, seen) = (Instant::now(), *commits.borrow_and_update());
        let Some(done) = stop.run_until_cancelled(update(&mut catalogue, failures)).await else { break };
        (failures, listed) = if done { (0, Some(seen)) } else { (failures + 1, listed) };
        // The larger the bucket, the more of it that took.
        tokio::task::spawn_blocking(memory::give_back).await.ok();
        let retry = (!done).then(|| AGAIN.saturating_mul(1 << failures.min(8)).min(AGAIN_MAX));
        if stop.run_until_cancelled(wait(&mut commits, began, retry)).await.is_none() {
            break;
        }
    }
    // A bucket that fails is left to the next start.
    let is_behind = failures == 0 && listed != Some(*commits.borrow());
    if is_behind && tokio::time::timeout(LAST, update(&mut catalogue, 0)).await.is_err() {
        tracing::warn!("the list of recordings is not up to date; it will be at the next start");
    }
}

/// Waits for the next time: until `retry` is over if it failed, else until there is something new, and not too soon.
async fn wait(commits: &mut watch::Receiver<u64>, began: Instant, retry: Option<Duration>) {
    if let Some(delay) = retry {
        return tokio::time::sleep(delay).await;
    }
    if commits.changed().await.is_err() {
        // Nothing will be published any more.
        std::future::pending::<()>().await;
    }
    tokio::time::sleep_until(began + AT_MOST_EVERY).await;
}

/// Whether it worked.
async fn update(catalogue: &mut Catalogue, failures: u32) -> bool {
    match catalogue.rebuild().await {
        Ok(outcome) => {
            tracing::debug!(?outcome, "listed the recordings");
            true
        }
        // Not by itself; looking at it from time to time is enough.
        Err(err @ Error::Foreign { .. }) => {
            if failures == 0 {
                tracing::warn!(err = %err, "the recordings are not listed");
            }
            false
        }
        Err(err) => {
            if failures == 0 {
                tracing::warn!(err = %err, "the recordings could not be listed in index.html; nothing is lost, it is tried again");
            }
            false
        }
    }
}
