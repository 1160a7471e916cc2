//! A telling picture of a recording: of some that are spread over it, the one with the most detail. Slates are left out.
//!
//! How much detail a picture has is how large it is as a JPEG of a given quality. A recording without a picture of its own, or
//! one for which none could be made, is published without.

use crate::ffmpeg::{Ffmpeg, args};
use crate::media::Pts;
use crate::timeline::{Span, image};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many pictures are looked at, at most.
const CANDIDATES: i64 = 8;
/// Of these, those that are looked at first, which is enough if one of them has as much detail as this, in bytes: a black
/// one of 1280 by 720 has 12 KiB. Each costs a start of ffmpeg.
const FIRST: [usize; 3] = [1, 4, 6];
const DETAILED: usize = 32 << 10;
/// So long after a key frame the picture is sharp. Not later than this before a slate, with the second that the last picture
/// is held.
const SETTLED_MS: u32 = 500;
const MARGIN_MS: i64 = 1600;
/// One key frame and some pictures behind it are decoded.
const GRACE: Duration = Duration::from_secs(60);

/// The picture, as a JPEG: from the first of the files, unless that shows nothing and another one more. With each file comes
/// where it has pictures that are no slate.
pub(super) async fn choose(ffmpeg: &Ffmpeg, files: &[(PathBuf, &[Span])]) -> Option<Bytes> {
    let mut best: Option<Bytes> = None;
    for (file, shown) in files {
        if best.as_deref().is_some_and(|best| !is_flat(best)) {
            break;
        }
        let detail = best.as_ref().map_or(0, Bytes::len);
        best = make(ffmpeg, file, shown).await.filter(|made| made.len() > detail).or(best);
    }
    best
}

async fn make(ffmpeg: &Ffmpeg, file: &Path, shown: &[Span]) -> Option<Bytes> {
    let mut best: Option<Bytes> = None;
    for (number, (at, after_ms)) in order(candidates(shown)).into_iter().enumerate() {
        if number >= FIRST.len() && best.as_ref().is_some_and(|best| best.len() >= DETAILED) {
            break;
        }
        match ffmpeg.run("taking a picture", &args::picture(file, at.0, after_ms), GRACE).await {
            // The first of equals, so that the same file gives the same picture.
            Ok(jpeg) if jpeg.len() > best.as_ref().map_or(0, Bytes::len) => best = Some(jpeg),
            Ok(_) => {}
            Err(err) => tracing::warn!(err = %err, pts_ms = at.0, "a picture for poster.jpg could not be made"),
        }
    }
    best
}

/// Whether there is next to nothing on a picture, as on that of a camera behind its lid: one colour takes 1.5 bytes for 16 by 16
/// pixels, with noise twice that; faces and slides take ten times as much.
fn is_flat(jpeg: &[u8]) -> bool {
    let pixels = image::size(jpeg).map_or(0, |size| size.width as usize * size.height as usize);
    jpeg.len() < 1000 + pixels / 64
}

/// What is between slates, up to `end`.
pub(super) fn shown(slates: &[Span], end: Pts) -> Vec<Span> {
    let (mut shown, mut at) = (Vec::new(), Pts(0));
    for slate in slates {
        if slate.start > at {
            shown.push(Span::new(at, slate.start));
        }
        at = at.max(slate.end);
    }
    if end > at {
        shown.push(Span::new(at, end));
    }
    shown
}

/// Where to look, and how long behind the key frame before it: evenly spread over what is far enough from a slate, or
/// the beginning of each span if all are short.
fn candidates(shown: &[Span]) -> Vec<(Pts, u32)> {
    let long: Vec<(i64, i64)> =
        shown.iter().map(|span| (span.start.0, span.ms() - MARGIN_MS)).filter(|(_, ms)| *ms > 0).collect();
    let total: i64 = long.iter().map(|(_, ms)| ms).sum();
    if total == 0 {
        let some = CANDIDATES.unsigned_abs() as usize;
        return shown.iter().take(some).map(|span| (span.start, 0)).collect();
    }
    let place = |number: i64| {
        let mut left = total * (2 * number + 1) / (2 * CANDIDATES);
        let within = long.iter().find_map(|(start, ms)| {
            let found = (left < *ms).then_some(start + left);
            left -= ms;
            found
        });
        Some((Pts(within?), SETTLED_MS))
    };
    (0..CANDIDATES).filter_map(place).collect()
}

/// Those that are looked at first in front.
fn order<T: Copy>(candidates: Vec<T>) -> Vec<T> {
    let first = FIRST.iter().filter_map(|&number| candidates.get(number));
    let rest = candidates.iter().enumerate().filter(|(number, _)| !FIRST.contains(number)).map(|(_, it)| it);
    first.chain(rest).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: i64, end: i64) -> Span {
        Span::new(Pts(start), Pts(end))
    }

    #[test]
    fn what_is_shown_is_what_no_slate_covers() {
        assert_eq!(shown(&[], Pts(5)), [span(0, 5)]);
        assert_eq!(shown(&[span(0, 3), span(7, 9)], Pts(9)), [span(3, 7)]);
        assert_eq!(shown(&[span(0, 9)], Pts(9)), []);
        assert_eq!(shown(&[span(2, 4), span(3, 5)], Pts(6)), [span(0, 2), span(5, 6)]);
    }

    #[test]
    fn each_candidate_has_its_turn() {
        assert_eq!(order((0..8).collect::<Vec<_>>()), [1, 4, 6, 0, 2, 3, 5, 7]);
        assert_eq!(order(vec![0, 1]), [1, 0]);
        assert!(order(Vec::<u8>::new()).is_empty());
    }

    #[test]
    fn candidates_are_spread_and_keep_away_from_slates() {
        let shown = [span(1000, 9000), span(20_000, 21_000), span(30_000, 36_000)];
        let found = candidates(&shown);
        assert_eq!(found.len(), 8);
        for (at, after_ms) in &found {
            let within = shown.iter().any(|s| s.start <= *at && at.0 + i64::from(*after_ms) + 1000 < s.end.0);
            assert!(within, "{at:?}");
        }
        assert!(found.is_sorted() && found[7].0.0 > 30_000);
        assert_eq!(candidates(&[span(0, 900), span(2000, 2500)]), [(Pts(0), 0), (Pts(2000), 0)]);
        assert!(candidates(&[]).is_empty());
    }
}
