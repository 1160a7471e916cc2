//! The connection state machine, driven through whatever Zoom and the network may do, in virtual time.
//!
//! The bench keeps its own books of which sockets there are; see `Bench::carry_out` and `Bench::drain` for what is held
//! to be true.

use crate::input::{Input, Seed};
use rtms_recorder::ids::{MeetingId, Product, StreamId};
use rtms_recorder::protocol::link::{self, Conn, Link, Now, Output, Report, RunId, Settings, Timing};
use rtms_recorder::protocol::message::{self, Identity, Medium};
use rtms_recorder::protocol::server_urls::{AllowedHosts, ServerUrl};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const UNIX_MS: i64 = 1_795_000_000_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What the driver would have of a connection that was not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Socket {
    Dialling,
    Open,
}

struct Bench {
    link: Link,
    hosts: AllowedHosts,
    now: Duration,
    last_run: u32,
    sockets: BTreeMap<Conn, (RunId, Socket)>,
    /// Every run there ever was, for news of old ones.
    runs: Vec<RunId>,
    connected: HashSet<RunId>,
    lost: HashSet<RunId>,
    ended: bool,
}

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bench = Bench::new(&mut input);
    let mut steps = 0;
    while !input.is_empty() && steps < 400 {
        bench.step(&mut input);
        steps += 1;
    }
    bench.silence();
}

impl Bench {
    fn new(input: &mut Input) -> Self {
        let hosts = AllowedHosts::new(".zoom.us");
        let wanted = input.u8();
        let media = Medium::ALL.into_iter().filter(|medium| i64::from(wanted) & medium.bit() != 0);
        let settings = Settings {
            product: Product::Meeting,
            media: media.map(|medium| (medium, json!({}))).collect(),
            allowed_hosts: hosts.clone(),
            timing: Timing::default(),
        };
        let keys = if wanted & 0x20 == 0 { &["meeting_uuid"][..] } else { &["meeting_uuid", "webinar_uuid"] };
        let identities = keys.iter().map(|&id_key| Identity {
            id_key,
            id: MeetingId::new("m=="),
            stream_id: StreamId::new("s"),
            signature: "f00".into(),
        });
        let now = Now { instant: *START, unix_ms: UNIX_MS };
        let mut bench = Self {
            link: Link::new(settings, identities.collect(), url(&hosts, "wss://a.zoom.us"), now),
            hosts,
            now: Duration::ZERO,
            last_run: 0,
            sockets: BTreeMap::new(),
            runs: Vec::new(),
            connected: HashSet::new(),
            lost: HashSet::new(),
            ended: false,
        };
        bench.drain(None);
        bench
    }

    fn now(&self) -> Now {
        Now { instant: *START + self.now, unix_ms: UNIX_MS + self.now.as_millis() as i64 }
    }

    fn handle(&mut self, input: link::Input<'_>) {
        crate::trace!("{:?} in {}", self.now, show(&input));
        let opened = if let link::Input::Opened(run) = input { Some(run) } else { None };
        self.link.handle(self.now(), input);
        self.drain(opened);
    }

    /// Carries out what the link wants, and ticks as long as it wants that now.
    fn drain(&mut self, mut opened: Option<RunId>) {
        for _ in 0..8 {
            while let Some(output) = self.link.poll() {
                self.carry_out(output, opened);
            }
            opened = None;
            let Some(deadline) = self.link.deadline() else {
                assert!(self.ended, "it waits for nothing and has not ended");
                return;
            };
            assert!(!self.ended, "it goes on after its end");
            if deadline > *START + self.now {
                return;
            }
            self.link.handle(self.now(), link::Input::Tick);
        }
        panic!("its deadline stays in the past: a driver would spin");
    }

    fn carry_out(&mut self, output: Output, opened: Option<RunId>) {
        crate::trace!("{:?} out {output:?}", self.now);
        assert!(!self.ended, "{output:?} after the end");
        match output {
            Output::Dial(run, url) => {
                assert!(run.run > self.last_run, "{run:?} is not new");
                self.last_run = run.run;
                assert!(self.hosts.check(url.as_str()).is_ok(), "{url} is not to be opened");
                let before = self.sockets.insert(run.conn, (run, Socket::Dialling));
                assert_eq!(before, None, "a second socket for the same thing: {run:?}");
                self.runs.push(run);
            }
            Output::Send(run, text) => {
                let socket = self.sockets.get(&run.conn);
                assert_eq!(socket, Some(&(run, Socket::Open)), "{text} is sent where nothing is open");
                let kind = message::peek_type(text.as_bytes()).expect("we send JSON");
                let fits = match kind {
                    1 | 5 | 7 => run.conn == Conn::Signaling,
                    3 => run.conn != Conn::Signaling,
                    13 => true,
                    _ => false,
                };
                assert!(fits, "{text} to {run:?}");
            }
            Output::Close(run) => {
                let ours = self.sockets.get(&run.conn).is_some_and(|(current, _)| *current == run);
                assert!(ours || opened == Some(run), "{run:?} is closed, but it is not there");
                if ours {
                    self.sockets.remove(&run.conn);
                }
            }
            Output::Report(Report::Connected(run, _)) => {
                assert_eq!(self.sockets.get(&run.conn), Some(&(run, Socket::Open)), "{run:?} is not open");
                assert!(self.connected.insert(run), "{run:?} connected twice");
            }
            Output::Report(Report::Lost(run, _)) => {
                assert!(self.connected.contains(&run), "{run:?} was lost and never connected");
                assert!(self.lost.insert(run), "{run:?} was lost twice");
            }
            Output::Report(Report::Refused { .. }) => {}
            Output::Ended(_) => {
                self.ended = true;
                self.sockets.clear();
            }
        }
    }

    fn step(&mut self, input: &mut Input) {
        match input.u8() % 16 {
            0..=2 => self.open(input),
            3 => {
                if let Some(run) = self.find(input, Socket::Dialling) {
                    self.sockets.remove(&run.conn);
                    self.handle(link::Input::Failed(run, "refused".into()));
                }
            }
            4 => {
                if let Some(run) = self.find(input, Socket::Open) {
                    self.sockets.remove(&run.conn);
                    self.handle(link::Input::Closed(run, link::Loss::new(link::Cause::Closed, "1006")));
                }
            }
            5..=9 => {
                if let Some(run) = self.find(input, Socket::Open) {
                    let (kind, bytes) = message_of(input, run.conn);
                    self.handle(link::Input::Received(run, kind, &bytes));
                }
            }
            10 => self.stale(input),
            11 => {
                let to = input.pick(&["wss://a.zoom.us", "wss://b.zoom.us/x"]);
                let to = url(&self.hosts, to);
                self.handle(link::Input::Restarted(to));
            }
            12 if input.u8() < 128 => {
                let event_ts = self.now().unix_ms.saturating_add(input.pick(&[0, -5000, 5000]));
                self.handle(link::Input::Interrupted(event_ts));
            }
            12 if input.u8() < 64 => self.handle(link::Input::StopEvent(Some(6))),
            13 => self.wait(),
            _ => {
                // The driver never sleeps beyond the deadline, if only by little.
                let step = Duration::from_millis(u64::from(input.u8()) * 20);
                let late = self.link.deadline().map_or(step, |deadline| {
                    deadline.saturating_duration_since(*START + self.now) + Duration::from_millis(3)
                });
                self.now += step.min(late);
                self.handle(link::Input::Tick);
            }
        }
        for conn in [Conn::Signaling, Conn::Media(Medium::Audio), Conn::Media(Medium::Video)] {
            if !self.ended && self.link.is_up(conn) {
                let socket = self.sockets.get(&conn);
                let is_open =
                    socket.is_some_and(|(run, socket)| *socket == Socket::Open && self.connected.contains(run));
                assert!(is_open, "{conn} counts as up: {socket:?}");
            }
        }
    }

    fn open(&mut self, input: &mut Input) {
        if let Some(run) = self.find(input, Socket::Dialling) {
            self.sockets.insert(run.conn, (run, Socket::Open));
            self.handle(link::Input::Opened(run));
        }
    }

    /// News of any socket there ever was, as they come when it was closed meanwhile.
    fn stale(&mut self, input: &mut Input) {
        let old: Vec<RunId> = self
            .runs
            .iter()
            .copied()
            .filter(|run| self.sockets.get(&run.conn).is_none_or(|(now, _)| now != run))
            .collect();
        if old.is_empty() {
            return;
        }
        let run = input.pick(&old[old.len().saturating_sub(200)..]);
        match input.u8() % 4 {
            0 => self.handle(link::Input::Opened(run)),
            1 => self.handle(link::Input::Failed(run, "old".into())),
            2 => self.handle(link::Input::Closed(run, link::Loss::new(link::Cause::Closed, "old"))),
            _ => {
                let (kind, bytes) = message_of(input, run.conn);
                self.handle(link::Input::Received(run, kind, &bytes));
            }
        }
    }

    fn find(&mut self, input: &mut Input, wanted: Socket) -> Option<RunId> {
        let there = self.sockets.values().filter(|(_, socket)| *socket == wanted);
        let there: Vec<RunId> = there.map(|(run, _)| *run).collect();
        (!there.is_empty()).then(|| input.pick(&there))
    }

    /// Until the link wants something.
    fn wait(&mut self) {
        if let Some(deadline) = self.link.deadline() {
            self.now = self.now.max(deadline - *START);
            self.handle(link::Input::Tick);
        }
    }

    /// Nothing is heard any more: that ends every stream.
    fn silence(&mut self) {
        let (started, timing) = (self.now, Timing::default());
        let limit = timing.watchdog + timing.handshake + timing.give_up + timing.terminating + timing.drain;
        for _ in 0..1000 {
            if self.ended {
                return;
            }
            self.wait();
            assert!(self.now - started <= limit, "{:?} of silence have not ended it", self.now - started);
        }
        panic!("it asks for ticks for ever");
    }
}

fn show(input: &link::Input<'_>) -> String {
    match input {
        link::Input::Received(run, _, bytes) => format!("{run:?} {}", String::from_utf8_lossy(bytes)),
        other => format!("{other:?}"),
    }
}

fn url(hosts: &AllowedHosts, text: &str) -> ServerUrl {
    hosts.check(text).expect("an address on the list")
}

/// Something that Zoom may say; mostly what fits the moment.
fn message_of(input: &mut Input, conn: Conn) -> (i64, Vec<u8>) {
    let reasons = ["", "DUPLICATE_MEDIA_DATA_CONNECTION", "MEDIA_TYPE_VIDEO_NOT_SUPPORT", "x"];
    let value = match input.u8() % 12 {
        0..=2 => {
            let status = input.pick(&[json!(0), json!(0), json!("0"), json!(4), Value::Null]);
            let urls = input.pick(&[
                json!({"all": "wss://m.zoom.us/z"}),
                json!({"audio": "wss://m.zoom.us/a", "video": "wss://evil.test/"}),
                json!("wss://m.zoom.us"),
                Value::Null,
            ]);
            match conn {
                Conn::Signaling => json!({"msg_type": 2, "status_code": status, "reason": input.pick(&reasons),
                                          "media_server": {"server_urls": urls}}),
                Conn::Media(_) => json!({"msg_type": 4, "status_code": status, "reason": input.pick(&reasons),
                                         "payload_encrypted": input.u8() > 250}),
            }
        }
        3 => json!({"msg_type": 12, "timestamp": input.step_ms()}),
        4 => json!({"msg_type": 6, "event": {"event_type": input.below(9), "timestamp": 1}}),
        5 => json!({"msg_type": 8, "state": input.below(6), "reason": input.below(20)}),
        6 => json!({"msg_type": 8, "state": 2, "reason": input.pick(&[13, 14])}),
        7 => json!({"msg_type": 9, "state": input.below(6), "timestamp": 1}),
        8 | 9 => json!({"msg_type": 14 + input.below(5), "content": {"data": ""}}),
        10 => json!({"msg_type": input.below(20), "status_code": 0}),
        _ => {
            let bytes = input.chunk().to_vec();
            return (message::peek_type(&bytes).unwrap_or(0), bytes);
        }
    };
    let bytes = value.to_string().into_bytes();
    (message::peek_type(&bytes).expect("an object"), bytes)
}

pub fn seeds() -> Vec<Vec<u8>> {
    // Media; signaling opens and answers, then two media.
    let up = [3, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 5, 1, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0];
    let then = |rest: &[u8]| Seed::default().raw(&up).raw(rest).0;
    vec![
        then(&[13, 13, 13, 13, 13]),
        then(&[5, 0, 5, 4, 0, 13, 13]),
        then(&[14, 200, 5, 1, 8, 0, 5, 0, 4, 7, 0, 0]),
        then(&[4, 0, 0, 0, 5, 0, 0, 4, 0, 0, 13, 13]),
        then(&[11, 1, 0, 0, 10, 0, 0, 10, 0, 3]),
        then(&[12, 0, 0, 0, 12, 200, 0, 13]),
        Seed::default().raw(&[0x3f, 3, 0, 13, 3, 0, 13, 0, 0, 4, 0, 13, 13]).0,
    ]
}
