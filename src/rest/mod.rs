//! Zoom's REST API, as far as RTMS goes: start, stop, pause and resume a stream; and the token for other doors of Zoom's.
//!
//! It owns the token, the shape of the calls, and how often they are tried. It leaves to others when to call, and
//! what comes of it: Zoom answers before anything has happened, and says the rest by events.
//!
//! # Invariants
//!
//! - No secret and no token gets into an error, a log or `Debug`; a redirect is not followed.
//! - A call ends: it is tried [`TRIES`] times at most, each request within [`TIMEOUT`], with bounded waits in between.

mod command;
mod error;
mod jwt;
mod request;

pub use command::{Args, command};
pub use error::{Error, Failure, Refusal, Step};
pub(crate) use jwt::video_sdk as video_sdk_jwt;
pub use request::{Action, Target};

use crate::clock;
use crate::config::{Credentials, RestConfig, Secret};
use crate::errors::{clip, with_sources};
use crate::ids::Product;
use crate::retry_after::retry_after;
use request::encode;
use reqwest::{RequestBuilder, Url};
use serde::Deserialize;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How often a call is tried: after no answer, 429 and 5xx.
pub const TRIES: u32 = 4;
/// How long a request may take.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// More than this is not waited for between two tries.
const MAX_WAIT: Duration = Duration::from_secs(30);
/// Waits between tries if Zoom names none.
const WAITS: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];
/// More of an answer is not read.
const MAX_BODY_BYTES: usize = 64 << 10;
/// A token is not used in the last part of its life: it has to arrive.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);
/// How long a Video SDK token lives, and how far this machine's clock may be ahead of Zoom's, in seconds.
const JWT_LIFE_S: i64 = 3600;
const JWT_SKEW_S: i64 = 30;

/// Calls Zoom's REST API. Holds the token.
#[derive(Debug)]
pub struct Client {
    config: RestConfig,
    http: reqwest::Client,
    token: Mutex<Option<Token>>,
}

#[derive(Clone, Debug)]
struct Token {
    text: Secret,
    good_until: Instant,
}

impl Client {
    /// A client that has not asked for anything yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(config: RestConfig) -> Result<Self, reqwest::Error> {
        let mut http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .user_agent(crate::USER_AGENT)
            .redirect(reqwest::redirect::Policy::none());
        // Plain HTTP is for this machine only, and a proxy in the environment is for the outside.
        if config.api_url.scheme() == "http" {
            http = http.no_proxy();
        }
        Ok(Self { config, http: http.build()?, token: Mutex::default() })
    }

    /// Asks for `action`, in the name of `participant` if given, up to [`TRIES`] times. `Ok` means that Zoom will do it.
    ///
    /// # Errors
    /// What Zoom answered in the end.
    pub async fn control(&self, target: &Target, action: Action, participant: Option<&str>) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(err) = self.control_once(target, action, participant).await else { return Ok(()) };
            let Some(delay) = again_after(&err.failure, tries) else { return Err(Error { tries, ..err }) };
            tracing::debug!(err = %err.failure, delay_ms = delay.as_millis() as u64, "trying again");
            tokio::time::sleep(delay).await;
        }
    }

    /// The same, once, for a caller who tries again in his own time; with another token if Zoom did not take the first.
    ///
    /// # Errors
    /// What Zoom answered.
    pub async fn control_once(&self, target: &Target, action: Action, participant: Option<&str>) -> Result<(), Error> {
        let failed = |failure| Error { asked: format!("{} RTMS of {target}", action.as_str()), tries: 1, failure };
        let mut renewed = false;
        loop {
            let token = self.authorization(target.product).await.map_err(failed)?;
            let Err(failure) = self.ask(target, action, participant, &token).await else { return Ok(()) };
            if failure.is_about_token() {
                self.forget(&token).await;
                if !renewed {
                    tracing::debug!("Zoom did not take the token; asking for another");
                    renewed = true;
                    continue;
                }
            }
            return Err(failed(failure));
        }
    }

    async fn ask(
        &self,
        target: &Target,
        action: Action,
        participant: Option<&str>,
        token: &Secret,
    ) -> Result<(), Failure> {
        let url = format!("{}/{}", self.config.api_url.as_str().trim_end_matches('/'), target.path());
        let body = target.body(action, &self.config.client_id, participant).to_string();
        let request = self
            .http
            .request(target.method(), url)
            .bearer_auth(token.expose())
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body);
        let step = if target.product == Product::Session { Step::VideoSdkCall } else { Step::Call };
        self.send(request, step, &self.config.api_url).await.map(|_| ())
    }

    async fn authorization(&self, product: Product) -> Result<Secret, Failure> {
        if product != Product::Session {
            return self.token().await;
        }
        let app = self.config.video_sdk.as_ref().ok_or(Failure::NoCredentials(
            "a Video SDK session needs ZOOM_VIDEO_SDK_KEY and ZOOM_VIDEO_SDK_SECRET; set both",
        ))?;
        let iat = clock::unix_ms() / 1000 - JWT_SKEW_S;
        Ok(Secret::new(jwt::video_sdk(&app.id, app.secret.expose(), iat, iat + JWT_LIFE_S)))
    }

    /// A token for what else takes one, once; `refused` is one that was not taken.
    ///
    /// # Errors
    /// What Zoom answered. Nothing is tried again.
    pub async fn access_token(&self, refused: Option<&Secret>) -> Result<Secret, Error> {
        if let Some(refused) = refused {
            self.forget(refused).await;
        }
        let failed = |failure| Error { asked: "get a token".to_owned(), tries: 1, failure };
        self.token().await.map_err(failed)
    }

    /// Asks for a token once, to see whether the app is known.
    ///
    /// # Errors
    /// What Zoom answered.
    pub async fn authorize(&self) -> Result<(), Failure> {
        self.token().await.map(drop)
    }

    /// The token, asked for if there is none that is good for a while. One request at a time.
    async fn token(&self) -> Result<Secret, Failure> {
        let mut token = self.token.lock().await;
        if let Some(known) = token.as_ref().filter(|token| Instant::now() < token.good_until) {
            return Ok(known.text.clone());
        }
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
            #[serde(default)]
            expires_in: Value,
        }
        let Credentials { id, secret } =
            self.config.credentials.as_ref().ok_or(Failure::NoCredentials(
                "there is no app to ask with; set ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET",
            ))?;
        let form = match &self.config.account_id {
            Some(account) => format!("grant_type=account_credentials&account_id={}", encode(account)),
            None => "grant_type=client_credentials".to_owned(),
        };
        let asked = Instant::now();
        let request = self
            .http
            .post(self.config.oauth_url.clone())
            .basic_auth(id, Some(secret.expose()))
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let body = self.send(request, Step::Token, &self.config.oauth_url).await?;
        let answer = serde_json::from_slice(&body).ok().filter(|answer: &Answer| !answer.access_token.is_empty());
        let answer = answer.ok_or_else(|| Failure::NoToken { host: host(&self.config.oauth_url) })?;
        let life = match &answer.expires_in {
            Value::String(text) => text.trim().parse().ok(),
            number => number.as_u64(),
        };
        // Zoom's tokens live for an hour.
        let life = Duration::from_secs(life.unwrap_or(3600).min(24 * 3600));
        let text = Secret::new(answer.access_token);
        *token = Some(Token { text: text.clone(), good_until: asked + life - TOKEN_MARGIN.min(life / 2) });
        Ok(text)
    }

    /// Drops a token that was not taken, unless there is a newer one already.
    async fn forget(&self, refused: &Secret) {
        let mut token = self.token.lock().await;
        token.take_if(|token| token.text == *refused);
    }

    /// Sends one request; gives the body of a 2xx answer.
    async fn send(&self, request: RequestBuilder, step: Step, to: &Url) -> Result<Vec<u8>, Failure> {
        let unreachable = |err: reqwest::Error| Failure::Unreachable { host: host(to), because: causes(err) };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let retry_after = retry_after(response.headers(), clock::unix_ms());
        let mut body = Vec::new();
        while body.len() < MAX_BODY_BYTES {
            match response.chunk().await {
                Ok(Some(part)) => body.extend_from_slice(&part[..part.len().min(MAX_BODY_BYTES - body.len())]),
                Ok(None) => break,
                Err(err) if status.is_success() && step == Step::Token => return Err(unreachable(err)),
                // The status has said it all.
                Err(_) => break,
            }
        }
        if status.is_success() {
            return Ok(body);
        }
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let code = match (&said["code"], &said["error"]) {
            (Value::Number(code), _) => Some(code.to_string()),
            (Value::String(code), _) | (_, Value::String(code)) => Some(clip(code)),
            _ => None,
        };
        let message = [&said["message"], &said["reason"]].into_iter().find_map(Value::as_str).unwrap_or_default();
        let message = self.without_secrets(message);
        Err(Failure::Refused(Refusal { step, status: status.as_u16(), code, message: clip(&message), retry_after }))
    }

    /// Zoom has no reason to send a secret back; a server that is not Zoom may.
    fn without_secrets(&self, text: &str) -> String {
        let ours = [&self.config.credentials, &self.config.video_sdk].into_iter().flatten();
        ours.map(|ours| ours.secret.expose())
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"))
    }
}

/// The wait before the next try, if there is to be one.
fn again_after(failure: &Failure, tries: u32) -> Option<Duration> {
    if tries >= TRIES || !failure.is_retryable() {
        return None;
    }
    let wait = WAITS[(tries as usize - 1).min(WAITS.len() - 1)];
    match failure {
        // What is refused for a reason of its own is the caller's to repeat: it takes longer.
        Failure::Refused(refusal) if refusal.status < 429 => None,
        Failure::Refused(Refusal { retry_after: Some(after), .. }) => (*after <= MAX_WAIT).then_some(*after),
        _ => Some(wait),
    }
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// An error with its causes, and without the address: that may hold an id.
fn causes(err: reqwest::Error) -> String {
    if err.is_timeout() {
        return format!("not within {} s", TIMEOUT.as_secs());
    }
    with_sources(&err.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: Option<&str>, after_s: Option<u64>) -> Failure {
        Failure::Refused(Refusal {
            step: Step::Call,
            status,
            code: code.map(str::to_owned),
            message: String::new(),
            retry_after: after_s.map(Duration::from_secs),
        })
    }

    #[test]
    fn waits_are_zooms_within_bounds() {
        assert_eq!(again_after(&refused(429, None, Some(7)), 1), Some(Duration::from_secs(7)));
        assert_eq!(again_after(&refused(429, None, Some(3600)), 1), None);
        assert_eq!(again_after(&refused(429, None, None), 1), Some(WAITS[0]));
        assert_eq!(again_after(&refused(503, None, None), 3), Some(WAITS[2]));
        assert_eq!(again_after(&refused(503, None, None), TRIES), None);
        assert_eq!(again_after(&refused(400, Some("3000"), None), 1), None);
        assert_eq!(again_after(&refused(400, Some("2308"), None), 1), None);
    }
}
