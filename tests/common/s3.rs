//! An S3 server in the test's process: `s3s-fs` over a temporary directory, with signatures checked, behind a layer
//! that counts requests and can be told to misbehave.

use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub(crate) const BUCKET: &str = "recordings";
pub(crate) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET_KEY: &str = "a-secret-that-no-text-may-show";

/// What happens to a request instead of being served, or after it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It is answered with this status and nothing else happens.
    Status(u16),
    /// It is answered with this status and error code, as S3 writes it.
    Refuse(u16, &'static str),
    /// It is never answered.
    Hang,
    /// The connection ends.
    Cut,
    /// It is served, and the object then loses its last byte. For single puts.
    Truncate,
    /// Its body is damaged on the way: the last bit is another one.
    Flip,
    /// It is answered with an error, a byte a second.
    Drip,
    /// It is served by a clock that is so many seconds ahead.
    Date(i64),
    /// It is served, and the answer has this header.
    Header(&'static str, &'static str),
}

/// A request that was made.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// The key, without the bucket.
    pub(crate) key: String,
    pub(crate) query: String,
    pub(crate) headers: hyper::HeaderMap,
    /// What was answered; 0 if nothing was.
    pub(crate) status: u16,
}

struct Rule {
    applies: Box<dyn Fn(&Seen) -> bool + Send>,
    fault: Fault,
    times: usize,
}

#[derive(Default)]
struct State {
    rules: VecDeque<Rule>,
    seen: Vec<Seen>,
}

pub(crate) struct S3Server {
    pub(crate) address: SocketAddr,
    root: PathBuf,
    _directory: tempfile::TempDir,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The variables that let a store use the server at `address`.
pub(crate) fn env(address: SocketAddr) -> Vec<(String, String)> {
    [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ("AWS_ENDPOINT", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

impl S3Server {
    pub(crate) async fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    pub(crate) async fn start_at(address: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().to_owned();
        std::fs::create_dir(root.join(BUCKET)).expect("a bucket");
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(&root).expect("an object store"));
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(serve(listener, service, Arc::clone(&state), root.clone()));
        Self { address, root, _directory: directory, state, task }
    }

    pub(crate) fn env(&self) -> Vec<(String, String)> {
        env(self.address)
    }

    /// Lets the next `times` requests to which `applies` suffer `fault`.
    pub(crate) fn inject(&self, fault: Fault, times: usize, applies: impl Fn(&Seen) -> bool + Send + 'static) {
        let applies = Box::new(applies);
        self.state().rules.push_back(Rule { applies, fault, times });
    }

    /// Ends all misbehaviour.
    pub(crate) fn heal(&self) {
        self.state().rules.clear();
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    pub(crate) fn forget(&self) {
        self.state().seen.clear();
    }

    /// The keys of all puts and completed multipart uploads that were answered with success, in order.
    pub(crate) fn written(&self) -> Vec<String> {
        let wrote = |seen: &Seen| match seen.method {
            Method::PUT => !seen.query.contains("uploadId="),
            Method::POST => seen.query.contains("uploadId="),
            _ => false,
        };
        let seen = self.seen().into_iter();
        seen.filter(|s| s.status == 200 && wrote(s)).map(|s| s.key).collect()
    }

    /// The file that holds an object.
    pub(crate) fn file(&self, key: &str) -> PathBuf {
        self.root.join(BUCKET).join(key)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

async fn serve(listener: TcpListener, service: S3Service, state: Arc<Mutex<State>>, root: PathBuf) {
    // Dropped with this task, so that a server that is dropped also ends its connections.
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let (service, state, root) = (service.clone(), Arc::clone(&state), root.clone());
        connections.spawn(async move {
            let handle = service_fn(move |request| answer(request, service.clone(), Arc::clone(&state), root.clone()));
            let http = Builder::new(TokioExecutor::new());
            // A cut connection is an error here and what the test wants.
            http.serve_connection(TokioIo::new(socket), handle).await.ok();
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    service: S3Service,
    state: Arc<Mutex<State>>,
    root: PathBuf,
) -> Result<Response<Body>, std::io::Error> {
    let path = request.uri().path().trim_start_matches('/');
    let mut seen = Seen {
        method: request.method().clone(),
        key: path.strip_prefix(BUCKET).unwrap_or(path).trim_start_matches('/').to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        headers: request.headers().clone(),
        status: 0,
    };
    let (fault, index) = {
        let mut state = state.lock().expect("nothing panics under this lock");
        let rule = state.rules.iter_mut().find(|rule| rule.times > 0 && (rule.applies)(&seen));
        let fault = rule.map(|rule| {
            rule.times -= 1;
            rule.fault
        });
        state.seen.push(seen.clone());
        (fault, state.seen.len() - 1)
    };
    let key = seen.key.clone();
    let mut response = match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Cut) => return Err(std::io::Error::other("cut")),
        Some(Fault::Status(status)) => refuse(request, status, Body::empty()).await,
        Some(Fault::Refuse(status, code)) => {
            let xml = format!("<?xml version=\"1.0\"?>\n<Error><Code>{code}</Code><Message>No.</Message></Error>");
            refuse(request, status, Body::from(xml)).await
        }
        Some(Fault::Drip) => refuse(request, 500, Body::http_body_unsync(Drip(None))).await,
        Some(Fault::Flip) => {
            let (head, mut body) = request.into_parts();
            let mut bytes = Vec::new();
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                let frame = frame.map_err(std::io::Error::other)?;
                bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
            }
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
            service.call(Request::from_parts(head, Body::from(bytes))).await.map_err(std::io::Error::other)?
        }
        Some(Fault::Truncate | Fault::Date(_) | Fault::Header(..)) | None => {
            service.call(request.map(Body::from)).await.map_err(std::io::Error::other)?
        }
    };
    seen.status = response.status().as_u16();
    if let Some(Fault::Date(ahead_s)) = fault {
        let date = (chrono::Utc::now() + chrono::Duration::seconds(ahead_s)).format("%a, %d %b %Y %H:%M:%S GMT");
        response.headers_mut().insert("date", date.to_string().parse().expect("a header"));
    }
    if let Some(Fault::Header(name, value)) = fault {
        response.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    }
    if let Some(Fault::Truncate) = fault {
        let file = std::fs::File::options().write(true).open(root.join(BUCKET).join(key))?;
        file.set_len(file.metadata()?.len() - 1)?;
    }
    if let Some(slot) = state.lock().expect("nothing panics under this lock").seen.get_mut(index) {
        slot.status = seen.status;
    }
    Ok(response)
}

/// A body of a byte a second.
struct Drip(Option<Pin<Box<tokio::time::Sleep>>>);

impl hyper::body::Body for Drip {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(std::time::Duration::from_secs(1))));
        std::task::ready!(sleep.as_mut().poll(cx));
        self.0 = None;
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(bytes::Bytes::from_static(b" ")))))
    }
}

async fn refuse(request: Request<Incoming>, status: u16, answer: Body) -> Response<Body> {
    // A client that is still sending would see a broken connection instead of the status.
    let mut body = request.into_body();
    while std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some() {}
    let mut response = Response::new(answer);
    *response.status_mut() = status.try_into().expect("a status");
    response
}
