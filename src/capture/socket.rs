//! WebSockets: opening one of a stream's, and reading from all of them at once.

use crate::dial::{Dialer, Socket};
use crate::errors::{clip, with_sources};
use crate::protocol::link::{Cause, Conn, Loss, RunId};
use crate::protocol::message::Medium;
use crate::protocol::server_urls::ServerUrl;
use bytes::Bytes;
use futures_util::stream::Stream;
use futures_util::{SinkExt, future};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// The largest message taken with pictures. Zoom names no limit; a key frame or a PNG of a large screen reaches megabytes.
const MAX_PICTURE_BYTES: usize = 16 << 20;
/// The largest of the others: a second of 48 kHz stereo is 256 KiB in base64.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// How long a send may take. Ours are small, so a peer that takes none of them is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How much is read at a time of pictures. It is a socket's memory, and cleared before every read.
const READ_PICTURES_BYTES: usize = 32 << 10;
/// And of the rest: a packet of sound has about a kilobyte.
const READ_BYTES: usize = 4 << 10;

impl Conn {
    /// Opens its socket. The error says what came back.
    pub(super) async fn dial(self, dialer: &Dialer, url: &ServerUrl) -> Result<Socket, String> {
        let (limit, at_once) = match self {
            Self::Media(Medium::Video | Medium::Share) => (MAX_PICTURE_BYTES, READ_PICTURES_BYTES),
            _ => (MAX_MESSAGE_BYTES, READ_BYTES),
        };
        dialer.open(url.as_str(), limit, at_once).await.map_err(|refused| refused.because)
    }
}

/// What came out of a socket.
pub(super) enum Received {
    Message {
        bytes: Bytes,
        /// Whether they are UTF-8.
        is_text: bool,
    },
    /// A ping was answered, after this long.
    Pong(Duration),
    /// The socket is gone, and was forgotten.
    Closed(Loss),
}

/// The open sockets of a stream.
///
/// Signaling is read first: what it says (the stream is over) explains what the others do (they close). It carries
/// too little to starve them; among themselves they take turns.
#[derive(Default)]
pub(super) struct Sockets {
    /// Signaling, if it is open, is the first.
    open: Vec<(RunId, Socket)>,
    /// Which of the others is read next.
    turn: usize,
    /// The ping that is under way.
    ping: Option<(RunId, Instant)>,
}

impl Sockets {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn insert(&mut self, run: RunId, socket: Socket) {
        match run.conn {
            Conn::Signaling => self.open.insert(0, (run, socket)),
            Conn::Media(_) => self.open.push((run, socket)),
        }
    }

    /// Waits for something from any of them. Cancel safe.
    pub(super) async fn next(&mut self) -> (RunId, Received) {
        future::poll_fn(|cx| {
            let count = self.open.len();
            let first = usize::from(self.open.first().is_some_and(|(run, _)| run.conn == Conn::Signaling));
            for step in 0..count {
                let index = if step < first { 0 } else { first + (self.turn + step - first) % (count - first) };
                let (run, socket) = &mut self.open[index];
                let run = *run;
                let loss = loop {
                    match Pin::new(&mut *socket).poll_next(cx) {
                        Poll::Pending => break None,
                        Poll::Ready(Some(Ok(Message::Text(text)))) => {
                            self.turn = index + 1 - first;
                            return Poll::Ready((run, Received::Message { bytes: text.into(), is_text: true }));
                        }
                        Poll::Ready(Some(Ok(Message::Binary(bytes)))) => {
                            self.turn = index + 1 - first;
                            let is_text = std::str::from_utf8(&bytes).is_ok();
                            return Poll::Ready((run, Received::Message { bytes, is_text }));
                        }
                        Poll::Ready(Some(Ok(Message::Close(frame)))) => {
                            let how = frame.map_or_else(
                                || "close without a code".to_owned(),
                                |frame| format!("close {} {}", u16::from(frame.code), clip(&frame.reason)),
                            );
                            break Some(Loss::new(Cause::Closed, how.trim_end()));
                        }
                        Poll::Ready(Some(Ok(Message::Pong(_)))) => {
                            if let Some((_, sent)) = self.ping.take_if(|(to, _)| *to == run) {
                                return Poll::Ready((run, Received::Pong(sent.elapsed())));
                            }
                        }
                        // Pings are answered by the library.
                        Poll::Ready(Some(Ok(_))) => {}
                        Poll::Ready(Some(Err(err))) => break Some(Loss::new(Cause::Broken, clip(&with_sources(&err)))),
                        Poll::Ready(None) => break Some(Loss::new(Cause::Broken, "end of the connection")),
                    }
                };
                if let Some(loss) = loss {
                    self.open.remove(index);
                    return Poll::Ready((run, Received::Closed(loss)));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Sends a text frame; does nothing if the socket is gone.
    pub(super) async fn send(&mut self, run: RunId, text: String) -> Result<(), String> {
        let Some((_, socket)) = self.open.iter_mut().find(|(id, _)| *id == run) else { return Ok(()) };
        match tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::text(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(err)) => Err(clip(&with_sources(&err))),
            Err(_) => Err(format!("a message could not be sent within {} s", SEND_TIMEOUT.as_secs())),
        }
    }

    /// Asks for a sign of life, to see how long it takes. What does not answer is found out otherwise.
    pub(super) async fn ping(&mut self, run: RunId) {
        let Some((_, socket)) = self.open.iter_mut().find(|(id, _)| *id == run) else { return };
        let sent = Instant::now();
        let ping = socket.send(Message::Ping(Bytes::from_static(b"rtms-recorder")));
        if matches!(tokio::time::timeout(SEND_TIMEOUT, ping).await, Ok(Ok(()))) {
            self.ping = Some((run, sent));
        }
    }

    pub(super) fn drop_socket(&mut self, run: RunId) {
        self.open.retain(|(id, _)| *id != run);
    }

    /// Takes a socket out and says good-bye in the background.
    pub(super) fn close(&mut self, run: RunId) {
        if let Some(index) = self.open.iter().position(|(id, _)| *id == run) {
            let (_, mut socket) = self.open.remove(index);
            tokio::spawn(async move {
                // The peer may be gone already; then there is nobody to say it to.
                tokio::time::timeout(SEND_TIMEOUT, socket.close(None)).await.ok();
            });
        }
    }
}
