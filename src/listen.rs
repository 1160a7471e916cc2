//! Serving HTTP/1.1 on a bound socket: the loop that accepts, and who may stay.
//!
//! It owns connections, not requests: what is answered is up to the service that it is given.
//!
//! # Invariants
//!
//! - A request's head arrives within [`HEAD_WITHIN`] of its first byte (of the connection, for the first one), and within
//!   [`MAX_HEAD_BYTES`].
//! - No more connections than told. When there are as many, the one that has waited longest for a request goes, so
//!   neither slow nor idle ones keep a webhook out; one whose request is being answered never does.

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the head of a request may take from its first byte, or from the connection.
pub const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How large it may be.
pub const MAX_HEAD_BYTES: usize = 16 << 10;
/// How many headers it may have.
const MAX_HEADERS: usize = 64;
/// How long a connection may wait for its next request. Longer than the load balancers that keep theirs longest (600 s): whoever
/// closes first while the other sends loses a request.
const IDLE: Duration = Duration::from_secs(650);
/// How often connections are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// After an accept that failed for lack of descriptors or memory.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// Serves until `shutdown` completes; then requests under way are answered, and it returns. At most `most` connections at a
/// time.
pub async fn serve<S, B>(listener: TcpListener, most: usize, service: S, shutdown: impl Future<Output = ()>)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connections = Arc::new(Connections::default());
    let (tasks, drain) = (TaskTracker::new(), CancellationToken::new());
    let mut shutdown = std::pin::pin!(shutdown);
    let mut look = tokio::time::interval(LOOK);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            _ = look.tick() => {
                connections.drop_late();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                socket.set_nodelay(true).ok();
                tokio::select! {
                    () = &mut shutdown => break,
                    () = connections.make_room(most) => {}
                }
                tasks.spawn(connection(socket, service.clone(), connections.enter(), drain.clone()));
            }
            Err(err) if is_of_one_connection(&err) => {}
            Err(err) => {
                tracing::warn!(err = %err, "a connection could not be accepted; trying again");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    drain.cancel();
    tasks.close();
    tasks.wait().await;
}

/// It was gone before it was accepted; the listener is fine.
fn is_of_one_connection(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

async fn connection<S, B>(socket: TcpStream, service: S, place: Place, drain: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let seat = Arc::clone(&place.seat);
    let io = Watched { io: TokioIo::new(socket), seat: Arc::clone(&seat) };
    let answering = hyper::service::service_fn(move |request| {
        let busy = Busy::new(Arc::clone(&seat));
        let response = service.call(request);
        async move { response.await.map(|response| response.map(|body| Held { body: Box::pin(body), busy })) }
    });
    let mut served = std::pin::pin!(
        http1::Builder::new().max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS).serve_connection(io, answering)
    );
    let mut draining = false;
    loop {
        tokio::select! {
            // A peer that breaks off or talks nonsense is its own affair.
            done = &mut served => return drop(done),
            () = place.seat.closed.cancelled() => return,
            () = drain.cancelled(), if !draining => {
                draining = true;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

/// What a connection is waited for, and since when.
#[derive(Clone, Copy)]
enum Phase {
    /// The head of a request has begun, or nothing came yet.
    Head(Instant),
    /// The next request.
    Idle(Instant),
    /// Our answer.
    Answer,
}

struct Seat {
    phase: Mutex<Phase>,
    closed: CancellationToken,
    /// Of all connections.
    changed: Arc<Notify>,
}

impl Seat {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when it waits for a request.
    fn waits_since(&self) -> Option<Instant> {
        match *self.phase() {
            Phase::Head(since) | Phase::Idle(since) => Some(since),
            Phase::Answer => None,
        }
    }

    fn is_late(&self) -> bool {
        match *self.phase() {
            Phase::Head(since) => since.elapsed() >= HEAD_WITHIN,
            Phase::Idle(since) => since.elapsed() >= IDLE,
            Phase::Answer => false,
        }
    }
}

#[derive(Default)]
struct Connections {
    seats: Mutex<Seats>,
    /// One has left, or has been answered.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Seats {
    next: u64,
    taken: HashMap<u64, Arc<Seat>>,
}

impl Connections {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>) -> Place {
        let seat = Arc::new(Seat {
            phase: Mutex::new(Phase::Head(Instant::now())),
            closed: CancellationToken::new(),
            changed: Arc::clone(&self.changed),
        });
        let mut seats = self.seats();
        seats.next += 1;
        let number = seats.next;
        seats.taken.insert(number, Arc::clone(&seat));
        Place { connections: Arc::clone(self), number, seat }
    }

    /// Returns when there is room for one more, for which the one that waits for a request longest has to leave.
    async fn make_room(&self, most: usize) {
        while !self.has_room(most) {
            self.changed.notified().await;
        }
    }

    fn has_room(&self, most: usize) -> bool {
        let seats = self.seats();
        if seats.taken.len() < most {
            return true;
        }
        // One that was told to go is gone in a moment.
        if !seats.taken.values().any(|seat| seat.closed.is_cancelled()) {
            let waiting = seats.taken.values().filter_map(|seat| Some((seat.waits_since()?, seat)));
            if let Some((_, seat)) = waiting.min_by_key(|(since, _)| *since) {
                seat.closed.cancel();
            }
        }
        false
    }

    fn drop_late(&self) {
        self.seats().taken.values().filter(|seat| seat.is_late()).for_each(|seat| seat.closed.cancel());
    }
}

/// A connection's place among the others, until it is dropped.
struct Place {
    connections: Arc<Connections>,
    number: u64,
    seat: Arc<Seat>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.seats().taken.remove(&self.number);
        self.connections.changed.notify_one();
    }
}

/// A request is being answered until this is dropped.
struct Busy(Arc<Seat>);

impl Busy {
    fn new(seat: Arc<Seat>) -> Self {
        *seat.phase() = Phase::Answer;
        Self(seat)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.phase() = Phase::Idle(Instant::now());
        self.0.changed.notify_one();
    }
}

/// A body that keeps its connection busy.
struct Held<B> {
    body: Pin<Box<B>>,
    #[allow(dead_code, reason = "it is there to be dropped")]
    busy: Busy,
}

impl<B: Body> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Notes when a request begins to arrive.
struct Watched {
    io: TokioIo<TcpStream>,
    seat: Arc<Seat>,
}

impl Read for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            let mut phase = self.seat.phase();
            if let Phase::Idle(_) = *phase {
                *phase = Phase::Head(Instant::now());
            }
        }
        read
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// A server that answers each request as soon as `gate` lets it.
    async fn start(most: usize, gate: Arc<tokio::sync::Semaphore>) -> (SocketAddr, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let service = hyper::service::service_fn(move |_| {
            let gate = Arc::clone(&gate);
            async move {
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
}
