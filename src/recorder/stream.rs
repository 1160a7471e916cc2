//! What is known of one stream id: its recordings so far, and which of them an event is about.

use crate::capture::Command;
use crate::events::{Delivery, NotTaken, TOO_LATE};
use crate::ids::MeetingId;
use crate::journal::{EVENT, Journal};
use crate::protocol::event::Started;
use crate::protocol::server_urls::ServerUrl;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How long an event may take to be on the disk: less than its answer may take.
const KEEP_WITHIN: Duration = Duration::from_secs(2);

/// A stream. Its state is held while an event about it is being made durable.
#[derive(Default)]
pub(super) struct Stream {
    /// The ordinal of its newest recording; 0 if there is none.
    pub(super) ordinal: u32,
    /// Start events up to this time (Zoom's, Unix ms) have had their effect.
    pub(super) until_ts: i64,
    live: Option<Box<Live>>,
    /// Its recordings that can still be deleted.
    pub(super) recordings: Vec<Known>,
}

/// A stream that is being captured.
pub(super) struct Live {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) journal: Journal,
    /// Zoom's time of the newest start event; a stop event from before it is about an earlier recording.
    pub(super) since_ts: i64,
    /// The key and the identity that its handshakes are signed with.
    pub(super) identity: (&'static str, MeetingId),
}

impl Live {
    /// Whether a start event is about another meeting than the one that is being recorded. Which key it comes under may
    /// differ; then nobody can say.
    pub(super) fn is_of_another(&self, started: &Started) -> bool {
        self.identity.0 == started.id_key && self.identity.1 != started.id
    }

    /// Tells the capture that Zoom has moved the stream to `url`. Returns whether it goes on there: if it is over meanwhile, a
    /// start event begins another recording.
    pub(super) async fn moves(&self, delivery: &Delivery, url: ServerUrl) -> Result<bool, NotTaken> {
        let (goes_on, answer) = oneshot::channel();
        if self.commands.send(Command::Restarted(url, goes_on)).await.is_err() || answer.await.is_err() {
            return Ok(false);
        }
        self.keep(delivery).await?;
        Ok(true)
    }

    /// Puts an event into the journal, durably. If the stream ends by itself at the same moment, and its journal with it,
    /// nothing needs the event any more.
    pub(super) async fn keep(&self, delivery: &Delivery) -> Result<(), NotTaken> {
        self.journal.append(delivery.received_ms, EVENT, &delivery.body);
        // Whoever has the recording deleted, which makes room, waits until this one is answered.
        match tokio::time::timeout(KEEP_WITHIN, self.journal.sync()).await {
            Ok(Ok(())) => Ok(()),
            // A capture lets go of its commands before its journal is closed.
            Ok(Err(_)) if self.commands.is_closed() => Ok(()),
            Ok(Err(err)) => Err(NotTaken(err.to_string())),
            Err(_) => Err(NotTaken(TOO_LATE.into())),
        }
    }
}

/// A recording of the stream.
pub(super) struct Known {
    pub(super) ordinal: u32,
    /// Zoom's time of its start event.
    pub(super) since_ts: i64,
    pub(super) state: State,
}

pub(super) enum State {
    /// Captured, rendered or uploaded; the token tells it that consent was withdrawn.
    Unfinished(CancellationToken),
    /// In the bucket, as its `done.json` says, or its plan if that could not be written.
    Published,
    /// Deleted, or on the way there.
    Withdrawn,
}

impl Stream {
    /// Whether nothing is known of it.
    pub(super) fn is_unknown(&self) -> bool {
        self.ordinal == 0 && self.until_ts == 0
    }

    /// The capture that runs, if one does.
    pub(super) fn live(&mut self) -> Option<&mut Live> {
        self.live.as_deref_mut().filter(|live| !live.commands.is_closed())
    }

    /// A recording is begun or picked up; `withdrawn` tells it that consent was withdrawn.
    pub(super) fn add(&mut self, ordinal: u32, since_ts: i64, withdrawn: CancellationToken) {
        // It may be picked up for the second time.
        self.recordings.retain(|known| known.ordinal != ordinal);
        self.ordinal = self.ordinal.max(ordinal);
        self.until_ts = self.until_ts.max(since_ts);
        // Most streams have one, and many streams are remembered.
        self.recordings.reserve_exact(1);
        self.recordings.push(Known { ordinal, since_ts, state: State::Unfinished(withdrawn) });
    }

    /// Whether its newest recording is deleted, or on the way there.
    pub(super) fn is_withdrawn(&self) -> bool {
        let newest = self.recordings.iter().find(|known| known.ordinal == self.ordinal);
        newest.is_some_and(|known| matches!(known.state, State::Withdrawn))
    }

    pub(super) fn go_live(&mut self, live: Live) {
        self.live = Some(Box::new(live));
    }

    /// A recording is over: published or deleted. What is deleted stays so.
    pub(super) fn note_over(&mut self, ordinal: u32, state: State) {
        // It would keep the journal's memory for as long as the stream is remembered.
        self.live.take_if(|live| live.commands.is_closed());
        let known = self.recordings.iter_mut().find(|known| known.ordinal == ordinal);
        if let Some(known) = known.filter(|known| !matches!(known.state, State::Withdrawn)) {
            known.state = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Disk;
    use crate::protocol::event::Event;
    use crate::protocol::server_urls::AllowedHosts;

    /// Zoom says that a stream is over on its socket and by an event, at the same time.
    #[tokio::test]
    async fn an_event_that_meets_the_end_of_the_capture_is_answered() {
        let tmp = tempfile::tempdir().expect("a directory");
        let journal = Disk::start().expect("threads").open(tmp.path(), 1, "{}").expect("a journal");
        let (commands, received) = mpsc::channel(1);
        let live =
            Live { commands, journal: journal.clone(), since_ts: 1, identity: ("meeting_uuid", MeetingId::new("m")) };
        let event = Event::Other { name: "any".into() };
        let delivery = Delivery { event, body: "{}".into(), received_ms: 2, app: None };
        drop(received);
        journal.close().await.expect("a closed journal");
        let wait = Duration::from_secs(10);
        let kept = tokio::time::timeout(wait, live.keep(&delivery)).await;
        kept.expect("an answer").expect("nothing to be sent again");
        let url = AllowedHosts::new(".zoom.us").check("wss://b.zoom.us").expect("an address");
        let moved = tokio::time::timeout(wait, live.moves(&delivery, url)).await;
        assert!(!moved.expect("an answer").expect("nothing to be sent again"), "it begins another recording");
    }
}
