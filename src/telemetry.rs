//! Logs: text for people or JSON for machines, on standard error.

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging; `RUST_LOG` filters, `info` by default.
pub fn start(format: LogFormat) {
    // The uploader says what an outage of the bucket means; the library would say it for each request.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,object_store=warn"));
    // It would write the request with which the event WebSocket is opened, and in it the token.
    let filter = filter.add_directive("tungstenite::handshake=info".parse().expect("it is a directive"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}
