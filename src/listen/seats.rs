//! Who is connected, what each is waited for, and who has to leave.

use super::{BODY_WITHIN, HEAD_WITHIN, IDLE};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a connection is waited for, and since when.
#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// The head of a request has begun, or nothing came yet.
    Head(Instant),
    /// The next request.
    Idle(Instant),
    /// The rest of a request.
    Body(Instant),
    /// Our answer.
    Answer,
}

/// A connection, as the others see it.
pub(super) struct Seat {
    phase: Mutex<Phase>,
    /// It was told to go.
    pub(super) closed: CancellationToken,
    /// Of all connections.
    changed: Arc<Notify>,
}

impl Seat {
    pub(super) fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when it waits for a request or the rest of one.
    fn waits_since(&self) -> Option<Instant> {
        match *self.phase() {
            Phase::Head(since) | Phase::Idle(since) | Phase::Body(since) => Some(since),
            Phase::Answer => None,
        }
    }

    fn is_late(&self) -> bool {
        match *self.phase() {
            Phase::Head(since) => since.elapsed() >= HEAD_WITHIN,
            Phase::Idle(since) => since.elapsed() >= IDLE,
            Phase::Body(since) => since.elapsed() >= BODY_WITHIN,
            Phase::Answer => false,
        }
    }
}

/// All connections of a listener.
#[derive(Default)]
pub(super) struct Connections {
    seats: Mutex<Seats>,
    /// One has left, or has been answered.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Seats {
    next: u64,
    taken: HashMap<u64, Arc<Seat>>,
}

impl Connections {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let seat = Arc::new(Seat {
            phase: Mutex::new(Phase::Head(Instant::now())),
            closed: CancellationToken::new(),
            changed: Arc::clone(&self.changed),
        });
        let mut seats = self.seats();
        seats.next += 1;
        let number = seats.next;
        seats.taken.insert(number, Arc::clone(&seat));
        Place { connections: Arc::clone(self), number, seat }
    }

    /// Returns when there is room for one more, for which the one that waits for a request longest has to leave.
    pub(super) async fn make_room(&self, most: usize) {
        while !self.has_room(most) {
            self.changed.notified().await;
        }
    }

    fn has_room(&self, most: usize) -> bool {
        let seats = self.seats();
        if seats.taken.len() < most {
            return true;
        }
        // One that was told to go is gone in a moment.
        if !seats.taken.values().any(|seat| seat.closed.is_cancelled()) {
            let waiting = seats.taken.values().filter_map(|seat| Some((seat.waits_since()?, seat)));
            if let Some((_, seat)) = waiting.min_by_key(|(since, _)| *since) {
                seat.closed.cancel();
            }
        }
        false
    }

    pub(super) fn drop_late(&self) {
        self.seats().taken.values().filter(|seat| seat.is_late()).for_each(|seat| seat.closed.cancel());
    }
}

/// A connection's place among the others, until it is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    number: u64,
    pub(super) seat: Arc<Seat>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.seats().taken.remove(&self.number);
        self.connections.changed.notify_one();
    }
}

/// A request is being answered until this is dropped.
pub(super) struct Busy(Arc<Seat>);

impl Busy {
    pub(super) fn new(seat: Arc<Seat>) -> Self {
        *seat.phase() = Phase::Answer;
        Self(seat)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.phase() = Phase::Idle(Instant::now());
        self.0.changed.notify_one();
    }
}
