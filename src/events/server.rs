//! The public listener: the webhook, `/healthz`, `/readyz`, and nothing else.
//!
//! A webhook is answered after its effect is durable, and within Zoom's 3 s in any case. The signature is checked over
//! the raw body before anything in it is looked at.

use super::{Delivery, NotTaken, Receiver};
use crate::config::{AppIndex, Apps};
use crate::listen;
use crate::protocol::event::Event;
use crate::protocol::signature::{self, Refused};
use crate::telemetry::metrics;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use warp::Filter;
use warp::http::{HeaderMap, Response, StatusCode};

/// The largest body taken.
pub const MAX_BODY_BYTES: usize = 1 << 20;
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
    let door = Arc::new(Door { settings, receiver });
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
                    let answer = match collect(body).await {
                        Ok(body) => door.webhook(&headers, body).await,
                        Err(status) => {
                            tracing::warn!(status = status.as_u16(), "a webhook's body was not taken");
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
                tracing::warn!(err = %refused, bytes = body.len(), "a webhook was refused");
                return plain(StatusCode::UNAUTHORIZED, "");
            }
        };
        let event = match Event::parse(&body, received_ms) {
            Ok(event) => event,
            Err(err) => {
                tracing::warn!(err = %err, bytes = body.len(), "a webhook was not understood");
                return plain(StatusCode::BAD_REQUEST, format!("{err}\n"));
            }
        };
        if let Event::UrlValidation { plain_token } = &event {
            return self.challenge(plain_token, app);
        }
        let delivery = Delivery { event, body, received_ms, app };
        let taken = tokio::time::timeout(ANSWER_WITHIN, self.receiver.deliver(delivery)).await;
        match taken.unwrap_or_else(|_| Err(NotTaken("the spool did not take it in time; check its disk".into()))) {
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
            match signature::verify_webhook(app.secret_token.expose(), timestamp, signature, body, now_s) {
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
        let encrypted = signature::challenge(app.secret_token.expose(), plain_token);
        let answer = serde_json::json!({"plainToken": plain_token, "encryptedToken": encrypted});
        let mut response = plain(StatusCode::OK, answer.to_string());
        let json = warp::http::HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", json);
        tracing::info!("answered Zoom's check of the webhook's address");
        response
    }
}

async fn collect<B: Buf>(body: impl Stream<Item = Result<B, warp::Error>>) -> Result<Bytes, StatusCode> {
    let all = async {
        let mut body = std::pin::pin!(body);
        let mut bytes = BytesMut::new();
        while let Some(part) = body.next().await {
            let part = part.map_err(|_| StatusCode::BAD_REQUEST)?;
            if bytes.len() + part.remaining() > MAX_BODY_BYTES {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            bytes.put(part);
        }
        Ok(bytes.freeze())
    };
    tokio::time::timeout(BODY_TIMEOUT, all).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
}
