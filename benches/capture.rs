//! How many streams capture alone can hold: sockets to journal, no rendering.
//!
//! `cargo bench --bench capture -- 50 100 200` plays that many meetings at once, in real time, at webhook, sockets and
//! journal of this process. The load comes from a process of its own, whose CPU is shown apart. Every message that was
//! sent has to be in the journals. `SECONDS` (20) is the length of the meetings.

use rtms_recorder::capture::{self, Command, Dialer};
use rtms_recorder::config::Secret;
use rtms_recorder::events::{Delivery, NotTaken, Receiver, server};
use rtms_recorder::journal::{Disk, Journal, read};
use rtms_recorder::protocol::event::Event;
use rtms_recorder::protocol::link::{Link, Now, Settings, Timing};
use rtms_recorder::protocol::message::{AudioStreams, Identity, Medium, Wanted, media_params};
use rtms_recorder::protocol::server_urls::AllowedHosts;
use rtms_recorder::protocol::signature;
use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const CLIENT_ID: &str = "benchClientId";
const CLIENT_SECRET: &str = "bench-client-secret";
const SECRET_TOKEN: &str = "bench-secret-token";

fn main() {
    let counts: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![25, 50, 100] } else { counts };
    rustls::crypto::ring::default_provider().install_default().expect("the first one");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!("streams  messages sent  journalled  lost  MB/s  capture CPU s/s  load CPU s/s  CPU ms per stream and s");
    for count in counts {
        runtime.block_on(measure(count));
    }
}

async fn measure(count: usize) {
    let seconds: f64 = std::env::var("SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20.0);
    let spool = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let to = format!("http://{}/webhook", listener.local_addr().expect("an address"));
    let keeper = Arc::new(Keeper::new(spool.path().to_owned()));
    let settings = server::Settings {
        webhook_path: "/webhook".into(),
        secret_token: Secret::new(SECRET_TOKEN),
        allow_unsigned: false,
    };
    let serving = tokio::spawn(server::run(listener, settings, Arc::clone(&keeper) as _, std::future::pending()));

    let (before, load_before, begun) = (cpu_s(false), cpu_s(true), Instant::now());
    let load = tokio::process::Command::new(env!("CARGO_BIN_EXE_rtms-recorder"))
        .args(["simulate", "--json", "--to", &to, "--meetings", &count.to_string()])
        .args(["--length", &format!("{seconds}s"), "--stagger", "0.02"])
        .env("ZOOM_CLIENT_ID", CLIENT_ID)
        .env("ZOOM_CLIENT_SECRET", CLIENT_SECRET)
        .env("ZOOM_SECRET_TOKEN", SECRET_TOKEN)
        .stderr(Stdio::null())
        .output()
        .await
        .expect("the simulator runs");
    keeper.tasks.close();
    keeper.tasks.wait().await;
    let elapsed = begun.elapsed().as_secs_f64();
    let capture = cpu_s(false) - before;
    serving.abort();

    let summary: serde_json::Value = serde_json::from_slice(&load.stdout).expect("a summary");
    let media = |meeting: &serde_json::Value| {
        let media = meeting["media"].as_object().cloned().unwrap_or_default();
        media.values().filter_map(|medium| medium["messages"].as_u64()).sum::<u64>()
    };
    let sent: u64 = summary["meetings"].as_array().map_or(0, |all| all.iter().map(media).sum());
    let (kept, bytes) = journalled(spool.path());
    println!(
        "{count:>7}  {sent:>13}  {kept:>10}  {:>4}  {:>4.1}  {:>15.2}  {:>12.2}  {:>23.1}",
        sent as i64 - kept as i64,
        bytes as f64 / elapsed / 1e6,
        capture / elapsed,
        (cpu_s(true) - load_before) / elapsed,
        capture * 1000.0 / seconds / count as f64,
    );
}

/// Media messages in all journals of a spool, and the journals' bytes.
fn journalled(spool: &std::path::Path) -> (u64, u64) {
    let (mut messages, mut total) = (0, 0);
    for entry in std::fs::read_dir(spool).expect("the spool").flatten() {
        for chunk in read::chunks(&entry.path().join("journal")).expect("a journal") {
            let bytes = chunk.read().expect("a chunk");
            total += bytes.len() as u64;
            let media = |conn: &str| Medium::ALL.iter().any(|medium| medium.as_str() == conn);
            let kind = |line: &read::Line<'_>| match line.body {
                read::Body::Json(json) => rtms_recorder::protocol::message::peek_type(json).unwrap_or_default(),
                read::Body::Raw(_) => 0,
            };
            let lines = read::lines(&bytes, chunk.open).flatten();
            messages += lines.filter(|line| media(&line.conn) && (14..=18).contains(&kind(line))).count() as u64;
        }
    }
    (messages, total)
}

/// User and system time of this process or of its ended children, in seconds.
fn cpu_s(children: bool) -> f64 {
    let who = if children { "cutime" } else { "utime" };
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let at = if who == "utime" { 11 } else { 13 };
    let ticks: f64 = fields[at..at + 2].iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Captures every stream that starts, and does nothing else with it.
struct Keeper {
    spool: PathBuf,
    disk: Disk,
    dialer: Dialer,
    streams: Mutex<HashMap<String, (mpsc::Sender<Command>, Journal)>>,
    tasks: TaskTracker,
}

impl Keeper {
    fn new(spool: PathBuf) -> Self {
        Self {
            spool,
            disk: Disk::start().expect("threads"),
            dialer: Dialer::new().expect("root certificates"),
            streams: Mutex::default(),
            tasks: TaskTracker::new(),
        }
    }

    async fn take(&self, delivery: Delivery) -> Result<(), NotTaken> {
        match delivery.event {
            Event::Started(started) => {
                let stream_id = started.stream.stream_id.clone();
                let dir = self.spool.join(stream_id.as_str()).join("journal");
                let body = String::from_utf8_lossy(&delivery.body).into_owned();
                let disk = self.disk.clone();
                let journal = tokio::task::spawn_blocking(move || disk.open(&dir, delivery.received_ms, &body))
                    .await
                    .map_err(|err| NotTaken(err.to_string()))?
                    .map_err(|err| NotTaken(err.to_string()))?;
                let wanted = Wanted { audio_streams: AudioStreams::Mixed, resolution: 2, fps: 25 };
                let hosts = AllowedHosts::new("127.0.0.1");
                let url = hosts.check(&started.signaling_url).map_err(|err| NotTaken(err.to_string()))?;
                let settings = Settings {
                    media: Medium::ALL.iter().map(|&medium| (medium, media_params(medium, wanted))).collect(),
                    allowed_hosts: hosts,
                    timing: Timing::default(),
                };
                let identity = Identity {
                    id_key: started.id_key,
                    signature: signature::handshake(CLIENT_ID, CLIENT_SECRET, started.id.as_str(), stream_id.as_str()),
                    id: started.id.clone(),
                    stream_id: stream_id.clone(),
                };
                let now = Now { instant: Instant::now(), unix_ms: delivery.received_ms };
                let link = Link::new(settings, vec![identity], url, now);
                let (commands, inbox) = mpsc::channel(16);
                let (dialer, kept) = (self.dialer.clone(), journal.clone());
                self.tasks.spawn(async move {
                    capture::run(link, &dialer, &kept, inbox, CancellationToken::new()).await;
                    kept.close().await.expect("a disk");
                });
                self.streams.lock().expect("no panic").insert(stream_id.as_str().to_owned(), (commands, journal));
            }
            Event::Stopped { stream, stop_reason, .. } => {
                let live = self.streams.lock().expect("no panic").remove(stream.stream_id.as_str());
                if let Some((commands, _)) = live {
                    commands.send(Command::Stopped(stop_reason)).await.ok();
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Receiver for Keeper {
    fn deliver(&self, delivery: Delivery) -> Pin<Box<dyn Future<Output = Result<(), NotTaken>> + Send + '_>> {
        Box::pin(self.take(delivery))
    }

    fn ready(&self) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}
