//! The event WebSocket: the door for those to whom Zoom cannot post. This side opens it; the same events come through it as
//! by webhook, signed by nothing but the token and TLS.
//!
//! What to do is decided by [`crate::protocol::subscription`]. Zoom wants no answer and sends nothing again, so an event that is not
//! taken is handed over again from here, a few times.
//!
//! The token is part of the address: it goes to the host that was checked when the settings were read, no redirect is followed, and
//! no text from the socket is shown before the token is taken out of it.

mod status;
mod trial;

pub use trial::try_once;

use super::{Delivery, Receiver};
use crate::clock;
use crate::config::{EventsConfig, Secret};
use crate::dial::{Dialer, Socket};
use crate::errors::{clip, with_sources};
use crate::protocol::event::Event;
use crate::protocol::server_urls::ServerUrl;
use crate::protocol::subscription::{Failure, Input, Output, Subscription, Timing, Token};
use crate::rest;
use bytes::Bytes;
use futures_util::future::OptionFuture;
use futures_util::{SinkExt, StreamExt};
use status::{Status, Watched};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

/// The largest message taken, as of a webhook.
const MAX_MESSAGE_BYTES: usize = super::server::MAX_BODY_BYTES;
/// How much is read at a time.
const READ_BYTES: usize = 4 << 10;
/// How long a send may take. Ours are small, so a peer that takes none of them is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Events that wait to be handed over, before no more are read.
const WAITING: usize = 1024;
/// How long acting upon an event may take until it is tried again.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// Waits before an event is handed over again that was not taken.
const AGAIN: [Duration; 8] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
];

/// The door.
pub struct Door {
    opener: Opener,
    receiver: Arc<dyn Receiver>,
    status: Status,
}

impl Door {
    /// A door that hands over to `receiver`; and the same receiver for the other door, which besides tells how this one is. If it
    /// is `alone`, no stream is taken while it is shut.
    ///
    /// # Errors
    /// When the HTTP client for tokens cannot be made.
    pub fn new(
        config: EventsConfig,
        dialer: Dialer,
        receiver: Arc<dyn Receiver>,
        alone: bool,
    ) -> Result<(Self, Arc<dyn Receiver>), reqwest::Error> {
        let status = Status::default();
        let watched = Watched::new(Arc::clone(&receiver), status.clone(), alone);
        Ok((Self { opener: Opener::new(config, dialer)?, receiver, status }, Arc::new(watched)))
    }

    /// Keeps the door open until `stop`. What came through it is handed over before this returns.
    pub async fn run(self, stop: CancellationToken) {
        let (events, inbox) = mpsc::channel(WAITING);
        let handing_over = tokio::spawn(hand_over(inbox, Arc::clone(&self.receiver)));
        self.keep_open(events, stop).await;
        if let Err(err) = handing_over.await {
            tracing::error!(err = %err, "handing over events panicked; please report this");
        }
    }

    async fn keep_open(&self, events: mpsc::Sender<(Bytes, i64)>, stop: CancellationToken) {
        let mut subscription = Subscription::new(Timing::default(), Instant::now());
        let mut open: Option<(u32, Socket)> = None;
        let mut dialling = OptionFuture::from(None);
        let mut last_token = None;
        loop {
            while let Some(output) = subscription.poll() {
                match output {
                    Output::Dial(run, token) => {
                        let refused = last_token.take().filter(|_| token == Token::New);
                        dialling = OptionFuture::from(Some(Box::pin(self.opener.dial(run, refused))));
                    }
                    Output::Send(run, text) => {
                        if let Some((id, socket)) = open.as_mut().filter(|(id, _)| *id == run)
                            && let Err(because) = send(socket, text).await
                        {
                            let run = *id;
                            open = None;
                            subscription.handle(Instant::now(), Input::Closed(run, None, because));
                        }
                    }
                    Output::Close(run) => close(open.take_if(|(id, _)| *id == run)),
                    Output::Event(text) => {
                        let event = (Bytes::from(text), clock::unix_ms());
                        if stop.run_until_cancelled(events.send(event)).await.is_none() {
                            return close(open);
                        }
                    }
                    Output::Report(report) => self.status.say(&report),
                }
            }
            let deadline = subscription.deadline();
            let due: OptionFuture<_> = deadline.map(|at| tokio::time::sleep_until(at.into())).into();
            let next: OptionFuture<_> = open.as_mut().map(|(_, socket)| receive(socket)).into();
            tokio::select! {
                () = stop.cancelled() => return close(open),
                Some(dialled) = &mut dialling => {
                    dialling = OptionFuture::from(None);
                    let Dialled { run, token, socket } = dialled;
                    last_token = token;
                    match socket {
                        Ok(socket) => {
                            open = Some((run, socket));
                            subscription.handle(Instant::now(), Input::Opened(run));
                        }
                        Err((failure, because)) => {
                            subscription.handle(Instant::now(), Input::Failed(run, failure, because));
                        }
                    }
                }
                Some(received) = next => {
                    let Some((run, _)) = &open else { continue };
                    let run = *run;
                    match received {
                        Received::Message(bytes) => {
                            subscription.handle(Instant::now(), Input::Received(run, &bytes));
                        }
                        Received::Ping => subscription.handle(Instant::now(), Input::Pinged(run)),
                        Received::Nothing => {}
                        Received::Closed(code, how) => {
                            open = None;
                            subscription.handle(Instant::now(), Input::Closed(run, code, how));
                        }
                    }
                }
                Some(()) = due => subscription.handle(Instant::now(), Input::Tick),
            }
        }
    }
}

/// Opens the socket.
struct Opener {
    url: ServerUrl,
    subscription_id: String,
    client: rest::Client,
    dialer: Dialer,
}

impl Opener {
    fn new(config: EventsConfig, dialer: Dialer) -> Result<Self, reqwest::Error> {
        let EventsConfig { url, subscription_id, token } = config;
        Ok(Self { url, subscription_id, client: rest::Client::new(token)?, dialer })
    }

    /// Opens the socket, with a token that is asked for first if need be.
    async fn dial(&self, run: u32, refused: Option<Secret>) -> Dialled {
        let token = match self.client.access_token(refused.as_ref()).await {
            Ok(token) => token,
            Err(err) => return Dialled { run, token: None, socket: Err((Failure::Other, err.to_string())) },
        };
        let query = [("subscriptionId", self.subscription_id.as_str()), ("access_token", token.expose())];
        let socket = match url::Url::parse_with_params(self.url.as_str(), query) {
            Ok(url) => self.dialer.open(url.as_str(), MAX_MESSAGE_BYTES, READ_BYTES).await.map_err(|refused| {
                let about_token = matches!(refused.status, Some(401 | 403));
                let failure = if about_token { Failure::Token } else { Failure::Other };
                (failure, refused.because.replace(token.expose(), "[token]"))
            }),
            Err(err) => Err((Failure::Other, err.to_string())),
        };
        Dialled { run, token: Some(token), socket }
    }
}

/// What came of an attempt to open the socket.
struct Dialled {
    run: u32,
    token: Option<Secret>,
    socket: Result<Socket, (Failure, String)>,
}

enum Received {
    Message(Bytes),
    Ping,
    Nothing,
    Closed(Option<u16>, String),
}

/// The next frame. Cancel safe.
async fn receive(socket: &mut Socket) -> Received {
    match socket.next().await {
        Some(Ok(Message::Text(text))) => Received::Message(text.into()),
        Some(Ok(Message::Binary(bytes))) => Received::Message(bytes),
        Some(Ok(Message::Close(frame))) => {
            let code = frame.as_ref().map(|frame| u16::from(frame.code));
            let how = code.map_or_else(|| "close without a code".to_owned(), |code| format!("close {code}"));
            Received::Closed(code, how)
        }
        // It is answered by the library.
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Received::Ping,
        Some(Ok(_)) => Received::Nothing,
        Some(Err(err)) => Received::Closed(None, clip(&with_sources(&err))),
        None => Received::Closed(None, "end of the connection".to_owned()),
    }
}

async fn send(socket: &mut Socket, text: &'static str) -> Result<(), String> {
    match tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::text(text))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(err)) => Err(clip(&with_sources(&err))),
        Err(_) => Err(format!("a message could not be sent within {} s", SEND_TIMEOUT.as_secs())),
    }
}

/// Says good-bye in the background.
fn close(open: Option<(u32, Socket)>) {
    let Some((_, mut socket)) = open else { return };
    tokio::spawn(async move {
        // The peer may be gone already; then there is nobody to say it to.
        tokio::time::timeout(SEND_TIMEOUT, socket.close(None)).await.ok();
    });
}

/// Hands over what came, in its order; what is not taken is handed over again beside the rest.
async fn hand_over(mut inbox: mpsc::Receiver<(Bytes, i64)>, receiver: Arc<dyn Receiver>) {
    let mut late = JoinSet::new();
    loop {
        let (body, received_ms) = tokio::select! {
            Some(_) = late.join_next() => continue,
            next = inbox.recv() => match next {
                Some(next) => next,
                None => break,
            },
        };
        let event = match Event::parse(&body, received_ms) {
            Ok(event) => event,
            Err(err) => {
                tracing::warn!(err = %err, bytes = body.len(), "an event was not understood");
                continue;
            }
        };
        // The token is of the first app, which is the one that streams are taken to be of.
        let delivery = Delivery { event, body, received_ms, app: None };
        if let Err(why) = hand_over_once(receiver.as_ref(), delivery.clone()).await {
            tracing::error!(
                err = why,
                "an event was not taken; Zoom does not send it again, so it is tried again from here"
            );
            late.spawn(hand_over_late(Arc::clone(&receiver), delivery));
        }
    }
    // Told to stop: what the spool does not take now, nobody will.
    if !late.is_empty() {
        tracing::error!(events = late.len(), "leaving with events that were not taken");
    }
}

async fn hand_over_once(receiver: &dyn Receiver, delivery: Delivery) -> Result<(), String> {
    match tokio::time::timeout(TAKEN_WITHIN, receiver.deliver(delivery)).await {
        Ok(taken) => taken.map_err(|err| err.to_string()),
        Err(_) => Err("the spool did not take it in time; check its disk".to_owned()),
    }
}

async fn hand_over_late(receiver: Arc<dyn Receiver>, delivery: Delivery) {
    let mut last = String::new();
    for wait in AGAIN {
        tokio::time::sleep(wait).await;
        match hand_over_once(receiver.as_ref(), delivery.clone()).await {
            Ok(()) => {
                tracing::info!("an event that was not taken at first is taken now");
                return;
            }
            Err(why) => last = why,
        }
    }
    tracing::error!(err = last, "an event is lost: it was not taken in all that time");
}
