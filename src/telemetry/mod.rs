//! What an operator's tools see: logs on standard error, as text for people or JSON for machines, and [`mod@metrics`].

pub mod metrics;
pub mod quiet;

pub use metrics::{Metrics, metrics};
pub use quiet::Quiet;

use crate::config::LogFormat;
use std::io::IsTerminal;
use std::panic::{self, PanicHookInfo};
use tracing_subscriber::EnvFilter;

/// Starts logging; `RUST_LOG` filters, `info` by default. Panics are logged, too.
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

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use serde_json::Value;
    use std::io::Write;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_names_its_recording_and_tells_nothing_of_it() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || writer.clone());
        tracing::subscriber::with_default(subscriber.finish(), || {
            let _recording = tracing::info_span!("recording", id = "r1").entered();
            let before = panic::take_hook();
            panic::set_hook(Box::new(log_panic));
            let said = "what somebody said";
            let panicked = [panic::catch_unwind(|| panic!("a literal")), panic::catch_unwind(|| panic!("{said}"))];
            panic::set_hook(before);
            assert!(panicked.iter().all(Result::is_err));
        });
        let text = String::from_utf8(log.0.lock().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ours: Vec<&Value> = lines.iter().filter(|line| line["span"]["id"] == "r1").collect();
        assert_eq!(ours.len(), 2, "{text}");
        assert_eq!(ours[0]["message"], "panicked: a literal");
        assert!(ours[1]["at"].as_str().unwrap().contains("telemetry") && !text.contains("somebody"), "{text}");
    }
}
