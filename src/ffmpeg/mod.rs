//! Runs ffmpeg: what it is told ([`args`]) and the processes that do it ([`Child`]).
//!
//! Owns finding the program, its arguments, its standard input, output and error, its priority and its end. Leaves to
//! others what is fed to it, what becomes of a file that a failed step left, and when a step is repeated.
//!
//! Invariants:
//! - A child has a process group of its own, and the whole group is gone when its [`Child`] is.
//! - Waiting has an end: a write that makes no progress is given up after [`Settings::stall`], the end of a step after
//!   its grace. Whichever it was, the error says so and carries the end of what ffmpeg had to say.
//! - There is one future per child and no task beside it. Whoever writes also reads, so that a child with input and
//!   output cannot block both ways; a child that nobody writes to may block on its output, and goes on with the next
//!   write.

pub mod args;
mod child;
mod error;

pub use child::Child;
pub use error::Error;

use bytes::Bytes;
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long `ffmpeg -version` and the like may take.
const CHECK_GRACE: Duration = Duration::from_secs(20);
/// How long making a slate may take.
const SLATE_GRACE: Duration = Duration::from_secs(30);

/// What every child has in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A name to look up in `PATH`, or a path.
    pub program: PathBuf,
    /// How long a write may make no progress.
    pub stall: Duration,
    /// How much nicer than the recorder a child is; 0 to 19.
    pub nice: i32,
    /// How much output a child may have written that nobody has taken, in bytes.
    pub output_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { program: "ffmpeg".into(), stall: Duration::from_secs(60), nice: 10, output_max: 64 << 20 }
    }
}

/// What becomes of a child's standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing: the child writes a file.
    Null,
    /// It is kept for [`Child::take_output`] and [`Child::finish`].
    Collect,
}

/// What becomes of a child's standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    Null,
    Pipe,
}

/// How to run ffmpeg. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    settings: Settings,
    slates: Arc<Mutex<HashMap<args::Canvas, Bytes>>>,
}

impl Ffmpeg {
    /// An ffmpeg that is looked for whenever it is needed, so that it may be installed while meetings are captured.
    pub fn new(settings: Settings) -> Self {
        Self { settings, slates: Arc::default() }
    }

    /// The program: a path, or a name to be searched for in `PATH`.
    pub fn program(&self) -> &Path {
        &self.settings.program
    }

    /// Runs the program to see whether it can do all that the recorder asks of it.
    ///
    /// Returns its version, such as `5.1.9-0+deb12u1`. Cancel safe: a child that is running is killed.
    ///
    /// # Errors
    /// [`Error::Incapable`] if it lacks an encoder, a muxer or a demuxer, or cannot be asked; others as [`Self::run`].
    pub async fn check(&self) -> Result<String, Error> {
        let banner = self.ask("-version").await?;
        let version = banner.strip_prefix("ffmpeg version ").and_then(|rest| rest.split_whitespace().next());
        let Some(version) = version else {
            return Err(Error::Incapable { program: self.program().into(), lacks: vec!["ffmpeg -version".into()] });
        };
        let mut lacks = Vec::new();
        for (list, kind, names) in args::NEEDED {
            let text = self.ask(list).await?;
            // A line is flags (bitstream filters have none), names separated by commas, description.
            let has = |name| {
                let names = text.lines().flat_map(|line| line.split_whitespace().take(2));
                names.flat_map(|names| names.split(',')).any(|found| found == name)
            };
            lacks.extend(names.iter().filter(|name| !has(**name)).map(|name| format!("{kind} {name}")));
        }
        if !lacks.is_empty() {
            return Err(Error::Incapable { program: self.program().into(), lacks });
        }
        Ok(version.to_owned())
    }

    async fn ask(&self, question: &str) -> Result<String, Error> {
        let args = ["-nostdin".into(), "-hide_banner".into(), question.into()];
        let answer = self.run(&format!("asking for {question}"), &args, CHECK_GRACE).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Starts a child that is fed through its standard input. `step` says in error texts what it is doing, such as
    /// `encoding the sound`.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the program has gone, [`Error::Spawn`] if it cannot be started.
    pub fn spawn(&self, step: &str, args: &[OsString], output: Output) -> Result<Child, Error> {
        Child::spawn(&self.settings, step, args, Input::Pipe, output)
    }

    /// A black picture to start from, with its SPS and PPS. Made once for all recordings: nearly every one needs it, and
    /// starting ffmpeg is most of what a short meeting costs.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn slate(&self, canvas: args::Canvas) -> Result<Bytes, Error> {
        // Held meanwhile, so that hundreds of meetings that begin together make it once.
        let mut slates = self.slates.lock().await;
        if let Some(slate) = slates.get(&canvas) {
            return Ok(slate.clone());
        }
        let slate = self.run("making a slate", &args::slate(canvas), SLATE_GRACE).await?;
        slates.insert(canvas, slate.clone());
        Ok(slate)
    }

    /// Runs a step that needs no input to its end, and returns its standard output.
    ///
    /// Cancel safe: dropped, it kills the child; what that has written of a file stays.
    ///
    /// # Errors
    /// As [`Self::spawn`] and [`Child::finish`].
    pub async fn run(&self, step: &str, args: &[OsString], grace: Duration) -> Result<Bytes, Error> {
        Child::spawn(&self.settings, step, args, Input::Null, Output::Collect)?.finish(grace).await
    }
}
