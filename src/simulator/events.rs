//! Zoom's event WebSocket: `/ws?subscriptionId=...&access_token=...` beside the streams' sockets.
//!
//! As strict as Zoom: one connection for each subscription, of which the newest counts; tokens are checked; what is told while
//! nobody is connected is lost.

use super::rest::Tokens;
use super::socket::{Received, Socket};
use super::{Error, Progress, Settings};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Zoom closes a connection on which no heartbeat comes for longer than it should.
const HEARTBEATS_WITHIN: Duration = Duration::from_secs(60);

/// How the event WebSocket behaves.
#[derive(Clone, Debug)]
pub struct Events {
    /// The subscription.
    pub subscription_id: String,
    /// Post webhooks, too.
    pub webhooks_too: bool,
    /// How many connections are refused although their token is good.
    pub refusals: u32,
    /// How long to wait for a client before the first meeting.
    pub wait: Duration,
}

impl Events {
    /// Without webhooks and without refusals.
    pub fn new(subscription_id: impl Into<String>) -> Self {
        Self {
            subscription_id: subscription_id.into(),
            webhooks_too: false,
            refusals: 0,
            wait: Duration::from_secs(60),
        }
    }
}

/// What went over the event WebSocket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventsSummary {
    /// Connections that were accepted.
    pub connections: u32,
    /// Connections that were refused for their token or subscription.
    pub refused: u32,
    /// Connections that a newer one replaced.
    pub replaced: u32,
    /// Connections that were closed because their token had expired.
    pub expired: u32,
    /// Heartbeats that came.
    pub heartbeats: u32,
    /// Events that were sent.
    pub sent: u32,
    /// Events that nobody was connected for.
    pub lost: u32,
}

/// The only connection of the subscription, if there is one. Clones are the same.
#[derive(Clone)]
pub(super) struct Hub(Arc<Inner>);

struct Inner {
    events: Events,
    tokens: Tokens,
    progress: Progress,
    state: Mutex<State>,
    connected: Notify,
}

#[derive(Default)]
struct State {
    current: Option<(u32, mpsc::UnboundedSender<Order>)>,
    refusals: u32,
    summary: EventsSummary,
}

enum Order {
    Send(Value),
    /// End the TCP connection.
    Cut,
    /// A newer connection has come.
    Replaced,
}

impl Hub {
    pub(super) fn new(settings: &Settings, tokens: Tokens, progress: &Progress) -> Option<Self> {
        let events = settings.events.clone()?;
        let state = State { refusals: events.refusals, ..State::default() };
        Some(Self(Arc::new(Inner {
            events,
            tokens,
            progress: progress.clone(),
            state: Mutex::new(state),
            connected: Notify::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    pub(super) fn webhooks_too(&self) -> bool {
        self.0.events.webhooks_too
    }

    pub(super) fn summary(&self) -> EventsSummary {
        self.state().summary
    }

    pub(super) fn announce(&self, base: &str) {
        let id = &self.0.events.subscription_id;
        self.0.progress.note(&format!("events are at ZOOM_EVENTS_URL={base}/ws ZOOM_SUBSCRIPTION_ID={id}"));
    }

    /// Waits for a client.
    pub(super) async fn wait(&self) -> Result<(), Error> {
        let waiting = async {
            while self.state().current.is_none() {
                self.0.connected.notified().await;
            }
        };
        let refused = |_| {
            Error::Refused(
                "nobody opened the event WebSocket: set the recorder's ZOOM_EVENTS_URL and ZOOM_SUBSCRIPTION_ID".into(),
            )
        };
        tokio::time::timeout(self.0.events.wait, waiting).await.map_err(refused)
    }

    /// Sends an event to whoever is connected, in each of the forms that are told of.
    pub(super) fn send(&self, body: &str) {
        let mut state = self.state();
        let envelope: Value = serde_json::from_str(body).unwrap_or_default();
        let message = match state.summary.sent % 3 {
            0 => json!({"module": "message", "content": body}),
            1 => json!({"module": "message", "content": envelope}),
            _ => envelope,
        };
        let sent = state.current.as_ref().is_some_and(|(_, orders)| orders.send(Order::Send(message)).is_ok());
        let counter = if sent { &mut state.summary.sent } else { &mut state.summary.lost };
        *counter += 1;
    }

    /// Ends the connection without a word.
    pub(super) fn cut(&self) {
        if let Some((_, orders)) = self.state().current.take() {
            orders.send(Order::Cut).ok();
        }
    }

    /// Takes a connection whose request had this query.
    pub(super) async fn serve(self, mut socket: Socket, query: &str) {
        let (id, mut orders, expires) = match self.admit(query) {
            Ok(admitted) => admitted,
            Err(why) => {
                self.0.progress.note(&format!("the event WebSocket: refused: {why}"));
                let refusal = json!({"module": "build_connection", "success": false, "content": why});
                // A client that is gone needs no refusal.
                socket.send(&refusal).await.ok();
                return socket.close().await;
            }
        };
        let accepted = json!({"module": "build_connection", "success": true, "content": "connected"});
        if socket.send(&accepted).await.is_err() {
            return self.gone(id);
        }
        self.0.connected.notify_one();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Send(message)) => {
                        if socket.send(&message).await.is_err() {
                            return self.gone(id);
                        }
                    }
                    Some(Order::Replaced) => return socket.close().await,
                    Some(Order::Cut) | None => return socket.drop_silently().await,
                },
                received = socket.receive() => match received {
                    Received::Json(message) if message["module"] == "heartbeat" => {
                        heard = Instant::now();
                        self.state().summary.heartbeats += 1;
                        if socket.send(&json!({"module": "heartbeat", "success": true})).await.is_err() {
                            return self.gone(id);
                        }
                    }
                    Received::Json(_) | Received::Bad(_) | Received::Nothing => {}
                    Received::Gone => return self.gone(id),
                },
                () = tokio::time::sleep_until(expires) => {
                    self.gone(id);
                    self.state().summary.expired += 1;
                    return socket.close_with(CloseCode::Policy).await;
                }
                () = tokio::time::sleep_until(heard + HEARTBEATS_WITHIN) => {
                    self.gone(id);
                    return socket.close_with(CloseCode::Away).await;
                }
            }
        }
    }

    /// Gives the connection its number and its orders, and says until when its token is good.
    fn admit(&self, query: &str) -> Result<(u32, mpsc::UnboundedReceiver<Order>, Instant), &'static str> {
        let value = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        let mut state = self.state();
        let admitted = if value("subscriptionId") != self.0.events.subscription_id {
            Err("Invalid subscription")
        } else if state.refusals > 0 {
            state.refusals -= 1;
            self.0.tokens.revoke(&value("access_token"));
            Err("Invalid Token")
        } else {
            self.0.tokens.good_until(&value("access_token")).ok_or("Token is invalid")
        };
        if admitted.is_err() {
            state.summary.refused += 1;
        }
        let expires = admitted?;
        state.summary.connections += 1;
        let id = state.summary.connections;
        let (orders, receiver) = mpsc::unbounded_channel();
        if let Some((_, older)) = state.current.replace((id, orders)) {
            state.summary.replaced += 1;
            older.send(Order::Replaced).ok();
        }
        Ok((id, receiver, expires))
    }

    /// The connection is no more.
    fn gone(&self, id: u32) {
        self.state().current.take_if(|(current, _)| *current == id);
    }
}
