//! What Zoom's messages mean to a link: answers to handshakes, keep-alives, states of the stream, events.

use super::refusal::{self, Refusal};
use super::socket::State;
use super::{Cause, CloseMedia, Conn, EndSource, Link, Loss, Now, Output, Report, RunId};
use crate::protocol::message::{self, Medium, Message, msg_type};
use crate::protocol::server_urls;
use crate::protocol::tolerant;
use serde_json::Value;

impl Link {
    pub(super) fn received(&mut self, now: Now, run: RunId, kind: i64, bytes: &[u8]) {
        let Some(socket) = self.current(run) else { return };
        let greeting = matches!(socket.state, State::Greeting(_));
        let is_media = Medium::of_msg_type(kind).is_some();
        socket.heard(now.instant, is_media);
        if is_media {
            // A test server of Zoom's never answers the media handshake and just sends.
            if greeting && run.conn != Conn::Signaling {
                self.up(now, run, "media without an answer to the handshake".into());
            }
            return;
        }
        let Ok(message) = Message::parse(bytes) else { return };
        match kind {
            msg_type::KEEP_ALIVE_REQ => {
                let timestamp = message.timestamp.unwrap_or(now.unix_ms);
                self.outputs.push_back(Output::Send(run, message::keep_alive_response(timestamp)));
            }
            msg_type::SIGNALING_HAND_SHAKE_RESP if greeting && run.conn == Conn::Signaling => {
                self.signaling_answered(now, run, &message);
            }
            msg_type::DATA_HAND_SHAKE_RESP if greeting && run.conn != Conn::Signaling => {
                self.media_answered(now, run, &message);
            }
            msg_type::STREAM_STATE_UPDATE => self.stream_state(now, &message),
            msg_type::EVENT_UPDATE if message.event.as_ref().is_some_and(is_media_interrupted) => {
                self.redial_silent_media(now, &Loss::new(Cause::Interrupted, "event 7"));
            }
            _ => {}
        }
    }

    fn signaling_answered(&mut self, now: Now, run: RunId, message: &Message<'_>) {
        if message.status_code != Some(0) {
            self.answered_no(now, run, message);
            return;
        }
        self.up(now, run, String::new());
        self.identities.accepted();
        self.signaling_up_unix_ms = now.unix_ms;
        let urls = message.media_server.as_ref().and_then(|server| server.get("server_urls"));
        let share = self.media.iter().any(|m| m.medium == Medium::Share);
        let subscriptions = message::event_subscriptions(self.settings.product, share);
        self.outputs.extend(subscriptions.into_iter().map(|subscription| Output::Send(run, subscription)));
        for index in 0..self.media.len() {
            self.drop_medium(index, &Loss::new(Cause::Signaling, "signaling was connected again"));
            let medium = &mut self.media[index];
            let address = urls.and_then(|urls| server_urls::media(urls, medium.medium.url_keys()));
            let checked = address.map(|address| self.settings.allowed_hosts.check(&address));
            let because = match checked {
                Some(Ok(url)) => {
                    medium.url = Some(url);
                    if !medium.given_up {
                        medium.socket.dial_at_once(now.instant);
                    }
                    continue;
                }
                Some(Err(refused)) => refused.to_string(),
                None => format!("Zoom offers no {} to this app: is the scope granted?", medium.medium.as_str()),
            };
            medium.url = None;
            let run = RunId { conn: Conn::Media(medium.medium), run: medium.socket.run };
            self.outputs.push_back(Output::Report(Report::Refused { run, because, for_good: true }));
        }
    }

    fn media_answered(&mut self, now: Now, run: RunId, message: &Message<'_>) {
        if message.status_code != Some(0) {
            self.answered_no(now, run, message);
        } else if message.is_encrypted() {
            self.outputs.push_back(Output::Close(run));
            let because = "Zoom encrypts this medium's payloads, in a way that is not documented".into();
            self.refused(now, run, because, Refusal::NotAvailable);
        } else {
            self.up(now, run, String::new());
        }
    }

    fn answered_no(&mut self, now: Now, run: RunId, message: &Message<'_>) {
        self.outputs.push_back(Output::Close(run));
        self.refused(now, run, refusal::in_words(message), Refusal::of(&message.reason_text()));
    }

    fn stream_state(&mut self, now: Now, message: &Message<'_>) {
        const INTERRUPTED: i64 = 2;
        const TERMINATING: i64 = 3;
        const TERMINATED: i64 = 4;
        const DATA_CONNECTION_INTERRUPTED: i64 = 14;
        let reason = message.reason_code();
        match message.state {
            Some(TERMINATED) => self.end(now, EndSource::State, reason),
            Some(TERMINATING) => {
                self.terminating_until.get_or_insert(now.instant + self.settings.timing.terminating);
            }
            Some(INTERRUPTED) if reason == Some(DATA_CONNECTION_INTERRUPTED) => {
                self.redial_silent_media(now, &Loss::new(Cause::Interrupted, "stream state 2, reason 14"));
            }
            Some(INTERRUPTED) if self.signaling_is_settled(now) => {
                let loss = Loss::new(Cause::Interrupted, "stream state 2");
                self.restart_signaling(now, &loss, CloseMedia::Later);
            }
            _ => {}
        }
    }
}

fn is_media_interrupted(event: &Value) -> bool {
    const MEDIA_CONNECTION_INTERRUPTED: i64 = 7;
    event.get("event_type").and_then(tolerant::as_int) == Some(MEDIA_CONNECTION_INTERRUPTED)
}
