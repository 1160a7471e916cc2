//! What is known of a stream's connection while it runs, for whoever shows it.

use crate::protocol::server_urls;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How a stream is connected.
#[derive(Debug, Default)]
pub struct Health {
    server: Mutex<Option<String>>,
    /// In microseconds; 0 while it is not known.
    round_trip_us: AtomicU64,
}

impl Health {
    /// The host that signaling was last connected to; none before that.
    pub fn server(&self) -> Option<String> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The region in its name, see [`server_urls::region`].
    pub fn region(&self) -> Option<String> {
        server_urls::region(&self.server()?)
    }

    /// How long a ping to it took there and back, measured at its last keep-alive; none before that.
    pub fn round_trip(&self) -> Option<Duration> {
        match self.round_trip_us.load(Ordering::Relaxed) {
            0 => None,
            us => Some(Duration::from_micros(us)),
        }
    }

    pub(super) fn connected(&self, server: &str) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server.to_owned());
    }

    pub(super) fn answered(&self, after: Duration) {
        let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX).max(1);
        self.round_trip_us.store(us, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_last_counts() {
        let health = Health::default();
        assert_eq!((health.server(), health.region(), health.round_trip()), (None, None, None));
        health.connected("zoomiad2xx.zoom.us");
        health.answered(Duration::from_nanos(10));
        assert_eq!((health.region().as_deref(), health.round_trip()), (Some("iad"), Some(Duration::from_micros(1))));
        health.connected("rtms.zoom.us");
        assert_eq!((health.server().as_deref(), health.region()), (Some("rtms.zoom.us"), None));
    }
}
