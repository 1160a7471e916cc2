//! Complaints that strangers can cause: the first of a kind is logged at once, the others are counted, and the count is
//! logged each minute and at the end. Whoever floods a door writes a line a minute.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// For so long after a line no other of its kind is written.
pub const WINDOW: Duration = Duration::from_secs(60);
/// How often counts are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The complaints of one door.
#[derive(Debug, Default)]
pub struct Quiet {
    kinds: Mutex<HashMap<&'static str, Repeats>>,
}

#[derive(Debug)]
struct Repeats {
    since: Instant,
    times: u64,
}

impl Quiet {
    /// Needs a runtime, in which counts are told until the teller is dropped; then what is left is told.
    pub fn start() -> (Arc<Self>, Teller) {
        let quiet = Arc::new(Self::default());
        let watched = Arc::clone(&quiet);
        let looking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                watched.told(Instant::now(), WINDOW).into_iter().for_each(tell);
            }
        });
        (Arc::clone(&quiet), Teller { quiet, looking })
    }

    /// Logs it, unless it has been logged of this kind a moment ago. There are few kinds: none is made of what came in.
    pub fn warn(&self, kind: &'static str, bytes: usize, err: &dyn Display) {
        if self.is_first(kind, Instant::now()) {
            tracing::warn!(err = %err, bytes, "{kind}");
        }
    }

    fn is_first(&self, kind: &'static str, now: Instant) -> bool {
        let mut kinds = self.kinds.lock();
        match kinds.get_mut(kind) {
            Some(repeats) => {
                repeats.times += 1;
                false
            }
            None => {
                kinds.insert(kind, Repeats { since: now, times: 0 });
                true
            }
        }
    }

    /// What has to be said now. A kind that was quiet for a window is forgotten.
    fn told(&self, now: Instant, window: Duration) -> Vec<(&'static str, u64)> {
        let mut kinds = self.kinds.lock();
        let mut told = Vec::new();
        kinds.retain(|kind, repeats| {
            if now.saturating_duration_since(repeats.since) < window {
                return true;
            }
            let times = std::mem::take(&mut repeats.times);
            repeats.since = now;
            if times > 0 {
                told.push((*kind, times));
            }
            times > 0
        });
        told
    }
}

/// Tells what was counted.
#[derive(Debug)]
pub struct Teller {
    quiet: Arc<Quiet>,
    looking: JoinHandle<()>,
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.looking.abort();
        self.quiet.told(Instant::now(), Duration::ZERO).into_iter().for_each(tell);
    }
}

fn tell((kind, times): (&'static str, u64)) {
    tracing::warn!(times, "again: {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_others_are_counted() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        assert!(quiet.is_first("forged", start));
        assert_eq!((0..1000).filter(|_| quiet.is_first("forged", start)).count(), 0);
        assert!(quiet.is_first("stale", start), "another kind");
        assert_eq!(quiet.told(start + WINDOW / 2, WINDOW), []);
        assert_eq!(quiet.told(start + WINDOW, WINDOW), [("forged", 1000)]);
        assert!(!quiet.is_first("forged", start + WINDOW), "it goes on");
        assert!(quiet.is_first("stale", start + WINDOW), "it had not been heard of for a minute");
        assert_eq!(quiet.told(start + WINDOW * 2, WINDOW), [("forged", 1)]);
        assert_eq!(quiet.told(start + WINDOW * 3, WINDOW), []);
        assert!(quiet.is_first("forged", start + WINDOW * 3));
    }
}
