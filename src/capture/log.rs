//! What is logged of a stream's connections: few lines, whatever the server does.

use crate::protocol::link::{Conn, Report, RunId};
use std::collections::{HashMap, VecDeque};
use std::mem::Discriminant;
use std::time::{Duration, Instant};

/// Lines of one kind about one connection that are logged in [`WINDOW`]; the others are counted.
const LINES: u32 = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// Reports about connections that were up are logged late, since the end of a stream is often seen only after its sockets
/// are closed. Repeats are summed up.
#[derive(Default)]
pub(super) struct LateLog {
    waiting: VecDeque<(Instant, Report)>,
    been_up: Vec<Conn>,
    repeats: HashMap<(Conn, Discriminant<Report>), Repeats>,
}

struct Repeats {
    since: Instant,
    lines: u32,
    left_out: u32,
}

impl LateLog {
    pub(super) const DELAY: Duration = Duration::from_secs(1);

    pub(super) fn push(&mut self, report: Report) {
        let conn = run(&report).conn;
        if self.been_up.contains(&conn) {
            self.waiting.push_back((Instant::now() + Self::DELAY, report));
            return;
        }
        if matches!(report, Report::Connected(..)) {
            self.been_up.push(conn);
        }
        self.log(report);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, _)| *at)
    }

    /// Logs what is due.
    pub(super) fn flush(&mut self) {
        let now = Instant::now();
        while self.deadline().is_some_and(|at| at <= now) {
            let Some((_, report)) = self.waiting.pop_front() else { return };
            self.log(report);
        }
    }

    fn log(&mut self, report: Report) {
        let now = Instant::now();
        let key = (run(&report).conn, std::mem::discriminant(&report));
        let repeats = self.repeats.entry(key).or_insert(Repeats { since: now, lines: 0, left_out: 0 });
        if now.saturating_duration_since(repeats.since) >= WINDOW {
            if repeats.left_out > 0 {
                tracing::warn!(conn = %key.0, times = repeats.left_out, "the same again, in the last minutes");
            }
            *repeats = Repeats { since: now, lines: 0, left_out: 0 };
        }
        if repeats.lines < LINES {
            repeats.lines += 1;
            write(report);
        } else {
            repeats.left_out += 1;
        }
    }
}

fn run(report: &Report) -> RunId {
    let (Report::Connected(run, _) | Report::Lost(run, _) | Report::Refused { run, .. }) = report;
    *run
}

fn write(report: Report) {
    match report {
        Report::Connected(run, how) if how.is_empty() => {
            tracing::debug!(conn = %run.conn, run = run.run, "connected");
        }
        Report::Connected(run, how) => tracing::warn!(conn = %run.conn, run = run.run, "connected: {how}"),
        Report::Lost(run, loss) => {
            tracing::warn!(conn = %run.conn, run = run.run, because = loss.because, "connection lost; connecting again");
        }
        Report::Refused { run, because, for_good } => {
            let next = if for_good { "recording goes on without it" } else { "trying again" };
            tracing::warn!(conn = %run.conn, run = run.run, because, "connection refused; {next}");
        }
    }
}
