//! Media time of one stream: when it began, on both clocks, and how fast it runs.

use std::time::Duration;
use tokio::time::Instant;

/// Counts media time in milliseconds since the start of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
    /// The Unix time of position 0: the started event's `event_ts`.
    pub(super) epoch_ms: i64,
    speed: f64,
}

impl Clock {
    pub(super) fn start(speed: f64) -> Self {
        Self { started: Instant::now(), epoch_ms: chrono::Utc::now().timestamp_millis(), speed }
    }

    /// Where the stream is.
    pub(super) fn position(&self) -> i64 {
        (self.started.elapsed().as_secs_f64() * 1000.0 * self.speed) as i64
    }

    /// When it is at `ms`.
    pub(super) fn instant(&self, ms: i64) -> Instant {
        // Rounded up to the timer's millisecond, so that the position has been reached when it fires.
        let real_ms = (ms.max(0) as f64 / self.speed).ceil() as u64;
        self.started + Duration::from_millis(real_ms)
    }

    /// The timestamp of `ms` on Zoom's clock.
    pub(super) fn timestamp(&self, ms: i64) -> i64 {
        self.epoch_ms + ms
    }

    /// Now, on Zoom's clock.
    pub(super) fn now(&self) -> i64 {
        self.timestamp(self.position())
    }

    /// How long a stretch of media time lasts in reality.
    pub(super) fn real(&self, media: Duration) -> Duration {
        media.div_f64(self.speed)
    }
}
