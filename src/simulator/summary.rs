//! What was sent, exactly: the other half of every measurement of a recorder.

use super::attack::Siege;
use super::cloud::Download;
use super::events::EventsSummary;
use crate::protocol::message::Medium;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// In the order of their start.
    pub meetings: Vec<MeetingSummary>,
    /// Calls of the REST API.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rest: Vec<RestCall>,
    /// What strangers did meanwhile, if there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub siege: Option<Siege>,
    /// What went over the event WebSocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<EventsSummary>,
    /// Requests for files of the cloud recording.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub downloads: Vec<Download>,
}

/// One call of the REST API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestCall {
    /// What was asked for.
    pub call: String,
    /// The HTTP status of the answer.
    pub status: u16,
}

/// One meeting. Times named `_ms` are Unix milliseconds of media time, as in the messages' timestamps, unless they
/// say `after`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MeetingSummary {
    /// Counted from 0.
    pub index: usize,
    /// `rtms_stream_id`.
    pub stream_id: String,
    /// `meeting_uuid` or its counterpart.
    pub meeting_id: String,
    /// Position 0: the first started event's `event_ts`.
    pub start_ms: i64,
    /// Where the stream ended.
    pub end_ms: i64,
    /// Why it ended.
    pub stop_reason: i64,
    /// What was sent of each medium that was connected.
    pub media: BTreeMap<Medium, MediumSummary>,
    /// Sound by participant, when it was asked for like that.
    pub participants: BTreeMap<u32, MediumSummary>,
    /// When each beep that was sent sets in.
    pub beeps_ms: Vec<i64>,
    /// The timestamp of the first white picture of each flash that was sent.
    pub flashes_ms: Vec<i64>,
    /// Messages of transcript that were sent: corrections and deletions too.
    pub transcript: Vec<Line>,
    /// Chat messages that were sent: edits, deletions and reactions too.
    pub chat: Vec<Line>,
    /// Connections that were lost, in order.
    pub losses: Vec<Loss>,
    /// Signaling handshakes that succeeded.
    pub signaling_handshakes: u64,
    /// Media handshakes that succeeded.
    pub media_handshakes: u64,
    /// Real time from the first started event until signaling was up.
    pub signaling_after_ms: Option<u64>,
    /// Real time from the first started event until the first medium was ready.
    pub media_after_ms: Option<u64>,
    /// Every webhook sent and what came back.
    pub webhooks: Vec<WebhookAnswer>,
    /// What the client did that Zoom would not accept.
    pub refusals: Vec<String>,
    /// Why nothing, or not everything, could be played.
    pub error: Option<String>,
}

/// One medium, or one participant's sound.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MediumSummary {
    /// Messages sent: packets, pictures, lines.
    pub messages: u64,
    /// Payload bytes sent, before base64.
    pub bytes: u64,
    /// Samples sent, per channel.
    pub samples: i64,
    /// Pictures among the messages that decoding can start from.
    pub key_frames: u64,
    /// The first timestamp sent.
    pub first_ms: Option<i64>,
    /// The last timestamp sent.
    pub last_ms: Option<i64>,
    /// Messages that fell due with no connection to send them over, and were not kept.
    pub not_delivered: u64,
    /// Pictures passed over because the key frame before them was not sent.
    pub before_key_frame: u64,
}

/// Something said or written, or what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its timestamp; a correction has that of what it corrects.
    pub timestamp_ms: i64,
    /// The text; empty for a deletion.
    pub text: String,
    /// The message's `content` as it was sent; none when a journal is replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<serde_json::Value>,
}

/// A connection that was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// `None` for signaling.
    pub medium: Option<Medium>,
    /// When.
    pub at_ms: i64,
    /// Why.
    pub cause: &'static str,
    /// Real time until it was back (a medium: ready again); `None` if it never was.
    pub back_after_ms: Option<u64>,
}

/// One delivery of a webhook.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WebhookAnswer {
    /// The event's name.
    pub event: String,
    /// Its `event_ts`.
    pub event_ts: i64,
    /// 1, and more for retries.
    pub attempt: u32,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Time until the answer, or until giving up.
    pub after_ms: f64,
    /// What went wrong and what to change.
    pub error: Option<String>,
}

impl MeetingSummary {
    /// What was sent of a medium; nothing if it was never connected.
    pub fn medium(&self, medium: Medium) -> MediumSummary {
        self.media.get(&medium).cloned().unwrap_or_default()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for meeting in self.meetings.iter().take(SHOWN) {
            writeln!(f, "{meeting}")?;
        }
        if let Some(events) = &self.events {
            writeln!(f, "{events:?}")?;
        }
        for RestCall { call, status } in &self.rest {
            writeln!(f, "REST: {call}: answered {status}")?;
        }
        if let Some(siege) = &self.siege {
            write!(f, "{siege}")?;
        }
        if self.meetings.len() <= SHOWN {
            return Ok(());
        }
        writeln!(f, "... and {} meetings more; --json has them all", self.meetings.len() - SHOWN)?;
        let sum = |pick: fn(&MediumSummary) -> u64| -> u64 {
            let media = self.meetings.iter().flat_map(|m| m.media.values());
            media.map(pick).sum()
        };
        let mut latencies: Vec<f64> = self
            .meetings
            .iter()
            .flat_map(|m| m.webhooks.iter().filter(|w| w.status.is_some()).map(|w| w.after_ms))
            .collect();
        latencies.sort_by(f64::total_cmp);
        let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or(0.0);
        write!(
            f,
            "all {} meetings: {} messages, {:.1} MB, {} not delivered, {} connections lost, {} refusals, {} failed; \
             webhooks answered in {:.0} ms (median), {:.0} ms (99 %)",
            self.meetings.len(),
            sum(|m| m.messages),
            sum(|m| m.bytes) as f64 / 1e6,
            sum(|m| m.not_delivered),
            self.meetings.iter().map(|m| m.losses.len()).sum::<usize>(),
            self.meetings.iter().map(|m| m.refusals.len()).sum::<usize>(),
            self.meetings.iter().filter(|m| m.error.is_some()).count(),
            at(0.5),
            at(0.99),
        )
    }
}

impl fmt::Display for MeetingSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |ms: i64| (ms - self.start_ms) as f64 / 1000.0;
        writeln!(f, "stream {} ({})", self.stream_id, self.meeting_id)?;
        if let Some(error) = &self.error {
            writeln!(f, "  FAILED      {error}")?;
        }
        let reason = crate::output::StopReason::new(Some(self.stop_reason), crate::output::StopSource::Event);
        writeln!(
            f,
            "  lasted      {:.1} s from {} (Unix ms), ended with reason {} {}",
            seconds(self.end_ms),
            self.start_ms,
            self.stop_reason,
            reason.name
        )?;
        for (medium, sent) in &self.media {
            write!(f, "  {:<11} {} messages", medium.as_str(), sent.messages)?;
            if sent.samples > 0 {
                write!(f, ", {} samples", sent.samples)?;
            }
            if matches!(medium, Medium::Video | Medium::Share) {
                write!(f, ", {} key frames", sent.key_frames)?;
            }
            if let (Some(first), Some(last)) = (sent.first_ms, sent.last_ms) {
                write!(f, ", from {:.3} s to {:.3} s", seconds(first), seconds(last))?;
            }
            if sent.not_delivered > 0 {
                write!(f, "; {} not delivered", sent.not_delivered)?;
            }
            if sent.before_key_frame > 0 {
                write!(f, "; {} passed over before a key frame", sent.before_key_frame)?;
            }
            writeln!(f)?;
        }
        if self.media.is_empty() {
            writeln!(f, "  nothing sent: no medium was ever ready")?;
        }
        for (user, sent) in &self.participants {
            writeln!(f, "  user {user}: {} packets, {} samples", sent.messages, sent.samples)?;
        }
        for (name, marks) in [("beeps", &self.beeps_ms), ("flashes", &self.flashes_ms)] {
            let (Some(first), Some(last)) = (marks.first(), marks.last()) else {
                continue;
            };
            writeln!(
                f,
                "  {name:<11} {}, the first at {:.3} s, the last at {:.3} s",
                marks.len(),
                seconds(*first),
                seconds(*last)
            )?;
        }
        for loss in &self.losses {
            let what = loss.medium.map_or("signaling", Medium::as_str);
            write!(f, "  lost        {what} at {:.3} s ({}), ", seconds(loss.at_ms), loss.cause)?;
            match loss.back_after_ms {
                Some(ms) => writeln!(f, "back after {ms} ms")?,
                None => writeln!(f, "never back")?,
            }
        }
        for answer in &self.webhooks {
            write!(f, "  webhook     {} ", answer.event)?;
            match (answer.status, &answer.error) {
                (Some(status), None) => writeln!(f, "answered {status} in {:.0} ms", answer.after_ms)?,
                (_, Some(error)) => writeln!(f, "attempt {}: {error}", answer.attempt)?,
                (None, None) => writeln!(f, "not answered")?,
            }
        }
        for refusal in &self.refusals {
            writeln!(f, "  refused     {refusal}")?;
        }
        Ok(())
    }
}
