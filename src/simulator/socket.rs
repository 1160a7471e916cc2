//! One accepted WebSocket: frames out in Zoom's two ways and with the quirks asked for, keep-alives, and the ways in
//! which a connection can end.

use super::{Binary, Quirks, Settings};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// How long a client may leave what it is sent unread.
const STUCK: Duration = Duration::from_secs(30);
/// How long a closing handshake may take.
const CLOSING: Duration = Duration::from_secs(2);
/// Keep-alives that may go unanswered.
const MISSES: usize = 3;

/// The connection is no more.
#[derive(Debug)]
pub(super) struct Gone;

/// What came from the client.
#[derive(Debug)]
pub(super) enum Received {
    Json(Value),
    /// Something that Zoom would not read.
    Bad(&'static str),
    /// Control frames.
    Nothing,
    Gone,
}

pub(super) struct Socket {
    ws: WebSocketStream<TcpStream>,
    settings: Arc<Settings>,
    frames: u64,
    last_sent: Instant,
    last_keepalive: Instant,
    unanswered: Vec<i64>,
}

impl Socket {
    pub(super) fn new(ws: WebSocketStream<TcpStream>, settings: Arc<Settings>) -> Self {
        Self {
            ws,
            settings,
            frames: 0,
            last_sent: Instant::now(),
            last_keepalive: Instant::now(),
            unanswered: Vec::new(),
        }
    }

    /// Queues a message; [`Socket::flush`] sends it.
    pub(super) async fn feed(&mut self, json: String) -> Result<(), Gone> {
        let text = dress(&self.settings.quirks, json);
        let binary = match self.settings.binary {
            Binary::Mixed => self.frames % 2 == 1,
            Binary::Always => true,
            Binary::Never => false,
        };
        self.frames += 1;
        let message = if binary { Message::Binary(text.into()) } else { Message::Text(text.into()) };
        self.put(message).await
    }

    /// Queues a frame that is not JSON.
    pub(super) async fn feed_garbage(&mut self) -> Result<(), Gone> {
        self.frames += 1;
        let message = if self.frames.is_multiple_of(2) {
            Message::Text("{\"msg_type\":14,\"content\":{\"data\":\"AAA".into())
        } else {
            Message::Binary(vec![0xff, 0x00, b'{', 0xfe].into())
        };
        self.put(message).await
    }

    async fn put(&mut self, message: Message) -> Result<(), Gone> {
        match timeout(STUCK, self.ws.feed(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }

    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        self.last_sent = Instant::now();
        match timeout(STUCK, self.ws.flush()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
    }

    pub(super) async fn send(&mut self, message: &Value) -> Result<(), Gone> {
        self.feed(message.to_string()).await?;
        self.flush().await
    }

    /// The next message. Cancel safe.
    pub(super) async fn receive(&mut self) -> Received {
        match self.ws.next().await {
            Some(Ok(Message::Text(text))) => match serde_json::from_str(text.as_str()) {
                Ok(value) => Received::Json(value),
                Err(_) => Received::Bad("a text frame that is not JSON"),
            },
            Some(Ok(Message::Binary(_))) => Received::Bad("a binary frame: clients send text frames"),
            Some(Ok(Message::Close(_))) | Some(Err(_)) | None => Received::Gone,
            Some(Ok(_)) => Received::Nothing,
        }
    }

    /// When the next keep-alive is due.
    pub(super) fn keepalive_due(&self) -> Instant {
        let since =
            if self.settings.keepalive_always { self.last_keepalive } else { self.last_sent.max(self.last_keepalive) };
        since + self.settings.keepalive
    }

    /// Sends one; gives `false`, and sends nothing, if the client has left three unanswered.
    pub(super) async fn keepalive(&mut self, now_ms: i64) -> Result<bool, Gone> {
        if self.unanswered.len() >= MISSES {
            return Ok(false);
        }
        self.last_keepalive = Instant::now();
        let message = if self.settings.quirks.keepalive_without_timestamp {
            json!({"msg_type": 12})
        } else {
            json!({"msg_type": 12, "timestamp": now_ms})
        };
        self.unanswered.push(now_ms);
        self.send(&message).await?;
        Ok(true)
    }

    /// Takes a keep-alive's answer; gives `false` if it answers none that was sent.
    pub(super) fn answered(&mut self, answer: &Value) -> bool {
        let timestamp = &answer["timestamp"];
        let found = match timestamp.as_i64().or_else(|| timestamp.as_str()?.parse().ok()) {
            // Any time will do where none was given.
            Some(_) if self.settings.quirks.keepalive_without_timestamp => self.unanswered.first().map(|_| 0),
            Some(ms) => self.unanswered.iter().position(|&asked| asked == ms),
            None => None,
        };
        // An answer settles what was asked before it too: only misses in a row count.
        if let Some(at) = found {
            self.unanswered.drain(..=at);
        }
        found.is_some()
    }

    /// Says goodbye with 1000 and waits for the answer, a moment.
    pub(super) async fn close(self) {
        self.close_with(CloseCode::Normal).await;
    }

    /// Says goodbye with this code and waits for the answer, a moment.
    pub(super) async fn close_with(mut self, code: CloseCode) {
        let frame = CloseFrame { code, reason: "".into() };
        let closing = async {
            if self.ws.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.ws.next().await {}
            }
        };
        // A client that does not answer is left.
        timeout(CLOSING, closing).await.ok();
    }

    /// Ends the TCP connection without a close frame. What was sent before still arrives.
    pub(super) async fn drop_silently(mut self) {
        let tcp = self.ws.get_mut();
        if tcp.shutdown().await.is_ok() {
            let mut rest = [0; 1024];
            let drained = async { while tcp.read(&mut rest).await.is_ok_and(|n| n > 0) {} };
            timeout(CLOSING, drained).await.ok();
        }
    }
}

/// Gives a message the quirks that were asked for.
fn dress(quirks: &Quirks, json: String) -> String {
    let mut text = json;
    if (quirks.numbers_as_strings || quirks.pretty)
        && let Ok(mut value) = serde_json::from_str::<Value>(&text)
    {
        if quirks.numbers_as_strings {
            numbers_to_strings(&mut value);
        }
        text = if quirks.pretty { serde_json::to_string_pretty(&value).unwrap_or(text) } else { value.to_string() };
    }
    if quirks.escaped_slashes {
        text = text.replace('/', "\\/");
    }
    text
}

fn numbers_to_strings(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter_mut().filter(|(key, _)| *key != "msg_type");
            fields.for_each(|(_, field)| numbers_to_strings(field));
        }
        Value::Array(items) => items.iter_mut().for_each(numbers_to_strings),
        Value::Number(number) => *value = Value::from(number.to_string()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quirks_change_the_form_and_not_the_content() {
        let json = r#"{"msg_type":14,"content":{"user_id":0,"data":"A/B+","timestamp":1754042400123}}"#;
        let all = Quirks { numbers_as_strings: true, escaped_slashes: true, pretty: true, ..Quirks::default() };
        let text = dress(&all, json.into());
        assert!(text.contains("A\\/B+") && text.contains('\n'));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["msg_type"], 14);
        assert_eq!(value["content"]["timestamp"], "1754042400123");
        assert_eq!(value["content"]["data"], "A/B+");
        assert_eq!(dress(&Quirks::default(), json.into()), json);
    }
}
