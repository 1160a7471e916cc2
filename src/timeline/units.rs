//! Cuts what Zoom sends as H.264 into access units, one picture each.
//!
//! Zoom sends one access unit per message as far as seen (protocol reference, 5.6). This joins one that was split over
//! messages, and splits messages that hold several. A unit is complete when the next begins, so the last one is always
//! held back until [`Units::flush`].
//!
//! A test server of Zoom's reads a file in blocks, and each message holds whatever the block does. Such pieces are known by their
//! size, and put together again; each picture gets the time of the piece that it begins in.
//!
//! Else a message continues the unit before it if both have the same time and it begins in the middle of a NAL unit (no start
//! code), or with a slice that does not begin a picture, or if nothing but parameter sets came so far. Within a
//! message a picture begins with its first slice or with what must stand before that (7.4.1.2.3 of H.264). Two fields of
//! one frame would be taken for two pictures; Zoom sends frames.

use super::h264::{Nal, NalKind, nals};
use crate::media::Pts;
use bytes::{Bytes, BytesMut};

/// The access units of one source. Yields each with the time of the message that it began in.
#[derive(Debug, Default)]
pub(super) struct Units {
    pending: Option<(Pts, Bytes)>,
    /// How large the last message was.
    last_bytes: usize,
    /// Whether a piece of a file has been put onto another.
    in_pieces: bool,
    joined: u64,
    split: u64,
}

impl Units {
    /// Takes the next message and appends the units that are complete now.
    pub(super) fn push(&mut self, pts: Pts, data: Bytes, out: &mut Vec<(Pts, Bytes)>) {
        let block = std::mem::replace(&mut self.last_bytes, data.len());
        if let Some((since, begun)) = self.pending.take_if(|(since, begun)| is_piece(block, *since, begun, pts, &data))
        {
            self.joined += 1;
            self.in_pieces = true;
            return self.continue_with(pts, since, join(&begun, &data), out);
        }
        let Starts { mut first, pictures } = starts(&data);
        let mut rest = data;
        let mut cut = 0;
        for start in pictures {
            let part = rest.split_to(start - cut);
            cut = start;
            self.take(pts, part, first, out);
            self.split += 1;
            first = First::Unit;
        }
        self.take(pts, rest, first, out);
    }

    /// Takes a unit that a piece of time `pts` was put onto: what begins after its first picture begins in that piece.
    fn continue_with(&mut self, pts: Pts, since: Pts, whole: Bytes, out: &mut Vec<(Pts, Bytes)>) {
        let mut rest = whole;
        let mut cut = 0;
        let mut begins = since;
        for start in starts(&rest).pictures {
            out.push((begins, rest.split_to(start - cut)));
            cut = start;
            begins = pts;
        }
        self.pending = Some((begins, rest));
    }

    /// The connection was lost: the rest of a picture that comes in pieces will not come, and what came of it is no picture.
    pub(super) fn lose_rest(&mut self) {
        if self.in_pieces {
            self.pending = None;
        }
    }

    /// Hands over the unit held back: nothing can continue it.
    pub(super) fn flush(&mut self) -> Option<(Pts, Bytes)> {
        self.pending.take()
    }

    /// Messages that continued a unit.
    pub(super) fn joined(&self) -> u64 {
        self.joined
    }

    /// Units that were not the first of their message.
    pub(super) fn split(&self) -> u64 {
        self.split
    }

    fn take(&mut self, pts: Pts, part: Bytes, first: First, out: &mut Vec<(Pts, Bytes)>) {
        match self.pending.take() {
            Some((since, begun)) if since == pts && (first == First::Continuation || !has_slice(&begun)) => {
                self.joined += 1;
                self.pending = Some((since, join(&begun, &part)));
            }
            begun => {
                out.extend(begun);
                self.pending = Some((pts, part));
            }
        }
    }
}

/// The least that a file is read in.
const BLOCK_BYTES: usize = 1024;
/// A picture's pieces come within this time, and make up no more than this.
const PIECES_MS: i64 = 1000;
const PIECES_BYTES: usize = 4 << 20;

/// Whether `data` goes on in the middle of what a message of `block` bytes ended with, as pieces of a file do: all but the last
/// are of one size. Messages of one time have rules of their own.
fn is_piece(block: usize, since: Pts, begun: &Bytes, pts: Pts, data: &[u8]) -> bool {
    let in_time = (1..=PIECES_MS).contains(&pts.0.saturating_sub(since.0)) && begun.len() <= PIECES_BYTES;
    let in_blocks = block >= BLOCK_BYTES && block.is_multiple_of(BLOCK_BYTES) && data.len() <= block;
    in_time && in_blocks && !matches!(data, [0, 0, 1, ..] | [0, 0, 0, 1, ..])
}

fn join(begun: &[u8], rest: &[u8]) -> Bytes {
    let mut whole = BytesMut::with_capacity(begun.len() + rest.len());
    whole.extend_from_slice(begun);
    whole.extend_from_slice(rest);
    whole.freeze()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    /// A message begins with a unit of its own.
    Unit,
    /// It begins with the rest of another.
    Continuation,
}

struct Starts {
    first: First,
    /// Where pictures begin, but for the first.
    pictures: Vec<usize>,
}

fn starts(data: &[u8]) -> Starts {
    let mut pictures = Vec::new();
    let mut nals = nals(data).peekable();
    let head = nals.peek();
    let begins_amid = head.is_none_or(|head| data[..head.offset].iter().any(|&byte| byte != 0));
    let first = match head {
        Some(head) if !begins_amid && !is_rest(head) => First::Unit,
        _ => First::Continuation,
    };
    let mut in_slices = begins_amid;
    for nal in nals {
        if in_slices && may_begin(&nal) {
            pictures.push(nal.offset);
            in_slices = false;
        }
        in_slices |= is_slice(&nal);
    }
    Starts { first, pictures }
}

fn has_slice(data: &[u8]) -> bool {
    nals(data).any(|nal| is_slice(&nal))
}

fn is_slice(nal: &Nal<'_>) -> bool {
    matches!(nal.kind(), NalKind::Idr | NalKind::Slice)
}

fn is_rest(nal: &Nal<'_>) -> bool {
    is_slice(nal) && !nal.begins_picture()
}

fn may_begin(nal: &Nal<'_>) -> bool {
    match nal.kind() {
        NalKind::Sps | NalKind::Pps | NalKind::Prefix => true,
        NalKind::Idr | NalKind::Slice => nal.begins_picture(),
        NalKind::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::h264::testing::{BASELINE_64X48, HIGH444_TWO_SLICES};
    use proptest::prelude::*;

    fn units(messages: &[(i64, &[u8])]) -> Vec<(i64, Vec<u8>)> {
        let mut units = Units::default();
        let mut out = Vec::new();
        for &(pts, data) in messages {
            units.push(Pts(pts), Bytes::copy_from_slice(data), &mut out);
        }
        out.extend(units.flush());
        out.into_iter().map(|(pts, data)| (pts.0, data.to_vec())).collect()
    }

    /// Key frame and second picture of a fixture.
    fn pictures(data: &'static [u8]) -> (&'static [u8], &'static [u8]) {
        let is_second = |nal: &Nal<'_>| nal.kind() == NalKind::Slice;
        data.split_at(nals(data).find(is_second).expect("a second picture").offset)
    }

    #[test]
    fn one_picture_a_message_passes_unchanged() {
        let (key, next) = pictures(HIGH444_TWO_SLICES);
        let messages = [(0, key), (40, next), (80, next)];
        assert_eq!(units(&messages), messages.map(|(pts, data)| (pts, data.to_vec())));
    }

    #[test]
    fn a_message_of_several_pictures_is_split() {
        let (key, next) = pictures(HIGH444_TWO_SLICES);
        let expected = [(5, key.to_vec()), (5, next.to_vec()), (5, key.to_vec()), (5, next.to_vec())];
        assert_eq!(units(&[(5, &HIGH444_TWO_SLICES.repeat(2))]), expected);
    }

    #[test]
    fn a_picture_over_two_messages_is_joined_wherever_it_was_cut() {
        let (key, next) = pictures(HIGH444_TWO_SLICES);
        let first_slice = nals(key).nth(2).expect("a slice").offset;
        for cut in first_slice + 6..key.len() {
            let (a, b) = key.split_at(cut);
            // A start code cut in two is found again: the second part does not begin with one.
            assert_eq!(units(&[(0, a), (0, b), (40, next)]), [(0, key.to_vec()), (40, next.to_vec())], "cut at {cut}");
        }
    }

    #[test]
    fn the_rest_of_a_picture_may_be_followed_by_others() {
        let (key, next) = pictures(HIGH444_TWO_SLICES);
        for cut in [key.len() - 40, key.len() - 3] {
            let second = [&key[cut..], next, key].concat();
            let expected = [(0, key.to_vec()), (0, next.to_vec()), (0, key.to_vec())];
            assert_eq!(units(&[(0, &key[..cut]), (0, &second)]), expected);
        }
    }

    #[test]
    fn pieces_of_a_file_are_put_together_again() {
        let file = include_bytes!("../../fixtures/h264/high-1920x1080.h264");
        let is_picture = |nal: &Nal<'_>| is_slice(nal) && nal.begins_picture();
        let pictures = nals(file).filter(is_picture).count();
        let pieces: Vec<(i64, &[u8])> = file.chunks(1024).zip(0..).map(|(piece, n)| (n * 100, piece)).collect();
        assert!(pieces.len() > 3, "it is large enough to be cut");
        let units = units(&pieces);
        assert_eq!(units.iter().flat_map(|(_, data)| data.clone()).collect::<Vec<u8>>(), file);
        for (pts, unit) in &units {
            assert_eq!(nals(unit).filter(is_picture).count(), 1, "at {pts}");
        }
        assert_eq!(units.len(), pictures);
        assert!(units.windows(2).all(|pair| pair[0].0 <= pair[1].0));

        let mut cut = Units::default();
        let mut out = Vec::new();
        for (pts, piece) in &pieces[..3] {
            cut.push(Pts(*pts), Bytes::copy_from_slice(piece), &mut out);
        }
        cut.lose_rest();
        assert_eq!(cut.flush(), None, "half a picture is none");
    }

    #[test]
    fn zeros_before_a_start_code_are_no_continuation() {
        let (key, next) = pictures(BASELINE_64X48);
        let padded = [&[0, 0], next].concat();
        assert_eq!(units(&[(0, key), (0, &padded)]), [(0, key.to_vec()), (0, padded)]);
    }

    #[test]
    fn parameter_sets_before_their_picture_are_joined_if_of_the_same_time() {
        let (key, _) = pictures(BASELINE_64X48);
        let idr = nals(key).nth(2).expect("an IDR").offset;
        let (sets, picture) = key.split_at(idr);
        assert_eq!(units(&[(0, sets), (0, picture)]), [(0, key.to_vec())]);
        assert_eq!(units(&[(0, sets), (1, picture)]), [(0, sets.to_vec()), (1, picture.to_vec())]);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost(
            messages in prop::collection::vec((0i64..3, prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x65), Just(0x67), any::<u8>()], 0..60)), 0..20),
        ) {
            let all: Vec<u8> = messages.iter().flat_map(|(_, data)| data.clone()).collect();
            let messages: Vec<(i64, &[u8])> = messages.iter().map(|(pts, data)| (*pts, data.as_slice())).collect();
            let out: Vec<u8> = units(&messages).into_iter().flat_map(|(_, data)| data).collect();
            prop_assert_eq!(out, all);
        }
    }
}
