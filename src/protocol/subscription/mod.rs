//! The event WebSocket's state machine: when to dial, when to beat, what is an event, when to leave the subscription to
//! somebody else. No socket, no clock.
//!
//! Whoever drives it hands in what happened with the time it happened ([`Subscription::handle`]), then carries out what
//! [`Subscription::poll`] returns until it returns nothing, and calls again at [`Subscription::deadline`] with [`Input::Tick`].
//!
//! # How it reconnects
//!
//! What happens while there is no connection is lost: Zoom sends nothing again.
//!
//! | what happened | what it does |
//! |---|---|
//! | a connection was lost, or silent for [`Timing::watchdog`] | dials at once; later if that one did not last either |
//! | it could not be opened, or was refused | dials after 1 s, 2 s, ... [`Timing::longest`] |
//! | the token was refused | dials at once with a new one; later if that is refused, too |
//! | closed with 1000 soon after it was opened, again and again | another client takes the subscription, which Zoom gives to the newest: says so, and dials less and less often, so that one of the two has it most of the time |

mod message;
mod timing;

pub use timing::Timing;

use message::Message;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Zoom's code for a normal end, which is also that of a connection that a newer one replaces.
const NORMAL: u16 = 1000;
/// Zoom's code for a token that does no longer count.
const POLICY: u16 = 1008;
/// From this many replaced connections in a row on it is no chance.
const RIVALRY: u32 = 3;

const HEARTBEAT: &str = r#"{"module":"heartbeat"}"#;

/// The state machine of one subscription.
#[derive(Debug)]
pub struct Subscription {
    timing: Timing,
    state: State,
    /// Counts attempts; news of an older one is passed over.
    run: u32,
    token: Token,
    /// Attempts that failed since a connection was accepted.
    failures: u32,
    /// Tokens that were refused since a connection was accepted.
    refused_tokens: u32,
    /// How often in a row a connection did not last.
    flaps: u32,
    /// How often in a row it did not last and was closed as one that is replaced.
    replaced: u32,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be dialled at this time.
    Waiting(Instant),
    Dialling,
    Open {
        since: Instant,
        heard: Instant,
        beat: Instant,
        /// Zoom has said something that is no refusal.
        accepted: bool,
        /// Zoom answers heartbeats here, so its pings prove nothing.
        answers: bool,
    },
}

/// With which token to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// Any that is good by its age.
    Known,
    /// A new one: the last one was refused.
    New,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// The socket is open.
    Opened(u32),
    /// It could not be opened, and why.
    Failed(u32, Failure, String),
    /// A frame came, text or binary.
    Received(u32, &'a [u8]),
    /// A ping came, or a pong.
    Pinged(u32),
    /// The socket is closed: the code of the close frame, and how that was seen.
    Closed(u32, Option<u16>, String),
    /// [`Subscription::deadline`] is reached.
    Tick,
}

/// What a refusal was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The token.
    Token,
    /// Anything else.
    Other,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a socket.
    Dial(u32, Token),
    /// Send this as a text frame.
    Send(u32, &'static str),
    /// Close the socket; nothing that comes from it later counts.
    Close(u32),
    /// Hand over an event: the JSON text that a webhook would have as its body.
    Event(Vec<u8>),
    /// Something to be said.
    Report(Report),
}

/// What is worth saying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Zoom has accepted the connection.
    Connected,
    /// It was up and is gone.
    Lost {
        /// How that was seen.
        because: String,
        /// When it is dialled again.
        again_in: Duration,
    },
    /// An attempt failed.
    Refused {
        /// What came back.
        because: String,
        /// When the next one follows.
        again_in: Duration,
    },
    /// Another client has the same subscription.
    Rival {
        /// How often in a row it took over.
        times: u32,
        /// How long it is left to it.
        again_in: Duration,
    },
    /// A message that is none of those that are known; its beginning is not repeated, for it may be about people.
    Unknown {
        /// Its size.
        bytes: usize,
    },
}

impl Subscription {
    /// A subscription that is dialled at once.
    pub fn new(timing: Timing, now: Instant) -> Self {
        let mut subscription = Self {
            timing,
            state: State::Waiting(now),
            run: 0,
            token: Token::Known,
            failures: 0,
            refused_tokens: 0,
            flaps: 0,
            replaced: 0,
            outputs: VecDeque::new(),
        };
        subscription.tick(now);
        subscription
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Opened(run) if self.is_dialling(run) => {
                let beat = now + self.timing.heartbeat;
                self.state = State::Open { since: now, heard: now, beat, accepted: false, answers: false };
                self.outputs.push_back(Output::Send(run, HEARTBEAT));
            }
            Input::Opened(run) => self.outputs.push_back(Output::Close(run)),
            Input::Failed(run, failure, because) if self.is_dialling(run) => self.refused(now, failure, because),
            Input::Received(run, bytes) if self.is_open(run) => self.received(now, bytes),
            Input::Pinged(run) if self.is_open(run) => self.pinged(now),
            Input::Closed(run, code, because) if self.is_open(run) => self.closed(now, code, because),
            Input::Failed(..) | Input::Received(..) | Input::Pinged(_) | Input::Closed(..) | Input::Tick => {}
        }
        self.tick(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due; none while a socket is being opened.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) => Some(at),
            State::Dialling => None,
            State::Open { beat, .. } => self.dead_at().map(|dead| beat.min(dead)),
        }
    }

    /// Whether Zoom has accepted the connection.
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Open { accepted: true, .. })
    }

    fn is_dialling(&self, run: u32) -> bool {
        run == self.run && self.state == State::Dialling
    }

    fn is_open(&self, run: u32) -> bool {
        run == self.run && matches!(self.state, State::Open { .. })
    }

    /// When the connection counts as lost: after silence, or talk of which nothing is understood. None if it is not open.
    fn dead_at(&self) -> Option<Instant> {
        let State::Open { since, heard, accepted, .. } = self.state else { return None };
        Some((if accepted { heard } else { since }) + self.timing.watchdog)
    }

    /// Some of Zoom's texts know no modules: events come bare, and pings keep the connection.
    fn pinged(&mut self, now: Instant) {
        if let State::Open { heard, answers: false, .. } = &mut self.state {
            *heard = now;
            self.accepted();
        }
    }

    fn received(&mut self, now: Instant, bytes: &[u8]) {
        if let State::Open { heard, .. } = &mut self.state {
            *heard = now;
        }
        match Message::parse(bytes) {
            Message::Refused(failure, because) => {
                self.outputs.push_back(Output::Close(self.run));
                self.refused(now, failure, because);
            }
            Message::Event(event) => {
                self.accepted();
                self.outputs.push_back(Output::Event(event));
            }
            Message::Good => {
                if let State::Open { answers, .. } = &mut self.state {
                    *answers = true;
                }
                self.accepted();
            }
            Message::Unknown => self.outputs.push_back(Output::Report(Report::Unknown { bytes: bytes.len() })),
        }
    }

    fn accepted(&mut self) {
        if let State::Open { accepted: accepted @ false, .. } = &mut self.state {
            *accepted = true;
            (self.failures, self.refused_tokens) = (0, 0);
            self.outputs.push_back(Output::Report(Report::Connected));
        }
    }

    fn refused(&mut self, now: Instant, failure: Failure, because: String) {
        let at_once = failure == Failure::Token && self.refused_tokens == 0;
        if failure == Failure::Token {
            self.token = Token::New;
            self.refused_tokens += 1;
        }
        self.failures += 1;
        let again_in = if at_once { Duration::ZERO } else { self.timing.after_failures(self.failures) };
        self.outputs.push_back(Output::Report(Report::Refused { because, again_in }));
        self.state = State::Waiting(now + again_in);
    }

    fn closed(&mut self, now: Instant, code: Option<u16>, because: String) {
        if code == Some(POLICY) {
            self.token = Token::New;
        }
        let State::Open { since, accepted: true, .. } = self.state else {
            let failure = if code == Some(POLICY) { Failure::Token } else { Failure::Other };
            let because = format!("closed before Zoom had accepted the connection ({because})");
            return self.refused(now, failure, because);
        };
        let lasted = now.saturating_duration_since(since) >= self.timing.settled;
        self.flaps = if lasted { 0 } else { self.flaps + 1 };
        self.replaced = if lasted || code != Some(NORMAL) { 0 } else { self.replaced + 1 };
        let report = if self.replaced >= RIVALRY {
            let again_in = self.timing.after_rivalry(self.replaced - RIVALRY);
            Report::Rival { times: self.replaced, again_in }
        } else {
            Report::Lost { because, again_in: self.timing.after_flaps(self.flaps) }
        };
        let (Report::Rival { again_in, .. } | Report::Lost { again_in, .. }) = report else { return };
        self.state = State::Waiting(now + again_in);
        self.outputs.push_back(Output::Report(report));
    }

    /// Lets time pass: what is due is done.
    fn tick(&mut self, now: Instant) {
        let is_dead = self.dead_at().is_some_and(|at| now >= at);
        match &mut self.state {
            State::Waiting(at) if now >= *at => {
                self.run += 1;
                self.state = State::Dialling;
                let token = std::mem::replace(&mut self.token, Token::Known);
                self.outputs.push_back(Output::Dial(self.run, token));
            }
            State::Open { accepted, .. } if is_dead => {
                let what = if *accepted { "nothing received" } else { "nothing that is understood was received" };
                self.outputs.push_back(Output::Close(self.run));
                let because = format!("{what} for {} s", self.timing.watchdog.as_secs());
                self.closed(now, None, because);
                self.tick(now);
            }
            State::Open { beat, .. } if now >= *beat => {
                *beat = now + self.timing.heartbeat;
                self.outputs.push_back(Output::Send(self.run, HEARTBEAT));
            }
            State::Waiting(_) | State::Dialling | State::Open { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests;
