use super::*;
use std::net::SocketAddr;
use std::pin::Pin;
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
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(REQUEST).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut older = TcpStream::connect(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut newer = TcpStream::connect(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;

    let mut next = TcpStream::connect(address).await.unwrap();
    next.write_all(REQUEST).await.unwrap();
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
    let mut next = TcpStream::connect(address).await.unwrap();
    next.write_all(REQUEST).await.unwrap();
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
    let mut busy = TcpStream::connect(address).await.unwrap();
    busy.write_all(REQUEST).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.send(()).unwrap();
    assert!(is_closed(&mut idle, Duration::from_secs(2)).await);
    gate.add_permits(1);
    assert!(answer(&mut busy).await.ends_with("hello"));
    assert!(TcpStream::connect(address).await.is_err());
}
