//! The spool: may it be written to, is it large enough, is its disk fast enough, who else has it.

use super::{Finding, human};
use crate::disk::free_bytes;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What an hour at 720p takes of the spool: 1.1 GB of journal, and as much again while it is finished.
pub const BYTES_PER_HOUR: u64 = 2_200_000_000;

/// How often writing is tried, for the median.
const SYNCS: usize = 9;
/// A webhook is answered after some of these, within 2.5 s.
const SLOW: Duration = Duration::from_millis(100);
const TOO_SLOW: Duration = Duration::from_millis(700);

/// What the machine is to bear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// How many meetings at a time.
    pub meetings: u32,
    /// How long the longest of them is.
    pub hours: f64,
}

/// Everything about the spool. It is made if it is missing, and then removed again.
pub fn all(dir: &Path, min_free: u64, expected: Option<Expected>) -> Vec<Finding> {
    let trial = match Trial::open(dir) {
        Ok(trial) => trial,
        Err(finding) => return vec![finding],
    };
    vec![trial.place(), trial.speed(), room(dir, min_free, expected)]
}

/// Which process records into it, if one does.
pub fn owner(dir: &Path) -> Option<String> {
    let path = dir.join(".lock");
    let lock = File::open(&path).ok()?;
    let taken = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
    taken.then(|| fs::read_to_string(&path).unwrap_or_default().trim().to_owned())
}

/// Whether there is room for what is expected; without that, for anything.
pub fn room(dir: &Path, min_free: u64, expected: Option<Expected>) -> Finding {
    const CHECK: &str = "spool room";
    let free = match free_bytes(dir) {
        Ok(free) => free,
        Err(err) => {
            let text = format!("the free space at {} cannot be found out: {err}", dir.display());
            return Finding::failure(CHECK, text, "set SPOOL_DIR to a directory on a local disk");
        }
    };
    let usable = free.saturating_sub(min_free);
    let beside = format!("beside SPOOL_MIN_FREE ({})", human(min_free));
    if let Some(expected) = expected {
        let needed = (f64::from(expected.meetings) * expected.hours * BYTES_PER_HOUR as f64) as u64;
        let what =
            format!("{} meetings of {} h at 720p need {} {beside}", expected.meetings, expected.hours, human(needed));
        return match usable < needed {
            true => Finding::failure(
                CHECK,
                format!("{} are free; {what}", human(free)),
                format!("free {}, or set SPOOL_DIR to a larger disk", human(needed - usable)),
            ),
            false => Finding::ok(CHECK, format!("{} are free; {what}", human(free))),
        };
    }
    if usable == 0 {
        let text = format!(
            "{} are free, less than SPOOL_MIN_FREE ({}): no new stream is recorded",
            human(free),
            human(min_free)
        );
        return Finding::failure(CHECK, text, "free some space, or set SPOOL_DIR to a larger disk");
    }
    let hours = usable as f64 / BYTES_PER_HOUR as f64;
    Finding::ok(CHECK, format!("{} are free, enough for {hours:.1} h of meetings at 720p {beside}", human(free)))
}

/// A file that is written to and synced.
struct Trial {
    dir: PathBuf,
    file: File,
    path: PathBuf,
    /// What had to be made, the innermost last.
    made: Vec<PathBuf>,
}

impl Trial {
    fn open(dir: &Path) -> Result<Self, Finding> {
        let failed = |action: &str, path: &Path, err: &io::Error| {
            let text = format!("{action} {} failed: {err}", path.display());
            let fix = "SPOOL_DIR must be a directory that this user can write to: chown it, or set another SPOOL_DIR";
            Finding::failure("spool", text, fix)
        };
        let made: Vec<PathBuf> = dir
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .map(Path::to_owned)
            .collect();
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|err| failed("creating", dir, &err))?;
        let path = dir.join(format!(".check-{}", std::process::id()));
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|err| failed("creating", &path, &err))?;
        let mut trial = Self { dir: dir.to_owned(), file, path, made };
        let wrote = trial.file.write_all(b"rtms-recorder check\n").and_then(|()| trial.file.sync_all());
        wrote.map_err(|err| failed("writing", &trial.path, &err))?;
        Ok(trial)
    }

    fn place(&self) -> Finding {
        let dir = self.dir.display();
        let mode = fs::metadata(&self.dir).map_or(0, |metadata| metadata.permissions().mode() & 0o777);
        if mode & 0o077 != 0 {
            return Finding::warning(
                "spool",
                format!(
                    "{dir} can be written to, but has mode {mode:03o}: others on this machine may read what was said"
                ),
                format!("chmod 700 {dir}"),
            );
        }
        match owner(&self.dir) {
            Some(owner) => {
                Finding::ok("spool", format!("{dir} can be written to; process {owner} is recording into it"))
            }
            None => Finding::ok("spool", format!("{dir} can be written to")),
        }
    }

    /// How long it takes until what was written is on the disk.
    fn speed(&self) -> Finding {
        const CHECK: &str = "spool disk";
        let mut times = Vec::new();
        for _ in 0..SYNCS {
            let began = Instant::now();
            if let Err(err) = (&self.file).write_all(&[b'.'; 4096]).and_then(|()| self.file.sync_data()) {
                let text = format!("writing {} failed: {err}", self.path.display());
                return Finding::failure(CHECK, text, "look at the disk, or set another SPOOL_DIR");
            }
            times.push(began.elapsed());
        }
        times.sort();
        judge(times[SYNCS / 2], times[SYNCS - 1])
    }
}

fn judge(median: Duration, longest: Duration) -> Finding {
    const CHECK: &str = "spool disk";
    const FIX: &str = "set SPOOL_DIR to a local disk that is not busy; no network file system";
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let text = format!("what is written is on the disk after {:.1} ms ({:.1} ms at most)", ms(median), ms(longest));
    if median >= TOO_SLOW {
        return Finding::failure(CHECK, format!("{text}: too late for Zoom, which waits 3 s for an answer"), FIX);
    }
    if median >= SLOW {
        return Finding::warning(CHECK, format!("{text}, which is slow"), FIX);
    }
    Finding::ok(CHECK, text)
}

impl Drop for Trial {
    /// A next start makes the spool as its own user.
    fn drop(&mut self) {
        fs::remove_file(&self.path).ok();
        for made in &self.made {
            fs::remove_dir(made).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn what_was_made_is_removed_again() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("not/yet");
        let findings = all(&dir, 0, None);
        let checks: Vec<_> = findings.iter().map(|finding| (finding.check, finding.outcome)).collect();
        assert_eq!(checks[0], ("spool", Outcome::Ok), "{findings:?}");
        assert_eq!(checks[2], ("spool room", Outcome::Ok), "{findings:?}");
        assert!(!home.path().join("not").exists());
        // Which mode a temporary directory has depends on the machine.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let here = all(home.path(), 0, None);
        assert_eq!(here[0].outcome, Outcome::Ok, "{here:?}");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_disk_is_judged_by_its_median() {
        let outcome = |median| judge(Duration::from_millis(median), Duration::from_secs(5)).outcome;
        assert_eq!([3, 99].map(outcome), [Outcome::Ok; 2]);
        assert_eq!([100, 699].map(outcome), [Outcome::Warning; 2]);
        assert_eq!(outcome(700), Outcome::Failure);
    }
}
