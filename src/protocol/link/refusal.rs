//! What kind of refusal an answer is: it decides when, and whether, it is tried again.

use crate::advice::status::{self, Kind};
use crate::protocol::message::Message;

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

/// What an answer says that is not yes, and what it means.
pub(super) fn in_words(answer: &Message<'_>) -> String {
    let status = answer.status_code.map_or_else(|| "no status".to_owned(), |code| format!("status {code}"));
    let (reason, meaning) = (answer.reason_text(), status::explain(answer.status_code, &answer.reason_text()));
    let said = [status, reason, meaning].into_iter().filter(|part| !part.is_empty());
    said.collect::<Vec<String>>().join(": ")
}
