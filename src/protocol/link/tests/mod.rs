mod endings;
mod mock_server;

use super::*;
use crate::ids::{MeetingId, StreamId};
use crate::protocol::server_urls::AllowedHosts;
use serde_json::json;
use std::time::Duration;

/// A link in virtual time, with a script of what Zoom does.
struct Bench {
    link: Link,
    start: Instant,
    now: Duration,
}

impl Bench {
    fn new(media: &[Medium], id_keys: &[&'static str]) -> Self {
        let start = Instant::now_for_tests();
        let settings = Settings {
            product: crate::ids::Product::Meeting,
            media: media.iter().map(|&medium| (medium, json!({}))).collect(),
            allowed_hosts: AllowedHosts::new(".zoom.us"),
            timing: Timing::default(),
        };
        let identities = id_keys.iter().map(|&id_key| Identity {
            id_key,
            id: MeetingId::new("m=="),
            stream_id: StreamId::new("s"),
            signature: "f00".into(),
        });
        let url = settings.allowed_hosts.check("wss://a.zoom.us").unwrap();
        let link = Link::new(settings, identities.collect(), url, Now { instant: start, unix_ms: 0 });
        Self { link, start, now: Duration::ZERO }
    }

    fn input(&mut self, input: Input<'_>) -> Vec<Output> {
        let now = Now { instant: self.start + self.now, unix_ms: 1000 };
        self.link.handle(now, input);
        std::iter::from_fn(|| self.link.poll()).collect()
    }

    fn receive(&mut self, run: RunId, message: &Value) -> Vec<Output> {
        let bytes = message.to_string();
        self.input(Input::Received(run, message::peek_type(bytes.as_bytes()).unwrap(), bytes.as_bytes()))
    }

    /// Lets time pass until something is to be done.
    fn wait(&mut self) -> Vec<Output> {
        for _ in 0..1000 {
            let Some(deadline) = self.link.deadline() else { return Vec::new() };
            self.now = self.now.max(deadline - self.start);
            let outputs = self.input(Input::Tick);
            if !outputs.is_empty() {
                return outputs;
            }
        }
        panic!("the link asks for ticks for ever");
    }

    fn first(&mut self) -> RunId {
        dialled(&self.input(Input::Tick))[0]
    }

    /// Opens `run`, checks that it greets, and answers yes.
    fn accept(&mut self, run: RunId) -> Vec<Output> {
        let greeting = self.input(Input::Opened(run));
        assert!(matches!(greeting[..], [Output::Send(r, _)] if r == run), "{greeting:?}");
        match run.conn {
            Conn::Signaling => self.receive(
                run,
                &json!({"msg_type": 2, "status_code": 0,
                        "media_server": {"server_urls": {"audio": "wss://m.zoom.us/a", "all": "wss://m.zoom.us/z"}}}),
            ),
            Conn::Media(_) => self.receive(run, &json!({"msg_type": 4, "status_code": 0})),
        }
    }

    /// Brings everything up; returns the runs, signaling first.
    fn all_up(&mut self) -> Vec<RunId> {
        let signaling = self.first();
        let media = dialled(&self.accept(signaling));
        for &run in &media {
            self.accept(run);
        }
        [vec![signaling], media].concat()
    }
}

trait TestClock {
    #[allow(clippy::disallowed_methods, reason = "any instant will do as the zero of virtual time")]
    fn now_for_tests() -> Instant {
        Instant::now()
    }
}

impl TestClock for Instant {}

fn dialled(outputs: &[Output]) -> Vec<RunId> {
    outputs.iter().filter_map(|output| if let Output::Dial(run, _) = output { Some(*run) } else { None }).collect()
}

fn sent(outputs: &[Output]) -> Vec<(Conn, i64)> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send(run, text) => Some((run.conn, message::peek_type(text.as_bytes()).unwrap())),
            _ => None,
        })
        .collect()
}

fn closed(outputs: &[Output]) -> Vec<RunId> {
    outputs.iter().filter_map(|output| if let Output::Close(run) = output { Some(*run) } else { None }).collect()
}

fn ended(outputs: &[Output]) -> Option<Ended> {
    outputs.iter().find_map(|output| if let Output::Ended(ended) = output { Some(*ended) } else { None })
}

const AUDIO: Conn = Conn::Media(Medium::Audio);
const VIDEO: Conn = Conn::Media(Medium::Video);

#[test]
fn the_sequence_of_a_stream() {
    let mut zoom = Bench::new(&[Medium::Audio, Medium::Video], &["meeting_uuid"]);
    let signaling = zoom.first();
    let outputs = zoom.accept(signaling);
    assert_eq!(sent(&outputs), [(Conn::Signaling, 5)], "events are subscribed to");
    let media = dialled(&outputs);
    assert_eq!(media.iter().map(|run| run.conn).collect::<Vec<_>>(), [AUDIO, VIDEO]);
    assert_eq!(sent(&zoom.accept(media[0])), [(Conn::Signaling, 7)], "ready-ack on signaling");
    assert_eq!(sent(&zoom.accept(media[1])), [(Conn::Signaling, 7), (Conn::Signaling, 5)], "and cameras are asked for");
    let outputs = zoom.receive(signaling, &json!({"msg_type": 12, "timestamp": 1_754_042_400_123_i64}));
    let Output::Send(run, text) = &outputs[0] else { panic!("{outputs:?}") };
    assert_eq!(*run, signaling);
    assert_eq!(
        serde_json::from_str::<Value>(text).unwrap(),
        json!({"msg_type": 13, "timestamp": 1_754_042_400_123_i64})
    );
    let outputs = zoom.receive(signaling, &json!({"msg_type": 12}));
    assert!(matches!(&outputs[..], [Output::Send(_, text)] if text.contains("1000")), "{outputs:?}");
}

#[test]
fn a_lost_medium_is_dialled_at_once_and_alone() {
    let mut zoom = Bench::new(&[Medium::Audio, Medium::Video], &["meeting_uuid"]);
    let runs = zoom.all_up();
    let outputs = zoom.input(Input::Closed(runs[1], Loss::new(Cause::Closed, "1006")));
    let again = dialled(&outputs);
    assert_eq!(again.iter().map(|run| run.conn).collect::<Vec<_>>(), [AUDIO]);
    assert_eq!(sent(&zoom.accept(again[0])), [(Conn::Signaling, 7)]);
}

/// What Zoom's text on reconnecting asks for, a row each: a stream whose sockets are all up is told something, and at once
/// closes some and dials some.
#[test]
fn the_table_of_what_happens_and_what_is_done() {
    type Tell = fn(&mut Bench, &[RunId]) -> Vec<Output>;
    const SIGNALING: Conn = Conn::Signaling;
    type Row = (&'static str, Tell, &'static [Conn], &'static [Conn], Option<Cause>);
    let rows: [Row; 9] = [
        (
            "a medium is closed",
            |zoom, runs| zoom.input(Input::Closed(runs[1], Loss::new(Cause::Closed, "1006"))),
            &[],
            &[AUDIO],
            Some(Cause::Closed),
        ),
        (
            "signaling is closed",
            |zoom, runs| zoom.input(Input::Closed(runs[0], Loss::new(Cause::Closed, "1000"))),
            &[],
            &[SIGNALING],
            Some(Cause::Closed),
        ),
        (
            "rtms_interrupted",
            |zoom, _| zoom.input(Input::Interrupted(2000)),
            &[SIGNALING],
            &[SIGNALING],
            Some(Cause::Interrupted),
        ),
        (
            "stream state 2, reason 13",
            |zoom, runs| zoom.receive(runs[0], &json!({"msg_type": 8, "state": 2, "reason": 13})),
            &[SIGNALING],
            &[SIGNALING],
            Some(Cause::Interrupted),
        ),
        (
            "stream state 2, reason 14, and only pictures flow",
            |zoom, runs| {
                zoom.receive(runs[2], &json!({"msg_type": 15, "content": {}}));
                zoom.receive(runs[0], &json!({"msg_type": 8, "state": 2, "reason": 14}))
            },
            &[AUDIO],
            &[AUDIO],
            Some(Cause::Interrupted),
        ),
        (
            "event 7, and nothing flows",
            |zoom, runs| zoom.receive(runs[0], &json!({"msg_type": 6, "event": {"event_type": 7, "timestamp": 1}})),
            &[AUDIO, VIDEO],
            &[AUDIO, VIDEO],
            Some(Cause::Interrupted),
        ),
        (
            "a newer start event",
            |zoom, _| {
                let url = AllowedHosts::new(".zoom.us").check("wss://b.zoom.us").unwrap();
                zoom.input(Input::Restarted(url))
            },
            &[SIGNALING, AUDIO, VIDEO],
            &[SIGNALING],
            Some(Cause::Moved),
        ),
        ("stream state 4", |zoom, runs| zoom.receive(runs[0], &json!({"msg_type": 8, "state": 4})), &[], &[], None),
        ("a stop event", |zoom, _| zoom.input(Input::StopEvent(Some(6))), &[], &[], None),
    ];
    for (what, tell, closes, dials, cause) in rows {
        let mut zoom = Bench::new(&[Medium::Audio, Medium::Video], &["meeting_uuid"]);
        let runs = zoom.all_up();
        zoom.now = Duration::from_secs(10);
        let outputs = tell(&mut zoom, &runs);
        let conns = |runs: Vec<RunId>| runs.iter().map(|run| run.conn).collect::<Vec<_>>();
        assert_eq!((conns(closed(&outputs)), conns(dialled(&outputs))), (closes.to_vec(), dials.to_vec()), "{what}");
        let lost = outputs.iter().filter_map(|output| match output {
            Output::Report(Report::Lost(_, loss)) => Some(loss.cause),
            _ => None,
        });
        assert!(lost.clone().all(|lost| Some(lost) == cause) && lost.count() > 0 || cause.is_none(), "{what}");
    }
}

#[test]
fn lost_signaling_is_dialled_at_once_and_then_all_media_again() {
    let mut zoom = Bench::new(&[Medium::Audio, Medium::Video], &["meeting_uuid"]);
    let runs = zoom.all_up();
    let again = dialled(&zoom.input(Input::Closed(runs[0], Loss::new(Cause::Closed, "1006"))));
    assert_eq!(again.len(), 1, "media go on until signaling is up");
    let outputs = zoom.accept(again[0]);
    assert_eq!(closed(&outputs), runs[1..], "the old media sockets are closed first");
    let with_signaling = Report::Lost(runs[1], Loss::new(Cause::Signaling, "signaling was connected again"));
    assert!(outputs.contains(&Output::Report(with_signaling)), "{outputs:?}");
    assert_eq!(dialled(&outputs).len(), 2);
    let order: Vec<bool> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Close(_) => Some(false),
            Output::Dial(..) => Some(true),
            _ => None,
        })
        .collect();
    assert_eq!(order, [false, false, true, true]);
}

#[test]
fn failover_drops_everything_and_dials_the_new_server() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    let runs = zoom.all_up();
    let url = AllowedHosts::new(".zoom.us").check("wss://b.zoom.us").unwrap();
    let outputs = zoom.input(Input::Restarted(url.clone()));
    assert_eq!(closed(&outputs), runs);
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Dial(run, to) if run.conn == Conn::Signaling && *to == url))
    );
    assert!(zoom.input(Input::Closed(runs[0], Loss::new(Cause::Closed, "old news"))).is_empty());
}

#[test]
fn a_stream_that_moved_is_not_ended_by_its_old_servers_word() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    let runs = zoom.all_up();
    zoom.receive(runs[0], &json!({"msg_type": 8, "state": 3}));
    let url = AllowedHosts::new(".zoom.us").check("wss://b.zoom.us").unwrap();
    let signaling = dialled(&zoom.input(Input::Restarted(url)))[0];
    let media = dialled(&zoom.accept(signaling));
    zoom.accept(media[0]);
    while zoom.now < Duration::from_secs(45) {
        zoom.receive(signaling, &json!({"msg_type": 12, "timestamp": 1}));
        zoom.receive(media[0], &json!({"msg_type": 12, "timestamp": 1}));
        assert_eq!(ended(&zoom.wait()), None);
    }
}

#[test]
fn a_start_event_while_a_stream_ends_is_about_another_recording() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    zoom.all_up();
    zoom.input(Input::StopEvent(Some(6)));
    let url = AllowedHosts::new(".zoom.us").check("wss://b.zoom.us").unwrap();
    let outputs = zoom.input(Input::Restarted(url));
    assert!(zoom.link.is_ending() && dialled(&outputs).is_empty());
    assert_eq!(ended(&outputs).and_then(|ended| ended.reason), Some(6), "at once: {outputs:?}");
}

#[test]
fn many_attempts_fit_into_zooms_window() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    let runs = zoom.all_up();
    zoom.input(Input::Closed(runs[1], Loss::new(Cause::Closed, "1006")));
    let mut run = dialled(&zoom.input(Input::Closed(runs[0], Loss::new(Cause::Closed, "1006"))))[0];
    let mut attempts = vec![zoom.now];
    while zoom.now < Duration::from_secs(60) {
        zoom.input(Input::Failed(run, "connection refused".into()));
        run = dialled(&zoom.wait())[0];
        attempts.push(zoom.now);
    }
    assert_eq!(attempts[0], Duration::ZERO);
    assert!(attempts.len() > 15, "{attempts:?}");
}

#[test]
fn silence_means_lost() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    let runs = zoom.all_up();
    zoom.now = Duration::from_secs(30);
    zoom.receive(runs[0], &json!({"msg_type": 12, "timestamp": 1}));
    let outputs = zoom.wait();
    assert_eq!((zoom.now, closed(&outputs)), (Duration::from_secs(65), vec![runs[1]]));
    assert_eq!(dialled(&outputs).len(), 0, "the attempt follows");
    assert_eq!(dialled(&zoom.wait())[0].conn, AUDIO);
}

#[test]
fn a_refusal_in_words_is_acted_upon_by_its_words() {
    let refuse = |reason: &str| {
        let mut zoom = Bench::new(&[Medium::Audio, Medium::Video], &["meeting_uuid"]);
        let signaling = zoom.first();
        let media = dialled(&zoom.accept(signaling));
        zoom.input(Input::Opened(media[1]));
        let outputs = zoom.receive(media[1], &json!({"msg_type": 4, "status_code": 10, "reason": reason}));
        assert_eq!(closed(&outputs), [media[1]]);
        zoom.accept(media[0]);
        let next = zoom.wait();
        (zoom.now, dialled(&next).first().map(|run| run.conn))
    };
    assert_eq!(refuse("DUPLICATE_MEDIA_DATA_CONNECTION"), (Duration::from_millis(1500), Some(VIDEO)));
    assert_eq!(refuse("something else"), (Duration::from_millis(500), Some(VIDEO)));
    let (at, next) = refuse("MEDIA_TYPE_VIDEO_NOT_SUPPORT");
    assert_eq!((at, next), (Duration::from_secs(65), None), "nothing until the watchdog of the others");
}

#[test]
fn a_silent_close_is_a_refusal_and_the_other_key_is_tried() {
    let mut zoom = Bench::new(&[Medium::Audio], &["webinar_uuid", "meeting_uuid"]);
    let run = zoom.first();
    zoom.input(Input::Opened(run));
    let outputs = zoom.input(Input::Closed(run, Loss::new(Cause::Closed, "1000")));
    assert!(
        matches!(&outputs[..], [Output::Report(Report::Refused { because, for_good: false, .. })]
            if because.contains("client id and secret")),
        "{outputs:?}"
    );
    let run = dialled(&zoom.wait())[0];
    let outputs = zoom.input(Input::Opened(run));
    assert!(matches!(&outputs[..], [Output::Send(_, text)] if text.contains("meeting_uuid")), "{outputs:?}");
}

#[test]
fn hosts_that_the_handshake_names_are_checked_too() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    let run = zoom.first();
    zoom.input(Input::Opened(run));
    let outputs = zoom.receive(
        run,
        &json!({"msg_type": 2, "status_code": 0, "media_server": {"server_urls": {"all": "wss://169.254.169.254/"}}}),
    );
    assert!(dialled(&outputs).is_empty());
    assert!(outputs.iter().any(|output| matches!(output, Output::Report(Report::Refused { for_good: true, .. }))));
}

#[test]
fn media_without_an_answer_to_the_handshake_count_as_one() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    let signaling = zoom.first();
    let run = dialled(&zoom.accept(signaling))[0];
    zoom.input(Input::Opened(run));
    let outputs = zoom.receive(run, &json!({"msg_type": 14, "content": {"data": ""}}));
    assert_eq!(sent(&outputs), [(Conn::Signaling, 7)]);
    assert!(zoom.link.is_up(AUDIO));
}

#[test]
fn many_interruptions_at_once_are_one() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    zoom.all_up();
    assert!(zoom.input(Input::Interrupted(2000)).is_empty(), "signaling has only just been connected");
    zoom.now = Duration::from_secs(10);
    assert!(zoom.input(Input::Interrupted(999)).is_empty(), "it is about an earlier connection");
    let again = dialled(&zoom.input(Input::Interrupted(2000)));
    assert_eq!(again.len(), 1);
    assert!(zoom.input(Input::Interrupted(2001)).is_empty());
    zoom.accept(again[0]);
    assert!(zoom.input(Input::Interrupted(2002)).is_empty());
}

#[test]
fn quiet_chat_is_not_taken_for_an_interrupted_medium() {
    let mut zoom = Bench::new(&[Medium::Video, Medium::Share, Medium::Chat], &["meeting_uuid"]);
    let runs = zoom.all_up();
    zoom.now = Duration::from_secs(5);
    let outputs = zoom.receive(runs[0], &json!({"msg_type": 8, "state": 2, "reason": 14}));
    assert_eq!(dialled(&outputs).iter().map(|run| run.conn).collect::<Vec<_>>(), [VIDEO]);
}

#[test]
fn media_wait_for_signaling() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    let runs = zoom.all_up();
    let signaling = dialled(&zoom.input(Input::Closed(runs[0], Loss::new(Cause::Closed, "1006"))))[0];
    assert!(dialled(&zoom.input(Input::Closed(runs[1], Loss::new(Cause::Closed, "1006")))).is_empty());
    assert_eq!(dialled(&zoom.accept(signaling)).iter().map(|run| run.conn).collect::<Vec<_>>(), [AUDIO]);
}

#[test]
fn a_server_that_accepts_and_closes_is_dialled_ever_more_slowly_and_given_up() {
    let mut zoom = Bench::new(&[], &["meeting_uuid"]);
    let mut run = zoom.first();
    let mut attempts = Vec::new();
    let ended = loop {
        attempts.push(zoom.now.as_millis());
        zoom.accept(run);
        let mut outputs = zoom.input(Input::Closed(run, Loss::new(Cause::Closed, "close 1000")));
        while dialled(&outputs).is_empty() && ended(&outputs).is_none() {
            outputs = zoom.wait();
        }
        match dialled(&outputs)[..] {
            [again] => run = again,
            _ => break ended(&outputs),
        }
    };
    assert_eq!(attempts[..6], [0, 0, 500, 1500, 3500, 6500], "the first attempt at once, then within seconds");
    assert_eq!(ended.map(|ended| ended.source), Some(EndSource::Unreachable));
    assert_eq!(zoom.now, Timing::default().give_up);
}

#[test]
fn a_connection_that_served_is_dialled_at_once_each_time() {
    let mut zoom = Bench::new(&[], &["meeting_uuid"]);
    let mut run = zoom.first();
    for _ in 0..60 {
        zoom.accept(run);
        zoom.now += Timing::default().stable;
        run = dialled(&zoom.input(Input::Closed(run, Loss::new(Cause::Closed, "1006"))))[0];
    }
}
