//! The ids that a stream may be known by, and which of them is used.
//!
//! Each product has an id and a key of its own, and some of Zoom's texts have `meeting_uuid` for all of them. So the
//! product's own comes first; if its handshake is refused, each of the others is tried once. After that, and once one was accepted,
//! it does not change any more.

use crate::protocol::message::Identity;

#[derive(Debug)]
pub(super) struct Identities {
    all: Vec<Identity>,
    current: usize,
    settled: bool,
}

impl Identities {
    /// `all` must not be empty; the first is the product's own.
    pub(super) fn new(all: Vec<Identity>) -> Self {
        assert!(!all.is_empty(), "a handshake needs an identity");
        Self { all, current: 0, settled: false }
    }

    pub(super) fn current(&self) -> &Identity {
        &self.all[self.current]
    }

    /// A handshake was accepted.
    pub(super) fn accepted(&mut self) {
        self.settled = true;
    }

    /// A handshake was refused, with or without words.
    pub(super) fn refused(&mut self) {
        if self.settled {
            return;
        }
        self.current = (self.current + 1) % self.all.len();
        self.settled = self.current == 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{MeetingId, StreamId};

    fn identities(keys: &[&'static str]) -> Identities {
        let identity = |&id_key: &&'static str| Identity {
            id_key,
            id: MeetingId::new("i"),
            stream_id: StreamId::new("s"),
            signature: String::new(),
        };
        Identities::new(keys.iter().map(identity).collect())
    }

    fn used(identities: &mut Identities, refusals: usize) -> Vec<&'static str> {
        let next = |_| {
            let used = identities.current().id_key;
            identities.refused();
            used
        };
        (0..refusals).map(next).collect()
    }

    #[test]
    fn every_other_id_is_tried_once() {
        let mut engagement = identities(&["engagement_id", "meeting_uuid"]);
        let tried = used(&mut engagement, 4);
        assert_eq!(tried, ["engagement_id", "meeting_uuid", "engagement_id", "engagement_id"]);
        let mut meeting = identities(&["meeting_uuid"]);
        assert_eq!(used(&mut meeting, 2), ["meeting_uuid", "meeting_uuid"]);
    }

    #[test]
    fn what_was_accepted_stays() {
        let mut session = identities(&["session_id", "meeting_uuid"]);
        session.refused();
        session.accepted();
        assert_eq!(used(&mut session, 3), ["meeting_uuid"; 3]);
    }
}
