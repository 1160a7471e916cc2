//! The journal: every message of a stream as it was received, append-only, in the spool. It is the only truth; all
//! that a user sees is derived from it.
//!
//! # Format
//!
//! `<recording>/journal/00000001.ndjson`, `00000002.ndjson`, ...: one JSON object a line.
//!
//! | field | what it is |
//! |---|---|
//! | `t` | when it was received, in Unix ms by this machine's clock |
//! | `c` | the connection: `signaling`, `audio`, `video`, `share`, `transcript`, `chat`; `event` for webhooks and for what the recorder itself notes |
//! | `m` | the message as Zoom sent it, if it is JSON; line breaks between tokens are spaces |
//! | `raw` | in place of `m`: a message that is not JSON, in base64 |
//!
//! The chunk being written ends in `.open`. It is closed after [`CHUNK_AGE`] or [`CHUNK_BYTES`]: fsync, then rename.
//!
//! # Invariants
//!
//! - Bytes in a closed chunk never change.
//! - What was appended reaches the kernel within [`FLUSH_EVERY`] (a kill of the process loses no more) and the disk
//!   within about [`SYNC_EVERY`] more (a power loss loses no more), a new chunk's name included.
//! - Appending never waits. What the disk cannot take within [`PENDING_BYTES`] is dropped, counted and noted in the
//!   journal itself as soon as the disk takes something again. Events and notes are never dropped.
//! - Only the last line of an open chunk can be torn. A reader passes over it; opening the journal again cuts it off.

mod files;
pub mod note;
pub mod read;
mod write;

pub use note::Note;
pub use write::{Disk, Journal, NotDurable, Progress};

use std::time::Duration;

/// How often what was appended is given to the kernel.
pub const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// How often what the kernel has is forced to the disk.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long a chunk stays open.
pub const CHUNK_AGE: Duration = Duration::from_secs(10);
/// How large a chunk grows. What is in the first one waits in memory until all of it is known.
pub const CHUNK_BYTES: u64 = 4 << 20;
/// How much may wait for the disk, for one journal.
pub const PENDING_BYTES: usize = 32 << 20;

/// The label of webhooks and notes in `c`.
pub const EVENT: &str = "event";

/// Why a journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}")]
pub struct Error {
    action: &'static str,
    path: String,
    #[source]
    source: std::io::Error,
}

impl Error {
    fn new(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self { action, path, source }
    }
}
