//! How a socket's task ends, and what it does then.

use super::feed::Feed;
use super::meeting::Meeting;
use super::socket::{Gone, Received, Socket};
use super::state::Cause;

/// How a socket's task ends.
pub(super) enum End {
    /// It says goodbye.
    Closed,
    /// It goes without a word.
    Dropped,
    /// The client has gone, or has to.
    Lost(Cause),
}

impl End {
    /// What came of a task that stops at a client that has gone.
    pub(super) fn of(result: Result<Self, Gone>) -> Self {
        result.unwrap_or(Self::Lost(Cause::Client))
    }

    /// Reports to the meeting, and lets the socket go.
    pub(super) async fn leave(self, meeting: &Meeting, id: u64, socket: Socket, feeds: Vec<Feed>) {
        let cause = match &self {
            Self::Lost(cause) => *cause,
            Self::Closed | Self::Dropped => Cause::Cut,
        };
        meeting.left(id, cause, feeds);
        match self {
            Self::Closed => socket.close().await,
            Self::Dropped | Self::Lost(_) => socket.drop_silently().await,
        }
    }
}

/// Reads and says nothing until the client or the meeting ends.
pub(super) async fn mute(meeting: &Meeting, socket: &mut Socket) -> End {
    loop {
        tokio::select! {
            () = meeting.over.cancelled() => return End::Dropped,
            received = socket.receive() => if matches!(received, Received::Gone) {
                return End::Dropped;
            },
        }
    }
}
