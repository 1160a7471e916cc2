//! What kind of refusal an answer is: it decides when, and whether, it is tried again.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
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
        let reason = reason.to_ascii_lowercase().replace(['_', '-'], " ");
        if reason.contains("duplicate") || reason.contains("connection exist") {
            Self::Duplicate
        } else if reason.contains("not support") {
            Self::NotAvailable
        } else {
            Self::Other
        }
    }
}
