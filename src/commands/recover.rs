//! `recover`: finishes what is in the spool, and exits.

use super::{Parts, Signals, env, leave};
use rtms_recorder::config::{Config, Shutdown};
use rtms_recorder::recorder::Unfinished;
use std::process::ExitCode;

pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let parts = Parts::open(Config::for_recovery(&env))?;
    let (grace, spool_dir) = (parts.config.shutdown_grace, parts.spool_dir.clone());
    tracing::info!(spool = %spool_dir.display(), storage = parts.store.describe(), "finishing what is in the spool");
    let mut stop = Signals::new()?;
    let (recorder, listing) = parts.record(Unfinished::End).await?;
    let left = tokio::select! {
        left = recorder.finished() => left?,
        () = stop.next() => {
            recorder.shut_down(Shutdown::Handover, grace).await;
            tracing::warn!("told to stop; what is not finished stays in the spool");
            leave(1);
        }
    };
    listing.end().await;
    if left.is_empty() {
        tracing::info!("nothing is left in the spool");
        return Ok(ExitCode::SUCCESS);
    }
    for id in &left {
        tracing::error!(recording = %id, dir = %spool_dir.join(id).display(), "not finished; the lines above say why");
    }
    Ok(ExitCode::FAILURE)
}
