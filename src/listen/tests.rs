use super::*;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::Instant;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A server that answers each request as soon as `gate` lets it.
async fn start(most: usize, gate: Arc<tokio::sync::Semaphore>) -> (SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let service = hyper::service::service_fn(move |mut request: Request<Arriving>| {
        let gate = Arc::clone(&gate);
        async move {
            while !request.body().is_end_stream() {
                std::future::poll_fn(|cx| Pin::new(request.body_mut()).poll_frame(cx)).await;
            }
            gate.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(Response::new("hello".to_owned()))
        }
    });
    tokio::spawn(serve(listener, most, service, async { drop(stopped.await) }));
    (address, stop)
}

fn open() -> Arc<tokio::sync::Semaphore> {
    Arc::new(tokio::sync::Semaphore::new(1000))
}

/// A connection that has sent a request.
async fn asking(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(REQUEST).await.unwrap();
    socket
}

/// What comes until the server closes or says nothing more for a while.
async fn answer(socket: &mut TcpStream) -> String {
    let mut bytes = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(5), socket.read(&mut bytes)).await;
    let count = read.expect("an answer").unwrap_or(0);
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

async fn is_closed(socket: &mut TcpStream, within: Duration) -> bool {
    let mut byte = [0];
    matches!(tokio::time::timeout(within, socket.read(&mut byte)).await, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn a_head_that_is_slow_or_too_large_is_cut_off() {
    let (address, _stop) = start(10, open()).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let began = Instant::now();
    let dripping = async {
        while slow.write_all(b"x").await.is_ok() && began.elapsed() < HEAD_WITHIN * 2 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        began.elapsed()
    };
    let (cut_off, silent_too) = tokio::join!(dripping, is_closed(&mut silent, HEAD_WITHIN + LOOK * 3));
    assert!((HEAD_WITHIN..HEAD_WITHIN + LOOK * 3).contains(&cut_off), "{cut_off:?}");
    assert!(silent_too);

    let mut large = TcpStream::connect(address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(MAX_HEAD_BYTES));
    large.write_all(head.as_bytes()).await.unwrap();
    assert!(answer(&mut large).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn connections_that_wait_make_room_the_oldest_first_and_those_that_are_answered_do_not() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (address, _stop) = start(3, Arc::clone(&gate)).await;
    let mut busy = asking(address).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut older = TcpStream::connect(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut newer = TcpStream::connect(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;

    let mut next = asking(address).await;
    assert!(is_closed(&mut older, Duration::from_secs(2)).await);
    gate.add_permits(1000);
    assert!(answer(&mut next).await.starts_with("HTTP/1.1 200"));
    assert!(answer(&mut busy).await.starts_with("HTTP/1.1 200"));
    newer.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut newer).await.starts_with("HTTP/1.1 200"));
    // And it can be used again.
    newer.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut newer).await.ends_with("hello"));
}

#[tokio::test]
async fn bodies_that_drip_make_room_and_are_cut_off() {
    let (address, _stop) = start(3, open()).await;
    let mut dripping = Vec::new();
    for _ in 0..3 {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nx").await.unwrap();
        dripping.push(socket);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut next = asking(address).await;
    assert!(answer(&mut next).await.starts_with("HTTP/1.1 200"));
    assert!(is_closed(&mut dripping[0], Duration::from_secs(2)).await, "the oldest made room");
    let began = Instant::now();
    while dripping[2].write_all(b"x").await.is_ok() && began.elapsed() < BODY_WITHIN * 2 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let cut_off = began.elapsed();
    assert!((BODY_WITHIN - LOOK..BODY_WITHIN + LOOK * 3).contains(&cut_off), "{cut_off:?}");
}

#[tokio::test]
async fn shutting_down_answers_what_is_under_way_and_takes_no_more() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (address, stop) = start(3, Arc::clone(&gate)).await;
    let mut busy = asking(address).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.send(()).unwrap();
    assert!(is_closed(&mut idle, Duration::from_secs(2)).await);
    gate.add_permits(1);
    assert!(answer(&mut busy).await.ends_with("hello"));
    assert!(TcpStream::connect(address).await.is_err());
}

/// An answer without an end.
struct Endless(tokio::time::Interval);

impl Body for Endless {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
        self.0.poll_tick(cx).map(|_| Some(Ok(http_body::Frame::data(vec![b'x'; 1 << 16].into()))))
    }
}

async fn start_endless(most: usize) -> (SocketAddr, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let service = hyper::service::service_fn(|_: Request<Arriving>| async {
        Ok::<_, Infallible>(Response::new(Endless(tokio::time::interval(Duration::from_millis(1)))))
    });
    tokio::spawn(serve(listener, most, service, async { drop(stopped.await) }));
    (address, stop)
}

async fn reads_on(mut socket: TcpStream) {
    let mut bytes = vec![0; 1 << 16];
    while socket.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

#[tokio::test]
async fn readers_that_stall_make_room_before_those_that_read() {
    let (address, _stop) = start_endless(3).await;
    let mut readers = Vec::new();
    for _ in 0..2 {
        readers.push(tokio::spawn(reads_on(asking(address).await)));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let _stalled = asking(address).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let began = Instant::now();
    let mut next = asking(address).await;
    let mut bytes = [0; 12];
    let read = tokio::time::timeout(SENDING_WITHIN * 2, next.read_exact(&mut bytes)).await;
    assert!(read.is_ok_and(|read| read.is_ok()), "nobody made room");
    assert_eq!(&bytes, b"HTTP/1.1 200");
    assert!(began.elapsed() >= SENDING_WITHIN - LOOK, "{:?}", began.elapsed());
    assert!(readers.iter().all(|reader| !reader.is_finished()), "one that reads had to leave");

    // Where all read, the first one leaves.
    readers.push(tokio::spawn(reads_on(next)));
    let mut last = asking(address).await;
    let read = tokio::time::timeout(SENDING_WITHIN * 2, last.read_exact(&mut bytes)).await;
    assert!(read.is_ok_and(|read| read.is_ok()), "nobody made room");
    assert!(tokio::time::timeout(SENDING_WITHIN, &mut readers[0]).await.is_ok(), "it did not leave");
    assert!(!readers[1].is_finished() && !readers[2].is_finished());
}
