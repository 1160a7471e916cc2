use super::*;

const ACCEPTED: &[u8] = br#"{"module":"build_connection","success":true,"content":"ok"}"#;
const BEAT: &[u8] = br#"{"module":"heartbeat","success":true}"#;

/// A subscription with a clock that counts from 0.
struct Rig {
    zero: Instant,
    now_ms: u64,
    subscription: Subscription,
}

impl Rig {
    #[allow(clippy::disallowed_methods, reason = "any instant will do as the zero of virtual time")]
    fn new() -> Self {
        let zero = Instant::now();
        Self { zero, now_ms: 0, subscription: Subscription::new(Timing::default(), zero) }
    }

    fn at(&self, ms: u64) -> Instant {
        self.zero + Duration::from_millis(ms)
    }

    fn handle(&mut self, input: Input<'_>) -> Vec<Output> {
        let now = self.at(self.now_ms);
        self.subscription.handle(now, input);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.subscription.poll()).collect()
    }

    /// Lets time pass until something is to be done.
    fn wait(&mut self) -> Vec<Output> {
        let deadline = self.subscription.deadline().expect("something is due");
        self.now_ms = (deadline - self.zero).as_millis() as u64;
        self.handle(Input::Tick)
    }

    fn later(&mut self, seconds: u64) {
        self.now_ms += seconds * 1000;
    }

    /// Opens what is being dialled, and has it accepted.
    fn up(&mut self) {
        let run = self.subscription.run;
        assert_eq!(self.handle(Input::Opened(run)), [Output::Send(run, HEARTBEAT)]);
        assert_eq!(self.handle(Input::Received(run, ACCEPTED)), [Output::Report(Report::Connected)]);
        assert!(self.subscription.is_up());
    }

    fn close(&mut self, code: Option<u16>) -> Vec<Output> {
        self.handle(Input::Closed(self.subscription.run, code, "gone".into()))
    }
}

fn again_in(outputs: &[Output]) -> u64 {
    match outputs.first() {
        Some(Output::Report(
            Report::Lost { again_in, .. } | Report::Refused { again_in, .. } | Report::Rival { again_in, .. },
        )) => again_in.as_secs(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_beats_every_30_s_and_silence_of_45_s_is_a_loss() {
    let mut rig = Rig::new();
    assert_eq!(rig.outputs(), [Output::Dial(1, Token::Known)]);
    rig.up();
    for beat in 1..=3 {
        assert_eq!(rig.wait(), [Output::Send(1, HEARTBEAT)]);
        assert_eq!(rig.now_ms, beat * 30_000);
        assert_eq!(rig.handle(Input::Received(1, BEAT)), []);
    }
    assert_eq!(rig.wait(), [Output::Send(1, HEARTBEAT)]);
    let lost = rig.wait();
    assert_eq!(rig.now_ms, 90_000 + 45_000);
    assert!(matches!(lost[..], [Output::Close(1), Output::Report(_), Output::Dial(2, Token::Known)]), "{lost:?}");
}

#[test]
fn the_first_attempt_after_a_loss_is_made_at_once_and_the_others_are_not() {
    let mut rig = Rig::new();
    rig.outputs();
    rig.up();
    let lost = rig.close(None);
    assert!(again_in(&lost) == 0 && lost[1] == Output::Dial(2, Token::Known), "{lost:?}");
    let mut waits = Vec::new();
    for run in 2..9 {
        waits.push(again_in(&rig.handle(Input::Failed(run, Failure::Other, "refused".into()))));
        rig.wait();
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    // What is accepted and lost at once is no success.
    let mut waits = Vec::new();
    for _ in 0..4 {
        rig.up();
        waits.push(again_in(&rig.close(None)));
        if waits.last() != Some(&0) {
            rig.wait();
        }
    }
    assert_eq!(waits, [1, 2, 4, 8]);
    rig.up();
    rig.later(61);
    assert_eq!(again_in(&rig.close(None)), 0);
}

#[test]
fn a_refused_token_is_renewed_at_once_but_once() {
    let invalid = br#"{"module":"build_connection","success":false,"content":"Invalid Token"}"#;
    let mut rig = Rig::new();
    rig.outputs();
    rig.handle(Input::Opened(1));
    let refused = rig.handle(Input::Received(1, invalid));
    assert!(matches!(refused[..], [Output::Close(1), _, Output::Dial(2, Token::New)]), "{refused:?}");
    let refused = rig.handle(Input::Failed(2, Failure::Token, "401".into()));
    assert_eq!(again_in(&refused), 2);
    assert_eq!(rig.wait(), [Output::Dial(3, Token::New)]);
    rig.up();
    rig.later(61);
    // The code for a token that does no longer count.
    assert_eq!(rig.close(Some(1008))[1], Output::Dial(4, Token::New));
}

#[test]
fn a_rival_is_noticed_and_left_the_subscription_longer_and_longer() {
    let mut rig = Rig::new();
    rig.outputs();
    let mut said = Vec::new();
    for _ in 0..12 {
        rig.up();
        let outputs = rig.close(Some(1000));
        said.push((matches!(outputs[0], Output::Report(Report::Rival { .. })), again_in(&outputs)));
        if outputs.len() == 1 {
            rig.wait();
        }
    }
    let waits: Vec<u64> = said.iter().map(|(_, wait)| *wait).collect();
    assert_eq!(waits, [0, 1, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600]);
    assert!(said.iter().enumerate().all(|(nth, (rival, _))| *rival == (nth >= 2)), "{said:?}");
    // Once it stays, all is as before.
    rig.up();
    rig.later(61);
    assert_eq!(again_in(&rig.close(Some(1000))), 0);
}

/// Zoom closes with 1000 for reasons of its own, too: a connection that had lasted is dialled again at once.
#[test]
fn an_hourly_goodbye_is_no_rival() {
    let mut rig = Rig::new();
    rig.outputs();
    for _ in 0..10 {
        rig.up();
        rig.later(3600);
        assert_eq!(again_in(&rig.close(Some(1000))), 0);
    }
}

/// Two of us on one subscription, each of whose connections closes the other's: in an hour they take it from each other a
/// few times only, and one of them has it nearly all of the time.
#[test]
fn two_of_us_do_not_fight_for_ever() {
    let mut rigs = [Rig::new(), Rig::new()];
    let (mut holder, mut took_over, mut alone_ms) = (None::<usize>, 0, 0);
    for ms in (0..3_600_000).step_by(100) {
        for this in 0..2 {
            rigs[this].now_ms = ms;
            let outputs = rigs[this].outputs();
            let ticked = rigs[this].handle(Input::Tick);
            let dials = outputs.iter().chain(&ticked).any(|output| matches!(output, Output::Dial(..)));
            if dials {
                if let Some(other) = holder.filter(|holder| *holder != this) {
                    took_over += 1;
                    // What it does about it, it does when its turn comes.
                    let run = rigs[other].subscription.run;
                    let now = rigs[other].at(ms);
                    rigs[other].subscription.handle(now, Input::Closed(run, Some(1000), "1000".into()));
                }
                rigs[this].up();
                holder = Some(this);
            } else if rigs[this].subscription.is_up() {
                let run = rigs[this].subscription.run;
                rigs[this].handle(Input::Received(run, BEAT));
            }
        }
        alone_ms += u64::from(!rigs.iter().any(|rig| rig.subscription.is_up())) * 100;
    }
    assert!(took_over < 40, "they took it from each other {took_over} times");
    assert!(alone_ms < 1000, "nobody had it for {alone_ms} ms");
}

#[test]
fn news_of_an_old_socket_does_not_count() {
    let mut rig = Rig::new();
    rig.outputs();
    rig.up();
    rig.close(None);
    assert_eq!(rig.handle(Input::Received(1, br#"{"event":"x"}"#)), []);
    assert_eq!(rig.handle(Input::Closed(1, None, "again".into())), []);
    assert_eq!(rig.handle(Input::Opened(1)), [Output::Close(1)]);
    rig.up();
    let event = br#"{"event":"x"}"#;
    assert_eq!(rig.handle(Input::Received(2, event)), [Output::Event(event.to_vec())]);
}

/// Nothing is known of what it says, so it is no connection, however much it says.
#[test]
fn talk_that_is_not_understood_does_not_keep_a_connection() {
    let mut rig = Rig::new();
    rig.outputs();
    let run = rig.subscription.run;
    rig.handle(Input::Opened(run));
    for _ in 0..8 {
        rig.later(5);
        rig.handle(Input::Received(run, br#"{"module":"weather"}"#));
    }
    rig.later(5);
    let outputs = rig.handle(Input::Tick);
    let [Output::Close(_), Output::Report(Report::Refused { because, .. })] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert!(because.contains("understood was received for 45 s"), "{because}");
}

/// Without modules there is no answer to a heartbeat: then pings tell that the connection lives.
#[test]
fn pings_keep_a_connection_that_answers_no_heartbeats_and_no_other() {
    let mut rig = Rig::new();
    rig.outputs();
    let run = rig.subscription.run;
    rig.handle(Input::Opened(run));
    rig.later(20);
    assert_eq!(rig.handle(Input::Pinged(run)), [Output::Report(Report::Connected)]);
    for _ in 0..10 {
        rig.later(30);
        assert_eq!(rig.handle(Input::Pinged(run)), [Output::Send(run, HEARTBEAT)]);
    }
    assert!(rig.subscription.is_up());

    let mut rig = Rig::new();
    rig.outputs();
    rig.up();
    let run = rig.subscription.run;
    rig.handle(Input::Received(run, BEAT));
    for _ in 0..2 {
        rig.later(20);
        rig.handle(Input::Pinged(run));
    }
    rig.later(6);
    let outputs = rig.handle(Input::Pinged(run));
    assert!(outputs.contains(&Output::Close(run)), "heartbeats are not answered any more: {outputs:?}");
}
