//! How a stream ends, and what is still waited for then.

use super::*;

#[test]
fn a_stream_ends_after_two_minutes_without_any_connection() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    let mut run = zoom.first();
    let end = loop {
        let mut outputs = zoom.input(Input::Failed(run, "no".into()));
        if dialled(&outputs).is_empty() {
            outputs.extend(zoom.wait());
        }
        if let Some(end) = ended(&outputs) {
            break end;
        }
        run = dialled(&outputs)[0];
    };
    assert_eq!(end, Ended { source: EndSource::Unreachable, reason: None });
    assert_eq!(zoom.now, Duration::from_secs(120));
    assert_eq!(zoom.link.deadline(), None);
}

#[test]
fn a_stop_waits_for_the_sockets_and_gives_the_reason() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    let runs = zoom.all_up();
    assert!(zoom.receive(runs[0], &json!({"msg_type": 8, "state": 4, "reason": 6})).is_empty());
    assert!(zoom.input(Input::Closed(runs[0], Loss::new(Cause::Closed, "1000"))).is_empty(), "no redial, no loss");
    let outputs = zoom.input(Input::Closed(runs[1], Loss::new(Cause::Closed, "1000")));
    assert_eq!(ended(&outputs), Some(Ended { source: EndSource::State, reason: Some(6) }));

    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    zoom.all_up();
    zoom.input(Input::StopEvent(Some(8)));
    let outputs = zoom.wait();
    assert_eq!(ended(&outputs), Some(Ended { source: EndSource::Event, reason: Some(8) }));
    assert_eq!(zoom.now, Duration::from_secs(3));
}

#[test]
fn a_dial_that_falls_due_while_the_stream_ends_is_not_waited_for() {
    let mut zoom = Bench::new(&[Medium::Audio, Medium::Video], &["meeting_uuid"]);
    let signaling = zoom.first();
    let media = dialled(&zoom.accept(signaling));
    zoom.accept(media[0]);
    zoom.input(Input::Failed(media[1], "refused".into()));
    zoom.input(Input::StopEvent(Some(6)));
    zoom.now = Duration::from_millis(500);
    zoom.input(Input::Tick);
    assert_eq!(zoom.link.deadline(), Some(zoom.start + Duration::from_secs(3)), "the end of the drain");
    assert!(ended(&zoom.wait()).is_some());
}

#[test]
fn giving_up_is_not_waited_for_once_the_stream_ends() {
    let mut zoom = Bench::new(&[Medium::Audio], &["meeting_uuid"]);
    zoom.first();
    zoom.now = Duration::from_secs(119);
    zoom.input(Input::StopEvent(Some(6)));
    zoom.now = Duration::from_secs(120);
    zoom.input(Input::Tick);
    assert_eq!(zoom.link.deadline(), Some(zoom.start + Duration::from_secs(122)), "the end of the drain");
    assert_eq!(ended(&zoom.wait()).map(|ended| ended.source), Some(EndSource::Event));
}

#[test]
fn terminating_is_bounded_and_interruptions_reconnect() {
    let mut zoom = Bench::new(&[Medium::Audio, Medium::Video], &["meeting_uuid"]);
    let runs = zoom.all_up();
    zoom.now = Duration::from_secs(5);
    zoom.receive(runs[1], &json!({"msg_type": 14, "content": {"data": ""}}));
    let outputs = zoom.receive(runs[0], &json!({"msg_type": 6, "event": {"event_type": 7, "timestamp": 1}}));
    assert_eq!(dialled(&outputs).iter().map(|run| run.conn).collect::<Vec<_>>(), [VIDEO], "sound is alive");
    let outputs = zoom.receive(runs[0], &json!({"msg_type": 8, "state": 2, "reason": 13}));
    assert_eq!(dialled(&outputs).iter().map(|run| run.conn).collect::<Vec<_>>(), [Conn::Signaling]);
    let signaling = dialled(&outputs)[0];
    zoom.accept(signaling);
    zoom.receive(signaling, &json!({"msg_type": 8, "state": 3}));
    let end = loop {
        let outputs = zoom.wait();
        if let Some(end) = ended(&outputs) {
            break end;
        }
    };
    assert_eq!(end.source, EndSource::State);
    assert!(zoom.now <= Duration::from_secs(5 + 30 + 3), "{:?}", zoom.now);
}
