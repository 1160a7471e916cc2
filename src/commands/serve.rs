//! `serve`: takes webhooks and records until it is told to stop.

use super::{Parts, Signals, leave};
use crate::env;
use anyhow::Context;
use rtms_recorder::check::{self, Outcome};
use rtms_recorder::config::{Config, Shutdown};
use rtms_recorder::events::server;
use rtms_recorder::ffmpeg::Ffmpeg;
use rtms_recorder::recorder::Unfinished;
use rtms_recorder::store::Store;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;

pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let parts = match Parts::open(Config::from_env(&env))? {
        Ok(parts) => parts,
        Err(status) => return Ok(status),
    };
    let config = parts.config.clone();
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listening on {} (HOST, PORT)", config.listen))?;
    let (store, ffmpeg, spool_dir) = (parts.store.clone(), parts.ffmpeg.clone(), parts.spool_dir.clone());
    let mut stop = Signals::new()?;
    let (recorder, listing) = parts.record(Unfinished::Join).await?;
    tracing::info!(
        webhook = format!("http://{}{}", listener.local_addr()?, config.webhook_path),
        storage = store.describe(), spool = %spool_dir.display(), version = rtms_recorder::VERSION,
        "ready"
    );
    if config.allow_unsigned {
        tracing::warn!(
            "ZOOM_ALLOW_UNSIGNED is set: anyone who reaches the webhook can start recordings; for tests only"
        );
    }
    tokio::spawn(look_around(config.clone(), ffmpeg, store));

    let settings = server::Settings {
        webhook_path: config.webhook_path,
        apps: config.apps,
        allow_unsigned: config.allow_unsigned,
    };
    // It answers to the end: that no new stream is taken, and to a stop event as ever.
    let served = tokio::spawn(server::run(listener, settings, Arc::new(recorder.clone()), std::future::pending()));
    stop.next().await;
    match config.shutdown {
        Shutdown::Handover => tracing::info!("shutting down: streams that run are handed over to the next start"),
        Shutdown::Finish => tracing::info!("shutting down: streams that run end here, and what is there is published"),
    }
    tokio::select! {
        () = async {
            recorder.shut_down(config.shutdown, config.shutdown_grace).await;
            listing.end().await;
        } => {}
        () = stop.next() => {
            tracing::warn!("second signal: leaving at once");
            leave(1);
        }
    }
    served.abort();
    leave(0)
}

/// Says at once what would be in the way later, as `check` does; nothing waits for it.
async fn look_around(config: Config, ffmpeg: Ffmpeg, store: Store) {
    let room = check::spool::room(&config.spool_dir, config.spool_min_free, None);
    for finding in [room, check::machine::open_files(None)] {
        if finding.outcome != Outcome::Ok {
            tracing::warn!(err = %finding, "this machine is not ready for every meeting; `rtms-recorder check` says more");
        }
    }
    match check::machine::ffmpeg(&ffmpeg).await.into_result() {
        Ok(version) => tracing::info!(version, "found ffmpeg"),
        Err(err) => tracing::error!(err, "meetings are captured, but no files are made until ffmpeg works"),
    }
    if let Err(err) = check::bucket::answers(&store).await.into_result() {
        tracing::error!(err, "the bucket does not answer as it should; meetings are recorded and wait in the spool");
    }
}
