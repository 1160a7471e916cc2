//! Serving HTTP/1.1 on a bound socket: the loop that accepts, and who may stay.
//!
//! It owns connections, not requests: what is answered is up to the service that it is given.
//!
//! # Invariants
//!
//! - A request's head arrives within [`HEAD_WITHIN`] of its first byte (of the connection, for the first one), and within
//!   [`MAX_HEAD_BYTES`]; its body within [`BODY_WITHIN`] of the head.
//! - No more connections than told. When there are as many, one goes: the one that has waited longest for a request or the
//!   rest of one, else the one that has taken nothing of its answer for longest, else the one whose answer began first; the last
//!   two not before [`SENDING_WITHIN`]. So neither slow nor idle ones nor readers that stall keep others out. One
//!   whose answer is still being made never goes.

mod seats;
mod watch;

use self::seats::{Busy, Connections, Place};
pub use self::watch::Arriving;
use self::watch::{Held, Watched};
use http::{Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the head of a request may take from its first byte, or from the connection.
pub const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long its body may take after that. Services may be less patient, and say so.
pub const BODY_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer may be on its way, or nothing of it be taken, while nobody else wants the place.
pub const SENDING_WITHIN: Duration = Duration::from_secs(10);
/// How large a head may be.
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
    S: Service<Request<Arriving>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
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
    S: Service<Request<Arriving>, Response = Response<B>, Error = Infallible> + Send + Sync + 'static,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let seat = Arc::clone(&place.seat);
    let io = Watched::new(TokioIo::new(socket), Arc::clone(&seat));
    let answering = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        // `CONNECT` names no path, and services rely on one.
        if !request.uri().path().starts_with('/') {
            *request.uri_mut() = Uri::from_static("/");
        }
        let busy = Busy::new(Arc::clone(&seat));
        let response = service.call(request.map(|body| Arriving::new(body, Arc::clone(&seat))));
        async move { response.await.map(|response| response.map(|body| Held::new(body, busy))) }
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

#[cfg(test)]
mod tests;
