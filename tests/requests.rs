//! Requests that no decent client writes: the recorder answers each as HTTP has it, or closes, and reads no second request
//! out of the first.

use crate::common::http::{Seal, get, now_s, signed};
use crate::common::{Home, LIMIT, SECRET_TOKEN};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BODY: &str = r#"{"event":"meeting.started","payload":{}}"#;

/// The signature of a body, as lines of a head.
fn seal(body: &[u8]) -> String {
    Seal::new(SECRET_TOKEN, now_s(), body).lines()
}

/// All that comes back, until the server closes or says nothing for a while.
async fn say(to: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(to).await.expect("it listens");
    socket.write_all(request).await.ok();
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(Duration::from_secs(1), socket.read(&mut part)).await {
        answer.extend_from_slice(&part[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The statuses of all answers.
fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.split("HTTP/1.").skip(1);
    lines.map(|line| line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_second_request_is_read_out_of_a_body() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    let inside = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let length = inside.len();
    let cases = [
        ("two lengths", format!("content-length: 0\r\ncontent-length: {length}\r\n\r\n{inside}")),
        ("a list of lengths", format!("content-length: 0, {length}\r\n\r\n{inside}")),
        ("a signed length", format!("content-length: +0\r\n\r\n{inside}")),
        ("a negative length", format!("content-length: -1\r\n\r\n{inside}")),
        ("a length in hex", format!("content-length: 0x0\r\n\r\n{inside}")),
        ("a length beyond numbers", format!("content-length: 99999999999999999999\r\n\r\n{inside}")),
        ("another coding", format!("transfer-encoding: xchunked\r\n\r\n{inside}")),
        ("chunked, but not at last", format!("transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{inside}")),
        ("a length and chunks", format!("content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{inside}")),
        ("chunks and a length", format!("transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{inside}")),
        ("a chunk that is no number", format!("transfer-encoding: chunked\r\n\r\nzz\r\n{inside}")),
        ("a chunk beyond numbers", format!("transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{inside}")),
        ("a blank in a name", format!("content-length : {length}\r\n\r\n{inside}")),
        ("a folded line", format!("content-length:\r\n {length}\r\n\r\n{inside}")),
        ("a NUL", format!("x: a\0b\r\ncontent-length: 0\r\n\r\n{inside}")),
    ];
    for (what, rest) in cases {
        let answer = say(to, format!("POST /webhook HTTP/1.1\r\nhost: {to}\r\n{rest}").as_bytes()).await;
        let statuses = statuses(&answer);
        assert!(statuses.len() <= 1, "{what}: a second request was answered: {answer}");
        assert!(statuses.iter().all(|status| [400, 401, 413].contains(status)), "{what}: {answer}");
    }
    // What is well put is answered twice, or the rest would show nothing.
    let twice = format!("GET /healthz HTTP/1.1\r\nhost: {to}\r\n\r\n{inside}");
    assert_eq!(statuses(&say(to, twice.as_bytes()).await), [200, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_very_path_and_method_are_the_webhook() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    let post = |line: String| {
        let request = format!(
            "{line}\r\nhost: {to}\r\nconnection: close\r\n{}content-length: {}\r\n\r\n{BODY}",
            seal(BODY.as_bytes()),
            BODY.len()
        );
        async move { statuses(&say(to, request.as_bytes()).await) }
    };
    for target in ["/webhook", "/webhook?a=b", &format!("http://{to}/webhook"), "http://elsewhere.example/webhook"] {
        assert_eq!(post(format!("POST {target} HTTP/1.1")).await, [200], "{target}");
    }
    assert_eq!(post("POST /webhook HTTP/1.0".to_owned()).await, [200]);
    for target in [
        "//webhook",
        "/webhook/",
        "/webhook;a",
        "/%77ebhook",
        "/webhook%00",
        "/./webhook",
        "/x/../webhook",
        "/WEBHOOK",
        "/webhook%2f",
        "*",
        "/readyz",
        "http://elsewhere.example//webhook",
    ] {
        let found = post(format!("POST {target} HTTP/1.1")).await;
        assert!(matches!(found[..], [400 | 404 | 405]), "{target}: {found:?}");
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post", "POSTS"] {
        let found = post(format!("{method} /webhook HTTP/1.1")).await;
        assert!(matches!(found[..], [400 | 404 | 405]), "{method}: {found:?}");
    }
    for strange in ["CONNECT localhost:22 HTTP/1.1", "PRI * HTTP/2.0", "POST /webhook HTTP/9.9", "POST /webhook"] {
        let found = post(strange.to_owned()).await;
        assert!(matches!(found[..], [] | [400 | 404 | 405 | 505]), "{strange}: {found:?}");
    }
    assert!(!recorder.raw_log().contains("panicked"), "{}", recorder.raw_log());
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_limits() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    let with = |headers: String| format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    let many = |count: usize| with((0..count).map(|n| format!("x{n}: y\r\n")).collect());
    assert_eq!(statuses(&say(to, many(62).as_bytes()).await), [200]);
    assert_eq!(statuses(&say(to, many(63).as_bytes()).await), [431]);
    assert_eq!(statuses(&say(to, with(format!("x: {}\r\n", "y".repeat(8 << 10))).as_bytes()).await), [200]);
    let too_large = say(to, with(format!("x: {}\r\n", "y".repeat(17 << 10))).as_bytes()).await;
    assert_eq!(statuses(&too_large), [431]);
    let long = say(to, format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(17 << 10)).as_bytes()).await;
    assert!(matches!(statuses(&long)[..], [414 | 431]), "{long}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_taken_as_they_come_and_not_before_they_are_wanted() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    let head = |more: &str| format!("POST /webhook HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n{more}\r\n");

    // Zipped, it is no JSON: nothing is blown up here.
    let zipped = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let sealed = head(&format!("content-encoding: gzip\r\n{}content-length: 10\r\n", seal(&zipped)));
    assert_eq!(statuses(&say(to, &[sealed.as_bytes(), &zipped].concat()).await), [400]);

    // Told to be longer than it is, or shorter.
    let longer = head(&format!("{}content-length: {}\r\n", seal(BODY.as_bytes()), BODY.len() + 1));
    let answer = say(to, format!("{longer}{BODY}").as_bytes()).await;
    assert_eq!(statuses(&answer), [0; 0], "the rest is waited for: {answer}");
    let shorter = head(&format!("{}content-length: {}\r\n", seal(BODY.as_bytes()), BODY.len() - 1));
    assert_eq!(statuses(&say(to, format!("{shorter}{BODY}").as_bytes()).await), [401]);

    let chunked = head(&format!("{}transfer-encoding: chunked\r\n", seal(BODY.as_bytes())));
    let chunks = format!("{chunked}1\r\n{{\r\n{:x}\r\n{}\r\n0\r\n\r\n", BODY.len() - 1, &BODY[1..]);
    assert_eq!(statuses(&say(to, chunks.as_bytes()).await), [200]);

    // Who asks is told to go on, unless it is too much anyway.
    let asking =
        |length: usize| head(&format!("expect: 100-continue\r\n{}content-length: {length}\r\n", seal(BODY.as_bytes())));
    let mut socket = TcpStream::connect(to).await.expect("it listens");
    socket.write_all(asking(BODY.len()).as_bytes()).await.expect("it listens");
    let mut go_on = [0; 25];
    tokio::time::timeout(LIMIT, socket.read_exact(&mut go_on)).await.expect("an answer").expect("an answer");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(BODY.as_bytes()).await.expect("it listens");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("text");
    assert_eq!(statuses(&answer), [200]);
    assert_eq!(statuses(&say(to, asking(2 << 20).as_bytes()).await), [413], "nothing of it was read");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_few_and_keep_small_ones_out_of_nothing() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    let mut held = Vec::new();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(to).await.expect("it listens");
        let head = format!("POST /webhook HTTP/1.1\r\nhost: {to}\r\ncontent-length: 1000000\r\n\r\n");
        socket.write_all(head.as_bytes()).await.expect("it listens");
        socket.write_all(&vec![b'x'; 100 << 10]).await.ok();
        held.push(socket);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(signed(to, BODY.as_bytes()).await.status, 200);
    let mut refused = 0;
    for socket in &mut held {
        let mut answer = [0; 12];
        let read = tokio::time::timeout(Duration::from_millis(50), socket.read(&mut answer)).await;
        refused += usize::from(read.is_ok());
    }
    assert_eq!(refused, 12, "eight may go on");
    drop(held);
    // Their places are free again.
    let large = format!("{{\"event\":\"meeting.started\",\"payload\":\"{}\"}}", "x".repeat(200 << 10));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(signed(to, large.as_bytes()).await.status, 200);
    assert_eq!(get(to, "/healthz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_again_and_again_is_counted() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    for _ in 0..300 {
        let forged = crate::common::http::request(to, "POST /webhook", &[], BODY.as_bytes()).await;
        assert_eq!(forged.status, 401);
    }
    assert_eq!(recorder.complaints().len(), 1, "{}", recorder.raw_log());
    recorder.signal(rustix::process::Signal::TERM);
    let again = recorder.wait_for("again: a webhook was refused").await;
    assert_eq!(again["times"], 299);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_said_at_the_end_is_answered() {
    let home = Home::new();
    let recorder = home.start().await;
    let to = recorder.address();
    let sealed = format!("{}content-length: {}\r\n", seal(BODY.as_bytes()), BODY.len());
    let mut socket = TcpStream::connect(to).await.expect("it listens");
    let (begin, rest) = BODY.split_at(10);
    let request = format!("POST /webhook HTTP/1.1\r\nhost: {to}\r\n{sealed}\r\n{begin}");
    socket.write_all(request.as_bytes()).await.expect("it listens");
    tokio::time::sleep(Duration::from_millis(200)).await;
    recorder.signal(rustix::process::Signal::TERM);
    recorder.wait_for("shutting down").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    socket.write_all(rest.as_bytes()).await.expect("it is still there");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("text");
    assert_eq!(statuses(&answer), [503], "Zoom is to send it again");
    // And who says nothing more is not waited for.
    let (status, took) = recorder.terminate().await;
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(5), "{took:?}");
}
