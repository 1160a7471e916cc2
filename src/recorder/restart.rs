//! Starts RTMS again, by REST, after a stream ended in trouble (stop reasons 10 to 19 and 24), and ties the recordings before
//! and after together.
//!
//! # Invariants
//!
//! - A recording that is being started again is not published before it is known what came of it, which is bounded.
//! - Never for a meeting that has another stream, and only so often in an hour ([`MOST`]).
//! - What ties recordings together is in the spool ([`Links`]) before anybody relies on it: in the folder of the new one
//!   before its start event is answered.

use super::blocking::blocking;
use super::folder::Folder;
use crate::clock;
use crate::config::{Apps, Credentials, RestConfig};
use crate::ids::{MeetingId, Product, RecordingId};
use crate::output::manifest::{Manifest, Neighbour};
use crate::output::{StopReason, Template};
use crate::protocol::event::Started;
use crate::render;
use crate::rest::{Action, Client, Target};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Waits before each attempt, while it may pass, be it that nobody answers; longer if Zoom asks for it, up to the longest.
const ATTEMPTS: [Duration; 4] = [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(15), LONGEST];
const LONGEST: Duration = Duration::from_secs(60);
/// How long the new stream may take to be announced.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(30);
/// How often a meeting's stream is started again in [`HOUR`]; and if Zoom did not accept the credentials.
const MOST: usize = 5;
const MOST_AFTER_REFUSED_CREDENTIALS: usize = 1;
const HOUR: Duration = Duration::from_secs(3600);
/// A stream that starts later than this after another broke does not continue it.
const CONTINUES_WITHIN: Duration = Duration::from_secs(600);
/// An attempt that an earlier run was at is gone on with if it is no older than this.
const STILL_OF_USE: Duration = Duration::from_secs(120);
const AUTHENTICATION_FAILURE: i64 = 18;

/// What ties a recording to others of its meeting, as it is kept in the spool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Links {
    /// The recording itself, for whoever links to it.
    pub(super) this: Option<Neighbour>,
    /// The recording that this one goes on from.
    pub(super) continues: Option<Neighbour>,
    /// The recording that goes on from this one.
    pub(super) continued_by: Option<Neighbour>,
    /// Set once the stream is to be started again.
    pub(super) restart: Option<Restart>,
}

/// That a stream is to be started again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Restart {
    /// After which stop reason.
    reason: StopReason,
    /// When that was, in Unix ms.
    at_ms: i64,
    /// Zoom said that it would.
    #[serde(default)]
    accepted: bool,
    /// What came of it, as a sentence for the manifest; none while it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

impl Links {
    /// Puts into the manifest what is known.
    pub(super) fn tell(self, manifest: &mut Manifest) {
        manifest.continues = self.continues;
        manifest.continued_by = self.continued_by;
        manifest.notes.extend(self.restart.and_then(|restart| restart.outcome));
    }
}

/// What is known of meetings: which streams run, which broke, how often they were started again.
pub(super) struct Restarts {
    /// One for each app, with its client id; none if streams are not started again.
    clients: Vec<(String, Client)>,
    template: Template,
    meetings: Mutex<HashMap<Key, Meeting>>,
    /// What an earlier run left: the recordings that go on from others.
    successors: HashMap<RecordingId, Neighbour>,
}

type Key = (Product, MeetingId);

#[derive(Default)]
struct Meeting {
    running: HashSet<RecordingId>,
    asked: Vec<Instant>,
    broken: Option<Broken>,
}

/// A stream that ended in trouble.
struct Broken {
    recording: Neighbour,
    at: Instant,
    /// Tells its recording which one goes on.
    next: watch::Sender<Option<Neighbour>>,
}

impl Broken {
    fn is_recent(&self) -> bool {
        self.at.elapsed() < CONTINUES_WITHIN
    }
}

impl Restarts {
    /// Knows the recordings in `left` folders. Without settings nothing is started again, but links are kept.
    pub(super) fn new<'a>(
        rest: Option<&RestConfig>,
        apps: &Apps,
        template: Template,
        left: impl Iterator<Item = &'a Folder>,
    ) -> Result<Self, reqwest::Error> {
        let successors = left.filter_map(|folder| {
            let links = folder.links();
            Some((links.continues?.recording_id, links.this?))
        });
        let client = |(rest, app): (&RestConfig, &Credentials)| Ok((app.id.clone(), Client::new(rest.of_app(app))?));
        let clients = rest.into_iter().flat_map(|rest| apps.all().map(move |app| (rest, app))).map(client);
        Ok(Self {
            clients: clients.collect::<Result<_, reqwest::Error>>()?,
            template,
            meetings: Mutex::default(),
            successors: successors.collect(),
        })
    }

    /// Asks for the app that got the start event; for the first one if that is not known.
    fn client(&self, folder: &Folder) -> Option<&Client> {
        let app = folder.app();
        let is_of = |(id, _): &&(String, Client)| app.as_ref().is_none_or(|app| app == id);
        self.clients.iter().find(is_of).map(|(_, client)| client)
    }

    /// A recording begins: ties it, durably, to the one that broke, and tells that one.
    pub(super) async fn begins(&self, started: &Started, folder: &Folder) -> anyhow::Result<()> {
        let broken = self.meetings.lock().get(&key(started)).and_then(|meeting| {
            let broken = meeting.broken.as_ref().filter(|broken| broken.is_recent())?;
            Some((broken.recording.clone(), broken.next.clone()))
        });
        let Some((before, next)) = broken else { return Ok(()) };
        let this = neighbour(&self.template, started, folder.id());
        let links = Links { this: Some(this.clone()), continues: Some(before), ..Links::default() };
        keep(folder, links).await?;
        next.send_replace(Some(this));
        if let Some(meeting) = self.meetings.lock().get_mut(&key(started)) {
            meeting.broken = None;
        }
        Ok(())
    }

    /// A stream is being captured.
    pub(super) fn runs(&self, started: &Started, id: &RecordingId) {
        let mut meetings = self.meetings.lock();
        meetings.retain(|_, meeting| meeting.is_of_use());
        meetings.entry(key(started)).or_default().running.insert(id.clone());
    }

    /// Its capture is over.
    pub(super) fn is_over(&self, started: &Started, id: &RecordingId) {
        if let Some(meeting) = self.meetings.lock().get_mut(&key(started)) {
            meeting.running.remove(id);
        }
    }

    /// Starts a stream again that ended for `reason`, if that is called for. Returns once it is known, and noted in the
    /// spool, what came of it. Not cancel safe: a later run goes on.
    pub(super) async fn after(&self, started: &Started, folder: &Folder, reason: StopReason) {
        let Some(client) = self.client(folder).filter(|_| reason.may_restart()) else { return };
        let restart = Restart { reason, at_ms: clock::unix_ms(), accepted: false, outcome: None };
        self.start_again(client, started, folder, restart).await;
    }

    /// Goes on with what an earlier run was at when it ended.
    pub(super) async fn resume(&self, started: &Started, folder: &Folder) {
        let mut links = folder.links();
        let Some(restart) = links.restart.take_if(|restart| restart.outcome.is_none()) else { return };
        let age_ms = clock::unix_ms().saturating_sub(restart.at_ms);
        let known = self.successors.get(folder.id()).cloned();
        match (self.client(folder), known) {
            (Some(client), None) if age_ms < STILL_OF_USE.as_millis() as i64 => {
                self.start_again(client, started, folder, restart).await;
            }
            (_, known) => {
                let outcome = known.ok_or_else(|| "the recorder was stopped in the meantime".to_owned());
                note(folder, links, restart, outcome).await;
            }
        }
    }

    async fn start_again(&self, client: &Client, started: &Started, folder: &Folder, mut restart: Restart) {
        let links = Links { restart: Some(restart.clone()), ..folder.links() };
        keep_or_complain(folder, &links).await;
        let code = restart.reason.code;
        let outcome = match self.begin(started, folder.id(), code) {
            Ok(next) => {
                tracing::info!(reason = code, "the stream ended in trouble; starting it again by REST");
                self.attempt(client, started, folder, &mut restart, next).await
            }
            Err(why) => Err(why),
        };
        match &outcome {
            Ok(next) => {
                tracing::info!(stream_id = %next.stream_id, "the meeting's recording goes on with another stream")
            }
            Err(why) => tracing::warn!(reason = code, why, "the stream was not started again"),
        }
        note(folder, links, restart, outcome).await;
    }

    /// Counts a restart, and from here on waits for a new stream.
    fn begin(
        &self,
        started: &Started,
        id: &RecordingId,
        code: Option<i64>,
    ) -> Result<watch::Receiver<Option<Neighbour>>, String> {
        let mut meetings = self.meetings.lock();
        let meeting = meetings.entry(key(started)).or_default();
        meeting.may_begin(code)?;
        meeting.asked.push(Instant::now());
        let (next, receiver) = watch::channel(None);
        meeting.broken = Some(Broken { recording: neighbour(&self.template, started, id), at: Instant::now(), next });
        Ok(receiver)
    }

    /// Asks, unless Zoom has said already that it would, and waits for the new stream.
    async fn attempt(
        &self,
        client: &Client,
        started: &Started,
        folder: &Folder,
        restart: &mut Restart,
        mut next: watch::Receiver<Option<Neighbour>>,
    ) -> Result<Neighbour, String> {
        if !restart.accepted {
            tokio::select! {
                biased;
                arrived = arrived(&mut next) => return Ok(arrived),
                asked = self.ask(client, started) => asked?,
            }
            restart.accepted = true;
            keep_or_complain(folder, &Links { restart: Some(restart.clone()), ..folder.links() }).await;
        }
        let arrived = tokio::time::timeout(ANNOUNCED_WITHIN, arrived(&mut next)).await;
        arrived.map_err(|_| {
            format!("Zoom said that it would, but announced no new stream within {} s", ANNOUNCED_WITHIN.as_secs())
        })
    }

    async fn ask(&self, client: &Client, started: &Started) -> Result<(), String> {
        let (mut asked, mut after) = (Ok(()), Duration::ZERO);
        for wait in ATTEMPTS {
            tokio::time::sleep(wait.max(after.min(LONGEST))).await;
            if self.meetings.lock().get(&key(started)).is_some_and(|meeting| !meeting.running.is_empty()) {
                return Err("another stream of the meeting runs".to_owned());
            }
            asked = client.control_once(&target(started), Action::Start, started.operator_id.as_deref()).await;
            match &asked {
                Err(err) if err.is_retryable() => {
                    tracing::warn!(err = %err, "the stream could not be started again yet");
                    after = err.retry_after().unwrap_or_default();
                }
                _ => break,
            }
        }
        asked.map_err(|err| err.to_string())
    }
}

impl Meeting {
    fn is_of_use(&self) -> bool {
        !self.running.is_empty()
            || self.broken.as_ref().is_some_and(Broken::is_recent)
            || self.asked.iter().any(|at| at.elapsed() < HOUR)
    }

    /// Whether its stream may be started again after this stop reason.
    fn may_begin(&mut self, code: Option<i64>) -> Result<(), String> {
        if !self.running.is_empty() {
            return Err("another stream of the meeting runs".to_owned());
        }
        self.asked.retain(|at| at.elapsed() < HOUR);
        let most = if code == Some(AUTHENTICATION_FAILURE) { MOST_AFTER_REFUSED_CREDENTIALS } else { MOST };
        if self.asked.len() >= most {
            return Err(format!("within an hour it was started again {} times already", self.asked.len()));
        }
        Ok(())
    }
}

fn key(started: &Started) -> Key {
    (started.stream.product, started.id.clone())
}

/// Zoom's calls name a meeting by its number where that is known.
fn target(started: &Started) -> Target {
    let product = started.stream.product;
    let number = started.meeting_id.clone().filter(|_| matches!(product, Product::Meeting | Product::Webinar));
    Target { product, id: number.unwrap_or_else(|| started.id.as_str().to_owned()) }
}

fn neighbour(template: &Template, started: &Started, id: &RecordingId) -> Neighbour {
    let (folder, _) = render::bare(template, id, started);
    Neighbour { stream_id: started.stream.stream_id.clone(), recording_id: id.clone(), folder }
}

/// The recording that goes on. Cancel safe.
async fn arrived(next: &mut watch::Receiver<Option<Neighbour>>) -> Neighbour {
    let arrived = next.wait_for(Option::is_some).await.ok().and_then(|next| next.clone());
    match arrived {
        Some(next) => next,
        // The meeting was forgotten: nobody will come.
        None => std::future::pending().await,
    }
}

/// Notes what came of it.
async fn note(folder: &Folder, links: Links, restart: Restart, outcome: Result<Neighbour, String>) {
    let reason = format!("stop reason {} ({})", restart.reason.code.unwrap_or_default(), restart.reason.name);
    let sentence = match &outcome {
        Ok(_) => format!("The stream was started again after {reason}."),
        Err(why) => format!("The stream was not started again after {reason}: {why}."),
    };
    let restart = Restart { outcome: Some(sentence), ..restart };
    keep_or_complain(folder, &Links { continued_by: outcome.ok(), restart: Some(restart), ..links }).await;
}

/// What cannot be kept does not stop anything: it would be missing after a crash only.
async fn keep_or_complain(folder: &Folder, links: &Links) {
    if let Err(err) = keep(folder, links.clone()).await {
        tracing::error!(err = format!("{err:#}"), "the spool did not take a note about starting the stream again");
    }
}

async fn keep(folder: &Folder, links: Links) -> anyhow::Result<()> {
    let folder = folder.clone();
    Ok(blocking(move || folder.keep_links(&links)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::StreamId;

    #[test]
    fn a_meeting_is_not_started_again_for_ever() {
        let mut meeting = Meeting::default();
        for _ in 0..MOST {
            meeting.may_begin(Some(13)).unwrap();
            meeting.asked.push(Instant::now());
        }
        assert!(meeting.may_begin(Some(13)).unwrap_err().contains("5 times"));

        let mut meeting = Meeting::default();
        meeting.may_begin(Some(AUTHENTICATION_FAILURE)).unwrap();
        meeting.asked.push(Instant::now());
        assert!(meeting.may_begin(Some(AUTHENTICATION_FAILURE)).is_err());
        assert!(meeting.may_begin(Some(13)).is_ok());
    }

    #[test]
    fn a_meeting_with_another_stream_is_left_alone() {
        let mut meeting = Meeting::default();
        meeting.running.insert(RecordingId::new(&StreamId::new("another"), 1));
        assert!(meeting.may_begin(Some(13)).unwrap_err().contains("another stream"));
    }
}
