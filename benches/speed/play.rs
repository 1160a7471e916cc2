//! Meetings played at a recorder, each a process of its own.

use crate::process::{self, Watch};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const CLIENT_ID: &str = "benchClientId";
pub(crate) const CLIENT_SECRET: &str = "bench-client-secret";
pub(crate) const SECRET_TOKEN: &str = "bench-secret-token";

/// However slow the machine: a recorder that takes longer than this for the rest of a recording hangs.
const LIMIT: Duration = Duration::from_secs(900);

/// A recorder that runs, with a spool and a bucket of its own. Dropped, it is told to end.
pub(crate) struct Recorder {
    child: Child,
    home: TempDir,
    webhook: String,
    lines: Arc<Mutex<Vec<Value>>>,
    /// What starting up took: it looks at ffmpeg then.
    idle_cpu_s: f64,
}

/// What a meeting is like; the rest is the simulator's default: 720p25 H.264 at 1.5 Mbit/s and speech at 16 kHz.
#[derive(Clone, Debug)]
pub(crate) struct Meetings {
    pub(crate) count: usize,
    pub(crate) length_s: f64,
    pub(crate) speed: f64,
    pub(crate) stagger_s: f64,
    /// More for the simulator.
    pub(crate) args: Vec<&'static str>,
}

/// What came of them.
pub(crate) struct Played {
    /// The simulator's summary of each meeting.
    pub(crate) meetings: Vec<Value>,
    /// When the simulator had ended.
    pub(crate) ended: Instant,
    pub(crate) load_cpu_s: f64,
}

impl Meetings {
    pub(crate) fn new(count: usize, length_s: f64) -> Self {
        Self { count, length_s, speed: 1.0, stagger_s: 0.0, args: Vec::new() }
    }

    pub(crate) fn media_hours(&self) -> f64 {
        self.count as f64 * self.length_s / 3600.0
    }

    /// Starts the simulator.
    pub(crate) fn start(&self, webhook: &str) -> Simulator {
        let child = Command::new(env!("CARGO_BIN_EXE_rtms-recorder"))
            .args(["simulate", "--json", "--to", webhook, "--meetings", &self.count.to_string()])
            .args(["--length", &format!("{}s", self.length_s), "--speed", &self.speed.to_string()])
            .args(["--stagger", &self.stagger_s.to_string()])
            .args(&self.args)
            .env("ZOOM_CLIENT_ID", CLIENT_ID)
            .env("ZOOM_CLIENT_SECRET", CLIENT_SECRET)
            .env("ZOOM_SECRET_TOKEN", SECRET_TOKEN)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the simulator starts");
        let pid = child.id();
        Simulator { pid, waiting: std::thread::spawn(move || wait(child)) }
    }
}

/// A simulator that runs.
pub(crate) struct Simulator {
    pid: u32,
    waiting: std::thread::JoinHandle<Played>,
}

impl Simulator {
    /// CPU so far, in seconds.
    pub(crate) fn cpu_s(&self) -> f64 {
        process::cpu_s(self.pid)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.waiting.is_finished()
    }

    pub(crate) fn finish(self) -> Played {
        self.waiting.join().expect("no panic")
    }
}

fn wait(child: Child) -> Played {
    let before = process::ended_cpu_s();
    let Output { stdout, .. } = child.wait_with_output().expect("the simulator ends");
    let ended = Instant::now();
    let summary: Value = serde_json::from_slice(&stdout).expect("the simulator's summary");
    let meetings = summary["meetings"].as_array().cloned().unwrap_or_default();
    Played { meetings, ended, load_cpu_s: process::ended_cpu_s() - before }
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut child = Command::new(env!("CARGO_BIN_EXE_rtms-recorder"))
            .arg("serve")
            .env_clear()
            .envs(["PATH", "HOME"].into_iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))))
            .env("ZOOM_CLIENT_ID", CLIENT_ID)
            .env("ZOOM_CLIENT_SECRET", CLIENT_SECRET)
            .env("ZOOM_SECRET_TOKEN", SECRET_TOKEN)
            .env("ZOOM_ALLOWED_HOSTS", "127.0.0.1")
            .envs([
                ("HOST", "127.0.0.1"),
                ("PORT", "0"),
                ("ADMIN_ADDR", "off"),
                ("LOG_FORMAT", "json"),
                ("SPOOL_MIN_FREE", "1GiB"),
            ])
            .env("SPOOL_DIR", home.path().join("spool"))
            .env("STORAGE_URL", home.path().join("bucket"))
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the recorder starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&lines);
        let stderr = child.stderr.take().expect("it is piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if matches!(line["level"].as_str(), Some("WARN" | "ERROR")) {
                    eprintln!("bench: the recorder says: {line}");
                }
                into.lock().expect("no panic").push(line);
            }
        });
        let mut recorder = Self { child, home, webhook: String::new(), lines, idle_cpu_s: 0.0 };
        recorder.await_lines("ready", 1);
        recorder.await_lines("found ffmpeg", 1);
        let ready = recorder.lines("ready").remove(0);
        recorder.webhook = ready["webhook"].as_str().expect("an address").to_owned();
        recorder.idle_cpu_s = recorder.cpu_s();
        recorder
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn webhook(&self) -> &str {
        &self.webhook
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.home.path().join("spool")
    }

    pub(crate) fn watch(&self, every: Duration) -> Watch {
        Watch::start(self.pid(), every)
    }

    /// CPU of it and its children since it was ready.
    pub(crate) fn cpu_s(&self) -> f64 {
        process::tree_cpu_s(self.pid()) - self.idle_cpu_s
    }

    /// Waits until so many recordings are published.
    pub(crate) fn await_published(&self, count: usize) {
        self.await_lines("published", count);
    }

    fn lines(&self, message: &str) -> Vec<Value> {
        let lines = self.lines.lock().expect("no panic");
        lines.iter().filter(|line| line["message"] == message).cloned().collect()
    }

    fn await_lines(&self, message: &str, count: usize) {
        let begun = Instant::now();
        while self.lines(message).len() < count {
            assert!(begun.elapsed() < LIMIT, "{count} times {message:?} was waited for");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All manifests in the bucket, each with its folder.
    pub(crate) fn manifests(&self) -> Vec<(PathBuf, Value)> {
        let mut found = Vec::new();
        walk(&self.home.path().join("bucket"), &mut |path| {
            if path.file_name().is_some_and(|name| name == "manifest.json") {
                let manifest = fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok());
                found.push((path.parent().expect("it has one").to_owned(), manifest.unwrap_or_default()));
            }
        });
        found
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It stops its children.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        self.child.wait().ok();
    }
}

fn walk(dir: &Path, each: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { walk(&path, each) } else { each(&path) }
    }
}
