//! What can be told from the first bytes of a picture: its codec, and the size of a JPEG or PNG.
//!
//! It decodes nothing; H.264 is looked into by [`super::h264`].

use crate::media::PictureCodec;
use bytes::Bytes;
use memchr::memmem;

/// Width and height of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Size {
    /// Whether both have the same aspect ratio within 1 %.
    pub fn has_aspect_of(self, other: Self) -> bool {
        let a = u64::from(self.width) * u64::from(other.height);
        let b = u64::from(other.width) * u64::from(self.height);
        a > 0 && b > 0 && a.abs_diff(b) <= a.max(b) / 100
    }
}

/// The codec that the first bytes give away: JPEG `FF D8 FF`, PNG `89 50 4E 47`, H.264 a start code.
pub fn sniff(data: &[u8]) -> Option<PictureCodec> {
    match data {
        [0xff, 0xd8, 0xff, ..] => Some(PictureCodec::Jpg),
        [0x89, 0x50, 0x4e, 0x47, ..] => Some(PictureCodec::Png),
        [0, 0, 1, ..] | [0, 0, 0, 1, ..] => Some(PictureCodec::H264),
        _ => None,
    }
}

/// Cuts apart images of one kind that stand one behind another, as a test server of Zoom's sends them. Not empty.
pub fn split(mut data: Bytes) -> Vec<Bytes> {
    // Where one ends and the next begins. In the image data of a JPEG, FF is followed by something else.
    let border: (&[u8], usize) = match sniff(&data) {
        Some(PictureCodec::Jpg) => (&[0xff, 0xd9, 0xff, 0xd8, 0xff], 2),
        Some(PictureCodec::Png) => (&[b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82, 0x89, b'P', b'N', b'G'], 8),
        _ => return vec![data],
    };
    let mut images = Vec::new();
    while let Some(found) = memmem::find(&data, border.0) {
        images.push(data.split_to(found + border.1));
    }
    images.push(data);
    images
}

/// The size of a JPEG or PNG; `None` if it is neither or does not say.
pub fn size(data: &[u8]) -> Option<Size> {
    let (width, height) = match sniff(data)? {
        PictureCodec::Jpg => jpeg_size(data)?,
        PictureCodec::Png => png_size(data)?,
        PictureCodec::H264 => return None,
    };
    (width > 0 && height > 0).then_some(Size { width, height })
}

/// Walks the segments up to the frame header.
fn jpeg_size(data: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2;
    loop {
        let &marker = data.get(at + 1)?;
        match (data[at], marker) {
            (0xff, 0xff) => at += 1,
            // Markers without a length.
            (0xff, 0x01 | 0xd0..=0xd7) => at += 2,
            (0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf) => {
                let size = data.get(at + 5..at + 9)?;
                let u16_at = |i: usize| u32::from(u16::from_be_bytes([size[i], size[i + 1]]));
                return Some((u16_at(2), u16_at(0)));
            }
            // The image data begins, or it ends: too late for a frame header.
            (0xff, 0xd9 | 0xda) => return None,
            (0xff, _) => {
                let length = data.get(at + 2..at + 4)?;
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
            _ => return None,
        }
    }
}

fn png_size(data: &[u8]) -> Option<(u32, u32)> {
    let header: &[u8; 12] = data.get(12..24)?.try_into().ok()?;
    let [b'I', b'H', b'D', b'R', w0, w1, w2, w3, h0, h1, h2, h3] = *header else {
        return None;
    };
    Some((u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3])))
}

#[cfg(test)]
pub(super) mod testing {
    /// The beginning of a JPEG with an APP0 segment and a progressive frame header.
    pub(in crate::timeline) fn jpeg(width: u16, height: u16) -> Vec<u8> {
        let mut data = vec![0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc2, 0, 11, 8];
        data.extend(height.to_be_bytes());
        data.extend(width.to_be_bytes());
        data.extend([3, 1, 0x22, 0, 0xff, 0xda]);
        data
    }

    /// The beginning of a PNG.
    pub(in crate::timeline) fn png(width: u32, height: u32) -> Vec<u8> {
        let mut data = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        data.extend(width.to_be_bytes());
        data.extend(height.to_be_bytes());
        data.extend([8, 2, 0, 0, 0]);
        data
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{jpeg, png};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read() {
        let hd = Some(Size { width: 1280, height: 720 });
        assert_eq!(size(&jpeg(1280, 720)), hd);
        assert_eq!(size(&png(1280, 720)), hd);
        assert_eq!(size(&png(0, 720)), None);
        assert_eq!(size(&jpeg(1280, 720)[..16]), None);
        assert_eq!(size(&[0xff, 0xd8, 0xff, 0xda, 0, 0]), None);
    }

    #[test]
    fn images_one_behind_another_are_cut_apart() {
        let whole = |image: Vec<u8>| [image, vec![1, 2, 0xff, 0, 0xff, 0xd9]].concat();
        let (a, b) = (whole(jpeg(64, 48)), whole(jpeg(32, 24)));
        let three = Bytes::from([a.as_slice(), &b, &a].concat());
        assert_eq!(split(three), [a.clone(), b, a.clone()]);
        assert_eq!(split(Bytes::from(a.clone())), [a]);
        let png = [png(8, 8).as_slice(), &[0, 0, 0, 0], b"IEND", &[0xae, 0x42, 0x60, 0x82]].concat();
        assert_eq!(split(Bytes::from(png.repeat(2))), [png.clone(), png]);
        assert_eq!(split(Bytes::new()), [Bytes::new()]);
    }

    #[test]
    fn magic_bytes_give_the_codec_away() {
        assert_eq!(sniff(&jpeg(1, 1)), Some(PictureCodec::Jpg));
        assert_eq!(sniff(&png(1, 1)), Some(PictureCodec::Png));
        assert_eq!(sniff(&[0, 0, 1, 0x67]), Some(PictureCodec::H264));
        assert_eq!(sniff(&[0, 0, 0, 1, 0x67]), Some(PictureCodec::H264));
        assert_eq!(sniff(b"data:image/jpeg;base64,"), None);
        assert_eq!(sniff(&[]), None);
    }

    #[test]
    fn aspect_ratios_agree_within_one_percent() {
        let hd = Size { width: 1280, height: 720 };
        for (width, height, same) in [
            (640, 360, true),
            (854, 480, true),
            (1920, 1080, true),
            (640, 480, false),
            (0, 0, false),
            (720, 1280, false),
        ] {
            assert_eq!(Size { width, height }.has_aspect_of(hd), same, "{width}x{height}");
        }
    }

    proptest! {
        #[test]
        fn garbage_does_no_harm(mut data in prop::collection::vec(any::<u8>(), 0..200), kind in 0usize..3) {
            for (to, from) in data.iter_mut().zip([&[0xff, 0xd8, 0xff, 0xe1][..], b"\x89PNG", &[]][kind]) {
                *to = *from;
            }
            let _ = size(&data);
        }
    }
}
