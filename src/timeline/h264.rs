//! As much of H.264 as a recorder has to understand: NAL units in Annex B framing, and the size in an SPS.
//!
//! It owns reading; which pictures are shown is decided by [`super::picture`], and what belongs to one picture by
//! module `units`. Sections are those of ITU-T H.264 (08/2021). Nothing here trusts the bytes: what does not parse is
//! `None`.

use super::image::Size;

/// A NAL unit within a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nal<'a> {
    /// Where its start code begins in the buffer, the zero byte of a four-byte one included.
    pub offset: usize,
    /// Header and payload, without start code and trailing zeros, emulation prevention left in.
    pub bytes: &'a [u8],
}

/// What a NAL unit is to a recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NalKind {
    /// A slice of a key frame.
    Idr,
    /// A slice (or data partition) of any other picture.
    Slice,
    /// A sequence parameter set.
    Sps,
    /// A picture parameter set.
    Pps,
    /// Anything else that stands before the first slice of its picture: SEI, delimiter, extensions of these.
    Prefix,
    /// What may stand anywhere, or ends a sequence.
    Other,
}

impl Nal<'_> {
    /// What it is (table 7-1).
    pub fn kind(&self) -> NalKind {
        match self.bytes.first().map_or(0, |header| header & 0x1f) {
            5 => NalKind::Idr,
            1..=4 => NalKind::Slice,
            7 => NalKind::Sps,
            8 => NalKind::Pps,
            6 | 9 | 14..=18 => NalKind::Prefix,
            _ => NalKind::Other,
        }
    }

    /// Whether it is a slice that begins a picture: `first_mb_in_slice` is 0, whose code is a single 1 bit.
    pub fn begins_picture(&self) -> bool {
        let first = matches!(self.bytes, [_, payload, ..] if payload & 0x80 != 0);
        let sliced = matches!(self.bytes.first().map(|header| header & 0x1f), Some(1 | 2 | 5));
        sliced && first
    }

    /// The id by which slices or parameter sets refer to it, if it is an SPS or PPS.
    pub fn parameter_set_id(&self) -> Option<u32> {
        let skip = match self.kind() {
            NalKind::Sps => 4,
            NalKind::Pps => 1,
            _ => return None,
        };
        let start = unescape(self.bytes.get(..self.bytes.len().min(16))?);
        let id = Bits::new(start.get(skip..)?).ue()?;
        (id < 256).then_some(id)
    }
}

/// The NAL units of an Annex B buffer. What precedes the first start code belongs to none.
pub fn nals(data: &[u8]) -> impl Iterator<Item = Nal<'_>> {
    let mut next = start_code(data, 0);
    std::iter::from_fn(move || {
        let start = next?;
        next = start_code(data, start + 3);
        let mut end = next.unwrap_or(data.len());
        while end > start + 3 && data[end - 1] == 0 {
            end -= 1;
        }
        let long = start > 0 && data[start - 1] == 0;
        Some(Nal { offset: start - usize::from(long), bytes: &data[start + 3..end] })
    })
    .filter(|nal| !nal.bytes.is_empty())
}

/// What an Annex B buffer contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// A sequence parameter set.
    pub sps: bool,
    /// A picture parameter set.
    pub pps: bool,
    /// A slice of a key frame.
    pub idr: bool,
    /// A slice of any picture.
    pub slice: bool,
    /// The size that its last readable SPS gives.
    pub size: Option<Size>,
}

/// Looks at the NAL units of an Annex B buffer.
pub fn inspect(data: &[u8]) -> Contents {
    let mut contents = Contents::default();
    for nal in nals(data) {
        match nal.kind() {
            NalKind::Sps => {
                contents.sps = true;
                contents.size = sps_size(nal.bytes).or(contents.size);
            }
            NalKind::Pps => contents.pps = true,
            NalKind::Idr => (contents.idr, contents.slice) = (true, true),
            NalKind::Slice => contents.slice = true,
            NalKind::Prefix | NalKind::Other => {}
        }
    }
    contents
}

/// The size of the pictures under an SPS (a NAL unit with its header), cropping applied (7.3.2.1.1, 7.4.2.1.1).
pub fn sps_size(sps: &[u8]) -> Option<Size> {
    let rbsp = unescape(sps);
    if rbsp.first()? & 0x1f != 7 {
        return None;
    }
    let profile = *rbsp.get(1)?;
    let mut bits = Bits::new(rbsp.get(4..)?);
    bits.ue()?; // seq_parameter_set_id
    // Without a chroma format it is 4:2:0.
    let mut chroma_format = 1;
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma_format = bits.ue()?;
        if chroma_format == 3 && bits.flag()? {
            chroma_format = 0; // three planes, each cropped like monochrome
        }
        bits.ue()?; // bit_depth_luma_minus8
        bits.ue()?; // bit_depth_chroma_minus8
        bits.flag()?; // qpprime_y_zero_transform_bypass_flag
        if bits.flag()? {
            let lists = if chroma_format == 3 { 12 } else { 8 };
            for list in 0..lists {
                if bits.flag()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.ue()?; // log2_max_frame_num_minus4
    match bits.ue()? {
        0 => drop(bits.ue()?), // log2_max_pic_order_cnt_lsb_minus4
        1 => {
            bits.flag()?; // delta_pic_order_always_zero_flag
            bits.ue()?; // offset_for_non_ref_pic, signed
            bits.ue()?; // offset_for_top_to_bottom_field, signed
            let cycle = bits.ue()?;
            if cycle > 255 {
                return None;
            }
            for _ in 0..cycle {
                bits.ue()?; // offset_for_ref_frame, signed
            }
        }
        _ => {}
    }
    bits.ue()?; // max_num_ref_frames
    bits.flag()?; // gaps_in_frame_num_value_allowed_flag
    let width_mbs = u64::from(bits.ue()?) + 1;
    let height_units = u64::from(bits.ue()?) + 1;
    let fields = u64::from(!bits.flag()?); // frame_mbs_only_flag
    if fields == 1 {
        bits.flag()?; // mb_adaptive_frame_field_flag
    }
    bits.flag()?; // direct_8x8_inference_flag
    let (mut crop_x, mut crop_y) = (0, 0);
    if bits.flag()? {
        let (left, right, top, bottom) = (bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?);
        let (unit_x, unit_y) = match chroma_format {
            1 => (2, 2),
            2 => (2, 1),
            _ => (1, 1),
        };
        crop_x = unit_x * (u64::from(left) + u64::from(right));
        crop_y = unit_y * (1 + fields) * (u64::from(top) + u64::from(bottom));
    }
    let width = (16 * width_mbs).checked_sub(crop_x)?;
    let height = (16 * height_units * (1 + fields)).checked_sub(crop_y)?;
    let sane = 1..=16_384;
    (sane.contains(&width) && sane.contains(&height)).then_some(Size { width: width as u32, height: height as u32 })
}

/// Removes the bytes that keep start codes out of a payload (7.4.1).
fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut rbsp = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        rbsp.push(byte);
    }
    rbsp
}

/// The place of the next `00 00 01` from `from` on. Nearly all of a recording's bytes pass through here.
fn start_code(data: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(data.get(from..)?, &[0, 0, 1]).map(|at| from + at)
}

/// 7.3.2.1.1.1; the values do not matter, only how long they are.
fn skip_scaling_list(bits: &mut Bits<'_>, len: u32) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..len {
        if next != 0 {
            next = (last + bits.se()?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// Reads bits from the front, most significant first.
struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    fn flag(&mut self) -> Option<bool> {
        let byte = self.data.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// Exp-Golomb, unsigned (9.1).
    fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let mut value = 1u64;
        for _ in 0..zeros {
            value = value << 1 | u64::from(self.flag()?);
        }
        u32::try_from(value - 1).ok()
    }

    /// Exp-Golomb, signed (9.1.1).
    fn se(&mut self) -> Option<i64> {
        let code = i64::from(self.ue()?);
        Some(if code % 2 == 1 { code / 2 + 1 } else { -(code / 2) })
    }
}

#[cfg(test)]
pub(super) mod testing {
    macro_rules! fixture {
        ($name:literal) => {
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/h264/", $name, ".h264"))
        };
    }

    /// Each an IDR with SPS and PPS and one picture more. See `fixtures/h264/README.md`.
    pub(in crate::timeline) const BASELINE_64X48: &[u8] = fixture!("baseline-64x48");
    pub(in crate::timeline) const MAIN_854X480: &[u8] = fixture!("main-854x480");
    pub(in crate::timeline) const HIGH_1280X720: &[u8] = fixture!("high-1280x720");
    pub(in crate::timeline) const HIGH_1920X1080: &[u8] = fixture!("high-1920x1080");
    pub(in crate::timeline) const HIGH444_TWO_SLICES: &[u8] = fixture!("high444-130x98-two-slices-scaling-lists");
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_from_all_profiles() {
        for (data, width, height) in [
            (BASELINE_64X48, 64, 48),
            (MAIN_854X480, 854, 480),
            (HIGH_1280X720, 1280, 720),
            (HIGH_1920X1080, 1920, 1080),
            (HIGH444_TWO_SLICES, 130, 98),
        ] {
            let contents = inspect(data);
            assert_eq!(contents.size, Some(Size { width, height }));
            assert!(contents.sps && contents.pps && contents.idr && contents.slice);
        }
    }

    #[test]
    fn units_are_found_behind_both_start_codes() {
        let data = [9, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 1, 0x65, 0x88, 0, 0, 1];
        let found: Vec<_> = nals(&data).map(|nal| (nal.offset, nal.bytes.to_vec())).collect();
        assert_eq!(found, [(1, vec![0x67, 1]), (6, vec![0x68, 2]), (13, vec![0x65, 0x88])]);
    }

    #[test]
    fn slices_tell_whether_they_begin_a_picture() {
        let begins: Vec<_> = nals(HIGH444_TWO_SLICES).map(|nal| (nal.kind(), nal.begins_picture())).collect();
        assert_eq!(
            begins,
            [
                (NalKind::Sps, false),
                (NalKind::Pps, false),
                (NalKind::Idr, true),
                (NalKind::Idr, false),
                (NalKind::Slice, true),
                (NalKind::Slice, false),
            ]
        );
    }

    #[test]
    fn codes_are_read() {
        // 1, 010, 011, 00100, 00101 and the start of one that never ends.
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000, 0, 0, 0, 0]);
        assert_eq!([bits.ue(), bits.ue(), bits.ue(), bits.ue(), bits.ue()], [0, 1, 2, 3, 4].map(Some));
        bits.flag();
        assert_eq!(bits.ue(), None);
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        assert_eq!([bits.se(), bits.se(), bits.se(), bits.se(), bits.se()], [0, 1, -1, 2, -2].map(Some));
    }

    #[test]
    fn a_cut_sps_has_no_size() {
        let sps = nals(HIGH_1920X1080).next().expect("an SPS").bytes;
        for len in 0..8 {
            assert_eq!(sps_size(&sps[..len]), None);
        }
    }

    proptest! {
        #[test]
        fn garbage_does_no_harm(data in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(3), any::<u8>()], 0..300)) {
            let mut end = 0;
            for nal in nals(&data) {
                prop_assert!(nal.offset >= end);
                end = nal.offset + nal.bytes.len();
                let _ = (nal.kind(), nal.begins_picture(), nal.parameter_set_id());
            }
            let _ = inspect(&data);
            let mut sps = vec![0x67, 100, 0, 30];
            sps.extend(&data);
            let _ = sps_size(&sps);
        }

        #[test]
        fn start_codes_are_where_a_plain_search_finds_them(data in prop::collection::vec(prop_oneof![0u8..3, any::<u8>()], 0..100), from in 0usize..100) {
            let plain = (from..data.len().saturating_sub(2)).find(|&i| data[i..i + 3] == [0, 0, 1]);
            prop_assert_eq!(start_code(&data, from), plain);
        }

        #[test]
        fn damaged_units_do_no_harm(at in 0usize..60, byte: u8) {
            let mut data = BASELINE_64X48.to_vec();
            data[at] = byte;
            let _ = inspect(&data);
        }
    }
}
