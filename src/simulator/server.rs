//! Accepts connections and leads each to its stream: `/signaling/<stream>`, `/media/<stream>/<medium>`, and the same
//! behind `/failover<n>` once the stream has moved; `/ws` leads to the events.

use super::events::Hub;
use super::meeting::Meeting;
use super::socket::{Received, Socket};
use super::{Error, Progress, Settings, media, mock, signaling};
use crate::protocol::signature;
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// How long a client may take from connecting to its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The streams that can be connected to.
#[derive(Clone, Default)]
pub(super) struct Registry(Arc<Mutex<HashMap<String, Arc<Meeting>>>>);

impl Registry {
    pub(super) fn add(&self, meeting: &Arc<Meeting>) {
        self.0.lock().insert(meeting.stream_id.clone(), meeting.clone());
    }

    pub(super) fn remove(&self, meeting: &Meeting) {
        self.0.lock().remove(&meeting.stream_id);
    }

    pub(super) fn holds(&self, meeting: &Meeting) -> bool {
        self.0.lock().contains_key(&meeting.stream_id)
    }

    /// The test server has one stream, and paths without its id.
    fn route_mock(&self, path: &str) -> Option<(Arc<Meeting>, Destination)> {
        let destination = match path.trim_matches('/') {
            "" | "signaling" => Destination::Mock,
            key @ ("audio" | "video" | "transcript" | "all") => Destination::MockMedia(key.to_owned()),
            _ => return None,
        };
        self.0.lock().values().next().map(|meeting| (meeting.clone(), destination))
    }

    fn route(&self, path: &str) -> Option<(Arc<Meeting>, Destination)> {
        let mut parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let generation = match parts.first()?.strip_prefix("failover") {
            Some(n) => {
                parts.remove(0);
                n.parse().ok()?
            }
            None => 0,
        };
        let (stream, destination) = match parts.as_slice() {
            ["signaling", stream] => (*stream, Destination::Signaling),
            ["media", stream, key] => (*stream, Destination::Media((*key).to_owned())),
            _ => return None,
        };
        let meeting = self.0.lock().get(stream)?.clone();
        // The server that the stream has left is dead.
        (meeting.generation() == generation).then_some((meeting, destination))
    }
}

enum Destination {
    Signaling,
    Media(String),
    Mock,
    MockMedia(String),
}

/// The listeners; dropping it stops accepting.
pub(super) struct Server {
    registry: Registry,
    hub: Option<Hub>,
    bases: Vec<String>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    pub(super) async fn bind(settings: &Arc<Settings>, hub: Option<Hub>, progress: &Progress) -> Result<Self, Error> {
        let mut server = Self { registry: Registry::default(), hub, bases: Vec::new(), tasks: Vec::new() };
        server.listen(settings, settings.listen).await?;
        if let Some(hub) = &server.hub {
            hub.announce(&server.bases[0]);
        }
        if !settings.script.failover_ms.is_empty() {
            let any_port = SocketAddr::new(settings.listen.ip(), 0);
            server.listen(settings, any_port).await?;
        }
        progress.note(&format!("being Zoom at {}", server.bases.join(" and ")));
        Ok(server)
    }

    async fn listen(&mut self, settings: &Arc<Settings>, addr: SocketAddr) -> Result<(), Error> {
        let failed = |source| Error::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let own = listener.local_addr().map_err(failed)?;
        let base = settings.advertise.clone().unwrap_or_else(|| format!("ws://{own}"));
        self.bases.push(base.trim_end_matches('/').to_owned());
        let (registry, hub, settings) = (self.registry.clone(), self.hub.clone(), settings.clone());
        self.tasks.push(tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((tcp, _)) => {
                        tokio::spawn(connect(tcp, registry.clone(), hub.clone(), settings.clone()));
                    }
                    // Out of files, most likely: some will close.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        }));
        Ok(())
    }

    pub(super) fn registry(&self) -> Registry {
        self.registry.clone()
    }

    pub(super) fn bases(&self) -> Vec<String> {
        self.bases.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        for (_, meeting) in self.registry.0.lock().drain() {
            meeting.abandoned.cancel();
        }
    }
}

#[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
async fn connect(tcp: TcpStream, registry: Registry, hub: Option<Hub>, settings: Arc<Settings>) {
    // Small messages are not to wait for each other.
    tcp.set_nodelay(true).ok();
    let mut route = None;
    let mut events = None;
    let callback = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
        let path = request.uri().path();
        route = if settings.mock { registry.route_mock(path) } else { registry.route(path) };
        if path == "/ws" {
            let query = request.uri().query().unwrap_or_default().to_owned();
            events = hub.clone().map(|hub| (hub, query));
        }
        if route.is_some() || events.is_some() {
            return Ok(response);
        }
        let mut refused = ErrorResponse::new(Some("no such stream".into()));
        *refused.status_mut() = http::StatusCode::NOT_FOUND;
        Err(refused)
    };
    let accepting = tokio_tungstenite::accept_hdr_async(tcp, callback);
    let Ok(Ok(ws)) = tokio::time::timeout(HANDSHAKE, accepting).await else {
        return;
    };
    let socket = Socket::new(ws, settings);
    if let Some((hub, query)) = events {
        return hub.serve(socket, &query).await;
    }
    let Some((meeting, destination)) = route else { return };
    let (tasks, abandoned) = (meeting.tasks.clone(), meeting.abandoned.clone());
    let serving = async move {
        match destination {
            Destination::Signaling => signaling::serve(meeting, socket).await,
            Destination::Media(key) => media::serve(meeting, socket, key).await,
            Destination::Mock => mock::serve(meeting, socket).await,
            Destination::MockMedia(key) => media::serve_mock(meeting, socket, key).await,
        }
    };
    abandoned.run_until_cancelled(tasks.track_future(serving)).await;
}

impl Socket {
    /// The client's first message; `None` if it is none that can be read, or comes too late.
    pub(super) async fn handshake(&mut self) -> Option<Value> {
        let waiting = async {
            loop {
                match self.receive().await {
                    Received::Json(message) => return Some(message),
                    Received::Nothing => {}
                    Received::Bad(_) | Received::Gone => return None,
                }
            }
        };
        tokio::time::timeout(HANDSHAKE, waiting).await.ok().flatten()
    }
}

/// Why a handshake is refused.
pub(super) enum Refusal {
    /// Closed with 1000 and no message, as Zoom does.
    Silent(&'static str),
    Status(i64, &'static str),
}

/// Checks version, ids and signature of either handshake.
pub(super) fn check_identity(meeting: &Meeting, request: &Value) -> Result<(), Refusal> {
    let settings = &meeting.settings;
    if request["protocol_version"] != 1 {
        return Err(Refusal::Silent("protocol_version is not 1"));
    }
    let Some(stream_id) = request["rtms_stream_id"].as_str() else {
        return Err(Refusal::Status(4, "INVALID_PAYLOAD: rtms_stream_id"));
    };
    if stream_id != meeting.stream_id {
        return Err(Refusal::Status(2, "INVALID_RTMS_STREAM_ID"));
    }
    let ids = settings.id_key.keys(settings.product);
    let Some(id) = ids.iter().find_map(|key| request[key].as_str()) else {
        return Err(Refusal::Status(4, "INVALID_PAYLOAD: no id"));
    };
    let credentials = &settings.credentials;
    let expected = signature::handshake(
        &credentials.client_id,
        &credentials.client_secret,
        &meeting.meeting_id,
        &meeting.stream_id,
    );
    if id != meeting.meeting_id || request["signature"] != expected.as_str() {
        return Err(Refusal::Silent("wrong signature or meeting"));
    }
    Ok(())
}
