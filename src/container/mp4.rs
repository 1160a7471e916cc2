//! MP4 and M4A: the length that a file gives itself, and the room that its index takes in front of the media.

/// What the index of a file lists. Enough is known before the file is written to leave room for it in front, which spares
/// moving all media once more afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Pictures.
    pub pictures: u64,
    /// Those of them that are key pictures.
    pub keys: u64,
    /// How often the time from one picture to the next is another than before.
    pub paces: u64,
    /// Frames of sound.
    pub sounds: u64,
    /// Of all media, at least.
    pub media_bytes: u64,
}

impl Listed {
    /// How many bytes the index takes at most. The tables are those of ISO/IEC 14496-12, 8.6 and 8.7. Media alternate by their
    /// times, so neither track has more chunks than the track with fewer samples has samples, and one.
    pub fn index_bytes(&self) -> u64 {
        // Headers, sample entries with SPS and PPS, edit lists.
        const REST: u64 = 16 << 10;
        let chunks = self.pictures.min(self.sounds) + 1;
        // Where a chunk is (stco, co64) and how many samples it has (stsc).
        let chunk = 12 + if self.media_bytes < 3 << 30 { 4 } else { 8 };
        // Sizes (stsz), what may be dropped (sdtp), key pictures (stss), times (stts).
        let pictures = self.pictures * (4 + 1) + self.keys * 4 + self.paces * 8 + chunks * chunk;
        REST + pictures + self.sounds * 4 + chunks * chunk
    }
}

/// The length of the movie in milliseconds, as its header (`mvhd`) says, if the index is in front of the media and `head`
/// reaches to there. Any bytes may come.
pub fn duration_ms(head: &[u8]) -> Option<u64> {
    let mut rest = head;
    loop {
        let (kind, content, next) = first_box(rest)?;
        match kind {
            b"moov" => rest = content,
            b"mvhd" => return movie_header(content),
            b"mdat" => return None,
            _ => rest = next,
        }
    }
}

/// The type of the first box, its content as far as it is there, and what follows it.
fn first_box(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let (header, size) = match u32::from_be_bytes(*size) {
        0 => (8, u64::MAX),
        1 => (16, u64::from_be_bytes(*rest.first_chunk::<8>()?)),
        size => (8, u64::from(size)),
    };
    let end = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len());
    let content = bytes.get(header..end)?;
    Some((kind, content, &bytes[end..]))
}

fn movie_header(content: &[u8]) -> Option<u64> {
    // A version and flags; when it was made and changed; ticks a second; how many of them.
    let number = |at: usize| content.get(at..at + 4)?.first_chunk().map(|bytes| u64::from(u32::from_be_bytes(*bytes)));
    let (timescale, ticks) = match content.first()? {
        0 => (number(12)?, number(16)?),
        1 => (number(20)?, number(24)? << 32 | number(28)?),
        _ => return None,
    };
    u64::try_from(u128::from(ticks) * 1000 / u128::from((timescale > 0).then_some(timescale)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes()[..], kind, content].concat()
    }

    fn header(version: u8, ticks: u64) -> Vec<u8> {
        let times = if version == 0 { 8 } else { 16 };
        let ticks = ticks.to_be_bytes();
        let ticks = if version == 0 { &ticks[4..] } else { &ticks[..] };
        of(b"mvhd", &[&[version, 0, 0, 0][..], &vec![0; times], &16_000_u32.to_be_bytes(), ticks, &[0; 80]].concat())
    }

    #[test]
    fn the_movie_header_says_how_long_it_is() {
        for version in [0, 1] {
            let file = [of(b"ftyp", b"isom"), of(b"moov", &header(version, 128_016)), of(b"mdat", b"x")].concat();
            assert_eq!(duration_ms(&file), Some(8001));
        }
        let long = of(b"moov", &header(1, 16_000 << 32));
        assert_eq!(duration_ms(&long), Some(1000 << 32));
    }

    #[test]
    fn an_index_behind_the_media_is_not_looked_for() {
        let file = [of(b"mdat", b"x"), of(b"moov", &header(0, 16_000))].concat();
        assert_eq!(duration_ms(&file), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(bytes: Vec<u8>, cut in 0_usize..200) {
            duration_ms(&bytes);
            let file = [of(b"moov", &header(1, u64::MAX)), bytes].concat();
            duration_ms(&file[..cut.min(file.len())]);
        }
    }
}
