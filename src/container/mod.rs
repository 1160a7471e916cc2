//! Puts pictures and their times into bytes that ffmpeg reads, and takes the pictures out of what an encoder writes.
//!
//! Owns the two framings: [`matroska`] towards ffmpeg, [`flv`] from it; and as much of [`mp4`] as says how long a finished
//! file is. Pure: it is given bytes and fills buffers.
//! What a time should be, and which picture may start a track, is decided by others.

pub mod flv;
pub mod matroska;
pub mod mp4;
