//! What can go wrong with a child, in words for the operator.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such program.
    #[error("{} was not found in PATH or is no program; install it (apt-get install ffmpeg), or put its directory into PATH", program.display())]
    NotFound {
        /// What was looked for.
        program: PathBuf,
    },
    /// The program cannot do what the recorder needs.
    #[error("{} lacks {}; install a complete ffmpeg 5.1 or later (apt-get install ffmpeg)", program.display(), lacks.join(", "))]
    Incapable {
        /// The program that was asked.
        program: PathBuf,
        /// What it lacks.
        lacks: Vec<String>,
    },
    /// The program could not be started.
    #[error("{step}: {} could not be started", program.display())]
    Spawn {
        /// What was to be done.
        step: String,
        /// The program.
        program: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The child ended with an error, or before it had its whole input.
    #[error("{step} failed: ffmpeg ended with {status}{}", said(tail))]
    Exited {
        /// What was being done.
        step: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error.
        tail: String,
    },
    /// The child took no input for too long, and was killed.
    #[error("{step} failed: ffmpeg took no input for {} s and was killed{}", after.as_secs_f32(), said(tail))]
    Stalled {
        /// What was being done.
        step: String,
        /// How long it was waited for.
        after: Duration,
        /// The end of its standard error.
        tail: String,
    },
    /// The child did not end in its grace after the end of its input, and was killed.
    #[error("{step} failed: ffmpeg was not done after {} s and was killed{}", grace.as_secs_f32(), said(tail))]
    TimedOut {
        /// What was being done.
        step: String,
        /// How long it was waited for.
        grace: Duration,
        /// The end of its standard error.
        tail: String,
    },
    /// The child wrote more than was expected, and was killed.
    #[error("{step} failed: ffmpeg wrote more than {max_bytes} bytes to its output and was killed")]
    TooMuchOutput {
        /// What was being done.
        step: String,
        /// [`Settings::output_max`](super::Settings::output_max).
        max_bytes: usize,
    },
    /// A pipe to the child, or waiting for it, failed otherwise.
    #[error("{step} failed: no exchange with ffmpeg{}", said(tail))]
    Pipe {
        /// What was being done.
        step: String,
        /// What the system answered.
        source: std::io::Error,
        /// The end of its standard error.
        tail: String,
    },
}

impl Error {
    /// Whether the same step may succeed when it is repeated as it is: the machine was short of something, or the
    /// child was killed. An ordinary error of ffmpeg's comes back, since the same input gives the same output.
    pub fn is_retryable(&self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        match self {
            Self::NotFound { .. } | Self::Incapable { .. } | Self::TooMuchOutput { .. } => false,
            Self::Spawn { source, .. } => source.kind() != std::io::ErrorKind::PermissionDenied,
            Self::Exited { status, tail, .. } => {
                let short_of = ["No space left on device", "Cannot allocate memory", "Disk quota exceeded"];
                status.signal().is_some() || short_of.iter().any(|text| tail.contains(text))
            }
            Self::Stalled { .. } | Self::TimedOut { .. } | Self::Pipe { .. } => true,
        }
    }
}

/// The end of what ffmpeg said, as the end of a sentence.
fn said(tail: &str) -> String {
    let lines: Vec<_> = tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines[..] {
        [] => String::new(),
        _ => format!("; it said: {}", lines.join(" | ")),
    }
}
