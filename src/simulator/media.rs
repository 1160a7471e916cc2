//! A media socket: the handshake, then messages as they fall due once the ready-ack has come.

use super::connections::NO_SIGNALING;
use super::end::{End, mute};
use super::feed::{Feed, Next};
use super::meeting::Meeting;
use super::mock::{self, Blocks};
use super::params::{self, Params};
use super::server::{Refusal, check_identity};
use super::socket::{Gone, Received, Socket};
use super::state::{Cause, Control};
use crate::protocol::message::{Medium, msg_type};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Messages that fall due within this time go out together.
const TICK: Duration = Duration::from_millis(10);
/// With unknown messages or garbage asked for, one comes after so many messages.
const ODD_EVERY: u64 = 40;

/// Serves one media socket to its end. `key` is the last part of its address.
pub(super) async fn serve(meeting: Arc<Meeting>, mut socket: Socket, key: String) {
    let Some(request) = socket.handshake().await else {
        return socket.close().await;
    };
    let (controls, inbox) = mpsc::unbounded_channel();
    let (media, echo, params) = match accept(&meeting, &key, &request) {
        Ok(accepted) => accepted,
        Err(Refusal::Silent(why)) => {
            meeting.refuse(format!("media handshake on {key}: {why}: closed without a word"));
            return socket.close().await;
        }
        Err(Refusal::Status(code, reason)) => return refuse(&meeting, socket, &key, code, reason).await,
    };
    let mut feeds = Vec::new();
    for (medium, params) in media.iter().zip(&params) {
        match Feed::new(*medium, *params, &meeting.settings, &meeting.material).await {
            Ok(feed) => feeds.push(feed),
            Err(error) => {
                meeting.progress.note(&format!("no {} to send: {error}", medium.as_str()));
                return refuse(&meeting, socket, &key, 45, "INTERNAL_EXCEPTION").await;
            }
        }
    }
    let individual = params.iter().any(|p| matches!(p, Params::Pictures(p) if p.individual));
    let id = match meeting.connect_media(controls, &media, key == "all", individual) {
        Ok(id) => id,
        Err((code, reason)) => return refuse(&meeting, socket, &key, code, reason).await,
    };
    let answer = json!({
        "msg_type": msg_type::DATA_HAND_SHAKE_RESP, "protocol_version": 1, "sequence": 0, "status_code": 0,
        "reason": "", "payload_encrypted": false, "media_params": echo,
    });
    let mut task = Task::new(meeting.clone(), socket, inbox, feeds);
    let end = match task.socket.send(&answer).await {
        Ok(()) => task.run().await,
        Err(gone) => Err(gone),
    };
    End::of(end).leave(&meeting, id, task.socket, task.feeds).await;
}

/// Serves one media socket of the test server: there is no handshake, it sends to whoever is there.
pub(super) async fn serve_mock(meeting: Arc<Meeting>, socket: Socket, key: String) {
    let media: Vec<Medium> = mock::media(&key).into_iter().filter(|m| meeting.settings.media.contains(m)).collect();
    let (controls, inbox) = mpsc::unbounded_channel();
    let mut feeds = Vec::new();
    for medium in &media {
        let asked = mock::params(&meeting.settings);
        let Ok((params, _)) = params::effective(*medium, &asked) else { return socket.close().await };
        match Feed::new(*medium, params, &meeting.settings, &meeting.material).await {
            Ok(feed) => feeds.push(feed),
            Err(error) => meeting.progress.note(&format!("no {} to send: {error}", medium.as_str())),
        }
    }
    let Ok(id) = meeting.connect_media(controls, &media, key == "all", false) else { return socket.close().await };
    meeting.ready();
    let mut task = Task::new(meeting.clone(), socket, inbox, feeds);
    let end = task.run().await;
    End::of(end).leave(&meeting, id, task.socket, task.feeds).await;
}

async fn refuse(meeting: &Meeting, mut socket: Socket, key: &str, code: i64, reason: &str) {
    // Signaling that went a moment ago is not the client's fault.
    if reason != NO_SIGNALING || meeting.state().summary.signaling_handshakes == 0 {
        meeting.refuse(format!("media handshake on {key}: status {code} {reason}"));
    }
    let answer = json!({
        "msg_type": msg_type::DATA_HAND_SHAKE_RESP, "protocol_version": 1, "sequence": 0, "status_code": code,
        "reason": reason,
    });
    // Closing says the rest.
    socket.send(&answer).await.ok();
    socket.close().await;
}

type Accepted = (Vec<Medium>, Value, Vec<Params>);

fn accept(meeting: &Meeting, key: &str, request: &Value) -> Result<Accepted, Refusal> {
    if request["msg_type"] != msg_type::DATA_HAND_SHAKE_REQ {
        return Err(Refusal::Status(1, "INVALID_MESSAGE_TYPE"));
    }
    check_identity(meeting, request)?;
    let bits = request["media_type"].as_i64().ok_or(Refusal::Status(7, "INVALID_MEDIA_TYPE"))?;
    if !(1..64).contains(&bits) {
        return Err(Refusal::Status(14, "MEDIA_TYPE_INVALID_VALUE"));
    }
    let offered = &meeting.settings.media;
    let mut media: Vec<Medium> = Medium::ALL.into_iter().filter(|m| bits & m.bit() != 0).collect();
    for medium in &media {
        if !offered.contains(medium) {
            return Err(match medium {
                Medium::Audio => Refusal::Status(9, "MEDIA_TYPE_AUDIO_NOT_SUPPORT"),
                Medium::Video => Refusal::Status(10, "MEDIA_TYPE_VIDEO_NOT_SUPPORT"),
                Medium::Share => Refusal::Status(11, "MEDIA_TYPE_DESKSHARE_NOT_SUPPORT"),
                Medium::Transcript => Refusal::Status(12, "MEDIA_TYPE_TRANSCRIPT_NOT_SUPPORT"),
                Medium::Chat => Refusal::Status(13, "MEDIA_TYPE_CHAT_NOT_SUPPORT"),
            });
        }
    }
    if bits & 32 != 0 {
        media = offered.clone();
    }
    if key != "all" && (bits & 32 != 0 || media.len() != 1 || media[0].params_key() != key) {
        return Err(Refusal::Status(14, "MEDIA_TYPE_INVALID_VALUE: this address is for one medium"));
    }
    let asked = &request["media_params"];
    if !asked.is_null() && !asked.is_object() {
        return Err(Refusal::Status(17, "INVALID_MEDIA_PARAMS"));
    }
    let (mut echo, mut params) = (json!({}), Vec::new());
    for medium in &media {
        let (own, part) = params::effective(*medium, asked).map_err(|(code, why)| Refusal::Status(code, why))?;
        echo[medium.params_key()] = part;
        params.push(own);
    }
    Ok((media, echo, params))
}

struct Task {
    meeting: Arc<Meeting>,
    socket: Socket,
    inbox: mpsc::UnboundedReceiver<Control>,
    feeds: Vec<Feed>,
    ready: bool,
    sent: u64,
    blocks: Blocks,
}

impl Task {
    fn new(meeting: Arc<Meeting>, socket: Socket, inbox: mpsc::UnboundedReceiver<Control>, feeds: Vec<Feed>) -> Self {
        Self { meeting, socket, inbox, feeds, ready: false, sent: 0, blocks: Blocks::default() }
    }

    async fn run(&mut self) -> Result<End, Gone> {
        let mut not_before = Instant::now();
        loop {
            let due = self.next_due().map(|at| at.max(not_before));
            let keepalive = self.socket.keepalive_due();
            tokio::select! {
                biased;
                control = self.inbox.recv() => match control {
                    Some(Control::Ready) => {
                        self.feeds.iter_mut().for_each(|feed| self.meeting.begin(feed));
                        self.ready = true;
                    }
                    Some(Control::Send(message)) => self.socket.send(&message).await?,
                    Some(Control::Drop) => return Ok(End::Dropped),
                    Some(Control::Mute) => return Ok(mute(&self.meeting, &mut self.socket).await),
                    Some(Control::Close) | None => {
                        if let Some(message) = mock::farewell(&self.meeting) {
                            for message in self.blocks.rest() {
                                self.socket.feed(message).await?;
                            }
                            self.socket.send(&message).await?;
                        }
                        return Ok(End::Closed);
                    }
                },
                received = self.socket.receive() => {
                    if let Some(end) = self.take(received).await? {
                        return Ok(end);
                    }
                }
                () = sleep_until(due.unwrap_or(keepalive)), if due.is_some() => {
                    not_before = Instant::now() + TICK;
                    self.send_due().await?;
                }
                () = sleep_until(keepalive), if !self.meeting.settings.mock => {
                    if !self.socket.keepalive(self.meeting.clock().now()).await? {
                        return Ok(End::Lost(Cause::KeepAlive));
                    }
                }
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        if !self.ready {
            return None;
        }
        let end_ms = self.meeting.end_ms();
        let due = self.feeds.iter().filter(|feed| feed.at().is_some_and(|at| at < end_ms));
        let due_ms = due.filter_map(Feed::due).min()?;
        // What is said as the meeting ends is cut short.
        Some(self.meeting.clock().instant(due_ms.min(end_ms)))
    }

    async fn send_due(&mut self) -> Result<(), Gone> {
        let clock = *self.meeting.clock();
        let end_ms = self.meeting.end_ms();
        let now = clock.position();
        let subscribed = self.meeting.video_of();
        let (mut batch, mut skipped) = (Vec::new(), 0);
        for feed in &mut self.feeds {
            while let (Some(at), Some(due)) = (feed.at(), feed.due()) {
                if at >= end_ms || due.min(end_ms) > now {
                    break;
                }
                let mut text = String::new();
                match feed.write(clock.epoch_ms, subscribed, &mut text) {
                    Next::Made(made) => {
                        match self.meeting.settings.mock {
                            false => self.socket.feed(text).await?,
                            true => {
                                for message in self.blocks.push(&text) {
                                    self.socket.feed(message).await?;
                                }
                            }
                        }
                        batch.push((feed.medium, made));
                    }
                    Next::BeforeKey => skipped += 1,
                    Next::Withheld => {}
                }
            }
        }
        for _ in &batch {
            self.odd().await?;
        }
        if !batch.is_empty() {
            self.socket.flush().await?;
        }
        self.meeting.sent(batch, skipped, &self.feeds);
        Ok(())
    }

    /// Something that a client has to pass over, now and then.
    async fn odd(&mut self) -> Result<(), Gone> {
        let quirks = &self.meeting.settings.quirks;
        let due = self.sent.is_multiple_of(ODD_EVERY);
        self.sent += 1;
        if due && quirks.unknown_messages {
            let metadata = json!({"msg_type": 23, "content": {"user_id": 16_778_240, "targets": []}});
            self.socket.feed(metadata.to_string()).await?;
            self.socket.feed(json!({"msg_type": 99, "later": true}).to_string()).await?;
        }
        if due && quirks.garbage {
            self.socket.feed_garbage().await?;
        }
        Ok(())
    }

    async fn take(&mut self, received: Received) -> Result<Option<End>, Gone> {
        match received {
            Received::Gone => return Ok(Some(End::Lost(Cause::Client))),
            // The test server answers nothing here.
            _ if self.meeting.settings.mock => {}
            Received::Nothing => {}
            Received::Bad(what) => {
                self.meeting.refuse(format!("media: {what}: closed"));
                return Ok(Some(End::Lost(Cause::Client)));
            }
            Received::Json(message) if message["msg_type"] == msg_type::KEEP_ALIVE_RESP => {
                if !self.socket.answered(&message) {
                    self.meeting.refuse(format!("media: keep-alive answer to nothing that was asked: {message}"));
                }
            }
            Received::Json(message) => {
                let kind = &message["msg_type"];
                self.meeting.refuse(format!("media: message of type {kind}: status 1"));
                let answer = json!({"msg_type": kind, "status_code": 1, "reason": "INVALID_MESSAGE_TYPE"});
                self.socket.send(&answer).await?;
            }
        }
        Ok(None)
    }
}
