//! One import: settle its place, fetch its files, publish, forget.

use super::super::Shared;
use super::super::blocking::blocking;
use super::super::files::Error as SpoolError;
use super::intent::{Done, Folder, Intent, stream_id};
use super::{Cloud, Known, keep, plan};
use crate::clock;
use crate::cloud::{Expected, Failure, Part};
use crate::config::Secret;
use crate::output::Object;
use crate::output::manifest::{Manifest, Source};
use crate::protocol::cloud::{CloudFile, CloudRecording};
use crate::store::uploader::Error as PublishError;
use futures_util::future::join_all;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Waits between attempts; the last one repeats.
const AGAIN: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(300),
];

/// How long to wait after so many attempts.
fn wait(attempts: usize) -> Duration {
    AGAIN[attempts.min(AGAIN.len() - 1)]
}

/// No server is waited for longer, whatever it says.
const LONGEST: Duration = Duration::from_secs(600);
/// How long the bucket may take to say what it has, before files are fetched that it may have.
const BUCKET_WITHIN: Duration = Duration::from_secs(10);
/// How long a download token is good.
const TOKEN_LIFE_MS: i64 = 24 * 3600 * 1000;
/// An import leaves so many times [`SPOOL_MIN_FREE`] to streams, which are not taken below once that.
///
/// [`SPOOL_MIN_FREE`]: crate::config::Config::spool_min_free
const LEFT_TO_STREAMS: u64 = 2;
/// A file that has another size than Zoom said is fetched so often before it is taken as it is.
const SIZE_TRIES: u32 = 3;

pub(super) struct Import<'a> {
    pub(super) shared: &'a Shared,
    pub(super) folder: Folder,
    pub(super) patience: Patience,
    pub(super) news: watch::Sender<Arc<Intent>>,
    pub(super) receiver: watch::Receiver<Arc<Intent>>,
}

/// How long a file is waited for that cannot be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as it may come.
    Long,
    /// Some attempts; then it is left to a later start.
    Short,
}

/// Attempts at a file if there is little patience.
const FEW: usize = 3;

/// Why a file was not fetched.
enum Lost {
    /// It is left out.
    LeftOut(String),
    /// It is left to a later start.
    Later,
}

impl Import<'_> {
    /// Works until it is over, or cannot go on in this run. To be dropped when the recorder is shut down.
    pub(super) async fn run(self) {
        // A bucket that is away is no reason to let the token grow old.
        if let Ok(None) = tokio::time::timeout(BUCKET_WITHIN, self.settle()).await {
            return;
        }
        let intent = self.intent();
        let fetched = join_all(intent.files.iter().map(|id| self.fetch(id))).await;
        let mut missing = HashMap::new();
        for (id, fetched) in intent.files.iter().zip(fetched) {
            match fetched {
                Ok(()) => {}
                Err(Lost::LeftOut(why)) => drop(missing.insert(id.clone(), why)),
                Err(Lost::Later) => return,
            }
        }
        let Some(ordinal) = self.settle().await else { return };
        // It may have been told again meanwhile; what it says besides addresses is the same.
        let intent = self.intent();
        let Some(recording) = intent.recording() else { return };
        let doubts = self.doubts(recording, &intent, &missing).await;
        let template = &self.shared.settings.render.key_template;
        let plan = plan::plan(template, &self.folder, &intent, recording, ordinal, &missing, doubts);
        match self.shared.uploader.publish(&plan, &|_| {}, &self.shared.cancel).await {
            Ok(published) => tracing::info!(
                folder = self.shared.uploader.store().locate(plan.folder.as_str()),
                objects = published.manifest.objects.len(),
                complete = published.manifest.complete,
                "published a cloud recording"
            ),
            Err(PublishError::Withdrawn { place }) => {
                tracing::warn!(
                    place,
                    "the bucket says that this cloud recording was deleted; it is not imported again"
                );
            }
            Err(err) if self.shared.cancel.is_cancelled() => {
                tracing::info!(why = %err, "the import goes on at the next start");
                return;
            }
            Err(err) => {
                tracing::error!(err = %err, "an import failed; the files stay in the spool for the next start");
                return;
            }
        }
        self.finish(recording, ordinal, &intent, &missing).await;
    }

    fn cloud(&self) -> &Cloud {
        self.shared.cloud()
    }

    fn intent(&self) -> Arc<Intent> {
        Arc::clone(&self.receiver.borrow())
    }

    /// Settles which folder of the bucket it goes to, and notes that in the spool; leaves out what the bucket has already. Nothing
    /// if that is all of it. Cancel safe, and done at once if it was done before.
    async fn settle(&self) -> Option<u32> {
        let intent = self.intent();
        if intent.ordinal.is_some() {
            return intent.ordinal;
        }
        let recording = intent.recording()?;
        let stream_id = stream_id(recording);
        let _settling = self.cloud().settling.lock().await;
        let mut there = HashSet::new();
        let mut ordinal = 1;
        loop {
            let taken = self.imported(recording, ordinal).await;
            let reserved = {
                let known = self.cloud().known.lock().await;
                known.get(&stream_id).is_some_and(|known| known.ordinals.contains(&ordinal))
            };
            match taken {
                Some(files) => there.extend(files),
                None if !reserved => break,
                None => {}
            }
            ordinal += 1;
        }
        let mut known = self.cloud().known.lock().await;
        let known = known.entry(stream_id).or_default();
        let newest = self.intent();
        let files: Vec<String> = newest.files.iter().filter(|id| !there.contains(*id)).cloned().collect();
        if files.is_empty() {
            tracing::info!("the bucket has this cloud recording already");
            self.over(known, recording, 0, newest.files.clone()).await;
            self.tidy(Folder::clear).await;
            return None;
        }
        let Intent { received_ms, told_ms, ref event, .. } = *newest;
        let settled = Intent::new(received_ms, told_ms, files, Some(ordinal), event.clone());
        match keep(&self.folder, settled).await {
            Ok(settled) => {
                known.ordinals.insert(ordinal);
                self.news.send_replace(Arc::new(settled));
                Some(ordinal)
            }
            Err(err) => {
                tracing::error!(err = %err, "the spool did not take a note about an import; it goes on at the next start");
                None
            }
        }
    }

    /// The ids of the files that were imported into a folder of the bucket; none if the folder is free. Waits for a bucket that
    /// does not answer.
    async fn imported(&self, recording: &CloudRecording, ordinal: u32) -> Option<Vec<String>> {
        let key = plan::folder(&self.shared.settings.render.key_template, recording, ordinal).key(&Object::Manifest);
        let mut attempts = 0;
        loop {
            match self.shared.uploader.store().get(&key).await {
                Ok(json) => return Some(listed(&json, &key)),
                Err(err) if err.may_mean_missing() => return None,
                Err(err) => {
                    tracing::warn!(err = %err, "an import waits for the bucket");
                    tokio::time::sleep(wait(attempts)).await;
                    attempts += 1;
                }
            }
        }
    }

    /// Fetches a file, however often it takes.
    async fn fetch(&self, id: &str) -> Result<(), Lost> {
        let mut news = self.receiver.clone();
        let (mut token, mut came) = (Token::default(), None);
        let (mut attempt, mut sizes, mut last) = (0, 0, String::new());
        loop {
            let intent = Arc::clone(&news.borrow_and_update());
            let recording = intent.recording();
            let file = recording.and_then(|recording| recording.files.iter().find(|file| file.id == id));
            let (Some(recording), Some(file)) = (recording, file) else {
                return Err(Lost::LeftOut("the event does not tell of it any more".to_owned()));
            };
            if tokio::fs::try_exists(self.folder.file(id)).await.unwrap_or(false) {
                return Ok(());
            }
            let failure = match self.attempt(&intent, recording, file, &mut token, &mut came).await {
                Ok(part) if file.size_bytes.is_none_or(|size| size == part.len()) || sizes + 1 >= SIZE_TRIES => {
                    match part.finish().await {
                        Ok(()) => return Ok(()),
                        Err(failure) => failure,
                    }
                }
                Ok(mut part) => {
                    sizes += 1;
                    came = Some(0);
                    let because =
                        format!("it has {} bytes, where Zoom said {}", part.len(), file.size_bytes.unwrap_or_default());
                    part.restart().await.err().unwrap_or(Failure::Passing { because, after: None })
                }
                Err(failure) => failure,
            };
            if token.is_worth_another(&failure) {
                continue;
            }
            let name = plan::object(file).name();
            let told = Duration::from_millis(clock::unix_ms().saturating_sub(intent.told_ms).max(0) as u64);
            let why = failure.to_string();
            if told >= failure.worth_trying() {
                tracing::error!(err = why, "a file of a cloud recording cannot be fetched; it is left out");
                return Err(Lost::LeftOut(why));
            }
            if self.patience == Patience::Short && attempt >= FEW {
                tracing::error!(
                    err = why,
                    "a file of a cloud recording cannot be fetched now; that is left to a later start"
                );
                return Err(Lost::Later);
            }
            let delay = match &failure {
                Failure::Passing { after: Some(after), .. } => (*after).min(LONGEST),
                _ => wait(attempt),
            };
            if why != last {
                tracing::warn!(
                    file = object_kind(&name),
                    err = why,
                    delay_ms = delay.as_millis() as u64,
                    "a file of a cloud recording cannot be fetched yet; trying again"
                );
                last = why;
            }
            attempt += 1;
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                // Another delivery may have brought an address that works.
                Ok(()) = news.changed() => token = Token::default(),
            }
        }
    }

    /// One attempt; gives the file once all of it has come. `came` is how much of it is on the disk, if that is known. The file is
    /// open for no longer: thousands of them may wait for the next attempt.
    async fn attempt(
        &self,
        intent: &Intent,
        recording: &CloudRecording,
        file: &CloudFile,
        token: &mut Token,
        came: &mut Option<u64>,
    ) -> Result<Part, Failure> {
        let _permit = self.cloud().downloads.acquire().await.expect("the semaphore is never closed");
        let url = file.url.as_ref().ok_or_else(|| Failure::ForGood("Zoom named no address".to_owned()))?;
        let leave = self.shared.settings.spool_min_free.saturating_mul(LEFT_TO_STREAMS);
        let mut part = Part::open(&self.folder.file(&file.id), leave, *came).await?;
        let fetched = async {
            part.check_room(0)?;
            let secret = token.get(self.cloud(), intent, recording).await?;
            let expected = Expected { bytes: file.size_bytes, extension: &file.extension };
            self.cloud().downloader.fetch(url.expose(), Some(&secret), expected, &mut part).await
        };
        let fetched = fetched.await;
        // What the disk has of it when it does not take more, only the disk knows.
        *came = (!matches!(fetched, Err(Failure::Room(_)))).then(|| part.len());
        fetched.map(|()| part)
    }

    /// What is there, but not of the size that Zoom said.
    async fn doubts(
        &self,
        recording: &CloudRecording,
        intent: &Intent,
        missing: &HashMap<String, String>,
    ) -> Vec<String> {
        let mut doubts = Vec::new();
        let wanted: HashSet<&String> = intent.files.iter().collect();
        for file in recording.files.iter().filter(|file| wanted.contains(&file.id) && !missing.contains_key(&file.id)) {
            let name = plan::object(file).name();
            let len = tokio::fs::metadata(self.folder.file(&file.id)).await.map_or(0, |metadata| metadata.len());
            if let Some(size) = file.size_bytes.filter(|size| *size != len) {
                doubts.push(format!("{name} has {len} bytes, where Zoom said {size}."));
            }
        }
        doubts
    }

    async fn finish(
        &self,
        recording: &CloudRecording,
        ordinal: u32,
        intent: &Intent,
        missing: &HashMap<String, String>,
    ) {
        let files = intent.files.iter().filter(|id| !missing.contains_key(*id)).cloned().collect();
        {
            let mut known = self.cloud().known.lock().await;
            // What was left out is imported if Zoom tells of it again.
            let known = known.entry(stream_id(recording)).or_default();
            known.files.retain(|id| !missing.contains_key(id));
            self.over(known, recording, ordinal, files).await;
        }
        self.tidy(Folder::clear).await;
    }

    /// Marks it as over: these files are in that folder of the bucket.
    async fn over(&self, known: &mut Known, recording: &CloudRecording, ordinal: u32, files: Vec<String>) {
        known.live.remove(&self.folder);
        let done = Done { stream_id: stream_id(recording), ordinal, files, at_ms: clock::unix_ms() };
        self.tidy(move |folder| folder.finish(&done)).await;
    }

    async fn tidy(&self, work: impl FnOnce(&Folder) -> Result<(), SpoolError> + Send + 'static) {
        let folder = self.folder.clone();
        if let Err(err) = blocking(move || work(&folder)).await {
            tracing::error!(err = %err, "imported, but the spool could not be tidied; it is tried again at the next start");
        }
    }
}

/// The ids of the files that a manifest lists. One that cannot be read is somebody's all the same, such as a newer version's.
fn listed(manifest: &[u8], key: &str) -> Vec<String> {
    match Manifest::from_json(manifest).map(|manifest| manifest.source) {
        Ok(Some(Source::Cloud(cloud))) => {
            cloud.files.into_iter().filter(|file| file.name.is_some()).map(|file| file.id).collect()
        }
        Ok(None) => Vec::new(),
        Err(err) => {
            tracing::warn!(key, err = %err, "a manifest in the bucket cannot be read; its folder is left alone");
            Vec::new()
        }
    }
}

/// What may be logged of an object's name, which can have a person's in it.
fn object_kind(name: &str) -> &str {
    if name.contains("/participants/") { "the sound of a participant" } else { name }
}

/// With what a file is asked for: the token of the event, then one by OAuth.
#[derive(Default)]
struct Token {
    by_oauth: bool,
    refused: Option<Secret>,
    used: Option<Secret>,
}

impl Token {
    async fn get(&mut self, cloud: &Cloud, intent: &Intent, recording: &CloudRecording) -> Result<Secret, Failure> {
        let age_ms = clock::unix_ms().saturating_sub(intent.told_ms);
        if let Some(token) = recording.download_token.as_ref().filter(|_| !self.by_oauth && age_ms < TOKEN_LIFE_MS) {
            return Ok(token.clone());
        }
        self.by_oauth = true;
        let token = cloud.client.access_token(self.refused.take().as_ref()).await;
        let token = token.map_err(|err| {
            let because = err.to_string();
            if err.is_retryable() { Failure::Passing { because, after: None } } else { Failure::Token(because) }
        })?;
        self.used = Some(token.clone());
        Ok(token)
    }

    /// Whether another token is to be tried at once.
    fn is_worth_another(&mut self, failure: &Failure) -> bool {
        if !matches!(failure, Failure::Token(_)) {
            return false;
        }
        self.refused = self.used.take();
        if self.by_oauth {
            return false;
        }
        tracing::info!(err = %failure, "the event's download token is not taken; asking for one by OAuth");
        self.by_oauth = true;
        true
    }
}
