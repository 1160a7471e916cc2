//! What the sockets of one stream share: who is connected, what each medium has been sent, and what was lost.
//!
//! The server's side of the rules is kept here and only here: one connection for each thing, no medium before its
//! ready-ack, sound kept while its socket is down, and a deadline for whatever was lost. Socket tasks report in;
//! the driver acts. Nothing awaits under the lock.

use super::clock::Clock;
use super::feed::{Feed, Made};
use super::material::Material;
use super::script::Target;
use super::server::Server;
use super::state::{Cause, Control, Controls, Link, State, Window, tell};
use super::summary::{Loss, MeetingSummary};
use super::{Duplicates, Progress, Settings};
use crate::protocol::message::Medium;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How much sound is kept for a socket that is not there.
const SOUND_KEPT_MS: i64 = 60_000;
/// A client that is back so soon is not told that it was gone: it would only come back again.
const NOTICED: Duration = Duration::from_secs(1);
const SIGNALING_WINDOW: Duration = Duration::from_secs(60);
const MEDIA_WINDOW: Duration = Duration::from_secs(65);

/// The number of the first meeting.
pub(super) const FIRST_NUMBER: u64 = 90_000_000_000;

/// The stop reason of a meeting that is over.
pub(super) const MEETING_ENDED: i64 = 6;

/// The reason given to a media handshake without signaling. Zoom's is not known.
pub(super) const NO_SIGNALING: &str = "INVALID_RTMS_STREAM_ID: no signaling connection";

/// One stream.
pub(super) struct Meeting {
    pub(super) index: usize,
    pub(super) settings: Arc<Settings>,
    pub(super) material: Arc<Material>,
    pub(super) stream_id: String,
    /// How long after the first one it begins.
    pub(super) stagger: Duration,
    /// Why it ends, if nothing comes in between.
    pub(super) stop_reason: i64,
    pub(super) meeting_id: String,
    pub(super) session_id: String,
    pub(super) length_ms: i64,
    pub(super) progress: Progress,
    pub(super) tasks: TaskTracker,
    /// Ends tasks that nobody talks to any more.
    pub(super) over: CancellationToken,
    /// The run was dropped: every socket goes at once.
    pub(super) abandoned: CancellationToken,
    /// Something happened that the driver may have to act on.
    pub(super) changed: Notify,
    clock: OnceLock<Clock>,
    end_ms: AtomicI64,
    generation: AtomicUsize,
    bases: Vec<String>,
    state: Mutex<State>,
}

impl Meeting {
    pub(super) fn new(
        index: usize,
        settings: &Arc<Settings>,
        material: &Arc<Material>,
        server: &Server,
        progress: &Progress,
    ) -> Arc<Self> {
        // Base64 with the characters that break paths and URLs.
        let mut id = *uuid::Uuid::new_v4().as_bytes();
        id[..3].copy_from_slice(&[0x01, 0xbf, 0xbf]);
        let meeting_id = base64_simd::STANDARD.encode_to_string(id);
        let stagger = settings.stagger * index as u32;
        Self::stream(index, meeting_id, stagger, settings.stop_reason, settings, material, server.bases(), progress)
    }

    /// A new stream of the same meeting, which lasts until the meeting ends.
    pub(super) fn again(&self) -> Arc<Self> {
        let Self { index, settings, material, progress, .. } = self;
        let (id, bases) = (self.meeting_id.clone(), self.bases.clone());
        Self::stream(*index, id, Duration::ZERO, MEETING_ENDED, settings, material, bases, progress)
    }

    #[expect(clippy::too_many_arguments, reason = "two callers, both above")]
    fn stream(
        index: usize,
        meeting_id: String,
        stagger: Duration,
        stop_reason: i64,
        settings: &Arc<Settings>,
        material: &Arc<Material>,
        bases: Vec<String>,
        progress: &Progress,
    ) -> Arc<Self> {
        let stream_id = uuid::Uuid::new_v4().simple().to_string();
        let summary = MeetingSummary {
            index,
            stream_id: stream_id.clone(),
            meeting_id: meeting_id.clone(),
            ..MeetingSummary::default()
        };
        let length_ms = material.length_ms(settings);
        Arc::new(Self {
            index,
            settings: settings.clone(),
            material: material.clone(),
            stream_id,
            stagger,
            stop_reason,
            meeting_id,
            session_id: uuid::Uuid::new_v4().simple().to_string(),
            length_ms,
            progress: progress.clone(),
            tasks: TaskTracker::new(),
            over: CancellationToken::new(),
            abandoned: CancellationToken::new(),
            changed: Notify::new(),
            clock: OnceLock::new(),
            end_ms: AtomicI64::new(length_ms),
            generation: AtomicUsize::new(0),
            bases,
            state: Mutex::new(State { buffer_data: true, session_state: 1, summary, ..State::default() }),
        })
    }

    /// The meeting's number.
    pub(super) fn number(&self) -> String {
        (FIRST_NUMBER + self.index as u64).to_string()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Media time begins, and with it the wait for a client.
    pub(super) fn start(&self) -> &Clock {
        let clock = self.clock.get_or_init(|| Clock::start(self.settings.speed));
        let mut state = self.state();
        state.summary.start_ms = clock.epoch_ms;
        let window = self.window(SIGNALING_WINDOW, 11, None);
        state.windows.insert(None, window);
        clock
    }

    pub(super) fn clock(&self) -> &Clock {
        self.clock.get_or_init(|| Clock::start(self.settings.speed))
    }

    /// Media made from here on is not sent.
    pub(super) fn end_ms(&self) -> i64 {
        self.end_ms.load(Ordering::Relaxed)
    }

    pub(super) fn end_at(&self, ms: i64) {
        self.end_ms.fetch_min(ms, Ordering::Relaxed);
    }

    fn window(&self, length: Duration, stop_reason: i64, loss: Option<usize>) -> Window {
        let length = self.settings.reconnect_window.unwrap_or_else(|| self.clock().real(length));
        let lost = Instant::now();
        Window { lost, deadline: lost + length, stop_reason, loss }
    }

    // Addresses.

    pub(super) fn generation(&self) -> usize {
        self.generation.load(Ordering::Relaxed)
    }

    fn base(&self) -> String {
        match self.generation() {
            0 => self.bases[0].clone(),
            n => format!("{}/failover{n}", self.bases[self.bases.len() - 1]),
        }
    }

    pub(super) fn signaling_url(&self) -> String {
        format!("{}/signaling/{}", self.base(), self.stream_id)
    }

    pub(super) fn media_urls(&self) -> Value {
        let mut urls = json!({});
        let offered = self.settings.media.iter().map(|m| m.params_key());
        for key in offered.chain(["all"]) {
            urls[key] = format!("{}/media/{}/{key}", self.base(), self.stream_id).into();
        }
        urls
    }

    // Connections.

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
        if state.signaling.is_none() {
            return Err((2, NO_SIGNALING));
        }
        let clashes = |link: &Link| link.unified || unified || link.media.iter().any(|m| media.contains(m));
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

    // Media.

    /// A connection begins to send a medium: says where the feed goes on, and counts what is lost for good.
    pub(super) fn begin(&self, feed: &mut Feed) {
        let now = self.clock().position().min(self.end_ms());
        let mut state = self.state();
        let cursor = state.cursors.get(&feed.medium).copied();
        let from = cursor.unwrap_or(0);
        let keeps = feed.medium == Medium::Audio && (cursor.is_some() || state.buffer_data);
        let to = if keeps { from.max(now - SOUND_KEPT_MS) } else { from.max(now) };
        let missed = feed.count(from, to);
        feed.seek(to);
        state.cursors.insert(feed.medium, feed.at().unwrap_or(i64::MAX));
        state.parked.remove(&feed.medium);
        state.summary.media.entry(feed.medium).or_default().not_delivered += missed;
    }

    /// A batch has been written to the socket.
    pub(super) fn sent(&self, batch: Vec<(Medium, Made)>, skipped: u64, feeds: &[Feed]) {
        self.progress.count(batch.len() as u64);
        let epoch_ms = self.clock().epoch_ms;
        let mut guard = self.state();
        let state = &mut *guard;
        for (medium, made) in batch {
            state.summary.record(medium, made, epoch_ms);
        }
        if skipped > 0 {
            state.summary.media.entry(Medium::Video).or_default().before_key_frame += skipped;
        }
        for feed in feeds {
            state.cursors.insert(feed.medium, feed.at().unwrap_or(i64::MAX));
        }
    }

    /// Whether every medium that flows has been sent up to the end.
    pub(super) fn drained(&self) -> bool {
        let state = self.state();
        let mut flowing = state.media.iter().filter(|link| link.ready).flat_map(|link| &link.media);
        let end_ms = self.end_ms();
        flowing.all(|medium| state.cursors.get(medium).is_some_and(|&at| at >= end_ms))
    }

    pub(super) fn video_of(&self) -> Option<u32> {
        self.state().video_of
    }

    /// Answers a subscription to one participant's picture with a status.
    pub(super) fn subscribe_video(&self, user: u32, subscribe: bool, exists: bool) -> (i64, &'static str) {
        let mut state = self.state();
        if !exists || !state.media.iter().any(|link| link.individual) {
            return (42, "INVALID_EVENT_SUBSCRIBE");
        }
        match (subscribe, state.video_of == Some(user)) {
            (true, true) => return (44, "DUPLICATE_VIDEO_SUBSCRIPTION"),
            (true, false) => state.video_of = Some(user),
            (false, true) => state.video_of = None,
            (false, false) => return (42, "INVALID_EVENT_SUBSCRIBE"),
        }
        (0, "OK")
    }

    // Signaling.

    /// Sends an event to a client that has subscribed to it.
    pub(super) fn event(&self, event: Value) {
        let state = self.state();
        if event["event_type"].as_i64().is_some_and(|n| state.subscribed.contains(&n)) {
            state.send(json!({"msg_type": 6, "event": event}));
        }
    }

    pub(super) fn subscribe(&self, event: i64, on: bool) {
        let mut state = self.state();
        if on {
            state.subscribed.insert(event);
        } else {
            state.subscribed.remove(&event);
        }
    }

    pub(super) fn set_stream(&self, state: &mut State, stream_state: i64, reason: i64) {
        state.stream_state = stream_state;
        state.send(json!({
            "msg_type": 8, "state": stream_state, "reason": reason, "timestamp": self.clock().now(),
        }));
    }

    pub(super) fn set_session(&self, state: &mut State, session_state: i64, stop_reason: Option<i64>) {
        state.session_state = session_state;
        let mut message = json!({
            "msg_type": 9, "state": session_state, "rtms_session_id": self.session_id, "timestamp": self.clock().now(),
        });
        if let Some(reason) = stop_reason {
            message["stop_reason"] = reason.into();
        }
        state.send(message);
    }

    /// Notes something that Zoom would not accept, with what it was answered.
    pub(super) fn refuse(&self, text: String) {
        self.progress.meeting_note(&format!("meeting {}: refused: {text}", self.index + 1));
        let mut state = self.state();
        // A client that repeats itself for hours is not worth the memory.
        if state.summary.refusals.len() < 100 {
            state.summary.refusals.push(text);
        }
    }

    // Ending.

    /// When the interrupted event is due, if it is.
    pub(super) fn interrupted_at(&self) -> Option<Instant> {
        self.state().interrupted_at
    }

    /// Whether the interrupted event is to be posted now; it is asked for once.
    pub(super) fn take_interrupted(&self) -> bool {
        let due = |at: &mut Instant| *at <= Instant::now();
        self.state().interrupted_at.take_if(due).is_some()
    }

    /// The first deadline of something that was lost, and the stop reason if it passes.
    pub(super) fn deadline(&self) -> Option<(Instant, i64)> {
        let state = self.state();
        let windows = state.windows.values().map(|w| (w.deadline, w.stop_reason));
        windows.min_by_key(|(deadline, _)| *deadline)
    }

    /// Says that it is over and closes everything; gives the summary when the sockets have gone.
    pub(super) async fn finish(&self, stop_reason: i64) -> MeetingSummary {
        {
            let mut guard = self.state();
            let state = &mut *guard;
            self.set_session(state, 5, Some(stop_reason));
            self.set_stream(state, 4, stop_reason);
            state.windows.clear();
            for link in state.media.drain(..) {
                tell(&link.controls, Control::Close);
            }
            if let Some((_, controls)) = state.signaling.take() {
                tell(&controls, Control::Close);
            }
        }
        self.tasks.close();
        self.over.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await.ok();
        let end_ms = self.end_ms();
        let mut state = self.state();
        for (medium, feed) in std::mem::take(&mut state.parked) {
            let from = state.cursors.get(&medium).copied().unwrap_or(0);
            let missed = feed.count(from, end_ms);
            state.summary.media.entry(medium).or_default().not_delivered += missed;
        }
        state.summary.end_ms = self.clock().timestamp(end_ms);
        state.summary.stop_reason = stop_reason;
        state.summary.clone()
    }
}
