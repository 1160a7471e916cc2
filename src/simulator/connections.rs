//! The connections of one stream as they come and go: who may connect, what becomes of those that are replaced, cut or
//! left, and how long they are waited for.

use super::Duplicates;
use super::feed::Feed;
use super::meeting::{MEDIA_WINDOW, Meeting, SIGNALING_WINDOW};
use super::script::Target;
use super::state::{Cause, Control, Controls, Link, State, tell};
use super::summary::Loss;
use crate::protocol::message::Medium;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

/// A client that is back so soon is not told that it was gone: it would only come back again.
const NOTICED: Duration = Duration::from_secs(1);

/// The reason given to a media handshake without signaling. Zoom's is not known.
pub(super) const NO_SIGNALING: &str = "INVALID_RTMS_STREAM_ID: no signaling connection";

impl Meeting {
    /// A signaling handshake with a good signature.
    pub(super) fn connect_signaling(&self, controls: Controls, buffer_data: bool) -> Result<u64, (i64, &'static str)> {
        let mut state = self.state();
        if state.signaling.is_some() {
            if self.settings.duplicates == Duplicates::Refuse {
                return Err((8, "DUPLICATE_SIGNAL_REQUEST"));
            }
            self.drop_signaling(&mut state, Cause::Replaced, || Control::Close);
        }
        let id = state.new_id();
        state.signaling = Some((id, controls));
        state.buffer_data = buffer_data;
        state.subscribed.clear();
        // What is due at once has to go out; the rest is settled.
        state.interrupted_at = state.interrupted_at.filter(|at| *at <= Instant::now());
        state.summary.signaling_handshakes += 1;
        let after_ms = self.clock().instant(0).elapsed().as_millis() as u64;
        state.summary.signaling_after_ms.get_or_insert(after_ms);
        state.back(None);
        if state.summary.media_handshakes == 0 {
            let window = self.window(MEDIA_WINDOW, 11, None);
            state.windows.insert(None, window);
        }
        self.progress.meeting_note(&format!("meeting {}: signaling is up", self.index + 1));
        Ok(id)
    }

    /// A media handshake with a good signature and good parameters.
    pub(super) fn connect_media(
        &self,
        controls: Controls,
        media: &[Medium],
        unified: bool,
        individual: bool,
    ) -> Result<u64, (i64, &'static str)> {
        let mut state = self.state();
        // The test server does not look.
        if state.signaling.is_none() && !self.settings.mock {
            return Err((2, NO_SIGNALING));
        }
        let mock = self.settings.mock;
        let clashes = |link: &Link| !mock && (link.unified || unified || link.media.iter().any(|m| media.contains(m)));
        if self.settings.duplicates == Duplicates::Refuse {
            match state.media.iter().find(|link| clashes(link)) {
                Some(link) if link.unified => return Err((15, "MEDIA_DATA_ALL_CONNECTION_EXIST")),
                Some(_) => return Err((16, "DUPLICATE_MEDIA_DATA_CONNECTION")),
                None => {}
            }
        }
        let (replaced, kept) = state.media.drain(..).partition::<Vec<_>, _>(clashes);
        state.media = kept;
        for link in replaced {
            self.drop_link(&mut state, link, Cause::Replaced, Control::Close);
        }
        let id = state.new_id();
        state.media.push(Link { id, controls, media: media.to_vec(), unified, individual, ready: false });
        state.summary.media_handshakes += 1;
        Ok(id)
    }

    /// A ready-ack: every medium that has shaken hands may flow. `false` if none has.
    pub(super) fn ready(&self) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.media.is_empty() {
            return false;
        }
        for link in state.media.iter_mut().filter(|link| !link.ready) {
            link.ready = true;
            tell(&link.controls, Control::Ready);
        }
        let ready: Vec<Medium> = state.media.iter().flat_map(|link| link.media.clone()).collect();
        for medium in ready {
            state.back(Some(medium));
        }
        if state.summary.media_after_ms.is_none() {
            state.windows.remove(&None);
            state.summary.media_after_ms = Some(self.clock().instant(0).elapsed().as_millis() as u64);
            let first = json!({"event_type": 1, "timestamp": self.clock().epoch_ms});
            state.send(json!({"msg_type": 6, "event": first}));
        }
        if !matches!(state.stream_state, 1 | 5) {
            let paused = state.session_state == 3;
            self.set_stream(state, if paused { 5 } else { 1 }, 0);
        }
        if state.session_state == 1 {
            self.set_session(state, 2, None);
        }
        true
    }

    /// A socket's task ends. If nobody made it, its client is gone.
    pub(super) fn left(&self, id: u64, cause: Cause, feeds: Vec<Feed>) {
        let mut state = self.state();
        for feed in feeds {
            state.parked.insert(feed.medium, feed);
        }
        if state.signaling.as_ref().is_some_and(|(own, _)| *own == id) {
            self.drop_signaling(&mut state, cause, || Control::Close);
        } else if let Some(at) = state.media.iter().position(|link| link.id == id) {
            let link = state.media.remove(at);
            if self.settings.mock {
                // It sends to whoever is there, and misses nobody.
                return;
            }
            self.drop_link(&mut state, link, cause, Control::Close);
            self.set_stream(&mut state, 2, 14);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Closes what the script says; what is not connected cannot be cut.
    pub(super) fn cut(&self, target: Target) {
        let silently = self.settings.script.cut_silently;
        let control = || if silently { Control::Drop } else { Control::Close };
        let mut state = self.state();
        match target {
            Target::Signaling => self.drop_signaling(&mut state, Cause::Cut, control),
            Target::AllMedia | Target::Medium(_) => {
                let hit = |link: &Link| match target {
                    Target::Medium(medium) => link.media.contains(&medium),
                    _ => true,
                };
                let (cut, kept) = state.media.drain(..).partition::<Vec<_>, _>(hit);
                state.media = kept;
                let any = !cut.is_empty();
                for link in cut {
                    self.drop_link(&mut state, link, Cause::Cut, control());
                }
                if any {
                    self.set_stream(&mut state, 2, 14);
                }
            }
        }
    }

    /// Forgets every connection: they stay open but mute.
    pub(super) fn interrupt(&self) {
        self.drop_signaling(&mut self.state(), Cause::Interrupted, || Control::Mute);
    }

    /// The server dies; the next one has another address.
    pub(super) fn fail_over(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.drop_signaling(&mut self.state(), Cause::Failover, || Control::Drop);
    }

    fn drop_signaling(&self, state: &mut State, cause: Cause, control: impl Fn() -> Control) {
        if let Some((_, controls)) = state.signaling.take() {
            tell(&controls, control());
            self.lost(state, None, cause);
            state.stream_state = 2;
            state.interrupted_at = match cause {
                Cause::Failover | Cause::Replaced => None,
                Cause::Interrupted | Cause::KeepAlive => Some(Instant::now()),
                Cause::Cut | Cause::Client | Cause::Signaling => Some(Instant::now() + NOTICED),
            };
        }
        if self.settings.mock {
            // It posts no such event, and its media know nothing of signaling.
            state.interrupted_at = None;
            return;
        }
        for link in std::mem::take(&mut state.media) {
            let cause = if cause == Cause::Client { Cause::Signaling } else { cause };
            self.drop_link(state, link, cause, control());
        }
    }

    fn drop_link(&self, state: &mut State, link: Link, cause: Cause, control: Control) {
        tell(&link.controls, control);
        for medium in link.media {
            self.lost(state, Some(medium), cause);
            if state.signaling.is_some() && cause != Cause::Replaced {
                state.send(json!({"msg_type": 6, "event": {
                    "event_type": 7, "media_type": medium.bit(), "timestamp": self.clock().now(),
                }}));
            }
        }
    }

    fn lost(&self, state: &mut State, medium: Option<Medium>, cause: Cause) {
        let at_ms = self.clock().now();
        state.summary.losses.push(Loss { medium, at_ms, cause: cause.as_str(), back_after_ms: None });
        let length = if medium.is_some() { MEDIA_WINDOW } else { SIGNALING_WINDOW };
        let loss = state.summary.losses.len() - 1;
        let window = self.window(length, cause.stop_reason(medium), Some(loss));
        state.windows.insert(medium, window);
        let what = medium.map_or("signaling", Medium::as_str);
        self.progress.meeting_note(&format!("meeting {}: {what} lost: {}", self.index + 1, cause.as_str()));
        self.changed.notify_one();
    }
}
