//! Strangers at the recorder's door while meetings are played: what they try, what came back, and whether Zoom's own
//! events were answered meanwhile.
//!
//! All is written byte by byte, since no decent client would send most of it. Times are real ones, whatever the speed.

use super::webhooks::{Hooks, Signed};
use super::{Error, Settings};
use crate::protocol::signature;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// What strangers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Attack {
    /// Start events that are not signed, or with another token.
    Forged,
    /// The meeting's own events once more, as they were, during the meeting and after it.
    Replayed,
    /// Start events that are signed well, and too old or from the future.
    Stale,
    /// Heads and bodies without an end.
    Huge,
    /// Heads and bodies that come a byte a second.
    Slow,
    /// Connections in a crowd, of which half say nothing.
    Flood,
}

/// What all of it came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Siege {
    /// Each attack.
    pub attacks: BTreeMap<Attack, Tries>,
    /// Events of Zoom's that were sent beside them, each over a new connection.
    pub probes: u64,
    /// The longest time until one of those was answered.
    pub slowest_ms: f64,
    /// What should not have happened, or the first of it.
    pub wrong: Vec<String>,
}

/// How often something was tried, and how often it ended how: a status, `closed`, or `nothing` if neither came.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tries {
    /// Connections.
    pub tries: u64,
    /// By outcome; what was under way at the end has none.
    pub answers: BTreeMap<String, u64>,
}

/// The attacks that run.
pub(super) struct Attackers {
    tasks: JoinSet<()>,
    scene: Arc<Scene>,
}

/// So much of what went wrong is told.
const MOST_WRONG: usize = 20;
/// How long an answer, or the end of the connection, is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Zoom counts a later answer as none.
const PROBE_WITHIN: Duration = Duration::from_secs(3);
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// How many strangers try the same at once, where it is no crowd.
const AT_ONCE: usize = 4;
const SLOW_AT_ONCE: usize = 40;
/// Where strangers would have the recorder connect to.
const NOWHERE: &str = "ws://127.0.0.1:9/stranger";
const PAUSE: Duration = Duration::from_millis(20);
/// Whoever is in a crowd that had to go comes back after this.
const PAUSE_IN_CROWD: Duration = Duration::from_secs(1);
/// Where "without an end" ends.
const HUGE_PIECE: usize = 64 << 10;
const HUGE_PIECES: usize = 1024;

struct Scene {
    door: Door,
    token: String,
    hooks: Arc<Hooks>,
    siege: Mutex<Siege>,
}

/// What is written over a connection: a beginning, then the same piece again and again.
#[derive(Default)]
struct Talk {
    head: Vec<u8>,
    piece: Vec<u8>,
    times: usize,
    pause: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Status(u16),
    Closed,
    Nothing,
}

impl Attackers {
    /// Starts what the settings ask for; nobody if that is nothing.
    pub(super) fn start(settings: &Settings, hooks: &Arc<Hooks>) -> Result<Option<Self>, Error> {
        if settings.attacks.is_empty() {
            return Ok(None);
        }
        let door = Door::new(&settings.webhooks.to)?;
        let token = settings.credentials.secret_token.clone();
        let scene = Arc::new(Scene { door, token, hooks: Arc::clone(hooks), siege: Mutex::default() });
        let mut tasks = JoinSet::new();
        for &attack in &settings.attacks {
            let strangers = match attack {
                Attack::Slow => SLOW_AT_ONCE,
                Attack::Flood => settings.crowd,
                _ => AT_ONCE,
            };
            scene.siege.lock().attacks.entry(attack).or_default();
            for number in 0..strangers {
                tasks.spawn(Arc::clone(&scene).go_on(attack, number));
            }
        }
        tasks.spawn(Arc::clone(&scene).probe());
        Ok(Some(Self { tasks, scene }))
    }

    /// Ends them, after what was replayed in the meeting is replayed once more.
    pub(super) async fn finish(mut self) -> Siege {
        let replays = self.scene.siege.lock().attacks.contains_key(&Attack::Replayed);
        self.tasks.shutdown().await;
        for number in 0..if replays { self.scene.hooks.captured().len() } else { 0 } {
            self.scene.attempt(Attack::Replayed, number).await;
        }
        std::mem::take(&mut *self.scene.siege.lock())
    }
}

impl Scene {
    async fn go_on(self: Arc<Self>, attack: Attack, stranger: usize) {
        for number in stranger.. {
            self.attempt(attack, number).await;
            sleep(if attack == Attack::Flood { PAUSE_IN_CROWD } else { PAUSE }).await;
        }
    }

    async fn attempt(&self, attack: Attack, number: usize) {
        let Some(talk) = self.talk(attack, number) else { return };
        self.siege.lock().attacks.entry(attack).or_default().tries += 1;
        let outcome = self.door.talk(talk).await;
        let mut siege = self.siege.lock();
        *siege.attacks.entry(attack).or_default().answers.entry(outcome.to_string()).or_default() += 1;
        if !attack.may_end(outcome) && siege.wrong.len() < MOST_WRONG {
            siege.wrong.push(format!("{attack:?}: {outcome}"));
        }
    }

    fn talk(&self, attack: Attack, number: usize) -> Option<Talk> {
        let now_s = chrono::Utc::now().timestamp();
        let body = json!({"event": "meeting.rtms_started", "event_ts": now_s * 1000, "payload": {
            "meeting_uuid": "ofAStranger", "rtms_stream_id": format!("{attack:?}{number}"),
            "server_urls": NOWHERE}})
        .to_string();
        let signed = |token: &str, at_s: i64| Signed::new(token, at_s, body.clone());
        let whole = |signed: &Signed| Talk { head: self.door.post(&signed.headers(), &signed.body), ..Talk::default() };
        Some(match (attack, number % 3) {
            (Attack::Forged, 0) => whole(&signed("the token of another app", now_s)),
            (Attack::Forged, 1) => whole(&Signed { signature: format!("v0={:064}", number), ..signed("", now_s) }),
            (Attack::Forged, _) => Talk { head: self.door.post("", &body), ..Talk::default() },
            (Attack::Stale, 0) => whole(&signed(&self.token, now_s + 2 * signature::WINDOW_S)),
            (Attack::Stale, _) => whole(&signed(&self.token, now_s - signature::WINDOW_S - 1)),
            (Attack::Replayed, _) => {
                let captured = self.hooks.captured();
                whole(captured.get(number % captured.len().max(1))?)
            }
            (Attack::Huge, kind) => {
                let piece = match kind {
                    1 => [format!("{HUGE_PIECE:x}\r\n").as_bytes(), &[b'x'; HUGE_PIECE], b"\r\n"].concat(),
                    _ => vec![b'x'; HUGE_PIECE],
                };
                let more = ["content-length: 1073741824\r\n\r\n", "transfer-encoding: chunked\r\n\r\n", "x: "][kind];
                Talk { head: self.door.head(more), piece, times: HUGE_PIECES, pause: Duration::ZERO }
            }
            (Attack::Slow, kind) => {
                let more = ["content-length: 1000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n3e8\r\n", "x: "][kind];
                let times = 2 * PATIENCE.as_secs() as usize;
                Talk { head: self.door.head(more), piece: b"x".to_vec(), times, pause: Duration::from_secs(1) }
            }
            (Attack::Flood, _) if number.is_multiple_of(2) => {
                Talk { head: self.door.post("", &body), ..Talk::default() }
            }
            (Attack::Flood, _) => Talk::default(),
        })
    }

    /// Zoom goes on as if nothing was.
    async fn probe(self: Arc<Self>) {
        loop {
            let body =
                json!({"event": "meeting.started", "event_ts": chrono::Utc::now().timestamp_millis(), "payload": {}});
            let signed = Signed::new(&self.token, chrono::Utc::now().timestamp(), body.to_string());
            let talk = Talk { head: self.door.post(&signed.headers(), &signed.body), ..Talk::default() };
            let began = Instant::now();
            let outcome = timeout(PROBE_WITHIN, self.door.talk(talk)).await.unwrap_or(Outcome::Nothing);
            {
                let mut siege = self.siege.lock();
                siege.probes += 1;
                siege.slowest_ms = siege.slowest_ms.max(began.elapsed().as_secs_f64() * 1000.0);
                if outcome != Outcome::Status(200) && siege.wrong.len() < MOST_WRONG {
                    siege.wrong.push(format!("an event of Zoom's: {outcome} within {PROBE_WITHIN:?}"));
                }
            }
            sleep(PROBE_EVERY).await;
        }
    }
}

impl Attack {
    /// Whoever is in a crowd may have to make room before there is an answer.
    fn may_end(self, outcome: Outcome) -> bool {
        let Outcome::Status(status) = outcome else { return outcome == Outcome::Closed };
        match self {
            Self::Forged | Self::Stale | Self::Flood => status == 401,
            Self::Replayed => status == 200,
            Self::Huge => [400, 413, 431, 503].contains(&status),
            Self::Slow => status == 408,
        }
    }
}

/// The recorder's webhook.
struct Door {
    authority: String,
    path: String,
}

impl Door {
    fn new(to: &str) -> Result<Self, Error> {
        let url = reqwest::Url::parse(to).ok().filter(|url| url.scheme() == "http");
        let url = url.ok_or_else(|| Error::Settings("--attack needs an http:// address for --to".into()))?;
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
        Ok(Self { authority: format!("{host}:{port}"), path: url.path().to_owned() })
    }

    /// The head of a request, with these lines besides, of which the last one may be open.
    fn head(&self, more: &str) -> Vec<u8> {
        format!("POST {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{more}", self.path, self.authority).into_bytes()
    }

    fn post(&self, headers: &str, body: &str) -> Vec<u8> {
        self.head(&format!("{headers}content-length: {}\r\n\r\n{body}", body.len()))
    }

    async fn talk(&self, talk: Talk) -> Outcome {
        let Ok(Ok(mut socket)) = timeout(PATIENCE, TcpStream::connect(&self.authority)).await else {
            return Outcome::Closed;
        };
        let (mut read, mut write) = socket.split();
        let mut answer = [0; 64];
        let hear = async {
            match read.read(&mut answer).await {
                Ok(count) if count > 0 => {
                    let status = answer[..count].split(|&byte| byte == b' ').nth(1);
                    let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
                    status.map_or(Outcome::Closed, Outcome::Status)
                }
                _ => Outcome::Closed,
            }
        };
        let say = async {
            let mut open = write.write_all(&talk.head).await.is_ok();
            for _ in 0..talk.times {
                sleep(talk.pause).await;
                open = open && write.write_all(&talk.piece).await.is_ok();
            }
            // Who may say no more may still be answered.
            sleep(PATIENCE).await;
        };
        tokio::select! {
            biased;
            outcome = hear => outcome,
            () = say => Outcome::Nothing,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status}"),
            Self::Closed => f.write_str("closed"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Siege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (attack, Tries { tries, answers }) in &self.attacks {
            let answers: Vec<String> = answers.iter().map(|(how, count)| format!("{how} {count} times")).collect();
            writeln!(f, "attack {attack:?}: {tries} tries; {}", answers.join(", "))?;
        }
        writeln!(
            f,
            "meanwhile {} events of Zoom's were sent, the slowest took {:.0} ms",
            self.probes, self.slowest_ms
        )?;
        self.wrong.iter().try_for_each(|wrong| writeln!(f, "  WRONG       {wrong}"))
    }
}
