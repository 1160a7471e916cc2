//! Imports Zoom's own cloud recordings into the bucket, as they are.
//!
//! # Invariants
//!
//! - An event is answered once its files are promised in the spool (`intent`).
//! - A file is imported once, by the meeting's UUID and the file's id, however often and with whatever addresses and tokens
//!   events tell of it: known are the imports of the last weeks in the spool, and all that the bucket's manifests list.
//! - Files that a later event tells of are an import of their own, in a folder with a number: a manifest is written once.
//! - What is not done is gone on with at the next start, from the bytes that have come.

mod intent;
mod plan;
mod run;

use super::blocking::blocking;
use super::spool::Spool;
use super::{Recorder, Shared, Unfinished};
use crate::cloud::Downloader;
use crate::config::RestConfig;
use crate::events::{Delivery, NotTaken};
use crate::ids::StreamId;
use crate::protocol::cloud::CloudRecording;
use crate::protocol::server_urls::AllowedHosts;
use crate::rest;
use intent::{Done, Folder, Imports, Intent, Left, stream_id};
use run::Patience;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore, watch};
use tracing::Instrument;

/// How many files are fetched at the same time.
const DOWNLOADS: usize = 2;

/// What is known of cloud recordings.
pub(super) struct Cloud {
    imports: Imports,
    client: rest::Client,
    downloader: Downloader,
    downloads: Semaphore,
    known: Mutex<HashMap<StreamId, Known>>,
    /// Held while it is settled which folder of the bucket an import goes to.
    settling: Mutex<()>,
}

/// What is known of one meeting instance.
#[derive(Default)]
struct Known {
    files: HashSet<String>,
    ordinals: HashSet<u32>,
    /// Imports under way, and the news for each: the same files under other addresses.
    live: BTreeMap<Folder, watch::Sender<Arc<Intent>>>,
}

impl Cloud {
    /// Without settings nothing is imported.
    pub(super) fn new(
        settings: Option<RestConfig>,
        spool: &Spool,
        hosts: &AllowedHosts,
    ) -> Result<Option<Self>, reqwest::Error> {
        let Some(rest) = settings else { return Ok(None) };
        Ok(Some(Self {
            imports: Imports::new(spool.root()),
            client: rest::Client::new(rest)?,
            downloader: Downloader::new(hosts.clone())?,
            downloads: Semaphore::new(DOWNLOADS),
            known: Mutex::default(),
            settling: Mutex::default(),
        }))
    }

    /// Removes from the spool what was imported long ago.
    pub(super) fn forget(&self) -> Result<(), super::files::Error> {
        self.imports.forget()
    }

    /// The imports that are not over, by their paths in the spool.
    pub(super) fn unfinished(&self) -> Result<Vec<String>, super::files::Error> {
        let left = self.imports.left()?.into_iter().filter_map(|left| match left {
            Left::Unfinished(folder, _) => Some(format!(".cloud/{}", folder.name())),
            Left::Done(_) => None,
        });
        Ok(left.collect())
    }
}

impl Recorder {
    /// Goes on with what an earlier run left. If all is to end, what cannot be fetched is not waited for.
    pub(super) async fn resume_imports(&self, unfinished: Unfinished) -> Result<(), super::files::Error> {
        let patience = match unfinished {
            Unfinished::Join => Patience::Long,
            Unfinished::End => Patience::Short,
        };
        let Some(cloud) = &self.shared.cloud else { return Ok(()) };
        let mut known = cloud.known.lock().await;
        let left = cloud.imports.left()?;
        let mut unfinished = Vec::new();
        for left in left {
            match left {
                Left::Done(Done { stream_id, ordinal, files, .. }) => {
                    let known = known.entry(stream_id).or_default();
                    known.files.extend(files);
                    known.ordinals.insert(ordinal);
                }
                Left::Unfinished(folder, intent) => {
                    let Some(recording) = intent.recording() else {
                        tracing::error!(
                            import = folder.name(),
                            "the event of an import cannot be read; it stays in the spool"
                        );
                        continue;
                    };
                    let stream_id = stream_id(recording);
                    let known = known.entry(stream_id.clone()).or_default();
                    known.files.extend(intent.files.iter().cloned());
                    known.ordinals.extend(intent.ordinal);
                    unfinished.push((folder, intent, stream_id));
                }
            }
        }
        for (folder, intent, stream_id) in unfinished {
            tracing::info!(import = folder.name(), "going on with the import of a cloud recording");
            let known = known.entry(stream_id).or_default();
            self.spawn_import(known, folder, intent, patience);
        }
        Ok(())
    }

    /// Promises to import what is not known yet.
    pub(super) async fn cloud_recording(&self, recording: CloudRecording, delivery: &Delivery) -> Result<(), NotTaken> {
        let Some(cloud) = &self.shared.cloud else {
            tracing::info!("an event about a cloud recording is passed over: CLOUD_RECORDINGS is ignore");
            return Ok(());
        };
        let stream_id = stream_id(&recording);
        let mut all = cloud.known.lock().await;
        let known = all.entry(stream_id.clone()).or_default();
        self.tell_live(known, &recording, delivery).await?;
        let new = recording.files.iter().map(|file| file.id.clone()).filter(|id| !known.files.contains(id));
        let new: Vec<String> = new.collect();
        if new.is_empty() {
            tracing::info!(files = recording.files.len(), "a cloud recording was told of again; nothing of it is new");
            return Ok(());
        }
        let folder = cloud.imports.folder(&stream_id, &new);
        let intent = Intent::new(delivery.received_ms, delivery.received_ms, new.clone(), None, raw(delivery)?);
        let intent = keep(&folder, intent).await?;
        known.files.extend(new);
        tracing::info!(
            import = folder.name(),
            meeting_id = recording.number,
            files = intent.files.len(),
            "a cloud recording is ready; importing it"
        );
        self.spawn_import(known, folder, intent, Patience::Long);
        Ok(())
    }

    /// Gives imports under way the newer addresses and token.
    async fn tell_live(
        &self,
        known: &mut Known,
        recording: &CloudRecording,
        delivery: &Delivery,
    ) -> Result<(), NotTaken> {
        known.live.retain(|_, news| !news.is_closed());
        let told: HashSet<&str> = recording.files.iter().map(|file| file.id.as_str()).collect();
        for (folder, news) in &known.live {
            let now = Arc::clone(&news.borrow());
            if !now.files.iter().all(|id| told.contains(id.as_str())) {
                continue;
            }
            let Intent { received_ms, ordinal, .. } = *now;
            let intent = Intent::new(received_ms, delivery.received_ms, now.files.clone(), ordinal, raw(delivery)?);
            news.send_replace(Arc::new(keep(folder, intent).await?));
        }
        Ok(())
    }

    fn spawn_import(&self, known: &mut Known, folder: Folder, intent: Intent, patience: Patience) {
        let (news, receiver) = watch::channel(Arc::new(intent));
        known.live.insert(folder.clone(), news.clone());
        let span = tracing::info_span!("import", id = folder.name());
        let shared = Arc::clone(&self.shared);
        let cancel = shared.cancel.clone();
        let work = async move {
            // What is not done is left to the next start.
            cancel
                .run_until_cancelled(Box::pin(run::Import { shared: &shared, folder, patience, news, receiver }.run()))
                .await;
        };
        self.shared.tasks.spawn(work.instrument(span));
    }
}

impl Shared {
    fn cloud(&self) -> &Cloud {
        self.cloud.as_ref().expect("an import runs only if there are to be any")
    }
}

async fn keep(folder: &Folder, intent: Intent) -> Result<Intent, NotTaken> {
    let folder = folder.clone();
    blocking(move || folder.keep(&intent).map(|()| intent)).await
}

fn raw(delivery: &Delivery) -> Result<Box<RawValue>, NotTaken> {
    serde_json::from_slice(&delivery.body).map_err(|err| NotTaken(err.to_string()))
}
