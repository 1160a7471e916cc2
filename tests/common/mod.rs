//! The recorder as its users run it: the binary with an environment of its own, a bucket, and a simulated Zoom.

pub(crate) mod browser;
pub(crate) mod bucket;
pub(crate) mod chance;
pub(crate) mod conformance;
pub(crate) mod hosting;
pub(crate) mod http;
pub(crate) mod loss;
pub(crate) mod measure;
pub(crate) mod media;
pub(crate) mod moto;
pub(crate) mod platter;
pub(crate) mod ports;
pub(crate) mod remote;
pub(crate) mod s3;
pub(crate) mod script;
pub(crate) mod small;
pub(crate) mod tls;
pub(crate) mod truth;

pub(crate) use bucket::{Bucket, Recording, sha256};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use rtms_recorder::simulator::{self, Credentials, MeetingSummary, Progress, Size, Summary};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub(crate) const CLIENT_ID: &str = "clientOfTheTests";
pub(crate) const CLIENT_SECRET: &str = "client-secret-that-no-text-may-show";
pub(crate) const SECRET_TOKEN: &str = "token-that-no-text-may-show";
/// The simulator's account.
pub(crate) const ACCOUNT: &str = "acSimulator1";

/// However slow the machine: nothing in these tests takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// Where a recorder lives: its directories and its environment. It can be started in it again and again.
pub(crate) struct Home {
    directory: TempDir,
    env: BTreeMap<String, String>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Home {
    /// With a directory for a bucket.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut home = Self { directory, env: BTreeMap::new(), lines: Arc::default() };
        let (spool, bucket) = (home.spool(), home.path("bucket"));
        for (name, value) in [
            ("ZOOM_CLIENT_ID", CLIENT_ID),
            ("ZOOM_CLIENT_SECRET", CLIENT_SECRET),
            ("ZOOM_SECRET_TOKEN", SECRET_TOKEN),
            ("ZOOM_ALLOWED_HOSTS", "127.0.0.1,localhost"),
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("ADMIN_ADDR", "127.0.0.1:0"),
            ("LOG_FORMAT", "json"),
            ("SPOOL_MIN_FREE", "1MiB"),
            // Tests of recordings look at recordings; `pages` looks at the list of them.
            ("CATALOGUE", "false"),
            ("SPOOL_DIR", spool.to_str().expect("temporary paths are UTF-8")),
            ("STORAGE_URL", bucket.to_str().expect("temporary paths are UTF-8")),
        ] {
            home.set(name, value);
        }
        home
    }

    /// With the bucket of an S3 server that may not run yet.
    pub(crate) fn with_s3(address: SocketAddr) -> Self {
        let mut home = Self::new();
        home.set("STORAGE_URL", &format!("s3://{}/team", s3::BUCKET));
        for (name, value) in s3::env(address) {
            home.set(&name, &value);
        }
        home
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// Has Zoom's REST API, and where its tokens are, at this address.
    pub(crate) fn set_zoom(&mut self, rest: SocketAddr) {
        self.set("ZOOM_API_URL", &format!("http://{rest}/v2"));
        self.set("ZOOM_OAUTH_URL", &format!("http://{rest}/oauth/token"));
    }

    /// Puts a script before ffmpeg: what it does comes first, and `$REAL` is the real one, which runs in its place at the end.
    pub(crate) fn wrap_ffmpeg(&mut self, script: &str) {
        let bin = self.path("bin");
        std::fs::create_dir(&bin).expect("a directory");
        let path = std::env::var("PATH").expect("a PATH");
        let real = std::env::split_paths(&path).map(|dir| dir.join("ffmpeg")).find(|file| file.exists());
        let real = real.expect("ffmpeg is installed");
        let script = format!("#!/bin/sh\nREAL={}\n{script}\nexec $REAL \"$@\"\n", real.display());
        std::fs::write(bin.join("ffmpeg"), script).expect("a file");
        std::fs::set_permissions(bin.join("ffmpeg"), Permissions::from_mode(0o755)).expect("a file of ours");
        self.set("PATH", &format!("{}:{path}", bin.display()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.env.remove(name);
    }

    /// Its environment.
    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        self.env.clone()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.path("spool")
    }

    /// The names of what is in the spool, by its paths relative to it; directories are left out.
    pub(crate) fn spool_files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut directories = vec![self.spool()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    directories.push(entry.path());
                } else {
                    let path = entry.path();
                    let path = path.strip_prefix(self.spool()).expect("it is in there");
                    files.push(path.to_str().expect("UTF-8").to_owned());
                }
            }
        }
        files.retain(|file| file != ".lock");
        files.sort();
        files
    }

    /// The directory of the only recording in the spool that is not over.
    pub(crate) fn spooled(&self) -> PathBuf {
        let mut found: Vec<_> = std::fs::read_dir(self.spool())
            .expect("the spool")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.join("start.json").exists())
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// The binary with this environment and nothing else of the developer's.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rtms-recorder"));
        command.args(args).env_clear().current_dir(self.directory.path());
        for name in ["PATH", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(&self.env).stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary runs")
    }

    /// Puts a file where the bucket's folder for the year has to be: until it is removed, no upload succeeds.
    pub(crate) fn block_bucket(&self) -> PathBuf {
        let bucket = self.path("bucket");
        std::fs::create_dir_all(&bucket).expect("a directory");
        let year = bucket.join(chrono::Utc::now().format("%Y").to_string());
        std::fs::write(&year, b"in the way").expect("a file");
        year
    }

    /// Starts `serve` and waits until it takes webhooks.
    pub(crate) async fn start(&self) -> Recorder {
        let mut child =
            self.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().expect("it is piped");
        let (of_run, of_home) = (Arc::clone(&lines), Arc::clone(&self.lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if std::env::var_os("SHOW_LOGS").is_some() {
                    eprintln!("{line}");
                }
                of_run.lock().unwrap().push(line.clone());
                of_home.lock().unwrap().push(line);
            }
        });
        let mut recorder = Recorder { child, lines, webhook: String::new(), admin: String::new() };
        let ready = recorder.wait_for("ready").await;
        if let Some(line) = recorder.logged("status page").first() {
            recorder.admin = line["address"].as_str().expect("an address").to_owned();
        }
        recorder.webhook = ready["webhook"].as_str().expect("an address").to_owned();
        recorder
    }

    /// The bucket in this home's environment.
    pub(crate) fn bucket(&self) -> Bucket {
        let url = &self.env["STORAGE_URL"];
        match url.strip_prefix("s3://") {
            Some(rest) => {
                let (bucket, prefix) = rest.split_once('/').expect("a prefix");
                let s3 = AmazonS3Builder::new()
                    .with_bucket_name(bucket)
                    .with_region("us-east-1")
                    .with_endpoint(&self.env["AWS_ENDPOINT"])
                    .with_access_key_id(s3::ACCESS_KEY)
                    .with_secret_access_key(s3::SECRET_KEY)
                    .with_allow_http(true)
                    .build();
                provide_crypto();
                Bucket { store: Arc::new(s3.expect("the settings are right")), prefix: format!("{prefix}/") }
            }
            None => {
                std::fs::create_dir_all(url).expect("a directory");
                let local = LocalFileSystem::new_with_prefix(url).expect("a directory");
                Bucket { store: Arc::new(local), prefix: String::new() }
            }
        }
    }
}

impl Drop for Home {
    /// Whatever a test is about, no log of it may show a secret.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for line in self.lines.lock().unwrap().iter() {
            for secret in [CLIENT_SECRET, SECRET_TOKEN, s3::SECRET_KEY] {
                assert!(!line.contains(secret), "a log line shows a secret: {line}");
            }
        }
    }
}

/// A recorder that runs. It is killed, with its children, when dropped.
pub(crate) struct Recorder {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Where it takes webhooks.
    pub(crate) webhook: String,
    /// Where its status page is; empty if that is off.
    pub(crate) admin: String,
}

impl Recorder {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let rest = self.webhook.strip_prefix("http://").expect("an address");
        rest.split('/').next().expect("a host").parse().expect("an address")
    }

    /// Where its status page listens.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        let rest = self.admin.strip_prefix("http://").expect("an address");
        rest.trim_end_matches('/').parse().expect("an address")
    }

    pub(crate) fn raw_log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The lines whose message, or any other field, contains `text`.
    pub(crate) fn logged(&self, text: &str) -> Vec<Value> {
        let contains = |value: &Value| value.as_str().is_some_and(|value| value.contains(text));
        let holds = |line: &Value| line.as_object().is_some_and(|fields| fields.values().any(contains));
        self.log().into_iter().filter(holds).collect()
    }

    /// Lines that are warnings or errors.
    pub(crate) fn complaints(&self) -> Vec<Value> {
        let bad = |line: &Value| matches!(line["level"].as_str(), Some("WARN" | "ERROR"));
        self.log().into_iter().filter(bad).collect()
    }

    /// Waits for a line that contains `text`, and returns the first one.
    pub(crate) async fn wait_for(&self, text: &str) -> Value {
        self.wait_for_many(text, 1).await.remove(0)
    }

    /// Waits for so many lines that contain `text`.
    pub(crate) async fn wait_for_many(&self, text: &str, count: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let found = self.logged(text);
            if found.len() >= count {
                return found;
            }
            assert!(began.elapsed() < LIMIT, "{count} times {text:?} was waited for in:\n{}", self.raw_log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until so many recordings are published, and the spool has been tidied.
    pub(crate) async fn published(&self, count: usize) {
        let began = Instant::now();
        loop {
            let found = self.log().iter().filter(|line| line["message"] == "published").count();
            if found >= count {
                return;
            }
            assert!(began.elapsed() < LIMIT, "{found} of {count} are published:\n{}", self.raw_log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The processes that it has started and that run, with their command lines.
    pub(crate) fn children(&self) -> Vec<(i32, String)> {
        children(self.pid())
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM; the exit status and how long it took.
    pub(crate) async fn terminate(mut self) -> (Option<i32>, Duration) {
        self.signal(rustix::process::Signal::TERM);
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return (status.code(), began.elapsed());
            }
            assert!(began.elapsed() < LIMIT, "it does not end:\n{}", self.raw_log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let children = self.children();
        self.child.kill().ok();
        self.child.wait().ok();
        for (child, _) in children {
            if let Some(pid) = rustix::process::Pid::from_raw(child) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
    }
}

fn children(pid: u32) -> Vec<(i32, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let pids: String = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok()).collect();
    let command = |pid: &i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let pids = pids.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.map(|pid: i32| (pid, command(&pid).replace('\0', " "))).collect()
}

/// Needed before any TLS client is made, plain connections or not.
pub(crate) fn provide_crypto() {
    // Every test wants it and only the first can.
    rustls::crypto::ring::default_provider().install_default().ok();
}

pub(crate) fn credentials() -> Credentials {
    Credentials {
        client_id: CLIENT_ID.to_owned(),
        client_secret: CLIENT_SECRET.to_owned(),
        secret_token: SECRET_TOKEN.to_owned(),
    }
}

/// A meeting of `length_s` seconds of small pictures, four times as fast as real ones.
pub(crate) fn meeting(to: &str, length_s: u64) -> simulator::Settings {
    let mut settings = simulator::Settings::new(credentials(), to);
    settings.length = Some(Duration::from_secs(length_s));
    settings.size = Size { width: 320, height: 180 };
    settings.kbit_per_s = 300;
    settings.speed = 4.0;
    settings
}

/// Begins to play it beside the test.
pub(crate) fn begin(settings: simulator::Settings) -> JoinHandle<Result<Summary, simulator::Error>> {
    provide_crypto();
    tokio::spawn(simulator::run(settings, Progress::silent()))
}

/// Plays it to its end.
pub(crate) async fn play(settings: simulator::Settings) -> Summary {
    provide_crypto();
    let summary = simulator::run(settings, Progress::silent()).await.expect("the meeting can be played");
    for meeting in &summary.meetings {
        assert_eq!(meeting.error, None, "{meeting}");
    }
    summary
}

/// Plays a single meeting that goes without a refusal.
pub(crate) async fn play_one(settings: simulator::Settings) -> MeetingSummary {
    let meeting = play(settings).await.meetings.remove(0);
    assert_eq!(meeting.refusals, Vec::<String>::new(), "{meeting}");
    meeting
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < LIMIT, "{what}: waited in vain");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Copies a directory of files.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}
