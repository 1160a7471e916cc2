//! What processes use, by `/proc`: CPU, memory, files, children.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Clock ticks of `/proc/PID/stat`: 100 a second on every Linux that there is.
const TICKS: f64 = 100.0;

/// A process and what it has started, at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Since the watch began.
    pub(crate) at_s: f64,
    /// Proportional set size of all of them, in bytes: what is shared counts once.
    pub(crate) pss: u64,
    /// Of the process itself.
    pub(crate) own_pss: u64,
    /// What of that is memory of its own: its heap and stacks, in memory or swapped out. The rest are pages of its executable, which the
    /// system drops and reads again as it likes.
    pub(crate) own_anon: u64,
    /// Open files of the process itself.
    pub(crate) fds: usize,
    pub(crate) children: usize,
}

impl Sample {
    pub(crate) fn of(pid: u32) -> Self {
        let children = children(pid);
        let own_pss = pss(pid);
        let own_anon = memory(pid, "Pss_Anon:") + memory(pid, "SwapPss:");
        Self {
            at_s: 0.0,
            pss: own_pss + children.iter().map(|&child| pss(child)).sum::<u64>(),
            own_pss,
            own_anon,
            fds: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count),
            children: children.len(),
        }
    }
}

/// Samples a process until it is stopped.
pub(crate) struct Watch {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Reading the memory of hundreds of children takes a while: `every` should be longer.
    pub(crate) fn start(pid: u32, every: Duration) -> Self {
        let (samples, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (into, until) = (Arc::clone(&samples), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let begun = Instant::now();
            while !until.load(Ordering::Relaxed) {
                let at_s = begun.elapsed().as_secs_f64();
                into.lock().expect("no panic").push(Sample { at_s, ..Sample::of(pid) });
                std::thread::sleep(every);
            }
        });
        Self { samples, stop, thread }
    }

    pub(crate) fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic");
        std::mem::take(&mut self.samples.lock().expect("no panic"))
    }
}

/// The mean memory of the second half, when all has settled, in bytes.
pub(crate) fn settled_pss(samples: &[Sample]) -> f64 {
    let half = &samples[samples.len() / 2..];
    half.iter().map(|sample| sample.pss as f64).sum::<f64>() / half.len().max(1) as f64
}

/// User and system time of a process and of all its children, in seconds.
pub(crate) fn tree_cpu_s(pid: u32) -> f64 {
    cpu_s(pid) + children(pid).into_iter().map(cpu_s).sum::<f64>()
}

/// User and system time of a process and of its children that have ended, in seconds.
pub(crate) fn cpu_s(pid: u32) -> f64 {
    stat(&pid.to_string(), 11, 4)
}

/// That of this process alone.
pub(crate) fn own_cpu_s() -> f64 {
    stat("self", 11, 2)
}

/// That of children of this process that have ended.
pub(crate) fn ended_cpu_s() -> f64 {
    stat("self", 13, 2)
}

fn stat(pid: &str, from: usize, count: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold blanks and brackets.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(from).take(count);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

fn pss(pid: u32) -> u64 {
    memory(pid, "Pss:")
}

fn memory(pid: u32, line: &str) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = rollup.lines().find_map(|of| of.strip_prefix(line)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}
