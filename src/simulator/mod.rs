//! A stand-in for Zoom: signs and posts the webhooks, plays all the sockets, and streams a scripted meeting.
//!
//! It is part of the product because RTMS is hard to get access to, and it is what the tests measure against: it
//! keeps to the protocol more strictly than Zoom may, and at the end it says exactly what it sent ([`Summary`]).
//!
//! ```text
//!  run ──► driver, one per meeting: webhooks, script, reconnect windows ──► webhooks (reqwest)
//!   │         │ asks
//!   │      meeting: what the sockets of one stream share
//!   │         ▲ report
//!   └─► server: one listener ─► signaling, media: one task per socket
//!                                            │ draws from
//!                                   feed ──► material (pictures by ffmpeg, once), sound (on the spot), replay
//! ```
//!
//! Media time is the stream's start plus what the clock counts, times `speed`; every timestamp that is sent is media
//! time, so it owes nothing to how late a timer fired. What has no connection when it is due is kept (sound, for
//! 60 s) or counted as not delivered (everything else).

mod args;
mod clock;
mod connections;
mod driver;
mod end;
mod feed;
mod frames;
mod material;
mod media;
mod meeting;
mod mock;
mod params;
mod products;
mod progress;
mod replay;
mod rest;
mod script;
mod server;
mod signaling;
mod socket;
mod sound;
mod state;
mod summary;
mod text;
mod webhooks;

pub use args::{Args, command};
pub use products::IdKey;
pub use progress::Progress;
pub use rest::Rest;
pub use script::{Cut, Script, Size, Span, Target};
pub use summary::{Line, Loss, MediumSummary, MeetingSummary, RestCall, Summary, WebhookAnswer};

use crate::ids::Product;
use crate::protocol::message::Medium;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The app that is simulated: what both sides sign with.
#[derive(Clone)]
pub struct Credentials {
    /// The app's client id, or SDK key.
    pub client_id: String,
    /// The app's client secret, or SDK secret: signs handshakes.
    pub client_secret: String,
    /// The app's Secret Token: signs webhooks.
    pub secret_token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// In which frames JSON is sent. Zoom uses both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Binary {
    /// Text and binary frames in turn.
    #[default]
    Mixed,
    /// Binary frames only.
    Always,
    /// Text frames only.
    Never,
}

/// What becomes of a second connection for the same thing. Zoom has been seen to do both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Duplicates {
    /// It is refused with status 8 or 16.
    #[default]
    Refuse,
    /// It is accepted and the older one is closed.
    Kick,
}

/// How and when webhooks are sent.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// Where to, for example `http://127.0.0.1:3000/webhook`.
    pub to: String,
    /// Put the ids into `payload.object`.
    pub nested: bool,
    /// Use the other names of the events that are in circulation.
    pub other_names: bool,
    /// Ask `endpoint.url_validation` first and check the answer.
    pub validate: bool,
    /// How long after the fact each is posted.
    pub delay: Duration,
    /// How many more times the started event is delivered, all at once.
    pub duplicates: usize,
    /// Deliver the started event once more after the stopped one, as a late retry does.
    pub late_start: bool,
    /// Deliver the stopped event before the started one.
    pub stop_before_start: bool,
    /// The first retry comes after this long, the second after 4 times and the third after 12 times this long
    /// (Zoom: 5, 20 and 60 min).
    pub retry_after: Duration,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            to: "http://127.0.0.1:3000/webhook".into(),
            nested: false,
            other_names: false,
            validate: false,
            delay: Duration::ZERO,
            duplicates: 0,
            late_start: false,
            stop_before_start: false,
            retry_after: Duration::from_secs(1),
        }
    }
}

/// Deviations that a recorder has to put up with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quirks {
    /// Keep-alive requests carry no `timestamp`.
    pub keepalive_without_timestamp: bool,
    /// Numbers other than `msg_type` are sent as strings.
    pub numbers_as_strings: bool,
    /// Messages of unknown type in between.
    pub unknown_messages: bool,
    /// Frames that are not JSON in between.
    pub garbage: bool,
    /// `/` is written as `\/`, also in base64.
    pub escaped_slashes: bool,
    /// JSON is spread over lines.
    pub pretty: bool,
    /// SPS and PPS come with the first key frame of a connection only (and after a change of size).
    pub headers_once: bool,
    /// Pictures start wherever the encoder happens to be, not at a key frame.
    pub mid_gop: bool,
    /// The sampling clock is this many millionths faster than the timestamps' clock.
    pub clock_ppm: f64,
    /// Timestamps of sound and pictures are off by up to this much either way.
    pub jitter_ms: i64,
}

/// Everything about a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The app.
    pub credentials: Credentials,
    /// The webhooks.
    pub webhooks: Webhooks,
    /// Where the sockets listen; port 0 takes any.
    pub listen: SocketAddr,
    /// What the webhooks give as the server's address instead of `ws://<listen>`, for use behind a TLS proxy.
    pub advertise: Option<String>,
    /// The kind of session.
    pub product: Product,
    /// Under which key handshakes have to give the id.
    pub id_key: IdKey,
    /// Behave as the test server that Zoom published in 2025.
    pub mock: bool,
    /// How much media; a replayed journal has its own length, which this can only cut short.
    pub length: Option<Duration>,
    /// How many times faster than real time.
    pub speed: f64,
    /// How many meetings.
    pub meetings: usize,
    /// How far apart they start.
    pub stagger: Duration,
    /// What the app has scopes for.
    pub media: Vec<Medium>,
    /// Size of the camera pictures; the recorder may ask for less.
    pub size: Size,
    /// Pictures per second; the recorder may ask for fewer.
    pub fps: u32,
    /// Bit rate of the camera pictures.
    pub kbit_per_s: u32,
    /// Replay this journal instead of generated media.
    pub journal: Option<PathBuf>,
    /// What happens.
    pub script: Script,
    /// The reason given at the end.
    pub stop_reason: i64,
    /// The REST side, if there is to be one.
    pub rest: Option<Rest>,
    /// What becomes of second connections.
    pub duplicates: Duplicates,
    /// In which frames JSON is sent.
    pub binary: Binary,
    /// Pause after which a keep-alive is sent; not scaled by `speed`.
    pub keepalive: Duration,
    /// Send keep-alives at that interval on busy sockets too.
    pub keepalive_always: bool,
    /// How long a lost socket is waited for; by default 60 s for signaling and 65 s for media, divided by `speed`.
    pub reconnect_window: Option<Duration>,
    /// Deviations.
    pub quirks: Quirks,
}

/// The length of a generated meeting that is not told how long to be.
pub const DEFAULT_LENGTH: Duration = Duration::from_secs(30);

impl Settings {
    /// A plain meeting of 30 s for this app, posted at `to`.
    pub fn new(credentials: Credentials, to: impl Into<String>) -> Self {
        Self {
            credentials,
            webhooks: Webhooks { to: to.into(), ..Webhooks::default() },
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            product: Product::Meeting,
            id_key: IdKey::default(),
            mock: false,
            length: None,
            speed: 1.0,
            meetings: 1,
            stagger: Duration::ZERO,
            media: Medium::ALL.to_vec(),
            size: Size { width: 1280, height: 720 },
            fps: 25,
            kbit_per_s: 1500,
            journal: None,
            script: Script::default(),
            stop_reason: 6,
            rest: None,
            duplicates: Duplicates::default(),
            binary: Binary::default(),
            keepalive: Duration::from_secs(10),
            keepalive_always: false,
            reconnect_window: None,
            quirks: Quirks::default(),
        }
    }
}

/// Why a run could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting makes no sense.
    #[error("{0}")]
    Settings(String),
    /// The sockets' address is not to be had.
    #[error("listening at {addr} failed; choose another with --listen")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// ffmpeg could not be started.
    #[error("starting ffmpeg failed; the simulator needs it to make its pictures: apt-get install ffmpeg")]
    FfmpegMissing(#[source] std::io::Error),
    /// ffmpeg made no pictures.
    #[error("ffmpeg made no pictures ({status}): {stderr}")]
    Ffmpeg {
        /// How it exited.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// The journal cannot be read.
    #[error("reading the journal {} failed: {what}", path.display())]
    Journal {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The recorder did not take the webhook that everything begins with.
    #[error("{0}")]
    Refused(String),
    /// The HTTP client could not be made.
    #[error("setting up the HTTP client failed")]
    Http(#[source] reqwest::Error),
}

/// Plays `settings.meetings` meetings to their end and says what was sent.
///
/// Dropping the future drops every socket at once, as a dying server does.
///
/// # Errors
/// When nothing could be played at all: see [`Error`]. A meeting that failed among others carries its error in its
/// summary.
pub async fn run(settings: Settings, progress: Progress) -> Result<Summary, Error> {
    check(&settings)?;
    let settings = Arc::new(settings);
    let material = Arc::new(material::Material::prepare(&settings, &progress).await?);
    let server = server::Server::bind(&settings, &progress).await?;
    let mut desk = rest::Desk::open(&settings, server.registry(), &progress).await?;
    let hooks = Arc::new(webhooks::Hooks::new(&settings, &progress)?);
    if settings.webhooks.validate {
        hooks.validate().await?;
    }
    let mut drivers = tokio::task::JoinSet::new();
    for index in 0..settings.meetings {
        let meeting = meeting::Meeting::new(index, &settings, &material, &server, &progress);
        if let Some(desk) = &desk {
            desk.add(&meeting);
        }
        let (hooks, server) = (hooks.clone(), server.registry());
        drivers.spawn(driver::play(meeting, hooks, server));
    }
    progress.begin(&settings, material.length_ms(&settings));
    let mut meetings = Vec::new();
    loop {
        let patience = desk.as_ref().map_or(Duration::ZERO, rest::Desk::patience);
        let next = async {
            match &mut desk {
                Some(desk) => desk.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(done) = drivers.join_next() => match done {
                Ok(meeting) => meetings.push(meeting),
                Err(failed) => progress.note(&format!("a meeting's task failed: {failed}")),
            },
            Some(again) = next => {
                drivers.spawn(driver::play(again, hooks.clone(), server.registry()));
            }
            () = tokio::time::sleep(patience), if drivers.is_empty() => break,
        }
    }
    progress.end();
    meetings.sort_by_key(|m| (m.index, m.start_ms));
    if let Some(error) = meetings.first().and_then(|m| m.error.clone())
        && meetings.iter().all(|m| m.error.is_some())
    {
        return Err(Error::Refused(error));
    }
    let rest = match desk {
        Some(desk) => desk.close().await,
        None => Vec::new(),
    };
    Ok(Summary { meetings, rest })
}

fn check(settings: &Settings) -> Result<(), Error> {
    let wrong = |what: &str| Err(Error::Settings(what.into()));
    if !(settings.speed > 0.0 && settings.speed.is_finite()) {
        return wrong("--speed has to be above 0");
    }
    if !(1..=30).contains(&settings.fps) {
        return wrong("--fps has to be 1 to 30: Zoom sends no more");
    }
    if settings.length.is_some_and(|l| l < Duration::from_millis(100)) {
        return wrong("--length has to be at least 100ms");
    }
    if settings.meetings == 0 {
        return wrong("--meetings has to be at least 1");
    }
    if settings.quirks.clock_ppm.abs() > 100_000.0 {
        return wrong("--clock-ppm has to be within 100000");
    }
    let mock_can = settings.meetings == 1
        && settings.product == Product::Meeting
        && settings.rest.is_none()
        && settings.advertise.is_none()
        && settings.duplicates == Duplicates::Kick
        && settings.script.failover_ms.is_empty()
        && settings.script.interrupted_ms.is_empty();
    if settings.mock && !mock_can {
        return wrong(
            "--mock is one meeting, with --duplicates kick and without --rest, --advertise, --failover and --interrupted",
        );
    }
    if settings.keepalive.is_zero() {
        return wrong("--keepalive has to be above 0");
    }
    if reqwest::Url::parse(&settings.webhooks.to).is_err() {
        return wrong("--to has to be the recorder's webhook, for example http://127.0.0.1:3000/webhook");
    }
    Ok(())
}
