//! How a running capture is doing, for whoever looks. Counting a packet costs a few atomic additions.

use super::Health;
use crate::protocol::link::{Conn, Report};
use crate::protocol::message::Medium;
use crate::telemetry::metrics;
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// What a capture has taken in, and the state of its connections. Shared with those who look.
#[derive(Debug, Default)]
pub struct Vitals {
    health: Health,
    flows: [Flow; Medium::ALL.len()],
    connections: Mutex<Vec<Connection>>,
}

#[derive(Debug, Default)]
struct Flow {
    packets: AtomicU64,
    bytes: AtomicU64,
    last_ms: AtomicI64,
}

/// What came of one medium.
#[derive(Clone, Debug, Serialize)]
pub struct Received {
    /// Which.
    pub medium: &'static str,
    /// How many messages with media.
    pub packets: u64,
    /// Their size as they came.
    pub bytes: u64,
    /// When the last one came, in Unix ms.
    pub last_ms: i64,
}

/// One connection.
#[derive(Clone, Debug, Serialize)]
pub struct Connection {
    /// `signaling`, or the medium that it carries.
    pub name: &'static str,
    /// Whether it is up.
    pub up: bool,
    /// Since when it is up or not, in Unix ms.
    pub since_ms: i64,
    /// How often it was lost.
    pub lost: u32,
    /// For how long it was down after it had been up, in ms, without the time since [`Connection::since_ms`].
    pub down_ms: i64,
    /// Why it was lost or refused last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

impl Vitals {
    /// A message with media came.
    pub(super) fn packet(&self, medium: Medium, bytes: usize, now_ms: i64) {
        let flow = &self.flows[medium as usize];
        flow.packets.fetch_add(1, Ordering::Relaxed);
        flow.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        flow.last_ms.store(now_ms, Ordering::Relaxed);
        metrics().packet(medium, bytes);
    }

    /// Something happened to a connection.
    pub(super) fn report(&self, report: &Report, now_ms: i64) {
        let mut connections = self.connections.lock();
        let (Report::Connected(run, _) | Report::Lost(run, _) | Report::Refused { run, .. }) = report;
        let of = of(&mut connections, run.conn, now_ms);
        match report {
            Report::Connected(..) => {
                // Before it was up for the first time nothing was lost.
                if of.lost > 0 && !of.up {
                    of.down_ms += now_ms - of.since_ms;
                }
                (of.up, of.since_ms) = (true, now_ms);
            }
            Report::Lost(_, loss) => {
                (of.up, of.since_ms, of.because) = (false, now_ms, Some(loss.because.clone()));
                of.lost += 1;
                metrics().reconnect(loss.cause.as_str());
            }
            Report::Refused { because, .. } => (of.up, of.because) = (false, Some(because.clone())),
        }
    }

    /// A ping to the server that signaling is connected to was answered.
    pub(super) fn answered(&self, after: Duration) {
        self.health.answered(after);
        metrics().keep_alive(self.health.region().as_deref().unwrap_or("unknown"), after);
    }

    /// Where it is connected to, and how far that is.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The media of which anything came.
    pub fn received(&self) -> Vec<Received> {
        let all = Medium::ALL.into_iter().zip(&self.flows).map(|(medium, flow)| Received {
            medium: medium.as_str(),
            packets: flow.packets.load(Ordering::Relaxed),
            bytes: flow.bytes.load(Ordering::Relaxed),
            last_ms: flow.last_ms.load(Ordering::Relaxed),
        });
        all.filter(|received| received.packets > 0).collect()
    }

    /// The connections that were tried.
    pub fn connections(&self) -> Vec<Connection> {
        self.connections.lock().clone()
    }
}

fn of(connections: &mut Vec<Connection>, conn: Conn, now_ms: i64) -> &mut Connection {
    let name = conn.as_str();
    let index = connections.iter().position(|of| of.name == name).unwrap_or_else(|| {
        connections.push(Connection { name, up: false, since_ms: now_ms, lost: 0, down_ms: 0, because: None });
        connections.len() - 1
    });
    &mut connections[index]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::link::{Cause, Loss, RunId};

    #[test]
    fn time_without_a_connection_adds_up_once_it_had_been_up() {
        let vitals = Vitals::default();
        let run = RunId { conn: Conn::Media(Medium::Audio), run: 1 };
        let refused = Report::Refused { run, because: "no".into(), for_good: false };
        vitals.report(&refused, 500);
        vitals.report(&Report::Connected(run, String::new()), 1000);
        vitals.report(&Report::Lost(run, Loss::new(Cause::Closed, "close 1006")), 5000);
        vitals.report(&refused, 5500);
        vitals.report(&Report::Connected(run, String::new()), 7000);
        let [connection] = &vitals.connections()[..] else { panic!("one") };
        assert!(connection.up);
        assert_eq!((connection.since_ms, connection.lost, connection.down_ms), (7000, 1, 2000));
        vitals.packet(Medium::Audio, 10, 7001);
        vitals.packet(Medium::Audio, 11, 7002);
        let [received] = &vitals.received()[..] else { panic!("one") };
        assert_eq!((received.medium, received.packets, received.bytes, received.last_ms), ("audio", 2, 21, 7002));
    }
}
