//! The connection state machine of one stream: when to dial, what to say, when to give up. No socket, no clock.
//!
//! Whoever drives it hands in what happened with the time it happened ([`Link::handle`]), then carries out what
//! [`Link::poll`] returns until it returns nothing, and calls again at [`Link::deadline`] with [`Input::Tick`].
//!
//! # How it reconnects
//!
//! | what happened | what it does |
//! |---|---|
//! | one medium lost, or silent for [`Timing::watchdog`] | that handshake again, then ready-ack |
//! | event 7, or stream state 2 with reason 14 | the same for sound and pictures that have been silent for some seconds |
//! | signaling lost, silent, `rtms_interrupted`, or stream state 2 | signaling handshake, then all media again |
//! | a newer start event | the same at its new address |
//! | refused as a duplicate | the same again, later: the old socket may be a ghost on Zoom's side |
//! | closed before the handshake was answered | a refusal without words, by its usual causes |
//! | refused because the medium is not available to the app | that medium is given up |
//! | signaling refused while none was accepted | each other id that the stream may be known by, once |
//!
//! The first attempt is made at once, the next ones within seconds, for Zoom holds a stream for about 60 s. A connection that
//! is lost before it was up for [`Timing::stable`] counts as a failed attempt. There is
//! never more than one socket for the same thing: the old one is closed before the new one is dialled.

mod identities;
mod received;
mod refusal;
mod socket;
mod terms;

pub use terms::{Cause, Conn, EndSource, Ended, Input, Loss, Now, Output, Report, RunId, Settings, Timing};

use super::message::{self, Identity, Medium};
use super::server_urls::ServerUrl;
use crate::advice::status;
use identities::Identities;
use refusal::Refusal;
use serde_json::Value;
use socket::{Socket, State};
use std::collections::VecDeque;
use std::time::Instant;

/// The state machine.
#[derive(Debug)]
pub struct Link {
    settings: Settings,
    identities: Identities,
    url: ServerUrl,
    signaling: Socket,
    signaling_up_unix_ms: i64,
    media: Vec<MediumSocket>,
    runs: u32,
    /// Since when nothing has served.
    alone_since: Option<Instant>,
    ending: Option<(Ended, Instant)>,
    terminating_until: Option<Instant>,
    over: bool,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct MediumSocket {
    medium: Medium,
    params: Value,
    socket: Socket,
    /// Known from the signaling handshake; `None` is not on offer.
    url: Option<ServerUrl>,
    given_up: bool,
}

impl Link {
    /// A link that dials `url` at once. `identities` must not be empty; the first is the product's own.
    pub fn new(settings: Settings, identities: Vec<Identity>, url: ServerUrl, now: Now) -> Self {
        let media = settings.media.iter().map(|(medium, params)| MediumSocket {
            medium: *medium,
            params: params.clone(),
            socket: Socket::new(Conn::Media(*medium)),
            url: None,
            given_up: false,
        });
        let mut link = Self {
            media: media.collect(),
            settings,
            identities: Identities::new(identities),
            url,
            signaling: Socket::new(Conn::Signaling),
            signaling_up_unix_ms: 0,
            runs: 0,
            alone_since: Some(now.instant),
            ending: None,
            terminating_until: None,
            over: false,
            outputs: VecDeque::new(),
        };
        link.signaling.state = State::Waiting(now.instant);
        link.tick(now);
        link
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        if self.over {
            return;
        }
        // What is lost now may have served until now.
        self.watch_alone(now);
        match input {
            Input::Opened(run) => self.opened(now, run),
            Input::Failed(run, because) => self.closed(now, run, Loss::new(Cause::Broken, because)),
            Input::Closed(run, loss) => self.closed(now, run, loss),
            Input::Received(run, kind, bytes) => self.received(now, run, kind, bytes),
            Input::Restarted(url) => match &mut self.ending {
                // What starts then is another recording of the stream, which is not to wait for this one's sockets.
                Some((_, until)) => *until = now.instant,
                None => {
                    self.url = url;
                    self.terminating_until = None;
                    let loss = Loss::new(Cause::Moved, "a newer start event named another server");
                    self.restart_signaling(now, &loss, CloseMedia::Now);
                }
            },
            // Several come for one interruption, and up to 85 min late; what has been mended since is left alone.
            Input::Interrupted(event_ts) if self.signaling_is_settled(now) && event_ts >= self.signaling_up_unix_ms => {
                let loss = Loss::new(Cause::Interrupted, "rtms_interrupted");
                self.restart_signaling(now, &loss, CloseMedia::Later);
            }
            Input::Interrupted(_) => {}
            Input::StopEvent(reason) => self.end(now, EndSource::Event, reason),
            Input::Tick => {}
        }
        self.tick(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        if self.over {
            return None;
        }
        let timing = &self.settings.timing;
        self.sockets()
            .filter_map(|socket| socket.deadline(timing))
            .chain(self.ending.map(|(_, until)| until))
            .chain(self.terminating_until)
            .chain(self.alone_since.filter(|_| self.ending.is_none()).map(|since| since + timing.give_up))
            .min()
    }

    /// The address that signaling is, or will be, connected to.
    pub fn url(&self) -> &ServerUrl {
        &self.url
    }

    /// Whether the stream is over, though its sockets may still deliver.
    pub fn is_ending(&self) -> bool {
        self.over || self.ending.is_some()
    }

    /// Whether a medium, or signaling, is connected.
    pub fn is_up(&self, conn: Conn) -> bool {
        self.sockets().any(|socket| socket.conn == conn && socket.is_up())
    }

    fn sockets(&self) -> impl Iterator<Item = &Socket> {
        std::iter::once(&self.signaling).chain(self.media.iter().map(|medium| &medium.socket))
    }

    fn socket_mut(&mut self, conn: Conn) -> Option<&mut Socket> {
        match conn {
            Conn::Signaling => Some(&mut self.signaling),
            Conn::Media(medium) => self.media.iter_mut().find(|m| m.medium == medium).map(|m| &mut m.socket),
        }
    }

    /// The socket that `run` speaks of, unless it is an old one.
    fn current(&mut self, run: RunId) -> Option<&mut Socket> {
        self.socket_mut(run.conn).filter(|socket| socket.run == run.run && socket.is_open())
    }

    fn opened(&mut self, now: Now, run: RunId) {
        let until = now.instant + self.settings.timing.handshake;
        let Some(socket) = self.current(run) else {
            self.outputs.push_back(Output::Close(run));
            return;
        };
        socket.state = State::Greeting(until);
        let identity = self.identities.current();
        let greeting = match run.conn {
            Conn::Signaling => identity.signaling_handshake(),
            Conn::Media(medium) => {
                let params = self.media.iter().find(|m| m.medium == medium).map_or(&Value::Null, |m| &m.params);
                identity.media_handshake(medium, params)
            }
        };
        self.outputs.push_back(Output::Send(run, greeting));
    }

    fn closed(&mut self, now: Now, run: RunId, loss: Loss) {
        let Some(socket) = self.current(run) else { return };
        match socket.state {
            State::Up { .. } => self.lost(now, run, loss),
            State::Greeting(_) => {
                let because = loss.because;
                let because = format!("closed before the handshake was answered ({because}): {}", status::SILENT);
                self.refused(now, run, because, Refusal::Other);
            }
            _ => self.refused(now, run, loss.because, Refusal::Unreachable),
        }
    }

    fn lost(&mut self, now: Now, run: RunId, loss: Loss) {
        if self.ending.is_none() {
            self.outputs.push_back(Output::Report(Report::Lost(run, loss)));
        }
        // Media are dialled when signaling is up; it dials all of them then.
        let wait = self.ending.is_some() || (run.conn != Conn::Signaling && !self.signaling.is_up());
        let timing = self.settings.timing;
        let Some(socket) = self.socket_mut(run.conn) else { return };
        socket.lost(now.instant, &timing);
        if wait {
            socket.state = State::Idle;
        }
    }

    fn refused(&mut self, now: Now, run: RunId, because: String, refusal: Refusal) {
        let for_good = refusal == Refusal::NotAvailable && run.conn != Conn::Signaling;
        self.outputs.push_back(Output::Report(Report::Refused { run, because, for_good }));
        if run.conn == Conn::Signaling && matches!(refusal, Refusal::NotAvailable | Refusal::Other) {
            self.identities.refused();
        }
        let Some(socket) = self.socket_mut(run.conn) else { return };
        socket.refused(now.instant, refusal == Refusal::Duplicate);
        if let Conn::Media(medium) = run.conn {
            let signaling_up = self.signaling.is_up();
            if let Some(medium) = self.media.iter_mut().find(|m| m.medium == medium) {
                medium.given_up |= for_good;
                if medium.given_up || !signaling_up {
                    medium.socket.state = State::Idle;
                }
            }
        }
    }

    fn up(&mut self, now: Now, run: RunId, how: String) {
        let Some(socket) = self.current(run) else { return };
        socket.up(now.instant);
        self.outputs.push_back(Output::Report(Report::Connected(run, how)));
        // Media flow only after this; Zoom's library sends one after every media handshake.
        if run.conn != Conn::Signaling && self.signaling.is_up() {
            // Cameras as Zoom's library does it: once there is video, and apart, so that a refusal costs nothing else.
            let is_video = run.conn == Conn::Media(Medium::Video);
            let cameras = is_video.then(|| message::camera_subscription(self.settings.product)).flatten();
            let texts = [Some(self.identities.current().ready_ack()), cameras];
            self.outputs.extend(texts.into_iter().flatten().map(|text| Output::Send(self.signaling.id(), text)));
        }
    }

    fn end(&mut self, now: Now, source: EndSource, reason: Option<i64>) {
        match &mut self.ending {
            Some((ended, _)) => ended.reason = ended.reason.or(reason),
            None => self.ending = Some((Ended { source, reason }, now.instant + self.settings.timing.drain)),
        }
        self.terminating_until = None;
    }

    /// Whether signaling has been up for longer than news of its last interruption takes.
    fn signaling_is_settled(&self, now: Now) -> bool {
        self.signaling.is_settled(now.instant, self.settings.timing.suspicious)
    }

    /// Closes signaling and dials it anew. Media go on until then, or are closed too.
    fn restart_signaling(&mut self, now: Now, loss: &Loss, close_media: CloseMedia) {
        if self.ending.is_some() {
            return;
        }
        if self.signaling.is_open() {
            let run = self.signaling.id();
            self.outputs.push_back(Output::Close(run));
            if self.signaling.is_up() {
                self.outputs.push_back(Output::Report(Report::Lost(run, loss.clone())));
            }
        }
        self.signaling.dial_at_once(now.instant);
        if close_media == CloseMedia::Now {
            for index in 0..self.media.len() {
                self.drop_medium(index, loss);
            }
        }
    }

    /// Zoom does not say which medium is interrupted. Sound and pictures flow while they are there; silence of the others
    /// says nothing.
    fn redial_silent_media(&mut self, now: Now, loss: &Loss) {
        let suspicious = self.settings.timing.suspicious;
        for index in 0..self.media.len() {
            if matches!(self.media[index].medium, Medium::Audio | Medium::Video)
                && self.media[index].socket.is_silent(now.instant, suspicious)
            {
                self.drop_medium(index, loss);
                self.media[index].socket.dial_at_once(now.instant);
            }
        }
    }

    fn drop_medium(&mut self, index: usize, loss: &Loss) {
        let socket = &mut self.media[index].socket;
        let run = socket.id();
        if socket.is_open() {
            self.outputs.push_back(Output::Close(run));
        }
        if socket.is_up() {
            self.outputs.push_back(Output::Report(Report::Lost(run, loss.clone())));
        }
        socket.state = State::Idle;
    }

    /// Lets time pass: everything that is due is done.
    fn tick(&mut self, now: Now) {
        let timing = self.settings.timing;
        if self.terminating_until.is_some_and(|until| now.instant >= until) {
            self.end(now, EndSource::State, None);
        }
        let overdue: Vec<(RunId, State)> = self
            .sockets()
            .filter(|socket| socket.deadline(&timing).is_some_and(|at| now.instant >= at))
            .map(|socket| (socket.id(), socket.state))
            .collect();
        for (run, state) in overdue {
            match state {
                State::Greeting(_) => {
                    self.outputs.push_back(Output::Close(run));
                    let because = format!("no answer to the handshake within {} s", timing.handshake.as_secs());
                    self.refused(now, run, because, Refusal::Other);
                }
                State::Up { .. } => {
                    self.outputs.push_back(Output::Close(run));
                    let because = format!("nothing received for {} s", timing.watchdog.as_secs());
                    self.lost(now, run, Loss::new(Cause::Silent, because));
                }
                State::Waiting(_) => self.dial(run.conn),
                State::Idle | State::Dialling => {}
            }
        }
        self.watch_alone(now);
        self.end_if_due(now);
    }

    fn watch_alone(&mut self, now: Now) {
        let timing = self.settings.timing;
        if self.sockets().any(|socket| socket.serves(now.instant, &timing)) {
            self.alone_since = None;
        } else {
            self.alone_since.get_or_insert(now.instant);
        }
    }

    fn dial(&mut self, conn: Conn) {
        if self.ending.is_some() {
            // Left waiting, it would be due again at once, and so on until the end.
            if let Some(socket) = self.socket_mut(conn) {
                socket.state = State::Idle;
            }
            return;
        }
        let url = match conn {
            Conn::Signaling => Some(self.url.clone()),
            Conn::Media(medium) => self.media.iter().find(|m| m.medium == medium).and_then(|m| m.url.clone()),
        };
        self.runs += 1;
        let run = self.runs;
        let Some(socket) = self.socket_mut(conn) else { return };
        match url {
            Some(url) => {
                socket.run = run;
                socket.state = State::Dialling;
                self.outputs.push_back(Output::Dial(RunId { conn, run }, url));
            }
            None => socket.state = State::Idle,
        }
    }

    fn end_if_due(&mut self, now: Now) {
        let ended = match (self.ending, self.alone_since) {
            (Some((ended, until)), _) if now.instant >= until || !self.sockets().any(Socket::is_open) => ended,
            (None, Some(since)) if now.instant >= since + self.settings.timing.give_up => {
                Ended { source: EndSource::Unreachable, reason: None }
            }
            _ => return,
        };
        self.over = true;
        self.outputs.push_back(Output::Ended(ended));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CloseMedia {
    Now,
    /// Once signaling is up again: until then they may still deliver.
    Later,
}

#[cfg(test)]
mod tests;
