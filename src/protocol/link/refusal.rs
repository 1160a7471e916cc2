//! What kind of refusal an answer is: it decides when, and whether, it is tried again.

use crate::advice::status::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no socket: nobody has said anything.
    Unreachable,
    /// A connection exists already: it may be a ghost.
    Duplicate,
    /// The app does not get this medium.
    NotAvailable,
    /// Anything else.
    Other,
}

impl Refusal {
    /// By the words, since the same number means different things in the two numberings.
    pub(super) fn of(reason: &str) -> Self {
        match Kind::of_words(reason) {
            Some(Kind::Duplicate) => Self::Duplicate,
            Some(Kind::NotAvailable) => Self::NotAvailable,
            _ => Self::Other,
        }
    }
}
