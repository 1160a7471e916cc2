//! How the C library keeps memory.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Read by the C library, once, when a process starts.
const ARENAS: &str = "MALLOC_ARENA_MAX";
/// It would make up to eight for each core, and each of them keeps the most that it ever held: after a busy hour tens of MiB more than is
/// in use. Two are as many as there are cores to wait for each other.
const FEW: &str = "2";

/// Begins this process anew with few arenas, unless somebody has said how many. Where that cannot be, all goes on as it is.
pub(super) fn with_few_arenas() {
    if !cfg!(target_env = "gnu") || std::env::var_os(ARENAS).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut args = std::env::args_os();
    let mut anew = Command::new(program);
    anew.env(ARENAS, FEW);
    if let Some(name) = args.next() {
        anew.arg0(name);
    }
    // It comes back only if it fails.
    let _failed = anew.args(args).exec();
}
