//! A disk that is small: a tmpfs of our own.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says that this process is the one in a name space of its own.
const INSIDE: &str = "SMALL_DISK_INSIDE";
/// Lets tests pass that need a small disk where none is to be had.
const SKIP: &str = "SMALL_DISK_SKIP";

/// A mounted tmpfs; unmounted when dropped. Drop it after the recorder.
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one over a directory, which is made.
    pub(crate) fn over(path: &Path, size: &str) -> Self {
        std::fs::create_dir_all(path).expect("a directory");
        mount(path, size).unwrap_or_else(|said| panic!("mounting a tmpfs: {said}"));
        Self { path: path.to_owned() }
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.path).expect("it is there");
        stat.f_bavail * stat.f_frsize
    }

    /// Leaves so many bytes free. What was filled before counts anew.
    pub(crate) fn leave(&self, bytes: u64) {
        use std::io::Write;
        self.free();
        let mut filler = std::fs::File::create(self.filler()).expect("a file");
        let block = vec![0; 64 << 10];
        while self.free_bytes() > bytes {
            let wanted = (self.free_bytes() - bytes).min(block.len() as u64) as usize;
            if filler.write_all(&block[..wanted]).is_err() {
                break;
            }
        }
    }

    /// Gives back what was filled.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.filler()).ok();
    }

    /// The spool passes over what is no recording.
    fn filler(&self) -> PathBuf {
        self.path.join("filler,not-a-recording")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What still has a file open there ends soon.
        Command::new("umount").arg("-l").arg(&self.path).output().ok();
    }
}

fn mount(path: &Path, size: &str) -> Result<(), String> {
    let options = format!("size={size},mode=700");
    let output = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
    let output = output.map_err(|err| err.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// Runs a test where it may mount: here, as root, or else in a process that is root in a name space of its own. `name` is
/// the test's, with its module's.
pub(crate) fn run(name: &str, test: impl Future<Output = ()>) {
    let here = tempfile::tempdir().expect("a directory");
    match mount(here.path(), "1m") {
        Ok(()) => {
            Command::new("umount").arg(here.path()).output().ok();
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
            runtime.block_on(test);
        }
        Err(said) if std::env::var_os(INSIDE).is_none() => {
            let exe = std::env::current_exe().expect("this program");
            let mut command = Command::new("unshare");
            command.args(["-Urm", "--map-root-user"]).arg(exe).args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
            let output = command.output().expect("unshare is there");
            let printed = String::from_utf8_lossy(&output.stdout);
            println!("{printed}{}", String::from_utf8_lossy(&output.stderr));
            if printed.contains("1 passed") {
                return;
            }
            not_possible(&format!("mount said {said:?}; unshare -Urm ended with {}", output.status));
        }
        Err(said) => not_possible(&said),
    }
}

fn not_possible(why: &str) {
    let what = format!("this test needs a small disk: run it as root, or allow user name spaces ({why})");
    if std::env::var_os(SKIP).is_none() {
        panic!("{what}; {SKIP}=1 lets it pass without having run");
    }
    println!("NOT RUN: {what}");
}
