//! What an event does to the recordings. Each returns once its effect is durable.

use super::blocking::blocking;
use super::folder::{Deletion, Done, Folder};
use super::recording::Recording;
use super::stream::{State, Stream};
use super::{MOST_NOTICES, Recorder};
use crate::capture::Command;
use crate::clock;
use crate::events::{Delivery, NotTaken, Receiver};
use crate::ids::{Product, RecordingId, StreamId};
use crate::output::{StopReason, StopSource};
use crate::protocol::event::{Event, Notice, Started};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

impl Receiver for Recorder {
    fn deliver(&self, delivery: Delivery) -> Pin<Box<dyn Future<Output = Result<(), NotTaken>> + Send + '_>> {
        // In a task of its own: who waits for the answer may give up, and half an effect is worse than none.
        let acting = tokio::spawn(self.clone().act(delivery));
        Box::pin(async move { acting.await.unwrap_or_else(|err| Err(NotTaken(err.to_string()))) })
    }

    fn ready(&self) -> Result<Vec<String>, String> {
        self.readiness()
    }
}

impl Recorder {
    async fn act(self, delivery: Delivery) -> Result<(), NotTaken> {
        if self.shared.cancel.is_cancelled() {
            return Err(NotTaken("the recorder is shutting down".into()));
        }
        match delivery.event.clone() {
            Event::Started(started) => self.started(*started, &delivery).await,
            Event::Stopped { stream, event_ts, stop_reason } => {
                self.stopped(&stream.stream_id, event_ts, stop_reason, &delivery).await
            }
            Event::Interrupted { stream, event_ts } => {
                self.interrupted(&stream.stream_id, event_ts, &delivery).await;
                Ok(())
            }
            Event::Cloud(recording) => self.cloud_recording(*recording, &delivery).await,
            Event::Notice(notice) => {
                self.notice(&notice, delivery.received_ms);
                Ok(())
            }
            Event::Other { name } => {
                tracing::info!(name, "an event that asks for nothing");
                Ok(())
            }
            Event::UrlValidation { .. } => Ok(()),
        }
    }

    /// It is logged, and shown by `/readyz`. No stream is stopped by any: Zoom does that itself where it applies.
    fn notice(&self, notice: &Notice, at_ms: i64) {
        let Notice { name, advice, facts } = notice;
        tracing::warn!(facts, "{name}: {advice}");
        let at = chrono::DateTime::from_timestamp_millis(at_ms).unwrap_or_default().format("%Y-%m-%d %H:%M:%S UTC");
        let mut notices = self.shared.notices.lock();
        notices.truncate(MOST_NOTICES - 1);
        notices.insert(0, format!("{name} {at}: {advice}"));
    }

    async fn started(&self, started: Started, delivery: &Delivery) -> Result<(), NotTaken> {
        let stream_id = started.stream.stream_id.clone();
        let stream = self.shared.stream(&stream_id);
        let mut stream = stream.lock().await;
        if started.event_ts <= stream.until_ts {
            tracing::debug!(%stream_id, "a start event came again");
            return Ok(());
        }
        let url = match self.shared.settings.allowed_hosts.check(&started.signaling_url) {
            Ok(url) => url,
            Err(refused) => {
                tracing::error!(%stream_id, err = %refused, "a stream is not recorded: its server may not be connected to");
                return Ok(());
            }
        };
        let product = started.stream.product;
        let Some(app) = self.shared.settings.apps.credentials(delivery.app, product).map(|app| app.id.clone()) else {
            let why = match product {
                Product::Session => {
                    "a Video SDK session is not recorded: set ZOOM_VIDEO_SDK_KEY and ZOOM_VIDEO_SDK_SECRET"
                }
                _ => {
                    "a stream is not recorded: the app that sent its start event has no ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET"
                }
            };
            tracing::error!(%stream_id, product = product.as_str(), "{why}");
            return Ok(());
        };
        let event_ts = started.event_ts;
        let newest = self.shared.spool.folder(RecordingId::new(&stream_id, stream.ordinal));
        let moved = match stream.live() {
            Some(live) if live.is_of_another(&started) => {
                tracing::error!(%stream_id, "a start event names a stream that is being recorded, but another meeting; it is ignored");
                return Ok(());
            }
            Some(live) => {
                self.shared.settings.warn_of_region(&stream_id, &url);
                let region = url.region();
                let moved = live.moves(delivery, url).await?;
                if moved {
                    keep_start(newest, delivery).await?;
                    live.since_ts = event_ts;
                    tracing::info!(%stream_id, region, "Zoom moved the stream to another server");
                }
                moved
            }
            None => false,
        };
        if !moved {
            self.begin(&mut stream, started, app, delivery).await?;
        }
        stream.until_ts = event_ts;
        Ok(())
    }

    /// Begins the stream's next recording.
    async fn begin(
        &self,
        stream: &mut Stream,
        started: Started,
        app: String,
        delivery: &Delivery,
    ) -> Result<(), NotTaken> {
        if self.shared.drain.is_cancelled() {
            return Err(NotTaken("the recorder is shutting down".into()));
        }
        self.room().map_err(NotTaken)?;
        let id = RecordingId::new(&started.stream.stream_id, stream.ordinal + 1);
        let event_ts = started.event_ts;
        let folder = self.shared.spool.folder(id.clone());
        let kept = folder.clone();
        blocking(move || kept.keep_app(&app)).await?;
        keep_start(folder.clone(), delivery).await?;
        let withdrawn = CancellationToken::new();
        let recording = Recording::new(Arc::clone(&self.shared), started, folder, withdrawn.clone());
        let live = recording.start(delivery).await.map_err(|err| {
            self.shared.board.leave(&id);
            NotTaken(format!("{err:#}"))
        })?;
        stream.add(id.ordinal(), event_ts, withdrawn);
        stream.go_live(live);
        Ok(())
    }

    async fn stopped(
        &self,
        stream_id: &StreamId,
        event_ts: i64,
        reason: Option<i64>,
        delivery: &Delivery,
    ) -> Result<(), NotTaken> {
        let stream = self.shared.stream(stream_id);
        let mut stream = stream.lock().await;
        let withdrawn = if StopReason::new(reason, StopSource::Event).is_withdrawn() {
            self.withdraw(stream_id, event_ts, &mut stream).await
        } else {
            Ok(())
        };
        let is_deleted = stream.is_withdrawn();
        let never_announced = stream.ordinal == 0 && stream.until_ts < event_ts;
        match stream.live() {
            Some(live) if event_ts < live.since_ts && !is_deleted => {
                tracing::info!(%stream_id, "a stop event came late: the stream was started again since; it goes on");
                return Ok(());
            }
            Some(live) => {
                // A journal that is to be deleted is not waited for: its disk may be full.
                if !is_deleted {
                    live.keep(delivery).await?;
                }
                live.commands.send(Command::Stopped(reason)).await.ok();
            }
            None if never_announced => {
                let done = Done {
                    stream_id: stream_id.clone(),
                    ordinal: 0,
                    until_ts: event_ts,
                    published: None,
                    at_ms: clock::unix_ms(),
                };
                let folder = self.shared.spool.folder(RecordingId::new(stream_id, 0));
                // A mark that cannot be read says where something is, perhaps.
                blocking(move || folder.done().and_then(|_| folder.finish(&done))).await?;
                tracing::warn!(%stream_id, "a stream stopped that was never announced; a late start event will not start it");
            }
            None => {}
        }
        stream.until_ts = stream.until_ts.max(event_ts);
        withdrawn
    }

    /// Has everything deleted that was recorded of a stream until Zoom said so at `event_ts`. Returns once that will happen,
    /// whatever dies; an error keeps none of it from what can be done.
    async fn withdraw(&self, stream_id: &StreamId, event_ts: i64, stream: &mut Stream) -> Result<(), NotTaken> {
        let mut done = Ok(());
        for known in stream.recordings.iter_mut().filter(|known| known.since_ts <= event_ts) {
            if matches!(known.state, State::Withdrawn) {
                continue;
            }
            tracing::warn!(%stream_id, ordinal = known.ordinal, "consent was withdrawn: all of it is deleted");
            if let Err(err) = self.withdraw_one(stream_id, known, Deletion::Consent(StopSource::Event)).await {
                tracing::error!(%stream_id, ordinal = known.ordinal, err = %err.0, "a recording cannot be deleted; Zoom is told to say so again");
                done = Err(err);
            }
        }
        done
    }

    async fn interrupted(&self, stream_id: &StreamId, event_ts: i64, delivery: &Delivery) {
        let stream = self.shared.stream(stream_id);
        let mut stream = stream.lock().await;
        if let Some(live) = stream.live() {
            live.journal.append(delivery.received_ms, crate::journal::EVENT, &delivery.body);
            live.commands.send(Command::Interrupted(event_ts)).await.ok();
        }
    }

    /// Whether the spool has room for another stream.
    pub(super) fn room(&self) -> Result<(), String> {
        let free = self.shared.spool.free_bytes().map_err(|err| err.to_string())?;
        let least = self.shared.settings.spool_min_free;
        if free >= least {
            return Ok(());
        }
        Err(format!(
            "the spool has {} MiB free, less than SPOOL_MIN_FREE ({} MiB): no new stream is recorded; free some space",
            free >> 20,
            least >> 20
        ))
    }
}

async fn keep_start(folder: Folder, delivery: &Delivery) -> Result<(), NotTaken> {
    let body = delivery.body.clone();
    blocking(move || folder.keep_start_event(&body)).await
}
