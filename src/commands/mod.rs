//! The commands, a module each, and what they share.

pub(crate) mod check;
pub(crate) mod help;
pub(crate) mod index;
pub(crate) mod link;
pub(crate) mod recover;
pub(crate) mod render;
pub(crate) mod rtms;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod verify;

use anyhow::Context;
use rtms_recorder::catalogue::{self, Catalogue};
use rtms_recorder::config::{Config, Mistakes};
use rtms_recorder::dial::Dialer;
use rtms_recorder::ffmpeg::{self, Ffmpeg};
use rtms_recorder::recorder::spool::{self, Spool};
use rtms_recorder::recorder::{self, Recorder, Unfinished};
use rtms_recorder::store::{self, Store, Uploader, uploader};
use rtms_recorder::telemetry;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Exit status for what did not work.
const EXIT_FAILURE: u8 = 1;
/// Exit status for wrong settings (EX_USAGE of sysexits.h).
pub(crate) const EXIT_USAGE: u8 = 64;
/// Exit status for a spool that is in use, and for a Zoom that has trouble (EX_TEMPFAIL).
const EXIT_LATER: u8 = 75;

/// An error with an exit status of its own.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Failure {
    status: u8,
    text: String,
}

impl Failure {
    fn new(status: u8, err: impl Into<anyhow::Error>) -> Self {
        Self { status, text: with_sources(err) }
    }
}

fn with_sources(err: impl Into<anyhow::Error>) -> String {
    format!("{:#}", err.into())
}

/// What the user has to correct first.
fn wrong_settings(err: impl Into<anyhow::Error>) -> anyhow::Error {
    Failure::new(EXIT_USAGE, err).into()
}

/// Why the store cannot be opened.
fn wrong_storage(err: store::Error) -> anyhow::Error {
    let err = with_sources(err);
    wrong_settings(anyhow::anyhow!("STORAGE_URL {err}"))
}

/// What the process ends with after an error.
pub(crate) fn exit_status(err: &anyhow::Error) -> ExitCode {
    ExitCode::from(err.downcast_ref::<Failure>().map_or(EXIT_FAILURE, |failure| failure.status))
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What a recorder is made of, opened.
struct Parts {
    config: Config,
    store: Store,
    spool: Spool,
    spool_dir: PathBuf,
    ffmpeg: Ffmpeg,
}

impl Parts {
    /// Starts logging and opens everything.
    fn open(config: Result<Config, Mistakes>) -> anyhow::Result<Self> {
        let config = config.map_err(wrong_settings)?;
        telemetry::start(config.log_format);
        let store = Store::open(&config.storage_url, &env).map_err(wrong_storage)?;
        let spool = Spool::open(&config.spool_dir).map_err(|err| match err {
            spool::Error::InUse { .. } => Failure::new(EXIT_LATER, err).into(),
            spool::Error::Io { .. } => anyhow::Error::from(err),
        })?;
        raise_open_files();
        let spool_dir = std::path::absolute(&config.spool_dir).context("finding the working directory")?;
        let ffmpeg = Ffmpeg::new(ffmpeg::Settings::default());
        Ok(Self { config, store, spool, spool_dir, ffmpeg })
    }

    /// Starts recording, first of all what is in the spool, and listing what is in the bucket.
    async fn record(self, unfinished: Unfinished) -> anyhow::Result<(Recorder, Listing)> {
        let cache = self.spool_dir.join(".catalogue.json");
        let catalogue = self
            .config
            .catalogue
            .then(|| Catalogue::new(self.store.clone(), &self.config.render.key_template, Some(cache)));
        let uploader = Uploader::new(self.store, uploader::Settings::default());
        let listing = Listing::start(catalogue, &uploader);
        let settings = recorder::Settings::new(&self.config);
        let dialer = Dialer::new()?;
        let recorder = Recorder::start(settings, self.spool, dialer, self.ffmpeg, uploader, unfinished).await?;
        Ok((recorder, listing))
    }
}

/// Keeps the page that lists all recordings up to date.
struct Listing {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Listing {
    /// Starts it, if there is to be a `catalogue`.
    fn start(catalogue: Option<Catalogue>, uploader: &Uploader) -> Self {
        let stop = CancellationToken::new();
        let task = catalogue.map(|of| tokio::spawn(catalogue::keep(of, uploader.commits(), stop.clone())));
        Self { stop, task }
    }

    /// Lists what was published last.
    async fn end(self) {
        self.stop.cancel();
        if let Some(Err(err)) = futures_util::future::OptionFuture::from(self.task).await {
            tracing::error!(err = %err, "listing the recordings panicked");
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ends the process without waiting for anything that a thread may be at.
fn leave(status: i32) -> ! {
    std::process::exit(status)
}

/// A stream holds some ten descriptors; the usual soft limit of 1024 is for 100 streams.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(err) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(err = %err, "the limit of open files could not be raised; it bounds the number of streams");
    }
}
