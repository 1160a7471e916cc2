//! The tests that run the recorder, or large parts of it, as one program: built once, and run side by side.
//!
//! `scripts/test consent::` runs those of one file.

mod common;

mod admin;
mod backends;
mod browsers;
mod bucket;
mod check;
mod children;
mod cloud;
mod connection;
mod consent;
mod disk;
mod doors;
mod downloads;
mod events;
mod ffmpeg;
mod hostile;
mod hours;
mod kills;
mod logs;
mod many;
mod operate;
mod pages;
mod pictures;
mod policy;
mod power;
mod process;
mod products;
mod readme;
mod recording;
mod requests;
mod rest;
mod shutdown;
mod simulator;
mod sound;
mod status;
mod store;
mod texts;
mod verify;
mod version;
