//! Leads one meeting through its script: webhooks, people coming and going, faults, deadlines, the end.

use super::clock::Clock;
use super::meeting::Meeting;
use super::products;
use super::script::{Cut, Span};
use super::server::Registry;
use super::summary::{MeetingSummary, WebhookAnswer};
use super::text::{GUEST, GUEST_LEAVES_MS, PEOPLE, TURN_MS, speaker};
use super::webhooks::{Hooks, Kind, body};
use crate::ids::Product;
use crate::protocol::message::Medium;
use crate::rest;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// How often progress is shown at least.
const SHOW_EVERY: Duration = Duration::from_millis(250);
/// How long clients may take to read what they were sent before the end.
const DRAIN: Duration = Duration::from_secs(10);

/// The stop reason of a stream that was stopped by REST.
const USER_TRIGGERED: i64 = 2;

enum Action {
    Cut(Cut),
    FailOver,
    Interrupt,
    Pause,
    Resume,
    /// An `event` object without its timestamp.
    Event(Value),
    End,
}

/// Plays one meeting to its end.
pub(super) async fn play(meeting: Arc<Meeting>, hooks: Arc<Hooks>, registry: Registry) -> MeetingSummary {
    let settings = meeting.settings.clone();
    sleep(meeting.stagger).await;
    let clock = *meeting.start();
    registry.add(&meeting);
    let mut posts = Posts::new(&meeting, &hooks);
    if settings.webhooks.stop_before_start {
        posts.post(Kind::Stopped, clock.now(), meeting.stop_reason, 1);
        posts.finish().await;
    }
    posts.post(Kind::Started, clock.epoch_ms, 0, 1 + settings.webhooks.duplicates);

    let stop_reason = follow(&meeting, &clock, &mut posts).await;
    let refused = meeting.state().summary.error.is_some();
    let began = Instant::now();
    while !meeting.drained() && began.elapsed() < DRAIN {
        sleep(Duration::from_millis(10)).await;
    }
    let everybody: Vec<Value> = PEOPLE.iter().map(|person| json!({"user_id": person.id})).collect();
    if meeting.material.replay.is_none() && settings.product != Product::ContactCenter {
        meeting.event(json!({"event_type": 4, "timestamp": clock.now(), "participants": everybody}));
    }
    let mut summary = meeting.finish(stop_reason).await;
    registry.remove(&meeting);
    if !refused {
        if !settings.webhooks.stop_before_start {
            posts.post(Kind::Stopped, summary.end_ms, stop_reason, 1);
        }
        if settings.webhooks.late_start {
            posts.finish().await;
            posts.post(Kind::Started, clock.epoch_ms, 0, 1);
        }
    }
    posts.finish().await;
    summary.webhooks = posts.answers;
    summary
}

/// Does what the script says until the meeting ends; gives the stop reason.
async fn follow(meeting: &Arc<Meeting>, clock: &Clock, posts: &mut Posts) -> i64 {
    let settings = &meeting.settings;
    let stagger_ms = meeting.stagger.as_secs_f64() * 1000.0 * settings.speed;
    let mut actions = script(meeting).into_iter().peekable();
    loop {
        let action_at = actions.peek().map(|(at, _)| clock.instant(*at));
        let deadline = meeting.deadline();
        let wake = [action_at, deadline.map(|(at, _)| at), meeting.interrupted_at()]
            .into_iter()
            .flatten()
            .fold(Instant::now() + SHOW_EVERY, Instant::min);
        tokio::select! {
            () = sleep_until(wake) => {}
            () = meeting.changed.notified() => {}
            Some(refused) = posts.next(), if !posts.pending.is_empty() => {
                if let Some(error) = refused && meeting.state().summary.signaling_handshakes == 0 {
                    meeting.state().summary.error = Some(error);
                    meeting.end_at(clock.position());
                    return 11;
                }
            }
        }
        meeting.progress.at(clock.position() + stagger_ms as i64);
        if meeting.take_interrupted() {
            posts.post(Kind::Interrupted, clock.now(), 0, 1);
        }
        if meeting.state().close_requested {
            meeting.end_at(clock.position());
            return 20;
        }
        let ordered = meeting.state().ordered.pop_front();
        match ordered {
            Some(rest::Action::Stop) => {
                meeting.end_at(clock.position());
                return USER_TRIGGERED;
            }
            Some(rest::Action::Pause) => pause(meeting),
            Some(rest::Action::Resume) => resume(meeting),
            Some(rest::Action::Start) | None => {}
        }
        if let Some((at, stop_reason)) = meeting.deadline()
            && at <= Instant::now()
        {
            meeting.end_at(clock.position());
            meeting.progress.meeting_note(&format!(
                "meeting {}: nobody came in time, ending with reason {stop_reason}",
                meeting.index + 1
            ));
            return stop_reason;
        }
        while let Some((_, action)) = actions.next_if(|(at, _)| *at <= clock.position()) {
            match action {
                Action::End => return meeting.stop_reason,
                Action::FailOver => {
                    meeting.fail_over();
                    posts.post(Kind::Started, clock.now(), 0, 1);
                }
                Action::Cut(cut) => meeting.cut(cut.target),
                Action::Interrupt => meeting.interrupt(),
                Action::Pause => pause(meeting),
                Action::Resume => resume(meeting),
                Action::Event(mut event) => {
                    let key = if settings.product == Product::ContactCenter { "event_ts" } else { "timestamp" };
                    event[key] = clock.now().into();
                    meeting.event(event);
                }
            }
        }
    }
}

fn pause(meeting: &Meeting) {
    let mut state = meeting.state();
    meeting.set_session(&mut state, 3, None);
    meeting.set_stream(&mut state, 5, 0);
}

fn resume(meeting: &Meeting) {
    let mut state = meeting.state();
    meeting.set_session(&mut state, 4, None);
    meeting.set_stream(&mut state, 6, 0);
}

/// Everything that happens, in order.
fn script(meeting: &Meeting) -> Vec<(i64, Action)> {
    let script = &meeting.settings.script;
    let mut actions: Vec<(i64, Action)> = Vec::new();
    actions.extend(script.cuts.iter().map(|cut| (cut.at_ms, Action::Cut(*cut))));
    actions.extend(script.failover_ms.iter().map(|at| (*at, Action::FailOver)));
    actions.extend(script.interrupted_ms.iter().map(|at| (*at, Action::Interrupt)));
    for Span { start_ms, end_ms } in &script.pause {
        actions.push((*start_ms, Action::Pause));
        actions.push((*end_ms, Action::Resume));
    }
    match &meeting.material.replay {
        Some(replay) => actions.extend(replay.events.iter().map(|(at, e)| (*at, Action::Event(e.clone())))),
        None if meeting.settings.product == Product::ContactCenter => {
            let events = products::engagement(meeting.length_ms).into_iter();
            actions.extend(events.map(|(at, event)| (at, Action::Event(event))));
        }
        None => actions.extend(life(meeting)),
    }
    actions.retain(|(at, _)| *at < meeting.length_ms);
    actions.sort_by_key(|(at, _)| *at);
    actions.push((meeting.length_ms, Action::End));
    actions
}

/// What people do in a generated meeting.
fn life(meeting: &Meeting) -> Vec<(i64, Action)> {
    let script = &meeting.settings.script;
    let mut events = Vec::new();
    events.push((GUEST_LEAVES_MS, json!({"event_type": 4, "participants": [{"user_id": GUEST.id}]})));
    for person in PEOPLE.iter().chain([&GUEST]).filter(|person| person.joins_ms > 0) {
        let joined = json!([{"user_id": person.id, "user_name": person.name}]);
        events.push((person.joins_ms, json!({"event_type": 3, "participants": joined})));
    }
    for at in (0..meeting.length_ms).step_by(TURN_MS as usize) {
        let person = &PEOPLE[speaker(at)];
        let event = json!({"event_type": 2, "user_id": person.id, "user_name": person.name});
        events.push((at, event));
    }
    for span in &script.share {
        let person = &PEOPLE[1];
        let event = json!({"event_type": 5, "user_id": person.id, "user_name": person.name});
        events.push((span.start_ms, event));
        events.push((span.end_ms, json!({"event_type": 6})));
    }
    for person in PEOPLE.iter().chain([&GUEST]) {
        let camera = |on: bool| json!({"event_type": if on { 8 } else { 9 }, "participants": [{"user_id": person.id}]});
        let stays_until = if person.id == GUEST.id { GUEST_LEAVES_MS } else { i64::MAX };
        if person.joins_ms > 0 && !script.withholds(Medium::Video, person.joins_ms) {
            events.push((person.joins_ms, camera(true)));
        }
        for span in &script.camera_off {
            let switched = [(span.start_ms, camera(false)), (span.end_ms, camera(true))].into_iter();
            events.extend(switched.filter(|(at, _)| (person.joins_ms..stays_until).contains(at)));
        }
    }
    events.into_iter().map(|(at, event)| (at, Action::Event(event))).collect()
}

/// Webhooks on their way.
struct Posts {
    meeting: Arc<Meeting>,
    hooks: Arc<Hooks>,
    pending: JoinSet<(Kind, Vec<WebhookAnswer>)>,
    answers: Vec<WebhookAnswer>,
}

impl Posts {
    fn new(meeting: &Arc<Meeting>, hooks: &Arc<Hooks>) -> Self {
        Self { meeting: meeting.clone(), hooks: hooks.clone(), pending: JoinSet::new(), answers: Vec::new() }
    }

    /// Delivers an event so many times, all at once.
    fn post(&mut self, kind: Kind, event_ts: i64, stop_reason: i64, times: usize) {
        let body = body(&self.meeting, kind, event_ts, stop_reason);
        let delay = self.meeting.settings.webhooks.delay;
        for _ in 0..times {
            let (hooks, body) = (self.hooks.clone(), body.clone());
            self.pending.spawn(async move {
                sleep(delay).await;
                (kind, hooks.deliver(&body).await)
            });
        }
    }

    /// Waits for one delivery; gives the error of a started event that was never taken. Cancel safe.
    async fn next(&mut self) -> Option<Option<String>> {
        let (kind, answers) = self.pending.join_next().await?.ok()?;
        let last = answers.last().and_then(|answer| {
            let error = answer.error.as_ref()?;
            Some(format!("{}: the recorder at {} {error}", answer.event, self.meeting.settings.webhooks.to))
        });
        self.answers.extend(answers);
        Some(last.filter(|_| kind == Kind::Started))
    }

    async fn finish(&mut self) {
        while !self.pending.is_empty() {
            self.next().await;
        }
    }
}
