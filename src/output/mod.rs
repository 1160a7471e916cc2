//! What a recording consists of in the bucket: the names of its objects, the manifest that commits it, its texts.
//!
//! [`key`] owns every key and content type, [`template`] the folders, so that hostile names are dealt with in one place.
//! [`manifest`] owns `manifest.json`; [`transcript`], [`chat`] and [`timeline`] own how the texts of a recording are
//! written, [`page`] and [`listing`] the pages that show them. Making the files is left to `render`, putting them into the
//! bucket to `store`.
//!
//! Pure: no clock, no task, no socket, no file.

#![deny(clippy::disallowed_methods)]

pub mod chat;
pub mod key;
pub mod listing;
pub mod manifest;
pub mod page;
pub mod people;
mod plain;
#[cfg(test)]
pub(crate) mod schema;
mod stop_reason;
pub mod template;
mod time;
pub mod timeline;
pub mod transcript;

pub use key::{Folder, Object};
pub use manifest::Manifest;
pub use stop_reason::{StopReason, StopSource};
pub use template::Template;
