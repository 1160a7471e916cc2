//! Records Zoom Realtime Media Streams into files in a bucket: webhook in, files out.
//!
//! ```text
//!  webhooks ────┐
//!  event socket ┴► events ──► recorder ──► capture   one task per stream: signaling and media sockets
//!                  verify     one recording │ every message, as received
//!                  parse      per stream    ▼
//!                                        journal   append-only chunks in the spool: the only truth
//!                                           │ closed chunks, in order
//!                                           ▼
//!                                        render    timeline ─► container ─► ffmpeg children ─► track files
//!                                           │ at the end of the stream
//!                                           ▼
//!                                        assemble (ffmpeg, stream copy) ─► store: objects, manifest last
//! ```
//!
//! Capture keeps the sockets alive and appends what arrives to the journal; it decodes nothing but a message's type
//! and never waits for ffmpeg or the bucket. Everything that a user sees is derived from the journal by one piece of
//! code, whether the meeting is live, is finished after a crash, or is rendered again from a kept journal.
//!
//! A stage knows the type that it receives and never the stage that receives from it; only [`recorder`] knows the
//! whole chain. [`advice`], [`ids`], [`media`], [`secret`], [`protocol`], [`timeline`], [`container`] and [`output`] are pure: no clock, no
//! task, no socket, no file (clippy holds them to it).
//!
//! # Invariants
//!
//! Each with where it is kept, and a test that fails if it is not.
//!
//! 1. A webhook is answered after its effect is durable in the spool, and within Zoom's 3 s ([`events::server`],
//!    [`recorder`]): `tests/consent.rs`, `withdrawn_while_the_bucket_is_away_and_killed_before_it_is_back`; `tests/power.rs`.
//! 2. One stream id, one recording, one connection, however often and from wherever its events arrive ([`recorder`],
//!    [`protocol::link`]): `tests/connection.rs`, `webhooks_that_come_twice_and_late_make_one_recording`; `tests/events.rs`, and the fuzz
//!    target `link`. A file of a cloud recording is imported once: `tests/cloud.rs`.
//! 3. Bytes in a closed chunk of a journal never change; it is closed by fsync, then rename ([`journal`]):
//!    `chunks_close_at_their_size_and_never_change` in its tests.
//! 4. A socket never waits for the renderer or the bucket; what the disk does not take is counted and listed ([`capture`],
//!    [`journal`]): `a_disk_that_takes_nothing_costs_counted_messages_and_a_note`; `tests/disk.rs`.
//! 5. A track is as long as the time that it stands for, and no timestamp comes from the arrival clock ([`timeline`]): the
//!    property tests there; `tests/sound.rs`, `tests/pictures`, `tests/hours.rs`.
//! 6. The manifest is the commit: written last, once, of what is in the bucket; only a deletion manifest replaces it
//!    ([`store::uploader`]): `tests/store.rs`, `the_manifest_is_written_last`.
//! 7. Local data goes only after the stored object was verified ([`store::uploader`], [`recorder`]): `tests/store.rs`,
//!    `an_object_that_was_stored_wrongly_is_sent_again`; `tests/kills.rs`.
//! 8. Consent withdrawn deletes everything of the recording, spool and bucket, and leaves only a manifest that says so
//!    ([`recorder`]): `tests/consent.rs`.
//! 9. Starting up finishes what an earlier run left ([`recorder`]): `tests/process.rs`, `tests/kills.rs`, `tests/shutdown.rs`.
//! 10. One process owns a spool ([`recorder::spool`]): `tests/process.rs`, `a_second_process_on_the_same_spool_is_refused`.
//!
//! # Words
//!
//! *PTS*: presentation time, in milliseconds (sound is counted in samples). *Access unit*: all NAL units of one
//! picture. *Key frame*: an IDR that decoding can start from. *Annex B*: H.264 framed by start codes. *Track*: one
//! kind of media from one source. *Gap*: time without data. *Run*: one connection without a break. *Chunk*: one file
//! of a journal. *Event*, *stream*, *signaling*, *media*: as Zoom uses them.

pub mod admin;
pub mod advice;
pub mod capture;
pub mod catalogue;
pub mod check;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod container;
pub mod dial;
mod disk;
mod errors;
pub mod events;
pub mod ffmpeg;
pub mod ids;
pub mod journal;
pub mod link;
pub mod listen;
pub mod media;
pub mod memory;
pub mod output;
pub mod protocol;
pub mod recorder;
pub mod render;
pub mod rest;
mod retry_after;
pub mod secret;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod timeline;
pub mod verify;

/// The version, and the commit that was built where it is known: `0.1.0 (878fee6c0d1e)`.
pub const VERSION: &str = env!("RTMS_RECORDER_VERSION");

/// How it introduces itself to servers.
pub const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
