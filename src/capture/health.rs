//! What is known of a stream's connection while it runs, for whoever shows it.

use crate::protocol::server_urls;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a stream is connected. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<State>);

#[derive(Debug, Default)]
struct State {
    server: Mutex<Option<String>>,
    /// In microseconds; 0 while it is not known.
    round_trip_us: AtomicU64,
}

impl Health {
    /// The host that signaling was last connected to; none before that.
    pub fn server(&self) -> Option<String> {
        self.0.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The region in its name, see [`server_urls::region`].
    pub fn region(&self) -> Option<String> {
        server_urls::region(&self.server()?)
    }

    /// How long a ping to it took there and back, measured at its last keep-alive; none before that.
    pub fn round_trip(&self) -> Option<Duration> {
        match self.0.round_trip_us.load(Ordering::Relaxed) {
            0 => None,
            us => Some(Duration::from_micros(us)),
        }
    }

    pub(super) fn connected(&self, server: &str) {
        *self.0.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.to_owned());
    }

    pub(super) fn answered(&self, after: Duration) {
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX).max(1);
        self.0.round_trip_us.store(us, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_last_counts_and_clones_see_it() {
        let health = Health::default();
        let shown = health.clone();
        assert_eq!((shown.server(), shown.region(), shown.round_trip()), (None, None, None));
        health.connected("zoomiad2xx.zoom.us");
        health.answered(Duration::from_nanos(10));
        assert_eq!((shown.region().as_deref(), shown.round_trip()), (Some("iad"), Some(Duration::from_micros(1))));
        health.connected("rtms.zoom.us");
        assert_eq!((shown.server().as_deref(), shown.region()), (Some("rtms.zoom.us"), None));
    }
}
