//! Who is connected, what each is waited for, and who has to leave.

use super::{BODY_WITHIN, HEAD_WITHIN, IDLE, LOOK, SENDING_WITHIN};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
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
    /// Our answer is made.
    Answer,
    /// Our answer is sent.
    Sending {
        /// Since when.
        began: Instant,
        /// When some of it was last taken.
        taken: Instant,
    },
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
        self.phase.lock()
    }

    /// The lower, the sooner it has to leave for another one; none if it has not to.
    fn leaves(&self) -> Option<(u8, Instant)> {
        let is_long = |since: Instant| since.elapsed() >= SENDING_WITHIN;
        match *self.phase() {
            Phase::Head(since) | Phase::Idle(since) | Phase::Body(since) => Some((0, since)),
            Phase::Sending { taken, .. } if is_long(taken) => Some((1, taken)),
            Phase::Sending { began, .. } if is_long(began) => Some((2, began)),
            Phase::Sending { .. } | Phase::Answer => None,
        }
    }

    /// Some of the answer was taken.
    pub(super) fn takes(&self) {
        if let Phase::Sending { taken, .. } = &mut *self.phase() {
            *taken = Instant::now();
        }
    }

    fn is_late(&self) -> bool {
        match *self.phase() {
            Phase::Head(since) => since.elapsed() >= HEAD_WITHIN,
            Phase::Idle(since) => since.elapsed() >= IDLE,
            Phase::Body(since) => since.elapsed() >= BODY_WITHIN,
            Phase::Answer | Phase::Sending { .. } => false,
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
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        let seat = Arc::new(Seat {
            phase: Mutex::new(Phase::Head(Instant::now())),
            closed: CancellationToken::new(),
            changed: Arc::clone(&self.changed),
        });
        let mut seats = self.seats.lock();
        seats.next += 1;
        let number = seats.next;
        seats.taken.insert(number, Arc::clone(&seat));
        Place { connections: Arc::clone(self), number, seat }
    }

    /// Returns when there is room for one more, for which another one has to leave.
    pub(super) async fn make_room(&self, most: usize) {
        while !self.has_room(most) {
            // Who need not leave yet may have to in a while.
            tokio::time::timeout(LOOK, self.changed.notified()).await.ok();
        }
    }

    fn has_room(&self, most: usize) -> bool {
        let seats = self.seats.lock();
        if seats.taken.len() < most {
            return true;
        }
        // One that was told to go is gone in a moment.
        if !seats.taken.values().any(|seat| seat.closed.is_cancelled()) {
            let leaving = seats.taken.values().filter_map(|seat| Some((seat.leaves()?, seat)));
            if let Some((_, seat)) = leaving.min_by_key(|(order, _)| *order) {
                seat.closed.cancel();
            }
        }
        false
    }

    pub(super) fn drop_late(&self) {
        self.seats.lock().taken.values().filter(|seat| seat.is_late()).for_each(|seat| seat.closed.cancel());
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
        self.connections.seats.lock().taken.remove(&self.number);
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

    /// The answer is there, and goes out.
    pub(super) fn sends(&self) {
        let now = Instant::now();
        *self.0.phase() = Phase::Sending { began: now, taken: now };
        self.0.changed.notify_one();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.phase() = Phase::Idle(Instant::now());
        self.0.changed.notify_one();
    }
}
