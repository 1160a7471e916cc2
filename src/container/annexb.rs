//! Cuts the Annex B that an encoder writes into access units.
//!
//! Relies on an access unit delimiter in front of every access unit (x264 with `aud=1`), which makes the cut exact and
//! keeps the parser small. The delimiters have done their work then and are left out: a key frame begins with its SPS.
//! Not for what Zoom sends, which has none.
//!
//! Invariant: the units depend on the bytes alone, never on how they were handed over.
#![deny(clippy::disallowed_methods)]

use bytes::{Buf, Bytes, BytesMut};

/// What a NAL unit begins with, after zero or more zero bytes.
const START_CODE: [u8; 3] = [0, 0, 1];
/// `nal_unit_type` of an IDR slice.
const IDR: u8 = 5;
/// `nal_unit_type` of an access unit delimiter.
const DELIMITER: u8 = 9;

/// One access unit without its delimiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Whether it is an IDR.
    pub is_key: bool,
    /// Annex B with start codes.
    pub data: Bytes,
}

/// Takes bytes as they come and gives access units.
#[derive(Debug, Default)]
pub struct Splitter {
    /// What came since the start of the unit that is not complete yet.
    buffer: BytesMut,
    /// The next place in `buffer` to look for a start code.
    next: usize,
    is_key: bool,
}

impl Splitter {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next access unit whose end is known. Call until it gives nothing.
    pub fn next_unit(&mut self) -> Option<Unit> {
        while let Some(found) = self.buffer[self.next..].windows(3).position(|bytes| bytes == START_CODE) {
            let start = self.next + found;
            // The header of this NAL unit and, of a delimiter, its only byte.
            let Some(&[header, _]) = self.buffer.get(start + 3..start + 5) else {
                self.next = start;
                return None;
            };
            self.next = start + 3;
            match header & 0x1F {
                IDR => self.is_key = true,
                DELIMITER => {
                    let end = if self.buffer[..start].ends_with(&[0]) { start - 1 } else { start };
                    let unit = self.take(end);
                    self.buffer.advance(start + 5 - end);
                    if unit.is_some() {
                        return unit;
                    }
                }
                _ => {}
            }
        }
        self.next = self.next.max(self.buffer.len().saturating_sub(START_CODE.len() - 1));
        None
    }

    /// The last access unit, when the encoder has ended and [`Self::next_unit`] gives nothing more.
    pub fn finish(mut self) -> Option<Unit> {
        self.take(self.buffer.len())
    }

    fn take(&mut self, end: usize) -> Option<Unit> {
        self.next = 0;
        let data = self.buffer.split_to(end).freeze();
        let is_key = std::mem::take(&mut self.is_key);
        (!data.is_empty()).then_some(Unit { is_key, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &[u8] = b"\0\0\0\x01\x67sps\0\0\0\x01\x68pps\0\0\x01\x65slice";
    const OTHER: &[u8] = b"\0\0\0\x01\x41slice\0\0\x03\x01\x80";

    fn stream(units: &[bool]) -> Vec<u8> {
        let one = |&is_key| [b"\0\0\0\x01\x09\xf0" as &[u8], if is_key { KEY } else { OTHER }].concat();
        units.iter().flat_map(one).collect()
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.next_unit(), None);
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn a_unit_is_there_once_the_next_begins() {
        let mut splitter = Splitter::default();
        splitter.push(&stream(&[true]));
        assert_eq!(splitter.next_unit(), None);
        splitter.push(&stream(&[false]));
        assert_eq!(splitter.next_unit(), Some(Unit { is_key: true, data: Bytes::from_static(KEY) }));
        assert_eq!(splitter.next_unit(), None);
        assert_eq!(splitter.finish(), Some(Unit { is_key: false, data: Bytes::from_static(OTHER) }));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(units in prop::collection::vec(any::<bool>(), 0..20), piece in 1..40_usize) {
            let mut splitter = Splitter::default();
            let mut found = Vec::new();
            for piece in stream(&units).chunks(piece) {
                splitter.push(piece);
                found.extend(std::iter::from_fn(|| splitter.next_unit()));
            }
            found.extend(splitter.finish());
            prop_assert_eq!(found.iter().map(|unit| unit.is_key).collect::<Vec<_>>(), units);
            let whole = |unit: &Unit| unit.data == if unit.is_key { KEY } else { OTHER };
            prop_assert!(found.iter().all(whole));
        }
    }
}
