//! Media for the page: files of finished recordings, in ranges, and pictures of those that run.

use super::{failure, not_found, refusal, with_type};
use crate::ids::RecordingId;
use crate::output::manifest::StoredObject;
use crate::recorder::Recorder;
use crate::render::Picture;
use crate::store::Store;
use bytes::Bytes;
use futures_util::stream;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc};
use warp::reply::{Reply, Response};

/// How much is read at a time.
const PIECE: u64 = 1 << 20;
/// For how long a picture is shown again, as making one takes a tenth of a second.
const PICTURE_AGE: Duration = Duration::from_secs(8);
const MOST_PICTURES: usize = 200;

/// A file of a recording, or a range of it.
pub(super) async fn answer(
    recorder: &Recorder,
    id: &RecordingId,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    let Ok(name) = percent_decode_str(name).decode_utf8() else { return not_found() };
    let (folder, manifest) = match recorder.manifest(id).await {
        Ok(found) => found,
        Err(err) => return failure(&err),
    };
    // Only what the manifest lists is a file of the recording.
    let Some(object) = manifest.objects.into_iter().find(|object| object.name == name) else { return not_found() };
    let range = match headers.get(header::RANGE).map(|range| parse(range.to_str().unwrap_or(""), object.size_bytes)) {
        None | Some(Asked::All) => None,
        Some(Asked::Range(range)) => Some(range),
        Some(Asked::Nothing) => {
            let mut answer = refusal(StatusCode::RANGE_NOT_SATISFIABLE, "the file is shorter than that");
            set(&mut answer, header::CONTENT_RANGE, &format!("bytes */{}", object.size_bytes));
            return answer;
        }
    };
    let key = format!("{}/{}", folder.as_str(), object.name);
    whole_or_part(recorder.store().clone(), key, &object, range, method)
}

fn whole_or_part(
    store: Store,
    key: String,
    object: &StoredObject,
    range: Option<Range<u64>>,
    method: &Method,
) -> Response {
    let is_part = range.is_some();
    let Range { start, end } = range.unwrap_or(0..object.size_bytes);
    let mut answer = if method == Method::HEAD { with_type("", "") } else { pieces(store, key, start..end) };
    if is_part {
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        let last = end.saturating_sub(1);
        set(&mut answer, header::CONTENT_RANGE, &format!("bytes {start}-{last}/{}", object.size_bytes));
    }
    set(&mut answer, header::CONTENT_LENGTH, &(end - start).to_string());
    set(&mut answer, header::CONTENT_TYPE, &object.content_type);
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    // A page among the files has scripts, which are not to act as ours.
    set(&mut answer, header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'; style-src 'unsafe-inline'");
    answer
}

fn set(answer: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// The content, read as fast as it is taken.
fn pieces(store: Store, key: String, Range { mut start, end }: Range<u64>) -> Response {
    let (sender, mut pieces) = mpsc::channel::<Result<Bytes, crate::store::Error>>(2);
    tokio::spawn(async move {
        while start < end {
            let piece = store.get_range(&key, start..end.min(start + PIECE)).await;
            start += piece.as_ref().map_or(end, |piece| piece.len().max(1) as u64);
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    warp::reply::stream(stream::poll_fn(move |cx| pieces.poll_recv(cx))).into_response()
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    All,
    Range(Range<u64>),
    Nothing,
}

/// One range of bytes; several, or another unit, are answered with all of it, as may be.
fn parse(text: &str, size: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Asked::All;
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(count)) if first.trim().is_empty() => size.saturating_sub(count)..size,
        _ => return Asked::All,
    };
    if range.is_empty() { Asked::Nothing } else { Asked::Range(range) }
}

/// Pictures of recordings that run, one made at a time.
#[derive(Default)]
pub(super) struct Pictures(Mutex<HashMap<RecordingId, (Instant, Option<Picture>)>>);

impl Pictures {
    pub(super) async fn answer(&self, recorder: &Recorder, id: &RecordingId) -> Response {
        let mut made = self.0.lock().await;
        let known = made.get(id).filter(|(at, _)| at.elapsed() < PICTURE_AGE).map(|(_, picture)| picture.clone());
        let picture = match known {
            Some(picture) => picture,
            None => {
                let picture = recorder.picture(id).await;
                made.retain(|_, (at, _)| at.elapsed() < PICTURE_AGE);
                if made.len() < MOST_PICTURES {
                    made.insert(id.clone(), (Instant::now(), picture.clone()));
                }
                picture
            }
        };
        let Some(picture) = picture else { return not_found() };
        let mut answer = with_type(picture.jpeg, "image/jpeg");
        set(&mut answer, header::HeaderName::from_static("x-received-ms"), &picture.received_ms.to_string());
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_browsers_write_them() {
        for (text, asked) in [
            ("bytes=0-", Asked::Range(0..100)),
            ("bytes=10-19", Asked::Range(10..20)),
            ("bytes=90-1000", Asked::Range(90..100)),
            ("bytes=-5", Asked::Range(95..100)),
            ("bytes=-500", Asked::Range(0..100)),
            ("bytes=100-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=5-2", Asked::All),
            ("bytes=0-1,5-6", Asked::All),
            ("lines=1-2", Asked::All),
            ("", Asked::All),
            ("bytes=18446744073709551615-18446744073709551615", Asked::Nothing),
        ] {
            assert_eq!(parse(text, 100), asked, "{text}");
        }
    }
}
