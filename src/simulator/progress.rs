//! What the user sees while it plays: a bar on a terminal, plain lines elsewhere, or nothing.

use super::Settings;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where progress is shown. Everything goes to stderr: stdout is the summary's.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    show: Show,
    born: Instant,
    messages: AtomicU64,
    length_ms: AtomicI64,
    position_ms: AtomicI64,
    last_line_s: AtomicU64,
    many: std::sync::atomic::AtomicBool,
}

#[derive(Debug)]
enum Show {
    Nothing,
    Lines,
    Bar(ProgressBar),
}

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    /// Shows nothing.
    pub fn silent() -> Self {
        Self::new(Show::Nothing)
    }

    /// A bar if stderr is a terminal, else a line now and then.
    pub fn auto() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::new(Show::Lines);
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
            bar.set_style(style);
        }
        Self::new(Show::Bar(bar))
    }

    fn new(show: Show) -> Self {
        Self(Arc::new(Inner {
            show,
            born: Instant::now(),
            messages: AtomicU64::new(0),
            length_ms: AtomicI64::new(0),
            position_ms: AtomicI64::new(0),
            last_line_s: AtomicU64::new(0),
            many: false.into(),
        }))
    }

    /// Something worth a line.
    pub(super) fn note(&self, text: &str) {
        match &self.0.show {
            Show::Nothing => {}
            Show::Lines => eprintln!("simulate: {text}"),
            Show::Bar(bar) => bar.suspend(|| eprintln!("simulate: {text}")),
        }
    }

    /// Something worth a line when there are few meetings.
    pub(super) fn meeting_note(&self, text: &str) {
        if !self.0.many.load(Ordering::Relaxed) {
            self.note(text);
        }
    }

    pub(super) fn begin(&self, settings: &Settings, length_ms: i64) {
        let stagger_ms = settings.stagger.as_secs_f64() * 1000.0 * settings.speed;
        let total = length_ms + (stagger_ms * (settings.meetings - 1) as f64) as i64;
        self.0.length_ms.store(total, Ordering::Relaxed);
        self.0.many.store(settings.meetings > 5, Ordering::Relaxed);
        if let Show::Bar(bar) = &self.0.show {
            bar.set_length(total.unsigned_abs());
        }
    }

    pub(super) fn count(&self, messages: u64) {
        self.0.messages.fetch_add(messages, Ordering::Relaxed);
    }

    /// The furthest meeting is at `position_ms` behind the start of the first.
    pub(super) fn at(&self, position_ms: i64) {
        let inner = &self.0;
        let position_ms = inner.position_ms.fetch_max(position_ms, Ordering::Relaxed).max(position_ms);
        let length_ms = inner.length_ms.load(Ordering::Relaxed);
        let text = || {
            format!(
                "{:.0} of {:.0} s, {} messages sent",
                position_ms.min(length_ms) as f64 / 1000.0,
                length_ms as f64 / 1000.0,
                inner.messages.load(Ordering::Relaxed)
            )
        };
        match &inner.show {
            Show::Nothing => {}
            Show::Lines => {
                let now_s = inner.born.elapsed().as_secs();
                let last_s = inner.last_line_s.load(Ordering::Relaxed);
                let due = now_s >= last_s + LINE_EVERY.as_secs();
                let mine = || inner.last_line_s.compare_exchange(last_s, now_s, Ordering::Relaxed, Ordering::Relaxed);
                if due && mine().is_ok() {
                    self.note(&text());
                }
            }
            Show::Bar(bar) => {
                bar.set_position(position_ms.min(length_ms).unsigned_abs());
                bar.set_message(text());
            }
        }
    }

    pub(super) fn end(&self) {
        if let Show::Bar(bar) = &self.0.show {
            bar.finish_and_clear();
        }
    }
}
