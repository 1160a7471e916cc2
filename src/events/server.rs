//! The public listener: the webhook, `/healthz`, `/readyz`, and nothing else.
//!
//! A webhook is answered after its effect is durable, and within Zoom's 3 s in any case. The signature is checked over
//! the raw body before anything in it is looked at.
//!
//! # Invariants
//!
//! - Whatever strangers send, all bodies together take [`MOST_BYTES`] at most: a few large ones, and the others are small.
//! - Nor do they fill the log: of each way to be refused there is a line a minute.

use super::{Delivery, Receiver, deliver_within};
use crate::config::{AppIndex, Apps};
use crate::listen;
use crate::protocol::event::Event;
use crate::protocol::signature::{self, Refused};
use crate::telemetry::{Quiet, metrics};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit};
use warp::Filter;
use warp::http::header::CONTENT_LENGTH;
use warp::http::{HeaderMap, Response, StatusCode};

/// The largest body taken.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Zoom's events have a few kilobytes; what is larger than this needs one of [`LARGE_BODIES`] places.
const SMALL_BODY_BYTES: usize = 64 << 10;
const LARGE_BODIES: usize = 8;
/// What all bodies take at most while they arrive.
pub const MOST_BYTES: usize = MOST_CONNECTIONS * SMALL_BODY_BYTES + LARGE_BODIES * MAX_BODY_BYTES;
/// How many connections there are at most: Zoom and the proxies in front of us need a few.
pub const MOST_CONNECTIONS: usize = 256;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long acting upon an event may take: Zoom waits 3 s.
const ANSWER_WITHIN: Duration = Duration::from_millis(2500);

/// What the listener needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The path of the webhook.
    pub webhook_path: String,
    /// Their Secret Tokens sign the webhooks.
    pub apps: Apps,
    /// Whether webhooks without a signature are taken.
    pub allow_unsigned: bool,
}

/// Serves until `shutdown` completes; requests under way are answered.
pub async fn run(
    listener: TcpListener,
    settings: Settings,
    receiver: Arc<dyn Receiver>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let (quiet, _teller) = Quiet::start();
    let door = Arc::new(Door { settings, receiver, large: Semaphore::new(LARGE_BODIES), quiet });
    let at_webhook = Arc::clone(&door);
    let webhook = warp::path::full()
        .and_then(move |path: warp::path::FullPath| {
            let here = path.as_str() == at_webhook.settings.webhook_path;
            async move { if here { Ok(()) } else { Err(warp::reject::not_found()) } }
        })
        .untuple_one()
        .and(warp::post())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then({
            let door = Arc::clone(&door);
            move |headers, body| {
                let door = Arc::clone(&door);
                async move {
                    let began = Instant::now();
                    let answer = match collect(&headers, body, &door.large).await {
                        Ok((body, _place)) => door.webhook(&headers, body).await,
                        Err(status) => {
                            door.quiet.warn(not_taken(status), 0, &status);
                            plain(status, "")
                        }
                    };
                    metrics().webhook(answer.status().as_u16(), began.elapsed());
                    answer
                }
            }
        });
    let healthz = warp::path!("healthz").and(warp::get()).map(|| plain(StatusCode::OK, "ok\n"));
    let readyz = warp::path!("readyz").and(warp::get()).map(move || match door.receiver.ready() {
        Ok(notices) => {
            let lines = std::iter::once("ready".to_owned()).chain(notices);
            plain(StatusCode::OK, lines.map(|line| line + "\n").collect::<String>())
        }
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    });
    let service = TowerToHyperService::new(warp::service(webhook.or(healthz).or(readyz)));
    listen::serve(listener, MOST_CONNECTIONS, service, shutdown).await;
}

struct Door {
    settings: Settings,
    receiver: Arc<dyn Receiver>,
    large: Semaphore,
    quiet: Arc<Quiet>,
}

impl Door {
    async fn webhook(&self, headers: &HeaderMap, body: Bytes) -> Response<Bytes> {
        let received_ms = crate::clock::unix_ms();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (timestamp, signature) = (header("x-zm-request-timestamp"), header("x-zm-signature"));
        let unsigned = signature.is_none() && timestamp.is_none() && self.settings.allow_unsigned;
        let app = match self.signed_by(timestamp, signature, &body, received_ms / 1000) {
            Ok(app) => Some(app),
            Err(_) if unsigned => None,
            Err(refused) => {
                let is_expected = self.settings.apps.iter().any(|(_, app)| app.secret_token.is_some());
                let kind = if is_expected { refusal(refused) } else { NO_TOKEN };
                self.quiet.warn(kind, body.len(), &refused);
                return plain(StatusCode::UNAUTHORIZED, "");
            }
        };
        // An event without a time of its own gets no younger when somebody sends it again.
        let signed_s = timestamp.filter(|_| app.is_some()).and_then(|timestamp| timestamp.trim().parse::<i64>().ok());
        let sent_ms = signed_s.map_or(received_ms, |s| s.saturating_mul(1000));
        let event = match Event::parse(&body, sent_ms) {
            Ok(event) => event,
            Err(err) => {
                self.quiet.warn("a webhook was not understood", body.len(), &err);
                return plain(StatusCode::BAD_REQUEST, format!("{err}\n"));
            }
        };
        if let Event::UrlValidation { plain_token } = &event {
            return self.challenge(plain_token, app);
        }
        let delivery = Delivery { event, body, received_ms, app };
        match deliver_within(self.receiver.as_ref(), delivery, ANSWER_WITHIN).await {
            Ok(()) => plain(StatusCode::OK, ""),
            Err(err) => {
                tracing::error!(err = %err, "an event was not taken; Zoom sends it again in 5 minutes");
                plain(StatusCode::SERVICE_UNAVAILABLE, "")
            }
        }
    }

    /// The app whose Secret Token it is signed with. If there is none, what is wrong with it: that it is too old is said only if
    /// a token fits.
    fn signed_by(
        &self,
        timestamp: Option<&str>,
        signature: Option<&str>,
        body: &[u8],
        now_s: i64,
    ) -> Result<AppIndex, Refused> {
        let mut refused = Refused::Missing;
        for (index, app) in self.settings.apps.iter() {
            let Some(token) = &app.secret_token else { continue };
            match signature::verify_webhook(token.expose(), timestamp, signature, body, now_s) {
                Ok(()) => return Ok(index),
                Err(err @ Refused::Stale(_)) => return Err(err),
                Err(err) => refused = err,
            }
        }
        Err(refused)
    }

    /// Answers with the token of the app that asks; if it does not say so, of the first one.
    fn challenge(&self, plain_token: &str, app: Option<AppIndex>) -> Response<Bytes> {
        let mut apps = self.settings.apps.iter();
        let Some((_, app)) = apps.find(|(index, _)| app.is_none_or(|app| app == *index)) else {
            return plain(StatusCode::UNAUTHORIZED, "");
        };
        let Some(token) = &app.secret_token else { return plain(StatusCode::UNAUTHORIZED, "") };
        let encrypted = signature::challenge(token.expose(), plain_token);
        let answer = serde_json::json!({"plainToken": plain_token, "encryptedToken": encrypted});
        let mut response = plain(StatusCode::OK, answer.to_string());
        let json = warp::http::HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", json);
        tracing::info!("answered Zoom's check of the webhook's address");
        response
    }
}

/// The body, with its place if it is a large one.
async fn collect<'a, B: Buf>(
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
    large: &'a Semaphore,
) -> Result<(Bytes, Option<SemaphorePermit<'a>>), StatusCode> {
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let all = async {
        let mut body = std::pin::pin!(body);
        let (mut bytes, mut place) = (BytesMut::new(), None);
        while let Some(part) = body.next().await {
            let part = part.map_err(|_| StatusCode::BAD_REQUEST)?;
            let length = bytes.len() + part.remaining();
            if length > MAX_BODY_BYTES {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            if length > SMALL_BODY_BYTES && place.is_none() {
                place = Some(large.try_acquire().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?);
            }
            bytes.put(part);
        }
        Ok((bytes.freeze(), place))
    };
    tokio::time::timeout(BODY_TIMEOUT, all).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
}

/// What is logged of a refusal, one line for each way to be refused.
fn refusal(refused: Refused) -> &'static str {
    match refused {
        Refused::Missing => "a webhook was refused: it is not signed",
        Refused::BadTimestamp => "a webhook was refused: it has no time",
        Refused::Stale(_) => "a webhook was refused: it is too old, or from the future",
        Refused::Mismatch => "a webhook was refused: its signature is wrong",
    }
}

const NO_TOKEN: &str = "a webhook was refused: ZOOM_SECRET_TOKEN is not set; set it to take webhooks";

fn not_taken(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => "a webhook's body was not taken: it is too large",
        StatusCode::SERVICE_UNAVAILABLE => "a webhook's body was not taken: too many large ones at once",
        StatusCode::REQUEST_TIMEOUT => "a webhook's body was not taken: it is too slow",
        _ => "a webhook's body was not taken: it broke off",
    }
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
}
