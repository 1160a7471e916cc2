//! Matroska as it is written, read back; and an encoder's Annex B, cut up.

use crate::input::{Input, Seed};
use rtms_recorder::container::annexb::{Splitter, Unit};
use rtms_recorder::container::matroska::{Error, Frame, TrackSettings, Writer};
use rtms_recorder::media::{PictureCodec, Pts};

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    if input.flag() {
        matroska(&mut input);
    } else {
        annexb(&mut input);
    }
}

/// Time, key flag, duration and data.
type Read = (i64, bool, Option<u64>, Vec<u8>);

/// Frames with any times: those that are in order are found again, the others are refused and leave no trace.
fn matroska(input: &mut Input) {
    let codec = input.pick(&[PictureCodec::H264, PictureCodec::Jpg, PictureCodec::Png]);
    let mut writer = Writer::new(TrackSettings { codec, width: input.u16().into(), height: input.u16().into() });
    let mut out = Vec::new();
    writer.header(&mut out);
    let mut expected: Vec<Read> = Vec::new();
    let mut at = 0i64;
    while !input.is_empty() && expected.len() < 100 {
        at = if input.u8() < 250 { at.saturating_add(input.step_ms()) } else { input.i64() };
        let (is_key, duration_ms) = (input.flag(), input.flag().then(|| u64::from(input.u16())));
        let data = input.chunk();
        let before = (writer.clone(), out.len());
        let last = expected.last().map(|frame| frame.0);
        match writer.write(&Frame { pts: Pts(at), is_key, duration_ms, data }, &mut out) {
            Ok(()) => {
                assert!(at >= 0 && last.is_none_or(|last| last < at), "{at} was taken after {last:?}");
                assert_eq!(writer.last(), Some(Pts(at)));
                expected.push((at, is_key, duration_ms, data.to_vec()));
            }
            Err(err) => {
                match err {
                    Error::Negative(_) => assert!(at < 0),
                    Error::OutOfOrder { .. } => assert!(last.is_some_and(|last| last >= at)),
                }
                assert_eq!((&writer, out.len()), (&before.0, before.1), "a refused frame left a trace");
                at = last.unwrap_or(0);
            }
        }
        // Kept beside the file, it goes on as it was.
        writer = serde_json::from_slice(&serde_json::to_vec(&writer).expect("a plain value")).expect("reads back");
        assert_eq!(writer.last().map(|pts| pts.0), expected.last().map(|frame| frame.0));
    }
    assert_eq!(read(&out), expected);
}

/// Elements of the kinds that are written; all sizes take eight bytes.
fn element<'a>(bytes: &mut &'a [u8]) -> (u64, Option<&'a [u8]>) {
    let length = bytes[0].leading_zeros() as usize + 1;
    let (id, size) = (number(&bytes[..length]), number(&bytes[length..length + 8]));
    *bytes = &bytes[length + 8..];
    if size == u64::MAX >> 7 {
        return (id, None);
    }
    let (content, rest) = bytes.split_at((size & !(1 << 56)) as usize);
    *bytes = rest;
    (id, Some(content))
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn read(mut bytes: &[u8]) -> Vec<Read> {
    let (mut frames, mut base) = (Vec::new(), 0);
    let time = |base: i64, block: &[u8]| base + i64::from(i16::from_be_bytes([block[1], block[2]]));
    while !bytes.is_empty() {
        match element(&mut bytes) {
            (0xE7, Some(content)) => base = number(content) as i64,
            (0xA3, Some(block)) => frames.push((time(base, block), block[3] == 0x80, None, block[4..].to_vec())),
            (0xA0, Some(mut group)) => {
                let block = element(&mut group).1.expect("a block");
                let duration = number(element(&mut group).1.expect("a duration"));
                frames.push((time(base, block), group.is_empty(), Some(duration), block[4..].to_vec()));
            }
            (0x1F43_B675 | 0x1853_8067, None) | (0x1A45_DFA3 | 0x1549_A966 | 0x1654_AE6B, Some(_)) => {}
            other => panic!("unexpected element {other:x?}"),
        }
    }
    frames
}

/// Any bytes in any pieces: the same units, and together all of it but the delimiters.
fn annexb(input: &mut Input) {
    let sizes = input.chunk();
    let data = input.rest();
    let whole = split(data, &[]);
    assert_eq!(split(data, sizes), whole, "pieces matter");
    assert_eq!(whole, expected_units(data));
}

fn split(mut data: &[u8], sizes: &[u8]) -> Vec<Unit> {
    let mut splitter = Splitter::default();
    let mut units = Vec::new();
    for &size in sizes {
        let (now, later) = data.split_at(usize::from(size).min(data.len()));
        splitter.push(now);
        units.extend(std::iter::from_fn(|| splitter.next_unit()));
        data = later;
    }
    splitter.push(data);
    units.extend(std::iter::from_fn(|| splitter.next_unit()));
    units.extend(splitter.finish());
    units
}

/// The same, plainly: a delimiter is a start code, its header and one byte more.
fn expected_units(data: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    let (mut begin, mut at, mut is_key) = (0, 0, false);
    let mut take = |from: usize, to: usize, is_key: &mut bool| {
        let is_key = std::mem::take(is_key);
        if from < to {
            units.push(Unit { is_key, data: data[from..to].to_vec().into() });
        }
    };
    while let Some(&[a, b, c, header, _]) = data.get(at..at + 5) {
        match ([a, b, c], header & 0x1f) {
            ([0, 0, 1], 9) => {
                let long = at > begin && data[at - 1] == 0;
                take(begin, at - usize::from(long), &mut is_key);
                begin = at + 5;
                at = begin;
            }
            ([0, 0, 1], kind) => {
                is_key |= kind == 5;
                at += 3;
            }
            _ => at += 1,
        }
    }
    take(begin, data.len(), &mut is_key);
    units
}

pub fn seeds() -> Vec<Vec<u8>> {
    let frame = |step: u8, flags: &[u8]| [&[0, step][..], flags, &[3, 7, 8, 9]].concat();
    let frames = [frame(0, &[1, 0]), frame(40, &[0, 0]), frame(40, &[0, 1, 0, 40]), frame(10, &[1, 1, 1, 1])].concat();
    let units = b"\0\0\0\x01\x09\xf0\0\0\0\x01\x67sps\0\0\0\x01\x68pps\0\0\x01\x65slice\0\0\x01\x09\x30\0\0\x01\x41next";
    vec![
        Seed::default().raw(&[1, 0, 5, 0, 2, 208]).raw(&frames).raw(&[0, 220, 0xf0, 0, 0, 0, 1, 1]).0,
        Seed::default().raw(&[1, 2, 5, 0, 2, 208]).raw(&frames).0,
        Seed::default().u8(0).chunk(&[1; 60]).raw(units).0,
        Seed::default().u8(0).chunk(&[7, 3, 20]).raw(&units.repeat(3)).0,
    ]
}
