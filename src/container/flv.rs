//! Reads the FLV that our own encoder writes: H.264 pictures, each with the time that it was given.
//!
//! FLV, because it can be streamed, is trivial to read, and keeps times in milliseconds; raw Annex B would keep none, and
//! an encoder that leaves a picture out would shift all that follow. Layout as in Adobe's "Video File Format
//! Specification" 10.1, annex E: a header, then tags, each followed by its size.

use crate::media::Pts;
use bytes::{Buf, Bytes, BytesMut};

const HEADER_BYTES: usize = 9;
const PREVIOUS_SIZE_BYTES: usize = 4;
const TAG_HEADER_BYTES: usize = 11;
/// Frame type and codec, packet type, composition time.
const AVC_HEADER_BYTES: usize = 5;
const VIDEO: u8 = 9;
const AVC: u8 = 7;
const KEY_FRAME: u8 = 1;
const SEQUENCE_HEADER: u8 = 0;
const NAL_UNITS: u8 = 1;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// One encoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// When it is shown.
    pub pts: Pts,
    /// Whether it is an IDR; SPS and PPS stand in front of it then.
    pub is_key: bool,
    /// Annex B.
    pub data: Bytes,
}

/// What came is not what our encoder writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the encoder's output is not FLV with H.264: {0}")]
pub struct Malformed(&'static str);

/// Takes bytes as they come and gives pictures.
#[derive(Debug, Default)]
pub struct Reader {
    buffer: BytesMut,
    is_begun: bool,
    /// SPS and PPS in Annex B.
    parameter_sets: Vec<u8>,
}

impl Reader {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next picture that is complete. Call until it gives nothing.
    ///
    /// # Errors
    /// When the bytes are no FLV of ours; nothing more can be read then.
    pub fn next_picture(&mut self) -> Result<Option<Picture>, Malformed> {
        if !self.is_begun {
            if self.buffer.len() < HEADER_BYTES + PREVIOUS_SIZE_BYTES {
                return Ok(None);
            }
            if !self.buffer.starts_with(b"FLV") {
                return Err(Malformed("no signature"));
            }
            self.buffer.advance(HEADER_BYTES + PREVIOUS_SIZE_BYTES);
            self.is_begun = true;
        }
        while let Some((kind, pts, body)) = self.next_tag() {
            if kind == VIDEO
                && let Some(picture) = self.video(pts, &body)?
            {
                return Ok(Some(picture));
            }
        }
        Ok(None)
    }

    fn next_tag(&mut self) -> Option<(u8, Pts, Bytes)> {
        let header = self.buffer.get(..TAG_HEADER_BYTES)?;
        let size = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
        let pts = u32::from_be_bytes([header[7], header[4], header[5], header[6]]);
        let kind = header[0] & 0x1f;
        if self.buffer.len() < TAG_HEADER_BYTES + size + PREVIOUS_SIZE_BYTES {
            return None;
        }
        self.buffer.advance(TAG_HEADER_BYTES);
        let body = self.buffer.split_to(size).freeze();
        self.buffer.advance(PREVIOUS_SIZE_BYTES);
        Some((kind, Pts(i64::from(pts)), body))
    }

    fn video(&mut self, pts: Pts, body: &[u8]) -> Result<Option<Picture>, Malformed> {
        let (Some(header), Some(payload)) = (body.get(..AVC_HEADER_BYTES), body.get(AVC_HEADER_BYTES..)) else {
            return Err(Malformed("a short tag"));
        };
        if header[0] & 0x0f != AVC {
            return Err(Malformed("another codec"));
        }
        match header[1] {
            SEQUENCE_HEADER => {
                self.parameter_sets = parameter_sets(payload).ok_or(Malformed("a broken sequence header"))?;
                Ok(None)
            }
            NAL_UNITS => {
                let is_key = header[0] >> 4 == KEY_FRAME;
                let mut data = if is_key { self.parameter_sets.clone() } else { Vec::new() };
                let mut rest = payload;
                while !rest.is_empty() {
                    let (nal, after) = sized(rest, 4).ok_or(Malformed("a broken picture"))?;
                    data.extend_from_slice(&START_CODE);
                    data.extend_from_slice(nal);
                    rest = after;
                }
                Ok(Some(Picture { pts, is_key, data: data.into() }))
            }
            // The end of a sequence.
            _ => Ok(None),
        }
    }
}

/// SPS and PPS out of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1).
fn parameter_sets(record: &[u8]) -> Option<Vec<u8>> {
    const BEFORE_COUNT: usize = 5;
    let mut sets = Vec::new();
    let mut rest = record.get(BEFORE_COUNT..)?;
    for mask in [0x1f, 0xff] {
        let (count, after) = rest.split_first()?;
        rest = after;
        for _ in 0..(count & mask) {
            let (set, after) = sized(rest, 2)?;
            sets.extend_from_slice(&START_CODE);
            sets.extend_from_slice(set);
            rest = after;
        }
    }
    Some(sets)
}

/// What a length of `width` bytes (at most 4) at the front of `bytes` stands for, and what follows.
fn sized(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(width)?;
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(kind: u8, pts: u32, body: &[u8]) -> Vec<u8> {
        let [high, time @ ..] = pts.to_be_bytes();
        let size = (body.len() as u32).to_be_bytes();
        let mut tag = vec![kind, size[1], size[2], size[3]];
        tag.extend(time);
        tag.extend([high, 0, 0, 0]);
        tag.extend(body);
        tag.extend((tag.len() as u32).to_be_bytes());
        tag
    }

    fn file() -> Vec<u8> {
        let mut file = b"FLV\x01\x01\0\0\0\x09\0\0\0\0".to_vec();
        file.extend(tag(18, 0, b"about it"));
        file.extend(tag(9, 0, b"\x17\0\0\0\0\x01\x64\0\x28\xff\xe1\0\x02\x67A\x01\0\x02\x68B"));
        file.extend(tag(9, 7300, b"\x17\x01\0\0\0\0\0\0\x02\x65C"));
        file.extend(tag(9, 0x0123_4567, b"\x27\x01\0\0\0\0\0\0\x02\x41D\0\0\0\x01E"));
        file.extend(tag(9, 0x0123_4567, b"\x17\x02\0\0\0"));
        file
    }

    fn expected() -> [Picture; 2] {
        let start = |nals: &[&[u8]]| nals.iter().flat_map(|nal| [&START_CODE[..], nal].concat()).collect::<Vec<u8>>();
        [
            Picture { pts: Pts(7300), is_key: true, data: start(&[b"\x67A", b"\x68B", b"\x65C"]).into() },
            Picture { pts: Pts(0x0123_4567), is_key: false, data: start(&[b"\x41D", b"E"]).into() },
        ]
    }

    #[test]
    fn what_is_not_ours_is_an_error() {
        let mut reader = Reader::default();
        reader.push(b"not an FLV at all");
        assert_eq!(reader.next_picture(), Err(Malformed("no signature")));
        let mut reader = Reader::default();
        reader.push(&file()[..13]);
        reader.push(&tag(9, 0, b"\x12\x01\0\0\0"));
        assert_eq!(reader.next_picture(), Err(Malformed("another codec")));
    }

    proptest! {
        #[test]
        fn pictures_do_not_depend_on_how_bytes_come(cuts in proptest::collection::vec(1..40_usize, 0..20)) {
            let file = file();
            let mut reader = Reader::default();
            let mut pictures = Vec::new();
            let mut at = 0_usize;
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let end = at.saturating_add(cut).min(file.len());
                reader.push(&file[at..end]);
                at = end;
                while let Some(picture) = reader.next_picture().unwrap() {
                    pictures.push(picture);
                }
            }
            prop_assert_eq!(pictures, expected());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::default();
            reader.push(&file()[..13]);
            reader.push(&bytes);
            while let Ok(Some(_)) = reader.next_picture() {}
        }
    }
}
