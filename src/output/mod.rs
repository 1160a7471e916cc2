//! What a recording consists of in the bucket: the names of its objects and the manifest that commits it.
//!
//! [`key`] owns every key and content type, so that hostile names are dealt with in one place. [`manifest`] owns
//! `manifest.json`. Making the files is left to `render`, putting them into the bucket to `store`.
//!
//! Pure: no clock, no task, no socket, no file.

#![deny(clippy::disallowed_methods)]

pub mod key;
pub mod listing;
pub mod manifest;
pub mod page;
mod stop_reason;
mod time;
pub mod timeline;

pub use key::{Folder, Object};
pub use manifest::Manifest;
pub use stop_reason::{StopReason, StopSource};
