//! A small Matroska writer for one track of pictures: what goes through a pipe, or is appended to a file, as it comes.
//!
//! Nothing written is ever changed or measured later: segment and clusters have unknown size, there is no index. So a
//! file that was cut off at any frame is whole up to there, and a writer whose state was kept goes on in the same file.
//! H.264 stays in Annex B and the track has no `CodecPrivate`: ffmpeg takes SPS and PPS from the first key frame, and
//! leaves those in the frames where they are, so that a track may change its size (seen with ffmpeg 5.1).
//!
//! Times are milliseconds, strictly increasing, from 0 to 2^56. A frame lasts until the next one begins, and the last
//! one for the duration that it is given; without one, ffmpeg guesses.
//!
//! Invariant: the bytes depend on the track and the frames alone, never on how they were handed over.
#![deny(clippy::disallowed_methods)]

use crate::media::{PictureCodec, Pts};
use serde::{Deserialize, Serialize};

/// Element ids, as in RFC 9559. The ones that are used, and no others.
mod id {
    pub(super) const EBML: u32 = 0x1A45_DFA3;
    pub(super) const EBML_VERSION: u32 = 0x4286;
    pub(super) const EBML_READ_VERSION: u32 = 0x42F7;
    pub(super) const EBML_MAX_ID_LENGTH: u32 = 0x42F2;
    pub(super) const EBML_MAX_SIZE_LENGTH: u32 = 0x42F3;
    pub(super) const DOC_TYPE: u32 = 0x4282;
    pub(super) const DOC_TYPE_VERSION: u32 = 0x4287;
    pub(super) const DOC_TYPE_READ_VERSION: u32 = 0x4285;
    pub(super) const SEGMENT: u32 = 0x1853_8067;
    pub(super) const INFO: u32 = 0x1549_A966;
    /// Nanoseconds in one unit of every time in the segment.
    pub(super) const TIMESTAMP_SCALE: u32 = 0x002A_D7B1;
    pub(super) const MUXING_APP: u32 = 0x4D80;
    pub(super) const WRITING_APP: u32 = 0x5741;
    pub(super) const TRACKS: u32 = 0x1654_AE6B;
    pub(super) const TRACK_ENTRY: u32 = 0xAE;
    pub(super) const TRACK_NUMBER: u32 = 0xD7;
    pub(super) const TRACK_UID: u32 = 0x73C5;
    pub(super) const TRACK_TYPE: u32 = 0x83;
    /// Whether several frames may share a block: they do not.
    pub(super) const FLAG_LACING: u32 = 0x9C;
    pub(super) const CODEC_ID: u32 = 0x86;
    pub(super) const CODEC_PRIVATE: u32 = 0x63A2;
    pub(super) const VIDEO: u32 = 0xE0;
    pub(super) const PIXEL_WIDTH: u32 = 0xB0;
    pub(super) const PIXEL_HEIGHT: u32 = 0xBA;
    pub(super) const CLUSTER: u32 = 0x1F43_B675;
    /// The time that the 16-bit times of a cluster's blocks are relative to.
    pub(super) const TIMESTAMP: u32 = 0xE7;
    pub(super) const SIMPLE_BLOCK: u32 = 0xA3;
    pub(super) const BLOCK_GROUP: u32 = 0xA0;
    pub(super) const BLOCK: u32 = 0xA1;
    pub(super) const BLOCK_DURATION: u32 = 0x9B;
    /// In a group, what makes the block no key frame: the relative time of a block that it needs.
    pub(super) const REFERENCE_BLOCK: u32 = 0xFB;
}

/// Nanoseconds in a millisecond.
const MS: u64 = 1_000_000;

/// A size that is not known: all value bits set.
const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

/// Track number 1 as a one-byte variable-length integer.
const TRACK: u8 = 0x81;

/// What a track consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackSettings {
    /// How every frame is coded.
    pub codec: PictureCodec,
    /// Width in pixels; what the pictures themselves say goes before it.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// One picture with its time.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// When it is shown.
    pub pts: Pts,
    /// Whether decoding can start here. Every image of a JPG or PNG track is one.
    pub is_key: bool,
    /// How long it is shown, in ms. Needed for the last frame only.
    pub duration_ms: Option<u64>,
    /// An access unit in Annex B, or a whole image.
    pub data: &'a [u8],
}

/// Why a frame was not taken. Nothing has been written then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The time lies before zero.
    #[error("a picture at {0} ms lies before the start of its track")]
    Negative(i64),
    /// The time is not later than that of the frame before.
    #[error("a picture at {pts} ms does not come after the one at {last} ms")]
    OutOfOrder {
        /// The time of the frame.
        pts: i64,
        /// The time of the frame before.
        last: i64,
    },
}

/// The state of one track: a plain value, so that it can be kept beside the file and go on from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    track: TrackSettings,
    cluster: Option<Pts>,
    last: Option<Pts>,
}

impl Writer {
    /// A track without frames.
    pub fn new(track: TrackSettings) -> Self {
        Self { track, cluster: None, last: None }
    }

    /// The time of the last frame.
    pub fn last(&self) -> Option<Pts> {
        self.last
    }

    /// Appends what comes before the first frame to `out`.
    pub fn header(&self, out: &mut Vec<u8>) {
        master(out, id::EBML, |out| {
            uint(out, id::EBML_VERSION, 1);
            uint(out, id::EBML_READ_VERSION, 1);
            uint(out, id::EBML_MAX_ID_LENGTH, 4);
            uint(out, id::EBML_MAX_SIZE_LENGTH, 8);
            binary(out, id::DOC_TYPE, b"matroska");
            uint(out, id::DOC_TYPE_VERSION, 4);
            uint(out, id::DOC_TYPE_READ_VERSION, 2);
        });
        put_id(out, id::SEGMENT);
        out.extend_from_slice(&UNKNOWN_SIZE);
        master(out, id::INFO, |out| {
            uint(out, id::TIMESTAMP_SCALE, MS);
            binary(out, id::MUXING_APP, b"rtms-recorder");
            binary(out, id::WRITING_APP, b"rtms-recorder");
        });
        master(out, id::TRACKS, |out| master(out, id::TRACK_ENTRY, |out| self.track_entry(out)));
    }

    fn track_entry(&self, out: &mut Vec<u8>) {
        let TrackSettings { codec, width, height } = self.track;
        uint(out, id::TRACK_NUMBER, 1);
        uint(out, id::TRACK_UID, 1);
        uint(out, id::TRACK_TYPE, 1);
        uint(out, id::FLAG_LACING, 0);
        match codec {
            PictureCodec::H264 => binary(out, id::CODEC_ID, b"V_MPEG4/ISO/AVC"),
            PictureCodec::Jpg => binary(out, id::CODEC_ID, b"V_MJPEG"),
            // Matroska has no name of its own for PNG; ffmpeg knows it by the name it has in AVI.
            PictureCodec::Png => {
                binary(out, id::CODEC_ID, b"V_MS/VFW/FOURCC");
                binary(out, id::CODEC_PRIVATE, &bitmap_info(*b"MPNG", width, height));
            }
        }
        master(out, id::VIDEO, |out| {
            uint(out, id::PIXEL_WIDTH, width.into());
            uint(out, id::PIXEL_HEIGHT, height.into());
        });
    }

    /// Appends one frame to `out`.
    ///
    /// # Errors
    /// If its time is not after the last frame's, or negative.
    pub fn write(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let Ok(pts) = u64::try_from(frame.pts.0) else {
            return Err(Error::Negative(frame.pts.0));
        };
        if let Some(last) = self.last.filter(|&last| last >= frame.pts) {
            return Err(Error::OutOfOrder { pts: frame.pts.0, last: last.0 });
        }
        let in_cluster = self.cluster.filter(|_| !frame.is_key);
        let relative = match in_cluster.and_then(|start| i16::try_from(frame.pts.0 - start.0).ok()) {
            Some(relative) => relative,
            None => {
                put_id(out, id::CLUSTER);
                out.extend_from_slice(&UNKNOWN_SIZE);
                uint(out, id::TIMESTAMP, pts);
                self.cluster = Some(frame.pts);
                0
            }
        };
        match frame.duration_ms {
            None => block(out, id::SIMPLE_BLOCK, relative, if frame.is_key { 0x80 } else { 0 }, frame.data),
            Some(duration_ms) => master(out, id::BLOCK_GROUP, |out| {
                block(out, id::BLOCK, relative, 0, frame.data);
                uint(out, id::BLOCK_DURATION, duration_ms);
                if !frame.is_key {
                    let distance = self.last.map_or(0, |last| last.0 - frame.pts.0);
                    binary(out, id::REFERENCE_BLOCK, &distance.to_be_bytes());
                }
            }),
        }
        self.last = Some(frame.pts);
        Ok(())
    }
}

/// A `BITMAPINFOHEADER`, which Matroska keeps for codecs that it borrows from AVI.
fn bitmap_info(fourcc: [u8; 4], width: u32, height: u32) -> Vec<u8> {
    let mut info = Vec::with_capacity(40);
    for word in [40, width, height] {
        info.extend_from_slice(&word.to_le_bytes());
    }
    info.extend_from_slice(&1_u16.to_le_bytes()); // planes
    info.extend_from_slice(&24_u16.to_le_bytes()); // bits per pixel
    info.extend_from_slice(&fourcc);
    info.resize(40, 0); // image size, resolution and colours: unused
    info
}

/// An id carries its own length: its leading zero bytes are not written.
fn put_id(out: &mut Vec<u8>, id: u32) {
    out.extend(id.to_be_bytes().into_iter().skip_while(|&byte| byte == 0));
}

/// Sizes always take eight bytes: a frame more or less of these does not matter, and a known length can be filled in.
fn put_size(out: &mut Vec<u8>, size: usize) {
    out.extend_from_slice(&encoded_size(size));
}

fn encoded_size(size: usize) -> [u8; 8] {
    (size as u64 | 1 << 56).to_be_bytes()
}

fn binary(out: &mut Vec<u8>, id: u32, data: &[u8]) {
    put_id(out, id);
    put_size(out, data.len());
    out.extend_from_slice(data);
}

fn uint(out: &mut Vec<u8>, id: u32, value: u64) {
    binary(out, id, &value.to_be_bytes());
}

fn master(out: &mut Vec<u8>, id: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    put_id(out, id);
    let start = out.len() + 8;
    out.extend_from_slice(&UNKNOWN_SIZE);
    fill(out);
    let size = encoded_size(out.len() - start);
    out[start - 8..start].copy_from_slice(&size);
}

fn block(out: &mut Vec<u8>, id: u32, relative: i16, flags: u8, data: &[u8]) {
    put_id(out, id);
    put_size(out, data.len() + 4);
    out.push(TRACK);
    out.extend_from_slice(&relative.to_be_bytes());
    out.push(flags);
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HD: TrackSettings = TrackSettings { codec: PictureCodec::H264, width: 1280, height: 720 };

    fn frame(pts: i64, is_key: bool) -> Frame<'static> {
        Frame { pts: Pts(pts), is_key, duration_ms: None, data: b"picture" }
    }

    /// One element of a known kind, read back: its id, and its content, or nothing if the size is unknown.
    fn element<'a>(bytes: &mut &'a [u8]) -> (u32, Option<&'a [u8]>) {
        let length = bytes[0].leading_zeros() as usize + 1;
        let id = bytes[..length].iter().fold(0, |id, &byte| id << 8 | u32::from(byte));
        let size: [u8; 8] = bytes[length..length + 8].try_into().unwrap();
        *bytes = &bytes[length + 8..];
        if size == UNKNOWN_SIZE {
            return (id, None);
        }
        let (content, rest) = bytes.split_at((u64::from_be_bytes(size) & !(1 << 56)) as usize);
        *bytes = rest;
        (id, Some(content))
    }

    fn number(content: &[u8]) -> u64 {
        content.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    /// Time, key flag, duration and data.
    type Read = (i64, bool, Option<u64>, Vec<u8>);

    /// Each frame, and the number of clusters.
    fn read(mut bytes: &[u8]) -> (Vec<Read>, usize) {
        let (mut frames, mut clusters, mut base) = (Vec::new(), 0, 0);
        let block = |base: i64, block: &[u8]| {
            assert_eq!(block[0], TRACK);
            (base + i64::from(i16::from_be_bytes([block[1], block[2]])), block[3] == 0x80, block[4..].to_vec())
        };
        while !bytes.is_empty() {
            match element(&mut bytes) {
                (id::CLUSTER, None) => clusters += 1,
                (id::TIMESTAMP, Some(time)) => base = number(time) as i64,
                (id::SIMPLE_BLOCK, Some(content)) => {
                    let (pts, is_key, data) = block(base, content);
                    frames.push((pts, is_key, None, data));
                }
                (id::BLOCK_GROUP, Some(mut group)) => {
                    let (pts, _, data) = block(base, element(&mut group).1.unwrap());
                    let duration = number(element(&mut group).1.unwrap());
                    frames.push((pts, group.is_empty(), Some(duration), data));
                }
                (id::EBML | id::INFO | id::TRACKS, Some(_)) | (id::SEGMENT, None) => {}
                other => panic!("unexpected element {other:x?}"),
            }
        }
        (frames, clusters)
    }

    #[test]
    fn header_is_as_specified() {
        let mut out = Vec::new();
        Writer::new(HD).header(&mut out);
        let mut rest = &out[..];
        assert_eq!(element(&mut rest).0, id::EBML);
        assert_eq!(element(&mut rest), (id::SEGMENT, None));
        assert_eq!(element(&mut rest).0, id::INFO);
        assert_eq!(element(&mut rest).0, id::TRACKS);
        assert!(rest.is_empty());
        assert!(out.windows(15).any(|window| window == b"V_MPEG4/ISO/AVC"));
    }

    #[test]
    fn a_cluster_begins_at_a_key_frame_and_before_its_times_overflow() {
        let mut writer = Writer::new(HD);
        let mut out = Vec::new();
        for (pts, is_key) in [(7_300, true), (7_340, false), (7_300 + 32_767, false), (7_300 + 32_768, false)] {
            writer.write(&frame(pts, is_key), &mut out).unwrap();
        }
        writer.write(&frame(50_000, true), &mut out).unwrap();
        let (frames, clusters) = read(&out);
        assert_eq!(clusters, 3);
        assert_eq!(frames.iter().map(|frame| frame.0).collect::<Vec<_>>(), [7_300, 7_340, 40_067, 40_068, 50_000]);
    }

    #[test]
    fn wrong_times_are_refused_and_leave_no_trace() {
        let mut writer = Writer::new(HD);
        let mut out = Vec::new();
        writer.write(&frame(10, true), &mut out).unwrap();
        let (state, bytes) = (writer.clone(), out.clone());
        assert_eq!(writer.write(&frame(10, false), &mut out), Err(Error::OutOfOrder { pts: 10, last: 10 }));
        assert_eq!(writer.write(&frame(-1, false), &mut out), Err(Error::Negative(-1)));
        assert_eq!((writer, out), (state, bytes));
    }

    #[test]
    fn a_kept_writer_goes_on_where_it_was() {
        let (mut whole, mut parts) = (Writer::new(HD), Writer::new(HD));
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for n in 0..100 {
            whole.write(&frame(n * 40, n % 30 == 0), &mut one).unwrap();
            parts.write(&frame(n * 40, n % 30 == 0), &mut other).unwrap();
            parts = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
        }
        assert_eq!(one, other);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            steps in prop::collection::vec((1..100_000_i64, any::<bool>(), any::<Option<u32>>(), any::<Vec<u8>>()), 1..50),
        ) {
            let mut writer = Writer::new(HD);
            let mut out = Vec::new();
            writer.header(&mut out);
            let mut pts = 0;
            let mut expected = Vec::new();
            for (step, is_key, duration, data) in &steps {
                let duration_ms = duration.map(u64::from);
                writer.write(&Frame { pts: Pts(pts), is_key: *is_key, duration_ms, data }, &mut out).unwrap();
                expected.push((pts, *is_key, duration_ms, data.clone()));
                pts += step;
            }
            prop_assert_eq!(read(&out).0, expected);
        }
    }
}
