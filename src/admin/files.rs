//! Media for the page: files of finished recordings, in ranges, and pictures of those that run.

use super::{failure, not_found, refusal, with_type};
use crate::ids::RecordingId;
use crate::output::manifest::StoredObject;
use crate::output::{Folder, Manifest};
use crate::recorder::{Recorder, Refused};
use crate::render::Picture;
use crate::store::Store;
use bytes::Bytes;
use futures_util::stream;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use warp::reply::{Reply, Response};

/// How much is read at a time.
const PIECE: u64 = 1 << 20;
/// For how long a picture is shown again, as making one takes a tenth of a second.
const PICTURE_AGE: Duration = Duration::from_secs(8);
const MOST_PICTURES: usize = 200;
/// Of so many recordings the manifest is remembered; one of a long meeting with many gaps takes megabytes.
const MOST_MANIFESTS: usize = 4;

/// A file of a recording, or a range of it.
pub(super) async fn answer(
    recorder: &Recorder,
    manifests: &Manifests,
    id: &RecordingId,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Response {
    let Ok(name) = percent_decode_str(name).decode_utf8() else { return not_found() };
    let (folder, manifest) = match manifests.get(recorder, id).await {
        Ok(found) => found,
        Err(err) => return failure(&err),
    };
    // Only what the manifest lists is a file of the recording.
    let Some(object) = manifest.objects.iter().find(|object| object.name == name) else { return not_found() };
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
    whole_or_part(recorder.store().clone(), key, object, range, method)
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

/// Manifests of the recordings whose files were asked for last, the newest first: a player asks for many ranges of one file.
#[derive(Default)]
pub(super) struct Manifests(Mutex<Vec<(RecordingId, Arc<Manifest>)>>);

impl Manifests {
    /// What lists the files of a recording that is in the bucket, and their folder there.
    async fn get(&self, recorder: &Recorder, id: &RecordingId) -> Result<(Folder, Arc<Manifest>), Refused> {
        // What is deleted meanwhile is not served because it was asked for before.
        let folder = recorder.folder(id).ok_or_else(|| Refused::Unknown(id.clone()))?;
        if let Some(manifest) = self.known(id) {
            return Ok((folder, manifest));
        }
        let (folder, manifest) = recorder.manifest(id).await?;
        let manifest = Arc::new(manifest);
        let mut last = self.0.lock();
        last.retain(|(of, _)| of != id);
        last.insert(0, (id.clone(), Arc::clone(&manifest)));
        last.truncate(MOST_MANIFESTS);
        Ok((folder, manifest))
    }

    fn known(&self, id: &RecordingId) -> Option<Arc<Manifest>> {
        let mut last = self.0.lock();
        let at = last.iter().position(|(of, _)| of == id)?;
        last[..=at].rotate_right(1);
        last.first().map(|(_, manifest)| Arc::clone(manifest))
    }
}

/// Pictures of recordings that run, one made at a time. Those that are there wait for none that is being made.
#[derive(Default)]
pub(super) struct Pictures {
    made: Mutex<HashMap<RecordingId, (Instant, Option<Picture>)>>,
    making: AsyncMutex<()>,
}

impl Pictures {
    pub(super) async fn answer(&self, recorder: &Recorder, id: &RecordingId) -> Response {
        let Some(picture) = self.get(id, || recorder.picture(id)).await else { return not_found() };
        let mut answer = with_type(picture.jpeg, "image/jpeg");
        set(&mut answer, header::HeaderName::from_static("x-received-ms"), &picture.received_ms.to_string());
        answer
    }

    async fn get<F: Future<Output = Option<Picture>>>(
        &self,
        id: &RecordingId,
        make: impl FnOnce() -> F,
    ) -> Option<Picture> {
        if let Some(known) = self.known(id) {
            return known;
        }
        let _making = self.making.lock().await;
        // Whoever was waited for may have made this one.
        if let Some(known) = self.known(id) {
            return known;
        }
        let picture = make().await;
        let mut made = self.made.lock();
        made.retain(|_, (at, _)| at.elapsed() < PICTURE_AGE);
        if made.len() < MOST_PICTURES {
            made.insert(id.clone(), (Instant::now(), picture.clone()));
        }
        picture
    }

    /// What was made not long ago: a picture, or that there is none.
    fn known(&self, id: &RecordingId) -> Option<Option<Picture>> {
        let made = self.made.lock();
        made.get(id).filter(|(at, _)| at.elapsed() < PICTURE_AGE).map(|(_, picture)| picture.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    fn id(name: &str) -> RecordingId {
        RecordingId::from_folder(name).unwrap()
    }

    #[tokio::test]
    async fn a_picture_that_is_there_waits_for_none_that_is_made() {
        let pictures = Pictures::default();
        let picture = || ready(Some(Picture { jpeg: Bytes::from_static(b"jpeg"), received_ms: 7 }));
        assert!(pictures.get(&id("there"), picture).await.is_some());
        let [there, slow, another] = ["there", "slow", "another"].map(id);
        let made = pictures.get(&slow, pending);
        let meanwhile = async {
            let there = pictures.get(&there, || async { panic!("it is there") }).await;
            assert_eq!(there.map(|picture| picture.received_ms), Some(7));
            // Two are not made at the same time.
            let second = pictures.get(&another, || async { panic!("another one is being made") });
            tokio::time::timeout(Duration::from_millis(50), second).await.unwrap_err();
        };
        tokio::select! {
            biased;
            _ = made => unreachable!("it is never done"),
            () = meanwhile => {}
        }
        assert!(pictures.get(&another, picture).await.is_some());
    }

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
