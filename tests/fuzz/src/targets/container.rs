//! Matroska as it is written, read back; and FLV as an encoder writes it, read.

use crate::input::{Input, Seed};
use rtms_recorder::container::flv::{Picture, Reader};
use rtms_recorder::container::matroska::{Error, Frame, TrackSettings, Writer};
use rtms_recorder::media::{PictureCodec, Pts};

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(3) {
        0 => any_flv(&mut input),
        1 => matroska(&mut input),
        _ => written_flv(&mut input),
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

/// Any bytes in any pieces: the same pictures, and the same error if there is one.
fn any_flv(input: &mut Input) {
    let sizes = input.chunk();
    let data = [if input.flag() { &FLV_HEADER[..] } else { &[] }, input.rest()].concat();
    let whole = read_flv(&data, &[]);
    assert_eq!(read_flv(&data, sizes), whole, "pieces matter");
    for picture in whole.0 {
        assert!(u32::try_from(picture.pts.0).is_ok());
        assert!(picture.data.is_empty() || picture.data.starts_with(&START_CODE));
    }
}

const FLV_HEADER: [u8; 13] = *b"FLV\x01\x01\0\0\0\x09\0\0\0\0";
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Pictures and whether it ended with an error.
fn read_flv(mut data: &[u8], sizes: &[u8]) -> (Vec<Picture>, bool) {
    let mut reader = Reader::default();
    let mut pictures = Vec::new();
    for size in sizes.iter().map(|&size| usize::from(size)).chain([usize::MAX]) {
        let (now, later) = data.split_at(size.min(data.len()));
        data = later;
        reader.push(now);
        loop {
            match reader.next_picture() {
                Ok(Some(picture)) => pictures.push(picture),
                Ok(None) => break,
                Err(_) => return (pictures, true),
            }
        }
    }
    (pictures, false)
}

/// Pictures as an encoder writes them, in any pieces, are read as they were.
fn written_flv(input: &mut Input) {
    let sizes = input.chunk();
    let mut file = FLV_HEADER.to_vec();
    let mut expected = Vec::new();
    let mut sets = Vec::new();
    while !input.is_empty() && expected.len() < 50 {
        let pts = input.i64() as u32;
        match input.u8() % 4 {
            0 => tag(&mut file, 18, pts, input.chunk()),
            1 => {
                let (sps, pps) = (input.chunk(), input.chunk());
                let sized = |set: &[u8]| [&[0, set.len() as u8], set].concat();
                let record = [&[1, 100, 0, 40, 0xff, 0xe1][..], &sized(sps), &[1], &sized(pps)].concat();
                tag(&mut file, 9, pts, &[&[0x17, 0, 0, 0, 0], &record[..]].concat());
                sets = [&START_CODE, sps, &START_CODE, pps].concat();
            }
            kind => {
                let is_key = kind == 2;
                let mut body = vec![if is_key { 0x17 } else { 0x27 }, 1, 0, 0, 0];
                let mut data = if is_key { sets.clone() } else { Vec::new() };
                for _ in 0..input.below(4) {
                    let nal = input.chunk();
                    body.extend([0, 0, 0, nal.len() as u8]);
                    body.extend(nal);
                    data.extend([&START_CODE, nal].concat());
                }
                tag(&mut file, 9, pts, &body);
                expected.push(Picture { pts: Pts(pts.into()), is_key, data: data.into() });
            }
        }
    }
    assert_eq!(read_flv(&file, sizes), (expected, false));
}

fn tag(file: &mut Vec<u8>, kind: u8, pts: u32, body: &[u8]) {
    let [high, time @ ..] = pts.to_be_bytes();
    let [_, size @ ..] = (body.len() as u32).to_be_bytes();
    file.push(kind);
    file.extend(size);
    file.extend(time);
    file.extend([high, 0, 0, 0]);
    file.extend(body);
    file.extend((body.len() as u32 + 11).to_be_bytes());
}

pub fn seeds() -> Vec<Vec<u8>> {
    let frame = |step: u8, flags: &[u8]| [&[0, step][..], flags, &[3, 7, 8, 9]].concat();
    let frames = [frame(0, &[1, 0]), frame(40, &[0, 0]), frame(40, &[0, 1, 0, 40]), frame(10, &[1, 1, 1, 1])].concat();
    let mut flv = Vec::new();
    tag(&mut flv, 18, 0, b"about it");
    tag(&mut flv, 9, 0, b"\x17\0\0\0\0\x01\x64\0\x28\xff\xe1\0\x02\x67A\x01\0\x02\x68B");
    tag(&mut flv, 9, 7300, b"\x17\x01\0\0\0\0\0\0\x02\x65C");
    tag(&mut flv, 9, 0x0123_4567, b"\x27\x01\0\0\0\0\0\0\x02\x41D\0\0\0\x01E");
    let written = Seed::default().u8(2).chunk(&[9, 30, 1]).raw(&[0, 0, 0, 0, 0, 0, 0, 0, 1]).chunk(b"gA").chunk(b"hB");
    let written = written.raw(&[0, 0, 0, 0, 0, 0, 9, 9, 2, 2]).chunk(b"eC").chunk(b"");
    vec![
        Seed::default().raw(&[1, 0, 5, 0, 2, 208]).raw(&frames).raw(&[0, 220, 0xf0, 0, 0, 0, 1, 1]).0,
        Seed::default().raw(&[1, 2, 5, 0, 2, 208]).raw(&frames).0,
        Seed::default().u8(0).chunk(&[1; 60]).u8(1).raw(&flv).0,
        Seed::default().u8(0).chunk(&[7, 3, 20]).u8(0).raw(&FLV_HEADER).raw(&flv).0,
        written.0,
    ]
}
