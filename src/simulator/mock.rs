//! The test server that Zoom published in June 2025, and that others develop against, with all that it does otherwise.
//!
//! | the server | Zoom |
//! |---|---|
//! | webhooks are not signed, and give `ws://0.0.0.0` as its address | signed, `wss://` |
//! | one stream; its sockets are at `/`, `/audio`, `/video`, `/transcript`, `/all` | paths are not documented |
//! | refusals have a text and no status | a status and a text |
//! | media handshakes are not answered: it sends to whoever is there, ready or not | message 4, and nothing before message 7 |
//! | keep-alives on signaling only, half of them without a timestamp; the answers do not count, only pongs, which it never asks for. So it drops signaling after four | 10 s, on both |
//! | stop reasons by name, the session's id as `session_id`, the end of the stream told on the media sockets | numbers, `rtms_session_id`, on signaling |
//! | `data` without `length`: whatever a block of the file, or of what a browser recorded, holds | one picture or packet |

use super::Settings;
use super::end::End;
use super::meeting::Meeting;
use super::server::{Refusal, check_identity};
use super::socket::{Gone, Received, Socket};
use super::state::{Cause, Control};
use crate::advice::stop_reason;
use crate::protocol::message::{Medium, msg_type};
use base64_simd::STANDARD;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Files are read in blocks of this size.
const BLOCK_BYTES: usize = 4096;
/// What a browser records is passed on so often.
const SLICE_MS: i64 = 200;
/// Keep-alives after which it takes the client for dead.
const MISSES: u32 = 4;

/// The address of a socket at the server that listens at `base`, as it gives it.
pub(super) fn url(base: &str, key: &str) -> String {
    let port = base.rsplit(':').next().unwrap_or_default();
    let path = if key.is_empty() { String::new() } else { format!("/{key}") };
    format!("ws://0.0.0.0:{port}{path}")
}

/// The media at a path.
pub(super) fn media(key: &str) -> Vec<Medium> {
    let all = [Medium::Audio, Medium::Video, Medium::Transcript];
    all.into_iter().filter(|medium| key == "all" || medium.as_str() == key).collect()
}

/// What is sent, whatever is asked for.
pub(super) fn params(settings: &Settings) -> Value {
    json!({"audio": {"send_rate": 100}, "video": {"codec": 7, "fps": settings.fps.max(6)}})
}

/// What is said on a media socket once the stream is over.
pub(super) fn farewell(meeting: &Meeting) -> Option<Value> {
    const TERMINATED: i64 = 4;
    let over = meeting.settings.mock && meeting.state().stream_state == TERMINATED;
    over.then(|| {
        json!({
            "msg_type": msg_type::STREAM_STATE_UPDATE, "state": TERMINATED, "reason": reason_name(meeting.stop_reason),
            "timestamp": meeting.clock().now(),
        })
    })
}

fn reason_name(code: i64) -> String {
    stop_reason::of(code).map_or_else(|| "UNDEFINED".to_owned(), |reason| format!("STOP_BC_{}", reason.name))
}

/// Serves signaling.
pub(super) async fn serve(meeting: Arc<Meeting>, mut socket: Socket) {
    let (controls, mut inbox) = mpsc::unbounded_channel();
    let mut controls = Some(controls);
    let mut id = None;
    let end = run(&meeting, &mut socket, &mut inbox, &mut controls, &mut id).await;
    match id {
        Some(id) => End::of(end).leave(&meeting, id, socket, Vec::new()).await,
        None => socket.drop_silently().await,
    }
}

async fn run(
    meeting: &Meeting,
    socket: &mut Socket,
    inbox: &mut mpsc::UnboundedReceiver<Control>,
    controls: &mut Option<mpsc::UnboundedSender<Control>>,
    id: &mut Option<u64>,
) -> Result<End, Gone> {
    let interval = meeting.settings.keepalive / 2;
    let mut next = Instant::now() + interval;
    let mut asked = 0;
    loop {
        tokio::select! {
            control = inbox.recv() => match control {
                Some(Control::Send(message)) => {
                    if let Some(message) = in_its_words(&message) {
                        socket.send(&message).await?;
                    }
                }
                Some(Control::Ready) => {}
                Some(Control::Close) | None => return Ok(End::Closed),
                Some(Control::Drop | Control::Mute) => return Ok(End::Dropped),
            },
            received = socket.receive() => match received {
                Received::Json(message) if message["msg_type"] == msg_type::SIGNALING_HAND_SHAKE_REQ => {
                    let answer = match (greet(meeting, &message), controls.take()) {
                        (Ok(()), Some(controls)) => {
                            *id = meeting.connect_signaling(controls, false).ok();
                            accepted(meeting)
                        }
                        (Err(why), kept) => {
                            *controls = kept;
                            meeting.refuse(format!("signaling handshake: {why}"));
                            json!({"msg_type": 2, "protocol_version": 1, "reason": why})
                        }
                        (Ok(()), None) => accepted(meeting),
                    };
                    socket.send(&answer).await?;
                }
                Received::Json(_) | Received::Nothing | Received::Bad(_) => {}
                Received::Gone => return Ok(End::Lost(Cause::Client)),
            },
            () = sleep_until(next) => {
                asked += 1;
                if asked >= MISSES {
                    return Ok(End::Lost(Cause::KeepAlive));
                }
                next += interval;
                // They begin before the handshake.
                socket.send(&match asked % 2 {
                    1 => json!({"msg_type": 12, "timestamp": meeting.clock().now()}),
                    _ => json!({"msg_type": 12, "protocol_version": 1, "status_code": 0}),
                }).await?;
            }
        }
    }
}

fn greet(meeting: &Meeting, request: &Value) -> Result<(), &'static str> {
    if request["protocol_version"] != 1 {
        return Err("Unsupported protocol version");
    }
    if ["meeting_uuid", "rtms_stream_id", "signature"].iter().any(|key| request[*key].as_str().is_none()) {
        return Err("Missing required fields");
    }
    match check_identity(meeting, request) {
        Ok(()) => Ok(()),
        Err(Refusal::Status(..)) => Err("Invalid meeting or stream ID"),
        Err(Refusal::Silent(_)) => Err("Invalid signature"),
    }
}

fn accepted(meeting: &Meeting) -> Value {
    let key = "00".repeat(32);
    json!({
        "msg_type": msg_type::SIGNALING_HAND_SHAKE_RESP, "protocol_version": 1, "status_code": 0,
        "media_server": {
            "server_urls": {
                "audio": meeting.mock_url("audio"), "video": meeting.mock_url("video"),
                "transcript": meeting.mock_url("transcript"), "all": meeting.mock_url("all"),
            },
            "srtp_keys": {"audio": key, "video": key, "share": key},
        },
    })
}

/// A message as this server puts it; none if it does not know it.
fn in_its_words(message: &Value) -> Option<Value> {
    (message["msg_type"] == msg_type::SESSION_STATE_UPDATE).then(|| {
        let mut said = json!({
            "msg_type": msg_type::SESSION_STATE_UPDATE, "session_id": message["rtms_session_id"],
            "state": message["state"], "timestamp": message["timestamp"],
        });
        if let Some(code) = message["stop_reason"].as_i64() {
            said["stop_reason"] = reason_name(code).into();
        }
        said
    })
}

/// Turns messages into what this server makes of them.
#[derive(Default)]
pub(super) struct Blocks {
    video: Vec<u8>,
    /// When the slice began that is being gathered.
    since: Option<i64>,
}

impl Blocks {
    /// Takes a message, gives those that are sent: pictures are gathered for a while and then sent in blocks, wherever a picture
    /// begins or ends.
    pub(super) fn push(&mut self, text: &str) -> Vec<String> {
        let mut message: Value = serde_json::from_str(text).unwrap_or_default();
        let content = &mut message["content"];
        if let Some(content) = content.as_object_mut() {
            for key in ["length", "user_name", "language", "start_time", "end_time", "attribute"] {
                content.remove(key);
            }
            content.insert("user_id".into(), 0.into());
        }
        let at = content["timestamp"].as_i64().unwrap_or_default();
        if message["msg_type"] != msg_type::MEDIA_DATA_VIDEO {
            return vec![message.to_string()];
        }
        let data = message["content"]["data"].as_str().unwrap_or_default();
        let gathered = self.since.filter(|since| at - since >= SLICE_MS).map(|since| self.send(since));
        self.since = Some(self.since.filter(|_| gathered.is_none()).unwrap_or(at));
        self.video.extend(STANDARD.decode_to_vec(data).unwrap_or_default());
        gathered.unwrap_or_default()
    }

    /// What is left when the file ends.
    pub(super) fn rest(&mut self) -> Vec<String> {
        let Some(since) = self.since.take() else { return Vec::new() };
        let mut blocks = self.send(since);
        let rest = std::mem::take(&mut self.video);
        blocks.extend((!rest.is_empty()).then(|| block(&rest, since)));
        blocks
    }

    fn send(&mut self, since: i64) -> Vec<String> {
        let whole = self.video.len() - self.video.len() % BLOCK_BYTES;
        let blocks: Vec<u8> = self.video.drain(..whole).collect();
        blocks.chunks(BLOCK_BYTES).map(|bytes| block(bytes, since)).collect()
    }
}

fn block(bytes: &[u8], timestamp: i64) -> String {
    let data = STANDARD.encode_to_string(bytes);
    json!({"msg_type": msg_type::MEDIA_DATA_VIDEO, "content": {"user_id": 0, "data": data, "timestamp": timestamp}})
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_sent_in_blocks_that_know_nothing_of_pictures() {
        let mut blocks = Blocks::default();
        let picture = |n: u8, at: i64| {
            let data = STANDARD.encode_to_string(vec![n; 3000]);
            json!({"msg_type": 15, "content": {"user_id": 7, "user_name": "x", "data": data, "length": 3000, "timestamp": at}})
        };
        let mut sent = Vec::new();
        for n in 0..12_u8 {
            sent.extend(blocks.push(&picture(n, 1000 + i64::from(n) * 40).to_string()));
        }
        let sent: Vec<Value> = sent.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let times: Vec<i64> = sent.iter().filter_map(|message| message["content"]["timestamp"].as_i64()).collect();
        assert_eq!(times, [1000, 1000, 1000, 1200, 1200, 1200, 1200], "30 kB");
        let bytes = STANDARD.decode_to_vec(sent[0]["content"]["data"].as_str().unwrap()).unwrap();
        assert_eq!((bytes.len(), bytes[2999], bytes[3000]), (4096, 0, 1));
        assert!(sent[0]["content"].get("length").is_none() && sent[0]["content"]["user_id"] == 0);
    }

    #[test]
    fn its_address_is_every_address() {
        assert_eq!(url("ws://127.0.0.1:9092", ""), "ws://0.0.0.0:9092");
        assert_eq!(url("ws://127.0.0.1:9092", "audio"), "ws://0.0.0.0:9092/audio");
        assert_eq!(media("all").len(), 3);
        assert_eq!(media("video"), [Medium::Video]);
    }
}
