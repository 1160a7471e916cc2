//! ffmpeg, and the limits of the system.

use super::{Finding, spool};
use crate::ffmpeg::args::Canvas;
use crate::ffmpeg::{Error, Ffmpeg};
use rustix::process::{Resource, getrlimit};

/// The oldest that the tests run with.
const OLDEST: (u32, u32) = (5, 1);
/// Descriptors of a process that records nothing, and of one recording: measured are 12 for each.
const FILES_BASE: u64 = 64;
const FILES_EACH: u64 = 16;

/// Whether ffmpeg is there and has all that is used of it.
pub async fn ffmpeg(ffmpeg: &Ffmpeg) -> Finding {
    judge(ffmpeg, ffmpeg.check().await)
}

/// What to say of what [`Ffmpeg::check`] found.
pub fn judge(ffmpeg: &Ffmpeg, found: Result<String, Error>) -> Finding {
    const CHECK: &str = "ffmpeg";
    match found {
        Ok(version) if is_old(&version) => Finding::warning(
            CHECK,
            format!("{version} is older than {}.{}, the oldest that was tried", OLDEST.0, OLDEST.1),
            "install ffmpeg 5.1 or later",
        ),
        Ok(version) => Finding::ok(CHECK, format!("{version}, with every codec, format and filter that is used")),
        Err(err @ (Error::NotFound { .. } | Error::Incapable { .. })) => Finding::error(CHECK, &err, ""),
        Err(err) => Finding::failure(
            CHECK,
            format!("{} does not answer: {err}", ffmpeg.program().display()),
            "install a complete ffmpeg 5.1 or later (apt-get install ffmpeg)",
        ),
    }
}

/// Whether it does what it says that it can: one picture is encoded. Nothing to say if it does.
pub async fn ffmpeg_trial(ffmpeg: &Ffmpeg) -> Option<Finding> {
    let err = ffmpeg.slate(Canvas { width: 1280, height: 720 }).await.err()?;
    let fix = "install a complete ffmpeg 5.1 or later (apt-get install ffmpeg)";
    Some(Finding::failure("ffmpeg", err.to_string(), fix))
}

/// Builds from git have a name rather than a number; they are taken for new.
fn is_old(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('n').split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST)
}

/// Whether this process may open as many files as so many meetings need. It raises its own limit to what may be had.
pub fn open_files(expected: Option<spool::Expected>) -> Finding {
    const CHECK: &str = "open files";
    const FIX: &str = "raise the hard limit (systemd: LimitNOFILE=65536; Docker: --ulimit nofile=65536)";
    let Some(limit) = getrlimit(Resource::Nofile).maximum else {
        return Finding::ok(CHECK, "there is no limit");
    };
    let meetings = limit.saturating_sub(FILES_BASE) / FILES_EACH;
    let text = format!("{limit} may be open, enough for {meetings} meetings at a time");
    match expected {
        Some(expected) if meetings < u64::from(expected.meetings) => {
            Finding::failure(CHECK, format!("{text}, not for {}", expected.meetings), FIX)
        }
        _ if meetings < 10 => Finding::warning(CHECK, text, FIX),
        _ => Finding::ok(CHECK, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_versions_are_told_from_new_ones() {
        for (version, old) in [
            ("4.4.2-0ubuntu0.22.04.1", true),
            ("5.0.3", true),
            ("5.1.9-0+deb12u1", false),
            ("n4.2", true),
            ("n7.1", false),
            ("9.0", false),
            ("N-118193-g5f38c825", false),
            ("git-2026-01-01", false),
        ] {
            assert_eq!(is_old(version), old, "{version}");
        }
    }
}
