//! The status page, the API behind it, and the metrics: what an operator sees of the recorder and tells it.
//!
//! It owns who may come in (`guard`) and what is answered; what is so, and what is done, is the recorder's. `openapi.json`
//! describes the API; the page uses nothing else.
//!
//! # Invariants
//!
//! - Nothing is answered to whoever could not read it anyway: without a token only names of this machine are taken for the
//!   host (a name that leads here by somebody else's DNS is none), with a token only those who know it.
//! - Nothing is changed by a GET, nor by a request that another site's page can make.
//! - Names of people are shown, and never logged.

mod files;
mod guard;
mod metrics;
mod page;
mod state;

use crate::config::AdminConfig;
use crate::ids::RecordingId;
use crate::listen;
use crate::recorder::{Recorder, Refused};
use bytes::Bytes;
use futures_util::stream;
use guard::{Guard, Verdict};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use serde_json::json;
use state::States;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use warp::Filter;
use warp::reply::{Reply, Response};

/// The API, as OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("openapi.json");

/// How many connections there are at most; each open page holds one.
const MOST_CONNECTIONS: usize = 64;
/// The largest body: a form with a token.
const MAX_BODY_BYTES: u64 = 4096;
/// How often a page is told what is new.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Serves until it is dropped: open pages are told of what happens for as long as they stay.
pub async fn run(listener: TcpListener, config: AdminConfig, recorder: Recorder) {
    let port = listener.local_addr().map_or_else(|_| config.listen.port(), |address| address.port());
    let admin = Arc::new(Admin {
        guard: Guard::new(config.token, port),
        states: States::new(recorder.clone()),
        manifests: files::Manifests::default(),
        pictures: files::Pictures::default(),
        recorder,
    });
    let routes = warp::method()
        .and(warp::path::full())
        .and(warp::header::headers_cloned())
        .and(
            warp::body::content_length_limit(MAX_BODY_BYTES)
                .and(warp::body::bytes())
                .or(warp::any().map(Bytes::new))
                .unify(),
        )
        .then(move |method: Method, path: warp::path::FullPath, headers: HeaderMap, body: Bytes| {
            let admin = Arc::clone(&admin);
            async move { admin.answer(&method, path.as_str(), &headers, &body).await }
        });
    listen::serve(listener, MOST_CONNECTIONS, TowerToHyperService::new(warp::service(routes)), std::future::pending())
        .await;
}

struct Admin {
    guard: Guard,
    recorder: Recorder,
    states: States,
    manifests: files::Manifests,
    pictures: files::Pictures,
}

impl Admin {
    async fn answer(self: Arc<Self>, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Response {
        let answer = match self.guard.look(method, path, headers) {
            Verdict::Welcome => self.route(method, path, headers).await,
            Verdict::LogIn => self.guard.log_in(headers, body).await,
            Verdict::LogOut => self.guard.log_out(headers),
            Verdict::AskToLogIn => page::login(false),
            Verdict::WrongToken => self.guard.wrong_bearer().await,
            Verdict::Refused(status, why) => refusal(status, why),
        };
        with_safety(answer)
    }

    async fn route(self: &Arc<Self>, method: &Method, path: &str, headers: &HeaderMap) -> Response {
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let get = method == Method::GET || method == Method::HEAD;
        match parts[..] {
            [""] if get => page::status(self.guard.has_token()),
            ["openapi.json"] if get => with_type(OPENAPI, "application/json"),
            ["metrics"] if get => self.metrics().await,
            ["api", "state"] if get => match self.states.now().await {
                Ok(told) => with_type(told.json(), "application/json"),
                Err(err) => refusal(StatusCode::INTERNAL_SERVER_ERROR, &err.to_string()),
            },
            ["api", "events"] if get => self.events(headers),
            ["api", "recordings", id] if get || method == Method::DELETE => match id_of(id) {
                Some(id) if get => self.recording(&id).await,
                Some(id) => done(self.recorder.delete(&id).await, &self.states),
                None => not_found(),
            },
            ["api", "recordings", id, what] if get || method == Method::POST => match (id_of(id), what) {
                (Some(id), "picture") if get => self.pictures.answer(&self.recorder, &id).await,
                (Some(id), "stop") if !get => done(self.recorder.stop(&id), &self.states),
                (Some(id), "retry") if !get => done(self.recorder.retry(&id).await, &self.states),
                _ => not_found(),
            },
            ["api", "recordings", id, "files", ..] if get => match id_of(id) {
                Some(id) => {
                    files::answer(&self.recorder, &self.manifests, &id, &parts[4..].join("/"), method, headers).await
                }
                None => not_found(),
            },
            _ => not_found(),
        }
    }

    async fn metrics(&self) -> Response {
        let recorder = self.recorder.clone();
        let text = tokio::task::spawn_blocking(move || metrics::collect(&recorder)).await.unwrap_or_default();
        with_type(text, crate::telemetry::metrics::CONTENT_TYPE)
    }

    /// What is so, again and again, for as long as somebody listens who may.
    fn events(self: &Arc<Self>, headers: &HeaderMap) -> Response {
        let (sender, mut events) = tokio::sync::mpsc::channel(1);
        let (admin, headers) = (Arc::clone(self), headers.clone());
        tokio::spawn(async move {
            // Sessions end, and people log out.
            while admin.guard.look(&Method::GET, "/api/events", &headers) == Verdict::Welcome {
                let Ok(told) = admin.states.now().await else { return };
                if sender.send(Ok::<_, std::convert::Infallible>(told.event())).await.is_err() {
                    return;
                }
                admin.states.changed(TELL_EVERY).await;
            }
        });
        let mut answer = warp::reply::stream(stream::poll_fn(move |cx| events.poll_recv(cx))).into_response();
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        answer
    }

    async fn recording(&self, id: &RecordingId) -> Response {
        match self.states.recording(id).await {
            Ok(Some(recording)) => with_json(StatusCode::OK, &recording),
            Ok(None) => not_found(),
            Err(err) => failure(&err),
        }
    }
}

fn id_of(text: &str) -> Option<RecordingId> {
    RecordingId::from_folder(text)
}

/// What was asked for is done, or will be.
fn done(result: Result<(), Refused>, states: &States) -> Response {
    states.invalidate();
    match result {
        Ok(()) => with_json(StatusCode::ACCEPTED, &json!({})),
        Err(err) => failure(&err),
    }
}

fn failure(err: &Refused) -> Response {
    let status = match err {
        Refused::Unknown(_) => StatusCode::NOT_FOUND,
        Refused::State { .. } => StatusCode::CONFLICT,
        Refused::Spool(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refused::Bucket(_) | Refused::Manifest(_) => StatusCode::BAD_GATEWAY,
    };
    refusal(status, &err.to_string())
}

fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "there is nothing at this address")
}

fn refusal(status: StatusCode, why: &str) -> Response {
    with_json(status, &json!({ "error": why }))
}

fn with_json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut answer = with_type(serde_json::to_vec(value).expect("plain values are JSON"), "application/json");
    *answer.status_mut() = status;
    answer
}

fn with_type(body: impl Into<Bytes>, content_type: &'static str) -> Response {
    let mut answer = Response::new(body.into().into());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Nothing of it is kept, framed or read by others.
fn with_safety(mut answer: Response) -> Response {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Without any a browser would not say either where a form comes from.
        (header::REFERRER_POLICY, "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
