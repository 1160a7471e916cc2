use super::*;

/// The test server that Zoom published in 2025, with all its quirks at once.
#[test]
fn zooms_test_server_is_understood() {
    const ACCEPTED: &[u8] = include_bytes!("../../../../fixtures/mock-server/handshake-accepted.json");
    const REFUSED: &[u8] = include_bytes!("../../../../fixtures/mock-server/handshake-refused-without-status.json");
    const KEEP_ALIVE: &[u8] = include_bytes!("../../../../fixtures/mock-server/keep-alive-without-timestamp.json");
    const TERMINATED: &[u8] = include_bytes!("../../../../fixtures/mock-server/stream-terminated-reason-by-name.json");
    const STOPPED: &[u8] = include_bytes!("../../../../fixtures/mock-server/session-stopped-session-id.json");
    let mut mock = Bench::new(&[Medium::Audio, Medium::Chat], &["meeting_uuid"]);
    mock.link.settings.allowed_hosts = AllowedHosts::new("0.0.0.0");
    let receive = |mock: &mut Bench, run, bytes: &[u8]| {
        mock.input(Input::Received(run, message::peek_type(bytes).unwrap(), bytes))
    };
    let run = mock.first();
    mock.input(Input::Opened(run));
    assert!(!sent(&receive(&mut mock, run, KEEP_ALIVE)).is_empty(), "they begin before the handshake is answered");
    let refused = receive(&mut mock, run, REFUSED);
    let because = refused.iter().find_map(|output| match output {
        Output::Report(Report::Refused { because, for_good: false, .. }) => Some(because.as_str()),
        _ => None,
    });
    assert!(
        because
            .is_some_and(|said| said.starts_with("no status: Invalid signature: Zoom does not accept the signature")),
        "{refused:?}"
    );

    let run = dialled(&mock.wait())[0];
    mock.input(Input::Opened(run));
    let outputs = receive(&mut mock, run, ACCEPTED);
    let dials: Vec<&str> =
        outputs.iter().filter_map(|o| if let Output::Dial(_, url) = o { Some(url.as_str()) } else { None }).collect();
    assert_eq!(dials, ["ws://127.0.0.1:8081/audio", "ws://127.0.0.1:8081/all"]);
    let audio = dialled(&outputs)[0];
    mock.input(Input::Opened(audio));
    let outputs = mock.receive(audio, &json!({"msg_type": 14, "content": {"user_id": 0, "data": "AAAA"}}));
    assert_eq!(sent(&outputs), [(Conn::Signaling, 7)], "media count as an answer");
    assert_eq!(ended(&receive(&mut mock, run, STOPPED)), None, "a session is not the stream");
    receive(&mut mock, audio, TERMINATED);
    let outputs = mock.wait();
    assert_eq!(ended(&outputs), Some(Ended { source: EndSource::State, reason: Some(5) }), "{outputs:?}");
}
