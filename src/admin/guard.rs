//! Who may come in.
//!
//! Without a token: whoever is on this machine. The name in the header `Host` has to be this machine's, or a page of
//! another site could let its own name lead here and read everything. With a token: whoever sends it as a bearer token,
//! or has logged in with it and sends the cookie, which no other site's page can.

use super::{page, refusal};
use crate::config::Secret;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use warp::reply::Response;

/// How long somebody stays logged in.
const SESSION: Duration = Duration::from_secs(12 * 3600);
/// How many can be logged in.
const MOST_SESSIONS: usize = 100;
/// How long a wrong token takes, one at a time.
const WRONG: Duration = Duration::from_secs(1);
/// How many wrong ones wait for that; who comes after them is told so at once, or they would take all connections.
const MOST_WRONG: usize = 8;
const NEEDED: &str = "ADMIN_TOKEN is needed as a bearer token, or log in";
/// Only a script of our own page, or a program, can send it.
const ASKED_BY: HeaderName = HeaderName::from_static("x-requested-with");

pub(super) struct Guard {
    token: Option<Secret>,
    cookie: String,
    sessions: Mutex<HashMap<String, Instant>>,
    wrong: tokio::sync::Mutex<()>,
    waiting: Semaphore,
}

/// What is to be done with a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Welcome,
    LogIn,
    LogOut,
    AskToLogIn,
    WrongToken,
    Refused(StatusCode, &'static str),
}

impl Guard {
    /// Cookies do not know ports, so the name does.
    pub(super) fn new(token: Option<Secret>, port: u16) -> Self {
        Self {
            token,
            cookie: format!("rtms_recorder_{port}"),
            sessions: Mutex::default(),
            wrong: tokio::sync::Mutex::default(),
            waiting: Semaphore::new(MOST_WRONG),
        }
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    pub(super) fn look(&self, method: &Method, path: &str, headers: &HeaderMap) -> Verdict {
        let Some(host) = text(headers, &header::HOST) else {
            return Verdict::Refused(StatusCode::BAD_REQUEST, "a request needs one header Host");
        };
        if self.token.is_none() && !is_this_machine(host) {
            return Verdict::Refused(
                StatusCode::FORBIDDEN,
                "without ADMIN_TOKEN this is answered under localhost or a loopback address only",
            );
        }
        let reads = method == Method::GET || method == Method::HEAD;
        if !reads && !is_of_our_page(headers, host) {
            return Verdict::Refused(StatusCode::FORBIDDEN, "requests of other sites change nothing here");
        }
        if self.token.is_some() && method == Method::POST && path == "/login" {
            return Verdict::LogIn;
        }
        let bearer = self.has_bearer(headers);
        if self.token.is_some() && !bearer && !self.is_logged_in(headers) {
            return match path {
                _ if bearer_of(headers).is_some() => Verdict::WrongToken,
                "/" if reads => Verdict::AskToLogIn,
                _ => Verdict::Refused(StatusCode::UNAUTHORIZED, NEEDED),
            };
        }
        if method == Method::POST && path == "/logout" {
            return Verdict::LogOut;
        }
        if !reads && !bearer && !headers.contains_key(&ASKED_BY) {
            return Verdict::Refused(StatusCode::FORBIDDEN, "what changes something needs the header X-Requested-With");
        }
        Verdict::Welcome
    }

    /// Answers the form.
    pub(super) async fn log_in(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let given = url::form_urlencoded::parse(body).find(|(name, _)| name == "token").map(|(_, value)| value);
        if !given.is_some_and(|given| self.is_token(given.trim())) {
            return self.wrong(page::login(true)).await;
        }
        let session = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        {
            let mut sessions = self.sessions.lock();
            sessions.retain(|_, until| *until > Instant::now());
            if sessions.len() >= MOST_SESSIONS {
                sessions.clear();
            }
            sessions.insert(session.clone(), Instant::now() + SESSION);
        }
        self.go_home(headers, &session, SESSION)
    }

    /// Answers a wrong bearer token.
    pub(super) async fn wrong_bearer(&self) -> Response {
        self.wrong(refusal(StatusCode::UNAUTHORIZED, NEEDED)).await
    }

    /// Answers a wrong token once it has taken its time.
    async fn wrong(&self, answer: Response) -> Response {
        let Ok(_waits) = self.waiting.try_acquire() else {
            return refusal(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens; try again in a moment");
        };
        let _one_at_a_time = self.wrong.lock().await;
        tokio::time::sleep(WRONG).await;
        tracing::warn!("somebody came to the status page with a wrong token");
        answer
    }

    pub(super) fn log_out(&self, headers: &HeaderMap) -> Response {
        if let Some(session) = self.session(headers) {
            self.sessions.lock().remove(session);
        }
        self.go_home(headers, "", Duration::ZERO)
    }

    fn go_home(&self, headers: &HeaderMap, session: &str, age: Duration) -> Response {
        let by_tls = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        let secure = if by_tls { "; Secure" } else { "" };
        let cookie =
            format!("{}={session}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}{secure}", self.cookie, age.as_secs());
        let mut answer = refusal(StatusCode::SEE_OTHER, "");
        let headers = answer.headers_mut();
        headers.insert(header::LOCATION, HeaderValue::from_static("/"));
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.insert(header::SET_COOKIE, cookie);
        }
        answer
    }

    fn has_bearer(&self, headers: &HeaderMap) -> bool {
        bearer_of(headers).is_some_and(|token| self.is_token(token))
    }

    /// Takes as long whatever is wrong.
    fn is_token(&self, given: &str) -> bool {
        let hash = |text: &str| Sha256::digest(text.as_bytes());
        self.token.as_ref().is_some_and(|token| hash(token.expose()) == hash(given))
    }

    fn is_logged_in(&self, headers: &HeaderMap) -> bool {
        let sessions = self.sessions.lock();
        let until = self.session(headers).and_then(|session| sessions.get(session));
        until.is_some_and(|until| *until > Instant::now())
    }

    fn session<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie).map(|(_, value)| value)
    }
}

/// The only value of a header.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The token that comes with a request.
fn bearer_of(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, &header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Browsers say where a request that changes something comes from.
fn is_of_our_page(headers: &HeaderMap, host: &str) -> bool {
    let same_site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    let same_origin = match headers.get(header::ORIGIN) {
        None => true,
        Some(origin) => {
            origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(_, of)| of == host)
        }
    };
    same_site && same_origin
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a-token-of-the-tests";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        pairs.collect()
    }

    fn status(guard: &Guard, method: &Method, path: &str, pairs: &[(&'static str, &str)]) -> u16 {
        match guard.look(method, path, &headers(pairs)) {
            Verdict::Refused(status, _) => status.as_u16(),
            Verdict::AskToLogIn | Verdict::WrongToken => 401,
            _ => 200,
        }
    }

    #[test]
    fn without_a_token_only_names_of_this_machine_are_answered() {
        let guard = Guard::new(None, 3001);
        let get = |host: &str| status(&guard, &Method::GET, "/api/state", &[("host", host)]);
        for host in ["localhost", "localhost:3001", "127.0.0.1:3001", "127.0.0.2", "[::1]:3001", "LOCALHOST:1"] {
            assert_eq!(get(host), 200, "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example:3001", "10.0.0.1:3001", "127.0.0.1.evil.example", "[::2]", "@", ""]
        {
            assert_eq!(get(host), 403, "{host}");
        }
        assert_eq!(status(&guard, &Method::GET, "/", &[]), 400);
    }

    #[test]
    fn what_another_sites_page_can_send_changes_nothing() {
        let guard = Guard::new(None, 3001);
        let own = ("x-requested-with", "x");
        let post = |more: &[(&'static str, &str)]| {
            let all = [&[("host", "localhost:3001")], more].concat();
            status(&guard, &Method::POST, "/api/recordings/a/stop", &all)
        };
        assert_eq!(post(&[]), 403, "a form");
        assert_eq!(post(&[own]), 200, "a program");
        assert_eq!(post(&[own, ("origin", "http://localhost:3001"), ("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(post(&[own, ("origin", "http://localhost:3002")]), 403);
        assert_eq!(post(&[own, ("origin", "null")]), 403);
        assert_eq!(post(&[own, ("sec-fetch-site", "cross-site")]), 403);
    }

    #[tokio::test]
    async fn many_wrong_tokens_do_not_wait_for_each_other_for_ever() {
        let guard = Guard::new(Some(Secret::new(TOKEN)), 3001);
        let headers = headers(&[("host", "recorder.example")]);
        let wrong = futures_util::future::join_all((0..MOST_WRONG + 20).map(|_| guard.log_in(&headers, b"token=no")));
        let right = async {
            tokio::task::yield_now().await;
            let began = Instant::now();
            let right = guard.log_in(&headers, format!("token={TOKEN}").as_bytes()).await;
            (right.status().as_u16(), began.elapsed() < WRONG)
        };
        let began = Instant::now();
        let (wrong, right) = tokio::join!(wrong, right);
        assert!(began.elapsed() >= WRONG * MOST_WRONG as u32 - WRONG / 2, "one at a time");
        assert_eq!(right, (303, true), "who knows it does not wait");
        let began = Instant::now();
        assert_eq!(guard.wrong_bearer().await.status(), 401);
        assert!(began.elapsed() >= WRONG, "a bearer token takes as long as the form");
        let count = |status: u16| wrong.iter().filter(|answer| answer.status() == status).count();
        assert_eq!((count(401), count(429)), (MOST_WRONG, 20));
    }

    #[tokio::test]
    async fn a_token_or_a_session_is_needed_once_there_is_a_token() {
        let guard = Guard::new(Some(Secret::new(TOKEN)), 3001);
        let host = ("host", "recorder.example");
        let get = |more: &[(&'static str, &str)]| status(&guard, &Method::GET, "/metrics", &[&[host], more].concat());
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(
            (get(&[]), get(&[("authorization", "Bearer no")]), get(&[("authorization", &bearer)])),
            (401, 401, 200)
        );
        let post = [host, ("authorization", &bearer)];
        assert_eq!(status(&guard, &Method::POST, "/api/recordings/a/stop", &post), 200);

        let wrong = guard.log_in(&headers(&[host]), b"token=no").await;
        assert_eq!((wrong.status().as_u16(), wrong.headers().get("set-cookie")), (401, None));
        let right = guard.log_in(&headers(&[host]), format!("token={TOKEN}").as_bytes()).await;
        let cookie = right.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert_eq!(right.status(), 303);
        assert!(cookie.contains("HttpOnly; SameSite=Strict") && !cookie.contains(TOKEN), "{cookie}");
        let pair = cookie.split(';').next().unwrap();
        assert_eq!(get(&[("cookie", pair)]), 200);
        assert_eq!(status(&guard, &Method::POST, "/api/recordings/a/stop", &[host, ("cookie", pair)]), 403, "a form");
        guard.log_out(&headers(&[("cookie", pair)]));
        assert_eq!(get(&[("cookie", pair)]), 401);
    }
}
