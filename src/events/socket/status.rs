//! How the event WebSocket is, for the log and for whoever asks whether the recorder is ready.

use super::super::{Delivery, NotTaken, Receiver};
use crate::protocol::subscription::Report;
use parking_lot::Mutex;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the same trouble is told, at most.
const SAY_EVERY: Duration = Duration::from_secs(600);

/// How the door is. Clones are of the same door.
#[derive(Clone, Default)]
pub(super) struct Status(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    open: bool,
    /// Why not, in words.
    why: String,
    /// What was told last of its trouble, and when.
    told: Option<(String, Instant)>,
    unknown: u64,
}

impl Status {
    /// Notes what happened, and logs it unless it was just told.
    pub(super) fn say(&self, report: &Report) {
        let mut state = self.0.lock();
        match report {
            Report::Connected => {
                (state.open, state.told) = (true, None);
                tracing::info!("the event WebSocket is open");
            }
            Report::Lost { because, again_in } => {
                (state.open, state.why) = (false, format!("it was lost ({because})"));
                let delay_ms = again_in.as_millis() as u64;
                tracing::warn!(
                    because,
                    delay_ms,
                    "the event WebSocket was lost; what Zoom tells until it is open again is lost, too"
                );
            }
            Report::Refused { because, again_in } => {
                (state.open, state.why) = (false, because.clone());
                let delay_ms = again_in.as_millis() as u64;
                let told = state.told.take().filter(|(what, at)| what == because && at.elapsed() < SAY_EVERY);
                if told.is_none() {
                    tracing::warn!(because, delay_ms, "the event WebSocket cannot be opened; trying again");
                }
                state.told = told.or_else(|| Some((because.clone(), Instant::now())));
            }
            Report::Rival { times, again_in } => {
                (state.open, state.why) = (false, "another client has taken the subscription".to_owned());
                tracing::error!(
                    times,
                    delay_ms = again_in.as_millis() as u64,
                    "another client uses this ZOOM_SUBSCRIPTION_ID, and Zoom gives it to the newest only: it is left to that one for a \
                     while; run one recorder for each subscription, or use webhooks"
                );
            }
            Report::Unknown { bytes } => {
                state.unknown += 1;
                if state.unknown == 1 {
                    tracing::warn!(
                        bytes,
                        "a message on the event WebSocket was not understood; more of them are not told"
                    );
                }
            }
        }
    }

    fn trouble(&self) -> Option<String> {
        let state = self.0.lock();
        let why = if state.why.is_empty() { "it is being opened" } else { &state.why };
        (!state.open).then(|| format!("the event WebSocket is not open: {why}"))
    }
}

/// A receiver that also tells how the event WebSocket is.
pub(super) struct Watched {
    receiver: Arc<dyn Receiver>,
    status: Status,
    alone: bool,
}

impl Watched {
    pub(super) fn new(receiver: Arc<dyn Receiver>, status: Status, alone: bool) -> Self {
        Self { receiver, status, alone }
    }
}

impl Receiver for Watched {
    fn deliver(&self, delivery: Delivery) -> Pin<Box<dyn Future<Output = Result<(), NotTaken>> + Send + '_>> {
        self.receiver.deliver(delivery)
    }

    fn ready(&self) -> Result<Vec<String>, String> {
        let mut notices = self.receiver.ready()?;
        match self.status.trouble() {
            Some(trouble) if self.alone => Err(trouble),
            trouble => {
                notices.extend(trouble);
                Ok(notices)
            }
        }
    }
}
