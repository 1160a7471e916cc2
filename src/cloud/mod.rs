//! Fetches Zoom's own files of cloud recordings: to a file in the spool, in pieces, going on where an earlier attempt broke off.
//!
//! When they are fetched, and what becomes of them, is left to `recorder`.
//!
//! # Invariants
//!
//! - The token goes to Zoom's hosts only ([`AllowedHosts::is_zooms`]), by TLS; each redirect is looked at before it is followed. Beyond
//!   Zoom's hosts a redirect is followed by TLS alone, without the token.
//! - A file is at its place when all of it is on the disk, and never before. Memory holds a piece of it at a time.
//! - Neither address nor token gets into an error or a log.
//!
//! [`AllowedHosts::is_zooms`]: crate::protocol::server_urls::AllowedHosts::is_zooms

mod failure;
mod part;

pub use failure::Failure;
pub use part::Part;

use crate::config::Secret;
use crate::errors::{clip, with_sources};
use crate::protocol::server_urls::AllowedHosts;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Response, Url};
use std::time::{Duration, Instant};

/// How many redirects are followed.
const REDIRECTS: usize = 5;
/// How long it may take to get an answer, and between two pieces of one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Less than this in [`PATIENCE`] is too slow: the place is left to another file for a while.
const LEAST_BYTES: u64 = 64 << 10;
/// A file whose length nobody told may have so many times the bytes that it should have, and [`SLACK_BYTES`].
const SLACK: u64 = 2;
const SLACK_BYTES: u64 = 64 << 20;

/// What a file should be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Its size, if Zoom said it.
    pub bytes: Option<u64>,
    /// How its name ends, in small letters.
    pub extension: &'a str,
}

/// Fetches files.
#[derive(Debug)]
pub struct Downloader {
    hosts: AllowedHosts,
    outside: reqwest::Client,
    /// For addresses on this machine, which no proxy leads to.
    inside: reqwest::Client,
}

impl Downloader {
    /// A downloader that gives tokens to these hosts.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(hosts: AllowedHosts) -> Result<Self, reqwest::Error> {
        let client = || {
            reqwest::Client::builder()
                .connect_timeout(PATIENCE)
                .user_agent(crate::USER_AGENT)
                .redirect(reqwest::redirect::Policy::none())
        };
        Ok(Self { hosts, outside: client().build()?, inside: client().no_proxy().build()? })
    }

    /// Fetches what `part` lacks of the file at `url`. Once this returns, all of it is in `part`, which is yet to be finished.
    ///
    /// # Errors
    /// Why not; what has come stays in `part`. Cancel safe likewise.
    pub async fn fetch(
        &self,
        url: &str,
        token: Option<&Secret>,
        expected: Expected<'_>,
        part: &mut Part,
    ) -> Result<(), Failure> {
        let before = if part.is_empty() { None } else { part.version().await };
        let mut response = self.ask(url, token, expected, (part.len(), before.as_deref())).await?;
        let headers = response.headers();
        let version = version(headers);
        let total = match response.status() {
            StatusCode::PARTIAL_CONTENT => match content_range(headers) {
                // A server that does not know `If-Range` sends a piece of whatever it has now.
                Some((start, total)) if start == part.len() && (before.is_none() || before == version) => total,
                _ => {
                    part.restart().await?;
                    return Err(Failure::passing(
                        "the server sent another piece than was asked for, or of another file",
                    ));
                }
            },
            StatusCode::RANGE_NOT_SATISFIABLE => {
                if content_range(headers).is_some_and(|(_, total)| total == Some(part.len())) {
                    return part.sync().await;
                }
                part.restart().await?;
                return Err(Failure::passing("the file is shorter than what came of it before"));
            }
            _ => {
                part.restart_as(version.as_deref()).await?;
                response.content_length()
            }
        };
        part.check_room(total.map_or(0, |total| total.saturating_sub(part.len())))?;
        let most = expected.bytes.filter(|_| total.is_none());
        let most = most.map_or(u64::MAX, |bytes| bytes.saturating_mul(SLACK).saturating_add(SLACK_BYTES));
        let read = self.read(&mut response, total, most, part).await;
        part.sync().await?;
        read?;
        match total {
            Some(total) if part.len() != total => {
                Err(Failure::passing(format!("broke off after {} of {total} bytes", part.len())))
            }
            _ => Ok(()),
        }
    }

    async fn read(
        &self,
        response: &mut Response,
        total: Option<u64>,
        most: u64,
        part: &mut Part,
    ) -> Result<(), Failure> {
        let (mut since, mut had) = (Instant::now(), part.len());
        loop {
            if since.elapsed() >= PATIENCE {
                if part.len() - had < LEAST_BYTES {
                    let (came, seconds) = (part.len() - had, PATIENCE.as_secs());
                    return Err(Failure::passing(format!("it is too slow: {came} bytes came in {seconds} s")));
                }
                (since, had) = (Instant::now(), part.len());
            }
            let piece = match tokio::time::timeout(PATIENCE, response.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(_)) => {
                    let of = total.map_or_else(String::new, |total| format!(" of {total}"));
                    return Err(Failure::passing(format!("broke off after {}{of} bytes", part.len())));
                }
                Err(_) => return Err(Failure::passing(format!("nothing came for {} s", PATIENCE.as_secs()))),
            };
            part.write(&piece).await?;
            if part.len() > most {
                part.restart().await?;
                return Err(Failure::passing(format!("it has more than {most} bytes, far more than Zoom said")));
            }
            part.check_room(0)?;
        }
    }

    /// Sends the request, and follows redirects; gives an answer with a file in it, or part of one.
    async fn ask(
        &self,
        url: &str,
        token: Option<&Secret>,
        expected: Expected<'_>,
        (from, version): (u64, Option<&str>),
    ) -> Result<Response, Failure> {
        let mut url = Url::parse(url).map_err(|err| Failure::ForGood(format!("Zoom's address is none: {err}")))?;
        if !self.hosts.is_zooms(&url) {
            return Err(Failure::ForGood(format!(
                "host {:?} is not covered by ZOOM_ALLOWED_HOSTS, or not encrypted",
                host(&url)
            )));
        }
        for _ in 0..=REDIRECTS {
            let zooms = self.hosts.is_zooms(&url);
            let client = if url.scheme() == "http" { &self.inside } else { &self.outside };
            let mut request = client.get(url.clone());
            if let Some(token) = token.filter(|_| zooms) {
                request = request.bearer_auth(token.expose());
            }
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
                if let Some(version) = version {
                    request = request.header(IF_RANGE, version);
                }
            }
            let unreachable = |because: String| Failure::passing(format!("{} gave no answer: {because}", host(&url)));
            let response = match tokio::time::timeout(PATIENCE, request.send()).await {
                Ok(Ok(response)) => response,
                Ok(Err(err)) => return Err(unreachable(clip(&with_sources(&err.without_url())))),
                Err(_) => return Err(unreachable(format!("not within {} s", PATIENCE.as_secs()))),
            };
            if !response.status().is_redirection() {
                return Failure::of(&response, expected, host(&url)).map_or(Ok(response), Err);
            }
            let target = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let target = target.and_then(|location| url.join(location).ok());
            let Some(target) = target else {
                return Err(Failure::passing(format!("{} redirects to nowhere", host(&url))));
            };
            if target.scheme() != "https" && !self.hosts.is_zooms(&target) {
                return Err(Failure::passing(format!(
                    "{} redirects to {:?}, which is not encrypted",
                    host(&url),
                    host(&target)
                )));
            }
            url = target;
        }
        Err(Failure::passing(format!("more than {REDIRECTS} redirects")))
    }
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().chars().take(120).collect()
}

/// Start and total of `bytes 5-9/10` or `bytes */10`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, total) = text.split_once('/')?;
    let start = range.split_once('-').map_or(Some(0), |(start, _)| start.trim().parse().ok())?;
    Some((start, total.trim().parse().ok()))
}

/// By what the server tells this content from another of the same file: an entity tag that promises the same bytes, or a date.
fn version(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let version = text(ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(LAST_MODIFIED))?;
    Some(version.trim().to_owned()).filter(|version| !version.is_empty())
}

/// Whether it is a page or a message: what Zoom gives to those whom it does not know, with a status of success.
fn is_page(response: &Response, expected: Expected<'_>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.trim_start().to_ascii_lowercase();
    let is_no_json = matches!(expected.extension, "mp4" | "m4a" | "vtt" | "txt" | "csv");
    kind.starts_with("text/html") || (is_no_json && kind.starts_with("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let range = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, text.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(range("bytes */10"), Some((0, Some(10))));
        assert_eq!(range("lines 5-9/10"), None);
        assert_eq!(range("bytes x-9/10"), None);
    }
}
