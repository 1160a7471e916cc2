//! What an operator's tools see: logs on standard error, as text for people or JSON for machines, and [`metrics`].

pub mod metrics;

pub use metrics::{Metrics, metrics};

use crate::config::LogFormat;
use std::io::IsTerminal;
use std::panic::{self, PanicHookInfo};
use tracing_subscriber::EnvFilter;

/// Starts logging; `RUST_LOG` filters, `info` by default. Panics are logged, too.
pub fn start(format: LogFormat) {
    // The uploader says what an outage of the bucket means; the library would say it for each request.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,object_store=warn"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    panic::set_hook(Box::new(log_panic));
}

/// A panic inside a recording's span names it. What was put into the message may be what somebody said in a meeting, so
/// only messages without anything put into them are shown.
fn log_panic(panicked: &PanicHookInfo<'_>) {
    let at = panicked.location().map(ToString::to_string).unwrap_or_default();
    let message = panicked.payload().downcast_ref::<&'static str>().copied().unwrap_or("(not shown)");
    let thread = std::thread::current();
    tracing::error!(at, thread = thread.name(), "panicked: {message}");
}
