//! The app's credentials, against Zoom's token endpoint.

use super::Finding;
use crate::config::RestConfig;
use crate::rest::{Client, Failure, Step};

/// Whether Zoom gives the app a token. None if there is nothing to ask with.
pub async fn credentials(config: &RestConfig) -> Option<Finding> {
    const CHECK: &str = "zoom credentials";
    let id = &config.credentials.as_ref()?.id;
    let host = config.oauth_url.host_str().unwrap_or_default().to_owned();
    let client = match Client::new(config.clone()) {
        Ok(client) => client,
        Err(err) => return Some(Finding::error(CHECK, &err, "check the root certificates (SSL_CERT_FILE)")),
    };
    let failure = match client.authorize().await {
        Ok(()) => return Some(Finding::ok(CHECK, format!("{host} knows the app {id} and gave a token"))),
        Err(failure) => failure,
    };
    let text = failure.to_string();
    let (text, fix) = text.rsplit_once("; ").or_else(|| text.rsplit_once(": ")).unwrap_or((&text, "check the app"));
    let passes = matches!(&failure, Failure::Refused(refusal) if refusal.step == Step::Token
        && (failure.is_retryable() || refusal.code.as_deref() == Some("unsupported_grant_type")));
    Some(match passes {
        // Streams are recorded without a token: it is for REST.
        true => Finding::warning(CHECK, format!("app {id}: {text}"), fix),
        false => Finding::failure(CHECK, format!("app {id}: {text}"), fix),
    })
}
