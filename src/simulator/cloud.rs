//! Zoom's cloud recordings: tells of one when a meeting is over, and is the host that its files are fetched from.
//!
//! As strict as Zoom: a token is asked for at Zoom's address, and never beyond a redirect to somebody else's. HTTP is written by hand,
//! since it has to break in the middle.

use super::rest::Tokens;
use super::webhooks::{ACCOUNT, Hooks};
use super::{Error, Progress, Settings};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const HEAD_MAX: usize = 16 << 10;
const PIECE: usize = 64 << 10;

/// How the cloud recording is told of and served.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// Where the files are; port 0 takes any.
    pub listen: SocketAddr,
    /// The size of the video in bytes; the other files are small.
    pub video_bytes: u64,
    /// How often the event is delivered, each time with other addresses and another token.
    pub deliveries: u32,
    /// How far apart.
    pub apart: Duration,
    /// How long the tokens of the events are good.
    pub token_life: Duration,
    /// Where a download is redirected to; to this very server if there is `/` only, to nowhere if none.
    pub redirect: Option<String>,
    /// Downloads of the video are broken off after so many bytes, one after another.
    pub cuts: Vec<u64>,
    /// How fast the files are sent.
    pub bytes_per_s: Option<u64>,
    /// Tell of a transcript by an event of its own, after so long.
    pub transcript_after: Option<Duration>,
    /// Play no meeting.
    pub alone: bool,
    /// The meeting's UUID and when it started, in Unix seconds; by default those of the meeting that was played, and now.
    pub instance: Option<(String, i64)>,
    /// How long to wait for all files to be fetched.
    pub wait: Duration,
}

impl Cloud {
    /// A recording of a few files that nothing happens to.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            video_bytes: 1 << 20,
            deliveries: 1,
            apart: Duration::ZERO,
            token_life: Duration::from_secs(24 * 3600),
            redirect: None,
            cuts: Vec::new(),
            bytes_per_s: None,
            transcript_after: None,
            alone: false,
            instance: None,
            wait: Duration::from_secs(60),
        }
    }
}

/// A request for a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Download {
    /// Which.
    pub file: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// From which byte on.
    pub from: u64,
    /// How many bytes were sent.
    pub sent: u64,
    /// Whether it came with a token.
    pub token: bool,
    /// Whether it was to the address that a redirect names.
    pub redirected: bool,
}

/// The files: id, type, recording type, extension.
const FILES: [(&str, &str, &str, &str); 4] = [
    ("video", "MP4", "shared_screen_with_speaker_view", "MP4"),
    ("sound", "M4A", "audio_only", "M4A"),
    ("chat", "CHAT", "chat_file", "TXT"),
    ("transcript", "TRANSCRIPT", "audio_transcript", "VTT"),
];
const TRANSCRIPT: usize = 3;

/// The host. Dropping it stops answering.
pub(super) struct Host {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    cloud: Cloud,
    base: String,
    tokens: Tokens,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cuts: VecDeque<u64>,
    served: HashSet<&'static str>,
    downloads: Vec<Download>,
}

impl Host {
    pub(super) async fn open(settings: &Settings, tokens: Tokens, progress: &Progress) -> Result<Option<Self>, Error> {
        let Some(cloud) = settings.cloud.clone() else { return Ok(None) };
        let failed = |source| Error::Listen { addr: cloud.listen, source };
        let listener = TcpListener::bind(cloud.listen).await.map_err(failed)?;
        let base = format!("http://{}", listener.local_addr().map_err(failed)?);
        progress.note(&format!("cloud recordings are at {base}"));
        let state = State { cuts: cloud.cuts.iter().copied().collect(), ..State::default() };
        let shared = Arc::new(Shared { cloud, base, tokens, state: Mutex::new(state) });
        let at_host = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let shared = at_host.clone();
                // A client that goes away in between is what is played.
                tokio::spawn(async move { shared.answer(tcp).await.ok() });
            }
        });
        Ok(Some(Self { shared, task }))
    }

    /// Tells of a recording of this meeting, and waits until all of it was fetched.
    pub(super) async fn play(&self, uuid: &str, number: u64, hooks: &Hooks) -> Result<(), Error> {
        let shared = &self.shared;
        let cloud = &shared.cloud;
        let (uuid, start) = cloud.instance.clone().unwrap_or_else(|| (uuid.to_owned(), chrono::Utc::now().timestamp()));
        let start = chrono::DateTime::from_timestamp(start, 0).unwrap_or_default();
        let files: Vec<usize> = (0..FILES.len()).filter(|file| *file != TRANSCRIPT).collect();
        let event = |name: &str, files: &[usize], delivery: u32| {
            shared.event(name, &uuid, number, start, files, delivery).to_string()
        };
        let mut wanted = files.len();
        for delivery in 0..cloud.deliveries {
            hooks.deliver(&event("recording.completed", &files, delivery)).await;
            tokio::time::sleep(cloud.apart).await;
        }
        if let Some(after) = cloud.transcript_after {
            tokio::time::sleep(after).await;
            hooks.deliver(&event("recording.transcript_completed", &[TRANSCRIPT], 0)).await;
            wanted += 1;
        }
        let fetched = async {
            while shared.state().served.len() < wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let refused = |_| Error::Refused("not all files of the cloud recording were fetched in time".into());
        tokio::time::timeout(cloud.wait, fetched).await.map_err(refused)
    }

    pub(super) fn alone(&self) -> bool {
        self.shared.cloud.alone
    }

    /// What was asked for.
    pub(super) fn downloads(&self) -> Vec<Download> {
        self.shared.state().downloads.clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn size(&self, file: usize) -> u64 {
        if file == 0 { self.cloud.video_bytes } else { 10_000 + file as u64 }
    }

    fn event(
        &self,
        name: &str,
        uuid: &str,
        number: u64,
        start: chrono::DateTime<chrono::Utc>,
        files: &[usize],
        delivery: u32,
    ) -> Value {
        let time =
            |seconds: i64| (start + chrono::TimeDelta::seconds(seconds)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let files: Vec<Value> = files
            .iter()
            .map(|&file| {
                let (id, file_type, recording_type, extension) = FILES[file];
                json!({
                    "id": format!("{id}-of-{number}"), "meeting_id": uuid, "recording_start": time(0), "recording_end": time(60),
                    "file_type": file_type, "file_size": self.size(file), "file_extension": extension,
                    "download_url": format!("{}/rec/webhook_download/{id}/{delivery}", self.base),
                    "status": "completed", "recording_type": recording_type,
                })
            })
            .collect();
        json!({
            "event": name, "event_ts": chrono::Utc::now().timestamp_millis(),
            "payload": {"account_id": ACCOUNT, "object": {
                "id": number, "uuid": uuid, "host_id": "hostSimulator1", "account_id": ACCOUNT, "topic": "A simulated meeting",
                "type": 2, "start_time": time(0), "duration": 1, "recording_count": files.len(), "recording_files": files,
            }},
            "download_token": self.tokens.give(self.cloud.token_life),
        })
    }

    async fn answer(&self, mut tcp: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX {
            head.push(tcp.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let token = header("authorization");
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (redirected, key) = match parts[..] {
            ["rec", "webhook_download", key, _] => (false, key),
            ["file", key] => (true, key),
            _ => (false, ""),
        };
        let from = header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let found = FILES.iter().position(|(id, ..)| *id == key);
        let good = token.as_deref().and_then(|token| token.strip_prefix("Bearer "));
        let good = good.is_some_and(|token| self.tokens.good_until(token).is_some());
        let foreign = redirected && self.cloud.redirect.as_deref().is_some_and(|to| to != "/");
        let mut download = Download {
            file: key.to_owned(),
            status: 200,
            from: from.unwrap_or(0),
            sent: 0,
            token: token.is_some(),
            redirected,
        };
        let mut location = String::new();
        let size = found.map_or(0, |file| self.size(file));
        download.status = match found {
            None => 404,
            // Somebody else's server has been given Zoom's token.
            Some(_) if foreign && token.is_some() => 400,
            Some(_) if !foreign && !good => 401,
            Some(_) => match &self.cloud.redirect {
                Some(to) if !redirected => {
                    location = format!("location: {}/file/{key}\r\n", if to == "/" { &self.base } else { to });
                    302
                }
                _ if download.from > 0 && download.from >= size => 416,
                _ if from.is_some() => 206,
                _ => 200,
            },
        };
        let serves = matches!(download.status, 200 | 206);
        let length = if serves { size - download.from } else { 0 };
        let range = match download.status {
            206 => format!("content-range: bytes {}-{}/{size}\r\n", download.from, size - 1),
            416 => format!("content-range: bytes */{size}\r\n"),
            _ => String::new(),
        };
        let head = format!(
            "HTTP/1.1 {} x\r\ncontent-length: {length}\r\nconnection: close\r\n{range}{location}\r\n",
            download.status
        );
        tcp.write_all(head.as_bytes()).await?;
        let cut = if serves && key == "video" { self.state().cuts.pop_front() } else { None };
        let until = cut.map_or(length, |cut| cut.min(length));
        let sent = async {
            while download.sent < until {
                let piece = (until - download.sent).min(PIECE as u64);
                let at = download.from + download.sent;
                let bytes: Vec<u8> = (at..at + piece).map(|offset| content(found.unwrap_or(0), offset)).collect();
                tcp.write_all(&bytes).await?;
                download.sent += piece;
                if let Some(speed) = self.cloud.bytes_per_s {
                    tokio::time::sleep(Duration::from_secs_f64(piece as f64 / speed as f64)).await;
                }
            }
            tcp.shutdown().await
        };
        let sent = sent.await;
        let mut state = self.state();
        if serves && download.sent == length && sent.is_ok() {
            state.served.insert(FILES[found.unwrap_or(0)].0);
        }
        state.downloads.push(download);
        sent
    }
}

/// A byte of a file, by its place in it.
fn content(file: usize, offset: u64) -> u8 {
    (offset.wrapping_mul(2_654_435_761).wrapping_add(file as u64 * 97) >> 13) as u8
}
