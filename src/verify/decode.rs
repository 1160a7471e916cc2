//! Decodes a media file as it comes and measures what comes of it. Nothing is written to a disk: the index is in front of
//! the media in every file that the recorder makes, so a pipe is enough, and one for which it is not enough is not as
//! browsers need it.

use super::report::{Finding, Kind};
use crate::container::mp4;
use crate::ffmpeg::{Child, Error, Ffmpeg, Output, args};
use crate::output::manifest::StoredObject;
use bytes::{Buf, Bytes, BytesMut};
use std::time::Duration;

/// How long ffmpeg may take for what it has been given, once that is all.
const GRACE: Duration = Duration::from_secs(60);

/// How far a length may be off, in ms: AAC comes in packets of 64 ms, and times are rounded.
const TOLERANCE_MS: i64 = 80;

/// An ffmpeg that is fed a file.
pub(super) struct Decoder {
    child: Child,
    /// How it ended, if it did before its input.
    ended: Option<Error>,
    output: BytesMut,
    tracks: Vec<Track>,
    /// What the file says about its own length, once its first piece has come.
    length_ms: Option<Option<u64>>,
}

impl Decoder {
    pub(super) fn start(ffmpeg: &Ffmpeg) -> Result<Self, Error> {
        let child = ffmpeg.spawn("decoding", &args::decode(), Output::Collect)?;
        Ok(Self { child, ended: None, output: BytesMut::new(), tracks: Vec::new(), length_ms: None })
    }

    /// Takes the next piece; the first one has to reach to the index.
    ///
    /// # Errors
    /// Only those that say nothing about the file.
    pub(super) async fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.length_ms.get_or_insert_with(|| mp4::duration_ms(piece));
        if self.ended.is_none() {
            let written = self.child.write(piece).await;
            let output = self.child.take_output();
            self.read(output);
            match written {
                Err(err) if err.is_retryable() => return Err(err),
                written => self.ended = written.err(),
            }
        }
        Ok(())
    }

    /// What is wrong with the file that was given as `name`.
    pub(super) async fn finish(mut self, name: &str, object: &StoredObject) -> Result<Vec<Finding>, Error> {
        let ended = match self.ended.take() {
            Some(err) => Err(err),
            None => self.child.finish(GRACE).await,
        };
        let failed = match ended {
            Ok(output) => {
                read(&mut self.output, &mut self.tracks, output);
                None
            }
            // It had all that it wanted before the end of the file.
            Err(Error::Exited { status, .. }) if status.success() => None,
            Err(err) if err.is_retryable() => return Err(err),
            Err(err) => Some(Finding::of(name, Kind::Undecodable, format!("cannot be decoded: {err}"))),
        };
        let length_ms = self.length_ms.flatten();
        Ok(failed.map_or_else(|| judge(name, object, length_ms, &self.tracks), |finding| vec![finding]))
    }

    fn read(&mut self, output: Bytes) {
        read(&mut self.output, &mut self.tracks, output);
    }
}

/// A list of frames as ffmpeg writes it: of decoded sound, of decoded pictures, or of the packets of pictures.
#[derive(Debug, Default, PartialEq, Eq)]
struct Track {
    kind: String,
    codec: String,
    /// Ticks of how many seconds: numerator and denominator.
    tick: (i64, i64),
    last_pts: Option<i64>,
    /// Where the last frame ends, in ticks.
    end: i64,
}

impl Track {
    fn ms(&self, ticks: i64) -> i64 {
        (i128::from(ticks) * i128::from(self.tick.0) * 1000 / i128::from(self.tick.1.max(1))) as i64
    }

    fn last_ms(&self) -> Option<i64> {
        self.last_pts.map(|pts| self.ms(pts))
    }

    fn is_decoded_pictures(&self) -> bool {
        self.kind == "video" && self.codec == "rawvideo"
    }
}

/// Reads the whole lines of `output` into `tracks`, and keeps the rest.
fn read(rest: &mut BytesMut, tracks: &mut Vec<Track>, output: Bytes) {
    rest.extend_from_slice(&output);
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        // A line that is not understood is one of no interest, or its track ends too early.
        let _ignored: Option<()> = line(&String::from_utf8_lossy(&rest[..end]), tracks);
        rest.advance(end + 1);
    }
}

/// `#tb 0: 1/1000`, `#media_type 0: video`, `#codec_id 0: rawvideo`, or `stream, DTS, PTS, duration, size, checksum`.
fn line(line: &str, tracks: &mut Vec<Track>) -> Option<()> {
    /// Of a handful of streams; ffmpeg is ours, its input is not.
    const TRACKS_MAX: usize = 64;
    if let Some(header) = line.strip_prefix('#') {
        let (field, value) = header.split_once(": ")?;
        let (field, index) = field.split_once(' ')?;
        let index: usize = index.parse().ok().filter(|index| *index < TRACKS_MAX)?;
        if tracks.len() <= index {
            tracks.resize_with(index + 1, Track::default);
        }
        let track = &mut tracks[index];
        match field {
            "tb" => {
                let (numerator, denominator) = value.split_once('/')?;
                track.tick = (numerator.parse().ok()?, denominator.parse().ok()?);
            }
            "media_type" => track.kind = value.to_owned(),
            "codec_id" => track.codec = value.to_owned(),
            _ => {}
        }
        return Some(());
    }
    let mut fields = line.split(',').map(|field| field.trim().parse::<i64>());
    let mut next = || fields.next()?.ok();
    let (index, _, pts, duration) = (next()?, next()?, next()?, next()?);
    let track = tracks.get_mut(usize::try_from(index).ok()?)?;
    track.last_pts = track.last_pts.max(Some(pts));
    track.end = track.end.max(pts.saturating_add(duration));
    Some(())
}

/// What the tracks of a file say against its entry in the manifest. How long the last picture is shown is known only to the
/// file as a whole; sound says it itself.
fn judge(name: &str, object: &StoredObject, length_ms: Option<u64>, tracks: &[Track]) -> Vec<Finding> {
    let off = |ms: i64, expected: i64| (ms - expected).abs() > TOLERANCE_MS;
    let finding = |kind, text: String| Finding::of(name, kind, text);
    let mut findings = Vec::new();
    let Some(length_ms) = length_ms.and_then(|ms| i64::try_from(ms).ok()) else {
        return vec![finding(Kind::Undecodable, "has no index in front of its media".to_owned())];
    };
    if let Some(expected) = object.duration_ms.and_then(|ms| i64::try_from(ms).ok()).filter(|ms| off(length_ms, *ms)) {
        findings.push(finding(Kind::Duration, format!("is {length_ms} ms long, where the manifest says {expected}")));
    }
    let sounds = || tracks.iter().filter(|track| track.kind == "audio");
    let pictures = || tracks.iter().filter(|track| track.is_decoded_pictures());
    let packets = || tracks.iter().filter(|track| track.kind == "video" && !track.is_decoded_pictures());
    if let Some(codec) = &object.codec {
        let (named, found) = (codec.split(',').count(), sounds().count() + pictures().count());
        if named != found {
            let text = format!("has {found} tracks, where the manifest names {named} codecs");
            findings.push(finding(Kind::Undecodable, text));
        }
    }
    for sound in sounds() {
        let end_ms = sound.ms(sound.end);
        if off(end_ms, length_ms) {
            findings.push(finding(Kind::Duration, format!("has {end_ms} ms of sound in {length_ms} ms")));
        }
    }
    for (pictures, packets) in pictures().zip(packets()) {
        let (decoded, last) = (pictures.last_ms(), packets.last_ms());
        match (decoded, last) {
            (Some(decoded), Some(last)) if !off(decoded, last) && last <= length_ms + TOLERANCE_MS => {}
            (Some(decoded), Some(last)) => {
                let text = format!("has pictures until {last} ms in {length_ms} ms, decoded until {decoded} ms");
                findings.push(finding(Kind::Duration, text));
            }
            _ => findings.push(finding(Kind::Undecodable, "has no picture that can be decoded".to_owned())),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "#software: x\n#tb 0: 1/1000\n#media_type 0: video\n#codec_id 0: rawvideo\n#tb 1: 1/16000\n\
        #media_type 1: audio\n#codec_id 1: pcm_s16le\n#tb 2: 1/16000\n#media_type 2: video\n#codec_id 2: h264\n\
        0,          0,          0,       40,  1382400, 0x3c0e41eb\n2,  0,  0,  640,  254, 0xeeb82601, S=1, 8\n\
        1,     126976,     126976,     1024,     2048, 0xd4be13c2\n0,  6960,  6960,  40,  1382400, 0x3c0e41eb\n\
        2,     65344,     111360,      640,      254, 0xeeb82601\nnonsense\n9, 1, 1, 1\n";

    fn tracks(listed: &str, piece: usize) -> Vec<Track> {
        let (mut rest, mut tracks) = (BytesMut::new(), Vec::new());
        for piece in listed.as_bytes().chunks(piece) {
            read(&mut rest, &mut tracks, Bytes::copy_from_slice(piece));
        }
        tracks
    }

    fn said(duration_ms: u64, length_ms: Option<u64>, listed: &str) -> Vec<String> {
        let object = StoredObject {
            name: "recording.mp4".into(),
            key: "recording.mp4".into(),
            size_bytes: 0,
            sha256: String::new(),
            content_type: "video/mp4".into(),
            duration_ms: Some(duration_ms),
            codec: Some("avc1.640028,mp4a.40.2".into()),
        };
        judge("recording.mp4", &object, length_ms, &tracks(listed, 4096)).into_iter().map(|f| f.text).collect()
    }

    #[test]
    fn lists_are_read_however_they_are_cut() {
        let whole = tracks(LISTED, 4096);
        assert_eq!(tracks(LISTED, 1), whole);
        assert_eq!(tracks(LISTED, 7), whole);
        let ends: Vec<_> = whole.iter().map(|track| (track.last_ms(), track.ms(track.end))).collect();
        assert_eq!(ends, [(Some(6960), 7000), (Some(7936), 8000), (Some(6960), 7000)]);
    }

    #[test]
    fn what_is_as_it_should_be_gives_no_finding() {
        assert_eq!(said(8000, Some(8000), LISTED), [""; 0]);
        assert_eq!(said(7960, Some(8020), LISTED), [""; 0]);
    }

    #[test]
    fn what_is_too_short_or_missing_is_said() {
        assert_eq!(said(9000, Some(8000), LISTED), ["is 8000 ms long, where the manifest says 9000"]);
        let short = LISTED.replace("126976,     126976", "26976,     26976");
        assert_eq!(said(8000, Some(8000), &short), ["has 1750 ms of sound in 8000 ms"]);
        let stops = LISTED.replace("0,  6960,  6960", "0,  3960,  3960");
        let text = "has pictures until 6960 ms in 8000 ms, decoded until 3960 ms";
        assert_eq!(said(8000, Some(8000), &stops), [text]);
        let silent = LISTED.replace("1: audio", "1: data");
        assert_eq!(said(8000, Some(8000), &silent), ["has 1 tracks, where the manifest names 2 codecs"]);
        assert_eq!(said(8000, None, LISTED), ["has no index in front of its media"]);
    }
}
