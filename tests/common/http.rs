//! Requests byte by byte, as neither Zoom nor a decent client would write them.

use super::SECRET_TOKEN;
use rtms_recorder::protocol::signature;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The lines before the body.
    pub(crate) head: String,
    pub(crate) body: String,
}

pub(crate) fn now_s() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is after 1970").as_secs() as i64
}

/// Sends bytes and reads the answer.
pub(crate) async fn raw(to: SocketAddr, request: &[u8]) -> Answer {
    let talk = async {
        let mut socket = TcpStream::connect(to).await.expect("it listens");
        let (mut read, mut write) = socket.split();
        let mut answer = Vec::new();
        let send = async {
            // A server that has heard enough may answer and close before all is sent.
            write.write_all(request).await.ok();
        };
        let receive = async {
            let mut part = [0; 4096];
            while let Ok(count) = read.read(&mut part).await {
                if count == 0 {
                    break;
                }
                answer.extend_from_slice(&part[..count]);
            }
        };
        tokio::join!(send, receive);
        answer
    };
    let answer = tokio::time::timeout(super::LIMIT, talk).await.expect("an answer");
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {head}"));
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A request with these headers besides the usual ones.
pub(crate) async fn request(to: SocketAddr, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut head = format!("{line} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    if !body.is_empty() {
        head.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    raw(to, &[head.as_bytes(), body].concat()).await
}

/// What Zoom signs a webhook with.
pub(crate) struct Seal {
    /// In seconds since 1970.
    pub(crate) timestamp: String,
    pub(crate) signature: String,
}

impl Seal {
    pub(crate) const TIMESTAMP: &str = "x-zm-request-timestamp";
    pub(crate) const SIGNATURE: &str = "x-zm-signature";

    /// Of an app with this Secret Token.
    pub(crate) fn new(secret_token: &str, at_s: i64, body: &[u8]) -> Self {
        let timestamp = at_s.to_string();
        let signature = signature::webhook(secret_token, &timestamp, body);
        Self { timestamp, signature }
    }

    pub(crate) fn headers(&self) -> [(&'static str, &str); 2] {
        [(Self::TIMESTAMP, &self.timestamp), (Self::SIGNATURE, &self.signature)]
    }

    /// The headers as lines of a head.
    pub(crate) fn lines(&self) -> String {
        self.headers().map(|(name, value)| format!("{name}: {value}\r\n")).concat()
    }
}

/// Posts a webhook as Zoom does.
pub(crate) async fn signed(to: SocketAddr, body: &[u8]) -> Answer {
    signed_with(SECRET_TOKEN, to, body).await
}

/// Posts a webhook as Zoom does for an app with this Secret Token.
pub(crate) async fn signed_with(secret_token: &str, to: SocketAddr, body: &[u8]) -> Answer {
    request(to, "POST /webhook", &Seal::new(secret_token, now_s(), body).headers(), body).await
}

pub(crate) async fn get(to: SocketAddr, path: &str) -> Answer {
    request(to, &format!("GET {path}"), &[], b"").await
}

/// The value of the first line of a metric that begins like this.
pub(crate) fn metric(text: &str, begins: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("no {begins} in\n{text}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}
