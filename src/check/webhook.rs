//! The webhook's public address, asked as Zoom asks when the address is entered in the app.

use super::Finding;
use crate::clock::unix_ms;
use crate::config::Secret;
use crate::errors::with_sources;
use crate::protocol::signature;
use reqwest::{StatusCode, Url};
use serde_json::Value;
use std::time::{Duration, Instant};

const CHECK: &str = "webhook";
/// Zoom waits no longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sends the URL validation of an app with this Secret Token to `url`, and looks at the answer. `http` follows no redirect.
pub async fn answers(http: &reqwest::Client, url: &Url, secret_token: &Secret) -> Finding {
    if !is_public(url) {
        let text = format!("{url} is not https, and Zoom posts to nothing else");
        return Finding::failure(
            CHECK,
            text,
            "give the https address that is entered in the app; see \"Behind TLS\" in the README",
        );
    }
    let now_ms = unix_ms();
    let plain = uuid::Uuid::new_v4().simple().to_string();
    let body = serde_json::json!({
        "event": "endpoint.url_validation", "payload": {"plainToken": plain}, "event_ts": now_ms,
    });
    let body = body.to_string();
    let timestamp = (now_ms / 1000).to_string();
    let request = http
        .post(url.clone())
        .timeout(PATIENCE)
        .header("content-type", "application/json; charset=utf-8")
        .header("x-zm-signature", signature::webhook(secret_token.expose(), &timestamp, body.as_bytes()))
        .header("x-zm-request-timestamp", timestamp)
        .body(body);
    let began = Instant::now();
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(err) => return silent(url, err),
    };
    let status = answer.status();
    let answer = answer.bytes().await.unwrap_or_default();
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    if !status.is_success() {
        return refused(url, status);
    }
    let expected = signature::challenge(secret_token.expose(), &plain);
    if answer["plainToken"] == plain.as_str() && answer["encryptedToken"] == expected.as_str() {
        let ms = began.elapsed().as_millis();
        return Finding::ok(CHECK, format!("{url} answered its URL validation after {ms} ms"));
    }
    match answer["encryptedToken"].is_string() {
        true => Finding::failure(
            CHECK,
            format!("{url} answered its URL validation with another Secret Token"),
            "set the same ZOOM_SECRET_TOKEN here and there: the Secret Token of the Zoom app, from its page Access",
        ),
        false => Finding::failure(
            CHECK,
            format!("something that is no recorder answered at {url}"),
            "let the proxy pass this address on to the recorder's HOST, PORT and WEBHOOK_PATH",
        ),
    }
}

/// Loopback addresses are for trials.
fn is_public(url: &Url) -> bool {
    url.scheme() == "https" || matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
}

fn silent(url: &Url, err: reqwest::Error) -> Finding {
    let fix = match (err.is_timeout(), err.is_connect()) {
        (true, _) => "Zoom waits 3 s; look at the proxy, and at the firewall between it and the recorder",
        (_, true) => "start the recorder and its proxy; look at the name's DNS entry, the firewall and the certificate",
        _ => "look at the proxy",
    };
    let because = with_sources(&err.without_url());
    Finding::failure(CHECK, format!("{url} gave no answer: {because}"), fix)
}

fn refused(url: &Url, status: StatusCode) -> Finding {
    let text = format!("{url} answered {status}");
    let fix = match status.as_u16() {
        401 => {
            "set the same ZOOM_SECRET_TOKEN here and there; let the proxy pass the body on unchanged, and the headers x-zm-signature and x-zm-request-timestamp; see that both clocks are set"
        }
        300..=399 => "give the address that it leads to; Zoom follows no redirect",
        404 | 405 => "end the address in the recorder's WEBHOOK_PATH (/webhook), and let the proxy pass POST on to it",
        502..=504 => "start the recorder; let the proxy pass on to its HOST and PORT",
        _ => "look at the proxy; the recorder would answer 200",
    };
    Finding::failure(CHECK, text, fix)
}
