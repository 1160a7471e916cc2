//! From the packets of one source to a track without holes, and the list of what was missing.
//!
//! ```text
//!             admit      clock       sound ──► Samples | Silence ──┐ mix
//!  packets ─► bad times, Timestamp ─►                              └► the mix of several participants
//!             one packet to Pts      picture ─► Frame: Copy | Encode | Slate
//!                                        └────► raw gaps ─► gaps: one cause for each piece
//! ```
//!
//! What it owns: where each sample and each picture stands, what fills the time between them, which pictures can be
//! decoded, and why something is missing. What it leaves to others: reading the journal, scaling and encoding,
//! containers, what a slate looks like, and the choice of zero and end, which are common to all tracks.
//!
//! Invariants, which the property tests hold it to:
//!
//! - A track is as long as the time it stands for, to the sample or the millisecond.
//! - Nothing depends on how packets are batched: only their order counts. The same packets give the same bytes.
//! - No input makes it panic, and memory is bounded whatever the timestamps: silence is a count, and a packet more
//!   than [`MAX_JUMP_MS`] ahead of its track is dropped and counted.

#![deny(clippy::disallowed_methods)]

pub mod admit;
pub mod clock;
mod filter;
pub mod gaps;
pub mod h264;
pub mod image;
mod interpolate;
pub mod mix;
pub mod pcm;
pub mod picture;
mod sets;
pub mod sound;
mod spans;
mod units;

pub use spans::Span;

/// Sound this far (in ms) or further from where its track stands is a gap or an overlap; nearer is worked off. What is
/// worked off is heard off its time for some seconds, so this bounds how far sound and picture are ever apart.
pub const GAP_MS: i64 = 40;

/// A packet further ahead of its track than this (36 h, in ms; Zoom ends meetings after 30 h) has a bad timestamp: it is dropped and counted.
pub const MAX_JUMP_MS: i64 = 36 * 3600 * 1000;
