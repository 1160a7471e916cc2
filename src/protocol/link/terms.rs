//! What a link and whoever drives it tell each other.

use crate::ids::Product;
use crate::protocol::message::Medium;
use crate::protocol::server_urls::{AllowedHosts, ServerUrl};
use serde_json::Value;
use std::fmt;
use std::time::{Duration, Instant};

/// One of a stream's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conn {
    /// The one that carries states and events.
    Signaling,
    /// The one that carries this medium.
    Media(Medium),
}

impl Conn {
    /// Its label in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signaling => "signaling",
            Self::Media(medium) => medium.as_str(),
        }
    }
}

impl fmt::Display for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One attempt at a connection. Numbers are never used twice, so that news of an old socket is known as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId {
    /// Which connection.
    pub conn: Conn,
    /// The how-manieth attempt of the stream, from 1.
    pub run: u32,
}

/// When something happened, by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timers.
    pub instant: Instant,
    /// For messages that want the time: Unix ms.
    pub unix_ms: i64,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// A socket is open.
    Opened(RunId),
    /// A socket could not be opened.
    Failed(RunId, String),
    /// A message came: its type ([`peek_type`](crate::protocol::message::peek_type)) and its bytes.
    Received(RunId, i64, &'a [u8]),
    /// A socket is closed.
    Closed(RunId, Loss),
    /// A start event with a newer time named this address.
    Restarted(ServerUrl),
    /// `rtms_interrupted` came, with Zoom's time of it in Unix ms.
    Interrupted(i64),
    /// `rtms_stopped` came.
    StopEvent(Option<i64>),
    /// [`Link::deadline`](super::Link::deadline) is reached.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a socket.
    Dial(RunId, ServerUrl),
    /// Send this as a text frame.
    Send(RunId, String),
    /// Close a socket; nothing that comes from it later counts.
    Close(RunId),
    /// Something to be written down.
    Report(Report),
    /// The stream is over; all sockets are to be dropped. The last output.
    Ended(Ended),
}

/// What is worth writing down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A handshake was accepted.
    Connected(RunId, String),
    /// A connection that was up is gone.
    Lost(RunId, Loss),
    /// An attempt failed.
    Refused {
        /// Which one.
        run: RunId,
        /// What came back.
        because: String,
        /// Whether no further attempt is made.
        for_good: bool,
    },
}

/// Why a connection is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The kind.
    pub cause: Cause,
    /// How it was seen, in words.
    pub because: String,
}

impl Loss {
    /// Of this kind, seen so.
    pub fn new(cause: Cause, because: impl Into<String>) -> Self {
        Self { cause, because: because.into() }
    }
}

/// The kinds of reasons why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Zoom closed it.
    Closed,
    /// It broke.
    Broken,
    /// Nothing came for too long.
    Silent,
    /// Zoom said that it was interrupted.
    Interrupted,
    /// A start event named another server.
    Moved,
    /// The signaling connection was made again, and with it those of the media.
    Signaling,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Closed, Self::Broken, Self::Silent, Self::Interrupted, Self::Moved, Self::Signaling];

    /// A word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Broken => "broken",
            Self::Silent => "silent",
            Self::Interrupted => "interrupted",
            Self::Moved => "moved",
            Self::Signaling => "signaling",
        }
    }
}

/// How and why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What said so.
    pub source: EndSource,
    /// Zoom's stop reason, if it gave one.
    pub reason: Option<i64>,
}

/// What said that a stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndSource {
    /// `rtms_stopped`.
    Event,
    /// Stream state 4.
    State,
    /// Nothing: there was no connection for [`Timing::give_up`].
    Unreachable,
}

impl EndSource {
    /// Its name in the journal and the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::State => "state",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The timers. [`Timing::default`] is for Zoom; the tests and the simulator run faster.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a handshake may stay without an answer.
    pub handshake: Duration,
    /// Silence after which a connection counts as lost. Keep-alives come every 10 s; Zoom names 65 s.
    pub watchdog: Duration,
    /// After this long without any connection the stream is over. Zoom gives up after 60 to 65 s.
    pub give_up: Duration,
    /// A connection that is lost before it is this old was hardly one: the next attempt waits.
    pub stable: Duration,
    /// How long is waited for the sockets to be closed by Zoom once the stream is said to be over.
    pub drain: Duration,
    /// How long the state TERMINATING may last.
    pub terminating: Duration,
    /// Silence after which a medium is taken to be the one that event 7 is about, and the age up to which signaling is
    /// taken to have been connected after the interruption that Zoom tells of.
    pub suspicious: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            watchdog: Duration::from_secs(65),
            give_up: Duration::from_secs(120),
            stable: Duration::from_secs(5),
            drain: Duration::from_secs(3),
            terminating: Duration::from_secs(30),
            suspicious: Duration::from_secs(3),
        }
    }
}

/// What a link needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is streamed: it decides which events are subscribed to.
    pub product: Product,
    /// What to ask for, with the `media_params` of each.
    pub media: Vec<(Medium, Value)>,
    /// Where sockets may be opened.
    pub allowed_hosts: AllowedHosts,
    /// The timers.
    pub timing: Timing,
}
