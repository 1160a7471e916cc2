//! What Zoom says and expects, without any input or output: signatures, webhook events, socket messages and the
//! connection state machine.
//!
//! Wire names and numbers exist only here. The rules for a tolerant client are kept in one place each: unknown
//! fields, types and values are passed over; ids and numbers are read from strings too; a status is good or bad by
//! `status_code == 0` alone, since two numberings are in use.

#![deny(clippy::disallowed_methods)]

pub mod chat;
pub mod event;
mod fields;
pub mod happening;
pub mod link;
pub mod mend;
pub mod message;
pub mod server_urls;
pub mod signature;
mod tolerant;
pub mod transcript;
