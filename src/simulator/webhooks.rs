//! Signs and posts webhooks, and says what is wrong when the recorder does not take them.

use super::attack::Attack;
use super::events::Hub;
use super::meeting::Meeting;
use super::products::{event_name, id_key};
use super::summary::WebhookAnswer;
use super::{Error, Progress, Settings};
use crate::errors::with_sources;
use crate::ids::Product;
use crate::protocol::signature;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The account of everything that is played.
pub(super) const ACCOUNT: &str = "acSimulator1";

/// Zoom counts a later answer as none.
const DEADLINE: Duration = Duration::from_secs(3);

/// The sender of every webhook of a run.
pub(super) struct Hooks {
    client: reqwest::Client,
    settings: Arc<Settings>,
    hub: Option<Hub>,
    progress: Progress,
    /// What strangers have overheard.
    captured: Mutex<Vec<Signed>>,
}

/// A webhook with the signature that it was sent with.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    pub(super) body: String,
    pub(super) timestamp: String,
    pub(super) signature: String,
}

impl Signed {
    pub(super) fn new(secret_token: &str, at_s: i64, body: String) -> Self {
        let timestamp = at_s.to_string();
        let signature = signature::webhook(secret_token, &timestamp, body.as_bytes());
        Self { body, timestamp, signature }
    }

    /// As lines of a head.
    pub(super) fn headers(&self) -> String {
        format!("x-zm-request-timestamp: {}\r\nx-zm-signature: {}\r\n", self.timestamp, self.signature)
    }
}

/// Which of a stream's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Started,
    Stopped,
    Interrupted,
}

impl Hooks {
    pub(super) fn new(settings: &Arc<Settings>, hub: Option<Hub>, progress: &Progress) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .timeout(DEADLINE)
            .user_agent("Zoom Marketplace/1.0a")
            .redirect(reqwest::redirect::Policy::none());
        // A proxy in the environment is for the outside.
        let to = &settings.webhooks.to;
        if ["//127.", "//localhost", "//[::1]"].iter().any(|local| to.contains(local)) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            client: builder.build().map_err(Error::Http)?,
            settings: settings.clone(),
            hub,
            progress: progress.clone(),
            captured: Mutex::default(),
        })
    }

    /// Every event that was sent.
    pub(super) fn captured(&self) -> Vec<Signed> {
        self.captured.lock().clone()
    }

    /// Asks whether the endpoint holds the Secret Token.
    pub(super) async fn validate(&self) -> Result<(), Error> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let body = json!({
            "event": "endpoint.url_validation", "event_ts": chrono::Utc::now().timestamp_millis(),
            "payload": {"plainToken": token},
        });
        let refused = |what: String| {
            Error::Refused(format!(
                "endpoint.url_validation: {} {what}; Zoom would not save this endpoint",
                self.settings.webhooks.to
            ))
        };
        let (answer, text) = self.post(&body.to_string(), 1).await;
        if let Some(error) = answer.error {
            return Err(refused(error));
        }
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let secret = &self.settings.credentials.secret_token;
        if answer.status != Some(200) || said["plainToken"] != token {
            return Err(refused(format!(
                "answered {} without the plainToken it was given",
                answer.status.unwrap_or(0)
            )));
        }
        if said["encryptedToken"] != signature::challenge(secret, &token) {
            return Err(refused(
                "made another encryptedToken: ZOOM_SECRET_TOKEN has to be the same here and there".into(),
            ));
        }
        self.progress.note(&format!("the URL validation was answered in {:.0} ms", answer.after_ms));
        Ok(())
    }

    /// Sends an event over the event WebSocket, or posts it until it is taken or Zoom would give up, or both.
    pub(super) async fn deliver(&self, body: &str) -> Vec<WebhookAnswer> {
        let mut answers = Vec::new();
        if let Some(hub) = &self.hub {
            hub.send(body);
            if !hub.webhooks_too() {
                return answers;
            }
        }
        for (retry, factor) in [1, 4, 12, 0].into_iter().enumerate() {
            let (answer, _) = self.post(body, retry as u32 + 1).await;
            let done = answer.error.is_none() || answer.status.is_some_and(|s| (400..500).contains(&s));
            if let Some(error) = &answer.error {
                self.progress.note(&format!("{}: the recorder {error}", answer.event));
            }
            answers.push(answer);
            // Zoom repeats what was refused too; nobody would want to wait for that here.
            if done || factor == 0 {
                break;
            }
            tokio::time::sleep(self.settings.webhooks.retry_after * factor).await;
        }
        answers
    }

    /// Cuts the event WebSocket.
    pub(super) fn cut_events(&self) {
        if let Some(hub) = &self.hub {
            hub.cut();
        }
    }

    async fn post(&self, body: &str, attempt: u32) -> (WebhookAnswer, String) {
        let credentials = &self.settings.credentials;
        let signed = Signed::new(&credentials.secret_token, chrono::Utc::now().timestamp(), body.to_owned());
        if self.settings.attacks.contains(&Attack::Replayed) {
            self.captured.lock().push(signed.clone());
        }
        let tracking = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
        let began = Instant::now();
        let mut request = self
            .client
            .post(&self.settings.webhooks.to)
            .header("content-type", "application/json; charset=utf-8")
            .body(body.to_owned());
        if !self.settings.mock {
            request = request
                .header("x-zm-signature", signed.signature)
                .header("x-zm-request-timestamp", signed.timestamp)
                .header("x-zm-trackingid", format!("v=2.0;clid=sim01;rid=WEB_{tracking}"))
                .header("clientid", &credentials.client_id);
        }
        let sent = request.send().await;
        let (status, text, error) = match sent {
            Ok(response) => {
                let status = response.status();
                // An answer counts by its status; its text is for the error message.
                let text = response.text().await.unwrap_or_default();
                let error = (!matches!(status.as_u16(), 200 | 204)).then(|| advice(status, &text));
                (Some(status.as_u16()), text, error)
            }
            Err(error) => (None, String::new(), Some(failure(&error))),
        };
        let parsed: Value = serde_json::from_str(body).unwrap_or_default();
        let answer = WebhookAnswer {
            event: parsed["event"].as_str().unwrap_or_default().to_owned(),
            event_ts: parsed["event_ts"].as_i64().unwrap_or_default(),
            attempt,
            status,
            after_ms: began.elapsed().as_secs_f64() * 1000.0,
            error,
        };
        (answer, text)
    }
}

fn advice(status: reqwest::StatusCode, text: &str) -> String {
    let what = match status.as_u16() {
        401 | 403 => {
            "it does not accept the signature: ZOOM_SECRET_TOKEN has to be the same here and there, and the clocks \
             within 300 s"
        }
        404 | 405 => "it takes no webhooks at this path: --to has to end in the recorder's WEBHOOK_PATH",
        _ => "Zoom takes anything but 200 and 204 for a failure",
    };
    let said: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    let said = if said.is_empty() { said } else { format!(" ({said:?})") };
    format!("answered {status}{said}; {what}")
}

fn failure(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "gave no answer within 3 s, which Zoom takes for a failure".into();
    }
    if error.is_connect() {
        return "cannot be reached; start it, or give its address with --to".into();
    }
    format!("could not be asked: {}", with_sources(error))
}

/// An event of a meeting as JSON text.
pub(super) fn body(meeting: &Meeting, kind: Kind, event_ts: i64, stop_reason: i64) -> String {
    let settings = &meeting.settings;
    let mut ids = json!({
        id_key(settings.product): meeting.meeting_id,
        "rtms_stream_id": meeting.stream_id,
    });
    if settings.product == Product::Session {
        ids["session_key"] = "customer-key".into();
    }
    match kind {
        Kind::Started => {
            ids["server_urls"] = meeting.signaling_url().into();
            if matches!(settings.product, Product::Meeting | Product::Webinar) {
                ids["operator_id"] = "opSimulator1".into();
            }
            if matches!(settings.product, Product::Meeting | Product::Webinar) && !settings.mock {
                ids["meeting_id"] = meeting.number().into();
                ids["is_original_host"] = true.into();
            }
        }
        Kind::Stopped => ids["stop_reason"] = stop_reason.into(),
        Kind::Interrupted => {}
    }
    let payload = if settings.webhooks.nested {
        json!({"account_id": ACCOUNT, "object": ids})
    } else {
        if kind == Kind::Started && !settings.mock {
            ids["account_id"] = ACCOUNT.into();
        }
        ids
    };
    json!({"event": event_name(settings.product, kind, settings.webhooks.other_names), "event_ts": event_ts, "payload": payload}).to_string()
}
