//! When what is done.

use std::time::Duration;

/// The timers. [`Timing::default`] is for Zoom.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two heartbeats of ours: Zoom wants one every 30 s.
    pub heartbeat: Duration,
    /// Silence after which the connection counts as lost. Heartbeats are answered.
    pub watchdog: Duration,
    /// A connection that is lost before it is this old did not last.
    pub settled: Duration,
    /// The longest wait between two attempts.
    pub longest: Duration,
    /// The longest time for which the subscription is left to another client.
    pub longest_left: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(30),
            watchdog: Duration::from_secs(45),
            settled: Duration::from_secs(60),
            longest: Duration::from_secs(30),
            longest_left: Duration::from_secs(600),
        }
    }
}

impl Timing {
    /// The wait after so many failed attempts: 1 s, 2 s, 4 s, ...
    pub(super) fn after_failures(&self, failures: u32) -> Duration {
        doubled(Duration::from_secs(1), failures.saturating_sub(1)).min(self.longest)
    }

    /// The wait after a connection was lost, `flaps` of which in a row did not last: none, then 1 s, 2 s, ...
    pub(super) fn after_flaps(&self, flaps: u32) -> Duration {
        if flaps <= 1 { Duration::ZERO } else { self.after_failures(flaps - 1) }
    }

    /// How long the subscription is left to another client: 10 s, 20 s, 40 s, ...
    pub(super) fn after_rivalry(&self, before: u32) -> Duration {
        doubled(Duration::from_secs(10), before).min(self.longest_left)
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16))
}
