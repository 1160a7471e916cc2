//! `serve`: takes webhooks and records until it is told to stop.

use super::{Parts, Signals, env, leave};
use anyhow::Context;
use rtms_recorder::admin;
use rtms_recorder::check::{Outcome, bucket, machine, spool};
use rtms_recorder::config::{Config, Shutdown};
use rtms_recorder::dial::Dialer;
use rtms_recorder::events::{Receiver, server, socket};
use rtms_recorder::ffmpeg::{self, Ffmpeg};
use rtms_recorder::memory;
use rtms_recorder::recorder::{Recorder, Unfinished};
use rtms_recorder::store::Store;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let parts = Parts::open(Config::from_env(&env))?;
    let config = parts.config.clone();
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listening on {} (HOST, PORT)", config.listen))?;
    let admin_listener = match &config.admin {
        Some(admin) => Some((bind_admin(admin.listen).await?, admin.clone())),
        None => None,
    };
    let (store, ffmpeg, spool_dir) = (parts.store.clone(), parts.ffmpeg.clone(), parts.spool_dir.clone());
    let mut stop = Signals::new()?;
    let (recorder, listing) = parts.record(Unfinished::Join).await?;
    let served_admin = match admin_listener {
        Some((listener, admin)) => {
            tracing::info!(address = format!("http://{}/", listener.local_addr()?), "status page");
            Some(tokio::spawn(admin::run(listener, admin, recorder.clone())))
        }
        None => None,
    };
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
    look_at_machine(&config);
    tokio::spawn(look_around(recorder.clone(), ffmpeg, store));
    tokio::spawn(give_memory_back(recorder.clone()));

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
    let close = CancellationToken::new();
    let mut served = tokio::spawn(server::run(listener, settings, receiver, close.clone().cancelled_owned()));
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
    close.cancel();
    if tokio::time::timeout(LAST_ANSWERS, &mut served).await.is_err() {
        served.abort();
        // What it has left to say.
        served.await.ok();
    }
    served_admin.inspect(JoinHandle::abort);
    leave(0)
}

async fn bind_admin(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "listening on {address} (ADMIN_ADDR: status page and metrics); another recorder on this machine may have it: set \
             ADMIN_ADDR to another address, or to off"
        )
    })
}

/// How long webhooks under way may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// How often memory that is not used goes back to the system while there is work; and how long after it is done, so that
/// what did it is gone: idle threads end after 10 s.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(60);
const LETTING_GO: Duration = Duration::from_secs(12);

async fn give_memory_back(recorder: Recorder) {
    loop {
        tokio::time::timeout(GIVE_BACK_EVERY - LETTING_GO, recorder.at_rest()).await.ok();
        tokio::time::sleep(LETTING_GO).await;
        // On a thread that may block: it looks through all of it.
        tokio::task::spawn_blocking(memory::give_back).await.ok();
    }
}

/// How often ffmpeg and the bucket are looked at: while they work, and while they do not or an ffmpeg failed.
const LOOK_EVERY: Duration = Duration::from_secs(300);
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Says what this machine is short of, as `check` does.
fn look_at_machine(config: &Config) {
    let room = spool::room(&config.spool_dir, config.spool_min_free, None);
    for finding in [room, machine::open_files(None)] {
        if finding.outcome != Outcome::Ok {
            tracing::warn!(err = %finding, "this machine is not ready for every meeting; `rtms-recorder check` says more");
        }
    }
}

/// Says at once what would be in the way later, as `check` does, and whenever that changes; nothing waits for it.
async fn look_around(recorder: Recorder, ffmpeg: Ffmpeg, store: Store) {
    let (mut ffmpeg_worked, mut bucket_worked) = (None, None);
    loop {
        let found = ffmpeg.check().await;
        let is_slow = matches!(found, Err(ffmpeg::Error::TimedOut { .. }));
        let found = found.or_else(|err| machine::judge(&ffmpeg, Err(err)).into_result());
        if ffmpeg_worked != Some(found.is_ok()) {
            match &found {
                Ok(version) => tracing::info!(version, "found ffmpeg"),
                Err(err) => {
                    tracing::error!(err, "meetings are captured, but no files are made until ffmpeg works");
                }
            }
        }
        let probed = bucket::answers(&store).await.into_result().map(drop);
        if bucket_worked != Some(probed.is_ok()) {
            match &probed {
                Ok(()) if bucket_worked.is_some() => tracing::info!("the bucket answers again"),
                Ok(()) => {}
                Err(err) => tracing::error!(
                    err,
                    "the bucket does not answer as it should; meetings are recorded and wait in the spool"
                ),
            }
        }
        (ffmpeg_worked, bucket_worked) = (Some(found.is_ok()), Some(probed.is_ok()));
        // One that is slow works: whoever is that busy is not to be told to send its streams elsewhere, too.
        if !is_slow {
            recorder.note_ffmpeg(found);
        }
        recorder.note_bucket(probed);
        let all_works = ffmpeg_worked == bucket_worked && ffmpeg_worked == Some(true);
        tokio::time::sleep(LOOK_AGAIN).await;
        if all_works {
            tokio::time::timeout(LOOK_EVERY - LOOK_AGAIN, recorder.ffmpeg_failed()).await.ok();
        }
    }
}
