//! A signaling socket: the handshake, subscriptions, the ready-ack, queries, and what Zoom tells of its own accord.

use super::end::{End, mute};
use super::meeting::Meeting;
use super::products;
use super::server::{Refusal, check_identity};
use super::socket::{Gone, Received, Socket};
use super::state::{Cause, Control};
use super::text::{GUEST, GUEST_LEAVES_MS, PEOPLE, speaker};
use crate::ids::Product;
use crate::protocol::message::{Medium, msg_type};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

/// Serves one signaling socket to its end.
pub(super) async fn serve(meeting: Arc<Meeting>, mut socket: Socket) {
    let Some(request) = socket.handshake().await else {
        meeting.refuse("signaling: no handshake: closed".into());
        return socket.close().await;
    };
    let (controls, mut inbox) = mpsc::unbounded_channel();
    let accepted = accept(&meeting, &request).and_then(|buffer_data| {
        let connected = meeting.connect_signaling(controls, buffer_data);
        connected.map_err(|(code, reason)| Refusal::Status(code, reason))
    });
    let id = match accepted {
        Ok(id) => id,
        Err(Refusal::Status(code, reason)) => {
            meeting.refuse(format!("signaling handshake: status {code} {reason}"));
            let answer = json!({
                "msg_type": msg_type::SIGNALING_HAND_SHAKE_RESP, "protocol_version": 1, "sequence": 0,
                "status_code": code, "reason": reason,
            });
            // Closing says the rest.
            socket.send(&answer).await.ok();
            return socket.close().await;
        }
        Err(Refusal::Silent(why)) => {
            meeting.refuse(format!("signaling handshake: {why}: closed without a word"));
            return socket.close().await;
        }
    };
    let answer = json!({
        "msg_type": msg_type::SIGNALING_HAND_SHAKE_RESP, "protocol_version": 1, "sequence": 0, "status_code": 0,
        "reason": "", "media_server": {"server_urls": meeting.media_urls()},
    });
    let end = match socket.send(&answer).await {
        Ok(()) => run(&meeting, &mut socket, &mut inbox).await,
        Err(gone) => Err(gone),
    };
    End::of(end).leave(&meeting, id, socket, Vec::new()).await;
}

/// Checks a handshake; gives its `buffer_data`.
fn accept(meeting: &Meeting, request: &Value) -> Result<bool, Refusal> {
    if request["msg_type"] != msg_type::SIGNALING_HAND_SHAKE_REQ {
        return Err(Refusal::Status(1, "INVALID_MESSAGE_TYPE"));
    }
    check_identity(meeting, request)?;
    match &request["buffer_data"] {
        Value::Null => Ok(true),
        Value::Bool(keep) => Ok(*keep),
        _ => Err(Refusal::Status(4, "INVALID_PAYLOAD: buffer_data")),
    }
}

async fn run(
    meeting: &Meeting,
    socket: &mut Socket,
    inbox: &mut mpsc::UnboundedReceiver<Control>,
) -> Result<End, Gone> {
    let quirks = &meeting.settings.quirks;
    if quirks.unknown_messages {
        socket.send(&json!({"msg_type": 77, "news": {"n": 1}})).await?;
    }
    if quirks.garbage {
        socket.feed_garbage().await?;
        socket.flush().await?;
    }
    loop {
        let keepalive = socket.keepalive_due();
        tokio::select! {
            biased;
            control = inbox.recv() => match control {
                Some(Control::Send(message)) => socket.send(&message).await?,
                Some(Control::Ready) => {}
                Some(Control::Drop) => return Ok(End::Dropped),
                Some(Control::Mute) => return Ok(mute(meeting, socket).await),
                Some(Control::Close) | None => return Ok(End::Closed),
            },
            received = socket.receive() => match received {
                Received::Nothing => {}
                Received::Gone => return Ok(End::Lost(Cause::Client)),
                Received::Bad(what) => {
                    meeting.refuse(format!("signaling: {what}: closed"));
                    return Ok(End::Lost(Cause::Client));
                }
                Received::Json(message) => {
                    if let Some(answer) = answer(meeting, socket, &message) {
                        socket.send(&answer).await?;
                    }
                }
            },
            () = sleep_until(keepalive) => {
                if !socket.keepalive(meeting.clock().now()).await? {
                    return Ok(End::Lost(Cause::KeepAlive));
                }
            }
        }
    }
}

/// Acts on a message; gives what is answered, if anything is.
fn answer(meeting: &Meeting, socket: &mut Socket, message: &Value) -> Option<Value> {
    let kind = message["msg_type"].as_i64().unwrap_or_default();
    let now = meeting.clock().now();
    let own_stream = message["rtms_stream_id"] == meeting.stream_id.as_str();
    let refuse = |answer_type: i64, code: i64, reason: &str| {
        meeting.refuse(format!("signaling: message of type {kind}: status {code} {reason}: {message}"));
        Some(json!({"msg_type": answer_type, "status_code": code, "reason": reason, "timestamp": now}))
    };
    match kind {
        msg_type::EVENT_SUBSCRIPTION => {
            subscribe(meeting, message).err().and_then(|(code, reason)| refuse(kind, code, reason))
        }
        msg_type::CLIENT_READY_ACK => match own_stream && meeting.ready() {
            true => None,
            false => refuse(kind, 41, "INVALID_CLIENT_READY_ACK"),
        },
        10 if message["rtms_session_id"] != meeting.session_id.as_str() => refuse(11, 40, "INVALID_RTMS_SESSION_ID"),
        10 => Some(json!({
            "msg_type": 11, "rtms_session_id": meeting.session_id, "state": meeting.state().session_state,
            "timestamp": now,
        })),
        msg_type::KEEP_ALIVE_RESP => {
            if !socket.answered(message) {
                meeting.refuse(format!("signaling: keep-alive answer to nothing that was asked: {message}"));
            }
            None
        }
        19 if !own_stream => refuse(20, 2, "INVALID_RTMS_STREAM_ID"),
        // Zoom's example has this timestamp in seconds.
        19 => Some(json!({
            "msg_type": 20, "rtms_stream_id": meeting.stream_id, "state": meeting.state().stream_state,
            "timestamp": now / 1000,
        })),
        21 if !own_stream => refuse(22, 2, "INVALID_RTMS_STREAM_ID"),
        21 => {
            meeting.state().close_requested = true;
            meeting.changed.notify_one();
            Some(json!({
                "msg_type": 22, "rtms_stream_id": meeting.stream_id, "status_code": 0, "reason": "OK", "timestamp": now,
            }))
        }
        28 => {
            let Some(user) = message["user_id"].as_u64().and_then(|u| u32::try_from(u).ok()) else {
                return refuse(29, 4, "INVALID_PAYLOAD: user_id is an unsigned number");
            };
            let exists = PEOPLE.iter().any(|person| person.id == user);
            let (code, reason) = meeting.subscribe_video(user, message["subscribe"] != false, exists);
            if code != 0 {
                meeting.refuse(format!("signaling: video subscription: status {code} {reason}"));
            }
            Some(json!({
                "msg_type": 29, "user_id": user, "status_code": code, "reason": reason, "timestamp": now,
            }))
        }
        _ => refuse(kind, 1, "INVALID_MESSAGE_TYPE"),
    }
}

fn subscribe(meeting: &Meeting, message: &Value) -> Result<(), (i64, &'static str)> {
    let events = message["events"].as_array().ok_or((5, "INVALID_EVENTS"))?;
    let mut changes = Vec::new();
    for event in events {
        let number = event["event_type"].as_i64().ok_or((6, "INVALID_EVENT_TYPE"))?;
        let on = event["subscribe"].as_bool().ok_or((42, "INVALID_EVENT_SUBSCRIBE"))?;
        // 1 and 7 come by themselves; subscribing to them may disturb the app.
        if !(2..=products::last_event(meeting.settings.product)).contains(&number) || number == 7 {
            return Err((6, "INVALID_EVENT_TYPE"));
        }
        changes.push((number, on));
    }
    for (number, on) in changes {
        meeting.subscribe(number, on);
        if on {
            present(meeting, number);
        }
    }
    Ok(())
}

/// Tells a new subscriber how things stand: who is there, who speaks, whose camera is on. Zoom's first join event
/// seems to do so; for the other two it is our guess.
fn present(meeting: &Meeting, event_type: i64) {
    if meeting.material.replay.is_some() {
        return;
    }
    if meeting.settings.product == Product::ContactCenter {
        let now = meeting.clock().now();
        return products::parties(event_type, now).into_iter().for_each(|event| meeting.event(event));
    }
    let position = meeting.clock().position();
    let timestamp = meeting.clock().now();
    let guest = (position < GUEST_LEAVES_MS).then_some(&GUEST);
    let there = || PEOPLE.iter().chain(guest).filter(|person| person.joins_ms <= position);
    match event_type {
        2 => {
            let person = &PEOPLE[speaker(position)];
            meeting.event(json!({
                "event_type": 2, "timestamp": timestamp, "user_id": person.id, "user_name": person.name,
            }));
        }
        3 => {
            let people: Vec<Value> =
                there().map(|person| json!({"user_id": person.id, "user_name": person.name})).collect();
            meeting.event(json!({"event_type": 3, "timestamp": timestamp, "participants": people}));
        }
        8 if !meeting.settings.script.withholds(Medium::Video, position) => {
            let people: Vec<Value> = there().map(|person| json!({"user_id": person.id})).collect();
            meeting.event(json!({"event_type": 8, "timestamp": timestamp, "participants": people}));
        }
        _ => {}
    }
}
