//! Row 3: how many streams capture alone can keep: sockets to journal, no rendering.
//!
//! Webhook, sockets and journal are this process's, the load is a process of its own. Every message that was sent has to
//! be in the journals.

use crate::play::{CLIENT_ID, CLIENT_SECRET, Meetings, SECRET_TOKEN};
use crate::process::own_cpu_s;
use crate::table::Row;
use crate::{Options, say};
use rtms_recorder::capture::{self, Command, Dialer, Vitals};
use rtms_recorder::config::{App, Apps, Secret};
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
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const TARGET: f64 = 300.0;

pub(crate) fn measure(options: &Options) -> Vec<Row> {
    let (steps, length_s) = match (&options.streams[..], options.quick) {
        ([], true) => (vec![50], 10.0),
        ([], false) => (vec![100, 200], 20.0),
        (streams, quick) => (streams.to_vec(), if quick { 10.0 } else { 20.0 }),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    steps.into_iter().map(|count| runtime.block_on(keep(count, length_s))).collect()
}

async fn keep(count: usize, length_s: f64) -> Row {
    say(&format!("capture alone, {count} streams for {length_s} s"));
    let spool = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let to = format!("http://{}/webhook", listener.local_addr().expect("an address"));
    let keeper = Arc::new(Keeper::new(spool.path().to_owned()));
    let settings = server::Settings {
        webhook_path: "/webhook".into(),
        apps: Apps::new(vec![App { secret_token: Secret::new(SECRET_TOKEN), general: None, video_sdk: None }]),
        allow_unsigned: false,
    };
    let serving = tokio::spawn(server::run(listener, settings, Arc::clone(&keeper) as _, std::future::pending()));

    let before = own_cpu_s();
    let simulator = Meetings { stagger_s: 0.02, ..Meetings::new(count, length_s) }.start(&to);
    let played = tokio::task::spawn_blocking(|| simulator.finish()).await.expect("no panic");
    keeper.tasks.close();
    keeper.tasks.wait().await;
    let cpu_s = own_cpu_s() - before;
    serving.abort();

    let media = |meeting: &serde_json::Value| {
        let media = meeting["media"].as_object().cloned().unwrap_or_default();
        media.values().filter_map(|medium| medium["messages"].as_u64()).sum::<u64>()
    };
    let sent: u64 = played.meetings.iter().map(media).sum();
    let (kept, bytes) = journalled(spool.path());
    let lost = sent as i64 - kept as i64;
    let per_stream = cpu_s / length_s / count as f64;
    let load = played.load_cpu_s / length_s / count as f64;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let limit = cores / per_stream;
    Row::new(
        format!("3 capture alone, {count} at once"),
        format!(
            "{lost} of {sent} messages lost, {:.1} MB/s, {:.2} ms CPU per stream and s: {limit:.0} on {cores} cores",
            bytes as f64 / length_s / 1e6,
            per_stream * 1000.0
        ),
    )
    .rival(format!("{:.2} ms sender", load * 1000.0), per_stream / load)
    .target("300, nothing lost", lost == 0 && limit >= TARGET)
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
                    product: started.stream.product,
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
                    capture::run(link, &dialer, &kept, inbox, &Vitals::default(), CancellationToken::new()).await;
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
