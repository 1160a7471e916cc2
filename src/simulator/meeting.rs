//! What the sockets of one stream share: who is connected, what each medium has been sent, and what was lost.
//!
//! The server's side of the rules is kept here and in [`super::connections`] only: one connection for each thing, no medium
//! before its ready-ack, sound kept while its socket is down, and a deadline for whatever was lost. Socket tasks report
//! in; the driver acts. Nothing awaits under the lock.

use super::clock::Clock;
use super::feed::{Feed, Made};
use super::material::Material;
use super::server::Server;
use super::state::{Control, State, Window, tell};
use super::summary::MeetingSummary;
use super::{Progress, Settings, mock, products};
use crate::protocol::message::Medium;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How much sound is kept for a socket that is not there.
const SOUND_KEPT_MS: i64 = 60_000;
/// How long signaling is waited for.
pub(super) const SIGNALING_WINDOW: Duration = Duration::from_secs(60);
/// How long a medium is waited for.
pub(super) const MEDIA_WINDOW: Duration = Duration::from_secs(65);

/// The number of the first meeting.
pub(super) const FIRST_NUMBER: u64 = 90_000_000_000;

/// The stop reason of a meeting that is over.
pub(super) const MEETING_ENDED: i64 = 6;

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
    pub(super) generation: AtomicUsize,
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
        let meeting_id = products::id(settings.product);
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
        let stream_id = match settings.mock {
            true => format!("rtms_{}_001", uuid::Uuid::new_v4().simple()),
            false => uuid::Uuid::new_v4().simple().to_string(),
        };
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
        self.state.lock()
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

    pub(super) fn window(&self, length: Duration, stop_reason: i64, loss: Option<usize>) -> Window {
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
        if self.settings.mock {
            return mock::url(&self.bases[0], "");
        }
        format!("{}/signaling/{}", self.base(), self.stream_id)
    }

    /// The address of the test server's socket for a medium.
    pub(super) fn mock_url(&self, key: &str) -> String {
        mock::url(&self.bases[0], key)
    }

    pub(super) fn media_urls(&self) -> Value {
        let mut urls = json!({});
        let offered = self.settings.media.iter().map(|m| m.params_key());
        for key in offered.chain(["all"]) {
            urls[key] = format!("{}/media/{}/{key}", self.base(), self.stream_id).into();
        }
        urls
    }

    // Media.

    /// A connection begins to send a medium: says where the feed goes on, and counts what is lost for good.
    pub(super) fn begin(&self, feed: &mut Feed) {
        let now = self.clock().position().min(self.end_ms());
        let mut state = self.state();
        let cursor = state.cursors.get(&feed.medium).copied();
        let from = cursor.unwrap_or(0);
        let keeps = !self.settings.mock && feed.medium == Medium::Audio && (cursor.is_some() || state.buffer_data);
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
