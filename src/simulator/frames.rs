//! Cuts what ffmpeg writes into pictures: H.264 access units, JPEG and PNG images.

/// A coded picture as bytes of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The whole picture, with its SPS and PPS if it has them.
    pub(super) data: &'a [u8],
    /// Where the picture starts behind its SPS and PPS.
    pub(super) headers: usize,
    /// Whether decoding can start here.
    pub(super) key: bool,
}

/// Splits an Annex B stream into access units.
pub(super) fn access_units(stream: &[u8]) -> Vec<Frame<'_>> {
    let mut units = Vec::new();
    let mut start = None;
    let (mut has_picture, mut key, mut headers_end) = (false, false, 0);
    let nals = nal_starts(stream);
    let mut finish = |from: usize, to: usize, headers_end: usize, key: bool| {
        units.push(Frame { data: &stream[from..to], headers: headers_end.saturating_sub(from), key });
    };
    for (n, &(code, payload)) in nals.iter().enumerate() {
        let Some(&head) = stream.get(payload) else { continue };
        let kind = head & 0x1f;
        let is_slice = matches!(kind, 1 | 5);
        // A slice whose first_mb_in_slice is 0 (a single 1 bit) begins a picture.
        let first_slice = is_slice && stream.get(payload + 1).is_some_and(|b| b & 0x80 != 0);
        if has_picture && (first_slice || matches!(kind, 6..=9)) {
            if let Some(from) = start {
                finish(from, code, headers_end, key);
            }
            (start, has_picture, key, headers_end) = (None, false, false, 0);
        }
        start.get_or_insert(code);
        has_picture |= is_slice;
        key |= kind == 5;
        if matches!(kind, 7 | 8) {
            headers_end = nals.get(n + 1).map_or(stream.len(), |next| next.0);
        }
    }
    if let (Some(from), true) = (start, has_picture) {
        finish(from, stream.len(), headers_end, key);
    }
    units
}

/// Where each NAL unit's start code and its first byte are.
fn nal_starts(stream: &[u8]) -> Vec<(usize, usize)> {
    let mut starts = Vec::new();
    let mut i = 0;
    while i + 3 <= stream.len() {
        if stream[i..i + 3] == [0, 0, 1] {
            let code = if i > 0 && stream[i - 1] == 0 { i - 1 } else { i };
            starts.push((code, i + 3));
            i += 3;
        } else {
            i += 1;
        }
    }
    starts
}

/// Splits JPEG images that follow each other.
pub(super) fn jpegs(stream: &[u8]) -> Vec<Frame<'_>> {
    images(stream, |rest| {
        // Entropy-coded data never contains FF D9.
        rest.windows(2).position(|w| w == [0xff, 0xd9]).map(|at| at + 2)
    })
}

/// Splits PNG images that follow each other.
pub(super) fn pngs(stream: &[u8]) -> Vec<Frame<'_>> {
    images(stream, |rest| {
        let mut at = 8;
        loop {
            let head = rest.get(at..at + 8)?;
            let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            at += 12 + len;
            if &head[4..8] == b"IEND" {
                return (at <= rest.len()).then_some(at);
            }
        }
    })
}

fn images(stream: &[u8], length: impl Fn(&[u8]) -> Option<usize>) -> Vec<Frame<'_>> {
    let mut found = Vec::new();
    let mut rest = stream;
    while let Some(len) = length(rest) {
        let (data, behind) = rest.split_at(len);
        found.push(Frame { data, headers: 0, key: true });
        rest = behind;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_units_are_cut_at_headers_and_first_slices() {
        let sps = [0, 0, 0, 1, 0x67, 1];
        let pps = [0, 0, 0, 1, 0x68, 1];
        let sei = [0, 0, 1, 0x06, 5];
        let idr = [0, 0, 1, 0x65, 0x88, 9];
        let second_slice = [0, 0, 1, 0x41, 0x20, 9];
        let p = [0, 0, 0, 1, 0x41, 0x9a, 9];
        let stream = [&sps[..], &pps, &sei, &idr, &p, &second_slice, &p, &sps, &pps, &idr].concat();
        let units = access_units(&stream);
        assert_eq!(units.iter().map(|u| u.key).collect::<Vec<_>>(), [true, false, false, true]);
        assert_eq!(units.iter().map(|u| u.headers).collect::<Vec<_>>(), [12, 0, 0, 12]);
        assert_eq!(units.iter().map(|u| u.data.len()).sum::<usize>(), stream.len());
        assert_eq!(units[1].data.len(), p.len() + second_slice.len());
        assert_eq!(access_units(b"").len(), 0);
        assert_eq!(access_units(&[0, 0, 1]).len(), 0);
    }

    #[test]
    fn a_torn_image_is_left_out() {
        assert_eq!(jpegs(&[0xff, 0xd8, 1, 0xff, 0xd9, 0xff, 0xd8, 2]).len(), 1);
        assert_eq!(pngs(&[0x89, b'P', b'N', b'G']).len(), 0);
    }
}
