//! Trying again until it works, and saying so now and then.

use super::{Error, OnProgress, Progress, StoreError, Uploader};
use crate::telemetry::metrics;
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often failures are logged, at most, over all uploads to a store.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// What is being done to the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// An object is uploaded.
    Upload,
    /// A recording is deleted.
    Deletion,
}

/// A failed attempt to change something in the bucket.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was being done.
    pub work: Work,
    /// The name of the object that is uploaded; the folder that is deleted.
    pub object: String,
    /// Where that is, as a URL.
    pub place: String,
    /// How often it was tried.
    pub tries: u32,
    /// Since the first try.
    pub elapsed: Duration,
    /// What happened the last time.
    pub error: std::sync::Arc<StoreError>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, place, .. } = self;
        let (answer, hint) = (self.error.answer(), self.error.hint());
        let tries = match self.tries {
            1 => "1 try".to_owned(),
            n => format!("{n} tries in {} s", self.elapsed.as_secs()),
        };
        match self.work {
            Work::Upload => {
                write!(f, "upload of {object} to {place} failed after {tries}: {answer}; kept in the spool; {hint}")
            }
            Work::Deletion => {
                write!(f, "deletion of {place} failed after {tries}: {answer}; not all is deleted; {hint}")
            }
        }
    }
}

impl std::error::Error for Failure {}

/// Whether the store is failing at the moment, for the log.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// The last failure, in words, if nothing has succeeded since.
    last: Option<String>,
    logged_at: Option<Instant>,
    unlogged: u64,
}

impl Uploader {
    /// Repeats `attempt` until it succeeds, fails for good or is cancelled. A permit is held during an attempt only,
    /// so that one object's waiting is no other's; a deletion, which is promised at once, waits for no upload.
    pub(super) async fn persist<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        work: Work,
        object: &str,
        key: &str,
        on_progress: OnProgress<'_>,
        cancel: &CancellationToken,
        attempt: impl Fn() -> F,
    ) -> Result<T, Error> {
        let permits = match work {
            Work::Upload => &self.uploads,
            Work::Deletion => &self.deletions,
        };
        let started = Instant::now();
        let mut last: Option<Box<Failure>> = None;
        for tries in 1_u32.. {
            let one = async {
                let _permit = permits.acquire().await.expect("the semaphore is never closed");
                attempt().await
            };
            let Some(result) = cancel.run_until_cancelled(one).await else {
                return Err(Error::Cancelled { last });
            };
            let error = match result {
                Ok(done) => {
                    self.outage.lock().last = None;
                    if work == Work::Upload {
                        metrics().upload("stored");
                    }
                    if tries > 1 {
                        self.log_recovery(key, tries, started.elapsed());
                    }
                    return Ok(done);
                }
                Err(error) => error,
            };
            let failure = Box::new(Failure {
                work,
                object: object.to_owned(),
                place: self.store.locate(key),
                tries,
                elapsed: started.elapsed(),
                error: error.into(),
            });
            if work == Work::Upload {
                metrics().upload("failed");
            }
            // What trying again does not mend is not the bucket's fault.
            if !failure.error.is_retryable() {
                return Err(Error::Failed(failure));
            }
            self.outage.lock().last = Some(failure.to_string());
            let retry_in = delay(self.settings.first_delay, self.settings.max_delay, tries, chance());
            on_progress(Progress::Failed { failure: &failure, retry_in });
            self.log_failure(key, &failure, retry_in);
            last = Some(failure);
            let waited = async {
                tokio::select! {
                    () = tokio::time::sleep(retry_in) => {}
                    () = self.again.notified() => {}
                }
            };
            if cancel.run_until_cancelled(waited).await.is_none() {
                return Err(Error::Cancelled { last });
            }
        }
        unreachable!("nobody waits for four thousand million tries")
    }

    fn log_failure(&self, key: &str, failure: &Failure, retry_in: Duration) {
        let unlogged = self.outage.lock().failed(Instant::now());
        if let Some(unlogged) = unlogged {
            let delay_ms = retry_in.as_millis() as u64;
            tracing::warn!(key, attempt = failure.tries, delay_ms, unlogged, err = %failure, "the bucket fails, trying again");
        }
    }

    fn log_recovery(&self, key: &str, attempts: u32, elapsed: Duration) {
        if self.outage.lock().recovered() {
            tracing::info!(key, attempts, elapsed_s = elapsed.as_secs(), "the bucket works again");
        }
    }
}

impl Outage {
    pub(super) fn failure(&self) -> Option<String> {
        self.last.clone()
    }

    /// Whether a failure is worth a line, and if so, how many were not since the last one.
    fn failed(&mut self, now: Instant) -> Option<u64> {
        if self.logged_at.is_some_and(|at| now.duration_since(at) < LOG_EVERY) {
            self.unlogged += 1;
            return None;
        }
        self.logged_at = Some(now);
        Some(std::mem::take(&mut self.unlogged))
    }

    /// Whether a success after failures is the end of an outage that was logged.
    fn recovered(&mut self) -> bool {
        self.unlogged = 0;
        self.logged_at.take().is_some()
    }
}

/// The wait after the `tries`-th failure: doubled each time up to `max`, of which `chance` (0 to 1) takes up to half
/// away, so that many recordings do not come back at the same moment.
fn delay(first: Duration, max: Duration, tries: u32, chance: f64) -> Duration {
    let doubled = first.saturating_mul(1 << tries.saturating_sub(1).min(20));
    doubled.min(max).mul_f64(1.0 - chance / 2.0)
}

fn chance() -> f64 {
    let (_, random) = uuid::Uuid::new_v4().as_u64_pair();
    // The low half of a version 4 UUID has 62 random bits, of which 32 are enough.
    f64::from(random as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let (first, max) = (Duration::from_secs(1), Duration::from_secs(60));
        let seconds: Vec<u64> = (1..=9).map(|n| delay(first, max, n, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(delay(first, max, u32::MAX, 1.0), Duration::from_secs(30));
        assert!((0.0..=1.0).contains(&chance()));
    }

    #[test]
    fn an_outage_is_logged_once_a_minute_and_its_end_once() {
        let start = Instant::now();
        let mut outage = Outage::default();
        let logged: Vec<u64> =
            (0..600).filter_map(|second| outage.failed(start + Duration::from_secs(second))).collect();
        assert_eq!(logged, [0, 59, 59, 59, 59, 59, 59, 59, 59, 59]);
        assert!(outage.recovered());
        assert!(!outage.recovered());
        assert_eq!(outage.failed(start + Duration::from_secs(601)), Some(0));
    }

    #[test]
    fn failures_say_what_why_and_what_to_do() {
        let failure = Failure {
            work: Work::Upload,
            object: "recording.mp4".to_owned(),
            place: "s3://b/2026/recording.mp4".to_owned(),
            tries: 6,
            elapsed: Duration::from_secs(41),
            error: std::sync::Arc::new(StoreError::Remote {
                action: "upload of",
                place: "s3://b/2026/recording.mp4".to_owned(),
                cause: super::super::super::Cause::BadCredentials,
                answer: "403 Forbidden (SignatureDoesNotMatch)".to_owned(),
            }),
        };
        assert_eq!(
            failure.to_string(),
            "upload of recording.mp4 to s3://b/2026/recording.mp4 failed after 6 tries in 41 s: 403 Forbidden \
             (SignatureDoesNotMatch); kept in the spool; check the bucket credentials (for S3 AWS_ACCESS_KEY_ID, \
             AWS_SECRET_ACCESS_KEY)"
        );
    }
}
