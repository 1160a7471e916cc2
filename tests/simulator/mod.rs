//! The simulator against a strict client of its own, so that what it claims can be believed when a recorder is
//! measured by it.

mod client;

use crate::common::begin;
use client::*;
use futures_util::{SinkExt, StreamExt};
use rtms_recorder::protocol::message::Medium;
use rtms_recorder::simulator::{Binary, Cut, Duplicates, Quirks, Script, Settings, Size, Target};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

#[test]
fn signatures_are_those_of_the_reference() {
    let id = "Ab+/cdEFghIJklMNopQRst==";
    let stream = "0123456789abcdef0123456789abcdef";
    assert_eq!(
        hex_hmac(SECRET, &format!("{ID},{id},{stream}")),
        "b3314b76b9af204507b133724cd73459308635fcbc5ce1acfac20b390aedd619"
    );
    let body = r#"{"event":"meeting.rtms_started","event_ts":1754042400123,"payload":{"meeting_uuid":"Ab+/cdEFghIJklMNopQRst==","operator_id":"opAbC123","rtms_stream_id":"0123456789abcdef0123456789abcdef","server_urls":"wss://rtms.example.test:443"}}"#;
    assert_eq!(
        hex_hmac(TOKEN, &format!("v0:1754042401:{body}")),
        "3d72768e48437bc221ae50b77db1f943d5d115186e59da885f6182f00bd7a8ef"
    );
}

#[tokio::test]
async fn a_whole_meeting_is_received_as_the_summary_says() {
    let (to, posted) = webhook(200);
    let mut settings = Settings { speed: 2.0, ..settings(&to) };
    settings.webhooks.validate = true;
    settings.length = Some(Duration::from_secs(9));
    settings.script = Script {
        camera_off: vec![span(3500, 5000)],
        silence: vec![span(5600, 6600)],
        share: vec![span(2000, 6000)],
        ..Script::default()
    };
    let run = begin(settings);
    let (forward, events) = mpsc::unbounded_channel();
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = names.clone();
    let mut posted = posted;
    tokio::spawn(async move {
        while let Some(post) = posted.recv().await {
            assert!(post.signed, "{}", post.event);
            seen.lock().unwrap().push(post.event["event"].clone());
            if post.event["event"] != "endpoint.url_validation" {
                forward.send(post).ok();
            }
        }
    });
    let heard = record(events, params());
    let summary = one(run).await;
    assert_equal(&heard, &summary);
    assert_eq!(*names.lock().unwrap(), ["endpoint.url_validation", "meeting.rtms_started", "meeting.rtms_stopped"]);
    // Sound was kept from the very start; the rest began when it was connected.
    let audio = heard.timestamps(14);
    assert_eq!(audio[0], summary.start_ms);
    assert_eq!(*audio.last().unwrap(), summary.start_ms + 8900);
    assert_eq!(audio.len(), 80, "10 of 90 packets fall into the silence");
    assert_eq!(summary.medium(Medium::Audio).samples, 80 * 1600);
    assert_near(&loud_onsets(&heard, 16_000), &summary.beeps_ms, 1);
    let told: Vec<i64> = summary.beeps_ms.iter().map(|ms| ms - summary.start_ms).collect();
    assert_eq!(told, [1000, 3000, 5000, 7000]);
    let flashes = white_pictures(&heard).await;
    assert_eq!(flashes, summary.flashes_ms);
    assert!(flashes.iter().all(|f| summary.beeps_ms.contains(f)), "{flashes:?} {:?}", summary.beeps_ms);
    let off = (summary.start_ms + 3500)..(summary.start_ms + 5000);
    assert!(heard.timestamps(15).iter().all(|t| !off.contains(t)));
    let share = summary.medium(Medium::Share);
    assert_eq!((share.messages + share.not_delivered, share.messages > 0), (4, true));
    assert!(heard.payload(16).starts_with(&[0xff, 0xd8]));
    let lines: Vec<_> = heard.of(17).iter().map(|m| m["content"]["data"].as_str().unwrap().to_owned()).collect();
    assert_eq!(lines, summary.transcript.iter().map(|l| l.text.clone()).collect::<Vec<_>>());
    assert_eq!((heard.events(1), heard.events(5), heard.events(6), heard.events(4)), (1, 1, 1, 1));
    assert_eq!(heard.events(3), 3, "those present, and two who come late");
    assert_eq!(heard.states(8), [1, 4]);
    assert_eq!(heard.states(9), [2, 5]);
    assert_eq!(summary.stop_reason, 6);
    assert!(summary.to_string().contains("beeps"));
}

#[tokio::test]
async fn a_bad_handshake_is_closed_without_a_word_and_others_get_a_status() {
    let (to, mut posted) = webhook(204);
    let mut settings = settings(&to);
    settings.length = Some(Duration::from_secs(20));
    let run = begin(settings);
    let stream = started(&mut posted).await;
    let mut wrong_signature = stream.hello(1);
    wrong_signature["signature"] = hex_hmac(SECRET, &format!("{ID}{}{}", stream.meeting, stream.stream)).into();
    let mut no_version = stream.hello(1);
    no_version.as_object_mut().unwrap().remove("protocol_version");
    for hello in [wrong_signature, no_version] {
        let mut ws = dial(&stream.url).await;
        send(&mut ws, &hello).await;
        assert_eq!(receive(&mut ws).await, Err(1000));
    }
    let mut ws = dial(&stream.url).await;
    ws.send(Message::binary(stream.hello(1).to_string())).await.unwrap();
    assert_eq!(receive(&mut ws).await, Err(1000), "clients send text frames");
    let mut other_stream = stream.hello(1);
    other_stream["rtms_stream_id"] = "00".into();
    let mut ws = dial(&stream.url).await;
    send(&mut ws, &other_stream).await;
    assert_eq!(receive(&mut ws).await.unwrap()["status_code"], 2);
    assert!(tokio_tungstenite::connect_async(stream.url.replace("/signaling/", "/signaling/x")).await.is_err());

    let (mut signaling, urls) = stream.signaling().await;
    let keys: Vec<_> = urls.as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, ["all", "audio", "chat", "deskshare", "transcript", "video"]);
    let audio = urls["audio"].as_str().unwrap();
    for (bits, params, status) in [
        (2, json!({}), 14),
        (64, json!({}), 14),
        (1, json!({"audio": {"send_rate": 30}}), 24),
        (1, json!({"audio": {"content_type": 1}}), 19),
    ] {
        let mut ws = dial(audio).await;
        send(&mut ws, &stream.media_hello(bits, params)).await;
        let answer = receive(&mut ws).await.unwrap();
        assert_eq!((&answer["msg_type"], &answer["status_code"]), (&json!(4), &json!(status)));
        assert_eq!(receive(&mut ws).await, Err(1000));
    }
    send(&mut signaling, &json!({"msg_type": 7, "rtms_stream_id": stream.stream})).await;
    assert_eq!(receive(&mut signaling).await.unwrap()["status_code"], 41, "nothing is ready");
    send(&mut signaling, &json!({"msg_type": 99})).await;
    assert_eq!(receive(&mut signaling).await.unwrap()["status_code"], 1);
    send(&mut signaling, &json!({"msg_type": 5, "events": [{"event_type": 7, "subscribe": true}]})).await;
    assert_eq!(receive(&mut signaling).await.unwrap()["status_code"], 6);
    send(&mut signaling, &json!({"msg_type": 19, "rtms_stream_id": stream.stream})).await;
    assert_eq!(receive(&mut signaling).await.unwrap()["msg_type"], 20);
    send(&mut signaling, &json!({"msg_type": 10, "rtms_session_id": "x"})).await;
    assert_eq!(receive(&mut signaling).await.unwrap()["status_code"], 40);
    send(&mut signaling, &json!({"msg_type": 21, "rtms_stream_id": stream.stream})).await;
    assert_eq!(receive_type(&mut signaling, 22).await["status_code"], 0);
    assert_eq!(receive_type(&mut signaling, 8).await["state"], 4);
    let summary = one(run).await;
    assert_eq!(summary.stop_reason, 20);
    assert!(summary.refusals.len() >= 12, "{:#?}", summary.refusals);
}

#[tokio::test]
async fn no_media_before_the_ready_ack_and_no_second_connection() {
    let (to, mut posted) = webhook(200);
    let run = begin(Settings { binary: Binary::Never, ..settings(&to) });
    let stream = started(&mut posted).await;
    let (mut signaling, urls) = stream.signaling().await;
    let url = urls["audio"].as_str().unwrap();
    let mut audio = dial(url).await;
    send(&mut audio, &stream.media_hello(1, json!({"audio": {"send_rate": 5000}}))).await;
    let answer = receive(&mut audio).await.unwrap();
    assert_eq!(answer["media_params"]["audio"]["send_rate"], 1000, "corrected");
    assert_eq!(answer["media_params"]["audio"]["sample_rate"], 1, "filled in");
    assert!(timeout(Duration::from_millis(400), audio.next()).await.is_err(), "nothing is sent");

    let mut second = dial(&stream.url).await;
    send(&mut second, &stream.hello(1)).await;
    assert_eq!(receive(&mut second).await.unwrap()["status_code"], 8);
    let mut second = dial(url).await;
    send(&mut second, &stream.media_hello(1, json!({}))).await;
    assert_eq!(receive(&mut second).await.unwrap()["status_code"], 16);

    send(&mut signaling, &json!({"msg_type": 7, "rtms_stream_id": stream.stream})).await;
    let packet = receive(&mut audio).await.unwrap();
    assert_eq!(packet["msg_type"], 14);
    assert_eq!(packet["content"]["user_id"], 0);
    assert_eq!(packet["content"]["length"], 32_000);
    assert!(packet["content"].get("user_name").is_none());
    assert_eq!(receive_type(&mut signaling, 6).await["event"]["event_type"], 1);
    assert_eq!(receive_type(&mut signaling, 8).await["state"], 1);
    assert_eq!(receive_type(&mut signaling, 9).await["state"], 2);
    let (_, _) =
        (timeout(Duration::from_secs(9), async { while receive(&mut audio).await.is_ok() {} }).await, signaling);
    assert_eq!(one(run).await.medium(Medium::Audio).messages, 6);
}

#[tokio::test]
async fn the_newer_connection_can_be_the_one_that_stays() {
    let (to, mut posted) = webhook(200);
    let run = begin(Settings { duplicates: Duplicates::Kick, ..settings(&to) });
    let stream = started(&mut posted).await;
    let (mut first, _) = stream.signaling().await;
    let (mut second, _) = stream.signaling().await;
    assert_eq!(receive(&mut first).await, Err(1000));
    send(&mut second, &json!({"msg_type": 21, "rtms_stream_id": stream.stream})).await;
    assert_eq!(receive_type(&mut second, 22).await["status_code"], 0);
    while receive(&mut second).await.is_ok() {}
    let summary = one(run).await;
    assert_eq!(summary.signaling_handshakes, 2);
    assert_eq!(summary.losses[0].cause, "replaced by a newer connection");
}

#[tokio::test]
async fn clients_that_leave_keep_alives_unanswered_are_dropped() {
    let (to, mut posted) = webhook(200);
    let run = begin(Settings {
        length: Some(Duration::from_secs(60)),
        keepalive: Duration::from_millis(60),
        reconnect_window: Some(Duration::from_millis(1500)),
        ..settings(&to)
    });
    let stream = started(&mut posted).await;
    let (mut signaling, _) = stream.signaling().await;
    // Answered ones count, however many.
    for _ in 0..5 {
        let asked = receive_type(&mut signaling, 12).await;
        send(&mut signaling, &json!({"msg_type": 13, "timestamp": asked["timestamp"]})).await;
    }
    let mut unanswered = 0;
    let end = loop {
        match receive(&mut signaling).await {
            Ok(message) if message["msg_type"] == 12 => unanswered += 1,
            Ok(_) => {}
            Err(code) => break code,
        }
    };
    assert_eq!((unanswered, end), (3, 1006));
    let summary = one(run).await;
    assert_eq!(summary.stop_reason, 24);
    let told: Vec<_> = summary.webhooks.iter().map(|w| w.event.as_str()).collect();
    assert_eq!(told, ["meeting.rtms_started", "meeting.rtms_interrupted", "meeting.rtms_stopped"]);
}

#[tokio::test]
async fn sound_of_a_cut_is_delivered_later_and_pictures_are_not() {
    for cut_silently in [false, true] {
        let (to, posted) = webhook(200);
        let at = |target, at_ms| Cut { target, at_ms };
        let mut settings = Settings { speed: 2.0, ..settings(&to) };
        settings.webhooks.delay = Duration::from_millis(500);
        settings.script = Script {
            cuts: vec![
                at(Target::Medium(Medium::Audio), 2000),
                at(Target::Medium(Medium::Video), 2500),
                at(Target::Signaling, 4000),
            ],
            cut_silently,
            ..Script::default()
        };
        let (heard, summary) = played(settings, posted).await;
        let audio = sound_ms(&heard, &summary);
        assert_eq!(audio, (0..60).map(|n| n * 100).collect::<Vec<_>>(), "complete, in order, from the start");
        let video = summary.medium(Medium::Video);
        assert!(video.not_delivered > 20, "a second of media before the webhook: {video:?}");
        assert_eq!(video.messages + video.not_delivered + video.before_key_frame, 150, "{video:?}");
        assert_eq!(white_pictures(&heard).await, summary.flashes_ms);
        assert_eq!(summary.losses.len(), 2 + 6, "signaling takes five media along: {:#?}", summary.losses);
        assert!(summary.losses.iter().all(|loss| loss.back_after_ms.is_some()), "{:#?}", summary.losses);
        assert_eq!(heard.events(7), 2);
    }
}

#[tokio::test]
async fn a_stream_survives_failover_interruption_and_pause() {
    let (to, posted) = webhook(200);
    let mut settings = Settings { speed: 2.0, ..settings(&to) };
    settings.length = Some(Duration::from_secs(10));
    settings.webhooks.duplicates = 2;
    settings.script = Script {
        failover_ms: vec![2000],
        interrupted_ms: vec![5000],
        pause: vec![span(7000, 8000)],
        size_changes: vec![(8500, Size { width: 320, height: 180 })],
        ..Script::default()
    };
    let (heard, summary) = played(settings, posted).await;
    let audio = sound_ms(&heard, &summary);
    let expected: Vec<i64> = (0..100).filter(|n| !(70..80).contains(n)).map(|n| n * 100).collect();
    assert_eq!(audio, expected);
    let told: Vec<_> = summary.webhooks.iter().map(|w| w.event.rsplit('_').next().unwrap()).collect();
    assert_eq!(told, ["started", "started", "started", "started", "interrupted", "stopped"]);
    assert_eq!(summary.signaling_handshakes, 3);
    assert_eq!(heard.states(9), [2, 3, 4, 5]);
    let white = white_pictures(&heard).await;
    assert_eq!(white, summary.flashes_ms, "also across the change of size");
}

#[tokio::test]
async fn participants_are_streamed_apart_with_quirks_on() {
    let (to, posted) = webhook(200);
    let mut settings = settings(&to);
    settings.length = Some(Duration::from_secs(13));
    settings.keepalive = Duration::from_millis(100);
    settings.keepalive_always = true;
    settings.quirks = Quirks {
        keepalive_without_timestamp: true,
        numbers_as_strings: true,
        unknown_messages: true,
        garbage: true,
        escaped_slashes: true,
        pretty: true,
        headers_once: true,
        mid_gop: true,
        clock_ppm: 200.0,
        jitter_ms: 3,
    };
    let run = begin(settings);
    let mut asked = params();
    asked["audio"]["data_opt"] = 2.into();
    asked["audio"]["sample_rate"] = 3.into();
    asked["video"]["fps"] = 10.into();
    let heard = record(posted, asked);
    let summary = one(run).await;
    assert_eq!(summary.refusals, Vec::<String>::new());
    assert_eq!(summary.losses, []);
    let users: Vec<u32> = summary.participants.keys().copied().collect();
    assert_eq!(users, [16_778_240, 16_779_264], "the third has not spoken yet");
    let own: u64 = summary.participants.values().map(|p| p.messages).sum();
    assert_eq!(own, summary.medium(Medium::Audio).messages);
    assert_eq!(heard.of(14).len() as u64, own);
    assert!(heard.of(14).iter().all(|m| m["content"]["user_name"].is_string()));
    assert_eq!(heard.of(15).len() as u64, summary.medium(Medium::Video).messages);
    assert!(!heard.of(99).is_empty() && !heard.of(23).is_empty());
    let sps = heard.payload(15).windows(4).filter(|w| w[..3] == [0, 0, 1] && w[3] & 0x1f == 7).count();
    assert_eq!(sps, 1, "SPS once");
    assert_near(&loud_onsets(&heard, 48_000), &summary.beeps_ms, 5);
}

#[tokio::test]
async fn a_journal_is_played_again() {
    let (to, posted) = webhook(200);
    let run = begin(settings(&to));
    let first = record(posted, params());
    let original = one(run).await;
    let dir = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for n in 14..=18 {
        for message in first.of(n) {
            let t = number(&message["content"]["timestamp"]) + 40;
            lines.push_str(&json!({"t": t, "c": "all", "m": message}).to_string());
            lines.push('\n');
        }
    }
    std::fs::write(dir.path().join("00000001.ndjson"), lines).unwrap();

    let (to, posted) = webhook(200);
    let mut settings = settings(&to);
    settings.length = None;
    settings.journal = Some(dir.path().to_owned());
    settings.quirks.mid_gop = true;
    let (again, summary) = played(settings, posted).await;
    assert_eq!(again.payload(14), first.payload(14));
    assert_eq!(sound_ms(&again, &summary), sound_ms(&first, &original));
    assert!(first.payload(15).ends_with(&again.payload(15)[..]), "video from when it was connected");
}

#[tokio::test]
async fn one_participants_picture_comes_by_subscription() {
    let (to, mut posted) = webhook(200);
    let run = begin(settings(&to));
    let stream = started(&mut posted).await;
    let (mut signaling, urls) = stream.signaling().await;
    let mut video = dial(urls["all"].as_str().unwrap()).await;
    let asked = json!({"video": {"codec": 7, "fps": 25, "data_opt": 4}});
    send(&mut video, &stream.media_hello(2, asked)).await;
    assert_eq!(receive(&mut video).await.unwrap()["media_params"]["video"]["data_opt"], 4);
    send(&mut signaling, &json!({"msg_type": 7, "rtms_stream_id": stream.stream})).await;
    assert!(timeout(Duration::from_millis(200), video.next()).await.is_err(), "nothing without a subscription");
    for (user, status) in [(1, 42), (16_779_264, 0), (16_779_264, 44)] {
        send(&mut signaling, &json!({"msg_type": 28, "user_id": user, "subscribe": true, "timestamp": 1})).await;
        assert_eq!(receive_type(&mut signaling, 29).await["status_code"], status);
    }
    let picture = receive(&mut video).await.unwrap();
    assert_eq!(picture["content"]["user_id"], 16_779_264);
    send(&mut signaling, &json!({"msg_type": 21, "rtms_stream_id": stream.stream})).await;
    while receive(&mut video).await.is_ok() {}
    while receive(&mut signaling).await.is_ok() {}
    assert_eq!(one(run).await.stop_reason, 20);
}

#[tokio::test]
async fn what_the_recorder_answers_is_told_with_what_to_change() {
    let (to, _posted) = webhook(401);
    let error = timeout(Duration::from_secs(10), begin(settings(&to))).await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("401") && error.to_string().contains("ZOOM_SECRET_TOKEN"), "{error}");
    let error = begin(settings(&to.replace("/webhook", "/elsewhere"))).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("WEBHOOK_PATH"), "{error}");
    let mut nobody = settings("http://127.0.0.1:9/webhook");
    nobody.webhooks.retry_after = Duration::from_millis(20);
    let error = begin(nobody).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("--to"), "{error}");
}

#[tokio::test]
async fn stops_and_starts_come_in_any_order() {
    let (to, mut posted) = webhook(200);
    let mut settings = settings(&to);
    settings.length = Some(Duration::from_secs(1));
    settings.webhooks.nested = true;
    settings.webhooks.stop_before_start = true;
    settings.webhooks.late_start = true;
    let summary = one(begin(settings)).await;
    let mut names = Vec::new();
    while let Ok(post) = posted.try_recv() {
        assert!(post.signed && post.event["payload"]["object"]["rtms_stream_id"] == summary.stream_id.as_str());
        names.push(post.event["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(names, ["meeting.rtms_stopped", "meeting.rtms_started", "meeting.rtms_started"]);
    assert!(summary.media.is_empty());
}

#[tokio::test]
async fn a_stream_that_nobody_connects_to_ends() {
    let (to, mut posted) = webhook(200);
    let mut settings = settings(&to);
    settings.length = Some(Duration::from_secs(60));
    settings.reconnect_window = Some(Duration::from_millis(200));
    assert_eq!(one(begin(settings.clone())).await.stop_reason, 11);
    while posted.try_recv().is_ok() {}
    // A client that goes, and stays away.
    let run = begin(settings);
    let stream = started(&mut posted).await;
    let (signaling, _) = stream.signaling().await;
    drop(signaling);
    assert_eq!(one(run).await.stop_reason, 15);
}

#[tokio::test]
async fn many_meetings_run_at_once() {
    let (to, mut posted) = webhook(200);
    let run = begin(Settings {
        meetings: 20,
        stagger: Duration::from_millis(5),
        length: Some(Duration::from_secs(4)),
        speed: 1.0,
        ..settings(&to)
    });
    let recorders = Arc::new(Mutex::new(BTreeMap::new()));
    let known = recorders.clone();
    tokio::spawn(async move {
        while let Some(post) = posted.recv().await {
            let stream = post.event["payload"]["rtms_stream_id"].as_str().unwrap().to_owned();
            let mut known = known.lock().unwrap();
            let (forward, _) = known.entry(stream).or_insert_with(|| {
                let (tx, rx) = mpsc::unbounded_channel();
                (tx, record(rx, params()))
            });
            forward.send(post).ok();
        }
    });
    let summary = timeout(Duration::from_secs(30), run).await.unwrap().unwrap().unwrap();
    assert_eq!(summary.meetings.len(), 20);
    for meeting in &summary.meetings {
        let heard = recorders.lock().unwrap()[&meeting.stream_id].1.clone();
        assert_equal(&heard, meeting);
        assert_eq!(meeting.medium(Medium::Audio).messages, 40, "{meeting:#?}");
    }
    assert!(summary.to_string().contains("20 meetings"));
}
