//! Capture: keeps the sockets of one stream alive and appends what arrives to the journal.
//!
//! It decides nothing: [`crate::protocol::link`] does. It decodes nothing but a message's type, and it waits for
//! neither renderer, bucket nor disk. One task owns all sockets of a stream.

mod socket;

pub use socket::Dialer;

use crate::clock;
use crate::journal::{Journal, Note};
use crate::protocol::link::{Ended, Input, Link, Now, Output, Report, RunId};
use crate::protocol::message::{self, Medium};
use crate::protocol::server_urls::ServerUrl;
use futures_util::stream::{FuturesUnordered, StreamExt};
use socket::{Received, Sockets};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What events tell a running capture.
#[derive(Clone, Debug)]
pub enum Command {
    /// A newer start event named this address.
    Restarted(ServerUrl),
    /// `rtms_interrupted`.
    Interrupted,
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
/// The end is noted in the journal; closing it is left to the caller. Not cancel safe: cancel by the token.
pub async fn run(
    mut link: Link,
    dialer: &Dialer,
    journal: &Journal,
    mut commands: mpsc::Receiver<Command>,
    cancel: CancellationToken,
) -> Summary {
    let mut sockets = Sockets::default();
    let mut dialling = FuturesUnordered::new();
    let mut summary = Summary::default();
    let mut commands_open = true;
    let mut media_flow = false;
    loop {
        while let Some(output) = link.poll() {
            match output {
                Output::Dial(run, url) => dialling.push(async move { (run, dialer.dial(&url).await) }),
                Output::Send(run, text) => {
                    if let Err(because) = sockets.send(run, text).await {
                        sockets.drop_socket(run);
                        link.handle(now(), Input::Closed(run, because));
                    }
                }
                Output::Close(run) => sockets.close(run),
                Output::Report(report) => write_down(journal, &link, report),
                Output::Ended(ended) => {
                    let note = Note::Ended { source: ended.source.as_str().to_owned(), reason: ended.reason };
                    journal.note(now().unix_ms, &note);
                    return Summary { ended: Some(ended), ..summary };
                }
            }
        }
        let deadline = link.deadline().unwrap_or_else(|| Instant::now() + std::time::Duration::from_secs(1));
        tokio::select! {
            () = cancel.cancelled() => return summary,
            (run, received) = sockets.next(), if !sockets.is_empty() => match received {
                Received::Message(bytes) => {
                    let now = now();
                    summary.messages += 1;
                    summary.bytes += bytes.len() as u64;
                    match message::peek_type(&bytes) {
                        Ok(kind) => {
                            if !media_flow && Medium::of_msg_type(kind).is_some() {
                                media_flow = true;
                                tracing::info!(conn = %run.conn, "media flow");
                            }
                            journal.append(now.unix_ms, run.conn.as_str(), &bytes);
                            link.handle(now, Input::Received(run, kind, &bytes));
                        }
                        Err(_) => {
                            summary.unparsed += 1;
                            journal.append_raw(now.unix_ms, run.conn.as_str(), &bytes);
                            link.handle(now, Input::Received(run, 0, &bytes));
                        }
                    }
                }
                Received::Closed(how) => link.handle(now(), Input::Closed(run, how)),
            },
            Some((run, dialled)) = dialling.next(), if !dialling.is_empty() => match dialled {
                Ok(socket) => {
                    sockets.insert(run, socket);
                    link.handle(now(), Input::Opened(run));
                }
                Err(because) => link.handle(now(), Input::Failed(run, because)),
            },
            command = commands.recv(), if commands_open => match command {
                Some(Command::Restarted(url)) => link.handle(now(), Input::Restarted(url)),
                Some(Command::Interrupted) => link.handle(now(), Input::Interrupted),
                Some(Command::Stopped(reason)) => link.handle(now(), Input::StopEvent(reason)),
                None => commands_open = false,
            },
            () = tokio::time::sleep_until(deadline.into()) => link.handle(now(), Input::Tick),
        }
    }
}

fn write_down(journal: &Journal, link: &Link, report: Report) {
    let conn = |run: RunId| run.conn.as_str().to_owned();
    let note = match report {
        Report::Connected(run, how) => {
            let host = link.url().host().to_owned();
            if how.is_empty() {
                tracing::debug!(conn = %run.conn, run = run.run, "connected");
            } else {
                tracing::warn!(conn = %run.conn, run = run.run, "connected: {how}");
            }
            Note::Connected { conn: conn(run), run: run.run, host: Some(host) }
        }
        Report::Lost(run, because) => {
            tracing::warn!(conn = %run.conn, run = run.run, because, "connection lost; connecting again at once");
            Note::Lost { conn: conn(run), run: run.run, because }
        }
        Report::Refused { run, because, for_good } => {
            let next = if for_good { "recording goes on without it" } else { "trying again" };
            tracing::warn!(conn = %run.conn, run = run.run, because, "connection refused; {next}");
            Note::Refused { conn: conn(run), run: run.run, because, for_good }
        }
    };
    journal.note(now().unix_ms, &note);
}

/// The time by both clocks.
fn now() -> Now {
    Now { instant: Instant::now(), unix_ms: clock::unix_ms() }
}
