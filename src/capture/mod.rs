//! Capture: keeps the sockets of one stream alive and appends what arrives to the journal.
//!
//! It decides nothing: [`crate::protocol::link`] does. It decodes nothing but a message's type, and it waits for
//! neither renderer, bucket nor disk. One task owns all sockets of a stream.

mod health;
mod log;
mod socket;
mod vitals;

pub use health::Health;
pub use vitals::{Connection, Received as ReceivedMedia, Vitals};

use crate::clock;
use crate::dial::Dialer;
use crate::journal::{Journal, Note};
use crate::protocol::link::{Cause, Conn, Ended, Input, Link, Loss, Now, Output, Report, RunId};
use crate::protocol::message::{self, Medium, msg_type};
use crate::protocol::server_urls::ServerUrl;
use futures_util::stream::{FuturesUnordered, StreamExt};
use log::LateLog;
use socket::{Received, Sockets};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// What events tell a running capture.
#[derive(Debug)]
pub enum Command {
    /// A newer start event named this address. It is answered if the stream goes on there; if it is over, the answer is
    /// dropped.
    Restarted(ServerUrl, oneshot::Sender<()>),
    /// `rtms_interrupted`, with Zoom's time of it in Unix ms.
    Interrupted(i64),
    /// `rtms_stopped`, with Zoom's reason.
    Stopped(Option<i64>),
}

/// How a capture ended, and what it took in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How the stream ended; `None` if the capture was cancelled and the stream may go on without us.
    pub ended: Option<Ended>,
    /// Messages received.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that are not JSON; they are in the journal all the same.
    pub unparsed: u64,
}

/// Captures one stream until it ends, or until `cancel` drops the sockets without a word: Zoom holds the stream for
/// whoever connects next.
///
/// `vitals` are kept up to date. The end is noted in the journal; closing it is left to the caller. Not cancel safe: cancel by the token.
pub async fn run(
    mut link: Link,
    dialer: &Dialer,
    journal: &Journal,
    mut commands: mpsc::Receiver<Command>,
    vitals: &Vitals,
    cancel: CancellationToken,
) -> Summary {
    let mut sockets = Sockets::default();
    let mut dialling = FuturesUnordered::new();
    let mut summary = Summary::default();
    let mut commands_open = true;
    let mut media_flow = false;
    let mut log = LateLog::default();
    loop {
        while let Some(output) = link.poll() {
            match output {
                Output::Dial(run, url) => dialling.push(async move { (run, run.conn.dial(dialer, &url).await) }),
                Output::Send(run, text) => {
                    if let Err(because) = sockets.send(run, text).await {
                        sockets.drop_socket(run);
                        link.handle(now(), Input::Closed(run, Loss::new(Cause::Broken, because)));
                    }
                }
                Output::Close(run) => sockets.close(run),
                Output::Report(report) => {
                    let unix_ms = now().unix_ms;
                    journal.note(unix_ms, &note(&link, &report));
                    vitals.report(&report, unix_ms);
                    if let Report::Connected(RunId { conn: Conn::Signaling, .. }, _) = &report {
                        vitals.health().connected(link.url().host());
                    }
                    log.push(report);
                }
                Output::Ended(ended) => {
                    let note = Note::Ended { source: ended.source.as_str().to_owned(), reason: ended.reason };
                    journal.note(now().unix_ms, &note);
                    return Summary { ended: Some(ended), ..summary };
                }
            }
        }
        log.flush();
        let deadlines = [link.deadline(), log.deadline()];
        let deadline = deadlines.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + LateLog::DELAY);
        tokio::select! {
            () = cancel.cancelled() => return summary,
            (run, received) = sockets.next(), if !sockets.is_empty() => match received {
                Received::Message { bytes, is_text } => {
                    let now = now();
                    summary.messages += 1;
                    summary.bytes += bytes.len() as u64;
                    match message::peek_type(&bytes) {
                        // A journal is text; what is not goes into it as base64.
                        Ok(kind) if is_text => {
                            if let Some(medium) = Medium::of_msg_type(kind) {
                                vitals.packet(medium, bytes.len(), now.unix_ms);
                                if !media_flow {
                                    media_flow = true;
                                    tracing::info!(conn = %run.conn, "media flow");
                                }
                            }
                            journal.append(now.unix_ms, run.conn.as_str(), &bytes);
                            link.handle(now, Input::Received(run, kind, &bytes));
                            if kind == msg_type::KEEP_ALIVE_REQ && run.conn == Conn::Signaling {
                                sockets.ping(run).await;
                            }
                        }
                        _ => {
                            summary.unparsed += 1;
                            journal.append_raw(now.unix_ms, run.conn.as_str(), &bytes);
                            link.handle(now, Input::Received(run, 0, &bytes));
                        }
                    }
                }
                Received::Pong(after) => vitals.answered(after),
                Received::Closed(loss) => link.handle(now(), Input::Closed(run, loss)),
            },
            Some((run, dialled)) = dialling.next(), if !dialling.is_empty() => match dialled {
                Ok(socket) => {
                    sockets.insert(run, socket);
                    link.handle(now(), Input::Opened(run));
                }
                Err(because) => link.handle(now(), Input::Failed(run, because)),
            },
            command = commands.recv(), if commands_open => match command {
                Some(Command::Restarted(url, goes_on)) => {
                    link.handle(now(), Input::Restarted(url));
                    if !link.is_ending() {
                        // Whoever asked may have given up.
                        goes_on.send(()).ok();
                    }
                }
                Some(Command::Interrupted(event_ts)) => link.handle(now(), Input::Interrupted(event_ts)),
                Some(Command::Stopped(reason)) => link.handle(now(), Input::StopEvent(reason)),
                None => commands_open = false,
            },
            () = tokio::time::sleep_until(deadline.into()) => link.handle(now(), Input::Tick),
        }
    }
}

fn note(link: &Link, report: &Report) -> Note {
    let conn = |run: &RunId| run.conn.as_str().to_owned();
    match report {
        Report::Connected(run, _) => {
            Note::Connected { conn: conn(run), run: run.run, host: Some(link.url().host().to_owned()) }
        }
        Report::Lost(run, loss) => Note::Lost { conn: conn(run), run: run.run, because: loss.because.clone() },
        Report::Refused { run, because, for_good } => {
            Note::Refused { conn: conn(run), run: run.run, because: because.clone(), for_good: *for_good }
        }
    }
}

/// The time by both clocks.
fn now() -> Now {
    Now { instant: Instant::now(), unix_ms: clock::unix_ms() }
}
