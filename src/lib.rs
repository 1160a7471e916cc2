//! Records Zoom Realtime Media Streams into files in a bucket: webhook in, files out.
//!
//! ```text
//!  webhooks ──► events ──► recorder ──► capture   one task per stream: signaling and media sockets
//!               verify     one recording    │ every message, as received
//!               parse      per stream       ▼
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
//! whole chain. [`ids`], [`media`], [`protocol`], [`timeline`], [`container`] and [`output`] are pure: no clock, no
//! task, no socket, no file (clippy holds them to it).
//!
//! # Words
//!
//! *PTS*: presentation time, in milliseconds (sound is counted in samples). *Access unit*: all NAL units of one
//! picture. *Key frame*: an IDR that decoding can start from. *Annex B*: H.264 framed by start codes. *Track*: one
//! kind of media from one source. *Gap*: time without data. *Run*: one connection without a break. *Chunk*: one file
//! of a journal. *Event*, *stream*, *signaling*, *media*: as Zoom uses them.

pub mod capture;
pub mod catalogue;
pub mod clock;
pub mod config;
pub mod container;
pub mod events;
pub mod ffmpeg;
pub mod ids;
pub mod journal;
pub mod link;
pub mod media;
pub mod output;
pub mod protocol;
pub mod recorder;
pub mod render;
pub mod rest;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod timeline;
pub mod verify;
