//! The doors through which Zoom's events come. Each verifies, parses and hands over; what an event does is decided
//! by whoever receives it.

pub mod server;
pub mod socket;

use crate::config::AppIndex;
use crate::protocol::event::Event;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// An event that was verified.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What it says.
    pub event: Event,
    /// The body as received: JSON, but for halves of characters that it may hold.
    pub body: Bytes,
    /// When it was received, in Unix ms.
    pub received_ms: i64,
    /// The app that it was sent to, if that is known: the one whose token it is signed with.
    pub app: Option<AppIndex>,
}

/// Why the effect of an event could not be made durable. Zoom sends a webhook again later; what came by the event WebSocket it
/// does not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotTaken(pub String);

/// Why, when the disk is slow or full.
pub(crate) const TOO_LATE: &str = "the spool did not take it in time; check its disk";

/// Hands an event over to whoever is to act upon it, for so long.
async fn deliver_within(receiver: &dyn Receiver, delivery: Delivery, within: Duration) -> Result<(), NotTaken> {
    let taken = tokio::time::timeout(within, receiver.deliver(delivery)).await;
    taken.unwrap_or_else(|_| Err(NotTaken(TOO_LATE.into())))
}

/// Whoever acts upon events.
pub trait Receiver: Send + Sync + 'static {
    /// Acts upon an event, and returns once the effect is durable.
    fn deliver(&self, delivery: Delivery) -> Pin<Box<dyn Future<Output = Result<(), NotTaken>> + Send + '_>>;

    /// Whether a new stream would be recorded, with what an operator should know besides; the error says why not.
    fn ready(&self) -> Result<Vec<String>, String>;
}
