//! One recording: capture and render side by side, then publish, then forget.
//!
//! Each stage leaves its result in the spool, so that a recording can be picked up at any of them.

use super::blocking::blocking;
use super::board::{Entry, Stage};
use super::files::write_durably;
use super::folder::{Deletion, Done, Folder, Published};
use super::left::{JournalState, read_plan, state_of};
use super::stream::{Live, State};
use super::{Shared, Unfinished, withdraw};
use crate::capture;
use crate::clock;
use crate::events::Delivery;
use crate::journal::{Journal, Note, Progress, read};
use crate::output::{self, Manifest, StopReason, StopSource};
use crate::protocol::event::{Event, Started};
use crate::protocol::link::{EndSource, Ended, Link, Now, Settings as LinkSettings};
use crate::protocol::message::Identity;
use crate::protocol::signature;
use crate::render::{self, Job};
use crate::store::uploader::{self, PublishPlan};
use crate::telemetry::metrics;
use anyhow::Context;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// Waits between attempts at rendering; the last one repeats.
const RENDER_AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(60)];

/// Why a recording ended that was told to.
const SHUTDOWN: &str = "shutdown";
const OPERATOR: &str = "operator";

pub(super) struct Recording {
    shared: Arc<Shared>,
    started: Started,
    folder: Folder,
    /// Consent was withdrawn.
    withdrawn: CancellationToken,
    /// It is known whether the stream was started again: the manifest may be written.
    settled: CancellationToken,
    /// What others see of it.
    entry: Arc<Entry>,
}

impl Recording {
    pub(super) fn new(shared: Arc<Shared>, started: Started, folder: Folder, withdrawn: CancellationToken) -> Self {
        let entry = shared.board.enter(folder.id(), &started, folder.journal(), &shared.drain);
        Self { shared, started, folder, withdrawn, settled: CancellationToken::new(), entry }
    }

    /// Begins a recording. Once this returns, a crash does not lose it.
    pub(super) async fn start(self, delivery: &Delivery) -> anyhow::Result<Live> {
        let link = self.link()?;
        let body = String::from_utf8(delivery.body.to_vec())?;
        let journal = self.open_journal(delivery.received_ms, body).await?;
        self.shared.restarts.begins(&self.started, &self.folder).await?;
        tracing::info!(
            recording = %self.folder.id(), product = self.started.stream.product.as_str(),
            meeting_id = self.started.meeting_id, server = %self.started.signaling_url, region = link.url().region(),
            "recording started"
        );
        Ok(self.go_live(link, journal))
    }

    /// Goes on where an earlier run stopped. Returns how to reach the capture, if the stream is joined again.
    pub(super) async fn resume(self, unfinished: Unfinished) -> anyhow::Result<Option<Live>> {
        if self.folder.is_withdrawn() {
            self.spawn(|recording| async move { recording.withdraw().await });
            return Ok(None);
        }
        if let Some(plan) = read_plan(&self.folder) {
            self.spawn(|recording| async move { recording.publish(plan).await });
            return Ok(None);
        }
        let folder = self.folder.clone();
        let state = tokio::task::spawn_blocking(move || state_of(&folder.journal())).await??;
        let join = || match unfinished {
            Unfinished::Join => self.link().context("the stream cannot be joined again"),
            Unfinished::End => Err(anyhow::anyhow!("the recorder was told to finish, not to record")),
        };
        let gone = match state {
            // The recorder was killed before it could note that.
            JournalState::Ended(reason) if StopReason::new(reason, StopSource::Signaling).is_withdrawn() => {
                self.note_withdrawal().await;
                self.spawn(|recording| async move { recording.withdraw().await });
                return Ok(None);
            }
            JournalState::Ended(_) => None,
            JournalState::Stopped(reason) => {
                let note = Note::Ended { source: EndSource::Event.as_str().to_owned(), reason };
                self.open_journal(clock::unix_ms(), note.to_json()).await?.close().await?;
                None
            }
            JournalState::Running | JournalState::Empty => {
                if let JournalState::Empty = state {
                    let start = String::from_utf8(self.folder.start_event()?)?;
                    self.open_journal(clock::unix_ms(), start).await?.close().await?;
                }
                match join() {
                    Ok(link) => {
                        tracing::info!(stream_id = %self.started.stream.stream_id, "joining again a stream that an earlier run recorded");
                        let journal = self.open_journal(clock::unix_ms(), Note::Resumed.to_json()).await?;
                        return Ok(Some(self.go_live(link, journal)));
                    }
                    Err(err) => Some(format!("{err:#}")),
                }
            }
            JournalState::Old => Some("the recorder was down for longer than Zoom holds a stream".to_owned()),
        };
        if let Some(why) = gone {
            tracing::warn!(stream_id = %self.started.stream.stream_id, why, "finishing what an earlier run recorded");
            let note = Note::Ended { source: "down".into(), reason: None };
            self.open_journal(clock::unix_ms(), note.to_json()).await?.close().await?;
        }
        let closed = read::chunks(&self.folder.journal())?.last().map_or(0, |chunk| chunk.number);
        self.spawn(|recording| async move {
            let (_writer, progress) = watch::channel(Progress { closed, ended: true });
            tokio::join!(recording.restart(None), recording.render_and_publish(progress));
            recording.withdraw_if_told().await;
        });
        Ok(None)
    }

    async fn open_journal(&self, t_ms: i64, first: String) -> anyhow::Result<Journal> {
        let disk = self.shared.disk.clone();
        let dir = self.folder.journal();
        Ok(tokio::task::spawn_blocking(move || disk.open(&dir, t_ms, &first)).await??)
    }

    fn go_live(self, link: Link, journal: Journal) -> Live {
        let (commands, inbox) = mpsc::channel(16);
        let live = Live {
            commands,
            journal: journal.clone(),
            since_ts: self.started.event_ts,
            identity: (self.started.id_key, self.started.id.clone()),
        };
        self.entry.captures(&journal);
        self.shared.restarts.runs(&self.started, self.folder.id());
        self.spawn(|recording| async move { recording.capture(link, journal, inbox).await });
        live
    }

    /// Works in a task of its own. A panic is a bug of ours that costs the task, and the recording is picked up again from what
    /// it has in the spool.
    fn spawn<F: Future<Output = ()> + Send + 'static>(self, work: impl FnOnce(Self) -> F) {
        let span = tracing::info_span!("recording", id = %self.folder.id());
        let (shared, folder) = (Arc::clone(&self.shared), self.folder.clone());
        let tasks = shared.tasks.clone();
        // Boxed at once: it is large, and a worker's stack is not.
        let work = Box::pin(work(self));
        let watched = async move {
            if tokio::spawn(work.in_current_span()).await.is_err_and(|err| err.is_panic()) {
                shared.after_panic(folder).await;
            }
        };
        tasks.spawn(watched.instrument(span));
    }

    fn link(&self) -> anyhow::Result<Link> {
        let settings = &self.shared.settings;
        let url = settings.allowed_hosts.check(&self.started.signaling_url)?;
        let link = LinkSettings {
            product: self.started.stream.product,
            media: settings.media.clone(),
            allowed_hosts: settings.allowed_hosts.clone(),
            timing: settings.timing,
        };
        settings.warn_of_region(&self.started.stream.stream_id, &url);
        let now = Now { instant: Instant::now(), unix_ms: clock::unix_ms() };
        Ok(Link::new(link, self.identities()?, url, now))
    }

    /// The product's own key first, then what servers are said to want in its place.
    fn identities(&self) -> anyhow::Result<Vec<Identity>> {
        let product = self.started.stream.product;
        let apps = &self.shared.settings.apps;
        let credentials = match self.folder.app() {
            Some(id) => apps
                .by_id(&id)
                .with_context(|| format!("the app {id:?}, which got the start event, is no longer among the settings")),
            None => apps.credentials(None, product).context("no credentials for this product"),
        }?;
        let own = (self.started.id_key, self.started.id.clone());
        let mut keys = vec![own.clone()];
        keys.extend(self.started.other_id.clone());
        if own.0 != "meeting_uuid" {
            keys.push(("meeting_uuid", own.1));
        }
        let stream_id = &self.started.stream.stream_id;
        Ok(keys
            .into_iter()
            .map(|(id_key, id)| Identity {
                id_key,
                signature: signature::handshake(
                    &credentials.id,
                    credentials.secret.expose(),
                    id.as_str(),
                    stream_id.as_str(),
                ),
                id,
                stream_id: stream_id.clone(),
            })
            .collect())
    }

    /// Captures and renders until the stream has ended, then publishes.
    async fn capture(self, link: Link, journal: Journal, commands: mpsc::Receiver<capture::Command>) {
        let progress = journal.progress();
        let capture = async {
            let (vitals, stop) = (&self.entry.vitals, self.entry.stop.clone());
            let summary = capture::run(link, &self.shared.dialer, &journal, commands, vitals, stop).await;
            let told = self.entry.told.load(Ordering::SeqCst);
            let finish = summary.ended.is_none() && (told || self.shared.finish.load(Ordering::SeqCst));
            if finish {
                let source = if told { OPERATOR } else { SHUTDOWN };
                journal.note(clock::unix_ms(), &Note::Ended { source: source.into(), reason: None });
            }
            let reason = StopReason::new(summary.ended.and_then(|ended| ended.reason), StopSource::Signaling);
            if reason.is_withdrawn() && !self.withdrawn.is_cancelled() {
                self.note_withdrawal().await;
            }
            let over = summary.ended.is_some() || finish;
            let closing = async { if over { journal.close().await } else { journal.sync().await } };
            match self.withdrawn.run_until_cancelled(closing).await {
                Some(Ok(())) => {}
                Some(Err(err)) => tracing::error!(err = %err, "the end of the journal may not survive a power loss"),
                None => journal.discard(),
            }
            match summary.ended {
                Some(ended) => tracing::info!(
                    source = ended.source.as_str(),
                    reason = ended.reason,
                    meaning = reason.meaning,
                    region = vitals.health().region(),
                    round_trip_ms = vitals.health().round_trip().map(|time| time.as_secs_f64() * 1000.0),
                    messages = summary.messages,
                    bytes = summary.bytes,
                    unparsed = summary.unparsed,
                    "stream ended"
                ),
                None if self.withdrawn.is_cancelled() => tracing::info!("sockets dropped; the recording is deleted"),
                None if finish => tracing::info!("sockets dropped; the recording ends here"),
                None => tracing::info!("sockets dropped; the recording goes on at the next start"),
            }
            match summary.ended {
                Some(Ended { source: EndSource::Unreachable, .. }) => metrics().stream_end("UNREACHABLE"),
                Some(_) => metrics().stream_end(&reason.name),
                None if told => metrics().stream_end("OPERATOR"),
                None => {}
            }
            self.entry.is_captured();
            self.shared.restarts.is_over(&self.started, self.folder.id());
            match summary.ended {
                Some(_) => self.restart(Some(reason)).await,
                None => self.settled.cancel(),
            }
        };
        tokio::join!(Box::pin(capture), self.render_and_publish(progress));
        self.withdraw_if_told().await;
    }

    /// Consent was withdrawn by the signaling connection: notes that, so that all of it is deleted whatever dies.
    async fn note_withdrawal(&self) {
        let folder = self.folder.clone();
        if let Err(err) = blocking(move || folder.withdraw(Deletion::Consent(StopSource::Signaling))).await {
            tracing::error!(err = %err, "the withdrawal of consent may not survive a power loss");
        }
        self.withdrawn.cancel();
    }

    /// Ends early, with everything left in the spool, if the recorder is shut down or consent is withdrawn.
    async fn render_and_publish(&self, progress: watch::Receiver<Progress>) {
        let work = async {
            // Boxed, for these are large and would make every future around them large.
            let plan = Box::pin(self.render(progress)).await;
            Box::pin(self.publish_plan(plan)).await;
        };
        self.unless_stopped(work).await;
    }

    async fn publish(self, plan: PublishPlan) {
        tokio::join!(self.restart(None), self.unless_stopped(Box::pin(self.publish_plan(plan))));
        self.withdraw_if_told().await;
    }

    /// Starts the stream again if it ended in trouble, or goes on with what an earlier run was at.
    async fn restart(&self, ended: Option<StopReason>) {
        let restarts = &self.shared.restarts;
        let work = async {
            match ended {
                Some(reason) => restarts.after(&self.started, &self.folder, reason).await,
                None => restarts.resume(&self.started, &self.folder).await,
            }
        };
        self.unless_stopped(Box::pin(work)).await;
        self.settled.cancel();
    }

    /// Drops `work` if the recorder is shut down or consent is withdrawn.
    async fn unless_stopped(&self, work: impl Future<Output = ()>) {
        self.withdrawn.run_until_cancelled(self.shared.cancel.run_until_cancelled(work)).await;
    }

    async fn withdraw_if_told(&self) {
        if self.withdrawn.is_cancelled() {
            Box::pin(self.withdraw()).await;
        }
    }

    /// Deletes all of it.
    async fn withdraw(&self) {
        self.entry.set(Stage::Deleting);
        let (folder, manifest) = self.bare();
        // Finished files may have gone up under another template.
        let planned = read_plan(&self.folder).map(|plan| plan.folder);
        let noted = || Some(self.folder.done().ok()??.published?.folder);
        let folder = planned.or_else(noted).unwrap_or(folder);
        let published = Published { folder, manifest: Box::new(manifest) };
        withdraw::run(&self.shared, &self.folder, published, self.announced_ts()).await;
    }

    /// Where it goes in the bucket, and a manifest without what was recorded.
    fn bare(&self) -> (output::Folder, Manifest) {
        render::bare(&self.shared.settings.render.key_template, self.folder.id(), &self.started)
    }

    /// Zoom's time of its newest start event: one that moved it to another server is kept in place of the first.
    fn announced_ts(&self) -> i64 {
        let newest = self.folder.start_event().ok().and_then(|body| Event::parse(&body, clock::unix_ms()).ok());
        match newest {
            Some(Event::Started(newest)) => newest.event_ts.max(self.started.event_ts),
            _ => self.started.event_ts,
        }
    }

    /// Renders, however often it takes: the journal is still there.
    async fn render(&self, progress: watch::Receiver<Progress>) -> PublishPlan {
        let mut attempt = 0;
        loop {
            match self.render_once(progress.clone()).await {
                Ok(plan) => return plan,
                Err(err) => {
                    if err.downcast_ref().is_some_and(|err| matches!(err, render::Error::Ffmpeg(_))) {
                        metrics().ffmpeg_restarts.inc();
                        self.shared.ffmpeg_failed.notify_one();
                    }
                    let delay = RENDER_AGAIN[attempt.min(RENDER_AGAIN.len() - 1)];
                    attempt += 1;
                    tracing::error!(
                        err = format!("{err:#}"),
                        attempt,
                        delay_ms = delay.as_millis() as u64,
                        "rendering failed; nothing is lost, it is done again from the journal"
                    );
                    let next = format!("It is done again from the journal after {} s.", delay.as_secs());
                    self.entry.fails_for_now(format!("Rendering failed: {err:#}"), next, delay).await;
                }
            }
        }
    }

    async fn render_once(&self, progress: watch::Receiver<Progress>) -> anyhow::Result<PublishPlan> {
        let job = Job {
            recording_id: self.folder.id().clone(),
            spool: self.folder.dir().to_owned(),
            journal: self.folder.journal(),
            work: self.folder.render(),
            out: self.folder.out(),
            seen: self.entry.seen.clone(),
        };
        self.entry.follows(&progress);
        let shared = &self.shared;
        let plan = render::run(&shared.settings.render, &shared.ffmpeg, &job, progress, &shared.renders).await?;
        let json = serde_json::to_vec_pretty(&plan)?;
        let path = self.folder.out().join("plan.json");
        tokio::task::spawn_blocking(move || write_durably(&path, &json)).await??;
        Ok(plan)
    }

    async fn publish_plan(&self, mut plan: PublishPlan) {
        self.settled.cancelled().await;
        let rendered = plan.manifest.clone();
        self.folder.links().tell(&mut plan.manifest);
        if plan.manifest != rendered
            && let Err(err) = render::page::update(&plan).await
        {
            tracing::warn!(
                err = format!("{err:#}"),
                "the page does not say which recordings of the meeting belong together"
            );
        }
        let objects = plan.files.len();
        self.entry.uploads(&plan);
        let on_progress = |progress: uploader::Progress<'_>| self.entry.uploading(&progress);
        let published = match self.shared.uploader.publish(&plan, &on_progress, &self.shared.cancel).await {
            Ok(published) => published,
            Err(err) if self.shared.cancel.is_cancelled() => {
                tracing::info!(why = %err, "publishing goes on at the next start");
                return;
            }
            Err(err) => {
                tracing::error!(err = %err, "publishing failed; the files stay in the spool for the next start");
                self.entry.failed(&err, "It is tried again at the next start, or when somebody says so here.");
                return;
            }
        };
        let (_, manifest) = self.bare();
        let over = Published { folder: plan.folder, manifest: Box::new(manifest) };
        let done = Done::of(self.folder.id(), over.clone(), self.announced_ts());
        for gap in &published.manifest.gaps {
            metrics().gap(gap.cause.as_str(), gap.end.0 - gap.start.0);
        }
        let finished = self.shared.over(&self.folder, done, State::Published, Folder::finish).await;
        let place = self.shared.uploader.store().locate(over.folder.as_str());
        self.shared.board.published(self.folder.id(), &over, clock::unix_ms(), Some(&published.manifest));
        match finished {
            Ok(()) => tracing::info!(
                folder = place,
                objects,
                duration_ms = published.manifest.duration_ms,
                complete = published.manifest.complete,
                "published"
            ),
            Err(err) => {
                tracing::error!(err = %err, "published, but the spool could not be tidied; it is tried again at the next start")
            }
        }
    }
}
