//! The words and the books of a meeting: what is connected, what was lost, what has been sent. [`super::meeting`]
//! keeps them.

use super::feed::{Feed, Made};
use super::summary::{Line, MeetingSummary};
use crate::protocol::message::Medium;
use crate::rest::Action;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What a socket's task is told.
#[derive(Debug)]
pub(super) enum Control {
    /// Send this.
    Send(Value),
    /// The ready-ack has come: media may flow.
    Ready,
    /// Say goodbye and end.
    Close,
    /// End without a close frame.
    Drop,
    /// Stay open and never send again: Zoom has forgotten this socket.
    Mute,
}

pub(super) type Controls = mpsc::UnboundedSender<Control>;

/// Why a connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Cut,
    Client,
    KeepAlive,
    Interrupted,
    Failover,
    Replaced,
    /// A medium whose signaling went.
    Signaling,
}

impl Cause {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Client => "the client went",
            Self::KeepAlive => "keep-alives unanswered",
            Self::Interrupted => "interrupted",
            Self::Failover => "failover",
            Self::Replaced => "replaced by a newer connection",
            Self::Signaling => "signaling lost",
        }
    }

    /// The stop reason if what was lost does not come back.
    pub(super) fn stop_reason(self, medium: Option<Medium>) -> i64 {
        match (self, medium) {
            (Self::Client, None) => 15,
            (Self::Client, Some(_)) => 16,
            (Self::KeepAlive, _) => 24,
            _ => 19,
        }
    }
}

/// What is under a meeting's lock.
#[derive(Default)]
pub(super) struct State {
    pub(super) next_id: u64,
    pub(super) signaling: Option<(u64, Controls)>,
    pub(super) media: Vec<Link>,
    pub(super) buffer_data: bool,
    pub(super) stream_state: i64,
    pub(super) session_state: i64,
    pub(super) subscribed: BTreeSet<i64>,
    /// Whose picture was asked for.
    pub(super) video_of: Option<u32>,
    /// Up to where each medium has been sent, or given up.
    pub(super) cursors: BTreeMap<Medium, i64>,
    /// Feeds of connections that are gone, to count what they missed.
    pub(super) parked: BTreeMap<Medium, Feed>,
    pub(super) windows: BTreeMap<Option<Medium>, Window>,
    /// The client has asked for the end.
    pub(super) close_requested: bool,
    /// What was asked for by REST and is yet to be done.
    pub(super) ordered: VecDeque<Action>,
    /// When the interrupted event is to be posted.
    pub(super) interrupted_at: Option<Instant>,
    pub(super) summary: MeetingSummary,
}

/// A media socket.
pub(super) struct Link {
    pub(super) id: u64,
    pub(super) controls: Controls,
    pub(super) media: Vec<Medium>,
    pub(super) unified: bool,
    pub(super) individual: bool,
    pub(super) ready: bool,
}

/// The wait for something that was lost.
pub(super) struct Window {
    pub(super) lost: Instant,
    pub(super) deadline: Instant,
    pub(super) stop_reason: i64,
    /// Its place in the summary's losses.
    pub(super) loss: Option<usize>,
}

impl State {
    pub(super) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Sends over signaling, if it is up.
    pub(super) fn send(&self, message: Value) {
        if let Some((_, controls)) = &self.signaling {
            tell(controls, Control::Send(message));
        }
    }

    /// What was lost is back.
    pub(super) fn back(&mut self, what: Option<Medium>) {
        if let Some(window) = self.windows.remove(&what)
            && let Some(loss) = window.loss
        {
            self.summary.losses[loss].back_after_ms = Some(window.lost.elapsed().as_millis() as u64);
        }
    }
}

/// A task that has ended needs no telling.
pub(super) fn tell(controls: &Controls, control: Control) {
    controls.send(control).ok();
}

impl MeetingSummary {
    pub(super) fn record(&mut self, medium: Medium, made: Made, epoch_ms: i64) {
        let timestamp = epoch_ms + made.at_ms;
        let of_user = made.user_id.map(|user| self.participants.entry(user).or_default());
        let of_medium = self.media.entry(medium).or_default();
        for sent in [Some(of_medium), of_user].into_iter().flatten() {
            sent.messages += 1;
            sent.bytes += made.bytes as u64;
            sent.samples += made.samples;
            sent.key_frames += u64::from(made.key);
            sent.first_ms.get_or_insert(timestamp);
            sent.last_ms = Some(timestamp);
        }
        self.beeps_ms.extend(made.beep_ms.map(|ms| epoch_ms + ms));
        if made.flash {
            self.flashes_ms.push(timestamp);
        }
        if let Some(text) = made.text {
            let lines = if medium == Medium::Chat { &mut self.chat } else { &mut self.transcript };
            lines.push(Line { timestamp_ms: timestamp, text, content: made.content });
        }
    }
}
