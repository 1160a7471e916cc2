//! Zoom's REST side: gives tokens, and starts, stops, pauses and resumes the streams of the meetings that are played.
//!
//! As strict as Zoom: credentials, grant type, token and its age, encoding of the id, method and body are checked. A
//! meeting whose stream has ended, but which is not over (stop reason 6), can be started again for a while: then a
//! new stream of it begins.

use super::meeting::{MEETING_ENDED, Meeting};
use super::server::Registry;
use super::summary::RestCall;
use super::webhooks::ACCOUNT;
use super::{Error, Progress, Settings};
use crate::ids::Product;
use crate::rest::{Action, video_sdk_jwt};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use parking_lot::{Mutex, MutexGuard};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use warp::Filter;

const MAX_BODY_BYTES: u64 = 64 << 10;

/// How the REST side behaves.
#[derive(Clone, Debug)]
pub struct Rest {
    /// Where it listens; port 0 takes any.
    pub listen: SocketAddr,
    /// What the first calls are answered with, in turn: 401, 429 or 500, a number of Zoom's such as 2310, 202 for
    /// a promise that is not kept, or 200 for no failure.
    pub failures: Vec<u16>,
    /// How long a token is good.
    pub token_life: Duration,
    /// How long a meeting goes on after its stream has ended, unless that was because it ended.
    pub wait: Duration,
}

impl Rest {
    /// Without failures, for streams that are started again within 30 s.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, failures: Vec::new(), token_life: Duration::from_secs(3600), wait: Duration::from_secs(30) }
    }
}

/// The listener; dropping it stops answering.
pub(super) struct Desk {
    shared: Arc<Shared>,
    starts: mpsc::UnboundedReceiver<Arc<Meeting>>,
    wait: Duration,
    task: JoinHandle<()>,
}

struct Shared {
    settings: Arc<Settings>,
    rest: Rest,
    registry: Registry,
    progress: Progress,
    tokens: Tokens,
    starts: mpsc::UnboundedSender<Arc<Meeting>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: VecDeque<u16>,
    /// The newest stream of each meeting.
    streams: Vec<Arc<Meeting>>,
    calls: Vec<RestCall>,
}

/// Tokens and when they end. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Tokens(Arc<Mutex<HashMap<String, Instant>>>);

impl Tokens {
    pub(super) fn give(&self, life: Duration) -> String {
        let token = uuid::Uuid::new_v4().simple().to_string();
        self.0.lock().insert(token.clone(), Instant::now() + life);
        token
    }

    /// When a token ends that is good now.
    pub(super) fn good_until(&self, token: &str) -> Option<Instant> {
        self.0.lock().get(token).copied().filter(|until| Instant::now() < *until)
    }

    pub(super) fn revoke(&self, token: &str) {
        self.0.lock().remove(token);
    }
}

/// A status, Zoom's number and text.
type Refusal = (u16, u32, &'static str);

impl Desk {
    pub(super) async fn open(
        settings: &Arc<Settings>,
        registry: Registry,
        tokens: Tokens,
        progress: &Progress,
    ) -> Result<Option<Self>, Error> {
        let Some(rest) = settings.rest.clone() else { return Ok(None) };
        let failed = |source| Error::Listen { addr: rest.listen, source };
        let listener = TcpListener::bind(rest.listen).await.map_err(failed)?;
        let own = listener.local_addr().map_err(failed)?;
        progress.note(&format!("REST is at ZOOM_API_URL=http://{own}/v2 ZOOM_OAUTH_URL=http://{own}/oauth/token"));
        let (sender, starts) = mpsc::unbounded_channel();
        let state = State { failures: rest.failures.iter().copied().collect(), ..State::default() };
        let wait = rest.wait;
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            rest,
            registry,
            progress: progress.clone(),
            tokens,
            starts: sender,
            state: Mutex::new(state),
        });
        let at_desk = shared.clone();
        let routes = warp::method()
            .and(warp::path::full())
            .and(warp::header::headers_cloned())
            .and(warp::body::content_length_limit(MAX_BODY_BYTES))
            .and(warp::body::bytes())
            .map(move |method, path: warp::path::FullPath, headers, body: Bytes| {
                at_desk.answer(&method, path.as_str(), &headers, &body)
            });
        let task = tokio::spawn(warp::serve(routes).incoming(listener).run());
        Ok(Some(Self { shared, starts, wait, task }))
    }

    /// Takes calls for this stream's meeting.
    pub(super) fn add(&self, meeting: &Arc<Meeting>) {
        let mut state = self.shared.state();
        state.streams.retain(|known| known.meeting_id != meeting.meeting_id);
        state.streams.push(meeting.clone());
    }

    /// The next stream that was asked for.
    pub(super) async fn next(&mut self) -> Option<Arc<Meeting>> {
        self.starts.recv().await
    }

    /// How long to wait for a call, now that no stream runs.
    pub(super) fn patience(&self) -> Duration {
        let open = self.shared.state().streams.iter().any(|meeting| !is_over(meeting));
        if open { self.wait } else { Duration::ZERO }
    }

    /// Stops listening, and says what was asked.
    pub(super) async fn close(mut self) -> Vec<RestCall> {
        self.task.abort();
        // That it was aborted is what is waited for: then its address is free.
        (&mut self.task).await.ok();
        std::mem::take(&mut self.shared.state().calls)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_over(meeting: &Meeting) -> bool {
    let state = meeting.state();
    state.summary.stop_reason == MEETING_ENDED || state.summary.error.is_some()
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Response<Bytes> {
        let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (call, answer) = if path == "/oauth/token" {
            self.token(method, authorization, body)
        } else {
            self.control(method, path, authorization, body)
        };
        let (status, json, retry_after) = match answer {
            Ok(None) => (202, None, false),
            Ok(json) => (200, json, false),
            Err((status, json)) => (status, Some(json), status == 429),
        };
        self.progress.note(&format!("REST: {call}: answered {status}"));
        self.state().calls.push(RestCall { call, status });
        let body = json.map(|json| Bytes::from(json.to_string())).unwrap_or_default();
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = http::HeaderValue::from_static("application/json;charset=UTF-8");
        response.headers_mut().insert("content-type", json);
        if retry_after {
            response.headers_mut().insert("retry-after", http::HeaderValue::from_static("1"));
        }
        response
    }

    fn token(&self, method: &Method, authorization: &str, body: &[u8]) -> Answered {
        let form: HashMap<_, _> = url::form_urlencoded::parse(body).into_owned().collect();
        let grant = form.get("grant_type").map(String::as_str).unwrap_or_default();
        let call = format!("token by {grant}");
        let refuse = |error: &str, reason: &str| Err((400, json!({"error": error, "reason": reason})));
        let app = &self.settings.credentials;
        let pair = format!("{}:{}", app.client_id, app.client_secret);
        let basic = format!("Basic {}", base64_simd::STANDARD.encode_to_string(pair));
        let answer = if method != Method::POST {
            Err((405, json!({"error": "method_not_allowed"})))
        } else if authorization != basic {
            refuse("invalid_client", "Invalid client_id or client_secret")
        } else {
            match (grant, form.get("account_id").map(String::as_str)) {
                ("client_credentials", _) | ("account_credentials", Some(ACCOUNT)) => {
                    let life = self.rest.token_life;
                    let token = self.tokens.give(life);
                    Ok(Some(json!({
                        "access_token": token, "token_type": "bearer", "expires_in": life.as_secs(), "scope": "",
                    })))
                }
                ("account_credentials", _) => refuse("bad_request", "Bad Request"),
                _ => refuse("unsupported_grant_type", "unsupported grant type"),
            }
        };
        (call, answer)
    }

    fn control(&self, method: &Method, path: &str, authorization: &str, body: &[u8]) -> Answered {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut call = format!("{method} {path} {}", body["action"].as_str().unwrap_or("?"));
        let done = self.authorize(authorization).and_then(|()| {
            let failure = self.state().failures.pop_front();
            if let Some(failure) = failure.filter(|&failure| failure >= 300) {
                return Err(self.failure(failure, authorization));
            }
            let action = [Action::Start, Action::Stop, Action::Pause, Action::Resume]
                .into_iter()
                .find(|action| body["action"] == action.as_str())
                .ok_or((400, 300, "Invalid action."))?;
            let meeting = self.meeting(method, path)?;
            let product = self.settings.product;
            if matches!(product, Product::Meeting | Product::Webinar)
                && body["settings"]["client_id"] != self.settings.credentials.client_id.as_str()
            {
                return Err((400, 300, "Invalid client_id."));
            }
            call = format!("{} {} {}", action.as_str(), product.as_str(), meeting.meeting_id);
            if failure == Some(202) { Ok(()) } else { self.act(&meeting, action) }
        });
        let said = |(status, code, message): Refusal| (status, json!({"code": code, "message": message}));
        (call, done.map(|()| None).map_err(said))
    }

    fn authorize(&self, authorization: &str) -> Result<(), Refusal> {
        const INVALID: Refusal = (401, 124, "Invalid access token.");
        let token = authorization.strip_prefix("Bearer ").ok_or(INVALID)?;
        let good = if self.settings.product == Product::Session {
            let claims = token.split('.').nth(1).unwrap_or_default();
            let claims = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(claims).unwrap_or_default();
            let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
            let (iat, exp) = (claims["iat"].as_i64().unwrap_or(0), claims["exp"].as_i64().unwrap_or(0));
            let app = &self.settings.credentials;
            let now = chrono::Utc::now().timestamp();
            token == video_sdk_jwt(&app.client_id, &app.client_secret, iat, exp) && iat <= now && now < exp
        } else {
            self.tokens.good_until(token).is_some()
        };
        if good { Ok(()) } else { Err(INVALID) }
    }

    /// A failure that was asked for. 401 takes the token back.
    fn failure(&self, failure: u16, authorization: &str) -> Refusal {
        match failure {
            401 => {
                let token = authorization.trim_start_matches("Bearer ");
                self.tokens.revoke(token);
                (401, 124, "Access token is expired.")
            }
            429 => (429, 429, "You have reached the maximum per-second rate limit for this API."),
            500 => (500, 500, "Internal server error."),
            2308 => (400, 2308, "Not permitted to operate the app."),
            2310 => (400, 2310, "Operation failed."),
            3000 => (400, 3000, "The meeting cannot be accessed."),
            3001 => (404, 3001, "Meeting does not exist."),
            4711 => (400, 4711, "Invalid access token, does not contain scopes."),
            other => (400, other.into(), "Failed."),
        }
    }

    fn meeting(&self, method: &Method, path: &str) -> Result<Arc<Meeting>, Refusal> {
        const UNKNOWN: Refusal = (404, 3001, "Meeting does not exist.");
        let (wanted, prefix) = match self.settings.product {
            Product::Meeting | Product::Webinar => (Method::PATCH, "/v2/live_meetings/"),
            Product::Session => (Method::PATCH, "/v2/videosdk/sessions/"),
            Product::ContactCenter => (Method::PUT, "/v2/contact_center/"),
            Product::Phone => (Method::PATCH, "/v2/phone/calls/"),
        };
        let id = path.strip_prefix(prefix).and_then(|rest| rest.strip_suffix("/rtms_app/status")).ok_or(UNKNOWN)?;
        if *method != wanted {
            return Err((405, 405, "Method not allowed."));
        }
        // What is a slash after the first decoding has split the path.
        let once = decode(id);
        if once.contains('/') {
            return Err((404, 404, "No such path."));
        }
        let id = decode(&once);
        let state = self.state();
        let known = state.streams.iter().find(|meeting| meeting.meeting_id == id || meeting.number() == id);
        known.cloned().ok_or(UNKNOWN)
    }

    fn act(&self, meeting: &Arc<Meeting>, action: Action) -> Result<(), Refusal> {
        let runs = self.registry.holds(meeting);
        match action {
            Action::Start if runs => Ok(()),
            Action::Start if is_over(meeting) => Err((404, 3001, "Meeting does not exist.")),
            Action::Start => {
                let again = meeting.again();
                let mut state = self.state();
                // Asked for twice, it begins once.
                if let Some(known) = state.streams.iter_mut().find(|known| Arc::ptr_eq(known, meeting)) {
                    *known = again.clone();
                    self.starts.send(again).ok();
                }
                Ok(())
            }
            _ if !runs => Err((400, 300, "RTMS is not started.")),
            _ => {
                meeting.state().ordered.push_back(action);
                meeting.changed.notify_one();
                Ok(())
            }
        }
    }
}

/// What was asked; the answer's body, or the status and body of a refusal.
type Answered = (String, Result<Option<Value>, (u16, Value)>);

/// Undoes percent-encoding once.
fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
