//! NAL units, SPS and the sizes of images, against a slow and plain reading of the same.

use rtms_recorder::media::PictureCodec;
use rtms_recorder::timeline::h264::{NalKind, inspect, nals, sps_size};
use rtms_recorder::timeline::image::{size, sniff};

pub fn run(data: &[u8]) {
    units(data);
    images(data);
    // As it is, and as an SPS of each kind.
    for header in [&[0x67, 66, 0, 30][..], &[0x67, 100, 0, 30], &[0x67, 244, 0, 30], &[]] {
        sps(&[header, data].concat());
    }
}

fn units(data: &[u8]) {
    let starts: Vec<usize> =
        data.windows(3).enumerate().filter(|(_, window)| *window == [0, 0, 1]).map(|(at, _)| at).collect();
    let mut expected = Vec::new();
    for (index, &start) in starts.iter().enumerate() {
        let until = starts.get(index + 1).copied().unwrap_or(data.len());
        let mut bytes = &data[start + 3..until];
        while let [rest @ .., 0] = bytes {
            bytes = rest;
        }
        let offset = if start > 0 && data[start - 1] == 0 { start - 1 } else { start };
        if !bytes.is_empty() {
            expected.push((offset, bytes));
        }
    }
    let found: Vec<_> = nals(data).map(|nal| (nal.offset, nal.bytes)).collect();
    assert_eq!(found, expected);

    let contents = inspect(data);
    let has = |kind| nals(data).any(|nal| nal.kind() == kind);
    assert_eq!(contents.sps, has(NalKind::Sps));
    assert_eq!(contents.pps, has(NalKind::Pps));
    assert_eq!(contents.idr, has(NalKind::Idr));
    assert_eq!(contents.slice, has(NalKind::Idr) || has(NalKind::Slice));
    assert!(contents.size.is_none() || contents.sps);
    for nal in nals(data) {
        let is_set = matches!(nal.kind(), NalKind::Sps | NalKind::Pps);
        assert!(nal.parameter_set_id().is_none_or(|id| is_set && id < 256));
        let is_slice = matches!(nal.kind(), NalKind::Idr | NalKind::Slice);
        assert!(is_slice || !nal.begins_picture());
    }
}

fn sps(nal: &[u8]) {
    if let Some(size) = sps_size(nal) {
        assert!((1..=16_384).contains(&size.width) && (1..=16_384).contains(&size.height), "{size:?}");
        assert_eq!(nal[0] & 0x1f, 7);
        assert!(size.has_aspect_of(size));
        // What follows the part that was read does not matter.
        assert_eq!(sps_size(&[nal, &[0x80, 0xff]].concat()), Some(size));
    }
}

fn images(data: &[u8]) {
    for head in [&[][..], &[0xff, 0xd8, 0xff], b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"] {
        let image = [head, data].concat();
        if let Some(size) = size(&image) {
            assert!(size.width > 0 && size.height > 0);
            assert!(matches!(sniff(&image), Some(PictureCodec::Jpg | PictureCodec::Png)));
            let swapped = rtms_recorder::timeline::image::Size { width: size.height, height: size.width };
            assert_eq!(size.has_aspect_of(swapped), swapped.has_aspect_of(size));
        }
    }
}

/// The fixtures, each an IDR with SPS and PPS and one picture more.
pub const STREAMS: [&[u8]; 5] = [
    include_bytes!("../../../../fixtures/h264/baseline-64x48.h264"),
    include_bytes!("../../../../fixtures/h264/high-1280x720.h264"),
    include_bytes!("../../../../fixtures/h264/high-1920x1080.h264"),
    include_bytes!("../../../../fixtures/h264/high444-130x98-two-slices-scaling-lists.h264"),
    include_bytes!("../../../../fixtures/h264/main-854x480.h264"),
];

/// The beginning of a JPEG and of a PNG.
pub const IMAGES: [&[u8]; 2] = [
    &[0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc2, 0, 11, 8, 2, 0xd0, 5, 0, 3, 1, 0x22, 0, 0xff, 0xda],
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x05\0\0\0\x02\xd0\x08\x02\0\0\0",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let sets = STREAMS.iter().flat_map(|stream| nals(stream).filter(|nal| nal.kind() == NalKind::Sps));
    let tails = sets.map(|nal| nal.bytes[4..].to_vec());
    let whole = STREAMS.iter().map(|stream| stream[..stream.len().min(600)].to_vec());
    whole.chain(tails).chain(IMAGES.map(<[u8]>::to_vec)).collect()
}
