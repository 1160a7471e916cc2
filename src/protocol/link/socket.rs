//! One of a stream's sockets: the state that it is in, and when it is dialled again.

use super::terms::{Conn, RunId, Timing};
use std::time::{Duration, Instant};

/// The wait before the attempt that follows `failures` failed ones: at once, then within seconds.
fn back_off(failures: u32) -> Duration {
    Duration::from_millis(match failures {
        0 => 0,
        1 => 500,
        2 => 1000,
        3 => 2000,
        _ => 3000,
    })
}

/// The wait after being refused as a duplicate: Zoom's library uses 1.5, 3 and 6 s.
fn duplicate_back_off(failures: u32) -> Duration {
    Duration::from_millis(if failures <= 1 { 1500 } else { 3000 })
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) conn: Conn,
    pub(super) state: State,
    pub(super) run: u32,
    /// Attempts refused since it was last up.
    failures: u32,
    /// How often in a row it was lost as soon as it was up.
    flaps: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not wanted now.
    Idle,
    /// To be dialled at this time.
    Waiting(Instant),
    /// Being opened.
    Dialling,
    /// Handshake sent; an answer is due by then.
    Greeting(Instant),
    /// The handshake was accepted.
    Up {
        /// When.
        since: Instant,
        /// When something was last received.
        heard: Instant,
        /// Whether media came.
        media: bool,
    },
}

impl Socket {
    pub(super) fn new(conn: Conn) -> Self {
        Self { conn, state: State::Idle, run: 0, failures: 0, flaps: 0 }
    }

    pub(super) fn id(&self) -> RunId {
        RunId { conn: self.conn, run: self.run }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Dialling | State::Greeting(_) | State::Up { .. })
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Whether it serves: it has been up for a while, or has brought media. A server that accepts every handshake and then
    /// closes does not serve.
    pub(super) fn serves(&self, now: Instant, timing: &Timing) -> bool {
        matches!(self.state, State::Up { media: true, .. }) || self.is_settled(now, timing.stable)
    }

    /// Whether it has been up for at least `age`.
    pub(super) fn is_settled(&self, now: Instant, age: Duration) -> bool {
        matches!(self.state, State::Up { since, .. } if now.saturating_duration_since(since) >= age)
    }

    /// When nothing was heard on it for at least `silence`, though it is up.
    pub(super) fn is_silent(&self, now: Instant, silence: Duration) -> bool {
        matches!(self.state, State::Up { heard, .. } if now.saturating_duration_since(heard) >= silence)
    }

    pub(super) fn deadline(&self, timing: &Timing) -> Option<Instant> {
        match self.state {
            State::Waiting(at) | State::Greeting(at) => Some(at),
            State::Up { heard, .. } => Some(heard + timing.watchdog),
            State::Idle | State::Dialling => None,
        }
    }

    pub(super) fn up(&mut self, now: Instant) {
        self.state = State::Up { since: now, heard: now, media: false };
        self.failures = 0;
    }

    pub(super) fn heard(&mut self, now: Instant, is_media: bool) {
        if let State::Up { heard, media, .. } = &mut self.state {
            *heard = now;
            *media |= is_media;
        }
    }

    /// It was up and is gone: dialled again at once, unless that happened just after it was up.
    pub(super) fn lost(&mut self, now: Instant, timing: &Timing) {
        self.flaps = if self.is_settled(now, timing.stable) { 0 } else { self.flaps };
        self.state = State::Waiting(now + back_off(self.flaps));
        self.flaps = self.flaps.saturating_add(1);
    }

    /// An attempt failed.
    pub(super) fn refused(&mut self, now: Instant, as_duplicate: bool) {
        self.failures = self.failures.saturating_add(1);
        let wait = if as_duplicate { duplicate_back_off(self.failures) } else { back_off(self.failures) };
        self.state = State::Waiting(now + wait);
    }

    /// It is dialled at once: something was said that makes earlier failures meaningless.
    pub(super) fn dial_at_once(&mut self, now: Instant) {
        self.failures = 0;
        self.state = State::Waiting(now);
    }
}
