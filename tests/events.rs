//! The event WebSocket: recording without a public address, both doors at once, and what becomes of a socket that is cut,
//! taken over, or whose token is not good any more.

use crate::common::http::get;
use crate::common::{ACCOUNT, CLIENT_ID, Home, LIMIT, Recorder, meeting, play, ports, until};
use rtms_recorder::simulator::{Events, EventsSummary, Rest, Settings, Summary};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const SUBSCRIPTION: &str = "subscriptionOfTheTests";

/// Where a simulated Zoom has its REST side and its sockets.
#[derive(Clone, Copy)]
struct Zoom {
    rest: SocketAddr,
    sockets: SocketAddr,
}

impl Zoom {
    fn new() -> Self {
        Self { rest: ports::free(), sockets: ports::free() }
    }

    /// A home that has nothing but the event WebSocket.
    fn home(self) -> Home {
        let mut home = Home::new();
        home.unset("ZOOM_SECRET_TOKEN");
        home.set_zoom(self.rest);
        home.set("ZOOM_SUBSCRIPTION_ID", SUBSCRIPTION);
        home.set("ZOOM_EVENTS_URL", &format!("ws://{}/ws", self.sockets));
        home
    }

    /// A meeting that is announced by the event WebSocket alone.
    fn meeting(self, recorder: &Recorder, length_s: u64) -> Settings {
        let mut settings = meeting(&recorder.webhook, length_s);
        settings.listen = self.sockets;
        settings.rest = Some(Rest::new(self.rest));
        settings.events = Some(Events::new(SUBSCRIPTION));
        settings
    }
}

fn events(summary: &Summary) -> EventsSummary {
    summary.events.expect("there is an event WebSocket")
}

fn tokens(summary: &Summary) -> usize {
    summary.rest.iter().filter(|call| call.call.starts_with("token") && call.status == 200).count()
}

/// The only recording is that of the only meeting, and whole.
async fn check(home: &Home, summary: &Summary) {
    let [sent] = &summary.meetings[..] else { panic!("one meeting: {summary}") };
    assert_eq!(sent.refusals, Vec::<String>::new(), "{sent}");
    assert_eq!(sent.signaling_handshakes, 1, "one connection: {sent}");
    let recording = home.bucket().recording().await;
    assert_eq!(recording.manifest.stream_id.as_str(), sent.stream_id);
    assert!(recording.manifest.complete, "{:#?}", recording.manifest);
    recording.check_files();
    recording.check_marks(sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_is_recorded_by_the_event_socket_alone() {
    for account in [None, Some(ACCOUNT)] {
        let zoom = Zoom::new();
        let mut home = zoom.home();
        if let Some(account) = account {
            home.set("ZOOM_ACCOUNT_ID", account);
        }
        let recorder = home.start().await;
        // Without a Secret Token no webhook can be told from a forged one.
        let forged = crate::common::http::signed(recorder.address(), b"{\"event\":\"meeting.started\"}").await;
        assert_eq!(forged.status, 401);
        let ready = get(recorder.address(), "/readyz").await;
        assert!(ready.status == 503 && ready.body.contains("the event WebSocket is not open"), "{ready:?}");

        let playing = tokio::spawn(play(zoom.meeting(&recorder, 12)));
        recorder.wait_for("the event WebSocket is open").await;
        assert_eq!(get(recorder.address(), "/readyz").await.status, 200);
        let summary = playing.await.expect("it plays");
        recorder.published(1).await;
        check(&home, &summary).await;
        let went = events(&summary);
        assert_eq!((went.connections, went.refused, went.sent, went.lost), (1, 0, 2, 0), "{went:?}");
        assert!(went.heartbeats > 0, "{went:?}");
        assert!(summary.meetings[0].webhooks.is_empty());
        let grant = if account.is_some() { "token by account_credentials" } else { "token by client_credentials" };
        assert_eq!(summary.rest[0].call, grant);
        assert!(!recorder.raw_log().contains("access_token="), "the address was logged with its token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_events_by_both_doors_make_one_recording() {
    let zoom = Zoom::new();
    let mut home = zoom.home();
    home.set("ZOOM_SECRET_TOKEN", crate::common::SECRET_TOKEN);
    let recorder = home.start().await;
    let mut settings = zoom.meeting(&recorder, 12);
    settings.events.as_mut().expect("events").webhooks_too = true;
    settings.webhooks.duplicates = 1;
    let summary = play(settings).await;
    recorder.published(1).await;
    check(&home, &summary).await;
    assert_eq!(events(&summary).sent, 3, "two start events and a stop event");
    assert_eq!(summary.meetings[0].webhooks.len(), 3);
    assert_eq!(recorder.logged("recording started").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_cut_is_opened_again_at_once() {
    let zoom = Zoom::new();
    let home = zoom.home();
    let recorder = home.start().await;
    let mut settings = zoom.meeting(&recorder, 16);
    settings.script.events_cut_ms = vec![4_000];
    let summary = play(settings).await;
    recorder.published(1).await;
    check(&home, &summary).await;
    let went = events(&summary);
    assert_eq!((went.connections, went.sent, went.lost), (2, 2, 0), "{went:?}");
    let lost = recorder.wait_for("the event WebSocket was lost").await;
    assert_eq!(lost["delay_ms"], 0, "{lost}");
    assert_eq!(tokens(&summary), 1, "the token was still good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_refused_or_expires_is_renewed() {
    let zoom = Zoom::new();
    let home = zoom.home();
    let recorder = home.start().await;
    let mut settings = zoom.meeting(&recorder, 16);
    settings.events.as_mut().expect("events").refusals = 1;
    // At four times the speed it expires while the meeting runs; Zoom then closes the socket with 1008.
    settings.rest.as_mut().expect("REST").token_life = Duration::from_secs(3);
    let summary = play(settings).await;
    recorder.published(1).await;
    check(&home, &summary).await;
    let went = events(&summary);
    // On a slow machine it expires more than once, and the stop event may fall between two connections.
    assert!(went.refused == 1 && went.sent >= 1 && went.sent + went.lost == 2, "{went:?}");
    assert!(went.expired >= 1 && went.connections > went.expired, "{went:?}");
    assert!(tokens(&summary) as u32 > went.connections, "{summary}");
    let refused = recorder.logged("the event WebSocket cannot be opened");
    let invalid = |line: &Value| line["because"].as_str().is_some_and(|text| text.contains("Invalid Token"));
    assert!(refused.iter().any(|line| invalid(line) && line["delay_ms"] == 0), "{refused:?}");
}

/// Two recorders on one subscription take it from each other. Both say so, neither fights for long, and between them they
/// record every meeting.
#[tokio::test(flavor = "multi_thread")]
async fn two_recorders_on_one_subscription_notice_and_do_not_fight() {
    let zoom = Zoom::new();
    let homes = [zoom.home(), zoom.home()];
    let recorders = [homes[0].start().await, homes[1].start().await];
    let mut settings = zoom.meeting(&recorders[0], 60);
    settings.media = vec![rtms_recorder::protocol::message::Medium::Audio];
    let playing = tokio::spawn(play(settings));
    let began = Instant::now();
    let noticed = |recorder: &Recorder| !recorder.logged("another client uses this ZOOM_SUBSCRIPTION_ID").is_empty();
    until("one of them notices", || recorders.iter().any(noticed)).await;
    assert!(began.elapsed() < LIMIT);
    let noticing = recorders.iter().position(noticed).expect("one has noticed");
    let line = recorders[noticing].wait_for("another client uses this ZOOM_SUBSCRIPTION_ID").await;
    assert!(line["level"] == "ERROR" && line["delay_ms"].as_u64() >= Some(10_000), "{line}");
    let ready = get(recorders[noticing].address(), "/readyz").await;
    assert!(ready.status == 503 && ready.body.contains("another client has taken the subscription"), "{ready:?}");
    let summary = playing.await.expect("it plays");
    let went = events(&summary);
    assert!(went.replaced < 10, "they fought: {went:?}");
    assert_eq!((went.sent, went.lost), (2, 0), "{went:?}");
    let published = |recorder: &Recorder| recorder.log().iter().any(|line| line["message"] == "published");
    until("the meeting is published", || recorders.iter().any(published)).await;
    let mut streams = Vec::new();
    for home in &homes {
        streams.extend(home.bucket().recordings().await.into_iter().map(|recording| recording.manifest.stream_id));
    }
    assert_eq!(streams.len(), 1, "{streams:?}");
    assert_eq!(streams[0].as_str(), summary.meetings[0].stream_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_credentials_is_said_and_tried_again() {
    let zoom = Zoom::new();
    let mut home = zoom.home();
    home.set("ZOOM_ACCOUNT_ID", "another-account");
    let recorder = home.start().await;
    let line = recorder.wait_for("the event WebSocket cannot be opened").await;
    assert!(line["because"].as_str().is_some_and(|text| text.contains("gave no answer")), "{line}");
    let mut settings = zoom.meeting(&recorder, 4);
    settings.events.as_mut().expect("events").wait = Duration::from_secs(20);
    crate::common::provide_crypto();
    let played = tokio::spawn(rtms_recorder::simulator::run(settings, rtms_recorder::simulator::Progress::silent()));
    let line = recorder.wait_for("check ZOOM_ACCOUNT_ID").await;
    assert_eq!(line["level"], "WARN", "{line}");
    assert!(!line.to_string().contains(CLIENT_ID), "{line}");
    let refused = played.await.expect("it does not panic").unwrap_err();
    assert!(refused.to_string().contains("ZOOM_SUBSCRIPTION_ID"), "{refused}");
}

#[test]
fn wrong_settings_are_named() {
    let mut home = Zoom::new().home();
    home.set("ZOOM_EVENTS_URL", "wss://ws.example.com/ws");
    let output = home.run(&["serve"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(said.contains("ZOOM_EVENTS_URL") && said.contains("ZOOM_ALLOWED_HOSTS"), "{said}");
    let mut home = Home::new();
    home.unset("ZOOM_SECRET_TOKEN");
    let output = home.run(&["serve"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("ZOOM_SUBSCRIPTION_ID"), "it names the other way");
}

/// A token in a log would be as good as the subscription.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_logged_at_any_level() {
    let zoom = Zoom::new();
    let mut home = zoom.home();
    home.set("RUST_LOG", "trace");
    let recorder = home.start().await;
    let summary = play(zoom.meeting(&recorder, 4)).await;
    recorder.wait_for("stream ended").await;
    assert_eq!(events(&summary).connections, 1);
    let log = recorder.raw_log();
    assert!(log.contains("TRACE"), "it logs everything");
    assert!(!log.contains("access_token="), "the token is in the log");
}

/// The line that `check` prints about the event WebSocket: outcome and text.
async fn checked(home: &Home, args: &[&str]) -> (String, String) {
    let mut command = home.command(&[&["check", "--json"], args].concat());
    let output =
        tokio::task::spawn_blocking(move || command.output().expect("the binary runs")).await.expect("it runs");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(!said.contains("access_token") && !said.contains(crate::common::CLIENT_SECRET), "{said}");
    let lines = said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let line = lines.into_iter().find(|line| line["check"] == "event websocket").unwrap_or_else(|| panic!("{said}"));
    (line["outcome"].as_str().unwrap_or_default().to_owned(), line["text"].as_str().unwrap_or_default().to_owned())
}

/// It is tried as it is used; and a recorder that runs keeps its connection, unless one says otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn check_opens_the_event_socket_but_takes_it_from_no_recorder_unasked() {
    let zoom = Zoom::new();
    let mut home = zoom.home();
    let (outcome, text) = checked(&home, &[]).await;
    assert!(outcome == "failure" && text.contains("could not get a token"), "{outcome}: {text}");

    let recorder = home.start().await;
    let playing = tokio::spawn(play(zoom.meeting(&recorder, 20)));
    recorder.wait_for("recording started").await;
    let (outcome, text) = checked(&home, &[]).await;
    assert!(outcome == "ok" && text.contains("not opened: process") && text.contains("--event-socket"), "{text}");
    assert_eq!(recorder.logged("the event WebSocket was lost").len(), 0);

    let (outcome, text) = checked(&home, &["--event-socket"]).await;
    assert!(outcome == "ok" && text.contains("accepts the subscription subscriptionOfTheTests"), "{outcome}: {text}");
    recorder.wait_for("the event WebSocket was lost").await;
    recorder.wait_for_many("the event WebSocket is open", 2).await;

    home.set("ZOOM_SUBSCRIPTION_ID", "another");
    let (outcome, text) = checked(&home, &["--event-socket"]).await;
    assert!(outcome == "failure" && text.contains("does not accept the subscription another"), "{outcome}: {text}");
    home.set("ZOOM_SUBSCRIPTION_ID", SUBSCRIPTION);
    let summary = playing.await.expect("it plays");
    recorder.published(1).await;
    check(&home, &summary).await;
}
