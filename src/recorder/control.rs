//! What an operator sees of the recorder and tells it: the state of all, and to stop, delete or retry one.

use super::blocking::blocking;
use super::board::{Stage, Status};
use super::folder::{Deletion, Folder};
use super::spool::Left;
use super::stream::{Known, State, Stream};
use super::{Recorder, Unfinished, withdraw};
use crate::clock;
use crate::errors::with_sources;
use crate::events::NotTaken;
use crate::ids::{RecordingId, StreamId};
use crate::output::{self, Manifest, Object};
use crate::render::{self, Picture};
use crate::store::{self, Store};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Why something was not done that somebody asked for.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no such recording.
    #[error("there is no recording {0}, or no longer")]
    Unknown(RecordingId),
    /// It is in a state that does not allow it.
    #[error("the recording is {}: {wanted}", state.as_str())]
    State {
        /// What is being done with it.
        state: Stage,
        /// What can be done instead.
        wanted: &'static str,
    },
    /// The spool did not take it.
    #[error("the spool did not take it: {0}")]
    Spool(String),
    /// The bucket did not give it.
    #[error(transparent)]
    Bucket(#[from] store::Error),
    /// What the bucket has is no manifest.
    #[error("the manifest in the bucket cannot be read")]
    Manifest(#[from] serde_json::Error),
}

impl From<NotTaken> for Refused {
    fn from(err: NotTaken) -> Self {
        Self::Spool(err.0)
    }
}

/// Whether what recordings need is there. None is: not known yet.
#[derive(Debug, Default)]
pub(super) struct Health {
    ffmpeg: Option<Result<String, String>>,
    bucket: Option<Result<(), String>>,
}

/// The recorder's own state.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Room for this user on the spool's disk.
    pub spool_free_bytes: u64,
    /// Size of that disk.
    pub spool_size_bytes: u64,
    /// Below so much room no new stream is recorded.
    pub spool_min_free_bytes: u64,
    /// Age of the oldest message that waits for the disk.
    pub journal_backlog_ms: u64,
    /// Age of the oldest closed chunk that is not rendered.
    pub render_backlog_ms: u64,
    /// Of finished files that are not in the bucket.
    pub upload_backlog_bytes: u64,
    /// The version of ffmpeg.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ffmpeg: Option<String>,
    /// Where recordings go.
    pub storage: String,
    /// Why no new stream would be recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unready: Option<String>,
    /// What the operator should know besides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

impl Recorder {
    /// All recordings that are known: what is worked on, then what is over, each with the newest first. Looks at files.
    pub fn statuses(&self) -> Vec<Status> {
        self.shared.board.all()
    }

    /// One of them, if it is known. Looks at files.
    pub fn status(&self, id: &RecordingId) -> Option<Status> {
        self.shared.board.status(id)
    }

    /// Where a recording is in the bucket; none if it is not there whole, or is being deleted.
    pub fn folder(&self, id: &RecordingId) -> Option<output::Folder> {
        self.shared.board.folder(id)
    }

    /// The recorder's own state, given [`Recorder::statuses`].
    pub fn machine(&self, statuses: &[Status]) -> Machine {
        let shared = &self.shared;
        let (spool_free_bytes, spool_size_bytes) = shared.spool.room().unwrap_or_default();
        let behind = statuses.iter().filter_map(|status| status.rendering.map(|rendering| rendering.behind_ms));
        let uploads = statuses.iter().filter_map(|status| status.upload);
        let (unready, notices) = match self.readiness() {
            Ok(notices) => (None, notices),
            Err(why) => (Some(why), Vec::new()),
        };
        Machine {
            spool_free_bytes,
            spool_size_bytes,
            spool_min_free_bytes: shared.settings.spool_min_free,
            journal_backlog_ms: shared.board.journal_backlog().as_millis() as u64,
            render_backlog_ms: behind.max().unwrap_or(0),
            upload_backlog_bytes: uploads.map(|upload| upload.size_bytes.saturating_sub(upload.sent_bytes)).sum(),
            ffmpeg: self.shared.health.lock().ffmpeg.as_ref().and_then(|ffmpeg| ffmpeg.as_ref().ok().cloned()),
            storage: shared.uploader.store().describe(),
            unready,
            notices,
        }
    }

    /// Notes whether ffmpeg can do its work: its version, or what is wrong.
    pub fn note_ffmpeg(&self, ffmpeg: Result<String, String>) {
        self.shared.health.lock().ffmpeg = Some(ffmpeg);
    }

    /// When an ffmpeg has failed since this was asked last: it may have gone.
    pub async fn ffmpeg_failed(&self) {
        self.shared.ffmpeg_failed.notified().await;
    }

    /// When the last recording of all that were worked on is over, since this was asked last.
    pub async fn at_rest(&self) {
        self.shared.board.at_rest.notified().await;
    }

    /// Notes whether the bucket answers.
    pub fn note_bucket(&self, bucket: Result<(), String>) {
        self.shared.health.lock().bucket = Some(bucket);
    }

    /// What is wrong with the bucket, as far as is known.
    pub fn bucket_trouble(&self) -> Option<String> {
        let probed = self.shared.health.lock().bucket.as_ref().and_then(|bucket| bucket.as_ref().err().cloned());
        self.shared.uploader.outage().or(probed)
    }

    /// Whether a new stream would be recorded; the notices include a bucket that is down, as recordings wait for it.
    pub(super) fn readiness(&self) -> Result<Vec<String>, String> {
        if self.shared.drain.is_cancelled() {
            return Err("shutting down".into());
        }
        self.shared.spool.takes().map_err(|err| with_sources(&err))?;
        self.room()?;
        if let Some(Err(why)) = &self.shared.health.lock().ffmpeg {
            return Err(format!("ffmpeg: {why}"));
        }
        let mut notices = self.shared.notices.lock().clone();
        notices.extend(self.bucket_trouble().map(|why| format!("bucket: {why}; recordings wait in the spool")));
        Ok(notices)
    }

    /// Where recordings go.
    pub fn store(&self) -> &Store {
        self.shared.uploader.store()
    }

    /// Ends the capture of a stream and publishes what is there. Zoom is not told.
    ///
    /// # Errors
    /// If it is not being captured.
    pub fn stop(&self, id: &RecordingId) -> Result<(), Refused> {
        const WANTED: &str = "only a stream that is being recorded can be stopped";
        let entry = self.shared.board.entry(id).ok_or_else(|| self.not_at_work(id, WANTED))?;
        match entry.stage() {
            Stage::Recording => {
                tracing::info!(recording = %id, "told to stop this recording");
                entry.told.store(true, Ordering::SeqCst);
                entry.stop.cancel();
                Ok(())
            }
            state => Err(Refused::State { state, wanted: WANTED }),
        }
    }

    /// Deletes all of a recording, in the spool and in the bucket, whatever is being done with it. Returns once that will happen,
    /// whatever dies.
    ///
    /// # Errors
    /// If there is no such recording, or the spool does not take a note of it.
    pub async fn delete(&self, id: &RecordingId) -> Result<(), Refused> {
        // In a task of its own: whoever asked may go away, and half a deletion is worse than none.
        let deleting = tokio::spawn(self.clone().delete_whole(id.clone()));
        deleting.await.unwrap_or_else(|err| Err(Refused::Spool(err.to_string())))
    }

    async fn delete_whole(self, id: RecordingId) -> Result<(), Refused> {
        let id = &id;
        let stream_id = self.shared.board.stream_of(id).ok_or_else(|| self.unknown(id))?;
        let stream = self.shared.stream(&stream_id);
        let mut stream = stream.lock().await;
        let known = of(&mut stream, id).ok_or_else(|| self.unknown(id))?;
        if !matches!(known.state, State::Withdrawn) {
            tracing::info!(recording = %id, "told to delete this recording");
            self.withdraw_one(&stream_id, known, Deletion::Operator).await?;
        }
        if let Some(entry) = self.shared.board.entry(id) {
            entry.stop.cancel();
        }
        Ok(())
    }

    /// Tries again at once what failed: a rendering, an upload or a deletion that waits for its next attempt, or all that is left to be
    /// done with a recording that had been given up.
    ///
    /// # Errors
    /// If there is nothing to be tried again.
    pub async fn retry(&self, id: &RecordingId) -> Result<(), Refused> {
        const WANTED: &str = "only what failed can be tried again";
        let entry = self.shared.board.entry(id).ok_or_else(|| self.not_at_work(id, WANTED))?;
        if entry.go_on() {
            self.pick_up_again(self.shared.spool.folder(id.clone()));
            return Ok(());
        }
        match entry.stage() {
            Stage::Uploading => {
                self.shared.uploader.try_again();
                Ok(())
            }
            // It waits for the bucket, or after all of it has failed.
            Stage::Deleting => {
                self.shared.uploader.try_again();
                entry.again.notify_one();
                Ok(())
            }
            _ if entry.is_in_trouble() => {
                entry.again.notify_one();
                Ok(())
            }
            state => Err(Refused::State { state, wanted: WANTED }),
        }
    }

    /// Goes on with a recording from what it has in the spool, in a task of its own: whoever asked may go away.
    fn pick_up_again(&self, folder: Folder) {
        let recorder = self.clone();
        tokio::spawn(async move { recorder.pick_up(Left::Unfinished(folder), Unfinished::Join).await });
    }

    /// Why nothing can be done about a recording that is not worked on.
    fn not_at_work(&self, id: &RecordingId, wanted: &'static str) -> Refused {
        match self.shared.board.folder(id) {
            Some(_) => Refused::State { state: Stage::Published, wanted },
            None => self.unknown(id),
        }
    }

    /// The manifest of a recording that is in the bucket, and its folder there.
    ///
    /// # Errors
    /// If it is not, or the bucket does not give it.
    pub async fn manifest(&self, id: &RecordingId) -> Result<(output::Folder, Manifest), Refused> {
        let folder = self.shared.board.folder(id).ok_or_else(|| self.unknown(id))?;
        let json = self.store().get(&folder.key(&Object::Manifest)).await?;
        Ok((folder, Manifest::from_json(&json)?))
    }

    /// How loud a stream is that is being captured, in dB below full scale. Blocks.
    pub fn level(&self, id: &RecordingId) -> Option<f64> {
        let entry = self.shared.board.entry(id).filter(|entry| entry.stage() == Stage::Recording)?;
        render::level(&entry.journal_dir, clock::unix_ms())
    }

    /// What a stream shows that is being captured.
    pub async fn picture(&self, id: &RecordingId) -> Option<Picture> {
        let entry = self.shared.board.entry(id).filter(|entry| entry.stage() == Stage::Recording)?;
        render::picture(&self.shared.ffmpeg, &entry.journal_dir).await
    }

    fn unknown(&self, id: &RecordingId) -> Refused {
        Refused::Unknown(id.clone())
    }

    /// Has everything deleted that was recorded of one recording. Returns once that will happen, whatever dies.
    pub(super) async fn withdraw_one(
        &self,
        stream_id: &StreamId,
        known: &mut Known,
        why: Deletion,
    ) -> Result<(), NotTaken> {
        let ordinal = known.ordinal;
        let id = RecordingId::new(stream_id, ordinal);
        let folder = self.shared.spool.folder(id.clone());
        let marked = folder.clone();
        let was = blocking(move || marked.withdraw(why)).await?;
        match std::mem::replace(&mut known.state, State::Withdrawn) {
            State::Unfinished(withdrawn) => {
                withdrawn.cancel();
                // Nobody listens to that for one that had been given up.
                if self.shared.board.entry(&id).is_some_and(|entry| entry.go_on()) {
                    self.pick_up_again(folder);
                }
            }
            State::Published => {
                self.shared.board.deleting(&id);
                match was.and_then(|done| done.published) {
                    Some(was) => withdraw::published(Arc::clone(&self.shared), folder, was, known.since_ts),
                    // That it is over could not be noted.
                    None => self.pick_up_again(folder),
                }
            }
            State::Withdrawn => {}
        }
        Ok(())
    }
}

fn of<'a>(stream: &'a mut Stream, id: &RecordingId) -> Option<&'a mut Known> {
    stream.recordings.iter_mut().find(|known| known.ordinal == id.ordinal())
}
