//! What a journal says about a recording besides its media: who, when, how it ended, what was down in between.

use super::items::{Item, Received};
use super::texts::Down;
use crate::ids::{Product, RecordingId};
use crate::journal::Note;
use crate::media::{Pts, Timestamp};
use crate::output::manifest::{Counters, Ids, Manifest, Recorder, SCHEMA_VERSION};
use crate::output::timeline::{Connection, ConnectionEvent};
use crate::output::{StopReason, StopSource};
use crate::protocol::event::{Event, Started};
use crate::protocol::message::Medium;
use crate::protocol::server_urls;
use crate::timeline::Span;
use crate::timeline::clock::{Clock, Place};
use std::collections::BTreeMap;

/// A connection that is lost this shortly before the end was closed because of it.
const ENDING_MS: i64 = 5000;

/// Collected while a journal is read.
#[derive(Debug, Default)]
pub(super) struct Facts {
    started: Option<Started>,
    last_start_ts: i64,
    stop_event: Option<(i64, Option<i64>)>,
    ended: Option<(String, Option<i64>)>,
    ended_t_ms: Option<i64>,
    counters: Counters,
    /// The smallest distance between the receipt of a packet and its own time: the recorder's clock against Zoom's.
    skew_ms: Option<i64>,
    /// When each medium's connection was lost, by the recorder's clock; open until it is connected again.
    lost: BTreeMap<Medium, i64>,
    /// Those that were up when the recorder was stopped or killed, and have not been since.
    left: Vec<Medium>,
    down: Vec<(Medium, i64, i64)>,
    disk: Vec<(i64, i64)>,
    disk_messages: u64,
    refused: BTreeMap<String, String>,
    last_t_ms: i64,
    connected: Vec<Medium>,
    signaling_was_up: bool,
    /// Of the servers, each once.
    regions: Vec<String>,
    /// By the recorder's clock.
    connections: Vec<(i64, String, ConnectionEvent, Option<String>)>,
}

impl Facts {
    /// Takes in one item. A packet's time is given by whoever has admitted it, see [`Facts::heard`].
    pub(super) fn push(&mut self, received: &Received) {
        let t_ms = received.t_ms;
        self.counters.messages += u64::from(received.is_message);
        match &received.item {
            Item::Event(event) => self.event(event),
            Item::Note(note) => self.note(note, t_ms),
            Item::Unreadable => self.counters.unparsed_messages += 1,
            _ => {}
        }
        self.last_t_ms = self.last_t_ms.max(t_ms);
    }

    /// A packet of this time was received at `t_ms`.
    pub(super) fn heard(&mut self, t_ms: i64, timestamp: Timestamp) {
        let skew = t_ms.saturating_sub(timestamp.0);
        self.skew_ms = Some(self.skew_ms.map_or(skew, |least| least.min(skew)));
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Started(started) => {
                self.last_start_ts = self.last_start_ts.max(started.event_ts);
                if self.started.is_none() {
                    self.started = Some((**started).clone());
                }
            }
            Event::Stopped { event_ts, stop_reason, .. } => {
                self.stop_event.get_or_insert((*event_ts, *stop_reason));
            }
            _ => {}
        }
    }

    fn note(&mut self, note: &Note, t_ms: i64) {
        let mut happened = |conn: &str, event, because: Option<&String>| {
            self.connections.push((t_ms, conn.to_owned(), event, because.cloned()));
        };
        match note {
            Note::Connected { conn, .. } => happened(conn, ConnectionEvent::Connected, None),
            Note::Lost { conn, because, .. } => happened(conn, ConnectionEvent::Lost, Some(because)),
            Note::Refused { conn, because, .. } => happened(conn, ConnectionEvent::Refused, Some(because)),
            _ => {}
        }
        match note {
            Note::Connected { conn, host, .. } => {
                let region = host.as_deref().and_then(server_urls::region);
                self.regions.extend(region.filter(|region| !self.regions.contains(region)));
                self.counters.connections += 1;
                self.signaling_was_up |= conn == "signaling";
                if let Some(medium) = medium(conn) {
                    self.left.retain(|left| *left != medium);
                    if let Some(since) = self.lost.remove(&medium) {
                        self.down.push((medium, since, t_ms));
                    }
                    if !self.connected.contains(&medium) {
                        self.connected.push(medium);
                    }
                }
            }
            Note::Lost { conn, .. } => {
                if let Some(medium) = medium(conn) {
                    self.lost.entry(medium).or_insert(t_ms);
                }
            }
            Note::Refused { conn, because, .. } => {
                self.refused.insert(conn.clone(), because.clone());
            }
            Note::Resumed => {
                for &medium in &self.connected {
                    if !self.lost.contains_key(&medium) {
                        self.lost.insert(medium, self.last_t_ms);
                        self.left.push(medium);
                    }
                }
            }
            Note::Dropped { messages, from_ms, to_ms, .. } => {
                self.disk.push((*from_ms, *to_ms));
                self.disk_messages += messages;
            }
            Note::Ended { source, reason } => {
                self.ended = Some((source.clone(), *reason));
                self.ended_t_ms = Some(t_ms);
                // Zoom closes the sockets of a stream that is over, in any order.
                let broken = |since: &i64| t_ms.saturating_sub(*since) > ENDING_MS || source == "unreachable";
                let left = &self.left;
                self.lost.retain(|medium, since| broken(since) || left.contains(medium));
            }
        }
    }

    /// When this medium's connection was down, on the recording's timeline, as far as that explains `holes`.
    ///
    /// Where pictures neither stopped when the connection was lost nor began when it was back, none were being sent.
    pub(super) fn down(&self, medium: Medium, clock: &Clock, holes: &[Span]) -> Vec<Span> {
        const NEAR_MS: i64 = 2500;
        let until_now = self.lost.iter().map(|(&medium, &since)| (medium, since, i64::MAX));
        let spans = self.down.iter().copied().chain(until_now).filter(|(of, ..)| *of == medium);
        let near = |at: Pts, down: &Span| at.0 >= down.start.0 - NEAR_MS && at.0 <= down.end.0.saturating_add(NEAR_MS);
        spans
            .map(|(_, from, to)| self.span(clock, from, to))
            .filter(|down| holes.iter().any(|hole| near(hole.start, down) || near(hole.end, down)))
            .collect()
    }

    /// When the connections of texts were down. Nothing tells whether there was anything to be received.
    pub(super) fn texts_down(&self, clock: &Clock) -> Down {
        let of = |medium: Medium| {
            let until_end = self.lost.get(&medium).map(|&since| (since, self.last_t_ms));
            let ended = self.down.iter().filter(|(of, ..)| *of == medium).map(|&(_, from, to)| (from, to));
            let places = |(from, to)| (self.zooms_time(from), self.zooms_time(to));
            // However soon it was back, what was on its way is lost; within a cut pause nothing was.
            let matters = |(from, to): &(Timestamp, Timestamp)| {
                clock.pts(*from) < clock.pts(*to) || clock.place(*from) != Place::Paused
            };
            let span =
                |(from, to)| Span::new(clock.pts(from), clock.pts(to).max(Pts(clock.pts(from).0.saturating_add(1))));
            ended.chain(until_end).map(places).filter(matters).map(span).collect()
        };
        Down { transcript: of(Medium::Transcript), chat: of(Medium::Chat) }
    }

    /// When the disk took nothing, on the recording's timeline.
    pub(super) fn disk(&self, clock: &Clock) -> Vec<Span> {
        self.disk.iter().map(|&(from, to)| self.span(clock, from, to)).collect()
    }

    /// The end of what the disk did not take, on the recording's timeline, unless the stream had ended before.
    pub(super) fn disk_end(&self, clock: &Clock) -> Pts {
        let last = self.disk.iter().map(|&(_, to)| to).max();
        let last = last.map(|to| self.ended_t_ms.map_or(to, |ended| to.min(ended)));
        last.map_or(Pts(0), |t_ms| self.at(clock, t_ms))
    }

    /// Where the recording's timeline was when the recorder's clock showed `t_ms`.
    pub(super) fn at(&self, clock: &Clock, t_ms: i64) -> Pts {
        clock.pts(self.zooms_time(t_ms))
    }

    /// What happened to connections, on the recording's timeline.
    pub(super) fn connections(&self, clock: &Clock) -> Vec<Connection> {
        let on_timeline = |(t_ms, connection, event, because): &(i64, String, ConnectionEvent, Option<String>)| {
            let at = self.zooms_time(*t_ms);
            let (connection, because) = (connection.clone(), because.clone());
            Connection { at_ms: clock.pts(at), at, connection, event: *event, because }
        };
        self.connections.iter().map(on_timeline).collect()
    }

    /// The time on Zoom's clock at which the recorder's showed `t_ms`.
    fn zooms_time(&self, t_ms: i64) -> Timestamp {
        Timestamp(t_ms.saturating_sub(self.skew_ms.unwrap_or_default()))
    }

    fn span(&self, clock: &Clock, from_ms: i64, to_ms: i64) -> Span {
        let pts = |t_ms: i64| self.at(clock, t_ms);
        // What was on its way when the connection broke is missing too.
        const IN_FLIGHT_MS: i64 = 1000;
        Span::new(Pts(pts(from_ms).0.saturating_sub(IN_FLIGHT_MS)), Pts(pts(to_ms).0.saturating_add(IN_FLIGHT_MS)))
    }

    /// The start event.
    pub(super) fn started(&self) -> Option<&Started> {
        self.started.as_ref()
    }

    /// A manifest with all that is known apart from media.
    pub(super) fn manifest(&self, recording_id: &RecordingId, started: &Started) -> Manifest {
        let (source, reason) = match &self.ended {
            Some((source, reason)) => (source.as_str(), *reason),
            None => ("", None),
        };
        let stop_reason = match (source, self.stop_event) {
            ("unreachable", None) => Some(StopReason::of_recorder(
                "UNREACHABLE",
                "No connection could be made for two minutes, and Zoom sent no stop event.",
            )),
            ("down", None) => Some(StopReason::of_recorder(
                "RECORDER_DOWN",
                "The recorder was down for longer than Zoom holds a stream.",
            )),
            ("shutdown", None) => Some(StopReason::of_recorder(
                "RECORDER_STOPPED",
                "The recorder was told to stop and to finish what it had (SHUTDOWN=finish).",
            )),
            ("operator", None) => Some(StopReason::of_recorder(
                "OPERATOR",
                "The recording was stopped on the recorder's status page or by its API.",
            )),
            (_, Some((_, code))) => Some(StopReason::new(code.or(reason), StopSource::Event)),
            ("", None) => None,
            (_, None) => Some(StopReason::new(reason, StopSource::Signaling)),
        };
        let ended_at = match self.stop_event {
            Some((event_ts, _)) => Some(Timestamp(event_ts)),
            None if matches!(source, "down" | "shutdown") => None,
            None => self.ended_t_ms.map(|t_ms| self.zooms_time(t_ms)),
        };
        Manifest {
            schema_version: SCHEMA_VERSION,
            recorder: Recorder::this(),
            recording_id: recording_id.clone(),
            stream_id: started.stream.stream_id.clone(),
            product: started.stream.product,
            ids: ids(started),
            regions: self.regions.clone(),
            previous: recording_id.previous(),
            continues: None,
            continued_by: None,
            started_at: Timestamp(started.event_ts),
            zero_at: None,
            ended_at,
            duration_ms: 0,
            stop_reason,
            complete: true,
            incomplete_because: self.incomplete_because(source),
            objects: Vec::new(),
            tracks: Vec::new(),
            gaps: Vec::new(),
            counters: self.counters,
            notes: self.notes(),
            deleted: None,
        }
    }

    fn notes(&self) -> Vec<String> {
        let never = |conn: &&String| match medium(conn) {
            Some(medium) => !self.connected.contains(&medium),
            None => !self.signaling_was_up,
        };
        let note = |conn: &String| format!("{conn} was never connected: {}.", self.refused[conn]);
        self.refused.keys().filter(never).map(note).collect()
    }

    fn incomplete_because(&self, source: &str) -> Vec<String> {
        let mut because = Vec::new();
        if source == "unreachable" {
            because
                .push("The connection was not regained before the stream ended; what came after is not known.".into());
        }
        if matches!(source, "shutdown" | "down") && self.stop_event.is_none() {
            because.push("The recorder was stopped before the stream ended; what came after is not known.".into());
        } else if source == "operator" && self.stop_event.is_none() {
            because.push("The recording was stopped before the stream ended; what came after is not in it.".into());
        } else if !self.left.is_empty() {
            because.push(
                "The recorder was down when the stream ended; what came between its last message and the end is not known.".into(),
            );
        }
        if self.connected.is_empty() {
            because.push("No medium was ever connected.".into());
        }
        if self.disk_messages > 0 {
            because.push(format!("The spool's disk did not take {} messages.", self.disk_messages));
        }
        because
    }
}

fn ids(started: &Started) -> Ids {
    let mut ids = Ids {
        meeting_id: started.meeting_id.clone(),
        session_key: started.session_key.clone(),
        account_id: started.account_id.clone(),
        operator_id: started.operator_id.clone(),
        ..Ids::default()
    };
    let id = Some(started.id.as_str().to_owned());
    match started.stream.product {
        Product::Meeting | Product::Webinar => ids.meeting_uuid = id,
        Product::Session => ids.session_id = id,
        Product::ContactCenter => ids.engagement_id = id,
        Product::Phone => ids.call_id = id,
    }
    ids
}

fn medium(conn: &str) -> Option<Medium> {
    Medium::ALL.into_iter().find(|medium| medium.as_str() == conn)
}
