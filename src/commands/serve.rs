//! `serve`: takes webhooks and records until it is told to stop.

use super::{Parts, Signals, leave};
use crate::env;
use anyhow::Context;
use rtms_recorder::config::{Config, Shutdown};
use rtms_recorder::dial::Dialer;
use rtms_recorder::events::{Receiver, server, socket};
use rtms_recorder::ffmpeg::Ffmpeg;
use rtms_recorder::recorder::Unfinished;
use rtms_recorder::store::Store;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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
        storage = store.describe(), spool = %spool_dir.display(), version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    if config.allow_unsigned {
        tracing::warn!(
            "ZOOM_ALLOW_UNSIGNED is set: anyone who reaches the webhook can start recordings; for tests only"
        );
    }
    tokio::spawn(look_around(ffmpeg, store));

    let settings = server::Settings {
        webhook_path: config.webhook_path,
        apps: config.apps,
        allow_unsigned: config.allow_unsigned,
    };
    let (receiver, event_socket) = match config.events {
        Some(events) => {
            let webhooks = settings.apps.iter().any(|(_, app)| app.secret_token.is_some());
            let alone = !webhooks && !settings.allow_unsigned;
            let (door, receiver) = socket::Door::new(events, Dialer::new()?, Arc::new(recorder.clone()), alone)?;
            let stop = CancellationToken::new();
            let task = tokio::spawn(door.run(stop.clone()));
            (receiver, Some((stop, task)))
        }
        None => (Arc::new(recorder.clone()) as Arc<dyn Receiver>, None),
    };
    // It answers to the end: that no new stream is taken, and to a stop event as ever.
    let served = tokio::spawn(server::run(listener, settings, receiver, std::future::pending()));
    stop.next().await;
    if let Some((stop, _)) = &event_socket {
        // Given up at once: a next start is to have the subscription for itself.
        stop.cancel();
    }
    match config.shutdown {
        Shutdown::Handover => tracing::info!("shutting down: streams that run are handed over to the next start"),
        Shutdown::Finish => tracing::info!("shutting down: streams that run end here, and what is there is published"),
    }
    tokio::select! {
        () = async {
            recorder.shut_down(config.shutdown, config.shutdown_grace).await;
            if let Some((_, task)) = event_socket {
                // What it had taken is with the recorder, or cannot be taken any more.
                task.abort();
            }
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

/// Says at once what would be in the way later; nothing waits for it.
async fn look_around(ffmpeg: Ffmpeg, store: Store) {
    match ffmpeg.check().await {
        Ok(version) => tracing::info!(version, "found ffmpeg"),
        Err(err) => tracing::error!(err = %err, "meetings are captured, but no files are made until ffmpeg works"),
    }
    if let Err(err) = store.probe().await {
        tracing::error!(err = %err, "the bucket does not answer as it should; meetings are recorded and wait in the spool");
    }
}
